"""`Array`: a concrete array, on the host, on a device, or both; moved only when somebody needs it elsewhere.

Input: anything numpy understands. Output: an immutable array that all of ftiny takes and gives:

    >>> x = Array.from_numpy(numpy.float32([1, 2]))
    >>> x
    Array([1., 2.], dtype=float32)
    >>> numpy.asarray(x * 2)
    array([2., 4.], dtype=float32)

An array knows its `aval` and holds device memory, a read-only numpy array, or both. `device_put` binds it to a device;
other arrays go where the computation runs. The operators, methods and indexing are added by `ftiny.numpy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, dtypes
from ftiny.core import ArrayLike, Aval
from ftiny.errors import ArgumentError, TracerError
from ftiny.source import located

if TYPE_CHECKING:
    from ftiny.lowering.device import Device, Memory

_avals: dict[Aval, Aval] = {}


def interned(aval: Aval) -> Aval:
    """The one aval object equal to `aval`: comparing the avals of a call is comparing pointers."""
    return _avals.setdefault(aval, aval)


class _OrTraced(type):
    """The type of `Array`: traced values and typed keys are instances too, as annotations need it."""

    def __instancecheck__(cls, x) -> bool:
        return isinstance(x, (core.Tracer, core.TypedKey)) or super().__instancecheck__(x)


class Array(ArrayLike, metaclass=_OrTraced):
    """An immutable array of one dtype. Made by `ftiny.numpy.array` and by every operation on arrays.

    `isinstance(x, Array)` is true of typed keys and of the traced values inside a transformed function too, as in jax.
    """

    __slots__ = ("aval", "_memory", "_host", "_device", "__weakref__")

    def __init__(
        self, aval: Aval, memory: Memory | None = None, host: np.ndarray | None = None, device: Device | None = None
    ):
        # Internal: users call ftiny.numpy.array. `device` is the device that the array is bound to, if any.
        self.aval, self._memory, self._host, self._device = aval, memory, host, device

    @classmethod
    def from_numpy(cls, value: np.ndarray, copy: bool = True) -> Array:
        """An array with the elements of a numpy array; `copy=False` only for memory that nobody writes to again."""
        host = np.array(value) if copy else np.asarray(value)
        dtype = dtypes.dtype(host.dtype)
        return _from_host(host if host.dtype == dtype else host.astype(dtype))

    # ---- where it is ----

    @property
    def device(self) -> Device:
        """The device that holds the array, or that it would be moved to now."""
        from ftiny.lowering.device import default_device

        if self._device is not None:
            return self._device
        return self._memory.device if self._memory is not None else default_device()

    def to_device(self, device: Device | str, /, *, stream: Any = None) -> Array:
        """The array bound to a device (one of `ftiny.devices()` or its name); see `device_put`.

        Raises `DeviceError` when there is no such device, and `ArgumentError` for a `stream`: ftiny has its own.
        """
        if stream is not None:
            raise ArgumentError(located("to_device: ftiny orders its work itself and takes no stream; leave it out"))
        return device_put(self, device)

    def host(self) -> np.ndarray:
        """The elements as a read-only numpy array; a view where the device shares the host's memory."""
        host = self._host
        if host is None:
            memory = self._memory
            if memory is None:
                _raise_deleted(self)
            host = self._host = memory.device.to_host(memory, self.aval)
        return host

    def memory_on(self, device: Device) -> Memory:
        """Memory of `device` with the elements; moves the array there if it is elsewhere."""
        memory = self._memory
        if memory is None or memory.device is not device:
            memory = self._memory = device.from_host(self.host(), copy=False)
        return memory

    def is_deleted(self) -> bool:
        """Whether the array was donated to a computation that has reused its memory."""
        return self._memory is None and self._host is None

    def delete(self) -> None:
        """Give the memory back at once; the array can not be used any more."""
        self._memory = self._host = None

    def block_until_ready(self) -> Array:
        """Wait until the elements have been computed. Returns the array."""
        if self._memory is not None:
            self._memory.device.synchronize()
        elif self._host is None:
            _raise_deleted(self)
        return self

    # ---- numpy and Python ----

    def __array__(self, dtype=None, copy: bool | None = None) -> np.ndarray:
        host = self.host()
        if dtype is not None and host.dtype != dtype:
            if copy is False:
                raise ArgumentError(located(f"numpy asked for {dtype} without a copy, but the array is {host.dtype}"))
            return host.astype(dtype)
        return host.copy() if copy else host

    def item(self, *index):
        """One element as a Python number; without an index the array must have exactly one."""
        return self.host().item(*index)

    def tolist(self):
        """The elements as nested lists of Python numbers."""
        return self.host().tolist()

    def tobytes(self) -> bytes:
        """The bytes of the elements in C order."""
        return self.host().tobytes()

    def _number(self, convert):
        if self.aval.size != 1 or self.aval.ndim > 0 and convert is not bool:
            raise TracerError(
                located(
                    f"{convert.__name__}() needs an array of shape (), but this one has shape {self.shape}; "
                    "take one element, or use .item()"
                )
            )
        return convert(self.host().item())

    def __bool__(self) -> bool:
        if self.aval.size != 1:
            raise ArgumentError(
                located(f"the truth of an array of shape {self.shape} is not defined; use .any() or .all()")
            )
        return bool(self.host().item())

    def __int__(self) -> int:
        return self._number(int)

    def __float__(self) -> float:
        return self._number(float)

    def __complex__(self) -> complex:
        return self._number(complex)

    def __index__(self) -> int:
        if not dtypes.is_integer(self.aval.dtype):
            raise TracerError(located(f"only an integer array can be an index, not one of {self.aval.dtype}"))
        return self._number(int)

    def __round__(self, digits: int | None = None):
        return round(self._number(float), digits)

    def __len__(self) -> int:
        if not self.aval.shape:
            raise TracerError(located("len() of an array of shape (), which has no axis"))
        return self.aval.shape[0]

    def __iter__(self):
        len(self)
        row = interned(self.aval.update(shape=self.aval.shape[1:]))
        host = self.host()
        return (Array(row, host=host[i, ...]) for i in range(len(host)))  # `...`: an element is a 0-d array, no scalar

    __hash__ = None  # type: ignore[assignment]  # `==` is elementwise

    def __repr__(self) -> str:
        if self.is_deleted():
            return f"Array(deleted, shape={self.shape}, dtype={self.dtype})"
        if not self.size:
            return f"Array([], shape={self.shape}, dtype={self.dtype})"
        text = np.array2string(self.host(), prefix="Array(", separator=", ", suffix=f", dtype={self.dtype})")
        return f"Array({text}, dtype={self.dtype})"

    def __str__(self) -> str:
        return "Array(deleted)" if self.is_deleted() else str(self.host())

    def __format__(self, specification: str) -> str:
        return format(self.item() if self.aval.ndim == 0 else self.host(), specification)

    def __reduce__(self):
        return Array.from_numpy, (np.array(self.host()),)

    def __copy__(self) -> Array:
        return Array(self.aval, None, self.host(), self._device)

    def __deepcopy__(self, memo) -> Array:
        return _from_host(np.array(self.host()), self._device)

    # ---- DLPack and CUDA's array interface ----

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """The elements for another library, as a DLPack capsule: memory of the host, or of the CUDA device they are on.

        stream: the consumer's CUDA stream, which may read them; -1: it waits itself.
        max_version: from (1, 0) on a capsule can say that the memory is read-only; others get a copy of host memory.
        dl_device: the DLPack type and number of the device wanted: that of `__dlpack_device__`, or (1, 0), the host.
        copy: True for memory of its own, False for a `BufferError` where the memory cannot be shared.
        """
        from ftiny import dlpack

        return dlpack.capsule(self, stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's type and number of the device: (2, n) for the CUDA device n, otherwise the host, (1, 0)."""
        from ftiny import dlpack

        return dlpack.device_of(self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Address, shape and type of an array on a CUDA device, version 3; there is none for bfloat16."""
        from ftiny import dlpack

        return dlpack.cuda_interface(self)


def _read_only(host: np.ndarray) -> np.ndarray:
    host.flags.writeable = False
    return host


def _from_host(host: np.ndarray, device: Device | None = None) -> Array:
    """An array of a numpy array that nobody writes to again."""
    return Array(interned(Aval(host.shape, host.dtype)), host=_read_only(host), device=device)


def _raise_deleted(array: Array) -> NoReturn:
    raise ArgumentError(
        located(
            f"this array ({array.aval}) was deleted: it was donated to a jitted function (donate_argnums), which has "
            "reused its memory. Use the function's result instead, or do not donate the argument"
        )
    )


def from_dlpack(x: Any, /, *, device: Device | str | None = None, copy: bool | None = None) -> Array:
    """An array of any object with `__dlpack__` and `__dlpack_device__`: of torch, numpy, cupy, jax, ...

    x: an array on the host or on a CUDA device, of a dtype that ftiny has, bool and bfloat16 included.
    device: where the array is wanted (a name such as 'cuda:0'; default: where it is).
    copy: True for memory of its own, False for an error where a copy would be needed; by default the memory is shared
        if it can be. Who shares must not write to it any more. A CUDA array with gaps between its elements is copied.

    Raises `ArgumentError` when the object is no such array, is on another kind of device, or cannot be taken without
    a copy, and `TracerError` for a traced value.
    """
    from ftiny import dlpack

    return dlpack.from_dlpack(x, device, copy)


def device_put(value: Any, device: Device | str | None = None):
    """A pytree of arrays bound to a device (a name such as 'cuda' or 'opencl:0'; default: the current one).

    Computations run where their bound arrays are. Raises `DeviceError` when there is no such device.
    """
    from ftiny.lowering.device import default_device, get_device

    target = default_device() if device is None else get_device(device)

    def put(x):
        if isinstance(x, core.Tracer):
            return x
        array = as_array(x)
        if array._device is target:
            return array
        # Memory of its own: the other array may be donated.
        memory = array._memory
        on_target = memory is not None and memory.device is target
        return Array(array.aval, target.copy(memory) if on_target else target.from_host(array.host()), None, target)

    return tree.map(put, value)


def copied(x):
    """An array with the elements of `x` in memory of its own, on the device that `x` is bound to.

    It stays when `x` is donated or deleted. A traced value has no memory and is returned as it is.
    """
    if type(x) is not Array:
        return x.copy() if isinstance(x, core.TypedKey) else x
    memory = x._memory
    if memory is None:
        return Array(x.aval, host=_read_only(np.array(x.host())), device=x._device)
    return Array(x.aval, memory.device.copy(memory), device=x._device)


def device_get(value: Any):
    """A pytree of arrays as numpy arrays."""
    return tree.map(np.asarray, value)


def block_until_ready(value: Any):
    """Wait until every array of a pytree has been computed, and return the pytree."""
    for leaf in tree.leaves(value):
        if type(leaf) is Array:
            leaf.block_until_ready()
    return value


def as_array(x) -> Array:
    """An `Array` of a concrete value: an array, a numpy value or a Python number. A tracer here has leaked."""
    return x if type(x) is Array else Array.from_numpy(numpy_value(x))


def numpy_value(x) -> np.ndarray:
    """A numpy value or a Python number as a numpy array of the dtype that it has here. A tracer here has leaked."""
    if isinstance(x, core.Tracer):
        core._raise_leaked(x)
    dtype = aval_of_number(x).dtype
    if type(x) is np.ndarray and x.dtype is dtype:
        return x
    dtypes.check_fits(x, dtype)
    return np.asarray(x, dtype)


_number_avals: dict[Any, Aval] = {}


def aval_of_number(x) -> Aval:
    """The aval of a numpy array or a Python number; raises `TypeError` for everything else, tracers too."""
    kind = type(x)
    known: Any
    if kind is np.ndarray:
        known = (x.shape, x.dtype)
    elif kind in (bool, int, float, complex) or issubclass(kind, np.generic):
        known = kind
    elif issubclass(kind, core.Tracer):
        raise TypeError
    else:
        return interned(core.get_aval(x))
    aval = _number_avals.get(known)
    if aval is None:
        aval = _number_avals[known] = interned(core.get_aval(x))
    return aval


def avals_of(leaves: Sequence) -> list[Aval]:
    """The avals of arrays, numpy arrays and Python numbers; raises `TypeError` for everything else, tracers too."""
    try:
        return [x._concrete_aval for x in leaves]
    except AttributeError:
        return [x.aval if type(x) is Array else aval_of_number(x) for x in leaves]


def arrays_of(avals: Sequence[Aval], memories: Sequence[Memory], device: Device | None) -> list[Array]:
    """Arrays that hold these memories, bound to a device or to none; for many, since it does without `__init__`."""
    arrays = []
    for aval, memory in zip(avals, memories):
        array = _new(Array)
        array.aval, array._memory, array._host, array._device = aval, memory, None, device
        arrays.append(array)
    return arrays


_new = object.__new__
# A second name for the slot, which tracers do not have: reading it tells an array from everything else.
Array._concrete_aval = Array.__dict__["aval"]  # type: ignore[attr-defined]


class ShapeDtypeStruct:
    """The shape and dtype of an array that does not exist: what `eval_shape` gives and `make_jaxpr` takes."""

    __slots__ = ("aval",)

    def __new__(cls, shape=(), dtype=None):
        if isinstance(dtype, dtypes.KeyDtype):
            from ftiny.key_arrays import KeyShape

            return super().__new__(KeyShape)
        return super().__new__(cls)

    def __init__(self, shape, dtype):
        self.aval = Aval(tuple(shape), dtypes.dtype(dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        """The element type."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.aval.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.aval.size

    def __eq__(self, other) -> bool:
        return isinstance(other, ShapeDtypeStruct) and self.aval == other.aval

    def __hash__(self) -> int:
        return hash(self.aval)

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype})"
