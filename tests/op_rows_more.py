"""Rows of the operation table: ftiny.numpy, what is used less often."""

from __future__ import annotations

import numpy as np
from op_table import row


def constant(name: str, call) -> None:
    """A row without arguments: `call` of the library's numpy."""
    row(f"numpy.{name}", "", lambda m, call=call: call(m.numpy), vmap=False)


# ---- elementwise ----------------------------------------------------------------------------------------------

row("numpy.iscomplex", "c64[3,2]; f32[3]; i32[2]")
row("numpy.isreal", "c64[3,2]; f32[3]; i32[2]")
row("numpy.array_equiv", "f32[3,2] f32[2]; i32[1]<1 i32[3]<1")
row("numpy.bitwise_count", "i32[9]; u8[5]; i8[4]; bool[3]")
row("numpy.frexp", "f32[3,4]; f32[15]!; f16[5]; bf16[5]; f64[4]; i32[3]")
row("numpy.ldexp", "f32[3,4] i32[4]; f32[15]! i32[]; f16[5] i32[5]; f64[3] i32[3]", smooth=False)
row("numpy.ldexp:far", "f32[3] i32[3]", lambda m, x, n: m.numpy.ldexp(x, n * 40), grad=False)
row("numpy.spacing", "f32[3,4]; f32[15]!; f16[5]; f64[4]", grad=False)
row("numpy.i0", "f32[3,4]; f32[]; f64[5]; i32[3]; bf16[4]")
row(
    "numpy.i0:far",
    "f32[3,4]; f64[5]",
    lambda m, x: m.numpy.i0(x) * m.numpy.exp(-m.numpy.abs(x)),
    domain=(-20.0, 20.0),
)
row("numpy.unwrap", "f32[3,5]; f32[6]", lambda m, x: m.numpy.unwrap(x), domain=(-8.0, 8.0))
row(
    "numpy.unwrap:period",
    "i32[6]; f32[4,3]",
    lambda m, x: m.numpy.unwrap(x, axis=0, period=4),
    domain=(-8.0, 8.0),
)

# ---- bits -----------------------------------------------------------------------------------------------------

row("numpy.packbits", "i32[11]<2; bool[3,16]; u8[0]", lambda m, x: m.numpy.packbits(x))
row(
    "numpy.packbits:axis",
    "i32[11,3]<2",
    lambda m, x: [m.numpy.packbits(x, 0), m.numpy.packbits(x, axis=1, bitorder="little")],
)
row("numpy.unpackbits", "u8[3]; u8[2,3]", lambda m, x: m.numpy.unpackbits(x))
row(
    "numpy.unpackbits:axis",
    "u8[2,3]",
    lambda m, x: [
        m.numpy.unpackbits(x, axis=0, count=11),
        m.numpy.unpackbits(x, axis=1, count=27, bitorder="little"),
        m.numpy.unpackbits(x, axis=1, count=-3),
    ],
)

# ---- windows, grids, index arrays -----------------------------------------------------------------------------

for name in ("bartlett", "blackman", "hamming", "hanning"):
    constant(name, lambda np, name=name: [getattr(np, name)(n) for n in (0, 1, 2, 7, 8)])
row("numpy.kaiser", "f32[]@positive", lambda m, beta: [m.numpy.kaiser(n, beta) for n in (1, 2, 7)])
constant(
    "mgrid",
    lambda np: [np.mgrid[1:4], np.mgrid[:2, 1:7:3], np.mgrid[0:1:3j, 0:2], np.mgrid[0:1:0.5]],
)
constant("ogrid", lambda np: [np.ogrid[1:4], *np.ogrid[:2, 1:7:3], *np.ogrid[0:1:3j, 0:2, 0:1]])
row(
    "numpy.r_",
    "f32[3] f32[2]; i32[2] f32[3]",
    lambda m, x, y: [m.numpy.r_[x, 0, y], m.numpy.r_["0,2", x, x], m.numpy.r_["-1,2,0", y, y], m.numpy.r_["c", x]],
)
row("numpy.r_:slices", "f32[2,3]", lambda m, x: [m.numpy.r_[x, x], m.numpy.r_["-1", x, x], m.numpy.r_[1:4, 0, 0:1:3j]])
row("numpy.c_", "f32[3] f32[3]; i32[2] f32[2]", lambda m, x, y: [m.numpy.c_[x, y], m.numpy.c_[0:2, 1:3]])
row(
    "numpy.s_",
    "f32[4,3]",
    lambda m, x: [m.numpy.asarray(x)[m.numpy.s_[1:, ::2]], m.numpy.asarray(x)[m.numpy.index_exp[0]]],
)
row("numpy.diag_indices_from", "f32[3,3]; i32[2,2,2]", grad=False, vmap=False)
for name in ("tril_indices_from", "triu_indices_from"):
    row(
        f"numpy.{name}",
        "f32[3,3]; i32[2,4]",
        lambda m, x, name=name: [*getattr(m.numpy, name)(x), *getattr(m.numpy, name)(x, 1)],
        grad=False,
        vmap=False,
    )
constant(
    "mask_indices",
    lambda np: [*np.mask_indices(3, np.triu, 1, size=3), *np.mask_indices(3, np.tril, size=7)],
)

# ---- joining, inserting, replacing ----------------------------------------------------------------------------

row(
    "numpy.block",
    "f32[2,2] f32[2,3]; f32[2,1] i32[2,2]",
    lambda m, x, y: [m.numpy.block([[x, y], [y, x]]), m.numpy.block([x, y]), m.numpy.block(x)],
)
row(
    "numpy.delete",
    "f32[4,3]; i32[5,2]",
    lambda m, x: [
        m.numpy.delete(x, 2),
        m.numpy.delete(x, -1, axis=1),
        m.numpy.delete(x, np.array([0, 2, 2]), axis=0),
        m.numpy.delete(x, slice(None, None, 2), axis=0),
        m.numpy.delete(x, np.arange(len(x)) > 1, axis=0),
    ],
)
row(
    "numpy.delete:traced",
    "f32[5,3]",
    lambda m, x: [
        m.numpy.delete(x, places, axis=0, assume_unique_indices=True)
        for places in (m.numpy.argsort(m.numpy.asarray(x)[:, 0])[:2], m.numpy.argsort(m.numpy.asarray(x)[:, 1])[:3] - 5)
    ],
)
row(
    "numpy.insert",
    "f32[4,3] f32[3]; i32[4,3] i32[3]",
    lambda m, x, v: [
        m.numpy.insert(x, 2, 9),
        m.numpy.insert(x, -1, v, axis=0),
        m.numpy.insert(x, np.array([3, 0, 0]), v, axis=1),
        m.numpy.insert(x, slice(0, 3), 7, axis=0),
        m.numpy.insert(x, 1, v, axis=None),
        m.numpy.insert(x, np.array([1]), np.array([[1], [2], [3], [4]]), axis=1),
    ],
)
row("numpy.insert:traced", "f32[4,3] i32[2]<5 f32[2]", lambda m, x, i, v: m.numpy.insert(x, i, v))
row(
    "numpy.put",
    "f32[2,3] i32[4]<9 f32[2]; i32[5] i32[3]<5 i32[3]",
    lambda m, x, i, v: [
        m.numpy.put(x, np.array([0, 4, 1]), v, inplace=False),
        m.numpy.put(x, i[:1], v, mode="clip", inplace=False),
        m.numpy.put(x, i[:1] + 5, v, mode="wrap", inplace=False),
        m.numpy.put(x, i[:1], v, inplace=False),
    ],
)
row(
    "numpy.place",
    "f32[3,4] bool[3,4] f32[3]; i32[5] bool[5] i32[7]; f32[3] i32[3]<2 f32[1]",
    lambda m, x, mask, v: m.numpy.place(x, mask, v, inplace=False),
    jax=lambda m, x, mask, v: m.numpy.where(
        m.numpy.asarray(mask) != 0,
        m.numpy.resize(v, (m.numpy.size(x),))[m.numpy.cumsum(m.numpy.asarray(mask) != 0) - 1].reshape(x.shape),
        x,
    ),
)
row(
    "numpy.fill_diagonal",
    "f32[3,4] f32[2]; f32[5,2] f32[]; i32[2,2,2] i32[3]",
    lambda m, x, v: m.numpy.fill_diagonal(x, v, inplace=False),
)
# jax takes no constants in a traced function, so numpy is the reference of what must be concrete.
row(
    "numpy.trim_zeros",
    "f32[1]",
    lambda m, x: (
        [m.numpy.trim_zeros(np.array([0, 0, 1, 0, 2, 0]), trim) * x for trim in ("fb", "f", "b")]
        + [m.numpy.trim_zeros(np.array([[0, 0, 0], [0, 1, 0]]), axis=axis) * x for axis in (None, 0, 1)]
    ),
    jax=lambda m, x: (
        [np.float32([1, 0, 2]) * x, np.float32([1, 0, 2, 0]) * x, np.float32([0, 0, 1, 0, 2]) * x]
        + [np.float32([[1]]) * x, np.float32([[0, 1, 0]]) * x, np.float32([[0], [1]]) * x]
    ),
)
row(
    "numpy.choose",
    "i32[4]<9 f32[4] f32[]",
    lambda m, i, x, y: [m.numpy.choose(i, [x, y], mode=k) for k in ("clip", "wrap")],
)
row(
    "numpy.choose:array",
    "f32[3,4]",
    lambda m, x: [m.numpy.choose(np.array([2, 0, 1, 1]), x), m.numpy.choose(np.array([[1], [0]]), [x[0], 1, x[2]])],
    jax=lambda m, x: [x[np.array([2, 0, 1, 1]), np.arange(4)], m.numpy.stack([m.numpy.ones(4), x[0]])],
)

# ---- folds and order ------------------------------------------------------------------------------------------

for name in ("nancumsum", "nancumprod", "nanargmax", "nanargmin"):
    row(
        f"numpy.{name}",
        "f32[3,5]; f32[7]; i32[4]",
        lambda m, x, name=name: [
            getattr(m.numpy, name)(m.numpy.where(x > 1, np.nan, x) if x.dtype.kind == "f" else x, axis=axis)
            for axis in (None, -1, 0)
        ],
    )
for name, points in (("nanquantile", (0.3, [0.1, 0.9])), ("nanpercentile", (40.0, [0.0, 75.0]))):
    row(
        f"numpy.{name}",
        "f32[3,5]; f32[8]",
        lambda m, x, name=name, points=points: [
            getattr(m.numpy, name)(m.numpy.where(x > 1.2, np.nan, x), np.float32(q), axis=axis, keepdims=axis is None)
            for q in points
            for axis in (None, 0)
        ],
        smooth=False,
        derivative_tolerance=1e-6,
    )
row(
    "numpy.nanquantile:method",
    "f32[3,5]",
    lambda m, x: [
        m.numpy.nanquantile(m.numpy.where(x > 1, np.nan, x), 0.4, axis=0, method=k)
        for k in ("lower", "higher", "midpoint")
    ],
    smooth=False,
)
row(
    "numpy.nanmedian",
    "f32[3,5]; f32[8]",
    lambda m, x: [m.numpy.nanmedian(m.numpy.where(x > 1, np.nan, x)), m.numpy.nanmedian(x, axis=-1)],
    smooth=False,
)
for name in ("cumulative_sum", "cumulative_prod"):
    row(
        f"numpy.{name}",
        "f32[5]; i8[4]; bool[3]; bf16[4]",
        lambda m, x, name=name: [getattr(m.numpy, name)(x), getattr(m.numpy, name)(x, include_initial=True)],
    )
    row(
        f"numpy.{name}:axis",
        "f32[3,4]; i32[2,3]",
        lambda m, x, name=name: getattr(m.numpy, name)(x, axis=0, dtype="float32", include_initial=True),
        derivative_tolerance=1e-6,
    )
row(
    "numpy.partition",
    "f32[3,5]; i32[7]<4; u8[5]",
    lambda m, x: [m.numpy.sort(m.numpy.partition(x, 2)[..., :2]), m.numpy.partition(x, 1, axis=0)[1]],
    smooth=False,
)
row(
    "numpy.argpartition",
    "f32[3,5]; f32[7]",
    lambda m, x: [m.numpy.sort(m.numpy.argpartition(x, 2)[..., :2]), m.numpy.argpartition(x, -1)[..., -1]],
)
row("numpy.sort_complex", "c64[7]; f32[2,5]; i32[4]", smooth=False)

# ---- sets -----------------------------------------------------------------------------------------------------

row(
    "numpy.isin",
    "i32[3,4] i32[5]; f32[4] f32[0]; i32[6] f32[3]",
    lambda m, x, y: [
        m.numpy.isin(x, y),
        m.numpy.isin(x, y, invert=True),
        m.numpy.isin(x, y, method="binary_search"),
    ],
)
row(
    "numpy.unique_all",
    "i32[9]<4; i32[2,3]<2; f32[15]!",
    lambda m, x: [
        *m.numpy.unique_all(x, size=7),
        *m.numpy.unique_all(x, size=2),
        *m.numpy.unique_all(x, size=9, fill_value=5),
    ],
)
row("numpy.unique_counts", "i32[9]<4; f32[15]!", lambda m, x: m.numpy.unique_counts(x, size=5), smooth=False)
row("numpy.unique_inverse", "i32[9]<4; i32[2,3]<3", lambda m, x: m.numpy.unique_inverse(x, size=5))
row("numpy.unique_values", "i32[9]<4; f32[5]", lambda m, x: m.numpy.unique_values(x, size=6), smooth=False)
for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
    row(
        f"numpy.{name}",
        "i32[9] i32[5]; i32[2,4]<4 i32[3]<2; f32[4] i32[3]; i32[3]<2 i32[4]<2",
        lambda m, x, y, name=name: [
            getattr(m.numpy, name)(x, y, size=6),
            getattr(m.numpy, name)(x, y, size=2),
            getattr(m.numpy, name)(x, y, size=9, fill_value=-7),
        ],
        smooth=False,
    )
row(
    "numpy.intersect1d:indices",
    "i32[9] i32[5]; i32[6]<3 i32[4]<3",
    lambda m, x, y: m.numpy.intersect1d(x, y, return_indices=True, size=5),
)
row(
    "numpy.intersect1d:unique",
    "f32[5] f32[4]",
    lambda m, x, y: [
        *m.numpy.intersect1d(
            m.numpy.concatenate([x, y]), y, assume_unique=True, return_indices=True, size=4, fill_value=9
        ),
        m.numpy.setxor1d(m.numpy.concatenate([x, y]), y, assume_unique=True, size=6),
        m.numpy.setdiff1d(m.numpy.concatenate([x, y]), y, assume_unique=True, size=6),
    ],
    smooth=False,
)

# ---- products -------------------------------------------------------------------------------------------------

row("numpy.matvec", "f32[3,5] f32[5]; f32[2,1,3,4] f32[6,4]; c64[2,3] c64[3]", tolerance=2e-5)
row("numpy.vecmat", "f32[3] f32[3,5]; f32[6,4] f32[2,1,4,3]; c64[2] c64[2,3]", tolerance=2e-5)

# ---- statistics -----------------------------------------------------------------------------------------------

COVARIANCES = "f32[3,6]; f32[5]; i32[2,4]; f64[3,4]; c64[2,5]"
row("numpy.cov", COVARIANCES, tolerance=1e-4)
row(
    "numpy.cov:options",
    "f32[3,6] f32[2,6] i32[6]<3 f32[6]@positive",
    lambda m, x, y, f, a: [
        m.numpy.cov(x, y),
        m.numpy.cov(x, bias=True),
        m.numpy.cov(x, rowvar=False, ddof=0),
        m.numpy.cov(x, fweights=f + 1),
        m.numpy.cov(x, y[0], aweights=a, fweights=f + 1),
        m.numpy.cov(x[0], y[1], aweights=a, ddof=0),
    ],
    tolerance=1e-4,
)
row("numpy.corrcoef", "f32[3,6]; f32[5]; c64[2,5]", tolerance=1e-4)
row("numpy.corrcoef:options", "f32[6,3] f32[6]", lambda m, x, y: m.numpy.corrcoef(x.T, y), tolerance=1e-4)
row(
    "numpy.gradient",
    "f32[3,5]; f32[7]; i32[2,3]",
    lambda m, x: [m.numpy.gradient(x, axis=-1), m.numpy.gradient(x, 0.5, axis=0)],
)
row(
    "numpy.gradient:places",
    "f32[4,5] f32[4]",
    lambda m, x, at: [
        *m.numpy.gradient(x),
        *m.numpy.gradient(x, m.numpy.cumsum(m.numpy.abs(at) + 0.5), 2.0),
        *m.numpy.gradient(x, 1.5, axis=(1, 0)),
        *m.numpy.gradient(x, 1.5, 2.5, axis=(1, 0)),
    ],
)
row(
    "numpy.histogram_bin_edges",
    "f32[9]; i32[5]",
    lambda m, x: [
        m.numpy.histogram_bin_edges(x, 4),
        m.numpy.histogram_bin_edges(x, 3, range=(-1, 2)),
        m.numpy.histogram_bin_edges(x, np.array([0, 1, 5])),
        m.numpy.histogram_bin_edges(x * 0, 2),
    ],
)
row(
    "numpy.histogram:weights",
    "f32[30] f32[30]; i32[20] f32[20]; i32[20] i32[20]; i32[3,4] f32[3,4]",
    lambda m, x, w: [
        *m.numpy.histogram(x, bins=5, weights=w),
        *m.numpy.histogram(x, bins=np.array([-1.0, 0.0, 2.0]), density=True),
        *m.numpy.histogram(x),
    ],
)
row(
    "numpy.histogram2d",
    "f32[20] f32[20]; f32[9] i32[9]",
    lambda m, x, y: [
        *m.numpy.histogram2d(x, y, bins=3),
        *m.numpy.histogram2d(x, y, bins=[2, np.array([-1.0, 0.5, 1.0, 2.0])], density=True),
        *m.numpy.histogram2d(x, y, bins=np.array([-1.0, 0.5, 1.0, 2.0])),
    ],
)
row(
    "numpy.histogramdd",
    "f32[20,3] f32[20]; i32[9,3] f32[9]",
    lambda m, x, w: [
        part
        for counts, edges in (
            m.numpy.histogramdd(x, bins=2),
            m.numpy.histogramdd(x, bins=[2, 3, 4], range=[(-1, 1), None, (0, 1)], weights=w),
            m.numpy.histogramdd(x, bins=2, density=True),
        )
        for part in (counts, *edges)
    ],
    tolerance=2e-5,
)

# ---- polynomials ----------------------------------------------------------------------------------------------

POLYNOMIALS = "f32[4] f32[2]; f32[2] f32[5]; i32[3] i32[3]; f32[1] i32[2]; c64[2] f32[3]"
for name in ("polyadd", "polysub", "polymul"):
    row(f"numpy.{name}", POLYNOMIALS)
row(
    "numpy.polymul:trim",
    "f32[]",
    lambda m, x: x * m.numpy.polymul(np.float32([0, 1, 2]), np.float32([0, 0, 3]), trim_leading_zeros=True),
    jax=lambda m, x: x * np.float32([3, 6]),
)
row(
    "numpy.polydiv",
    "f32[5] f32[2]; f32[2] f32[4]; i32[4] i32[2]@above_one",
    domain=(0.5, 2.0),
    derivative_tolerance=1e-7,
)
row(
    "numpy.polyder",
    "f32[5]; i32[4]; f32[2]",
    lambda m, p: [m.numpy.polyder(p), m.numpy.polyder(p, 2), m.numpy.polyder(p, 0)],
)
row(
    "numpy.polyint",
    "f32[4]; i32[3]",
    lambda m, p: [
        m.numpy.polyint(p),
        m.numpy.polyint(p, 3, k=np.float32([1, 2, 3])),
        m.numpy.polyint(p, 2, k=5.0),
        m.numpy.polyint(p, 0),
    ],
)
row("numpy.poly", "f32[4]; i32[3]; f32[0]; c64[2]")
row("numpy.poly:matrix", "f32[3,3]", lambda m, x: m.numpy.abs(m.numpy.poly(x)), smooth=False, tolerance=1e-4)
row(
    "numpy.roots",
    "f32[4]",
    lambda m, p: m.numpy.abs(m.numpy.roots(p, strip_zeros=False)),
    smooth=False,
    tolerance=1e-4,
)
row(
    "numpy.roots:strip",
    "f32[]",
    lambda m, x: [m.numpy.roots(np.float32(p)) * x for p in ([0, 0, 1, -6, 11, -6], [2, 3], [0, 0], [5], [0, 2, 0, 0])],
    jax=lambda m, x: [np.complex64(r) * x for r in ([3, 2, 1], [-1.5], [], [], [0, 0])],
    tolerance=1e-4,
)
row(
    "numpy.roots:zeros",
    "f32[3]",
    lambda m, x: [m.numpy.abs(m.numpy.roots(p, strip_zeros=False)) for p in (x * np.float32([0, 1, 2]), x * 0)],
    grad=False,
    tolerance=1e-4,
)
row(
    "numpy.polyfit",
    "f32[7] f32[7] f32[7]@positive; f64[7] f64[7] f64[7]@positive",
    lambda m, x, y, w: [m.numpy.polyfit(x, y, 2), m.numpy.polyfit(x, m.numpy.stack([x, y], 1), 1, w=w)],
    tolerance=1e-3,
    derivative_tolerance=1e-7,
)
row(
    "numpy.polyfit:more",
    "f64[7] f64[7]",
    lambda m, x, y: [
        *(m.numpy.astype(part, "float64") for part in m.numpy.polyfit(x, y, 2, full=True)),
        *m.numpy.polyfit(x, y, 2, cov=True),
        *m.numpy.polyfit(x, m.numpy.stack([x, y], 1), 1, cov=True),
        *m.numpy.polyfit(x, y, 1, cov="unscaled"),
    ],
    tolerance=1e-3,
)

# ---- mapping --------------------------------------------------------------------------------------------------

row(
    "numpy.vectorize",
    "f32[3,1] f32[4]; f32[] f32[2]; f32[2,1,3] f32[1,1,1]",
    lambda m, x, y: m.numpy.vectorize(lambda a, b: m.numpy.where(a > b, a * b, b - a))(x, y),
    smooth=False,
)
row(
    "numpy.vectorize:signature",
    "f32[2,1,3,4] f32[5,4]; f32[3,4] f32[4]",
    lambda m, x, y: [
        m.numpy.vectorize(m.numpy.matmul, signature="(n,m),(m)->(n)")(x, y),
        *m.numpy.vectorize(lambda a, b: (a.sum(), b * a[0]), signature="(n,m),(m)->(),(m)")(x, y),
    ],
)
row(
    "numpy.vectorize:excluded",
    "f32[3,2] f32[2]",
    lambda m, x, y: [
        m.numpy.vectorize(lambda a, b, k: a * k + m.numpy.sum(b), excluded={1, "k"})(x, y, k=3),
        m.numpy.vectorize(lambda a, b: a if b is None else b)(x, None),
    ],
)
row(
    "numpy.piecewise",
    "f32[3,5]; i32[7]; f32[]",
    lambda m, x: [
        m.numpy.piecewise(x, [x < 0, x > 1], [lambda v: -v, 7]),
        m.numpy.piecewise(x, [x < 0, x < 1], [lambda v, k: v * k, lambda v, k: v - k, lambda v, k: v * v], 2),
    ],
    smooth=False,
)
row(
    "numpy.apply_over_axes",
    "f32[2,3,4]; i32[2,3]",
    lambda m, x: [m.numpy.apply_over_axes(m.numpy.sum, x, [0, -1]), m.numpy.apply_over_axes(m.numpy.cumsum, x, [1])],
)
constant(
    "fromfunction",
    lambda np: [
        np.fromfunction(lambda i, j: i + 2 * j, (2, 3)),
        np.fromfunction(lambda i, j: i == j, (3, 3), dtype=int),
        np.fromfunction(lambda i: np.stack([i, -i]), (3,)),
    ],
)
row(
    "numpy.frompyfunc",
    "f32[3,4]; f32[5]; i32[2,3]",
    lambda m, x: (
        [
            function(x, 2),
            function.reduce(x),
            function.accumulate(x, axis=-1),
            function.outer(x, x),
            function.reduce(x, axis=-1, keepdims=True, initial=1),
        ]
        if (function := m.numpy.frompyfunc(lambda a, b: a * b + a, 2, 1))
        else []
    ),
)

# ---- from bytes and text --------------------------------------------------------------------------------------

constant(
    "frombuffer",
    lambda np: [
        np.frombuffer(b"\x01\x02\x03\x04", dtype="int8", count=2, offset=1),
        np.frombuffer(b"12345678", "int32"),
    ],
)
constant(
    "fromstring", lambda np: [np.fromstring("1 2 3", sep=" "), np.fromstring("1,2,3", dtype=int, count=2, sep=",")]
)
constant("float32", lambda np: [np.float32(3), np.int8([1, 2]), np.bfloat16(1.5), np.bool(2), np.complex64(1)])
