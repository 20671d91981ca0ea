"""Grids written as slices, rows and columns put together by indexing, and index arrays of triangles and diagonals.

Input: slices `start:stop:step`, where an imaginary step 5j means five points with the last included. Output: arrays:

    >>> mgrid[0:2, 0:3]
    Array([[[0, 0, 0],
            [1, 1, 1]],
    <BLANKLINE>
           [[0, 1, 2],
            [0, 1, 2]]], dtype=int32)
    >>> r_[1:4, 0, 9]
    Array([1, 2, 3, 0, 9], dtype=int32)
"""

from __future__ import annotations

import numpy as np

from ftiny import dtypes
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy.common import check_array, convert, shape_of
from ftiny.numpy.creation import arange, array, asarray, linspace, meshgrid, ones, tril_indices, triu_indices
from ftiny.numpy.indexing import diag_indices, nonzero
from ftiny.numpy.manipulation import concatenate, expand_dims, stack, transpose
from ftiny.source import located

# ---- grids -----------------------------------------------------------------------------------------------------


def _points(part: slice):
    """The points that a slice of a grid means."""
    start, step = part.start or 0, part.step or 1
    if part.stop is None:
        raise ArgumentError(located(f"a slice of a grid needs a stop, which {part} has not"))
    if isinstance(step, complex):
        return linspace(start, part.stop, int(abs(step)))
    return arange(start, part.stop, step)


class Grid:
    """`mgrid` and `ogrid`: index them with one slice for each axis."""

    def __init__(self, name: str, sparse: bool):
        self._name, self._sparse = name, sparse

    def __getitem__(self, key):
        if isinstance(key, slice):
            return _points(key)
        vectors = [_points(part) for part in key]
        if not vectors:
            return [] if self._sparse else arange(0)
        dtype = dtypes.result_type(*vectors)
        grids = meshgrid(*(convert(v, dtype) for v in vectors), sparse=self._sparse, indexing="ij")
        return grids if self._sparse else stack(grids)

    def __repr__(self) -> str:
        return f"ftiny.numpy.{self._name}"


mgrid = Grid("mgrid", sparse=False)
"""The coordinates of the points of a grid, in one array of shape (number of axes, *grid)."""
ogrid = Grid("ogrid", sparse=True)
"""The coordinates of the points of a grid, as a list of arrays with one axis longer than 1 each."""


class Joiner:
    """`r_` and `c_`: index them with slices, numbers and arrays, which are joined along one axis.

    A string in front gives the axis, the least number of axes, and where the axes of an array with fewer go:
    `r_['0,2', a, b]` makes vectors rows; 'r' and 'c' make a vector a matrix of one row or column.
    """

    def __init__(self, name: str, axis: int, ndmin: int, place: int):
        self._name, self._default = name, (axis, ndmin, place)

    def __getitem__(self, key):
        parts = list(key) if isinstance(key, tuple) else [key]
        (axis, ndmin, place), matrix = self._default, None
        if parts and isinstance(parts[0], str):
            directive = parts.pop(0)
            if directive in ("r", "c"):
                matrix = ("r", "c").index(directive)
            else:
                axis, ndmin, place = self._read(directive)
        joined = concatenate([self._part(part, ndmin, place) for part in parts], axis)
        return expand_dims(joined, matrix) if matrix is not None and len(shape_of(joined)) == 1 else joined

    def _read(self, directive: str) -> tuple[int, int, int]:
        try:
            numbers = [int(number) for number in directive.split(",")][:3]
        except ValueError:
            raise ArgumentError(
                located(f"{self._name}: {directive!r} is neither 'r', 'c' nor integers like '0,2,-1'")
            ) from None
        axis, ndmin, place = (*numbers, *self._default[len(numbers) :])
        return axis, ndmin, place

    def _part(self, part, ndmin: int, place: int):
        if isinstance(part, str):
            raise ArgumentError(located(f"{self._name}: the string {part!r} must come first"))
        points = _points(part) if isinstance(part, slice) else asarray(part)
        have = 0 if isinstance(part, slice) else len(shape_of(points))
        points = array(points, ndmin=ndmin)
        missing = ndmin - have
        if place == -1 or missing <= 0:
            return points
        # The axes that were there (for a slice, the one it makes) come to stand from `place` on.
        first = ndmin - abs(ndmin + place + 1) % ndmin
        return transpose(points, [*range(first, ndmin), *range(first)])

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"ftiny.numpy.{self._name}"


r_ = Joiner("r_", 0, 1, -1)
"""Slices, numbers and arrays one after another along the first axis."""
c_ = Joiner("c_", -1, 2, 0)
"""Vectors as the columns of a matrix; arrays joined along the last axis."""
s_ = np.s_
index_exp = np.index_exp

# ---- index arrays ----------------------------------------------------------------------------------------------


def diag_indices_from(arr) -> tuple:
    """Index arrays of the main diagonal of `arr`. Raises `ShapeError` unless it has two or more axes, of one size."""
    check_array("diag_indices_from", arr)
    shape = shape_of(arr)
    if len(shape) < 2 or len(set(shape)) > 1:
        raise ShapeError(located(f"diag_indices_from needs at least two axes of one size, but the shape is {shape}"))
    return diag_indices(shape[0], len(shape))


def _matrix_shape(name: str, x) -> tuple[int, int]:
    check_array(name, x)
    if len(shape_of(x)) != 2:
        raise ShapeError(located(f"{name} needs a matrix, but the shape is {shape_of(x)}"))
    rows, columns = shape_of(x)
    return rows, columns


def tril_indices_from(arr, k: int = 0):
    """(rows, columns) of the elements of the matrix `arr` on and below diagonal `k`."""
    rows, columns = _matrix_shape("tril_indices_from", arr)
    return tril_indices(rows, k, columns)


def triu_indices_from(arr, k: int = 0):
    """(rows, columns) of the elements of the matrix `arr` on and above diagonal `k`."""
    rows, columns = _matrix_shape("triu_indices_from", arr)
    return triu_indices(rows, k, columns)


def mask_indices(n: int, mask_func, k=0, *, size: int | None = None) -> tuple:
    """(rows, columns) where `mask_func(ones((n, n)), k)`, such as `tril`, is not zero; see `nonzero` for `size`."""
    return nonzero(mask_func(ones((n, n)), k), size=size)
