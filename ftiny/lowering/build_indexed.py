"""Loop nests of the anchors that write where the data says: sort and scatter.

Input: a `GroupReader` of a group with one such equation. Output: (nest, variables of its arguments) pairs in order of
execution. Both are deterministic: a sort writes each element at its rank, a scatter applies its updates in order,
unless the user says `unordered`.

Worked example, sort of f32[4]: the rank of an element is the number of elements before it,

    nest sort_4 grid(i0:4)
      fold(j0:4)  s0 = s0 + (a0[j0] < a0[i0] or (a0[j0] == a0[i0] and j0 < i0))
      map()       a1[s0] = a0[i0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftiny.core import Eqn, Var
from ftiny.indexing import batch_axes, window_axes
from ftiny.lowering.expr import (
    BOOL,
    INDEX,
    Axis,
    Expr,
    add,
    cast,
    compare,
    const,
    is_const,
    logical_and,
    logical_not,
    logical_or,
    math,
    maximum,
    minimum,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify
from ftiny.lowering.loops import Fold, LoopNest, Map, Scatter, Value, Write, other_element

if TYPE_CHECKING:
    from ftiny.lowering.build import GroupReader

Nests = list[tuple[LoopNest, tuple[Var, ...]]]


def build_sort(reader: GroupReader) -> Nests:
    """Every element goes to its rank; ties keep their order, so the sort is always stable. Long axes are sorted
    otherwise (schedule_sort.py), with the same result."""
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
    fold = Fold((), (other,), (count,), (const(0, count.dtype),), (step,), (add(count[()], other_element(count)),),
                atom=f"rank:{len(keys)}")
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


# -------------------------------------------------------------------------------------------- scatter


def build_scatter(reader: GroupReader) -> Nests:
    """One nest with a `Scatter`: the operand's elements are its start, the updates run over their batch axes,
    then over their windows."""
    number = reader.group.folds[0].number
    eqn = reader.eqns[number]
    updates, out, params = eqn.inputs[2].aval, eqn.outputs[0], eqn.params
    form = params["dims"].as_gather()
    axes = tuple(Axis(f"i{k}", n) for k, n in enumerate(out.aval.shape))
    updated = tuple(Axis(f"u{k}", n) for k, n in enumerate(updates.shape))
    point = tuple(map(axis_expr, updated))
    place, inside = _scatter_point(reader, eqn, point)
    op = {"min": "minimum", "max": "maximum", "set": None}.get(params["op"], params["op"])
    target = reader.argument(out)
    update = reader.element(eqn.inputs[2], point)
    write = Write(target.name, place, update, None if is_const(inside, True) else inside, op)
    start = reader.element(eqn.inputs[0], tuple(map(axis_expr, axes)))
    over = tuple(updated[k] for k in (*batch_axes(form, updates.ndim), *form.offset_dims))
    scatter = Scatter(axes, start, over, write, _scatter_order(eqn, op))
    name = f"scatter_{params['op']}_{'x'.join(map(str, updates.shape))}"
    nest = LoopNest(name, (), tuple(reader.arguments.values()), (), (), (number,), scatter)
    return [(nest, tuple(reader.arguments))]


def _scatter_order(eqn: Eqn, op: str | None) -> str:
    """What is known of updates that meet: see `Scatter`."""
    x, indices, updates = (atom.aval for atom in eqn.inputs)
    params, form = eqn.params, eqn.params["dims"].as_gather()
    batch = batch_axes(form, updates.ndim)
    apart = {batch[k] for k in form.start_indices_batching_dims}
    if params["unique_indices"] or all(k in apart or updates.shape[k] == 1 for k in batch):
        return "apart"
    if op is not None and (x.dtype.kind in "iu" or params["unordered"]):
        return "any"
    # Of vectors of starts we could not tell whether their places are sorted, nor of windows that overlap.
    simple = len(form.start_index_map) == 1 and not apart and form.start_index_map[0] not in window_axes(form, x.ndim)
    return "sorted" if params["indices_are_sorted"] and simple and indices.dtype.kind == "i" else "kept"


def _scatter_point(reader: GroupReader, eqn: Eqn, point: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], Expr]:
    """Where the update at `point` goes, and whether it goes anywhere."""
    x, _, updates = (atom.aval for atom in eqn.inputs)
    form, mode = eqn.params["dims"].as_gather(), eqn.params["mode"]
    batch = [point[k] for k in batch_axes(form, updates.ndim)]
    kept = window_axes(form, x.ndim)
    sizes = {axis: updates.shape[place] for axis, place in zip(kept, form.offset_dims)}
    place: list[Expr] = [const(0)] * x.ndim
    for axis, k in zip(form.operand_batching_dims, form.start_indices_batching_dims):
        place[axis] = batch[k]
    inside = const(True, BOOL)
    for k, axis in enumerate(form.start_index_map):
        start = cast(reader.element(eqn.inputs[1], (*batch, const(k))), INDEX)
        last = const(x.shape[axis] - sizes.get(axis, 1))
        if mode == "clip":
            start = minimum(maximum(start, const(0)), last)
        elif mode == "fill":
            inside = logical_and(inside, start >= 0, start <= last)
        place[axis] = start
    for axis, at in zip(kept, form.offset_dims):
        place[axis] = place[axis] + point[at]
    return tuple(map(simplify, place)), inside
