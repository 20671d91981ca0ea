"""Changing shapes: reshaping, moving, joining, splitting, repeating and padding.

Input: arrays (or sequences of arrays). Output: arrays of the same elements in another place; nothing is computed:

    >>> stack([ftiny.numpy.zeros(2), ftiny.numpy.ones(2)], axis=1)
    Array([[0., 1.],
           [0., 1.]], dtype=float32)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import partial

import numpy as np

from ftiny import core, dtypes, primitives
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    broadcast_shapes,
    canonical_axes,
    canonical_axis,
    canonical_shape,
    check_array,
    convert,
    dtype_of,
    full_shape,
    materialize,
    scalar_literal,
    shape_of,
)
from ftiny.numpy.creation import asarray, on_device
from ftiny.source import located

# ---- one array, another shape ----------------------------------------------------------------------------------


def reshape(x, shape, order: str = "C", *, copy: bool | None = None):
    """The elements of `x`, row by row, in a new shape; one extent may be -1, which is computed.

    `order="F"` reads and writes column by column. `copy=True` gives memory of its own even where the shape is the same.
    `copy=False` changes nothing: an array never changes, so that nobody sees whether memory is shared. Raises
    `ShapeError` when the number of elements differs.
    """
    check_array("reshape", x)
    if copy:
        x = asarray(x, copy=True)
    have = shape_of(x)
    wanted = _resolve_shape(have, shape)
    if order == "F":
        return transpose(_reshape(transpose(x), wanted[::-1]))
    if order not in ("C", "A"):
        raise ArgumentError(located(f"reshape: order must be 'C' or 'F', not {order!r}"))
    return _reshape(x, wanted)


def _reshape(x, shape: tuple[int, ...]):
    return x if isinstance(x, core.ArrayLike) and x.shape == shape else primitives.reshape(x, shape=shape)


def _resolve_shape(have: tuple[int, ...], shape) -> tuple[int, ...]:
    listed = shape if isinstance(shape, (tuple, list)) else (shape,)
    wanted = tuple(operator.index(extent) for extent in listed)
    size, known = math.prod(have), math.prod(extent for extent in wanted if extent != -1)
    unknown = wanted.count(-1)
    if unknown > 1 or any(extent < -1 for extent in wanted):
        raise ShapeError(located(f"reshape: one extent may be -1 and the others must not be negative, not {wanted}"))
    if size != known if not unknown else (known == 0 or size % known):
        raise ShapeError(
            located(f"reshape: an array of shape {have} has {size} elements, which do not fill the shape {wanted}")
        )
    return tuple(size // known if extent == -1 else extent for extent in wanted)


def ravel(x, order: str = "C"):
    """The elements of `x` in one row."""
    return reshape(x, (-1,) if math.prod(shape_of(x)) else (0,), order)


def expand_dims(x, axis):
    """`x` with axes of size 1 inserted, so that they are at position `axis` (an integer or a tuple) of the result."""
    check_array("expand_dims", x)
    listed = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    ndim = len(shape_of(x)) + len(listed)
    inserted = canonical_axes(listed, ndim, "expand_dims")
    extents = iter(shape_of(x))
    return _reshape(x, tuple(1 if a in inserted else next(extents) for a in range(ndim)))


def squeeze(x, axis=None):
    """`x` without its axes of size 1, or without those named by `axis`, which must have size 1."""
    check_array("squeeze", x)
    shape = shape_of(x)
    if axis is None:
        return _reshape(x, tuple(extent for extent in shape if extent != 1))
    dropped = canonical_axes(axis, len(shape), "squeeze")
    for a in dropped:
        if shape[a] != 1:
            raise ShapeError(located(f"squeeze: axis {a} of shape {shape} has size {shape[a]}, not 1"))
    return _reshape(x, tuple(extent for a, extent in enumerate(shape) if a not in dropped))


def atleast_1d(*xs):
    """Each array with at least one axis; one array in, one array out, several in a list."""
    results = [asarray(x) if len(shape_of(x)) >= 1 else reshape(x, (1,)) for x in xs]
    return results[0] if len(results) == 1 else results


def atleast_2d(*xs):
    """Each array with at least two axes, new ones in front."""
    results = [asarray(x) if len(shape_of(x)) >= 2 else reshape(x, (1, -1)) for x in xs]
    return results[0] if len(results) == 1 else results


def atleast_3d(*xs):
    """Each array with at least three axes: a vector becomes (1, n, 1), a matrix (m, n, 1)."""

    def one(x):
        shape = shape_of(x)
        return (
            asarray(x)
            if len(shape) >= 3
            else reshape(x, (*((1,) * (2 - len(shape)) + shape), 1))
            if len(shape) != 1
            else reshape(x, (1, shape[0], 1))
        )

    results = [one(x) for x in xs]
    return results[0] if len(results) == 1 else results


# ---- moving axes -----------------------------------------------------------------------------------------------


def transpose(x, axes=None):
    """`x` with its axes in the order `axes` (default: reversed)."""
    check_array("transpose", x)
    ndim = len(shape_of(x))
    if axes is None:
        order = tuple(reversed(range(ndim)))
    else:
        order = tuple(canonical_axis(a, ndim, "transpose") for a in axes)
        if sorted(order) != list(range(ndim)):
            raise ShapeError(located(f"transpose: axes {tuple(axes)} do not name each of the {ndim} axes once"))
    if order == tuple(range(ndim)):
        return asarray(x)
    return primitives.transpose(x, permutation=order)


permute_dims = transpose


def matrix_transpose(x):
    """`x` with its last two axes exchanged."""
    check_array("matrix_transpose", x)
    if len(shape_of(x)) < 2:
        raise ShapeError(located(f"matrix_transpose needs at least two axes, but the shape is {shape_of(x)}"))
    return swapaxes(x, -1, -2)


def swapaxes(x, axis1: int, axis2: int):
    """`x` with two axes exchanged."""
    check_array("swapaxes", x)
    order = list(range(len(shape_of(x))))
    axis1, axis2 = canonical_axis(axis1, len(order), "swapaxes"), canonical_axis(axis2, len(order), "swapaxes")
    order[axis1], order[axis2] = axis2, axis1
    return transpose(x, order)


def moveaxis(x, source, destination):
    """`x` with the axes `source` moved to the positions `destination`; the others keep their order."""
    check_array("moveaxis", x)
    ndim = len(shape_of(x))
    sources = [canonical_axis(a, ndim, "moveaxis") for a in np.atleast_1d(source).tolist()]
    places = [canonical_axis(a, ndim, "moveaxis") for a in np.atleast_1d(destination).tolist()]
    if len(sources) != len(places) or len(set(sources)) != len(sources) or len(set(places)) != len(places):
        raise ArgumentError(located(f"moveaxis: {source} and {destination} must be equally many different axes"))
    order = [a for a in range(ndim) if a not in sources]
    for place, a in sorted(zip(places, sources)):
        order.insert(place, a)
    return transpose(x, order)


def rollaxis(x, axis: int, start: int = 0):
    """`x` with `axis` moved in front of the axis that is now at `start`."""
    ndim = len(shape_of(x))
    axis = canonical_axis(axis, ndim, "rollaxis")
    start = start + ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if start > axis else start)


def flip(x, axis=None):
    """`x` read backwards along `axis` (an integer, a tuple, or None for all axes)."""
    check_array("flip", x)
    shape = shape_of(x)
    axes = [a for a in canonical_axes(axis, len(shape), "flip") if shape[a] > 1]
    if not axes:
        return asarray(x)
    return primitives.slice(
        x,
        starts=tuple(n - 1 if a in axes else 0 for a, n in enumerate(shape)),
        limits=tuple(-1 if a in axes else n for a, n in enumerate(shape)),
        strides=tuple(-1 if a in axes else 1 for a in range(len(shape))),
    )


def flipud(x):
    """`flip` along the first axis."""
    return flip(x, 0)


def fliplr(x):
    """`flip` along the second axis."""
    return flip(x, 1)


def rot90(x, k: int = 1, axes: tuple[int, int] = (0, 1)):
    """`x` turned by k times 90 degrees, from the first of `axes` towards the second."""
    first, second = (canonical_axis(a, len(shape_of(x)), "rot90") for a in axes)
    k %= 4
    if k == 0:
        return asarray(x)
    if k == 2:
        return flip(x, (first, second))
    return swapaxes(flip(x, second), first, second) if k == 1 else flip(swapaxes(x, first, second), second)


def roll(x, shift, axis=None):
    """`x` with its elements moved `shift` places along `axis`, round the end. Without an axis, of the row of elements.

    A traced `shift` is allowed; `shift` and `axis` may be tuples.
    """
    check_array("roll", x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), shape_of(x))
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    shifts = tuple(shift) if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise ArgumentError(located(f"roll: {len(shifts)} shifts for {len(axes)} axes"))
    for one, a in zip(shifts, axes):
        x = _roll_axis(x, one, canonical_axis(a, len(shape_of(x)), "roll"))
    return x


def _roll_axis(x, shift, axis: int):
    n = shape_of(x)[axis]
    if n == 0:
        return x
    if isinstance(shift, core.Tracer):
        from ftiny.lax import dynamic_slice_in_dim

        start = ufuncs.remainder(ufuncs.negative(convert(shift, dtypes.int32)), n)
        return dynamic_slice_in_dim(concatenate([x, x], axis), start, n, axis)
    cut = -operator.index(shift) % n
    return x if cut == 0 else concatenate([slice_axis(x, axis, cut, n), slice_axis(x, axis, 0, cut)], axis)


def slice_axis(x, axis: int, start: int, limit: int, stride: int = 1):
    """The elements `start:limit:stride` of one axis."""
    shape = shape_of(x)
    return primitives.slice(
        x,
        starts=tuple(start if a == axis else 0 for a in range(len(shape))),
        limits=tuple(limit if a == axis else n for a, n in enumerate(shape)),
        strides=tuple(stride if a == axis else 1 for a in range(len(shape))),
    )


# ---- broadcasting ----------------------------------------------------------------------------------------------


def broadcast_to(x, shape):
    """`x` spread over `shape`: its axes, aligned at the end, must have that size or size 1."""
    check_array("broadcast_to", x)
    shape = canonical_shape(shape, "broadcast_to")
    if broadcast_shapes(shape_of(x), shape, name="broadcast_to") != shape:
        raise ShapeError(located(f"broadcast_to: an array of shape {shape_of(x)} does not fit into the shape {shape}"))
    return materialize(convert(x, dtype_of(x)), shape)


def broadcast_arrays(*xs):
    """The arrays, all spread over the shape that they broadcast to."""
    shape = broadcast_shapes(*map(shape_of, xs), name="broadcast_arrays")
    return [broadcast_to(x, shape) for x in xs]


# ---- joining ---------------------------------------------------------------------------------------------------


def _parts(name: str, xs) -> list:
    parts = list(xs) if isinstance(xs, (list, tuple)) else [xs[i] for i in range(len(xs))]
    if not parts:
        raise ArgumentError(located(f"{name} needs at least one array"))
    check_array(name, *parts)
    dtype = dtypes.result_type(*parts)
    return [
        materialize(part, ()) if isinstance(part, np.generic) else part
        for part in (convert(part, dtype) for part in parts)
    ]


def concatenate(xs, axis: int | None = 0):
    """The arrays one after another along `axis` (None: their elements in one row).

    Raises `ShapeError` when they differ on another axis.
    """
    parts = _parts("concatenate", xs)
    if axis is None:
        parts, axis = [ravel(part) for part in parts], 0
    shapes = [shape_of(part) for part in parts]
    if not shapes[0]:
        raise ShapeError(located("concatenate: arrays without axes cannot be concatenated; use stack"))
    axis = canonical_axis(axis, len(shapes[0]), "concatenate")
    for position, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]):
            raise ShapeError(
                located(
                    f"concatenate: array 0 has shape {shapes[0]}, array {position} has {shape}: "
                    "the number of axes differs"
                )
            )
        for a, (m, n) in enumerate(zip(shapes[0], shape)):
            if a != axis and m != n:
                raise ShapeError(
                    located(
                        f"concatenate: array 0 has shape {shapes[0]}, array {position} has {shape}: they "
                        f"differ on axis {a}, but only axis {axis} may differ"
                    )
                )
    return parts[0] if len(parts) == 1 else primitives.concatenate(*parts, axis=axis)


concat = concatenate


def stack(xs, axis: int = 0):
    """The arrays, which must have one shape, along a new axis at position `axis`."""
    parts = _parts("stack", xs)
    shapes = [shape_of(part) for part in parts]
    for position, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ShapeError(
                located(f"stack: array 0 has shape {shapes[0]}, array {position} has {shape}; all must be equal")
            )
    axis = canonical_axis(axis, len(shapes[0]) + 1, "stack")
    return concatenate([expand_dims(part, axis) for part in parts], axis)


def vstack(xs):
    """The arrays below each other: vectors become rows."""
    return concatenate([atleast_2d(x) for x in _parts("vstack", xs)], 0)


def hstack(xs):
    """The arrays beside each other: along axis 1, vectors along axis 0."""
    parts = [atleast_1d(x) for x in _parts("hstack", xs)]
    return concatenate(parts, 0 if len(shape_of(parts[0])) == 1 else 1)


def dstack(xs):
    """The arrays behind each other, along axis 2."""
    return concatenate([atleast_3d(x) for x in _parts("dstack", xs)], 2)


def column_stack(xs):
    """Vectors as the columns of a matrix; matrices beside each other."""
    columns = [reshape(x, (-1, 1)) if len(shape_of(x)) < 2 else x for x in _parts("column_stack", xs)]
    return concatenate(columns, 1)


def block(arrays):
    """Arrays in nested lists put together: the innermost lists along the last axis, the next along the one before, ...

    Arrays with too few axes get leading ones of size 1. Raises `ArgumentError` for tuples, empty lists and lists of
    unequal depth.
    """
    return _block(arrays)[0]


def _block(arrays):
    """(the array, how deep the lists are nested)."""
    if isinstance(arrays, tuple):
        raise ArgumentError(located("block takes nested lists, not tuples"))
    if not isinstance(arrays, list):
        check_array("block", arrays)
        return asarray(arrays), 0
    if not arrays:
        raise ArgumentError(located("block: a list must not be empty"))
    parts, depths = zip(*map(_block, arrays))
    if len(set(depths)) > 1:
        raise ArgumentError(located(f"block: the lists are nested to unequal depths: {depths}"))
    ndim = max(depths[0] + 1, *(len(shape_of(part)) for part in parts))
    parts = [reshape(part, (1,) * (ndim - len(shape_of(part))) + shape_of(part)) for part in parts]
    return concatenate(parts, axis=-(depths[0] + 1)), depths[0] + 1


def append(x, values, axis: int | None = None):
    """`concatenate((x, values), axis)`; without an axis, of the elements in one row."""
    return concatenate((asarray(x), asarray(values)), axis)


# ---- splitting -------------------------------------------------------------------------------------------------


def array_split(x, indices_or_sections, axis: int = 0) -> list:
    """`x` cut along `axis` into n parts (the first ones longer if need be), or at the given positions."""
    return _split(x, indices_or_sections, axis, equal=False)


def split(x, indices_or_sections, axis: int = 0) -> list:
    """`x` cut along `axis` into n equal parts, or at the given positions.

    Raises `ShapeError` when n does not divide the extent; `array_split` allows that.
    """
    return _split(x, indices_or_sections, axis, equal=True)


def _split(x, indices_or_sections, axis: int, equal: bool) -> list:
    check_array("split", x)
    axis = canonical_axis(axis, len(shape_of(x)), "split")
    n = shape_of(x)[axis]
    if isinstance(indices_or_sections, (list, tuple, np.ndarray)) and np.ndim(indices_or_sections):
        inner = [operator.index(i) + (n if i < 0 else 0) for i in indices_or_sections]
        bounds = [0, *(min(max(i, 0), n) for i in inner), n]
    else:
        count = operator.index(indices_or_sections)
        if equal and n % count:
            raise ShapeError(
                located(
                    f"split: axis {axis} of size {n} does not divide into {count} equal parts; "
                    "use array_split, or give the positions"
                )
            )
        bounds = [0]
        for part in range(count):
            bounds.append(bounds[-1] + n // count + (part < n % count))
    return [slice_axis(x, axis, low, max(low, high)) for low, high in zip(bounds, bounds[1:])]


def vsplit(x, indices_or_sections) -> list:
    """`split` along axis 0."""
    return split(x, indices_or_sections, 0)


def hsplit(x, indices_or_sections) -> list:
    """`split` along axis 1 (axis 0 of a vector)."""
    return split(x, indices_or_sections, 0 if len(shape_of(x)) == 1 else 1)


def dsplit(x, indices_or_sections) -> list:
    """`split` along axis 2."""
    return split(x, indices_or_sections, 2)


def unstack(x, axis: int = 0) -> tuple:
    """The slices of `x` along `axis`, as a tuple."""
    check_array("unstack", x)
    axis = canonical_axis(axis, len(shape_of(x)), "unstack")
    return tuple(squeeze(slice_axis(x, axis, i, i + 1), axis) for i in range(shape_of(x)[axis]))


# ---- repeating and padding -------------------------------------------------------------------------------------


def tile(x, reps):
    """`x` repeated as a block, `reps` times along each axis (aligned at the end)."""
    check_array("tile", x)
    reps = tuple(reps) if isinstance(reps, (tuple, list)) else (reps,)
    ndim = max(len(reps), len(shape_of(x)))
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - len(shape_of(x))) + shape_of(x)
    blocks = materialize(
        reshape(x, tuple(v for n in shape for v in (1, n))), tuple(v for pair in zip(reps, shape) for v in pair)
    )
    return reshape(blocks, tuple(r * n for r, n in zip(reps, shape)))


def repeat(x, repeats, axis: int | None = None, *, total_repeat_length: int | None = None):
    """`x` with each element repeated along `axis` (None: of the row of elements).

    `repeats` is an integer, or one integer per element; a traced array of them needs `total_repeat_length`, the static
    length of the result.
    """
    from ftiny.numpy.indexing import take

    check_array("repeat", x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = canonical_axis(axis, len(shape_of(x)), "repeat")
    n = shape_of(x)[axis]
    if isinstance(repeats, core.Tracer):
        return take(x, _repeat_positions(repeats, n, total_repeat_length), axis, mode="clip")
    counts = np.asarray(repeats)
    if counts.size == 1 and total_repeat_length is None:
        shape = shape_of(x)
        each = int(counts.reshape(()))
        column = expand_dims(x, axis + 1)
        spread = materialize(column, (*shape[: axis + 1], each, *shape[axis + 1 :]))
        return reshape(spread, (*shape[:axis], n * each, *shape[axis + 1 :]))
    where = np.repeat(np.arange(n, dtype=np.int32), np.broadcast_to(counts, (n,)))
    if total_repeat_length is not None:
        padding = np.full(max(0, total_repeat_length - len(where)), where[-1] if len(where) else n - 1, np.int32)
        where = np.concatenate([where[:total_repeat_length], padding])
    return take(x, where, axis)


def _repeat_positions(repeats, n: int, length: int | None):
    """Which element stands at each place of the result: the number of run ends at or before it."""
    from ftiny.numpy.reductions import cumsum
    from ftiny.numpy.reductions import sum as sum_of

    if length is None:
        raise ArgumentError(
            located("repeat: with traced repeats the length of the result is unknown; give total_repeat_length=")
        )
    ends = cumsum(full_shape(repeats, (n,)))
    places = primitives.iota(shape=(length, 1), dtype=dtype_of(ends), axis=0)
    return sum_of(ufuncs.greater_equal(places, ends), axis=1, dtype=dtypes.int32)


_STATISTICS = {"maximum": "max", "minimum": "min", "mean": "mean", "median": "median"}


def pad(x, pad_width, mode: str = "constant", constant_values=0, *, end_values=0, stat_length=None):
    """`x` with elements added at the ends of its axes.

    `pad_width` is a number, a pair (before, after), or a pair per axis. Modes: 'constant', 'edge', 'reflect',
    'symmetric', 'wrap', 'empty'; 'maximum', 'minimum', 'mean' and 'median' of the axis, or of the `stat_length`
    elements next to the end; 'linear_ramp', from the edge to `end_values`. `constant_values`, `end_values` and
    `stat_length` may be pairs or a pair per axis too. Axes are padded one after the other, as in numpy.

    Raises `ArgumentError` for another mode or a negative width, `ShapeError` where there is nothing to pad with.
    """
    check_array("pad", x)
    ndim = len(shape_of(x))
    widths = np.broadcast_to(np.asarray(pad_width, dtype=np.int64), (ndim, 2)).tolist()
    if any(width < 0 for pair in widths for width in pair):
        raise ArgumentError(located(f"pad: widths must not be negative, but pad_width is {pad_width}"))
    if mode in ("constant", "empty"):
        return _pad_constant(x, widths, constant_values)
    modes = ("edge", "reflect", "symmetric", "wrap", "linear_ramp", *_STATISTICS)
    if mode not in modes:
        raise ArgumentError(
            located(f"pad: mode must be 'constant', 'empty' or {', '.join(map(repr, modes))}, not {mode!r}")
        )
    ends = np.broadcast_to(np.asarray(end_values), (ndim, 2))
    lengths = np.broadcast_to(np.asarray(0 if stat_length is None else stat_length), (ndim, 2)).tolist()
    for axis, (low, high) in enumerate(widths):
        if (low or high) and not shape_of(x)[axis]:
            raise ShapeError(located(f"pad: axis {axis} has no elements to take the padding from; use mode='constant'"))
        if mode in ("edge", "reflect", "symmetric", "wrap"):
            x = _pad_axis(x, axis, low, high, mode)
        elif low or high:
            fill = partial(_ramp, ends=ends[axis]) if mode == "linear_ramp" else partial(
                _statistic, mode=mode, lengths=lengths[axis], given=stat_length is not None)
            sides = [fill(x, axis, side, width) for side, width in ((0, low), (1, high))]
            x = concatenate([sides[0], x, sides[1]], axis)
    return x


def _ramp(x, axis: int, side: int, width: int, ends):
    """`width` elements that go evenly from the end value to the edge, without the edge."""
    n = shape_of(x)[axis]
    edge = slice_axis(x, axis, 0, 1) if side == 0 else slice_axis(x, axis, n - 1, n)
    wide = dtype_of(x) if dtypes.is_inexact(dtype_of(x)) else dtypes.float32
    steps = np.arange(width) / max(width, 1)
    steps = (steps if side == 0 else steps[::-1]).reshape([-1 if a == axis else 1 for a in range(len(shape_of(x)))])
    end, steps = scalar_literal(ends[side], wide), asarray(steps.astype(wide))
    values = ufuncs.add(ufuncs.multiply(ufuncs.subtract(convert(edge, wide), end), steps), end)
    return convert(values if wide == dtype_of(x) else ufuncs.floor(values), dtype_of(x))


def _statistic(x, axis: int, side: int, width: int, mode: str, lengths, given: bool):
    """`width` times the maximum, minimum, mean or median of the elements next to an end, or of all."""
    from ftiny.numpy import reductions

    n = shape_of(x)[axis]
    count = min(lengths[side], n) if given else n
    if count < 1:
        raise ArgumentError(located(f"pad: stat_length must be at least 1, but it is {lengths[side]} on axis {axis}"))
    part = slice_axis(x, axis, 0, count) if side == 0 else slice_axis(x, axis, n - count, n)
    value = getattr(reductions, _STATISTICS[mode])(part, axis=axis, keepdims=True)
    if not dtypes.is_inexact(dtype_of(x)) and mode in ("mean", "median"):
        value = ufuncs.round(value)
    shape = shape_of(x)
    return materialize(convert(value, dtype_of(x)), (*shape[:axis], width, *shape[axis + 1 :]))


def _pad_constant(x, widths: Sequence[Sequence[int]], values):
    dtype, ndim = dtype_of(x), len(widths)
    if isinstance(values, core.ArrayLike) and not values.shape or isinstance(values, (bool, int, float, complex)):
        value = (
            materialize(convert(values, dtype), ())
            if isinstance(values, core.ArrayLike)
            else scalar_literal(values, dtype)
        )
        return primitives.pad(x, value, config=tuple((low, high, 0) for low, high in widths))
    table = np.broadcast_to(np.asarray(values), (ndim, 2))
    for axis, pair in enumerate(widths):
        for side in (0, 1):
            config = [(0, 0, 0)] * ndim
            config[axis] = (pair[0], 0, 0) if side == 0 else (0, pair[1], 0)
            x = primitives.pad(x, scalar_literal(table[axis, side], dtype), config=tuple(config))
    return x


def _pad_axis(x, axis: int, low: int, high: int, mode: str):
    n = shape_of(x)[axis]
    if not low and not high:
        return x
    where = np.pad(np.arange(n), (low, high), mode=mode)  # type: ignore[call-overload]
    pieces = []
    begin = 0
    while begin < len(where):  # runs of equal step become slices, so that nothing has to be gathered
        step = int(where[begin + 1] - where[begin]) if begin + 1 < len(where) else 1
        end = begin + 1
        while end < len(where) and where[end] - where[end - 1] == step and step in (-1, 0, 1):
            end += 1
        first = int(where[begin])
        if step == 0:
            edge = slice_axis(x, axis, first, first + 1)
            shape = shape_of(x)
            pieces.append(materialize(edge, (*shape[:axis], end - begin, *shape[axis + 1 :])))
        else:
            pieces.append(slice_axis(x, axis, first, first + step * (end - begin), step))
        begin = end
    return concatenate(pieces, axis)


def resize(x, new_shape):
    """The elements of `x`, repeated or cut as often as it takes to fill `new_shape`; zeros if there are none."""
    shape = canonical_shape(new_shape, "resize")
    row = ravel(x)
    size, have = math.prod(shape), shape_of(row)[0]
    if not have:  # nothing to repeat: zeros, as in numpy
        return materialize(scalar_literal(0, dtype_of(row)), shape)
    if size > have:
        row = tile(row, -(-size // have))
    return reshape(slice_axis(row, 0, 0, size), shape)


# ---- small queries ---------------------------------------------------------------------------------------------


def astype(x, dtype, *, copy: bool = False, device=None):
    """`x` with elements of `dtype`; floats become integers by truncation, saturating at the ends of the range.

    Complex numbers lose their imaginary part when converted to a real dtype. With `copy` the result has memory of its
    own even where `x` has that dtype already. It is bound to `device` if one is given; see `ftiny.device_put`.
    """
    check_array("astype", x)
    wanted = dtypes.dtype(dtype)
    if dtypes.kind(dtype_of(x)) == "complex" and dtypes.kind(wanted) not in ("complex", "bool"):
        x = ufuncs.real(x)
    if wanted == dtypes.bool_:
        return on_device(ufuncs.truth(x), device)
    converted = convert(x, wanted)
    return asarray(converted, copy=copy and converted is x or None, device=device)


def ndim(x) -> int:
    """The number of axes of `x`."""
    return len(np.shape(x)) if isinstance(x, (list, tuple)) else len(shape_of(x))


def shape(x) -> tuple[int, ...]:
    """The extents of the axes of `x`."""
    return np.shape(x) if isinstance(x, (list, tuple)) else shape_of(x)


def size(x, axis: int | None = None) -> int:
    """The number of elements of `x`, or its extent along `axis`."""
    return math.prod(shape(x)) if axis is None else shape(x)[axis]


def isscalar(x) -> bool:
    """Whether `x` is a Python or numpy number, or an array without axes."""
    return isinstance(x, (core.ArrayLike, np.ndarray, np.generic, bool, int, float, complex)) and ndim(x) == 0
