"""`ftiny.lax`, folds: reductions over axes and windows, running folds and scans of associative functions.

Input: an array, an initial value and a function of two values. Output: the folded array:

    >>> reduce_window(ftiny.numpy.arange(4.), -jnp.inf, max, (2,), (2,), 'VALID')
    Array([1., 3.], dtype=float32)

Sums, products, maxima and minima become one windowed `reduce`; any other function is applied position by position. The
gradient of a windowed maximum goes to the first maximum of each window.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftiny import dtypes, primitives, tree
from ftiny import numpy as fnp
from ftiny.contraction import Direct, Window, make_spec
from ftiny.errors import ArgumentError, ShapeError
from ftiny.folds import identity
from ftiny.lax import elementwise
from ftiny.lax.convolution import dilate_dim, padtype_to_pads, window_count
from ftiny.numpy import ufuncs
from ftiny.numpy.common import canonical_axes, canonical_axis, check_array, convert, dtype_of, is_concrete, shape_of
from ftiny.numpy.manipulation import slice_axis
from ftiny.numpy.reductions import fold
from ftiny.source import located

# ---- which fold a function of two values is --------------------------------------------------------------------

_MONOIDS: dict[Any, str] = {}
for _op, _functions in {
    "sum": (elementwise.add, ufuncs.add, operator.add),
    "prod": (elementwise.mul, ufuncs.multiply, operator.mul),
    "max": (elementwise.max, ufuncs.maximum, max),
    "min": (elementwise.min, ufuncs.minimum, min),
    "and": (elementwise.bitwise_and, ufuncs.bitwise_and, ufuncs.logical_and, operator.and_),
    "or": (elementwise.bitwise_or, ufuncs.bitwise_or, ufuncs.logical_or, operator.or_),
    "xor": (elementwise.bitwise_xor, ufuncs.bitwise_xor, ufuncs.logical_xor, operator.xor),
}.items():
    _MONOIDS.update(dict.fromkeys(_functions, _op))


def _is_identity(value, op: str, dtype: np.dtype) -> bool:
    """Whether `value` is known to leave every element unchanged under `op`."""
    if not is_concrete(value):
        return False
    return bool(np.asarray(value).astype(dtype) == identity(op, dtype))


def reduce(operand, init_value, computation: Callable, dimensions: Sequence[int]):
    """`operand` folded along `dimensions` by `computation`, a function of two values, from `init_value`.

    The function must be associative, with `init_value` as its identity; the order of application is not specified.
    """
    check_array("reduce", operand, init_value)
    operand = fnp.asarray(operand)
    axes = canonical_axes(tuple(dimensions), len(shape_of(operand)), "reduce")
    op = _MONOIDS.get(computation)
    if op is not None:
        result = _fold_as(operand, op, axes)
        return (
            result
            if _is_identity(init_value, op, dtype_of(operand))
            else computation(result, convert(init_value, dtype_of(operand)))
        )
    kept = tuple(a for a in range(len(shape_of(operand))) if a not in axes)
    rows = fnp.transpose(operand, (*axes, *kept))
    rows = fnp.reshape(rows, (math.prod(shape_of(operand)[a] for a in axes), *(shape_of(operand)[a] for a in kept)))
    return computation(_fold_halves(rows, computation, init_value), convert(init_value, dtype_of(operand)))


def _fold_as(x, op: str, axes: tuple[int, ...]):
    if dtype_of(x) == dtypes.bool_ and op in ("sum", "prod", "max", "min"):
        op = {"sum": "or", "max": "or", "prod": "and", "min": "and"}[op]
    return fold(x, op, axes)


def _fold_halves(rows, computation: Callable, init_value):
    """Axis 0 folded by applying the function to its two halves until one row is left."""
    while shape_of(rows)[0] > 1:
        n = shape_of(rows)[0]
        half = n // 2
        folded = computation(slice_axis(rows, 0, 0, half), slice_axis(rows, 0, half, 2 * half))
        rows = fnp.concatenate([folded, slice_axis(rows, 0, n - 1, n)]) if n % 2 else folded
    if shape_of(rows)[0] == 0:
        return fnp.full(shape_of(rows)[1:], init_value, dtype_of(rows))
    return fnp.squeeze(rows, 0)


def _reducer(name: str, op: str, does: str):
    def function(operand, axes: Sequence[int]):
        operand = fnp.asarray(operand)
        return _fold_as(operand, op, canonical_axes(tuple(axes), len(shape_of(operand)), name))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {does} over `axes`, in the dtype of the operand."
    return function


reduce_sum = _reducer("reduce_sum", "sum", "sum")
reduce_prod = _reducer("reduce_prod", "prod", "product")
reduce_max = _reducer("reduce_max", "max", "largest element")
reduce_min = _reducer("reduce_min", "min", "smallest element")
reduce_and = _reducer("reduce_and", "and", "bits that are set in all")
reduce_or = _reducer("reduce_or", "or", "bits that are set in any")
reduce_xor = _reducer("reduce_xor", "xor", "exclusive or")


def argmax(operand, axis: int, index_dtype=dtypes.int32):
    """The position of the largest element along `axis`, the first of equals."""
    return convert(fnp.argmax(operand, axis), dtypes.dtype(index_dtype))


def argmin(operand, axis: int, index_dtype=dtypes.int32):
    """The position of the smallest element along `axis`, the first of equals."""
    return convert(fnp.argmin(operand, axis), dtypes.dtype(index_dtype))


# ---- windows ---------------------------------------------------------------------------------------------------


def reduce_window_shape_tuple(
    operand_shape, window_dimensions, window_strides, padding, base_dilation=None, window_dilation=None
) -> tuple[int, ...]:
    """The shape of `reduce_window`."""
    one = (1,) * len(operand_shape)
    return tuple(
        map(
            window_count,
            operand_shape,
            window_dimensions,
            window_strides,
            padding,
            base_dilation or one,
            window_dilation or one,
        )
    )


def reduce_window(
    operand,
    init_value,
    computation: Callable,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding="VALID",
    base_dilation=None,
    window_dilation=None,
):
    """Every window of `operand` folded by `computation`, a function of two values, from `init_value`.

    Args:
        window_dimensions, window_strides: the shape of a window, and the distance of two, along each axis.
        padding: 'SAME', 'VALID', or (before, after) for each axis; padding holds `init_value`.
        base_dilation, window_dilation: the distance of the elements of the operand and of a window.

    A maximum or minimum passes its gradient to the first extremum of each window.
    """
    check_array("reduce_window", operand, init_value)
    operand = fnp.asarray(operand)
    shape = shape_of(operand)
    one = (1,) * len(shape)
    sizes = tuple(window_dimensions)
    strides = one if window_strides is None else tuple(window_strides)
    base = one if base_dilation is None else tuple(base_dilation)
    dilation = one if window_dilation is None else tuple(window_dilation)
    for name, value in (
        ("window_dimensions", sizes),
        ("window_strides", strides),
        ("base_dilation", base),
        ("window_dilation", dilation),
    ):
        if len(value) != len(shape):
            raise ShapeError(
                located(f"reduce_window: {name} {value} must have one entry for each axis of the shape {shape}")
            )
    if isinstance(padding, str):
        padding = padtype_to_pads(
            [dilate_dim(n, b) for n, b in zip(shape, base)],
            [dilate_dim(w, d) for w, d in zip(sizes, dilation)],
            strides,
            padding,
        )
    pads = [tuple(pair) for pair in padding]
    op = _MONOIDS.get(computation)
    if op in ("sum", "prod", "max", "min") and dtype_of(operand) != dtypes.bool_:
        result = _fold_windows(operand, op, sizes, strides, pads, base, dilation)
        return (
            result
            if _is_identity(init_value, op, dtype_of(operand))
            else computation(result, convert(init_value, dtype_of(operand)))
        )
    return _fold_positions(operand, init_value, computation, sizes, strides, pads, base, dilation)


def _fold_windows(x, op: str, sizes, strides, pads, base, dilation):
    """One `reduce` with a windowed spec."""
    ndim = len(shape_of(x))
    counts = [window_count(*row) for row in zip(shape_of(x), sizes, strides, pads, base, dilation)]
    if 0 in counts or 0 in sizes:
        return fnp.full(tuple(counts), identity(op, dtype_of(x)), dtype_of(x))
    axes: list[Any] = []
    extents = {}
    for a in range(ndim):
        extents[a], extents[ndim + a] = counts[a], sizes[a]
        alone = (sizes[a], strides[a], pads[a], base[a]) == (1, 1, (0, 0), 1)
        axes.append(Direct(a) if alone else Window(a, ndim + a, strides[a], dilation[a], pads[a][0], base[a]))
    spec = make_spec([axes], list(range(ndim)), extents)
    if not spec.has_windows:
        return x
    if op in ("max", "min"):
        return primitives.reduce_with_offset(x, op=f"{op}_with_offset", spec=spec)[0]
    wide = dtypes.accumulation_dtype(dtype_of(x))
    return convert(primitives.reduce(convert(x, wide), op=op, spec=spec), dtype_of(x))


def _fold_positions(x, init_value, computation: Callable, sizes, strides, pads, base, dilation):
    """For any function: one strided slice for each position in the window, combined in order."""
    value = convert(init_value, dtype_of(x))
    padded = primitives.pad(x, value, config=tuple((low, high, b - 1) for (low, high), b in zip(pads, base)))
    counts = [window_count(*row) for row in zip(shape_of(x), sizes, strides, pads, base, dilation)]
    result = fnp.full(tuple(counts), value, dtype_of(x))
    if 0 in counts:
        return result
    for position in np.ndindex(*sizes):
        starts = tuple(p * d for p, d in zip(position, dilation))
        limits = tuple(s + (c - 1) * t + 1 for s, c, t in zip(starts, counts, strides))
        result = computation(result, primitives.slice(padded, starts=starts, limits=limits, strides=tuple(strides)))
    return result


# ---- running folds ---------------------------------------------------------------------------------------------


def _running(name: str, op: str, does: str):
    def function(operand, axis: int = 0, reverse: bool = False):
        operand = fnp.asarray(operand)
        axis = canonical_axis(axis, len(shape_of(operand)), name)
        return primitives.cumulate(operand, op=op, axis=axis, reverse=reverse)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The running {does} along `axis`, from its end under `reverse`."
    return function


cumsum = _running("cumsum", "sum", "sum")
cumprod = _running("cumprod", "prod", "product")
cummax = _running("cummax", "max", "maximum")
cummin = _running("cummin", "min", "minimum")
cumlogsumexp = _running("cumlogsumexp", "logsumexp", "log(sum(exp(x)))")


def associative_scan(function: Callable, elems, reverse: bool = False, axis: int = 0):
    """The running fold of an associative function of two trees of arrays, in logarithmically many steps.

    `function(a, b)` combines elements that lie side by side along `axis`; result i covers elements 0 to i.
    """
    if not callable(function):
        raise ArgumentError(located("associative_scan: the first argument must be a function"))
    leaves, structure = tree.flatten(elems)
    leaves = [fnp.asarray(x) for x in leaves]
    axis = canonical_axis(axis, len(shape_of(leaves[0])), "associative_scan")
    if len({shape_of(x)[axis] for x in leaves}) > 1:
        raise ShapeError(
            located(f"associative_scan: the arrays differ in size along axis {axis}: {[shape_of(x) for x in leaves]}")
        )
    if reverse:
        leaves = [fnp.flip(x, axis) for x in leaves]

    def combine(a, b):
        return tree.leaves(function(tree.unflatten(structure, a), tree.unflatten(structure, b)))

    leaves = _scan_pairs(combine, leaves, axis)
    return tree.unflatten(structure, [fnp.flip(x, axis) for x in leaves] if reverse else leaves)


def _scan_pairs(combine: Callable, leaves: list, axis: int) -> list:
    """Combine neighbours, scan the half as many results, and fill in the positions between."""
    n = shape_of(leaves[0])[axis]
    if n < 2:
        return leaves
    cut = functools.partial(_every_other, axis=axis)
    pairs = combine([cut(x, 0, n - 1) for x in leaves], [cut(x, 1, n) for x in leaves])
    odd = _scan_pairs(combine, pairs, axis)
    count = shape_of(odd[0])[axis]
    before = [slice_axis(x, axis, 0, count - 1 if n % 2 == 0 else count) for x in odd]
    even = combine(before, [cut(x, 2, n) for x in leaves]) if n > 2 else [slice_axis(x, axis, 0, 0) for x in leaves]
    even = [fnp.concatenate([slice_axis(x, axis, 0, 1), y], axis) for x, y in zip(leaves, even)]
    return [_interleave(a, b, axis) for a, b in zip(even, odd)]


def _every_other(x, start: int, limit: int, axis: int):
    return slice_axis(x, axis, start, limit, 2)


def _interleave(even, odd, axis: int):
    """even[0], odd[0], even[1], odd[1], ...: the sum of both with zeros between."""
    m, n = shape_of(even)[axis], shape_of(odd)[axis]
    zero = identity("sum", dtype_of(even)) if dtype_of(even) != dtypes.bool_ else np.bool_(False)
    spread = []
    for x, low, high in ((even, 0, n + m - (2 * m - 1)), (odd, 1, n + m - 2 * n)):
        config = [(0, 0, 0)] * len(shape_of(x))
        config[axis] = (low, high, 1)
        spread.append(primitives.pad(x, zero, config=tuple(config)))
    return ufuncs.add(*spread)
