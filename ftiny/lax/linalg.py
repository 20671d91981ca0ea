"""`ftiny.lax.linalg`: the factorisations themselves, with the names and signatures of `jax.lax.linalg`.

Input: arrays [..., m, n] of float32, float64, complex64 or complex128 (integers and bools become float32), where the
axes in front are a batch. Output: lists of factors, or one array:

    >>> triangular_solve(ftiny.numpy.array([[2.0]]), ftiny.numpy.array([[6.0]]), left_side=True)
    Array([[3.]], dtype=float32)

`ftiny.numpy.linalg` and `ftiny.scipy.linalg` are made of the same and say more about each.
"""

from __future__ import annotations

from ftiny import dtypes
from ftiny import factorizations as f
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy.common import check_array, convert, shape_of
from ftiny.numpy.creation import asarray
from ftiny.numpy.linalg import hermitian_part, inv, vector_norm
from ftiny.numpy.manipulation import matrix_transpose
from ftiny.numpy.ufuncs import conj
from ftiny.source import located

__all__ = ["cholesky", "eig", "eigh", "lu", "lu_pivots_to_permutation", "qr", "svd", "triangular_solve"]


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
