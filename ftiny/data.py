"""Data sets: found in a folder, or downloaded once and verified.

Input: nothing, or a folder. Output: numpy arrays (x_train, y_train, x_test, y_test), bytes as in the original files:

    >>> train, labels, test, test_labels = mnist()
    >>> train.shape, labels[:5]
    ((60000, 28, 28), array([5, 0, 4, 1, 9], dtype=uint8))

Looked for in, one after another: the folder given, `$FTINY_DATA`, `./data`, `./examples/data`, `data` beside the
running script, `examples/data` of the source tree, and the cache folder, into which downloads go. Every array is
checked against its SHA-256 sum, wherever it came from. `DataError` lists the places when a set is nowhere.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ftiny.errors import DataError
from ftiny.lowering.cache import cache_directory


class Dataset(NamedTuple):
    """Images (uint8) and labels (uint8) for training and for testing."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """How a data set is recognised and had: the file names that may hold it, its reader, where to download it.

    `sums` are the SHA-256 sums of the bytes of the four arrays.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], Dataset]
    url: str
    download_as: str
    sums: tuple[str, str, str, str]


def _read_npz(path: Path) -> Dataset:
    with np.load(path, allow_pickle=False) as archive:
        missing = [key for key in Dataset._fields if key not in archive]
        if missing:
            raise DataError(f"{path} has no array {missing[0]!r}; it has {', '.join(archive.files)}")
        return Dataset(*(archive[key] for key in Dataset._fields))


_CIFAR_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6)) + ("test_batch.bin",)


def _cifar_batch(raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Records of a label byte and 3072 bytes of pixels, by channel, as (images, labels), channels last."""
    records = np.frombuffer(raw, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def _read_cifar(path: Path) -> Dataset:
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.is_dir():
        batches = [_cifar_batch((path / name).read_bytes()) for name in _CIFAR_BATCHES]
    else:
        with tarfile.open(path) as archive:
            members = {os.path.basename(member.name): member for member in archive.getmembers()}
            streams = [archive.extractfile(members[name]) for name in _CIFAR_BATCHES]
            batches = [_cifar_batch(stream.read()) for stream in streams if stream is not None]
    images, labels = (np.concatenate(parts) for parts in zip(*batches[:5]))
    return Dataset(images, labels, np.ascontiguousarray(batches[5][0]), batches[5][1].copy())


RECIPES = {
    "mnist": Recipe(
        "mnist",
        ("mnist.npz",),
        _read_npz,
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "mnist.npz",
        (
            "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        ),
    ),
    "cifar10": Recipe(
        "cifar10",
        ("cifar10.npz", "cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
        _read_cifar,
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "cifar-10-binary.tar.gz",
        (
            "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
            "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
            "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
            "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        ),
    ),
}


# ---- finding ---------------------------------------------------------------------------------------------------


def places(directory: str | os.PathLike | None = None) -> list[Path]:
    """The folders in which a data set is looked for, in order; the last is the one for downloads."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    candidates = [
        directory,
        os.environ.get("FTINY_DATA"),
        "data",
        os.path.join("examples", "data"),
        os.path.join(os.path.dirname(script), "data") if script else None,
        Path(__file__).resolve().parent.parent / "examples" / "data",
        cache_directory() / "data",
    ]
    return list(dict.fromkeys(Path(place).expanduser().absolute() for place in candidates if place))


def find(name: str, directory: str | os.PathLike | None = None) -> Path | None:
    """The file or folder that holds the data set, or None."""
    recipe = _recipe(name)
    for place in places(directory):
        for file in recipe.files:
            if (place / file).exists():
                return place / file
    return None


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise DataError(f"there is no data set {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def load(name: str, directory: str | os.PathLike | None = None, download: bool = True) -> Dataset:
    """The data set `name` ('mnist' or 'cifar10') as numpy arrays.

    Args:
        directory: a folder to look in first. download: whether to fetch it from its first host when it is nowhere.

    Raises `DataError` when it is not found (with all places and what went wrong with the download), or when the
    contents are not those of the original.
    """
    recipe = _recipe(name)
    found = find(name, directory)
    if found is None:
        found = _download(recipe, directory, download)
    try:
        dataset = recipe.read(found)
    except (OSError, ValueError, KeyError, tarfile.TarError) as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(
            f"{found} cannot be read as the data set {name!r} ({problem}); delete it to have it downloaded"
        ) from None
    _verify(recipe, dataset, found)
    return dataset


def _verify(recipe: Recipe, dataset: Dataset, path: Path) -> None:
    for field, array, wanted in zip(Dataset._fields, dataset, recipe.sums):
        if hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() != wanted:
            raise DataError(
                f"{path}: the array {field!r} is not that of the original {recipe.name} (its SHA-256 sum "
                f"differs; shape {array.shape}, dtype {array.dtype}); delete the file to have it downloaded"
            )


def _download(recipe: Recipe, directory, allowed: bool) -> Path:
    listed = "".join(f"\n  {place}" for place in places(directory))
    way_out = f"Put {' or '.join(recipe.files)} into one of these folders, or set FTINY_DATA to the folder that has it."
    if not allowed:
        raise DataError(
            f"the data set {recipe.name!r} was not found, and download=False. Looked in:{listed}\n{way_out}"
        )
    target = places(directory)[-1] / recipe.download_as
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
            try:
                with urllib.request.urlopen(recipe.url, timeout=30) as response:
                    while chunk := response.read(1 << 20):
                        part.write(chunk)
            except BaseException:
                os.unlink(part.name)
                raise
        os.replace(part.name, target)
    except OSError as problem:
        raise DataError(
            f"the data set {recipe.name!r} was not found, and the download from {recipe.url} failed "
            f"({problem}). Looked in:{listed}\n{way_out}"
        ) from None
    return target


# ---- by name ---------------------------------------------------------------------------------------------------


def mnist(directory: str | os.PathLike | None = None, download: bool = True) -> Dataset:
    """MNIST: 60,000 + 10,000 images of (28, 28) uint8, and labels 0 to 9; arguments as for `load`."""
    return load("mnist", directory, download)


def cifar10(directory: str | os.PathLike | None = None, download: bool = True) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 images of (32, 32, 3) uint8, RGB, and labels 0 to 9; arguments as for `load`."""
    return load("cifar10", directory, download)
