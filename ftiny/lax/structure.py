"""`ftiny.lax`, structure: shapes, slices, gather and scatter.

Input: arrays with static shapes and sizes; dynamic starts are integers without axes. Output: arrays:

    >>> dynamic_slice(ftiny.numpy.arange(10), (7,), (4,))
    Array([6, 7, 8, 9], dtype=int32)

Windows that stick out are moved inside, as in XLA.
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Callable, Sequence

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, ShapeError
from ftiny.lax.elementwise import strict
from ftiny.numpy.common import canonical_axis, canonical_shape, check_array, convert, dtype_of, shape_of
from ftiny.primitives import GatherDims, ScatterDims
from ftiny.source import located
from ftiny.transforms.control import while_loop

GatherDimensionNumbers, ScatterDimensionNumbers = GatherDims, ScatterDims

# ---- shapes ----------------------------------------------------------------------------------------------------


def iota(dtype, size: int):
    """0, 1, ..., size - 1."""
    return primitives.iota(shape=canonical_shape(size, "iota"), dtype=dtypes.dtype(dtype), axis=0)


def broadcasted_iota(dtype, shape, dimension: int):
    """An array of `shape` that holds the coordinate along `dimension`."""
    shape = canonical_shape(shape, "broadcasted_iota")
    return primitives.iota(
        shape=shape, dtype=dtypes.dtype(dtype), axis=canonical_axis(dimension, len(shape), "broadcasted_iota")
    )


def full(shape, fill_value, dtype=None):
    """An array of `shape` with every element `fill_value`."""
    return fnp.full(shape, fill_value, dtype)


def full_like(x, fill_value, dtype=None, shape=None):
    """`full` with the shape and dtype of `x`, unless others are given."""
    return fnp.full_like(x, fill_value, dtype, shape)


def zeros_like_array(x):
    """Zeros with the shape and dtype of `x`."""
    return fnp.zeros_like(x)


def broadcast(x, sizes: Sequence[int]):
    """`x` repeated along new leading axes of these sizes."""
    check_array("broadcast", x)
    sizes = canonical_shape(sizes, "broadcast")
    shape = (*sizes, *shape_of(x))
    return primitives.broadcast(x, shape=shape, dims=tuple(range(len(sizes), len(shape))))


def broadcast_in_dim(x, shape, broadcast_dimensions: Sequence[int]):
    """`x` spread over `shape`; axis i of `x` becomes axis `broadcast_dimensions[i]`."""
    check_array("broadcast_in_dim", x)
    x = convert(x, dtype_of(x))
    return primitives.broadcast(x, shape=canonical_shape(shape, "broadcast_in_dim"), dims=tuple(broadcast_dimensions))


def broadcast_like(arr, like_arr):
    """`arr` spread over the shape of `like_arr`, trailing axes aligned as in numpy; its dtype is kept."""
    check_array("broadcast_like", arr, like_arr)
    return fnp.broadcast_to(arr, shape_of(like_arr))


def broadcast_to_rank(x, rank: int):
    """`x` with axes of size 1 in front, so that it has `rank` axes. Raises `ShapeError` when it has more."""
    check_array("broadcast_to_rank", x)
    missing = rank - len(shape_of(x))
    if missing < 0:
        raise ShapeError(located(f"broadcast_to_rank: an array of shape {shape_of(x)} has more than {rank} axes"))
    return fnp.expand_dims(x, tuple(range(missing)))


def collapse(operand, start_dimension: int, stop_dimension: int | None = None):
    """`operand` with the axes from `start_dimension` to before `stop_dimension` made into one."""
    check_array("collapse", operand)
    shape = shape_of(operand)
    start, stop, _ = _slice(start_dimension, stop_dimension).indices(len(shape))
    if stop < start:
        raise ShapeError(
            located(f"collapse: axes {start_dimension} to {stop_dimension} of shape {shape} are no range of axes")
        )
    return fnp.reshape(operand, (*shape[:start], math.prod(shape[start:stop]), *shape[stop:]))


def empty(shape, dtype):
    """An array of `shape` whose elements are not specified; they are zeros here."""
    return fnp.zeros(shape, dtype)


def tile(operand, reps: Sequence[int]):
    """`operand` repeated as a block `reps[i]` times along axis i; one number for each axis."""
    check_array("tile", operand)
    if len(tuple(reps)) != len(shape_of(operand)):
        raise ShapeError(
            located(
                f"tile: {len(tuple(reps))} numbers in reps for an array of shape {shape_of(operand)}; give one each"
            )
        )
    return fnp.tile(operand, tuple(reps))


def broadcast_shapes(*shapes):
    """The shape that these shapes broadcast to."""
    return fnp.broadcast_shapes(*shapes)


def reshape(x, new_sizes, dimensions=None):
    """The elements of `x` (with its axes in the order `dimensions` first) in a new shape."""
    check_array("reshape", x)
    return fnp.reshape(x if dimensions is None else fnp.transpose(x, dimensions), new_sizes)


def expand_dims(x, dimensions):
    """`x` with axes of size 1 at these positions of the result."""
    return fnp.expand_dims(x, tuple(dimensions))


def squeeze(x, dimensions):
    """`x` without these axes, which must have size 1."""
    return fnp.squeeze(x, tuple(dimensions))


def transpose(x, permutation):
    """`x` with its axes in another order."""
    return fnp.transpose(x, tuple(permutation))


def rev(x, dimensions):
    """`x` read backwards along these axes."""
    return fnp.flip(x, tuple(dimensions))


def concatenate(operands, dimension: int):
    """The arrays, of one dtype, one after another along `dimension`."""
    dtype = {dtype_of(x) for x in operands}
    if len(dtype) > 1:
        strict("concatenate", *(fnp.zeros((), d) for d in dtype))
    return fnp.concatenate(list(operands), dimension)


def stack(operands, axis: int = 0):
    """The arrays, of one shape and dtype, along a new axis at position `axis`."""
    operands = list(operands)
    if not operands:
        raise ArgumentError(located("lax.stack needs at least one array"))
    return fnp.stack(strict("stack", *operands), axis)


def unstack(x, axis: int = 0) -> tuple:
    """The slices of `x` along `axis`, as a tuple."""
    return fnp.unstack(x, axis)


def split(operand, sizes: Sequence[int], axis: int = 0) -> list:
    """`operand` cut along `axis` into parts of these sizes, which add up to its extent."""
    check_array("split", operand)
    axis = canonical_axis(axis, len(shape_of(operand)), "split")
    sizes, extent = canonical_shape(tuple(sizes), "split"), shape_of(operand)[axis]
    if sum(sizes) != extent:
        raise ShapeError(located(f"split: the sizes {sizes} add up to {sum(sizes)}, but axis {axis} has size {extent}"))
    return fnp.split(operand, np.cumsum(sizes)[:-1], axis)


def pad(x, padding_value, padding_config: Sequence[tuple[int, int, int]]):
    """`x` with `padding_value` added: (before, after, between) for each axis; negative numbers take elements away."""
    check_array("pad", x, padding_value)
    if len(padding_config) != len(shape_of(x)):
        raise ShapeError(located(f"pad: {len(padding_config)} triples for an array of shape {shape_of(x)}"))
    value = convert(padding_value, dtype_of(x))
    config = tuple((int(low), int(high), int(interior)) for low, high, interior in padding_config)
    return primitives.pad(x, value, config=config)


# ---- slices ----------------------------------------------------------------------------------------------------


def slice(x, start_indices, limit_indices, strides=None):  # noqa: A001
    """The elements from `start_indices` to before `limit_indices`, `strides` apart, all static."""
    check_array("slice", x)
    shape = shape_of(x)
    starts, limits = (tuple(map(operator.index, v)) for v in (start_indices, limit_indices))
    strides = (1,) * len(starts) if strides is None else tuple(map(operator.index, strides))
    for axis, (a, b, n) in enumerate(zip(starts, limits, shape)):
        if not 0 <= a <= b <= n:
            raise ShapeError(located(f"slice: {a}:{b} does not lie inside axis {axis} of size {n} (shape {shape})"))
    return primitives.slice(x, starts=starts, limits=limits, strides=strides)


def slice_in_dim(x, start_index, limit_index, stride: int = 1, axis: int = 0):
    """The elements `start_index:limit_index:stride` of one axis; None and negative numbers as in Python."""
    axis = canonical_axis(axis, len(shape_of(x)), "slice_in_dim")
    index = [_slice(None)] * len(shape_of(x))
    index[axis] = _slice(start_index, limit_index, stride)
    return fnp.asarray(x)[tuple(index)]


def _slice(*bounds):
    import builtins

    return builtins.slice(*bounds)


def index_in_dim(x, index: int, axis: int = 0, keepdims: bool = True):
    """Slice number `index` (static) along an axis."""
    axis = canonical_axis(axis, len(shape_of(x)), "index_in_dim")
    taken = fnp.asarray(x)[(_slice(None),) * axis + (index,)]
    return fnp.expand_dims(taken, axis) if keepdims else taken


def _starts(x, starts, name: str) -> list:
    """Dynamic starts counted from the front, one per axis, of one integer dtype."""
    listed = list(starts) if isinstance(starts, (tuple, list)) else list(fnp.unstack(starts))
    if len(listed) != len(shape_of(x)):
        raise ShapeError(located(f"{name}: {len(listed)} start indices for an array of shape {shape_of(x)}"))
    counted = []
    for start, extent in zip(listed, shape_of(x)):
        if isinstance(start, (int, np.integer)):
            counted.append(np.int32(start + extent if start < 0 else start))
        else:
            start = fnp.asarray(start)
            counted.append(
                convert(
                    fnp.where(fnp.less(start, 0), fnp.add(start, extent), start)
                    if not dtypes.is_unsigned(dtype_of(start))
                    else start,
                    dtypes.int32,
                )
            )
    return counted


def dynamic_slice(x, start_indices, slice_sizes):
    """The window of static size `slice_sizes` that starts at `start_indices`, which may be traced."""
    check_array("dynamic_slice", x)
    sizes = canonical_shape(slice_sizes, "dynamic_slice")
    if any(size > extent for size, extent in zip(sizes, shape_of(x))):
        raise ShapeError(located(f"dynamic_slice: a window of shape {sizes} is larger than the array {shape_of(x)}"))
    return primitives.dynamic_slice(fnp.asarray(x), _starts(x, start_indices, "dynamic_slice"), sizes)


def dynamic_update_slice(x, update, start_indices):
    """`x` with the window that starts at `start_indices` replaced by `update`."""
    x, update = (
        strict("dynamic_update_slice", x, fnp.asarray(update))
        if not shape_of(x)
        else (fnp.asarray(x), fnp.asarray(update))
    )
    if len(shape_of(update)) != len(shape_of(x)) or any(m > n for m, n in zip(shape_of(update), shape_of(x))):
        raise ShapeError(
            located(f"dynamic_update_slice: an update of shape {shape_of(update)} does not fit into {shape_of(x)}")
        )
    return primitives.dynamic_update_slice(
        x, convert(update, dtype_of(x)), _starts(x, start_indices, "dynamic_update_slice")
    )


def _start_on_axis(x, start, axis: int) -> list:
    starts: list = [0] * len(shape_of(x))
    starts[axis] = start
    return starts


def dynamic_slice_in_dim(x, start_index, slice_size: int, axis: int = 0):
    """`slice_size` slices along an axis from a start that may be traced."""
    axis = canonical_axis(axis, len(shape_of(x)), "dynamic_slice_in_dim")
    sizes = [slice_size if a == axis else n for a, n in enumerate(shape_of(x))]
    return dynamic_slice(x, _start_on_axis(x, start_index, axis), sizes)


def dynamic_index_in_dim(x, index, axis: int = 0, keepdims: bool = True):
    """Slice number `index`, which may be traced, along an axis."""
    axis = canonical_axis(axis, len(shape_of(x)), "dynamic_index_in_dim")
    taken = dynamic_slice_in_dim(x, index, 1, axis)
    return taken if keepdims else fnp.squeeze(taken, axis)


def dynamic_update_slice_in_dim(x, update, start_index, axis: int):
    """`x` with the slices along an axis from `start_index` on replaced by `update`."""
    axis = canonical_axis(axis, len(shape_of(x)), "dynamic_update_slice_in_dim")
    return dynamic_update_slice(x, update, _start_on_axis(x, start_index, axis))


def dynamic_update_index_in_dim(x, update, index, axis: int):
    """`x` with slice number `index` along an axis replaced by `update`."""
    axis = canonical_axis(axis, len(shape_of(x)), "dynamic_update_index_in_dim")
    update = fnp.asarray(update)
    if len(shape_of(update)) != len(shape_of(x)):
        update = fnp.expand_dims(update, axis)
    return dynamic_update_slice_in_dim(x, update, index, axis)


# ---- gather and scatter ----------------------------------------------------------------------------------------


class GatherScatterMode(enum.Enum):
    """What happens to a window that sticks out: it is moved inside, filled or dropped, or the user says there is none.

    The strings "clip", "fill" (or "drop") and "promise_in_bounds" stand for them.
    """

    CLIP = 1
    FILL_OR_DROP = 2
    PROMISE_IN_BOUNDS = 3


_MODES = {None: "fill", "fill": "fill", "drop": "fill", "clip": "clip", "promise_in_bounds": "promise"}
_MODES_OF_ENUM = {
    GatherScatterMode.CLIP: "clip",
    GatherScatterMode.FILL_OR_DROP: "fill",
    GatherScatterMode.PROMISE_IN_BOUNDS: "promise",
}


def _mode(mode) -> str:
    if isinstance(mode, GatherScatterMode):
        return _MODES_OF_ENUM[mode]
    if mode not in _MODES:
        raise ArgumentError(located(f"mode must be 'fill', 'clip' or 'promise_in_bounds', not {mode!r}"))
    return _MODES[mode]


def gather(
    x,
    start_indices,
    dimension_numbers: GatherDims,
    slice_sizes,
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode=None,
    fill_value=None,
):
    """Windows of `x` that start at the vectors along the last axis of `start_indices`; see `GatherDimensionNumbers`."""
    return primitives.gather(
        fnp.asarray(x),
        fnp.asarray(start_indices),
        dims=dimension_numbers,
        slice_sizes=canonical_shape(slice_sizes, "gather"),
        mode=_mode(mode),
        fill_value=fill_value,
    )


def _scatter(name: str, op: str, does: str):
    def function(
        x,
        scatter_indices,
        updates,
        dimension_numbers: ScatterDims,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode=None,
        unordered: bool = False,
    ):
        x, updates = fnp.asarray(x), fnp.asarray(updates)
        strict(name, fnp.zeros((), dtype_of(x)), fnp.zeros((), dtype_of(updates)))
        return primitives.scatter(
            x,
            fnp.asarray(scatter_indices),
            updates,
            op=op,
            dims=dimension_numbers,
            mode=_mode(mode),
            unique_indices=unique_indices,
            indices_are_sorted=indices_are_sorted,
            unordered=unordered,
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"`x` with windows of `updates` {does} at `scatter_indices`; see `ScatterDimensionNumbers`.\n\n"
        "Updates of one element are taken in their order, unless `unordered` lets the device choose it."
    )
    return function


scatter = _scatter("scatter", "set", "written")
scatter_add = _scatter("scatter_add", "add", "added")
scatter_mul = _scatter("scatter_mul", "mul", "multiplied in")
scatter_min = _scatter("scatter_min", "min", "taken the minimum with")
scatter_max = _scatter("scatter_max", "max", "taken the maximum with")


def scatter_sub(
    operand,
    scatter_indices,
    updates,
    dimension_numbers: ScatterDims,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode=None,
):
    """`operand` with windows of `updates` subtracted at `scatter_indices`; see `ScatterDimensionNumbers`."""
    check_array("scatter_sub", operand, scatter_indices, updates)
    negated = primitives.sub(np.zeros((), dtype_of(updates))[()], fnp.asarray(updates))
    promises = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
    return scatter_add(operand, scatter_indices, negated, dimension_numbers, mode=mode, **promises)


def scatter_apply(
    operand,
    scatter_indices,
    func: Callable,
    dimension_numbers: ScatterDims,
    *,
    update_shape: Sequence[int] = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode=None,
):
    """`operand` with `func`, a function of arrays elementwise, applied to the windows at `scatter_indices`.

    `update_shape` is the shape that updates of these windows would have. Where windows overlap `func` is applied
    repeatedly, unless `unique_indices` says that none do. Without derivatives in reverse mode.
    """
    check_array("scatter_apply", operand, scatter_indices)
    operand = fnp.asarray(operand)
    ones = fnp.ones(canonical_shape(update_shape, "scatter_apply"), dtypes.int32)
    counts = fnp.zeros(shape_of(operand), dtypes.int32)
    counts = scatter_add(counts, scatter_indices, ones, dimension_numbers, unique_indices=unique_indices, mode=mode)

    def once(x, done):
        return fnp.where(fnp.greater(counts, done), convert(func(x), dtype_of(operand)), x)

    if unique_indices:
        return once(operand, 0)
    most = fnp.max(counts, initial=0)
    return while_loop(
        lambda state: fnp.less(state[1], most),
        lambda state: (once(*state), fnp.add(state[1], 1)),
        (operand, fnp.zeros((), dtypes.int32)),
    )[0]


def index_take(x, indices, axes: Sequence[int]):
    """The slices of `x` at index vectors (one array per axis of `axes`), stacked along a new first axis."""
    axes = tuple(canonical_axis(a, len(shape_of(x)), "index_take") for a in axes)
    index: list = [_slice(None)] * len(shape_of(x))
    for array, axis in zip(indices, axes):
        index[axis] = array
    picked = fnp.asarray(x)[tuple(index)]
    together = axes == tuple(range(axes[0], axes[0] + len(axes)))
    return fnp.moveaxis(picked, axes[0], 0) if together and axes[0] else picked


def sort(operand, dimension: int = -1, is_stable: bool = True, num_keys: int = 1):
    """The operand (or several, which are reordered together by the first `num_keys`) sorted along an axis."""
    several = isinstance(operand, (tuple, list))
    operands = [fnp.asarray(x) for x in (operand if several else [operand])]
    axis = canonical_axis(dimension, len(shape_of(operands[0])), "sort")
    results = primitives.sort(*operands, axis=axis, num_keys=num_keys, stable=is_stable)
    return tuple(results) if several else results[0]


def sort_key_val(keys, values, dimension: int = -1, is_stable: bool = True):
    """(keys, values), both in the order of the sorted keys."""
    return sort((keys, values), dimension, is_stable)


def top_k(operand, k: int):
    """(values, indices) of the k largest elements along the last axis."""
    return fnp.top_k(operand, k)


def approx_max_k(
    operand,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
):
    """(values, indices) of the k largest elements along an axis, the largest first.

    The result is exact, which every `recall_target` allows; the last three arguments are for searches that are not.
    """
    return fnp.top_k(operand, k, reduction_dimension)


def approx_min_k(
    operand,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
):
    """(values, indices) of the k smallest elements along an axis, the smallest first; exact, as in `approx_max_k`."""
    values, indices = fnp.top_k(fnp.negative(operand), k, reduction_dimension)
    return fnp.negative(values), indices
