"""CUDA devices: pycuda for contexts, memory, streams and events; NVRTC, modules, launches and graphs by cuda-bindings.

Input: a `Plan` whose kernels are CUDA C++. Output: an `Executable`. Every distinct kernel is compiled to a cubin,
which is kept on disk. A `Graph` step is one CUDA graph, built node by node: a node depends on the earlier launches
that touch the same memory, so independent kernels may run side by side:

    launches   a: x -> t    b: x -> u    c: t, u -> y
    nodes      a            b            c after a and b

The parameters of a node lie in ctypes arrays that are patched in place when an argument moves; only nodes that
changed are handed to `cuGraphExecKernelNodeSetParams`. The first run launches one by one, since a graph that runs
once is not worth making. A location is an address.

A kernel whose text says `extern __shared__` gets `shared_bytes` of dynamic shared memory; otherwise its arrays are
static and nothing is asked for.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy

from ftiny.errors import DeviceError, OutOfMemoryError
from ftiny.lowering import cache, nvrtc, profile
from ftiny.lowering.device import STATIC_SHARED, Capabilities, Device, Executable, Memory, contiguous, together
from ftiny.lowering.memory import Pool
from ftiny.lowering.plan_types import (
    Buffer,
    Graph,
    KernelSource,
    Launch,
    Plan,
    Pointer,
    Scalar,
    Size,
    TensorMap,
    check_plan,
    nested_plans,
)
from ftiny.lowering.replay import Driver, Launches, PlanExecutable, drop_idle_instances, independent_launches

# Copies of fewer or more bytes go the driver's own way, which is quicker for few and holds no memory for many.
SMALLEST_STAGED, LARGEST_STAGED = 64 << 10, 64 << 20
_ALREADY = nullcontext()


def find_devices() -> list[CudaDevice]:
    """All CUDA devices; none if pycuda, cuda-bindings or the driver is missing."""
    try:
        import pycuda.driver as driver
        from cuda.bindings import driver as cu

        driver.init()
        count = driver.Device.count()
    except Exception as error:  # ImportError, or the driver's own error without a GPU
        profile.log(1, f"CUDA is not usable: {error}")
        return []
    return [CudaDevice(driver, cu, index) for index in range(count)]


class CudaMemory(Memory):
    """Device memory from the pool."""

    __slots__ = ("block", "pool", "size")

    def __init__(self, device: Device, nbytes: int, block: Any, pool: Pool, size: int):
        self.device, self.nbytes, self.location, self.aliased = device, nbytes, block[0], False
        self.block, self.pool, self.size = block, pool, size

    def __del__(self) -> None:
        self.pool.give(self.block, self.size)


class CudaPart(Memory):
    """A range of another memory, which it keeps alive."""

    __slots__ = ("whole",)

    def __init__(self, whole: Memory, nbytes: int, location: int):
        self.device, self.nbytes, self.location, self.aliased = whole.device, nbytes, location, False
        self.whole = whole


class PinnedBlock:
    """Page-locked host memory on its way to the device, and the event after which it is free."""

    __slots__ = ("array", "view", "event")

    def __init__(self, array: numpy.ndarray, event: Any):
        self.array, self.view, self.event = array, memoryview(array), event  # type: ignore[arg-type]

    def done(self) -> bool:
        """Whether the last copy out of this block has finished."""
        return self.event.query()


class CudaDevice(Device):
    """One GPU, its primary context and one stream."""

    kind = "cuda"
    _resident = threading.local()  # the device whose context stays current in the main thread

    def __init__(self, driver: ModuleType, cu: ModuleType, index: int):
        self.driver, self.cu, self.index = driver, cu, index
        self.handle = driver.Device(index)
        self._lock = threading.RLock()
        self._functions: dict[str, Any] = {}
        self._ahead: dict[str, Future[tuple[bytes, bool]]] = {}  # by text: cubins that threads are making
        self._closed = False

    @property
    def description(self) -> str:
        return self.handle.name()

    @cached_property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        major, minor = self.handle.compute_capability()
        return Capabilities(
            dialect="cuda",
            vector_width=1,
            warp=self._attribute("WARP_SIZE"),
            max_threads=self._attribute("MAX_THREADS_PER_BLOCK"),
            shared_bytes=self._attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
            compute_units=self._attribute("MULTIPROCESSOR_COUNT"),
            host_memory=False,
            arch=f"sm_{major}{minor}{'a' if (major, minor) == (9, 0) else ''}",
            parameter_bytes=4096,
        )

    def _attribute(self, name: str) -> int:
        attribute = getattr(self.cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return self.call("cuDeviceGetAttribute", attribute, self.index)

    def call(self, function: str, *args: Any) -> Any:
        """Calls the driver through cuda-bindings; raises `DeviceError` with the error's name."""
        result, *out = getattr(self.cu, function)(*args)
        if result != 0:
            raise DeviceError(f"{self.name}: {function} failed with {result.name}")
        return out[0] if len(out) == 1 else tuple(out)

    # ------------------------------------------------------------ contexts

    @cached_property
    def context(self) -> Any:
        """The primary context. In the main thread that of the first device used stays current (`_stay`); it is
        popped at exit, because pycuda ends the process over a context that is left."""
        return self.handle.retain_primary_context()

    def _stay(self) -> bool:
        """Makes the context that of the main thread for good, if it is the first there."""
        in_main = threading.current_thread() is threading.main_thread()
        if self._closed or not in_main or hasattr(CudaDevice._resident, "device"):
            return False
        self.context.push()
        CudaDevice._resident.device = self
        atexit.register(self._leave)
        return True

    def _leave(self) -> None:
        self._closed = True
        try:
            self.stream.synchronize()
        finally:
            # Also after a kernel that failed: a context that is left would end the process.
            del CudaDevice._resident.device
            self.context.pop()

    def is_current(self) -> bool:
        """Whether the context stays current in this thread."""
        return getattr(CudaDevice._resident, "device", None) is self

    def active(self) -> AbstractContextManager[Any]:
        """Makes the context current for a while, unless it is."""
        if self.is_current() or self._stay():
            return _ALREADY
        return _Pushed(self.context)

    @cached_property
    def stream(self) -> Any:
        """The one stream, in order."""
        return self.driver.Stream()

    @cached_property
    def stream_handle(self) -> Any:
        """The stream as cuda-bindings wants it."""
        return self.cu.CUstream(self.stream.handle)

    # ------------------------------------------------------------ memory

    @cached_property
    def pool(self) -> Pool:
        with self.active():
            limit = self.handle.total_memory() // 4
        return Pool(self._new_block, self._free_block, limit)

    def _new_block(self, nbytes: int) -> tuple[int, Any]:
        with self.active():
            allocation = self.driver.mem_alloc(nbytes)
        return int(allocation), allocation

    def _free_block(self, block: tuple[int, Any]) -> None:
        with self.active():
            block[1].free()

    @cached_property
    def pinned(self) -> Pool:
        """Staging memory: a copy from it returns at once."""
        return Pool(self._new_pinned, lambda block: block.event.synchronize(), 4 * LARGEST_STAGED)

    def _new_pinned(self, nbytes: int) -> PinnedBlock:
        event = self.driver.Event(self.driver.event_flags.DISABLE_TIMING)
        return PinnedBlock(self.driver.pagelocked_empty(nbytes, numpy.uint8), event)

    def release_memory(self) -> int:
        self.synchronize()
        with self.active():
            drop_idle_instances(self)
            return self.pool.trim(0)

    def allocate(self, nbytes: int) -> Memory:
        pool = self.pool
        try:
            block, size = pool.take(nbytes)
        except self.driver.MemoryError as error:
            raise OutOfMemoryError(
                f"{self.name} has no memory for {profile.format_bytes(nbytes)} more:"
                f" {profile.format_bytes(pool.allocated_bytes)} are in use ({error})"
            ) from error
        return CudaMemory(self, nbytes, block, pool, size)

    def parts(self, nbytes: int, ranges: Sequence[tuple[int, int]]) -> list[Memory]:
        whole = self.allocate(nbytes)
        start = whole.location
        return [CudaPart(whole, size, start + offset) for size, offset in ranges]

    def zeros(self, nbytes: int) -> Memory:
        memory = self.allocate(nbytes)
        with self.active():
            self.driver.memset_d8_async(memory.location, 0, nbytes, self.stream)
        return memory

    def from_host(self, array: numpy.ndarray, copy: bool = True) -> Memory:
        array = contiguous(array)
        memory = self.allocate(array.nbytes)
        started = time.perf_counter()
        with self.active():
            self.write(memory.location, array)
            if profile.is_watched():
                self.stream.synchronize()
                profile.log_transfer(self, "to", array.nbytes, time.perf_counter() - started)
        return memory

    def all_from_host(self, arrays: Sequence[numpy.ndarray]) -> list[Memory]:
        # Small arrays lie one after the other in one piece of staging memory and in one allocation.
        ranges, end = together(arrays)
        if len(ranges) < 2 or profile.is_watched():
            return super().all_from_host(arrays)
        with self.active():
            found = dict(zip(ranges, self.parts(end, list(ranges.values()))))
            block, size = self.pinned.take(end, PinnedBlock.done)
            for number, (nbytes, offset) in ranges.items():
                block.view[offset : offset + nbytes] = arrays[number].tobytes()
            self._copy_staged(next(iter(found.values())).location, block, end, size)
        return [found[k] if k in found else self.from_host(array) for k, array in enumerate(arrays)]

    def _copy_staged(self, location: int, block: PinnedBlock, nbytes: int, size: int) -> None:
        """Copies what lies in a block of staging memory, and gives the block back for when that is done."""
        self.driver.memcpy_htod_async(location, block.array[:nbytes], self.stream)
        block.event.record(self.stream)
        self.pinned.give(block, size)

    def write(self, location: int, array: numpy.ndarray) -> None:
        """Copies a C-ordered array to the device after the work started so far."""
        if not array.nbytes:
            return
        data = array.reshape(-1).view(numpy.uint8)
        if not SMALLEST_STAGED <= array.nbytes <= LARGEST_STAGED:
            # Ordinary memory may change again when this returns: the driver has taken its copy.
            self.driver.memcpy_htod_async(location, data, self.stream)
            return
        block, size = self.pinned.take(array.nbytes, PinnedBlock.done)
        block.array[: array.nbytes] = data
        self._copy_staged(location, block, array.nbytes, size)

    def read(self, location: int, nbytes: int) -> numpy.ndarray:
        """The bytes at a location after waiting for the work started so far."""
        data = numpy.empty(nbytes, numpy.uint8)
        try:
            if nbytes:
                self.driver.memcpy_dtoh_async(data, location, self.stream)
            self.stream.synchronize()
        except self.driver.Error as error:
            raise DeviceError(f"{self.name}: a kernel failed: {error}") from error
        return data

    def to_host(self, memory: Memory, aval: Any) -> numpy.ndarray:
        with self.active():
            if profile.is_watched():
                self.stream.synchronize()
            started = time.perf_counter()
            data = self.read(memory.location, aval.size * aval.dtype.itemsize)
        if profile.is_watched():
            profile.log_transfer(self, "from", data.nbytes, time.perf_counter() - started)
        out = data.view(aval.dtype).reshape(aval.shape)
        out.flags.writeable = False
        return out

    def copy(self, memory: Memory) -> Memory:
        out = self.allocate(memory.nbytes)
        with self.active():
            CudaDriver(self).copy(out.location, memory.location, memory.nbytes)
        return out

    def synchronize(self) -> None:
        with self.active():
            try:
                self.stream.synchronize()
            except self.driver.Error as error:
                raise DeviceError(f"{self.name}: a kernel failed: {error}") from error

    def measure_peaks(self) -> tuple[float, float]:
        """Bytes and float32 operations per second of two small kernels."""
        from ftiny.lowering.peaks import measure_peaks

        with self.active():
            return measure_peaks(self)

    # ------------------------------------------------------------ kernels

    def load(self, program: Any, sources: Mapping[int, Any] | None = None) -> Executable:
        plan: Plan = check_plan(program)
        kernels = {kernel.text: kernel for inner in nested_plans(plan) for kernel in inner.kernels}
        with self.active():
            self.build(list(kernels.values()))
            return CudaExecutable(CudaDriver(self), plan, sources or {})

    def build(self, kernels: Sequence[KernelSource]) -> None:
        """Compiles what is neither in memory nor on disk, several kernels at a time, and loads all."""
        started = time.perf_counter()
        with self._lock:
            missing = [k for k in kernels if cache.key_of(k.text) not in self._functions]
            if not missing:
                return
            for kernel in missing:
                self.compile_ahead(kernel)
            new = 0
            for kernel in missing:
                key = cache.key_of(kernel.text)
                code, compiled = self._ahead.pop(key).result()
                self._functions[key] = self._load(kernel, code)
                new += compiled
        profile.log(
            1,
            f"cuda: {len(kernels)} kernels, {new} compiled and {len(missing) - new} loaded from disk in"
            f" {profile.format_seconds(time.perf_counter() - started)}",
        )

    def compile_ahead(self, kernel: KernelSource) -> None:
        """Starts a thread for a kernel that is neither in memory nor being compiled (NVRTC releases the interpreter's
        lock). The stages before it take as long as the compiler, and so run beside it."""
        key = cache.key_of(kernel.text)
        with self._lock:
            if key not in self._functions and key not in self._ahead:
                self._ahead[key] = self._compilers.submit(cubin_of, kernel, self.capabilities.arch)

    @cached_property
    def _compilers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(os.cpu_count() or 1, 16), "ftiny-nvrtc")

    def _load(self, kernel: KernelSource, cubin: bytes) -> Any:
        module = self.call("cuModuleLoadData", cubin)
        function = self.call("cuModuleGetFunction", module, kernel.entry.encode())
        dynamic = dynamic_shared_bytes(kernel)
        if dynamic > STATIC_SHARED:
            attribute = self.cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.call("cuFuncSetAttribute", function, attribute, dynamic)
        if profile.debug_level() >= 6:
            profile.log(6, f"machine code of {kernel.name}:\n{disassemble(cubin)}")
        return function

    def function(self, kernel: KernelSource) -> Any:
        """The loaded function of a kernel that was built."""
        return self._functions[cache.key_of(kernel.text)]


class _Pushed:
    """A context that is current inside a `with`."""

    def __init__(self, context: Any):
        self.context = context

    def __enter__(self) -> None:
        self.context.push()

    def __exit__(self, *_: Any) -> None:
        self.context.pop()


def dynamic_shared_bytes(kernel: KernelSource) -> int:
    """The dynamic shared memory to launch with; see the module docstring."""
    return kernel.shared_bytes if "extern __shared__" in kernel.text else 0


def cubin_key(text: str, arch: str) -> str:
    """The key of a cubin on disk."""
    return cache.key_of("cubin", text, arch, nvrtc.version(), *nvrtc.OPTIONS)


def cubin_of(kernel: KernelSource, arch: str) -> tuple[bytes, bool]:
    """The cubin of a kernel, from the disk or made now, and whether it was made."""
    key = cubin_key(kernel.text, arch)
    known = cache.disk().get(key)
    if known is not None:
        return known, False
    made = nvrtc.compile_cubin(kernel.text, arch, kernel.name)
    cache.disk().put(key, made)
    return made, True


def disassemble(cubin: bytes) -> str:
    """The machine code as text by nvdisasm or cuobjdump, or why there is none."""
    folders = os.pathsep.join(
        [os.environ.get("PATH", ""), os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "bin")]
    )
    for tool, options in (("nvdisasm", ["-c"]), ("cuobjdump", ["-sass"])):
        path = shutil.which(tool, path=folders)
        if path is None:
            continue
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(cubin)
            file.flush()
            done = subprocess.run([path, *options, file.name], capture_output=True, text=True)
        return done.stdout or done.stderr
    return "(neither nvdisasm nor cuobjdump was found: they come with the CUDA toolkit)"


# ---------------------------------------------------------------- running


class CudaExecutable(PlanExecutable):
    """A plan on a GPU."""

    def run(self, arguments: Sequence[Memory], donated: Sequence[int] = ()) -> list[Memory]:
        device: CudaDevice = self.driver.device  # type: ignore[assignment]
        try:
            if device.is_current():
                return super().run(arguments, donated)
            with device.active():
                return super().run(arguments, donated)
        except device.driver.Error as error:
            raise DeviceError(f"{device.name}: {self.plan.name} could not be run: {error}") from error


class CudaDriver(Driver):
    """Locations are addresses."""

    device: CudaDevice
    most_launches = 4096  # 10 us each to prepare, and to make the graph

    def __init__(self, device: CudaDevice):
        self.device = device

    def launches(self, plan: Plan, graph: Graph, numbers: Mapping[str, int]) -> Launches:
        return CudaLaunches(self.device, plan, graph, numbers)

    def shift(self, location: int, nbytes: int) -> int:
        return location + nbytes

    def copy(self, destination: int, source: int, nbytes: int) -> None:
        if nbytes:
            self.device.driver.memcpy_dtod_async(destination, source, nbytes, self.device.stream)

    def read(self, location: int, buffer: Buffer) -> numpy.ndarray:
        data = self.device.read(location, buffer.nbytes)
        return data.view(buffer.dtype).reshape(buffer.shape)

    def write(self, location: int, array: numpy.ndarray) -> None:
        self.device.write(location, array)


class Node:
    """One launch: its function, its sizes and its parameters, which lie in memory that the driver reads."""

    def __init__(self, device: CudaDevice, plan: Plan, launch: Launch):
        kernel = plan.kernels[launch.kernel]
        self.function = device.function(kernel)
        self.grid, self.block = launch.grid or kernel.grid, kernel.block
        self.shared = dynamic_shared_bytes(kernel)
        sizes = dict(plan.sizes)
        self.values: list[Any] = []
        for arg, param in zip(launch.args, kernel.params, strict=True):
            if isinstance(arg, Pointer):
                self.values.append(ctypes.c_uint64())
            elif isinstance(arg, TensorMap):
                self.values.append(AlignedMap())
            else:
                assert isinstance(arg, (Size, Scalar))
                value = sizes[arg.name] if isinstance(arg, Size) else arg.value
                data = numpy.asarray(value, param.dtype).tobytes()
                self.values.append(ctypes.create_string_buffer(data, len(data)))
        addresses = [v.address if isinstance(v, AlignedMap) else ctypes.addressof(v) for v in self.values]
        self.parameters = (ctypes.c_void_p * max(len(addresses), 1))(*addresses)
        self.address = ctypes.addressof(self.parameters)

    def launch(self, device: CudaDevice) -> None:
        """A plain launch."""
        device.call(
            "cuLaunchKernel",
            self.function,
            *self.grid,
            *self.block,
            self.shared,
            device.stream_handle,
            self.address,
            0,
        )

    def graph_params(self, cu: ModuleType) -> Any:
        """The same as a graph node's parameters."""
        params = cu.CUDA_KERNEL_NODE_PARAMS()
        params.func = self.function
        params.gridDimX, params.gridDimY, params.gridDimZ = self.grid
        params.blockDimX, params.blockDimY, params.blockDimZ = self.block
        params.sharedMemBytes = self.shared
        params.kernelParams = self.address
        return params


class AlignedMap:
    """Room for a tensor map: 128 bytes at a multiple of 64."""

    def __init__(self) -> None:
        self.room = ctypes.create_string_buffer(192)
        self.address = -(-ctypes.addressof(self.room) // 64) * 64


class CudaLaunches(Launches):
    """Launches with bound parameters: plain at the first start, a graph from the second on."""

    def __init__(self, device: CudaDevice, plan: Plan, graph: Graph, numbers: Mapping[str, int]):
        self.device = device
        launches = graph.launches
        self.nodes = [Node(device, plan, launch) for launch in launches]
        self.waits = independent_launches(plan, launches)
        # For each buffer: (node, value, argument, buffer) of every use.
        self.uses: dict[int, list[tuple[int, int, Any, Buffer]]] = {}
        for position, launch in enumerate(launches):
            for index, arg in enumerate(launch.args):
                if isinstance(arg, (Pointer, TensorMap)):
                    uses = self.uses.setdefault(numbers[arg.buffer], [])
                    uses.append((position, index, arg, plan.buffer(arg.buffer)))
        self.changed: set[int] = set()
        self.started = False
        self.executable: Any = None

    def patch(self, buffer: int, location: int) -> None:
        for position, index, arg, described in self.uses.get(buffer, ()):
            value = self.nodes[position].values[index]
            if isinstance(arg, TensorMap):
                encode_map(self.device, arg, described, location, value.address)
            else:
                value.value = location + arg.offset
            self.changed.add(position)

    def start(self) -> None:
        if self.executable is None and not self.started:
            self.started = True
            for node in self.nodes:
                node.launch(self.device)
            return
        if self.executable is None:
            self._make_graph()
        elif self.changed:
            set_params = self.device.cu.cuGraphExecKernelNodeSetParams
            for position in self.changed:
                (code,) = set_params(
                    self.executable, self.graph_nodes[position], self.graph_params[position]
                )
                if code != 0:
                    raise DeviceError(f"cuGraphExecKernelNodeSetParams failed with {code.name}")
        self.changed.clear()
        if self.nodes:
            (code,) = self.device.cu.cuGraphLaunch(self.executable, self.device.stream_handle)
            if code != 0:
                raise DeviceError(f"cuGraphLaunch failed with {code.name}")

    def _make_graph(self) -> None:
        call = self.device.call
        self.graph = call("cuGraphCreate", 0)
        self.graph_params = [node.graph_params(self.device.cu) for node in self.nodes]
        self.graph_nodes: list[Any] = []
        for params, waits in zip(self.graph_params, self.waits, strict=True):
            before = [self.graph_nodes[earlier] for earlier in waits]
            node = call("cuGraphAddKernelNode", self.graph, before, len(before), params)
            self.graph_nodes.append(node)
        self.executable = call("cuGraphInstantiate", self.graph, 0)

    def __del__(self) -> None:
        if getattr(self, "executable", None) is not None and not self.device._closed:
            with self.device.active():
                self.device.cu.cuGraphExecDestroy(self.executable)
                self.device.cu.cuGraphDestroy(self.graph)

    def start_timed(self) -> list[float]:
        driver, stream, seconds = self.device.driver, self.device.stream, []
        for node in self.nodes:
            before, after = driver.Event(), driver.Event()
            before.record(stream)
            node.launch(self.device)
            after.record(stream)
            after.synchronize()
            seconds.append(before.time_till(after) * 1e-3)
        return seconds


SWIZZLES = {0: "NONE", 32: "32B", 64: "64B", 128: "128B"}
MAP_TYPES = {
    "uint8": "UINT8",
    "int32": "INT32",
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "float32": "FLOAT32",
    "float64": "FLOAT64",
}


def encode_map(
    device: CudaDevice, arg: TensorMap, buffer: Buffer, location: int, address: int
) -> None:
    """Encodes a tensor map of the buffer at `location` into 128 bytes at `address`."""
    cu = device.cu
    wide, narrow = cu.cuuint64_t, cu.cuuint32_t
    prefix = "CU_TENSOR_MAP_DATA_TYPE_"
    encoded = device.call(
        "cuTensorMapEncodeTiled",
        getattr(cu.CUtensorMapDataType, prefix + MAP_TYPES[buffer.dtype.name]),
        len(arg.shape),
        location + arg.offset,
        [wide(extent) for extent in reversed(arg.shape)],
        [wide(stride) for stride in reversed(arg.strides)],
        [narrow(extent) for extent in reversed(arg.box)],
        [narrow(1)] * len(arg.shape),
        cu.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        getattr(cu.CUtensorMapSwizzle, f"CU_TENSOR_MAP_SWIZZLE_{SWIZZLES[arg.swizzle]}"),
        cu.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        cu.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )
    ctypes.memmove(address, encoded.getPtr(), 128)

