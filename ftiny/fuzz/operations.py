"""Operations of the random programs: the rows of the table, and those whose text depends on the operands' shapes.

An operation has a weight and adds one line to a program when the values at hand allow it; else it does nothing:

    @operation(weight=2)
    def transpose(g):        # emits for example  v3 = np.transpose(v2, (1, 0))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ftiny.fuzz.programs import UNKNOWN, Generator, Value
from ftiny.fuzz.table import ROWS, Row


@dataclass(frozen=True)
class Operation:
    """What adds a line to a program, and how often it is asked."""

    add: Callable[[Generator], None]
    weight: float


OPERATIONS: list[Operation] = []

# ---- rows of the table ----------------------------------------------------------------------------------------

WORDS: dict[str, Callable[[Value], bool]] = {
    "any": lambda v: True,
    "float": lambda v: v.is_float,
    "wide": lambda v: v.dtype in ("float32", "float64"),
    "int": lambda v: v.is_int,
    "bool": lambda v: v.dtype == "bool",
    "exact": lambda v: v.exact,
    "distinct": lambda v: v.distinct,
    "filled": lambda v: v.size > 0,
    "rank0": lambda v: v.ndim == 0,
    "rank1": lambda v: v.ndim == 1,
    "rank2": lambda v: v.ndim == 2,
    "rank3": lambda v: v.ndim == 3,
    "axes": lambda v: v.ndim >= 1,
    "planes": lambda v: v.ndim >= 2,
    "small": lambda v: v.size <= 300,
    "short": lambda v: v.size <= 60,
    "narrow": lambda v: all(extent <= 8 for extent in v.shape),
}


def broadcastable(a: Value, b: Value) -> bool:
    """Whether the shapes broadcast."""
    return all(m == n or 1 in (m, n) for m, n in zip(a.shape[::-1], b.shape[::-1]))


def _meets(value: Value, words: str, first: Value | None) -> bool:
    for word in words.split():
        if word == "like":
            good = first is not None and (value.shape, value.dtype) == (first.shape, first.dtype)
        elif word == "fits":
            good = first is not None and value.dtype == first.dtype and broadcastable(value, first)
        else:
            good = WORDS[word](value)
        if not good:
            return False
    return True


def add_row(g: Generator, row: Row) -> None:
    """The line of a row of the table, on operands that meet its words."""
    operands: list[Value] = []
    for words in row.operands:
        first = operands[0] if operands else None
        found = g.value(lambda v, words=words, first=first: _meets(v, words, first))  # type: ignore[misc]
        if found is None:
            return
        operands.append(found)
    first = operands[0]
    holes: dict[str, object] = {"count": 1 + int(g.rng.integers(3)), "keep": g.chance(0.5)}
    holes["seed"] = int(g.rng.integers(100))
    if first.ndim:
        axis = g.an_axis(first)
        picked = g.rng.permutation(first.ndim)[: int(g.rng.integers(1, first.ndim + 1))]
        holes |= {"axis": axis, "place": axis % first.ndim, "axes": tuple(sorted(map(int, picked)))}
    g.infer(
        row.text.format(*(v.name for v in operands), **holes),
        operands,
        bound=_bound(row, [v.bound for v in operands]),
        exact=row.exact and all(v.exact for v in operands),
        distinct=row.distinct and all(v.distinct for v in operands),
        reverse=row.reverse,
    )


def _bound(row: Row, bounds: list[float]) -> float:
    if row.bound is None:
        return max(bounds)
    return row.bound(*bounds) if callable(row.bound) else row.bound


OPERATIONS += [Operation(lambda g, row=row: add_row(g, row), row.weight) for row in ROWS]  # type: ignore[misc]

# ---- operations that look at shapes ---------------------------------------------------------------------------


def operation(weight: float):
    """Register a function of the generator, asked with this weight."""

    def register(function):
        OPERATIONS.append(Operation(function, weight))
        return function

    return register


def _same(g: Generator, x: Value, text: str, distinct: bool | None = None) -> None:
    keeps = x.distinct if distinct is None else distinct
    g.infer(text, [x], bound=x.bound, exact=x.exact, distinct=keeps)


@operation(2)
def where(g):
    """A choice by a bool value, or by a comparison of an exact one with a number."""
    x = g.a_float()
    y = x and g.a_float(lambda v: v.dtype == x.dtype and broadcastable(v, x))
    condition = y and g.value(lambda v: v.exact and broadcastable(v, x) and broadcastable(v, y))
    if condition:
        test = condition.name if condition.dtype == "bool" else f"{condition.name} > 0"
        other, read = (y.name, [condition, x, y]) if g.chance(0.7) else ("0.25", [condition, x])
        g.infer(f"np.where({test}, {x.name}, {other})", read, bound=max(x.bound, y.bound))


@operation(1.5)
def reshape(g):
    """Another shape with as many elements."""
    x = g.value(lambda v: v.size)
    if not x:
        return
    first = g.choose([d for d in range(1, 40) if x.size % d == 0])
    rest = x.size // first
    shape = g.choose(((x.size,), (first, rest), (rest, first), (first, 1, rest)))
    _same(g, x, f"np.reshape({x.name}, {g.choose((shape, (-1, *shape[1:])))})")


@operation(1.5)
def transpose(g):
    """A permutation of the axes."""
    x = g.value(lambda v: v.ndim >= 2)
    if x:
        _same(g, x, f"np.transpose({x.name}, {tuple(int(a) for a in g.rng.permutation(x.ndim))})")


@operation(1)
def broadcast_to(g):
    """A larger shape: new leading axes, axes of size one repeated."""
    x = g.value(lambda v: v.size <= 300)
    if x:
        shape = tuple(g.choose((1, 2, 3, 5)) if extent == 1 else extent for extent in x.shape)
        shape = (g.choose((1, 2, 4)), *shape) if g.chance(0.6) else shape
        _same(g, x, f"np.broadcast_to({x.name}, {shape})", distinct=False)


@operation(0.7)
def squeeze(g):
    """An axis of size one taken away."""
    x = g.value(lambda v: 1 in v.shape)
    if x:
        axis = g.choose([a for a, extent in enumerate(x.shape) if extent == 1])
        _same(g, x, f"np.squeeze({x.name}, axis={axis})")


@operation(1.5)
def static_slice(g):
    """A slice with steps, some backwards, and single places."""
    x = g.value(lambda v: v.ndim >= 1)
    if not x:
        return
    parts = []
    for extent in x.shape:
        kind = int(g.rng.integers(5))
        if kind == 0 and extent > 1:
            start = int(g.rng.integers(extent))
            parts.append(f"{start}:{int(g.rng.integers(start + 1, extent + 1))}:{int(g.rng.integers(1, 4))}")
        elif kind == 2 and extent > 0:
            parts.append(str(int(g.rng.integers(-extent, extent))))
        else:
            parts.append(g.choose(("::-1", "::-2", "::2")) if kind == 1 else ":")
    _same(g, x, f"{x.name}[{', '.join(parts)}]")


@operation(1.2)
def pad(g):
    """Padding with a number; negative and interior padding too."""
    x = g.value(lambda v: v.ndim >= 1 and v.dtype in ("float32", "float64", "int32") and v.size <= 1000)
    if not x:
        return
    number = g.choose((0, 1))
    if g.chance(0.5):
        widths = tuple((int(g.rng.integers(3)), int(g.rng.integers(3))) for _ in x.shape)
        text = f"np.pad({x.name}, {widths}, constant_values={number})"
    else:
        low = tuple(-1 if extent > 1 and g.chance(0.25) else int(g.rng.integers(3)) for extent in x.shape)
        config = tuple((at, int(g.rng.integers(3)), int(g.rng.integers(3))) for at in low)
        text = f"lax.pad({x.name}, np.asarray({number}, {x.name}.dtype), {config})"
    g.infer(text, [x], bound=max(x.bound, 1), exact=x.exact)


@operation(1.5)
def concatenate(g):
    """Two values joined along an axis."""
    x = g.value(lambda v: v.ndim >= 1)
    if not x:
        return
    axis = int(g.rng.integers(x.ndim))
    rest = lambda v: v.shape[:axis] + v.shape[axis + 1 :]
    y = g.value(lambda v: v.dtype == x.dtype and v.ndim == x.ndim and rest(v) == rest(x))
    names = g.choose(([x.name, y.name], [y.name, x.name, y.name]))
    text = f"np.concatenate([{', '.join(names)}], axis={axis})"
    g.infer(text, [x, y], bound=max(x.bound, y.bound), exact=x.exact and y.exact)


@operation(3)
def matmul(g):
    """A matrix product with a value that fits, or with the own transpose."""
    x = g.a_float(lambda v: v.ndim >= 2 and v.shape[-2] * v.size <= 40_000 * max(v.shape[-1], 1))
    if not x:
        return
    inner = x.shape[-1]
    bound = x.bound * max(inner, 1)
    y = g.a_float(lambda v: v.dtype == x.dtype and v.ndim == 2 and v.shape[0] == inner)
    z = g.a_float(lambda v: v.dtype == x.dtype and v.ndim == 1 and v.shape[0] == inner)
    if y and g.chance(0.6):
        g.infer(f"{x.name} @ {y.name}", [x, y], bound=bound * y.bound)
    elif z and g.chance(0.7):
        g.infer(f"np.dot({x.name}, {z.name})", [x, z], bound=bound * z.bound)
    else:
        g.infer(f"np.matmul({x.name}, np.swapaxes({x.name}, -1, -2))", [x], bound=bound * x.bound)


@operation(1.2)
def einsum(g):
    """A product of a value with itself or another one of its shape in einsum notation."""
    x = g.a_float(lambda v: v.ndim in (1, 2, 3) and v.size <= 4000)
    y = x and g.a_float(lambda v: v.dtype == x.dtype and v.shape == x.shape)
    if not y:
        return
    rules = {
        1: ("a,b->ab", "a,a->", "a,a->a"),
        2: ("ab,cb->ac", "ab,ab->b", "ab,ac->bc", "ab,ab->ba"),
        3: ("abc,abd->acd", "abc,abc->ca", "abc,adc->abd", "abc,dbc->ad"),
    }
    g.infer(f"np.einsum('{g.choose(rules[x.ndim])}', {x.name}, {y.name})", [x, y], bound=UNKNOWN)


@operation(1)
def convolution(g):
    """A one- or two-dimensional convolution of a value with a slice of itself."""
    x = g.a_float(lambda v: v.ndim in (3, 4) and 0 < v.size <= 800)
    if not x:
        return
    spatial = x.shape[2:]
    taps = tuple(min(extent, int(g.rng.integers(1, 4))) for extent in spatial)
    kernel = f"{x.name}[:2, :, {', '.join(f':{t}' for t in taps)}]"
    strides = tuple(int(g.rng.integers(1, 3)) for _ in spatial)
    pads = tuple((int(g.rng.integers(2)), int(g.rng.integers(2))) for _ in spatial)
    dilation = tuple(1 if g.chance(0.7) else 2 for _ in spatial)
    sizes = (n + low + high - (t - 1) * d for n, (low, high), t, d in zip(spatial, pads, taps, dilation))
    if min(sizes) >= 1:
        text = f"lax.conv_general_dilated({x.name}, {kernel}, {strides}, {pads}, rhs_dilation={dilation})"
        g.infer(text, [x], bound=UNKNOWN)


@operation(0.8)
def pool(g):
    """A windowed sum, or a windowed maximum of exact distinct values."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.size and v.dtype in ("float32", "float64"))
    if not x:
        return
    window = tuple(min(extent, int(g.rng.integers(1, 4))) for extent in x.shape)
    strides = tuple(int(g.rng.integers(1, 3)) for _ in x.shape)
    if x.exact and x.distinct and g.chance(0.6):
        text = f"lax.reduce_window({x.name}, -np.inf, lax.max, {window}, {strides}, 'VALID')"
        g.infer(text, [x], bound=x.bound, exact=True)
    else:
        g.infer(f"lax.reduce_window({x.name}, 0., lax.add, {window}, {strides}, 'VALID')", [x], bound=UNKNOWN)


@operation(1.5)
def gather(g):
    """Rows picked by an integer value or by constants."""
    x = g.value(lambda v: v.ndim >= 1 and v.shape[0] > 0 and v.size <= 1500)
    if not x:
        return
    index = g.value(lambda v: v.dtype == "int32" and v.ndim <= 2 and v.size <= 20)
    if index and g.chance(0.6):
        picked, count, reads = f"{index.name} % {x.shape[0]}", index.size, [x, index]
    else:
        listed = [int(i) for i in g.rng.integers(0, x.shape[0], int(g.rng.integers(1, 5)))]
        picked, count, reads = f"np.array({listed})", len(listed), [x]
    if count * x.size // x.shape[0] <= 4000:
        text = g.choose(("np.take({}, {}, axis=0)", "{}[{}]")).format(x.name, picked)
        g.infer(text, reads, bound=x.bound, exact=x.exact)


@operation(0.6)
def take_along_axis(g):
    """Elements picked along the last axis."""
    x = g.value(lambda v: v.ndim >= 1 and v.shape[-1] > 0)
    index = x and g.value(lambda v: v.dtype == "int32" and v.ndim == x.ndim and v.shape[:-1] == x.shape[:-1])
    if index:
        text = f"np.take_along_axis({x.name}, {index.name} % {x.shape[-1]}, axis=-1)"
        g.infer(text, [x, index], bound=x.bound, exact=x.exact)


@operation(1)
def scatter(g):
    """Rows set, added to or multiplied, at constant places."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.shape[0] > 0)
    if not x:
        return
    method = g.choose(("set", "add", "multiply"))
    rows = [int(i) for i in g.rng.permutation(x.shape[0])[: int(g.rng.integers(1, 4))]]
    if method == "add" and g.chance(0.5):
        rows += rows[:1]
    unique = ", unique_indices=True" if method == "multiply" else ""
    text = f"{x.name}.at[np.array({rows})].{method}(0.5 * np.sin({x.name}[:1]){unique})"
    g.infer(text, [x], bound=x.bound * 2)


@operation(0.8)
def dynamic_slice(g):
    """A slice or an update at a position that is a value."""
    x = g.a_float(lambda v: v.ndim >= 1 and v.size)
    index = x and g.value(lambda v: v.dtype == "int32" and v.size and v.ndim >= 1)
    if not index:
        return
    start = f"{index.name}.ravel()[0]"
    sizes = tuple(int(g.rng.integers(1, extent + 1)) for extent in x.shape)
    starts = ", ".join([start] + [f"0 * {start}"] * (x.ndim - 1))
    if g.chance(0.5):
        text = f"lax.dynamic_slice({x.name}, ({starts},), {sizes})"
        g.infer(text, [x, index], bound=x.bound, exact=x.exact)
    else:
        piece = f"np.cos({x.name}[{', '.join(f':{s}' for s in sizes)}])"
        g.infer(f"lax.dynamic_update_slice({x.name}, {piece}, ({starts},))", [x, index], bound=x.bound)


@operation(0.8)
def cond(g):
    """Two branches, chosen by an element of an exact value."""
    x = g.a_float(lambda v: math.prod(v.shape) and v.dtype in ("float32", "float64"))
    chooser = x and g.value(lambda v: v.exact and v.size and v.dtype != "bool")
    if chooser:
        text = f"lax.cond({chooser.name}.ravel()[0] > 0, lambda t: np.sin(t), lambda t: t * t, {x.name})"
        g.infer(text, [chooser, x], bound=UNKNOWN)
