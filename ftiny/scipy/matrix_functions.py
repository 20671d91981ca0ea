"""Schur and Hessenberg forms and what is computed by them: functions of matrices, Sylvester's equation.

Input: square matrices [..., n, n]; integers become float32. Output: arrays. They are public in `ftiny.scipy.linalg`:

    >>> sqrtm(ftiny.numpy.array([[4.0, 0.0], [0.0, 9.0]]))
    Array([[2.+0.j, 0.+0.j],
           [0.+0.j, 3.+0.j]], dtype=complex64)

The forms themselves have no derivative, because they are not unique; `sqrtm` and `solve_sylvester` have one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftiny import dtypes
from ftiny import factorizations as f
from ftiny import factorizations_similar as similar
from ftiny.errors import ArgumentError, ShapeError
from ftiny.lax.linalg import householder_product
from ftiny.numpy import ufuncs
from ftiny.numpy.common import broadcast_shapes, convert, dtype_of, shape_of
from ftiny.numpy.contractions import matmul
from ftiny.numpy.creation import diagonal, eye, triu
from ftiny.numpy.indexing import where
from ftiny.numpy.manipulation import broadcast_to, expand_dims, pad, reshape
from ftiny.source import located
from ftiny.transforms.control import fori_loop


def schur(a, output: str = "real"):
    """`(T, Z)` of A = Z T Zᴴ with Z unitary and T upper triangular.

    output: 'real': T of a real matrix is real and has 2x2 blocks on its diagonal for pairs of complex eigenvalues;
    'complex': both are complex and T is triangular. The order of the eigenvalues, and signs, are not fixed.
    """
    if output not in ("real", "complex"):
        raise ArgumentError(located(f"scipy.linalg.schur: output must be 'real' or 'complex', not {output!r}"))
    a = f.as_matrices("scipy.linalg.schur", a, square=True)
    t, z = similar.schur(convert(a, dtypes.complex_dtype(dtype_of(a))) if output == "complex" else a)
    return t, z


def rsf2csf(T, Z, check_finite: bool = True):  # noqa: N803
    """The complex Schur form `(T, Z)` from the real one; both [..., n, n]. `check_finite` changes nothing."""
    t = f.as_matrices("scipy.linalg.rsf2csf", T, square=True)
    z = f.as_matrices("scipy.linalg.rsf2csf", Z, square=True)
    if shape_of(t)[-1] != shape_of(z)[-1]:
        raise ShapeError(located(
            f"scipy.linalg.rsf2csf takes two matrices of one size, not of shapes {shape_of(t)} and {shape_of(z)}"))
    dtype = dtypes.result_type(t, z)
    batch = broadcast_shapes(shape_of(t)[:-2], shape_of(z)[:-2], name="scipy.linalg.rsf2csf")
    t, z = (broadcast_to(convert(x, dtype), (*batch, *shape_of(x)[-2:])) for x in (t, z))
    return tuple(similar.complex_from_real(t, z))


def hessenberg(a, *, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True):
    """H of A = Q H Qᴴ, 0 below its first subdiagonal, with Q unitary; with `calc_q` the pair `(H, Q)`."""
    a = f.as_matrices("scipy.linalg.hessenberg", a, square=True)
    packed, taus = similar.hessenberg(a)
    h, n = triu(packed, -1), shape_of(a)[-1]
    if not calc_q:
        return h
    if n < 2:
        return h, broadcast_to(eye(n, dtype=dtype_of(a)), shape_of(a))
    inner = householder_product(packed[..., 1:, :-1], taus)
    margin = [(0, 0)] * (len(shape_of(a)) - 2) + [(1, 0), (1, 0)]
    corner = np.zeros((n, n))
    corner[0, 0] = 1
    return h, ufuncs.add(pad(inner, margin), corner.astype(dtype_of(a)))


def sqrtm(A, blocksize: int = 1):  # noqa: N803
    """The principal square root of matrices [..., n, n], complex: X with X X = A and no eigenvalue left of 0.

    Infinite or NaN where A is singular and has no root. The derivative is that of the equation (Higham, Functions of
    Matrices, 2008, 6.1). `blocksize` must be 1.
    """
    if blocksize != 1:
        raise ArgumentError(located(f"scipy.linalg.sqrtm: blocksize must be 1, not {blocksize!r}"))
    a = f.as_matrices("scipy.linalg.sqrtm", A, square=True)
    return similar.square_root(convert(a, dtypes.complex_dtype(dtype_of(a))))


def funm(A, func: Callable, disp: bool = True):  # noqa: N803
    """A function of a matrix [n, n], complex: `func` of the eigenvalues, carried over by the Schur form.

    func: an elementwise function of a complex vector. The recurrence of Parlett fills the rest of the triangle (Golub
    and Van Loan, Matrix Computations, 4th ed., 9.1.4), and loses digits where eigenvalues are close to each other.
    disp: whether the result is given alone; else with an estimate of its relative error, `(result, error)`.
    """
    a = f.as_matrices("scipy.linalg.funm", A, square=True)
    if len(shape_of(a)) != 2:
        raise ShapeError(located(f"scipy.linalg.funm takes one matrix, not shape {shape_of(a)}; use ftiny.vmap"))
    t, z = schur(a, "complex")
    n, values = shape_of(a)[0], diagonal(t)
    gaps = ufuncs.subtract(expand_dims(values, 0), expand_dims(values, 1))
    safe = where(ufuncs.equal(gaps, 0), 1, gaps)
    distance = np.arange(n) - np.arange(n)[:, None]

    def next_diagonal(p, found):
        # Elements that are not known yet are 0, so the commutator is the numerator of the recurrence.
        commutator = ufuncs.subtract(matmul(t, found), matmul(found, t))
        return where(ufuncs.equal(distance, p), ufuncs.divide(commutator, safe), found)

    start = ufuncs.multiply(eye(n, dtype=dtype_of(t)), expand_dims(func(values), 0))
    result = matmul(matmul(z, fori_loop(1, n, next_diagonal, start)), f.adjoint(z))
    return result if disp else (result, _parlett_error(result, t, gaps, distance))


def _parlett_error(result, t, gaps, distance):
    """The estimate of scipy: the rounding error over the smallest gap between two eigenvalues."""
    epsilon = float(np.finfo(dtype_of(result)).eps)
    real = dtypes.real_dtype(dtype_of(result))
    least = where(distance > 0, ufuncs.abs(gaps), np.inf).min() if len(distance) > 1 else ufuncs.abs(t[0, 0])
    least = ufuncs.minimum(least, ufuncs.abs(t[0, 0]))
    above = ufuncs.abs(triu(t, 1)).sum(0).max()
    error = epsilon / where(ufuncs.equal(least, 0), epsilon, least) * above
    error = ufuncs.minimum(1.0, ufuncs.maximum(epsilon, error))
    return convert(where(ufuncs.isfinite(result).all(), error, np.inf), real)


def solve_sylvester(A, B, C, *, method: str = "schur", tol: float = 1e-8):  # noqa: N803
    """X of A X + X B = C for A[..., m, m], B[..., n, n] and C[..., m, n].

    By the Schur forms of A and B, whatever `method` ('schur' or 'eigen') says; `tol` is ignored. NaN or infinite where
    an eigenvalue of A is one of -B. All three have derivatives.
    """
    name = "scipy.linalg.solve_sylvester"
    if method not in ("schur", "eigen"):
        raise ArgumentError(located(f"{name}: method must be 'schur' or 'eigen', not {method!r}"))
    a, b = f.as_matrices(name, A, square=True), f.as_matrices(name, B, square=True)
    c = f.as_matrices(name, C)
    dtype = dtypes.result_type(a, b, c)
    batch = broadcast_shapes(shape_of(a)[:-2], shape_of(b)[:-2], shape_of(c)[:-2], name=name)
    a, b, c = (broadcast_to(convert(x, dtype), (*batch, *shape_of(x)[-2:])) for x in (a, b, c))
    return similar.sylvester(a, b, c)


def qr_multiply(a, c, mode: str = "right", pivoting: bool = False, conjugate: bool = False, overwrite_a: bool = False,
                overwrite_c: bool = False):
    """`(c Q, R)` or, with mode 'left', `(Q c, R)` for a[..., m, n] = Q R with Q[..., m, k] and k = min(m, n).

    c: a vector or matrices [..., m] before or [..., k, ...] after Q. conjugate: the conjugate of Q is taken. Pivoting
    raises `ArgumentError`: numpy, which does the work, has none.
    """
    name = "scipy.linalg.qr_multiply"
    if mode not in ("right", "left") or pivoting:
        raise ArgumentError(located(
            f"{name}: mode must be 'right' or 'left', and pivoting False, because there is no QR with pivoting here; "
            f"not {mode!r} and {pivoting!r}"))
    a, c = f.as_matrices(name, a), f.as_inexact(name, c)
    dtype = dtypes.result_type(a, c)
    q, r = f.qr(convert(a, dtype))
    q, c = ufuncs.conj(q) if conjugate else q, convert(c, dtype)
    vector = len(shape_of(c)) == 1
    c = expand_dims(c, -1 if mode == "left" else 0) if vector else c
    inner, wanted = (shape_of(c)[-2], shape_of(q)[-1]) if mode == "left" else (shape_of(c)[-1], shape_of(q)[-2])
    if inner != wanted:
        raise ShapeError(located(
            f"{name}: Q of a matrix of shape {shape_of(a)} has shape {shape_of(q)}, which does not fit c of shape "
            f"{shape_of(c)} on the {mode}"))
    product = matmul(q, c) if mode == "left" else matmul(c, q)
    return (reshape(product, (-1,)) if vector else product), r
