"""Devices: one interface to CUDA, OpenCL and the numpy interpreter, and how one of them is chosen.

Input: a `Plan` (or, for numpy, a `Jaxpr`) and host arrays. Output: an `Executable` that turns memories into
memories. Drivers are imported at the first use of a device, never at `import ftiny`.

    with ftiny.device("opencl:0") as device:       # or FTINY_DEVICE=opencl:0 in the environment
        executable = device.load(plan)
        (y,) = executable.run([device.from_host(x)])
        device.to_host(y, aval)                    # on a CPU a view, nothing is copied

Without a choice the best device present is taken: cuda, then opencl, then numpy.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from ftiny.errors import DeviceError

if TYPE_CHECKING:
    from ftiny.lowering.plan_types import KernelSource

logger = logging.getLogger("ftiny")


WIDEST_VECTOR = 128  # bytes: OpenCL C has at most 16 lanes of 8
PART_ALIGNMENT = 128  # bytes: where parts of an allocation start
LARGEST_TOGETHER, MOST_TOGETHER = 64 << 10, 256 << 10  # bytes of a small array, and of those in one copy


STATIC_SHARED = 48 << 10  # bytes of shared memory that a block of a CUDA kernel has without asking


@dataclass(frozen=True)
class Capabilities:
    """What the scheduler and the emitters need to know of a device.

    `dialect` is 'cuda', 'opencl' or 'numpy'; `vector_width` the float32 lanes of one work-item's vectors (1 on
    GPUs); `vector_bytes` the widest vectors of any type that its compiler takes; `warp` the threads that can
    exchange registers (1 in OpenCL C); `shared_bytes` and `max_threads` are limits of one block; `host_memory`
    says that kernels and host share memory, so that host views cost nothing; `arch` names the machine code
    ('sm_90a'); `function_target` is the processor feature without which this OpenCL compiler inlines no builtins
    (`opencl_probe.py`), if there is one; `parameter_bytes` is how much the parameters of a kernel may take.
    """

    dialect: str
    vector_width: int = 1
    vector_bytes: int = WIDEST_VECTOR
    warp: int = 1
    max_threads: int = 1
    shared_bytes: int = 0
    compute_units: int = 1
    fp64: bool = True
    fp16: bool = True
    host_memory: bool = True
    arch: str = ""
    function_target: str = ""
    parameter_bytes: int = 1024


class Memory:
    """Bytes on a device, given back to its pool when the object dies. `location` is what kernels are given.

    Several arrays may hold one memory, since nobody writes to an array. The one exception is a donated argument, whose
    memory a program writes in place; `aliased` keeps it from doing so.
    """

    __slots__ = ("device", "nbytes", "location", "aliased", "__weakref__")

    def __init__(self, device: Device, nbytes: int, location: Any):
        self.device, self.nbytes, self.location, self.aliased = device, nbytes, location, False

    @property
    def shared(self) -> bool:
        """Whether somebody else can see these bytes, so that they must not be written in place."""
        return self.aliased

    def alias(self) -> Memory:
        """The memory for one more array, never written in place from now on; or a copy, where another library could
        write to it."""
        self.aliased = True
        return self

    def __repr__(self) -> str:
        return f"Memory({self.nbytes} bytes on {self.device.name})"


class Executable(ABC):
    """A loaded program. It may be run from several threads at once; every run in flight has its own arena."""

    @abstractmethod
    def run(self, arguments: Sequence[Memory], donated: Sequence[int] = ()) -> list[Memory]:
        """Starts the program and returns its results, one memory for each; does not wait for the device.

        `arguments` holds one memory for each argument. `donated` lists positions whose memory the caller will
        not use again: results that the plan places there are written in place. Raises `DeviceError`.
        """


class Device(ABC):
    """One place where programs run."""

    kind: str
    index: int
    capabilities: Capabilities

    @property
    def name(self) -> str:
        """The name that `device` and `FTINY_DEVICE` take, such as 'opencl:0'."""
        return f"{self.kind}:{self.index}"

    @property
    def description(self) -> str:
        """What the hardware calls itself."""
        return self.name

    @abstractmethod
    def allocate(self, nbytes: int) -> Memory:
        """Uninitialised memory from the pool; raises `DeviceError` when the device has no more."""

    def zeros(self, nbytes: int) -> Memory:
        """Memory filled with zero bytes."""
        return self.from_host(numpy.zeros(nbytes, numpy.uint8))

    def parts(self, nbytes: int, ranges: Sequence[tuple[int, int]]) -> list[Memory] | None:
        """One allocation of `nbytes` as a memory for each range (bytes, offset), which together keep it alive; None
        on a device whose locations are no addresses."""
        return None

    @abstractmethod
    def from_host(self, array: numpy.ndarray, copy: bool = True) -> Memory:
        """The array's bytes, in C order, in a memory of this device. With `copy=False` a host-memory device
        uses the array's own memory where it can; the caller then never writes to the array again."""

    def all_from_host(self, arrays: Sequence[numpy.ndarray]) -> list[Memory]:
        """A memory for each array, with copies of their bytes; in one transfer where that is quicker."""
        return [self.from_host(array) for array in arrays]

    @abstractmethod
    def to_host(self, memory: Memory, aval: Any) -> numpy.ndarray:
        """The memory as a read-only array of `aval.shape` and `aval.dtype`, after all work has finished. On a
        host-memory device it is a view and keeps the memory alive."""

    @abstractmethod
    def copy(self, memory: Memory) -> Memory:
        """A new memory with the same bytes."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for all work; raises `DeviceError` if a kernel failed."""

    def release_memory(self) -> int:
        """Gives memory that no array and no running program holds back to the driver; returns the bytes."""
        return 0

    def compile_ahead(self, kernel: KernelSource) -> None:  # noqa: B027 (most devices do nothing)
        """May start to compile a kernel of a plan that is still being made; `load` will ask for it."""

    @abstractmethod
    def load(self, program: Any, sources: Mapping[int, Any] | None = None) -> Executable:
        """Compiles a `Plan` (numpy: takes a `Jaxpr`). `sources` maps the equation numbers that kernels carry to
        the user's lines, for the kernel log."""

    def __repr__(self) -> str:
        return f"<{self.name}: {self.description}>"


# ---------------------------------------------------------------- which devices there are

KINDS = ("cuda", "opencl", "numpy")
_found: dict[str, list[Device]] = {}
_lock = threading.RLock()
_local = threading.local()
_told: set[str] = set()


def _find(kind: str) -> list[Device]:
    """The devices of one kind, found once in a process; none if its driver is missing."""
    with _lock:
        if kind not in _found:
            _found[kind] = _search(kind)
        return _found[kind]


def _search(kind: str) -> list[Device]:
    module = importlib.import_module(f"ftiny.lowering.run_{kind}")
    return list(module.find_devices())


def devices(kind: str | None = None) -> list[Device]:
    """All devices present, best first, or those of one kind ('cuda', 'opencl', 'numpy')."""
    if kind is not None and kind not in KINDS:
        raise DeviceError(f"unknown kind of device {kind!r}: the kinds are {', '.join(KINDS)}")
    return [found for each in KINDS if kind in (None, each) for found in _find(each)]


def get_device(name: str | Device) -> Device:
    """The device called `name`: 'cuda', 'opencl', 'opencl:1', 'numpy'. Raises `DeviceError` if it is missing."""
    if isinstance(name, Device):
        return name
    kind, _, number = name.strip().lower().partition(":")
    if kind not in KINDS or (number and not number.isdigit()):
        raise DeviceError(f"{name!r} names no device: write cuda, opencl, opencl:1 or numpy")
    found, index = _find(kind), int(number or 0)
    if index < len(found):
        return found[index]
    present = ", ".join(f"{d.name} ({d.description})" for d in devices())
    raise DeviceError(
        f"there is no device {kind}:{index}; present are: {present}. Choose one of them with FTINY_DEVICE or"
        f" ftiny.device(...){_hint(kind)}"
    )


def _hint(kind: str) -> str:
    if _find(kind):
        return ""
    return {
        "cuda": ", or install the CUDA extra: pip install 'ftiny[cuda]'",
        "opencl": ", or install an OpenCL runtime: pip install 'pyopencl[pocl]'",
    }.get(kind, "")


def default_device() -> Device:
    """The device of the innermost `with ftiny.device(...)`, else that of `FTINY_DEVICE`, else the best present."""
    chosen = getattr(_local, "stack", None)
    if chosen:
        return chosen[-1]
    wanted = os.environ.get("FTINY_DEVICE", "")
    known = _chosen.get(wanted)
    if known is None:
        known = _chosen[wanted] = get_device(wanted) if wanted else _best()
    return known


_chosen: dict[str, Device] = {}


def _best() -> Device:
    for kind in ("cuda", "opencl"):
        if _find(kind):
            return _find(kind)[0]
    tell_once(
        "no OpenCL or CUDA device was found: running in the numpy interpreter, which is slow;"
        " pip install 'pyopencl[pocl]' brings an OpenCL device for the CPU"
    )
    return _find("numpy")[0]


def release_memory() -> int:
    """Give device memory that is kept for later use back to the driver, on all devices; returns the bytes.

    Arrays keep theirs. What compiled programs keep for intermediate values goes too, and is allocated again at their
    next call. Useful before another library, or another process, needs the memory of a GPU.
    """
    return sum(found.release_memory() for each in KINDS for found in _found.get(each, ()))


@contextmanager
def device(name: str | Device | None) -> Iterator[Device]:
    """Makes a device the default of this thread: `with ftiny.device("opencl:0"): ...`; None changes nothing.
    Raises `DeviceError` if there is no such device."""
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(default_device() if name is None else get_device(name))
    try:
        yield stack[-1]
    finally:
        stack.pop()


def tell_once(text: str) -> None:
    """A warning to the logger 'ftiny', the same text only once in a process."""
    with _lock:
        if text in _told:
            return
        _told.add(text)
    logger.warning(text)


def together(arrays: Sequence[numpy.ndarray]) -> tuple[dict[int, tuple[int, int]], int]:
    """Which of the arrays are small enough to be copied together: number -> (bytes, offset), and the bytes of all."""
    ranges: dict[int, tuple[int, int]] = {}
    end = 0
    for number, array in enumerate(arrays):
        nbytes = array.nbytes
        after = end + -(-nbytes // PART_ALIGNMENT) * PART_ALIGNMENT
        if nbytes <= LARGEST_TOGETHER and after <= MOST_TOGETHER:
            ranges[number] = (nbytes, end)
            end = after
    return ranges, end


def contiguous(array: numpy.ndarray) -> numpy.ndarray:
    """The array itself, or a C-ordered copy; 0-d arrays stay 0-d."""
    return array if array.flags.c_contiguous else numpy.array(array, order="C")
