"""Rows of the operation table: ftiny.numpy.linalg and ftiny.scipy.linalg.

Matrices are made well conditioned inside the calls. Factors that are not unique (the signs of vectors) are compared by
their absolute values or through products.
"""

from __future__ import annotations

import numpy as np
from op_table import row

SQUARE = "f32[3,3]; f32[2,4,4]; f64[4,4]; f32[2,0,3,3]; c64[3,3]"


def regular(m, x):
    """A matrix far from singular."""
    return x + 5 * m.numpy.eye(x.shape[-1], dtype=x.dtype) + m.numpy.tril(x)


def positive(m, x):
    """A Hermitian positive definite matrix with distinct eigenvalues."""
    n = x.shape[-1]
    ramp = m.numpy.asarray(np.diag(np.arange(1.0, n + 1)).astype(np.dtype(x.dtype)))
    return m.numpy.matmul(x, m.numpy.conj(m.numpy.swapaxes(x, -1, -2))) + ramp


def spread(m, x):
    """A matrix of any shape with distinct singular values."""
    rows, columns = x.shape[-2:]
    ramp = np.zeros((rows, columns))
    ramp[range(min(rows, columns)), range(min(rows, columns))] = 3.0 + 2.0 * np.arange(min(rows, columns))
    return 0.5 * x + m.numpy.asarray(ramp.astype(np.dtype(x.dtype)))


def linalg(name: str, samples: str, call, **options) -> None:
    """A row of ftiny.numpy.linalg."""
    row(f"linalg.{name}", samples, call, **{"tolerance": 3e-5, "derivative_tolerance": 1e-8, **options})


# ---- numpy.linalg: solving --------------------------------------------------------------------------------------

linalg("solve", "f32[3,3] f32[3]; f32[2,4,4] f32[4,2]; f32[4,4] f32[2,4,3]; f64[3,3] f32[3]; c64[3,3] f32[3,2]",
       lambda m, a, b: m.numpy.linalg.solve(regular(m, a), b))
linalg("solve:integers", "i32[3,3] i32[3]; f32[3,0,0] f32[3,0,2]",
       lambda m, a, b: m.numpy.linalg.solve(a + 9 * m.numpy.eye(a.shape[-1], dtype=a.dtype), b))
linalg("inv", SQUARE + "; i32[3,3]", lambda m, a: m.numpy.linalg.inv(regular(m, a)))
linalg("tensorsolve", "f32[2,3,6] f32[2,3]",
       lambda m, a, b: m.numpy.linalg.tensorsolve(a + m.numpy.reshape(8 * m.numpy.eye(6), (2, 3, 6)), b))
linalg("tensorsolve:axes", "f32[2,6,3] f32[6]",
       lambda m, a, b: m.numpy.linalg.tensorsolve(
           a + m.numpy.moveaxis(m.numpy.reshape(8 * m.numpy.eye(6), (6, 2, 3)), 0, 1), b, axes=(0, 2)))
linalg("tensorinv", "f32[4,2,2]",
       lambda m, a: m.numpy.linalg.tensorinv(a + m.numpy.reshape(8 * m.numpy.eye(4), (4, 2, 2)), ind=1))

# ---- numpy.linalg: factors ----------------------------------------------------------------------------------------

linalg("cholesky", SQUARE, lambda m, a: m.numpy.linalg.cholesky(positive(m, a)))
linalg("cholesky:upper", "f32[3,3]; c64[2,3,3]",
       lambda m, a: m.numpy.linalg.cholesky(positive(m, a), upper=True, symmetrize_input=False))
linalg("qr", "f32[3,3]; f32[2,5,3]; c64[4,3]; f32[3,0]", lambda m, a: m.numpy.linalg.qr(spread(m, a)))
linalg("qr:tall", "f32[5,3]; f64[4,3]", lambda m, a: m.numpy.linalg.qr(spread(m, a)))
linalg("qr:complete", "f32[5,3]; f32[2,3,5]; c64[4,3]",
       lambda m, a: m.numpy.linalg.qr(spread(m, a), mode="complete"), grad=False)
linalg("qr:r", "f32[5,3]; f32[3,3]", lambda m, a: m.numpy.linalg.qr(spread(m, a), mode="r"))


def svd_parts(m, a, **options):
    """What is unique in a singular value decomposition."""
    u, s, vh = m.numpy.linalg.svd(spread(m, a), **options)
    k = s.shape[-1]
    product = m.numpy.matmul(u[..., :k] * s[..., None, :] ** 2, vh[..., :k, :])
    return m.numpy.abs(u[..., :k]), s, m.numpy.abs(vh[..., :k, :]), product


for shape in ("3,3", "5,3", "3,5"):
    linalg(f"svd:{shape}", f"f32[{shape}]; f32[2,{shape}]; c64[{shape}]",
           lambda m, a: svd_parts(m, a, full_matrices=False), derivative_tolerance=1e-7)
linalg("svd", "f32[4,4]; f32[5,3]; f32[2,3,5]", lambda m, a: svd_parts(m, a))
linalg("svd:hermitian", "f32[4,4]; c64[3,3]; f32[2,3,3]",
       lambda m, a: m.numpy.linalg.svd(positive(m, a) - 2 * m.numpy.eye(a.shape[-1]), compute_uv=False, hermitian=True))
linalg("svdvals", "f32[4,3]; f32[2,3,4]; c64[3,3]; f32[0,3]", lambda m, a: m.numpy.linalg.svdvals(spread(m, a)))


def eigh_parts(m, a, uplo=None, symmetrize=True):
    """What is unique in an eigendecomposition of a symmetric matrix."""
    values, vectors = m.numpy.linalg.eigh(positive(m, a), UPLO=uplo, symmetrize_input=symmetrize)
    adjoint = m.numpy.conj(m.numpy.swapaxes(vectors, -1, -2))
    return values, m.numpy.abs(vectors), m.numpy.matmul(vectors * values[..., None, :] ** 2, adjoint)


linalg("eigh", SQUARE, eigh_parts, derivative_tolerance=1e-7)
linalg("eigh:upper", "f32[3,3]; c64[3,3]", lambda m, a: eigh_parts(m, a, "U", False), derivative_tolerance=1e-7)
linalg("eigvalsh", SQUARE, lambda m, a: m.numpy.linalg.eigvalsh(positive(m, a)))


def sorted_eigenvalues(m, a):
    """The eigenvalues in the order of their real parts, where they are distinct."""
    values = m.numpy.linalg.eigvals(a + 6 * m.numpy.asarray(np.diag(np.arange(a.shape[-1])).astype(np.dtype(a.dtype))))
    values = m.numpy.take_along_axis(values, m.numpy.argsort(m.numpy.real(values), axis=-1), axis=-1)
    return m.numpy.real(values), m.numpy.imag(values)


linalg("eigvals", "f32[3,3]; f32[2,4,4]; f64[4,4]", sorted_eigenvalues, smooth=False, derivative_tolerance=1e-7)


def eig_product(m, a):
    """V W^2 inv(V), the square of the matrix."""
    values, vectors = m.numpy.linalg.eig(a)
    squared = m.numpy.matmul(vectors * values[..., None, :] ** 2, m.numpy.linalg.inv(vectors))
    return squared, m.numpy.sum(m.numpy.abs(vectors) ** 2, axis=-2)


linalg("eig", "f32[3,3]; f32[2,3,3]; c64[3,3]", eig_product, grad=False, tolerance=1e-4)

# ---- numpy.linalg: determinants, least squares --------------------------------------------------------------------

linalg("det", "f32[4,4]; f32[2,5,5]; f32[0,4,4]; c64[4,4]; i32[4,4]", lambda m, a: m.numpy.linalg.det(a))
for n in (1, 2, 3):
    linalg(f"det:{n}", f"f32[{n},{n}]; f32[2,{n},{n}]; c64[{n},{n}]; i32[{n},{n}]", lambda m, a: m.numpy.linalg.det(a))
linalg("slogdet", SQUARE, lambda m, a: m.numpy.linalg.slogdet(regular(m, a)))
linalg("slogdet:negative", "f32[3,3]; f32[2,2,2]", lambda m, a: m.numpy.linalg.slogdet(-regular(m, a)))
linalg("pinv", "f32[4,3]; f32[2,3,4]; c64[3,3]; f32[3,0]", lambda m, a: m.numpy.linalg.pinv(spread(m, a)))
linalg("pinv:rtol", "f32[4,3]; f32[3,3]", lambda m, a: m.numpy.linalg.pinv(spread(m, a), rtol=0.5), grad=False)
linalg("pinv:hermitian", "f32[3,3]; c64[3,3]", lambda m, a: m.numpy.linalg.pinv(positive(m, a), hermitian=True))
linalg("lstsq", "f32[5,3] f32[5]; f32[5,3] f32[5,2]; f32[3,5] f32[3]",
       lambda m, a, b: m.numpy.linalg.lstsq(spread(m, a), b), tolerance=1e-4)
linalg("matrix_rank", "f32[4,3]; f32[2,3,3]; f32[3]; i32[3,3]", lambda m, a: m.numpy.linalg.matrix_rank(a),
       grad=False)
linalg("matrix_rank:deficient", "f32[4,1]; f32[2,3,1]", lambda m, a: m.numpy.linalg.matrix_rank(
    m.numpy.matmul(a, m.numpy.swapaxes(a, -1, -2)), rtol=1e-3), grad=False)

# ---- numpy.linalg: norms ------------------------------------------------------------------------------------------

linalg("norm", "f32[4]; f32[3,4]; f32[2,3,4]; c64[3]; i32[4]; bf16[5]", lambda m, x: m.numpy.linalg.norm(x))
for order in (0, 1, 2, 3, 0.5, -1, np.inf, -np.inf):
    linalg(f"vector_norm:{order}", "f32[4]; f32[3,4]; c64[4]", lambda m, x, order=order: (
        m.numpy.linalg.vector_norm(x, ord=order, axis=-1), m.numpy.linalg.norm(x, order, axis=0, keepdims=True)),
        smooth=order not in (0, 1, np.inf, -np.inf))
linalg("vector_norm", "f32[3,4]; f32[2,3,4]", lambda m, x: (
    m.numpy.linalg.vector_norm(x), m.numpy.linalg.vector_norm(x, axis=(0, 1), keepdims=True)))
for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
    linalg(f"matrix_norm:{order}", "f32[4,3]; f32[2,3,3]; c64[3,3]", lambda m, x, order=order: (
        m.numpy.linalg.matrix_norm(spread(m, x), ord=order),
        m.numpy.linalg.norm(spread(m, x), order, axis=(-1, -2), keepdims=True)),
        smooth=order in ("fro", "nuc", 2, -2))
linalg("cond", "f32[4,3]; f32[2,3,3]", lambda m, x: m.numpy.linalg.cond(spread(m, x)))
for order in (-2, 1, np.inf, "fro"):
    linalg(f"cond:{order}", "f32[3,3]; f32[2,3,3]",
           lambda m, x, order=order: m.numpy.linalg.cond(regular(m, x), order), smooth=False)

# ---- numpy.linalg: products ---------------------------------------------------------------------------------------

for power in (0, 1, 5, -3):
    linalg(f"matrix_power:{power}", "f32[3,3]; f32[2,3,3]" + ("; i32[3,3]<3" if power >= 0 else ""),
           lambda m, a, power=power: m.numpy.linalg.matrix_power(a + 3 * m.numpy.eye(3, dtype=a.dtype), power))
linalg("multi_dot", "f32[3,4] f32[4,2] f32[2,5] f32[5,3]; f32[4] f32[4,5] f32[5]; f32[3,2] f32[2,4]; f32[4] f32[4]",
       lambda m, *xs: m.numpy.linalg.multi_dot(xs))
linalg("matmul", "f32[3,4] f32[4,2]; f32[2,3,4] f32[4]", lambda m, x, y: m.numpy.linalg.matmul(x, y))
linalg("tensordot", "f32[2,3,4] f32[3,4,2]", lambda m, x, y: m.numpy.linalg.tensordot(x, y, axes=2))
linalg("vecdot", "f32[3,4] f32[4]; c64[3] c64[3]", lambda m, x, y: m.numpy.linalg.vecdot(x, y))
linalg("outer", "f32[3] f32[4]; i32[2] f32[3]", lambda m, x, y: m.numpy.linalg.outer(x, y))
linalg("cross", "f32[2,3] f32[2,3]; f32[3] f32[4,3]", lambda m, x, y: m.numpy.linalg.cross(x, y))
linalg("matrix_transpose", "f32[3,4]; f32[2,3,4]", lambda m, x: m.numpy.linalg.matrix_transpose(x))
linalg("diagonal", "f32[3,4]; f32[2,3,4]", lambda m, x: m.numpy.linalg.diagonal(x, offset=1))
linalg("trace", "f32[3,4]; f32[2,3,4]; i32[3,3]", lambda m, x: m.numpy.linalg.trace(x, offset=1))

# ---- scipy.linalg: solving ----------------------------------------------------------------------------------------


def scipy(name: str, samples: str, call, **options) -> None:
    """A row of ftiny.scipy.linalg."""
    row(f"scipy_linalg.{name}", samples, call, **{"tolerance": 3e-5, "derivative_tolerance": 1e-8, **options})


RIGHT_SIDES = "f32[3,3] f32[3]; f32[2,4,4] f32[4,2]; c64[3,3] c64[3,2]"
for trans, lower, unit in ((0, False, False), ("T", True, False), (2, False, True), (1, True, True), (0, True, False)):
    scipy(f"solve_triangular:{trans},{lower},{unit}",
          RIGHT_SIDES if trans == 0 else "f32[3,3] f32[3,2]; c64[3,3] c64[3]",
          lambda m, a, b, trans=trans, lower=lower, unit=unit: m.scipy.linalg.solve_triangular(
              regular(m, a), b, trans=trans, lower=lower, unit_diagonal=unit))
scipy("solve", "f32[3,3] f32[3]; f32[2,4,4] f32[4,2]", lambda m, a, b: m.scipy.linalg.solve(regular(m, a), b))
for lower in (False, True):
    scipy(f"solve:pos{lower}", "f32[3,3] f32[3]; f32[4,4] f32[4,2]; c64[3,3] c64[3]",
          lambda m, a, b, lower=lower: m.scipy.linalg.solve(positive(m, a), b, lower=lower, assume_a="pos"))
    scipy(f"cho_solve:{lower}", RIGHT_SIDES, lambda m, a, b, lower=lower: m.scipy.linalg.cho_solve(
        m.scipy.linalg.cho_factor(positive(m, a), lower=lower), b))
    scipy(f"cholesky:{lower}", "f32[3,3]; f32[2,4,4]; c64[3,3]",
          lambda m, a, lower=lower: m.scipy.linalg.cholesky(positive(m, a), lower=lower))
for trans in (0, 1, 2):
    scipy(f"lu_solve:{trans}", RIGHT_SIDES, lambda m, a, b, trans=trans: m.scipy.linalg.lu_solve(
        m.scipy.linalg.lu_factor(regular(m, a)), b, trans=trans))
scipy("inv", "f32[3,3]", lambda m, a: m.scipy.linalg.inv(regular(m, a)))
scipy("det", "f32[4,4]; f32[2,2]", lambda m, a: m.scipy.linalg.det(a))

# ---- scipy.linalg: factors ----------------------------------------------------------------------------------------

scipy("lu", "f32[4,4]; f32[5,3]; f32[3,5]; c64[3,3]; f64[4,4]", lambda m, a: m.scipy.linalg.lu(a))
for shape in ("5,3", "3,5"):
    scipy(f"lu:{shape}", f"f32[{shape}]", lambda m, a: m.scipy.linalg.lu(a))
scipy("lu:permute_l", "f32[4,4]; f32[4,3]", lambda m, a: m.scipy.linalg.lu(a, permute_l=True))
scipy("lu_factor", "f32[4,4]; f32[2,3,3]; f32[4,3]; i32[3,3]", lambda m, a: m.scipy.linalg.lu_factor(a))
scipy("qr:economic", "f32[5,3]; f32[3,3]", lambda m, a: m.scipy.linalg.qr(spread(m, a), mode="economic"))
scipy("qr", "f32[5,3]; f32[3,3]",
      lambda m, a: (*m.scipy.linalg.qr(spread(m, a)), *m.scipy.linalg.qr(spread(m, a), mode="r")), grad=False)
scipy("svd", "f32[3,3]; f32[5,3]", lambda m, a: (
    m.scipy.linalg.svd(spread(m, a))[1], m.scipy.linalg.svd(spread(m, a), compute_uv=False)))
scipy("eigh", "f32[3,3]; c64[3,3]; f32[2,3,3]", lambda m, a: (
    m.scipy.linalg.eigh(positive(m, a))[0], m.numpy.abs(m.scipy.linalg.eigh(positive(m, a), lower=False)[1]),
    m.scipy.linalg.eigh(positive(m, a), eigvals_only=True)), derivative_tolerance=1e-7)
scipy("eigh_tridiagonal", "f32[5] f32[4]; f32[1] f32[0]", lambda m, d, e: m.scipy.linalg.eigh_tridiagonal(
    d + m.numpy.arange(d.shape[0]), e, eigvals_only=True), grad=False, tolerance=1e-4)
scipy("eigh_tridiagonal:i", "f32[5] f32[4]; f32[6] f32[5]", lambda m, d, e: m.scipy.linalg.eigh_tridiagonal(
    d, e, eigvals_only=True, select="i", select_range=(1, 3)), grad=False, tolerance=1e-4)
for side in ("right", "left"):
    shapes = "f32[4,3]; f32[3,3]; c64[3,3]" if side == "right" else "f32[3,4]; f32[3,3]"
    scipy(f"polar:{side}", shapes, lambda m, a, side=side: m.scipy.linalg.polar(spread(m, a), side=side, method="svd"),
          tolerance=1e-4, derivative_tolerance=1e-7)

# ---- scipy.linalg: the matrix exponential ---------------------------------------------------------------------------

scipy("expm", "f32[3,3]; f32[2,4,4]; f64[3,3]; c64[3,3]; i32[2,2]", lambda m, a: m.scipy.linalg.expm(a), tolerance=1e-4)
scipy("expm:rotation", "f32[2,3,3]; f64[3,3]",
      lambda m, a: m.scipy.linalg.expm(
          (a - m.numpy.swapaxes(a, -1, -2)) * m.numpy.asarray([[[0.01]], [[6.0]]], a.dtype)),
      tolerance=3e-4)
scipy("expm:triangular", "f32[3,3]; f32[2,4,4]",
      lambda m, a: m.scipy.linalg.expm(m.numpy.triu(a), upper_triangular=True), tolerance=1e-4)
scipy("expm:limit", "f32[3,3]", lambda m, a: m.scipy.linalg.expm(100 * a, max_squarings=2), grad=False)
scipy("expm_frechet", "f32[3,3] f32[3,3]; f64[4,4] f64[4,4]",
      lambda m, a, e: (*m.scipy.linalg.expm_frechet(a, e), m.scipy.linalg.expm_frechet(a, e, compute_expm=False)),
      tolerance=1e-4)

# ---- scipy.linalg: special matrices -------------------------------------------------------------------------------

scipy("block_diag", "f32[2,3] f32[2] f32[]; i32[2,1] f32[1,3] f32[2]; f32[0,2] f32[2,2] f32[1]",
      lambda m, *xs: m.scipy.linalg.block_diag(*xs))
scipy("toeplitz", "f32[4]; f32[2,3]; c64[3]; i32[1]", lambda m, c: m.scipy.linalg.toeplitz(c))
scipy("toeplitz:row", "f32[4] f32[3]; i32[2] f32[5]; f32[2,3] f32[2,2]", lambda m, c, r: m.scipy.linalg.toeplitz(c, r))
scipy("hankel", "f32[4]; f32[2,3]; i32[1]", lambda m, c: m.scipy.linalg.hankel(c))
scipy("hankel:row", "f32[4] f32[3]; i32[2] f32[5]; f32[2,3] f32[2]", lambda m, c, r: m.scipy.linalg.hankel(c, r))
scipy("circulant", "f32[4]; f32[2,3]; i32[1]", lambda m, c: m.scipy.linalg.circulant(c))
scipy("companion", "f32[4]; f32[2,3]; i32[3]; f32[2]", lambda m, a: m.scipy.linalg.companion(a))
scipy("hilbert", "", lambda m: [m.scipy.linalg.hilbert(4), m.scipy.linalg.hilbert(1)], vmap=False)
scipy("invhilbert", "", lambda m: [m.scipy.linalg.invhilbert(4), m.scipy.linalg.invhilbert(1)], vmap=False)
scipy("hadamard", "", lambda m: [m.scipy.linalg.hadamard(8), m.scipy.linalg.hadamard(1, dtype="float32")], vmap=False)
scipy("pascal", "", lambda m: [m.scipy.linalg.pascal(5, kind) for kind in (None, "lower", "upper")], vmap=False)
scipy("dft", "", lambda m: [m.scipy.linalg.dft(5, scale) for scale in (None, "sqrtn", "n")], vmap=False)
scipy("helmert", "", lambda m: [m.scipy.linalg.helmert(4), m.scipy.linalg.helmert(3, full=True)], vmap=False)

# ---- lax.linalg ---------------------------------------------------------------------------------------------------
# jax's lu cannot be differentiated in the direction of a numpy array, hence the products with 1.


def lax(name: str, samples: str, call, **options) -> None:
    """A row of ftiny.lax.linalg."""
    row(f"lax_linalg.{name}", samples, call, **{"tolerance": 3e-5, "derivative_tolerance": 1e-8, **options})


for left in (False, True):
    for transpose in (False, True):
        lax(f"triangular_solve:{left},{transpose}", "f32[3,3] f32[3,3]; c64[2,3,3] c64[2,3,3]",
            lambda m, a, b, left=left, transpose=transpose: m.lax.linalg.triangular_solve(
                regular(m, a), b, left_side=left, transpose_a=transpose, lower=True, conjugate_a=transpose))
lax("cholesky", "f32[3,3]; c64[2,3,3]", lambda m, a: m.lax.linalg.cholesky(positive(m, a)))
lax("lu", "f32[4,4]; f32[2,5,3]; f32[2,3,5]; c64[3,3]", lambda m, a: m.lax.linalg.lu(1.0 * a))
lax("lu:tall", "f32[2,5,3]; f32[2,0,3,3]", lambda m, a: m.lax.linalg.lu(1.0 * a))
lax("lu_pivots_to_permutation", "i32[2,3]<4; i32[4]<4", lambda m, x: m.lax.linalg.lu_pivots_to_permutation(x, 4))
lax("qr", "f32[3,3]; f32[2,3,3]", lambda m, a: m.lax.linalg.qr(spread(m, a)))
lax("svd", "f32[3,3]; f32[2,4,3]", lambda m, a: m.lax.linalg.svd(spread(m, a), compute_uv=False))
lax("eigh", "f32[3,3]; c64[3,3]", lambda m, a: [m.numpy.abs(x) for x in m.lax.linalg.eigh(positive(m, a))],
    derivative_tolerance=1e-7)
lax("eig", "f32[3,3]; c64[3,3]", lambda m, a: [m.numpy.abs(x) for x in m.lax.linalg.eig(
    a + m.numpy.asarray(np.diag([0.0, 9.0, 18.0]), a.dtype))], grad=False)


# ---- similarity: forms that are not unique are compared by what they make up ---------------------------------------

SIMILAR = "f32[4,4]; f32[2,3,3]; f64[5,5]; c64[3,3]; f32[1,1]"


def transposed(m, x):
    """The conjugated transposes."""
    return m.numpy.conj(m.numpy.swapaxes(x, -1, -2))


def composed(m, t, z):
    """Z T Zᴴ, Zᴴ Z, and what T has below its first subdiagonal."""
    return [m.numpy.matmul(m.numpy.matmul(z, t), transposed(m, z)), m.numpy.matmul(transposed(m, z), z),
            m.numpy.tril(t, -2)]


scipy("schur", SIMILAR, lambda m, a: composed(m, *m.scipy.linalg.schur(a)), grad=False)
scipy("schur:complex", SIMILAR, lambda m, a: [
    *composed(m, *m.scipy.linalg.schur(a, "complex")), m.numpy.tril(m.scipy.linalg.schur(a, "complex")[0], -1)],
    grad=False)
scipy("rsf2csf", "f32[4,4]; f32[2,3,3]; f64[5,5]", lambda m, a: composed(
    m, *m.scipy.linalg.rsf2csf(*m.scipy.linalg.schur(a))), grad=False)
scipy("hessenberg", SIMILAR, lambda m, a: [m.scipy.linalg.hessenberg(a),
                                                  *m.scipy.linalg.hessenberg(a, calc_q=True)], grad=False)
# jax has no derivative of it; tests/test_scipy.py checks that of ftiny.
scipy("sqrtm", "f32[4,4]; f64[5,5]; c64[3,3]", lambda m, a: m.scipy.linalg.sqrtm(regular(m, a)), grad=False,
      tolerance=1e-4)
scipy("funm", "f32[3,3]; f64[4,4]; c64[3,3]", lambda m, a: m.scipy.linalg.funm(
    a + 5 * m.numpy.diag(m.numpy.arange(a.shape[0])), lambda x: m.numpy.sqrt(x + 9)), grad=False, tolerance=1e-4)
scipy("funm:error", "f32[3,3]", lambda m, a: m.scipy.linalg.funm(
    a + 5 * m.numpy.diag(m.numpy.arange(3)), m.numpy.cosh, disp=False)[1], grad=False, tolerance=1e-2)
scipy("solve_sylvester", "f32[3,3] f32[2,2] f32[3,2]; f64[4,4] f64[3,3] f64[4,3]; c64[2,2] c64[3,3] c64[2,3]",
      lambda m, a, b, c: m.scipy.linalg.solve_sylvester(regular(m, a), regular(m, b), c), grad=False,
      tolerance=1e-4)
scipy("qr_multiply", "f32[5,3] f32[2,5] f32[3,4]; c64[3,4] c64[3] c64[3]", lambda m, a, b, c: [
    *m.scipy.linalg.qr_multiply(a, b), *m.scipy.linalg.qr_multiply(a, c, "left", conjugate=True)], grad=False)
FORMS = "f32[4,4]; f32[2,3,3]; c64[4,4]; f64[5,5]"
lax("schur", FORMS, lambda m, a: composed(m, *m.lax.linalg.schur(a)), grad=False)
lax("hessenberg", FORMS, lambda m, a: list(m.lax.linalg.hessenberg(a)), grad=False)
lax("tridiagonal", FORMS, lambda m, a: list(m.lax.linalg.tridiagonal(a + transposed(m, a))), grad=False)
lax("tridiagonal:upper", FORMS, lambda m, a: list(m.lax.linalg.tridiagonal(
    a + transposed(m, a), lower=False))[:3], grad=False)
lax("householder_product", "f32[5,3] f32[3]; c64[4,4] c64[2]; f32[2,4,2] f32[2,1]",
    lambda m, a, taus: m.lax.linalg.householder_product(a, taus), grad=False)
lax("ormqr", "f32[5,3] f32[3] f32[5,5]; c64[4,4] c64[2] c64[4,4]", lambda m, a, taus, c: [
    m.lax.linalg.ormqr(a, taus, c, left=left, transpose=transpose)
    for left in (True, False) for transpose in (True, False)], grad=False)
lax("qdwh", "f32[5,3]; f64[4,4]; c64[3,3]", lambda m, a: list(m.lax.linalg.qdwh(spread(m, a))[:2]), grad=False,
    tolerance=1e-4)
lax("cholesky_update", "f32[4,4] f32[4]; f64[3,3] f64[3]", lambda m, r, w: m.lax.linalg.cholesky_update(
    m.numpy.triu(r) + 3 * m.numpy.eye(len(w), dtype=r.dtype), w), grad=False)
lax("symmetric_product", "f32[3,2] f32[3,3]; f32[2,3,4] f32[2,3,3]", lambda m, a, c: [
    m.lax.linalg.symmetric_product(a, c + transposed(m, c), alpha=2.0, beta=0.5),
    m.lax.linalg.symmetric_product(a, c + transposed(m, c), symmetrize_output=True)], grad=False)
lax("tridiagonal_solve", "f32[4] f32[4] f32[4] f32[4,2]; f64[2,3] f64[2,3] f64[2,3] f64[2,3,1]",
    lambda m, dl, d, du, b: m.lax.linalg.tridiagonal_solve(
        dl * (m.numpy.arange(d.shape[-1]) > 0), d + 5, du * (m.numpy.arange(d.shape[-1]) < d.shape[-1] - 1), b))

# ---- matrices made of vectors or of a size --------------------------------------------------------------------------

scipy("convolution_matrix", "f32[3]; i32[2,5]; f32[1]", lambda m, a: [
    m.scipy.linalg.convolution_matrix(a, n, mode) for n in (1, 4) for mode in ("full", "same", "valid")])
scipy("fiedler", "f32[4]; i32[2,3]; f32[]", lambda m, a: m.scipy.linalg.fiedler(a), smooth=False)
scipy("fiedler_companion", "f32[6]; f32[2,4]; i32[5]@positive; f32[2]; f32[1]; f32[3]",
      lambda m, a: m.scipy.linalg.fiedler_companion(a + 5))
scipy("leslie", "f32[4] f32[3]; i32[2,3] f32[2]; i32[2] i32[1]", lambda m, f, s: m.scipy.linalg.leslie(f, s))
scipy("invpascal", "", lambda m: [m.scipy.linalg.invpascal(5, kind) for kind in (None, "lower", "upper")],
             vmap=False)
