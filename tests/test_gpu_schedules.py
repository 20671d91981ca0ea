"""The GPU schedules of rows, maps and permutations: kernels accepted by NVRTC, run on PoCL in their forms without
exchange between threads, and run on a CUDA device; always against an interpreter on fresh random data.

PoCL sees each loop nest apart, with poisoned outputs; on CUDA whole programs run, twice, and give the same bits.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from compiling import check_compiled
from running import GPU, run_opencl

import ftiny
import ftiny.numpy as fnp
from ftiny import dtypes, nn
from ftiny.lowering import nvrtc
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.device import Capabilities
from ftiny.lowering.loops import LoopNest
from ftiny.lowering.loops_interpreter import evaluate_nest
from ftiny.lowering.simplify import simplify

HOPPER = Capabilities("cuda", warp=32, max_threads=1024, shared_bytes=232448, compute_units=132, host_memory=False,
                      arch="sm_90a")
# Few multiprocessors, so that small arrays are enough for every form of a schedule.
FEW = replace(HOPPER, compute_units=1)
POCL = replace(GPU, compute_units=1)
BF16 = dtypes.bfloat16


def layer_norm(x, gain, bias):
    """Statistics in float32."""
    wide = x.astype("float32")
    mean = wide.mean(-1, keepdims=True)
    variance = fnp.square(wide - mean).mean(-1, keepdims=True)
    return ((wide - mean) / fnp.sqrt(variance + 1e-5) * gain + bias).astype(x.dtype)


def column_softmax(x):
    """Along the first axis."""
    return nn.softmax(x, axis=0)


ROWS = {
    "softmax": (nn.softmax, 0),
    "layer_norm": (layer_norm, 2),
    "sum": (lambda x: x.sum(-1), 0),
    "max": (lambda x: x.max(-1), 0),
    "argmax": (lambda x: fnp.argmax(x, -1), 0),
    "logsumexp": (lambda x: nn.logsumexp(x, -1), 0),
    "variance": (lambda x: fnp.var(x, -1), 0),
    "rms": (lambda x: x / fnp.sqrt(fnp.mean(x * x, -1, keepdims=True) + 1e-6), 0),
}
ROW_SHAPES = [(5, 16), (33, 64), (7, 77), (1, 1000), (9, 1024), (3, 2052), (2, 4099), (1, 1), (0, 8), (4, 1, 96),
              (2, 40_000)]
SUMS = [((100_003,), None), ((1 << 15,), None), ((40, 77), (0, 1)), ((40, 77), (0,)), ((3, 20_000), (1,)),
        ((700, 64), (0,)), ((6, 130, 36), (1,)), ((2, 3, 4, 5), (0, 2)), ((1 << 14, 2), (0,)), ((2500, 33), (0,)),
        ((0, 5), (0,)), ((1, 512), (0,)), ((5000, 20), (0,)), ((3000, 1030), (0,))]
PERMUTATIONS = [((64, 64), (1, 0)), ((100, 204), (1, 0)), ((33, 77), (1, 0)), ((4, 31, 50), (0, 2, 1)),
                ((9, 16, 40), (2, 1, 0)), ((2, 8, 9, 12), (0, 3, 1, 2)), ((2, 3, 4, 65), (3, 0, 1, 2)),
                ((2, 24, 3, 16), (0, 2, 1, 3)), ((1, 1), (1, 0)), ((40, 0), (1, 0)), ((130, 257), (1, 0))]


def draw(shape, dtype, name: str) -> np.ndarray:
    """Fresh values of a dtype; the name chooses which."""
    rng = np.random.default_rng(zlib.crc32(f"{name}{shape}{dtype}".encode()))
    if np.dtype(dtype) == np.bool_:
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def fused_transpose(x, y):
    """Work before and after the permutation."""
    return (x + 1).T * 2 + y


def masked_transpose(x):
    """Rows of a padded array, the other way round: guarded loads."""
    return fnp.pad(x, ((2, 3), (1, 4))).T * 3


def programs() -> dict[str, tuple]:
    """Name: (function, arguments)."""
    found: dict[str, tuple] = {}
    for shape in ROW_SHAPES:
        for name, (function, vectors) in ROWS.items():
            if shape[-1] * shape[0] == 0 and name in ("max", "argmax", "logsumexp"):
                continue
            given = [draw(shape, "f4", name), *(draw(shape[-1:], "f4", f"{name}{k}") for k in range(vectors))]
            found[f"{name} {shape}"] = (function, given)
    for dtype in ("float16", BF16, "f8", "i1", "i4"):
        found[f"row max {dtype}"] = (lambda x: x.max(-1), [draw((37, 192), dtype, "max")])
        found[f"total {dtype}"] = (lambda x: x.sum(), [draw((20_003,), dtype, "sum")])
        found[f"shifted {dtype}"] = (lambda x, y: x + y[None], [draw((99, 80), dtype, "a"), draw((80,), dtype, "b")])
    found["softmax bf16"] = (nn.softmax, [draw((21, 256), BF16, "softmax")])
    found["softmax of columns"] = (column_softmax, [draw((60, 48), "f4", "columns")])
    for shape, axes in SUMS:
        found[f"sum {shape} {axes}"] = (lambda x, axes=axes: x.sum(axes), [draw(shape, "f4", "sums")])
    for dtype in ("f4", BF16, "i1", "f8", "?"):
        for shape, order in PERMUTATIONS:
            found[f"{shape} {order} {dtype}"] = (lambda x, order=order: fnp.transpose(x, order),
                                                 [draw(shape, dtype, "permute")])
    found["fused transpose"] = (fused_transpose, [draw((72, 140), "f4", "x"), draw((140, 72), "f4", "y")])
    found["mixed transpose"] = (lambda x, y: x.T.astype("f4") + y,
                                [draw((72, 140), "i1", "x"), draw((140, 72), "f4", "y")])
    found["argmax of columns"] = (lambda x: fnp.argmax(x, 0), [draw((5000, 20), "f4", "argmax")])
    found["variance of columns"] = (lambda x: fnp.var(x, 0), [draw((3001, 24), BF16, "variance")])
    found["four transposes"] = (lambda a, b, c, d: a.T * b.T + c.T * d.T, [draw((70, 90), "f4", n) for n in "abcd"])
    found["scaled transpose"] = (lambda x, scale: x.T * scale, [draw((50, 66), "f4", "x"), draw((), "f4", "scale")])
    found["scaled columns"] = (lambda x, scale: (x * scale).sum(0), [draw((300, 66), "f4", "x"), draw((), "f4", "s")])
    found["padded transpose"] = (masked_transpose, [draw((60, 70), "f4", "x")])
    found["pointwise"] = (lambda a, b, c: nn.gelu(a * b + c), [draw((4096 + 8,), "f4", n) for n in "abc"])
    found["odd pointwise"] = (lambda a, b: (a + b, a > b), [draw((5001,), "f4", n) for n in "ab"])
    found["wide result"] = (lambda a: a.astype("f4") * 2, [draw((8192,), BF16, "a")])
    return found


PROGRAMS = programs()
# Those that together show PoCL every form: on chip and in loops, lanes and none, whole and broken tiles.
ON_POCL = ["softmax (33, 64)", "softmax (7, 77)", "softmax (3, 2052)", "softmax bf16", "layer_norm (9, 1024)",
           "argmax (2, 4099)", "variance (5, 16)", "logsumexp (1, 1000)", "rms (4, 1, 96)", "sum (0, 8)", "max (1, 1)",
           "row max float16", "row max i1", "shifted bfloat16", "total i4", "sum (40, 77) (0,)", "sum (700, 64) (0,)",
           "sum (6, 130, 36) (1,)", "sum (5000, 20) (0,)", "sum (2500, 33) (0,)", "argmax of columns",
           "softmax of columns", "(64, 64) (1, 0) f4", "(33, 77) (1, 0) f4", "(4, 31, 50) (0, 2, 1) bfloat16",
           "(9, 16, 40) (2, 1, 0) f4", "(2, 3, 4, 65) (3, 0, 1, 2) i1", "(130, 257) (1, 0) f8", "fused transpose",
           "mixed transpose", "four transposes", "scaled transpose", "scaled columns",
           "padded transpose", "pointwise", "odd pointwise", "wide result"]


def nests(function, arguments, capabilities) -> list[tuple[LoopNest, tuple]]:
    """The loop nests of a program, and their kernels."""
    with ftiny.device("numpy"):
        program = simplify(ftiny.make_jaxpr(function)(*arguments).close_over()).jaxpr
    compiler = Compiler(capabilities)
    compiler.plan(program)
    return [(nest, sources) for nest, (sources, _) in compiler._made.items()]


@pytest.mark.parametrize("start", range(4))
def test_kernels_compile(start):
    """All of them, for the newest and the oldest architecture, equal texts once."""
    pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed (the extra 'cuda')")
    texts = {source.text: source.name for function, arguments in list(PROGRAMS.values())[start::4]
             for _, sources in nests(function, arguments, FEW) for source in sources}
    for text, name in texts.items():
        nvrtc.compile_cubin(text, "sm_90a", name)


@pytest.mark.parametrize("name", ON_POCL)
def test_on_pocl(name):
    """Every loop nest of the program on random data."""
    function, arguments = PROGRAMS[name]
    for nest, _ in nests(function, arguments, POCL):
        inputs = {v.name: draw(v.shape, v.memory, v.name) for v in nest.arguments if v.name in nest.inputs()}
        wanted = evaluate_nest(nest, inputs)
        for output, found in run_opencl(nest, inputs, POCL).items():
            want = np.asarray(wanted[output])
            if want.dtype == np.bool_:
                found = found.view(np.bool_)
            wide = np.float64 if want.dtype.kind in "fV" else want.dtype
            tolerance = 2e-2 if want.dtype.itemsize == 2 else 2e-4
            np.testing.assert_allclose(found.astype(wide), want.astype(wide), tolerance, tolerance, err_msg=output)


@pytest.mark.gpu
@pytest.mark.parametrize("name", PROGRAMS)
def test_on_cuda(name):
    """The program against the interpreter, and the same bits twice."""
    function, arguments = PROGRAMS[name]
    narrow = any(np.dtype(np.asarray(a).dtype).itemsize == 2 for a in arguments)
    first = check_compiled(function, *arguments, device="cuda", tolerance=4e-2 if narrow else 3e-4)
    second = check_compiled(function, *arguments, device="cuda", tolerance=4e-2 if narrow else 3e-4)
    for one, other in zip(first, second):
        assert one.tobytes() == other.tobytes()
