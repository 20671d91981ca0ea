"""Optimisers as triples of functions, schedules of step sizes, and gradient clipping.

An optimiser is a triple `(init_fun, update_fun, get_params)`:

    init_fun(params) -> state
    update_fun(step, gradients, state) -> state
    get_params(state) -> params

Input: trees of parameters and of their gradients. Output: states, which are trees of arrays too:

    >>> init_fun, update_fun, get_params = adam(1e-3)
    >>> state = init_fun({"w": ftiny.numpy.ones(3)})
    >>> state = update_fun(0, {"w": ftiny.numpy.ones(3)}, state)

A step size is a number or a schedule, a function of the number of the step (which starts at 0 and may be traced). The
state keeps the dtypes of the parameters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ftiny import numpy as fnp
from ftiny import tree
from ftiny.errors import ArgumentError
from ftiny.numpy.common import convert, dtype_of, is_array, scalar_literal, shape_of
from ftiny.source import located

Schedule = Callable[[Any], Any]


class Optimizer(NamedTuple):
    """The three functions of an optimiser."""

    init_fn: Callable
    update_fn: Callable
    params_fn: Callable


@functools.partial(tree.register_dataclass, meta_fields=("structure", "inner"))
@dataclass(frozen=True)
class OptimizerState:
    """The state of an optimiser: for each parameter the list of its arrays, the parameter itself first.

    `structure` is that of the parameters, `inner` that of the state of each.
    """

    packed_state: list
    structure: tree.PyTreeDef
    inner: tuple


def optimizer(maker: Callable[..., tuple]) -> Callable[..., Optimizer]:
    """Decorator: makes an optimiser of trees out of the maker of one for single arrays.

    The maker returns (init, update, get_params): `init(x)` gives the state of one parameter, `update(step, gradient,
    state)` the next state of the same structure, `get_params(state)` the parameter.
    """

    @functools.wraps(maker)
    def make(*args, **kwargs) -> Optimizer:
        init, update, get_params = maker(*args, **kwargs)

        def init_fun(params) -> OptimizerState:
            leaves, structure = tree.flatten(params)
            flat = [tree.flatten(init(fnp.asarray(x))) for x in leaves]
            return OptimizerState([state for state, _ in flat], structure, tuple(inner for _, inner in flat))

        def update_fun(step, gradients, state: OptimizerState) -> OptimizerState:
            leaves, structure = tree.flatten(gradients)
            if structure != state.structure:
                raise ArgumentError(
                    located(
                        "the gradients do not have the structure of the parameters that the optimiser was made for:\n"
                        f"  parameters {state.structure}\n  gradients  {structure}"
                    )
                )
            packed = [
                _updated(update, step, gradient, old, inner)
                for gradient, old, inner in zip(leaves, state.packed_state, state.inner)
            ]
            return OptimizerState(packed, state.structure, state.inner)

        def params_fun(state: OptimizerState):
            return tree.unflatten(
                state.structure,
                [get_params(tree.unflatten(inner, packed)) for packed, inner in zip(state.packed_state, state.inner)],
            )

        return Optimizer(init_fun, update_fun, params_fun)

    return make


def _updated(update: Callable, step, gradient, packed: list, inner) -> list:
    leaves, structure = tree.flatten(update(step, gradient, tree.unflatten(inner, packed)))
    if structure != inner:
        raise ArgumentError(
            located(f"the optimiser's update changed the structure of its state from {inner} to {structure}")
        )
    return [convert(new, dtype_of(old)) for new, old in zip(leaves, packed)]


# ---- optimisers ------------------------------------------------------------------------------------------------


def _first(state):
    return state[0]


@optimizer
def sgd(step_size):
    """Gradient descent: x - step_size * g."""
    step_size = make_schedule(step_size)
    return (lambda x: x), (lambda i, g, x: x - step_size(i) * g), (lambda x: x)


@optimizer
def momentum(step_size, mass: float):
    """Gradient descent with momentum: v = mass * v + g, x - step_size * v."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, velocity = state
        velocity = mass * velocity + g
        return x - step_size(i) * velocity, velocity

    return (lambda x: (x, fnp.zeros_like(x))), update, _first


@optimizer
def nesterov(step_size, mass: float):
    """Gradient descent with Nesterov's momentum: v = mass * v + g, x - step_size * (mass * v + g)."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, velocity = state
        velocity = mass * velocity + g
        return x - step_size(i) * (mass * velocity + g), velocity

    return (lambda x: (x, fnp.zeros_like(x))), update, _first


@optimizer
def adagrad(step_size, momentum: float = 0.9):
    """Adagrad: gradients divided by the root of the sum of their squares so far, with momentum."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, squares, m = state
        squares = squares + fnp.square(g)
        positive = squares > 0
        scale = fnp.where(positive, 1.0 / fnp.sqrt(fnp.where(positive, squares, 1)), 0.0)
        m = (1.0 - momentum) * (g * scale) + momentum * m
        return x - step_size(i) * m, squares, m

    return (lambda x: (x, fnp.zeros_like(x), fnp.zeros_like(x))), update, _first


@optimizer
def rmsprop(step_size, gamma: float = 0.9, eps: float = 1e-8):
    """RMSProp: gradients divided by the root of the running mean (with factor `gamma`) of their squares."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, average = state
        average = average * gamma + fnp.square(g) * (1.0 - gamma)
        return x - step_size(i) * g / fnp.sqrt(average + eps), average

    return (lambda x: (x, fnp.zeros_like(x))), update, _first


@optimizer
def rmsprop_momentum(step_size, gamma: float = 0.9, eps: float = 1e-8, momentum: float = 0.9):
    """RMSProp with momentum on the steps."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, average, m = state
        average = average * gamma + fnp.square(g) * (1.0 - gamma)
        m = momentum * m + step_size(i) * g / fnp.sqrt(average + eps)
        return x - m, average, m

    return (lambda x: (x, fnp.zeros_like(x), fnp.zeros_like(x))), update, _first


def _adam_step(i, g, m, v, b1: float, b2: float, eps: float):
    """(direction, m, v): running means of the gradient and its square, both corrected for their start at zero."""
    m = (1 - b1) * g + b1 * m
    v = (1 - b2) * fnp.square(g) + b2 * v
    mean, square = m / _started(b1, i, m.dtype), v / _started(b2, i, m.dtype)
    return mean / (fnp.sqrt(square) + eps), m, v


def _started(decay: float, i, dtype):
    """1 - decay ** (i + 1): how much of a running mean is not its start at zero."""
    return 1 - fnp.power(scalar_literal(decay, dtype), i + 1)


@optimizer
def adam(step_size, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
    """Adam: the running mean of the gradients over the root of the running mean of their squares."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, m, v = state
        direction, m, v = _adam_step(i, g, m, v, b1, b2, eps)
        return x - step_size(i) * direction, m, v

    return (lambda x: (x, fnp.zeros_like(x), fnp.zeros_like(x))), update, _first


@optimizer
def adamw(step_size, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 1e-4):
    """Adam with decoupled weight decay: x - step_size * (direction + weight_decay * x)."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, m, v = state
        direction, m, v = _adam_step(i, g, m, v, b1, b2, eps)
        return x - step_size(i) * (direction + weight_decay * x), m, v

    return (lambda x: (x, fnp.zeros_like(x), fnp.zeros_like(x))), update, _first


@optimizer
def adamax(step_size, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
    """AdaMax: Adam with a decaying maximum of the gradient's size in place of the root of the mean square."""
    step_size = make_schedule(step_size)

    def update(i, g, state):
        x, m, u = state
        m = (1 - b1) * g + b1 * m
        u = fnp.maximum(b2 * u, fnp.abs(g))
        return x - step_size(i) / _started(b1, i, m.dtype) * m / (u + eps), m, u

    return (lambda x: (x, fnp.zeros_like(x), fnp.zeros_like(x))), update, _first


@optimizer
def sm3(step_size, momentum: float = 0.9):
    """SM3: like Adagrad with momentum, keeping one maximum per row, column, ... instead of a number per element."""
    step_size = make_schedule(step_size)

    def init(x):
        axes = range(max(x.ndim, 1))
        return x, fnp.zeros_like(x), [fnp.zeros(fnp.atleast_1d(x).shape[a], x.dtype) for a in axes]

    def update(i, g, state):
        x, m, maxima = state
        rows = fnp.atleast_1d(g)
        spread = [v.reshape(tuple(-1 if b == a else 1 for b in range(rows.ndim))) for a, v in enumerate(maxima)]
        total = functools.reduce(fnp.minimum, spread) + fnp.square(rows)
        positive = total > 0
        scale = fnp.where(positive, 1.0 / fnp.sqrt(fnp.where(positive, total, 1)), 0.0).reshape(g.shape)
        m = (1.0 - momentum) * (g * scale) + momentum * m
        maxima = [fnp.max(total, tuple(b for b in range(rows.ndim) if b != a)) for a in range(rows.ndim)]
        return x - step_size(i) * m, m, maxima

    return init, update, _first


# ---- schedules -------------------------------------------------------------------------------------------------


def make_schedule(scalar_or_schedule) -> Schedule:
    """A schedule as it is, a number as a constant schedule."""
    if callable(scalar_or_schedule):
        return scalar_or_schedule
    if is_array(scalar_or_schedule) and shape_of(scalar_or_schedule) == ():
        return constant(scalar_or_schedule)
    raise ArgumentError(located(f"a step size is a number or a function of the step, not {scalar_or_schedule!r}"))


def constant(step_size) -> Schedule:
    """Always `step_size`."""
    return lambda i: step_size


def exponential_decay(step_size, decay_steps, decay_rate) -> Schedule:
    """Multiplied by `decay_rate` every `decay_steps` steps, smoothly."""
    return lambda i: step_size * decay_rate ** (i / decay_steps)


def inverse_time_decay(step_size, decay_steps, decay_rate, staircase: bool = False) -> Schedule:
    """`step_size / (1 + decay_rate * i / decay_steps)`; with `staircase` the quotient of steps is rounded down."""
    if staircase:
        return lambda i: step_size / (1 + decay_rate * fnp.floor(i / decay_steps))
    return lambda i: step_size / (1 + decay_rate * i / decay_steps)


def polynomial_decay(step_size, decay_steps, final_step_size, power: float = 1.0) -> Schedule:
    """From `step_size` to `final_step_size` within `decay_steps`, along a power of the remaining time."""

    def schedule(i):
        left = 1 - fnp.minimum(i, decay_steps) / decay_steps
        return left**power * (step_size - final_step_size) + final_step_size

    return schedule


def piecewise_constant(boundaries, values) -> Schedule:
    """`values[k]` after k of the `boundaries` (steps, increasing) have been passed; one more value than boundaries."""
    boundaries, values = fnp.asarray(boundaries), fnp.asarray(values)
    if boundaries.ndim != 1 or values.ndim != 1 or len(values) != len(boundaries) + 1:
        raise ArgumentError(
            located(
                f"piecewise_constant takes n boundaries and n + 1 values, not {boundaries.shape} and {values.shape}"
            )
        )
    return lambda i: fnp.take(values, fnp.sum(i > boundaries), mode="clip")


def _cosine(start, end, share):
    """From `start` to `end` along half a cosine, as `share` goes from 0 to 1."""
    return end + (start - end) * 0.5 * (1 + fnp.cos(math.pi * share))


def _progress(i, steps):
    return fnp.clip(i / steps, 0.0, 1.0)


def cosine_decay(step_size, decay_steps, final_step_size=0.0) -> Schedule:
    """From `step_size` to `final_step_size` along half a cosine within `decay_steps`."""
    return lambda i: _cosine(step_size, final_step_size, _progress(i, decay_steps))


def warm_up(schedule, warm_up_steps, initial_step_size=0.0) -> Schedule:
    """From `initial_step_size` linearly to the start of a schedule (or number), which begins after `warm_up_steps`."""
    after = make_schedule(schedule)

    def warmed(i):
        share = _progress(i, warm_up_steps)
        later = fnp.maximum(i - warm_up_steps, 0)
        return fnp.where(i < warm_up_steps, initial_step_size + share * (after(0) - initial_step_size), after(later))

    return warmed


def one_cycle(
    peak_step_size, total_steps, peak_at: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> Schedule:
    """One cycle: from `peak / div_factor` up to the peak at the share `peak_at` of all steps, then down to
    `peak / (div_factor * final_div_factor)`, both along half a cosine."""
    start = peak_step_size / div_factor
    rise = peak_at * total_steps

    def schedule(i):
        up = _cosine(start, peak_step_size, _progress(i, rise))
        down = _cosine(peak_step_size, start / final_div_factor, _progress(i - rise, total_steps - rise))
        return fnp.where(i < rise, up, down)

    return schedule


# ---- gradients -------------------------------------------------------------------------------------------------


def l2_norm(values):
    """The root of the sum of the squares of all elements of a tree of arrays."""
    return fnp.sqrt(functools.reduce(fnp.add, [fnp.sum(fnp.square(x)) for x in tree.leaves(values)], 0.0))


def clip_grads(gradients, max_norm):
    """The gradients, scaled down so that their l2 norm is at most `max_norm`."""
    norm = l2_norm(gradients)
    return tree.map(lambda g: fnp.where(norm < max_norm, g, convert(g * (max_norm / norm), dtype_of(g))), gradients)


# ---- states as nested trees ------------------------------------------------------------------------------------


class JoinPoint:
    """Where the tree of a parameter's state hangs in the tree of the parameters; a leaf."""

    def __init__(self, subtree):
        self.subtree = subtree

    def __repr__(self) -> str:
        return f"JoinPoint({self.subtree!r})"


def unpack_optimizer_state(state: OptimizerState):
    """The state as a tree of the parameters' structure, with a `JoinPoint` for each parameter."""
    subtrees = [JoinPoint(tree.unflatten(inner, packed)) for inner, packed in zip(state.inner, state.packed_state)]
    return tree.unflatten(state.structure, subtrees)


def pack_optimizer_state(marked) -> OptimizerState:
    """The state that `unpack_optimizer_state` took apart."""
    points, structure = tree.flatten(marked)
    if not all(isinstance(point, JoinPoint) for point in points):
        raise ArgumentError(
            located("pack_optimizer_state takes a tree whose leaves are JoinPoints, as unpack_optimizer_state makes it")
        )
    flat = [tree.flatten(point.subtree) for point in points]
    return OptimizerState([packed for packed, _ in flat], structure, tuple(inner for _, inner in flat))
