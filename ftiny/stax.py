"""Layers and networks as pairs of functions, after `jax.example_libraries.stax`.

A layer is a pair `(init_fun, apply_fun)`:

    init_fun(rng, input_shape) -> (output_shape, params)
    apply_fun(params, inputs, rng=None, mode="train", ...) -> outputs

Input: layers, put together with `serial` and `parallel`. Output: a layer again:

    >>> init_fun, apply_fun = serial(Dense(128), Relu, Dense(10), LogSoftmax)
    >>> output_shape, params = init_fun(ftiny.random.PRNGKey(0), (-1, 784))
    >>> apply_fun(params, ftiny.numpy.ones((32, 784))).shape
    (32, 10)

State. `BatchNorm` may keep running statistics, which are no parameters: no gradient and no optimiser touches them. A
network that is used with them is initialised by `init_with_state`, and takes and gives them beside inputs and outputs:

    >>> network = serial(Dense(128), BatchNorm(axis=0), Relu, Dense(10))
    >>> output_shape, params, state = network.init_with_state(key, (-1, 784))
    >>> outputs, state = network.apply_fun(params, inputs, state=state)                  # training: updates them
    >>> outputs, state = network.apply_fun(params, inputs, state=state, mode="test")     # uses them

Without `state` a `BatchNorm` normalises by the batch it sees, in every mode, as JAX's does. Any pair of functions of
your own is a layer without state; its apply_fun must accept further keyword arguments (`**kwargs`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ftiny import lax, nn, random
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, ShapeError
from ftiny.nn.initializers import glorot_normal, normal, ones, zeros
from ftiny.numpy.common import dtype_of, shape_of
from ftiny.source import located

glorot, randn, logsoftmax = glorot_normal, normal, nn.log_softmax


class Layer(tuple):
    """A pair `(init_fun, apply_fun)` that may also have state.

    `init_with_state(rng, input_shape)` gives (output_shape, params, state). The apply_fun of a layer with state takes
    it as `state=` and then gives (outputs, new state).
    """

    init_with_state: Callable
    has_state: bool

    def __new__(cls, init_fun: Callable, apply_fun: Callable, init_with_state: Callable | None = None):
        self = super().__new__(cls, (init_fun, apply_fun))
        self.has_state = init_with_state is not None
        self.init_with_state = init_with_state or (lambda rng, shape: (*init_fun(rng, shape), ()))
        return self

    @property
    def init_fun(self) -> Callable:
        """The function that makes the parameters."""
        return self[0]

    @property
    def apply_fun(self) -> Callable:
        """The function that computes the outputs."""
        return self[1]


def _as_layer(layer) -> Layer:
    if isinstance(layer, Layer):
        return layer
    if not (isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer))):
        raise ArgumentError(
            located(
                f"a layer is a pair (init_fun, apply_fun), not {layer!r}; layer makers need brackets, as in Dense(10)"
            )
        )
    return Layer(*layer)


def _run(layer: Layer, params, inputs, state, **kwargs):
    """(outputs, new state) of a layer with or without state."""
    if layer.has_state:
        return layer.apply_fun(params, inputs, state=state, **kwargs)
    return layer.apply_fun(params, inputs, **kwargs), ()


# ---- dense and convolutional layers ----------------------------------------------------------------------------


def Dense(out_dim: int, W_init=None, b_init=None) -> Layer:
    """A fully connected layer, inputs @ W + b, with W of shape (inputs, out_dim)."""
    W_init, b_init = W_init or glorot_normal(), b_init or normal()

    def init_fun(rng, input_shape):
        k1, k2 = random.split(rng)
        return (*input_shape[:-1], out_dim), (W_init(k1, (input_shape[-1], out_dim)), b_init(k2, (out_dim,)))

    def apply_fun(params, inputs, **kwargs):
        W, b = params
        if shape_of(inputs)[-1] != shape_of(W)[0]:
            raise ShapeError(
                located(
                    f"Dense({out_dim}): the inputs have shape {shape_of(inputs)}, the weights {shape_of(W)}: "
                    f"axis {len(shape_of(inputs)) - 1} must have size {shape_of(W)[0]}"
                )
            )
        return fnp.dot(inputs, W) + b

    return Layer(init_fun, apply_fun)


def _conv_params(
    rng, input_shape, lhs_spec: str, rhs_spec: str, out_spec: str, out_chan: int, filter_shape, W_init, b_init
):
    """(W, b) of a convolution; b has axes of size 1 so that it broadcasts."""
    sizes = iter(filter_shape)
    kernel_shape = tuple(
        out_chan if c == "O" else input_shape[lhs_spec.index("C")] if c == "I" else next(sizes) for c in rhs_spec
    )
    bias_shape = tuple(out_chan if c == "C" else 1 for c in out_spec)
    k1, k2 = random.split(rng)
    return W_init(k1, kernel_shape), b_init(k2, bias_shape)


def _convolution(dimension_numbers, out_chan, filter_shape, strides, padding, W_init, b_init, convolve, shape_after):
    """The layer that `convolve`s with weights and adds a bias; `shape_after` gives the shape of what it makes."""
    _, rhs_spec, _ = dimension_numbers
    strides = tuple(strides or (1,) * len(filter_shape))
    W_init = W_init or glorot_normal(rhs_spec.index("I"), rhs_spec.index("O"))
    b_init = b_init or normal(1e-6)

    def init_fun(rng, input_shape):
        params = _conv_params(rng, input_shape, *dimension_numbers, out_chan, filter_shape, W_init, b_init)
        return shape_after(input_shape, params[0].shape, strides, padding, dimension_numbers), params

    def apply_fun(params, inputs, **kwargs):
        W, b = params
        return convolve(inputs, W, strides, padding, dimension_numbers=dimension_numbers) + b

    return Layer(init_fun, apply_fun)


def GeneralConv(
    dimension_numbers, out_chan: int, filter_shape, strides=None, padding="VALID", W_init=None, b_init=None
) -> Layer:
    """A convolution with axes named by three strings such as ('NHWC', 'HWIO', 'NHWC'); `padding` as in `lax`."""
    options = (dimension_numbers, out_chan, filter_shape, strides, padding, W_init, b_init)
    return _convolution(*options, lax.conv_general_dilated, lax.conv_general_shape_tuple)


Conv = functools.partial(GeneralConv, ("NHWC", "HWIO", "NHWC"))


def GeneralConvTranspose(
    dimension_numbers, out_chan: int, filter_shape, strides=None, padding="VALID", W_init=None, b_init=None
) -> Layer:
    """A transposed convolution, which enlarges its inputs `strides` times; arguments as for `GeneralConv`."""
    options = (dimension_numbers, out_chan, filter_shape, strides, padding, W_init, b_init)
    return _convolution(*options, lax.conv_transpose, lax.conv_transpose_shape_tuple)


Conv1DTranspose = functools.partial(GeneralConvTranspose, ("NHC", "HIO", "NHC"))
ConvTranspose = functools.partial(GeneralConvTranspose, ("NHWC", "HWIO", "NHWC"))


# ---- normalisation ---------------------------------------------------------------------------------------------


class RunningStatistics(NamedTuple):
    """The state of a `BatchNorm`: averages of the means and variances of the batches seen in training."""

    mean: Any
    variance: Any


def BatchNorm(
    axis=(0, 1, 2),
    epsilon: float = 1e-5,
    center: bool = True,
    scale: bool = True,
    beta_init=zeros,
    gamma_init=ones,
    momentum: float = 0.9,
) -> Layer:
    """Normalises to mean 0 and variance 1 over `axis`, then multiplies by gamma (`scale`) and adds beta (`center`).

    With `state` it keeps running statistics: in mode 'train' it normalises by the batch and moves them by a share of
    `1 - momentum` towards those of the batch; in mode 'test' it normalises by them.
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)

    def init_with_state(rng, input_shape):
        shape = tuple(n for i, n in enumerate(input_shape) if i not in axes)
        k1, k2 = random.split(rng)
        beta = beta_init(k1, shape) if center else ()
        gamma = gamma_init(k2, shape) if scale else ()
        return input_shape, (beta, gamma), RunningStatistics(fnp.zeros(shape), fnp.ones(shape))

    def apply_fun(params, inputs, state=None, mode="train", **kwargs):
        beta, gamma = params
        here = tuple(None if i in axes else slice(None) for i in range(len(shape_of(inputs))))
        if state is not None and _is_test(mode):
            z = nn.standardize(inputs, axes, mean=state.mean[here], variance=state.variance[here], epsilon=epsilon)
        else:
            z = nn.standardize(inputs, axes, epsilon=epsilon)
        z = gamma[here] * z if scale else z
        z = z + beta[here] if center else z
        if state is None:
            return z
        return z, (state if _is_test(mode) else _moved(state, inputs, axes, momentum))

    def init_fun(rng, input_shape):
        return init_with_state(rng, input_shape)[:2]

    return Layer(init_fun, apply_fun, init_with_state)


def _is_test(mode: str) -> bool:
    if mode not in ("train", "test"):
        raise ArgumentError(located(f"mode must be 'train' or 'test', not {mode!r}"))
    return mode == "test"


def _moved(state: RunningStatistics, inputs, axes, momentum: float) -> RunningStatistics:
    inputs = lax.stop_gradient(fnp.astype(inputs, dtype_of(state.mean)))
    batch = (fnp.mean(inputs, axes), fnp.var(inputs, axes))
    return RunningStatistics(*(momentum * old + (1 - momentum) * new for old, new in zip(state, batch)))


# ---- elementwise layers ----------------------------------------------------------------------------------------


def elementwise(fun: Callable, **fun_kwargs) -> Layer:
    """A layer without parameters that applies a function of arrays, which keeps the shape."""
    return Layer(lambda rng, input_shape: (input_shape, ()), lambda params, inputs, **kwargs: fun(inputs, **fun_kwargs))


Tanh = elementwise(fnp.tanh)
Relu = elementwise(nn.relu)
Exp = elementwise(fnp.exp)
LogSoftmax = elementwise(nn.log_softmax, axis=-1)
Softmax = elementwise(nn.softmax, axis=-1)
Softplus = elementwise(nn.softplus)
Sigmoid = elementwise(nn.sigmoid)
Elu = elementwise(nn.elu)
LeakyRelu = elementwise(nn.leaky_relu)
Selu = elementwise(nn.selu)
Gelu = elementwise(nn.gelu)


# ---- pooling ---------------------------------------------------------------------------------------------------


def _other_axes(spec: str | None, ndim: int) -> tuple[int, int]:
    """The batch and channel axes, in increasing order."""
    first, second = (0, ndim - 1) if spec is None else (spec.index("N"), spec.index("C"))
    return min(first, second), max(first, second)


def _pooling(
    name: str, computation: Callable, init_value: float, does: str, mean: bool = False
) -> Callable[..., Layer]:
    def make(window_shape, strides=None, padding="VALID", spec: str | None = None) -> Layer:
        window, steps = tuple(window_shape), tuple(strides or (1,) * len(window_shape))
        others = _other_axes(spec, len(window) + 2)
        for i in others:
            window, steps = (*window[:i], 1, *window[i:]), (*steps[:i], 1, *steps[i:])

        def pads(shape):
            return lax.padtype_to_pads(shape, window, steps, padding) if isinstance(padding, str) else padding

        def init_fun(rng, input_shape):
            return lax.reduce_window_shape_tuple(input_shape, window, steps, pads(input_shape)), ()

        def apply_fun(params, inputs, **kwargs):
            pooled = lax.reduce_window(inputs, init_value, computation, window, steps, padding)
            if not mean:
                return pooled
            ones_ = fnp.ones(tuple(1 if i in others else n for i, n in enumerate(shape_of(inputs))), dtype_of(inputs))
            return pooled / lax.reduce_window(ones_, 0.0, lax.add, window, steps, pads(shape_of(inputs)))

        return Layer(init_fun, apply_fun)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = (
        f"The {does} of each window of `window_shape`, `strides` apart (default 1).\n\n"
        "    `spec` names the axes, for example 'NCHW' (default: batch first, channels last)."
    )
    return make


MaxPool = _pooling("MaxPool", lax.max, -math.inf, "maximum")
SumPool = _pooling("SumPool", lax.add, 0.0, "sum")
AvgPool = _pooling("AvgPool", lax.add, 0.0, "mean (padding does not count)", mean=True)


# ---- layers that change the structure --------------------------------------------------------------------------

Flatten = Layer(
    lambda rng, input_shape: ((input_shape[0], math.prod(input_shape[1:])), ()),
    lambda params, inputs, **kwargs: fnp.reshape(inputs, (shape_of(inputs)[0], math.prod(shape_of(inputs)[1:]))),
)
Identity = Layer(lambda rng, input_shape: (input_shape, ()), lambda params, inputs, **kwargs: inputs)


def FanOut(num: int) -> Layer:
    """The inputs, `num` times over, in a list: the beginning of parallel branches."""
    return Layer(lambda rng, input_shape: ([input_shape] * num, ()), lambda params, inputs, **kwargs: [inputs] * num)


FanInSum = Layer(
    lambda rng, input_shape: (input_shape[0], ()), lambda params, inputs, **kwargs: functools.reduce(fnp.add, inputs)
)


def FanInConcat(axis: int = -1) -> Layer:
    """The outputs of parallel branches, one after another along `axis`."""

    def init_fun(rng, input_shape):
        a = axis % len(input_shape[0])
        total = sum(shape[a] for shape in input_shape)
        return (*input_shape[0][:a], total, *input_shape[0][a + 1 :]), ()

    return Layer(init_fun, lambda params, inputs, **kwargs: fnp.concatenate(inputs, axis))


def Dropout(rate: float, mode: str = "train") -> Layer:
    """Keeps each element with probability `rate` (the share kept, as in JAX), divided by it, and zeroes the others.

    Nothing is dropped in mode 'test', given here or to the apply_fun. In mode 'train' the apply_fun needs `rng=`.
    """
    _is_test(mode)
    default = mode

    def apply_fun(params, inputs, rng=None, mode=None, **kwargs):
        if rng is None and not _is_test(mode or default):
            raise ArgumentError(
                located(
                    "Dropout needs a random key in training: call apply_fun(params, inputs, rng=key), or "
                    "with mode='test'"
                )
            )
        if _is_test(mode or default):
            return inputs
        keep = random.bernoulli(rng, rate, shape_of(inputs))
        return fnp.where(keep, inputs / rate, 0)

    return Layer(lambda rng, input_shape: (input_shape, ()), apply_fun)


# ---- combinators -----------------------------------------------------------------------------------------------


def _split_rng(rng, count: int) -> list:
    return [None] * count if rng is None or not count else list(random.split(rng, count))


def _combinator(layers: list[Layer], init_with_state: Callable, forward: Callable) -> Layer:
    """A layer of layers; it has state if one of them has.

    `forward(params, inputs, states, rngs, kwargs)` gives (outputs, new states).
    """

    def apply_fun(params, inputs, rng=None, state=None, **kwargs):
        if len(params) != len(layers):
            raise ArgumentError(located(f"a network of {len(layers)} layers was given parameters for {len(params)}"))
        if state is not None and len(state) != len(layers):
            raise ArgumentError(
                located(
                    f"a network of {len(layers)} layers was given states of {len(state)}; init_with_state makes them"
                )
            )
        outputs, states = forward(params, inputs, state, _split_rng(rng, len(layers)), kwargs)
        return outputs if state is None else (outputs, states)

    has_state = any(layer.has_state for layer in layers)
    return Layer(lambda rng, shape: init_with_state(rng, shape)[:2], apply_fun, init_with_state if has_state else None)


def serial(*layers) -> Layer:
    """The layers one after another; the parameters (and states) are a list with an entry for each."""
    parts = [_as_layer(layer) for layer in layers]

    def init_with_state(rng, input_shape):
        params, states = [], []
        for part in parts:
            rng, layer_rng = random.split(rng)
            input_shape, param, state = part.init_with_state(layer_rng, input_shape)
            params.append(param)
            states.append(state)
        return input_shape, params, states

    def forward(params, inputs, state, rngs, kwargs):
        states = []
        for part, param, rng, s in zip(parts, params, rngs, state or [None] * len(parts)):
            if state is None:
                inputs = part.apply_fun(param, inputs, rng=rng, **kwargs)
            else:
                inputs, s = _run(part, param, inputs, s, rng=rng, **kwargs)
                states.append(s)
        return inputs, states

    return _combinator(parts, init_with_state, forward)


def parallel(*layers) -> Layer:
    """The layers side by side: takes a list with the inputs of each and gives a list with their outputs.

    Comes after `FanOut` and before `FanInSum` or `FanInConcat`.
    """
    parts = [_as_layer(layer) for layer in layers]

    def init_with_state(rng, input_shape):
        made = [
            part.init_with_state(key, shape)
            for part, key, shape in zip(parts, _split_rng(rng, len(parts)), input_shape)
        ]
        shapes, params, states = zip(*made) if made else ((), (), ())
        return list(shapes), list(params), list(states)

    def forward(params, inputs, state, rngs, kwargs):
        if len(inputs) != len(parts):
            raise ArgumentError(
                located(f"parallel: {len(parts)} layers were given {len(inputs)} inputs; put FanOut before it")
            )
        if state is None:
            return [part.apply_fun(p, x, rng=r, **kwargs) for part, p, x, r in zip(parts, params, inputs, rngs)], None
        results = [_run(part, p, x, s, rng=r, **kwargs) for part, p, x, s, r in zip(parts, params, inputs, state, rngs)]
        return [x for x, _ in results], [s for _, s in results]

    return _combinator(parts, init_with_state, forward)


def shape_dependent(make_layer: Callable) -> Layer:
    """A layer that `make_layer(input_shape)` makes once the shape of its inputs is known."""

    def apply_fun(params, inputs, state=None, **kwargs):
        layer = _as_layer(make_layer(shape_of(inputs)))
        if state is None:
            return layer.apply_fun(params, inputs, **kwargs)
        return _run(layer, params, inputs, state, **kwargs)

    return Layer(
        lambda rng, shape: _as_layer(make_layer(shape)).init_fun(rng, shape),
        apply_fun,
        lambda rng, shape: _as_layer(make_layer(shape)).init_with_state(rng, shape),
    )
