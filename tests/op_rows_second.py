"""Rows of the operation table: a second way of calling functions that the other files call in one way only.

`tests/argument_patterns.py` counts the ways; a test asks for two.
"""

from __future__ import annotations

import numpy as np
from op_table import row


def second(name: str, samples: str, call=None, **options) -> None:
    """A row beside the one that the function has."""
    row(f"{name}:second", samples, call, **options)


# ---- samples of another shape or dtype, called as in the first row ----------------------------------------------

second("lax.batch_matmul", "f32[3,1,4] f32[3,4,2]", tolerance=2e-5)
second("lax.bitcast_convert_type", "i32[7]", lambda m, x: m.lax.bitcast_convert_type(x, "float32"), grad=False)
second("lax.clamp", "i32[] i32[7] i32[]", lambda m, low, x, high: m.lax.clamp(low - 3, x, low + 3))
second("lax.complex", "f32[7] f32[7]", grad=False)
second("lax.nextafter", "f64[5] f64[5]", grad=False)
second("lax.sort_key_val", "i32[4,5] f32[4,5]", lambda m, k, x: m.lax.sort_key_val(k, x, dimension=0), smooth=False)
second("numpy.float_power", "i32[5]@positive i32[5]", lambda m, x, y: m.numpy.float_power(m.numpy.abs(x) + 1, y))
second("numpy.nextafter", "f64[5] f64[5]", grad=False)
second("nn.glu", "f32[6,3]", lambda m, x: m.nn.glu(x, axis=0))

# ---- lax --------------------------------------------------------------------------------------------------------

second("lax.associative_scan", "f32[3,6]@positive",
       lambda m, x: m.lax.associative_scan(lambda a, b: a * b, x, reverse=True, axis=1))
second("lax.broadcast_in_dim", "f32[3]", lambda m, x: m.lax.broadcast_in_dim(x, (2, 4, 3), (2,)))
second("lax.broadcasted_iota", "", lambda m: m.lax.broadcasted_iota("float32", (5,), 0), vmap=False)
second("lax.conv", "f32[1,2,5,5] f32[3,2,2,2]", lambda m, x, w: m.lax.conv(x, w, (1, 1), "VALID"), tolerance=5e-5)
second("lax.conv_general_dilated_patches", "f32[2,1,6,5]",
       lambda m, x: m.lax.conv_general_dilated_patches(x, (2, 2), (1, 1), "VALID"), tolerance=5e-5)
second("lax.conv_with_general_padding", "f32[1,2,6,5] f32[3,2,2,2]",
       lambda m, x, w: m.lax.conv_with_general_padding(x, w, (1, 1), ((0, 0), (1, 1)), None, None), tolerance=5e-5)
second("lax.dynamic_index_in_dim", "f32[5,7] i32[]<4",
       lambda m, x, i: m.lax.dynamic_index_in_dim(x, i, axis=0, keepdims=False))
second("lax.dynamic_slice", "f32[7] i32[]<9", lambda m, x, i: m.lax.dynamic_slice(x, (i,), (3,)))
second("lax.dynamic_slice_in_dim", "f32[7,2] i32[]<9", lambda m, x, i: m.lax.dynamic_slice_in_dim(x, i, 3, axis=0))
second("lax.dynamic_update_index_in_dim", "f32[5,7] f32[7] i32[]<5",
       lambda m, x, u, i: m.lax.dynamic_update_index_in_dim(x, u, i, axis=0))
second("lax.dynamic_update_slice_in_dim", "f32[6] f32[2] i32[]<9",
       lambda m, x, u, i: m.lax.dynamic_update_slice_in_dim(x, u, i, axis=0))
second("lax.empty", "", lambda m: 0 * m.lax.empty((3,), "int32"), vmap=False)
second("lax.expand_dims", "f32[3]", lambda m, x: m.lax.expand_dims(x, (0, 2)))
second("lax.fori_loop", "f32[2,2]", lambda m, x: m.lax.fori_loop(2, 5, lambda i, c: c * 0.5 + i, x), grad=False)
second("lax.index_in_dim", "f32[5,7]", lambda m, x: m.lax.index_in_dim(x, -1, axis=1, keepdims=False))
second("lax.index_take", "f32[5,3] i32[4]<3", lambda m, x, i: m.lax.index_take(x, (i,), (1,)),
       jax=lambda m, x, i: m.numpy.take(x, i, axis=1).T)
second("lax.map", "f32[6,2] f32[6]", lambda m, x, y: m.lax.map(lambda p: p[0] * p[1], (x, y)))
second("lax.reduce", "i32[3,4]", lambda m, x: m.lax.reduce(x, np.int32(-(2**31)), m.lax.max, (0, 1)))
second("lax.rev", "i32[3,4]", lambda m, x: m.lax.rev(x, (0, 1)))
second("lax.rng_bit_generator", "u32[4]",
       lambda m, key: [0 * bits for bits in m.lax.rng_bit_generator(key, (5,), "uint32")], vmap=False)
for kind in ("scatter", "scatter_min", "scatter_max", "scatter_mul"):
    second(
        f"lax.{kind}",
        "f32[6] i32[2,1]<6 f32[2]",
        lambda m, x, i, u, kind=kind: getattr(m.lax, kind)(
            x, m.numpy.array([[1], [4]]) + 0 * i, u, m.lax.ScatterDimensionNumbers((), (0,), (0,))
        ),
        smooth=False,
        grad=kind == "scatter",
        vmap=False,
    )
second("lax.slice", "f32[7]", lambda m, x: m.lax.slice(x, (2,), (5,)))
second("lax.slice_in_dim", "f32[5,7]", lambda m, x: m.lax.slice_in_dim(x, 1, None, axis=0))
second("lax.squeeze", "i32[1,3,1]", lambda m, x: m.lax.squeeze(x, (0, 2)))
second("lax.switch", "i32[]<2 i32[4]", lambda m, i, x: m.lax.switch(i, [lambda x: x + 1, lambda x: x * 2], x))
second("lax.transpose", "f32[2,3,4]", lambda m, x: m.lax.transpose(x, (2, 0, 1)))
second("lax.while_loop", "i32[]<9", lambda m, x: m.lax.while_loop(lambda c: c < 100, lambda c: 3 * c + 1, x))

# ---- numpy ------------------------------------------------------------------------------------------------------

second("fft.irfft2", "c64[4,3]", lambda m, x: m.numpy.fft.irfft2(x, s=(3, 5)), grad=False)
second("fft.rfft2", "f32[5,4]", lambda m, x: m.numpy.fft.rfft2(x, norm="ortho"), grad=False)
second("linalg.tensordot", "f32[2,3] f32[3,4]", lambda m, x, y: m.numpy.linalg.tensordot(x, y, axes=1))
second("linalg.tensorinv", "f32[2,3,6]",
       lambda m, a: m.numpy.linalg.tensorinv(a + m.numpy.reshape(8 * m.numpy.eye(6), (2, 3, 6)), ind=2), tolerance=1e-4)
second("numpy.append", "i32[2,3] i32[1,3]", lambda m, x, y: m.numpy.append(x, y, axis=0))
second("numpy.apply_along_axis", "f32[4,3]", lambda m, x: m.numpy.apply_along_axis(lambda r: m.numpy.sum(r * r), 1, x))
second("numpy.argwhere", "i32[7]<2", lambda m, x: m.numpy.argwhere(x, size=5, fill_value=-1))
second("numpy.array_split", "f32[3,8]", lambda m, x: m.numpy.array_split(x, (2, 5), axis=1))
second("numpy.average", "f32[3,5]", lambda m, x: m.numpy.average(x))
second("numpy.bincount", "i32[9]<4 f32[9]", lambda m, i, w: m.numpy.bincount(i, w, length=6))
second("numpy.compress", "bool[4] f32[3,4]",
       lambda m, c, x: m.numpy.compress(c, x, axis=1, size=3, fill_value=-1))
second("numpy.diag_indices", "", lambda m: m.numpy.diag_indices(4, ndim=3), vmap=False)
second("numpy.digitize", "f32[7] f32[4]", lambda m, x, b: m.numpy.digitize(x, m.numpy.sort(b), right=True), grad=False)
second("numpy.dsplit", "f32[2,3,4]", lambda m, x: m.numpy.dsplit(x, (1,)))
second("numpy.ediff1d", "i32[6]", lambda m, x: m.numpy.ediff1d(x, to_begin=0, to_end=1))
second("numpy.empty", "", lambda m: 0 * m.numpy.empty(4, "int32"), vmap=False)
second("numpy.extract", "bool[2,3] i32[2,3]", lambda m, c, x: m.numpy.extract(c, x, size=4, fill_value=7))
second("numpy.flatnonzero", "f32[2,3]", lambda m, x: m.numpy.flatnonzero(x, size=8, fill_value=-1), grad=False)
second("numpy.geomspace", "", lambda m: m.numpy.geomspace(1.0, 256.0, 9, endpoint=False), vmap=False)
second("numpy.hsplit", "f32[6]", lambda m, x: m.numpy.hsplit(x, 3))
second("numpy.identity", "", lambda m: m.numpy.identity(3, "int32"), vmap=False)
second("numpy.indices", "", lambda m: m.numpy.indices((2, 3), sparse=True), vmap=False)
second("numpy.interp", "f32[5] f32[4] f32[4]",
       lambda m, x, xp, fp: m.numpy.interp(x, m.numpy.sort(xp), fp, left=-1.0, right=2.0), smooth=False)
second("numpy.ix_", "", lambda m: m.numpy.ix_(*(m.numpy.arange(n) for n in (2, 3, 1))), vmap=False)
second("numpy.kron", "f32[3] f32[2,2]", lambda m, x, y: m.numpy.kron(x, y))
second("numpy.lexsort", "f32[5] i32[5]<2 f32[5]", lambda m, *xs: m.numpy.lexsort(xs), grad=False)
second("numpy.logspace", "", lambda m: m.numpy.logspace(0.0, 2.0, 5, base=2.0), vmap=False)
second("numpy.nonzero", "i32[7]<2", lambda m, x: m.numpy.nonzero(x, size=5, fill_value=9))
second("numpy.percentile", "f32[3,5]", lambda m, x: m.numpy.percentile(x, 25.0, axis=1, method="lower"), smooth=False)
second("numpy.polyval", "f32[3] f32[2,2]", lambda m, p, x: m.numpy.polyval(p, x))
second("numpy.put_along_axis", "f32[4,3] i32[1,3]<4 f32[1,3]",
       lambda m, x, i, v: m.numpy.put_along_axis(x, i, v, axis=0, **({"inplace": False} if m.is_jax else {})))
second("numpy.ravel_multi_index", "i32[5] i32[5]", lambda m, *i: m.numpy.ravel_multi_index(i, (3, 4), mode="wrap"))
second("numpy.resize", "f32[2,3]; i32[0]", lambda m, x: m.numpy.resize(x, (2, 2)))
second("numpy.select", "i32[5]", lambda m, x: m.numpy.select([x > 2, x < 0], [x, -x], default=7))
second("numpy.tensordot", "f32[3,4] f32[4,2]", lambda m, x, y: m.numpy.tensordot(x, y, axes=1))
second("numpy.top_k", "i32[2,6]", lambda m, x: m.numpy.top_k(x, 2), jax=lambda m, x: m.lax.top_k(x, 2))
second("numpy.unique", "i32[9]<4", lambda m, x: m.numpy.unique(x, size=6, fill_value=-1, return_counts=True))
second("numpy.unravel_index", "i32[5]<24", lambda m, i: m.numpy.unravel_index(i, (2, 3, 4)))
second("numpy.unstack", "f32[2,3]", lambda m, x: m.numpy.unstack(x, axis=1))
second("numpy.vander", "f32[4]", lambda m, x: m.numpy.vander(x, 3, increasing=True))
second("numpy.vsplit", "i32[6,2]", lambda m, x: m.numpy.vsplit(x, (1, 4)))
second("scipy_linalg.inv", "f64[3,3]", lambda m, a: m.scipy.linalg.inv(a + 8 * m.numpy.eye(3, dtype=a.dtype)))

# ---- random -----------------------------------------------------------------------------------------------------

FEW = np.float32([0.3, 1.0, 4.0])
SHORT = (3, 2)
RANDOM = {
    "ball": lambda r, k: r.ball(k, 3, shape=(4,)),
    "beta": lambda r, k: r.beta(k, 2.0, 0.5, (5,)),
    "categorical": lambda r, k: r.categorical(k, FEW, shape=(7,)),
    "cauchy": lambda r, k: r.cauchy(k, SHORT),
    "chisquare": lambda r, k: r.chisquare(k, 3.0, (5,)),
    "clone": lambda r, k: r.clone(np.array([1, 2], np.uint32)),
    "dirichlet": lambda r, k: r.dirichlet(k, FEW),
    "double_sided_maxwell": lambda r, k: r.double_sided_maxwell(k, 1.0, 0.5, (5,)),
    "exponential": lambda r, k: r.exponential(k, SHORT),
    "f": lambda r, k: r.f(k, 5.0, 4.0, (4,)),
    "fold_in": lambda r, k: r.fold_in(k, 2**31),
    "generalized_normal": lambda r, k: r.generalized_normal(k, 1.5, SHORT),
    "gumbel": lambda r, k: r.gumbel(k, SHORT),
    "laplace": lambda r, k: r.laplace(k, SHORT),
    "loggamma": lambda r, k: r.loggamma(k, 2.5, (5,)),
    "logistic": lambda r, k: r.logistic(k, SHORT),
    "maxwell": lambda r, k: r.maxwell(k, SHORT),
    "multinomial": lambda r, k: r.multinomial(k, np.float32(9), np.float32([0.5, 0.5])),
    "multivariate_normal": lambda r, k: r.multivariate_normal(k, FEW, np.eye(3, dtype=np.float32)),
    "rademacher": lambda r, k: r.rademacher(k, SHORT, "int32"),
    "rayleigh": lambda r, k: r.rayleigh(k, 1.5, (5,)),
    "t": lambda r, k: r.t(k, 3.0, (5,)),
    "truncated_normal": lambda r, k: r.truncated_normal(k, FEW - 2, FEW),
    "weibull_min": lambda r, k: r.weibull_min(k, 1.0, 2.0, (5,)),
}
for name, call in RANDOM.items():
    second(
        f"random.{name}",
        "",
        lambda m, call=call: call(m.random, m.random.PRNGKey(7)),
        vmap=False,
        compiled=False,  # the first row is
        tolerance=1e-4,
    )
