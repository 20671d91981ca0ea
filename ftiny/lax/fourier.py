"""The discrete Fourier transform of `ftiny.lax`: one function for all its kinds, strict about lengths.

Input: an array whose last axes are transformed, the kind, and the lengths of these axes. Output: an array:

    >>> fft(ftiny.numpy.array([2.0, 0.0, 0.0, 0.0]), "rfft", (4,))
    Array([2.+0.j, 2.+0.j, 2.+0.j], dtype=complex64)

`ftiny.numpy.fft` says more about each kind.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Sequence

from ftiny import dtypes
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.numpy import fft as transforms
from ftiny.numpy.common import check_array, convert, dtype_of, shape_of
from ftiny.numpy.creation import asarray
from ftiny.source import located


class FftType(enum.IntEnum):
    """The kinds of the transform."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


def _kind(fft_type: FftType | str) -> FftType:
    if isinstance(fft_type, FftType):
        return fft_type
    if isinstance(fft_type, str) and fft_type in {name for kind in FftType for name in (kind.name, kind.name.lower())}:
        return FftType[fft_type.upper()]
    raise ArgumentError(located(f"lax.fft: the type must be 'FFT', 'IFFT', 'RFFT' or 'IRFFT', not {fft_type!r}"))


def fft(x, fft_type: FftType | str, fft_lengths: Sequence[int]):
    """The transform of the last `len(fft_lengths)` axes of x[..., n1, ..., nk].

    Args:
        fft_type: FFT and IFFT take complex numbers to as many; RFFT real ones to the first nk // 2 + 1 of the last
            axis, and IRFFT those back to real ones. Reals become complex where complex numbers are taken.
        fft_lengths: (n1, ..., nk), the lengths of the axes; of IRFFT those of the result.

    Raises `ShapeError` where an axis has another length, `DtypeError` for complex numbers in RFFT.
    """
    check_array("lax.fft", x)
    kind, lengths = _kind(fft_type), tuple(map(operator.index, fft_lengths))
    shape, dtype = shape_of(x), dtype_of(x)
    wanted = (*lengths[:-1], lengths[-1] // 2 + 1) if kind is FftType.IRFFT and lengths else lengths
    if len(lengths) > len(shape) or shape[len(shape) - len(lengths):] != wanted:
        raise ShapeError(located(
            f"lax.fft: {kind.name} with fft_lengths {lengths} takes arrays whose last axes have the sizes {wanted}, "
            f"but the shape is {shape}; ftiny.numpy.fft pads and cuts by itself"))
    complex_dtype = dtypes.complex_dtype(dtype if dtypes.is_inexact(dtype) else dtypes.float32)
    if kind is FftType.RFFT:
        if dtypes.kind(dtype) == "complex":
            raise DtypeError(located(f"lax.fft: RFFT takes real numbers, not {dtype}; take FFT, or the real part"))
        x = asarray(convert(x, dtypes.real_dtype(complex_dtype)))
    else:
        x = asarray(convert(x, complex_dtype))
    if not lengths:
        return x
    axes = tuple(range(-len(lengths), 0))
    function = (transforms.fftn, transforms.ifftn, transforms.rfftn, transforms.irfftn)[kind]
    return function(x, s=lengths, axes=axes)
