"""Contractions scheduled as register tiles (CPU) and shared-memory tiles (GPU dialect, run by PoCL's work-groups):
every kind of contraction, epilogue, prologue and dtype at odd sizes, against numpy in float64 or integers."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import ml_dtypes  # noqa: F401  (names bfloat16 to numpy)
import numpy as np
import pytest
from running import CPU, CUDA, GPU, SCALAR, run_opencl, sources

import ftiny
import ftiny.lax
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.emit_c import emit
from ftiny.lowering.expr import (
    Axis,
    Expr,
    axis,
    cast,
    compare,
    const,
    floordiv,
    load,
    logical_and,
    maximum,
    mod,
    select,
)
from ftiny.lowering.index import simplify
from ftiny.lowering.loops import LoopNest, Map, Value, Write, check_nest, fold
from ftiny.lowering.loops_interpreter import evaluate_nest
from ftiny.lowering.plan_types import (
    Arena,
    Argument,
    Buffer,
    Donated,
    Graph,
    Launch,
    Plan,
    Pointer,
    Result,
    nested_plans,
)
from ftiny.lowering.schedule import schedule
from ftiny.lowering.schedule_contract import contraction_of
from ftiny.lowering.schedule_contract_cuda import BLOCKS, schedule_block, schedule_cuda
from ftiny.lowering.schedule_contract_operands import direct, joined_axes, materialised
from ftiny.lowering.simplify import simplify as simplify_program

F32 = np.dtype(np.float32)
TARGETS = {"cpu": CPU, "gpu": GPU}
EVERYWHERE = [*TARGETS, pytest.param("cuda", marks=pytest.mark.gpu)]
NARROW = {"scalar": SCALAR, "eight": replace(CPU, vector_width=8, compute_units=64)}


def matmul(m: int, k: int, n: int, transposed: str = "", dtype=F32, epilogue: str = "", accumulate=None) -> LoopNest:
    """a @ b, with `transposed` naming the operands that lie the other way, and an epilogue."""
    row, depth, column = Axis("m", m), Axis("k", k), Axis("n", n)
    dtype, accumulate = np.dtype(dtype), np.dtype(accumulate or dtype)
    a = Value("a", (k, m) if "a" in transposed else (m, k), dtype)
    b = Value("b", (n, k) if "b" in transposed else (k, n), dtype)
    c, s = Value("c", (m, n), accumulate), Value("s", (), accumulate, scope="register")
    left = a[depth, row] if "a" in transposed else a[row, depth]
    right = b[column, depth] if "b" in transposed else b[depth, column]
    product = fold("add", s, (depth,), cast(left, accumulate) * cast(right, accumulate), atom="multiply_add")
    extra, stages, values = EPILOGUES[epilogue](s[()], c, row, column)
    return LoopNest("mm", (row, column), (a, b, *extra, c), values, (product, *stages))


def _plain(total: Expr, c: Value, row: Axis, column: Axis):
    return (), (Map((), (Write("c", (row, column), total),)),), ()


def _bias_relu(total: Expr, c: Value, row: Axis, column: Axis):
    bias = Value("bias", (column.extent,), c.dtype)
    value = maximum(total + bias[column], const(0, c.dtype))
    return (bias,), (Map((), (Write("c", (row, column), value),)),), ()


def _momentum(total: Expr, c: Value, row: Axis, column: Axis):
    old, p, new = (Value(n, c.shape, c.dtype) for n in ("m_old", "p", "m_new"))
    momentum = old[row, column] * 0.5 + total
    writes = Write("m_new", (row, column), momentum), Write("c", (row, column), p[row, column] - momentum * 0.25)
    return (old, p, new), (Map((), writes),), ()


def _in_place(total: Expr, c: Value, row: Axis, column: Axis):
    """Reads what it writes: an element that is written twice shows."""
    return (), (Map((), (Write("c", (row, column), c[row, column] * 2.0 + total),)),), ()


def _bias_gradient(total: Expr, c: Value, row: Axis, column: Axis):
    """Masked, through a register value, then summed over the rows: a fold across the grid."""
    h, d, mask = Value("h", c.shape, F32), Value("d", (column.extent,), F32), Value("mask", c.shape, np.dtype(bool))
    masked, s = Value("masked", (), F32, scope="register"), Value("d_sum", (), F32, scope="register")
    alive = compare("gt", h[row, column], const(0, F32))
    first = Map((), (Write("masked", (), select(alive, total, const(0, F32))), Write("mask", (row, column), alive)))
    second = Map((), (Write("c", (row, column), masked[()]),))
    third = fold("add", s, (row,), masked[()], finish=(Write("d", (column,), s[()]),), across="second_kernel")
    return (h, d, mask), (first, second, third), (masked,)


def _row_fold_of_an_input(total: Expr, c: Value, row: Axis, column: Axis):
    """A fold across the grid of the sum and of an argument that is neither the sum nor an output."""
    p, d, s = Value("p", c.shape, F32), Value("d", (row.extent,), F32), Value("d_sum", (), F32, scope="register")
    fold_ = fold("add", s, (column,), total * p[row, column], finish=(Write("d", (row,), s[()]),),
                 across="second_kernel")
    return (p, d), (Map((), (Write("c", (row, column), total + p[row, column]),)), fold_), ()


EPILOGUES = {"": _plain, "bias_relu": _bias_relu, "momentum": _momentum, "in_place": _in_place,
             "bias_gradient": _bias_gradient, "row_fold": _row_fold_of_an_input}


def data(nest: LoopNest, seed: int = 0) -> dict[str, np.ndarray]:
    """Fresh values for what the nest reads."""
    rng = np.random.default_rng(seed)
    return {v.name: rng.integers(-9, 10, v.shape).astype(v.storage) if v.storage.kind in "iu"
            else rng.standard_normal(v.shape).astype(v.storage) for v in nest.arguments if v.name in nest.inputs()}


def run(nest: LoopNest, target: str) -> None:
    """Run the nest on PoCL, or on a CUDA device, and compare with the interpreter."""
    check_nest(nest)
    arrays = data(nest)
    if target == "cuda":
        got = run_on_device(nest, arrays, cuda_device())
    else:
        got = run_opencl(nest, arrays, {**TARGETS, **NARROW}[target])
    agree(got, evaluate_nest(nest, arrays))


def cuda_device():
    """The first CUDA device, or skip."""
    import ftiny

    found = [device for device in ftiny.devices() if device.kind == "cuda"]
    return found[0] if found else pytest.skip("no CUDA device here")


def run_on_device(nest: LoopNest, arrays: dict, device) -> dict:
    """Run the nest's kernels as a plan on a device; what is read and written is donated."""
    scheduled = schedule(nest, device.capabilities)
    outputs, arguments = nest.outputs(), [v.name for v in nest.arguments if v.name in arrays]
    buffers, arena = [], 0
    for value in nest.arguments:
        name, number = value.name, arguments.index(value.name) if value.name in arguments else -1
        if name in outputs and number >= 0:
            buffers.append(Buffer(f"{name}.before", value.shape, value.storage, owner=Argument(number)))
            buffers.append(Buffer(name, value.shape, value.storage, owner=Donated(number)))
        else:
            owner = Argument(number) if number >= 0 else Result(outputs.index(name))
            buffers.append(Buffer(name, value.shape, value.storage, owner=owner))
    for value in scheduled.scratch:
        buffers.append(Buffer(value.name, value.shape, value.storage, owner=Arena(arena)))
        arena += -(-buffers[-1].nbytes // 512) * 512
    sources_ = tuple(emit(kernel, device.capabilities.dialect) for kernel in scheduled.kernels)
    launches = tuple(Launch(k, tuple(Pointer(p.name) for p in s.params)) for k, s in enumerate(sources_))
    names = tuple(f"{n}.before" if n in outputs else n for n in arguments)
    executable = device.load(Plan(tuple(buffers), sources_, (Graph(launches),), arena, names, outputs))
    memories = [device.from_host(np.ascontiguousarray(arrays[n])) for n in arguments]
    donated = [k for k, n in enumerate(arguments) if n in outputs]
    results = executable.run(memories, donated)
    values = [nest.value(n) for n in outputs]
    return {v.name: device.to_host(m, SimpleNamespace(shape=v.shape, dtype=v.storage, size=math.prod(v.shape)))
            for v, m in zip(values, results)}


def test_plans_run_on_the_default_opencl_device(opencl) -> None:
    """What the tests on CUDA use to run nests agrees with the interpreter on OpenCL too."""
    import ftiny

    device = next(d for d in ftiny.devices() if d.kind == "opencl")
    for nest in (matmul(21, 4321, 18, "b", epilogue="bias_gradient"), matmul(40, 21, 50, epilogue="in_place")):
        arrays = data(nest)
        agree(run_on_device(nest, arrays, device), evaluate_nest(nest, arrays))


def agree(got: dict, want: dict) -> None:
    """Equal names; equal integers; floats equal but for the order of summation."""
    assert set(got) == set(want)
    for name in want:
        if want[name].dtype.kind == "f":
            size = max(1.0, float(np.abs(want[name]).max(initial=0)))
            np.testing.assert_allclose(got[name], want[name], rtol=0, atol=2e-6 * size, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name].astype(np.int64), want[name].astype(np.int64), err_msg=name)


# ------------------------------------------------------------------------------------ products


SHAPES = [(37, 29, 53, ""), (37, 29, 53, "a"), (19, 30, 67, "b"), (23, 17, 31, "ab"), (13, 100, 9, "a"), (3, 10, 3, ""),
          (130, 5, 10, ""), (1, 40, 70, ""), (2, 1, 33, "b"), (33, 64, 64, "ab")]


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("m, k, n, transposed", SHAPES)
def test_products(m: int, k: int, n: int, transposed: str, target: str) -> None:
    run(matmul(m, k, n, transposed), target)


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("m, k, n, transposed", [(40, 21, 50, ""), (45, 21, 50, "b"), (40, 21, 5, "a")])
@pytest.mark.parametrize("epilogue", [e for e in EPILOGUES if e])
def test_epilogues(epilogue: str, m: int, k: int, n: int, transposed: str, target: str) -> None:
    nest = matmul(m, k, n, transposed, epilogue=epilogue)
    assert contraction_of(nest) is not None
    run(nest, target)


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("dtype", ["float64", "int8", "int32", "int64", "uint16"])
def test_dtypes(dtype: str, target: str) -> None:
    run(matmul(21, 33, 18, "b", dtype), target)
    run(matmul(21, 33, 40, "", dtype, "bias_relu"), target)


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_narrow_operands_accumulate_wider(dtype: str, target: str) -> None:
    run(matmul(21, 33, 40, "a", dtype, accumulate="int32" if dtype == "int8" else "float32"), target)


@pytest.mark.parametrize("epilogue", ["momentum", "in_place", "bias_relu"])
def test_panels_in_uneven_groups(epilogue: str) -> None:
    """A panel of 1000 x 32 fills half of what is kept together: 150 columns make groups of two and one edge."""
    run(matmul(200, 1000, 150, epilogue=epilogue), "cpu")


@pytest.mark.parametrize("target", NARROW)
def test_other_vector_widths_and_many_cores(target: str) -> None:
    run(matmul(70, 33, 90, epilogue="momentum"), target)
    run(matmul(21, 33, 40, "b", "float64"), target)
    run(convolution("x", 2, 1), target)


@pytest.mark.parametrize("epilogue", ["momentum", "bias_gradient"])
@pytest.mark.parametrize("target", EVERYWHERE)
def test_long_depths_are_split(target: str, epilogue: str) -> None:
    nest = matmul(21, 4321, 18, "a", epilogue=epilogue)
    scheduled = schedule(nest, TARGETS.get(target, CUDA))
    assert any(v.name == "mm_partial" and v.shape[0] > 1 for v in scheduled.scratch)
    run(nest, target)


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: f"{b.rows}x{b.columns}x{b.depth}")
@pytest.mark.parametrize("target", ["gpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_block_of_the_gpu(target: str, block, splits: int, monkeypatch) -> None:
    import ftiny.lowering.schedule_contract_cuda as module

    monkeypatch.setattr(module, "choose_block", lambda *_: replace(block, splits=splits))
    run(matmul(141, 75, 150, epilogue="bias_relu"), target)
    run(matmul(140, 76, 36, "ab", epilogue="momentum"), target)


# ------------------------------------------------------------------ batches and prologues


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("extents", [(5, 7, 3, 6, 10), (3, 33, 20, 40, 2)])
def test_batches_with_axes_in_any_order(extents: tuple[int, ...], target: str) -> None:
    """y[i, b, j, c] = sum over k of x[b, k, i, c] * w[c, j, b, k]"""
    b, i, j, k, c = (Axis(n, e) for n, e in zip("bijkc", extents))
    x = Value("x", (b.extent, k.extent, i.extent, c.extent), F32)
    w = Value("w", (c.extent, j.extent, b.extent, k.extent), F32)
    y, s = Value("y", (i.extent, b.extent, j.extent, c.extent), F32), Value("s", (), F32, scope="register")
    product = fold("add", s, (k,), x[b, k, i, c] * w[c, j, b, k], atom="multiply_add")
    write = Map((), (Write("y", (i, b, j, c), s[()]),))
    run(LoopNest("batched", (i, b, j, c), (x, w, y), (), (product, write)), target)


@pytest.mark.parametrize("target", EVERYWHERE)
def test_prologues_gathers_and_flattened_operands(target: str) -> None:
    """rows gathered and rectified on the left; on the right a [4, 5, 6] block read as [20, 6], masked."""
    m, k, n = Axis("m", 35), Axis("k", 20), Axis("n", 6)
    x, rows = Value("x", (11, 20), F32), Value("rows", (35,), np.dtype(np.int32))
    w, mask = Value("w", (4, 5, 6), F32), Value("mask", (4, 5, 6), np.dtype(np.int32))
    y, s = Value("y", (35, 6), F32), Value("s", (), F32, scope="register")
    row = cast(rows[m], np.dtype(np.int64)) % 11
    left = maximum(load("x", (row, axis(k)), F32), const(0, F32))
    at = (floordiv(axis(k), const(5)), mod(axis(k), const(5)), axis(n))
    right = select(compare("gt", load("mask", at, np.dtype(np.int32)), const(0, np.dtype(np.int32))),
                   load("w", at, F32), const(0, F32))
    product = fold("add", s, (k,), left * right, atom="multiply_add")
    nest = LoopNest("fused", (m, n), (x, rows, w, mask, y), (), (product, Map((), (Write("y", (m, n), s[()]),))))
    run(nest, target)


# --------------------------------------------------------------------------------- convolutions


def window(value: Value, index: list[Expr], inside: list[Expr]) -> Expr:
    """A load that is 0 outside."""
    return load(value.name, index, F32, simplify(logical_and(*inside)) if inside else None)


def within(index: Expr, extent: int) -> list[Expr]:
    """0 <= index < extent"""
    return [compare("ge", index, const(0)), compare("lt", index, const(extent))]


def convolution(what: str, stride: int, pad: int, n=3, h=9, w=11, c=5, o=7, r=3, s=3, dilation=1) -> LoopNest:
    """NHWC * HWIO, forward ('y') or the gradient for 'x' or 'k'."""
    p = (h + 2 * pad - dilation * (r - 1) - 1) // stride + 1
    q = (w + 2 * pad - dilation * (s - 1) - 1) // stride + 1
    names = dict(zip("npqfrschw", (n, p, q, o, r, s, c, h, w)))
    N, P, Q, F, R, S, C, H, W = (Axis(name, extent) for name, extent in names.items())
    x, k, y = Value("x", (n, h, w, c), F32), Value("k", (r, s, c, o), F32), Value("y", (n, p, q, o), F32)
    at = [axis(P) * stride + axis(R) * dilation - pad, axis(Q) * stride + axis(S) * dilation - pad]
    patch = window(x, [axis(N), *at, axis(C)], within(at[0], h) + within(at[1], w))
    if what == "y":
        grid, over, product, out, inputs = (N, P, Q, F), (R, S, C), patch * k[R, S, C, F], y, (x, k)
    elif what == "k":
        grid, over, product, out, inputs = (R, S, C, F), (N, P, Q), patch * y[N, P, Q, F], k, (x, y)
    else:
        back = [axis(H) + pad - axis(R) * dilation, axis(W) + pad - axis(S) * dilation]
        inside = [compare("eq", mod(b, const(stride)), const(0)) for b in back] if stride > 1 else []
        back = [floordiv(b, const(stride)) for b in back]
        inside += within(back[0], p) + within(back[1], q)
        patch = window(y, [axis(N), *back, axis(F)], inside)
        grid, over, product, out, inputs = (N, H, W, C), (R, S, F), patch * k[R, S, C, F], x, (y, k)
    total = Value("total", (), F32, scope="register")
    stage = fold("add", total, over, product, atom="multiply_add")
    return LoopNest(f"conv_{what}", grid, (*inputs, out), (), (stage, Map((), (Write(out.name, grid, total[()]),))))


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("stride, pad", [(1, 0), (1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("what", ["y", "x", "k"])
def test_convolutions_and_their_gradients(what: str, stride: int, pad: int, target: str) -> None:
    run(convolution(what, stride, pad), target)


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("stride, dilation", [(1, 2), (2, 2), (2, 3)])
@pytest.mark.parametrize("what", ["y", "x", "k"])
def test_dilated_convolutions(what: str, stride: int, dilation: int, target: str) -> None:
    run(convolution(what, stride, 2, dilation=dilation), target)


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("what", ["y", "x", "k"])
def test_convolutions_of_few_and_many_channels(what: str, target: str) -> None:
    run(convolution(what, 1, 0, n=2, h=14, w=14, c=1, o=32), target)
    run(convolution(what, 1, 0, n=2, h=6, w=6, c=32, o=34), target)
    run(convolution(what, 1, 1, n=1, h=8, w=1, c=3, o=16, s=1), target)


# ---------------------------------------------------------------------------- the choices made


def test_axes_are_classified_by_what_depends_on_them() -> None:
    contraction = contraction_of(convolution("y", 2, 1))
    assert contraction is not None
    assert [a.name for a in contraction.rows] == ["n", "p", "q"]
    assert [a.name for a in contraction.columns] == ["f"]
    assert [a.name for a in contraction.depth] == ["r", "s", "c"]
    assert contraction.flops == 2 * 3 * 5 * 6 * 7 * 45


def test_a_padded_window_is_materialised_once_per_distinct_element() -> None:
    contraction = contraction_of(convolution("x", 1, 0, n=2, h=10, w=10, c=4, o=16))
    assert contraction is not None and direct(contraction.left, contraction) is None
    operand = materialised(contraction.left, contraction, "left")
    assert operand.value.shape == (2, 12, 12, 16)
    strides = {a.name: c for a, c in operand.strides.items()}
    assert strides == {"n": 2304, "h": 192, "r": -192, "w": 16, "s": -16, "f": 1}
    assert operand.constant == 2 * 192 + 2 * 16


def test_axes_join_where_every_form_walks_them_as_one() -> None:
    a, b, c = Axis("a", 3), Axis("b", 4), Axis("c", 5)
    assert joined_axes((a, b, c), [{a: 20, b: 5, c: 1}, {a: 40, b: 10, c: 2}]) == [(a, b, c)]
    assert joined_axes((a, b, c), [{a: 20, b: 5, c: 1}, {a: 4, b: 1, c: 100}]) == [(a, b), (c,)]


def test_what_is_no_contraction_is_left_to_others() -> None:
    nest = matmul(5, 6, 7)
    product = nest.stages[0]
    assert contraction_of(replace(nest, stages=(replace(product, atom=None), *nest.stages[1:]))) is None
    assert contraction_of(replace(nest, stages=(*nest.stages[1:],))) is None
    matvec = matmul(50, 60, 1)
    contraction = contraction_of(matvec)
    assert contraction is not None and schedule_cuda(contraction, CUDA) is None
    run(matvec, "cpu")


def test_a_layer_is_one_kernel_and_its_source_is_short() -> None:
    for capabilities in (CPU, CUDA):
        texts = sources(matmul(128, 784, 1024, epilogue="bias_relu"), capabilities)
        assert len(texts) == 1 and len(texts[0].text) < 16_000
        assert texts[0].flops == 2 * 128 * 784 * 1024


def test_small_products_fill_a_gpu() -> None:
    for m, k, n in ((128, 784, 1024), (784, 128, 1024), (128, 1024, 1024)):
        kernel = schedule(matmul(m, k, n), CUDA).kernels[0]
        assert kernel.grid[0] >= 100


def test_a_block_can_be_forced() -> None:
    contraction = contraction_of(matmul(64, 64, 64))
    assert contraction is not None
    scheduled = schedule_block(contraction, replace(BLOCKS[-1], splits=2), CUDA)
    assert scheduled.kernels[0].grid == (32, 1, 1)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_sources_compile_for_cuda(arch: str) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    from ftiny.lowering.nvrtc import compile_cubin

    nests = [matmul(128, 784, 1024, epilogue="bias_relu"), matmul(784, 128, 1024, "a", epilogue="momentum"),
             matmul(21, 4321, 18, "b", epilogue="bias_gradient"), matmul(37, 29, 53, dtype="float64"),
             matmul(37, 29, 53, dtype="float16", accumulate="float32"), matmul(37, 29, 53, dtype="int8")]
    nests += [convolution(what, stride, 1) for what in ("y", "x", "k") for stride in (1, 2)]
    for nest in nests:
        for source in sources(nest, CUDA):
            assert compile_cubin(source.text, arch, source.entry)
            assert source.shared_bytes <= 48 * 1024


def test_wide_accesses_where_operands_are_aligned() -> None:
    """Four neighbours at once from memory, to and from shared memory, and to the result."""
    text = sources(matmul(1024, 512, 1024), CUDA)[0].text
    for wide in ("(const float4*)(a", "(const float4*)(b", "(const float4*)(left_tile_", "*(float4*)(right_tile_"):
        assert wide in text


@pytest.mark.parametrize(("length", "wide"), [(4096, True), (4097, False)])
def test_slices_of_a_scan_are_read_wide_only_where_all_of_them_are_aligned(length: int, wide: bool) -> None:
    """The second slice of 4097 elements starts at an address that no 16-byte access may have."""
    def total(xs, w):
        return ftiny.lax.scan(lambda c, x: (c + x[:4096].reshape(64, 64) @ w, None), w, xs)[0]

    with ftiny.device("numpy"):
        jaxpr = ftiny.make_jaxpr(total)(np.zeros((3, length), np.float32), np.zeros((64, 64), np.float32))
    plans = nested_plans(Compiler(CUDA).plan(simplify_program(jaxpr.close_over()).jaxpr))
    (product,) = (k for plan in plans for k in plan.kernels if k.name.startswith("contract"))
    assert sorted(p.aligned for p in product.params) == [wide, *[True] * (len(product.params) - 1)]
    assert product.text.count("= *(const float4*)(a") == 1 + wide
