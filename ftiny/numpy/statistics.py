"""Statistics of samples, and numerical derivatives: histograms, covariances, gradients, unwrapped angles.

Input: arrays of samples. Output: counts and bin edges, covariance matrices, derivatives along axes:

    >>> gradient(ftiny.numpy.array([1., 2., 4., 7.]))
    Array([1. , 1.5, 2.5, 3. ], dtype=float32)
"""

from __future__ import annotations

import builtins
import math
import operator

import numpy as np

from ftiny import core, dtypes
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    canonical_axes,
    canonical_axis,
    check_array,
    convert,
    dtype_of,
    promote,
    require_kind,
    shape_of,
)
from ftiny.numpy.contractions import matmul
from ftiny.numpy.creation import asarray, diagonal, full, linspace, zeros
from ftiny.numpy.indexing import ix_, ravel_multi_index, where
from ftiny.numpy.manipulation import (
    atleast_2d,
    concatenate,
    expand_dims,
    ravel,
    reshape,
    slice_axis,
    squeeze,
    stack,
    swapaxes,
)
from ftiny.numpy.reductions import average, cumsum, diff
from ftiny.numpy.reductions import max as largest
from ftiny.numpy.reductions import min as smallest
from ftiny.numpy.reductions import sum as sum_of
from ftiny.numpy.searching import bincount, searchsorted
from ftiny.source import located

# ---- histograms ------------------------------------------------------------------------------------------------


def _inexact(x) -> np.dtype:
    """The dtype in which statistics of `x` are computed: its own if that is floating, else float32."""
    return dtypes.result_type(x, 0.0)


def histogram_bin_edges(a, bins=10, range=None, weights=None):  # noqa: A002
    """The edges of the bins of a histogram of `a`: one more than there are bins.

    `bins` is their number, evenly spaced over `range` (default: from the smallest element to the largest), or the
    vector of edges itself. `weights` are not used. Raises `ArgumentError` for names of binning rules, which depend on
    values.
    """
    return _bin_edges("histogram_bin_edges", asarray(a), bins, range)


def _bin_edges(name: str, x, bins, limits):
    if isinstance(bins, str):
        raise ArgumentError(located(f"{name}: bins={bins!r} is not known; give the number of bins, or their edges"))
    if _is_list(bins):
        return asarray(bins, _inexact(x))
    if isinstance(bins, core.Tracer):
        raise ArgumentError(located(f"{name}: the number of bins decides the shape, so it must not be traced"))
    if limits is None:
        limits = (smallest(x), largest(x))
    elif len(limits) != 2:
        raise ArgumentError(located(f"{name}: range must be a pair (low, high), not {limits!r}"))
    low, high = (asarray(convert(limit, _inexact(x))) for limit in limits)
    flat = ufuncs.equal(low, high)
    low, high = where(flat, ufuncs.subtract(low, 0.5), low), where(flat, ufuncs.add(high, 0.5), high)
    return linspace(low, high, operator.index(bins) + 1)


def _is_list(bins) -> bool:
    return isinstance(bins, (list, tuple)) or len(shape_of(bins)) == 1


def _bin_numbers(x, edges):
    """For each element 1 plus the number of its bin; 0 and the number of edges for those outside. The last bin has its
    upper edge inside.
    """
    count = shape_of(edges)[0]
    found = searchsorted(edges, x, side="right")
    return where(ufuncs.equal(x, slice_axis(edges, 0, count - 1, count)), count - 1, found)


def histogram(a, bins=10, range=None, weights=None, density: bool | None = None):  # noqa: A002
    """(counts, edges): how many elements of `a` (with what total weight) fall into each of the bins.

    `bins` is their number, over `range` (default: from the smallest element to the largest), or the vector of their
    edges. Under `density` the counts are divided by their sum and by the widths of the bins. Counts are floats. Raises
    `ShapeError` when `weights` have another shape than `a`.
    """
    check_array("histogram", a)
    a = asarray(a)
    if weights is not None and shape_of(weights) != shape_of(a):
        raise ShapeError(located(f"histogram: weights of shape {shape_of(weights)} for an array of {shape_of(a)}"))
    weights = full(shape_of(a), 1, _inexact(a)) if weights is None else weights
    a, weights = promote("histogram", a, weights, inexact=True)
    edges = _bin_edges("histogram", a, bins, range)
    count = shape_of(edges)[0]
    totals = bincount(_bin_numbers(ravel(a), edges), weights=ravel(weights), length=count)
    counts = slice_axis(totals, 0, 1, count)
    if density:
        counts = ufuncs.divide(ufuncs.divide(counts, diff(edges)), sum_of(counts))
    return counts, edges


def histogram2d(x, y, bins=10, range=None, weights=None, density: bool | None = None):  # noqa: A002
    """(counts, x edges, y edges): the two-dimensional histogram of the points (x[i], y[i]).

    `bins` is a number, one vector of edges, or a pair with one of these for each axis; see `histogramdd`.
    """
    check_array("histogram2d", x, y)
    if _is_list(bins) and len(bins) not in (1, 2):
        bins = [asarray(bins)] * 2
    counts, edges = histogramdd(stack([asarray(x), asarray(y)], axis=1), bins, range, weights, density)
    return counts, edges[0], edges[1]


def histogramdd(sample, bins=10, range=None, weights=None, density: bool | None = None):  # noqa: A002
    """(counts, list of edges): the histogram of points, the rows of `sample`, over as many axes as it has columns.

    `bins` is a number for all axes, or a sequence of numbers and vectors of edges, one for each; `range` is a sequence
    of pairs (low, high) or None, one for each axis. Counts are int32; with `weights`, one for each point, or under
    `density` they are floats. Points outside are not counted.
    """
    check_array("histogramdd", sample)
    if len(shape_of(sample)) != 2:
        raise ShapeError(located(f"histogramdd: the sample must be a matrix of points, not {shape_of(sample)}"))
    points, ndim = shape_of(sample)
    if weights is not None and shape_of(weights) != (points,):
        raise ShapeError(located(f"histogramdd: {points} points need {points} weights, not shape {shape_of(weights)}"))
    bins = list(bins) if _is_list(bins) else [bins] * ndim
    limits = [None] * ndim if range is None else list(range)
    for what, listed in (("bins", bins), ("range", limits)):
        if len(listed) != ndim:
            raise ArgumentError(located(f"histogramdd: {what} has {len(listed)} entries for {ndim} axes"))
    dtype = dtypes.result_type(_inexact(sample), *([] if weights is None else [weights]))
    columns = [ravel(slice_axis(convert(sample, dtype), 1, a, a + 1)) for a in builtins.range(ndim)]
    edges = [_bin_edges("histogramdd", *entry) for entry in zip(columns, bins, limits)]
    extents = tuple(shape_of(e)[0] + 1 for e in edges)
    places = ravel_multi_index([_bin_numbers(*pair) for pair in zip(columns, edges)], extents)
    weights = None if weights is None else convert(weights, dtype)
    counts = reshape(bincount(places, weights, length=math.prod(extents)), extents)
    for axis, extent in enumerate(extents):
        counts = slice_axis(counts, axis, 1, extent - 1)
    if density:
        counts = convert(counts, dtype)
        counts = ufuncs.divide(counts, sum_of(counts))
        for width in ix_(*map(diff, edges)):
            counts = ufuncs.divide(counts, width)
    return counts, edges


# ---- covariance ------------------------------------------------------------------------------------------------


def _variables(name: str, x, rowvar: bool):
    """Samples as a matrix with one row per variable."""
    if len(shape_of(x)) > 2:
        raise ShapeError(located(f"{name}: samples are a vector or a matrix, but the shape is {shape_of(x)}"))
    return swapaxes(x, 0, 1) if len(shape_of(x)) == 2 and not rowvar else atleast_2d(x)


def _sample_weights(name: str, weights, count: int):
    if shape_of(weights) != (count,):
        raise ShapeError(located(f"cov: {count} samples need {count} {name}, but their shape is {shape_of(weights)}"))
    return ufuncs.abs(weights)


def cov(m, y=None, rowvar: bool = True, bias: bool = False, ddof=None, fweights=None, aweights=None, dtype=None):
    """The covariances of variables, the rows of `m` (columns if not `rowvar`) and of `y`: a square matrix.

    One variable gives a 0-d array. The divisor is the number of samples minus `ddof` (default 1, and 0 under `bias`);
    `fweights` are integers that repeat samples, `aweights` weigh them. Raises `ShapeError` for more than two axes or
    unequal numbers of samples.
    """
    check_array("cov", m)
    (m,) = promote("cov", m, inexact=True)
    rows = _variables("cov", asarray(m), rowvar)
    if y is not None:
        dtype_of_both = dtypes.result_type(m, y)
        others = _variables("cov", asarray(convert(y, dtype_of_both)), rowvar or len(shape_of(y)) == 1)
        if shape_of(rows)[1] != shape_of(others)[1]:
            counts = f"{shape_of(rows)[1]} samples of m and {shape_of(others)[1]} of y"
            raise ShapeError(located(f"cov: {counts}: the numbers must be equal"))
        rows = concatenate([convert(rows, dtype_of_both), others], 0)
    if dtype is not None:
        rows = convert(rows, _floating("cov", dtype))
    variables, count = shape_of(rows)
    if variables == 0:
        return zeros((0, 0), dtype_of(rows))
    if count == 0:
        return full(() if variables == 1 else (variables, variables), math.nan, dtype_of(rows))
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights, divisor = _weights_and_divisor(count, ddof, fweights, aweights, dtype_of(rows))
    centered = ufuncs.subtract(rows, expand_dims(average(rows, axis=1, weights=weights), 1))
    weighted = centered if weights is None else ufuncs.multiply(centered, weights)
    return squeeze(ufuncs.divide(matmul(centered, ufuncs.conj(swapaxes(weighted, 0, 1))), divisor))


def _floating(name: str, dtype) -> np.dtype:
    wanted = dtypes.dtype(dtype)
    if not dtypes.is_inexact(wanted):
        raise DtypeError(located(f"{name}: dtype must be floating or complex, not {wanted}"))
    return wanted


def _weights_and_divisor(count: int, ddof, fweights, aweights, dtype: np.dtype):
    """The weights of the samples (or None) and what the sum of squares is divided by."""
    weights = None
    real = dtypes.real_dtype(dtype)
    if fweights is not None:
        if dtypes.kind(dtype_of(fweights)) != "int":
            raise DtypeError(located(f"cov: fweights are integers, not {dtype_of(fweights)}; use aweights"))
        weights = convert(_sample_weights("fweights", fweights, count), real)
    if aweights is not None:
        aweights = convert(_sample_weights("aweights", aweights, count), real)
        weights = aweights if weights is None else ufuncs.multiply(weights, aweights)
    if weights is None:
        return None, count - ddof
    total = sum_of(weights)
    if aweights is not None:  # samples of unequal weight count for less than their number
        ddof = ufuncs.divide(ufuncs.multiply(ddof, sum_of(ufuncs.multiply(weights, aweights))), total)
    return asarray(convert(weights, dtype)), ufuncs.subtract(total, ddof)


def corrcoef(x, y=None, rowvar: bool = True, dtype=None):
    """The correlations of variables: their covariances divided by both standard deviations, from -1 to 1.

    See `cov` for the arguments and the shapes.
    """
    covariance = cov(x, y, rowvar, dtype=dtype)
    if not shape_of(covariance):
        return ufuncs.divide(covariance, covariance)
    deviation = ufuncs.sqrt(ufuncs.real(diagonal(covariance)))
    result = ufuncs.divide(ufuncs.divide(covariance, expand_dims(deviation, 1)), expand_dims(deviation, 0))
    if dtypes.kind(dtype_of(result)) != "complex":
        return ufuncs.clip(result, -1, 1)
    from ftiny.lax import complex as complex_of

    return complex_of(ufuncs.clip(ufuncs.real(result), -1, 1), ufuncs.clip(ufuncs.imag(result), -1, 1))


# ---- derivatives of samples ------------------------------------------------------------------------------------


def gradient(f, *varargs, axis=None, edge_order=None):
    """The derivative of samples `f` along each axis (or along `axis`, an integer or a tuple): a list of arrays of its
    shape, one array for one axis.

    `varargs` are distances of neighbours (default 1) or vectors of the places along an axis, one for all axes or one
    for each. Inside it is the central difference, of second order for uneven places too (Fornberg, *Generation of
    Finite Difference Formulas on Arbitrarily Spaced Grids*, 1988), at the ends the difference of two neighbours. Raises
    `ShapeError` when an axis has fewer than two samples. `edge_order`, as in JAX, must be None.
    """
    check_array("gradient", f, *varargs)
    if edge_order is not None:
        raise ArgumentError(
            located(f"gradient: edge_order={edge_order!r} is not supported; at the ends the order is 1")
        )
    f, *places = (asarray(convert(v, dtypes.result_type(f, *varargs, 0.0))) for v in (f, *varargs))
    axes = canonical_axes(axis, len(shape_of(f)), "gradient")
    if isinstance(axis, (tuple, list)):  # in the order asked for
        axes = tuple(canonical_axis(a, len(shape_of(f)), "gradient") for a in axis)
    if len(places) not in (0, 1, len(axes)):
        raise ArgumentError(located(f"gradient: {len(places)} spacings for {len(axes)} axes; give one, or one each"))
    places = places * len(axes) if len(places) == 1 else places or [asarray(1, dtype_of(f))] * len(axes)
    results = [_gradient_along(f, place, a) for place, a in zip(places, axes)]
    return results[0] if len(results) == 1 else results


def _gradient_along(x, place, axis: int):
    n = shape_of(x)[axis]
    if n < 2:
        raise ShapeError(located(f"gradient: axis {axis} of shape {shape_of(x)} has size {n}; it takes two samples"))
    if len(shape_of(place)) > 1 or shape_of(place) not in ((), (n,)):
        raise ShapeError(located(f"gradient: a spacing is a number or {n} places, but its shape is {shape_of(place)}"))
    rise = diff(x, axis=axis)
    first, last = slice_axis(rise, axis, 0, 1), slice_axis(rise, axis, n - 2, n - 1)
    before, after = slice_axis(rise, axis, 0, n - 2), slice_axis(rise, axis, 1, n - 1)
    if not shape_of(place):
        inner = ufuncs.multiply(ufuncs.add(before, after), 0.5)
        return ufuncs.divide(concatenate([first, inner, last], axis), place)
    width = reshape(diff(place), tuple(-1 if a == axis else 1 for a in range(len(shape_of(x)))))
    slope = ufuncs.divide(rise, width)
    near, far = (slice_axis(width, axis, start, start + n - 2) for start in (0, 1))
    left, right = (slice_axis(slope, axis, start, start + n - 2) for start in (0, 1))
    # The parabola through three points: each slope weighs as much as the other's interval is wide.
    inner = ufuncs.divide(ufuncs.add(ufuncs.multiply(far, left), ufuncs.multiply(near, right)), ufuncs.add(near, far))
    first, last = slice_axis(slope, axis, 0, 1), slice_axis(slope, axis, n - 2, n - 1)
    return concatenate([first, inner, last], axis)


def unwrap(p, discont=None, axis: int = -1, period=2 * math.pi):
    """`p` with multiples of `period` added so that neighbours along `axis` differ by no more than half of it.

    Jumps smaller than `discont` (default, and at least, half the period) are left. Raises `DtypeError` for complex `p`.
    """
    check_array("unwrap", p, period)
    p, period = (asarray(convert(v, dtypes.result_type(p, period))) for v in (p, period))
    require_kind("unwrap", p, ("int", "float"))
    axis = canonical_axis(axis, len(shape_of(p)), "unwrap")
    n = shape_of(p)[axis]
    if n == 0:
        return p
    half = ufuncs.floor_divide(period, 2) if dtypes.is_integer(dtype_of(p)) else ufuncs.divide(period, 2)
    jumps = diff(p, axis=axis)
    small = ufuncs.subtract(ufuncs.remainder(ufuncs.add(jumps, half), period), half)
    # A jump by exactly half the period keeps its sign.
    small = where(ufuncs.logical_and(ufuncs.equal(small, ufuncs.negative(half)), ufuncs.greater(jumps, 0)), half, small)
    limit = ufuncs.divide(period, 2) if discont is None else discont
    correction = where(ufuncs.less(ufuncs.abs(jumps), limit), 0, ufuncs.subtract(small, jumps))
    rest = ufuncs.add(slice_axis(p, axis, 1, n), cumsum(correction, axis=axis))
    return concatenate([slice_axis(p, axis, 0, 1), rest], axis)
