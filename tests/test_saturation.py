"""Where functions reach a limit they reach it exactly, and their slopes vanish; signs of zeros and NaN go through."""
from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.lax as lax
from ftiny.scipy.special import ndtri

LARGE = np.array([20.0, 90.0, 1e4, 3e38, np.inf], np.float32)
LIMITS = {  # at large positive and negative arguments
    "tanh": (1.0, -1.0), "erf": (1.0, -1.0), "erfc": (0.0, 2.0), "logistic": (1.0, None),
    "expm1": (None, -1.0), "exp": (None, 0.0), "exp2": (None, 0.0),
}
KEEPS_ZEROS = "tanh erf atan expm1 sin tan asin sinh asinh atanh log1p cbrt erf_inv".split()
DTYPES = ("float32", "float64", "float16", "bfloat16")


def values(device: str, function, x) -> np.ndarray:
    with ftiny.device(device):
        return np.asarray(ftiny.jit(function)(x)).astype(np.float64)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_reached(compiled, name):
    function = getattr(lax, name)
    for x, limit in ((LARGE, LIMITS[name][0]), (-LARGE[1:], LIMITS[name][1])):
        if limit is not None:
            np.testing.assert_allclose(values(compiled, function, x), limit, rtol=0, atol=1e-26 if limit == 0 else 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_one_where_it_rounds_to_one(compiled, dtype):
    """PoCL's own tanh stays one ulp below, and the slope at 1e-7."""
    kind = np.dtype(ftiny.numpy.zeros(0, dtype).dtype)
    x = np.linspace(19.5, 40, 33).astype(kind)
    x = np.concatenate([x, -x])
    np.testing.assert_array_equal(values(compiled, ftiny.numpy.tanh, x), np.sign(x.astype(np.float64)))
    slope = ftiny.vmap(ftiny.grad(lambda t: ftiny.numpy.tanh(t).astype("float32")))
    np.testing.assert_array_equal(values(compiled, slope, x), 0)


def test_tanh_is_within_two_ulp(compiled):
    rng = np.random.default_rng(5)
    x = (np.exp(rng.uniform(-90, 5, 4001)) * rng.choice([-1, 1], 4001)).astype(np.float32)
    x = np.concatenate([x, np.array([0.0, -0.0, 1e-44, 0.625, 0.62499994, 9.0109], np.float32)])
    exact = np.tanh(x.astype(np.float64))
    found = values(compiled, ftiny.numpy.tanh, x)
    assert (np.abs(found - exact) <= 2 * np.spacing(np.abs(exact).astype(np.float32))).all()
    np.testing.assert_array_equal(np.signbit(found), np.signbit(x))


@pytest.mark.parametrize("name", KEEPS_ZEROS)
def test_zeros_keep_their_sign_and_nan_stays(compiled, name):
    found = values(compiled, getattr(lax, name), np.array([0.0, -0.0, np.nan], np.float32))
    assert (found[:2] == 0).all() and np.isnan(found[2])
    assert name == "erf_inv" or list(np.signbit(found[:2])) == [False, True]


def test_digamma_next_to_its_pole_at_zero(compiled):
    x = np.array([-1e-8, 1e-8, -1e-30, 1e-30, -0.25, -3.75, -1e-3], np.float32)
    exact = np.array([1e8, -1e8, 1e30, -1e30, 2.9141391, -1.6923868, 999.421138])
    np.testing.assert_allclose(values(compiled, lax.digamma, x), exact, rtol=2e-6)


def test_digamma_and_its_derivative_in_double(compiled):
    """The asymptotic series had too few terms for float64: 3e-13."""
    x = np.array([1.0, 0.5, 0.25, 8.0, 9.99])
    exact = [-0.5772156649015329, -1.9635100260214235, -4.227453533376265, 2.0156414779556098, 2.250700372831201]
    np.testing.assert_allclose(values(compiled, lax.digamma, x), exact, rtol=2e-14)
    slope = values(compiled, ftiny.vmap(ftiny.grad(lax.digamma)), x[:3])
    np.testing.assert_allclose(slope, [np.pi**2 / 6, np.pi**2 / 2, 17.19732915450712], rtol=1e-14)


def test_ndtri_at_and_beyond_the_ends(compiled):
    x = np.array([0.0, 1.0, -1e-30, -1e-9, 1.0000001, np.nan, 0.5], np.float32)
    np.testing.assert_array_equal(values(compiled, ndtri, x), [-np.inf, np.inf, np.nan, np.nan, np.nan, np.nan, 0])
