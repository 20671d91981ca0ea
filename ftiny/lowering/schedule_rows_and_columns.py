"""The GPU schedule for rows whose work also adds to every column: one pass over memory for both.

Input: the stages of a phase that work along the rows of the grid and end with a fold across all rows, one state for
each column. Output: two kernels, or nothing where a row does not fit in a block's registers. A block takes a run of
rows. A thread has the same columns of each: it loads them once, in accesses of 16 bytes, keeps them in registers
through all the stages, and keeps its columns' states from row to row. Then every block leaves its states in memory,
and a second, small kernel combines those in the order of the blocks, so that results do not vary between runs.

Worked example, the backward pass of layernorm for 16384 rows of 4096: 261 blocks of 256 threads take 63 rows each; a
thread has 4 x 4 elements of x and of dy, and 2 x 16 sums. Memory is read twice and written twice a row, where a kernel
for the rows and one for the columns would read four times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ftiny.lowering.device import Capabilities
from ftiny.lowering.expr import (
    Axis,
    Expr,
    axes_of,
    const,
    load_guard,
    load_index,
    loads,
    logical_and,
    minimum,
    transform,
    variable,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify, unflatten
from ftiny.lowering.kernel import Assign, Barrier, Declare, For, If, Stmt, Store, element, group, local, ramp
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, stage_roots, writes_of
from ftiny.lowering.schedule_across import Split
from ftiny.lowering.schedule_block_body import BlockBody, Layout
from ftiny.lowering.schedule_body import Converter, Names, Place
from ftiny.lowering.schedule_generic import Context, Worker, finish_kernel, nest_names
from ftiny.lowering.schedule_merge import merge_local

LANES = 4                # columns that a thread has side by side
REGISTERS = 72           # of 128: what a thread keeps of a row and of its columns' states
RESIDENT_THREADS = 512   # threads of a multiprocessor that have so many registers
MIN_THREADS = 64
WIDTH = 32               # neighbouring columns of one block where the blocks' states are combined
CACHED = 1 << 16


@dataclass(frozen=True)
class Shares:
    """How a row is dealt out: `chunks` times `threads` times `lanes` neighbours, and what does not fill the last."""

    row: int
    threads: int
    lanes: int
    chunks: int

    def column(self, chunk: int, thread: Expr) -> Expr:
        """The first column of a thread's chunk."""
        return simplify(const(chunk * self.threads * self.lanes) + thread * self.lanes)

    def is_whole(self, chunk: int) -> bool:
        """Whether every thread has this chunk."""
        return (chunk + 1) * self.threads * self.lanes <= self.row


def row_elements(capabilities: Capabilities) -> int:
    """How many elements of a row's arrays and its columns' states a worker can hold: a block's registers, or the cache
    of a CPU's core."""
    return CACHED if capabilities.host_memory else capabilities.max_threads * REGISTERS


def schedule_rows_and_columns(context: Context, stages: tuple[Stage, ...], fold: Fold) -> bool:
    """Append the two kernels and return True, or return False where this schedule does not fit."""
    nest = context.nest
    stages = tuple(s if s is fold else merge_local(nest, s) for s in stages[:-1])
    column = _only_column(nest, stages, fold)
    if context.cpu or column is None:
        return False
    shares = _shares(context, column.extent, len(_kept(nest, stages, fold, column)) + len(fold.state))
    if shares is None:
        return False
    rows = math.prod(a.extent for a in nest.grid)
    blocks = context.capabilities.compute_units * max(1, RESIDENT_THREADS // shares.threads)
    split = Split(context, fold, nest.grid, (), min(rows, blocks))
    _partial_kernel(context, stages, split, shares, column)
    _combine_kernel(context, split, column)
    return True


def _only_column(nest: LoopNest, stages: Iterable[Stage], fold: Fold) -> Axis | None:
    """The axis along the rows, if every stage has that one or none, and is one that a block can run."""
    kept = [a for a in fold.axes if a.extent != 1]
    if len(kept) != 1 or set(fold.over) != set(nest.grid) or fold.emit or fold.reverse or fold.combine is None:
        return None
    if any(len(v.shape) != len(fold.axes) for v in fold.state):
        return None
    for stage in stages:
        own = stage.axes if isinstance(stage, Map) else stage.over
        if [a for a in own if a.extent != 1] not in ([], kept) or any(w.update for w in writes_of(stage)):
            return None
        if isinstance(stage, Fold) and (stage.axes or stage.emit or stage.reverse or stage.combine is None):
            return None
    shared = [v for v in nest.values if v.scope == "shared"]
    if set(nest.outputs()) & set(nest.inputs()):
        return None
    return kept[0] if all(math.prod(v.shape) == kept[0].extent for v in shared) else None


def _shares(context: Context, row: int, kept: int) -> Shares | None:
    """As few threads as hold the row in their registers: small blocks wait less for each other."""
    lanes = LANES if row % LANES == 0 else 1
    threads = MIN_THREADS
    while threads <= context.capabilities.max_threads:
        chunks = -(-row // (threads * lanes))
        if chunks * lanes * kept <= REGISTERS:
            return Shares(row, threads, lanes, chunks)
        threads *= 2
    return None


def _kept(nest: LoopNest, stages: Iterable[Stage], fold: Fold, column: Axis) -> set[Expr | str]:
    """What a thread keeps of a row: the elements that it loads at its columns, and values of the row."""
    arguments = {v.name for v in nest.arguments}
    found: set[Expr | str] = {v.name for v in nest.values if v.scope == "shared"}
    for node in loads(root for stage in (*stages, fold) for root in stage_roots(stage)):
        if node.attr[0] in arguments and load_guard(node)[0] is None:
            axes = axes_of(load_index(node))
            if column in axes and axes & set(nest.grid):
                found.add(node)
    return found


def _partial_kernel(context: Context, stages: tuple[Stage, ...], split: Split, shares: Shares, column: Axis) -> None:
    nest = context.nest
    worker = Worker(context, (split.pieces,))
    worker.grid, worker.block = (split.pieces.extent, 1, 1), (shares.threads, 1, 1)
    piece = group(0, split.pieces.extent)
    run = Axis("run", split.run)
    flat = simplify(piece * split.run + axis_expr(run))
    every = (*stages, split.fold)
    names = nest_names(nest, every)
    body = _RowBody(context, every, names, unflatten(flat, nest.grid), shares, column)
    row = body.load_row(every)
    for stage in stages:
        row += body.stage(stage)
    row += body.columns(split.fold)
    if sum(isinstance(s, Fold) for s in stages) < 2:
        row.append(Barrier("shared"))  # with more folds a row's states are read before the next row's are written
    stop = None
    if split.pieces.extent * split.run != split.points:
        stop = simplify(minimum(const(split.run), const(split.points) - piece * split.run))
    partials = {v.name: split.partials[v.name].name for v in split.fold.state}
    start, leave = body.start(split.fold), body.leave(split.fold, partials, piece)
    loop = [For(run, tuple(row), stop=stop)] if split.run > 1 else row
    finish_kernel(context, [*body.scratch, *start, *loop, *leave], worker, every)


def _combine_kernel(context: Context, split: Split, column: Axis) -> None:
    """The blocks' states of a column become one: a block has 32 columns, and shares their states out in slices."""
    fold, nest, pieces = split.fold, context.nest, split.pieces.extent
    slices = max(1, min(context.capabilities.max_threads // WIDTH, pieces))
    blocks, threads = -(-column.extent // WIDTH), WIDTH * slices
    worker = Worker(context, (column,))
    worker.grid, worker.block = (blocks, 1, 1), (threads, 1, 1)
    thread = local(0, threads)
    at, mine = simplify(group(0, blocks) * WIDTH + thread % WIDTH), simplify(thread // WIDTH)
    names = nest_names(nest, (fold,))
    places = {v.name: Place("buffer", v.name, v.shape) for v in (*nest.arguments, *split.partials.values())}
    places |= {v.name: Place("variable", names.fresh(v.name)) for v in fold.state}
    axes = {a: at if a is column else const(0) for a in fold.axes}
    body = BlockBody(nest, Converter(places, axes), names, Layout(threads), 1)
    states = [places[v.name].name for v in fold.state]
    dtypes = [v.dtype for v in fold.state]
    turn = Axis(names.fresh("turn"), -(-pieces // slices))
    piece = simplify(axis_expr(turn) * slices + mine)
    theirs = [element(split.partials[v.name].name, simplify(piece * column.extent + at), v.dtype) for v in fold.state]
    inside = logical_and(simplify(piece < pieces), simplify(at < column.extent))
    take: list[Stmt] = body._combine(fold, states, theirs)
    statements: list[Stmt] = [Declare(n, d, body.convert(e)) for n, d, e in zip(states, dtypes, fold.init)]
    statements.append(For(turn, (If(inside, tuple(take)),)))
    arrays = body._arrays(states, dtypes, threads)
    statements += [Store(a, thread, variable(n, d)) for a, n, d in zip(arrays, states, dtypes)]
    other = Axis(names.fresh("slice"), slices - 1)
    last = body._combine(fold, states, [element(a, simplify((axis_expr(other) + 1) * WIDTH + thread), d)
                                        for a, d in zip(arrays, dtypes)])
    finish = [s for w in fold.finish for s in body.write(w, body.convert)]
    first = logical_and(simplify(thread < WIDTH), simplify(at < column.extent))
    statements += [Barrier("shared"), If(first, (For(other, tuple(last)), *finish))]
    finish_kernel(context, [*body.scratch, *statements], worker, (fold,))


class _RowBody(BlockBody):
    """Statements of one row for a block whose threads have the same columns of every row."""

    def __init__(self, context: Context, stages: tuple[Stage, ...], names: Names, axes: dict[Axis, Expr],
                 shares: Shares, column: Axis) -> None:
        nest = context.nest
        self.shares, self.column = shares, column
        self.column_states = {v.name for v in _across(stages).state}
        own = {v.name: v for s in stages if isinstance(s, Fold) for v in s.state if v.name not in self.column_states}
        places: dict[str, Place] = {}
        for value in (*nest.arguments, *nest.values, *own.values()):
            whole = value.scope in ("argument", "global")
            places[value.name] = Place("buffer" if whole else "variable",
                                       value.name if whole else names.fresh(value.name), value.shape)
        super().__init__(nest, Converter(places, axes), names, Layout(shares.threads), context.capabilities.warp)
        self.rows = [v for v in nest.values if v.scope == "shared"]
        self.chunk_names = [{n: names.fresh(f"{n}_{c}") for n in (*self.column_states, *(v.name for v in self.rows))}
                            for c in range(shares.chunks)]
        self.chunks = [self._chunk(c) for c in range(shares.chunks)]
        self.held: list[dict[Expr, Expr]] = [{} for _ in range(shares.chunks)]

    def _chunk(self, chunk: int) -> Converter:
        place = {n: Place("variable", new) for n, new in self.chunk_names[chunk].items()}
        column = simplify(self.shares.column(chunk, self.thread) + ramp(self.shares.lanes))
        return self.convert.with_places(place).with_axes({self.column: column})

    def at(self, chunk: int, expr: Expr) -> Expr:
        """An expression at a thread's chunk, with the loads that the thread holds as variables."""
        held = self.held[chunk]
        return transform((self.chunks[chunk](expr),), lambda node, args: held.get(node))[0]

    def guarded(self, chunk: int, statements: list[Stmt]) -> list[Stmt]:
        """The statements for the threads that have this chunk."""
        if self.shares.is_whole(chunk):
            return statements
        return [If(simplify(self.shares.column(chunk, self.thread) < self.shares.row), tuple(statements))]

    def load_row(self, stages: tuple[Stage, ...]) -> list[Stmt]:
        """All that the row needs of memory, before anything is computed, so that the loads run together."""
        result: list[Stmt] = []
        nodes = [n for n in _kept(self.nest, stages[:-1], _across(stages), self.column) if isinstance(n, Expr)]
        order = {node: k for k, node in enumerate(loads(r for s in stages for r in stage_roots(s)))}
        for chunk in range(self.shares.chunks):
            for node in sorted(nodes, key=order.__getitem__):
                name = self.names.fresh(f"{node.attr[0]}_{chunk}")
                element = self.chunks[chunk](node)
                if self.shares.is_whole(chunk):
                    result.append(Declare(name, node.dtype, element, self.shares.lanes))
                else:
                    result.append(Declare(name, node.dtype, const(0, node.dtype), self.shares.lanes))
                    result += self.guarded(chunk, [Assign(name, element)])
                self.held[chunk][element] = variable(name, node.dtype)
        for names in self.chunk_names:
            result += [Declare(names[v.name], v.dtype, const(0, v.dtype), self.shares.lanes) for v in self.rows]
        return result

    # ------------------------------------------------------------------------------------ stages

    def map(self, stage: Map) -> list[Stmt]:
        head = [s for w in stage.writes if w.value not in self.chunk_names[0] for s in self.declaration(w)]
        if self.column not in stage.axes:
            return head + self._by_one(stage.writes)
        return head + [s for c in range(self.shares.chunks) for s in self.guarded(c, self._chunk_writes(c, stage))]

    def _chunk_writes(self, chunk: int, stage: Map) -> list[Stmt]:
        statements = self.writes(stage.writes, self.chunks[chunk])
        return [_with_values(s, self.held[chunk]) for s in statements]

    def fold(self, stage: Fold) -> list[Stmt]:
        names = [self.convert.places[v.name].name for v in stage.state]
        dtypes = [v.dtype for v in stage.state]
        lanes = self.shares.lanes if self.column in stage.over else 1
        head = [s for w in stage.finish for s in self.declaration(w)]
        if self.column not in stage.over:
            first = [self.convert(e) for e in stage.init]
            return [*head, *(Declare(n, d, e) for n, d, e in zip(names, dtypes, first)),
                    *self._advance([self.convert(e) for e in stage.step], names, dtypes), *self._by_one(stage.finish)]
        wide = names if lanes == 1 else [self.names.fresh(f"{n}_v") for n in names]
        head += [Declare(n, d, self.convert(e), lanes) for n, d, e in zip(wide, dtypes, stage.init)]
        places = {v.name: Place("variable", n) for v, n in zip(stage.state, wide)}
        for chunk in range(self.shares.chunks):
            head += self.guarded(chunk, self._step_at(chunk, stage, wide, dtypes, places))
        if lanes > 1:
            head += self._combine_all(stage, [wide], {v.name: n for v, n in zip(stage.state, names)}, lanes)
        return head + self._across_threads(stage, names, dtypes) + self._by_one(stage.finish)

    def _step_at(self, chunk: int, stage: Fold, names: list[str], dtypes: list[np.dtype],
                 places: dict[str, Place]) -> list[Stmt]:
        convert, held = self.chunks[chunk].with_places(places), self.held[chunk]
        new = transform(map(convert, stage.step), lambda node, args: held.get(node))
        return self._advance(list(new), names, dtypes, self.shares.lanes)

    # ----------------------------------------------------------------------------------- columns

    def start(self, fold: Fold) -> list[Stmt]:
        """The columns' states before the first row."""
        return [Declare(self.chunk_names[c][v.name], v.dtype, self.at(c, e), self.shares.lanes)
                for c in range(self.shares.chunks) for v, e in zip(fold.state, fold.init)]

    def columns(self, fold: Fold) -> list[Stmt]:
        """The row joins its columns' states."""
        dtypes = [v.dtype for v in fold.state]
        result: list[Stmt] = []
        for chunk, names in enumerate(self.chunk_names):
            new = [self.at(chunk, e) for e in fold.step]
            result += self.guarded(chunk, self._advance(new, [names[v.name] for v in fold.state], dtypes,
                                                        self.shares.lanes))
        return result

    def leave(self, fold: Fold, partials: dict[str, str], piece: Expr) -> list[Stmt]:
        """The columns' states of this block's rows, to memory."""
        result: list[Stmt] = []
        for chunk, names in enumerate(self.chunk_names):
            column = self.shares.column(chunk, self.thread) + ramp(self.shares.lanes)
            place = simplify(piece * self.shares.row + column)
            result += self.guarded(chunk, [Store(partials[v.name], place, variable(names[v.name], v.dtype))
                                           for v in fold.state])
        return result


def _across(stages: tuple[Stage, ...]) -> Fold:
    """The fold across the rows, the last of the stages."""
    last = stages[-1]
    assert isinstance(last, Fold)
    return last


def _with_values(stmt: Stmt, held: dict[Expr, Expr]) -> Stmt:
    """A statement that reads what the thread holds instead of memory."""
    def change(expr: Expr) -> Expr:
        return transform((expr,), lambda node, args: held.get(node))[0]

    if isinstance(stmt, Declare):
        return Declare(stmt.name, stmt.dtype, change(stmt.value), stmt.lanes)
    if isinstance(stmt, Assign):
        return Assign(stmt.name, change(stmt.value))
    if isinstance(stmt, If):
        return If(change(stmt.condition), tuple(_with_values(s, held) for s in stmt.then))
    assert isinstance(stmt, Store)
    return Store(stmt.buffer, stmt.offset, change(stmt.value), None if stmt.guard is None else change(stmt.guard))
