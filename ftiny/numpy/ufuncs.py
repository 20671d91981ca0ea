"""Elementwise functions, with numpy's broadcasting and ftiny's promotion.

Input: arrays, tracers, numpy arrays or Python scalars. Output: an array of the broadcast shape:

    >>> hypot(ftiny.numpy.array([3., 5.]), 4)
    Array([5.       , 6.4031243], dtype=float32)

Most are one primitive after promotion and come from the tables at the end; the others are short compositions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np

from ftiny import core, dtypes, primitives
from ftiny.contraction import reduce_spec
from ftiny.errors import DtypeError, ShapeError
from ftiny.numpy.common import (
    check_array,
    constant_like,
    convert,
    dtype_of,
    materialize,
    promote,
    require_kind,
    same_shape,
)
from ftiny.source import located
from ftiny.transforms.custom import custom_jvp

# ---- tables: the functions that are one primitive --------------------------------------------------------------

_FLOAT_UNARY = {  # name: (primitive function, what it computes)
    "exp": ("exp", "e to the power of x"),
    "exp2": ("exp2", "2 to the power of x"),
    "log": ("log", "the natural logarithm of x"),
    "log1p": ("log1p", "log(1 + x), exact near zero"),
    "sqrt": ("sqrt", "the square root of x"),
    "cbrt": ("cbrt", "the cube root of x"),
    "sin": ("sin", "the sine of x"),
    "cos": ("cos", "the cosine of x"),
    "tan": ("tan", "the tangent of x"),
    "arcsin": ("asin", "the angle whose sine is x"),
    "arccos": ("acos", "the angle whose cosine is x"),
    "arctan": ("atan", "the angle whose tangent is x"),
    "sinh": ("sinh", "the hyperbolic sine of x"),
    "cosh": ("cosh", "the hyperbolic cosine of x"),
    "tanh": ("tanh", "the hyperbolic tangent of x"),
    "arcsinh": ("asinh", "the inverse hyperbolic sine of x"),
    "arccosh": ("acosh", "the inverse hyperbolic cosine of x"),
    "arctanh": ("atanh", "the inverse hyperbolic tangent of x"),
}

_COMPARISONS = {
    "equal": ("eq", "x == y"),
    "not_equal": ("ne", "x != y"),
    "less": ("lt", "x < y"),
    "less_equal": ("le", "x <= y"),
    "greater": ("gt", "x > y"),
    "greater_equal": ("ge", "x >= y"),
}

_BITWISE = {
    "bitwise_and": ("and", "the bits that are set in both"),
    "bitwise_or": ("or", "the bits that are set in either"),
    "bitwise_xor": ("xor", "the bits that are set in one only"),
}


def _describe(function: Callable, name: str, does: str, rest: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {does}. {rest}"
    return function


def _float_unary(name: str, fn: str, does: str) -> Callable:
    def function(x, /):
        (x,) = promote(name, x, inexact=True)
        return primitives.math(x, fn=fn)

    return _describe(function, name, does, "Integers become float32; the shape is that of x.")


def _comparison(name: str, dir: str, does: str) -> Callable:
    def function(x, y, /):
        x, y = promote(name, x, y)
        return primitives.compare(x, y, dir=dir)

    return _describe(function, name, does, "The operands broadcast and are promoted; the result is bool.")


def _bitwise(name: str, op: str, does: str) -> Callable:
    def function(x, y, /):
        x, y = promote(name, x, y)
        for operand in (x, y):
            require_kind(name, operand, ("bool", "int"))
        return primitives.bitwise(x, y, op=op)

    return _describe(function, name, does, "Takes bools and integers.")


def _logical(name: str, op: str, does: str) -> Callable:
    def function(x, y, /):
        check_array(name, x, y)
        x, y = same_shape(name, truth(x), truth(y))
        return primitives.bitwise(x, y, op=op)

    return _describe(function, name, does, "Numbers count as true unless they are zero; the result is bool.")


(
    exp,
    exp2,
    log,
    log1p,
    sqrt,
    cbrt,
    sin,
    cos,
    tan,
    arcsin,
    arccos,
    arctan,
    sinh,
    cosh,
    tanh,
    arcsinh,
    arccosh,
    arctanh,
) = (_float_unary(name, *row) for name, row in _FLOAT_UNARY.items())
equal, not_equal, less, less_equal, greater, greater_equal = (
    _comparison(name, *row) for name, row in _COMPARISONS.items()
)
bitwise_and, bitwise_or, bitwise_xor = (_bitwise(name, *row) for name, row in _BITWISE.items())
logical_and = _logical("logical_and", "and", "x and y")
logical_or = _logical("logical_or", "or", "x or y")
logical_xor = _logical("logical_xor", "xor", "either x or y")
acos, acosh, asin, asinh, atan, atanh = arccos, arccosh, arcsin, arcsinh, arctan, arctanh


def as_value(x):
    """An operand that is the result as it stands, as an array."""
    from ftiny.numpy.creation import asarray

    return asarray(x)


def truth(x):
    """`x != 0` as bool; bools are returned as they are."""
    if dtype_of(x) == dtypes.bool_:
        return convert(x, dtypes.bool_)
    x = convert(x, dtype_of(x))
    return primitives.compare(x, constant_like(x, 0), dir="ne")


# ---- arithmetic ------------------------------------------------------------------------------------------------


def add(x, y, /):
    """Elementwise x + y; of bools, x or y."""
    x, y = promote("add", x, y)
    return primitives.bitwise(x, y, op="or") if dtype_of(x) == dtypes.bool_ else primitives.add(x, y)


def subtract(x, y, /):
    """Elementwise x - y. Raises `DtypeError` for bools, like numpy: use `logical_xor`."""
    x, y = promote("subtract", x, y)
    if dtype_of(x) == dtypes.bool_:
        raise DtypeError(located("subtract: bools cannot be subtracted; use logical_xor, or convert with .astype(int)"))
    return _subtract(x, y)


_subtract = primitives.sub


def multiply(x, y, /):
    """Elementwise x * y; of bools, x and y."""
    x, y = promote("multiply", x, y)
    return primitives.bitwise(x, y, op="and") if dtype_of(x) == dtypes.bool_ else primitives.mul(x, y)


def divide(x, y, /):
    """Elementwise x / y. Integers are divided in float32."""
    return primitives.div(*promote("divide", x, y, inexact=True))


def floor_divide(x, y, /):
    """Elementwise x / y rounded towards minus infinity, in the promoted dtype."""
    return divmod(x, y)[0]


def remainder(x, y, /):
    """Elementwise remainder with the sign of the divisor: Python's `%`."""
    return divmod(x, y)[1]


def divmod(x, y, /):  # noqa: A001
    """(floor_divide(x, y), remainder(x, y)) in one go."""
    x, y = promote("divmod", x, y)
    dtype = dtype_of(x)
    if dtypes.kind(dtype) not in ("int", "float"):
        raise DtypeError(located(f"floor division and remainder take integers and floats, not {dtype}"))
    rest = primitives.rem(x, y)
    if dtypes.is_unsigned(dtype):
        return primitives.div(x, y), rest
    zero = constant_like(x, 0)
    opposite = not_equal(less(rest, zero), less(y, zero))  # the truncated remainder has the dividend's sign
    adjust = logical_and(not_equal(rest, zero), opposite)
    if dtypes.is_integer(dtype):
        quotient = primitives.div(x, y)
    else:
        quotient = primitives.div(_subtract(x, rest), y)
    quotient = _select(adjust, _subtract(quotient, constant_like(x, 1)), quotient)
    if dtypes.is_float(dtype):
        quotient = _select(equal(y, zero), primitives.div(x, y), quotient)  # inf of the right sign, as in numpy
        quotient = primitives.math(quotient, fn="round")
    return quotient, _select(adjust, primitives.add(rest, y), rest)


def _select(condition, on_true, on_false):
    return primitives.select(*same_shape("where", condition, on_true, on_false))


def fmod(x, y, /):
    """Elementwise remainder with the sign of the dividend: C's `%` and `fmod`."""
    return primitives.rem(*promote("fmod", x, y))


def modf(x, /):
    """(fractional part, whole part) of x, both with the sign of x."""
    (x,) = promote("modf", x, inexact=True)
    whole = trunc(x)
    return _select(isinf(x), constant_like(x, 0), _subtract(x, whole)), whole


def power(x, y, /):
    """Elementwise x to the power of y. A static integer exponent becomes multiplications.

    Integers to a negative integer power are undefined in integer arithmetic: convert to float first.
    """
    check_array("power", x, y)
    if isinstance(y, int) and not isinstance(y, bool):
        return integer_power(convert(x, dtypes.result_type(x, y)), y)
    x, y = promote("power", x, y)
    if dtypes.kind(dtype_of(x)) in ("int", "bool"):
        return _power_of_integers(x, y)
    return primitives.pow(x, y)


pow = power  # noqa: A001


def integer_power(x, exponent: int):
    """`x` to a static integer power, by repeated squaring. Raises `DtypeError` for an integer to a negative power."""
    if exponent < 0:
        if not dtypes.is_inexact(dtype_of(x)):
            raise DtypeError(
                located(
                    f"power: an integer array to the negative power {exponent} is no integer; use float(...) or .astype"
                )
            )
        return primitives.div(constant_like(x, 1), integer_power(x, -exponent))
    if exponent == 0:
        return primitives.broadcast(constant_like(x, 1), shape=core.get_aval(x).shape, dims=())
    result = None
    square = x
    while exponent:
        if exponent & 1:
            result = square if result is None else primitives.mul(result, square)
        exponent >>= 1
        if exponent:
            square = primitives.mul(square, square)
    return result


def _power_of_integers(x, y):
    """Repeated squaring over the bits of `y`; all-integer, so exact modulo 2 ** bits."""
    dtype = dtype_of(x)
    if dtype == dtypes.bool_:
        return primitives.bitwise(x, primitives.bitwise(y, op="not"), op="or")
    one = constant_like(x, 1)
    result, square = one, x
    # The result wraps after as many squarings as the dtype has bits, so higher bits of y only matter for |x| < 2.
    for bit in range(8 * dtype.itemsize - (0 if dtypes.is_unsigned(dtype) else 1)):
        is_set = not_equal(bitwise_and(y, constant_like(y, 1 << bit)), constant_like(y, 0))
        result = multiply(result, where_scalar(is_set, square, one))
        square = primitives.mul(square, square)
    return result


def where_scalar(condition, on_true, on_false):
    """`select` on operands that already have one dtype, broadcasting literals."""
    return _select(condition, on_true, on_false)


def float_power(x, y, /):
    """Elementwise x to the power of y, computed in floating point even for integers."""
    return primitives.pow(*promote("float_power", x, y, inexact=True))


def negative(x, /):
    """Elementwise -x; unsigned integers wrap."""
    (x,) = promote("negative", x)
    require_kind("negative", x, ("int", "float", "complex"))
    return primitives.math(x, fn="neg")


def positive(x, /):
    """`x` itself, as an array."""
    return as_value(*promote("positive", x))


def reciprocal(x, /):
    """Elementwise 1 / x."""
    (x,) = promote("reciprocal", x, inexact=True)
    return primitives.div(constant_like(x, 1), x)


def square(x, /):
    """Elementwise x * x; of bools, in int32."""
    (x,) = promote("square", x)
    if dtype_of(x) == dtypes.bool_:
        x = convert(x, dtypes.int32)
    return primitives.mul(x, x)


def abs(x, /):  # noqa: A001
    """Elementwise absolute value; of complex numbers, the modulus."""
    (x,) = promote("abs", x)
    if dtype_of(x) == dtypes.bool_ or dtypes.is_unsigned(dtype_of(x)):
        return as_value(x)
    return primitives.math(x, fn="abs")


absolute = abs


def fabs(x, /):
    """Elementwise absolute value as a float."""
    (x,) = promote("fabs", x, inexact=True)
    return primitives.math(x, fn="abs")


def sign(x, /):
    """Elementwise -1, 0 or 1 with the sign of x (NaN for NaN); of complex numbers x / |x|."""
    (x,) = promote("sign", x)
    if dtypes.kind(dtype_of(x)) == "complex":
        zero = equal(x, constant_like(x, 0))
        length = abs(_select(zero, constant_like(x, 1), x))  # not zero, for the derivative's sake
        return _select(zero, constant_like(x, 0), primitives.div(x, convert(length, dtype_of(x))))
    if dtypes.is_unsigned(dtype_of(x)):
        return convert(truth(x), dtype_of(x))
    return primitives.math(x, fn="sign")


def expm1(x, /):
    """Elementwise exp(x) - 1, exact near zero. Integers become float32; the shape is that of x."""
    (x,) = promote("expm1", x, inexact=True)
    if dtypes.kind(dtype_of(x)) != "complex":
        return primitives.math(x, fn="expm1")
    # For z = a + bi the real part is exp(a) cos b - 1 = (exp(a) - 1) cos b - 2 sin(b/2)^2, which does not cancel
    # near zero; an infinite or missing b has no cosine, and there exp(z) knows the limit.
    whole = exp(x)
    finite = isfinite(imag(x))
    angle_of = _select(finite, imag(x), constant_like(imag(x), 0))
    half = sin(multiply(angle_of, 0.5))
    near = _subtract(multiply(expm1(real(x)), cos(angle_of)), multiply(2.0, multiply(half, half)))
    return primitives.complex_(_select(finite, near, _subtract(real(whole), constant_like(near, 1))), imag(whole))


# ---- rounding --------------------------------------------------------------------------------------------------


def _rounding(name: str, fn: str, does: str) -> Callable:
    def function(x, /):
        (x,) = promote(name, x)
        return primitives.math(x, fn=fn) if dtypes.is_inexact(dtype_of(x)) else as_value(x)

    return _describe(function, name, does, "Integers are returned unchanged.")


floor = _rounding("floor", "floor", "greatest integer that is not above x")
ceil = _rounding("ceil", "ceil", "least integer that is not below x")
trunc = _rounding("trunc", "trunc", "x rounded towards zero")
rint = _float_unary("rint", "round", "nearest integer, halves to the even one")


fix = trunc


def round(x, decimals: int = 0):  # noqa: A001
    """Elementwise x rounded to `decimals` digits after the point, halves to even."""
    (x,) = promote("round", x)
    if not dtypes.is_inexact(dtype_of(x)):
        if decimals >= 0:
            return as_value(x)
        factor = 10**-decimals
        return convert(multiply(rint(divide(x, factor)), factor), dtype_of(x))
    if decimals == 0:
        return primitives.math(x, fn="round")
    factor = constant_like(x, 10.0**decimals)
    return primitives.div(primitives.math(primitives.mul(x, factor), fn="round"), factor)


around = round


# ---- exponentials, angles --------------------------------------------------------------------------------------


def log2(x, /):
    """Elementwise the logarithm of x to base 2. Integers become float32; the shape is that of x."""
    (x,) = promote("log2", x, inexact=True)
    if dtypes.kind(dtype_of(x)) == "complex":
        return _scaled(log(x), 1 / math.log(2))
    return primitives.math(x, fn="log2")


def _scaled(z, factor: float):
    """A complex array times a real number; other than in a complex product, inf * 0 spoils nothing."""
    return primitives.complex_(multiply(real(z), factor), multiply(imag(z), factor))


def log10(x, /):
    """Elementwise logarithm of x to base 10."""
    (x,) = promote("log10", x, inexact=True)
    if dtypes.kind(dtype_of(x)) == "complex":
        return _scaled(log(x), 1 / math.log(10))
    return primitives.mul(primitives.math(x, fn="log"), constant_like(x, 1 / math.log(10)))


def logaddexp(x, y, /):
    """Elementwise log(exp(x) + exp(y)), without overflow."""
    return _logaddexp(*promote("logaddexp", x, y, inexact=True))


@custom_jvp
def _logaddexp(x, y):
    larger = primitives.minmax(x, y, op="max")
    difference = _subtract(x, y)
    spread = primitives.math(primitives.math(primitives.math(difference, fn="abs"), fn="neg"), fn="exp")
    # Equal infinities have no difference; their sum (or any NaN) is the answer.
    return _select(isnan(difference), primitives.add(x, y), primitives.add(larger, primitives.math(spread, fn="log1p")))


@_logaddexp.defjvp
def _logaddexp_jvp(primals, tangents):
    """dx*logistic(x - y) + dy*logistic(y - x): smooth at a tie, where the rule of the maximum would not be."""
    (x, y), (dx, dy) = primals, tangents
    difference = _subtract(x, y)
    share = primitives.math(difference, fn="logistic")
    rest = primitives.math(primitives.math(difference, fn="neg"), fn="logistic")
    return _logaddexp(x, y), primitives.add(primitives.mul(dx, share), primitives.mul(dy, rest))


def logaddexp2(x, y, /):
    """Elementwise log2(2**x + 2**y), without overflow."""
    x, y = promote("logaddexp2", x, y, inexact=True)
    scale = constant_like(x, math.log(2))
    return primitives.div(logaddexp(primitives.mul(x, scale), primitives.mul(y, scale)), scale)


def arctan2(y, x, /):
    """Elementwise angle of the point (x, y), from -pi to pi."""
    y, x = promote("arctan2", y, x, inexact=True)
    return primitives.math(y, x, fn="atan2")


atan2 = arctan2


def hypot(x, y, /):
    """Elementwise sqrt(x*x + y*y), without overflow."""
    x, y = (abs(operand) for operand in promote("hypot", x, y, inexact=True))
    larger, smaller = primitives.minmax(x, y, op="max"), primitives.minmax(x, y, op="min")
    ratio = primitives.div(smaller, _select(equal(larger, 0), constant_like(x, 1), larger))
    length = primitives.mul(larger, sqrt(primitives.add(primitives.mul(ratio, ratio), constant_like(x, 1))))
    return _select(logical_or(isinf(x), isinf(y)), constant_like(x, math.inf), length)


def degrees(x, /):
    """Elementwise angle x in degrees."""
    (x,) = promote("degrees", x, inexact=True)
    return primitives.mul(x, constant_like(x, 180 / math.pi))


def radians(x, /):
    """Elementwise angle x in radians."""
    (x,) = promote("radians", x, inexact=True)
    return primitives.mul(x, constant_like(x, math.pi / 180))


rad2deg, deg2rad = degrees, radians


def sinc(x, /):
    """Elementwise sin(pi x) / (pi x), and 1 at zero."""
    (x,) = promote("sinc", x, inexact=True)
    angle = primitives.mul(x, constant_like(x, math.pi))
    small = less(primitives.math(angle, fn="abs"), 0.5)
    safe = _select(small, constant_like(x, 1), angle)
    # Near zero the derivatives of the quotient cancel: sin a / a = sum of (-1)^k a^2k / (2k + 1)!, of which 9 terms are
    # float64's precision at 1/2.
    square, series = multiply(angle, angle), constant_like(x, 1 / math.factorial(17))
    for k in range(7, -1, -1):
        series = add(multiply(series, square), (-1) ** k / math.factorial(2 * k + 1))
    return _select(small, series, primitives.div(primitives.math(safe, fn="sin"), safe))


# ---- extrema ---------------------------------------------------------------------------------------------------


def _extremum(name: str, op: str, for_bool: str, does: str) -> Callable:
    def function(x, y, /):
        x, y = promote(name, x, y)
        if dtype_of(x) == dtypes.bool_:
            return primitives.bitwise(x, y, op=for_bool)
        return primitives.minmax(x, y, op=op)

    return _describe(function, name, does, "NaN wins; equal operands share the gradient.")


maximum = _extremum("maximum", "max", "or", "larger of x and y")
minimum = _extremum("minimum", "min", "and", "smaller of x and y")


def fmax(x, y, /):
    """Elementwise larger of x and y; a NaN loses."""
    x, y = promote("fmax", x, y)
    return _select(logical_or(greater(x, y), isnan(y)), x, y)


def fmin(x, y, /):
    """Elementwise smaller of x and y; a NaN loses."""
    x, y = promote("fmin", x, y)
    return _select(logical_or(less(x, y), isnan(y)), x, y)


def clip(x, /, min=None, max=None):  # noqa: A002
    """Elementwise x limited to [min, max]; None is no limit. Where min > max, the result is max."""
    (x,) = promote("clip", x)
    if min is not None:
        x = maximum(min, x)
    return as_value(x) if max is None else minimum(max, x)


def heaviside(x, y, /):
    """Elementwise 0 for negative x, y for zero and 1 for positive x."""
    x, y = promote("heaviside", x, y, inexact=True)
    zero, one = constant_like(x, 0), constant_like(x, 1)
    step = _select(less(x, zero), zero, _select(equal(x, zero), y, one))
    return _select(isnan(x), x, step)


# ---- floating-point representation -----------------------------------------------------------------------------


def isnan(x, /):
    """Elementwise whether x is NaN."""
    (x,) = promote("isnan", x)
    return primitives.compare(x, x, dir="ne")


def isfinite(x, /):
    """Elementwise whether x is neither infinite nor NaN."""
    (x,) = promote("isfinite", x)
    if dtypes.kind(dtype_of(x)) == "complex":
        return logical_and(isfinite(real(x)), isfinite(imag(x)))
    if not dtypes.is_float(dtype_of(x)):
        return equal(x, x)
    return primitives.math(x, fn="is_finite")


def isinf(x, /):
    """Elementwise whether x is plus or minus infinity."""
    (x,) = promote("isinf", x)
    if dtypes.kind(dtype_of(x)) == "complex":
        return logical_or(isinf(real(x)), isinf(imag(x)))
    if not dtypes.is_float(dtype_of(x)):
        return not_equal(x, x)
    return primitives.compare(primitives.math(x, fn="abs"), constant_like(x, math.inf), dir="eq")


def isposinf(x, /):
    """Elementwise whether x is plus infinity."""
    (x,) = promote("isposinf", x, inexact=True)
    return primitives.compare(x, constant_like(x, math.inf), dir="eq")


def isneginf(x, /):
    """Elementwise whether x is minus infinity."""
    (x,) = promote("isneginf", x, inexact=True)
    return primitives.compare(x, constant_like(x, -math.inf), dir="eq")


_SIGNED_OF_SIZE = {d.itemsize: d for d in dtypes.SIGNED}


def signbit(x, /):
    """Elementwise whether the sign bit is set: true for -0.0 too."""
    (x,) = promote("signbit", x)
    if dtypes.is_float(dtype_of(x)):
        x = primitives.convert(x, dtype=_SIGNED_OF_SIZE[dtype_of(x).itemsize], bitcast=True)
    elif dtype_of(x) == dtypes.bool_:
        return not_equal(x, x)
    return less(x, constant_like(x, 0))


def copysign(x, y, /):
    """Elementwise magnitude of x with the sign of y."""
    x, y = promote("copysign", x, y, inexact=True)
    magnitude = primitives.math(x, fn="abs")
    return _select(signbit(y), primitives.math(magnitude, fn="neg"), magnitude)


def nextafter(x, y, /):
    """Elementwise next floating-point number after x towards y."""
    x, y = promote("nextafter", x, y, inexact=True)
    return primitives.math(x, y, fn="nextafter")


def nan_to_num(x, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None):
    """`x` with NaN, plus and minus infinity replaced (by default by 0 and the largest finite numbers)."""
    (x,) = promote("nan_to_num", x)
    if not dtypes.is_float(dtype_of(x)):
        return as_value(x)
    largest = float(finfo(dtype_of(x)).max)
    x = _select(isnan(x), constant_like(x, nan), x)
    x = _select(isposinf(x), constant_like(x, largest if posinf is None else posinf), x)
    return _select(isneginf(x), constant_like(x, -largest if neginf is None else neginf), x)


def finfo(dtype):
    """The floating-point limits of a dtype (`eps`, `max`, `tiny`, `nmant`, `bits`), bfloat16 included."""
    return ml_dtypes.finfo(dtypes.real_dtype(dtypes.dtype(dtype)))


# ---- bits, logic, complex numbers ------------------------------------------------------------------------------


def invert(x, /):
    """Elementwise complement of the bits; of bools, `not`."""
    (x,) = promote("invert", x)
    require_kind("invert", x, ("bool", "int"))
    return primitives.bitwise(x, op="not")


bitwise_not = bitwise_invert = invert


def logical_not(x, /):
    """Elementwise `not x`; numbers count as true unless they are zero."""
    check_array("logical_not", x)
    return primitives.bitwise(truth(x), op="not")


def left_shift(x, y, /):
    """Elementwise x with its bits moved up by y places."""
    x, y = promote("left_shift", x, y)
    require_kind("left_shift", x, ("int",))
    return primitives.bitwise(x, y, op="shift_left")


def right_shift(x, y, /):
    """Elementwise x with its bits moved down by y places, keeping the sign of signed integers."""
    x, y = promote("right_shift", x, y)
    require_kind("right_shift", x, ("int",))
    logical = dtypes.is_unsigned(dtype_of(x))
    return primitives.bitwise(x, y, op="shift_right_logical" if logical else "shift_right_arithmetic")


bitwise_left_shift, bitwise_right_shift = left_shift, right_shift


def real(x, /):
    """The real part; a real array itself."""
    (x,) = promote("real", x)
    return primitives.math(x, fn="real") if dtypes.kind(dtype_of(x)) == "complex" else as_value(x)


def imag(x, /):
    """The imaginary part; zeros for a real array."""
    (x,) = promote("imag", x)
    if dtypes.kind(dtype_of(x)) == "complex":
        return primitives.math(x, fn="imag")
    return primitives.broadcast(constant_like(x, 0), shape=core.get_aval(x).shape, dims=())


def conjugate(x, /):
    """The complex conjugate; a real array itself."""
    (x,) = promote("conjugate", x)
    return primitives.math(x, fn="conj") if dtypes.kind(dtype_of(x)) == "complex" else as_value(x)


conj = conjugate


def angle(x, /):
    """The angle of a complex number in radians, from -pi to pi."""
    (x,) = promote("angle", x, inexact=True)
    return arctan2(imag(x), real(x))


def iscomplex(x, /):
    """Elementwise whether the imaginary part of x is not zero."""
    return not_equal(imag(x), 0)


def isreal(x, /):
    """Elementwise whether the imaginary part of x is zero."""
    return equal(imag(x), 0)


# ---- comparisons of whole arrays -------------------------------------------------------------------------------


def isclose(x, y, rtol=1e-5, atol=1e-8, equal_nan: bool = False):
    """Elementwise whether |x - y| <= atol + rtol * |y|; infinities are close to themselves only."""
    x, y = promote("isclose", x, y)
    if not dtypes.is_inexact(dtype_of(x)):
        x, y = convert(x, dtypes.float32), convert(y, dtypes.float32)
    bound = add(atol, multiply(rtol, abs(y)))
    finite = logical_and(isfinite(x), isfinite(y))
    near = _select(finite, less_equal(abs(_subtract(x, y)), bound), equal(x, y))
    return logical_or(near, logical_and(isnan(x), isnan(y))) if equal_nan else near


def allclose(x, y, rtol=1e-5, atol=1e-8, equal_nan: bool = False):
    """Whether all elements of x and y are close; see `isclose`."""
    return _all(isclose(x, y, rtol, atol, equal_nan))


def array_equal(x, y, equal_nan: bool = False):
    """Whether x and y have one shape and equal elements (a NaN equals a NaN under `equal_nan`)."""
    if core.get_aval(x).shape != core.get_aval(y).shape:
        return primitives.broadcast(np.bool_(False), shape=(), dims=())
    same = equal(x, y)
    return _all(logical_or(same, logical_and(isnan(x), isnan(y))) if equal_nan else same)


def array_equiv(x, y):
    """Whether x and y broadcast to one shape with equal elements."""
    try:
        return _all(equal(x, y))
    except ShapeError:
        return primitives.broadcast(np.bool_(False), shape=(), dims=())


def _all(x):
    shape = core.get_aval(x).shape
    return primitives.reduce(x, op="and", spec=reduce_spec(shape, tuple(range(len(shape)))))


def gcd(x, y, /):
    """Elementwise greatest common divisor of integers."""
    x, y = (abs(operand) for operand in promote("gcd", x, y))
    require_kind("gcd", x, ("int",))
    from ftiny.transforms.control import while_loop

    def step(pair):
        x, y = pair
        done = equal(y, 0)
        rest = primitives.rem(x, _select(done, constant_like(y, 1), y))
        return _select(done, x, y), _select(done, y, rest)

    def unfinished(pair):
        return logical_not(_all(equal(pair[1], 0)))

    shape = core.get_aval(x).shape
    return while_loop(unfinished, step, (materialize(x, shape), materialize(y, shape)))[0]


def lcm(x, y, /):
    """Elementwise least common multiple of integers."""
    x, y = (abs(operand) for operand in promote("lcm", x, y))
    divisor = gcd(x, y)
    none = equal(divisor, 0)
    return _select(
        none, constant_like(x, 0), primitives.mul(primitives.div(x, _select(none, constant_like(x, 1), divisor)), y)
    )
