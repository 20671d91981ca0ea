"""`ftiny.lax.linalg`: the factorisations themselves, with the names and signatures of `jax.lax.linalg`.

Input: arrays [..., m, n] of float32, float64, complex64 or complex128 (integers and bools become float32), where the
axes in front are a batch. Output: lists of factors, or one array:

    >>> triangular_solve(ftiny.numpy.array([[2.0]]), ftiny.numpy.array([[6.0]]), left_side=True)
    Array([[3.]], dtype=float32)

`ftiny.numpy.linalg` and `ftiny.scipy.linalg` are made of the same and say more about each. Forms, reflectors, updates
and the polar decomposition follow below.
"""

from __future__ import annotations

import math

import numpy as np

from ftiny import dtypes
from ftiny import factorizations as f
from ftiny import factorizations_similar as similar
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import broadcast_shapes, check_array, convert, dtype_of, shape_of
from ftiny.numpy.contractions import matmul
from ftiny.numpy.creation import asarray, eye, tril
from ftiny.numpy.indexing import take, where
from ftiny.numpy.linalg import hermitian_part, inv, vector_norm
from ftiny.numpy.manipulation import broadcast_to, concatenate, expand_dims, matrix_transpose, moveaxis
from ftiny.numpy.ufuncs import conj
from ftiny.source import located
from ftiny.transforms.control import fori_loop
from ftiny.transforms.scan import scan

__all__ = [
    "cholesky", "cholesky_update", "eig", "eigh", "hessenberg", "householder_product", "lu", "lu_pivots_to_permutation",
    "ormqr", "qdwh", "qr", "schur", "svd", "symmetric_product", "triangular_solve", "tridiagonal", "tridiagonal_solve",
]


def cholesky(x, *, symmetrize_input: bool = True):
    """The lower triangle L of X = L Lᴴ, NaN where X[..., n, n] is not positive definite.

    With `symmetrize_input` (X + Xᴴ) / 2 is factored; without it only the lower triangle is read.
    """
    x = f.as_matrices("lax.linalg.cholesky", x, square=True)
    return f.cholesky(hermitian_part(x) if symmetrize_input else x)


def eig(x, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True) -> list:
    """[eigenvalues, left eigenvectors, right eigenvectors] of X[..., n, n], complex; those not asked for are left out.

    Vectors stand in columns and have length 1. A left one solves vᴴ X = w vᴴ; those are the right ones of Xᴴ, in the
    order of the eigenvalues, which must be distinct for them. Only the eigenvalues alone have a derivative.
    """
    x = f.as_matrices("lax.linalg.eig", x, square=True)
    if not compute_left_eigenvectors and not compute_right_eigenvectors:
        return f.eig(x, "none")
    values, right = f.eig(x)
    results = [values]
    if compute_left_eigenvectors:
        results.append(_left_eigenvectors(right))
    return results + [right] if compute_right_eigenvectors else results


def _left_eigenvectors(right):
    """The columns of inv(V)ᴴ, of length 1."""
    dual = f.adjoint(inv(right))
    return dual / convert(vector_norm(dual, axis=-2, keepdims=True), dual.dtype)


def eigh(x, *, lower: bool = True, symmetrize_input: bool = True, sort_eigenvalues: bool = True) -> list:
    """[eigenvectors in columns, real eigenvalues] of Hermitian X[..., n, n]: the vectors come first.

    With `symmetrize_input` those of (X + Xᴴ) / 2; without it only the lower (or upper) triangle is read. The
    eigenvalues ascend, whatever `sort_eigenvalues` says.
    """
    x = f.as_matrices("lax.linalg.eigh", x, square=True)
    values, vectors = f.eigh(hermitian_part(x) if symmetrize_input else x, bool(lower))
    return [vectors, values]


def lu(x) -> list:
    """[LU, pivots, permutation] of X[..., m, n]: L below and U on and above the diagonal, and int32 [..., min(m, n)]
    and [..., m]: row i was swapped with row pivots[i], and X[permutation] = L U."""
    return f.lu(f.as_matrices("lax.linalg.lu", x))


def lu_pivots_to_permutation(pivots, permutation_size: int):
    """The order int32[..., permutation_size] of rows that comes from swapping row i with row pivots[..., i] in turn."""
    check_array("lax.linalg.lu_pivots_to_permutation", pivots)
    shape = shape_of(pivots)
    if not shape or shape[-1] > permutation_size:
        raise ShapeError(
            located(
                f"lax.linalg.lu_pivots_to_permutation: pivots of shape {shape} do not fit {permutation_size} rows; "
                "they are a vector of at most as many"
            )
        )
    return f.lu_order(asarray(convert(pivots, dtypes.int32)), int(permutation_size))


def qr(x, *, full_matrices: bool = True) -> list:
    """[Q, R] of X[..., m, n] = Q R; Q has m columns, or min(m, n) without `full_matrices`."""
    return f.qr(f.as_matrices("lax.linalg.qr", x), bool(full_matrices))


def svd(x, *, full_matrices: bool = True, compute_uv: bool = True):
    """[U, singular values in descending order, Vᴴ] of X[..., m, n]; without `compute_uv` the values alone."""
    result = f.svd(f.as_matrices("lax.linalg.svd", x), bool(full_matrices), bool(compute_uv))
    return result if compute_uv else result[0]


def triangular_solve(
    a,
    b,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
):
    """X of X op(A) = B, or with `left_side` of op(A) X = B, for the upper (or `lower`) triangle A of a[..., n, n].

    op transposes if `transpose_a` and conjugates if `conjugate_a`. unit_diagonal: the diagonal is taken as 1. `a` and
    `b` have one dtype, one batch, and b[..., n, k] (or [..., k, n] on the right) has no axis fewer.
    """
    name = "lax.linalg.triangular_solve"
    a, b = f.as_matrices(name, a, square=True), f.as_matrices(name, b)
    if a.dtype != b.dtype:
        raise ArgumentError(located(f"{name}: the dtypes {a.dtype} and {b.dtype} must be equal; convert one"))
    m, n = shape_of(a), shape_of(b)
    if m[:-2] != n[:-2] or n[-2 if left_side else -1] != m[-1]:
        raise ShapeError(
            located(
                f"{name}: matrices of shape {m} do not fit B of shape {n}: the batches must be equal, and B must have "
                f"{m[-1]} {'rows' if left_side else 'columns'}"
            )
        )
    a = conj(a) if conjugate_a else a
    # X op(A) = B is op(A)^T X^T = B^T.
    turned = bool(transpose_a) == bool(left_side)
    a, lower = (matrix_transpose(a), not lower) if turned else (a, bool(lower))
    if left_side:
        return f.triangular_solve(a, b, lower, bool(unit_diagonal))
    return matrix_transpose(f.triangular_solve(a, matrix_transpose(b), lower, bool(unit_diagonal)))


# ---- forms under unitary similarity ---------------------------------------------------------------------------------


def schur(x, *, compute_schur_vectors: bool = True, sort_eig_vals: bool = False, select_callable=None) -> list:
    """[T, Z] of X[..., n, n] = Z T Zᴴ, or [T] without `compute_schur_vectors`; see `ftiny.scipy.linalg.schur`.

    Raises `ArgumentError` for an order of the eigenvalues (`sort_eig_vals`, `select_callable`): there is none here.
    """
    if sort_eig_vals or select_callable is not None:
        raise ArgumentError(located(
            "lax.linalg.schur does not sort eigenvalues: sort_eig_vals must be False and select_callable None"))
    t, z = similar.schur(f.as_matrices("lax.linalg.schur", x, square=True))
    return [t, z] if compute_schur_vectors else [t]


def hessenberg(a) -> list:
    """[H, taus] of A[..., n, n]: above and on the first subdiagonal of H the Hessenberg form.

    Column k has below it the elements of the reflector 1 - taus[k] v vᴴ after the 1 in row k + 1; `householder_product`
    of H[..., 1:, :-1] is the unitary matrix of the other rows and columns.
    """
    return similar.hessenberg(f.as_matrices("lax.linalg.hessenberg", a, square=True))


def tridiagonal(a, *, lower: bool = True) -> list:
    """[packed, d, e, taus] of Hermitian A[..., n, n]: the form has the diagonal d and beside it e, both real.

    One triangle is read; in the result it has the form, and reflectors as in `hessenberg`.
    """
    return similar.tridiagonal(f.as_matrices("lax.linalg.tridiagonal", a, square=True), bool(lower))


# ---- reflectors -----------------------------------------------------------------------------------------------------


def _reflect(a, taus, c, adjoint: bool):
    """Q C, or Qᴴ C, where Q is the product of the reflectors below the diagonal of a[..., m, k]."""
    count = shape_of(taus)[-1]
    rows = np.arange(shape_of(a)[-2])

    def step(c, column):
        k, vector, tau = column
        below = where(ufuncs.greater(rows, k), vector, 0)
        v = expand_dims(where(ufuncs.equal(rows, k), 1, below), -1)
        factor = expand_dims(expand_dims(conj(tau) if adjoint else tau, -1), -1)
        return ufuncs.subtract(c, ufuncs.multiply(factor, matmul(v, matmul(f.adjoint(v), c)))), None

    columns = (np.arange(count, dtype=np.int32), moveaxis(a[..., :count], -1, 0), moveaxis(taus, -1, 0))
    return scan(step, c, columns, reverse=not adjoint)[0]


def _check_reflectors(name: str, a, taus, *others) -> list:
    """The operands with one dtype. Raises `ShapeError` for more reflectors than columns."""
    a, taus = f.as_matrices(name, a), f.as_inexact(name, taus)
    dtype = dtypes.result_type(a, taus, *others)
    m, n = shape_of(a)[-2:]
    if not shape_of(taus) or shape_of(taus)[-1] > min(m, n) or shape_of(taus)[:-1] != shape_of(a)[:-2]:
        raise ShapeError(located(
            f"{name}: reflectors in an array of shape {shape_of(a)} have factors of shape (..., k) with k at most "
            f"{min(m, n)} and the same batch, not {shape_of(taus)}"))
    return [convert(x, dtype) for x in (a, taus, *others)]


def householder_product(a, taus):
    """The first n columns of the product of the reflectors below the diagonal of a[..., m, n], of factors taus[..., k].

    Reflector k is 1 - taus[k] v vᴴ, where v is 0 above row k, 1 there, and a[k + 1:, k] below.
    """
    a, taus = _check_reflectors("lax.linalg.householder_product", a, taus)
    return _reflect(a, taus, broadcast_to(eye(*shape_of(a)[-2:], dtype=dtype_of(a)), shape_of(a)), False)


def ormqr(a, taus, c, *, left: bool = True, transpose: bool = False):
    """Q C, C Q (without `left`), or the same with Qᴴ (`transpose`), without making Q; see `householder_product`.

    c: [..., m, n], or [..., n, m] on the left of Q, with the batch of `a`.
    """
    name = "lax.linalg.ormqr"
    a, taus, c = _check_reflectors(name, a, taus, f.as_matrices(name, c))
    if shape_of(c)[-2 if left else -1] != shape_of(a)[-2]:
        raise ShapeError(located(
            f"{name}: Q has {shape_of(a)[-2]} rows and columns, which does not fit C of shape {shape_of(c)}"))
    if left:
        return _reflect(a, taus, c, bool(transpose))
    return f.adjoint(_reflect(a, taus, f.adjoint(c), not transpose))


# ---- the polar decomposition ----------------------------------------------------------------------------------------


def _halley_weights(epsilon: float, most: int) -> list[tuple[float, float, float]]:
    """The weights (a, b, c) of each step that brings all singular values from [epsilon, 1] next to 1."""
    low = epsilon
    weights: list[tuple[float, float, float]] = []
    while abs(1 - low) > 10 * epsilon and len(weights) < most:
        d = (4 * (1 - low**2) / low**4) ** (1 / 3)
        root = math.sqrt(1 + d)
        a = root + 0.5 * math.sqrt(8 - 4 * d + 8 * (2 - low**2) / (low**2 * root))
        b = (a - 1) ** 2 / 4
        c = a + b - 1
        low = min(low * (a + b * low**2) / (1 + c * low**2), 1.0)
        weights.append((a, b, c))
    return weights


def qdwh(x, *, is_hermitian: bool = False, max_iterations: int | None = None, eps: float | None = None,
         dynamic_shape: None = None):
    """`(U, H, steps, converged)` of X[m, n] = U H with m >= n: U has orthonormal columns, H[n, n] is positive.

    By Halley's iteration with weights for singular values down to `eps` (default: the dtype's), in QR factorisations:
    Nakatsukasa, Bai and Gygi, Optimizing Halley's iteration for computing the matrix polar decomposition (2010). Their
    number is known beforehand: 6 or less, and at most `max_iterations`. It is differentiable. `is_hermitian` changes
    nothing. Raises `ShapeError` for other shapes, `ArgumentError` for `dynamic_shape`.
    """
    name = "lax.linalg.qdwh"
    x = f.as_matrices(name, x)
    m, n = shape_of(x)[-2:]
    if len(shape_of(x)) != 2 or m < n or dynamic_shape is not None:
        raise ShapeError(located(
            f"{name} takes one matrix with at least as many rows as columns and dynamic_shape None, not shape "
            f"{shape_of(x)} and {dynamic_shape!r}; use ftiny.vmap for more, and the adjoint of a wide matrix"))
    dtype, real = dtype_of(x), dtypes.real_dtype(dtype_of(x))
    epsilon = float(np.finfo(real).eps)
    size = ufuncs.abs(x)
    bound = ufuncs.sqrt(ufuncs.multiply(size.sum(0).max(), size.sum(1).max()))
    u = before = ufuncs.divide(x, convert(where(ufuncs.equal(bound, 0), 1, bound), dtype))
    weights = _halley_weights(epsilon if eps is None else eps, 20 if max_iterations is None else max_iterations)
    for a, b, c in weights:
        before, root = u, math.sqrt(c)
        q, _ = f.qr(concatenate([ufuncs.multiply(root, u), eye(n, dtype=dtype)], axis=0))
        u = ufuncs.add(ufuncs.multiply(b / c, u),
                       ufuncs.multiply((a - b / c) / root, matmul(q[:m], f.adjoint(q[m:]))))
    h = hermitian_part(matmul(f.adjoint(u), x))
    # The order of convergence is 3: a step this short leaves nothing to be done.
    step = vector_norm(ufuncs.subtract(u, before))
    return u, h, asarray(np.int32(len(weights))), ufuncs.less(step, (4 * epsilon) ** (1 / 3))


# ---- updates, products, tridiagonal systems -------------------------------------------------------------------------


def cholesky_update(r_matrix, w_vector):
    """The upper triangle of the Cholesky factorisation Rᵀ R + w wᵀ, for R[n, n] and w[n] of real numbers.

    By one rotation for each row, in n² steps (Golub and Van Loan, Matrix Computations, 4th ed., 6.5.4).
    """
    name = "lax.linalg.cholesky_update"
    r, w = f.as_matrices(name, r_matrix, square=True), f.as_inexact(name, w_vector)
    if len(shape_of(r)) != 2 or shape_of(w) != shape_of(r)[:1] or dtypes.kind(dtypes.result_type(r, w)) == "complex":
        raise ShapeError(located(
            f"{name} takes one real matrix [n, n] and a vector [n], not shapes {shape_of(r)} and {shape_of(w)} of "
            f"{r.dtype} and {w.dtype}; use ftiny.vmap for more"))
    rows = np.arange(shape_of(w)[0])[:, None]
    pick = lambda x, k: take(x, k, axis=0, mode="clip")

    def rotate(k, state):
        r, w = state
        row = pick(r, k)
        x, y = pick(row, k), pick(w, k)
        still = ufuncs.equal(y, 0)
        size = where(still, 1, ufuncs.hypot(x, where(still, 1, y)))
        cosine, sine = where(still, 1, ufuncs.divide(x, size)), where(still, 0, ufuncs.divide(y, size))
        new_row = ufuncs.add(ufuncs.multiply(cosine, row), ufuncs.multiply(sine, w))
        w = ufuncs.subtract(ufuncs.multiply(cosine, w), ufuncs.multiply(sine, row))
        return where(ufuncs.equal(rows, k), new_row, r), w

    dtype = dtypes.result_type(r, w)
    return fori_loop(0, shape_of(w)[0], rotate, (convert(r, dtype), convert(w, dtype)))[0]


def symmetric_product(a_matrix, c_matrix, *, alpha: float = 1.0, beta: float = 0.0, symmetrize_output: bool = False):
    """alpha A Aᵀ + beta C for A[..., m, n] and symmetric C[..., m, m].

    symmetrize_output: the upper triangle of the result is the transpose of the lower one, whatever C has there.
    """
    name = "lax.linalg.symmetric_product"
    a, c = f.as_matrices(name, a_matrix), f.as_matrices(name, c_matrix, square=True)
    if shape_of(a)[-2] != shape_of(c)[-1]:
        raise ShapeError(located(f"{name}: A A^T of A of shape {shape_of(a)} does not fit C of shape {shape_of(c)}"))
    result = ufuncs.add(ufuncs.multiply(alpha, matmul(a, matrix_transpose(a))), ufuncs.multiply(beta, c))
    if symmetrize_output:
        result = ufuncs.add(tril(result), matrix_transpose(tril(result, -1)))
    return result


def tridiagonal_solve(dl, d, du, b, *, perturb_singular: bool = False):
    """X of A X = B[..., n, k], where A has the diagonals dl[..., n] (from its second element on), d and du.

    A is written out as a dense matrix and solved with pivots. NaN where it is singular; `perturb_singular` raises
    `ArgumentError`. All four have derivatives.
    """
    name = "lax.linalg.tridiagonal_solve"
    if perturb_singular:
        raise ArgumentError(located(f"{name}: perturb_singular must be False; add a small number to d"))
    dl, d, du, b = (f.as_inexact(name, x) for x in (dl, d, du, b))
    n = shape_of(d)[-1] if shape_of(d) else 0
    fits = all(shape_of(x)[-1:] == (n,) for x in (dl, d, du)) and len(shape_of(b)) > 1 and shape_of(b)[-2] == n
    if not fits:
        raise ShapeError(located(
            f"{name} takes three vectors [..., n] and right sides [..., n, k], not shapes {shape_of(dl)}, "
            f"{shape_of(d)}, {shape_of(du)} and {shape_of(b)}"))
    dtype = dtypes.result_type(dl, d, du, b)
    place = np.arange(n) - np.arange(n)[:, None]
    parts = [where(place == k, expand_dims(x, -1), 0) for k, x in ((-1, dl), (0, d), (1, du))]
    matrix = convert(ufuncs.add(ufuncs.add(parts[0], parts[1]), parts[2]), dtype)
    batch = broadcast_shapes(shape_of(matrix)[:-2], shape_of(b)[:-2], name=name)
    right = broadcast_to(convert(b, dtype), (*batch, *shape_of(b)[-2:]))
    return f.linear_solve(broadcast_to(matrix, (*batch, n, n)), right)
