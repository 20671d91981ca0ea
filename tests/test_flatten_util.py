"""`ravel_pytree` against jax."""

from __future__ import annotations

import numpy as np
import oracle  # noqa: F401  (sets the environment of jax before it is imported)
import pytest

import ftiny
from ftiny.errors import ShapeError
from ftiny.flatten_util import ravel_pytree

TREES = {
    "layers": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": (np.float32(7), np.zeros((0, 2), np.float32))},
    "mixed": [np.arange(3, dtype=np.int32), np.ones((2,), np.float32), np.array(True)],
    "integers": (np.arange(4, dtype=np.int8), np.arange(2, dtype=np.int32)),
    "empty": {},
}


@pytest.mark.parametrize("name", TREES)
def test_there_and_back(name):
    """The vector and its dtype are jax's; the way back gives shapes, dtypes and values."""
    from jax import flatten_util

    vector, unravel = ravel_pytree(TREES[name])
    wanted, _ = flatten_util.ravel_pytree(TREES[name])
    assert vector.dtype == wanted.dtype
    np.testing.assert_array_equal(vector, wanted)
    back, given = unravel(vector), TREES[name]
    assert ftiny.tree.structure(back) == ftiny.tree.structure(given)
    for x, y in zip(ftiny.tree.leaves(back), ftiny.tree.leaves(given)):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)


def test_transformed():
    """Through grad and jit, as an optimiser uses it."""
    vector, unravel = ravel_pytree(TREES["layers"])
    loss = lambda v: (unravel(v)["w"] ** 2).sum() + 3 * unravel(v)["b"][0]
    found = ftiny.jit(ftiny.grad(loss))(vector)
    np.testing.assert_array_equal(found, ravel_pytree(ftiny.grad(lambda p: (p["w"] ** 2).sum() + 3 * p["b"][0])(
        ftiny.tree.map(ftiny.numpy.asarray, TREES["layers"])))[0])


def test_another_length():
    with pytest.raises(ShapeError, match=r"takes a vector of shape \(7,\).*not an array of shape \(8,\)"):
        ravel_pytree(TREES["layers"])[1](ftiny.numpy.zeros(8))
