"""The GPU schedule for folds whose neighbouring grid points lie side by side in memory, as the sums of columns do.

Input: the stages of one phase. Output: one kernel, or nothing where a thread for a few points is as good, or the
folds are along rows. A block has `across` threads side by side, each with a few columns in one wide access, and
`down` rows of such threads, which fold every down-th element; their states meet in shared memory, by halves. Folds
that too few blocks would carry are cut into pieces before (schedule_pieces.py).

Worked example, sums over the first axis of x[65536, 1024] float32: 8 blocks lie side by side, each of 32 threads
with 4 columns; in 128 pieces that makes 1024 blocks, in which 8 rows of threads add up 64 elements each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ftiny.lowering.expr import Axis, Expr, compare, const, loads, minimum
from ftiny.lowering.index import simplify, unflatten
from ftiny.lowering.kernel import Stmt, group, local, ramp
from ftiny.lowering.loops import Fold, LoopNest, Stage, stage_roots, writes_of
from ftiny.lowering.schedule_block import BLOCK, cheapest_along
from ftiny.lowering.schedule_block_body import BlockBody, Layout
from ftiny.lowering.schedule_body import Converter, Names, Place
from ftiny.lowering.schedule_generic import Context, Worker, finish_kernel, nest_names
from ftiny.lowering.schedule_wide import RESIDENT, crowded, point_lanes

ACROSS = 32  # threads side by side, at most
SHORTEST = 32  # folded elements, below which a thread has all of them
EACH = 4  # folded elements that a thread should have at least


@dataclass(frozen=True)
class Columns:
    """A block: `across` threads of `lanes` columns of `axis` side by side, in `down` rows; `blocks` of them."""

    axis: Axis
    across: int
    down: int
    lanes: int
    blocks: int


def schedule_columns(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    layout = columns(context, stages)
    if layout is None:
        return False
    _build(context, stages, layout)
    return True


def columns(context: Context, stages: tuple[Stage, ...], pieces: bool = False) -> Columns | None:
    """The layout, or None. Where blocks would be few, fewer threads lie side by side and more below each other, unless
    `pieces` of the folds make the blocks many."""
    nest, units = context.nest, context.capabilities.compute_units
    axis = next((a for a in reversed(nest.grid) if a.extent > 1), None)
    if axis is None or not _fits(nest, stages) or cheapest_along(nest, stages):
        return None
    lanes = point_lanes(nest, stages, axis)
    if crowded(context, lanes):
        return None
    chunks, others = axis.extent // lanes, math.prod(a.extent for a in nest.grid if a is not axis)
    across = min(ACROSS, 1 << (chunks - 1).bit_length())
    while not pieces and across > 8 and others * -(-chunks // across) < units:
        across //= 2
    blocks = others * -(-chunks // across)
    busy = BLOCK if pieces else max(BLOCK, min(1024, 1 << (units * RESIDENT // blocks).bit_length() - 1))
    threads = min(busy, 1 << (context.capabilities.max_threads.bit_length() - 1))
    down = min(threads // across, 1 << (-(-folded_elements(stages) // EACH) - 1).bit_length())
    return Columns(axis, across, down, lanes, blocks)


def folded_elements(stages: tuple[Stage, ...]) -> int:
    """The elements of the longest fold."""
    return max((math.prod(a.extent for a in s.over) for s in stages if isinstance(s, Fold)), default=0)


def _fits(nest: LoopNest, stages: tuple[Stage, ...]) -> bool:
    """Whether the folds have scalar states and enough to do, and all that threads hand to each other is those."""
    written: set[str] = set()
    for stage in stages:
        if any(w.update for w in writes_of(stage)) or any(n.attr[0] in written for n in loads(stage_roots(stage))):
            return False
        if isinstance(stage, Fold) and (stage.combine is None or stage.emit or stage.reverse or
                                        any(a.extent != 1 for a in stage.axes) or any(v.shape for v in stage.state)):
            return False
        written |= {w.value for w in writes_of(stage) if nest.value(w.value).shape}
    private = any(nest.value(name).scope in ("register", "shared") for name in written)
    return not private and folded_elements(stages) >= SHORTEST


def _build(context: Context, stages: tuple[Stage, ...], layout: Columns) -> None:
    nest, size = context.nest, layout.across * layout.down
    others = tuple(a for a in nest.grid if a is not layout.axis)
    chunks = layout.axis.extent // layout.lanes
    block = Axis("block", -(-chunks // layout.across))
    worker = Worker(context, (*others, block))
    worker.threads, worker.number = size, group(0, layout.blocks)
    worker.grid, worker.block = (layout.blocks, 1, 1), (size, 1, 1)
    axes = dict(unflatten(worker.number, (*others, block)))
    chunk = simplify(axes.pop(block) * layout.across + local(0, size) % layout.across)
    guard = None if chunks % layout.across == 0 else simplify(compare("lt", chunk, const(chunks)))
    # Threads past the last column fold it again, for the barriers; they store nothing.
    inside = chunk if guard is None else minimum(chunk, const(chunks - 1))
    axes[layout.axis] = simplify(inside * layout.lanes + ramp(layout.lanes))
    places = {v.name: Place("buffer", v.name, v.shape) if v.scope in ("argument", "global") else
              Place("variable", v.name) for v in nest.all_values()}
    body = ColumnBody(nest, Converter(places, axes), nest_names(nest, stages), layout, guard)
    statements: list[Stmt] = [s for stage in stages for s in body.stage(stage)]
    finish_kernel(context, [*body.scratch, *statements], worker, stages)


class ColumnBody(BlockBody):
    """Statements of a thread's columns; folds are dealt out to the rows of threads."""

    def __init__(self, nest: LoopNest, converter: Converter, names: Names, layout: Columns,
                 guard: Expr | None) -> None:
        super().__init__(nest, converter, names, Layout(layout.down), 1, None, guard)
        self.thread = simplify(local(0, layout.across * layout.down) // layout.across)
        self.column = simplify(local(0, layout.across * layout.down) % layout.across)
        self.layout, self.wide, self.states = layout, layout.lanes, layout.across * layout.lanes

    def state(self, thread: Expr) -> Expr:
        return simplify((thread * self.layout.across + self.column) * self.layout.lanes + ramp(self.layout.lanes))
