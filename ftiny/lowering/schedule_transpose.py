"""The GPU schedule for elementwise nests that read along one axis and write along another: tiles in shared memory.

Input: the stages of one phase. Output: one kernel, or nothing where no load is of that kind. A block has a tile of
(`along`, `write`) grid points. First its threads are neighbours along `along`, the axis on which the transposed
loads lie side by side, and bring those loads on chip; then they are neighbours along `write`, where the stores do,
and compute and store. Everything else of the nest is computed in the second part, where it stands. Rows of a tile are
one bank apart from a multiple of all banks, so that columns of it lie in different ones.

Worked example, y[i, j] = x[j, i] + 1 for 8192x8192 float32, `along` = i and `write` = j, tiles of 64x64, 256 threads:

    tile[jj*65 + ii] = x[(J*64 + jj)*8192 + I*64 + ii]      # 16 threads of 4 elements along i
    barrier
    y[(I*64 + ii)*8192 + J*64 + jj] = tile[jj*65 + ii] + 1  # 16 threads of 4 elements along j
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ftiny.lowering.device import STATIC_SHARED
from ftiny.lowering.emit_c import F16
from ftiny.lowering.expr import (
    Axis,
    Expr,
    compare,
    const,
    is_const,
    load,
    load_guard,
    load_index,
    loads,
    logical_and,
    transform,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, simplify, terms_of, unflatten
from ftiny.lowering.kernel import WIDE_BYTES, Barrier, DeclareArray, For, If, Stmt, Store, group, local, ramp
from ftiny.lowering.loops import LoopNest, Map, Stage, Write
from ftiny.lowering.schedule import aligned
from ftiny.lowering.schedule_body import Body, Converter, Names, Place
from ftiny.lowering.schedule_generic import Context, Worker, finish_kernel, nest_names
from ftiny.lowering.schedule_merge import plain_places

THREADS = 256
BANK = 4  # bytes
EDGES = (128, 64, 32)  # of a tile, longest first: rows of 256 bytes, shorter ones where several tiles share the room
SMALLEST = 1024  # points of a tile: fewer lie within a few sectors, which the cache holds
SPOT = Axis("spot", 2**31)  # the place in the tile, inside expressions of the nest


@dataclass(frozen=True)
class Side:
    """One axis of a tile: its extent there, how many tiles there are, and the lanes of an access along it."""

    axis: Axis
    size: int
    lanes: int

    @property
    def tiles(self) -> int:
        """Tiles along the axis."""
        return -(-self.axis.extent // self.size)


def schedule_transpose(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    nest = context.nest
    writes = [w for s in stages for w in s.writes] if all(isinstance(s, Map) for s in stages) else []  # type: ignore
    if not writes or not _fits(nest, stages, writes):
        return False
    convert = Converter(plain_places(nest))
    write = _contiguous_axis(nest, [convert.offset(w.index, convert.places[w.value]) for w in writes])
    if write is None:
        return False
    found = _transposed(nest, writes, write, convert)
    if not found:
        return False
    along, nodes = found
    if context.capabilities.dialect == "opencl" and any(n.dtype == F16 for n in nodes):
        return False  # OpenCL has no arrays of half
    size = max(n.dtype.itemsize for n in nodes)
    offsets = [simplify(load_index(convert(n))[0]) for n in nodes]
    stored = [convert.offset(w.index, convert.places[w.value]) for w in writes]
    even = [aligned(nest.value(name)) for name in (*(n.attr[0] for n in nodes), *(w.value for w in writes))]
    room = min(STATIC_SHARED, context.capabilities.shared_bytes)
    for edge in EDGES:
        sides = _sides((along, write), edge, size if all(even) else WIDE_BYTES, (offsets, stored))
        pitch = sides[0].size + max(1, BANK // size)
        fits = edge <= max(32, 256 // size) and len(nodes) * pitch * sides[1].size * size <= room
        if fits and sides[0].size * sides[1].size >= SMALLEST:
            Tiles(context, stages, writes, nodes, sides, pitch).build()
            return True
    return False


def _fits(nest: LoopNest, stages: tuple[Stage, ...], writes: Iterable[Write]) -> bool:
    """Whether the stages are writes to memory of one element each, which none of them reads."""
    if any(a.extent != 1 for s in stages for a in s.axes):
        return False
    written = {w.value for w in writes}
    if any(w.update or nest.value(w.value).scope in ("register", "shared") for w in writes):
        return False
    return not any(n.attr[0] in written for n in loads(r for w in writes for r in w.roots()))


def _contiguous_axis(nest: LoopNest, offsets: list[Expr]) -> Axis | None:
    """The grid axis along which all the offsets go up by one."""
    for one in reversed(nest.grid):
        if one.extent > 1 and all(coefficient(o, axis_expr(one)) == 1 for o in offsets):
            return one
    return None


def _transposed(nest: LoopNest, writes: Iterable[Write], write: Axis,
                convert: Converter) -> tuple[Axis, list[Expr]] | None:
    """(the axis, the loads) of most loads that lie side by side along one axis and scattered along `write`."""
    by_axis: dict[Axis, list[Expr]] = {}
    for node in loads(r for w in writes for r in w.roots()):
        guard, other = load_guard(node)
        if not node.attr[1] or (guard is not None and other is not None and not is_const(other)):
            continue
        offset = simplify(load_index(convert(node))[0])
        if coefficient(offset, axis_expr(write)) in (0, 1):
            continue
        for one in nest.grid:
            if one != write and one.extent > 1 and coefficient(offset, axis_expr(one)) == 1:
                by_axis.setdefault(one, []).append(node)
    if not by_axis:
        return None
    along = max(by_axis, key=lambda one: len(by_axis[one]))
    return along, by_axis[along]


def _sides(axes: tuple[Axis, Axis], edge: int, size: int, offsets: tuple[list[Expr], list[Expr]]) -> tuple[Side, Side]:
    """The tile: `edge` by `edge`, longer on one side where the other axis is short; lanes as far as all the offsets of
    an axis are aligned."""
    whole = [1 << (a.extent - 1).bit_length() for a in axes]
    sizes = [min(whole[k], edge * edge // min(edge, whole[1 - k])) for k in (0, 1)]
    if min(whole) >= edge:
        sizes = [edge, edge]
    return tuple(Side(a, n, _aligned_lanes(a, size, o)) for a, n, o in zip(axes, sizes, offsets))  # type: ignore


def _aligned_lanes(axis: Axis, size: int, offsets: Iterable[Expr]) -> int:
    leaf, steps = axis_expr(axis), [axis.extent, min(8, WIDE_BYTES // size)]
    for offset in offsets:
        terms, constant = terms_of(offset)
        steps += [constant, *(c for atom, c in terms.items() if atom is not leaf)]
    return math.gcd(*steps)


class Tiles:
    """Builds the kernel; `nodes` are the transposed loads."""

    def __init__(self, context: Context, stages: tuple[Stage, ...], writes: list[Write], nodes: list[Expr],
                 sides: tuple[Side, Side], pitch: int) -> None:
        self.context, self.stages, self.writes, self.nodes, self.pitch = context, stages, writes, nodes, pitch
        self.along, self.write = sides
        nest = context.nest
        others = tuple(a for a in nest.grid if a not in (self.along.axis, self.write.axis))
        self.tile_axes = (Axis("tile.along", self.along.tiles), Axis("tile.write", self.write.tiles))
        self.worker = Worker(context, (*others, *self.tile_axes))
        blocks = self.worker.points
        self.threads = min(THREADS, self.along.size * self.write.size // max(self.along.lanes, self.write.lanes))
        self.worker.grid, self.worker.block = (blocks, 1, 1), (self.threads, 1, 1)
        self.axes = dict(unflatten(group(0, blocks), (*others, *self.tile_axes)))
        self.names: Names = nest_names(nest, stages)
        self.tiles = [self.names.fresh(f"{node.attr[0]}_tile") for node in nodes]
        self.places = {v.name: Place("buffer", v.name, v.shape) for v in nest.all_values()}
        self.places |= {t: Place("buffer", t, (SPOT.extent,)) for t in self.tiles}

    def build(self) -> None:
        """Append the kernel."""
        length = self.pitch * self.write.size
        arrays: list[Stmt] = [DeclareArray(t, n.dtype, length, "shared") for t, n in zip(self.tiles, self.nodes)]
        fill = self._pass(self.along, self.write, self._fill)
        use = self._pass(self.write, self.along, self._use)
        finish_kernel(self.context, [*arrays, *fill, Barrier("shared"), *use], self.worker, self.stages)

    def _pass(self, fast: Side, slow: Side, body: Callable[[Converter], list[Stmt]]) -> list[Stmt]:
        """`body` for every point of the tile, threads side by side along `fast`."""
        chunks = fast.size // fast.lanes
        passes = chunks * slow.size // self.threads
        turn = Axis(self.names.fresh("turn"), passes)
        number = local(0, self.threads) + (axis_expr(turn) * self.threads if passes > 1 else const(0))
        inside = {fast: simplify(number % chunks * fast.lanes + ramp(fast.lanes)), slow: simplify(number // chunks)}
        guard, axes = logical_and(), dict(self.axes)
        for side, tile in zip((self.along, self.write), self.tile_axes):
            first = axes.pop(tile) * side.size
            axes[side.axis] = simplify(first + inside[side])
            if side.axis.extent % side.size:
                # Lanes are inside together: the extent is a multiple of them.
                start = inside[side] if side is slow else simplify(number % chunks * fast.lanes)
                guard = logical_and(guard, simplify(compare("lt", simplify(first + start), const(side.axis.extent))))
        axes[SPOT] = simplify(inside[self.write] * self.pitch + inside[self.along])
        statements = body(Converter(self.places, axes))
        if not is_const(guard, True):
            statements = [If(guard, tuple(statements))]
        return [For(turn, tuple(statements), unroll=True)] if passes > 1 else statements

    def _fill(self, convert: Converter) -> list[Stmt]:
        return [Store(tile, convert.axes[SPOT], convert(node)) for tile, node in zip(self.tiles, self.nodes)]

    def _use(self, convert: Converter) -> list[Stmt]:
        new = {node: load(tile, (axis_expr(SPOT),), node.dtype) for tile, node in zip(self.tiles, self.nodes)}

        def from_tile(write: Write) -> Write:
            roots = transform(write.roots(), lambda node, args: new.get(node))
            rank = len(write.index)
            guard = None if write.guard is None else roots[rank + 1]
            return Write(write.value, tuple(roots[:rank]), roots[rank], guard)

        body = Body(self.context.nest, convert, self.names, 1, True)
        return body.writes([from_tile(w) for w in self.writes], convert)
