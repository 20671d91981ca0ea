"""Kernels side by side: which launches are merged, and that the results stay those of the interpreter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compiling import check_compiled, program_of
from running import CPU, CUDA

import ftiny.numpy as fnp
from ftiny.lowering import nvrtc
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.simplify import simplify

RNG = np.random.default_rng()
SHAPES = [(7, 3), (7, 3), (30,), (1,), (0,), (128, 33), (7, 3), (1000,), (5, 1)]


def draw(shapes=SHAPES):
    return [RNG.standard_normal(s).astype(np.float32) ** 2 for s in shapes]


def plan_of(function, *arguments, capabilities=CPU):
    return Compiler(capabilities).plan(simplify(program_of(function, *arguments)[0]).jaxpr)


def launches(plan) -> int:
    return sum(len(step.launches) for step in plan.steps)


def adam(p, g, m, v):
    m = [0.9 * a + 0.1 * b for a, b in zip(m, g)]
    v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
    return [a - 0.1 * b / (fnp.sqrt(c) + 1e-8) for a, b, c in zip(p, m, v)], m, v


@pytest.mark.parametrize("most", [1 << 12, 200])
def test_updates_of_many_tensors(most, monkeypatch):
    arguments = [draw() for _ in range(4)]
    if most == 1 << 12:
        check_compiled(adam, *arguments, tolerance=1e-5)
    plan = plan_of(adam, *arguments, capabilities=replace(CPU, parameter_bytes=most))
    assert launches(plan) == (1 if most == 1 << 12 else 3)
    assert all(8 * len(k.params) <= most for k in plan.kernels)


def test_equal_kernels_share_one_body():
    arrays = draw([(8,)] * 100 + [(5,)] * 2)
    function = lambda xs: [x + 1 for x in xs]
    plan = plan_of(function, arrays, capabilities=replace(CUDA, parameter_bytes=4096))
    (kernel,) = plan.kernels
    assert launches(plan) == 1 and kernel.grid == (102, 1, 1) and kernel.text.count(" + 1.0f") == 2
    nvrtc.compile_cubin(kernel.text, "sm_90a", kernel.name)
    check_compiled(lambda xs: function(xs[::9]), arrays)


def test_a_kernel_waits_for_what_it_reads():
    def function(x, y, z):
        first = fnp.sin(x)
        order = fnp.sort(first)              # between the maps
        return first, order, fnp.cos(y) + 1, z * order[0]

    arguments = draw([(33,), (20,), (17,)])
    check_compiled(function, *arguments)


def test_what_may_be_overwritten_is_read_before():
    """The update of w may take w's memory, so it is not moved before the product that reads w."""
    def function(w, x, b):
        return w - 0.1 * fnp.sin(w), b * 2.0, x @ w

    arguments = draw([(24, 24), (9, 24), (40,)])
    check_compiled(function, *arguments, donated=(0,))


def test_sums_of_columns_and_maps():
    def function(x, y, b):
        return x.sum(0), y.sum(0), b + 1, fnp.exp(b).sum()

    check_compiled(function, *draw([(50, 33), (20, 7), (11,)]))
