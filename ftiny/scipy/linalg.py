"""`ftiny.scipy.linalg`: factorisations, solvers, the matrix exponential and special matrices, as in `jax.scipy.linalg`.

Input: arrays whose last two axes are matrices (any axes before them are a batch), vectors or sizes. Output: arrays:

    >>> toeplitz(ftiny.numpy.array([1, 2, 3]))
    Array([[1, 2, 3],
           [2, 1, 2],
           [3, 2, 1]], dtype=int32)

What `ftiny.numpy.linalg` says of dtypes and NaN holds here. The arguments `overwrite_a`, `overwrite_b`, `check_finite`
and `debug` are accepted for scipy's sake and change nothing. Functions of matrices are in `matrix_functions`, more
special matrices in `structured_matrices`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ftiny import dtypes
from ftiny import factorizations as f
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy import linalg, manipulation, sorting, ufuncs
from ftiny.numpy.common import broadcast_shapes, check_array, convert, dtype_of, shape_of
from ftiny.numpy.contractions import matmul
from ftiny.numpy.creation import asarray, eye, tril, triu, zeros
from ftiny.numpy.indexing import take, where
from ftiny.numpy.manipulation import (
    broadcast_to,
    concatenate,
    expand_dims,
    matrix_transpose,
    pad,
    reshape,
    squeeze,
)
from ftiny.scipy.matrix_functions import funm, hessenberg, qr_multiply, rsf2csf, schur, solve_sylvester, sqrtm
from ftiny.scipy.structured_matrices import convolution_matrix, fiedler, fiedler_companion, invpascal, leslie
from ftiny.source import located
from ftiny.transforms.control import fori_loop
from ftiny.transforms.custom import custom_jvp, stop_gradient
from ftiny.transforms.grad import jvp

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "companion", "convolution_matrix", "det",
    "dft", "eigh", "eigh_tridiagonal", "expm", "expm_frechet", "fiedler", "fiedler_companion", "funm", "hadamard",
    "hankel", "helmert", "hessenberg", "hilbert", "inv", "invhilbert", "invpascal", "leslie", "lu", "lu_factor",
    "lu_solve", "pascal", "polar", "qr", "qr_multiply", "rsf2csf", "schur", "solve", "solve_sylvester",
    "solve_triangular", "sqrtm", "svd", "toeplitz",
]

# ---- solving ----------------------------------------------------------------------------------------------------


def _operands(name: str, a, b) -> tuple[Any, Any, bool]:
    """(matrices, right sides, whether those were vectors): of one dtype and one batch.

    b is a vector if it has one axis, or one less than `a` and as many elements along the last as `a` has rows.
    """
    a, b = f.as_matrices(name, a, square=True), f.as_inexact(name, b)
    dtype = dtypes.result_type(a, b)
    a, b = convert(a, dtype), convert(b, dtype)
    m, n = shape_of(a), shape_of(b)
    vector = len(n) == 1 or len(m) == len(n) + 1 and m[-1] == n[-1]
    if vector:
        b = expand_dims(b, -1)
    columns = shape_of(b)
    if not n or m[-1] != columns[-2]:
        raise ShapeError(located(
            f"{name}: the matrices of shape {m} have {m[-1]} rows, which the right side of shape {n} has not; it is a "
            "vector [n] or matrices [..., n, k]"))
    batch = broadcast_shapes(m[:-2], columns[:-2], name=name)
    return broadcast_to(a, batch + m[-2:]), broadcast_to(b, batch + columns[-2:]), vector


def _transposition(name: str, trans) -> int:
    known = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}
    if trans not in known:
        raise ArgumentError(located(f"{name}: trans must be 0 or 'N', 1 or 'T', 2 or 'C', not {trans!r}"))
    return known[trans]


def solve_triangular(a, b, trans=0, lower: bool = False, unit_diagonal: bool = False, overwrite_b: bool = False,
                     debug: Any = None, check_finite: bool = True):
    """X of A X = B for the upper or lower triangle A of a[..., n, n], and b[n] or b[..., n, k].

    trans: 0 or 'N': A X = B; 1 or 'T': Aᵀ X = B; 2 or 'C': Aᴴ X = B. unit_diagonal: the diagonal of A is taken as 1 and
    not read. A 0 on the diagonal gives NaN.
    """
    name = "scipy.linalg.solve_triangular"
    a, b, vector = _operands(name, a, b)
    turned = _transposition(name, trans)
    a = (a, matrix_transpose(a), f.adjoint(a))[turned]
    x = f.triangular_solve(a, b, lower=bool(lower) != bool(turned), unit_diagonal=bool(unit_diagonal))
    return squeeze(x, -1) if vector else x


def _solve_positive_value(a, b, lower: bool):
    return cho_solve(cho_factor(a, lower), b)


def _solve_positive_rule(lower, primals, tangents):
    (a, b), (da, db) = primals, tangents
    x = _solve_positive(a, b, lower)
    return x, f.linear_solve(a, db - matmul(da, x))


_solve_positive = custom_jvp(_solve_positive_value, nondiff_argnums=(2,))
_solve_positive.defjvp(_solve_positive_rule)


def solve(a, b, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False, debug: bool = False,
          check_finite: bool = True, assume_a: str = "gen"):
    """X of A X = B for a[..., n, n], and b[n] or b[..., n, k].

    assume_a: 'gen', 'sym' or 'her': by LU. 'pos': A is Hermitian and positive definite: by Cholesky, which is twice as
    fast and reads only the upper triangle of A (`lower`: the lower one); the result is NaN if A is not so.
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ArgumentError(located(
            f"scipy.linalg.solve: assume_a must be 'gen', 'sym', 'her' or 'pos', not {assume_a!r}"))
    if assume_a != "pos":
        return linalg.solve(a, b)
    a, b, vector = _operands("scipy.linalg.solve", a, b)
    x = _solve_positive(a, b, bool(lower))
    return squeeze(x, -1) if vector else x


def inv(a, overwrite_a: bool = False, check_finite: bool = True):
    """The inverses of square matrices; see `ftiny.numpy.linalg.inv`."""
    return linalg.inv(a)


def det(a, overwrite_a: bool = False, check_finite: bool = True):
    """The determinants of square matrices; see `ftiny.numpy.linalg.det`."""
    return linalg.det(a)


# ---- factors ----------------------------------------------------------------------------------------------------


def cholesky(a, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True):
    """The upper triangle U of A = Uᴴ U, or with `lower` the lower triangle L of A = L Lᴴ, NaN if there is none.

    Only that triangle of A is read.
    """
    return linalg.cholesky(f.as_matrices("scipy.linalg.cholesky", a, square=True), upper=not lower,
                           symmetrize_input=False)


def cho_factor(a, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True):
    """`(c, lower)`, which `cho_solve` takes: the factor of `cholesky`, and which triangle it is."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower, b, overwrite_b: bool = False, check_finite: bool = True):
    """X of A X = B from the result of `cho_factor(A)`, for b[n] or b[..., n, k]."""
    factor, lower = c_and_lower
    factor, b, vector = _operands("scipy.linalg.cho_solve", factor, b)
    first, second = (factor, f.adjoint(factor)) if lower else (f.adjoint(factor), factor)
    x = f.triangular_solve(second, f.triangular_solve(first, b, lower=True), lower=False)
    return squeeze(x, -1) if vector else x


def lu(a, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True):
    """`(P, L, U)` of A = P L U for matrices [..., m, n]: a permutation matrix, and triangles with k = min(m, n).

    L[..., m, k] has ones on its diagonal, U[..., k, n] is upper triangular; with `permute_l`: `(P L, U)`.
    """
    a = f.as_matrices("scipy.linalg.lu", a)
    factors, _, order = f.lu(a)
    m, n = shape_of(a)[-2:]
    k = min(m, n)
    lower = ufuncs.add(tril(factors[..., :, :k], -1), eye(m, k, dtype=dtype_of(a)))
    upper = triu(factors[..., :k, :])
    rows = reshape(np.arange(m, dtype=np.int32), (m, 1))
    permutation = convert(ufuncs.equal(rows, expand_dims(order, -2)), dtypes.real_dtype(dtype_of(a)))
    if permute_l:
        return matmul(convert(permutation, dtype_of(a)), lower), upper
    return permutation, lower, upper


def lu_factor(a, overwrite_a: bool = False, check_finite: bool = True):
    """`(lu, pivots)`, which `lu_solve` takes: L below and U on and above the diagonal of lu[..., m, n], int32 pivots.

    Row i of A was swapped with row `pivots[..., i]`, for every i in turn.
    """
    factors, pivots, _ = f.lu(f.as_matrices("scipy.linalg.lu_factor", a))
    return factors, pivots


def lu_solve(lu_and_piv, b, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True):
    """X of A X = B from the result of `lu_factor(A)`, for b[n] or b[..., n, k].

    trans: 0: A X = B; 1: Aᵀ X = B; 2: Aᴴ X = B.
    """
    factors, pivots = lu_and_piv
    turned = _transposition("scipy.linalg.lu_solve", trans)
    factors, b, vector = _operands("scipy.linalg.lu_solve", factors, b)
    n = shape_of(factors)[-1]
    order = broadcast_to(f.lu_order(asarray(pivots), n), shape_of(factors)[:-1])
    if turned == 0:
        below = f.triangular_solve(factors, f.reorder_rows(b, order), lower=True, unit_diagonal=True)
        x = f.triangular_solve(factors, below, lower=False)
    else:
        turned_factors = f.adjoint(factors) if turned == 2 else matrix_transpose(factors)
        above = f.triangular_solve(turned_factors, b, lower=True)
        x = f.triangular_solve(turned_factors, above, lower=False, unit_diagonal=True)
        x = f.reorder_rows(x, sorting.argsort(order, axis=-1))
    return squeeze(x, -1) if vector else x


def qr(a, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
       check_finite: bool = True):
    """`(Q, R)` of A = Q R for matrices [..., m, n].

    mode: 'full': Q[..., m, m] and R[..., m, n]; 'economic': Q[..., m, k] and R[..., k, n] with k = min(m, n); 'r': the
    R of 'full' alone, in a tuple. Pivoting raises `ArgumentError`: numpy, which does the work, has none.
    """
    if mode not in ("full", "economic", "r"):
        raise ArgumentError(located(f"scipy.linalg.qr: mode must be 'full', 'economic' or 'r', not {mode!r}"))
    if pivoting:
        raise ArgumentError(located(
            "scipy.linalg.qr: there is no QR with pivoting here; ftiny.numpy.linalg.svd reveals the rank too"))
    q, r = f.qr(f.as_matrices("scipy.linalg.qr", a), mode != "economic")
    return (r,) if mode == "r" else (q, r)


def svd(a, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False, check_finite: bool = True,
        lapack_driver: str = "gesdd"):
    """`(U, s, Vh)` of A = U diag(s) Vh; see `ftiny.numpy.linalg.svd`. `lapack_driver` is ignored."""
    result = linalg.svd(a, full_matrices, compute_uv)
    return tuple(result) if compute_uv else result


def eigh(a, b=None, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False,
         overwrite_b: bool = False, turbo: bool = True, eigvals: None = None, type: int = 1,
         check_finite: bool = True):
    """`(eigenvalues, eigenvectors)` of Hermitian matrices, or the eigenvalues; see `ftiny.numpy.linalg.eigh`.

    Raises `ArgumentError` for the generalised problem (`b`, `type`) and for a part of the eigenvalues (`eigvals`).
    """
    if b is not None or type != 1 or eigvals is not None:
        raise ArgumentError(located(
            "scipy.linalg.eigh solves A v = w v for all eigenvalues: b and eigvals must be None and type must be 1. "
            "For A v = w B v take the eigenvalues of inv(L) A inv(L)^H with L = cholesky(B)"))
    values, vectors = linalg.eigh(a, "L" if lower else "U")
    return values if eigvals_only else (values, vectors)


def eigh_tridiagonal(d, e, *, eigvals_only: bool = False, select: str = "a", select_range=None,
                     tol: float | None = None, key=None):
    """`(eigenvalues, eigenvectors)` of the Hermitian matrix with diagonal d[n] and e[n - 1] below it.

    It is written out as a dense matrix and given to `eigh`, which takes n³ steps where others take n².

    Args:
        eigvals_only: the eigenvalues alone.
        select: 'a': all; 'i': those numbered `select_range = (first, last)`, in ascending order and both included.
        tol, key: ignored, for the sake of jax's signature.
    """
    check_array("scipy.linalg.eigh_tridiagonal", d, e)
    m, n = shape_of(d), shape_of(e)
    if len(m) != 1 or len(n) != 1 or n[0] != max(m[0] - 1, 0):
        raise ShapeError(located(
            f"scipy.linalg.eigh_tridiagonal takes a diagonal [n] and an off-diagonal [n - 1], not shapes {m} and {n}"))
    if select not in ("a", "i") or (select == "i" and select_range is None):
        raise ArgumentError(located(
            f"scipy.linalg.eigh_tridiagonal: select must be 'a', or 'i' and select_range=(first, last), not "
            f"{select!r}: how many eigenvalues lie between two values is not known before they are computed"))
    dtype = dtypes.result_type(d, e)
    d, e = asarray(convert(d, dtype)), asarray(convert(e, dtype))
    matrix = ufuncs.multiply(eye(m[0], dtype=dtype), expand_dims(d, 0))
    if m[0] > 1:
        below = ufuncs.multiply(eye(m[0], k=-1, dtype=dtype), pad(expand_dims(e, 0), ((0, 0), (0, 1))))
        matrix = ufuncs.add(matrix, ufuncs.add(below, f.adjoint(below)))
    values, vectors = linalg.eigh(matrix)
    if select == "i":
        first, last = select_range
        values, vectors = values[first:last + 1], vectors[:, first:last + 1]
    return values if eigvals_only else (values, vectors)


def polar(a, side: str = "right", *, method: str = "qdwh", eps: float | None = None, max_iterations: int | None = None):
    """`(U, P)` of A = U P (side 'right') or A = P U ('left'): U has orthonormal columns or rows, P is positive.

    A [..., m, n] is factored by its singular values, whatever `method` ('qdwh' or 'svd') says; `eps` and
    `max_iterations` are ignored. The derivative holds where the singular values are distinct.
    """
    if side not in ("right", "left") or method not in ("qdwh", "svd"):
        raise ArgumentError(located(
            f"scipy.linalg.polar: side must be 'right' or 'left' and method 'qdwh' or 'svd', not {side!r}, {method!r}"))
    u, s, vh = linalg.svd(f.as_matrices("scipy.linalg.polar", a), full_matrices=False)
    basis = f.adjoint(vh) if side == "right" else u
    return matmul(u, vh), matmul(ufuncs.multiply(basis, expand_dims(s, -2)), f.adjoint(basis))


# ---- the matrix exponential -----------------------------------------------------------------------------------------

# The coefficients of the powers 0 to 13 in the numerator of the [13/13] Padé approximant of exp.
_PADE_13 = tuple(math.comb(13, k) / (math.comb(26, k) * math.factorial(k)) for k in range(14))
# The 1-norm up to which it is exact to the last bit of a float64 (Higham).
_THETA_13 = 5.371920351148152


def _pade_13(a):
    """(the odd and the even part of the numerator), in six products of matrices, as Higham groups them."""
    c = _PADE_13
    one = eye(shape_of(a)[-1], dtype=dtype_of(a))
    a2 = matmul(a, a)
    a4 = matmul(a2, a2)
    a6 = matmul(a4, a2)
    odd = matmul(a6, c[13] * a6 + c[11] * a4 + c[9] * a2) + c[7] * a6 + c[5] * a4 + c[3] * a2 + c[1] * one
    even = matmul(a6, c[12] * a6 + c[10] * a4 + c[8] * a2) + c[6] * a6 + c[4] * a4 + c[2] * a2 + c[0] * one
    return matmul(a, odd), even


def expm(A, *, upper_triangular: bool = False, max_squarings: int = 16):
    """The matrix exponential of square matrices [..., n, n].

    By scaling and squaring: A is halved until its 1-norm is at most 5.4, where the Padé approximant of degree 13 is
    exact in float64, and the result squared as often (Higham, The scaling and squaring method for the matrix
    exponential revisited, 2005, algorithm 2.3).

    Args:
        upper_triangular: A is so, which makes the solution of a linear system simpler.
        max_squarings: where more would be needed the result is NaN. So many squarings are computed for every matrix,
            since their number is known only when the program runs.
    """
    a = f.as_matrices("scipy.linalg.expm", A, square=True)
    largest = linalg.matrix_norm(stop_gradient(a), ord=1)
    wanted = ufuncs.maximum(0, ufuncs.ceil(ufuncs.log2(ufuncs.divide(ufuncs.maximum(largest, 1), _THETA_13))))
    wanted = expand_dims(wanted, (-2, -1))
    odd, even = _pade_13(ufuncs.multiply(a, ufuncs.exp2(ufuncs.negative(wanted))))
    numerator, denominator = ufuncs.add(even, odd), ufuncs.subtract(even, odd)
    if upper_triangular:
        result = f.triangular_solve(denominator, numerator, lower=False)
    else:
        result = f.linear_solve(denominator, numerator)
    # A loop, not its body many times over, which would take seconds to compile.
    squared = fori_loop(0, max_squarings, lambda number, x: where(ufuncs.less(number, wanted), matmul(x, x), x), result)
    return where(ufuncs.greater(wanted, max_squarings), np.nan, squared)


def expm_frechet(A, E, *, method: str | None = None, compute_expm: bool = True):
    """`(expm(A), L)`, or L alone: the derivative of `expm` at the matrices A in the direction E, of one shape.

    It is the derivative of the algorithm of `expm`; `method` is ignored.
    """
    a, e = f.as_matrices("scipy.linalg.expm_frechet", A, True), f.as_matrices("scipy.linalg.expm_frechet", E, True)
    if shape_of(a) != shape_of(e):
        raise ShapeError(located(
            f"scipy.linalg.expm_frechet: the matrices and the directions have shapes {shape_of(a)} and {shape_of(e)}, "
            "which must be equal"))
    dtype = dtypes.result_type(a, e)
    value, derivative = jvp(expm, (convert(a, dtype),), (convert(e, dtype),))
    return (value, derivative) if compute_expm else derivative


# ---- special matrices of arrays -------------------------------------------------------------------------------------


def block_diag(*arrs):
    """The matrix with these matrices (or vectors, as rows) on its diagonal, one after the other, and 0 elsewhere."""
    check_array("scipy.linalg.block_diag", *arrs)
    for number, x in enumerate(arrs):
        if len(shape_of(x)) > 2:
            raise ShapeError(located(
                f"scipy.linalg.block_diag: argument {number} has shape {shape_of(x)}; it takes matrices, and vmap for "
                "more axes"))
    if not arrs:
        return zeros((1, 0))
    dtype = dtypes.result_type(*arrs)
    blocks = [manipulation.atleast_2d(asarray(convert(x, dtype))) for x in arrs]
    widths = [shape_of(x)[1] for x in blocks]
    starts = np.cumsum([0, *widths])
    padded = [pad(x, ((0, 0), (int(starts[k]), int(starts[-1] - starts[k + 1])))) for k, x in enumerate(blocks)]
    return concatenate(padded, axis=0)


def _sequences(name: str, *arrays) -> list:
    """The arrays with at least one axis, of one dtype and one batch."""
    check_array(name, *arrays)
    dtype = dtypes.result_type(*arrays)
    listed = [manipulation.atleast_1d(asarray(convert(x, dtype))) for x in arrays]
    batch = broadcast_shapes(*(shape_of(x)[:-1] for x in listed), name=name)
    return [broadcast_to(x, batch + shape_of(x)[-1:]) for x in listed]


def _rows_and_columns(m: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(m, dtype=np.int32)[:, None], np.arange(n, dtype=np.int32)[None, :]


def toeplitz(c, r=None):
    """The matrix [..., m, n] with first column c[..., m] and first row r[..., n] that is constant along its diagonals.

    Without `r` the first row is the conjugate of `c`. The corner is `c[0]`; `r[0]` is not used.
    """
    check_array("scipy.linalg.toeplitz", c)
    c, r = _sequences("scipy.linalg.toeplitz", c, ufuncs.conj(c) if r is None else r)
    m, n = shape_of(c)[-1], shape_of(r)[-1]
    i, j = _rows_and_columns(m, n)
    return take(concatenate([manipulation.flip(r[..., 1:], -1), c], axis=-1), i - j + max(n - 1, 0), axis=-1)


def hankel(c, r=None):
    """The matrix [..., m, n] with first column c[..., m] and last row r[..., n], constant along its antidiagonals.

    Without `r` the last row is 0 but for its first element. That is `c[-1]` always; `r[0]` is not used.
    """
    check_array("scipy.linalg.hankel", c)
    c, r = _sequences("scipy.linalg.hankel", c, ufuncs.multiply(c, 0) if r is None else r)
    i, j = _rows_and_columns(shape_of(c)[-1], shape_of(r)[-1])
    return take(concatenate([c, r[..., 1:]], axis=-1), i + j, axis=-1)


def circulant(c):
    """The matrix [..., n, n] with first column c[..., n] whose every column is the one before, turned by one place."""
    (c,) = _sequences("scipy.linalg.circulant", c)
    n = shape_of(c)[-1]
    i, j = _rows_and_columns(n, n)
    return take(c, (i - j) % max(n, 1), axis=-1)


def companion(a):
    """The matrix [..., n - 1, n - 1] whose characteristic polynomial has coefficients a[..., n], highest power first.

    Its first row is `-a[1:] / a[0]`, and there are ones below the diagonal.
    """
    (a,) = _sequences("scipy.linalg.companion", a)
    n = shape_of(a)[-1]
    if n < 2:
        raise ShapeError(located(
            f"scipy.linalg.companion: a polynomial of {n} coefficients (shape {shape_of(a)}) has no companion matrix; "
            "it takes at least 2"))
    a = convert(a, dtypes.result_type(a, 0.0))
    first = expand_dims(ufuncs.divide(ufuncs.negative(a[..., 1:]), a[..., :1]), -2)
    rest = broadcast_to(eye(n - 2, n - 1, dtype=dtype_of(first)), (*shape_of(first)[:-2], n - 2, n - 1))
    return concatenate([first, rest], axis=-2)


# ---- special matrices of a size -------------------------------------------------------------------------------------


def _size(name: str, n) -> int:
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
        raise ArgumentError(located(f"{name}: the size must be a positive integer, not {n!r}"))
    return int(n)


def _binomials(n: int) -> np.ndarray:
    """The lower triangle of Pascal's numbers, [i, j] = i over j, exact."""
    return np.array([[math.comb(i, j) for j in range(n)] for i in range(n)], object)


def hilbert(n: int):
    """The Hilbert matrix [n, n], 1 / (i + j + 1), in float32."""
    i, j = _rows_and_columns(*[_size("scipy.linalg.hilbert", n)] * 2)
    return asarray((1.0 / (i + j + 1)).astype(np.float32))


def invhilbert(n: int):
    """The inverse of the Hilbert matrix [n, n], rounded from its integers to float32."""
    n = _size("scipy.linalg.invhilbert", n)

    def element(i: int, j: int) -> int:
        ways = math.comb(n + i, n - j - 1) * math.comb(n + j, n - i - 1) * math.comb(i + j, i) ** 2
        return (-1) ** (i + j) * (i + j + 1) * ways

    return asarray(np.array([[float(element(i, j)) for j in range(n)] for i in range(n)], np.float32))


def hadamard(n: int, dtype=int):
    """The Hadamard matrix [n, n] of ones and minus ones by Sylvester's construction; n is a power of 2."""
    n = _size("scipy.linalg.hadamard", n)
    if n & (n - 1):
        raise ArgumentError(located(f"scipy.linalg.hadamard: the size must be a power of 2, not {n}"))
    matrix = np.ones((1, 1))
    while len(matrix) < n:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return asarray(matrix.astype(dtypes.dtype(dtype)))


def pascal(n: int, kind: str | None = None):
    """Pascal's triangle as a matrix [n, n] of float32: i over j ('lower'), its transpose ('upper'), or the product of
    both ('symmetric', also None)."""
    if kind not in (None, "symmetric", "lower", "upper"):
        raise ArgumentError(located(
            f"scipy.linalg.pascal: kind must be 'symmetric', 'lower' or 'upper', not {kind!r}"))
    lower = _binomials(_size("scipy.linalg.pascal", n))
    matrix = lower if kind == "lower" else lower.T if kind == "upper" else lower @ lower.T
    return asarray(matrix.astype(np.float64).astype(np.float32))


def dft(n: int, scale: str | None = None, *, dtype=None):
    """The matrix [n, n] of the discrete Fourier transform, exp(-2 pi i j k / n), in complex64 or `dtype`.

    scale: 'sqrtn' divides by the root of n, 'n' by n.
    """
    n = _size("scipy.linalg.dft", n)
    if scale not in (None, "sqrtn", "n"):
        raise ArgumentError(located(f"scipy.linalg.dft: scale must be None, 'sqrtn' or 'n', not {scale!r}"))
    found = dtypes.complex64 if dtype is None else dtypes.dtype(dtype)
    if dtypes.kind(found) != "complex":
        raise ArgumentError(located(f"scipy.linalg.dft: dtype must be complex64 or complex128, not {found}"))
    i, j = _rows_and_columns(n, n)
    # The exponent is reduced first, so that large products lose no digits.
    matrix = np.exp(-2j * np.pi * ((i.astype(np.int64) * j) % n) / n)
    divisor = {None: 1.0, "sqrtn": math.sqrt(n), "n": n}[scale]
    return asarray((matrix / divisor).astype(found))


def helmert(n: int, full: bool = False):
    """The Helmert matrix [n - 1, n] in float32: orthonormal rows, each orthogonal to a row of ones.

    full: with the first row, 1 / sqrt(n), in front: [n, n].
    """
    n = _size("scipy.linalg.helmert", n)
    i, j = _rows_and_columns(n - 1, n)
    k = i + 1.0
    matrix = np.where(j <= i, 1.0, np.where(j == k, -k, 0.0)) / np.sqrt(k * (k + 1))
    if full:
        matrix = np.concatenate([np.full((1, n), 1 / math.sqrt(n)), matrix])
    return asarray(matrix.astype(np.float32))
