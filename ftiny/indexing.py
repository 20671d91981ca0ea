"""Data-dependent reading and writing: the `gather` and `scatter` primitives and what is made of them.

Their semantics are XLA's. `indices` holds vectors along its last axis; each names where in the operand a window starts.
`GatherDims` says how: vector component k is the start along operand axis `start_index_map[k]`; the window has extent
`slice_sizes[a]` along axis a; axes of extent 1 in `collapsed_slice_dims` are dropped, the others become the result's
`offset_dims`, in order; along `operand_batching_dims` the start is the position in the paired batch axis of `indices`.
The result's other axes are those of `indices` without the last. `ScatterDims` is the same the other way round.

Out of bounds: 'clip' moves a window inside; 'fill' gives `fill_value` (NaN, or the least signed or largest unsigned
integer) and drops what a scatter would write; 'promise' says that it does not happen.

Worked example: rows of a table, `gather(table, ids[:, None], GatherDims((1,), (0,), (0,)), (1, width), "clip")`.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ftiny import dtypes
from ftiny import primitives as p
from ftiny.core import ZERO, Anchor, Aval, Linear, Primitive, get_aval
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.lowering import expr as e
from ftiny.source import located

MODES = ("clip", "fill", "promise")


@dataclass(frozen=True, slots=True)
class GatherDims:
    """How the axes of operand, indices and result of a gather belong together; see the module's text."""

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ScatterDims:
    """How the axes of operand, indices and updates of a scatter belong together: a gather's, with other names."""

    update_window_dims: tuple[int, ...]
    inserted_window_dims: tuple[int, ...]
    scatter_dims_to_operand_dims: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    scatter_indices_batching_dims: tuple[int, ...] = ()

    def as_gather(self) -> GatherDims:
        """The dims of the gather that reads where this scatter writes."""
        return GatherDims(self.update_window_dims, self.inserted_window_dims, self.scatter_dims_to_operand_dims,
                          self.operand_batching_dims, self.scatter_indices_batching_dims)


def as_scatter(dims: GatherDims) -> ScatterDims:
    """The dims of the scatter that writes where a gather reads."""
    return ScatterDims(dims.offset_dims, dims.collapsed_slice_dims, dims.start_index_map, dims.operand_batching_dims,
                       dims.start_indices_batching_dims)


# ---- geometry -------------------------------------------------------------------------------------------------


def window_axes(dims: GatherDims, rank: int) -> list[int]:
    """The operand axes that the result keeps; number k of them is the result's axis `offset_dims[k]`."""
    dropped = dims.collapsed_slice_dims + dims.operand_batching_dims
    return [axis for axis in range(rank) if axis not in dropped]


def batch_axes(dims: GatherDims, rank: int) -> list[int]:
    """The result's axes that come from the indices, in order."""
    return [axis for axis in range(rank) if axis not in dims.offset_dims]


def _updates_window(updates_shape, x_shape, dims: GatherDims) -> tuple[int, ...]:
    """The slice sizes of a scatter, which the shape of its updates gives."""
    sizes = [1] * len(x_shape)
    for axis, place in zip(window_axes(dims, len(x_shape)), dims.offset_dims):
        sizes[axis] = updates_shape[place]
    return tuple(sizes)


def _check(name: str, x: Aval, indices: Aval, dims: GatherDims, sizes: tuple[int, ...], mode: str) -> tuple[int, ...]:
    """The shape of a gather's result (a scatter's updates). Raises for dims that do not fit the operands."""
    if mode not in MODES:
        raise ArgumentError(located(f"{name}: mode {mode!r} is none of {', '.join(MODES)}"))
    if not dtypes.is_integer(indices.dtype):
        raise DtypeError(located(f"{name}: the indices have dtype {indices.dtype}; they must be integers"))
    if indices.ndim == 0 or indices.shape[-1] != len(dims.start_index_map):
        raise ShapeError(located(f"{name}: indices of shape {indices.shape} must hold vectors of "
                                 f"{len(dims.start_index_map)} along their last axis"))
    if len(sizes) != x.ndim or any(not 0 <= s <= size for s, size in zip(sizes, x.shape)):
        raise ShapeError(located(f"{name}: a window of shape {sizes} does not fit an operand of shape {x.shape}"))
    kept = window_axes(dims, x.ndim)
    if len(kept) != len(dims.offset_dims):
        raise ShapeError(located(f"{name}: {len(dims.offset_dims)} offset dims for the {len(kept)} window axes {kept} "
                                 f"of an operand of shape {x.shape}"))
    for a, b in zip(dims.operand_batching_dims, dims.start_indices_batching_dims):
        if x.shape[a] != indices.shape[b]:
            raise ShapeError(located(f"{name}: batching axis {a} of {x.shape} and {b} of {indices.shape} differ"))
    shape = [0] * (indices.ndim - 1 + len(kept))
    for axis, place in zip(kept, dims.offset_dims):
        shape[place] = sizes[axis]
    for axis, place in enumerate(batch_axes(dims, len(shape))):
        shape[place] = indices.shape[axis]
    return tuple(shape)


# ---- numpy ----------------------------------------------------------------------------------------------------


def _starts(x_shape, indices: np.ndarray, dims: GatherDims, sizes, mode: str) -> tuple[list, np.ndarray]:
    """Per operand axis the start of every window (or 0), of the indices' batch shape, and which windows are inside."""
    inside = np.ones(indices.shape[:-1], bool)
    starts: list = [np.int64(0)] * len(x_shape)
    for k, axis in enumerate(dims.start_index_map):
        start = indices[..., k]
        # uint64 would overflow int64: no axis is that long, so it is out of bounds either way.
        if start.dtype == np.uint64:
            start = np.minimum(start, np.uint64(np.iinfo(np.int64).max))
        start = start.astype(np.int64)
        last = x_shape[axis] - sizes[axis]
        inside &= (start >= 0) & (start <= last)
        starts[axis] = np.clip(start, 0, last)
    for axis, batch in zip(dims.operand_batching_dims, dims.start_indices_batching_dims):
        place = [1] * inside.ndim
        place[batch] = -1
        starts[axis] = np.arange(inside.shape[batch]).reshape(place)
    return starts, inside if mode == "fill" else np.ones_like(inside)


def _coordinates(starts: list, sizes, axes: Sequence[int], windows: Sequence[int]) -> tuple:
    """Index arrays for `axes`, which broadcast to the indices' batch axes followed by the window axes `windows`."""
    found = []
    for axis in axes:
        start = np.asarray(starts[axis])
        start = start.reshape(start.shape + (1,) * len(windows)) if start.ndim else start
        if axis in windows:
            place = [1] * len(windows)
            place[windows.index(axis)] = -1
            start = start + np.arange(sizes[axis]).reshape(place)
        found.append(np.asarray(start))
    return tuple(found)


def fill_of(dtype: np.dtype, fill_value=None) -> np.generic:
    """What a gather in mode 'fill' gives out of bounds."""
    if fill_value is not None:
        return p.scalar(fill_value, dtype)
    if dtypes.is_inexact(dtype):
        return p.scalar(np.nan, dtype)
    if dtype == dtypes.bool_:
        return np.bool_(True)
    info = np.iinfo(dtype)
    return dtype.type(info.max if dtypes.is_unsigned(dtype) else info.min)


def _gather_numpy(x, indices, *, dims, slice_sizes, mode, fill_value):
    rank = indices.ndim - 1
    kept = window_axes(dims, x.ndim)
    shape = [0] * (rank + len(kept))
    starts, inside = _starts(x.shape, indices, dims, slice_sizes, mode)
    # Axes that are read whole need no index arrays: they go last, and numpy copies rows of them at once.
    whole = [a for a in kept if slice_sizes[a] == x.shape[a]]
    part = [a for a in kept if a not in whole]
    rest = [a for a in range(x.ndim) if a not in whole]
    if 0 in x.shape:
        windows = inside.shape + tuple(slice_sizes[a] for a in part + whole)
        found = np.full(windows, fill_of(x.dtype, fill_value), x.dtype)
    else:
        coordinates = _coordinates(starts, slice_sizes, rest, part)
        full = np.broadcast_shapes(inside.shape + (1,) * len(part), *(c.shape for c in coordinates))
        turned = x.transpose(rest + whole)
        found = np.asarray(turned[tuple(np.broadcast_to(c, full) for c in coordinates)]) if rest else np.broadcast_to(
            turned, full + x.shape).copy()
    if not inside.all():
        found[~inside] = fill_of(x.dtype, fill_value)
    places = batch_axes(dims, len(shape)) + [dims.offset_dims[kept.index(a)] for a in part + whole]
    return found.transpose(sorted(range(len(places)), key=places.__getitem__))


_AT = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def _scatter_numpy(x, indices, updates, *, op, dims, mode, **_promises):
    form = dims.as_gather()
    sizes = _updates_window(updates.shape, x.shape, form)
    kept = window_axes(form, x.ndim)
    wide = dtypes.accumulation_dtype(x.dtype)
    out = np.array(x, wide)
    starts, inside = _starts(x.shape, indices, form, sizes, mode)
    if updates.size == 0 or x.size == 0:
        return out.astype(x.dtype)
    order = batch_axes(form, updates.ndim) + list(form.offset_dims)
    values = updates.transpose(order).astype(wide)[inside]
    coordinates = _coordinates(starts, sizes, range(x.ndim), kept)
    full = inside.shape + tuple(sizes[a] for a in kept)
    coordinates = tuple(np.broadcast_to(c, full)[inside] for c in coordinates)
    with np.errstate(all="ignore"):
        if op == "set":
            out[coordinates] = values
        else:
            _AT[op].at(out, coordinates, values)
        return out.astype(x.dtype)


# ---- gather ---------------------------------------------------------------------------------------------------


def _gather_abstract(x: Aval, indices: Aval, *, dims, slice_sizes, mode, fill_value) -> Aval:
    return Aval(_check("gather", x, indices, dims, slice_sizes, mode), x.dtype)


def _gather_jvp(primals, tangents, *, fill_value, **params):
    (x, indices), (dx, _) = primals, tangents
    out = gather_p.bind(x, indices, fill_value=fill_value, **params)
    if dx is ZERO:
        return out, ZERO
    return out, gather_p.bind(dx, indices, fill_value=0, **params)  # out of bounds is a constant


def _gather_transpose(ct, x, indices, *, dims, slice_sizes, mode, fill_value):
    return [scatter(p.zeros_like(x.aval), indices, ct, op="add", dims=as_scatter(dims), mode=mode), ZERO]


def _shifted(places: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Axis numbers after a new axis was put in at `at`."""
    return tuple(a + (a >= at) for a in places)


def _operand_batched(dims: GatherDims, d: int) -> GatherDims:
    """The dims after the operand has got a new axis d (which belongs to no group yet)."""
    return replace(dims, collapsed_slice_dims=_shifted(dims.collapsed_slice_dims, d),
                   start_index_map=_shifted(dims.start_index_map, d),
                   operand_batching_dims=_shifted(dims.operand_batching_dims, d))


def _with_window_axis(dims: GatherDims, rank: int, d: int) -> GatherDims:
    """The dims after axis d of an operand of new rank `rank` has become one more window axis, the result's axis 0."""
    dims = _operand_batched(dims, d)
    offset = list(_shifted(dims.offset_dims, 0))
    offset.insert(window_axes(dims, rank).index(d), 0)
    return replace(dims, offset_dims=tuple(offset))


def _with_batch_axis(dims: GatherDims, d: int | None) -> GatherDims:
    """The dims after the indices have got a new first axis, paired with axis d of the operand unless that is None."""
    dims = replace(dims, offset_dims=_shifted(dims.offset_dims, 0),
                   start_indices_batching_dims=_shifted(dims.start_indices_batching_dims, 0))
    if d is None:
        return dims
    dims = _operand_batched(dims, d)
    return replace(dims, operand_batching_dims=(*dims.operand_batching_dims, d),
                   start_indices_batching_dims=(*dims.start_indices_batching_dims, 0))


def _gather_batch(axis_size, args, batched, *, dims, slice_sizes, mode, fill_value):
    (x, indices), (d, k) = args, batched
    rank = len(p.shape_of(x))
    if k is None:
        dims, slice_sizes = _with_window_axis(dims, rank, d), (*slice_sizes[:d], axis_size, *slice_sizes[d:])
    else:
        indices = p.move_axis(indices, k, 0)
        dims = _with_batch_axis(dims, d)
        slice_sizes = slice_sizes if d is None else (*slice_sizes[:d], 1, *slice_sizes[d:])
    return gather(x, indices, dims, slice_sizes, mode, fill_value), 0


def _gather_factors(x: Aval, indices: Aval, *, dims, slice_sizes, mode, fill_value) -> str:
    left, vectors = ["?"] * x.ndim, list(p.letters(indices.ndim - 1))
    out = ["?"] * (indices.ndim - 1 + len(dims.offset_dims))
    for name, place in zip(vectors, batch_axes(dims, len(out))):
        out[place] = name
    for a, b in zip(dims.operand_batching_dims, dims.start_indices_batching_dims):
        left[a] = vectors[b]
    for number, (axis, place) in enumerate(zip(window_axes(dims, x.ndim), dims.offset_dims)):
        if slice_sizes[axis] == x.shape[axis]:
            left[axis] = out[place] = p.letters(1, indices.ndim + number)
    return f"{''.join(left)},{''.join(vectors)}?->{''.join(out)}"


def _gather_lower(ins, index, in_avals, out_aval, *, dims, slice_sizes, mode, fill_value):
    x, indices = in_avals
    batch = [index[axis] for axis in batch_axes(dims, out_aval.ndim)]
    coordinates = [e.const(0)] * x.ndim
    for axis, b in zip(dims.operand_batching_dims, dims.start_indices_batching_dims):
        coordinates[axis] = batch[b]
    guards = []
    for k, axis in enumerate(dims.start_index_map):
        start = e.cast(ins[1]((*batch, e.const(k))), e.INDEX)
        last = x.shape[axis] - slice_sizes[axis]
        if mode == "clip":
            start = e.minimum(e.maximum(start, e.const(0)), e.const(last))
        elif mode == "fill":
            guards += [start >= 0, start <= last]
        coordinates[axis] = start
    for axis, place in zip(window_axes(dims, x.ndim), dims.offset_dims):
        coordinates[axis] = coordinates[axis] + index[place]
    other = e.const(fill_of(x.dtype, fill_value), x.dtype)
    return e.where(e.logical_and(*guards), ins[0](tuple(coordinates)), other)


gather_p: Primitive = Primitive(
    "gather",
    abstract=_gather_abstract,
    numpy=_gather_numpy,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
    factors=_gather_factors,
    lower=_gather_lower)


def gather(x, indices, dims: GatherDims, slice_sizes: Sequence[int], mode: str = "clip", fill_value=None):
    """Windows of `x` that start where the vectors of `indices` (integers) say; see the module's text."""
    return gather_p.bind(x, indices, dims=dims, slice_sizes=tuple(slice_sizes), mode=mode, fill_value=fill_value)


# ---- scatter --------------------------------------------------------------------------------------------------


def _scatter_abstract(x: Aval, indices: Aval, updates: Aval, *, op, dims, mode, **_promises) -> Aval:
    if op not in ("set", *_AT):
        raise ArgumentError(located(f"scatter has no operation {op!r}; it has set, {', '.join(_AT)}"))
    p.check_kinds(f"scatter {op}", (x, updates), "bifc" if op == "set" else "ifc" if op in ("add", "mul") else "if")
    form = dims.as_gather()
    if len(form.offset_dims) != len(window_axes(form, x.ndim)) or updates.ndim < len(form.offset_dims):
        raise ShapeError(located(f"scatter: updates of shape {updates.shape} have {len(form.offset_dims)} window axes, "
                                 f"an operand of shape {x.shape} has {len(window_axes(form, x.ndim))}"))
    expected = _check("scatter", x, indices, form, _updates_window(updates.shape, x.shape, form), mode)
    if updates.shape != expected:
        raise ShapeError(located(f"scatter: the updates have shape {updates.shape}, but indices of shape "
                                 f"{indices.shape} write {expected} into {x.shape}"))
    return Aval(x.shape, x.dtype)


def _read_back(x, indices, updates, params):
    """A gather at the places that a scatter of these params writes; 0 where it writes nothing."""
    form = params["dims"].as_gather()
    shape = updates.shape if isinstance(updates, Aval) else p.shape_of(updates)
    sizes = _updates_window(shape, p.shape_of(x), form)
    return gather(x, indices, form, sizes, params["mode"], 0)


def _scatter_jvp(primals, tangents, *, op, **params):
    (x, indices, updates), (dx, _, du) = primals, tangents
    out = scatter_p.bind(x, indices, updates, op=op, **params)
    if dx is ZERO and du is ZERO:
        return out, ZERO
    return out, _SCATTER_TANGENT[op](out, x, indices, updates, dx, du, params)


def _add_tangent(out, x, indices, updates, dx, du, params):
    return scatter(p.instantiate(dx, x), indices, p.instantiate(du, updates), op="add", **params)


def _set_tangent(out, x, indices, updates, dx, du, params):
    """Operand tangents where nothing was written, and the tangents of those updates that were written last."""
    kept = ZERO if dx is ZERO else scatter(dx, indices, p.zeros_like(updates), op="set", **params)
    if du is ZERO:
        return kept
    if not params["unique_indices"]:
        numbers = p.reshape(p.iota((get_aval(updates).size,), dtypes.int32, 0), p.shape_of(updates))
        blank = p.full_like(Aval(p.shape_of(x), dtypes.int32), -1)
        written = scatter(blank, indices, numbers, op="set", **params)
        du = p.select(p.compare(_read_back(written, indices, updates, params), numbers, "eq"), du, 0)
    return scatter(p.zeros_like(x) if kept is ZERO else kept, indices, du, op="add", **params)


def _mul_tangent(out, x, indices, updates, dx, du, params):
    total = ZERO if dx is ZERO else scatter(dx, indices, updates, op="mul", **params)
    if du is ZERO:
        return total
    if not params["unique_indices"]:
        raise ArgumentError(located("scatter mul: the derivative of the updates needs unique_indices=True"))
    start = p.zeros_like(x) if total is ZERO else total
    return scatter(start, indices, p.mul(du, _read_back(x, indices, updates, params)), op="add", **params)


def _extremum_tangent(out, x, indices, updates, dx, du, params):
    """The tangents of all candidates that equal the extremum, on average."""
    dtype = get_aval(x).dtype
    wins = p.compare(x, out, "eq")
    update_wins = p.compare(updates, _read_back(out, indices, updates, params), "eq")
    count = scatter(p.convert(wins, dtype), indices, p.convert(update_wins, dtype), op="add", **params)
    total = scatter(p.select(wins, p.instantiate(dx, x), 0), indices,
                    p.select(update_wins, p.instantiate(du, updates), 0), op="add", **params)
    return p.div(total, count)


_SCATTER_TANGENT = {"add": _add_tangent, "set": _set_tangent, "mul": _mul_tangent, "min": _extremum_tangent,
                    "max": _extremum_tangent}


def _scatter_transpose(ct, x, indices, updates, *, op, **params):
    """An 'add' is linear in both, a 'mul' in either, and a 'set' in the operand (see `_set_tangent`) or, with unique
    indices, in both."""
    if op not in ("add", "mul", "set"):
        return p.not_linear()
    x_bar = updates_bar = ZERO
    if isinstance(x, Linear):
        if op == "add":
            x_bar = ct
        elif op == "mul":
            x_bar = scatter(ct, indices, updates, op="mul", **params)
        else:
            like = updates.aval if isinstance(updates, Linear) else updates
            x_bar = scatter(ct, indices, p.zeros_like(like), op="set", **params)
    if isinstance(updates, Linear):
        updates_bar = _read_back(ct, indices, updates.aval, params)
        if op == "mul":
            updates_bar = p.mul(updates_bar, _read_back(x, indices, updates.aval, params))
    return [x_bar, ZERO, updates_bar]


def _scatter_batch(axis_size, args, batched, *, op, dims, mode, indices_are_sorted, **promises):
    (x, indices, updates), (d, k, u) = args, batched
    if d is None:
        x, d = p.batch_to_front(x, None, axis_size), 0
    updates = p.batch_to_front(updates, u, axis_size)
    if k is None:
        form = _with_window_axis(dims.as_gather(), len(p.shape_of(x)), d)
    else:
        indices = p.move_axis(indices, k, 0)
        form = _with_batch_axis(dims.as_gather(), d)
    # With a batch axis of their own the indices are sorted batch by batch, not from the first to the last.
    still_sorted = indices_are_sorted and k is None
    return scatter(x, indices, updates, op=op, dims=as_scatter(form), mode=mode, indices_are_sorted=still_sorted,
                   **promises), d


def _scatter_factors(x: Aval, indices: Aval, updates: Aval, *, op, dims, mode, **_promises) -> str:
    form = dims.as_gather()
    sizes = _updates_window(updates.shape, x.shape, form)
    rule = _gather_factors(x, indices, dims=form, slice_sizes=sizes, mode=mode, fill_value=None)
    operands, read = rule.split("->")
    return f"{operands},{read}->{operands.split(',')[0]}"


scatter_p: Primitive = Primitive(
    "scatter",
    abstract=_scatter_abstract,
    numpy=_scatter_numpy,
    jvp=_scatter_jvp,
    transpose=_scatter_transpose,
    batch=_scatter_batch,
    factors=_scatter_factors,
    lower=Anchor("scatter"))


def scatter(x, indices, updates, *, op: str, dims: ScatterDims, mode: str = "clip", unique_indices: bool = False,
            indices_are_sorted: bool = False, unordered: bool = False):
    """`x` with windows of `updates` combined into it by `op` at the places that `indices` names.

    op: 'set' (the last of several updates of one place wins), 'add', 'mul', 'min' or 'max'. `unique_indices` promises
    that no place is written twice, `indices_are_sorted` that they do not decrease. Updates of one place are combined
    in their order, so that every run gives the same bits; `unordered` lets the device combine them as they come.
    """
    return scatter_p.bind(x, indices, updates, op=op, dims=dims, mode=mode, unique_indices=unique_indices,
                          indices_are_sorted=indices_are_sorted, unordered=unordered)


# ---- common forms ---------------------------------------------------------------------------------------------


def _start_vector(starts):
    """Start coordinates, as a sequence of 0-d integers or one vector, as one int32 or int64 vector."""
    if not isinstance(starts, (tuple, list)):
        return starts
    if all(p.is_scalar(s) for s in starts):
        return np.array(starts, np.int32)
    dtype = next(get_aval(s).dtype for s in starts if not p.is_scalar(s))
    return p.concatenate(*(p.expand(p.scalar(s, dtype), (1,)) if p.is_scalar(s) else
                           p.reshape(p.convert(s, dtype), (1,)) for s in starts), axis=0)


def dynamic_slice(x, starts, sizes: Sequence[int]):
    """The window of shape `sizes` at `starts` (0-d integers or a vector), moved inside where it sticks out."""
    rank = len(p.shape_of(x))
    if len(sizes) != rank:
        raise ShapeError(located(f"dynamic_slice: sizes {tuple(sizes)} for an operand of shape {p.shape_of(x)}"))
    if rank == 0:
        return x
    every = tuple(range(rank))
    return gather(x, _start_vector(starts), GatherDims(every, (), every), sizes, "clip")


def dynamic_update_slice(x, update, starts):
    """`x` with the window that starts at `starts` replaced by `update`, moved inside where it sticks out."""
    rank = len(p.shape_of(x))
    if rank == 0:
        return update
    every = tuple(range(rank))
    return scatter(x, _start_vector(starts), update, op="set", dims=ScatterDims(every, (), every), unique_indices=True)


def take_along_axis(x, indices, axis: int, mode: str = "promise"):
    """`x[..., indices[..., k, ...], ...]`: indices of the shape of `x` except along `axis`."""
    shape = p.shape_of(indices)
    if 0 in shape:  # no element, and no window of one element that a gather could take
        return p.broadcast(np.zeros((), get_aval(x).dtype)[()], shape=shape, dims=())
    others = tuple(a for a in range(len(shape)) if a != axis)
    dims = GatherDims((), (axis,), (axis,), others, others)
    return gather(x, p.reshape(indices, (*shape, 1)), dims, (1,) * len(shape), mode)
