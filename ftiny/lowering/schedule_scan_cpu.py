"""Scans on a CPU: vectors along contiguous lines, or lines side by side in the lanes of vectors.

Input: a phase that is one scan, as for schedule_scan.py, which has the words line, taken and piece. Output: one kernel,
or two for a few long lines. Along a line, a vector of 16 elements becomes its own scan in log2(16) steps, each of which
combines it with itself moved by 1, 2, 4 and 8 lanes; then the state before the vector is combined with all lanes at
once. Only that last step waits for the vector before, so a line runs several times faster than element by element.
Where lines lie side by side, a work-item takes up to 256 of them, row by row; their states stay in its first cache.

A few long lines are cut into pieces: the first kernel folds every piece but the last and leaves its state in scratch,
the second starts each piece from the combination of those before it.

Worked example, cumsum of f32[2048, 2048] along the last axis: 8 work-items have 256 rows each, of 128 vectors.
Of f32[4194304]: 8 pieces of 524288 elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.expr import Axis, Expr, compare, const, minimum, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import flatten, simplify
from ftiny.lowering.kernel import Assign, Declare, DeclareArray, For, If, Stmt, Store, element, join, lane, ramp
from ftiny.lowering.loops import Fold, Stage, Value
from ftiny.lowering.schedule_body import MIN_LANES, Body, Place
from ftiny.lowering.schedule_generic import Context, Worker, build_body, finish_kernel, nest_names, point_work
from ftiny.lowering.schedule_scan import Steps, lies_along, scan_of

BLOCK = 256        # lines of a work-item that lie side by side
MIN_PIECE = 4096   # elements of a line that are worth a piece of their own

States = tuple[Expr, ...]


def schedule_scan_cpu(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernels and return True, or return False where this schedule does not fit."""
    fold = scan_of(stages)
    wide = [a for a in context.nest.grid if a.extent > 1]
    if fold is None or not context.cpu or not fold.over[0].extent or any(not a.extent for a in context.nest.grid):
        return False
    along = lies_along(context.nest, fold)
    if not along and not wide:
        return False
    extent = (fold.over[0] if along else wide[-1]).extent
    lanes = min(context.lanes(), 1 << (extent.bit_length() - 1))
    if lanes < MIN_LANES:
        return False
    make: type[Scanned] = Along if along else Beside
    first = make(context, stages, fold, lanes)
    if first.pieces > 1:
        first.kernel(emit=False)
    make(context, stages, fold, lanes).kernel(emit=True)
    return True


class Scanned:
    """What both layouts share: the pieces of the lines, and the states between them."""

    def __init__(self, context: Context, stages: tuple[Stage, ...], fold: Fold, lanes: int) -> None:
        self.context, self.stages, self.fold, self.lanes = context, stages, fold, lanes
        self.steps = Steps(fold)
        self.over = fold.over[0]
        self.names = nest_names(context.nest, stages)
        self.items = self.lines()
        units = context.capabilities.compute_units
        wanted = 1 if self.items >= units else min(4 * units // self.items, self.over.extent // MIN_PIECE)
        self.run = -(-self.over.extent // max(1, wanted))
        self.run = -(-self.run // lanes) * lanes
        self.pieces = -(-self.over.extent // self.run)
        self.out: list[Stmt] = []

    def lines(self) -> int:
        """How many work-items the lines are enough for."""
        raise NotImplementedError

    def kernel(self, emit: bool) -> None:
        """The kernel that runs all pieces, with the scan's writes, or all but the last, for their states."""
        raise NotImplementedError

    def declared(self, values: Iterable[Expr], stem: str, lanes: int = 1) -> States:
        """The values as variables."""
        result = []
        for state, value in zip(self.fold.state, values):
            name = self.names.fresh(f"{state.name}_{stem}")
            self.out.append(Declare(name, state.dtype, value, lanes))
            result.append(variable(name, state.dtype))
        return tuple(result)

    def piece_axis(self, emit: bool) -> Axis:
        """The pieces that a kernel runs."""
        return Axis(self.names.fresh("piece"), self.pieces if emit else self.pieces - 1)

    def positions(self, body: Body, start: Expr, lanes: int):
        """Where a vector is that starts at `start` in the order of the scan, and how expressions read there."""
        base = const(self.over.extent - lanes) - start if self.fold.reverse else start
        return body.convert.with_axes({self.over: simplify(base + ramp(lanes))})

    def take(self, convert, lanes: int) -> tuple[Expr, ...]:
        """What is taken in at a vector, in variables."""
        taken = []
        for expr in self.steps.taken:
            name = self.names.fresh("x")
            self.out.append(Declare(name, expr.dtype, convert(expr), lanes))
            taken.append(variable(name, expr.dtype))
        return tuple(taken)

    def emit(self, body: Body, convert, taken: tuple[Expr, ...], states: States) -> None:
        """The scan's writes at a vector with these states."""
        places = {v.name: Place("variable", s.attr) for v, s in zip(self.fold.state, states)}
        writes = [self.steps.emitted(w, taken) for w in self.fold.emit]
        self.out += body.writes(writes, convert.with_places(places))

    def within(self, axis: Axis, statements: list[Stmt], stop: Expr | None = None, start: Expr | None = None) -> None:
        """The statements collected since `statements`, as a loop after them."""
        self.out = [*statements, For(axis, tuple(self.out), start=start, stop=stop)]

    def scratch(self, shape: tuple[int, ...]) -> list[str]:
        """Scratch for the states of the pieces."""
        names = [f"{v.name}.pieces" for v in self.fold.state]
        for name, value in zip(names, self.fold.state):
            self.context.add_scratch(Value(name, shape, value.dtype, value.dtype, "global"))
        return names


class Along(Scanned):
    """Vectors along contiguous lines."""

    def lines(self) -> int:
        return math.prod(a.extent for a in self.context.nest.grid)

    def kernel(self, emit: bool) -> None:
        """One line's piece after another."""
        piece = self.piece_axis(emit)
        grid = (*self.context.nest.grid, piece)
        worker = Worker(self.context, grid, work=point_work(self.stages) // self.pieces)
        body = build_body(self.context, (self.fold,), worker.axes, worker, self.names)
        here = worker.axes[piece] if self.pieces > 1 else const(0)
        arrays = self.scratch((*(a.extent for a in self.context.nest.grid), self.pieces)) if self.pieces > 1 else []
        line = [worker.axes[a] for a in self.context.nest.grid]
        shape = (*(a.extent for a in self.context.nest.grid), self.pieces)
        carry = self.declared(self.fold.init, "carry")
        if emit and self.pieces > 1:
            self._combined(carry, arrays, line, shape, here)
        self._vectors(body, here, carry, emit)
        if not emit:
            at = simplify(flatten([*line, here], shape))
            self.out += [Store(a, at, c) for a, c in zip(arrays, carry)]
        finish_kernel(self.context, worker.wrap(self.out), worker, self.stages)

    def _combined(self, carry: States, arrays: list[str], line: list[Expr], shape: tuple[int, ...], here: Expr) -> None:
        """The state before a piece: the combination of all pieces before it."""
        before, self.out = self.out, []
        earlier = Axis(self.names.fresh("earlier"), self.pieces)
        at = simplify(flatten([*line, axis_expr(earlier)], shape))
        read = tuple(element(a, at, v.dtype) for a, v in zip(arrays, self.fold.state))
        new = self.declared(self.steps.combine(carry, read), "with")
        self.out += [Assign(c.attr, n) for c, n in zip(carry, new)]
        self.within(earlier, before, stop=here)

    def _vectors(self, body: Body, here: Expr, carry: States, emit: bool) -> None:
        """The whole vectors of a piece, then (at the end of the line) what is left."""
        length, lanes = self.over.extent, self.lanes
        whole = length // lanes
        vector = Axis(self.names.fresh("vector"), self.run // lanes)
        start = simplify(here * (self.run // lanes))
        stop = simplify(minimum(const(vector.extent), const(whole) - start))
        before, self.out = self.out, []
        convert = self.positions(body, (start + axis_expr(vector)) * lanes, lanes)
        taken = self.take(convert, lanes)
        states = self._prefix(self.declared(self.steps.step(tuple(self.fold.init), taken), "own", lanes))
        if emit:
            self.emit(body, convert, taken, self.declared(self.steps.combine(carry, states), "at", lanes))
        last = 0 if self.fold.reverse else lanes - 1
        new = self.declared(self.steps.combine(carry, tuple(lane(s, last) for s in states)), "next")
        self.out += [Assign(c.attr, n) for c, n in zip(carry, new)]
        self.within(vector, before, stop=None if self.pieces == 1 and whole == vector.extent else stop)
        if length % lanes and emit:
            self._rest(body, here, carry)

    def _rest(self, body: Body, here: Expr, carry: States) -> None:
        """The elements after the last whole vector, one by one."""
        before, self.out = self.out, []
        rest = Axis(self.names.fresh("rest"), self.over.extent)
        convert = self.positions(body, axis_expr(rest), 1)
        taken = self.take(convert, 1)
        new = self.declared(self.steps.step(carry, taken), "next")
        self.out += [Assign(c.attr, n) for c, n in zip(carry, new)]
        self.emit(body, convert, taken, new)
        whole = self.over.extent // self.lanes * self.lanes
        self.within(rest, [], start=const(whole))
        last = compare("eq", here, const(self.pieces - 1))
        self.out = [*before, *(self.out if self.pieces == 1 else [If(simplify(last), tuple(self.out))])]

    def _prefix(self, states: States) -> States:
        """The scan within a vector."""
        distance = 1
        while distance < self.lanes:
            kept = [[lane(s, k) for k in range(self.lanes)] for s in states]
            if self.fold.reverse:
                moved = [join([*k[distance:], *[i] * distance]) for k, i in zip(kept, self.fold.init)]
            else:
                moved = [join([*[i] * distance, *k[:-distance]]) for k, i in zip(kept, self.fold.init)]
            left = self.declared(moved, "moved", self.lanes)
            states = self.declared(self.steps.combine(left, states), "upto", self.lanes)
            distance *= 2
        return states


class Beside(Scanned):
    """Lines side by side in the lanes of vectors, a block of them in a work-item."""

    def lines(self) -> int:
        wide = [a for a in self.context.nest.grid if a.extent > 1]
        self.across = wide[-1]
        self.others = tuple(a for a in wide if a is not self.across)
        others = math.prod(a.extent for a in self.others)
        chunks = self.across.extent // self.lanes
        units = self.context.capabilities.compute_units
        blocks = max(-(-chunks * self.lanes // BLOCK), min(chunks, -(-2 * units // others)))
        self.chunks = -(-chunks // blocks)
        self.blocks = -(-chunks // self.chunks)
        return others * self.blocks

    def kernel(self, emit: bool) -> None:
        """One block's piece after another: whole vectors of lines, then those that fill none."""
        piece, block = self.piece_axis(emit), Axis(self.names.fresh("block"), self.blocks)
        worker = Worker(self.context, (*self.others, block, piece),
                        work=point_work(self.stages) * self.across.extent // self.blocks // self.pieces)
        here = worker.axes[piece] if self.pieces > 1 else const(0)
        number = worker.axes[block] if self.blocks > 1 else const(0)
        whole = self.across.extent // self.lanes
        states = [self.names.fresh(f"{v.name}_lines") for v in self.fold.state]
        # 16-bit floats are held in float32: not every device has arrays of them.
        self.out = [DeclareArray(n, accumulation_dtype(v.dtype), self.chunks * self.lanes)
                    for n, v in zip(states, self.fold.state)]
        chunk = Axis(self.names.fresh("chunk"), self.chunks)
        stop = None if self.blocks * self.chunks == whole else \
            simplify(minimum(const(self.chunks), const(whole) - number * self.chunks))
        line = simplify((number * self.chunks + axis_expr(chunk)) * self.lanes + ramp(self.lanes))
        inside = simplify(axis_expr(chunk) * self.lanes + ramp(self.lanes))

        def each(out: list[Stmt]) -> list[Stmt]:
            return [For(chunk, tuple(out), stop=stop)]

        self._lines(worker, states, line, inside, self.lanes, here, emit, each)
        if self.across.extent % self.lanes:
            before, self.out = self.out, []
            rest = Axis(self.names.fresh("rest"), self.across.extent)
            self._lines(worker, states, axis_expr(rest), const(0), 1, here, emit, list)
            self.within(rest, [], start=const(whole * self.lanes))
            last = compare("eq", number, const(self.blocks - 1))
            self.out = [*before, *(self.out if self.blocks == 1 else [If(simplify(last), tuple(self.out))])]
        finish_kernel(self.context, worker.wrap(self.out), worker, self.stages)

    def _lines(self, worker: Worker, states: list[str], line: Expr, inside: Expr, lanes: int, here: Expr, emit: bool,
               each) -> None:
        """The piece of some lines: states set, every row, states left in scratch; `each` loops over a block."""
        body = build_body(self.context, (self.fold,), {**worker.axes, self.across: line}, worker, self.names)
        kinds = [v.dtype for v in self.fold.state]
        now = tuple(element(n, inside, d) for n, d in zip(states, kinds))
        grid = tuple(a.extent for a in (*self.others, self.across))
        arrays = self.scratch((self.pieces, *grid)) if self.pieces > 1 else []
        where = [worker.axes[a] for a in self.others]

        def kept(number: Expr) -> Expr:
            return simplify(flatten([number, *where, line], (self.pieces, *grid)))

        self.out += each([Store(n, inside, i) for n, i in zip(states, self.fold.init)])
        outer, self.out = self.out, []
        if emit and self.pieces > 1:
            earlier = Axis(self.names.fresh("earlier"), self.pieces)
            read = tuple(element(a, kept(axis_expr(earlier)), d) for a, d in zip(arrays, kinds))
            new = self.declared(self.steps.combine(now, read), "with", lanes)
            put = [Store(n, inside, x) for n, x in zip(states, new)]
            outer.append(For(earlier, tuple(each([*self.out, *put])), stop=here))
            self.out = []
        row = Axis(self.names.fresh("row"), self.run)
        position = simplify(here * self.run + axis_expr(row))
        convert = self.positions(body, position, 1)
        taken = self.take(convert, lanes)
        new = self.declared(self.steps.step(now, taken), "next", lanes)
        self.out += [Store(n, inside, x) for n, x in zip(states, new)]
        if emit:
            self.emit(body, convert, taken, new)
        stop = None if self.pieces * self.run == self.over.extent else \
            simplify(minimum(const(self.run), const(self.over.extent) - here * self.run))
        self.out = [*outer, For(row, tuple(each(self.out)), stop=stop)]
        if not emit:
            self.out += each([Store(a, kept(here), n) for a, n in zip(arrays, now)])
