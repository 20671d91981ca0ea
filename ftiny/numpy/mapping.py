"""Functions of elements made functions of arrays: `vectorize`, `piecewise`, `frompyfunc`, `apply_along_axis`, ...

Input: a Python function of numbers or of small arrays. Output: one of arrays, whose leading axes broadcast; it is made
of `ftiny.vmap`, so it is traced, differentiated and compiled like any other:

    >>> distance = vectorize(lambda u, v: ftiny.numpy.sum((u - v) ** 2), signature="(k),(k)->()")
    >>> distance(ftiny.numpy.ones((4, 1, 3)), ftiny.numpy.zeros((5, 3))).shape
    (4, 5)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ftiny import dtypes, tree
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy.common import (
    broadcast_shapes,
    canonical_axis,
    canonical_shape,
    check_array,
    convert,
    dtype_of,
    shape_of,
)
from ftiny.numpy.creation import arange, asarray, full
from ftiny.numpy.indexing import where as where_of
from ftiny.numpy.manipulation import broadcast_to, concatenate, expand_dims, moveaxis, reshape, slice_axis, squeeze
from ftiny.source import located
from ftiny.transforms.scan import scan
from ftiny.transforms.vmap import vmap

# ---- signatures ------------------------------------------------------------------------------------------------

_TERM = r"\([\s\w,]*\)"
_SIDE = rf"\s*(?:{_TERM}\s*(?:,\s*{_TERM}\s*)*)?"


def _parse_signature(signature: str) -> list[list[tuple[str, ...]]]:
    """The names of the core axes of each argument and of each result: "(m,n),(n)->(m)"."""
    if not re.fullmatch(rf"{_SIDE}->{_SIDE}", signature):
        raise ArgumentError(located(f"vectorize: {signature!r} is no signature like '(m,n),(n)->(m)'"))
    return [[tuple(re.findall(r"\w+", term)) for term in re.findall(_TERM, side)] for side in signature.split("->")]


def _note_sizes(sizes: dict[str, int], what: str, shape: tuple[int, ...], names: Sequence[str], signature) -> None:
    """Enter the sizes of the core axes, the last ones of `shape`. Raises `ShapeError` where they do not fit."""
    if len(shape) < len(names):
        raise ShapeError(
            located(f"vectorize: {what} of shape {shape} has fewer axes than {names} in the signature {signature!r}")
        )
    for name, extent in zip(names, shape[len(shape) - len(names) :]):
        if sizes.setdefault(name, extent) != extent:
            raise ShapeError(
                located(
                    f"vectorize: {what} of shape {shape}: axis {name!r} of the signature {signature!r} has size "
                    f"{extent}, elsewhere {sizes[name]}"
                )
            )


def _checked(function: Callable, sizes: dict[str, int], results: list[tuple[str, ...]], signature) -> Callable:
    """`function`, with the shapes of its results compared with the signature."""

    def call(*args):
        out = function(*args)
        parts = out if isinstance(out, tuple) else (out,)
        if len(parts) != len(results):
            raise ArgumentError(
                located(f"vectorize: the function has {len(parts)} results, the signature {signature!r} {len(results)}")
            )
        known = dict(sizes)
        for number, (part, names) in enumerate(zip(parts, results)):
            if len(shape_of(part)) != len(names):
                raise ShapeError(
                    located(
                        f"vectorize: result {number} of shape {shape_of(part)} has not the axes {names} of the "
                        f"signature {signature!r}"
                    )
                )
            _note_sizes(known, f"result {number}", shape_of(part), names, signature)
        return out

    return call


# ---- vectorize -------------------------------------------------------------------------------------------------


def vectorize(pyfunc: Callable, *, excluded: Collection[int | str] = frozenset(), signature: str | None = None):
    """`pyfunc`, a function of numbers, as a function of arrays that broadcast against each other.

    With a `signature` such as "(m,n),(n)->(m)" it is a function of arrays of these core axes, which are the last ones
    of each argument; the axes before them broadcast, and come first in the results. `excluded` are the positions and
    names of arguments that are handed on as they are, as None is; others must be given by position. Raises `ShapeError`
    when sizes do not fit the signature.
    """
    for entry in excluded:
        if not isinstance(entry, (int, str)) or isinstance(entry, int) and entry < 0:
            raise ArgumentError(
                located(f"vectorize: excluded has positions (from 0) and names of arguments, not {entry!r}")
            )
    parsed = None if signature is None else _parse_signature(signature)

    @functools.wraps(pyfunc)
    def vectorized(*args, **kwargs):
        for name in kwargs:
            if name not in excluded:
                raise ArgumentError(
                    located(f"vectorize: give the argument {name!r} by position, or name it in excluded to hand it on")
                )
        mapped = [i for i in range(len(args)) if i not in excluded and args[i] is not None]

        def function(*values):
            filled = list(args)
            for position, value in zip(mapped, values):
                filled[position] = value
            return pyfunc(*filled, **kwargs)

        cores = _core_axes(args, mapped, excluded, parsed, signature)
        check_array("vectorize", *(args[i] for i in mapped))
        arrays = [asarray(args[i]) for i in mapped]
        sizes: dict[str, int] = {}
        for position, x, names in zip(mapped, arrays, cores):
            _note_sizes(sizes, f"argument {position}", shape_of(x), names, signature)
        if parsed is not None:
            function = _checked(function, sizes, parsed[1], signature)
        return _broadcast_call(function, arrays, [len(names) for names in cores])

    return vectorized


def _core_axes(args, mapped: list[int], excluded, parsed, signature) -> list[tuple[str, ...]]:
    """The names of the core axes of each mapped argument."""
    if parsed is None:
        return [()] * len(mapped)
    given = [i for i in range(len(args)) if i not in excluded]
    if len(given) != len(parsed[0]):
        raise ArgumentError(
            located(f"vectorize: {len(given)} arguments for the {len(parsed[0])} of the signature {signature!r}")
        )
    named = dict(zip(given, parsed[0]))
    for position in set(given) - set(mapped):
        if named[position]:
            raise ArgumentError(located(f"vectorize: argument {position} is None, but the signature gives it axes"))
    return [named[position] for position in mapped]


def _broadcast_call(function: Callable, arrays: list, core_ndims: list[int]):
    """`function` mapped over the leading axes of the arrays: one `vmap` for each axis that is larger than 1 in some."""
    lead = [shape_of(x)[: len(shape_of(x)) - n] for x, n in zip(arrays, core_ndims)]
    shape = broadcast_shapes(*lead, name="vectorize")
    lead = [(1,) * (len(shape) - len(s)) + s for s in lead]
    added = []
    for axis in reversed(range(len(shape))):
        in_axes = tuple(None if s[axis] == 1 else 0 for s in lead)
        if all(place is None for place in in_axes):
            added.append(axis)
        else:
            function = vmap(function, in_axes=in_axes)
    # An axis of size 1 broadcasts by not being mapped over.
    cores = [shape_of(x)[len(shape_of(x)) - n :] for x, n in zip(arrays, core_ndims)]
    dense = [reshape(x, (*(extent for extent in s if extent != 1), *core)) for x, s, core in zip(arrays, lead, cores)]
    result = function(*dense)
    return tree.map(lambda part: expand_dims(part, tuple(added)), result) if added else result


def fromfunction(function: Callable, shape, *, dtype=float, **kwargs):
    """The array of this shape whose elements are `function` of their indices, which are numbers of `dtype`.

    `kwargs` are handed on. A function whose result is an array adds its axes at the end.
    """
    extents = canonical_shape(shape, "fromfunction")
    wanted = dtypes.dtype(dtype)
    places = [
        reshape(arange(n, dtype=wanted), tuple(n if a == axis else 1 for a in range(len(extents))))
        for axis, n in enumerate(extents)
    ]
    return vectorize(lambda *indices: function(*indices, **kwargs))(*places)


def piecewise(x, condlist, funclist, *args, **kw):
    """Elementwise the function of `x` whose condition is true (the last such), converted to the dtype of `x`.

    `funclist` has a function or a number for each condition, and may have one more, for where none is true (default 0).
    `args` and `kw` are handed on to the functions, which are computed everywhere.
    """
    check_array("piecewise", x, *condlist)
    x, conditions, choices = asarray(x), list(condlist), list(funclist)
    if len(choices) not in (len(conditions), len(conditions) + 1):
        raise ArgumentError(
            located(f"piecewise: {len(conditions)} conditions take as many functions or one more, not {len(choices)}")
        )
    otherwise = choices.pop() if len(choices) > len(conditions) else 0

    def value(choice):
        found = vectorize(lambda element: choice(element, *args, **kw))(x) if callable(choice) else choice
        return convert(found, dtype_of(x))

    result = broadcast_to(value(otherwise), shape_of(x))
    for condition, choice in zip(conditions, choices):
        result = where_of(condition, value(choice), result)
    return result


def apply_over_axes(func: Callable, a, axes: Sequence[int]):
    """`func(a, axis)` for one axis after the other; where it drops the axis, that comes back with size 1."""
    check_array("apply_over_axes", a)
    a = asarray(a)
    for axis in axes if isinstance(axes, (tuple, list)) else (axes,):
        place = canonical_axis(axis, len(shape_of(a)), "apply_over_axes")
        result = func(a, place)
        if len(shape_of(result)) not in (len(shape_of(a)), len(shape_of(a)) - 1):
            raise ShapeError(
                located(
                    f"apply_over_axes: the function made shape {shape_of(result)} of {shape_of(a)}; it may drop an axis"
                )
            )
        a = result if len(shape_of(result)) == len(shape_of(a)) else expand_dims(result, place)
    return a


# ---- functions with methods ------------------------------------------------------------------------------------


class ufunc:  # noqa: N801
    """A function of `nin` numbers with `nout` results, made by `frompyfunc`: call it with arrays, which broadcast.

    A function of two numbers with one result also has `outer`, `reduce` and `accumulate`. `identity`, if there is one,
    is the value that changes nothing; reductions of no elements give it.
    """

    def __init__(self, func: Callable, nin: int, nout: int, *, identity: Any = None):
        self.nin, self.nout, self.nargs, self.identity = nin, nout, nin + nout, identity
        self._function = vectorize(func)
        functools.update_wrapper(self, func)

    def __call__(self, *args):
        """The function of each element. Raises `ArgumentError` for another number of arguments than `nin`."""
        if len(args) != self.nin:
            raise ArgumentError(located(f"{self!r} takes {self.nin} arguments, not {len(args)}"))
        return self._function(*args)

    def __repr__(self) -> str:
        return f"<ftiny.numpy.ufunc {getattr(self, '__name__', '?')!r}>"

    def _require_binary(self, method: str) -> None:
        if (self.nin, self.nout) != (2, 1):
            raise ArgumentError(
                located(f"{self!r}.{method} needs 2 arguments and 1 result; there are {self.nin} and {self.nout}")
            )

    def outer(self, x, y):
        """The function of every element of `x` with every element of `y`: shape (*x.shape, *y.shape)."""
        self._require_binary("outer")
        check_array("outer", x, y)
        return self(reshape(x, (*shape_of(x), *(1,) * len(shape_of(y)))), y)

    def reduce(self, x, axis: int = 0, dtype=None, keepdims: bool = False, initial=None):
        """The function applied between the elements along `axis`, from the first to the last, after `initial`."""
        self._require_binary("reduce")
        x, axis = self._leading("reduce", x, axis, dtype)
        start = self.identity if initial is None else initial
        if start is None:
            if shape_of(x)[0] == 0:
                raise ShapeError(located(f"{self!r}.reduce of no elements needs initial="))
            carry, rest = squeeze(slice_axis(x, 0, 0, 1), 0), slice_axis(x, 0, 1, shape_of(x)[0])
        else:
            carry, rest = full(shape_of(x)[1:], start, dtype_of(x)), x
        result = scan(lambda total, element: (convert(self(total, element), dtype_of(x)), None), carry, rest)[0]
        return expand_dims(result, axis) if keepdims else result

    def accumulate(self, x, axis: int = 0, dtype=None):
        """The results of `reduce` of the first element along `axis`, of the first two, and so on."""
        self._require_binary("accumulate")
        x, axis = self._leading("accumulate", x, axis, dtype)
        if shape_of(x)[0] == 0:
            return moveaxis(x, 0, axis)

        def step(total, element):
            total = convert(self(total, element), dtype_of(x))
            return total, total

        first = slice_axis(x, 0, 0, 1)
        later = scan(step, squeeze(first, 0), slice_axis(x, 0, 1, shape_of(x)[0]))[1]
        return moveaxis(concatenate([first, later], 0), 0, axis)

    def _leading(self, method: str, x, axis: int, dtype):
        """`x` of `dtype` with `axis` in front, and that axis."""
        check_array(method, x)
        axis = canonical_axis(axis, len(shape_of(x)), method)
        x = asarray(x) if dtype is None else asarray(convert(x, dtypes.dtype(dtype)))
        return moveaxis(x, axis, 0), axis


def frompyfunc(func: Callable, /, nin: int, nout: int, *, identity: Any = None) -> ufunc:
    """`func`, a traceable function of `nin` numbers with `nout` results, as a `ufunc`."""
    return ufunc(func, nin, nout, identity=identity)


def apply_along_axis(function, axis: int, x):
    """`function` of each one-dimensional slice of `x` along `axis`; its results stand in place of that axis."""
    check_array("apply_along_axis", x)
    axis = canonical_axis(axis, len(shape_of(x)), "apply_along_axis")
    batched = function
    for _ in range(len(shape_of(x)) - 1):
        batched = vmap(batched, in_axes=0, out_axes=0)
    out = batched(moveaxis(x, axis, -1))
    extra = len(shape_of(out)) - (len(shape_of(x)) - 1)
    lead = len(shape_of(x)) - 1
    return moveaxis(out, tuple(range(lead, lead + extra)), tuple(range(axis, axis + extra))) if extra else out
