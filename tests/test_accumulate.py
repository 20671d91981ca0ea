"""Sums of products that a loop carries become one product after it."""

from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as jnp
from ftiny import grad, jit, lax, tree
from ftiny.lowering import accumulate
from ftiny.lowering.accumulate import prepare

RNG = np.random.default_rng(0)
C, XS, W, V = (RNG.normal(size=shape).astype(np.float32) for shape in ((7, 16), (5, 7, 16), (16, 16), (16, 16)))


def rnn(w, v, c, xs):
    """Two weights, one of them used twice."""
    h, ys = lax.scan(lambda c, x: ((h := jnp.tanh(c @ w + x @ v)), h @ w), c, xs)
    return jnp.sum(h**2) + jnp.sum(ys**3)


def plain(w, v, c, xs):
    """Each weight used once."""
    return jnp.sum(lax.scan(lambda c, x: (jnp.tanh(c @ w + x), c), c, jnp.tanh(xs @ v))[1] ** 2)


FUNCTIONS = {"rnn": rnn, "plain": plain}


@pytest.fixture(autouse=True)
def as_large_loops_are(monkeypatch, loops_as_steps):
    """No loop counts as small."""
    monkeypatch.setattr(accumulate, "is_small", lambda eqn, cpu: False)


def carries(function) -> list[int]:
    """How many values each scan of the gradient's program carries."""
    with ftiny.device("numpy"):
        program = ftiny.make_jaxpr(grad(function, argnums=(0, 1, 2, 3)))(W, V, C, XS).close_over()
    return [e.params["num_carry"] for e in prepare(program, True).jaxpr.eqns if e.primitive.name == "scan"]


def test_what_is_carried():
    """The state alone, forwards and backwards; a weight that is used twice stays."""
    assert carries(plain) == [1, 1]
    assert carries(rnn) == [1, 2]


def test_small_loops_keep_their_sums(monkeypatch):
    """A loop that becomes one kernel has no need of a second product."""
    monkeypatch.setattr(accumulate, "is_small", lambda eqn, cpu: True)
    assert carries(plain) == [1, 2]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name, every_device):
    """As the interpreter has them, which knows no such sums."""
    gradient = grad(FUNCTIONS[name], argnums=(0, 1, 2, 3))
    with ftiny.device("numpy"):
        wanted = [np.asarray(x) for x in tree.leaves(jit(gradient)(W, V, C, XS))]
    for got, want in zip(tree.leaves(jit(gradient)(W, V, C, XS)), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6 * np.abs(want).max())
