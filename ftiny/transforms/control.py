"""Control flow that is traced: `while_loop`, `fori_loop`, `cond`, `switch`, `map`, and `scan` from its own module.

Input: Python functions for the bodies and branches. Output: one equation that holds their programs:

    >>> while_loop(lambda x: x < 100.0, lambda x: x * 2.0, 3.0)
    Array(192., dtype=float32)

`while[cond_jaxpr body_jaxpr cond_nconsts body_nconsts] cond_consts body_consts carry` runs until its condition is
false; it has a forward derivative only, since the number of steps, and with it the memory for going back, is not known
(`max_steps=` makes it a scan, which has both).
`cond[branches] index operands` runs one of its branches, which all take the same operands; the index is an int32 that
is clamped to the range. Its derivative is cut in two like a call's, with one set of residuals for all branches: a
branch gives zeros for those that are not its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, dtypes, primitives
from ftiny.core import ZERO, Anchor, Aval, Jaxpr, Linear, Primitive, Var, not_needed
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.lowering.interpret import interpret
from ftiny.source import located
from ftiny.transforms.call import closed
from ftiny.transforms.common import FlatFunction, check_leaves, instantiate, name_of, zeros
from ftiny.transforms.programs import (
    batched_program,
    choose,
    interleave,
    jvp_program,
    linearize_program,
    remember,
    run_again,
    transpose_program,
)
from ftiny.transforms.scan import _as_carry, _carry_fixpoint, scan, stage_loop_body
from ftiny.transforms.vmap import move_to, vmap

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]


# ---- while --------------------------------------------------------------------------------------------------------


def bind_while(condition: Jaxpr, body: Jaxpr, cond_consts: Sequence, body_consts: Sequence, carry: Sequence) -> list:
    """One while equation; the consts of the programs become leading constants of each."""
    cond_consts, body_consts = [*condition.consts, *cond_consts], [*body.consts, *body_consts]
    return while_p.bind(
        *cond_consts,
        *body_consts,
        *carry,
        cond_jaxpr=closed(condition),
        body_jaxpr=closed(body),
        cond_nconsts=len(cond_consts),
        body_nconsts=len(body_consts),
    )


def _parts(values: Sequence, cond_nconsts: int, body_nconsts: int) -> tuple[list, list, list]:
    """Constants of the condition, constants of the body, carry."""
    first = cond_nconsts + body_nconsts
    return list(values[:cond_nconsts]), list(values[cond_nconsts:first]), list(values[first:])


def _while_numpy(*arrays, cond_jaxpr, body_jaxpr, cond_nconsts, body_nconsts):
    cond_consts, body_consts, carry = _parts(arrays, cond_nconsts, body_nconsts)
    while interpret(cond_jaxpr, [*cond_consts, *carry])[0]:
        carry = interpret(body_jaxpr, [*body_consts, *carry])
    return carry


@remember
def _while_jvp_programs(cond_jaxpr: Jaxpr, body_jaxpr: Jaxpr, consts: tuple[bool, ...], carry: tuple[bool, ...]):
    """`(condition, body, nonzero)` with [carry, dcarry] carried; the condition does not look at tangents."""
    carry = _carry_fixpoint(lambda c: jvp_program(body_jaxpr, (*consts, *c), c)[1], carry)
    program, _ = jvp_program(body_jaxpr, (*consts, *carry), carry)
    count, first = len(body_jaxpr.inputs), len(consts)
    primals, tangents = program.inputs[:count], program.inputs[count:]
    inputs = (*primals[:first], *tangents[: sum(consts)], *primals[first:], *tangents[sum(consts) :])
    unused = tuple(Var(aval) for aval in choose(body_jaxpr.out_avals, carry))
    return cond_jaxpr.replace(inputs=cond_jaxpr.inputs + unused), program.replace(inputs=inputs), carry


def _while_jvp(primals, tangents, *, cond_jaxpr, body_jaxpr, cond_nconsts, body_nconsts):
    cond_consts, body_consts, carry = _parts(primals, cond_nconsts, body_nconsts)
    _, dconsts, dcarry = _parts(tangents, cond_nconsts, body_nconsts)
    condition, body, nonzero = _while_jvp_programs(
        cond_jaxpr, body_jaxpr, tuple(t is not ZERO for t in dconsts), tuple(t is not ZERO for t in dcarry)
    )
    dcarry = [instantiate(t, core.get_aval(x).update()) for t, x, n in zip(dcarry, carry, nonzero) if n]
    dconsts = [t for t in dconsts if t is not ZERO]
    outs = bind_while(condition, body, cond_consts, body_consts + dconsts, carry + dcarry)
    return outs[: len(carry)], interleave(outs[len(carry) :], nonzero)


def _while_linearize(trace, primals, tangents, **params):
    with core.using(trace.parent):
        outs = while_p.bind(*primals, **params)
    # The tangents' loop runs beside a second one of the primals: what each step leaves can not be kept.
    again = {key: run_again(params[key], "while_loop") for key in ("cond_jaxpr", "body_jaxpr")}
    with core.using(trace.staged):
        _, out_tangents = _while_jvp(primals, tangents, **{**params, **again})
    return outs, out_tangents


def _while_batch(axis_size, args, dims, *, cond_jaxpr, body_jaxpr, cond_nconsts, body_nconsts, axis_name=None):
    cond_consts, body_consts, carry = _parts(args, cond_nconsts, body_nconsts)
    cond_dims, body_dims, carry_dims = _parts(dims, cond_nconsts, body_nconsts)

    def batched(mapped):
        inside = tuple(0 if m else None for m in mapped)
        condition, pred_dims = batched_program(cond_jaxpr, axis_size, (*cond_dims, *inside), (None,), axis_name)
        if pred_dims[0] is not None:
            inside = (0,) * len(carry)  # one example may stop before another, so every carry differs
        body, out_dims = batched_program(body_jaxpr, axis_size, (*body_dims, *inside), inside, axis_name)
        return condition, body, out_dims, pred_dims[0] is not None

    mapped = _carry_fixpoint(lambda m: [d is not None for d in batched(m)[2]], [d is not None for d in carry_dims])
    condition, body, out_dims, pred_mapped = batched(mapped)
    carry = [move_to(x, d, 0, axis_size) if m else x for x, d, m in zip(carry, carry_dims, mapped)]
    if not pred_mapped:
        return bind_while(condition, body, cond_consts, body_consts, carry), list(out_dims)
    any_left, stepped = _masked_loop(condition, body, len(cond_consts), axis_size)
    return bind_while(any_left, stepped, cond_consts, cond_consts + body_consts, carry), list(out_dims)


@remember
def _masked_loop(condition: Jaxpr, body: Jaxpr, cond_nconsts: int, size: int) -> tuple[Jaxpr, Jaxpr]:
    """A loop that runs while any example's condition holds and changes only the examples whose condition holds."""
    carry_avals = body.out_avals
    cond_avals = condition.in_avals[:cond_nconsts]
    body_avals = body.in_avals[: len(body.inputs) - len(carry_avals)]

    def any_left(*values):
        return [primitives.reduce_axes(core.eval_jaxpr(condition, *values)[0], (0,), "or")]

    def stepped(*values):
        cond_consts, rest = values[:cond_nconsts], values[cond_nconsts:]
        carry = rest[len(body_avals) :]
        (active,) = core.eval_jaxpr(condition, *cond_consts, *carry)
        after = core.eval_jaxpr(body, *rest)
        return [_select_first(active, new, old) for new, old in zip(after, carry)]

    return (
        core.stage(any_left, cond_avals + carry_avals, "vmap"),
        core.stage(stepped, cond_avals + body_avals + carry_avals, "vmap"),
    )


def _select_first(active, new, old):
    """`new` where `active`, a bool for each position of the first axis, else `old`."""
    mask = primitives.broadcast(active, shape=core.get_aval(old).shape, dims=(0,))
    return primitives.select(mask, new, old)


while_p = Primitive(
    "while",
    multiple_results=True,
    abstract=lambda *avals, body_jaxpr, **params: [aval.update() for aval in body_jaxpr.out_avals],
    numpy=_while_numpy,
    jvp=_while_jvp,
    linearize=_while_linearize,
    transpose=not_needed(
        "reverse-mode differentiation through while_loop (or fori_loop with traced bounds) needs the number of steps "
        "beforehand; give while_loop max_steps=, or use scan, fori_loop with Python integers as bounds, or forward "
        "mode (jvp, jacfwd)"
    ),
    batch=_while_batch,
    factors=not_needed("the body of a loop is partitioned, not the loop"),
    lower=Anchor("while"),
    effects=lambda params: params["cond_jaxpr"].effects | params["body_jaxpr"].effects,
)


def while_loop(condition: Callable, body: Callable, init, *, max_steps: int | None = None):
    """Run `carry = body(carry)` while `condition(carry)` is true, from `init`; gives the last carry.

    `init` is a pytree; structure, shapes and dtypes stay the same. `condition` gives one bool. Differentiable in
    forward mode; with `max_steps` also in reverse, since it is then a scan of so many steps, of which those after the
    condition has become false do nothing. Such a loop ends after `max_steps` steps even if the condition still holds.

    Raises `ArgumentError`, `ShapeError` or `DtypeError` when the carry changes or the condition is no bool.
    """
    check_leaves("while_loop", (init,))
    if max_steps is not None:
        return _bounded_loop(condition, body, init, max_steps)
    leaves, structure = tree.flatten(init)

    def step(*values):
        return body(tree.unflatten(structure, values)), None

    program, values, _ = stage_loop_body("while_loop", body, step, init, leaves, structure, [])
    test = FlatFunction(condition, tree.structure((init,)))
    cond_program = core.stage(test, program.out_avals, "while_loop")
    outs = cond_program.out_avals
    if len(outs) != 1 or outs[0].shape != () or outs[0].dtype != dtypes.bool_:
        raise DtypeError(
            located(
                f"while_loop: {name_of(condition)} must return one bool of shape (), but it returned "
                f"{', '.join(str(aval) for aval in outs) or 'nothing'}; compare, and reduce with .any() or .all()"
            )
        )
    return tree.unflatten(structure, bind_while(cond_program, program, [], [], values))


def _bounded_loop(condition: Callable, body: Callable, init, max_steps: int):
    """A while loop as a scan whose steps are skipped once the condition is false."""
    if not isinstance(max_steps, (int, np.integer)) or max_steps < 0:
        raise ArgumentError(located(f"while_loop: max_steps must be an integer of at least 0, not {max_steps!r}"))

    @functools.wraps(body)
    def step(carry, _):
        return cond(condition(carry), body, lambda unchanged: unchanged, carry), None

    return scan(step, init, None, length=int(max_steps))[0]


def fori_loop(lower, upper, body: Callable, init, unroll: int = 1):
    """`carry = body(i, carry)` for i from `lower` to `upper - 1`, from `init`; gives the last carry.

    With Python integers as bounds it is a scan, which has all derivatives; with traced bounds it is a while loop.
    """
    if all(isinstance(bound, (int, np.integer)) for bound in (lower, upper)):
        length = max(int(upper) - int(lower), 0)
        numbers = primitives.iota(shape=(length,), dtype=dtypes.int32, axis=0)
        numbers = primitives.add(numbers, np.int32(lower)) if lower else numbers

        def step(carry, number):
            return body(number, carry), None

        return scan(functools.wraps(body)(step), init, numbers, unroll=unroll)[0]
    dtype = dtypes.result_type(lower, upper)
    start, stop = (primitives.convert(bound, dtype=dtype) for bound in (lower, upper))

    def advance(state):
        number, stop, carry = state
        return primitives.add(number, np.ones((), dtype)[()]), stop, body(number, carry)

    return while_loop(
        lambda state: primitives.compare(state[0], state[1], dir="lt"),
        functools.wraps(body)(advance),
        (start, stop, init),
    )[2]


def map(function: Callable, xs, *, batch_size: int | None = None):  # noqa: A001
    """`function` of every slice of `xs` along its leading axis, one after the other (`vmap` does all at once).

    With `batch_size` that many are done at a time by `vmap`, and those that are left over together: so the memory is
    that of one batch. Raises `ArgumentError` for a batch size that is no positive integer.
    """
    if batch_size is None:

        @functools.wraps(function)
        def step(carry, x):
            return carry, function(x)

        return scan(step, None, xs)[1]
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ArgumentError(located(f"map: batch_size must be a positive integer, not {batch_size!r}"))
    check_leaves("map", (xs,))
    counts = {shape[:1] for shape in tree.shapes(xs)}
    if len(counts) != 1 or counts == {()}:
        raise ShapeError(located(f"map: the leading axes of xs must have one length, but they are {sorted(counts)}"))
    ((count,),) = counts
    whole = count - count % batch_size
    vectorized, parts = vmap(function), []
    if whole:
        rows = (whole // batch_size, batch_size)
        first = tree.map(lambda x: primitives.reshape(x[:whole], (*rows, *x.shape[1:])), xs)
        parts.append(tree.map(lambda y: primitives.reshape(y, (whole, *y.shape[2:])), map(vectorized, first)))
    if whole < count or not count:
        parts.append(vectorized(tree.map(lambda x: x[whole:], xs)))
    return parts[0] if len(parts) == 1 else tree.map(lambda y, z: primitives.concatenate(y, z, axis=0), *parts)


# ---- cond ---------------------------------------------------------------------------------------------------------


def bind_cond(index, branches: Sequence[Jaxpr], operands: Sequence) -> list:
    """One cond equation; the consts of all branches become leading operands of every branch."""
    if any(branch.constvars for branch in branches):
        operands = [*(const for branch in branches for const in branch.consts), *operands]
        branches = _with_all_consts(tuple(branches))
    return cond_p.bind(index, *operands, branches=tuple(branches))


@remember
def _with_all_consts(branches: tuple[Jaxpr, ...]) -> tuple[Jaxpr, ...]:
    """The branches closed, each taking the consts of all of them."""
    result = []
    for number, branch in enumerate(branches):
        before = [Var(v.aval) for other in branches[:number] for v in other.constvars]
        after = [Var(v.aval) for other in branches[number + 1 :] for v in other.constvars]
        result.append(Jaxpr((*before, *branch.constvars, *after, *branch.inputs), branch.eqns, branch.outputs))
    return tuple(result)


def _cond_numpy(index, *arrays, branches):
    return interpret(branches[min(max(int(index), 0), len(branches) - 1)], arrays)


def _union(flags: Sequence[Sequence[bool]]) -> tuple[bool, ...]:
    return tuple(any(column) for column in zip(*flags))


def _cond_jvp(primals, tangents, *, branches):
    index, *operands = primals
    nonzero = tuple(t is not ZERO for t in tangents[1:])
    force = _union([jvp_program(branch, nonzero)[1] for branch in branches])
    programs = [jvp_program(branch, nonzero, force)[0] for branch in branches]
    outs = bind_cond(index, programs, operands + choose(tangents[1:], nonzero))
    count = len(branches[0].outputs)
    return outs[:count], interleave(outs[count:], force)


@dataclass(frozen=True, eq=False)
class _CondSplit:
    """A cond cut in two: branches of the known cond, whose extra outputs are slots for residuals, and branches of the
    tangents' cond, which take the slots, then the primal operands, then the tangents."""

    known: tuple[Jaxpr, ...]
    tangent: tuple[Jaxpr, ...]
    num_slots: int
    out_nonzero: tuple[bool, ...]


@remember
def _split_cond(branches: tuple[Jaxpr, ...], nonzero: tuple[bool, ...]) -> _CondSplit:
    force = _union([linearize_program(branch, nonzero).out_nonzero for branch in branches])
    splits = [linearize_program(branch, nonzero, force) for branch in branches]
    slots: list[Aval] = []
    places: list[dict[int, int]] = []  # for each branch: number of the residual -> slot
    count = len(branches[0].outputs)
    for split in splits:
        free = list(range(len(slots)))
        places.append({})
        for number, ((kind, _), var) in enumerate(zip(split.sources, split.tangent.inputs)):
            if kind == "in":
                continue
            slot = next((s for s in free if slots[s] == var.aval), None)
            if slot is None:
                slots.append(var.aval)
                slot = len(slots) - 1
            else:
                free.remove(slot)
            places[-1][number] = slot
    known = tuple(_known_branch(split, place, slots, count) for split, place in zip(splits, places))
    avals = branches[0].in_avals
    tangent = tuple(_tangent_branch(split, place, slots, avals, nonzero) for split, place in zip(splits, places))
    return _CondSplit(known, tangent, len(slots), force)


def _known_branch(split, place: dict[int, int], slots: Sequence[Aval], count: int) -> Jaxpr:
    def branch(*operands):
        outs = core.eval_jaxpr(split.known, *operands)
        values: list[Any] = [None] * len(slots)
        for number, slot in place.items():
            kind, which = split.sources[number]
            values[slot] = outs[which] if kind == "out" else which
        return outs[:count] + [zeros(aval) if value is None else value for value, aval in zip(values, slots)]

    return core.stage(branch, split.known.in_avals, "grad")


def _tangent_branch(split, place: dict[int, int], slots: Sequence[Aval], avals: Sequence[Aval], nonzero) -> Jaxpr:
    def branch(*values):
        stored, operands, tangents = (
            values[: len(slots)],
            values[len(slots) : len(slots) + len(avals)],
            values[len(slots) + len(avals) :],
        )
        residuals = [
            operands[which] if kind == "in" else stored[place[number]]
            for number, (kind, which) in enumerate(split.sources)
        ]
        return core.eval_jaxpr(split.tangent, *residuals, *tangents)

    return core.stage(branch, [*slots, *avals, *choose(avals, nonzero)], "grad")


def _cond_linearize(trace, primals, tangents, *, branches):
    index, *operands = primals
    nonzero = tuple(t is not ZERO for t in tangents[1:])
    split = _split_cond(branches, nonzero)
    count = len(branches[0].outputs)
    with core.using(trace.parent):
        outs = bind_cond(index, split.known, operands)
    with core.using(trace.staged):
        out_tangents = bind_cond(index, split.tangent, outs[count:] + operands + choose(tangents[1:], nonzero))
    return outs[:count], interleave(out_tangents, split.out_nonzero)


def _cond_transpose(cotangents, index, *operands, branches):
    linear = tuple(isinstance(x, Linear) for x in operands)
    given = tuple(ct is not ZERO for ct in cotangents)
    programs = [transpose_program(branch, linear, given, True)[0] for branch in branches]
    outs = bind_cond(index, programs, choose(operands, linear, False) + choose(cotangents, given))
    return [ZERO, *interleave(outs, linear)]


def _cond_batch(axis_size, args, dims, *, branches, axis_name=None):
    (index, *operands), (index_dim, *operand_dims) = args, dims
    found = [
        batched_program(b, axis_size, tuple(operand_dims), (None,) * len(b.outputs), axis_name)[1] for b in branches
    ]
    mapped = _union([[d is not None for d in out_dims] for out_dims in found])
    out_dims = tuple(0 if m or index_dim is not None else None for m in mapped)
    programs = [batched_program(b, axis_size, tuple(operand_dims), out_dims, axis_name)[0] for b in branches]
    if index_dim is None:
        return bind_cond(index, programs, operands), list(out_dims)
    # Each example takes its own branch, so all branches run and every example keeps the results of one.
    index = primitives.minmax(index, np.int32(len(branches) - 1), "min")
    outs = core.eval_jaxpr(programs[0], *operands)
    for number, program in enumerate(programs[1:], 1):
        chosen = primitives.compare(index, np.int32(number), dir="eq")
        outs = [_select_first(chosen, new, old) for new, old in zip(core.eval_jaxpr(program, *operands), outs)]
    return outs, list(out_dims)


cond_p = Primitive(
    "cond",
    multiple_results=True,
    abstract=lambda index, *avals, branches: [aval.update() for aval in branches[0].out_avals],
    numpy=_cond_numpy,
    jvp=_cond_jvp,
    linearize=_cond_linearize,
    transpose=_cond_transpose,
    batch=_cond_batch,
    factors=not_needed("the branches are partitioned, not the cond"),
    lower=Anchor("cond"),
    effects=lambda params: core.NO_EFFECTS.union(*(branch.effects for branch in params["branches"])),
)


def cond(predicate, on_true: Callable, on_false: Callable, *operands):
    """`on_true(*operands)` if `predicate` is true, else `on_false(*operands)`; only one of them runs.

    predicate: one bool or number of shape (). The branches give results of one structure, shapes and dtypes.
    Under `vmap` with a mapped predicate both run, and each example keeps its own result.

    Raises `ShapeError` for a predicate that is not a scalar, `ArgumentError`, `ShapeError` or `DtypeError` for branches
    that do not agree.
    """
    aval = _scalar_aval("cond", "the predicate", predicate)
    if aval.dtype != dtypes.bool_:
        predicate = primitives.compare(predicate, np.zeros((), aval.dtype)[()], dir="ne")
    return _branch("cond", primitives.convert(predicate, dtype=dtypes.int32), (on_false, on_true), operands)


def switch(index, branches: Sequence[Callable], *operands):
    """`branches[index](*operands)`, the index clamped to the range; only that branch runs.

    index: one integer of shape (). The branches give results of one structure, shapes and dtypes.
    """
    branches = tuple(branches)
    if not branches:
        raise ArgumentError(located("switch needs at least one branch"))
    aval = _scalar_aval("switch", "the index", index)
    if not dtypes.is_integer(aval.dtype):
        raise DtypeError(
            located(f"switch: the index must be an integer, but it has dtype {aval.dtype}; use cond for a bool")
        )
    return _branch("switch", primitives.convert(index, dtype=dtypes.int32), branches, operands)


def _scalar_aval(what: str, name: str, value) -> Aval:
    check_leaves(what, (value,))
    aval = core.get_aval(value)
    if aval.shape != ():
        raise ShapeError(
            located(
                f"{what}: {name} must have shape (), but it has shape {aval.shape}; reduce it with .any() or .all(), "
                "or use ftiny.numpy.where for an elementwise choice"
            )
        )
    return aval


def _branch(what: str, index, functions: Sequence[Callable], operands: Sequence):
    check_leaves(what, operands)
    leaves, structure = tree.flatten(tuple(operands))
    avals = [core.get_aval(x) for x in leaves]
    flats = [FlatFunction(function, structure) for function in functions]
    found: list[list[Aval]] = []

    def traced(flat, targets, *values):
        outs = flat(*values)
        found.append([core.get_aval(x) for x in outs])
        return outs if targets is None else [_as_carry(x, aval) for x, aval in zip(outs, targets)]

    programs = [core.stage(functools.partial(traced, flat, None), avals, what) for flat in flats]
    _check_branches(what, functions, [flat.out_structure for flat in flats])
    targets = [_common_aval(column) for column in zip(*found)]
    if any(p.out_avals[i].dtype != t.dtype for p in programs for i, t in enumerate(targets)):
        programs = [core.stage(functools.partial(traced, flat, targets), avals, what) for flat in flats]
    _check_results(what, functions, programs, flats[0].out_structure)
    return tree.unflatten(flats[0].out_structure, bind_cond(index, programs, leaves))


def _common_aval(avals: Sequence[Aval]) -> Aval:
    """What one result of all branches should be: Python numbers adopt the dtype of the arrays."""
    return next((aval for aval in avals if not aval.scalar), avals[0])


def _check_branches(what: str, functions, structures) -> None:
    for function, structure in zip(functions, structures):
        if structure != structures[0]:
            raise ArgumentError(
                located(
                    f"{what}: the branches must return the same structure, but {name_of(functions[0])} returns "
                    f"{structures[0]} and {name_of(function)} returns {structure}"
                )
            )


def _check_results(what: str, functions, programs, structure) -> None:
    paths = [path for path, _ in tree.leaves_with_path(tree.unflatten(structure, range(len(programs[0].outputs))))]
    for function, program in zip(functions, programs):
        for path, first, aval in zip(paths, programs[0].out_avals, program.out_avals):
            if (first.shape, first.dtype) != (aval.shape, aval.dtype):
                error = ShapeError if first.shape != aval.shape else DtypeError
                raise error(
                    located(
                        f"{what}: result{tree.keystr(path)} of {name_of(functions[0])} is {first}, but that of "
                        f"{name_of(function)} is {aval}; the branches must agree (use .astype, or "
                        "ftiny.numpy.broadcast_to)"
                    )
                )
