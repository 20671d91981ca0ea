"""Memory of OpenCL devices.

On devices that share the host's memory a location is an address, and `numpy.asarray(memory)` is a view of the bytes
that keeps the memory alive. The bytes are a block of the pool, a part of one, or those of a numpy array:

    memory = PooledMemory(device, 4000, block, pool, 4096)
    view = memory.bytes()          # 4000 bytes; while `view` lives, memory.shared is true

On others a location is a `Place`, a `cl.Buffer` and an offset.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy

from ftiny.lowering.device import Device, Memory
from ftiny.lowering.memory import Pool

HOST_ALIGNMENT = 128


class HostMemory(Memory):
    """Host memory that kernels address directly. `numpy.asarray(memory)` is a view that keeps it alive."""

    __slots__ = ("view",)

    def __init__(self, device: Device, nbytes: int, location: int):
        self.device, self.nbytes, self.location, self.aliased = device, nbytes, location, False
        self.view: weakref.ref | None = None

    @property
    def __array_interface__(self) -> dict[str, Any]:
        data = (self.location, False)
        return {"data": data, "shape": (self.nbytes,), "typestr": "|u1", "version": 3}

    def bytes(self) -> numpy.ndarray:
        """The bytes as an array; while it lives, the memory counts as shared."""
        array = self.view() if self.view is not None else None
        if array is None:
            array = numpy.asarray(self)
            self.view = weakref.ref(array)
        return array

    @property
    def shared(self) -> bool:
        return self.aliased or (self.view is not None and self.view() is not None)


class PooledMemory(HostMemory):
    """A block of the pool."""

    __slots__ = ("block", "pool", "size")

    def __init__(self, device: Device, nbytes: int, block: HostBlock, pool: Pool, size: int):
        super().__init__(device, nbytes, block.address)
        self.block, self.pool, self.size = block, pool, size

    def __del__(self) -> None:
        pool = getattr(self, "pool", None)
        if pool is not None:
            self.block.last_use = self.device.submitted  # type: ignore[attr-defined]
            pool.give(self.block, self.size)


class HostPart(HostMemory):
    """A range of another memory, which it keeps alive."""

    __slots__ = ("whole",)

    def __init__(self, whole: HostMemory, nbytes: int, location: int):
        self.device, self.nbytes, self.location, self.aliased = whole.device, nbytes, location, False
        self.view, self.whole = None, whole


class WrappedMemory(HostMemory):
    """The bytes of a numpy array that nobody writes to, or nobody should: one that does not own them may be a view of
    what another library wrote and still has."""

    __slots__ = ("array",)

    def __init__(self, device: Device, array: numpy.ndarray):
        super().__init__(device, array.nbytes, array.__array_interface__["data"][0])
        self.array = array

    @property
    def shared(self) -> bool:
        return True

    def alias(self) -> Memory:
        return super().alias() if self.array.flags.owndata else self.device.copy(self)


class HostBlock:
    """What the pool of a host-memory device keeps: aligned bytes, and the last run that may have used them."""

    __slots__ = ("view", "address", "last_use")

    def __init__(self, nbytes: int):
        owner = numpy.empty(nbytes + HOST_ALIGNMENT, numpy.uint8)
        start = owner.ctypes.data
        self.address = -(-start // HOST_ALIGNMENT) * HOST_ALIGNMENT
        self.view = memoryview(owner)[self.address - start :]  # type: ignore[arg-type]
        self.last_use = 0


class Place(NamedTuple):
    """A location on a device without host pointers. Buffers are compared by identity: a driver may give a new one
    the handle of one that was released, and kernels must be given the new one then."""

    buffer: Any
    offset: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.buffer is other.buffer and self.offset == other.offset

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((id(self.buffer), self.offset))


class BufferMemory(Memory):
    """A `cl.Buffer` from the pool."""

    __slots__ = ("pool", "size")

    def __init__(self, device: Device, nbytes: int, buffer: Any, pool: Pool, size: int):
        super().__init__(device, nbytes, Place(buffer, 0))
        self.pool, self.size = pool, size

    def __del__(self) -> None:
        pool = getattr(self, "pool", None)
        if pool is not None:
            pool.give(self.location.buffer, self.size)
