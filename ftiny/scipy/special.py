"""`ftiny.scipy.special`: special functions, with the names and signatures of `jax.scipy.special`.

Input: arrays that broadcast against each other; integers become float32. Output: an array of the broadcast shape:

    >>> gammainc(1.0, ftiny.numpy.array([0.0, 1.0]))          # 1 - exp(-x)
    Array([0.       , 0.6321205], dtype=float32)

Most have their derivative by a rule, so nothing is differentiated through a series. DLMF is the NIST Digital Library of
Mathematical Functions, https://dlmf.nist.gov. Others are in `error_integrals`, `exponential_integrals`,
`hypergeometric` and `waves`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ftiny import dtypes, primitives
from ftiny import numpy as fnp
from ftiny import special as reference
from ftiny.errors import ArgumentError, DtypeError
from ftiny.lax import special as lax_special
from ftiny.lax.special import bernoulli_numbers, log_beta, on_floats, with_partials
from ftiny.nn import log_softmax as _log_softmax
from ftiny.nn import softmax as _softmax
from ftiny.numpy.common import dtype_of, promote, shape_of
from ftiny.numpy.reductions import canonical_axes
from ftiny.scipy.error_integrals import dawsn, fresnel, owens_t, wofz
from ftiny.scipy.exponential_integrals import exp1, expi, expn, spence
from ftiny.scipy.hypergeometric import hyp1f1, hyp2f1
from ftiny.scipy.waves import bessel_jn, sici, sph_harm_y
from ftiny.source import located
from ftiny.transforms.custom import stop_gradient

__all__ = [
    "bernoulli",
    "bessel_jn",
    "beta",
    "betainc",
    "betaln",
    "boxcox",
    "boxcox1p",
    "comb",
    "dawsn",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp1",
    "expi",
    "expit",
    "expn",
    "factorial",
    "fresnel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "hyp1f1",
    "hyp2f1",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "owens_t",
    "poch",
    "polygamma",
    "rel_entr",
    "sici",
    "softmax",
    "spence",
    "sph_harm_y",
    "wofz",
    "xlog1py",
    "xlogy",
    "zeta",
]


def elementwise(name: str, function: Callable, *operands):
    """`function` of the operands, promoted to one float dtype (integers to float32) and one shape."""
    return on_floats(name, function, *promote(name, *operands, inexact=True))


def _math(fn: str, x):
    return primitives.math(x, fn=fn)


def _unary(name: str, fn: str, does: str) -> Callable:
    def function(x):
        return elementwise(name, lambda x: _math(fn, x), x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {does}."
    return function


erf = _unary("erf", "erf", "error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x")
erfc = _unary("erfc", "erfc", "1 - erf(x), without cancellation for large x")
erfinv = _unary("erfinv", "erfinv", "inverse of `erf`, on [-1, 1]")
digamma = _unary("digamma", "digamma", "derivative of `gammaln`")
expit = _unary("expit", "logistic", "1 / (1 + exp(-x)), the logistic function")
gammaln = _unary("gammaln", "lgamma", "logarithm of |gamma(x)|")
loggamma = _unary("loggamma", "lgamma", "logarithm of |gamma(x)|")


# ---- logarithms and entropies ----------------------------------------------------------------------------------


def _is_zero_beside(x, y):
    return fnp.logical_and(fnp.equal(x, 0), fnp.logical_not(fnp.isnan(y)))


def _xlogy(x, y):
    zero = _is_zero_beside(x, y)
    return fnp.where(zero, 0.0, x * fnp.log(fnp.where(zero, 1.0, y)))


def _xlog1py(x, y):
    zero = _is_zero_beside(x, y)
    return fnp.where(zero, 0.0, x * fnp.log1p(fnp.where(zero, 1.0, y)))


_xlogy_rule = with_partials(_xlogy, lambda x, y: fnp.log(y), lambda x, y: x / y)
_xlog1py_rule = with_partials(_xlog1py, lambda x, y: fnp.log1p(y), lambda x, y: x / (1.0 + y))


def xlogy(x, y):
    """Elementwise x * log(y), which is 0 where x is 0."""
    return elementwise("xlogy", _xlogy_rule, x, y)


def xlog1py(x, y):
    """Elementwise x * log(1 + y), which is 0 where x is 0."""
    return elementwise("xlog1py", _xlog1py_rule, x, y)


def entr(x):
    """Elementwise -x * log(x), the entropy function: 0 at 0, minus infinity for negative x."""
    return elementwise("entr", _entr, x)


def _entr(x):
    negative = fnp.less(x, 0)
    return fnp.where(negative, -math.inf, -_xlogy_rule(*[fnp.where(negative, 1.0, x)] * 2))


def _rel_entr(p, q):
    both = fnp.logical_and(fnp.greater(p, 0), fnp.greater(q, 0))
    nothing = fnp.logical_and(fnp.equal(p, 0), fnp.greater_equal(q, 0))
    safe_p, safe_q = fnp.where(both, p, 1.0), fnp.where(both, q, 1.0)
    value = safe_p * (fnp.log(safe_p) - fnp.log(safe_q))
    return fnp.where(both, value, fnp.where(nothing, 0.0, fnp.full_like(p, math.inf)))


def rel_entr(p, q):
    """Elementwise p * log(p / q), the relative entropy: 0 for p = 0 <= q, infinite outside p, q > 0."""
    return elementwise("rel_entr", _rel_entr, p, q)


def kl_div(p, q):
    """Elementwise p * log(p / q) - p + q, the Kullback-Leibler divergence; see `rel_entr` for the ends."""
    return elementwise("kl_div", lambda p, q: _rel_entr(p, q) - p + q, p, q)


def _logit(x):
    return fnp.log(x / (1.0 - x))


_logit_rule = with_partials(_logit, lambda x: 1.0 / (x * (1.0 - x)))


def logit(x):
    """Elementwise log(x / (1 - x)), the inverse of `expit`."""
    return elementwise("logit", _logit_rule, x)


def _boxcox(x, lmbda):
    zero = fnp.equal(lmbda, 0)
    power = fnp.where(zero, 1.0, lmbda)
    return fnp.where(zero, fnp.log(x), fnp.expm1(power * fnp.log(x)) / power)


def _boxcox1p(x, lmbda):
    zero = fnp.equal(lmbda, 0)
    power = fnp.where(zero, 1.0, lmbda)
    return fnp.where(zero, fnp.log1p(x), fnp.expm1(power * fnp.log1p(x)) / power)


def boxcox(x, lmbda):
    """Elementwise (x**lmbda - 1) / lmbda, log(x) for lmbda = 0: the transformation of Box and Cox (1964)."""
    return elementwise("boxcox", _boxcox, x, lmbda)


def boxcox1p(x, lmbda):
    """Elementwise `boxcox` of 1 + x, exact for small x."""
    return elementwise("boxcox1p", _boxcox1p, x, lmbda)


def _all_axes(name: str, x, axis) -> tuple[int, ...]:
    return canonical_axes(axis, len(shape_of(x)), name)


def softmax(x, /, *, axis=None):
    """exp(x) divided by its sum along `axis` (an integer, a tuple, or None for all axes)."""
    return _softmax(x, axis=_all_axes("softmax", x, axis))


def log_softmax(x, /, *, axis=None):
    """The logarithm of `softmax`, without taking the logarithm of small numbers."""
    return _log_softmax(x, axis=_all_axes("log_softmax", x, axis))


def logsumexp(a, axis=None, b=None, keepdims: bool = False, return_sign: bool = False, where=None):
    """log(sum(b * exp(a))) along `axis`, without overflow; `b` are optional factors, `where` a mask of the terms.

    With `return_sign` it is the pair of the logarithm of the absolute value and the sign; without, NaN for a negative
    sum.
    """
    if not return_sign:
        return fnp.logsumexp(a, axis, b, keepdims, where)
    (a,) = promote("logsumexp", a, inexact=True)
    a = fnp.asarray(a)
    largest = fnp.max(stop_gradient(a), axis, keepdims=True, initial=-math.inf, where=where)
    shift = fnp.where(fnp.isfinite(largest), largest, 0.0)
    terms = fnp.exp(a - shift)
    total = fnp.sum(terms if b is None else terms * b, axis, keepdims=keepdims, where=where)
    return fnp.log(fnp.abs(total)) + fnp.reshape(shift, shape_of(total)), fnp.sign(total)


# ---- the gamma function and its relatives ----------------------------------------------------------------------


def _gammasgn(x):
    whole = fnp.equal(x, fnp.floor(x))
    odd = fnp.not_equal(fnp.remainder(fnp.floor(x), 2.0), 0)
    sign = fnp.where(fnp.logical_and(fnp.less(x, 0), odd), -1.0, fnp.ones_like(x))
    sign = fnp.where(fnp.logical_and(fnp.less(x, 0), whole), math.nan, sign)
    sign = fnp.where(fnp.equal(x, 0), fnp.copysign(fnp.ones_like(x), x), sign)
    return fnp.where(fnp.isnan(x), x, sign)


def gammasgn(x):
    """Elementwise sign of gamma(x): 1 or -1, NaN at the negative whole numbers."""
    return elementwise("gammasgn", lambda x: _gammasgn(stop_gradient(x)), x)


def _gamma(x):
    return _gammasgn(stop_gradient(x)) * fnp.exp(_math("lgamma", x))


def gamma(x):
    """Elementwise gamma function, by the exponential of `gammaln`."""
    return elementwise("gamma", _gamma, x)


def factorial(n, exact: bool = False):
    """Elementwise gamma(n + 1), which is n! for whole n; 0 for negative n.

    Raises `ArgumentError` for `exact`: arrays have no integers without bounds.
    """
    if exact:
        raise ArgumentError(located("factorial: exact=True is not possible for arrays; use math.factorial"))
    return elementwise("factorial", _factorial, n)


def _factorial(n):
    negative = fnp.less(n, 0)
    return fnp.where(negative, 0.0, fnp.exp(_math("lgamma", fnp.where(negative, 0.0, n) + 1.0)))


def _comb(n, k):
    inside = fnp.logical_and(fnp.greater_equal(k, 0), fnp.greater_equal(n, k))
    n, k = fnp.where(inside, n, 1.0), fnp.where(inside, k, 1.0)
    return fnp.where(inside, fnp.exp(-fnp.log1p(n) - _betaln(n - k + 1.0, k + 1.0)), 0.0)


def comb(N, k, *, repetition: bool = False):  # noqa: N803
    """Elementwise number of ways to choose k of N things, 0 outside 0 <= k <= N.

    With `repetition` the same thing may be chosen several times.
    """
    if repetition:
        N = fnp.subtract(fnp.add(N, k), 1)  # noqa: N806
    return elementwise("comb", _comb, N, k)


def _betaln(a, b):
    positive = fnp.logical_and(fnp.greater(a, 0), fnp.greater(b, 0))
    safe = log_beta(fnp.where(positive, a, 1.0), fnp.where(positive, b, 1.0))
    first, second = fnp.where(positive, 1.0, a), fnp.where(positive, 1.0, b)
    other = _math("lgamma", first) + _math("lgamma", second) - _math("lgamma", first + second)
    return fnp.where(positive, safe, other)


def betaln(a, b):
    """Elementwise logarithm of |beta(a, b)|, without cancellation when one argument is large."""
    return elementwise("betaln", _betaln, a, b)


def beta(a, b):
    """Elementwise beta function gamma(a) gamma(b) / gamma(a + b)."""
    sign = lambda a, b: _gammasgn(a) * _gammasgn(b) * _gammasgn(a + b)
    return elementwise("beta", lambda a, b: sign(*map(stop_gradient, (a, b))) * fnp.exp(_betaln(a, b)), a, b)


def gammainc(a, x):
    """Elementwise regularized lower incomplete gamma function P(a, x); see `ftiny.lax.igamma`."""
    return elementwise("gammainc", lax_special.igamma, a, x)


def gammaincc(a, x):
    """Elementwise regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return elementwise("gammaincc", lax_special.igammac, a, x)


def betainc(a, b, x):
    """Elementwise regularized incomplete beta function; see `ftiny.lax.betainc`."""
    return elementwise("betainc", lax_special.betainc, a, b, x)


def polygamma(n, x):
    """Elementwise derivative number n of `digamma`; n is an array of integers.

    Raises `DtypeError` for other n.
    """
    if dtypes.kind(dtype_of(n)) != "int":
        raise DtypeError(located(f"polygamma: n must be of an integer dtype, not {dtype_of(n)}"))
    return elementwise("polygamma", lax_special.polygamma, n, x)


def zeta(x, q=None):
    """Elementwise Hurwitz zeta function, the sum over n = 0, 1, ... of (q + n)**-x, for x > 1.

    Raises `ArgumentError` without q: Riemann's zeta function is that of q = 1 for x > 1 only.
    """
    if q is None:
        raise ArgumentError(located("zeta: give q; q=1 is Riemann's zeta function for x > 1"))
    return elementwise("zeta", lax_special.zeta, x, q)


def multigammaln(a, d):
    """Elementwise logarithm of the multivariate gamma function of dimension d, an integer: DLMF 35.3.4."""
    d = int(d)

    def function(a):
        terms = [_math("lgamma", a - 0.5 * j) for j in range(d)]
        return sum(terms, fnp.full_like(a, 0.25 * d * (d - 1) * math.log(math.pi)))

    return elementwise("multigammaln", function, a)


def _poch(z, m):
    sign = _gammasgn(stop_gradient(z)) * _gammasgn(stop_gradient(z + m))
    value = sign * fnp.exp(_math("lgamma", z + m) - _math("lgamma", z))
    return fnp.where(fnp.equal(m, 0), 1.0, value)


def _digamma_difference(z, m):
    """The derivative of poch by z, divided by poch."""
    return _math("digamma", z + m) - _math("digamma", z)


_poch_rule = with_partials(
    _poch,
    lambda z, m: _digamma_difference(z, m) * _poch(z, m),
    lambda z, m: _math("digamma", z + m) * _poch(z, m),
)


def poch(z, m):
    """Elementwise Pochhammer symbol gamma(z + m) / gamma(z), the rising factorial."""
    return elementwise("poch", _poch_rule, z, m)


def bernoulli(n: int):
    """The Bernoulli numbers B_0, B_1 = -1/2, ..., B_n in float32. Raises `ArgumentError` for negative n."""
    if n < 0:
        raise ArgumentError(located(f"bernoulli: n must not be negative, but it is {n}"))
    return fnp.asarray(np.array([float(b) for b in bernoulli_numbers(n + 1)], np.float32))


# ---- the normal distribution and erfcx -------------------------------------------------------------------------


def _ratio(tables, x):
    numerator, denominator = (fnp.full_like(x, table[0]) for table in tables)
    for top in tables[0][1:]:
        numerator = numerator * x + top
    for bottom in tables[1][1:]:
        denominator = denominator * x + bottom
    return numerator / denominator


def _erfcx(x):
    """Cody's rational functions for erfc, whose factor exp(-x*x) is left out."""
    central, far = fnp.less(x, 0.46875), fnp.greater(x, 4.0)
    near = fnp.where(central, x, 0.0)
    inner = fnp.exp(near * near) * _math("erfc", near)
    middle = _ratio(reference.ERFC_MIDDLE, fnp.where(fnp.logical_or(central, far), 1.0, x))
    w = 1.0 / fnp.where(far, x, 4.0)
    outer = w * (1 / math.sqrt(math.pi) - w * w * _ratio(reference.ERFC_TAIL, w * w))
    return fnp.where(central, inner, fnp.where(far, outer, middle))


_erfcx_rule: Callable = with_partials(_erfcx, lambda x: 2.0 * x * _erfcx_rule(x) - 2.0 / math.sqrt(math.pi))


def erfcx(x):
    """Elementwise exp(x*x) * erfc(x), the scaled complementary error function (Cody 1969)."""
    return elementwise("erfcx", _erfcx_rule, x)


def ndtr(x):
    """Elementwise distribution function of the standard normal distribution."""
    return elementwise("ndtr", lambda x: 0.5 * _math("erfc", -x / math.sqrt(2)), x)


def _log_ndtr(x):
    low = fnp.less(x, -1.0)
    tail, centre = fnp.where(low, x, -1.0), fnp.where(low, -1.0, x)
    below = fnp.log(0.5 * _erfcx(-tail / math.sqrt(2))) - 0.5 * tail * tail
    above = fnp.log1p(-0.5 * _math("erfc", centre / math.sqrt(2)))
    return fnp.where(low, fnp.where(fnp.isneginf(x), -math.inf, below), above)


_log_ndtr_rule = with_partials(_log_ndtr, lambda x: math.sqrt(2 / math.pi) / _erfcx_rule(-x / math.sqrt(2)))


def log_ndtr(x, series_order: int = 3):
    """Elementwise logarithm of `ndtr`, by `erfcx` for negative x, so that it is precise however far from 0.

    `series_order` is there for the signature: there is no series.
    """
    return elementwise("log_ndtr", _log_ndtr_rule, x)


def _upper_quantile(q):
    """The z with 1 - ndtr(z) = q, for small q: Abramowitz and Stegun 26.2.23, made precise by Newton's method."""
    logarithm = fnp.log(q)
    t = fnp.sqrt(-2.0 * logarithm)
    z = t - ((0.010328 * t + 0.802853) * t + 2.515517) / (((0.001308 * t + 0.189269) * t + 1.432788) * t + 1.0)
    for _ in range(3 if dtype_of(q) == dtypes.float64 else 2):
        scaled = _erfcx(z / math.sqrt(2))
        error = fnp.log(0.5 * scaled) - 0.5 * z * z - logarithm
        z = z + error * scaled * math.sqrt(math.pi / 2)
    return z


def _ndtri(p):
    tail = fnp.minimum(p, 1.0 - p)
    far = fnp.logical_and(fnp.less(tail, 0.1), fnp.greater(tail, 0))
    outer = _upper_quantile(fnp.where(far, tail, 0.05))
    inner = math.sqrt(2) * _math("erfinv", fnp.where(far, 0.0, 2.0 * p - 1.0))
    value = fnp.where(far, fnp.where(fnp.less(p, 0.5), -outer, outer), inner)
    return fnp.where(fnp.less(tail, 0), math.nan, value)  # 2 p - 1 rounds to -1 for p just below 0


_ndtri_rule: Callable = with_partials(_ndtri, lambda p: math.sqrt(2 * math.pi) * fnp.exp(0.5 * _ndtri_rule(p) ** 2))


def ndtri(p):
    """Elementwise inverse of `ndtr`, the quantile of the standard normal distribution; NaN outside [0, 1]."""
    return elementwise("ndtri", _ndtri_rule, p)


# ---- Bessel functions ------------------------------------------------------------------------------------------


def i0e(x):
    """Elementwise exp(-|x|) * i0(x)."""
    return elementwise("i0e", lax_special.bessel_i0e, x)


def i1e(x):
    """Elementwise exp(-|x|) * i1(x)."""
    return elementwise("i1e", lax_special.bessel_i1e, x)


def i0(x):
    """Elementwise modified Bessel function of the first kind of order 0."""
    return elementwise("i0", lambda x: lax_special.exp_of_abs(x) * lax_special.bessel_i0e(x), x)


def i1(x):
    """Elementwise modified Bessel function of the first kind of order 1."""
    return elementwise("i1", lambda x: lax_special.exp_of_abs(x) * lax_special.bessel_i1e(x), x)

