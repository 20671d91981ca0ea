"""`ftiny.lax`, special functions: incomplete gamma and beta integrals, the Hurwitz zeta function, Bessel functions.

Input: float arrays of one dtype and one shape (Python scalars adopt the dtype). Output: an array of the same:

    >>> igamma(1.0, ftiny.numpy.array([0.0, 1.0]))          # 1 - exp(-x)
    Array([0.       , 0.6321205], dtype=float32)

The series and continued fractions are while loops over whole arrays; 16-bit floats are computed in float32. Each
function has a rule for its derivative, so nothing is differentiated through a loop, except forwards where the
derivative by a parameter has no closed form. DLMF is the NIST Digital Library of Mathematical Functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

from ftiny import core, dtypes, primitives
from ftiny import numpy as fnp
from ftiny.core import ZERO
from ftiny.errors import DtypeError
from ftiny.lax.elementwise import strict
from ftiny.numpy.common import convert, dtype_of, shape_of
from ftiny.source import located
from ftiny.transforms.control import while_loop
from ftiny.transforms.custom import JvpRule, custom_jvp_p
from ftiny.transforms.grad import jvp

_MOST_STEPS = 2000  # of a series or a continued fraction


# ---- operands and rules ----------------------------------------------------------------------------------------


def with_partials(function: Callable, *partials: Callable) -> Callable:
    """`function` of float arrays of one shape, with the derivative `sum of partial_i(*arrays) * tangent_i`.

    Like `custom_jvp`, but a partial derivative is computed only for the arguments that are differentiated.
    """

    name = function.__name__.lstrip("_")

    def bind(*operands):
        if isinstance(core.current_trace(), core.EvalTrace):
            return function(*operands)
        program = core.stage(lambda *xs: [function(*xs)], [core.get_aval(x) for x in operands], name)
        rule = JvpRule(name, differentiate, len(program.consts))
        return custom_jvp_p.bind(*program.consts, *operands, jaxpr=program.close_over(), rule=rule)[0]

    def differentiate(primals, tangents):
        terms = [fnp.multiply(partial(*primals), t) for partial, t in zip(partials, tangents) if t is not ZERO]
        total = terms[0] if terms else ZERO
        for term in terms[1:]:
            total = fnp.add(total, term)
        return [bind(*primals)], [total]

    return bind


def on_floats(name: str, function: Callable, *operands):
    """`function` of the operands as arrays of one shape and one float dtype of at least 32 bits; the result in theirs.

    Raises `DtypeError` for other dtypes and `ShapeError` for different shapes.
    """
    agreed = strict(name, *operands)
    dtype = dtype_of(agreed[0])
    if not dtypes.is_float(dtype):
        raise DtypeError(located(f"{name} takes floats, not {dtype}; convert with .astype"))
    shape = next((shape_of(x) for x in agreed if shape_of(x)), ())
    wide = dtypes.float32 if dtype.itemsize < 4 else dtype
    full = [fnp.broadcast_to(fnp.asarray(convert(x, wide)), shape) for x in agreed]
    return convert(function(*full), dtype)


def _epsilon(x) -> float:
    return float(fnp.finfo(dtype_of(x)).eps)


def iterate(unfinished: Callable, step: Callable, state: tuple):
    """The state after `step` has been applied to it, with a running number, until no element is unfinished."""

    def go_on(numbered):
        number, *state = numbered
        return fnp.logical_and(fnp.less(number, _MOST_STEPS), fnp.any(unfinished(*state)))

    def advance(numbered):
        number, *state = numbered
        return (number + 1, *step(convert(number, dtype_of(state[0])), *state))

    return while_loop(go_on, advance, (fnp.ones((), dtypes.int32), *state))[1:]


def _value_if_finished(unfinished: Callable, state: tuple, position: int):
    """One part of the state, NaN where it has not converged: a wrong value must not pass for a right one."""
    return fnp.where(unfinished(*state), math.nan, state[position])


def continued_fraction(numerator: Callable, denominator: Callable, first):
    """1 / (first + n1 / (d1 + n2 / (d2 + ...))) by Lentz's method in the form of Thompson and Barnett (1986)."""
    epsilon = _epsilon(first)
    tiny = float(fnp.finfo(dtype_of(first)).tiny) * 1e3
    nonzero = lambda v: fnp.where(fnp.less(fnp.abs(v), tiny), tiny, v)

    def step(k, c, d, value, factor):
        n, b = numerator(k), denominator(k)
        d = 1.0 / nonzero(b + n * d)
        c = nonzero(b + n / c)
        # An element that has converged stays: its factors are 1 up to rounding, which would add up while others go on.
        moving = go_on(c, d, value, factor)
        return c, d, fnp.where(moving, value * (c * d), value), fnp.where(moving, c * d, factor)

    start = 1.0 / nonzero(first)
    state = (fnp.full_like(first, 1e30), start, start, fnp.full_like(first, 2.0))
    unfinished = lambda c, d, value, factor: fnp.greater(fnp.abs(factor - 1.0), 4 * epsilon)
    go_on = lambda c, d, value, factor: fnp.greater(fnp.abs(factor - 1.0), epsilon)
    return _value_if_finished(unfinished, iterate(go_on, step, state), 2)


# ---- the incomplete gamma function -----------------------------------------------------------------------------


def stirling(z):
    """log gamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2) for z >= 8: the series DLMF 5.11.1."""
    w = 1.0 / (z * z)
    total = fnp.full_like(z, -691 / 360360)
    for coefficient in (1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        total = total * w + coefficient
    return total / z


def _gamma_density(a, x):
    """x**a exp(-x) / gamma(a + 1), for x > 0."""
    large = fnp.greater(a, 10.0)
    big, small = fnp.where(large, a, 10.0), fnp.where(large, 1.0, a)
    # x**a exp(-x) / (a**a exp(-a)), written so that nothing large cancels.
    offset = (fnp.where(large, x, 10.0) - big) / big
    by_stirling = -0.5 * fnp.log(2 * math.pi * big) - big * (offset - fnp.log1p(offset)) - stirling(big)
    direct = small * fnp.log(x) - x - primitives.math(small + 1.0, fn="lgamma")
    return fnp.exp(fnp.where(large, by_stirling, direct))


def _log_minus_digamma(a, x):
    """log(x) - digamma(a + 1): the derivative of the logarithm of the density by a."""
    large = fnp.greater(a, 10.0)
    big, small = fnp.where(large, a, 10.0), fnp.where(large, 1.0, a)
    w = 1.0 / (big * big)
    # log(a) - digamma(a + 1) by DLMF 5.11.2.
    tail = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w / 132)))) - 0.5 / big
    by_stirling = fnp.log1p((fnp.where(large, x, 10.0) - big) / big) + tail
    return fnp.where(large, by_stirling, fnp.log(x) - primitives.math(small + 1.0, fn="digamma"))


def _gamma_series(a, x):
    """The sum of x**n / ((a+1) ... (a+n)): the lower integral by the density, DLMF 8.7.1; for x <= max(a, 1)."""
    epsilon = 0.1 * _epsilon(x)
    step = lambda n, term, total: (term * (x / (a + n)), total + term * (x / (a + n)))
    one = fnp.ones_like(x)
    unfinished = lambda term, total: fnp.greater(term, epsilon * total)
    return _value_if_finished(unfinished, iterate(unfinished, step, (one, one)), 1)


def _gamma_fraction(a, x):
    """The upper integral by the density: the continued fraction DLMF 8.9.2; for x > max(a, 1)."""
    first = x + 1.0 - a
    return a * continued_fraction(lambda k: k * (a - k), lambda k: first + 2.0 * k, first)


def _gamma_parts(a, x):
    """(whether the upper integral is computed, safe a, safe x): where x or a is no positive number both are 1."""
    fine = fnp.logical_and(fnp.logical_and(fnp.greater(x, 0), fnp.isfinite(x)), fnp.greater(a, 0))
    fine = fnp.logical_and(fine, fnp.isfinite(a))
    a, x = fnp.where(fine, a, 1.0), fnp.where(fine, x, 1.0)
    return fnp.logical_and(fnp.greater_equal(x, 1.0), fnp.greater(x, a)), a, x


def _gamma_quotient(upper, a, x):
    """The integral, upper or lower, divided by the density."""
    series = _gamma_series(fnp.where(upper, 1.0, a), fnp.where(upper, 1.0, x))
    fraction = _gamma_fraction(fnp.where(upper, a, 1.0), fnp.where(upper, x, 2.0))
    return fnp.where(upper, fraction, series)


def _gamma_ends(a, x, inside, at_zero: float, at_infinity: float):
    """`inside`, with the values at the ends of the domain of x, to which those of a belong, and NaN outside."""
    low = fnp.logical_or(fnp.equal(x, 0), fnp.isposinf(a))
    high = fnp.logical_or(fnp.isposinf(x), fnp.logical_and(fnp.equal(a, 0), fnp.greater(x, 0)))
    result = fnp.where(high, at_infinity, fnp.where(low, at_zero, inside))
    wrong = fnp.logical_or(fnp.less(x, 0), fnp.logical_or(fnp.less(a, 0), fnp.logical_and(low, fnp.equal(a, 0))))
    unknown = fnp.logical_or(fnp.isnan(a), fnp.isnan(x))
    return fnp.where(fnp.logical_or(wrong, unknown), math.nan, result)


def _igamma(a, x):
    upper, safe_a, safe_x = _gamma_parts(a, x)
    part = _gamma_density(safe_a, safe_x) * _gamma_quotient(upper, safe_a, safe_x)
    return _gamma_ends(a, x, fnp.where(upper, 1.0 - part, part), 0.0, 1.0)


def _igammac(a, x):
    upper, safe_a, safe_x = _gamma_parts(a, x)
    part = _gamma_density(safe_a, safe_x) * _gamma_quotient(upper, safe_a, safe_x)
    return _gamma_ends(a, x, fnp.where(upper, part, 1.0 - part), 1.0, 0.0)


def _igamma_slope(a, x):
    """The derivative of igamma by x."""
    _, safe_a, safe_x = _gamma_parts(a, x)
    return _gamma_ends(a, x, _gamma_density(safe_a, safe_x) * safe_a / safe_x, 0.0, 0.0)


def _grad_a_by_density(upper, a, x):
    """The derivative of igamma by a, divided by the density."""
    quotient, slope = jvp(lambda a: _gamma_quotient(upper, a, x), (a,), (fnp.ones_like(a),))
    inside = _log_minus_digamma(a, x) * quotient + slope
    return fnp.where(upper, -inside, inside)


def _igamma_grad_a(a, x):
    parts = _gamma_parts(a, x)
    return _gamma_ends(a, x, _grad_a_by_density(*parts) * _gamma_density(*parts[1:]), 0.0, 0.0)


def _random_gamma_grad(a, x):
    upper, safe_a, safe_x = _gamma_parts(a, x)
    return _gamma_ends(a, x, -_grad_a_by_density(upper, safe_a, safe_x) * safe_x / safe_a, 0.0, math.nan)


_igamma_rule = with_partials(_igamma, lambda a, x: igamma_grad_a(a, x), lambda a, x: _igamma_slope(a, x))
_igammac_rule = with_partials(_igammac, lambda a, x: -igamma_grad_a(a, x), lambda a, x: -_igamma_slope(a, x))


def igamma(a, x):
    """Elementwise regularized lower incomplete gamma function P(a, x), the integral of t**(a-1) exp(-t) up to x.

    a > 0, x >= 0; elsewhere NaN, as where a is beyond about 50000 and x is close to it, which takes too many steps.
    Raises `DtypeError` and `ShapeError` as all of `lax` does.
    """
    return on_floats("igamma", _igamma_rule, a, x)


def igammac(a, x):
    """Elementwise regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x), without cancellation."""
    return on_floats("igammac", _igammac_rule, a, x)


def igamma_grad_a(a, x):
    """Elementwise derivative of `igamma(a, x)` by a. It has no further derivative in reverse mode."""
    return on_floats("igamma_grad_a", _igamma_grad_a, a, x)


def random_gamma_grad(a, x):
    """Elementwise derivative by a of a sample x of the gamma distribution: -dP/da divided by the density at x.

    Figurnov, Mohamed and Mnih, *Implicit reparameterization gradients* (2018).
    """
    return on_floats("random_gamma_grad", _random_gamma_grad, a, x)


# ---- the incomplete beta function ------------------------------------------------------------------------------


def log_beta(a, b):
    """log(gamma(a) gamma(b) / gamma(a + b)) of positive numbers, without cancellation when one is large."""
    lgamma = lambda z: primitives.math(z, fn="lgamma")
    small, big = fnp.minimum(a, b), fnp.maximum(a, b)
    large = fnp.greater(big, 8.0)
    z = fnp.where(large, big, 8.0)
    total = z + small
    # log gamma(z) - log gamma(z + small), each by Stirling's formula.
    difference = small * (1.0 - fnp.log(total)) + (0.5 - z) * fnp.log1p(small / z) + stirling(z) - stirling(total)
    other = fnp.where(large, 1.0, big)
    return lgamma(small) + fnp.where(large, difference, lgamma(other) - lgamma(fnp.where(large, 2.0, small + other)))


def _beta_fraction(a, b, x):
    """The integral up to x divided by x**a (1-x)**b / (a B(a, b)): the continued fraction DLMF 8.17.22."""

    def numerator(k):
        m = fnp.floor(0.5 * k)
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        return fnp.where(fnp.equal(2.0 * m, k), even, odd)

    return continued_fraction(numerator, lambda k: fnp.ones_like(x), fnp.ones_like(x))


def _betainc_inside(a, b, x):
    """The incomplete beta function for 0 < x < 1 and positive parameters."""
    swap = fnp.greater(x, (a + 1.0) / (a + b + 2.0))
    first, second = fnp.where(swap, b, a), fnp.where(swap, a, b)
    y = fnp.where(swap, 1.0 - x, x)
    log_x, log_rest = fnp.log(x), fnp.log1p(-x)
    part = fnp.exp(a * log_x + b * log_rest - log_beta(a, b)) / first * _beta_fraction(first, second, y)
    return fnp.where(swap, 1.0 - part, part)


def _beta_parts(a, b, x):
    """(whether the arguments are inside the domain, safe arguments)."""
    fine = fnp.logical_and(fnp.logical_and(fnp.greater(a, 0), fnp.greater(b, 0)), fnp.isfinite(a + b))
    fine = fnp.logical_and(fine, fnp.logical_and(fnp.greater(x, 0), fnp.less(x, 1)))
    return fine, *(fnp.where(fine, v, safe) for v, safe in ((a, 1.0), (b, 1.0), (x, 0.5)))


def _beta_ends(a, b, x):
    """The values at the ends of the domain: all mass at 0 or at 1 for parameters that are 0 or infinite, else NaN."""
    inside = fnp.logical_and(fnp.greater_equal(a, 0), fnp.greater_equal(b, 0))
    inside = fnp.logical_and(inside, fnp.logical_and(fnp.greater_equal(x, 0), fnp.less_equal(x, 1)))
    at_zero = fnp.logical_or(fnp.equal(a, 0), fnp.isposinf(b))
    at_one = fnp.logical_or(fnp.equal(b, 0), fnp.isposinf(a))
    inside = fnp.logical_and(inside, fnp.logical_not(fnp.logical_and(at_zero, at_one)))
    below = fnp.logical_or(fnp.equal(x, 0), fnp.logical_and(at_one, fnp.less(x, 1)))
    return fnp.where(inside, fnp.where(below, 0.0, fnp.full_like(x, 1.0)), math.nan)


def _betainc(a, b, x):
    fine, *safe = _beta_parts(a, b, x)
    return fnp.where(fine, _betainc_inside(*safe), _beta_ends(a, b, x))


def _betainc_slope(a, b, x):
    """The derivative by x: the density of the beta distribution."""
    log_x, log_rest = fnp.log(x), fnp.log1p(-x)
    return fnp.exp((a - 1.0) * log_x + (b - 1.0) * log_rest - log_beta(a, b))


def _betainc_parameter_slope(number: int) -> Callable:
    """The derivative by parameter a (0) or b (1), forwards through the continued fraction."""

    def slope(a, b, x):
        fine, *safe = _beta_parts(a, b, x)
        tangents = [fnp.full_like(x, float(i == number)) for i in range(3)]
        return fnp.where(fine, jvp(_betainc_inside, tuple(safe), tuple(tangents))[1], 0.0)

    return slope


_betainc_rule = with_partials(
    _betainc, _betainc_parameter_slope(0), _betainc_parameter_slope(1), lambda a, b, x: _betainc_slope(a, b, x)
)


def betainc(a, b, x):
    """Elementwise regularized incomplete beta function: the distribution function at x of the beta distribution.

    a > 0, b > 0, 0 <= x <= 1; elsewhere NaN. Unlike in JAX it can be differentiated by a and b as well.
    """
    return on_floats("betainc", _betainc_rule, a, b, x)


# ---- zeta and polygamma ----------------------------------------------------------------------------------------


@cache
def bernoulli_numbers(count: int) -> tuple[Fraction, ...]:
    """The Bernoulli numbers B_0, B_1 = -1/2, ..., exactly, by their recurrence (DLMF 24.5.3)."""
    numbers: list[Fraction] = []
    for n in range(count):
        total = sum((math.comb(n + 1, k) * b for k, b in enumerate(numbers)), Fraction(0))
        numbers.append(Fraction(1) if n == 0 else -total / (n + 1))
    return tuple(numbers)


def _zeta(x, q):
    """The sum of (q + n)**-x by Euler and Maclaurin: some terms, an integral, corrections (DLMF 25.11.28)."""
    terms, corrections = (10, 10) if dtype_of(x) == dtypes.float64 else (6, 6)
    total = sum((fnp.power(q + float(n), -x) for n in range(1, terms)), fnp.power(q, -x))
    end = q + float(terms)
    last = fnp.power(end, -x)
    total = total + last * (end / (x - 1.0) + 0.5)
    numbers = bernoulli_numbers(2 * corrections + 1)
    factor, w = x / end, 1.0 / (end * end)  # x (x+1) ... (x+2k-2) / end**(2k-1)
    for k in range(1, corrections + 1):
        total = total + last * factor * (float(numbers[2 * k]) / math.factorial(2 * k))
        factor = factor * (x + (2 * k - 1.0)) * (x + 2.0 * k) * w
    pole = fnp.logical_and(fnp.less_equal(q, 0), fnp.equal(q, fnp.floor(q)))
    undefined = fnp.logical_and(fnp.less_equal(q, 0), fnp.not_equal(x, fnp.floor(x)))
    total = fnp.where(fnp.less(x, 1), math.nan, total)
    # At a pole only even powers have one sign on both sides.
    at_pole = fnp.where(fnp.equal(fnp.remainder(x, 2.0), 0), fnp.full_like(x, math.inf), math.nan)
    result = fnp.where(pole, at_pole, fnp.where(undefined, math.nan, total))
    return fnp.where(fnp.equal(x, 1), math.inf, result)


_zeta_rule: Callable = with_partials(
    _zeta,
    lambda x, q: jvp(lambda x: _zeta(x, q), (x,), (fnp.ones_like(x),))[1],
    lambda x, q: -x * _zeta_rule(x + 1.0, q),
)


def zeta(x, q):
    """Elementwise Hurwitz zeta function, the sum over n = 0, 1, ... of (q + n)**-x, for x > 1.

    Infinite at x = 1 and where q is 0, -1, ...; NaN for x < 1.
    """
    return on_floats("zeta", _zeta_rule, x, q)


def _polygamma(m, x):
    sign = 1.0 - 2.0 * fnp.remainder(m + 1.0, 2.0)
    higher = sign * fnp.exp(primitives.math(m + 1.0, fn="lgamma")) * _zeta(m + 1.0, x)
    whole = fnp.logical_and(fnp.greater_equal(m, 0), fnp.equal(m, fnp.floor(m)))
    return fnp.where(
        fnp.equal(m, 0), primitives.math(x, fn="digamma"), fnp.where(whole, higher, fnp.full_like(x, math.nan))
    )


_polygamma_rule: Callable = with_partials(
    _polygamma, lambda m, x: fnp.full_like(x, math.nan), lambda m, x: _polygamma_rule(m + 1.0, x)
)


def polygamma(m, x):
    """Elementwise derivative number m (a whole number, as a float) of `digamma`, DLMF 25.11.12; NaN for other m."""
    return on_floats("polygamma", _polygamma_rule, m, x)


# ---- Bessel functions ------------------------------------------------------------------------------------------

# Chebyshev coefficients, by interpolation of the series DLMF 10.25.2 and 10.40.1 summed in extended precision. For
# 0 <= x <= 8, in x/4 - 1: exp(-x) I0(x) and exp(-x) I1(x) / x. For x >= 8, in 16/x - 1: exp(-x) sqrt(x) times I0, I1.
_I0E = (
    (
        0.33839763720473803,
        -0.3046826723431984,
        0.17162090152220877,
        -0.09490109704804764,
        0.04930528423967071,
        -0.02373741480589947,
        0.010546460394594998,
        -0.004324309995050576,
        0.0016394756169413357,
        -0.0005763755745385824,
        0.00018850288509584168,
        -5.7541950100821046e-05,
        1.6448448070728906e-05,
        -4.416738358458746e-06,
        1.1173875391200882e-06,
        -2.6707938539405145e-07,
        6.046995022542403e-08,
        -1.300025009986914e-08,
        2.6598237246768937e-09,
        -5.189795601685587e-10,
        9.675809033116445e-11,
        -1.726826289195127e-11,
        2.9550526636710187e-12,
        -4.856446847102191e-13,
        7.676184740412663e-14,
        -1.1685319705470744e-14,
        1.71537703091433e-15,
        -2.4312208053015783e-16,
    ),
    (
        0.4022452055070544,
        0.003369116478255691,
        6.889758346917068e-05,
        2.8913705208333353e-06,
        2.048918589472748e-07,
        2.2666689905365615e-08,
        3.3962320249915162e-09,
        4.940602395395207e-10,
        1.1889146740659805e-11,
        -3.149916533400232e-11,
        -1.3215811450342976e-11,
        -1.7941790281748712e-12,
        7.180128105247811e-13,
        3.8527778584638743e-13,
        1.5400607177853002e-14,
        -4.1505341451439434e-14,
        -9.555139320997769e-15,
        3.811807677112963e-15,
        1.7726690468494154e-15,
        -3.4281908272863904e-16,
        -2.8250585920116497e-16,
    ),
)
_I1E = (
    (
        0.12629359322181682,
        -0.17641651835783406,
        0.1026436586898471,
        -0.05294598120809499,
        0.024726449030626516,
        -0.010564084894626197,
        0.004156422944312888,
        -0.0015135724506312532,
        0.0005122859561685758,
        -0.00016176081582589674,
        4.781565107550055e-05,
        -1.3273163656039443e-05,
        3.470251308137683e-06,
        -8.568720264695493e-07,
        2.0032947535521753e-07,
        -4.4450591287966146e-08,
        9.381537386496237e-09,
        -1.8872497517244565e-09,
        3.625590281589216e-10,
        -6.663489723716064e-11,
        1.1736186298775849e-11,
        -1.9839743992916977e-12,
        3.2237933447508447e-13,
        -5.042185727564676e-14,
        7.600688811942784e-15,
        -1.10559789518836e-15,
        1.5536560834894893e-16,
    ),
    (
        0.38928811750914005,
        -0.009761097491361472,
        -0.00011058893876262127,
        -3.882564808879111e-06,
        -2.512236237866485e-07,
        -2.6314688468498288e-08,
        -3.835380386713786e-09,
        -5.58974345494402e-10,
        -1.8974958508752763e-11,
        3.252603577345006e-11,
        1.4125807847408034e-11,
        2.035628014824156e-12,
        -7.198548386800264e-13,
        -4.0835514069543446e-13,
        -2.1015644597094193e-14,
        4.272473642482955e-14,
        1.0419983076468874e-14,
        -3.8142543473996e-15,
        -1.8802766143183327e-15,
        3.3058982144272966e-16,
        2.965130715722846e-16,
    ),
)


def _bessel(tables, x):
    """(whether x is at most 8, the series there or beyond) of |x|."""
    size = fnp.abs(x)
    small = fnp.less_equal(size, 8.0)
    t = fnp.where(small, 0.25 * size - 1.0, 16.0 / fnp.where(small, 8.0, size) - 1.0)
    smallest = 0.1 * _epsilon(x)
    counts = [max(k for k, c in enumerate(table) if abs(c) > smallest) + 1 for table in tables]
    after = before = fnp.zeros_like(x)
    for k in reversed(range(max(counts))):  # Clenshaw's recurrence
        pair = [table[k] if k < count else 0.0 for table, count in zip(tables, counts)]
        after, before = 2.0 * t * after - before + fnp.where(small, *map(dtype_of(x).type, pair)), after
    return small, after - t * before, size


def _i0e(x):
    small, series, size = _bessel(_I0E, x)
    return series * fnp.where(small, 1.0, primitives.math(fnp.where(small, 1.0, size), fn="rsqrt"))


def _i1e(x):
    small, series, size = _bessel(_I1E, x)
    factor = fnp.where(small, size, primitives.math(fnp.where(small, 1.0, size), fn="rsqrt"))
    return fnp.sign(x) * series * factor


def _i1e_slope(x):
    """i0e - (sign(x) + 1/x) i1e, which is 1/2 at zero (DLMF 10.29.2)."""
    zero = fnp.equal(x, 0)
    safe = fnp.where(zero, 1.0, x)
    value = _i0e_rule(safe) - (fnp.sign(safe) + 1.0 / safe) * _i1e_rule(safe)
    return fnp.where(zero, 0.5, value)


_i0e_rule: Callable = with_partials(_i0e, lambda x: _i1e_rule(x) - fnp.sign(x) * _i0e_rule(x))
_i1e_rule: Callable = with_partials(_i1e, _i1e_slope)


def bessel_i0e(x):
    """Elementwise exp(-|x|) I0(x), the modified Bessel function of order 0, scaled."""
    return on_floats("bessel_i0e", _i0e_rule, x)


def bessel_i1e(x):
    """Elementwise exp(-|x|) I1(x), the modified Bessel function of order 1, scaled."""
    return on_floats("bessel_i1e", _i1e_rule, x)


def exp_of_abs(x):
    """e^|x|, what takes the scale off `bessel_i0e` and `bessel_i1e`, with derivative 0 at 0: there the slopes of both
    sides of |x| must cancel those of e^-|x|."""
    return fnp.exp(fnp.multiply(x, fnp.sign(x)))
