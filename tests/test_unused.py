"""Arguments that a jitted function does not use: not moved to the device, nor deciding which one."""

from __future__ import annotations

import numpy as np
import pytest
from both import normal

import ftiny
import ftiny.numpy as fnp
from ftiny import errors, lax

X, Y = normal(7), normal(7, seed=1)
# Eight terabytes of one number: whoever copies it runs out of memory.
HUGE = np.broadcast_to(np.zeros(()), (1 << 40,))


@pytest.fixture(params=["numpy", "opencl"])
def here(request, opencl):
    """Every test runs on the interpreter and on compiled kernels."""
    with ftiny.device(request.param) as device:
        yield device


def bytes_of_arguments(function, *args) -> int:
    return function.lower(*args).compile().memory_analysis().arguments


# ---- dropped ------------------------------------------------------------------------------------------------------


def test_unused_arguments_are_not_touched(here):
    f = ftiny.jit(lambda x, unused, y, *, scale, other: x * scale + y)
    for _ in range(2):  # the cold way and the warm one
        np.testing.assert_allclose(f(X, {"a": HUGE}, Y, scale=2.0, other=HUGE), X * 2 + Y, rtol=1e-6)
    assert f.trace_count == 1
    array = fnp.asarray(np.float32([1]))
    ftiny.jit(lambda x, unused: x)(X, array)
    assert array._memory is None


def test_what_no_result_needs_is_unused(here):
    inner = ftiny.jit(lambda x, y: (x + 1, y * 2))

    @ftiny.custom_vjp
    def ruled(x, y):
        return x * 3

    ruled.defvjp(lambda x, y: (x * 3, None), lambda _, ct: (3 * ct, ct))
    dead = ftiny.jit(lambda x, y: (fnp.sin(y), x * 2)[1])
    called = ftiny.jit(lambda x, y: inner(x, y)[0])
    twice = ftiny.jit(lambda x, y: ftiny.jit(called)(x, y))
    for f, expected in ((dead, X * 2), (called, X + 1), (twice, X + 1), (ftiny.jit(lambda x, y: ruled(x, y)), X * 3)):
        np.testing.assert_allclose(f(X, HUGE), expected, rtol=1e-6)
    gradient = ftiny.jit(ftiny.grad(lambda w, x, unused: fnp.sum(fnp.sin(w) * x)))
    np.testing.assert_allclose(gradient(X, Y, HUGE), np.cos(X) * Y, rtol=1e-5)


def test_all_or_none_used(here):
    assert ftiny.jit(lambda x, y: fnp.ones(3))(HUGE, HUGE).tolist() == [1, 1, 1]
    assert ftiny.jit(lambda x: None)(HUGE) is None
    swapped = ftiny.jit(lambda x, y: (y, x))(X, Y)
    np.testing.assert_array_equal(swapped[0], Y)
    np.testing.assert_array_equal(swapped[1], X)


def test_unused_closed_over_arrays_are_not_touched(here):
    table = fnp.asarray(Y)
    f = ftiny.jit(lambda x: (x + table, fnp.add(HUGE, x[0]))[0])
    np.testing.assert_allclose(f(X), X + Y, rtol=1e-6)
    np.testing.assert_allclose(ftiny.jit(lambda x: f(x))(X), X + Y, rtol=1e-6)
    np.testing.assert_allclose(ftiny.grad(lambda x: fnp.sum(f(x)))(X), np.ones(7))


def test_effects_keep_their_arguments(here):
    seen = []
    inner = ftiny.jit(lambda x, y: ftiny.io_callback(lambda value: seen.append(value.copy()), None, y))
    ftiny.jit(lambda x, y, z: (inner(x, y), x * 2)[1])(X, Y, HUGE)
    np.testing.assert_array_equal(seen, [Y])


def test_static_arguments_and_new_shapes(here):
    f = ftiny.jit(lambda x, n, y: x * 2 if n else y, static_argnums=1)
    np.testing.assert_array_equal(f(X, True, HUGE), X * 2)
    np.testing.assert_array_equal(f(HUGE, False, Y), Y)
    np.testing.assert_array_equal(f(X, True, HUGE), X * 2)
    assert f.trace_count == 2
    f(X, True, HUGE[:5])  # an unused argument is part of the key, as in jax
    assert f.trace_count == 3


def test_under_transformations(here):
    f = ftiny.jit(lambda x, unused, y: x * y)
    np.testing.assert_allclose(ftiny.vmap(f, in_axes=(0, None, None))(X, Y, 2.0), X * 2, rtol=1e-6)
    value, gradients = ftiny.value_and_grad(lambda *args: fnp.sum(f(*args)), argnums=(0, 1, 2))(X, Y, X)
    np.testing.assert_allclose(value, np.sum(X * X), rtol=1e-5)
    for found, expected in zip(gradients, (X, 0 * Y, X)):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    total, _ = lax.scan(lambda c, x: (f(c, x, 2.0), None), fnp.ones(7), fnp.ones((3, 2)))
    np.testing.assert_array_equal(total, np.full(7, 8.0))


# ---- donation -----------------------------------------------------------------------------------------------------


def test_donated_and_unused(here):
    f = ftiny.jit(lambda unused, x, y: (x + y, y * 2), donate_argnums=(0, 2))
    for _ in range(2):
        unused, x, y = map(fnp.asarray, (X, X, Y))
        total, double = f(unused, x, y)
        assert unused.is_deleted() and y.is_deleted() and not x.is_deleted()
        np.testing.assert_allclose(total, X + Y, rtol=1e-6)
        np.testing.assert_allclose(double, Y * 2, rtol=1e-6)
    report = f.lower(X, X, Y).compile().donation_report()
    assert report.splitlines()[0] == "argument 0 (f32[7]) is used by no result"
    if here.kind != "numpy":
        assert report.splitlines()[1].startswith("argument 2 (f32[7]) becomes result[")
    only = ftiny.jit(lambda unused, x: x * 2, donate_argnums=0)
    unused = fnp.asarray(X)
    only(unused, Y)
    assert unused.is_deleted()


# ---- devices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [False, True])
def test_an_unused_array_elsewhere(opencl, keep):
    f = ftiny.jit(lambda x, y: x + 1, keep_unused=keep)
    there, elsewhere = ftiny.device_put(X, "opencl"), ftiny.device_put(Y, "numpy")
    if keep:
        with pytest.raises(errors.DeviceError, match="two devices"):
            f(there, elsewhere)
    else:
        result = f(there, elsewhere)
        np.testing.assert_allclose(result, X + 1, rtol=1e-6)
        assert result.device.kind == "opencl" and elsewhere.device.kind == "numpy"
    with ftiny.device("numpy"):
        assert f(X, there).device.kind == ("opencl" if keep else "numpy")


# ---- stages and programs ------------------------------------------------------------------------------------------


def test_keep_unused(opencl):
    def function(x, unused):
        return x * 2

    with ftiny.device("opencl"):
        dropped, kept = ftiny.jit(function), ftiny.jit(function, keep_unused=True)
        assert bytes_of_arguments(dropped, X, Y) == X.nbytes
        assert bytes_of_arguments(kept, X, Y) == X.nbytes + Y.nbytes
        array = fnp.asarray(Y)
        np.testing.assert_array_equal(kept(X, array), X * 2)
        assert array._memory is not None
    decorated = ftiny.jit(keep_unused=True)(function)
    with ftiny.device("opencl"):
        assert bytes_of_arguments(decorated, X, Y) == X.nbytes + Y.nbytes


def test_stages(here):
    traced = ftiny.jit(lambda x, unused: x * 2).trace(X, ftiny.ShapeDtypeStruct((1 << 40,), "float64"))
    assert len(traced.jaxpr.inputs) == 2
    compiled = traced.lower().compile()
    np.testing.assert_array_equal(compiled(X, HUGE), X * 2)
    with pytest.raises(errors.ArgumentError, match="argument 1"):
        compiled(X, HUGE[1:])
    if here.kind == "numpy":
        assert "lambda a:f32[7] ." in compiled.as_text()


def test_programs_that_users_see_are_whole():
    f = ftiny.jit(lambda x, unused: x * 2)
    assert len(f.program(X, Y).inputs) == 2
    inner = ftiny.make_jaxpr(f)(X, Y)
    assert len(inner.inputs) == 2 and len(inner.eqns[0].inputs) == 2


def test_a_leaked_tracer_is_seen_though_unused():
    leaked = []
    ftiny.jit(lambda x: leaked.append(x) or x)(X)
    with pytest.raises(errors.LeakedTracerError):
        ftiny.jit(lambda x, unused: x * 2)(X, leaked[0])
