"""Operators, properties and methods of arrays, installed on `core.ArrayLike` so that arrays and tracers share them.

Input: nothing; importing this module installs. Output: `x + y`, `x[i]`, `x.T`, `x.at[i].set(v)`, `x.sum()`, ...

    >>> (ftiny.numpy.arange(6).reshape(2, 3).T + 1).shape
    (3, 2)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftiny import core
from ftiny.errors import TracerError
from ftiny.numpy import contractions, indexing, manipulation, namespace_info, reductions, searching, sorting, ufuncs
from ftiny.numpy.common import is_array
from ftiny.numpy.creation import copy, diagonal, trace
from ftiny.source import located

_BINARY: dict[str, Callable] = {
    "add": ufuncs.add,
    "sub": ufuncs.subtract,
    "mul": ufuncs.multiply,
    "truediv": ufuncs.divide,
    "floordiv": ufuncs.floor_divide,
    "mod": ufuncs.remainder,
    "divmod": ufuncs.divmod,
    "pow": ufuncs.power,
    "matmul": contractions.matmul,
    "and": ufuncs.bitwise_and,
    "or": ufuncs.bitwise_or,
    "xor": ufuncs.bitwise_xor,
    "lshift": ufuncs.left_shift,
    "rshift": ufuncs.right_shift,
}
_COMPARE: dict[str, Callable] = {
    "eq": ufuncs.equal,
    "ne": ufuncs.not_equal,
    "lt": ufuncs.less,
    "le": ufuncs.less_equal,
    "gt": ufuncs.greater,
    "ge": ufuncs.greater_equal,
}
_UNARY: dict[str, Callable] = {
    "neg": ufuncs.negative,
    "pos": ufuncs.positive,
    "abs": ufuncs.abs,
    "invert": ufuncs.invert,
}
_METHODS: dict[str, Callable] = {
    "sum": reductions.sum,
    "prod": reductions.prod,
    "mean": reductions.mean,
    "var": reductions.var,
    "std": reductions.std,
    "min": reductions.min,
    "max": reductions.max,
    "all": reductions.all,
    "any": reductions.any,
    "argmin": reductions.argmin,
    "argmax": reductions.argmax,
    "ptp": reductions.ptp,
    "cumsum": reductions.cumsum,
    "cumprod": reductions.cumprod,
    "dot": contractions.dot,
    "sort": sorting.sort,
    "argsort": sorting.argsort,
    "take": indexing.take,
    "nonzero": indexing.nonzero,
    "searchsorted": searching.searchsorted,
    "round": ufuncs.round,
    "clip": ufuncs.clip,
    "conj": ufuncs.conj,
    "conjugate": ufuncs.conj,
    "astype": manipulation.astype,
    "ravel": manipulation.ravel,
    "squeeze": manipulation.squeeze,
    "swapaxes": manipulation.swapaxes,
    "repeat": manipulation.repeat,
    "diagonal": diagonal,
    "trace": trace,
    "copy": copy,
}


def _forward(function: Callable) -> Callable:
    def method(self, other):
        return function(self, other) if is_array(other) else NotImplemented

    return method


def _backward(function: Callable) -> Callable:
    def method(self, other):
        return function(other, self) if is_array(other) else NotImplemented

    return method


def _method(name: str, function: Callable) -> Callable:
    def method(self, *args, **kwargs):
        # numpy.sum(x) and its like call x.sum(axis=..., out=None).
        if "out" in kwargs and kwargs["out"] is None:
            del kwargs["out"]
        return function(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, function.__doc__
    return method


def _reshape(self, *shape, order: str = "C"):
    """The elements in a new shape, given as one tuple or as several integers; see `ftiny.numpy.reshape`."""
    return manipulation.reshape(self, shape[0] if len(shape) == 1 else shape, order)


def _transpose(self, *axes):
    """The axes in another order, given as one tuple or as several integers (default: reversed)."""
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return manipulation.transpose(self, axes or None)


def _flatten(self, order: str = "C"):
    """The elements in one row."""
    return manipulation.ravel(self, order)


def _view(self, dtype):
    """The same bits read as another dtype; of a different size, the last axis changes with it."""
    from ftiny.lax import bitcast_view

    return bitcast_view(self, dtype)


def _compress(self, condition, axis: int | None = None):
    """The slices along `axis` at which the vector `condition` (concrete) is true; see `ftiny.numpy.compress`."""
    return indexing.compress(condition, self, axis)


def _array_namespace(self, *, api_version: str | None = None):
    """The module of the array functions, by the Python array API standard; see `namespace_info.namespace`."""
    return namespace_info.namespace(api_version)


def _length(self) -> int:
    if not self.aval.shape:
        raise TracerError(located("len() of an array of shape (), which has no axis"))
    return self.aval.shape[0]


def _iterate(self):
    if not self.aval.shape:
        raise TracerError(located("an array without axes cannot be iterated over"))
    return iter(manipulation.unstack(self))


def _contains(self, value):
    return bool(reductions.any(ufuncs.equal(self, value)))


def _set_item(self, index, value):
    raise TracerError(located("arrays never change; write x = x.at[index].set(value) instead of x[index] = value"))


_PROPERTIES: dict[str, tuple[Callable, str]] = {
    "T": (lambda self: manipulation.transpose(self), "The array with its axes reversed."),
    "mT": (lambda self: manipulation.matrix_transpose(self), "The array with its last two axes exchanged."),
    "at": (lambda self: indexing.IndexUpdate(self), "Functional updates: `x.at[index].set(values)`."),
    "real": (lambda self: ufuncs.real(self), "The real part."),
    "imag": (lambda self: ufuncs.imag(self), "The imaginary part."),
    "flat": (lambda self: iter(manipulation.unstack(manipulation.ravel(self))), "An iterator over the elements."),
}


def install(cls: type) -> None:
    """Give `cls` the operators, properties and methods of arrays."""
    members: dict[str, Any] = {}
    for name, function in _BINARY.items():
        members[f"__{name}__"], members[f"__r{name}__"] = _forward(function), _backward(function)
    members.update({f"__{name}__": _forward(function) for name, function in _COMPARE.items()})
    members.update({f"__{name}__": (lambda self, f=function: f(self)) for name, function in _UNARY.items()})
    members.update(
        __getitem__=indexing.getitem,
        __setitem__=_set_item,
        __len__=_length,
        __iter__=_iterate,
        __contains__=_contains,
        __array_namespace__=_array_namespace,
        reshape=_reshape,
        transpose=_transpose,
        flatten=_flatten,
        view=_view,
        compress=_compress,
    )
    for name, function in _METHODS.items():
        members[name] = _method(name, function)
    for name, (function, text) in _PROPERTIES.items():
        members[name] = property(function, doc=text)
    for name, member in members.items():
        if name not in cls.__dict__:
            setattr(cls, name, member)


install(core.ArrayLike)
