"""Statistics of samples: `mode`, `rankdata`, `sem` of `ftiny.scipy.stats`.

Input: an array and an axis. Output: arrays without that axis, or ranks in the place of the elements:

    >>> rankdata(ftiny.numpy.array([30, 10, 10]))
    Array([3. , 1.5, 1.5], dtype=float32)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ftiny import dtypes
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError
from ftiny.numpy.common import canonical_axis, check_array, convert, dtype_of, shape_of
from ftiny.source import located
from ftiny.transforms.vmap import vmap


class ModeResult(NamedTuple):
    """What `mode` gives: the most frequent values, and how often they occur."""

    mode: Any
    count: Any  # type: ignore[assignment]  # the name that scipy gives it


def _check_policy(name: str, nan_policy: str, known: tuple[str, ...]) -> None:
    if nan_policy not in known:
        raise ArgumentError(located(
            f"scipy.stats.{name}: nan_policy must be {' or '.join(map(repr, known))}, not {nan_policy!r}; whether an "
            "array has NaN among its elements is not known in a traced function"))


def _run_numbers(ordered):
    """For each element of a sorted vector the number of its run of equal elements, from 0 on; NaNs are equal."""
    same = fnp.equal(ordered[1:], ordered[:-1])
    if dtypes.is_inexact(dtype_of(ordered)):
        same = fnp.logical_or(same, fnp.logical_and(fnp.isnan(ordered[1:]), fnp.isnan(ordered[:-1])))
    changes = fnp.concatenate([fnp.zeros(1, dtypes.int32), convert(fnp.logical_not(same), dtypes.int32)])
    return fnp.cumsum(changes, dtype=dtypes.int32)


def _mode(x):
    """The most frequent element of a vector, the smallest of several, and its count."""
    ordered = fnp.sort(x)
    counts = fnp.bincount(_run_numbers(ordered), length=shape_of(x)[0])
    longest = fnp.argmax(counts)
    first = fnp.sum(fnp.where(np.arange(shape_of(x)[0]) < longest, counts, 0))
    return fnp.take(ordered, first, mode="clip"), fnp.max(counts)


def mode(a, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False) -> ModeResult:
    """`(mode, count)`: the most frequent element along an axis, the smallest of several, and how often it occurs.

    axis: None: of all elements. keepdims: the axis stays, with size 1. An empty axis gives NaN and 0.

    Raises `ArgumentError` for another `nan_policy` than 'propagate', with which NaNs count as equal elements.
    """
    check_array("scipy.stats.mode", a)
    _check_policy("mode", nan_policy, ("propagate",))
    a = fnp.atleast_1d(fnp.asarray(a))
    shape = shape_of(a)
    kept = tuple(1 for _ in shape)
    if axis is None:
        a, axis, shape = fnp.ravel(a), 0, ()
    else:
        axis = canonical_axis(axis, len(shape), "scipy.stats.mode")
        kept = (*shape[:axis], 1, *shape[axis + 1 :])
        shape = (*shape[:axis], *shape[axis + 1 :])
    shape = kept if keepdims else shape
    if not shape_of(a)[axis]:
        return ModeResult(fnp.full(shape, math.nan, dtypes.float32), fnp.zeros(shape, dtypes.float32))
    columns = fnp.reshape(fnp.moveaxis(a, axis, 0), (shape_of(a)[axis], math.prod(shape)))
    values, counts = vmap(_mode, 1)(columns)
    return ModeResult(fnp.reshape(values, shape), fnp.reshape(counts, shape))


def _ranks(a, method: str):
    """The ranks of a vector, from the places of its elements and of their runs in its order."""
    size = shape_of(a)[0]
    order = fnp.argsort(a)
    place = fnp.argsort(order)
    if method == "ordinal":
        return convert(fnp.add(place, 1), dtypes.float32)
    runs = _run_numbers(fnp.take(a, order))
    own = fnp.take(runs, place)
    if method == "dense":
        return convert(fnp.add(own, 1), dtypes.float32)
    counts = fnp.bincount(runs, length=size)
    last = fnp.take(fnp.cumsum(counts, dtype=dtypes.int32), own)
    first = fnp.add(fnp.subtract(last, fnp.take(counts, own)), 1)
    if method == "average":
        return 0.5 * convert(fnp.add(first, last), dtypes.float32)
    return convert(first if method == "min" else last, dtypes.float32)


def rankdata(a, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate"):
    """The ranks of the elements, from 1 on, in float32; along an axis, or (None) of all elements as a vector.

    method: what equal elements get: 'average', 'min' or 'max' of their ranks; 'dense': one rank, followed by the next;
    'ordinal': ranks in the order of their places. Where one element is NaN all ranks are.

    Raises `ArgumentError` for another method and for another `nan_policy` than 'propagate'.
    """
    check_array("scipy.stats.rankdata", a)
    _check_policy("rankdata", nan_policy, ("propagate",))
    if method not in ("average", "min", "max", "dense", "ordinal"):
        raise ArgumentError(located(
            f"scipy.stats.rankdata: method must be 'average', 'min', 'max', 'dense' or 'ordinal', not {method!r}"))
    a = fnp.asarray(a)
    if axis is not None:
        return fnp.apply_along_axis(lambda x: rankdata(x, method), axis, a)
    a = fnp.ravel(a)
    if not shape_of(a)[0]:
        return fnp.zeros(0, dtypes.float32)
    ranks = _ranks(a, method)
    return fnp.where(fnp.any(fnp.isnan(a)), math.nan, ranks) if dtypes.is_inexact(dtype_of(a)) else ranks


def sem(a, axis: int | None = 0, ddof: int = 1, nan_policy: str = "propagate", *, keepdims: bool = False):
    """The standard error of the mean along an axis: the standard deviation, with `ddof`, over the root of the count.

    nan_policy: 'propagate', or 'omit', which leaves NaNs out. Raises `ArgumentError` for others.
    """
    check_array("scipy.stats.sem", a)
    _check_policy("sem", nan_policy, ("propagate", "omit"))
    dtype = dtype_of(a)
    a = fnp.asarray(convert(a, dtype if dtypes.is_inexact(dtype) else dtypes.float32))
    if nan_policy == "omit":
        count = convert(fnp.sum(fnp.logical_not(fnp.isnan(a)), axis=axis, keepdims=keepdims), a.dtype)
        return fnp.nanstd(a, axis=axis, ddof=ddof, keepdims=keepdims) / fnp.sqrt(count)
    if axis is not None:
        axis = canonical_axis(axis, len(shape_of(a)), "scipy.stats.sem")
    count = math.prod(shape_of(a)) if axis is None else shape_of(a)[axis]
    return fnp.std(a, axis=axis, ddof=ddof, keepdims=keepdims) / math.sqrt(count)
