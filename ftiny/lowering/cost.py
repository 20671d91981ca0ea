"""What a plan costs: arithmetic, bytes and launches of one run, and the memory it holds.

Input: a `Plan`. Output: a `Cost`, counted from the kernels' own figures, nothing measured:

    cost_of(plan)     # Cost(flops=2048.0, bytes=1280.0, launches=2)

A scan counts its body as often as it runs, a branch counts as its costliest case, a while loop as one step, and what
runs on the host or between devices as nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftiny.lowering.liveness import Lines, Peak, peak_of
from ftiny.lowering.plan_types import Argument, Branch, Donated, Graph, Loop, Plan, Step
from ftiny.lowering.profile import format_bytes


@dataclass(frozen=True)
class Cost:
    """Operations, bytes read and written, and kernel launches of one run."""

    flops: float = 0.0
    bytes: float = 0.0
    launches: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes, self.launches + other.launches)

    def times(self, count: int) -> Cost:
        """The cost of doing it `count` times."""
        return Cost(self.flops * count, self.bytes * count, self.launches * count)


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of one instance of a plan, and what is held at its peak.

    Donated arguments whose memory becomes a result are counted under arguments and results alike, and once more as
    `aliases`.
    """

    arguments: int
    results: int
    temporaries: int
    aliases: int
    peak: Peak

    def __str__(self) -> str:
        names = ("arguments", "results", "temporaries", "aliases")
        return ", ".join(f"{name} {format_bytes(getattr(self, name))}" for name in names) + f"\n{self.peak}"


def cost_of(plan: Plan) -> Cost:
    """The cost of one run of a plan."""
    return sum((_cost_of_step(step, plan) for step in plan.steps), Cost())


def _cost_of_step(step: Step, plan: Plan) -> Cost:
    if isinstance(step, Graph):
        kernels = [plan.kernels[launch.kernel] for launch in step.launches]
        return Cost(sum(k.flops for k in kernels), sum(k.bytes for k in kernels), len(kernels))
    if isinstance(step, Loop) and step.kind == "scan":
        return cost_of(step.body).times(step.trips)
    if isinstance(step, Loop):
        assert step.cond is not None
        return cost_of(step.body) + cost_of(step.cond)
    if isinstance(step, Branch):
        return max((cost_of(case) for case in step.branches), key=lambda cost: cost.bytes)
    return Cost()


def memory_of(plan: Plan, lines: Lines, names: Sequence[str] = ()) -> MemoryUse:
    """The memory of one instance of a plan. Its equations stand for `lines`, its arguments are called `names`."""
    arguments = sum(plan.buffer(name).nbytes for name in plan.arguments)
    owners = {name: plan.buffer(name) for name in plan.results}
    results = sum(buffer.nbytes for buffer in owners.values() if not isinstance(buffer.owner, Argument))
    aliases = sum(buffer.nbytes for buffer in owners.values() if isinstance(buffer.owner, Donated))
    return MemoryUse(arguments, results, plan.arena_bytes, aliases, peak_of(plan, lines, names))


def aliases_of(plan: Plan) -> dict[int, int]:
    """Which donated argument's memory becomes which result: positions of arguments to positions of results."""
    found: dict[int, int] = {}
    for position, name in enumerate(plan.results):
        owner = plan.buffer(name).owner
        if isinstance(owner, Donated):
            found.setdefault(owner.index, position)
    return found
