"""`ftiny.scipy.signal`: convolutions, correlations and trends, with the names and signatures of `jax.scipy.signal`.

Input: arrays of equally many axes; integers become float32. Output: an array:

    >>> convolve(ftiny.numpy.array([1.0, 2.0, 3.0]), ftiny.numpy.array([1.0, 1.0]))
    Array([1., 3., 5., 3.], dtype=float32)

A mode says which part of the result is given: 'full', all of n1 + n2 - 1 elements along an axis; 'same', the n1 in its
middle; 'valid', those where the smaller array lies inside the larger one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftiny import dtypes
from ftiny.errors import ArgumentError, ShapeError
from ftiny.lax.convolution import conv_general_dilated
from ftiny.numpy import fft, ufuncs
from ftiny.numpy.common import canonical_axes, canonical_axis, check_array, convert, dtype_of, shape_of
from ftiny.numpy.contractions import matmul
from ftiny.numpy.creation import asarray
from ftiny.numpy.manipulation import concatenate, flip, moveaxis, reshape
from ftiny.numpy.reductions import mean
from ftiny.source import located

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "detrend", "fftconvolve"]

Shape = tuple[int, ...]


def _operands(name: str, in1, in2, mode: str) -> list:
    """Both arrays with one inexact dtype. Raises where their axes or the mode do not fit."""
    check_array(name, in1, in2)
    if mode not in ("full", "same", "valid"):
        raise ArgumentError(located(f"{name}: mode must be 'full', 'same' or 'valid', not {mode!r}"))
    if len(shape_of(in1)) != len(shape_of(in2)):
        raise ShapeError(located(
            f"{name} takes two arrays of equally many axes, not of shapes {shape_of(in1)} and {shape_of(in2)}"))
    dtype = dtypes.result_type(in1, in2)
    dtype = dtype if dtypes.is_inexact(dtype) else dtypes.float32
    return [asarray(convert(x, dtype)) for x in (in1, in2)]


def _larger_first(name: str, in1, in2) -> tuple:
    """(the array that is larger along every axis, the other one). Raises `ShapeError` if neither is."""
    pairs = list(zip(shape_of(in1), shape_of(in2)))
    if all(m >= n for m, n in pairs):
        return in1, in2
    if all(m <= n for m, n in pairs):
        return in2, in1
    raise ShapeError(located(
        f"{name}: one of the arrays must be at least as large as the other along every axis, but their shapes are "
        f"{shape_of(in1)} and {shape_of(in2)}"))


def _part(mode: str, first: Shape, second: Shape) -> tuple[Shape, Shape]:
    """(where the part begins, its shape) in the full result of arrays of these shapes."""
    full = tuple(m + n - 1 for m, n in zip(first, second))
    sizes = {"full": full, "same": first, "valid": tuple(abs(m - n) + 1 for m, n in zip(first, second))}[mode]
    return tuple((whole - part) // 2 for whole, part in zip(full, sizes)), sizes


def _direct(name: str, in1, in2, mode: str):
    """The convolution as sums of products."""
    in1, in2 = _operands(name, in1, in2, mode)
    first, second = shape_of(in1), shape_of(in2)
    if 0 in first or 0 in second:
        raise ShapeError(located(f"{name} takes arrays with elements, not of shapes {first} and {second}"))
    large, small = _larger_first(name, in1, in2)
    starts, sizes = _part(mode, first, second)
    padding = []
    for start, size, m, n in zip(starts, sizes, shape_of(large), shape_of(small)):
        before = n - 1 - start
        padding.append((before, size - m + n - 1 - before))
    if not padding:
        return ufuncs.multiply(in1, in2)
    kernel = flip(small)
    result = conv_general_dilated(large[None, None], kernel[None, None], (1,) * len(padding), padding)
    return result[0, 0]


def convolve(in1, in2, mode: str = "full", method: str = "auto", precision=None):
    """The convolution of two arrays of equally many axes, of which one is larger along every axis.

    Args:
        mode: 'full', 'same' or 'valid'; see the module.
        method: 'direct' (also 'auto'): sums of products; 'fft': by `fftconvolve`.
        precision: ignored: products of float32 are float32 here.

    Raises `ShapeError` for shapes that do not fit, `ArgumentError` for another mode or method.
    """
    if method not in ("auto", "direct", "fft"):
        raise ArgumentError(located(f"scipy.signal.convolve: method must be 'auto', 'direct' or 'fft', not {method!r}"))
    return fftconvolve(in1, in2, mode) if method == "fft" else _direct("scipy.signal.convolve", in1, in2, mode)


def correlate(in1, in2, mode: str = "full", method: str = "auto", precision=None):
    """The correlation of two arrays: the convolution of in1 with in2 reversed along every axis and conjugated."""
    check_array("scipy.signal.correlate", in1, in2)
    return convolve(in1, flip(ufuncs.conj(asarray(in2))), mode, method, precision)


def _check_plane(name: str, in1, in2, boundary: str, fillvalue) -> None:
    check_array(name, in1, in2)
    if boundary != "fill" or fillvalue != 0:
        raise ArgumentError(located(
            f"{name}: outside of the arrays are zeros, so boundary must be 'fill' and fillvalue 0, not {boundary!r} "
            f"and {fillvalue!r}; pad in1 with ftiny.numpy.pad and take mode='valid'"))
    if len(shape_of(in1)) != 2 or len(shape_of(in2)) != 2:
        raise ShapeError(located(
            f"{name} takes arrays of two axes, not of shapes {shape_of(in1)} and {shape_of(in2)}; convolve takes any"))


def convolve2d(in1, in2, mode: str = "full", boundary: str = "fill", fillvalue: float = 0, precision=None):
    """`convolve` of arrays of two axes; `boundary` and `fillvalue` must be 'fill' and 0."""
    _check_plane("scipy.signal.convolve2d", in1, in2, boundary, fillvalue)
    return _direct("scipy.signal.convolve2d", in1, in2, mode)


def correlate2d(in1, in2, mode: str = "full", boundary: str = "fill", fillvalue: float = 0, precision=None):
    """The correlation of arrays of two axes; `boundary` and `fillvalue` must be 'fill' and 0.

    Where there are two middles, because a size of in2 is even, 'same' gives the later one, as scipy does; `correlate`
    gives the earlier one.
    """
    _check_plane("scipy.signal.correlate2d", in1, in2, boundary, fillvalue)
    in1, in2 = asarray(in1), ufuncs.conj(asarray(in2))
    return flip(_direct("scipy.signal.correlate2d", flip(in1), in2, mode))


def fftconvolve(in1, in2, mode: str = "full", axes: int | Sequence[int] | None = None):
    """The convolution of two arrays by their Fourier transforms.

    For long arrays it is faster than `convolve`, and less exact. Along the axes that are not among `axes` (default: all
    are), both have one size, and it is one convolution for each place.

    Raises `ShapeError` for shapes that do not fit, `ArgumentError` for another mode.
    """
    name = "scipy.signal.fftconvolve"
    in1, in2 = _operands(name, in1, in2, mode)
    first, second = shape_of(in1), shape_of(in2)
    chosen = canonical_axes(axes, len(first), name)
    if any(m != n for axis, (m, n) in enumerate(zip(first, second)) if axis not in chosen):
        raise ShapeError(located(
            f"{name}: the axes other than {chosen} must have equal sizes, but the shapes are {first} and {second}"))
    if mode == "valid":
        _larger_first(name, in1, in2)
    pairs = [(first[axis], second[axis]) for axis in chosen]
    if all(1 in pair for pair in pairs):
        full = ufuncs.multiply(in1, in2)
    else:
        sizes = tuple(m + n - 1 for m, n in pairs)
        is_complex = dtypes.kind(dtype_of(in1)) == "complex"
        forward, backward = (fft.fftn, fft.ifftn) if is_complex else (fft.rfftn, fft.irfftn)
        product = ufuncs.multiply(forward(in1, sizes, chosen), forward(in2, sizes, chosen))
        full = backward(product, sizes, chosen)
    starts, part = _part(mode, *(tuple(shape) for shape in zip(*pairs))) if pairs else ((), ())
    where = [slice(None)] * len(first)
    for axis, start, size in zip(chosen, starts, part):
        where[axis] = slice(start, start + size)
    return full[tuple(where)]


def detrend(data, axis: int = -1, type: str = "linear", bp: int | Sequence[int] = 0, overwrite_data: None = None):
    """`data` without its trend along an axis.

    Args:
        type: 'linear': less the line of least squares; 'constant': less the mean.
        bp: places along the axis; between each two of them is a line of its own.

    Raises `ArgumentError` for another type, for places outside of the axis and for `overwrite_data`.
    """
    name = "scipy.signal.detrend"
    check_array(name, data)
    if type not in ("linear", "constant") or overwrite_data is not None:
        raise ArgumentError(located(
            f"{name}: type must be 'linear' or 'constant' and overwrite_data None, not {type!r}, {overwrite_data!r}"))
    dtype = dtype_of(data)
    data = asarray(convert(data, dtype if dtypes.is_inexact(dtype) else dtypes.float32))
    if type == "constant":
        return ufuncs.subtract(data, mean(data, axis, keepdims=True))
    axis = canonical_axis(axis, len(shape_of(data)), name)
    size = shape_of(data)[axis]
    places = np.unique(np.concatenate([[0, size], np.ravel(bp)])).astype(int)
    if places[0] < 0 or places[-1] > size:
        raise ArgumentError(located(f"{name}: bp must lie between 0 and {size}, the size of axis {axis}, but is {bp}"))
    moved = moveaxis(data, axis, 0)
    rows = reshape(moved, (size, -1))
    parts = [_without_line(rows[start:end]) for start, end in zip(places[:-1], places[1:])]
    return moveaxis(reshape(concatenate(parts, axis=0), shape_of(moved)), 0, axis)


def _without_line(rows):
    """The columns of a matrix, each less its line of least squares."""
    count = shape_of(rows)[0]
    design = np.stack([np.ones(count), np.arange(1, count + 1) / count], axis=1)
    solver = np.linalg.pinv(design)
    real = dtypes.real_dtype(dtype_of(rows))
    fitted = matmul(asarray(design.astype(real)), matmul(asarray(solver.astype(real)), rows))
    return ufuncs.subtract(rows, fitted)
