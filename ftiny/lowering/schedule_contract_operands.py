"""Operands of contractions as strided arrays: read in place where possible, otherwise materialised first.

Input: an operand's expression over the axes of a `Contraction`. Output: an `Operand`, an element offset that
is linear in the axes, so that a register tile is loads at constant distances. An operand that is anything but
a plain load (a relu mask, a cast, a gather, the padding of a window) is computed once per distinct element
into a scratch array by a nest of its own.

Worked example, the input gradient of a 3x3 convolution over 26 positions, padded by 2:

    left = dy[n, h - r + 2 if 0 <= h - r + 2 < 26 else 0.0, o]       n, h: rows; r, o: depth
    h and r occur only as h - r, so they are one coordinate u = h - r + 2 with 30 values:
    nest:    map(n, u:30, o) lhs[n, u, o] = dy[n, u - 2 if 0 <= u - 2 < 26 else 0.0, o]
    Operand: lhs at n*30*64 + h*64 - r*64 + o + 2*64: every distinct element is evaluated once
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ftiny.lowering.expr import Axis, Expr, add, axes_of, const, loads, mul, substitute
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import from_terms, simplify, strides_of, terms_of, unflatten
from ftiny.lowering.loops import LoopNest, Map, Value, Write
from ftiny.lowering.schedule_contract import Contraction, axis_terms, index_forms, linear


@dataclass(frozen=True)
class Operand:
    """Element `constant` + sum of stride * axis of the array `value`, stored in the arithmetic's dtype.

    `nest` fills the array where it is scratch; `elements` is how many it computes.
    """

    value: Value
    strides: dict[Axis, int]
    constant: int
    nest: LoopNest | None = None
    elements: int = 0

    def stride(self, axis: Axis) -> int:
        """Elements between neighbours along `axis`."""
        return self.strides.get(axis, 0)

    def offset(self, place: Mapping[Axis, Expr]) -> Expr:
        """The element offset with every axis at its place (axes without one at 0)."""
        terms = [mul(at, const(self.strides[a])) for a, at in place.items() if self.stride(a)]
        return simplify(sum_of([*terms, const(self.constant)]))


@dataclass(frozen=True)
class Coordinate:
    """A coordinate of a materialised operand: `axis` plus `low` is the sum of coefficient * axis over `parts`."""

    axis: Axis
    parts: dict[Axis, int]
    low: int


def direct(expr: Expr, contraction: Contraction) -> Operand | None:
    """The operand as it lies in memory, or None if it is not a plain load of the right dtype at a linear offset."""
    flat = linear((expr,), contraction.nest)[0]
    if flat.op != "load" or flat.attr[1] != 1 or len(flat.args) != 1:
        return None
    value = contraction.nest.value(flat.attr[0])
    terms, constant = terms_of(flat.args[0])
    if value.storage != contraction.state.dtype or any(atom.op != "axis" for atom in terms):
        return None
    return Operand(value, {atom.attr: c for atom, c in terms.items()}, constant)


def materialised(expr: Expr, contraction: Contraction, name: str, last: Axis | None = None) -> Operand:
    """The operand in a scratch array of its own, in its source's order of axes; the coordinate with the axis
    `last`, if given, is the contiguous one."""
    expr = simplify(expr)
    coordinates, inner = _coordinates(expr, [*contraction.grid, *contraction.depth])
    coordinates.sort(key=lambda c: (last in c.parts, *_source_order(c, inner, contraction)))
    nest = contraction.nest
    value = Value(f"{nest.name}_{name}", tuple(c.axis.extent for c in coordinates), contraction.state.dtype,
                  scope="global")
    used = {node.attr[0] for node in loads((inner,))}
    arguments = [v for v in nest.arguments if v.name in used]
    written = Value(value.name, value.shape, value.dtype)
    grid = tuple(c.axis for c in coordinates)
    pack = LoopNest(value.name, grid, (*arguments, written), (),
                    (Map((), (Write(value.name, tuple(map(axis_expr, grid)), inner),)),), nest.equations)
    strides: dict[Axis, int] = {}
    constant = 0
    for coordinate, step in zip(coordinates, strides_of(value.shape)):
        constant -= coordinate.low * step
        strides.update((a, c * step) for a, c in coordinate.parts.items())
    return Operand(value, strides, constant, pack, math.prod(value.shape))


def _source_order(coordinate: Coordinate, expr: Expr, contraction: Contraction) -> tuple[int, ...]:
    """Sorts coordinates as they lie in the largest array that the expression reads: big strides first."""
    nodes = loads((expr,))
    if not nodes:
        return (0,)
    largest = max(nodes, key=lambda node: math.prod(contraction.nest.value(node.attr[0]).shape))
    offset = linear((largest,), contraction.nest)[0].args[0]
    return (-abs(axis_terms(offset).get(coordinate.axis, 0)),)


def _coordinates(expr: Expr, axes: list[Axis]) -> tuple[list[Coordinate], Expr]:
    """The coordinates that the expression depends on, and the expression over them.

    Axes that occur only in one and the same combination become one coordinate.
    """
    found: list[Coordinate] = []
    waiting = [a for a in axes if a in axes_of((expr,))]
    for form in sorted(index_forms((expr,)), key=len, reverse=True):
        parts = {a: c for a, c in form.items() if a in waiting}
        if len(parts) < 2:
            continue
        common = math.gcd(*parts.values())
        parts = {a: c // common for a, c in parts.items()}
        merged = _combined(expr, parts)
        if merged is not None:
            coordinate, expr = merged
            found.append(coordinate)
            waiting = [a for a in waiting if a not in parts]
    return [*found, *(Coordinate(a, {a: 1}, 0) for a in waiting)], expr


def _combined(expr: Expr, parts: dict[Axis, int]) -> tuple[Coordinate, Expr] | None:
    """The combination as one coordinate, if the expression depends on its axes in no other way and it takes
    fewer values than they do."""
    pivot = next((a for a, c in parts.items() if abs(c) == 1), None)
    if pivot is None:
        return None
    low = sum(min(0, c * (a.extent - 1)) for a, c in parts.items())
    extent = 1 + sum(abs(c) * (a.extent - 1) for a, c in parts.items())
    if extent > math.prod(a.extent for a in parts):
        return None
    joined = Axis("_".join(a.name for a in parts), extent)
    others = {axis_expr(a): -c * parts[pivot] for a, c in parts.items() if a is not pivot}
    value = from_terms({axis_expr(joined): parts[pivot], **others}, low * parts[pivot])
    replaced = simplify(substitute((expr,), {pivot: value})[0])
    if axes_of((replaced,)) & set(parts):
        return None
    return Coordinate(joined, parts, low), replaced


# --------------------------------------------------------------------------- joining axes


def joined_axes(axes: Iterable[Axis], forms: list[dict[Axis, int]]) -> list[tuple[Axis, ...]]:
    """Partition the axes into tuples that every form walks like one row-major index (outer first)."""
    groups: list[tuple[Axis, ...]] = [(a,) for a in axes]
    changed = True
    while changed:
        changed = False
        for outer in groups:
            for inner in groups:
                if outer is not inner and _joins(outer, inner, forms):
                    groups[groups.index(outer)] = (*outer, *inner)
                    groups.remove(inner)
                    changed = True
                    break
            if changed:
                break
    return groups


def _joins(outer: tuple[Axis, ...], inner: tuple[Axis, ...], forms: list[dict[Axis, int]]) -> bool:
    extent = math.prod(a.extent for a in inner)
    return all(form.get(outer[-1], 0) == form.get(inner[-1], 0) * extent for form in forms)


def join(contraction: Contraction, left: Operand, right: Operand) -> tuple[Contraction, Operand, Operand]:
    """The same contraction over fewer axes: neighbours that all operands and writes walk like one are one."""
    forms = [left.strides, right.strides, *index_forms(root for w in contraction.writes for root in w.roots())]
    forms += [axis_terms(offset) for w in contraction.writes for offset in w.index]
    place: dict[Axis, Expr] = {}
    classes = []
    for axes in (contraction.batch, contraction.rows, contraction.columns, contraction.depth):
        kept = []
        for group in joined_axes(axes, forms):
            if len(group) == 1:
                kept.append(group[0])
                continue
            whole = Axis("_".join(a.name for a in group), math.prod(a.extent for a in group))
            place.update(unflatten(axis_expr(whole), group))
            left, right = _joined(left, group, whole), _joined(right, group, whole)
            kept.append(whole)
        classes.append(tuple(kept))
    if not place:
        return contraction, left, right
    batch, rows, columns, depth = classes
    joined = replace(contraction, batch=batch, rows=rows, columns=columns, depth=depth,
                     writes=tuple(placed(w, place) for w in contraction.writes))
    return joined, left, right


def placed(write: Write, place: Mapping[Axis, Expr]) -> Write:
    """The write with axes replaced by expressions, simplified."""
    index, expr, *guard = map(simplify, substitute(write.roots(), place))
    return replace(write, index=(index,), expr=expr, guard=guard[0] if guard else None)


def _joined(operand: Operand, group: tuple[Axis, ...], whole: Axis) -> Operand:
    strides = {a: c for a, c in operand.strides.items() if a not in group}
    if operand.stride(group[-1]):
        strides[whole] = operand.stride(group[-1])
    return replace(operand, strides=strides)


def sum_of(terms: Iterable[Expr]) -> Expr:
    """The sum of index expressions; 0 for none."""
    total = const(0)
    for term in terms:
        total = add(total, term)
    return total
