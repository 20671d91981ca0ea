"""The middle of the compiler: a simplified program becomes a `Plan`, and bodies of loops become plans inside it.

Input: a `Jaxpr` as simplify.py leaves it, and a device's `Capabilities`. Output: a `Plan`. A `Compiler` lives for one
compilation and remembers the loop nests it has seen: equal layers are scheduled and printed once.

Worked example: a program of 24 equal layers has 24 times as many launches as one layer, and as many kernels as one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ftiny.core import Eqn, Jaxpr, subprograms
from ftiny.lowering.build import Built, build, program_of
from ftiny.lowering.choices import choosing, table_of
from ftiny.lowering.device import Capabilities
from ftiny.lowering.emit_c import emit
from ftiny.lowering.equations import inside, numbered
from ftiny.lowering.fuse import fuse
from ftiny.lowering.fuse_columns import join_columns
from ftiny.lowering.groups import Fused, check_groups
from ftiny.lowering.loop_kernels import loop_kernel, named
from ftiny.lowering.loop_programs import LOOPS, loop_program
from ftiny.lowering.loops import LoopNest
from ftiny.lowering.plan import Item, Kernels, Single, make_plan
from ftiny.lowering.plan_types import Graph, HostCall, KernelSource, Plan, nested_plans
from ftiny.lowering.profile import debug_level, log, record
from ftiny.lowering.recurrence import recurrence
from ftiny.lowering.schedule import Scheduled, schedule
from ftiny.lowering.schedule_rows_and_columns import row_elements
from ftiny.lowering.search import Search
from ftiny.lowering.side_by_side import is_small, side_by_side
from ftiny.lowering.simplify import simplify
from ftiny.lowering.steps import step_builders


def fits(sources: Iterable[KernelSource], capabilities: Capabilities) -> bool:
    """Whether no vector is wider than the device's compiler takes."""
    return capabilities.vector_width == 1 or all(s.vector_bytes <= capabilities.vector_bytes for s in sources)


class Compiler:
    """One compilation: the device's capabilities, the kernels made so far, and the time spent in each stage."""

    def __init__(self, capabilities: Capabilities, emitted: Callable[[KernelSource], None] | None = None) -> None:
        """`emitted` is told of each new kernel, so that the device's compiler can work beside this one."""
        self.capabilities, self._emitted = capabilities, emitted
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.search: Search | None = None
        self._made: dict[LoopNest, tuple[tuple[KernelSource, ...], Scheduled]] = {}
        self._named: dict[str, LoopNest] = {}
        self._told: set[str] = set()

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage, less what stages within it take (planning a loop compiles its body)."""
        started, before = time.perf_counter(), sum(self.seconds.values())
        yield
        within = sum(self.seconds.values()) - before
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started - within

    def plan(self, jaxpr: Jaxpr, donated: Iterable[int] = (), prefix: int = 0) -> Plan:
        """The plan of a simplified program; `prefix` is what equations.py numbers its equations with."""
        with self.clock("fuse"):
            fused = join_columns(fuse(jaxpr), row_elements(self.capabilities))
            check_groups(fused)
        if debug_level() >= 3:
            log(3, str(fused))
        items = self._items(fused, prefix)
        with self.clock("emit"):
            items = side_by_side(items, self.capabilities.dialect, self.capabilities.parameter_bytes)
        for item in items:
            if isinstance(item, Kernels) and item.kernels:
                self._tell(item.sources)
        bodies = {id(body): inside(numbered(prefix, number), k)
                  for number, eqn in enumerate(jaxpr.eqns) for k, body in enumerate(subprograms(eqn))}
        steps = step_builders(lambda body: self.plan(simplify(body).jaxpr, prefix=bodies[id(body)]))
        with self.clock("plan"):
            return make_plan(jaxpr, items, donated, steps, prefix=prefix)

    def _items(self, fused: Fused, prefix: int) -> list[Item]:
        program = program_of(fused)
        items: list[Item] = []
        for group in fused.groups:
            if not group.is_kernel:
                number = group.folds[0].number
                items += self._step(group.kind, fused.jaxpr.eqns[number], number, prefix)
                continue
            if all(placed.var.aval.size == 0 for placed in group.written):
                items.append(Kernels((), {f"a{k}": placed.var for k, placed in enumerate(group.written)}))
                continue
            with self.clock("build"):
                built = build(fused, group, program)
            items += [self._kernels(one, prefix) for one in built]
        return items

    def _step(self, kind: str, eqn: Eqn, number: int, prefix: int) -> list[Item]:
        """A loop or branch that can run in kernels of its own as these kernels; what cannot as a step."""
        if kind == "kernel":
            return [self._user_kernel(eqn, numbered(prefix, number))]
        if kind in LOOPS:
            return self._loop(kind, eqn, number, prefix) or [Single(kind, eqn)]
        return [Single(kind, eqn)]

    def _loop(self, kind: str, eqn: Eqn, number: int, prefix: int) -> list[Item]:
        """A loop or branch as kernels of its own; nothing if it should be a step."""
        with self.clock("build"):
            built = recurrence(eqn, number) if kind == "scan" else None
            loop = loop_program(eqn, self.capabilities.host_memory) if built is None else None
        if built is not None:
            return [self._kernels(one, prefix) for one in built]
        capabilities = self.capabilities
        while loop is not None:
            with self.clock("schedule"):
                made = loop_kernel(loop, numbered(prefix, number), capabilities)
            if made is None:
                break
            with self.clock("emit"):
                source = named(emit(made.kernel, capabilities.dialect))
            if fits((source,), capabilities):
                self._tell((source,))
                scratch = tuple((v.name, v.shape, v.dtype, False) for v in made.scratch)
                return [Kernels((source,), made.variables, scratch)]
            capabilities = replace(capabilities, vector_width=capabilities.vector_width // 2)
        return []

    def _user_kernel(self, eqn: Eqn, number: int) -> Item:
        """One launch of a kernel that the user wrote; a host call of its reference where it has no such text."""
        source = eqn.params["source"].compiled(self.capabilities.dialect, [a.aval for a in eqn.inputs], number)
        if source is None:
            return Single("host", eqn)
        return Kernels((source,), dict(zip((p.name for p in source.params), (*eqn.inputs, *eqn.outputs))))

    def _kernels(self, built: Built, prefix: int) -> Kernels:
        """The kernels of a nest, made once for equal nests."""
        key = replace(built.nest, equations=())
        if key not in self._made:
            log(4, str(built.nest))
            self._made[key] = self.kernels(replace(key, name=self._unique_name(key)))
        sources, scheduled = self._made[key]
        equations = tuple(numbered(prefix, position) for position in built.nest.equations)
        named = tuple(replace(s, equations=equations) for s in sources)
        variables = dict(zip((a.name for a in built.nest.arguments), built.variables))
        scratch = tuple((v.name, v.shape, v.storage or v.dtype, v.name.endswith(".counter")) for v in scheduled.scratch)
        kernels = tuple(replace(k, equations=equations) for k in scheduled.kernels)
        item = Kernels(named, variables, scratch, built.in_place, kernels)
        if not is_small(item):  # small ones are merged with others before they are told
            self._tell(sources)
        return item

    def _tell(self, sources: Iterable[KernelSource]) -> None:
        """New texts, each once, for the log and for the device's compiler."""
        for source in sources:
            if source.text in self._told:
                continue
            self._told.add(source.text)
            log(5, source.text)
            if self._emitted is not None:
                self._emitted(source)

    def kernels(self, nest: LoopNest) -> tuple[tuple[KernelSource, ...], Scheduled]:
        """The sources of a nest's kernels, and how they were scheduled, with the choices that measuring found best."""
        ranks = table_of(self.capabilities).find(nest)[0] if self.search is None else self.search.best(nest)
        with choosing(ranks):
            return self.made_kernels(nest)

    def made_kernels(self, nest: LoopNest) -> tuple[tuple[KernelSource, ...], Scheduled]:
        """`kernels` with the choices of the cost models, or those of the `choosing` around it."""
        capabilities = self.capabilities
        while True:
            with self.clock("schedule"):
                scheduled = schedule(nest, capabilities)
            with self.clock("emit"):
                sources = tuple(emit(kernel, capabilities.dialect) for kernel in scheduled.kernels)
            if fits(sources, capabilities):
                return sources, scheduled
            # Lanes are counted for the arrays of a nest; 64-bit indices and values in between may be wider.
            capabilities = replace(capabilities, vector_width=capabilities.vector_width // 2)

    def _unique_name(self, nest: LoopNest) -> str:
        """The nest's name, with a piece of its hash if another nest of this program has it: never a counter, so that
        the kernels of different programs can be shared."""
        if self._named.setdefault(nest.name, nest) is nest:
            return nest.name
        return f"{nest.name}_{hashlib.sha256(str(nest).encode()).hexdigest()[:8]}"

    def report(self, plan: Plan) -> None:
        """Tell that the compilation is over: one line at debug level 1, and one for each host call, which is slow."""
        record("compile", plan.name, self.started, time.perf_counter() - self.started)
        if debug_level() < 1:
            return
        plans = list(nested_plans(plan))
        kernels = {k for p in plans for k in p.kernels}
        launches = sum(len(s.launches) for p in plans for s in p.steps if isinstance(s, Graph))
        times = ", ".join(f"{stage} {1e3 * t:.0f}" for stage, t in self.seconds.items())
        log(1, f"compiled {len(kernels)} kernels, {launches} launches, arena {plan.arena_bytes} bytes; ms: {times}")
        for step in (s for p in plans for s in p.steps if isinstance(s, HostCall)):
            log(1, f"  on the host: {step.primitive.name} ({', '.join(step.ins)}) -> ({', '.join(step.outs)})")
