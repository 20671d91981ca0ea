"""Making arrays: from Python and numpy values, from shapes, from ranges and patterns.

Input: nested lists, numpy arrays, shapes and dtypes. Output: arrays; inside a transformed function, equations:

    >>> eye(2, k=1)
    Array([[0., 1.],
           [0., 0.]], dtype=float32)

Nested Python numbers take the default dtypes (float32, int32); numpy arrays keep their dtype, 64 bits included.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ftiny import core, dlpack, dtypes, primitives, tree
from ftiny.array import Array, copied, device_put
from ftiny.errors import ArgumentError, ShapeError, TracerError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import (
    PYTHON_SCALARS,
    canonical_axis,
    canonical_shape,
    check_array,
    convert,
    dtype_of,
    full_shape,
    is_array,
    materialize,
    scalar_literal,
    shape_of,
)
from ftiny.source import located

# ---- from values -----------------------------------------------------------------------------------------------


def array(object, dtype=None, ndmin: int = 0, *, copy: bool | None = None, device=None):  # noqa: A002
    """An array of `object`: a number, a numpy array, an array, or nested lists of those with equal shapes.

    A numpy array is copied; an array never changes and is returned as it is, unless `copy` is true. `ndmin` adds
    leading axes; `copy` and `device` are those of `asarray`. Raises `ShapeError` when nested lists are ragged,
    `TracerError` for what holds no numbers, and without a `dtype` `ArgumentError` for a Python integer that int32, or
    the dtype of the elements beside it, does not hold.
    """
    result = asarray(object, dtype, copy=copy, device=device)
    missing = ndmin - result.ndim
    return result if missing <= 0 else result.reshape((1,) * missing + result.shape)


def asarray(object, dtype=None, *, copy: bool | None = None, device=None):  # noqa: A002
    """`object` as an array, without a copy where possible; see `array`.

    copy: True for memory of its own, False for an `ArgumentError` where a copy would be needed, which is the case for
        everything but arrays of the wanted dtype on the wanted device.
    device: what the result is bound to (one of `ftiny.devices()` or its name); see `ftiny.device_put`.
    """
    result = _converted(object, None if dtype is None else dtypes.dtype(dtype))
    # Binding to another device copies already, and so does whatever makes another array.
    result = on_device(result, device)
    if copy is False and result is not object:
        raise ArgumentError(
            located(
                f"asarray: a {type(object).__name__} cannot become an array of dtype {result.dtype} without a copy; "
                "leave copy=False out, or share memory with ftiny.numpy.from_dlpack"
            )
        )
    return copied(result) if copy and result is object else result


def on_device(x, device):
    """`x` bound to a device; as it is when `device` is None or when it is traced."""
    return x if device is None else device_put(x, device)


def _converted(object, wanted: np.dtype | None):  # noqa: A002
    """`object` as an array of dtype `wanted` (None: the dtype of the object)."""
    if isinstance(object, core.ArrayLike):
        if wanted is None and object.aval.scalar:
            return primitives.reshape(object, shape=())
        return object if wanted is None else convert(object, wanted)
    if isinstance(object, (np.ndarray, np.generic)):
        return _from_numpy(object, wanted)
    if isinstance(object, PYTHON_SCALARS):
        if wanted is None:
            dtypes.check_fits(object, dtype_of(object))
        return _from_numpy(scalar_literal(object, wanted or dtype_of(object)))
    if isinstance(object, (list, tuple)):
        return _from_nested(object, wanted)
    if hasattr(object, "__cuda_array_interface__"):
        return asarray(dlpack.from_cuda_interface(object), wanted)
    if hasattr(object, "__dlpack__") and hasattr(object, "__dlpack_device__"):
        # Of bfloat16 too, which other libraries cannot give as a numpy array.
        return asarray(dlpack.from_dlpack(object, copy=True), wanted)
    if not isinstance(object, core.TypedKey) and hasattr(object, "__array__") or hasattr(object, "__array_interface__"):
        return _from_numpy(np.asarray(object), wanted)
    if isinstance(object, core.TypedKey) and wanted is None:
        return object
    way_out = f"; {object.WAY_OUT}" if isinstance(object, core.TypedKey) else ""
    kind = type(object).__name__
    raise TracerError(located(f"array: cannot make an array of a {kind}: {str(object)[:60]!r}{way_out}"))


def _from_numpy(x, dtype: np.dtype | None = None):
    """An array of a numpy value; inside a traced function a scalar becomes an equation, an array a constant."""
    dtype = dtypes.dtype(x.dtype) if dtype is None else dtype
    with np.errstate(all="ignore"):
        values = np.asarray(x).astype(dtype)
    if values.ndim == 0 and not isinstance(core.current_trace(), core.EvalTrace):
        return primitives.broadcast(values[()], shape=(), dims=())
    return Array.from_numpy(values, copy=False)


def _from_nested(values, dtype: np.dtype | None):
    leaves = tree.leaves(values, is_leaf=lambda x: not isinstance(x, (list, tuple)))
    if not leaves:
        return _from_numpy(np.asarray(values, dtype or dtypes.float32))
    if dtype is None and all(isinstance(x, core.TypedKey) for x in leaves):
        return _stack_nested(values, None)
    if not all(is_array(x) for x in leaves):
        bad = next(x for x in leaves if not is_array(x))
        raise TracerError(
            located(f"array: an element is a {type(bad).__name__}, which is no number: {str(bad)[:60]!r}")
        )
    if dtype is None:
        dtype = dtypes.result_type(*leaves)
        for leaf in leaves:
            dtypes.check_fits(leaf, dtype)
    if any(isinstance(x, core.ArrayLike) for x in leaves):
        return _stack_nested(values, dtype)
    try:
        return _from_numpy(np.array(values), dtype)
    except (ValueError, OverflowError) as problem:
        raise ShapeError(located(f"array: nested lists must have equal lengths at each depth ({problem})")) from None


def _stack_nested(values, dtype: np.dtype | None):
    """Nested lists with arrays among their elements, or of typed keys, stacked level by level."""
    from ftiny.numpy import stack

    if not isinstance(values, (list, tuple)):
        return asarray(values, dtype)
    return stack([_stack_nested(value, dtype) for value in values])


def copy(x):
    """`x` in memory of its own."""
    check_array("copy", x)
    return asarray(x, copy=True)


# ---- from shapes -----------------------------------------------------------------------------------------------
# `device` is what the result is bound to, as in `asarray`.


def full(shape, fill_value, dtype=None, *, device=None):
    """An array of `shape` with every element `fill_value` (a scalar, or an array that broadcasts)."""
    shape = canonical_shape(shape, "full")
    check_array("full", fill_value)
    wanted = dtype_of(fill_value) if dtype is None else dtypes.dtype(dtype)
    return on_device(materialize(convert(fill_value, wanted), shape), device)


def zeros(shape, dtype=None, *, device=None):
    """An array of zeros (float32 unless `dtype` is given)."""
    return full(shape, 0, dtypes.float32 if dtype is None else dtype, device=device)


def ones(shape, dtype=None, *, device=None):
    """An array of ones (float32 unless `dtype` is given)."""
    return full(shape, 1, dtypes.float32 if dtype is None else dtype, device=device)


def empty(shape, dtype=None, *, device=None):
    """An array of zeros: ftiny shows no uninitialised memory."""
    return zeros(shape, dtype, device=device)


def full_like(x, fill_value, dtype=None, shape=None, *, device=None):
    """`full` with the shape and dtype of `x`, unless others are given."""
    check_array("full_like", x)
    shape = shape_of(x) if shape is None else shape
    return full(shape, fill_value, dtype_of(x) if dtype is None else dtype, device=device)


def zeros_like(x, dtype=None, shape=None, *, device=None):
    """Zeros with the shape and dtype of `x`, unless others are given."""
    return full_like(x, 0, dtype, shape, device=device)


def ones_like(x, dtype=None, shape=None, *, device=None):
    """Ones with the shape and dtype of `x`, unless others are given."""
    return full_like(x, 1, dtype, shape, device=device)


empty_like = zeros_like


# ---- ranges ----------------------------------------------------------------------------------------------------


def arange(start, stop=None, step=None, dtype=None, *, device=None):
    """Numbers from `start` (default 0) up to but not including `stop`, `step` apart.

    The length must be known while tracing, so start, stop and step are Python or numpy numbers. Integers give int32,
    anything else float32, unless `dtype` says otherwise.
    """
    for value in (start, stop, step):
        if isinstance(value, core.Tracer):
            float(value)  # raises, naming the line: the length of an array cannot depend on a traced value
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    numbers = [x if isinstance(x, PYTHON_SCALARS) else np.asarray(x)[()] for x in (start, stop, step)]
    wanted = dtypes.result_type(*numbers) if dtype is None else dtypes.dtype(dtype)
    if step == 0:
        raise ArgumentError(located("arange: step must not be zero"))
    length = max(0, math.ceil((stop - start) / step))
    if wanted.kind not in "iu" or not all(float(x).is_integer() for x in (start, step)):
        return on_device(_from_numpy(np.arange(start, stop, step), wanted), device)
    counted = primitives.iota(shape=(length,), dtype=wanted, axis=0)
    if step != 1:
        counted = primitives.mul(counted, scalar_literal(int(step), wanted))
    if start != 0:
        counted = primitives.add(counted, scalar_literal(int(start), wanted))
    return on_device(counted, device)


def linspace(
    start, stop, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype=None, axis: int = 0, *, device=None
):
    """`num` numbers evenly spaced from `start` to `stop` (inclusive unless `endpoint=False`).

    `start` and `stop` may be arrays, which broadcast; the new axis is `axis`. With `retstep` also the spacing.
    """
    check_array("linspace", start, stop)
    computed = dtypes.result_type(start, stop, 0.0)
    wanted = computed if dtype is None else dtypes.dtype(dtype)
    if dtypes.is_inexact(wanted):
        computed = dtypes.promote(computed, wanted)  # float64 asked for has the precision of float64
    start, stop = ufuncs.promote("linspace", start, stop, dtype=computed)
    shape = np.broadcast_shapes(shape_of(start), shape_of(stop))
    start, stop = materialize(start, shape), materialize(stop, shape)
    intervals = num - 1 if endpoint else num
    step = ufuncs.divide(ufuncs.subtract(stop, start), intervals) if intervals > 0 else full(shape, math.nan, computed)
    axis = canonical_axis(axis, len(shape) + 1, "linspace")
    out_shape = (*shape[:axis], num, *shape[axis:])
    low, high = (primitives.reshape(x, shape=(*shape[:axis], 1, *shape[axis:])) for x in (start, stop))
    at = ufuncs.divide(primitives.iota(shape=out_shape, dtype=computed, axis=axis), max(intervals, 1))
    values = ufuncs.add(ufuncs.multiply(low, ufuncs.subtract(1, at)), ufuncs.multiply(high, at))
    if endpoint and num > 1:  # rounding must not move the last point
        last = ufuncs.equal(primitives.iota(shape=out_shape, dtype=dtypes.int32, axis=axis), num - 1)
        values = ufuncs.where_scalar(last, full_shape(high, out_shape), values)
    if dtypes.is_integer(wanted):
        values = ufuncs.floor(values)
    values = on_device(convert(values, wanted), device)
    return (values, step) if retstep else values


def logspace(start, stop, num: int = 50, endpoint: bool = True, base=10.0, dtype=None, axis: int = 0):
    """`base` to the power of `linspace(start, stop, num)`."""
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    result = ufuncs.power(convert(base, dtype_of(exponents)), exponents)
    return result if dtype is None else convert(result, dtypes.dtype(dtype))


def geomspace(start, stop, num: int = 50, endpoint: bool = True, dtype=None, axis: int = 0):
    """`num` positive numbers from `start` to `stop`, each a fixed multiple of the one before."""
    logs = linspace(ufuncs.log(start), ufuncs.log(stop), num, endpoint, axis=axis)
    result = ufuncs.exp(logs)
    return result if dtype is None else convert(result, dtypes.dtype(dtype))


def meshgrid(*xs, sparse: bool = False, indexing: str = "xy"):
    """Coordinate arrays of the grid spanned by vectors: one array per vector, each of the grid's shape.

    `indexing="xy"` (the default) puts the first vector along axis 1, `"ij"` along axis 0. `sparse` leaves the other
    axes at size 1.
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(located(f"meshgrid: indexing must be 'xy' or 'ij', not {indexing!r}"))
    vectors = [asarray(x) for x in xs]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) >= 2:
        order[:2] = [1, 0]
    sizes = [0] * len(vectors)
    for vector, axis in zip(vectors, order):
        sizes[axis] = vector.size
    grids = []
    for vector, axis in zip(vectors, order):
        column = primitives.reshape(vector, shape=tuple(vector.size if a == axis else 1 for a in range(len(vectors))))
        grids.append(column if sparse else full_shape(column, sizes))
    return grids


def indices(dimensions, dtype=dtypes.int32, sparse: bool = False):
    """The coordinates of every element of an array of this shape: an array of shape (ndim, *dimensions)."""
    from ftiny.numpy.manipulation import stack

    shape = canonical_shape(dimensions, "indices")
    wanted = dtypes.dtype(dtype)
    if sparse:
        ones_but = lambda a: tuple(extent if i == a else 1 for i, extent in enumerate(shape))
        return tuple(primitives.iota(shape=ones_but(a), dtype=wanted, axis=a) for a in range(len(shape)))
    if not shape:
        return zeros((0,), wanted)
    return stack([primitives.iota(shape=shape, dtype=wanted, axis=a) for a in range(len(shape))])


# ---- matrices --------------------------------------------------------------------------------------------------


def _columns_minus_rows(shape: tuple[int, ...]):
    rows = primitives.iota(shape=shape, dtype=dtypes.int32, axis=0)
    columns = primitives.iota(shape=shape, dtype=dtypes.int32, axis=1)
    return ufuncs.subtract(columns, rows)


def eye(N: int, M: int | None = None, k: int = 0, dtype=None, *, device=None):
    """An (N, M) matrix with ones on diagonal `k` (above the main one if positive) and zeros elsewhere."""
    (rows, columns) = canonical_shape((N, N if M is None else M), "eye")
    on_diagonal = ufuncs.equal(_columns_minus_rows((rows, columns)), int(k))
    return on_device(convert(on_diagonal, dtypes.float32 if dtype is None else dtypes.dtype(dtype)), device)


def identity(n: int, dtype=None):
    """The (n, n) identity matrix."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype=None):
    """An (N, M) matrix with ones on and below diagonal `k`."""
    shape = canonical_shape((N, N if M is None else M), "tri")
    below = ufuncs.less_equal(_columns_minus_rows(shape), int(k))
    return convert(below, dtypes.float32 if dtype is None else dtypes.dtype(dtype))


def _triangle(name: str, x, k: int, lower: bool):
    check_array(name, x)
    shape = shape_of(x)
    if len(shape) < 2:
        raise ShapeError(located(f"{name} needs a matrix or a stack of matrices, but the shape is {shape}"))
    offsets = _columns_minus_rows(shape[-2:])
    keep = ufuncs.less_equal(offsets, k) if lower else ufuncs.greater_equal(offsets, k)
    return ufuncs.where_scalar(full_shape(keep, shape), x, scalar_literal(0, dtype_of(x)))


def tril(x, k: int = 0):
    """The matrix `x` (or each of a stack) with zeros above diagonal `k`."""
    return _triangle("tril", x, k, lower=True)


def triu(x, k: int = 0):
    """The matrix `x` (or each of a stack) with zeros below diagonal `k`."""
    return _triangle("triu", x, k, lower=False)


def diag(v, k: int = 0):
    """Of a vector, the square matrix with it on diagonal `k`; of a matrix, the vector on its diagonal `k`."""
    check_array("diag", v)
    shape = shape_of(v)
    if len(shape) == 2:
        return diagonal(v, k)
    if len(shape) != 1:
        raise ShapeError(located(f"diag needs a vector or a matrix, but the shape is {shape}"))
    n = shape[0]
    if n == 0:
        return zeros((builtin_abs(k), builtin_abs(k)), dtype_of(v))
    zero = scalar_literal(0, dtype_of(v))
    # Written out row by row, a diagonal matrix is the vector with n zeros between its elements.
    spread = primitives.pad(v, zero, config=((0, 0, n),))
    matrix = primitives.reshape(
        primitives.pad(spread, zero, config=((0, n * n - shape_of(spread)[0], 0),)), shape=(n, n)
    )
    if k == 0:
        return matrix
    low, high = max(k, 0), max(-k, 0)
    return primitives.pad(matrix, zero, config=((high, low, 0), (low, high, 0)))


builtin_abs = abs


def diagflat(v, k: int = 0):
    """`diag` of the elements of `v` in one row."""
    v = asarray(v)
    return diag(primitives.reshape(v, shape=(v.size,)), k)


def diagonal(x, offset: int = 0, axis1: int = 0, axis2: int = 1):
    """The elements on diagonal `offset` of the matrices that two axes form; they become the last axis."""
    from ftiny.numpy.manipulation import moveaxis

    check_array("diagonal", x)
    ndim = len(shape_of(x))
    if ndim < 2:
        raise ShapeError(located(f"diagonal needs at least two axes, but the shape is {shape_of(x)}"))
    axis1, axis2 = canonical_axis(axis1, ndim, "diagonal"), canonical_axis(axis2, ndim, "diagonal")
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    *batch, rows, columns = shape_of(x)
    top, left = max(-offset, 0), max(offset, 0)
    n = max(0, min(rows - top, columns - left))
    starts = (0,) * len(batch) + (top, left)
    square = (
        primitives.slice(x, starts=starts, limits=(*batch, top + n, left + n), strides=(1,) * ndim)
        if n
        else primitives.broadcast(scalar_literal(0, dtype_of(x)), shape=(*batch, 0, 0), dims=())
    )
    flat = primitives.reshape(square, shape=(*batch, n * n))
    # Row by row, the diagonal is every (n + 1)-th element.
    return primitives.slice(
        flat, starts=(0,) * (ndim - 1), limits=(*batch, n * n), strides=(1,) * len(batch) + (n + 1,)
    )


def trace(x, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype=None):
    """The sum of the diagonal of the matrices that two axes form."""
    from ftiny.numpy.reductions import sum as sum_of

    return sum_of(diagonal(x, offset, axis1, axis2), axis=-1, dtype=dtype)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Any, Any]:
    """(rows, columns) of the elements on and below diagonal `k` of an (n, m) matrix."""
    return tuple(_from_numpy(x.astype(np.int32)) for x in np.tril_indices(n, k, m))  # type: ignore[return-value]


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Any, Any]:
    """(rows, columns) of the elements on and above diagonal `k` of an (n, m) matrix."""
    return tuple(_from_numpy(x.astype(np.int32)) for x in np.triu_indices(n, k, m))  # type: ignore[return-value]


def vander(x, N: int | None = None, increasing: bool = False):
    """The matrix whose columns are the powers of the vector `x`, N of them (default: its length)."""
    check_array("vander", x)
    if len(shape_of(x)) != 1:
        raise ShapeError(located(f"vander needs a vector, but the shape is {shape_of(x)}"))
    from ftiny.numpy.manipulation import stack

    count = shape_of(x)[0] if N is None else N
    powers = [ufuncs.power(x, exponent) for exponent in range(count)]
    if not powers:
        return zeros((shape_of(x)[0], 0), dtype_of(x))
    return stack(powers if increasing else powers[::-1], axis=1)
