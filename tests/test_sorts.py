"""Sorts of short and long axes against the interpreter, bit for bit, on fresh random data."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from compiling import check_compiled, groups_of, kinds
from running import CUDA, GPU, run_opencl
from test_emit import compile_cuda
from test_scans import nests_of

import ftiny
import ftiny.numpy as fnp
from ftiny import lax
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.interpret import interpret

DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int32", "int64", "uint8", "uint32", "uint64", "bool"]


def keys(shape: tuple[int, ...], dtype="float32", seed: int = 0) -> np.ndarray:
    """Random elements with many ties; floats have both zeros, infinities and NaN."""
    draw = np.random.default_rng(seed)
    dtype = np.dtype(getattr(ml_dtypes, str(dtype), dtype))
    if dtype.kind in "biu":
        limits = np.iinfo(dtype) if dtype.kind != "b" else np.iinfo("uint8")
        found = draw.integers(limits.min, limits.max, shape, dtype="u8" if limits.max > 2**63 else "i8", endpoint=True)
        return np.where(draw.random(shape) < 0.3, found % 7, found).astype(dtype)
    found = draw.normal(size=shape) * 10.0 ** draw.integers(-3, 4, shape)
    special = draw.choice([0.0, -0.0, np.inf, -np.inf, np.nan, -1.5], shape)
    return np.where(draw.random(shape) < 0.2, special, found).astype(dtype)


def same_bits(function, *arguments, device: str) -> None:
    """Compiled and interpreted results have the same bits; a permutation tells ties apart."""
    found = check_compiled(function, *arguments, device=device, tolerance=0)
    with ftiny.device("numpy"):
        wanted = [np.asarray(x) for x in ftiny.jit(function)(*arguments)]
    for have, want in zip(found, wanted):
        check_bits(have, want)


def check_bits(have: np.ndarray, want: np.ndarray) -> None:
    """The same bits, of whatever kind a NaN is."""
    have, want = (np.where(x != x, np.ones((), x.dtype), x) for x in (have, want))
    assert have.tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(compiled: str, dtype: str) -> None:
    x = keys((3001,), dtype, 1)
    same_bits(lambda x: lax.sort((x, lax.iota("int32", 3001)), num_keys=1), x, device=compiled)


SHAPES = [((1,), 0), ((0, 4), 1), ((4, 0), 1), ((37, 5), 0), ((5, 131), 1), ((2053, 3), 0), ((3, 2500, 2), 1),
          ((300, 129), 1), ((100_003,), 0)]


@pytest.mark.parametrize("shape, axis", SHAPES, ids=str)
def test_shapes(compiled: str, shape, axis: int) -> None:
    x = keys(shape, "float32", sum(shape))
    order = np.indices(shape, np.int32)[axis]
    same_bits(lambda x, order: [*lax.sort((x, order), dimension=axis)], x, order, device=compiled)


def test_several_keys(compiled: str) -> None:
    """The first key decides, then the second; 4- and 8-byte keys among one another."""
    a, b, c = keys((3, 2100), "int8", 2), keys((3, 2100), "float64", 3), keys((3, 2100), "float32", 4)
    order = np.arange(3 * 2100, dtype=np.int32).reshape(3, 2100)
    for operands, count in (((a, c, order), 2), ((a, b, c, order), 3)):
        same_bits(lambda *xs: lax.sort(xs, num_keys=count), *operands, device=compiled)  # noqa: B023


def test_what_is_made_of_sorts(compiled: str) -> None:
    """argsort (also descending), unique, top_k, a permutation, and keys that are computed in the sort's kernels."""
    x, y = keys((3007,), "float32", 5), keys((4, 2500), "int32", 6)
    same_bits(lambda x: [fnp.argsort(x), fnp.argsort(x, descending=True), fnp.sort(x * 2 + 1)], x, device=compiled)
    same_bits(lambda y: [*lax.top_k(y, 9), fnp.unique(y % 13, size=13)], y, device=compiled)
    same_bits(lambda x: [ftiny.random.permutation(ftiny.random.PRNGKey(3), x)], x, device=compiled)


def test_gradients_and_batches(compiled: str) -> None:
    x, w = np.random.default_rng(7).normal(size=(2, 2, 2200)).astype("f4")
    same_bits(lambda x, w: [ftiny.vmap(ftiny.grad(lambda x, w: fnp.sum(fnp.sort(x) * w)))(x, w)], x, w, device=compiled)


def test_no_sort_goes_to_the_host() -> None:
    assert kinds(groups_of(lambda x: fnp.sort(x), keys((100_003,)))) == ["sort"]


@pytest.mark.parametrize("dtype, shape", [("int8", (2, 300)), ("uint8", (4001,))], ids=str)
def test_schedules_for_gpus(opencl: str, dtype: str, shape) -> None:
    """A line in a block and a line of tiles, run by PoCL; NVRTC takes the same in CUDA."""
    x, last = keys(shape, dtype, 8), len(shape) - 1
    (built,), program = nests_of(lambda x: lax.sort((x, lax.broadcasted_iota("int32", shape, last)), num_keys=1), x)
    names = {a.name: x for a, v in zip(built.nest.arguments, built.variables) if v in program.inputs}
    found = run_opencl(built.nest, names, GPU)
    for have, want in zip(found.values(), interpret(program, [x])):
        check_bits(have, want)
    pytest.importorskip("cuda.bindings.nvrtc")
    for source in Compiler(CUDA).kernels(built.nest)[0]:
        compile_cuda(source.text, "sm_80")
