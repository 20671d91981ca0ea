"""The stable sort of a scatter's updates by the row that they go to: a radix sort, least significant digit first.

Input: a scatter as `Rows` (schedule_scatter.py). Output: the names of two scratch arrays, the rows in increasing order
and the positions of the updates in that order; equal rows keep the order of their positions. Three kernels a digit:
each block counts the digits of its tile; one block a digit value sums up the counts over the tiles; each block puts
its tile's updates where they belong. In a tile every thread has a run of neighbouring updates and, in shared memory, a
counter of its own for each digit value, so no two threads ever meet and nothing depends on who comes first. There are
no exchanges between the threads of a warp: it runs on every GPU.

Worked example, 65536 updates to 50257 rows: 17 bits are cut into digits of 6, 6 and 5; there are 128 tiles of 128
threads with 4 updates each, and 64 * 128 counters of 4 bytes in each block.

The scheme is that of Satish, Harris and Garland, *Designing Efficient Sorting Algorithms for Manycore GPUs* (2009).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ftiny.lowering.expr import INDEX, Axis, Expr, cast, compare, const, maximum, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify
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
from ftiny.lowering.schedule_scatter import I32, THREADS, Rows

U16 = np.dtype(np.uint16)
MOST_BITS = 6     # of one digit: 64 counters a thread
FEWEST, LARGEST = 4, 16  # updates of one thread


def can_sort(capabilities: Any) -> bool:
    """Whether a block has the threads and the shared memory for the counters and the tile."""
    needed = 2 * ((THREADS + 1) << MOST_BITS) + 6 * THREADS * LARGEST + 8 * THREADS + (4 << MOST_BITS)
    return bool(capabilities.max_threads >= THREADS and capabilities.shared_bytes >= needed)


def sorted_updates(rows: Rows) -> tuple[str, str | None]:
    """Append the kernels of the sort; the names of the sorted rows and of what goes with them, which is None where
    the updates are sorted as they come."""
    if rows.stage.order == "sorted":
        return rows.store_keys(), None
    keys = rows.array("rows.0", rows.count)
    bits = rows.places.bit_length()  # dropped updates have the number after the last row
    digits = max(1, -(-bits // MOST_BITS))
    each = -(-bits // digits)
    tiles, run = _tiles(rows.count)
    counts, totals = rows.array("counts", tiles << each), rows.array("totals", 1 << each)
    carried: str | None = None
    spaces = [(rows.array("rows.1", rows.count), rows.array("carried.1", rows.count, rows.carried))]
    spaces += [(keys, rows.array("carried.0", rows.count, rows.carried))] if digits > 1 else []
    for turn in range(digits):
        digit = Digit(turn, turn * each, min(each, bits - turn * each), tiles, run)
        _count(rows, digit, keys, counts)
        _sum_tiles(rows, digit, counts, totals)
        target = spaces[turn % 2]
        _put(rows, digit, (keys, carried), target, (counts, totals))
        keys, carried = target
    return keys, carried


class Digit(NamedTuple):
    """One digit: the how manieth, where it lies in a row's number, and how the updates are dealt out."""

    turn: int
    shift: int
    bits: int
    tiles: int
    each: int

    @property
    def values(self) -> int:
        """How many values the digit has."""
        return 1 << self.bits

    def name(self, step: str, rows: Rows) -> str:
        """What the kernel of a step is called: all that its text depends on."""
        return f"sort_{step}_{rows.count}_{rows.carried}_bits{self.shift}to{self.shift + self.bits}_{self.turn}"

    def of(self, key: Expr) -> Expr:
        """The digit of a row's number."""
        return maximum(cast(key, INDEX), const(0)) // (1 << self.shift) % self.values


def _tiles(count: int) -> tuple[int, int]:
    """(tiles, updates of one thread): enough tiles for a large GPU, and as few as may be beyond that."""
    each = FEWEST
    while each < LARGEST and count > 2 * each * THREADS * 256:
        each *= 2
    return -(-count // (THREADS * each)), each


def _count(rows: Rows, digit: Digit, keys: str, counts: str) -> None:
    """How often each digit value occurs in each tile; the first turn also works the rows out."""
    tile, thread = group(0, digit.tiles), local(0, THREADS)
    k = Axis("k", digit.each)
    point = simplify((tile * digit.each + axis_expr(k)) * THREADS + thread)
    key = variable("key", I32)
    found = rows.key(point) if not digit.turn else element(keys, point, I32)
    step: list[Stmt] = [Declare("key", I32, found)]
    step += [Store(keys, point, key)] if not digit.turn else []
    step.append(Atomic("seen", digit.of(key), const(1, I32)))
    inside = [If(point < rows.count, tuple(step))] if digit.tiles * digit.each * THREADS != rows.count else step
    own = thread < digit.values
    rows.kernel(digit.name("count", rows), digit.tiles, THREADS, [
        DeclareArray("seen", I32, digit.values, "shared"),
        If(own, (Store("seen", thread, const(0, I32)),)),
        Barrier("shared"),
        For(k, tuple(inside)),
        Barrier("shared"),
        If(own, (Store(counts, simplify(thread * digit.tiles + tile), element("seen", thread, I32)),)),
    ])


def _sum_tiles(rows: Rows, digit: Digit, counts: str, totals: str) -> None:
    """For each digit value: the counts of the tiles before each tile, and the total."""
    value, thread = group(0, digit.values), local(0, THREADS)
    run = -(-digit.tiles // THREADS)
    k = Axis("k", run)
    tile = simplify(thread * run + axis_expr(k))
    place = simplify(value * digit.tiles + tile)
    total, found = variable("total", I32), variable("found", I32)
    inside = tile < digit.tiles
    rows.kernel(digit.name("sum", rows), digit.values, THREADS, [
        DeclareArray("sums", I32, THREADS, "shared"),
        Declare("total", I32, const(0, I32)),
        For(k, (If(inside, (Assign("total", total + element(counts, place, I32)),)),)),
        *before_in_block("total", thread),
        For(k, (If(inside, (
            Declare("found", I32, element(counts, place, I32)),
            Store(counts, place, total),
            Assign("total", total + found))),)),
        If(thread >= THREADS - 1, (Store(totals, value, total),)),
    ])


def _put(rows: Rows, digit: Digit, source: tuple[str, str | None], target: tuple[str, str],
         sums: tuple[str, str]) -> None:
    """Each tile's updates to their places for this digit: ordered in shared memory, then written in runs."""
    tile, thread = group(0, digit.tiles), local(0, THREADS)
    size = digit.each * THREADS
    first = simplify(tile * size)
    whole = digit.tiles * size == rows.count
    k, value = Axis("k", digit.each), Axis("value", digit.values)
    width = THREADS + 1  # one more than threads, so that the runs of neighbouring digit values lie in other banks
    across = simplify(axis_expr(k) * THREADS + thread)
    along = simplify(thread * digit.each + axis_expr(k))
    own = element("own", axis_expr(k), I32)
    counter = simplify(digit.of(own) * width + thread)
    place = variable("place", I32)
    unroll = rows.capabilities.dialect == "cuda"  # so that `own` lies in registers; others compile loops much faster

    def each_update(inside: Expr, *body: Stmt) -> For:
        return For(k, body if whole else (If(simplify(first + inside < rows.count), body),), unroll=unroll)

    ordered = element("keys", across, I32)
    where = cast(element("shift", digit.of(ordered), I32), INDEX) + across
    position = simplify(first + cast(element("from", across, U16), INDEX))
    rows.kernel(digit.name("put", rows), digit.tiles, THREADS, [
        DeclareArray("seen", U16, digit.values * width, "shared"),
        DeclareArray("keys", I32, size + THREADS, "shared"),
        DeclareArray("from", U16, size, "shared"),
        DeclareArray("sums", I32, THREADS, "shared"),
        DeclareArray("shift", I32, digit.values, "shared"),
        DeclareArray("own", I32, digit.each),
        For(value, (Store("seen", axis_expr(value) * width + thread, const(0, U16)),)),
        each_update(across, Store("keys", _apart(across, digit), element(source[0], simplify(first + across), I32))),
        Barrier("shared"),
        each_update(along, Store("own", axis_expr(k), element("keys", _apart(along, digit), I32)),
                    Store("seen", counter, element("seen", counter, U16) + 1)),
        Barrier("shared"),
        *_places_in_tile(digit, tile, thread, sums),
        Barrier("shared"),
        each_update(along,
                    Declare("place", I32, cast(element("seen", counter, U16), I32)),
                    Store("seen", counter, cast(place + 1, U16)),
                    Store("keys", cast(place, INDEX), own),
                    Store("from", cast(place, INDEX), cast(along, U16))),
        Barrier("shared"),
        each_update(across, Store(target[0], where, ordered),
                    Store(target[1], where, rows.payload(position, source[1]))),
    ])


def _apart(index: Expr, digit: Digit) -> Expr:
    """Where an update of the tile lies in shared memory, so that the runs of neighbouring threads start in other
    banks."""
    return simplify(index + index // digit.each)


def _places_in_tile(digit: Digit, tile: Expr, thread: Expr, sums: tuple[str, str]) -> list[Stmt]:
    """Turn the counters into places in the tile, and find how far each digit value's updates are shifted from there.

    As many threads as there are to a digit value share its counters, a run of them each. In all that come before: the
    smaller digit values, then the threads before.
    """
    counts, totals = sums
    sharing = THREADS // digit.values
    value, part = simplify(thread // sharing), simplify(thread % sharing)
    k = Axis("k", THREADS // sharing)
    mine = simplify(value * (THREADS + 1) + part * k.extent + axis_expr(k))
    total, base = variable("total", I32), variable("base", I32)
    seen = cast(element("seen", mine, U16), I32)
    lower = Axis("lower", digit.values)
    return [
        Declare("total", I32, const(0, I32)),
        For(k, (Assign("total", total + seen),)),
        *before_in_block("total", thread),
        If(compare("eq", part, const(0)), (
            Declare("base", I32, element(counts, simplify(value * digit.tiles + tile), I32)),
            For(lower, (Assign("base", base + element(totals, axis_expr(lower), I32)),), stop=value),
            Store("shift", value, base - total))),
        For(k, (
            Declare("found", I32, seen),
            Store("seen", mine, cast(total, U16)),
            Assign("total", total + variable("found", I32)))),
    ]


def before_in_block(name: str, thread: Expr) -> list[Stmt]:
    """Replace a variable of each thread by the sum of those of the threads before it, in the shared array `sums`.

    Each thread adds them up by itself: all read the same ones at the same time, and a tree's barriers take as long.
    """
    other = Axis("other", THREADS)
    return [
        Store("sums", thread, variable(name, I32)),
        Barrier("shared"),
        Assign(name, const(0, I32)),
        For(other, (Assign(name, variable(name, I32) + element("sums", axis_expr(other), I32)),), stop=thread),
    ]
