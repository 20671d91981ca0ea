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

from ftiny.core import Atom, Eqn, Var
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
    loads,
    logical_and,
    logical_not,
    logical_or,
    math,
    maximum,
    minimum,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify
from ftiny.lowering.loops import Fold, LoopNest, Map, Value, Write, apply_op, other_element, stage_roots

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
    """A copy of the operand, then the updates in order.

    Window axes and batching axes reach different elements, so they run in parallel; along the other axes updates may
    meet, so one worker takes them in turn. Updates that cannot meet, or whose order cannot be told from the result,
    all run in parallel.
    """
    number = reader.group.folds[0].number
    eqn = reader.eqns[number]
    x, indices, updates = (atom.aval for atom in eqn.inputs)
    out, params = eqn.outputs[0], eqn.params
    axes = tuple(Axis(f"u{k}", n) for k, n in enumerate(updates.shape))
    point = tuple(map(axis_expr, axes))
    place, inside = _scatter_point(reader, eqn, point)
    target = reader.argument(out)
    update = reader.element(eqn.inputs[2], point)
    op = {"min": "minimum", "max": "maximum"}.get(params["op"], params["op"])
    value = update if op == "set" else apply_op(op, target[place], update)
    form = params["dims"].as_gather()
    batch = batch_axes(form, updates.ndim)
    apart = {batch[k] for k in form.start_indices_batching_dims}
    serial = tuple(axes[k] for k in batch if k not in apart and axes[k].extent > 1)
    name = f"scatter_{params['op']}_{'x'.join(map(str, updates.shape))}"
    if params["unique_indices"] or not serial:
        stage: Map | Fold = Map((), (Write(target.name, place, value, inside),))
        grid = axes
    elif x.dtype.kind in "iu" and x.dtype.itemsize == 4 and op in ("add", "minimum", "maximum"):
        stage = Map((), (Write(target.name, place, update, inside, update=op),))
        grid = axes
    else:
        turn = Value("s0", (), np.dtype(np.int32), scope="register")
        emit = (Write(target.name, place, value, inside),)
        stage = Fold((), serial, (turn,), (const(0, turn.dtype),), (turn[()],), None, emit=emit)
        grid = tuple(a for a in axes if a not in serial)
    return [_copy_nest(reader, number, eqn.inputs[0], out), _nest(reader, name, grid, stage, number)]


def _nest(reader: GroupReader, name: str, grid: tuple[Axis, ...], stage: Map | Fold, number: int) -> tuple:
    """A nest of one stage with those of the reader's arguments that it uses."""
    writes = stage.writes if isinstance(stage, Map) else stage.emit
    used = {w.value for w in writes} | {node.attr[0] for node in loads(stage_roots(stage))}
    pairs = [(value, var) for var, value in reader.arguments.items() if value.name in used]
    nest = LoopNest(name, grid, tuple(value for value, _ in pairs), (), (stage,), (number,))
    return nest, tuple(var for _, var in pairs)


def _copy_nest(reader: GroupReader, number: int, source: Atom, out: Var) -> tuple:
    grid = tuple(Axis(f"i{k}", n) for k, n in enumerate(out.aval.shape))
    index = tuple(map(axis_expr, grid))
    stage = Map((), (Write(reader.argument(out).name, index, reader.element(source, index)),))
    return _nest(reader, "copy_" + "x".join(map(str, out.aval.shape)), grid, stage, number)


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
