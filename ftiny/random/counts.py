"""Discrete distributions: coin tosses and counts.

Input: a key and parameters, which broadcast to the shape of the sample. Output: an array of that shape:

    >>> poisson(PRNGKey(0), 3.0, (5,))
    Array([0, 0, 4, 4, 1], dtype=int32)

The values are those of `jax.random` for the same key, with an exception: where `poisson` and `binomial` draw by
rejection (means above 10), a comparison of logarithms decides about a sample, whose last places differ from device to
device and from jax's. As in JAX an attempt is made for all elements until all are accepted, and the last accepted one
counts, so that one decision may change the others; arrays that mix large and small means then agree in distribution
only. Counts do not change with a small change of the parameters: their derivative is zero.
"""

from __future__ import annotations

import math

import numpy as np

from ftiny import dtypes, lax
from ftiny import numpy as fnp
from ftiny.errors import DtypeError, ShapeError
from ftiny.library import library
from ftiny.numpy.common import canonical_shape, convert, dtype_of, full_shape, is_array, scalar_literal, shape_of
from ftiny.random.arguments import check_key, float_dtype, integer_dtype, parameter, shape_for
from ftiny.random.keys import split_key
from ftiny.random.uniforms import sample_uniform
from ftiny.source import located
from ftiny.transforms.custom import stop_gradient


def bernoulli(key, p=0.5, shape=None):
    """True with probability `p` (a number or an array of floats), of `shape` (default: that of p)."""
    key = check_key("bernoulli", key)
    if not is_array(p) or not dtypes.is_float(dtype_of(p)):
        raise DtypeError(located(f"random.bernoulli: the probability must be a float, not {p!r}"))
    return sample_bernoulli(key, p, shape_for("bernoulli", shape, p))


@library("shape")
def sample_bernoulli(key, p, shape):
    """`bernoulli` without its checks."""
    return fnp.less(sample_uniform(key, 0.0, 1.0, shape, dtype_of(p)), p)


def rademacher(key, shape=(), dtype=dtypes.int32):
    """-1 or 1, each with probability 1/2."""
    wanted = dtypes.int32 if dtype is None else dtypes.dtype(dtype)
    sign = convert(bernoulli(key, 0.5, canonical_shape(shape, "rademacher")), wanted)
    return fnp.subtract(fnp.multiply(2, sign), 1)


def geometric(key, p, shape=None, dtype=None):
    """How many trials of success probability `p` there are up to the first success: 1, 2, ..."""
    key = check_key("geometric", key)
    shape, dtype = shape_for("geometric", shape, p), integer_dtype("geometric", dtype)
    return _geometric(key, _fixed("geometric", p), shape, dtype)


def _fixed(name: str, x):
    """A parameter as a float array without a derivative."""
    x = parameter(name, x)
    return stop_gradient(x if dtypes.is_float(dtype_of(x)) else convert(x, dtypes.float32))


@library("shape", "dtype")
def _geometric(key, p, shape, dtype):
    u = sample_uniform(key, 0.0, 1.0, shape, dtype_of(p))
    u = fnp.where(fnp.equal(u, 0), scalar_literal(1, dtype_of(p)), u)  # as JAX does, so that the logarithm is finite
    return convert(fnp.floor(fnp.log(u) / fnp.log1p(-p)) + 1, dtype)


# ---- Poisson ---------------------------------------------------------------------------------------------------


def poisson(key, lam, shape=None, dtype=None):
    """Counts of the Poisson distribution of mean `lam`; -1 where it is negative, infinite or not a number.

    Below 10 by Knuth's method (The Art of Computer Programming 2, 3.4.1), above by the transformed rejection PTRS of
    Hormann, The transformed rejection method for generating Poisson random variables (1993).
    """
    key = check_key("poisson", key)
    shape, dtype = shape_for("poisson", shape, lam), integer_dtype("poisson", dtype)
    return _poisson(key, convert(_fixed("poisson", lam), dtypes.float32), shape, dtype)


@library("shape", "dtype")
def _poisson(key, lam, shape, dtype):
    lam = full_shape(lam, shape)
    is_small = fnp.logical_not(fnp.greater_equal(lam, 10))  # also for not-a-number
    few = _poisson_knuth(key, fnp.where(is_small, lam, 0.0), shape, dtype)
    is_infinite = fnp.isinf(lam)
    many = _poisson_rejection(key, fnp.where(is_small | is_infinite, 1e5, lam), shape)
    count = fnp.where(is_small, few, fnp.where(is_infinite, scalar_literal(-1, dtype), convert(many, dtype)))
    return fnp.where(lam == 0, scalar_literal(0, dtype), count)


def _poisson_knuth(key, lam, shape, dtype):
    """How many uniform numbers it takes until their product is below exp(-lam), less one."""

    def unfinished(state):
        return fnp.any(state[2] > -lam)

    def step(state):
        key, count, log_product = state
        key, subkey = fnp.unstack(split_key(key, (2,)))
        count = fnp.where(log_product > -lam, count + 1, count)
        return key, count, log_product + fnp.log(sample_uniform(subkey, 0.0, 1.0, shape, dtypes.float32))

    start = (key, fnp.zeros(shape, dtype), fnp.zeros(shape, dtypes.float32))
    return lax.while_loop(unfinished, step, start)[1] - 1


def _poisson_rejection(key, lam, shape):
    """Floats k = floor of a transformed uniform number, accepted by comparing the densities."""
    log_lam = fnp.log(lam)
    b = 0.931 + 2.53 * fnp.sqrt(lam)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_quick = 0.9277 - 3.6224 / (b - 2)

    def attempt(u, v):
        u = u - 0.5
        us = 0.5 - fnp.abs(u)
        k = fnp.floor((2 * a / us + b) * u + lam + 0.43)
        s = fnp.log(v * inverse_alpha / (a / (us * us) + b))
        quickly = (us >= 0.07) & (v <= v_quick)
        impossible = (k < 0) | ((us < 0.013) & (v > us))
        return k, quickly | (~impossible & (s <= -lam + k * log_lam - lax.lgamma(k + 1)))

    return _accepted(key, attempt, shape, dtypes.float32)


def _accepted(key, attempt, shape, dtype):
    """For each element an accepted one of the numbers `attempt(u, v) -> (number, accepted)` of uniform u and v."""

    def unfinished(state):
        return fnp.logical_not(fnp.all(state[1]))

    def step(state):
        number, decided, key = state
        key, *subkeys = fnp.unstack(split_key(key, (3,)))
        found, accepted = attempt(*(sample_uniform(k, 0.0, 1.0, shape, dtype) for k in subkeys))
        # As in JAX, a later acceptance replaces an earlier one while the loop goes on for other elements.
        return fnp.where(accepted, found, number), decided | accepted, key

    return lax.while_loop(unfinished, step, (fnp.zeros(shape, dtype), fnp.zeros(shape, "bool"), key))[0]


# ---- binomial and multinomial ----------------------------------------------------------------------------------


def binomial(key, n, p, shape=None, dtype=None):
    """How many of `n` trials of success probability `p` succeed, as floats (float32 unless a dtype is given).

    Not-a-number where n is negative or p is no probability; infinite where n is. For means below 10 by counting the
    geometric waiting times between successes, above by the transformed rejection BTRS of Hormann, The generation of
    binomial random variates (1993).
    """
    key = check_key("binomial", key)
    shape, dtype = shape_for("binomial", shape, n, p), float_dtype("binomial", dtype)
    return _binomial(key, _fixed("binomial", n), _fixed("binomial", p), shape, dtype)


@library("shape", "dtype")
def _binomial(key, n, p, shape, dtype):
    n, p = full_shape(convert(n, dtype_of(p)), shape), full_shape(p, shape)
    is_rare = p < 0.5
    q = fnp.where(is_rare, p, 1.0 - p)
    no_count, no_probability = fnp.isnan(n) | (n < 0), fnp.isnan(q) | (q < 0)
    q = fnp.where(no_probability, 0.01, q)
    is_small = no_count | (n * q <= 10.0)
    endless, n = fnp.isinf(n), fnp.floor(n)
    few = _binomial_waiting(key, fnp.where(is_small, n, 0.0), q, shape)
    other = is_small | endless
    many = _binomial_rejection(key, fnp.where(other, 1e4, n), fnp.where(other, 0.5, q), shape)
    count = fnp.where(is_small, few, many)
    count = fnp.where(is_rare, count, n - count)
    count = fnp.where(endless, math.inf, count)
    return convert(fnp.where(no_count | no_probability, math.nan, count), dtype)


def _binomial_waiting(key, n, q, shape):
    """How many geometric waiting times fit into n trials (Devroye, Non-Uniform Random Variate Generation, X.4.3)."""
    log_failure = fnp.log1p(-q)

    def unfinished(state):
        return fnp.any(state[1] <= n)

    def step(state):
        count, trials, key = state
        subkey, key = fnp.unstack(split_key(key, (2,)))
        wait = fnp.ceil(fnp.log(sample_uniform(subkey, 0.0, 1.0, shape, dtype_of(q))) / log_failure)
        return fnp.where(trials <= n, count + 1, count), trials + wait, key

    zero = fnp.zeros(shape, dtype_of(q))
    return lax.while_loop(unfinished, step, (zero, zero, key))[0] - 1


def _binomial_rejection(key, n, q, shape):
    """Floats k = floor of a transformed uniform number, accepted by comparing the probabilities of k and the mode."""
    deviation = fnp.sqrt(n * q * (1 - q))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * q
    centre, v_quick = n * q + 0.5, 0.92 - 4.2 / b
    odds, alpha = q / (1 - q), (2.83 + 5.1 / b) * deviation
    mode = fnp.floor((n + 1) * q)

    def attempt(u, v):
        u = u - 0.5
        us = 0.5 - fnp.abs(u)
        k = fnp.floor((2 * a / us + b) * u + centre)
        log_ratio = (
            (mode + 0.5) * fnp.log((mode + 1) / (odds * (n - mode + 1)))
            + (n + 1) * fnp.log((n - mode + 1) / (n - k + 1))
            + (k + 0.5) * fnp.log(odds * (n - k + 1) / (k + 1))
            + (_stirling_tail(mode) + _stirling_tail(n - mode) - _stirling_tail(k) - _stirling_tail(n - k))
        )
        quickly = (us >= 0.07) & (v <= v_quick)
        possible = (k >= 0) & (k <= n)
        return k, quickly | (possible & (fnp.log(v * alpha / (a / (us * us) + b)) <= log_ratio))

    return _accepted(key, attempt, shape, dtype_of(q))


def _stirling_tail(k):
    """log(k!) less its approximation log(sqrt(2 pi)) + (k + 1/2) log(k + 1) - (k + 1): a table, then a series."""
    stirling = [0.5 * math.log(2 * math.pi) + (i + 0.5) * math.log(i + 1) - (i + 1) for i in range(10)]
    table = np.array([math.lgamma(i + 1) - value for i, value in enumerate(stirling)], dtype_of(k))
    squared = (k + 1) * (k + 1)
    series = (1 / 12 - (1 / 360 - 1 / 1260 / squared) / squared) / (k + 1)
    exact = fnp.take(fnp.asarray(table), convert(fnp.clip(k, 0, 9), dtypes.int32), mode="clip")
    return fnp.where(k <= 9, exact, series)


def multinomial(key, n, p, *, shape=None, dtype=None):
    """How often each of m outcomes of probabilities `p`, of shape (..., m), occurs in `n` trials: shape (..., m).

    shape: the shape of the result, to which p broadcasts, and n to the axes before the last; default: that of p.
    dtype: a float or integer type; default: the float type that n and p promote to. Each outcome's count is `binomial`
    among the trials that the outcomes before it have left. Raises `ShapeError` for p without axes.
    """
    key = check_key("multinomial", key)
    n, p = _fixed("multinomial", n), _fixed("multinomial", p)
    if not shape_of(p):
        raise ShapeError(located("random.multinomial: p needs an axis, of the outcomes, but it is a number"))
    work = dtypes.result_type(n, p)
    shape = shape_for("multinomial", shape, p)
    shape_for("multinomial", shape[:-1], n)
    p = fnp.moveaxis(full_shape(convert(p, work), shape), -1, 0)
    left = lax.cumsum(p, 0, reverse=True)
    ratios = fnp.clip(p / fnp.where(left == 0, 1, left), 0, 1)

    def draw(trials, ratio_and_key):
        ratio, subkey = ratio_and_key
        count = _binomial(subkey, trials, ratio, shape[:-1], work)
        return trials - count, count

    trials = full_shape(convert(n, work), shape[:-1])
    _, counts = lax.scan(draw, trials, (ratios, split_key(key, (shape[-1],))))
    return convert(fnp.moveaxis(counts, 0, -1), work if dtype is None else dtypes.dtype(dtype))
