"""Integrals of exp(-t²) and exp(i t²): `wofz`, `dawsn`, `fresnel` and `owens_t` of `ftiny.scipy.special`.

Input: arrays that broadcast; integers become float32. Output: an array of the broadcast shape:

    >>> dawsn(ftiny.numpy.array([0.5, 2.0]))                 # exp(-x²) times the integral of exp(t²) from 0 to x
    Array([0.42443636, 0.3013404 ], dtype=float32)

Each is a sum of fixed length over nodes or coefficients that are computed here once. DLMF is https://dlmf.nist.gov.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.lax.special import on_floats, with_partials
from ftiny.numpy.common import check_array, convert, dtype_of, promote

# ---- the Faddeeva function ------------------------------------------------------------------------------------------


@cache
def _weideman(count: int) -> tuple[float, np.ndarray]:
    """(L, coefficients) of Weideman, Computation of the complex error function (1994): a rational function with its
    pole at -i L, whose coefficients are those of a Fourier series on the real line."""
    scale = math.sqrt(count / math.sqrt(2.0))
    angle = np.arange(-2 * count + 1, 2 * count) * np.pi / (2 * count)
    t = scale * np.tan(angle / 2)
    values = np.concatenate([[0.0], np.exp(-t * t) * (scale * scale + t * t)])
    return scale, np.real(np.fft.fft(np.fft.fftshift(values)))[1 : count + 1] / (4 * count)


def _upper_wofz(z):
    """w(z) for z in the upper half plane, to 14 digits in double precision."""
    dtype = dtype_of(z)
    scale, coefficients = _weideman(40 if dtype == dtypes.complex128 else 20)
    below = scale - 1j * z
    ratio = (scale + 1j * z) / below
    total = fnp.zeros_like(z)
    for coefficient in coefficients[::-1]:
        total = total * ratio + float(coefficient)
    return (2.0 * total / below + 1.0 / math.sqrt(math.pi)) / below


def _wofz(z):
    """DLMF 7.4.3 takes the lower half plane to the upper one."""
    lower = fnp.less(fnp.imag(z), 0)
    value = _upper_wofz(fnp.where(lower, -z, z))
    inside = fnp.where(lower, z, 0.0)
    return fnp.where(lower, 2.0 * fnp.exp(-inside * inside) - value, value)


_wofz_rule: Callable = with_partials(_wofz, lambda z: 2j / math.sqrt(math.pi) - 2.0 * z * _wofz_rule(z))


def wofz(z):
    """Elementwise Faddeeva function exp(-z²) erfc(-i z), complex; real and integer arguments become complex."""
    check_array("wofz", z)
    dtype = dtypes.complex_dtype(dtype_of(z) if dtypes.is_inexact(dtype_of(z)) else dtypes.float32)
    return _wofz_rule(fnp.asarray(convert(z, dtype)))


# ---- Dawson's integral ----------------------------------------------------------------------------------------------

_STEP = 0.25  # of Rybicki's sum, whose relative error is exp(-(pi / (2 step))²)


def _dawsn(x):
    """Rybicki, Dawson's integral and the sampling theorem (1989): a sum over the odd multiples of a step.

    Up to 1 its terms are taken in pairs, which are positive; beyond it runs over the multiples next to x; far out are
    two terms of the asymptotic series DLMF 7.12.
    """
    kind = dtype_of(x).type
    small, far = fnp.less(fnp.abs(x), 1), fnp.greater(fnp.abs(x), 1e4)
    odd = np.arange(1, 28, 2)
    near = fnp.expand_dims(fnp.where(small, x, 0.0), -1)
    pairs = fnp.sinh(near * (2 * _STEP * odd).astype(kind)) * (np.exp(-((odd * _STEP) ** 2)) / odd).astype(kind)
    inner = 2.0 * fnp.exp(-fnp.squeeze(near * near, -1)) * fnp.sum(pairs, axis=-1)
    middle = fnp.where(fnp.logical_or(small, far), 1.5, x)
    start = 2.0 * fnp.round(middle / (2 * _STEP))
    both = np.concatenate([-odd[::-1], odd])
    distance = fnp.expand_dims(middle - start * _STEP, -1) - (both * _STEP).astype(kind)
    terms = fnp.exp(-distance * distance) / (fnp.expand_dims(start, -1) + both.astype(kind))
    outer = fnp.sum(terms, axis=-1)
    inverse = 1.0 / fnp.where(far, x, 1.0)
    series = 0.5 * inverse * (1.0 + 0.5 * inverse * inverse)
    return fnp.where(far, series, fnp.where(small, inner, outer) / math.sqrt(math.pi))


_dawsn_rule: Callable = with_partials(_dawsn, lambda x: 1.0 - 2.0 * x * _dawsn_rule(x))


def dawsn(x):
    """Elementwise Dawson's integral, exp(-x²) times the integral of exp(t²) from 0 to x."""
    return on_floats("dawsn", _dawsn_rule, *promote("dawsn", x, inexact=True))


# ---- Fresnel's integrals --------------------------------------------------------------------------------------------


def _phase(x):
    """(cos, sin) of pi x² / 2; whole turns are taken off before anything is rounded."""
    whole = fnp.round(x)
    rest = x - whole
    quarters = fnp.remainder(whole, 2.0) + fnp.remainder(2.0 * whole * rest, 4.0) + rest * rest
    angle = 0.5 * math.pi * quarters
    return fnp.cos(angle), fnp.sin(angle)


def _fresnel(x, sine: bool):
    """The power series DLMF 7.6.4 and 7.6.6 up to 1.2; beyond it the Faddeeva function, DLMF 7.5.8."""
    size = fnp.abs(x)
    small = fnp.less(size, 1.2)
    near, far = fnp.where(small, size, 0.0), fnp.where(fnp.logical_or(small, fnp.greater(size, 1e15)), 1.5, size)
    t = 0.5 * math.pi * near * near
    series = fnp.zeros_like(x)
    for n in range(13, -1, -1):
        k = 2 * n + sine
        series = series * (-t * t) + 1.0 / (math.factorial(k) * (2 * k + 1))
    series = near * series * t if sine else near * series
    cosine, turned = _phase(far)
    ray = 0.5 * math.sqrt(math.pi) * far
    w = _upper_wofz(primitives.math(ray, ray, fn="complex"))
    real = cosine * fnp.real(w) - turned * fnp.imag(w)
    imaginary = cosine * fnp.imag(w) + turned * fnp.real(w)
    beyond = 0.5 * (1.0 - real - imaginary if sine else 1.0 - real + imaginary)
    beyond = fnp.where(fnp.greater(size, 1e15), 0.5, beyond)
    value = fnp.sign(x) * fnp.where(small, series, beyond)
    return fnp.where(fnp.isnan(x), math.nan, value)


_fresnel_sine = with_partials(lambda x: _fresnel(x, True), lambda x: _phase(x)[1])
_fresnel_cosine = with_partials(lambda x: _fresnel(x, False), lambda x: _phase(x)[0])


def fresnel(x):
    """Elementwise `(S, C)`: the integrals of sin(pi t² / 2) and cos(pi t² / 2) from 0 to x."""
    operands = promote("fresnel", x, inexact=True)
    return on_floats("fresnel", _fresnel_sine, *operands), on_floats("fresnel", _fresnel_cosine, *operands)


# ---- Owen's T -------------------------------------------------------------------------------------------------------


def _owens_t_inside(h, a):
    """T(h, a) for 0 <= a <= 1, by Gauss's quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    kind = dtype_of(h).type
    squares = fnp.expand_dims(a * a, -1) * ((0.5 * (nodes + 1)) ** 2).astype(kind)
    half = fnp.expand_dims(0.5 * h * h, -1)
    terms = fnp.exp(-half * squares) / (1.0 + squares) * (0.5 * weights).astype(kind)
    return a / (2 * math.pi) * fnp.exp(-0.5 * h * h) * fnp.sum(terms, axis=-1)


def _upper_tail(x):
    return 0.5 * primitives.math(x * math.sqrt(0.5), fn="erfc")


def _owens_t(h, a):
    """For |a| > 1 by the reflection to 1 / a (Owen, Tables for computing bivariate normal probabilities, 1956)."""
    height, slope = fnp.abs(h), fnp.abs(a)
    steep = fnp.greater(slope, 1)
    product = height * slope
    inside = _owens_t_inside(fnp.where(steep, product, height), fnp.where(steep, 1.0 / slope, slope))
    first, second = _upper_tail(height), _upper_tail(product)
    reflected = 0.5 * (first + second) - first * second - inside
    value = fnp.where(steep, fnp.where(fnp.equal(height, 0), fnp.arctan(slope) / (2 * math.pi), reflected), inside)
    return fnp.sign(a) * value


_owens_t_rule = with_partials(
    _owens_t,
    lambda h, a: -fnp.exp(-0.5 * h * h) * primitives.math(a * h * math.sqrt(0.5), fn="erf") / math.sqrt(8 * math.pi),
    lambda h, a: fnp.exp(-0.5 * h * h * (1.0 + a * a)) / (2 * math.pi * (1.0 + a * a)),
)


def owens_t(h, a):
    """Elementwise Owen's T: the integral of exp(-h² (1 + t²) / 2) / (2 pi (1 + t²)) over t from 0 to a.

    It is the probability that X > h and 0 < Y < a X for two independent standard normal numbers.
    """
    return on_floats("owens_t", _owens_t_rule, *promote("owens_t", h, a, inexact=True))
