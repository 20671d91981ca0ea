"""Running sums, products and extrema: every schedule of a scan against the interpreter, on fresh random data."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from compiling import check_compiled, program_of
from running import CUDA, GPU, run_opencl
from test_emit import compile_cuda

import ftiny
import ftiny.numpy as fnp
from ftiny import lax
from ftiny.lowering.build import build
from ftiny.lowering.build import program_of as tables_of
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.fuse import fuse
from ftiny.lowering.interpret import interpret
from ftiny.lowering.simplify import simplify

OPS = {"sum": lax.cumsum, "prod": lax.cumprod, "max": lax.cummax, "min": lax.cummin, "logsumexp": lax.cumlogsumexp}
# (shape, axis): short, odd and prime rows, few long rows, columns few and many, an axis in the middle, nothing at all.
SHAPES = [((7, 13), 1), ((301, 3), 1), ((5, 1003), 1), ((3, 1004), 1), ((2, 8192), 1), ((1_000_003,), 0),
          ((40_000,), 0), ((3, 30_007), 1), ((517, 33), 0), ((1000, 128), 0), ((20_001, 5), 0), ((3, 701, 40), 1),
          ((70, 1), 1), ((0, 5), 1), ((5, 0), 1), ((1,), 0)]
DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]


def whole(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """float32 numbers whose sums are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def drawn(shape: tuple[int, ...], dtype="float32", seed: int = 0) -> np.ndarray:
    """Numbers whose running sums and products stay in range."""
    draw = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return draw.integers(0, 100, shape).astype(dtype)
    return draw.choice([-1.0, 1.0], shape).astype(dtype) * (1 + draw.normal(size=shape) * 0.001).astype(dtype)


def close(function, *arguments, device: str) -> None:
    """Compiled and interpreted agree, and a second run has the same bits."""
    size = max((np.asarray(a).size for a in arguments), default=1)
    tolerance = 2e-2 if any(np.asarray(a).dtype.itemsize == 2 for a in arguments) else 1e-6 * max(100, size ** 0.5)
    first = check_compiled(function, *arguments, device=device, tolerance=tolerance)
    with ftiny.device(device):
        again = [np.asarray(x) for _ in range(2) for x in ftiny.jit(function)(*arguments)]
    for number, found in enumerate(again):
        np.testing.assert_array_equal(found, first[number % len(first)])


@pytest.mark.parametrize("shape, axis", SHAPES, ids=str)
def test_sums_of_every_shape(compiled: str, shape, axis) -> None:
    x = whole(shape, sum(shape))
    close(lambda x: [lax.cumsum(x, axis)], x, device=compiled)
    close(lambda x: [lax.cumsum(x, axis, reverse=True)], x, device=compiled)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("reverse", [False, True])
def test_operations(compiled: str, op: str, reverse: bool) -> None:
    for shape, axis in (((11, 257), 1), ((300, 20), 0), ((20_011,), 0)):
        x = whole(shape, axis + reverse) if op == "sum" else drawn(shape, seed=axis + reverse)
        close(lambda x: [OPS[op](x, axis, reverse=reverse)], x, device=compiled)  # noqa: B023


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(compiled: str, dtype: str) -> None:
    x = drawn((5, 2050), np.dtype(getattr(ml_dtypes, dtype, dtype)), 3)
    close(lambda x: [lax.cumsum(x, 1), lax.cummax(x, 0), lax.cummin(fnp.ravel(x), reverse=True)], x, device=compiled)


def test_special_values(compiled: str) -> None:
    """NaN reaches everything after it and nothing before; infinities stay what they are."""
    x = drawn((3, 5000), seed=5)
    x[0, 1234], x[1, 4000], x[2, 17], x[2, 4500] = np.nan, np.inf, -np.inf, np.inf
    for op in (lax.cumsum, lax.cummax, lax.cumlogsumexp):
        close(lambda x: [op(x, 1), op(x, 1, reverse=True)], x, device=compiled)  # noqa: B023


def test_producers_and_consumers_join_the_scan(compiled: str) -> None:
    """What is computed before and after a scan, also from other arrays, is part of its kernel."""
    x, y = drawn((9, 3001), seed=6), drawn((3001, 9), seed=7)

    def function(x, y):
        total = lax.cumsum(fnp.sin(x) * 0.01, 1)
        return [total * x + y.T, fnp.exp(-total)]

    program = simplify(program_of(function, x, y)[0]).jaxpr
    assert [g.kind for g in fuse(program).groups] == ["cumulate"]
    close(function, x, y, device=compiled)


def test_gradients_and_batches(compiled: str) -> None:
    x = drawn((4, 11), seed=8)
    for op in ("sum", "prod", "max"):
        def loss(x):
            return fnp.sum(OPS[op](x, 0) * fnp.arange(11, dtype="float32") / 11)  # noqa: B023

        close(lambda x: [ftiny.vmap(ftiny.grad(loss))(x)], x, device=compiled)  # noqa: B023


def test_a_scan_in_a_loop(compiled: str) -> None:
    """Tiles that look back count their launches: a loop runs the same kernel again and again."""
    x = drawn((50_001,), seed=9)
    close(lambda x: [ftiny.lax.fori_loop(0, 5, lambda i, x: lax.cumsum(x) * 0.01 + 1.0, x)], x, device=compiled)


# ------------------------------------------------------------------- schedules for devices that are not here


def nests_of(function, *arguments) -> list:
    """(nest, variables) of a program's groups, and the program."""
    program = simplify(program_of(function, *arguments)[0]).jaxpr
    fused = fuse(program)
    return [built for group in fused.groups for built in build(fused, group, tables_of(fused))], program


@pytest.mark.parametrize("shape, axis", SHAPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_gpus_without_shuffles(opencl: str, shape, axis, reverse: bool) -> None:
    x = whole(shape, 11)
    nests, program = nests_of(lambda x: lax.cumsum(x, axis, reverse=reverse), x)
    (want,) = interpret(program, [x])
    for built in nests:
        names = {a.name: x for a, v in zip(built.nest.arguments, built.variables) if v in program.inputs}
        (found,) = run_opencl(built.nest, names, GPU).values()
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("op", OPS)
def test_nvrtc_takes_every_schedule(op: str) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    for (shape, axis), dtype in zip(SHAPES, [*DTYPES, *DTYPES]):
        kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
        if op == "logsumexp" and kind.kind in "iu":
            continue
        nests, _ = nests_of(lambda x: OPS[op](x, axis, reverse=len(shape) == 2), drawn(shape, kind))  # noqa: B023
        for built in nests:
            for source in Compiler(CUDA).kernels(built.nest)[0]:
                compile_cuda(source.text, "sm_80")
