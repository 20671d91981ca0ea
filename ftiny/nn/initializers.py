"""Initialisers: functions `init(key, shape, dtype)` that make the first values of parameters.

Input: a random key and a shape. Output: an array; the makers below return such functions:

    >>> init = glorot_normal()
    >>> init(ftiny.random.PRNGKey(0), (784, 128)).shape
    (784, 128)

"Fan" is the number of inputs or outputs that a parameter connects: the product of the receptive field (all axes but
`in_axis`, `out_axis` and `batch_axis`) and the size of `in_axis` or `out_axis`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ftiny import dtypes, random
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy.common import scalar_literal
from ftiny.source import located

Initializer = Callable


def zeros(key, shape, dtype=dtypes.float32):
    """All zero; the key is not used."""
    return fnp.zeros(shape, dtype)


def ones(key, shape, dtype=dtypes.float32):
    """All one; the key is not used."""
    return fnp.ones(shape, dtype)


def constant(value, dtype=dtypes.float32) -> Initializer:
    """All `value`."""

    def init(key, shape, dtype=dtype):
        return fnp.full(shape, value, dtype)

    return init


def uniform(scale=1e-2, dtype=dtypes.float32) -> Initializer:
    """Evenly distributed over [0, scale)."""

    def init(key, shape, dtype=dtype):
        return random.uniform(key, shape, dtype) * _number(scale, dtype)

    return init


def normal(stddev=1e-2, dtype=dtypes.float32) -> Initializer:
    """Normally distributed with mean 0."""

    def init(key, shape, dtype=dtype):
        return random.normal(key, shape, dtype) * _number(stddev, dtype)

    return init


def truncated_normal(stddev=1e-2, dtype=dtypes.float32, lower=-2.0, upper=2.0) -> Initializer:
    """Normally distributed between `lower` and `upper` standard deviations."""

    def init(key, shape, dtype=dtype):
        return random.truncated_normal(key, lower, upper, shape, dtype) * _number(stddev, dtype)

    return init


def _number(value, dtype):
    return scalar_literal(value, dtypes.dtype(dtype)) if isinstance(value, (int, float)) else value


def _fans(shape, in_axis: int, out_axis: int, batch_axis) -> tuple[float, float]:
    if len(shape) < 2:
        raise ShapeError(
            located(f"variance_scaling needs at least two axes, for inputs and outputs, but the shape is {shape}")
        )
    size = lambda axis: math.prod(shape[a] for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    inputs, outputs, batch = size(in_axis), size(out_axis), size(batch_axis)
    field = math.prod(shape) / inputs / outputs / batch if inputs * outputs * batch else 0.0
    return inputs * field, outputs * field


def variance_scaling(
    scale, mode: str, distribution: str, in_axis=-2, out_axis=-1, batch_axis=(), dtype=dtypes.float32
) -> Initializer:
    """Variance `scale / fan`, with the fan of the inputs ('fan_in'), the outputs ('fan_out') or their mean ('fan_avg').

    `distribution` is 'normal', 'uniform' or 'truncated_normal' (cut at two standard deviations, then rescaled).
    """
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ArgumentError(located(f"variance_scaling: mode must be 'fan_in', 'fan_out' or 'fan_avg', not {mode!r}"))
    if distribution not in ("normal", "uniform", "truncated_normal"):
        raise ArgumentError(
            located(
                "variance_scaling: distribution must be 'normal', 'uniform' or 'truncated_normal', "
                f"not {distribution!r}"
            )
        )

    def init(key, shape, dtype=dtype):
        fan_in, fan_out = _fans(shape, in_axis, out_axis, batch_axis)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        variance = scale / max(1.0, fan) if fan == 0 else scale / fan
        if distribution == "normal":
            return random.normal(key, shape, dtype) * _number(math.sqrt(variance), dtype)
        if distribution == "uniform":
            return random.uniform(key, shape, dtype, -1.0, 1.0) * _number(math.sqrt(3 * variance), dtype)
        # 0.8796... is the standard deviation of a standard normal distribution cut at -2 and 2.
        stddev = math.sqrt(variance) / 0.87962566103423978
        return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * _number(stddev, dtype)

    return init


def _scaled(name: str, scale: float, mode: str, distribution: str, does: str) -> Callable[..., Initializer]:
    def make(in_axis=-2, out_axis=-1, batch_axis=(), dtype=dtypes.float32) -> Initializer:
        return variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{does}; see `variance_scaling` for the axes."
    return make


glorot_normal = _scaled("glorot_normal", 1.0, "fan_avg", "truncated_normal", "Truncated normal, variance 1 / mean fan")
glorot_uniform = _scaled("glorot_uniform", 1.0, "fan_avg", "uniform", "Uniform, variance 1 / mean fan")
lecun_normal = _scaled(
    "lecun_normal", 1.0, "fan_in", "truncated_normal", "Truncated normal, variance 1 / fan of the inputs"
)
lecun_uniform = _scaled("lecun_uniform", 1.0, "fan_in", "uniform", "Uniform, variance 1 / fan of the inputs")
he_normal = _scaled("he_normal", 2.0, "fan_in", "truncated_normal", "Truncated normal, variance 2 / fan of the inputs")
he_uniform = _scaled("he_uniform", 2.0, "fan_in", "uniform", "Uniform, variance 2 / fan of the inputs")
xavier_normal, xavier_uniform, kaiming_normal, kaiming_uniform = glorot_normal, glorot_uniform, he_normal, he_uniform


def orthogonal(scale=1.0, column_axis: int = -1, dtype=dtypes.float32) -> Initializer:
    """A random orthogonal matrix times `scale`: its rows or columns, whichever are fewer, are orthonormal.

    All axes but `column_axis` count as rows.
    """

    def init(key, shape, dtype=dtype):
        if len(shape) < 2:
            raise ShapeError(located(f"orthogonal needs at least two axes, but the shape is {shape}"))
        columns = shape[column_axis]
        rows = math.prod(shape) // columns if columns else 0
        q = random.orthogonal(key, rows, (), dtype, columns)
        others = [n for a, n in enumerate(shape) if a != column_axis % len(shape)]
        return fnp.moveaxis(q.reshape((*others, columns)), -1, column_axis) * _number(scale, dtype)

    return init


def delta_orthogonal(scale=1.0, column_axis: int = -1, dtype=dtypes.float32) -> Initializer:
    """Kernels of convolutions, (*window, inputs, outputs), that are zero but for an orthogonal matrix in the centre.

    The window has one to three axes; there may be no more inputs than outputs. Such layers keep the norm of what passes
    through them (Xiao et al., Dynamical Isometry and a Mean Field Theory of CNNs, 2018).
    """

    def init(key, shape, dtype=dtype):
        if len(shape) not in (3, 4, 5):
            raise ShapeError(
                located(f"delta_orthogonal needs a window of one to three axes, inputs and outputs, not shape {shape}")
            )
        *window, inputs, outputs = shape
        if inputs > outputs:
            raise ShapeError(
                located(f"delta_orthogonal needs as many outputs as inputs, or more, but the shape is {shape}")
            )
        matrix = orthogonal(scale, column_axis, dtype)(key, (inputs, outputs))
        return fnp.zeros(shape, dtype).at[tuple((size - 1) // 2 for size in window)].set(matrix)

    return init
