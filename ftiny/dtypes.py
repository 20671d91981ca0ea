"""Dtypes: which exist, how they print, and what two of them promote to.

A dtype is always a `numpy.dtype` object; bfloat16 comes from `ml_dtypes`. float32 and int32 are the defaults, the
64-bit types work wherever they are asked for: there is no global flag.

Promotion joins two dtypes in a lattice (kinds bool < int < float < complex). Inside the integers it follows numpy;
an integer beside a float takes the float's type; float16 and bfloat16 meet in float32. A Python scalar is weaker than
any array: it adopts the array's dtype unless its own kind is higher.

    >>> str(promote(dtype("int64"), dtype("bfloat16")))
    'bfloat16'
    >>> str(result_type(dtype("int32"), 0.5))
    'float32'
"""
from __future__ import annotations

from functools import cache

import ml_dtypes
import numpy as np

from ftiny.errors import ArgumentError, DtypeError
from ftiny.source import located

bool_ = np.dtype(np.bool_)
int8, int16, int32, int64 = (np.dtype(f"int{bits}") for bits in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{bits}") for bits in (16, 32, 64))
bfloat16 = np.dtype(ml_dtypes.bfloat16)
complex64, complex128 = np.dtype("complex64"), np.dtype("complex128")


class extended(np.generic):  # noqa: N801
    """The category of the dtypes that numpy has not: those of typed keys."""


class prng_key(extended):  # noqa: N801
    """The category of the dtypes of typed keys: `issubdtype(key.dtype, prng_key)`."""


class KeyDtype:
    """The dtype of a typed key of the generator Threefry, as which it prints: `key<fry>`. No array has it."""

    name, type, itemsize = "key<fry>", prng_key, 8

    def __eq__(self, other) -> bool:
        return isinstance(other, KeyDtype)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
FLOATS = (bfloat16, float16, float32, float64)
COMPLEX = (complex64, complex128)
ALL = (bool_, *SIGNED, *UNSIGNED, *FLOATS, *COMPLEX)

_SHORT = {bool_: "bool", bfloat16: "bf16", complex64: "c64", complex128: "c128"}
_SHORT |= {d: f"i{8 * d.itemsize}" for d in SIGNED} | {d: f"u{8 * d.itemsize}" for d in UNSIGNED}
_SHORT |= {d: f"f{8 * d.itemsize}" for d in (float16, float32, float64)}
_KIND_RANK = {"bool": 0, "int": 1, "float": 2, "complex": 3}
_PYTHON_DEFAULT = {"bool": bool_, "int": int32, "float": float32, "complex": complex64}


def dtype(x) -> np.dtype:
    """The `numpy.dtype` that `x` names (a dtype, a type, a string or a Python scalar type).

    Python's `int`, `float` and `complex` mean ftiny's defaults int32, float32 and complex64.
    Raises `DtypeError` for anything that ftiny has no arrays of (strings, objects, longdouble).
    """
    if isinstance(x, np.dtype) and x in _SHORT:
        return x
    if x in (bool, int, float, complex):
        return _PYTHON_DEFAULT[x.__name__]
    try:
        found = bfloat16 if x == "bfloat16" else np.dtype(x)
    except TypeError:
        if isinstance(x, KeyDtype):
            way_out = "random.key(seed) makes a typed key, random.key_data(key) reads it as uint32"
            raise DtypeError(located(f"there are no arrays of dtype {x}; {way_out}")) from None
        raise DtypeError(located(f"{x!r} is not a dtype; use for example 'float32' or ftiny.numpy.bfloat16")) from None
    if found not in _SHORT:
        names = ", ".join(str(d) for d in ALL)
        raise DtypeError(located(f"ftiny has no arrays of dtype {found}; it has {names}"))
    return found.newbyteorder("=")


def short_name(d: np.dtype) -> str:
    """`f32` for float32, `bf16` for bfloat16: the names that programs print with."""
    return _SHORT[d]


def kind(d: np.dtype) -> str:
    """'bool', 'int', 'float' or 'complex'; signed and unsigned integers are both 'int'."""
    if d == bfloat16:
        return "float"
    return {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}[d.kind]


def is_float(d: np.dtype) -> bool:
    """True for the real floating dtypes, bfloat16 included."""
    return kind(d) == "float"


def is_inexact(d: np.dtype) -> bool:
    """True for real and complex floating dtypes: what can carry a derivative."""
    return kind(d) in ("float", "complex")


def is_integer(d: np.dtype) -> bool:
    """True for signed and unsigned integers (not for bool)."""
    return kind(d) == "int"


def is_unsigned(d: np.dtype) -> bool:
    """True for the unsigned integer dtypes."""
    return d in UNSIGNED


def real_dtype(d: np.dtype) -> np.dtype:
    """The dtype of the real part: float32 for complex64, `d` itself for real dtypes."""
    return {complex64: float32, complex128: float64}.get(d, d)


def complex_dtype(d: np.dtype) -> np.dtype:
    """The complex dtype that holds `d`: complex128 for 64-bit floats, else complex64."""
    return complex128 if d in (float64, complex128) else complex64


def accumulation_dtype(d: np.dtype) -> np.dtype:
    """What sums and products of `d` are accumulated in: float32 for the 16-bit floats, else `d`."""
    return float32 if d in (float16, bfloat16) else d


@cache
def promote(a: np.dtype, b: np.dtype) -> np.dtype:
    """The dtype of an operation on an array of dtype `a` and one of dtype `b`."""
    if a == b:
        return a
    low, high = sorted((a, b), key=lambda d: _KIND_RANK[kind(d)])
    if kind(low) == "bool":
        return high
    if kind(low) != kind(high):
        if kind(high) == "complex" and low == float64:
            return complex128
        return high
    if kind(a) == "int":
        if {a, b} <= set(SIGNED) or {a, b} <= set(UNSIGNED):
            return max(a, b, key=lambda d: d.itemsize)
        unsigned, signed = (a, b) if is_unsigned(a) else (b, a)
        if signed.itemsize > unsigned.itemsize:
            return signed
        # No signed type holds every uint64, so that pair leaves the integers, as in JAX.
        return SIGNED[UNSIGNED.index(unsigned) + 1] if unsigned != uint64 else float32
    if {a, b} == {float16, bfloat16}:
        return float32
    return max(a, b, key=lambda d: d.itemsize)


def scalar_kind(value) -> str:
    """The kind of a Python scalar: 'bool', 'int', 'float' or 'complex'."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "complex"


def default_dtype(kind_name: str) -> np.dtype:
    """The dtype that a Python scalar of this kind takes on its own."""
    return _PYTHON_DEFAULT[kind_name]


def check_fits(value, d: np.dtype) -> None:
    """Raise `ArgumentError` when `value` is a Python integer that the integer dtype `d` cannot hold."""
    if isinstance(value, int) and is_integer(d) and not np.iinfo(d).min <= value <= np.iinfo(d).max:
        way_out = f"ask for a wider dtype, for example numpy.int64({value})"
        raise ArgumentError(located(f"the integer {value} does not fit into {d}; {way_out}"))


def adopt(array_dtype: np.dtype, scalar_kind_name: str) -> np.dtype:
    """The dtype of an operation between an array and a Python scalar of the given kind.

    The scalar adopts the array's dtype unless its kind is higher, when the result takes the default dtype of the
    scalar's kind (complex128 beside float64, so that no precision is lost).
    """
    if _KIND_RANK[scalar_kind_name] <= _KIND_RANK[kind(array_dtype)]:
        return array_dtype
    if scalar_kind_name == "complex":
        return complex_dtype(array_dtype)
    return _PYTHON_DEFAULT[scalar_kind_name]


def result_type(*operands) -> np.dtype:
    """The promoted dtype of arrays, avals, dtypes and Python scalars, in any mixture."""
    strong: np.dtype | None = None
    weak = "bool"
    seen_weak = False
    for operand in operands:
        if isinstance(operand, (bool, int, float, complex)) and not isinstance(operand, np.generic):
            name = scalar_kind(operand)
        else:
            aval = getattr(operand, "aval", operand)
            found = aval if isinstance(aval, np.dtype) else dtype(getattr(aval, "dtype", aval))
            if not getattr(aval, "scalar", False):
                strong = found if strong is None else promote(strong, found)
                continue
            name = kind(found)
        seen_weak = True
        weak = max(weak, name, key=_KIND_RANK.__getitem__)
    if strong is None:
        return _PYTHON_DEFAULT[weak]
    return adopt(strong, weak) if seen_weak else strong
