"""The GPU schedule for nests whose neighbouring grid points lie side by side in memory: a few points for each thread.

Input: the stages of one phase, no fold across the grid. Output: one kernel, or nothing where a point for each thread
is as good. A thread takes `lanes` neighbouring points, so that it moves 16 bytes at once.

Worked example: y[i] = x[i] + 1 for 2^26 float32 has 2^24 threads of 4 points, 256 to a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ftiny.lowering.expr import Axis, axes_of, load_guard, load_index, topological
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, simplify, unflatten
from ftiny.lowering.kernel import WIDE_BYTES, group, local, ramp
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, writes_of
from ftiny.lowering.schedule import aligned
from ftiny.lowering.schedule_body import Converter, pays
from ftiny.lowering.schedule_generic import Context, Worker, build_body, finish_kernel, nest_names
from ftiny.lowering.schedule_merge import offsets_and_values, plain_places

THREADS = 256
RESIDENT = 2048  # threads that a multiprocessor holds
MOST_NODES = 1200  # operations of one thread, all its lanes together


def schedule_wide(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    nest = context.nest
    axis = next((a for a in reversed(nest.grid) if a.extent > 1), None)
    if axis is None or not _fits(nest, stages):
        return False
    lanes = point_lanes(nest, stages, axis)
    while lanes > 1 and not crowded(context, lanes):
        lanes //= 2
    if lanes == 1:
        return False
    _build(context, stages, axis, lanes)
    return True


def _fits(nest: LoopNest, stages: Iterable[Stage]) -> bool:
    """Whether lanes can be grid points: no arrays of a point's own, no scattered updates, no guards that lanes
    would have to take apart."""
    for stage in stages:
        if isinstance(stage, Fold) and (stage.axes or any(v.shape for v in stage.state)):
            return False
        if isinstance(stage, Map) and any(a.extent != 1 for a in stage.axes):
            return False
        for write in writes_of(stage):
            value = nest.value(write.value)
            if write.update or write.guard is not None or (value.scope in ("register", "shared") and value.shape):
                return False
    return True


def crowded(context: Context, lanes: int) -> bool:
    """Whether a thread for every `lanes` points keeps the machine busy: a quarter of the threads it can hold."""
    points = math.prod(a.extent for a in context.nest.grid)
    return points >= lanes * context.capabilities.compute_units * RESIDENT // 4


def point_lanes(nest: LoopNest, stages: tuple[Stage, ...], axis: Axis) -> int:
    """How many neighbouring points a thread takes: 16 bytes of the smallest elements that lie along the axis, fewer
    where that is not aligned or makes long programs; 1 where wide accesses do not outnumber scattered ones."""
    convert, leaf = Converter(plain_places(nest)), axis_expr(axis)
    sizes = {nest.value(w.value).memory.itemsize for s in stages for w in _stores(nest, s)}
    nodes = [n for s in stages for n in topological([convert(e) for e in offsets_and_values(s)])]
    if not all(aligned(nest.value(w.value)) for s in stages for w in _stores(nest, s)):
        return 1
    for node in nodes:
        guard = load_guard(node)[0] if node.op == "load" else None
        if guard is not None and axis in axes_of((guard,)):
            return 1
        if node.op == "load" and coefficient(load_index(node)[0], leaf) == 1:
            sizes.add(nest.value(node.attr[0]).memory.itemsize)
    lanes = min(8, WIDE_BYTES // min(sizes)) if sizes else 1
    while lanes > 1 and not (
        axis.extent % lanes == 0
        and len(nodes) * lanes <= MOST_NODES
        and all(pays(axis, lanes, offsets_and_values(s), _stores(nest, s), convert) for s in stages)
    ):
        lanes //= 2
    return lanes


def _stores(nest: LoopNest, stage: Stage) -> list:
    """The writes that go to memory."""
    return [w for w in writes_of(stage) if nest.value(w.value).shape]


def _build(context: Context, stages: tuple[Stage, ...], axis: Axis, lanes: int) -> None:
    others = tuple(a for a in context.nest.grid if a is not axis)
    chunk = Axis("chunk", axis.extent // lanes)
    worker = Worker(context, (*others, chunk))
    worker.threads = min(THREADS, worker.count)
    worker.blocks = -(-worker.count // worker.threads)
    worker.number = simplify(group(0, worker.blocks) * worker.threads + local(0, worker.threads))
    worker.axes = dict(unflatten(worker.number, (*others, chunk)))
    worker.grid, worker.block = (worker.blocks, 1, 1), (worker.threads, 1, 1)
    names = nest_names(context.nest, stages)
    index = simplify(worker.axes.pop(chunk) * lanes + ramp(lanes))
    body = build_body(context, stages, {**worker.axes, axis: index}, worker, names)
    body.wide = lanes
    statements = [s for stage in stages for s in body.stage(stage)]
    finish_kernel(context, worker.wrap(statements), worker, stages)
