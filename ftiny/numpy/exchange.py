"""Arrays from and to files, bytes and text.

Input: file names, buffers, strings. Output: arrays on the default device; or a file, from arrays that must be concrete:

    >>> fromstring("1, 2, 3", dtype="int32", sep=",")
    Array([1, 2, 3], dtype=int32)

Files are numpy's: `.npy` for one array, `.npz` for several.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ftiny import dtypes
from ftiny.numpy.common import is_array
from ftiny.numpy.creation import asarray


def _host(x) -> np.ndarray:
    """`x` as a numpy array. Raises `TracerError` for a traced one."""
    return np.asarray(x if is_array(x) else asarray(x))


def save(file, arr, allow_pickle: bool = True) -> None:
    """Write one array to an `.npy` file, given by its name or as an open binary file."""
    np.save(file, _host(arr), allow_pickle=allow_pickle)


def savez(file, *args, allow_pickle: bool = True, **kwds) -> None:
    """Write several arrays to an `.npz` file, under the names `arr_0`, `arr_1`, ... or those given."""
    values = {name: _host(x) for name, x in kwds.items()}
    np.savez(file, *map(_host, args), allow_pickle=allow_pickle, **values)  # type: ignore[arg-type]


def load(file, *args: Any, **kwargs: Any):
    """The array in an `.npy` file, or numpy's dictionary of those in an `.npz` file; other arguments as for numpy's.

    The file does not name bfloat16, so two bytes of no known type are taken for it.
    """
    found = np.load(file, *args, **kwargs)
    if not isinstance(found, np.ndarray):
        return found
    return asarray(found.view(dtypes.bfloat16) if found.dtype == "V2" else found)


def frombuffer(buffer, dtype=float, count: int = -1, offset: int = 0):
    """The bytes of `buffer` from `offset` on, read as a vector of `count` (default: all) elements of `dtype`."""
    return asarray(np.frombuffer(buffer, dtypes.dtype(dtype), count, offset))


def fromstring(string: str, dtype=float, count: int = -1, *, sep: str):
    """The numbers in a text, separated by `sep`, as a vector of `count` (default: all) elements of `dtype`."""
    return asarray(np.fromstring(string, dtypes.dtype(dtype), count, sep=sep))


def fromiter(iterable, dtype, count: int = -1):
    """The first `count` (default: all) numbers of an iterable as a vector of `dtype`.

    It is used up when the function is called, so in a traced function once, while tracing.
    """
    return asarray(np.fromiter(iterable, dtypes.dtype(dtype), count))


def array_repr(arr, max_line_width: int | None = None, precision: int | None = None, suppress_small=None) -> str:
    """The text that shows the array `arr` with its dtype, as numpy's `array_repr`."""
    return np.array_repr(asarray(_host(arr)), max_line_width, precision, suppress_small)  # type: ignore[arg-type]


def array_str(a, max_line_width: int | None = None, precision: int | None = None, suppress_small=None) -> str:
    """The text that shows the elements of the array `a`, as numpy's `array_str`."""
    return np.array_str(_host(a), max_line_width, precision, suppress_small)
