"""ftiny.numpy beyond its rows in op_rows_more.py: messages, results of sizes that values decide, dtypes, files."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny.errors import ArgumentError, DtypeError, IndexOutOfBoundsError, ShapeError, TracerError


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


def assert_same(ours, theirs):
    """Equal arrays, or tuples and lists of them: shapes, dtypes and values."""
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            assert_same(one, other)
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_array_equal(ours, theirs)


VECTOR, MATRIX = np.float32([3, 1, 2]), np.ones((2, 3), np.float32)

MESSAGES = {
    "inplace": (ArgumentError, "put: arrays never change", lambda: fnp.put(VECTOR, 0, 1)),
    "place": (
        ShapeError,
        "shape \\(3,\\) and a mask of shape \\(2,\\)",
        lambda: fnp.place(VECTOR, np.array([True, False]), 1, inplace=False),
    ),
    "fill_diagonal": (ShapeError, "no matrix", lambda: fnp.fill_diagonal(VECTOR, 1, inplace=False)),
    "wrap": (ArgumentError, "wrap=True", lambda: fnp.fill_diagonal(MATRIX, 1, wrap=True, inplace=False)),
    "delete": (IndexOutOfBoundsError, "index 7 is out of bounds", lambda: fnp.delete(VECTOR, np.array([7]))),
    "delete mask": (ShapeError, "a mask needs shape \\(3,\\)", lambda: fnp.delete(VECTOR, np.array([True]))),
    "insert": (ArgumentError, "obj must be an integer", lambda: fnp.insert(VECTOR, 0.5, 1)),
    "trim": (ArgumentError, "trim must be 'f', 'b' or 'fb'", lambda: fnp.trim_zeros(VECTOR, "x")),
    "choose": (IndexOutOfBoundsError, "3 is none of the 2 choices", lambda: fnp.choose(np.array([0, 3]), [1, 2])),
    "partition": (ArgumentError, "kth=3 is out of bounds for axis 0", lambda: fnp.partition(VECTOR, 3)),
    "cumulative": (ArgumentError, "cumulative_sum.*needs axis=", lambda: fnp.cumulative_sum(MATRIX)),
    "packbits": (DtypeError, "packbits takes arrays of bool or int", lambda: fnp.packbits(VECTOR)),
    "unpackbits": (DtypeError, "uint8, not float32", lambda: fnp.unpackbits(VECTOR)),
    "bitorder": (ArgumentError, "bitorder must be", lambda: fnp.packbits(np.array([1]), bitorder="up")),
    "matvec": (ShapeError, "matrices and vectors", lambda: fnp.matvec(VECTOR, VECTOR)),
    "block": (ArgumentError, "unequal depths", lambda: fnp.block([VECTOR, [VECTOR]])),
    "block tuple": (ArgumentError, "not tuples", lambda: fnp.block((VECTOR, VECTOR))),
    "window": (ArgumentError, "must be an integer, not 2.5", lambda: fnp.hanning(2.5)),
    "grid": (ArgumentError, "needs a stop", lambda: fnp.mgrid[2:]),
    "directive": (ArgumentError, "neither 'r', 'c' nor integers", lambda: fnp.r_["x", 1]),
    "triangle": (ShapeError, "needs a matrix", lambda: fnp.tril_indices_from(VECTOR)),
    "cov": (ShapeError, "3 samples of m and 2 of y", lambda: fnp.cov(VECTOR, VECTOR[:2])),
    "weights": (ShapeError, "3 samples need 3 aweights", lambda: fnp.cov(VECTOR, aweights=VECTOR[:2])),
    "gradient": (ShapeError, "axis 0 of shape \\(1,\\) has size 1", lambda: fnp.gradient(VECTOR[:1])),
    "spacings": (ArgumentError, "2 spacings for 1 axes", lambda: fnp.gradient(VECTOR, 1, 2)),
    "bins": (ArgumentError, "bins='auto' is not known", lambda: fnp.histogram(VECTOR, "auto")),
    "histogramdd": (ArgumentError, "bins has 1 entries for 3 axes", lambda: fnp.histogramdd(MATRIX, [2])),
    "polynomial": (ShapeError, "form a vector", lambda: fnp.polyadd(MATRIX, VECTOR)),
    "polyder": (ArgumentError, "must not be negative", lambda: fnp.polyder(VECTOR, -1)),
    "polyfit": (ShapeError, "vectors x and y of one length", lambda: fnp.polyfit(VECTOR, VECTOR[:2], 1)),
    "signature": (ArgumentError, "no signature", lambda: fnp.vectorize(fnp.add, signature="(n->()")),
    "core size": (
        ShapeError,
        "axis 'n' of the signature .* has size 2, elsewhere 3",
        lambda: fnp.vectorize(fnp.dot, signature="(n),(n)->()")(VECTOR, VECTOR[:2]),
    ),
    "core result": (
        ShapeError,
        "result 0 of shape \\(3,\\) has not the axes",
        lambda: fnp.vectorize(fnp.add, signature="(n),(n)->()")(VECTOR, VECTOR),
    ),
    "by name": (ArgumentError, "give the argument 'y' by position", lambda: fnp.vectorize(lambda x, y: x)(1, y=2)),
    "piecewise": (
        ArgumentError,
        "1 conditions take as many functions",
        lambda: fnp.piecewise(VECTOR, [VECTOR > 1], []),
    ),
    "ufunc": (ArgumentError, "needs 2 arguments and 1 result", lambda: fnp.frompyfunc(fnp.sin, 1, 1).reduce(VECTOR)),
    "isdtype": (ArgumentError, "neither a dtype nor one of the kinds", lambda: fnp.isdtype("float32", "real")),
    "isin": (ArgumentError, "method must be", lambda: fnp.isin(VECTOR, VECTOR, method="hash")),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    error, message, call = MESSAGES[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", ["union1d", "intersect1d", "setdiff1d", "setxor1d"])
def test_sets_of_traced_arrays_need_a_size(name):
    with pytest.raises(TracerError, match=f"{name}: .*give size="):
        ftiny.jit(lambda x: getattr(fnp, name)(x, VECTOR))(VECTOR)


@pytest.mark.parametrize(
    "call",
    [fnp.trim_zeros, fnp.roots, lambda x: fnp.delete(VECTOR, x.astype(int)), lambda x: fnp.choose(x.astype(int), [1])],
)
def test_what_decides_a_shape_or_is_checked_must_be_concrete(call):
    with pytest.raises(TracerError):
        ftiny.jit(call)(VECTOR)


X, Y = np.array([3, 1, 3, 5, 2, 2]), np.array([[2, 9], [3, 2]])
CONCRETE = {
    "union1d": lambda n: n.union1d(X, Y),
    "intersect1d": lambda n: n.intersect1d(X, Y, return_indices=True),
    "setdiff1d": lambda n: [n.setdiff1d(X, Y), n.setdiff1d(X, Y, assume_unique=True), n.setdiff1d(X[:0], Y)],
    "setxor1d": lambda n: [n.setxor1d(X, Y), n.setxor1d(X[:0], Y[:0])],
    "unique_all": lambda n: n.unique_all(np.float32([np.nan, 1, np.nan, 1])),
    "unique_counts": lambda n: n.unique_counts(Y),
    "choose": lambda n: n.choose(np.array([[1, 0], [0, 2]]), np.arange(6).reshape(3, 2)),
    "mask_indices": lambda n: n.mask_indices(3, n.tril),
    "polydiv": lambda n: n.polydiv(np.float32([1, -3, 2]), np.float32([1, -1]), trim_leading_zeros=True),
    "trim_zeros": lambda n: [n.trim_zeros(np.array([0, 0])), n.trim_zeros(np.array([0, 1, 0]), "")],
    "insert nothing": lambda n: n.insert(VECTOR, np.zeros(0, np.int32), np.zeros(0, np.float32)),
    "delete nothing": lambda n: n.delete(VECTOR, np.zeros(0, np.int32)),
    "place": lambda n: n.place(X, X > 2, np.array([7, 8]), inplace=False),
}


@pytest.mark.parametrize("name", CONCRETE)
def test_results_whose_size_depends_on_values(name):
    assert_same(
        ftiny.tree.map(lambda x: np.asarray(x).astype(np.float32), list(CONCRETE[name](fnp))),
        ftiny.tree.map(lambda x: np.asarray(x).astype(np.float32), list(CONCRETE[name](jnp))),
    )


def test_arrays_whose_shapes_do_not_broadcast_are_not_equivalent():
    assert not fnp.array_equiv(VECTOR, VECTOR[:2])


def test_unique_counts_stop_where_size_cuts():
    values, counts = fnp.unique(np.int32([1, 1, 2, 3, 3]), return_counts=True, size=2)
    assert_same([values, counts], [np.int32([1, 2]), np.int32([2, 1])])


def test_without_numbers_there_is_no_median():
    nothing = np.float32([[np.nan, np.nan], [1, np.nan]])
    assert_same(fnp.nanmedian(nothing, axis=1), np.float32([np.nan, 1]))


# ---- dtypes ---------------------------------------------------------------------------------------------------


def test_a_dtype_is_a_function_and_stays_a_dtype():
    assert_same(fnp.float32(3), np.float32(3))
    assert_same(fnp.int8([1, 2]), np.int8([1, 2]))
    assert_same(ftiny.jit(lambda x: x.astype(fnp.float16) * fnp.float16(2))(VECTOR), np.float16([6, 2, 4]))
    assert fnp.float32 == np.dtype("float32") == fnp.float32 and {np.dtype("int8"): 1}[fnp.int8] == 1
    assert np.zeros(2, fnp.bfloat16).dtype == fnp.bfloat16 == fnp.zeros(2, fnp.bfloat16).dtype
    assert not fnp.float64 == float and fnp.float64 != None and fnp.zeros(2, fnp.float64).dtype == fnp.double  # noqa: E711, E721, SIM201
    assert (str(fnp.bool), repr(fnp.csingle), fnp.uint8.itemsize) == ("bool", "ftiny.numpy.complex64", 1)
    assert pickle.loads(pickle.dumps(fnp.float32)) == fnp.single
    assert fnp.promote_types(fnp.int8, "float16") == fnp.float16


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "bfloat16", "float32", "float64", "complex64"])
def test_kinds(dtype):
    for category in (
        "generic",
        "number",
        "integer",
        "signedinteger",
        "unsignedinteger",
        "inexact",
        "floating",
        "complexfloating",
        "float32",
        "bfloat16",
    ):
        found = fnp.issubdtype(getattr(fnp, dtype), getattr(fnp, category))
        assert found == jnp.issubdtype(getattr(jnp, dtype), getattr(jnp, category)), category
    for kind in (
        "bool",
        "signed integer",
        "unsigned integer",
        "integral",
        "real floating",
        "complex floating",
        "numeric",
        "float32",
        ("bool", "int8"),
    ):
        assert fnp.isdtype(dtype, kind) == jnp.isdtype(jnp.dtype(dtype), kind), kind
    for other in ("int32", "float32", "complex64"):
        assert fnp.can_cast(dtype, other) == jnp.can_cast(jnp.dtype(dtype), jnp.dtype(other)), other


def test_questions_about_values():
    assert fnp.iscomplexobj(fnp.zeros(2, "complex64")) and fnp.iscomplexobj([1, 2j]) and not fnp.iscomplexobj(1.0)
    assert fnp.isrealobj(VECTOR) and not fnp.isrealobj(1j)
    assert (
        fnp.iterable(fnp.zeros(2)) and fnp.iterable("ab") and not fnp.iterable(fnp.float32(1)) and not fnp.iterable(3)
    )


# ---- functions, paths -----------------------------------------------------------------------------------------


def test_vectorize_hands_on_what_is_excluded():
    calls = []

    def function(x, label, *, scale):
        calls.append((x.shape, label, scale))
        return x * scale

    doubled = fnp.vectorize(function, excluded={1, "scale"})(MATRIX, "label", scale=2)
    assert_same(doubled, 2 * MATRIX)
    assert calls == [((), "label", 2)]


def test_fromfunction_hands_on_keywords():
    assert_same(fnp.fromfunction(lambda i, k: i * k, 3, k=2.0), np.float32([0, 2, 4]))


def test_a_ufunc_starts_from_its_identity():
    add = fnp.frompyfunc(lambda x, y: x + y, 2, 1, identity=0)
    assert_same(add.reduce(np.zeros((0, 2), np.float32)), np.zeros(2, np.float32))
    with pytest.raises(ShapeError, match="of no elements needs initial="):
        fnp.frompyfunc(lambda x, y: x + y, 2, 1).reduce(np.zeros(0, np.float32))


def test_einsum_path_is_the_order_of_einsum():
    steps, text = fnp.einsum_path("ij,jk,kl->il", np.ones((2, 9)), np.ones((9, 9)), np.ones((9, 3)))
    assert steps == [(0, 1), (0, 1)] and "ij,jk->ik   162 multiplications" in text
    assert fnp.einsum_path("ii->i", np.ones((3, 3)))[0] == [(0,)]


# ---- files and text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "complex64", "bool"])
def test_an_array_comes_back_from_a_file(tmp_path, dtype):
    x = fnp.asarray(np.arange(6).reshape(2, 3), dtype)
    fnp.save(tmp_path / "x.npy", x)
    assert_same(fnp.load(tmp_path / "x.npy"), x)


def test_several_arrays_come_back_from_a_file(tmp_path):
    fnp.savez(tmp_path / "both.npz", VECTOR, matrix=fnp.asarray(MATRIX))
    found = fnp.load(tmp_path / "both.npz")
    assert_same([found["arr_0"], found["matrix"]], [VECTOR, MATRIX])


def test_arrays_from_text_and_iterators():
    assert_same(fnp.fromiter((i * i for i in range(9)), fnp.int32, 3), np.int32([0, 1, 4]))
    assert_same(fnp.from_dlpack(VECTOR), VECTOR)
    assert (
        fnp.array_repr(VECTOR) == "Array([3., 1., 2.], dtype=float32)" and fnp.array_str(MATRIX[:1]) == "[[1. 1. 1.]]"
    )
    with fnp.printoptions(precision=2):
        assert fnp.array_str(np.float32([1 / 3])) == "[0.33]"


def test_derivatives_of_sinc_near_zero():
    """Where the quotient sin(a) / a cancels: both precisions, both sides of the switch to the series."""
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-13)):
        x = np.array([0.0, 1e-6, 3e-4, 0.01, 0.15, 0.1591, 0.1592, 0.3, -0.02, 2.5], dtype)
        a = np.pi * x.astype(np.longdouble)
        safe = np.where(a == 0, 1, a)
        value = np.where(a == 0, 1, np.sin(safe) / safe)
        exact = np.where(np.abs(a) < 0.1, -a / 3 + a**3 / 30 - a**5 / 840 + a**7 / 45360,
                         (np.cos(safe) - value) / safe) * np.pi
        np.testing.assert_allclose(fnp.sinc(x), value.astype(dtype), rtol=4 * tolerance)
        slope = ftiny.vmap(ftiny.grad(fnp.sinc))(x)
        np.testing.assert_allclose(slope, exact.astype(dtype), rtol=50 * tolerance, atol=1e-20)
    assert float(ftiny.grad(ftiny.grad(fnp.sinc))(0.0)) == pytest.approx(-np.pi**2 / 3, rel=1e-6)


@pytest.mark.parametrize(
    "optimize", ["auto", "optimal", "greedy", False, True, [(1, 2), (0, 2), (0, 1)], [(0, 1, 3), (0, 1)]]
)
def test_orders_of_einsum(optimize):
    """Any order of the products gives numpy's result."""
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=shape) for shape in ((3, 4), (4, 5), (5, 2), (2, 3))]
    for text in ("ij,jk,kl,lm->im", "ij,jk,kl,li->", "ij,jk,kl,lm->jl"):
        found = fnp.einsum(text, *operands, optimize=optimize)
        np.testing.assert_allclose(found, np.einsum(text, *operands), rtol=1e-12)
    steps, _ = fnp.einsum_path("ij,jk,kl,lm->im", *operands, optimize=optimize)
    assert len(steps) == 3 and all(len(step) == 2 for step in steps)


def test_einsum_multiplies_in_a_good_order():
    """A chain whose good order is from the right: 3 contractions, none with the large square."""
    a, b = np.ones((64, 64), np.float32), np.ones((64, 1), np.float32)
    program = str(ftiny.make_jaxpr(lambda *xs: fnp.einsum("ij,jk,kl,lm->im", *xs))(a, a, a, b))
    assert program.count("contract") == 3 and "f32[64,64] = contract" not in program
    with pytest.raises(ArgumentError, match="strategy of opt_einsum.*not 'best'"):
        fnp.einsum("ij,jk,kl->il", a, a, a, optimize="best")
