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

from ftiny.lowering.expr import Axis, Expr, compare, const, minimum
from ftiny.lowering.index import simplify, unflatten
from ftiny.lowering.kernel import Stmt, group, local, ramp
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, writes_of
from ftiny.lowering.schedule_block import BLOCK, cheapest_along
from ftiny.lowering.schedule_block_body import BlockBody, Layout
from ftiny.lowering.schedule_body import Converter, Names, Place
from ftiny.lowering.schedule_generic import Context, Worker, finish_kernel, nest_names
from ftiny.lowering.schedule_wide import crowded, point_lanes

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
    """The layout, or None. Fewer threads lie side by side where blocks would be few, unless `pieces` of the folds
    make them many."""
    nest = context.nest
    axis = next((a for a in reversed(nest.grid) if a.extent > 1), None)
    if axis is None or not _fits(nest, stages) or cheapest_along(nest, stages):
        return None
    lanes = point_lanes(nest, stages, axis)
    if crowded(context, lanes):
        return None
    chunks, others = axis.extent // lanes, math.prod(a.extent for a in nest.grid if a is not axis)
    across = min(ACROSS, 1 << (chunks - 1).bit_length())
    while not pieces and across > 8 and others * -(-chunks // across) < context.capabilities.compute_units:
        across //= 2
    folded = max(math.prod(a.extent for a in s.over) for s in stages if isinstance(s, Fold))
    most = min(BLOCK, 1 << (context.capabilities.max_threads.bit_length() - 1)) // across
    down = min(most, 1 << (-(-folded // EACH) - 1).bit_length())
    return Columns(axis, across, down, lanes, others * -(-chunks // across))


def _fits(nest: LoopNest, stages: tuple[Stage, ...]) -> bool:
    """Folds of scalar states, enough to do, and nothing else that has an axis of its own."""
    longest = 0
    for stage in stages:
        if any(w.update for w in writes_of(stage)) or any(a.extent != 1 for a in stage.axes):
            return False
        if any(nest.value(w.value).shape and nest.value(w.value).scope in ("register", "shared")
               for w in writes_of(stage)):
            return False
        if isinstance(stage, Fold):
            if stage.combine is None or stage.emit or stage.reverse or any(v.shape for v in stage.state):
                return False
            longest = max(longest, math.prod(a.extent for a in stage.over))
    return longest >= SHORTEST


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

    def map(self, stage: Map) -> list[Stmt]:
        head = [s for w in stage.writes for s in self.declaration(w)]
        return head + self._by_one(stage.writes)
