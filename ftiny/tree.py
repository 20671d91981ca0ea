"""Pytrees: nested containers of leaves, through `optree` in one namespace.

Tuples, lists, dicts (keys in sorted order), namedtuples, OrderedDict, defaultdict, deque and None (an empty node)
are containers; anything else is a leaf until its class is registered.

    >>> leaves, structure = flatten({"b": 1, "a": (2, None)})
    >>> leaves, unflatten(structure, [10, 20])
    ([2, 1], {'a': (10, None), 'b': 20})
"""
from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import optree

from ftiny.errors import ArgumentError
from ftiny.source import located

NAMESPACE = "ftiny"
PyTreeDef = optree.PyTreeSpec


def flatten(tree, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, PyTreeDef]:
    """The leaves of `tree`, in a fixed order, and its structure."""
    return optree.tree_flatten(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def unflatten(structure: PyTreeDef, leaves) -> Any:
    """The tree of this structure with these leaves: the inverse of `flatten`."""
    return optree.tree_unflatten(structure, leaves)


def leaves(tree, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves of `tree`, in the order of `flatten`."""
    return optree.tree_leaves(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def structure(tree, is_leaf: Callable[[Any], bool] | None = None) -> PyTreeDef:
    """The structure of `tree`; hashable, and equal for trees of the same shape."""
    return optree.tree_structure(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def map(function: Callable, tree, *rest, is_leaf: Callable[[Any], bool] | None = None) -> Any:  # noqa: A001
    """`function` of every leaf (and of the matching leaves of `rest`), in a tree of the same structure."""
    first, treedef = flatten(tree, is_leaf)
    others = _matching_leaves("tree.map", treedef, rest)
    return unflatten(treedef, [function(*row) for row in zip(first, *others)])


def _matching_leaves(name: str, treedef: PyTreeDef, trees) -> list[list]:
    """The leaves (or subtrees) of each of `trees` at the leaves of `treedef`; `ArgumentError` when one does not fit."""
    found = []
    for position, tree in enumerate(trees, start=1):
        try:
            found.append(treedef.flatten_up_to(tree))
        except ValueError as problem:
            message = (
                f"{name}: tree {position} must have the structure of the first tree, {treedef}, but it has "
                f"{structure(tree)} ({problem})"
            )
            raise ArgumentError(located(message)) from None
    return found


def flatten_with_path(tree, is_leaf: Callable[[Any], bool] | None = None):
    """([(path, leaf), ...], structure); a path is a tuple of keys and positions from the root."""
    paths, found, treedef = optree.tree_flatten_with_path(tree, is_leaf=is_leaf, namespace=NAMESPACE)
    return list(zip(paths, found)), treedef


def leaves_with_path(tree, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """[(path, leaf), ...]: the first half of `flatten_with_path`."""
    return flatten_with_path(tree, is_leaf)[0]


def map_with_path(function: Callable, tree, *rest, is_leaf: Callable[[Any], bool] | None = None):
    """Like `map`, with the path of the leaf as the first argument of `function`."""
    paths, first, treedef = optree.tree_flatten_with_path(tree, is_leaf=is_leaf, namespace=NAMESPACE)
    others = _matching_leaves("tree.map_with_path", treedef, rest)
    return unflatten(treedef, [function(*row) for row in zip(paths, first, *others)])


def keystr(path) -> str:
    """A path as a Python expression: `('w', 0)` is `"['w'][0]"`."""
    return "".join(f"[{key!r}]" for key in path)


def reduce(function: Callable, tree, *initial, is_leaf: Callable[[Any], bool] | None = None):
    """`functools.reduce` over the leaves."""
    return functools.reduce(function, leaves(tree, is_leaf), *initial)


def all(tree) -> bool:  # noqa: A001
    """Whether every leaf is true."""
    return not [leaf for leaf in leaves(tree) if not leaf]


def transpose(outer: PyTreeDef, inner: PyTreeDef, tree):
    """A tree of structure outer-of-inner turned into inner-of-outer."""
    return optree.tree_transpose(outer, inner, tree)


def broadcast(prefix, full, is_leaf: Callable[[Any], bool] | None = None):
    """`prefix` spread out to the structure of `full`; what `in_axes` arguments use."""
    return optree.tree_broadcast_prefix(prefix, full, is_leaf=is_leaf, namespace=NAMESPACE)


def broadcast_leaves(prefix, full, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves of `broadcast(prefix, full)`, where None in `prefix` counts as a leaf."""
    found = optree.tree_broadcast_prefix(prefix, full, is_leaf=lambda x: x is None or bool(is_leaf and is_leaf(x)),
                                         namespace=NAMESPACE)
    return optree.tree_leaves(found, is_leaf=lambda x: x is None, namespace=NAMESPACE)


def register_pytree_node(cls: type, flatten_function: Callable, unflatten_function: Callable) -> None:
    """Make `cls` a container: `flatten_function(x) -> (children, aux)`, `unflatten_function(aux, children) -> x`."""
    optree.register_pytree_node(cls, flatten_function, unflatten_function, namespace=NAMESPACE)


def register_pytree_node_class(cls: type) -> type:
    """Class decorator for a class with methods `tree_flatten(self)` and `tree_unflatten(cls, aux, children)`."""
    register_pytree_node(cls, lambda x: x.tree_flatten(), cls.tree_unflatten)  # type: ignore[attr-defined]
    return cls


def register_dataclass(cls: type, data_fields=None, meta_fields=()) -> type:
    """Make a dataclass a container; `meta_fields` belong to the structure, the others are children.

    Works as a decorator too. Raises `TypeError` when `cls` is not a dataclass.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"register_dataclass: {cls.__name__} is no dataclass; decorate it with @dataclass first")
    meta = tuple(meta_fields)
    if data_fields is None:
        data = tuple(field.name for field in dataclasses.fields(cls) if field.name not in meta)
    else:
        data = tuple(data_fields)

    def to_children(x):
        return [getattr(x, name) for name in data], tuple(getattr(x, name) for name in meta), data

    def from_children(aux, children):
        return cls(**dict(zip(meta, aux)), **dict(zip(data, children)))

    optree.register_pytree_node(cls, to_children, from_children, namespace=NAMESPACE)  # type: ignore[arg-type]
    return cls


class Partial(functools.partial):
    """`functools.partial` that is a container: its arguments are children, its function belongs to the structure."""


register_pytree_node(
    Partial,
    lambda x: ((x.args, x.keywords), x.func),
    lambda function, children: Partial(function, *children[0], **children[1]),
)
