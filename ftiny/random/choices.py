"""Random order and random choice: permutations, samples of given elements, categories.

Input: a key and elements, or how many there are. Output: the elements in random order, or drawn ones:

    >>> permutation(PRNGKey(0), 5)
    Array([0, 1, 4, 3, 2], dtype=int32)
"""

from __future__ import annotations

import math

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, ShapeError
from ftiny.key_arrays import KeyArray
from ftiny.library import library
from ftiny.numpy.common import (
    broadcast_shapes,
    canonical_axis,
    canonical_shape,
    convert,
    dtype_of,
    full_shape,
    shape_of,
)
from ftiny.random.arguments import check_key
from ftiny.random.continuous import gumbel, sample_gumbel
from ftiny.random.keys import random_words
from ftiny.random.uniforms import bits_of, randint, uniform
from ftiny.source import located


def permutation(key, x, axis: int = 0, independent: bool = False):
    """`x` in random order along `axis`, or the numbers 0, ..., x-1 if x is an integer.

    With `independent` every one-dimensional slice along the axis gets an order of its own.
    """
    if isinstance(x, KeyArray):
        order = permutation(key, x.shape[canonical_axis(axis, x.ndim, "permutation")])
        return fnp.take(x, order, axis, mode="promise_in_bounds")
    key = check_key("permutation", key)
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
        first, second = random_words(key, (2,))
        key, subkey = (first[0], second[0]), (first[1], second[1])
        _, x = primitives.sort(bits_of(subkey, shape_of(x), dtypes.uint32), x, axis=axis, num_keys=1, stable=True)
    return x


def choice(key, a, shape=(), replace: bool = True, p=None, axis: int = 0):
    """A sample of `shape` from the elements of `a` along `axis`, or from 0, ..., a-1 if a is an integer.

    `p` are the probabilities of the elements (default: all equal). Raises `ArgumentError` when more are drawn without
    replacement than there are.
    """
    if isinstance(a, KeyArray):
        places = choice(key, a.shape[canonical_axis(axis, a.ndim, "choice")], shape, replace, p)
        return fnp.take(a, places, axis, mode="promise_in_bounds")
    key = check_key("choice", key)
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
    key = check_key("categorical", key)
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
    noise = sample_gumbel(key, (*lead, *tail), dtype_of(logits))
    return fnp.argmax(fnp.add(noise, full_shape(logits, (*lead, *tail))), axis=axis)
