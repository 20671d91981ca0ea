"""Rows of the operation table: ftiny.numpy.fft."""

from __future__ import annotations

from op_table import row

SIGNALS = "c64[3,8]; f32[5]; c64[2,1]; f32[2,67]"


def _parts(m, z):
    """The parts of a complex result, which have derivatives that the table can check."""
    return [m.numpy.real(z), m.numpy.imag(z)]


for name in ("fft", "ifft"):
    samples = SIGNALS + "; i32[6]; f64[9]; bf16[4]"
    row(f"fft.{name}", samples, lambda m, x, f=name: getattr(m.numpy.fft, f)(x), grad=False)
    row(
        f"fft.{name}:options",
        "c64[3,8]",
        lambda m, x, f=name: [
            getattr(m.numpy.fft, f)(x, n, axis, norm)
            for n, axis, norm in ((5, -1, "ortho"), (11, 1, "forward"), (None, 0, "backward"), (4, 0, None))
        ],
        grad=False,
    )
row("fft.fft:parts", "f32[2,12]; f32[131]", lambda m, x: _parts(m, m.numpy.fft.fft(x)), tolerance=3e-5)
row("fft.fft:long", "c64[1000]; c64[263]", lambda m, x: m.numpy.fft.fft(x), grad=False, tolerance=3e-5)
for name in ("fft2", "ifft2", "fftn", "ifftn"):
    row(
        f"fft.{name}",
        "c64[2,3,4]; f32[4,5]",
        lambda m, x, f=name: [getattr(m.numpy.fft, f)(x), getattr(m.numpy.fft, f)(x, (3, 6), (1, 0), "ortho")],
        grad=False,
    )
row("fft.rfft", "f32[3,8]; f32[5]; f64[1]; i32[7]", lambda m, x: m.numpy.fft.rfft(x), grad=False)
row("fft.rfft:parts", "f32[3,9]", lambda m, x: _parts(m, m.numpy.fft.rfft(x, 7, 1, "ortho")))
row("fft.irfft", "c64[3,5]; f32[4]", lambda m, x: [m.numpy.fft.irfft(x), m.numpy.fft.irfft(x, 7, -1, "forward")])
row("fft.rfft2", "f32[3,4,6]", lambda m, x: m.numpy.fft.rfft2(x), grad=False)
row(
    "fft.rfftn",
    "f32[3,4,6]",
    lambda m, x: [m.numpy.fft.rfftn(x), m.numpy.fft.rfftn(x, (5, 3), (1, 2), "ortho")],
    grad=False,
)
row("fft.irfft2", "c64[3,4,4]", lambda m, x: m.numpy.fft.irfft2(x), grad=False)
row("fft.irfftn", "c64[3,4,4]", lambda m, x: [m.numpy.fft.irfftn(x), m.numpy.fft.irfftn(x, (5, 7), (0, 2))], grad=False)
row("fft.hfft", "c64[3,5]", lambda m, x: [m.numpy.fft.hfft(x), m.numpy.fft.hfft(x, 7, norm="ortho")], grad=False)
row("fft.ihfft", "f32[3,8]", lambda m, x: [m.numpy.fft.ihfft(x), m.numpy.fft.ihfft(x, 5, 0, "forward")], grad=False)
row("fft.fftfreq", "f32[]", lambda m, x: [m.numpy.fft.fftfreq(8), x + m.numpy.fft.fftfreq(5, 0.1)])
row("fft.rfftfreq", "f32[]", lambda m, x: [m.numpy.fft.rfftfreq(8), x + m.numpy.fft.rfftfreq(5, 0.1)])
for name in ("fftshift", "ifftshift"):
    row(
        f"fft.{name}",
        "f32[3,4]; i32[5]",
        lambda m, x, f=name: [getattr(m.numpy.fft, f)(x, axes) for axes in (None, 0, (-1,))],
    )
