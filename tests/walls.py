"""Eight loop nests that the boundary types must be able to hold, written by hand, with numpy references.

Each function returns `Case(nest, inputs, expected)`: fresh random inputs from `rng` and what numpy says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftiny.lowering.expr import (
    Axis,
    axis,
    cast,
    compare,
    const,
    load,
    logical_and,
    logical_or,
    math,
    maximum,
    mul,
    select,
    where,
)
from ftiny.lowering.loops import Fold, LoopNest, Map, Value, Write, fold, other_element, state_element

F32, I32, I64 = np.dtype("float32"), np.dtype("int32"), np.dtype("int64")


@dataclass(frozen=True)
class Case:
    """A nest, its input arrays and the expected outputs by argument name."""

    nest: LoopNest
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal float32."""
    return rng.standard_normal(shape).astype(np.float32)


def register(name: str, dtype: np.dtype = F32, shape: tuple[int, ...] = ()) -> Value:
    """A register value."""
    return Value(name, shape, dtype, scope="register")


def softmax(rng: np.random.Generator, rows: int = 7, columns: int = 77) -> Case:
    """Softmax with the row kept on chip: exponentials are computed once."""
    row, j = Axis("row", rows), Axis("j", columns)
    x, y = Value("x", (rows, columns), F32), Value("y", (rows, columns), F32)
    e = Value("e", (columns,), F32, scope="shared")
    m, s = register("m"), register("s")
    nest = LoopNest("softmax", (row,), (x, y), (e,), (
        fold("maximum", m, over=(j,), of=x[row, j]),
        Map((j,), (Write("e", (j,), math("exp", x[row, j] - m[()])),)),
        fold("add", s, over=(j,), of=e[j]),
        Map((j,), (Write("y", (row, j), e[j] / s[()]),))))
    data = normal(rng, rows, columns)
    exp = np.exp(data - data.max(1, keepdims=True))
    return Case(nest, {"x": data}, {"y": exp / exp.sum(1, keepdims=True)})


def layernorm_backward(rng: np.random.Generator, rows: int = 13, columns: int = 37) -> Case:
    """dx by rows, and dgain, dbias across rows from the same pass over dy and x."""
    row, j = Axis("row", rows), Axis("j", columns)
    shape = (rows, columns)
    x, dy, dx = Value("x", shape, F32), Value("dy", shape, F32), Value("dx", shape, F32)
    gain = Value("gain", (columns,), F32)
    dgain, dbias = Value("dgain", (columns,), F32), Value("dbias", (columns,), F32)
    total, squares, mean, scale = register("total"), register("squares"), register("mean"), register("scale")
    a, b = register("a"), register("b")
    xhat = (x[row, j] - mean[()]) * scale[()]
    weighted = dy[row, j] * gain[j]
    sums = Fold((), (j,), (a, b), (const(0.0, F32), const(0.0, F32)), (a[()] + weighted, b[()] + weighted * xhat),
                (a[()] + other_element(a), b[()] + other_element(b)))
    across = Fold((j,), (row,), (g := register("g", F32, (columns,)), c := register("c", F32, (columns,))),
                  (const(0.0, F32), const(0.0, F32)),
                  (state_element(g, (j,)) + dy[row, j] * xhat, state_element(c, (j,)) + dy[row, j]),
                  (state_element(g, (j,)) + other_element(g, (j,)), state_element(c, (j,)) + other_element(c, (j,))),
                  (Write("dgain", (j,), state_element(g, (j,))), Write("dbias", (j,), state_element(c, (j,)))),
                  across="second_kernel")
    nest = LoopNest("layernorm_backward", (row,), (x, dy, gain, dx, dgain, dbias), (mean, scale), (
        fold("add", total, over=(j,), of=x[row, j]),
        Map((), (Write("mean", (), total[()] / float(columns)),)),
        fold("add", squares, over=(j,), of=(x[row, j] - mean[()]) * (x[row, j] - mean[()])),
        Map((), (Write("scale", (), math("rsqrt", squares[()] / float(columns) + 1e-5)),)),
        sums,
        Map((j,), (Write("dx", (row, j), (weighted - a[()] / float(columns)
                                          - xhat * (b[()] / float(columns))) * scale[()]),)),
        across))
    vx, vdy, vg = normal(rng, *shape), normal(rng, *shape), normal(rng, columns)
    centred = vx - vx.mean(1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    hat, w = centred * rstd, vdy * vg
    return Case(nest, {"x": vx, "dy": vdy, "gain": vg}, {
        "dx": (w - w.mean(1, keepdims=True) - hat * (w * hat).mean(1, keepdims=True)) * rstd,
        "dgain": (vdy * hat).sum(0), "dbias": vdy.sum(0)})


def better(value, index, best, best_index):
    """Whether (value, index) beats the best so far: greater, or NaN first, ties to the smaller index."""
    is_nan, was_nan = compare("ne", value, value), compare("ne", best, best)
    greater = logical_or(value > best, logical_and(is_nan, ~was_nan))
    tie = logical_and(logical_or(compare("eq", value, best), logical_and(is_nan, was_nan)), index < best_index)
    return logical_or(greater, tie)


def argmax(rng: np.random.Generator, rows: int = 5, columns: int = 83) -> Case:
    """The first position of each row's maximum: a state of two components."""
    row, j = Axis("row", rows), Axis("j", columns)
    x, y = Value("x", (rows, columns), F32), Value("y", (rows,), I32)
    best, where_ = register("best"), register("where", I32)
    here = cast(axis(j), I32)
    step = better(x[row, j], here, best[()], where_[()])
    joined = better(other_element(best), other_element(where_), best[()], where_[()])
    nest = LoopNest("argmax", (row,), (x, y), (), (
        Fold((), (j,), (best, where_), (const(-np.inf, F32), const(2**31 - 1, I32)),
             (select(step, x[row, j], best[()]), select(step, here, where_[()])),
             (select(joined, other_element(best), best[()]), select(joined, other_element(where_), where_[()])),
             (Write("y", (row,), where_[()]),)),))
    data = rng.integers(-3, 4, (rows, columns)).astype(np.float32)
    data[1, 40] = np.nan
    return Case(nest, {"x": data}, {"y": np.argmax(data, 1).astype(np.int32)})


def maxpool_gradient(rng: np.random.Generator, n: int = 2, h: int = 9, w: int = 11, c: int = 5) -> Case:
    """3x3 max-pooling with stride 2, no padding: an input element gathers from the windows whose winner
    it is. `offset` holds each window's winning position, r*3 + s."""
    p, q = (h - 3) // 2 + 1, (w - 3) // 2 + 1
    axes = Axis("n", n), Axis("h", h), Axis("w", w), Axis("c", c)
    r, s = Axis("r", 3), Axis("s", 3)
    dy, offset = Value("dy", (n, p, q, c), F32), Value("offset", (n, p, q, c), I32)
    dx = Value("dx", (n, h, w, c), F32)
    top, left = axis(axes[1]) - axis(r), axis(axes[2]) - axis(s)
    inside = logical_and(compare("eq", top % 2, const(0)), compare("eq", left % 2, const(0)), top >= 0, left >= 0,
                         top // 2 < p, left // 2 < q)
    index = (axis(axes[0]), top // 2, left // 2, axis(axes[3]))
    mine = compare("eq", load("offset", index, I32, inside, -1), cast(axis(r) * 3 + axis(s), I32))
    gathered = select(mine, load("dy", index, F32, inside), const(0.0, F32))
    total = register("total")
    nest = LoopNest("maxpool_gradient", axes, (dy, offset, dx), (), (
        fold("add", total, over=(r, s), of=gathered, finish=(Write("dx", axes, total[()]),)),))
    vdy, expected = normal(rng, n, p, q, c), np.zeros((n, h, w, c), np.float32)
    chosen = rng.integers(0, 9, (n, p, q, c)).astype(np.int32)
    for i, j in np.ndindex(p, q):
        for b, ch in np.ndindex(n, c):
            dr, ds = divmod(int(chosen[b, i, j, ch]), 3)
            expected[b, 2 * i + dr, 2 * j + ds, ch] += vdy[b, i, j, ch]
    return Case(nest, {"dy": vdy, "offset": chosen}, {"dx": expected})


def cross_entropy(rng: np.random.Generator, rows: int = 11, classes: int = 29) -> Case:
    """The mean loss over rows (a fold across the grid) and its gradient, from one pass."""
    row, j = Axis("row", rows), Axis("j", classes)
    x, label = Value("x", (rows, classes), F32), Value("label", (rows,), I32)
    loss, dx = Value("loss", (), F32), Value("dx", (rows, classes), F32)
    m, s, mean = register("m"), register("s"), register("mean")
    correct = load("x", (axis(row), cast(label[row], I64)), F32)
    logsum = m[()] + math("log", s[()])
    hit = cast(compare("eq", cast(label[row], I64), axis(j)), F32)
    nest = LoopNest("cross_entropy", (row,), (x, label, loss, dx), (), (
        fold("maximum", m, over=(j,), of=x[row, j]),
        fold("add", s, over=(j,), of=math("exp", x[row, j] - m[()])),
        Map((j,), (Write("dx", (row, j), (math("exp", x[row, j] - logsum) - hit) / float(rows)),)),
        fold("add", mean, over=(row,), of=logsum - correct, across="second_kernel",
             finish=(Write("loss", (), mean[()] / float(rows)),))))
    data, labels = normal(rng, rows, classes), rng.integers(0, classes, rows).astype(np.int32)
    lse = np.log(np.exp(data - data.max(1, keepdims=True)).sum(1)) + data.max(1)
    hot = np.eye(classes, dtype=np.float32)[labels]
    return Case(nest, {"x": data, "label": labels}, {
        "loss": (lse - data[np.arange(rows), labels]).mean(), "dx": (np.exp(data - lse[:, None]) - hot) / rows})


def split_k(rng: np.random.Generator, m: int = 5, n: int = 19, k: int = 103) -> Case:
    """A matrix product with k split over blocks; the block that comes last adds up and applies relu."""
    i, j, part, inner = Axis("i", m), Axis("j", n), Axis("part", 4), Axis("inner", -(-k // 4))
    a, b, c = Value("a", (m, k), F32), Value("b", (k, n), F32), Value("c", (m, n), F32)
    acc = register("acc")
    position = axis(part) * inner.extent + axis(inner)
    inside = position < k
    product = mul(load("a", (axis(i), position), F32, inside), load("b", (position, axis(j)), F32, inside))
    nest = LoopNest("split_k", (i, j, part), (a, b, c), (), (
        fold("add", acc, over=(part, inner), of=product, across="last_block", atom="multiply_add",
             finish=(Write("c", (i, j), maximum(acc[()], const(0.0, F32))),)),))
    va, vb = normal(rng, m, k), normal(rng, k, n)
    return Case(nest, {"a": va, "b": vb}, {"c": np.maximum(va @ vb, 0)})


def cumsum(rng: np.random.Generator, rows: int = 3, columns: int = 1003) -> Case:
    """A running sum along rows, cut into blocks of 64 that look back to their predecessors."""
    size = 64
    row, block, i = Axis("row", rows), Axis("block", -(-columns // size)), Axis("i", size)
    x, y = Value("x", (rows, columns), F32), Value("y", (rows, columns), F32)
    acc = register("acc")
    position = axis(block) * size + axis(i)
    inside = position < columns
    nest = LoopNest("cumsum", (row, block), (x, y), (), (
        fold("add", acc, over=(block, i), of=load("x", (axis(row), position), F32, inside), across="look_back",
             emit=(Write("y", (axis(row), position), acc[()], inside),)),))
    data = rng.integers(-8, 9, (rows, columns)).astype(np.float32)
    return Case(nest, {"x": data}, {"y": np.cumsum(data, 1)})


def matmul_bias_gradient(rng: np.random.Generator, m: int = 11, n: int = 21, k: int = 17) -> Case:
    """dz = (dy @ w) * (z > 0), and dbias = the column sums of dz, from the product's epilogue."""
    i, j, kk = Axis("i", m), Axis("j", n), Axis("k", k)
    dy, w, z = Value("dy", (m, k), F32), Value("w", (k, n), F32), Value("z", (m, n), F32)
    dz, dbias = Value("dz", (m, n), F32), Value("dbias", (n,), F32)
    acc, total, masked = register("acc"), register("total"), register("masked")
    nest = LoopNest("matmul_bias_gradient", (i, j), (dy, w, z, dz, dbias), (masked,), (
        fold("add", acc, over=(kk,), of=dy[i, kk] * w[kk, j], atom="multiply_add"),
        Map((), (Write("masked", (), select(z[i, j] > 0.0, acc[()], const(0.0, F32))),
                 Write("dz", (i, j), masked[()]))),
        fold("add", total, over=(i,), of=masked[()], across="second_kernel",
             finish=(Write("dbias", (j,), total[()]),))))
    vdy, vw, vz = normal(rng, m, k), normal(rng, k, n), normal(rng, m, n)
    grad = (vdy @ vw) * (vz > 0)
    return Case(nest, {"dy": vdy, "w": vw, "z": vz}, {"dz": grad, "dbias": grad.sum(0)})


def attention(rng: np.random.Generator, heads: int = 2, length: int = 19, width: int = 24) -> Case:
    """Causal attention with an online softmax: state (m, l, acc[d]), one pass over the keys."""
    h, i, j = Axis("h", heads), Axis("i", length), Axis("j", length)
    d, e = Axis("d", width), Axis("e", width)
    shape = (heads, length, width)
    q, k, v, o = (Value(name, shape, F32) for name in "qkvo")
    score = Value("score", (length,), F32, scope="shared")
    dot = register("dot", F32, (length,))
    m, s, acc = register("m"), register("l"), register("acc", F32, (width,))
    seen = axis(j) <= axis(i)
    value = load("v", (axis(h), axis(j), axis(d)), F32, seen)
    masked = where(seen, score[j], const(-np.inf, F32))
    top = maximum(m[()], masked)
    shrink, weight = math("exp", m[()] - top), math("exp", masked - top)
    joint = maximum(m[()], other_element(m))
    # A piece that saw no key has m = -inf: its weight is 0, not exp(-inf + inf).
    neutral = compare("eq", joint, const(-np.inf, F32))
    mine = select(neutral, const(1.0, F32), math("exp", m[()] - joint))
    theirs = select(neutral, const(1.0, F32), math("exp", other_element(m) - joint))
    first = compare("eq", top, const(-np.inf, F32))
    shrink = select(first, const(1.0, F32), shrink)
    weight = select(first, const(0.0, F32), weight)
    a = state_element(acc, (d,))
    online = Fold((d,), (j,), (m, s, acc), (const(-np.inf, F32), const(0.0, F32), const(0.0, F32)),
                  (top, s[()] * shrink + weight, a * shrink + weight * value),
                  (joint, s[()] * mine + other_element(s) * theirs, a * mine + other_element(acc, (d,)) * theirs),
                  (Write("o", (h, i, d), a / s[()]),))
    nest = LoopNest("attention", (h, i), (q, k, v, o), (score,), (
        fold("add", dot, axes=(j,), over=(e,), of=q[h, i, e] * k[h, j, e],
             finish=(Write("score", (j,), state_element(dot, (j,)) * float(width**-0.5)),)),
        online))
    vq, vk, vv = (normal(rng, *shape) for _ in range(3))
    logits = np.einsum("hid,hjd->hij", vq, vk) * width**-0.5
    logits = np.where(np.tril(np.ones((length, length), bool)), logits, -np.inf)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return Case(nest, {"q": vq, "k": vk, "v": vv},
                {"o": np.einsum("hij,hjd->hid", p / p.sum(-1, keepdims=True), vv)})


WALLS: dict[str, Callable[..., Case]] = {
    f.__name__: f for f in (softmax, layernorm_backward, argmax, maxpool_gradient, cross_entropy, split_k, cumsum,
                            matmul_bias_gradient, attention)}
