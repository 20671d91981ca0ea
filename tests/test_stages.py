"""The stages of a jitted function, why functions are traced again, and stepping out of tracing."""
from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import errors, lax

X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)
SHAPE = ftiny.ShapeDtypeStruct((4, 4), "float32")


def message(error, function, *args, **kwargs) -> str:
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert "test_stages.py" in str(caught.value)
    return str(caught.value)


def layer(params, x):
    return {"y": fnp.tanh(x @ params["w"]) + 1.0}


# ---- stages -------------------------------------------------------------------------------------------------------


def test_traced_from_shapes_alone():
    traced = ftiny.jit(layer).trace({"w": SHAPE}, SHAPE)
    assert traced.out_info == {"y": SHAPE}
    assert [e.primitive.name for e in traced.jaxpr.eqns] == ["contract", "math", "add"]
    assert repr(traced) == "<layer, traced for f32[4,4], f32[4,4]>"


def test_lowered_shows_kernels_and_their_cost(opencl):
    with ftiny.device("opencl"):
        lowered = ftiny.jit(layer).lower({"w": SHAPE}, x=SHAPE)
        cost = lowered.cost_analysis()
        assert "__kernel" in lowered.as_text() and "contract" in lowered.as_text()
        assert cost["flops"] >= 2 * 4**3 and cost["bytes accessed"] == 3 * 64 and cost["launches"] == 1
        looped = ftiny.jit(lambda x: lax.scan(lambda c, _: (c @ x, None), x, None, length=5)[0]).lower(SHAPE)
        assert looped.cost_analysis()["flops"] >= 5 * 2 * 4**3
        branching = ftiny.jit(lambda i, x: lax.switch(i, [lambda x: x, lambda x: x @ x], x)).lower(1, SHAPE)
        assert branching.cost_analysis()["flops"] >= 2 * 4**3


@pytest.mark.parametrize("device", ["numpy", "opencl"])
def test_compiled_runs_what_a_call_runs(device, opencl):
    with ftiny.device(device):
        function = ftiny.jit(layer)
        compiled = function.lower({"w": X}, X).compile()
    expected = np.tanh(X @ X) + 1
    np.testing.assert_allclose(compiled({"w": X}, X)["y"], expected, rtol=1e-5)
    with ftiny.device(device):
        np.testing.assert_allclose(function({"w": X}, X)["y"], expected, rtol=1e-5)
    assert function.trace_count == 1 and device in repr(compiled)


def test_compiled_takes_nothing_else():
    with ftiny.device("numpy"):
        compiled = ftiny.jit(lambda x, n: x * n, static_argnames="n").lower(X, n=3).compile()
        assert compiled(X, n=3).shape == (4, 4)
        text = message(errors.ArgumentError, compiled, X[:2], n=3)
        assert "f32[4,4] as argument 0" in text and "f32[2,4]" in text
        assert "'n' = 4" in message(errors.ArgumentError, compiled, X, n=4)
        assert "structure" in message(errors.ArgumentError, compiled, {"x": X}, n=3)


def test_memory_and_what_became_of_donated_arguments(opencl):
    def step(params, gradient):
        return {"w": params["w"] - 0.1 * gradient["w"], "rest": fnp.sum(params["b"])}

    with ftiny.device("opencl"):
        arguments = {"w": SHAPE, "b": SHAPE}, {"w": SHAPE}
        compiled = ftiny.jit(step, donate_argnums=0).lower(*arguments).compile()
        memory = compiled.memory_analysis()
        assert (memory.arguments, memory.results, memory.aliases) == (3 * 64, 64 + 4, 64)
        report = compiled.donation_report().splitlines()
        assert report == ["argument 0['b'] (f32[4,4]) is used by no result",
                          "argument 0['w'] (f32[4,4]) becomes result['w']"]
        assert ftiny.jit(step).lower(*arguments).compile().donation_report() == "nothing is donated"


def test_a_function_over_tracers_is_not_lowered_inside():
    def outer(x):
        ftiny.jit(lambda y: x * y).lower(2.0)
        return x

    assert "lower it outside" in message(errors.ArgumentError, ftiny.grad(outer), 1.0)


def test_inlined():
    inner = ftiny.jit(fnp.sin, inline=True)
    assert [e.primitive.name for e in ftiny.make_jaxpr(lambda x: inner(x) * 2)(X).eqns] == ["math", "mul"]


# ---- traced again -------------------------------------------------------------------------------------------------


def test_why_a_function_was_traced_again():
    ftiny.explain_retraces(clear=True)
    double = ftiny.jit(lambda x, n=1: {"y": x["a"] * 2}, static_argnames="n")
    with ftiny.device("numpy"):
        for x in (X, X, X[:2], X.astype("float64"), 1.0):
            double({"a": x})
        double({"a": X}, n=2)
        double({"a": X, "b": X})
    found = ftiny.explain_retraces()
    assert [r.reason for r in found] == [
        "argument 0['a'] was f32[4,4], is f32[2,4]",
        "argument 0['a'] was f32[4,4], is f64[4,4]",
        "argument 0['a'] was f32[4,4], is a Python number (float32)",
        "static argument 'n' was missing, is 2",
        found[4].reason,
    ]
    assert "structure" in found[4].reason and "'b'" in found[4].reason
    assert "<lambda> was traced again, called at test_stages.py:" in str(found)
    assert str(ftiny.explain_retraces(clear=True)) == str(found)
    assert str(ftiny.explain_retraces()) == "nothing was traced twice"


def test_jit_applied_in_a_loop_is_told():
    ftiny.explain_retraces(clear=True)
    with ftiny.device("numpy"):
        for _ in range(2):
            ftiny.jit(ftiny.grad(fnp.sum))(X)
        ftiny.jit(ftiny.grad(fnp.mean))(X)
    (found,) = ftiny.explain_retraces(clear=True)
    assert "jit was applied anew" in found.reason


# ---- out of tracing -----------------------------------------------------------------------------------------------


def test_disable_jit_runs_python():
    def absolute(x):
        return x if x > 0 else -x

    with ftiny.device("numpy"), ftiny.disable_jit():
        assert float(ftiny.jit(absolute)(-3.0)) == 3.0
        assert ftiny.jit(ftiny.grad(fnp.sum))(X).shape == (4, 4)
    assert "concrete" in message(errors.TracerError, ftiny.jit(absolute), -3.0)


def test_values_at_trace_time():
    @ftiny.jit
    def function(x):
        with ftiny.ensure_compile_time_eval():
            largest = int((fnp.arange(8) ** 2).max())
        return x * largest

    with ftiny.device("numpy"):
        assert float(function(2.0)) == 98.0

        def mixed(x):
            with ftiny.ensure_compile_time_eval():
                return x + 1

        assert "test_stages.py" in message(errors.LeakedTracerError, ftiny.jit(mixed), 1.0)


# ---- closures -----------------------------------------------------------------------------------------------------


def test_closure_convert():
    def function(slope):
        converted, closed_over = ftiny.closure_convert(lambda x: slope * x["a"] + X[0, 0], {"a": 1.0})
        return converted({"a": 2.0}, *closed_over)

    with ftiny.device("numpy"):
        assert float(ftiny.jit(ftiny.grad(function))(3.0)) == 2.0
        converted, closed_over = ftiny.closure_convert(lambda x: x + X, X)
        assert len(closed_over) == 1
        np.testing.assert_array_equal(converted(X, *closed_over), 2 * X)
        assert "1 closed-over" in message(errors.ArgumentError, converted, X)


def test_custom_gradient():
    @ftiny.custom_gradient
    def clipped(x):
        return x * x, lambda cotangent: cotangent * fnp.clip(2 * x, -1, 1)

    with ftiny.device("numpy"):
        assert float(clipped(3.0)) == 9.0
        assert float(ftiny.grad(clipped)(3.0)) == 1.0 and float(ftiny.jit(ftiny.grad(clipped))(0.25)) == 0.5
        np.testing.assert_allclose(ftiny.vmap(ftiny.grad(clipped))(X[0]), np.clip(2 * X[0], -1, 1), rtol=1e-6)
        two = ftiny.custom_gradient(lambda x, y: (x * y, lambda ct: (ct * 7, ct * 8)))
        assert [float(g) for g in ftiny.grad(two, argnums=(0, 1))(2.0, 3.0)] == [7.0, 8.0]
        assert "pair" in message(errors.ArgumentError, ftiny.custom_gradient(lambda x: x), 1.0)


# ---- loops with a bound -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["numpy", "opencl"])
def test_a_while_loop_with_a_bound_has_a_gradient(device, opencl):
    def power(x, n, steps):
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * x), (0, 1.0), max_steps=steps)[1]

    with ftiny.device(device):
        gradient = ftiny.jit(ftiny.grad(power), static_argnums=2)
        assert float(gradient(2.0, 5, 8)) == 80.0 and float(gradient(2.0, 0, 8)) == 0.0
        assert float(power(2.0, 100, 3)) == 8.0
    with ftiny.device("numpy"):
        counts = ftiny.vmap(ftiny.grad(power), (0, 0, None))(np.float32([2, 3]), np.int32([5, 3]), 8)
        np.testing.assert_allclose(counts, [80, 27])
        assert "max_steps" in message(errors.ArgumentError, power, 2.0, 5, -1)
        unbounded = ftiny.grad(lambda x: power(x, 5, None))
        assert "max_steps=" in message(errors.RuleError, unbounded, 2.0)


@pytest.mark.parametrize("name,saved", [
    ("everything_saveable", 3), ("nothing_saveable", 0), ("dots_saveable", 2),
    ("dots_with_no_batch_dims_saveable", 1)])
def test_checkpoint_policies_under_the_names_of_jax(name, saved):
    x = np.stack([X, X])

    def function(w):
        return fnp.sum(fnp.sin(fnp.matmul(x @ w, x)))  # the first product has no batch axis, the second has one

    policy = getattr(ftiny.checkpoint_policies, name)
    with ftiny.device("numpy"):
        program = ftiny.make_jaxpr(ftiny.grad(ftiny.checkpoint(function, policy)))(X)
        found = ftiny.jit(ftiny.grad(ftiny.checkpoint(function, policy)))(X)
        np.testing.assert_allclose(found, ftiny.grad(function)(X), rtol=1e-4)
    text = str(program)
    assert text.count("contract[") == (4 + 2 - min(saved, 2)) or saved > 2
