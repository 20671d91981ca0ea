"""Keys: made of seeds, split, and hashed into random words by Threefry-2x32.

Input: a seed or a key. Output: keys, or pairs of random 32-bit words:

    >>> split(PRNGKey(0))
    Array([[1797259609, 2579123966],
           [ 928981903, 3453687069]], dtype=uint32)

A key is two words. `PRNGKey` gives them raw, as a uint32 array of shape (2,), `key` as a typed key of shape (), which
cannot be taken for numbers (`ftiny/key_arrays.py`). Every function takes both; what it makes of a key is of its kind.
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
from ftiny.key_arrays import KEY, KeyArray
from ftiny.library import library
from ftiny.numpy.common import canonical_shape, convert, dtype_of, is_array, scalar_literal, shape_of
from ftiny.random.arguments import check_key, like, words_of
from ftiny.source import located

IMPLEMENTATION = "threefry2x32"


def PRNGKey(seed, *, impl=None):
    """A raw key, a uint32 array of shape (2,), made from an integer seed.

    seed: a Python integer of at most 64 bits, or an integer array without axes. impl: None or 'threefry2x32', the one
    generator here; `ArgumentError` for others.
    """
    return _words_of_seed("PRNGKey", seed, impl)


def key(seed, *, impl=None) -> KeyArray:
    """A typed key, of shape () and dtype `key<fry>`, of an integer seed; the arguments are those of `PRNGKey`."""
    return KeyArray(_words_of_seed("key", seed, impl))


def _words_of_seed(name: str, seed, impl):
    _check_implementation(name, impl)
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        value = operator.index(seed)
        if not -(2**63) <= value < 2**64:
            raise ArgumentError(located(f"{name}: the seed {value} has more than 64 bits"))
        high = 0 if -(2**31) <= value < 2**32 else value >> 32 & 0xFFFFFFFF
        return key_reuse.new(fnp.asarray(np.array([high, value & 0xFFFFFFFF], np.uint32)))
    if not is_array(seed) or dtypes.kind(dtype_of(seed)) != "int" or shape_of(seed):
        raise DtypeError(located(f"{name}: the seed must be an integer, not {seed!r}"))
    low = primitives.convert(seed, dtype=dtypes.uint32)
    wide = dtype_of(seed).itemsize == 8
    high = primitives.convert(fnp.right_shift(seed, 32), dtype=dtypes.uint32) if wide else fnp.zeros_like(low)
    return key_reuse.new(fnp.stack([high, low]))


def _check_implementation(name: str, impl) -> None:
    if impl not in (None, IMPLEMENTATION):
        raise ArgumentError(located(f"{name}: the generator here is {IMPLEMENTATION!r}, not {impl!r}"))


def key_data(keys):
    """The uint32 array of keys of any shape, which has an axis of size 2 more; raw keys as they are."""
    return words_of("key_data", keys)


def wrap_key_data(key_bits_array, *, impl=None) -> KeyArray:
    """The typed keys of a uint32 array of shape (..., 2); `impl` as in `PRNGKey`."""
    _check_implementation("wrap_key_data", impl)
    if isinstance(key_bits_array, KeyArray):
        raise ArgumentError(located("wrap_key_data: the argument is a typed key already; leave the call out"))
    return KeyArray(fnp.asarray(words_of("wrap_key_data", key_bits_array)))


def clone(key):
    """`key` itself, to be used again on purpose: the same numbers come of both. Keys of any shape.

    It says so to `ftiny.debug_key_reuse`, for which the result is a new key.
    """
    return like(key, key_reuse.new(words_of("clone", key)))


def key_impl(keys) -> str:
    """The name of the generator that keys of any shape, typed or raw, belong to: 'threefry2x32'."""
    words_of("key_impl", keys)
    return IMPLEMENTATION


def key_dtype(impl_spec=None) -> dtypes.KeyDtype:
    """The dtype of typed keys, `key<fry>`; `impl_spec` is what `impl` is in `PRNGKey`."""
    _check_implementation("key_dtype", impl_spec)
    return KEY


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
    """`num` new keys (an integer, or a shape of keys): typed ones of that shape, or a raw array of shape (num, 2)."""
    words = check_key("split", key)
    return like(key, key_reuse.derived(words, split_key(words, canonical_shape(num, "split"))))


@library("shape")
def split_key(key, shape):
    """`split` without its checks."""
    first, second = random_words(key, shape)
    return fnp.stack([first, second], axis=len(shape))


def fold_in(key, data):
    """A new key of a key and an integer, for example the number of a step or a layer."""
    words = check_key("fold_in", key)
    if not is_array(data) or shape_of(data) != ():
        raise ArgumentError(located(f"random.fold_in: data must be an integer without axes, not {data!r}"))
    return like(key, key_reuse.derived(words, _fold_in(words, data)))


@library()
def _fold_in(key, data):
    number = scalar_literal(data, dtypes.uint32) if isinstance(data, int) else convert(data, dtypes.uint32)
    first, second = primitives.threefry2x32(*halves(key), np.uint32(0), number)
    return fnp.stack([first, second])
