"""The `call` primitive, which a jitted function leaves in an enclosing program, and `checkpoint`, a policy on it.

Input: a program and its arguments. Output: the program's results, as one equation `call[jaxpr name policy]`:

    { lambda a:f32[3] . let
        b:f32[3] = call[jaxpr={...} name=loss] a
      in (b,) }

Its rules transform the body: `jvp` and `batch` give one call of the transformed body; `linearize` cuts it into a call
of what is known and a call of the tangents, joined by residuals; transposition runs the tangents' call backwards.
With a policy (`checkpoint`) the known call saves only what the policy names, and the tangents' call computes the
rest again from the inputs, behind a `barrier` so that it is not merged with the first computation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from ftiny import array_tree as tree
from ftiny import core
from ftiny.contraction import operand_indices
from ftiny.core import ZERO, Anchor, Jaxpr, Linear, Primitive, Var, not_needed
from ftiny.errors import ArgumentError
from ftiny.lowering.interpret import interpret
from ftiny.source import inherit, located
from ftiny.transforms.common import FlatFunction, check_leaves, name_of
from ftiny.transforms.grad import JVPTrace, JVPTracer, linearize_flat
from ftiny.transforms.programs import (
    Split,
    batched_program,
    choose,
    interleave,
    jvp_program,
    linearize_program,
    needed,
    remember,
    run_again,
    transpose_program,
)

Policy = Callable[..., bool]


# ---- barrier ------------------------------------------------------------------------------------------------------


def _barrier_jvp(primals, tangents):
    present = [t is not ZERO for t in tangents]
    outs = barrier_p.bind(*primals)
    return outs, interleave(barrier_p.bind(*choose(tangents, present)), present)


def _barrier_transpose(cotangents, *inputs):
    present = [ct is not ZERO for ct in cotangents]
    return interleave(barrier_p.bind(*choose(cotangents, present)), present)


barrier_p: Primitive = Primitive(
    "barrier",
    multiple_results=True,
    abstract=lambda *avals: [aval.update() for aval in avals],
    numpy=lambda *arrays: list(arrays),
    jvp=_barrier_jvp,
    transpose=_barrier_transpose,
    batch=lambda axis_size, args, dims: (barrier_p.bind(*args), list(dims)),
    factors=lambda *avals: _separate_factors(avals),
    lower=Anchor("barrier"),
)


def _separate_factors(avals) -> str:
    """Every operand with letters of its own, unchanged in its result."""
    letters = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" * 99)
    terms = ["".join(next(letters) for _ in aval.shape) for aval in avals]
    return f"{','.join(terms)}->{','.join(terms)}"


def barrier(*values) -> list:
    """The values unchanged; nothing is merged or moved across. Takes and gives arrays."""
    return barrier_p.bind(*values) if values else []


# ---- call ---------------------------------------------------------------------------------------------------------


def _call_abstract(*avals, jaxpr: Jaxpr, name: str, policy):
    return [aval.update() for aval in jaxpr.out_avals]


def _call_jvp(primals, tangents, *, jaxpr, name, policy):
    nonzero = tuple(t is not ZERO for t in tangents)
    program, out_nonzero = jvp_program(jaxpr, nonzero)
    outs = bind_call(program, [*primals, *choose(tangents, nonzero)], name, policy)
    count = len(jaxpr.outputs)
    return outs[:count], interleave(outs[count:], out_nonzero)


def _call_linearize(trace, primals, tangents, *, jaxpr, name, policy):
    nonzero = tuple(t is not ZERO for t in tangents)
    split = linearize_program(jaxpr, nonzero) if policy is None else _checkpointed(jaxpr, nonzero, policy)
    with core.using(trace.parent):
        outs = bind_call(split.known, primals, name)
    with core.using(trace.staged):
        # Not bound with the policy: what is to be saved was decided when the call was cut.
        out_tangents = bind_call(split.tangent, split.residuals(primals, outs) + choose(tangents, nonzero), name)
    return outs[: len(jaxpr.outputs)], interleave(out_tangents, split.out_nonzero)


def _call_transpose(cotangents, *inputs, jaxpr, name, policy):
    linear = tuple(isinstance(x, Linear) for x in inputs)
    given = tuple(ct is not ZERO for ct in cotangents)
    program, nonzero = transpose_program(jaxpr, linear, given)
    outs = bind_call(program, choose(inputs, linear, False) + choose(cotangents, given), name)
    return interleave(interleave(outs, nonzero), linear)


def _call_batch(axis_size, args, dims, *, jaxpr, name, policy, axis_name=None):
    program, out_dims = batched_program(jaxpr, axis_size, tuple(dims), None, axis_name)
    return bind_call(program, args, name, policy), list(out_dims)


call_p = Primitive(
    "call",
    multiple_results=True,
    abstract=_call_abstract,
    numpy=lambda *arrays, jaxpr, name, policy: interpret(jaxpr, arrays),
    jvp=_call_jvp,
    linearize=_call_linearize,
    transpose=_call_transpose,
    batch=_call_batch,
    factors=not_needed("a call is inlined before it is partitioned"),
    lower=Anchor("call"),
    effects=lambda params: params["jaxpr"].effects,
)


def bind_call(program: Jaxpr, values: Sequence, name: str, policy: Policy | None = None) -> list:
    """The results of a program as one `call` equation; its consts become leading arguments."""
    if not program.outputs and not program.effects:
        return []
    return call_p.bind(*program.consts, *values, jaxpr=closed(program), name=name, policy=policy)


def closed(program: Jaxpr) -> Jaxpr:
    """`program.close_over()`, the same object whenever it is asked for a program that has no consts."""
    return program if not program.constvars else _close(program)


@remember
def _close(program: Jaxpr) -> Jaxpr:
    return program.close_over()


# ---- checkpoint ---------------------------------------------------------------------------------------------------


@remember
def _checkpointed(jaxpr: Jaxpr, nonzero: tuple[bool, ...], policy: Policy) -> Split:
    """Cut a program so that its residuals are its inputs and the values that the policy saves."""
    saved = _saved_variables(jaxpr, policy)
    full = jaxpr.replace(outputs=jaxpr.outputs + tuple(saved))
    count = len(jaxpr.inputs)

    def recompute(*values):
        return _evaluate_with(jaxpr, values[:count], dict(zip(saved, values[count:])))

    avals = full.in_avals + [var.aval for var in saved]
    return _split_by_inputs(recompute, avals, nonzero + (False,) * len(saved), full, jaxpr)


def _split_by_inputs(recompute, avals, nonzero, full: Jaxpr, jaxpr: Jaxpr) -> Split:
    """The cut whose tangent half is the whole derivative of `recompute`, with its primal results dropped."""
    flags: list[bool] = []

    def tangents(*values):
        # Behind the barrier, so that what is computed again is not merged with the first computation.
        primals, given = barrier(*values[: len(avals)]), interleave(values[len(avals) :], nonzero)
        # Cut in two here as well, so that what is computed again and the tangents are not mixed in one loop.
        _, found, linear = linearize_flat(recompute, primals, nonzero)
        flags.extend(found)
        return core.eval_jaxpr(linear, *(t for t in given if t is not ZERO))

    program = core.stage(tangents, list(avals) + choose(avals, nonzero), "checkpoint")
    tangent = needed(run_again(program.close_over(), "checkpoint"), [True] * len(program.outputs))
    count, outputs = len(jaxpr.inputs), len(jaxpr.outputs)
    sources: list[tuple[str, Any]] = [("const", value) for value in program.consts]
    sources += [("in", i) for i in range(count)]
    sources += [("out", outputs + i) for i in range(len(avals) - count)]
    return Split(full, tangent, tuple(sources), tuple(flags))


def _saved_variables(jaxpr: Jaxpr, policy: Policy) -> list[Var]:
    saved: list[Var] = []
    for eqn in jaxpr.eqns:
        if policy(eqn.primitive, *(atom.aval for atom in eqn.inputs), **eqn.params):
            saved += eqn.outputs
    return saved


def _evaluate_with(jaxpr: Jaxpr, inputs: Sequence, stored: dict[Var, Any]) -> list:
    """Evaluate under a `JVPTrace` with the primal values of some variables given instead of computed."""
    env: dict[Var, Any] = dict(zip(jaxpr.inputs, inputs))
    trace = core.current_trace()
    for eqn in jaxpr.eqns:
        with inherit(eqn.source):
            outs = trace.process(eqn.primitive, [core.read(env, atom) for atom in eqn.inputs], eqn.params)
        for var, out in zip(eqn.outputs, outs):
            if var in stored and isinstance(trace, JVPTrace):
                primal, tangent = trace.split(stored[var])[0], trace.split(out)[1]
                out = primal if tangent is ZERO else JVPTracer(trace, primal, tangent)
            env[var] = out
    return [core.read(env, atom) for atom in jaxpr.outputs]


def save_nothing(primitive, *avals, **params) -> bool:
    """A checkpoint policy: keep the inputs only and compute everything again."""
    return False


def save_contractions(primitive, *avals, **params) -> bool:
    """A checkpoint policy: keep the results of matrix products and convolutions."""
    return primitive.name == "contract"


def save_everything(primitive, *avals, **params) -> bool:
    """A checkpoint policy: keep every intermediate value, so that nothing is computed again."""
    return True


def save_names(*names: str) -> Policy:
    """A checkpoint policy: keep the values that `checkpoint_name` gave one of these names."""

    def policy(primitive, *avals, **params) -> bool:
        return primitive.name == "call" and params["name"] in names

    return policy


def _save_unbatched_contractions(primitive, *avals, **params) -> bool:
    """A checkpoint policy: keep the results of products without a batch axis, as those with weights are."""
    if primitive.name != "contract":
        return False
    spec = params["spec"]
    first, second = map(set, map(operand_indices, spec.operands))
    return not first & second & set(spec.output)


def _save_all_but(*names: str) -> Policy:
    """A checkpoint policy: keep everything but the values that `checkpoint_name` gave one of these names."""
    return lambda primitive, *avals, **params: not (primitive.name == "call" and params["name"] in names)


def _save_named_but(*names: str) -> Policy:
    """A checkpoint policy: keep the values that `checkpoint_name` gave a name, but for these names."""
    return lambda primitive, *avals, **params: (
        primitive.name == "call" and params["jaxpr"].eqns == () and params["name"] not in names
    )


def _save_either(*policies: Policy) -> Policy:
    """A checkpoint policy: keep what one of the policies keeps."""
    return lambda primitive, *avals, **params: any(policy(primitive, *avals, **params) for policy in policies)


# The policies under the names that JAX gives them.
checkpoint_policies = SimpleNamespace(
    everything_saveable=save_everything,
    nothing_saveable=save_nothing,
    dots_saveable=save_contractions,
    checkpoint_dots=save_contractions,
    dots_with_no_batch_dims_saveable=_save_unbatched_contractions,
    checkpoint_dots_with_no_batch_dims=_save_unbatched_contractions,
    save_only_these_names=save_names,
    save_anything_except_these_names=_save_all_but,
    save_any_names_but_these=_save_named_but,
    save_from_both_policies=_save_either,
)


def checkpoint_name(value, name: str):
    """`value`, called `name` for the policy `save_names`. Takes and gives a pytree of arrays."""
    leaves, structure = tree.flatten(value)
    named = [call_p.bind(x, jaxpr=_identity(core.get_aval(x).update()), name=name, policy=None)[0] for x in leaves]
    return tree.unflatten(structure, named)


@functools.cache
def _identity(aval: core.Aval) -> Jaxpr:
    var = Var(aval)
    return Jaxpr((var,), (), (var,))


def checkpoint(function: Callable, policy: Policy | None = None) -> Callable:
    """`function`, differentiated with less memory: its intermediate values are computed again on the way back.

    policy: `policy(primitive, *avals, **params) -> bool` says which results to keep; default `save_nothing`. Others are
    `save_contractions`, `save_everything` and `save_names(...)`.
    """
    if not callable(function):
        raise ArgumentError(located(f"checkpoint takes a function, not a {type(function).__name__}"))

    @functools.wraps(function)
    def checkpointed(*args, **kwargs):
        check_leaves("checkpoint", args)
        leaves, structure = tree.flatten((args, kwargs))
        flat = FlatFunction(function, structure, has_keywords=True)
        program = core.stage(flat, [core.get_aval(x) for x in leaves], "checkpoint")
        outs = bind_call(program, leaves, f"checkpoint({name_of(function)})", policy or save_nothing)
        return tree.unflatten(flat.out_structure, outs)

    return checkpointed
