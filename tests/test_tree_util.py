"""`ftiny.tree_util` against `jax.tree_util`: the same trees through the same functions, and the messages."""

from __future__ import annotations

import collections
import dataclasses
from types import SimpleNamespace

import numpy as np
import oracle
import pytest

import ftiny
from ftiny import errors, tree_util

oracle.jax_library()
import jax  # noqa: E402

Pair = collections.namedtuple("Pair", "first second")


def classes(m) -> SimpleNamespace:
    """One class of each kind of container, registered in library `m`."""

    @m.register_dataclass
    @dataclasses.dataclass
    class Marked:
        x: object
        y: object
        op: str = dataclasses.field(default="add", metadata={"static": True})

    @dataclasses.dataclass
    class Listed:
        x: object
        y: object
        dropped: int = dataclasses.field(init=True, default=7)

    m.register_dataclass(Listed, data_fields=["x"], meta_fields=["y"], drop_fields=["dropped"])

    class Plain:
        def __init__(self, *children):
            self.children = children

    m.register_pytree_node(Plain, lambda p: (p.children, "aux"), lambda aux, children: Plain(*children))

    @m.register_pytree_node_class
    class Methods(Plain):
        def tree_flatten(self):
            return self.children, None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

    @m.register_pytree_with_keys_class
    class Named(Methods):
        def tree_flatten_with_keys(self):
            return [(m.GetAttrKey(f"child{i}"), c) for i, c in enumerate(self.children)], None

    @m.register_static
    class Static(str):
        pass

    return SimpleNamespace(**{c.__name__: c for c in (Marked, Listed, Plain, Methods, Named, Static)})


LIBRARIES = [(tree_util, classes(tree_util)), (jax.tree_util, classes(jax.tree_util))]
TREES = {
    "leaf": lambda m, c: 5,
    "none": lambda m, c: None,
    "builtins": lambda m, c: {"b": [1, (2, None)], "a": {}, "c": Pair(3, {7: 4, 5: ()})},
    "dicts": lambda m, c: (collections.OrderedDict(z=1, y=2), collections.defaultdict(int, {"q": 1, "p": 2})),
    "dataclasses": lambda m, c: [c.Marked(1, [2, 3]), c.Listed(4, "meta")],
    "registered": lambda m, c: [c.Plain(1, (2, None)), c.Methods(3), c.Named(4, {"k": 5}), c.Static("s")],
    "partial": lambda m, c: m.Partial(max, 1, k=(2, 3)),
}


def both(run):
    """What `run(module, its classes)` gives in ftiny and in jax, made equal."""
    ours, theirs = (run(m, c) for m, c in LIBRARIES)
    assert ours == theirs
    return ours


@pytest.mark.parametrize("name", TREES)
def test_leaves_and_paths(name):
    make = TREES[name]
    both(lambda m, c: m.tree_leaves(make(m, c)))
    both(lambda m, c: [(m.keystr(path), leaf) for path, leaf in m.tree_leaves_with_path(make(m, c))])
    both(lambda m, c: [m.keystr(p, simple=True, separator="/") for p, _ in m.tree_flatten_with_path(make(m, c))[0]])
    both(lambda m, c: [[type(key).__name__ for key in path] for path, _ in m.tree_leaves_with_path(make(m, c))])
    for m, c in LIBRARIES:
        found, structure = m.tree_flatten(make(m, c))
        assert structure == m.tree_structure(m.tree_unflatten(structure, found))
        assert structure == m.tree_structure(m.tree_map(lambda x: x + 1, make(m, c)))
        assert hash(structure) == hash(m.tree_structure(make(m, c)))


@pytest.mark.parametrize("name", TREES)
def test_structures(name):
    make = TREES[name]

    def describe(m, structure):
        children = m.treedef_children(structure)
        return (m.treedef_is_leaf(structure), structure.num_leaves, [describe(m, child) for child in children])

    both(lambda m, c: describe(m, m.tree_structure(make(m, c))))
    both(lambda m, c: m.treedef_tuple([m.tree_structure(make(m, c)), m.tree_structure(0)]).num_leaves)
    for m, c in LIBRARIES:
        one = m.tree_structure(make(m, c))
        assert m.treedef_tuple([one, one]) == m.tree_structure((make(m, c), make(m, c)))


def test_leaf_predicates():
    tree = {"a": [1, [2, 3]], "b": (4, None)}
    both(lambda m, c: m.tree_leaves(tree, is_leaf=lambda x: isinstance(x, tuple)))
    both(lambda m, c: m.tree_map(str, tree, is_leaf=lambda x: x is None))
    seen = lambda m: lambda path, x: m.keystr(path) in ("['a'][1]", "['b'][1]")
    both(
        lambda m, c: m.tree_leaves(
            m.tree_map_with_path(
                lambda path, x: m.keystr(path) + str(x), tree, is_leaf=seen(m), is_leaf_takes_path=True
            )
        )
    )
    both(lambda m, c: [leaf for _, leaf in m.tree_leaves_with_path(tree, seen(m), is_leaf_takes_path=True)])
    both(lambda m, c: [m.all_leaves([1, "x"]), m.all_leaves([1, None]), m.all_leaves([1, (2,)]), m.all_leaves([])])
    both(lambda m, c: m.all_leaves([(1, 2), 3], is_leaf=lambda x: isinstance(x, tuple)))


def test_maps_and_folds():
    tree, other = {"a": 1, "b": (2, 3)}, {"a": 10, "b": ([20], {"k": 30})}
    both(lambda m, c: m.tree_map(lambda x, y: (x, y), tree, other))
    both(lambda m, c: m.tree_map_with_path(lambda path, x, y: (m.keystr(path), x, y), tree, other))
    both(lambda m, c: m.tree_reduce(lambda a, b: f"({a}{b})", tree))
    both(lambda m, c: m.tree_reduce(lambda a, b: f"({a}{b})", tree, "start"))
    both(lambda m, c: m.tree_reduce(lambda a, b: a + b, [[1], [2]], [], is_leaf=lambda x: x in ([1], [2])))
    for count in range(1, 10):
        both(lambda m, c: m.tree_reduce_associative(lambda a, b: a + b, list("abcdefghi"[:count])))  # noqa: B023
    both(lambda m, c: m.tree_reduce_associative(max, (), identity=-1))
    both(lambda m, c: [m.tree_all((1, [2, 0])), m.tree_all(()), m.tree_all(([], 1), is_leaf=lambda x: x == [])])
    both(lambda m, c: [m.tree_broadcast(1, (2, None)), m.tree_broadcast({"a": 1, "b": 2}, other)])


def test_transpose():
    rows = [{"a": 1, "b": (2,)}, {"a": 3, "b": (4,)}]
    outer, inner = [0, 0], {"a": 0, "b": (0,)}
    both(lambda m, c: m.tree_transpose(m.tree_structure(outer), m.tree_structure(inner), rows))
    both(lambda m, c: m.tree_transpose(m.tree_structure(outer), None, rows))
    with pytest.raises(errors.ArgumentError, match="tree.transpose: tree 2 must have the structure"):
        tree_util.tree_transpose(tree_util.tree_structure(outer), None, [rows[0], {"a": 1}])


def test_registered_classes_keep_their_parts():
    for m, c in LIBRARIES:
        listed = m.tree_map(lambda x: -x, c.Listed(1, "meta", 9))
        assert (listed.x, listed.y, listed.dropped) == (-1, "meta", 7)
        marked = m.tree_map(lambda x: -x, c.Marked(1, 2, "mul"))
        assert (marked.x, marked.y, marked.op) == (-1, -2, "mul")
        assert m.tree_structure(c.Marked(1, 2, "mul")) != m.tree_structure(c.Marked(1, 2, "add"))
        assert m.tree_structure(c.Static("a")) != m.tree_structure(c.Static("b"))
    add = tree_util.Partial(lambda a, b, c: a + b * c, 1.0, c=3.0)
    assert float(ftiny.jit(lambda f, x: f(x))(add, 2.0)) == 7.0
    assert float(ftiny.grad(lambda f: f(2.0))(add).args[0]) == 1.0


def test_static_fields():
    @tree_util.register_dataclass
    @dataclasses.dataclass
    class Layer:
        weight: object
        size: int = ftiny.tree.static(default=3, metadata={"unit": "cm"})

    assert tree_util.tree_leaves(Layer(1.0)) == [1.0]
    assert tree_util.keystr(tree_util.tree_leaves_with_path([Layer(1.0)])[0][0]) == "[0].weight"
    assert dataclasses.fields(Layer)[1].metadata == {"unit": "cm", "static": True}
    with pytest.raises(errors.ArgumentError, match="not static"):
        ftiny.tree.static(metadata={"static": False})


def test_keys():
    for name, value in (("DictKey", "a"), ("SequenceKey", 1), ("GetAttrKey", "a"), ("FlattenedIndexKey", 2)):
        both(lambda m, c: [repr(getattr(m, name)(value)), str(getattr(m, name)(value))])  # noqa: B023
    both(lambda m, c: m.keystr((1, "a", m.DictKey(3))))
    assert tree_util.DictKey("a") == tree_util.DictKey("a") != tree_util.GetAttrKey("a")


def test_one_level():
    trees = [lambda c: (1, [2]), lambda c: [{"b": 1}, None], lambda c: {"b": (1,), "a": 2}, lambda c: None,
             lambda c: Pair(1, [2]), lambda c: collections.OrderedDict(b=1, a=2), lambda c: {},
             lambda c: collections.defaultdict(int, {"b": 1}), lambda c: c.Marked(1, (2,), "mul")]
    for make in trees:
        both(lambda m, c: list(m.flatten_one_level(make(c))[0]))  # noqa: B023
        both(lambda m, c: m.flatten_one_level(make(c))[1])  # noqa: B023
        both(lambda m, c: [(str(key), child) for key, child in
                           m.flatten_one_level_with_keys(make(c))[0]] if type(make(c)) is not Pair else [])  # noqa: B023
    pairs, _ = tree_util.flatten_one_level_with_keys(Pair(1, 2))  # jax calls both of them `first`
    assert pairs == ((tree_util.GetAttrKey("first"), 1), (tree_util.GetAttrKey("second"), 2))
    both(lambda m, c: [m.is_tree_node(kind) for kind in (tuple, dict, int, Pair, type(None), c.Marked, c.Static)])
    for name in ("flatten_one_level", "flatten_one_level_with_keys"):
        with pytest.raises(ValueError, match="can't tree-flatten type: <class 'float'>"):
            getattr(tree_util, name)(3.0)


def test_one_level_of_classes_with_keys():
    class Box:
        def __init__(self, inside):
            self.inside = inside

    for m, _ in LIBRARIES:
        parts = lambda box, m=m: (((m.GetAttrKey("inside"), box.inside),), "meta")
        m.register_pytree_with_keys(Box, parts, lambda aux, children: Box(*children))
        assert m.flatten_one_level(Box([1]))[1] == "meta" and list(m.flatten_one_level(Box([1]))[0]) == [[1]]
        ((key, child),), metadata = m.flatten_one_level_with_keys(Box([1]))
        assert (str(key), child, metadata) == (".inside", [1], "meta")


def test_messages():
    with pytest.raises(TypeError, match="reduce_associative: the tree has no leaves; give identity="):
        tree_util.tree_reduce_associative(max, ())
    with pytest.raises(errors.ArgumentError, match="tree.broadcast: the first tree, .* must be a prefix of the second"):
        tree_util.tree_broadcast({"a": 1}, {"b": 2})
    with pytest.raises(TypeError, match="Point is no dataclass; decorate it with @dataclass first, or give both"):
        tree_util.register_dataclass(type("Point", (), {}))
    with pytest.raises(errors.ArgumentError, match=r"must name each of the fields \['x', 'y'\] of Point once"):
        tree_util.register_dataclass(
            dataclasses.make_dataclass("Point", ["x", "y"]), data_fields=["x"], meta_fields=["z"]
        )


def test_a_structure_with_an_unhashable_part_has_paths_and_transformations():
    class Box:
        def __init__(self, x, notes):
            self.x, self.notes = x, notes

    ftiny.tree.register_pytree_node(Box, lambda box: ((box.x,), box.notes), lambda notes, x: Box(x[0], notes))
    box = Box(np.float32([1, 2]), ["a list"])
    assert [ftiny.tree.keystr(path) for path, _ in ftiny.tree.leaves_with_path(box)] == ["[<flat index 0>]"]
    np.testing.assert_array_equal(ftiny.grad(lambda box: box.x @ box.x)(box).x, [2, 4])
    np.testing.assert_array_equal(ftiny.vmap(lambda box: box.x * 2)(box), [2, 4])
