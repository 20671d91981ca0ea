"""What compilation costs, counted and not timed: Python calls per layer, kernels of equal layers, retracing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from compiling import mlp_step
from running import CPU, CUDA

import ftiny
import ftiny.numpy as fnp
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.plan_types import nested_plans
from ftiny.lowering.simplify import simplify
from ftiny.transforms.scan import scan

LAYERS = 12


@pytest.fixture(autouse=True)
def on_the_interpreter():
    """Nothing is compiled to machine code here."""
    with ftiny.device("numpy"):
        yield


def step_of(sizes):
    """The arguments of a training step of a network with these layer sizes, as shapes."""

    def shape(*dims, dtype="float32"):
        return ftiny.ShapeDtypeStruct(dims, dtype)

    layers = [(shape(a, b), shape(b)) for a, b in zip(sizes, sizes[1:])]
    return layers, layers, shape(8, sizes[0]), shape(8, dtype="int32"), shape()


def plan_of(sizes, capabilities=CPU):
    """From tracing to emitted source."""
    program = ftiny.make_jaxpr(mlp_step)(*step_of(sizes))
    return Compiler(capabilities).plan(simplify(program.close_over()).jaxpr)


def python_calls(function, *arguments) -> int:
    """How many Python functions are called."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("capabilities", [CPU, CUDA], ids=["opencl", "cuda"])
def test_twice_the_layers_cost_twice_the_calls(capabilities):
    """Layers of distinct shapes: 2N cost less than 2.5 times N."""

    def distinct(layers):
        return [16 + 3 * k for k in range(layers)] + [10]

    plan_of(distinct(3), capabilities)  # imports and tables
    once = python_calls(plan_of, distinct(LAYERS), capabilities)
    twice = python_calls(plan_of, [x + 1 for x in distinct(2 * LAYERS)], capabilities)
    assert twice < 2.5 * once, f"{LAYERS} layers: {once} calls, {2 * LAYERS} layers: {twice}"


@pytest.mark.parametrize("capabilities", [CPU, CUDA], ids=["opencl", "cuda"])
def test_equal_layers_share_their_kernels(capabilities):
    """N and 2N identical layers need the same kernels."""
    kernels = [{k.text for k in plan_of([24] * (layers + 1), capabilities).kernels} for layers in (LAYERS, 2 * LAYERS)]
    assert len(kernels[0]) == len(kernels[1])
    assert len(kernels[0]) < 3 * LAYERS


@pytest.mark.parametrize("capabilities", [CPU, CUDA], ids=["opencl", "cuda"])
def test_a_scan_of_layers_compiles_its_body_once(capabilities):
    """24 layers in a scan need the kernels of 3, forward and backward, and as many Python calls."""

    def loss(weights, x):
        return scan(lambda h, w: (fnp.tanh(h @ w), None), x, weights)[0].sum()

    def plan(layers):
        shapes = (ftiny.ShapeDtypeStruct(shape, "float32") for shape in ((layers, 24, 24), (8, 24)))
        program = ftiny.make_jaxpr(ftiny.value_and_grad(loss))(*shapes)
        return Compiler(capabilities).plan(simplify(program.close_over()).jaxpr)

    plan(2)  # imports and tables
    few, many = python_calls(plan, 3), python_calls(plan, 24)
    assert many < 1.1 * few, (few, many)
    few, many = ([len(inner.kernels) for inner in nested_plans(plan(layers))] for layers in (3, 24))
    assert few == many


# ---- retracing ------------------------------------------------------------------------------------------------


def test_the_same_shapes_are_traced_once():
    """Values, and the way the arguments are passed, do not matter."""
    f = ftiny.jit(lambda x, y: x @ y)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
        f(x, fnp.asarray(x.T))
        f(fnp.asarray(x), x.T)
    assert f.trace_count == 1


def test_what_is_traced_again():
    """Another shape, dtype, structure or static argument; coming back to an old one is free."""
    f = ftiny.jit(lambda x, mode: fnp.sum(x["a"]) if mode else x["a"], static_argnums=1)
    calls = [
        ({"a": np.ones(3, np.float32)}, True),
        ({"a": np.ones(4, np.float32)}, True),
        ({"a": np.ones(3, np.int32)}, True),
        ({"a": np.ones(3, np.float32)}, False),
        ({"a": np.ones(3, np.float32), "b": np.ones(1, np.float32)}, True),
    ]
    for _ in range(2):
        for call in calls:
            f(*call)
    assert f.trace_count == len(calls)


def test_python_numbers_are_arguments():
    """A learning rate that changes is no reason to trace again; another kind of number is."""
    f = ftiny.jit(lambda x, rate: x * rate)
    x = np.ones(3, np.float32)
    for rate in (0.1, 0.2, 0.3):
        assert f(x, rate).dtype == np.float32
    assert f.trace_count == 1
    f(x, 2)
    assert f.trace_count == 2


def test_transformed_functions_keep_their_cache():
    """jit(grad(f)) and jit(vmap(f)) are traced once; an inner jit is not traced for every call of the outer one."""
    inner = ftiny.jit(lambda x: fnp.sum(fnp.sin(x)))
    outer = ftiny.jit(ftiny.grad(lambda x: inner(x) + inner(2 * x)))
    mapped = ftiny.jit(ftiny.vmap(inner))
    for _ in range(3):
        outer(np.ones(3, np.float32))
        mapped(np.ones((2, 3), np.float32))
    assert (outer.trace_count, mapped.trace_count) == (1, 1)
    assert inner.trace_count <= 2
