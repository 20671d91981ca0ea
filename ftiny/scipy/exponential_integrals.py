"""Exponential integrals and the dilogarithm: `exp1`, `expi`, `expn`, `spence` of `ftiny.scipy.special`.

Input: arrays that broadcast; integers become float32. Output: an array of the broadcast shape:

    >>> exp1(ftiny.numpy.array([0.5, 2.0]))                  # the integral of exp(-t)/t from x on
    Array([0.5597736 , 0.04890051], dtype=float32)

Series that need few terms are sums over a last axis of all their terms. DLMF is https://dlmf.nist.gov.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.lax.special import bernoulli_numbers, continued_fraction, iterate, on_floats, with_partials
from ftiny.numpy.common import dtype_of, promote


def _small_series(n, x):
    """E_n(x) for whole n >= 1 and 0 < x <= 1: the series DLMF 8.19.8."""
    count = 22 if dtype_of(x) == dtypes.float64 else 14
    kind = dtype_of(x).type
    numbers = np.arange(count).astype(kind)
    signs = np.array([(-1.0) ** k / math.factorial(k) for k in range(count)], kind)
    distance = numbers - fnp.expand_dims(n, -1) + 1.0
    at_pole = fnp.equal(distance, 0)
    powers = fnp.power(fnp.expand_dims(x, -1), numbers) * signs
    rest = fnp.sum(fnp.where(at_pole, 0.0, powers / fnp.where(at_pole, 1.0, distance)), axis=-1)
    sign = 1.0 - 2.0 * fnp.remainder(n - 1.0, 2.0)
    log_x = fnp.log(x)
    factor = sign * fnp.exp((n - 1.0) * log_x - primitives.math(n, fn="lgamma"))
    return factor * (primitives.math(n, fn="digamma") - log_x) - rest


def _expn(n, x):
    """E_n(x): the series up to 1, the continued fraction DLMF 8.19.17 beyond."""
    fine = fnp.logical_and(fnp.greater(x, 0), fnp.greater_equal(n, 1))
    order, value = fnp.where(fine, n, 1.0), fnp.where(fine, x, 1.0)
    small = fnp.less_equal(value, 1)
    series = _small_series(order, fnp.where(small, value, 1.0))
    far = fnp.where(small, 2.0, value)
    fraction = continued_fraction(lambda k: -k * (order + (k - 1.0)), lambda k: far + order + 2.0 * k, far + order)
    result = fnp.where(small, series, fraction * fnp.exp(-far))
    at_zero = fnp.where(fnp.greater(n, 1), 1.0 / (fnp.where(fnp.greater(n, 1), n, 2.0) - 1.0), math.inf)
    result = fnp.where(fnp.equal(x, 0), at_zero, result)
    result = fnp.where(fnp.equal(n, 0), fnp.exp(-x) / x, result)
    wrong = fnp.logical_or(fnp.less(x, 0), fnp.logical_or(fnp.less(n, 0), fnp.isnan(x)))
    return fnp.where(wrong, math.nan, result)


_expn_rule: Callable = with_partials(
    _expn, lambda n, x: fnp.full_like(x, math.nan), lambda n, x: -_expn_rule(n - 1.0, x)
)


def _exp1(x):
    return _expn(fnp.ones_like(x), x)


_exp1_rule = with_partials(_exp1, lambda x: -fnp.exp(-x) / x)


def expn(n, x):
    """Elementwise exponential integral E_n(x), the integral of exp(-x t) / t**n over t from 1 on.

    n: whole numbers; x >= 0. NaN outside. Differentiable by x.
    """
    return on_floats("expn", _expn_rule, *promote("expn", n, x, inexact=True))


def exp1(x):
    """Elementwise exponential integral E_1(x), the integral of exp(-t) / t from x on; NaN for negative x."""
    return on_floats("exp1", _exp1_rule, *promote("exp1", x, inexact=True))


def _expi(x):
    """Ei(x): DLMF 6.6.2 up to 40, where all terms are positive, the asymptotic series 6.12.2 beyond, -E1(-x) below."""
    epsilon = float(fnp.finfo(dtype_of(x)).eps)
    negative, large = fnp.less(x, 0), fnp.greater(x, 40.0)
    below = -_exp1_rule(fnp.where(negative, -x, 1.0))
    near = fnp.where(fnp.logical_or(negative, large), 1.0, x)
    one = fnp.ones_like(x)
    # The state is x**k / k! and the sum of x**k / (k k!).
    step = lambda k, term, total: (term * (near / k), total + term * (near / (k * k)))
    unfinished = lambda term, total: fnp.greater(term, 0.1 * epsilon * total)
    series = iterate(unfinished, step, (one, fnp.zeros_like(x)))[1]
    above = np.euler_gamma + fnp.log(near) + series
    w = 1.0 / fnp.where(large, x, 40.0)
    terms = one
    for k in range(25, 0, -1):
        terms = 1.0 + k * w * terms
    far = terms * w * fnp.exp(fnp.where(large, x, 40.0))
    return fnp.where(negative, below, fnp.where(large, far, above))


_expi_rule = with_partials(_expi, lambda x: fnp.exp(x) / x)


def expi(x):
    """Elementwise exponential integral Ei(x), the principal value of the integral of exp(t) / t up to x."""
    return on_floats("expi", _expi_rule, *promote("expi", x, inexact=True))


# ---- the dilogarithm -------------------------------------------------------------------------------------------


def _debye(u):
    """The dilogarithm of 1 - exp(u) for |u| <= log 2: the sum of B_k (-u)**(k+1) / (k+1)!."""
    count = 24 if dtype_of(u) == dtypes.float64 else 12
    numbers = bernoulli_numbers(count)
    total = fnp.zeros_like(u)
    square = u * u
    for k in range(count - 2, 0, -2):
        total = total * square + float(numbers[k + k % 2]) / math.factorial(k + k % 2 + 1)
    return -u - 0.25 * square - u * square * total


def _spence(x):
    """Reduced to 1/2 <= x <= 2 by DLMF 25.12.4 and 25.12.6."""
    large = fnp.greater(x, 2.0)
    inverse = fnp.where(large, 1.0 / fnp.where(large, x, 1.0), x)
    small = fnp.less(inverse, 0.5)
    zero = fnp.equal(inverse, 0)
    inside = fnp.where(fnp.logical_or(zero, fnp.logical_not(small)), 0.25, inverse)
    reflected = math.pi**2 / 6 - fnp.log(inside) * fnp.log1p(-inside) - _debye(fnp.log1p(-inside))
    direct = _debye(fnp.log(fnp.where(small, 1.0, inverse)))
    value = fnp.where(zero, math.pi**2 / 6, fnp.where(small, reflected, direct))
    logarithm = fnp.log(fnp.where(large, x, 1.0))
    value = fnp.where(large, -0.5 * logarithm * logarithm - value, value)
    return fnp.where(fnp.greater_equal(x, 0), value, math.nan)


def _spence_slope(x):
    one = fnp.equal(x, 1)
    safe = fnp.where(one, 2.0, x)
    return fnp.where(one, -1.0, fnp.log(safe) / (1.0 - safe))


_spence_rule = with_partials(_spence, _spence_slope)


def spence(x):
    """Elementwise dilogarithm of 1 - x, the integral of log(t) / (1 - t) from 1 to x; NaN for negative x."""
    return on_floats("spence", _spence_rule, *promote("spence", x, inexact=True))
