"""Loop nests as pieces of a larger kernel: their statements, for one work-item or for one block of threads.

Input: a `LoopNest`. Output: `Piece`s, in order, whose statements name the nest's arguments as arrays; a `Renamer` then
gives every variable, axis and array a name of its own in the kernel around, and moves the arguments to where they are.

On a CPU a piece is what schedule.py makes of the nest for a machine of one core, its work-items one after another. On a
GPU the points of the nest are shared out to the threads of the block; or, where a point has a long row of work, the
threads work on one point after the other; or, where there is one point, the piece stands `alone`: any thread can do it.

Worked example, y = x + 1 for f32[100] by 32 threads:

    for turn in 0..4: if turn*32 + local < 100: y[turn*32 + local] = x[turn*32 + local] + 1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ftiny.lowering.device import Capabilities
from ftiny.lowering.expr import Axis, Expr, load, transform, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify, unflatten
from ftiny.lowering.kernel import (
    Assign,
    Atomic,
    Barrier,
    Declare,
    DeclareArray,
    For,
    If,
    Kernel,
    Stmt,
    Store,
    local,
)
from ftiny.lowering.loop_programs import Refused
from ftiny.lowering.loops import Fold, LoopNest, Stage, Value, check_nest, split_scatter, writes_of
from ftiny.lowering.recurrence import held
from ftiny.lowering.schedule import phases, schedule
from ftiny.lowering.schedule_block import block_statements, takes
from ftiny.lowering.schedule_block_body import Layout
from ftiny.lowering.schedule_body import Names, Place
from ftiny.lowering.schedule_generic import Context, Worker, build_body, cost
from ftiny.lowering.schedule_merge import merge_local, merged_nest

BLOCK_STEPS = 24  # what a fold by all threads costs beside its elements, in steps of one thread


@dataclass(frozen=True, eq=False)
class Piece:
    """Statements in terms of the nest's arguments. `alone`: they are for one thread, or for each of them; `scratch`:
    arrays that the pieces of one nest leave to each other."""

    body: tuple[Stmt, ...]
    alone: bool
    flops: int
    scratch: tuple[Value, ...] = ()


def pieces_of(nest: LoopNest, capabilities: Capabilities, threads: int) -> list[Piece]:
    """The pieces of a nest for a block of so many threads; raises `Refused` where it takes more than a block."""
    check_nest(nest)
    if capabilities.host_memory:
        return _cpu_pieces(nest, capabilities)
    if nest.scatter is not None:
        return [piece for part in split_scatter(nest) for piece in pieces_of(part, capabilities, threads)]
    found = []
    for phase in phases(nest):
        if phase.fold is not None or any(v.scope == "global" for v in nest.values):
            raise Refused
        found.append(_gpu_piece(nest, phase.stages, capabilities, threads))
    return found


def _cpu_pieces(nest: LoopNest, capabilities: Capabilities) -> list[Piece]:
    scheduled = schedule(nest, replace(capabilities, compute_units=1))
    if any(v.name.endswith(".counter") for v in scheduled.scratch):
        raise Refused
    return [Piece(_serial(kernel), True, kernel.flops, scheduled.scratch) for kernel in scheduled.kernels]


def _serial(kernel: Kernel) -> tuple[Stmt, ...]:
    """The kernel's work-items, one after another."""
    axes = {k: Axis(f"group{k}", extent) for k, extent in enumerate(kernel.grid) if extent > 1}
    body = _with_groups(kernel.body, axes)
    for which in axes.values():
        body = (For(which, body),)
    return body


def _with_groups(body: tuple[Stmt, ...], axes: Mapping[int, Axis]) -> tuple[Stmt, ...]:
    """The statements with the block's number taken from axes."""
    if not axes:
        return body

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        return axis_expr(axes[node.attr[1]]) if node.op == "special" and node.attr[0] == "group" else None

    return tuple(_mapped(stmt, lambda e: transform((e,), rewrite)[0]) for stmt in body)


def _mapped(stmt: Stmt, change: Callable[[Expr], Expr]) -> Stmt:
    """A statement with its expressions changed, and those of the statements in it."""
    match stmt:
        case Declare() | Assign():
            return replace(stmt, value=change(stmt.value))
        case Store() | Atomic():
            guard = None if stmt.guard is None else change(stmt.guard)
            return replace(stmt, offset=change(stmt.offset), value=change(stmt.value), guard=guard)
        case For():
            start, stop = (None if e is None else change(e) for e in (stmt.start, stmt.stop))
            return replace(stmt, body=tuple(_mapped(s, change) for s in stmt.body), start=start, stop=stop)
        case If():
            then, otherwise = (tuple(_mapped(s, change) for s in part) for part in (stmt.then, stmt.otherwise))
            return If(change(stmt.condition), then, otherwise)
    return stmt


# -------------------------------------------------------------------------------- a block of threads


def _gpu_piece(nest: LoopNest, stages: tuple[Stage, ...], capabilities: Capabilities, threads: int) -> Piece:
    nest, stages = merged_nest(nest, tuple(merge_local(nest, s) for s in stages))
    context = Context(nest, capabilities)
    points = prod(a.extent for a in nest.grid)
    flops = cost(nest, stages, nest.arguments)[0]
    if threads > 1 and takes(nest, stages):
        row = max(_row(stage) for stage in stages)
        if points * (-(-row // threads) + BLOCK_STEPS) < -(-points // threads) * row:
            return Piece(_by_block(context, stages, points, threads), False, flops)
    updates = any(w.update for s in stages for w in writes_of(s))
    worker = Worker(context, ())
    if threads == 1 or points == 1:
        body = build_body(context, stages, {}, worker)
        body.atomic = False
        statements = [s for stage in stages for s in body.stage(stage)]
        for one in reversed([a for a in nest.grid if a.extent > 1]):
            statements = [For(one, tuple(statements))]
        alone = threads == 1 or not updates
    else:
        turn = Axis("turn", -(-points // threads))
        number = simplify(axis_expr(turn) * threads + local(0, threads))
        body = build_body(context, stages, unflatten(number, nest.grid), worker)
        statements = [s for stage in stages for s in body.stage(stage)]
        if points % threads:
            statements = [If(simplify(number < points), tuple(statements))]
        if turn.extent > 1:
            statements = [For(turn, tuple(statements))]
        alone = False
    if context.scratch:
        raise Refused
    if updates and threads > 1 and points == 1:
        statements = [If(local(0, threads) <= 0, tuple(statements))]
    return Piece(tuple(statements), alone, flops)


def _row(stage: Stage) -> int:
    axes = stage.over if isinstance(stage, Fold) and not stage.axes else stage.axes
    return prod(a.extent for a in axes)


def _by_block(context: Context, stages: tuple[Stage, ...], points: int, threads: int) -> tuple[Stmt, ...]:
    """All threads work on one point after another."""
    statements = tuple(block_statements(context, stages, Worker(context, context.nest.grid), Layout(threads)))
    if context.scratch:
        raise Refused
    if points == 1:
        return statements
    point = Axis("group0", points)
    body = _with_groups(statements, {0: point})
    arrays = tuple(s for s in body if isinstance(s, DeclareArray))
    return (*arrays, For(point, (*(s for s in body if not isinstance(s, DeclareArray)), Barrier("global"))))


# ------------------------------------------------------------------------------------------- names


class Renamer:
    """Gives the statements of one piece names of their own.

    names: of the kernel around. places: where the piece's arguments are. take: gives the name of an array for (dtype,
    size, scope); `taken` are those that the piece was given.
    """

    def __init__(self, names: Names, places: Mapping[str, Place], take: Callable[[np.dtype, int, str], str]):
        self.names, self.places, self.take = names, dict(places), take
        self.taken: list[str] = []
        self.variables: dict[str, str] = {}
        self.axes: dict[Axis, Axis] = {}

    def block(self, body: Sequence[Stmt]) -> list[Stmt]:
        """The statements renamed; arrays are declared by whoever gave them."""
        return [self._statement(stmt) for stmt in body if not self._is_array(stmt)]

    def _is_array(self, stmt: Stmt) -> bool:
        if isinstance(stmt, DeclareArray):
            name = self.take(stmt.dtype, stmt.size, stmt.scope)
            self.taken.append(name)
            self.places[stmt.name] = Place("buffer", name, (stmt.size,))
        return isinstance(stmt, DeclareArray)

    def _statement(self, stmt: Stmt) -> Stmt:
        match stmt:
            case Declare():
                value = self._expr(stmt.value)
                self.variables[stmt.name] = self.names.fresh(stmt.name)
                return replace(stmt, name=self.variables[stmt.name], value=value)
            case Assign():
                return Assign(self.variables[stmt.name], self._expr(stmt.value))
            case Store() | Atomic():
                return self._store(stmt)
            case For():
                start, stop = (None if e is None else self._expr(e) for e in (stmt.start, stmt.stop))
                self.axes[stmt.axis] = Axis(self.names.fresh(stmt.axis.name), stmt.axis.extent)
                return replace(stmt, axis=self.axes[stmt.axis], body=tuple(self.block(stmt.body)), start=start,
                               stop=stop)
            case If():
                return If(self._expr(stmt.condition), tuple(self.block(stmt.then)), tuple(self.block(stmt.otherwise)))
        return stmt

    def _store(self, stmt: Store | Atomic) -> Stmt:
        place = self.places[stmt.buffer]
        guard = None if stmt.guard is None else self._expr(stmt.guard)
        value = self._expr(stmt.value)
        return replace(stmt, buffer=place.name, offset=self._offset(stmt.offset, place), value=held(value), guard=guard)

    def _offset(self, offset: Expr, place: Place) -> Expr:
        moved = self._expr(offset)
        return moved if place.base is None else simplify(moved + place.base)

    def _expr(self, root: Expr) -> Expr:
        def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
            if node.op == "variable":
                return variable(self.variables[node.attr], node.dtype)
            if node.op == "axis" and node.attr in self.axes:
                return axis_expr(self.axes[node.attr])
            if node.op == "load":
                place = self.places[node.attr[0]]
                offset = args[0] if place.base is None else simplify(args[0] + place.base)
                return load(place.name, (offset,), node.dtype, *args[1:])
            return None

        return transform((root,), rewrite)[0]
