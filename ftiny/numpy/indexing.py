"""Indexing: `x[...]`, `x.at[...]` updates, `take`, `where`, `nonzero` and searching.

Input: an array and an index of integers, slices, None, Ellipsis and integer or bool arrays. Output: the elements, by a
static slice and reshape where the index is known, else by one gather; updates give a new array:

    >>> x = ftiny.numpy.zeros((2, 3))
    >>> x.at[:, 1].set(5.)
    Array([[0., 5., 0.],
           [0., 5., 0.]], dtype=float32)

An index that is known and lies outside its axis raises `IndexOutOfBoundsError`. Traced indices cannot raise: reads
clamp them and updates drop them, unless `mode=` says otherwise ('clip', 'fill', 'drop', 'wrap', 'promise_in_bounds').
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftiny import core, dtypes, primitives
from ftiny.errors import ArgumentError, DtypeError, IndexOutOfBoundsError, ShapeError, TracerError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    broadcast_shapes,
    canonical_axis,
    check_array,
    check_index,
    convert,
    dtype_of,
    full_shape,
    is_concrete,
    materialize,
    promote,
    scalar_literal,
    shape_of,
)
from ftiny.numpy.creation import asarray, full
from ftiny.numpy.manipulation import broadcast_to, ravel, reshape, stack
from ftiny.source import located
from ftiny.transforms.checks import check_bounds

_PRIMITIVE_MODE = {"clip": "clip", "fill": "fill", "drop": "fill", "wrap": "clip", "promise_in_bounds": "promise"}

# ---- parsing an index ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class New:
    """`None` in an index: a new axis of size 1."""


@dataclass(frozen=True)
class Range:
    """A slice of one axis: `count` elements from `start`, `step` apart."""

    axis: int
    start: int
    step: int
    count: int


@dataclass(frozen=True)
class At:
    """A static integer, counted from the front."""

    axis: int
    index: int


@dataclass(frozen=True)
class Pick:
    """An array of integers, or a traced integer."""

    axis: int
    indices: Any


Item = New | Range | At | Pick


def parse_index(index, shape: tuple[int, ...], mode: str | None = None) -> list[Item]:
    """One item per entry of the index, in order, with slices for the axes that it leaves out.

    With a `mode`, which says what an index out of bounds means, a static integer may be out of bounds: it is a `Pick`.
    """
    entries = list(index) if isinstance(index, tuple) else [index]
    entries = [part for entry in entries for part in _expand_mask(entry)]
    used = builtins.sum(entry is not None and entry is not Ellipsis for entry in entries)
    if used > len(shape):
        raise IndexOutOfBoundsError(
            located(f"too many indices: {used} for an array with {len(shape)} axes (shape {shape})")
        )
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError(located("an index may have only one Ellipsis (...)"))
    at = dots[0] if dots else len(entries)
    entries[at : at + 1] = [slice(None)] * (len(shape) - used)
    items: list[Item] = []
    axis = 0
    for entry in entries:
        if entry is None:
            items.append(New())
            continue
        items.append(_parse_entry(entry, axis, shape, mode))
        axis += 1
    return items


def _parse_entry(entry, axis: int, shape: tuple[int, ...], mode: str | None) -> Item:
    extent = shape[axis]
    if isinstance(entry, slice):
        return _parse_slice(entry, axis, extent)
    if (
        isinstance(entry, (int, np.integer))
        or isinstance(entry, np.ndarray)
        and entry.ndim == 0
        and entry.dtype.kind in "iu"
    ):
        if mode is not None and not -extent <= int(entry) < extent:
            return Pick(axis, np.asarray(int(entry)))
        return At(axis, check_index(int(entry), extent, axis, shape))
    if isinstance(entry, (list, tuple)):
        raise TracerError(located(f"an index must not be a {type(entry).__name__}: use ftiny.numpy.asarray({entry!r})"))
    if not isinstance(entry, (core.ArrayLike, np.ndarray)):
        raise TracerError(
            located(f"an index must be integers, slices, None, ... or arrays, not a {type(entry).__name__}: {entry!r}")
        )
    if dtypes.kind(dtype_of(entry)) != "int":
        raise TracerError(
            located(f"an index array must have an integer or bool dtype, not {dtype_of(entry)}; convert with .astype")
        )
    return Pick(axis, entry)


def _parse_slice(entry: slice, axis: int, extent: int) -> Range:
    try:
        start, stop, step = entry.indices(extent)
    except TypeError as problem:
        if any(isinstance(bound, core.Tracer) for bound in (entry.start, entry.stop, entry.step)):
            raise TracerError(
                located(
                    "the bounds of a slice must be static, since they decide the shape; for a traced start use "
                    "ftiny.lax.dynamic_slice or dynamic_slice_in_dim with a static size"
                )
            ) from None
        raise TracerError(located(f"the bounds of a slice must be integers: {entry}")) from problem
    return Range(axis, start, step, len(range(start, stop, step)))


def _is_single_mask(index) -> bool:
    """Whether the index is a bool array without axes."""
    return isinstance(index, (core.ArrayLike, np.ndarray)) and dtype_of(index) == dtypes.bool_ and not shape_of(index)


def _expand_mask(entry) -> list:
    """A bool array in an index as the integer arrays of the places where it is true."""
    if isinstance(entry, (bool, np.bool_)) or _is_single_mask(entry) and is_concrete(entry):
        raise ArgumentError(located("a single bool is no index: use where, or x[None] for a new axis"))
    if not isinstance(entry, (core.ArrayLike, np.ndarray)) or dtype_of(entry) != dtypes.bool_:
        return [entry]
    if not is_concrete(entry):
        raise TracerError(
            located(
                "a bool index must be known while tracing, since it decides the shape, but it is "
                f"{core.get_aval(entry)}. "
                "Use ftiny.numpy.where(mask, x, y), or nonzero(mask, size=...)"
            )
        )
    return [places.astype(np.int32) for places in np.nonzero(np.asarray(entry))]


# ---- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Where the axes of an indexed array come from.

    `picks` are the axes of the (statically sliced) array that index arrays select from, `batch` the shape that those
    broadcast to, `place` the position of the batch axes among the sliced ones, and `shape` the final shape, in which
    the new axes of `None` are put.
    """

    picks: tuple[int, ...]
    batch: tuple[int, ...]
    place: int
    shape: tuple[int, ...]


def _layout(items: list[Item]) -> Layout:
    picks = [item for item in items if isinstance(item, Pick)]
    batch = broadcast_shapes(*(shape_of(pick.indices) for pick in picks), name="index")
    advanced = [i for i, item in enumerate(items) if isinstance(item, (Pick, At) if picks else Pick)]
    together = not advanced or advanced == list(range(advanced[0], advanced[-1] + 1))
    first = advanced[0] if advanced and together else 0
    place = builtins.sum(isinstance(item, Range) for item in items[:first])
    before = [item for item in items[:first] if isinstance(item, (Range, New))]
    after = [item for item in items[first:] if isinstance(item, (Range, New))]
    extent = lambda item: item.count if isinstance(item, Range) else 1
    shape = (*map(extent, before), *batch, *map(extent, after))
    kept = [item for item in items if isinstance(item, (Range, Pick))]
    axes = tuple(i for i, item in enumerate(kept) if isinstance(item, Pick))
    return Layout(axes, batch, place, shape)


def getitem(x, index, mode: str | None = None, fill_value=None):
    """`x[index]`."""
    check_array("indexing", x)
    if _is_single_mask(index) and is_concrete(index):
        # A mask without axes takes the whole array as the one row of a new axis, or no row.
        return getitem(reshape(x, (1, *shape_of(x))), slice(0, int(index)), mode, fill_value)
    items = parse_index(index, shape_of(x), mode)
    layout = _layout(items)
    x = _static_part(x, items)
    if layout.picks:
        picks = [item.indices for item in items if isinstance(item, Pick)]
        x = _gather_picks(x, layout, picks, mode, fill_value)
    return reshape(x, layout.shape)


def _static_part(x, items: list[Item]):
    """`x` after the slices and static integers; the axes of the integers are dropped."""
    ranges = {item.axis: item for item in items if not isinstance(item, New)}
    shape = shape_of(x)
    starts, limits, strides, kept = [], [], [], []
    for axis, extent in enumerate(shape):
        item = ranges[axis]
        start, step, count = 0, 1, extent
        if isinstance(item, Range):
            start, step, count = item.start, item.step, item.count
        elif isinstance(item, At):
            start, count = item.index, 1
        if count == 0:
            start, step = 0, 1
        starts.append(start)
        # The limit after the last element; -1 when a negative stride reaches the front.
        limits.append(start + (count - 1) * step + (1 if step > 0 else -1) if count else 0)
        strides.append(step if count > 1 else 1)
        if count == 1 and step < 0:
            limits[-1] = start + 1
        if not isinstance(item, At):
            kept.append(count)
    if tuple(starts) != (0,) * len(shape) or tuple(limits) != shape or any(s != 1 for s in strides):
        x = primitives.slice(x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))
    return reshape(x, tuple(kept))


def _gather_picks(x, layout: Layout, picks: list, mode: str | None, fill_value):
    """One gather: index arrays on the axes `layout.picks`, whole slices on the others."""
    shape = shape_of(x)
    extents = [shape[axis] for axis in layout.picks]
    if builtins.any(extent == 0 for extent in extents):
        if 0 in layout.batch:
            return full((*layout.shape,), 0, dtype_of(x))
        raise IndexOutOfBoundsError(located(f"an axis of size 0 (shape {shape}) has no element to pick"))
    indices = normalize_indices(picks, extents, layout.picks, layout.batch, mode)
    others = len(shape) - len(layout.picks)
    offset = tuple(i if i < layout.place else i + len(layout.batch) for i in range(others))
    dims = primitives.GatherDims(offset_dims=offset, collapsed_slice_dims=layout.picks, start_index_map=layout.picks)
    sizes = tuple(1 if axis in layout.picks else extent for axis, extent in enumerate(shape))
    return primitives.gather(
        x, indices, dims=dims, slice_sizes=sizes, mode=_PRIMITIVE_MODE[mode or "clip"], fill_value=fill_value
    )


def _must_check(indices) -> bool:
    """Whether the values of an index array are known and reading them is free or the code is eager."""
    return (
        isinstance(indices, (np.ndarray, np.generic))
        or is_concrete(indices)
        and isinstance(core.current_trace(), core.EvalTrace)
    )


def normalize_indices(picks: list, extents: list[int], axes, batch: tuple[int, ...], mode: str | None):
    """The index arrays counted from the front, as one integer array of shape (*batch, number of axes)."""
    if mode is not None and mode not in _PRIMITIVE_MODE:
        modes = ", ".join(map(repr, _PRIMITIVE_MODE))
        raise ArgumentError(located(f"mode must be None or one of {modes}, not {mode!r}"))
    columns = []
    wide = builtins.any(dtype_of(p).itemsize == 8 and not isinstance(p, np.ndarray) for p in picks)
    for indices, extent, axis in zip(picks, extents, axes):
        if mode is None and _must_check(indices):
            _check_bounds(indices, extent, axis)
        elif mode is None:
            indices = check_bounds(indices, extent, axis)
        if isinstance(indices, np.ndarray):
            indices = np.where(indices < 0, indices + extent, indices)
        elif not dtypes.is_unsigned(dtype_of(indices)):
            indices = ufuncs.where_scalar(ufuncs.less(indices, 0), ufuncs.add(indices, extent), indices)
        if mode == "wrap":
            indices = ufuncs.remainder(indices, extent)
        indices = convert(indices, dtypes.int64 if wide else dtypes.int32)
        columns.append(reshape(materialize(indices, batch), (*batch, 1)))
    return columns[0] if len(columns) == 1 else primitives.concatenate(*columns, axis=len(batch))


def _check_bounds(indices, extent: int, axis: int) -> None:
    values = np.asarray(indices)
    outside = (values < -extent) | (values >= extent)
    if outside.any():
        raise IndexOutOfBoundsError(
            located(
                f"index {values[outside].flat[0]} is out of bounds for axis {axis} of size {extent}; valid indices are "
                f"{-extent} to {extent - 1}. Use mode='clip', 'wrap' or 'fill' (take, or x.at[...].get) to allow it"
            )
        )


# ---- updating --------------------------------------------------------------------------------------------------

_IDENTITY: dict[str, Callable[[np.dtype], Any]] = {
    "set": lambda dtype: 0,
    "add": lambda dtype: 0,
    "mul": lambda dtype: 1,
    "min": lambda dtype: (
        math.inf if dtypes.is_inexact(dtype) else True if dtype == dtypes.bool_ else np.iinfo(dtype).max
    ),
    "max": lambda dtype: (
        -math.inf if dtypes.is_inexact(dtype) else False if dtype == dtypes.bool_ else np.iinfo(dtype).min
    ),
}
_COMBINE: dict[str, Callable] = {
    "add": ufuncs.add,
    "mul": ufuncs.multiply,
    "min": ufuncs.minimum,
    "max": ufuncs.maximum,
}


def update(x, index, values, op: str, mode: str | None = None, **promises: bool):
    """`x` with `values` put at `index` (op 'set') or combined with what is there ('add', 'mul', 'min', 'max').

    promises: `unique_indices`, `indices_are_sorted` and `unordered`, as `primitives.scatter` takes them.
    """
    check_array("x.at[...]", x, values)
    if (
        op == "set"
        and isinstance(index, core.ArrayLike)
        and not is_concrete(index)
        and dtype_of(index) == dtypes.bool_
        and not shape_of(values)
    ):
        return _set_masked(x, index, values)
    items = parse_index(index, shape_of(x), mode)
    layout = _layout(items)
    values = convert(values, dtype_of(x))
    if broadcast_shapes(shape_of(values), layout.shape, name="x.at[...]") != layout.shape:
        raise ShapeError(
            located(f"x.at[...]: values of shape {shape_of(values)} do not fit the indexed shape {layout.shape}")
        )
    values = materialize(values, layout.shape)
    if not layout.picks:
        return _update_static(x, items, values, op)
    partial = [
        item
        for item in items
        if isinstance(item, Range) and (item.start, item.step, item.count) != (0, 1, shape_of(x)[item.axis])
    ]
    if partial:  # scatter into the sliced part, then put that back
        slices = [slice(None)] * len(shape_of(x))
        for item in partial:
            slices[item.axis] = _as_slice(item)
        part = getitem(x, tuple(slices))
        whole = tuple(_without_range(item) for item in items)
        return update(x, tuple(slices), update(part, whole, values, op, mode, **promises), "set")
    return _scatter_picks(x, items, values, op, mode, promises)


def _as_slice(item: Range) -> slice:
    stop = item.start + item.step * item.count
    return slice(item.start, None if stop < 0 else stop, item.step)


def _without_range(item: Item):
    """The entry that indexes the sliced part as `item` indexes the whole."""
    if isinstance(item, Range):
        return slice(None)
    return None if isinstance(item, New) else item.index if isinstance(item, At) else item.indices


def _set_masked(x, mask, value):
    shape = shape_of(x)
    if shape_of(mask) != shape[: len(shape_of(mask))]:
        raise ShapeError(located(f"x.at[mask]: the mask has shape {shape_of(mask)}, the array {shape}"))
    mask = primitives.broadcast(mask, shape=shape, dims=tuple(range(len(shape_of(mask)))))
    return ufuncs.where_scalar(mask, convert(value, dtype_of(x)), x)


def _update_static(x, items: list[Item], values, op: str):
    """An update at a known place: the values padded to the shape of `x`, and one elementwise combination."""
    shape = shape_of(x)
    config: list[tuple[int, int, int]] = []
    extents: list[int] = []
    flips: list[int] = []
    for item in items:
        if isinstance(item, New):
            continue
        assert isinstance(item, (Range, At))
        start, step, count = (item.index, 1, 1) if isinstance(item, At) else (item.start, item.step, item.count)
        if count == 0:
            return asarray(x)
        if step < 0:
            flips.append(len(extents))
            start, step = start + (count - 1) * step, -step
        last = start + (count - 1) * step
        config.append((start, shape[item.axis] - last - 1, step - 1))
        extents.append(count)
    from ftiny.numpy.manipulation import flip

    values = flip(reshape(values, tuple(extents)), tuple(flips)) if flips else reshape(values, tuple(extents))
    spread = primitives.pad(values, scalar_literal(_IDENTITY[op](dtype_of(x)), dtype_of(x)), config=tuple(config))
    if op != "set":
        return _COMBINE[op](x, spread)
    inside = primitives.broadcast(np.bool_(True), shape=tuple(extents), dims=())
    return ufuncs.where_scalar(primitives.pad(inside, np.bool_(False), config=tuple(config)), spread, x)


def _scatter_picks(x, items: list[Item], values, op: str, mode: str | None, promises: dict[str, bool]):
    """One scatter; static integers beside index arrays become index arrays too."""
    layout = _layout(items)
    others = builtins.sum(isinstance(item, Range) for item in items)
    shape = shape_of(x)
    axes = tuple(item.axis for item in items if isinstance(item, (Pick, At)))
    picks = [
        np.asarray(item.index, np.int32) if isinstance(item, At) else item.indices
        for item in items
        if isinstance(item, (Pick, At))
    ]
    indices = normalize_indices(picks, [shape[axis] for axis in axes], axes, layout.batch, mode)
    window = tuple(i if i < layout.place else i + len(layout.batch) for i in range(others))
    kept = [item.count for item in items if isinstance(item, Range)]
    values = reshape(values, (*kept[: layout.place], *layout.batch, *kept[layout.place :]))
    dims = primitives.ScatterDims(
        update_window_dims=window, inserted_window_dims=axes, scatter_dims_to_operand_dims=axes
    )
    return primitives.scatter(
        x, indices, values, op=op, dims=dims, mode=_PRIMITIVE_MODE[mode or "drop"], **promises
    )


class IndexUpdate:
    """`x.at`: index it and call `set`, `add`, `multiply`, `divide`, `power`, `min`, `max`, `apply` or `get`."""

    __slots__ = ("array",)

    def __init__(self, array):
        self.array = array

    def __getitem__(self, index) -> IndexedUpdate:
        return IndexedUpdate(self.array, index)

    def __repr__(self) -> str:
        return f"IndexUpdate({self.array!r})"


class IndexedUpdate:
    """`x.at[index]`: functions that return `x` with other elements there; `x` itself never changes.

    Updates are converted to the dtype of `x` and broadcast to the indexed shape. Where index arrays name an element
    twice, `add`, `multiply`, `divide`, `power`, `min` and `max` combine all updates; `set` keeps the last of them.
    `unique_indices` promises that there are none, `indices_are_sorted` that indices, counted from the front, do not
    decrease: with either, less is to be done; if it is not so, the result is none of those meant.
    """

    __slots__ = ("array", "index")

    def __init__(self, array, index):
        self.array, self.index = array, index

    def set(self, values, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False):
        """`x` with `values` at the index."""
        promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
        return update(self.array, self.index, values, "set", mode, **promises)

    def add(
        self,
        values,
        *,
        mode: str | None = None,
        unique_indices: bool = False,
        indices_are_sorted: bool = False,
        unordered: bool = False,
    ):
        """`x` with `values` added at the index, those of one element in their order: every run gives the same bits.

        `unordered=True` lets a device add them as they come, which may be faster and may round differently each time.
        """
        promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted, "unordered": unordered}
        return update(self.array, self.index, values, "add", mode, **promises)

    def subtract(
        self, values, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ):
        """`x` with `values` subtracted at the index."""
        promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
        return update(self.array, self.index, ufuncs.negative(values), "add", mode, **promises)

    def multiply(
        self, values, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ):
        """`x` with the elements at the index multiplied by `values`."""
        promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
        return update(self.array, self.index, values, "mul", mode, **promises)

    mul = multiply

    def _factors(self, values, mode, unique_indices):
        """Ones, with the product of the updates at each indexed element."""
        ones = full(shape_of(self.array), 1, dtype_of(self.array))
        return update(ones, self.index, values, "mul", mode, unique_indices=unique_indices)

    def divide(
        self, values, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ):
        """`x` with the elements at the index divided by `values`."""
        return ufuncs.divide(self.array, self._factors(values, mode, unique_indices))

    def power(self, values, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False):
        """`x` with the elements at the index raised to the power `values`."""
        return ufuncs.power(self.array, self._factors(values, mode, unique_indices))

    def min(self, values, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False):
        """`x` with the elements at the index no larger than `values`."""
        promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
        return update(self.array, self.index, values, "min", mode, **promises)

    def max(self, values, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False):
        """`x` with the elements at the index no smaller than `values`."""
        promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
        return update(self.array, self.index, values, "max", mode, **promises)

    def apply(
        self, function, *, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False
    ):
        """`x` with `function` applied (once) to the elements at the index."""
        promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
        return self.set(function(self.get(mode=mode)), mode=mode, **promises)

    def get(
        self,
        *,
        mode: str | None = None,
        fill_value=None,
        unique_indices: bool = False,
        indices_are_sorted: bool = False,
    ):
        """The elements at the index; with mode 'fill', `fill_value` (default NaN) where it is out of bounds."""
        if fill_value is not None and mode is None:
            mode = "fill"
        return getitem(self.array, self.index, mode, fill_value)


# ---- functions that read by index ------------------------------------------------------------------------------


def take(x, indices, axis: int | None = None, mode: str | None = None, fill_value=None):
    """The elements of `x` at `indices` along `axis` (None: of the row of all elements).

    The axes of `indices` stand in place of `axis`. Traced indices out of bounds give NaN (mode 'fill', the default);
    mode 'clip' takes negative ones to 0.
    """
    check_array("take", x, indices)
    if axis is None:
        x, axis = ravel(x), 0
    axis = canonical_axis(axis, len(shape_of(x)), "take")
    if mode is None and not (isinstance(indices, int) or _must_check(indices)):
        indices, mode = check_bounds(indices, shape_of(x)[axis], axis), "fill"
    elif mode == "clip":  # as in numpy, this mode has no negative indices
        indices = ufuncs.maximum(indices, 0)
    index = (slice(None),) * axis + (indices,)
    return getitem(x, index, mode, fill_value)


def take_along_axis(x, indices, axis: int | None = -1, mode: str | None = None, fill_value=None):
    """For every position of `indices`, the element of `x` at that position but with the index along `axis`.

    The shapes must be equal, or 1, on all other axes; this is how the results of `argsort` and `argmax` are used.
    """
    check_array("take_along_axis", x, indices)
    if axis is None:
        x, axis = ravel(x), 0
    x, indices = asarray(x), asarray(indices)
    ndim = len(shape_of(x))
    if len(shape_of(indices)) != ndim:
        raise ShapeError(
            located(f"take_along_axis: shapes {shape_of(x)} and {shape_of(indices)} must have equally many axes")
        )
    axis = canonical_axis(axis, ndim, "take_along_axis")
    others = tuple(a for a in range(ndim) if a != axis)
    common = broadcast_shapes(
        *(tuple(n for a, n in enumerate(shape_of(v)) if a != axis) for v in (x, indices)), name="take_along_axis"
    )
    widen = lambda v: broadcast_to(v, (*common[:axis], shape_of(v)[axis], *common[axis:]))
    x, indices = widen(x), widen(indices)
    if 0 in common:  # no element, and no window of one element that a gather could take
        return full(shape_of(indices), 0, dtype_of(x))
    if mode is None and not _must_check(indices):
        indices, mode = check_bounds(indices, shape_of(x)[axis], axis), "fill"
    starts = normalize_indices([indices], [shape_of(x)[axis]], (axis,), shape_of(indices), mode)
    dims = primitives.GatherDims(
        offset_dims=(),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        operand_batching_dims=others,
        start_indices_batching_dims=others,
    )
    return primitives.gather(
        x, starts, dims=dims, slice_sizes=(1,) * ndim, mode=_PRIMITIVE_MODE[mode or "clip"], fill_value=fill_value
    )


# ---- choosing by condition -------------------------------------------------------------------------------------


def where(condition, x=None, y=None, *, size: int | None = None, fill_value=None):
    """Elementwise `x` where the condition is true, else `y`, all broadcast. With one argument, `nonzero(condition)`."""
    if x is None and y is None:
        return nonzero(condition, size=size, fill_value=fill_value)
    if x is None or y is None:
        raise ArgumentError(located("where takes a condition alone, or a condition and both values"))
    check_array("where", condition, x, y)
    x, y = promote("where", x, y)
    shape = broadcast_shapes(shape_of(condition), shape_of(x), shape_of(y), name="where")
    condition = ufuncs.truth(condition)
    return primitives.select(
        materialize(condition, shape), *(v if isinstance(v, np.generic) else full_shape(v, shape) for v in (x, y))
    )


def select(condlist, choicelist, default=0):
    """Elementwise the choice of the first condition that is true, else `default`."""
    if len(condlist) != len(choicelist):
        raise ArgumentError(located(f"select: {len(condlist)} conditions for {len(choicelist)} choices"))
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        result = where(condition, choice, result)
    return result


def choose(a, choices, mode: str = "raise"):
    """Elementwise the element of the array that `a` is the number of among `choices`; they broadcast.

    Numbers outside 0 to len(choices) - 1 raise `IndexOutOfBoundsError` (mode 'raise', which needs a concrete `a`),
    are clamped ('clip') or taken modulo the number of choices ('wrap').
    """
    check_array("choose", a, *choices)
    if dtypes.kind(dtype_of(a)) != "int":
        raise DtypeError(located(f"choose: the first argument must be of integers, not {dtype_of(a)}"))
    count = len(choices)
    if mode == "raise":
        if not is_concrete(a):
            raise TracerError(located("choose: a traced choice cannot be checked; give mode='clip' or 'wrap'"))
        outside = np.asarray(a)[(np.asarray(a) < 0) | (np.asarray(a) >= count)]
        if outside.size:
            raise IndexOutOfBoundsError(
                located(f"choose: {outside.flat[0]} is none of the {count} choices; give mode='clip' or 'wrap'")
            )
    elif mode not in ("clip", "wrap"):
        raise ArgumentError(located(f"choose: mode must be 'raise', 'clip' or 'wrap', not {mode!r}"))
    else:
        a = ufuncs.remainder(a, count) if mode == "wrap" else ufuncs.clip(a, 0, count - 1)
    dtype = dtypes.result_type(*choices)
    result = choices[0]
    for number, choice in enumerate(choices):
        result = where(ufuncs.equal(a, number), convert(choice, dtype), result)
    return result


def nonzero(x, *, size: int | None = None, fill_value=None):
    """The indices of the elements that are not zero: one int32 array per axis.

    How many there are must be known in a traced function, so there `size` is needed: the first `size` of them, filled
    up with `fill_value` (default 0). Raises `ShapeError` for an array without axes, of which there are no indices.
    """
    check_array("nonzero", x)
    if not shape_of(x):
        raise ShapeError(located("nonzero: an array of shape () has no indices; use atleast_1d(x), or x != 0"))
    x = asarray(x)
    if size is None:
        if not is_concrete(x):
            raise TracerError(located("nonzero: the number of results of a traced array is unknown; give size="))
        return tuple(asarray(places.astype(np.int32)) for places in np.nonzero(np.asarray(x)))
    from ftiny.numpy.reductions import cumsum

    row = ravel(ufuncs.truth(x))
    count = shape_of(row)[0]
    fills = fill_value if isinstance(fill_value, tuple) else (fill_value or 0,) * len(shape_of(x))
    number = cumsum(row, dtype=dtypes.int32)  # the k-th true element writes its position to place k - 1
    target = ufuncs.where_scalar(row, ufuncs.subtract(number, 1), np.int32(size))
    places = primitives.iota(shape=(count,), dtype=dtypes.int32, axis=0)
    found = update(full((size,), count, dtypes.int32), target, places, "set", mode="drop")
    missing = ufuncs.equal(found, count)
    return tuple(
        ufuncs.where_scalar(missing, convert(fill, dtypes.int32), index)
        for index, fill in zip(unravel_index(found, shape_of(x)), fills)
    )


def flatnonzero(x, *, size: int | None = None, fill_value=None):
    """The positions in the row of elements of those that are not zero; see `nonzero`."""
    return nonzero(ravel(asarray(x)), size=size, fill_value=fill_value)[0]


def argwhere(x, *, size: int | None = None, fill_value=None):
    """The indices of the elements that are not zero, one row each; see `nonzero`."""
    check_array("argwhere", x)
    if not shape_of(x):
        return nonzero(reshape(x, (1,)), size=size)[0][:, None][:, :0]
    return stack(list(nonzero(x, size=size, fill_value=fill_value)), axis=-1)


def extract(condition, x, *, size: int | None = None, fill_value=0):
    """The elements of `x` where the condition is true, in one row; see `compress`."""
    return compress(ravel(asarray(condition)), ravel(asarray(x)), axis=0, size=size, fill_value=fill_value)


def compress(condition, x, axis: int | None = None, *, size: int | None = None, fill_value=0):
    """The slices of `x` along `axis` (None: of its elements in one row) at which the vector `condition` is true.

    With `size` the first so many of them, filled up with `fill_value`; without it the condition must be concrete.
    Raises `TracerError` for a traced condition without `size`, `IndexOutOfBoundsError` where a condition longer than
    the axis is true behind its end.
    """
    check_array("compress", x)
    if axis is None:
        x, axis = ravel(asarray(x)), 0
    if size is None:
        return take(x, flatnonzero(condition), axis)
    nowhere = shape_of(x)[canonical_axis(axis, len(shape_of(x)), "compress")]
    places = flatnonzero(condition, size=size, fill_value=nowhere)
    return take(x, places, axis, mode="fill", fill_value=fill_value)


# ---- index arithmetic ------------------------------------------------------------------------------------------


def unravel_index(indices, shape) -> tuple:
    """Positions in the row of elements as one index array per axis of `shape`."""
    check_array("unravel_index", indices)
    shape = tuple(map(operator.index, shape)) if isinstance(shape, (tuple, list)) else (operator.index(shape),)
    found = []
    for extent in reversed(shape):
        extent = builtins.max(extent, 1)
        found.append(ufuncs.remainder(indices, extent))
        indices = ufuncs.floor_divide(indices, extent)
    return tuple(reversed(found))


def ravel_multi_index(multi_index, dims, mode: str = "clip"):
    """Index arrays, one per axis of an array of shape `dims`, as positions in its row of elements.

    Indices out of bounds are clamped (mode 'clip') or taken modulo the extent ('wrap').
    """
    total: Any = 0
    for indices, extent in zip(multi_index, dims):
        indices = ufuncs.remainder(indices, extent) if mode == "wrap" else ufuncs.clip(indices, 0, extent - 1)
        total = ufuncs.add(ufuncs.multiply(total, extent), indices)
    return total


def diag_indices(n: int, ndim: int = 2) -> tuple:
    """Index arrays of the main diagonal of an array with `ndim` axes of size n."""
    return (primitives.iota(shape=(n,), dtype=dtypes.int32, axis=0),) * ndim


def ix_(*xs) -> tuple:
    """Index vectors as arrays that broadcast to their grid, so that `x[ix_(rows, columns)]` is a sub-matrix."""
    vectors = [asarray(x) for x in xs]
    return tuple(reshape(v, tuple(-1 if a == i else 1 for a in range(len(vectors)))) for i, v in enumerate(vectors))


def put_along_axis(x, indices, values, axis: int):
    """`x` with, for every position of `indices`, `values` at that position but with the index along `axis`."""
    check_array("put_along_axis", x, indices)
    axis = canonical_axis(axis, len(shape_of(x)), "put_along_axis")
    x, indices = asarray(x), asarray(indices)
    grid = [
        indices if a == axis else primitives.iota(shape=shape_of(indices), dtype=dtypes.int32, axis=a)
        for a in range(len(shape_of(x)))
    ]
    return update(x, tuple(grid), values, "set")
