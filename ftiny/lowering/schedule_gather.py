"""The GPU schedule for gathers of rows: 16 bytes of a row to a thread, several rows to a thread.

Input: the stages of one phase. Output: one kernel, or nothing where elements that the data name do not lie side by
side along the last grid axis. A gather waits for memory twice, for the index and then for the row. So that enough
bytes are on their way all the time each thread copies 16 bytes of each of `ROWS` neighbouring rows: it has their
indices at once, then their elements at once, and there is one index to four elements or more.

Worked example, table[ids] of 768 float32: 192 threads take four rows,

    for k in 0..4: y[4*(r*4 + k)*192 + 4*c + ramp(4)] = table[ids[4*r + k]*768 + 4*c + ramp(4)]
"""

from __future__ import annotations

import math

from ftiny.lowering.expr import (
    INDEX,
    Axis,
    Expr,
    axes_of,
    const,
    load,
    load_guard,
    load_index,
    loads,
    minimum,
    select,
    transform,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, simplify, unflatten
from ftiny.lowering.kernel import WIDE_BYTES, For, If, Stmt, ramp
from ftiny.lowering.loops import LoopNest, Map, Stage, Write, stage_roots
from ftiny.lowering.schedule_body import Converter
from ftiny.lowering.schedule_generic import Context, Worker, build_body, finish_kernel, nest_names
from ftiny.lowering.schedule_vector import plain_places

ROWS = 4


def schedule_gather(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    nest = context.nest
    if len(stages) != 1 or not isinstance(stages[0], Map) or stages[0].axes or not nest.grid:
        return False
    if any(0 in v.shape for v in nest.arguments):
        return False
    stage = Map((), tuple(map(_unguarded, stages[0].writes)))
    lanes = _lanes(nest, stage)
    if lanes == 1:
        return False
    last, others = nest.grid[-1], nest.grid[:-1]
    rows = math.prod(a.extent for a in others)
    turn, chunk = Axis("turn", -(-rows // ROWS)), Axis("chunk", last.extent // lanes)
    worker = Worker(context, (turn, chunk))
    names = nest_names(nest, (stage,))
    first = simplify(worker.axes[turn] * ROWS)
    vector = simplify(worker.axes[chunk] * lanes + ramp(lanes))

    def loop(stop: Expr | None) -> Stmt:
        k = Axis(names.fresh("k"), ROWS)
        body = build_body(context, (stage,), {**unflatten(simplify(first + axis_expr(k)), others), last: vector},
                          worker, names)
        body.lanes, body.wide = 1, lanes
        return For(k, tuple(body.stage(stage)), stop=stop, unroll=stop is None)

    statement = loop(None)
    if rows % ROWS:
        rest = loop(simplify(minimum(const(ROWS), const(rows) - first)))
        statement = If(simplify(first + (ROWS - 1) < rows), (statement,), (rest,))
    finish_kernel(context, worker.wrap([statement]), worker, stages)
    return True


def _is_dependent(node: Expr) -> bool:
    """Whether the data say where this load reads."""
    return any(True for _ in loads(load_index(node)))


def _lanes(nest: LoopNest, stage: Map) -> int:
    """How many neighbours make 16 bytes; 1 where rows are not made of such, or nothing is gathered."""
    last = axis_expr(nest.grid[-1])
    sizes = {nest.value(w.value).memory.itemsize for w in stage.writes}
    lanes = WIDE_BYTES // max(sizes)
    if len(sizes) > 1 or lanes not in (2, 4) or nest.grid[-1].extent % lanes:
        return 1
    if any(w.update or w.guard is not None or nest.value(w.value).scope != "argument" for w in stage.writes):
        return 1
    convert = Converter(plain_places(nest))
    found = list(loads([convert(root) for root in stage_roots(stage)]))
    gathered = [n for n in found if _is_dependent(n) and coefficient(load_index(n)[0], last) == 1]
    places = [convert.offset(w.index, convert.places[w.value]) for w in stage.writes]
    steps = [coefficient(load_index(n)[0], last) for n in found]
    fits = all(coefficient(place, last) == 1 for place in places) and all(step in (0, 1) for step in steps)
    return lanes if gathered and fits else 1


def _unguarded(write: Write) -> Write:
    """A write whose guarded gathers read the first row where the guard fails, and then choose: a choice is one
    instruction, and only accesses without a guard are wide."""

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        if node.op != "load" or load_guard(node)[0] is None:
            return None
        name, rank = node.attr
        index, guard, other = args[:rank], args[rank], args[rank + 1]
        # Only indices that come from data may be wrong; the others are right whatever the guard says.
        outside = [any(True for _ in loads((i,))) for i in index]
        if not any(outside) or any(axes_of((i,)) & axes_of((guard,)) for i, data in zip(index, outside) if not data):
            return None
        safe = [select(guard, i, const(0, INDEX)) if data else i for i, data in zip(index, outside)]
        return select(guard, load(name, safe, node.dtype), other)

    (expr,) = transform((write.expr,), rewrite)
    return Write(write.value, write.index, expr, write.guard, write.update)
