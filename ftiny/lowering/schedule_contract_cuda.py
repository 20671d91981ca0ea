"""Contractions on a GPU: tiles in shared memory, a small block of the result in each thread's registers.

Input: a `Contraction`. Output: kernels. All row axes are one flat row, all columns one flat column, the depth one
flat index, so a convolution is a matrix product whose loaders work out n, p, q and r, s, c (implicit GEMM) and
evaluate the operand's whole expression: nothing is materialised. While a block multiplies one tile of the
depth, its threads have the next one on the way from memory into registers; two buffers take turns. Where
the result has too few tiles to fill the processors, the threads of a block share out the depth of each tile
(`slices`), or several blocks share out the whole depth (`splits`; a second nest adds up the parts).

Worked example, x[128, 784] @ w[784, 1024] on 132 processors: 4 x 32 tiles of 32 x 32, one block of 256 threads
each: 4 slices of 64 threads, a thread has 4 x 4 sums; 13 steps of 64 depths; the slices' sums meet in shared
memory, then 256 threads write the tile, 4 elements each, the epilogue applied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from ftiny.lowering.choices import choose
from ftiny.lowering.device import STATIC_SHARED
from ftiny.lowering.expr import (
    Axis,
    Expr,
    const,
    floordiv,
    is_const,
    load_guard,
    loads,
    logical_and,
    mod,
    substitute,
    topological,
    variable,
    where,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, multiple_of, simplify, unflatten
from ftiny.lowering.kernel import (
    Assign,
    Barrier,
    Declare,
    DeclareArray,
    For,
    If,
    Kernel,
    Param,
    Stmt,
    Store,
    element,
    group,
    local,
    ramp,
)
from ftiny.lowering.schedule import accesses_of, parameter, traffic
from ftiny.lowering.schedule_contract import (
    Contraction,
    axis_terms,
    linear,
    split_sum,
    with_other_nests,
    with_sum,
)
from ftiny.lowering.schedule_contract_operands import placed

if TYPE_CHECKING:
    from ftiny.lowering.schedule import Scheduled

THREADS = 256
PADDING = 4  # elements after each depth of a shared tile: keeps 16-byte alignment, spreads columns over banks
DEPTH_RUN = 16  # elements that neighbouring threads take along the depth
LATENCY = 700  # cycles of one step of the depth that has nothing else to do
LAUNCH = 5_000  # cycles of one more kernel
BYTES_PER_CYCLE = 40  # from the second-level cache to one processor
SHARED_PER_PROCESSOR = 160 * 1024


@dataclass(frozen=True)
class Block:
    """A tile of rows x columns, `depth` products at a time, each thread `row_step` x `column_step` sums, the
    depth shared out over `slices` groups of threads, and over `splits` blocks."""

    rows: int
    columns: int
    depth: int
    row_step: int
    column_step: int
    slices: int = 1
    splits: int = 1

    @property
    def per_slice(self) -> int:
        """Threads of one slice; a slice covers the tile."""
        return self.rows // self.row_step * (self.columns // self.column_step)


BLOCKS = (
    Block(128, 128, 8, 8, 8),
    Block(128, 64, 16, 8, 4),
    Block(64, 64, 16, 4, 4),
    Block(128, 32, 16, 4, 4),
    Block(64, 32, 32, 4, 4, 2),
    Block(32, 32, 64, 4, 4, 4),
    Block(16, 16, 64, 4, 4, 16),
)


def schedule_cuda(contraction: Contraction, capabilities) -> Scheduled | None:
    """Kernels for the contraction, or None for a product with a vector, which ordinary folds do as well, and
    for a device with small blocks."""
    if not contraction.rows or not contraction.columns or capabilities.max_threads < THREADS:
        return None
    contraction = oriented(contraction)
    block = choose_block(contraction, capabilities)
    return None if block is None else schedule_block(contraction, block, capabilities)


def schedule_block(contraction: Contraction, block: Block, capabilities) -> Scheduled:
    """Kernels for a given block."""
    if block.splits > 1:
        contraction, _ = split_sum(contraction, block.splits)
    return with_other_nests(contraction, (), BlockWriter(contraction, block).kernel(), (), capabilities)


def oriented(contraction: Contraction) -> Contraction:
    """With the operands' roles such that neighbouring columns are neighbours in the result."""
    terms = axis_terms(contraction.writes[0].index[0])
    if any(terms.get(a) == 1 for a in contraction.columns) or not any(terms.get(a) == 1 for a in contraction.rows):
        return contraction
    return replace(contraction, left=contraction.right, right=contraction.left, rows=contraction.columns,
                   columns=contraction.rows)


# --------------------------------------------------------------------------------- the choice


def choose_block(contraction: Contraction, capabilities) -> Block | None:
    """The block and split with the least estimated time; None if the device has no room for any."""
    return choose("block", _blocks(contraction, capabilities), lambda b: _cycles(contraction, b, capabilities))


def _blocks(contraction: Contraction, capabilities) -> Iterator[Block]:
    size = contraction.state.dtype.itemsize
    depth = size_of(contraction.depth)
    for block in BLOCKS:
        if shared_elements(block) * size > min(capabilities.shared_bytes, STATIC_SHARED):
            continue
        if size > 4 and block.row_step * block.column_step > 32:
            continue
        splits = 1
        while splits == 1 or depth // splits >= 4 * block.depth and splits <= 256:
            yield replace(block, splits=splits)
            splits *= 2


def shared_elements(block: Block) -> int:
    """Elements of both shared tiles, two buffers each."""
    return sum(_tile_elements(block))


def _tile_elements(block: Block) -> tuple[int, int]:
    left, right = (2 * block.depth * (extent + PADDING) for extent in (block.rows, block.columns))
    # The slices' sums are added up in the left tile's memory.
    return max(left, block.rows * block.columns * block.slices if block.slices > 1 else 0), right


def _cycles(contraction: Contraction, block: Block, capabilities) -> float:
    """Estimated cycles until the last processor is done: what its units must do, or the wait for memory."""
    rows, columns, depth = (size_of(a) for a in (contraction.rows, contraction.columns, contraction.depth))
    size, sums = contraction.state.dtype.itemsize, block.row_step * block.column_step
    tiles = -(-rows // block.rows) * -(-columns // block.columns) * size_of(contraction.batch)
    steps = -(-depth // (block.depth * block.splits))
    per_processor = -(-tiles * block.splits // capabilities.compute_units)
    products = block.rows * block.columns * block.depth / (128 * (0.4 + 0.1 * math.log2(sums / 8)))
    fetched = (block.rows + block.columns) * block.depth * size / BYTES_PER_CYCLE
    ending = block.rows * block.columns * size * (2 * block.slices / 128 + 1 / BYTES_PER_CYCLE)
    work = per_processor * (steps * max(products * size / 4, fetched) + ending)
    resident = min(2 if sums >= 64 else 3 if sums >= 32 else 5, SHARED_PER_PROCESSOR // (shared_elements(block) * size))
    waiting = -(-per_processor // resident) * (steps + 3) * LATENCY
    total = max(work, waiting) + min(work, waiting) / 4
    if block.splits > 1:
        traffic = block.splits * rows * columns * size_of(contraction.batch) * size * 2
        total += LAUNCH + traffic / (BYTES_PER_CYCLE * capabilities.compute_units)
    return total


def size_of(axes: tuple[Axis, ...]) -> int:
    """Positions of the flat index over axes."""
    return math.prod(a.extent for a in axes)


# --------------------------------------------------------------------------------- the kernel


def aligned_group(offset: Expr, axes: tuple[Axis, ...], lanes: int = 4) -> bool:
    """Whether every aligned group of `lanes` positions of the flat index over `axes` is an aligned group of
    neighbours in memory."""
    if not axes or size_of(axes) % lanes:
        return False
    offset = _in_groups(offset, axes, lanes)
    return coefficient(offset, ramp(lanes)) == 1 and multiple_of(simplify(offset - ramp(lanes))) % lanes == 0


def ramps(expr: Expr, axes: tuple[Axis, ...], lanes: int = 4) -> bool:
    """Whether an expression differs within an aligned group of positions of the flat index over `axes`."""
    return not axes or bool(size_of(axes) % lanes) or ramp(lanes) in topological((_in_groups(expr, axes, lanes),))


def _in_groups(expr: Expr, axes: tuple[Axis, ...], lanes: int) -> Expr:
    flat = simplify(axis_expr(Axis("group_of_lanes.", size_of(axes) // lanes)) * lanes + ramp(lanes))
    return simplify(substitute((expr,), unflatten(flat, axes))[0])


class Loader:
    """How the block's threads bring one operand's tile to shared memory: `count` loads of `lanes` elements each.

    The tile lies [depth][position + padding] in shared memory. Neighbouring threads take neighbours in
    memory: along the depth where the operand is contiguous there, else along the rows or columns.
    """

    def __init__(self, name: str, expr: Expr, axes: tuple[Axis, ...], extent: int, writer: TileWriter):
        self.name, self.axes, self.extent, self.writer = name, axes, extent, writer
        self.expr = linear((expr,), writer.contraction.nest)[0]
        self.dtype = writer.dtype
        self.size = size_of(axes)
        self.along_depth = self._contiguous_along_depth()
        depth = writer.block.depth
        self.lanes = 4 if depth * extent % (4 * THREADS) == 0 and self._vectors() else 1
        self.count = max(1, depth * extent // (THREADS * self.lanes))

    def _contiguous_along_depth(self) -> bool:
        votes = 0
        for node in loads((self.expr,)):
            terms = axis_terms(node.args[0])
            votes += any(terms.get(a) == 1 for a in self.writer.contraction.depth)
            votes -= any(terms.get(a) == 1 for a in self.axes)
        return votes > 0

    def _vectors(self) -> bool:
        """Whether every array is read in aligned groups of four neighbours, all inside or all outside, or at one
        place by the whole group."""
        fast = self.writer.contraction.depth if self.along_depth else self.axes
        nodes = loads((self.expr,))
        guarded = [n for n in nodes if len(n.args) > 1]
        if guarded and (guarded != [self.expr] or not is_const(self.expr.args[2], 0) or ramps(self.expr.args[1], fast)):
            return False
        wide = [n for n in nodes if ramps(n.args[0], fast)]
        return bool(wide) and all(self.writer.contraction.nest.value(n.attr[0]).storage == np.float32
                                  and aligned_group(n.args[0], fast) for n in wide)

    def positions(self, number: int) -> tuple[Expr, Expr]:
        """(depth, position) in the tile of this thread's load `number`; its first element if it has several."""
        index = simplify((local(0, THREADS) + number * THREADS) * self.lanes)
        if not self.along_depth:
            return simplify(floordiv(index, const(self.extent))), simplify(mod(index, const(self.extent)))
        # Runs of 64 bytes along the depth, then the next row: longer runs would meet in few banks of the tile.
        run = min(DEPTH_RUN, self.writer.block.depth)
        order = (Axis("far.", self.writer.block.depth // run), Axis("position.", self.extent), Axis("near.", run))
        far, position, near = unflatten(index, order).values()
        return simplify(far * run + near), position

    def inside(self, number: int) -> Expr:
        """Whether this thread has a load `number` at all: small tiles have fewer elements than threads."""
        total = self.writer.block.depth * self.extent
        index = (local(0, THREADS) + number * THREADS) * self.lanes
        return simplify(index < total)

    def fetch(self, number: int, first_depth: Expr, first: Expr) -> tuple[Stmt, ...]:
        """Statements that put into its register what load `number` brings, 0 outside the operand. Wide loads
        are guarded by a branch: only an unguarded load can be 16 bytes."""
        name = self.register(number)
        guard, value = self._value(number, first_depth, first)
        if self.lanes == 1 or guard.op == "const":
            return (Assign(name, simplify(where(guard, value, const(0, self.dtype)))),)
        return Assign(name, const(0, self.dtype)), If(guard, (Assign(name, value),))

    def register(self, number: int) -> str:
        """The name of the variable that load `number` goes to."""
        return f"{self.name}{number}."

    def _value(self, number: int, first_depth: Expr, first: Expr) -> tuple[Expr, Expr]:
        """Where load `number` is inside, and what it brings there."""
        writer = self.writer
        at_depth, at = self.positions(number)
        depth, position = simplify(first_depth + at_depth), simplify(first + at)
        guard = simplify(logical_and(position < self.size, depth < writer.depth_size, self.inside(number)))
        lane = ramp(self.lanes)
        place = {**writer.place, **unflatten(simplify(depth + lane if self.along_depth else depth),
                                             writer.contraction.depth)}
        place.update(unflatten(simplify(position if self.along_depth else position + lane), self.axes))
        value = simplify(substitute((self.expr,), place)[0])
        own = load_guard(value)[0] if value.op == "load" and self.lanes > 1 else None
        if own is None:
            return guard, value
        return simplify(logical_and(guard, own)), element(value.attr[0], value.args[0], value.dtype)

    def store(self, number: int, buffer: Expr, value: Expr) -> Stmt:
        """Put what load `number` brought into the shared tile."""
        at_depth, at = self.positions(number)
        pitch = self.extent + PADDING
        offset = (buffer * self.writer.block.depth + at_depth) * pitch + at
        offset = offset + ramp(self.lanes) * (pitch if self.along_depth else 1)
        inside = self.inside(number)
        return Store(self.name, simplify(offset), value, None if inside.op == "const" else inside)


class TileWriter:
    """What the kernels of all tiles share: where a block's tile is, the kernel around its body, the writes of a result.
    Names that end in a dot cannot meet those of the nest."""

    block: Any  # has rows, columns, depth and splits

    def __init__(self, contraction: Contraction, block: Any):
        self.contraction, self.block = contraction, block
        self.dtype: np.dtype = contraction.state.dtype
        self._counter = count()
        self.depth_size = size_of(contraction.depth)
        self.steps = -(-self.depth_size // (block.depth * block.splits))
        self._place_block()

    def _place_block(self) -> None:
        """The block's batch axes, first row and column, and part of the depth, from its number."""
        block, contraction = self.block, self.contraction
        rows, columns = size_of(contraction.rows), size_of(contraction.columns)
        part = Axis("part.", block.splits)
        tiles = (*contraction.batch, part, Axis("row_tile.", -(-rows // block.rows)),
                 Axis("column_tile.", -(-columns // block.columns)))
        self.blocks = size_of(tiles)
        place = dict(unflatten(group(0, self.blocks), tiles))
        self.first_column = simplify(place.pop(tiles[-1]) * block.columns)
        self.first_row = simplify(place.pop(tiles[-2]) * block.rows)
        self.part = place.pop(part)
        self.place = place

    def kernel(self) -> Kernel:
        """The kernel; its parameters are what the operands and the epilogue read and write."""
        nest = self.contraction.nest
        params = self._params()
        accesses = accesses_of(self._roots(), self.contraction.writes)
        moved = traffic((self.contraction.value(p.name) for p in params), accesses)
        name = f"{nest.name}_product" if self.contraction.tail else nest.name
        return Kernel(name, params, (self.blocks, 1, 1), (THREADS, 1, 1), tuple(self._body()), self.contraction.flops,
                      moved, nest.equations)

    def _body(self) -> Iterator[Stmt]:
        raise NotImplementedError

    def _roots(self) -> list[Expr]:
        """Every expression of the kernel."""
        contraction = self.contraction
        return [contraction.left, contraction.right, *(r for w in contraction.writes for r in w.roots())]

    def _params(self) -> tuple[Param, ...]:
        contraction = self.contraction
        written = [w.value for w in contraction.writes]
        names = [n.attr[0] for n in loads(self._roots()) if n.attr[0] != contraction.state.name]
        names = list(dict.fromkeys([*names, *written]))
        return tuple(parameter(contraction.value(n), n in written) for n in names)

    def _writes(self, at_row: Expr, at_column: Expr, total: Expr, lanes: int = 1) -> tuple[Stmt, ...]:
        """All writes of one element, or of `lanes` neighbouring columns: values first, then stores, as an output
        may lie where an input does."""
        contraction = self.contraction
        row, column = simplify(self.first_row + at_row), simplify(self.first_column + at_column)
        place = {**self.place, **unflatten(row, contraction.rows),
                 **unflatten(simplify(column + ramp(lanes)), contraction.columns)}
        if self.block.splits > 1:
            place[Axis("part.", self.block.splits)] = self.part
        inside = simplify(logical_and(row < size_of(contraction.rows), column < size_of(contraction.columns)))
        writes = [with_sum(placed(w, place), contraction.state.name, total) for w in contraction.writes]
        if len(writes) == 1:
            stores: tuple[Stmt, ...] = tuple(Store(w.value, w.index[0], w.expr, w.guard) for w in writes)
        else:
            values = [Declare(f"out{next(self._counter)}.", w.expr.dtype, w.expr, lanes) for w in writes]
            stores = (*values, *(Store(w.value, w.index[0], variable(v.name, v.dtype), w.guard)
                                 for w, v in zip(writes, values)))
        return stores if inside.op == "const" else (If(inside, stores),)


class BlockWriter(TileWriter):
    """The kernel for a `Block`: sums in registers, products of single elements."""

    block: Block

    def __init__(self, contraction: Contraction, block: Block):
        super().__init__(contraction, block)
        self.left = Loader("left_tile.", contraction.left, contraction.rows, block.rows, self)
        self.right = Loader("right_tile.", contraction.right, contraction.columns, block.columns, self)
        thread = simplify(mod(local(0, THREADS), const(block.per_slice)))
        self.slice = simplify(floordiv(local(0, THREADS), const(block.per_slice)))
        across = block.columns // block.column_step
        self.thread_row, self.thread_column = simplify(floordiv(thread, const(across))), simplify(
            mod(thread, const(across)))

    def _body(self) -> Iterator[Stmt]:
        block, dtype = self.block, self.dtype
        for loader, size in zip((self.left, self.right), _tile_elements(block)):
            yield DeclareArray(loader.name, dtype, size, "shared")
        for name, size in (("sums.", block.row_step * block.column_step), ("rows.", block.row_step),
                           ("columns.", block.column_step)):
            yield DeclareArray(name, dtype, size)
        clear = Axis("clear.", block.row_step * block.column_step)
        yield For(clear, (Store("sums.", axis_expr(clear), const(0, dtype)),), unroll=True)
        yield from self._depth_steps()
        yield from self._epilogue()

    # ---- the depth

    def _depth_steps(self) -> Iterator[Stmt]:
        step = Axis("step.", self.steps)
        base = simplify(self.part * (self.steps * self.block.depth))
        for loader, _ in self._loaders():
            for number in range(loader.count):
                yield Declare(loader.register(number), self.dtype, const(0, self.dtype), loader.lanes)
        yield from self._fetch(base)
        yield from self._put(const(0))
        yield Barrier()
        if self.steps == 1:
            yield self._multiply(const(0))
            return
        following = simplify(base + (axis_expr(step) + 1) * self.block.depth)
        fetch = tuple(self._fetch(following))
        more = simplify(axis_expr(step) < self.steps - 1)
        current, other = simplify(axis_expr(step) % 2), simplify((axis_expr(step) + 1) % 2)
        yield For(step, (If(more, fetch), self._multiply(current), If(more, tuple(self._put(other))), Barrier()))

    def _loaders(self) -> tuple[tuple[Loader, Expr], ...]:
        return (self.left, self.first_row), (self.right, self.first_column)

    def _fetch(self, depth: Expr) -> Iterator[Stmt]:
        for loader, first in self._loaders():
            for number in range(loader.count):
                yield from loader.fetch(number, depth, first)

    def _put(self, buffer: Expr) -> Iterator[Stmt]:
        for loader, _ in self._loaders():
            for number in range(loader.count):
                yield loader.store(number, buffer, variable(loader.register(number), self.dtype))

    def _multiply(self, buffer: Expr) -> Stmt:
        """The sums of this thread grow by its slice of the tile in `buffer`."""
        block, dtype = self.block, self.dtype
        share = Axis("depth.", block.depth // block.slices)
        depth = simplify(buffer * block.depth + self.slice * share.extent + axis_expr(share))
        body: list[Stmt] = []
        for array, loader, thread, step in (("rows.", self.left, self.thread_row, block.row_step),
                                            ("columns.", self.right, self.thread_column, block.column_step)):
            for first in range(0, step, 4):
                source = depth * (loader.extent + PADDING) + self._strip(first, thread, step, loader.extent) + ramp(4)
                body.append(Store(array, const(first) + ramp(4), element(loader.name, simplify(source), dtype)))
        row, column = Axis("i.", block.row_step), Axis("j.", block.column_step)
        at = simplify(axis_expr(row) * block.column_step + axis_expr(column))
        product = element("rows.", axis_expr(row), dtype) * element("columns.", axis_expr(column), dtype)
        add = Store("sums.", at, element("sums.", at, dtype) + product)
        body.append(For(row, (For(column, (add,), unroll=True),), unroll=True))
        return For(share, tuple(body), unroll=True)

    @staticmethod
    def _strip(first: int, thread: Expr, step: int, extent: int) -> Expr:
        """Where this thread's strip of four positions starts: strips of one thread are apart by a part of the
        tile, so that neighbouring threads read neighbouring strips."""
        return thread * 4 + first // 4 * (extent * 4 // step)

    # ---- the epilogue

    def _epilogue(self) -> Iterator[Stmt]:
        block = self.block
        if block.slices == 1:
            yield from self._own_sums()
            return
        yield Barrier()
        yield from self._share_sums()
        yield Barrier()
        each = Axis("each.", block.rows * block.columns // THREADS)
        index = simplify(axis_expr(each) * THREADS + local(0, THREADS))
        tile = block.rows * block.columns
        total = element("left_tile.", index, self.dtype)
        for number in range(1, block.slices):
            total = total + element("left_tile.", simplify(index + number * tile), self.dtype)
        writes = self._writes(simplify(floordiv(index, const(block.columns))), simplify(
            mod(index, const(block.columns))), total)
        yield For(each, writes, unroll=True)

    def _own_sums(self) -> Iterator[Stmt]:
        """Every thread writes its own sums, four neighbours at a time where that is one access."""
        block = self.block
        lanes = 4 if self._writes_fours() else 1
        row, column = Axis("i.", block.row_step), Axis("j.", block.column_step // lanes)
        at_row = self._position(row, self.thread_row, block.rows, block.row_step)
        number = axis_expr(row) * block.column_step + axis_expr(column) * lanes + ramp(lanes)
        if lanes == 4:
            at_column = self.thread_column * 4 + axis_expr(column) * (block.columns * 4 // block.column_step)
        else:
            at_column = self._position(column, self.thread_column, block.columns, block.column_step)
        writes = self._writes(at_row, at_column, element("sums.", simplify(number), self.dtype), lanes)
        yield For(row, (For(column, writes, unroll=True),), unroll=True)

    def _writes_fours(self) -> bool:
        """Whether four neighbouring columns are aligned neighbours in every result."""
        columns = self.contraction.columns
        return all(aligned_group(w.index[0], columns) for w in self.contraction.writes)

    def _share_sums(self) -> Iterator[Stmt]:
        """Every slice's sums, side by side, in the left tile's memory."""
        block = self.block
        row, strip = Axis("i.", block.row_step), Axis("j.", block.column_step // 4)
        at = self.slice * block.rows + self._position(row, self.thread_row, block.rows, block.row_step)
        at = at * block.columns + self.thread_column * 4 + axis_expr(strip) * (block.columns * 4 // block.column_step)
        number = axis_expr(row) * block.column_step + axis_expr(strip) * 4 + ramp(4)
        store = Store("left_tile.", simplify(at + ramp(4)), element("sums.", simplify(number), self.dtype))
        yield For(row, (For(strip, (store,), unroll=True),), unroll=True)

    def _position(self, one: Axis, thread: Expr, extent: int, step: int) -> Expr:
        """The tile's row (or column) of this thread's number `one`."""
        return simplify(thread * 4 + floordiv(axis_expr(one), const(4)) * (extent * 4 // step)
                        + mod(axis_expr(one), const(4)))
