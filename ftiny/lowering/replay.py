"""Running a plan's steps: what CUDA and OpenCL executables have in common.

Input: a `Plan` and a `Driver` (what a device can do with locations: launch, copy, read, write). Output: an
`Executable`. A *location* is what the device calls an address: an integer on CUDA and on CPUs, a buffer and an
offset on other OpenCL devices; only the driver looks into one.

A `Replay` is one instance of one plan. Its launches keep their arguments bound between runs, so a run hands over
only the locations that changed, starts the launches and returns: for `y = double(x)` called twice with the same
memories the second run binds nothing. A program that is called in a loop, `x = double(x)`, meets the same few sets of
locations again and again; it gets a `Replay` for each of them. Loops and branches hold a `Replay` of each inner plan,
whose arguments, results and arena are ranges of the outer plan's buffers:

    scan of 3 trips:   locations of the body   carry in   carry out   x        y
        trip 0                                 c0         out         xs+0     ys+0
        trip 1                                 out        spare       xs+4     ys+4
        trip 2                                 spare      out         xs+8     ys+8
"""

from __future__ import annotations

import math
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy

from ftiny.errors import DeviceError, OutOfMemoryError
from ftiny.lowering import profile
from ftiny.lowering.device import PART_ALIGNMENT, Device, Executable, Memory
from ftiny.lowering.liveness import peak_of
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
    Launch,
    Loop,
    Plan,
    Pointer,
    Result,
    Step,
    TensorMap,
    launch_buffers,
)
from ftiny.lowering.unroll import unroll

Location = Any

# Results of at most so many bytes, and of more than one element, share an allocation of at most so many: a loop's state
# lives and dies together, while a loss, one number, may be kept for long.
SMALL, SMALL_TOGETHER = 1 << 10, 64 << 10
# Replays of a program with no more launches than this, made one by one whenever so many runs had to bind anew.
MOST_REPLAYS, MOST_REPLAYED, PATIENCE = 4, 256, 8


class Launches(ABC):
    """The launches of one `Graph` step, with their arguments bound."""

    @abstractmethod
    def patch(self, buffer: int, location: Location) -> None:
        """The buffer of that number is at this location from now on."""

    @abstractmethod
    def start(self) -> None:
        """Starts all launches, without waiting."""

    @abstractmethod
    def start_timed(self) -> list[float]:
        """Runs the launches one by one and returns the seconds each took on the device."""


class Driver(ABC):
    """What a `Replay` asks of a device."""

    device: Device
    most_launches: int  # of one loop, to be laid out (`unroll.py`): what preparing them costs is paid at load

    @abstractmethod
    def launches(self, plan: Plan, graph: Graph, numbers: Mapping[str, int]) -> Launches:
        """The launches of a step; `numbers` maps buffer names to the numbers that `patch` uses."""

    @abstractmethod
    def shift(self, location: Location, nbytes: int) -> Location:
        """The location that many bytes further on."""

    @abstractmethod
    def copy(self, destination: Location, source: Location, nbytes: int) -> None:
        """Copies after the work started so far, without waiting."""

    @abstractmethod
    def read(self, location: Location, buffer: Buffer) -> numpy.ndarray:
        """The buffer's value, after waiting for the work started so far."""

    @abstractmethod
    def write(self, location: Location, array: numpy.ndarray) -> None:
        """Writes a C-ordered array after the work started so far."""


class Replay:
    """One instance of a plan: bound launches and the locations that they are bound to."""

    def __init__(self, driver: Driver, plan: Plan, sources: Mapping[int, Any]):
        self.driver, self.plan, self.sources = driver, plan, sources
        self.numbers = {buffer.name: number for number, buffer in enumerate(plan.buffers)}
        self.bound: list[Location] = [None] * len(plan.buffers)
        self.users: list[list[Launches]] = [[] for _ in plan.buffers]
        self.steps = [self._prepare(step) for step in plan.steps]

    def run(self, locations: Sequence[Location]) -> None:
        """Runs every step with buffer i at `locations[i]`."""
        self.bind(locations)
        self.start()

    def bind(self, locations: Sequence[Location]) -> None:
        """Buffer i is at `locations[i]` from now on."""
        for number, location in enumerate(locations):
            if location != self.bound[number]:
                self.bound[number] = location
                for launches in self.users[number]:
                    launches.patch(number, location)

    def start(self) -> None:
        """Runs every step."""
        for step in self.steps:
            step()

    def _prepare(self, step: Step) -> Callable[[], None]:
        if isinstance(step, Graph):
            return self._prepare_graph(step)
        if isinstance(step, HostCall):
            return lambda: self._host_call(step)
        if isinstance(step, Loop):
            return self._prepare_scan(step) if step.kind == "scan" else self._prepare_while(step)
        if isinstance(step, Branch):
            return self._prepare_branch(step)
        if isinstance(step, Copy):
            return lambda: self._copy(step)
        assert isinstance(step, Collective)
        raise DeviceError(
            f"{step.kind} over mesh axes {step.axes} needs a mesh, but this program was loaded on"
            f" {self.driver.device.name} alone"
        )

    def _prepare_graph(self, step: Graph) -> Callable[[], None]:
        # A kernel over nothing has no block to start.
        step = Graph(tuple(launch for launch in step.launches if self._blocks(launch)))
        launches = self.driver.launches(self.plan, step, self.numbers)
        used = {
            arg.buffer
            for launch in step.launches
            for arg in launch.args
            if isinstance(arg, (Pointer, TensorMap))
        }
        for name in used:
            self.users[self.numbers[name]].append(launches)

        def start() -> None:
            if profile.is_watched():
                begin = time.perf_counter()
                for launch, seconds in zip(step.launches, launches.start_timed(), strict=True):
                    kernel = self.plan.kernels[launch.kernel]
                    profile.log_kernel(self.driver.device, kernel, seconds, self.sources, begin)
                    begin += seconds
            else:
                launches.start()

        return start

    def _blocks(self, launch: Launch) -> int:
        return math.prod(launch.grid or self.plan.kernels[launch.kernel].grid)

    def _at(self, names: Sequence[str]) -> list[Location]:
        return [self.bound[self.numbers[name]] for name in names]

    def _host_call(self, step: HostCall) -> None:
        arrays = [
            self.driver.read(location, self.plan.buffer(name))
            for name, location in zip(step.ins, self._at(step.ins), strict=True)
        ]
        begin = time.perf_counter()
        outs = step.primitive.numpy(*arrays, **step.params)
        profile.record("host", step.primitive.name, begin, time.perf_counter() - begin, device=self.driver.device)
        outs = list(outs) if isinstance(outs, (list, tuple)) else [outs]
        for name, location, out in zip(step.outs, self._at(step.outs), outs, strict=True):
            buffer = self.plan.buffer(name)
            array = numpy.asarray(out)
            if (array.shape, array.dtype) != (buffer.shape, buffer.dtype):
                raise DeviceError(
                    f"{step.primitive.name} gave {array.dtype}{list(array.shape)} on the host, expected {buffer}"
                )
            self.driver.write(location, numpy.ascontiguousarray(array).reshape(array.shape))

    def _copy(self, step: Copy) -> None:
        source, destination = (
            self.driver.shift(self.bound[self.numbers[place.buffer]], place.offset)
            for place in (step.source, step.destination)
        )
        self.driver.copy(destination, source, step.nbytes)

    def _inner(self, plan: Plan, scratch: str | None) -> Inner:
        return Inner(self.driver, plan, self.sources, lambda: self.bound[self.numbers[scratch or ""]])

    def _prepare_scan(self, step: Loop) -> Callable[[], None]:
        body = self._inner(step.body, step.scratch)
        strides = [
            self.plan.buffer(name).nbytes // max(step.trips, 1) for name in step.xs + step.ys
        ]

        def run() -> None:
            constants, source = self._at(step.constants), self._at(step.carry_in)
            targets = (self._at(step.carry_out), self._at(step.carry_spare))
            whole = self._at(step.xs + step.ys)
            if step.trips == 0:
                self._copy_all(step.carry_out, targets[0], source)
            for trip in range(step.trips):
                position = step.trips - 1 - trip if step.reverse else trip
                slices = [
                    self.driver.shift(location, position * stride)
                    for location, stride in zip(whole, strides, strict=True)
                ]
                xs, ys = slices[: len(step.xs)], slices[len(step.xs) :]
                # The last trip writes carry_out.
                target = targets[(step.trips - 1 - trip) % 2]
                body.run(constants + source + xs, target + ys)
                source = target

        return run

    def _prepare_while(self, step: Loop) -> Callable[[], None]:
        assert step.cond is not None
        body, cond = self._inner(step.body, step.scratch), self._inner(step.cond, step.scratch)
        answer = step.cond.buffer(step.cond.results[0])
        flag = self.driver.device.allocate(answer.nbytes)

        def run() -> None:
            constants, cond_constants = self._at(step.constants), self._at(step.cond_constants)
            source = self._at(step.carry_in)
            target, other = self._at(step.carry_out), self._at(step.carry_spare)
            while True:
                cond.run(cond_constants + source, [flag.location])
                if not self.driver.read(flag.location, answer):
                    break
                body.run(constants + source, target)
                source, target, other = target, other, target
            if source != self._at(step.carry_out):
                self._copy_all(step.carry_out, self._at(step.carry_out), source)

        return run

    def _prepare_branch(self, step: Branch) -> Callable[[], None]:
        cases = [self._inner(branch, step.scratch) for branch in step.branches]
        index = self.plan.buffer(step.index)

        def run() -> None:
            chosen = int(self.driver.read(self._at((step.index,))[0], index))
            case = cases[min(max(chosen, 0), len(cases) - 1)]
            case.run(self._at(step.ins), self._at(step.outs))

        return run

    def _copy_all(
        self, names: Sequence[str], targets: Sequence[Location], sources: Sequence[Location]
    ) -> None:
        for name, target, source in zip(names, targets, sources, strict=True):
            self.driver.copy(target, source, self.plan.buffer(name).nbytes)


class Inner:
    """A plan inside a loop or a branch: its buffers are placed in the outer plan's at every run."""

    def __init__(
        self,
        driver: Driver,
        plan: Plan,
        sources: Mapping[int, Any],
        scratch: Callable[[], Location],
    ):
        self.driver, self.plan, self.scratch = driver, plan, scratch
        self.replay = Replay(driver, plan, sources)
        self.constants = load_constants(driver.device, plan)
        self.locations: list[Location] = [None] * len(plan.buffers)
        self.arena = [
            (number, buffer.owner.offset)
            for number, buffer in enumerate(plan.buffers)
            if isinstance(buffer.owner, Arena) and buffer.nbytes
        ]
        for number, buffer in enumerate(plan.buffers):
            if isinstance(buffer.owner, Constant):
                self.locations[number] = self.constants[buffer.owner.index].location
        self.arguments = [self.replay.numbers[name] for name in plan.arguments]
        self.results, self.copies = direct_results(plan)

    def run(self, ins: Sequence[Location], outs: Sequence[Location]) -> None:
        """Runs with the arguments at `ins` and the results at `outs`."""
        locations = self.locations
        if self.arena:
            base = self.scratch()
            for number, offset in self.arena:
                locations[number] = self.driver.shift(base, offset)
        for number, location in zip(self.arguments, ins, strict=True):
            locations[number] = location
        for number, position in self.results:
            locations[number] = outs[position]
        self.replay.run(locations)
        for number, position in self.copies:
            self.driver.copy(outs[position], locations[number], self.plan.buffers[number].nbytes)


def direct_results(plan: Plan) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs (buffer number, position among the results): those that steps write in place, and those that must
    be copied because the buffer is an argument, a constant, or already another result."""
    numbers = {buffer.name: number for number, buffer in enumerate(plan.buffers)}
    direct: list[tuple[int, int]] = []
    copies: list[tuple[int, int]] = []
    seen: set[str] = set()
    for position, name in enumerate(plan.results):
        fresh = isinstance(plan.buffers[numbers[name]].owner, Result) and name not in seen
        (direct if fresh else copies).append((numbers[name], position))
        seen.add(name)
    return direct, copies


def load_constants(device: Device, plan: Plan) -> list[Memory]:
    """The plan's constants on the device."""
    return [device.from_host(numpy.frombuffer(data, numpy.uint8)) for data in plan.constants]


_loaded: weakref.WeakSet[PlanExecutable] = weakref.WeakSet()


def drop_idle_instances(device: Device) -> None:
    """Lets go of the arenas of programs on a device that are not running; the next call of one makes a new arena."""
    for executable in list(_loaded):
        if executable.driver.device is device:
            executable.idle.clear()


class PlanExecutable(Executable):
    """A loaded plan. Instances that are not running wait in `idle`; a run takes one or makes one."""

    def __init__(self, driver: Driver, plan: Plan, sources: Mapping[int, Any]):
        self.layout = Layout(unroll(plan, driver.most_launches))
        self.driver, self.plan, self.sources = driver, self.layout.plan, sources
        self.idle: list[Instance] = []
        _loaded.add(self)
        try:
            self.constants = load_constants(driver.device, self.plan)
            self.idle.append(Instance(self))
        except OutOfMemoryError as error:
            raise self._explained(error) from error

    def _explained(self, error: OutOfMemoryError) -> OutOfMemoryError:
        return OutOfMemoryError(f"{error}\n{self.plan.name}: {peak_of(self.plan, self.sources)}")

    def run(self, arguments: Sequence[Memory], donated: Sequence[int] = ()) -> list[Memory]:
        try:
            try:
                instance = self.idle.pop()  # one step for other threads, like `append`
            except IndexError:
                instance = Instance(self)
            if (recorder := profile.recorder()) is not None:
                recorder.programs[id(self)] = self.plan, self.sources
            results = instance.run(arguments, donated)
        except OutOfMemoryError as error:
            raise self._explained(error) from error
        # After an exception the instance is dropped: its arena may hold half of a run.
        self.idle.append(instance)
        return results


class Layout:
    """The buffers of a plan in an order that makes the locations of a run in one go: arguments, small results, other
    results, results in the memory of donated arguments, and what stays where it is."""

    def __init__(self, plan: Plan):
        groups: list[list[Buffer]] = [[plan.buffer(name) for name in plan.arguments], [], [], [], []]
        self.small: list[tuple[int, int]] = []  # (bytes, offset)
        self.small_bytes = 0
        for buffer in plan.buffers:
            if isinstance(buffer.owner, Result):
                groups[1 if self._is_small(buffer) else 2].append(buffer)
            elif isinstance(buffer.owner, Donated):
                groups[3].append(buffer)
            elif buffer.name not in plan.arguments:
                groups[4].append(buffer)
        self.plan = replace(plan, buffers=tuple(buffer for group in groups for buffer in group))
        self.argument_bytes = [buffer.nbytes for buffer in groups[0]]
        self.large = [buffer.nbytes for buffer in groups[2]]
        self.donated = [buffer.owner.index for buffer in groups[3]]  # type: ignore[union-attr]
        self.fixed = groups[4]
        # Where each result is among the memories that are written, and those that are not the first in theirs.
        numbers = {buffer.name: number for number, buffer in enumerate(groups[1] + groups[2] + groups[3])}
        self.results = [numbers.get(name) for name in plan.results]
        self.others = [k for k, n in enumerate(self.results) if n is None or n in self.results[:k]]

    def _is_small(self, buffer: Buffer) -> bool:
        end = self.small_bytes + -(-buffer.nbytes // PART_ALIGNMENT) * PART_ALIGNMENT
        if math.prod(buffer.shape) < 2 or buffer.nbytes > SMALL or end > SMALL_TOGETHER:
            return False
        self.small.append((buffer.nbytes, self.small_bytes))
        self.small_bytes = end
        return True


class Instance:
    """The arena of one run in flight, and its launches, bound to the locations of the runs before."""

    def __init__(self, executable: PlanExecutable):
        driver, plan = executable.driver, executable.plan
        self.device, self.driver, self.plan, self.sources = driver.device, driver, plan, executable.sources
        self.layout, self.constants = executable.layout, executable.constants
        self.replays = [Replay(driver, plan, self.sources)]
        launches = [len(step.launches) if isinstance(step, Graph) else MOST_REPLAYED + 1 for step in plan.steps]
        self.most_replays = MOST_REPLAYS if sum(launches) <= MOST_REPLAYED else 1
        self.rebound = 0
        self.arena = self.device.zeros(plan.arena_bytes) if plan.arena_bytes else None
        self.fixed = [self._fixed(buffer) for buffer in self.layout.fixed]

    def _fixed(self, buffer: Buffer) -> Location:
        if isinstance(buffer.owner, Arena) and self.arena is not None:
            return self.driver.shift(self.arena.location, buffer.owner.offset)
        return self.constants[buffer.owner.index].location if isinstance(buffer.owner, Constant) else None

    def run(self, arguments: Sequence[Memory], donated: Sequence[int]) -> list[Memory]:
        self._check(arguments)
        memories = self._allocate()
        if self.layout.donated:
            arguments = list(arguments)
            memories += self._take_donated(arguments, donated)
        locations = [memory.location for memory in arguments]
        locations += [memory.location for memory in memories]
        locations += self.fixed
        self._bound(locations).start()
        if self.layout.others:
            return self._collect(memories, arguments)
        return [memories[number] for number in self.layout.results]  # type: ignore[index]

    def _check(self, arguments: Sequence[Memory]) -> None:
        """Raises for an argument that is missing, too small or elsewhere; of those that fit callers know the device."""
        expected, device = self.layout.argument_bytes, self.device
        sizes = [memory.nbytes for memory in arguments]
        if sizes == expected:
            return
        if len(sizes) != len(expected):
            raise DeviceError(f"{self.plan.name} takes {len(expected)} arguments, {len(sizes)} were given")
        for position, (memory, nbytes) in enumerate(zip(arguments, expected, strict=True)):
            if memory.nbytes < nbytes or memory.device is not device:
                raise DeviceError(
                    f"{self.plan.name}: argument {position} ({self.plan.arguments[position]}) needs {nbytes} bytes"
                    f" on {device.name}, is {memory!r}"
                )

    def _allocate(self) -> list[Memory]:
        """Memories of the results, those of donated arguments left out."""
        layout, allocate = self.layout, self.device.allocate
        memories: list[Memory] = []
        if layout.small:
            parts = self.device.parts(layout.small_bytes, layout.small) if len(layout.small) > 1 else None
            memories = parts or [allocate(nbytes) for nbytes, _ in layout.small]
        for nbytes in layout.large:
            memories.append(allocate(nbytes))
        return memories

    def _take_donated(self, arguments: list[Memory], donated: Sequence[int]) -> list[Memory]:
        """The arguments that are written in place; a copy of each that somebody else needs takes its place."""
        # The same memory given twice must keep its old value for the other argument.
        twice = len(set(map(id, arguments))) < len(arguments)
        for index in self.layout.donated:
            if twice or index not in donated or arguments[index].shared:
                arguments[index] = self.device.copy(arguments[index])
        return [arguments[index] for index in self.layout.donated]

    def _bound(self, locations: list[Location]) -> Replay:
        """Launches that are bound to these locations: by an earlier run, or now."""
        replays = self.replays
        for replay in replays:
            if replay.bound == locations:
                return replay
        self.rebound += 1
        if self.rebound % PATIENCE == 0 and len(replays) < self.most_replays:
            replays.append(Replay(self.driver, self.plan, self.sources))
        else:
            replays.append(replays.pop(0))  # the one that was bound longest ago
        replays[-1].bind(locations)
        return replays[-1]

    def _collect(self, written: Sequence[Memory], arguments: Sequence[Memory]) -> list[Memory]:
        """The results, of which some are an argument, a constant, or the same value as an earlier one."""
        found = []
        for name, number in zip(self.plan.results, self.layout.results, strict=True):
            if number is not None:
                found.append(written[number])
            else:
                owner = self.plan.buffer(name).owner
                assert isinstance(owner, (Argument, Constant))
                found.append((arguments if isinstance(owner, Argument) else self.constants)[owner.index])
        for position in self.layout.others:
            found[position] = found[position].alias()
        return found


def independent_launches(plan: Plan, launches: Sequence[Launch]) -> list[list[int]]:
    """For each launch the earlier ones that it must wait for (those that write what it touches, or touch what
    it writes); arena ranges count as one memory where they overlap."""
    # For each memory: (start, end, launch, whether it writes). What a later write covers is behind that write, and a
    # read is behind a later one of the same range by a launch that waits for it: the lists stay short in long programs.
    touched: dict[tuple[str, int], list[tuple[int, int, int, bool]]] = {}
    waits: list[list[int]] = []
    behind: list[int] = []  # for each launch, as bits, those that are done when it starts
    touches = [launch_buffers(launch, plan) for launch in launches]
    ranges = {name: _range(plan.buffer(name)) for name in {n for both in touches for names in both for n in names}}
    changing = {ranges[name][0] for _, writes in touches for name in writes}
    for later, (reads, writes) in enumerate(touches):
        found: set[int] = set()
        accesses = [(*ranges[name], name in writes) for name in reads | writes if ranges[name][0] in changing]
        for space, start, end, written in accesses:
            for first_start, first_end, earlier, first_written in touched.get(space, ()):
                if (written or first_written) and start < first_end and first_start < end:
                    found.add(earlier)
        indirect = 0
        for earlier in found:
            indirect |= behind[earlier]
        waits.append(sorted(earlier for earlier in found if not indirect >> earlier & 1))
        done = indirect | sum(1 << earlier for earlier in waits[-1])
        behind.append(done)
        for space, start, end, written in accesses:
            before = touched.setdefault(space, [])
            if written:
                before[:] = [one for one in before if one[0] < start or end < one[1] or one[2] == later]
            else:
                before[:] = [one for one in before if one[3] or one[:2] != (start, end) or not done >> one[2] & 1]
            before.append((start, end, later, written))
    return waits


def _range(buffer: Buffer) -> tuple[tuple[str, int], int, int]:
    owner = buffer.owner
    if isinstance(owner, Arena):
        return ("arena", 0), owner.offset, owner.offset + buffer.nbytes
    kind = "argument" if isinstance(owner, (Argument, Donated)) else type(owner).__name__
    return (kind, owner.index), 0, buffer.nbytes
