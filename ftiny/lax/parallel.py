"""`ftiny.lax`, collectives: communication between the copies of a function along a named axis.

Input: the value (an array, or a tree of arrays) of this copy, inside `vmap(f, axis_name="i")` or a sharded function.
Output: a value made of those of all copies:

    >>> ftiny.vmap(lambda x: x / psum(x, "i"), axis_name="i")(ftiny.numpy.array([1., 3.]))
    Array([0.25, 0.75], dtype=float32)
"""

from __future__ import annotations

import math

from ftiny import collectives, tree
from ftiny import numpy as fnp
from ftiny.collectives import axis_index, axis_size, pvary
from ftiny.numpy.common import canonical_axis, shape_of

__all__ = [
    "all_gather",
    "all_to_all",
    "axis_index",
    "axis_size",
    "pmax",
    "pmean",
    "pmin",
    "ppermute",
    "pshuffle",
    "psum",
    "psum_scatter",
    "pvary",
]


def _each(function, x):
    return tree.map(function, x)


def psum(x, axis_name):
    """The sum of `x` over the copies along one named axis or several."""
    return _each(lambda leaf: collectives.psum(leaf, axis_name), x)


def pmax(x, axis_name):
    """The elementwise maximum of `x` over the copies."""
    return _each(lambda leaf: collectives.psum(leaf, axis_name, "max"), x)


def pmin(x, axis_name):
    """The elementwise minimum of `x` over the copies."""
    return _each(lambda leaf: collectives.psum(leaf, axis_name, "min"), x)


def pmean(x, axis_name):
    """The mean of `x` over the copies."""
    names = axis_name if isinstance(axis_name, (tuple, list)) else (axis_name,)
    count = math.prod(axis_size(name) for name in names)
    return _each(lambda leaf: fnp.divide(collectives.psum(leaf, axis_name), count), x)


def all_gather(x, axis_name: str, *, axis: int = 0, tiled: bool = False):
    """The values of all copies, stacked along a new axis, or one after another along an existing one (`tiled`)."""
    return _each(lambda leaf: collectives.all_gather(leaf, axis_name, axis, tiled), x)


def psum_scatter(x, axis_name: str, *, scatter_dimension: int = 0, tiled: bool = False):
    """The sum over the copies, of which each keeps its part along `scatter_dimension`."""
    return _each(lambda leaf: collectives.reduce_scatter(leaf, axis_name, scatter_dimension, tiled), x)


def ppermute(x, axis_name: str, perm):
    """Sends the value of copy `source` to copy `target` for each pair (source, target); the others get zeros."""
    return _each(lambda leaf: collectives.ppermute(leaf, axis_name, perm), x)


def pshuffle(x, axis_name: str, perm):
    """Copy i gets the value of copy `perm[i]`."""
    return ppermute(x, axis_name, [(source, target) for target, source in enumerate(perm)])


def all_to_all(x, axis_name: str, split_axis: int, concat_axis: int, *, tiled: bool = False):
    """Deals the parts along `split_axis` out to the copies; each joins what it gets along `concat_axis`."""

    def one(leaf):
        ndim = len(shape_of(leaf))
        split, join = canonical_axis(split_axis, ndim, "all_to_all"), canonical_axis(concat_axis, ndim, "all_to_all")
        return collectives.all_to_all(leaf, axis_name, split, join, tiled)

    return _each(one, x)
