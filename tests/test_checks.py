"""`checks`: NaN and indices out of bounds are reported from inside compiled programs, with the user's line."""

from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as jnp
from ftiny import lax
from ftiny.errors import ArgumentError, IndexOutOfBoundsError, NanError

X = np.array([1.0, 2.0, 3.0, 4.0], np.float32)


def logs(x):
    """NaN for what is negative."""
    y = x * 2.0
    return jnp.log(y - 4.0).sum()  # the line of log


def in_scan(x):
    """NaN in the third trip."""
    return lax.scan(lambda c, v: (c + jnp.sqrt(2.5 - v), c), 0.0, x)[0]  # the line of sqrt


def in_cond(x):
    """NaN in the branch that is taken."""
    return lax.cond(x.sum() > 0, lambda v: jnp.sqrt(-v).sum(), lambda v: v.sum(), x)  # the line of sqrt


def in_while(x):
    """NaN in the second trip."""

    def body(state):
        i, v = state
        return i + 1, jnp.sqrt(v - 2.5)  # the line of sqrt

    return lax.while_loop(lambda state: state[0] < 3, body, (0, x.sum() - 5.0))[1]


def in_condition(x):
    """NaN in the condition after the last trip."""
    return lax.while_loop(lambda v: jnp.log(3.5 - v) > -10.0, lambda v: v + 1.0, x[0])  # the line of log


def in_custom(x):
    """NaN in a function with a rule of its own."""
    return ftiny.nn.relu(jnp.log(x - 3.0)).sum()  # the line of log


@pytest.mark.parametrize("function", [logs, in_scan, in_cond, in_while, in_condition, in_custom])
@pytest.mark.parametrize("transformed", ["jit", "eager", "vmap", "grad"])
def test_nan_forward(function, transformed, every_device):
    """The primitive, the count and the line; without checks, the NaN itself."""
    if transformed == "vmap":
        run, x = ftiny.jit(ftiny.vmap(function)), np.stack([X, X])
    elif transformed == "grad":
        if function in (in_while, in_condition):
            pytest.skip("a while loop without a bound has no gradient")
        run, x = ftiny.jit(ftiny.grad(function)), X
    else:
        run, x = ftiny.jit(function) if transformed == "jit" else function, X
    name = "log" if function in (logs, in_condition, in_custom) else "sqrt"
    for _ in range(2):
        with ftiny.checks(bounds=False), pytest.raises(NanError) as error:
            run(x)
        assert str(error.value).startswith(f"{name} -> f32[") and "from operands without any" in str(error.value)
        assert f"# the line of {name}" in str(error.value) and "test_checks.py" in str(error.value)
    run(x)  # off again


def test_nan_in_a_derivative_only(every_device):
    """The value is a number, its derivative is not: the line is that of the value."""

    def norm(x):
        return jnp.sqrt(jnp.sum(x * x))  # the line

    step = ftiny.jit(ftiny.grad(norm))
    assert np.isnan(step(np.zeros(3, np.float32))).all()
    with ftiny.checks():
        assert float(ftiny.jit(norm)(np.zeros(3, np.float32))) == 0.0
        np.testing.assert_allclose(step(X), X / np.linalg.norm(X), rtol=1e-6)
        with pytest.raises(NanError, match="In the derivative") as error:
            step(np.zeros(3, np.float32))
    assert "# the line" in str(error.value)


def test_nan_that_was_there(every_device):
    """NaN among the arguments, or put there on purpose, is no fault; the first one that comes up is named."""
    x = np.array([1.0, np.nan, 3.0], np.float32)

    def mean(x):
        return jnp.nanmean(jnp.where(x > 2.0, jnp.nan, x))

    with ftiny.checks():
        assert float(ftiny.jit(mean)(x)) == 1.0
        assert np.isnan(ftiny.jit(lambda x: x + 1.0)(x)).sum() == 1
        with pytest.raises(NanError, match="^sqrt -> f32.3. gave NaN in 2 of its elements"):
            ftiny.jit(lambda x: jnp.log(jnp.sqrt(x) * 0.0 - 1.0))(np.array([-1.0, 2.0, -3.0], np.float32))


def test_bounds(every_device):
    """The index, the axis and the line, for reads and writes, by default modes only."""
    reads = {
        "x[i]": lambda x, i: x[i],  # noqa: E501
        "take": lambda x, i: jnp.take(x, i),
        "take_along_axis": lambda x, i: jnp.take_along_axis(x, i, axis=0),
        "set": lambda x, i: x.at[i].set(0.0),
        "add in scan": lambda x, i: lax.scan(lambda c, j: (c.at[j].add(1.0), c[j]), x, i)[0],
        "grad": lambda x, i: ftiny.grad(lambda v: v[i].sum())(x),
        "vmap": lambda x, i: ftiny.vmap(lambda j: x[j])(i),
    }
    good, bad, low = (np.array(i, np.int32) for i in ([0, -4, 3], [1, 7, 2], [0, -5, 1]))
    for name, function in reads.items():
        run = ftiny.jit(function)
        plain = [np.asarray(run(X, i)) for i in (good, bad)]
        with ftiny.checks(nan=False):
            np.testing.assert_array_equal(run(X, good), plain[0])
            with pytest.raises(IndexOutOfBoundsError, match="^index 7 is out of bounds for axis 0 of size 4") as error:
                run(X, bad)
            assert "lambda x, i:" in str(error.value), name
            with pytest.raises(IndexOutOfBoundsError, match="^index -5 .* valid indices are -4 to 3"):
                run(X, low)
            np.testing.assert_array_equal(ftiny.jit(lambda x, i: jnp.take(x, i, mode="clip"))(X, bad), X[[1, 3, 2]])
        np.testing.assert_array_equal(run(X, bad), plain[1])  # off again


def test_narrow_indices(every_device):
    """Indices whose dtype cannot count the whole axis."""
    x = np.arange(300, dtype=np.float32)
    with ftiny.checks():
        for dtype in (np.uint8, np.int8, np.int64, np.uint32):
            assert float(ftiny.jit(lambda i: jnp.asarray(x)[i])(np.array(100, dtype))) == 100.0
        with pytest.raises(IndexOutOfBoundsError, match="index 300 "):
            ftiny.jit(lambda i: jnp.asarray(x)[i])(np.array(300, np.int64))


def test_the_first_fault_is_reported():
    """Of two, the one that comes first in the program."""

    def both(x, i):
        y = x[i]
        return jnp.log(-y)

    with ftiny.checks():
        with pytest.raises(IndexOutOfBoundsError):
            ftiny.jit(both)(X, np.array([9], np.int32))
        with pytest.raises(NanError):
            ftiny.jit(both)(X, np.array([2], np.int32))


def test_a_training_step():
    """A whole step with many operations; donated arguments are kept."""
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(5, 3)).astype("f4"), "b": np.zeros(3, "f4")}
    x, labels = rng.normal(size=(8, 5)).astype("f4"), rng.integers(0, 3, 8)

    def loss(p):
        return -jnp.mean(jnp.take_along_axis(ftiny.nn.log_softmax(x @ p["w"] + p["b"]), labels[:, None], axis=1))

    step = ftiny.jit(lambda p: ftiny.tree.map(lambda v, g: v - g, p, ftiny.grad(loss)(p)), donate_argnums=0)
    with ftiny.checks():
        given = ftiny.tree.map(jnp.asarray, params)
        checked = step(given)
        assert given["w"].shape == (5, 3) and np.isfinite(np.asarray(given["w"])).all()
    for name, value in step(params).items():
        np.testing.assert_allclose(checked[name], value, rtol=1e-5)


def test_nothing_to_check():
    with pytest.raises(ArgumentError, match="checks nothing"):
        with ftiny.checks(bounds=False, nan=False):
            pass
