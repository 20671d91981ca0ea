"""The whole lowering on PoCL: values against the interpreter, kernels shared, cost linear in the program."""

from __future__ import annotations

import sys
from functools import partial

import ml_dtypes
import numpy as np
import pytest
from compiling import check_compiled, conv_arguments, conv_step, mlp_arguments, mlp_step, program_of
from running import CPU

import ftiny.numpy as fnp
from ftiny import folds, indexing
from ftiny.contraction import Direct, Window, make_spec, transpose_spec
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.plan_cache import plan_key
from ftiny.lowering.profile import debug
from ftiny.lowering.simplify import simplify
from ftiny.transforms.control import cond, while_loop
from ftiny.transforms.grad import grad
from ftiny.transforms.jit import jit
from ftiny.transforms.scan import scan

pytestmark = pytest.mark.usefixtures("opencl")
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(5, 7)).astype(np.float32)


def test_mlp_step():
    check_compiled(mlp_step, *mlp_arguments())


def test_mlp_step_in_place():
    arguments = mlp_arguments()
    check_compiled(mlp_step, *arguments, donated=tuple(range(12)))


def test_conv_step():
    check_compiled(conv_step, *conv_arguments(), tolerance=1e-3)


@pytest.mark.parametrize("op", ["sum", "prod", "min", "max", "argmin", "argmax"])
def test_reductions(op):
    check_compiled(lambda x: [folds.reduce_axes(x, axes, op) for axes in ((0,), (1,), (0, 1))], X)


@pytest.mark.parametrize("op", ["and", "or", "xor"])
def test_bitwise_reductions(op):
    check_compiled(lambda x: [folds.reduce_axes(x, axes, op) for axes in ((0,), (1,))], (X * 9).astype("i4"))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("op", ["sum", "max", "logsumexp"])
def test_cumulations(op, reverse):
    check_compiled(lambda x: [folds.cumulate(x, op, axis, reverse) * 2 for axis in (0, 1)], X)


def test_nan_wins_and_the_first_of_equals():
    x = np.array([[1, np.nan, 2, np.nan], [3, 3, 1, 3]], np.float32)
    check_compiled(lambda x: (fnp.argmax(x, axis=1), fnp.argmin(x, axis=1), x.max(axis=1), fnp.sort(x, axis=1)), x)


@pytest.mark.parametrize("stride, pad, size", [(1, 0, 9), (2, 0, 9), (2, 1, 8), (3, 1, 12)])
def test_convolutions_and_their_gradients(stride, pad, size):
    out = (size + 2 * pad - 3) // stride + 1
    axes = [Direct(0), Window(1, 4, stride, 1, pad), Window(2, 5, stride, 1, pad), Direct(3)]
    spec = make_spec([axes, [Direct(4), Direct(5), Direct(3), Direct(6)]], [0, 1, 2, 6],
                     {0: 2, 1: out, 2: out, 3: 3, 4: 3, 5: 3, 6: 5})
    x, w = DRAW.normal(size=(2, size, size, 3)).astype("f4"), DRAW.normal(size=(3, 3, 3, 5)).astype("f4")
    ct = DRAW.normal(size=spec.output_shape).astype("f4")
    of_x, _ = transpose_spec(spec, 0, x.shape)
    of_w, _ = transpose_spec(spec, 1, w.shape)
    check_compiled(lambda x, w, ct: (folds.contract(x, w, spec), folds.contract(ct, w, of_x),
                                     folds.contract(ct, x, of_w)), x, w, ct)


@pytest.mark.parametrize("window, stride, pad", [(2, 2, 0), (3, 2, 1), (5, 3, 1)])
def test_pooling(window, stride, pad):
    out = (9 + 2 * pad - window) // stride + 1
    axes = [Direct(0), Window(1, 3, stride, 1, pad), Window(2, 4, stride, 1, pad)]
    spec = make_spec([axes], [0, 1, 2], {0: 2, 1: out, 2: out, 3: window, 4: window})
    x, ct = DRAW.normal(size=(2, 9, 9)).astype("f4"), DRAW.normal(size=(2, out, out)).astype("f4")
    back, _ = transpose_spec(spec, 0, x.shape)
    check_compiled(lambda x, ct: (*folds.reduce_with_offset(x, "max_with_offset", spec), folds.reduce(x, "sum", spec),
                                  folds.reduce(ct, "sum", back)), x, ct)


@pytest.mark.parametrize("mode", ["clip", "fill"])
@pytest.mark.parametrize("op", ["set", "add", "mul", "min", "max"])
def test_scatter(op, mode):
    rows = np.array([[1], [-1], [1], [12], [0], [1]], np.int32)
    dims = indexing.ScatterDims((1,), (0,), (0,))
    updates = DRAW.normal(size=(6, 7)).astype("f4")
    apply = partial(indexing.scatter, op=op, dims=dims, mode=mode)
    check_compiled(lambda x, i, u: (apply(x, i, u), apply(x.astype("int32"), i, (u * 9).astype("int32"))),
                   X, rows, updates)


def test_gather_and_slices():
    def function(x, i):
        start = i[0], i[1]
        return (x[i], x[::-2, 1:3], indexing.dynamic_slice(x, start, (2, 3)),
                indexing.dynamic_update_slice(x, x[:2, :2], start))

    check_compiled(function, X, np.array([3, 1, 3], "i4"))


def test_a_state_that_is_read_under_a_guard():
    def function(x):
        total = fnp.tile(x.prod(axis=0, keepdims=True), (1, 2))
        return fnp.concatenate([total, total + total], axis=1)

    check_compiled(function, X[:, :2])


def test_sort_with_several_keys():
    keys = DRAW.integers(0, 3, (20,)).astype("i4")
    values = DRAW.normal(size=20).astype("f4")
    check_compiled(lambda k, v: folds.sort(k, v, axis=0, num_keys=2), keys, values)


@pytest.mark.parametrize("dtype", ["f8", "i8", "u1", "i1", "u4", "f2", ml_dtypes.bfloat16])
def test_dtypes(dtype):
    y = (X * 3).astype(dtype)
    check_compiled(lambda y: (y + y, y.sum(axis=0), fnp.argmax(y, axis=0), y[::-1].T, y @ y.T), y, tolerance=3e-2)


def test_complex_numbers():
    z = (X + 1j * X[::-1]).astype(np.complex64)
    check_compiled(lambda z: (z * z + 1, (z @ z.T).real, fnp.abs(z) * 2), z)


def test_empty_arrays():
    check_compiled(lambda x: (x[:0] + 1, x[:0].sum(axis=0), x[:0].sum(axis=1),
                              x[:, :0] @ fnp.ones((0, 3), "float32")), X)


def test_results_that_are_no_computation():
    check_compiled(lambda x: (x, x, fnp.ones((3, 4)), fnp.arange(5), x.reshape(7, 5)), X)


def test_higher_derivatives():
    check_compiled(grad(lambda x: (grad(lambda x: (fnp.tanh(x) ** 3).sum())(x) ** 2).sum()), X)


def test_long_chains_and_diamonds():
    def chain(x):
        for number in range(150):
            x = fnp.sin(x) + number
        return x

    def diamonds(x):
        for _ in range(40):
            x = x * x + 1 / (1 + x * x)
        return x

    check_compiled(lambda x: (chain(x), diamonds(x * 0.1)), X)


def test_loops_and_branches():
    w = DRAW.normal(size=(7, 7)).astype("f4") * np.float32(0.3)

    def rnn(w, xs):
        return scan(lambda h, x: (fnp.tanh(h @ w + x), h.sum()), fnp.zeros((7,), "float32"), xs)

    check_compiled(rnn, w, X)
    check_compiled(grad(lambda w, xs: rnn(w, xs)[0].sum() + rnn(w, xs)[1].sum()), w, X)
    check_compiled(lambda x: while_loop(lambda c: c[0] < 10, lambda c: (c[0] + 1, c[1] * 1.5), (np.int32(0), x)), X)
    check_compiled(lambda p, x: cond(p > 0, lambda x: (x + 1, x), lambda x: (x * 2, x), x), np.float32(-1), X)


def test_an_opaque_call_is_inlined():
    inner = jit(lambda x: fnp.sin(x) * 2)
    check_compiled(jit(lambda x: inner(inner(x)) @ x.T), X)


def test_constants_are_leading_arguments():
    table = np.arange(7, dtype=np.float32)
    check_compiled(lambda x: x + table, X)


def test_a_numpy_device_interprets():
    check_compiled(lambda x: fnp.sin(x) @ x.T, X, device="numpy")


def test_host_steps_are_logged(capsys):
    with debug(1):
        check_compiled(lambda z: z * z, X.astype(np.complex64))
    assert "on the host: mul" in capsys.readouterr().err


def test_a_known_program_is_not_lowered_again(monkeypatch):
    def function(x):
        return fnp.cos(x) @ fnp.sin(x).T

    check_compiled(function, X)
    monkeypatch.setattr(Compiler, "plan", lambda *arguments: pytest.fail("the plan is on disk"))
    check_compiled(function, X)


def test_keys_of_plans_tell_programs_apart():
    def key(function, *arguments, donated=()):
        return plan_key(simplify(program_of(function, *arguments)[0]).jaxpr, CPU, donated)

    assert key(lambda x: x * 2, X) == key(lambda y: y * 2, X)
    others = [key(lambda x: x * 3, X), key(lambda x: x + 2, X), key(lambda x: x * 2, X[:3]), key(lambda x: x * 2, X[0]),
              key(lambda x: x * 2, X.astype("f8")), key(lambda x: x * 2, X, donated=(0,)),
              key(lambda x: scan(lambda c, r: (c, r * 2), 0.0, x)[1], X),
              key(lambda x: scan(lambda c, r: (c, r * 3), 0.0, x)[1], X)]
    assert len({*others, key(lambda x: x * 2, X)}) == len(others) + 1


def test_equal_programs_give_equal_sources():
    def sources(function) -> list[str]:
        plan = Compiler(CPU).plan(simplify(program_of(function, X)[0]).jaxpr)
        return [kernel.text for kernel in plan.kernels]

    def before(x):
        return fnp.exp(x - x.max(axis=1, keepdims=True))

    assert sources(before) == sources(lambda x: before(x))
    assert sources(lambda x: before(x) @ x.T)[0] == sources(before)[0]


def test_the_cost_of_distinct_layers_is_linear():
    def calls(layers: int) -> int:
        sizes = (*(16 + 3 * k for k in range(layers)), 10)
        jaxpr, _ = program_of(mlp_step, *mlp_arguments(sizes))
        count = 0

        def profile(frame, event, argument):
            nonlocal count
            count += event == "call"

        sys.setprofile(profile)
        try:
            Compiler(CPU).plan(simplify(jaxpr).jaxpr)
        finally:
            sys.setprofile(None)
        return count

    calls(3)
    assert calls(24) < 2.5 * calls(12)

