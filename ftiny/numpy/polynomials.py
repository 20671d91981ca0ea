"""Polynomials in one variable, given by their coefficients, the highest power first.

Input: vectors of coefficients. Output: vectors of coefficients of sums, products, derivatives, ...:

    >>> polymul(ftiny.numpy.array([1., 2.]), ftiny.numpy.array([1., -2.]))
    Array([ 1.,  0., -4.], dtype=float32)

Leading zeros are coefficients like others, since how many there are depends on values.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from ftiny import dtypes, primitives
from ftiny.errors import ArgumentError, ShapeError, TracerError
from ftiny.numpy import linalg, ufuncs
from ftiny.numpy.common import check_array, constant_like, convert, dtype_of, is_concrete, promote, shape_of
from ftiny.numpy.contractions import convolve, matmul, outer
from ftiny.numpy.creation import arange, asarray, eye, ones, vander, zeros
from ftiny.numpy.indexing import where
from ftiny.numpy.manipulation import broadcast_to, concatenate, expand_dims, roll, slice_axis, swapaxes
from ftiny.numpy.reductions import all as all_of
from ftiny.numpy.reductions import argmin
from ftiny.numpy.reductions import sum as sum_of
from ftiny.numpy.updates import trim_zeros
from ftiny.source import located


def _coefficients(name: str, *operands, inexact: bool = False) -> list:
    """The vectors of coefficients with one dtype; a number is a vector of one."""
    check_array(name, *operands)
    dtype = dtypes.result_type(*operands, *([0.0] if inexact else []))
    vectors = []
    for x in operands:
        if len(shape_of(x)) > 1:
            raise ShapeError(located(f"{name}: coefficients form a vector, but the shape is {shape_of(x)}"))
        x = asarray(convert(x, dtype))
        vectors.append(x if shape_of(x) else expand_dims(x, 0))
    return vectors


def _aligned(x, y) -> list:
    """Both vectors with leading zeros to one length."""
    longest = max(shape_of(x)[0], shape_of(y)[0])
    return [concatenate([zeros(longest - shape_of(v)[0], dtype_of(v)), v]) for v in (x, y)]


def polyadd(a1, a2):
    """The coefficients of the sum of two polynomials, as many as the longer one has."""
    return ufuncs.add(*_aligned(*_coefficients("polyadd", a1, a2)))


def polysub(a1, a2):
    """The coefficients of the difference of two polynomials, as many as the longer one has."""
    return ufuncs.subtract(*_aligned(*_coefficients("polysub", a1, a2)))


def polymul(a1, a2, *, trim_leading_zeros: bool = False):
    """The coefficients of the product of two polynomials, one fewer than both have together.

    `trim_leading_zeros` removes those of the factors first, which must then be concrete.
    """
    a1, a2 = _coefficients("polymul", a1, a2, inexact=True)
    if trim_leading_zeros:
        a1, a2 = trim_zeros(a1, "f"), trim_zeros(a2, "f")
    a1, a2 = (factor if shape_of(factor)[0] else zeros(1, dtype_of(factor)) for factor in (a1, a2))
    return convolve(a1, a2)


def polydiv(u, v, *, trim_leading_zeros: bool = False):
    """(quotient, remainder) of the polynomial `u` divided by `v`, by long division.

    The remainder has as many coefficients as `u`; `trim_leading_zeros` removes the leading ones that are zero up to
    rounding (the square root of the dtype's eps), for which `u` and `v` must be concrete.
    """
    u, v = _coefficients("polydiv", u, v, inexact=True)
    n = shape_of(v)[0]
    if n == 0:
        raise ShapeError(located("polydiv: the divisor has no coefficients"))
    dtype = dtype_of(u)
    rest, quotient = u, []
    for k in range(shape_of(u)[0] - n + 1):
        factor = ufuncs.divide(slice_axis(rest, 0, k, k + 1), slice_axis(v, 0, 0, 1))
        quotient.append(factor)
        rest = rest.at[k : k + n].add(ufuncs.negative(ufuncs.multiply(factor, v)))
    if trim_leading_zeros:
        values = np.abs(np.asarray(rest))
        kept = np.flatnonzero(values > np.sqrt(float(ufuncs.finfo(dtype).eps)))
        rest = slice_axis(rest, 0, int(kept[0]) if kept.size else shape_of(rest)[0], shape_of(rest)[0])
    return concatenate(quotient) if quotient else zeros(1, dtype), rest


def _order(name: str, m) -> int:
    try:
        order = operator.index(m)
    except TypeError:
        raise ArgumentError(located(f"{name}: the order m must be a static integer, not {m!r}")) from None
    if order < 0:
        raise ArgumentError(located(f"{name}: the order m must not be negative, but it is {order}"))
    return order


def polyder(p, m: int = 1):
    """The coefficients of the m-th derivative."""
    m = _order("polyder", m)
    (p,) = _coefficients("polyder", p, inexact=True)
    n = shape_of(p)[0]
    if m == 0:
        return p
    powers = np.arange(n - 1, m - 1, -1, dtype=np.float64)
    factors = np.prod([powers - i for i in range(m)], axis=0)
    return ufuncs.multiply(slice_axis(p, 0, 0, max(n - m, 0)), asarray(factors, dtype_of(p)))


def polyint(p, m: int = 1, k=None):
    """The coefficients of the m-th antiderivative; `k` are the constants of the m integrations (default 0)."""
    m = _order("polyint", m)
    p, constants = _coefficients("polyint", p, 0 if k is None else k, inexact=True)
    if m == 0:
        return p
    if shape_of(constants) not in ((1,), (m,)):
        raise ShapeError(located(f"polyint: k must be one constant or m={m}, but its shape is {shape_of(k)}"))
    powers = np.arange(shape_of(p)[0] + m - 1, -1, -1, dtype=np.float64)
    divisors = np.prod([np.maximum(powers - i, 1) for i in range(m)], axis=0)
    joined = concatenate([p, broadcast_to(constants, (m,))])
    return ufuncs.divide(joined, asarray(divisors, dtype_of(p)))


def poly(seq_of_zeros):
    """The coefficients of the polynomial with these roots and leading coefficient 1.

    Of a square matrix the roots are its eigenvalues: it is the characteristic polynomial. No roots give the number 1.
    """
    check_array("poly", seq_of_zeros)
    (x,) = promote("poly", seq_of_zeros, inexact=True)
    x = asarray(x)
    if len(shape_of(x)) == 2 and shape_of(x)[0] == shape_of(x)[1] != 0:
        x = linalg.eigvals(x)
    if len(shape_of(x)) > 1:
        raise ShapeError(located(f"poly takes a vector of roots or a square matrix, but the shape is {shape_of(x)}"))
    x = x if shape_of(x) else expand_dims(x, 0)
    count = shape_of(x)[0]
    if count == 0:
        return ones((), dtype_of(x))
    result, nothing = ones(1, dtype_of(x)), zeros(1, dtype_of(x))
    for k in range(count):  # one more factor: x times the product so far, minus the root times it
        shifted = ufuncs.multiply(slice_axis(x, 0, k, k + 1), result)
        result = ufuncs.subtract(concatenate([result, nothing]), concatenate([nothing, shifted]))
    return result


def roots(p, *, strip_zeros: bool = True):
    """The complex roots of the polynomial `p`, by the eigenvalues of its companion matrix.

    Leading zeros are removed first, for which `p` must be concrete. In a traced function give `strip_zeros=False`:
    there is a root for each coefficient but the first then, and as many NaNs at the end as there are leading zeros.
    """
    check_array("roots", p)
    if strip_zeros and not is_concrete(p):
        raise TracerError(
            located("roots: how many leading zeros a traced polynomial has is unknown; give strip_zeros=False")
        )
    (p,) = _coefficients("roots", p, inexact=True)
    if shape_of(p)[0] < 2:
        return zeros(0, dtypes.complex_dtype(dtype_of(p)))
    if strip_zeros:
        return _eigenvalues_of_companion(trim_zeros(p, "f"))
    count = shape_of(p)[0]
    is_zero = ufuncs.equal(p, 0)
    leading = ufuncs.where_scalar(all_of(is_zero), constant_like(argmin(is_zero), count), argmin(is_zero))
    p = where(ufuncs.equal(leading, count), 1, p)
    found = _eigenvalues_of_companion(roll(p, ufuncs.negative(leading)))
    # Moved to the end, the zeros became roots at zero; they are the last ones and no roots.
    (_, found) = primitives.sort(ufuncs.equal(found, 0), found, axis=0, num_keys=1, stable=True)
    kept = ufuncs.less(arange(count - 1), ufuncs.subtract(count - 1, leading))
    return where(kept, found, complex(math.nan, math.nan))


def _eigenvalues_of_companion(p):
    """The roots of a polynomial whose first coefficient is not zero."""
    count = shape_of(p)[0]
    if count < 2:
        return zeros(0, dtypes.complex_dtype(dtype_of(p)))
    top = ufuncs.negative(ufuncs.divide(slice_axis(p, 0, 1, count), slice_axis(p, 0, 0, 1)))
    below = eye(count - 2, count - 1, dtype=dtype_of(p))
    return linalg.eigvals(concatenate([expand_dims(top, 0), below], 0))


def polyfit(x, y, deg: int, rcond: float | None = None, full: bool = False, w=None, cov=False):
    """The coefficients of the polynomial of degree `deg` that lies closest to the points (x, y) by least squares.

    Args:
        x, y: vectors of n places and values, or `y` a matrix [n, k] of k sets of values: the result is [deg + 1, k].
        rcond: singular values below `rcond` times the largest count as 0 (default: n times the dtype's eps).
        full: also return the residuals, the rank, the singular values and rcond; see `linalg.lstsq`.
        w: weights of the points, a vector of n; it is the residuals, not their squares, that they weigh.
        cov: also return the covariances of the coefficients, scaled by the residuals unless it is 'unscaled'.

    Raises `ShapeError` for other shapes, and with `cov` unless there are more points than coefficients.
    """
    check_array("polyfit", x, y, *([] if w is None else [w]))
    x, y, w = (None if v is None else promote("polyfit", v, inexact=True)[0] for v in (x, y, w))
    points = shape_of(x)
    if len(points) != 1 or points[0] == 0 or len(shape_of(y)) not in (1, 2) or shape_of(y)[0] != points[0]:
        raise ShapeError(located(f"polyfit takes vectors x and y of one length, not of {points} and {shape_of(y)}"))
    if w is not None and shape_of(w) != points:
        raise ShapeError(located(f"polyfit: {points[0]} points need as many weights, but the shape is {shape_of(w)}"))
    order = _order("polyfit", deg) + 1
    left, right = vander(x, order), y
    if w is not None:
        left = ufuncs.multiply(left, expand_dims(w, 1))
        right = ufuncs.multiply(right, w if len(shape_of(y)) == 1 else expand_dims(w, 1))
    rcond = points[0] * float(ufuncs.finfo(dtype_of(x)).eps) if rcond is None else rcond
    # Columns of length 1 keep the powers of large places from drowning the others.
    scale = ufuncs.sqrt(sum_of(ufuncs.multiply(left, left), axis=0))
    left = ufuncs.divide(left, scale)
    scaled, residuals, rank, values = linalg.lstsq(left, right, rcond)
    found = ufuncs.divide(scaled, scale if len(shape_of(y)) == 1 else expand_dims(scale, 1))
    if full:
        return found, residuals, rank, values, asarray(rcond)
    if not cov:
        return found
    return found, _covariance_of_fit(left, scale, residuals, y, unscaled=cov == "unscaled")


def _covariance_of_fit(left, scale, residuals, y, unscaled: bool):
    """The covariances of the coefficients: [order, order], and one such for each column of a matrix `y`."""
    points, order = shape_of(left)
    base = ufuncs.divide(linalg.inv(matmul(swapaxes(left, 0, 1), left)), outer(scale, scale))
    if unscaled:
        factor = ones((1,), dtype_of(base))
    elif points <= order:
        raise ShapeError(
            located(f"polyfit: {points} points do not give the covariances of {order} coefficients; use cov='unscaled'")
        )
    else:
        factor = ufuncs.divide(residuals, points - order)
    return ufuncs.multiply(base, factor) if len(shape_of(y)) == 1 else ufuncs.multiply(expand_dims(base, -1), factor)
