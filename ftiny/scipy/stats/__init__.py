"""`ftiny.scipy.stats`: densities and distribution functions, with the names and signatures of `jax.scipy.stats`.

Input: arrays that broadcast against each other. Output: an array of the broadcast shape:

    >>> norm.logpdf(ftiny.numpy.array([0.0, 1.0]), loc=1.0)
    Array([-1.4189385, -0.9189385], dtype=float32)

A distribution is a namespace with functions `logpdf`, `pdf` (of whole numbers `logpmf`, `pmf`), `cdf`, `logcdf`, `sf`,
`logsf`, `ppf`, `isf`, as far as JAX has them. The rooms: `continuous`, `discrete` (with the ones of several variables),
and `building`, which makes the namespaces from the formulas.
"""

from ftiny.scipy.stats.continuous import (
    beta,
    cauchy,
    chi2,
    expon,
    gamma,
    gennorm,
    gumbel_l,
    gumbel_r,
    laplace,
    logistic,
    norm,
    pareto,
    t,
    truncnorm,
    uniform,
    vonmises,
    wrapcauchy,
)
from ftiny.scipy.stats.discrete import bernoulli, betabinom, binom, dirichlet, geom, multinomial, nbinom, poisson

__all__ = [
    "bernoulli",
    "beta",
    "betabinom",
    "binom",
    "cauchy",
    "chi2",
    "dirichlet",
    "expon",
    "gamma",
    "gennorm",
    "geom",
    "gumbel_l",
    "gumbel_r",
    "laplace",
    "logistic",
    "multinomial",
    "nbinom",
    "norm",
    "pareto",
    "poisson",
    "t",
    "truncnorm",
    "uniform",
    "vonmises",
    "wrapcauchy",
]
