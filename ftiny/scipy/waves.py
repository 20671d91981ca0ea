"""Sine and cosine integrals, Bessel functions, spherical harmonics: `sici`, `bessel_jn`, `sph_harm_y` of
`ftiny.scipy.special`.

Input: arrays; integers become float32. Output: arrays:

    >>> bessel_jn(ftiny.numpy.array([1.0]), v=1)             # J_0 and J_1
    Array([[0.7651977],
           [0.4400506]], dtype=float32)

DLMF is https://dlmf.nist.gov.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError, TracerError
from ftiny.lax.special import on_floats, with_partials
from ftiny.numpy.common import check_array, convert, dtype_of, is_concrete, promote, shape_of
from ftiny.source import located
from ftiny.transforms.control import fori_loop
from ftiny.transforms.scan import scan

# ---- sine and cosine integrals --------------------------------------------------------------------------------------

_NEAR = 4.0  # up to here the power series is used


def _auxiliary(x):
    """f(x) and g(x) of DLMF 6.7.13 and 6.7.14 for x > 4, by Gauss and Laguerre's quadrature of these integrals."""
    nodes, weights = np.polynomial.laguerre.laggauss(40)
    kind = dtype_of(x).type
    terms = weights.astype(kind) / (fnp.expand_dims(x * x, -1) + (nodes * nodes).astype(kind))
    return x * fnp.sum(terms, axis=-1), fnp.sum(terms * nodes.astype(kind), axis=-1)


def _series(x, first: int):
    """The sum of (-1)**j x**k / (k k!) over k = first, first + 2, ..., for |x| <= 4: DLMF 6.6.5 and 6.6.6."""
    total = fnp.zeros_like(x)
    for j in range(16, -1, -1):
        k = first + 2 * j
        total = total * (-x * x) + 1.0 / (k * math.factorial(k))
    return total * (x * x if first == 2 else x)


def _si(x):
    size = fnp.abs(x)
    small = fnp.less_equal(size, _NEAR)
    far = fnp.where(fnp.logical_or(small, fnp.isinf(x)), 2 * _NEAR, size)
    f, g = _auxiliary(far)
    beyond = fnp.where(fnp.isinf(x), 0.5 * math.pi, 0.5 * math.pi - f * fnp.cos(far) - g * fnp.sin(far))
    return fnp.where(small, _series(fnp.where(small, x, 0.0), 1), fnp.sign(x) * beyond)


def _ci(x):
    small = fnp.less_equal(x, _NEAR)
    infinite = fnp.isinf(x)
    far = fnp.where(fnp.logical_or(small, infinite), 2 * _NEAR, x)
    f, g = _auxiliary(far)
    beyond = fnp.where(infinite, 0.0, f * fnp.sin(far) - g * fnp.cos(far))
    near = fnp.where(small, x, 1.0)
    inside = np.euler_gamma + fnp.log(near) - _series(near, 2)
    return fnp.where(small, inside, beyond)


_si_rule = with_partials(_si, lambda x: fnp.sinc(x * (1 / math.pi)))
_ci_rule = with_partials(_ci, lambda x: fnp.cos(x) / x)


def sici(x):
    """Elementwise `(Si, Ci)`: the integral of sin(t) / t from 0 to x, and of -cos(t) / t from x on (NaN for x < 0)."""
    operands = promote("sici", x, inexact=True)
    return on_floats("sici", _si_rule, *operands), on_floats("sici", _ci_rule, *operands)


# ---- Bessel functions -----------------------------------------------------------------------------------------------

_SHIFT = 60  # the recurrence is scaled by 2**-60 before it overflows


def _miller(z, orders: int, steps: int):
    """J_0 to J_(orders - 1) at z by Miller's backward recurrence from J_steps (DLMF 3.6), along a new first axis."""
    zero = fnp.equal(z, 0)
    inverse = 2.0 / fnp.where(zero, 1.0, z)

    def step(state, k):
        after, here, total, shifts = state
        value = (k + 1.0) * inverse * here - after
        large = fnp.greater(fnp.abs(value), 2.0**_SHIFT)
        fit = lambda x: fnp.where(large, x * 2.0**-_SHIFT, x)
        shifts = shifts + convert(large, dtype_of(z))
        value, here = fit(value), fit(here)
        even = fnp.equal(fnp.remainder(k, 2.0), 0)
        total = fit(total) + fnp.where(even, fnp.where(fnp.equal(k, 0), 1.0, 2.0) * value, 0.0)
        return (here, value, total, shifts), (value, shifts)

    nothing = fnp.zeros_like(z)
    start = (nothing, fnp.full_like(z, 2.0**-_SHIFT), nothing, nothing)
    numbers = np.arange(steps + 1).astype(dtype_of(z))
    (_, _, total, last), (values, shifts) = scan(step, start, numbers, reverse=True)
    # 1 = J_0 + 2 J_2 + 2 J_4 + ... gives the factor, DLMF 10.12.4.
    found = values[:orders] / total * fnp.exp2(_SHIFT * (shifts[:orders] - last))
    at_zero = np.eye(orders, 1)[:, 0].reshape(orders, *[1] * len(shape_of(z))).astype(dtype_of(z))
    return fnp.where(zero, at_zero, found)


def bessel_jn(z, *, v: int, n_iter: int = 50):
    """The Bessel functions J_0(z) to J_v(z) of the first kind, for real z: an array of shape (v + 1, *z.shape).

    n_iter: the order from which they are computed downwards; it has to be larger than |z| and v, by 20 for all digits.

    Raises `ArgumentError` where v is negative or not less than `n_iter`, `DtypeError` for complex z.
    """
    check_array("bessel_jn", z)
    orders, steps = operator.index(v) + 1, operator.index(n_iter)
    if not 0 < orders <= steps:
        raise ArgumentError(located(f"bessel_jn: v must be between 0 and n_iter - 1 = {steps - 1}, not {v}"))
    dtype = dtype_of(z)
    if dtypes.kind(dtype) == "complex":
        raise DtypeError(located(f"bessel_jn takes real numbers, not {dtype}"))

    def slope(z):
        # DLMF 10.6.1: J_k' = (J_(k-1) - J_(k+1)) / 2, and J_(-1) = -J_1.
        j = _miller(z, orders + 1, steps)
        return 0.5 * (fnp.concatenate([-j[1:2], j[: orders - 1]]) - j[1:])

    rule = with_partials(lambda z: _miller(z, orders, steps), slope)
    wide = dtypes.float64 if dtype == dtypes.float64 else dtypes.float32
    result = rule(fnp.asarray(convert(z, wide)))
    return convert(result, dtype if dtypes.is_inexact(dtype) else dtypes.float32)


# ---- spherical harmonics --------------------------------------------------------------------------------------------


def _legendre(n, m, theta, n_max: int):
    """The normalised associated Legendre functions of cos(theta), of degree n and order m >= 0, with Condon's sign.

    By the recurrence over degrees from the sectoral one on (DLMF 14.10.3, normalised; Holmes and Featherstone, A
    unified approach to the Clenshaw summation, 2002, eq. 11).
    """
    x, sine = fnp.cos(theta), fnp.sin(theta)
    order = convert(m, dtype_of(theta))

    def step(degree, state):
        sector, before, here, result = state
        l = convert(degree, dtype_of(theta))  # noqa: E741
        safe = fnp.maximum(l, 1.0)
        grown = sector * fnp.where(fnp.equal(degree, 0), 1.0, -fnp.sqrt(1.0 + 0.5 / safe) * sine)
        sector = fnp.where(fnp.less_equal(degree, m), grown, sector)
        above = fnp.greater(degree, m)
        width = fnp.where(above, l * l - order * order, 1.0)
        last = safe - 1.0
        inner = fnp.where(above, (last * last - order * order) / (4.0 * last * last - 1.0), 1.0)
        # The inner root is 0 at the first degree above the order, where there is none before.
        first = fnp.equal(degree, m + 1)
        factor = fnp.where(first, 0.0, fnp.sqrt(fnp.where(first, 1.0, inner)))
        next_one = fnp.sqrt((4.0 * safe * safe - 1.0) / width) * (x * here - factor * before)
        value = fnp.where(above, next_one, fnp.where(fnp.equal(degree, m), sector, 0.0))
        return sector, here, value, fnp.where(fnp.equal(degree, n), value, result)

    zero = fnp.zeros_like(x)
    start = (fnp.full_like(x, math.sqrt(0.25 / math.pi)), zero, zero, zero)
    return fori_loop(0, n_max + 1, step, start)[3]


def sph_harm_y(n, m, theta, phi, diff_n: int | None = None, n_max: int | None = None):
    """The spherical harmonics of degree n >= 0 and order m, |m| <= n, at the angles theta (from the pole) and phi.

    Args:
        n, m: integer arrays, which broadcast against the angles.
        theta, phi: 0 to pi, and 0 to 2 pi.
        diff_n: must be None: for derivatives use `grad` or `jvp`.
        n_max: the largest n, to which others are cut; needed where n is traced.

    Returns complex numbers, an array with at least one axis. Raises `TracerError` where n is traced and `n_max` is not
    given.
    """
    check_array("sph_harm_y", n, m, theta, phi)
    if diff_n is not None:
        raise ArgumentError(located("sph_harm_y: diff_n must be None; take derivatives with ftiny.grad or ftiny.jvp"))
    if n_max is None:
        if not is_concrete(n):
            raise TracerError(located("sph_harm_y: n is traced, so the largest degree is unknown; give n_max="))
        n_max = int(np.max(np.asarray(n)))
    dtype = dtypes.result_type(theta, phi, 0.0)
    wide = dtypes.float64 if dtype == dtypes.float64 else dtypes.float32
    n, m, theta, phi = fnp.broadcast_arrays(
        fnp.asarray(n), fnp.asarray(m), fnp.atleast_1d(convert(theta, wide)), fnp.asarray(convert(phi, wide)))
    order = fnp.abs(m)
    size = _legendre(fnp.minimum(n, n_max), order, theta, n_max)
    angle = convert(order, wide) * phi
    odd_negative = fnp.logical_and(fnp.less(m, 0), fnp.equal(fnp.remainder(order, 2), 1))
    real = fnp.where(odd_negative, -size, size) * fnp.cos(angle)
    imaginary = fnp.where(fnp.logical_and(fnp.less(m, 0), fnp.logical_not(odd_negative)), -size, size) * fnp.sin(angle)
    return primitives.math(real, imaginary, fn="complex")
