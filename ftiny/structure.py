"""The structural primitives: iota, reshape, transpose, broadcast, slice, pad, concatenate.

They compute nothing: each element of the result is one element of an operand (or the index itself), so their lowering
is index arithmetic that fuses into whoever reads the result. Input and output types are those of `core.Primitive`.

Worked example: `slice_(x, (4,), (-1,), (-2,))` of an x with aval f32[5] takes x[4], x[2], x[0]; its aval is f32[3], its
element [i] is the expression `x[4 - 2*i]`, and it transposes to a `pad` of interior 1 after one of stride -1.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftiny import dtypes
from ftiny import primitives as p
from ftiny.core import ZERO, ArrayLike, Aval, Linear, Primitive, get_aval
from ftiny.errors import DtypeError, ShapeError
from ftiny.lowering import expr as e
from ftiny.source import located


def linear_jvp(primitive: Callable[[], Primitive]) -> Callable:
    """The jvp of a unary linear primitive: itself, on the tangent. `primitive` is a function, since it comes later."""

    def rule(primals, tangents, **params):
        (x,), (dx,) = primals, tangents
        return primitive().bind(x, **params), ZERO if dx is ZERO else primitive().bind(dx, **params)

    return rule


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


# ---- iota -----------------------------------------------------------------------------------------------------


def _iota_numpy(*, shape, dtype, axis):
    line = np.arange(shape[axis]).astype(dtype).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return np.broadcast_to(line, shape)


iota_p: Primitive = Primitive(
    "iota",
    abstract=lambda *, shape, dtype, axis: Aval(shape, dtype),
    numpy=_iota_numpy,
    jvp=lambda primals, tangents, **params: (iota_p.bind(**params), ZERO),
    transpose=p.not_linear,
    batch=lambda axis_size, args, dims, **params: (iota_p.bind(**params), None),
    factors=lambda *, shape, dtype, axis: "->" + p.letters(len(shape)),
    lower=lambda ins, index, in_avals, out_aval, *, shape, dtype, axis: e.cast(e.as_expr(index[axis], e.INDEX), dtype))


def iota(shape: Sequence[int], dtype=dtypes.int32, axis: int = 0):
    """An array of `shape` whose elements are their own coordinate along `axis`."""
    if not 0 <= axis < len(shape):
        raise ShapeError(located(f"iota: axis {axis} is not an axis of shape {tuple(shape)}"))
    return iota_p.bind(shape=tuple(shape), dtype=dtypes.dtype(dtype), axis=axis)


# ---- reshape --------------------------------------------------------------------------------------------------


def _reshape_abstract(x: Aval, *, shape) -> Aval:
    if _size(shape) != x.size:
        raise ShapeError(located(f"reshape: shape {x.shape} has {x.size} elements, {tuple(shape)} has {_size(shape)}"))
    return Aval(shape, x.dtype)


def _reshape_batch(axis_size, args, dims, *, shape):
    return reshape(p.batch_to_front(args[0], dims[0], axis_size), (axis_size, *shape)), 0


def _groups(a: Sequence[int], b: Sequence[int]) -> list[tuple[range, range]]:
    """The finest pairs of axis ranges of two shapes of one size that hold equally many elements."""
    groups, i, j = [], 0, 0
    while i < len(a) or j < len(b):
        first_i, first_j, size_a, size_b = i, j, 1, 1
        if i < len(a):
            size_a, i = a[i], i + 1
        else:
            size_b, j = b[j], j + 1
        while size_a != size_b:
            if size_a < size_b:
                size_a, i = size_a * a[i], i + 1
            else:
                size_b, j = size_b * b[j], j + 1
        groups.append((range(first_i, i), range(first_j, j)))
    return groups


def reshape_index(index, shape: Sequence[int], source: Sequence[int]) -> tuple:
    """The index in an array of shape `source` of the element at `index` of its reshape to `shape`.

    Axes are grouped as finely as the extents allow, so that a reshape which only adds or splits an axis divides by
    nothing that it need not.
    """
    if 0 in source:
        return (e.const(0),) * len(source)
    found: list = [e.const(0)] * len(source)
    for from_axes, to_axes in _groups(shape, source):
        linear = e.const(0)
        for axis in from_axes:
            linear = linear * shape[axis] + index[axis]
        wide = [axis for axis in to_axes if source[axis] != 1]
        for axis in reversed(wide[1:]):
            found[axis] = linear % source[axis]
            linear = linear // source[axis]
        if wide:
            found[wide[0]] = linear
    return tuple(found)


reshape_p: Primitive = Primitive(
    "reshape",
    abstract=_reshape_abstract,
    numpy=lambda x, *, shape: x.reshape(shape),
    jvp=linear_jvp(lambda: reshape_p),
    transpose=lambda ct, x, *, shape: [reshape(ct, x.aval.shape)],
    batch=_reshape_batch,
    factors=lambda x, *, shape: _reshape_factors(x.shape, shape),
    lower=lambda ins, index, in_avals, out_aval, *, shape: ins[0](reshape_index(index, shape, in_avals[0].shape)))


def _reshape_factors(source, shape) -> str:
    """Axes that a reshape leaves whole keep a letter, split and merged ones are opaque."""
    left, right = ["?"] * len(source), ["?"] * len(shape)
    if 0 not in source:
        for number, (a, b) in enumerate(_groups(source, shape)):
            wide = [k for k in a if source[k] != 1], [k for k in b if shape[k] != 1]
            if len(wide[0]) == len(wide[1]) == 1:
                left[wide[0][0]] = right[wide[1][0]] = p.letters(1, number)
            for axes, names, extents in ((a, left, source), (b, right, shape)):
                for k in axes:
                    names[k] = "1" if extents[k] == 1 else names[k]
    return "".join(left) + "->" + "".join(right)


def reshape(x, shape: Sequence[int]):
    """The elements of `x`, in row-major order, in another shape of the same size."""
    return x if p.has_shape(x, shape) else reshape_p.bind(x, shape=tuple(shape))


# ---- transpose ------------------------------------------------------------------------------------------------


def _transpose_abstract(x: Aval, *, permutation) -> Aval:
    if sorted(permutation) != list(range(x.ndim)):
        raise ShapeError(located(f"transpose: {permutation} is not a permutation of the axes of shape {x.shape}"))
    return Aval(tuple(x.shape[a] for a in permutation), x.dtype)


def _inverse(permutation: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _transpose_batch(axis_size, args, dims, *, permutation):
    d = dims[0]
    return transpose(args[0], (d, *(a + (a >= d) for a in permutation))), 0


def _transpose_factors(x: Aval, *, permutation) -> str:
    names = p.letters(x.ndim)
    return names + "->" + "".join(names[a] for a in permutation)


transpose_p: Primitive = Primitive(
    "transpose",
    abstract=_transpose_abstract,
    numpy=lambda x, *, permutation: x.transpose(permutation),
    jvp=linear_jvp(lambda: transpose_p),
    transpose=lambda ct, x, *, permutation: [transpose(ct, _inverse(permutation))],
    batch=_transpose_batch,
    factors=_transpose_factors,
    lower=lambda ins, index, in_avals, out_aval, *, permutation: ins[0](tuple(index[a] for a in _inverse(permutation))))


def transpose(x, permutation: Sequence[int]):
    """`x` with its axes reordered: axis k of the result is axis `permutation[k]` of `x`."""
    same = tuple(permutation) == tuple(range(len(permutation))) == tuple(range(len(p.shape_of(x))))
    return x if same and isinstance(x, ArrayLike) else transpose_p.bind(x, permutation=tuple(permutation))


# ---- broadcast ------------------------------------------------------------------------------------------------


def _broadcast_abstract(x: Aval, *, shape, dims) -> Aval:
    if len(dims) != x.ndim or len(set(dims)) != x.ndim or any(not 0 <= d < len(shape) for d in dims):
        raise ShapeError(located(f"broadcast: dims {dims} must name one axis of {shape} for each axis of {x.shape}"))
    for axis, d in enumerate(dims):
        if x.shape[axis] not in (1, shape[d]):
            raise ShapeError(located(f"broadcast: axis {axis} of shape {x.shape} does not stretch to {shape[d]}, the "
                                     f"extent of axis {d} of {shape}"))
    return Aval(shape, x.dtype)


def _broadcast_numpy(x, *, shape, dims):
    order = sorted(range(len(dims)), key=dims.__getitem__)
    placed = [1] * len(shape)
    for axis in order:
        placed[dims[axis]] = x.shape[axis]
    return np.broadcast_to(x.transpose(order).reshape(placed), shape)


def _broadcast_transpose(ct, x, *, shape, dims):
    source = x.aval.shape
    stretched = [a for a, d in enumerate(dims) if source[a] != shape[d]]
    kept = [d for a, d in enumerate(dims) if a not in stretched]
    total = p.reduce_axes(ct, [d for d in range(len(shape)) if d not in kept], "sum")
    ranked = sorted(kept)
    total = transpose(total, [ranked.index(d) for d in kept])
    return [reshape(total, source)]


def _broadcast_batch(axis_size, args, batched, *, shape, dims):
    d = batched[0]
    inner = [a + 1 for a in dims]
    return broadcast(args[0], (axis_size, *shape), (*inner[:d], 0, *inner[d:])), 0


def _broadcast_factors(x: Aval, *, shape, dims) -> str:
    names = list(p.letters(len(shape)))
    left = "".join(names[d] if x.shape[a] == shape[d] else "1" for a, d in enumerate(dims))
    return left + "->" + "".join(names)


def _broadcast_lower(ins, index, in_avals, out_aval, *, shape, dims):
    source = in_avals[0].shape
    return ins[0](tuple(index[d] if source[a] == shape[d] else e.const(0) for a, d in enumerate(dims)))


broadcast_p: Primitive = Primitive(
    "broadcast",
    abstract=_broadcast_abstract,
    numpy=_broadcast_numpy,
    jvp=linear_jvp(lambda: broadcast_p),
    transpose=_broadcast_transpose,
    batch=_broadcast_batch,
    factors=_broadcast_factors,
    lower=_broadcast_lower)


def broadcast(x, shape: Sequence[int], dims: Sequence[int]):
    """`x` repeated to `shape`; axis a of `x` becomes axis `dims[a]`, and extents of 1 stretch."""
    same = p.has_shape(x, shape) and tuple(dims) == tuple(range(len(shape)))
    return x if same else broadcast_p.bind(x, shape=tuple(shape), dims=tuple(dims))


# ---- slice ----------------------------------------------------------------------------------------------------


def _slice_extents(starts, limits, strides) -> tuple[int, ...]:
    return tuple(len(range(a, b, s)) for a, b, s in zip(starts, limits, strides))


def _slice_abstract(x: Aval, *, starts, limits, strides) -> Aval:
    if not len(starts) == len(limits) == len(strides) == x.ndim:
        raise ShapeError(located(f"slice: starts {starts}, limits {limits} and strides {strides} must each have one "
                                 f"entry for each axis of shape {x.shape}"))
    for axis, (a, b, s, size) in enumerate(zip(starts, limits, strides, x.shape)):
        taken = range(a, b, s) if s else range(-1, 0)
        if len(taken) and not (0 <= taken[0] < size and 0 <= taken[-1] < size):
            raise ShapeError(located(f"slice: axis {axis} has extent {size}, but start {a}, limit {b}, "
                                     f"stride {s} leave it"))
    return Aval(_slice_extents(starts, limits, strides), x.dtype)


def _slice_numpy(x, *, starts, limits, strides):
    # numpy reads a stop of -1 as "the last element", so one below the first is None.
    return x[tuple(slice(a, None if b < 0 else b, s) for a, b, s in zip(starts, limits, strides))]


def _slice_transpose(ct, x, *, starts, limits, strides):
    """A pad that puts the elements back; axes with a negative stride are turned round before."""
    extents = _slice_extents(starts, limits, strides)
    if any(s < 0 for s in strides):
        ct = flip(ct, [axis for axis, s in enumerate(strides) if s < 0])
    config = []
    for size, start, stride, extent in zip(x.aval.shape, starts, strides, extents):
        if extent == 0:
            config.append((0, size, 0))
            continue
        last = start + stride * (extent - 1)
        low, high = min(start, last), max(start, last)
        config.append((low, size - high - 1, abs(stride) - 1))
    return [pad(ct, 0, tuple(config))]


def _slice_batch(axis_size, args, dims, *, starts, limits, strides):
    d = dims[0]
    return slice_(args[0], (*starts[:d], 0, *starts[d:]), (*limits[:d], axis_size, *limits[d:]),
                  (*strides[:d], 1, *strides[d:])), d


def _slice_factors(x: Aval, *, starts, limits, strides) -> str:
    names = "".join(p.letters(1, k) if extent == size and strides[k] == 1 else "?" for k, (extent, size) in
                    enumerate(zip(_slice_extents(starts, limits, strides), x.shape)))
    return f"{names}->{names}"


slice_p: Primitive = Primitive(
    "slice",
    abstract=_slice_abstract,
    numpy=_slice_numpy,
    jvp=linear_jvp(lambda: slice_p),
    transpose=_slice_transpose,
    batch=_slice_batch,
    factors=_slice_factors,
    lower=lambda ins, index, in_avals, out_aval, *, starts, limits, strides: ins[0](
        tuple(i * s + a for i, a, s in zip(index, starts, strides))))


def slice_(x, starts: Sequence[int], limits: Sequence[int], strides: Sequence[int] | None = None):
    """The elements start, start + stride, ... before limit of each axis; a negative stride goes down, to limit + 1."""
    strides = (1,) * len(starts) if strides is None else tuple(strides)
    whole = all(a == 0 and b == size and s == 1 for a, b, s, size in zip(starts, limits, strides, p.shape_of(x)))
    if whole and p.has_shape(x, limits):
        return x
    return slice_p.bind(x, starts=tuple(starts), limits=tuple(limits), strides=strides)


def flip(x, axes: Sequence[int]):
    """`x` with the order of its elements reversed along `axes`."""
    shape = p.shape_of(x)
    starts = [size - 1 if a in axes else 0 for a, size in enumerate(shape)]
    limits = [-1 if a in axes else size for a, size in enumerate(shape)]
    return slice_(x, starts, limits, [-1 if a in axes else 1 for a in range(len(shape))])


# ---- pad ------------------------------------------------------------------------------------------------------


def _padded(size: int, config: tuple[int, int, int]) -> int:
    low, high, interior = config
    return size + low + high + interior * max(size - 1, 0)


def _pad_abstract(x: Aval, value: Aval, *, config) -> Aval:
    if value.shape != () or value.dtype != x.dtype:
        raise DtypeError(located(f"pad: the padding value is {value}, it must be a 0-d {x.dtype}"))
    if len(config) != x.ndim or any(interior < 0 for _, _, interior in config):
        raise ShapeError(located(f"pad: config {config} must give (low, high, interior >= 0) for each axis of "
                                 f"{x.shape}"))
    shape = tuple(map(_padded, x.shape, config))
    if min(shape, default=0) < 0:
        raise ShapeError(located(f"pad: config {config} cuts more off {x.shape} than there is, giving {shape}"))
    return Aval(shape, x.dtype)


def _pad_numpy(x, value, *, config):
    out = np.full(tuple(map(_padded, x.shape, config)), value, x.dtype)
    here, there = [], []
    for size, extent, (low, _, interior) in zip(x.shape, out.shape, config):
        step = interior + 1
        first = max(0, -(low // step))  # the first element at a position that is not negative
        last = min(size, -(-(extent - low) // step))
        if first >= last:
            return out
        here.append(slice(first, last))
        there.append(slice(first * step + low, (last - 1) * step + low + 1, step))
    out[tuple(there)] = x[tuple(here)]
    return out


def _pad_jvp(primals, tangents, *, config):
    dx, dvalue = tangents
    out = pad(*primals, config)
    if dx is ZERO and dvalue is ZERO:
        return out, ZERO
    return out, pad(p.instantiate(dx, primals[0]), p.instantiate(dvalue, primals[1]), config)


def _unpad(ct, shape, config):
    """The elements of `ct` at the places where a pad put those of its operand, zero for those it cut off."""
    shown = pad(ct, 0, tuple((max(-low, 0) and -low, -high if high < 0 else 0, 0) for low, high, _ in config))
    starts = [max(low, 0) for low, _, _ in config]
    strides = [interior + 1 for _, _, interior in config]
    limits = [start + (size - 1) * step + 1 if size else start for start, size, step in zip(starts, shape, strides)]
    return slice_(shown, starts, limits, strides)


def _pad_transpose(ct, x, value, *, config):
    shape = p.shape_of(x) if not isinstance(x, Linear) else x.aval.shape
    unpadded = _unpad(ct, shape, config)
    ct_value = ZERO
    if isinstance(value, Linear):
        every = range(len(shape))
        ct_value = p.sub(p.reduce_axes(ct, every, "sum"), p.reduce_axes(unpadded, every, "sum"))
    return [unpadded if isinstance(x, Linear) else ZERO, ct_value]


def _pad_batch(axis_size, args, dims, *, config):
    (x, value), (d, value_dim) = args, dims
    if value_dim is None:
        return pad(x, value, (*config[:d], (0, 0, 0), *config[d:])), d
    x = p.batch_to_front(x, d, axis_size)
    outer = ((0, 0, 0), *config)
    inside = pad(p.expand(np.bool_(True), p.shape_of(x)), np.bool_(False), outer)
    padded = pad(x, p.scalar(0, get_aval(x).dtype), outer)
    return p.select(inside, padded, broadcast(value, p.shape_of(padded), (0,))), 0


def _pad_lower(ins, index, in_avals, out_aval, *, config):
    source, guards = [], []
    for i, size, (low, high, interior) in zip(index, in_avals[0].shape, config):
        shifted = i - low
        coordinate = shifted // (interior + 1)
        if low > 0:
            guards.append(shifted >= 0)
        if high > 0 or size == 0:
            guards.append(coordinate < size)
        if interior:
            guards.append(e.compare("eq", shifted % (interior + 1), e.const(0)))
        source.append(coordinate)
    return e.where(e.logical_and(*guards), ins[0](tuple(source)), ins[1](()))


pad_p: Primitive = Primitive(
    "pad",
    abstract=_pad_abstract,
    numpy=_pad_numpy,
    jvp=_pad_jvp,
    transpose=_pad_transpose,
    batch=_pad_batch,
    factors=lambda x, value, *, config: (lambda names: f"{names},->{names}")(
        "".join(p.letters(1, k) if c == (0, 0, 0) else "?" for k, c in enumerate(config))),
    lower=_pad_lower)


def pad(x, value, config: Sequence[tuple[int, int, int]]):
    """`x` with `value` (0-d) around and between its elements: (low, high, interior) for each axis; low and high may
    be negative, which cuts elements off."""
    if p.is_scalar(value):
        value = p.scalar(value, get_aval(x).dtype)
    same = all(tuple(c) == (0, 0, 0) for c in config) and len(config) == len(p.shape_of(x))
    return x if same and isinstance(x, ArrayLike) else pad_p.bind(x, value, config=tuple(map(tuple, config)))


# ---- concatenate ----------------------------------------------------------------------------------------------


def _concatenate_abstract(*xs: Aval, axis: int) -> Aval:
    first = xs[0]
    p.check_kinds("concatenate", xs, "bifc")
    for number, x in enumerate(xs):
        rest = [size for k, size in enumerate(x.shape) if k != axis]
        if x.ndim != first.ndim or rest != [size for k, size in enumerate(first.shape) if k != axis]:
            raise ShapeError(located(f"concatenate along axis {axis}: operand {number} has shape {x.shape}, operand 0 "
                                     f"has {first.shape}; the other axes must agree"))
    if not 0 <= axis < first.ndim:
        raise ShapeError(located(f"concatenate: axis {axis} is no axis of shape {first.shape}; reshape scalars first"))
    return Aval((*first.shape[:axis], sum(x.shape[axis] for x in xs), *first.shape[axis + 1:]), first.dtype)


def _offsets(avals: Sequence, axis: int) -> list[int]:
    offsets = [0]
    for aval in avals:
        offsets.append(offsets[-1] + aval.shape[axis])
    return offsets


def _concatenate_jvp(primals, tangents, *, axis):
    out = concatenate(*primals, axis=axis)
    if all(t is ZERO for t in tangents):
        return out, ZERO
    return out, concatenate(*map(p.instantiate, tangents, primals), axis=axis)


def _concatenate_transpose(ct, *xs, axis):
    avals = [x.aval if isinstance(x, Linear) else get_aval(x) for x in xs]
    offsets = _offsets(avals, axis)
    shape = p.shape_of(ct)

    def part(k):
        starts = [offsets[k] if a == axis else 0 for a in range(len(shape))]
        return slice_(ct, starts, [offsets[k + 1] if a == axis else size for a, size in enumerate(shape)])

    return [part(k) if isinstance(x, Linear) else ZERO for k, x in enumerate(xs)]


def _concatenate_batch(axis_size, args, dims, *, axis):
    target = next(d for d in dims if d is not None)
    moved = [p.move_axis(p.batch_to_front(x, d, axis_size), 0, target) if d != target else x
             for x, d in zip(args, dims)]
    return concatenate(*moved, axis=axis + (axis >= target)), target


def _concatenate_lower(ins, index, in_avals, out_aval, *, axis):
    """Every operand is read only where it lies, so that no load leaves its array."""
    offsets = _offsets(in_avals, axis)
    position, value = index[axis], e.const(0, out_aval.dtype)
    for k in reversed(range(len(ins))):
        if in_avals[k].shape[axis] == 0:
            continue
        element = ins[k]((*index[:axis], position - offsets[k], *index[axis + 1:]))
        after = [position >= offsets[k]] if offsets[k] > 0 else []
        before = [position < offsets[k + 1]] if offsets[k + 1] < offsets[-1] else []
        value = e.where(e.logical_and(*after, *before), element, value)
    return value


def _concatenate_factors(*xs: Aval, axis: int) -> str:
    names = p.letters(xs[0].ndim)
    names = names[:axis] + "?" + names[axis + 1:]
    return ",".join([names] * len(xs)) + "->" + names


concatenate_p: Primitive = Primitive(
    "concatenate",
    abstract=_concatenate_abstract,
    numpy=lambda *xs, axis: np.concatenate(xs, axis),
    jvp=_concatenate_jvp,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
    factors=_concatenate_factors,
    lower=_concatenate_lower)


def concatenate(*xs, axis: int):
    """The arrays one after the other along `axis`; their other extents and their dtypes agree."""
    return xs[0] if len(xs) == 1 and isinstance(xs[0], ArrayLike) else concatenate_p.bind(*xs, axis=axis)
