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
from dataclasses import dataclass, field
from typing import Any

from ftiny.lowering.expr import Axis, Expr, const, load, loads, minimum, topological
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify, strides_of, unflatten
from ftiny.lowering.kernel import (
    Atomic,
    DeclareArray,
    For,
    If,
    Kernel,
    Param,
    Stmt,
    Store,
    group,
    local,
    stmt_exprs,
    walk,
)
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Map, Stage, Value, Write, stage_roots, writes_of
from ftiny.lowering.schedule import Phase, Scheduled, private_part
from ftiny.lowering.schedule_body import Body, Converter, Names, Place, replace_loads
from ftiny.lowering.schedule_pieces import cut_fold

PRIVATE_BYTES = 64 * 1024
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
        self.add_scratch(Value(name, (workers, *value.shape), value.dtype, value.storage, "global"))
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
    context = Context(nest, capabilities)
    for value in nest.values:
        if value.scope == "global":
            context.add_scratch(value)
    for phase in phases:
        if phase.fold is None:
            points_kernel(context, phase.stages)
        else:
            fold_across(context, phase)
    return Scheduled(tuple(context.kernels), tuple(context.scratch))


# ---------------------------------------------------------------------------------------- points


def vector_kernel(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Give the stages to schedule_vector.py if it wants them."""
    from ftiny.lowering.schedule_vector import schedule_vector

    return schedule_vector(context, stages)


def points_kernel(context: Context, stages: tuple[Stage, ...]) -> None:
    """A kernel in which every grid point runs all the stages."""
    nest = context.nest
    pieces = cut_fold(context, stages)
    if pieces is not None:
        first, second, partials = pieces
        for value in partials:
            context.add_scratch(value)
        for part in (first, second):
            points_kernel(Context(part, context.capabilities, context.scratch, context.kernels), part.stages)
        return
    if vector_kernel(context, stages) if context.cpu else block_kernel(context, stages):
        return
    serial = _serial_axes(nest, stages) if context.cpu else ()
    parallel = tuple(a for a in nest.grid if a not in serial)
    worker = Worker(context, parallel, work=point_work(stages))
    body = build_body(context, stages, worker.axes, worker)
    statements = [s for stage in stages for s in body.stage(stage)]
    for one in reversed([a for a in serial if a.extent != 1]):
        statements = [For(one, tuple(statements))]
    finish_kernel(context, worker.wrap(statements), worker, stages)


def block_kernel(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Give the stages to schedule_block.py if it wants them."""
    from ftiny.lowering.schedule_block import schedule_block

    return schedule_block(context, stages)


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
    return max(1, min(context.capabilities.compute_units * 4, work // MIN_WORK))


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
    if size * value.storage.itemsize <= PRIVATE_BYTES:
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
    known = {v.name: v for v in (*nest.arguments, *context.scratch)}
    params = tuple(Param(n, v.storage, "pointer", n in written) for n, v in known.items() if n in used)
    flops, volume = cost(nest, stages)
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
        if isinstance(stmt, Store | Atomic):
            written.add(stmt.buffer)
    return {n.attr[0] for n in loads(roots)} | written, written


def cost(nest: LoopNest, stages: Iterable[Stage]) -> tuple[int, int]:
    """(floating point operations, bytes) of running the stages: operations counted per point, every
    argument touched counted once."""
    points = math.prod(a.extent for a in nest.grid)
    grid = set(nest.grid)
    flops, names = 0, set()
    for stage in stages:
        inner = math.prod(a.extent for a in stage.axes)
        if isinstance(stage, Fold):
            inner *= math.prod(a.extent for a in stage.over if a not in grid)
        roots = list(stage.step) if isinstance(stage, Fold) else [w.expr for w in stage.writes]
        nodes = topological(roots)
        flops += points * inner * sum(1 for n in nodes if n.args and n.dtype.kind in "fV" and n.op not in
                                      ("load", "cast", "select", "bitcast"))
        names |= {n.attr[0] for n in topological(stage_roots(stage)) if n.op == "load"}
        names |= {w.value for w in writes_of(stage)}
    volume = sum(math.prod(v.shape) * v.storage.itemsize for v in (*nest.arguments, *nest.values)
                 if v.name in names and v.scope in ("argument", "global"))
    return flops, volume


# --------------------------------------------------------------------------- folds across points


def fold_across(context: Context, phase: Phase) -> None:
    """A fold along grid axes: partial states per worker, then their combination (and, for a scan, a
    second pass over the points that starts each worker from the combination of those before it)."""
    nest, fold = context.nest, phase.fold
    assert fold is not None
    folded = tuple(a for a in nest.grid if a in fold.over)
    free = tuple(a for a in nest.grid if a not in fold.over)
    workers = partial_count(context, folded, free, fold)
    split = Split(context, fold, folded, free, workers)
    split.partial_kernel(phase.stages)
    if fold.emit:
        split.prefix_kernel()
        split.emit_kernel(phase.stages)
    else:
        split.combine_kernel()


def partial_count(context: Context, folded: tuple[Axis, ...], free: tuple[Axis, ...], fold: Fold) -> int:
    """How many pieces to cut the folded points into: enough to occupy the machine, few enough that the
    partial states stay small."""
    points = math.prod(a.extent for a in folded)
    others = math.prod(a.extent for a in free)
    units = context.capabilities.compute_units
    wanted = max(1, -(-(units * 4 if context.cpu else units * 512) // max(1, others)))
    return max(1, min(points, wanted))


class Split:
    """The kernels of one fold across the grid; `pieces` is an axis over the partial states."""

    def __init__(self, context: Context, fold: Fold, folded: tuple[Axis, ...], free: tuple[Axis, ...],
                 workers: int) -> None:
        self.context, self.fold, self.folded, self.free = context, fold, folded, free
        points = math.prod(a.extent for a in folded)
        self.run = -(-points // workers) if points else 0
        self.points = points
        self.pieces = Axis("piece", max(1, -(-points // self.run)) if points else 1)
        self.kept = tuple(a.extent for a in fold.axes)
        self.partials = {}
        for value in fold.state:
            shape = (*(a.extent for a in free), self.pieces.extent, *value.shape)
            partial = Value(f"{value.name}.partial", shape, value.dtype, value.dtype, "global")
            self.partials[value.name] = partial
            context.add_scratch(partial)

    def inner_fold(self) -> tuple[Axis, ...]:
        """The folded axes that are not grid axes."""
        return tuple(a for a in self.fold.over if a not in self.folded)

    def _worker(self) -> Worker:
        """Workers over (free axes, pieces), one each."""
        return Worker(self.context, (*self.free, self.pieces), most=math.prod(
            [a.extent for a in self.free] + [self.pieces.extent]))

    def _body(self, stages: Iterable[Stage], worker: Worker, run_axis: Axis) -> Body:
        """A Body whose folded grid axes are the piece's run of points; states live in the partials."""
        axes = dict(worker.axes)
        piece = axes.pop(self.pieces)
        flat = simplify(piece * self.run + axis_expr(run_axis))
        if self.fold.reverse:
            flat = simplify(const(self.points - 1) - flat)
        axes |= unflatten(flat, self.folded)
        body = build_body(self.context, stages, axes, worker)
        body.convert = body.convert.with_places({
            v.name: Place("buffer", self.partials[v.name].name, v.shape, self._offset(axes, piece, v))
            for v in self.fold.state})
        return body

    def _offset(self, axes: Mapping[Axis, Expr], piece: Expr, value: Value) -> Expr:
        shape = self.partials[value.name].shape
        index = [axes[a] for a in self.free] + [piece]
        total = const(0)
        for position, stride in zip(index, strides_of(shape)):
            total = total + position * stride
        return simplify(total)

    def _stop(self, worker: Worker) -> Expr | None:
        if self.pieces.extent * self.run == self.points:
            return None
        return simplify(minimum(const(self.run), const(self.points) - worker.axes[self.pieces] * self.run))

    def _init(self, body: Body, exprs: Iterable[Expr]) -> list[Stmt]:
        writes = [Write(v.name, tuple(axis_expr(a) for a in self.fold.axes) if v.shape else (), e)
                  for v, e in zip(self.fold.state, exprs)]
        return self._state_loop(body, writes)

    def _state_loop(self, body: Body, writes: list[Write]) -> list[Stmt]:
        scalars = [w for w in writes if not w.index]
        arrays = [w for w in writes if w.index]
        result = [s for w in scalars for s in body.write(w, body.convert)]
        return result + (body._loop_writes(tuple(a for a in self.fold.axes if a.extent != 1), arrays, body.convert)
                         if arrays else [])

    def _pass(self, body: Body, stages: tuple[Stage, ...], emit: bool) -> list[Stmt]:
        """The stages at one point, with the fold's step on the partial state in memory."""
        fold = self.fold
        statements = [s for stage in stages[:-1] for s in body.stage(stage if not emit else _quiet(body.nest, stage))]
        stepping = Fold(fold.axes, fold.over, fold.state, fold.init, fold.step, fold.combine, (), None,
                        fold.emit if emit else ())
        kept = tuple(a for a in fold.axes if a.extent != 1)
        convert = body.convert
        if fold.reverse:
            convert = convert.with_axes({a: const(a.extent - 1) - axis_expr(a) for a in self.inner_fold()})
        return statements + body._nested(self.inner_fold(), body.array_step(stepping, kept, convert))

    def partial_kernel(self, stages: tuple[Stage, ...]) -> None:
        """Every piece folds its own points from init."""
        worker = self._worker()
        run_axis = Axis("run", self.run)
        body = self._body(stages, worker, run_axis)
        statements = self._init(body, self.fold.init)
        inner = self._pass(body, stages, emit=False)
        statements.append(For(run_axis, tuple(inner), stop=self._stop(worker)))
        finish_kernel(self.context, worker.wrap(statements), worker, stages)

    def combine_kernel(self) -> None:
        """One worker per kept point adds up the pieces in order and writes the result."""
        fold = self.fold
        over = Fold(fold.axes, (self.pieces,), fold.state, fold.init, self._joined(), fold.combine, fold.finish)
        grid = (*self.free, *(a for a in fold.axes))
        states = tuple(Value(v.name, (), v.dtype, scope="register") for v in fold.state)
        scalar = all(v.shape for v in fold.state) or not fold.axes
        if scalar:
            strip = {v.name: load(v.name, (), v.dtype) for v in fold.state}
            over = Fold((), (self.pieces,), states, tuple(fold.init), tuple(replace_loads(over.step, strip)),
                        fold.combine and tuple(replace_loads(fold.combine, {
                            **strip, **{n + OTHER: load(n + OTHER, (), v.dtype) for n, v in
                                        ((v.name, v) for v in fold.state)}})),
                        tuple(_strip_write(w, strip) for w in fold.finish))
        inner = LoopNest(self.context.nest.name, grid if scalar else self.free,
                         (*self.context.nest.arguments,),
                         (*(v for v in self.context.nest.values), *self.partials.values()), (over,),
                         self.context.nest.equations)
        sub = Context(inner, self.context.capabilities, self.context.scratch, self.context.kernels)
        points_kernel(sub, (over,))

    def _joined(self) -> tuple[Expr, ...]:
        """combine(state, partial state of the piece)."""
        other = {}
        for value in self.fold.state:
            index = [*self.free, self.pieces, *(self.fold.axes if value.shape else ())]
            other[value.name + OTHER] = self.partials[value.name][tuple(index)]
        assert self.fold.combine is not None
        return tuple(replace_loads(self.fold.combine, other))

    def prefix_kernel(self) -> None:
        """Replace every piece's partial state by the combination of all pieces before it."""
        fold = self.fold
        worker = Worker(self.context, self.free, most=math.prod(a.extent for a in self.free))
        # states: what has been combined so far; saved: this piece's own, before it is overwritten.
        saved = tuple(Value(f"{v.name}.own", v.shape, v.dtype, scope="register") for v in fold.state)
        kept = fold.axes
        own = {v.name + OTHER: load(s.name, [axis_expr(a) for a in kept] if v.shape else [], v.dtype)
               for v, s in zip(fold.state, saved)}
        assert fold.combine is not None
        nest = LoopNest(self.context.nest.name, self.free, self.context.nest.arguments,
                        (*self.context.nest.values, *self.partials.values(), *saved), (), ())
        sub = Context(nest, self.context.capabilities, self.context.scratch, self.context.kernels)
        stage = Fold(kept, (self.pieces,), fold.state, fold.init, tuple(replace_loads(fold.combine, own)), None)
        body = build_body(sub, (stage,), worker.axes, worker)
        body.lanes = 1
        loops = tuple(a for a in kept if a.extent != 1)
        here = [*self.free, self.pieces]
        take, put = [], []
        for value, mine in zip(fold.state, saved):
            index = tuple(axis_expr(a) for a in (*here, *(kept if value.shape else ())))
            at = tuple(axis_expr(a) for a in kept) if value.shape else ()
            partial = self.partials[value.name]
            take.append(Write(mine.name, at, load(partial.name, index, value.dtype)))
            put.append(Write(partial.name, index, load(value.name, at, value.dtype)))
        head = [s for w in take for s in body._declaration(w)]
        head += [DeclareArray(body.convert.places[v.name].name, v.dtype, math.prod(v.shape))
                 for v in fold.state if v.shape]
        step = [s for w in (*take, *put) for s in (body._loop_writes(loops, [w], body.convert) if w.index and kept
                                                     else body.write(w, body.convert))]
        step += body.array_step(stage, loops, body.convert)
        statements = head + body.array_init(stage, loops) + [For(self.pieces, tuple(step))]
        finish_kernel(sub, worker.wrap(statements), worker, ())

    def emit_kernel(self, stages: tuple[Stage, ...]) -> None:
        """The points again, now from the right state, with the emit writes."""
        worker = self._worker()
        run_axis = Axis("run", self.run)
        body = self._body(stages, worker, run_axis)
        inner = self._pass(body, stages, emit=True)
        statements: list[Stmt] = [For(run_axis, tuple(inner), stop=self._stop(worker))]
        finish_kernel(self.context, worker.wrap(statements), worker, stages)


def _quiet(nest: LoopNest, stage: Stage) -> Stage:
    """A stage of the second pass: what it wrote to memory in the first pass is there already."""
    return private_part(nest, stage) or Map((), ())


def _strip_write(write: Write, strip: Mapping[str, Expr]) -> Write:
    roots = replace_loads(write.roots(), strip)
    rank = len(write.index)
    guard = roots[rank + 1] if write.guard is not None else None
    return Write(write.value, tuple(roots[:rank]), roots[rank], guard, write.update)
