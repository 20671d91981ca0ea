"""The folds: reduce, reduce_with_offset, contract, cumulate and sort.

`reduce` and `contract` take a `contraction.Spec`, in its unary and binary form. Input and output types are those of
`core.Primitive`; lowering makes a loop nest of each, so their `lower` is an `Anchor`.

Worked example: `reduce_axes(x, (1,), "sum")` of an x with aval f32[2,3] binds `reduce_p` with op 'sum' and the spec
`a b -> a`; its aval is f32[2], and it transposes to a broadcast along axis 1.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ftiny import contraction, dtypes
from ftiny import primitives as p
from ftiny.contraction import Spec
from ftiny.core import ZERO, Anchor, ArrayLike, Aval, Linear, Primitive, get_aval
from ftiny.errors import ArgumentError, ShapeError
from ftiny.source import located

# The dtype kinds that each operation takes.
REDUCE_KINDS = {"sum": "ifc", "prod": "ifc", "min": "bif", "max": "bif", "and": "bi", "or": "bi", "xor": "bi",
                "argmin": "bif", "argmax": "bif"}


def identity(op: str, dtype: np.dtype) -> np.generic:
    """The value that `op` (of REDUCE_KINDS) leaves unchanged, in `dtype`."""
    if op in ("sum", "or", "xor"):
        return p.scalar(0, dtype)
    if op == "prod":
        return p.scalar(1, dtype)
    if op == "and":
        return np.invert(p.scalar(0, dtype))
    lowest = op in ("max", "argmax")
    if dtypes.kind(dtype) == "float":
        return p.scalar(-np.inf if lowest else np.inf, dtype)
    if dtype == dtypes.bool_:
        return np.bool_(not lowest)
    info = np.iinfo(dtype)
    return dtype.type(info.min if lowest else info.max)


# ---- reduce ---------------------------------------------------------------------------------------------------


def _reduce_abstract(x: Aval, *, op: str, spec: Spec) -> Aval:
    if op not in REDUCE_KINDS:
        raise ArgumentError(located(f"reduce has no operation {op!r}; it has {', '.join(REDUCE_KINDS)}"))
    p.check_kinds(f"reduce {op}", (x,), REDUCE_KINDS[op])
    contraction.check_operands(spec, [x.shape])
    contraction.check_spec(spec)
    empty = [i for i in spec.folded if spec.extent[i] == 0]
    if op in ("argmin", "argmax") and empty:
        raise ShapeError(located(f"reduce {op}: an axis of shape {x.shape} that is folded is empty"))
    return Aval(spec.output_shape, dtypes.int32 if op in ("argmin", "argmax") else x.dtype)


_UFUNCS = {"sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and,
           "or": np.bitwise_or, "xor": np.bitwise_xor}


def _reduce_numpy(x, *, op, spec):
    wide = x.astype(dtypes.accumulation_dtype(x.dtype), copy=False)
    start = identity(op, wide.dtype)
    spread, folded = contraction.unary_numpy(wide, spec, start)
    with np.errstate(all="ignore"):
        if op in ("argmin", "argmax"):
            return _first(op, spread, len(folded)).astype(np.int32)
        # Plain sums keep numpy's pairwise order; the initial value serves empty axes.
        return np.asarray(_UFUNCS[op].reduce(spread, axis=folded, dtype=wide.dtype, initial=start)).astype(
            x.dtype, copy=False)


def _first(op: str, spread: np.ndarray, folded: int) -> np.ndarray:
    """The flat offset of the first smallest or largest element over the last `folded` axes; NaN wins."""
    kept = spread.ndim - folded
    flat = spread.reshape((*spread.shape[:kept], math.prod(spread.shape[kept:])))
    return np.asarray((np.argmin if op == "argmin" else np.argmax)(flat, axis=-1))


def _plain_axes(spec: Spec) -> tuple[int, ...]:
    """The axes that a spec without windows folds."""
    return tuple(k for k, axis in enumerate(spec.operands[0]) if axis.index not in spec.output)  # type: ignore


def _reduce_transpose(ct, x, *, op, spec):
    if op != "sum":
        return p.not_linear()
    turned, places = contraction.transpose_spec(spec, 0, x.aval.shape)
    return [p.broadcast(reduce(ct, "sum", turned), x.aval.shape, places)]


def _broadcast_back(y, spec: Spec, shape):
    """A result of a window-free reduce, repeated along the axes that were folded."""
    axes = [axis.index for axis in spec.operands[0]]  # type: ignore[union-attr]
    return p.broadcast(y, shape, tuple(axes.index(i) for i in spec.output))


def _reduce_jvp(primals, tangents, *, op, spec):
    (x,), (dx,) = primals, tangents
    out = reduce(x, op, spec)
    if dx is ZERO or op in ("argmin", "argmax"):
        return out, ZERO
    if op == "sum":
        return out, reduce(dx, "sum", spec)
    if op in ("min", "max"):
        return out, _extremum_tangent(out, x, dx, op, spec)
    return out, _product_tangent(x, dx, spec)


def _extremum_tangent(out, x, dx, op, spec):
    """The tangents of all elements that equal the extremum, on average; with windows, that of the first of them."""
    if spec.has_windows:
        _, offset = reduce_with_offset(x, f"{op}_with_offset", spec)
        return _at_offset(dx, offset, spec)
    shape = p.shape_of(x)
    ties = p.compare(x, _broadcast_back(out, spec, shape), "eq")
    count = reduce(p.convert(ties, get_aval(x).dtype), "sum", spec)
    return p.div(reduce(p.select(ties, dx, 0), "sum", spec), count)


def _product_tangent(x, dx, spec):
    """Each tangent times the product of all other elements, which divides by nothing, so that zeros are no trouble."""
    if spec.has_windows:
        raise ArgumentError(located("reduce prod over windows has no derivative; use slices and mul instead"))
    axes = _plain_axes(spec)
    kept = tuple(a for a in range(len(spec.operands[0])) if a not in axes)
    shape = p.shape_of(x)

    def in_line(value):
        turned = p.transpose(value, kept + axes)
        return p.reshape(turned, (*(shape[a] for a in kept), int(np.prod([shape[a] for a in axes], dtype=np.int64))))

    line = in_line(x)
    last = len(kept)

    def product_beyond(reverse: bool):
        shift = (-1, 1, 0) if reverse else (1, -1, 0)
        config = ((0, 0, 0),) * last + (shift,)
        return p.pad(cumulate(line, "prod", last, reverse), 1, config)

    others = p.mul(product_beyond(False), product_beyond(True))
    return reduce_axes(p.mul(in_line(dx), others), (last,), "sum")


def _reduce_batch(axis_size, args, dims, *, op, spec):
    return reduce(args[0], op, contraction.add_index(spec, dims, axis_size)), 0


reduce_p: Primitive = Primitive(
    "reduce",
    shows_as="op",
    abstract=_reduce_abstract,
    numpy=_reduce_numpy,
    jvp=_reduce_jvp,
    transpose=_reduce_transpose,
    batch=_reduce_batch,
    factors=lambda x, *, op, spec: contraction.factors(spec, [x.shape]),
    lower=Anchor("reduce"))


def reduce(x, op: str, spec: Spec):
    """`x` folded by `op` over the indices that are not in the output of the unary `spec`."""
    same = spec == contraction.reduce_spec(p.shape_of(x), ()) and op not in ("argmin", "argmax")
    if same and isinstance(x, (ArrayLike, np.generic)):
        return x
    return reduce_p.bind(x, op=op, spec=spec)


def reduce_axes(x, axes: Sequence[int], op: str = "sum"):
    """`x` folded by `op` over `axes` (non-negative)."""
    return reduce(x, op, contraction.reduce_spec(p.shape_of(x), tuple(axes)))


# ---- reduce_with_offset ---------------------------------------------------------------------------------------


_EXTREMUM = {"max_with_offset": "max", "min_with_offset": "min"}


def _offset_abstract(x: Aval, *, op: str, spec: Spec) -> list[Aval]:
    if op not in _EXTREMUM:
        raise ArgumentError(located(f"reduce_with_offset has no operation {op!r}; it has {', '.join(_EXTREMUM)}"))
    arg = _reduce_abstract(x, op="arg" + _EXTREMUM[op], spec=spec)
    return [Aval(arg.shape, x.dtype), arg]


def _offset_numpy(x, *, op, spec):
    op = _EXTREMUM[op]
    spread, folded = contraction.unary_numpy(x, spec, identity(op, x.dtype))
    flat = spread.reshape(spread.shape[:spread.ndim - len(folded)] + (-1,))
    offset = _first("arg" + op, flat, 1)
    return [np.take_along_axis(flat, offset[..., None], -1)[..., 0], offset.astype(np.int32)]


def _at_offset(dx, offset, spec: Spec):
    """The elements of `dx` that lie at `offset` of each window: a sum over the patches, which fusion keeps virtual."""
    spread = contraction.make_spec(spec.operands, spec.output + spec.folded, spec.extent)
    shape = (*spec.output_shape, int(np.prod([spec.extent[i] for i in spec.folded], dtype=np.int64)))
    patches = p.reshape(reduce(dx, "sum", spread), shape)
    last = len(shape) - 1
    here = p.compare(p.iota(shape, dtypes.int32, last), p.broadcast(offset, shape, tuple(range(last))), "eq")
    return reduce_axes(p.select(here, patches, 0), (last,), "sum")


def _offset_jvp(primals, tangents, *, op, spec):
    (x,), (dx,) = primals, tangents
    value, offset = reduce_with_offset(x, op, spec)
    return [value, offset], [ZERO if dx is ZERO else _at_offset(dx, offset, spec), ZERO]


def _offset_batch(axis_size, args, dims, *, op, spec):
    return reduce_with_offset(args[0], op, contraction.add_index(spec, dims, axis_size)), [0, 0]


def _offset_factors(x: Aval, *, op, spec) -> str:
    rule = contraction.factors(spec, [x.shape])
    return f"{rule},{rule.split('->')[1]}"


reduce_with_offset_p: Primitive = Primitive(
    "reduce_with_offset",
    multiple_results=True,
    shows_as="op",
    abstract=_offset_abstract,
    numpy=_offset_numpy,
    jvp=_offset_jvp,
    transpose=p.not_linear,
    batch=_offset_batch,
    factors=_offset_factors,
    lower=Anchor("reduce"))


def reduce_with_offset(x, op: str, spec: Spec) -> list:
    """The extremum of each window and where in the window it is: `[value, offset]`, op max_ or min_with_offset.

    The offset is int32 and counts the folded indices in row-major order; the first extremum wins, NaN before all.
    """
    return reduce_with_offset_p.bind(x, op=op, spec=spec)


# ---- contract -------------------------------------------------------------------------------------------------


def _contract_abstract(x: Aval, y: Aval, *, spec: Spec, dtype, accumulate, precision) -> Aval:
    p.check_kinds("contract", (x, y), "ifc")
    contraction.check_operands(spec, [x.shape, y.shape])
    contraction.check_spec(spec)
    return Aval(spec.output_shape, dtype)


def _contract_numpy(x, y, *, spec, dtype, accumulate, precision):
    with np.errstate(all="ignore"):
        out = contraction.contract_numpy(x.astype(accumulate, copy=False), y.astype(accumulate, copy=False), spec)
        return out.astype(dtype, copy=False)


def _contract_jvp(primals, tangents, **params):
    (x, y), (dx, dy) = primals, tangents
    out = contract_p.bind(x, y, **params)
    return out, p.add_tangents(ZERO if dx is ZERO else contract_p.bind(dx, y, **params),
                               ZERO if dy is ZERO else contract_p.bind(x, dy, **params))


def _contract_transpose(ct, x, y, *, spec, dtype, accumulate, precision):
    operand = 0 if isinstance(x, Linear) else 1
    aval, other = (x.aval, y) if operand == 0 else (y.aval, x)
    turned, _ = contraction.transpose_spec(spec, operand, aval.shape)
    # With an output dtype wider than the operands', the cotangent is the wider of the two.
    common = dtypes.promote(get_aval(ct).dtype, get_aval(other).dtype)
    bar = contract(p.convert(ct, common), p.convert(other, common), turned, precision=precision, dtype=aval.dtype)
    return [bar, ZERO] if operand == 0 else [ZERO, bar]


def _contract_batch(axis_size, args, dims, *, spec, **params):
    return contract_p.bind(*args, spec=contraction.add_index(spec, dims, axis_size), **params), 0


contract_p: Primitive = Primitive(
    "contract",
    abstract=_contract_abstract,
    numpy=_contract_numpy,
    jvp=_contract_jvp,
    transpose=_contract_transpose,
    batch=_contract_batch,
    factors=lambda x, y, *, spec, **params: contraction.factors(spec, [x.shape, y.shape]),
    lower=Anchor("contract"))


def contract(x, y, spec: Spec, *, precision=None, accumulate=None, dtype=None):
    """The sum over the indices that are not in the output of x times y, each read as the spec says.

    Args:
        x, y: arrays of one dtype.
        precision: None for the dtype's own, 'tf32' to let float32 products be rounded to 10 bits.
        accumulate: the dtype of the sum (default: float32 for 16-bit floats, else the operands').
        dtype: the dtype of the result (default: the operands').

    A spec that `contraction.needs_patches` is computed by spreading the windows first.
    """
    own = get_aval(x).dtype
    number = contraction.needs_patches(spec)
    if number is not None:
        spread, axes = contraction.patches(spec.operands[number], spec.extent)
        x, y = (reduce(x, "sum", spread), y) if number == 0 else (x, reduce(y, "sum", spread))
        read = [axes if k == number else other for k, other in enumerate(spec.operands)]
        spec = contraction.make_spec(read, spec.output, spec.extent)
    dtype = own if dtype is None else dtypes.dtype(dtype)
    accumulate = dtypes.accumulation_dtype(own) if accumulate is None else dtypes.dtype(accumulate)
    return contract_p.bind(x, y, spec=spec, precision=precision, accumulate=accumulate, dtype=dtype)


# ---- cumulate -------------------------------------------------------------------------------------------------


_ACCUMULATE = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "logsumexp": np.logaddexp}


def _cumulate_abstract(x: Aval, *, op, axis, reverse) -> Aval:
    if op not in _ACCUMULATE:
        raise ArgumentError(located(f"cumulate has no operation {op!r}; it has {', '.join(_ACCUMULATE)}"))
    p.check_kinds(f"cumulate {op}", (x,), {"sum": "ifc", "prod": "ifc", "logsumexp": "f"}.get(op, "if"))
    if not 0 <= axis < x.ndim:
        raise ShapeError(located(f"cumulate {op}: axis {axis} is not an axis of shape {x.shape}"))
    return Aval(x.shape, x.dtype)


def _cumulate_numpy(x, *, op, axis, reverse):
    wide = x.astype(dtypes.accumulation_dtype(x.dtype), copy=False)
    with np.errstate(all="ignore"):
        turned = np.flip(wide, axis) if reverse else wide
        out = _ACCUMULATE[op].accumulate(turned, axis=axis, dtype=wide.dtype)
        return (np.flip(out, axis) if reverse else out).astype(x.dtype, copy=False)


def _cumulate_jvp(primals, tangents, *, op, axis, reverse):
    (x,), (dx,) = primals, tangents
    out = cumulate(x, op, axis, reverse)
    if dx is ZERO:
        return out, ZERO
    if op == "sum":
        return out, cumulate(dx, op, axis, reverse)
    return out, _doubled_tangent(x, dx, op, axis, reverse)


def _doubled_tangent(x, dx, op, axis, reverse):
    """The tangent by doubling: after step k, element i holds value and tangent of the last 2**k elements up to i.

    It takes log2(n) steps, divides by nothing, and is linear in the tangent.
    """
    shape = p.shape_of(x)
    neutral = p.scalar(-np.inf, get_aval(x).dtype) if op == "logsumexp" else identity(op, get_aval(x).dtype)
    value, tangent, step = x, dx, 1
    while step < shape[axis]:
        config = tuple(((-step, step, 0) if reverse else (step, -step, 0)) if a == axis else (0, 0, 0)
                       for a in range(len(shape)))
        before, tangent_before = p.pad(value, neutral, config), p.pad(tangent, 0, config)
        value, tangent = _COMBINE[op](value, tangent, before, tangent_before)
        step *= 2
    return tangent


def _combine_product(a, da, b, db):
    return p.mul(a, b), p.add(p.mul(da, b), p.mul(db, a))


def _combine_extremum(op: str):
    def combine(a, da, b, db):
        value = p.minmax(a, b, op)
        wins = p.compare(a, b, "gt" if op == "max" else "lt")
        ties = p.compare(a, b, "eq")
        shared = p.mul(p.add(da, db), 0.5)
        return value, p.select(ties, shared, p.select(wins, da, db))

    return combine


def _combine_logsumexp(a, da, b, db):
    top = p.maximum(a, b)
    finite = p.math(top, fn="is_finite")
    safe = p.select(finite, top, 0)
    weight_a, weight_b = (p.math(p.sub(v, safe), fn="exp") for v in (a, b))
    total = p.add(weight_a, weight_b)
    value = p.select(finite, p.add(safe, p.math(total, fn="log")), top)
    empty = p.compare(total, 0, "eq")
    mixed = p.div(p.add(p.mul(da, weight_a), p.mul(db, weight_b)), p.select(empty, 1, total))
    return value, mixed


_COMBINE = {"prod": _combine_product, "max": _combine_extremum("max"), "min": _combine_extremum("min"),
            "logsumexp": _combine_logsumexp}


def _cumulate_factors(x: Aval, *, op, axis, reverse) -> str:
    names = p.letters(x.ndim)
    names = names[:axis] + "?" + names[axis + 1:]
    return f"{names}->{names}"


cumulate_p: Primitive = Primitive(
    "cumulate",
    abstract=_cumulate_abstract,
    numpy=_cumulate_numpy,
    jvp=_cumulate_jvp,
    transpose=lambda ct, x, *, op, axis, reverse: (
        [cumulate(ct, op, axis, not reverse)] if op == "sum" else p.not_linear()),
    batch=lambda axis_size, args, dims, *, op, axis, reverse: (
        cumulate(args[0], op, axis + (axis >= dims[0]), reverse), dims[0]),
    factors=_cumulate_factors,
    lower=Anchor("cumulate"))


def cumulate(x, op: str, axis: int, reverse: bool = False):
    """The running sum, prod, max, min or logsumexp along `axis`, from its end if `reverse`."""
    return cumulate_p.bind(x, op=op, axis=axis, reverse=reverse)


# ---- sort -----------------------------------------------------------------------------------------------------


def _sort_abstract(*xs: Aval, axis, num_keys, stable) -> list[Aval]:
    if any(x.shape != xs[0].shape for x in xs):
        raise ShapeError(located(f"sort: the operands have different shapes {[x.shape for x in xs]}"))
    if not 0 <= axis < xs[0].ndim or not 1 <= num_keys <= len(xs):
        raise ShapeError(located(f"sort: axis {axis}, shape {xs[0].shape}, {num_keys} keys of {len(xs)} operands"))
    return [Aval(x.shape, x.dtype) for x in xs]


def _sort_numpy(*xs, axis, num_keys, stable):
    keys = [x.astype(np.float32) if x.dtype == dtypes.bfloat16 else x for x in xs[:num_keys]]
    order = np.argsort(keys[0], axis, kind="stable") if num_keys == 1 else np.lexsort(keys[::-1], axis)
    return [np.take_along_axis(x, order, axis) for x in xs]


def _sort_jvp(primals, tangents, *, axis, num_keys, stable):
    if all(t is ZERO for t in tangents) or 0 in p.shape_of(primals[0]):
        return sort(*primals, axis=axis, num_keys=num_keys, stable=stable), list(tangents)
    places = p.iota(p.shape_of(primals[0]), dtypes.int32, axis)
    *outs, order = sort(*primals, places, axis=axis, num_keys=num_keys, stable=stable)
    return outs, [ZERO if t is ZERO else p.take_along_axis(t, order, axis) for t in tangents]


def _sort_batch(axis_size, args, dims, *, axis, num_keys, stable):
    moved = [p.batch_to_front(x, d, axis_size) for x, d in zip(args, dims)]
    return sort(*moved, axis=axis + 1, num_keys=num_keys, stable=stable), [0] * len(args)


def _sort_factors(*xs: Aval, axis, num_keys, stable) -> str:
    names = p.letters(xs[0].ndim)
    names = ",".join([names[:axis] + "?" + names[axis + 1:]] * len(xs))
    return f"{names}->{names}"


sort_p: Primitive = Primitive(
    "sort",
    multiple_results=True,
    abstract=_sort_abstract,
    numpy=_sort_numpy,
    jvp=_sort_jvp,
    transpose=p.not_linear,
    batch=_sort_batch,
    factors=_sort_factors,
    lower=Anchor("sort"))


def sort(*xs, axis: int, num_keys: int = 1, stable: bool = True) -> list:
    """All of `xs` reordered along `axis` so that the first `num_keys` ascend, lexicographically; NaN comes last."""
    return sort_p.bind(*xs, axis=axis, num_keys=num_keys, stable=stable)
