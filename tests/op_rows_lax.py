"""Rows of the operation table: ftiny.lax, ftiny.nn and ftiny.random."""

from __future__ import annotations

import numpy as np
from op_table import row

UNARY = "f32[3,5]; f32[]; f32[0,4]; bf16[7]"
BINARY = "f32[3,5] f32[3,5]; f32[] f32[]; i32[7] i32[7]@above_one; bf16[3] bf16[3]"

# ---- lax: elementwise -----------------------------------------------------------------------------------------

for name in (
    "abs",
    "neg",
    "sign",
    "floor",
    "ceil",
    "exp",
    "exp2",
    "expm1",
    "sin",
    "cos",
    "tanh",
    "sinh",
    "cosh",
    "asinh",
    "atan",
    "erf",
    "erfc",
    "logistic",
    "square",
    "is_finite",
):
    row(f"lax.{name}", UNARY, smooth=name not in ("abs", "sign", "floor", "ceil"))
row("lax.round", UNARY, lambda m, x: m.lax.round(x, m.lax.RoundingMethod.TO_NEAREST_EVEN), grad=False)
for name in ("log", "sqrt", "rsqrt", "cbrt"):
    row(f"lax.{name}", UNARY, domain=(0.2, 3.0))
row("lax.lgamma", UNARY, domain=(0.3, 5.0), smooth=False, tolerance=5e-5)
row("lax.digamma", UNARY, domain=(0.3, 5.0), smooth=False, grad=False, tolerance=5e-5)
row("lax.log1p", UNARY, domain=(-0.8, 3.0))
row("lax.tan", UNARY, domain=(-1.3, 1.3))
row("lax.acosh", UNARY, domain=(1.1, 4.0))
for name in ("asin", "acos", "atanh", "erf_inv"):
    row(f"lax.{name}", UNARY, domain=(-0.9, 0.9), tolerance=5e-5)
for name in ("add", "sub", "mul", "div", "max", "min", "rem"):
    row(f"lax.{name}", BINARY, smooth=name not in ("max", "min", "rem"))
row("lax.atan2", "f32[3,5] f32[3,5]; f32[] f32[]")
row("lax.nextafter", "f32[3,5] f32[3,5]", grad=False)
row("lax.pow", "f32[3,5]@positive f32[3,5]; f32[]@positive f32[]")
row("lax.integer_pow", "f32[3,5]; i32[4]", lambda m, x: [m.lax.integer_pow(x, 3), m.lax.integer_pow(x, 2)])
for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    row(f"lax.{name}", "f32[15]! f32[15]!; i32[12]<3 i32[12]<3")
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    row(f"lax.{name}", "i32[7] i32[7]; bool[4] bool[4]; u8[5] u8[5]")
row("lax.bitwise_not", "i32[7]; bool[4]; u8[5]")
for name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
    row(f"lax.{name}", "i32[7] i32[7]<5; u8[5] u8[5]<6")
row("lax.population_count", "i32[7]; u8[5]")
row("lax.clz", "i32[7]; u32[5]")
row("lax.select", "bool[3,5] f32[3,5] f32[3,5]; bool[4] i32[4] i32[4]")
row("lax.clamp", "f32[3,5]@small f32[3,5] f32[3,5]@above_one", smooth=False)
row(
    "lax.convert_element_type",
    "f32[3,5]; i32[4]; f32[15]!",
    lambda m, x: [m.lax.convert_element_type(x, t) for t in ("int32", "int8", "uint8", "bfloat16", "float16")],
    grad=False,
)
row("lax.bitcast_convert_type", "f32[3,5]", lambda m, x: m.lax.bitcast_convert_type(x, "int32"), grad=False)
row("lax.complex", "f32[3,5] f32[3,5]", grad=False)
for name in ("real", "imag", "conj"):
    row(f"lax.{name}", "c64[3,5]; c64[]", grad=False)
row("lax.stop_gradient", "f32[3,5]; i32[3]", smooth=False, grad=False)

# ---- lax: structure -------------------------------------------------------------------------------------------

row("lax.iota", "", lambda m: [m.lax.iota("int32", 5), m.lax.iota("float32", 3)], vmap=False)
row("lax.broadcasted_iota", "", lambda m: m.lax.broadcasted_iota("int32", (3, 4), 1), vmap=False)
row("lax.reshape", "f32[3,4]; i32[2,6]", lambda m, x: m.lax.reshape(x, (4, 3)))
row("lax.transpose", "f32[2,3,5]", lambda m, x: m.lax.transpose(x, (2, 0, 1)))
row("lax.broadcast", "f32[3]; f32[]", lambda m, x: m.lax.broadcast(x, (2, 4)))
row("lax.broadcast_in_dim", "f32[3,1]", lambda m, x: m.lax.broadcast_in_dim(x, (2, 3, 4), (1, 2)))
row("lax.expand_dims", "f32[3,4]", lambda m, x: m.lax.expand_dims(x, (0, 2)))
row("lax.squeeze", "f32[1,3,1]", lambda m, x: m.lax.squeeze(x, (0,)))
row("lax.rev", "f32[2,3,5]", lambda m, x: m.lax.rev(x, (0, 2)))
row("lax.concatenate", "f32[2,3] f32[2,1]; f32[2,0] f32[2,4]", lambda m, *xs: m.lax.concatenate(xs, 1))
for number, config in enumerate([((1, 2, 0), (0, 1, 2)), ((-1, 2, 1), (2, -1, 0)), ((0, 0, 0), (-2, -1, 0))]):
    row(f"lax.pad:{number}", "f32[3,5] f32[]; i32[3,4] i32[]", lambda m, x, v, config=config: m.lax.pad(x, v, config))
row("lax.slice", "f32[5,7]", lambda m, x: m.lax.slice(x, (1, 0), (4, 7), (1, 3)))
row("lax.slice_in_dim", "f32[5,7]", lambda m, x: m.lax.slice_in_dim(x, 1, 6, 2, axis=1))
row("lax.index_in_dim", "f32[5,7]", lambda m, x: m.lax.index_in_dim(x, 2, axis=1))
row(
    "lax.dynamic_slice",
    "f32[5,7] i32[]<4 i32[]<6; f32[5,7] i32[] i32[]",
    lambda m, x, i, j: m.lax.dynamic_slice(x, (i, j), (2, 3)),
)
row("lax.dynamic_slice_in_dim", "f32[5,7] i32[]<4", lambda m, x, i: m.lax.dynamic_slice_in_dim(x, i, 3, axis=1))
row("lax.dynamic_index_in_dim", "f32[5,7] i32[]<4", lambda m, x, i: m.lax.dynamic_index_in_dim(x, i, axis=1))
row(
    "lax.dynamic_update_slice",
    "f32[5,7] f32[2,3] i32[]<4 i32[]<6; i32[5,4] i32[5,1] i32[] i32[]",
    lambda m, x, u, i, j: m.lax.dynamic_update_slice(x, u, (i, j)),
)
row(
    "lax.dynamic_update_slice_in_dim",
    "f32[5,7] f32[5,2] i32[]<4",
    lambda m, x, u, i: m.lax.dynamic_update_slice_in_dim(x, u, i, axis=1),
)
row(
    "lax.dynamic_update_index_in_dim",
    "f32[5,7] f32[5] i32[]<4",
    lambda m, x, u, i: m.lax.dynamic_update_index_in_dim(x, u, i, axis=1),
)


def _gather(m, x, i):
    dims = m.lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0, 1))
    return [m.lax.gather(x, i, dims, slice_sizes=(1, 3), mode=mode) for mode in ("clip", "fill")]


def _scatter_dims(m):
    return m.lax.ScatterDimensionNumbers(
        update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
    )


row("lax.gather", "f32[5,6] i32[4,2]<3; f32[5,6] i32[4,2]", _gather)
for name in ("scatter", "scatter_add", "scatter_min", "scatter_max"):
    row(
        f"lax.{name}",
        "f32[5,3] f32[2,3]",
        lambda m, x, u, name=name: getattr(m.lax, name)(x, np.array([[3], [1]], np.int32), u, _scatter_dims(m)),
        smooth=False,
        grad=name in ("scatter", "scatter_add"),
    )
row(
    "lax.scatter_mul",
    "f32[5,3] f32[2,3]",
    lambda m, x, u: m.lax.scatter_mul(x, np.array([[3], [1]], np.int32), u, _scatter_dims(m), unique_indices=True),
    smooth=False,
)
row(
    "lax.scatter_add:repeated",
    "f32[5,3] i32[4,1]<3 f32[4,3]",
    lambda m, x, i, u: m.lax.scatter_add(x, i, u, _scatter_dims(m)),
)
row(
    "lax.scatter_add:outside",
    "f32[5,3] i32[4,1]<9 f32[4,3]",
    lambda m, x, i, u: m.lax.scatter_add(x, i, u, _scatter_dims(m), mode="drop"),
)
row("lax.sort", "f32[3,5]; i32[9]<4; f32[15]!", lambda m, x: m.lax.sort(x, dimension=0), smooth=False)
row("lax.sort:keys", "i32[9]<3 f32[9]", lambda m, k, x: m.lax.sort((k, x), dimension=0, num_keys=1), smooth=False)
row("lax.sort_key_val", "f32[9] f32[9]", lambda m, k, x: m.lax.sort_key_val(k, x), smooth=False)
row("lax.top_k", "f32[3,7]; i32[9]<4", lambda m, x: m.lax.top_k(x, 3), smooth=False)

# ---- lax: folds and products ----------------------------------------------------------------------------------

for name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
    row(
        f"lax.{name}",
        "f32[3,5]; f32[2,3,4]",
        lambda m, x, name=name: getattr(m.lax, name)(x, (1,)),
        smooth=name not in ("reduce_max", "reduce_min"),
    )
for name in ("reduce_and", "reduce_or", "reduce_xor"):
    row(f"lax.{name}", "bool[3,5]; i32[3,5]", lambda m, x, name=name: getattr(m.lax, name)(x, (1,)))
for name in ("argmax", "argmin"):
    row(f"lax.{name}", "f32[3,5]; i32[4,6]<3; f32[3,5]!", lambda m, x, name=name: getattr(m.lax, name)(x, 1, "int32"))
for name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"):
    row(
        f"lax.{name}",
        "f32[3,5]; f32[7,2]; f32[0,3]",
        lambda m, x, name=name: [getattr(m.lax, name)(x, 0), getattr(m.lax, name)(x, 1, reverse=True)],
        smooth=name not in ("cummax", "cummin"),
    )
row("lax.dot", "f32[3,5] f32[5,4]; f32[5] f32[5]; f32[3,5] f32[5]", tolerance=2e-5)
row("lax.batch_matmul", "f32[2,3,5] f32[2,5,4]", tolerance=2e-5)
row(
    "lax.dot_general",
    "f32[2,3,5] f32[5,2,4]",
    lambda m, x, y: m.lax.dot_general(x, y, (((2,), (0,)), ((0,), (1,)))),
    tolerance=2e-5,
)
row(
    "lax.dot_general:bf16",
    "bf16[3,5] bf16[5,4]; i8[3,5] i8[5,4]",
    lambda m, x, y: m.lax.dot_general(x, y, (((1,), (0,)), ((), ())), preferred_element_type="float32"),
    grad=False,
)

CONVOLUTIONS = {  # (samples, keyword arguments)
    "1d": ("f32[2,3,9] f32[4,3,3]", dict(window_strides=(1,), padding="SAME")),
    "2d": ("f32[2,3,7,6] f32[4,3,3,2]", dict(window_strides=(1, 1), padding="VALID")),
    "strides": ("f32[2,3,9,8] f32[4,3,3,3]", dict(window_strides=(2, 3), padding=((1, 2), (0, 1)))),
    "dilation": ("f32[1,2,9,8] f32[3,2,3,2]", dict(window_strides=(1, 2), padding="SAME", rhs_dilation=(2, 3))),
    "base": ("f32[1,2,4,5] f32[3,2,3,3]", dict(window_strides=(1, 1), padding=((2, 2), (1, 2)), lhs_dilation=(2, 3))),
    "negative padding": ("f32[1,2,7,8] f32[3,2,3,3]", dict(window_strides=(1, 1), padding=((-1, 1), (1, -2)))),
    "groups": ("f32[2,4,5,5] f32[6,2,3,3]", dict(window_strides=(1, 1), padding="SAME", feature_group_count=2)),
    "depthwise": ("f32[2,3,6] f32[3,1,3]", dict(window_strides=(1,), padding="SAME", feature_group_count=3)),
    "NHWC": (
        "f32[2,7,6,3] f32[3,3,3,4]",
        dict(window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
    ),
    "3d": ("f32[1,2,4,3,5] f32[2,2,2,2,3]", dict(window_strides=(1, 1, 2), padding="SAME")),
    "batch groups": ("f32[4,2,6] f32[4,2,3]", dict(window_strides=(1,), padding="VALID", batch_group_count=2)),
}
for name, (samples, options) in CONVOLUTIONS.items():
    row(
        f"lax.conv_general_dilated:{name}",
        samples,
        lambda m, x, w, options=options: m.lax.conv_general_dilated(x, w, **options),
        tolerance=5e-5,
    )
row("lax.conv", "f32[2,3,7,6] f32[4,3,3,2]", lambda m, x, w: m.lax.conv(x, w, (2, 1), "SAME"), tolerance=5e-5)
row(
    "lax.conv_transpose",
    "f32[2,5,4,3] f32[3,2,3,4]; f32[1,4,4,2] f32[2,2,2,3]",
    lambda m, x, w: [
        m.lax.conv_transpose(x, w, (2, 3), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        for padding in ("SAME", "VALID")
    ],
    tolerance=5e-5,
)
for name, start, combine in (("sum", 0.0, "add"), ("max", -np.inf, "max"), ("min", np.inf, "min")):
    row(
        f"lax.reduce_window:{name}",
        "f32[2,7,6]; f32[1,5,5]",
        lambda m, x, start=start, combine=combine: [
            m.lax.reduce_window(x, start, getattr(m.lax, combine), (1, 3, 2), (1, 2, 2), "VALID"),
            m.lax.reduce_window(x, start, getattr(m.lax, combine), (1, 2, 2), (1, 1, 1), "SAME"),
        ],
        smooth=name == "sum",
    )
row("lax.reduce", "f32[3,5]", lambda m, x: m.lax.reduce(x, np.float32(0), m.lax.add, (1,)))
row("lax.associative_scan", "f32[7,2]", lambda m, x: m.lax.associative_scan(lambda a, b: a + b, x))

# ---- lax: control flow ----------------------------------------------------------------------------------------

row("lax.scan", "f32[3] f32[5,3]", lambda m, c, xs: m.lax.scan(lambda c, x: (m.numpy.tanh(c + x), c * x), c, xs))
row(
    "lax.scan:reverse",
    "f32[3] f32[5,3]",
    lambda m, c, xs: m.lax.scan(lambda c, x: (0.5 * c + x, c), c, xs, reverse=True),
)
row("lax.scan:no inputs", "f32[3]", lambda m, c: m.lax.scan(lambda c, _: (m.numpy.sin(c), c), c, None, length=4))
row("lax.map", "f32[5,3]", lambda m, xs: m.lax.map(lambda x: x * m.numpy.sum(x), xs))
row(
    "lax.fori_loop",
    "f32[3]",
    lambda m, x: m.lax.fori_loop(0, 4, lambda i, c: m.numpy.sin(c) + i, x),
    smooth=False,
    grad=False,
)
row(
    "lax.while_loop",
    "f32[3]",
    lambda m, x: m.lax.while_loop(lambda c: m.numpy.sum(c * c) < 20.0, lambda c: 1.5 * c + 0.1, x),
    grad=False,
    domain=(0.1, 1.0),
)
row(
    "lax.cond",
    "bool[] f32[3]; i32[]<2 f32[3]",
    lambda m, p, x: m.lax.cond(p, lambda x: m.numpy.sin(x), lambda x: x * x, x),
)
row(
    "lax.switch",
    "i32[]<3 f32[3]; i32[] f32[3]",
    lambda m, i, x: m.lax.switch(i, [lambda x: m.numpy.sin(x), lambda x: x * x, lambda x: -x], x),
)

# ---- nn -------------------------------------------------------------------------------------------------------

for name in (
    "softplus",
    "sigmoid",
    "silu",
    "swish",
    "log_sigmoid",
    "soft_sign",
    "gelu",
    "mish",
    "tanh",
    "elu",
    "celu",
    "selu",
):
    row(f"nn.{name}", UNARY + "; f32[15]!")
row("nn.gelu:exact", UNARY, lambda m, x: m.nn.gelu(x, approximate=False))
for name in ("relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_tanh", "hard_silu", "hard_swish"):
    row(f"nn.{name}", UNARY, smooth=False)
row("nn.glu", "f32[3,4]", lambda m, x: m.nn.glu(x))
for name in ("softmax", "log_softmax"):
    row(
        f"nn.{name}",
        "f32[3,5]; f32[7]; bf16[4,9]; f32[2,3,4]",
        lambda m, x, name=name: [getattr(m.nn, name)(x), getattr(m.nn, name)(x, axis=0)],
    )
    row(f"nn.{name}:large", "f32[9,1025]", lambda m, x, name=name: getattr(m.nn, name)(x), smooth=False)
row("nn.logsumexp", "f32[3,5]; f32[7]", lambda m, x: [m.nn.logsumexp(x), m.nn.logsumexp(x, axis=0, keepdims=True)])
row("nn.standardize", "f32[3,5]; f32[7]")
row("nn.one_hot", "i32[5]<4; i32[2,3]", lambda m, i: m.nn.one_hot(i, 4))
row("nn.logsumexp:weights", "f32[3,5] f32[3,5]@positive", lambda m, x, b: m.nn.logsumexp(x, axis=1, b=b))

# ---- random: the bits are those of jax.random -----------------------------------------------------------------

RANDOM = {
    "PRNGKey": lambda r, k: [r.PRNGKey(7), r.PRNGKey(-1)],
    "key": lambda r, k: [r.key_data(r.key(7)), r.key_data(r.key(-1))],
    "split": lambda r, k: [r.split(k), r.split(k, 5)],
    "fold_in": lambda r, k: r.fold_in(k, 3),
    "bits": lambda r, k: [r.bits(k, (3, 5)), r.bits(k, ()), r.bits(k, (7,), "uint8"), r.bits(k, (0, 2))],
    "uniform": lambda r, k: [r.uniform(k, (3, 5)), r.uniform(k, (7,), minval=-2.0, maxval=3.0), r.uniform(k)],
    "normal": lambda r, k: [r.normal(k, (3, 5)), r.normal(k, ())],
    "truncated_normal": lambda r, k: r.truncated_normal(k, -1.0, 2.0, (9,)),
    "bernoulli": lambda r, k: [r.bernoulli(k, 0.3, (9,)), r.bernoulli(k)],
    "randint": lambda r, k: [r.randint(k, (9,), 0, 10), r.randint(k, (5,), -3, 1000)],
    "permutation": lambda r, k: [r.permutation(k, 9), r.permutation(k, np.arange(6).reshape(3, 2).astype(np.int32))],
    "categorical": lambda r, k: r.categorical(k, np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)),
    "exponential": lambda r, k: r.exponential(k, (9,)),
    "gumbel": lambda r, k: r.gumbel(k, (9,)),
    "laplace": lambda r, k: r.laplace(k, (9,)),
    "choice": lambda r, k: [r.choice(k, 9, (4,)), r.choice(k, 9, (4,), replace=False)],
    "rademacher": lambda r, k: r.rademacher(k, (9,)),
}
for name, call in RANDOM.items():
    row(f"random.{name}", "", lambda m, call=call: call(m.random, m.random.PRNGKey(5)), vmap=False, tolerance=2e-5)
row("random.uniform:traced key", "u32[2]<900", lambda m, k: m.random.uniform(k, (4,)))
for name in ("cauchy", "logistic"):
    row(
        f"random.{name}",
        "",
        lambda m, name=name: getattr(m.random, name)(m.random.PRNGKey(5), (9,)),
        vmap=False,
        tolerance=1e-4,
    )
row("nn.identity", "f32[3,5]; i32[2]")
row("nn.squareplus", UNARY)
row("nn.sparse_plus", UNARY, smooth=False)
row("lax.reciprocal", UNARY, domain=(0.2, 3.0))
row("lax.select_n", "bool[3,5] f32[3,5] f32[3,5]; i32[4]<3 f32[4] f32[4] f32[4]")
row("lax.full", "", lambda m: [m.lax.full((2, 3), 1.5), m.lax.full((), 2, "int8")], vmap=False)
row("lax.full_like", "f32[3,5]; i32[2]", lambda m, x: m.lax.full_like(x, 2), grad=False, vmap=False)
row(
    "lax.index_take",
    "f32[5,3] i32[4]<5",
    lambda m, x, i: m.lax.index_take(x, (i,), (0,)),
    jax=lambda m, x, i: m.numpy.take(x, i, axis=0),
)
row(
    "lax.conv_with_general_padding",
    "f32[1,2,7,6] f32[3,2,3,2]",
    lambda m, x, w: m.lax.conv_with_general_padding(x, w, (1, 2), ((1, 0), (0, 2)), (1, 1), (2, 1)),
    tolerance=5e-5,
)
row(
    "lax.conv_general_dilated_patches",
    "f32[1,2,7,6]",
    lambda m, x: m.lax.conv_general_dilated_patches(x, (3, 2), (2, 1), "SAME"),
    tolerance=5e-5,
)

# ---- implicit differentiation -------------------------------------------------------------------------------------


def _newton(m, f, x):
    """Six steps of Newton's method for functions that work on each element alone."""
    for _ in range(6):
        value, slope = m.jvp(f, (x,), (m.numpy.ones_like(x),))
        x = x - value / slope
    return x


row(
    "lax.custom_root",
    "f32[3]@positive f32[3]@small; f32[]@positive f32[]@small",
    lambda m, y, c: m.lax.custom_root(
        lambda x: x * x + c * x - y,
        m.numpy.ones_like(y),
        lambda f, x: _newton(m, f, x),
        lambda g, b: b / g(m.numpy.ones_like(b)),
    ),
)
row(
    "lax.custom_root:tree",
    "f32[3]@positive",
    lambda m, y: m.lax.custom_root(
        lambda x: {"a": x["a"] ** 3 - y},
        {"a": m.numpy.ones_like(y)},
        lambda f, x: ({"a": m.lax.stop_gradient(y) ** (1 / 3)}, m.numpy.sum(y)),
        lambda g, b: {"a": b["a"] / g({"a": m.numpy.ones_like(y)})["a"]},
        has_aux=True,
    )[0]["a"],
)


def _linear_solve(m, a, b, matrix, **options):
    return m.lax.custom_linear_solve(
        lambda x: matrix @ x, b, lambda f, y: m.numpy.linalg.solve(m.lax.stop_gradient(matrix), y), **options
    )


row(
    "lax.custom_linear_solve",
    "f32[3,3] f32[3]; f32[2,2] f32[2]",
    lambda m, a, b: _linear_solve(
        m, a, b, a + 5 * m.numpy.eye(len(b)),
        transpose_solve=lambda f, y: m.numpy.linalg.solve(m.numpy.transpose(a) + 5 * m.numpy.eye(len(b)), y),
    ),
    derivative_tolerance=1e-8,
)
row(
    "lax.custom_linear_solve:symmetric",
    "f32[3,3] f32[3]",
    lambda m, a, b: _linear_solve(m, a, b, a + m.numpy.transpose(a) + 9 * m.numpy.eye(3), symmetric=True),
    derivative_tolerance=1e-8,
)

# ---- Fourier transforms, random numbers with a state --------------------------------------------------------------


def _parts(m, x):
    """The real and the imaginary part, so that real derivatives can be taken."""
    return [m.numpy.real(x), m.numpy.imag(x)]


row("lax.fft", "f32[3,6]; f32[5]; i32[2,4]", lambda m, x: _parts(m, m.lax.fft(x, "rfft", x.shape[-1:])))
row("lax.fft:complex", "c64[3,6]; c128[2,3]; f32[2,2]",
    lambda m, x: [*_parts(m, m.lax.fft(x, "FFT", x.shape)), *_parts(m, m.lax.fft(x, m.lax.FftType.IFFT, x.shape[1:]))])
row("lax.fft:irfft", "c64[3,4]; f32[3,4]",
    lambda m, x: [m.lax.fft(x, "IRFFT", (3, 6)), m.lax.fft(x, "irfft", (7,)), *_parts(m, m.lax.fft(x, "ifft", ()))])


def _are_within(m, a, b):
    drawn = m.lax.rng_uniform(a, b, (50,))
    return [m.numpy.logical_and(drawn >= a, drawn < b), m.numpy.ptp(drawn) > 0]


row("lax.rng_uniform", "f32[]@unit f32[]@above_one; i32[]<3 u8[]", lambda m, a, b: _are_within(
    m, m.numpy.asarray(a), m.numpy.asarray(b).astype(a.dtype) + m.numpy.asarray(20).astype(a.dtype)),
    grad=False, vmap=False)
row("random.key_dtype", "", lambda m: m.numpy.asarray(str(m.random.key_dtype()) == "key<fry>"), vmap=False)
