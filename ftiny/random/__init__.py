"""Random numbers from explicit keys, by the counter-based generator Threefry-2x32.

Input: a key and a shape. Output: an array that depends on these alone, on every device:

    >>> key = PRNGKey(0)
    >>> uniform(key, (2,))
    Array([0.947667  , 0.9785799 ], dtype=float32)

`key(seed)` makes typed keys, `PRNGKey(seed)` raw ones (`keys.py` says more). A key is used once: `split` or `fold_in`
make new ones of it. Element i of an array of bits is the hash of the 64-bit counter i under the key, whatever the
shape, so that each element is computed on its own (JAX calls this scheme partitionable). Bits, splits, `uniform`,
`randint` and `permutation` are those of `jax.random` bit for bit; what goes through logarithms or the inverse error
function agrees to its last places. The rooms:

    keys            key, PRNGKey, split, ...          continuous    normal, exponential, wald, ...
    uniforms        bits, uniform, randint            gammas        gamma, beta, dirichlet, t, ...
    choices         permutation, choice, ...          counts        bernoulli, poisson, binomial, ...
    matrices        multivariate_normal, orthogonal
"""

# ruff: noqa: F401
from ftiny.random.choices import categorical, choice, permutation, shuffle
from ftiny.random.continuous import (
    cauchy,
    double_sided_maxwell,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    maxwell,
    normal,
    pareto,
    rayleigh,
    triangular,
    truncated_normal,
    wald,
    weibull_min,
)
from ftiny.random.counts import bernoulli, binomial, geometric, multinomial, poisson, rademacher
from ftiny.random.gammas import ball, beta, chisquare, dirichlet, f, gamma, generalized_normal, loggamma, t
from ftiny.random.keys import PRNGKey, clone, fold_in, key, key_data, key_dtype, key_impl, split, wrap_key_data
from ftiny.random.matrices import multivariate_normal, orthogonal
from ftiny.random.uniforms import bits, randint, uniform

_ROOMS = {"arguments", "choices", "continuous", "counts", "gamma_derivative", "gammas", "keys", "matrices", "uniforms"}
__all__ = sorted(name for name in dir() if not name.startswith("_") and name not in _ROOMS)
