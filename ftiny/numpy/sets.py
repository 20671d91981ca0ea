"""Sets: vectors of different elements, in increasing order, and questions about membership.

Input: arrays, whose elements count in one row. Output: vectors, or a mask of the shape of the first array:

    >>> intersect1d(ftiny.numpy.array([3, 1, 2]), ftiny.numpy.array([2, 3, 5]))
    Array([2, 3], dtype=int32)

How many elements a set has depends on values. In a traced function give `size`: the result is cut to it, or filled up
with `fill_value`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ftiny import dtypes, primitives
from ftiny.errors import ArgumentError, TracerError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import check_array, convert, dtype_of, is_concrete, materialize, shape_of
from ftiny.numpy.creation import asarray, full
from ftiny.numpy.indexing import nonzero, take, where
from ftiny.numpy.manipulation import concatenate, expand_dims, ravel, slice_axis
from ftiny.numpy.reductions import all as all_of
from ftiny.numpy.reductions import any as any_of
from ftiny.numpy.searching import searchsorted
from ftiny.numpy.sorting import sort, unique
from ftiny.source import located

# ---- membership ------------------------------------------------------------------------------------------------


def isin(element, test_elements, assume_unique: bool = False, invert: bool = False, *, method: str = "auto"):
    """For each element of the first array whether the second has it (or not, under `invert`).

    `method` is 'compare_all' (every pair, what 'auto' does) or 'binary_search' (in the sorted second array; 'sort' is
    the same here). `assume_unique` changes nothing.
    """
    check_array("isin", element, test_elements)
    dtype = dtypes.result_type(element, test_elements)
    x, others = asarray(convert(element, dtype)), ravel(asarray(convert(test_elements, dtype)))
    if method not in ("auto", "compare_all", "binary_search", "sort"):
        raise ArgumentError(
            located(f"isin: method must be 'auto', 'compare_all', 'binary_search' or 'sort', not {method!r}")
        )
    if shape_of(others)[0] == 0:
        return full(shape_of(x), invert, dtypes.bool_)
    if method in ("auto", "compare_all"):
        column = expand_dims(x, -1)
        return all_of(ufuncs.not_equal(column, others), -1) if invert else any_of(ufuncs.equal(column, others), -1)
    others = sort(others)
    nearest = take(others, searchsorted(others, x), mode="clip")
    return ufuncs.not_equal(x, nearest) if invert else ufuncs.equal(x, nearest)


# ---- sets of one array -----------------------------------------------------------------------------------------


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Any
    inverse_indices: Any


def unique_all(x, /, *, size: int | None = None, fill_value=None) -> UniqueAll:
    """(values, indices, inverse_indices, counts): the different elements of `x`, where each first occurs, which of them
    each element is, and how often each occurs. Every NaN is an element of its own; see `unique` for `size`.
    """
    return UniqueAll(*unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value))


def unique_counts(x, /, *, size: int | None = None, fill_value=None) -> UniqueCounts:
    """(values, counts): the different elements of `x` and how often each occurs; see `unique_all`."""
    return UniqueCounts(*unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_inverse(x, /, *, size: int | None = None, fill_value=None) -> UniqueInverse:
    """(values, inverse_indices): the different elements of `x` and which of them each element is; see `unique_all`."""
    return UniqueInverse(*unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_values(x, /, *, size: int | None = None, fill_value=None):
    """The different elements of `x` in increasing order, every NaN one of its own; see `unique`."""
    return unique(x, equal_nan=False, size=size, fill_value=fill_value)


# ---- sets of two arrays ----------------------------------------------------------------------------------------


def _check_size(name: str, x, y, size: int | None) -> None:
    check_array(name, x, y)
    if size is None and not (is_concrete(x) and is_concrete(y)):
        raise TracerError(located(f"{name}: the number of results of traced arrays is unknown; give size="))


def _two_rows(name: str, x, y, size: int | None):
    """Both arrays as vectors of one dtype."""
    _check_size(name, x, y, size)
    dtype = dtypes.result_type(x, y)
    return ravel(asarray(convert(x, dtype))), ravel(asarray(convert(y, dtype)))


def _pick(values, chosen, size: int | None, fill_value):
    """The `values` (sorted) where `chosen` is true, filled up with `fill_value` (None: the first, or 0 without any)."""
    if size is None:
        return take(values, np.flatnonzero(np.asarray(chosen)).astype(np.int32))
    count = shape_of(values)[0]
    if count == 0:
        return full((size,), 0 if fill_value is None else fill_value, dtype_of(values))
    (places,) = nonzero(chosen, size=size, fill_value=count)
    found = take(values, places, mode="clip")
    missing = ufuncs.equal(places, count)
    if fill_value is None:
        fill_value = where(any_of(chosen), slice_axis(found, 0, 0, 1), 0) if size else 0
    filler = materialize(convert(fill_value, dtype_of(values)), (size,))
    return ufuncs.where_scalar(missing, filler, found)


def _runs(x, y, assume_unique: bool):
    """The elements of both sets in increasing order, where each came from, and which are the first of an equal pair.

    Returns (values, places, real, pairs): `places` counts through x and then y; `real` is false where an element that
    occurs again in the same array stands, which are sorted to the end; `pairs` is true where the next element is equal.
    """
    values = concatenate([x, y])
    places = primitives.iota(shape=shape_of(values), dtype=dtypes.int32, axis=0)
    again = full(shape_of(values), False, dtypes.bool_)
    if not assume_unique:
        again = concatenate([_repeated(x), _repeated(y)])
    again, values, places = primitives.sort(again, values, places, axis=0, num_keys=2, stable=True)
    real = ufuncs.logical_not(again)
    count = shape_of(values)[0]
    next_real = concatenate([slice_axis(real, 0, min(count, 1), count), np.zeros(min(count, 1), np.bool_)])
    after = concatenate([slice_axis(values, 0, min(count, 1), count), slice_axis(values, 0, 0, min(count, 1))])
    pairs = ufuncs.logical_and(ufuncs.logical_and(real, next_real), ufuncs.equal(values, after))
    return values, places, real, pairs


def _repeated(x):
    """Which elements of a vector occur before."""
    count = shape_of(x)[0]
    places = primitives.iota(shape=(count,), dtype=dtypes.int32, axis=0)
    ordered, order = primitives.sort(x, places, axis=0, num_keys=1, stable=True)
    same = ufuncs.equal(slice_axis(ordered, 0, min(count, 1), count), slice_axis(ordered, 0, 0, max(count - 1, 0)))
    same = concatenate([np.zeros(min(count, 1), np.bool_), same])
    return primitives.sort(order, same, axis=0, num_keys=1, stable=True)[1]


def union1d(ar1, ar2, *, size: int | None = None, fill_value=None):
    """The elements of either array, each once, in increasing order."""
    return unique(concatenate(_two_rows("union1d", ar1, ar2, size)), size=size, fill_value=fill_value)


def intersect1d(
    ar1, ar2, assume_unique: bool = False, return_indices: bool = False, *, size: int | None = None, fill_value=None
):
    """The elements that both arrays have, each once, in increasing order.

    Under `return_indices` also where each first occurs in `ar1` and in `ar2` (their sizes, for what fills it up).
    Without a `fill_value` the smallest result fills it up. `assume_unique` says that no array has an element twice.
    """
    ar1, ar2 = _two_rows("intersect1d", ar1, ar2, size)
    values, places, _, pairs = _runs(ar1, ar2, assume_unique)
    found = _pick(values, pairs, size, fill_value)
    if not return_indices:
        return found
    count, first = shape_of(values)[0], shape_of(ar1)[0]
    after = concatenate([slice_axis(places, 0, min(count, 1), count), slice_axis(places, 0, 0, min(count, 1))])
    in_y = ufuncs.subtract(after, first)
    return found, _pick(places, pairs, size, first), _pick(in_y, pairs, size, shape_of(ar2)[0])


def setdiff1d(ar1, ar2, assume_unique: bool = False, *, size: int | None = None, fill_value=None):
    """The elements of `ar1` that `ar2` lacks, each once, in increasing order (as they stand if `assume_unique`).

    Without a `fill_value` zeros fill the result up.
    """
    _check_size("setdiff1d", ar1, ar2, size)
    ar1 = ravel(asarray(ar1))
    again = full(shape_of(ar1), False, dtypes.bool_)
    if not assume_unique:
        ar1 = sort(ar1)
        again = _repeated(ar1)
    chosen = ufuncs.logical_and(ufuncs.logical_not(again), isin(ar1, ar2, invert=True))
    return _pick(ar1, chosen, size, 0 if fill_value is None else fill_value)


def setxor1d(ar1, ar2, assume_unique: bool = False, *, size: int | None = None, fill_value=None):
    """The elements that exactly one of the arrays has, each once, in increasing order.

    Without a `fill_value` the smallest result fills it up.
    """
    ar1, ar2 = _two_rows("setxor1d", ar1, ar2, size)
    values, _, real, pairs = _runs(ar1, ar2, assume_unique)
    count = shape_of(values)[0]
    second = concatenate([np.zeros(min(count, 1), np.bool_), slice_axis(pairs, 0, 0, max(count - 1, 0))])
    alone = ufuncs.logical_not(ufuncs.logical_or(pairs, second))
    return _pick(values, ufuncs.logical_and(real, alone), size, fill_value)
