"""Matrices made of a vector or of a size: those of `ftiny.scipy.linalg` that are less used.

Input: vectors along the last axis (axes before it are a batch), or a size. Output: matrices:

    >>> leslie(ftiny.numpy.array([1.0, 2.0]), ftiny.numpy.array([0.5]))
    Array([[1. , 2. ],
           [0.5, 0. ]], dtype=float32)
"""

from __future__ import annotations

import math
import operator

import numpy as np

from ftiny import dtypes
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import broadcast_shapes, check_array, convert, shape_of
from ftiny.numpy.creation import asarray, eye, zeros
from ftiny.numpy.indexing import take, where
from ftiny.numpy.manipulation import atleast_1d, broadcast_to, concatenate, expand_dims
from ftiny.source import located


def convolution_matrix(a, n: int, mode: str = "full"):
    """The matrix [..., k, n] that convolves a vector of n elements with a[..., m].

    mode: 'full': k = m + n - 1; 'same': the max(m, n) rows in the middle; 'valid': those without zeros of the padding,
    max(m, n) - min(m, n) + 1. Raises `ArgumentError` for another mode or size, `ShapeError` where `a` is no vector.
    """
    name = "scipy.linalg.convolution_matrix"
    check_array(name, a)
    n = operator.index(n)
    if n < 1 or mode not in ("full", "same", "valid"):
        raise ArgumentError(located(
            f"{name}: the size must be positive and mode 'full', 'same' or 'valid', not {n} and {mode!r}"))
    shape = shape_of(a)
    if not shape or not shape[-1]:
        raise ShapeError(located(f"{name} takes vectors of at least one element, not shape {shape}"))
    m = shape[-1]
    cut = {"full": 0, "same": min(m, n) - 1, "valid": 2 * (min(m, n) - 1)}[mode]
    rows = np.arange(cut // 2, m + n - 1 - (cut - cut // 2))
    place = rows[:, None] - np.arange(n)
    inside = (place >= 0) & (place < m)
    return where(inside, take(asarray(a), np.clip(place, 0, m - 1), axis=-1), 0)


def fiedler(a):
    """The symmetric matrix [..., n, n] of |a_i - a_j| for a[..., n]."""
    check_array("scipy.linalg.fiedler", a)
    a = atleast_1d(asarray(a))
    return ufuncs.abs(ufuncs.subtract(expand_dims(a, -1), expand_dims(a, -2)))


def fiedler_companion(a):
    """The matrix [..., n, n] whose characteristic polynomial has coefficients a[..., n + 1], highest power first.

    It has five diagonals (Fiedler, A note on companion matrices, 2003). Raises `ShapeError` without coefficients.
    """
    name = "scipy.linalg.fiedler_companion"
    check_array(name, a)
    a = atleast_1d(asarray(convert(a, dtypes.result_type(a, 0.0))))
    n = shape_of(a)[-1] - 1
    if n < 0:
        raise ShapeError(located(f"{name} takes polynomials of at least one coefficient, not shape {shape_of(a)}"))
    if n == 0:
        return zeros((*shape_of(a)[:-1], 0, 0), a.dtype)
    i, j = np.arange(n)[:, None], np.arange(n)
    even = i % 2 == 0
    # Which coefficient stands where, 0 for none, and where ones stand.
    above, below = even & (j == i + 1), even & (j == i - 1)
    which = np.where((i == 0) & (j == 0), 1, np.where(above, i + 2, np.where(below, i + 1, 0)))
    ones = (even & (j == i + 2)) | (~even & (j == np.maximum(i - 2, 0)))
    monic = ufuncs.divide(a, a[..., :1])
    return where(which > 0, ufuncs.negative(take(monic, which, axis=-1)), ones.astype(a.dtype))


def leslie(f, s):
    """The Leslie matrix [..., n, n]: fecundities f[..., n] in the first row, survivals s[..., n - 1] below it.

    Raises `ShapeError` for fewer than two fecundities and other lengths.
    """
    name = "scipy.linalg.leslie"
    check_array(name, f, s)
    dtype = dtypes.result_type(f, s)
    f, s = (atleast_1d(asarray(convert(x, dtype))) for x in (f, s))
    n = shape_of(f)[-1]
    if n < 2 or shape_of(s)[-1] != n - 1:
        raise ShapeError(located(
            f"{name} takes at least two fecundities and one survival less, not shapes {shape_of(f)} and {shape_of(s)}"))
    batch = broadcast_shapes(shape_of(f)[:-1], shape_of(s)[:-1], name=name)
    first = broadcast_to(expand_dims(f, -2), (*batch, 1, n))
    below = ufuncs.multiply(eye(n - 1, n, dtype=dtype), expand_dims(s, -1))
    return concatenate([first, broadcast_to(below, (*batch, n - 1, n))], axis=-2)


def invpascal(n: int, kind: str | None = None):
    """The inverse of the Pascal matrix [n, n] in float32; kind: 'symmetric' (also None), 'lower' or 'upper'."""
    name = "scipy.linalg.invpascal"
    if kind not in (None, "symmetric", "lower", "upper"):
        raise ArgumentError(located(f"{name}: kind must be 'symmetric', 'lower' or 'upper', not {kind!r}"))
    size = operator.index(n)
    lower = np.array([[(-1) ** (i + j) * math.comb(i, j) for j in range(size)] for i in range(size)], object)
    matrix = lower if kind == "lower" else lower.T if kind == "upper" else lower.T @ lower
    return asarray(matrix.astype(np.float64).astype(np.float32))
