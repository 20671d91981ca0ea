"""Operands of the array functions: what counts as an array, promotion, broadcasting and axes.

Input: what a user passes (arrays, tracers, numpy arrays, Python scalars). Output: operands that a primitive takes,
which have equal dtypes and equal shapes; Python and numpy scalars become literals, which may stand beside any shape:

    >>> promote("add", ftiny.numpy.ones((2, 3), "bfloat16"), 1)     # [bf16[2,3] array, np.bfloat16(1)]
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftiny import core, dtypes, primitives
from ftiny.errors import ArgumentError, DtypeError, IndexOutOfBoundsError, ShapeError, TracerError
from ftiny.source import located

PYTHON_SCALARS = (bool, int, float, complex)


def is_array(x) -> bool:
    """Whether `x` is something the array functions take: an array, a tracer, a numpy value or a Python scalar."""
    return isinstance(x, (core.ArrayLike, np.ndarray, np.generic, *PYTHON_SCALARS))


def check_array(name: str, *operands) -> None:
    """Raise `TracerError` (a `TypeError`) for an operand of function `name` that is no array."""
    for position, x in enumerate(operands):
        if isinstance(x, core.TypedKey):
            raise TracerError(located(f"{name}: argument {position} is a typed key, not numbers: {x!r}; {x.WAY_OUT}"))
        if not is_array(x):
            raise TracerError(
                located(
                    f"{name}: argument {position} must be an array or a number, but it is a {type(x).__name__}: "
                    f"{str(x)[:60]!r}; convert it with ftiny.numpy.asarray"
                )
            )


def shape_of(x) -> tuple[int, ...]:
    """The shape of an array or a scalar."""
    return core.get_aval(x).shape


def dtype_of(x) -> np.dtype:
    """The dtype of an array; Python scalars have the default dtype of their kind."""
    return core.get_aval(x).dtype


def is_concrete(x) -> bool:
    """Whether the elements of `x` are known now: it is no tracer."""
    return not isinstance(x, core.Tracer)


def scalar_literal(x, dtype: np.dtype) -> Any:
    """A Python or numpy scalar as a 0-d numpy value of `dtype`; integers wrap, as everywhere in array arithmetic."""
    if isinstance(x, int) and not isinstance(x, bool) and dtypes.is_integer(dtype):
        bits = 8 * dtype.itemsize
        x &= (1 << bits) - 1
        if not dtypes.is_unsigned(dtype) and x >> (bits - 1):
            x -= 1 << bits
        return np.asarray(x, dtype)[()]
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(dtype)[()]


def convert(x, dtype: np.dtype):
    """`x` with elements of `dtype`; scalars become literals."""
    if isinstance(x, (np.generic, *PYTHON_SCALARS)):
        return scalar_literal(x, dtype)
    if isinstance(x, np.ndarray) and x.ndim == 0:
        return scalar_literal(x[()], dtype)
    if core.get_aval(x).dtype == dtype:
        return x
    return primitives.convert(x, dtype=dtype)


def full_shape(x, shape: Sequence[int]):
    """`x` broadcast to `shape` by the rules of numpy (trailing axes are aligned); never a literal unless 0-d."""
    shape = tuple(shape)
    have = shape_of(x)
    if have == shape:
        return x
    return primitives.broadcast(x, shape=shape, dims=tuple(range(len(shape) - len(have), len(shape))))


def broadcast_shapes(*shapes: Sequence[int], name: str = "broadcast_shapes") -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to.

    Raises `ShapeError`, naming the shapes and the axis, when two extents differ and neither is 1.
    """
    ndim = max((len(s) for s in shapes), default=0)
    result = [1] * ndim
    for shape in shapes:
        for axis in range(-len(shape), 0):
            if shape[axis] != 1:
                if result[axis] not in (1, shape[axis]):
                    listed = " and ".join(str(tuple(s)) for s in shapes)
                    raise ShapeError(
                        located(
                            f"{name}: shapes {listed} do not broadcast: on axis {axis} one has size {result[axis]}, "
                            f"another "
                            f"{shape[axis]}. Sizes must be equal or 1, counted from the last axis; insert an axis "
                            "(x[:, None]) or transpose"
                        )
                    )
                result[axis] = shape[axis]
    return tuple(result)


def promote(name: str, *operands, dtype: np.dtype | None = None, inexact: bool = False) -> list[Any]:
    """The operands of an elementwise function with one dtype and one shape; scalars become literals.

    `dtype` overrides the promoted dtype; `inexact` takes integers and bools to float32.
    """
    check_array(name, *operands)
    if dtype is None:
        dtype = dtypes.result_type(*operands)
        if inexact and not dtypes.is_inexact(dtype):
            dtype = dtypes.float32
    return same_shape(name, *(convert(x, dtype) for x in operands))


def same_shape(name: str, *operands) -> list[Any]:
    """The operands broadcast against each other; those without axes, which may stand beside any shape, are left."""
    shapes = {shape_of(x) for x in operands} - {()}
    if len(shapes) < 2:
        return list(operands)
    shape = broadcast_shapes(*map(shape_of, operands), name=name)
    return [x if shape_of(x) == () else full_shape(x, shape) for x in operands]


def result_type(*operands) -> np.dtype:
    """The promoted dtype of arrays, dtypes (also as strings or types) and Python scalars."""
    return dtypes.result_type(*(dtypes.dtype(x) if isinstance(x, (str, type)) else x for x in operands))


def materialize(x, shape: Sequence[int]):
    """A literal or a smaller array spread over `shape` by an equation."""
    if isinstance(x, np.generic):
        return primitives.broadcast(x, shape=tuple(shape), dims=())
    return full_shape(x, shape)


def require_kind(name: str, x, kinds: Sequence[str]) -> None:
    """Raise `DtypeError` unless the dtype of `x` is of one of `kinds` ('bool', 'int', 'float', 'complex')."""
    found = dtype_of(x)
    if dtypes.kind(found) not in kinds:
        raise DtypeError(located(f"{name} takes arrays of {' or '.join(kinds)}, not {found}; convert with .astype"))


def canonical_axis(axis, ndim: int, name: str) -> int:
    """`axis` counted from the front. Raises `ShapeError` when an array of `ndim` axes has no such axis."""
    try:
        axis = operator.index(axis)
    except TypeError:
        raise ArgumentError(located(f"{name}: axis must be an integer, not {axis!r}")) from None
    if not -ndim <= axis < ndim:
        raise ShapeError(located(f"{name}: axis {axis} is out of bounds for an array with {ndim} axes"))
    return axis % ndim


def canonical_axes(axis, ndim: int, name: str) -> tuple[int, ...]:
    """None (all axes), an integer or a tuple as a tuple of axes in increasing order, each at most once."""
    if axis is None:
        return tuple(range(ndim))
    listed = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = [canonical_axis(a, ndim, name) for a in listed]
    if len(set(axes)) != len(axes):
        raise ArgumentError(located(f"{name}: axis {tuple(axis)} names an axis twice"))
    return tuple(sorted(axes))


def canonical_shape(shape, name: str) -> tuple[int, ...]:
    """An integer or a sequence of integers as a shape. Raises `ArgumentError` for traced or negative extents."""
    listed = (
        shape
        if isinstance(shape, (tuple, list))
        else np.atleast_1d(shape)
        if isinstance(shape, np.ndarray)
        else (shape,)
    )
    try:
        result = tuple(operator.index(extent) for extent in listed)
    except TypeError as problem:
        if any(isinstance(extent, core.Tracer) for extent in listed):
            raise
        raise ArgumentError(located(f"{name}: a shape is made of integers, not {shape!r}")) from problem
    if any(extent < 0 for extent in result):
        raise ArgumentError(located(f"{name}: shape {result} has a negative extent"))
    return result


def check_index(index: int, extent: int, axis: int, shape: Sequence[int]) -> int:
    """A static index counted from the front. Raises `IndexOutOfBoundsError` when it lies outside its axis."""
    if not -extent <= index < extent:
        raise IndexOutOfBoundsError(
            located(
                f"index {index} is out of bounds for axis {axis} of size {extent} (shape {tuple(shape)}); "
                f"valid indices are {-extent} to {extent - 1}"
            )
        )
    return index % extent


def constant_like(x, value) -> np.generic:
    """`value` as a literal of the dtype of `x`."""
    return scalar_literal(value, dtype_of(x))
