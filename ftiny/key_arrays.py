"""Typed keys: random keys that are no numbers, so that nobody computes with them by mistake.

Input: a uint32 array of shape (..., 2), the words of keys. Output: keys of shape (...), as `ftiny.random.key` and
`split` give them:

    >>> keys = ftiny.random.split(ftiny.random.key(0), 3)
    >>> keys.shape, keys.dtype, keys[0].shape
    ((3,), key<fry>, ())

A typed key is its words in a wrapper. To the transformations it is a container of one array (`array_tree.py`), so that
programs, traces and kernels know nothing of it; to `ftiny.tree` it is a leaf. `ftiny.numpy` moves, joins and chooses
keys as it does numbers (`numpy/keys.py`); arithmetic raises.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import optree

from ftiny import core, dtypes
from ftiny.array import Array, ShapeDtypeStruct
from ftiny.errors import DtypeError, IndexOutOfBoundsError, TracerError
from ftiny.source import located
from ftiny.tree import ARRAYS, OwnKey

KEY = dtypes.KeyDtype()


class KeyArray(core.TypedKey):
    """Keys of any shape; `words` is their uint32 array, with an axis of size 2 more (or its stand-in in a trace)."""

    __slots__ = ("words",)
    __array_priority__ = 100
    __array_ufunc__ = None  # numpy's operators leave it to ours, which raise
    __hash__ = None  # type: ignore[assignment]  # `==` is elementwise

    dtype, itemsize = KEY, KEY.itemsize

    def __init__(self, words):
        # Nothing is checked: a structure is also filled with numpy arrays, axes and other stand-ins.
        self.words = words

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes; a single key has none."""
        return tuple(self.words.shape)[:-1]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of keys."""
        return self.nbytes // self.itemsize

    @property
    def nbytes(self) -> int:
        """The number of bytes of the keys."""
        return self.words.nbytes

    # ---- where they are ----

    @property
    def device(self):
        """The device that holds the keys, or that they would be moved to now."""
        return self.words.device

    def to_device(self, device, /, *, stream: Any = None) -> KeyArray:
        """The keys bound to a device; see `ftiny.device_put`."""
        return KeyArray(self.words.to_device(device, stream=stream))

    def is_deleted(self) -> bool:
        """Whether the keys were donated to a computation that has reused their memory."""
        return self.words.is_deleted()

    def delete(self) -> None:
        """Give the memory back at once; the keys can not be used any more."""
        self.words.delete()

    def copy(self) -> KeyArray:
        """The keys in memory of their own."""
        return KeyArray(self.words.copy())

    def block_until_ready(self) -> KeyArray:
        """Wait until the keys have been computed. Returns them."""
        self.words.block_until_ready()
        return self

    # ---- numpy and Python ----

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a typed key has no attribute {name!r}; its words do: ftiny.random.key_data(key)")

    def __getitem__(self, index) -> KeyArray:
        entries = index if isinstance(index, tuple) else (index,)
        taken = sum(_axes_of(entry) for entry in entries)
        if taken > self.ndim:
            # The axis of the words is not there to be indexed.
            raise IndexOutOfBoundsError(located(f"too many indices: {taken} for keys of shape {self.shape}"))
        rest = () if any(entry is Ellipsis for entry in entries) else (Ellipsis,)
        return KeyArray(self.words[(*entries, *rest, slice(None))])

    def __len__(self) -> int:
        if not self.shape:
            raise TracerError(located("a single typed key has no axis, so no len() and nothing to iterate over"))
        return self.shape[0]

    def __iter__(self):
        return map(KeyArray, self.words) if len(self) else iter(())

    def __array__(self, dtype=None, copy: bool | None = None) -> NoReturn:
        way_out = "ftiny.random.key_data(key) gives its words as a uint32 array"
        raise TracerError(located(f"a typed key has no elements for numpy: {self!r}; {way_out}"))

    def __bool__(self) -> NoReturn:
        raise TracerError(located("a typed key is neither true nor false; compare keys with =="))

    def __repr__(self) -> str:
        if isinstance(self.words, core.Tracer):
            return f"<{self.words.trace.name} tracer {KEY}[{','.join(map(str, self.shape))}]>"
        if isinstance(self.words, (Array, np.ndarray)):
            return f"Array({self.shape}, dtype={KEY}) overlaying:\n{self.words!s}"
        return f"KeyArray({self.words!r})"

    def __reduce__(self):
        return KeyArray, (self.words,)

    def __copy__(self) -> KeyArray:
        return self  # it never changes


def _axes_of(entry) -> int:
    """How many axes an entry of an index takes."""
    if entry is None or entry is Ellipsis or isinstance(entry, bool):
        return 0
    if isinstance(entry, (list, np.ndarray, core.ArrayLike)):
        entry = np.asarray(entry) if isinstance(entry, list) else entry
        return entry.ndim if entry.dtype == bool else 1
    return 1


def _refused(operator: str):
    def method(self, other=None, *rest) -> NoReturn:
        raise DtypeError(located(f"{operator} of a typed key ({KEY}): a key is no number; {self.WAY_OUT}"))

    return method


_BINARY = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "divmod": "divmod()", "pow": "**",
    "matmul": "@", "and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
}  # fmt: skip
_OTHERS = {
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "neg": "-", "pos": "+", "abs": "abs()", "invert": "~", "int": "int()",
    "float": "float()", "complex": "complex()", "index": "an index",
}  # fmt: skip
for _name, _operator in _BINARY.items():
    setattr(KeyArray, f"__{_name}__", _refused(_operator))
    setattr(KeyArray, f"__r{_name}__", _refused(_operator))
for _name, _operator in _OTHERS.items():
    setattr(KeyArray, f"__{_name}__", _refused(_operator))


class KeyShape(ShapeDtypeStruct):
    """`ShapeDtypeStruct(shape, key.dtype)`: typed keys that do not exist; `words` is the shape of their array."""

    __slots__ = ("words",)

    def __init__(self, shape, dtype=KEY):
        self.words = ShapeDtypeStruct((*shape, 2), dtypes.uint32)

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""
        return self.words.shape[:-1]

    @property
    def dtype(self):
        """The dtype of typed keys."""
        return KEY

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of keys."""
        return self.words.size // 2

    def __eq__(self, other) -> bool:
        return isinstance(other, KeyShape) and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((KEY, self.shape))


class _Words:
    """The step from a key to its array in a path, which shows nothing: an error names the key."""

    def __str__(self) -> str:
        return ""


def _from_words(_, children) -> KeyArray | KeyShape:
    (words,) = children
    return KeyShape(words.shape[:-1]) if isinstance(words, ShapeDtypeStruct) else KeyArray(words)


_PATH = (_Words(),)
for _kind in (KeyArray, KeyShape):
    optree.register_pytree_node(
        _kind,  # type: ignore[arg-type]
        lambda x: ((x.words,), None, _PATH),  # type: ignore[attr-defined]
        _from_words,  # type: ignore[arg-type]
        path_entry_type=OwnKey,
        namespace=ARRAYS,
    )
