"""Optimisers, step by step against `jax.example_libraries.optimizers` (adamw against its formula), and schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.example_libraries import optimizers as jax_optimizers

import ftiny
from ftiny import optimizers
from ftiny.errors import ArgumentError


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


PARAMS = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "b": (np.float32([0.5, -2.0]), np.float32(3.0))}
CASES = {
    "sgd": lambda o: o.sgd(0.1),
    "sgd scheduled": lambda o: o.sgd(o.exponential_decay(0.1, 3, 0.5)),
    "momentum": lambda o: o.momentum(0.1, 0.9),
    "nesterov": lambda o: o.nesterov(0.1, 0.9),
    "adagrad": lambda o: o.adagrad(0.1),
    "rmsprop": lambda o: o.rmsprop(0.01),
    "rmsprop_momentum": lambda o: o.rmsprop_momentum(0.01),
    "adam": lambda o: o.adam(0.05),
    "adam scheduled": lambda o: o.adam(o.polynomial_decay(0.05, 4, 0.01, 2.0)),
    "adamax": lambda o: o.adamax(0.05),
    "sm3": lambda o: o.sm3(0.1),
}


def gradients_of(params):
    return jax.tree.map(lambda x: np.sin(3 * np.asarray(x)).astype(np.float32) + np.asarray(x, np.float32), params)


@pytest.mark.parametrize("name", CASES)
def test_steps_match_jax(name):
    init, update, get = CASES[name](optimizers)
    jax_init, jax_update, jax_get = CASES[name](jax_optimizers)
    state, jax_state = init(PARAMS), jax_init(jax.tree.map(jnp.asarray, PARAMS))
    step = ftiny.jit(update) if name == "adam scheduled" else update
    for i in range(5):
        gradients = gradients_of(jax_get(jax_state))
        state, jax_state = step(i, gradients, state), jax_update(i, gradients, jax_state)
        for ours, theirs in zip(ftiny.tree.leaves(get(state)), jax.tree.leaves(jax_get(jax_state))):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(np.asarray(ours), theirs, rtol=2e-5, atol=1e-6)


def test_adamw_decays_weights():
    init, update, get = optimizers.adamw(0.1, weight_decay=0.01)
    plain_init, plain_update, plain_get = optimizers.adam(0.1)
    gradients = gradients_of(PARAMS)
    decayed, plain = get(update(0, gradients, init(PARAMS))), plain_get(plain_update(0, gradients, plain_init(PARAMS)))
    for a, b, x in zip(*map(ftiny.tree.leaves, (decayed, plain, PARAMS))):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b) - 0.1 * 0.01 * x, rtol=1e-5)


def test_state_keeps_its_dtypes():
    init, update, get = optimizers.momentum(lambda i: ftiny.numpy.asarray(0.1) * i, 0.9)
    state = init({"w": ftiny.numpy.ones(3, "bfloat16")})
    state = ftiny.jit(update)(1, {"w": ftiny.numpy.ones(3, "bfloat16")}, state)
    assert [x.dtype for x in ftiny.tree.leaves(state)] == [ftiny.numpy.bfloat16] * 2


SCHEDULES = {
    "constant": lambda o: o.constant(0.3),
    "exponential_decay": lambda o: o.exponential_decay(0.3, 10, 0.5),
    "inverse_time_decay": lambda o: o.inverse_time_decay(0.3, 10, 0.5),
    "inverse_time_decay stairs": lambda o: o.inverse_time_decay(0.3, 10, 0.5, staircase=True),
    "polynomial_decay": lambda o: o.polynomial_decay(0.3, 10, 0.1, 2.0),
    "piecewise_constant": lambda o: o.piecewise_constant([4, 9], [0.3, 0.2, 0.1]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_matches_jax(name):
    ours, theirs = SCHEDULES[name](optimizers), SCHEDULES[name](jax_optimizers)
    traced = ftiny.jit(lambda i: ftiny.numpy.asarray(ours(i)))
    for i in (0, 3, 4, 5, 9, 10, 25):
        np.testing.assert_allclose(float(ours(i)), float(theirs(i)), rtol=1e-6)
        np.testing.assert_allclose(float(traced(i)), float(theirs(i)), rtol=1e-6)


def test_cosine_warm_up_and_one_cycle():
    cosine = optimizers.cosine_decay(1.0, 10, 0.2)
    np.testing.assert_allclose([float(cosine(i)) for i in (0, 5, 10, 99)], [1.0, 0.6, 0.2, 0.2], rtol=1e-6)
    warmed = optimizers.warm_up(optimizers.exponential_decay(1.0, 10, 0.5), 4)
    np.testing.assert_allclose([float(warmed(i)) for i in (0, 1, 4, 14)], [0.0, 0.25, 1.0, 0.5], rtol=1e-6)
    cycle = optimizers.one_cycle(1.0, 100)
    np.testing.assert_allclose(
        [float(cycle(i)) for i in (0, 15, 30, 65, 100)], [0.04, 0.52, 1.0, 0.500002, 4e-6], rtol=1e-4
    )


def test_clip_grads():
    gradients = {"a": np.float32([3.0, 4.0]), "b": np.float32(12.0)}
    assert float(optimizers.l2_norm(gradients)) == pytest.approx(13.0)
    clipped = optimizers.clip_grads(gradients, 6.5)
    np.testing.assert_allclose(np.asarray(clipped["a"]), [1.5, 2.0], rtol=1e-6)
    assert float(optimizers.clip_grads(gradients, 20.0)["b"]) == 12.0


def test_pack_and_unpack():
    init, update, get = optimizers.adam(0.1)
    state = update(0, gradients_of(PARAMS), init(PARAMS))
    marked = optimizers.unpack_optimizer_state(state)
    assert isinstance(marked["b"][1], optimizers.JoinPoint) and len(marked["b"][1].subtree) == 3
    again = optimizers.pack_optimizer_state(marked)
    assert ftiny.tree.structure(again) == ftiny.tree.structure(state)
    np.testing.assert_array_equal(np.asarray(get(again)["w"]), np.asarray(get(state)["w"]))


def test_errors():
    init, update, _ = optimizers.sgd(0.1)
    with pytest.raises(ArgumentError, match="do not have the structure of the parameters"):
        update(0, {"w": np.ones(3, np.float32)}, init(PARAMS))
    with pytest.raises(ArgumentError, match="n boundaries and n . 1 values"):
        optimizers.piecewise_constant([1, 2], [0.1])
    with pytest.raises(ArgumentError, match="a step size is a number"):
        optimizers.sgd("fast")
