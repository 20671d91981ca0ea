"""Definitions of the operations that a C dialect lacks or gets wrong, as expressions over simpler ones.

Input: an operation's name, its result kind and its parameters (variables). Output: one `Expr`, which the
printer turns into a small C function, scalar or vector; tests evaluate the same Expr with numpy. The
leaves `raw_div raw_rem raw_shl raw_shr raw_cast` are the bare C operators, with C's undefined cases,
which the definitions keep away from.

Worked example: define("maximum", f32, [x, y]) is select(x > y or x != x, x, y): NaN propagates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftiny.lowering.expr import (
    BOOL,
    Expr,
    bitcast,
    bitwise,
    cast,
    compare,
    const,
    intern_node,
    logical_and,
    logical_or,
    math,
    select,
)
from ftiny.special import DIGAMMA_SERIES

U32, I32, F64 = np.dtype(np.uint32), np.dtype(np.int32), np.dtype(np.float64)


def define(op: str, kind: np.dtype, parameters: Sequence[Expr]) -> Expr | None:
    """The definition of `op` giving `kind`, or None if there is none."""
    if op == "cast":
        return expand_cast(parameters[0], kind)
    definition = _FLOAT.get(op) if parameters[0].dtype.kind == "f" else _INTEGER.get(op)
    return None if definition is None else definition(*parameters)


def expand_cast(x: Expr, kind: np.dtype) -> Expr:
    """Float to integer: truncate, saturate, NaN to 0."""
    limits = np.iinfo(kind)
    low, high = const(float(limits.min), x.dtype), const(float(limits.max) if limits.bits < 24 else
                                                         float(2 ** (limits.bits - (limits.min < 0))), x.dtype)
    inside = select(logical_and(x >= low, x < high), x, const(0, x.dtype))
    result = raw("raw_cast", kind, inside)
    result = select(x >= high, const(int(limits.max), kind), result)
    return select(x < low, const(int(limits.min), kind), result)


def raw(op: str, kind: np.dtype, *args: Expr) -> Expr:
    """A bare C operator."""
    return intern_node(op, args, kind)


def _same(x: Expr) -> Expr:
    return compare("eq", x, x)


def _unordered_pick(direction: str) -> Callable[[Expr, Expr], Expr]:
    def pick(x: Expr, y: Expr) -> Expr:
        return select(logical_or(compare(direction, x, y), compare("ne", x, x)), x, y)

    return pick


def _divide(x: Expr, y: Expr) -> Expr:
    zero, one = const(0, x.dtype), const(1, x.dtype)
    by_zero = compare("eq", y, zero)
    if x.dtype.kind == "u":
        return select(by_zero, const(-1, x.dtype), raw("raw_div", x.dtype, x, select(by_zero, one, y)))
    by_minus = compare("eq", y, const(-1, x.dtype))
    quotient = raw("raw_div", x.dtype, x, select(logical_or(by_zero, by_minus), one, y))
    return select(by_zero, const(-1, x.dtype), select(by_minus, zero - x, quotient))


def _remainder(x: Expr, y: Expr) -> Expr:
    one = const(1, x.dtype)
    by_zero = compare("eq", y, const(0, x.dtype))
    trivial = by_zero
    if x.dtype.kind == "i":
        trivial = logical_or(by_zero, compare("eq", y, const(-1, x.dtype)))
    return select(by_zero, x, raw("raw_rem", x.dtype, x, select(trivial, one, y)))


def _floordiv(x: Expr, y: Expr) -> Expr:
    quotient = raw("raw_div", x.dtype, x, y)
    return select(raw("raw_rem", x.dtype, x, y) < 0, quotient - 1, quotient)


def _mod(x: Expr, y: Expr) -> Expr:
    rest = raw("raw_rem", x.dtype, x, y)
    return select(rest < 0, rest + y, rest)


def _integer_power(x: Expr, y: Expr) -> Expr:
    dtype = x.dtype
    zero, one = const(0, dtype), const(1, dtype)
    negative = y < zero
    rest, power, result = select(negative, zero - y, y), x, one
    for _ in range(8 * dtype.itemsize - (dtype.kind == "i")):
        result = select(compare("ne", bitwise("and", rest, one), zero), result * power, result)
        power = power * power
        rest = raw("raw_shr", dtype, rest, one)
    if dtype.kind == "u":
        return result
    odd = compare("ne", bitwise("and", y, one), zero)
    minus = const(-1, dtype)
    inverse = select(compare("eq", x, minus), select(odd, minus, one), zero)
    return select(negative, select(compare("eq", x, one), one, inverse), result)


def _shift(direction: str) -> Callable[[Expr, Expr], Expr]:
    def shift(x: Expr, amount: Expr) -> Expr:
        dtype = x.dtype
        unsigned, signed = np.dtype(f"u{dtype.itemsize}"), np.dtype(f"i{dtype.itemsize}")
        bits = 8 * dtype.itemsize
        count = bitcast(amount, unsigned)
        inside = count < bits
        count = select(inside, count, const(bits - 1, unsigned))
        if direction == "arithmetic":
            return bitcast(raw("raw_shr", signed, bitcast(x, signed), bitcast(count, signed)), dtype)
        moved = raw("raw_shl" if direction == "left" else "raw_shr", unsigned, bitcast(x, unsigned), count)
        return bitcast(select(inside, moved, const(0, unsigned)), dtype)

    return shift


def _sign(x: Expr) -> Expr:
    one = const(1, x.dtype)
    above = select(x > 0, one, x)
    return above if x.dtype.kind == "u" else select(x < 0, const(-1, x.dtype), above)


def _through_32_bits(op: str) -> Callable[[Expr], Expr]:
    """Bit counts of 8 and 16 bit integers."""
    def count(x: Expr) -> Expr:
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        wide = math(op, cast(bitcast(x, unsigned), U32))
        if op == "clz":
            wide = wide - const(32 - 8 * x.dtype.itemsize, U32)
        return cast(wide, x.dtype)

    return count


def _logistic(x: Expr) -> Expr:
    return 1 / (1 + math("exp", -x))


def _polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    total = const(coefficients[0], x.dtype)
    for c in coefficients[1:]:
        total = total * x + c
    return total


def _tanh(x: Expr) -> Expr:
    """tanh in float32 (1.4 ulp), exactly 1 from where it rounds to 1, so that a slope of (1 - tanh)(1 + tanh) vanishes.

    Near zero Cephes' polynomial (S. Moshier, `tanhf.c`), elsewhere by exp. The function that PoCL has, AMD's in libclc,
    stays at the number below 1 from 8.3 on, and is slower.
    """
    size, squared = math("abs", x), x * x
    odd = _polynomial(squared, (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
                                -3.33332819422e-1))
    far = 1 - 2 / (math("exp", size + size) + 1)
    result = select(size < 0.625, odd * (squared * size) + size, far)
    sign = bitwise("and", bitcast(x, U32), const(1 << 31, U32))  # as bits: tanh(-0.0) is -0.0
    return bitcast(bitwise("or", sign, bitcast(result, U32)), x.dtype)


def _erfinv(x: Expr) -> Expr:
    """A rational first guess by the logarithm, then Newton's steps on erf (erfc in the tails)."""
    w = math("log1p", -(x * x))
    half = w * 0.5 + 2.0 / (np.pi * 0.147)
    size = math("sqrt", math("sqrt", half * half - w * (1 / 0.147)) - half)
    magnitude = math("abs", x)
    y = size
    for _ in range(3 if x.dtype == F64 else 2):
        near = math("erf", y) - magnitude
        far = (1 - magnitude) - math("erfc", y)
        error = select(magnitude < 0.5, near, far)
        step = error * float(np.sqrt(np.pi) / 2) * math("exp", y * y)
        y = y - step / (1 + y * step)
    inside = select(magnitude < 1, y, select(compare("eq", magnitude, const(1, x.dtype)),
                                             const(np.inf, x.dtype), const(np.nan, x.dtype)))
    result = select(x < 0, -inside, inside)
    return select(compare("eq", x, const(0, x.dtype)), x, result)


def _digamma(x: Expr) -> Expr:
    """Reflection below one half, steps up the recurrence, then the asymptotic series (Abramowitz and Stegun 6.3.18)."""
    steps, terms = (10, 8) if x.dtype == F64 else (8, 5)  # errors of 3e-18 and 3e-13
    reflected = x < 0.5
    z = select(reflected, 1 - x, x)
    total = const(0, x.dtype)
    for _ in range(steps):
        small = z < steps
        total = total - select(small, 1 / z, const(0, x.dtype))
        z = select(small, z + 1, z)
    inverse = 1 / (z * z)
    series = inverse * _polynomial(inverse, DIGAMMA_SERIES[terms - 1 :: -1])
    value = total + math("log", z) - 0.5 / z - series
    angle = x - math("round", x)  # of the half-turns, exact: tan has a period of one
    mirror = value - float(np.pi) / math("tan", angle * float(np.pi))
    poles = logical_and(x <= 0, compare("eq", angle, const(0, x.dtype)))
    return select(poles, const(np.nan, x.dtype), select(reflected, mirror, value))


_FLOAT: dict[str, Callable[..., Expr]] = {
    "minimum": _unordered_pick("lt"), "maximum": _unordered_pick("gt"), "sign": _sign, "logistic": _logistic,
    "is_finite": lambda x: math("abs", x) < float("inf"), "is_nan": lambda x: compare("ne", x, x),
    "erfinv": _erfinv, "digamma": _digamma, "tanh": _tanh,
}
_INTEGER: dict[str, Callable[..., Expr]] = {
    "div": _divide, "rem": _remainder, "floordiv": _floordiv, "mod": _mod, "pow": _integer_power,
    "shift_left": _shift("left"), "shift_right_logical": _shift("logical"),
    "shift_right_arithmetic": _shift("arithmetic"), "sign": _sign,
    "abs": lambda x: x if x.dtype.kind in "ub" else select(x < 0, 0 - x, x),
    "population_count": _through_32_bits("population_count"), "clz": _through_32_bits("clz"),
    "minimum": lambda x, y: bitwise("and", x, y) if x.dtype == BOOL else select(x < y, x, y),
    "maximum": lambda x, y: bitwise("or", x, y) if x.dtype == BOOL else select(x > y, x, y),
    "add": lambda x, y: bitwise("or", x, y), "mul": lambda x, y: bitwise("and", x, y),
    "is_finite": lambda x: const(True, BOOL), "is_nan": lambda x: const(False, BOOL),
}
