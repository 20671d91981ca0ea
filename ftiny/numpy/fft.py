"""`ftiny.numpy.fft`: discrete Fourier transforms of any length, as products with small matrices.

Input: real or complex arrays. Output: complex arrays (`irfft*` and `hfft`: real ones), complex64 for float32 and
shorter:

    >>> abs(rfft(ftiny.numpy.array([1.0, 0.0, -1.0, 0.0])))
    Array([0., 2., 0.], dtype=float32)

A transform works on real and imaginary parts, since kernels have no complex numbers, and is made of ordinary
operations: so it is differentiated, mapped and compiled like everything else. A length n = n1 * n2 is cut in two
(Cooley and Tukey, *An Algorithm for the Machine Calculation of Complex Fourier Series*, 1965), here 12 = 3 * 4:

    x[j1*4 + j2]  --reshape-->  x[j1, j2]  --3-point transform over j1-->  y[k1, j2]  --times w12^(k1*j2)-->
    --4-point transform over j2-->  z[k1, k2]  --transpose, reshape-->  X[k1 + 3*k2]

until the pieces have at most 64 points, which a product with a 64 x 64 matrix transforms. A large prime length becomes
a convolution of a length that is a power of two (Bluestein, *A Linear Filtering Approach to the Computation of the
Discrete Fourier Transform*, 1970). The matrices are computed in float64 from exact integer angles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from ftiny import dtypes
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy.common import canonical_axis, check_array, convert, dtype_of, shape_of
from ftiny.source import located

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]

LARGEST_MATRIX = 64  # points that one product transforms
LARGEST_PRIME = 128  # a prime factor above this is a convolution

# ---- one axis, in parts ---------------------------------------------------------------------------------------------
# A signal is a pair (real, imaginary) of float arrays, the axis last; the imaginary part is None where it is zero.


@cache
def _roots(n: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts of exp(sign * 2 pi i k / n), k = 0 .. n-1."""
    angles = 2 * np.pi * np.arange(n) / n
    return np.cos(angles), sign * np.sin(angles)


def _powers(rows: int, columns: int, n: int, sign: int, dtype) -> tuple[np.ndarray, np.ndarray]:
    """The matrix w_n^(j*k), with j and k below `rows` and `columns`."""
    exponents = np.outer(np.arange(rows), np.arange(columns)) % n
    real, imaginary = _roots(n, sign)
    return real[exponents].astype(dtype), imaginary[exponents].astype(dtype)


def _times(x, factor):
    """The elementwise product of two signals."""
    (real, imaginary), (a, b) = x, factor
    if imaginary is None:
        return real * a, real * b
    return real * a - imaginary * b, real * b + imaginary * a


def _matrix(x, n: int, sign: int):
    """The transform as one product."""
    real, imaginary = x
    a, b = _powers(n, n, n, sign, dtype_of(real))
    if imaginary is None:
        return fnp.matmul(real, a), fnp.matmul(real, b)
    return (
        fnp.matmul(real, a) - fnp.matmul(imaginary, b),
        fnp.matmul(real, b) + fnp.matmul(imaginary, a),
    )


def _each(x, function):
    """The signal with a function applied to both parts."""
    real, imaginary = x
    return function(real), None if imaginary is None else function(imaginary)


def _factor(n: int) -> int:
    """The largest divisor of n with which it is cut; 1 if it has no prime factor that is small enough."""
    small = [d for d in range(LARGEST_MATRIX, 1, -1) if n % d == 0]
    if small:
        return small[0]
    return next((d for d in range(LARGEST_MATRIX + 1, LARGEST_PRIME + 1) if n % d == 0), 1)


def _transform(x, sign: int):
    """The transform of a signal along its last axis, not scaled: sign -1 forwards, +1 backwards."""
    n = shape_of(x[0])[-1]
    if n <= LARGEST_MATRIX or (n <= LARGEST_PRIME and _factor(n) in (1, n)):
        return _matrix(x, n, sign)
    first = _factor(n)
    if first == 1:
        return _bluestein(x, sign)
    second = n // first
    leading = shape_of(x[0])[:-1]
    cut = _each(x, lambda part: fnp.swapaxes(fnp.reshape(part, (*leading, first, second)), -1, -2))  # [j2, j1]
    inner = _transform(cut, sign)  # [j2, k1]
    turned = _times(inner, _powers(second, first, n, sign, dtype_of(x[0])))
    outer = _transform(_each(turned, lambda part: fnp.swapaxes(part, -1, -2)), sign)  # [k1, k2]
    return _each(outer, lambda part: fnp.reshape(fnp.swapaxes(part, -1, -2), (*leading, n)))


def _bluestein(x, sign: int):
    """The transform as a convolution with a chirp: jk = (j^2 + k^2 - (k-j)^2) / 2."""
    n, dtype = shape_of(x[0])[-1], dtype_of(x[0])
    length = 1 << (2 * n - 2).bit_length()
    squares = np.arange(n, dtype=np.int64) ** 2 % (2 * n)
    real, imaginary = _roots(2 * n, sign)
    chirp = real[squares] + 1j * imaginary[squares]
    kernel = np.zeros(length, np.complex128)
    kernel[:n] = chirp.conj()
    kernel[length - n + 1 :] = chirp.conj()[:0:-1]
    spectrum = np.fft.fft(kernel) / length
    parts = lambda z: (z.real.astype(dtype), z.imag.astype(dtype))
    padded = _each(_times(x, parts(chirp)), lambda part: _resized(part, length, -1))
    convolved = _transform(_times(_transform(padded, -1), parts(spectrum)), 1)
    return _times(_each(convolved, lambda part: part[..., :n]), parts(chirp))


# ---- arguments ------------------------------------------------------------------------------------------------------


def _signal(name: str, x):
    """An array as a signal of float32 or float64."""
    check_array(name, x)
    dtype = dtype_of(x)
    if dtypes.kind(dtype) == "complex":
        return fnp.real(x), fnp.imag(x)
    if dtypes.kind(dtype) != "float":
        dtype = dtypes.float32
    if dtype.itemsize < 4:
        dtype = np.dtype(np.float32)
    return convert(x, dtype), None


def _joined(x):
    """A signal as a complex array."""
    real, imaginary = x
    from ftiny.lax import complex as join

    return join(real, fnp.zeros_like(real) if imaginary is None else imaginary)


def _resized(x, n: int, axis: int):
    """The array cut or filled with zeros to n elements along an axis."""
    size = shape_of(x)[axis]
    if size > n:
        return fnp.take(x, np.arange(n), axis=axis) if axis != -1 else x[..., :n]
    if size == n:
        return x
    widths = [(0, 0)] * len(shape_of(x))
    widths[axis] = (0, n - size)
    return fnp.pad(x, widths)


def _scale(name: str, n: int, norm: str | None, sign: int) -> float:
    """What a transform of n points is multiplied by."""
    if norm not in (None, "backward", "ortho", "forward"):
        raise ArgumentError(located(f"{name}: norm must be 'backward', 'ortho' or 'forward', not {norm!r}"))
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "forward") == (sign < 0) else 1.0


def _length(name: str, n: int | None, size: int) -> int:
    n = size if n is None else n
    if n < 1:
        raise ShapeError(located(f"{name}: a transform needs at least 1 point, but n is {n}"))
    return n


def _along(name: str, x, n: int, axis: int, sign: int, norm: str | None):
    """The transform of a signal along one axis, cut or filled to n points, and scaled."""
    axis = canonical_axis(axis, len(shape_of(x[0])), name)
    moved = _each(x, lambda part: _resized(fnp.moveaxis(part, axis, -1), n, -1))
    scale = _scale(name, n, norm, sign)
    found = _transform(moved, sign)
    if scale != 1.0:
        found = _each(found, lambda part: part * scale)
    return _each(found, lambda part: fnp.moveaxis(part, -1, axis))


def _axes_and_sizes(name: str, shape: Sequence[int], s, axes) -> tuple[list[int], list[int]]:
    if axes is None:
        if s is not None and len(s) > len(shape):
            raise ShapeError(located(f"{name}: {len(s)} sizes (s={s}) for an array of shape {tuple(shape)}"))
        axes = range(len(shape)) if s is None else range(len(shape) - len(s), len(shape))
    axes = [canonical_axis(axis, len(shape), name) for axis in axes]
    sizes = [shape[axis] for axis in axes] if s is None else list(s)
    if len(sizes) != len(axes):
        raise ArgumentError(located(f"{name}: {len(sizes)} sizes (s={s}) for {len(axes)} axes ({axes})"))
    return axes, [_length(name, n, 0) for n in sizes]


def _complex(name: str, x, n, axis: int, norm, sign: int):
    signal = _signal(name, x)
    shape = shape_of(signal[0])
    n = _length(name, n, shape[canonical_axis(axis, len(shape), name)])
    return _joined(_along(name, signal, n, axis, sign, norm))


def _complex_many(name: str, x, s, axes, norm, sign: int):
    signal = _signal(name, x)
    for axis, n in zip(*_axes_and_sizes(name, shape_of(signal[0]), s, axes)):
        signal = _along(name, signal, n, axis, sign, norm)
    return _joined(signal)


# ---- complex transforms ---------------------------------------------------------------------------------------------


def fft(a, n: int | None = None, axis: int = -1, norm: str | None = None):
    """The transform of `a` along an axis: X[k] = sum over j of x[j] exp(-2 pi i j k / n).

    `n` cuts the axis or fills it with zeros. `norm`: 'backward' (default) scales the inverse by 1/n, 'forward' this
    one, 'ortho' both by 1/sqrt(n).
    """
    return _complex("fft", a, n, axis, norm, -1)


def ifft(a, n: int | None = None, axis: int = -1, norm: str | None = None):
    """The inverse of `fft`."""
    return _complex("ifft", a, n, axis, norm, 1)


def fftn(a, s=None, axes=None, norm: str | None = None):
    """The transform along several axes (default: all, or the last ones that `s` gives sizes for)."""
    return _complex_many("fftn", a, s, axes, norm, -1)


def ifftn(a, s=None, axes=None, norm: str | None = None):
    """The inverse of `fftn`."""
    return _complex_many("ifftn", a, s, axes, norm, 1)


def fft2(a, s=None, axes=(-2, -1), norm: str | None = None):
    """The transform along two axes."""
    return _complex_many("fft2", a, s, axes, norm, -1)


def ifft2(a, s=None, axes=(-2, -1), norm: str | None = None):
    """The inverse of `fft2`."""
    return _complex_many("ifft2", a, s, axes, norm, 1)


# ---- real transforms ------------------------------------------------------------------------------------------------


def _real_signal(name: str, x):
    signal = _signal(name, x)
    if signal[1] is not None:
        raise ArgumentError(located(f"{name} takes real arrays, not {dtype_of(x)}; use {name.replace('r', '', 1)}"))
    return signal


def _half(name: str, signal, n: int, axis: int, norm):
    """The first n//2 + 1 values of the transform of a real signal; the others are their conjugates."""
    found = _along(name, signal, n, axis, -1, norm)
    kept = np.arange(n // 2 + 1)
    return _each(found, lambda part: fnp.take(part, kept, axis=axis))


def _from_half(name: str, signal, n: int, axis: int, norm):
    """The real signal of n points whose transform begins with these values."""
    axis = canonical_axis(axis, len(shape_of(signal[0])), name)
    count = n // 2 + 1
    moved = _each(signal, lambda part: _resized(fnp.moveaxis(part, axis, -1), count, -1))
    real, imaginary = moved
    if imaginary is None:
        imaginary = fnp.zeros_like(real)
    # The mean, and for an even length the middle value, are real.
    ends = np.zeros(count, bool)
    ends[0] = True
    ends[-1] = ends[-1] or n % 2 == 0
    imaginary = fnp.where(ends, 0, imaginary)
    rest = slice(count - 1 - (n % 2 == 0), 0, -1)
    real = fnp.concatenate([real, real[..., rest]], axis=-1)
    imaginary = fnp.concatenate([imaginary, -imaginary[..., rest]], axis=-1)
    found, _ = _transform((real, imaginary), 1)
    return fnp.moveaxis(found * _scale(name, n, norm, 1), -1, axis)


def rfft(a, n: int | None = None, axis: int = -1, norm: str | None = None):
    """The first n//2 + 1 values of `fft` of a real array; the others are their conjugates."""
    signal = _real_signal("rfft", a)
    shape = shape_of(signal[0])
    n = _length("rfft", n, shape[canonical_axis(axis, len(shape), "rfft")])
    return _joined(_half("rfft", signal, n, axis, norm))


def irfft(a, n: int | None = None, axis: int = -1, norm: str | None = None):
    """The inverse of `rfft`; `n` is the length of the result, by default 2 * (m - 1) for m values."""
    signal = _signal("irfft", a)
    shape = shape_of(signal[0])
    n = _length("irfft", n, 2 * (shape[canonical_axis(axis, len(shape), "irfft")] - 1))
    return _from_half("irfft", signal, n, axis, norm)


def rfftn(a, s=None, axes=None, norm: str | None = None):
    """`rfft` along the last of several axes, then `fft` along the others."""
    return _real_many("rfftn", a, s, axes, norm)


def irfftn(a, s=None, axes=None, norm: str | None = None):
    """The inverse of `rfftn`; the last size defaults to 2 * (m - 1)."""
    return _inverse_real_many("irfftn", a, s, axes, norm)


def rfft2(a, s=None, axes=(-2, -1), norm: str | None = None):
    """`rfftn` along two axes."""
    return _real_many("rfft2", a, s, axes, norm)


def irfft2(a, s=None, axes=(-2, -1), norm: str | None = None):
    """The inverse of `rfft2`."""
    return _inverse_real_many("irfft2", a, s, axes, norm)


def _real_many(name: str, a, s, axes, norm):
    signal = _real_signal(name, a)
    axes, sizes = _axes_and_sizes(name, shape_of(signal[0]), s, axes)
    signal = _half(name, signal, sizes[-1], axes[-1], norm)
    for axis, n in zip(axes[:-1], sizes[:-1]):
        signal = _along(name, signal, n, axis, -1, norm)
    return _joined(signal)


def _inverse_real_many(name: str, a, s, axes, norm):
    signal = _signal(name, a)
    shape = shape_of(signal[0])
    axes, sizes = _axes_and_sizes(name, shape, s, axes)
    if s is None:
        sizes[-1] = _length(name, None, 2 * (shape[axes[-1]] - 1))
    for axis, n in zip(axes[:-1], sizes[:-1]):
        signal = _along(name, signal, n, axis, 1, norm)
    return _from_half(name, signal, sizes[-1], axes[-1], norm)


_OPPOSITE = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def hfft(a, n: int | None = None, axis: int = -1, norm: str | None = None):
    """The real transform, of n points, of a signal that is its own conjugate turned round; `a` is its first half."""
    check_array("hfft", a)
    if norm not in _OPPOSITE:
        _scale("hfft", 1, norm, 1)
    return irfft(fnp.conj(a), n, axis, _OPPOSITE[norm])


def ihfft(a, n: int | None = None, axis: int = -1, norm: str | None = None):
    """The inverse of `hfft`."""
    if norm not in _OPPOSITE:
        _scale("ihfft", 1, norm, 1)
    return fnp.conj(rfft(a, n, axis, _OPPOSITE[norm]))


# ---- frequencies ----------------------------------------------------------------------------------------------------


def fftfreq(n: int, d: float = 1.0, *, dtype=None, device=None):
    """The frequency of each value of `fft`, in cycles per unit of the spacing `d`: 0, 1, .., -2, -1 over n * d."""
    values = np.fft.fftfreq(_length("fftfreq", n, 0))
    return fnp.asarray(values, dtype or dtypes.float32, device=device) / d


def rfftfreq(n: int, d: float = 1.0, *, dtype=None, device=None):
    """The frequency of each value of `rfft`: 0, 1, .., n//2 over n * d."""
    values = np.fft.rfftfreq(_length("rfftfreq", n, 0))
    return fnp.asarray(values, dtype or dtypes.float32, device=device) / d


def _shifted(name: str, x, axes, direction: int):
    check_array(name, x)
    shape = shape_of(x)
    if axes is None:
        axes = range(len(shape))
    axes = [canonical_axis(axis, len(shape), name) for axis in ((axes,) if isinstance(axes, int) else axes)]
    shifts = [shape[axis] // 2 if direction > 0 else -(shape[axis] // 2) for axis in axes]
    return fnp.roll(x, shifts, axes)


def fftshift(x, axes=None):
    """The frequency zero moved to the middle of the axes (default: of all)."""
    return _shifted("fftshift", x, axes, 1)


def ifftshift(x, axes=None):
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", x, axes, -1)
