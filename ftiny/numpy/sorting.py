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
from ftiny.numpy.common import canonical_axis, check_array, dtype_of, is_concrete, shape_of
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


def unique(
    x,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    *,
    size: int | None = None,
    fill_value=None,
):
    """The different elements of `x` in increasing order; on request where each first occurs, which of them each
    element is, and how often each occurs.

    In a traced function the number of them is unknown: give `size`; the result is cut, or filled up with `fill_value`
    (default: the smallest element).
    """
    check_array("unique", x)
    if size is None and not is_concrete(x):
        raise TracerError(located("unique: the number of different elements of a traced array is unknown; give size="))
    x = asarray(x)
    row = ravel(x)
    count = shape_of(row)[0]
    places = primitives.iota(shape=(count,), dtype=dtypes.int32, axis=0)
    ordered, order = primitives.sort(row, places, axis=0, num_keys=1, stable=True)
    new = _starts_run(ordered)
    if size is None:
        size = int(np.asarray(new).sum())
    (starts,) = nonzero(new, size=size, fill_value=count)
    found = take(ordered, starts, fill_value=None, mode="clip")
    missing = ufuncs.equal(starts, count)
    filler = slice_axis(ordered, 0, 0, 1) if fill_value is None and count else fill_value
    values = ufuncs.where_scalar(missing, *_fill_like(found, filler)) if count else found
    results = [values]
    if return_index:
        results.append(take(order, starts, mode="clip"))
    if return_inverse:
        from ftiny.numpy.reductions import cumsum

        rank = ufuncs.subtract(cumsum(new, dtype=dtypes.int32), 1)
        inverse = primitives.sort(order, rank, axis=0, num_keys=1, stable=True)[1]
        results.append(reshape(inverse, shape_of(x)))
    if return_counts:
        ends = concatenate([slice_axis(starts, 0, 1, size), asarray(np.full(min(size, 1), count, np.int32))])
        results.append(ufuncs.subtract(ends, starts))
    return results[0] if len(results) == 1 else tuple(results)


def _starts_run(ordered):
    """Where an element of a sorted vector differs from the one before it; NaNs count as equal."""
    count = shape_of(ordered)[0]
    if count == 0:
        return primitives.broadcast(np.bool_(False), shape=(0,), dims=())
    after, before = slice_axis(ordered, 0, 1, count), slice_axis(ordered, 0, 0, count - 1)
    differs = ufuncs.not_equal(after, before)
    if dtypes.is_inexact(dtype_of(ordered)):
        differs = ufuncs.logical_and(
            differs, ufuncs.logical_not(ufuncs.logical_and(ufuncs.isnan(after), ufuncs.isnan(before)))
        )
    return concatenate([primitives.broadcast(np.bool_(True), shape=(1,), dims=()), differs])


def _fill_like(found, filler):
    """(fill values, found) of one dtype and shape, for a select."""
    from ftiny.numpy.common import convert, materialize

    return materialize(convert(filler, dtype_of(found)), shape_of(found)), found


def histogram(x, bins: int = 10, range: tuple[float, float] | None = None, weights=None, density: bool = False):  # noqa: A002
    """(counts, edges): how many elements of `x` (with what total weight) fall into each of the bins.

    `bins` is their number, over `range` (default: from the smallest element to the largest), or their edges.
    """
    from ftiny.numpy.creation import linspace
    from ftiny.numpy.indexing import where
    from ftiny.numpy.reductions import diff
    from ftiny.numpy.reductions import max as largest
    from ftiny.numpy.reductions import min as smallest
    from ftiny.numpy.reductions import sum as sum_of
    from ftiny.numpy.searching import bincount, searchsorted

    check_array("histogram", x)
    x = ravel(asarray(x))
    if isinstance(bins, int):
        low, high = (smallest(x), largest(x)) if range is None else range
        flat = ufuncs.equal(low, high)
        low, high = where(flat, ufuncs.subtract(low, 0.5), low), where(flat, ufuncs.add(high, 0.5), high)
        edges = linspace(low, high, bins + 1)
    else:
        edges = asarray(bins)
        bins = shape_of(edges)[0] - 1
    place = ufuncs.subtract(searchsorted(edges, x, side="right"), 1)
    last = ufuncs.equal(x, slice_axis(edges, 0, bins, bins + 1))
    place = where(last, bins - 1, where(ufuncs.less(place, 0), bins, place))
    counts = bincount(place, weights=None if weights is None else ravel(asarray(weights)), length=bins)
    if weights is None:
        counts = asarray(primitives.convert(counts, dtype=dtypes.float32))
    if density:
        counts = ufuncs.divide(ufuncs.divide(counts, diff(edges)), sum_of(counts))
    return counts, edges


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
