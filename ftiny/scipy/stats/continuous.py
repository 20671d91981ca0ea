"""`ftiny.scipy.stats`, distributions of real numbers. Each is given by its formulas; see `building.continuous`.

Input: values, parameters, location and scale, which broadcast. Output: densities, probabilities, quantiles:

    >>> gamma.cdf(2.0, a=1.0)                # 1 - exp(-2)
    Array(0.86466473, dtype=float32)
"""

from __future__ import annotations

import math

from ftiny import numpy as fnp
from ftiny.scipy import special
from ftiny.scipy.stats.building import continuous

_REAL_LINE = (-math.inf, math.inf)
_POSITIVE = (0.0, math.inf)


def _softplus(x):
    return fnp.logaddexp(x, 0.0)


norm = continuous(
    "norm",
    "normal",
    logpdf=lambda z: -0.5 * z * z - 0.5 * math.log(2 * math.pi),
    cdf=special.ndtr,
    logcdf=special.log_ndtr,
    sf=lambda z: special.ndtr(-z),
    logsf=lambda z: special.log_ndtr(-z),
    ppf=special.ndtri,
    isf=lambda q: -special.ndtri(q),
)

expon = continuous(
    "expon",
    "exponential",
    support=_POSITIVE,
    logpdf=lambda z: -z,
    cdf=lambda z: -fnp.expm1(-z),
    sf=lambda z: fnp.exp(-z),
    logsf=lambda z: -z,
    ppf=lambda q: -fnp.log1p(-q),
)

gamma = continuous(
    "gamma",
    "gamma",
    ("a",),
    support=_POSITIVE,
    logpdf=lambda z, a: special.xlogy(a - 1.0, z) - z - special.gammaln(a),
    cdf=lambda z, a: special.gammainc(a, z),
    sf=lambda z, a: special.gammaincc(a, z),
)

chi2 = continuous(
    "chi2",
    "chi-squared",
    ("df",),
    support=_POSITIVE,
    logpdf=lambda z, df: special.xlogy(0.5 * df - 1.0, 0.5 * z) - 0.5 * z - special.gammaln(0.5 * df) - math.log(2),
    cdf=lambda z, df: special.gammainc(0.5 * df, 0.5 * z),
    sf=lambda z, df: special.gammaincc(0.5 * df, 0.5 * z),
)

beta = continuous(
    "beta",
    "beta",
    ("a", "b"),
    support=(0.0, 1.0),
    logpdf=lambda z, a, b: special.xlogy(a - 1.0, z) + special.xlog1py(b - 1.0, -z) - special.betaln(a, b),
    cdf=lambda z, a, b: special.betainc(a, b, z),
    sf=lambda z, a, b: special.betainc(b, a, 1.0 - z),
)

cauchy = continuous(
    "cauchy",
    "Cauchy",
    logpdf=lambda z: -math.log(math.pi) - fnp.log1p(z * z),
    cdf=lambda z: 0.5 + fnp.arctan(z) / math.pi,
    sf=lambda z: 0.5 - fnp.arctan(z) / math.pi,
    ppf=lambda q: fnp.tan(math.pi * (q - 0.5)),
    isf=lambda q: fnp.tan(math.pi * (0.5 - q)),
)

laplace = continuous(
    "laplace",
    "Laplace",
    logpdf=lambda z: -fnp.abs(z) - math.log(2),
    cdf=lambda z: fnp.where(fnp.less(z, 0), 0.5 * fnp.exp(-fnp.abs(z)), 1.0 - 0.5 * fnp.exp(-fnp.abs(z))),
    logs=False,
)

logistic = continuous(
    "logistic",
    "logistic",
    logpdf=lambda z: -fnp.abs(z) - 2.0 * _softplus(-fnp.abs(z)),
    cdf=special.expit,
    sf=lambda z: special.expit(-z),
    ppf=special.logit,
    isf=lambda q: -special.logit(q),
    logs=False,
    quantile_argument="x",
)

gumbel_r = continuous(
    "gumbel_r",
    "right-skewed Gumbel",
    logpdf=lambda z: -z - fnp.exp(-z),
    cdf=lambda z: fnp.exp(-fnp.exp(-z)),
    logcdf=lambda z: -fnp.exp(-z),
    sf=lambda z: -fnp.expm1(-fnp.exp(-z)),
    ppf=lambda p: -fnp.log(-fnp.log(p)),
    quantile_argument="p",
)

gumbel_l = continuous(
    "gumbel_l",
    "left-skewed Gumbel",
    logpdf=lambda z: z - fnp.exp(z),
    cdf=lambda z: -fnp.expm1(-fnp.exp(z)),
    sf=lambda z: fnp.exp(-fnp.exp(z)),
    logsf=lambda z: -fnp.exp(z),
    ppf=lambda p: fnp.log(-fnp.log1p(-p)),
    quantile_argument="p",
)

uniform = continuous(
    "uniform",
    "uniform",
    support=(0.0, 1.0),
    logpdf=lambda z: 0.0 * z,
    cdf=lambda z: z,
    ppf=lambda q: fnp.where(fnp.logical_or(fnp.less(q, 0), fnp.greater(q, 1)), math.nan, q),
    logs=False,
)

t = continuous(
    "t",
    "Student's t",
    ("df",),
    logpdf=lambda z, df: (
        special.gammaln(0.5 * (df + 1.0))
        - special.gammaln(0.5 * df)
        - 0.5 * fnp.log(math.pi * df)
        - 0.5 * (df + 1.0) * fnp.log1p(z * z / df)
    ),
)

pareto = continuous(
    "pareto",
    "Pareto",
    ("b",),
    support=(1.0, math.inf),
    inside=2.0,
    logpdf=lambda z, b: fnp.log(b) - (b + 1.0) * fnp.log(z),
    cdf=lambda z, b: -fnp.expm1(-b * fnp.log(z)),
    sf=lambda z, b: fnp.exp(-b * fnp.log(z)),
    logsf=lambda z, b: -b * fnp.log(z),
    ppf=lambda q, b: fnp.exp(-fnp.log1p(-q) / b),
)

gennorm = continuous(
    "gennorm",
    "generalised normal",
    ("beta",),
    scaled=False,
    logs=False,
    logpdf=lambda x, beta: fnp.log(0.5 * beta) - special.gammaln(1.0 / beta) - fnp.abs(x) ** beta,
    cdf=lambda x, beta: 0.5 * (1.0 + fnp.sign(x) * special.gammainc(1.0 / beta, fnp.abs(x) ** beta)),
)

vonmises = continuous(
    "vonmises",
    "von Mises",
    ("kappa",),
    scaled=False,
    logpdf=lambda x, kappa: kappa * (fnp.cos(x) - 1.0) - fnp.log(2 * math.pi * special.i0e(kappa)),
)

wrapcauchy = continuous(
    "wrapcauchy",
    "wrapped Cauchy",
    ("c",),
    support=(0.0, 2 * math.pi),
    scaled=False,
    logpdf=lambda x, c: fnp.log((1.0 - c * c) / (2 * math.pi * (1.0 + c * c - 2.0 * c * fnp.cos(x)))),
)


# ---- the truncated normal distribution -------------------------------------------------------------------------


def _log_mass(low, high):
    """The logarithm of the probability of the interval, of which no part is lost however far from 0 it lies."""
    # An interval of positive numbers has the probability of its mirror image.
    mirror = fnp.greater(low, 0)
    low, high = fnp.where(mirror, -high, low), fnp.where(mirror, -low, high)
    one_sided = fnp.less_equal(high, 0)
    top, bottom = (special.log_ndtr(fnp.where(one_sided, v, safe)) for v, safe in ((high, -1.0), (low, -2.0)))
    on_one_side = top + fnp.log1p(-fnp.exp(bottom - top))
    tails = special.ndtr(low) + special.ndtr(-high)
    return fnp.where(one_sided, on_one_side, fnp.log1p(-fnp.where(one_sided, 0.5, tails)))


truncnorm = continuous(
    "truncnorm",
    "truncated normal",
    ("a", "b"),
    support=lambda a, b: (a, b),
    inside=lambda a, b: a,
    logpdf=lambda z, a, b: -0.5 * z * z - 0.5 * math.log(2 * math.pi) - _log_mass(a, b),
    cdf=lambda z, a, b: fnp.exp(_log_mass(a, z) - _log_mass(a, b)),
    logcdf=lambda z, a, b: _log_mass(a, z) - _log_mass(a, b),
    sf=lambda z, a, b: fnp.exp(_log_mass(z, b) - _log_mass(a, b)),
    logsf=lambda z, a, b: _log_mass(z, b) - _log_mass(a, b),
)
