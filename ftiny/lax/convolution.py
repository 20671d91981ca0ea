"""`ftiny.lax`, contractions: `dot_general` and convolutions of every rank, stride, dilation, padding and grouping.

Input: arrays and dimension numbers. Output: an array; a convolution is one `contract` equation whose spec has windows:

    y[n,p,q,o] = sum over r,s,c of  x[n, 2p+r-1, 2q+s-1, c] * w[r,s,c,o]

Groups become a shared index by a reshape of the channels. 16-bit floats are accumulated in float32.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.contraction import Direct, Window, make_spec
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.numpy.common import check_array, dtype_of, shape_of
from ftiny.numpy.contractions import product
from ftiny.source import located

DotDimensionNumbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]


class Precision(enum.Enum):
    """How closely products are computed. All are alike here: products of float32 are always float32."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


def dot(lhs, rhs, precision=None, preferred_element_type=None):
    """The product of vectors and matrices: of the last axis of `lhs` and the first of `rhs`."""
    check_array("dot", lhs, rhs)
    if not (1 <= len(shape_of(lhs)) <= 2 and 1 <= len(shape_of(rhs)) <= 2):
        raise ShapeError(located(f"lax.dot takes vectors and matrices, not shapes {shape_of(lhs)} and {shape_of(rhs)}"))
    return dot_general(lhs, rhs, (((len(shape_of(lhs)) - 1,), (0,)), ((), ())), precision, preferred_element_type)


def dot_general(lhs, rhs, dimension_numbers, precision=None, preferred_element_type=None):
    """The sum of products over pairs of axes, for each index of pairs of batch axes.

    `dimension_numbers` is ((lhs contracting axes, rhs contracting axes), (lhs batch axes, rhs batch axes)). The result
    has the batch axes, then the other axes of `lhs`, then those of `rhs`.
    """
    check_array("dot_general", lhs, rhs)
    (left_sum, right_sum), (left_batch, right_batch) = dimension_numbers
    m, n = shape_of(lhs), shape_of(rhs)
    for what, left, right in (("contracting", left_sum, right_sum), ("batch", left_batch, right_batch)):
        if len(left) != len(right):
            raise ArgumentError(located(f"dot_general: {len(left)} {what} axes of lhs, {len(right)} of rhs"))
        for a, b in zip(left, right):
            if m[a] != n[b]:
                raise ShapeError(
                    located(
                        f"dot_general: shapes {m} and {n} do not fit: {what} axis {a} of lhs has size {m[a]}, "
                        f"axis {b} of rhs has size {n[b]}"
                    )
                )
    names: dict = {a: ("sum", i) for i, a in enumerate(left_sum)} | {a: ("batch", i) for i, a in enumerate(left_batch)}
    left_names = [names.get(a, ("lhs", a)) for a in range(len(m))]
    names = {b: ("sum", i) for i, b in enumerate(right_sum)} | {b: ("batch", i) for i, b in enumerate(right_batch)}
    right_names = [names.get(b, ("rhs", b)) for b in range(len(n))]
    out = (
        [("batch", i) for i in range(len(left_batch))]
        + [x for x in left_names if x[0] == "lhs"]
        + [x for x in right_names if x[0] == "rhs"]
    )
    dtype = None if preferred_element_type is None else dtypes.dtype(preferred_element_type)
    return product(lhs, rhs, left_names, right_names, out, precision=precision, dtype=dtype)


def ragged_dot(lhs, rhs, group_sizes, precision=None, preferred_element_type=None, group_offset=None):
    """The product of groups of rows of `lhs` with a matrix for each group, as in a mixture of experts.

    lhs: (m, k); rhs: (g, k, n); group_sizes: g integers, the numbers of successive rows in each group; rows beyond the
    last group give zeros. `group_offset`, of shape (1,), is the group that the first matrix of `rhs` belongs to.

    Returns (m, n). Raises `ShapeError` when the shapes do not fit.
    """
    check_array("ragged_dot", lhs, rhs, group_sizes)
    m, g = shape_of(lhs), shape_of(rhs)
    if len(m) != 2 or len(g) != 3 or m[1] != g[1] or len(shape_of(group_sizes)) != 1:
        raise ShapeError(
            located(
                f"ragged_dot takes lhs (m, k), rhs (g, k, n) and group_sizes (g,), not {m}, {g} and "
                f"{shape_of(group_sizes)}"
            )
        )
    ends = fnp.cumsum(group_sizes)
    row = fnp.arange(m[0], dtype=dtype_of(ends))
    before = fnp.expand_dims(fnp.subtract(ends, group_sizes), 1), fnp.expand_dims(ends, 1)
    belongs = fnp.logical_and(fnp.greater_equal(row, before[0]), fnp.less(row, before[1]))
    start = 0 if group_offset is None else fnp.reshape(group_offset, ())
    groups = fnp.add(fnp.arange(g[0]), start)
    belongs = fnp.take(belongs, groups, axis=0, mode="fill", fill_value=False)
    # Every matrix meets all rows, those of other groups as zeros: the number of rows in a group is not static.
    masked = fnp.where(fnp.expand_dims(belongs, 2), lhs, 0)
    return fnp.einsum("gmk,gkn->mn", masked, rhs, precision=precision, preferred_element_type=preferred_element_type)


def batch_matmul(lhs, rhs, precision=None):
    """The matrix products of two stacks of matrices with equal leading axes."""
    check_array("batch_matmul", lhs, rhs)
    ndim = len(shape_of(lhs))
    if ndim < 2 or len(shape_of(rhs)) != ndim:
        raise ShapeError(
            located(f"batch_matmul takes stacks with equally many axes, not {shape_of(lhs)} and {shape_of(rhs)}")
        )
    batch = tuple(range(ndim - 2))
    return dot_general(lhs, rhs, (((ndim - 1,), (ndim - 2,)), (batch, batch)), precision)


# ---- what the axes of a convolution mean -----------------------------------------------------------------------


class ConvDimensionNumbers(NamedTuple):
    """The axes of a convolution as positions: (batch, feature, space...) of the input and the output, and
    (output feature, input feature, space...) of the kernel."""

    lhs_spec: tuple[int, ...]
    rhs_spec: tuple[int, ...]
    out_spec: tuple[int, ...]


def conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers) -> ConvDimensionNumbers:
    """Dimension numbers of None (NCHW, OIHW, NCHW), of three strings like ('NHWC', 'HWIO', 'NHWC'), or as they are."""
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    ndim = len(lhs_shape)
    if len(rhs_shape) != ndim:
        raise ShapeError(
            located(
                f"convolution: the input has shape {tuple(lhs_shape)}, the kernel {tuple(rhs_shape)}: "
                "they must have equally many axes"
            )
        )
    if dimension_numbers is None:
        return ConvDimensionNumbers(*(tuple(range(ndim)),) * 3)
    try:
        lhs, rhs, out = dimension_numbers
        if not all(isinstance(spec, str) and len(spec) == ndim for spec in (lhs, rhs, out)):
            raise ValueError
        spatial = [c for c in rhs if c not in "OI"]
        positions = [
            [spec.index(c) for c in (*first, *spatial)] for spec, first in ((lhs, "NC"), (rhs, "OI"), (out, "NC"))
        ]
    except (ValueError, TypeError):
        raise ArgumentError(
            located(
                f"convolution: dimension_numbers must be strings of {ndim} different letters, as ('NHWC', 'HWIO', "
                f"'NHWC'), not {dimension_numbers!r}"
            )
        ) from None
    return ConvDimensionNumbers(*map(tuple, positions))


def padtype_to_pads(in_shape, window_shape, window_strides, padding: str) -> list[tuple[int, int]]:
    """The (before, after) padding of each axis that 'SAME', 'SAME_LOWER' or 'VALID' means."""
    kind = padding.upper() if isinstance(padding, str) else padding
    if kind == "VALID":
        return [(0, 0)] * len(window_shape)
    if kind not in ("SAME", "SAME_LOWER"):
        raise ArgumentError(
            located(f"padding must be 'SAME', 'SAME_LOWER', 'VALID' or pairs of integers, not {padding!r}")
        )
    pads = []
    for size, window, stride in zip(in_shape, window_shape, window_strides):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        low = total // 2 if kind == "SAME" else total - total // 2
        pads.append((low, total - low))
    return pads


def dilate_dim(size: int, dilation: int) -> int:
    """The extent of an axis with `dilation - 1` holes between its elements."""
    return 0 if size == 0 else 1 + dilation * (size - 1)


def window_count(size: int, window: int, stride: int, pad: tuple[int, int], base: int, dilation: int) -> int:
    """How many windows fit on an axis."""
    room = dilate_dim(size, base) + pad[0] + pad[1] - dilate_dim(window, dilation)
    return max(0, room // stride + 1) if room >= 0 else 0


def _per_axis(name: str, value, count: int) -> tuple:
    if value is None:
        return (1,) * count
    value = (value,) * count if isinstance(value, int) else tuple(value)
    if len(value) != count:
        raise ArgumentError(
            located(f"convolution: {name} must have one entry for each of the {count} spatial axes, not {value}")
        )
    return value


def _explicit_padding(padding, space, kernel, strides, lhs_dilation, rhs_dilation) -> list[tuple[int, int]]:
    if not isinstance(padding, str):
        pads = [
            tuple(pair) if isinstance(pair, (tuple, list)) else (pair, pair)
            for pair in ([padding] * len(space) if isinstance(padding, int) else padding)
        ]
        if len(pads) != len(space):
            raise ArgumentError(
                located(
                    f"convolution: padding must have one pair for each of the {len(space)} spatial axes, not {padding}"
                )
            )
        return pads  # type: ignore[return-value]
    if any(d != 1 for d in lhs_dilation):
        raise ArgumentError(
            located(
                f"convolution: padding {padding!r} is not defined with lhs_dilation; give pairs of integers, "
                "or use conv_transpose"
            )
        )
    return padtype_to_pads(space, [dilate_dim(k, d) for k, d in zip(kernel, rhs_dilation)], strides, padding)


# ---- convolution -----------------------------------------------------------------------------------------------


def conv_general_dilated(
    lhs,
    rhs,
    window_strides: Sequence[int],
    padding,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision=None,
    preferred_element_type=None,
):
    """The convolution (correlation, as in all neural networks) of `lhs` with the kernel `rhs`.

    Args:
        lhs, rhs: input and kernel, of one dtype, with the axes that `dimension_numbers` names.
        window_strides: the step of the window along each spatial axis.
        padding: 'SAME', 'VALID', or (before, after) for each spatial axis; negative numbers crop.
        lhs_dilation, rhs_dilation: the distance of the elements of the input and of the kernel (holes are zero).
        dimension_numbers: None for (NCHW, OIHW, NCHW), or three strings like ('NHWC', 'HWIO', 'NHWC').
        feature_group_count: groups of channels that are convolved apart; the kernel has the channels of one group.
        batch_group_count: groups of the batch, each convolved with its part of the kernel's output channels.
        precision: None, or 'tf32'. preferred_element_type: dtype of the result.

    Raises `ShapeError` when the channels of input and kernel do not fit.
    """
    check_array("conv_general_dilated", lhs, rhs)
    lhs, rhs = fnp.asarray(lhs), fnp.asarray(rhs)
    if dtype_of(lhs) != dtype_of(rhs):
        raise DtypeError(
            located(f"convolution: the input is {dtype_of(lhs)}, the kernel {dtype_of(rhs)}; convert with .astype")
        )
    numbers = conv_dimension_numbers(shape_of(lhs), shape_of(rhs), dimension_numbers)
    space = [shape_of(lhs)[a] for a in numbers.lhs_spec[2:]]
    kernel = [shape_of(rhs)[a] for a in numbers.rhs_spec[2:]]
    strides = _per_axis("window_strides", window_strides, len(space))
    base, dilation = (
        _per_axis("lhs_dilation", lhs_dilation, len(space)),
        _per_axis("rhs_dilation", rhs_dilation, len(space)),
    )
    pads = _explicit_padding(padding, space, kernel, strides, base, dilation)
    _check_channels(lhs, rhs, numbers, feature_group_count, batch_group_count)
    axes = [_SpatialAxis(*row) for row in zip(space, kernel, strides, pads, base, dilation)]
    dtype = None if preferred_element_type is None else dtypes.dtype(preferred_element_type)
    return _convolve(lhs, rhs, numbers, axes, feature_group_count, batch_group_count, precision, dtype)


def _check_channels(lhs, rhs, numbers: ConvDimensionNumbers, groups: int, batch_groups: int) -> None:
    channels, batch = shape_of(lhs)[numbers.lhs_spec[1]], shape_of(lhs)[numbers.lhs_spec[0]]
    out, per_group = (shape_of(rhs)[a] for a in numbers.rhs_spec[:2])
    shapes = f"input {shape_of(lhs)}, kernel {shape_of(rhs)}"
    if groups > 1 and batch_groups > 1:
        raise ArgumentError(located("convolution: feature_group_count and batch_group_count cannot both be above 1"))
    if channels != per_group * groups:
        raise ShapeError(
            located(
                f"convolution: axis {numbers.lhs_spec[1]} of the input has {channels} channels, "
                f"axis {numbers.rhs_spec[1]} of the "
                f"kernel {per_group}" + (f", times {groups} groups" if groups > 1 else "") + f" ({shapes})"
            )
        )
    if out % (groups * batch_groups) or batch % batch_groups:
        raise ShapeError(
            located(
                f"convolution: {groups * batch_groups} groups must divide the {out} output channels "
                f"and {batch_groups} the batch of {batch} ({shapes})"
            )
        )


class _SpatialAxis(NamedTuple):
    """One spatial axis of a convolution."""

    size: int
    kernel: int
    stride: int
    pad: tuple[int, int]
    base: int
    dilation: int

    def windows(self) -> int:
        return window_count(self.size, self.kernel, self.stride, self.pad, self.base, self.dilation)

    def axis(self, p: int, r: int):
        """How the input is read: a window, or directly where every element is a window of its own."""
        if (self.kernel, self.stride, self.pad, self.base) == (1, 1, (0, 0), 1):
            return Direct(p)
        return Window(p, r, self.stride, self.dilation, self.pad[0], self.base)


def _group_axis(x, axis: int, groups: int):
    """`x` with an axis split into (groups, rest)."""
    shape = shape_of(x)
    return fnp.reshape(x, (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]))


_BATCH, _OUT, _IN, _GROUP = range(4)


def _convolve(
    lhs, rhs, numbers: ConvDimensionNumbers, axes: list[_SpatialAxis], groups: int, batch_groups: int, precision, dtype
):
    """Name every axis with an index, put the group index beside the axes that it splits, and contract."""
    count = len(axes)
    place = lambda i: 4 + 2 * i
    left: list[Any] = [None] * (count + 2)
    right: list[Any] = [None] * (count + 2)
    out: list[Any] = [None] * (count + 2)
    left[numbers.lhs_spec[0]], left[numbers.lhs_spec[1]] = Direct(_BATCH), Direct(_IN)
    right[numbers.rhs_spec[0]], right[numbers.rhs_spec[1]] = Direct(_OUT), Direct(_IN)
    out[numbers.out_spec[0]], out[numbers.out_spec[1]] = _BATCH, _OUT
    sizes = {
        _BATCH: shape_of(lhs)[numbers.lhs_spec[0]] // batch_groups,
        _IN: shape_of(rhs)[numbers.rhs_spec[1]],
        _OUT: shape_of(rhs)[numbers.rhs_spec[0]] // (groups * batch_groups),
        _GROUP: groups * batch_groups,
    }
    squeezed = []
    for i, axis in enumerate(axes):
        p, r = place(i), place(i) + 1
        sizes[p], sizes[r] = axis.windows(), axis.kernel
        read = axis.axis(p, r)
        left[numbers.lhs_spec[2 + i]], right[numbers.rhs_spec[2 + i]], out[numbers.out_spec[2 + i]] = read, Direct(r), p
        if isinstance(read, Direct):
            squeezed.append(numbers.rhs_spec[2 + i])
    if squeezed:
        rhs = fnp.squeeze(rhs, tuple(squeezed))
        right = [axis for a, axis in enumerate(right) if a not in squeezed]
    shape = tuple(sizes[i] for i in out)
    if groups * batch_groups > 1:
        split = numbers.lhs_spec[1] if groups > 1 else numbers.lhs_spec[0]
        lhs = _group_axis(lhs, split, groups * batch_groups)
        left.insert(split, Direct(_GROUP))
        kernel_axis = right.index(Direct(_OUT))
        rhs = _group_axis(rhs, kernel_axis, groups * batch_groups)
        right.insert(kernel_axis, Direct(_GROUP))
        out.insert(out.index(_OUT), _GROUP)
        shape = tuple(n * groups * batch_groups if a == numbers.out_spec[1] else n for a, n in enumerate(shape))
    if 0 in shape or 0 in sizes.values():
        return fnp.zeros(shape, dtype or dtype_of(lhs))
    spec = make_spec([left, right], out, sizes)
    result = primitives.contract(
        lhs,
        rhs,
        spec=spec,
        precision=precision,
        accumulate=dtypes.accumulation_dtype(dtype_of(lhs)),
        dtype=dtype or dtype_of(lhs),
    )
    return fnp.reshape(result, shape)


def conv(lhs, rhs, window_strides, padding, precision=None, preferred_element_type=None):
    """`conv_general_dilated` with the axes NCHW and OIHW and no dilation."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, precision=precision, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, precision=None, preferred_element_type=None
):
    """`conv_general_dilated` with the axes NCHW and OIHW."""
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


# ---- transposed convolution ------------------------------------------------------------------------------------


def _transpose_padding(kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """The padding of the dilated input for which the result has stride times (SAME) the size of the input."""
    kind = padding.upper()
    if kind == "SAME":
        total = kernel + stride - 2
        low = kernel - 1 if stride > kernel - 1 else math.ceil(total / 2)
    elif kind == "VALID":
        total = kernel + stride - 2 + max(kernel - stride, 0)
        low = kernel - 1
    else:
        raise ArgumentError(
            located(f"conv_transpose: padding must be 'SAME', 'VALID' or pairs of integers, not {padding!r}")
        )
    return low, total - low


_TRANSPOSE_NUMBERS = {
    2: ("NC", "IO", "NC"),
    3: ("NHC", "HIO", "NHC"),
    4: ("NHWC", "HWIO", "NHWC"),
    5: ("NHWDC", "HWDIO", "NHWDC"),
}


def conv_transpose(
    lhs,
    rhs,
    strides,
    padding,
    rhs_dilation=None,
    dimension_numbers=None,
    transpose_kernel: bool = False,
    precision=None,
    preferred_element_type=None,
):
    """The transposed convolution: the input with `strides - 1` zeros between its elements, convolved with the kernel.

    With `transpose_kernel` the kernel is turned round and its input and output channels change places, which makes this
    the gradient of the convolution with the same strides and padding. Axes default to channels last.
    """
    check_array("conv_transpose", lhs, rhs)
    ndim = len(shape_of(lhs))
    if dimension_numbers is None:
        if ndim not in _TRANSPOSE_NUMBERS:
            raise ArgumentError(located(f"conv_transpose: give dimension_numbers for arrays with {ndim} axes"))
        dimension_numbers = _TRANSPOSE_NUMBERS[ndim]
    numbers = conv_dimension_numbers(shape_of(lhs), shape_of(rhs), dimension_numbers)
    kernel = [shape_of(rhs)[a] for a in numbers.rhs_spec[2:]]
    strides = _per_axis("strides", strides, ndim - 2)
    dilation = _per_axis("rhs_dilation", rhs_dilation, ndim - 2)
    if isinstance(padding, str):
        padding = [_transpose_padding(dilate_dim(k, d), s, padding) for k, d, s in zip(kernel, dilation, strides)]
    if transpose_kernel:
        rhs = fnp.swapaxes(fnp.flip(rhs, numbers.rhs_spec[2:]), numbers.rhs_spec[0], numbers.rhs_spec[1])
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * (ndim - 2),
        padding,
        strides,
        dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


# ---- shapes, without arrays ------------------------------------------------------------------------------------


def _out_shape(lhs_shape, rhs_shape, numbers: ConvDimensionNumbers, strides, pads, base, dilation) -> tuple[int, ...]:
    shape = [0] * len(lhs_shape)
    shape[numbers.out_spec[0]], shape[numbers.out_spec[1]] = (
        lhs_shape[numbers.lhs_spec[0]],
        rhs_shape[numbers.rhs_spec[0]],
    )
    for i, axis in enumerate(numbers.out_spec[2:]):
        shape[axis] = window_count(
            lhs_shape[numbers.lhs_spec[2 + i]],
            rhs_shape[numbers.rhs_spec[2 + i]],
            strides[i],
            pads[i],
            base[i],
            dilation[i],
        )
    return tuple(shape)


def conv_general_shape_tuple(lhs_shape, rhs_shape, window_strides, padding, dimension_numbers) -> tuple[int, ...]:
    """The shape of `conv_general_dilated` without dilation."""
    numbers = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    one = (1,) * (len(lhs_shape) - 2)
    pads = _explicit_padding(
        padding,
        [lhs_shape[a] for a in numbers.lhs_spec[2:]],
        [rhs_shape[a] for a in numbers.rhs_spec[2:]],
        window_strides,
        one,
        one,
    )
    return _out_shape(lhs_shape, rhs_shape, numbers, window_strides, pads, one, one)


def conv_transpose_shape_tuple(lhs_shape, rhs_shape, window_strides, padding, dimension_numbers) -> tuple[int, ...]:
    """The shape of `conv_transpose`."""
    numbers = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    one = (1,) * (len(lhs_shape) - 2)
    if isinstance(padding, str):
        padding = [_transpose_padding(rhs_shape[a], s, padding) for a, s in zip(numbers.rhs_spec[2:], window_strides)]
    return _out_shape(lhs_shape, rhs_shape, numbers, one, padding, window_strides, one)


def conv_general_dilated_patches(
    lhs, filter_shape, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None
):
    """The windows that a convolution reads, as channels: input channel major, then the places in the window."""
    check_array("conv_general_dilated_patches", lhs)
    ndim = len(shape_of(lhs))
    text = dimension_numbers
    numbers = conv_dimension_numbers(shape_of(lhs), (1,) * ndim, text)
    space = [shape_of(lhs)[a] for a in numbers.lhs_spec[2:]]
    strides = _per_axis("window_strides", window_strides, len(space))
    base, dilation = (
        _per_axis("lhs_dilation", lhs_dilation, len(space)),
        _per_axis("rhs_dilation", rhs_dilation, len(space)),
    )
    pads = _explicit_padding(padding, space, filter_shape, strides, base, dilation)
    left: list[Any] = [None] * ndim
    left[numbers.lhs_spec[0]], left[numbers.lhs_spec[1]] = Direct(_BATCH), Direct(_IN)
    sizes = {_BATCH: shape_of(lhs)[numbers.lhs_spec[0]], _IN: shape_of(lhs)[numbers.lhs_spec[1]]}
    out: list[Any] = [None] * ndim
    for i, row in enumerate(zip(space, filter_shape, strides, pads, base, dilation)):
        axis = _SpatialAxis(*row)
        p, r = 4 + 2 * i, 5 + 2 * i
        sizes[p], sizes[r] = axis.windows(), axis.kernel
        left[numbers.lhs_spec[2 + i]] = Window(p, r, axis.stride, axis.dilation, axis.pad[0], axis.base)
        out[numbers.out_spec[2 + i]] = [p]
    out[numbers.out_spec[0]] = [_BATCH]
    out[numbers.out_spec[1]] = [_IN, *(5 + 2 * i for i in range(len(space)))]
    flat = [i for group in out for i in group]
    spread = primitives.reduce(fnp.asarray(lhs), op="sum", spec=make_spec([left], flat, sizes))
    return fnp.reshape(spread, tuple(math.prod(sizes[i] for i in group) for group in out))


def conv_general_dilated_local(
    lhs,
    rhs,
    window_strides,
    padding,
    filter_shape,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    precision=None,
):
    """A convolution with a kernel of its own at every place, also called a locally connected layer.

    lhs: as in `conv_general_dilated`. rhs: its spatial axes are those of the result, and its input channels are those
    of `conv_general_dilated_patches`: channels times places in the window of `filter_shape`, channel major.
    """
    check_array("conv_general_dilated_local", lhs, rhs)
    patches = conv_general_dilated_patches(
        lhs, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers
    )
    numbers = conv_dimension_numbers(shape_of(lhs), shape_of(rhs), dimension_numbers)
    space = [shape_of(patches)[a] for a in numbers.out_spec[2:]]
    if [shape_of(rhs)[a] for a in numbers.rhs_spec[2:]] != space:
        raise ShapeError(
            located(
                f"conv_general_dilated_local: a kernel of shape {shape_of(rhs)} does not have the places {space} of "
                "the result as its spatial axes"
            )
        )
    letters = "abcdefgh"[: len(space)]
    place = lambda spec, first, second: "".join(letter for _, letter in sorted(zip(spec, (first, second, *letters))))
    subscripts = f"{place(numbers.out_spec, 'N', 'I')},{place(numbers.rhs_spec, 'O', 'I')}"
    return fnp.einsum(f"{subscripts}->{place(numbers.out_spec, 'N', 'O')}", patches, rhs, precision=precision)
