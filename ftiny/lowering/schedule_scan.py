"""Scans on a GPU in one pass: blocks of threads take tiles of the lines that are scanned.

Input: a phase that is one scan (a `Fold` with `emit` writes along one axis of its own). Output: one kernel that reads
every element once and writes every result once, or nothing where this schedule does not fit. A line is one grid point's
run along the axis. A thread holds vectors of neighbouring elements in registers and folds each of them; threads of a
warp exchange what they have by shuffles, warps through shared memory; then every element's state is the combination
of what lies before the vector with what the vector folded up to it.

A line of several tiles hands its state on in one of two ways. With many lines, a block walks the tiles of its lines and
keeps the state in a register. Otherwise tiles are blocks, which look back (Merrill and Garland, *Single-pass Parallel
Prefix Scan with Decoupled Look-back*, 2016): each publishes what its tile folds to as soon as it knows it, and then
combines what the tiles before it have published. Other than in the paper, where a block takes whatever is there, the
order is fixed, so that the same input gives the same bits: a line's tiles are cut into groups, the last tile of a group
publishes the state at its end, and a tile combines that of the last group but one with each tile since. (That of the
last group would have to be waited for: it is only then being made.) A block takes its tile from a counter when it
starts, so whoever it waits for has started. Flags are never cleared: every launch adds one to each of them, and a block
knows from its own what to wait for.

Worked example, cumsum of f32[8192, 8192] along the last axis: 256 threads to a row, 8 vectors of 4 elements each. Along
the first axis: a warp's threads lie on 32 neighbouring columns, 32 elements each, 8 warps to a tile of 256 rows; a line
has 32 tiles, one group, and the 8 threads of a column look back over 4 tiles each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.expr import (
    Axis,
    Expr,
    compare,
    const,
    floordiv,
    guard_loads,
    is_const,
    load_index,
    loads,
    logical_and,
    mod,
    select,
    topological,
    transform,
    variable,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, simplify, unflatten
from ftiny.lowering.kernel import (
    Assign,
    Atomic,
    Await,
    Barrier,
    Declare,
    DeclareArray,
    For,
    If,
    Publish,
    Stmt,
    Store,
    element,
    group,
    join,
    lane,
    local,
    ramp,
    shuffle_from,
    shuffle_up,
)
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Stage, Value, Write
from ftiny.lowering.schedule_body import Converter, Place, replace_loads
from ftiny.lowering.schedule_generic import Context, Worker, build_body, finish_kernel, nest_names
from ftiny.lowering.schedule_merge import plain_places

WARP_BYTES = 16        # what a thread reads at once along a contiguous line
HELD_BYTES = 128       # what a thread holds of a tile
MOST_LANES = 16        # of a vector in OpenCL C
WARPS = 8              # of a block, where a line does not say otherwise
LONGEST = 16           # the most warps that share a line without looking back
LOOKED_AT = 128        # places that the threads of a line look back over, at least
FLAG = np.dtype(np.int32)

State = tuple[Expr, ...] | None  # of one or more components; None is the neutral one


def scan_of(stages: tuple[Stage, ...]) -> Fold | None:
    """The scan that is all there is of a phase, if its state starts as a constant and its pieces can be combined."""
    if len(stages) != 1 or not isinstance(stages[0], Fold):
        return None
    fold = stages[0]
    plain = fold.emit and not fold.finish and not fold.axes and len(fold.over) == 1 and fold.across is None
    if not plain or fold.combine is None or any(v.shape for v in fold.state):
        return None
    return fold if all(e.op == "const" for e in fold.init) else None


def schedule_scan(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    fold = scan_of(stages)
    lines = math.prod(a.extent for a in context.nest.grid)
    if fold is None or context.cpu or not lines or not fold.over[0].extent:
        return False
    steps = Steps(fold)
    tiling = choose(context, fold, steps, lines)
    if tiling.pieces > 1 and not tiling.looks_back and tiling.blocks(lines) < 2 * context.capabilities.compute_units:
        return False  # no shuffles and too few lines: cut into pieces by schedule_pieces.py
    Builder(context, fold, steps, tiling).build(stages)
    return True


# ------------------------------------------------------------------------------------------- steps


class Steps:
    """A scan's step in two parts: what it takes in at a point, which no state is read for, and what it does with it."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        states = {v.name for v in fold.state}
        reading: set[Expr] = set()
        for node in topological(fold.step):
            if any(a in reading for a in node.args) or (node.op == "load" and node.attr[0] in states):
                reading.add(node)
        inner = {a for node in reading for a in node.args} | set(fold.step)
        self.taken = tuple(n for n in topological(fold.step) if n in inner and n not in reading and n.op != "const")

    def step(self, state: tuple[Expr, ...], taken: Iterable[Expr]) -> tuple[Expr, ...]:
        """The next state, from the elements that were taken in."""
        replaced = dict(zip(self.taken, taken))
        states = {v.name: s for v, s in zip(self.fold.state, state)}

        def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
            return states.get(node.attr[0]) if node.op == "load" and node not in replaced else replaced.get(node)

        return tuple(transform(self.fold.step, rewrite))

    def combine(self, left: tuple[Expr, ...], right: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The state of two neighbouring pieces."""
        names = {v.name: x for v, x in zip(self.fold.state, left)}
        names |= {v.name + OTHER: x for v, x in zip(self.fold.state, right)}
        assert self.fold.combine is not None
        return tuple(replace_loads(self.fold.combine, names))

    def emitted(self, write: Write, taken: Iterable[Expr]) -> Write:
        """An emit write that reads what was taken in from variables."""
        replaced = dict(zip(self.taken, taken))
        roots = transform(write.roots()[len(write.index):], lambda node, args: replaced.get(node))
        return replace(write, expr=roots[0], guard=None if write.guard is None else roots[1])


# ------------------------------------------------------------------------------------------ tilings


@dataclass(frozen=True)
class Tiling:
    """How a block lies over its lines: threads hold `turns` vectors of `lanes` elements; a warp has `beside` lines with
    `along` threads each, neighbouring threads on neighbouring lines if `interleaved`; `warps` warps share a line, and
    `teams` of them share a block. A line of `length` elements has `pieces` tiles."""

    length: int
    lanes: int
    turns: int
    along: int
    beside: int
    interleaved: bool
    warps: int
    teams: int
    looks_back: bool = False

    @property
    def tile(self) -> int:
        """Elements of one line in a tile."""
        return self.lanes * self.turns * self.along * self.warps

    @property
    def pieces(self) -> int:
        """Tiles of a line."""
        return -(-self.length // self.tile)

    @property
    def lines(self) -> int:
        """Lines of a block."""
        return self.beside * self.teams

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.along * self.beside * self.warps * self.teams

    def blocks(self, lines: int) -> int:
        """Blocks that lie side by side."""
        return -(-lines // self.lines)


def choose(context: Context, fold: Fold, steps: Steps, lines: int) -> Tiling:
    """The tiling for so many lines."""
    exchange = context.capabilities.warp == 32
    length = fold.over[0].extent
    values = [context.nest.value(w.value) for w in fold.emit]
    widest = max(v.dtype.itemsize for v in [*fold.state, *values])
    held = sum(max(4, d.itemsize) for d in [*(e.dtype for e in steps.taken), *(v.dtype for v in fold.state)]) // 2
    if lies_along(context.nest, fold):
        tiling = _along(length, 1 if length == 1 else max(1, min(4, WARP_BYTES // max(4, widest))), held, exchange)
    else:
        most = max(2, HELD_BYTES // held) if exchange else MOST_LANES
        tiling = _beside(length, most, min(32, 1 << (lines - 1).bit_length()), exchange)
    units = context.capabilities.compute_units
    few = tiling.blocks(lines) < 16 * units
    return replace(tiling, looks_back=exchange and tiling.pieces > 1 and tiling.warps > 1 and few)


def lies_along(nest: LoopNest, fold: Fold) -> bool:
    """Whether elements along a line lie closer in memory than those of neighbouring lines."""
    convert = Converter(plain_places(nest))
    roots = [*fold.step, *(w.expr for w in fold.emit)]
    offsets = [load_index(n)[0] for root in roots for n in loads((convert(root),))]
    offsets += [convert.offset(w.index, convert.places[w.value]) for w in fold.emit]
    wide = [a for a in nest.grid if a.extent > 1]
    along = sum(coefficient(o, axis_expr(fold.over[0])) in (1, -1) for o in offsets)
    beside = sum(coefficient(o, axis_expr(wide[-1])) in (1, -1) for o in offsets) if wide else 0
    return along >= beside


def _along(length: int, lanes: int, held: int, exchange: bool) -> Tiling:
    """Lines that lie contiguously: vectors along them, a part of a warp for short ones, a block for long ones."""
    if not exchange:
        warps = min(256, 1 << max(0, (-(-length // lanes) - 1).bit_length()))
        return Tiling(length, lanes, 1, 1, 1, False, warps, 256 // warps)
    along = min(32, 1 << max(0, (-(-length // lanes) - 1).bit_length()))
    most = max(1, HELD_BYTES // (lanes * held))
    turns = min(most, -(-length // (along * lanes)))
    warps = -(-length // (along * lanes * turns))
    if warps > LONGEST:
        tiles = -(-warps // WARPS)
        warps = -(-warps // tiles)
    return Tiling(length, lanes, turns, along, 32 // along, False, warps, max(1, WARPS // warps))


def _beside(length: int, held: int, beside: int, exchange: bool) -> Tiling:
    """Lines that lie side by side: neighbouring threads on neighbouring lines."""
    along = 32 // beside if exchange else 1
    lanes = min(held, 1 << max(0, (-(-length // (along * WARPS)) - 1).bit_length()))
    warps = min(WARPS, -(-length // (along * lanes)))
    return Tiling(length, lanes, 1, along, beside, True, warps, max(1, WARPS // warps))


# ----------------------------------------------------------------------------------------- building


class Builder:
    """Makes the kernel of one scan; see the module docstring."""

    def __init__(self, context: Context, fold: Fold, steps: Steps, tiling: Tiling) -> None:
        self.context, self.fold, self.steps, self.tiling = context, fold, steps, tiling
        self.nest = context.nest
        self.count = math.prod(a.extent for a in self.nest.grid)
        self.blocks = tiling.blocks(self.count)
        self.names = nest_names(self.nest, (fold,))
        self.arrays: list[Stmt] = []
        self.out: list[Stmt] = []
        thread = local(0, tiling.threads)
        warp, within = thread // (tiling.along * tiling.beside), thread % (tiling.along * tiling.beside)
        self.thread = thread
        self.warp = simplify(warp % tiling.warps)
        team = simplify(warp // tiling.warps)
        split = (within // tiling.beside, within % tiling.beside) if tiling.interleaved else \
            (within % tiling.along, within // tiling.along)
        self.sub, column = map(simplify, split)
        self.column = simplify(team * tiling.beside + column)
        self.shuffled_by = tiling.beside if tiling.interleaved else 1
        self.last_sub = simplify(within - self.sub * self.shuffled_by + (tiling.along - 1) * self.shuffled_by)

    def build(self, stages: tuple[Stage, ...]) -> None:
        """Append the kernel."""
        tiling = self.tiling
        worker = Worker(self.context, self.nest.grid)
        worker.grid = (self.blocks * (tiling.pieces if tiling.looks_back else 1), 1, 1)
        worker.block = (tiling.threads, 1, 1)
        if tiling.looks_back:
            statements = self._by_ticket(worker)
        else:
            statements = self._by_block(worker)
        finish_kernel(self.context, [*self.arrays, *statements], worker, stages)

    def _by_block(self, worker: Worker) -> list[Stmt]:
        """A block for its lines, from their first tile to the last."""
        self._at(worker, group(0, self.blocks))
        pieces = self.tiling.pieces
        if pieces == 1:
            self._tile(const(0), None)
            return self.out
        head = [Declare(self.names.fresh("carry"), v.dtype, e) for v, e in zip(self.fold.state, self.fold.init)]
        carry = tuple(variable(d.name, d.dtype) for d in head)
        piece = Axis(self.names.fresh("tile"), pieces)
        _, total = self._tile(axis_expr(piece), carry)
        new = self._declared(self.steps.combine(carry, total), "next")
        self.out += [Assign(d.name, x) for d, x in zip(head, new)]
        self.out += [] if self.tiling.warps == 1 else [Barrier()]
        return [*head, For(piece, tuple(self.out))]

    def _by_ticket(self, worker: Worker) -> list[Stmt]:
        """A block for a tile, the first tiles of all lines before the second ones."""
        total = self.blocks * self.tiling.pieces
        counter = self._scratch("ticket.counter", (1,), FLAG)
        shared, ticket = self.names.fresh("taken"), self.names.fresh("ticket")
        self.arrays.append(DeclareArray(shared, FLAG, 1, "shared"))
        mine = variable(ticket, FLAG)
        take = (Atomic(counter, const(0), const(1, FLAG), result=ticket), Store(shared, const(0), mine),
                If(compare("eq", mine, const(total - 1, FLAG)), (Store(counter, const(0), const(0, FLAG)),)))
        tile = Axis(self.names.fresh("tile"), total)
        start = self.names.fresh("start")
        self._at(worker, mod(axis_expr(tile), const(self.blocks)))
        self._tile(simplify(floordiv(axis_expr(tile), const(self.blocks))), None)
        first = element(shared, const(0), FLAG)
        return [If(compare("eq", self.thread, const(0)), take), Barrier(), Declare(start, FLAG, first),
                For(tile, tuple(self.out), start=variable(start, FLAG), stop=variable(start, FLAG) + 1)]

    def _at(self, worker: Worker, block: Expr) -> None:
        """Where the block's lines are."""
        self.block = simplify(block)
        self.line = simplify(self.block * self.tiling.lines + self.column)
        axes = unflatten(self.line, self.nest.grid) if self.nest.grid else {}
        self.body = build_body(self.context, (self.fold,), axes, worker, self.names)

    # --------------------------------------------------------------------------------- one tile

    def _tile(self, piece: Expr, carry: State) -> tuple[State, tuple[Expr, ...]]:
        """The statements of one tile that `carry` precedes; returns what precedes it, and what it folds to."""
        turns = range(self.tiling.turns)
        flags = self._own_flag(piece) if self.tiling.looks_back else None
        vectors = [self._vector(piece, r) for r in turns]
        folded = [self._fold(v) for v in vectors]
        totals = [self._declared(f[-1], f"all{r}") for r, f in enumerate(folded)]
        earlier, warp_total = self._across_threads(totals)
        before, total = self._across_warps(warp_total)
        if flags is not None:
            carry = self._look_back(piece, total, *flags)
        before = self._joined(carry, before)
        for vector, states, prefix in zip(vectors, folded, earlier):
            self._emit(vector, states, self._joined(before, prefix))
        return carry, total

    def _declared(self, values: Iterable[Expr], stem: str) -> tuple[Expr, ...]:
        """The values as variables."""
        result = []
        for state, value in zip(self.fold.state, values):
            name = self.names.fresh(f"{state.name}_{stem}")
            self.out.append(Declare(name, state.dtype, value))
            result.append(variable(name, state.dtype))
        return tuple(result)

    def _joined(self, left: State, right: State) -> State:
        """combine(left, right) in variables."""
        if left is None or right is None:
            return right if left is None else left
        return self._declared(self.steps.combine(left, right), "with")

    def _vector(self, piece: Expr, turn: int) -> Vector:
        """Load what a thread takes in at its vector of this turn."""
        tiling, over = self.tiling, self.fold.over[0]
        length, lanes = over.extent, tiling.lanes
        position = ((self.warp * tiling.turns + turn) * tiling.along + self.sub) * lanes + piece * tiling.tile
        base = const(length - lanes) - position if self.fold.reverse else position
        index = simplify(base + ramp(lanes))
        whole = length % lanes == 0
        test = simplify(base) if whole else index
        inside = simplify(test >= 0 if self.fold.reverse else test < length)
        if self.count % tiling.lines:
            inside = logical_and(inside, simplify(self.line < self.count))
        convert = self.body.convert.with_axes({over: index})
        names = []
        for number, taken in enumerate(self.steps.taken):
            name = self.names.fresh(f"x{turn}" if number == 0 else f"x{turn}_{number}")
            names.append(variable(name, taken.dtype))
            value = convert(taken)
            if is_const(inside, True):
                self.out.append(Declare(name, taken.dtype, value, lanes))
            elif whole:
                self.out.append(Declare(name, taken.dtype, const(0, taken.dtype), lanes))
                self.out.append(If(inside, (Assign(name, value),)))
            else:
                self.out.append(Declare(name, taken.dtype, guard_loads(value, inside), lanes))
        return Vector(tuple(names), convert, inside, whole)

    def _lane(self, vector: Expr, number: int) -> Expr:
        return vector if self.tiling.lanes == 1 else lane(vector, number)

    def _fold(self, vector: Vector) -> list[tuple[Expr, ...]]:
        """The states within a vector, in the order of the scan."""
        states: list[tuple[Expr, ...]] = []
        state = tuple(self.fold.init)
        lanes = range(self.tiling.lanes)
        for k in reversed(lanes) if self.fold.reverse else lanes:
            state = self._declared(self.steps.step(state, [self._lane(x, k) for x in vector.taken]), "to")
            states.append(state)
        return states

    def _emit(self, vector: Vector, states: list[tuple[Expr, ...]], prefix: State) -> None:
        """The scan's writes at a vector whose states `prefix` precedes."""
        found = [s if prefix is None else self.steps.combine(prefix, s) for s in states]
        if self.fold.reverse:
            found.reverse()
        places = {}
        for value, lanes in zip(self.fold.state, zip(*found)):
            name = self.names.fresh(f"{value.name}_at")
            self.out.append(Declare(name, value.dtype, join(lanes), self.tiling.lanes))
            places[value.name] = Place("variable", name)
        convert = vector.convert.with_places(places)
        writes = self.body.writes([self.steps.emitted(w, vector.taken) for w in self.fold.emit], convert)
        if is_const(vector.inside, True):
            self.out += writes
        elif vector.whole:
            self.out.append(If(vector.inside, tuple(writes)))
        else:
            self.out += [_guarded(s, vector.inside) for s in writes]

    # -------------------------------------------------------------------------- between threads

    def _across_threads(self, totals: list[tuple[Expr, ...]]) -> tuple[list[State], tuple[Expr, ...]]:
        """What precedes each of a thread's vectors within the warp's part of the line, and what that part folds to."""
        found: list[State] = []
        before: State = None
        for total in totals:
            upto = self._scanned(total)
            exclusive = None
            if self.tiling.along > 1:
                moved = self._shuffled(upto, lambda x: shuffle_up(x, self.shuffled_by))
                first = compare("eq", self.sub, const(0))
                exclusive = self._declared([select(first, i, m) for i, m in zip(self.fold.init, moved)], "left")
                total = self._shuffled(upto, lambda x: shuffle_from(x, self.last_sub))
            found.append(self._joined(before, exclusive))
            before = self._joined(before, total)
        assert before is not None
        return found, before

    def _shuffled(self, state: tuple[Expr, ...], how) -> tuple[Expr, ...]:
        """The state of another thread. Always a variable of its own: every thread of the warp must take part."""
        return self._declared([how(x) for x in state], "from")

    def _scanned(self, state: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The inclusive scan over the threads of a warp that share a line."""
        distance = 1
        while distance < self.tiling.along:
            step = distance * self.shuffled_by
            moved = self._shuffled(state, lambda x: shuffle_up(x, step))  # noqa: B023  (called at once)
            joined = self.steps.combine(moved, state)
            state = self._declared([select(self.sub >= distance, j, s) for j, s in zip(joined, state)], "upto")
            distance *= 2
        return state

    def _across_warps(self, state: tuple[Expr, ...]) -> tuple[State, tuple[Expr, ...]]:
        """What precedes the warp's part of the line within the tile, and what the tile folds to."""
        warps, columns = self.tiling.warps, self.tiling.lines
        if warps == 1:
            return None, state
        shared = self._shared(warps * columns)
        leave = self._stored(shared, self.warp * columns + self.column, state)
        first = compare("eq", self.sub, const(0))
        self.out += leave if self.tiling.along == 1 else [If(first, tuple(leave))]
        self.out.append(Barrier())
        if warps > 32:
            return self._by_doubling(shared)
        before = self._declared(self.fold.init, "before")
        total = self._declared(self.fold.init, "total")
        other = Axis(self.names.fresh("warp"), warps)
        inner, self.out = self.out, []
        here = compare("eq", axis_expr(other), self.warp)
        self.out += [Assign(b.attr, select(here, t, b)) for b, t in zip(before, total)]
        new = self._declared(self.steps.combine(total, self._read(shared, axis_expr(other) * columns + self.column)),
                             "sum")
        self.out += [Assign(t.attr, n) for t, n in zip(total, new)]
        inner.append(For(other, tuple(self.out), unroll=True))
        self.out = inner
        return before, total

    def _by_doubling(self, shared: list[str]) -> tuple[State, tuple[Expr, ...]]:
        """The same for many warps (of one thread, on devices without shuffles): log2(warps) steps in shared memory."""
        columns, distance = self.tiling.lines, 1
        here = self.warp * columns + self.column
        state = self._declared(self._read(shared, here), "upto")
        while distance < self.tiling.warps:
            body, self.out = self.out, []
            left = self._read(shared, here - distance * columns)
            new = self._declared(self.steps.combine(left, state), "joined")
            body.append(If(simplify(self.warp >= distance), (
                *self.out, *(Assign(s.attr, n) for s, n in zip(state, new)))))
            self.out = [*body, Barrier(), *self._stored(shared, here, state), Barrier()]
            distance *= 2
        before = self._declared([element(a, simplify(here - columns), v.dtype, self.warp >= 1, i)
                                 for a, v, i in zip(shared, self.fold.state, self.fold.init)], "before")
        return before, self._declared(self._read(shared, (self.tiling.warps - 1) * columns + self.column), "total")

    def _shared(self, size: int) -> list[str]:
        names = [self.names.fresh(f"{v.name}_shared") for v in self.fold.state]
        self.arrays += [DeclareArray(n, accumulation_dtype(v.dtype), size, "shared")
                        for n, v in zip(names, self.fold.state)]
        return names

    def _stored(self, arrays: Iterable[str], at: Expr, state: Iterable[Expr]) -> list[Stmt]:
        return [Store(a, simplify(at), x) for a, x in zip(arrays, state)]

    def _read(self, arrays: Iterable[str], at: Expr) -> tuple[Expr, ...]:
        return tuple(element(a, simplify(at), v.dtype) for a, v in zip(arrays, self.fold.state))

    # ------------------------------------------------------------------------------- look-back

    def _scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> str:
        stem, _, ending = name.partition(".")
        name = self.context.fresh(stem) + "." + ending
        self.context.add_scratch(Value(name, shape, dtype, dtype, "global"))
        return name

    def _look_back(self, piece: Expr, total: tuple[Expr, ...], flags: str, expected: Expr) -> tuple[Expr, ...]:
        """Publish what the tile folds to, and combine what lies before it."""
        tiling, pieces = self.tiling, self.tiling.pieces
        own = tiling.along * tiling.warps                       # threads of a line
        each = -(-min(pieces, LOOKED_AT) // own)                # places that a thread looks at
        size = pieces if pieces < each * own else (each * own - 1) // 2
        groups, wide = -(-pieces // size), self.blocks * tiling.lines
        folded = self._states("tile", pieces * wide)
        ends = None
        if groups > 1:
            ends = (self._scratch("group_flags.counter", (groups * self.blocks,), FLAG),
                    self._states("group", groups * wide))
        self._publish(flags, folded, piece, total, expected)
        number = simplify(floordiv(piece, const(size)))

        def places(place: Expr) -> list[tuple[Expr, Expr, tuple[str, list[str]]]]:
            """What a place stands for: (whether it exists, the number of the tile or group, where that publishes)."""
            tile = simplify((number - 1) * size + place - 1 if ends else place - 1)
            found = [(logical_and(place >= 1, tile >= 0, tile < piece), tile, (flags, folded))]
            if ends:
                found.append((logical_and(compare("eq", place, const(0)), number >= 2), simplify(number - 2), ends))
            return found

        turn = Axis(self.names.fresh("looked"), each)
        together = self.thread if tiling.lines > 1 else axis_expr(turn) + (self.warp * tiling.along + self.sub) * each
        # Whoever publishes for several lines is awaited once by one thread, for all threads of the block.
        waits = [If(simplify(exists), (Await(there[0], simplify(k * self.blocks + self.block), expected),))
                 for exists, k, there in places(simplify(together))]
        if tiling.lines > 1:
            assert each * own <= tiling.threads
            self.out += [*(w if each * own == tiling.threads else If(self.thread < each * own, (w,)) for w in waits),
                         Barrier("global")]
            waits = []
        prefix = self._declared(self.fold.init, "before")
        before, self.out = self.out, list(waits)
        place = (self.warp * tiling.along + self.sub) * each + axis_expr(turn)
        for exists, k, (_, arrays) in places(simplify(place)):
            at = simplify(k * wide + self.line)
            read = tuple(element(a, at, v.dtype, simplify(exists), i)
                         for a, v, i in zip(arrays, self.fold.state, self.fold.init))
            new = self._declared(self.steps.combine(prefix, read), "seen")
            self.out += [Assign(s.attr, n) for s, n in zip(prefix, new)]
        self.out = [*before, For(turn, tuple(self.out), unroll=True)]
        upto = self._scanned(prefix)
        if tiling.along > 1:
            upto = self._shuffled(upto, lambda x: shuffle_from(x, self.last_sub))
        _, prefix = self._across_warps(upto)
        if ends is not None:
            body, self.out = self.out, []
            self._publish(*ends, number, self._declared(self.steps.combine(prefix, total), "end"), expected)
            last = logical_and(compare("eq", mod(piece, const(size)), const(size - 1)), number < groups - 1)
            self.out = [*body, If(simplify(last), tuple(self.out))]
        return prefix

    def _states(self, stem: str, size: int) -> list[str]:
        """Scratch for what tiles or groups publish."""
        return [self._scratch(f"{stem}_{v.name}.state", (size,), v.dtype) for v in self.fold.state]

    def _own_flag(self, piece: Expr) -> tuple[str, Expr]:
        """The flags of all tiles, and what this launch sets them to. It is read from the tile's own flag before any
        thread can have set that: there is a barrier between."""
        assert self.tiling.warps > 1
        flags = self._scratch("tile_flags.counter", (self.tiling.pieces * self.blocks,), FLAG)
        awaited = self.names.fresh("awaited")
        own = element(flags, simplify(piece * self.blocks + self.block), FLAG)
        self.out.append(Declare(awaited, FLAG, own + 1))
        return flags, variable(awaited, FLAG)

    def _publish(self, flags: str, arrays: list[str], number: Expr, state: tuple[Expr, ...], value: Expr) -> None:
        """Let other blocks see a state of each of the block's lines."""
        wide = self.blocks * self.tiling.lines
        first = logical_and(compare("eq", self.sub, const(0)), compare("eq", self.warp, const(0)))
        put = self._stored(arrays, number * wide + self.line, state)
        publish = Publish(flags, simplify(number * self.blocks + self.block), value)
        if self.tiling.lines == 1:
            self.out.append(If(simplify(first), (*put, publish)))
        else:
            self.out += [If(simplify(first), tuple(put)), Barrier("global"),
                         If(compare("eq", self.thread, const(0)), (publish,))]


@dataclass(frozen=True)
class Vector:
    """What a thread took in at one of its vectors, how expressions read there, and where it is inside the line: as a
    whole or lane by lane."""

    taken: tuple[Expr, ...]
    convert: Converter
    inside: Expr
    whole: bool


def _guarded(stmt: Stmt, inside: Expr) -> Stmt:
    """A declaration or store of `Body.writes` with lanes that may lie outside."""
    if isinstance(stmt, Declare):
        return replace(stmt, value=guard_loads(stmt.value, inside))
    assert isinstance(stmt, Store)
    guard = inside if stmt.guard is None else logical_and(inside, guard_loads(stmt.guard, inside))
    return replace(stmt, value=guard_loads(stmt.value, inside), guard=guard)
