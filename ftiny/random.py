"""Random numbers from explicit keys, by the counter-based generator Threefry-2x32.

Input: a key (a uint32 array of shape (2,)) and a shape. Output: an array that depends on these alone, on every device:

    >>> key = PRNGKey(0)
    >>> uniform(key, (2,))
    Array([0.947667  , 0.9785799 ], dtype=float32)

A key is used once: `split` or `fold_in` make new ones of it. Element i of an array of bits is the hash of the 64-bit
counter i under the key, whatever the shape, so that each element is computed on its own (JAX calls this scheme
partitionable). Bits, splits, `uniform`, `randint` and `permutation` are those of `jax.random` bit for bit; what goes
through logarithms or the inverse error function agrees to their last places.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.library import library
from ftiny.numpy.common import (
    broadcast_shapes,
    canonical_axis,
    canonical_shape,
    convert,
    dtype_of,
    full_shape,
    is_array,
    scalar_literal,
    shape_of,
)
from ftiny.source import located
from ftiny.transforms.custom import stop_gradient

__all__ = [
    "PRNGKey",
    "bernoulli",
    "bits",
    "categorical",
    "cauchy",
    "choice",
    "exponential",
    "fold_in",
    "gumbel",
    "key",
    "key_data",
    "laplace",
    "logistic",
    "normal",
    "permutation",
    "rademacher",
    "randint",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
    "wrap_key_data",
]

_UNSIGNED = {d.itemsize: d for d in dtypes.UNSIGNED}

# ---- keys ------------------------------------------------------------------------------------------------------


def PRNGKey(seed):
    """A key made from an integer seed (a Python integer of at most 64 bits, or an integer array without axes)."""
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        value = operator.index(seed)
        if not -(2**63) <= value < 2**64:
            raise ArgumentError(located(f"PRNGKey: the seed {value} has more than 64 bits"))
        high = 0 if -(2**31) <= value < 2**32 else value >> 32 & 0xFFFFFFFF
        return fnp.asarray(np.array([high, value & 0xFFFFFFFF], np.uint32))
    if not is_array(seed) or dtypes.kind(dtype_of(seed)) != "int" or shape_of(seed):
        raise DtypeError(located(f"PRNGKey: the seed must be an integer, not {seed!r}"))
    low = primitives.convert(seed, dtype=dtypes.uint32)
    wide = dtype_of(seed).itemsize == 8
    high = primitives.convert(fnp.right_shift(seed, 32), dtype=dtypes.uint32) if wide else fnp.zeros_like(low)
    return fnp.stack([high, low])


key = PRNGKey


def key_data(key):
    """The uint32 array of a key: the key itself."""
    return _check_key("key_data", key)


def wrap_key_data(data):
    """A key of its uint32 array: the array itself."""
    return _check_key("wrap_key_data", fnp.asarray(data))


def _check_key(name: str, key):
    if not is_array(key) or shape_of(key) != (2,) or dtype_of(key) != dtypes.uint32:
        shown = f"of shape {shape_of(key)} and dtype {dtype_of(key)}" if is_array(key) else repr(key)
        raise ArgumentError(
            located(
                f"random.{name}: a key is a uint32 array of shape (2,), made by PRNGKey(seed), not {shown}; for "
                f"several "
                "keys use vmap, or keys[i]"
            )
        )
    return key


def _halves(key):
    return fnp.unstack(key)


def _counters(shape: tuple[int, ...]):
    """The high and low halves of the 64-bit numbers 0, 1, ..., in row-major order of `shape`."""
    size = math.prod(shape)
    if not shape:
        return np.uint32(0), np.uint32(0)
    number = dtypes.uint32 if size <= 2**32 else dtypes.uint64
    count = primitives.reshape(primitives.iota(shape=(size,), dtype=number, axis=0), shape=shape)
    if size <= 2**32:
        return np.uint32(0), count
    return convert(fnp.right_shift(count, 32), dtypes.uint32), convert(count, dtypes.uint32)


@library("shape")
def _hash(key, shape):
    """Two random words for each number 0, 1, ...; `key` is a key or a pair of its halves."""
    return tuple(primitives.threefry2x32(*(key if isinstance(key, tuple) else _halves(key)), *_counters(shape)))


def split(key, num: int | tuple[int, ...] = 2):
    """`num` new keys (an integer, or a shape of keys): an array of shape (num, 2)."""
    _check_key("split", key)
    return _split(key, canonical_shape(num, "split"))


@library("shape")
def _split(key, shape):
    first, second = _hash(key, shape)
    return fnp.stack([first, second], axis=len(shape))


@library()
def fold_in(key, data):
    """A new key of a key and an integer, for example the number of a step or a layer."""
    _check_key("fold_in", key)
    if not is_array(data) or shape_of(data) != ():
        raise ArgumentError(located(f"random.fold_in: data must be an integer without axes, not {data!r}"))
    number = scalar_literal(data, dtypes.uint32) if isinstance(data, int) else convert(data, dtypes.uint32)
    first, second = primitives.threefry2x32(*_halves(key), np.uint32(0), number)
    return fnp.stack([first, second])


# ---- bits and uniform numbers ----------------------------------------------------------------------------------


def bits(key, shape=(), dtype=dtypes.uint32):
    """Random bits: an unsigned integer array of `shape`."""
    _check_key("bits", key)
    wanted = dtypes.dtype(dtype)
    if not dtypes.is_unsigned(wanted):
        raise DtypeError(located(f"random.bits: dtype must be an unsigned integer type, not {wanted}"))
    return _bits(key, canonical_shape(shape, "bits"), wanted)


@library("shape", "dtype")
def _bits(key, shape, dtype):
    return _bits_of(key, shape, dtype)


def _bits_of(key, shape, dtype):
    first, second = _hash(key, shape)
    if dtype == dtypes.uint64:
        high = fnp.left_shift(convert(first, dtype), scalar_literal(32, dtype))
        return fnp.bitwise_or(high, convert(second, dtype))
    both = fnp.bitwise_xor(first, second)
    if dtype == dtypes.uint32:
        return both
    low = fnp.bitwise_and(both, scalar_literal((1 << 8 * dtype.itemsize) - 1, dtypes.uint32))
    return convert(low, dtype)


def _float_dtype(name: str, dtype) -> np.dtype:
    wanted = dtypes.dtype(dtype)
    if not dtypes.is_float(wanted):
        raise DtypeError(located(f"random.{name}: dtype must be a float type, not {wanted}"))
    return wanted


def _shape_for(name: str, shape, *parameters) -> tuple[int, ...]:
    """The shape of a sample: as given, or the one that the parameters broadcast to; they must fit into it."""
    needed = broadcast_shapes(*map(shape_of, parameters), name=name)
    if shape is None:
        return needed
    shape = canonical_shape(shape, name)
    if broadcast_shapes(needed, shape, name=f"random.{name}") != shape:
        raise ShapeError(located(f"random.{name}: parameters of shape {needed} do not fit the shape {shape}"))
    return shape


def uniform(key, shape=(), dtype=dtypes.float32, minval=0.0, maxval=1.0):
    """Numbers evenly distributed over [minval, maxval), which may be arrays that broadcast to `shape`."""
    _check_key("uniform", key)
    wanted = _float_dtype("uniform", dtype)
    return _uniform(key, minval, maxval, _shape_for("uniform", shape, minval, maxval), wanted)


@library("shape", "dtype")
def _uniform(key, minval, maxval, shape, dtype):
    info = fnp.finfo(dtype)
    unsigned = _UNSIGNED[dtype.itemsize]
    mantissa = info.nmant
    # Types with less than 8 bits of mantissa (bfloat16) draw 8 bits only, as JAX does.
    drawn = 8 if mantissa < 8 else 8 * dtype.itemsize
    random = convert(_bits(key, shape, _UNSIGNED[drawn // 8]), unsigned)
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
    _check_key("randint", key)
    wanted = dtypes.dtype(dtype)
    if not dtypes.is_integer(wanted):
        raise DtypeError(located(f"random.randint: dtype must be an integer type, not {wanted}"))
    for name, bound in (("minval", minval), ("maxval", maxval)):
        if not is_array(bound) or dtypes.kind(dtype_of(bound)) not in ("int", "bool"):
            raise DtypeError(located(f"random.randint: {name} must be an integer, not {bound!r}"))
    shape = _shape_for("randint", shape, minval, maxval)
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
    unsigned = _UNSIGNED[dtype.itemsize]
    minval, span = _span(minval, maxval, dtype)
    half = scalar_literal(1 << (4 * dtype.itemsize), unsigned)
    # 2 ** bits modulo span, from its square root, so that nothing overflows.
    multiplier = _modulo(half, span)
    with np.errstate(over="ignore"):
        multiplier = _modulo(_times(multiplier, multiplier), span)
    first, second = _hash(key, (2,))
    higher, lower = (_bits_of((first[i], second[i]), shape, unsigned) for i in (0, 1))
    offset = _modulo(lower, span)
    if not (isinstance(multiplier, np.generic) and multiplier == 0):
        offset = _modulo(fnp.add(fnp.multiply(_modulo(higher, span), multiplier), offset), span)
    return fnp.add(minval, _reread(offset, dtype))


def _span(minval, maxval, dtype: np.dtype):
    """(minval, maxval - minval as unsigned): 1 for an empty range, 0 for the full one; numbers where both are."""
    unsigned = _UNSIGNED[dtype.itemsize]
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


def bernoulli(key, p=0.5, shape=None):
    """True with probability `p` (a number or an array of floats), of `shape` (default: that of p)."""
    _check_key("bernoulli", key)
    if not is_array(p) or not dtypes.is_float(dtype_of(p)):
        raise DtypeError(located(f"random.bernoulli: the probability must be a float, not {p!r}"))
    return _bernoulli(key, p, _shape_for("bernoulli", shape, p))


@library("shape")
def _bernoulli(key, p, shape):
    return fnp.less(_uniform(key, 0.0, 1.0, shape, dtype_of(p)), p)


# ---- continuous distributions ----------------------------------------------------------------------------------


def normal(key, shape=(), dtype=dtypes.float32):
    """Numbers of the standard normal distribution; complex ones have independent parts of variance 1/2."""
    _check_key("normal", key)
    wanted = dtypes.dtype(dtype)
    shape = canonical_shape(shape, "normal")
    if dtypes.kind(wanted) == "complex":
        first, second = fnp.unstack(_split(key, (2,)))
        parts = [_normal(k, shape, dtypes.real_dtype(wanted)) for k in (first, second)]
        return fnp.divide(primitives.complex_(*parts), scalar_literal(math.sqrt(2), wanted))
    return _normal(key, shape, _float_dtype("normal", wanted))


@library("shape", "dtype")
def _normal(key, shape, dtype):
    low = np.nextafter(np.array(-1, dtype), np.array(0, dtype), dtype=dtype)[()]
    return fnp.multiply(
        scalar_literal(math.sqrt(2), dtype), primitives.math(_uniform(key, low, 1.0, shape, dtype), fn="erfinv")
    )


def truncated_normal(key, lower, upper, shape=None, dtype=dtypes.float32):
    """Numbers of the standard normal distribution that lie between `lower` and `upper`."""
    _check_key("truncated_normal", key)
    wanted = _float_dtype("truncated_normal", dtype)
    return _truncated_normal(key, lower, upper, _shape_for("truncated_normal", shape, lower, upper), wanted)


@library("shape", "dtype")
def _truncated_normal(key, lower, upper, shape, dtype):
    root = scalar_literal(math.sqrt(2), dtype)
    lower, upper = convert(lower, dtype), convert(upper, dtype)
    a, b = (primitives.math(fnp.divide(bound, root), fn="erf") for bound in (lower, upper))
    sample = fnp.multiply(root, primitives.math(_uniform(key, a, b, shape, dtype), fn="erfinv"))
    # Rounding must not move a sample out of the open interval.
    inside = [
        fnp.nextafter(stop_gradient(bound), scalar_literal(towards, dtype))
        for bound, towards in ((lower, math.inf), (upper, -math.inf))
    ]
    return fnp.clip(sample, *inside)


def _sampler(name: str, does: str, compute):
    """A distribution that is a function of uniform numbers: `compute(key, shape, dtype)`."""
    compiled = library("shape", "dtype")(compute)

    def sample(key, shape=(), dtype=dtypes.float32):
        _check_key(name, key)
        return compiled(key, canonical_shape(shape, name), _float_dtype(name, dtype))

    sample.__name__ = sample.__qualname__ = name
    sample.__doc__ = f"Numbers of the {does}."
    return sample


def _exponential(key, shape, dtype):
    return fnp.negative(fnp.log1p(fnp.negative(_uniform(key, 0.0, 1.0, shape, dtype))))


def _gumbel(key, shape, dtype):
    tiny = float(fnp.finfo(dtype).tiny)
    return fnp.negative(fnp.log(fnp.negative(fnp.log(_uniform(key, tiny, 1.0, shape, dtype)))))


def _laplace(key, shape, dtype):
    low = -1.0 + float(fnp.finfo(dtype).epsneg)
    u = _uniform(key, low, 1.0, shape, dtype)
    return fnp.multiply(fnp.sign(u), fnp.log1p(fnp.negative(fnp.abs(u))))


def _logistic(key, shape, dtype):
    u = _uniform(key, float(fnp.finfo(dtype).tiny), 1.0, shape, dtype)
    return fnp.subtract(fnp.log(u), fnp.log1p(fnp.negative(u)))


def _cauchy(key, shape, dtype):
    u = _uniform(key, float(fnp.finfo(dtype).eps), 1.0, shape, dtype)
    return fnp.tan(fnp.multiply(scalar_literal(math.pi, dtype), fnp.subtract(u, 0.5)))


exponential = _sampler("exponential", "exponential distribution of mean 1", _exponential)
gumbel = _sampler("gumbel", "standard Gumbel distribution, -log(-log(u))", _gumbel)
laplace = _sampler("laplace", "standard Laplace distribution, of density exp(-|x|) / 2", _laplace)
logistic = _sampler("logistic", "standard logistic distribution", _logistic)
cauchy = _sampler("cauchy", "standard Cauchy distribution", _cauchy)


def rademacher(key, shape=(), dtype=dtypes.int32):
    """-1 or 1, each with probability 1/2."""
    sign = convert(bernoulli(key, 0.5, canonical_shape(shape, "rademacher")), dtypes.dtype(dtype))
    return fnp.subtract(fnp.multiply(2, sign), 1)


# ---- order and choice ------------------------------------------------------------------------------------------


def permutation(key, x, axis: int = 0, independent: bool = False):
    """`x` in random order along `axis`, or the numbers 0, ..., x-1 if x is an integer.

    With `independent` every one-dimensional slice along the axis gets an order of its own.
    """
    _check_key("permutation", key)
    if isinstance(x, (int, np.integer)):
        return _shuffle(key, fnp.arange(int(x)), 0)
    axis = canonical_axis(axis, len(shape_of(x)), "permutation")
    if independent or len(shape_of(x)) == 1:
        return _shuffle(key, fnp.asarray(x), axis)
    order = _shuffle(key, fnp.arange(shape_of(x)[axis]), 0)
    return fnp.take(x, order, axis, mode="promise_in_bounds")


def shuffle(key, x, axis: int = 0):
    """`x` with every one-dimensional slice along `axis` in a random order of its own."""
    return permutation(key, x, axis, independent=True)


@library("axis")
def _shuffle(key, x, axis):
    """Sorting by random 32-bit keys, as often as it takes to make ties (which bias the order) improbable."""
    size = math.prod(shape_of(x))
    rounds = math.ceil(3 * math.log(max(1, size)) / math.log(2**32 - 1))
    for _ in range(rounds):
        first, second = _hash(key, (2,))
        key, subkey = (first[0], second[0]), (first[1], second[1])
        _, x = primitives.sort(_bits_of(subkey, shape_of(x), dtypes.uint32), x, axis=axis, num_keys=1, stable=True)
    return x


def choice(key, a, shape=(), replace: bool = True, p=None, axis: int = 0):
    """A sample of `shape` from the elements of `a` along `axis`, or from 0, ..., a-1 if a is an integer.

    `p` are the probabilities of the elements (default: all equal). Raises `ArgumentError` when more are drawn without
    replacement than there are.
    """
    _check_key("choice", key)
    shape = canonical_shape(shape, "choice")
    is_number = isinstance(a, (int, np.integer))
    x = None if is_number else fnp.asarray(a)
    axis = 0 if x is None else canonical_axis(axis, len(shape_of(x)), "choice")
    count = int(a) if x is None else shape_of(x)[axis]
    draws = math.prod(shape)
    if draws and count <= 0:
        raise ArgumentError(located("random.choice: there is nothing to choose from"))
    if not replace and draws > count:
        raise ArgumentError(located(f"random.choice: {draws} draws from {count} elements need replace=True"))
    if p is None and not replace:
        drawn = permutation(key, count if x is None else x, axis)
        drawn = drawn[(slice(None),) * axis + (slice(draws),)]
    else:
        places = randint(key, shape, 0, count) if p is None else _weighted(key, fnp.asarray(p), shape, replace, count)
        drawn = places if x is None else fnp.take(x, places, axis, mode="promise_in_bounds")
    return fnp.reshape(drawn, shape if x is None else (*shape_of(x)[:axis], *shape, *shape_of(x)[axis + 1 :]))


def _weighted(key, p, shape: tuple[int, ...], replace: bool, count: int):
    if shape_of(p) != (count,):
        raise ShapeError(
            located(f"random.choice: {count} elements need probabilities of shape ({count},), not {shape_of(p)}")
        )
    p = convert(p, dtypes.result_type(p, 0.0))
    if replace:
        total = fnp.cumsum(p)
        at = fnp.multiply(total[-1], fnp.subtract(1, uniform(key, shape, dtype_of(total))))
        return fnp.searchsorted(total, at)
    noisy = fnp.add(gumbel(key, (count,), dtype_of(p)), fnp.log(p))
    return fnp.top_k(noisy, math.prod(shape))[1]


def categorical(key, logits, axis: int = -1, shape=None):
    """Indices drawn with probabilities softmax(logits) along `axis`: the largest of logits plus Gumbel noise.

    `shape` must end with the shape of `logits` without the axis (the default); axes before it are further samples.
    """
    _check_key("categorical", key)
    logits = fnp.asarray(logits)
    axis = canonical_axis(axis, len(shape_of(logits)), "categorical") - len(shape_of(logits))
    batch = tuple(np.delete(shape_of(logits), axis).tolist())
    shape = batch if shape is None else canonical_shape(shape, "categorical")
    if broadcast_shapes(batch, shape, name="random.categorical") != shape:
        raise ShapeError(located(f"random.categorical: the shape {shape} must end with {batch}"))
    return _categorical(key, logits, axis, shape, len(batch))


@library("axis", "shape", "batch")
def _categorical(key, logits, axis, shape, batch):
    lead, tail = shape[: len(shape) - batch], list(shape[len(shape) - batch :])
    tail.insert(axis % (batch + 1), shape_of(logits)[axis])
    noise = _gumbel(key, (*lead, *tail), dtype_of(logits))
    return fnp.argmax(fnp.add(noise, full_shape(logits, (*lead, *tail))), axis=axis)
