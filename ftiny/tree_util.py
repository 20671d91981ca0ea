"""`ftiny.tree_util`: the functions of `ftiny.tree` under the names of `jax.tree_util`.

Input: pytrees (nested tuples, lists, dicts, None and registered classes) and functions of their leaves. Output: trees,
leaves, structures, paths:

    >>> tree_map(lambda x: 2 * x, {"b": 1, "a": (2, None)})
    {'a': (4, None), 'b': 2}
    >>> [keystr(path) for path, _ in tree_leaves_with_path({"b": 1, "a": (2, None)})]
    ["['a'][0]", "['b']"]

They behave as there, save that a `collections.deque` is a container here and a leaf there.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any

import optree

from ftiny.errors import ArgumentError
from ftiny.source import located
from ftiny.tree import (
    NAMESPACE,
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyPath,
    Partial,
    PyTreeDef,
    SequenceKey,
    keystr,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
)
from ftiny.tree import all as tree_all
from ftiny.tree import broadcast as tree_broadcast
from ftiny.tree import flatten as tree_flatten
from ftiny.tree import flatten_with_path as tree_flatten_with_path
from ftiny.tree import leaves as tree_leaves
from ftiny.tree import leaves_with_path as tree_leaves_with_path
from ftiny.tree import map as tree_map
from ftiny.tree import map_with_path as tree_map_with_path
from ftiny.tree import reduce as tree_reduce
from ftiny.tree import reduce_associative as tree_reduce_associative
from ftiny.tree import structure as tree_structure
from ftiny.tree import transpose as tree_transpose
from ftiny.tree import unflatten as tree_unflatten

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "KeyPath",
    "Partial",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "flatten_one_level",
    "flatten_one_level_with_keys",
    "is_tree_node",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "tree_all",
    "tree_broadcast",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_reduce_associative",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]


def all_leaves(iterable: Iterable[Any], is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether every element is a leaf; None and containers are none."""
    return all(optree.tree_structure(x, is_leaf=is_leaf, namespace=NAMESPACE).is_leaf() for x in iterable)


def _one_level(name: str, tree) -> tuple[tuple, tuple, Any]:
    """(keys, children, metadata) of the root of a tree. Raises `ArgumentError` for a leaf."""
    if optree.tree_is_leaf(tree, namespace=NAMESPACE):
        raise ArgumentError(located(
            f"{name}: can't tree-flatten type: {type(tree)}; it is a leaf. Take tree_leaves, which takes leaves too, "
            "or register the class as a container"))
    children, metadata, entries, _ = optree.tree_flatten_one_level(tree, namespace=NAMESPACE)
    keys = [key for (key,), _ in tree_leaves_with_path(tree, is_leaf=lambda x: x is not tree)] if children else []
    if type(tree) in (dict, collections.OrderedDict):
        metadata = tuple(entries)
    elif type(tree) is collections.defaultdict:
        metadata = (tree.default_factory, tuple(entries))
    elif isinstance(metadata, tuple) and len(metadata) == 2 and metadata[1] is entries:
        # A class registered with keys keeps them beside its own metadata.
        metadata = metadata[0]
    return tuple(keys), tuple(children), metadata


def flatten_one_level(tree) -> tuple[tuple, Any]:
    """(children, metadata) of the root of a tree: `(([1, 2], 3), ("a", "b"))` of `{"a": [1, 2], "b": 3}`.

    The metadata are what the container is made of beside its children: the keys of a dict, the class of a namedtuple,
    what a registered class gave. Raises `ArgumentError` (a `ValueError`) for a leaf.
    """
    _, children, metadata = _one_level("flatten_one_level", tree)
    return children, metadata


def flatten_one_level_with_keys(tree) -> tuple[tuple, Any]:
    """((key, child) pairs, metadata) of the root of a tree; keys are those of paths, `DictKey("a")` and the like.

    Raises `ArgumentError` (a `ValueError`) for a leaf.
    """
    keys, children, metadata = _one_level("flatten_one_level_with_keys", tree)
    return tuple(zip(keys, children)), metadata


def is_tree_node(typ: type) -> bool:
    """Whether objects of the class are containers: tuples, dicts, namedtuples, None, registered classes."""
    return optree.register_pytree_node.get(typ, namespace=NAMESPACE) is not None


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of the children of the root; none for a leaf."""
    return treedef.children()


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether a structure has nothing below its root: a leaf, None or an empty container."""
    return treedef.num_nodes == 1


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees of these structures."""
    return optree.treespec_tuple(treedefs, namespace=NAMESPACE)
