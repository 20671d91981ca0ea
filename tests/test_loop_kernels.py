"""Loops as kernels: the interpreter's results on every device, one kernel where it is meant, and the same by a block of
threads (a GPU's schedule, run by PoCL, whose work-groups wait at barriers as a GPU's blocks do)."""

from __future__ import annotations

import numpy as np
import pytest
from running import CUDA, GPU
from test_plan import plan_of

import ftiny
import ftiny.numpy as jnp
from ftiny import checks, debug, grad, jit, lax, tree, vmap
from ftiny.errors import NanError
from ftiny.lowering import nvrtc
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.device import get_device
from ftiny.lowering.plan_types import Graph, Loop, nested_plans
from ftiny.lowering.simplify import simplify

RNG = np.random.default_rng(0)


def draw(*shape):
    """Random float32."""
    return RNG.normal(size=shape).astype(np.float32)


def linear(c, xs, **options):
    """An elementwise recurrence."""
    return lax.scan(lambda c, x: (c * 0.9 + x, c), c, xs, **options)


def several(c, xs):
    """A counter beside an array, ys of three dtypes and shapes, one that is the new carry and one without a carry."""

    def step(carry, x):
        c, count = carry
        new = c * 0.5 + x["a"] * x["b"]
        return (new, count + 1), (new, count, c > x["a"], jnp.exp(x["a"]))

    return lax.scan(step, (c, 0), {"a": xs, "b": xs[:, 0] > 0})


def rnn(c, xs, w):
    """A product and a sum in every step; the carry is also stacked."""
    return lax.scan(lambda c, x: (jnp.tanh(c @ w + x), (c, jnp.sum(c))), c, xs)


def nested(c, xs, w):
    """A loop in the body of a loop."""

    def body(c, x):
        inner, ys = lax.scan(lambda d, _: (jnp.tanh(d @ w), d[..., 0]), c, None, length=3)
        return inner + x, (inner, ys)

    return lax.scan(body, c, xs)


def branching(c, xs):
    """A branch, a sort, and carries that change places."""

    def step(carry, x):
        c, d = carry
        e = lax.switch(jnp.argmax(x) % 3, [lambda c: c + x, lambda c: c * x, lambda c: d], c)
        return (d, e), (jnp.sort(x), c)

    return lax.scan(step, (c, c + 1), xs, reverse=True)


def searching(x):
    """A while loop in a while loop."""

    def halve(state):
        x, total = state
        inner = lax.while_loop(lambda y: jnp.max(y) > 1, lambda y: y * 0.7, x)
        return x * 0.5, total + jnp.sum(inner)

    return lax.while_loop(lambda state: state[0].sum() > 1, halve, (x, 0.0))


def counting(c, xs):
    """Integer scatters and gathers by what is carried, and a constant that is closed over."""
    table = jnp.arange(7) * 3
    return lax.scan(lambda c, x: (c.at[jnp.argmax(x) % 7].add(1), table[c[0] % 7]), c, xs)


def embedded(table, c, xs):
    """Rows gathered by what is given; the gradient scatters into zeros, twice, and adds that to what is carried."""
    rows = jnp.argsort(xs, axis=1)
    return lax.scan(lambda c, row: (jnp.tanh(c * 0.5 + table[row[0]] * table[row[1:3]].sum(0)), c), c, rows)


def collatz(n):
    """How many steps of 3n + 1 lead to 1."""

    def trip(state):
        n, count = state
        return jnp.where(n % 2 == 0, n // 2, 3 * n + 1), count + 1

    return lax.while_loop(lambda state: state[0] != 1, trip, (n, 0))[1]


def rooms(c, xs):
    """16-bit floats carried, stacked and summed."""
    return lax.scan(lambda c, x: (c * 0.5 + jnp.mean(x).astype(c.dtype), (c, jnp.cumsum(x))), c, xs)


def softmax(c, xs):
    """Rows with two folds in every step."""
    return lax.scan(lambda c, x: (ftiny.nn.softmax(c + x), c), c, xs)


def total(function):
    """The sum of the squares of all results of floats."""
    return lambda *args: sum(jnp.sum(y**2) for y in tree.leaves(function(*args)) if y.dtype == np.float32)


C, XS, W = draw(5), draw(6, 5), draw(5, 5)
BATCH = draw(11, 20), draw(3, 11, 20), draw(20, 20) * np.float32(0.2)
# Name -> (function, arguments, the launches of its plan on a CPU).
LOOPS = {
    "number": (linear, (draw(), draw(1000)), 1),
    "no step": (linear, (C, draw(0, 5)), None),
    "one step": (linear, (C, draw(1, 5)), 1),
    "prime": (lambda c, xs: linear(c, xs, reverse=True), (draw(37), draw(11, 37)), 1),
    "side by side": (linear, (draw(2, 512), draw(7, 2, 512)), 1),
    "several": (several, (C, XS), 2),
    "pair": (lambda c, xs: lax.scan(lambda c, x: (jnp.stack([c[1] + x, -jnp.sin(c[0])]), c), c, xs), (C[:2], C), 1),
    "long integers": (lambda c, xs: lax.scan(lambda c, x: (c * 3 + x, c), c, xs), (np.arange(19), np.arange(9)), 1),
    "flags": (lambda c, xs: lax.scan(lambda c, x: (c ^ (x > 0), c), c, xs), (C > 0, XS), 1),
    "halves": (linear, (jnp.ones(17, "bfloat16"), jnp.ones((9, 17), "bfloat16") * 1.01), 1),
    "independent": (lambda xs: lax.map(lambda x: jnp.sin(x) * 2, xs), (XS,), 1),
    "reversed": (lambda c, xs: lax.scan(lambda c, x: (c[::-1] + x, c), c, xs), (C, XS), 1),
    "neighbours": (lambda c, xs: lax.scan(lambda c, x: (jnp.roll(c, 1) + x, c), c, xs), (draw(40), draw(6, 40)), 1),
    "gradient": (grad(total(linear), argnums=(0, 1)), (C, XS), None),
    "rnn": (rnn, (C, XS, W), 1),
    "rnn, gradient": (grad(total(rnn), argnums=(0, 1, 2)), BATCH, None),
    "rnn, mapped": (vmap(rnn, in_axes=(0, 1, None)), BATCH, 2),
    "nested": (nested, (C, XS, W), 1),
    "nested, gradient": (grad(total(nested), argnums=(0, 1, 2)), (C, XS, W), None),
    "branching": (branching, (draw(17), draw(6, 17)), 2),
    "halving": (lambda x: lax.while_loop(lambda x: x > 1, lambda x: x / 2, x), (np.float32(1000),), 1),
    "no trip": (lambda x: lax.while_loop(lambda x: x > 1, lambda x: x / 2, x), (np.float32(0.5),), 1),
    "searching": (searching, (abs(draw(17)),), 1),
    "collatz": (vmap(collatz), (np.arange(1, 60, dtype=np.int32),), 2),
    "counted": (lambda n, c: lax.fori_loop(0, n, lambda i, c: c * 0.5 + jnp.sum(c) + i, c), (np.int32(7), draw(17)), 1),
    "counting": (counting, (np.zeros(7, np.int32), XS), 2),
    "embedded, gradient": (grad(total(embedded), argnums=(0, 1)), (W, C, XS), None),
    "rooms": (rooms, (jnp.ones(17, "bfloat16"), draw(6, 17)), 1),
    "softmax": (softmax, (draw(3, 70), draw(5, 3, 70)), 1),
    "branch": (lambda c, x: lax.cond(jnp.sum(x) > c, jnp.sin, lambda x: x @ W, x), (np.float32(0), C), 2),
}


def interpreted(function, arguments) -> list[np.ndarray]:
    """What the interpreter gives."""
    with ftiny.device("numpy"):
        return [np.asarray(x) for x in tree.leaves(jit(function)(*arguments))]


def assert_close(found, wanted) -> None:
    """Equal dtypes and shapes, and values up to what another order of summation does."""
    for got, want in zip(found, wanted, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        if want.dtype.kind in "iub":
            np.testing.assert_array_equal(got, want)
            continue
        tolerance = 1e-4 if want.dtype == np.float32 else 2e-2
        np.testing.assert_allclose(*(x.astype(np.float64) for x in (got, want)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", LOOPS)
def test_results(name, every_device):
    """As the interpreter has them."""
    function, arguments, _ = LOOPS[name]
    assert_close([np.asarray(x) for x in tree.leaves(jit(function)(*arguments))], interpreted(function, arguments))


@pytest.mark.parametrize("name", [name for name, (_, _, launches) in LOOPS.items() if launches])
def test_one_graph_of_few_launches(name):
    """No loop is left to the host, and a loop is one kernel (and a copy, or what its inputs need)."""
    function, arguments, launches = LOOPS[name]
    plan = plan_of(function, *arguments)
    assert [type(step) for step in plan.steps] == [Graph]
    assert len(plan.steps[0].launches) == launches, plan


@pytest.mark.parametrize("name", ["rnn, gradient", "nested, gradient", "gradient"])
def test_gradients_are_one_graph(name):
    """The loop and the loop of its derivative."""
    function, arguments, _ = LOOPS[name]
    assert [type(step) for step in plan_of(function, *arguments).steps] == [Graph]


# PoCL's compiler ends on barriers in a while loop in a while loop.
@pytest.mark.parametrize("name", [name for name in LOOPS if name != "searching"])
def test_a_block_of_threads(name):
    """The kernels for a GPU, run by PoCL."""
    function, arguments, _ = LOOPS[name]
    wanted = interpreted(function, arguments)
    with ftiny.device("numpy"):
        traced = ftiny.make_jaxpr(function)(*arguments)
        inputs = [np.asarray(x) for x in (*traced.consts, *tree.leaves(arguments))]
    program = simplify(traced.close_over()).jaxpr
    device = get_device("opencl:0")
    memories = device.load(Compiler(GPU).plan(program)).run([device.from_host(x) for x in inputs])
    assert_close([device.to_host(m, v.aval) for m, v in zip(memories, program.outputs)], wanted)


def test_cuda_sources_compile():
    """NVRTC takes the kernels of all loops."""
    pytest.importorskip("cuda.bindings.nvrtc")
    with ftiny.device("numpy"):
        for function, arguments, _ in LOOPS.values():
            program = simplify(ftiny.make_jaxpr(function)(*arguments).close_over()).jaxpr
            for plan in nested_plans(Compiler(CUDA).plan(program)):
                for kernel in plan.kernels:
                    nvrtc.compile_cubin(kernel.text, CUDA.arch, kernel.name)


def test_what_stays_a_loop():
    """Large trips, callbacks, complex numbers, and carries whose elements need all others."""
    x = draw(300, 300)
    matrix = plan_of(lambda c, xs: lax.scan(lambda c, x: (c @ c + x, None), c, xs), x, draw(3, 300, 300))
    assert any(isinstance(step, Loop) for step in matrix.steps)
    spectrum = plan_of(lambda c, xs: lax.scan(lambda c, x: (c * x, None), c, xs), C.astype("c8"), XS.astype("c8"))
    assert any(isinstance(step, Loop) for step in spectrum.steps)


def test_callbacks_and_checks(every_device, capfd):
    """A loop that prints goes on printing; a check in a loop finds what it looks for."""

    def step(c, x):
        debug.print("at {}", x)
        return c + x, None

    jit(lambda: lax.scan(step, jnp.int32(0), jnp.arange(3))[0])().block_until_ready()
    assert capfd.readouterr().out.split("\n")[:3] == ["at 0", "at 1", "at 2"]
    with checks(nan=True), pytest.raises(NanError):
        jit(lambda xs: lax.scan(lambda c, x: (c + jnp.log(x), c), 0.0, xs))(jnp.array([1.0, -1.0, 2.0]))
