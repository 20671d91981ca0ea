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

from ftiny.lowering.expr import Axis, Expr, const, load, substitute
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.kernel import WIDE_BYTES
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Map, Stage, Value, Write
from ftiny.lowering.schedule_body import replace_loads
from ftiny.lowering.schedule_merge import moved_write

if TYPE_CHECKING:
    from ftiny.lowering.schedule_generic import Context

MIN_RUN = 512
# Folded elements worth a worker of their own: a CPU's work-item, a GPU's block of threads, its thread, and the thread
# of a block that folds columns.
MIN_PIECE, MIN_BLOCK_PIECE, MIN_THREAD_PIECE, MIN_COLUMN_PIECE = 4096, 8192, 64, 32
BLOCKS_PER_UNIT = 8  # blocks of 256 threads that a multiprocessor holds: all pieces run at once


def cut_fold(context: Context, stages: tuple[Stage, ...]) -> tuple[LoopNest, LoopNest, tuple[Value, ...]] | None:
    """The two nests and the partial states between them, or None."""
    from ftiny.lowering.schedule_columns import columns

    found = _only_fold(stages)
    if found is None:
        return None
    fold, after = found
    nest = context.nest
    cut = fold.over[0] if context.cpu else max(fold.over, key=lambda a: a.extent)
    count = piece_count(context, stages, cut)
    if count < 2:
        return None
    length, count = _run_length(context, cut.extent, count)
    piece, run = Axis(_new_axis("piece", nest), count), Axis(f"{cut.name}.run", length)
    position = axis_expr(piece) * length + axis_expr(run)
    # Where the second nest's threads read along the pieces (rows on a GPU), those lie side by side.
    order = (piece, *nest.grid) if context.cpu or columns(context, stages) else (*nest.grid, piece)
    shape = tuple(a.extent for a in order)
    partials = tuple(Value(context.fresh(f"{v.name}.partial"), shape, v.dtype, v.dtype, "global") for v in fold.state)
    over = tuple(run if a == cut else a for a in fold.over)
    step = tuple(substitute(fold.step, {cut: position}))
    index = tuple(axis_expr(a) for a in order)
    finish = tuple(Write(p.name, index, load(v.name, (), v.dtype)) for p, v in zip(partials, fold.state))
    first = LoopNest(f"{nest.name}_pieces", (piece, *nest.grid), nest.arguments, (*nest.values, *partials), (
        Fold((), over, fold.state, fold.init, step, fold.combine, finish),), nest.equations)
    second = LoopNest(nest.name, nest.grid, nest.arguments, (*nest.values, *partials),
                      _joined(fold, piece, partials, index, cut, count * length, after), nest.equations)
    return first, second, partials


def cut_scan(context: Context, stages: tuple[Stage, ...]) -> tuple[LoopNest, Fold] | None:
    """A long scan that few grid points carry, as a nest whose grid has its pieces and a scan across them."""
    if len(stages) != 1 or not isinstance(stages[0], Fold):
        return None
    fold, nest = stages[0], context.nest
    if not fold.emit or fold.finish or fold.combine is None or fold.axes or len(fold.over) != 1:
        return None
    (cut,) = fold.over
    lines = max(1, math.prod(a.extent for a in nest.grid))
    wanted = context.capabilities.compute_units * (4 if context.cpu else 64) // lines
    count = max((c for c in range(1, min(wanted, cut.extent // MIN_RUN) + 1) if cut.extent % c == 0), default=1)
    if count < 2:
        return None
    piece, run = Axis(f"{cut.name}.piece", count), Axis(f"{cut.name}.run", cut.extent // count)
    mapping = {cut: axis_expr(piece) * run.extent + axis_expr(run)}
    moved = Fold((), (piece, run), fold.state, fold.init, tuple(substitute(fold.step, mapping)), fold.combine, (),
                 "look_back", tuple(moved_write(w, mapping) for w in fold.emit), fold.reverse)
    return LoopNest(nest.name, (*nest.grid, piece), nest.arguments, nest.values, (moved,), nest.equations), moved


def _run_length(context: Context, extent: int, count: int) -> tuple[int, int]:
    """(length of a piece, number of pieces); a worker of the second kernel takes what is left over. On a CPU that is
    a piece like the others. On a GPU all the machine would wait for the one block that has it: the
    number changes a little if then nothing is left, or only so much is that every piece starts at a wide access."""
    if context.cpu:
        length = -(-extent // count)
        return length, extent // length
    near = [c for c in range(max(2, count * 3 // 4), count * 5 // 4 + 1) if extent % c == 0]
    if near:
        count = max(near, key=lambda c: (c <= count, min(c, count), -c))
    length = extent // count
    return (length // WIDE_BYTES * WIDE_BYTES if length >= MIN_BLOCK_PIECE else length), count


def _new_axis(name: str, nest: LoopNest) -> str:
    """A name that no axis of the grid has: a nest of pieces may be cut again."""
    taken = {a.name for a in nest.grid}
    return next(found for found in (name, *(f"{name}{k}" for k in range(1, len(taken) + 2))) if found not in taken)


def _only_fold(stages: tuple[Stage, ...]) -> tuple[Fold, tuple[Map, ...]] | None:
    """The fold and the maps after it, if that is all, and the states are scalars in any order."""
    if not stages or not isinstance(stages[0], Fold) or not all(isinstance(s, Map) for s in stages[1:]):
        return None
    fold = stages[0]
    if fold.combine is None or fold.emit or fold.axes or any(v.shape for v in fold.state):
        return None
    return fold, tuple(s for s in stages[1:] if isinstance(s, Map)) + (
        (Map((), fold.finish),) if fold.finish else ())


def piece_count(context: Context, stages: tuple[Stage, ...], cut: Axis) -> int:
    """How many pieces: as many as idle workers could take, each with enough to do."""
    from ftiny.lowering.schedule_block import takes
    from ftiny.lowering.schedule_columns import columns

    (fold,) = (s for s in stages if isinstance(s, Fold))
    points = max(1, math.prod(a.extent for a in context.nest.grid))
    elements = math.prod(a.extent for a in fold.over)
    units = context.capabilities.compute_units
    if context.cpu:
        wanted = units * 4 // points if points < units * 2 else 1
        least = MIN_PIECE // points
    elif (layout := columns(context, stages, pieces=True)) is not None:
        full, alone = units * BLOCKS_PER_UNIT, columns(context, stages)
        enough = layout.blocks >= full // 2 or (alone is not None and elements <= MIN_COLUMN_PIECE * alone.down)
        wanted, least = 1 if enough else full // layout.blocks, MIN_COLUMN_PIECE * layout.down
    elif takes(context.nest, stages):
        wanted, least = (units * BLOCKS_PER_UNIT // points if points < units * 2 else 1), MIN_BLOCK_PIECE
    else:
        wanted, least = units * 64 // points, MIN_THREAD_PIECE
    return max(1, min(wanted, cut.extent // 2, elements // max(1, least)))


def _joined(fold: Fold, piece: Axis, partials: Iterable[Value], index: tuple[Expr, ...], cut: Axis, covered: int,
            after: Iterable[Map]) -> tuple[Stage, ...]:
    """The combination of the pieces, the fold of what they leave over, and the stages after, which read
    both together."""
    others = {v.name + OTHER: load(p.name, index, v.dtype) for v, p in zip(fold.state, partials)}
    assert fold.combine is not None
    combined = Fold((), (piece,), fold.state, fold.init, replaced(fold.combine, others), fold.combine)
    if covered == cut.extent:
        return (combined, *after)
    names = {v.name: Value(f"{v.name}.rest", (), v.dtype, scope="register") for v in fold.state}
    fresh = {n: load(v.name, (), v.dtype) for n, v in names.items()}
    fresh |= {n + OTHER: load(v.name + OTHER, (), v.dtype) for n, v in names.items()}
    rest = Axis(f"{cut.name}.rest", cut.extent - covered)
    step = replaced(substitute(fold.step, {cut: axis_expr(rest) + const(covered)}), fresh)
    over = tuple(rest if a == cut else a for a in fold.over)
    left_over = Fold((), over, tuple(names.values()), fold.init, step, replaced(fold.combine, fresh))
    both = replaced(fold.combine, {n + OTHER: load(v.name, (), v.dtype) for n, v in names.items()})
    total = {v.name: e for v, e in zip(fold.state, both)}
    return (combined, left_over, *(Map(m.axes, tuple(_reading(w, total) for w in m.writes)) for m in after))


def replaced(exprs: Iterable[Expr], loads: dict[str, Expr]) -> tuple[Expr, ...]:
    """replace_loads, as a tuple."""
    return tuple(replace_loads(exprs, loads))


def _reading(write: Write, total: dict[str, Expr]) -> Write:
    roots = replaced(write.roots(), total)
    rank = len(write.index)
    return Write(write.value, roots[:rank], roots[rank], None if write.guard is None else roots[rank + 1], write.update)
