"""`bind`: a jitted function for arguments of one structure and fixed shapes."""

from __future__ import annotations

import numpy as np
import pytest
from both import normal

import ftiny
import ftiny.numpy as fnp
from ftiny import errors

X, Y = normal(7), normal(7, seed=1)


def message(error, function, *args, **kwargs) -> str:
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_calls_and_flat_calls(every_device):
    f = ftiny.jit(lambda tree, y: {"sum": tree["a"] + y, "rest": (tree["b"], 2.0)})
    tree = {"a": fnp.asarray(X), "b": fnp.asarray(Y)}
    bound = ftiny.bind(f, tree, ftiny.ShapeDtypeStruct((7,), "float32"))
    assert f.trace_count == 1
    for y in (fnp.asarray(Y), X):
        found, expected = bound(tree, y), f(tree, y)
        assert found["rest"][1].tolist() == 2.0
        np.testing.assert_array_equal(found["sum"], expected["sum"])
        np.testing.assert_array_equal(found["rest"][0], Y)
        flat = bound.flat([tree["a"], tree["b"], y])
        for one, other in zip(flat, ftiny.tree.leaves(expected)):
            np.testing.assert_array_equal(one, other)
    assert f.trace_count == 1 and repr(bound) == "<<lambda>, bound>"


def test_a_donated_state(every_device):
    step = ftiny.bind(ftiny.jit(lambda state, x: [s + x for s in state], donate_argnums=0), [X, Y], 1.0)
    state = [fnp.asarray(X), fnp.asarray(Y)]
    first = state[0]
    for _ in range(12):  # long enough for launches to be bound to several sets of locations
        state = step(state, 1.0)
    assert first.is_deleted()
    np.testing.assert_allclose(state[0], X + 12, rtol=1e-5)
    np.testing.assert_allclose(state[1], Y + 12, rtol=1e-5)


def test_static_arguments_and_keywords():
    f = ftiny.jit(lambda x, n, *, power: x * n**power, static_argnums=1, static_argnames="power")
    bound = ftiny.bind(f, X, 2, power=3)
    np.testing.assert_allclose(bound(X, 2, power=3), X * 8, rtol=1e-6)
    np.testing.assert_allclose(bound.flat([X])[0], X * 8, rtol=1e-6)
    assert "static arguments 1 = 2, 'power' = 3, not" in message(errors.ArgumentError, bound, X, 3, power=3)
    np.testing.assert_allclose(ftiny.jit(lambda x: bound.flat([x])[0])(X), X * 8, rtol=1e-6)


def test_under_transformations():
    bound = ftiny.bind(lambda x: fnp.sum(fnp.sin(x)), X)
    np.testing.assert_allclose(ftiny.grad(bound)(X), np.cos(X), rtol=1e-5)
    np.testing.assert_allclose(ftiny.vmap(bound)(fnp.stack([X, Y])), [np.sin(X).sum(), np.sin(Y).sum()], rtol=1e-5)
    np.testing.assert_allclose(ftiny.jit(lambda x: bound.flat([x])[0])(X), np.sin(X).sum(), rtol=1e-5)
    with ftiny.disable_jit():
        np.testing.assert_allclose(bound(X), np.sin(X).sum(), rtol=1e-5)


def test_other_arguments_raise():
    bound = ftiny.bind(ftiny.jit(lambda pair: pair["x"] * 2, name="double"), {"x": X})
    assert "argument 0['x'], but was called with f32[3]" in message(errors.ArgumentError, bound, {"x": X[:3]})
    assert "takes f32[7]" in message(errors.ArgumentError, bound.flat, [X.astype("i4")])
    assert "takes 1 leaves, but 2 were given" in message(errors.ArgumentError, bound.flat, [X, X])
    assert "<double, bound> takes arguments of the structure" in message(errors.ArgumentError, bound, [X])
    leaked = []
    ftiny.jit(lambda x: leaked.append(x))(X)
    with pytest.raises(errors.LeakedTracerError):
        bound.flat(leaked)
