"""The folds: reduce, reduce_with_offset, contract, cumulate and sort.

`reduce` and `contract` take a `contraction.Spec`, in its unary and binary form. Input and output types are those of
`core.Primitive`; lowering makes a loop nest of each, so their `lower` is an `Anchor`.

Worked example: `reduce_axes(x, (1,), "sum")` of an x with aval f32[2,3] binds `reduce_p` with op 'sum' and the spec
`a b -> a`; its aval is f32[2], and it transposes to a broadcast along axis 1.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftiny import contraction, dtypes
from ftiny import primitives as p
from ftiny.contraction import Spec
from ftiny.core import ZERO, Anchor, Aval, Linear, Primitive, get_aval
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
    flat = spread.reshape(spread.shape[:spread.ndim - folded] + (-1,))
    return np.asarray((np.argmin if op == "argmin" else np.argmax)(flat, axis=-1))


def _plain_axes(spec: Spec) -> tuple[int, ...]:
    """The axes that a spec without windows folds."""
    return tuple(k for k, axis in enumerate(spec.operands[0]) if axis.index not in spec.output)  # type: ignore[union-attr]


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
    raise ArgumentError(op)


def _extremum_tangent(out, x, dx, op, spec):
    """The tangents of all elements that equal the extremum, on average."""
    shape = p.shape_of(x)
    ties = p.compare(x, _broadcast_back(out, spec, shape), "eq")
    count = reduce(p.convert(ties, get_aval(x).dtype), "sum", spec)
    return p.div(reduce(p.select(ties, dx, 0), "sum", spec), count)


def _reduce_batch(axis_size, args, dims, *, op, spec):
    return reduce(args[0], op, contraction.add_index(spec, dims, axis_size)), 0


reduce_p = Primitive(
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
    if not spec.folded and spec == contraction.reduce_spec(p.shape_of(x), ()) and op not in ("argmin", "argmax"):
        return x
    return reduce_p.bind(x, op=op, spec=spec)


def reduce_axes(x, axes: Sequence[int], op: str = "sum"):
    """`x` folded by `op` over `axes` (non-negative)."""
    return reduce(x, op, contraction.reduce_spec(p.shape_of(x), tuple(axes)))


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


contract_p = Primitive(
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
