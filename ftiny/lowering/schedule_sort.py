"""Sorts of long axes: a stable radix sort, in launches of ordinary loop nests.

Input: the nest of a sort (`build_indexed.py`), which says by ranks what a sort is: every element goes to the number of
elements before it. Output: kernels and scratch, or None where the axis is so short that counting is as good.

Keys become unsigned integers of the same order (NaN last, -0.0 level with 0.0), and a permutation that starts as
0, 1, 2, .. is brought into order by one digit of the key after another, the least significant first; a pass keeps the
order of equal digits, so the whole is stable. Several keys are sorted by in turn, the last one first. At the end all
operands are read through the permutation. A pass is three nests, for lines (the other axes) cut into tiles:

    count    grid(line, tile)   how many elements of the tile have each digit
    place    grid(line)         a scan over (digit, tile): where the first of each goes
    move     grid(line, tile)   every element in order to its place, which then is the next one's

A key loses its digit as it moves, so every second pass is the same kernels.

The number of passes is set by the key's bits, not by the length, and the scan is the one of schedule_scan.py. Digits
have 8 bits; a CPU's worker has large tiles, and its 256 places stay in its first cache. On a GPU count and move are
kernels of blocks (schedule_sort_block.py), and a line that fits into a block is one launch.

Worked example, sort of f32[1000000]: 4 passes, on a GPU over 261 tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ftiny.lowering.expr import (
    BOOL,
    INDEX,
    Axis,
    Expr,
    bitcast,
    bitwise,
    cast,
    compare,
    const,
    load,
    select,
    substitute,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.expr import math as apply
from ftiny.lowering.index import simplify
from ftiny.lowering.kernel import Kernel
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, Value, Write
from ftiny.lowering.schedule import Scheduled
from ftiny.lowering.schedule_sort_block import TileStep, largest_tile, tile_step, whole_lines

RANK = "rank"                       # the atom of a fold that counts what sorts before an element (see `Fold`)
COUNTED = {True: 128, False: 32}    # the longest axis that is sorted by counting: on a CPU, on a GPU
DIGIT = 8                           # bits
PLACE = np.dtype(np.int32)


def schedule_sort(nest: LoopNest, capabilities: Any) -> Scheduled | None:
    """The kernels of a sort, or None if this is none or its axis is short."""
    from ftiny.lowering.schedule_generic import Context, points_kernel

    fold = nest.stages[0] if nest.stages else None
    if not isinstance(fold, Fold) or fold.atom is None or not fold.atom.startswith(RANK):
        return None
    cpu, length = bool(capabilities.host_memory), fold.over[0].extent
    if length <= COUNTED[cpu] or not all(a.extent for a in nest.grid):
        return None
    sort = RadixSort(nest, int(fold.atom.partition(":")[2]), capabilities)
    context = Context(nest, capabilities)
    if not cpu and len(sort.words) == 1 and length <= largest_tile(sort.words[0]):
        whole_lines(context, sort)
        return Scheduled(tuple(context.kernels))
    for value in sort.scratch:
        context.add_scratch(value)
    launches: list[Kernel] = []
    made: dict[LoopNest | TileStep, list[Kernel]] = {}
    for part in sort.steps():
        if part not in made:
            before = len(context.kernels)
            if isinstance(part, TileStep):
                tile_step(replace(context, nest=sort.named(part.what)), sort, part)
            else:
                points_kernel(replace(context, nest=part), part.stages)
            made[part] = context.kernels[before:]
        launches += made[part]
    return Scheduled(tuple(launches), tuple(context.scratch))


@dataclass(frozen=True, eq=False)
class Pair:
    """The scratch of a state of the sort: the keys and the permutation."""

    keys: dict[np.dtype, Value]
    order: Value


class RadixSort:
    """The nests of a sort; see the module docstring."""

    def __init__(self, nest: LoopNest, keys: int, capabilities: Any) -> None:
        (self.writes,) = (s.writes for s in nest.stages if isinstance(s, Map))
        self.nest, self.blocks = nest, not capabilities.host_memory
        (self.along,) = (a for a in nest.grid if not any(axis_expr(a) is i for i in self.writes[0].index)
                         and a.extent > 1)
        self.lines = tuple(a for a in nest.grid if a is not self.along)
        self.keys = [order_preserving(w.expr) for w in self.writes[:keys]]
        self.bits = [bits_of(w.expr.dtype) for w in self.writes[:keys]]
        self.words = words = sorted({k.dtype for k in self.keys}, key=str)
        self.digit, self.tile = DIGIT, self._tile(capabilities)
        self.tiles = Axis("tile", -(-self.along.extent // self.tile))
        shape = tuple(a.extent for a in self.lines)
        self.pairs = [Pair({w: _scratch(f"keys{n}_{w}", (*shape, self.along.extent), w) for w in words},
                           _scratch(f"order{n}", (*shape, self.along.extent), PLACE)) for n in (0, 1)]
        counters = (*shape, (1 << DIGIT) * self.tiles.extent)
        self.counts, self.places = _scratch("counts", counters, PLACE), _scratch("places", counters, PLACE)
        self.scratch = (*(v for p in self.pairs for v in (*p.keys.values(), p.order)), self.counts, self.places)

    def _tile(self, capabilities: Any) -> int:
        """How many elements a CPU's worker takes one after another, or a GPU's block together."""
        if self.blocks:
            return largest_tile(self.words[-1])
        wanted = capabilities.compute_units * 4
        lines = math.prod(a.extent for a in self.lines)
        return self.along.extent if lines >= wanted else -(-self.along.extent // -(-wanted // lines))

    def named(self, what: str) -> LoopNest:
        """A nest that only names a kernel and knows its arrays."""
        return self._nest(what, ())

    def steps(self) -> list[LoopNest | TileStep]:
        """All launches, in order."""
        result: list[LoopNest | TileStep] = []
        now, other = self.pairs
        for number, key in enumerate(reversed(self.keys)):
            result.append(self._start(key, now, first=number == 0))
            for _ in range(0, self.bits[len(self.keys) - 1 - number], self.digit):
                if self.blocks:
                    count, move = (TileStep(what, now, other, key.dtype) for what in ("count", "move"))
                    result += [count, self._place(), move]
                else:
                    result += [self._count(now, key.dtype), self._place(), self._move(now, other, key.dtype)]
                now, other = other, now
        return [*result, self._finish(now)]

    def _nest(self, what: str, grid: Sequence[Axis], *stages: Stage) -> LoopNest:
        return LoopNest(f"{self.nest.name}_{what}", tuple(grid), self.nest.arguments,
                        (*self.nest.values, *self.scratch), stages, self.nest.equations)

    def _here(self) -> tuple[Axis, ...]:
        return (*self.lines, self.along)

    def _through(self, expr: Expr, order: Value) -> Expr:
        """An operand's element where the permutation says."""
        return substitute((expr,), {self.along: cast(order[self._here()], INDEX)})[0]

    def _start(self, key: Expr, now: Pair, first: bool) -> LoopNest:
        """The keys, in the order so far."""
        here = tuple(map(axis_expr, self._here()))
        element = key if first else self._through(key, now.order)
        writes = [Write(now.keys[key.dtype].name, here, element)]
        if first:
            writes.append(Write(now.order.name, here, cast(axis_expr(self.along), PLACE)))
        return self._nest("start", self._here(), Map((), tuple(writes)))

    def _finish(self, now: Pair) -> LoopNest:
        """All operands, in the order found."""
        here = tuple(map(axis_expr, self.nest.grid))
        return self._nest("finish", self.nest.grid, Map((), tuple(
            replace(w, index=here, expr=self._through(w.expr, now.order)) for w in self.writes)))

    def _element(self) -> tuple[Axis, Expr, Expr | None]:
        """A tile's axis, the element that it stands for, and whether there is one."""
        item = Axis("item", self.tile)
        index = simplify(axis_expr(self.tiles) * self.tile + axis_expr(item))
        inside = simplify(index < self.along.extent)
        return item, index, None if self.along.extent % self.tile == 0 else inside

    def _counter(self, digit: Expr) -> tuple[Expr, ...]:
        """Where a tile's counter of a digit is: all tiles of a digit side by side."""
        return (*map(axis_expr, self.lines), simplify(digit * self.tiles.extent + axis_expr(self.tiles)))

    def _digit(self, key: Expr) -> Expr:
        return cast(bitwise("and", key, const((1 << self.digit) - 1, key.dtype)), INDEX)

    def _read(self, value: Value, index: Expr, inside: Expr | None) -> Expr:
        return load(value.name, (*map(axis_expr, self.lines), index), value.dtype, inside)

    def _count(self, now: Pair, word: np.dtype) -> LoopNest:
        """How many elements of each tile have each digit."""
        item, index, inside = self._element()
        each = Axis("digit", 1 << self.digit)
        zero = Write(self.counts.name, self._counter(axis_expr(each)), const(0, PLACE))
        at = self._counter(self._digit(self._read(now.keys[word], index, inside)))
        more = Write(self.counts.name, at, self.counts[at] + 1, inside)
        return self._nest("count", (*self.lines, self.tiles), Map((each,), (zero,)), _in_order(item, more))

    def _place(self) -> LoopNest:
        """Where the first element of each digit and tile goes: how many there are before it."""
        counter = Axis("counter", (1 << self.digit) * self.tiles.extent)
        at = (*map(axis_expr, self.lines), axis_expr(counter))
        total = Value("total", (), PLACE, scope="register")
        now, later = total[()], load("total.other", (), PLACE)
        fold = Fold((), (counter,), (total,), (const(0, PLACE),), (now + self.counts[at],), (now + later,),
                    emit=(Write(self.places.name, at, now - self.counts[at]),))
        return self._nest("place", self.lines, fold)

    def _move(self, now: Pair, other: Pair, word: np.dtype) -> LoopNest:
        """Every element to its place, which then is that of the tile's next element of this digit."""
        item, index, inside = self._element()
        key = self._read(now.keys[word], index, inside)
        at = self._counter(self._digit(key))
        rest = bitwise("shift_right_logical", key, const(self.digit, word))
        place = cast(self.places[at], INDEX)
        target = (*map(axis_expr, self.lines), place)
        writes = (Write(other.keys[word].name, target, rest, inside),
                  Write(other.order.name, target, self._read(now.order, index, inside), inside),
                  Write(self.places.name, at, self.places[at] + 1, inside))
        return self._nest("move", (*self.lines, self.tiles), _in_order(item, *writes))


def _scratch(name: str, shape: tuple[int, ...], dtype: np.dtype) -> Value:
    return Value(f"sort.{name}", shape, dtype, dtype, "global")


def _in_order(item: Axis, *writes: Write) -> Fold:
    """The writes for one element after another, by one worker."""
    turn = Value("turn", (), PLACE, scope="register")
    return Fold((), (item,), (turn,), (const(0, PLACE),), (turn[()],), None, emit=writes)


def bits_of(dtype: np.dtype) -> int:
    """How many bits of its key an element of this dtype needs."""
    return 1 if dtype == BOOL else 8 * dtype.itemsize


def order_preserving(x: Expr) -> Expr:
    """An unsigned integer, of 4 or 8 bytes, that is ordered as x is: NaN last, -0.0 level with 0.0."""
    size = x.dtype.itemsize
    word = np.dtype(np.uint64 if size == 8 else np.uint32)
    if x.dtype == BOOL or x.dtype.kind == "u":
        return cast(x, word)
    own = np.dtype(f"u{size}")
    sign = const(1 << (8 * size - 1), own)
    if x.dtype.kind == "i":
        return cast(bitwise("xor", bitcast(x, own), sign), word)
    zero = const(0, x.dtype)
    bits = bitcast(select(compare("eq", x, zero), zero, x), own)
    negative = compare("ne", bitwise("and", bits, sign), const(0, own))
    ordered = select(negative, bitwise("not", bits), bitwise("xor", bits, sign))
    return cast(select(apply("is_nan", x), const((1 << 8 * size) - 1, own), ordered), word)
