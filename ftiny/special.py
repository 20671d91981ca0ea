"""The special functions that numpy lacks: erf, erfc, erfinv, lgamma, digamma, vectorised and in double precision.

Input: arrays of any real floating dtype. Output: float64 arrays (erfinv of anything narrower: float32), which the
caller rounds to its dtype. They are the reference for what the emitted kernels compute.

Worked example: `erf(np.array([0.0, np.inf]))` is `array([0., 1.])`.
"""
from __future__ import annotations

import numpy as np

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969): numerator and
# denominator, highest power first, on |x| <= 0.46875 (in x**2), up to 4 (in |x|), and beyond (in 1/x**2).
_CENTRE = ((1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
            3.20937758913846947e3),
           (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3))
ERFC_MIDDLE = ((2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
                2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
                1.23033935479799725e3),
               (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
                3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3))
ERFC_TAIL = ((1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
              1.60837851487422766e-2, 6.58749161529837803e-4),
             (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
              2.33520497626869185e-3))
# M. Giles, "Approximating the erfinv function" (2010): in w - 2.5 and sqrt(w) - 3, where w = -log(1 - x*x).
_ERFINV_CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 2.1858087e-04, -1.25372503e-03,
                  -4.17768164e-03, 2.46640727e-01, 1.50140941)
_ERFINV_TAIL = (-2.00214257e-04, 1.00950558e-04, 1.34934322e-03, -3.67342844e-03, 5.73950773e-03, -7.6224613e-03,
                9.43887047e-03, 1.00167406, 2.83297682)
# Stirling's series for log gamma and its derivative: B_2k / (2k (2k-1)) and B_2k / 2k (Abramowitz and Stegun 6.1.41
# and 6.3.18), lowest power first.
_LGAMMA_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
DIGAMMA_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160)
_SHIFT = 10  # the series are used from here on, where their error is below 1e-17


def _double(x) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def _ratio(coefficients, x: np.ndarray) -> np.ndarray:
    return np.polyval(coefficients[0], x) / np.polyval(coefficients[1], x)


def _upper(x: np.ndarray) -> np.ndarray:
    """erfc of x >= 0.46875."""
    squared = 1.0 / (x * x)
    tail = (1 / np.sqrt(np.pi) - squared * _ratio(ERFC_TAIL, squared)) / x
    scaled = np.where(x <= 4.0, _ratio(ERFC_MIDDLE, np.minimum(x, 4.0)), tail)
    # exp(-x*x) from a short x, whose square is exact, and the rest.
    short = np.trunc(x * 16.0) / 16.0
    return np.exp(-short * short) * np.exp(-(x - short) * (x + short)) * scaled


def erf(x) -> np.ndarray:
    """The error function."""
    x = _double(x)
    with np.errstate(all="ignore"):
        size = np.minimum(np.abs(x), 30.0)  # NaN stays NaN
        inner = x * _ratio(_CENTRE, np.minimum(size, 0.46875) ** 2)
        outer = np.copysign(1.0 - _upper(np.maximum(size, 0.46875)), x)
        return np.where(size <= 0.46875, inner, outer)


def erfc(x) -> np.ndarray:
    """1 - erf(x), without cancellation for large x."""
    x = _double(x)
    with np.errstate(all="ignore"):
        size = np.minimum(np.abs(x), 30.0)
        inner = 1.0 - x * _ratio(_CENTRE, np.minimum(size, 0.46875) ** 2)
        upper = _upper(np.maximum(size, 0.46875))
        return np.where(size <= 0.46875, inner, np.where(x < 0, 2.0 - upper, upper))


def _erfinv_single(x: np.ndarray) -> np.ndarray:
    """erfinv to the precision of float32, in a tenth of the time: M. Giles' two polynomials."""
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        w = -np.log1p(-x * x)
        centre, tail = w - np.float32(2.5), np.sqrt(np.maximum(w, np.float32(5.0))) - np.float32(3.0)
        result = np.where(w < 5.0, _horner(_ERFINV_CENTRE, centre), _horner(_ERFINV_TAIL, tail)) * x
        return np.where(np.abs(x) == 1.0, np.copysign(np.float32(np.inf), x), result)


def _horner(coefficients, x: np.ndarray) -> np.ndarray:
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total *= x
        total += np.float32(c)
    return total


def erfinv(x) -> np.ndarray:
    """The inverse of erf; infinite at -1 and 1, NaN beyond. Of float64, in double precision.

    S. Winitzki's closed formula (2008), which is right to three digits, and Halley steps on erf, or on erfc where erf
    is close to 1.
    """
    if np.asarray(x).dtype != np.float64:
        return _erfinv_single(np.asarray(x))
    x = _double(x)
    with np.errstate(all="ignore"):
        size = np.abs(x)
        logarithm = np.log1p(-np.minimum(size, 1.0) ** 2)
        half = 2.0 / (np.pi * 0.147) + logarithm / 2.0
        y = np.sqrt(np.maximum(np.sqrt(half * half - logarithm / 0.147) - half, 0.0))
        for _ in range(3):
            error = np.where(size < 0.5, erf(y) - size, (1.0 - size) - erfc(y))
            step = error * np.exp(y * y) * (np.sqrt(np.pi) / 2.0)
            y = y - np.where(np.isfinite(step), step / (1.0 + y * step), 0.0)
        y = np.where(size < 1.0, y, np.where(size == 1.0, np.inf, np.nan))
        return np.where(x == 0, x, np.copysign(y, x))


def _series(coefficients, x: np.ndarray) -> np.ndarray:
    return np.polyval(coefficients[::-1], 1.0 / (x * x))


def _lgamma_positive(x: np.ndarray) -> np.ndarray:
    product, shifted = np.ones_like(x), x
    for _ in range(_SHIFT):
        small = shifted < _SHIFT
        product = np.where(small, product * shifted, product)
        shifted = np.where(small, shifted + 1.0, shifted)
    stirling = (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * np.log(2.0 * np.pi)
    result = stirling + _series(_LGAMMA_SERIES, shifted) / shifted - np.log(product)
    return np.where(np.isposinf(x), np.inf, result)


def lgamma(x) -> np.ndarray:
    """The logarithm of the absolute value of the gamma function; infinite at its poles."""
    x = _double(x)
    with np.errstate(all="ignore"):
        reflected = x < 0.5
        value = _lgamma_positive(np.where(reflected, 1.0 - x, x))
        sine = np.abs(np.sin(np.pi * (x - np.round(x))))
        result = np.where(reflected, np.log(np.pi) - np.log(sine) - value, value)
        return np.where(np.isneginf(x), np.inf, result)


def digamma(x) -> np.ndarray:
    """The derivative of lgamma; NaN at its poles."""
    x = _double(x)
    with np.errstate(all="ignore"):
        reflected = x < 0.5
        shifted, total = np.where(reflected, 1.0 - x, x), np.zeros_like(x)
        for _ in range(_SHIFT):
            small = shifted < _SHIFT
            total = np.where(small, total - 1.0 / shifted, total)
            shifted = np.where(small, shifted + 1.0, shifted)
        value = total + np.log(shifted) - 0.5 / shifted - _series(DIGAMMA_SERIES, shifted) / (shifted * shifted)
        fraction = x - np.round(x)
        result = np.where(reflected, value - np.pi / np.tan(np.pi * fraction), value)
        return np.where(reflected & (fraction == 0) | np.isneginf(x), np.nan, result)
