"""Callbacks and user kernels: values, order, derivatives, batches, loops, dead code, messages."""
from __future__ import annotations

import inspect
import textwrap

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import core, errors, lax
from ftiny.effects import VMAP_METHODS, HostFunction, UserKernel, host_call_p, kernel_p
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.plan_types import Graph, HostCall, check_plan, plan_to_json
from ftiny.lowering.simplify import simplify
from ftiny.transforms.call import barrier

X = np.array([0.5, 1.0, 2.0], np.float32)
MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def device(every_device):
    """The interpreter and compiled programs."""
    return every_device


def like(x, shape=None):
    return ftiny.ShapeDtypeStruct(np.shape(x) if shape is None else shape, x.dtype)


def sine(x, method="sequential"):
    return ftiny.pure_callback(np.sin, x, x, vmap_method=method)


def message(error, function, *args) -> str:
    """The message of the error that a call raises; it names the line in this file."""
    with pytest.raises(error) as caught:
        function(*args)
    assert "test_effects.py" in str(caught.value)
    return str(caught.value)


class Log(list):
    """Remembers what it is called with, as Python numbers and lists."""

    def __call__(self, *values) -> None:
        listed = tuple(np.asarray(v).tolist() for v in values)
        self.append(listed if len(listed) != 1 else listed[0])


# ---- pure_callback --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, ftiny.jit, lambda f: ftiny.jit(ftiny.jit(f))])
def test_pure_callback_between_kernels(wrap):
    found = wrap(lambda x: sine(x * 2) + sine(x) * 3)(X)
    np.testing.assert_allclose(found, np.sin(2 * X) + 3 * np.sin(X), rtol=1e-6)


def test_pytrees_numbers_and_dtypes():
    def statistics(values, scale):
        assert all(isinstance(v, np.ndarray) and not v.flags.writeable for v in (values["x"], scale))
        return {"mean": float(values["x"].mean() * scale), "rows": np.arange(2, dtype=np.int32)}

    out = {"mean": ftiny.ShapeDtypeStruct((), "float32"), "rows": ftiny.ShapeDtypeStruct((2,), "int32")}
    found = ftiny.jit(lambda x: ftiny.pure_callback(statistics, out, {"x": x}, scale=2.0))(X)
    assert found["mean"].dtype == np.float32 and float(found["mean"]) == pytest.approx(7 / 3)
    assert found["rows"].dtype == np.int32 and found["rows"].tolist() == [0, 1]


def test_what_the_function_keeps_or_returns_is_not_shared():
    buffer = np.zeros(3, np.float32)

    def accumulate(x):
        buffer[:] += x
        return buffer

    step = ftiny.jit(lambda x: ftiny.pure_callback(accumulate, x, x))
    first, second = step(X), step(X)
    assert first.tolist() == X.tolist() and second.tolist() == (2 * X).tolist()


def test_dead_and_equal_pure_calls_are_removed():
    def function(x):
        sine(x + 1)
        return [ftiny.pure_callback(np.cos, x, x) + y for y in (1.0, 2.0)]

    program = simplify(core.stage(function, [core.get_aval(X)])).jaxpr
    assert [e.primitive.name for e in program.eqns] == ["host_call", "add", "add"]
    calls = Log()
    ftiny.jit(lambda x: (ftiny.pure_callback(lambda v: (calls(v), v)[1], x, x), x * 2)[1])(X)
    assert calls == [] or ftiny.default_device().kind == "numpy"


def test_pure_callback_prints_its_function():
    assert "host_call[function=pure_callback(sin)" in str(ftiny.make_jaxpr(sine)(X))
    printing = ftiny.make_jaxpr(lambda x: ftiny.debug.print("{}", x))(X)
    assert "\n    host_call[function=debug.print('{}') ordered=False] a\n" in str(printing)


@pytest.mark.parametrize("method,shapes", [
    ("sequential", [((), (3,))] * 2), ("expand_dims", [((2,), (1, 3))]), ("broadcast_all", [((2,), (2, 3))]),
    ("legacy_vectorized", [((2,), (3,))])])
@pytest.mark.parametrize("jitted", [False, True])
def test_vmap_methods(method, shapes, jitted):
    seen = []

    def outer(a, x):
        seen.append((a.shape, x.shape))
        return a[..., None] * x

    function = ftiny.vmap(lambda a, x: ftiny.pure_callback(outer, like(x), a, x, vmap_method=method), in_axes=(0, None))
    found = (ftiny.jit(function) if jitted else function)(X[:2], X)
    np.testing.assert_allclose(found, X[:2, None] * X)
    assert seen == shapes


@pytest.mark.parametrize("method", VMAP_METHODS[:3])  # the legacy one has no nested form
def test_vmap_methods_are_those_of_jax(method):
    import jax

    def calls(library, struct):
        seen = []

        def outer(a, x):
            seen.append((np.shape(a), np.shape(x)))
            return np.asarray(a)[..., None] * np.asarray(x)

        one = lambda a, x: library.pure_callback(outer, struct((3,), np.float32), a, x, vmap_method=method)
        found = library.jit(library.vmap(library.vmap(one, (None, 0)), (0, None)))(X[:2], MATRIX)
        return np.asarray(found).tolist(), sorted(seen)

    assert calls(ftiny, ftiny.ShapeDtypeStruct) == calls(jax, jax.ShapeDtypeStruct)


def test_nested_vmap_of_a_pure_callback():
    for method in ("sequential", "expand_dims", "broadcast_all"):
        def add(a, x):
            return a + x

        def one(a, x, method=method, add=add):
            return ftiny.pure_callback(add, ftiny.ShapeDtypeStruct((), "float32"), a, x, vmap_method=method)

        both = ftiny.jit(ftiny.vmap(ftiny.vmap(one, (None, 0)), (0, None)))
        np.testing.assert_allclose(both(X[:2], X), X[:2, None] + X)


def test_vmap_needs_a_method():
    text = message(errors.RuleError, ftiny.vmap(lambda x: sine(x, None)), MATRIX)
    assert "pure_callback(sin)" in text and "vmap_method='sequential'" in text
    text = message(errors.ArgumentError, lambda: sine(X, "parallel"))
    assert "'parallel'" in text and "expand_dims" in text


def test_a_derivative_needs_a_rule():
    text = message(errors.RuleError, ftiny.grad(lambda x: fnp.sum(sine(x))), X)
    assert "custom_jvp" in text and "stop_gradient" in text

    @ftiny.custom_jvp
    def f(x):
        return sine(x)

    @f.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return f(x), t * ftiny.pure_callback(np.cos, x, x, vmap_method="sequential")

    loss = lambda x: fnp.sum(f(x) ** 2)
    expected = 2 * np.sin(X) * np.cos(X)
    np.testing.assert_allclose(ftiny.jit(ftiny.grad(loss))(X), expected, rtol=1e-5)
    np.testing.assert_allclose(ftiny.grad(ftiny.jit(loss))(X), expected, rtol=1e-5)
    np.testing.assert_allclose(ftiny.jit(ftiny.vmap(ftiny.grad(loss)))(np.stack([X, X])), [expected] * 2, rtol=1e-5)
    # What is not differentiated needs no rule.
    stopped = ftiny.grad(lambda x: fnp.sum(x * sine(lax.stop_gradient(x))))
    np.testing.assert_allclose(stopped(X), np.sin(X), rtol=1e-6)


def test_results_must_be_as_declared():
    def declared(function, out=X):
        return ftiny.jit(lambda x: ftiny.pure_callback(function, out, x))

    assert "shape (2,)" in message(errors.ShapeError, declared(lambda x: x[:2]), X)
    assert "float64" in message(errors.DtypeError, declared(lambda x: x.astype("float64")), X)
    assert "structure" in message(errors.ArgumentError, declared(lambda x: (x, x)), X)
    assert "ShapeDtypeStruct" in message(errors.ArgumentError, declared(np.sin, [3]), X)
    assert "not an array" in message(errors.TracerError, lambda: ftiny.pure_callback(np.sin, X, "x"))
    assert "takes a function" in message(errors.ArgumentError, lambda: ftiny.pure_callback(3, X, X))


@pytest.mark.parametrize("jitted", [False, True])
def test_an_error_inside_is_chained(jitted):
    def boom(x):
        raise KeyError("inside")

    def function(x):
        return ftiny.io_callback(boom, x, x) + 1

    function = ftiny.jit(function) if jitted else function
    for _ in range(2):  # the program can be run again after an error
        with pytest.raises(errors.CallbackError, match=r"io_callback\(boom\) raised KeyError") as caught:
            function(X)
        assert isinstance(caught.value.__cause__, KeyError)
        assert "test_effects.py" in str(caught.value)


def test_a_callback_may_use_ftiny():
    double = ftiny.jit(lambda x: x * 2)
    found = ftiny.jit(lambda x: ftiny.pure_callback(lambda v: np.asarray(double(v)), x, x) + 1)(X)
    assert found.tolist() == (2 * X + 1).tolist()


# ---- io_callback and order ------------------------------------------------------------------------------------------


def test_ordered_calls_keep_the_order_of_the_program():
    log = Log()

    @ftiny.jit
    def program(x):
        total = fnp.sum(x)
        ftiny.io_callback(lambda: log.append("first"), None, ordered=True)
        ftiny.debug.callback(log, total * 2, ordered=True)
        y = fnp.sum(x @ fnp.ones((3, 3)))
        ftiny.debug.callback(log, y, ordered=True)
        ftiny.io_callback(lambda t: log.append("last"), None, total, ordered=True)
        return x

    for _ in range(2):
        assert program(X).tolist() == X.tolist()
    assert log == ["first", 7.0, 10.5, "last"] * 2


def test_calls_with_effects_are_neither_merged_nor_removed():
    log = Log()

    @ftiny.jit
    def program(x):
        for _ in range(3):
            ftiny.io_callback(log, None, x)
        return 1.0

    program(np.float32(2))
    assert log == [2.0, 2.0, 2.0]
    eqns = program.program(np.float32(2)).eqns
    assert [e.effects for e in eqns] == [frozenset({"host"})] * 3


def test_results_of_io_callbacks():
    numbers = iter(range(100))
    draw = lambda: ftiny.io_callback(lambda: np.int32(next(numbers)), ftiny.ShapeDtypeStruct((), "int32"), ordered=True)
    program = ftiny.jit(lambda: (draw(), draw(), draw()))
    assert [tuple(map(int, program())) for _ in range(2)] == [(0, 1, 2), (3, 4, 5)]


@pytest.mark.parametrize("reverse", [False, True])
def test_calls_inside_a_scan(reverse):
    log = Log()

    @ftiny.jit
    def program(x):
        def body(carry, v):
            ftiny.debug.callback(log, carry, v, ordered=True)
            return carry + v, None

        return lax.scan(body, np.float32(0), x, reverse=reverse)[0]

    assert float(program(X)) == 3.5
    assert log == ([(0.0, 2.0), (2.0, 1.0), (3.0, 0.5)] if reverse else [(0.0, 0.5), (0.5, 1.0), (1.5, 2.0)])
    log.clear()
    np.testing.assert_allclose(ftiny.grad(program)(X), np.ones(3))
    assert len(log) == 3


def test_a_loop_of_nothing_but_effects_runs():
    log = Log()
    ftiny.jit(lambda n: lax.fori_loop(0, 3, lambda i, c: ftiny.debug.callback(log, i), None))(1)
    assert log == [0, 1, 2]


def test_calls_inside_while_and_cond():
    log = Log()

    @ftiny.jit
    def program(x):
        def body(v):
            ftiny.debug.callback(log, v)
            return v * 2

        y = lax.while_loop(lambda v: v < 8, body, x)
        return lax.cond(y > 8, lambda v: (ftiny.debug.callback(log, "big", v), v)[1], lambda v: v - 1, y)

    assert float(program(np.float32(3))) == 12.0 and log == [3.0, 6.0, ("big", 12.0)]
    log.clear()
    assert float(program(np.float32(2))) == 7.0 and log == [2.0, 4.0]
    log.clear()
    assert float(ftiny.jvp(program, (np.float32(3),), (np.float32(1),))[1]) == 4.0
    assert log == [3.0, 6.0, ("big", 12.0)]
    log.clear()
    out, push = ftiny.linearize(program, np.float32(3))
    assert float(push(np.float32(1))) == 4.0 and log == [3.0, 6.0, ("big", 12.0)]


def test_vmap_of_io_callbacks():
    log = Log()

    def square(x):
        log(x)
        return x * x

    def function(x, ordered=False):
        return ftiny.io_callback(square, ftiny.ShapeDtypeStruct((), "float32"), x, ordered=ordered)

    assert ftiny.jit(ftiny.vmap(function))(X).tolist() == [0.25, 1.0, 4.0] and log == X.tolist()
    text = message(errors.RuleError, ftiny.vmap(lambda x: function(x, True)), X)
    assert "ordered" in text and "lax.map" in text
    found = ftiny.jit(lambda x: lax.map(lambda v: function(v, True), x))(X)
    assert found.tolist() == [0.25, 1.0, 4.0]
    assert "custom_jvp" in message(errors.RuleError, ftiny.grad(function), np.float32(1))


# ---- debug ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, ftiny.jit])
def test_print(wrap, capsys):
    def function(x):
        ftiny.debug.print("x is {}, {name} {total:.2f}{{}}", x, name="sum", total=fnp.sum(x))
        return x

    wrap(function)(X)
    assert capsys.readouterr().out == "x is [0.5 1.  2. ], sum 3.50{}\n"


def test_print_under_grad_and_vmap(capsys):
    def function(x):
        ftiny.debug.print("x={}", x)
        return x * x

    assert ftiny.jit(ftiny.grad(function))(3.0) == 6.0
    assert capsys.readouterr().out == "x=3.0\n"
    assert ftiny.vmap(ftiny.jit(ftiny.grad(function)))(X).tolist() == (2 * X).tolist()
    assert capsys.readouterr().out == "x=0.5\nx=1.0\nx=2.0\n"
    ftiny.jit(ftiny.vmap(lambda row: fnp.sum(ftiny.vmap(function)(row))))(MATRIX)
    assert capsys.readouterr().out.split() == [f"x={v}" for v in MATRIX.ravel()]


@pytest.mark.parametrize("policy", [None, ftiny.save_everything])
def test_a_checkpoint_prints_once(policy, capsys):
    @ftiny.jit
    def inner(x):
        ftiny.debug.print("inner {}", x)
        return fnp.sin(x)

    def function(x):
        y = inner(x)
        ftiny.debug.print("y {:.1f}", y)
        return fnp.sin(y)

    value = ftiny.jit(ftiny.grad(ftiny.checkpoint(function, policy)))(0.0)
    assert float(value) == 1.0 and capsys.readouterr().out == "inner 0.0\ny 0.0\n"


def test_a_checkpoint_does_not_repeat_io():
    count = Log()

    def function(x):
        factor = ftiny.io_callback(lambda: (count(1), np.float32(2))[1], ftiny.ShapeDtypeStruct((), "float32"))
        return fnp.sin(x * factor)

    assert "checkpoint" in message(errors.RuleError, ftiny.grad(ftiny.checkpoint(function)), 1.0)
    count.clear()
    kept = ftiny.jit(ftiny.grad(ftiny.checkpoint(function, ftiny.save_everything)))
    assert float(kept(0.0)) == 2.0 and len(count) == 1


def test_a_format_is_checked_when_traced():
    for arguments in (("{} {}", 1), ("{y}", 1), ("f", 1), ("{", 1)):
        assert "does not fit" in message(errors.ArgumentError, ftiny.debug.print, *arguments)


def test_debug_is_still_the_level_of_the_log(capfd):
    with ftiny.debug(1):
        ftiny.jit(lambda x: sine(x) * 4)(X)
    lines = capfd.readouterr().err
    assert ftiny.default_device().kind == "numpy" or "on the host: host_call" in lines


# ---- what the compiler sees -----------------------------------------------------------------------------------------


def test_plan_and_equality_of_host_calls(device):
    if device == "numpy":
        pytest.skip("the interpreter has no plans")
    program = simplify(ftiny.make_jaxpr(lambda x: fnp.exp(sine(x + 1)))(X)).jaxpr
    plan = Compiler(ftiny.default_device().capabilities).plan(program)
    assert [type(step) for step in plan.steps] == [Graph, HostCall, Graph]
    with pytest.raises(ValueError, match="cannot be written"):
        plan_to_json(plan)
    make = lambda f: HostFunction("pure_callback", f, None, (), None, (), core.current_source())
    unhashable = Log()
    first, second, third, fourth = make(np.sin), make(np.sin), make(np.cos), make(unhashable)
    assert first == second != third and hash(first) == hash(second) and fourth == make(unhashable) != make(Log())


def test_rules_that_can_not_be():
    host = HostFunction("debug.callback", print, None, (), None, (), core.current_source())
    for rule in (host_call_p.transpose, host_call_p.factors, kernel_p.transpose, kernel_p.factors):
        with pytest.raises(errors.RuleError):
            rule()
    assert host_call_p.effects({"function": host, "ordered": True}) == {"host", "ordered"}


def test_a_barrier_through_all_transformations():
    def function(x):
        y, z = barrier(fnp.sin(x), x)
        return fnp.sum(y * z)

    expected = np.cos(X) * X + np.sin(X)
    np.testing.assert_allclose(ftiny.jit(ftiny.grad(function))(X), expected, rtol=1e-5)
    np.testing.assert_allclose(ftiny.vmap(ftiny.grad(function))(np.stack([X, X])), [expected] * 2, rtol=1e-5)
    np.testing.assert_allclose(ftiny.jvp(function, (X,), (X,))[1], expected @ X, rtol=1e-5)
    second = np.diag(2 * np.cos(X) - X * np.sin(X))
    np.testing.assert_allclose(ftiny.hessian(function)(X), second, atol=1e-5)


def test_a_barrier_fences():
    program = core.stage(lambda x: [fnp.sin(x) + fnp.sin(barrier(x)[0]) * fnp.sin(x)], [core.get_aval(X)])
    names = [e.primitive.show(e.params) for e in simplify(program).jaxpr.eqns]
    assert names.count("sin") == 2 and "barrier" not in names


# ---- user kernels ---------------------------------------------------------------------------------------------------


SCALED = {
    "opencl": """
        #define PLUS(a, b) ((a) + (b))
        float helper(float v) { return v * v; }
        __kernel void scaled(__global const float* x, __global const float* a, __global float* y) {
            int i = get_global_id(0);
            if (i < 1000) y[i] = PLUS(helper(x[i]), a[0]);
        }""",
    "cuda": """
        #define PLUS(a, b) ((a) + (b))
        __device__ float helper(float v) { return v * v; }
        extern "C" __global__ void scaled(const float* x, const float* a, float* y) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < 1000) y[i] = PLUS(helper(x[i]), a[0]);
        }""",
}
LONG = np.linspace(-1, 1, 1000, dtype=np.float32)


def scaled_kernel(source=SCALED, **options):
    options = {"reference": lambda x, a: x * x + a, **options}
    return ftiny.kernel(source, like(LONG), grid=16, block=64, **options)


def test_kernel_among_fused_neighbours(device):
    scaled = scaled_kernel()
    program = lambda x, a: fnp.sum(scaled(fnp.exp(x) * 2, a + 1) - 1)
    expected = np.sum(4 * np.exp(2 * LONG.astype("f8")) + 3)
    np.testing.assert_allclose(ftiny.jit(program)(LONG, np.float32(3)), expected, rtol=1e-5)
    np.testing.assert_allclose(program(LONG, 3.0), expected, rtol=1e-5)
    if device == "numpy":
        return
    jaxpr = simplify(ftiny.make_jaxpr(program)(LONG, np.float32(3))).jaxpr
    plan = check_plan(Compiler(ftiny.default_device().capabilities).plan(jaxpr))
    (graph,) = plan.steps
    assert [plan.kernels[launch.kernel].name for launch in graph.launches].count("scaled") == 1
    assert isinstance(graph, Graph) and 3 <= len(graph.launches) <= 4


def test_kernel_with_a_literal_argument_and_two_results():
    source = {
        "opencl": """__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
            void pair(__global const float* x, __global const float* a, __global float* up, __global int* down) {
                int i = get_group_id(0), j = get_group_id(1);
                up[2 * i + j] = x[2 * i + j] + a[0];
                down[2 * i + j] = i - j;
            }""",
        "cuda": """extern "C" __global__ void __launch_bounds__(1)
            pair(const float* x, const float* a, float* up, int* down) {
                int i = blockIdx.x, j = blockIdx.y;
                up[2 * i + j] = x[2 * i + j] + a[0];
                down[2 * i + j] = i - j;
            }"""}
    out = [ftiny.ShapeDtypeStruct((3, 2), "float32"), ftiny.ShapeDtypeStruct((3, 2), "int32")]
    table = np.subtract.outer(np.arange(3), np.arange(2)).astype("i4")
    pair = ftiny.kernel(source, out, grid=(3, 2), reference=lambda x, a: [x + a, table])
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for function in (pair, ftiny.jit(pair), ftiny.jit(lambda x, a: pair(x, 10.0))):
        up, down = function(x, 10.0)
        assert up.tolist() == (x + 10).tolist() and down.tolist() == table.tolist()
    # A result that nobody needs, and a kernel that nobody needs.
    assert ftiny.jit(lambda x: pair(x, 1.0)[1])(x).tolist() == table.tolist()
    unused = simplify(ftiny.make_jaxpr(lambda x: (pair(x, 1.0), x)[1])(x)).jaxpr
    assert not unused.eqns


def test_kernel_in_loops_and_vmap():
    scaled = scaled_kernel()
    batch = np.stack([LONG, 2 * LONG])
    expected = batch**2 + X[:2, None]
    np.testing.assert_allclose(ftiny.jit(ftiny.vmap(scaled))(batch, X[:2]), expected, rtol=1e-6)
    np.testing.assert_allclose(ftiny.vmap(scaled, in_axes=(1, 0))(batch.T, X[:2]), expected, rtol=1e-6)
    np.testing.assert_allclose(ftiny.vmap(scaled, in_axes=(0, None))(batch, 1.0), batch**2 + 1, rtol=1e-6)
    nested = ftiny.jit(ftiny.vmap(ftiny.vmap(scaled, (None, 0)), (0, None)))(batch, X[:2])
    np.testing.assert_allclose(nested, (batch**2)[:, None] + X[:2, None], rtol=1e-6)
    twice = ftiny.jit(lambda x: lax.fori_loop(0, 2, lambda i, v: scaled(v, 0.5), x))(LONG)
    np.testing.assert_allclose(twice, (LONG**2 + 0.5) ** 2 + 0.5, rtol=1e-5)


def test_kernel_with_a_derivative():
    scaled = scaled_kernel()
    assert "custom_vjp" in message(errors.RuleError, ftiny.grad(lambda x: fnp.sum(scaled(x, 1.0))), LONG)

    @ftiny.custom_vjp
    def f(x):
        return scaled(x, 1.0)

    f.defvjp(lambda x: (f(x), x), lambda x, ct: (2 * x * ct,))
    found = ftiny.jit(ftiny.grad(lambda x: fnp.sum(f(x) * 3)))(LONG)
    np.testing.assert_allclose(found, 6 * LONG, rtol=1e-5, atol=1e-6)


def test_two_kernels_may_use_the_same_names(device):
    if device == "numpy":
        pytest.skip("names clash only in compiled text")
    other = {dialect: text.replace("v * v", "v + v") for dialect, text in SCALED.items()}
    both = ftiny.jit(lambda x: scaled_kernel()(x, 0.0) + scaled_kernel(other)(x, 0.0))
    np.testing.assert_allclose(both(LONG), LONG**2 + 2 * LONG, rtol=1e-5, atol=1e-6)


def test_a_device_without_text_uses_the_reference_or_says_so(device):
    other = "opencl" if device == "cuda" else "cuda"
    foreign = {other: SCALED[other]}
    found = ftiny.jit(scaled_kernel(foreign))(LONG, np.float32(2))
    np.testing.assert_allclose(found, LONG**2 + 2, rtol=1e-6)
    with pytest.raises(errors.DeviceError, match=rf"scaled is written in {other}.*reference="):
        ftiny.jit(scaled_kernel(foreign, reference=None))(LONG, 2.0)
    with ftiny.device("numpy"), pytest.raises(errors.DeviceError, match="run on numpy"):
        scaled_kernel(reference=None)(LONG, 2.0)


def test_messages_of_kernels():
    def make(source, grid=1, out=X, **options):
        return lambda: ftiny.kernel(source, out, grid=grid, **options)

    good = "__kernel void f(__global float* y) { y[0] = 1; }"
    assert "holds 0" in message(errors.ArgumentError, make("void f() {}"))
    assert "holds 2" in message(errors.ArgumentError, make(good + good))
    assert "'int n'" in message(errors.ArgumentError, make("kernel void f(__global float* y, int n) {}"))
    assert 'extern "C"' in message(errors.ArgumentError, make("__global__ void f(float* y) {}"))
    assert "dict" in message(errors.ArgumentError, make({"metal": good}))
    assert "grid" in message(errors.ArgumentError, make(good, grid=(1, 2, 3, 4)))
    assert "block" in message(errors.ArgumentError, make(good, block=0))
    for out in ("x", (), {"y": X}, [[X]]):
        assert "ShapeDtypeStruct" in message(errors.ArgumentError, make(good, out=out))
    assert "reference" in message(errors.ArgumentError, make(good, reference=3))
    text = message(errors.ArgumentError, make(good)(), X)
    assert "1 parameters" in text and "1 arrays" in text
    # A comment is no kernel, and a parameter may have commas inside parentheses.
    spelled = "// __kernel void g()\n__kernel void f(__global float* __attribute__((aligned(4), unused)) y) {}"
    assert repr(ftiny.kernel(spelled, X, grid=1)) == "<kernel f>"


def test_a_kernel_that_does_not_compile_is_named(device):
    if device != "opencl":
        pytest.skip("an error of OpenCL's compiler")
    broken = ftiny.kernel("__kernel void broken(__global float* y) { y[0] = nothing; }", X, grid=1)
    with pytest.raises(errors.DeviceError, match="does not compile kernel broken"):
        ftiny.jit(broken)()


def test_the_example_of_the_docstring():
    example = textwrap.dedent(inspect.getdoc(ftiny.kernel).split("custom_jvp`.\n\n")[1].split("\n\nRaises")[0])
    *lines, last = example.splitlines()
    space = {"ftiny": ftiny, "np": fnp, "numpy": np}
    exec("\n".join(lines), space)
    expression, expected = last.split("  # ")
    if ftiny.default_device().kind != "cuda":
        assert float(eval(expression, space)) == float(expected)


def test_equal_kernels_are_one_program():
    first, second = (scaled_kernel(reference=None)._source for _ in range(2))
    assert isinstance(first, UserKernel) and first == second and hash(first) == hash(second)
