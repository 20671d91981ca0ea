"""Expressions share nodes, simplify without changing meaning, and stay linear in the size of the DAG."""

from __future__ import annotations

import numpy as np
import pytest

from ftiny.lowering.emit_math import define
from ftiny.lowering.expr import (
    BOOL,
    INDEX,
    Axis,
    Expr,
    add,
    axis,
    bitcast,
    bitwise,
    cast,
    compare,
    const,
    div,
    evaluate,
    guard_loads,
    load,
    loads,
    math,
    maximum,
    minimum,
    rebuild,
    rem,
    select,
    show,
    substitute,
    topological,
    where,
)
from ftiny.lowering.expr_numpy import EVALUATE, evaluate_op
from ftiny.lowering.index import (
    coefficient,
    fits_32_bits,
    flatten,
    multiple_of,
    range_of,
    simplify,
    unflatten,
)
from ftiny.lowering.kernel import ramp

F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
A, B, C = Axis("a", 5), Axis("b", 3), Axis("c", 7)
GRID = {A: np.arange(5)[:, None, None], B: np.arange(3)[:, None], C: np.arange(7)}


def test_equal_expressions_are_one_object() -> None:
    x = load("x", (axis(A), axis(B)), F32)
    assert load("x", (axis(A), axis(B)), F32) is x
    assert (x + 1.0) is (x + 1.0)
    assert (x + 1.0) is not (x + 2.0)
    assert const(0.0, F32) is not const(-0.0, F32)
    assert const(float("nan"), F32) is const(float("nan"), F32)
    assert const(1, I32) is not const(True, BOOL)


def test_constructors_fold_and_simplify() -> None:
    i = axis(A)
    assert (i + 0) is i and (i * 1) is i and (i - i * 0) is i
    assert (const(3) + const(4)) is const(7)
    assert (i + 3 + 4) is (i + 7)
    assert axis(Axis("one", 1)) is const(0)
    assert select(const(True, BOOL), i, i + 1) is i
    assert div(const(7, I32), const(0, I32)).attr == -1
    assert rem(const(7, I32), const(0, I32)).attr == 7
    assert cast(const(float("nan"), F32), I32).attr == 0
    assert cast(const(1e20, F32), I32).attr == 2**31 - 1
    assert np.isnan(maximum(const(float("nan"), F32), const(1.0, F32)).attr)
    assert bitwise("shift_left", const(1, I32), const(40, I32)).attr == 0


def test_float_zero_is_not_dropped_from_sums() -> None:
    """x + 0.0 turns -0.0 into 0.0, so it stays."""
    x = load("x", (), F32)
    assert (x + 0.0).op == "add"


def test_mixed_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="add of float32 and int32"):
        add(load("x", (), F32), load("n", (), I32))
    with pytest.raises(TypeError, match="sizes differ"):
        bitcast(load("x", (), F32), np.dtype(np.int64))
    with pytest.raises(ValueError, match="unknown function 'sine'"):
        math("sine", load("x", (), F32))
    with pytest.raises(TypeError, match="no truth value"):
        bool(load("x", (), F32) < 1.0)


def test_show_is_readable_and_bounded() -> None:
    x = load("x", (axis(C), axis(A)), F32)
    assert show(math("exp", x) + 1.0) == "exp(x[c, a]) + 1.0"
    for _ in range(60):
        x = x * x
    assert len(show(x)) < 10_000


def test_guards_reach_every_load() -> None:
    guard = axis(A) < 3
    inner = load("n", (axis(A),), INDEX)
    value = math("exp", load("x", (inner,), F32))
    guarded = guard_loads(value, guard)
    assert all(node.args[1] is guard for node in loads((guarded,)))
    assert where(const(True, BOOL), value, const(0, F32)) is value
    one = where(guard, load("x", (axis(A),), F32), const(2.0, F32))
    assert one.op == "load" and one.args[1:] == (guard, const(2.0, F32))


def test_guarded_loads_touch_nothing_else() -> None:
    data = np.arange(3, dtype=np.float32)
    touched: list[int] = []

    def read(name: str, index: tuple[np.ndarray, ...]) -> np.ndarray:
        touched.extend(np.ravel(index[0]).tolist())
        return data[index]

    node = load("x", (axis(A) + 1,), F32, axis(A) < 2, -1.0)
    (result,) = evaluate((node,), {A: np.arange(5)}, read)
    np.testing.assert_array_equal(result, [1, 2, -1, -1, -1])
    assert set(touched) <= {0, 1, 2}


def test_deep_chains_need_no_recursion() -> None:
    x: Expr = load("x", (), F32)
    for _ in range(50_000):
        x = math("neg", x * 0.5)
    assert len(topological((x,))) == 100_002
    (moved,) = substitute((x,), {A: const(0)})
    assert moved is x


def test_doubling_stays_linear() -> None:
    x: Expr = load("x", (), F32)
    for _ in range(100):
        x = x + x * x
    (value,) = evaluate((x,), {}, lambda name, index: np.float32(1e-30))
    assert np.isfinite(value)
    assert len(topological((x,))) == 201


def random_index(rng: np.random.Generator, depth: int) -> Expr:
    """A random index expression over a, b, c."""
    if depth == 0 or rng.random() < 0.1:
        return axis((A, B, C)[rng.integers(3)]) if rng.random() < 0.8 else const(int(rng.integers(-9, 10)))
    x = random_index(rng, depth - 1)
    kind = rng.integers(7)
    divisor = (1, 2, 3, 4, 6, 12)[rng.integers(6)]
    if kind == 0:
        return x + random_index(rng, depth - 1)
    if kind == 1:
        return x - random_index(rng, depth - 1)
    if kind == 2:
        return x * (-3, -1, 2, 3, 4, 6, 12)[rng.integers(7)]
    if kind == 3:
        return x // divisor
    if kind == 4:
        return x % divisor
    if kind == 5:
        return minimum(x, random_index(rng, depth - 1))
    return select(x < random_index(rng, depth - 1), x, random_index(rng, depth - 1))


def test_simplify_keeps_the_value_and_ranges_hold() -> None:
    rng = np.random.default_rng(0)
    before = after = 0
    for _ in range(3000):
        expr = random_index(rng, int(rng.integers(1, 6)))
        simple = simplify(expr)
        want, got = evaluate((expr, simple), GRID, lambda name, index: index)
        np.testing.assert_array_equal(np.broadcast_to(got, want.shape) if got.shape != want.shape else got, want,
                                      err_msg=f"{expr} -> {simple}")
        low, high = range_of(simple)
        assert low <= got.min() and got.max() <= high, f"{simple} in {low}..{high}"
        before, after = before + len(topological((expr,))), after + len(topological((simple,)))
    assert after < 0.8 * before


def test_flattening_an_unflattened_index_gives_it_back() -> None:
    flat = axis(Axis("f", 2 * 3 * 5 * 7))
    axes = [Axis(n, e) for n, e in zip("wxyz", (2, 3, 5, 7))]
    assert flatten(unflatten(flat, axes).values(), (2, 3, 5, 7)) is flat


def test_contiguity_survives_unflattening_by_vectors() -> None:
    lane = ramp(16)
    flat = axis(Axis("chunk", 12 * 4)) * 16 + lane
    assert show(simplify(flat // 64)) == "chunk // 4"
    assert coefficient(simplify(flat % 64), lane) == 1
    assert coefficient(simplify(flat // 64), lane) == 0
    assert coefficient(simplify(flat // 8), lane) is None
    assert multiple_of(simplify(flat - lane)) == 16


def test_32_bits_are_chosen_by_range() -> None:
    big = Axis("big", 2**20)
    assert fits_32_bits(axis(big) * 2047)
    assert not fits_32_bits(axis(big) * 2049)
    assert not fits_32_bits(load("n", (), INDEX))
    assert fits_32_bits(minimum(maximum(load("n", (), INDEX), const(0)), const(99)))


@pytest.mark.parametrize("op", ["minimum", "maximum", "div", "rem", "floordiv", "mod", "shift_left",
                                "shift_right_logical", "shift_right_arithmetic", "pow", "sign", "abs"])
@pytest.mark.parametrize("dtype", [np.dtype(np.int32), np.dtype(np.uint16), np.dtype(np.int64)], ids=str)
def test_definitions_mean_what_numpy_says(op: str, dtype: np.dtype) -> None:
    """The functions that kernels get for an operation, evaluated here, against the operation itself."""
    rng = np.random.default_rng(1)
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max, 200, dtype, endpoint=True)
    y = rng.integers(1, 9, 200).astype(dtype)
    if op in ("div", "rem", "minimum", "maximum"):
        y[:50] = rng.integers(0 if dtype.kind == "u" else -1, 2, 50)
    names = {"x": x, "y": y}
    if op in ("sign", "abs"):
        names = {"x": x}
    axes = Axis("i", 200)
    parameters = [load(n, (axis(axes),), dtype) for n in names]
    definition = define(op, dtype, parameters)
    assert definition is not None
    plain = {"raw_div": "div", "raw_rem": "rem", "raw_shl": "shift_left", "raw_shr":
             "shift_right_arithmetic" if op == "shift_right_arithmetic" or dtype.kind == "i" and op == "pow"
             else "shift_right_logical"}
    order: dict[Expr, Expr] = {}
    for node in topological((definition,)):
        args = tuple(order[a] for a in node.args)
        known = plain.get(node.op)
        if known in ("div", "rem"):
            order[node] = div(*args) if known == "div" else rem(*args)
        else:
            order[node] = bitwise(known, *args) if known else rebuild(node, args)
    (got,) = evaluate((order[definition],), {axes: np.arange(200)}, lambda name, index: names[name][index])
    np.testing.assert_array_equal(got, evaluate_op(op, list(names.values()), dtype))


def test_every_float_comparison_with_nan() -> None:
    nan, one = const(float("nan"), F32), const(1.0, F32)
    assert [compare(d, nan, one).attr for d in ("eq", "ne", "lt", "le", "gt", "ge")] == [False, True] + [False] * 4
    assert set(("exp", "minimum", "select", "population_count")) <= set(EVALUATE)
