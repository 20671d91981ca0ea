"""jit: caching, static and donated arguments, closures, threads, programs for people; and its messages."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from both import agree, normal

import ftiny
import ftiny.numpy as fnp
from ftiny import errors, execute

X, Y = normal(3), normal(3, seed=1)


@pytest.fixture(autouse=True)
def interpreter():
    """What is compiled and when does not depend on the device."""
    with ftiny.device("numpy"):
        yield


def message(error, function, *args, **kwargs) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert "test_jit.py" in text
    return text


# ---- tracing and caching ------------------------------------------------------------------------------------------


def test_traced_once_for_shapes_and_dtypes():
    f = ftiny.jit(lambda x: x * 2)
    for x in (X, Y, fnp.asarray(X), X):
        f(x)
    assert f.trace_count == 1
    f(normal(4))
    f(X.astype(np.float64))
    f(2.0)
    f(3.0)
    assert f.trace_count == 4
    f(X), f(2.0), f(normal(4))
    assert f.trace_count == 4


def test_python_numbers_are_arguments_of_their_own_kind():
    f = ftiny.jit(lambda x, rate: x * rate)
    halves = fnp.array(X, "bfloat16")
    assert f(halves, 0.5).dtype == halves.dtype and f(halves, np.float32(0.5)).dtype == np.float32
    assert f.trace_count == 2
    assert f(halves, 0.25).dtype == halves.dtype and f.trace_count == 2
    np.testing.assert_array_equal(f(X, 3), X * 3)


def test_structures_are_part_of_the_key():
    f = ftiny.jit(lambda tree: sum(ftiny.tree.leaves(tree)))
    f((X, Y)), f([X, Y]), f({"a": X, "b": Y}), f((X, (Y,))), f((X, None))
    assert f.trace_count == 5
    f((X, Y)), f((X, (Y,)))
    assert f.trace_count == 5


def test_keywords_and_defaults():
    agree(lambda m: lambda x, y: m.jit(lambda a, b=2.0, *, c: a * b + c)(x, c=y), X, Y)
    f = ftiny.jit(lambda x, y: x - y)
    np.testing.assert_array_equal(f(y=X, x=Y), f(Y, X))


def test_the_program_is_compiled_once():
    known = []
    for factor in (2.0, 2.0, 3.0):
        ftiny.jit(lambda x: fnp.sin(x) * factor)(X)  # noqa: B023  # another function each time
        known.append(len(execute._by_structure))
    assert known[1] == known[0] and known[2] == known[0] + 1
    # On another line it is another program, so that each reports its own lines.
    ftiny.jit(lambda x: fnp.sin(x) * 2.0)(X)
    assert len(execute._by_structure) == known[2] + 1


def test_nested_and_derived_programs_are_not_retraced():
    inner = ftiny.jit(fnp.sin)
    outer = ftiny.jit(lambda x: inner(x) + inner(x * 2))
    outer(X), outer(Y)
    assert inner.trace_count == 1 and outer.trace_count == 1
    f = ftiny.jit(lambda x: fnp.sum(fnp.sin(x) * x))
    for _ in range(3):
        ftiny.grad(f)(X), ftiny.vmap(f)(normal(2, 3)), ftiny.jvp(f, (X,), (Y,))
    assert f.trace_count == 1
    before = len(execute._by_identity)
    ftiny.grad(f)(X)
    assert len(execute._by_identity) == before


def test_closures_are_arguments():
    kept = fnp.asarray(Y)
    f = ftiny.jit(lambda x: x + kept)
    np.testing.assert_array_equal(f(X), X + Y)
    program = f.program(X)
    assert len(program.inputs) == 2 and not program.consts


def test_results_that_are_arguments_or_constants():
    f = ftiny.jit(lambda x, n: (x, x, 1.0, n, fnp.zeros(2), None, {"k": np.arange(2)}))
    a, b, one, n, zeros, none, rest = f(X, 3)
    np.testing.assert_array_equal(a, X)
    np.testing.assert_array_equal(b, X)
    assert one.dtype == np.float32 and n.dtype == np.int32 and none is None and int(n) == 3
    np.testing.assert_array_equal(rest["k"], [0, 1])


def test_an_error_leaves_no_entry():
    calls = []

    def f(x):
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("first")
        return x * 2

    jitted = ftiny.jit(f)
    with pytest.raises(KeyError):
        jitted(X)
    np.testing.assert_array_equal(jitted(X), X * 2)
    assert ftiny.grad(lambda x: x * 2.0)(1.0).item() == 2.0  # the current trace is the eager one again


def test_clear_cache_and_methods():
    class Scale:
        def __init__(self, factor):
            self.factor = factor

        def __hash__(self):
            return hash(self.factor)

        def __eq__(self, other):
            return self.factor == other.factor

        @ftiny.jit(static_argnums=0)
        def __call__(self, x):
            return x * self.factor

    np.testing.assert_array_equal(Scale(2)(X), X * 2)
    np.testing.assert_array_equal(Scale(3)(X), X * 3)
    f = ftiny.jit(fnp.sin)
    f(X)
    f.clear_cache()
    f(X)
    assert f.trace_count == 2


# ---- static arguments ---------------------------------------------------------------------------------------------


def test_static_arguments():
    f = ftiny.jit(lambda x, n, mode="a": x * n if mode == "a" else x + n, static_argnums=1, static_argnames="mode")
    np.testing.assert_array_equal(f(X, 2), X * 2)
    np.testing.assert_array_equal(f(X, 3), X * 3)
    np.testing.assert_array_equal(f(X, 3, mode="b"), X + 3)
    np.testing.assert_array_equal(f(X, 3, "b"), X + 3)
    np.testing.assert_array_equal(f(X, n=2), X * 2)
    f(X, 2), f(X, 3)
    assert f.trace_count == 5  # positional and keyword use are distinct
    g = ftiny.jit(lambda shape, x: fnp.zeros(shape) + x, static_argnums=(0,))
    assert g((2, 3), X).shape == (2, 3) and g((1, 3), X).shape == (1, 3)
    h = ftiny.jit(lambda n: fnp.ones(n), static_argnums=-1)
    assert h(2).shape == (2,)


def test_static_values_of_different_types():
    f = ftiny.jit(lambda n: repr(n) and fnp.asarray(n), static_argnums=0)
    assert f(1).dtype == np.int32 and f(1.0).dtype == np.float32 and f(True).dtype == bool


# ---- donation -----------------------------------------------------------------------------------------------------


def test_donated_arguments():
    f = ftiny.jit(lambda s, x: (s + x, x), donate_argnums=0)
    state = fnp.asarray(X)
    np.testing.assert_allclose(f(state, fnp.asarray(Y))[0], X + Y)
    assert f._last.donated == (0,)
    g = ftiny.jit(lambda p, *, state: (p, state), donate_argnames="state")
    g({"a": fnp.ones(1), "b": fnp.ones(2)}, state=[fnp.ones(3), fnp.ones(4)])
    assert g._last.donated == (2, 3)


def test_a_deleted_array_says_so():
    x = fnp.asarray(X)
    x.delete()
    assert x.is_deleted() and "deleted" in repr(x)
    assert "donate" in message(errors.ArgumentError, lambda: x + 1)
    assert "donate" in message(errors.ArgumentError, ftiny.jit(lambda x: x + 1), x)


# ---- threads ------------------------------------------------------------------------------------------------------


def test_many_threads():
    f = ftiny.jit(ftiny.grad(lambda x: fnp.sum(fnp.sin(x) * x)))
    expected = np.cos(X) * X + np.sin(X)
    failures = []

    def work():
        try:
            with ftiny.device("numpy"):
                for k in range(20):
                    np.testing.assert_allclose(f(X), expected, rtol=1e-5)
                    f(np.ones(k % 4 + 1, np.float32))
        except Exception as problem:  # noqa: BLE001
            failures.append(problem)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# ---- programs for people ------------------------------------------------------------------------------------------


def test_make_jaxpr():
    program = ftiny.make_jaxpr(lambda x: fnp.sin(x) * 2.0)(X)
    ftiny.check_jaxpr(program)
    assert (
        str(program)
        == """\
{ lambda a:f32[3] . let
    b:f32[3] = sin a
    c:f32[3] = mul b 2.0:f32
  in (c,) }"""
    )
    ftiny.check_jaxpr(ftiny.make_jaxpr(ftiny.jit(ftiny.hessian(ftiny.jit(lambda x: fnp.sum(fnp.tanh(x) ** 2)))))(X))


def test_eval_shape():
    out = ftiny.eval_shape(
        lambda x, y: {"p": x @ y, "n": fnp.argmax(x)}, ftiny.ShapeDtypeStruct((4, 3), "float32"), normal(3, 5)
    )
    assert out == {"p": ftiny.ShapeDtypeStruct((4, 5), "float32"), "n": ftiny.ShapeDtypeStruct((), "int32")}


def test_equations_know_their_lines():
    program = ftiny.make_jaxpr(ftiny.grad(lambda x: fnp.sum(fnp.sin(x) * x)))(X)
    assert all(eqn.source.file == __file__ for eqn in program.eqns)
    assert any("transpose" in eqn.source.transforms for eqn in program.eqns)


# ---- messages -----------------------------------------------------------------------------------------------------


def test_wrong_objects():
    f = ftiny.jit(lambda p, x: x, name="step")
    text = message(errors.TracerError, f, {"w": [X, "text"]}, X)
    assert "jit(step)" in text and "argument 0['w'][1]" in text and "static_argnums" in text
    assert "argument 1" in message(errors.TracerError, f, X, object())
    assert "dtype <U4" in message(errors.DtypeError, f, np.array(["text"]), X)
    assert "keyword 'x'" in message(errors.TracerError, f, X, x="text")


def test_unhashable_static_argument():
    text = message(errors.ArgumentError, ftiny.jit(lambda x, sizes: x, static_argnums=1), X, [1, 2])
    assert "hashable" in text and "list" in text and "tuple" in text


def test_names_that_are_no_arguments():
    assert "'mode'" in message(errors.ArgumentError, ftiny.jit, lambda x: x, static_argnames="mode")
    assert "argument 3" in message(errors.ArgumentError, ftiny.jit, lambda x: x, static_argnums=3)
    assert "takes a function" in message(errors.ArgumentError, ftiny.jit, 3)


def test_leaked_from_jit():
    kept = []
    ftiny.jit(lambda x: (kept.append(x), x)[1])(X)
    text = message(errors.LeakedTracerError, ftiny.jit(lambda x: x), kept[0])
    assert "f32[3]" in text
    message(errors.LeakedTracerError, ftiny.jit(lambda y: y + kept[0]), X)


def test_a_tracer_is_no_number():
    f = ftiny.jit(lambda x: np.zeros(int(x)))
    assert "static_argnums" in message(errors.TracerError, f, 3)
    assert "ftiny.numpy" in message(errors.TracerError, ftiny.jit(lambda x: np.asarray(x)), X)
