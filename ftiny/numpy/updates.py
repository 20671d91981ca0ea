"""Arrays with elements inserted, deleted or replaced, as numpy spells it; arrays never change, so each is a new one.

Input: an array, places and values. Output: the array with the change; `x.at[index].set(values)` is the general tool:

    >>> insert(ftiny.numpy.array([1, 2, 3]), 1, 9)
    Array([1, 9, 2, 3], dtype=int32)

`put`, `place` and `fill_diagonal` change their argument in numpy. Here, as in JAX, they need `inplace=False`.
"""

from __future__ import annotations

import numpy as np

from ftiny import dtypes
from ftiny.errors import ArgumentError, IndexOutOfBoundsError, ShapeError, TracerError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    canonical_axes,
    canonical_axis,
    check_array,
    check_index,
    convert,
    dtype_of,
    is_concrete,
    shape_of,
)
from ftiny.numpy.creation import arange, asarray, full
from ftiny.numpy.indexing import diag_indices, getitem, take, update
from ftiny.numpy.manipulation import broadcast_to, concatenate, moveaxis, ravel, reshape, resize, slice_axis
from ftiny.numpy.reductions import cumsum
from ftiny.numpy.reductions import sum as sum_of
from ftiny.numpy.sorting import argsort, sort
from ftiny.source import located


def _row_or_axis(name: str, x, axis: int | None):
    """(`x`, axis), or its elements in one row and 0 when there is no axis."""
    check_array(name, x)
    if axis is None:
        return ravel(asarray(x)), 0
    return asarray(x), canonical_axis(axis, len(shape_of(x)), name)


# ---- inserting and deleting ------------------------------------------------------------------------------------


def delete(arr, obj, axis: int | None = None, *, assume_unique_indices: bool = False):
    """`arr` without the slices along `axis` (None: of the row of elements) that `obj` names.

    `obj` is an integer, a slice, integers, or bools, one for each slice. It decides the shape, so it must be concrete;
    under `assume_unique_indices`, different integers, it may be traced.
    """
    arr, axis = _row_or_axis("delete", arr, axis)
    n = shape_of(arr)[axis]
    if isinstance(obj, (int, np.integer)) and not isinstance(obj, bool):
        at = check_index(int(obj), n, axis, shape_of(arr))
        return concatenate([slice_axis(arr, axis, 0, at), slice_axis(arr, axis, at + 1, n)], axis)
    if isinstance(obj, slice):
        return take(arr, np.delete(np.arange(n, dtype=np.int32), obj), axis)
    obj = np.asarray(obj) if isinstance(obj, (list, tuple)) else obj
    check_array("delete", arr, obj)
    if not is_concrete(obj):
        if not assume_unique_indices or not dtypes.is_integer(dtype_of(obj)):
            raise TracerError(
                located(
                    "delete: how many elements a traced obj names is unknown; if they are different integers, give "
                    "assume_unique_indices=True"
                )
            )
        return take(arr, _places_left(obj, n), axis, mode="clip")
    places = np.asarray(obj)
    if places.dtype == np.bool_ and places.shape != (n,):
        raise ShapeError(located(f"delete: a mask needs shape ({n},), the size of axis {axis}, not {places.shape}"))
    if places.dtype.kind == "f" and places.size == 0:  # numpy makes floats of an empty list
        places = places.astype(np.int32)
    if places.dtype.kind not in "iub":
        raise ArgumentError(located(f"delete: obj must be integers, bools or a slice, not of {places.dtype}"))
    outside = places[(places < -n) | (places >= n)] if places.dtype != np.bool_ else places[:0]
    if outside.size:
        raise IndexOutOfBoundsError(located(f"delete: index {outside.flat[0]} is out of bounds for size {n}"))
    return take(arr, np.delete(np.arange(n, dtype=np.int32), places), axis)


def _places_left(places, n: int):
    """The numbers 0 to n - 1 that are not among the different `places`, in order."""
    places = ravel(asarray(places))
    count = shape_of(places)[0]
    ordered = sort(ufuncs.where_scalar(ufuncs.less(places, 0), ufuncs.add(places, n), places))
    # So many are left before each deleted one; what is left is moved up by those deleted before it.
    before = ufuncs.subtract(ordered, arange(count, dtype=dtype_of(ordered)))
    left = arange(n - count, dtype=dtype_of(ordered))
    moved = ufuncs.greater_equal(reshape(left, (-1, 1)), before)
    return ufuncs.add(left, sum_of(moved, axis=1, dtype=dtype_of(ordered)))


def insert(arr, obj, values, axis: int | None = None):
    """`arr` with `values` put before the slices along `axis` (None: of the row of elements) that `obj` names.

    `obj` is an integer, a slice or a vector of integers, which may be traced; places count in `arr` as it is, and those
    out of bounds are moved to its ends. `values` broadcast to as many slices as there are places; one place takes any
    number of values.
    """
    arr, axis = _row_or_axis("insert", arr, axis)
    n, ndim = shape_of(arr)[axis], len(shape_of(arr))
    check_array("insert", arr, values)
    values = asarray(convert(values, dtype_of(arr)))
    places = asarray(np.arange(n, dtype=np.int32)[obj] if isinstance(obj, slice) else obj)
    if len(shape_of(places)) > 1 or not dtypes.is_integer(dtype_of(places)):
        raise ArgumentError(
            located(
                f"insert: obj must be an integer, a slice or a vector of integers, not {dtype_of(places)} of shape "
                f"{shape_of(places)}"
            )
        )
    values = reshape(values, (1,) * (ndim - len(shape_of(values))) + shape_of(values))
    if not shape_of(places):  # at one place the first axis of the values runs along `axis`
        values = moveaxis(values, 0, axis)
    places = ravel(places)
    count = shape_of(values)[axis] if shape_of(places) == (1,) else shape_of(places)[0]
    if count == 0:
        return arr
    shape = list(shape_of(arr))
    shape[axis] = count
    values, places = broadcast_to(values, shape), broadcast_to(places, (count,))
    places = ufuncs.where_scalar(ufuncs.less(places, 0), ufuncs.add(places, n), places)
    places = convert(ufuncs.clip(places, 0, n), dtypes.int32)
    # The k-th of the places in increasing order has k inserted slices before it.
    order = argsort(places)
    targets = update(places, order, arange(count), "add", unique_indices=True)
    return take(concatenate([arr, values], axis), _sources(targets, n, count), axis, mode="clip")


def _sources(targets, n: int, count: int):
    """Where each slice of the result comes from: the n old slices, then the `count` inserted at `targets`."""
    inserted = update(full((n + count,), False, dtypes.bool_), targets, True, "set", mode="drop")
    old = ufuncs.subtract(cumsum(ufuncs.logical_not(inserted), dtype=dtypes.int32), 1)
    return update(old, targets, arange(n, n + count), "set", mode="drop")


def trim_zeros(filt, trim: str = "fb", axis=None):
    """`filt` without the zeros at the front ('f'), the back ('b') or both ('fb') of each axis (or of those in `axis`).

    Only slices of zeros alone are removed. The shape of the result depends on values, so `filt` must be concrete.
    """
    check_array("trim_zeros", filt)
    if not is_concrete(filt):
        raise TracerError(located("trim_zeros: the size of the result depends on values, so filt must not be traced"))
    if not set(trim.lower()) <= set("fb"):
        raise ArgumentError(located(f"trim_zeros: trim must be 'f', 'b' or 'fb', not {trim!r}"))
    axes = canonical_axes(axis, len(shape_of(filt)), "trim_zeros")
    values = np.asarray(filt) != 0
    bounds = [slice(0, n) for n in shape_of(filt)]
    for a in axes if trim else ():
        kept = np.flatnonzero(values.any(axis=tuple(b for b in range(values.ndim) if b != a)))
        first = int(kept[0]) if kept.size and "f" in trim.lower() else 0
        last = int(kept[-1]) + 1 if kept.size and "b" in trim.lower() else shape_of(filt)[a]
        bounds[a] = slice(first, last) if kept.size else slice(0, 0)
    return getitem(asarray(filt), tuple(bounds))


# ---- replacing -------------------------------------------------------------------------------------------------


def _refuse_inplace(name: str, inplace: bool) -> None:
    if inplace:
        raise ArgumentError(located(f"{name}: arrays never change; write x = {name}(x, ..., inplace=False)"))


def put(a, ind, v, mode: str | None = None, *, inplace: bool = True):
    """`a` with the values `v`, repeated as often as needed, at the indices `ind`, which count in its row of elements.

    Indices out of bounds are dropped, or clamped (mode 'clip'), or taken modulo the size ('wrap').
    """
    _refuse_inplace("put", inplace)
    check_array("put", a, ind, v)
    a, row, v = asarray(a), ravel(asarray(ind)), ravel(asarray(v))
    size = a.size
    if not size or not shape_of(row)[0] or not shape_of(v)[0]:
        return a
    if mode not in (None, "clip", "wrap"):
        raise ArgumentError(located(f"put: mode must be None, 'clip' or 'wrap', not {mode!r}"))
    if mode is not None:
        row = ufuncs.clip(row, 0, size - 1) if mode == "clip" else ufuncs.remainder(row, size)
    v = resize(v, shape_of(row))
    return reshape(update(ravel(a), row, v, "set", mode="drop"), shape_of(a))


def place(arr, mask, vals, *, inplace: bool = True):
    """`arr` with the values `vals` one after another where the mask (of as many elements) is true, over and over again.

    Raises `ShapeError` when the sizes of `arr` and the mask differ.
    """
    _refuse_inplace("place", inplace)
    check_array("place", arr, mask, vals)
    arr, row, vals = asarray(arr), ravel(asarray(ufuncs.truth(mask))), ravel(asarray(vals))
    if arr.size != shape_of(row)[0]:
        raise ShapeError(located(f"place: an array of shape {shape_of(arr)} and a mask of shape {shape_of(mask)}"))
    if not arr.size:
        return arr
    if not shape_of(vals)[0]:
        raise ShapeError(located("place: vals has no elements to put in place"))
    number = ufuncs.remainder(ufuncs.subtract(cumsum(row, dtype=dtypes.int32), 1), shape_of(vals)[0])
    chosen = take(convert(vals, dtype_of(arr)), number, mode="clip")
    return reshape(ufuncs.where_scalar(row, chosen, ravel(arr)), shape_of(arr))


def fill_diagonal(a, val, wrap: bool = False, *, inplace: bool = True):
    """`a` with `val`, repeated as often as needed, on its main diagonal.

    Raises `ShapeError` for fewer than two axes, or more of unequal sizes. `wrap`, as in JAX, is not there.
    """
    _refuse_inplace("fill_diagonal", inplace)
    check_array("fill_diagonal", a, val)
    if wrap:
        raise ArgumentError(located("fill_diagonal: wrap=True is not supported; fill the square parts one by one"))
    shape = shape_of(a)
    if len(shape) < 2 or len(shape) > 2 and len(set(shape)) > 1:
        raise ShapeError(located(f"fill_diagonal: shape {shape} is no matrix and has not equal axes"))
    count = min(shape)
    val = asarray(convert(val, dtype_of(a)))
    val = resize(val, count) if shape_of(val) else val
    return update(asarray(a), diag_indices(count, len(shape)), val, "set")
