"""Folding axes away: sums, products, extrema, positions of extrema, means, and running versions of them.

Input: an array and an axis, a tuple of axes or None for all. Output: an array without those axes, or with size 1 there
under `keepdims`:

    >>> sum(ftiny.numpy.ones((2, 3)), axis=1, keepdims=True)
    Array([[3.],
           [3.]], dtype=float32)

16-bit floats are accumulated in float32. Integer sums stay in int32 (uint32, or the 64-bit dtype of the input).
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ftiny import dtypes, primitives
from ftiny.contraction import reduce_spec
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    canonical_axes,
    canonical_axis,
    check_array,
    constant_like,
    convert,
    dtype_of,
    full_shape,
    materialize,
    require_kind,
    scalar_literal,
    shape_of,
)
from ftiny.numpy.creation import asarray, full
from ftiny.numpy.manipulation import broadcast_to, concatenate, expand_dims, moveaxis, ravel, reshape, slice_axis
from ftiny.source import located
from ftiny.transforms.custom import stop_gradient

# ---- the one way into the primitive ----------------------------------------------------------------------------


def fold(x, op: str, axes: tuple[int, ...], keepdims: bool = False):
    """`x` with `axes` (non-negative) folded by the primitive's `op`."""
    shape = shape_of(x)
    if axes or op not in ("sum", "prod", "min", "max", "and", "or", "xor"):
        x = primitives.reduce(x, op=op, spec=reduce_spec(shape, axes))
    return reshape(x, tuple(1 if a in axes else n for a, n in enumerate(shape))) if keepdims else x


def _masked(name: str, x, where, identity):
    """`x` with `identity` where the mask is false."""
    if where is None:
        return x
    mask = broadcast_to(ufuncs.truth(where), shape_of(x))
    return ufuncs.where_scalar(mask, x, scalar_literal(identity, dtype_of(x)))


def _with_initial(result, initial, combine):
    return result if initial is None else combine(result, convert(initial, dtype_of(result)))


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of the sum of an array: small integers and bools are summed in 32 bits."""
    if dtype == dtypes.bool_:
        return dtypes.int32
    if dtypes.is_integer(dtype) and dtype.itemsize < 4:
        return dtypes.uint32 if dtypes.is_unsigned(dtype) else dtypes.int32
    return dtype


def _total(name: str, op: str, combine, identity: int, does: str):
    def function(x, axis=None, dtype=None, keepdims: bool = False, initial=None, where=None):
        check_array(name, x)
        wanted = sum_dtype(dtype_of(x)) if dtype is None else dtypes.dtype(dtype)
        axes = canonical_axes(axis, len(shape_of(x)), name)
        wide = convert(asarray(x), dtypes.accumulation_dtype(wanted))
        total = convert(fold(_masked(name, wide, where, identity), op, axes, keepdims), wanted)
        return _with_initial(total, initial, combine)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The {does} of the elements along `axis` (an integer, a tuple, or None for all).\n\n"
        "    `dtype` is that of the result; elements where the mask `where` is false do not count."
    )
    return function


sum = _total("sum", "sum", ufuncs.add, 0, "sum")  # noqa: A001
prod = _total("prod", "prod", ufuncs.multiply, 1, "product")


def _lowest(dtype: np.dtype):
    if dtypes.is_float(dtype):
        return -math.inf
    return False if dtype == dtypes.bool_ else np.iinfo(dtype).min


def _highest(dtype: np.dtype):
    if dtypes.is_float(dtype):
        return math.inf
    return True if dtype == dtypes.bool_ else np.iinfo(dtype).max


def _extreme(name: str, op: str, for_bool: str, combine, identity, does: str):
    def function(x, axis=None, keepdims: bool = False, initial=None, where=None):
        check_array(name, x)
        x = asarray(x)
        axes = canonical_axes(axis, len(shape_of(x)), name)
        if where is not None and initial is None:
            raise ArgumentError(located(f"{name}: with where= there may be nothing to compare; give initial="))
        if initial is None and 0 in (shape_of(x)[a] for a in axes):
            raise ShapeError(
                located(f"{name}: an axis of size 0 (shape {shape_of(x)}) has no {does} element; give initial=")
            )
        if dtype_of(x) == dtypes.bool_:
            return _with_initial(
                fold(_masked(name, x, where, identity(dtypes.bool_)), for_bool, axes, keepdims), initial, combine
            )
        require_kind(name, x, ("int", "float"))
        return _with_initial(fold(_masked(name, x, where, identity(dtype_of(x))), op, axes, keepdims), initial, combine)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The {does} element along `axis` (an integer, a tuple, or None for all); NaN if one is NaN.\n\n"
        "    Equal extrema share the gradient. Raises `ShapeError` when there is no element and no `initial`."
    )
    return function


max = amax = _extreme("max", "max", "or", ufuncs.maximum, _lowest, "largest")  # noqa: A001
min = amin = _extreme("min", "min", "and", ufuncs.minimum, _highest, "smallest")  # noqa: A001


def ptp(x, axis=None, keepdims: bool = False):
    """The largest minus the smallest element along `axis`."""
    return ufuncs.subtract(max(x, axis, keepdims), min(x, axis, keepdims))


def _truth_fold(name: str, op: str, identity: bool, does: str):
    def function(x, axis=None, keepdims: bool = False, where=None):
        check_array(name, x)
        axes = canonical_axes(axis, len(shape_of(x)), name)
        return fold(_masked(name, asarray(ufuncs.truth(x)), where, identity), op, axes, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Whether {does} element along `axis` is true (not zero)."
    return function


all = _truth_fold("all", "and", True, "every")  # noqa: A001
any = _truth_fold("any", "or", False, "some")  # noqa: A001


def count_nonzero(x, axis=None, keepdims: bool = False):
    """The number of elements along `axis` that are not zero."""
    return sum(ufuncs.truth(x), axis, dtypes.int32, keepdims)


def _position(name: str, op: str, does: str):
    def function(x, axis: int | None = None, keepdims: bool = False):
        check_array(name, x)
        shape = shape_of(x)
        x = asarray(x) if axis is not None else ravel(x)
        where = canonical_axis(0 if axis is None else axis, len(shape_of(x)), name)
        if shape_of(x)[where] == 0:
            raise ShapeError(located(f"{name}: an axis of size 0 (shape {shape}) has no {does} element"))
        if dtype_of(x) == dtypes.bool_:
            x = convert(x, dtypes.int32)
        found = primitives.reduce(x, op=op, spec=reduce_spec(shape_of(x), (where,)))
        if not keepdims:
            return found
        return reshape(found, (1,) * len(shape)) if axis is None else expand_dims(found, where)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The position (int32) of the {does} element along `axis`, the first of equals, of NaNs if any.\n\n"
        "    Without an axis, the position in the row of all elements."
    )
    return function


argmax = _position("argmax", "argmax", "largest")
argmin = _position("argmin", "argmin", "smallest")


# ---- means and spreads -----------------------------------------------------------------------------------------


def _count(x, axes, where, keepdims: bool, dtype: np.dtype):
    """How many elements go into each mean, as a Python number or an array."""
    if where is None:
        return math.prod(shape_of(x)[a] for a in axes)
    return sum(broadcast_to(ufuncs.truth(where), shape_of(x)), axes, dtype, keepdims)


def mean(x, axis=None, dtype=None, keepdims: bool = False, where=None):
    """The arithmetic mean along `axis`; of integers, in float32."""
    check_array("mean", x)
    wanted = dtypes.result_type(x, 0.0) if dtype is None else dtypes.dtype(dtype)
    if not dtypes.is_inexact(wanted):
        wanted = dtypes.float32
    wide = dtypes.accumulation_dtype(wanted)
    axes = canonical_axes(axis, len(shape_of(x)), "mean")
    total = sum(x, axes, wide, keepdims, where=where)
    return convert(ufuncs.divide(total, _count(x, axes, where, keepdims, wide)), wanted)


def average(x, axis=None, weights=None, returned: bool = False, keepdims: bool = False):
    """The mean along `axis`, weighted by `weights` (of the shape of `x`, or a vector along the one axis).

    With `returned` also the sum of the weights.
    """
    if weights is None:
        result = mean(x, axis, keepdims=keepdims)
        count = math.prod(shape_of(x)[a] for a in canonical_axes(axis, len(shape_of(x)), "average"))
        return (result, full(shape_of(result), count, dtype_of(result))) if returned else result
    x, weights = asarray(x), asarray(weights)
    if shape_of(weights) != shape_of(x):
        if not isinstance(axis, int) or len(shape_of(weights)) != 1:
            raise ShapeError(
                located(
                    f"average: weights of shape {shape_of(weights)} for an array of shape {shape_of(x)}: give "
                    "weights of the same shape, or a vector and an integer axis"
                )
            )
        place = canonical_axis(axis, len(shape_of(x)), "average")
        weights = reshape(weights, tuple(-1 if a == place else 1 for a in range(len(shape_of(x)))))
        weights = broadcast_to(weights, shape_of(x))
    dtype = dtypes.result_type(x, weights, 0.0)
    total = sum(weights, axis, dtype, keepdims)
    result = ufuncs.divide(sum(ufuncs.multiply(x, weights), axis, dtype, keepdims), total)
    return (result, total) if returned else result


def var(x, axis=None, dtype=None, ddof: int = 0, keepdims: bool = False, where=None, *, correction=None):
    """The mean squared distance from the mean along `axis`; the divisor is the count minus `ddof`.

    Computed in two passes, the mean first, so that a large mean does not spoil a small variance.
    """
    check_array("var", x)
    ddof = ddof if correction is None else correction
    wanted = dtypes.result_type(x, 0.0) if dtype is None else dtypes.dtype(dtype)
    wide = dtypes.accumulation_dtype(wanted)
    axes = canonical_axes(axis, len(shape_of(x)), "var")
    values = convert(asarray(x), wide)
    centered = ufuncs.subtract(values, mean(values, axes, keepdims=True, where=where))
    if dtypes.kind(wide) == "complex":
        squares = ufuncs.real(ufuncs.multiply(centered, ufuncs.conj(centered)))
        wanted = dtypes.real_dtype(wanted)
    else:
        squares = ufuncs.multiply(centered, centered)
    count = _count(x, axes, where, keepdims, dtype_of(squares))
    divisor = ufuncs.subtract(count, ddof) if where is not None else count - ddof
    return convert(ufuncs.divide(sum(squares, axes, keepdims=keepdims, where=where), divisor), wanted)


def std(x, axis=None, dtype=None, ddof: int = 0, keepdims: bool = False, where=None, *, correction=None):
    """The square root of the variance along `axis`; see `var`."""
    return ufuncs.sqrt(var(x, axis, dtype, ddof, keepdims, where, correction=correction))


def logsumexp(x, axis=None, b=None, keepdims: bool = False, where=None):
    """log(sum(b * exp(x))) along `axis`, without overflow; `b` are optional factors of the terms."""
    check_array("logsumexp", x)
    (x,) = ufuncs.promote("logsumexp", x, inexact=True)
    x = asarray(x)
    axes = canonical_axes(axis, len(shape_of(x)), "logsumexp")
    largest = max(stop_gradient(ufuncs.real(x)), axes, keepdims=True, initial=-math.inf, where=where)
    shift = ufuncs.where_scalar(ufuncs.isfinite(largest), largest, constant_like(largest, 0))
    terms = ufuncs.exp(ufuncs.subtract(x, shift))
    if b is not None:
        terms = ufuncs.multiply(terms, b)
    total = sum(terms, axes, keepdims=keepdims, where=where)
    return ufuncs.add(ufuncs.log(total), shift if keepdims else reshape(shift, shape_of(total)))


# ---- ignoring NaN ----------------------------------------------------------------------------------------------


def _without_nan(x, replacement):
    x = asarray(x)
    if not dtypes.is_inexact(dtype_of(x)):
        return x
    return ufuncs.where_scalar(ufuncs.isnan(x), constant_like(x, replacement), x)


def nansum(x, axis=None, dtype=None, keepdims: bool = False):
    """`sum` of the elements that are not NaN."""
    return sum(_without_nan(x, 0), axis, dtype, keepdims)


def nanprod(x, axis=None, dtype=None, keepdims: bool = False):
    """`prod` of the elements that are not NaN."""
    return prod(_without_nan(x, 1), axis, dtype, keepdims)


def _nan_extreme(name: str, function, fill):
    def extreme(x, axis=None, keepdims: bool = False):
        x = asarray(x)
        if not dtypes.is_inexact(dtype_of(x)):
            return function(x, axis, keepdims)
        found = function(_without_nan(x, fill), axis, keepdims)
        return ufuncs.where_scalar(all(ufuncs.isnan(x), axis, keepdims), constant_like(x, math.nan), found)

    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = f"`{name[3:]}` of the elements that are not NaN; NaN where all are."
    return extreme


nanmax = _nan_extreme("nanmax", max, -math.inf)
nanmin = _nan_extreme("nanmin", min, math.inf)


def nanmean(x, axis=None, dtype=None, keepdims: bool = False):
    """`mean` of the elements that are not NaN."""
    return mean(_without_nan(x, 0), axis, dtype, keepdims, where=ufuncs.logical_not(ufuncs.isnan(asarray(x))))


def nanvar(x, axis=None, dtype=None, ddof: int = 0, keepdims: bool = False):
    """`var` of the elements that are not NaN."""
    return var(_without_nan(x, 0), axis, dtype, ddof, keepdims, where=ufuncs.logical_not(ufuncs.isnan(asarray(x))))


def nanstd(x, axis=None, dtype=None, ddof: int = 0, keepdims: bool = False):
    """`std` of the elements that are not NaN."""
    return ufuncs.sqrt(nanvar(x, axis, dtype, ddof, keepdims))


def _nan_position(name: str, function, fill):
    def position(x, axis: int | None = None, keepdims: bool = False):
        check_array(name, x)
        x = asarray(x)
        if not dtypes.is_inexact(dtype_of(x)):
            return function(x, axis, keepdims)
        found = function(_without_nan(x, fill), axis, keepdims)
        return ufuncs.where_scalar(all(ufuncs.isnan(x), axis, keepdims), constant_like(found, -1), found)

    position.__name__ = position.__qualname__ = name
    position.__doc__ = f"`{name[3:]}` of the elements that are not NaN; -1 where all are."
    return position


nanargmax = _nan_position("nanargmax", argmax, -math.inf)
nanargmin = _nan_position("nanargmin", argmin, math.inf)


def nancumsum(x, axis: int | None = None, dtype=None):
    """`cumsum` with every NaN taken for 0."""
    check_array("nancumsum", x)
    return cumsum(_without_nan(x, 0), axis, dtype)


def nancumprod(x, axis: int | None = None, dtype=None):
    """`cumprod` with every NaN taken for 1."""
    check_array("nancumprod", x)
    return cumprod(_without_nan(x, 1), axis, dtype)


# ---- order statistics ------------------------------------------------------------------------------------------


def quantile(x, q, axis=None, method: str = "linear", keepdims: bool = False):
    """The value below which the share `q` (from 0 to 1) of the elements along `axis` lies; `q` may be an array.

    Between two elements: 'linear' interpolates, 'lower', 'higher', 'nearest' and 'midpoint' do what they say.
    The axes of `q` come first in the result.
    """
    return _quantile("quantile", x, q, axis, method, keepdims, _quantile_of_sorted)


def _quantile(name: str, x, q, axis, method: str, keepdims: bool, along_rows):
    """The part that quantiles with and without NaN share: `along_rows` computes them along the first axis."""
    check_array(name, x, q)
    if method not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise ArgumentError(
            located(f"{name}: method must be linear, lower, higher, nearest or midpoint, not {method!r}")
        )
    x, q = asarray(convert(x, dtypes.result_type(x, 0.0))), asarray(convert(q, dtypes.result_type(x, 0.0)))
    shape, q_shape = shape_of(x), shape_of(q)
    axes = canonical_axes(axis, len(shape), name)
    kept = [a for a in range(len(shape)) if a not in axes]
    rows = reshape(
        primitives.transpose(x, permutation=(*axes, *kept)) if len(shape) > 1 else x,
        (math.prod(shape[a] for a in axes), *(shape[a] for a in kept)),
    )
    result = along_rows(rows, ravel(q), method)
    result = reshape(result, (*q_shape, *(shape[a] for a in kept)))
    if keepdims:
        result = reshape(result, (*q_shape, *(1 if a in axes else n for a, n in enumerate(shape))))
    return result


def _quantile_of_sorted(rows, q, method: str):
    """Quantiles along axis 0; NaN anywhere in a column makes its quantiles NaN."""
    from ftiny.numpy.indexing import take
    from ftiny.numpy.sorting import sort

    count = shape_of(rows)[0]
    has_nan = any(ufuncs.isnan(rows), axis=0, keepdims=True)
    ordered = ufuncs.where_scalar(
        full_shape(has_nan, shape_of(rows)), constant_like(rows, math.nan), sort(rows, axis=0)
    )
    at = ufuncs.clip(ufuncs.multiply(q, count - 1), 0, count - 1)
    pick = lambda place: take(ordered, convert(place, dtypes.int32), axis=0, mode="clip")
    column = lambda weight: reshape(weight, (*shape_of(at), *(1,) * (len(shape_of(rows)) - 1)))
    return _between(at, method, pick, column)


def _quantile_of_numbers(rows, q, method: str):
    """Quantiles along axis 0 of the elements that are not NaN; NaN where there are none."""
    from ftiny.numpy.indexing import take_along_axis
    from ftiny.numpy.sorting import sort

    # NaNs with their sign bit set would not come last.
    ordered = sort(ufuncs.where_scalar(ufuncs.isnan(rows), constant_like(rows, math.nan), rows), axis=0)
    counts = sum(ufuncs.logical_not(ufuncs.isnan(rows)), axis=0, dtype=dtype_of(q))
    last = ufuncs.maximum(ufuncs.subtract(counts, 1), 0)
    at = ufuncs.multiply(reshape(q, (-1, *(1,) * (len(shape_of(rows)) - 1))), last)
    pick = lambda place: take_along_axis(ordered, convert(place, dtypes.int32), axis=0, mode="clip")
    return _between(at, method, pick, lambda weight: weight)


def _between(at, method: str, pick, column):
    """The elements at the places `at`, which `pick` finds for whole numbers; see `quantile` for the methods."""
    low, high = ufuncs.floor(at), ufuncs.ceil(at)
    if method == "lower":
        return pick(low)
    if method == "higher":
        return pick(high)
    if method == "nearest":
        return pick(ufuncs.rint(at))
    share = full_shape(constant_like(at, 0.5), shape_of(at)) if method == "midpoint" else ufuncs.subtract(at, low)
    weight = column(share)
    return ufuncs.add(ufuncs.multiply(pick(low), ufuncs.subtract(1, weight)), ufuncs.multiply(pick(high), weight))


def percentile(x, q, axis=None, method: str = "linear", keepdims: bool = False):
    """`quantile` with q from 0 to 100."""
    check_array("percentile", x, q)
    return quantile(x, ufuncs.divide(convert(q, dtypes.result_type(x, 0.0)), 100), axis, method, keepdims)


def median(x, axis=None, keepdims: bool = False):
    """The middle element along `axis`, or the mean of the two middle ones."""
    return quantile(x, 0.5, axis, "linear", keepdims)


def nanquantile(x, q, axis=None, method: str = "linear", keepdims: bool = False):
    """`quantile` of the elements that are not NaN; NaN where all are."""
    return _quantile("nanquantile", x, q, axis, method, keepdims, _quantile_of_numbers)


def nanpercentile(x, q, axis=None, method: str = "linear", keepdims: bool = False):
    """`percentile` of the elements that are not NaN; NaN where all are."""
    check_array("nanpercentile", x, q)
    return nanquantile(x, ufuncs.divide(convert(q, dtypes.result_type(x, 0.0)), 100), axis, method, keepdims)


def nanmedian(x, axis=None, keepdims: bool = False):
    """`median` of the elements that are not NaN; NaN where all are."""
    return nanquantile(x, 0.5, axis, "midpoint", keepdims)


# ---- running folds and differences -----------------------------------------------------------------------------


def _running(name: str, op: str, widen: bool, does: str):
    def function(x, axis: int | None = None, dtype=None):
        check_array(name, x)
        x = ravel(x) if axis is None else asarray(x)
        where = canonical_axis(0 if axis is None else axis, len(shape_of(x)), name)
        wanted = dtypes.dtype(dtype) if dtype is not None else dtype_of(x)
        if dtype is None and widen and wanted == dtypes.bool_:
            wanted = dtypes.int32
        wide = dtypes.accumulation_dtype(wanted) if widen else wanted
        return convert(primitives.cumulate(convert(x, wide), op=op, axis=where, reverse=False), wanted)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The running {does} along `axis` (None: of the row of elements): element i covers elements 0 to i."
    )
    return function


cumsum = _running("cumsum", "sum", True, "sum")
cumprod = _running("cumprod", "prod", True, "product")
cummax = _running("cummax", "max", False, "largest element")
cummin = _running("cummin", "min", False, "smallest element")


def _cumulative(name: str, running, own_dtype, initial: int, does: str):
    def function(x, /, *, axis: int | None = None, dtype=None, include_initial: bool = False):
        check_array(name, x)
        x = asarray(x)
        if axis is None:
            if len(shape_of(x)) != 1:
                raise ArgumentError(
                    located(f"{name}: an array with {len(shape_of(x))} axes (shape {shape_of(x)}) needs axis=")
                )
            axis = 0
        axis = canonical_axis(axis, len(shape_of(x)), name)
        result = running(x, axis, own_dtype(dtype_of(x)) if dtype is None else dtype)
        if not include_initial:
            return result
        first = tuple(1 if a == axis else n for a, n in enumerate(shape_of(x)))
        return concatenate([full(first, initial, dtype_of(result)), result], axis)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The running {does} along `axis`, which only a vector may leave out.\n\n"
        f"    Under `include_initial` the result begins with {initial} and is one longer."
    )
    return function


cumulative_sum = _cumulative("cumulative_sum", cumsum, sum_dtype, 0, "sum (of small integers in 32 bits)")
cumulative_prod = _cumulative("cumulative_prod", cumprod, lambda dtype: None, 1, "product")


def diff(x, n: int = 1, axis: int = -1, prepend=None, append=None):
    """Differences of neighbours along `axis`, n times over; `prepend` and `append` are joined to `x` first."""
    check_array("diff", x)
    x = asarray(x)
    axis = canonical_axis(axis, len(shape_of(x)), "diff")
    ends = [None if end is None else _as_slab(end, x, axis) for end in (prepend, append)]
    parts = [part for part in (ends[0], x, ends[1]) if part is not None]
    x = concatenate(parts, axis)
    for _ in range(n):
        extent = shape_of(x)[axis]
        after, before = (
            slice_axis(x, axis, builtins.min(1, extent), extent),
            slice_axis(x, axis, 0, builtins.max(extent - 1, 0)),
        )
        x = ufuncs.not_equal(after, before) if dtype_of(x) == dtypes.bool_ else ufuncs.subtract(after, before)
    return x


def _as_slab(end, x, axis: int):
    """A scalar as a slab of size 1 along `axis`; arrays as they are."""
    if len(shape_of(end)):
        return end
    return materialize(convert(end, dtype_of(x)), tuple(1 if a == axis else n for a, n in enumerate(shape_of(x))))


def ediff1d(x, to_end=None, to_begin=None):
    """Differences of neighbours in the row of elements, with optional numbers before and after."""
    parts = [diff(ravel(asarray(x)))]
    if to_begin is not None:
        parts.insert(0, ravel(asarray(to_begin)))
    if to_end is not None:
        parts.append(ravel(asarray(to_end)))
    return concatenate(parts)


def trapezoid(y, x=None, dx: float = 1.0, axis: int = -1):
    """The integral of samples `y` along `axis` by the trapezoidal rule; `x` are their places (or `dx` apart)."""
    y = asarray(convert(y, dtypes.result_type(y, 0.0)))
    y = moveaxis(y, axis, -1)
    n = shape_of(y)[-1]
    widths: Any = dx if x is None else diff(moveaxis(asarray(x), axis if len(shape_of(x)) > 1 else -1, -1))
    heights = ufuncs.add(slice_axis(y, len(shape_of(y)) - 1, 1, n), slice_axis(y, len(shape_of(y)) - 1, 0, n - 1))
    return ufuncs.multiply(0.5, sum(ufuncs.multiply(widths, heights), axis=-1))
