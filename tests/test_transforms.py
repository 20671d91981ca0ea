"""Differentiation, vmap and their compositions, against jax and against finite differences; and their messages."""

from __future__ import annotations

import both
import numpy as np
import pytest
from both import agree, normal

import ftiny
import ftiny.numpy as fnp
from ftiny import errors

X, Y, ROWS = normal(3), normal(3, seed=1), normal(4, 3)


@pytest.fixture(autouse=True)
def interpreter():
    """The transformations do not depend on the device, so their tests run where nothing is compiled."""
    with ftiny.device("numpy"):
        yield


def scalar(m):
    """A loss with products, a reduction, a broadcast and an index."""
    return lambda x, y: m.np.sum(m.np.sin(x * y[0]) * m.np.exp(-y)) + m.np.max(x) * m.np.mean(y * y)


def vector(m):
    """A function with a vector result."""
    return lambda x, y: m.np.tanh(m.np.outer(x, y) @ x) + y * x[::-1]


# ---- derivatives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1,), -1], ids=str)
def test_grad_argnums(argnums):
    agree(lambda m: m.grad(scalar(m), argnums), X, Y)
    agree(lambda m: m.value_and_grad(scalar(m), argnums), X, Y)


def test_grad_of_trees():
    parameters = {"w": ROWS, "b": [X, (Y,)], "none": None}
    agree(
        lambda m: m.grad(lambda p, x: m.np.sum(m.np.tanh(p["w"] @ x) * 2) + m.np.sum(p["b"][0] * p["b"][1][0])),
        parameters,
        X,
    )


def test_unused_arguments_get_zeros():
    agree(lambda m: m.grad(lambda x, y: m.np.sum(y), (0, 1)), X, Y)
    assert ftiny.grad(lambda x: 3.0)(2.0).item() == 0.0


def test_aux():
    agree(lambda m: m.grad(lambda x: (m.np.sum(x**2), {"twice": x * 2}), has_aux=True), X)
    agree(lambda m: m.value_and_grad(lambda x: (m.np.sum(x**2), x * 2), has_aux=True), X)
    agree(lambda m: m.jacfwd(lambda x: (m.np.sin(x), x[0]), has_aux=True), X)
    agree(lambda m: m.jacrev(lambda x: (m.np.sin(x), x[0]), has_aux=True), X)


def test_jvp_vjp_linearize():
    agree(lambda m: lambda x, y: m.jvp(vector(m), (x, y), (y, x)), X, Y)
    agree(lambda m: lambda x, y: m.vjp(vector(m), x, y)[1](x), X, Y)

    def linearized(m):
        def run(x, y):
            out, push = m.linearize(vector(m), x, y)
            return out, push(y, x), push(x, x)

        return run

    agree(linearized, X, Y)


@pytest.mark.parametrize(
    "outer, inner", [("jacfwd", "jacfwd"), ("jacfwd", "jacrev"), ("jacrev", "jacfwd"), ("jacrev", "jacrev")]
)
def test_jacobians(outer, inner):
    agree(lambda m: getattr(m, outer)(getattr(m, inner)(vector(m), (0, 1)), 1), X, Y)
    agree(lambda m: getattr(m, outer)(m.jit(getattr(m, inner)(m.jit(vector(m)))), (0, 1)), X, Y)


def test_hessian_and_higher():
    agree(lambda m: m.hessian(scalar(m)), X, Y)
    agree(lambda m: m.hessian(m.jit(scalar(m)), (0, 1)), X, Y)
    for depth in range(1, 5):

        def nested(m, depth=depth):
            f = lambda x: m.np.sin(x * x) * x
            for _ in range(depth):
                f = m.grad(f)
            return f

        agree(nested, 0.7)


def test_jacobian_of_trees():
    tree = {"a": X, "b": (ROWS,)}
    f = lambda m: lambda p: {"s": m.np.sum(p["a"]) * p["b"][0][0], "t": m.np.sin(p["a"])}
    agree(lambda m: m.jacrev(f(m)), tree)
    agree(lambda m: m.jacfwd(f(m)), tree)


def test_perturbation_confusion():
    assert ftiny.grad(lambda x: x * ftiny.grad(lambda y: x)(0.0))(3.0).item() == 0.0
    assert ftiny.grad(lambda x: x * ftiny.grad(lambda y: x * y)(1.0))(3.0).item() == 6.0
    assert ftiny.jvp(lambda x: x * ftiny.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (2.0,), (1.0,))[1].item() == 1.0
    agree(lambda m: m.grad(lambda x: m.vmap(lambda y: m.grad(lambda z: z * z * x * y)(x))(X).sum()), 1.5)


def test_closures_over_outer_tracers():
    agree(lambda m: m.grad(lambda y: m.jit(lambda z: m.np.sin(z) * y)(y)), 0.7)
    agree(lambda m: m.grad(lambda y: m.np.sum(m.vmap(lambda z: m.np.sin(z) * y)(X))), 0.7)
    agree(lambda m: m.vmap(lambda y: m.grad(lambda z: m.np.sin(z) * y)(y)), X)
    agree(lambda m: m.jit(lambda y: m.grad(m.jit(lambda z: m.jit(lambda w: w * z * y)(z)))(y)), 0.7)
    agree(lambda m: m.grad(lambda y: m.lax.cond(y > 0, lambda z: z * y, lambda z: z, y)), 0.7)


def test_integers_in_vjp_and_jvp():
    numbers = np.arange(3, dtype=np.int32)
    out, pull = ftiny.vjp(lambda n, x: n * x, numbers, X)
    counts, slope = pull(fnp.ones(3))
    assert counts.dtype == np.int32 and not np.any(counts)
    np.testing.assert_array_equal(slope, numbers)
    assert ftiny.jvp(lambda n, x: n * x, (numbers, X), (np.zeros(3, np.int32), Y))[1].shape == (3,)


def test_linear_transpose():
    agree(lambda m: lambda x: m.linear_transpose(lambda v: ROWS @ v, x)(normal(4)), X)


def test_complex_gradients():
    z = (X + 1j * Y).astype(np.complex64)
    agree(lambda m: m.grad(lambda z: m.np.sum(z**2), holomorphic=True), z)
    agree(lambda m: m.grad(lambda x: m.np.abs(m.np.sum(m.np.exp(1j * x)))), X)


def test_python_numbers_stay_weak():
    halves = fnp.array([1.0, 2.0], "bfloat16")
    assert ftiny.vjp(lambda a, h: a * h, 2.0, halves)[0].dtype == halves.dtype
    assert ftiny.grad(lambda a: (a * halves).astype("float32").sum())(2.0).dtype == np.float32
    assert ftiny.jit(lambda a, h: a * h)(2.0, halves).dtype == halves.dtype
    assert ftiny.vmap(lambda h, a: a * h, (0, None))(halves, 2.0).dtype == halves.dtype


def test_vjp_function_is_a_pytree():
    out, pull = ftiny.jit(lambda x: ftiny.vjp(fnp.sin, x))(X)
    np.testing.assert_allclose(ftiny.jit(lambda f, ct: f(ct))(pull, Y)[0], np.cos(X) * Y, rtol=1e-6)


# ---- vmap -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "in_axes, out_axes", [(0, 0), ((0, None), 0), ((1, None), 1), ((None, 0), -1), ((-1, None), (0, 1))], ids=str
)
def test_vmap_axes(in_axes, out_axes):
    x = ROWS if in_axes in (0, (0, None)) else ROWS.T if in_axes[0] is not None else X
    y = ROWS if in_axes in (0, (None, 0)) else Y
    f = lambda m: lambda a, b: (a * b, m.np.outer(a, b)) if isinstance(out_axes, tuple) else m.np.outer(a, b) @ a
    agree(lambda m: m.vmap(f(m), in_axes, out_axes), x, y)


def test_vmap_of_trees_and_keywords():
    tree = {"w": normal(4, 3, 2), "b": normal(2)}
    f = lambda m: lambda p, x, scale=1.0: m.np.tanh(x @ p["w"] + p["b"]) * scale
    agree(lambda m: m.vmap(f(m), ({"w": 0, "b": None}, 0)), tree, ROWS)
    agree(
        lambda m: (
            lambda p, x: m.vmap(f(m), (None, 0))(
                {"w": p["w"][0], "b": p["b"]}, x, scale=np.arange(4.0, dtype=np.float32)
            )
        ),
        tree,
        ROWS,
    )


def test_vmap_nested_and_names():
    agree(lambda m: m.vmap(m.vmap(vector(m), (None, 0)), (0, None)), ROWS, ROWS)
    agree(lambda m: m.vmap(lambda x: x / m.lax.psum(x, "i"), axis_name="i"), ROWS)
    agree(lambda m: m.vmap(m.jit(lambda x: x - m.lax.pmax(x, "i")), axis_name="i"), ROWS)
    agree(lambda m: m.vmap(m.vmap(lambda x: m.lax.psum(x, ("i", "j")) * x, axis_name="i"), axis_name="j"), ROWS)
    agree(lambda m: m.vmap(lambda: m.lax.axis_index("i"), axis_name="i", axis_size=4))


def test_vmap_without_mapped_result():
    agree(lambda m: m.vmap(lambda x: 1.0, out_axes=0), X)
    agree(lambda m: m.vmap(lambda x, y: y, (0, None), None), X, Y)


@pytest.mark.parametrize(
    "make",
    [
        lambda m, f: m.vmap(m.grad(f), (0, None)),
        lambda m, f: m.jit(m.vmap(m.grad(m.jit(f)), (0, None))),
        lambda m, f: m.grad(lambda x, y: m.np.sum(m.vmap(f, (0, None))(x, y))),
        lambda m, f: m.jit(m.grad(m.jit(lambda x, y: m.np.sum(m.jit(m.vmap(m.jit(f), (0, None)))(x, y))), (0, 1))),
        lambda m, f: m.vmap(m.hessian(f), (0, None)),
        lambda m, f: m.jacfwd(m.vmap(m.grad(f), (0, None)), 1),
        lambda m, f: m.vmap(lambda x, y: m.jvp(m.grad(f), (x, y), (y, x)), (0, None)),
        lambda m, f: m.vmap(lambda x, y: m.vjp(f, x, y)[1](x[0]), (0, None)),
    ],
)
def test_compositions(make):
    agree(lambda m: make(m, scalar(m)), ROWS, Y)


# ---- random compositions --------------------------------------------------------------------------------------------

STEPS = {
    "sin": lambda m: lambda x, y: m.np.sin(x) * y,
    "matmul": lambda m: lambda x, y: m.np.outer(x, y) @ x,
    "softmax": lambda m: lambda x, y: m.np.exp(x - m.np.max(x)) / m.np.sum(m.np.exp(x - m.np.max(x))) + y,
    "index": lambda m: lambda x, y: x[m.np.array([2, 0, 1])] * y[0],
    "where": lambda m: lambda x, y: m.np.where(x > 0, x * y, x**3),
    "scan": lambda m: lambda x, y: m.lax.scan(lambda c, t: (m.np.sin(c * t) + y, c[0] * t), x, y)[0],
    "cumsum": lambda m: lambda x, y: m.np.cumsum(x) * y,
    "cond": lambda m: lambda x, y: m.lax.cond(x[0] > y[0], lambda a: a * y, lambda a: m.np.cos(a), x),
    "sort": lambda m: lambda x, y: m.np.sort(x) * y,
    "fori": lambda m: lambda x, y: m.lax.fori_loop(0, 2, lambda i, c: c * y + i, x),
}
WRAPPERS = {
    "jit": lambda m, f: m.jit(f),
    "checkpoint": lambda m, f: m.checkpoint(f),
    "vmap": lambda m, f: lambda x, y: m.np.sum(m.vmap(f, (None, 0))(x, m.np.stack([y, y * 2])), 0),
    "jvp": lambda m, f: lambda x, y: m.jvp(f, (x, y), (y, x))[1],
    "vjp": lambda m, f: lambda x, y: m.vjp(f, x, y)[1](x)[1],
    "grad": lambda m, f: m.grad(lambda x, y: m.np.sum(f(x, y) * y)),
    "linearize": lambda m, f: lambda x, y: m.linearize(f, x, y)[1](x, y),
    "close": lambda m, f: lambda x, y: m.vmap(lambda z: f(x * z, y))(y)[0],
}


def compose(seed: int):
    """A random composition of two to four transformations over a chain of one or two functions, and its name."""
    rng = np.random.default_rng(seed)
    steps = list(rng.choice(list(STEPS), size=rng.integers(1, 3)))
    wrappers = list(rng.choice(list(WRAPPERS), size=rng.integers(2, 5)))

    def make(m):
        functions = [STEPS[name](m) for name in steps]

        def f(x, y):
            for function in functions:
                x = function(x, y)
            return x

        for name in wrappers:
            f = WRAPPERS[name](m, f)
        return f

    return make, " ".join(steps + wrappers)


@pytest.mark.parametrize("seed", range(40))
def test_random_compositions(seed):
    make, name = compose(seed)
    print(name)
    agree(make, X * 0.5, Y * 0.5, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("seed", [1, 16, 26, 58, 90, 200, 212, 241])
def test_random_compositions_compiled(seed, compiled):
    make, name = compose(seed)
    print(name)
    with ftiny.device(compiled):
        agree(lambda m: m.jit(make(m)), X * 0.5, Y * 0.5, rtol=2e-3, atol=2e-3)


# ---- custom rules ---------------------------------------------------------------------------------------------------


def with_jvp(m):
    """log(1 + e^x) y with a rule that is deliberately three times the derivative in x."""

    @m.custom_jvp
    def f(x, y):
        return m.np.log1p(m.np.exp(x)) * y

    @f.defjvp
    def rule(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return f(x, y), 3 * dx * y / (1 + m.np.exp(-x)) + dy * m.np.log1p(m.np.exp(x))

    return f


def with_vjp(m):
    """sin(x) y with a rule that is deliberately seven times the derivative in x."""

    @m.custom_vjp
    def f(x, y):
        return m.np.sin(x) * y

    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda saved, ct: (7 * ct * saved[1] * m.np.cos(saved[0]), ct * saved[0]))
    return f


@pytest.mark.parametrize("custom", [with_jvp, with_vjp])
@pytest.mark.parametrize(
    "make",
    [
        lambda m, f: f,
        lambda m, f: m.jit(f),
        lambda m, f: m.vmap(f, (0, None)),
        lambda m, f: m.grad(lambda x, y: m.np.sum(f(x, y + x) ** 2), (0, 1)),
        lambda m, f: m.jit(m.grad(m.jit(lambda x, y: m.np.sum(m.jit(f)(x, x * y) ** 2)), (0, 1))),
        lambda m, f: m.vmap(m.grad(lambda x, y: m.np.sum(f(x, y) ** 2), (0, 1)), (0, None)),
        lambda m, f: m.grad(lambda x, y: m.np.sum(m.vmap(f, (0, None))(x, y) ** 2), (0, 1)),
        lambda m, f: m.jit(m.grad(m.jit(lambda x, y: m.np.sum(m.vmap(m.jit(f), (0, None))(x, y) ** 2)), (0, 1))),
        lambda m, f: m.grad(lambda x, y: m.np.sum(m.lax.scan(lambda c, t: (f(c, t) * 0.5, c), y, x)[1] ** 2), (0, 1)),
        lambda m, f: m.grad(
            lambda x, y: m.np.sum(m.vmap(lambda a: m.lax.scan(lambda c, t: (f(c, t), c), y, x)[0] * a)(x)), (0, 1)
        ),
        lambda m, f: m.grad(m.checkpoint(lambda x, y: m.np.sum(f(x, y + x) ** 2)), (0, 1)),
    ],
    ids=range(11),
)
def test_custom_rules(custom, make):
    agree(lambda m: make(m, custom(m)), ROWS, Y)


def test_custom_jvp_is_both_modes():
    agree(lambda m: lambda x, y: m.jvp(with_jvp(m), (x, y), (y, x)), X, Y)
    agree(lambda m: m.jacfwd(m.vmap(with_jvp(m), (0, None))), ROWS, Y)

    def twice(m):
        @m.custom_jvp
        def f(x, y):
            return m.np.sin(x) * y

        f.defjvps(lambda t, out, x, y: t * m.np.cos(x) * y, None)
        return lambda x, y: m.np.sum(f(x, y))

    agree(lambda m: m.hessian(twice(m), (0, 1)), X, Y)


def test_nondiff_argnums():
    import functools

    def jvp_rule(m):
        @functools.partial(m.custom_jvp, nondiff_argnums=(0,))
        def power(n, x):
            return x**n

        @power.defjvp
        def rule(n, primals, tangents):
            return power(n, *primals), 10 * n * tangents[0]

        return lambda x: m.np.sum(power(3, x))

    def vjp_rule(m):
        @functools.partial(m.custom_vjp, nondiff_argnums=(0,))
        def apply(g, x):
            return g(x)

        apply.defvjp(lambda g, x: (g(x), x), lambda g, x, ct: (5 * ct * g(x),))
        return lambda x: m.np.sum(apply(m.np.sin, x))

    for rule in (jvp_rule, vjp_rule):
        agree(lambda m, rule=rule: m.jit(m.grad(rule(m))), X)
        agree(lambda m, rule=rule: m.vmap(m.grad(rule(m))), ROWS)


def test_stop_gradient():
    agree(lambda m: m.grad(lambda x: m.np.sum(m.lax.stop_gradient(m.np.sin(x)) * x)), X)
    agree(lambda m: m.jit(m.vmap(m.grad(lambda x: m.np.sum(m.lax.stop_gradient({"a": x * x})["a"] * x)))), ROWS)


@pytest.mark.parametrize("outer", ["jvp", "grad"])
@pytest.mark.parametrize("jitted", [False, True])
def test_stop_gradient_stops_every_derivative(outer, jitted):
    """A derivative of a derivative sees no tangent of what was stopped inside."""

    def nested(m):
        # Both arguments: the stopped one is traced by the inner derivative as well.
        inner = m.grad(lambda a, b: m.np.sum(a * a * m.lax.stop_gradient(m.np.sin(b))), argnums=(0, 1))
        inner = m.jit(inner) if jitted else inner
        if outer == "grad":
            return m.grad(lambda a, b: m.np.sum(inner(a, b)[0]), argnums=(0, 1))
        return lambda a, b: m.jvp(inner, (a, b), (m.np.ones_like(a), m.np.cos(b)))

    agree(nested, X, X + 1)


# ---- checkpoint ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [None, ftiny.save_everything, ftiny.save_contractions, ftiny.save_names("kept")])
def test_checkpoint_changes_no_derivative(policy):
    def block(x, w):
        return fnp.sum(fnp.tanh(ftiny.checkpoint_name(fnp.sin(x) @ w, "kept")))

    w = normal(3, 5)
    plain, saving = ftiny.grad(block, (0, 1)), ftiny.jit(ftiny.grad(ftiny.checkpoint(block, policy=policy), (0, 1)))
    for expected, found in zip(plain(ROWS, w), saving(ROWS, w)):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    second = ftiny.hessian(lambda x: ftiny.checkpoint(block, policy=policy)(x, w))(ROWS)
    np.testing.assert_allclose(second, ftiny.hessian(lambda x: block(x, w))(ROWS), rtol=1e-4, atol=1e-5)


def count(jaxpr, name):
    """How often a primitive (or a math function) stands in a program, calls included."""
    return sum(
        (e.primitive.name == name or e.params.get("fn") == name)
        + sum(count(p, name) for p in ftiny.core.subprograms(e))
        for e in jaxpr.eqns
    )


def test_checkpoint_computes_again():
    f = lambda x: fnp.sum(fnp.sin(fnp.exp(x)))
    assert count(ftiny.make_jaxpr(ftiny.grad(f))(X), "exp") == 1
    again = ftiny.make_jaxpr(ftiny.grad(ftiny.checkpoint(f)))(X)
    assert count(again, "exp") == 2 and count(again, "barrier") == 1


# ---- messages -------------------------------------------------------------------------------------------------------


def message(error, function, *args, **kwargs) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert "test_transforms.py" in text  # the user's own line
    return text


def test_integer_argument_to_grad():
    text = message(errors.DtypeError, ftiny.grad(lambda p, x: fnp.sum(p["n"] * x)), {"n": fnp.arange(3)}, X)
    assert "argument 0['n']" in text and "int32" in text and "argnums" in text and "astype" in text
    assert "bool" in message(errors.DtypeError, ftiny.value_and_grad(lambda x: x), True)


def test_non_scalar_loss():
    text = message(errors.ShapeError, ftiny.grad(lambda x: x * 2), X)
    assert "(3,)" in text and ".sum()" in text and "jacrev" in text
    assert "int32" in message(errors.DtypeError, ftiny.grad(lambda x: fnp.argmax(x)), X)
    assert "has_aux" in message(errors.ArgumentError, ftiny.grad(lambda x: (x.sum(), x)), X)


def test_bad_argnums():
    assert "argument 2" in message(errors.ArgumentError, ftiny.grad(lambda x: x, 2), 1.0)


def test_leaked_tracer():
    kept = []

    def loss(x):
        kept.append(x * 2)
        return fnp.sum(x)

    for transform in (ftiny.grad, ftiny.jit, ftiny.vmap, lambda f: lambda x: ftiny.jvp(f, (x,), (x,))):
        kept.clear()
        transform(loss)(ROWS if transform is ftiny.vmap else X)
        leaked = kept[0]
        text = message(errors.LeakedTracerError, lambda: leaked + 1)  # noqa: B023
        assert "leaked" in text and "loss" in text and "kept.append(x * 2)" in text and "leaked + 1" in text


def test_if_on_a_tracer():
    def loss(x):
        return x if x > 0 else -x

    for transform in (ftiny.jit, ftiny.vmap, lambda f: ftiny.grad(ftiny.jit(f))):
        text = message(errors.TracerError, transform(loss), X if transform is ftiny.vmap else 1.0)
        assert "ftiny.lax.cond" in text and "x if x > 0 else -x" in text


def test_if_on_a_known_value():
    agree(lambda m: m.grad(lambda x: x * 2 if x > 0 else -x), 1.0)
    agree(lambda m: m.grad(lambda x: x * 2 if x else -x), 0.0)
    agree(lambda m: m.grad(lambda x: m.np.sum(x[int(x[0])] * 2)), np.float32([1, 2, 3]))


def test_mismatched_vmap_sizes():
    text = message(errors.ShapeError, ftiny.vmap(lambda p, y: p["w"] * y), {"w": ROWS}, X)
    assert (
        "argument 0['w']: axis 0 of shape (4, 3) has size 4" in text
        and "argument 1: axis 0 of shape (3,) has size 3" in text
    )
    assert "no axis 0" in message(errors.ShapeError, ftiny.vmap(lambda x: x), 1.0)
    assert "axis_size" in message(errors.ArgumentError, ftiny.vmap(lambda x: x, None), 1.0)
    assert "2 entries" in message(errors.ArgumentError, ftiny.vmap(lambda x: x, (0, 0)), X)
    assert "out_axes is None" in message(errors.ArgumentError, ftiny.vmap(lambda x: x, out_axes=None), X)


def test_bad_tangents_and_cotangents():
    assert "tangent 0 has shape (4, 3)" in message(errors.ShapeError, ftiny.jvp, fnp.sin, (X,), (ROWS,))
    assert "float64" in message(errors.DtypeError, ftiny.jvp, fnp.sin, (X,), (X.astype(np.float64),))
    assert "structure" in message(errors.ArgumentError, ftiny.jvp, fnp.sin, (X,), ((X, X),))
    pull = ftiny.vjp(fnp.sin, X)[1]
    assert "cotangent 0 has shape ()" in message(errors.ShapeError, pull, 1.0)


def test_custom_rule_messages():
    bare = ftiny.custom_jvp(lambda x: x * 2)
    assert "defjvp" in message(errors.RuleError, ftiny.grad(lambda x: bare(x)), 1.0)
    assert "custom_jvp" in message(errors.RuleError, lambda: ftiny.jvp(with_vjp(both.libraries()[0]), (X, Y), (X, Y)))

    short = ftiny.custom_vjp(lambda x, y: x * y)
    short.defvjp(lambda x, y: (x * y, (x, y)), lambda saved, ct: (ct,))
    assert "2 arguments" in message(errors.ArgumentError, ftiny.grad(lambda x: short(x, x)), 1.0)

    closing = lambda x: ftiny.grad(lambda y: closed_over(y)(x))(x)

    def closed_over(y):
        f = ftiny.custom_jvp(lambda x: x * y)
        f.defjvp(lambda p, t: (p[0], t[0]))
        return f

    assert "closes over" in message(errors.RuleError, closing, 1.0)


def test_function_that_returns_no_array():
    assert "result['a']" in message(errors.TracerError, ftiny.grad(lambda x: {"a": "text"}), 1.0)
