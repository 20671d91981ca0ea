"""Which loops run as one kernel, and what such a kernel has to do: a loop's bodies as loop nests in order.

Input: a scan or while equation. Output: an `Inner` (the equation with the `Program` of each of its bodies), or None
where the loop should stay a step of the plan. A `Program` is a body, simplified, fused and built as any program is;
its items are loop nests, and loops and branches with programs of their own.

A loop becomes one kernel if nothing in it needs the host or several kernels' worth of parallelism: an iteration on one
core of a CPU, or in one block of threads on a GPU, must take no longer than the launches that it would need otherwise.
What an iteration costs is counted in additions, from shapes alone, before anything is compiled.

Worked example, `while_loop(lambda x: x.sum() > 1, lambda x: x / 2, x)` with x: f32[8]: about 100 additions for the sum,
the division and what is written, against three launches, which are worth 2^18 each on a CPU; so it is

    Inner(while, (Program(nests: sum and compare), Program(nests: div)))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from ftiny.core import Atom, Eqn, Jaxpr, Var
from ftiny.dtypes import COMPLEX
from ftiny.lowering.access import element_cost, is_readable, reads_per_element
from ftiny.lowering.build import Built, build, program_of
from ftiny.lowering.fold_rules import fold_extents
from ftiny.lowering.fuse import anchor_kind, fuse
from ftiny.lowering.groups import KERNELS, check_groups
from ftiny.lowering.recurrence import recurrence
from ftiny.lowering.simplify import simplify

# Additions that one launch is worth: of one core and its vectors (about 30 us), of one block on a GPU (about 1 us).
LAUNCH_WORK = {True: 1 << 18, False: 1 << 16}
# Additions that an element written by a trip is worth: one core, or one block, has little of the bandwidth of memory.
ELEMENT_WORK = {True: 8.0, False: 16.0}
# What asking the host costs more, in every trip of a while loop and for a branch.
ASKING_WORK = {True: 1 << 18, False: 1 << 20}
MOST_NESTS = 200          # of one kernel, whose text and time to compile grow with them
LOOPS = ("scan", "while", "cond")


class Refused(Exception):
    """This loop cannot or should not be one kernel."""


@dataclass(frozen=True, eq=False)
class Nest:
    """One loop nest of a program."""

    built: Built

    @property
    def reads(self) -> tuple[Atom, ...]:
        """The variables that it reads."""
        inputs = set(self.built.nest.inputs())
        return tuple(v for a, v in zip(self.built.nest.arguments, self.built.variables) if a.name in inputs)

    @property
    def writes(self) -> tuple[Var, ...]:
        """The variables that it writes."""
        outputs = set(self.built.nest.outputs())
        return tuple(v for a, v in zip(self.built.nest.arguments, self.built.variables) if a.name in outputs)


@dataclass(frozen=True, eq=False)
class Inner:
    """A loop or a branch, and the programs inside it: a scan's body; a while's condition and body; branches."""

    eqn: Eqn
    programs: tuple[Program, ...]

    @property
    def reads(self) -> tuple[Atom, ...]:
        """What it reads, literals too."""
        return self.eqn.inputs

    @property
    def writes(self) -> tuple[Var, ...]:
        """The variables that it writes."""
        return self.eqn.outputs


@dataclass(frozen=True, eq=False)
class Program:
    """A body and its items, in order."""

    jaxpr: Jaxpr
    items: tuple[Nest | Inner, ...]

    def nests(self) -> Iterable[Nest]:
        """Every nest, those of inner programs too."""
        for item in self.items:
            if isinstance(item, Nest):
                yield item
            else:
                for program in item.programs:
                    yield from program.nests()


def loop_program(eqn: Eqn, cpu: bool) -> Inner | None:
    """The programs of a loop that should be one kernel, else None."""
    try:
        bodies = _bodies(eqn)
        cost = _Cost()
        for body in bodies:
            cost += _cost_of(body, cpu)
        asking = 0 if anchor_kind(eqn) == "scan" else ASKING_WORK[cpu]
        if eqn.params.get("length") == 0 or cost.work > cost.launches * LAUNCH_WORK[cpu] + asking:
            return None
        return _inner(eqn, bodies)
    except Refused:
        return None


# -------------------------------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class _Cost:
    """Additions and launches of one pass."""

    work: float = 0.0
    launches: float = 0.0

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.work + other.work, self.launches + other.launches)


def _bodies(eqn: Eqn) -> list[Jaxpr]:
    """The simplified programs of a loop or a branch."""
    keys = {"scan": ("jaxpr",), "while": ("cond_jaxpr", "body_jaxpr")}.get(anchor_kind(eqn))
    programs = eqn.params["branches"] if keys is None else [eqn.params[key] for key in keys]
    return [simplify(program).jaxpr for program in programs]


def _cost_of(jaxpr: Jaxpr, cpu: bool) -> _Cost:
    """The cost of one pass of a program; raises `Refused` for what a kernel cannot do."""
    written = sum(atom.aval.size for atom in jaxpr.outputs)
    cost = _Cost(ELEMENT_WORK[cpu] * written, 1.0 if jaxpr.eqns else 0.0)
    for eqn in jaxpr.eqns:
        cost += _cost_of_equation(eqn, cpu)
    return cost


def _cost_of_equation(eqn: Eqn, cpu: bool) -> _Cost:
    avals = [a.aval for a in (*eqn.inputs, *eqn.outputs)]
    if eqn.effects or any(aval.dtype in COMPLEX or aval.size == 0 for aval in avals):
        raise Refused
    size = max((v.aval.size for v in eqn.outputs), default=0)
    if is_readable(eqn):
        return _Cost(size * (element_cost(eqn) + reads_per_element(eqn) - 1), 0.0)
    kind = anchor_kind(eqn)
    if kind in LOOPS:
        return _cost_of_loop(eqn, cpu)
    if kind not in KERNELS:
        raise Refused
    if kind in ("fold", "contract"):
        return _Cost(2.0 * size * prod(fold_extents(eqn.params["spec"])), 1.0)
    if kind == "sort":
        return _Cost(4.0 * size * eqn.inputs[0].aval.shape[eqn.params["axis"]], 1.0)
    return _Cost(8.0 * max(aval.size for aval in avals), 2.0 if kind == "scatter" else 1.0)


def _cost_of_loop(eqn: Eqn, cpu: bool) -> _Cost:
    costs = [_cost_of(body, cpu) for body in _bodies(eqn)]
    if anchor_kind(eqn) == "cond":
        return _Cost(max(c.work for c in costs), max(c.launches for c in costs))
    trips = eqn.params.get("length", 1)
    if trips == 0:
        raise Refused
    return _Cost(trips * sum(c.work for c in costs), trips * sum(c.launches for c in costs))


# ----------------------------------------------------------------------------------------- building


def _inner(eqn: Eqn, bodies: Sequence[Jaxpr]) -> Inner:
    if any(v.aval.size == 0 or v.aval.dtype in COMPLEX for v in (*eqn.inputs, *eqn.outputs)):
        raise Refused
    inner = Inner(eqn, tuple(map(_program, bodies)))
    if sum(1 for program in inner.programs for _ in program.nests()) > MOST_NESTS:
        raise Refused
    return inner


def _program(jaxpr: Jaxpr) -> Program:
    """A simplified body, fused and built."""
    fused = fuse(jaxpr)
    check_groups(fused)
    table = program_of(fused)
    items: list[Nest | Inner] = []
    for group in fused.groups:
        if group.is_kernel:
            items += map(Nest, build(fused, group, table))
            continue
        number = group.folds[0].number
        eqn = jaxpr.eqns[number]
        built = recurrence(eqn, number) if group.kind == "scan" else None
        items += [_inner(eqn, _bodies(eqn))] if built is None else map(Nest, built)
    return Program(jaxpr, tuple(items))
