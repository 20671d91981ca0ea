"""Pytrees: nested containers of leaves, through `optree` in one namespace.

Tuples, lists, dicts (keys in sorted order), namedtuples, OrderedDict, defaultdict, deque and None (an empty node)
are containers; anything else is a leaf until its class is registered.

    >>> leaves, structure = flatten({"b": 1, "a": (2, None)})
    >>> leaves, unflatten(structure, [10, 20])
    ([2, 1], {'a': (10, None), 'b': 20})

Paths to leaves are tuples of keys, which `keystr` writes as Python: `['a'][0].weight`.

A typed random key is a leaf here; to the transformations it is a container of its array (`array_tree.py`), so classes
are registered for both.
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
ARRAYS = "ftiny.arrays"
PyTreeDef = optree.PyTreeSpec


def flatten(tree, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, PyTreeDef]:
    """The leaves of `tree`, in a fixed order, and its structure."""
    return optree.tree_flatten(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def unflatten(treedef: PyTreeDef, leaves) -> Any:
    """The tree of this structure with these leaves: the inverse of `flatten`."""
    return optree.tree_unflatten(treedef, leaves)


def leaves(tree, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves of `tree`, in the order of `flatten`."""
    return optree.tree_leaves(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def structure(tree, is_leaf: Callable[[Any], bool] | None = None) -> PyTreeDef:
    """The structure of `tree`; hashable, and equal for trees of the same shape."""
    return optree.tree_structure(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def map(f: Callable, tree, *rest, is_leaf: Callable[[Any], bool] | None = None) -> Any:  # noqa: A001
    """`f` of every leaf (and of the matching leaves of `rest`), in a tree of the same structure."""
    first, treedef = flatten(tree, is_leaf)
    others = matching_leaves("tree.map", treedef, rest)
    return unflatten(treedef, [f(*row) for row in zip(first, *others)])


def matching_leaves(name: str, treedef: PyTreeDef, trees) -> list[list]:
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


# ---- paths -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class DictKey:
    """The step into a dict: `['name']`."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """The step into a tuple or list: `[0]`."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """The step to an attribute of a dataclass or a namedtuple: `.name`."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True)
class FlattenedIndexKey:
    """The step into a registered class that gives its children no names: `[<flat index 0>]`."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


KeyPath = tuple[Any, ...]


class OwnKey(optree.PyTreeEntry):
    """An entry of a class registered with keys: the key is the entry itself."""


def _key(entry: optree.PyTreeEntry):
    """optree's entry of a path as a key."""
    if isinstance(entry, OwnKey):
        return entry.entry
    if isinstance(entry, optree.MappingEntry):
        return DictKey(entry.entry)
    if isinstance(entry, (optree.NamedTupleEntry, optree.StructSequenceEntry)):
        return GetAttrKey(entry.field)
    if isinstance(entry, optree.SequenceEntry):
        return SequenceKey(entry.entry)
    return FlattenedIndexKey(entry.entry)


def _paths(treedef: PyTreeDef) -> tuple[KeyPath, ...]:
    """The path to every leaf of a structure."""
    return tuple(tuple(_key(entry) for entry in accessor) for accessor in treedef.accessors())


_remembered_paths = functools.lru_cache(maxsize=512)(_paths)


def paths_of(treedef: PyTreeDef) -> tuple[KeyPath, ...]:
    """The path to every leaf of a structure, remembered."""
    try:
        return _remembered_paths(treedef)
    except TypeError:  # the structure has an unhashable part
        return _paths(treedef)


def _leaves_and_paths(tree, is_leaf: Callable[..., bool] | None, is_leaf_takes_path: bool):
    """(paths, leaves, structure) of a tree."""
    if is_leaf is not None and is_leaf_takes_path:
        # optree asks for every node in this order, but without its path.
        answers = iter(list(_answers(is_leaf, (), tree)))
        found, treedef = flatten(tree, lambda _: next(answers))
    else:
        found, treedef = flatten(tree, is_leaf)
    return paths_of(treedef), found, treedef


def _answers(is_leaf: Callable[..., bool], path: KeyPath, node):
    """`is_leaf(path, node)` of a node and of all below it, each before its children."""
    answer = bool(is_leaf(path, node))
    yield answer
    if answer or optree.tree_is_leaf(node, namespace=NAMESPACE):
        return
    inner = optree.tree_structure(node, is_leaf=lambda x: x is not node, namespace=NAMESPACE)
    for (key,), child in zip(_paths(inner), inner.flatten_up_to(node)):
        yield from _answers(is_leaf, (*path, key), child)


def flatten_with_path(tree, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False):
    """([(path, leaf), ...], structure); a path is a tuple of keys (`DictKey`, `SequenceKey`, ...) from the root.

    With `is_leaf_takes_path`, `is_leaf` is called with the path and the node.
    """
    paths, found, treedef = _leaves_and_paths(tree, is_leaf, is_leaf_takes_path)
    return list(zip(paths, found)), treedef


def leaves_with_path(tree, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False) -> list:
    """[(path, leaf), ...]: the first half of `flatten_with_path`."""
    return flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def map_with_path(
    f: Callable, tree, *rest, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
):
    """Like `map`, with the path of the leaf as the first argument of `f`."""
    paths, first, treedef = _leaves_and_paths(tree, is_leaf, is_leaf_takes_path)
    others = matching_leaves("tree.map_with_path", treedef, rest)
    return unflatten(treedef, [f(*row) for row in zip(paths, first, *others)])


def keystr(path, *, simple: bool = False, separator: str = "") -> str:
    """A path as text: `"['w'][0].bias"`; `simple` gives the bare names, as in `keystr(path, simple=True,
    separator="/")`: `"w/0/bias"`."""
    return separator.join(_simple_name(key) if simple else str(key) for key in path)


def _simple_name(key) -> str:
    for kind, attribute in ((DictKey, "key"), (SequenceKey, "idx"), (GetAttrKey, "name"), (FlattenedIndexKey, "key")):
        if isinstance(key, kind):
            return str(getattr(key, attribute))
    return str(key)


# ---- folds and structures --------------------------------------------------------------------------------------


_MISSING = object()


def reduce(function: Callable, tree, initializer: Any = _MISSING, is_leaf: Callable[[Any], bool] | None = None):
    """`functools.reduce` over the leaves, from the left."""
    start = () if initializer is _MISSING else (initializer,)
    return functools.reduce(function, leaves(tree, is_leaf), *start)


def reduce_associative(
    operation: Callable, tree, *, identity: Any = _MISSING, is_leaf: Callable[[Any], bool] | None = None
):
    """The leaves combined by an associative function of two, in pairs, so that the depth is logarithmic.

    identity: the result for a tree without leaves, for which `TypeError` is raised otherwise.
    """
    row = leaves(tree, is_leaf)
    if not row:
        if identity is _MISSING:
            raise TypeError(located("tree.reduce_associative: the tree has no leaves; give identity="))
        return identity
    while len(row) > 1:
        pairs = [operation(a, b) for a, b in zip(row[::2], row[1::2])]
        row = pairs + row[len(row) - len(row) % 2 :]
    return row[0]


def all(tree, *, is_leaf: Callable[[Any], bool] | None = None) -> bool:  # noqa: A001
    """Whether every leaf is true."""
    return not [leaf for leaf in leaves(tree, is_leaf) if not leaf]


def transpose(outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose):
    """A tree of structure outer-of-inner turned into inner-of-outer.

    `inner_treedef` None is the structure of the first subtree. Raises `ArgumentError` when the tree is built otherwise.
    """
    (rows,) = matching_leaves("tree.transpose", outer_treedef, [pytree_to_transpose])
    inner = inner_treedef
    if inner is None:
        inner = structure(rows[0]) if rows else structure(0)
    columns = zip(*matching_leaves("tree.transpose", inner, rows)) if rows else [()] * inner.num_leaves
    return unflatten(inner, [unflatten(outer_treedef, column) for column in columns])


def broadcast(prefix_tree, full_tree, is_leaf: Callable[[Any], bool] | None = None):
    """`prefix_tree` spread out to the structure of `full_tree`; what `in_axes` arguments use.

    Raises `ArgumentError` when `full_tree` has not the structure of `prefix_tree` down to its leaves.
    """
    try:
        return optree.tree_broadcast_prefix(prefix_tree, full_tree, is_leaf=is_leaf, namespace=NAMESPACE)
    except ValueError as problem:
        message = (
            f"tree.broadcast: the first tree, {structure(prefix_tree, is_leaf)}, must be a prefix of the second, "
            f"{structure(full_tree, is_leaf)}, but it is not: {problem}"
        )
        raise ArgumentError(located(message)) from None


# ---- containers of one's own -----------------------------------------------------------------------------------


def register_pytree_node(
    nodetype: type, flatten_func: Callable, unflatten_func: Callable, flatten_with_keys_func: Callable | None = None
) -> None:
    """Make `nodetype` a container: `flatten_func(x) -> (children, aux)`, `unflatten_func(aux, children) -> x`.

    `flatten_with_keys_func(x) -> ([(key, child), ...], aux)` names the children in paths, too.
    """
    if flatten_with_keys_func is not None:
        register_pytree_with_keys(nodetype, flatten_with_keys_func, unflatten_func)
    else:
        _register(nodetype, flatten_func, unflatten_func, optree.FlattenedEntry)


def _register(nodetype: type, to_children: Callable, from_children: Callable, entry: type) -> None:
    for namespace in (NAMESPACE, ARRAYS):
        optree.register_pytree_node(
            nodetype, to_children, from_children, path_entry_type=entry, namespace=namespace
        )


def register_pytree_with_keys(
    nodetype: type, flatten_with_keys: Callable, unflatten_func: Callable, flatten_func: Callable | None = None
) -> None:
    """Make `nodetype` a container whose children have names in paths.

    `flatten_with_keys(x) -> ([(key, child), ...], aux)`; keys are `GetAttrKey("name")` and the like, or anything
    else that is hashable. `flatten_func` is not needed: it would give the same children without their keys.
    """

    def to_children(x):
        pairs, aux = flatten_with_keys(x)
        keys = tuple(key for key, _ in pairs)
        # The keys belong to the structure, so that equal structures have equal paths.
        return [child for _, child in pairs], (aux, keys), keys

    _register(nodetype, to_children, lambda aux, children: unflatten_func(aux[0], children), OwnKey)


def register_pytree_node_class(cls: type) -> type:
    """Class decorator for a class with methods `tree_flatten(self)` and `tree_unflatten(cls, aux, children)`."""
    register_pytree_node(cls, lambda x: x.tree_flatten(), cls.tree_unflatten)  # type: ignore[attr-defined]
    return cls


def register_pytree_with_keys_class(cls: type) -> type:
    """Class decorator like `register_pytree_node_class` with a method `tree_flatten_with_keys(self)` besides."""
    register_pytree_with_keys(
        cls,
        lambda x: x.tree_flatten_with_keys(),
        cls.tree_unflatten,  # type: ignore[attr-defined]
    )
    return cls


def register_static(cls: type) -> type:
    """Make `cls`, whose objects are hashable, a container without children: all of it belongs to the structure."""
    register_pytree_node(cls, lambda x: ((), x), lambda x, children: x)
    return cls


def static(**options):
    """`dataclasses.field(**options)` for a field that belongs to the structure; see `register_dataclass`."""
    metadata = dict(options.pop("metadata", None) or {})
    if metadata.get("static", True) is not True:
        raise ArgumentError(located("tree.static: the metadata says that the field is not static"))
    return dataclasses.field(metadata={**metadata, "static": True}, **options)


def register_dataclass(nodetype: type, data_fields=None, meta_fields=None, drop_fields=()) -> type:
    """Make a dataclass a container; `meta_fields` belong to the structure, the others are children.

    Without `meta_fields` those fields belong to the structure that are marked by `static`. `drop_fields` belong to
    neither and get their defaults. A class that is no dataclass is taken with both lists given. Works as a decorator
    too. Raises `TypeError` when `nodetype` is not a dataclass otherwise, `ArgumentError` when the lists do not name
    every field once.
    """
    data, meta = _fields_of(nodetype, data_fields, meta_fields, tuple(drop_fields))
    keys = tuple(GetAttrKey(name) for name in data)

    def to_children(x):
        return [getattr(x, name) for name in data], tuple(getattr(x, name) for name in meta), keys

    def from_children(aux, children):
        return nodetype(**dict(zip(meta, aux)), **dict(zip(data, children)))

    _register(nodetype, to_children, from_children, OwnKey)
    return nodetype


def _fields_of(cls: type, data_fields, meta_fields, dropped: tuple) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names of the children, names of what belongs to the structure) of a class to be registered."""
    if not dataclasses.is_dataclass(cls):
        if data_fields is None or meta_fields is None:
            raise TypeError(
                located(
                    f"register_dataclass: {cls.__name__} is no dataclass; decorate it with @dataclass first, or give "
                    "both data_fields and meta_fields"
                )
            )
        return tuple(data_fields), tuple(meta_fields)
    fields = [field for field in dataclasses.fields(cls) if field.init and field.name not in dropped]
    names = [field.name for field in fields]
    if meta_fields is None:
        meta = tuple(field.name for field in fields if field.metadata.get("static", False))
        meta = meta if data_fields is None else tuple(name for name in names if name not in data_fields)
    else:
        meta = tuple(meta_fields)
    data = tuple(name for name in names if name not in meta) if data_fields is None else tuple(data_fields)
    if sorted(data + meta) != sorted(names):
        raise ArgumentError(
            located(
                f"register_dataclass: data_fields {data} and meta_fields {meta} must name each of the fields {names} "
                f"of {cls.__name__} once; list the others in drop_fields"
            )
        )
    return data, meta


class Partial(functools.partial):
    """`functools.partial` that is a container: its arguments are children, its function belongs to the structure."""


register_pytree_node(
    Partial,
    lambda x: ((x.args, x.keywords), x.func),
    lambda function, children: Partial(function, *children[0], **children[1]),
)
