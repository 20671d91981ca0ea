"""Random bits, and the evenly distributed numbers that are made of them.

Input: a key, a shape, bounds. Output: arrays of bits, floats or integers, those of `jax.random` bit for bit:

    >>> randint(PRNGKey(0), (3,), 0, 10)
    Array([9, 0, 2], dtype=int32)
"""

from __future__ import annotations

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError
from ftiny.library import library
from ftiny.numpy.common import canonical_shape, convert, dtype_of, is_array, scalar_literal
from ftiny.random.arguments import check_key, float_dtype, integer_dtype, shape_for
from ftiny.random.keys import random_words
from ftiny.source import located

UNSIGNED = {d.itemsize: d for d in dtypes.UNSIGNED}


def bits(key, shape=(), dtype=dtypes.uint32):
    """Random bits: an unsigned integer array of `shape`."""
    key = check_key("bits", key)
    wanted = dtypes.uint32 if dtype is None else dtypes.dtype(dtype)
    if not dtypes.is_unsigned(wanted):
        raise DtypeError(located(f"random.bits: dtype must be an unsigned integer type, not {wanted}"))
    return sample_bits(key, canonical_shape(shape, "bits"), wanted)


@library("shape", "dtype")
def sample_bits(key, shape, dtype):
    """`bits` without its checks, compiled where that pays."""
    return bits_of(key, shape, dtype)


def bits_of(key, shape, dtype):
    """`bits` without its checks; `key` is a key or a pair of its halves."""
    first, second = random_words(key, shape)
    if dtype == dtypes.uint64:
        high = fnp.left_shift(convert(first, dtype), scalar_literal(32, dtype))
        return fnp.bitwise_or(high, convert(second, dtype))
    both = fnp.bitwise_xor(first, second)
    if dtype == dtypes.uint32:
        return both
    low = fnp.bitwise_and(both, scalar_literal((1 << 8 * dtype.itemsize) - 1, dtypes.uint32))
    return convert(low, dtype)


def uniform(key, shape=(), dtype=dtypes.float32, minval=0.0, maxval=1.0):
    """Numbers evenly distributed over [minval, maxval), which may be arrays that broadcast to `shape`."""
    key = check_key("uniform", key)
    wanted = float_dtype("uniform", dtype)
    return sample_uniform(key, minval, maxval, shape_for("uniform", shape, minval, maxval), wanted)


@library("shape", "dtype")
def sample_uniform(key, minval, maxval, shape, dtype):
    """`uniform` without its checks."""
    info = fnp.finfo(dtype)
    unsigned = UNSIGNED[dtype.itemsize]
    mantissa = info.nmant
    # Types with less than 8 bits of mantissa (bfloat16) draw 8 bits only, as JAX does.
    drawn = 8 if mantissa < 8 else 8 * dtype.itemsize
    random = convert(sample_bits(key, shape, UNSIGNED[drawn // 8]), unsigned)
    # A random mantissa below the exponent of 1 is a number in [1, 2).
    random = primitives.bitwise(random, scalar_literal(drawn - mantissa, unsigned), op="shift_right_logical")
    one = np.array(1, dtype).view(unsigned)[()]
    floats = primitives.convert(primitives.bitwise(random, one, op="or"), dtype=dtype, bitcast=True)
    floats = fnp.subtract(floats, scalar_literal(1, dtype))
    low, high = convert(minval, dtype), convert(maxval, dtype)
    if not (isinstance(low, np.generic) and isinstance(high, np.generic)):
        width = fnp.subtract(high, low)
    elif (low, high) == (0, 1):
        return floats
    else:
        width = scalar_literal(high - low, dtype)
    return fnp.maximum(low, fnp.add(fnp.multiply(floats, width), low))


def randint(key, shape, minval, maxval, dtype=dtypes.int32):
    """Integers from [minval, maxval), which may be arrays that broadcast to `shape`; minval where the range is empty.

    A remainder of twice as many bits as the result has: the bias is below range / 2**32 for 32-bit integers.
    """
    key = check_key("randint", key)
    wanted = integer_dtype("randint", dtype)
    for name, bound in (("minval", minval), ("maxval", maxval)):
        if not is_array(bound) or dtypes.kind(dtype_of(bound)) not in ("int", "bool"):
            raise DtypeError(located(f"random.randint: {name} must be an integer, not {bound!r}"))
    shape = shape_for("randint", shape, minval, maxval)
    if wanted.itemsize < 4:
        info = np.iinfo(wanted)
        minval, maxval = (
            _limited(bound, int(info.min), int(info.max) + extra) for bound, extra in ((minval, 0), (maxval, 1))
        )
        return convert(_randint(key, minval, maxval, shape, dtypes.int32), wanted)
    minval, maxval = (_fit_integer(bound, wanted) for bound in (minval, maxval))
    return _randint(key, minval, maxval, shape, wanted)


def _limited(bound, low: int, high: int):
    """`bound` as int32 (a number stays one), limited to the range of a smaller dtype."""
    if isinstance(bound, int):
        return np.int32(min(max(bound, low), high))
    return fnp.clip(convert(bound, dtypes.int32), low, high)


def _fit_integer(bound, dtype: np.dtype):
    """A Python integer in the narrowest of (dtype, int64, uint64) that holds it; arrays as they are."""
    if not isinstance(bound, int):
        return bound
    for candidate in (dtype, dtypes.int64, dtypes.uint64):
        info = np.iinfo(candidate)
        if info.min <= bound <= info.max:
            return scalar_literal(bound, candidate)
    raise ArgumentError(located(f"random.randint: the bound {bound} has more than 64 bits"))


def _clip_to(x, dtype: np.dtype):
    """`x` in an integer dtype, limited to its range instead of wrapping."""
    have, want = np.iinfo(dtype_of(x)), np.iinfo(dtype)
    low, high = max(have.min, want.min), min(have.max, want.max)
    return convert(fnp.clip(x, scalar_literal(low, dtype_of(x)), scalar_literal(high, dtype_of(x))), dtype)


@library("shape", "dtype")
def _randint(key, minval, maxval, shape, dtype):
    unsigned = UNSIGNED[dtype.itemsize]
    minval, span = _span(minval, maxval, dtype)
    half = scalar_literal(1 << (4 * dtype.itemsize), unsigned)
    # 2 ** bits modulo span, from its square root, so that nothing overflows.
    multiplier = _modulo(half, span)
    with np.errstate(over="ignore"):
        multiplier = _modulo(_times(multiplier, multiplier), span)
    first, second = random_words(key, (2,))
    higher, lower = (bits_of((first[i], second[i]), shape, unsigned) for i in (0, 1))
    offset = _modulo(lower, span)
    if not (isinstance(multiplier, np.generic) and multiplier == 0):
        offset = _modulo(fnp.add(fnp.multiply(_modulo(higher, span), multiplier), offset), span)
    return fnp.add(minval, _reread(offset, dtype))


def _span(minval, maxval, dtype: np.dtype):
    """(minval, maxval - minval as unsigned): 1 for an empty range, 0 for the full one; numbers where both are."""
    unsigned = UNSIGNED[dtype.itemsize]
    if isinstance(minval, np.generic) and isinstance(maxval, np.generic):
        info = np.iinfo(dtype)
        low, high = (min(max(int(bound), info.min), info.max + extra) for bound, extra in ((minval, 0), (maxval, 1)))
        return scalar_literal(low, dtype), scalar_literal(high - low if high > low else 1, unsigned)
    # maxval may be one above the largest value of the dtype.
    top = min(np.iinfo(dtype).max, np.iinfo(dtype_of(maxval)).max)
    beyond = fnp.greater(maxval, scalar_literal(top, dtype_of(maxval)))
    minval, maxval = _clip_to(minval, dtype), _clip_to(maxval, dtype)
    nonempty = fnp.greater(maxval, minval)
    # Reading the bits as unsigned keeps the difference of a range that is wider than the signed type.
    span = _reread(fnp.subtract(maxval, minval), unsigned)
    span = fnp.add(span, convert(beyond, unsigned))
    return minval, fnp.where(nonempty, span, scalar_literal(1, unsigned))


def _modulo(x, span):
    """x modulo span, unsigned; a span of 0 stands for 2 ** bits and leaves x as it is."""
    if isinstance(span, np.generic) and span == 0:
        return x
    if isinstance(x, np.generic) and isinstance(span, np.generic):
        return x % span
    return fnp.fmod(x, span)


def _times(x, y):
    return x * y if isinstance(x, np.generic) else fnp.multiply(x, y)


def _reread(x, dtype: np.dtype):
    """The bits of an integer array as another integer dtype of its size."""
    return x if dtype_of(x) == dtype else primitives.convert(x, dtype=dtype, bitcast=True)
