"""Arrays of other libraries without a copy: DLPack, and CUDA's array interface.

Input: an array of torch, cupy, jax, numpy, ..., on the host or a CUDA device. Output: an `Array` of the same memory;
or, from an `Array`, the capsule that those libraries take:

    >>> from_dlpack(torch.ones(2, dtype=torch.bfloat16))
    Array([1, 1], dtype=bfloat16)

A DLPack capsule holds the address of a C struct (https://dmlc.github.io/dlpack/latest/c_api.html):

    DLManagedTensor            data, device type and number, ndim, dtype code and bits, shape, strides, ...; owner
    DLManagedTensorVersioned   version, owner, flags (1: read-only); then data, device, ... as above

numpy makes and reads capsules of host memory, and looks after the lifetime of their owner; it knows neither bfloat16
nor CUDA. So numpy is given what it knows, unsigned integers on the host, and the fields that say dtype and device are
written over in the capsule. numpy never follows the address, so that it may be one on a device.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ftiny import core, dtypes
from ftiny.array import Array, _from_host, interned
from ftiny.core import Aval
from ftiny.errors import ArgumentError, FtinyError
from ftiny.lowering.device import Device, Memory, get_device
from ftiny.source import located

# Of DLPack's DLDeviceType: host, CUDA, page-locked host, CUDA managed by the driver (seen by host and device).
CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
UNSIGNED_CODE, BFLOAT_CODE = 1, 4  # of its DLDataTypeCode
VERSION = (1, 0)  # the version of the protocol whose capsules can say that memory is read-only


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_number", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned; an unversioned one begins with the tensor itself."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_name_of = ctypes.pythonapi.PyCapsule_GetName
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def tensor_in(capsule) -> _Tensor:
    """The description of the array in an unused capsule, as ctypes sees the memory."""
    name = _name_of(capsule)
    address = _pointer_of(capsule, name)
    assert address is not None
    if name == b"dltensor_versioned":
        return _Versioned.from_address(address).tensor
    if name == b"dltensor":
        return _Tensor.from_address(address)
    raise ArgumentError(located(f"from_dlpack: a capsule called {name!r} is none of DLPack's, or was used before"))


class SharedMemory(Memory):
    """Memory that another library sees too, never written in place; `owner` keeps it alive."""

    __slots__ = ("owner",)

    def __init__(self, device: Device, nbytes: int, location: Any, owner: Any):
        super().__init__(device, nbytes, location)
        self.owner = owner

    @property
    def shared(self) -> bool:
        return True

    def alias(self) -> Memory:
        return self.device.copy(self)

    def __del__(self) -> None:
        # Whoever gets the memory back next has a stream of its own, which does not wait for the users before.
        if hasattr(self, "owner") and not self.device._closed:  # type: ignore[attr-defined]
            wait_for_all_streams(self.device)


def wait_for_all_streams(device: Device) -> None:
    """Wait for what any library has started on a CUDA device."""
    with device.active():  # type: ignore[attr-defined]
        device.driver.Context.synchronize()  # type: ignore[attr-defined]


# ---- giving ----------------------------------------------------------------------------------------------------


def on_cuda(array: Array) -> bool:
    """Whether the elements lie on a CUDA device."""
    memory = array._memory
    return memory is not None and memory.device.kind == "cuda"


def device_of(array: Array) -> tuple[int, int]:
    """DLPack's type and number of the device that an array is handed over on."""
    return (CUDA, array._memory.device.index) if on_cuda(array) else (CPU, 0)  # type: ignore[union-attr]


def capsule(array: Array, stream, max_version, dl_device, copy: bool | None):
    """The capsule that `Array.__dlpack__` gives; see there."""
    own = device_of(array)
    wanted = own if dl_device is None else (int(dl_device[0]), int(dl_device[1]))
    versioned = max_version is not None and tuple(max_version) >= VERSION
    if wanted != own and (wanted != (CPU, 0) or copy is False):
        way_out = "leave out copy=False" if wanted == (CPU, 0) else "use ftiny.device_put, or copy it there yourself"
        raise BufferError(located(f"DLPack: the array is on the DLPack device {own}, not on {wanted}; {way_out}"))
    if wanted[0] == CPU:
        if stream is not None:
            raise ArgumentError(located(f"DLPack: an array in host memory has no stream, but stream is {stream!r}"))
        # The old protocol can not say that memory is read-only, so its consumers get their own.
        if copy is False and not versioned:
            way_out = "ask with max_version=(1, 0), or leave out copy=False"
            raise BufferError(located(f"DLPack: the array is read-only, which takes version 1 or a copy; {way_out}"))
        host = array.host()
        return _capsule_of(host.copy() if copy or not versioned else host, array.dtype, (CPU, 0), versioned)
    return _cuda_capsule(array, stream, versioned, copy)


def _capsule_of(host: np.ndarray, dtype: np.dtype, own: tuple[int, int], versioned: bool):
    """numpy's capsule of an array, with the dtype and device that it really has."""
    known = host.view(np.uint16) if dtype == dtypes.bfloat16 else host
    result = known.__dlpack__(max_version=VERSION) if versioned else known.__dlpack__()
    tensor = tensor_in(result)
    tensor.device_type, tensor.device_number = own
    if dtype == dtypes.bfloat16:
        tensor.code = BFLOAT_CODE
    return result


def _cuda_capsule(array: Array, stream, versioned: bool, copy: bool | None):
    """The capsule of an array on a CUDA device, ready for the consumer's stream."""
    if stream == 0:
        raise ArgumentError(located("DLPack: stream=0 is ambiguous: 1 is CUDA's default stream, 2 that of the thread"))
    memory = lend(array)
    if copy:
        device = memory.device
        memory = SharedMemory(device, memory.nbytes, (own := device.copy(memory)).location, own)
    if stream != -1:
        memory.device.synchronize()
    # The old protocol can not say that memory is read-only; on a device that is left to the consumer, as jax does.
    view = _unread_view(memory, array.aval, writable=bool(copy) or not versioned)
    return _capsule_of(view, array.dtype, (CUDA, memory.device.index), versioned)


def lend(array: Array) -> SharedMemory:
    """The CUDA memory of an array, from now on marked as shared."""
    memory = array._memory
    assert memory is not None
    if not isinstance(memory, SharedMemory):
        memory = array._memory = SharedMemory(memory.device, memory.nbytes, memory.location, memory)
    return memory


class _Address:
    """Something at an address, as numpy wants it described; `owner` lives as long as the arrays made of it."""

    def __init__(self, memory: Memory, aval: Aval, writable: bool):
        self.owner = memory
        typestr = "<u2" if aval.dtype == dtypes.bfloat16 else aval.dtype.str
        data = (int(memory.location), not writable)
        self.__array_interface__ = {"data": data, "shape": aval.shape, "typestr": typestr, "version": 3}


def _unread_view(memory: Memory, aval: Aval, writable: bool) -> np.ndarray:
    """A numpy array at an address of a device: good for its capsule only, its elements must not be looked at."""
    view = np.asarray(_Address(memory, aval, writable))
    return view.view(dtypes.bfloat16) if aval.dtype == dtypes.bfloat16 else view


def cuda_interface(array: Array) -> dict[str, Any]:
    """What `__cuda_array_interface__` gives, version 3; AttributeError where there is no such thing."""
    if not on_cuda(array) or array.dtype == dtypes.bfloat16:
        raise AttributeError("only an array on a CUDA device has a __cuda_array_interface__, and not one of bfloat16")
    memory = lend(array)
    # Waiting here spares the consumer all of it (stream None). torch refuses memory that is marked as read-only, so
    # that it is not, as in jax.
    memory.device.synchronize()
    return {
        "shape": array.shape,
        "typestr": array.dtype.str,
        "data": (int(memory.location) if array.size else 0, False),
        "strides": None,
        "version": 3,
        "stream": None,
    }


# ---- taking ----------------------------------------------------------------------------------------------------


class _Given:
    """A capsule, as an object that numpy takes an array from."""

    def __init__(self, held):
        self.held = held

    def __dlpack__(self, **unused):
        return self.held

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


def from_dlpack(value: Any, device: Device | str | None = None, copy: bool | None = None) -> Array:
    """See `ftiny.from_dlpack`, of which this is the working."""
    if isinstance(value, core.Tracer):
        value._concrete("from_dlpack", "Call it outside, and give the array to the transformed function")
    if not hasattr(value, "__dlpack__") or not hasattr(value, "__dlpack_device__"):
        way_out = "it takes arrays with __dlpack__ and __dlpack_device__; use ftiny.numpy.asarray for others"
        raise ArgumentError(located(f"from_dlpack: a {type(value).__name__} is given, but {way_out}"))
    try:
        kind, number = map(int, value.__dlpack_device__())
        if kind in (CPU, CUDA_HOST):
            array = _from_host_capsule(value, copy)
        elif kind in (CUDA, CUDA_MANAGED):
            array = _from_cuda_capsule(value, get_device(f"cuda:{number}"), copy)
        else:
            place = f"on DLPack device {(kind, number)}"
            raise ArgumentError(located(f"from_dlpack takes arrays in host or CUDA memory, not one {place}"))
    except FtinyError:
        raise
    except (RuntimeError, BufferError, TypeError, ValueError) as problem:
        way_out = "convert it with the other library, or take numpy.asarray(x)"
        raise ArgumentError(located(f"from_dlpack: {type(value).__name__}: {problem}; {way_out}")) from problem
    return array if device is None else _placed(array, get_device(device), copy)


def _placed(array: Array, target: Device, copy: bool | None) -> Array:
    """The array on a device."""
    from ftiny.array import device_put

    here = array._memory.device if array._memory is not None else None
    if here is target:
        return Array(array.aval, array._memory, None, target)
    if here is None and target.capabilities.host_memory:
        return Array(array.aval, None, array.host(), target)
    if copy is False:
        raise ArgumentError(located(f"from_dlpack: this takes a copy to {target.name}; leave out copy=False"))
    return device_put(array, target)


def _exported(value, copy: bool | None, **options):
    """The capsule of another library's array: of the new protocol, or of the old one if it only has that."""
    wanted = {"copy": False} if copy is False else {}  # a copy is made here, where it is known whether there was one
    try:
        return value.__dlpack__(max_version=VERSION, **wanted, **options)
    except TypeError:  # no such argument: a library from before version 1 of the protocol, which never copies
        return value.__dlpack__(**options)


def _host_view(held, dtype: np.dtype | None = None) -> np.ndarray:
    """numpy's array of a capsule, whose fields stand in the capsule as they were when this returns."""
    tensor = tensor_in(held)
    before = tensor.device_type, tensor.device_number, tensor.code
    is_bfloat = tensor.code == BFLOAT_CODE and tensor.bits == 16
    tensor.device_type, tensor.device_number = CPU, 0
    if is_bfloat:
        tensor.code = UNSIGNED_CODE
    try:
        array = np.from_dlpack(_Given(held))
    finally:
        tensor.device_type, tensor.device_number, tensor.code = before
    return array.view(dtypes.bfloat16) if is_bfloat else array


def _from_host_capsule(value, copy: bool | None) -> Array:
    return Array.from_numpy(_host_view(_exported(value, copy)).view(), copy=bool(copy))


def _from_cuda_capsule(value, device: Device, copy: bool | None) -> Array:
    # Our stream waits for the work on the producer's.
    stream = int(device.stream.handle)  # type: ignore[attr-defined]
    view = _host_view(_exported(value, copy, stream=stream))
    return _from_cuda_address(view.ctypes.data, view, view.shape, dtypes.dtype(view.dtype), view.strides, device, copy)


def from_cuda_interface(value: Any) -> Array:
    """An array of an object with `__cuda_array_interface__` (of cupy, numba, ...), without a copy if it is dense."""
    interface = value.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise ArgumentError(located("asarray: a masked CUDA array cannot be taken; fill in its gaps first"))
    shape = tuple(map(int, interface["shape"]))
    address = int(interface["data"][0])
    # ml_dtypes' bfloat16 calls itself two bytes of no known type.
    dtype = dtypes.bfloat16 if interface["typestr"] == "<V2" else dtypes.dtype(interface["typestr"])
    if not address:
        return _from_host(np.zeros(shape, dtype))
    device = _device_of_address(address)
    wait_for_all_streams(device)
    return _from_cuda_address(address, value, shape, dtype, interface.get("strides"), device, copy=None)


def _device_of_address(address: int) -> Device:
    """The CUDA device that an address belongs to."""
    first: Any = get_device("cuda")
    with first.active():
        attribute = first.cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return get_device(f"cuda:{int(first.call('cuPointerGetAttribute', attribute, address))}")


def _from_cuda_address(address: int, owner, shape, dtype: np.dtype, strides, device: Any, copy: bool | None) -> Array:
    """An array of what lies at an address of a device; `strides` in bytes, or None for C order."""
    aval = interned(Aval(tuple(shape), dtype))
    if aval.size == 0:
        return _from_host(np.zeros(shape, dtype))
    if strides is not None and not _dense(shape, strides, dtype.itemsize):
        if copy is False:
            gaps = "the array has gaps between its elements, which takes a copy"
            raise ArgumentError(located(f"from_dlpack: {gaps}; leave out copy=False"))
        return _gathered(address, aval, strides, device)
    memory: Memory = SharedMemory(device, aval.nbytes, address, owner)
    return Array(aval, device.copy(memory) if copy else memory)


def _dense(shape, strides, itemsize: int) -> bool:
    """Whether elements of these strides lie in C order without gaps."""
    for extent, stride in zip(reversed(shape), reversed(strides)):
        if extent > 1 and stride != itemsize:
            return False
        itemsize *= extent
    return True


def _gathered(address: int, aval: Aval, strides, device: Any) -> Array:
    """A strided CUDA array in memory of its own, by way of the host."""
    reach = [(extent - 1) * stride for extent, stride in zip(aval.shape, strides)]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach) + aval.dtype.itemsize
    with device.active():
        data = device.read(address + low, high - low)
    host = np.ndarray(aval.shape, aval.dtype, data, -low, strides)
    return Array(aval, device.from_host(host))
