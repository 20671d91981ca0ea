"""Keys: made of seeds, split, and hashed into random words by Threefry-2x32.

Input: a seed or a key (a uint32 array of shape (2,)). Output: keys, or pairs of random 32-bit words:

    >>> split(PRNGKey(0))
    Array([[1797259609, 2579123966],
           [ 928981903, 3453687069]], dtype=uint32)

Word pair i is the hash of the 64-bit counter i under the key (Salmon et al., Parallel Random Numbers: As Easy as 1, 2,
3, 2011), so that each is computed on its own.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from ftiny import dtypes, key_reuse, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError
from ftiny.library import library
from ftiny.numpy.common import canonical_shape, convert, dtype_of, is_array, scalar_literal, shape_of
from ftiny.random.arguments import check_key
from ftiny.source import located


def PRNGKey(seed):
    """A key made from an integer seed (a Python integer of at most 64 bits, or an integer array without axes)."""
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        value = operator.index(seed)
        if not -(2**63) <= value < 2**64:
            raise ArgumentError(located(f"PRNGKey: the seed {value} has more than 64 bits"))
        high = 0 if -(2**31) <= value < 2**32 else value >> 32 & 0xFFFFFFFF
        return key_reuse.new(fnp.asarray(np.array([high, value & 0xFFFFFFFF], np.uint32)))
    if not is_array(seed) or dtypes.kind(dtype_of(seed)) != "int" or shape_of(seed):
        raise DtypeError(located(f"PRNGKey: the seed must be an integer, not {seed!r}"))
    low = primitives.convert(seed, dtype=dtypes.uint32)
    wide = dtype_of(seed).itemsize == 8
    high = primitives.convert(fnp.right_shift(seed, 32), dtype=dtypes.uint32) if wide else fnp.zeros_like(low)
    return key_reuse.new(fnp.stack([high, low]))


key = PRNGKey


def key_data(key):
    """The uint32 array of a key: the key itself."""
    return check_key("key_data", key)


def wrap_key_data(data):
    """A key of its uint32 array: the array itself."""
    return check_key("wrap_key_data", fnp.asarray(data))


def clone(key):
    """`key` itself, to be used again on purpose: the same numbers come of both.

    It says so to `ftiny.debug_key_reuse`, for which the result is a new key.
    """
    return key_reuse.new(check_key("clone", key))


def key_impl(keys) -> str:
    """The name of the generator that a key, or an array of keys of shape (..., 2), belongs to: 'threefry2x32'."""
    if not is_array(keys) or shape_of(keys)[-1:] != (2,) or dtype_of(keys) != dtypes.uint32:
        check_key("key_impl", keys)
    return "threefry2x32"


def key_dtype(impl_spec=None) -> np.dtype:
    """The dtype of keys, of which each is two numbers: uint32.

    impl_spec: None or 'threefry2x32', the one generator here; `ArgumentError` for others.
    """
    if impl_spec not in (None, "threefry2x32"):
        raise ArgumentError(located(f"key_dtype: the generator here is 'threefry2x32', not {impl_spec!r}"))
    return dtypes.uint32


def halves(key):
    """The two words of a key."""
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
def random_words(key, shape):
    """Two random words for each number 0, 1, ...; `key` is a key or a pair of its halves."""
    return tuple(primitives.threefry2x32(*(key if isinstance(key, tuple) else halves(key)), *_counters(shape)))


def split(key, num: int | tuple[int, ...] = 2):
    """`num` new keys (an integer, or a shape of keys): an array of shape (num, 2)."""
    check_key("split", key)
    return key_reuse.derived(key, split_key(key, canonical_shape(num, "split")))


@library("shape")
def split_key(key, shape):
    """`split` without its checks."""
    first, second = random_words(key, shape)
    return fnp.stack([first, second], axis=len(shape))


@library()
def fold_in(key, data):
    """A new key of a key and an integer, for example the number of a step or a layer."""
    check_key("fold_in", key)
    if not is_array(data) or shape_of(data) != ():
        raise ArgumentError(located(f"random.fold_in: data must be an integer without axes, not {data!r}"))
    number = scalar_literal(data, dtypes.uint32) if isinstance(data, int) else convert(data, dtypes.uint32)
    first, second = primitives.threefry2x32(*halves(key), np.uint32(0), number)
    return key_reuse.derived(key, fnp.stack([first, second]))
