"""Functions that move, join, choose or compare elements, for typed keys too (`ftiny/key_arrays.py`).

Input: such a function of arrays. Output: the same function that also takes keys, as `ftiny.numpy` and `ftiny.lax`
export it:

    >>> stack([ftiny.random.key(0), ftiny.random.key(1)]).shape
    (2,)

The two words of a key become one 64-bit number, so that the function meets keys as elements, with the shape and the
axes that the user sees, and its results become keys again. Keys and numbers do not mix: that raises `DtypeError`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ftiny import core, dtypes
from ftiny.errors import DtypeError, TracerError
from ftiny.key_arrays import KEY, KeyArray
from ftiny.numpy import indexing, manipulation, ufuncs
from ftiny.numpy.common import convert, is_array
from ftiny.source import located

# The names of the parameters that take the elements, for every function that takes keys.
TAKES_KEYS = {
    **dict.fromkeys(
        "reshape ravel expand_dims squeeze transpose permute_dims matrix_transpose swapaxes moveaxis rollaxis flip "
        "flipud fliplr rot90 roll broadcast_to tile repeat take take_along_axis diagonal copy split array_split vsplit "
        "hsplit dsplit unstack compress".split(),
        ("x",),
    ),
    **dict.fromkeys("concatenate concat stack vstack hstack dstack column_stack".split(), ("xs",)),
    **dict.fromkeys("atleast_1d atleast_2d atleast_3d broadcast_arrays".split(), ("xs",)),
    **dict.fromkeys("equal not_equal".split(), ("x", "y")),
    "array_equal": ("x", "y"),
    "where": ("x", "y"),
    "append": ("x", "values"),
    "delete": ("arr",),
    "insert": ("arr", "values"),
    "select": ("choicelist", "default"),
    "block": ("arrays",),
}


def packed(keys: KeyArray):
    """Keys as uint64 numbers of the same shape."""
    high, low = (convert(indexing.getitem(keys.words, (..., half)), dtypes.uint64) for half in (0, 1))
    return ufuncs.bitwise_or(ufuncs.left_shift(high, np.uint64(32)), low)


def unpacked(numbers) -> KeyArray:
    """The keys that `packed` made numbers of."""
    halves = ufuncs.right_shift(numbers, np.uint64(32)), numbers
    return KeyArray(manipulation.stack([convert(half, dtypes.uint32) for half in halves], axis=-1))


def for_keys(namespace: dict[str, Any], table: dict[str, tuple[str, ...]]) -> dict[str, Callable]:
    """The functions of a namespace that the table names, each taking keys for the parameters named there."""
    made: dict[Callable, Callable] = {}  # two names of one function stay one
    for name, parameters in table.items():
        function = namespace[name]
        made.setdefault(function, _with_keys(name, function, parameters))
    return {name: made[namespace[name]] for name in table}


def _with_keys(name: str, function: Callable, parameters: tuple[str, ...]) -> Callable:
    @functools.wraps(function)
    def call(*args, **kwargs):
        # Arrays pay nothing for a question about keys: a key makes the function raise.
        try:
            return function(*args, **kwargs)
        except (TracerError, TypeError):
            if not _has_key((args, kwargs)):
                raise
        bound = inspect.signature(function).bind(*args, **kwargs)
        for parameter in parameters:
            if parameter in bound.arguments:
                bound.arguments[parameter] = _numbers(name, bound.arguments[parameter])
        return _keys(function(*bound.args, **bound.kwargs))

    return call


def _has_key(value) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    return any(map(_has_key, value)) if isinstance(value, (list, tuple)) else isinstance(value, KeyArray)


def _numbers(name: str, value):
    """Keys, or nested sequences of keys, as numbers. Raises `DtypeError` for anything else among them."""
    if isinstance(value, (list, tuple)):
        return type(value)(_numbers(name, x) for x in value)
    if not isinstance(value, KeyArray):
        raise DtypeError(
            located(
                f"{name}: typed keys ({KEY}) do not mix with other elements, but one is {value!r}; make it a key with "
                "ftiny.random.wrap_key_data, or the keys numbers with ftiny.random.key_data"
            )
        )
    return packed(value)


def _keys(result):
    """A result of numbers that were keys as keys; the answer of a comparison as it is."""
    if isinstance(result, (list, tuple)):
        return type(result)(map(_keys, result))
    return unpacked(result) if isinstance(result, core.ArrayLike) and result.dtype == dtypes.uint64 else result


def shape_of_keys(function: Callable) -> Callable:
    """`ndim`, `shape` or `size`, also of keys, whose words are not asked for."""

    @functools.wraps(function)
    def call(x, *args, **kwargs):
        try:
            return function(x, *args, **kwargs)
        except TracerError:
            if not isinstance(x, KeyArray):
                raise
        return function(np.broadcast_to(np.uint64(0), x.shape), *args, **kwargs)

    return call


# ---- what keys have of arrays ------------------------------------------------------------------------------------


def _install() -> None:
    equal, not_equal = (_with_keys(f.__name__, f, ("x", "y")) for f in (ufuncs.equal, ufuncs.not_equal))

    def comparison(function: Callable):
        def method(self, other):
            return function(self, other) if isinstance(other, KeyArray) or is_array(other) else NotImplemented

        return method

    def reshape(self, *shape):
        return _with_keys("reshape", manipulation.reshape, ("x",))(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes):
        axes = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))) else axes
        return _with_keys("transpose", manipulation.transpose, ("x",))(self, axes or None)

    KeyArray.__eq__, KeyArray.__ne__ = comparison(equal), comparison(not_equal)  # type: ignore[method-assign]
    methods = {
        "reshape": reshape,
        "transpose": transpose,
        "ravel": _with_keys("ravel", manipulation.ravel, ("x",)),
        "flatten": _with_keys("flatten", manipulation.ravel, ("x",)),
        "squeeze": _with_keys("squeeze", manipulation.squeeze, ("x",)),
        "swapaxes": _with_keys("swapaxes", manipulation.swapaxes, ("x",)),
        "take": _with_keys("take", indexing.take, ("x",)),
        "T": property(transpose),
    }
    for name, method in methods.items():
        setattr(KeyArray, name, method)


_install()
