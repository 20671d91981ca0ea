"""Distributions of ftiny.random: jax's values for the same keys, derivatives, moments, transformations, messages."""

import jax
import numpy as np
import pytest

import ftiny
from ftiny import random
from ftiny.errors import ArgumentError, DtypeError, RuleError, ShapeError
from ftiny.random.gamma_derivative import log_derivative

KEY, JAX_KEY = 7, jax.random.PRNGKey(7)
SMALL_TO_LARGE = np.float32([0.01, 0.3, 0.9, 1.0, 2.5, 10.0, 300.0])


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


def key():
    return random.PRNGKey(KEY)


def assert_close(ours, theirs, rtol=5e-6, atol=1e-6):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if theirs.dtype.kind != "c":
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# ---- values -------------------------------------------------------------------------------------------------------

VALUES = {
    "gamma": lambda r, k: [r.gamma(k, SMALL_TO_LARGE), r.gamma(k, 3), r.gamma(k, 0.3, (200,)), r.gamma(k, 2.0, (0, 3))],
    "loggamma": lambda r, k: [r.loggamma(k, SMALL_TO_LARGE), r.loggamma(k, 1e-3, (200,))],
    "beta": lambda r, k: [r.beta(k, SMALL_TO_LARGE, 2), r.beta(k, 0.5, np.ones((3, 1), np.float32), (3, 70))],
    "dirichlet": lambda r, k: r.dirichlet(k, np.ones((2, 3), np.float32), (4, 2)),
    "t": lambda r, k: r.t(k, 3.0, (200,)),
    "f": lambda r, k: r.f(k, np.float32([2.0, 9.0]), 4.0),
    "ball": lambda r, k: [r.ball(k, 3, shape=(40,)), r.ball(k, 1, 1.0)],
    "poisson": lambda r, k: [
        r.poisson(k, np.float32([0, 1, 5, 9.9, -1, np.nan])),
        r.poisson(k, 30.0, (200,), "int16"),
    ],
    "binomial": lambda r, k: [
        r.binomial(k, 1000, 0.7, (200,)),
        r.binomial(
            k, np.float32([5, -1, np.inf, 3, 3, 3, 7.5, 8]), np.float32([0.5, 0.5, 0.5, 0, 1, 1.5, 0.4, np.nan])
        ),
    ],
    "multinomial": lambda r, k: r.multinomial(k, 100, np.float32([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])),
    "geometric": lambda r, k: r.geometric(k, 0.3, (200,), "uint8"),
    "lognormal": lambda r, k: r.lognormal(k, 2, (5,), "complex64"),
    "eigh": lambda r, k: r.multivariate_normal(k, np.zeros((2, 2), np.float32), COVARIANCE, (3, 2), method="eigh"),
    "svd": lambda r, k: r.multivariate_normal(k, np.zeros(2, np.float32), COVARIANCE, method="svd"),
}
COVARIANCE = np.float32([[2.0, 0.5], [0.5, 1.0]])


@pytest.mark.parametrize("name", VALUES)
def test_same_values_as_jax(name):
    ours, theirs = VALUES[name](random, key()), VALUES[name](jax.random, JAX_KEY)
    for found, wanted in zip(*(x if isinstance(x, list) else [x] for x in (ours, theirs))):
        assert_close(found, wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats(dtype):
    for name in ("gamma", "chisquare", "rayleigh"):
        ours, theirs = (getattr(r, name)(k, 2.5, (8, 2), dtype) for r, k in ((random, key()), (jax.random, JAX_KEY)))
        assert_close(ours, theirs, rtol=5e-2, atol=1e-2)


def test_double():
    with jax.enable_x64(True):
        for name, parameters in (("gamma", [2.5]), ("beta", [0.5, 3.0]), ("wald", [2.0])):
            assert_close(
                getattr(random, name)(key(), *map(np.float64, parameters), (50,), "float64"),
                getattr(jax.random, name)(JAX_KEY, *map(np.float64, parameters), (50,), "float64"),
                rtol=1e-10,
            )


def test_keys_as_data():
    assert random.key_impl(key()) == random.key_impl(random.split(key(), 3)) == jax.random.key_impl(JAX_KEY)
    np.testing.assert_array_equal(np.asarray(random.clone(key())), [0, KEY])
    assert random.normal(key(), (2,), None).dtype == random.uniform(key(), (2,), None).dtype == np.float32
    assert random.randint(key(), (2,), 0, 9, None).dtype == random.rademacher(key(), (2,), None).dtype == np.int32


def test_poisson_of_mixed_rates():
    """One loop decides the large rates of an array together, where rounding makes one sample in a thousand another."""
    rates = np.float32([3.0, 10.0, 50.0, 1000.0, np.inf])
    sample = np.asarray(random.poisson(key(), rates, (4000, 5)))
    assert (sample[:, 4] == -1).all()
    for rate, column in zip(rates[:4], sample.T):
        assert abs(column.mean() - rate) < 5 * np.sqrt(rate / 4000) and abs(column.var() / rate - 1) < 0.15


# ---- moments: (sample, mean, variance) of distributions that hold for whatever key ----------------------------------

MOMENTS = {
    "gamma": (lambda k, n: random.gamma(k, 0.4, n), 0.4, 0.4),
    "poisson small": (lambda k, n: random.poisson(k, 3.5, n), 3.5, 3.5),
    "poisson large": (lambda k, n: random.poisson(k, 40.0, n), 40, 40),
    "binomial small": (lambda k, n: random.binomial(k, 9, 0.7, n), 6.3, 1.89),
    "binomial large": (lambda k, n: random.binomial(k, 300, 0.2, n), 60, 48),
    "geometric": (lambda k, n: random.geometric(k, 0.4, n), 2.5, 3.75),
    "wald": (lambda k, n: random.wald(k, 1.5, n), 1.5, 1.5**3),
    "triangular": (lambda k, n: random.triangular(k, 0.0, 1.0, 2.0, n), 1.0, 1 / 6),
    "double_sided_maxwell": (lambda k, n: random.double_sided_maxwell(k, 1.0, 2.0, n), 1.0, 12.0),
    "generalized_normal": (lambda k, n: random.generalized_normal(k, 2.0, n), 0.0, 0.5),
    "t": (lambda k, n: random.t(k, 9.0, n), 0.0, 9 / 7),
    "beta": (lambda k, n: random.beta(k, 2.0, 3.0, n), 0.4, 0.04),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_moments(name):
    draw, mean, variance = MOMENTS[name]
    sample = np.asarray(draw(random.PRNGKey(1), (20_000,))).astype(np.float64)
    assert abs(sample.mean() - mean) < 5 * np.sqrt(variance / sample.size)
    assert abs(sample.var() / variance - 1) < 0.1


def test_ball_and_orthogonal():
    points = np.asarray(random.ball(key(), 2, 1.0, (5000,)))
    radius = np.abs(points).sum(-1)
    assert radius.max() <= 1 and abs((radius**2).mean() - 0.5) < 0.02  # evenly distributed: radius**2 is uniform
    q = np.asarray(random.orthogonal(key(), 3, (4,), m=5))
    np.testing.assert_allclose(q @ q.swapaxes(-1, -2), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-6)


# ---- derivatives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_implicit_derivative(dtype):
    """At quantiles from 1e-5 to 1 - 1e-6, for parameters of all three formulas."""
    from scipy.special import gammaincinv  # jax needs scipy, so it is here

    a = np.float64([0.05, 0.5, 1.0, 1.5, 20.0, 399.0, 401.0, 1.9e4, 2.1e4, 1e6])[:, None]
    x = gammaincinv(a, np.float64([1e-5, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6]))
    with jax.enable_x64(True):
        wanted = np.asarray(jax.lax.random_gamma_grad(np.broadcast_to(a, x.shape), x)) / x
    found = np.asarray(log_derivative(np.broadcast_to(a, x.shape).astype(dtype), np.log(x).astype(dtype)))
    np.testing.assert_allclose(found, wanted, rtol=2e-5 if dtype == "float32" else 1e-9)


PARAMETERS = np.float32([0.3, 0.5, 1.0, 3.0, 30.0])
WEIGHTS = np.linspace(0.1, 1, 40, dtype=np.float32).reshape(8, 5)
DIFFERENTIABLE = {
    "gamma": lambda r, k, a: r.gamma(k, a, (8, 5)),
    "loggamma": lambda r, k, a: r.loggamma(k, a, (8, 5)),
    "chisquare": lambda r, k, a: r.chisquare(k, a, (8, 5)),
    "t": lambda r, k, a: r.t(k, 2 + a, (8, 5)),
    "f": lambda r, k, a: r.f(k, a + 0 * WEIGHTS, 3 + a + 0 * WEIGHTS, (8, 5)),
    "beta": lambda r, k, a: r.beta(k, a, 2.0, (8, 5)),
    "dirichlet": lambda r, k, a: r.dirichlet(k, a, (8,)),
    "generalized_normal": lambda r, k, a: r.generalized_normal(k, 1 + a[3], (8, 5)),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivative_of_samples(name):
    def gradients(library, r, k):
        loss = lambda a: (DIFFERENTIABLE[name](r, k, a) * WEIGHTS).sum()
        return library.grad(loss)(PARAMETERS), library.jvp(loss, (PARAMETERS,), (PARAMETERS,))[1]

    for found, wanted in zip(gradients(ftiny, random, key()), gradients(jax, jax.random, JAX_KEY)):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=2e-4, atol=1e-4)


def test_derivative_of_a_mean():
    """The mean of a gamma sample is its parameter; that of chi-square likewise; a count has no derivative."""
    slope = ftiny.grad(lambda a: random.gamma(key(), a, (4000,)).mean())(np.float32(2.0))
    assert abs(float(slope) - 1) < 0.05
    assert float(ftiny.grad(lambda p: random.binomial(key(), 20, p, (9,)).sum())(np.float32(0.3))) == 0


def test_no_second_derivative():
    for name in ("gamma", "beta", "t"):
        sample = {"beta": lambda a: random.beta(key(), a, 2.0)}.get(name, lambda a: getattr(random, name)(key(), a))  # noqa: B023
        for twice in (ftiny.grad(ftiny.grad(sample)), ftiny.hessian(sample), ftiny.jit(ftiny.grad(ftiny.grad(sample)))):
            with pytest.raises(RuleError, match="a gamma sample .* has no second derivative"):
                twice(np.float32(2.0))


def test_gradient_of_multivariate_normal():
    def gradients(library, r, k):
        loss = lambda mean, cov: (r.multivariate_normal(k, mean, cov, (6,)) ** 2).sum()
        return library.grad(loss, argnums=(0, 1))(np.float32([1, 2]), COVARIANCE)

    for found, wanted in zip(gradients(ftiny, random, key()), gradients(jax, jax.random, JAX_KEY)):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-4, atol=1e-4)


# ---- transformations and devices ----------------------------------------------------------------------------------

MAPPED = {
    "gamma": lambda k, a: random.gamma(k, a),
    "beta": lambda k, a: random.beta(k, a, 2.0),
    "dirichlet": lambda k, a: random.dirichlet(k, a),
    "poisson": lambda k, a: random.poisson(k, 4 * a),
    "binomial": lambda k, a: random.binomial(k, 40.0, a / 4),
    "multinomial": lambda k, a: random.multinomial(k, 20, a / a.sum()),
    "gradient": ftiny.grad(lambda a, k: (random.gamma(k, a) * random.t(k, a)).sum()),
}


@pytest.mark.parametrize("name", MAPPED)
def test_vmap_and_jit(name):
    call = MAPPED[name] if name != "gradient" else lambda k, a: MAPPED["gradient"](a, k)
    keys, a = random.split(key(), 3), np.float32([[0.3, 1.5], [0.9, 3.0], [2.0, 0.5]])
    looped = np.stack([np.asarray(call(k, row)) for k, row in zip(keys, a)])
    np.testing.assert_allclose(np.asarray(ftiny.vmap(call)(keys, a)), looped, rtol=1e-5, atol=1e-6)
    jitted = ftiny.jit(ftiny.vmap(call, in_axes=(0, None)))(keys, a[0])
    np.testing.assert_allclose(np.asarray(jitted)[0], looped[0], rtol=1e-5, atol=1e-6)


def test_compiled(compiled):
    """The gradient through the loops, in one program; the values are rows of the operation table."""

    def gradients(k, a):
        loss = lambda a: (
            random.gamma(k, a).sum() + (random.dirichlet(k, a) * a).sum() + random.loggamma(k, 100 * a).sum()
        )
        return ftiny.grad(loss)(a), random.multinomial(k, 50, a / a.sum())

    a = np.float32([0.05, 0.3, 1.0, 1.5, 4.0, 9.0, 30.0, 100.0])
    wanted = gradients(key(), a)
    with ftiny.device(compiled):
        found = ftiny.jit(gradients)(random.PRNGKey(KEY), a)
    for x, y in zip(found, wanted):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-4, atol=1e-5)


# ---- messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, match, call",
    [
        (ArgumentError, r"random.gamma: a key is a uint32 array of shape \(2,\)", lambda: random.gamma(7, 2.0)),
        (
            ShapeError,
            r"random.gamma: parameters of shape \(3,\) do not fit the shape \(2, 1\)",
            lambda: random.gamma(key(), np.ones(3, np.float32), (2, 1)),
        ),
        (
            DtypeError,
            "random.beta: dtype must be a float type, not int32",
            lambda: random.beta(key(), 1, 2, (), "int32"),
        ),
        (
            DtypeError,
            "random.poisson: dtype must be an integer type",
            lambda: random.poisson(key(), 2.0, (), "float32"),
        ),
        (DtypeError, "random.t: a parameter must be a real number or an array of them", lambda: random.t(key(), 1j)),
        (ShapeError, "random.dirichlet: alpha needs an axis", lambda: random.dirichlet(key(), 1.0)),
        (ShapeError, "random.multinomial: p needs an axis", lambda: random.multinomial(key(), 3, 1.0)),
        (
            ShapeError,
            r"needs a covariance of shape \(..., n, n\), but the shapes are \(3,\) and \(2, 2\)",
            lambda: random.multivariate_normal(key(), np.zeros(3), np.eye(2)),
        ),
        (
            ArgumentError,
            "method must be 'cholesky', 'eigh' or 'svd', not 'lu'",
            lambda: random.multivariate_normal(key(), np.zeros(2), np.eye(2), method="lu"),
        ),
        (ArgumentError, "random.ball: the dimension d must be an integer", lambda: random.ball(key(), 2.5)),
        (ArgumentError, "random.key_impl: a key is", lambda: random.key_impl(np.zeros(3))),
    ],
)
def test_messages(error, match, call):
    with pytest.raises(error, match=match):
        call()
