"""OpenCL devices through pyopencl: the CPU by PoCL when there is nothing else.

Input: a `Plan` whose kernels are OpenCL C. Output: an `Executable`. The kernels of a plan that are new to the
process are built as one program (which takes PoCL half the time of a program each), or a few in several processes:

    #define mul_add mul_add_5f1c...        every kernel's name gets its text's hash
    __kernel void mul_add(...) { ... }
    #undef mul_add

On a CPU device kernels take the addresses of ordinary host memory (shared virtual memory), so arguments and
results are numpy views and nothing is ever copied; `HostMemory` is such a range. Other devices get `cl.Buffer`s.

Binaries are kept on disk by `cache.py`. PoCL compiles at a kernel's first launch, so what it made is stored at the
first wait after that (`pocl.py`); 12 kernels load in 30 ms in the next process.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple

import numpy

from ftiny.errors import DeviceError, OutOfMemoryError
from ftiny.lowering import cache, pocl, profile
from ftiny.lowering.device import WIDEST_VECTOR, Capabilities, Device, Executable, Memory, contiguous, together
from ftiny.lowering.memory import Pool
from ftiny.lowering.opencl_launches import Gate, OpenCLDriver, OpenCLFunctions
from ftiny.lowering.opencl_memory import (
    BufferMemory,
    HostBlock,
    HostMemory,
    HostPart,
    Place,
    PooledMemory,
    WrappedMemory,
)
from ftiny.lowering.opencl_probe import MOST_LANES, Probed, probe, wrap
from ftiny.lowering.plan_types import (
    Graph,
    KernelSource,
    Plan,
    Pointer,
    Size,
    TensorMap,
    check_plan,
    nested_plans,
)
from ftiny.lowering.replay import PlanExecutable, drop_idle_instances

MOST_PENDING = 32  # runs in flight before the host waits once
WORTH_WAITING = 1 << 20  # bytes that are rather reused after a wait than allocated anew

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


def find_devices() -> list[OpenCLDevice]:
    """All OpenCL devices, GPUs before CPUs; none if pyopencl or every runtime is missing."""
    pocl.private_folder()
    try:
        import pyopencl as cl

        platforms = cl.get_platforms()
    except Exception as error:  # ImportError, or the loader's own error without any runtime
        profile.log(1, f"OpenCL is not usable: {error}")
        return []
    found = []
    for platform in platforms:
        try:
            found += [handle for handle in platform.get_devices() if handle.available]
        except cl.Error as error:
            profile.log(1, f"OpenCL platform {platform.name} is not usable: {error}")
    if found:
        os.register_at_fork(after_in_child=_after_fork)
    found.sort(key=lambda handle: bool(handle.type & cl.device_type.CPU))
    return [OpenCLDevice(cl, handle, index) for index, handle in enumerate(found)]


class UnsavedProgram(NamedTuple):
    """A program that PoCL has not finished compiling: its text, its folder, and how many kernels it has."""

    text: str
    made: str
    kernels: int


# ---------------------------------------------------------------- the device


class OpenCLDevice(Device):
    """One OpenCL device with one in-order queue."""

    kind = "opencl"

    def __init__(
        self, cl: ModuleType, handle: Any, index: int, host_pointers: bool | None = None
    ):
        self.cl, self.handle, self.index = cl, handle, index
        self.platform = handle.platform
        self.is_pocl = "Portable Computing Language" in self.platform.name
        # The width tells processors apart that a driver's compiler takes for one: with and without AVX-512.
        width = str(handle.native_vector_width_float)
        self.identity = "|".join(
            (self.platform.version, handle.name, handle.version, handle.driver_version, width)
        )
        self._host_pointers = host_pointers
        self._lock = threading.RLock()
        self._built: dict[str, Any] = {}
        self._unsaved: dict[str, UnsavedProgram] = {}
        self.submitted = self.completed = 0
        self._kept: list[Memory] = []
        self.gate = Gate(self)

    @property
    def description(self) -> str:
        return f"{self.handle.name.strip()}, {self.platform.name.strip()}"

    @cached_property
    def context(self) -> Any:
        """The context; made at the first use, since that takes long on some platforms."""
        return self.cl.Context([self.handle])

    @cached_property
    def queue(self) -> Any:
        atexit.register(self._finish_at_exit)
        return self.cl.CommandQueue(self.context)

    def _finish_at_exit(self) -> None:
        if not _forked:
            self.gate.finish()
            self._save_programs(complete=False)

    @cached_property
    def timing_queue(self) -> Any:
        """A queue whose events carry times."""
        properties = self.cl.command_queue_properties.PROFILING_ENABLE
        return self.cl.CommandQueue(self.context, properties=properties)

    @cached_property
    def functions(self) -> OpenCLFunctions | None:
        """Entry points that take raw addresses; None where kernels cannot use host memory."""
        if not self.handle.type & self.cl.device_type.CPU or self._host_pointers is False:
            return None
        return OpenCLFunctions.find(self.cl)

    @cached_property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Asked of the driver, and of small kernels once on a machine."""
        handle, probed = self.handle, self._probed
        return Capabilities(
            dialect="opencl",
            vector_width=probed.lanes,
            vector_bytes=4 * probed.lanes if probed.lanes < MOST_LANES else WIDEST_VECTOR,
            warp=1,
            max_threads=handle.max_work_group_size,
            shared_bytes=handle.local_mem_size,
            compute_units=handle.max_compute_units,
            fp64="cl_khr_fp64" in handle.extensions,
            fp16="cl_khr_fp16" in handle.extensions,
            host_memory=probed.host_pointers,
            arch=handle.name.strip(),
            function_target=probed.function_target,
            parameter_bytes=handle.max_parameter_size,
        )

    @cached_property
    def _probed(self) -> Probed:
        """What small kernels tell of a CPU, kept on disk; nothing is asked of other devices."""
        if not self.handle.type & self.cl.device_type.CPU:
            return Probed(False, 1, "")
        key = cache.key_of("opencl probe", self.identity)
        known = cache.disk().get_text(key)
        if known is None:
            known = json.dumps(probe(self))
            cache.disk().put_text(key, known)
        probed = Probed(*json.loads(known))
        return probed._replace(host_pointers=probed.host_pointers and self.functions is not None)

    @cached_property
    def pool(self) -> Pool:
        limit = int(self.handle.global_mem_size) // 4
        if self.capabilities.host_memory:
            return Pool(HostBlock, self._free_host, limit)
        return Pool(self._new_buffer, self._free_buffer, limit)

    def _new_buffer(self, nbytes: int) -> Any:
        return self.cl.Buffer(self.context, self.cl.mem_flags.READ_WRITE, nbytes)

    def _free_buffer(self, buffer: Any) -> None:
        buffer.release()

    def _free_host(self, block: HostBlock) -> None:
        if block.last_use > self.completed:
            self.synchronize()

    def release_memory(self) -> int:
        self.synchronize()
        drop_idle_instances(self)
        return self.pool.trim(0)

    def allocate(self, nbytes: int) -> Memory:
        return self._allocate(nbytes)

    def _allocate(self, nbytes: int, for_host: bool = False) -> Memory:
        """`for_host` memory is written by the host at once, so no run in flight may still read it."""
        host = self.capabilities.host_memory
        if for_host and host and nbytes >= WORTH_WAITING and self.pool.has_idle(nbytes):
            self.synchronize()
        idle = (lambda block: block.last_use <= self.completed) if for_host and host else None
        try:
            block, size = self.pool.take(nbytes, idle)
        except (MemoryError, self.cl.Error) as error:
            raise OutOfMemoryError(
                f"{self.name} has no memory for {profile.format_bytes(nbytes)} more: "
                f"{profile.format_bytes(self.pool.allocated_bytes)} are in use ({error})"
            ) from error
        kind = PooledMemory if host else BufferMemory
        return kind(self, nbytes, block, self.pool, size)

    def parts(self, nbytes: int, ranges: Sequence[tuple[int, int]]) -> list[Memory] | None:
        if not self.capabilities.host_memory:
            return None
        whole: Any = self.allocate(nbytes)
        start = whole.location
        return [HostPart(whole, size, start + offset) for size, offset in ranges]

    def from_host(self, array: numpy.ndarray, copy: bool = True) -> Memory:
        array = contiguous(array)
        if self.capabilities.host_memory and not copy and array.nbytes and array.flags.aligned:
            return WrappedMemory(self, array)
        memory = self._allocate(array.nbytes, for_host=True)
        started = time.perf_counter()
        if array.nbytes:
            self.write(memory.location, array, wait=not self.capabilities.host_memory)
        if profile.is_watched():
            profile.log_transfer(self, "to", array.nbytes, time.perf_counter() - started)
        return memory

    def all_from_host(self, arrays: Sequence[numpy.ndarray]) -> list[Memory]:
        if not self.capabilities.host_memory:
            return super().all_from_host(arrays)
        ranges, end = together(arrays)
        found: dict[int, Memory] = {}
        if ranges:
            whole: Any = self._allocate(end, for_host=True)
            view = whole.block.view
            for number, (nbytes, offset) in ranges.items():
                view[offset : offset + nbytes] = arrays[number].tobytes()
                found[number] = HostPart(whole, nbytes, whole.location + offset)
        return [
            found[k] if k in found else self.from_host(numpy.array(array, order="C"), copy=False)
            for k, array in enumerate(arrays)
        ]

    def write(self, location: Any, array: numpy.ndarray, wait: bool) -> None:
        """Writes to a location, with `wait` after the work started so far."""
        if isinstance(location, Place):
            self.cl.enqueue_copy(self.queue, location.buffer, array, dst_offset=location.offset)
            return
        if wait:
            self.synchronize()
        ctypes.memmove(location, array.ctypes.data, array.nbytes)

    def to_host(self, memory: Memory, aval: Any) -> numpy.ndarray:
        self.synchronize()
        started = time.perf_counter()
        nbytes = aval.size * aval.dtype.itemsize
        if isinstance(memory, HostMemory):
            data = memory.bytes()[:nbytes]
        else:
            data = numpy.empty(nbytes, numpy.uint8)
            if nbytes:
                self.cl.enqueue_copy(self.queue, data, memory.location.buffer)
            if profile.is_watched():
                profile.log_transfer(self, "from", nbytes, time.perf_counter() - started)
        out = data.view(aval.dtype).reshape(aval.shape)
        out.flags.writeable = False
        return out

    def copy(self, memory: Memory) -> Memory:
        out = self.allocate(memory.nbytes)
        OpenCLDriver(self).copy(out.location, memory.location, memory.nbytes)
        self.keep([memory])
        return out

    def keep(self, memories: Sequence[Memory]) -> None:
        """Holds memories that are not the pool's until the work started so far has finished."""
        self._kept.extend([memory for memory in memories if type(memory) is WrappedMemory])

    def synchronize(self) -> None:
        if self.completed == self.submitted:
            return
        refuse_forked()
        submitted = self.submitted
        # Another thread may wait at the same time: what is kept from here on belongs to work that may not be done.
        kept, self._kept = self._kept, []
        try:
            self.gate.finish()
        except self.cl.Error as error:
            self._kept[:0] = kept
            raise DeviceError(f"{self.name}: a kernel failed: {error}") from error
        self.completed = max(self.completed, submitted)
        del kept
        if self._unsaved and submitted:
            self._save_programs()

    def load(self, program: Any, sources: Mapping[int, Any] | None = None) -> Executable:
        plan: Plan = check_plan(program)
        refuse_forked()
        self.build(plan)
        return OpenCLExecutable(OpenCLDriver(self), plan, sources or {})

    # ------------------------------------------------------------ programs

    def build(self, plan: Plan) -> None:
        """Makes the plan's kernels known to `kernel`; new ones come from disk or are built."""
        kernels = {
            cache.key_of(kernel.text): kernel
            for inner in nested_plans(plan)
            for kernel in inner.kernels
        }
        with self._lock:
            missing = {digest: k for digest, k in kernels.items() if digest not in self._built}
            started = time.perf_counter()
            loaded = self._load_stored(missing) if missing else 0
            rest = {d: kernel for d, kernel in missing.items() if d not in self._built}
            for digest, kernel in rest.items():
                if kernel.alone:
                    self._build_new({digest: kernel})
            together = {d: kernel for d, kernel in rest.items() if not kernel.alone}
            if together:
                self._build_parts(together, plan)
            if missing:
                profile.log(
                    1,
                    f"opencl: {len(kernels)} kernels, {len(rest)} built and {loaded} loaded from disk in"
                    f" {profile.format_seconds(time.perf_counter() - started)}",
                )

    def _stored_key(self, digest: str) -> str:
        return cache.key_of("opencl kernel", digest, self.identity, self.capabilities.function_target)

    def _load_stored(self, missing: Mapping[str, KernelSource]) -> int:
        """Programs that an earlier process built; returns how many kernels they gave."""
        programs: dict[str, list[str]] = {}
        for digest in missing:
            program_key = cache.disk().get_text(self._stored_key(digest))
            if program_key is not None:
                programs.setdefault(program_key, []).append(digest)
        count = 0
        for program_key, digests in programs.items():
            stored = cache.disk().get(program_key)
            if stored is None:
                continue
            length = int.from_bytes(stored[:8], "little")
            text, binary = stored[8 : 8 + length].decode(), stored[8 + length :]
            try:
                program = self._compile(text, binary)
            except self.cl.Error as error:  # a binary that this driver does not take any more
                profile.log(1, f"{self.name}: {len(digests)} stored kernels are built again: {error}")
                continue
            count += len(digests)
            self._built.update(dict.fromkeys(digests, program))
        return count

    def _save_programs(self, complete: bool = True) -> None:
        """Stores what PoCL has compiled of the programs that this process built: of those whose kernels have all
        been launched, or (at exit) of all."""
        folder = pocl.private_folder()
        with self._lock:
            for key, unsaved in list(self._unsaved.items()):
                if folder is None:
                    continue
                if complete and len(pocl.compiled_files(folder, unsaved.made)) <= unsaved.kernels:
                    continue
                self._store_program(key, unsaved.text, pocl.pack(folder, unsaved.made))
                del self._unsaved[key]

    def _store_program(self, key: str, text: str, binary: bytes) -> None:
        encoded = text.encode()
        cache.disk().put(key, len(encoded).to_bytes(8, "little") + encoded + binary)

    def _build_parts(self, kernels: Mapping[str, KernelSource], plan: Plan) -> None:
        """Builds kernels as one program, or on PoCL in several processes if that is worth it."""
        folder = pocl.private_folder() if self.is_pocl else None
        digests = list(kernels)
        parts = [list(range(len(digests)))]
        if folder is not None:
            parts = pocl.split([len(kernel.text) for kernel in kernels.values()])
        if folder is None or len(parts) == 1:
            self._build_new(kernels)
            return
        launches = launch_descriptions(plan)
        groups = [{digests[position]: kernels[digests[position]] for position in part} for part in parts]
        described = [[launches[d] for d in group if d in launches] for group in groups]
        workers = [
            pocl.Worker(self._program_text(group), self.handle.name, launched)
            for group, launched in zip(groups[1:], described[1:], strict=True)
        ]
        try:
            self._build_new(groups[0])
            program = self._built[next(iter(groups[0]))]
            pocl.warm(self.cl, self.context, program, described[0])
        finally:
            results = [worker.result() for worker in workers]
            for group, data in zip(groups[1:], results, strict=True):
                if not data:
                    profile.log(1, f"{self.name}: another process failed to build {len(group)} kernels")
        for group, data in zip(groups[1:], results, strict=True):
            self._build_new(group, data)

    def _program_text(self, kernels: Mapping[str, KernelSource]) -> str:
        text = "".join(
            f"#define {kernel.entry} {entry_name(kernel, digest)}\n{kernel.text}\n#undef {kernel.entry}\n"
            for digest, kernel in kernels.items()
        )
        return wrap(text, self.capabilities.function_target)

    def _build_new(self, kernels: Mapping[str, KernelSource], packed: bytes = b"") -> None:
        """Builds one program; `packed` is what another process has compiled of it."""
        text = self._program_text(kernels)
        folder = pocl.private_folder() if self.is_pocl else None
        before = pocl.programs(folder) if folder else set()
        try:
            program = self._compile(text, packed)
        except self.cl.Error as error:
            raise self._build_error(kernels, error) from error
        self._built.update(dict.fromkeys(kernels, program))
        profile.log(6, f"{self.platform.name}: the machine code of its kernels cannot be shown")
        program_key = cache.key_of("opencl program", text, self.identity)
        if not self.is_pocl:
            binary = program.get_info(self.cl.program_info.BINARIES)[0]
            self._store_program(program_key, text, binary)
        elif packed:
            self._store_program(program_key, text, packed)
        elif folder:
            for made in pocl.programs(folder) - before:
                self._unsaved[program_key] = UnsavedProgram(text, made, len(kernels))
        for digest in kernels:
            cache.disk().put_text(self._stored_key(digest), program_key)

    def _compile(self, text: str, binary: bytes) -> Any:
        folder = pocl.private_folder() if self.is_pocl else None
        if binary and folder:
            pocl.unpack(folder, binary)
        elif binary:
            return self.cl.Program(self.context, [self.handle], [binary]).build()
        return self.cl.Program(self.context, text).build(cache_dir=False)

    def _build_error(self, kernels: Mapping[str, KernelSource], error: Exception) -> DeviceError:
        """Builds the kernels one by one to name the one that does not compile."""
        for kernel in kernels.values():
            try:
                self._compile(kernel.text, b"")
            except self.cl.Error as own:
                return DeviceError(
                    f"{self.name} does not compile kernel {kernel.name}:\n{own}\n{kernel.text}"
                )
        return DeviceError(f"{self.name} does not compile the program: {error}")

    def kernel(self, source: KernelSource) -> Any:
        """A new kernel object, with arguments of its own, of a source that was built."""
        digest = cache.key_of(source.text)
        return self.cl.Kernel(self._built[digest], entry_name(source, digest))

    def started(self) -> None:
        """Called after every run: hands the work to the device and bounds what is in flight."""
        self.submitted += 1
        self.queue.flush()
        if self.submitted - self.completed >= MOST_PENDING:
            self.synchronize()

    def measure_peaks(self) -> tuple[float, float]:
        """Bytes and float32 operations per second of two small kernels."""
        from ftiny.lowering.peaks import measure_peaks

        return measure_peaks(self)


def entry_name(kernel: KernelSource, digest: str) -> str:
    """The kernel's name in a program that may hold others of the same name."""
    return f"{kernel.entry}_{digest[:16]}"


def launch_descriptions(plan: Plan) -> dict[str, dict[str, Any]]:
    """One launch of every kernel as `pocl.warm` wants it, by the digest of the kernel's text."""
    found: dict[str, dict[str, Any]] = {}
    for inner in nested_plans(plan):
        sizes, nbytes = dict(inner.sizes), {b.name: b.nbytes for b in inner.buffers}
        for launch in (x for step in inner.steps if isinstance(step, Graph) for x in step.launches):
            kernel = inner.kernels[launch.kernel]
            digest = cache.key_of(kernel.text)
            args: list[int | str] = []
            for arg, param in zip(launch.args, kernel.params, strict=True):
                if isinstance(arg, (Pointer, TensorMap)):
                    args.append(nbytes[arg.buffer])
                else:
                    value = sizes[arg.name] if isinstance(arg, Size) else arg.value
                    args.append(numpy.asarray(value, param.dtype).tobytes().hex())
            grid = launch.grid or kernel.grid
            total = [blocks * threads for blocks, threads in zip(grid, kernel.block, strict=True)]
            block = list(kernel.block)
            entry = entry_name(kernel, digest)
            found[digest] = {"entry": entry, "total": total, "block": block, "args": args}
    return found


def refuse_forked() -> None:
    """Raises in a forked child: the runtime's threads are not there, and waiting for them never ends."""
    if _forked:
        raise DeviceError(
            "OpenCL cannot be used in a forked process; start workers with"
            " multiprocessing.get_context('spawn'), or use FTINY_DEVICE=numpy in them"
        )


# ---------------------------------------------------------------- running


class OpenCLExecutable(PlanExecutable):
    """A plan on an OpenCL device."""

    def __init__(self, driver: OpenCLDriver, plan: Plan, sources: Mapping[int, Any]):
        super().__init__(driver, plan, sources)
        self.small = driver.device.is_pocl and driver.device.capabilities.host_memory and is_small(self.plan)

    def run(self, arguments: Sequence[Memory], donated: Sequence[int] = ()) -> list[Memory]:
        device: OpenCLDevice = self.driver.device  # type: ignore[assignment]
        refuse_forked()
        try:
            if self.small:
                device.gate.close()
            return super().run(arguments, donated)
        except device.cl.Error as error:
            raise DeviceError(f"{device.name}: {self.plan.name} could not be run: {error}") from error
        finally:
            # Not earlier: a wait in the middle of the run, for a branch's index, drops what is kept until then.
            if not self.small:
                device.gate.open()
            device.keep(arguments)
            device.started()


def is_small(plan: Plan) -> bool:
    """Whether a run takes a few microseconds at most."""
    graphs = [step for step in plan.steps if isinstance(step, Graph)]
    kernels = [plan.kernels[launch.kernel] for graph in graphs for launch in graph.launches]
    return (
        len(graphs) == len(plan.steps)
        and len(kernels) <= 4
        and sum(buffer.nbytes for buffer in plan.buffers) <= 32 << 10
        and sum(kernel.flops for kernel in kernels) <= 32 << 10
    )
