"""Sorts in the shared memory of a block: of whole lines that fit, and of tiles within a pass of a longer sort.

Input: the `RadixSort` of a nest (schedule_sort.py). Output: kernels. A block of 256 threads holds keys and permutation
of up to 3840 elements in shared memory and sorts them by 4 bits at a time (Satish, Harris and Garland, *Designing
Efficient Sorting Algorithms for Manycore GPUs*, 2009): every thread counts the digits of its own few neighbouring
elements, in counters of its own; a scan over (digit, thread) makes of each counter the place of the first of these
elements; and the threads put their elements there in order, which keeps the order of equal digits.

A line that fits is read once and written once, by one kernel. In a pass of a longer sort, a tile is sorted by the 8
bits of the pass, so that elements of one digit lie side by side and are written side by side.

Worked example, sort of f32[1000, 1000]: 1000 blocks, 5 elements to a thread (of which the last 280 are padding, as
large as any key and behind all of them), 8 times 4 bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ftiny.lowering.device import STATIC_SHARED
from ftiny.lowering.expr import (
    INDEX,
    Axis,
    Expr,
    bitwise,
    cast,
    compare,
    const,
    floordiv,
    guard_loads,
    logical_or,
    mod,
    select,
    substitute,
    variable,
)
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
    Stmt,
    Store,
    element,
    group,
    local,
)
from ftiny.lowering.schedule_body import Body
from ftiny.lowering.schedule_generic import Context, Worker, build_body, finish_kernel, nest_names

if TYPE_CHECKING:
    from ftiny.lowering.schedule_sort import Pair, RadixSort

THREADS = 256
HELD = 15                # elements of a thread: odd, so that the threads of a warp reach different banks
NIBBLE = 4               # bits sorted by at a time
DIGITS = 1 << NIBBLE
PLACE = np.dtype(np.int32)
COUNT = np.dtype(np.uint16)


def largest_tile(word: np.dtype, capabilities: Any) -> int:
    """How many elements with such keys a block can hold; none on a device of small blocks."""
    if capabilities.max_threads < THREADS:
        return 0
    counters = DIGITS * THREADS * COUNT.itemsize + 2 * THREADS * PLACE.itemsize
    room = min(capabilities.shared_bytes, STATIC_SHARED) - counters
    held = min(HELD, room // (THREADS * (word.itemsize + PLACE.itemsize)))
    return THREADS * max(0, held - 1 + held % 2)


@dataclass(frozen=True)
class TileStep:
    """The count or the move of a pass, for tiles of blocks: what it is, from where, to where, and the keys' dtype."""

    what: str
    now: Pair
    other: Pair
    word: np.dtype


class BlockSort:
    """Makes one kernel: the shared arrays of a tile, and the statements that sort it."""

    def __init__(self, context: Context, sort: RadixSort, words: tuple[np.dtype, ...], length: int, tiles: int) -> None:
        self.context, self.sort = context, sort
        self.held = -(-length // THREADS) | 1
        self.size = THREADS * self.held
        self.tiles = tiles
        self.names = nest_names(context.nest, ())
        self.names.taken |= {"order", "counters", "sums"}
        self.thread = local(0, THREADS)
        lines = math.prod(a.extent for a in sort.lines)
        self.worker = Worker(context, ())
        self.worker.grid, self.worker.block = (lines * tiles, 1, 1), (THREADS, 1, 1)
        block = group(0, lines * tiles)
        self.line = simplify(floordiv(block, const(tiles)))
        self.tile = simplify(mod(block, const(tiles)))
        self.axes = unflatten(self.line, sort.lines) if sort.lines else {}
        self.arrays = [DeclareArray(f"keys_{w}", w, self.size, "shared") for w in words]
        self.arrays += [DeclareArray("order", PLACE, self.size, "shared"),
                        DeclareArray("counters", COUNT, DIGITS * THREADS, "shared"),
                        DeclareArray("sums", PLACE, 2 * THREADS, "shared")]
        self.out: list[Stmt] = []

    def body(self, along: Expr) -> Body:
        """How expressions read at an element of the line."""
        return build_body(self.context, (), {**self.axes, self.sort.along: along}, self.worker, self.names)

    def finish(self) -> None:
        """Append the kernel."""
        finish_kernel(self.context, [*self.arrays, *self.out], self.worker, ())

    def each(self, statements) -> None:
        """Statements for every element of the tile, neighbouring threads on neighbouring elements."""
        turn = Axis(self.names.fresh("turn"), self.held)
        at = simplify(axis_expr(turn) * THREADS + self.thread)
        self.out += [For(turn, tuple(statements(at)))]

    def declared(self, stem: str, value: Expr) -> Expr:
        """The value as a variable."""
        name = self.names.fresh(stem)
        self.out.append(Declare(name, value.dtype, value))
        return variable(name, value.dtype)

    # --------------------------------------------------------------------------------- sorting

    def by_bits(self, keys: str, word: np.dtype, shift: int) -> None:
        """Sort the tile by 4 bits of its keys."""
        mine = self.thread * self.held
        digit = Axis(self.names.fresh("digit"), DIGITS)
        self.out.append(For(digit, (Store("counters", axis_expr(digit) * THREADS + self.thread, const(0, COUNT)),)))
        items = []
        for k in range(self.held):
            key = self.declared("key", element(keys, mine + k, word))
            order = self.declared("from", element("order", mine + k, PLACE))
            counter = self.declared("counter", simplify(digit_of(key, shift, NIBBLE) * THREADS + self.thread))
            rank = self.declared("rank", element("counters", counter, COUNT))
            self.out.append(Store("counters", counter, rank + 1))
            items.append((key, order, counter, rank))
        self.out.append(Barrier())
        self._scan()
        for key, order, counter, rank in items:
            place = self.declared("to", cast(rank, INDEX) + cast(element("counters", counter, COUNT), INDEX))
            self.out += [Store(keys, place, key), Store("order", place, order)]
        self.out.append(Barrier())

    def _scan(self) -> None:
        """Each counter becomes the sum of those before it. A thread has 16 neighbouring ones."""
        own = Axis(self.names.fresh("own"), DIGITS)
        at = simplify(self.thread * DIGITS + axis_expr(own))
        count = element("counters", at, COUNT)
        total, name = const(0, PLACE), self.names.fresh("total")
        self.out.append(Declare(name, PLACE, total))
        running = variable(name, PLACE)
        self.out.append(For(own, (Assign(name, running + cast(count, PLACE)),)))
        self.out += [Store("sums", self.thread, running), Barrier()]
        before, distance, half = running, 1, 0
        while distance < THREADS:
            left = element("sums", simplify(self.thread - distance + half * THREADS), PLACE, self.thread >= distance)
            before = self.declared("upto", element("sums", self.thread + half * THREADS, PLACE) + left)
            half = 1 - half
            self.out += [Store("sums", simplify(self.thread + half * THREADS), before), Barrier()]
            distance *= 2
        self.out.append(Assign(name, before - running))
        step = self.names.fresh("count")
        again = Axis(self.names.fresh("own"), DIGITS)
        at = simplify(self.thread * DIGITS + axis_expr(again))
        self.out += [For(again, (Declare(step, PLACE, cast(element("counters", at, COUNT), PLACE)),
                                 Store("counters", at, cast(running, COUNT)),
                                 Assign(name, running + variable(step, PLACE)))), Barrier()]


def digit_of(key: Expr, shift: int, bits: int) -> Expr:
    """Some bits of a key, as an index."""
    moved = bitwise("shift_right_logical", key, const(shift, key.dtype)) if shift else key
    return cast(bitwise("and", moved, const((1 << bits) - 1, key.dtype)), INDEX)


def padding(word: np.dtype) -> Expr:
    """As large as any key."""
    return const((1 << 8 * word.itemsize) - 1, word)


# ------------------------------------------------------------------------------------------ kernels


def whole_lines(context: Context, sort: RadixSort) -> None:
    """One kernel that sorts lines which fit into a block."""
    length = sort.along.extent
    words = tuple(sorted({k.dtype for k in sort.keys}, key=str))
    block = BlockSort(context, sort, words, length, 1)
    block.each(lambda at: [Store("order", at, cast(at, PLACE))])
    for key, width in reversed(list(zip(sort.keys, sort.bits))):
        block.out.append(Barrier())

        def load(at: Expr, key: Expr = key) -> list[Stmt]:
            source = cast(element("order", at, PLACE), INDEX)
            inside = source < length
            value = guard_loads(block.body(source).convert(key), inside)
            return [Store(f"keys_{key.dtype}", at, select(inside, value, padding(key.dtype)))]

        block.each(load)
        block.out.append(Barrier())
        for shift in range(0, width, NIBBLE):
            block.by_bits(f"keys_{key.dtype}", key.dtype, shift)

    def write(at: Expr) -> list[Stmt]:
        source = cast(element("order", at, PLACE), INDEX)
        body = block.body(at)
        writes = [replace(w, index=tuple(map(axis_expr, sort.nest.grid)),
                          expr=substitute((w.expr,), {sort.along: variable("source", INDEX)})[0]) for w in sort.writes]
        return [If(simplify(at < length), (Declare("source", INDEX, source), *body.writes(writes, body.convert)))]

    block.each(write)
    block.finish()


def tile_step(context: Context, sort: RadixSort, step: TileStep) -> None:
    """The kernel of a count or a move."""
    words = (step.word,) if step.what == "move" else ()
    block = BlockSort(context, sort, words, sort.tile, sort.tiles.extent)
    length, digits = sort.along.extent, 1 << sort.digit
    start = block.tile * sort.tile

    def read(buffer: str, at: Expr, dtype: np.dtype, other: Expr) -> Expr:
        place = simplify(start + at)
        return element(buffer, simplify(block.line * length + place), dtype, simplify(place < length), other)

    def counter(digit: Expr) -> Expr:
        return simplify((block.line * digits + digit) * sort.tiles.extent + block.tile)

    keys = step.now.keys[step.word].name
    if step.what == "count":
        block.arrays = [DeclareArray("counters", PLACE, digits, "shared")]
        block.out += [Store("counters", block.thread, const(0, PLACE)), Barrier()]
        block.each(lambda at: [If(simplify(start + at < length), (Atomic(
            "counters", digit_of(read(keys, at, step.word, padding(step.word)), 0, sort.digit), const(1, PLACE)),))])
        found = element("counters", block.thread, PLACE)
        block.out += [Barrier(), Store(sort.counts.name, counter(block.thread), found)]
        block.finish()
        return
    mine = f"keys_{step.word}"
    block.each(lambda at: [Store(mine, at, read(keys, at, step.word, padding(step.word))),
                           Store("order", at, read(step.now.order.name, at, PLACE, const(0, PLACE)))])
    block.out.append(Barrier())
    for shift in range(0, sort.digit, NIBBLE):
        block.by_bits(mine, step.word, shift)

    def own_digit(at: Expr) -> Expr:
        return digit_of(element(mine, at, step.word), 0, sort.digit)

    def first(at: Expr) -> list[Stmt]:
        before = digit_of(element(mine, simplify(at - 1), step.word, at >= 1), 0, sort.digit)
        new = logical_or(compare("eq", at, const(0)), compare("ne", before, own_digit(at)))
        return [If(new, (Store("sums", own_digit(at), cast(at, PLACE)),))]

    def write(at: Expr) -> list[Stmt]:
        digit = variable("digit_here", INDEX)
        begin = element(sort.places.name, counter(digit), PLACE) - element("sums", digit, PLACE)
        place = block.line * length + cast(begin, INDEX) + at
        rest = bitwise("shift_right_logical", element(mine, at, step.word), const(sort.digit, step.word))
        return [If(simplify(start + at < length), (
            Declare("digit_here", INDEX, own_digit(at)), Declare("place", INDEX, place),
            Store(step.other.keys[step.word].name, variable("place", INDEX), rest),
            Store(step.other.order.name, variable("place", INDEX), element("order", at, PLACE))))]

    block.each(first)
    block.out.append(Barrier())
    block.each(write)
    block.finish()
