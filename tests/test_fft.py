"""Fourier transforms: what no row of the table says. Lengths of every kind, round trips, messages."""
from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import errors

LENGTHS = [1, 2, 3, 7, 12, 64, 67, 100, 128, 131, 263, 1000, 4096, 2 * 1009, 127 * 127]


@pytest.fixture(autouse=True)
def on_the_interpreter():
    with ftiny.device("numpy"):
        yield


@pytest.mark.parametrize("n", LENGTHS)
def test_every_length(n):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))
    expected = np.fft.fft(x)
    scale = abs(expected).max()
    np.testing.assert_allclose(fnp.fft.fft(x), expected, atol=1e-13 * scale)
    np.testing.assert_allclose(fnp.fft.fft(x.astype(np.complex64)), expected, atol=3e-6 * scale)
    np.testing.assert_allclose(fnp.fft.ifft(fnp.fft.fft(x)), x, atol=1e-12)
    np.testing.assert_allclose(fnp.fft.irfft(fnp.fft.rfft(x.real), n), x.real, atol=1e-12)


def test_the_adjoint_is_the_inverse():
    """<y, F x> = <F^H y, x>, with F^H = n times the inverse."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(90) for _ in range(2))
    _, pullback = ftiny.vjp(lambda x: fnp.real(fnp.fft.fft(x)), x)
    np.testing.assert_allclose(pullback(y)[0], np.real(np.fft.ifft(y)) * 90, atol=1e-10)


@pytest.mark.parametrize("n", [97, 1024, 131])
def test_compiled(n, opencl):
    rng = np.random.default_rng(n)
    x = (rng.standard_normal((3, n)) + 1j * rng.standard_normal((3, n))).astype(np.complex64)
    with ftiny.device("opencl"):
        found = np.asarray(ftiny.jit(fnp.fft.fft)(x))
    expected = np.fft.fft(x)
    np.testing.assert_allclose(found, expected, atol=3e-6 * abs(expected).max())


def test_messages():
    x = np.ones((2, 3), np.float32)
    cases = [
        (lambda: fnp.fft.fft(x, norm="unit"), errors.ArgumentError, "fft: norm must be 'backward', 'ortho'"),
        (lambda: fnp.fft.fft(x, axis=2), errors.ShapeError, "fft: axis 2 is out of bounds"),
        (lambda: fnp.fft.fft(x, n=0), errors.ShapeError, "fft: a transform needs at least 1 point, but n is 0"),
        (lambda: fnp.fft.rfft(x + 1j), errors.ArgumentError, "rfft takes real arrays, not complex64; use fft"),
        (lambda: fnp.fft.fftn(x, (2, 2, 2)), errors.ShapeError, "fftn: 3 sizes (s=(2, 2, 2)) for an array of shape"),
        (lambda: fnp.fft.fft2(x, (2,)), errors.ArgumentError, "fft2: 1 sizes"),
        (lambda: fnp.fft.hfft(x, norm="unit"), errors.ArgumentError, "hfft: norm"),
    ]
    for run, error, text in cases:
        with pytest.raises(error) as caught:
            run()
        assert text in str(caught.value) and "test_fft.py" in str(caught.value)
