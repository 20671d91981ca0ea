"""Two-level reductions: a fold that too few grid points carry is cut into pieces that run side by side.

Input: the stages of one phase. Output: two loop nests, scheduled like any other, or None where the grid
is wide enough as it is. The first nest has a grid axis more, `piece`, and leaves the partial states in
scratch; the second combines them, folds what was left over, and runs the stages that came after.

Worked example, total = sum of x[200003] on 2 cores:

    nest 1: grid (piece: 8), fold over r: 25000 of x[piece*25000 + r], writes total.partial[piece]
    nest 2: grid (), fold over piece of total.partial, then over rest: 3 of x[200000 + rest]; total
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ftiny.lowering.expr import Axis, Expr, const, load, substitute, transform
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Map, Stage, Value, Write
from ftiny.lowering.schedule_merge import moved_write

if TYPE_CHECKING:
    from ftiny.lowering.schedule_generic import Context

MIN_RUN = 512
MIN_PIECE = {True: 4096, False: 32}  # folded elements per piece worth a worker: on a CPU, on a GPU


def cut_fold(context: Context, stages: tuple[Stage, ...]) -> tuple[LoopNest, LoopNest, tuple[Value, ...]] | None:
    """The two nests and the partial states between them, or None."""
    found = _only_fold(stages)
    if found is None:
        return None
    fold, after = found
    nest = context.nest
    cut = fold.over[0] if context.cpu else max(fold.over, key=lambda a: a.extent)
    count = piece_count(context, fold, cut)
    if count < 2:
        return None
    # Named after the axis that is cut: a nest that is cut twice has two axes of pieces, and equal ones would be one.
    piece = Axis(f"{cut.name}.piece", count)
    length = cut.extent // count
    run = Axis(f"{cut.name}.run", length)
    # On a CPU a piece is a run of neighbours, for its vectors; on a GPU pieces are neighbouring threads.
    position = axis_expr(piece) * length + axis_expr(run) if context.cpu else axis_expr(run) * count + axis_expr(piece)
    shape = (count, *(a.extent for a in nest.grid))
    partials = tuple(Value(context.fresh(f"{v.name}.partial"), shape, v.dtype, v.dtype, "global") for v in fold.state)
    over = tuple(run if a == cut else a for a in fold.over)
    step = tuple(substitute(fold.step, {cut: position}))
    index = tuple(axis_expr(a) for a in (piece, *nest.grid))
    finish = tuple(Write(p.name, index, load(v.name, (), v.dtype)) for p, v in zip(partials, fold.state))
    first = LoopNest(f"{nest.name}_pieces", (piece, *nest.grid), nest.arguments, (*nest.values, *partials), (
        Fold((), over, fold.state, fold.init, step, fold.combine, finish),), nest.equations)
    second = LoopNest(nest.name, nest.grid, nest.arguments, (*nest.values, *partials),
                      (*_joined(fold, piece, partials, nest.grid, cut, count * length), *after), nest.equations)
    return first, second, partials


def cut_scan(context: Context, stages: tuple[Stage, ...]) -> tuple[LoopNest, Fold] | None:
    """A long scan that few grid points carry, as a nest whose grid has its pieces and a scan across them."""
    if len(stages) != 1 or not isinstance(stages[0], Fold):
        return None
    fold, nest = stages[0], context.nest
    if not fold.emit or fold.finish or fold.combine is None or fold.axes or len(fold.over) != 1:
        return None
    (cut,) = fold.over
    wanted = context.capabilities.compute_units * (4 if context.cpu else 64) // math.prod(a.extent for a in nest.grid)
    count = max((c for c in range(1, min(wanted, cut.extent // MIN_RUN) + 1) if cut.extent % c == 0), default=1)
    if count < 2:
        return None
    piece, run = Axis(f"{cut.name}.piece", count), Axis(f"{cut.name}.run", cut.extent // count)
    mapping = {cut: axis_expr(piece) * run.extent + axis_expr(run)}
    moved = Fold((), (piece, run), fold.state, fold.init, tuple(substitute(fold.step, mapping)), fold.combine, (),
                 "look_back", tuple(moved_write(w, mapping) for w in fold.emit), fold.reverse)
    return LoopNest(nest.name, (*nest.grid, piece), nest.arguments, nest.values, (moved,), nest.equations), moved


def _only_fold(stages: tuple[Stage, ...]) -> tuple[Fold, tuple[Map, ...]] | None:
    """The fold and the maps after it, if that is all, and the states are scalars in any order."""
    if not stages or not isinstance(stages[0], Fold) or not all(isinstance(s, Map) for s in stages[1:]):
        return None
    fold = stages[0]
    if fold.combine is None or fold.emit or fold.axes or any(v.shape for v in fold.state):
        return None
    return fold, tuple(s for s in stages[1:] if isinstance(s, Map)) + (
        (Map((), fold.finish),) if fold.finish else ())


def piece_count(context: Context, fold: Fold, cut: Axis) -> int:
    """How many pieces: as many as idle workers could take, each with enough to do."""
    points = math.prod(a.extent for a in context.nest.grid)
    elements = math.prod(a.extent for a in fold.over)
    units = context.capabilities.compute_units
    if context.cpu:
        idle = units * 2 // max(1, points) if points < units * 2 else 1
        wanted = units * 4 // max(1, points) if idle > 1 else 1
    else:
        wanted = units * 256 // max(1, points)
    return max(1, min(wanted, cut.extent // 2, points * elements // MIN_PIECE[context.cpu]))


def _joined(fold: Fold, piece: Axis, partials: Iterable[Value], grid: tuple[Axis, ...], cut: Axis,
            covered: int) -> tuple[Fold, ...]:
    """The combination of the pieces and, where the pieces do not cover the axis, what is left over."""
    index = tuple(axis_expr(a) for a in (piece, *grid))
    others = {v.name + OTHER: load(p.name, index, v.dtype) for v, p in zip(fold.state, partials)}
    assert fold.combine is not None
    combined = Fold((), (piece,), fold.state, fold.init, _replaced(fold.combine, others), fold.combine)
    if covered == cut.extent:
        return (combined,)
    names = {v.name: Value(f"{v.name}.pieces", (), v.dtype, scope="register") for v in fold.state}
    early = {n: load(v.name, (), v.dtype) for n, v in names.items()}
    early |= {n + OTHER: load(v.name + OTHER, (), v.dtype) for n, v in names.items()}
    first = Fold((), (piece,), tuple(names.values()), fold.init, _replaced(combined.step, early),
                 _replaced(fold.combine, early))
    rest = Axis(f"{cut.name}.rest", cut.extent - covered)
    step = tuple(substitute(fold.step, {cut: axis_expr(rest) + const(covered)}))
    over = tuple(rest if a == cut else a for a in fold.over)
    init = tuple(load(names[v.name].name, (), v.dtype) for v in fold.state)
    return first, Fold((), over, fold.state, init, step, None)


def _replaced(exprs: Iterable[Expr], loads: dict[str, Expr]) -> tuple[Expr, ...]:
    return tuple(transform(exprs, lambda node, _: loads.get(node.attr[0]) if node.op == "load" else None))
