"""Rows of the operation table: ftiny.numpy."""

from __future__ import annotations

import numpy as np
from op_table import row

UNARY = "f32[3,5]; f32[]; f32[0,4]; bf16[7]; i32[4]; f32[15]!"
SMOOTH_ONLY = "f32[3,5]; f32[]; f32[0,4]; bf16[7]"
BINARY = (
    "f32[3,5] f32[5]; f32[] f32[4]; f32[3,1] f32[1,4]; f32[0,4] f32[4]; f32[3] i32[3]; bf16[5] f32[5]; f32[15]! f32[15]"
)
INTEGERS = "i32[3,5] i32[5]; u8[7] u8[7]; i8[4] i32[]; i32[3] u8[3]"
MATRIX = "f32[3,5]; f32[1,1]; f32[4,7]; i32[3,4]"
CUBE = "f32[2,3,5]; f32[1,1,1]; f32[4,0,2]; i32[2,3,4]"

# ---- elementwise ----------------------------------------------------------------------------------------------

for name in (
    "exp2",
    "expm1",
    "sin",
    "cos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "square",
    "negative",
    "positive",
    "degrees",
    "radians",
    "sinc",
):
    row(f"numpy.{name}", UNARY)
row("numpy.exp", UNARY + "; f16[9]; c64[4]; f64[3]")
for name in ("log", "log2", "log10", "sqrt", "cbrt", "reciprocal"):
    row(f"numpy.{name}", SMOOTH_ONLY, domain=(0.2, 3.0))
row("numpy.log1p", SMOOTH_ONLY, domain=(-0.8, 3.0))
row("numpy.arccosh", SMOOTH_ONLY, domain=(1.1, 4.0))
row("numpy.tan", SMOOTH_ONLY, domain=(-1.3, 1.3))
for name in ("arcsin", "arccos", "arctanh"):
    row(f"numpy.{name}", SMOOTH_ONLY, domain=(-0.9, 0.9))
for name in ("abs", "fabs", "nan_to_num"):
    row(f"numpy.{name}", UNARY if name != "fabs" else SMOOTH_ONLY, smooth=False)
for name in ("sign", "floor", "ceil", "rint", "trunc"):
    row(f"numpy.{name}", UNARY, smooth=False)
row("numpy.round", UNARY, lambda m, x: m.numpy.round(x), smooth=False)
row("numpy.round:decimals", "f32[3,5]; f32[]", lambda m, x: m.numpy.round(x, 2), smooth=False, grad=False)
for name in ("isnan", "isfinite", "isinf", "isposinf", "isneginf", "signbit", "logical_not"):
    row(
        f"numpy.{name}",
        "f32[15]!; f32[3,5]; f32[0,2]; bf16[15]!" + ("; i32[4]" if name in ("isnan", "logical_not") else ""),
    )
row("numpy.invert", "i32[3,5]; bool[4]; u8[5]")
for name in ("add", "subtract", "multiply", "hypot", "arctan2", "logaddexp", "logaddexp2"):
    row(f"numpy.{name}", BINARY, tolerance=2e-5)
row("numpy.subtract:integers", INTEGERS, lambda m, x, y: m.numpy.subtract(x, y))
row("numpy.multiply:complex", "c64[3,5] c64[5]; c64[2] f32[2]", lambda m, x, y: m.numpy.multiply(x, y), grad=False)
row("numpy.divide", "f32[3,5] f32[5]; f32[] f32[4]; i32[4] i32[4]; f32[0,4] f32[4]; f32[15]! f32[15]; f32[15] f32[15]!")
for name in ("floor_divide", "remainder", "fmod"):
    row(f"numpy.{name}", "f32[3,5] f32[5]@positive; i32[3,5] i32[5]@above_one; u8[7] u8[7]@above_one", smooth=False)
row("numpy.divmod", "f32[3,5] f32[5]@positive; i32[3,5] i32[5]@above_one", smooth=False)
row("numpy.modf", "f32[3,5]; f32[]", grad=False)
row("numpy.power", "f32[3,5]@positive f32[5]; f32[]@positive f32[4]; i32[4] i32[4]<3; f32[5]@positive i32[5]<4")
for exponent in (0, 1, 2, 3, -1, -2, 0.5, 2.5):
    row(
        f"numpy.power:{exponent}",
        "f32[3,5]@positive; bf16[4]@positive",
        lambda m, x, exponent=exponent: m.numpy.power(x, exponent),
    )
row("numpy.float_power", "f32[3,5]@positive f32[5]", grad=False)
for name in ("maximum", "minimum", "fmax", "fmin"):
    row(f"numpy.{name}", BINARY + "; " + INTEGERS, smooth=False)
row("numpy.maximum:ties", "i32[12]<3 i32[12]<3", lambda m, x, y: m.numpy.maximum(x, y))
row("numpy.heaviside", "f32[3,5] f32[5]; f32[15]! f32[15]", grad=False)
row(
    "numpy.clip",
    "f32[3,5] f32[5]@small f32[5]@above_one; f32[4] f32[]@small f32[]@above_one",
    lambda m, x, low, high: m.numpy.clip(x, low, high),
    smooth=False,
)
row("numpy.clip:numbers", UNARY, lambda m, x: m.numpy.clip(x, -1, 1), smooth=False)
for name in (
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
):
    row(
        f"numpy.{name}",
        "f32[3,5] f32[5]; i32[12]<3 i32[12]<3; f32[15]! f32[15]!; f32[3] i32[3]; bool[4] bool[4]; u8[3] i8[3]",
    )
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    row(f"numpy.{name}", INTEGERS + "; bool[4] bool[4]")
row("numpy.left_shift", "i32[5] i32[5]<6; u8[5] u8[5]<6")
row("numpy.right_shift", "i32[5] i32[5]<6; u8[5] u8[5]<6; i8[9] i8[9]<7")
row("numpy.copysign", "f32[3,5] f32[5]; f32[15]! f32[15]", smooth=False)
row("numpy.nextafter", "f32[3,5] f32[5]", grad=False)
for name in ("gcd", "lcm"):
    row(f"numpy.{name}", "i32[3,5] i32[5]; u8[4] u8[4]")
row("numpy.isclose", "f32[3,5] f32[5]; f32[15]! f32[15]!")
for name in ("real", "imag", "conjugate", "angle"):
    row(
        f"numpy.{name}",
        "c64[3,5]; c64[]" + ("; f32[4]" if name != "angle" else ""),
        grad=False,
        compiled=name != "angle",
    )
row("numpy.allclose", "f32[3,5] f32[3,5]; f32[4] f32[]", vmap=False)
row("numpy.array_equal", "f32[3,5] f32[3,5]; i32[1] i32[1]; f32[2] f32[3]", vmap=False)

# ---- creation -------------------------------------------------------------------------------------------------

for name, call in {
    "zeros": lambda np: [np.zeros((2, 3)), np.zeros((), "int32"), np.zeros(0, "bfloat16")],
    "ones": lambda np: [np.ones((2, 3)), np.ones(4, "int8")],
    "full": lambda np: [np.full((2, 3), 1.5), np.full(3, 7), np.full((2,), 7, "float32")],
    "arange": lambda np: [
        np.arange(5),
        np.arange(2, 9, 3),
        np.arange(0.0, 1.0, 0.25),
        np.arange(5, 1, -2),
        np.arange(0),
    ],
    "linspace": lambda np: [np.linspace(0, 1, 7), np.linspace(-2.0, 3.0, 4, endpoint=False), np.linspace(1, 1, 1)],
    "logspace": lambda np: [np.logspace(0, 1, 5)],
    "geomspace": lambda np: [np.geomspace(1, 16, 5)],
    "eye": lambda np: [np.eye(3), np.eye(3, 4, k=1), np.eye(2, dtype="int32")],
    "identity": lambda np: [np.identity(3)],
    "tri": lambda np: [np.tri(3), np.tri(3, 5, 1), np.tri(3, k=-1)],
    "indices": lambda np: [np.indices((2, 3))],
    "tril_indices": lambda np: [*np.tril_indices(4), *np.tril_indices(3, 1)],
    "triu_indices": lambda np: [*np.triu_indices(4), *np.triu_indices(3, 1)],
    "diag_indices": lambda np: [*np.diag_indices(3)],
    "array": lambda np: [np.array([[1, 2], [3, 4]]), np.array(2.5), np.array([1.0, 2.0], "bfloat16"), np.array([True])],
    "asarray": lambda np: [np.asarray([1.5, 2.0]), np.asarray(3)],
}.items():
    row(f"numpy.{name}", "", lambda m, call=call: call(m.numpy), vmap=False)
for name in ("zeros_like", "ones_like", "copy"):
    row(f"numpy.{name}", "f32[3,5]; i32[]; bf16[0,2]", grad=name == "copy", vmap=name == "copy")
row("numpy.full_like", "f32[3,5]; i32[4]", lambda m, x: m.numpy.full_like(x, 2), grad=False, vmap=False)
row("numpy.meshgrid", "f32[3] f32[4]; i32[2] f32[5]")
row("numpy.meshgrid:ij", "f32[3] f32[4] f32[2]", lambda m, *xs: m.numpy.meshgrid(*xs, indexing="ij"))
row("numpy.tril", MATRIX)
row("numpy.triu", "f32[3,5]; f32[2,4,4]", lambda m, x: m.numpy.triu(x, 1))
row("numpy.diag", "f32[4]; f32[3,5]; i32[3]", lambda m, x: m.numpy.diag(x, 1))
row("numpy.diagflat", "f32[4]; f32[2,2]")
row("numpy.diagonal", "f32[3,5]; f32[2,4,4]", lambda m, x: m.numpy.diagonal(x, 0, -2, -1))
row("numpy.trace", MATRIX)
row("numpy.vander", "f32[4]", lambda m, x: m.numpy.vander(x, 3))

# ---- shapes ---------------------------------------------------------------------------------------------------

row("numpy.reshape", "f32[3,4]; i32[12]", lambda m, x: m.numpy.reshape(x, (2, -1)))
row("numpy.reshape:order", "f32[3,4]", lambda m, x: m.numpy.reshape(x, (2, 6), order="F"))
row("numpy.ravel", CUBE)
row("numpy.expand_dims", CUBE, lambda m, x: m.numpy.expand_dims(x, (0, -1)))
row("numpy.squeeze", "f32[1,3,1]; f32[1,1,1]", lambda m, x: m.numpy.squeeze(x, 0))
for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    row(f"numpy.{name}", "f32[]; f32[3]; f32[2,3]; f32[2,1,2]", vmap=False)
row("numpy.transpose", CUBE)
row("numpy.transpose:axes", CUBE, lambda m, x: m.numpy.transpose(x, (1, 2, 0)))
row("numpy.matrix_transpose", CUBE)
row("numpy.swapaxes", CUBE, lambda m, x: m.numpy.swapaxes(x, 0, -1))
row("numpy.moveaxis", CUBE, lambda m, x: m.numpy.moveaxis(x, (0, 1), (-1, 0)))
row("numpy.rollaxis", CUBE, lambda m, x: m.numpy.rollaxis(x, 2))
row("numpy.flip", CUBE, lambda m, x: [m.numpy.flip(x), m.numpy.flip(x, 1)])
row("numpy.flipud", MATRIX)
row("numpy.fliplr", MATRIX)
row("numpy.rot90", "f32[3,4]", lambda m, x: [m.numpy.rot90(x, k) for k in (1, 2, 3)])
row("numpy.roll", CUBE, lambda m, x: [m.numpy.roll(x, 1), m.numpy.roll(x, -1, axis=0), m.numpy.roll(x, (1, 2), (0, 2))])
row("numpy.broadcast_to", "f32[3,1]; i32[]; f32[4]", lambda m, x: m.numpy.broadcast_to(x, (2, 3, 4)), vmap=False)
row("numpy.broadcast_arrays", "f32[3,1] f32[4]; i32[] f32[2]", lambda m, *xs: m.numpy.broadcast_arrays(*xs), vmap=False)
for name in ("concatenate", "stack", "vstack", "hstack", "dstack", "column_stack"):
    row(
        f"numpy.{name}",
        "f32[2,3] f32[2,3]; f32[4] f32[4]; f32[2] i32[2]",
        lambda m, *xs, name=name: getattr(m.numpy, name)(xs),
    )
row("numpy.concatenate:axis", "f32[2,3] f32[2,0] f32[2,4]", lambda m, *xs: m.numpy.concatenate(xs, axis=1))
row("numpy.stack:axis", "f32[2,3] f32[2,3]", lambda m, *xs: m.numpy.stack(xs, axis=-1))
row("numpy.append", "f32[2,3] f32[4]")
row("numpy.split", "f32[6,2]; i32[6,1]", lambda m, x: [*m.numpy.split(x, 3), *m.numpy.split(x, (1, 4))])
row("numpy.array_split", "f32[7,2]", lambda m, x: m.numpy.array_split(x, 3))
for name, shape in (("vsplit", "4,2,2"), ("hsplit", "2,4,2"), ("dsplit", "2,2,4")):
    row(f"numpy.{name}", f"f32[{shape}]", lambda m, x, name=name: getattr(m.numpy, name)(x, 2))
row("numpy.unstack", "f32[3,2]", lambda m, x: m.numpy.unstack(x))
row("numpy.tile", "f32[2,3]; f32[4]", lambda m, x: [m.numpy.tile(x, 2), m.numpy.tile(x, (2, 1, 3))], vmap=False)
row("numpy.repeat", "f32[2,3]; i32[4]", lambda m, x: [m.numpy.repeat(x, 2, axis=0), m.numpy.repeat(x, 3)])
row(
    "numpy.repeat:counts",
    "f32[3,2]",
    lambda m, x: m.numpy.repeat(x, np.array([2, 0, 1]), axis=0, total_repeat_length=3),
)
row("numpy.pad", "f32[2,3]; i32[3]", lambda m, x: m.numpy.pad(x, 1))
for mode in ("edge", "reflect", "symmetric", "wrap"):
    row(f"numpy.pad:{mode}", "f32[3,4]", lambda m, x, mode=mode: m.numpy.pad(x, ((1, 2), (0, 1)), mode=mode))
for mode in ("maximum", "minimum", "mean", "linear_ramp"):
    row(f"numpy.pad:{mode}", "f32[3,4]", lambda m, x, mode=mode: m.numpy.pad(x, ((1, 2), (0, 3)), mode=mode))
row("numpy.pad:stat_length", "f32[5,4]; i32[6,3]",
    lambda m, x: m.numpy.pad(x, ((1, 2), (0, 3)), mode="mean", stat_length=((2, 3), (1, 2))))
row("numpy.pad:end_values", "f32[5,4]",
    lambda m, x: m.numpy.pad(x, 2, mode="linear_ramp", end_values=((1, 2), (-1, 3))))
row("numpy.resize", "f32[2,3]", lambda m, x: m.numpy.resize(x, (3, 4)))
row(
    "numpy.astype",
    "f32[3,5]; bool[4]; i32[4]; bf16[5]",
    lambda m, x: [m.numpy.astype(x, t) for t in ("float32", "float16", "int32")],
    grad=False,
)

# ---- folds ----------------------------------------------------------------------------------------------------

FOLD = "f32[3,5]; f32[]; f32[2,3,4]; bf16[3,5]; i32[3,5]; bool[4]; u8[5]"
for name in ("sum", "prod", "mean", "max", "min", "any", "all", "argmax", "argmin", "count_nonzero"):
    linear, steps = name in ("sum", "mean"), name in ("max", "min")
    row(f"numpy.{name}", FOLD, lambda m, x, name=name: getattr(m.numpy, name)(x), smooth=not steps)
    row(
        f"numpy.{name}:axis",
        "f32[3,5]; f32[2,3,4]; i32[3,5]; bf16[4,9]",
        lambda m, x, name=name: [getattr(m.numpy, name)(x, axis=0), getattr(m.numpy, name)(x, axis=-1, keepdims=True)],
        smooth=not steps,
    )
row("numpy.sum:axes", CUBE, lambda m, x: [m.numpy.sum(x, axis=(0, 2)), m.numpy.sum(x, axis=(0, 1), keepdims=True)])
row("numpy.sum:empty", "f32[0,4]; f32[3,0]", lambda m, x: [m.numpy.sum(x, 0), m.numpy.prod(x, 1), m.numpy.any(x, 0)])
row(
    "numpy.sum:dtype",
    "i32[3,5]; f32[3,5]",
    lambda m, x: m.numpy.sum(x, axis=1, dtype="float32"),
    derivative_tolerance=1e-6,
)
row(
    "numpy.sum:special",
    "f32[15]!",
    lambda m, x: [m.numpy.sum(x), m.numpy.max(x), m.numpy.min(x), m.numpy.argmax(x), m.numpy.prod(x)],
)
row(
    "numpy.sum:large",
    "f32[70,513]; f32[3000]; f32[513,3]",
    lambda m, x: [m.numpy.sum(x), m.numpy.sum(x, 0), m.numpy.max(x, -1)],
    smooth=False,
    grad=False,
    vmap=False,
    domain=(0.1, 1.0),
)
row("numpy.max:ties", "i32[4,6]<3", lambda m, x: [m.numpy.max(x, 1), m.numpy.argmax(x, 1), m.numpy.argmin(x, 0)])
row("numpy.sum:where", "f32[3,5] bool[3,5]", lambda m, x, c: [m.numpy.sum(x, where=c), m.numpy.mean(x, where=c)])
row("numpy.ptp", "f32[3,5]; i32[4]", lambda m, x: m.numpy.ptp(x, axis=0), smooth=False)
row("numpy.average", "f32[3,5] f32[3,5]@positive", lambda m, x, w: m.numpy.average(x, axis=1, weights=w))
for name in ("var", "std"):
    row(
        f"numpy.{name}",
        "f32[3,5]; f32[7]; bf16[9]",
        lambda m, x, name=name: [getattr(m.numpy, name)(x), getattr(m.numpy, name)(x, axis=0, ddof=1)],
    )
for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin"):
    row(
        f"numpy.{name}",
        "f32[3,5]; f32[7]",
        lambda m, x, name=name: getattr(m.numpy, name)(m.numpy.where(x > 1, np.nan, x)),
        grad=False,
    )
row(
    "numpy.quantile",
    "f32[3,5]; f32[8]",
    lambda m, x: [m.numpy.quantile(x, 0.3), m.numpy.quantile(x, np.float32([0.1, 0.9]), axis=0)],
    smooth=False,
    derivative_tolerance=1e-6,
)
row(
    "numpy.percentile",
    "f32[3,5]",
    lambda m, x: m.numpy.percentile(x, 40.0, axis=1),
    smooth=False,
    derivative_tolerance=1e-6,
)
row("numpy.median", "f32[3,5]; f32[8]", lambda m, x: m.numpy.median(x, axis=-1), smooth=False)
for name in ("cumsum", "cumprod"):
    row(
        f"numpy.{name}",
        "f32[3,5]; f32[7]; i32[4]; f32[0,2]; bf16[6]",
        lambda m, x, name=name: [getattr(m.numpy, name)(x), getattr(m.numpy, name)(x, axis=0)],
    )
row(
    "numpy.cumsum:large",
    "f32[3000]; f32[600,3]",
    lambda m, x: m.numpy.cumsum(x, axis=0),
    grad=False,
    vmap=False,
    tolerance=1e-4,
)
row("numpy.diff", "f32[3,5]; i32[6]", lambda m, x: [m.numpy.diff(x), m.numpy.diff(x, n=2, axis=-1)])
row("numpy.ediff1d", "f32[6]")
row("numpy.trapezoid", "f32[5] f32[5]; f32[3,4] f32[4]")

# ---- products -------------------------------------------------------------------------------------------------

row(
    "numpy.matmul",
    "f32[3,5] f32[5,4]; f32[5] f32[5]; f32[2,3,5] f32[5,4]; f32[2,3,4] f32[2,4,1]; f32[5] f32[5,2]; f32[3,0] f32[0,2];"
    "i32[3,5] i32[5,4]; bf16[3,5] bf16[5,4]; c64[2,3] c64[3,2]; f16[3,4] f32[4,2]",
    tolerance=2e-5,
)
row(
    "numpy.matmul:large",
    "f32[37,65] f32[65,43]; f32[129,33] f32[33,17]",
    lambda m, x, y: m.numpy.matmul(x, y),
    smooth=False,
    vmap=False,
    tolerance=1e-4,
)
row("numpy.dot", "f32[3,5] f32[5,4]; f32[5] f32[5]; f32[2,3,5] f32[4,5,2]; f32[] f32[3]", tolerance=2e-5)
row("numpy.vdot", "f32[5] f32[5]; f32[2,3] f32[2,3]")
row("numpy.inner", "f32[3,5] f32[4,5]; f32[5] f32[5]")
row("numpy.outer", "f32[3] f32[4]; i32[2] f32[3]")
row("numpy.tensordot", "f32[3,4,5] f32[4,3,2]", lambda m, x, y: m.numpy.tensordot(x, y, axes=((0, 1), (1, 0))))
row("numpy.kron", "f32[2,3] f32[3,1]")
row("numpy.cross", "f32[2,3] f32[2,3]; f32[3] f32[3]")
for rule, samples in (
    ("ij,jk->ik", "f32[3,5] f32[5,4]"),
    ("ij,ij->", "f32[3,5] f32[3,5]"),
    ("ii->i", "f32[4,4]"),
    ("ij->ji", "f32[3,5]"),
    ("bij,bjk->bik", "f32[2,3,4] f32[2,4,2]"),
    ("i,j,k->ijk", "f32[2] f32[3] f32[4]"),
    ("...i,...i->...", "f32[2,3,4] f32[4]"),
    ("ij->", "f32[3,5]"),
    ("ijk,ijl->kl", "f32[2,3,4] f32[2,3,5]"),
    ("ij,kj->ik", "f32[3,5] f32[4,5]"),
):
    row(f"numpy.einsum:{rule}", samples, lambda m, *xs, rule=rule: m.numpy.einsum(rule, *xs), tolerance=2e-5)
row(
    "numpy.convolve",
    "f32[7] f32[3]; f32[5] f32[5]",
    lambda m, x, y: [m.numpy.convolve(x, y, mode) for mode in ("full", "same", "valid")],
)
row(
    "numpy.correlate",
    "f32[7] f32[3]",
    lambda m, x, y: [m.numpy.correlate(x, y, mode) for mode in ("full", "same", "valid")],
)

# ---- sorting, searching, indexing -----------------------------------------------------------------------------

row(
    "numpy.sort",
    "f32[3,5]; i32[9]<4; f32[15]!; bf16[6]",
    lambda m, x: [m.numpy.sort(x), m.numpy.sort(x, axis=0)],
    smooth=False,
)
row("numpy.argsort", "f32[3,5]; i32[9]<4; f32[15]!", lambda m, x: [m.numpy.argsort(x), m.numpy.argsort(x, axis=0)])
row("numpy.lexsort", "i32[9]<3 f32[9]", lambda m, *xs: m.numpy.lexsort(xs))
row(
    "numpy.searchsorted",
    "f32[9] f32[5]; i32[9] i32[2,3]",
    lambda m, a, v: [m.numpy.searchsorted(m.numpy.sort(a), v, side=s) for s in ("left", "right")],
    grad=False,
)
row("numpy.digitize", "f32[5] f32[4]", lambda m, x, bins: m.numpy.digitize(x, m.numpy.sort(bins)), grad=False)
row("numpy.bincount", "i32[9]<5", lambda m, x: m.numpy.bincount(x, length=6))
row("numpy.interp", "f32[5] f32[4] f32[4]", lambda m, x, xp, fp: m.numpy.interp(x, m.numpy.sort(xp), fp), smooth=False)
row("numpy.where", "bool[3,5] f32[3,5] f32[5]; bool[] f32[4] f32[]; bool[3] i32[3] f32[3]; i32[4]<2 f32[4] f32[4]")
row("numpy.select", "bool[5] bool[5] f32[5] f32[5]", lambda m, a, b, x, y: m.numpy.select([a, b], [x, y], 0.5))
row(
    "numpy.take",
    "f32[5,3] i32[2,2]<5; i32[6] i32[4]<6",
    lambda m, x, i: [m.numpy.take(x, i, axis=0), m.numpy.take(x, i)],
)
row(
    "numpy.take_along_axis",
    "f32[3,5] i32[3,2]<5; i32[4,2] i32[4,1]<2",
    lambda m, x, i: m.numpy.take_along_axis(x, i, axis=1),
)
row("numpy.nonzero", "i32[9]<3", lambda m, x: m.numpy.nonzero(x, size=5), grad=False)
row("numpy.flatnonzero", "i32[9]<3", lambda m, x: m.numpy.flatnonzero(x, size=5), grad=False)
row("numpy.argwhere", "i32[3,3]<3", lambda m, x: m.numpy.argwhere(x, size=4), grad=False)
row("numpy.unravel_index", "i32[5]<12", lambda m, i: m.numpy.unravel_index(i, (3, 4)))
row("numpy.ravel_multi_index", "i32[5]<3 i32[5]<4", lambda m, *i: m.numpy.ravel_multi_index(i, (3, 4), mode="clip"))
row(
    "numpy.put_along_axis",
    "f32[3,5] i32[3,1]<5 f32[3,1]",
    lambda m, x, i, v: m.numpy.put_along_axis(x, i, v, axis=1, **({"inplace": False} if m.is_jax else {})),
)
row("numpy.apply_along_axis", "f32[3,5]", lambda m, x: m.numpy.apply_along_axis(lambda r: m.numpy.cumsum(r), 0, x))

for name, index in {
    "integer": np.s_[1],
    "slices": np.s_[1:, ::-2],
    "ellipsis": np.s_[..., -1],
    "new axis": np.s_[:, None, 2],
    "list": np.s_[np.array([0, 2, 2])],
    "pair": np.s_[np.array([0, 2]), np.array([1, -1])],
    "mixed": np.s_[:, np.array([[0, 1], [2, 3]])],
    "empty": np.s_[2:1],
}.items():
    row(f"getitem:{name}", "f32[3,5]; i32[3,5]", lambda m, x, index=index: m.numpy.asarray(x)[index])
row(
    "getitem:traced",
    "f32[5,4] i32[]<5 i32[3]<4",
    lambda m, x, i, j: [m.numpy.asarray(x)[i], m.numpy.asarray(x)[:, j], m.numpy.asarray(x)[i, j]],
)
for method in ("set", "add", "multiply", "min", "max", "subtract", "divide"):
    options = {"unique_indices": True} if method in ("multiply", "divide") else {}
    row(
        f"at:{method}",
        "f32[5,3] f32[2,3]@positive",
        lambda m, x, v, method=method, options=options: getattr(m.numpy.asarray(x).at[np.array([3, 1])], method)(
            v, **options
        ),
        smooth=method not in ("min", "max"),
    )
    row(
        f"at:{method} slice",
        "f32[5,3] f32[3]@positive",
        lambda m, x, v, method=method, options=options: getattr(m.numpy.asarray(x).at[1:4:2], method)(v, **options),
        smooth=method not in ("min", "max"),
        grad=method not in ("multiply", "divide", "min", "max"),
    )
row("at:add repeated", "f32[5] i32[4]<3 f32[4]", lambda m, x, i, v: m.numpy.asarray(x).at[i].add(v))
row("at:get", "f32[5] i32[4]<8", lambda m, x, i: m.numpy.asarray(x).at[i].get(mode="fill", fill_value=0.5))
row(
    "numpy.compress",
    "f32[3,5]",
    lambda m, x: m.numpy.compress(np.array([True, False, True]), x, axis=0),
    jax=lambda m, x: x[::2],
    vmap=False,
)
row(
    "numpy.extract",
    "f32[4]",
    lambda m, x: m.numpy.extract(np.array([True, False, True, True]), x),
    vmap=False,
    jax=lambda m, x: x[np.array([0, 2, 3])],
)
row("numpy.empty", "", lambda m: m.numpy.empty((2, 3)) * 0, vmap=False)
row("numpy.histogram", "f32[30]", lambda m, x: m.numpy.histogram(x, bins=5, range=(-2.0, 2.0)), grad=False)
row(
    "numpy.logsumexp", "f32[3,5]", lambda m, x: m.numpy.logsumexp(x, axis=1), jax=lambda m, x: m.nn.logsumexp(x, axis=1)
)
row("numpy.polyval", "f32[4] f32[3,5]")
row("numpy.vecdot", "f32[3,5] f32[3,5]; f32[5] f32[5]", tolerance=2e-5)
row("numpy.top_k", "f32[3,7]", lambda m, x: m.numpy.top_k(x, 3), jax=lambda m, x: m.lax.top_k(x, 3), smooth=False)
row("numpy.ix_", "f32[4,5]", lambda m, x: m.numpy.asarray(x)[m.numpy.ix_(np.array([0, 2]), np.array([1, 3, 4]))])
row("numpy.unique", "i32[9]<4", lambda m, x: m.numpy.unique(x, size=6, fill_value=9), vmap=False)
