"""What every scalar operation means, by numpy: from an operation's name and operand arrays to its result.

This is the one definition of the operations' edge cases, which are XLA's: NaN propagates through minimum
and maximum, float to integer saturates, integer division by zero gives -1, shifts by the width or more
give 0 (or the sign). `expr.py` folds constants with it, and the loop-nest interpreter runs on it.

Worked example: `evaluate_op("div", [array([7], int32), array([0], int32)], int32)` is `array([-1], int32)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftiny import special


def evaluate_op(op: str, args: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Apply `op` elementwise; the result has `dtype` and the broadcast shape of the operands."""
    with np.errstate(all="ignore"):
        if op == "cast":
            return convert(args[0], dtype)
        if op == "bitcast":
            return np.ascontiguousarray(args[0]).view(dtype).reshape(args[0].shape)
        return np.asarray(EVALUATE[op](*args)).astype(dtype, copy=False)


def is_float(dtype: np.dtype) -> bool:
    """Whether dtype is a floating dtype, bfloat16 included (its numpy kind is 'V')."""
    return dtype.kind in "fV"


def convert(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Conversion with float to integer truncating and saturating, NaN to 0."""
    if not is_float(x.dtype) or dtype.kind not in "iu":
        return x.astype(np.float32).astype(dtype) if x.dtype.kind == "V" else x.astype(dtype)
    wide = x.astype(np.float64)
    limits = np.iinfo(dtype)
    # float(limits.max) may round up to a value the integer cannot hold, so saturate by comparison.
    inside = np.where((wide >= float(limits.max)) | (wide <= float(limits.min)) | np.isnan(wide), 0.0, wide)
    result = np.trunc(inside).astype(dtype)
    result = np.where(wide >= float(limits.max), dtype.type(limits.max), result)
    return np.where(wide <= float(limits.min), dtype.type(limits.min), result)


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iu":
        return x / y
    safe = np.where(y == 0, y.dtype.type(1), y)
    if x.dtype.kind == "u":
        return np.where(y == 0, x.dtype.type(np.iinfo(x.dtype).max), x // safe)
    overflow = (x == np.iinfo(x.dtype).min) & (y == -1)
    safe = np.where(overflow, y.dtype.type(1), safe)
    quotient = x // safe
    quotient = quotient + ((x % safe != 0) & ((x < 0) != (safe < 0)))
    return np.where(y == 0, x.dtype.type(-1), quotient)


def _remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iu":
        return np.fmod(x.astype(np.float32), y.astype(np.float32)) if x.dtype.kind == "V" else np.fmod(x, y)
    trivial = (y == 0) | ((y == -1) if x.dtype.kind == "i" else False)
    result = np.fmod(x, np.where(trivial, y.dtype.type(1), y))
    return np.where(y == 0, x, result)


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iu":
        return np.power(x.astype(np.float32), y.astype(np.float32)) if x.dtype.kind == "V" else np.power(x, y)
    result = np.ones(np.broadcast_shapes(x.shape, y.shape), x.dtype)
    base, exponent = np.broadcast_to(x, result.shape), np.broadcast_to(y, result.shape)
    negative = exponent < 0
    if x.dtype.kind == "i":
        exponent = np.where(negative, -exponent, exponent)
    odd, power = exponent & 1, base
    while (exponent > 0).any():
        result = np.where(exponent & 1, result * power, result)
        power, exponent = power * power, exponent >> 1
    if x.dtype.kind == "u":
        return result
    of_inverse = np.where(base == 1, 1, np.where(base == -1, np.where(odd, -1, 1), 0)).astype(x.dtype)
    return np.where(negative, of_inverse, result)


def _shift(direction: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def shift(x: np.ndarray, amount: np.ndarray) -> np.ndarray:
        bits = 8 * x.dtype.itemsize
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        count = np.asarray(amount).astype(unsigned)
        inside = count < bits
        count = np.where(inside, count, unsigned.type(0))
        if direction == "arithmetic":
            signed = np.asarray(x).astype(np.dtype(f"i{x.dtype.itemsize}"))
            moved = signed >> count.astype(signed.dtype)
            return np.where(inside, moved, np.where(signed < 0, -1, 0)).astype(x.dtype)
        raw = np.asarray(x).astype(unsigned)
        moved = raw << count if direction == "left" else raw >> count
        return np.where(inside, moved, unsigned.type(0)).astype(x.dtype)

    return shift


def _in_single(function: Callable) -> Callable:
    """bfloat16 goes through float32: numpy's own loops for it do not cover every function."""
    def apply(*args: np.ndarray) -> np.ndarray:
        if any(a.dtype.kind == "V" for a in args):
            args = tuple(a.astype(np.float32) if a.dtype.kind == "V" else a for a in args)
        return function(*args)

    return apply


def _sign(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, x, np.sign(x))  # the sign of -0.0 is -0.0


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(1, x.dtype) / (np.asarray(1, x.dtype) + np.exp(-x))


def _not(x: np.ndarray) -> np.ndarray:
    return np.logical_not(x) if x.dtype.kind == "b" else np.invert(x)


def _count_leading_zeros(x: np.ndarray) -> np.ndarray:
    bits = 8 * x.dtype.itemsize
    rest = x.astype(np.dtype(f"u{x.dtype.itemsize}"))
    result = np.full(x.shape, bits, np.int64)
    for position in range(bits):
        result = np.where((rest >> np.asarray(position, rest.dtype)) & 1, bits - 1 - position, result)
    return result


def _population_count(x: np.ndarray) -> np.ndarray:
    raw = x.astype(np.dtype(f"u{x.dtype.itemsize}"))
    return sum(((raw >> np.asarray(p, raw.dtype)) & 1).astype(np.int64) for p in range(8 * x.dtype.itemsize))


EVALUATE: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide, "rem": _remainder, "pow": _power,
    "floordiv": np.floor_divide, "mod": np.mod, "minimum": np.minimum, "maximum": np.maximum,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": _not,
    "shift_left": _shift("left"), "shift_right_logical": _shift("logical"),
    "shift_right_arithmetic": _shift("arithmetic"), "select": np.where,
    "fma": lambda x, y, z: (x.astype(np.float64) * y + z).astype(x.dtype),
    "neg": np.negative, "abs": np.abs, "sign": _in_single(_sign), "floor": np.floor, "ceil": np.ceil,
    "round": np.rint, "trunc": np.trunc, "exp": np.exp, "exp2": _in_single(np.exp2),
    "expm1": _in_single(np.expm1), "log": np.log, "log1p": _in_single(np.log1p), "log2": _in_single(np.log2),
    "sqrt": np.sqrt, "rsqrt": lambda x: np.asarray(1, x.dtype) / np.sqrt(x), "cbrt": _in_single(np.cbrt),
    "sin": np.sin, "cos": np.cos, "tan": _in_single(np.tan), "asin": _in_single(np.arcsin),
    "acos": _in_single(np.arccos), "atan": _in_single(np.arctan), "atan2": _in_single(np.arctan2),
    "sinh": _in_single(np.sinh), "cosh": _in_single(np.cosh), "tanh": np.tanh, "asinh": _in_single(np.arcsinh),
    "acosh": _in_single(np.arccosh), "atanh": _in_single(np.arctanh), "erf": special.erf,
    "erfc": special.erfc, "erfinv": special.erfinv, "lgamma": special.lgamma,
    "digamma": special.digamma, "logistic": _logistic, "is_finite": _in_single(np.isfinite),
    "is_nan": _in_single(np.isnan), "nextafter": _in_single(np.nextafter),
    "population_count": _population_count, "clz": _count_leading_zeros,
}
