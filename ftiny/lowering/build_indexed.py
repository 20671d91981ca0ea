"""Loop nests of the anchors that write where the data says: sort and scatter.

Input: a `GroupReader` of a group with one such equation. Output: (nest, variables of its arguments) pairs in order of
execution. Both are deterministic: a sort writes each element at its rank, a scatter applies its updates in order.

Worked example, sort of f32[4]: the rank of an element is the number of elements before it,

    nest sort_4 grid(i0:4)
      fold(j0:4)  s0 = s0 + (a0[j0] < a0[i0] or (a0[j0] == a0[i0] and j0 < i0))
      map()       a1[s0] = a0[i0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftiny.core import Var
from ftiny.lowering.expr import (
    BOOL,
    INDEX,
    Axis,
    Expr,
    add,
    cast,
    compare,
    const,
    logical_and,
    logical_not,
    logical_or,
    math,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.loops import Fold, LoopNest, Map, Value, Write, other_element

if TYPE_CHECKING:
    from ftiny.lowering.build import GroupReader

Nests = list[tuple[LoopNest, tuple[Var, ...]]]


def build_sort(reader: GroupReader) -> Nests:
    """Every element goes to its rank; ties keep their order, so the sort is always stable."""
    number = reader.group.folds[0].number
    eqn = reader.eqns[number]
    along, shape = eqn.params["axis"], eqn.inputs[0].aval.shape
    grid = tuple(Axis(f"i{k}", n) for k, n in enumerate(shape))
    other = Axis("j0", shape[along])
    here = tuple(map(axis_expr, grid))
    there = (*here[:along], axis_expr(other), *here[along + 1:])
    keys = eqn.inputs[: eqn.params["num_keys"]]
    pairs = [(reader.element(k, there), reader.element(k, here)) for k in keys]
    first = _precedes(pairs, there[along] < here[along])
    count = Value("s0", (), np.dtype(np.int32), scope="register")
    step = add(count[()], cast(first, count.dtype))
    fold = Fold((), (other,), (count,), (const(0, count.dtype),), (step,), (add(count[()], other_element(count)),))
    place = (*here[:along], cast(count[()], INDEX), *here[along + 1:])
    writes = []
    for source, target in zip(eqn.inputs, eqn.outputs):
        element = reader.element(source, here)
        writes.append(Write(reader.argument(target).name, place, element))
    name = "sort_" + "x".join(map(str, shape))
    nest = LoopNest(name, grid, tuple(reader.arguments.values()), (), (fold, Map((), tuple(writes))), (number,))
    return [(nest, tuple(reader.arguments))]


def _precedes(pairs: list[tuple[Expr, Expr]], earlier: Expr) -> Expr:
    """Whether one element sorts before another by (left, right) keys in turn; `earlier` breaks ties."""
    result = earlier
    for left, right in reversed(pairs):
        less, same = _less(left, right)
        result = logical_or(less, logical_and(same, result))
    return result


def _less(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """(x before y, x level with y) in the order that puts NaN last."""
    if x.dtype == BOOL:
        x, y = (cast(v, np.dtype(np.int32)) for v in (x, y))
    less, same = compare("lt", x, y), compare("eq", x, y)
    if x.dtype.kind in "iu":
        return less, same
    nan_x, nan_y = math("is_nan", x), math("is_nan", y)
    return logical_or(less, logical_and(logical_not(nan_x), nan_y)), logical_or(same, logical_and(nan_x, nan_y))


def build_scatter(reader: GroupReader) -> Nests:
    raise NotImplementedError
