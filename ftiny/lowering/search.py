"""Search: the schedules of a nest are measured, and the fastest is kept for all later compilations.

Input: a loop nest and a device. Output: the ranks of its decisions (`choices.py`), which `choices.Table` keeps on disk,
and a `Found` that says what was gained. The decisions are taken one after the other: the options of the first are
measured, the best is kept, then those of the next (coordinate descent); the cost model says which options are worth
trying. Every candidate must give the bits of the model's own choice or agree with it to rounding, or it is dropped.

    search = Search(device, candidates=8)
    search.best(nest)        # {'block': 2}
    print(search.found[-1])  # contract_512x512x512  0.412 ms -> 0.371 ms  1.11x  8 tried  block 2

`FTINY_SEARCH=8` does so for every nest that is compiled; `ftiny.tune` for one function, with a table.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from ftiny.errors import DeviceError
from ftiny.lowering import profile
from ftiny.lowering.choices import Ranks, choosing, table_of
from ftiny.lowering.device import Device
from ftiny.lowering.expr import loads
from ftiny.lowering.loops import LoopNest, Value, stage_roots, writes_of
from ftiny.lowering.plan_types import (
    ALIGNMENT,
    Arena,
    Argument,
    Buffer,
    Donated,
    Graph,
    KernelSource,
    Launch,
    Plan,
    Pointer,
    Result,
)
from ftiny.lowering.schedule import Scheduled

REPEATS = 5  # runs of a candidate, of which the fastest counts
SECONDS = 0.2  # of one candidate's runs, at most
WORTH_IT = 0.98  # of the time of the choice so far: less is noise

Maker = Callable[[LoopNest], tuple[tuple[KernelSource, ...], Scheduled]]


@dataclass(frozen=True)
class Found:
    """What the search of one nest found: seconds of the model's choice and of the best, and the best's ranks."""

    name: str
    before: float
    after: float
    tried: int
    ranks: Ranks
    bytes: int = 0
    flops: int = 0

    @property
    def gain(self) -> float:
        """How many times faster the best candidate is than the model's choice."""
        return self.before / self.after

    def __str__(self) -> str:
        chosen = ", ".join(f"{name} {rank}" for name, rank in self.ranks.items()) or "the model's choice"
        times = f"{profile.format_seconds(self.before):>9} -> {profile.format_seconds(self.after):>9}"
        return f"{self.name:<36} {times}  {self.gain:5.2f}x  {self.tried:3} tried  {chosen}"


@dataclass
class _Candidate:
    ranks: dict[str, int]
    sources: tuple[KernelSource, ...]
    scheduled: Scheduled
    seconds: float = math.inf


class Search:
    """Measures the candidates of nests on a device, until `seconds` are over."""

    def __init__(self, device: Device, candidates: int, make: Maker, seconds: float = math.inf):
        self.device, self.candidates, self.make = device, candidates, make
        self.end = time.monotonic() + seconds
        self.table = table_of(device.capabilities)
        self.found: list[Found] = []

    def best(self, nest: LoopNest) -> Ranks:
        """The ranks of a nest: known, or found out now."""
        ranks, tried = self.table.find(nest)
        if tried >= self.candidates or time.monotonic() > self.end:
            return ranks
        seen: dict[str, int] = {}
        with choosing({}, seen):
            first = _Candidate({}, *self.make(nest))
        if not seen or all(count == 1 for count in seen.values()):
            return ranks
        try:
            with profile.debug(0):
                found = self._search(nest, first, seen)
        except DeviceError as error:  # no room for the nest's arrays beside what is there
            profile.log(1, f"search: {nest.name} is not measured: {error}")
            return ranks
        self.found.append(found)
        profile.log(1, f"search: {found}")
        self.table.keep(nest, found.ranks, found.tried)
        return found.ranks

    def _search(self, nest: LoopNest, first: _Candidate, seen: dict[str, int]) -> Found:
        bench = _Bench(self.device, nest)
        wanted = bench.run(first)
        best, tried, texts = first, 1, {_text(first)}
        decisions = [name for name, count in seen.items() if count > 1]
        for number, decision in enumerate(decisions):
            share = -(-(self.candidates - tried) // (len(decisions) - number))
            options = self._options(nest, best.ranks, decision, min(seen[decision], share + 1), texts)
            for one in options:
                self._compile_ahead(one)
            for one in options:
                if time.monotonic() > self.end:
                    break
                tried += 1
                try:
                    agrees = _agree(bench.run(one), wanted)
                except DeviceError as error:  # more registers or shared memory than there are, for example
                    profile.log(1, f"search: a candidate of {nest.name} does not run: {error}")
                    continue
                if agrees and one.seconds < WORTH_IT * best.seconds:
                    best = one
        if best is not first:
            # Once more in turn, since a machine may have been busy with something else the first time.
            first.seconds = best.seconds = math.inf
            for one in (first, best, first, best):
                bench.run(one)
            best = best if best.seconds < WORTH_IT * first.seconds else first
        bytes_, flops = (sum(getattr(s, what) for s in best.sources) for what in ("bytes", "flops"))
        return Found(nest.name, first.seconds, best.seconds, tried, best.ranks, bytes_, flops)

    def _options(self, nest: LoopNest, ranks: Ranks, decision: str, count: int, texts: set) -> list[_Candidate]:
        """Candidates with other ranks of one decision, those with a text that was tried before left out."""
        found = []
        for rank in range(1, count):
            trial = {**ranks, decision: rank}
            with choosing(trial):
                one = _Candidate(trial, *self.make(nest))
            if _text(one) not in texts:
                texts.add(_text(one))
                found.append(one)
        return found

    def _compile_ahead(self, candidate: _Candidate) -> None:
        for source in candidate.sources:
            self.device.compile_ahead(source)


def _text(candidate: _Candidate) -> tuple:
    return tuple((source.text, source.grid, source.block) for source in candidate.sources)


def _agree(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> bool:
    """Whether results differ by no more than rounding in another order does."""
    for x, y in zip(found, wanted, strict=True):
        if x.dtype.kind not in "fcV":
            if not np.array_equal(x, y):
                return False
            continue
        x, y = (a.astype(complex if a.dtype.kind == "c" else float) for a in (x, y))
        scale = np.abs(y[np.isfinite(y)]).max(initial=0.0)
        roundoff = 2.0**-7 if found[0].dtype.itemsize < 4 else 2.0**-12
        if not np.allclose(x, y, rtol=roundoff, atol=roundoff * scale, equal_nan=True):
            return False
    return True


class _Bench:
    """The arrays of a nest on a device: floats are random, integers zeros, so that no index leaves its array."""

    def __init__(self, device: Device, nest: LoopNest):
        self.device, self.nest = device, nest
        self.written = list(dict.fromkeys(
            w.value for s in nest.stages for w in writes_of(s) if nest.value(w.value).scope == "argument"))
        self.read = {n.attr[0] for s in nest.stages for n in loads(stage_roots(s))}
        self.read |= {w.value for s in nest.stages for w in writes_of(s) if w.update is not None}
        rng = np.random.default_rng(0)
        self.memories = [device.from_host(_data(value, rng)) for value in nest.arguments if self._is_input(value)]

    def _is_input(self, value: Value) -> bool:
        return value.name not in self.written or value.name in self.read

    def run(self, candidate: _Candidate) -> list[np.ndarray]:
        """The results of a candidate; its `seconds` are set to those of the fastest run."""
        executable = self.device.load(self._plan(candidate))
        end = time.monotonic() + SECONDS
        results: list[Any] = []
        for repeat in range(REPEATS + 1):
            recorder = profile.Recorder()
            with profile.recording(recorder):
                results = executable.run(self.memories)
            if repeat:  # the first run warms up
                candidate.seconds = min(candidate.seconds, sum(event.seconds for event in recorder.events))
            if time.monotonic() > end and repeat:
                break
        values = [self.nest.value(name) for name in self.written]
        return [np.array(self.device.to_host(memory, SimpleNamespace(shape=v.shape, dtype=v.memory,
                                                                     size=math.prod(v.shape))))
                for memory, v in zip(results, values)]

    def _plan(self, candidate: _Candidate) -> Plan:
        buffers: list[Buffer] = []
        names: list[str] = []
        for value in self.nest.arguments:
            owner: Any = Argument(len(names))
            if self._is_input(value):
                name = f"{value.name}.before" if value.name in self.written else value.name
                buffers.append(Buffer(name, value.shape, value.memory, owner=owner))
                names.append(name)
                owner = Donated(owner.index)
            if value.name in self.written:
                result = Result(len([b for b in buffers if isinstance(b.owner, Result)]))
                buffers.append(Buffer(value.name, value.shape, value.memory,
                                      owner=owner if isinstance(owner, Donated) else result))
        arena = 0
        for value in candidate.scheduled.scratch:
            buffers.append(Buffer(value.name, value.shape, value.memory, owner=Arena(arena)))
            arena += -(-max(1, buffers[-1].nbytes) // ALIGNMENT) * ALIGNMENT
        launches = tuple(Launch(number, tuple(Pointer(p.name) for p in source.params))
                         for number, source in enumerate(candidate.sources))
        return Plan(tuple(buffers), candidate.sources, (Graph(launches),), arena, tuple(names), tuple(self.written),
                    name=self.nest.name)


def _data(value: Value, rng: np.random.Generator) -> np.ndarray:
    if value.memory.kind in "fcV":
        return rng.standard_normal(value.shape, np.float32).astype(value.memory)
    return np.zeros(value.shape, value.memory)
