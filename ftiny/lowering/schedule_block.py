"""The GPU schedule for nests whose grid points have a row of work each: a block of threads per point.

Input: the stages of one phase. Output: one kernel, or nothing where a thread per point reads memory as
well. Maps and folds deal their last axis out to the threads, neighbours to neighbours; a fold's
partial states are combined by warp exchange and then across warps in shared memory (or, where there is
no exchange, by a tree in shared memory); the point's own arrays live in shared memory.

Worked example, softmax of 4096 columns: a block of 256 threads per row, 16 elements a thread; the row's
exponentials stay in 16 KB of shared memory between the passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ftiny.lowering.expr import Axis, Expr, compare, const, is_const, loads, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify, unflatten
from ftiny.lowering.kernel import (
    Assign,
    Barrier,
    Declare,
    DeclareArray,
    For,
    If,
    Stmt,
    Store,
    element,
    group,
    local,
    shuffle_xor,
)
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Map, Stage, Write, stage_roots, writes_of
from ftiny.lowering.schedule_body import Body, Converter, Names, Place, replace_loads
from ftiny.lowering.schedule_generic import Context, Worker, finish_kernel, live_states, nest_names
from ftiny.lowering.schedule_vector import Costs

MIN_ROW = 16


def schedule_block(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    if not takes(context.nest, stages):
        return False
    row = max(_row(s) for s in stages)
    most = min(context.capabilities.max_threads, 256)
    threads = 1 << max(5, min(most.bit_length() - 1, ((row + 3) // 4 - 1).bit_length()))
    _build(context, stages, min(threads, 1 << (most.bit_length() - 1)))
    return True


def takes(nest: LoopNest, stages: tuple[Stage, ...]) -> bool:
    """Whether a block of threads per grid point is right and good for these stages."""
    row = max((_row(s) for s in stages), default=0)
    return row >= MIN_ROW and all(_fits(nest, s) for s in stages) and _pays(nest, stages)


def _inner(stage: Stage) -> Axis | None:
    """The axis that is dealt out to the threads."""
    if isinstance(stage, Fold) and not stage.axes:
        return stage.over[-1]
    return stage.axes[-1] if stage.axes else None


def _row(stage: Stage) -> int:
    inner = _inner(stage)
    return 1 if inner is None else inner.extent


def _fits(nest: LoopNest, stage: Stage) -> bool:
    if any(w.update for w in writes_of(stage)):
        return False
    if isinstance(stage, Map):
        return True
    arrays = [v for v in stage.state if v.shape]
    if stage.combine is None or stage.emit or stage.reverse:
        return False
    if not arrays:
        return not stage.axes
    return len(arrays) == len(stage.state) and not any(v.name in live_states(nest) for v in arrays)


def _pays(nest: LoopNest, stages: tuple[Stage, ...]) -> bool:
    """Whether neighbours along the stages' own axes lie closer in memory than neighbouring grid points."""
    merged = tuple(a for a in nest.grid if a.extent > 1)
    costs = Costs(nest, stages)
    along = costs.along(32, smallest=1)
    if not merged:
        return True
    few = math.prod(a.extent for a in merged) < 1024
    return along < costs.across(merged[-1], 32 if merged[-1].extent >= 32 else 1) * (4 if few else 1)


def _build(context: Context, stages: tuple[Stage, ...], threads: int) -> None:
    worker = Worker(context, context.nest.grid)
    finish_kernel(context, block_statements(context, stages, worker, threads), worker, stages)


def block_statements(context: Context, stages: tuple[Stage, ...], worker: Worker, threads: int) -> list[Stmt]:
    """The statements of a block of so many threads, whose number is that of its grid point."""
    nest = context.nest
    # One block per point, whatever the generic worker would have done.
    worker.run, worker.count, worker.threads, worker.blocks = 1, worker.points, threads, worker.points
    worker.number = group(0, worker.points)
    worker.grid, worker.block = (worker.points, 1, 1), (threads, 1, 1)
    axes = unflatten(worker.number, nest.grid) if nest.grid else {}
    names = nest_names(nest, stages)
    arrays: list[Stmt] = []
    places = _places(context, stages, names, worker, arrays)
    body = BlockBody(nest, Converter(places, axes), names, threads, context.capabilities.warp)
    statements: list[Stmt] = []
    for number, stage in enumerate(stages):
        statements += body.stage(stage)
        barrier = _barrier(nest, stage, stages[number + 1:], body.convert)
        statements += [] if barrier is None else [barrier]
    return [*arrays, *body.scratch, *statements]


def _places(context: Context, stages: Iterable[Stage], names: Names, worker: Worker, arrays: list[Stmt]) -> dict:
    """Arguments as parameters, scalars in variables, the point's arrays in shared memory, in scratch when
    they do not fit."""
    places: dict[str, Place] = {}
    room = context.capabilities.shared_bytes * 3 // 4
    states = [v for s in stages if isinstance(s, Fold) for v in s.state]
    own = {w.value for s in stages for w in writes_of(s)}
    for value in (*context.nest.arguments, *context.nest.values, *states):
        size = math.prod(value.shape) * value.memory.itemsize
        if value.scope in ("argument", "global"):
            places[value.name] = Place("buffer", value.name, value.shape)
        elif not value.shape:
            places[value.name] = Place("variable", names.fresh(value.name))
        elif value.name not in own:
            places[value.name] = Place("variable", value.name)  # an array state: a variable per kept point
        elif size <= room:
            room -= size
            name = names.fresh(value.name)
            arrays.append(DeclareArray(name, value.memory, math.prod(value.shape), "shared"))
            places[value.name] = Place("buffer", name, value.shape)
        else:
            places[value.name] = context.private_scratch(value, worker)
    return places


def _barrier(nest: LoopNest, stage: Stage, later: Iterable[Stage], convert: Converter) -> Barrier | None:
    """What the threads must wait for after a stage: memory that a later stage reads."""
    written = {w.value for w in writes_of(stage) if convert.places[w.value].kind == "buffer"}
    read = {n.attr[0] for s in later for n in loads(stage_roots(s))}
    needed = written & read
    if not needed:
        return None
    shared = all(nest.value(n).scope in ("register", "shared") and convert.places[n].base is None for n in needed)
    return Barrier("shared" if shared else "global")


class BlockBody(Body):
    """Statements of one grid point for a block of threads."""

    def __init__(self, nest: LoopNest, converter: Converter, names: Names, threads: int, warp: int) -> None:
        super().__init__(nest, converter, names, 1, True, live_states(nest))
        self.threads, self.warp = threads, warp
        self.thread = local(0, threads)
        self.scratch: list[Stmt] = []

    def declaration(self, write: Write) -> list[Stmt]:
        place = self.convert.places[write.value]
        return super().declaration(write) if place.kind == "variable" else []

    def _dealt(self, inner: Axis) -> tuple[Axis, Converter, Expr | None]:
        """(loop axis, converter, guard) of an axis dealt out to the threads."""
        turn = Axis(self.names.fresh(f"{inner.name}k"), -(-inner.extent // self.threads))
        index = simplify(axis_expr(turn) * self.threads + self.thread)
        guard = None if inner.extent % self.threads == 0 else simplify(index < inner.extent)
        return turn, self.convert.with_axes({inner: index}), guard

    def _loop(self, turn: Axis, guard: Expr | None, body: list[Stmt]) -> list[Stmt]:
        if guard is not None and not is_const(guard, True):
            body = [If(guard, tuple(body))]
        return [For(turn, tuple(body))] if turn.extent > 1 else body

    def map(self, stage: Map) -> list[Stmt]:
        head = [s for w in stage.writes for s in self.declaration(w)]
        axes = tuple(a for a in stage.axes if a.extent != 1)
        if not axes:
            return head + self._by_one(stage.writes)
        turn, convert, guard = self._dealt(axes[-1])
        return head + self.nested(axes[:-1], self._loop(turn, guard, self.writes(stage.writes, convert)))

    def _by_one(self, writes: Iterable[Write]) -> list[Stmt]:
        """Writes of a point without axes: variables by every thread, memory by the first."""
        result: list[Stmt] = []
        for write in writes:
            statements = self.write(write, self.convert)
            if self.convert.places[write.value].kind == "variable":
                result += statements
            else:
                result.append(If(compare("eq", self.thread, const(0)), tuple(statements)))
        return result

    def fold(self, stage: Fold) -> list[Stmt]:
        if stage.state[0].shape:
            return self._fold_kept(stage)
        head = [s for w in stage.finish for s in self.declaration(w)]
        inner, outer = stage.over[-1], stage.over[:-1]
        names = [self.convert.places[v.name].name for v in stage.state]
        dtypes = [v.dtype for v in stage.state]
        head += [Declare(n, d, self.convert(e)) for n, d, e in zip(names, dtypes, stage.init)]
        turn, convert, guard = self._dealt(inner)
        step = self._advance([convert(e) for e in stage.step], names, dtypes)
        head += self.nested(outer, self._loop(turn, guard, step))
        return head + self._across_threads(stage, names, dtypes) + self._by_one(stage.finish)

    def _fold_kept(self, stage: Fold) -> list[Stmt]:
        """Every thread folds its own kept points."""
        kept = tuple(a for a in stage.axes if a.extent != 1)
        if not kept:
            return self._fold_scalars(stage, self.convert, 1, local=True)
        turn, convert, guard = self._dealt(kept[-1])
        body = self._fold_scalars(stage, convert, 1, local=True)
        return self.nested(kept[:-1], self._loop(turn, guard, body))

    # ------------------------------------------------------------------------- across threads

    def _combine(self, stage: Fold, names: list[str], right: list[Expr]) -> list[Stmt]:
        """state = combine(state, right), all components at once."""
        replaced = {v.name: variable(n, v.dtype) for v, n in zip(stage.state, names)}
        replaced |= {v.name + OTHER: x for v, x in zip(stage.state, right)}
        assert stage.combine is not None
        return self._advance(replace_loads(stage.combine, replaced), names, [v.dtype for v in stage.state])

    def _across_threads(self, stage: Fold, names: list[str], dtypes: list[np.dtype]) -> list[Stmt]:
        if self.warp <= 1:
            return self._tree(stage, names, dtypes)
        result: list[Stmt] = []
        distance = self.warp // 2
        while distance:
            taken = [self.names.fresh(f"{n}_from") for n in names]
            result += [Declare(t, d, shuffle_xor(variable(n, d), distance)) for t, n, d in zip(taken, names, dtypes)]
            result += self._combine(stage, names, [variable(t, d) for t, d in zip(taken, dtypes)])
            distance //= 2
        return result + self._across_warps(stage, names, dtypes) if self.threads > self.warp else result

    def _across_warps(self, stage: Fold, names: list[str], dtypes: list[np.dtype]) -> list[Stmt]:
        """Every warp leaves its state in shared memory; every thread combines them all."""
        warps = self.threads // self.warp
        arrays = self._arrays(names, dtypes, warps)
        first = compare("eq", self.thread % self.warp, const(0))
        leave = tuple(Store(a, self.thread // self.warp, variable(n, d)) for a, n, d in zip(arrays, names, dtypes))
        other = Axis(self.names.fresh("warp"), warps - 1)
        take = [element(a, axis_expr(other) + 1, d) for a, d in zip(arrays, dtypes)]
        return [If(simplify(first), leave), Barrier("shared"),
                *(Assign(n, element(a, const(0), d)) for a, n, d in zip(arrays, names, dtypes)),
                For(other, tuple(self._combine(stage, names, take)))]

    def _tree(self, stage: Fold, names: list[str], dtypes: list[np.dtype]) -> list[Stmt]:
        """Halve the number of states until one is left, in shared memory."""
        arrays = self._arrays(names, dtypes, self.threads)
        keep = [Store(a, self.thread, variable(n, d)) for a, n, d in zip(arrays, names, dtypes)]
        result: list[Stmt] = [*keep, Barrier("shared")]
        distance = self.threads // 2
        while distance:
            take = [element(a, self.thread + distance, d) for a, d in zip(arrays, dtypes)]
            result += [If(self.thread < distance, (*self._combine(stage, names, take), *keep)), Barrier("shared")]
            distance //= 2
        return result + [Assign(n, element(a, const(0), d)) for a, n, d in zip(arrays, names, dtypes)]

    def _arrays(self, names: list[str], dtypes: list[np.dtype], size: int) -> list[str]:
        arrays = [self.names.fresh(f"{n}_shared") for n in names]
        self.scratch += [DeclareArray(a, d, size, "shared") for a, d in zip(arrays, dtypes)]
        return arrays
