"""Trees in safetensors files: what comes back, what other libraries read and write, and what is refused."""

from __future__ import annotations

import collections
import os
import sys

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import dtypes, errors, io

safetensors = pytest.importorskip("safetensors.numpy")

Point = collections.namedtuple("Point", "x y")
TREE = {
    "layers": [{"w": np.float32([[1, 2], [3, 4]]), "b": np.zeros(2, np.float16)}, (np.array(True), None)],
    "step": 7,
    "empty": {},
    3: np.zeros((0, 2), np.int8),
}


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


def message(error, function, *args, **kwargs) -> str:
    """The message of the error that a call raises, which names the line of this file."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert "test_io.py" in str(caught.value)
    return str(caught.value)


def assert_same_trees(found, wanted):
    """Equal structures, and arrays of equal dtypes and elements."""
    assert ftiny.tree.structure(found) == ftiny.tree.structure(wanted)
    for a, b in zip(ftiny.tree.leaves(found), map(fnp.asarray, ftiny.tree.leaves(wanted))):
        assert type(a) is ftiny.Array and (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


def test_a_tree_comes_back(tmp_path):
    path = tmp_path / "tree.safetensors"
    tree = {key: TREE[key] for key in ("layers", "step", "empty")}
    io.save(path, tree, {"epoch": "3"})
    assert_same_trees(io.load(path), tree)
    assert_same_trees(io.load(str(path), like=tree), tree)
    assert_same_trees(io.load(path, like=ftiny.eval_shape(lambda: ftiny.tree.map(fnp.asarray, tree))), tree)
    assert io.read_metadata(path) == {"epoch": "3"}
    assert os.listdir(tmp_path) == ["tree.safetensors"]


@pytest.mark.parametrize("tree", [{3: TREE[3]}, [], (), None, np.float32([1, 2]), [[1], (2.5,)]], ids=repr)
def test_small_trees(tmp_path, tree):
    path = tmp_path / "tree.safetensors"
    io.save(path, tree)
    assert_same_trees(io.load(path), tree)


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d != dtypes.complex128], ids=str)
def test_every_dtype(tmp_path, dtype):
    path = tmp_path / "one.safetensors"
    x = np.arange(6).reshape(2, 3).astype(dtype)
    io.save(path, {"x": x, "transposed": fnp.asarray(x).T, "scalar": x[0, 1]})
    found = io.load(path)
    assert_same_trees(found, {"x": x, "transposed": x.T, "scalar": x[0, 1]})


def test_keys(tmp_path):
    path = tmp_path / "key.safetensors"
    key = ftiny.random.PRNGKey(3)
    io.save(path, key)
    np.testing.assert_array_equal(ftiny.random.normal(io.load(path)), ftiny.random.normal(key))


def test_files_of_other_libraries(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.save_file({"layer.0.weight": np.ones((2, 3), np.float32), "b": np.int64([1])}, path)
    found = io.load(path)
    assert_same_trees(found, {"layer.0.weight": np.ones((2, 3), np.float32), "b": np.int64([1])})
    like = {"b": np.int64([0]), "layer": [{"weight": ftiny.ShapeDtypeStruct((2, 3), "float32")}]}
    assert io.load(path, like)["layer"][0]["weight"].shape == (2, 3) and io.read_metadata(path) == {}

    io.save(path, {"layer": [{"weight": np.ones(2, np.float32)}]})
    assert list(safetensors.load_file(path)) == ["layer.0.weight"]


def test_containers_that_only_like_can_rebuild(tmp_path):
    path = tmp_path / "point.safetensors"
    tree = [Point(np.float32(1), np.int32([2]))]
    io.save(path, tree)
    text = message(errors.ArgumentError, io.load, path)
    assert "tree[0]" in text and "Point" in text and "like=tree" in text
    assert_same_trees(io.load(path, like=tree), tree)


def test_what_does_not_fit(tmp_path):
    path = tmp_path / "x.safetensors"
    io.save(path, {"a": np.float32([1, 2]), "b": [np.int32(1)]})
    text = message(errors.ShapeError, io.load, path, {"a": np.ones(3, np.float32), "b": [np.int32(0)]})
    assert "tree['a']" in text and "(2,)" in text and "(3,)" in text
    text = message(errors.DtypeError, io.load, path, {"a": np.ones(2, np.float32), "b": [np.int64(0)]})
    assert "tree['b'][0]" in text and "int32" in text and "int64" in text
    text = message(errors.ArgumentError, io.load, path, {"a": np.ones(2, np.float32), "c": np.ones(2)})
    assert "lacks tree['c'] ('c')" in text and "holds 'b.0' besides" in text


def test_a_file_that_somebody_changed(tmp_path):
    path = tmp_path / "x.safetensors"
    io.save(path, {"a": 1, "b": 2.0})
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    for names, told in (("a", "no 'b'"), ("abc", "'c' belong to no place")):
        arrays = {name: np.ones(2, np.float32) for name in names}
        safetensors.save_file(arrays, path, metadata=metadata)
        assert told in message(errors.ArgumentError, io.load, path)
        assert list(io.load(path, like=arrays)) == list(names)


def test_what_cannot_be_saved(tmp_path):
    path = tmp_path / "x.safetensors"
    assert "tree['z']" in message(errors.DtypeError, io.save, path, {"z": np.ones(2, np.complex128)})
    assert "tree[0]" in message(errors.ArgumentError, io.save, path, ["text"])
    assert "tree['a.b']" in message(errors.ArgumentError, io.save, path, {"a": {"b": 1}, "a.b": 2})
    assert "'step'" in message(errors.ArgumentError, io.save, path, [1], {"step": 3})
    assert "'ftiny.tree'" in message(errors.ArgumentError, io.save, path, [1], {"ftiny.tree": ""})
    assert "tree['w']" in message(errors.TracerError, ftiny.jit(lambda x: io.save(path, {"w": x})), 1.0)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    io.save(path, [1])

    def fail(arrays, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(safetensors, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        io.save(path, [2])
    assert os.listdir(tmp_path) == ["x.safetensors"] and io.load(path)[0].item() == 1


def test_files_that_are_none(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"something else")
    assert "safetensors file" in message(errors.ArgumentError, io.load, path)
    assert "safetensors file" in message(errors.ArgumentError, io.read_metadata, path)
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "missing")


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    assert "ftiny[io]" in message(ImportError, io.save, tmp_path / "x", [1])
    assert "ftiny[io]" in message(ImportError, io.load, tmp_path / "x")
