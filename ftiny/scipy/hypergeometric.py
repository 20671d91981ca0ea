"""Hypergeometric functions: `hyp1f1` and `hyp2f1` of `ftiny.scipy.special`.

Input: real arrays that broadcast; integers become float32. Output: an array of the broadcast shape:

    >>> hyp1f1(1.0, 2.0, ftiny.numpy.array([1.0]))           # (exp(x) - 1) / x
    Array([1.7182816], dtype=float32)

Both are power series, after a transformation that makes the argument positive; their derivatives by the parameters are
those of the series term by term (Pearson, Olver and Porter, Numerical methods for the computation of the confluent and
Gauss hypergeometric functions, 2014). DLMF is https://dlmf.nist.gov.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ftiny import numpy as fnp
from ftiny import primitives
from ftiny.lax.special import iterate, on_floats, with_partials
from ftiny.numpy.common import dtype_of, promote
from ftiny.transforms.grad import jvp


def _sum_of(ratio: Callable, like):
    """1 + t_1 + t_1 t_2 + ... with the factors t_k = ratio(k); NaN where it has not converged."""
    # Beyond the last place of the sum, so that the derivatives by parameters have converged as well.
    small = 0.01 * float(fnp.finfo(dtype_of(like)).eps)
    unfinished = lambda term, total: fnp.greater(fnp.abs(term), small * fnp.abs(total))

    def step(k, term, total):
        term = term * ratio(k)
        return term, total + term

    term, total = iterate(unfinished, step, (fnp.ones_like(like), fnp.ones_like(like)))
    return fnp.where(unfinished(term, total), math.nan, total)


def _hyp1f1(a, b, x):
    """The series DLMF 13.2.2; for x < 0 that of Kummer's transformation 13.2.39."""
    negative = fnp.less(x, 0)
    pole = fnp.logical_and(fnp.equal(b, 0), fnp.not_equal(a, 0))
    below = fnp.where(fnp.equal(b, 0), 1.0, b)
    above, size = fnp.where(negative, below - a, a), fnp.abs(x)
    series = _sum_of(lambda k: (above + (k - 1.0)) * size / ((below + (k - 1.0)) * k), x)
    value = fnp.where(negative, fnp.exp(fnp.where(negative, x, 0.0)) * series, series)
    value = fnp.where(fnp.equal(a, 0), 1.0, value)
    return fnp.where(pole, math.inf, value)


def _by(function: Callable, position: int) -> Callable:
    """The partial derivative of a function of several arrays, forwards through its series."""

    def partial(*arguments):
        def of_one(x):
            return function(*arguments[:position], x, *arguments[position + 1 :])

        x = arguments[position]
        return jvp(of_one, (x,), (fnp.ones_like(x),))[1]

    return partial


_hyp1f1_rule: Callable = with_partials(
    _hyp1f1, _by(_hyp1f1, 0), _by(_hyp1f1, 1), lambda a, b, x: a / b * _hyp1f1_rule(a + 1.0, b + 1.0, x)
)


def hyp1f1(a, b, x):
    """Elementwise confluent hypergeometric function 1F1(a; b; x), Kummer's M.

    For |x| up to 80 in float32 and 700 in float64, beyond which exp(x) is not finite.
    """
    return on_floats("hyp1f1", _hyp1f1_rule, *promote("hyp1f1", a, b, x, inexact=True))


def _gamma(x):
    sign = fnp.where(fnp.logical_or(fnp.greater(x, 0), fnp.equal(fnp.remainder(fnp.floor(x), 2.0), 0)), 1.0, -1.0)
    return sign * fnp.exp(primitives.math(x, fn="lgamma"))


def _whole_below_one(x):
    return fnp.logical_and(fnp.less_equal(x, 0), fnp.equal(x, fnp.floor(x)))


def _hyp2f1(a, b, c, x):
    """The series DLMF 15.2.1, after 15.8.1: Pfaff's transformation for x < 0, Euler's where the terms would grow."""
    ends = fnp.logical_or(_whole_below_one(a), _whole_below_one(b))
    pole = _whole_below_one(c)
    below = fnp.where(pole, 1.0, c)
    negative = fnp.logical_and(fnp.less(x, 0), fnp.logical_not(ends))
    inside = fnp.less(x, 1)
    rest = fnp.where(inside, 1.0 - x, 1.0)
    excess = below - a - b
    growing = fnp.logical_and(fnp.less(excess, 0), fnp.logical_and(inside, fnp.logical_not(ends)))
    growing = fnp.logical_and(growing, fnp.logical_not(negative))
    first = fnp.where(growing, below - a, a)
    second = fnp.where(fnp.logical_or(growing, negative), below - b, b)
    usable = fnp.logical_or(inside, ends)
    argument = fnp.where(negative, -x / rest, fnp.where(usable, x, 0.0))
    series = _sum_of(
        lambda k: (first + (k - 1.0)) * (second + (k - 1.0)) * argument / ((below + (k - 1.0)) * k), x
    )
    power = fnp.where(negative, -a, fnp.where(growing, excess, 0.0))
    value = fnp.power(rest, power) * series
    # Gauss's sum at 1, DLMF 15.4.20.
    sums = fnp.logical_and(fnp.equal(x, 1), fnp.greater(excess, 0))
    d = fnp.where(sums, excess, 1.0)
    at_one = fnp.where(sums, _gamma(below) * _gamma(d) / (_gamma(below - a) * _gamma(below - b)), math.inf)
    value = fnp.where(usable, value, at_one)
    trivial = fnp.logical_or(fnp.equal(a * b, 0), fnp.equal(x, 0))
    return fnp.where(trivial, 1.0, fnp.where(pole, math.inf, value))


_hyp2f1_rule: Callable = with_partials(
    _hyp2f1,
    _by(_hyp2f1, 0),
    _by(_hyp2f1, 1),
    _by(_hyp2f1, 2),
    lambda a, b, c, x: a * b / c * _hyp2f1_rule(a + 1.0, b + 1.0, c + 1.0, x),
)


def hyp2f1(a, b, c, x):
    """Elementwise Gauss's hypergeometric function 2F1(a, b; c; x).

    For x from -50 to 0.98, at 1 (infinite where c <= a + b), and everywhere where a or b is a whole number below 1, so
    that the series ends. Infinite for other x > 1, and NaN where 2000 terms are not enough.
    """
    return on_floats("hyp2f1", _hyp2f1_rule, *promote("hyp2f1", a, b, c, x, inexact=True))
