"""Collectives: what the copies of a program that run along a named axis exchange.

The axis is one that `vmap(..., axis_name=)` maps (then `batch_named` below computes the collective on the stacked
values, which is its reference semantics), or an axis of a device mesh. `axes` in the params holds the names; input and
output types are those of `core.Primitive`.

Worked example: under `vmap(f, axis_name="i")` over 4 examples, `psum(x, ("i",), "sum")` of an x with aval f32[3] is a
`reduce` along the mapped axis of f32[4,3]: f32[3], the same for every example.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftiny import dtypes
from ftiny import primitives as p
from ftiny.core import ZERO, Anchor, Aval, Primitive, get_aval, not_needed
from ftiny.errors import ArgumentError, ShapeError
from ftiny.source import located
from ftiny.structure import linear_jvp
from ftiny.transforms.vmap import axis_size

_outside = not_needed("a collective has a value only along a mapped axis; name one with vmap(..., axis_name=...)")


def _collective(name: str, batch_named, **rules) -> Primitive:
    """A primitive that communicates: `batch_named(trace, args, dims, **params)` runs it along the axis of a vmap."""

    def checked(trace, args, dims, **params):
        shapes = [p.shape_of(x) if d is None else np.delete(p.shape_of(x), d).tolist() for x, d in zip(args, dims)]
        rules["abstract"](*(get_aval(x).update(shape=tuple(s)) for x, s in zip(args, shapes)), **params)
        return batch_named(trace, args, dims, **params)

    return Primitive(name, numpy=_outside, lower=Anchor("collective"), batch_named=checked, **rules)


def _names(axes) -> tuple[str, ...]:
    return (axes,) if isinstance(axes, str) else tuple(axes)


def _shifted(axis: int, d: int) -> int:
    """An axis of one example as an axis of the stacked array, whose mapped axis is d."""
    return axis + (axis >= d)


def _same_factors(x: Aval, **params) -> str:
    return f"{p.letters(x.ndim)}->{p.letters(x.ndim)}"


# ---- psum and pvary -------------------------------------------------------------------------------------------


def _psum_abstract(x: Aval, *, op, axes) -> Aval:
    if op not in ("sum", "max", "min"):
        raise ArgumentError(located(f"psum has no operation {op!r}; it has sum, max, min"))
    return Aval(x.shape, x.dtype, x.vary - set(axes))


def _psum_jvp(primals, tangents, *, op, axes):
    (x,), (dx,) = primals, tangents
    out = psum(x, axes, op)
    if dx is ZERO or op == "sum":
        return out, ZERO if dx is ZERO else psum(dx, axes, op)
    # All copies that hold the extremum share the derivative.
    wins = p.compare(x, out, "eq")
    count = psum(p.convert(wins, get_aval(x).dtype), axes, "sum")
    return out, p.div(psum(p.select(wins, dx, 0), axes, "sum"), count)


def _psum_transpose(ct, x, *, op, axes):
    """Where the type says that the operand varied and the sum does not, the sum's cotangent is handed to every copy.

    Without such types (vmap) each copy has a sum, and a cotangent, of its own.
    """
    if op != "sum":
        return p.not_linear()
    return [pvary(ct, axes) if x.aval.vary >= set(axes) else psum(ct, axes, "sum")]


def _psum_named(trace, args, dims, *, op, axes):
    (x,), (d,) = args, dims
    if d is not None:
        x = p.reduce_axes(x, (d,), op)
    elif op == "sum":
        x = p.mul(x, trace.size)
    rest = tuple(name for name in axes if name != trace.axis_name)
    return psum(x, rest, op) if rest else x, None


psum_p: Primitive = _collective(
    "psum",
    abstract=_psum_abstract,
    jvp=_psum_jvp,
    transpose=_psum_transpose,
    batch=lambda axis_size, args, dims, **params: (psum_p.bind(*args, **params), dims[0]),
    batch_named=_psum_named,
    factors=_same_factors)


def psum(x, axes, op: str = "sum"):
    """The sum (or 'max', 'min') of `x` over all copies along the named axes."""
    axes = _names(axes)
    if p.is_scalar(x):
        sizes = [axis_size(name) for name in axes]
        return x * int(np.prod(sizes)) if op == "sum" else x
    for name in axes:
        axis_size(name)  # raises where there is no such axis
    return psum_p.bind(x, op=op, axes=axes)


def _pvary_named(trace, args, dims, *, axes):
    rest = tuple(name for name in axes if name != trace.axis_name)
    x = args[0] if dims[0] is not None else p.batch_to_front(args[0], None, trace.size)
    return pvary_p.bind(x, axes=rest) if rest else x, dims[0] or 0


pvary_p: Primitive = _collective(
    "pvary",
    abstract=lambda x, *, axes: Aval(x.shape, x.dtype, x.vary | set(axes)),
    jvp=linear_jvp(lambda: pvary_p),
    transpose=lambda ct, x, *, axes: [psum(ct, axes, "sum")],
    batch=lambda axis_size, args, dims, **params: (pvary_p.bind(*args, **params), dims[0]),
    batch_named=_pvary_named,
    factors=_same_factors)


def pvary(x, axes):
    """`x`, which is the same in all copies along the axes, as a value that may differ: the transpose of `psum`."""
    return pvary_p.bind(x, axes=_names(axes))


# ---- all_gather and reduce_scatter ----------------------------------------------------------------------------


def _scaled(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], shape[axis] * size, *shape[axis + 1:])


def _all_gather_abstract(x: Aval, *, axes, size, axis, tiled) -> Aval:
    if not 0 <= axis < x.ndim + (not tiled):
        raise ShapeError(located(f"all_gather: axis {axis} is not an axis of the result for an operand {x}"))
    if tiled:
        return x.update(shape=_scaled(x.shape, axis, size))
    return x.update(shape=(*x.shape[:axis], size, *x.shape[axis:]))


def _all_gather_batch(_, args, dims, *, axis, **params):
    d = dims[0]
    if params["tiled"]:
        return all_gather_p.bind(*args, axis=_shifted(axis, d), **params), d
    # The new axis goes before the old axis of that number, so it is the mapped axis that moves when it comes later.
    place = axis if axis <= d else axis + 1
    return all_gather_p.bind(*args, axis=place, **params), d + (place <= d)


def _all_gather_named(trace, args, dims, *, axes, size, axis, tiled):
    x = p.batch_to_front(args[0], dims[0], trace.size)
    out = p.move_axis(x, 0, axis)
    return _merged(out, axis) if tiled else out, None


def _merged(x, axis: int):
    """`x` with the axes `axis` and `axis + 1` as one."""
    shape = p.shape_of(x)
    return p.reshape(x, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2:]))


def _cut(x, axis: int, size: int):
    """`x` with an axis as two, of extents `size` and the rest."""
    shape = p.shape_of(x)
    return p.reshape(x, (*shape[:axis], size, shape[axis] // size, *shape[axis + 1:]))


all_gather_p: Primitive = _collective(
    "all_gather",
    abstract=_all_gather_abstract,
    jvp=linear_jvp(lambda: all_gather_p),
    transpose=lambda ct, x, **params: [reduce_scatter_p.bind(ct, **params)],
    batch=_all_gather_batch,
    batch_named=_all_gather_named,
    factors=not_needed("collectives are put in by partitioning, they are not partitioned themselves"))


def all_gather(x, axis_name: str, axis: int = 0, tiled: bool = False):
    """The copies' values stacked along a new axis, or one after the other along `axis` if `tiled`."""
    return all_gather_p.bind(x, axes=(axis_name,), size=axis_size(axis_name), axis=axis, tiled=tiled)


def _reduce_scatter_abstract(x: Aval, *, axes, size, axis, tiled) -> Aval:
    if not 0 <= axis < x.ndim or (x.shape[axis] % size if tiled else x.shape[axis] != size):
        raise ShapeError(located(f"reduce_scatter: axis {axis} of {x} cannot be dealt out to {size} copies"))
    if tiled:
        return x.update(shape=(*x.shape[:axis], x.shape[axis] // size, *x.shape[axis + 1:]))
    return x.update(shape=x.shape[:axis] + x.shape[axis + 1:])


def _reduce_scatter_batch(_, args, dims, *, axis, **params):
    d, place = dims[0], _shifted(axis, dims[0])
    return reduce_scatter_p.bind(*args, axis=place, **params), d if params["tiled"] or d < place else d - 1


def _reduce_scatter_named(trace, args, dims, *, axes, size, axis, tiled):
    total, _ = _psum_named(trace, args, dims, op="sum", axes=axes)
    return _cut(total, axis, size) if tiled else total, axis


reduce_scatter_p: Primitive = _collective(
    "reduce_scatter",
    abstract=_reduce_scatter_abstract,
    jvp=linear_jvp(lambda: reduce_scatter_p),
    transpose=lambda ct, x, **params: [all_gather_p.bind(ct, **params)],
    batch=_reduce_scatter_batch,
    batch_named=_reduce_scatter_named,
    factors=not_needed("collectives are put in by partitioning, they are not partitioned themselves"))


def reduce_scatter(x, axis_name: str, axis: int = 0, tiled: bool = False):
    """The sum of `x` over the copies, of which copy i keeps part i along `axis` (a slice of it if `tiled`)."""
    return reduce_scatter_p.bind(x, axes=(axis_name,), size=axis_size(axis_name), axis=axis, tiled=tiled)


# ---- ppermute, all_to_all, axis_index -------------------------------------------------------------------------


def _ppermute_named(trace, args, dims, *, axes, perm):
    x = p.batch_to_front(args[0], dims[0], trace.size)
    sources = np.full((trace.size, 1), trace.size, np.int32)  # out of bounds: copies that get nothing hold zeros
    for source, target in perm:
        sources[target] = source
    shape = p.shape_of(x)
    rows = p.GatherDims(tuple(range(1, len(shape))), (0,), (0,))
    return p.gather(x, sources, rows, (1, *shape[1:]), "fill", 0), 0


ppermute_p: Primitive = _collective(
    "ppermute",
    abstract=lambda x, *, axes, perm: x.update(),
    jvp=linear_jvp(lambda: ppermute_p),
    transpose=lambda ct, x, *, axes, perm: [ppermute_p.bind(ct, axes=axes, perm=tuple((b, a) for a, b in perm))],
    batch=lambda axis_size, args, dims, **params: (ppermute_p.bind(*args, **params), dims[0]),
    batch_named=_ppermute_named,
    factors=_same_factors)


def ppermute(x, axis_name: str, perm: Sequence[tuple[int, int]]):
    """Copy `target` gets the value of copy `source` for each pair (source, target) of `perm`; the others get zeros."""
    size, pairs = axis_size(axis_name), tuple((int(a), int(b)) for a, b in perm)
    ends = [*zip(*pairs)] if pairs else [(), ()]
    if any(len(set(end)) != len(end) or any(not 0 <= k < size for k in end) for end in ends):
        raise ArgumentError(located(f"ppermute: {pairs} must name each source and each target in range({size}) once"))
    return ppermute_p.bind(x, axes=(axis_name,), perm=pairs)


def _all_to_all_abstract(x: Aval, *, axes, size, split_axis, concat_axis) -> Aval:
    if x.shape[split_axis] % size:
        raise ShapeError(located(f"all_to_all: axis {split_axis} of {x} cannot be dealt out to {size} copies"))
    shape = list(x.shape)
    shape[split_axis] //= size
    shape[concat_axis] *= size
    return x.update(shape=tuple(shape))


def _all_to_all_batch(_, args, dims, *, split_axis, concat_axis, **params):
    d = dims[0]
    split_axis, concat_axis = _shifted(split_axis, d), _shifted(concat_axis, d)
    return all_to_all_p.bind(*args, split_axis=split_axis, concat_axis=concat_axis, **params), d


def _all_to_all_named(trace, args, dims, *, axes, size, split_axis, concat_axis):
    """Axes (sender, ..., receiver and part along split_axis, ...) with the sender moved in front of concat_axis."""
    x = p.batch_to_front(args[0], dims[0], trace.size)
    x = p.move_axis(_cut(x, split_axis + 1, size), split_axis + 1, 0)  # receiver, sender, and the axes of a part
    return _merged(p.move_axis(x, 1, concat_axis + 1), concat_axis + 1), 0


all_to_all_p: Primitive = _collective(
    "all_to_all",
    abstract=_all_to_all_abstract,
    jvp=linear_jvp(lambda: all_to_all_p),
    transpose=lambda ct, x, *, split_axis, concat_axis, **params: [
        all_to_all_p.bind(ct, split_axis=concat_axis, concat_axis=split_axis, **params)],
    batch=_all_to_all_batch,
    batch_named=_all_to_all_named,
    factors=not_needed("collectives are put in by partitioning, they are not partitioned themselves"))


def all_to_all(x, axis_name: str, split_axis: int, concat_axis: int, tiled: bool = False):
    """Copy i gets part i along `split_axis` of every copy's value, one after the other along `concat_axis`.

    Without `tiled` the split axis, whose extent is the number of copies, is dropped and a new one is stacked.
    """
    size = axis_size(axis_name)
    if tiled:
        return all_to_all_p.bind(x, axes=(axis_name,), size=size, split_axis=split_axis, concat_axis=concat_axis)
    shape = p.shape_of(x)
    if shape[split_axis] != size:
        raise ShapeError(located(f"all_to_all: axis {split_axis} of shape {shape} must have the extent {size} of the "
                                 f"mapped axis {axis_name!r}; pass tiled=True to deal out slices"))
    rest = shape[:split_axis] + shape[split_axis + 1:]
    # The new axis of extent 1 is what the parts are put together along.
    parts = p.reshape(p.move_axis(x, split_axis, 0), (size, *rest[:concat_axis], 1, *rest[concat_axis:]))
    out = all_to_all_p.bind(parts, axes=(axis_name,), size=size, split_axis=0, concat_axis=concat_axis + 1)
    return p.reshape(out, (*rest[:concat_axis], size, *rest[concat_axis:]))


axis_index_p: Primitive = _collective(
    "axis_index",
    abstract=lambda *, axes: Aval((), dtypes.int32, frozenset(axes)),
    jvp=lambda primals, tangents, **params: (axis_index_p.bind(**params), ZERO),
    transpose=p.not_linear,
    batch=lambda axis_size, args, dims, **params: (axis_index_p.bind(**params), None),
    batch_named=lambda trace, args, dims, *, axes: (p.iota((trace.size,), dtypes.int32, 0), 0),
    factors=lambda *, axes: "->")


def axis_index(axis_name: str):
    """The number, int32, of the copy that this is along the named axis."""
    axis_size(axis_name)
    return axis_index_p.bind(axes=(axis_name,))
