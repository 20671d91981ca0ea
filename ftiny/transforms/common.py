"""What the transformations share: user functions seen as functions of leaves, and zeros.

Input: a Python function of pytrees. Output: a function of flat leaves that remembers the structure of its result:

    >>> flat = FlatFunction(lambda p: {"y": p[0] * p[1]}, structure(((2.0, 3.0),)))
    >>> flat(2.0, 3.0), flat.out_structure
    ([6.0], PyTreeSpec({'y': *}))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, dtypes, primitives
from ftiny.core import ZERO, Aval
from ftiny.errors import ArgumentError, DtypeError, ShapeError, TracerError
from ftiny.source import located


def is_array(x) -> bool:
    """Whether `x` is a leaf that transformations take: an array, a tracer, a numpy array or a Python number."""
    return isinstance(x, (core.ArrayLike, np.ndarray, np.generic, bool, int, float, complex))


def canonical(x):
    """A Python number as the numpy scalar of its default dtype; everything else as it is."""
    if isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic):
        return np.asarray(x, core.get_aval(x).dtype)[()]
    return x


class FlatFunction:
    """A function of `(*args, **kwargs)` as a function of leaves; `out_structure` is known after a call."""

    def __init__(self, function: Callable, structure: tree.PyTreeDef, has_keywords: bool = False):
        self.function, self.structure, self.has_keywords = function, structure, has_keywords
        self.out_structure: Any = None

    def __call__(self, *leaves) -> list:
        """The leaves of the result."""
        arguments = tree.unflatten(self.structure, leaves)
        if self.has_keywords:
            result = self.function(*arguments[0], **arguments[1])
        else:
            result = self.function(*arguments)
        return self.flatten_result(result)

    def flatten_result(self, result) -> list:
        """The leaves of `result`, each checked to be an array; remembers the structure."""
        leaves, self.out_structure = tree.flatten(result)
        if not all(map(is_array, leaves)):
            for path, leaf in tree.leaves_with_path(result):
                if not is_array(leaf):
                    raise TracerError(
                        located(
                            f"{name_of(self.function)} returned a {type(leaf).__name__} at result{tree.keystr(path)}: "
                            f"{str(leaf)[:60]!r}. A transformed function returns arrays in tuples, lists, dicts or "
                            "registered containers"
                        )
                    )
        return leaves


def name_of(function) -> str:
    """The name of a function for a message."""
    return getattr(function, "__name__", None) or type(function).__name__


def check_leaves(what: str, arguments: Sequence) -> None:
    """Raise `TracerError` naming the argument and path of the first leaf that is no array."""
    for position, argument in enumerate(arguments):
        for path, leaf in tree.leaves_with_path(argument):
            if not is_array(leaf):
                raise TracerError(
                    located(
                        f"{what}: argument {position}{tree.keystr(path)} is a {type(leaf).__name__}, which is not an "
                        f"array: {str(leaf)[:60]!r}; convert it with ftiny.numpy.asarray, or mark the argument as "
                        "static (static_argnums of jit)"
                    )
                )


def positional(argnums, count: int, what: str) -> tuple[int, ...]:
    """`argnums` as a tuple of positions in `range(count)`. Raises `ArgumentError`."""
    listed = tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,)
    for position in listed:
        if not isinstance(position, (int, np.integer)) or isinstance(position, bool):
            raise ArgumentError(located(f"{what}: argnums must be integers, not {position!r}"))
        if not -count <= position < count:
            raise ArgumentError(
                located(
                    f"{what}: argnums names argument {position}, but the function was called with {count} positional "
                    "arguments (pass the argument by position, not by keyword)"
                )
            )
    return tuple(int(position) % count for position in listed)


# ---- zeros ------------------------------------------------------------------------------------------------------


def zeros(aval: Aval):
    """An array of zeros, bound under the current trace."""
    return primitives.broadcast(np.zeros((), aval.dtype)[()], shape=aval.shape, dims=())


def instantiate(tangent, aval: Aval):
    """The tangent itself, or zeros of its aval for the symbolic zero."""
    return zeros(aval) if tangent is ZERO else tangent


def differentiable(aval: Aval) -> bool:
    """Whether values of this aval carry a derivative: floats and complex numbers do."""
    return dtypes.is_inexact(aval.dtype)


def check_matches(what: str, value, aval: Aval, expected: str) -> None:
    """Raise unless `value` has the shape and the dtype of `aval`; a Python number stands for any dtype of its kind."""
    found = core.get_aval(value)
    if found.shape != aval.shape:
        raise ShapeError(located(f"{what} has shape {found.shape}, but {expected} has shape {aval.shape}"))
    if found.dtype != aval.dtype and not (
        found.scalar and dtypes.adopt(aval.dtype, dtypes.kind(found.dtype)) == aval.dtype
    ):
        raise DtypeError(
            located(f"{what} has dtype {found.dtype}, but {expected} has dtype {aval.dtype}; convert it with .astype")
        )


def as_dtype(value, aval: Aval):
    """A Python number as a numpy scalar of the aval's dtype; arrays as they are (they were checked)."""
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        return np.asarray(value, aval.dtype)[()]
    return value
