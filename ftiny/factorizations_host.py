"""The factorisations of dense matrices in numpy: what the primitives of `factorizations.py` compute on the host.

Input: numpy arrays whose last two axes are matrices, any number of axes before them. Output: a tuple of arrays, one
entry per matrix. LAPACK does the work, called through numpy; `lu` and `substitute`, which numpy has not, are here.

    >>> a = numpy.array([[4.0, 2.0], [2.0, 3.0]])
    >>> cholesky(a)
    (array([[2.        , 0.        ], [1.        , 1.41421356]]),)

Nothing here raises for the values of a matrix: where LAPACK gives up (not positive definite, singular, no convergence,
NaN among the elements) the results of that matrix are NaN, and those of the others in the batch are not touched.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Columns that are factored one by one, rows that are substituted at once: small enough for numpy's overhead per column
# to matter little beside the products with the rest of the matrix.
BLOCK = 48


def _or_nan(function: Callable, a: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """`function(a, *others)`, a tuple of arrays, with NaN for every matrix of `a` at which it raises."""

    def one(matrix: np.ndarray, *rest: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            return function(matrix, *rest)
        except np.linalg.LinAlgError:
            # The results of the identity have the right shapes and dtypes.
            shapes = function(np.eye(*matrix.shape, dtype=matrix.dtype), *rest)
            return tuple(np.full_like(x, np.nan) for x in shapes)

    with np.errstate(all="ignore"):
        try:
            return function(a, *others)
        except np.linalg.LinAlgError:
            batch = a.shape[:-2]
            found = [one(*(x[place] for x in (a, *others))) for place in np.ndindex(*batch)]
            return tuple(np.stack(parts).reshape(batch + parts[0].shape) for parts in zip(*found))


# ---- solving ----------------------------------------------------------------------------------------------------


def solve(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray]:
    """X of A X = B, by LU with partial pivoting."""
    return _or_nan(lambda a, b: (np.linalg.solve(a, b),), a, b)  # type: ignore[return-value]


def substitute(a: np.ndarray, b: np.ndarray, lower: bool, unit_diagonal: bool) -> np.ndarray:
    """X of A X = B for a triangular A, of which only that triangle is read.

    The triangle is cut into halves until they have at most `BLOCK` rows, so that nearly all of the work is products of
    matrices. What is left is given to the general solver as an upper triangle, of which it makes nothing but the
    substitution: there is nothing below the diagonal to be pivoted or eliminated.
    """
    n = a.shape[-1]
    if n <= BLOCK:
        triangle = np.tril(a) if lower else np.triu(a)
        if unit_diagonal:
            triangle[..., range(n), range(n)] = 1
        if not lower:
            return solve(triangle, b)[0]
        return solve(triangle[..., ::-1, ::-1], b[..., ::-1, :])[0][..., ::-1, :]
    first, last = slice(0, n // 2), slice(n // 2, n)
    if not lower:
        first, last = last, first
    head = substitute(a[..., first, first], b[..., first, :], lower, unit_diagonal)
    with np.errstate(all="ignore"):
        rest = b[..., last, :] - a[..., last, first] @ head
    tail = substitute(a[..., last, last], rest, lower, unit_diagonal)
    return np.concatenate([head, tail] if lower else [tail, head], axis=-2)


# ---- factors ----------------------------------------------------------------------------------------------------


def cholesky(a: np.ndarray) -> tuple[np.ndarray]:
    """The lower triangle L of A = L Lᴴ; only the lower triangle of A is read."""
    return (np.tril(_or_nan(lambda a: (np.linalg.cholesky(a),), a)[0]),)


def _size(x: np.ndarray) -> np.ndarray:
    """What LAPACK chooses pivots by: the absolute value, or |real| + |imaginary|."""
    return np.abs(x.real) + np.abs(x.imag) if x.dtype.kind == "c" else np.abs(x)


def lu(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(L below and U on and above the diagonal, the row that each row was swapped with, the rows' order).

    The right-looking algorithm with partial pivoting (Golub and Van Loan, Matrix Computations, 4th ed., 3.4), a panel
    of `BLOCK` columns at a time, for all matrices of the batch at once.
    """
    batch, (m, n) = a.shape[:-2], a.shape[-2:]
    out = np.array(a).reshape((-1, m, n) if a.size else (0, m, n))
    number = np.arange(len(out))
    count = min(m, n)
    pivots = np.zeros((len(out), count), np.int32)
    order = np.tile(np.arange(m, dtype=np.int32), (len(out), 1))
    with np.errstate(all="ignore"):
        for start in range(0, count, BLOCK):
            end = min(start + BLOCK, count)
            for j in range(start, end):
                pivot = j + np.argmax(_size(out[:, j:, j]), axis=1)
                pivots[:, j] = pivot
                for rows in (out, order):
                    above = rows[:, j].copy()
                    rows[:, j] = rows[number, pivot]
                    rows[number, pivot] = above
                # A column of zeros stays as it is, as in LAPACK.
                divisor = np.where(out[:, j, j] == 0, 1, out[:, j, j])
                out[:, j + 1 :, j] /= divisor[:, None]
                out[:, j + 1 :, j + 1 : end] -= out[:, j + 1 :, j, None] * out[:, j, None, j + 1 : end]
            panel = out[:, start:end, start:end]
            out[:, start:end, end:] = substitute(panel, out[:, start:end, end:], True, True)
            out[:, end:, end:] -= out[:, end:, start:end] @ out[:, start:end, end:]
    return out.reshape(a.shape), pivots.reshape((*batch, count)), order.reshape((*batch, m))


def lu_order(pivots: np.ndarray, size: int) -> np.ndarray:
    """The order of `size` rows after row i was swapped with row `pivots[..., i]`, for every i in turn."""
    flat = pivots.reshape((-1, pivots.shape[-1]) if pivots.size else (0, pivots.shape[-1]))
    number = np.arange(len(flat))
    order = np.tile(np.arange(size, dtype=np.int32), (len(flat), 1))
    for i in range(flat.shape[1]):
        above = order[:, i].copy()
        order[:, i] = order[number, flat[:, i]]
        order[number, flat[:, i]] = above
    return order.reshape((*pivots.shape[:-1], size))


def qr(a: np.ndarray, full_matrices: bool) -> tuple[np.ndarray, np.ndarray]:
    """(Q with orthonormal columns, R upper triangular) of A = Q R, by Householder reflections."""
    q, r = np.linalg.qr(a, "complete" if full_matrices else "reduced")
    return q, r


def svd(a: np.ndarray, full_matrices: bool, compute_uv: bool) -> tuple[np.ndarray, ...]:
    """(U, the singular values in descending order, Vᴴ) of A = U S Vᴴ; only the values without `compute_uv`."""
    if compute_uv:
        return _or_nan(lambda a: tuple(np.linalg.svd(a, full_matrices)), a)
    return _or_nan(lambda a: (np.linalg.svd(a, compute_uv=False),), a)


def eigh(a: np.ndarray, lower: bool) -> tuple[np.ndarray, ...]:
    """(the real eigenvalues in ascending order, the orthonormal eigenvectors in columns) of a Hermitian matrix."""
    return _or_nan(lambda a: tuple(np.linalg.eigh(a, "L" if lower else "U")), a)


def eig(a: np.ndarray, vectors: bool) -> tuple[np.ndarray, ...]:
    """(the eigenvalues, the eigenvectors of length 1 in columns), complex; only the values without `vectors`."""
    dtype = np.result_type(a, np.complex64)

    def run(a: np.ndarray) -> tuple[np.ndarray, ...]:
        # numpy gives real arrays where no eigenvalue of the batch is complex.
        found = np.linalg.eig(a) if vectors else (np.linalg.eigvals(a),)
        return tuple(np.asarray(x, dtype) for x in found)

    return _or_nan(run, a)


# ---- determinants -------------------------------------------------------------------------------------------------


def slogdet(a: np.ndarray) -> tuple[np.ndarray, ...]:
    """(the sign of the determinant, the logarithm of its absolute value), by LU."""
    with np.errstate(all="ignore"):
        return tuple(np.asarray(x) for x in np.linalg.slogdet(a))


def determinant(a: np.ndarray) -> np.ndarray:
    """The determinant, by LU."""
    with np.errstate(all="ignore"):
        return np.asarray(np.linalg.det(a))


def adjugate(a: np.ndarray) -> np.ndarray:
    """The transposed matrix of cofactors, adj(A) = det(A) A⁻¹, which exists for a singular A too.

    With A = U S Vᴴ it is det(U Vᴴ) V adj(S) Uᴴ, where adj(S) has on its diagonal the products of all singular values
    but one (Stewart, On the adjugate matrix, 1998).
    """
    u, s, vh = svd(a, False, True)
    n = a.shape[-1]
    with np.errstate(all="ignore"):
        others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(axis=-1)
        phase = determinant(u) * determinant(vh)
        dual = np.conj(np.swapaxes(vh, -1, -2)) * (others * phase[..., None])[..., None, :]
        return (dual @ np.conj(np.swapaxes(u, -1, -2))).astype(a.dtype, copy=False)
