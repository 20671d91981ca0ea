"""Scatters: updates to places that the data name, without one worker for all of them.

Input: a nest with a `Scatter`. Output: its kernels and their scratch arrays. Three ways, by a rule of costs:

- Updates that never meet, and atomic ones whose order does not show, go where they belong, all at once; many to few
  elements are first added up by each block. (Of rows of `SORTED_WIDTH` elements the sort is cheaper than the atomics.)
- Few updates (`FEW`) on a GPU: each looks for an earlier one of its place; the first of a place takes all of them in.
- Many: a stable sort brings the updates of each place together (schedule_scatter_sort.py), and the owner of an element
  adds them up in their order, in a register. Long runs are cut into pieces, see `piece_length`.

On a CPU a worker owns a range of rows instead (schedule_scatter_cpu.py). Whatever the way, the result is a function of
the arguments alone: the same bits in every run, and up to `piece_length` updates of one element in the very order in
which the interpreter adds them.

Worked example, zeros(50257, 768).at[ids].add(dy) with 65536 ids: three passes over 6 bits each sort the ids in nine
launches, one finds where each row's updates start, one adds the pieces of long runs (there are none, mostly), and one,
192 threads of four columns a row, writes every row once, with zeros as its start: zeros are never read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.expr import (
    INDEX,
    Axis,
    Expr,
    axes_of,
    cast,
    compare,
    const,
    logical_and,
    maximum,
    minimum,
    select,
    variable,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import flatten, simplify, unflatten
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
    element,
    group,
    local,
    ramp,
)
from ftiny.lowering.loops import LoopNest, Scatter, Value, apply_op, split_scatter
from ftiny.lowering.schedule import Scheduled, accesses_of, parameter, traffic
from ftiny.lowering.schedule_body import Converter, Place
from ftiny.lowering.schedule_generic import hoist_arrays, schedule_phases, touched

SORTED_WIDTH = 16    # rows of so many elements are sorted even if their order does not matter: atomics cost more
FEW = 2048           # each of so few updates can look at all the others, which takes no longer than
FEW_LOOKS = 1 << 26  # so many looks, about 10 us of a large GPU: the launches of a sort take twice that
MOST = 2**31 - 1024  # positions and rows are held in 32 bits
THREADS = 128
I32 = np.dtype(np.int32)


def schedule_scatter(nest: LoopNest, capabilities: Any) -> Scheduled:
    """The kernels of a nest with a scatter."""
    from ftiny.lowering.schedule_scatter_cpu import schedule_ranges
    from ftiny.lowering.schedule_scatter_sort import can_sort, sorted_updates

    stage = nest.scatter
    assert stage is not None
    rows = Rows(nest, stage, capabilities)
    if stage.order == "any" and (rows.width >= SORTED_WIDTH or not _has_atomics(stage, capabilities)):
        stage = replace(stage, order="kept")
        rows = Rows(replace(nest, scatter=stage), stage, capabilities)
    nest = rows.nest
    if stage.order == "any" and _fits_a_block(rows):
        return _count_in_blocks(rows)
    held = 0 < min(rows.count, rows.places) and max(rows.count, rows.places) < MOST
    if stage.order in ("apart", "any") or not held:
        return _split(nest, capabilities)
    if capabilities.host_memory:
        return schedule_ranges(rows) or _split(nest, capabilities)
    if rows.count <= FEW and rows.count**2 * rows.width // rows.lanes() <= FEW_LOOKS:
        return _first_of_each(rows)
    if not can_sort(capabilities):
        return _split(nest, capabilities)
    return _sum_runs(rows, *sorted_updates(rows))


def _has_atomics(stage: Scatter, capabilities: Any) -> bool:
    """Whether a GPU combines elements of this kind in memory by itself, in hardware or by comparing and swapping."""
    dtype, op = stage.write.expr.dtype, stage.write.update
    if capabilities.host_memory or op is None:
        return False
    if dtype.kind in "iu" and dtype.itemsize == 4 and op != "mul":
        return True
    return capabilities.dialect == "cuda" and (dtype.itemsize in (4, 8) or dtype.kind in "fV") and dtype.kind != "b"


def _fits_a_block(rows: Rows) -> bool:
    """Whether blocks can add up single elements in shared memory, and there are so many to each that it pays."""
    dtype, memory = rows.target.dtype, rows.places * rows.target.memory.itemsize
    adds = rows.stage.write.update == "add" and dtype in (np.dtype(np.int32), np.dtype(np.uint32), np.dtype(np.float32))
    native = dtype.kind != "f" or rows.capabilities.dialect == "cuda"
    enough = rows.count >= 16 * rows.places and rows.count >= 1 << 16
    return adds and native and rows.width == 1 and memory <= rows.capabilities.shared_bytes * 2 // 3 and enough


def _split(nest: LoopNest, capabilities: Any) -> Scheduled:
    """The start everywhere, then the updates, by the schedules for other nests."""
    from ftiny.lowering.schedule import phases

    parts = [schedule_phases(part, phases(part), capabilities) for part in split_scatter(nest)]
    return Scheduled(tuple(k for p in parts for k in p.kernels), tuple(v for p in parts for v in p.scratch))


def piece_length(count: int) -> int:
    """How many updates of one element are added one after another: about the square root of all, so that neither the
    pieces of a run nor the adding up of its pieces takes long when all updates are of one element."""
    return 1 << max(6, min(10, count.bit_length() // 2))


# ---------------------------------------------------------------------------------------------- rows


class Rows:
    """A scatter as rows of columns. Axes of the updates that are a coordinate of the place, over all of it, and on
    which nothing else depends are columns; a position is one point of the others, in order, and its row is what is
    left of the place, flattened."""

    def __init__(self, nest: LoopNest, stage: Scatter, capabilities: Any) -> None:
        self.nest, self.stage, self.capabilities = nest, stage, capabilities
        self.target = nest.value(stage.write.value)
        shape = self.target.shape
        found = _columns(stage, shape)
        self.columns = tuple(found)
        self.column_of = {dimension: axis for axis, dimension in found.items()}
        self.positions = tuple(a for a in stage.over if a not in found)
        self.keyed = tuple(k for k in range(len(shape)) if k not in self.column_of)
        self.count = math.prod(a.extent for a in self.positions)
        self.places = math.prod(shape[k] for k in self.keyed)
        self.width = math.prod(a.extent for a in self.columns)
        self.wide = accumulation_dtype(self.target.dtype)
        self.scratch: list[Value] = []
        self.kernels: list[Kernel] = []
        buffers = {v.name: Place("buffer", v.name, v.shape) for v in nest.arguments}
        self._convert = Converter(buffers)

    @property
    def columns_last(self) -> bool:
        """Whether the elements of a row lie side by side."""
        return bool(self.columns) and len(self.target.shape) - 1 in self.column_of

    def key(self, position: Expr) -> Expr:
        """The row of the update at a position, `places` for one that is dropped; int32."""
        write = self.stage.write
        convert = self._convert.with_axes(unflatten(position, self.positions))
        row = flatten([write.index[k] for k in self.keyed], tuple(self.target.shape[k] for k in self.keyed))
        outside = const(self.places)
        if self.stage.order == "sorted" and self.keyed:
            # What lies before the first row stays before it.
            outside = select(write.index[self.keyed[0]] < 0, const(-1), outside)
        guard = write.guard
        return convert(cast(row if guard is None else select(guard, row, outside), I32))

    def store_keys(self) -> str:
        """Append a kernel that works all rows out; the array's name."""
        keys = self.array("rows.0", self.count)
        self.threads("keys", self.count, lambda point: [Store(keys, point, self.key(point))], 4 * self.count)
        return keys

    def update(self, position: Expr, columns: dict[Axis, Expr]) -> Expr:
        """The update's element, in the dtype that is accumulated."""
        axes = {**unflatten(position, self.positions), **columns}
        return self._convert.with_axes(axes)(cast(self.stage.write.expr, self.wide))

    def _target_axes(self, row: Expr, columns: dict[Axis, Expr]) -> dict[Axis, Expr]:
        axes = unflatten(row, tuple(self.stage.axes[k] for k in self.keyed))
        axes |= {self.stage.axes[k]: columns[axis] for k, axis in self.column_of.items()}
        return axes

    def start(self, row: Expr, columns: dict[Axis, Expr]) -> Expr:
        """The element before the updates."""
        return self._convert.with_axes(self._target_axes(row, columns))(cast(self.stage.start, self.wide))

    def offset(self, row: Expr, columns: dict[Axis, Expr]) -> Expr:
        """Where the element lies."""
        place = Place("buffer", self.target.name, self.target.shape)
        return self._convert.with_axes(self._target_axes(row, columns)).offset(
            tuple(map(axis_expr, self.stage.axes)), place)

    @property
    def carried(self) -> np.dtype:
        """What goes along when updates are sorted: their positions, or the updates where they are single elements."""
        return I32 if self.width > 1 else self.wide

    def payload(self, position: Expr, carried: str | None) -> Expr:
        """What goes along with the update at a position (of the original order where nothing was carried so far)."""
        if carried is not None:
            return element(carried, position, self.carried)
        return cast(position, I32) if self.width > 1 else self.update(position, self.column_points(const(0), 1))

    def combine(self, x: Expr, y: Expr) -> Expr:
        """An element and one more update of it."""
        op = self.stage.write.update
        return y if op is None else apply_op(op, x, y)

    def lanes(self) -> int:
        """How many columns a thread takes: 16 bytes of them, where rows are made of such."""
        lanes = 16 // self.target.dtype.itemsize
        fits = self.columns_last and lanes in (2, 4) and self.columns[-1].extent % lanes == 0
        return lanes if fits and self.target.dtype.kind in "iuf" else 1

    def column_points(self, flat: Expr, lanes: int) -> dict[Axis, Expr]:
        """The columns of chunk `flat` of a row, `lanes` of them at once."""
        if not self.columns:
            return {}
        last = Axis("chunk", self.columns[-1].extent // lanes)
        axes = unflatten(flat, (*self.columns[:-1], last))
        found = axes.pop(last)
        return {**axes, self.columns[-1]: simplify(found * lanes + ramp(lanes))}

    def point(self, flat: Expr, lanes: int) -> tuple[Expr, dict[Axis, Expr]]:
        """(row, columns) of a thread: neighbours take neighbouring elements of the result."""
        chunks = self.width // lanes
        if self.columns_last or not self.columns:
            return simplify(flat // chunks), self.column_points(simplify(flat % chunks), lanes)
        return simplify(flat % self.places), self.column_points(simplify(flat // self.places), lanes)

    def array(self, name: str, size: int, dtype: np.dtype = I32) -> str:
        """A scratch array for the kernels of this scatter."""
        self.scratch.append(Value(name, (size,), dtype, scope="global"))
        return name

    def kernel(self, name: str, blocks: int, threads: int, body: list[Stmt], moved: int = 0) -> None:
        """Append a kernel; `moved` are the bytes that it reads and writes, its scratch arrays if nothing is said.
        One that touches no argument is named without the nest, so that scatters can share it."""
        statements = hoist_arrays(body)
        used, written = touched(statements)
        arrays = [v for v in (*self.nest.arguments, *self.scratch) if v.name in used]
        own = sum(math.prod(v.shape) * v.memory.itemsize for v in arrays if v.scope == "global")
        params = tuple(parameter(v, v.name in written) for v in arrays)
        owner = self.nest.name if any(v.scope == "argument" for v in arrays) else "scatter"
        self.kernels.append(Kernel(f"{owner}_{name}", params, (blocks, 1, 1), (threads, 1, 1), statements,
                                   0, moved or own, self.nest.equations))

    def threads(self, name: str, points: int, body: Callable[[Expr], list[Stmt]], moved: int = 0) -> None:
        """Append a kernel with one thread a point."""
        count = min(THREADS, max(1, points))
        blocks = -(-points // count)
        point = simplify(group(0, blocks) * count + local(0, count))
        statements = body(point)
        if blocks * count != points:
            statements = [If(point < points, tuple(statements))]
        self.kernel(name, blocks, count, statements, moved)

    def traffic(self) -> int:
        """The bytes of the arguments that a scatter touches: its result, the updates and their indices."""
        started = accesses_of([self.stage.start], [])
        return traffic(self.nest.arguments, [*self._reads(), *started, (self.target.name, self.stage.axes)])

    def update_traffic(self) -> int:
        """The same without the start: elements are read and written where there are updates."""
        elements = math.prod(a.extent for a in self.stage.over)
        return 2 * elements * self.target.memory.itemsize + traffic(self.nest.arguments, self._reads())

    def _reads(self) -> list[tuple[str, set[Axis]]]:
        write = self.stage.write
        return accesses_of([write.expr, *write.index, *([] if write.guard is None else [write.guard])], [])


def _columns(stage: Scatter, shape: tuple[int, ...]) -> dict[Axis, int]:
    """The axes of the updates that are columns, and the dimension of the place that each is, in the place's order."""
    write = stage.write
    found: dict[Axis, int] = {}
    for dimension, index in enumerate(write.index):
        if index.op == "axis" and index.attr.extent == shape[dimension]:
            others = [i for k, i in enumerate(write.index) if k != dimension]
            if index.attr not in axes_of([*others, *([write.guard] if write.guard is not None else [])]):
                found[index.attr] = dimension
    return found


def number(buffer: str, offset: Expr) -> Expr:
    """An element of an int32 array as an index."""
    return cast(element(buffer, offset, I32), INDEX)


# ------------------------------------------------------------------------------------------- few updates


def _first_of_each(rows: Rows) -> Scheduled:
    """The start everywhere; then, for each update that is the first of its place, all updates of the place."""
    _write_start(rows)
    lanes = rows.lanes()
    chunks = rows.width // lanes

    def body(point: Expr) -> list[Stmt]:
        position, columns = simplify(point // chunks), rows.column_points(simplify(point % chunks), lanes)
        other = Axis("other", rows.count)
        key, total = variable("key", I32), variable("total", rows.wide)
        row = simplify(maximum(cast(key, INDEX), const(0)))
        same = compare("eq", rows.key(axis_expr(other)), key)
        offset = rows.offset(row, columns)
        old = cast(element(rows.target.name, offset, rows.target.dtype), rows.wide)
        add = Assign("total", rows.combine(total, rows.update(axis_expr(other), columns)))
        first = variable("first", I32)
        return [
            Declare("key", I32, rows.key(position)),
            Declare("first", I32, const(1, I32)),
            For(other, (If(same, (Assign("first", const(0, I32)),)),), stop=position),
            If(logical_and(first > 0, key >= 0, key < rows.places), (
                Declare("total", rows.wide, old, lanes),
                For(other, (If(same, (add,)),), start=position),
                Store(rows.target.name, offset, cast(total, rows.target.dtype)))),
        ]

    rows.threads("updates", rows.count * chunks, body, rows.update_traffic())
    return Scheduled(tuple(rows.kernels))


def _write_start(rows: Rows) -> None:
    """The result without updates."""
    lanes = rows.lanes()

    def body(point: Expr) -> list[Stmt]:
        row, columns = rows.point(point, lanes)
        value = cast(rows.start(row, columns), rows.target.dtype)
        return [Store(rows.target.name, rows.offset(row, columns), value)]

    size = math.prod(rows.target.shape)
    read = traffic(rows.nest.arguments, accesses_of([rows.stage.start], []))
    rows.threads("start", size // lanes, body, size * rows.target.memory.itemsize + read)


# ------------------------------------------------------------------------------- updates in any order


def _count_in_blocks(rows: Rows) -> Scheduled:
    """The start everywhere; then each block adds up its part of the updates in shared memory, and its sums to the
    result: few elements would keep all the atomics of a device waiting for each other."""
    _write_start(rows)
    threads = 4 * THREADS if rows.capabilities.max_threads >= 4 * THREADS else THREADS
    blocks = min(2 * rows.capabilities.compute_units, -(-rows.count // (8 * threads)))
    turns, strides = -(-rows.count // (blocks * threads)), -(-rows.places // threads)
    turn, place = Axis("turn", turns), Axis("place", strides)
    thread = local(0, threads)
    dtype = rows.target.dtype
    position = simplify((axis_expr(turn) * blocks + group(0, blocks)) * threads + thread)
    row = simplify(axis_expr(place) * threads + thread)
    key, total = variable("key", I32), variable("total", dtype)
    columns = rows.column_points(const(0), 1)
    update = cast(rows.update(position, columns), dtype)

    def inside(index: Expr, extent: int, *body: Stmt) -> tuple[Stmt, ...]:
        return (If(simplify(index < extent), body),)

    rows.kernel("blocks", blocks, threads, [
        DeclareArray("sums", dtype, rows.places, "shared"),
        For(place, inside(row, rows.places, Store("sums", row, const(0, dtype)))),
        Barrier("shared"),
        For(turn, inside(position, rows.count, Declare("key", I32, rows.key(position)), If(
            logical_and(key >= 0, key < rows.places), (Atomic("sums", cast(key, INDEX), update),)))),
        Barrier("shared"),
        For(place, inside(row, rows.places, Declare("total", dtype, element("sums", row, dtype)), If(
            compare("ne", total, const(0, dtype)), (Atomic(rows.target.name, rows.offset(row, columns), total),)))),
    ], rows.traffic())
    return Scheduled(tuple(rows.kernels), tuple(rows.scratch))


# ------------------------------------------------------------------------------------------ many updates


@dataclass(frozen=True)
class _Runs:
    """The sorted updates: rows in order (`keys`), what was carried along (None: they are as they came), where the run
    of each row starts, and how long pieces are."""

    rows: Rows
    keys: str
    carried: str | None
    starts: str
    piece: int

    def update(self, k: Expr, columns: dict[Axis, Expr]) -> Expr:
        """The k-th of the sorted updates."""
        if self.carried is None:
            return self.rows.update(k, columns)
        if self.rows.width == 1:
            return element(self.carried, k, self.rows.carried)
        # It is known to the sort, not to the printer, in what range a position lies: 32-bit arithmetic is enough.
        position = minimum(maximum(number(self.carried, k), const(0)), const(self.rows.count - 1))
        return self.rows.update(position, columns)

    def add_up(self, first: Expr, stop: Expr, columns: dict[Axis, Expr]) -> For:
        """Take the updates from `first` to `stop` into the variable `total`."""
        k = Axis("k", self.rows.count)
        value = self.rows.combine(variable("total", self.rows.wide), self.update(axis_expr(k), columns))
        return For(k, (Assign("total", value),), start=first, stop=stop)


def _sum_runs(rows: Rows, keys: str, carried: str | None) -> Scheduled:
    """Every element takes in its run of updates."""
    runs = _Runs(rows, keys, carried, rows.array("starts", rows.places + 1), piece_length(rows.count))
    rows.threads("starts", rows.places + 1, lambda point: _find_start(runs, point))
    lanes = rows.lanes()
    chunks = rows.width // lanes
    partial = None
    if rows.stage.write.update is not None and rows.count > runs.piece:
        windows = -(-rows.count // runs.piece)
        partial = rows.array("pieces", windows * rows.width, rows.wide)
        rows.threads("pieces", windows * chunks, lambda point: _piece(runs, partial, point, lanes), 8 * windows)
    rows.threads("rows", rows.places * chunks, lambda point: _row(runs, partial, point, lanes), rows.traffic())
    return Scheduled(tuple(rows.kernels), tuple(rows.scratch))


def _find_start(runs: _Runs, row: Expr) -> list[Stmt]:
    """The first of the sorted updates whose row is not below: a binary search."""
    low, high = variable("low", I32), variable("high", I32)
    step = Axis("step", runs.rows.count.bit_length())
    middle = variable("middle", I32)
    below = element(runs.keys, cast(middle, INDEX), I32) < cast(row, I32)
    half = compare("lt", low, high)
    return [
        Declare("low", I32, const(0, I32)),
        Declare("high", I32, const(runs.rows.count, I32)),
        For(step, (If(half, (
            Declare("middle", I32, low + cast(cast(high - low, INDEX) // 2, I32)),
            If(below, (Assign("low", middle + 1),), (Assign("high", middle),)))),)),
        Store(runs.starts, row, low),
    ]


def _piece(runs: _Runs, partial: str, point: Expr, lanes: int) -> list[Stmt]:
    """Add up the piece, other than a run's first, that starts in window `point` of the sorted updates, if there is
    one: pieces of one run start `piece` apart, the second of a run as far from the next run's, so never two do."""
    rows, chunks = runs.rows, runs.rows.width // lanes
    window = simplify(point // chunks)
    columns = rows.column_points(simplify(point % chunks), lanes)
    row, start, stop = variable("row", I32), variable("start", I32), variable("stop", I32)
    where = cast(variable("where", I32), INDEX)
    begin = window * runs.piece
    before = maximum(simplify(begin) - cast(start, INDEX), const(0))
    place = cast(start, INDEX) + (before + (runs.piece - 1)) // runs.piece * runs.piece
    total = variable("total", rows.wide)
    slot = simplify(window * rows.width + _flat_columns(rows, columns))
    first = runs.update(where, columns)
    last = minimum(where + runs.piece, cast(stop, INDEX))
    return [
        Declare("row", I32, element(runs.keys, simplify(begin), I32)),
        If(logical_and(row >= 0, row < rows.places), (
            Declare("start", I32, element(runs.starts, maximum(cast(row, INDEX), const(0)), I32)),
            Declare("stop", I32, element(runs.starts, maximum(cast(row, INDEX), const(0)) + 1, I32)),
            Declare("where", I32, cast(place, I32)),
            If(logical_and(compare("gt", variable("where", I32), start), compare("lt", variable("where", I32), stop)), (
                Declare("total", rows.wide, first, lanes),
                runs.add_up(where + 1, last, columns),
                Store(partial, slot, total))))),
    ]


def _flat_columns(rows: Rows, columns: dict[Axis, Expr]) -> Expr:
    return flatten([columns[a] for a in rows.columns], tuple(a.extent for a in rows.columns))


def _row(runs: _Runs, partial: str | None, point: Expr, lanes: int) -> list[Stmt]:
    """One element (or 16 bytes of them): its start, its first piece, and what the others came to."""
    rows = runs.rows
    row, columns = rows.point(point, lanes)
    start, stop = number(runs.starts, row), variable("stop", I32)
    total = variable("total", rows.wide)
    body: list[Stmt] = [
        Declare("start", I32, cast(start, I32)),
        Declare("stop", I32, element(runs.starts, simplify(row + 1), I32)),
        Declare("total", rows.wide, rows.start(row, columns), lanes),
    ]
    first, last = cast(variable("start", I32), INDEX), cast(stop, INDEX)
    if rows.stage.write.update is None:
        update = runs.update(maximum(last - 1, const(0)), columns)
        body.append(If(compare("lt", variable("start", I32), stop), (Assign("total", update),)))
    elif partial is None:
        body.append(runs.add_up(first, last, columns))
    else:
        body.append(runs.add_up(first, minimum(first + runs.piece, last), columns))
        other = Axis("piece", rows.count)
        window = maximum(axis_expr(other), const(0)) // runs.piece
        slot = simplify(window * rows.width + _flat_columns(rows, columns))
        more = Assign("total", rows.combine(total, element(partial, slot, rows.wide)))
        body.append(For(other, (more,), start=first + runs.piece, stop=last, step=runs.piece))
    return [*body, Store(rows.target.name, rows.offset(row, columns), cast(total, rows.target.dtype))]
