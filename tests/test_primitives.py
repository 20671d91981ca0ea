"""Every primitive's rules against each other and against jax: one table of cases drives all checks."""
from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import oracle  # noqa: F401  (sets the environment of jax before it is imported)
import pytest
from primitive_rules import batched, check_factors, inexact, lowered, program, pullback, run, tangent

from ftiny import core, dtypes, families
from ftiny import primitives as p
from ftiny.contraction import Direct, Window, from_letters, make_spec
from ftiny.core import Anchor
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.lowering.interpret import interpret

F32, F64, I32 = np.dtype("float32"), np.dtype("float64"), np.dtype("int32")


@dataclass(frozen=True)
class Case:
    """A function of arrays that binds primitives, its arguments in float64, and numpy's or jax's version of it."""

    name: str
    call: Callable
    args: tuple
    reference: Callable | None = None
    jvp: bool = True
    vmap: bool = True


CASES: list[Case] = []


def case(name, call, *args, reference=None, **options) -> None:
    CASES.append(Case(name, call, tuple(map(np.asarray, args)), reference, **options))


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def _structure_cases() -> None:
    x = normal(4, 5)
    case("iota", lambda: p.iota((3, 4), F32, 1), reference=lambda: np.broadcast_to(np.arange(4, dtype="f"), (3, 4)))
    for shape in ((20,), (5, 4), (2, 2, 5), (2, 10), (1, 4, 1, 5), (20, 1)):
        case(f"reshape{shape}", lambda x, s=shape: p.reshape(x, s), x, reference=lambda x, s=shape: x.reshape(s))
    case("reshape_empty", lambda x: p.reshape(x, (3, 0, 2)), normal(0, 4), reference=lambda x: x.reshape(3, 0, 2))
    case("reshape_scalar", lambda x: p.reshape(x, (1, 1)), normal(), reference=lambda x: x.reshape(1, 1))
    case("transpose", lambda x: p.transpose(x, (2, 0, 1)), normal(2, 3, 4), reference=lambda x: x.transpose(2, 0, 1))
    case("broadcast", lambda x: p.broadcast(x, (3, 4, 5), (1, 2)), x, reference=lambda x: np.broadcast_to(x, (3, 4, 5)))
    case("broadcast_turned", lambda x: p.broadcast(x, (5, 3, 4), (2, 0)), x,
         reference=lambda x: np.broadcast_to(x.T[:, None], (5, 3, 4)))
    case("broadcast_stretched", lambda x: p.broadcast(x, (4, 3, 5), (0, 1, 2)), normal(4, 1, 5),
         reference=lambda x: np.broadcast_to(x, (4, 3, 5)))
    case("broadcast_0d", lambda x: p.broadcast(x, (2, 3), ()), normal(), reference=lambda x: np.broadcast_to(x, (2, 3)))
    for name, starts, limits, strides, key in (
            ("plain", (1, 0), (3, 5), (1, 1), np.s_[1:3, :]), ("strided", (0, 1), (4, 5), (3, 2), np.s_[::3, 1::2]),
            ("negative", (3, 4), (-1, 0), (-2, -1), np.s_[3::-2, 4:0:-1]),
            ("empty", (2, 0), (2, 5), (1, 1), np.s_[2:2])):
        case(f"slice_{name}", lambda x, a=starts, b=limits, s=strides: p.slice(x, a, b, s), x,
             reference=lambda x, key=key: x[key])
    for name, config in (("plain", ((1, 2, 0), (0, 1, 0))), ("interior", ((0, 0, 2), (1, 0, 1))),
                         ("negative", ((-1, -2, 0), (2, -3, 0))), ("mixed", ((-2, 1, 2), (-1, -1, 1))),
                         ("all_cut", ((-3, -1, 0), (0, 0, 0)))):
        case(f"pad_{name}", lambda x, v, c=config: p.pad(x, v, c), x, normal(),
             reference=lambda x, v, c=config: np.asarray(_jax().lax.pad(x, v, c)))
    case("pad_empty", lambda x, v: p.pad(x, v, ((2, 1, 1),)), normal(0), normal(),
         reference=lambda x, v: np.full(3, v))
    case("concatenate", lambda x, y, z: p.concatenate(x, y, z, axis=1), x, normal(4, 1), normal(4, 3),
         reference=lambda *xs: np.concatenate(xs, 1))
    case("concatenate_empty", lambda x, y: p.concatenate(x, y, axis=0), normal(0, 2), normal(3, 2),
         reference=lambda *xs: np.concatenate(xs, 0))


def _elementwise_cases() -> None:
    x, y = normal(3, 4), normal(3, 4, seed=1)
    above = np.abs(x) + 0.5
    for name in ("add", "sub", "mul", "div"):
        op, f = getattr(operator, {"div": "truediv"}.get(name, name)), getattr(p, name)
        case(name, f, x, y, reference=op)
        case(f"{name}_scalar_operand", f, x, normal(), reference=op)
        case(f"{name}_literal", lambda x, f=f: f(f(x, 2.5), -3), x, reference=lambda x, op=op: op(op(x, 2.5), -3))
        case(f"{name}_literal_first", lambda x, f=f: f(1.5, x), x, reference=lambda x, op=op: op(1.5, x))
    case("pow", p.pow, above, y, reference=operator.pow)
    case("pow_literal", lambda x: p.pow(x, 3.0), x, reference=lambda x: x**3)
    case("pow_integer", p.pow, x, np.array([[0, 1, 2, 3]] * 3, np.int32), reference=operator.pow)
    case("pow_zero_base", lambda x: p.pow(x, 2.0), np.array([0.0, 1.0, -2.0]), reference=lambda x: x**2)
    case("rem", p.rem, x * 5, above, reference=np.fmod)
    case("minimum", p.minimum, x, y, reference=np.minimum)
    case("maximum", p.maximum, x, y, reference=np.maximum)
    case("maximum_literal", lambda x: p.maximum(x, 0.0), x, reference=lambda x: np.maximum(x, 0))
    mask = np.asarray(x > y)
    case("select", p.select, mask, x, y, reference=np.where)
    case("select_literal", lambda m, x: p.select(m, x, 0.0), mask, x, reference=lambda m, x: np.where(m, x, 0))
    case("select_scalar_condition", p.select, np.asarray(True), x, y, reference=np.where)
    case("convert", lambda x: p.convert(p.convert(x, F32), F64), x, reference=lambda x: x.astype("f").astype("d"))
    for name, row in families.MATH.items():
        if "f" in row.kinds:
            low, high = row.domain
            args = [low + (high - low) * np.random.default_rng(k).random((3, 4)) for k in range(row.arity)]
            case(name, lambda *xs, fn=name: p.math(*xs, fn=fn), *args, jvp=row.partials is not None or bool(row.linear))
    for fn in ("neg", "exp", "log", "sin", "tanh", "sqrt", "conj", "real", "imag", "abs", "logistic", "rsqrt", "atan"):
        case(f"complex_{fn}", lambda z, fn=fn: p.math(z, fn=fn), above + 1j * y)
    z, w = above + 1j * y, y - 1j * above
    case("complex_mul_div", lambda z, w: p.div(p.mul(z, w), p.add(w, 3.0)), z, w,
         reference=lambda z, w: z * w / (w + 3))
    case("complex_pow", lambda z: p.pow(z, 3.0), z, reference=lambda z: z**3)
    case("complex_product", lambda z, w: p.contract(z, w, from_letters("ij,kj->ik", z.shape, w.shape)), z, w,
         reference=lambda z, w: z @ w.T)
    case("complex_sum", lambda z: p.reduce_axes(z, (0,), "sum"), z, reference=lambda z: z.sum(0))


def _fold_cases() -> None:
    x = normal(3, 4, 5)
    for op, reference in (("sum", np.sum), ("prod", np.prod), ("max", np.max), ("min", np.min)):
        for axes in ((1,), (0, 2), (0, 1, 2)):
            case(f"reduce_{op}{axes}", lambda x, op=op, axes=axes: p.reduce_axes(x, axes, op), x,
                 reference=lambda x, f=reference, axes=axes: f(x, axes))
    for op in ("argmin", "argmax"):
        case(f"reduce_{op}", lambda x, op=op: p.reduce_axes(x, (1,), op), x,
             reference=lambda x, op=op: getattr(np, op)(x, 1).astype(I32))
    case("reduce_prod_zeros", lambda x: p.reduce_axes(x, (0,), "prod"), np.array([[1.0, 0.0, 0], [2.0, 3.0, 0]]),
         reference=lambda x: x.prod(0))
    pool = make_spec([[Direct(0), Window(1, 2, 2, 1, 1)]], [0, 1], {0: 3, 1: 4, 2: 3})
    line = normal(3, 7)
    for op in ("sum", "max", "min"):
        case(f"pool_{op}", lambda x, op=op: p.reduce(x, op, pool), line)
    case("pool_with_offset", lambda x: p.reduce_with_offset(x, "max_with_offset", pool), line)
    patches = make_spec([[Direct(0), Window(1, 2, 2, 1, 1)]], [2, 0, 1], {0: 3, 1: 4, 2: 3})
    case("patches", lambda x: p.reduce(x, "sum", patches), line)
    case("contract", lambda x, y: p.contract(x, y, from_letters("ij,kj->ik", (3, 4), (5, 4))), normal(3, 4),
         normal(5, 4), reference=lambda x, y: x @ y.T)
    case("contract_batched", lambda x, y: p.contract(x, y, from_letters("bij,bjk->bik", (2, 3, 4), (2, 4, 5))),
         normal(2, 3, 4), normal(2, 4, 5), reference=operator.matmul)
    convolution = make_spec([[Direct(0), Window(1, 2, 2, 1, 1), Direct(3)], [Direct(2), Direct(3), Direct(4)]],
                            [0, 1, 4], {0: 2, 1: 4, 2: 3, 3: 2, 4: 3})
    case("convolution", lambda x, w: p.contract(x, w, convolution), normal(2, 7, 2), normal(3, 2, 3))
    local = make_spec([[Direct(0), Window(1, 2, 1, 1, 0)], [Direct(1), Direct(2)]], [0, 1], {0: 2, 1: 4, 2: 3})
    case("locally_connected", lambda x, w: p.contract(x, w, local), normal(2, 6), normal(4, 3))
    for op, reference in (("sum", np.cumsum), ("prod", np.cumprod), ("max", np.maximum.accumulate),
                          ("min", np.minimum.accumulate), ("logsumexp", np.logaddexp.accumulate)):
        case(f"cumulate_{op}", lambda x, op=op: p.cumulate(x, op, 1), x, reference=lambda x, f=reference: f(x, 1))
        case(f"cumulate_{op}_reverse", lambda x, op=op: p.cumulate(x, op, 1, True), x,
             reference=lambda x, f=reference: np.flip(f(np.flip(x, 1), 1), 1))
    case("cumulate_prod_zeros", lambda x: p.cumulate(x, "prod", 0), np.array([2.0, 0.0, 3.0, 0.0, 5.0]),
         reference=np.cumprod)
    case("sort", lambda x: p.sort(x, axis=1), x, reference=lambda x: np.sort(x, 1))
    case("sort_two", lambda k, x: p.sort(k, x, axis=0, num_keys=1), normal(6, 2), normal(6, 2, seed=1),
         reference=lambda k, x: [np.sort(k, 0), np.take_along_axis(x, np.argsort(k, 0), 0)])


def _indexing_cases() -> None:
    x = normal(6, 5)
    ids = np.array([[4], [0], [4], [7], [-1]], np.int32)
    rows = p.GatherDims((1,), (0,), (0,))
    for mode in ("clip", "fill"):
        case(f"gather_rows_{mode}", lambda x, i, mode=mode: p.gather(x, i, rows, (1, 5), mode), x, ids)
        case(f"gather_windows_{mode}",
             lambda x, i, mode=mode: p.gather(x, i, p.GatherDims((0, 2), (), (1, 0)), (2, 3), mode), x,
             np.array([[0, 1], [2, 4], [-1, 2], [1, 9]], np.int32))
    case("take_along_axis", lambda x, i: p.take_along_axis(x, i, 1), x,
         np.random.default_rng(0).integers(0, 5, (6, 3)).astype(I32),
         reference=lambda x, i: np.take_along_axis(x, i, 1))
    case("dynamic_slice", lambda x, i, j: p.dynamic_slice(x, (i, j), (2, 3)), x, I32.type(5), I32.type(1),
         reference=lambda x, i, j: x[4:6, 1:4])
    case("dynamic_update_slice", lambda x, u, i: p.dynamic_update_slice(x, u, (i, 0)), x, normal(2, 3), I32.type(1))
    rows_out = p.ScatterDims((1,), (0,), (0,))
    for op in ("set", "add", "min", "max"):
        for mode in ("clip", "fill"):
            case(f"scatter_{op}_{mode}", lambda x, i, u, op=op, mode=mode: p.scatter(
                x, i, u, op=op, dims=rows_out, mode=mode), x, ids, normal(5, 5, seed=2))
    unique = np.array([[1], [4], [2]], np.int32)
    for op in ("set", "mul"):
        case(f"scatter_{op}_unique", lambda x, i, u, op=op: p.scatter(
            x, i, u, op=op, dims=rows_out, mode="fill", unique_indices=True), x, unique, normal(3, 5))
    case("scatter_batched", lambda x, i, u: p.scatter(
        x, i, u, op="add", dims=p.ScatterDims((), (1,), (1,), (0,), (0,)), mode="fill"), x,
        np.random.default_rng(1).integers(0, 6, (6, 3, 1)).astype(I32), normal(6, 3))


_structure_cases()
_elementwise_cases()
_fold_cases()
_indexing_cases()


def _jax():
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


@pytest.fixture(autouse=True)
def _single_precision_again():
    yield
    import sys

    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", False)


def _close(found, expected, tolerance=1e-9) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype, (found, expected)
    wide = np.complex128 if found.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(found.astype(wide), expected.astype(wide), rtol=tolerance, atol=tolerance)


def _each(name: str):
    chosen = [c for c in CASES if name == "all" or getattr(c, name)]
    return pytest.mark.parametrize("case", chosen, ids=lambda c: c.name)


@_each("all")
def test_value(case):
    outs = run(case.call, *case.args)
    reference = case.reference
    if reference is None and case.name in families.MATH and case.name not in ("real", "imag"):
        reference = _named(families.MATH[case.name].jax_name)
    if reference is not None:
        expected = reference(*case.args)
        for out, value in zip(outs, expected if isinstance(expected, (list, tuple)) else [expected]):
            _close(out, value, 1e-7 if case.name in families.MATH else 1e-9)
    jaxpr = program(case.call, *case.args)
    staged = interpret(jaxpr, case.args)
    for out, again in zip(outs, staged, strict=True):
        _close(out, again)
    for eqn in jaxpr.eqns:
        check_factors(eqn)


@_each("all")
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__)
def test_narrow_floats_keep_their_dtype(case, dtype):
    """`Reference` checks every result's dtype; the values are those of float64 up to a few roundings."""
    if case.name in ("convert", "complex", "digamma", "nextafter", "sort", "sort_two"):
        return  # they change the dtype on purpose, or jump
    if not any(a.dtype == F64 for a in case.args):
        return
    narrow = [a.astype(dtype) if a.dtype == F64 else a for a in case.args]
    outs = run(case.call, *narrow)
    exact = run(case.call, *(a.astype(F64) if a.dtype == dtype else a for a in narrow))
    width = {4: 1e-4, 2: 0.02 if dtype is np.float16 else 0.15}[np.dtype(dtype).itemsize]
    for out, value in zip(outs, exact, strict=True):
        assert out.dtype == (dtype if value.dtype == F64 else value.dtype)
        if value.dtype == F64:
            np.testing.assert_allclose(out.astype(F64), value, rtol=width, atol=width)


@_each("all")
def test_lowering(case):
    jaxpr = program(case.call, *case.args)
    env = dict(zip(jaxpr.constvars, jaxpr.consts)) | dict(zip(jaxpr.inputs, case.args))
    for eqn in jaxpr.eqns:
        arrays = [np.asarray(core.read(env, a)) for a in eqn.inputs]
        outs = eqn.primitive.numpy(*arrays, **eqn.params)
        outs = outs if eqn.primitive.multiple_results else [outs]
        env.update(zip(eqn.outputs, outs))
        complex_values = any(a.dtype.kind == "c" for a in (*arrays, *outs))
        if not isinstance(eqn.primitive.lower, Anchor) and not complex_values:
            for found, expected in zip(lowered(eqn, arrays), outs, strict=True):
                _close(found, expected)


def _tangents(case, seed=5) -> list:
    rng = np.random.default_rng(seed)
    return [_random_like(rng, a) if inexact(a) else core.ZERO for a in case.args]


def _random_like(rng, a):
    noise = rng.normal(size=a.shape)
    return np.asarray(noise + 1j * rng.normal(size=a.shape) if a.dtype.kind == "c" else noise).astype(a.dtype)


@_each("jvp")
def test_jvp_by_central_difference(case):
    if not any(map(inexact, case.args)):
        return
    tangents = _tangents(case)
    step = 1e-6

    def moved(h):
        return run(case.call, *(a if t is core.ZERO else np.asarray(a + h * t) for a, t in zip(case.args, tangents)))

    found = tangent(case.call, case.args, tangents)
    for dot, high, low in zip(found, moved(step), moved(-step), strict=True):
        if inexact(high) and case.name != "convert":
            _close(np.where(np.isnan(high), 0, dot), np.where(np.isnan(high), 0, (high - low) / (2 * step)).astype(
                high.dtype), 2e-5)


@_each("jvp")
def test_pullback_is_the_transpose_of_the_tangent(case):
    wanted = [k for k, a in enumerate(case.args) if inexact(a)]
    if not wanted:
        return
    tangents = _tangents(case)
    outs = tangent(case.call, case.args, tangents)
    rng = np.random.default_rng(9)
    cts = [_random_like(rng, o) if inexact(o) else core.ZERO for o in outs]
    bars = pullback(case.call, case.args, cts, wanted)
    forward = sum((ct * o).sum() for ct, o in zip(cts, outs) if ct is not core.ZERO)
    backward = sum((bar * tangents[k]).sum() for k, bar in zip(wanted, bars))
    # The complex product is bilinear, as JAX's transpose is: only its real part survives functions to real numbers.
    tolerance = 1e-6 if case.name == "convert" else 1e-9
    assert np.isclose(np.real(forward), np.real(backward), rtol=tolerance, atol=tolerance)


@_each("jvp")
def test_second_order_is_symmetric(case):
    """d/dx of the tangent, transposed, agrees with its central difference: the rules' own rules are right."""
    if not any(map(inexact, case.args)) or case.name == "convert" or any(a.dtype.kind == "c" for a in case.args):
        return
    tangents = _tangents(case)
    wanted = [k for k, a in enumerate(case.args) if inexact(a)]

    def first(*floats):
        primals = list(case.args)
        for k, x in zip(wanted, floats):
            primals[k] = x
        from primitive_rules import push

        return push(case.call, primals, tangents)

    floats = [case.args[k] for k in wanted]
    directions = [tangents[k] for k in wanted]
    found = tangent(first, floats, directions)
    step = 1e-5
    high = run(first, *(np.asarray(x + step * t) for x, t in zip(floats, directions)))
    low = run(first, *(np.asarray(x - step * t) for x, t in zip(floats, directions)))
    cts = [np.ones_like(o) if inexact(o) else core.ZERO for o in found]
    for dot, a, b in zip(found, high, low, strict=True):
        if inexact(a):
            _close(dot, np.asarray((a - b) / (2 * step)).astype(dot.dtype), 2e-3)
    bars = pullback(first, floats, cts, range(len(floats)))
    forward = sum(o.sum() for o in found if inexact(o))
    assert np.isclose(forward, sum((bar * t).sum() for bar, t in zip(bars, directions)), rtol=1e-7, atol=1e-7)


@_each("vmap")
def test_batch_against_a_loop(case):
    if not case.args:
        return
    size, rng = 3, np.random.default_rng(3)
    count = len(case.args)
    patterns = [[k == only for k in range(count)] for only in range(count)] + [[True] * count]
    for number, pattern in enumerate(patterns):
        stacked, dims = [], []
        for a, mapped in zip(case.args, pattern):
            dim = min(number % 3, a.ndim) if mapped else None
            others = [a] + [np.asarray(_reshuffled(rng, a)) for _ in range(size - 1)]
            stacked.append(np.stack(others, dim) if mapped else a)
            dims.append(dim)
        found = batched(case.call, stacked, dims, size)
        for k in range(size):
            one = [x if d is None else np.take(x, k, d) for x, d in zip(stacked, dims)]
            for out, expected in zip(found, run(case.call, *map(np.asarray, one)), strict=True):
                _close(out[k], expected)


def _reshuffled(rng, a):
    return rng.permutation(a.reshape(-1)).reshape(a.shape)


def _named(path: str):
    found = _jax()
    for part in path.removeprefix("jax.").split("."):
        found = getattr(found, part)
    return found


# ---- edge semantics -------------------------------------------------------------------------------------------


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 1e10, -1e10, 3e38, 1e-40]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__)
@pytest.mark.parametrize("fn", [
    "neg", "abs", "sign", "floor", "ceil", "round", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "tanh", "logistic",
    "erf", "erfc", "is_finite", "sin", "atan", "asinh", "exp2"])
def test_special_values_as_jax(fn, dtype):
    jax = _jax()
    moderate = fn == "sin" or np.dtype(dtype).itemsize == 2
    x = np.array([v for v in SPECIAL if not np.isfinite(v) or not moderate or abs(v) < 1e4])
    x = x[(x == 0) | ~(np.abs(x) < 1e-30)].astype(dtype)  # XLA on the CPU flushes denormals
    (found,) = run(lambda x: p.math(x, fn=fn), x)
    expected = np.asarray(_named(families.MATH[fn].jax_name)(jax.numpy.asarray(x)))
    assert found.dtype == expected.dtype
    width = 1e-2 if dtype is ml_dtypes.bfloat16 else {2: 2e-3, 4: 1e-5, 8: 1e-7}[np.dtype(dtype).itemsize]
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=width, atol=width * 1e-2)
    if fn in ("neg", "floor", "round", "sqrt", "sign"):
        assert np.array_equal(np.signbit(found.astype(np.float64)), np.signbit(expected.astype(np.float64)))


@pytest.mark.parametrize("op", ["add", "mul", "div", "pow", "rem", "minimum", "maximum"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int8, np.uint8], ids=lambda d: d.__name__)
def test_binary_edges_as_jax(op, dtype):
    jax = _jax()
    if np.dtype(dtype).kind == "f":
        values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0, 3.5], dtype)
    else:
        info = np.iinfo(dtype)
        values = np.array([info.min, info.max, 0, 1, 2, 3, info.max // 2, -1 if info.min else 7]).astype(dtype)
    x, y = (np.ascontiguousarray(a) for a in np.broadcast_arrays(values[:, None], values[None, :]))
    if op == "pow" and np.dtype(dtype).kind in "iu":
        y = np.abs(y) % 5
    other_names = {"minimum": jax.lax.min, "maximum": jax.lax.max, "pow": jax.numpy.power}
    reference = other_names.get(op) or getattr(jax.lax, op)
    (found,) = run(getattr(p, op), x, y)
    np.testing.assert_allclose(found, np.asarray(reference(x, y)), rtol=1e-6)


@pytest.mark.parametrize("target", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.bool_, np.float16])
def test_float_to_integer_saturates(target):
    jax = _jax()
    x = np.array([np.nan, np.inf, -np.inf, -0.5, 1.9, -1.9, 127.9, 300.0, -300.0, 3e9, -3e9, 1e19, -1e19], np.float32)
    (found,) = run(lambda x: p.convert(x, np.dtype(target)), x)
    expected = np.asarray(jax.lax.convert_element_type(x, target))
    if np.dtype(target).kind in "iu":
        info = np.iinfo(target)
        expected = np.array([0 if np.isnan(v) else int(max(info.min, min(info.max, np.trunc(np.clip(
            float(v), -1e30, 1e30))))) for v in x]).astype(target)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("op", ["shift_left", "shift_right_logical", "shift_right_arithmetic"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_shifts_by_the_width_or_more(op, dtype):
    jax = _jax()
    x = np.array([1, 3, 100, 255 if dtype is np.uint8 else -7], dtype)[:, None]
    amount = np.array([0, 1, 7, 8, 31, 32, 40], dtype)[None]
    x, amount = (np.ascontiguousarray(a) for a in np.broadcast_arrays(x, amount))
    (found,) = run(lambda x, y: p.bitwise(x, y, op=op), x, amount)
    np.testing.assert_array_equal(found, np.asarray(getattr(jax.lax, op)(x, amount)))


@pytest.mark.parametrize("name", [*families.COMPARE, *families.MINMAX])
def test_order_of_bools_lowers_to_logic(name):
    x, y = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    call = (lambda x, y: p.compare(x, y, name)) if name in families.COMPARE else (lambda x, y: p.minmax(x, y, name))
    (eqn,) = program(call, x, y).eqns
    np.testing.assert_array_equal(lowered(eqn, [x, y])[0], run(call, x, y)[0])


def test_select_never_multiplies_nan_by_zero():
    known = np.array([False, True])
    (bar,) = pullback(lambda x: p.select(known, p.mul(x, 3.0), 0.0), [np.array([np.nan, 4.0])], [np.ones(2)], [0])
    np.testing.assert_allclose(bar, [0.0, 3.0])
    (dot,) = tangent(lambda x: p.select(known, x, 0.0), [np.ones(2)], [np.array([np.nan, 2.0])])
    np.testing.assert_allclose(dot, [0.0, 2.0])


def test_ties_share_the_gradient():
    x = np.array([1.0, 3.0, 3.0])
    (bar,) = pullback(lambda x: p.reduce_axes(x, (0,), "max"), [x], [np.ones(())], [0])
    np.testing.assert_allclose(bar, [0, 0.5, 0.5])
    a, b = pullback(p.maximum, [x, np.array([1.0, 2.0, 4.0])], [np.ones(3)], [0, 1])
    np.testing.assert_allclose(a, [0.5, 1, 0])
    np.testing.assert_allclose(b, [0.5, 0, 1])


def test_argmax_takes_the_first_and_nan_wins():
    x = np.array([[1.0, 3.0, 3.0], [np.nan, 5.0, np.nan]])
    assert run(lambda x: p.reduce_axes(x, (1,), "argmax"), x)[0].tolist() == [1, 0]
    assert run(lambda x: p.reduce_axes(x, (0, 1), "argmax"), x)[0] == 3
    with pytest.raises(ShapeError, match="empty"):
        run(lambda x: p.reduce_axes(x, (0,), "argmax"), np.zeros((0, 2)))


def test_first_maximum_of_a_window_wins():
    spec = make_spec([[Window(0, 1, 2)]], [0], {0: 2, 1: 2})
    x = np.array([1.0, 1.0, 2.0, 5.0])
    value, offset = run(lambda x: p.reduce_with_offset(x, "max_with_offset", spec), x)
    assert value.tolist() == [1, 5] and offset.tolist() == [0, 1]
    (bar,) = pullback(lambda x: p.reduce(x, "max", spec), [x], [np.array([1.0, 10.0])], [0])
    assert bar.tolist() == [1, 0, 0, 10]


def test_reductions_of_nothing_and_of_16_bits():
    empty = np.zeros((0, 3), np.float32)
    assert run(lambda x: p.reduce_axes(x, (0,), "sum"), empty)[0].tolist() == [0, 0, 0]
    assert run(lambda x: p.reduce_axes(x, (0,), "max"), empty)[0].tolist() == [-np.inf] * 3
    ones = np.ones(4096, np.float16)
    assert run(lambda x: p.reduce_axes(x, (0,), "sum"), ones)[0] == np.float16(4096)
    x = np.full((2, 4096), 1, ml_dtypes.bfloat16)
    (out,) = run(lambda x: p.contract(x, x, from_letters("ik,jk->ij", x.shape, x.shape)), x)
    assert out.dtype == dtypes.bfloat16 and out[0, 0] == 4096


def test_gather_fills_as_jax():
    indices = np.array([[9], [-1]], np.int32)
    dims = p.GatherDims((), (0,), (0,))
    for dtype, fill in ((np.float32, np.nan), (np.int8, -128), (np.uint8, 255), (np.int32, -2**31)):
        (out,) = run(lambda x, i: p.gather(x, i, dims, (1,), "fill"), np.ones(3, dtype), indices)
        np.testing.assert_array_equal(out, np.full(2, fill, dtype))


def test_threefry_known_answers():
    def words(*values):
        return [np.array(v, np.uint32) for v in values]

    # The known answers of Random123 for 20 rounds.
    for key, counter, expected in (((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
                                   ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
                                   ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0))):
        assert [int(x) for x in run(p.threefry2x32, *words(*key, *counter))] == list(expected)
    x = np.arange(5, dtype=np.uint32)
    args = [*words(1, 2), x, x + np.uint32(7)]
    jaxpr = program(p.threefry2x32, *args)
    for found, expected in zip(lowered(jaxpr.eqns[0], args), run(p.threefry2x32, *args)):
        np.testing.assert_array_equal(found, expected)
    stacked = [args[0], args[1], np.stack([x, x]), args[3]]
    np.testing.assert_array_equal(batched(p.threefry2x32, stacked, [None, None, 0, None], 2)[0][1],
                                  run(p.threefry2x32, *args)[0])


# ---- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call, error, message", [
    (lambda: p.add(np.ones(3, F32), np.ones(4, F32)), ShapeError, r"add: operand 1 has shape \(4,\), not \(3,\)"),
    (lambda: p.add(np.ones(3, F32), np.ones(3, I32)), DtypeError, r"f32\[3\] and i32\[3\]"),
    (lambda: p.math(np.ones(3, I32), fn="exp"), DtypeError, "exp: dtype int32 is not supported, only float, complex"),
    (lambda: p.math(np.ones(3), fn="ex"), ArgumentError, "math has no function 'ex'"),
    (lambda: p.select(np.ones(3), np.ones(3), np.ones(3)), DtypeError, "must be bool"),
    (lambda: p.reshape(np.ones((2, 3)), (4,)), ShapeError, r"shape \(2, 3\) has 6 elements, \(4,\) has 4"),
    (lambda: p.broadcast(np.ones((2, 3)), (2, 4), (0, 1)), ShapeError, "axis 1 of shape"),
    (lambda: p.slice(np.ones(3), (0,), (5,)), ShapeError, "axis 0 has extent 3"),
    (lambda: p.concatenate(np.ones((2, 3)), np.ones((3, 3)), axis=1), ShapeError, "operand 1 has shape"),
    (lambda: p.transpose(np.ones((2, 3)), (0, 0)), ShapeError, "not a permutation"),
    (lambda: p.contract(np.ones((2, 3)), np.ones((4, 5)), from_letters("ij,jk->ik", (2, 3), (3, 5))), ShapeError,
     r"index b has 3; the operands have shapes \[\(2, 3\), \(4, 5\)\]"),
    (lambda: p.cumulate(np.ones(3), "sum", 1), ShapeError, "axis 1 is not an axis"),
    (lambda: p.gather(np.ones(3), np.ones((1, 1)), p.GatherDims((), (0,), (0,)), (1,)), DtypeError, "must be integers"),
    (lambda: p.bitwise(np.ones(3), np.ones(3), op="and"), DtypeError, "bool, integer"),
])
def test_errors_name_shapes_and_the_line(call, error, message):
    with pytest.raises(error, match=message) as raised:
        program(call)
    assert "test_primitives.py" in str(raised.value)
