"""`ftiny.lax`, elementwise: one primitive each, on operands of one shape and dtype.

Input: arrays of equal shapes and dtypes; Python scalars adopt the dtype of the array beside them. Output: one array:

    >>> clamp(0., ftiny.numpy.array([-1., 0.5, 2.]), 1.)
    Array([0. , 0.5, 1. ], dtype=float32)

Nothing is promoted or broadcast here, save scalars: that is what `ftiny.numpy` does.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.numpy.common import PYTHON_SCALARS, check_array, convert, dtype_of, scalar_literal, shape_of
from ftiny.source import located
from ftiny.transforms.custom import custom_jvp


def strict(name: str, *operands) -> list:
    """The operands, which must have one dtype and one shape, with Python scalars in the dtype of the arrays."""
    check_array(name, *operands)
    arrays = [x for x in operands if not isinstance(x, PYTHON_SCALARS)]
    found = list(dict.fromkeys(dtype_of(x) for x in arrays))
    if len(found) > 1:
        shown = " and ".join(map(str, found))
        raise DtypeError(
            located(f"lax.{name} takes operands of one dtype, not {shown}; convert with .astype, or use ftiny.numpy")
        )
    dtype = found[0] if found else dtypes.result_type(*operands)
    shapes = list(dict.fromkeys(shape_of(x) for x in arrays if shape_of(x)))
    if len(shapes) > 1:
        shown = " and ".join(map(str, shapes))
        raise ShapeError(
            located(f"lax.{name} takes operands of one shape, not {shown}; broadcast them, or use ftiny.numpy")
        )
    return [scalar_literal(x, dtype) if isinstance(x, PYTHON_SCALARS) else convert(x, dtype) for x in operands]


def _describe(function: Callable, name: str, does: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {does}."
    return function


def _unary(name: str, fn: str, does: str) -> Callable:
    def function(x):
        (x,) = strict(name, x)
        return primitives.math(x, fn=fn)

    return _describe(function, name, does)


def _binary(name: str, bind: Callable, does: str) -> Callable:
    def function(x, y):
        return bind(*strict(name, x, y))

    return _describe(function, name, does)


_UNARY = {  # name: (function of the primitive, what it computes)
    "neg": ("neg", "-x"),
    "sign": ("sign", "sign of x: -1, 0 or 1"),
    "floor": ("floor", "floor of x"),
    "ceil": ("ceil", "ceiling of x"),
    "is_finite": ("is_finite", "whether x is neither infinite nor NaN"),
    "exp": ("exp", "exp(x)"),
    "exp2": ("exp2", "2 ** x"),
    "expm1": ("expm1", "exp(x) - 1"),
    "log": ("log", "log(x)"),
    "log1p": ("log1p", "log(1 + x)"),
    "sqrt": ("sqrt", "square root of x"),
    "rsqrt": ("rsqrt", "1 / sqrt(x)"),
    "cbrt": ("cbrt", "cube root of x"),
    "sin": ("sin", "sine"),
    "cos": ("cos", "cosine"),
    "tan": ("tan", "tangent"),
    "asin": ("asin", "inverse sine"),
    "acos": ("acos", "inverse cosine"),
    "atan": ("atan", "inverse tangent"),
    "sinh": ("sinh", "hyperbolic sine"),
    "cosh": ("cosh", "hyperbolic cosine"),
    "tanh": ("tanh", "hyperbolic tangent"),
    "asinh": ("asinh", "inverse hyperbolic sine"),
    "acosh": ("acosh", "inverse hyperbolic cosine"),
    "atanh": ("atanh", "inverse hyperbolic tangent"),
    "erf": ("erf", "error function"),
    "erfc": ("erfc", "1 - erf(x)"),
    "erf_inv": ("erfinv", "inverse of the error function"),
    "lgamma": ("lgamma", "logarithm of |gamma(x)|"),
    "digamma": ("digamma", "derivative of lgamma"),
    "logistic": ("logistic", "1 / (1 + exp(-x))"),
    "population_count": ("population_count", "number of bits that are set"),
    "clz": ("clz", "number of leading zero bits"),
}
(
    neg,
    sign,
    floor,
    ceil,
    is_finite,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    sqrt,
    rsqrt,
    cbrt,
    sin,
    cos,
    tan,
    asin,
    acos,
    atan,
    sinh,
    cosh,
    tanh,
    asinh,
    acosh,
    atanh,
    erf,
    erfc,
    erf_inv,
    lgamma,
    digamma,
    logistic,
    population_count,
    clz,
) = (_unary(name, *row) for name, row in _UNARY.items())

add = _binary("add", primitives.add, "x + y")
sub = _binary("sub", primitives.sub, "x - y")
mul = _binary("mul", primitives.mul, "x * y")
div = _binary("div", primitives.div, "x / y; integers are truncated towards zero")
rem = _binary("rem", primitives.rem, "remainder of x / y with the sign of x")
max = _binary("max", lambda x, y: primitives.minmax(x, y, op="max"), "larger of x and y")  # noqa: A001
min = _binary("min", lambda x, y: primitives.minmax(x, y, op="min"), "smaller of x and y")  # noqa: A001
atan2 = _binary("atan2", lambda y, x: primitives.math(y, x, fn="atan2"), "angle of the point (y, x): atan2(x, y)")
nextafter = _binary("nextafter", lambda x, y: primitives.math(x, y, fn="nextafter"), "next float after x towards y")
complex = _binary("complex", lambda x, y: primitives.math(x, y, fn="complex"), "complex number x + iy")  # noqa: A001

eq, ne, lt, le, gt, ge = (
    _binary(dir, (lambda x, y, dir=dir: primitives.compare(x, y, dir=dir)), f"whether x {sign_} y")
    for dir, sign_ in (("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="))
)

bitwise_and, bitwise_or, bitwise_xor, shift_left, shift_right_logical, shift_right_arithmetic = (
    _binary(name, (lambda x, y, op=op: primitives.bitwise(x, y, op=op)), does)
    for name, op, does in (
        ("bitwise_and", "and", "bits that are set in both"),
        ("bitwise_or", "or", "bits that are set in either"),
        ("bitwise_xor", "xor", "bits that are set in one only"),
        ("shift_left", "shift_left", "x * 2**y, in bits"),
        ("shift_right_logical", "shift_right_logical", "x with its bits moved down, zeros coming in"),
        ("shift_right_arithmetic", "shift_right_arithmetic", "x with its bits moved down, the sign coming in"),
    )
)


def bitwise_not(x):
    """Elementwise complement of the bits; of bools, `not`."""
    (x,) = strict("bitwise_not", x)
    return primitives.bitwise(x, op="not")


def abs(x):  # noqa: A001
    """Elementwise absolute value; of complex numbers, the modulus."""
    return fnp.abs(x)


def real(x):
    """The real part of complex numbers."""
    return fnp.real(x)


def imag(x):
    """The imaginary part of complex numbers."""
    return fnp.imag(x)


def conj(x):
    """The complex conjugate."""
    return fnp.conj(x)


def square(x):
    """Elementwise x * x."""
    (x,) = strict("square", x)
    return primitives.mul(x, x)


def reciprocal(x):
    """Elementwise 1 / x."""
    (x,) = strict("reciprocal", x)
    return primitives.div(scalar_literal(1, dtype_of(x)), x)


def pow(x, y):  # noqa: A001
    """Elementwise x ** y; an integer y beside a float x is converted."""
    check_array("pow", x, y)
    if dtypes.is_inexact(dtype_of(x)) and dtypes.is_integer(dtype_of(y)):
        y = convert(y, dtype_of(x))
    return primitives.pow(*strict("pow", x, y))


def integer_pow(x, y: int):
    """Elementwise x to a static integer power."""
    return fnp.power(x, int(y))


class RoundingMethod(enum.Enum):
    """Where `round` takes numbers that lie halfway between two integers."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def round(x, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO):  # noqa: A001
    """Elementwise nearest integer; halves go away from zero, or to the even one."""
    (x,) = strict("round", x)
    if rounding_method is RoundingMethod.TO_NEAREST_EVEN:
        return primitives.math(x, fn="round")
    whole = primitives.math(x, fn="trunc")
    away = fnp.greater_equal(fnp.abs(primitives.sub(x, whole)), 0.5)
    return fnp.where(away, fnp.add(whole, primitives.math(x, fn="sign")), whole)


def select(pred, on_true, on_false):
    """Elementwise `on_true` where `pred` (bool, of the same shape or without axes) holds, else `on_false`."""
    check_array("select", pred)
    on_true, on_false = strict("select", on_true, on_false)
    if dtype_of(pred) != dtypes.bool_:
        raise DtypeError(located(f"lax.select: the predicate must be bool, not {dtype_of(pred)}"))
    shape = shape_of(on_true) or shape_of(on_false)
    if shape_of(pred) not in ((), shape):
        raise ShapeError(located(f"lax.select: the predicate has shape {shape_of(pred)}, the values {shape}"))
    return primitives.select(pred, on_true, on_false)


def select_n(which, *cases):
    """Elementwise case number `which` (bool for two cases, else integer)."""
    if dtype_of(which) == dtypes.bool_:
        return select(which, cases[1], cases[0])
    result = cases[-1]
    for number in range(len(cases) - 2, -1, -1):
        result = select(fnp.less_equal(which, number), cases[number], result)
    return result


def clamp(min, x, max):  # noqa: A002
    """Elementwise x limited to [min, max], which are scalars or have the shape of x."""
    low, x, high = strict("clamp", min, x, max)
    return primitives.minmax(primitives.minmax(low, x, op="max"), high, op="min")


def convert_element_type(x, new_dtype):
    """`x` with elements of another dtype; floats become integers by truncation, saturating."""
    return fnp.astype(x, new_dtype)


def dtype(x) -> np.dtype:
    """The dtype of an array or number, or the one that a type or a name stands for."""
    return dtypes.dtype(x) if isinstance(x, (str, type, np.dtype)) else dtype_of(x)


def mulhi(x, y, /):
    """Elementwise high half of the product of integers: the upper N bits of the 2N bits of x * y."""
    x, y = strict("mulhi", x, y)
    have = dtype_of(x)
    if not dtypes.is_integer(have):
        raise DtypeError(located(f"lax.mulhi takes integers, not {have}; convert with .astype"))
    if have.itemsize == 8:
        return _mulhi_of_halves(x, y)
    wide = dtypes.uint64 if dtypes.is_unsigned(have) else dtypes.int64
    bits = scalar_literal(8 * have.itemsize, wide)
    return convert(fnp.right_shift(fnp.multiply(convert(x, wide), convert(y, wide)), bits), have)


def _mulhi_of_halves(x, y):
    """`mulhi` of 64 bits by products of halves of 32 bits; shifts of signed numbers keep their sign."""
    kind = dtype_of(x)
    half, low = scalar_literal(32, kind), scalar_literal((1 << 32) - 1, kind)
    (x1, x0), (y1, y0) = ((fnp.right_shift(v, half), fnp.bitwise_and(v, low)) for v in (x, y))
    # The product of the low halves is unsigned, also of signed numbers.
    lowest = fnp.multiply(_bits(x0, dtypes.uint64), _bits(y0, dtypes.uint64))
    carry = _bits(fnp.right_shift(lowest, scalar_literal(32, dtypes.uint64)), kind)
    middle = fnp.add(fnp.multiply(x1, y0), carry)
    other = fnp.add(fnp.multiply(x0, y1), fnp.bitwise_and(middle, low))
    return fnp.add(fnp.add(fnp.multiply(x1, y1), fnp.right_shift(middle, half)), fnp.right_shift(other, half))


def reduce_precision(operand, exponent_bits: int, mantissa_bits: int):
    """`operand` rounded to a float format with fewer bits, in its own dtype: (5, 10) is float16, (8, 7) bfloat16.

    Halves go to the even neighbour, what is too large becomes infinite, and what is below the smallest normal number
    of the format becomes zero. The derivative is that of the identity.
    """
    (operand,) = strict("reduce_precision", operand)
    if not dtypes.is_float(dtype_of(operand)):
        raise DtypeError(located(f"lax.reduce_precision takes floats, not {dtype_of(operand)}; convert with .astype"))
    if exponent_bits < 1 or mantissa_bits < 0:
        raise ArgumentError(
            located(
                f"reduce_precision: exponent_bits must be at least 1 and mantissa_bits at least 0, not {exponent_bits} "
                f"and {mantissa_bits}"
            )
        )
    return _reduce_precision(fnp.asarray(operand), int(exponent_bits), int(mantissa_bits))


@functools.partial(custom_jvp, nondiff_argnums=(1, 2))
def _reduce_precision(x, exponent_bits: int, mantissa_bits: int):
    kind, info = _unsigned(dtype_of(x).itemsize), fnp.finfo(dtype_of(x))
    number = lambda value: scalar_literal(value, kind)
    bits = _bits(x, kind)
    dropped = info.nmant - mantissa_bits
    if dropped > 0:
        odd = fnp.bitwise_and(fnp.right_shift(bits, number(dropped)), number(1))
        bits = fnp.add(bits, fnp.add(odd, number((1 << (dropped - 1)) - 1)))
        bits = fnp.bitwise_and(bits, number(-1 << dropped))
    if exponent_bits < info.nexp:
        bias, wanted = (1 << (info.nexp - 1)) - 1, (1 << (exponent_bits - 1)) - 1
        sign = fnp.bitwise_and(bits, number(1 << (8 * kind.itemsize - 1)))
        exponents = ((1 << info.nexp) - 1) << info.nmant
        exponent = fnp.bitwise_and(bits, number(exponents))
        too_large = fnp.greater(exponent, number((bias + wanted) << info.nmant))
        too_small = fnp.less_equal(exponent, number((bias - wanted) << info.nmant))
        bits = fnp.where(too_large, fnp.bitwise_or(sign, number(exponents)), bits)
        bits = fnp.where(too_small, sign, bits)
    return fnp.where(fnp.isnan(x), x, _bits(bits, dtype_of(x)))


@_reduce_precision.defjvp
def _reduce_precision_jvp(exponent_bits, mantissa_bits, primals, tangents):
    return _reduce_precision(primals[0], exponent_bits, mantissa_bits), tangents[0]


def bitcast_convert_type(x, new_dtype):
    """The bits of `x` read as another dtype. A smaller one adds an axis at the end, a larger one takes it."""
    check_array("bitcast_convert_type", x)
    wanted, have = dtypes.dtype(new_dtype), dtype_of(x)
    if wanted == have:
        return fnp.asarray(x)
    if wanted.itemsize == have.itemsize:
        return primitives.convert(x, dtype=wanted, bitcast=True)
    return _split_bits(x, have, wanted) if wanted.itemsize < have.itemsize else _join_bits(x, have, wanted)


def _unsigned(itemsize: int) -> np.dtype:
    return {d.itemsize: d for d in dtypes.UNSIGNED}[itemsize]


def _bits(x, dtype: np.dtype):
    return x if dtype_of(x) == dtype else primitives.convert(x, dtype=dtype, bitcast=True)


def _split_bits(x, have: np.dtype, wanted: np.dtype):
    wide, narrow = _unsigned(have.itemsize), _unsigned(wanted.itemsize)
    x = _bits(x, wide)
    mask = (1 << 8 * wanted.itemsize) - 1
    parts = [
        fnp.bitwise_and(fnp.right_shift(x, 8 * wanted.itemsize * i), mask)
        for i in range(have.itemsize // wanted.itemsize)
    ]
    return _bits(fnp.stack([convert(part, narrow) for part in parts], axis=-1), wanted)


def _join_bits(x, have: np.dtype, wanted: np.dtype):
    count = wanted.itemsize // have.itemsize
    if not shape_of(x) or shape_of(x)[-1] != count:
        raise ShapeError(
            located(
                f"bitcast_convert_type: {have} to {wanted} needs a last axis of size {count}, but the shape "
                f"is {shape_of(x)}"
            )
        )
    wide = _unsigned(wanted.itemsize)
    parts = fnp.unstack(convert(_bits(x, _unsigned(have.itemsize)), wide), -1)
    total = parts[0]
    for i, part in enumerate(parts[1:], 1):
        total = fnp.bitwise_or(total, fnp.left_shift(part, 8 * have.itemsize * i))
    return _bits(total, wanted)


def bitcast_view(x, dtype):
    """`x.view(dtype)`: the bits as another dtype, the last axis growing or shrinking with its size."""
    wanted, have = dtypes.dtype(dtype), dtype_of(x)
    shape = shape_of(x)
    if wanted.itemsize <= have.itemsize:
        result = bitcast_convert_type(x, wanted)
        return result if wanted.itemsize == have.itemsize else fnp.reshape(result, (*shape[:-1], -1))
    count = wanted.itemsize // have.itemsize
    return bitcast_convert_type(fnp.reshape(x, (*shape[:-1], shape[-1] // count, count)), wanted)
