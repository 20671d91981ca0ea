"""Random numbers against `jax.random`: the same bits, and what is made of bits to its last places."""

import jax
import numpy as np
import pytest

import ftiny
from ftiny import random
from ftiny.errors import ArgumentError, DtypeError, ShapeError

SEEDS = (0, 1, 42, 2**31, 2**32 - 1, -5)
KEY, JAX_KEY = 7, jax.random.PRNGKey(7)


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


def key():
    return random.PRNGKey(KEY)


def assert_same(ours, theirs, exact=True, rtol=2e-6, atol=1e-6):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if exact:
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=rtol, atol=atol)


@pytest.mark.parametrize("seed", SEEDS)
def test_key(seed):
    assert_same(random.PRNGKey(seed), jax.random.PRNGKey(seed))


def test_wide_seeds():
    assert np.asarray(random.PRNGKey(2**40 + 3)).tolist() == [256, 3]
    assert np.asarray(random.PRNGKey(np.array(2**40 + 3))).tolist() == [256, 3]
    assert np.asarray(ftiny.jit(random.PRNGKey)(5)).tolist() == [0, 5]


def test_split_and_fold_in():
    assert_same(random.split(key()), jax.random.split(JAX_KEY))
    assert_same(random.split(key(), 5), jax.random.split(JAX_KEY, 5))
    assert_same(random.split(key(), (2, 3)), jax.random.split(JAX_KEY, (2, 3)))
    for number in (0, 13, 2**32 - 1):
        assert_same(random.fold_in(key(), number), jax.random.fold_in(JAX_KEY, number))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (1, 2, 513)])
def test_bits(shape, dtype):
    assert_same(random.bits(key(), shape, dtype), jax.random.bits(JAX_KEY, shape, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (3, 5), (1000,)])
def test_uniform(shape, dtype):
    assert_same(random.uniform(key(), shape, dtype), jax.random.uniform(JAX_KEY, shape, dtype))


def test_uniform_between():
    # XLA fuses the multiplication with the addition, which rounds once instead of twice.
    assert_same(
        random.uniform(key(), (200,), minval=-2, maxval=3.5),
        jax.random.uniform(JAX_KEY, (200,), minval=-2, maxval=3.5),
        exact=False,
        rtol=3e-7,
    )
    low = np.float32([0, 5])
    assert_same(
        random.uniform(key(), (9, 2), minval=low, maxval=low + 1),
        jax.random.uniform(JAX_KEY, (9, 2), minval=low, maxval=low + 1),
        exact=False,
        rtol=3e-7,
    )


def test_64_bits():
    with jax.enable_x64(True):
        assert_same(random.bits(key(), (5,), "uint64"), jax.random.bits(JAX_KEY, (5,), "uint64"))
        assert_same(random.uniform(key(), (5,), "float64"), jax.random.uniform(JAX_KEY, (5,), "float64"))
        assert_same(
            random.normal(key(), (50,), "float64"),
            jax.random.normal(JAX_KEY, (50,), "float64"),
            exact=False,
            rtol=1e-11,
        )
        assert_same(
            random.randint(key(), (50,), -9, 2**40, "int64"), jax.random.randint(JAX_KEY, (50,), -9, 2**40, "int64")
        )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
@pytest.mark.parametrize("bounds", [(3, 100), (0, 128), (5, 5), (9, 2)])
def test_randint(dtype, bounds):
    assert_same(random.randint(key(), (40,), *bounds, dtype), jax.random.randint(JAX_KEY, (40,), *bounds, dtype))


@pytest.mark.parametrize("low,high,dtype", [(0, 256, "uint8"), (-(2**31), 2**31 - 1, "int32"), (-128, 128, "int8")])
def test_randint_over_the_whole_range(low, high, dtype):
    assert_same(random.randint(key(), (64,), low, high, dtype), jax.random.randint(JAX_KEY, (64,), low, high, dtype))


def test_randint_with_array_bounds():
    low, high = np.int32([0, 1, 2]), np.int32([5, 9, 1000])
    assert_same(random.randint(key(), (4, 3), low, high), jax.random.randint(JAX_KEY, (4, 3), low, high))


def test_permutation():
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert_same(random.permutation(key(), 100), jax.random.permutation(JAX_KEY, 100))
    for axis in (0, 1, -1):
        assert_same(random.permutation(key(), x, axis), jax.random.permutation(JAX_KEY, x, axis))
    assert_same(random.shuffle(key(), x, 1), jax.random.permutation(JAX_KEY, x, 1, independent=True))


def test_normal():
    assert_same(random.normal(key(), (1000,)), jax.random.normal(JAX_KEY, (1000,)), exact=False)
    assert_same(
        random.normal(key(), (100,), "bfloat16"), jax.random.normal(JAX_KEY, (100,), "bfloat16"), exact=False, rtol=1e-2
    )
    sample = np.asarray(random.normal(key(), (2, 2000), "complex64"))
    assert sample.dtype == np.complex64 and abs(sample.var() - 1) < 0.05


@pytest.mark.parametrize("name", ["exponential", "gumbel", "laplace", "logistic", "cauchy"])
def test_distributions(name):
    ours, theirs = getattr(random, name), getattr(jax.random, name)
    assert_same(ours(key(), (7, 30)), theirs(JAX_KEY, (7, 30)), exact=False, rtol=1e-5)


def test_bernoulli_truncated_and_signs():
    assert_same(random.bernoulli(key(), 0.3, (50,)), jax.random.bernoulli(JAX_KEY, 0.3, (50,)))
    p = np.float32([[0.1], [0.9]])
    assert_same(random.bernoulli(key(), p, (2, 50)), jax.random.bernoulli(JAX_KEY, p, (2, 50)))
    assert_same(random.bernoulli(key()), jax.random.bernoulli(JAX_KEY))
    assert_same(random.rademacher(key(), (50,)), jax.random.rademacher(JAX_KEY, (50,)))
    assert_same(
        random.truncated_normal(key(), -2.0, 1.0, (200,)),
        jax.random.truncated_normal(JAX_KEY, -2.0, 1.0, (200,)),
        exact=False,
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_categorical(axis):
    logits = np.random.RandomState(0).randn(6, 9).astype(np.float32)
    assert_same(random.categorical(key(), logits, axis), jax.random.categorical(JAX_KEY, logits, axis))
    batch = np.delete(logits.shape, axis).tolist()
    assert_same(
        random.categorical(key(), logits, axis, (4, *batch)), jax.random.categorical(JAX_KEY, logits, axis, (4, *batch))
    )


@pytest.mark.parametrize("options", [{}, {"replace": False}, {"p": True}, {"p": True, "replace": False}])
def test_choice(options):
    options = {**options, "p": np.float32([0.1, 0.2, 0.3, 0.4]) if options.get("p") else None}
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert_same(random.choice(key(), 4, (3,), **options), jax.random.choice(JAX_KEY, 4, (3,), **options))
    assert_same(random.choice(key(), x, (3,), **options), jax.random.choice(JAX_KEY, x, (3,), **options))


def test_inside_transformations():
    def sample(k):
        first, second = random.split(k)
        return random.uniform(first, (3,)) + random.normal(second, (3,))

    np.testing.assert_array_equal(np.asarray(ftiny.jit(sample)(key())), np.asarray(sample(key())))
    keys = random.split(key(), 4)
    batched = np.asarray(ftiny.vmap(sample)(keys))
    np.testing.assert_array_equal(batched, np.stack([np.asarray(sample(k)) for k in keys]))


def test_errors():
    with pytest.raises(ArgumentError, match=r"random.uniform: a key is a uint32 array of shape \(2,\)"):
        random.uniform(np.float32([1, 2]), (3,))
    with pytest.raises(ArgumentError, match="for several keys use vmap"):
        random.bits(random.split(key(), 3), (3,))
    with pytest.raises(DtypeError, match="random.uniform: dtype must be a float type, not int32"):
        random.uniform(key(), (3,), "int32")
    with pytest.raises(ShapeError, match="random.uniform"):
        random.uniform(key(), (3,), minval=np.zeros(4, np.float32))
    with pytest.raises(ArgumentError, match="need replace=True"):
        random.choice(key(), 3, (4,), replace=False)
    with pytest.raises(ArgumentError, match="more than 64 bits"):
        random.PRNGKey(2**64)
