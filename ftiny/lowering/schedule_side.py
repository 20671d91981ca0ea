"""Serial folds of neighbouring grid points, side by side in one worker on a CPU.

Input: the stages of one phase, where they are one fold that must run in order (a recurrence) at every grid point.
Output: a nest whose points are vectors of neighbours, with the states of several vectors in each; or the same stages. A
step then reads and writes longer pieces of memory (a step's data lies far from the next one's), and the sums of one
vector do not wait for each other.

Worked example, c = 0.9*c + x[t, i] for i < 4096 with 16 lanes: grid (i_chunk: 32, i_lane: 16), states s0.0 .. s0.7, of
which s0.j is that of i = i_chunk*128 + j*16 + i_lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from ftiny.lowering.expr import Axis, Expr, load, substitute
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.loops import Fold, LoopNest, Stage, Write
from ftiny.lowering.schedule_body import replace_loads
from ftiny.lowering.schedule_merge import moved_write

if TYPE_CHECKING:
    from ftiny.lowering.schedule_generic import Context

MOST_VECTORS = 8  # of states: vector registers are few


def side_by_side(context: Context, stages: tuple[Stage, ...]) -> tuple[LoopNest, tuple[Stage, ...]]:
    """The nest and its stages, with several vectors of grid points in one where that is possible."""
    nest, lanes = context.nest, context.lanes()
    stage = stages[0] if len(stages) == 1 else None
    if not isinstance(stage, Fold) or not nest.grid or lanes == 1:
        return nest, stages
    if stage.combine is not None or stage.axes or not stage.emit or any(v.shape for v in stage.state):
        return nest, stages
    inner = nest.grid[-1]
    workers = prod(a.extent for a in nest.grid[:-1])
    least = 2 * context.capabilities.compute_units
    counts = [c for c in (8, 4, 2) if inner.extent % (c * lanes) == 0 and c * len(stage.state) <= MOST_VECTORS
              and workers * (inner.extent // (c * lanes)) >= least]
    if not counts:
        return nest, stages
    moved, grid = _widened(stage, inner, counts[0], lanes)
    return replace(nest, grid=(*nest.grid[:-1], *grid), stages=(moved,)), (moved,)


def _widened(stage: Fold, inner: Axis, count: int, lanes: int) -> tuple[Fold, tuple[Axis, Axis]]:
    """The fold with `count` vectors of the inner axis in each point, and the axes in place of that one."""
    chunk, lane = Axis(f"{inner.name}_chunk", inner.extent // (count * lanes)), Axis(f"{inner.name}_lane", lanes)
    first = axis_expr(chunk) * (count * lanes) + axis_expr(lane)
    parts = [_moved(stage, {inner: first + number * lanes}, f".{number}") for number in range(count)]
    joined = parts[0]
    for part in parts[1:]:
        joined = replace(joined, state=joined.state + part.state, init=joined.init + part.init,
                         step=joined.step + part.step, finish=joined.finish + part.finish,
                         emit=joined.emit + part.emit)
    return joined, (chunk, lane)


def _moved(stage: Fold, place: dict[Axis, Expr], suffix: str) -> Fold:
    """The fold with axes replaced and states of other names."""
    states = tuple(replace(v, name=v.name + suffix) for v in stage.state)
    loads = {old.name: load(new.name, (), new.dtype) for old, new in zip(stage.state, states)}

    def renamed(exprs: Iterable[Expr]) -> tuple[Expr, ...]:
        return tuple(replace_loads(substitute(exprs, place), loads))

    def written(writes: Iterable[Write]) -> tuple[Write, ...]:
        moved = (moved_write(w, place) for w in writes)
        return tuple(replace(w, expr=replace_loads((w.expr,), loads)[0]) for w in moved)

    return replace(stage, state=states, init=renamed(stage.init), step=renamed(stage.step),
                   finish=written(stage.finish), emit=written(stage.emit))
