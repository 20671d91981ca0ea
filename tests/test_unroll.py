"""Loops laid out as launches: the same results as the loops, and a plan that keeps its rules."""

from __future__ import annotations

import numpy as np
import pytest
from test_plan import plan_of

import ftiny.numpy as jnp
from ftiny import disable_jit, jit, lax, tree
from ftiny.lowering.plan_types import Copy, Graph, Loop, check_plan
from ftiny.lowering.unroll import unroll

pytestmark = pytest.mark.usefixtures("loops_as_steps")
X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
C = np.random.default_rng(1).normal(size=5).astype(np.float32)
W = np.random.default_rng(2).normal(size=(5, 5)).astype(np.float32)


def nested(c, xs, w):
    """A loop in the body of a loop."""

    def body(c, x):
        inner, _ = lax.scan(lambda d, _: (jnp.tanh(d @ w), None), c, None, length=3)
        return inner + x, inner

    return lax.scan(body, c, xs)


# Functions of (carry, xs, a matrix), and the steps of the plan, or None where the loop stays.
LOOPS = {
    "carry is y": (lambda c, xs, w: lax.scan(lambda c, x: (c * 0.5 + x,) * 2, c, xs), [Graph, Copy]),
    "reverse": (lambda c, xs, w: lax.scan(lambda c, x: (jnp.sin(c) + x, c * x), c, xs, reverse=True), [Graph]),
    "product": (lambda c, xs, w: lax.scan(lambda c, x: (jnp.tanh(c @ w + x), jnp.sum(c)), c, xs), [Graph]),
    "two carries": (
        lambda c, xs, w: lax.scan(lambda c, x: ((c[0] + x, c[1] * c[0]), c[0] - x), (c, c + 1), xs),
        [Graph],
    ),
    "passed through": (
        lambda c, xs, w: lax.scan(lambda c, x: ((c[0] + x, c[1]), c[0] * 2), (c, c + 1), xs),
        [Graph, Copy],
    ),
    "last x": (lambda c, xs, w: lax.scan(lambda c, x: (x, c * 2), c, xs), [Graph, Copy]),
    "swapped": (lambda c, xs, w: lax.scan(lambda c, x: ((c[1], c[0] + x), c[0] * 2), (c, c + 1), xs), None),
    "fibonacci": (lambda c, xs, w: lax.fori_loop(0, 5, lambda i, p: (p[1], p[0] + p[1]), (c, c)), None),
    "nested": (nested, [Graph]),
    "one trip": (lambda c, xs, w: lax.scan(lambda c, x: (c + x, c + 1), c, xs[:1]), [Graph]),
    "carry before": (lambda c, xs, w: lax.scan(lambda c, x: (c + x, c), c, xs), [Copy, Graph]),
    "before, reverse": (
        lambda c, xs, w: lax.scan(lambda c, x: ((c[0] @ w, c[1] + x), (c[1], c[0])), (c, c + 1), xs, reverse=True),
        [Graph, Copy, Copy, Graph],
    ),
    "before twice": (lambda c, xs, w: lax.scan(lambda c, x: (c + x, (c, c)), c, xs), None),
    "before and after": (lambda c, xs, w: lax.scan(lambda c, x: (c + x, (c, c + x)), c, xs), [Copy, Graph, Copy, Copy]),
    "before and after, reverse": (
        lambda c, xs, w: lax.scan(lambda c, x: (c + x, (c, c + x)), c, xs, reverse=True),
        [Copy, Graph, Copy, Copy],
    ),
    "no trip": (lambda c, xs, w: lax.scan(lambda c, x: (c + x, c), c, xs[:0]), None),
    "counter": (lambda c, xs, w: lax.fori_loop(0, 7, lambda i, s: s * 0.5 + i, c), [Graph]),
}


@pytest.mark.parametrize("name", LOOPS)
def test_plan(name):
    """The plan keeps its rules; what can be laid out is one graph, with copies of results in two places."""
    function, steps = LOOPS[name]
    kinds = [type(step) for step in check_plan(unroll(plan_of(function, C, X, W), 1000)).steps]
    assert kinds == steps if steps is not None else Loop in kinds, kinds


@pytest.mark.parametrize("name", LOOPS)
def test_results(name, every_device):
    """The results of the loop as Python steps, for three sets of arguments: later runs find their launches bound."""
    function, _ = LOOPS[name]
    compiled = jit(function)
    for seed in range(3):
        c, xs, w = (np.random.default_rng(seed).normal(size=x.shape).astype(x.dtype) for x in (C, X, W))
        with disable_jit():
            wanted = function(c, xs, w)
        for got, want in zip(tree.leaves(compiled(c, xs, w)), tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_long_loops_stay():
    """More launches than asked for are not laid out."""
    plan = plan_of(LOOPS["product"][0], C, X, W)
    assert any(isinstance(step, Loop) for step in unroll(plan, 5).steps)
    assert not any(isinstance(step, Loop) for step in unroll(plan, 100).steps)
