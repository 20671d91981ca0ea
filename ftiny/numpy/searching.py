"""Searching: places in sorted vectors, counts, interpolation.

Input: vectors and values. Output: int32 places, counts, or interpolated values:

    >>> searchsorted(ftiny.numpy.array([1., 3., 5.]), 4.)
    Array(2, dtype=int32)
"""

from __future__ import annotations

import builtins

import numpy as np

from ftiny import dtypes
from ftiny.errors import ArgumentError, ShapeError, TracerError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import check_array, convert, dtype_of, is_concrete, shape_of
from ftiny.numpy.creation import asarray, full
from ftiny.numpy.indexing import getitem, take, update, where
from ftiny.source import located


def searchsorted(a, v, side: str = "left", sorter=None):
    """For each element of `v` the place in the sorted vector `a` where it keeps the order.

    `side="left"` gives the first such place, `"right"` the last. Found by bisection.
    """
    check_array("searchsorted", a, v)
    if side not in ("left", "right"):
        raise ArgumentError(located(f"searchsorted: side must be 'left' or 'right', not {side!r}"))
    if len(shape_of(a)) != 1:
        raise ShapeError(located(f"searchsorted: the sorted array must be a vector, but its shape is {shape_of(a)}"))
    a = asarray(a) if sorter is None else take(a, sorter)
    dtype = dtypes.result_type(a, v)
    a, v = convert(a, dtype), asarray(convert(v, dtype))
    n = shape_of(a)[0]
    low, high = full(shape_of(v), 0, dtypes.int32), full(shape_of(v), n, dtypes.int32)
    for _ in range(n.bit_length()):
        middle = ufuncs.right_shift(ufuncs.add(low, high), 1)
        value = take(a, middle, mode="clip")
        goes_right = ufuncs.less(value, v) if side == "left" else ufuncs.less_equal(value, v)
        goes_right = ufuncs.logical_and(goes_right, ufuncs.less(middle, high))
        low = ufuncs.where_scalar(goes_right, ufuncs.add(middle, 1), low)
        high = ufuncs.where_scalar(goes_right, high, middle)
    return low


def digitize(x, bins, right: bool = False):
    """The number of the bin of each element of `x`, between the edges `bins` (increasing)."""
    return searchsorted(bins, x, side="left" if right else "right")


def bincount(x, weights=None, minlength: int = 0, *, length: int | None = None):
    """How often (or with what total weight) each number 0, 1, ... occurs in the vector `x`.

    In a traced function give `length`, the number of counts; larger elements are dropped.
    """
    check_array("bincount", x)
    if length is None:
        if not is_concrete(x):
            raise TracerError(located("bincount: the number of counts of a traced array is unknown; give length="))
        values = np.asarray(x)
        length = builtins.max(minlength, int(values.max()) + 1 if values.size else 0)
    dtype = dtypes.int32 if weights is None else dtype_of(weights)
    counts = full((length,), 0, dtype)
    return update(counts, asarray(ufuncs.maximum(x, 0)), 1 if weights is None else weights, "add", mode="drop")


def interp(x, xp, fp, left=None, right=None):
    """The piecewise linear function through the points (xp, fp), at `x`; `xp` must increase.

    Outside it is constant, or `left` and `right`.
    """
    check_array("interp", x, xp, fp)
    dtype = dtypes.result_type(x, xp, fp, 0.0)
    x, xp, fp = (asarray(convert(v, dtype)) for v in (x, xp, fp))
    n = shape_of(xp)[0]
    at = ufuncs.clip(searchsorted(xp, x, side="right"), 1, n - 1)
    pick = lambda values, place: take(values, place, mode="clip")
    x0, x1 = pick(xp, ufuncs.subtract(at, 1)), pick(xp, at)
    y0, y1 = pick(fp, ufuncs.subtract(at, 1)), pick(fp, at)
    width = ufuncs.subtract(x1, x0)
    flat = ufuncs.equal(width, 0)
    slope = ufuncs.divide(ufuncs.subtract(y1, y0), where(flat, 1, width))
    inside = where(flat, y0, ufuncs.add(y0, ufuncs.multiply(slope, ufuncs.subtract(x, x0))))
    first, last = getitem(fp, 0) if left is None else left, getitem(fp, -1) if right is None else right
    result = where(ufuncs.less(x, getitem(xp, 0)), first, inside)
    return where(ufuncs.greater(x, getitem(xp, -1)), last, result)
