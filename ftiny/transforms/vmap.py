"""Vectorisation: a function of one example becomes a function of a batch.

Input: a function of arrays and the axis of each argument to map over. Output: the same function of arrays with one
axis more, computed by one pass over batched primitives, not by a loop:

    >>> vmap(lambda x, y: x * y, in_axes=(0, None))(ftiny.numpy.arange(3.0), 2.0)
    Array([0., 2., 4.], dtype=float32)

`BatchTrace` runs the `batch` rule of each primitive under its parent; a value carries the position of its mapped
axis and only values that are mapped are tracers. With `axis_name` the mapped axis is also a mesh axis of one device:
collectives over that name reduce, gather or permute along it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, primitives
from ftiny.core import Aval, Trace, Tracer
from ftiny.errors import ArgumentError, ShapeError
from ftiny.source import located, transform_scope
from ftiny.transforms.common import FlatFunction, check_leaves, name_of

# ---- named axes ---------------------------------------------------------------------------------------------------


class _NamedAxes(threading.local):
    sizes: tuple[tuple[str, int], ...] = ()


_named = _NamedAxes()


def named_axes() -> tuple[tuple[str, int], ...]:
    """The names and sizes of the axes that are mapped at the moment, outermost first."""
    return _named.sizes


def axis_size(name: str) -> int:
    """The size of the mapped axis `name`. Raises `ArgumentError` when no enclosing `vmap` or mesh has that axis."""
    for known, size in reversed(_named.sizes):
        if known == name:
            return size
    raise ArgumentError(
        located(
            f"no mapped axis is called {name!r} here; known are {[known for known, _ in _named.sizes]}. Name one with "
            f"vmap(..., axis_name={name!r})"
        )
    )


@contextmanager
def named_axis(name: str | None, size: int):
    """Inside the block, collectives know the axis `name`."""
    before = _named.sizes
    if name is not None:
        _named.sizes = (*before, (name, size))
    try:
        yield
    finally:
        _named.sizes = before


# ---- the trace ----------------------------------------------------------------------------------------------------


class BatchTracer(Tracer):
    """A value of the parent trace with a mapped axis, which its aval does not show."""

    __slots__ = ("value", "dim")

    def __init__(self, trace: BatchTrace, value, dim: int):
        aval = core.get_aval(value)
        super().__init__(trace, aval.update(shape=aval.shape[:dim] + aval.shape[dim + 1 :]))
        self.value, self.dim = value, dim


class BatchTrace(Trace):
    """Runs the `batch` rule of every primitive under the parent trace."""

    name = "vmap"

    def __init__(self, parent: Trace, size: int, axis_name: str | None = None):
        self.parent, self.size, self.axis_name = parent, size, axis_name

    def split(self, x) -> tuple[Any, int | None]:
        """The value and its mapped axis; what is not of this trace is not mapped."""
        if isinstance(x, BatchTracer) and x.trace is self:
            return x.value, x.dim
        return x, None

    def join(self, value, dim: int | None):
        """The value as seen inside the mapped function."""
        return value if dim is None else BatchTracer(self, value, dim)

    def process(self, primitive, args, params):
        """The results of the primitive's `batch` rule."""
        values, dims = zip(*map(self.split, args)) if args else ((), ())
        named = self.axis_name is not None and uses_axis(primitive, params, self.axis_name)
        if not named and all(dim is None for dim in dims):
            with core.using(self.parent):
                return self.parent.process(primitive, values, params)
        with core.using(self.parent), transform_scope("vmap"):
            if named and primitive.batch_named is not None:
                outs, out_dims = primitive.batch_named(self, values, dims, **params)
            elif named:
                outs, out_dims = primitive.batch(self.size, values, dims, **params, axis_name=self.axis_name)
            else:
                outs, out_dims = primitive.batch(self.size, values, dims, **params)
        if not primitive.multiple_results:
            outs, out_dims = [outs], [out_dims]
        return list(map(self.join, outs, out_dims))


def uses_axis(primitive, params: dict, name: str) -> bool:
    """Whether an equation is a collective over the axis `name`, or holds a program with one inside."""
    if name in params.get("axes", ()):
        return True
    for value in params.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, core.Jaxpr) and any(uses_axis(e.primitive, e.params, name) for e in item.eqns):
                return True
    return False


def run_batched(
    parent: Trace, function: Callable, values: Sequence, dims: Sequence, size: int, axis_name: str | None = None
) -> tuple[list, list]:
    """The results of a flat function over mapped values, and the mapped axis (or None) of each."""
    trace = BatchTrace(parent, size, axis_name)
    try:
        with core.using(trace), named_axis(axis_name, size):
            results = function(*map(trace.join, values, dims))
        pairs = [trace.split(x) for x in results]
    finally:
        trace.close()
    return [value for value, _ in pairs], [dim for _, dim in pairs]


def move_to(value, dim: int | None, target: int, size: int):
    """`value` with its mapped axis at `target`; an unmapped value is repeated along a new axis there."""
    if dim is None:
        aval = core.get_aval(value)
        shape = (*aval.shape[:target], size, *aval.shape[target:])
        return primitives.broadcast(value, shape=shape, dims=tuple(a for a in range(len(shape)) if a != target))
    if dim == target:
        return value
    order = [axis for axis in range(value.ndim) if axis != dim]
    order.insert(target, dim)
    return primitives.transpose(value, permutation=tuple(order))


# ---- the function -------------------------------------------------------------------------------------------------


def vmap(
    function: Callable, in_axes=0, out_axes=0, axis_name: str | None = None, axis_size: int | None = None
) -> Callable:
    """`function` mapped over one axis of its arguments.

    in_axes: an integer, None (not mapped) or a pytree prefix of the positional arguments of such; keyword arguments are
    mapped along axis 0. out_axes: the same for the results, None only for a result that does not depend on mapped
    values. axis_name: a name for the mapped axis, for collectives. axis_size: its size, needed if nothing is mapped.

    Raises `ShapeError` for mapped axes that a value lacks or that differ in size, `ArgumentError` for axes whose
    structure does not fit.
    """
    if not callable(function):
        raise ArgumentError(located(f"vmap takes a function, not a {type(function).__name__}"))
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not isinstance(in_axes, (tuple, int, type(None))):
        raise ArgumentError(
            located(
                f"vmap: in_axes must be an integer, None or a tuple with an entry for each argument, not {in_axes!r}"
            )
        )

    @functools.wraps(function)
    def mapped(*args, **kwargs):
        check_leaves("vmap", args)
        leaves, structure = tree.flatten((args, kwargs))
        dims = _input_dims(in_axes, args, kwargs)
        shapes = tree.shapes((args, kwargs))
        size = _mapped_size(args, kwargs, shapes, dims, axis_size)
        dims = [dim if dim is None else dim % len(shape) for dim, shape in zip(dims, shapes)]
        flat = FlatFunction(function, structure, has_keywords=True)
        values, out_dims = run_batched(core.current_trace(), flat, leaves, dims, size, axis_name)
        targets = _output_dims(out_axes, flat.out_structure, values, out_dims, name_of(function))
        return tree.unflatten(
            flat.out_structure,
            [
                _place(value, dim, target, size, name_of(function))
                for value, dim, target in zip(values, out_dims, targets)
            ],
        )

    return mapped


def _input_dims(in_axes, args: tuple, kwargs: dict) -> list:
    """The mapped axis of every leaf of `(args, kwargs)`."""
    if isinstance(in_axes, tuple) and len(in_axes) != len(args):
        raise ArgumentError(
            located(
                f"vmap: in_axes has {len(in_axes)} entries, {in_axes}, but the function was called with {len(args)} "
                "positional arguments; give one entry for each"
            )
        )
    dims = []
    for position, argument in enumerate(args):
        prefix = in_axes[position] if isinstance(in_axes, tuple) else in_axes
        dims += _spread(prefix, argument, f"in_axes of argument {position}")
    for axis in dims:
        if axis is not None and (not isinstance(axis, (int, np.integer)) or isinstance(axis, bool)):
            raise ArgumentError(located(f"vmap: in_axes must hold integers and None, not {axis!r}"))
    return dims + [0] * len(tree.leaves(kwargs))


def _spread(prefix, full, what: str) -> list:
    """A prefix tree of axes as one axis for each leaf of `full`."""
    if prefix is None or isinstance(prefix, int):
        return [prefix] * len(tree.leaves(full))
    try:
        return tree.broadcast_leaves(prefix, full)
    except ValueError as problem:
        raise ArgumentError(
            located(
                f"vmap: {what} has a structure that is no prefix of the value's: {prefix!r} against "
                f"{tree.structure(full)}"
            )
        ) from problem


def _mapped_size(args: tuple, kwargs: dict, shapes: list, dims: list, size: int | None) -> int:
    """The common size of all mapped axes; the error names every argument and its size."""
    names = [
        f"argument {position}{tree.keystr(path)}"
        for position, argument in enumerate(args)
        for path, _ in tree.leaves_with_path(argument)
    ]
    names += [f"argument {path[0].key}{tree.keystr(path[1:])}" for path, _ in tree.leaves_with_path(kwargs)]
    found: dict[str, tuple[int, int, tuple]] = {}
    for name, shape, dim in zip(names, shapes, dims):
        if dim is None:
            continue
        if not -len(shape) <= dim < len(shape):
            way_out = "pass in_axes=None for it" if not shape else f"it has axes {-len(shape)} to {len(shape) - 1}"
            raise ShapeError(located(f"vmap: {name} has shape {shape} and no axis {dim} to map over; {way_out}"))
        found[name] = dim % len(shape), shape[dim], shape
    sizes = {extent for _, extent, _ in found.values()} | (set() if size is None else {size})
    if not sizes:
        raise ArgumentError(
            located("vmap: nothing is mapped (every in_axes is None); map an argument or pass axis_size")
        )
    if len(sizes) > 1:
        lines = [
            f"  {name}: axis {dim} of shape {shape} has size {extent}" for name, (dim, extent, shape) in found.items()
        ]
        lines += [] if size is None else [f"  axis_size says {size}"]
        raise ShapeError(
            located(
                "vmap: the mapped axes must all have one size, but\n"
                + "\n".join(lines)
                + "\nPass in_axes=None for what is not mapped, or choose other axes with in_axes"
            )
        )
    return sizes.pop()


def _output_dims(out_axes, structure, values: list, dims: list, function: str) -> list:
    """Where each result has its mapped axis, not negative; None where it has none."""
    results = tree.unflatten(structure, values)
    if out_axes is None or isinstance(out_axes, int):
        wanted = [out_axes] * len(values)
    else:
        wanted = _spread(
            out_axes if not isinstance(out_axes, list) else tuple(out_axes), results, f"out_axes of {function}"
        )
    targets = []
    for target, dim, shape in zip(wanted, dims, tree.shapes(results)):
        ndim = len(shape) if dim is not None else len(shape) + 1
        if target is not None and not -ndim <= target < ndim:
            raise ShapeError(
                located(f"vmap: out_axes {target} is out of bounds for a result of {function} with {ndim} axes")
            )
        targets.append(target if target is None else target % ndim)
    return targets


def _place(value, dim: int | None, target: int | None, size: int, function: str):
    """A result with its mapped axis where `out_axes` wants it."""
    if target is None:
        if dim is not None:
            raise ArgumentError(
                located(
                    f"vmap: out_axes is None for a result of {function} that depends on mapped values; give it an axis"
                )
            )
        return value
    return move_to(value, dim, target, size)


def batch_program(
    program: core.Jaxpr, size: int, dims: tuple, out_dims: tuple | None = None, axis_name: str | None = None
) -> tuple[core.Jaxpr, tuple]:
    """A program of mapped values: `(batched program, mapped axis of each output)`.

    `dims` is the mapped axis, or None, of each input. `out_dims` says where outputs have theirs: an axis (unmapped
    outputs are repeated along it), or None for axis 0 of those that are mapped; without `out_dims` it is anywhere.
    """
    found: list = []

    def batched(*values):
        outs, dims_found = run_batched(
            core.current_trace(), functools.partial(core.eval_jaxpr, program), values, dims, size, axis_name
        )
        wanted = dims_found
        if out_dims is not None:
            wanted = [None if d is None and w is None else w or 0 for d, w in zip(dims_found, out_dims)]
        found.extend(wanted)
        return [out if w is None else move_to(out, d, w, size) for out, d, w in zip(outs, dims_found, wanted)]

    avals = [v.aval if dim is None else _batched_aval(v.aval, dim, size) for v, dim in zip(program.inputs, dims)]
    return core.stage(batched, avals, "vmap"), tuple(found)


def _batched_aval(aval: Aval, dim: int, size: int) -> Aval:
    return aval.update(shape=(*aval.shape[:dim], size, *aval.shape[dim:]))
