"""Scatters of rows on a CPU: every worker owns a range of the rows.

Input: a scatter as `Rows` (schedule_scatter.py). Output: one kernel, or nothing where rows are short. A worker writes
the start of its rows, then goes through all indices and takes in the updates that are its own, in their order: the
sums have the bits of a loop, whatever the number of cores. A range is about as large as stays in a core's cache, so
every update is read once from memory and every result written once; looking at all the indices costs little beside
rows of `SHORTEST` elements or more. (Cutting the columns as well would keep all cores at work where all updates go to
one row, but halves of rows are read at half the speed.)

Worked example, zeros(8192, 768).at[ids].add(dy) with 8192 ids on 2 cores: 8 ranges of 1024 rows, 3 MB each.
"""

from __future__ import annotations

from collections.abc import Callable

from ftiny.lowering.expr import INDEX, Axis, Expr, cast, const, logical_and, maximum, minimum, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify
from ftiny.lowering.kernel import Declare, For, If, Stmt, Store, element, group, ramp
from ftiny.lowering.schedule import Scheduled
from ftiny.lowering.schedule_body import Names
from ftiny.lowering.schedule_generic import Context
from ftiny.lowering.schedule_scatter import I32, Rows

SHORTEST = 16          # elements of a row
RANGE_BYTES = 4 << 20
ELEMENTS_PER_KEY = 8   # so many elements of a row cost what looking at an index costs


def schedule_ranges(rows: Rows) -> Scheduled | None:
    """The kernel of a scatter of long rows, None for others."""
    if not rows.columns_last or rows.width < SHORTEST:
        return None
    lanes = min(Context(rows.nest, rows.capabilities).lanes(), 1 << (rows.columns[-1].extent.bit_length() - 1))
    length = -(-rows.places // _ranges(rows))
    ranges = -(-rows.places // length)
    rows.kernel("ranges", ranges, 1, _Range(rows, lanes, length).statements(group(0, ranges)), rows.traffic())
    return Scheduled(tuple(rows.kernels), tuple(rows.scratch))


def _ranges(rows: Rows) -> int:
    """How many ranges: some to each core, so that all have work to the end; but each looks at every index."""
    units = rows.capabilities.compute_units
    wanted = max(4 * units, rows.places * rows.width * rows.wide.itemsize // RANGE_BYTES)
    affordable = rows.width * (rows.places + rows.count) // (ELEMENTS_PER_KEY * rows.count)
    return min(rows.places, wanted, max(affordable, units))


class _Range:
    """The statements of one worker, for `length` rows."""

    def __init__(self, rows: Rows, lanes: int, length: int) -> None:
        self.rows, self.lanes, self.length = rows, lanes, length
        self.names = Names({"position", "key", "row"})
        # Sums of 16-bit floats are held in float32 until all updates are in.
        self.held = rows.target.dtype != rows.wide
        size = rows.places * rows.width
        self.buffer = rows.array("sums", size, rows.wide) if self.held else rows.target.name

    def statements(self, worker: Expr) -> list[Stmt]:
        """Start, updates and, where sums were held, results."""
        rows = self.rows
        first = simplify(worker * self.length)
        stop = simplify(minimum(const(self.length), const(rows.places) - first))
        one, last = Axis("row", self.length), Axis("finished", self.length)
        key, position = variable("key", I32), Axis("position", rows.count)
        row = maximum(cast(key, INDEX), const(0))
        mine = logical_and(key >= cast(first, I32), key < cast(first + stop, I32))
        started = simplify(first + axis_expr(one))
        body: list[Stmt] = [
            For(one, tuple(self._columns(lambda c: self._store(started, c, rows.start(started, c)))), stop=stop),
            For(position, (
                Declare("key", I32, rows.key(axis_expr(position))),
                If(mine, tuple(self._columns(lambda c: self._update(row, axis_expr(position), c)))))),
        ]
        if self.held:
            finished = simplify(first + axis_expr(last))
            body.append(For(last, tuple(self._columns(lambda c: self._finish(finished, c))), stop=stop))
        return body

    def _columns(self, each: Callable[[dict[Axis, Expr]], Stmt]) -> list[Stmt]:
        """A statement for all columns of a row, in vectors and what is left of them."""
        *outer, inner = self.rows.columns
        chunk = Axis(self.names.fresh("chunk"), inner.extent // self.lanes)
        points = {a: axis_expr(Axis(self.names.fresh(a.name), a.extent)) for a in outer}
        index = simplify(axis_expr(chunk) * self.lanes + ramp(self.lanes))
        body: list[Stmt] = [For(chunk, (each({**points, inner: index}),))]
        if inner.extent % self.lanes:
            rest = Axis(self.names.fresh("rest"), inner.extent)
            begin = const(chunk.extent * self.lanes)
            body.append(For(rest, (each({**points, inner: axis_expr(rest)}),), start=begin))
        for point in reversed([p for p in points.values() if p.op == "axis"]):
            body = [For(point.attr, tuple(body))]
        return body

    def _store(self, row: Expr, columns: dict[Axis, Expr], value: Expr) -> Stmt:
        return Store(self.buffer, self.rows.offset(row, columns), value)

    def _update(self, row: Expr, position: Expr, columns: dict[Axis, Expr]) -> Stmt:
        rows = self.rows
        old = element(self.buffer, rows.offset(row, columns), rows.wide)
        return self._store(row, columns, rows.combine(old, rows.update(position, columns)))

    def _finish(self, row: Expr, columns: dict[Axis, Expr]) -> Stmt:
        rows = self.rows
        offset = rows.offset(row, columns)
        return Store(rows.target.name, offset, cast(element(self.buffer, offset, rows.wide), rows.target.dtype))
