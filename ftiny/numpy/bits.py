"""The bits of numbers: counting, packing and unpacking them, and the parts of floating-point numbers.

Input: integers or floats. Output: arrays of the same shape, or with an axis eight times shorter or longer:

    >>> packbits(ftiny.numpy.array([1, 0, 0, 0, 0, 0, 1, 1]))
    Array([131], dtype=uint8)

The parts of a float are read from its bits, laid out as in IEEE 754: sign, exponent plus bias, fraction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ftiny import dtypes, primitives
from ftiny.errors import ArgumentError, DtypeError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    canonical_axis,
    check_array,
    constant_like,
    convert,
    dtype_of,
    promote,
    require_kind,
    same_shape,
    shape_of,
)
from ftiny.numpy.creation import asarray
from ftiny.numpy.manipulation import expand_dims, moveaxis, pad, ravel, reshape, slice_axis
from ftiny.numpy.reductions import sum as sum_of
from ftiny.source import located
from ftiny.transforms.custom import stop_gradient

# ---- bits of integers ------------------------------------------------------------------------------------------


def bitwise_count(x, /):
    """Elementwise number of bits that are set in the absolute value of the integer x, as uint8."""
    (x,) = promote("bitwise_count", x)
    require_kind("bitwise_count", x, ("bool", "int"))
    if dtype_of(x) == dtypes.bool_:
        return convert(x, dtypes.uint8)
    return convert(primitives.math(ufuncs.abs(x), fn="population_count"), dtypes.uint8)


def _bit_places(name: str, bitorder: str) -> np.ndarray:
    """The place in its byte of each of eight bits that follow each other."""
    if bitorder not in ("big", "little"):
        raise ArgumentError(located(f"{name}: bitorder must be 'big' or 'little', not {bitorder!r}"))
    places = np.arange(8)
    return places[::-1].copy() if bitorder == "big" else places


def _last_axis(name: str, x, axis: int | None):
    """`x` with `axis` moved to the end (None: its elements in one row), and where that axis came from."""
    check_array(name, x)
    if axis is None:
        return ravel(asarray(x)), 0
    axis = canonical_axis(axis, len(shape_of(x)), name)
    return moveaxis(asarray(x), axis, -1), axis


def packbits(a, axis: int | None = None, bitorder: str = "big"):
    """Eight elements along `axis` (None: of the row of elements) as the bits of one uint8; zero is 0, all else 1.

    The first element is the highest bit (the lowest under `bitorder="little"`). Missing elements at the end are 0.
    Raises `DtypeError` unless `a` is of bools or integers.
    """
    places = _bit_places("packbits", bitorder)
    a, axis = _last_axis("packbits", a, axis)
    require_kind("packbits", a, ("bool", "int"))
    bits = convert(ufuncs.truth(a), dtypes.int32)
    *rest, count = shape_of(bits)
    bits = pad(bits, [(0, 0)] * len(rest) + [(0, -count % 8)])
    bits = reshape(bits, (*rest, -(-count // 8), 8))
    packed = sum_of(ufuncs.multiply(bits, (1 << places).astype(np.int32)), axis=-1)
    return moveaxis(convert(packed, dtypes.uint8), -1, axis)


def unpackbits(a, axis: int | None = None, count: int | None = None, bitorder: str = "big"):
    """The eight bits of each uint8 along `axis` (None: of the row of elements), as uint8 zeros and ones.

    `count` is the number of bits along the axis: more are dropped, missing ones are 0. Raises `DtypeError` unless `a`
    is of uint8.
    """
    places = _bit_places("unpackbits", bitorder)
    a, axis = _last_axis("unpackbits", a, axis)
    if dtype_of(a) != dtypes.uint8:
        raise DtypeError(located(f"unpackbits takes an array of uint8, not {dtype_of(a)}; convert with .astype"))
    bits = ufuncs.bitwise_and(ufuncs.right_shift(expand_dims(a, -1), places.astype(np.uint8)), np.uint8(1))
    *rest, length = shape_of(a)
    bits = reshape(bits, (*rest, 8 * length))
    if count is not None:
        missing = count - 8 * length
        bits = (
            pad(bits, [(0, 0)] * len(rest) + [(0, missing)])
            if missing > 0
            else slice_axis(bits, len(rest), 0, len(range(8 * length)[:count]))
        )
    return moveaxis(bits, -1, axis)


# ---- parts of floats -------------------------------------------------------------------------------------------

_SIGNED_OF_SIZE = {d.itemsize: d for d in dtypes.SIGNED}


def _power_of_two(exponent, dtype: np.dtype):
    """2 ** exponent, made of its bits; the exponent is an array of integers for which the result is a normal number."""
    limits = ufuncs.finfo(dtype)
    bits = convert(ufuncs.add(exponent, 1 - int(limits.minexp)), _SIGNED_OF_SIZE[dtype.itemsize])
    return primitives.convert(ufuncs.left_shift(bits, int(limits.nmant)), dtype=dtype, bitcast=True)


def _exponent_field(x):
    """The exponent bits of each float, as int32 without the bias removed: 0 for zero and subnormal numbers."""
    limits = ufuncs.finfo(dtype_of(x))
    bits = primitives.convert(x, dtype=_SIGNED_OF_SIZE[dtype_of(x).itemsize], bitcast=True)
    mask = (1 << (8 * dtype_of(x).itemsize - 1 - int(limits.nmant))) - 1
    return convert(ufuncs.bitwise_and(ufuncs.right_shift(bits, int(limits.nmant)), mask), dtypes.int32)


def _real_float(name: str, x):
    (x,) = promote(name, x, inexact=True)
    require_kind(name, x, ("float",))
    return asarray(x)


def frexp(x, /):
    """(mantissa, exponent) with x == mantissa * 2 ** exponent: a float from 0.5 to 1 with the sign of x, and an int32.

    Zero, infinity and NaN are their own mantissa, with exponent 0.
    """
    x = _real_float("frexp", x)
    limits = ufuncs.finfo(dtype_of(x))
    fixed = stop_gradient(x)
    up = int(limits.nmant) + 1  # a subnormal number times 2 ** up is a normal one
    field = _exponent_field(fixed)
    raised = ufuncs.subtract(_exponent_field(ufuncs.multiply(fixed, 2.0**up)), up)
    exponent = ufuncs.add(ufuncs.where_scalar(ufuncs.equal(field, 0), raised, field), int(limits.minexp))
    own = ufuncs.logical_or(ufuncs.equal(fixed, 0), ufuncs.logical_not(ufuncs.isfinite(fixed)))
    exponent = ufuncs.where_scalar(own, constant_like(exponent, 0), exponent)
    # Two factors, because the inverse of the smallest number's power of two would overflow.
    half = ufuncs.right_shift(ufuncs.negative(exponent), 1)
    rest = ufuncs.subtract(ufuncs.negative(exponent), half)
    scaled = ufuncs.multiply(ufuncs.multiply(x, _power_of_two(half, dtype_of(x))), _power_of_two(rest, dtype_of(x)))
    return scaled, exponent


def ldexp(x, exponent, /):
    """Elementwise x * 2 ** exponent for integer exponents, rounded once, without overflow on the way."""
    check_array("ldexp", x, exponent)
    require_kind("ldexp", exponent, ("bool", "int"))
    x = _real_float("ldexp", x)
    dtype = dtype_of(x)
    limits = ufuncs.finfo(dtype)
    x, exponent = same_shape("ldexp", x, asarray(convert(exponent, dtypes.int32)))
    mantissa, own = frexp(x)
    low, high = int(limits.minexp) + 1, -int(limits.minexp) + 1
    total = ufuncs.add(own, ufuncs.clip(exponent, -4 * high, 4 * high))
    # The first factor leaves a normal number, so that only the second product rounds.
    first = ufuncs.clip(total, low, high)
    second = ufuncs.clip(ufuncs.subtract(total, first), low, high)
    return ufuncs.multiply(ufuncs.multiply(mantissa, _power_of_two(first, dtype)), _power_of_two(second, dtype))


def spacing(x, /):
    """Elementwise distance from x to the next floating-point number away from zero, with the sign of x.

    NaN where there is none (infinity). For float16, like numpy, to the next number above, so it is never negative.
    """
    x = _real_float("spacing", x)
    integer = _SIGNED_OF_SIZE[dtype_of(x).itemsize]
    away: Any = np.ones((), integer)[()]  # read as an integer, the bits of a float count up away from zero
    if dtype_of(x) == dtypes.float16:
        x = ufuncs.where_scalar(ufuncs.equal(x, 0), constant_like(x, 0), x)
        away = ufuncs.where_scalar(ufuncs.less(x, 0), -away, away)
    bits = ufuncs.add(primitives.convert(x, dtype=integer, bitcast=True), away)
    return ufuncs.subtract(primitives.convert(bits, dtype=dtype_of(x), bitcast=True), x)
