"""Linear algebra beyond the rows of the table: messages, NaN in the place of exceptions, batches, hard matrices."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import numpy as np
import oracle  # noqa: F401  (sets the environment of jax before it is imported)
import pytest
from primitive_rules import check_factors, program

import ftiny
import ftiny.lax
import ftiny.numpy as jnp
from ftiny import factorizations
from ftiny import factorizations_host as host
from ftiny.errors import ArgumentError, DtypeError, RuleError, ShapeError
from ftiny.scipy import linalg as scipy_linalg

linalg = jnp.linalg


@pytest.fixture(autouse=True)
def on_the_interpreter():
    """Tests run on the numpy device unless they choose another."""
    with ftiny.device("numpy"):
        yield


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# ---- messages -----------------------------------------------------------------------------------------------------

TALL, VECTOR = np.ones((3, 2), np.float32), np.ones(3, np.float32)


@pytest.mark.parametrize("call, error, words", [
    (lambda: linalg.inv(TALL), ShapeError, ("linalg.inv", "square", "(3, 2)")),
    (lambda: linalg.eigh(VECTOR), ShapeError, ("linalg.eigh", "matrices", "(3,)")),
    (lambda: linalg.cholesky(np.eye(2, dtype=np.float16)), DtypeError, ("linalg.cholesky", "float16", ".astype")),
    (lambda: linalg.solve(np.eye(2), VECTOR), ShapeError, ("linalg.solve", "(2, 2)", "(3,)")),
    (lambda: linalg.qr(TALL, mode="economic"), ArgumentError, ("linalg.qr", "'reduced'", "'economic'")),
    (lambda: linalg.eigh(np.eye(2), UPLO="X"), ArgumentError, ("linalg.eigh", "UPLO", "'X'")),
    (lambda: linalg.norm(TALL, "inf"), ArgumentError, ("linalg.norm", "'inf'", "'nuc'")),
    (lambda: linalg.norm(VECTOR, "fro"), ArgumentError, ("linalg.norm", "'fro'", "vector")),
    (lambda: linalg.norm(np.ones((2, 2, 2)), 1), ShapeError, ("linalg.norm", "(2, 2, 2)", "axis=")),
    (lambda: linalg.matrix_power(np.eye(2), 0.5), ArgumentError, ("linalg.matrix_power", "0.5")),
    (lambda: linalg.multi_dot([TALL, TALL]), ShapeError, ("linalg.multi_dot", "2 columns", "3 rows")),
    (lambda: linalg.pinv(TALL, 0.1, rcond=0.1), ArgumentError, ("linalg.pinv", "rcond", "rtol")),
    (lambda: linalg.lstsq(np.ones((2, 2, 2)), VECTOR), ShapeError, ("linalg.lstsq", "(2, 2, 2)", "vmap")),
    (lambda: linalg.cross(np.ones(2), np.ones(2)), ShapeError, ("linalg.cross", "size 2")),
    (lambda: linalg.tensorsolve(np.ones((2, 3)), np.ones(2)), ShapeError, ("linalg.tensorsolve", "(2, 3)")),
    (lambda: linalg.tensorinv(np.ones((2, 3)), 1), ShapeError, ("linalg.tensorinv", "ind=1")),
    (lambda: scipy_linalg.solve(np.eye(2), VECTOR, assume_a="banded"), ArgumentError, ("assume_a", "'banded'")),
    (lambda: scipy_linalg.solve_triangular(np.eye(3), VECTOR, trans=3), ArgumentError, ("trans", "3")),
    (lambda: scipy_linalg.qr(TALL, pivoting=True), ArgumentError, ("scipy.linalg.qr", "pivoting")),
    (lambda: scipy_linalg.eigh(np.eye(2), np.eye(2)), ArgumentError, ("scipy.linalg.eigh", "cholesky(B)")),
    (lambda: scipy_linalg.hadamard(6), ArgumentError, ("power of 2", "6")),
    (lambda: scipy_linalg.hilbert(0), ArgumentError, ("scipy.linalg.hilbert", "positive")),
    (lambda: scipy_linalg.block_diag(np.ones((1, 1, 1))), ShapeError, ("argument 0", "(1, 1, 1)")),
    (lambda: ftiny.lax.linalg.triangular_solve(np.eye(2), np.ones((2, 3))), ShapeError, ("(2, 3)", "2 columns")),
])
def test_messages(call, error, words):
    """A message names the function, the argument and the shapes, and the user's line."""
    with pytest.raises(error) as found:
        call()
    for word in (*words, "test_linalg.py"):
        assert word in str(found.value)


@pytest.mark.parametrize("function, shape", [
    (lambda a: linalg.qr(a, mode="complete").Q, (3, 2)),
    (lambda a: linalg.svd(a).U, (3, 2)),
    (lambda a: jnp.abs(linalg.eig(a).eigenvectors), (2, 2)),
])
def test_vectors_that_are_free_have_no_derivative(function, shape):
    """What is not determined by the matrix raises, with a way out."""
    with pytest.raises(RuleError, match="free to turn|eigvals"):
        ftiny.grad(lambda a: jnp.sum(function(a)))(normal(*shape))


# ---- values that have no factors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["numpy", "opencl"])
def test_one_bad_matrix_of_a_batch_is_nan_alone(device, request):
    """Nothing raises, eager or compiled, and the other matrices are not touched."""
    on = request.getfixturevalue("opencl") if device == "opencl" else device
    definite = np.stack([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]]).astype(np.float32)
    singular = np.stack([np.eye(2), np.ones((2, 2))]).astype(np.float32)
    broken = np.stack([np.eye(2), np.full((2, 2), np.nan)]).astype(np.float32)
    zero = np.stack([np.eye(2), np.zeros((2, 2))]).astype(np.float32)
    b = np.ones((2, 1), np.float32)
    for function, batch in [
        (linalg.cholesky, definite), (linalg.inv, singular), (lambda a: linalg.solve(a, b), singular),
        (lambda a: linalg.svd(a).U, broken), (lambda a: linalg.eigh(a).eigenvectors, broken),
        (lambda a: linalg.eig(a).eigenvalues, broken), (linalg.pinv, broken),
        (lambda a: scipy_linalg.solve_triangular(a, b), zero),
    ]:
        for run in (function, ftiny.jit(function)):
            with ftiny.device(on):
                good, bad = np.asarray(run(batch))
            assert np.isfinite(good).all()
            assert np.isnan(bad).any()


def test_singular_determinants():
    """A singular matrix has a determinant, a logarithm of -inf, and a gradient of the determinant: its cofactors."""
    a = np.arange(16.0).reshape(4, 4) ** 2
    a[3] = a[0] + a[1]  # rank 3
    assert abs(float(linalg.det(a))) < 1e-8
    sign, logarithm = linalg.slogdet(np.ones((3, 3)))
    assert (float(sign), float(logarithm)) == (0.0, -np.inf)
    cofactors = [[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(4)]
                 for i in range(4)]
    np.testing.assert_allclose(ftiny.jit(ftiny.grad(linalg.det))(a), cofactors, 1e-6, 1e-6)
    np.testing.assert_allclose(ftiny.grad(linalg.det)(np.zeros((5, 5))), np.zeros((5, 5)))


def test_norm_of_condition_without_inverse():
    """A singular matrix has an infinite condition number in every norm."""
    assert [float(linalg.cond(np.zeros((2, 2)), order)) for order in (1, np.inf)] == [np.inf, np.inf]


# ---- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3, 3), (2, 0, 0)])
def test_batches_and_matrices_of_size_zero(shape):
    """Empty batches and empty matrices give empty results, values and derivatives."""
    a = np.zeros(shape, np.float32)
    for function in (
        linalg.cholesky, linalg.inv, linalg.det, linalg.eigvalsh, linalg.svdvals, linalg.pinv, scipy_linalg.expm,
        lambda a: linalg.qr(a).R, lambda a: linalg.slogdet(a).logabsdet, lambda a: scipy_linalg.lu(a)[1],
        lambda a: jnp.real(linalg.eigvals(a)), lambda a: linalg.solve(a, a), lambda a: linalg.svd(a, hermitian=True).U,
        lambda a: scipy_linalg.lu_solve(scipy_linalg.lu_factor(a), a),
    ):
        assert function(a).shape[:1] == shape[:1]
        assert ftiny.grad(lambda a: jnp.sum(function(a)))(a).shape == shape  # noqa: B023


def test_vectors_and_matrices_on_the_right():
    """As in numpy 2 a right side of one axis is a vector; the solvers of scipy take batches of vectors too."""
    a, b = normal(4, 3, 3) + 4 * np.eye(3), normal(4, 3)
    np.testing.assert_allclose(linalg.solve(a, b[0]), np.linalg.solve(a, np.tile(b[0], (4, 1))[..., None])[..., 0])
    wanted = np.linalg.solve(np.triu(a), b[..., None])[..., 0]
    np.testing.assert_allclose(scipy_linalg.solve_triangular(a, b), wanted, 1e-10)
    wanted = np.linalg.solve(a, b[..., None])[..., 0]
    np.testing.assert_allclose(scipy_linalg.lu_solve(scipy_linalg.lu_factor(a), b), wanted, 1e-10)


def test_a_mapped_right_side_is_solved_with_one_factorisation():
    """`vmap` over right sides alone makes columns of them."""
    a, b = normal(3, 3) + 4 * np.eye(3), normal(5, 3)
    mapped = ftiny.vmap(linalg.solve, in_axes=(None, 0))
    np.testing.assert_allclose(mapped(a, b), np.linalg.solve(a, b.T).T, 1e-10)
    assert "[3,3]" in str(ftiny.make_jaxpr(mapped)(a, b)) and "[5,3,3]" not in str(ftiny.make_jaxpr(mapped)(a, b))


# ---- derivatives --------------------------------------------------------------------------------------------------


def check_second_order(function, a: np.ndarray, tolerance: float = 1e-5) -> None:
    """The derivative of the gradient in one direction is the central difference of the gradient."""
    gradient, direction = ftiny.jit(ftiny.grad(function)), normal(*a.shape, seed=7)
    _, found = ftiny.jvp(gradient, (a,), (direction,))
    step = 1e-5
    wanted = (np.asarray(gradient(a + step * direction)) - np.asarray(gradient(a - step * direction))) / (2 * step)
    np.testing.assert_allclose(found, wanted, tolerance, tolerance * np.abs(wanted).max())


def test_second_derivatives_where_jax_has_none():
    """Eigenvalues of general matrices, wide QR, and determinants by cofactors, in batches."""
    a = normal(2, 4, 4) + 5 * np.diag(np.arange(4))
    check_second_order(lambda a: jnp.sum(jnp.sin(jnp.real(linalg.eigvals(a)))), a)
    check_second_order(lambda a: jnp.sum(jnp.sin(linalg.det(a) / 100)), a)
    check_second_order(lambda a: jnp.sum(jnp.sin(linalg.qr(a).Q)) + jnp.sum(linalg.qr(a).R ** 2), normal(2, 3, 5))
    check_second_order(lambda a: jnp.sum(jnp.sin(linalg.pinv(a))), normal(2, 5, 3))


def test_positive_solves_have_the_derivative_of_the_general_ones():
    """Every element of A counts in the derivative, though only one triangle is read for the value."""
    a = normal(3, 3)
    a, b = a @ a.T + 3 * np.eye(3), normal(3)
    loss = lambda kind: lambda a, b: jnp.sum(jnp.sin(scipy_linalg.solve(a, b, assume_a=kind)))
    for found, wanted in zip(*(ftiny.grad(loss(kind), argnums=(0, 1))(a, b) for kind in ("pos", "gen"))):
        np.testing.assert_allclose(found, wanted, 1e-9)


def test_pseudo_inverse_at_equal_singular_values():
    """Its derivative does not go through those of singular vectors, which are infinite there."""
    found = ftiny.grad(lambda a: jnp.sum(linalg.pinv(a) * np.arange(9.0).reshape(3, 3)))(2 * np.eye(3))
    np.testing.assert_allclose(found, -np.arange(9.0).reshape(3, 3) / 4, 1e-9)
    x, residuals, rank, _ = linalg.lstsq(np.ones((3, 2)), np.array([1.0, 2.0, 3.0]))
    assert int(rank) == 1
    np.testing.assert_allclose(x, [1.0, 1.0], 1e-9)
    np.testing.assert_allclose(residuals, [2.0], 1e-9)


# ---- the algorithms of our own --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 130, 130), (130, 70), (70, 130), (1, 1)])
def test_lu_of_several_panels(shape):
    """P A = L U with multipliers of at most 1, over the edges of the panels."""
    a = normal(*shape)
    factors, pivots, order = host.lu(a)
    k = min(shape[-2:])
    lower, upper = np.tril(factors[..., :k], -1) + np.eye(shape[-2], k), np.triu(factors[..., :k, :])
    assert np.abs(lower).max() <= 1
    np.testing.assert_allclose(lower @ upper, np.take_along_axis(a, order[..., None], -2), 1e-9, 1e-9)
    np.testing.assert_array_equal(host.lu_order(pivots, shape[-2]), order)


def test_lu_of_a_column_of_zeros():
    """A column without a pivot is passed over, as in LAPACK."""
    a = np.array([[0.0, 1.0], [0.0, 2.0]])
    factors, _, order = host.lu(a)
    np.testing.assert_array_equal(np.triu(factors), [[0.0, 1.0], [0.0, 2.0]])
    np.testing.assert_array_equal(order, [0, 1])


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_substitution_in_halves(lower, unit):
    """Triangles larger than a block, where the other triangle holds NaN."""
    n = 150
    triangle = (np.tril if lower else np.triu)(normal(2, n, n) / n) + 2 * np.eye(n)
    other = (np.triu if lower else np.tril)(np.full((n, n), np.nan), 1 if lower else -1)
    b = normal(2, n, 3)
    x = host.substitute(np.where(np.isnan(other), other, triangle), b, lower, unit)
    if unit:
        triangle[:, range(n), range(n)] = 1
    np.testing.assert_allclose(triangle @ x, b, 1e-9, 1e-9)


def test_adjugate_of_every_rank():
    """det(A) inv(A) where there is an inverse, cofactors of rank n - 1, and 0 below that."""
    a = normal(4, 4)
    np.testing.assert_allclose(factorizations.adjugate(jnp.asarray(a)), np.linalg.det(a) * np.linalg.inv(a), 1e-9)
    np.testing.assert_allclose(host.adjugate(np.diag([1.0, 2.0, 3.0, 0.0])), np.diag([0.0, 0.0, 0.0, 6.0]), atol=1e-12)
    np.testing.assert_allclose(host.adjugate(np.diag([1.0, 2.0, 0.0, 0.0])), np.zeros((4, 4)), atol=1e-12)


def test_expm_of_hard_matrices():
    """Large rotations, nilpotent matrices and zeros; NaN where too many squarings would be needed."""
    angle = 100.0
    found = scipy_linalg.expm(np.array([[0.0, -angle], [angle, 0.0]]))
    wanted = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    np.testing.assert_allclose(found, wanted, atol=1e-11)
    np.testing.assert_allclose(scipy_linalg.expm(np.array([[0.0, 1e3], [0.0, 0.0]])), [[1.0, 1e3], [0.0, 1.0]], 1e-9)
    np.testing.assert_array_equal(scipy_linalg.expm(np.zeros((2, 3, 3))), np.tile(np.eye(3), (2, 1, 1)))
    assert np.isnan(np.asarray(scipy_linalg.expm(np.eye(2) * 1e4, max_squarings=3))).all()


def test_tridiagonal_vectors_and_selection():
    """The eigenvectors belong to the tridiagonal matrix, whose eigenvalues can be chosen by number."""
    d, e = normal(5), normal(4, seed=1)
    matrix = np.diag(d) + np.diag(e, 1) + np.diag(e, -1)
    values, vectors = map(np.asarray, scipy_linalg.eigh_tridiagonal(d, e))
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-10)
    some = scipy_linalg.eigh_tridiagonal(d, e, eigvals_only=True, select="i", select_range=(1, 2))
    np.testing.assert_allclose(some, values[1:3])


def test_multi_dot_in_the_cheapest_order():
    """The order of Cormen et al.'s example: (A1 (A2 A3)) ((A4 A5) A6)."""
    splits = linalg._cheapest_splits([30, 35, 15, 5, 10, 20, 25])
    assert (splits[0, 5], splits[0, 2], splits[3, 5]) == (2, 0, 4)


# ---- the primitives -------------------------------------------------------------------------------------------------


def test_a_batch_may_be_sharded_and_a_matrix_may_not():
    """The sharding rules have a letter for each axis of a batch and none for a row or a column."""
    f, a = factorizations, normal(2, 3, 3)

    def everything(a, pivots):
        found = [f.linear_solve(a, a), f.triangular_solve(a, a), f.cholesky(a), f.determinant(a), f.adjugate(a)]
        found += [*f.lu(a), f.lu_order(pivots, 4), *f.qr(a), *f.svd(a), *f.svd(a, compute_uv=False), *f.eigh(a)]
        return [*found, *f.eig(a), *f.eig(a, "none"), *f.slogdet(a)]

    for equation in program(everything, a, np.zeros((2, 3), np.int32)).eqns:
        check_factors(equation)
        assert equation.primitive.factors(*(x.aval for x in equation.inputs), **equation.params).startswith("a?")


# ---- the log ------------------------------------------------------------------------------------------------------


def test_the_log_says_what_runs_on_the_host(opencl):
    """At level 1 a compiled program tells of each factorisation, once, when it is compiled."""
    written = io.StringIO()
    with redirect_stderr(written), ftiny.debug(1), ftiny.device(opencl):
        ftiny.jit(lambda a: linalg.cholesky(a + 4 * np.eye(3, dtype=np.float32)))(np.eye(3, dtype=np.float32))
    assert "on the host: cholesky" in written.getvalue()
