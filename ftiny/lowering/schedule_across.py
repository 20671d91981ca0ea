"""Folds across grid points: partial states per piece of the grid, then their combination, then (for a
scan) a second pass over the points that starts every piece from those before it.

Input: the stages of a phase whose last one folds grid axes. Output: two kernels, three for a scan. What
`across` asks for ('last_block', 'look_back') is how a GPU could do it in one launch; these kernels give
the same result with the launches in between as the hand-over.

Worked example: cumsum of 1003 columns in blocks of 64, grid (row, block): 8 pieces per row each add up
their columns; one worker per row turns the 8 sums into sums of what precedes; the pieces run again
from there and write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ftiny.lowering.expr import Axis, Expr, const, load, minimum, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify, strides_of, unflatten
from ftiny.lowering.kernel import Declare, DeclareArray, For, Stmt, Store, element
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Map, Stage, Value, Write
from ftiny.lowering.schedule import private_part
from ftiny.lowering.schedule_body import Body, Place, replace_loads
from ftiny.lowering.schedule_generic import Context, Worker, build_body, finish_kernel, points_kernel


def fold_across(context: Context, stages: tuple[Stage, ...], fold: Fold) -> None:
    """A fold along grid axes: partial states per worker, then their combination (and, for a scan, a
    second pass over the points that starts each worker from the combination of those before it)."""
    nest = context.nest
    folded = tuple(a for a in nest.grid if a in fold.over)
    free = tuple(a for a in nest.grid if a not in fold.over)
    workers = partial_count(context, folded, free)
    split = Split(context, fold, folded, free, workers)
    split.partial_kernel(stages)
    if fold.emit:
        split.prefix_kernel()
        split.emit_kernel(stages)
    else:
        split.combine_kernel()


def partial_count(context: Context, folded: tuple[Axis, ...], free: tuple[Axis, ...]) -> int:
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
        """A Body whose folded grid axes are the piece's run of points. Scalar states live in variables
        during the run, array states in the partials."""
        axes = dict(worker.axes)
        piece = axes.pop(self.pieces)
        flat = simplify(piece * self.run + axis_expr(run_axis))
        if self.fold.reverse:
            flat = simplify(const(self.points - 1) - flat)
        axes |= unflatten(flat, self.folded)
        body = build_body(self.context, stages, axes, worker)
        self.memory = {v.name: Place("buffer", self.partials[v.name].name, v.shape, self._offset(axes, piece, v))
                       for v in self.fold.state}
        body.convert = body.convert.with_places({v.name: self.memory[v.name] for v in self.fold.state if v.shape})
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

    def _start(self, body: Body, resume: bool) -> list[Stmt]:
        """The states before the run: init, or what the partials hold."""
        result: list[Stmt] = []
        kept = tuple(a for a in self.fold.axes if a.extent != 1)
        for value, init in zip(self.fold.state, self.fold.init):
            if not value.shape:
                first = element(self.partials[value.name].name, self._at(value), value.dtype) if resume else \
                    body.convert(init)
                result.append(Declare(body.convert.places[value.name].name, value.dtype, first))
            elif not resume:
                write = Write(value.name, tuple(axis_expr(a) for a in self.fold.axes), init)
                result += body.loop_writes(kept, [write], body.convert)
        return result

    def _at(self, value: Value) -> Expr:
        base = self.memory[value.name].base
        assert base is not None
        return base

    def _leave(self, body: Body) -> list[Stmt]:
        """Scalar states into the partials."""
        return [Store(self.partials[v.name].name, self._at(v),
                      variable(body.convert.places[v.name].name, v.dtype)) for v in self.fold.state if not v.shape]

    def _pass(self, body: Body, stages: tuple[Stage, ...], emit: bool) -> list[Stmt]:
        """The stages at one point, then the fold's step."""
        fold = self.fold
        statements = [s for stage in stages[:-1] for s in body.stage(stage if not emit else _quiet(body.nest, stage))]
        stepping = Fold(fold.axes, fold.over, fold.state, fold.init, fold.step, fold.combine, (), None,
                        fold.emit if emit else ())
        kept = tuple(a for a in fold.axes if a.extent != 1)
        convert = body.convert
        if fold.reverse:
            convert = convert.with_axes({a: const(a.extent - 1) - axis_expr(a) for a in self.inner_fold()})
        return statements + body.nested(self.inner_fold(), body.array_step(stepping, kept, convert))

    def partial_kernel(self, stages: tuple[Stage, ...]) -> None:
        """Every piece folds its own points from init."""
        worker = self._worker()
        run_axis = Axis("run", self.run)
        body = self._body(stages, worker, run_axis)
        statements = self._start(body, resume=False)
        inner = self._pass(body, stages, emit=False)
        statements.append(For(run_axis, tuple(inner), stop=self._stop(worker)))
        statements += self._leave(body)
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
        head = [s for w in take for s in body.declaration(w)]
        head += [DeclareArray(body.convert.places[v.name].name, v.dtype, math.prod(v.shape))
                 for v in fold.state if v.shape]
        step = [s for w in (*take, *put) for s in (body.loop_writes(loops, [w], body.convert) if w.index and kept
                                                     else body.write(w, body.convert))]
        step += body.array_step(stage, loops, body.convert)
        statements = head + body.array_init(stage, loops) + [For(self.pieces, tuple(step))]
        finish_kernel(sub, worker.wrap(statements), worker, ())

    def emit_kernel(self, stages: tuple[Stage, ...]) -> None:
        """The points again, now from the right state, with the emit writes."""
        worker = self._worker()
        run_axis = Axis("run", self.run)
        body = self._body(stages, worker, run_axis)
        statements = self._start(body, resume=True)
        inner = self._pass(body, stages, emit=True)
        statements.append(For(run_axis, tuple(inner), stop=self._stop(worker)))
        finish_kernel(self.context, worker.wrap(statements), worker, stages)


def _quiet(nest: LoopNest, stage: Stage) -> Stage:
    """A stage of the second pass: what it wrote to memory in the first pass is there already."""
    return private_part(nest, stage) or Map((), ())


def _strip_write(write: Write, strip: Mapping[str, Expr]) -> Write:
    roots = replace_loads(write.roots(), strip)
    rank = len(write.index)
    guard = roots[rank + 1] if write.guard is not None else None
    return Write(write.value, tuple(roots[:rank]), roots[rank], guard, write.update)
