"""The interpreter of the loop nest: runs a nest by numpy the way kernels will, block by block.

Input: a nest and arrays; output: the arrays it writes. It does not take the structure on trust: every
fold is cut into pieces that start from init and are joined by combine, and the grid is run in blocks
that know nothing of each other, so a wrong init, combine or finish shows here, before any kernel.
Points of one block and one stage are evaluated together, vectorised.

Worked example: `evaluate_nest(softmax_nest, {"x": x}, blocks=3, pieces=2)["y"]` runs the rows in 3
blocks and every row's maximum and sum as 2 pieces each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ftiny.lowering.expr import Axis, Expr, evaluate
from ftiny.lowering.expr_numpy import evaluate_op
from ftiny.lowering.loops import (
    OTHER,
    Fold,
    LoopNest,
    LoopNestError,
    Map,
    Value,
    Write,
    check_nest,
    folds_grid,
    split_scatter,
)


def evaluate_nest(nest: LoopNest, arrays: Mapping[str, np.ndarray], blocks: int = 3,
                  pieces: int = 2) -> dict[str, np.ndarray]:
    """Run a nest.

    Args:
        nest: any nest that passes check_nest.
        arrays: argument name -> array of its shape, for every argument that is read before it is
            written; arguments that are only written start as garbage (NaN or a large number).
        blocks: into how many blocks the grid is cut.
        pieces: into how many pieces every fold within a grid point is cut.
    Returns:
        argument name -> array, for the arguments that the nest writes.
    Raises:
        LoopNestError: the nest or an array does not fit; IndexError: an unguarded access out of range.
    """
    check_nest(nest)
    if nest.scatter is None:
        return _Run(nest, arrays, blocks, pieces).run()
    copy, updates = split_scatter(nest)
    given = {v.name: arrays[v.name] for v in copy.arguments if v.name in arrays}
    started = _Run(copy, given, blocks, pieces).run()
    return _Run(updates, {**arrays, **started}, blocks, pieces).run()


@dataclass
class _Block:
    """A run of consecutive grid points: the value of every grid axis, and the points' private values."""

    axes: dict[Axis, np.ndarray]
    count: int
    private: dict[str, np.ndarray]


class _Run:
    """One evaluation. Arrays of private values have the block's points as their first dimension."""

    def __init__(self, nest: LoopNest, arrays: Mapping[str, np.ndarray], blocks: int, pieces: int) -> None:
        self.nest, self.pieces = nest, pieces
        self.memory: dict[str, np.ndarray] = {}
        for value in (*nest.arguments, *(v for v in nest.values if v.scope == "global")):
            self.memory[value.name] = self._initial(value, arrays.get(value.name))
        self.blocks = self._blocks(blocks)

    def _initial(self, value: Value, given: np.ndarray | None) -> np.ndarray:
        if given is None:
            return garbage(value.shape, value.memory)
        if tuple(given.shape) != value.shape:
            raise LoopNestError(f"loop nest {self.nest.name}: {value.name} has shape {value.shape}, got {given.shape}")
        return np.array(given, value.memory)

    def _blocks(self, count: int) -> list[_Block]:
        shape = tuple(a.extent for a in self.nest.grid)
        points = math.prod(shape)
        cuts = min(count, points) + 1 if points else 0
        edges = np.linspace(0, points, cuts).astype(int)
        result = []
        for start, stop in zip(edges[:-1], edges[1:]):
            flat = np.arange(start, stop)
            where = np.unravel_index(flat, shape) if shape else ()
            axes = dict(zip(self.nest.grid, where))
            result.append(_Block(axes, int(stop - start), {}))
        return result

    def run(self) -> dict[str, np.ndarray]:
        """Every stage over every block; a fold across the grid joins the blocks' states."""
        for stage in self.nest.stages:
            if isinstance(stage, Map):
                for block in self.blocks:
                    self._map(block, stage)
            elif folds_grid(self.nest, stage):
                self._fold_across(stage)
            else:
                for block in self.blocks:
                    self._fold_within(block, stage)
        return {name: self.memory[name] for name in self.nest.outputs()}

    # -------------------------------------------------------------------------------- memory

    def _evaluate(self, block: _Block, exprs: Iterable[Expr], local: Mapping[Axis, np.ndarray], rank: int,
                  states: Mapping[str, np.ndarray] | None = None) -> list[np.ndarray]:
        """Values of shape (points, *local); `rank` is the number of local dimensions."""
        wide = {a: v.reshape(-1, *(1,) * rank) for a, v in block.axes.items()} | dict(local)
        points = np.arange(block.count).reshape(-1, *(1,) * rank)

        def read(name: str, index: tuple[np.ndarray, ...]) -> np.ndarray:
            if states is not None and name in states:
                return states[name]
            value = self.nest.value(name)
            self._check_range(value, index)
            if name in self.memory:
                return self.memory[name][index].astype(value.dtype)
            if not value.shape:
                return block.private[name].reshape(-1, *(1,) * rank)
            return block.private[name][(np.broadcast_to(points, np.broadcast_shapes(points.shape, *(
                i.shape for i in index))), *index)]

        return evaluate(exprs, wide, read)

    def _check_range(self, value: Value, index: tuple[np.ndarray, ...]) -> None:
        for dimension, (position, extent) in enumerate(zip(index, value.shape)):
            if np.size(position) and (np.min(position) < 0 or np.max(position) >= extent):
                raise IndexError(f"loop nest {self.nest.name}: {value.name} read or written at {int(np.max(position))} "
                                 f"or {int(np.min(position))} along axis {dimension} of extent {extent}")

    def _write(self, block: _Block, write: Write, local: Mapping[Axis, np.ndarray], rank: int,
               states: Mapping[str, np.ndarray] | None = None) -> None:
        value = self.nest.value(write.value)
        results = self._evaluate(block, write.roots(), local, rank, states)
        full = np.broadcast_shapes((block.count, *(1,) * rank), *(r.shape for r in results),
                                   *(a.shape for a in local.values()))
        spread = [np.broadcast_to(r, full) for r in results]
        mask = spread.pop() if write.guard is not None else np.ones(full, bool)
        *index, new = [s[mask] for s in spread]
        self._check_range(value, tuple(index))
        if value.scope in ("argument", "global"):
            target = self.memory[value.name]
        else:
            target = self._private(block, value)
            index = [np.broadcast_to(np.arange(block.count).reshape(-1, *(1,) * rank), full)[mask], *index]
        self._put(target, tuple(index), new, write.update)

    def _private(self, block: _Block, value: Value) -> np.ndarray:
        if value.name not in block.private:
            block.private[value.name] = garbage((block.count, *value.shape), value.memory)
        return block.private[value.name]

    def _put(self, target: np.ndarray, index: tuple[np.ndarray, ...], new: np.ndarray, update: str | None) -> None:
        if update is None:
            if index or new.size:
                target[index] = new.astype(target.dtype) if index else new[-1]
            return
        for position, one in zip(zip(*index), new) if index else [((), one) for one in new]:
            old = target[position]
            target[position] = evaluate_op(update, [np.asarray(old, new.dtype), np.asarray(one)], new.dtype)

    # -------------------------------------------------------------------------------- stages

    def _local(self, axes: tuple[Axis, ...]) -> dict[Axis, np.ndarray]:
        """Local axes as arrays that broadcast against (points, *axes)."""
        rank = len(axes)
        return {a: np.arange(a.extent).reshape(1, *(a.extent if k == n else 1 for k in range(rank)))
                for n, a in enumerate(axes)}

    def _map(self, block: _Block, stage: Map) -> None:
        local = self._local(stage.axes)
        for write in stage.writes:
            self._write(block, write, local, len(stage.axes))

    def _states(self, block: _Block, stage: Fold) -> dict[str, np.ndarray]:
        """The init states, of shape (points, *kept)."""
        rank, shape = len(stage.axes), (block.count, *(a.extent for a in stage.axes))
        values = self._evaluate(block, stage.init, self._local(stage.axes), rank)
        return {v.name: np.broadcast_to(x, shape).astype(v.dtype) for v, x in zip(stage.state, values)}

    def _advance(self, block: _Block, stage: Fold, states: dict[str, np.ndarray],
                 position: Mapping[Axis, np.ndarray], emit: bool) -> dict[str, np.ndarray]:
        """One step at the folded position."""
        rank, shape = len(stage.axes), (block.count, *(a.extent for a in stage.axes))
        local = {**self._local(stage.axes), **position}
        new = self._evaluate(block, stage.step, local, rank, states)
        states = {v.name: np.broadcast_to(x, shape).astype(v.dtype) for v, x in zip(stage.state, new)}
        for write in stage.emit if emit else ():
            self._write(block, write, local, rank, states)
        return states

    def _combined(self, block: _Block, stage: Fold, left: dict[str, np.ndarray],
                  right: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert stage.combine is not None
        names = {**left, **{n + OTHER: x for n, x in right.items()}}
        new = self._evaluate(block, stage.combine, self._local(stage.axes), len(stage.axes), names)
        shape = next(iter(left.values())).shape
        return {v.name: np.broadcast_to(x, shape).astype(v.dtype) for v, x in zip(stage.state, new)}

    def _positions(self, axes: tuple[Axis, ...], reverse: bool) -> list[dict[Axis, np.ndarray]]:
        """Every point of the folded local axes, in folding order."""
        points = [dict(zip(axes, map(np.asarray, p))) for p in np.ndindex(*(a.extent for a in axes))]
        return points[::-1] if reverse else points

    def _run_pieces(self, block: _Block, stage: Fold, positions: list, start: dict[str, np.ndarray] | None,
                    emit: bool) -> dict[str, np.ndarray]:
        """Fold `positions` in pieces. Every piece starts from init; a scan folds each piece again from
        what precedes it, to emit."""
        cuts = np.array_split(np.arange(len(positions)), self.pieces if stage.combine is not None else 1)
        total = self._states(block, stage) if start is None else start
        for cut in cuts:
            part = self._states(block, stage) if stage.combine is not None else total
            for k in cut:
                part = self._advance(block, stage, part, positions[k], emit=emit and stage.combine is None)
            if stage.combine is None:
                return part
            running = total
            for k in cut if emit and stage.emit else ():
                running = self._advance(block, stage, running, positions[k], emit=True)
            total = self._combined(block, stage, total, part)
        return total

    def _fold_within(self, block: _Block, stage: Fold) -> None:
        positions = self._positions(stage.over, stage.reverse)
        states = self._run_pieces(block, stage, positions, None, emit=True)
        self._finish(block, stage, states)
        for value in stage.state:
            kept = states[value.name]
            block.private[value.name] = kept if value.shape else kept.reshape(block.count, -1)[:, 0]

    def _finish(self, block: _Block, stage: Fold, states: dict[str, np.ndarray]) -> None:
        local = self._local(stage.axes)
        for write in stage.finish:
            self._write(block, write, local, len(stage.axes), states)

    # --------------------------------------------------------------------- folds across blocks

    def _fold_across(self, stage: Fold) -> None:
        """Within a block, points that share the kept grid axes fold in order into one state per block;
        then the blocks' states are combined in block order, and the finish writes run once."""
        folded = [a for a in self.nest.grid if a in stage.over]
        free = tuple(a for a in self.nest.grid if a not in stage.over)
        inner = self._positions(tuple(a for a in stage.over if a not in folded), stage.reverse)
        totals: dict[tuple, dict[str, np.ndarray]] = {}
        blocks = self.blocks[::-1] if stage.reverse else self.blocks
        for block in blocks:
            for key, members in self._groups(block, free, stage.reverse).items():
                self._fold_group(stage, block, members, inner, key, totals)
        for key in np.ndindex(*(a.extent for a in free)):
            one = _Block({a: np.asarray([k]) for a, k in zip(free, key)}, 1, {})
            self._finish(one, stage, totals[key] if key in totals else self._states(one, stage))

    def _groups(self, block: _Block, free: tuple[Axis, ...], reverse: bool) -> dict[tuple, list[int]]:
        groups: dict[tuple, list[int]] = {}
        order = range(block.count)
        for k in reversed(order) if reverse else order:
            groups.setdefault(tuple(int(block.axes[a][k]) for a in free), []).append(k)
        return groups

    def _fold_group(self, stage: Fold, block: _Block, members: list[int], inner: list, key: tuple,
                    totals: dict[tuple, dict[str, np.ndarray]]) -> None:
        """Fold the points of one block that share `key`, starting from init, and join the result."""
        points = [self._point(block, k) for k in members]
        part = self._states(points[0], stage)
        for point in points:
            for position in inner:
                part = self._advance(point, stage, part, position, emit=False)
        before = totals.get(key)
        if stage.emit:
            running = self._states(points[0], stage) if before is None else before
            for point in points:
                for position in inner:
                    running = self._advance(point, stage, running, position, emit=True)
        totals[key] = part if before is None else self._combined(points[0], stage, before, part)

    def _point(self, block: _Block, k: int) -> _Block:
        return _Block({a: v[k : k + 1] for a, v in block.axes.items()}, 1,
                      {n: v[k : k + 1] for n, v in block.private.items()})


def garbage(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """What uninitialised memory may hold: NaN, or a large integer."""
    if dtype.kind == "b":
        return np.ones(shape, dtype)
    return np.full(shape, 77 if dtype.kind in "iu" else np.nan, dtype)
