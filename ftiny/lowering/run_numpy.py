"""The numpy device: the reference, the debugger, and what is left when no driver is present.

Input: a `Jaxpr`, where other devices take a `Plan`. Output: an `Executable` that interprets its equations one
after the other with each primitive's numpy rule. A memory is a numpy array.

    device = get_device("numpy")
    (y,) = device.load(jaxpr).run([device.from_host(x)])
    device.to_host(y, aval)            # the array itself
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ftiny.lowering import profile
from ftiny.lowering.device import Capabilities, Device, Executable, Memory, contiguous


class NumpyMemory(Memory):
    """An array; its location is the array too."""

    __slots__ = ()

    def __init__(self, device: Device, array: numpy.ndarray):
        super().__init__(device, array.nbytes, array)

    @property
    def shared(self) -> bool:
        return True

    def alias(self) -> Memory:
        # A view may be of what another library wrote and still has.
        return super().alias() if self.location.flags.owndata else self.device.copy(self)


class NumpyDevice(Device):
    """The interpreter as a device."""

    kind = "numpy"
    index = 0
    capabilities = Capabilities(dialect="numpy", arch=numpy.__version__)

    @property
    def description(self) -> str:
        return f"interpreter, numpy {numpy.__version__}"

    def allocate(self, nbytes: int) -> Memory:
        return NumpyMemory(self, numpy.empty(nbytes, numpy.uint8))

    def from_host(self, array: numpy.ndarray, copy: bool = True) -> Memory:
        return NumpyMemory(self, numpy.array(array, order="C") if copy else contiguous(array))

    def to_host(self, memory: Memory, aval: Any) -> numpy.ndarray:
        return as_array(memory, aval)

    def copy(self, memory: Memory) -> Memory:
        return NumpyMemory(self, memory.location.copy())

    def synchronize(self) -> None:
        """Nothing runs behind the caller's back."""

    def load(self, program: Any, sources: Mapping[int, Any] | None = None) -> Executable:
        return NumpyExecutable(self, program)


def as_array(memory: Memory, aval: Any) -> numpy.ndarray:
    """A read-only view of the memory with the aval's shape and dtype."""
    array = memory.location
    if (array.shape, array.dtype) != (aval.shape, aval.dtype):
        array = array.reshape(-1).view(numpy.uint8)[: aval.size * aval.dtype.itemsize]
        array = array.view(aval.dtype).reshape(aval.shape)
    array = array.view()
    array.flags.writeable = False
    return array


class NumpyExecutable(Executable):
    """A program to be interpreted."""

    def __init__(self, device: NumpyDevice, jaxpr: Any):
        self.device, self.jaxpr = device, jaxpr

    def run(self, arguments: Sequence[Memory], donated: Sequence[int] = ()) -> list[Memory]:
        from ftiny.lowering.interpret import interpret

        started = time.perf_counter()
        arrays = [
            as_array(memory, aval)
            for memory, aval in zip(arguments, self.jaxpr.in_avals, strict=True)
        ]
        outs = interpret(self.jaxpr, arrays)
        memories: list[Memory] = [NumpyMemory(self.device, numpy.asarray(out)) for out in outs]
        if profile.is_watched():
            count, seconds = len(self.jaxpr.eqns), time.perf_counter() - started
            profile.record("host", f"{count} equations interpreted", started, seconds, device=self.device)
            profile.log(2, f"run  {count} equations interpreted in {profile.format_seconds(seconds)}")
        return memories


def find_devices() -> list[NumpyDevice]:
    """The one interpreter; always present."""
    return [NumpyDevice()]
