"""Collectives under `vmap(axis_name=)`, with their derivatives and nested, against jax."""
from __future__ import annotations

import numpy as np
import oracle
import pytest

import ftiny
from ftiny import collectives
from ftiny import primitives as p
from ftiny.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(size=(4, 8, 4)).astype(np.float32)
CASES = {
    "psum": (lambda x: collectives.psum(x, "i"), lambda lax, x: lax.psum(x, "i")),
    "pmax": (lambda x: collectives.psum(x, ("i",), "max"), lambda lax, x: lax.pmax(x, "i")),
    "all_gather": (lambda x: collectives.all_gather(x, "i"), lambda lax, x: lax.all_gather(x, "i")),
    "all_gather_last": (lambda x: collectives.all_gather(x, "i", 2), lambda lax, x: lax.all_gather(x, "i", axis=2)),
    "all_gather_tiled": (lambda x: collectives.all_gather(x, "i", 1, True),
                         lambda lax, x: lax.all_gather(x, "i", axis=1, tiled=True)),
    "reduce_scatter": (lambda x: collectives.reduce_scatter(x, "i", 1),
                       lambda lax, x: lax.psum_scatter(x, "i", scatter_dimension=1)),
    "reduce_scatter_tiled": (lambda x: collectives.reduce_scatter(x, "i", 0, True),
                             lambda lax, x: lax.psum_scatter(x, "i", scatter_dimension=0, tiled=True)),
    "ppermute": (lambda x: collectives.ppermute(x, "i", [(0, 1), (1, 2), (3, 0), (2, 3)]),
                 lambda lax, x: lax.ppermute(x, "i", [(0, 1), (1, 2), (3, 0), (2, 3)])),
    "all_to_all": (lambda x: collectives.all_to_all(x, "i", 1, 0), lambda lax, x: lax.all_to_all(x, "i", 1, 0)),
    "all_to_all_tiled": (lambda x: collectives.all_to_all(x, "i", 0, 1, True),
                         lambda lax, x: lax.all_to_all(x, "i", 0, 1, tiled=True)),
    "axis_index": (lambda x: p.mul(x, p.convert(collectives.axis_index("i"), x.dtype)),
                   lambda lax, x: x * lax.axis_index("i")),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_as_jax(name):
    jax = oracle.jax_library()
    ours, theirs = CASES[name]
    found = ftiny.vmap(ours, axis_name="i")(X)
    expected = jax.vmap(lambda x: theirs(jax.lax, x), axis_name="i")(X)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-5, atol=1e-5)

    def loss(x):
        y = ours(x)
        return p.reduce_axes(p.mul(y, p.math(y, fn="sin")), range(y.ndim), "sum")

    if name not in ("pmax", "all_to_all"):  # jax has no derivative of the first, and a wrong shape in the second
        found = ftiny.vmap(ftiny.grad(loss), axis_name="i")(X)
        expected = jax.vmap(jax.grad(lambda x: (theirs(jax.lax, x) * jax.numpy.sin(theirs(jax.lax, x))).sum()),
                            axis_name="i")(X)
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("in_axes", [0, 1, 3])
def test_another_vmap_inside(name, in_axes):
    jax = oracle.jax_library()
    ours, theirs = CASES[name]
    x = np.random.default_rng(1).normal(size=(4, 3, 8, 4)).astype(np.float32)

    def call(m, f, x, outer, inner):
        return np.asarray(m.vmap(m.vmap(f, in_axes=inner), in_axes=outer, axis_name="i")(x))

    expected = call(jax, lambda x: theirs(jax.lax, x), x, 0, 0)
    outer = 1 if in_axes == 0 else 0
    moved = np.moveaxis(np.moveaxis(x, 1, 3), (3, 0), (in_axes, outer))
    found = call(ftiny, ours, moved, outer, in_axes - (in_axes > outer))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_copies_that_are_sent_nothing_hold_zeros():
    found = np.asarray(ftiny.vmap(lambda x: collectives.ppermute(x, "i", [(0, 2)]), axis_name="i")(X))
    np.testing.assert_array_equal(found[2], X[0])
    assert not found[[0, 1, 3]].any()


def test_errors():
    with pytest.raises(ArgumentError, match="no mapped axis is called 'j'"):
        ftiny.vmap(lambda x: collectives.psum(x, "j"), axis_name="i")(X)
    with pytest.raises(ArgumentError, match="once"):
        ftiny.vmap(lambda x: collectives.ppermute(x, "i", [(0, 1), (2, 1)]), axis_name="i")(X)
    with pytest.raises(ShapeError, match="cannot be dealt out to 4 copies"):
        ftiny.vmap(lambda x: collectives.reduce_scatter(x, "i", 0), axis_name="i")(X)
    found = ftiny.vmap(lambda x: p.mul(x, collectives.psum(1, "i")), axis_name="i")(X)
    np.testing.assert_allclose(np.asarray(found), X * 4)
