"""Emitted kernels compute what expressions mean: every operation on every dtype, in vectors and scalars, on
PoCL against numpy; the walls on PoCL; CUDA text through NVRTC; softmax's text in both dialects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from running import CPU, CUDA, GPU, SCALAR, run_opencl, sources
from walls import WALLS, softmax

from ftiny.lowering.expr import (
    BOOL,
    COMPARISONS,
    Axis,
    Expr,
    axis,
    bitcast,
    bitwise,
    cast,
    compare,
    const,
    div,
    evaluate,
    load,
    math,
    maximum,
    minimum,
    power,
    rem,
    select,
    where,
)
from ftiny.lowering.loops import LoopNest, Map, Value, Write, fold
from ftiny.lowering.loops_interpreter import evaluate_nest
from ftiny.lowering.schedule import schedule

SNAPSHOTS = Path(__file__).parent / "snapshots"
BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BF16]
INTEGERS = [np.dtype(f"{k}{s}") for k in "iu" for s in (1, 2, 4, 8)]
COUNT = 16 * 6 + 5
I = Axis("i", COUNT)  # noqa: E741

# Functions by domain: everywhere, positive, within (-1, 1), from 1 up.
ANYWHERE = ("neg abs sign floor ceil round exp expm1 exp2 sin cos tan atan sinh cosh tanh asinh erf erfc cbrt logistic "
            "is_finite").split()
POSITIVE = "log log2 sqrt rsqrt lgamma digamma log1p".split()
INSIDE = "asin acos atanh erfinv".split()
ABOVE_ONE = ["acosh"]
TOLERANCE = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 4e-6, np.dtype(np.float16): 2e-3, BF16: 1.6e-2}
ROUGH = {"digamma": 4e-5, "lgamma": 1e-5, "erfinv": 2e-5, "tan": 2e-5, "pow": 2e-5, "erfc": 1e-5, "rem": 1e-3}


def run_all(exprs: dict[str, Expr], inputs: dict[str, np.ndarray], capabilities=CPU) -> dict[str, tuple]:
    """(got, expected) of every expression, all of them computed by one kernel over COUNT points."""
    arguments = [Value(n, a.shape, a.dtype) for n, a in inputs.items()]
    outputs = [Value(f"o_{n}", (COUNT,), e.dtype) for n, e in exprs.items()]
    writes = tuple(Write(f"o_{n}", (I,), e) for n, e in exprs.items())
    nest = LoopNest("operations", (I,), (*arguments, *outputs), (), (Map((), writes),))
    results = run_opencl(nest, inputs, capabilities)
    expected = evaluate(exprs.values(), {I: np.arange(COUNT)}, lambda name, index: inputs[name][index])
    return {n: (results[f"o_{n}"].astype(e.dtype) if e.dtype == BOOL else results[f"o_{n}"],
                np.broadcast_to(want, (COUNT,))) for (n, e), want in zip(exprs.items(), expected)}


def element(name: str, dtype: np.dtype) -> Expr:
    return load(name, (axis(I),), dtype)


def floats(rng: np.random.Generator, dtype: np.dtype, special: bool = True) -> np.ndarray:
    data = rng.standard_normal(COUNT) * 3
    if special:
        data[[0, 5, 17, 40, 41, 99]] = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.nan]
    return data.astype(dtype)


def integers(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    limits = np.iinfo(dtype)
    data = rng.integers(limits.min, limits.max, COUNT, dtype, endpoint=True)
    data[:40] = rng.integers(0 if dtype.kind == "u" else -5, 6, 40)
    data[40:44] = [limits.min, limits.max, 0, limits.max]
    return data


def check(results: dict[str, tuple], dtype: np.dtype) -> None:
    for name, (got, want) in results.items():
        if want.dtype.kind in "iub":
            np.testing.assert_array_equal(got, want, err_msg=name)
            continue
        tolerance = max(TOLERANCE[dtype], ROUGH.get(name, 0) if dtype.itemsize == 4 else 0)
        tolerance = 1e-9 if dtype == np.float64 and name in ROUGH else tolerance
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance,
                                   atol=tolerance * 0.3, err_msg=name)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_functions(dtype: np.dtype) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": floats(rng, dtype), "p": (np.abs(floats(rng, dtype, False)) + 0.05).astype(dtype),
              "u": rng.uniform(-0.98, 0.98, COUNT).astype(dtype), "a": rng.uniform(1.1, 9, COUNT).astype(dtype)}
    x, p, u, a = (element(n, dtype) for n in inputs)
    exprs = {f: math(f, x) for f in ANYWHERE} | {f: math(f, p) for f in POSITIVE}
    exprs |= {f: math(f, u) for f in INSIDE} | {f: math(f, a) for f in ABOVE_ONE}
    check(run_all(exprs, inputs), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_pairs(dtype: np.dtype) -> None:
    rng = np.random.default_rng(1)
    inputs = {"x": floats(rng, dtype), "y": np.roll(floats(rng, dtype), 3),
              "p": (np.abs(floats(rng, dtype, False)) + 0.1).astype(dtype)}
    x, y, p = (element(n, dtype) for n in inputs)
    exprs = {"add": x + y, "sub": x - y, "mul": x * y, "div": x / y, "minimum": minimum(x, y),
             "maximum": maximum(x, y), "pow": power(p, y), "atan2": math("atan2", x, y), "rem": rem(x, p),
             "select": select(x < y, x * 2.0, y), "broadcast": select(compare("lt", p, const(1, dtype)), p, x)}
    exprs |= {d: compare(d, x, y) for d in COMPARISONS}
    check(run_all(exprs, inputs), dtype)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers(dtype: np.dtype) -> None:
    rng = np.random.default_rng(2)
    inputs = {"x": integers(rng, dtype), "y": np.roll(integers(rng, dtype), 7),
              "s": rng.integers(0, 70, COUNT).astype(dtype), "e": rng.integers(0, 5, COUNT).astype(dtype)}
    x, y, s, e = (element(n, dtype) for n in inputs)
    exprs = {"add": x + y, "sub": x - y, "mul": x * y, "div": div(x, y), "rem": rem(x, y), "pow": power(x, e),
             "minimum": minimum(x, y), "maximum": maximum(x, y), "sign": math("sign", x), "abs": math("abs", x),
             "neg": -x, "not": ~x, "and": x & y, "or": x | y, "xor": x ^ y, "select": select(x < y, x, y),
             "clz": math("clz", x), "population_count": math("population_count", x)}
    exprs |= {n: bitwise(n, x, s) for n in ("shift_left", "shift_right_logical", "shift_right_arithmetic")}
    exprs |= {d: compare(d, x, y) for d in COMPARISONS}
    check(run_all(exprs, inputs), dtype)


@pytest.mark.parametrize("dtype", [BOOL, *INTEGERS, *FLOATS], ids=str)
def test_conversions(dtype: np.dtype) -> None:
    rng = np.random.default_rng(3)
    if dtype == BOOL:
        data = rng.integers(0, 2, COUNT).astype(bool)
    elif dtype in INTEGERS:
        data = integers(rng, dtype)
    else:
        data = floats(rng, dtype)
        with np.errstate(over="ignore"):
            data[60:70] = np.array([1e9, -1e9, 3e19, -3e19, 254.9, 255.5, -128.7, 65504, 0.5, -0.5]).astype(dtype)
    x = element("x", dtype)
    exprs = {str(t): cast(x, t) for t in (BOOL, *INTEGERS, *FLOATS)}
    same_size = [t for t in (*INTEGERS, *FLOATS) if t.itemsize == dtype.itemsize and dtype != BOOL]
    # Bits of NaN are not compared: a NaN may change its payload on the way through a register.
    bits = {f"bits_{t}": bitcast(x, t) for t in same_size if dtype in INTEGERS and t in INTEGERS}
    for name, (got, want) in run_all(exprs | bits, {"x": data}).items():
        if want.dtype == BF16:
            got, want = got.astype(np.float32), want.astype(np.float32)
        np.testing.assert_array_equal(got, want, err_msg=f"{dtype} to {name}")
    if dtype in FLOATS:
        plain = np.where(np.isfinite(data.astype(np.float64)), data.astype(np.float64), 1.0).astype(dtype)
        unsigned = np.dtype(f"u{dtype.itemsize}")
        there = run_all({"there": bitcast(x, unsigned)}, {"x": plain})["there"][0]
        np.testing.assert_array_equal(there, plain.view(unsigned))
        back = run_all({"back": bitcast(element("x", unsigned), dtype)}, {"x": there})["back"][0]
        np.testing.assert_array_equal(back, plain)


def test_bools() -> None:
    rng = np.random.default_rng(4)
    inputs = {"x": rng.integers(0, 2, COUNT).astype(bool), "y": rng.integers(0, 2, COUNT).astype(bool)}
    x, y = element("x", BOOL), element("y", BOOL)
    exprs = {"and": x & y, "or": x | y, "xor": x ^ y, "not": ~x, "eq": compare("eq", x, y), "select": select(x, y, ~y),
             "minimum": minimum(x, y), "maximum": maximum(x, y), "add": x + y, "mul": x * y}
    check(run_all(exprs, inputs), BOOL)


@pytest.mark.parametrize("capabilities", [CPU, SCALAR, GPU], ids=["vectors", "scalars", "threads"])
def test_guarded_and_gathered_loads(capabilities) -> None:
    """Reversed, strided, shifted out of range, and data-dependent accesses; nothing outside is touched."""
    rng = np.random.default_rng(5)
    f32, i64 = np.dtype(np.float32), np.dtype(np.int64)
    inputs = {"x": rng.standard_normal(COUNT).astype(f32), "w": rng.integers(-9, COUNT + 9, COUNT),
              "h": rng.standard_normal(2 * COUNT).astype(np.float16), "b": rng.integers(0, 2, COUNT).astype(bool)}
    i = axis(I)
    wanted = load("w", (i,), i64)
    exprs = {
        "reversed": load("x", (COUNT - 1 - i,), f32),
        "strided": load("h", (i * 2 + 1,), np.dtype(np.float16)),
        "shifted": load("x", (i - 7,), f32, i >= 7, -1.0),
        "tail": load("x", (i + 20,), f32, i < COUNT - 20, 3.0),
        "wrapped": load("x", ((i + 50) % COUNT,), f32),
        "gathered": load("x", (wanted,), f32, (wanted >= 0) & (wanted < COUNT), 0.5),
        "clipped": load("x", (minimum(maximum(wanted, const(0)), const(COUNT - 1)),), f32),
        "padded": where(i >= 3, math("exp", load("x", (i - 3,), f32)), const(9.0, f32)),
        "bools": load("b", (COUNT - 1 - i,), BOOL),
        "bools_guarded": load("b", (i - 5,), BOOL, i >= 5, True),
        "one": load("x", (const(4),), f32, i < 40, 0.0),
        "positions": cast(i * 3 + 1, np.dtype(np.int32)),
        "big": i * (2**33) + 5,
    }
    for name, (got, want) in run_all(exprs, inputs, capabilities).items():
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=name)


def test_scattered_writes_add_up() -> None:
    rng = np.random.default_rng(6)
    rows, width, count = 11, 21, 50
    t, j = Axis("t", count), Axis("j", width)
    table, index, update = (Value("table", (rows, width), np.float32), Value("index", (count,), np.int32),
                            Value("update", (count, width), np.float32))
    where_ = cast(index[t], np.dtype(np.int64))
    nest = LoopNest("scatter", (t, j), (table, index, update), (), (
        Map((), (Write("table", (where_, axis(j)), update[t, j], where_ >= 0, "add"),)),))
    inputs = {"table": rng.integers(-9, 9, (rows, width)).astype(np.float32),
              "index": rng.integers(-1, rows, count).astype(np.int32),
              "update": rng.integers(-9, 9, (count, width)).astype(np.float32)}
    expected = inputs["table"].copy()
    for k, row in enumerate(inputs["index"]):
        if row >= 0:
            expected[row] += inputs["update"][k]
    np.testing.assert_array_equal(evaluate_nest(nest, inputs)["table"], expected)
    for capabilities in (CPU, GPU):
        np.testing.assert_array_equal(run_opencl(nest, inputs, capabilities)["table"], expected)


@pytest.mark.parametrize("target", ["vectors", "threads"])
@pytest.mark.parametrize("name", WALLS)
def test_walls_on_pocl(name: str, target: str) -> None:
    case = WALLS[name](np.random.default_rng(7))
    results = run_opencl(case.nest, case.inputs, CPU if target == "vectors" else GPU)
    for output, want in case.expected.items():
        np.testing.assert_allclose(results[output], want, rtol=2e-5, atol=2e-5, err_msg=output)


@pytest.mark.parametrize("shape, axes", [((1000,), (0,)), ((40, 77), (0, 1)), ((40, 77), (0,)), ((40, 77), (1,)),
                                         ((3, 50, 7), (1,)), ((200_003,), (0,)), ((129, 1025), (0, 1)),
                                         ((2, 2, 4, 4, 4), (0, 1, 2, 3, 4)), ((3, 2, 4, 9, 5), (0, 2, 3, 4))])
@pytest.mark.parametrize("op", ["add", "maximum"])
@pytest.mark.parametrize("capabilities", [CPU, GPU, replace(CPU, compute_units=64), replace(GPU, compute_units=132)],
                         ids=["vectors", "threads", "many cores", "many blocks"])
def test_reductions(shape: tuple, axes: tuple, op: str, capabilities) -> None:
    rng = np.random.default_rng(8)
    data = rng.integers(-99, 99, shape).astype(np.float32)
    data.flat[data.size // 2] = np.nan if op == "maximum" else 1.0
    names = [Axis(f"a{k}", n) for k, n in enumerate(shape)]
    kept = tuple(a for k, a in enumerate(names) if k not in axes)
    x, y = Value("x", shape, np.float32), Value("y", tuple(a.extent for a in kept), np.float32)
    s = Value("s", (), np.float32, scope="register")
    nest = LoopNest("reduce", kept, (x, y), (), (
        fold(op, s, over=[names[k] for k in axes], of=x[tuple(names)]), Map((), (Write("y", kept, s[()] * 1.0),))))
    want = data.sum(axes) if op == "add" else data.max(axes)
    np.testing.assert_allclose(run_opencl(nest, {"x": data}, capabilities)["y"], want, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("capabilities", [CPU, SCALAR, GPU], ids=["vectors", "scalars", "threads"])
def test_a_guard_on_a_state_stays_in_force(capabilities) -> None:
    """concatenate(s, s + s) of a column sum, as fusion writes it: every read of the state has a guard."""
    i, j, k = Axis("i", 33), Axis("j", 5), Axis("k", 2)
    x, y = Value("x", (5, 33), np.float32), Value("y", (2, 33), np.float32)
    s = Value("s", (), np.float32, scope="register")
    upper = axis(k) < 1
    value = where(upper, s[()], where(~upper, s[()] + s[()], const(0.0, x.dtype)))
    nest = LoopNest("guards", (i,), (x, y), (), (
        fold("add", s, over=(j,), of=x[j, i]), Map((k,), (Write("y", (k, i), value),))))
    data = np.random.default_rng(10).integers(-9, 9, (5, 33)).astype(np.float32)
    want = np.stack([data.sum(0), 2 * data.sum(0)])
    np.testing.assert_array_equal(evaluate_nest(nest, {"x": data})["y"], want)
    np.testing.assert_array_equal(run_opencl(nest, {"x": data}, capabilities)["y"], want)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(5, 37), (2, 40_000), (1, 4_099), (30_000, 3)])
@pytest.mark.parametrize("capabilities", [CPU, GPU], ids=["vectors", "threads"])
def test_scans(shape: tuple, reverse: bool, capabilities) -> None:
    data = np.random.default_rng(9).integers(-9, 9, shape).astype(np.float32)
    row, j = Axis("row", shape[0]), Axis("j", shape[1])
    x, y = Value("x", shape, np.float32), Value("y", shape, np.float32)
    s = Value("s", (), np.float32, scope="register")
    nest = LoopNest("scan", (row,), (x, y), (), (
        fold("add", s, over=(j,), of=x[row, j], emit=(Write("y", (row, j), s[()]),), reverse=reverse),))
    want = np.cumsum(data[:, ::-1], 1)[:, ::-1] if reverse else np.cumsum(data, 1)
    np.testing.assert_array_equal(run_opencl(nest, {"x": data}, capabilities)["y"], want)
    if shape[1] < 100 and shape[0] < 100:
        np.testing.assert_array_equal(evaluate_nest(nest, {"x": data})["y"], want)


def test_deep_and_wide_expressions_stay_linear() -> None:
    """40 doublings and a chain of 3000 operations: text grows with the DAG."""
    x = element("x", np.dtype(np.float32))
    y = x
    for _ in range(40):
        y = y * 0.5 + y * 0.25
    z = x
    for _ in range(3000):
        z = math("abs", z) + 0.001
    nest = LoopNest("deep", (I,), (Value("x", (COUNT,), np.float32), Value("y", (COUNT,), np.float32),
                                   Value("z", (COUNT,), np.float32)), (),
                    (Map((), (Write("y", (I,), y), Write("z", (I,), z))),))
    (source,) = sources(nest)
    assert len(source.text) < 400_000


@pytest.mark.parametrize("dialect", ["cl", "cu"])
def test_softmax_text(dialect: str, request) -> None:
    """What softmax becomes, whole; --update-snapshots rewrites the files."""
    nest = softmax(np.random.default_rng(0), 64, 77).nest
    text = "\n".join(s.text for s in sources(nest, CPU if dialect == "cl" else CUDA))
    path = SNAPSHOTS / f"softmax.{dialect}"
    if request.config.getoption("--update-snapshots"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_kernels_print_themselves() -> None:
    scheduled = schedule(softmax(np.random.default_rng(0), 64, 77).nest, CPU)
    assert str(scheduled).startswith("kernel softmax(x: float32, out y: float32)")


def compile_cuda(text: str, arch: str) -> None:
    """Compile with NVRTC; an error shows the log and the text."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    _, program = nvrtc.nvrtcCreateProgram(text.encode(), b"kernel.cu", 0, [], [])
    options = [f"--gpu-architecture={arch}".encode()]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * size
    nvrtc.nvrtcGetProgramLog(program, log)
    assert int(status) == 0, log.decode() + text


@pytest.mark.parametrize("name", WALLS)
def test_walls_compile_for_cuda(name: str) -> None:
    for source in sources(WALLS[name](np.random.default_rng(0)).nest, CUDA):
        for arch in ("sm_80", "sm_90a"):
            compile_cuda(source.text, arch)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
def test_operations_compile_for_cuda(dtype: np.dtype) -> None:
    x, y = element("x", dtype), element("y", dtype)
    exprs = [cast(x, t) for t in (BOOL, *INTEGERS, *FLOATS)] + [x + y, div(x, y), rem(x, y), power(x, y),
             minimum(x, y), maximum(x, y)] + [compare(d, x, y) for d in COMPARISONS]
    exprs += [bitcast(x, t) for t in (*INTEGERS, *FLOATS) if t.itemsize == dtype.itemsize]
    if dtype in FLOATS:
        exprs += [math(f, x) for f in (*ANYWHERE, *POSITIVE, *INSIDE, *ABOVE_ONE)] + [math("atan2", x, y)]
    else:
        exprs += [bitwise(n, x, y) for n in ("shift_left", "shift_right_logical", "shift_right_arithmetic", "and")]
        exprs += [math(f, x) for f in ("clz", "population_count", "sign", "abs")]
    arguments = [Value("x", (COUNT,), dtype), Value("y", (COUNT,), dtype)]
    outputs = [Value(f"o{k}", (COUNT,), e.dtype) for k, e in enumerate(exprs)]
    nest = LoopNest("operations", (I,), (*arguments, *outputs), (),
                    (Map((), tuple(Write(f"o{k}", (I,), e) for k, e in enumerate(exprs))),))
    for source in sources(nest, CUDA):
        compile_cuda(source.text, "sm_80")
