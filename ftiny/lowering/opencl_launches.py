"""Launches on an OpenCL device: kernel objects whose arguments stay set between runs.

Input: the `Graph` steps of a plan. Output: `Launches` for `replay.py`. Setting an argument costs 0.4 us and starting
a kernel with all arguments set 3 us, so only arguments that moved are set again:

    launches.patch(0, location)      # buffer 0 is here from now on
    launches.start()                 # enqueues every kernel
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy

from ftiny.errors import DeviceError
from ftiny.lowering import profile
from ftiny.lowering.device import Memory
from ftiny.lowering.opencl_memory import Place
from ftiny.lowering.plan_types import Buffer, Graph, Plan, Pointer, Scalar, Size
from ftiny.lowering.replay import Driver, Launches

if TYPE_CHECKING:
    from ftiny.lowering.run_opencl import OpenCLDevice


class OpenCLFunctions:
    """The two OpenCL calls that take raw addresses, and which pyopencl wraps for its own memory types only."""

    def __init__(self, library: ctypes.CDLL):
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self.set_pointer = library.clSetKernelArgSVMPointer
        self.set_pointer.argtypes = [pointer, ctypes.c_uint, pointer]
        self.copy = library.clEnqueueSVMMemcpy
        self.copy.argtypes = [
            pointer,
            ctypes.c_uint,
            pointer,
            pointer,
            size,
            ctypes.c_uint,
            pointer,
            pointer,
        ]

    @classmethod
    def find(cls, cl: ModuleType) -> OpenCLFunctions | None:
        """Looks in the library that pyopencl itself is linked with."""
        try:
            return cls(ctypes.CDLL(cl._cl.__file__))
        except (OSError, AttributeError) as error:
            profile.log(1, f"OpenCL kernels cannot be given addresses: {error}")
            return None


class Gate:
    """Holds back small programs, so that a row of them wakes PoCL's threads once.

    PoCL starts a command when it is enqueued, and its threads sleep when there is none; to wake one costs more than a
    small program takes. So the first of a row waits for an event that is set when somebody waits for results, when a
    larger program comes, or when there are enough of them:

        gate.close(); enqueue(..)       # as often as `BEHIND`, nothing runs yet
        gate.finish()                   # opens, and waits for all
    """

    BEHIND = 16

    def __init__(self, device: OpenCLDevice):
        self.device = device
        self._lock = threading.Lock()
        self._event: Any = None
        self._behind = self._waiting = 0

    def close(self) -> None:
        """The next program may be held back."""
        with self._lock:
            # Whoever waits for the queue waits for what others put into it meanwhile, too.
            if self._waiting:
                return
            if self._event is None:
                cl = self.device.cl
                event = cl.UserEvent(self.device.context)
                cl.enqueue_barrier(self.device.queue, wait_for=[event])
                self._event, self._behind = event, 0
            self._behind += 1
            full = self._behind > self.BEHIND
        if full:
            self.open()

    def open(self) -> None:
        """What is held back starts."""
        if self._event is not None:
            with self._lock:
                event, self._event = self._event, None
            if event is not None:
                event.set_status(self.device.cl.command_execution_status.COMPLETE)

    def finish(self) -> None:
        """Waits for all that was enqueued."""
        with self._lock:
            self._waiting += 1
        try:
            self.open()
            self.device.queue.finish()
        finally:
            with self._lock:
                self._waiting -= 1


class OpenCLDriver(Driver):
    """Locations are integers on host-memory devices, `Place`s elsewhere."""

    device: OpenCLDevice
    most_launches = 256  # pyopencl takes 0.14 ms to make a kernel object

    def __init__(self, device: OpenCLDevice):
        self.device = device
        self.functions = device.functions if device.capabilities.host_memory else None

    def launches(self, plan: Plan, graph: Graph, numbers: Mapping[str, int]) -> Launches:
        kind = HostLaunches if self.functions is not None else BufferLaunches
        return kind(self, plan, graph, numbers)

    def shift(self, location: Any, nbytes: int) -> Any:
        if isinstance(location, Place):
            return Place(location.buffer, location.offset + nbytes)
        return location + nbytes

    def copy(self, destination: Any, source: Any, nbytes: int) -> None:
        if not nbytes:
            return
        device = self.device
        device.submitted += 1
        if self.functions is None:
            device.cl.enqueue_copy(
                device.queue,
                destination.buffer,
                source.buffer,
                byte_count=nbytes,
                src_offset=source.offset,
                dst_offset=destination.offset,
            )
            return
        code = self.functions.copy(
            device.queue.int_ptr, 0, destination, source, nbytes, 0, None, None
        )
        if code:
            raise DeviceError(f"{device.name}: copying {nbytes} bytes failed with OpenCL error {code}")

    def read(self, location: Any, buffer: Buffer) -> numpy.ndarray:
        device = self.device
        device.submitted += 1
        device.synchronize()
        data = numpy.empty(buffer.nbytes, numpy.uint8)
        if buffer.nbytes and isinstance(location, Place):
            device.cl.enqueue_copy(
                device.queue, data, location.buffer, src_offset=location.offset
            )
        elif buffer.nbytes:
            ctypes.memmove(data.ctypes.data, location, buffer.nbytes)
        return data.view(buffer.dtype).reshape(buffer.shape)

    def write(self, location: Any, array: numpy.ndarray) -> None:
        if array.nbytes:
            self.device.submitted += 1
            self.device.write(location, array, wait=True)


class OpenCLLaunches(Launches):
    """Kernel objects with their arguments set."""

    def __init__(self, driver: OpenCLDriver, plan: Plan, graph: Graph, numbers: Mapping[str, int]):
        self.driver, self.device = driver, driver.device
        self.enqueue = self.device.cl.enqueue_nd_range_kernel
        self.kernels: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = []
        self.compiled = not self.device.is_pocl
        # For each buffer: (launch, argument, byte offset) of every use.
        self.uses: dict[int, list[tuple[int, int, int]]] = {}
        sizes = dict(plan.sizes)
        for position, launch in enumerate(graph.launches):
            source = plan.kernels[launch.kernel]
            kernel = self.device.kernel(source)
            grid, block = launch.grid or source.grid, source.block
            total = tuple(blocks * threads for blocks, threads in zip(grid, block, strict=True))
            self.kernels.append((kernel, total, block))
            for index, (arg, param) in enumerate(zip(launch.args, source.params, strict=True)):
                if isinstance(arg, Pointer):
                    uses = self.uses.setdefault(numbers[arg.buffer], [])
                    uses.append((position, index, arg.offset))
                elif isinstance(arg, (Size, Scalar)):
                    value = sizes[arg.name] if isinstance(arg, Size) else arg.value
                    kernel.set_arg(index, numpy.asarray(value, param.dtype).tobytes())
                else:
                    raise DeviceError(f"{source.name}: OpenCL has no tensor maps")

    def start(self) -> None:
        queue, enqueue = self.device.queue, self.enqueue
        for kernel, total, block in self.kernels:
            enqueue(queue, kernel, total, block)
        self._wait_for_compiler()

    def _wait_for_compiler(self) -> None:
        """PoCL compiles at a kernel's first launch, in a thread of its own that hands the process's environment to a
        linker. A variable that Python sets meanwhile moves the environment away under it, and PoCL then ends the
        process; so the first launches are waited for."""
        if not self.compiled:
            self.device.gate.finish()
            self.compiled = True

    def start_timed(self) -> list[float]:
        self.device.gate.finish()
        return [self._timed(*each) for each in self.kernels]

    def _timed(self, kernel: Any, total: tuple[int, ...], block: tuple[int, ...]) -> float:
        event = self.enqueue(self.device.timing_queue, kernel, total, block)
        event.wait()
        return (event.profile.end - event.profile.start) * 1e-9


class HostLaunches(OpenCLLaunches):
    """Arguments are addresses."""

    def patch(self, buffer: int, location: Any) -> None:
        set_pointer = self.driver.functions.set_pointer  # type: ignore[union-attr]
        for position, index, offset in self.uses[buffer]:
            code = set_pointer(self.kernels[position][0].int_ptr, index, location + offset)
            if code:
                raise DeviceError(f"{self.device.name}: setting an argument failed with error {code}")


class BufferLaunches(OpenCLLaunches):
    """Arguments are buffers or, further in, sub-buffers. A sub-buffer must start at a multiple of the device's
    alignment; where it does not, the kernel works on a copy that is made before and put back after it."""

    def __init__(self, driver: OpenCLDriver, plan: Plan, graph: Graph, numbers: Mapping[str, int]):
        super().__init__(driver, plan, graph, numbers)
        self.nbytes = [buffer.nbytes for buffer in plan.buffers]
        self.written = [
            [param.written for param in plan.kernels[launch.kernel].params]
            for launch in graph.launches
        ]
        self.alignment = self.device.handle.mem_base_addr_align // 8
        # (launch, argument) -> the copy, and the place and bytes it stands for
        self.copies: dict[tuple[int, int], tuple[Memory, Place, int]] = {}
        # A kernel does not keep its arguments alive.
        self.held: dict[tuple[int, int], Any] = {}

    def patch(self, buffer: int, location: Any) -> None:
        for position, index, offset in self.uses[buffer]:
            place = self.driver.shift(location, offset)
            nbytes = max(self.nbytes[buffer] - offset, 1)
            self.copies.pop((position, index), None)
            if place.offset == 0:
                given = place.buffer
            elif place.offset % self.alignment == 0:
                nbytes = min(nbytes, place.buffer.size - place.offset)
                given = place.buffer.get_sub_region(place.offset, max(nbytes, 1))
            else:
                copy = self.device.allocate(nbytes)
                self.copies[position, index] = (copy, place, nbytes)
                given = copy.location.buffer
            self.held[position, index] = given
            self.kernels[position][0].set_arg(index, given)

    def start(self) -> None:
        if not self.copies:
            super().start()
            return
        for position, (kernel, total, block) in enumerate(self.kernels):
            self._exchange(position, before=True)
            self.enqueue(self.device.queue, kernel, total, block)
            self._exchange(position, before=False)
        self._wait_for_compiler()

    def start_timed(self) -> list[float]:
        seconds = []
        for position, each in enumerate(self.kernels):
            self._exchange(position, before=True)
            self.device.gate.finish()
            seconds.append(self._timed(*each))
            self._exchange(position, before=False)
        return seconds

    def _exchange(self, position: int, before: bool) -> None:
        for (launch, index), (copy, place, nbytes) in self.copies.items():
            if launch == position and before:
                self.driver.copy(copy.location, place, nbytes)
            elif launch == position and self.written[launch][index]:
                self.driver.copy(place, copy.location, nbytes)
