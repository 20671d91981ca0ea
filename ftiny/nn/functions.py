"""Activations, the softmax family, normalisation and encodings.

Input: arrays. Output: arrays of the same shape, unless said otherwise; integers count as float32:

    >>> softmax(ftiny.numpy.array([1., 1.]))
    Array([0.5, 0.5], dtype=float32)
"""

from __future__ import annotations

import math

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError
from ftiny.numpy.common import constant_like, convert, dtype_of, full_shape, promote, shape_of
from ftiny.numpy.reductions import logsumexp
from ftiny.source import located
from ftiny.transforms.custom import custom_jvp, stop_gradient

tanh = fnp.tanh

# ---- activations -----------------------------------------------------------------------------------------------


def _float(name: str, x):
    (x,) = promote(name, x, inexact=True)
    return fnp.asarray(x)  # the operators below are those of ftiny, not of numpy


def identity(x):
    """`x` itself."""
    return fnp.asarray(x)


def relu(x):
    """max(x, 0), with derivative 0 at 0."""
    (x,) = promote("relu", x)
    return _relu(x)


def _relu(x):
    zero = constant_like(x, 0)
    # `x <= 0` is false for NaN, which must come out as NaN.
    return primitives.select(primitives.compare(x, zero, dir="le"), zero, x)


def relu6(x):
    """min(max(x, 0), 6), with derivative 0 at both ends."""
    x = _float("relu6", x)
    return fnp.where(fnp.greater_equal(x, 6), constant_like(x, 6), _relu(x))


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return primitives.math(_float("sigmoid", x), fn="logistic")


def softplus(x):
    """log(1 + exp(x)), without overflow."""
    return fnp.logaddexp(_float("softplus", x), 0)


def log_sigmoid(x):
    """log(sigmoid(x)), without overflow."""
    return fnp.negative(softplus(fnp.negative(_float("log_sigmoid", x))))


def soft_sign(x):
    """x / (1 + |x|)."""
    x = _float("soft_sign", x)
    return x / (fnp.abs(x) + 1)


def silu(x):
    """x * sigmoid(x), also called swish."""
    x = _float("silu", x)
    return x * sigmoid(x)


swish = silu


def mish(x):
    """x * tanh(softplus(x))."""
    x = _float("mish", x)
    return x * fnp.tanh(softplus(x))


def elu(x, alpha=1.0):
    """x where positive, else alpha * (exp(x) - 1)."""
    x = _float("elu", x)
    positive = fnp.greater(x, 0)
    # The branch that is not taken must not overflow, or its derivative would be infinite.
    return fnp.where(positive, x, alpha * fnp.expm1(fnp.where(positive, constant_like(x, 0), x)))


def celu(x, alpha=1.0):
    """x where positive, else alpha * (exp(x / alpha) - 1)."""
    x = _float("celu", x)
    return fnp.maximum(x, 0.0) + alpha * fnp.expm1(fnp.minimum(x, 0.0) / alpha)


def selu(x):
    """The self-normalising `elu`: scaled so that mean 0 and variance 1 are kept."""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return scale * elu(x, alpha)


def gelu(x, approximate: bool = True):
    """x times the normal distribution function of x; `approximate` uses tanh (the default), else erf."""
    x = _float("gelu", x)
    if not approximate:
        return 0.5 * x * primitives.math(-x / math.sqrt(2), fn="erfc")
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
    return x * (0.5 * (1.0 + fnp.tanh(inner)))


def leaky_relu(x, negative_slope=0.01):
    """x where not negative, else negative_slope * x."""
    x = _float("leaky_relu", x)
    return fnp.where(fnp.greater_equal(x, 0), x, negative_slope * x)


def hard_tanh(x):
    """x limited to [-1, 1]."""
    x = _float("hard_tanh", x)
    one = constant_like(x, 1)
    return fnp.where(fnp.greater(x, 1), one, fnp.where(fnp.less(x, -1), constant_like(x, -1), x))


def hard_sigmoid(x):
    """relu6(x + 3) / 6."""
    return relu6(_float("hard_sigmoid", x) + 3.0) / 6.0


def hard_silu(x):
    """x * hard_sigmoid(x), also called hard swish."""
    x = _float("hard_silu", x)
    return x * hard_sigmoid(x)


hard_swish = hard_silu


def sparse_sigmoid(x):
    """The derivative of `sparse_plus`: 0 below -1, 1 above 1, and (x + 1) / 2 between."""
    return 0.5 * fnp.clip(_float("sparse_sigmoid", x) + 1.0, 0.0, 2.0)


def sparse_plus(x):
    """0 below -1, x above 1, and the parabola (x + 1)**2 / 4 between."""
    x = _float("sparse_plus", x)
    return fnp.where(
        fnp.less_equal(x, -1.0), constant_like(x, 0), fnp.where(fnp.greater_equal(x, 1.0), x, (x + 1.0) ** 2 / 4)
    )


def squareplus(x, b=4):
    """(x + sqrt(x*x + b)) / 2."""
    x = _float("squareplus", x)
    return (x + fnp.sqrt(x * x + b)) / 2.0


def glu(x, axis: int = -1):
    """The first half of `x` along `axis` times the sigmoid of the second half."""
    size = shape_of(x)[axis]
    if size % 2:
        raise ArgumentError(located(f"glu: axis {axis} of shape {shape_of(x)} must have an even size"))
    first, second = fnp.split(x, 2, axis)
    return first * sigmoid(second)


# ---- softmax ---------------------------------------------------------------------------------------------------


def softmax(x, axis=-1, where=None):
    """exp(x) divided by its sum along `axis` (an integer or a tuple); elements where the mask is false count as 0."""
    x = _float("softmax", x)
    terms = fnp.exp(x - _largest(x, axis, where))
    if where is not None:
        terms = fnp.where(where, terms, 0)
    result = terms / fnp.sum(terms, axis=axis, keepdims=True)
    return result if where is None else fnp.where(where, result, 0)


def log_softmax(x, axis=-1, where=None):
    """log(softmax(x)), without taking the logarithm of small numbers; minus infinity where the mask is false."""
    x = _float("log_softmax", x)
    shifted = x - _largest(x, axis, where)
    result = shifted - fnp.log(fnp.sum(fnp.exp(shifted), axis=axis, keepdims=True, where=where))
    return result if where is None else fnp.where(where, result, -math.inf)


def _largest(x, axis, where):
    """The largest element, as a constant: subtracting it changes no value, so it needs no derivative."""
    x = stop_gradient(x)
    if where is None:
        return fnp.max(x, axis=axis, keepdims=True)
    return fnp.max(x, axis=axis, keepdims=True, where=where, initial=-math.inf)


def logmeanexp(x, axis=None, where=None, keepdims: bool = False):
    """log(mean(exp(x))) along `axis` (None: all), without overflow, of the elements where the mask is true."""
    total = logsumexp(x, axis, where=where, keepdims=keepdims)
    counted = fnp.ones(shape_of(x), dtype_of(total)) if where is None else full_shape(where, shape_of(x))
    return total - fnp.log(fnp.sum(counted, axis=axis, keepdims=keepdims, dtype=dtype_of(total)))


def log1mexp(x):
    """log(1 - exp(-x)) for x >= 0, right to the last places for small and large x.

    By one of two formulas, on either side of log(2) (Maechler, Accurately Computing log(1 - exp(-|a|)), 2012).
    """
    return _log1mexp(_float("log1mexp", x))


@custom_jvp
def _log1mexp(x):
    small = fnp.log(fnp.negative(fnp.expm1(fnp.negative(x))))
    return fnp.where(fnp.less(x, math.log(2)), small, fnp.log1p(fnp.negative(fnp.exp(fnp.negative(x)))))


_log1mexp.defjvps(lambda tangent, out, x: tangent / fnp.expm1(x))


# ---- normalisation and encoding --------------------------------------------------------------------------------


def standardize(x, axis=-1, mean=None, variance=None, epsilon=1e-5, where=None):
    """(x - mean) / sqrt(variance + epsilon), the mean and variance taken along `axis` unless they are given."""
    x = _float("standardize", x)
    wide = convert(x, dtypes.accumulation_dtype(dtype_of(x)))
    if mean is None:
        mean = fnp.mean(wide, axis, keepdims=True, where=where)
    if variance is None:
        # The second pass over the differences keeps a small variance exact beside a large mean.
        variance = fnp.mean(fnp.square(wide - mean), axis, keepdims=True, where=where)
    return convert(fnp.subtract(wide, mean) * primitives.math(fnp.asarray(variance + epsilon), fn="rsqrt"), dtype_of(x))


def one_hot(x, num_classes: int, dtype=dtypes.float32, axis: int = -1):
    """1 at index x of a new axis of size `num_classes`, 0 elsewhere; all 0 where x is out of range."""
    x = fnp.asarray(x)
    ndim = len(shape_of(x)) + 1
    axis = axis % ndim
    shape = (*shape_of(x)[:axis], num_classes, *shape_of(x)[axis:])
    classes = primitives.iota(shape=shape, dtype=dtype_of(x), axis=axis)
    return convert(fnp.equal(full_shape(fnp.expand_dims(x, axis), shape), classes), dtypes.dtype(dtype))
