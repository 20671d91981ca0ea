"""Transformations of whole programs: what the rules of `call`, `scan`, `while` and `cond` do to their bodies.

Input: a `Jaxpr` without consts and a pattern (which inputs have tangents, are linear, are mapped). Output: a new
`Jaxpr`, with what the rules closed over in its `consts`:

    body:                       { lambda a:f32[3] . let b:f32[3] = sin a  in (b,) }
    jvp_program(body, (True,)): { lambda a:f32[3] t:f32[3] . let b = sin a; c = cos a; d = mul t c  in (b, d,) }

Results are remembered, since the same body is differentiated at every call of a jitted function; a program that
closes over a tracer belongs to its trace and is not.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ftiny import core
from ftiny.core import INLINED, ZERO, Atom, Jaxpr, Literal, Tracer, Var
from ftiny.errors import RuleError
from ftiny.source import located
from ftiny.transforms import vmap as batching
from ftiny.transforms.common import instantiate
from ftiny.transforms.grad import backward, linearize_flat, run_jvp

_known: weakref.WeakKeyDictionary[Jaxpr, dict] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def remember(function: Callable) -> Callable:
    """Cache a function of a program (or of a tuple of programs) and a pattern for as long as the program lives.

    A result that closes over a tracer is not kept, since it belongs to that tracer's trace.
    """

    @functools.wraps(function)
    def cached(first, *rest):
        # The table is in the hands of the first program, so its values must not hold on to that program.
        program, key = (first[0], first[1:]) if isinstance(first, tuple) else (first, ())
        full = (function, batching.named_axes(), key, rest)
        with _lock:
            table = _known.setdefault(program, {})
            result = table.get(full)
        if result is None:
            result = function(first, *rest)
            if not any(isinstance(const, Tracer) for part in _programs_in(result) for const in part.consts):
                with _lock:
                    result = table.setdefault(full, result)
        return result

    return cached


def _programs_in(result) -> Iterator[Jaxpr]:
    """All programs in a tuple, or in the fields of a dataclass."""
    if isinstance(result, Jaxpr):
        yield result
    elif isinstance(result, tuple) or dataclasses.is_dataclass(result):
        for part in result if isinstance(result, tuple) else vars(result).values():
            yield from _programs_in(part)


def interleave(values: Sequence, flags: Sequence[bool], others: Sequence | None = None) -> list:
    """One entry for each flag: the next of `values` where it is set, else the next of `others` (default ZERO)."""
    these, those = iter(values), iter(others) if others is not None else None
    return [next(these) if flag else ZERO if those is None else next(those) for flag in flags]


def choose(values: Sequence, flags: Sequence[bool], wanted: bool = True) -> list:
    """The values whose flag is `wanted`."""
    return [value for value, flag in zip(values, flags) if flag == wanted]


# ---- jvp and linearize --------------------------------------------------------------------------------------------


@remember
def jvp_program(program: Jaxpr, nonzero: tuple[bool, ...], force: tuple[bool, ...] | None = None):
    """`(jvp, out_nonzero)`: primals and nonzero tangents to results and nonzero tangents.

    `force` marks the outputs whose tangent is wanted even if it is zero.
    """
    found: list[bool] = []

    def both(*values):
        primals = values[: len(nonzero)]
        tangents = interleave(values[len(nonzero) :], nonzero)
        outs, out_tangents = run_jvp(
            core.current_trace(), functools.partial(core.eval_jaxpr, program), primals, tangents
        )
        out_tangents = _forced(out_tangents, program, force)
        found.extend(t is not ZERO for t in out_tangents)
        return outs + [t for t in out_tangents if t is not ZERO]

    avals = program.in_avals + choose(program.in_avals, nonzero)
    return core.stage(both, avals, "jvp"), tuple(found)


def _forced(tangents: Sequence, program: Jaxpr, force: Sequence[bool] | None) -> list:
    if force is None:
        return list(tangents)
    return [instantiate(t, aval) if wanted else t for t, aval, wanted in zip(tangents, program.out_avals, force)]


@dataclass(frozen=True, eq=False)
class Split:
    """A program cut in two: what is known from the primals, and a linear program of the tangents.

    known: primals -> results, then the residuals that are none of its inputs.
    tangent: residuals, then nonzero tangents -> nonzero tangents of the results; no consts.
    sources: for each residual `("in", i)`, input i of `known`, `("out", j)`, its output j, or `("const", value)`.
    out_nonzero: which results have tangents.
    """

    known: Jaxpr
    tangent: Jaxpr
    sources: tuple[tuple[str, Any], ...]
    out_nonzero: tuple[bool, ...]

    def residuals(self, primals: Sequence, outs: Sequence) -> list:
        """The residuals, given the inputs and all outputs of `known` (its own consts not counted among the inputs)."""
        table = {"in": lambda i: primals[i], "out": lambda j: outs[j], "const": lambda value: value}
        return [table[kind](which) for kind, which in self.sources]


@remember
def linearize_program(program: Jaxpr, nonzero: tuple[bool, ...], force: tuple[bool, ...] | None = None) -> Split:
    """Cut a program in two along its tangents; `force` as in `jvp_program`."""
    return split_function(functools.partial(core.eval_jaxpr, program), program.in_avals, nonzero, program, force)


def split_function(
    function: Callable, avals: Sequence, nonzero: Sequence[bool], program: Jaxpr, force: Sequence[bool] | None = None
) -> Split:
    """`linearize_program` of a flat function that computes `program`."""
    cut: dict[str, Any] = {}

    def known(*primals):
        outs, out_nonzero, tangent = linearize_flat(function, primals, nonzero)
        cut.update(tangent=tangent, out_nonzero=out_nonzero)
        positions = {id(x): ("in", i) for i, x in enumerate(primals)}
        positions |= {id(x): ("out", j) for j, x in reversed(list(enumerate(outs))) if id(x) not in positions}
        extra, sources = [], []
        for residual in tangent.consts:
            if not isinstance(residual, Tracer):
                sources.append(("const", residual))
            elif id(residual) in positions:
                sources.append(positions[id(residual)])
            else:
                sources.append(("out", len(outs) + len(extra)))
                extra.append(residual)
        cut["sources"] = tuple(sources)
        return outs + extra

    staged = core.stage(known, avals, "grad")
    tangent, out_nonzero = cut["tangent"].close_over(), tuple(cut["out_nonzero"])
    if force is not None:
        tangent = _with_zeros(tangent, program, out_nonzero, force)
        out_nonzero = tuple(a or b for a, b in zip(out_nonzero, force))
    return Split(staged, tangent, cut["sources"], out_nonzero)


def _with_zeros(tangent: Jaxpr, program: Jaxpr, out_nonzero: Sequence[bool], force: Sequence[bool]) -> Jaxpr:
    """The tangent program with zeros among its outputs where `force` wants a tangent that is ZERO."""

    def padded(*values):
        outs = interleave(core.eval_jaxpr(tangent, *values), out_nonzero)
        outs = _forced(outs, program, force)
        return [t for t in outs if t is not ZERO]

    return core.stage(padded, tangent.in_avals, "grad")


# ---- transposition ------------------------------------------------------------------------------------------------


@remember
def transpose_program(program: Jaxpr, linear: tuple[bool, ...], given: tuple[bool, ...], force: bool = False):
    """`(transposed, nonzero)`: non-linear inputs, then the given cotangents, to nonzero cotangents of linear inputs.

    `linear` marks the linear inputs, `given` the outputs that have a cotangent; `force` wants all results.
    """
    found: list[bool] = []

    def transposed(*values):
        count = len(linear) - sum(linear)
        cotangents = interleave(values[count:], given)
        results = backward(program, values[:count], cotangents, linear)
        if force:
            results = [instantiate(ct, aval) for ct, aval in zip(results, choose(program.in_avals, linear))]
        found.extend(ct is not ZERO for ct in results)
        return [ct for ct in results if ct is not ZERO]

    avals = choose(program.in_avals, linear, False) + choose(program.out_avals, given)
    return core.stage(transposed, avals, "transpose"), tuple(found)


@remember
def batched_program(
    program: Jaxpr, size: int, dims: tuple, out_dims: tuple | None = None, axis_name: str | None = None
):
    """`batch_program`, remembered."""
    return batching.batch_program(program, size, dims, out_dims, axis_name)


# ---- what is needed -----------------------------------------------------------------------------------------------


def needed(program: Jaxpr, wanted: Sequence[bool], keep_effects: bool = True) -> Jaxpr:
    """The program cut down to the marked outputs and the equations they need; its inputs stay."""
    outputs = tuple(choose(program.outputs, wanted))
    live = {atom for atom in outputs if isinstance(atom, Var)}
    kept = []
    for eqn in reversed(program.eqns):
        if eqn.effects and keep_effects or not live.isdisjoint(eqn.outputs):
            kept.append(eqn)
            live.update(atom for atom in eqn.inputs if isinstance(atom, Var))
    return program.replace(eqns=tuple(reversed(kept)), outputs=outputs)


@remember
def without_unused(program: Jaxpr, wanted: tuple[bool, ...] | None = None) -> tuple[Jaxpr, tuple[bool, ...]]:
    """`(smaller, used)`: the program with only the marked outputs, the inputs that these or its effects need, and the
    equations between, and which inputs those are. `wanted` None marks all outputs.

    A call hands on only what its body needs. It is made to be compiled: a call with a derivative rule loses the rule.
    """
    outputs = program.outputs if wanted is None else tuple(choose(program.outputs, wanted))
    live = {atom for atom in outputs if isinstance(atom, Var)}
    kept = []
    for eqn in reversed(program.eqns):
        flags = tuple(var in live for var in eqn.outputs)
        if eqn.effects or any(flags):
            kept.append(_smaller_call(eqn, flags) if eqn.primitive.name in INLINED else eqn)
            live.update(atom for atom in kept[-1].inputs if isinstance(atom, Var))
    used = tuple(var in live for var in program.inputs)
    inputs = tuple(choose(program.inputs, used))
    return program.replace(inputs=inputs, eqns=tuple(reversed(kept)), outputs=outputs), used


def _smaller_call(eqn: core.Eqn, wanted: tuple[bool, ...]) -> core.Eqn:
    """A call, or one with a derivative rule, as a call with the wanted results only and the arguments they need."""
    body, used = without_unused(core.subprograms(eqn)[0], wanted)
    if all(used) and all(wanted):
        return eqn
    params = {"jaxpr": body, "name": eqn.params.get("name", eqn.primitive.name), "policy": None}
    call = core.Primitive.registry["call"]
    outputs = tuple(choose(eqn.outputs, wanted))
    return core.Eqn(call, tuple(choose(eqn.inputs, used)), params, outputs, body.effects, eqn.source)


@remember
def passed_on(program: Jaxpr) -> tuple[int | None, ...]:
    """For each output the position of the input that it is, seen through calls, or None if it is computed."""
    same: dict[Atom, Atom] = {}
    for eqn in program.eqns:
        if eqn.primitive.name in INLINED:
            for var, position in zip(eqn.outputs, passed_on(core.subprograms(eqn)[0])):
                if position is not None:
                    given = eqn.inputs[position]
                    same[var] = same.get(given, given)
    positions: dict[Atom, int] = {var: position for position, var in enumerate(program.inputs)}
    return tuple(positions.get(same.get(atom, atom)) for atom in program.outputs)


def run_again(program: Jaxpr, what: str) -> Jaxpr:
    """A program that is run a second time for its derivative: effects that nothing needs do not happen twice.

    Raises `RuleError` when something needs the results of a call with effects: another call might give others.
    """
    return _without_effects(program, what) if program.effects else program


@remember
def _without_effects(program: Jaxpr, what: str) -> Jaxpr:
    rest = needed(program, [True] * len(program.outputs), keep_effects=False)

    def inside(value):
        if isinstance(value, tuple):
            return tuple(map(inside, value))
        return run_again(value, what) if isinstance(value, Jaxpr) else value

    def quiet(eqn: core.Eqn) -> core.Eqn:
        if not eqn.effects:
            return eqn
        if not core.subprograms(eqn):
            raise RuleError(located(
                f"{what} runs its program again for the derivative, but that program needs the results of an "
                "io_callback, which would be called twice. Call it outside, use pure_callback, or take the derivative "
                "in forward mode (jvp)"))
        params = {key: inside(value) for key, value in eqn.params.items()}
        return eqn.replace(params=params, effects=eqn.primitive.effects(params))

    return rest.replace(eqns=tuple(map(quiet, rest.eqns)))


def depends_on(program: Jaxpr, marked: Sequence[bool]) -> list[bool]:
    """Which outputs depend on the marked inputs."""
    touched = set(choose(program.inputs, marked))
    for eqn in program.eqns:
        if eqn.effects or not touched.isdisjoint(a for a in eqn.inputs if isinstance(a, Var)):
            touched.update(eqn.outputs)
    return [not isinstance(atom, Literal) and atom in touched for atom in program.outputs]
