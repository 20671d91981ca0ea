"""Simplification: what disappears, what must stay, and that nothing changes the values."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import ftiny.numpy as fnp
from ftiny import contraction, core, folds, primitives, structure
from ftiny.core import Aval, Literal
from ftiny.lowering.interpret import interpret
from ftiny.lowering.simplify import simplify
from ftiny.transforms.call import barrier
from ftiny.transforms.jit import jit

F32 = np.dtype(np.float32)
X = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def names(function, *arrays) -> list[str]:
    """The operations left of a function after simplification, whose values are compared on the way."""
    jaxpr = core.stage(lambda *xs: [function(*xs)], [core.get_aval(a) for a in arrays])
    simple = simplify(jaxpr)
    core.check_jaxpr(simple.jaxpr)
    constants = [np.asarray(c) for c in jaxpr.consts]
    for found, wanted in zip(interpret(simple.jaxpr, [*constants, *arrays]), interpret(jaxpr, arrays)):
        np.testing.assert_array_equal(found, wanted)
    assert len(simple.sources) == len(simple.jaxpr.eqns)
    return [e.primitive.show(e.params) for e in simple.jaxpr.eqns]


@pytest.mark.parametrize("function, left", [
    (lambda x: primitives.mul(x, 1.0), []),
    (lambda x: primitives.add(x, 0.0), []),
    (lambda x: primitives.div(x, 1.0), []),
    (lambda x: primitives.neg(primitives.neg(x)), []),
    (lambda x: primitives.pow(x, 2.0), ["mul"]),
    (lambda x: structure.transpose(structure.transpose(x, (1, 0)), (1, 0)), []),
    (lambda x: structure.reshape(structure.reshape(x, (12,)), (3, 4)), []),
    (lambda x: structure.reshape(structure.reshape(x, (12,)), (2, 6)), ["reshape"]),
    (lambda x: primitives.mul(x, structure.broadcast(np.float32(2), (3, 4), ())), ["mul"]),
    (lambda x: primitives.add(x, primitives.mul(primitives.add(np.float32(1), np.float32(2)), 3.0)), ["add"]),
    (lambda x: primitives.select(primitives.compare(np.float32(1), np.float32(2), "lt"), x, 0.0), []),
    (lambda x: primitives.add(primitives.math(x, fn="exp"), primitives.math(x, fn="exp")), ["exp", "add"]),
])
def test_patterns(function, left):
    assert names(function, X) == left


@pytest.mark.parametrize("spec", ["i,j->ij", "i,j->ji", "bi,bj->bij", "bi,bj->jbi", "ij,->ji"])
def test_outer_products_are_elementwise(spec):
    left, right = spec.split("->")[0].split(",")
    shape = {"i": 3, "j": 4, "b": 2}
    arrays = [np.arange(1, 1 + np.prod([shape[c] for c in part], dtype=int), dtype=np.float32).reshape(
        [shape[c] for c in part]) for part in (left, right)]
    assert "contract" not in names(lambda x, y: fnp.einsum(spec, x, y), *arrays)


def test_a_scalar_beside_a_splat_is_spread_afterwards():
    """The splat becomes a scalar literal; the result keeps its shape."""
    spread = lambda x: primitives.mul(structure.broadcast(np.float32(2), (3,), ()), primitives.math(x, fn="exp"))
    assert names(spread, np.float32(1)) == ["exp", "mul", "broadcast"]


def test_dead_equations_go():
    def function(x):
        primitives.math(x, fn="sin")
        return primitives.math(x, fn="cos")

    assert names(function, X) == ["cos"]


def test_calls_are_inlined_at_any_depth():
    inner = jit(lambda x: primitives.mul(x, 3.0))
    outer = jit(lambda x: primitives.add(inner(x), inner(primitives.math(x, fn="exp"))))
    assert names(outer, X) == ["mul", "exp", "mul", "add"]


def test_a_barrier_keeps_a_recomputed_value_apart():
    def function(x):
        again = primitives.math(barrier(x)[0], fn="exp")
        return primitives.add(primitives.math(x, fn="exp"), again)

    assert names(function, X) == ["exp", "exp", "add"]


def test_transposes_go_into_contractions():
    spec = contraction.from_letters("ij,jk->ik", (4, 3), (3, 4))

    def function(x):
        return structure.transpose(folds.contract(structure.transpose(x, (1, 0)), x, spec), (1, 0))

    assert names(function, X) == ["contract"]


def test_a_contraction_that_is_read_both_ways_is_computed_once():
    spec = contraction.from_letters("ij,jk->ik", (4, 3), (3, 4))

    def function(x):
        y = folds.contract(structure.transpose(x, (1, 0)), x, spec)
        return primitives.add(y, structure.transpose(y, (1, 0)))

    assert names(function, X) == ["contract", "transpose", "add"]


def test_a_merged_equation_remembers_both_lines():
    def function(x):
        first = primitives.math(x, fn="exp")
        second = primitives.math(x, fn="exp")
        return primitives.add(first, second)

    jaxpr = core.stage(lambda x: [function(x)], [core.get_aval(X)])
    lines = simplify(jaxpr).sources[0]
    assert len(lines) == 2 and lines[1].line == lines[0].line + 1


def test_folded_literals_keep_their_dtype():
    jaxpr = core.stage(lambda: [primitives.add(np.int8(100), np.int8(100))], [])
    (result,) = simplify(jaxpr).jaxpr.outputs
    assert isinstance(result, Literal) and result.aval.dtype == np.int8 and int(result.value) == -56


def test_cost_is_linear():
    def calls(length: int) -> int:
        def chain(x):
            for _ in range(length):
                x = primitives.add(primitives.mul(x, x), 1.0)
            return [x]

        jaxpr = core.stage(chain, [Aval((3,), F32)])
        count = 0

        def profile(frame, event, argument):
            nonlocal count
            count += event == "call"

        sys.setprofile(profile)
        try:
            simplify(jaxpr)
        finally:
            sys.setprofile(None)
        return count

    assert calls(200) < 2.2 * calls(100)
