"""Pytrees down to their arrays, as the transformations see them: `ftiny.tree` with typed keys opened.

Input: a pytree. Output: its arrays and its structure, where a typed key (`key_arrays.py`) is a container of one uint32
array, so that programs have arrays alone:

    >>> flatten({"key": ftiny.random.key(0)})
    ([Array([0, 0], dtype=uint32)], PyTreeSpec({'key': CustomTreeNode(KeyArray[None], [*])}, namespace='ftiny.arrays'))

Every leaf of `ftiny.tree` has exactly one leaf here, in the same order: `shapes` says how the user sees each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from ftiny import core
from ftiny import tree as full_tree
from ftiny.tree import ARRAYS, Partial, PyTreeDef, keystr, matching_leaves, paths_of, unflatten

__all__ = [
    "Partial", "PyTreeDef", "broadcast_leaves", "flatten", "keystr", "leaves", "leaves_with_path", "map", "shapes",
    "structure", "unflatten",
]  # fmt: skip


def flatten(tree) -> tuple[list, PyTreeDef]:
    """The leaves of `tree`, in a fixed order, and its structure."""
    return optree.tree_flatten(tree, namespace=ARRAYS)


def leaves(tree, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves of `tree`, in the order of `flatten`."""
    return optree.tree_leaves(tree, is_leaf=is_leaf, namespace=ARRAYS)


def structure(tree) -> PyTreeDef:
    """The structure of `tree`; hashable, and equal for trees of the same shape."""
    return optree.tree_structure(tree, namespace=ARRAYS)


def map(f: Callable, tree, *rest) -> Any:  # noqa: A001
    """`f` of every leaf (and of the matching leaves of `rest`), in a tree of the same structure."""
    first, treedef = flatten(tree)
    others = matching_leaves("tree.map", treedef, rest)
    return unflatten(treedef, [f(*row) for row in zip(first, *others)])


def leaves_with_path(tree) -> list:
    """[(path, leaf), ...]; the array of a key has the path of the key."""
    found, treedef = flatten(tree)
    return list(zip(paths_of(treedef), found))


def shapes(tree) -> list[tuple[int, ...]]:
    """The shape of each leaf, without the words of keys: the axes that a user counts."""
    return [x.shape if isinstance(x, core.TypedKey) else core.get_aval(x).shape for x in full_tree.leaves(tree)]


def broadcast_leaves(prefix, full) -> list:
    """The leaves of `prefix` spread out to the structure of `full`, where None in `prefix` counts as a leaf."""
    found = optree.tree_broadcast_prefix(prefix, full, is_leaf=lambda x: x is None, namespace=ARRAYS)
    return optree.tree_leaves(found, is_leaf=lambda x: x is None, namespace=ARRAYS)
