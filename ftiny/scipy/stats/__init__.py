"""`ftiny.scipy.stats`: densities, distribution functions, statistics, with names and signatures of `jax.scipy.stats`.

Input: arrays that broadcast against each other. Output: an array of the broadcast shape:

    >>> norm.logpdf(ftiny.numpy.array([0.0, 1.0]), loc=1.0)
    Array([-1.4189385, -0.9189385], dtype=float32)

A distribution is a namespace with functions `logpdf`, `pdf` (of whole numbers `logpmf`, `pmf`), `cdf`, `logcdf`, `sf`,
`logsf`, `ppf`, `isf`, as far as JAX has them. The rooms: `continuous`, `discrete` (with the ones of several variables),
and `building`, which makes the namespaces from the formulas. `samples` has statistics of samples, `kernel_density`
the normal distribution of vectors and density estimates.
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
from ftiny.scipy.stats.kernel_density import gaussian_kde, multivariate_normal
from ftiny.scipy.stats.samples import mode, rankdata, sem

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
    "gaussian_kde",
    "gennorm",
    "geom",
    "gumbel_l",
    "gumbel_r",
    "laplace",
    "logistic",
    "mode",
    "multinomial",
    "multivariate_normal",
    "nbinom",
    "norm",
    "pareto",
    "poisson",
    "rankdata",
    "sem",
    "t",
    "truncnorm",
    "uniform",
    "vonmises",
    "wrapcauchy",
]
