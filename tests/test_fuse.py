"""Fusion: how many kernels programs become, what goes through memory, and that its checker refuses wrong groups."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from compiling import (
    check_compiled,
    conv_arguments,
    conv_step,
    cross_entropy,
    groups_of,
    kinds,
    log_softmax,
    max_pool,
    mlp_arguments,
    mlp_step,
    program_of,
    relu,
)

import ftiny.numpy as fnp
from ftiny.lowering.fuse import fuse
from ftiny.lowering.groups import FusionError, check_groups
from ftiny.lowering.simplify import simplify
from ftiny.transforms.grad import grad, value_and_grad

ROWS = np.zeros((4096, 1024), np.float32)
ROW = np.zeros(1024, np.float32)


def stored(fused) -> list[str]:
    """The avals that the groups write, in order."""
    return [str(placed.var.aval) for group in fused.groups for placed in group.outputs]


def softmax(x):
    return fnp.exp(log_softmax(x))


def layernorm(x, gain, bias):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / fnp.sqrt(variance + 1e-5) * gain + bias


def gelu(x):
    return 0.5 * x * (1 + fnp.tanh(0.79788 * (x + 0.044715 * x * x * x)))


@pytest.mark.parametrize("function, arguments", [
    (softmax, (ROWS,)),
    (lambda x, c: grad(lambda x: (softmax(x) * c).sum())(x), (ROWS, ROWS)),
    (layernorm, (ROWS, ROW, ROW)),
    (lambda x, gain, bias: gelu(layernorm(x, gain, bias)) + x, (ROWS, ROW, ROW)),
], ids=["softmax", "softmax gradient", "layernorm", "layernorm, gelu, residual"])
def test_rows_become_one_kernel(function, arguments):
    fused = groups_of(function, *arguments)
    assert kinds(fused) == ["fold"] and stored(fused) == ["f32[4096,1024]"]


def test_cross_entropy_with_its_gradient_is_one_pass_and_the_mean():
    fused = groups_of(value_and_grad(cross_entropy), ROWS, np.zeros(4096, np.int32))
    assert kinds(fused) == ["fold", "fold"]
    assert stored(fused) == ["f32[4096]", "f32[4096,1024]", "f32[]"]


def test_layernorm_backward_stores_two_numbers_a_row():
    def gradients(x, gain, bias, ct):
        return grad(lambda *a: (layernorm(*a) * ct).sum(), argnums=(0, 1, 2))(x, gain, bias)

    fused = groups_of(gradients, ROWS, ROW, ROW, ROWS)
    assert kinds(fused) == ["fold", "fold"]
    assert sorted(stored(fused)) == ["f32[1024]", "f32[1024]", "f32[4096,1024]", "f32[4096,1]", "f32[4096,1]"]


def test_batchnorm_reads_its_input_twice():
    def batchnorm(x, gain, bias):
        mean = x.mean(axis=(0, 1, 2))
        variance = (x * x).mean(axis=(0, 1, 2)) - mean * mean
        return relu((x - mean) / fnp.sqrt(variance + 1e-5) * gain + bias)

    fused = groups_of(batchnorm, np.zeros((64, 16, 16, 32), "f4"), np.zeros(32, "f4"), np.zeros(32, "f4"))
    assert kinds(fused) == ["fold", "map"] and len(fused.groups[0].folds) == 2


def test_epilogues_store_the_result_and_the_mask():
    def loss(x, a, b, w):
        return (relu(x @ a + b) @ w).sum()

    arguments = [np.zeros(s, "f4") for s in ((128, 256), (256, 512), (512,), (512, 64))]
    first = groups_of(grad(loss, argnums=(1, 2, 3)), *arguments).groups[0]
    assert [str(p.var.aval) for p in first.outputs] == ["f32[128,512]", "bool[128,512]"]


def test_a_dear_activation_is_computed_again_rather_than_stored_in_pieces():
    def loss(x, a, w):
        return (gelu(x @ a) @ w).sum()

    arguments = [np.zeros(s, "f4") for s in ((128, 256), (256, 512), (512, 64))]
    first = groups_of(grad(loss, argnums=(0, 1, 2)), *arguments).groups[0]
    assert len(first.outputs) == 2


def test_pooling_and_its_gradient_are_no_folds():
    def loss(x, w):
        return (max_pool(x) * w).sum()

    fused = groups_of(grad(loss), np.zeros((128, 24, 24, 64), "f4"), np.zeros((128, 12, 12, 64), "f4"))
    assert kinds(fused) == ["map"]


def test_dear_values_are_not_recomputed_under_a_broadcast():
    def function(x):
        return fnp.exp(fnp.sin(x))[:, None] * fnp.ones((1000, 1000), "float32")

    assert stored(groups_of(function, np.zeros(1000, "f4"))) == ["f32[1000]", "f32[1000,1000]"]


def test_a_long_chain_is_one_kernel():
    def function(x):
        for _ in range(300):
            x = fnp.sin(x) + 1
        return x

    assert kinds(groups_of(function, np.zeros(1000, "f4"))) == ["map"]


def test_updates_that_read_the_same_array_share_a_kernel():
    fused = groups_of(lambda *xs: [x * 2 for x in xs] + [x + 1 for x in xs], *(np.zeros(100, "f4") for _ in range(8)))
    assert kinds(fused) == ["map"] * 8 and all(len(g.outputs) == 2 for g in fused.groups)


def test_mlp_step():
    fused = groups_of(mlp_step, *mlp_arguments((784, 1024, 1024, 10), 128))
    assert kinds(fused).count("contract") == 8 and len(fused.groups) <= 13, str(fused)


def test_conv_step():
    arguments = conv_arguments(28, (1, 32, 64), 1000)
    fused = groups_of(lambda *a: conv_step(*a, batch=128), *arguments)
    assert kinds(fused).count("contract") == 8 and len(fused.groups) <= 21, str(fused)


def pairs(x):
    return ((x[:, None] - x[None]) ** 2).sum(-1)


@pytest.mark.parametrize("function, written", [
    (lambda x: fnp.exp(-pairs(x)), "f32[1000,1000]"),
    (lambda x: fnp.exp(-pairs(x)) @ x[:, 0], "f32[1000]"),
    (lambda x: x[:, 0] @ fnp.tanh(x[:, :1] * x[:, 1]), "f32[1000]"),
    (lambda x: x / fnp.sqrt((x * x).sum(-1, keepdims=True)), "f32[1000,3]"),
], ids=["distances", "kernel matrix times vector", "vector times matrix", "unit vectors"])
def test_matrices_made_on_the_way_are_not_stored(function, written):
    assert stored(groups_of(function, np.zeros((1000, 3), "f4"))) == [written]
    check_compiled(function, np.random.default_rng().standard_normal((61, 3)).astype("f4"), tolerance=1e-3)


def test_printing():
    text = str(groups_of(softmax, np.zeros((7, 13), "f4")))
    assert text == "group 0 fold grid(i0:7) folds(max over j0:13, sum over j0:13) -> f32[7,13] at [i0, j0]"


def test_the_checker_refuses_a_group_before_what_it_reads():
    fused = groups_of(lambda x: (x @ x) @ x, np.zeros((8, 8), "f4"))
    check_groups(fused)
    with pytest.raises(FusionError, match="before anything has computed it"):
        check_groups(replace(fused, groups=fused.groups[::-1]))


def test_the_checker_refuses_a_missing_result():
    fused = groups_of(lambda x: (fnp.sin(x), x @ x), np.zeros((8, 8), "f4"))
    with pytest.raises(FusionError, match="written by no group"):
        check_groups(replace(fused, groups=fused.groups[1:]))


def test_cost_is_linear():
    def calls(layers: int) -> int:
        sizes = (*(16 + 2 * k for k in range(layers)), 10)
        jaxpr = simplify(program_of(mlp_step, *mlp_arguments(sizes))[0]).jaxpr
        count = 0

        def profile(frame, event, argument):
            nonlocal count
            count += event == "call"

        sys.setprofile(profile)
        try:
            fuse(jaxpr)
        finally:
            sys.setprofile(None)
        return count

    calls(4)
    assert calls(24) < 2.5 * calls(12)
