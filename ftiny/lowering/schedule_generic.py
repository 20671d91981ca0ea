"""The schedule that is right for every nest: one worker per run of grid points, folds in order.

Input: a nest cut into phases. Output: a kernel per phase, or two or three where a fold runs across grid
points (partial states per worker; then the combination; for scans then the second pass). On a CPU a
worker is a work-item of local size 1 that walks a run of grid points, its inner loops in vectors; on a
GPU it is a thread with one point.

Worked example: sum over all of x[1000] written as grid=(i,), Fold(over=(i,), across='second_kernel'):
kernel 1 has 8 workers that leave sum.partial[worker], kernel 2 has one that adds the 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ftiny.lowering.choices import choose
from ftiny.lowering.expr import Axis, Expr, const, loads, minimum, topological
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify, unflatten
from ftiny.lowering.kernel import (
    DeclareArray,
    For,
    If,
    Kernel,
    Stmt,
    Writing,
    group,
    local,
    stmt_exprs,
    walk,
)
from ftiny.lowering.loops import Fold, LoopNest, Stage, Value, Write, check_nest, stage_roots, writes_of
from ftiny.lowering.schedule import Phase, Scheduled, accesses_of, parameter, traffic
from ftiny.lowering.schedule_body import Body, Converter, Names, Place
from ftiny.lowering.schedule_merge import merge_local, merged_nest
from ftiny.lowering.schedule_pieces import cut_fold, cut_scan
from ftiny.lowering.schedule_side import side_by_side
from ftiny.lowering.schedule_tiles import cut_tiles

PRIVATE_BYTES = {True: 64 * 1024, False: 2 * 1024}  # one worker's arrays: of a CPU, of a GPU with its many threads
MIN_WORK = 8192


@dataclass
class Context:
    """What building the kernels of one nest shares."""

    nest: LoopNest
    capabilities: Any
    scratch: list[Value] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)

    @property
    def cpu(self) -> bool:
        return bool(self.capabilities.host_memory)

    def lanes(self) -> int:
        """Vector lanes of this nest (the device's width is for 4-byte elements), 1 on a GPU."""
        if not self.cpu:
            return 1
        widest = max((v.dtype.itemsize for v in (*self.nest.arguments, *self.nest.values)), default=4)
        return max(1, min(16, self.capabilities.vector_width * 4 // max(4, widest)))

    def private_scratch(self, value: Value, worker: Worker) -> Place:
        """A place in scratch for a point's own array, one per worker."""
        size = math.prod(value.shape)
        name = self.fresh(f"{value.name}.private")
        workers = worker.blocks * worker.threads
        self.add_scratch(Value(name, (workers, *value.shape), value.dtype, value.memory, "global"))
        return Place("buffer", name, value.shape, simplify(worker.number * size))

    def fresh(self, name: str) -> str:
        """A name that no scratch array has."""
        taken = {v.name for v in self.scratch}
        return name if name not in taken else f"{name}{len(taken)}"

    def add_scratch(self, value: Value) -> None:
        """Make sure a scratch array is allocated."""
        if value not in self.scratch:
            assert all(v.name != value.name for v in self.scratch), value
            self.scratch.append(value)


def schedule_phases(nest: LoopNest, phases: Iterable[Phase], capabilities: Any) -> Scheduled:
    """Kernels for all phases in order."""
    from ftiny.lowering.schedule_across import fold_across
    from ftiny.lowering.schedule_rows_and_columns import schedule_rows_and_columns

    context = Context(nest, capabilities)
    for value in nest.values:
        if value.scope == "global":
            context.add_scratch(value)
    for phase in phases:
        if phase.fold is None:
            points_kernel(context, phase.stages)
        elif not schedule_rows_and_columns(context, phase.stages, phase.fold):
            fold_across(context, phase.stages, phase.fold)
    return Scheduled(tuple(context.kernels), tuple(context.scratch))


# ---------------------------------------------------------------------------------------- points


def vector_kernel(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Give the stages to schedule_vector.py if it wants them."""
    from ftiny.lowering.schedule_vector import schedule_vector

    return schedule_vector(context, stages)


def points_kernel(context: Context, stages: tuple[Stage, ...]) -> None:
    """A kernel in which every grid point runs all the stages."""
    nest, stages = merged_nest(context.nest, tuple(merge_local(context.nest, s) for s in stages))
    context = Context(nest, context.capabilities, context.scratch, context.kernels)
    if context.cpu:
        nest, stages = side_by_side(context, stages)
        context = replace(context, nest=nest)
    pieces = cut_fold(context, stages)
    if pieces is not None:
        first, second, partials = pieces
        for value in partials:
            context.add_scratch(value)
        for part in (first, second):
            check_nest(part)
            points_kernel(Context(part, context.capabilities, context.scratch, context.kernels), part.stages)
        return
    if scan_kernel(context, stages):
        return
    scan = cut_scan(context, stages)
    if scan is not None:
        from ftiny.lowering.schedule_across import fold_across

        longer, fold = scan
        fold_across(Context(longer, context.capabilities, context.scratch, context.kernels), (fold,), fold)
        return
    tiles = cut_tiles(context, stages) if context.cpu else None
    if tiles is not None:
        for part in tiles:
            check_nest(part)
            points_kernel(Context(part, context.capabilities, context.scratch, context.kernels), part.stages)
        return
    if vector_kernel(context, stages) if context.cpu else gpu_kernel(context, stages):
        return
    serial = _serial_axes(nest, stages) if context.cpu else ()
    parallel = tuple(a for a in nest.grid if a not in serial)
    worker = Worker(context, parallel, work=point_work(stages))
    body = build_body(context, stages, worker.axes, worker)
    statements = [s for stage in stages for s in body.stage(stage)]
    for one in reversed([a for a in serial if a.extent != 1]):
        statements = [For(one, tuple(statements))]
    finish_kernel(context, worker.wrap(statements), worker, stages)


def scan_kernel(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Give the stages to schedule_scan_cpu.py or schedule_scan.py if they want them."""
    from ftiny.lowering.schedule_scan import schedule_scan
    from ftiny.lowering.schedule_scan_cpu import schedule_scan_cpu

    return schedule_scan_cpu(context, stages) if context.cpu else schedule_scan(context, stages)


def gpu_kernel(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Give the stages to the first GPU schedule that wants them."""
    from ftiny.lowering.schedule_block import schedule_block
    from ftiny.lowering.schedule_columns import schedule_columns
    from ftiny.lowering.schedule_gather import schedule_gather
    from ftiny.lowering.schedule_transpose import schedule_transpose
    from ftiny.lowering.schedule_wide import schedule_wide

    schedules = (schedule_transpose, schedule_columns, schedule_block, schedule_gather, schedule_wide)
    return any(schedule(context, stages) for schedule in schedules)


def _serial_axes(nest: LoopNest, stages: Iterable[Stage]) -> tuple[Axis, ...]:
    """Grid axes along which scattered updates may collide: without atomics one worker runs them all."""
    updates = [w for s in stages for w in writes_of(s) if w.update]
    if not updates:
        return ()
    return tuple(a for a in nest.grid if not all(_is_position(w, a) for w in updates))


def _is_position(write: Write, which: Axis) -> bool:
    return any(i.op == "axis" and i.attr == which for i in write.index)


class Worker:
    """How grid points are dealt out: each worker has a run of consecutive points of `axes`."""

    def __init__(self, context: Context, axes: tuple[Axis, ...], most: int | None = None, work: int = 1) -> None:
        self.points = math.prod(a.extent for a in axes)
        wanted = most or (cpu_workers(context, self.points * work) if context.cpu else self.points)
        self.run = max(1, -(-self.points // max(1, wanted)))
        self.count = max(1, -(-self.points // self.run))
        self.threads = 1 if context.cpu else min(128, self.count)
        self.blocks = -(-self.count // self.threads)
        self.number = simplify(group(0, self.blocks) * self.threads + local(0, self.threads))
        self.step = Axis("point", self.run)
        flat = simplify(self.number * self.run + axis_expr(self.step))
        self.axes: dict[Axis, Expr] = dict(unflatten(flat, axes)) if axes else {}
        self.grid, self.block = (self.blocks, 1, 1), (self.threads, 1, 1)

    def wrap(self, statements: list[Stmt]) -> list[Stmt]:
        """The statements for each of the worker's points."""
        if self.points == 0:
            return []
        if self.run > 1:
            stop = None
            if self.count * self.run != self.points or self.blocks * self.threads != self.count:
                stop = minimum(const(self.run), const(self.points) - self.number * self.run)
            return [For(self.step, tuple(statements), stop=None if stop is None else simplify(stop))]
        if self.blocks * self.threads != self.count:
            return [If(self.number < self.count, tuple(statements))]
        return statements


def point_work(stages: Iterable[Stage]) -> int:
    """Roughly how many operations one grid point costs."""
    total = 1
    for stage in stages:
        inner = math.prod(a.extent for a in (*stage.axes, *(stage.over if isinstance(stage, Fold) else ())))
        total += inner * max(1, len(topological(stage_roots(stage))))
    return total


def cpu_workers(context: Context, work: int) -> int:
    """How many work-items to start for so many operations: a few per core, none with too little to do."""
    most = work // MIN_WORK
    if most <= 1:
        return 1
    per_core = choose("workers per core", (4, 1, 2, 8), lambda n: abs(math.log(n / 4)))
    return max(1, min(context.capabilities.compute_units * per_core, most))


def nest_names(nest: LoopNest, stages: Iterable[Stage]) -> Names:
    """Names with everything taken that the nest itself uses."""
    names = Names({"point", "run", "piece", *(a.name for a in nest.grid), *(v.name for v in nest.arguments)})
    for stage in stages:
        names.taken |= {a.name for a in stage.axes}
        names.taken |= {a.name for a in stage.over} if isinstance(stage, Fold) else set()
    return names


def build_body(context: Context, stages: Iterable[Stage], axes: Mapping[Axis, Expr], worker: Worker,
               names: Names | None = None) -> Body:
    """A Body with every value of the nest placed: arguments and global values as parameters, the point's
    own values in variables and private arrays (in scratch where they are too large)."""
    nest = context.nest
    names = names or nest_names(nest, stages)
    places: dict[str, Place] = {}
    for value in (*nest.arguments, *nest.values):
        places[value.name] = _place(context, value, worker, names)
    for stage in stages:
        if isinstance(stage, Fold):
            for value in stage.state:
                places[value.name] = _place(context, value, worker, names)
    return Body(nest, Converter(places, axes), names, context.lanes(), not context.cpu, live_states(nest))


def _place(context: Context, value: Value, worker: Worker, names: Names) -> Place:
    if value.scope in ("argument", "global"):
        names.taken.add(value.name)
        return Place("buffer", value.name, value.shape)
    size = math.prod(value.shape)
    name = names.fresh(value.name)
    if not value.shape:
        return Place("variable", name)
    if size * value.memory.itemsize <= PRIVATE_BYTES[context.cpu]:
        return Place("buffer", name, value.shape)
    return context.private_scratch(value, worker)


def live_states(nest: LoopNest) -> frozenset[str]:
    """States that a stage other than their own fold reads."""
    read: set[str] = set()
    for stage in nest.stages:
        own = {v.name for v in stage.state} if isinstance(stage, Fold) else set()
        read |= {n.attr[0] for n in loads(stage_roots(stage))} - own
    return frozenset(read)


def finish_kernel(context: Context, statements: list[Stmt], worker: Worker, stages: Iterable[Stage],
                  suffix: str = "") -> None:
    """Collect the parameters that the statements use and append the kernel."""
    nest = context.nest
    number = len(context.kernels)
    name = nest.name + suffix + (f"_{number}" if number and not suffix else "")
    body = hoist_arrays(statements)
    used, written = touched(body)
    arrays = [v for v in {v.name: v for v in (*nest.arguments, *context.scratch)}.values() if v.name in used]
    params = tuple(parameter(v, v.name in written) for v in arrays)
    flops, volume = cost(nest, stages, arrays)
    context.kernels.append(Kernel(name, params, worker.grid, worker.block, body, flops, volume, nest.equations))


def hoist_arrays(statements: list[Stmt]) -> tuple[Stmt, ...]:
    """Arrays are declared once at the top: C would allow them in loops, the stack frame is the same."""
    arrays = [s for s in walk(tuple(statements)) if isinstance(s, DeclareArray)]

    def strip(body: Iterable[Stmt]) -> tuple[Stmt, ...]:
        result: list[Stmt] = []
        for s in body:
            if isinstance(s, For):
                s = For(s.axis, strip(s.body), s.start, s.stop, s.step, s.unroll)
            elif isinstance(s, If):
                s = If(s.condition, strip(s.then), strip(s.otherwise))
            if not isinstance(s, DeclareArray):
                result.append(s)
        return tuple(result)

    return (*arrays, *strip(statements)) if arrays else tuple(statements)


def touched(body: tuple[Stmt, ...]) -> tuple[set[str], set[str]]:
    """(buffers read or written, buffers written) by statements."""
    roots: list[Expr] = []
    written: set[str] = set()
    for stmt in walk(body):
        roots += stmt_exprs(stmt)
        if isinstance(stmt, Writing):
            written.add(stmt.buffer)
    return {n.attr[0] for n in loads(roots)} | written, written


def cost(nest: LoopNest, stages: Iterable[Stage], arrays: Iterable[Value]) -> tuple[int, int]:
    """(floating point operations, bytes) of running the stages: operations counted per point, bytes
    of the arrays as by `traffic`."""
    points = math.prod(a.extent for a in nest.grid)
    grid = set(nest.grid)
    flops, accesses = 0, []
    for stage in stages:
        inner = math.prod(a.extent for a in stage.axes)
        if isinstance(stage, Fold):
            inner *= math.prod(a.extent for a in stage.over if a not in grid)
        roots = list(stage.step) if isinstance(stage, Fold) else [w.expr for w in stage.writes]
        nodes = topological(roots)
        flops += points * inner * sum(1 for n in nodes if n.args and n.dtype.kind in "fV" and n.op not in
                                      ("load", "cast", "select", "bitcast"))
        accesses += accesses_of(stage_roots(stage), writes_of(stage))
    return flops, traffic(arrays, accesses)
