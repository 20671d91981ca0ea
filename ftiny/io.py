"""Trees of arrays in files: the safetensors format, which torch, jax, MLX and others read too.

Input: a file name and a pytree of arrays. Output: the file; or, from a file, the tree:

    >>> save("model.safetensors", {"layer": [numpy.ones(2), numpy.zeros((), "bfloat16")]}, {"step": "7"})
    >>> load("model.safetensors")
    {'layer': [Array([1., 1.], dtype=float32), Array(0, dtype=bfloat16)]}

A leaf's name is its path with dots, here `layer.0` and `layer.1`. The structure of dicts, lists, tuples and None stands
in the file's metadata, so that a file of ours comes back as the tree it was; a file of another library comes back as a
dict by name. Other containers (dataclasses, namedtuples) come back by `load(path, like=tree)`, which also checks shapes
and dtypes. Format: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ftiny import core, dtypes, tree
from ftiny.array import Array, as_array
from ftiny.errors import ArgumentError, DtypeError, FtinyError, ShapeError, TracerError
from ftiny.source import located

_STRUCTURE = "ftiny.tree"  # the metadata entry that holds the structure as JSON


def _safetensors():
    """The package `safetensors` with its numpy part."""
    try:
        import safetensors.numpy
    except ImportError as problem:
        message = "ftiny.io needs the package safetensors, which the extra 'io' brings: pip install 'ftiny[io]'"
        raise ImportError(located(message)) from problem
    return safetensors


# ---- writing ---------------------------------------------------------------------------------------------------


def save(path: str | os.PathLike, tree: Any, metadata: Mapping[str, str] | None = None) -> None:
    """Write a pytree of arrays to a safetensors file.

    path: the file; one that is there is replaced at once, when all is written, so that it is never half-written.
    tree: a pytree whose leaves are arrays of any shape and dtype but complex128, numpy arrays or Python numbers.
    metadata: texts by name to keep beside the arrays; `read_metadata` gives them back.

    Raises `TracerError` for a traced leaf, `DtypeError` for complex128, `ArgumentError` when a leaf is no array or two
    leaves have the same name, and `ImportError` without the package safetensors.
    """
    package = _safetensors()
    texts = _checked_metadata(metadata)
    arrays = _named_arrays(tree)
    texts[_STRUCTURE] = json.dumps(_structure_of(tree, ()), separators=(",", ":"))
    target = Path(path)
    # In the same folder, because a rename is atomic only inside one file system.
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}.unfinished")
    try:
        package.numpy.save_file(arrays, unfinished, metadata=texts)
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    texts = dict(metadata or {})
    for name, text in texts.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ArgumentError(located(f"io.save: metadata holds texts by name, but {name!r} is {text!r}; use str()"))
        if name == _STRUCTURE:
            raise ArgumentError(located(f"io.save: the metadata name {name!r} is taken for the tree's structure"))
    return texts


def _named_arrays(values) -> dict[str, np.ndarray]:
    """The leaves of a tree in C order, by name."""
    arrays: dict[str, np.ndarray] = {}
    paths: dict[str, str] = {}
    for path, leaf in tree.leaves_with_path(values):
        name, shown = _name(path), f"leaf tree{tree.keystr(path)}"
        if name in arrays:
            raise ArgumentError(
                located(f"io.save: {paths[name]} and {shown} would both be called {name!r}; rename a key of the tree")
            )
        arrays[name], paths[name] = _host(leaf, shown), shown
    return arrays


def _host(leaf, shown: str) -> np.ndarray:
    """A leaf as a numpy array that can be written."""
    if isinstance(leaf, core.Tracer):
        way_out = "return the tree from the traced function and save it outside, or save it in ftiny.io_callback"
        raise TracerError(located(f"io.save: {shown} is traced ({leaf.aval}) and has no value yet; {way_out}"))
    try:
        array = as_array(leaf).host()
    except FtinyError as problem:
        raise ArgumentError(located(f"io.save: {shown} is no array: {problem}")) from problem
    if array.dtype == dtypes.complex128:
        way_out = "save its .real and .imag, or .astype('complex64')"
        raise DtypeError(located(f"io.save: {shown} is complex128, which safetensors files cannot hold; {way_out}"))
    return np.asarray(array, order="C")


def _name(path: tree.KeyPath) -> str:
    return tree.keystr(path, simple=True, separator=".")


# ---- the structure as JSON -------------------------------------------------------------------------------------
#
# A leaf is its name, None is null, and a container is a list that begins with its kind:
# ["list", node, ...], ["tuple", node, ...], ["dict", [key, node], ...]; ["other", kind, path] cannot be rebuilt.


def _structure_of(value, path: tree.KeyPath):
    if value is None:
        return None
    if type(value) in (list, tuple):
        kind = type(value).__name__
        return [kind, *(_structure_of(x, (*path, tree.SequenceKey(i))) for i, x in enumerate(value))]
    if type(value) is dict and all(isinstance(key, (str, int)) for key in value):
        return ["dict", *([key, _structure_of(x, (*path, tree.DictKey(key)))] for key, x in value.items())]
    if len(tree.leaves_with_path(value)) == 1 and tree.leaves(value)[0] is value:
        return _name(path)
    return ["other", type(value).__name__, tree.keystr(path)]


def _rebuilt(node, arrays: dict[str, Array], path):
    """The tree of a structure, with the arrays for its leaves, which are taken out of `arrays`."""
    if node is None:
        return None
    if isinstance(node, str):
        if node not in arrays:
            raise ArgumentError(located(f"{_changed(path)}: there is no {node!r}"))
        return arrays.pop(node)
    kind, *children = node
    if kind == "dict":
        return {key: _rebuilt(child, arrays, path) for key, child in children}
    if kind == "other":
        container, place = children
        raise ArgumentError(
            located(
                f"io.load: tree{place} in {os.fspath(path)!r} is a {container}, which a file cannot describe; give a "
                "tree of the same structure: load(path, like=tree)"
            )
        )
    row = [_rebuilt(child, arrays, path) for child in children]
    return tuple(row) if kind == "tuple" else row


def _changed(path) -> str:
    """How the messages begin about a file whose arrays are not those of its structure."""
    return (
        f"io.load: {os.fspath(path)!r} was changed after ftiny.io.save wrote it, and does not fit the structure in it; "
        "give a tree with the names that it has now: load(path, like=tree)"
    )


# ---- reading ---------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike, like: Any = None) -> Any:
    """The tree of arrays in a safetensors file.

    path: the file.
    like: a pytree with the names, shapes and dtypes that the file must have: of arrays, or of what `eval_shape` gives.
        The result has its structure. Without it the structure is that of the tree that `save` was given, or a dict by
        name if another library wrote the file.

    Raises `ArgumentError` when the file is no safetensors file, or holds more, fewer or other leaves than `like`;
    `ShapeError` and `DtypeError` for a leaf that differs from that of `like`; `FileNotFoundError` without the file; and
    `ImportError` without the package safetensors.
    """
    arrays, metadata = _read(path)
    if like is not None:
        return _shaped_like(like, arrays, path)
    if _STRUCTURE not in metadata:
        return arrays
    unused = dict(arrays)
    result = _rebuilt(json.loads(metadata[_STRUCTURE]), unused, path)
    if unused:
        raise ArgumentError(located(f"{_changed(path)}: {_some(list(map(repr, unused)))} belong to no place in it"))
    return result


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The texts that `save` was given as `metadata` (or that another library wrote), by name. Errors as for `load`."""
    with _opened(path) as file:
        return {name: text for name, text in (file.metadata() or {}).items() if name != _STRUCTURE}


def _opened(path):
    """The file, open for reading."""
    package = _safetensors()
    try:
        return package.safe_open(path, framework="np")
    except package.SafetensorError as problem:
        message = f"io.load: {os.fspath(path)!r} is no whole safetensors file: {problem}"
        raise ArgumentError(located(message)) from problem


def _read(path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a file by name, and its metadata."""
    with _opened(path) as file:
        # A copy, because the file's bytes need not lie at a multiple of the element's size.
        arrays = {name: Array.from_numpy(file.get_tensor(name)) for name in file.keys()}
        return arrays, file.metadata() or {}


def _shaped_like(like, arrays: Mapping[str, Array], path):
    """The arrays in the structure of `like`, each checked against its leaf."""
    pairs, structure = tree.flatten_with_path(like)
    names = [_name(path) for path, _ in pairs]
    missing = [f"tree{tree.keystr(path)} ({name!r})" for name, (path, _) in zip(names, pairs) if name not in arrays]
    unknown = [repr(name) for name in arrays if name not in set(names)]
    if missing or unknown:
        differences = [f"it lacks {_some(missing)}"] if missing else []
        differences += [f"it holds {_some(unknown)} besides"] if unknown else []
        raise ArgumentError(
            located(f"io.load: {os.fspath(path)!r} does not fit `like`: {' and '.join(differences)}")
        )
    for name, (path_to_leaf, leaf) in zip(names, pairs):
        found, wanted = arrays[name].aval, core.get_aval(leaf)
        what = f"io.load: leaf tree{tree.keystr(path_to_leaf)} ({name!r})"
        if found.shape != wanted.shape:
            raise ShapeError(located(f"{what} has shape {found.shape} in the file, but {wanted.shape} in `like`"))
        if found.dtype != wanted.dtype:
            way_out = "load it without `like` and use .astype"
            raise DtypeError(located(f"{what} is {found.dtype} in the file, but {wanted.dtype} in `like`; {way_out}"))
    return tree.unflatten(structure, [arrays[name] for name in names])


def _some(names: list[str]) -> str:
    """The first few names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
