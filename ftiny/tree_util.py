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

from collections.abc import Callable, Iterable
from typing import Any

import optree

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


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of the children of the root; none for a leaf."""
    return treedef.children()


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether a structure has nothing below its root: a leaf, None or an empty container."""
    return treedef.num_nodes == 1


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees of these structures."""
    return optree.treespec_tuple(treedefs, namespace=NAMESPACE)
