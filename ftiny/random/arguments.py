"""What the samplers check: keys, dtypes, and shapes with the parameters that must fit into them.

Input: what a user passes. Output: the same in its proper form, or an error that names the function:

    >>> shape_for("gamma", None, np.ones((3, 1)), np.ones(4))
    (3, 4)
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from ftiny import dtypes, key_reuse
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.key_arrays import KeyArray
from ftiny.numpy.common import broadcast_shapes, canonical_shape, dtype_of, is_array, shape_of
from ftiny.source import located

# After these functions the key may be used once more.
KEEP_THE_KEY = {"clone", "fold_in", "key_data", "key_impl", "wrap_key_data"}


def check_key(name: str, key):
    """The uint32 array of shape (2,) of a key, typed or raw.

    Raises `ArgumentError` for what is no key, `KeyReuseError` if `debug_key_reuse` knows of its use.
    """
    if not is_array(key) or shape_of(key) != (2,) or dtype_of(key) != dtypes.uint32:
        if not isinstance(key, KeyArray) or key.shape:
            _raise_no_key(name, key)
        key = key.words
    if name not in KEEP_THE_KEY:
        key_reuse.use(name, key)
    return key


def words_of(name: str, keys):
    """The uint32 array of keys of any shape, typed or raw: it has an axis of size 2 more. Raises `ArgumentError`."""
    if isinstance(keys, KeyArray):
        return keys.words
    if not is_array(keys) or shape_of(keys)[-1:] != (2,) or dtype_of(keys) != dtypes.uint32:
        _raise_no_key(name, keys)
    return keys


def _raise_no_key(name: str, key) -> NoReturn:
    if isinstance(key, KeyArray):
        raise ArgumentError(
            located(f"random.{name} takes one key, but was given keys of shape {key.shape}; use vmap, or keys[i]")
        )
    shown = f"of shape {shape_of(key)} and dtype {dtype_of(key)}" if is_array(key) else repr(key)
    raise ArgumentError(
        located(
            f"random.{name}: a key is a uint32 array of shape (2,), made by PRNGKey(seed), or a typed key, made by "
            f"key(seed), not {shown}; for several keys use vmap, or keys[i]"
        )
    )


def like(key, words):
    """Keys with these words, typed if `key` is."""
    return KeyArray(words) if isinstance(key, KeyArray) else words


def float_dtype(name: str, dtype) -> np.dtype:
    """The float type of a sample; None is float32. Raises `DtypeError` for other types."""
    wanted = dtypes.float32 if dtype is None else dtypes.dtype(dtype)
    if not dtypes.is_float(wanted):
        raise DtypeError(located(f"random.{name}: dtype must be a float type, not {wanted}"))
    return wanted


def integer_dtype(name: str, dtype) -> np.dtype:
    """The integer type of a sample; None is int32. Raises `DtypeError` for other types."""
    wanted = dtypes.int32 if dtype is None else dtypes.dtype(dtype)
    if not dtypes.is_integer(wanted):
        raise DtypeError(located(f"random.{name}: dtype must be an integer type, not {wanted}"))
    return wanted


def shape_for(name: str, shape, *parameters) -> tuple[int, ...]:
    """The shape of a sample: as given, or the one that the parameters broadcast to; they must fit into it."""
    needed = broadcast_shapes(*map(shape_of, parameters), name=name)
    if shape is None:
        return needed
    shape = canonical_shape(shape, name)
    if broadcast_shapes(needed, shape, name=f"random.{name}") != shape:
        raise ShapeError(located(f"random.{name}: parameters of shape {needed} do not fit the shape {shape}"))
    return shape


def parameter(name: str, x):
    """A parameter of a distribution as an array. Raises `DtypeError` for what is no real number."""
    if not is_array(x) or dtypes.kind(dtype_of(x)) not in ("int", "float"):
        shown = dtype_of(x) if is_array(x) else repr(x)
        raise DtypeError(located(f"random.{name}: a parameter must be a real number or an array of them, not {shown}"))
    return fnp.asarray(x)
