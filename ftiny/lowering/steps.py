"""Steps with programs inside: loops and branches as steps of a plan.

Input: a higher-order equation and the planner of the program around it. Output: a `Loop` or `Branch` whose bodies are
plans of their own, compiled by the same stages. The bodies' arenas lie in one scratch buffer of the outer arena.

Worked example: `scan[length=10 num_carry=1] c x` with a body of one kernel becomes

    loop 10 times constants=() carry=(t0) -> (r0) xs=(x1) ys=()
      body:
        plan arguments=(x0, x1) results=(r0) arena=0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ftiny.core import Aval, Eqn, Jaxpr, Var
from ftiny.lowering.plan import Planner, StepBuilder
from ftiny.lowering.plan_types import Branch, Loop, Plan

Nested = Callable[[Jaxpr], Plan]


def step_builders(nested: Nested) -> dict[str, StepBuilder]:
    """Kind of equation -> what makes its step; `nested` compiles a body into a plan."""
    return {
        "scan": lambda planner, eqn: scan_step(planner, eqn, nested),
        "while": lambda planner, eqn: while_step(planner, eqn, nested),
        "cond": lambda planner, eqn: cond_step(planner, eqn, nested),
    }


def scan_step(planner: Planner, eqn: Eqn, nested: Nested) -> Loop:
    """The loop of a scan: its equation's inputs and outputs are in the order of the body's."""
    params = eqn.params
    body = nested(params["jaxpr"])
    first = params["num_consts"]
    last = first + params["num_carry"]
    ins = tuple(map(planner.read, eqn.inputs))
    outs = tuple(map(planner.write, eqn.outputs))
    carry = eqn.outputs[: params["num_carry"]]
    return Loop("scan", body, ins[first:last], outs[: len(carry)], _spares(planner, carry), ins[:first],
                params["length"], params["reverse"], ins[last:], outs[len(carry):], scratch=_arena(planner, (body,)))


def while_step(planner: Planner, eqn: Eqn, nested: Nested) -> Loop:
    """The loop of a while: constants of the condition, constants of the body, carry."""
    params = eqn.params
    cond, body = nested(params["cond_jaxpr"]), nested(params["body_jaxpr"])
    split = params["cond_nconsts"]
    first = split + params["body_nconsts"]
    ins = tuple(map(planner.read, eqn.inputs))
    outs = tuple(map(planner.write, eqn.outputs))
    return Loop("while", body, ins[first:], outs, _spares(planner, eqn.outputs), ins[split:first], cond=cond,
                cond_constants=ins[:split], scratch=_arena(planner, (cond, body)))


def cond_step(planner: Planner, eqn: Eqn, nested: Nested) -> Branch:
    """The branch that a number chooses."""
    branches = tuple(map(nested, eqn.params["branches"]))
    index, *operands = map(planner.read, eqn.inputs)
    return Branch(index, branches, tuple(operands), tuple(map(planner.write, eqn.outputs)), _arena(planner, branches))


def _spares(planner: Planner, carry: Iterable[Var]) -> tuple[str, ...]:
    return tuple(planner.scratch(var.aval) for var in carry)


def _arena(planner: Planner, plans: Iterable[Plan]) -> str | None:
    """Room for the bodies' arenas. It is never shared with other values, so a body's counters stay as it left them."""
    size = max(plan.arena_bytes for plan in plans)
    return planner.scratch(Aval((size,), np.dtype(np.uint8)), zeroed=True) if size else None
