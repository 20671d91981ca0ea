"""How a gamma sample changes with its shape parameter, by implicit reparameterisation.

Input: the parameter `a` and a sample x. Output: d log(x) / da where the value of the distribution function, which is
what a sample was drawn by, stays the same:

    F(x, a) = u    gives    dx/da = -(dF/da) / (dF/dx)

(Figurnov, Mohamed and Mnih, Implicit Reparameterization Gradients, 2018.) How the sampler made x plays no role, so a
rejection loop is never differentiated. Three formulas cover the plane, each of them where it loses no digits:

    x <= a or x <= 1    the power series of F             F = x**a exp(-x) / Gamma(a+1) * sum of x**n / (a+1)...(a+n)
    x > a               the continued fraction of 1 - F   (Abramowitz and Stegun 6.5.29 and 6.5.31)
    large a             the Cornish-Fisher expansion of x about the normal distribution

Worked example: for a = 1, F is 1 - exp(-x); at its median, x = log 2, `log_derivative(1., log(log(2.)))` is 1.3966.
"""

from __future__ import annotations

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import RuleError
from ftiny.numpy.common import convert, dtype_of, scalar_literal
from ftiny.source import located
from ftiny.transforms.control import while_loop
from ftiny.transforms.custom import custom_jvp

# From here on the expansion for large a is right to the last places of the dtype.
_LARGE = {dtypes.float32: 400.0, dtypes.float64: 2e4}
# No element needs as many terms below those bounds; it ends a loop that not-a-number would keep running.
_MOST_TERMS = 10_000


def _with_derivative(log_space, a, sample):
    return sample


#: `with_derivative(log_space, a, sample)` is the sample (or its logarithm), which changes with `a` as derived here.
with_derivative = custom_jvp(_with_derivative, nondiff_argnums=(0,))


@with_derivative.defjvp
def _with_derivative_rule(log_space, primals, tangents):
    (a, sample), (da, _) = primals, tangents
    if log_space:
        return sample, da * log_derivative(a, sample)
    tiny = scalar_literal(fnp.finfo(dtype_of(sample)).tiny, dtype_of(sample))
    return sample, da * (sample * log_derivative(a, fnp.log(fnp.maximum(sample, tiny))))


@custom_jvp
def log_derivative(a, log_x):
    """d log(x) / da of a gamma sample x with parameter `a`, both of one shape and dtype."""
    dtype = dtype_of(a)
    work = dtypes.float64 if dtype == dtypes.float64 else dtypes.float32
    a, log_x = convert(a, work), convert(log_x, work)
    x = fnp.exp(log_x)
    is_large = fnp.greater(a, scalar_literal(_LARGE[work], work))
    in_series = fnp.logical_or(fnp.less_equal(x, a), fnp.less_equal(x, 1))
    # Where a formula is not used it gets numbers for which it ends at once.
    one = scalar_literal(1, work)
    in_fraction = fnp.logical_not(fnp.logical_or(is_large, in_series))
    in_series = fnp.logical_and(in_series, fnp.logical_not(is_large))
    series = _series(fnp.where(in_series, a, one), fnp.where(in_series, x, 0 * one), fnp.where(in_series, log_x, one))
    fraction = _fraction(fnp.where(in_fraction, a, one), fnp.where(in_fraction, x, 2 * one))
    expansion = _expansion(fnp.where(is_large, a, one), fnp.where(is_large, x, one))
    return convert(fnp.where(is_large, expansion, fnp.where(in_series, series, fraction)), dtype)


@log_derivative.defjvp
def _log_derivative_rule(primals, tangents):
    raise RuleError(
        located(
            "a gamma sample (random.gamma, loggamma, beta, dirichlet, t, ...) has no second derivative with respect to "
            "its parameter, only a first one; put lax.stop_gradient round the parameter where one of the derivatives "
            "shall not see it"
        )
    )


def _more_terms(term, total):
    """Whether some term still counts beside its total."""
    epsilon = scalar_literal(fnp.finfo(dtype_of(term)).eps, dtype_of(term))
    return fnp.any(fnp.greater(fnp.abs(term), epsilon * fnp.abs(total)))


def _series(a, x, log_x):
    """From S = sum of x**n / (a+1)...(a+n) and its derivative: -(dS/da + S * (log(x) - digamma(a+1))) / a."""

    def step(state):
        n, term, dterm, total, dtotal = state
        factor = x / (a + n)
        dterm = (dterm - term / (a + n)) * factor
        term = term * factor
        return n + 1, term, dterm, total + term, dtotal + dterm

    def unfinished(state):
        n, term, dterm, total, dtotal = state
        left = fnp.logical_or(_more_terms(term, total), _more_terms(dterm, dtotal))
        return fnp.logical_and(left, fnp.less(n, _MOST_TERMS))

    one, zero = fnp.ones_like(a), fnp.zeros_like(a)
    start = (fnp.full((), 1, dtype_of(a)), one, zero, one, zero)
    _, _, _, total, dtotal = while_loop(unfinished, step, start)
    return -(dtotal + total * (log_x - _digamma(a + 1))) / a


def _digamma(a):
    return primitives.math(a, fn="digamma")


def _fraction(a, x):
    """From h = 1/(x+1-a - 1(1-a)/(x+3-a - 2(2-a)/(x+5-a - ...))) and its derivative: dh/da + h * (log(x) - digamma(a)).

    Evaluated front to back by Lentz's method (modified by Thompson and Barnett, 1986), with the derivative of each
    quantity beside it: d is the ratio of successive denominators, c that of numerators, and h the product of all c*d.
    """

    def step(state):
        n, (d, dd), (c, dc), (h, dh), _ = state
        numerator, b = n * (a - n), x + (2 * n + 1) - a
        denominator = numerator * d + b
        ddenominator = n * d + numerator * dd - 1
        d = 1 / denominator
        dd = -ddenominator * d * d
        ratio = numerator / c
        c, dc = b + ratio, n / c - ratio * (dc / c) - 1
        change, dchange = c * d, c * dd + dc * d
        left = fnp.logical_or(_more_terms(change - 1, change), _more_terms(dchange, change))
        return n + 1, (d, dd), (c, dc), (h * change, dh * change + h * dchange), left

    def unfinished(state):
        return fnp.logical_and(state[-1], fnp.less(state[0], _MOST_TERMS))

    first = x + 1 - a
    d = 1 / first
    huge = fnp.full_like(a, 1e30)
    start = (fnp.full((), 1, dtype_of(a)), (d, d * d), (huge, fnp.zeros_like(a)), (d, d * d), fnp.full((), True))
    _, _, _, (h, dh), _ = while_loop(unfinished, step, start)
    return dh + h * (fnp.log(x) - _digamma(a))


def _expansion(a, x):
    """With r = x / a and e = r - 1, dx/da = r log(r) / e + 1/(6a) + e/(12a) - e**2/(30a) + 1/(60a**2) + O(a**-5/2).

    The derivative of x = a + z sqrt(a) + (z**2 - 1)/3 + ... (Cornish and Fisher, 1938) for a fixed normal number z,
    written in terms of x. The first term alone is the ratio of the derivatives of the exponent of Laplace's method.
    """
    e = x / a - 1
    flat = fnp.equal(e, 0)
    safe = fnp.where(flat, np.ones((), dtype_of(a))[()], e)
    leading = fnp.where(flat, np.ones((), dtype_of(a))[()], (1 + safe) * fnp.log1p(safe) / safe)
    return (leading + ((1 / 6 + e / 12 - e * e / 30) + 1 / (60 * a)) / a) / x
