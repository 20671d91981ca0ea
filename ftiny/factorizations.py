"""Factorisations of dense matrices as primitives, with their derivatives.

Input: arrays whose last two axes are matrices; any axes before them are a batch. Output: their factors:

    linear_solve  triangular_solve    X of A X = B              linear in B
    cholesky  lu  qr                  triangular factors
    svd  eigh  eig                    singular values, eigenvalues, and their vectors
    slogdet  determinant  adjugate    determinants

    >>> cholesky(ftiny.numpy.array([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 0.],
           [1., 2.]], dtype=float32)

They run on the host, in LAPACK through numpy (`factorizations_host.py`); in a compiled program each is a step of its
own, and the log at level 1 says so when the program is compiled. The derivatives are products of matrices and
triangular solves, which `vmap`, `jit` and further derivatives take as they are. Where a matrix has no factors the
result is NaN. The functions with arguments to be converted and checked are in `ftiny.numpy.linalg`,
`ftiny.scipy.linalg` and `ftiny.lax.linalg`.

The rules are those of Giles, *Collected matrix derivative results for forward and reverse mode algorithmic
differentiation* (2008), where nothing else is named.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftiny import dtypes
from ftiny import factorizations_host as host
from ftiny import primitives as p
from ftiny.core import ZERO, Anchor, Aval, Linear, Primitive
from ftiny.errors import DtypeError, RuleError, ShapeError
from ftiny.numpy import ufuncs
from ftiny.numpy.common import check_array, convert, dtype_of, shape_of
from ftiny.numpy.contractions import matmul
from ftiny.numpy.creation import asarray, diagonal, eye, tril, triu
from ftiny.numpy.manipulation import broadcast_to, concatenate, matrix_transpose, reshape
from ftiny.source import located

# ---- operands and rules that all share ------------------------------------------------------------------------------


def check_matrix(name: str, shape: tuple[int, ...], square: bool = False) -> None:
    """Raise `ShapeError` unless the last two axes are a matrix, a square one if `square`."""
    if len(shape) < 2:
        raise ShapeError(located(
            f"{name} takes matrices (the last two axes), but the array has shape {shape}; give it the missing axes, "
            "for example x[None, :]"))
    if square and shape[-1] != shape[-2]:
        raise ShapeError(located(
            f"{name} takes square matrices, but the last two axes of an array of shape {shape} have sizes "
            f"{shape[-2]} and {shape[-1]}"))


def as_matrices(name: str, a, square: bool = False):
    """The argument of a factorisation: an array of matrices of float32, float64, complex64 or complex128.

    Integers and bools become float32. Raises `ShapeError` for what is no matrix, `DtypeError` for 16-bit floats.
    """
    check_array(name, a)
    check_matrix(name, shape_of(a), square)
    return as_inexact(name, a)


def as_inexact(name: str, a):
    """`a` as an array of a dtype that LAPACK has; integers and bools become float32. Raises `DtypeError`."""
    check_array(name, a)
    dtype = dtype_of(a)
    if dtype in (dtypes.float16, dtypes.bfloat16):
        raise DtypeError(located(
            f"{name} works in float32, float64, complex64 or complex128, not in {dtype}; convert with "
            ".astype('float32')"))
    return asarray(convert(a, dtype if dtypes.is_inexact(dtype) else dtypes.float32))


def adjoint(a):
    """The conjugated transposes of matrices."""
    return matrix_transpose(ufuncs.conj(a))


def _times(*matrices):
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matmul(product, matrix)
    return product


def _identity_like(a, n: int):
    return eye(n, dtype=dtype_of(a))


def _skip_diagonal(differences):
    """1 / differences off the diagonal, 0 on it."""
    one = eye(shape_of(differences)[-1], dtype=dtype_of(differences))
    return ufuncs.subtract(ufuncs.divide(1, ufuncs.add(differences, one)), one)


def _column(s):
    return reshape(s, (*shape_of(s), 1))


def _row(s):
    return reshape(s, (*shape_of(s)[:-1], 1, shape_of(s)[-1]))


def _batch_rule(bind: Callable) -> Callable:
    """The mapped axis goes in front of the batch; numpy takes the batch as a whole."""

    def batch(axis_size, args, dims, **params):
        outs = bind(*(p.batch_to_front(x, dim, axis_size) for x, dim in zip(args, dims)), **params)
        return outs, [0] * len(outs) if isinstance(outs, list) else 0

    return batch


def host_primitive(name: str, abstract: Callable, numpy: Callable, jvp: Callable, transpose: Callable = p.not_linear,
                   batch: Callable | None = None, single: bool = False, kept: int = 2) -> Primitive:
    """A primitive that runs on the host. single: it has one result; kept: how many axes of its inputs are no batch."""

    def factors(*avals: Aval, **params) -> str:
        # A batch may be split over devices, a matrix is kept whole.
        names = p.letters(avals[0].ndim - kept)
        ins = ",".join(names + "?" * kept for _ in avals)
        return ins + "->" + ",".join(names + "?" * (out.ndim - len(names)) for out in made.infer(avals, params))

    made: Primitive = Primitive(
        name,
        multiple_results=not single,
        abstract=abstract,
        numpy=numpy,
        jvp=jvp,
        transpose=transpose,
        batch=batch or _batch_rule(lambda *args, **params: made.bind(*args, **params)),
        factors=factors,
        lower=Anchor("host"),
    )
    return made


# ---- solving --------------------------------------------------------------------------------------------------------


def _solve_abstract(name: str, a: Aval, b: Aval) -> Aval:
    check_matrix(name, a.shape, square=True)
    if b.ndim != a.ndim or b.shape[:-1] != a.shape[:-1] or a.dtype != b.dtype:
        raise ShapeError(located(f"{name}: {a} and {b} do not fit: the matrices need one dtype, equal batches and "
                                 f"{a.shape[-1]} rows on the right"))
    return Aval(b.shape, b.dtype)


def _solve_batch(bind: Callable) -> Callable:
    """Many right sides of one matrix are more columns of one right side."""

    def batch(axis_size, args, dims, **params):
        (a, b), (a_dim, b_dim) = args, dims
        if a_dim is not None:
            return bind(*(p.batch_to_front(x, dim, axis_size) for x, dim in zip(args, dims)), **params), 0
        b = p.move_axis(b, b_dim, len(shape_of(b)) - 2)
        *front, size, k = shape_of(b)
        x = bind(a, p.reshape(b, (*front, size * k)), **params)
        return p.reshape(x, (*front, size, k)), len(front)

    return batch


def _linear_solve_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    x = linear_solve(a, b)
    right = p.add_tangents(db, ZERO if da is ZERO else p.neg(matmul(da, x)))
    return x, linear_solve(a, right)


linear_solve_p = host_primitive(
    "linear_solve",
    abstract=lambda a, b: _solve_abstract("linear_solve", a, b),
    numpy=lambda a, b: host.solve(a, b)[0],
    jvp=_linear_solve_jvp,
    transpose=lambda ct, a, b: (
        [ZERO, linear_solve(matrix_transpose(a), ct)] if isinstance(b, Linear) else p.not_linear()),
    batch=_solve_batch(lambda a, b: linear_solve(a, b)),
    single=True,
)


def linear_solve(a, b):
    """X of A X = B for a[..., n, n] and b[..., n, k] of one dtype; NaN where A is singular."""
    return linear_solve_p.bind(a, b)


def _triangle(a, lower: bool, unit_diagonal: bool):
    """The elements of `a` that a triangular solve reads, 0 elsewhere."""
    k = 1 if unit_diagonal else 0
    return tril(a, -k) if lower else triu(a, k)


def _triangular_solve_jvp(primals, tangents, **params):
    (a, b), (da, db) = primals, tangents
    x = triangular_solve(a, b, **params)
    change = ZERO if da is ZERO else p.neg(matmul(_triangle(da, **params), x))
    return x, triangular_solve(a, p.add_tangents(db, change), **params)


def _triangular_solve_transpose(ct, a, b, *, lower, unit_diagonal):
    if not isinstance(b, Linear):
        return p.not_linear()
    return [ZERO, triangular_solve(matrix_transpose(a), ct, lower=not lower, unit_diagonal=unit_diagonal)]


triangular_solve_p = host_primitive(
    "triangular_solve",
    abstract=lambda a, b, *, lower, unit_diagonal: _solve_abstract("triangular_solve", a, b),
    numpy=lambda a, b, *, lower, unit_diagonal: host.substitute(a, b, lower, unit_diagonal),
    jvp=_triangular_solve_jvp,
    transpose=_triangular_solve_transpose,
    batch=_solve_batch(lambda a, b, **params: triangular_solve(a, b, **params)),
    single=True,
)


def triangular_solve(a, b, lower: bool = False, unit_diagonal: bool = False):
    """X of A X = B, where A is one triangle of a[..., n, n], with ones on its diagonal if `unit_diagonal`."""
    return triangular_solve_p.bind(a, b, lower=lower, unit_diagonal=unit_diagonal)


def _solve_from_right(b, a, lower: bool, unit_diagonal: bool = False):
    """X of X A = B for a triangle A."""
    return matrix_transpose(triangular_solve(matrix_transpose(a), matrix_transpose(b), not lower, unit_diagonal))


# ---- triangular factors ---------------------------------------------------------------------------------------------


def _square_abstract(name: str) -> Callable:
    def abstract(a: Aval, **params) -> Aval:
        check_matrix(name, a.shape, square=True)
        return Aval(a.shape, a.dtype)

    return abstract


def _cholesky_jvp(primals, tangents):
    """dL = L phi(inv(L) dA inv(L)^H), where phi takes the lower triangle and half of the diagonal.

    Murray, Differentiation of the Cholesky decomposition (2016).
    """
    (a,), (da,) = primals, tangents
    factor = cholesky(a)
    inner = triangular_solve(factor, adjoint(triangular_solve(factor, adjoint(da), lower=True)), lower=True)
    n = shape_of(a)[-1]
    half = np.tril(np.ones((n, n))) - 0.5 * np.eye(n)
    return factor, matmul(factor, ufuncs.multiply(inner, asarray(half.astype(dtype_of(a)))))


cholesky_p = host_primitive(
    "cholesky",
    abstract=_square_abstract("cholesky"),
    numpy=lambda a: host.cholesky(a)[0],
    jvp=_cholesky_jvp,
    single=True,
)


def cholesky(a):
    """The lower triangle L of A = L L^H, NaN where A is not positive definite; only its lower triangle is read.

    Its tangent has to be Hermitian: make A so, (A + A^H) / 2, before.
    """
    return cholesky_p.bind(a)


def reorder_rows(x, order):
    """The matrices `x[..., m, n]` with row i taken from row `order[..., i]`."""
    shape = shape_of(x)
    return p.take_along_axis(x, broadcast_to(_column(order), shape), len(shape) - 2)


def _lu_abstract(a: Aval) -> list[Aval]:
    check_matrix("lu", a.shape)
    *batch, m, n = a.shape
    return [Aval(a.shape, a.dtype), Aval((*batch, min(m, n)), dtypes.int32), Aval((*batch, m), dtypes.int32)]


def _lu_jvp(primals, tangents):
    """With P A = L U and F = inv(L) P dA inv(U), dL = L times F below the diagonal and dU = the rest of F times U.

    Of a matrix that is not square the first square is factored so; the rows or columns beyond it follow from it.
    """
    (a,), (da,) = primals, (asarray(tangents[0]),)
    count = min(shape_of(a)[-2:])
    factors, pivots, order = lu(a)
    permuted = reorder_rows(da, order)
    square = factors[..., :count, :count]
    lower, upper = ufuncs.add(tril(square, -1), _identity_like(a, count)), triu(square)
    top = triangular_solve(lower, permuted[..., :count, :], lower=True, unit_diagonal=True)
    inner = _solve_from_right(top[..., :count], upper, lower=False)
    below, above = tril(inner, -1), triu(inner)
    tangent = ufuncs.add(matmul(lower, below), matmul(above, upper))
    more_rows, more_columns = factors[..., count:, :count], factors[..., :count, count:]
    if shape_of(a)[-2] > count:
        change = ufuncs.subtract(_solve_from_right(permuted[..., count:, :], upper, lower=False),
                                 matmul(more_rows, above))
        tangent = concatenate([tangent, change], axis=-2)
    if shape_of(a)[-1] > count:
        change = ufuncs.subtract(top[..., count:], matmul(below, more_columns))
        tangent = concatenate([tangent, change], axis=-1)
    return [factors, pivots, order], [tangent, ZERO, ZERO]


lu_p = host_primitive("lu", abstract=_lu_abstract, numpy=lambda a: list(host.lu(a)), jvp=_lu_jvp)


def lu(a) -> list:
    """[L below and U on and above the diagonal, int32 pivots, int32 order of the rows] of P A = L U.

    Row i was swapped with row pivots[i]; the rows of P A are A[order].
    """
    return lu_p.bind(a)


lu_order_p = host_primitive(
    "lu_order",
    abstract=lambda pivots, *, size: Aval((*pivots.shape[:-1], size), dtypes.int32),
    numpy=lambda pivots, *, size: host.lu_order(pivots, size),
    jvp=lambda primals, tangents, *, size: (lu_order(primals[0], size), ZERO),
    kept=1,
    single=True,
)


def lu_order(pivots, size: int):
    """The order of `size` rows that comes from swapping row i with row `pivots[..., i]`, for all i in order."""
    return lu_order_p.bind(pivots, size=size)


def _qr_abstract(a: Aval, *, full_matrices: bool) -> list[Aval]:
    check_matrix("qr", a.shape)
    *batch, m, n = a.shape
    inner = m if full_matrices else min(m, n)
    return [Aval((*batch, m, inner), a.dtype), Aval((*batch, inner, n), a.dtype)]


def _qr_jvp(primals, tangents, *, full_matrices):
    """Q^H dQ is skew and dR is upper triangular, which splits Q^H dA inv(R) = Q^H dQ + dR inv(R) in two.

    Walter, Lehmann and Lamour, On evaluating higher-order derivatives of the QR decomposition (2012). Of a wide matrix
    the first square is factored so; the columns beyond it follow from R = Q^H A.
    """
    (a,), (da,) = primals, tangents
    m, n = shape_of(a)[-2:]
    if full_matrices and m > n:
        raise RuleError(located(
            f"the derivative of qr with all {m} columns of Q is not defined for a matrix of {m} rows and {n} columns: "
            "those beyond the columns of A are free to turn. Use mode='reduced'"))
    q, r = qr(a, full_matrices)
    square, change = r[..., :m], asarray(da)[..., :m]
    scaled = _solve_from_right(change, square, lower=False)
    inner = matmul(adjoint(q), scaled)
    below = tril(inner, -1)
    turn = ufuncs.subtract(below, adjoint(below))
    if dtypes.kind(dtype_of(a)) == "complex":  # the diagonal of R stays real
        diagonal_part = ufuncs.multiply(inner, _identity_like(a, shape_of(inner)[-1]))
        turn = ufuncs.add(turn, ufuncs.divide(ufuncs.subtract(diagonal_part, adjoint(diagonal_part)), 2))
    dq = ufuncs.add(matmul(q, ufuncs.subtract(turn, inner)), scaled)
    dr = matmul(ufuncs.subtract(inner, turn), square)
    if n > m:
        more = ufuncs.add(matmul(adjoint(dq), a[..., m:]), matmul(adjoint(q), asarray(da)[..., m:]))
        dr = concatenate([dr, more], axis=-1)
    return [q, r], [dq, dr]


qr_p = host_primitive("qr", abstract=_qr_abstract, numpy=lambda a, *, full_matrices: list(host.qr(a, full_matrices)),
                  jvp=_qr_jvp)


def qr(a, full_matrices: bool = False) -> list:
    """[Q, R] of A = Q R; Q has min(m, n) columns, or m with `full_matrices`."""
    return qr_p.bind(a, full_matrices=full_matrices)


# ---- values and vectors ---------------------------------------------------------------------------------------------


def _svd_abstract(a: Aval, *, full_matrices: bool, compute_uv: bool) -> list[Aval]:
    check_matrix("svd", a.shape)
    *batch, m, n = a.shape
    values = Aval((*batch, min(m, n)), dtypes.real_dtype(a.dtype))
    if not compute_uv:
        return [values]
    left, right = (m, n) if full_matrices else (min(m, n),) * 2
    return [Aval((*batch, m, left), a.dtype), values, Aval((*batch, right, n), a.dtype)]


def _svd_jvp(primals, tangents, *, full_matrices, compute_uv):
    """From P = U^H dA V: ds is its diagonal, and dU, dV turn within and out of the spaces of U and V.

    Townsend, Differentiating the singular value decomposition (2016), for complex matrices in the gauge where the
    diagonal of V^H dV is 0.
    """
    (a,), (da,) = primals, tangents
    m, n = shape_of(a)[-2:]
    if compute_uv and full_matrices and m != n:
        raise RuleError(located(
            f"the derivative of svd with full_matrices=True is not defined for a matrix of {m} rows and {n} columns: "
            "the vectors beyond the singular values are free to turn. Use full_matrices=False"))
    u, s, vh = svd(a, False, True)
    inner = _times(adjoint(u), da, adjoint(vh))
    ds = ufuncs.real(diagonal(inner, 0, -2, -1))
    if not compute_uv:
        return [s], [ds]
    squares = ufuncs.multiply(ufuncs.subtract(_row(s), _column(s)), ufuncs.add(_row(s), _column(s)))
    gaps = _skip_diagonal(squares)
    left, right = ufuncs.multiply(inner, _row(s)), ufuncs.multiply(inner, _column(s))
    turn_u = ufuncs.multiply(gaps, ufuncs.add(left, adjoint(left)))
    turn_v = ufuncs.multiply(gaps, ufuncs.add(right, adjoint(right)))
    if dtypes.kind(dtype_of(a)) == "complex":
        skew = ufuncs.divide(ufuncs.subtract(inner, adjoint(inner)), 2)
        turn_u = ufuncs.add(turn_u, ufuncs.divide(ufuncs.multiply(skew, _identity_like(s, min(m, n))), _row(s)))
    du, dv = matmul(u, turn_u), matmul(adjoint(vh), turn_v)
    if m > n:
        outside = matmul(da, adjoint(vh))
        du = ufuncs.add(du, ufuncs.divide(ufuncs.subtract(outside, _times(u, adjoint(u), outside)), _row(s)))
    if n > m:
        outside = matmul(adjoint(da), u)
        dv = ufuncs.add(dv, ufuncs.divide(ufuncs.subtract(outside, _times(adjoint(vh), vh, outside)), _row(s)))
    return [u, s, vh], [du, ds, adjoint(dv)]


svd_p = host_primitive(
    "svd",
    abstract=_svd_abstract,
    numpy=lambda a, *, full_matrices, compute_uv: list(host.svd(a, full_matrices, compute_uv)),
    jvp=_svd_jvp,
)


def svd(a, full_matrices: bool = False, compute_uv: bool = True) -> list:
    """[U, the singular values in descending order, V^H] of A = U S V^H; [the values] without `compute_uv`.

    The derivatives of the vectors are infinite where two singular values are equal, and where one is 0 of a matrix that
    is not square.
    """
    return svd_p.bind(a, full_matrices=full_matrices, compute_uv=compute_uv)


def _eigh_abstract(a: Aval, *, lower: bool) -> list[Aval]:
    check_matrix("eigh", a.shape, square=True)
    return [Aval(a.shape[:-1], dtypes.real_dtype(a.dtype)), Aval(a.shape, a.dtype)]


def _eigh_jvp(primals, tangents, *, lower):
    """dw is the diagonal of V^H dA V, and dV = V times its other elements over the gaps of the eigenvalues."""
    (a,), (da,) = primals, tangents
    w, v = eigh(a, lower)
    inner = _times(adjoint(v), da, v)
    turn = ufuncs.multiply(_skip_diagonal(ufuncs.subtract(_row(w), _column(w))), inner)
    return [w, v], [ufuncs.real(diagonal(inner, 0, -2, -1)), matmul(v, turn)]


eigh_p = host_primitive("eigh", abstract=_eigh_abstract, numpy=lambda a, *, lower: list(host.eigh(a, lower)),
                        jvp=_eigh_jvp)


def eigh(a, lower: bool = True) -> list:
    """[the real eigenvalues in ascending order, the orthonormal eigenvectors in columns] of a Hermitian matrix.

    Only one triangle is read. Its tangent has to be Hermitian: make A so, (A + A^H) / 2, before. The derivatives of the
    vectors are infinite where two eigenvalues are equal.
    """
    return eigh_p.bind(a, lower=lower)


def _eig_abstract(a: Aval, *, vectors: str) -> list[Aval]:
    check_matrix("eig", a.shape, square=True)
    dtype = dtypes.complex_dtype(a.dtype)
    values = Aval(a.shape[:-1], dtype)
    return [values] if vectors == "none" else [values, Aval(a.shape, dtype)]


def _eig_jvp(primals, tangents, *, vectors):
    """dw is the diagonal of inv(V) dA V.

    The eigenvectors come here only as a step to the second derivative of the eigenvalues, on which their lengths have
    no influence: dV is taken with a diagonal of inv(V) dV of 0.
    """
    (a,), (da,) = primals, tangents
    if vectors == "unit":
        raise RuleError(located(
            "the eigenvectors of a general matrix have no derivative, because their phases are free; use eigvals for "
            "the eigenvalues, or eigh for a symmetric matrix"))
    w, v = eig(a, "free")
    inner = linear_solve(v, matmul(convert(da, dtype_of(v)), v))
    dw = diagonal(inner, 0, -2, -1)
    if vectors == "none":
        return [w], [dw]
    turn = ufuncs.multiply(_skip_diagonal(ufuncs.subtract(_row(w), _column(w))), inner)
    return [w, v], [dw, matmul(v, turn)]


eig_p = host_primitive("eig", abstract=_eig_abstract, numpy=lambda a, *, vectors: list(host.eig(a, vectors != "none")),
                   jvp=_eig_jvp)


def eig(a, vectors: str = "unit") -> list:
    """[the eigenvalues, the eigenvectors in columns], complex.

    vectors: 'unit': of length 1, without a derivative; 'none': only the values, which have one where they are simple;
    'free': with a derivative that leaves the lengths out of account, for functions that do not depend on them.
    """
    return eig_p.bind(a, vectors=vectors)


# ---- determinants ---------------------------------------------------------------------------------------------------


def _slogdet_abstract(a: Aval) -> list[Aval]:
    check_matrix("slogdet", a.shape, square=True)
    return [Aval(a.shape[:-2], a.dtype), Aval(a.shape[:-2], dtypes.real_dtype(a.dtype))]


def _slogdet_jvp(primals, tangents):
    """d log det A = tr(inv(A) dA), of which the real part is that of the logarithm and the rest turns the sign."""
    (a,), (da,) = primals, tangents
    sign, logarithm = slogdet(a)
    change = diagonal(linear_solve(a, asarray(da)), 0, -2, -1).sum(-1)
    if dtypes.kind(dtype_of(a)) != "complex":
        return [sign, logarithm], [ZERO, change]
    real = ufuncs.real(change)
    return [sign, logarithm], [ufuncs.multiply(sign, ufuncs.subtract(change, convert(real, dtype_of(a)))), real]


slogdet_p = host_primitive("slogdet", abstract=_slogdet_abstract, numpy=lambda a: list(host.slogdet(a)),
                           jvp=_slogdet_jvp)


def slogdet(a) -> list:
    """[the sign of the determinant (of absolute value 1 if complex), the logarithm of its absolute value]."""
    return slogdet_p.bind(a)


def _determinant_jvp(primals, tangents):
    """Jacobi's formula, d det A = tr(adj(A) dA), which holds at singular matrices too."""
    (a,), (da,) = primals, tangents
    terms = ufuncs.multiply(matrix_transpose(adjugate(a)), da)
    return determinant(a), terms.sum((-2, -1))


def _determinant_abstract(a: Aval) -> Aval:
    check_matrix("determinant", a.shape, square=True)
    return Aval(a.shape[:-2], a.dtype)


determinant_p = host_primitive("determinant", abstract=_determinant_abstract, numpy=host.determinant,
                               jvp=_determinant_jvp, single=True)


def determinant(a):
    """The determinant. Its second derivative is NaN where A is singular."""
    return determinant_p.bind(a)


def _adjugate_jvp(primals, tangents):
    """From A adj(A) = det(A) I: A d adj(A) = tr(adj(A) dA) I - dA adj(A)."""
    (a,), (da,) = primals, tangents
    out = adjugate(a)
    inner = matmul(da, out)
    trace = diagonal(inner, 0, -2, -1).sum(-1)
    scaled = ufuncs.multiply(reshape(trace, (*shape_of(trace), 1, 1)), _identity_like(a, shape_of(a)[-1]))
    return out, linear_solve(a, ufuncs.subtract(scaled, inner))


adjugate_p = host_primitive("adjugate", abstract=_square_abstract("adjugate"), numpy=host.adjugate, jvp=_adjugate_jvp,
                        single=True)


def adjugate(a):
    """The transposed matrix of cofactors, det(A) inv(A) for every A, singular or not."""
    return adjugate_p.bind(a)
