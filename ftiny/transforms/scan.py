"""`scan`: a loop of known length with a carry, as one primitive.

Input: a body `(carry, x) -> (carry, y)`, a first carry and arrays `xs` with a leading axis. Output: the last carry and
the `y` of every step, stacked:

    >>> scan(lambda total, x: (total + x, total), 0.0, ftiny.numpy.arange(4.0))
    (Array(6., dtype=float32), Array([0., 0., 1., 3.], dtype=float32))

The equation is `scan[jaxpr num_consts num_carry length reverse unroll] consts carry xs`; its body takes consts, carry
and one slice of each xs and gives carry and one slice of each ys. Its derivative is cut in two as any program is: the
known scan stacks the residuals of every step as additional ys, the tangents' scan reads them as additional xs. A
residual that does not change from step to step is not stacked, nor is one that is an x or a y already. Transposed,
the loop runs backwards and its constants' cotangents are summed in the carry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, dtypes, primitives
from ftiny.core import ZERO, Anchor, Aval, Jaxpr, Linear, Primitive, not_needed
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.lowering.interpret import interpret
from ftiny.source import located
from ftiny.transforms.call import closed
from ftiny.transforms.common import FlatFunction, canonical, check_leaves, instantiate, name_of
from ftiny.transforms.grad import backward
from ftiny.transforms.programs import (
    batched_program,
    choose,
    depends_on,
    interleave,
    jvp_program,
    linearize_program,
    needed,
    remember,
)
from ftiny.transforms.vmap import move_to


def bind_scan(
    program: Jaxpr, consts: Sequence, carry: Sequence, xs: Sequence, length: int, reverse: bool, unroll: int
) -> list:
    """One scan equation; the consts of `program` become leading constants of the loop."""
    consts = [*program.consts, *consts]
    return scan_p.bind(
        *consts,
        *carry,
        *xs,
        jaxpr=closed(program),
        num_consts=len(consts),
        num_carry=len(carry),
        length=length,
        reverse=reverse,
        unroll=unroll,
    )


def _three(values: Sequence, num_consts: int, num_carry: int) -> tuple[list, list, list]:
    """Constants, carry and xs."""
    return (
        list(values[:num_consts]),
        list(values[num_consts : num_consts + num_carry]),
        list(values[num_consts + num_carry :]),
    )


def _scan_abstract(*avals, jaxpr: Jaxpr, num_consts, num_carry, length, reverse, unroll):
    outs = jaxpr.out_avals
    stacked = [aval.update(shape=(length, *aval.shape)) for aval in outs[num_carry:]]
    return [aval.update() for aval in outs[:num_carry]] + stacked


def _scan_numpy(*arrays, jaxpr: Jaxpr, num_consts, num_carry, length, reverse, unroll):
    consts, carry, xs = _three(arrays, num_consts, num_carry)
    ys = [np.empty((length, *aval.shape), aval.dtype) for aval in jaxpr.out_avals[num_carry:]]
    for step in range(length - 1, -1, -1) if reverse else range(length):
        outs = interpret(jaxpr, [*consts, *carry, *(x[step, ...] for x in xs)])
        carry = outs[:num_carry]
        for y, out in zip(ys, outs[num_carry:]):
            y[step, ...] = out
    return carry + ys


# ---- forward mode -------------------------------------------------------------------------------------------------


def _carry_fixpoint(step: Callable, carry: Sequence[bool]) -> tuple[bool, ...]:
    """The smallest set of carries that contains `carry` and what `step(carry)` says comes out of it."""
    while True:
        after = tuple(a or b for a, b in zip(carry, step(tuple(carry))))
        if after == tuple(carry):
            return after
        carry = after


@remember
def _jvp_body(jaxpr: Jaxpr, num_consts: int, num_carry: int, nonzero: tuple[bool, ...]):
    """`(body, carry, ys)`: the body with tangents, [consts, dconsts, carry, dcarry, xs, dxs] in, [carry, dcarry, ys,
    dys] out, and which carries and ys have tangents."""
    consts, carry, xs = _three(nonzero, num_consts, num_carry)
    num_ys = len(jaxpr.outputs) - num_carry

    def transformed(carry):
        return jvp_program(jaxpr, (*consts, *carry, *xs), (*carry, *(False,) * num_ys))

    carry = list(_carry_fixpoint(lambda c: transformed(c)[1][:num_carry], carry))
    program, out_nonzero = transformed(carry)
    count = len(jaxpr.inputs)
    primals = _three(program.inputs[:count], num_consts, num_carry)
    tangents = _three(program.inputs[count:], sum(consts), sum(carry))
    inputs = [var for pair in zip(primals, tangents) for part in pair for var in part]
    outs, out_tangents = program.outputs[: len(jaxpr.outputs)], program.outputs[len(jaxpr.outputs) :]
    outputs = [*outs[:num_carry], *out_tangents[: sum(carry)], *outs[num_carry:], *out_tangents[sum(carry) :]]
    return program.replace(inputs=tuple(inputs), outputs=tuple(outputs)), carry, out_nonzero[num_carry:]


def _scan_jvp(primals, tangents, *, jaxpr, num_consts, num_carry, **loop):
    nonzero = tuple(t is not ZERO for t in tangents)
    body, carry_nonzero, ys_nonzero = _jvp_body(jaxpr, num_consts, num_carry, nonzero)
    consts, carry, xs = _three(primals, num_consts, num_carry)
    dconsts, dcarry, dxs = _three(tangents, num_consts, num_carry)
    dcarry = [instantiate(t, core.get_aval(x).update()) for t, x, n in zip(dcarry, carry, carry_nonzero) if n]
    dconsts, dxs = ([t for t in part if t is not ZERO] for part in (dconsts, dxs))
    outs = bind_scan(body, consts + dconsts, carry + dcarry, xs + dxs, **loop)
    carry_out, rest = outs[:num_carry], outs[num_carry:]
    dcarry_out, rest = rest[: len(dcarry)], rest[len(dcarry) :]
    num_ys = len(jaxpr.outputs) - num_carry
    ys, dys = rest[:num_ys], rest[num_ys:]
    return carry_out + ys, interleave(dcarry_out, carry_nonzero) + interleave(dys, ys_nonzero)


# ---- linearize ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _ScanSplit:
    """A scan cut in two.

    known: the body of the known scan, with the stacked residuals after its ys.
    hoisted: consts to the residuals that depend on nothing else; it runs once, outside the loop.
    tangent: the body of the tangents' scan: [fixed residuals, dconsts, dcarry, stacked residuals, dxs] in.
    fixed, stacked: where the residuals come from, as (kind, which), in the order of `tangent`.
    """

    known: Jaxpr
    hoisted: Jaxpr
    tangent: Jaxpr
    fixed: tuple
    stacked: tuple
    carry_nonzero: tuple[bool, ...]
    ys_nonzero: tuple[bool, ...]


@remember
def _split_scan(jaxpr: Jaxpr, num_consts: int, num_carry: int, nonzero: tuple[bool, ...]) -> _ScanSplit:
    consts, carry, xs = _three(nonzero, num_consts, num_carry)
    num_outs, first_x = len(jaxpr.outputs), num_consts + num_carry

    def cut(carry):
        return linearize_program(jaxpr, (*consts, *carry, *xs), (*carry, *(False,) * (num_outs - num_carry)))

    carry = list(_carry_fixpoint(lambda c: cut(c).out_nonzero[:num_carry], carry))
    split = cut(carry)
    known = split.known
    varies = depends_on(known, [i >= num_consts for i in range(len(known.inputs))])
    extra: list = []  # outputs of the known body to stack as additional ys
    hoisted: list = []
    fixed: list = []
    stacked: list = []
    fixed_vars: list = []
    stacked_vars: list = []

    def stack(atom) -> tuple[str, int]:
        extra.append(atom)
        return "y", len(extra) - 1 + num_outs - num_carry

    for var, (kind, which) in zip(split.tangent.inputs, split.sources):
        invariant = kind == "const" or kind == "in" and which < num_consts or kind == "out" and not varies[which]
        if kind == "out" and invariant:
            hoisted.append(known.outputs[which])
            kind, which = "hoisted", len(hoisted) - 1
        elif kind == "in" and which >= first_x:
            kind, which = "x", which - first_x
        elif kind == "in" and not invariant:
            kind, which = stack(known.inputs[which])
        elif kind == "out":
            kind, which = ("y", which - num_carry) if num_carry <= which < num_outs else stack(known.outputs[which])
        (fixed if invariant else stacked).append((kind, which))
        (fixed_vars if invariant else stacked_vars).append(var)
    tangents = split.tangent.inputs[len(split.sources) :]
    dconsts, dcarry, dxs = _three(tangents, sum(consts), sum(carry))
    tangent = split.tangent.replace(inputs=(*fixed_vars, *dconsts, *dcarry, *stacked_vars, *dxs))
    once = needed(known.replace(outputs=tuple(hoisted)), [True] * len(hoisted), keep_effects=False)
    return _ScanSplit(
        needed(known.replace(outputs=(*known.outputs[:num_outs], *extra)), [True] * (num_outs + len(extra))),
        once.replace(inputs=known.inputs[:num_consts]),
        tangent,
        tuple(fixed),
        tuple(stacked),
        tuple(carry),
        split.out_nonzero[num_carry:],
    )


def _scan_linearize(trace, primals, tangents, *, jaxpr, num_consts, num_carry, **loop):
    nonzero = tuple(t is not ZERO for t in tangents)
    split = _split_scan(jaxpr, num_consts, num_carry, nonzero)
    consts, carry, xs = _three(primals, num_consts, num_carry)
    with core.using(trace.parent):
        once = core.eval_jaxpr(split.hoisted, *consts)
        outs = bind_scan(split.known, consts, carry, xs, **loop)
    ys = outs[num_carry:]
    table = {
        "const": lambda value: value,
        "in": lambda i: primals[i],
        "hoisted": lambda i: once[i],
        "x": lambda i: xs[i],
        "y": lambda i: ys[i],
    }
    fixed = [table[kind](which) for kind, which in split.fixed]
    stacked = [table[kind](which) for kind, which in split.stacked]
    dconsts, dcarry, dxs = _three(tangents, num_consts, num_carry)
    with core.using(trace.staged):
        dcarry = [instantiate(t, core.get_aval(x).update()) for t, x, n in zip(dcarry, carry, split.carry_nonzero) if n]
        dconsts, dxs = ([t for t in part if t is not ZERO] for part in (dconsts, dxs))
        out_tangents = bind_scan(split.tangent, fixed + dconsts, dcarry, stacked + dxs, **loop)
    found = interleave(out_tangents, (*split.carry_nonzero, *split.ys_nonzero))
    return outs[: len(jaxpr.outputs)], found


# ---- transposition ------------------------------------------------------------------------------------------------


@remember
def _transposed_body(jaxpr: Jaxpr, num_consts: int, num_carry: int, linear: tuple[bool, ...], given: tuple[bool, ...]):
    """`(body, nonzero)`: [known consts, ct of dconsts, ct of dcarry, known carry, known xs, ct of ys] in, and [ct of
    dconsts, ct of dcarry, ct of dxs] out, where cotangents of constants are added to those that came in."""
    consts, carry, xs = _three(linear, num_consts, num_carry)
    inputs = _three(jaxpr.in_avals, num_consts, num_carry)
    ys = choose(jaxpr.out_avals[num_carry:], given)
    parts = [
        choose(inputs[0], consts, False),
        choose(inputs[0], consts),
        choose(inputs[1], carry),
        choose(inputs[1], carry, False),
        choose(inputs[2], xs, False),
        ys,
    ]

    def body(*values):
        taken = iter(values)
        known_consts, ct_consts, ct_carry, known_carry, known_xs, ct_ys = (
            [next(taken) for _ in part] for part in parts
        )
        cotangents = interleave(ct_carry, carry) + interleave(ct_ys, given)
        found = iter(backward(jaxpr, [*known_consts, *known_carry, *known_xs], cotangents, linear))
        sums = [
            ct if new is ZERO else primitives.add(ct, new)
            for ct, new in zip(ct_consts, [next(found) for _ in ct_consts])
        ]
        carries = [instantiate(next(found), aval) for aval in parts[2]]
        return sums + carries + [instantiate(next(found), aval) for aval in choose(inputs[2], xs)]

    return core.stage(body, [aval for part in parts for aval in part], "transpose"), len(parts[1])


def _scan_transpose(cotangents, *inputs, jaxpr, num_consts, num_carry, length, reverse, unroll):
    given_linear = tuple(isinstance(x, Linear) for x in inputs)
    consts, carry, xs = _three(given_linear, num_consts, num_carry)
    # A carry that starts from a known value may still become linear in the body.
    carry = list(_carry_fixpoint(lambda c: depends_on(jaxpr, (*consts, *c, *xs))[:num_carry], carry))
    linear = (*consts, *carry, *xs)
    values = _three(inputs, num_consts, num_carry)
    known_consts, known_xs = choose(values[0], consts, False), choose(values[2], xs, False)
    known_carry = _stacked_carry(jaxpr, linear, num_consts, num_carry, values, (length, reverse, unroll))
    given = tuple(ct is not ZERO for ct in cotangents[num_carry:])
    body, count = _transposed_body(jaxpr, num_consts, num_carry, linear, given)
    avals = _three(jaxpr.in_avals, num_consts, num_carry)
    start = [instantiate(ZERO, aval) for aval in choose(avals[0], consts)]
    start += [instantiate(ct, aval) for ct, aval in zip(choose(cotangents[:num_carry], carry), choose(avals[1], carry))]
    ct_ys = [ct for ct in cotangents[num_carry:] if ct is not ZERO]
    outs = iter(bind_scan(body, known_consts, start, [*known_carry, *known_xs, *ct_ys], length, not reverse, unroll))
    found = interleave([next(outs) for _ in range(count)], consts)
    found += interleave([next(outs) for _ in range(sum(carry))], carry)
    found += interleave(list(outs), xs)
    return [ct if is_linear else ZERO for ct, is_linear in zip(found, given_linear)]


def _stacked_carry(jaxpr: Jaxpr, linear: Sequence[bool], num_consts: int, num_carry: int, values, loop) -> list:
    """The known part of the carry as it enters every step, stacked: one more scan, if there is such a part."""
    consts, carry, xs = _three(linear, num_consts, num_carry)
    if all(carry):
        return []
    known = [not c for c in carry]
    body = _known_carry_body(jaxpr, tuple(linear), num_consts, num_carry)
    outs = bind_scan(
        body, choose(values[0], consts, False), choose(values[1], known), choose(values[2], xs, False), *loop
    )
    return outs[sum(known) :]


@remember
def _known_carry_body(jaxpr: Jaxpr, linear: tuple[bool, ...], num_consts: int, num_carry: int) -> Jaxpr:
    known = [not is_linear for is_linear in linear[num_consts : num_consts + num_carry]]
    body = needed(jaxpr, known + [False] * (len(jaxpr.outputs) - num_carry), keep_effects=False)
    entering = choose(jaxpr.inputs[num_consts : num_consts + num_carry], known)
    return body.replace(inputs=tuple(choose(jaxpr.inputs, linear, False)), outputs=(*body.outputs, *entering))


# ---- batching -----------------------------------------------------------------------------------------------------


def _scan_batch(axis_size, args, dims, *, jaxpr, num_consts, num_carry, axis_name=None, **loop):
    consts, carry, xs = _three(dims, num_consts, num_carry)
    xs_in = [None if dim is None else 0 for dim in xs]
    num_ys = len(jaxpr.outputs) - num_carry

    def batched(mapped):
        carry_in = [0 if m else None for m in mapped]
        return batched_program(
            jaxpr, axis_size, (*consts, *carry_in, *xs_in), (*carry_in, *(None,) * num_ys), axis_name
        )

    mapped = _carry_fixpoint(
        lambda m: [d is not None for d in batched(m)[1][:num_carry]], [d is not None for d in carry]
    )
    body, out_dims = batched(mapped)
    const_values, carry_values, xs_values = _three(args, num_consts, num_carry)
    carry_values = [move_to(x, d, 0, axis_size) if m else x for x, d, m in zip(carry_values, carry, mapped)]
    xs_values = [x if d is None else move_to(x, d, 1, axis_size) for x, d in zip(xs_values, xs)]
    outs = bind_scan(body, const_values, carry_values, xs_values, **loop)
    return outs, [*out_dims[:num_carry], *(None if d is None else 1 for d in out_dims[num_carry:])]


scan_p = Primitive(
    "scan",
    multiple_results=True,
    abstract=_scan_abstract,
    numpy=_scan_numpy,
    jvp=_scan_jvp,
    linearize=_scan_linearize,
    transpose=_scan_transpose,
    batch=_scan_batch,
    factors=not_needed("the body of a loop is partitioned, not the loop"),
    lower=Anchor("scan"),
    effects=lambda params: params["jaxpr"].effects,
)


# ---- the function -------------------------------------------------------------------------------------------------


def scan(function: Callable, init, xs=None, length: int | None = None, reverse: bool = False, unroll: int = 1):
    """Run `carry, y = function(carry, x)` along the leading axis of `xs`; gives the last carry and the stacked ys.

    Args:
        init: the first carry, a pytree; structure, shapes and dtypes stay the same from step to step.
        xs: a pytree of arrays of one leading size, or None.
        length: the number of steps; needed when xs is None.
        reverse: run from the last x to the first; ys stay at their places.
        unroll: how many steps a compiled loop may take at once.

    Raises `ShapeError` for leading axes that differ, `ArgumentError`, `ShapeError` or `DtypeError` when the carry that
    `function` returns is not like `init`.
    """
    check_leaves("scan", (init, xs))
    x_leaves, x_structure = tree.flatten(xs)
    steps = _scan_length(xs, length)
    carry_leaves, carry_structure = tree.flatten(init)
    x_avals = [core.get_aval(x).update(shape=core.get_aval(x).shape[1:]) for x in x_leaves]

    def body(*leaves):
        carry, x = leaves[: len(carry_leaves)], leaves[len(carry_leaves) :]
        result = function(tree.unflatten(carry_structure, carry), tree.unflatten(x_structure, x))
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(
                located(
                    f"scan: {name_of(function)} must return a pair (carry, y), but it returned a "
                    f"{type(result).__name__}; return (carry, None) when there is no y"
                )
            )
        return result

    staged = stage_loop_body("scan", function, body, init, carry_leaves, carry_structure, x_avals)
    program, carry_values, y_structure = staged
    outs = bind_scan(program, [], carry_values, x_leaves, steps, reverse, int(unroll))
    count = len(carry_leaves)
    return tree.unflatten(carry_structure, outs[:count]), tree.unflatten(y_structure, outs[count:])


def _scan_length(xs, length: int | None) -> int:
    sizes = {}
    for (path, _), shape in zip(tree.leaves_with_path(xs), tree.shapes(xs)):
        if not shape:
            raise ShapeError(located(f"scan: xs{tree.keystr(path)} has shape () and no axis to scan over"))
        sizes[f"xs{tree.keystr(path)}"] = shape[0]
    if length is not None:
        sizes["length"] = int(length)
    if not sizes:
        raise ArgumentError(located("scan: xs is None, so the number of steps must be given: length=..."))
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise ShapeError(located(f"scan: the leading axes of xs (and length) must be equal, but they are {listed}"))
    return next(iter(sizes.values()))


def stage_loop_body(
    what: str, function: Callable, body: Callable, init, leaves: Sequence, structure, x_avals: Sequence[Aval]
):
    """Trace a loop's body for a carry like `init`: `(program, carry values, structure of the ys)`.

    `body` takes carry and x leaves and gives `(carry, ys)`. A Python number in `init` takes the dtype that the body
    gives back, as it would beside an array.
    """
    avals = [core.get_aval(x) for x in leaves]
    found = _TracedBody()
    for _ in range(3 if any(aval.scalar for aval in avals) else 1):
        flat = functools.partial(_flat_body, found, function, structure, body, avals)
        program = core.stage(flat, [*avals, *x_avals], what)
        _check_carry_structure(what, function, structure, found.structure)
        wanted = [_carry_aval(aval, out) for aval, out in zip(avals, found.avals)]
        if wanted == avals:
            break
        avals = wanted
    _check_carry(what, function, init, avals, found.avals)
    return program, [_as_carry(x, aval) for x, aval in zip(leaves, avals)], found.ys_structure


@dataclass
class _TracedBody:
    """What tracing a loop's body found out about the carry that it returns."""

    structure: Any = None
    ys_structure: Any = None
    avals: Sequence[Aval] = ()


def _flat_body(found: _TracedBody, function: Callable, structure, body: Callable, avals: Sequence[Aval], *values):
    """The body over flat values, noting what it returns in `found`."""
    carry, ys = body(*values)
    flat = FlatFunction(function, structure)
    carry_leaves = flat.flatten_result(carry)
    found.structure = flat.out_structure
    y_leaves = flat.flatten_result(ys)
    found.ys_structure = flat.out_structure
    found.avals = [core.get_aval(x) for x in carry_leaves]
    return [_as_carry(x, aval) for x, aval in zip(carry_leaves, avals)] + y_leaves


def _carry_aval(aval: Aval, out: Aval) -> Aval:
    """The aval of a carry: a Python number takes the dtype it has after one step if it may adopt it."""
    if not aval.scalar:
        return aval
    adopts = dtypes.adopt(out.dtype, dtypes.kind(aval.dtype)) == out.dtype
    return Aval(aval.shape, out.dtype if adopts and not out.scalar else aval.dtype)


def _as_carry(x, aval: Aval):
    """A Python number, or its tracer, in the dtype of the carry if it may adopt that; arrays as they are."""
    found = core.get_aval(x)
    if not found.scalar or dtypes.adopt(aval.dtype, dtypes.kind(found.dtype)) != aval.dtype:
        return x
    if isinstance(x, core.Tracer):
        return primitives.convert(x, dtype=aval.dtype)
    return np.asarray(canonical(x)).astype(aval.dtype)[()]


def _check_carry_structure(what: str, function, structure, found) -> None:
    if found != structure:
        raise ArgumentError(
            located(
                f"{what}: the carry that {name_of(function)} returns must have the structure of the first carry, "
                f"{structure}, but it has {found}"
            )
        )


def _check_carry(what: str, function, init, avals: Sequence[Aval], outs: Sequence[Aval]) -> None:
    """Raise for the first leaf of the carry whose shape or dtype changes in a step."""
    for (path, _), aval, out in zip(tree.leaves_with_path(init), avals, outs):
        name = f"carry{tree.keystr(path)}"
        if aval.shape != out.shape:
            raise ShapeError(
                located(
                    f"{what}: {name} has shape {aval.shape}, but {name_of(function)} returns it with shape "
                    f"{out.shape}; the carry keeps its shape from step to step"
                )
            )
        if aval.dtype != out.dtype and not out.scalar:
            raise DtypeError(
                located(
                    f"{what}: {name} has dtype {aval.dtype}, but {name_of(function)} returns it with dtype "
                    f"{out.dtype}; convert one of them with .astype"
                )
            )
