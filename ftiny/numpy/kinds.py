"""Dtypes by name, which are also functions that make arrays, and questions about dtypes.

Input: dtypes, their names, or arrays. Output: answers, and from a dtype that is called, an array of it:

    >>> float32(3), issubdtype(bfloat16, floating)
    (Array(3., dtype=float32), True)

A name such as `float32` stands for the numpy dtype: it is equal to it, hashes like it, and is taken wherever a dtype is
asked for, by numpy too. The arrays' own `x.dtype` is the numpy dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ftiny import core, dtypes
from ftiny.errors import ArgumentError
from ftiny.numpy.common import PYTHON_SCALARS, is_array
from ftiny.numpy.creation import asarray
from ftiny.source import located

# ---- names -----------------------------------------------------------------------------------------------------


class ScalarType:
    """A dtype that can be called: `float32(x)` is `asarray(x, dtype=float32)`."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype

    def __call__(self, x):
        """`x` as an array of this dtype."""
        return asarray(x, self.dtype)

    def __eq__(self, other) -> bool:
        if isinstance(other, ScalarType):
            return self.dtype == other.dtype
        if other is None or isinstance(other, type) and other in (bool, int, float, complex):
            return False  # to numpy these are 64 bits wide, to ftiny the default dtypes
        return self.dtype == other

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __getattr__(self, name: str) -> Any:
        """What the dtype knows: `name`, `itemsize`, `kind`, `type`, ..."""
        return getattr(self.dtype, name)

    def __str__(self) -> str:
        return str(self.dtype)

    def __repr__(self) -> str:
        return f"ftiny.numpy.{self.dtype.name}"

    def __reduce__(self):
        return ScalarType, (self.dtype,)


bool_ = ScalarType(dtypes.bool_)
int8, int16, int32, int64 = (ScalarType(d) for d in dtypes.SIGNED)
uint8, uint16, uint32, uint64 = (ScalarType(d) for d in dtypes.UNSIGNED)
bfloat16, float16, float32, float64 = (ScalarType(d) for d in dtypes.FLOATS)
complex64, complex128 = (ScalarType(d) for d in dtypes.COMPLEX)

generic, number, character, flexible = np.generic, np.number, np.character, np.flexible
integer, signedinteger, unsignedinteger = np.integer, np.signedinteger, np.unsignedinteger
inexact, floating, complexfloating = np.inexact, np.floating, np.complexfloating

# ---- questions about dtypes ------------------------------------------------------------------------------------


def promote_types(a, b) -> np.dtype:
    """The dtype of an operation on an array of dtype `a` and one of dtype `b`; see `ftiny.dtypes`."""
    return dtypes.promote(dtypes.dtype(a), dtypes.dtype(b))


def _category(x) -> type:
    """A category, or the scalar type of a dtype; bfloat16, which numpy does not know, is its own."""
    if isinstance(x, type) and issubclass(x, np.generic):
        return x
    if isinstance(x, dtypes.KeyDtype):
        return x.type
    return dtypes.dtype(x).type


def issubdtype(arg1, arg2) -> bool:
    """Whether the dtype or category `arg1` is `arg2` or belongs to it: `issubdtype(x.dtype, floating)`.

    The categories are `generic`, `number`, `integer`, `signedinteger`, `unsignedinteger`, `inexact`, `floating` and
    `complexfloating`; bfloat16 is floating. The dtype of a typed key belongs to `ftiny.dtypes.prng_key` and `extended`.
    """
    found, wanted = _category(arg1), _category(arg2)
    if found is dtypes.bfloat16.type and wanted is not found:
        return issubclass(np.floating, wanted)
    return issubclass(found, wanted)


_KINDS = {
    "bool": (dtypes.bool_,),
    "signed integer": dtypes.SIGNED,
    "unsigned integer": dtypes.UNSIGNED,
    "integral": dtypes.SIGNED + dtypes.UNSIGNED,
    "real floating": dtypes.FLOATS,
    "complex floating": dtypes.COMPLEX,
    "numeric": dtypes.SIGNED + dtypes.UNSIGNED + dtypes.FLOATS + dtypes.COMPLEX,
}


def isdtype(dtype, kind) -> bool:
    """Whether a dtype is `kind`: a dtype, the name of a kind in the array API standard, or a tuple of those.

    The kinds are 'bool', 'signed integer', 'unsigned integer', 'integral', 'real floating', 'complex floating' and
    'numeric'. Raises `ArgumentError` for another string that names no dtype.
    """
    found = dtypes.dtype(dtype)
    for entry in kind if isinstance(kind, tuple) else (kind,):
        if isinstance(entry, str) and entry not in _KINDS and entry not in map(str, dtypes.ALL):
            listed = ", ".join(map(repr, _KINDS))
            raise ArgumentError(located(f"isdtype: {entry!r} is neither a dtype nor one of the kinds {listed}"))
        if found in (_KINDS[entry] if isinstance(entry, str) and entry in _KINDS else (dtypes.dtype(entry),)):
            return True
    return False


def can_cast(from_, to, casting: str = "safe") -> bool:
    """Whether arrays of one dtype can be converted to another, by the rule `casting` of numpy ('safe' loses nothing).

    `from_` is a dtype or an array.
    """
    have = from_.dtype if isinstance(from_, (core.ArrayLike, np.ndarray, np.generic)) else from_
    return bool(np.can_cast(dtypes.dtype(have), dtypes.dtype(to), casting))  # type: ignore[arg-type]


# ---- questions about values ------------------------------------------------------------------------------------


def iscomplexobj(x) -> bool:
    """Whether `x` is complex by its dtype, whatever its imaginary part is."""
    if x is None or isinstance(x, str):
        return False
    if isinstance(x, PYTHON_SCALARS):
        return isinstance(x, complex)
    found = x.dtype if is_array(x) or hasattr(x, "dtype") else asarray(x).dtype
    return dtypes.kind(dtypes.dtype(found)) == "complex"


def isrealobj(x) -> bool:
    """Whether `x` is not complex by its dtype."""
    return not iscomplexobj(x)


def iterable(y) -> bool:
    """Whether `y` can be iterated over; arrays without axes cannot."""
    if is_array(y):
        return bool(np.ndim(y) if not isinstance(y, core.ArrayLike) else y.ndim)
    try:
        iter(y)
    except TypeError:
        return False
    return True
