"""Finding, reading, verifying and downloading data sets, on small stand-ins with their own sums."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftiny import data
from ftiny.errors import DataError


def sums_of(arrays):
    return tuple(hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest() for a in arrays)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A data set 'mnist' of a few images; nothing outside tmp_path is looked at."""
    rng = np.random.RandomState(0)
    arrays = [rng.randint(0, 256, shape).astype(np.uint8) for shape in ((5, 28, 28), (5,), (2, 28, 28), (2,))]
    monkeypatch.setitem(
        data.RECIPES, "mnist", replace(data.RECIPES["mnist"], sums=sums_of(arrays), url="file:///nowhere/mnist.npz")
    )
    monkeypatch.setattr(
        data, "places", lambda directory=None: [Path(p) for p in (directory, tmp_path / "a", tmp_path / "cache") if p]
    )
    return dict(zip(data.Dataset._fields, arrays))


def test_found_in_a_folder(small, tmp_path):
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a" / "mnist.npz", **small)
    assert data.find("mnist") == tmp_path / "a" / "mnist.npz"
    found = data.mnist()
    for field, wanted in small.items():
        np.testing.assert_array_equal(getattr(found, field), wanted)


def test_places(monkeypatch, tmp_path):
    monkeypatch.setenv("FTINY_DATA", str(tmp_path / "chosen"))
    monkeypatch.setenv("FTINY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    found = data.places(tmp_path / "argument")
    assert found[:4] == [tmp_path / "argument", tmp_path / "chosen", tmp_path / "data", tmp_path / "examples" / "data"]
    assert Path(data.__file__).resolve().parent.parent / "examples" / "data" in found
    assert found[-1] == tmp_path / "cache" / "data"


def test_not_found_lists_the_places(small, tmp_path):
    with pytest.raises(DataError, match="not found, and download=False") as caught:
        data.mnist(tmp_path / "mine", download=False)
    for place in ("mine", "a", "cache"):
        assert str(tmp_path / place) in str(caught.value)
    assert "set FTINY_DATA" in str(caught.value)
    with pytest.raises(DataError, match="the download from file:///nowhere/mnist.npz failed"):
        data.mnist()
    assert isinstance(caught.value, FileNotFoundError)


def test_download_is_kept_and_verified(small, tmp_path, monkeypatch):
    np.savez(tmp_path / "origin.npz", **small)
    monkeypatch.setitem(data.RECIPES, "mnist", replace(data.RECIPES["mnist"], url=(tmp_path / "origin.npz").as_uri()))
    np.testing.assert_array_equal(data.mnist().y_train, small["y_train"])
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["mnist.npz"]
    (tmp_path / "origin.npz").unlink()
    np.testing.assert_array_equal(data.mnist().y_train, small["y_train"])


def test_changed_contents(small, tmp_path):
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a" / "mnist.npz", **{**small, "y_test": small["y_test"] + np.uint8(1)})
    with pytest.raises(DataError, match="the array 'y_test' is not that of the original mnist"):
        data.mnist()
    (tmp_path / "a" / "mnist.npz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match="cannot be read as the data set 'mnist'"):
        data.mnist()
    np.savez(tmp_path / "a" / "mnist.npz", x_train=small["x_train"])
    with pytest.raises(DataError, match="has no array 'y_train'"):
        data.mnist()


def test_cifar_binary_formats(small, tmp_path, monkeypatch):
    rng = np.random.RandomState(1)
    records = [rng.randint(0, 256, (3, 3073)).astype(np.uint8) for _ in range(6)]
    folder = tmp_path / "a" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for name, record in zip(names, records):
        (folder / name).write_bytes(record.tobytes())
    images = [r[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for r in records]
    wanted = [np.concatenate(images[:5]), np.concatenate([r[:, 0] for r in records[:5]]), images[5], records[5][:, 0]]
    monkeypatch.setitem(data.RECIPES, "cifar10", replace(data.RECIPES["cifar10"], sums=sums_of(wanted)))
    np.testing.assert_array_equal(data.cifar10().x_train, wanted[0])
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, record in zip(names, records):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = record.nbytes
            archive.addfile(member, io.BytesIO(record.tobytes()))
    np.testing.assert_array_equal(data.cifar10(tmp_path / "b").y_test, wanted[3])


def test_unknown_name():
    with pytest.raises(DataError, match="there is no data set 'imagenet'; there are mnist, cifar10"):
        data.load("imagenet")


def test_mnist_of_the_source_tree():
    path = Path(data.__file__).resolve().parent.parent / "examples" / "data"
    if not (path / "mnist.npz").exists():
        pytest.skip("the source tree has no examples/data/mnist.npz")
    found = data.mnist(path, download=False)
    assert found.x_train.shape == (60000, 28, 28) and found.y_train[:5].tolist() == [5, 0, 4, 1, 9]
