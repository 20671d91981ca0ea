"""The array primitives: the elementwise ones here, with all rules of each in one constructor call.

Everybody imports the primitives from this module. The others are defined in `structure.py` (reshape, pad, ...),
`folds.py` (reduce, contract, cumulate, sort), `indexing.py` (gather, scatter) and `collectives.py`.

Below each primitive stands its constructor function, the thing that is called: `add(x, y)` binds `add_p`.
Constructors take values of one dtype, and of one shape in elementwise operations; a Python or numpy scalar beside an
array is converted to the array's dtype and becomes a `Literal` when staged. Broadcasting and promotion are the job of
`ftiny.numpy`. Families (`math`, `compare`, `minmax`, `bitwise`) read their rows from `families.py`.

Worked example: `mul(x, 2.0)` with x of aval f32[3] binds `mul_p` to x and `float32(2.0)`; its aval is f32[3], its
derivative binds `mul(dx, 2.0)`, and its element [i] is the expression `x[i] * 2.0`.

A 0-d operand may stand beside any shape in an elementwise primitive; every rule below accepts that. The semantics of
edge cases are XLA's and are written down once, in `lowering/expr_numpy.py`.
"""
from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftiny import dtypes, families
from ftiny.core import ZERO, ArrayLike, Aval, Linear, NotNeeded, Primitive, get_aval, not_needed
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.lowering import expr as e
from ftiny.lowering.expr_numpy import convert as convert_numpy
from ftiny.lowering.expr_numpy import evaluate_op
from ftiny.source import located

not_linear: NotNeeded = not_needed("it is not linear in any operand, so no cotangent flows through it")


# ---- what the rules share -------------------------------------------------------------------------------------


def is_scalar(x) -> bool:
    """Whether `x` is a Python or numpy scalar, which adopts the dtype of the array beside it."""
    return isinstance(x, (bool, int, float, complex, np.generic))


def scalar(value, dtype: np.dtype) -> Any:
    """A Python or numpy scalar as a numpy scalar of `dtype`; it becomes a Literal when staged."""
    return np.asarray(value).astype(dtype)[()]


def operands(*xs) -> list:
    """`xs` with every scalar converted to the dtype of the first array among them."""
    arrays = [x for x in xs if not is_scalar(x)]
    dtype = get_aval(arrays[0]).dtype if arrays else dtypes.result_type(*xs)
    return [scalar(x, dtype) if is_scalar(x) else x for x in xs]


def shape_of(x) -> tuple[int, ...]:
    """The shape of a value or scalar."""
    return get_aval(x).shape


def zeros_like(x):
    """Zeros of the shape and dtype of a value, an aval or a `Linear`."""
    return full_like(x, 0)


def full_like(x, value):
    """An array of one scalar value with the shape and dtype of `x` (a value, an aval or a `Linear`)."""
    aval = x if isinstance(x, Aval) else get_aval(x)
    return expand(scalar(value, aval.dtype), aval.shape)


def has_shape(x, shape: Sequence[int]) -> bool:
    """Whether `x` is an array of ftiny of this shape, so that an operation that changes nothing may return it."""
    return isinstance(x, ArrayLike) and x.shape == tuple(shape)


def expand(x, shape: tuple[int, ...]):
    """A 0-d value broadcast to `shape`; a value that has the shape is returned as it is."""
    return x if has_shape(x, shape) else broadcast(x, shape, tuple(range(len(shape_of(x)))))


def unexpand(ct, aval: Aval):
    """The cotangent of an operand of `aval` that stood, perhaps 0-d, beside the shape of `ct`."""
    shape = shape_of(ct)
    return ct if shape == aval.shape else reduce_axes(ct, range(len(shape)), "sum")


def instantiate(tangent, x):
    """The tangent, or zeros in the shape of its primal `x` where it is the symbolic zero."""
    return zeros_like(x) if tangent is ZERO else tangent


def add_tangents(a, b):
    """The sum of two tangents of which either may be `ZERO`."""
    return b if a is ZERO else a if b is ZERO else add(a, b)


def move_axis(x, source: int, target: int):
    """`x` with one axis at another place."""
    if source == target:
        return x
    order = [axis for axis in range(len(shape_of(x))) if axis != source]
    order.insert(target, source)
    return transpose(x, tuple(order))


def batch_to_front(x, dim: int | None, size: int):
    """`x` with its mapped axis first; an unmapped one is broadcast along it."""
    if dim is not None:
        return move_axis(x, dim, 0)
    shape = shape_of(x)
    return broadcast(x, (size, *shape), tuple(range(1, len(shape) + 1)))


def letters(count: int, start: int = 0) -> str:
    """Distinct letters for a `factors` rule."""
    return string.ascii_letters[start:start + count]


def _kind_letter(dtype: np.dtype) -> str:
    return dtypes.kind(dtype)[0]


def _is_16_bit(dtype: np.dtype) -> bool:
    return dtype in (dtypes.float16, dtypes.bfloat16)


# ---- elementwise primitives -----------------------------------------------------------------------------------


def elementwise_shape(name: str, avals: Sequence[Aval]) -> tuple[int, ...]:
    """The shape of an elementwise result: that of all operands which are not 0-d. Raises `ShapeError`."""
    shape: tuple[int, ...] = ()
    for number, aval in enumerate(avals):
        if aval.shape and shape and aval.shape != shape:
            shapes = " and ".join(str(a.shape) for a in avals)
            raise ShapeError(located(f"{name}: operand {number} has shape {aval.shape}, not {shape}; got {shapes}. "
                                     "Broadcast them first, as the functions of ftiny.numpy do"))
        shape = aval.shape or shape
    return shape


def check_kinds(name: str, avals: Sequence[Aval], kinds: str) -> None:
    """Raise `DtypeError` unless the operands have one dtype, of one of the kinds b, i, f, c."""
    found = {aval.dtype for aval in avals}
    if len(found) > 1:
        shown = " and ".join(str(a) for a in avals)
        raise DtypeError(located(f"{name}: the operands have different dtypes, {shown}; convert one of them"))
    if _kind_letter(avals[0].dtype) not in kinds:
        allowed = ", ".join(word for word in ("bool", "integer", "float", "complex") if word[0] in kinds)
        raise DtypeError(located(f"{name}: dtype {avals[0].dtype} is not supported, only {allowed}; convert the "
                                 "operand first"))


def elementwise_batch(primitive: Callable[[], Primitive]) -> Callable:
    """The batch rule of an elementwise primitive: the mapped axis stays where the largest operand has it."""

    def rule(axis_size, args, dims, **params):
        ranks = [len(shape_of(x)) - (d is not None) for x, d in zip(args, dims)]
        lead = max(range(len(args)), key=lambda k: (ranks[k], dims[k] is not None))
        target = 0 if dims[lead] is None else dims[lead]
        shape = [size for axis, size in enumerate(shape_of(args[lead])) if axis != dims[lead]]
        full = (*shape[:target], axis_size, *shape[target:])
        aligned = [_align(x, d, rank, full, target) for x, d, rank in zip(args, dims, ranks)]
        return primitive().bind(*aligned, **params), target

    return rule


def _align(x, dim: int | None, rank: int, full: tuple[int, ...], target: int):
    """One operand of a batched elementwise equation with its mapped axis at `target` of the shape `full`."""
    if dim is None:
        return broadcast(x, full, tuple(a for a in range(len(full)) if a != target)) if rank else x
    if rank == len(full) - 1:
        return move_axis(x, dim, target)
    return broadcast(x, full, (target,))


def elementwise_factors(*avals: Aval, **params) -> str:
    """The sharding rule of an elementwise primitive, as "ij,ij->ij"."""
    names = letters(max(a.ndim for a in avals))
    return ",".join(names if a.ndim else "" for a in avals) + "->" + names


def elementwise_lower(build: Callable[..., e.Expr]) -> Callable:
    """The lowering of an elementwise primitive: `build(*elements, **params)` at the same index of every operand."""

    def lower(ins, index, in_avals, out_aval, **params):
        elements = [load(index if aval.ndim else ()) for load, aval in zip(ins, in_avals)]
        return build(*elements, **params)

    return lower


def _binary_abstract(name: str, kinds: str) -> Callable:
    def abstract(x: Aval, y: Aval) -> Aval:
        check_kinds(name, (x, y), kinds)
        return Aval(elementwise_shape(name, (x, y)), x.dtype)

    return abstract


def _binary(op: str) -> Callable:
    return lambda x, y: evaluate_op(op, (x, y), x.dtype)


def _add_jvp(primals, tangents):
    x, y = primals
    out = add(x, y)
    dx, dy = tangents
    if dx is ZERO and dy is ZERO:
        return out, ZERO
    return out, expand(add_tangents(dx, dy), shape_of(out))


def _each_linear(inputs, cotangent) -> list:
    """`cotangent(aval)` for each linear input, ZERO for the others."""
    return [cotangent(x.aval) if isinstance(x, Linear) else ZERO for x in inputs]


add_p: Primitive = Primitive(
    "add",
    abstract=_binary_abstract("add", "bifc"),
    numpy=_binary("add"),
    jvp=_add_jvp,
    transpose=lambda ct, x, y: _each_linear((x, y), lambda aval: unexpand(ct, aval)),
    batch=elementwise_batch(lambda: add_p),
    factors=elementwise_factors,
    lower=elementwise_lower(e.add))


def add(x, y):
    """x + y."""
    return add_p.bind(*operands(x, y))


def sub(x, y):
    """x - y, as the sum of x and -y."""
    x, y = operands(x, y)
    if is_scalar(y):
        with np.errstate(all="ignore"):
            return add(x, scalar(np.negative(y), y.dtype))
    return add(x, neg(y))


def neg(x):
    """-x."""
    return math(x, fn="neg")


def _mul_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    out = mul(x, y)
    terms = add_tangents(ZERO if dx is ZERO else mul(dx, y), ZERO if dy is ZERO else mul(x, dy))
    return out, terms if terms is ZERO else expand(terms, shape_of(out))


def _mul_transpose(ct, x, y):
    if isinstance(x, Linear):
        return [unexpand(mul(ct, y), x.aval), ZERO]
    return [ZERO, unexpand(mul(x, ct), y.aval)]


mul_p: Primitive = Primitive(
    "mul",
    abstract=_binary_abstract("mul", "bifc"),
    numpy=_binary("mul"),
    jvp=_mul_jvp,
    transpose=_mul_transpose,
    batch=elementwise_batch(lambda: mul_p),
    factors=elementwise_factors,
    lower=elementwise_lower(e.mul))


def mul(x, y):
    """x * y."""
    return mul_p.bind(*operands(x, y))


def _div_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    out = div(x, y)
    terms = add_tangents(ZERO if dx is ZERO else div(dx, y), ZERO if dy is ZERO else neg(div(mul(out, dy), y)))
    return out, terms if terms is ZERO else expand(terms, shape_of(out))


div_p: Primitive = Primitive(
    "div",
    abstract=_binary_abstract("div", "ifc"),
    numpy=_binary("div"),
    jvp=_div_jvp,
    transpose=lambda ct, x, y: [unexpand(div(ct, y), x.aval), ZERO],
    batch=elementwise_batch(lambda: div_p),
    factors=elementwise_factors,
    lower=elementwise_lower(e.div))


def div(x, y):
    """x / y; integers truncate towards zero, and x / 0 is -1 (all ones)."""
    return div_p.bind(*operands(x, y))


def _pow_abstract(x: Aval, y: Aval) -> Aval:
    if dtypes.is_integer(y.dtype) and dtypes.is_inexact(x.dtype):
        check_kinds("pow", (x,), "fc")
    else:
        check_kinds("pow", (x, y), "ifc")
    return Aval(elementwise_shape("pow", (x, y)), x.dtype)


def _pow_numpy(x, y):
    if dtypes.is_inexact(x.dtype):
        y = y.astype(dtypes.float32 if _is_16_bit(x.dtype) else x.dtype)
    if _is_16_bit(x.dtype):
        return evaluate_op("pow", (x.astype(np.float32), y), dtypes.float32).astype(x.dtype)
    return evaluate_op("pow", (x, y), x.dtype)


def _pow_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    out, term_x, term_y = pow(x, y), ZERO, ZERO
    if dx is not ZERO:
        term_x = mul(dx, _pow_slope(x, y))
    if dy is not ZERO:
        # log(1) stands in at x = 0, where 0 * log(0) would be NaN.
        safe = select(compare(x, 0, dir="eq"), 1, x)
        term_y = mul(mul(dy, math(safe, fn="log")), out)
    terms = add_tangents(term_x, term_y)
    return out, terms if terms is ZERO else expand(terms, shape_of(out))


def _pow_slope(x, y):
    """d/dx x**y = y * x**(y-1), and 0 (never 0 * inf) where y is 0."""
    if is_scalar(y):
        if y == 0:
            return zeros_like(x)
        return full_like(x, y) if y == 1 else mul(pow(x, scalar(y - 1, y.dtype)), scalar(y, get_aval(x).dtype))
    flat = compare(y, 0, dir="eq")
    lower = pow(x, select(flat, 1, sub(y, 1)))
    slope = mul(convert(y, get_aval(x).dtype), lower)
    return select(flat, 0, slope)


pow_p: Primitive = Primitive(
    "pow",
    abstract=_pow_abstract,
    numpy=_pow_numpy,
    jvp=_pow_jvp,
    transpose=not_linear,
    batch=elementwise_batch(lambda: pow_p),
    factors=elementwise_factors,
    lower=elementwise_lower(e.power))


def pow(x, y):
    """x to the power y; y has the dtype of x, or is an integer array beside a floating x."""
    return pow_p.bind(*operands(x, y))


def _rem_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    out = rem(x, y)
    quotient_term = ZERO
    if dy is not ZERO:
        quotient_term = mul(dy, neg(math(div(x, y), fn="trunc")))
    terms = add_tangents(dx, quotient_term)
    return out, terms if terms is ZERO else expand(terms, shape_of(out))


rem_p: Primitive = Primitive(
    "rem",
    abstract=_binary_abstract("rem", "if"),
    numpy=_binary("rem"),
    jvp=_rem_jvp,
    transpose=not_linear,
    batch=elementwise_batch(lambda: rem_p),
    factors=elementwise_factors,
    lower=elementwise_lower(e.rem))


def rem(x, y):
    """The remainder of x / y truncated, with the sign of x; an integer x rem 0 is x."""
    return rem_p.bind(*operands(x, y))


def _minmax_abstract(x: Aval, y: Aval, *, op: str) -> Aval:
    check_kinds(op, (x, y), families.MINMAX[op].kinds)
    return Aval(elementwise_shape(op, (x, y)), x.dtype)


def _minmax_jvp(primals, tangents, *, op):
    (x, y), (dx, dy) = primals, tangents
    out = minmax(x, y, op)
    if dx is ZERO and dy is ZERO:
        return out, ZERO
    wins = compare(x, y, "gt" if op == "max" else "lt")
    ties = compare(x, y, "eq")
    dtype = get_aval(x).dtype
    share = select(ties, scalar(0.5, dtype), select(wins, scalar(1, dtype), scalar(0, dtype)))
    terms = add_tangents(ZERO if dx is ZERO else mul(dx, share), ZERO if dy is ZERO else mul(dy, sub(1, share)))
    return out, expand(terms, shape_of(out))


def _minmax_lower(x, y, op):
    if x.dtype == dtypes.bool_:
        return x & y if op == "min" else x | y
    return (e.minimum if op == "min" else e.maximum)(x, y)


minmax_p: Primitive = Primitive(
    "minmax",
    shows_as="op",
    abstract=_minmax_abstract,
    numpy=lambda x, y, *, op: families.MINMAX[op].numpy(x, y, dtype=x.dtype),
    jvp=_minmax_jvp,
    transpose=not_linear,
    batch=elementwise_batch(lambda: minmax_p),
    factors=elementwise_factors,
    lower=elementwise_lower(_minmax_lower))


def minmax(x, y, op: str):
    """The smaller ('min') or larger ('max') of x and y; NaN if either is; ties share the derivative equally."""
    return minmax_p.bind(*operands(x, y), op=op)


def minimum(x, y):
    """The smaller of x and y."""
    return minmax(x, y, "min")


def maximum(x, y):
    """The larger of x and y."""
    return minmax(x, y, "max")


def _select_abstract(cond: Aval, on_true: Aval, on_false: Aval) -> Aval:
    if cond.dtype != dtypes.bool_:
        raise DtypeError(located(f"select: the condition has dtype {cond.dtype}, it must be bool; compare it with 0"))
    check_kinds("select", (on_true, on_false), "bifc")
    return Aval(elementwise_shape("select", (cond, on_true, on_false)), on_true.dtype)


def _select_numpy(cond, on_true, on_false):
    return np.where(cond, on_true, on_false).astype(on_true.dtype, copy=False)


def _select_jvp(primals, tangents):
    cond, x, y = primals
    out = select(cond, x, y)
    _, dx, dy = tangents
    if dx is ZERO and dy is ZERO:
        return out, ZERO
    zero = scalar(0, get_aval(out).dtype)
    return out, expand(select(cond, zero if dx is ZERO else dx, zero if dy is ZERO else dy), shape_of(out))


def _select_transpose(ct, cond, x, y):
    return [ZERO, unexpand(select(cond, ct, 0), x.aval) if isinstance(x, Linear) else ZERO,
            unexpand(select(cond, 0, ct), y.aval) if isinstance(y, Linear) else ZERO]


select_p: Primitive = Primitive(
    "select",
    abstract=_select_abstract,
    numpy=_select_numpy,
    jvp=_select_jvp,
    transpose=_select_transpose,
    batch=elementwise_batch(lambda: select_p),
    factors=elementwise_factors,
    lower=elementwise_lower(e.select))


def select(cond, on_true, on_false):
    """on_true where cond (bool), else on_false; no derivative flows to the operand that is not taken."""
    return select_p.bind(cond, *operands(on_true, on_false))


def _compare_abstract(x: Aval, y: Aval, *, dir: str) -> Aval:
    check_kinds(f"compare {dir}", (x, y), families.COMPARE[dir].kinds)
    return Aval(elementwise_shape(f"compare {dir}", (x, y)), dtypes.bool_)


# False comes before True: in kernels the order of bools is plain logic.
_BOOL_ORDER = {"lt": lambda x, y: ~x & y, "le": lambda x, y: ~x | y, "gt": lambda x, y: x & ~y,
               "ge": lambda x, y: x | ~y, "eq": lambda x, y: ~(x ^ y), "ne": lambda x, y: x ^ y}


def _compare_lower(x, y, dir):
    return _BOOL_ORDER[dir](x, y) if x.dtype == dtypes.bool_ else e.compare(dir, x, y)


compare_p: Primitive = Primitive(
    "compare",
    shows_as="dir",
    abstract=_compare_abstract,
    numpy=lambda x, y, *, dir: families.COMPARE[dir].numpy(x, y, dtype=dtypes.bool_),
    jvp=lambda primals, tangents, *, dir: (compare_p.bind(*primals, dir=dir), ZERO),
    transpose=not_linear,
    batch=elementwise_batch(lambda: compare_p),
    factors=elementwise_factors,
    lower=elementwise_lower(_compare_lower))


def compare(x, y, dir: str):
    """Whether x `dir` y, with dir one of eq ne lt le gt ge."""
    return compare_p.bind(*operands(x, y), dir=dir)


def _bitwise_abstract(*xs: Aval, op: str) -> Aval:
    row = families.BITWISE[op]
    if len(xs) != row.arity:
        raise ArgumentError(located(f"bitwise {op} takes {row.arity} operands, got {len(xs)}"))
    check_kinds(f"bitwise {op}", xs, row.kinds)
    return Aval(elementwise_shape(f"bitwise {op}", xs), xs[0].dtype)


bitwise_p: Primitive = Primitive(
    "bitwise",
    shows_as="op",
    abstract=_bitwise_abstract,
    numpy=lambda *xs, op: families.BITWISE[op].numpy(*xs, dtype=xs[0].dtype),
    jvp=lambda primals, tangents, *, op: (bitwise(*primals, op=op), ZERO),
    transpose=not_linear,
    batch=elementwise_batch(lambda: bitwise_p),
    factors=elementwise_factors,
    lower=elementwise_lower(lambda *xs, op: e.bitwise(op, *xs)))


def bitwise(*xs, op: str):
    """and, or, xor, not, shift_left, shift_right_logical, shift_right_arithmetic of integers; the first four of bools.

    A shift by the width or more gives 0 (the sign, in an arithmetic shift).
    """
    return bitwise_p.bind(*operands(*xs), op=op)


def _convert_abstract(x: Aval, *, dtype: np.dtype, bitcast: bool) -> Aval:
    if bitcast and dtype.itemsize != x.dtype.itemsize:
        raise DtypeError(located(f"bitcast from {x.dtype} to {dtype}: the sizes differ; convert by value, or reshape "
                                 "through uint8"))
    return Aval(x.shape, dtype)


def _convert_numpy(x, *, dtype, bitcast):
    if bitcast:
        return evaluate_op("bitcast", (x,), dtype)
    with np.errstate(all="ignore"):
        if dtypes.kind(x.dtype) == "complex" and dtypes.kind(dtype) in ("int", "float"):
            x = x.real
        return convert_numpy(x, dtype)


def _convert_jvp(primals, tangents, *, dtype, bitcast):
    (x,), (dx,) = primals, tangents
    out = convert_p.bind(x, dtype=dtype, bitcast=bitcast)
    flows = dx is not ZERO and not bitcast and dtypes.is_inexact(dtype)
    return out, convert(dx, dtype) if flows else ZERO


convert_p: Primitive = Primitive(
    "convert",
    abstract=_convert_abstract,
    numpy=_convert_numpy,
    jvp=_convert_jvp,
    transpose=lambda ct, x, *, dtype, bitcast: [convert(ct, x.aval.dtype)],
    batch=elementwise_batch(lambda: convert_p),
    factors=elementwise_factors,
    lower=elementwise_lower(lambda x, dtype, bitcast: (e.bitcast if bitcast else e.cast)(x, dtype)))


def convert(x, dtype: np.dtype, bitcast: bool = False):
    """x in another dtype; float to integer truncates and saturates, NaN becomes 0. `bitcast` keeps the bits instead."""
    if isinstance(x, ArrayLike) and x.dtype == dtype:
        return x
    if is_scalar(x):
        x = scalar(x, get_aval(x).dtype)
    return convert_p.bind(x, dtype=dtype, bitcast=bitcast)


def _math_abstract(*xs: Aval, fn: str) -> Aval:
    row = families.MATH.get(fn)
    if row is None:
        raise ArgumentError(located(f"math has no function {fn!r}; it has {', '.join(families.MATH)}"))
    if len(xs) != row.arity:
        raise ArgumentError(located(f"{fn} takes {row.arity} operands, got {len(xs)}"))
    check_kinds(fn, xs, row.kinds)
    return Aval(elementwise_shape(fn, xs), row.result(xs[0].dtype))


def _math_jvp(primals, tangents, *, fn):
    row = families.MATH[fn]
    out = math(*primals, fn=fn)
    if all(t is ZERO for t in tangents) or row.partials == () and not row.linear:
        return out, ZERO
    if row.linear:
        return out, math(*map(instantiate, tangents, primals), fn=fn)
    if row.partials is None:
        raise DtypeError(located(f"{fn} has no derivative; stop it with ftiny.lax.stop_gradient"))
    total: Any = ZERO
    for partial, tangent in zip(row.partials, tangents):
        if tangent is not ZERO:
            total = add_tangents(total, mul(tangent, partial(out, *primals)))
    # abs is the one function from complex to real numbers that is not linear.
    if get_aval(total).dtype != get_aval(out).dtype:
        total = math(total, fn="real")
    return out, expand(total, shape_of(out))


def _math_transpose(ct, *inputs, fn):
    row = families.MATH[fn]
    if not row.linear:
        return not_linear()
    avals = [x.aval if isinstance(x, Linear) else get_aval(x) for x in inputs]
    cts = row.linear(ct, *avals)
    return [unexpand(c, aval) if isinstance(x, Linear) else ZERO for c, x, aval in zip(cts, inputs, avals)]


def _math_lower(*xs, fn):
    if xs[0].dtype.kind != "c" and fn in ("real", "conj"):
        return xs[0]
    if xs[0].dtype.kind != "c" and fn == "imag":
        return e.const(0, xs[0].dtype)
    return e.math(families.MATH[fn].spelling or fn, *xs)


math_p: Primitive = Primitive(
    "math",
    shows_as="fn",
    abstract=_math_abstract,
    numpy=lambda *xs, fn: families.MATH[fn].numpy(*xs),
    jvp=_math_jvp,
    transpose=_math_transpose,
    batch=elementwise_batch(lambda: math_p),
    factors=elementwise_factors,
    lower=elementwise_lower(_math_lower))


def math(*xs, fn: str):
    """An elementary function by its name in `families.MATH`: exp, tanh, is_finite, atan2, ..."""
    return math_p.bind(*operands(*xs), fn=fn)


def complex_(real, imag):
    """The complex array of two real ones."""
    return math(real, imag, fn="complex")


# The other primitives build on the ones above, so they come in last.
from ftiny.folds import (  # noqa: E402, F401
    contract,
    contract_p,
    cumulate,
    cumulate_p,
    reduce,
    reduce_axes,
    reduce_p,
    reduce_with_offset,
    reduce_with_offset_p,
    sort,
    sort_p,
)
from ftiny.indexing import (  # noqa: E402, F401
    GatherDims,
    ScatterDims,
    dynamic_slice,
    dynamic_update_slice,
    gather,
    gather_p,
    scatter,
    scatter_p,
    take_along_axis,
)
from ftiny.structure import (  # noqa: E402, F401
    broadcast,
    broadcast_p,
    concatenate,
    concatenate_p,
    flip,
    iota,
    iota_p,
    pad,
    pad_p,
    reshape,
    reshape_p,
    slice_p,
    transpose,
    transpose_p,
)
from ftiny.structure import slice_ as slice  # noqa: E402, F401
from ftiny.threefry import threefry2x32, threefry2x32_p  # noqa: E402, F401
