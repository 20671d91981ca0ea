"""`ftiny.numpy.linalg`: linear algebra, with the names and signatures of `jax.numpy.linalg`.

Input: arrays whose last two axes are matrices; any axes before them are a batch. Output: arrays:

    >>> solve(ftiny.numpy.array([[2.0, 0.0], [0.0, 4.0]]), ftiny.numpy.array([2.0, 2.0]))
    Array([1. , 0.5], dtype=float32)

What is factored is of float32, float64, complex64 or complex128; integers and bools become float32, and 16-bit floats
raise `DtypeError`. Where a matrix has no factors (it is singular, not positive definite, has NaN) the result is NaN or
infinite; nothing raises for the values of an array. The factorisations run on the host (`ftiny/factorizations.py`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ftiny import dtypes
from ftiny import factorizations as f
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy import contractions, creation, manipulation, reductions, sorting, ufuncs
from ftiny.numpy.common import (
    broadcast_shapes,
    canonical_axis,
    check_array,
    convert,
    dtype_of,
    shape_of,
)
from ftiny.numpy.contractions import matmul as _matmul
from ftiny.numpy.creation import asarray, eye
from ftiny.numpy.indexing import take_along_axis, where
from ftiny.numpy.manipulation import broadcast_to, expand_dims, moveaxis, reshape, squeeze
from ftiny.source import located
from ftiny.transforms.custom import custom_jvp

__all__ = [
    "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Any
    S: Any
    Vh: Any


def hermitian_part(a):
    """(A + Aᴴ) / 2: a Hermitian matrix as it is, and every element on a par with its mirror in the derivative."""
    return ufuncs.divide(ufuncs.add(a, f.adjoint(a)), 2)


def _inexact(name: str, x):
    """`x` as an array of its dtype; integers and bools as float32."""
    check_array(name, x)
    dtype = dtype_of(x)
    return asarray(convert(x, dtype if dtypes.is_inexact(dtype) else dtypes.float32))


# ---- solving ----------------------------------------------------------------------------------------------------


def solve(a, b):
    """X of A X = B for a[..., n, n] and b[n] or b[..., n, k], whose batches broadcast; NaN where A is singular.

    As in numpy 2, only a `b` of one axis is a vector. Raises `ShapeError` when the numbers of rows differ.
    """
    a, b = f.as_matrices("linalg.solve", a, square=True), f.as_inexact("linalg.solve", b)
    dtype = dtypes.result_type(a, b)
    a, b = convert(a, dtype), convert(b, dtype)
    m, n = shape_of(a), shape_of(b)
    if not n or m[-1] != n[-2 if len(n) > 1 else 0]:
        raise ShapeError(located(
            f"linalg.solve: the matrices of shape {m} have {m[-1]} rows, which the right side of shape {n} has not; it "
            "is a vector [n] or matrices [..., n, k]"))
    if len(n) == 1:
        return squeeze(solve(a, expand_dims(b, -1)), -1)
    batch = broadcast_shapes(m[:-2], n[:-2], name="linalg.solve")
    return f.linear_solve(broadcast_to(a, batch + m[-2:]), broadcast_to(b, batch + n[-2:]))


def inv(a):
    """The inverses of square matrices [..., n, n]; NaN where there is none."""
    a = f.as_matrices("linalg.inv", a, square=True)
    return f.linear_solve(a, broadcast_to(eye(shape_of(a)[-1], dtype=dtype_of(a)), shape_of(a)))


def tensorsolve(a, b, axes: tuple[int, ...] | None = None):
    """X of `tensordot(a, X, X.ndim) == b`; `axes` of `a` are moved to its end first.

    The first axes of `a` have the shape of `b`, the others that of X, and both have the same number of elements.
    """
    check_array("linalg.tensorsolve", a, b)
    if axes is not None:
        a = moveaxis(a, axes, tuple(range(len(shape_of(a)) - len(axes), len(shape_of(a)))))
    m, n = shape_of(a), shape_of(b)
    rest = m[len(n):]
    if m[:len(n)] != n or math.prod(rest) != math.prod(n):
        raise ShapeError(located(
            f"linalg.tensorsolve: the first axes of an array of shape {m} must be {n}, the shape of the right side, "
            f"and the others must have {math.prod(n)} elements in all; axes= moves axes to the end"))
    size = math.prod(n)
    return reshape(solve(reshape(a, (size, size)), reshape(b, (size,))), rest)


def tensorinv(a, ind: int = 2):
    """The inverse of `x -> tensordot(a, x, x.ndim)`: its first axes are those of `a` from `ind` on."""
    check_array("linalg.tensorinv", a)
    ind, shape = operator.index(ind), shape_of(a)
    first, last = shape[:ind], shape[ind:]
    if ind <= 0 or math.prod(first) != math.prod(last):
        raise ShapeError(located(
            f"linalg.tensorinv: with ind={ind} an array of shape {shape} is cut into {first} and {last}, which must "
            "have the same number of elements, and ind must be positive"))
    size = math.prod(first)
    return reshape(inv(reshape(a, (size, size))), last + first)


# ---- factors ----------------------------------------------------------------------------------------------------


def cholesky(a, *, upper: bool = False, symmetrize_input: bool = True):
    """The lower triangle L of A = L Lᴴ, or with `upper` the upper triangle U of A = Uᴴ U.

    A [..., n, n] is Hermitian and positive definite; otherwise the result is NaN. With `symmetrize_input` (A + Aᴴ) / 2
    is factored, without it only the lower triangle is read (the upper one with `upper`).
    """
    a = f.as_matrices("linalg.cholesky", a, square=True)
    a = hermitian_part(a) if symmetrize_input else f.adjoint(a) if upper else a
    factor = f.cholesky(a)
    return f.adjoint(factor) if upper else factor


def qr(a, mode: str = "reduced"):
    """`(Q, R)` of A = Q R: Q has orthonormal columns, R is upper triangular.

    mode: 'reduced': Q[..., m, k] and R[..., k, n] with k = min(m, n); 'complete': Q[..., m, m] and R[..., m, n]; 'r':
    only the R of 'reduced'. The signs of the diagonal of R are LAPACK's.
    """
    if mode not in ("reduced", "complete", "full", "r"):
        raise ArgumentError(located(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', not {mode!r}"))
    result = QRResult(*f.qr(f.as_matrices("linalg.qr", a), mode in ("complete", "full")))
    return result.R if mode == "r" else result


def svd(a, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False):
    """`(U, S, Vh)` of A = U diag(S) Vh: orthonormal columns and rows, and singular values in descending order.

    full_matrices: U[..., m, m] and Vh[..., n, n], which have a derivative only for m = n; otherwise U[..., m, k] and
    Vh[..., k, n] with k = min(m, n). compute_uv: False for S alone. hermitian: A is Hermitian, which is faster.
    """
    a = f.as_matrices("linalg.svd", a, square=hermitian)
    if not hermitian or 0 in shape_of(a):
        result = f.svd(a, full_matrices, compute_uv)
        return SVDResult(*result) if compute_uv else result[0]
    values, vectors = f.eigh(hermitian_part(a))
    size = ufuncs.abs(values)
    order = manipulation.flip(sorting.argsort(size, axis=-1), -1)
    size = take_along_axis(size, order, -1)
    if not compute_uv:
        return size
    u = take_along_axis(vectors, expand_dims(order, -2), -1)
    sign = ufuncs.sign(take_along_axis(values, order, -1))
    return SVDResult(u, size, f.adjoint(ufuncs.multiply(u, expand_dims(sign, -2))))


def svdvals(x, /):
    """The singular values of matrices [..., m, n] in descending order."""
    return svd(x, compute_uv=False)


def eigh(a, UPLO: str | None = None, symmetrize_input: bool = True):
    """`(eigenvalues, eigenvectors)` of Hermitian matrices [..., n, n]: real and ascending; orthonormal, in columns.

    With `symmetrize_input` those of (A + Aᴴ) / 2; without it only the triangle UPLO, 'L' (also None) or 'U', is read.
    The eigenvectors have a derivative where the eigenvalues are simple.
    """
    if UPLO not in (None, "L", "U"):
        raise ArgumentError(located(f"linalg.eigh: UPLO must be None, 'L' or 'U', not {UPLO!r}"))
    a = f.as_matrices("linalg.eigh", a, square=True)
    return EighResult(*f.eigh(hermitian_part(a) if symmetrize_input else a, UPLO != "U"))


def eigvalsh(a, UPLO: str | None = "L", *, symmetrize_input: bool = True):
    """The eigenvalues of Hermitian matrices [..., n, n] in ascending order; see `eigh`."""
    return eigh(a, UPLO, symmetrize_input).eigenvalues


def eig(a):
    """`(eigenvalues, eigenvectors)` of square matrices [..., n, n], complex.

    The values are in LAPACK's order, the vectors in columns, of length 1. They have no derivative (`RuleError`);
    `eigvals` has one.
    """
    return EigResult(*f.eig(f.as_matrices("linalg.eig", a, square=True)))


def eigvals(a):
    """The complex eigenvalues of square matrices [..., n, n]; they have a derivative where they are simple."""
    return f.eig(f.as_matrices("linalg.eigvals", a, square=True), "none")[0]


# ---- determinants -------------------------------------------------------------------------------------------------


def det(a):
    """The determinants of square matrices [..., n, n].

    Up to 3 rows they are written out, beyond that they come from an LU factorisation. The first derivative is right at
    singular matrices too; of more than 3 rows, the second is NaN there.
    """
    check_array("linalg.det", a)
    f.check_matrix("linalg.det", shape_of(a), square=True)
    n = shape_of(a)[-1]
    if n > 3:
        return f.determinant(f.as_inexact("linalg.det", a))
    a = _inexact("linalg.det", a)
    if n == 0:
        return creation.ones(shape_of(a)[:-2], dtype_of(a))
    rows = [[a[..., i, j] for j in range(n)] for i in range(n)]
    if n == 1:
        return rows[0][0]
    if n == 2:
        return rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0]
    (p, q, r), (s, t, u), (v, w, x) = rows
    return p * (t * x - u * w) - q * (s * x - u * v) + r * (s * w - t * v)


def slogdet(a, *, method: str | None = None):
    """`(sign, logabsdet)` of square matrices [..., n, n], where det(A) = sign * exp(logabsdet); (0, -inf) if singular.

    The sign of a complex determinant has absolute value 1. method: None, 'lu' or 'qr', which all mean LU here.
    """
    if method not in (None, "lu", "qr"):
        raise ArgumentError(located(f"linalg.slogdet: method must be None, 'lu' or 'qr', not {method!r}"))
    return SlogdetResult(*f.slogdet(f.as_matrices("linalg.slogdet", a, square=True)))


# ---- least squares ------------------------------------------------------------------------------------------------


def _pseudo_inverse_value(a, rtol, hermitian: bool):
    u, s, vh = svd(a, full_matrices=False, hermitian=hermitian)
    if not shape_of(s)[-1]:
        return f.adjoint(a)
    counts = ufuncs.greater(s, ufuncs.multiply(expand_dims(rtol, -1), s[..., :1]))
    inverse = where(counts, ufuncs.divide(1, where(counts, s, 1)), 0)
    return _matmul(ufuncs.multiply(f.adjoint(vh), expand_dims(inverse, -2)), f.adjoint(u))


def _pseudo_inverse_rule(hermitian, primals, tangents):
    """dP = -P dA P + (I - P A) dAᴴ Pᴴ P + P Pᴴ dAᴴ (I - A P): Golub and Pereyra, The differentiation of pseudo-inverses
    and nonlinear least squares problems whose variables separate (1973)."""
    (a, rtol), (da, _) = primals, tangents
    p = _pseudo_inverse(a, rtol, hermitian)
    ph, dah = f.adjoint(p), f.adjoint(da)
    right, left = _matmul(_matmul(dah, ph), p), _matmul(p, _matmul(ph, dah))
    outside = (right - _matmul(p, _matmul(a, right))) + (left - _matmul(_matmul(left, a), p))
    return p, outside - _matmul(p, _matmul(da, p))


_pseudo_inverse = custom_jvp(_pseudo_inverse_value, nondiff_argnums=(2,))
_pseudo_inverse.defjvp(_pseudo_inverse_rule)


def _tolerance(rtol, a):
    """rtol as an array of the real dtype of `a`."""
    return asarray(convert(rtol, dtypes.real_dtype(dtype_of(a))))


def pinv(a, rtol=None, hermitian: bool = False, *, rcond=None):
    """The pseudo-inverses [..., n, m] of matrices [..., m, n], by Moore and Penrose.

    Args:
        rtol: singular values of at most `rtol` times the largest count as 0; a number, or one for each matrix. Default:
            10 max(m, n) times the spacing of floats at 1. `rcond` is another name for it.
        hermitian: the matrices are Hermitian.

    The derivative holds where the rank does not change, equal singular values or not.
    """
    a = f.as_matrices("linalg.pinv", a, square=hermitian)
    if rcond is not None and rtol is not None:
        raise ArgumentError(located("linalg.pinv: rcond is another name for rtol; give only one of them"))
    rtol = rcond if rtol is None else rtol
    if rtol is None:
        rtol = 10.0 * max(shape_of(a)[-2:]) * float(np.finfo(dtype_of(a)).eps)
    return _pseudo_inverse(a, _tolerance(rtol, a), bool(hermitian))


def lstsq(a, b, rcond: float | None = None, *, numpy_resid: bool = False):
    """`(x, residuals, rank, s)`: the shortest x[n] or x[n, k] that makes the columns of a x - b shortest.

    Args:
        a, b: matrices [m, n] and [m] or [m, k].
        rcond: singular values below `rcond` times the largest count as 0. Default: max(m, n) times the spacing of
            floats at 1.
        numpy_resid: give an empty array of residuals, as numpy does, where the rank is less than n or m <= n. That
            depends on the values, so the function can not be traced then.

    residuals[k] are the sums of squares of the columns of b - a x, `s` the singular values of `a`.
    """
    a, b = f.as_inexact("linalg.lstsq", a), f.as_inexact("linalg.lstsq", b)
    m, n = shape_of(a), shape_of(b)
    if len(m) != 2 or len(n) not in (1, 2) or m[0] != n[0]:
        raise ShapeError(located(
            f"linalg.lstsq takes one matrix [m, n] and a right side [m] or [m, k], not shapes {m} and {n}; use vmap "
            "for many"))
    dtype = dtypes.result_type(a, b)
    a, b = convert(a, dtype), convert(b, dtype)
    eps = float(np.finfo(dtype).eps)
    rtol = eps * max(m) if rcond is None else where(ufuncs.less(rcond, 0), eps, rcond)
    rtol = _tolerance(rtol, a)
    columns = b if len(n) == 2 else expand_dims(b, -1)
    x = _matmul(_pseudo_inverse(a, rtol, False), columns)
    s = svdvals(a)
    rank = reductions.sum(ufuncs.greater(s, ufuncs.multiply(rtol, s[:1])), dtype=dtypes.int32)
    if numpy_resid and (int(rank) < m[1] or m[0] <= m[1]):
        residuals = creation.zeros((0,), dtypes.real_dtype(dtype))
    else:
        residuals = reductions.sum(_absolute_squares(ufuncs.subtract(columns, _matmul(a, x))), axis=0)
    return x if len(n) == 2 else squeeze(x, -1), residuals, rank, s


def matrix_rank(M, rtol=None, *, hermitian: bool = False, tol=None):
    """The number (int32) of singular values of matrices [..., m, n] above `rtol`, an absolute bound as in jax.

    rtol: a number, or one for each matrix. Default: the largest singular value times max(m, n) times the spacing of
    floats at 1. `tol` is another name for it. Of a vector: 1, or 0 if all of it is 0.
    """
    if tol is not None and rtol is not None:
        raise ArgumentError(located("linalg.matrix_rank: tol is another name for rtol; give only one of them"))
    rtol = tol if rtol is None else rtol
    check_array("linalg.matrix_rank", M)
    if len(shape_of(M)) < 2:
        return convert(reductions.any(ufuncs.not_equal(asarray(M), 0)), dtypes.int32)
    M = f.as_matrices("linalg.matrix_rank", M)
    s = svd(M, full_matrices=False, compute_uv=False, hermitian=hermitian)
    if rtol is None:
        rtol = reductions.amax(s, axis=-1, initial=0) * (max(shape_of(M)[-2:]) * float(np.finfo(dtype_of(s)).eps))
    return reductions.sum(ufuncs.greater(s, expand_dims(asarray(rtol), -1)), axis=-1, dtype=dtypes.int32)


# ---- norms ------------------------------------------------------------------------------------------------------


def _absolute_squares(x):
    return ufuncs.real(ufuncs.multiply(x, ufuncs.conj(x)))


def vector_norm(x, /, *, axis=None, keepdims: bool = False, ord=2):
    """The norm of the elements along `axis` (an integer, a tuple, or None for all of them).

    ord: 2: the root of the sum of squares; 1: the sum of absolute values; inf, -inf: the largest and the smallest of
    them; 0: the number of elements that are not 0; any other number p: the p-th root of the sum of p-th powers.
    """
    x = _inexact("linalg.vector_norm", x)
    if ord is None or ord == 2:
        return ufuncs.sqrt(reductions.sum(_absolute_squares(x), axis=axis, keepdims=keepdims))
    if isinstance(ord, str):
        raise ArgumentError(located(
            f"linalg.norm: ord={ord!r} is no norm of a vector; it is a number, inf or -inf (ftiny.numpy.inf). For the "
            "norm of a matrix give two axes"))
    if ord == 0:
        dtype = dtypes.real_dtype(dtype_of(x))
        return reductions.sum(ufuncs.not_equal(x, 0), axis=axis, keepdims=keepdims, dtype=dtype)
    size = ufuncs.abs(x)
    if ord == np.inf:
        return reductions.amax(size, axis=axis, keepdims=keepdims, initial=0)
    if ord == -np.inf:
        return reductions.amin(size, axis=axis, keepdims=keepdims)
    if ord == 1:
        return reductions.sum(size, axis=axis, keepdims=keepdims)
    return ufuncs.power(reductions.sum(ufuncs.power(size, ord), axis=axis, keepdims=keepdims), 1.0 / ord)


def matrix_norm(x, /, *, keepdims: bool = False, ord="fro"):
    """The norm of matrices [..., m, n].

    ord: 'fro' (also None): the root of the sum of squares; 'nuc': the sum of the singular values; 2, -2: the largest
    and the smallest of those; 1, -1: the largest and the smallest sum of absolute values of a column; inf, -inf: of a
    row.
    """
    x = _inexact("linalg.matrix_norm", x)
    f.check_matrix("linalg.matrix_norm", shape_of(x))
    if ord is None or ord in ("f", "fro"):
        return ufuncs.sqrt(reductions.sum(_absolute_squares(x), axis=(-2, -1), keepdims=keepdims))
    if ord in ("nuc", 2, -2):
        result = _norm_of_values(svdvals(x), ord)
        return expand_dims(result, (-2, -1)) if keepdims else result
    if ord not in (1, -1, np.inf, -np.inf):
        raise ArgumentError(located(
            f"linalg.norm: ord={ord!r} is no norm of a matrix; it is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf"))
    along, rest = (-2, -1) if abs(ord) == 1 else (-1, -2)
    sums = reductions.sum(ufuncs.abs(x), axis=along, keepdims=True)
    if ord > 0:
        result = reductions.amax(sums, axis=rest, keepdims=True, initial=0)
    else:
        result = reductions.amin(sums, axis=rest, keepdims=True)
    return result if keepdims else squeeze(result, (-2, -1))


def _norm_of_values(s, ord):
    if ord == "nuc":
        return reductions.sum(s, axis=-1)
    return reductions.amax(s, axis=-1, initial=0) if ord == 2 else reductions.amin(s, axis=-1)


def norm(x, ord=None, axis=None, keepdims: bool = False):
    """The norm of vectors (one axis: see `vector_norm`) or of matrices (two axes, rows first: see `matrix_norm`).

    Without `axis` all axes are meant: an array of one or two axes, or of any number without `ord`, which gives the root
    of the sum of all squares. Raises `ShapeError` for more than two axes.
    """
    x = _inexact("linalg.norm", x)
    ndim = len(shape_of(x))
    if axis is None and ord is None:
        return vector_norm(x, keepdims=keepdims)
    listed = tuple(range(ndim)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(canonical_axis(a, ndim, "linalg.norm") for a in listed)
    if len(axes) == 1:
        return vector_norm(x, axis=axes[0], keepdims=keepdims, ord=2 if ord is None else ord)
    if len(set(axes)) != 2 or len(axes) != 2:
        raise ShapeError(located(
            f"linalg.norm: a norm is taken along one axis or two different ones, not along {axes} of an array of shape "
            f"{shape_of(x)}; give axis="))
    result = matrix_norm(moveaxis(x, axes, (-2, -1)), ord=ord)
    return expand_dims(result, axes) if keepdims else result


def cond(x, p=None):
    """The condition number of matrices [..., m, n]: the norm times that of the inverse; infinite if there is none.

    p: 2 (also None) or -2, which take any matrix, or another norm of `matrix_norm` for a square one.
    """
    x = _inexact("linalg.cond", x)
    f.check_matrix("linalg.cond", shape_of(x), square=p not in (None, 2, -2))
    if 0 in shape_of(x)[-2:]:
        raise ShapeError(located(f"linalg.cond: an array of shape {shape_of(x)} has matrices without elements"))
    if p is None or p == 2:
        s = svdvals(x)
        return ufuncs.divide(s[..., 0], s[..., -1])
    if p == -2:
        s = svdvals(x)
        result = ufuncs.divide(s[..., -1], s[..., 0])
    else:
        result = ufuncs.multiply(matrix_norm(x, ord=p), matrix_norm(inv(x), ord=p))
    known = ufuncs.logical_not(reductions.any(ufuncs.isnan(x), axis=(-2, -1)))
    return where(ufuncs.logical_and(ufuncs.isnan(result), known), np.inf, result)


# ---- products -----------------------------------------------------------------------------------------------------


def matrix_power(a, n: int):
    """The product of `n` copies of a square matrix [..., m, m] by repeated squaring; of its inverse if n < 0."""
    check_array("linalg.matrix_power", a)
    f.check_matrix("linalg.matrix_power", shape_of(a), square=True)
    try:
        n = operator.index(n)
    except TypeError:
        raise ArgumentError(located(f"linalg.matrix_power: the exponent must be an integer, not {n!r}")) from None
    a = asarray(a)
    if n == 0:
        return broadcast_to(eye(shape_of(a)[-1], dtype=dtype_of(a)), shape_of(a))
    if n < 0:
        a, n = inv(a), -n
    result = None
    while n:
        if n & 1:
            result = a if result is None else _matmul(result, a)
        n >>= 1
        a = _matmul(a, a) if n else a
    return result


def multi_dot(arrays: Sequence, *, precision=None):
    """The product of two or more matrices, of which the first may be a row vector and the last a column vector.

    They are multiplied in the order that needs the fewest multiplications, which is found by dynamic programming
    (Cormen, Leiserson, Rivest and Stein, Introduction to Algorithms, 15.2).
    """
    check_array("linalg.multi_dot", *arrays)
    shapes = [shape_of(x) for x in arrays]
    ends = len(shapes) >= 2 and all(len(shape) in (1, 2) for shape in (shapes[0], shapes[-1]))
    if not ends or any(len(shape) != 2 for shape in shapes[1:-1]):
        raise ShapeError(located(
            f"linalg.multi_dot takes two or more matrices (first and last may be vectors), not shapes {shapes}"))
    for number, (left, right) in enumerate(zip(shapes, shapes[1:])):
        if left[-1] != right[0]:
            raise ShapeError(located(
                f"linalg.multi_dot: matrix {number} of shape {left} has {left[-1]} columns, but the next of shape "
                f"{right} has {right[0]} rows"))
    rows, columns = (1 if len(shape) == 1 else shape[end] for end, shape in ((0, shapes[0]), (-1, shapes[-1])))
    splits = _cheapest_splits([rows, *(shape[0] for shape in shapes[1:]), columns])

    def product(first: int, last: int):
        if first == last:
            return arrays[first]
        cut = splits[first, last]
        return _matmul(product(first, cut), product(cut + 1, last), precision=precision)

    return product(0, len(shapes) - 1)


def _cheapest_splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """For matrices k of sizes[k] x sizes[k + 1]: (first, last) -> where the product is cut for the least work."""
    count = len(sizes) - 1
    cost = {(k, k): 0 for k in range(count)}
    splits = {}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            costs = {cut: cost[first, cut] + cost[cut + 1, last] + sizes[first] * sizes[cut + 1] * sizes[last + 1]
                     for cut in range(first, last)}
            splits[first, last] = min(costs, key=costs.__getitem__)
            cost[first, last] = costs[splits[first, last]]
    return splits


def matmul(x1, x2, /, *, precision=None, preferred_element_type=None):
    """The product of matrices; see `ftiny.numpy.matmul`."""
    return _matmul(x1, x2, precision=precision, preferred_element_type=preferred_element_type)


def tensordot(x1, x2, /, *, axes=2, precision=None, preferred_element_type=None):
    """The sum of products over pairs of axes; see `ftiny.numpy.tensordot`."""
    return contractions.tensordot(x1, x2, axes, precision=precision, preferred_element_type=preferred_element_type)


def vecdot(x1, x2, /, *, axis: int = -1, precision=None):
    """The sum of products along `axis`, where a complex `x1` is conjugated; see `ftiny.numpy.vecdot`."""
    return contractions.vecdot(x1, x2, axis, precision=precision)


def outer(x1, x2, /):
    """The products [m, n] of every element of a vector [m] with every element of a vector [n]."""
    check_array("linalg.outer", x1, x2)
    if len(shape_of(x1)) != 1 or len(shape_of(x2)) != 1:
        raise ShapeError(located(
            f"linalg.outer takes two vectors, not shapes {shape_of(x1)} and {shape_of(x2)}; "
            "ftiny.numpy.outer takes any"))
    return contractions.outer(x1, x2)


def cross(x1, x2, /, *, axis: int = -1):
    """The vector product of vectors of 3 components along `axis`."""
    check_array("linalg.cross", x1, x2)
    for x in (x1, x2):
        extent = shape_of(x)[canonical_axis(axis, len(shape_of(x)), "linalg.cross")]
        if extent != 3:
            raise ShapeError(located(
                f"linalg.cross: axis {axis} of an array of shape {shape_of(x)} has size {extent}, not 3"))
    return contractions.cross(x1, x2, axis)


def matrix_transpose(x, /):
    """Matrices [..., m, n] as [..., n, m]."""
    return manipulation.matrix_transpose(x)


def diagonal(x, /, *, offset: int = 0):
    """The diagonals of matrices [..., m, n]; see `ftiny.numpy.diagonal`."""
    return creation.diagonal(x, offset, -2, -1)


def trace(x, /, *, offset: int = 0, dtype=None):
    """The sums over the diagonals of matrices [..., m, n]."""
    return creation.trace(x, offset, -2, -1, dtype)
