"""What is in memory when: the peak of a plan, and which lines hold it.

Input: a `Plan`, and the lines of its equations (`equations.Lines`). Output: a `Peak`, which prints as a table:

    >>> print(peak_of(plan, lines))
    peak 3.2 MB, at train.py:43 (loss) jvp/transpose
         bytes  arrays  what
        2.1 MB       2  temporary  train.py:41 (layer) jvp      kept for a derivative
        0.8 MB       1  argument   argument 0['w']
        ...

Positions are the launches and other steps in order. An argument is there all the time, a result from the step that
writes it on, a temporary from the first step to the last one that touches it. At a loop or branch the arrays inside
count too, where their own sum is largest. The arena, which is one piece of memory, may be larger than the temporaries
at the peak, by what lies unused between them; `MemoryUse` says how large it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ftiny.lowering.plan_types import (
    Arena,
    Argument,
    Branch,
    Buffer,
    Collective,
    Constant,
    Copy,
    Donated,
    Graph,
    HostCall,
    Loop,
    Plan,
    Step,
    inner_plans,
    launch_buffers,
)
from ftiny.lowering.profile import format_bytes
from ftiny.source import Source

SHOWN = 12  # rows of a printed table

Lines = Mapping[int, tuple[Source, ...]]


@dataclass(frozen=True)
class Held:
    """Bytes of `arrays` arrays that one line holds at the peak.

    kind: 'argument', 'result', 'temporary' or 'constant'. where: an argument's name, or the lines that made the arrays,
    which are `sources`. residual: made by a forward line and read by a backward one.
    """

    nbytes: int
    kind: str
    where: str
    sources: tuple[Source, ...] = ()
    residual: bool = False
    arrays: int = 1

    def __str__(self) -> str:
        why = "  kept for a derivative" if self.residual else ""
        return f"{format_bytes(self.nbytes):>10}  {self.arrays:6}  {self.kind:9}  {self.where}{why}"


@dataclass(frozen=True)
class Peak:
    """The most bytes that are needed at one time, the line that is run then, and what is held, largest first."""

    nbytes: int
    at: str
    held: tuple[Held, ...]

    @property
    def residual_bytes(self) -> int:
        """Bytes held for the backward pass, which `ftiny.checkpoint` would compute again instead."""
        return sum(held.nbytes for held in self.held if held.residual)

    def __str__(self) -> str:
        lines = [f"peak {format_bytes(self.nbytes)}" + (f", at {self.at}" if self.at else "")]
        lines += [f"{'bytes':>10}  arrays  what", *map(str, self.held[:SHOWN])]
        rest = self.held[SHOWN:]
        if rest:
            lines.append(f"{format_bytes(sum(h.nbytes for h in rest)):>10}  {sum(h.arrays for h in rest):6}  others")
        if self.residual_bytes:
            lines.append(f"ftiny.checkpoint could save up to {format_bytes(self.residual_bytes)} of it")
        return "\n".join(lines)


def is_backward(source: Source) -> bool:
    """Whether a line's equation was made by transposing: whether it is of a backward pass."""
    return "transpose" in source.transforms


def peak_of(plan: Plan, lines: Lines, names: Sequence[str] = ()) -> Peak:
    """The peak of a plan. `names` are what its arguments are called (default: argument 0, 1, ...)."""
    return _peak(plan, lines, names, _is_visible)


def _is_visible(buffer: Buffer) -> bool:
    # A donated argument's memory is counted where it is an argument.
    return not isinstance(buffer.owner, Donated)


def _is_temporary(buffer: Buffer) -> bool:
    return isinstance(buffer.owner, (Arena, Constant))


@dataclass(frozen=True)
class _Position:
    """What one launch or step touches, the equations it is for, and the plans that run inside it."""

    touched: frozenset[str]
    equations: tuple[int, ...]
    inner: tuple[Plan, ...] = ()
    scratch: str | None = None


def _positions(plan: Plan) -> Iterator[_Position]:
    for step in plan.steps:
        if isinstance(step, Graph):
            for launch in step.launches:
                reads, writes = launch_buffers(launch, plan)
                yield _Position(reads | writes, plan.kernels[launch.kernel].equations)
        else:
            yield _of_step(step, plan)


def _of_step(step: Step, plan: Plan) -> _Position:
    scratch: str | None = None
    if isinstance(step, Loop):
        names = (*step.carry_in, *step.carry_out, *step.carry_spare, *step.constants, *step.xs, *step.ys,
                 *step.cond_constants)
        outs, scratch = (*step.carry_out, *step.ys), step.scratch
    elif isinstance(step, Branch):
        names, outs, scratch = (step.index, *step.ins, *step.outs), step.outs, step.scratch
    elif isinstance(step, Copy):
        names, outs = (step.source.buffer, step.destination.buffer), ()
    else:
        assert isinstance(step, (HostCall, Collective))
        names, outs = (*step.ins, *step.outs), step.outs
    made_by = tuple(dict.fromkeys(e for e in (plan.buffer(name).equation for name in outs) if e is not None))
    return _Position(frozenset(names) | ({scratch} if scratch else frozenset()), made_by, inner_plans(step), scratch)


def _peak(plan: Plan, lines: Lines, names: Sequence[str], counts: Callable[[Buffer], bool]) -> Peak:
    positions = list(_positions(plan)) or [_Position(frozenset(), ())]
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, position in enumerate(positions):
        for name in position.touched:
            first.setdefault(name, number)
            last[name] = number
    spans: dict[str, tuple[int, int]] = {}
    for buffer in filter(counts, plan.buffers):
        fixed = isinstance(buffer.owner, (Argument, Constant))
        start = 0 if fixed else first.get(buffer.name, 0)
        stop = last.get(buffer.name, start) if isinstance(buffer.owner, Arena) else len(positions) - 1
        spans[buffer.name] = start, stop
    change = [0] * (len(positions) + 1)
    for name, (start, stop) in spans.items():
        change[start] += plan.buffer(name).nbytes
        change[stop + 1] -= plan.buffer(name).nbytes
    live, largest, where = 0, -1, 0
    for number in range(len(positions)):
        live += change[number]
        if live > largest:
            largest, where = live, number
    here = positions[where]
    held = [_held(plan.buffer(name), names, lines, _reading(positions[first.get(name, 0):last.get(name, -1) + 1],
                                                            name, lines))
            for name, (start, stop) in spans.items() if start <= where <= stop and name != here.scratch]
    if here.scratch in spans:
        inside = max((_peak(inner, lines, (), _is_temporary) for inner in here.inner), key=lambda peak: peak.nbytes)
        gaps = plan.buffer(here.scratch).nbytes - inside.nbytes
        held += [*inside.held, Held(max(0, gaps), "temporary", "unused, inside a loop or branch")]
    return Peak(largest, _where(here.equations, lines), _joined(held))


def _reading(positions: Iterable[_Position], name: str, lines: Lines) -> bool:
    """Whether a backward line touches a buffer."""
    return any(is_backward(source) for position in positions if name in position.touched
               for number in position.equations for source in lines.get(number, ()))


def _held(buffer: Buffer, names: Sequence[str], lines: Lines, read_by_backward: bool) -> Held:
    owner = buffer.owner
    if isinstance(owner, Argument):
        name = names[owner.index] if owner.index < len(names) else f"argument {owner.index}"
        return Held(buffer.nbytes, "argument", name)
    if isinstance(owner, Constant):
        return Held(buffer.nbytes, "constant", "numbers in the program")
    kind = "temporary" if isinstance(owner, Arena) else "result"
    sources = lines.get(buffer.equation, ()) if buffer.equation is not None else ()
    forward = bool(sources) and not any(map(is_backward, sources))
    residual = kind == "temporary" and forward and read_by_backward
    return Held(buffer.nbytes, kind, "; ".join(map(str, sources)), sources, residual)


def _where(equations: Iterable[int], lines: Lines) -> str:
    found = dict.fromkeys(str(source) for number in equations for source in lines.get(number, ()))
    return "; ".join(found)


def _joined(held: Iterable[Held]) -> tuple[Held, ...]:
    """One entry for each line and kind, largest first; empty arrays are left out."""
    rows: dict[tuple, Held] = {}
    for one in held:
        key = (one.kind, one.where, one.residual)
        known = rows.get(key)
        rows[key] = one if known is None else replace(
            one, nbytes=one.nbytes + known.nbytes, arrays=one.arrays + known.arrays)
    return tuple(sorted((row for row in rows.values() if row.nbytes), key=lambda row: -row.nbytes))
