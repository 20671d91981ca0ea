"""The gamma distribution, and those that are made of it: beta, Dirichlet, chi-square, F, Student's t, the unit ball.

Input: a key and parameters, which broadcast to the shape of the sample. Output: an array of that shape:

    >>> gamma(PRNGKey(0), ftiny.numpy.array([0.5, 5.]))
    Array([0.8845647, 4.8216043], dtype=float32)

The values are those of `jax.random` for the same key, to their last places. A sample is differentiable with respect to
the parameters: `gamma_derivative.py` says how.
"""

from __future__ import annotations

import math

import numpy as np

from ftiny import numpy as fnp
from ftiny import primitives
from ftiny.errors import ArgumentError, ShapeError
from ftiny.library import library
from ftiny.numpy.common import canonical_shape, convert, dtype_of, full_shape, scalar_literal, shape_of
from ftiny.random.arguments import check_key, float_dtype, parameter, shape_for
from ftiny.random.continuous import exponential, sample_exponential, sample_normal
from ftiny.random.counts import rademacher
from ftiny.random.gamma_derivative import with_derivative
from ftiny.random.keys import split_key
from ftiny.random.uniforms import sample_uniform
from ftiny.source import located
from ftiny.transforms.control import while_loop
from ftiny.transforms.custom import stop_gradient
from ftiny.transforms.vmap import vmap


def gamma(key, a, shape=None, dtype=None):
    """Numbers of the gamma distribution of shape parameter `a`, of density x**(a-1) * exp(-x) / Gamma(a).

    The sample has `shape` (default: that of `a`, which must broadcast to it) and `dtype` (default: float32). By the
    rejection method of Marsaglia and Tsang, A Simple Method for Generating Gamma Variables (2000); the values are those
    of `jax.random.gamma`. Differentiable with respect to `a`, once; a second derivative raises `RuleError`.
    """
    key = check_key("gamma", key)
    return _gamma(key, parameter("gamma", a), shape_for("gamma", shape, a), float_dtype("gamma", dtype), False)


def loggamma(key, a, shape=None, dtype=None):
    """The logarithm of `gamma` for the same key, which is finite where a sample of small `a` rounds to zero."""
    key = check_key("loggamma", key)
    dtype = float_dtype("loggamma", dtype)
    return _gamma(key, parameter("loggamma", a), shape_for("loggamma", shape, a), dtype, True)


@library("shape", "dtype", "log_space")
def _gamma(key, a, shape, dtype, log_space):
    a = full_shape(convert(a, dtype), shape)
    fixed = fnp.reshape(stop_gradient(a), (-1,))
    size = math.prod(shape)
    scaled, log_boost = vmap(_marsaglia_tsang)(split_key(key, (size,)), fixed) if size else (fixed, fixed)
    if log_space:
        sample = fnp.log(scaled) + log_boost
    else:
        sample = scaled * fnp.exp(log_boost)
    return with_derivative(log_space, a, fnp.reshape(sample, shape))


def _marsaglia_tsang(key, a):
    """`(y, log_boost)` for one number: y * exp(log_boost) has the gamma distribution of shape parameter `a`.

    The method is for a >= 1: d * v**3 with v = 1 + c*x for normal x, where a uniform number u decides about the
    acceptance. Below 1, a sample for a + 1 times u**(1/a) takes its place (section 6 of the paper).
    """
    dtype = dtype_of(a)
    boosted = fnp.less(a, 1)
    d = fnp.where(boosted, a + 1, a) - scalar_literal(1 / 3, dtype)
    c = scalar_literal(1 / 3, dtype) / fnp.sqrt(d)
    key, boost_key = fnp.unstack(split_key(key, (2,)))

    def rejected(state):
        _, x_squared, v_cubed, u, _ = state
        quickly = fnp.less(u, 1 - scalar_literal(0.0331, dtype) * (x_squared * x_squared))
        bound = x_squared * 0.5 + d * ((1 - v_cubed) + fnp.log(v_cubed))
        return fnp.logical_not(fnp.logical_or(quickly, fnp.less(fnp.log(u), bound)))

    def attempt(state):
        key, x_key, u_key = fnp.unstack(split_key(state[0], (3,)))
        x, v = _positive(x_key, c)
        return key, x * x, v * v * v, sample_uniform(u_key, 0.0, 1.0, (), dtype), state[-1]

    log_u = -sample_exponential(boost_key, (), dtype)
    unboosted = fnp.logical_or(fnp.logical_not(boosted), fnp.equal(log_u, 0))
    log_boost = fnp.where(unboosted, scalar_literal(0, dtype), log_u / a)
    # This first state is rejected. The boost goes through the loop to be computed before it, once, and not fused into
    # whatever uses the sample.
    first = (key, *(fnp.full((), value, dtype) for value in (0, 1, 2)), log_boost)
    _, _, v_cubed, _, log_boost = while_loop(rejected, attempt, first)
    return d * v_cubed, log_boost


def _positive(key, c):
    """A normal number x and v = 1 + c*x, drawn until v is positive."""
    dtype = dtype_of(c)

    def draw(state):
        key, subkey = fnp.unstack(split_key(state[0], (2,)))
        x = sample_normal(subkey, (), dtype)
        return key, x, 1 + x * c

    start = (key, fnp.full((), 0, dtype), fnp.full((), -1, dtype))
    return while_loop(lambda state: fnp.less_equal(state[2], 0), draw, start)[1:]


def beta(key, a, b, shape=None, dtype=None):
    """Numbers of the beta distribution, of density proportional to x**(a-1) * (1-x)**(b-1) on [0, 1].

    x / (x + y) for gamma samples x and y. `a` and `b` broadcast to `shape` (default: to each other's).
    """
    key = check_key("beta", key)
    shape, dtype = shape_for("beta", shape, a, b), float_dtype("beta", dtype)
    keys = fnp.unstack(split_key(key, (2,)))
    x, y = (_gamma(k, parameter("beta", v), shape, dtype, True) for k, v in zip(keys, (a, b)))
    return primitives.math(x - y, fn="logistic")


def dirichlet(key, alpha, shape=None, dtype=None):
    """Numbers of the Dirichlet distribution: vectors of positive numbers that sum to 1, of shape (*shape, n).

    alpha: concentrations of shape (..., n), whose axes before the last broadcast to `shape` (the default). The vectors
    are gamma samples divided by their sum. Raises `ShapeError` for an alpha without axes.
    """
    key = check_key("dirichlet", key)
    alpha, dtype = parameter("dirichlet", alpha), float_dtype("dirichlet", dtype)
    if not shape_of(alpha):
        raise ShapeError(located("random.dirichlet: alpha needs an axis, of the concentrations, but it is a number"))
    *batch, n = shape_of(alpha)
    shape = tuple(batch) if shape is None else canonical_shape(shape, "dirichlet")
    logarithms = _gamma(key, alpha, shape_for("dirichlet", (*shape, n), alpha), dtype, True)
    terms = fnp.exp(logarithms - stop_gradient(fnp.max(logarithms, axis=-1, keepdims=True)))
    return terms / fnp.sum(terms, axis=-1, keepdims=True)


def chisquare(key, df, shape=None, dtype=None):
    """Numbers of the chi-square distribution with `df` degrees of freedom: twice a gamma sample of df / 2."""
    key = check_key("chisquare", key)
    shape, dtype = shape_for("chisquare", shape, df), float_dtype("chisquare", dtype)
    return _chisquare(key, parameter("chisquare", df), shape, dtype)


def _chisquare(key, df, shape, dtype):
    return fnp.exp(_gamma(key, convert(df, dtype) / 2, shape, dtype, True)) * 2


def f(key, dfnum, dfden, shape=None, dtype=None):
    """Numbers of the F distribution: the ratio of two chi-square samples, each divided by its degrees of freedom."""
    key = check_key("f", key)
    shape, dtype = shape_for("f", shape, dfnum, dfden), float_dtype("f", dtype)
    dfnum, dfden = (convert(parameter("f", x), dtype) for x in (dfnum, dfden))
    den_key, num_key = fnp.unstack(split_key(key, (2,)))
    return (_chisquare(num_key, dfnum, shape, dtype) / dfnum) / (_chisquare(den_key, dfden, shape, dtype) / dfden)


def t(key, df, shape=None, dtype=None):
    """Numbers of Student's t distribution with `df` degrees of freedom: normal numbers over the root of a gamma one."""
    key = check_key("t", key)
    shape, dtype = shape_for("t", shape, df), float_dtype("t", dtype)
    half = convert(parameter("t", df), dtype) / 2
    normal_key, gamma_key = fnp.unstack(split_key(key, (2,)))
    # In logarithms, since a gamma sample of a small parameter rounds to zero.
    logarithm = _gamma(gamma_key, half, shape, dtype, True)
    return sample_normal(normal_key, shape, dtype) * (fnp.sqrt(half) * fnp.exp(-0.5 * logarithm))


def generalized_normal(key, p, shape=(), dtype=None):
    """Numbers of density proportional to exp(-|x|**p): 2 is the normal distribution of variance 1/2, 1 the Laplace.

    A gamma sample of 1 / p to the power 1 / p, with a random sign.
    """
    key = check_key("generalized_normal", key)
    dtype = float_dtype("generalized_normal", dtype)
    shape = shape_for("generalized_normal", shape, p)
    p = convert(parameter("generalized_normal", p), dtype)
    sign, logarithm = _signed_powers(key, p, shape, dtype)
    return sign * fnp.exp(logarithm / p)


def _signed_powers(key, p, shape, dtype):
    """The sign and log(|x|**p), a gamma sample's logarithm, of a `generalized_normal` number x."""
    gamma_key, sign_key = fnp.unstack(split_key(key, (2,)))
    return rademacher(sign_key, shape, dtype), _gamma(gamma_key, 1 / p, shape, dtype, True)


def ball(key, d: int, p=2, shape=(), dtype=None):
    """Points evenly distributed in the unit ball of the p-norm in `d` dimensions: an array of shape (*shape, d).

    By the method of Barthe, Guedon, Mendelson and Naor, A probabilistic approach to the geometry of the l_p^n-ball
    (2005): `generalized_normal` numbers divided by a norm that has one exponential number more in it.
    """
    key = check_key("ball", key)
    if not isinstance(d, (int, np.integer)) or isinstance(d, bool) or d < 0:
        raise ArgumentError(located(f"random.ball: the dimension d must be an integer that is not negative, not {d!r}"))
    dtype, shape = float_dtype("ball", dtype), canonical_shape(shape, "ball")
    direction_key, radius_key = fnp.unstack(split_key(key, (2,)))
    p = convert(parameter("ball", p), dtype)
    sign, logarithm = _signed_powers(direction_key, p, (*shape, int(d)), dtype)
    total = fnp.sum(fnp.exp(logarithm), axis=-1) + exponential(radius_key, shape, dtype)
    return sign * fnp.exp((logarithm - fnp.expand_dims(fnp.log(total), -1)) / p)
