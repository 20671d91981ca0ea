"""Transpositions on a CPU: tiles that fit the first-level cache are turned there.

Input: the maps of one phase, in which some array is read along another axis than the one along which results are
written. Output: loop nests that are scheduled like any other, or None where nothing is read across. The first nest has
a grid of tiles: it copies what is read across into a tile of its own, by whole cache lines, and computes the results
from there; what does not fill a tile at the ends of the two axes is left to further nests, without tiles.

Worked example, y[i, j] = x[j, i] + 1 for 100 x 2048, tiles of 64 x 64:

    nest 1: grid (i.tiles: 1, j.tiles: 32); t[b, a] = x[j.tiles*64 + b, i.tiles*64 + a] for b, a: 64;
            then y[i.tiles*64 + a, j.tiles*64 + b] = t[b, a] + 1 for a, b: 64
    nest 2: the rows 64 to 99 of y, without tiles

Without tiles every vector of y gathers from as many cache lines of x as it has lanes, each of which is fetched again
for the next row: 4 to 5 times as slow as the peers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ftiny.lowering.expr import Axis, Expr, load, loads, substitute, transform
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient
from ftiny.lowering.loops import LoopNest, Map, Stage, Value, Write
from ftiny.lowering.schedule_body import Converter
from ftiny.lowering.schedule_merge import moved_stage, plain_places

if TYPE_CHECKING:
    from ftiny.lowering.schedule_generic import Context

LINE_BYTES = 64  # of a cache line
ROW_BYTES = 256  # of a tile's row: four lines, so that a 64 x 64 tile of float32 takes half of a first-level cache
MIN_ELEMENTS = 1 << 14  # smaller arrays stay in the cache anyhow
MOST_ACROSS = 4  # arrays that are turned


def cut_tiles(context: Context, stages: tuple[Stage, ...]) -> tuple[LoopNest, ...] | None:
    """The nest of tiles and those of the rest, or None."""
    nest = context.nest
    if math.prod(a.extent for a in nest.grid) < MIN_ELEMENTS or not all(_is_plain(s, nest) for s in stages):
        return None
    maps = [s for s in stages if isinstance(s, Map)]
    convert = Converter(plain_places(nest))
    along = _written_along(nest, maps, convert)
    across = _read_across(nest, maps, convert, along) if along is not None else {}
    if along is None or not across:
        return None
    (other,) = {axis for axis in across.values()}
    widest = max(nest.value(node.attr[0]).memory.itemsize for node in across)
    size = min(ROW_BYTES // widest, 1 << (min(along.extent, other.extent).bit_length() - 1))
    if size * widest < LINE_BYTES // 2:
        return None
    covered = {axis: axis.extent // size * size for axis in (along, other)}
    rest = [_part(nest, maps, {other: (covered[other], other.extent)}),
            _part(nest, maps, {other: (0, covered[other]), along: (covered[along], along.extent)})]
    return (_tiled(nest, maps, along, other, size, list(across)), *(part for part in rest if part is not None))


def _is_plain(stage: Stage, nest: LoopNest) -> bool:
    """Whether a stage is a map of single elements, written to memory where they stand."""
    return isinstance(stage, Map) and not stage.axes and all(
        w.update is None and nest.value(w.value).scope in ("argument", "global") for w in stage.writes)


def _written_along(nest: LoopNest, maps: Iterable[Map], convert: Converter) -> Axis | None:
    """The axis along which all results are contiguous, if there is one."""
    offsets = [convert.offset(w.index, convert.places[w.value]) for m in maps for w in m.writes]
    found = [a for a in nest.grid if a.extent > 1 and all(coefficient(o, axis_expr(a)) == 1 for o in offsets)]
    return found[0] if len(found) == 1 else None


def _read_across(nest: LoopNest, maps: Iterable[Map], convert: Converter, along: Axis) -> dict[Expr, Axis]:
    """The loads that are contiguous along one other axis, the same for all, and far apart along `along`."""
    found: dict[Expr, Axis] = {}
    written = {w.value for m in maps for w in m.writes}
    for node in loads([e for m in maps for w in m.writes for e in w.roots()]):
        if not node.attr[1] or node.attr[0] in written or len(node.args) > node.attr[1]:
            continue
        offset = convert.offset(node.args, convert.places[node.attr[0]])
        step = coefficient(offset, axis_expr(along))
        if step is None or abs(step) < LINE_BYTES // nest.value(node.attr[0]).memory.itemsize:
            continue
        axes = [a for a in nest.grid if a.extent > 1 and a is not along and coefficient(offset, axis_expr(a)) == 1]
        if len(axes) == 1:
            found[node] = axes[0]
    return found if len(set(found.values())) == 1 and len(found) <= MOST_ACROSS else {}


def _tiled(nest: LoopNest, maps: Iterable[Map], along: Axis, other: Axis, size: int, across: list[Expr]) -> LoopNest:
    """The nest of whole tiles."""
    tiles = {axis: Axis(f"{axis.name}.tiles", axis.extent // size) for axis in (along, other)}
    inside = {axis: Axis(f"{axis.name}.inside", size) for axis in (along, other)}
    places = {axis: axis_expr(tiles[axis]) * size + axis_expr(inside[axis]) for axis in (along, other)}
    here = (inside[along], inside[other])
    values, copies = [], []
    for number, node in enumerate(across):
        value = Value(f"{node.attr[0]}.tile{number}", (size, size), node.dtype, node.dtype, "register")
        values.append(value)
        moved = substitute((node,), places)[0]
        copies.append(Map(here, (Write(value.name, tuple(map(axis_expr, here)), moved),)))
    turned = dict(zip(across, (load(v.name, tuple(map(axis_expr, here)), v.dtype) for v in values)))
    results = [Map((here[1], here[0]), tuple(_written(w, turned, places) for w in m.writes)) for m in maps]
    grid = tuple(tiles.get(a, a) for a in nest.grid)
    return LoopNest(nest.name, grid, nest.arguments, (*nest.values, *values), (*copies, *results), nest.equations)


def _written(write: Write, turned: Mapping[Expr, Expr], places: Mapping[Axis, Expr]) -> Write:
    """A write with the loads in `turned` replaced, and then the axes in `places`."""
    roots = transform(write.roots(), lambda node, args: turned.get(node))
    roots = substitute(roots, places)
    rank = len(write.index)
    return Write(write.value, tuple(roots[:rank]), roots[rank], None if write.guard is None else roots[rank + 1])


def _part(nest: LoopNest, maps: Iterable[Map], ranges: Mapping[Axis, tuple[int, int]]) -> LoopNest | None:
    """The nest over a part of some axes, or None if there is nothing in it."""
    if any(start == stop for start, stop in ranges.values()):
        return None
    shorter = {axis: Axis(f"{axis.name}.rest", stop - start) for axis, (start, stop) in ranges.items()}
    mapping = {axis: axis_expr(shorter[axis]) + start for axis, (start, _) in ranges.items()}
    grid = tuple(shorter.get(a, a) for a in nest.grid)
    return replace(nest, grid=grid, stages=tuple(moved_stage(m, mapping) for m in maps))
