"""One pass for the rows and the columns: the schedule against numpy, and which groups fusion joins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compiling import check_compiled, groups_of
from running import CUDA, GPU, run_opencl
from walls import cross_entropy, layernorm_backward

import ftiny.numpy as fnp
from ftiny import nn, vjp
from ftiny.lowering import fuse_columns
from ftiny.lowering.build import build
from ftiny.lowering.build import program_of as program_of_groups
from ftiny.lowering.groups import check_groups
from ftiny.lowering.loops_interpreter import evaluate_nest
from ftiny.lowering.schedule import schedule

RNG = np.random.default_rng()


@pytest.mark.parametrize("rows, columns", [(13, 37), (7, 1024), (1, 4), (300, 1023), (5, 8192), (16, 768)])
@pytest.mark.parametrize("units", [1, 132])
def test_layernorm_backward(rows, columns, units):
    case = layernorm_backward(RNG, rows, columns)
    results = run_opencl(case.nest, case.inputs, replace(GPU, compute_units=units))
    for name, want in case.expected.items():
        np.testing.assert_allclose(results[name], want, rtol=1e-3, atol=1e-3, err_msg=name)


def test_a_row_is_loaded_once_and_widely():
    first, second, *_ = schedule(layernorm_backward(RNG, 64, 4096).nest, replace(CUDA, compute_units=4)).kernels
    text = str(first)
    assert text.count(" = x[") == text.count(" = dy[") == 4 and first.grid == (8, 1, 1) and first.block == (256, 1, 1)
    assert [p.name for p in first.params if p.written] == ["dx", "g.partial", "c.partial"]
    assert [p.name for p in second.params if p.written] == ["dgain", "dbias"]


# ---- which groups are joined ----------------------------------------------------------------------------------


def layernorm(x, gain, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / fnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + bias


def layernorm_gradients(x, gain, bias, ct):
    y, pullback = vjp(layernorm, x, gain, bias)
    return y, *pullback(ct)


def softmax_then_bias_gradient(x, gain, bias, ct):
    """The columns' sum is of what the rows write, and goes on into an update."""
    dx = pull_softmax(x, ct)
    return dx, bias - 0.1 * (0.9 * gain + dx.sum(tuple(range(x.ndim - 1))))


def pull_softmax(x, ct):
    y = nn.softmax(x, axis=-1)
    return y * (ct - (y * ct).sum(-1, keepdims=True))


def columns_before_rows(x, gain, bias, ct):
    return (x * ct).max(tuple(range(x.ndim - 1))) + gain, pull_softmax(x, ct)


def columns_after_something_else(x, gain, bias, ct):
    """The columns need a sum of everything, which has to be there before the rows start."""
    total = ct.sum()
    dx = pull_softmax(x, ct)
    return dx, fnp.sin(dx * total).sum(tuple(range(x.ndim - 1)))


def rows_need_the_columns(x, gain, bias, ct):
    return pull_softmax(x - x.max(tuple(range(x.ndim - 1))), ct)


@pytest.mark.parametrize("shape", [(19, 24), (3, 11, 8)])
@pytest.mark.parametrize("function, joined", [
    (layernorm_gradients, 1), (softmax_then_bias_gradient, 1), (columns_before_rows, 1),
    (columns_after_something_else, 1), (rows_need_the_columns, 0)])
def test_joined_groups(function, joined, shape, monkeypatch):
    monkeypatch.setattr(fuse_columns, "WORKERS", 1)
    draw = lambda *s: RNG.standard_normal(s).astype(np.float32)
    arguments = draw(*shape), draw(shape[-1]), draw(shape[-1]), draw(*shape)
    fused = fuse_columns.join_columns(groups_of(function, *arguments), 1 << 16)
    check_groups(fused)
    assert [g.columns is not None for g in fused.groups].count(True) == joined, str(fused)
    check_compiled(function, *arguments, tolerance=1e-3)
    for group in fused.groups:
        if group.columns is not None:
            (built,) = build(fused, group, program_of_groups(fused))
            inputs = {a.name: draw(*a.shape) for a in built.nest.arguments if a.name in built.nest.inputs()}
            assert len(schedule(built.nest, CUDA).kernels) == 2
            wanted = evaluate_nest(built.nest, inputs)
            found = run_opencl(built.nest, inputs, replace(GPU, compute_units=3))
            for name in built.nest.outputs():
                np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=1e-3, err_msg=name)


def test_small_arrays_and_long_rows_are_not_joined():
    def count(shape, held):
        arguments = [np.zeros(s, "f4") for s in (shape, shape[-1:], shape[-1:], shape)]
        return len(fuse_columns.join_columns(groups_of(layernorm_gradients, *arguments), held).groups)

    assert count((4096, 1024), 1 << 16) == 1
    assert count((128, 1024), 1 << 16) == 2 and count((4096, 1024), 1 << 11) == 2


@pytest.mark.parametrize("columns", [8192 + 1, 12000])
def test_a_long_row_is_copied_to_shared_memory_once(columns):
    case = cross_entropy(RNG, 5, columns)
    case = replace(case, nest=replace(case.nest, stages=case.nest.stages[:-1]))
    first, *_ = schedule(case.nest, GPU).kernels
    text = str(first)
    assert f"shared x.row0: float32[{columns}]" in text and text.count(" = x[") == text.count("x.row0[") // 4 > 0
    np.testing.assert_allclose(run_opencl(case.nest, case.inputs, GPU)["dx"], case.expected["dx"], rtol=1e-4, atol=1e-6)
