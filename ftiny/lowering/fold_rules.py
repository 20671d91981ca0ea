"""What a fold does, as expressions: where it reads, and how its state starts, steps and combines.

Input: a reduce, contract or cumulate equation. Output: `Points`, which give every operand's index for a point of the
folded axes, and a `Rule`, which gives the expressions of the state. Both the stages of a loop nest and small folds that
are written out in full are made of them.

Strided gradients: a window whose coordinate (stride*p + dilation*r - pad) / base must be whole has, for a given p, only
every base-th r. With dilation 1 or -1 those are r = t mod base + base*k for t = -+(stride*p - pad), so the fold runs
over k, base times shorter, and no coordinate has to be tested for divisibility. A max-pool gradient whose stride is its
window has a single k left: it is no fold at all.

Worked example: `y[h] = sum over r of x[(h - r)/2]`, r < 2, has the one term x[h // 2] (r = h mod 2).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ftiny.contraction import Axes, Direct, Spec, Window
from ftiny.core import Eqn
from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.expr import (
    BOOL,
    Expr,
    add,
    cast,
    compare,
    const,
    floordiv,
    logical_and,
    logical_not,
    logical_or,
    math,
    maximum,
    mod,
    select,
    where,
)
from ftiny.lowering.index import flatten, simplify
from ftiny.lowering.loops import apply_op, neutral

OPS = {"sum": "add", "prod": "mul", "min": "minimum", "max": "maximum", "and": "and", "or": "or", "xor": "xor"}
UNROLLED = 16   # windowed folds of at most so many points are written out, and fuse like elementwise operations
SHORT = 4       # and folds of so many elements, where the operand is spread out and lies in no memory
OFFSET = np.dtype(np.int32)

States = tuple[Expr, ...]


# ------------------------------------------------------------------------------------- where it reads


@dataclass(frozen=True)
class Points:
    """The values of a spec's indices at one point, the coordinates of its split windows, and whether it exists."""

    at: Mapping[int, Expr]
    places: Mapping[tuple[int, int], Expr]
    exists: Expr


def split_window(spec: Spec, index: int) -> Window | None:
    """The window by which a folded index is split into residue classes, if there is one."""
    for axes in spec.operands:
        for axis in axes:
            if isinstance(axis, Window) and axis.r == index and axis.base > 1 and abs(axis.dilation) == 1:
                return axis if axis.p in spec.output else None
    return None


def fold_extents(spec: Spec) -> tuple[int, ...]:
    """How many points each folded index runs over."""
    extent = spec.extent
    windows = [(i, split_window(spec, i)) for i in spec.folded]
    return tuple(extent[i] if w is None else -(-extent[i] // w.base) for i, w in windows)


def fold_points(spec: Spec, kept: Sequence[Expr], over: Sequence[Expr]) -> Points:
    """Where a fold reads: `kept` are the values of the output's indices, `over` those of the folded axes."""
    at = dict(zip(spec.output, kept, strict=True))
    places: dict[tuple[int, int], Expr] = {}
    exists = const(True, BOOL)
    for index, step in zip(spec.folded, over, strict=True):
        window = split_window(spec, index)
        if window is None:
            at[index] = step
            continue
        start = at[window.p] * window.stride - window.pad
        turned = start if window.dilation < 0 else const(0) - start
        quotient = simplify(floordiv(simplify(turned), const(window.base))) - step
        at[index] = simplify(mod(simplify(turned), const(window.base)) + step * window.base)
        places[(window.p, index)] = quotient if window.dilation < 0 else const(0) - quotient
        exists = logical_and(exists, simplify(at[index] < spec.extent[index]))
    return Points(at, places, exists)


def operand_point(axes: Axes, points: Points, shape: tuple[int, ...]) -> tuple[tuple[Expr, ...], Expr]:
    """The index at which an operand is read, and the condition that it is there at all.

    A window's coordinate is (stride*p + dilation*r - pad) / base: outside the operand, or not whole, it reads nothing.
    """
    index: list[Expr] = []
    inside = points.exists
    for axis, extent in zip(axes, shape, strict=True):
        if isinstance(axis, Direct):
            index.append(points.at[axis.index])
            continue
        place = points.places.get((axis.p, axis.r))
        if place is None:
            place = points.at[axis.p] * axis.stride + points.at[axis.r] * axis.dilation - axis.pad
            if axis.base != 1:
                inside = logical_and(inside, simplify(compare("eq", mod(place, const(axis.base)), const(0))))
                place = floordiv(place, const(axis.base))
        place = simplify(place)
        inside = logical_and(inside, simplify(place >= 0), simplify(place < extent))
        index.append(place)
    return tuple(index), inside


# --------------------------------------------------------------------------------- what it does there


@dataclass(frozen=True)
class Rule:
    """A fold's state: dtypes, first values, and how it takes an element (at a flat offset) or another state in.

    `step(state, element, offset)`, `combine(state, later)` and `results(state)` map expressions to expressions;
    `element` has dtype `dtypes[0]`, and is `start[0]` where nothing is read.
    """

    dtypes: tuple[np.dtype, ...]
    start: States
    step: Callable[[States, Expr, Expr], States]
    combine: Callable[[States, States], States]
    results: Callable[[States], States]


def rule_of(eqn: Eqn) -> Rule:
    """The rule of a reduce, reduce_with_offset or cumulate equation."""
    op, given, out = eqn.params["op"], eqn.inputs[0].aval.dtype, eqn.outputs[0].aval.dtype
    if op == "logsumexp":
        return _joined(accumulation_dtype(out), out, neutral("maximum", accumulation_dtype(out)), _add_logarithms)
    if op in OPS:
        name = OPS[op]
        dtype = accumulation_dtype(out) if op in ("sum", "prod") else out
        return _joined(dtype, out, neutral(name, dtype), lambda x, y: apply_op(name, x, y))
    return _extremum("maximum" if op.startswith(("argmax", "max")) else "minimum", given, eqn)


def _joined(dtype: np.dtype, out: np.dtype, start: Expr, join: Callable[[Expr, Expr], Expr]) -> Rule:
    return Rule((dtype,), (start,), lambda s, x, at: (join(s[0], x),), lambda s, t: (join(s[0], t[0]),),
                lambda s: (cast(s[0], out),))


def _add_logarithms(x: Expr, y: Expr) -> Expr:
    """log(exp(x) + exp(y)); an infinite or NaN larger one is the result itself."""
    top = maximum(x, y)
    total = add(top, math("log1p", math("exp", math("neg", math("abs", x - y)))))
    return select(math("is_finite", top), total, top)


def _extremum(op: str, given: np.dtype, eqn: Eqn) -> Rule:
    """The extremum and its flat offset among the folded positions; the first of equals, and NaN before all."""
    dtype = np.dtype(np.int32) if given == BOOL else given
    offset_out = eqn.outputs[-1].aval.dtype

    def step(state: States, element: Expr, offset: Expr) -> States:
        wins = _beats(op, element, state[0])
        return select(wins, element, state[0]), select(wins, offset, state[1])

    def combine(state: States, later: States) -> States:
        ties = logical_and(_equal(later[0], state[0]), later[1] < state[1])
        takes = logical_or(_beats(op, later[0], state[0]), ties)
        return select(takes, later[0], state[0]), select(takes, later[1], state[1])

    def results(state: States) -> States:
        at = cast(state[1], offset_out)
        return (cast(state[0], given), at) if len(eqn.outputs) == 2 else (at,)

    return Rule((dtype, OFFSET), (cast(neutral(op, given), dtype), const(0, OFFSET)), step, combine, results)


def _beats(op: str, challenger: Expr, holder: Expr) -> Expr:
    ahead = compare("gt" if op == "maximum" else "lt", challenger, holder)
    if challenger.dtype.kind in "iub":
        return ahead
    return logical_or(ahead, logical_and(math("is_nan", challenger), logical_not(math("is_nan", holder))))


def _equal(x: Expr, y: Expr) -> Expr:
    same = compare("eq", x, y)
    return same if x.dtype.kind in "iub" else logical_or(same, logical_and(math("is_nan", x), math("is_nan", y)))


# ------------------------------------------------------------------------------ folds written in full


def is_unrolled(eqn: Eqn) -> bool:
    """Whether a fold is so small that it can be an index -> value function: a pooling window, its gradient, patches, a
    short sum."""
    if eqn.primitive.name not in ("reduce", "reduce_with_offset"):
        return False
    spec = eqn.params["spec"]
    return prod(fold_extents(spec)) <= UNROLLED if spec.has_windows else is_short(eqn)


def is_short(eqn: Eqn) -> bool:
    """Whether an equation folds a few whole elements, such as the coordinates of a point."""
    if eqn.primitive.name != "reduce" or eqn.params["op"] not in OPS:
        return False
    return not eqn.params["spec"].has_windows and 0 < prod(fold_extents(eqn.params["spec"])) <= SHORT


def unrolled_size(eqn: Eqn) -> int:
    """How many elements of the operand one element of an unrolled fold reads."""
    return max(1, prod(fold_extents(eqn.params["spec"])))


def unrolled(read: Callable[[tuple[Expr, ...]], Expr], index: Sequence[Expr], eqn: Eqn) -> States:
    """The results at `index` of a fold written out in full; `read` gives the operand's elements."""
    spec, rule = eqn.params["spec"], rule_of(eqn)
    extents = [spec.extent[i] for i in spec.folded]
    state: States | None = None
    for place in itertools.product(*map(range, fold_extents(spec))):
        points = fold_points(spec, index, list(map(const, place)))
        where_, inside = operand_point(spec.operands[0], points, eqn.inputs[0].aval.shape)
        element = where(inside, cast(read(where_), rule.dtypes[0]), rule.start[0])
        if state is None and len(rule.start) == 1:
            state = (element,)
        else:
            offset = cast(flatten([points.at[i] for i in spec.folded], tuple(extents)), OFFSET)
            state = rule.step(rule.start if state is None else state, element, offset)
    return rule.results(rule.start if state is None else state)
