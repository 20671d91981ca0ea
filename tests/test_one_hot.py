"""Scatters of one element a row are selections: what is rewritten, what is not, and that the values stay."""

from __future__ import annotations

import numpy as np
import pytest
from compiling import groups_of, kinds, program_of

import ftiny.numpy as fnp
from ftiny import grad, nn, vmap
from ftiny.lowering.interpret import interpret
from ftiny.lowering.simplify import simplify

RNG = np.random.default_rng()
X = RNG.standard_normal((37, 7, 3)).astype(np.float32)
ROWS = RNG.standard_normal((37, 3)).astype(np.float32)


def scatters(function, *arguments) -> int:
    """How many scatters are left, after the values have been compared."""
    jaxpr, leaves = program_of(function, *arguments)
    simple = simplify(jaxpr).jaxpr
    constants = [np.asarray(c) for c in jaxpr.consts]
    for found, wanted in zip(interpret(simple, [*constants, *leaves]), interpret(jaxpr, leaves)):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    return sum(e.primitive.name == "scatter" for e in simple.eqns)


def picked(x, labels):
    return fnp.sin(x[fnp.arange(x.shape[0]), labels]).sum()


def taken(x, labels):
    return fnp.sin(fnp.take_along_axis(x, labels[:, None, None], axis=1)).sum()


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint32"])
@pytest.mark.parametrize("function", [picked, taken])
def test_the_gradient_of_picking_one_element_a_row(function, dtype):
    labels = RNG.integers(0, 7, 37).astype(dtype)
    assert scatters(grad(function), X, labels) == 0
    if np.dtype(dtype).kind == "i":
        assert scatters(grad(function), X, (labels - 7).astype(dtype)) == 0


@pytest.mark.parametrize("mode", ["clip", "drop"])
@pytest.mark.parametrize("op", ["set", "add", "multiply"])
def test_indices_out_of_bounds(op, mode):
    def function(labels, rows):
        return getattr(fnp.full((37, 7, 3), 2.5).at[fnp.arange(37), labels], op)(rows, mode=mode)

    assert scatters(function, RNG.integers(-30, 30, 37), ROWS) == 0


def test_one_place_for_all_and_mapped_places():
    assert scatters(lambda k: fnp.zeros((7, 3)).at[k].set(ROWS[0]), np.int32(4)) == 0
    assert scatters(vmap(grad(lambda x, k: fnp.sin(x[k]).sum())), X, RNG.integers(0, 7, 37)) == 0


def test_what_stays_a_scatter():
    """Updates that may meet, and updates of what is in memory already, where a pass would cost more."""
    assert scatters(lambda k: fnp.zeros((7, 3)).at[k].add(ROWS), RNG.integers(0, 7, 37)) == 1
    assert scatters(lambda x, k: x.at[fnp.arange(37), k].set(ROWS), X, RNG.integers(0, 7, 37)) == 1


@pytest.mark.parametrize("batch", [(), (3,)])
def test_cross_entropy_and_its_gradient_are_one_pass_and_the_mean(batch):
    def loss(x, labels):
        return (nn.logsumexp(x, axis=-1) - fnp.take_along_axis(x, labels[..., None], axis=-1)[..., 0]).mean()

    arguments = np.zeros((*batch, 4096, 577), "f4"), np.zeros((*batch, 4096), "i4")
    assert kinds(groups_of(grad(loss), *arguments)) == ["fold"]
