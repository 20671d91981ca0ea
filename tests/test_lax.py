"""ftiny.lax beyond the table of operations: convolutions of every kind, windows, slices, bits and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax as jax_lax

import ftiny
import ftiny.numpy as fnp
from ftiny import lax
from ftiny.errors import ArgumentError, DtypeError, ShapeError


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


def assert_same(ours, theirs, rtol=1e-5):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, (
        ours.shape,
        theirs.shape,
        ours.dtype,
        theirs.dtype,
    )
    np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=rtol, atol=rtol)


def sample(*shape, seed=0):
    """Small integers in float32: sums of products are exact."""
    return np.random.RandomState(seed).randint(-4, 5, shape).astype(np.float32)


# ---- convolutions ----------------------------------------------------------------------------------------------

CONVOLUTIONS = {  # input, kernel, strides, padding, options
    "plain": ((2, 3, 6, 7), (4, 3, 3, 3), (1, 1), "VALID", {}),
    "same": ((2, 3, 6, 7), (4, 3, 3, 2), (1, 1), "SAME", {}),
    "same strided": ((2, 3, 7, 8), (4, 3, 3, 3), (2, 3), "SAME", {}),
    "same lower": ((1, 2, 7, 6), (3, 2, 2, 4), (2, 1), "SAME_LOWER", {}),
    "padding": ((1, 2, 5, 5), (3, 2, 2, 2), (2, 1), ((1, 2), (0, 3)), {}),
    "negative padding": ((1, 2, 6, 6), (3, 2, 2, 2), (1, 1), ((-1, 0), (2, -1)), {}),
    "kernel dilation": ((1, 2, 9, 8), (3, 2, 3, 2), (1, 2), "SAME", {"rhs_dilation": (2, 3)}),
    "input dilation": ((1, 2, 4, 5), (3, 2, 3, 2), (1, 1), ((2, 2), (1, 1)), {"lhs_dilation": (2, 3)}),
    "both dilations": (
        (1, 2, 4, 5),
        (3, 2, 3, 2),
        (2, 1),
        ((2, 3), (1, 4)),
        {"lhs_dilation": (2, 3), "rhs_dilation": (3, 2)},
    ),
    "groups": ((2, 6, 5, 5), (4, 3, 3, 3), (1, 1), "SAME", {"feature_group_count": 2}),
    "depthwise": ((2, 4, 5, 5), (8, 1, 3, 3), (2, 1), "SAME", {"feature_group_count": 4}),
    "batch groups": ((6, 3, 5, 5), (4, 3, 3, 3), (1, 1), "VALID", {"batch_group_count": 2}),
    "channels last": ((2, 6, 7, 3), (3, 2, 3, 4), (1, 1), "VALID", {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}),
    "mixed axes": ((6, 2, 3, 7), (3, 4, 2, 3), (2, 1), "SAME", {"dimension_numbers": ("HNCW", "HOWI", "WCNH")}),
    "groups, channels last": (
        (2, 6, 7, 4),
        (3, 2, 2, 6),
        (1, 1),
        "SAME",
        {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 2},
    ),
    "pointwise": ((2, 3, 4, 5), (6, 3, 1, 1), (1, 1), "SAME", {}),
    "pointwise strided": ((2, 3, 5, 5), (6, 3, 1, 1), (2, 2), "VALID", {}),
    "one axis": ((2, 3, 9), (4, 3, 3), (2,), "SAME", {}),
    "three axes": ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), (1, 2, 1), "SAME", {}),
    "no space": ((3, 4), (5, 4), (), "VALID", {}),
    "too small": ((1, 2, 2, 2), (3, 2, 3, 3), (1, 1), "VALID", {}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name):
    x_shape, w_shape, strides, padding, options = CONVOLUTIONS[name]
    x, w = sample(*x_shape), sample(*w_shape, seed=1)
    wanted = jax_lax.conv_general_dilated(x, w, strides, padding, **options)
    assert_same(lax.conv_general_dilated(x, w, strides, padding, **options), wanted)
    if 0 in wanted.shape:
        return
    ct = sample(*wanted.shape, seed=2)
    ours = ftiny.grad(lambda x, w: (lax.conv_general_dilated(x, w, strides, padding, **options) * ct).sum(), (0, 1))(
        x, w
    )
    theirs = jax.grad(
        lambda x, w: (jax_lax.conv_general_dilated(x, w, strides, padding, **options) * ct).sum(), (0, 1)
    )(x, w)
    for a, b in zip(ours, theirs):
        assert_same(a, b)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (4, 1)])
@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_conv_transpose(padding, strides, transpose_kernel):
    x, w = sample(2, 4, 5, 3), sample(3, 2, 3, 3, seed=1)
    options = {"rhs_dilation": (1, 2), "transpose_kernel": transpose_kernel}
    assert_same(
        lax.conv_transpose(x, w, strides, padding, **options), jax_lax.conv_transpose(x, w, strides, padding, **options)
    )


def test_conv_in_16_bits_accumulates_in_32():
    x, w = np.full((1, 512, 3, 3), 1.0, np.float16), np.full((1, 512, 3, 3), 1.0, np.float16)
    assert float(np.asarray(lax.conv(x, w, (1, 1), "VALID")).reshape(())) == 4608.0
    assert lax.conv(x, w, (1, 1), "VALID", preferred_element_type=np.float32).dtype == np.float32


def test_conv_patches_and_shapes():
    x = sample(2, 3, 6, 7)
    assert_same(
        lax.conv_general_dilated_patches(x, (2, 3), (1, 2), "SAME"),
        jax_lax.conv_general_dilated_patches(x, (2, 3), (1, 2), "SAME"),
    )
    assert lax.conv_general_shape_tuple((2, 9, 8, 3), (3, 2, 3, 4), (2, 1), "SAME", ("NHWC", "HWIO", "NHWC")) == (
        2,
        5,
        8,
        4,
    )
    assert lax.conv_transpose_shape_tuple((2, 5, 4, 3), (3, 3, 3, 4), (2, 2), "VALID", ("NHWC", "HWIO", "NHWC")) == (
        2,
        11,
        9,
        4,
    )
    assert_same(
        lax.conv_with_general_padding(x, sample(2, 3, 2, 2), (1, 1), ((1, 0), (0, 1)), (2, 1), (1, 2)),
        jax_lax.conv_with_general_padding(x, sample(2, 3, 2, 2), (1, 1), ((1, 0), (0, 1)), (2, 1), (1, 2)),
    )


def test_conv_errors():
    x, w = sample(1, 3, 5, 5), sample(2, 4, 3, 3)
    with pytest.raises(
        ShapeError,
        match=r"axis 1 of the input has 3 channels, axis 1 of the kernel 4.*\(1, 3, 5, 5\), kernel \(2, 4, 3, 3\)",
    ):
        lax.conv(x, w, (1, 1), "SAME")
    with pytest.raises(ArgumentError, match="padding must be 'SAME'"):
        lax.conv(x, w[:, :3], (1, 1), "FULL")
    with pytest.raises(ArgumentError, match="window_strides must have one entry for each of the 2"):
        lax.conv(x, w[:, :3], (1, 1, 1), "SAME")
    with pytest.raises(ArgumentError, match="strings of 4 different letters"):
        lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO"))
    with pytest.raises(DtypeError, match="the input is float32, the kernel float16"):
        lax.conv(x, w[:, :3].astype(np.float16), (1, 1), "SAME")
    with pytest.raises(ArgumentError, match="not defined with lhs_dilation"):
        lax.conv_general_dilated(x, w[:, :3], (1, 1), "SAME", lhs_dilation=(2, 2))


def test_dot_general():
    x, y = sample(2, 3, 4, 5), sample(4, 2, 6, 5, seed=1)
    numbers = (((3,), (3,)), ((0, 2), (1, 0)))
    assert_same(lax.dot_general(x, y, numbers), jax_lax.dot_general(x, y, numbers))
    assert_same(
        lax.dot_general(x.astype(np.float16), y.astype(np.float16), numbers, preferred_element_type=np.float32),
        jax_lax.dot_general(x.astype(np.float16), y.astype(np.float16), numbers, preferred_element_type=np.float32),
    )
    with pytest.raises(ShapeError, match="contracting axis 1 of lhs has size 3, axis 1 of rhs has size 2"):
        lax.dot_general(x, y, (((1,), (1,)), ((), ())))


# ---- windows ---------------------------------------------------------------------------------------------------

WINDOWS = {  # shape, window, strides, padding, options
    "plain": ((2, 6, 7), (1, 2, 3), (1, 2, 3), "VALID", {}),
    "overlapping": ((1, 6, 7), (1, 3, 3), (1, 1, 2), "SAME", {}),
    "padding": ((5, 4), (2, 3), (1, 2), ((1, 0), (2, 1)), {}),
    "dilations": ((6, 5), (2, 2), (2, 1), ((0, 1), (1, 1)), {"base_dilation": (2, 1), "window_dilation": (1, 3)}),
    "identity": ((3, 4), (1, 1), (1, 1), "VALID", {}),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("op", ["add", "max", "min", "mul"])
def test_reduce_window(name, op):
    shape, window, strides, padding, options = WINDOWS[name]
    x = sample(*shape)
    init = {"add": 0.0, "max": -np.inf, "min": np.inf, "mul": 1.0}[op]
    ours = lambda x: lax.reduce_window(x, init, getattr(lax, op), window, strides, padding, **options)
    theirs = lambda x: jax_lax.reduce_window(x, init, getattr(jax_lax, op), window, strides, padding, **options)
    wanted = theirs(x)
    assert_same(ours(x), wanted)
    if op == "mul" or name == "dilations":
        return
    distinct = np.random.RandomState(5).permutation(x.size).reshape(shape).astype(np.float32)
    weights = sample(*wanted.shape, seed=3)
    finite = lambda y, m: m.where(m.isfinite(y), y, 0)
    for values in (distinct, x):  # with ties the first extremum takes the gradient
        assert_same(
            ftiny.grad(lambda x: (finite(ours(x), fnp) * weights).sum())(values),
            jax.grad(lambda x: (finite(theirs(x), jnp) * weights).sum())(values),
        )


def test_reduce_window_of_any_function():
    x = sample(4, 5)
    assert_same(
        lax.reduce_window(x, 0.0, lambda a, b: a + 2 * b - b, (2, 2), (1, 2), "SAME"),
        jax_lax.reduce_window(x, 0.0, jax_lax.add, (2, 2), (1, 2), "SAME"),
    )
    assert_same(
        lax.reduce_window(x, 3.0, lax.add, (2, 2), (1, 1), "VALID"),
        np.asarray(jax_lax.reduce_window(x, 0.0, jax_lax.add, (2, 2), (1, 1), "VALID")) + 3,
    )
    assert_same(
        lax.reduce_window(x.astype(np.int32), np.int32(-99), lax.max, (2, 2)),
        jax_lax.reduce_window(x.astype(np.int32), np.int32(-99), jax_lax.max, (2, 2), (1, 1), "VALID"),
    )
    with pytest.raises(ShapeError, match="window_dimensions .* must have one entry for each axis"):
        lax.reduce_window(x, 0.0, lax.add, (2,))


def test_reduce():
    x = sample(3, 4, 5)
    assert_same(lax.reduce(x, 0.0, lax.add, (0, 2)), x.sum((0, 2)))
    assert_same(lax.reduce(x, 2.0, lax.max, (1,)), np.maximum(x.max(1), 2))
    assert_same(lax.reduce(x, 0.0, lambda a, b: a + b, (0, 1)), x.sum((0, 1)))
    assert_same(lax.reduce(x > 0, False, lax.bitwise_or, (0,)), (x > 0).any(0))
    assert_same(lax.reduce_xor(x.astype(np.int32), (1,)), np.bitwise_xor.reduce(x.astype(np.int32), 1))


@pytest.mark.parametrize("size", [0, 1, 2, 5, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(size, reverse):
    x = np.random.RandomState(0).uniform(0.5, 1.5, (3, size)).astype(np.float32)
    assert_same(
        lax.associative_scan(fnp.multiply, x, reverse=reverse, axis=1),
        jax_lax.associative_scan(jnp.multiply, x, reverse=reverse, axis=1),
    )
    affine = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])
    for ours, theirs in zip(
        lax.associative_scan(affine, (x, x + 1), axis=-1), jax_lax.associative_scan(affine, (x, x + 1), axis=-1)
    ):
        assert_same(ours, theirs)


# ---- slices, gather, bits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [(0, 0), (1, 2), (5, 9), (-1, -2), (-9, 0)])
def test_dynamic_slices(start):
    x, update = sample(4, 6), sample(2, 3, seed=1)
    for traced in (False, True):
        run = ftiny.jit if traced else (lambda f: f)
        assert_same(
            run(lambda i, j: lax.dynamic_slice(x, (i, j), (2, 3)))(*start), jax_lax.dynamic_slice(x, start, (2, 3))
        )
        assert_same(
            run(lambda i, j: lax.dynamic_update_slice(x, update, (i, j)))(*start),
            jax_lax.dynamic_update_slice(x, update, start),
        )
    assert_same(
        lax.dynamic_index_in_dim(x, start[0], 0, keepdims=False),
        jax_lax.dynamic_index_in_dim(x, start[0], 0, keepdims=False),
    )
    assert_same(
        lax.dynamic_update_index_in_dim(x, update[0].repeat(2), start[0], 0),
        jax_lax.dynamic_update_index_in_dim(x, update[0].repeat(2), start[0], 0),
    )
    assert_same(lax.dynamic_slice_in_dim(x, start[1], 2, 1), jax_lax.dynamic_slice_in_dim(x, start[1], 2, 1))


def test_gather_and_scatter():
    x, indices = sample(5, 6), np.array([[0, 1], [4, 9], [2, 3]], np.int32)
    dims = dict(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0, 1))
    for mode in ("clip", "fill"):
        assert_same(
            lax.gather(x, indices, lax.GatherDimensionNumbers(**dims), (1, 2), mode=mode),
            jax_lax.gather(x, indices, jax_lax.GatherDimensionNumbers(**dims), (1, 2), mode=mode),
        )
    updates = sample(3, 2, seed=1)
    dims = dict(update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0, 1))
    for name in ("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"):
        for mode in ("clip", "fill"):
            assert_same(
                getattr(lax, name)(x, indices, updates, lax.ScatterDimensionNumbers(**dims), mode=mode),
                getattr(jax_lax, name)(x, indices, updates, jax_lax.ScatterDimensionNumbers(**dims), mode=mode),
            )


@pytest.mark.parametrize(
    "source,target",
    [("float32", "int32"), ("float32", "uint8"), ("int16", "float32"), ("uint8", "uint16"), ("float16", "int16")],
)
def test_bitcast(source, target):
    x = np.arange(8).astype(source).reshape(4, 2)
    assert_same(lax.bitcast_convert_type(x, target), jax_lax.bitcast_convert_type(x, target))


def test_structure():
    x = sample(3, 4)
    assert_same(lax.pad(x, -1.0, ((1, 0, 2), (-1, 2, 0))), jax_lax.pad(x, np.float32(-1), ((1, 0, 2), (-1, 2, 0))))
    assert_same(lax.broadcast(x, (2,)), np.stack([x, x]))
    assert_same(lax.broadcast_in_dim(x, (3, 2, 4), (0, 2)), np.broadcast_to(x[:, None], (3, 2, 4)))
    assert_same(lax.reshape(x, (2, 6), (1, 0)), x.T.reshape(2, 6))
    assert_same(lax.slice(x, (0, 1), (3, 4), (2, 1)), x[::2, 1:])
    assert_same(lax.slice_in_dim(x, 1, None, 2, axis=1), x[:, 1::2])
    assert_same(lax.index_in_dim(x, -1, 1), x[:, -1:])
    assert_same(lax.index_take(x, (np.array([0, 2]), np.array([1, 3])), (0, 1)), x[[0, 2], [1, 3]])
    keys, values = lax.sort_key_val(x[0], x[1])
    assert_same(keys, np.sort(x[0]))
    assert_same(values, x[1][np.argsort(x[0], kind="stable")])
    assert_same(
        lax.select_n(np.array([0, 2, 1], np.int32), *(np.full(3, v, np.float32) for v in (5, 6, 7))),
        np.float32([5, 7, 6]),
    )
    assert_same(lax.full((2,), 3), np.int32([3, 3]))
    assert_same(lax.full_like(x, 2), np.full_like(x, 2))
    with pytest.raises(ShapeError, match="does not lie inside axis 1 of size 4"):
        lax.slice(x, (0, 0), (3, 5))


def test_collectives_over_vmap():
    x = sample(4, 3)
    f = lambda m: (
        lambda x: (
            m.psum(x, "i"),
            m.pmean(x, "i"),
            m.pmax(x, "i"),
            m.pmin(x, "i"),
            m.all_gather(x, "i"),
            m.ppermute(x, "i", [(0, 1), (1, 2), (2, 3), (3, 0)]),
            m.axis_index("i") + 0 * x,
            m.pshuffle(x, "i", [3, 2, 1, 0]),
        )
    )
    for ours, theirs in zip(ftiny.vmap(f(lax), axis_name="i")(x), jax.vmap(f(jax_lax), axis_name="i")(x)):
        assert_same(ours, theirs)
    assert float(ftiny.vmap(lambda x: lax.psum({"a": x, "b": 1}, "i")["b"] + 0 * x, axis_name="i")(fnp.ones(4))[0]) == 4


# ---- strictness ------------------------------------------------------------------------------------------------


def test_operands_must_agree():
    x, y = fnp.ones((2, 3)), fnp.ones(3)
    with pytest.raises(ShapeError, match=r"lax.add takes operands of one shape, not \(2, 3\) and \(3,\)"):
        lax.add(x, y)
    with pytest.raises(DtypeError, match="lax.mul takes operands of one dtype, not float32 and int32"):
        lax.mul(x, fnp.ones((2, 3), "int32"))
    with pytest.raises(DtypeError, match="the predicate must be bool"):
        lax.select(x, x, x)
    assert lax.mul(fnp.ones(3, "bfloat16"), 2.0).dtype == fnp.bfloat16
    assert lax.stop_gradient({"a": x})["a"].shape == (2, 3)
    assert float(ftiny.grad(lambda v: v * lax.stop_gradient(v))(3.0)) == 3.0


# ---- the less used functions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error,call,text",
    [
        (ShapeError, lambda x: lax.split(x, (1, 1)), r"the sizes \(1, 1\) add up to 2, but axis 0 has size 3"),
        (ShapeError, lambda x: lax.tile(x, (2,)), r"tile: 1 numbers in reps for an array of shape \(3, 4\)"),
        (ShapeError, lambda x: lax.collapse(x, 1, 0), r"collapse: axes 1 to 0 of shape \(3, 4\)"),
        (ShapeError, lambda x: lax.broadcast_to_rank(x, 1), r"of shape \(3, 4\) has more than 1 axes"),
        (ArgumentError, lambda x: lax.stack([]), "lax.stack needs at least one array"),
        (DtypeError, lambda x: lax.mulhi(x, x), "lax.mulhi takes integers, not float32"),
        (ArgumentError, lambda x: lax.reduce_precision(x, 0, 3), "exponent_bits must be at least 1"),
        (ShapeError, lambda x: lax.ragged_dot(x, x, x), r"ragged_dot takes lhs \(m, k\), rhs \(g, k, n\)"),
        (ShapeError, lambda x: lax.rng_bit_generator(x, (2,)), "the key must be four uint32"),
        (ArgumentError, lambda x: lax.platform_dependent(x, tpu=fnp.sin), r"only for \['tpu'\]; give .*default="),
    ],
)
def test_messages_of_less_used_functions(error, call, text):
    with pytest.raises(error, match=text):
        call(sample(3, 4))


def test_dtype_and_enums():
    assert lax.dtype(1.0) == lax.dtype("float32") == lax.dtype(np.float32) == np.float32
    assert lax.dtype(sample(2).astype(np.int8)) == np.int8
    x, y = sample(2, 3), sample(3, 4)
    assert_same(lax.dot(x, y, precision=lax.Precision.HIGHEST), x @ y)
    dims = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
    indices = np.array([[1], [9]], np.int32)
    for mode, name in ((lax.GatherScatterMode.CLIP, "clip"), (lax.GatherScatterMode.FILL_OR_DROP, "fill")):
        assert_same(lax.gather(x, indices, dims, (1, 3), mode=mode), lax.gather(x, indices, dims, (1, 3), mode=name))


def test_reduced_precision_passes_the_gradient():
    assert float(ftiny.grad(lambda x: lax.reduce_precision(x, 5, 10) ** 2)(1.5)) == 3.0


def test_optimization_barrier_of_a_tree():
    tree = {"a": sample(3), "b": (2.0, None)}
    found = ftiny.jit(lax.optimization_barrier)(tree)
    assert_same(found["a"], tree["a"])
    assert found["b"][1] is None and float(found["b"][0]) == 2.0
    assert "barrier" in str(ftiny.make_jaxpr(lax.optimization_barrier)(tree))


def test_rng_bit_generator_counts():
    key = np.array([1, 2, 0xFFFFFFFF, 0], np.uint32)
    following, bits = lax.rng_bit_generator(key, (100,))
    assert following.tolist() == [1, 2, 0, 1]
    again = lax.rng_bit_generator(following, (100,))[1]
    assert len({*bits.tolist(), *again.tolist()}) == 200
