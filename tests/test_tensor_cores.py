"""Contractions on tensor cores: which are given to them, that every block compiles, and on a GPU what they compute."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from running import CUDA

import ftiny
import ftiny.numpy as fnp
from ftiny import lax
from ftiny.lowering import nvrtc
from ftiny.lowering.choices import choosing
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.simplify import simplify

HOPPER = replace(CUDA, shared_bytes=232448)
AMPERE = replace(CUDA, shared_bytes=166912, arch="sm_80")
TURING = replace(CUDA, arch="sm_75")


def convolution(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))


def tf32(x, y):
    return fnp.matmul(x, y, precision="tf32")


B, H, F = "bfloat16", "float16", "float32"
PRODUCTS = {
    "plain": (lambda x, y: x @ y, ((256, 192), B), ((192, 320), B)),
    "right transposed": (lambda x, y: x @ y.T, ((256, 320), H), ((192, 320), H)),
    "left transposed": (lambda x, y: x.T @ y, ((320, 256), B), ((320, 192), B)),
    "both transposed": (lambda x, y: x.T @ y.T, ((320, 256), H), ((192, 320), H)),
    "prime": (lambda x, y: fnp.tanh(x @ y), ((131, 257), B), ((257, 101), B)),
    "deep": (lambda x, y: x @ y, ((64, 8192), B), ((8192, 64), B)),
    "batch": (lambda x, y: x @ y, ((5, 128, 96), H), ((5, 96, 160), H)),
    "computed operand": (lambda x, y: fnp.maximum(x, 0) @ y, ((256, 128), B), ((128, 256), B)),
    "convolution": (convolution, ((2, 14, 14, 64), B), ((3, 3, 64, 64), B)),
    "tf32": (tf32, ((256, 192), F), ((192, 320), F)),
    "tf32, transposed": (lambda x, y: tf32(x.T, y.T), ((320, 256), F), ((192, 320), F)),
    "tf32, prime": (tf32, ((131, 257), F), ((257, 101), F)),
    "tf32, epilogue": (lambda x, y: fnp.tanh(tf32(fnp.maximum(x, 0), y) + 1), ((256, 320), F), ((320, 192), F)),
}


def sources(name, capabilities=HOPPER):
    function, *arguments = PRODUCTS[name]
    program = ftiny.make_jaxpr(function)(*(ftiny.ShapeDtypeStruct(*a) for a in arguments))
    return Compiler(capabilities).plan(simplify(program).jaxpr).kernels


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("capabilities", [HOPPER, AMPERE], ids=["sm_90a", "sm_80"])
def test_products_of_16_bits_and_of_tf32_are_on_tensor_cores(name, capabilities):
    pytest.importorskip("cuda.bindings.nvrtc")
    kernels = sources(name, capabilities)
    assert any("mma.sync" in kernel.text for kernel in kernels)
    for kernel in kernels:
        assert nvrtc.compile_cubin(kernel.text, capabilities.arch, kernel.name)[:4] == b"\x7fELF"


def test_others_are_not():
    wide = ftiny.ShapeDtypeStruct((256, 256), F)
    double = ftiny.ShapeDtypeStruct((256, 256), "float64")
    half = ftiny.ShapeDtypeStruct((256, 256), B)
    for function, arguments, capabilities in [
        (lambda x, y: x @ y, (wide, wide), HOPPER),  # float32 is float32
        (lambda x, y: x @ y, (double, double), HOPPER),
        (lambda x, y: fnp.exp(x.astype(F)) @ y.astype(F), (half, half), HOPPER),  # would lose digits
        (lambda x, y: x @ y, (half, half), TURING),
        (lambda x, y: x[:8, :8] @ y[:8, :8], (half, half), HOPPER),  # too small
    ]:
        program = simplify(ftiny.make_jaxpr(function)(*arguments)).jaxpr
        assert not any("mma.sync" in k.text for k in Compiler(capabilities).plan(program).kernels)


@pytest.mark.parametrize("rank", [1, 5, 9, 14])
def test_other_blocks_compile_too(rank):
    pytest.importorskip("cuda.bindings.nvrtc")
    with choosing({"tensor block": rank}):
        function, *arguments = PRODUCTS["plain"]
        program = ftiny.make_jaxpr(function)(*(ftiny.ShapeDtypeStruct(*a) for a in arguments))
        compiler = Compiler(HOPPER)
        compiler.kernels = compiler.made_kernels  # the choices of this test, not those of the table
        kernels = compiler.plan(simplify(program).jaxpr).kernels
    for kernel in kernels:
        assert nvrtc.compile_cubin(kernel.text, "sm_90a", kernel.name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", PRODUCTS)
def test_on_cuda(name):
    function, *arguments = PRODUCTS[name]
    rng = np.random.default_rng()
    values = [fnp.asarray(rng.normal(size=shape)).astype(dtype) for shape, dtype in arguments]
    with ftiny.device("numpy"):
        wanted = np.asarray(function(*(v.astype("float64") for v in values)))
    with ftiny.device("cuda"):
        first, second = (np.asarray(ftiny.jit(function)(*values)).astype("float64") for _ in range(2))
    np.testing.assert_array_equal(first, second)
    bound = {B: 2.0**-7, H: 2.0**-9, F: 2.0**-8}[arguments[0][1]]
    assert np.abs(first - wanted).max() <= bound * np.abs(wanted).max()
