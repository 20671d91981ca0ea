"""Rows of the operation table: ftiny.scipy.special and the less used functions of ftiny.lax."""

from __future__ import annotations

import numpy as np
from op_table import row

# ---- lax: structure -------------------------------------------------------------------------------------------

row("lax.broadcast_like", "f32[3] f32[2,3]; i32[] bf16[4]", lambda m, x, y: m.lax.broadcast_like(x, y))
row("lax.broadcast_to_rank", "f32[3]; i32[]", lambda m, x: m.lax.broadcast_to_rank(x, 3))
row(
    "lax.collapse",
    "f32[2,3,4]; i32[1,0,5]",
    lambda m, x: [m.lax.collapse(x, 0, 2), m.lax.collapse(x, -2), m.lax.collapse(x, 1, 1)],
)
row("lax.empty", "", lambda m: 0 * m.lax.empty((2, 3), "int32"), vmap=False)
row("lax.tile", "f32[2,3]; i32[1,0]", lambda m, x: m.lax.tile(x, (2, 3)))
row("lax.stack", "f32[2,3] f32[2,3]; i32[4] i32[4]", lambda m, *xs: [m.lax.stack(xs), m.lax.stack(xs, axis=-1)])
row("lax.unstack", "f32[2,3]; i32[4,1]", lambda m, x: [*m.lax.unstack(x), *m.lax.unstack(x, axis=1)])
row(
    "lax.split",
    "f32[5,6]; i32[2,6]",
    lambda m, x: [*m.lax.split(x, (1, 0, 5), axis=1), *m.lax.split(x, (x.shape[0],))],
)
for name in ("approx_max_k", "approx_min_k"):
    row(
        f"lax.{name}",
        "f32[3,7]; f32[4,2]",
        lambda m, x, name=name: [*getattr(m.lax, name)(x, 2), *getattr(m.lax, name)(x, 1, reduction_dimension=0)],
        smooth=False,
    )


def _whole_rows(m):
    return m.lax.ScatterDimensionNumbers(
        update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
    )


row(
    "lax.scatter_sub",
    "f32[5,3] i32[4,1]<3 f32[4,3]; u8[5,3] i32[2,1]<5 u8[2,3]",
    lambda m, x, i, u: m.lax.scatter_sub(x, i, u, _whole_rows(m), mode=m.lax.GatherScatterMode.FILL_OR_DROP),
)
row(
    "lax.scatter_apply",
    "f32[5,3] i32[4,1]<3; i32[5,3] i32[2,1]<9",
    lambda m, x, i: m.lax.scatter_apply(
        x, i, lambda y: 2 * y + 1, _whole_rows(m), update_shape=(i.shape[0], 3), mode=m.lax.GatherScatterMode.CLIP
    ),
    grad=False,
)
row(
    "lax.scatter_apply:unique",
    "f32[5,3]",
    lambda m, x: m.lax.scatter_apply(
        x, np.array([[4], [1]], np.int32), m.lax.square, _whole_rows(m), update_shape=(2, 3), unique_indices=True
    ),
    grad=False,
)

# ---- lax: elementwise -----------------------------------------------------------------------------------------

row("lax.mulhi", "i32[9] i32[9]; u8[7]<250 u8[7]<250; i8[7] i8[7]; i64[7] i64[7]; u64[5] u64[5]")
row(
    "lax.mulhi:large",
    "i32[9] i32[9]; u32[9] u32[9]; i64[9] i64[9]; u64[9] u64[9]",
    lambda m, x, y: m.lax.mulhi(x * x.dtype.type(2**29 + 12345), y * y.dtype.type(2**28 - 777)),
)
for bits in ((5, 10), (8, 7), (8, 1), (3, 2), (11, 52)):
    row(
        f"lax.reduce_precision:{bits}",
        "f32[3,5]; f32[15]!; bf16[15]!; f64[15]!; f16[7]",
        lambda m, x, bits=bits: m.lax.reduce_precision(x, *bits),
        grad=False,  # of a step function, which central differences do not have
    )
row("lax.optimization_barrier", "f32[3,5]; f32[3]", lambda m, x: m.lax.optimization_barrier((x, x * x)), vmap=False)

# ---- lax: products --------------------------------------------------------------------------------------------

row(
    "lax.ragged_dot",
    "f32[6,3] f32[4,3,2] i32[4]<3; bf16[5,2] bf16[2,2,3] i32[2]<4",
    lambda m, x, y, sizes: m.lax.ragged_dot(x, y, sizes),
    tolerance=2e-5,
)
row(
    "lax.conv_general_dilated_local",
    "f32[2,3,6,5] f32[4,12,5,4]; f32[1,1,3,3] f32[2,4,2,2]",
    lambda m, x, w: m.lax.conv_general_dilated_local(x, w, (1, 1), "VALID", (2, 2)),
    tolerance=5e-5,
)
row(
    "lax.conv_general_dilated_local:strides",
    "f32[2,9,3] f32[5,9,4]",
    lambda m, x, w: m.lax.conv_general_dilated_local(
        x, w, (2,), "SAME", (3,), dimension_numbers=("NHC", "HIO", "NHC"), precision=m.lax.Precision.HIGHEST
    ),
    tolerance=5e-5,
)

# ---- lax: programs --------------------------------------------------------------------------------------------

row(
    "lax.platform_dependent",
    "f32[3,5]; i32[4]",
    lambda m, x: m.lax.platform_dependent(x, tpu=lambda x: x, default=lambda x: 2 * x),
)
row(
    "lax.rng_bit_generator",  # the bits are of the implementation's own choice
    "u32[4]",
    lambda m, key: [0 * bits for bits in m.lax.rng_bit_generator(key, (2, 3), "uint16")],
    vmap=False,
)

# ---- lax: special functions -----------------------------------------------------------------------------------

ELEMENTWISE = "f32[3,5]; f32[]; f32[0,4]; bf16[7]; f64[4]"
for name in ("bessel_i0e", "bessel_i1e"):
    row(f"lax.{name}", ELEMENTWISE + "; f32[15]!", domain=(-12.0, 12.0))
for name in ("igamma", "igammac"):
    row(
        f"lax.{name}",
        "f32[3,5] f32[3,5]; f32[] f32[]; bf16[5] bf16[5]; f64[5] f64[5]; f32[0] f32[0]",
        domain=(0.3, 6.0),
        smooth=False,  # the derivative by the parameter has no derivative in reverse mode, here as in jax
        tolerance=5e-5,
    )
for name in ("igamma_grad_a", "random_gamma_grad"):
    row(
        f"lax.{name}",
        "f32[3,5] f32[3,5]; f32[] f32[]; f64[5] f64[5]",
        domain=(0.3, 6.0),
        grad=False,
        tolerance=1e-4,
    )
BETA = "f32[3,5]@positive f32[3,5]@positive f32[3,5]@probability"
row("lax.betainc", BETA + "; f64[5]@positive f64[5]@positive f64[5]@probability", grad=False, tolerance=5e-5)
row(
    "lax.betainc:x",  # jax has no derivative by the parameters
    "f32[3,5]@probability; f64[3]@probability",
    lambda m, x: [m.lax.betainc(*(m.numpy.full_like(x, v) for v in ab), x) for ab in ((2.5, 0.7), (9, 3))],
    tolerance=5e-5,
)
# jax differentiates scipy.special.zeta, but not lax.zeta.
row("lax.zeta", "f32[3,5] f32[3,5]; f32[] f32[]; f64[5] f64[5]", domain=(1.2, 6.0), grad=False, tolerance=5e-5)
row(
    "lax.polygamma",
    "f32[3,5]; f32[]; f64[4]",
    lambda m, x: [m.lax.polygamma(0 * x + n, x) for n in (1.0, 2.0, 5.0)],
    domain=(0.3, 6.0),
    grad=False,  # by the number, which jax gives as NaN
    tolerance=5e-5,
)

# ---- scipy.special --------------------------------------------------------------------------------------------


def special(name: str, samples: str, call=None, **options) -> None:
    """A row of one function of scipy.special, applied to the arguments unless a call is given."""
    function = name.partition(":")[0]
    call = call or (lambda m, *xs: getattr(m.scipy.special, function)(*xs))
    row(f"special.{name}", samples, call, **options)


ONE = "f32[3,5]; f32[]; f32[0,4]; bf16[7]; f64[4]"
WIDE = "f32[3,5]; f32[]; f32[0,4]; f64[4]"  # jax takes no 16-bit floats here
TWO = "f32[3,5] f32[5]; f32[] f32[4]; f64[3,1] f64[1,4]; bf16[3] f32[3]"
# Where erfcx and polygamma are large, the sine of them that the gradients go through makes their last places larger.
for name, domain in (("erf", (-2.0, 2.0)), ("erfc", (-2.0, 2.0)), ("expit", (-2.0, 2.0)), ("entr", (0.1, 3.0)),
                     ("erfcx", (-0.5, 3.0))):
    special(name, ONE, domain=domain, tolerance=2e-5)
for name in ("erfinv", "logit", "ndtri"):
    special(name, ONE if name != "ndtri" else WIDE, domain=(0.03, 0.97), tolerance=5e-5)
special("expit:integers", "i32[5]; u8[4]", lambda m, x: m.scipy.special.expit(x))
for name in ("gammaln", "loggamma", "digamma", "gamma", "factorial"):
    special(name, ONE, domain=(0.3, 5.0), smooth=name not in ("digamma",), tolerance=1e-4)
special("gamma:negative", "f32[9]; f64[9]", lambda m, x: m.scipy.special.gamma(x), domain=(-3.9, -0.1), tolerance=1e-4)
special("gammasgn", ONE + "; f32[15]!", domain=(-5.0, 5.0), smooth=False)
for name in ("xlogy", "xlog1py", "rel_entr", "kl_div"):
    special(name, TWO, domain=(0.2, 3.0), tolerance=5e-5)
special("xlogy:ends", "f32[15]! f32[15]@positive", lambda m, x, y: m.scipy.special.xlogy(x, y))
for name in ("boxcox", "boxcox1p"):
    special(name, TWO, domain=(0.2, 3.0), tolerance=5e-5)
for name in ("betaln", "beta"):
    special(name, TWO, domain=(0.4, 4.0), tolerance=1e-4)
# Away from the poles of gamma, where a rounding of the argument is magnified.
special("poch", "f32[3,5]@above_one f32[5]@unit; f32[4]@above_one f32[4]@above_one", smooth=False, tolerance=1e-4)
special("comb", "i32[4] i32[4]<4; f32[3,5]@above_one f32[5]@unit", grad=False, tolerance=1e-4)
special(
    "comb:repetition",
    "i32[4]@above_one i32[4]<4",
    lambda m, n, k: m.scipy.special.comb(n, k, repetition=True),
    tolerance=1e-4,
)
for name in ("gammainc", "gammaincc"):
    special(name, TWO, domain=(0.3, 6.0), smooth=False, tolerance=1e-4)
special(
    "betainc",
    "f32[3,5]@positive f32[5]@positive f32[3,1]@probability; f32[]@positive f32[3]@positive f64[3]@probability",
    grad=False,  # jax has none by the parameters
    tolerance=1e-4,
)
special("zeta", TWO, domain=(1.3, 5.0), smooth=False, tolerance=1e-4)
special("polygamma", "i32[5]<5 f32[3,5]@above_one; i32[]<5 f64[4]@positive", smooth=False, tolerance=1e-4)
special("multigammaln", ONE, lambda m, a: m.scipy.special.multigammaln(a, 3), domain=(1.5, 6.0), tolerance=1e-4)
special("bernoulli", "", lambda m: [m.scipy.special.bernoulli(n) for n in (0, 1, 9)], vmap=False)
special("ndtr", WIDE + "; f32[15]!", tolerance=2e-5)
special("log_ndtr", WIDE, domain=(-9.0, 3.0), tolerance=5e-5)
for name in ("i0e", "i1e"):
    special(name, ONE, domain=(-12.0, 12.0), tolerance=2e-5)
for name in ("i0", "i1"):
    special(name, ONE, domain=(-3.0, 3.0), tolerance=2e-5)
AXES = (None, 0, (0, 1))
for name in ("softmax", "log_softmax"):
    special(
        name, "f32[3,5]; i32[2,3]", lambda m, x, name=name: [getattr(m.scipy.special, name)(x, axis=a) for a in AXES]
    )
special(
    "logsumexp",
    "f32[3,5] f32[3,5]; i32[2,3] f32[3]",
    lambda m, x, b: [
        m.scipy.special.logsumexp(x, axis=0),
        m.scipy.special.logsumexp(x, b=m.numpy.abs(b), keepdims=True),
        *m.scipy.special.logsumexp(x, axis=1, b=b, return_sign=True),
    ],
    smooth=False,
    tolerance=3e-5,  # exponentials with weights of both signs cancel
)
# jax 0.10 cannot differentiate exp1 and expn in a jitted function: test_scipy.py has their derivatives.
special("exp1", WIDE, domain=(0.2, 6.0), grad=False, tolerance=5e-5)
special("expi", WIDE, domain=(0.5, 6.0), tolerance=5e-5)
special("expi:negative", "f32[5]; f64[5]", lambda m, x: m.scipy.special.expi(x), domain=(-4.0, -0.2), tolerance=5e-5)
special(
    "expn",
    "f32[3,5]@positive; f64[4]@positive",
    lambda m, x: [m.scipy.special.expn(n, x) for n in (1, 2, 5)],
    grad=False,
    tolerance=5e-5,
)
special("spence", WIDE, domain=(2.5, 6.0), tolerance=5e-5)  # the derivative in jax is NaN near 1
special("spence:far", "f32[9]; f64[9]", lambda m, x: m.scipy.special.spence(x), domain=(0.0, 9.0), grad=False)

# ---- scipy.stats: every distribution in the middle of its support, and far outside ----------------------------


def distribution(name: str, functions: str, parameters: tuple, domain, quantiles: str = "", **options) -> None:
    """Rows of a distribution: of its functions of a value with the parameters, then of its quantiles."""

    def values(m, x, *rest):
        there = getattr(m.scipy.stats, name)
        return [getattr(there, function)(x, *parameters, *rest) for function in functions.split()]

    scaled = options.pop("scaled", True)
    samples = (
        "f32[3,5] f32[5]@small f32[]@above_one; f64[4] f64[]@small f64[4]@above_one" if scaled else "f32[3,5]; f64[4]"
    )
    row(f"stats.{name}", samples, values, domain=domain, tolerance=2e-4, **options)
    if quantiles:
        row(
            f"stats.{name}:quantiles",
            "f32[3,5]@probability; f64[4]@probability",
            lambda m, q: [getattr(getattr(m.scipy.stats, name), f)(q, *parameters) for f in quantiles.split()],
            tolerance=2e-4,
            grad=options.get("grad", True),
        )


DENSITY, ALL = "logpdf pdf", "logpdf pdf cdf logcdf sf logsf"
distribution("norm", ALL, (), (-2.0, 2.0), "ppf isf")
distribution("cauchy", ALL, (), (-2.0, 2.0), "ppf isf")
distribution("logistic", "logpdf pdf cdf sf", (), (-2.0, 2.0), "ppf isf")
distribution("laplace", "logpdf pdf cdf", (), (-2.0, 2.0), smooth=False)
for name in ("gumbel_l", "gumbel_r"):  # their derivatives raise in jax 0.10
    distribution(name, ALL, (), (-2.0, 2.0), "ppf", grad=False)
distribution("t", DENSITY, (3.5,), (-2.0, 2.0))
distribution("expon", ALL, (), (0.7, 3.0), "ppf")
distribution("gamma", ALL, (2.5,), (0.7, 3.0), smooth=False)
distribution("chi2", ALL, (3.0,), (0.7, 3.0), smooth=False)
distribution("pareto", ALL, (2.0,), (4.7, 9.0), "ppf")
distribution("beta", ALL, (2.0, 1.5), (0.55, 1.4), smooth=False, grad=False)
distribution("uniform", "logpdf pdf cdf", (), (0.55, 1.4), "ppf", smooth=False)
distribution("truncnorm", ALL, (-1.0, 1.5), (-0.5, 0.5))
distribution("gennorm", "logpdf pdf cdf", (1.5,), (0.2, 2.0), scaled=False)
distribution("vonmises", DENSITY, (2.0,), (-3.0, 3.0), scaled=False)
distribution("wrapcauchy", DENSITY, (0.4,), (0.3, 6.0), scaled=False)
row(
    "stats.gamma:parameter",
    "f32[5]@above_one f32[5]@positive; f64[3]@above_one f64[3]@positive",
    lambda m, a, x: [getattr(m.scipy.stats.gamma, f)(x, a) for f in ("logpdf", "cdf", "sf")],
    smooth=False,
    tolerance=2e-4,
)
row(
    "stats.beta:parameters",
    "f32[5]@positive f32[5]@positive f32[5]@probability",
    lambda m, a, b, x: m.scipy.stats.beta.logpdf(x, a, b),
    smooth=False,
    tolerance=2e-4,
)
row(
    "stats.norm:outside",
    "f32[15]!; i32[5]",
    lambda m, x: [
        m.scipy.stats.expon.logpdf(m.numpy.abs(x), 0.25),
        m.scipy.stats.laplace.cdf(x),
        m.scipy.stats.norm.logcdf(x, scale=2),
        m.scipy.stats.cauchy.pdf(x, loc=1),
    ],
)
DISCRETE = {
    "bernoulli": (0.3,),
    "binom": (7.0, 0.3),
    "geom": (0.3,),
    "nbinom": (3.0, 0.3),
    "poisson": (2.5,),
    "betabinom": (7.0, 2.0, 1.5),
}
for name, parameters in DISCRETE.items():
    row(
        f"stats.{name}",
        "i32[9]; f32[3,4]; i32[]",
        lambda m, k, name=name, parameters=parameters: [
            getattr(getattr(m.scipy.stats, name), f)(m.numpy.round(k), *parameters, *loc)
            for f in ("logpmf", "pmf")
            for loc in ((), (1,))
        ],
        grad=False,
        tolerance=2e-4,
    )
row(
    "stats.bernoulli:others",
    "f32[5]@probability f32[5]",
    lambda m, p, k: [
        m.scipy.stats.bernoulli.cdf(k, p),
        m.scipy.stats.bernoulli.ppf(p, 0.4),
        m.scipy.stats.poisson.cdf(k, p),
    ],
    grad=False,
    tolerance=2e-4,
)
row(
    "stats.binom:parameter",
    "f32[5]@probability",
    lambda m, p: [
        m.scipy.stats.binom.logpmf(3, 5, p),
        m.scipy.stats.bernoulli.logpmf(1, p),
        m.scipy.stats.geom.logpmf(4, p),
        m.scipy.stats.nbinom.logpmf(2, 3.5, p),
        m.scipy.stats.poisson.logpmf(2, p),
        m.scipy.stats.betabinom.logpmf(2, 5, p, 2 * p),
    ],
    smooth=False,
    tolerance=2e-4,
)
row(
    "stats.dirichlet",
    "f32[3]@positive; f64[4]@positive",
    lambda m, a: [
        getattr(m.scipy.stats.dirichlet, f)(x, a)
        for f in DENSITY.split()
        for x in (np.full(a.shape, 1 / a.shape[0], a.dtype), np.full((a.shape[0] - 1, 2), 0.125, a.dtype))
    ],
    smooth=False,
    tolerance=2e-4,
)
row(
    "stats.multinomial",
    "f32[3]@probability; f64[3]@probability",
    lambda m, p: [
        m.scipy.stats.multinomial.logpmf(np.array([1, 2, 3]), 6, p / p.sum()),
        m.scipy.stats.multinomial.pmf(np.array([0, 2, 3]), 6, p / p.sum()),
    ],
    tolerance=2e-4,
)


# ---- scipy.signal -----------------------------------------------------------------------------------------------

MODES = ("full", "same", "valid")


def _signal(m, name, x, y, modes=MODES, **options):
    import importlib

    module = importlib.import_module("jax.scipy.signal" if m.is_jax else "ftiny.scipy.signal")
    return [getattr(module, name)(x, y, mode=mode, **options) for mode in modes]


row("signal.convolve", "f32[7] f32[3]; i32[6] f32[4]; f32[3,2] f32[4,5]; c64[5] f32[3]; f32[4,3,3] f32[2,2,3]",
    lambda m, x, y: _signal(m, "convolve", x, y), tolerance=3e-5)
row("signal.convolve:fft", "f32[7] f32[3]; f32[3,2] f32[4,5]",
    lambda m, x, y: _signal(m, "convolve", x, y, ["same"], method="fft"), tolerance=3e-5)
row("signal.correlate", "f32[7] f32[3]; c64[4] c64[6]; f32[4,5] f32[4,5]",
    lambda m, x, y: _signal(m, "correlate", x, y, ["same"]), tolerance=3e-5)
row("signal.convolve2d", "f32[5,4] f32[3,2]; i32[2,3] i32[4,4]",
    lambda m, x, y: _signal(m, "convolve2d", x, y, ["valid"]), tolerance=3e-5)
row("signal.correlate2d", "f32[5,4] f32[3,2]; f32[4,4] f32[3,3]; f32[2,3] f32[5,4]; c64[4,4] c64[3,2]",
    lambda m, x, y: _signal(m, "correlate2d", x, y), tolerance=3e-5)
row("signal.fftconvolve", "f32[7] f32[3]; i32[6] f32[6]; c64[3,4] c64[2,3]; f32[4] f32[1]",
    lambda m, x, y: _signal(m, "fftconvolve", x, y), tolerance=3e-5)
row("signal.fftconvolve:axes", "f32[2,7] f32[2,3]; c64[2,5] f32[2,5]",
    lambda m, x, y: _signal(m, "fftconvolve", x, y, ["same"], axes=-1), tolerance=3e-5)
row("signal.detrend", "f32[9]; f32[3,6]; c64[3,6]; i32[7]",
    lambda m, x: [m.scipy.signal.detrend(x), m.scipy.signal.detrend(x, bp=[3]),
                  m.scipy.signal.detrend(x, 0, "constant"), m.scipy.signal.detrend(x, axis=0)], tolerance=3e-5)


# ---- scipy.special: integrals of waves and bells, hypergeometric functions --------------------------------------


def _complex_parts(m, x):
    """The real and the imaginary part, so that real derivatives can be taken."""
    return [m.numpy.real(x), m.numpy.imag(x)]


def _harmonics(m, n, theta, phi):
    orders = m.numpy.arange(n.size) % (2 * n + 1) - n
    return _complex_parts(m, m.scipy.special.sph_harm_y(n, orders, theta, phi, n_max=3))


special("dawsn", "f32[3,5]; f64[40]; f32[]; bf16[4]; i32[5]", domain=(-6.0, 6.0))
special("fresnel", "f32[3,5]; f64[40]; f32[]", domain=(-4.0, 4.0))
special("sici", "f32[3,5]; f64[40]; f32[]", domain=(0.3, 15.0))
special("owens_t", "f32[3,5] f32[5]; f64[40] f64[40]; i32[4] f32[4]", domain=(-2.5, 2.5))
special("wofz", "f32[3,5] f32[3,5]; f64[30] f64[30]; f32[] f32[4]",
         lambda m, x, y: _complex_parts(m, m.scipy.special.wofz(x + 1j * y)))
special("wofz:real", "f32[7]; i32[4]; f64[9]", lambda m, x: _complex_parts(m, m.scipy.special.wofz(x)), grad=False)
# Below 6 the recurrence of jax overflows.
special("bessel_jn", "f32[5]; f64[3,4]; f32[]", lambda m, x: m.scipy.special.bessel_jn(x, v=3), domain=(6.0, 14.0),
         tolerance=1e-4)
special("sph_harm_y", "i32[9]<4 f32[9]@positive f32[9]; i32[4]<4 f64[4]@positive f64[4]", _harmonics)
special("hyp1f1", "f32[4]@positive f32[4]@positive f32[4]@positive; f64[9]@positive f64[9]@positive f64[9]@unit",
         tolerance=5e-5, smooth=False)
special("hyp2f1", "f32[4]@probability f32[4]@positive f32[4]@above_one f32[4]@small; f64[9] f64[9] f64[9]@positive "
         "f64[9]@probability", tolerance=5e-5, smooth=False, derivative_tolerance=1e-8)


# ---- scipy.stats: samples, vectors, density estimates -----------------------------------------------------------


row("stats.sem", "f32[5]; f32[3,4]; i32[6]; f64[2,3,4]", lambda m, x: [
    m.scipy.stats.sem(x), m.scipy.stats.sem(x, axis=None, ddof=0), m.scipy.stats.sem(x, -1, keepdims=True),
    m.scipy.stats.sem(x, nan_policy="omit")])
row("stats.mode", "i32[9]<4; i32[4,5]<3; f32[15]!; bool[7]; u8[3,2]<3", lambda m, x: [
    *m.scipy.stats.mode(x), *m.scipy.stats.mode(x, axis=None, keepdims=True), *m.scipy.stats.mode(x, -1)], grad=False)
row("stats.rankdata", "i32[9]<4; i32[4,5]<3; f32[7]; f32[15]!; f32[0]", lambda m, x: [
    m.scipy.stats.rankdata(x, method) for method in ("average", "min", "max", "dense", "ordinal")], grad=False)
row("stats.rankdata:axis", "i32[4,5]<3; f32[3,4]", lambda m, x: [
    m.scipy.stats.rankdata(x, axis=0), m.scipy.stats.rankdata(x, "min", axis=-1)], grad=False)


def _normal_of_vectors(m, x, mean, a):
    cov = m.numpy.matmul(a, m.numpy.swapaxes(a, -1, -2)) + 2 * m.numpy.eye(a.shape[-1], dtype=a.dtype)
    distribution = m.scipy.stats.multivariate_normal
    return [distribution.logpdf(x, mean, cov), distribution.pdf(x, mean, cov)]


row("stats.multivariate_normal", "f32[4,3] f32[3] f32[3,3]; f32[3] f32[3] f32[3,3]; f64[2,3] f64[2,3] f64[2,3,3]",
    _normal_of_vectors, tolerance=3e-5)
row("stats.multivariate_normal:numbers", "f32[4] f32[] f32[]@positive; f32[2,4] f32[4] f32[]@positive",
    lambda m, x, mean, cov: m.scipy.stats.multivariate_normal.logpdf(x, mean, cov), tolerance=3e-5)


def _estimate(m, data, points, weights):
    estimates = [m.scipy.stats.gaussian_kde(data), m.scipy.stats.gaussian_kde(data, "silverman", weights),
                 m.scipy.stats.gaussian_kde(data, 0.5)]
    pairs = [(e.pdf(points), e.logpdf(points)) for e in estimates]
    return [*(x for pair in pairs for x in pair), estimates[0].integrate_kde(estimates[1]), estimates[1].neff]


row("stats.gaussian_kde", "f32[7] f32[3] f32[7]@positive; f64[2,6] f64[2,4] f64[6]@positive", _estimate,
    tolerance=1e-4)
row("stats.gaussian_kde:integrals", "f32[7] f32[] f32[]@positive", lambda m, data, mean, cov: [
    m.scipy.stats.gaussian_kde(data).integrate_gaussian(mean, cov),
    m.scipy.stats.gaussian_kde(data, lambda e: 0.3 * e.n**0.2).integrate_box_1d(mean, mean + cov)],
    tolerance=1e-4)
row("stats.gaussian_kde:resample", "f32[7]; f32[2,5]", lambda m, data: m.scipy.stats.gaussian_kde(data).resample(
    m.random.PRNGKey(2), (4,)), grad=False, tolerance=1e-4)
