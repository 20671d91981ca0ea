"""`ftiny.scipy.special` and `stats`, and the special functions of `lax`: ends of domains, what jax lacks, messages."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special as reference
from scipy import stats as distributions

import ftiny
from ftiny import errors, lax
from ftiny.scipy import linalg, signal, special, stats

NAN, INF = np.nan, np.inf


@pytest.fixture(autouse=True)
def on_the_interpreter():
    with ftiny.device("numpy"):
        yield


def close(found, wanted, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(found), wanted, tolerance, 1e-300)


def numbers(low: float, high: float, seed: int = 0, count: int = 200) -> np.ndarray:
    return np.exp(np.random.RandomState(seed).uniform(np.log(low), np.log(high), count))


# ---- values over wide ranges, in double precision ---------------------------------------------------------------


def test_incomplete_integrals_against_scipy():
    a, b, x = numbers(1e-3, 200), numbers(1e-3, 200, 1), numbers(1e-3, 400, 2)
    for name in ("gammainc", "gammaincc"):
        wanted = getattr(reference, name)(a, x)
        ordinary = wanted > 1e-100  # further out the logarithm itself is too long for ten digits
        close(getattr(special, name)(a, x)[ordinary], wanted[ordinary])
    u = np.random.RandomState(3).uniform(0, 1, a.shape)
    close(special.betainc(a, b, u), reference.betainc(a, b, u))


def test_functions_of_one_variable_against_scipy():
    x = numbers(1e-6, 600)
    for name in ("erfcx", "exp1", "spence", "i0e", "i1e"):
        close(getattr(special, name)(x), getattr(reference, name)(x))
    close(special.expi(x[x < 80]), reference.expi(x[x < 80]))
    for name in ("log_ndtr", "ndtr"):
        close(getattr(special, name)(-x[x < 30]), getattr(reference, name)(-x[x < 30]))
    p = numbers(1e-300, 0.5)
    close(special.ndtri(p), reference.ndtri(p))
    close(special.ndtri(1 - p), reference.ndtri(1 - p))
    n = np.arange(200) % 9
    close(special.expn(n, numbers(1e-3, 50)), reference.expn(n, numbers(1e-3, 50)))


# ---- derivatives that jax lacks ---------------------------------------------------------------------------------


def differences(function, x, step: float = 1e-6):
    return (function(x + step) - function(x - step)) / (2 * step)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_derivatives_of_betainc(position):
    arguments = [numbers(0.3, 9, 1, 20), numbers(0.3, 9, 2, 20), np.linspace(0.05, 0.95, 20)]
    slope = ftiny.grad(lambda *xs: special.betainc(*xs).sum(), argnums=position)(*arguments)

    def along(value):
        return reference.betainc(*arguments[:position], value, *arguments[position + 1 :])

    np.testing.assert_allclose(np.asarray(slope), differences(along, arguments[position]), 1e-6, 1e-8)


def test_derivatives_of_exponential_integrals():
    x = numbers(0.1, 9, 1, 20)
    close(ftiny.grad(lambda x: special.exp1(x).sum())(x), -np.exp(-x) / x)
    for n in (0, 1, 3):
        close(ftiny.grad(lambda x: special.expn(n + 1, x).sum())(x), -reference.expn(n, x))  # noqa: B023
    close(ftiny.grad(lambda x: special.spence(x).sum())(x), np.log(x) / (1 - x))
    second = ftiny.vmap(ftiny.grad(ftiny.grad(special.exp1)))(x)
    close(second, np.exp(-x) * (1 / x + 1 / x**2))


def test_derivatives_by_a_only_where_asked():
    """The derivative by the first parameter is a loop: a program that does not need it has none."""
    by_x = ftiny.make_jaxpr(ftiny.grad(lambda x: special.gammainc(ftiny.numpy.float32(2.5), x)))(1.5)
    by_both = ftiny.make_jaxpr(ftiny.grad(special.gammainc, argnums=(0, 1)))(2.5, 1.5)
    assert str(by_x).count("while") < str(by_both).count("while")


# ---- ends of domains --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function,arguments,wanted",
    [
        (special.gammainc, ([1, 2, 0, INF, -1, 1], [0, INF, 1, 1, 1, -1]), [0, 1, 1, 0, NAN, NAN]),
        (special.gammaincc, ([1, 2, 0, INF, -1, 1], [0, INF, 1, 1, 1, NAN]), [1, 0, 0, 1, NAN, NAN]),
        (special.betainc, ([1, 2, 0, INF, 1, 1], [2, 2, 1, 1, 1, 0], [0, 1, 0.5, 0.5, 2, 0.5]), [0, 1, 1, 0, NAN, 0]),
        (special.zeta, ([1, 0.5, 2, 2.5], [2, 2, -1, -0.5]), [INF, NAN, INF, NAN]),
        (special.ndtri, ([0, 1, -0.1, 0.5],), [-INF, INF, NAN, 0]),
        (special.log_ndtr, ([-INF, INF, -1e5],), [-INF, 0, reference.log_ndtr(-1e5)]),
        (special.gammasgn, ([0.0, -0.0, -0.5, -1.5, -2, 3],), [1, -1, -1, 1, NAN, 1]),
        (special.gamma, ([0.0, -0.0, -1, INF],), [INF, -INF, NAN, INF]),
        (special.factorial, ([-1, 0, 5],), [0, 1, 120]),
        (special.comb, ([5, 5, 5, -1], [0, 6, -1, 0]), [1, 0, 0, 0]),
        (special.xlogy, ([0, 0, 1], [0, NAN, 0]), [0, NAN, -INF]),
        (special.xlog1py, ([0, 0, 1], [-1, NAN, -1]), [0, NAN, -INF]),
        (special.entr, ([0, -1, 1],), [0, -INF, 0]),
        (special.rel_entr, ([0, 0, 1, -1], [0, 1, 0, 1]), [0, 0, INF, INF]),
        (special.spence, ([0, 1, -1],), [np.pi**2 / 6, 0, NAN]),
        (special.expn, ([1, 2, 3, -1], [0, 0, 0, 1]), [INF, 1, 0.5, NAN]),
        (special.exp1, ([0, -1],), [INF, NAN]),
        (special.poch, ([0, 1, 3], [2, 0, 2]), [0, 1, 12]),
    ],
)
def test_ends(function, arguments, wanted):
    found = function(*(np.array(x, np.float64) for x in arguments))
    np.testing.assert_allclose(np.asarray(found), np.array(wanted, np.float64), 1e-12, 1e-12)


def test_no_convergence_is_nan():
    """Close to x = a = 1e10 there would be a million steps; the value must not be a wrong one."""
    assert np.isnan(float(special.gammainc(1e10, 1e10)))
    assert float(special.gammainc(1e10, 1e9)) == 0.0 and float(special.gammainc(1e10, 1e11)) == 1.0


def test_bernoulli_numbers_and_logsumexp():
    close(special.bernoulli(6), [1, -0.5, 1 / 6, 0, -1 / 30, 0, 1 / 42], 1e-6)
    value, sign = special.logsumexp(np.array([[0.0, -INF], [-INF, -INF]]), axis=1, return_sign=True)
    assert value.tolist() == [0.0, -INF] and sign.tolist() == [1.0, 0.0]


def test_distributions_outside_their_support():
    x = np.array([-1.0, 3.0])
    assert stats.expon.logpdf(x).tolist() == [-INF, -3.0]
    assert stats.beta.cdf(x, 2, 3).tolist() == [0.0, 1.0]
    slope = ftiny.grad(lambda x: stats.gamma.logpdf(x, 2.5).sum())(x)
    close(slope, [0.0, 1.5 / 3 - 1])
    close(stats.truncnorm.logcdf(np.float64(9.5), 9, 10), distributions.truncnorm.logcdf(9.5, 9, 10), 1e-9)


def test_multinomial_of_several_rows():
    """Each row counts for itself; jax 0.10 adds up the counts of all rows."""
    counts, p = np.array([[1, 2, 3], [0, 0, 6], [1, 1, 1]]), np.array([0.2, 0.3, 0.5])
    close(stats.multinomial.logpmf(counts, 6, p), distributions.multinomial.logpmf(counts, 6, p))


# ---- messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error,call,text",
    [
        (errors.ArgumentError, lambda: special.zeta(2.0), "zeta: give q; q=1 is Riemann's"),
        (errors.ArgumentError, lambda: special.factorial(3, exact=True), "use math.factorial"),
        (errors.ArgumentError, lambda: special.bernoulli(-1), "bernoulli: n must not be negative, but it is -1"),
        (errors.DtypeError, lambda: special.polygamma(1.5, 2.0), "polygamma: n must be of an integer dtype"),
        (errors.ShapeError, lambda: special.xlogy(np.ones(2), np.ones(3)), r"xlogy: shapes \(2,\) and \(3,\)"),
        (errors.DtypeError, lambda: special.ndtr(np.ones(2, np.complex64)), "ndtr takes floats, not complex64"),
        (errors.TracerError, lambda: special.gammainc("a", 2.0), "gammainc: argument 0 must be an array"),
        (errors.DtypeError, lambda: lax.igamma(np.int32(1), np.int32(2)), "igamma takes floats, not int32"),
        (errors.ShapeError, lambda: lax.zeta(np.ones(2), np.ones(3)), "lax.zeta takes operands of one shape"),
        (TypeError, lambda: stats.norm.logpdf(1.0, mean=0.0), r"called as norm.logpdf\(x, loc=0, scale=1\)"),
        (TypeError, lambda: stats.gamma.cdf(1.0), r"missing a required argument: 'a'"),
        (errors.ShapeError, lambda: stats.dirichlet.pdf(np.ones(2), np.ones(4)), r"not \(2,\) and \(4,\)"),
    ],
)
def test_messages(error, call, text):
    with pytest.raises(error, match=text):
        call()


# ---- waves, bells, hypergeometric functions -----------------------------------------------------------------------


def test_waves_and_bells_against_scipy():
    x = np.concatenate([numbers(1e-6, 200), -numbers(1e-6, 200, 1)])
    close(special.dawsn(x), reference.dawsn(x))
    for found, wanted in zip(special.fresnel(x), reference.fresnel(x)):
        close(found, wanted)
    close(special.sici(x)[0], reference.sici(x)[0])
    np.testing.assert_allclose(np.asarray(special.sici(x[x > 0])[1]), reference.sici(x[x > 0])[1], 1e-9, 1e-12)
    z = x + 1j * np.random.RandomState(5).normal(size=x.shape)
    close(special.wofz(z), reference.wofz(z))
    h, a = np.random.RandomState(6).normal(0, 3, (2, 400))
    close(special.owens_t(h, a), reference.owens_t(h, a))
    orders = np.stack([reference.jn(k, x[np.abs(x) < 25]) for k in range(5)])
    np.testing.assert_allclose(np.asarray(special.bessel_jn(x[np.abs(x) < 25], v=4, n_iter=60)), orders, 1e-6, 1e-14)


def test_hypergeometric_functions_against_scipy():
    random = np.random.RandomState(7)
    a, b, c = random.uniform(0.1, 5, (3, 200))
    x = random.uniform(-30, 30, 200)
    close(special.hyp1f1(a, b, x), reference.hyp1f1(a, b, x))
    x = random.uniform(-3, 0.9, 200)
    close(special.hyp2f1(a, b, c, x), reference.hyp2f1(a, b, c, x))


def test_ends_of_waves_and_bells():
    np.testing.assert_array_equal(special.dawsn(np.array([0.0, INF, NAN])), [0, 0, NAN])
    np.testing.assert_array_equal(special.fresnel(np.array([0.0, INF, -INF, NAN])), [[0, 0.5, -0.5, NAN]] * 2)
    sine, cosine = special.sici(np.array([0.0, INF, -1.0, NAN]))
    np.testing.assert_allclose(np.asarray(sine), [0, np.pi / 2, -0.946083070367183, NAN], 1e-12)
    np.testing.assert_array_equal(cosine, [-INF, 0, NAN, NAN])
    np.testing.assert_array_equal(special.bessel_jn(np.zeros(1), v=2), [[1], [0], [0]])
    np.testing.assert_allclose(float(special.hyp2f1(0.5, 0.5, 2.0, 1.0)), 4 / np.pi, 1e-5)
    assert np.isinf(special.hyp2f1(1.0, 1.0, 1.5, 1.0)) and float(special.hyp2f1(-2.0, 1.0, 1.0, 3.0)) == 4.0
    assert float(special.hyp1f1(0.0, 0.0, 2.0)) == 1.0 and np.isinf(special.hyp1f1(1.0, 0.0, 2.0))


# ---- functions of matrices ------------------------------------------------------------------------------------------


def along(function, x, step=1e-6):
    """(the derivative of `function` at x along a direction, the central difference)."""
    direction = np.random.RandomState(8).normal(size=x.shape)
    tangent = ftiny.jvp(function, (x,), (direction,))[1]
    above, below = (np.asarray(function(x + sign * step * direction)) for sign in (1, -1))
    gradient = ftiny.grad(lambda y: function(y).sum())(x)
    np.testing.assert_allclose(np.vdot(np.asarray(gradient), direction), np.asarray(tangent).sum(), 1e-8)
    return tangent, (above - below) / (2 * step)


def test_derivatives_of_functions_of_matrices():
    matrix = np.random.RandomState(9).normal(size=(4, 4)) + 5 * np.eye(4)
    other, right = matrix[:3, :3].T, matrix[:, :3]
    functions = [
        lambda a: linalg.sqrtm(a).real,
        lambda a: linalg.solve_sylvester(a, other, right),
        lambda b: linalg.solve_sylvester(matrix, b[:3, :3], right),
        lambda c: linalg.solve_sylvester(matrix, other, c[:, :3]),
        lambda a: lax.linalg.householder_product(a, a[0, :3]),
        lambda a: lax.linalg.cholesky_update(ftiny.numpy.triu(a), a[0]),
        lambda a: lax.linalg.symmetric_product(a, a, alpha=2.0, beta=3.0),
        lambda a: linalg.qr_multiply(a, matrix)[0],
        lambda a: lax.linalg.qdwh(a)[0],
        lambda a: lax.linalg.qdwh(a)[1],
    ]
    for function in functions:
        found, wanted = along(function, matrix)
        np.testing.assert_allclose(np.asarray(found), wanted, 1e-6, 1e-7)


def test_schur_forms_of_matrices_that_are_hard():
    jordan = np.diag(np.ones(5), 1) + np.diag([1.0, 1, 2, 2, 2, 1])
    rotations = np.kron(np.eye(3), [[0.0, 1], [-1, 0]])
    cyclic = np.roll(np.eye(6), 1, axis=0)  # on which QR steps without a shift out of the ordinary stand still
    for matrix in (jordan, jordan.T, rotations, cyclic, np.zeros((3, 3)), np.ones((4, 4))):
        for output in ("real", "complex"):
            t, z = map(np.asarray, linalg.schur(matrix, output))
            np.testing.assert_allclose(z @ t @ z.conj().T, matrix, 0, 1e-12)
            np.testing.assert_allclose(z @ z.conj().T, np.eye(len(z)), 0, 1e-12)
            assert not np.tril(t, -2).any() and (output == "real" or not np.tril(t, -1).any())
    broken = np.where(np.eye(3) > 0, NAN, 1.0)
    assert np.isnan(linalg.schur(np.stack([broken, np.eye(3)]))[0]).any(axis=(1, 2)).tolist() == [True, False]


# ---- messages -------------------------------------------------------------------------------------------------------


def test_messages_of_the_newer_functions():
    ones = np.ones((3, 3))
    for error, text, call in (
        (errors.ShapeError, "at least as large as the other along every axis", lambda: signal.convolve(
            np.ones((2, 3)), np.ones((3, 2)))),
        (errors.ArgumentError, "mode must be 'full', 'same' or 'valid', not 'half'", lambda: signal.correlate(
            np.ones(2), np.ones(2), "half")),
        (errors.ShapeError, "the axes other than .* must have equal sizes", lambda: signal.fftconvolve(
            np.ones((2, 3)), np.ones((3, 3)), axes=1)),
        (errors.ArgumentError, "bp must lie between 0 and 3, the size of axis 0", lambda: signal.detrend(
            np.ones(3), bp=5)),
        (errors.RuleError, "the Schur form of a matrix has no derivative", lambda: ftiny.grad(
            lambda a: linalg.schur(a)[0].sum())(ones)),
        (errors.ShapeError, r"takes C of shape \(3, 2\), not \(2, 3\)", lambda: linalg.solve_sylvester(
            ones, np.eye(2), np.ones((2, 3)))),
        (errors.ArgumentError, "no QR with pivoting", lambda: linalg.qr_multiply(ones, ones, pivoting=True)),
        (errors.ShapeError, "at least two fecundities", lambda: linalg.leslie(np.ones(1), np.ones(0))),
        (errors.ShapeError, "takes arrays whose last axes have the sizes", lambda: lax.fft(np.ones(4), "rfft", (3,))),
        (errors.ArgumentError, "the type must be 'FFT'", lambda: lax.fft(np.ones(4), "dct", (4,))),
        (errors.DtypeError, "the bounds must have one dtype", lambda: lax.rng_uniform(1, 2.0, (3,))),
        (errors.ArgumentError, "v must be between 0 and n_iter - 1", lambda: special.bessel_jn(1.0, v=50)),
        (errors.TracerError, "give n_max=", lambda: ftiny.jit(special.sph_harm_y)(np.array([1]), 0, 0.5, 0.5)),
        (errors.ArgumentError, "nan_policy must be 'propagate'", lambda: stats.mode(ones, nan_policy="omit")),
        (errors.ShapeError, "3 points have weights of shape", lambda: stats.gaussian_kde(ones, weights=np.ones(2))),
        (errors.ShapeError, "the data have 3 components", lambda: stats.gaussian_kde(ones).pdf(np.ones((2, 2)))),
    ):
        with pytest.raises(error, match=text):
            call()


def test_bessel_functions_are_smooth_at_zero(every_device):
    """i0' = i1 and i1' = i0 - i1 / x at and around 0, where e^|x| has a corner that the other factor cancels."""
    x = np.array([-1e-3, 0.0, 1e-3, 0.7], np.float32)
    for function in (special.i0, ftiny.numpy.i0):
        slope = ftiny.jit(ftiny.vmap(ftiny.grad(function)))
        np.testing.assert_allclose(slope(x), [-5e-4, 0.0, 5e-4, special.i1(np.float32(0.7))], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(ftiny.grad(special.i1)(np.float32(0)), 0.5, rtol=1e-6)
    np.testing.assert_allclose(ftiny.grad(ftiny.grad(special.i0))(np.float32(0)), 0.5, rtol=1e-6)
