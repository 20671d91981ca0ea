"""`ftiny.lax`, the less common functions round a program: barriers, choices by device, random bits.

Input: arrays, or functions of arrays. Output: arrays:

    >>> platform_dependent(ftiny.numpy.ones(2), cpu=lambda x: x, default=lambda x: -x)     # on a CPU
    Array([1., 1.], dtype=float32)
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable

import numpy as np

from ftiny import array_tree as tree
from ftiny import dtypes, primitives, random
from ftiny import numpy as fnp
from ftiny.array import ShapeDtypeStruct
from ftiny.effects import io_callback
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.execute import placement
from ftiny.numpy.common import canonical_shape, check_array, dtype_of, scalar_literal, shape_of
from ftiny.source import located
from ftiny.transforms.call import barrier_p
from ftiny.transforms.common import check_leaves


def optimization_barrier(operand, /):
    """`operand`, a pytree of arrays, which the compiler computes as a whole before what uses it.

    Nothing is merged or fused across it. It has no effect outside compiled functions.
    """
    check_leaves("optimization_barrier", (operand,))
    leaves, structure = tree.flatten(operand)
    return tree.unflatten(structure, barrier_p.bind(*leaves)) if leaves else operand


def platform_dependent(*args, default: Callable | None = None, **per_platform: Callable):
    """`function(*args)` of the function that is given for the device: by its kind, or as `cpu` or `gpu`, or `default`.

    The kinds are `numpy`, `opencl` and `cuda`; `cpu` is a device that shares the memory of the host. The choice is made
    when the program is traced, for the device of the arguments or the current one.

    Raises `ArgumentError` when no function is for this device.
    """
    device = placement(tree.leaves(args))
    names = (device.kind, "cpu" if device.capabilities.host_memory else "gpu")
    for name in names:
        if name in per_platform:
            return per_platform[name](*args)
    if default is None:
        raise ArgumentError(
            located(
                f"platform_dependent: no function is for a device of kind {device.kind!r}, only for "
                f"{sorted(per_platform)}; give {names[0]}=, {names[1]}= or default="
            )
        )
    return default(*args)


class RandomAlgorithm(enum.Enum):
    """How `rng_bit_generator` makes its bits; here always by threefry."""

    RNG_DEFAULT = 0
    RNG_THREE_FRY = 1
    RNG_PHILOX = 2


def rng_bit_generator(key, shape, dtype=dtypes.uint32, algorithm: RandomAlgorithm = RandomAlgorithm.RNG_DEFAULT):
    """(the next key, random bits of `shape` and of an unsigned integer `dtype`); `ftiny.random` is friendlier.

    key: four uint32, of which the first two are the key of the generator and the others count its calls. The bits
    depend on the implementation: they are those of `ftiny.random.bits`.
    """
    check_array("rng_bit_generator", key)
    if shape_of(key) != (4,) or dtype_of(key) != dtypes.uint32:
        raise ShapeError(
            located(f"rng_bit_generator: the key must be four uint32, not {dtype_of(key)} of shape {shape_of(key)}")
        )
    first, second, low, high = fnp.unstack(key)
    bits = random.bits(fnp.stack(primitives.threefry2x32(first, second, low, high)), shape, dtype)
    low = fnp.add(low, scalar_literal(1, dtypes.uint32))
    high = fnp.add(high, fnp.astype(fnp.equal(low, 0), dtypes.uint32))
    return fnp.stack([first, second, low, high]), bits


_DRAWN = (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.uint32, dtypes.uint64)
# Its state is the only one that random numbers have here; numpy seeds it from the operating system.
_generator = np.random.default_rng()


def _draw(a: np.ndarray, b: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    if a.dtype.kind in "iu":
        return _generator.integers(a, b, shape, a.dtype)
    drawn = np.asarray(a + (b - a) * _generator.random(shape)).astype(a.dtype)
    # Rounding may give the upper end, which does not belong to the interval.
    return np.minimum(drawn, np.nextafter(b, a))


def rng_uniform(a, b, shape):
    """Random numbers of `shape` between the scalars a and b of one dtype, b excluded: others at every call.

    They come from a generator with a state, on the host, and cannot be repeated: use `ftiny.random.uniform`, which is
    given a key, unless that is what you want. Raises `DtypeError` for two dtypes, `ShapeError` where a or b is no
    scalar.
    """
    check_array("rng_uniform", a, b)
    a, b = fnp.asarray(a), fnp.asarray(b)
    if a.dtype != b.dtype or a.dtype not in _DRAWN:
        raise DtypeError(located(
            f"rng_uniform: the bounds must have one dtype, a float or an integer of 32 or 64 bits, not {a.dtype} and "
            f"{b.dtype}; convert them with .astype"))
    if a.shape or b.shape:
        raise ShapeError(located(f"rng_uniform: the bounds must be scalars, not of shapes {a.shape} and {b.shape}"))
    shape = canonical_shape(shape, "rng_uniform")
    return io_callback(functools.partial(_draw, shape=shape), ShapeDtypeStruct(shape, a.dtype), a, b)
