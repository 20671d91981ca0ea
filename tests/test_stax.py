"""Layers: shapes and values against `jax.example_libraries.stax` with the same parameters, and running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.example_libraries import stax as jax_stax

import ftiny
from ftiny import random, stax
from ftiny.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


def to_jax(params):
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), params)


def image(*shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


LAYERS = {
    "dense": (lambda s: s.serial(s.Dense(7), s.Relu, s.Dense(3), s.LogSoftmax), (5, 6)),
    "conv": (
        lambda s: s.serial(s.Conv(4, (3, 3), padding="SAME"), s.Relu, s.MaxPool((2, 2), (2, 2)), s.Flatten, s.Dense(3)),
        (2, 8, 8, 3),
    ),
    "strided conv": (lambda s: s.Conv(4, (3, 2), strides=(2, 1), padding="VALID"), (2, 9, 8, 3)),
    "general conv": (lambda s: s.GeneralConv(("NCHW", "OIHW", "NHWC"), 4, (3, 3), (2, 2), "SAME"), (2, 3, 9, 8)),
    "conv transpose": (lambda s: s.ConvTranspose(4, (3, 3), (2, 2), "SAME"), (2, 5, 4, 3)),
    "conv transpose valid": (lambda s: s.ConvTranspose(2, (2, 3), (3, 2), "VALID"), (1, 4, 5, 3)),
    "conv 1d transpose": (lambda s: s.Conv1DTranspose(4, (3,), (2,), "VALID"), (2, 5, 3)),
    "batch norm": (lambda s: s.serial(s.Conv(4, (3, 3)), s.BatchNorm()), (2, 6, 6, 3)),
    "batch norm plain": (lambda s: s.BatchNorm(axis=0, center=False, scale=False), (9, 6)),
    "sum pool": (lambda s: s.SumPool((2, 3), (1, 2), "SAME"), (2, 6, 7, 3)),
    "average pool": (lambda s: s.AvgPool((3, 3), (2, 2), "SAME"), (2, 6, 7, 3)),
    "average pool NCHW": (lambda s: s.AvgPool((3, 2), (2, 1), "VALID", spec="NCHW"), (2, 3, 6, 7)),
    "max pool": (lambda s: s.MaxPool((3, 3), (2, 2), "SAME"), (2, 6, 7, 3)),
    "residual": (
        lambda s: s.serial(s.FanOut(2), s.parallel(s.serial(s.Dense(6), s.Tanh), s.Identity), s.FanInSum),
        (4, 6),
    ),
    "concatenated": (
        lambda s: s.serial(s.FanOut(3), s.parallel(s.Dense(2), s.Dense(3), s.Identity), s.FanInConcat()),
        (4, 6),
    ),
    "shape dependent": (lambda s: s.shape_dependent(lambda shape: s.Dense(shape[-1] * 2)), (4, 6)),
    "activations": (
        lambda s: s.serial(s.Exp, s.Softplus, s.Sigmoid, s.Elu, s.LeakyRelu, s.Selu, s.Gelu, s.Softmax),
        (4, 6),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_matches_jax(name):
    make, shape = LAYERS[name]
    init, apply = make(stax)
    jax_init, jax_apply = make(jax_stax)
    out_shape, params = init(random.PRNGKey(1), shape)
    jax_shape, jax_params = jax_init(jax.random.PRNGKey(1), shape)
    assert tuple(out_shape) == tuple(jax_shape)
    for ours, theirs in zip(ftiny.tree.leaves(params), jax.tree.leaves(jax_params)):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-4, atol=1e-6)
    x = image(*shape)
    out = np.asarray(apply(params, x))
    assert out.shape == tuple(out_shape) and out.dtype == np.float32
    np.testing.assert_allclose(out, jax_apply(to_jax(params), x), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["conv", "strided conv", "conv transpose", "batch norm", "average pool", "residual"])
def test_gradient_matches_jax(name):
    make, shape = LAYERS[name]
    init, apply = make(stax)
    _, jax_apply = make(jax_stax)
    _, params = init(random.PRNGKey(1), shape)
    x = image(*shape)
    ours = ftiny.grad(lambda p, x: (apply(p, x) ** 2).sum(), argnums=(0, 1))(params, x)
    theirs = jax.grad(lambda p, x: (jax_apply(p, x) ** 2).sum(), argnums=(0, 1))(to_jax(params), x)
    for a, b in zip(ftiny.tree.leaves(ours), jax.tree.leaves(theirs)):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-3, atol=1e-3)


def test_dropout_matches_jax():
    x = image(50, 8)
    ours = stax.Dropout(0.7).apply_fun((), x, rng=random.PRNGKey(3))
    theirs = jax_stax.Dropout(0.7)[1]((), x, rng=jax.random.PRNGKey(3))
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(stax.Dropout(0.7, mode="test").apply_fun((), x)), x)
    np.testing.assert_array_equal(np.asarray(stax.Dropout(0.7).apply_fun((), x, mode="test")), x)


def test_dropout_without_key():
    with pytest.raises(ArgumentError, match="Dropout needs a random key"):
        stax.Dropout(0.5).apply_fun((), image(2, 2))


def test_running_statistics():
    network = stax.serial(stax.Dense(5), stax.BatchNorm(axis=0, momentum=0.5), stax.Relu)
    shape, params, state = network.init_with_state(random.PRNGKey(0), (-1, 3))
    assert shape == (-1, 5) and params[1][0].shape == (5,)
    x = image(16, 3)
    hidden = x @ np.asarray(params[0][0]) + np.asarray(params[0][1])
    outputs, new = network.apply_fun(params, x, state=state)
    np.testing.assert_allclose(np.asarray(new[1].mean), 0.5 * hidden.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(new[1].variance), 0.5 + 0.5 * hidden.var(0), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(outputs), np.asarray(network.apply_fun(params, x)), rtol=1e-6)
    tested, same = network.apply_fun(params, x, state=new, mode="test")
    mean, variance = np.asarray(new[1].mean), np.asarray(new[1].variance)
    np.testing.assert_allclose(
        np.asarray(tested), np.maximum((hidden - mean) / np.sqrt(variance + 1e-5), 0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(np.asarray(same[1].mean), mean)


def test_state_inside_jit_and_grad():
    network = stax.serial(
        stax.FanOut(2),
        stax.parallel(stax.serial(stax.Dense(4), stax.BatchNorm(axis=0)), stax.Dense(4)),
        stax.FanInSum,
        stax.shape_dependent(lambda shape: stax.BatchNorm(axis=0)),
    )
    _, params, state = network.init_with_state(random.PRNGKey(0), (-1, 3))

    @ftiny.jit
    def step(params, state, x):
        def loss(params):
            out, new = network.apply_fun(params, x, state=state)
            return (out**2).sum(), new

        return ftiny.grad(loss, has_aux=True)(params)

    gradients, new = step(params, state, image(8, 3))
    assert ftiny.tree.structure(gradients) == ftiny.tree.structure(params)
    assert ftiny.tree.structure(new) == ftiny.tree.structure(state)
    assert float(abs(np.asarray(new[1][0][1].mean)).sum()) > 0


def test_own_layer_in_serial():
    double = (lambda rng, shape: (shape, ()), lambda params, x, **kwargs: 2 * x)
    _, apply = stax.serial(double, stax.Identity)
    np.testing.assert_array_equal(np.asarray(apply([(), ()], image(2, 2))), 2 * image(2, 2))


def test_errors():
    with pytest.raises(ArgumentError, match="layer makers need brackets"):
        stax.serial(stax.Dense)
    init, apply = stax.Dense(4)
    _, params = init(random.PRNGKey(0), (-1, 3))
    with pytest.raises(ShapeError, match=r"Dense\(4\).*\(2, 5\).*\(3, 4\)"):
        apply(params, image(2, 5))
    with pytest.raises(ArgumentError, match="mode must be 'train' or 'test'"):
        stax.Dropout(0.5, mode="eval")
