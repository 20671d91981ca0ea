"""Sorting, and what is found by sorting.

Input: an array and an axis. Output: the sorted elements, or the indices that sort them (int32):

    >>> argsort(ftiny.numpy.array([3., 1., 2.]))
    Array([1, 2, 0], dtype=int32)

Sorts are stable, so equal elements keep their order; NaN comes last.
"""

from __future__ import annotations

import numpy as np

from ftiny import dtypes, primitives
from ftiny.errors import ArgumentError, TracerError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    canonical_axis,
    check_array,
    constant_like,
    convert,
    dtype_of,
    is_concrete,
    require_kind,
    shape_of,
)
from ftiny.numpy.creation import asarray
from ftiny.numpy.indexing import nonzero, take
from ftiny.numpy.manipulation import concatenate, flip, ravel, reshape, slice_axis
from ftiny.source import located


def sort(x, axis: int | None = -1, *, stable: bool = True, descending: bool = False):
    """The elements of `x` in increasing (or decreasing) order along `axis` (None: of the row of elements)."""
    check_array("sort", x)
    x, axis = (ravel(asarray(x)), 0) if axis is None else (asarray(x), canonical_axis(axis, len(shape_of(x)), "sort"))
    (ordered,) = primitives.sort(x, axis=axis, num_keys=1, stable=stable)
    return flip(ordered, axis) if descending else ordered


def argsort(x, axis: int | None = -1, *, stable: bool = True, descending: bool = False):
    """The indices along `axis` that put `x` in increasing (or decreasing) order."""
    check_array("argsort", x)
    x, axis = (
        (ravel(asarray(x)), 0) if axis is None else (asarray(x), canonical_axis(axis, len(shape_of(x)), "argsort"))
    )
    places = primitives.iota(shape=shape_of(x), dtype=dtypes.int32, axis=axis)
    if not descending:
        return primitives.sort(x, places, axis=axis, num_keys=1, stable=stable)[1]
    # Read backwards, a stable increasing sort of the reversed array is a stable decreasing one.
    return flip(primitives.sort(flip(x, axis), flip(places, axis), axis=axis, num_keys=1, stable=stable)[1], axis)


def lexsort(keys, axis: int = -1):
    """The indices that sort by several keys: the last key decides, the ones before it where those are equal."""
    arrays = [asarray(key) for key in (keys if isinstance(keys, (list, tuple)) else list(keys))]
    if not arrays:
        raise ArgumentError(located("lexsort needs at least one key"))
    axis = canonical_axis(axis, len(shape_of(arrays[0])), "lexsort")
    places = primitives.iota(shape=shape_of(arrays[0]), dtype=dtypes.int32, axis=axis)
    return primitives.sort(*reversed(arrays), places, axis=axis, num_keys=len(arrays), stable=True)[-1]


def sort_complex(x):
    """The elements of `x` in increasing order along the last axis (of real parts, then imaginary ones), as complex."""
    ordered = sort(x)
    return convert(ordered, dtypes.complex_dtype(dtype_of(ordered)))


def _partition_axis(name: str, x, kth: int, axis: int) -> int:
    check_array(name, x)
    require_kind(name, x, ("bool", "int", "float"))
    axis = canonical_axis(axis, len(shape_of(x)), name)
    n = shape_of(x)[axis]
    if not -n <= kth < n:
        raise ArgumentError(located(f"{name}: kth={kth} is out of bounds for axis {axis} of size {n}"))
    return axis


def partition(x, kth: int, axis: int = -1):
    """`x` reordered along `axis` so that element `kth` is where sorting puts it, no larger one before it and no smaller
    one after it. (Those are sorted as well: a full sort is what the devices do fastest.)
    """
    return sort(x, _partition_axis("partition", x, kth, axis))


def argpartition(x, kth: int, axis: int = -1):
    """The indices along `axis` that partition `x`; see `partition`."""
    return argsort(x, _partition_axis("argpartition", x, kth, axis))


def unique(
    x,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value=None,
):
    """The different elements of `x` in increasing order; on request where each first occurs, which of them each
    element is, and how often each occurs.

    In a traced function the number of them is unknown: give `size`; the result is cut, or filled up with `fill_value`
    (default: the smallest element). NaNs are one element, or each its own if not `equal_nan`.
    """
    check_array("unique", x)
    if size is None and not is_concrete(x):
        raise TracerError(located("unique: the number of different elements of a traced array is unknown; give size="))
    x = asarray(x)
    row = ravel(x)
    count = shape_of(row)[0]
    places = primitives.iota(shape=(count,), dtype=dtypes.int32, axis=0)
    ordered, order = primitives.sort(row, places, axis=0, num_keys=1, stable=True)
    new = _starts_run(ordered, equal_nan)
    if size is None:
        size = int(np.asarray(new).sum())
    (bounds,) = nonzero(new, size=size + 1, fill_value=count)  # one more, where the last run ends
    starts = slice_axis(bounds, 0, 0, size)
    found = take(ordered, starts, fill_value=None, mode="clip")
    missing = ufuncs.equal(starts, count)
    filler = slice_axis(ordered, 0, 0, 1) if fill_value is None and count else fill_value
    values = ufuncs.where_scalar(missing, *_fill_like(found, filler)) if count else found
    results = [values]
    if return_index:
        results.append(take(order, ufuncs.where_scalar(missing, constant_like(starts, 0), starts), mode="clip"))
    if return_inverse:
        from ftiny.numpy.reductions import cumsum

        rank = ufuncs.subtract(cumsum(new, dtype=dtypes.int32), 1)
        inverse = primitives.sort(order, rank, axis=0, num_keys=1, stable=True)[1]
        results.append(reshape(inverse, shape_of(x)))
    if return_counts:
        results.append(ufuncs.subtract(slice_axis(bounds, 0, 1, size + 1), starts))
    return results[0] if len(results) == 1 else tuple(results)


def _starts_run(ordered, equal_nan: bool):
    """Where an element of a sorted vector differs from the one before it."""
    count = shape_of(ordered)[0]
    if count == 0:
        return primitives.broadcast(np.bool_(False), shape=(0,), dims=())
    after, before = slice_axis(ordered, 0, 1, count), slice_axis(ordered, 0, 0, count - 1)
    differs = ufuncs.not_equal(after, before)
    if equal_nan and dtypes.is_inexact(dtype_of(ordered)):
        differs = ufuncs.logical_and(
            differs, ufuncs.logical_not(ufuncs.logical_and(ufuncs.isnan(after), ufuncs.isnan(before)))
        )
    return concatenate([primitives.broadcast(np.bool_(True), shape=(1,), dims=()), differs])


def _fill_like(found, filler):
    """(fill values, found) of one dtype and shape, for a select."""
    from ftiny.numpy.common import materialize

    return materialize(convert(filler, dtype_of(found)), shape_of(found)), found


def top_k(x, k: int, axis: int = -1):
    """(values, indices) of the k largest elements along `axis`, the largest first; of equals the first one first."""
    check_array("top_k", x)
    axis = canonical_axis(axis, len(shape_of(x)), "top_k")
    x = asarray(x)
    n = shape_of(x)[axis]
    if not 0 <= k <= n:
        raise ArgumentError(located(f"top_k: k={k} must be between 0 and the size {n} of axis {axis}"))
    places = primitives.iota(shape=shape_of(x), dtype=dtypes.int32, axis=axis)
    ordered, where = primitives.sort(flip(x, axis), flip(places, axis), axis=axis, num_keys=1, stable=True)
    return tuple(slice_axis(flip(v, axis), axis, 0, k) for v in (ordered, where))
