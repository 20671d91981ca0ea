"""Contractions on a CPU through OpenCL: register tiles, one work-item at a time.

Input: a `Contraction`. Output: kernels. One operand is read as vectors (its tile axis is contiguous), the
other as scalars that are spread; which is which, the tile's shape and whether to materialise an operand
first come from a cost model in cycles. A work-item takes a panel of `width` vector positions and a slice of
the rows; where several row tiles use the panel it is copied once to private memory, dense, which the cache
likes twice as well as rows a page apart. Tiles at an edge start earlier and overlap their neighbour, so
that every load is in bounds without a mask; the epilogue skips what the neighbour writes.

Worked example, x[128, 784] @ w[784, 1024], 2 cores with 16 lanes:

    vector operand w (1024 columns, contiguous), row operand x in place; tile 12 rows x 32 columns
    for each of 32 panels (a work-item each):
        copy w[:, panel] to private memory [784][32]
        for each of 11 row tiles, the last starting at row 116:
            24 accumulators of 16 lanes over all of k, stored to a private tile; then the epilogue on the tile
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from ftiny.lowering.choices import choose
from ftiny.lowering.expr import Axis, Expr, const, loads, minimum, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import flatten, simplify, unflatten
from ftiny.lowering.kernel import (
    Assign,
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
    ramp,
)
from ftiny.lowering.schedule import accesses_of, parameter, traffic
from ftiny.lowering.schedule_contract import (
    Contraction,
    axis_terms,
    split_sum,
    with_other_nests,
    with_sum,
)
from ftiny.lowering.schedule_contract_operands import Operand, direct, join, materialised, placed

if TYPE_CHECKING:
    from ftiny.lowering.schedule import Scheduled

PANEL_BYTES = 256 * 1024  # of a private panel: half of a small second-level cache, and a safe stack frame
DENSE_BYTES = 512  # between rows of a panel that is read as fast where it lies
CACHED_DEPTH = 2048  # products summed in one go
LAUNCH_CYCLES = 30_000  # of one more kernel
MAX_HEIGHT = 14


@dataclass(frozen=True)
class Tile:
    """A choice: `vector` and `row` operands, and the tile [height rows, width vector positions].

    The rows are `step` positions of `row_axis` times all positions of the axes `full`; panels and row tiles
    beyond them run over `vector_outer` and `row_outer`.
    """

    contraction: Contraction
    vector: Operand
    row: Operand
    vector_axis: Axis
    vector_outer: tuple[Axis, ...]
    lanes: int
    width: int
    row_axis: Axis
    step: int
    full: tuple[Axis, ...]
    row_outer: tuple[Axis, ...]

    @property
    def height(self) -> int:
        """Rows of the tile."""
        return self.step * math.prod(a.extent for a in self.full)

    @property
    def vectors(self) -> int:
        """Vectors of one row of the tile."""
        return -(-self.width // self.lanes)

    @property
    def panels(self) -> int:
        """Panels along the vector axis."""
        return -(-self.vector_axis.extent // self.width)

    @property
    def row_tiles(self) -> int:
        """Tiles along the row axis."""
        return -(-self.row_axis.extent // self.step)

    @property
    def depth(self) -> int:
        """Products that are summed."""
        return math.prod(a.extent for a in self.contraction.depth)


def schedule_cpu(contraction: Contraction, capabilities) -> Scheduled | None:
    """Kernels for the contraction, or None if the ordinary schedule should do it: there is no vector axis
    that can be had without a transposition that nothing repays."""
    tile = _best(contraction, capabilities)
    if tile is None:
        return None
    splits = _splits(tile, capabilities)
    if splits > 1:
        divided, _ = split_sum(contraction, splits)
        tile = _best(divided, capabilities)
        assert tile is not None
    nests = [operand.nest for operand in (tile.vector, tile.row) if operand.nest is not None]
    scratch = [operand.value for operand in (tile.vector, tile.row) if operand.nest is not None]
    kernel = _Writer(tile, splits, capabilities).kernel()
    return with_other_nests(tile.contraction, nests, kernel, scratch, capabilities)


# --------------------------------------------------------------------------------- the choice


def _best(contraction: Contraction, capabilities) -> Tile | None:
    tiles = (tile for orientation in _orientations(contraction) for tile in _tiles(*orientation, capabilities))
    return choose("tile", tiles, _cycles)


def _orientations(contraction: Contraction) -> Iterator[tuple[Contraction, Operand, Operand, bool]]:
    """Both ways to give the operands their roles: (contraction with joined axes, vector operand, row operand,
    whether the vector axis is among the columns)."""
    for columns in (True, False):
        sides = (contraction.columns, contraction.rows) if columns else (contraction.rows, contraction.columns)
        exprs = (contraction.right, contraction.left) if columns else (contraction.left, contraction.right)
        names = ("right", "left") if columns else ("left", "right")
        if not sides[0]:
            continue
        vector = direct(exprs[0], contraction)
        if vector is None or not any(vector.stride(a) == 1 for a in sides[0]):
            if not sides[1]:
                continue
            vector = materialised(exprs[0], contraction, names[0], _contiguous(contraction, sides[0]))
        row = direct(exprs[1], contraction) or materialised(exprs[1], contraction, names[1])
        left, right = (row, vector) if columns else (vector, row)
        joined, left, right = join(contraction, left, right)
        yield joined, *((right, left) if columns else (left, right)), columns


def _contiguous(contraction: Contraction, axes: tuple[Axis, ...]) -> Axis:
    """The axis along which vectors are stored best: neighbours in the result, or else the longest."""
    terms = axis_terms(contraction.writes[0].index[0])
    return max(axes, key=lambda a: (terms.get(a) == 1, a.extent))


def _tiles(contraction: Contraction, vector: Operand, row: Operand, columns: bool, capabilities) -> Iterator[Tile]:
    sides = (contraction.columns, contraction.rows) if columns else (contraction.rows, contraction.columns)
    candidates = [a for a in sides[0] if vector.stride(a) == 1]
    if not candidates:
        return
    vector_axis = max(candidates, key=lambda a: a.extent)
    full_lanes = max(1, min(16, capabilities.vector_width * 4 // contraction.state.dtype.itemsize))
    lanes = min(full_lanes, 1 << (vector_axis.extent.bit_length() - 1))
    registers = 32 if capabilities.vector_width >= 16 else 16
    outer = tuple(a for a in sides[0] if a is not vector_axis)
    for vectors in (1, 2, 3, 4, 6, 8):
        width = min(vector_axis.extent, vectors * lanes)
        # A row of vectors, one spread element, and the accumulators.
        most = min(MAX_HEIGHT, (registers - 1) // vectors - 1)
        if (vectors - 1) * lanes >= width or most < 1:
            break
        for row_axis, step, full in _heights(sides[1], most):
            row_outer = tuple(a for a in sides[1] if a is not row_axis and a not in full)
            yield Tile(contraction, vector, row, vector_axis, outer, lanes, width, row_axis, step, full, row_outer)


def _heights(axes: tuple[Axis, ...], most: int) -> Iterator[tuple[Axis, int, tuple[Axis, ...]]]:
    """Ways to cut at most `most` rows from the row axes: (axis, positions of it, axes taken whole)."""
    if not axes:
        yield Axis("one", 1), 1, ()
    for one in axes:
        tiles = -(-one.extent // most)
        yield one, -(-one.extent // tiles), ()
        if one.extent * 2 > most:
            continue
        for other in axes:
            if other is not one and other.extent > 1:
                tiles = -(-other.extent // (most // one.extent))
                yield other, -(-other.extent // tiles), (one,)


def _cycles(tile: Tile) -> float:
    """Estimated cycles of one core for everything: products, epilogue, packing, materialised operands."""
    accumulators = tile.height * tile.vectors
    products = max(accumulators / 2, (tile.height + tile.vectors) / 2, 2.5 * tile.vectors, 4.0) + 0.5
    per_store = 1.5 * tile.lanes if _transposed(tile) else 4.0 if tile.width >= tile.lanes else 8.0
    outer = math.prod(a.extent for a in (*tile.contraction.batch, *tile.vector_outer, *tile.row_outer))
    tiles = outer * tile.panels * tile.row_tiles
    total = tiles * (tile.depth * products + accumulators * per_store + 20)
    for operand in (tile.vector, tile.row):
        if operand.nest is not None:
            total += 1.5 * operand.elements + LAUNCH_CYCLES
    return total


def _transposed(tile: Tile) -> bool:
    """Whether neighbours of the vector axis are apart in the result but neighbours of the row axis are not."""
    terms = axis_terms(tile.contraction.writes[0].index[0])
    return terms.get(tile.vector_axis, 0) != 1 and terms.get(tile.row_axis, 0) == 1


def _splits(tile: Tile, capabilities) -> int:
    """Into how many parts to cut the depth, so that every core has work and a part of a panel stays in cache.
    The longest axis is cut."""
    outer = math.prod(a.extent for a in (*tile.contraction.batch, *tile.vector_outer, *tile.row_outer))
    tiles = outer * tile.panels * tile.row_tiles
    if tile.depth < 2048:
        return 1
    longest = max(a.extent for a in tile.contraction.depth)
    wanted = tile.depth // CACHED_DEPTH
    if tiles < 8 * capabilities.compute_units:
        wanted = max(wanted, min(4 * capabilities.compute_units, tile.depth // 512))
    wanted = min(wanted, longest)
    return -(-longest // -(-longest // max(wanted, 1)))


# --------------------------------------------------------------------------------- the kernel


class _Writer:
    """Makes the product's kernel for a tile. `place` says where each axis outside the tile stands. Names that
    end in a dot cannot meet those of the nest."""

    def __init__(self, tile: Tile, splits: int, capabilities):
        self.tile = tile
        self.contraction = tile.contraction
        self.dtype = tile.contraction.state.dtype
        self.splits = splits
        self._counter = count()
        self._slice_rows(capabilities)
        self.place = self._outer_place()
        self._cut_depth()
        self.packed = self._packs()

    def _slice_rows(self, capabilities) -> None:
        """The work of a work-item: `together` neighbouring panels, as many as stay in cache, so that the
        epilogue walks its arrays in long runs; and a slice of the row tiles. Enough work-items for all cores, but
        slices that read a panel often enough to repay a copy."""
        tile = self.tile
        bytes_per_panel = -(-tile.depth // self.splits) * tile.width * self.dtype.itemsize
        self.together = max(1, min(tile.panels, PANEL_BYTES // bytes_per_panel))
        # An epilogue that reads whole arrays waits for them: it runs along the rows, over all panels at once.
        self.late = self.together > 1 and not _transposed(tile) and self._epilogue_arrays() > 2
        self.pitch = self.together * tile.width if self.late else tile.width
        self.panel_axes = (*tile.vector_outer, Axis("panels.", -(-tile.panels // self.together)))
        self.row_axes = (*tile.row_outer, Axis("row_tile.", tile.row_tiles))
        self.panels = math.prod(a.extent for a in self.panel_axes)
        self.row_tiles = math.prod(a.extent for a in self.row_axes)
        self.batches = math.prod(a.extent for a in self.contraction.batch) * self.splits
        units = 8 * capabilities.compute_units
        slices = min(self.row_tiles, -(-units // (self.panels * self.batches)))
        if self.panels * self.batches >= 2 * capabilities.compute_units:
            slices = min(slices, -(-self.row_tiles * tile.height // 64))
        self.per_slice = -(-self.row_tiles // slices)
        self.slices = -(-self.row_tiles // self.per_slice)

    def _epilogue_arrays(self) -> int:
        """Arrays of the result's size that the epilogue reads or writes."""
        names = {n.attr[0] for w in self.contraction.writes for n in loads((w.expr,)) if n.attr[1]}
        names |= {w.value for w in self.contraction.writes}
        size = math.prod(a.extent for a in self.contraction.grid)
        return sum(math.prod(self.contraction_value(n).shape) >= size for n in names)

    def _packs(self) -> bool:
        tile = self.tile
        dense = all(tile.vector.stride(a) * self.dtype.itemsize <= DENSE_BYTES for a in self.contraction.depth[-1:])
        small = self.depth_size * tile.width * self.dtype.itemsize <= PANEL_BYTES
        return self.per_slice >= 3 and not dense and small

    def kernel(self) -> Kernel:
        """The kernel; its parameters are the operands and what the epilogue reads and writes."""
        body: list[Stmt] = [DeclareArray("tile.", self.dtype, self.tile.height * self.pitch)]
        if self.packed:
            body.append(DeclareArray("packed.", self.dtype, self.together * self.depth_size * self.tile.width))
            body.append(self._pack())
        nest = self.contraction.nest
        params = self._params()
        writes = self.contraction.writes
        accesses = accesses_of((r for w in writes for r in w.roots()), writes)
        accesses += [(o.value.name, set(o.strides)) for o in (self.tile.vector, self.tile.row)]
        moved = traffic((self.contraction_value(p.name) for p in params), accesses)
        return Kernel(f"{nest.name}_product" if self.contraction.tail else nest.name, params,
                      (self.panels, self.slices, self.batches), (1, 1, 1), (*body, *self._row_loop()),
                      self.contraction.flops, moved, nest.equations)

    def contraction_value(self, name: str):
        """A parameter's array."""
        for operand in (self.tile.vector, self.tile.row):
            if operand.value.name == name:
                return operand.value
        return self.contraction.value(name)

    def _params(self) -> tuple[Param, ...]:
        written = [w.value for w in self.contraction.writes]
        names = [self.tile.vector.value.name, self.tile.row.value.name]
        names += [n.attr[0] for w in self.contraction.writes for n in loads(w.roots()) if n.attr[1]]
        names = list(dict.fromkeys([*names, *written]))
        return tuple(parameter(self.contraction_value(n), n in written) for n in names)

    def _outer_place(self) -> dict[Axis, Expr]:
        """Batch axes, panel and part of the depth, from the work-item's number."""
        tile = self.tile
        place = dict(unflatten(group(0, self.panels), self.panel_axes))
        first = simplify(place.pop(self.panel_axes[-1]) * self.together)
        self.panel = Axis("panel.", self.together)
        self.panel_stop = None
        if tile.panels % self.together:
            self.panel_stop = simplify(minimum(const(self.together), tile.panels - first))
        panel = simplify(first + axis_expr(self.panel))
        place[tile.vector_axis] = _start(panel, tile.width, tile.vector_axis.extent)
        self.first_lane = simplify(panel * tile.width - place[tile.vector_axis])
        part = Axis("part.", self.splits)
        place.update(unflatten(group(2, self.batches), (*self.contraction.batch, part)))
        self.part = place[part]
        return place

    # ---- the depth

    def _cut_depth(self) -> None:
        """The loops over (this part of) the depth: `depth_axes`, and where the depth stands in them."""
        depth = list(self.contraction.depth)
        self.depth_place: dict[Axis, Expr] = {a: axis_expr(a) for a in depth}
        self.depth_stops: dict[Axis, Expr] = {}
        if self.splits > 1:
            cut = max(depth, key=lambda a: a.extent)
            chunk = -(-cut.extent // self.splits)
            inner = Axis(cut.name, chunk)
            depth[depth.index(cut)] = inner
            self.depth_place[cut] = simplify(self.part * chunk + axis_expr(inner))
            if cut.extent % chunk:
                self.depth_stops[inner] = simplify(minimum(const(chunk), cut.extent - self.part * chunk))
        self.depth_axes = tuple(depth)
        self.depth_size = math.prod(a.extent for a in depth)
        walked = (self.panel, *depth)
        self.packed_offset = flatten(map(axis_expr, walked), tuple(a.extent for a in walked)) * self.tile.width

    def _panel_loop(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return (For(self.panel, body, stop=self.panel_stop),) if self.together > 1 else body

    def _depth_loops(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        for one in reversed(self.depth_axes):
            body = (For(one, body, stop=self.depth_stops.get(one)),)
        return body

    def _lane_offsets(self) -> list[int]:
        tile = self.tile
        return [min(j * tile.lanes, tile.width - tile.lanes) for j in range(tile.vectors)]

    def _pack(self) -> Stmt:
        source = self.tile.vector.offset({**self.place, **self.depth_place})
        lane = ramp(self.tile.lanes)
        stores = tuple(Store("packed.", simplify(self.packed_offset + o + lane),
                             element(self.tile.vector.value.name, simplify(source + o + lane), self.dtype))
                       for o in self._lane_offsets())
        return self._panel_loop(self._depth_loops(stores))[0]

    def _row_loop(self) -> tuple[Stmt, ...]:
        tile = self.tile
        if self.per_slice == 1:
            which: Expr = group(1, self.slices)
        else:
            number = Axis("row_number.", self.row_tiles)
            which = axis_expr(number)
        rows = dict(unflatten(which, self.row_axes))
        at = rows.pop(self.row_axes[-1])
        start = _start(at, tile.step, tile.row_axis.extent)
        first_row = simplify(at * tile.step - start)
        inner = {**self.place, **rows, tile.row_axis: start}
        accumulate, epilogue = self._accumulate(inner), self._epilogue(inner, first_row)
        if self.late:
            body = (*self._panel_loop(accumulate), *epilogue)
        else:
            body = self._panel_loop((*accumulate, *epilogue))
        if self.per_slice == 1:
            return body
        first = simplify(group(1, self.slices) * self.per_slice)
        stop = simplify(minimum(first + self.per_slice, const(self.row_tiles)))
        return (For(number, body, first, stop),)

    def _accumulate(self, place: dict[Axis, Expr]) -> tuple[Stmt, ...]:
        tile, dtype = self.tile, self.dtype
        rows, vectors = range(tile.height), range(tile.vectors)
        lane = ramp(tile.lanes)
        place = {**place, **self.depth_place}
        if self.packed:
            base, source = self.packed_offset, "packed."
        else:
            base, source = tile.vector.offset(place), tile.vector.value.name
        body: list[Stmt] = [Declare(f"v{j}.", dtype, element(source, simplify(base + o + lane), dtype), tile.lanes)
                            for j, o in enumerate(self._lane_offsets())]
        row = tile.row.offset(place)
        for i, distance in enumerate(self._row_distances()):
            body.append(Declare(f"r{i}.", dtype, element(tile.row.value.name, simplify(row + distance), dtype)))
            body += [Assign(f"c{i}_{j}.", variable(f"c{i}_{j}.", dtype) + variable(f"r{i}.", dtype) *
                            variable(f"v{j}.", dtype)) for j in vectors]
        zero = [Declare(f"c{i}_{j}.", dtype, const(0, dtype), tile.lanes) for i in rows for j in vectors]
        kept = self._panel_in_tile() + lane
        keep = [Store("tile.", simplify(kept + (i * self.pitch + o)), variable(f"c{i}_{j}.", dtype))
                for i in rows for j, o in enumerate(self._lane_offsets())]
        return (*zero, *self._depth_loops(tuple(body)), *keep)

    def _row_distances(self) -> list[int]:
        """Elements from the tile's first row to each row, in the row operand: row_axis slowest."""
        distances = [i * self.tile.row.stride(self.tile.row_axis) for i in range(self.tile.step)]
        for one in self.tile.full:
            distances = [d + i * self.tile.row.stride(one) for d in distances for i in range(one.extent)]
        return distances

    def _panel_in_tile(self) -> Expr:
        """Where the panel's sums start in a row of the tile."""
        return axis_expr(self.panel) * self.tile.width if self.late else const(0)

    # ---- the epilogue

    def _epilogue(self, place: dict[Axis, Expr], first_row: Expr) -> tuple[Stmt, ...]:
        """The writes for the elements of the tile (if late, of all panels' tiles) that no earlier tile has."""
        tile = self.tile
        row = Axis("row.", tile.step)
        at = {**place, tile.row_axis: simplify(place[tile.row_axis] + axis_expr(row)),
              **{a: axis_expr(a) for a in tile.full}}
        number = flatten([axis_expr(a) for a in (row, *tile.full)], tuple(a.extent for a in (row, *tile.full)))
        start = None if first_row.op == "const" else first_row

        def rows(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
            for one in reversed(tile.full):
                body = (For(one, body),)
            return (For(row, body, start),) if tile.step > 1 else body

        if _transposed(tile):
            lane = Axis("lane.", tile.width)
            skip = None if self.first_lane.op == "const" else self.first_lane
            return (For(lane, rows(self._writes(at, number, axis_expr(lane), 1)), skip),)
        panels = self._panel_loop if self.late else lambda body: body
        whole = self._columns(at, number)
        if self.first_lane.op == "const":
            return rows(panels(whole))
        lane = Axis("edge_lane.", tile.width)
        edge = (For(lane, self._writes(at, number, axis_expr(lane), 1), self.first_lane),)
        return rows(panels((If(simplify(self.first_lane < 1), whole, edge),)))

    def _columns(self, at: dict[Axis, Expr], number: Expr) -> tuple[Stmt, ...]:
        """A full row of the tile: vectors, then single lanes."""
        tile = self.tile
        vectors, rest = divmod(tile.width, tile.lanes)
        body: list[Stmt] = []
        part = Axis("vector.", vectors)
        writes = self._writes(at, number, axis_expr(part) * tile.lanes, tile.lanes)
        body += [For(part, writes)] if vectors > 1 else writes
        if rest:
            lane = Axis("last_lane.", rest)
            body.append(For(lane, self._writes(at, number, axis_expr(lane) + vectors * tile.lanes, 1)))
        return tuple(body)

    def _writes(self, at: dict[Axis, Expr], number: Expr, lane: Expr, lanes: int) -> tuple[Stmt, ...]:
        """All writes at one row and `lanes` positions. Values first, then stores: an output may lie where
        an input of the same element does."""
        tile = self.tile
        position = simplify(lane + ramp(lanes))
        place = {**at, tile.vector_axis: simplify(at[tile.vector_axis] + position)}
        if self.splits > 1:
            place[Axis("part.", self.splits)] = self.part
        total = element("tile.", simplify(number * self.pitch + self._panel_in_tile() + position), self.dtype)
        name = self.contraction.state.name
        writes = [with_sum(placed(w, place), name, total) for w in self.contraction.writes]
        if len(writes) == 1:
            return tuple(Store(w.value, w.index[0], w.expr, w.guard) for w in writes)
        values = [Declare(f"out{next(self._counter)}.", w.expr.dtype, w.expr, lanes) for w in writes]
        return (*values, *(Store(w.value, w.index[0], variable(v.name, v.dtype), w.guard)
                           for w, v in zip(writes, values)))


def _start(number: Expr, step: int, extent: int) -> Expr:
    """Where tile `number` starts: the last one overlaps its neighbour if the extent is no multiple of the step."""
    start = simplify(number * step)
    return start if extent % step == 0 else simplify(minimum(start, const(extent - step)))

