"""Contractions on tensor cores: fragments in registers, products by `mma.sync` (sm_80 and newer).

Input: a `Contraction` of bfloat16 or float16 operands that is summed in float32, or of float32 ones whose fold allows
tf32. Output: kernels, or None where another schedule is right. As in schedule_contract_cuda.py all rows, columns and
depths are flat, so that a convolution is an implicit matrix product; an operand that is read as it lies travels to
shared memory by asynchronous copies of 16 bytes, `stages` tiles ahead; any other is computed element by element and
rounded to the tile's type, one tile ahead.

A tile lies [position][depth] where its operand is contiguous along the depth, else [depth][position]; `ldmatrix` reads
either (transposing 16-bit elements), and 16 bytes after each row keep its eight rows in different banks.

Worked example, bf16 x[4096, 4096] @ w[4096, 4096]: 32 x 16 tiles of 128 x 256, 8 warps of 64 x 64 in each; 128 steps of
32 depths, 3 tiles in shared memory. In a step a warp reads 4 + 4 fragments twice and multiplies 2 x 4 x 8 times:

    x tile [128][32 + 8] and w tile [32][256 + 8], three of each in 81 KB of shared memory
    wait for the oldest copies; barrier; start the copies of the step after next; multiply

Sources: the PTX manual for the layouts of fragments; CUTLASS and Triton for the pipeline of copies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ftiny.lowering.choices import choose
from ftiny.lowering.expr import (
    BFLOAT16,
    Axis,
    Expr,
    bitcast,
    cast,
    const,
    floordiv,
    is_const,
    load_guard,
    logical_and,
    mod,
    rebuild,
    substitute,
    variable,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify, unflatten
from ftiny.lowering.kernel import (
    MULTIPLY_DEPTH,
    Barrier,
    CopyAsync,
    CopyGroup,
    Declare,
    DeclareArray,
    For,
    If,
    LoadMatrix,
    MatrixMultiply,
    Stmt,
    Store,
    element,
    local,
    ramp,
)
from ftiny.lowering.schedule import aligned
from ftiny.lowering.schedule_contract import Contraction, linear, split_sum, with_other_nests
from ftiny.lowering.schedule_contract_cuda import (
    BYTES_PER_CYCLE,
    LATENCY,
    LAUNCH,
    THREADS,
    Loader,
    TileWriter,
    aligned_group,
    oriented,
    ramps,
    size_of,
)

if TYPE_CHECKING:
    from ftiny.lowering.schedule import Scheduled

WARP, WARPS = 32, THREADS // 32
F16, F32, WORD = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.uint32)
KINDS = {BFLOAT16: "bf16", F16: "f16"}
TILE_DTYPES = {"bf16": BFLOAT16, "f16": F16, "tf32": F32}
RATE = {"bf16": 1300, "f16": 1300, "tf32": 650}  # products a cycle of one processor's tensor cores by mma.sync
COPY_BYTES = 16
STAGES = (3, 4)  # tiles of asynchronous copies
ROW_BYTES = (64, 128)  # of the depth in one tile
MIN_WORK = 1 << 18  # below it the sums of one block's threads are as fast and need no padding


@dataclass(frozen=True)
class TensorBlock:
    """A tile of rows x columns, `depth` deep, for 8 warps in `across` columns of warps, with `stages` tiles in shared
    memory; `splits` blocks share out the whole depth."""

    rows: int
    columns: int
    depth: int
    across: int
    stages: int
    splits: int = 1

    @property
    def warp_rows(self) -> int:
        """Rows of one warp's part."""
        return self.rows * self.across // WARPS

    @property
    def warp_columns(self) -> int:
        """Columns of one warp's part."""
        return self.columns // self.across


SHAPES = ((128, 256, 4), (128, 128, 4), (256, 64, 2), (128, 64, 2), (64, 128, 4), (64, 64, 4), (64, 32, 2), (32, 64, 4))


def schedule_mma(contraction: Contraction, capabilities) -> Scheduled | None:
    """Kernels on tensor cores, or None."""
    if not contraction.rows or not contraction.columns or not has_tensor_cores(capabilities):
        return None
    contraction = oriented(contraction)
    kind = kind_of(contraction)
    elements = math.prod(a.extent for a in (*contraction.grid, *contraction.depth))
    if kind is None or elements < MIN_WORK or size_of(contraction.depth) < MULTIPLY_DEPTH[kind]:
        return None
    block = choose("tensor block", _blocks(contraction, kind, capabilities),
                   lambda b: _cycles(contraction, b, kind, capabilities))
    return None if block is None else schedule_tensor_block(contraction, block, kind, capabilities)


def schedule_tensor_block(contraction: Contraction, block: TensorBlock, kind: str, capabilities) -> Scheduled:
    """Kernels for a given block."""
    if block.splits > 1:
        contraction, _ = split_sum(contraction, block.splits)
    return with_other_nests(contraction, (), TensorWriter(contraction, block, kind).kernel(), (), capabilities)


def has_tensor_cores(capabilities) -> bool:
    """Whether the device multiplies bfloat16 and tf32 matrices, with copies to shared memory beside it."""
    arch = "".join(c for c in capabilities.arch if c.isdigit())
    return capabilities.dialect == "cuda" and bool(arch) and int(arch) >= 80 and capabilities.max_threads >= THREADS


def kind_of(contraction: Contraction) -> str | None:
    """The kind of multiplication that gives this sum with no more rounding than was asked for."""
    if contraction.state.dtype != F32:
        return None
    for dtype, kind in KINDS.items():
        if all(narrowed(side, dtype) is not None for side in (contraction.left, contraction.right)):
            return kind
    return "tf32" if contraction.fold.atom == "multiply_add_tf32" else None


def narrowed(expr: Expr, dtype: np.dtype) -> Expr | None:
    """The expression in a 16-bit type, if its float32 value is always one of that type."""
    if expr.op == "cast" and expr.args[0].dtype == dtype:
        return expr.args[0]
    if is_const(expr) and float(np.asarray(expr.attr).astype(dtype)) == expr.attr:
        return const(expr.attr, dtype)
    if expr.op == "select":
        arms = [narrowed(e, dtype) for e in expr.args[1:]]
        return None if None in arms else rebuild(expr, (expr.args[0], *arms))  # type: ignore[arg-type]
    return None


# --------------------------------------------------------------------------------- the choice


def _blocks(contraction: Contraction, kind: str, capabilities) -> Iterator[TensorBlock]:
    size = TILE_DTYPES[kind].itemsize
    for (rows, columns, across), stages, row_bytes in product(SHAPES, STAGES, ROW_BYTES):
        depth, splits = row_bytes // size, 1
        while splits == 1 or size_of(contraction.depth) // splits >= 4 * depth and splits <= 64:
            block = TensorBlock(rows, columns, depth, across, stages, splits)
            if stages * tile_bytes(block, kind) <= capabilities.shared_bytes:
                yield block
            splits *= 2


def tile_bytes(block: TensorBlock, kind: str) -> int:
    """Shared memory of one stage, at most."""
    size = TILE_DTYPES[kind].itemsize
    rows = [max(extent * (block.depth * size + 2 * COPY_BYTES), block.depth * (extent * size + 2 * COPY_BYTES))
            for extent in (block.rows, block.columns)]
    return sum(rows)


def _cycles(contraction: Contraction, block: TensorBlock, kind: str, capabilities) -> float:
    """Estimated cycles until the last processor is done: products, copies and what a step waits."""
    rows, columns, depth = (size_of(a) for a in (contraction.rows, contraction.columns, contraction.depth))
    size = TILE_DTYPES[kind].itemsize
    tiles = -(-rows // block.rows) * -(-columns // block.columns) * size_of(contraction.batch) * block.splits
    steps = -(-depth // (block.depth * block.splits))
    per_processor = -(-tiles // capabilities.compute_units)
    # A warp's fragments are read once for each of its rows and columns: larger parts read less for a product.
    reads = (block.warp_rows + block.warp_columns) * block.depth * size * WARPS / 100
    products = max(block.rows * block.columns * block.depth / RATE[kind], reads)
    fetched = (block.rows + block.columns) * block.depth * size / BYTES_PER_CYCLE
    ending = block.rows * block.columns * 4 / BYTES_PER_CYCLE
    sums = block.rows * block.columns // THREADS
    resident = 1 if sums >= 128 else 2 if sums >= 32 else 3
    work = per_processor * (steps * max(products, fetched) + ending)
    waiting = -(-per_processor // resident) * (steps + block.stages) * LATENCY / 2
    total = max(work, waiting) + min(work, waiting) / 4
    if block.splits > 1:
        moved = block.splits * rows * columns * size_of(contraction.batch) * 4 * 2
        total += LAUNCH + moved / (BYTES_PER_CYCLE * capabilities.compute_units)
    return total


# --------------------------------------------------------------------------------- the operands


def lane_number() -> Expr:
    """The number of a thread in its warp."""
    return simplify(mod(local(0, THREADS), const(WARP)))


class Tile:
    """One operand's tile in shared memory, `buffers` times, and how it gets there.

    `inner` says whether its rows run along the depth. Sizes are in elements of `dtype`, the tile's type.
    """

    def __init__(self, name: str, side: str, writer: TensorWriter):
        contraction, block = writer.contraction, writer.block
        left = side == "left"
        expr = contraction.left if left else contraction.right
        self.name, self.writer, self.left = name, writer, left
        self.axes = contraction.rows if left else contraction.columns
        self.extent = block.rows if left else block.columns
        self.dtype = TILE_DTYPES[writer.kind]
        self.lanes = COPY_BYTES // self.dtype.itemsize
        narrow = expr if writer.kind == "tf32" else narrowed(expr, self.dtype)
        assert narrow is not None
        self.expr = linear((narrow,), contraction.nest)[0]
        self.loader = Loader(name, expr, self.axes, self.extent, writer)  # computes elements, where nothing is copied
        self.along_depth = self.loader.along_depth
        self.copied = self._is_copied()
        # Words of 32 bits that are not turned by ldmatrix are read one by one, and need other banks.
        turned = writer.kind == "tf32" and not self.along_depth
        self.pitch = (block.depth if self.along_depth else self.extent) + self.lanes * (2 if turned else 1)
        self.elements = self.pitch * (self.extent if self.along_depth else block.depth)

    def _is_copied(self) -> bool:
        """Whether 16 bytes of the tile are always 16 aligned bytes of one array, all inside it or all outside."""
        fast = self.writer.contraction.depth if self.along_depth else self.axes
        node = self.expr
        if node.op != "load":
            return False
        value = self.writer.contraction.nest.value(node.attr[0])
        if value.storage != self.dtype or not aligned(value):
            return False
        guard, other = load_guard(node)
        if guard is not None and (ramps(guard, fast, self.lanes) or other is None or not is_const(other, 0)):
            return False
        return aligned_group(node.args[0], fast, self.lanes)

    def offset(self, buffer: Expr, position: Expr, depth: Expr) -> Expr:
        """Where an element lies."""
        inside = position * self.pitch + depth if self.along_depth else depth * self.pitch + position
        return simplify(buffer * self.elements + inside)

    def copies(self, buffer: Expr, first_depth: Expr, first: Expr) -> Iterator[Stmt]:
        """Statements that start the copies of one tile."""
        writer, block = self.writer, self.writer.block
        chunks = self.extent * block.depth // self.lanes
        for number in range(-(-chunks // THREADS)):
            index = simplify(local(0, THREADS) + number * THREADS)
            row = const((block.depth if self.along_depth else self.extent) // self.lanes)
            far, near = simplify(floordiv(index, row)), simplify(mod(index, row) * self.lanes)
            at, at_depth = (far, near) if self.along_depth else (near, far)
            position, depth = simplify(first + at), simplify(first_depth + at_depth)
            place = {**writer.place, **unflatten(depth, writer.contraction.depth), **unflatten(position, self.axes)}
            value = simplify(substitute((self.expr,), place)[0])
            guard = logical_and(position < size_of(self.axes), depth < writer.depth_size)
            own = load_guard(value)[0]
            guard = simplify(guard if own is None else logical_and(guard, own))
            copy = CopyAsync(self.name, self.offset(buffer, at, at_depth), value.attr[0], value.args[0],
                             None if is_const(guard, True) else guard)
            yield copy if chunks % THREADS == 0 else If(simplify(index < chunks), (copy,))

    def fetch(self, first_depth: Expr, first: Expr) -> Iterator[Stmt]:
        """Statements that compute this thread's elements of one tile into registers."""
        for number in range(self.loader.count):
            yield from self.loader.fetch(number, first_depth, first)

    def put(self, buffer: Expr) -> Iterator[Stmt]:
        """Statements that store them into the tile."""
        loader = self.loader
        for number in range(loader.count):
            at_depth, at = loader.positions(number)
            lane = ramp(loader.lanes)
            at, at_depth = (at, at_depth + lane) if self.along_depth else (at + lane, at_depth)
            inside = loader.inside(number)
            value = variable(loader.register(number), F32)
            yield Store(self.name, self.offset(buffer, at, at_depth), cast(value, self.dtype),
                        None if inside.op == "const" else inside)

    def fragments(self, words: tuple[str, int], count: int, buffer: Expr, first: Expr, depth: int) -> Iterator[Stmt]:
        """Statements that load `count` fragments of four words, 16 positions each, from position `first` on."""
        name, at_word = words
        lane = lane_number()
        row, half, quarter = lane % 8, floordiv(lane, const(16)), floordiv(lane, const(8)) % 2
        # Of the four matrices, the left operand's second is 8 rows further, the right one's 8 (or 4) depths.
        second, deeper = (quarter, half) if self.left else (half, quarter)
        for number in range(count):
            start = simplify(first + 16 * number)
            if self.along_depth:
                at, at_depth = start + second * 8 + row, const(depth) + deeper * self.lanes
            elif self.writer.kind == "tf32":
                yield from self._words(name, at_word + 4 * number, buffer, start, depth)
                continue
            else:
                at, at_depth = start + second * 8, const(depth) + deeper * 8 + row
            place = self.offset(buffer, at, at_depth)
            yield LoadMatrix(name, at_word + 4 * number, self.name, place, not self.along_depth)

    def _words(self, words: str, first: int, buffer: Expr, start: Expr, depth: int) -> Iterator[Stmt]:
        """Four 32-bit words one by one: ldmatrix turns 16-bit elements only."""
        lane = lane_number()
        row, column = simplify(floordiv(lane, const(4))), simplify(mod(lane, const(4)))
        for number in range(4):
            second, deeper = (number % 2, number // 2) if self.left else (number // 2, number % 2)
            at = self.offset(buffer, start + row + 8 * second, const(depth) + column + 4 * deeper)
            yield Store(words, const(first + number), bitcast(element(self.name, at, F32), WORD))


# --------------------------------------------------------------------------------- the kernel


class TensorWriter(TileWriter):
    """The kernel for a `TensorBlock`."""

    block: TensorBlock

    def __init__(self, contraction: Contraction, block: TensorBlock, kind: str):
        super().__init__(contraction, block)
        self.kind = kind
        self.left, self.right = Tile("left_tile.", "left", self), Tile("right_tile.", "right", self)
        self.stages = block.stages if self.left.copied and self.right.copied else 2
        warp = simplify(floordiv(local(0, THREADS), const(WARP)))
        self.warp_row = simplify(floordiv(warp, const(block.across)) * block.warp_rows)
        self.warp_column = simplify(mod(warp, const(block.across)) * block.warp_columns)

    @property
    def down(self) -> int:
        """Fragments of a warp along its rows."""
        return self.block.warp_rows // 16

    @property
    def wide(self) -> int:
        """Multiplications of a warp along its columns, 8 each."""
        return self.block.warp_columns // 8

    def _body(self) -> Iterator[Stmt]:
        for tile in (self.left, self.right):
            yield DeclareArray(tile.name, tile.dtype, self.stages * tile.elements, "shared")
        sums = 4 * self.down * self.wide
        for name, dtype, size in (("sums.", F32, sums), ("left_words.", WORD, 8 * self.down),
                                  ("right_words.", WORD, 4 * self.wide)):
            yield DeclareArray(name, dtype, size)
        clear = Axis("clear.", sums)
        yield For(clear, (Store("sums.", axis_expr(clear), const(0, F32)),), unroll=True)
        for tile in self._computed():
            for number in range(tile.loader.count):
                yield Declare(tile.loader.register(number), F32, const(0, F32), tile.loader.lanes)
        yield from self._copied_ahead() if not self._computed() else self._computed_ahead()
        yield from self._epilogue()

    def _tiles(self) -> tuple[tuple[Tile, Expr], ...]:
        return (self.left, self.first_row), (self.right, self.first_column)

    def _computed(self) -> list[Tile]:
        return [tile for tile, _ in self._tiles() if not tile.copied]

    def _depth(self, step: Expr) -> Expr:
        return simplify((self.part * self.steps + step) * self.block.depth)

    def _start(self, step: Expr, buffer: Expr) -> Iterator[Stmt]:
        """Start the copies of a step."""
        for tile, first in self._tiles():
            if tile.copied:
                yield from tile.copies(buffer, self._depth(step), first)

    def _copied_ahead(self) -> Iterator[Stmt]:
        """All by copies: `stages - 1` steps are on their way while one is multiplied."""
        ahead = self.stages - 1
        for number in range(ahead):
            if number < self.steps:
                yield from self._start(const(number), const(number))
            yield CopyGroup()
        axis = Axis("step.", self.steps)
        step = axis_expr(axis)
        later = tuple(self._start(simplify(step + ahead), simplify((step + ahead) % self.stages)))
        more = simplify(step < self.steps - ahead)
        yield For(axis, (
            CopyGroup(pending=ahead - 1),
            Barrier(),
            *(() if is_const(more, False) else (If(more, later),)),
            CopyGroup(),
            *self._multiply(simplify(step % self.stages)),
        ))

    def _computed_ahead(self) -> Iterator[Stmt]:
        """One operand or both computed: the next tile is computed into registers while one is multiplied."""
        yield from self._start(const(0), const(0))
        yield from self._fetch(const(0))
        yield from self._put(const(0))
        yield CopyGroup()
        yield CopyGroup(pending=0)
        yield Barrier()
        axis = Axis("step.", self.steps)
        step = axis_expr(axis)
        other = simplify((step + 1) % 2)
        more = simplify(step < self.steps - 1)
        following = simplify(step + 1)
        ahead = (*self._start(following, other), CopyGroup(), *self._fetch(following))
        if is_const(more, False):
            yield from self._multiply(const(0))
            return
        yield For(axis, (If(more, ahead), *self._multiply(simplify(step % 2)), If(more, tuple(self._put(other))),
                         CopyGroup(pending=0), Barrier()))

    def _fetch(self, step: Expr) -> Iterator[Stmt]:
        for tile, first in self._tiles():
            if not tile.copied:
                yield from tile.fetch(self._depth(step), first)

    def _put(self, buffer: Expr) -> Iterator[Stmt]:
        for tile in self._computed():
            yield from tile.put(buffer)

    def _multiply(self, buffer: Expr) -> Iterator[Stmt]:
        """A warp's sums grow by the tiles in `buffer`. The next depth's fragments are loaded before this one's are
        multiplied, into the other half of the words."""
        depths = range(0, self.block.depth, MULTIPLY_DEPTH[self.kind])
        yield from self._load(buffer, 0, 0)
        for number in range(len(depths)):
            here, other = number % 2, (number + 1) % 2
            if number + 1 < len(depths):
                yield from self._load(buffer, depths[number + 1], other)
            for down in range(self.down):
                for wide in range(self.wide):
                    yield MatrixMultiply(self.kind, ("sums.", 4 * (down * self.wide + wide)),
                                         ("left_words.", 4 * (here * self.down + down)),
                                         ("right_words.", 2 * (here * self.wide + wide)))

    def _load(self, buffer: Expr, depth: int, half: int) -> Iterator[Stmt]:
        """A warp's fragments of one depth, in one half of the words."""
        down, wide = 4 * self.down * half, 2 * self.wide * half
        yield from self.left.fragments(("left_words.", down), self.down, buffer, self.warp_row, depth)
        yield from self.right.fragments(("right_words.", wide), self.wide // 2, buffer, self.warp_column, depth)

    def _epilogue(self) -> Iterator[Stmt]:
        """A thread has two neighbouring columns of two rows of each product."""
        lane = lane_number()
        lanes = 2 if all(aligned_group(w.index[0], self.contraction.columns, 2) for w in self.contraction.writes) else 1
        down, half = Axis("down.", self.down), Axis("half.", 2)
        wide, column = Axis("wide.", self.wide), Axis("column.", 2 // lanes)
        number = (axis_expr(down) * self.wide + axis_expr(wide)) * 4 + axis_expr(half) * 2 + axis_expr(column)
        at_row = self.warp_row + axis_expr(down) * 16 + axis_expr(half) * 8 + floordiv(lane, const(4))
        at_column = self.warp_column + axis_expr(wide) * 8 + mod(lane, const(4)) * 2 + axis_expr(column)
        total = element("sums.", simplify(number + ramp(lanes)), F32)
        body = self._writes(simplify(at_row), simplify(at_column), total, lanes)
        for axis in (column, wide, half, down):
            if axis.extent > 1:
                body = (For(axis, body, unroll=True),)
        yield from body
