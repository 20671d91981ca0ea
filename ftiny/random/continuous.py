"""Continuous distributions that are functions of uniform or normal numbers.

Input: a key, parameters, a shape. Output: an array of the shape, differentiable with respect to the parameters:

    >>> normal(PRNGKey(0), (3,))
    Array([ 1.6226422 ,  2.0252647 , -0.43359444], dtype=float32)

The values are those of `jax.random` for the same key, to their last places. Parameters broadcast to the shape, whose
default (None) is what they broadcast to. Samples are float32 unless a dtype is given.
"""

from __future__ import annotations

import math

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.library import library
from ftiny.numpy.common import (
    broadcast_shapes,
    canonical_shape,
    convert,
    scalar_literal,
    shape_of,
)
from ftiny.random.arguments import check_key, float_dtype, parameter, shape_for
from ftiny.random.counts import rademacher
from ftiny.random.keys import split_key
from ftiny.random.uniforms import sample_uniform
from ftiny.transforms.custom import stop_gradient

# ---- without parameters ----------------------------------------------------------------------------------------


def normal(key, shape=(), dtype=dtypes.float32):
    """Numbers of the standard normal distribution; complex ones have independent parts of variance 1/2."""
    key = check_key("normal", key)
    wanted = dtypes.float32 if dtype is None else dtypes.dtype(dtype)
    shape = canonical_shape(shape, "normal")
    if dtypes.kind(wanted) == "complex":
        first, second = fnp.unstack(split_key(key, (2,)))
        parts = [sample_normal(k, shape, dtypes.real_dtype(wanted)) for k in (first, second)]
        return fnp.divide(primitives.complex_(*parts), scalar_literal(math.sqrt(2), wanted))
    return sample_normal(key, shape, float_dtype("normal", wanted))


@library("shape", "dtype")
def sample_normal(key, shape, dtype):
    """`normal` of a real dtype, without its checks."""
    low = np.nextafter(np.array(-1, dtype), np.array(0, dtype), dtype=dtype)[()]
    return fnp.multiply(
        scalar_literal(math.sqrt(2), dtype), primitives.math(sample_uniform(key, low, 1.0, shape, dtype), fn="erfinv")
    )


def _sampler(name: str, does: str, compute):
    """A distribution that is a function of uniform numbers: `compute(key, shape, dtype)`."""
    compiled = library("shape", "dtype")(compute)

    def sample(key, shape=(), dtype=dtypes.float32):
        key = check_key(name, key)
        return compiled(key, canonical_shape(shape, name), float_dtype(name, dtype))

    sample.__name__ = sample.__qualname__ = name
    sample.__doc__ = f"Numbers of the {does}."
    return sample


def sample_exponential(key, shape, dtype):
    """`exponential` without its checks."""
    return fnp.negative(fnp.log1p(fnp.negative(sample_uniform(key, 0.0, 1.0, shape, dtype))))


def sample_gumbel(key, shape, dtype):
    """`gumbel` without its checks."""
    tiny = float(fnp.finfo(dtype).tiny)
    return fnp.negative(fnp.log(fnp.negative(fnp.log(sample_uniform(key, tiny, 1.0, shape, dtype)))))


def _laplace(key, shape, dtype):
    low = -1.0 + float(fnp.finfo(dtype).epsneg)
    u = sample_uniform(key, low, 1.0, shape, dtype)
    return fnp.multiply(fnp.sign(u), fnp.log1p(fnp.negative(fnp.abs(u))))


def _logistic(key, shape, dtype):
    u = sample_uniform(key, float(fnp.finfo(dtype).tiny), 1.0, shape, dtype)
    return fnp.subtract(fnp.log(u), fnp.log1p(fnp.negative(u)))


def _cauchy(key, shape, dtype):
    u = sample_uniform(key, float(fnp.finfo(dtype).eps), 1.0, shape, dtype)
    return fnp.tan(fnp.multiply(scalar_literal(math.pi, dtype), fnp.subtract(u, 0.5)))


exponential = _sampler("exponential", "exponential distribution of mean 1", sample_exponential)
gumbel = _sampler("gumbel", "standard Gumbel distribution, -log(-log(u))", sample_gumbel)
laplace = _sampler("laplace", "standard Laplace distribution, of density exp(-|x|) / 2", _laplace)
logistic = _sampler("logistic", "standard logistic distribution", _logistic)
cauchy = _sampler("cauchy", "standard Cauchy distribution", _cauchy)


def maxwell(key, shape=(), dtype=None):
    """Numbers of the Maxwell distribution: the length of a vector of three standard normal numbers."""
    key = check_key("maxwell", key)
    return _maxwell(key, canonical_shape(shape, "maxwell"), float_dtype("maxwell", dtype))


@library("shape", "dtype")
def _maxwell(key, shape, dtype):
    return fnp.sqrt(fnp.sum(fnp.square(sample_normal(key, (*shape, 3), dtype)), axis=-1))


# ---- with parameters -------------------------------------------------------------------------------------------


def truncated_normal(key, lower, upper, shape=None, dtype=dtypes.float32):
    """Numbers of the standard normal distribution that lie between `lower` and `upper`."""
    key = check_key("truncated_normal", key)
    wanted = float_dtype("truncated_normal", dtype)
    return _truncated_normal(key, lower, upper, shape_for("truncated_normal", shape, lower, upper), wanted)


@library("shape", "dtype")
def _truncated_normal(key, lower, upper, shape, dtype):
    root = scalar_literal(math.sqrt(2), dtype)
    lower, upper = convert(lower, dtype), convert(upper, dtype)
    a, b = (primitives.math(fnp.divide(bound, root), fn="erf") for bound in (lower, upper))
    sample = fnp.multiply(root, primitives.math(sample_uniform(key, a, b, shape, dtype), fn="erfinv"))
    # Rounding must not move a sample out of the open interval.
    inside = [
        fnp.nextafter(stop_gradient(bound), scalar_literal(towards, dtype))
        for bound, towards in ((lower, math.inf), (upper, -math.inf))
    ]
    return fnp.clip(sample, *inside)


def double_sided_maxwell(key, loc, scale, shape=(), dtype=None):
    """Maxwell numbers with a random sign, times `scale`, plus `loc`.

    The sample has the shape (*shape, *s), where s is what `loc` and `scale` broadcast to; for shape (), as in JAX,
    it is (*s, *s).
    """
    key = check_key("double_sided_maxwell", key)
    dtype = float_dtype("double_sided_maxwell", dtype)
    loc, scale = (parameter("double_sided_maxwell", x) for x in (loc, scale))
    own = broadcast_shapes(shape_of(loc), shape_of(scale), name="random.double_sided_maxwell")
    shape = (*(canonical_shape(shape, "double_sided_maxwell") or own), *own)
    maxwell_key, sign_key = fnp.unstack(split_key(key, (2,)))
    return rademacher(sign_key, shape, dtype) * _maxwell(maxwell_key, shape, dtype) * scale + loc


def lognormal(key, sigma=1.0, shape=None, dtype=None):
    """exp(sigma * z) for standard normal numbers z, which are complex if the dtype is."""
    key = check_key("lognormal", key)
    is_complex = dtype is not None and dtypes.kind(dtypes.dtype(dtype)) == "complex"
    dtype = dtypes.dtype(dtype) if is_complex else float_dtype("lognormal", dtype)
    shape = shape_for("lognormal", shape, sigma)
    return fnp.exp(normal(key, shape, dtype) * convert(parameter("lognormal", sigma), dtype))


def pareto(key, b, shape=None, dtype=None):
    """Numbers of the Pareto distribution, of density b / x**(b+1) for x >= 1."""
    key = check_key("pareto", key)
    shape, dtype = shape_for("pareto", shape, b), float_dtype("pareto", dtype)
    return fnp.exp(exponential(key, shape, dtype) / convert(parameter("pareto", b), dtype))


def rayleigh(key, scale, shape=None, dtype=None):
    """Numbers of the Rayleigh distribution: the length of a vector of two normal numbers of deviation `scale`."""
    key = check_key("rayleigh", key)
    shape, dtype = shape_for("rayleigh", shape, scale), float_dtype("rayleigh", dtype)
    return _rayleigh(key, convert(parameter("rayleigh", scale), dtype), shape, dtype)


@library("shape", "dtype")
def _rayleigh(key, scale, shape, dtype):
    return scale * fnp.sqrt(fnp.log(sample_uniform(key, 0.0, 1.0, shape, dtype)) * -2)


def triangular(key, left, mode, right, shape=None, dtype=None):
    """Numbers of the triangular distribution, whose density rises from `left` to `mode` and falls to `right`."""
    key = check_key("triangular", key)
    shape, dtype = shape_for("triangular", shape, left, mode, right), float_dtype("triangular", dtype)
    left, mode, right = (convert(parameter("triangular", x), dtype) for x in (left, mode, right))
    return _triangular(key, left, mode, right, shape, dtype)


@library("shape", "dtype")
def _triangular(key, left, mode, right, shape, dtype):
    u = sample_uniform(key, 0.0, 1.0, shape, dtype)
    rising = left + fnp.sqrt(u * (right - left) * (mode - left))
    falling = right - fnp.sqrt((1 - u) * (right - left) * (right - mode))
    return fnp.where(u < (mode - left) / (right - left), rising, falling)


def wald(key, mean, shape=None, dtype=None):
    """Numbers of the Wald (inverse Gaussian) distribution of scale 1: when a Brownian motion with drift passes a level.

    By the method of Michael, Schucany and Haas, Generating Random Variates Using Transformations with Multiple Roots
    (1976). The choice between the two roots has no derivative of its own, as in JAX, so a derivative with respect to
    `mean` is that of the root that was taken, which is not unbiased.
    """
    key = check_key("wald", key)
    shape, dtype = shape_for("wald", shape, mean), float_dtype("wald", dtype)
    return _wald(key, convert(parameter("wald", mean), dtype), shape, dtype)


@library("shape", "dtype")
def _wald(key, mean, shape, dtype):
    normal_key, uniform_key = fnp.unstack(split_key(key, (2,)))
    y = fnp.square(sample_normal(normal_key, shape, dtype))
    u = sample_uniform(uniform_key, 0.0, 1.0, shape, dtype)
    squared = mean * mean
    root = mean + squared * y / 2 - mean / 2 * fnp.sqrt(4 * mean * y + squared * (y * y))
    return fnp.where(u <= mean / (mean + root), root, squared / root)


def weibull_min(key, scale, concentration, shape=(), dtype=None):
    """Numbers of the Weibull distribution: scale * e**(1 / concentration) for exponential numbers e of `shape`.

    The parameters broadcast against `shape`, as in JAX, which need not be the shape of the result.
    """
    key = check_key("weibull_min", key)
    shape, dtype = canonical_shape(shape, "weibull_min"), float_dtype("weibull_min", dtype)
    scale, concentration = (parameter("weibull_min", x) for x in (scale, concentration))
    return fnp.power(exponential(key, shape, dtype), 1.0 / concentration) * scale
