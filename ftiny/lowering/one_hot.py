"""Scatters of one element a row, as comparisons: the gradient of picking one element of each row.

Input: a scatter into an array of one number whose update positions are told apart by axes of the result. Output: the
equations of a selection, which is elementwise and fuses with what reads it, where a scatter is a pass of its own over
an array in memory; or None where an element of the result may get more than one update.

Worked example, the gradient of the mean of `take_along_axis(x, labels[:, None], 1)` for f32[64,577]:

    scatter[op=add] zeros labels -0.0156     ->     select (labels[:, None] == iota(axis=1)) -0.0156 0.0

An axis of the positions is told apart by an axis of the result if it is a batching axis, or if a part of the index
vectors is its iota, as in `x[arange(n), labels]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftiny.core import Atom, Aval, Var, literal
from ftiny.indexing import ScatterDims, window_axes

if TYPE_CHECKING:
    from ftiny.lowering.simplify import _Builder as Builder

_JOIN = {"add": "add", "mul": "mul"}


def scatter_rule(builder: Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    """The selection that stands for a scatter, or None."""
    (x, indices, updates), dims = inputs, params["dims"]
    splat = builder.splat(x)
    if splat is None or params["op"] not in ("set", *_JOIN) or 0 in aval.shape:
        return None
    placed = _axes_of_positions(builder, dims, indices, aval.shape)
    if placed is None or not _whole_windows(dims, updates.aval, aval):
        return None
    at, starts = placed
    hit: Atom | None = None
    for axis, start in starts:
        start = _inside(builder, start, aval.shape[axis], params["mode"])
        number = builder.apply("iota", shape=aval.shape, dtype=start.aval.dtype, axis=axis)
        here = builder.apply("compare", _spread(builder, start, at, aval.shape), number, dir="eq")
        hit = here if hit is None else builder.apply("bitwise", hit, here, op="and")
    values = _values(builder, updates, dims, at, aval)
    if params["op"] in _JOIN:
        values = builder.apply(_JOIN[params["op"]], splat, values)
    return values if hit is None else builder.apply("select", hit, values, splat)


def _whole_windows(dims: ScatterDims, updates: Aval, x: Aval) -> bool:
    """Whether every window is as large as the result along its axes, so that it starts at 0."""
    kept = window_axes(dims.as_gather(), x.ndim)
    return all(updates.shape[place] == x.shape[axis] for axis, place in zip(kept, dims.update_window_dims)) and not (
        set(kept) & set(dims.scatter_dims_to_operand_dims))


def _axes_of_positions(builder: Builder, dims: ScatterDims, indices: Atom,
                       shape: tuple[int, ...]) -> tuple[dict[int, int], list[tuple[int, Atom]]] | None:
    """(axis of the positions -> axis of the result that tells it apart, [(axis of the result, its starts)]); None if
    some axis of more than one position is not told apart."""
    batch = indices.aval.shape[:-1]
    at = {b: a for a, b in zip(dims.operand_batching_dims, dims.scatter_indices_batching_dims)}
    starts: list[tuple[int, Atom]] = []
    for number, axis in enumerate(dims.scatter_dims_to_operand_dims):
        start = _component(builder, indices, number)
        along = _iota_axis(builder, start)
        if along is not None and along not in at and batch[along] == shape[axis]:
            at[along] = axis
        else:
            starts.append((axis, start))
    if any(n > 1 and k not in at for k, n in enumerate(batch)) or any(batch[k] != shape[a] for k, a in at.items()):
        return None
    return at, starts


def _component(builder: Builder, indices: Atom, number: int) -> Atom:
    """One number of every index vector."""
    batch = indices.aval.shape[:-1]
    joined = builder.made_by(indices, "concatenate")
    if joined is not None and joined.params["axis"] == len(batch) and all(a.aval.shape[-1] == 1 for a in joined.inputs):
        return builder.apply("reshape", joined.inputs[number], shape=batch)
    if indices.aval.shape[-1] == 1:
        return builder.apply("reshape", indices, shape=batch)
    rank = len(batch)
    part = builder.apply("slice", indices, starts=(0,) * rank + (number,), limits=(*batch, number + 1),
                         strides=(1,) * (rank + 1))
    return builder.apply("reshape", part, shape=batch)


def _iota_axis(builder: Builder, atom: Atom) -> int | None:
    """The axis along which `atom` counts from 0, if it does."""
    iota = builder.made_by(atom, "iota")
    if iota is not None:
        return iota.params["axis"]
    converted = builder.made_by(atom, "convert")
    if converted is not None and atom.aval.dtype.kind in "iu" and atom.aval.dtype.itemsize >= 4:
        return _iota_axis(builder, converted.inputs[0])
    spread = builder.made_by(atom, "broadcast")
    inner = None if spread is None else _iota_axis(builder, spread.inputs[0])
    if spread is None or inner is None:
        return None
    axis = spread.params["dims"][inner]
    return axis if spread.inputs[0].aval.shape[inner] == spread.params["shape"][axis] else None


def _inside(builder: Builder, start: Atom, extent: int, mode: str) -> Atom:
    """Starts in a type that can number any axis, moved into the axis if that is asked for; others meet no element."""
    if start.aval.dtype.itemsize < 4:
        start = builder.apply("convert", start, dtype=np.dtype(np.int32), bitcast=False)
    if mode != "clip":
        return start
    start = builder.apply("minmax", start, literal(0, start.aval.dtype), op="max")
    return builder.apply("minmax", start, literal(extent - 1, start.aval.dtype), op="min")


def _spread(builder: Builder, atom: Atom, at: dict[int, int], shape: tuple[int, ...]) -> Atom:
    """An array over the positions, at every element of the result."""
    told = [k for k in range(atom.aval.ndim) if k in at]
    order = sorted(told, key=at.__getitem__)
    atom = builder.apply("reshape", atom, shape=tuple(atom.aval.shape[k] for k in told))
    atom = builder.apply("transpose", atom, permutation=tuple(told.index(k) for k in order))
    return builder.apply("broadcast", atom, shape=shape, dims=tuple(at[k] for k in order))


def _values(builder: Builder, updates: Atom, dims: ScatterDims, at: dict[int, int], aval: Aval) -> Atom:
    """The update that each element of the result would get."""
    kept = window_axes(dims.as_gather(), aval.ndim)
    place = dict(zip(dims.update_window_dims, kept))
    positions = [k for k in range(updates.aval.ndim) if k not in place]
    place.update((k, at[number]) for number, k in enumerate(positions) if number in at)
    return _spread(builder, updates, place, aval.shape)


def never_negative(builder: Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    """`iota < 0` is false, so an iota is its own index, counted from the start."""
    x, zero = inputs
    if params["dir"] != "lt" or not isinstance(x, Var) or builder.made_by(x, "iota") is None:
        return None
    known = builder.splat(zero)
    if known is None or not np.asarray(known.value) <= 0:
        return None
    return builder.apply("broadcast", literal(False, np.dtype(bool)), shape=aval.shape, dims=())
