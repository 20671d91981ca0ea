"""ftiny.nn: values and derivatives at the edges, masked softmax, encodings, and initialisers against jax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import nn, random
from ftiny.errors import ArgumentError, ShapeError
from ftiny.nn import initializers


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


ACTIVATIONS = [
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softplus",
    "sparse_plus",
    "squareplus",
    "tanh",
    "identity",
]
EDGES = np.float32([-np.inf, -1e4, -200, -1, -1e-3, 0, 1e-3, 0.5, 1, 6, 200, 1e4, np.inf, np.nan])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_at_the_edges(name):
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    np.testing.assert_allclose(np.asarray(ours(EDGES)), theirs(EDGES), rtol=1e-5, atol=1e-6)
    inner = EDGES[1:-2]
    found = np.asarray(ftiny.vmap(ftiny.grad(ours))(inner))
    wanted = np.array(jax.vmap(jax.grad(theirs))(inner))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert ours(fnp.ones(3, "bfloat16")).dtype == fnp.bfloat16 and ours(1.0).dtype == np.float32


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name):
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    x = np.random.RandomState(0).randn(4, 5).astype(np.float32) * 30
    for axis in (-1, 0, (0, 1)):
        np.testing.assert_allclose(np.asarray(ours(x, axis)), theirs(x, axis), rtol=1e-5, atol=1e-6)
    mask = x > -10
    np.testing.assert_allclose(np.asarray(ours(x, where=mask)), theirs(x, where=mask), rtol=1e-5, atol=1e-6)
    weights = np.random.RandomState(1).randn(4, 5).astype(np.float32)
    f, g = (lambda x: (ours(x) * weights).sum()), (lambda x: (theirs(x) * weights).sum())
    np.testing.assert_allclose(np.asarray(ftiny.grad(f)(x)), jax.grad(g)(x), rtol=1e-4, atol=1e-5)
    v = weights[::-1]
    np.testing.assert_allclose(
        np.asarray(ftiny.jvp(ftiny.grad(f), (x,), (v,))[1]), jax.jvp(jax.grad(g), (x,), (v,))[1], rtol=1e-3, atol=1e-4
    )


def test_logsumexp():
    x = np.float32([[1e4, 1e4, -np.inf], [-np.inf] * 3, [1, 2, 3]])
    np.testing.assert_allclose(np.asarray(nn.logsumexp(x, axis=1)), jax.nn.logsumexp(x, axis=1), rtol=1e-6)
    b = np.float32([1, 2, 3])
    np.testing.assert_allclose(np.asarray(nn.logsumexp(x[2], b=b)), jax.nn.logsumexp(x[2], b=b), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(ftiny.grad(lambda x: nn.logsumexp(x))(x[2])), jax.nn.softmax(x[2]), rtol=1e-5)


def test_standardize_glu_one_hot():
    x = np.random.RandomState(0).randn(4, 6).astype(np.float32) * 3 + 1000
    np.testing.assert_allclose(np.asarray(nn.standardize(x)), jax.nn.standardize(x), rtol=1e-2, atol=5e-3)
    wanted = (x.astype(np.float64) - x.mean(1, keepdims=True, dtype=np.float64)) / np.sqrt(
        x.var(1, keepdims=True, dtype=np.float64) + 1e-5
    )
    np.testing.assert_allclose(np.asarray(nn.standardize(x)), wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.asarray(nn.glu(x / 1000, 0)), jax.nn.glu(x / 1000, 0), rtol=1e-5)
    labels = np.int32([0, 2, 5, -1])
    for axis in (-1, 0):
        np.testing.assert_array_equal(
            np.asarray(nn.one_hot(labels, 4, axis=axis)), jax.nn.one_hot(labels, 4, axis=axis)
        )
    assert nn.one_hot(2, 3, dtype="int32").dtype == np.int32
    with pytest.raises(ArgumentError, match="must have an even size"):
        nn.glu(x[:3], 0)


INITIALIZERS = {
    "uniform": lambda m: m.uniform(0.5),
    "normal": lambda m: m.normal(0.5),
    "truncated_normal": lambda m: m.truncated_normal(0.3),
    "constant": lambda m: m.constant(3),
    "zeros": lambda m: m.zeros,
    "ones": lambda m: m.ones,
    "glorot_normal": lambda m: m.glorot_normal(),
    "glorot_uniform": lambda m: m.glorot_uniform(),
    "lecun_normal": lambda m: m.lecun_normal(),
    "lecun_uniform": lambda m: m.lecun_uniform(),
    "he_normal": lambda m: m.he_normal(),
    "he_uniform": lambda m: m.he_uniform(),
    "he axes": lambda m: m.he_normal(in_axis=0, out_axis=(1, 2)),
    "scaled": lambda m: m.variance_scaling(2.0, "fan_out", "normal"),
    "batch": lambda m: m.variance_scaling(1.0, "fan_in", "uniform", batch_axis=0),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializer(name):
    make = INITIALIZERS[name]
    ours = np.asarray(make(initializers)(random.PRNGKey(3), (3, 4, 5)))
    theirs = make(jax.nn.initializers)(jax.random.PRNGKey(3), (3, 4, 5))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert make(initializers)(random.PRNGKey(3), (2, 3, 2), jnp.bfloat16).dtype == fnp.bfloat16


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal(shape):
    q = np.asarray(initializers.orthogonal(2.0)(random.PRNGKey(0), shape)).reshape(-1, shape[-1]) / 2
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(min(q.shape)), atol=1e-5)


def test_initializer_errors():
    with pytest.raises(ShapeError, match="at least two axes"):
        initializers.glorot_normal()(random.PRNGKey(0), (3,))
    with pytest.raises(ArgumentError, match="mode must be"):
        initializers.variance_scaling(1.0, "fan", "normal")
