"""Schedules: from a `LoopNest` to kernels bound to a machine.

Input: a checked nest and the device's capabilities. Output: `Scheduled`, the kernels in order of launch
and the scratch arrays they share. Contractions go to schedule_contract.py; everything else is cut into
phases (a phase is what one launch can do: no grid point reads what another one writes in it), and each
phase is given to the first schedule that wants it, the one in schedule_generic.py last: it is right for
every nest.

Worked example: `schedule(softmax_nest, capabilities)` on a CPU gives one kernel, a work-item per few
rows, each row folded in vectors of 16; layernorm backward gives two, the second adding up partial dgain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ftiny.lowering.expr import Axis, Expr, axes_of, load_index, loads
from ftiny.lowering.kernel import WIDE_BYTES, Kernel, Param
from ftiny.lowering.loops import (
    MULTIPLY_ADD,
    Fold,
    LoopNest,
    Map,
    Stage,
    Value,
    Write,
    check_nest,
    folds_grid,
    stage_roots,
    writes_of,
)


@dataclass(frozen=True)
class Scheduled:
    """kernels: in order of launch; their params are named after the nest's arguments and `scratch`.

    scratch: arrays the planner allocates for the kernels of this nest, uninitialised unless their name
    ends in '.counter' (those are zero at the first launch, and
    afterwards as these kernels leave them).
    """

    kernels: tuple[Kernel, ...]
    scratch: tuple[Value, ...] = ()

    def __str__(self) -> str:
        return "\n".join([*(str(k) for k in self.kernels), *(f"scratch {v}" for v in self.scratch)])


def parameter(value: Value, written: bool) -> Param:
    """The parameter that stands for an argument or a scratch array."""
    return Param(value.name, value.memory, "pointer", written, aligned(value))


def aligned(value: Value) -> bool:
    """Whether wide accesses to an array can be aligned: it may be a slice of another one, at a multiple of its own
    size (`plan_types.py`)."""
    return math.prod(value.shape) * value.memory.itemsize % WIDE_BYTES == 0


def traffic(values: Iterable[Value], accesses: Iterable[tuple[str, Iterable[Axis]]]) -> int:
    """The bytes that a kernel reads and writes. An access is an array's name and the axes that the index walks; an
    array counts at most as large as it is, and a gather from a large one counts what is gathered."""
    elements: dict[str, int] = {}
    for name, axes in accesses:
        elements[name] = elements.get(name, 0) + math.prod(a.extent for a in axes)
    return sum(min(math.prod(v.shape), elements.get(v.name, 0)) * v.memory.itemsize for v in values)


def accesses_of(roots: Iterable[Expr], writes: Iterable[Write]) -> list[tuple[str, set[Axis]]]:
    """What `traffic` counts of loads under the roots and of writes."""
    return [(n.attr[0], axes_of(load_index(n))) for n in loads(roots)] + [(w.value, axes_of(w.index)) for w in writes]


@dataclass(frozen=True)
class Phase:
    """Stages that one launch can run: `fold`, if there is one across grid points, is the last of them."""

    stages: tuple[Stage, ...]
    fold: Fold | None = None


def schedule(nest: LoopNest, capabilities: Any) -> Scheduled:
    """Choose and build the kernels of a nest.

    Args:
        nest: as made by fusion.
        capabilities: the device's (dialect, vector_width, warp, max_threads, shared_bytes, compute_units,
            fp64, fp16, host_memory, arch).
    Returns:
        kernels and scratch, in terms of the nest's argument names.
    Raises:
        LoopNestError: the nest breaks an invariant.
    """
    from ftiny.lowering.schedule_contract import schedule_contract
    from ftiny.lowering.schedule_generic import schedule_phases
    from ftiny.lowering.schedule_scatter import schedule_scatter
    from ftiny.lowering.schedule_sort import schedule_sort

    check_nest(nest)
    if nest.scatter is not None:
        return schedule_scatter(nest, capabilities)
    if any(isinstance(s, Fold) and s.atom in MULTIPLY_ADD for s in nest.stages):
        contracted = schedule_contract(nest, capabilities)
        if contracted is not None:
            return contracted
    return schedule_sort(nest, capabilities) or schedule_phases(nest, phases(nest), capabilities)


def phases(nest: LoopNest) -> tuple[Phase, ...]:
    """Cut the stages where a grid point reads what another one wrote, and after folds across the grid.

    A stage that writes only values of its own grid point is repeated in later phases that read them.
    """
    groups: list[list[Stage]] = [[]]
    pending: dict[str, list[tuple[Expr, ...]]] = {}
    for stage in nest.stages:
        if pending and _reads_pending(nest, stage, pending):
            groups.append([])
            pending = {}
        groups[-1].append(stage)
        for write in writes_of(stage):
            if nest.value(write.value).scope in ("argument", "global"):
                pending.setdefault(write.value, []).append(write.index)
        if isinstance(stage, Fold) and folds_grid(nest, stage):
            groups.append([])
    return tuple(_phase(nest, groups, number) for number, group in enumerate(groups) if group)


def _phase(nest: LoopNest, groups: list[list[Stage]], number: int) -> Phase:
    own = groups[number]
    earlier = [s for group in groups[:number] for s in group]
    stages = [*_producers(nest, earlier, own), *own]
    last = own[-1]
    return Phase(tuple(stages), last if isinstance(last, Fold) and folds_grid(nest, last) else None)


def _producers(nest: LoopNest, earlier: list[Stage], own: list[Stage]) -> list[Stage]:
    """The earlier stages, stripped to their private writes, that the phase's stages need again."""
    wanted = {n for stage in own for n in _read_names(stage)}
    needed: list[Stage] = []
    for stage in reversed(earlier):
        private = private_part(nest, stage)
        if private is None or not (_private_names(nest, private) & wanted):
            continue
        wanted |= _read_names(private)
        needed.insert(0, private)
    return needed


def private_part(nest: LoopNest, stage: Stage) -> Stage | None:
    """The stage with only its writes to register and shared values; None if nothing is left."""
    def keep(writes: tuple) -> tuple:
        return tuple(w for w in writes if nest.value(w.value).scope in ("register", "shared"))

    if isinstance(stage, Map):
        writes = keep(stage.writes)
        return Map(stage.axes, writes) if writes else None
    if folds_grid(nest, stage):
        return None
    return Fold(stage.axes, stage.over, stage.state, stage.init, stage.step, stage.combine, keep(stage.finish),
                None, keep(stage.emit), stage.reverse, stage.atom)


def _private_names(nest: LoopNest, stage: Stage) -> set[str]:
    names = {w.value for w in writes_of(stage) if nest.value(w.value).scope in ("register", "shared")}
    return names | ({v.name for v in stage.state} if isinstance(stage, Fold) else set())


def _read_names(stage: Stage) -> set[str]:
    return {node.attr[0] for node in loads(stage_roots(stage))}


def _reads_pending(nest: LoopNest, stage: Stage, pending: dict[str, list[tuple[Expr, ...]]]) -> bool:
    """Whether the stage reads an element that another grid point of the same phase may have written."""
    grid = tuple(a for a in nest.grid if a.extent != 1)
    for node in loads(stage_roots(stage)):
        for written in pending.get(node.attr[0], ()):
            if not all(_same_position(a, node.args, written) for a in grid):
                return True
    return False


def _same_position(axis: Axis, read: tuple[Expr, ...], written: tuple[Expr, ...]) -> bool:
    return any(w.op == "axis" and w.attr == axis and r is w for r, w in zip(read, written, strict=False))
