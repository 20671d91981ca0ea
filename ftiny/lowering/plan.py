"""Planning: where every value of a compiled program lives, and the steps that a device runs.

Input: the program and its `Item`s in order: kernels of a group with the variables that their arguments stand for, or
an equation that is a step of its own. Output: a checked `Plan`.

- A result of the program has memory of its own, or that of a donated argument that is read for the last time by the
  very kernel that writes the result, element by element.
- Everything else lives in one arena. A range is free again after the last item that reads it; the best fitting free
  range is taken. Counters that must start at zero keep their range for themselves.
- Consecutive kernels make one `Graph`; loops and branches hold the plans of their bodies.

Worked example, b = exp(sum(a)) as two kernels: b is result 0, the sum lies at offset 0 of an arena of 512 bytes:

    plan arguments=(x0) results=(r0) arena=512
      buffer x0 f32[1000] argument 0 / buffer t0 f32[] arena +0 / buffer r0 f32[] result 0
      graph: sum_1000<<<...>>>(x0, t0), exp_scalar<<<...>>>(t0, r0)
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ftiny.core import Atom, Aval, Eqn, Jaxpr, Literal, Var
from ftiny.lowering.equations import numbered
from ftiny.lowering.kernel import Kernel
from ftiny.lowering.plan_types import (
    ALIGNMENT,
    Arena,
    Argument,
    Buffer,
    Constant,
    Donated,
    Graph,
    HostCall,
    KernelSource,
    Launch,
    Owner,
    Plan,
    Pointer,
    Result,
    Step,
    check_plan,
)


@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of one loop nest: what their parameters are called and stand for.

    `variables` maps an argument's name to its variable (a user's kernel may read a literal); `scratch` are arrays
    (name, shape, dtype, zeroed) that live as long as these kernels run; `in_place` are pairs (read, written) of
    variables that may share memory; `kernels` are what the sources print, where this compiler made them.
    """

    sources: tuple[KernelSource, ...]
    variables: Mapping[str, Atom]
    scratch: tuple[tuple[str, tuple[int, ...], np.dtype, bool], ...] = ()
    in_place: tuple[tuple[Var, Var], ...] = ()
    kernels: tuple[Kernel, ...] = ()

    @property
    def reads(self) -> list[Var]:
        """Every variable that a parameter stands for."""
        return [a for a in self.variables.values() if isinstance(a, Var)]

    @property
    def writes(self) -> list[Var]:
        """The variables that a kernel writes; empty arrays are written by no kernel at all."""
        if not self.sources:
            return self.reads
        written = {p.name for s in self.sources for p in s.params if p.written}
        return [a for name, a in self.variables.items() if name in written and isinstance(a, Var)]


@dataclass(frozen=True, eq=False)
class Single:
    """An equation that is a step of its own: a host call, a loop, a branch or a collective."""

    kind: str
    eqn: Eqn

    @property
    def reads(self) -> list[Var]:
        """The variables among the equation's inputs."""
        return [a for a in self.eqn.inputs if isinstance(a, Var)]

    @property
    def writes(self) -> list[Var]:
        """The equation's results."""
        return list(self.eqn.outputs)


Item = Kernels | Single
StepBuilder = Callable[["Planner", Eqn], Step]


def make_plan(jaxpr: Jaxpr, items: Sequence[Item], donated: Iterable[int], steps: Mapping[str, StepBuilder],
              name: str = "program", prefix: int = 0) -> Plan:
    """The plan that runs `items` in order.

    Args:
        jaxpr: the simplified program, without constants.
        donated: positions of inputs whose memory may be written.
        steps: kind of a `Single` -> what makes its step, given the planner and the equation.
        prefix: what equations.py numbers the program's equations with.
    """
    planner = Planner(jaxpr, items, frozenset(donated), prefix)
    for number, item in enumerate(items):
        planner.run(number, item, steps)
    return planner.finish(name)


class Planner:
    """The state of planning: buffers so far, the arena, the launches of the graph that is being gathered."""

    def __init__(self, jaxpr: Jaxpr, items: Sequence[Item], donated: frozenset[int], prefix: int = 0):
        self._jaxpr = jaxpr
        self._equation = {v: numbered(prefix, n) for n, eqn in enumerate(jaxpr.eqns) for v in eqn.outputs}
        self._working_for: int | None = None  # the equation that scratch memory is for
        self._donated = donated
        self._buffers: dict[str, Buffer] = {}
        self._names: dict[Var, str] = {}
        self._constants: dict[tuple, str] = {}
        self._constant_bytes: list[bytes] = []
        self._kernels: dict[KernelSource, int] = {}
        self._equations: dict[int, set[int]] = {}
        self._steps: list[Step] = []
        self._launches: list[Launch] = []
        self._arena = ArenaLayout()
        self._last = last_reads(items, jaxpr)
        self._number = 0
        self._dying: list[str] = []
        self._results: dict[Var, int] = {}
        self._taken: set[int] = set()
        self._number_results(items)
        self._positions = {var: position for position, var in enumerate(jaxpr.inputs)}
        self._outputs = {atom for atom in jaxpr.outputs if isinstance(atom, Var)}
        for position, var in enumerate(jaxpr.inputs):
            self._add(f"x{position}", var.aval, Argument(position), var)

    def _number_results(self, items: Sequence[Item]) -> None:
        """Results that are computed get memory; one that is an argument or a literal is copied by the runner."""
        computed = {v for item in items for v in item.writes}
        for atom in self._jaxpr.outputs:
            if isinstance(atom, Var) and atom in computed:
                self._results.setdefault(atom, len(self._results))

    # ---- buffers

    def _add(self, name: str, aval: Aval, owner: Owner, var: Var | None = None) -> str:
        equation = self._equation.get(var) if var is not None else self._working_for
        self._buffers[name] = Buffer(name, aval.shape, aval.dtype, owner=owner, equation=equation)
        if var is not None:
            self._names[var] = name
        return name

    def read(self, atom: Atom) -> str:
        """The buffer of a value that a step reads; a literal becomes a constant of the plan."""
        return self.constant(atom) if isinstance(atom, Literal) else self._names[atom]

    def constant(self, literal: Literal) -> str:
        """The buffer of a scalar that is filled when the plan is loaded."""
        value = np.asarray(literal.value, literal.aval.dtype)
        key = (value.dtype, value.tobytes())
        if key not in self._constants:
            number = len(self._constant_bytes)
            self._constant_bytes.append(value.tobytes())
            self._constants[key] = self._add(f"c{number}", literal.aval, Constant(number))
        return self._constants[key]

    def write(self, var: Var) -> str:
        """The buffer of a value that a step writes, made at its first writing."""
        if var in self._names:
            return self._names[var]
        if var in self._results:
            number = self._results[var]
            return self._add(f"r{number}", var.aval, self._result_owner(number, var), var)
        name = self._add(f"t{len(self._buffers)}", var.aval, Arena(self._arena.take(var.aval.nbytes)), var)
        if self._last.get(var, -1) <= self._number:
            self._dying.append(name)
        return name

    def scratch(self, aval: Aval, zeroed: bool = False) -> str:
        """A buffer of the arena that only the current item uses; a zeroed one keeps its range to itself."""
        name = self._add(f"t{len(self._buffers)}", aval, Arena(self._arena.take(aval.nbytes, fresh=zeroed)))
        if not zeroed:
            self._dying.append(name)
        return name

    def _result_owner(self, number: int, var: Var) -> Owner:
        for read, written in self._in_place:
            if written is not var or read not in self._positions or read in self._outputs:
                continue
            position = self._positions[read]
            fits = read.aval.shape == var.aval.shape and read.aval.dtype == var.aval.dtype
            if fits and position in self._donated - self._taken and self._last.get(read) == self._number:
                self._taken.add(position)
                return Donated(position)
        return Result(number)

    # ---- steps

    def run(self, number: int, item: Item, steps: Mapping[str, StepBuilder]) -> None:
        """Plan the next item."""
        self._number = number
        self._working_for = next((self._equation[v] for v in item.writes if v in self._equation), None)
        self._in_place = item.in_place if isinstance(item, Kernels) else ()
        if isinstance(item, Kernels):
            self._launch(item)
        else:
            self._flush()
            builder = steps.get(item.kind)
            self._steps.append(builder(self, item.eqn) if builder is not None else self._host_call(item.eqn))
        self._free(item)

    def _launch(self, item: Kernels) -> None:
        places = {name: self.constant(atom) if isinstance(atom, Literal) else self.write(atom)
                  for name, atom in item.variables.items()}
        places |= {name: self.scratch(Aval(shape, dtype), zeroed) for name, shape, dtype, zeroed in item.scratch}
        for source in item.sources:
            self._launches.append(Launch(self._kernel(source), tuple(Pointer(places[p.name]) for p in source.params)))

    def _kernel(self, source: KernelSource) -> int:
        """The number of a kernel; launches of equal kernels share one, which then stands for all their equations."""
        key = replace(source, equations=())
        number = self._kernels.setdefault(key, len(self._kernels))
        self._equations.setdefault(number, set()).update(source.equations)
        return number

    def _host_call(self, eqn: Eqn) -> HostCall:
        ins = tuple(map(self.read, eqn.inputs))
        return HostCall(eqn.primitive, eqn.params, ins, tuple(map(self.write, eqn.outputs)))

    def _flush(self) -> None:
        if self._launches:
            self._steps.append(Graph(tuple(self._launches)))
            self._launches = []

    def _free(self, item: Item) -> None:
        """Give back the ranges of what is not read after this item."""
        ends = [self._names[v] for v in dict.fromkeys((*item.reads, *item.writes))
                if self._last.get(v, -1) == self._number and v in self._names]
        for name in dict.fromkeys((*ends, *self._dying)):
            buffer = self._buffers[name]
            if isinstance(buffer.owner, Arena):
                self._arena.give_back(buffer.owner.offset, buffer.nbytes)
        self._dying = []

    def finish(self, name: str) -> Plan:
        """The checked plan."""
        self._flush()
        results = tuple(map(self.read, self._jaxpr.outputs))
        # Results that took a donated argument's memory leave a gap in the numbering.
        kept = [b for b in self._buffers.values() if isinstance(b.owner, Result)]
        renumbered = {b.name: replace(b, owner=Result(k)) for k, b in enumerate(kept)}
        buffers = tuple(renumbered.get(b.name, b) for b in self._buffers.values())
        kernels = tuple(replace(k, equations=tuple(sorted(self._equations[n]))) for k, n in self._kernels.items())
        return check_plan(Plan(buffers, kernels, tuple(self._steps), self._arena.size,
                               tuple(self._names[v] for v in self._jaxpr.inputs), results,
                               tuple(self._constant_bytes), name=name))


def last_reads(items: Sequence[Item], jaxpr: Jaxpr) -> dict[Var, int]:
    """Variable -> number of the last item that needs it; results are needed for ever."""
    last: dict[Var, int] = {}
    for number, item in enumerate(items):
        last.update((v, number) for v in (*item.reads, *item.writes))
    inputs = set(jaxpr.inputs)
    for atom in jaxpr.outputs:
        if isinstance(atom, Var) and atom not in inputs:
            last[atom] = len(items)
    return last


# ---------------------------------------------------------------------------------------- the arena


class ArenaLayout:
    """Byte ranges of one arena: free ranges are kept sorted by offset and merged; the best fit is taken."""

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # (offset, bytes)

    def take(self, nbytes: int, fresh: bool = False) -> int:
        """The offset of a free range of `nbytes`, rounded up to the alignment; `fresh`: never used before."""
        wanted = _aligned(nbytes)
        fits = [] if fresh else [(size, offset) for offset, size in self._free if size >= wanted]
        if fits:
            size, offset = min(fits)
            self._free.remove((offset, size))
            if size > wanted:
                insort(self._free, (offset + wanted, size - wanted))
            return offset
        if not fresh and self._free and sum(self._free[-1]) == self.size:  # the last range grows
            offset, _ = self._free.pop()
        else:
            offset = self.size
        self.size = offset + wanted
        return offset

    def give_back(self, offset: int, nbytes: int) -> None:
        """The range is free again."""
        insort(self._free, (offset, _aligned(nbytes)))
        merged: list[tuple[int, int]] = []
        for start, size in self._free:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged


def _aligned(nbytes: int) -> int:
    return max(1, -(-nbytes // ALIGNMENT)) * ALIGNMENT
