"""Window functions of signal processing, and the Bessel function that the Kaiser window is made of.

Input: the number of points, which is static. Output: a float32 vector of weights, symmetric and largest in the middle:

    >>> bartlett(5)
    Array([0. , 0.5, 1. , 0.5, 0. ], dtype=float32)

The formulas are those of Harris, *On the Use of Windows for Harmonic Analysis with the Discrete Fourier Transform*
(1978).
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ftiny import dtypes
from ftiny.errors import ArgumentError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import check_array, convert, dtype_of, promote, require_kind
from ftiny.numpy.creation import arange, asarray, ones
from ftiny.source import located


def _places(name: str, count, dtype: np.dtype = dtypes.float32) -> tuple[int, Any]:
    """The number of points and the points 0, 1, ..."""
    try:
        count = operator.index(count)
    except TypeError:
        raise ArgumentError(located(f"{name}: the number of points must be an integer, not {count!r}")) from None
    return count, arange(max(count, 0), dtype=dtype)


def _cosines(name: str, count, *weights: float):
    """The sum of the cosines of 0, 1, 2, ... periods over the window, with these weights."""
    count, places = _places(name, count)
    if count <= 1:
        return ones(max(count, 0))
    total = weights[0]
    for periods, weight in enumerate(weights[1:], 1):
        angle = ufuncs.multiply(places, 2 * math.pi * periods / (count - 1))
        total = ufuncs.add(total, ufuncs.multiply(weight, ufuncs.cos(angle)))
    return total


def bartlett(M: int):
    """A triangle of `M` points from 0 to 1 and back to 0."""
    count, places = _places("bartlett", M)
    if count <= 1:
        return ones(max(count, 0))
    return ufuncs.subtract(1, ufuncs.abs(ufuncs.subtract(ufuncs.multiply(places, 2 / (count - 1)), 1)))


def hanning(M: int):
    """The Hann window of `M` points: half a cosine's period above zero, 0.5 - 0.5 cos(2 pi t)."""
    return _cosines("hanning", M, 0.5, -0.5)


def hamming(M: int):
    """The Hamming window of `M` points: 0.54 - 0.46 cos(2 pi t), which does not reach zero."""
    return _cosines("hamming", M, 0.54, -0.46)


def blackman(M: int):
    """The Blackman window of `M` points: 0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t)."""
    return _cosines("blackman", M, 0.42, -0.5, 0.08)


def kaiser(M: int, beta):
    """The Kaiser window of `M` points: i0(beta sqrt(1 - t * t)) / i0(beta) for t from -1 to 1.

    `beta` is a number, which may be traced: 0 gives a rectangle, 14 a narrow bell. Of a float64 `beta` the window is of
    float64.
    """
    check_array("kaiser", beta)
    dtype = dtypes.promote(dtype_of(beta), dtypes.float32)
    count, places = _places("kaiser", M, dtype)
    if count <= 1:
        return ones(max(count, 0), dtype)
    beta = asarray(convert(beta, dtype))
    t = ufuncs.subtract(ufuncs.multiply(places, 2 / (count - 1)), 1)
    inside = ufuncs.maximum(ufuncs.subtract(1, ufuncs.multiply(t, t)), 0)
    return ufuncs.divide(i0(ufuncs.multiply(beta, ufuncs.sqrt(inside))), i0(beta))


# ---- the Bessel function ---------------------------------------------------------------------------------------


def i0(x):
    """Elementwise modified Bessel function of the first kind of order 0 (see `ftiny.lax.bessel_i0e`).

    Integers become float32. Raises `DtypeError` for complex x.
    """
    from ftiny.lax.special import bessel_i0e, exp_of_abs

    (x,) = promote("i0", x, inexact=True)
    require_kind("i0", x, ("float",))
    return ufuncs.multiply(exp_of_abs(x), bessel_i0e(x))
