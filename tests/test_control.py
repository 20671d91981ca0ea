"""scan, while_loop, fori_loop, cond, switch and map: values, derivatives, batches and compositions against jax;
messages."""

from __future__ import annotations

import numpy as np
import pytest
from both import agree, normal

import ftiny
import ftiny.numpy as fnp
from ftiny import core, errors
from ftiny.lax import cond, scan, switch, while_loop

W, XS, C, BATCH = normal(3, 3), normal(5, 3), normal(3), normal(4, 5, 3)
NUMBERS = np.arange(5, dtype=np.int32)


@pytest.fixture(autouse=True)
def interpreter():
    """The rules do not depend on the device."""
    with ftiny.device("numpy"):
        yield


def message(error, function, *args, **kwargs) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert "test_control.py" in text
    return text


def recurrent(m, **options):
    """A small recurrent network with several kinds of residuals: fixed ones, carries, xs and ys."""

    def loss(w, xs, carry):
        def body(c, x):
            c = m.np.tanh(m.np.dot(w, c) + x * m.np.sin(w[0]))
            return c, (c * 2, x)

        carry, ys = m.lax.scan(body, carry, xs, **options)
        return m.np.sum(carry) + m.np.sum(ys[0] * ys[1])

    return loss


# ---- scan -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"unroll": 2}, {"length": 5}], ids=str)
def test_scan(options):
    agree(lambda m: m.jit(recurrent(m, **options)), W, XS, C)
    agree(lambda m: m.grad(recurrent(m, **options), (0, 1, 2)), W, XS, C)


@pytest.mark.parametrize(
    "make",
    [
        lambda m, f: m.jit(m.grad(f, (0, 1, 2))),
        lambda m, f: lambda *a: m.jvp(f, a, a),
        lambda m, f: m.jit(m.vmap(m.grad(m.jit(f), (0, 1, 2)), (None, 0, None))),
        lambda m, f: m.vmap(f, (None, 0, None)),
        lambda m, f: m.hessian(f, 2),
        lambda m, f: m.jacfwd(m.grad(f)),
        lambda m, f: m.grad(lambda w, xs, c: m.np.sum(m.grad(m.jit(f))(w, xs, c) ** 2)),
        lambda m, f: m.jit(m.grad(m.checkpoint(m.jit(f)), (0, 1, 2))),
    ],
    ids=range(8),
)
def test_scan_compositions(make):
    batched = "vmap" in make.__code__.co_names
    agree(lambda m: make(m, recurrent(m)), W, BATCH if batched else XS, C)


def test_scan_of_numbers_and_trees():
    agree(
        lambda m: (
            lambda xs: m.lax.scan(lambda c, x: ({"n": c["n"] + 1, "s": c["s"] + x}, None), {"n": 0, "s": 0.0}, xs)
        ),
        XS[0],
    )
    agree(lambda m: lambda: m.lax.scan(lambda c, x: (c * 2, c), 1.5, None, length=4))
    agree(
        lambda m: (
            lambda xs: m.lax.scan(lambda c, x: (c + x["a"], (x["b"], {"y": c})), m.np.zeros(3), {"a": xs, "b": NUMBERS})
        ),
        XS,
    )
    halves = fnp.asarray(XS).astype("bfloat16")
    assert scan(lambda c, x: (c + x.sum(), None), 0.0, halves)[0].dtype == halves.dtype


def test_scan_without_steps():
    agree(lambda m: lambda xs, c: m.lax.scan(lambda c, x: (c + x, c * x), c, xs), XS[:0], C)
    agree(lambda m: m.grad(lambda xs, c: m.np.sum(m.lax.scan(lambda c, x: (c * x, c), c, xs)[0]), (0, 1)), XS[:0], C)


def test_scan_keeps_fixed_residuals_out_of_the_stack():
    def loss(w, xs):
        return scan(lambda c, x: (fnp.tanh(c @ fnp.sin(w).T + x), None), fnp.zeros(3), xs)[0].sum()

    program = ftiny.make_jaxpr(ftiny.grad(loss))(W, XS)
    (known,) = [e for e in program.eqns if e.primitive.name == "scan" and not e.params["reverse"]]
    # Only what changes from step to step is stacked: one vector for tanh and the carry, never sin(w).
    assert all(var.aval.shape == (5, 3) for var in known.outputs[1:]) and len(known.outputs) <= 3


def test_linear_scan_with_a_counter():
    """A loop over tangents may carry a known value too."""

    def push(m):
        def f(xs):
            def body(carry, x):
                i, c = carry
                return (i + 1, c * 2 + x * i), c * i

            return m.lax.scan(body, (0, m.np.zeros(3)), xs)[1]

        return f

    agree(lambda m: lambda xs: m.linear_transpose(push(m), xs)(xs * 2), XS)
    agree(lambda m: m.jacrev(push(m)), XS)


# ---- while ----------------------------------------------------------------------------------------------------------


def powers(m):
    """n times x = sin(x) * y."""
    return lambda n, x, y: m.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, m.np.sin(s[1]) * y), (0, x))


def test_while():
    agree(lambda m: m.jit(powers(m)), 3, C, C)
    agree(lambda m: lambda x: m.jvp(lambda x: powers(m)(3, x, x)[1], (x,), (x,)), C)
    agree(lambda m: m.jit(m.jacfwd(lambda x: m.jit(powers(m))(3, x, C)[1])), C)
    agree(lambda m: lambda x: m.linearize(lambda x: powers(m)(3, x, x)[1], x)[1](x), C)
    agree(lambda m: m.jacfwd(m.jacfwd(lambda x: powers(m)(2, x, x)[1])), C)


@pytest.mark.parametrize("in_axes", [(0, 0, 0), (None, 0, None), (0, None, None), (None, None, 0)], ids=str)
def test_while_batched(in_axes):
    args = [NUMBERS if in_axes[0] == 0 else 3, XS if in_axes[1] == 0 else C, XS if in_axes[2] == 0 else C]
    agree(lambda m: m.vmap(powers(m), in_axes), *args)
    agree(lambda m: m.jit(m.vmap(m.jacfwd(lambda n, x, y: powers(m)(n, x, y)[1], 1), in_axes)), *args)


def test_fori_loop():
    agree(lambda m: lambda x: m.lax.fori_loop(1, 5, lambda i, c: c * x + i, x), C)
    agree(lambda m: m.jit(m.hessian(lambda x: m.np.sum(m.lax.fori_loop(0, 3, lambda i, c: m.np.sin(c) * x + i, x)))), C)
    agree(lambda m: m.jit(lambda n, x: m.lax.fori_loop(0, n, lambda i, c: c * x + i, x)), 4, C)
    agree(lambda m: m.vmap(lambda n: m.lax.fori_loop(0, n, lambda i, c: c + i, 0)), NUMBERS)
    agree(lambda m: lambda x: m.lax.fori_loop(3, 1, lambda i, c: c * 2, x), C)


# ---- cond and switch ------------------------------------------------------------------------------------------------


def branching(m):
    """Branches with different residuals, and a result that one of them does not compute."""
    return lambda p, x, y: m.lax.cond(p, lambda x, y: (m.np.sin(x) * y, x), lambda x, y: (x * m.np.exp(y) * y, y), x, y)


@pytest.mark.parametrize("predicate", [True, False, 2, 0.0])
def test_cond(predicate):
    agree(lambda m: branching(m), predicate, C, C)
    agree(lambda m: m.jit(branching(m)), predicate, C, C)
    agree(lambda m: m.jacrev(lambda x, y: branching(m)(predicate, x, y), (0, 1)), C, C)
    agree(lambda m: m.jit(m.jacfwd(lambda x, y: branching(m)(predicate, x, y), (0, 1))), C, C)
    agree(lambda m: m.hessian(lambda x, y: m.np.sum(branching(m)(predicate, x, y)[0]), (0, 1)), C, C)


@pytest.mark.parametrize("in_axes", [(0, 0, 0), (0, 0, None), (None, 0, None), (0, None, None)], ids=str)
def test_cond_batched(in_axes):
    args = [NUMBERS % 2 == 0 if in_axes[0] == 0 else True, XS if in_axes[1] == 0 else C, XS if in_axes[2] == 0 else C]
    agree(lambda m: m.vmap(branching(m), in_axes), *args)
    agree(lambda m: m.jit(m.vmap(m.jacrev(lambda p, x, y: branching(m)(p, x, y)[0], (1, 2)), in_axes)), *args)


def test_switch():
    f = lambda m: lambda i, x: m.lax.switch(i, [m.np.sin, lambda x: x * x, lambda x: m.np.cos(x) * x], x)
    for index in (-1, 0, 2, 7):
        agree(f, index, C)
        agree(lambda m, i=index: m.jit(m.jacrev(lambda x: f(m)(i, x))), C)
    agree(lambda m: m.vmap(m.jacrev(f(m), 1)), NUMBERS, XS)


def test_branches_with_numbers():
    agree(lambda m: lambda p, x: m.lax.cond(p, lambda x: x[0], lambda x: 0.0, x), True, C)
    agree(lambda m: lambda x: m.lax.switch(1, [lambda x: 1.0, lambda x: x[0]], x), C)


def test_only_one_branch_runs():
    """A branch that would never end is not entered."""
    forever = lambda x: while_loop(lambda s: s == s, lambda s: s + 1, x)
    assert cond(True, lambda x: x, forever, 1).item() == 1


def test_map():
    agree(lambda m: lambda xs: m.lax.map(lambda x: (m.np.sum(x) * x, x[0]), xs), XS)
    agree(lambda m: m.jacrev(lambda xs: m.lax.map(lambda x: m.np.sum(x) * x, xs)), XS)
    for size in (1, 2, 5, 100):
        agree(lambda m, size=size: lambda xs: m.lax.map(lambda x: (m.np.sum(x) * x, x[0]), xs, batch_size=size), XS)
    agree(lambda m: m.jacrev(lambda xs: m.lax.map(lambda x: m.np.sum(x) * x, xs, batch_size=2)), XS)
    with pytest.raises(errors.ArgumentError, match="batch_size must be a positive integer, not 0"):
        ftiny.lax.map(lambda x: x, XS, batch_size=0)
    with pytest.raises(errors.ShapeError, match="leading axes of xs"):
        ftiny.lax.map(lambda x: x, (XS, XS[1:]), batch_size=2)


# ---- all together ---------------------------------------------------------------------------------------------------


def mixed(m):
    """A cond inside a scan over a carry with a counter, closing over an argument."""

    def f(x, xs):
        def body(c, t):
            i, v = c
            v = m.lax.cond(m.np.sum(v) > 0, lambda v: m.np.sin(v) * t, lambda v: v * t + x, v)
            return (i + 1, v), v * i

        (i, v), ys = m.lax.scan(body, (0, x), xs, reverse=True)
        return m.np.sum(v * i) + m.np.sum(ys)

    return f


@pytest.mark.parametrize(
    "make",
    [
        lambda m, f: f,
        lambda m, f: m.grad(f, (0, 1)),
        lambda m, f: m.jit(m.hessian(f)),
    ],
    ids=range(3),
)
def test_cond_in_scan(make):
    agree(lambda m: make(m, mixed(m)), C, XS)
    agree(lambda m: m.jit(m.vmap(make(m, m.jit(mixed(m))), (None, 0))), C, BATCH)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: lambda w, xs, c: m.grad(recurrent(m), (0, 1, 2))(w, xs, c),
        lambda m: lambda w, xs, c: m.vmap(powers(m), (0, None, None))(m.np.arange(4), c, w[0]),
        lambda m: lambda w, xs, c: m.lax.cond(w[0, 0] > 0, lambda: m.np.sum(w), lambda: m.np.sum(xs)),
        lambda m: lambda w, xs, c: m.grad(mixed(m), (0, 1))(c, xs),
        lambda m: lambda w, xs, c: m.lax.scan(lambda c, x: (c + x, c * x), c, xs[:0]),
        lambda m: lambda w, xs, c: m.lax.scan(lambda c, x: (c * x + w[0], x), w[0], w[0] + xs),
    ],
    ids=range(6),
)
def test_compiled_loops(make, compiled):
    with ftiny.device(compiled):
        agree(lambda m: m.jit(make(m)), W, XS, C)


def test_collectives_in_loops():
    agree(lambda m: m.vmap(lambda x: m.lax.fori_loop(0, 3, lambda i, c: c + m.lax.psum(c, "i"), x), axis_name="i"), XS)
    agree(lambda m: m.vmap(lambda x: m.lax.cond(True, lambda x: m.lax.psum(x, "i"), lambda x: x, x), axis_name="i"), XS)


def test_programs_are_well_formed():
    for f in (
        lambda x: ftiny.grad(mixed_ftiny)(x, XS),
        lambda x: ftiny.jacfwd(lambda y: while_loop(lambda s: s.sum() < 9, lambda s: s * 2 + y * y, y))(x),
    ):
        core.check_jaxpr(ftiny.make_jaxpr(ftiny.jit(f))(np.abs(C)))
    core.check_jaxpr(ftiny.make_jaxpr(ftiny.vmap(ftiny.hessian(mixed_ftiny), (None, 0)))(C, BATCH))


def mixed_ftiny(x, xs):
    """`mixed` in ftiny."""
    from both import libraries

    return mixed(libraries()[0])(x, xs)


# ---- messages -------------------------------------------------------------------------------------------------------


def test_scan_messages():
    assert "xs['a']: 5" in message(errors.ShapeError, scan, lambda c, x: (c, x), 0.0, {"a": XS, "b": C})
    assert "length" in message(errors.ArgumentError, scan, lambda c, x: (c, x), 0.0)
    assert "pair" in message(errors.ArgumentError, scan, lambda c, x: c, 0.0, XS)
    text = message(errors.ShapeError, scan, lambda c, x: ({"h": x}, x), {"h": W}, XS)
    assert "carry['h']" in text and "(3, 3)" in text and "(3,)" in text
    assert "float64" in message(errors.DtypeError, scan, lambda c, x: (c.astype("float64"), x), C, XS)
    assert "structure" in message(errors.ArgumentError, scan, lambda c, x: ((c, c), x), C, XS)
    assert "no axis to scan over" in message(errors.ShapeError, scan, lambda c, x: (c, x), 0.0, 1.0)


def test_while_messages():
    text = message(errors.RuleError, ftiny.grad(lambda x: while_loop(lambda s: s < 9.0, lambda s: s * x, x)), 2.0)
    assert "scan" in text and "fori_loop" in text
    assert "one bool" in message(errors.DtypeError, while_loop, lambda s: s, lambda s: s, C)
    assert "while_loop: carry" in message(errors.ShapeError, while_loop, lambda s: True, lambda s: s[0], C)


def test_cond_messages():
    assert "(3,)" in message(errors.ShapeError, cond, C > 0, lambda x: x, lambda x: x, C)
    assert "result['a']" in message(errors.ShapeError, cond, True, lambda x: {"a": x}, lambda x: {"a": x[0]}, C)
    assert "structure" in message(errors.ArgumentError, cond, True, lambda x: (x,), lambda x: x, C)
    assert "i32[3]" in message(errors.DtypeError, cond, True, lambda x: x, lambda x: x.astype("int32"), C)
    assert "integer" in message(errors.DtypeError, switch, 0.5, [fnp.sin], C)
    assert "at least one" in message(errors.ArgumentError, switch, 0, [], C)
