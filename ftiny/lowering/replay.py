"""Running a plan's steps: what CUDA and OpenCL executables have in common.

Input: a `Plan` and a `Driver` (what a device can do with locations: launch, copy, read, write). Output: an
`Executable`. A *location* is what the device calls an address: an integer on CUDA and on CPUs, a buffer and an
offset on other OpenCL devices; only the driver looks into one.

A `Replay` is one instance of one plan. Its launches keep their arguments bound between runs, so a run hands over
only the locations that changed, starts the launches and returns: for `y = double(x)` called twice with the same
memories the second run binds nothing. Loops and branches hold a `Replay` of each inner plan, whose arguments,
results and arena are ranges of the outer plan's buffers:

    scan of 3 trips:   locations of the body   carry in   carry out   x        y
        trip 0                                 c0         out         xs+0     ys+0
        trip 1                                 out        spare       xs+4     ys+4
        trip 2                                 spare      out         xs+8     ys+8
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ftiny.errors import DeviceError, OutOfMemoryError
from ftiny.lowering import profile
from ftiny.lowering.device import Device, Executable, Memory
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
        for number, location in enumerate(locations):
            if location != self.bound[number]:
                self.bound[number] = location
                for launches in self.users[number]:
                    launches.patch(number, location)
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
            with executable.lock:
                executable.idle.clear()


class PlanExecutable(Executable):
    """A loaded plan. Instances that are not running wait in `idle`; a run takes one or makes one."""

    def __init__(self, driver: Driver, plan: Plan, sources: Mapping[int, Any]):
        plan = unroll(plan, driver.most_launches)
        self.driver, self.plan, self.sources = driver, plan, sources
        self.lock = threading.Lock()
        _loaded.add(self)
        try:
            self.constants = load_constants(driver.device, plan)
            self.idle: list[Instance] = [Instance(self)]
        except OutOfMemoryError as error:
            raise self._explained(error) from error

    def _explained(self, error: OutOfMemoryError) -> OutOfMemoryError:
        return OutOfMemoryError(f"{error}\n{self.plan.name}: {peak_of(self.plan, self.sources)}")

    def run(self, arguments: Sequence[Memory], donated: Sequence[int] = ()) -> list[Memory]:
        with self.lock:
            instance = self.idle.pop() if self.idle else None
        try:
            instance = instance or Instance(self)
            if (recorder := profile.recorder()) is not None:
                recorder.programs[id(self)] = self.plan, self.sources
            results = instance.run(arguments, donated)
        except OutOfMemoryError as error:
            raise self._explained(error) from error
        # After an exception the instance is dropped: its arena may hold half of a run.
        with self.lock:
            self.idle.append(instance)
        return results


class Instance:
    """The arena and the bound launches of one run in flight."""

    def __init__(self, executable: PlanExecutable):
        driver, plan = executable.driver, executable.plan
        self.device, self.driver, self.plan = driver.device, driver, plan
        self.replay = Replay(driver, plan, executable.sources)
        self.locations: list[Location] = [None] * len(plan.buffers)
        self.arena: Memory | None = None
        if plan.arena_bytes:
            self.arena = self.device.zeros(plan.arena_bytes)
        numbers = self.replay.numbers
        self.argument_numbers = [numbers[name] for name in plan.arguments]
        self.argument_bytes = [plan.buffer(name).nbytes for name in plan.arguments]
        self.fresh, self.donated = [], []
        for number, buffer in enumerate(plan.buffers):
            owner = buffer.owner
            if isinstance(owner, Arena) and self.arena is not None:
                self.locations[number] = driver.shift(self.arena.location, owner.offset)
            elif isinstance(owner, Constant):
                self.locations[number] = executable.constants[owner.index].location
            elif isinstance(owner, Result):
                self.fresh.append((number, buffer.nbytes))
            elif isinstance(owner, Donated):
                self.donated.append((number, owner.index))
        self.results = [numbers[name] for name in plan.results]
        self.constant_memories = {
            number: executable.constants[buffer.owner.index]
            for number, buffer in enumerate(plan.buffers)
            if isinstance(buffer.owner, Constant)
        }

    def run(self, arguments: Sequence[Memory], donated: Sequence[int]) -> list[Memory]:
        self._check(arguments)
        given = list(arguments)
        memories: dict[int, Memory] = {}
        # The same memory given twice must keep its old value for the other argument.
        twice = bool(self.donated) and len(set(map(id, given))) < len(given)
        for number, index in self.donated:
            if twice or index not in donated or given[index].shared:
                given[index] = self.device.copy(given[index])
            memories[number] = given[index]
        for number, nbytes in self.fresh:
            memories[number] = self.device.allocate(nbytes)
        locations = self.locations
        for number, memory in zip(self.argument_numbers, given, strict=True):
            locations[number] = memory.location
        for number, memory in memories.items():
            locations[number] = memory.location
        self.replay.run(locations)
        return self._collect(memories, given)

    def _check(self, arguments: Sequence[Memory]) -> None:
        if len(arguments) != len(self.argument_bytes):
            raise DeviceError(
                f"{self.plan.name} takes {len(self.argument_bytes)} arguments, {len(arguments)} were given"
            )
        for position, (memory, nbytes) in enumerate(
            zip(arguments, self.argument_bytes, strict=True)
        ):
            if memory.nbytes < nbytes or memory.device is not self.device:
                raise DeviceError(
                    f"{self.plan.name}: argument {position} ({self.plan.arguments[position]}) needs {nbytes} bytes"
                    f" on {self.device.name}, is {memory!r}"
                )

    def _collect(self, memories: dict[int, Memory], given: Sequence[Memory]) -> list[Memory]:
        """One memory for each result; none is handed out twice or is also an argument's."""
        out: list[Memory] = []
        for number in self.results:
            memory = memories.pop(number, None)
            if memory is None:
                memory = self.device.copy(self._other(number, given, out))
            out.append(memory)
        return out

    def _other(self, number: int, given: Sequence[Memory], out: Sequence[Memory]) -> Memory:
        if number in self.constant_memories:
            return self.constant_memories[number]
        owner = self.plan.buffers[number].owner
        if isinstance(owner, Argument):
            return given[owner.index]
        return out[self.results.index(number)]


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
