"""`lax.custom_root` and `lax.custom_linear_solve`: loops as solvers, auxiliary results, trees, messages."""

from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as jnp
from ftiny import errors, lax

MATRIX = np.array([[4.0, 1.0, 0.5], [0.0, 3.0, 1.0], [1.0, 0.0, 5.0]])
RIGHT = np.array([1.0, -2.0, 0.5])


def richardson(matvec, b):
    """A loop with a bound that is traced, which has no reverse-mode derivative of its own."""
    better = lambda x, y, z: x + 0.2 * (y - z)
    step = lambda state: (state[0] + 1, ftiny.tree.map(better, state[1], b, matvec(state[1])))
    start = (jnp.int32(0), ftiny.tree.map(jnp.zeros_like, b))
    count, x = lax.while_loop(lambda state: state[0] < 120, step, start)
    return x, count


def solve(matrix, b, **options):
    return lax.custom_linear_solve(lambda x: matrix @ x, b, richardson, richardson, has_aux=True, **options)


def loss(matrix, b):
    return jnp.sum(jnp.sin(solve(matrix, b)[0]))


def direct_loss(matrix, b):
    return jnp.sum(jnp.sin(jnp.linalg.solve(matrix, b)))


def test_solvers_that_are_loops(compiled):
    with ftiny.device(compiled):
        x, count = ftiny.jit(solve)(MATRIX, RIGHT)
        assert int(count) == 120
        np.testing.assert_allclose(np.asarray(x), np.linalg.solve(MATRIX, RIGHT), 1e-9)
        for transform in (
            lambda f: ftiny.grad(f, (0, 1)),
            lambda f: lambda a, b: ftiny.jvp(f, (a, b), (a, b)),
            lambda f: ftiny.hessian(f, 1),
            lambda f: ftiny.jacrev(ftiny.grad(f, 1), 0),
            lambda f: lambda a, b: ftiny.vmap(ftiny.grad(f), (None, 0))(a, jnp.stack([b, 2 * b])),
            lambda f: lambda a, b: ftiny.vmap(ftiny.grad(f, 1), (0, None))(jnp.stack([a, 0.7 * a]), b),
            lambda f: lambda a, b: ftiny.linearize(ftiny.jit(f), a, b)[1](a, b),
        ):
            found, wanted = (ftiny.jit(transform(f))(MATRIX, RIGHT) for f in (loss, direct_loss))
            for ours, theirs in zip(ftiny.tree.leaves(found), ftiny.tree.leaves(wanted)):
                np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), 1e-7, 1e-9)


def test_trees():
    def both(matrix, scale):
        matvec = lambda x: {"a": matrix @ x["a"], "b": scale * x["b"]}
        b = {"a": RIGHT, "b": jnp.array(3.0)}
        x, _ = lax.custom_linear_solve(matvec, b, richardson, richardson, has_aux=True)
        return jnp.sum(x["a"]) + x["b"]

    np.testing.assert_allclose(float(ftiny.grad(both, 1)(MATRIX, 2.0)), -3 / 4, 1e-5)


def test_root_of_a_function_with_integers_and_auxiliary_data():
    def root_of(y, power):
        step = lambda f, x: (lax.fori_loop(0, jnp.int32(40), lambda i, x: x - f(x) / 4.0, x), jnp.int32(40))
        return lax.custom_root(lambda x: x**power - y, 1.0, step, lambda g, b: b / g(1.0), has_aux=True)

    value, aux = root_of(2.0, 2)
    np.testing.assert_allclose(float(value), 2**0.5, 1e-6)
    assert int(aux) == 40
    power = jnp.int32(2)
    slope = ftiny.jit(ftiny.grad(lambda y: root_of(y, power)[0]))
    np.testing.assert_allclose(float(slope(2.0)), 0.5 / 2**0.5, 1e-5)
    np.testing.assert_allclose(np.asarray(ftiny.vmap(slope)(jnp.array([1.0, 2.0]))), [0.5, 0.5 / 2**0.5], 1e-5)
    np.testing.assert_allclose(float(ftiny.grad(ftiny.grad(lambda y: root_of(y, power)[0]))(2.0)), -0.25 / 2**1.5, 1e-4)


def test_messages():
    product = lambda x: 2 * x
    one_way = lambda b: lax.custom_linear_solve(product, b, lambda f, b: b / 2)
    assert float(ftiny.jvp(one_way, (3.0,), (1.0,))[1]) == 0.5
    with pytest.raises(errors.RuleError, match="custom_linear_solve has no reverse-mode .* transpose_solve="):
        ftiny.grad(one_way)(3.0)
    with pytest.raises(errors.ArgumentError, match="matvec must return a tree of the structure of b"):
        lax.custom_linear_solve(lambda x: (x,), 1.0, lambda f, b: b)
    with pytest.raises(errors.ShapeError, match=r"a result of solve has shape \(2,\), but b has shape \(3,\)"):
        lax.custom_linear_solve(product, jnp.ones(3), lambda f, b: b[:2])
    with pytest.raises(errors.ArgumentError, match=r"solve must return a pair \(solution, auxiliary data\)"):
        lax.custom_linear_solve(product, jnp.ones(3), lambda f, b: b, has_aux=True)
    with pytest.raises(errors.ArgumentError, match="f must return a tree of the structure of initial_guess"):
        lax.custom_root(lambda x: [x], 1.0, lambda f, x: x, lambda g, y: y)
