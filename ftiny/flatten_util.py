"""A pytree as one vector and back, for optimisers and solvers that know vectors only.

    >>> vector, unravel = ravel_pytree({"w": ftiny.numpy.ones((2, 2)), "b": ftiny.numpy.zeros(1)})
    >>> vector, unravel(vector)["w"].shape
    (Array([0., 1., 1., 1., 1.], dtype=float32), (2, 2))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ftiny.numpy as jnp
from ftiny import core, tree
from ftiny.errors import ShapeError
from ftiny.source import located

__all__ = ["ravel_pytree"]


def ravel_pytree(pytree: Any) -> tuple[Any, Callable]:
    """`(vector, unravel)`: all elements of the leaves in order, in their common dtype, and the way back.

    `unravel(vector)` gives a tree of the same structure, shapes and dtypes; it may be transformed as any function.
    Without leaves the vector is an empty float32 one. `unravel` raises `ShapeError` for a vector of another length.
    """
    leaves, structure = tree.flatten(pytree)
    avals = [core.get_aval(x) for x in leaves]
    sizes = [math.prod(aval.shape) for aval in avals]
    total = sum(sizes)

    def unravel(vector):
        """The tree of the elements of a vector."""
        if core.get_aval(vector).shape != (total,):
            raise ShapeError(located(
                f"unravel takes a vector of shape ({total},), the elements of a tree with leaves of shapes "
                f"{[aval.shape for aval in avals]}, not an array of shape {core.get_aval(vector).shape}"))
        found, start = [], 0
        for aval, size in zip(avals, sizes):
            found.append(jnp.reshape(vector[start : start + size], aval.shape).astype(aval.dtype))
            start += size
        return tree.unflatten(structure, found)

    if not leaves:
        return jnp.zeros((0,), "float32"), unravel
    return jnp.concatenate([jnp.ravel(jnp.asarray(x)) for x in leaves]), unravel
