"""`ftiny.scipy.stats`, distributions of whole numbers and of vectors.

Input: numbers (of any dtype), parameters and a location, which broadcast; vectors for `dirichlet` and `multinomial`.
Output: probabilities and their logarithms:

    >>> poisson.logpmf(2, mu=1.0)            # -log(2!) - 1
    Array(-1.6931472, dtype=float32)
"""

from __future__ import annotations

import math

from ftiny import numpy as fnp
from ftiny.errors import ShapeError
from ftiny.numpy.common import promote, shape_of
from ftiny.scipy import special
from ftiny.scipy.stats.building import Distribution, discrete, method
from ftiny.source import located


def _between(k, low, high):
    return fnp.logical_and(fnp.greater_equal(k, low), fnp.less_equal(k, high))


def _is_whole(k):
    return fnp.equal(k, fnp.floor(k))


def _log_choose(n, k):
    return special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)


bernoulli = discrete(
    "bernoulli",
    "Bernoulli",
    ("p",),
    support=lambda k, p: _between(k, 0.0, 1.0),
    logpmf=lambda k, p: special.xlogy(k, p) + special.xlog1py(1.0 - k, -p),
)
bernoulli.cdf = method(
    "bernoulli",
    "cdf",
    "Bernoulli",
    ("k", "p"),
    {},
    lambda k, p: fnp.where(fnp.less(k, 0), 0.0, fnp.where(fnp.less(k, 1), 1.0 - p, fnp.ones_like(p))),
)
bernoulli.ppf = method(
    "bernoulli",
    "ppf",
    "Bernoulli",
    ("q", "p"),
    {},
    lambda q, p: fnp.where(
        _between(q, 0.0, 1.0), fnp.where(fnp.less_equal(q, 1.0 - p), 0.0, fnp.ones_like(p)), math.nan
    ),
)

binom = discrete(
    "binom",
    "binomial",
    ("n", "p"),
    support=lambda k, n, p: _between(k, 0.0, n),
    logpmf=lambda k, n, p: _log_choose(n, k) + special.xlogy(k, p) + special.xlog1py(n - k, -p),
)

geom = discrete(
    "geom",
    "geometric",
    ("p",),
    support=lambda k, p: fnp.greater(k, 0.0),
    logpmf=lambda k, p: special.xlog1py(k - 1.0, -p) + fnp.log(p),
)

nbinom = discrete(
    "nbinom",
    "negative binomial",
    ("n", "p"),
    support=lambda k, n, p: fnp.greater_equal(k, 0.0),
    logpmf=lambda k, n, p: (
        special.gammaln(k + n) - special.gammaln(n) - special.gammaln(k + 1.0) + n * fnp.log(p) + special.xlog1py(k, -p)
    ),
)

poisson = discrete(
    "poisson",
    "Poisson",
    ("mu",),
    support=lambda k, mu: fnp.logical_and(fnp.greater_equal(k, 0.0), _is_whole(k)),
    logpmf=lambda k, mu: special.xlogy(k, mu) - special.gammaln(k + 1.0) - mu,
)
poisson.cdf = method(
    "poisson",
    "cdf",
    "Poisson",
    ("k", "mu", "loc"),
    {"loc": 0},
    lambda k, mu, loc: fnp.where(
        fnp.less(k - loc, 0), 0.0, special.gammaincc(fnp.maximum(fnp.floor(k - loc), 0.0) + 1.0, mu)
    ),
)

betabinom = discrete(
    "betabinom",
    "beta-binomial",
    ("n", "a", "b"),
    support=lambda k, n, a, b: _between(k, 0.0, n),
    logpmf=lambda k, n, a, b: (
        _log_choose(n, fnp.floor(k)) + special.betaln(fnp.floor(k) + a, n - fnp.floor(k) + b) - special.betaln(a, b)
    ),
)


# ---- vectors ---------------------------------------------------------------------------------------------------


def _dirichlet_logpdf(x, alpha):
    """Logarithm of the density of the Dirichlet distribution; minus infinity where x does not add up to 1.

    x: (k, ...), or (k - 1, ...) where the last component is what is missing to 1; alpha: (k,). Returns the other axes
    of x. Raises `ShapeError` when the shapes do not fit.
    """
    x, alpha = (fnp.asarray(v) for v in _promote_vectors("dirichlet.logpdf", x, alpha))
    shape, components = shape_of(x), shape_of(alpha)
    if len(components) != 1 or not shape or shape[0] not in (components[0], components[0] - 1):
        raise ShapeError(
            located(
                f"dirichlet.logpdf takes x of shape (k, ...) or (k-1, ...) and alpha of shape (k,), not {shape} and "
                f"{components}"
            )
        )
    if shape[0] == components[0] - 1:
        x = fnp.concatenate([x, 1.0 - fnp.sum(x, axis=0, keepdims=True)])
    powers = fnp.reshape(alpha, (-1,) + (1,) * (len(shape) - 1))
    normaliser = fnp.sum(special.gammaln(alpha)) - special.gammaln(fnp.sum(alpha))
    value = fnp.sum(special.xlogy(powers - 1.0, x), axis=0) - normaliser
    tolerance = 10 * float(fnp.finfo(x.dtype).eps)
    on_simplex = fnp.logical_and(
        fnp.all(fnp.greater_equal(x, 0), axis=0), fnp.less(fnp.abs(fnp.sum(x, axis=0) - 1.0), tolerance)
    )
    return fnp.where(on_simplex, value, -math.inf)


def _dirichlet_pdf(x, alpha):
    """Density of the Dirichlet distribution; see `logpdf`."""
    return fnp.exp(_dirichlet_logpdf(x, alpha))


def _multinomial_logpmf(x, n, p):
    """Logarithm of the probability of the counts x in n draws with the probabilities p, both along the last axis.

    x: (..., k); p: (k,) or (..., k); n: a number, or the other axes of x. Minus infinity where x does not add up to n.
    """
    x, p, n = (fnp.asarray(v) for v in _promote_vectors("multinomial.logpmf", x, p, n))
    value = special.gammaln(n + 1.0) + fnp.sum(special.xlogy(x, p) - special.gammaln(x + 1.0), axis=-1)
    return fnp.where(fnp.equal(fnp.sum(x, axis=-1), n), value, -math.inf)


def _multinomial_pmf(x, n, p):
    """Probability of counts in n draws; see `logpmf`."""
    return fnp.exp(_multinomial_logpmf(x, n, p))


def _promote_vectors(name: str, *operands) -> list:
    """The operands in one float dtype, each in its own shape."""
    dtype = promote(name, *(fnp.zeros((), fnp.asarray(x).dtype) for x in operands), inexact=True)[0].dtype
    return [fnp.astype(x, dtype) for x in operands]


dirichlet = Distribution(logpdf=_dirichlet_logpdf, pdf=_dirichlet_pdf)
multinomial = Distribution(logpmf=_multinomial_logpmf, pmf=_multinomial_pmf)
for _name, _distribution in (("dirichlet", dirichlet), ("multinomial", multinomial)):
    for _key, _function in vars(_distribution).items():
        _function.__name__, _function.__qualname__ = _key, f"{_name}.{_key}"
