"""The CPU schedule for nests whose neighbouring grid points lie side by side in memory: a lane each.

Input: the stages of one phase, no fold across the grid. Output: one kernel, or nothing where vectors
along the stages' own axes (schedule_body.py) are cheaper. A work-item walks a run of chunks, 16 grid
points at a time, folds included (a column sum keeps 16 columns in one vector); what does not fill a
vector is done one by one.

Worked example: y[i, j] = x[i, j] + 1 for 64x1000 becomes one axis of 64000 points; 8 work-items have
8000 each, 500 vectors of 16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ftiny.lowering.expr import Axis, Expr, const, load_index, minimum, topological
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, simplify
from ftiny.lowering.kernel import For, If, Stmt, ramp
from ftiny.lowering.loops import Fold, LoopNest, Stage, stage_roots, writes_of
from ftiny.lowering.schedule_body import MIN_LANES, Converter, Names
from ftiny.lowering.schedule_generic import (
    Context,
    Worker,
    build_body,
    cpu_workers,
    finish_kernel,
    nest_names,
    point_work,
)
from ftiny.lowering.schedule_merge import offsets_and_values, plain_places

GATHER = 1.5


def schedule_vector(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    nest, lanes = context.nest, context.lanes()
    points = math.prod(a.extent for a in nest.grid)
    if lanes == 1 or points < 2 or not _fits(nest, stages):
        return False
    candidates = [a for a in nest.grid if a.extent > 1]
    here = Costs(nest, stages)
    best = min(((here.across(a, min(lanes, _power_of_two(a.extent))), -k, a) for k, a in enumerate(candidates)),
               default=None)
    if best is None or best[0] >= here.along(lanes):
        return False
    vector = best[2]
    _build(context, stages, vector, min(lanes, _power_of_two(vector.extent)))
    return True


def _power_of_two(extent: int) -> int:
    return 1 << (extent.bit_length() - 1)


def _fits(nest: LoopNest, stages: Iterable[Stage]) -> bool:
    """Whether lanes can be grid points: no private arrays, no scattered updates."""
    for stage in stages:
        if isinstance(stage, Fold) and any(v.shape for v in stage.state):
            return False
        for write in writes_of(stage):
            value = nest.value(write.value)
            if write.update or (value.scope in ("register", "shared") and value.shape):
                return False
    return True


# ------------------------------------------------------------------------------------------ costs


class Costs:
    """Rough costs of one grid point: one per operation or vector access, more for gathered lanes."""

    def __init__(self, nest: LoopNest, stages: tuple[Stage, ...]) -> None:
        self.nest, self.stages = nest, stages
        self.convert = Converter(plain_places(nest))

    def across(self, vector: Axis, lanes: int) -> float:
        """With lanes along a grid axis."""
        if lanes < 2:
            return self.scalar() * GATHER
        covered = vector.extent // lanes * lanes / vector.extent
        cost = sum(self._iterations(s) * self._vector(s, vector, lanes) for s in self.stages)
        return cost * covered + (1 - covered) * self.scalar()

    def along(self, lanes: int) -> float:
        """With lanes along the stages' own last axes, scalars where that does not fit."""
        total = 0.0
        for stage in self.stages:
            scalar = self._iterations(stage) * self._scalar(stage)
            options = [stage.over[-1]] if isinstance(stage, Fold) and stage.combine and not stage.emit else []
            options += [stage.axes[-1]] if stage.axes else []
            vectors = [self._iterations(stage) * self._vector(stage, a, min(lanes, _power_of_two(a.extent)))
                       for a in options if a.extent >= MIN_LANES]
            total += min([scalar, *vectors])
        return total

    def scalar(self) -> float:
        """Without vectors."""
        return sum(self._iterations(s) * self._scalar(s) for s in self.stages)

    def _iterations(self, stage: Stage) -> int:
        return math.prod(a.extent for a in (*stage.axes, *(stage.over if isinstance(stage, Fold) else ())))

    def _scalar(self, stage: Stage) -> float:
        return float(len(topological(stage_roots(stage))))

    def _vector(self, stage: Stage, vector: Axis, lanes: int) -> float:
        """Cost of one element with `lanes` lanes along `vector`."""
        leaf = axis_expr(vector)
        total = 0.0
        for node in topological([self.convert(e) for e in offsets_and_values(stage)]):
            if node.op == "load":
                total += 1 if coefficient(load_index(node)[0], leaf) in (0, 1) else GATHER * lanes
            elif node.args and node.dtype.kind not in "iu":
                total += 1
        for write in writes_of(stage):
            value = self.nest.value(write.value)
            if value.shape:
                offset = self.convert.offset(write.index, self.convert.places[write.value])
                total += 1 if coefficient(offset, leaf) == 1 else GATHER * lanes
        return total / lanes


# --------------------------------------------------------------------------------------- building


def _build(context: Context, stages: tuple[Stage, ...], vector: Axis, lanes: int) -> None:
    others = tuple(a for a in context.nest.grid if a is not vector)
    rows = math.prod(a.extent for a in others)
    work = point_work(stages)
    wanted = cpu_workers(context, rows * vector.extent * work)
    chunks = vector.extent // lanes
    # Cut the vector axis only as far as the other axes leave workers without work.
    blocks = min(chunks, -(-wanted // rows)) if rows < wanted else 1
    run = -(-chunks // blocks)
    blocks = -(-chunks // run)
    block = Axis("block", blocks)
    worker = Worker(context, (*others, block), most=wanted)
    names = nest_names(context.nest, stages)
    names.taken.add("block")
    chunk = Axis(names.fresh("chunk"), run)
    number = simplify(worker.axes[block] * run)
    index = simplify((number + axis_expr(chunk)) * lanes + ramp(lanes))
    body = _statements(context, stages, {**worker.axes, vector: index}, worker, names, lanes)
    stop = None if blocks * run == chunks else simplify(minimum(const(run), const(chunks) - number))
    statements: list[Stmt] = [For(chunk, tuple(body), stop=stop)] if run > 1 else body
    if vector.extent % lanes:
        tail = Axis(names.fresh("rest"), vector.extent)
        rest = _statements(context, stages, {**worker.axes, vector: axis_expr(tail)}, worker, names, 1)
        loop = For(tail, tuple(rest), start=const(chunks * lanes))
        last = worker.axes[block] >= blocks - 1
        statements.append(loop if blocks == 1 else If(simplify(last), (loop,)))
    finish_kernel(context, worker.wrap(statements), worker, stages)


def _statements(context: Context, stages: tuple[Stage, ...], axes: dict[Axis, Expr], worker: Worker, names: Names,
                wide: int) -> list[Stmt]:
    """The stages at one vector of grid points."""
    body = build_body(context, stages, axes, worker, names)
    body.lanes, body.wide = 1, wide
    return [s for stage in stages for s in body.stage(stage)]
