"""Similarity transformations of dense matrices as primitives: Schur and Hessenberg forms, and equations solved by them.

Input: arrays whose last two axes are square matrices; any axes before them are a batch. Output:

    schur  complex_from_real      T upper triangular (of real matrices with 2x2 blocks), Z unitary, A = Z T Zᴴ
    hessenberg  tridiagonal       the form, and the reflections that lead to it, packed as LAPACK does
    sylvester                     X of A X + X B = C                linear in C
    square_root                   X of X X = A

    >>> sylvester(ftiny.numpy.eye(2), ftiny.numpy.eye(2), ftiny.numpy.ones((2, 2)))
    Array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)

They run on the host (`factorizations_similar_host.py`), like those of `factorizations.py`. The forms are not unique, so
they have no derivative; the solutions have one.
"""

from __future__ import annotations

from collections.abc import Callable

from ftiny import dtypes
from ftiny import factorizations_similar_host as host
from ftiny import primitives as p
from ftiny.core import ZERO, Aval, Linear
from ftiny.errors import RuleError, ShapeError
from ftiny.factorizations import check_matrix, host_primitive
from ftiny.numpy.contractions import matmul
from ftiny.numpy.manipulation import matrix_transpose
from ftiny.source import located


def _without_derivative(what: str, instead: str) -> Callable:
    def jvp(primals, tangents, **params):
        raise RuleError(located(f"the {what} of a matrix has no derivative, because it is not unique; {instead}"))

    return jvp


# ---- forms ----------------------------------------------------------------------------------------------------------


def _pair_abstract(name: str) -> Callable:
    def abstract(a: Aval, *others: Aval) -> list[Aval]:
        check_matrix(name, a.shape, square=True)
        return [Aval(a.shape, a.dtype)] * 2

    return abstract


schur_p = host_primitive(
    "schur",
    abstract=_pair_abstract("schur"),
    numpy=lambda a: list(host.schur(a)),
    jvp=_without_derivative("Schur form", "sqrtm, expm and eigvals have derivatives"),
)


def schur(a) -> list:
    """[T, Z] of A = Z T Zᴴ."""
    return schur_p.bind(a)


def _complex_from_real_abstract(t: Aval, z: Aval) -> list[Aval]:
    check_matrix("rsf2csf", t.shape, square=True)
    if t.shape != z.shape:
        raise ShapeError(located(f"rsf2csf takes two matrices of one shape, not of {t.shape} and {z.shape}"))
    dtype = dtypes.complex_dtype(t.dtype)
    return [Aval(t.shape, dtype)] * 2


complex_from_real_p = host_primitive(
    "complex_from_real",
    abstract=_complex_from_real_abstract,
    numpy=lambda t, z: list(host.complex_from_real(t, z)),
    jvp=_without_derivative("Schur form", "sqrtm, expm and eigvals have derivatives"),
)


def complex_from_real(t, z) -> list:
    """The complex Schur form [T, Z] from the real one."""
    return complex_from_real_p.bind(t, z)


def _hessenberg_abstract(a: Aval) -> list[Aval]:
    check_matrix("hessenberg", a.shape, square=True)
    return [Aval(a.shape, a.dtype), Aval((*a.shape[:-2], max(a.shape[-1] - 1, 0)), a.dtype)]


hessenberg_p = host_primitive(
    "hessenberg",
    abstract=_hessenberg_abstract,
    numpy=lambda a: list(host.hessenberg(a)),
    jvp=_without_derivative("Hessenberg form", "eigvals has one"),
)


def hessenberg(a) -> list:
    """[the Hessenberg form with the reflectors below it, their n - 1 factors]."""
    return hessenberg_p.bind(a)


def _tridiagonal_abstract(a: Aval, *, lower: bool) -> list[Aval]:
    check_matrix("tridiagonal", a.shape, square=True)
    real, (*batch, n, _) = dtypes.real_dtype(a.dtype), a.shape
    beside = (*batch, max(n - 1, 0))
    return [Aval(a.shape, a.dtype), Aval((*batch, n), real), Aval(beside, real), Aval(beside, a.dtype)]


tridiagonal_p = host_primitive(
    "tridiagonal",
    abstract=_tridiagonal_abstract,
    numpy=lambda a, *, lower: list(host.tridiagonal(a, lower)),
    jvp=_without_derivative("tridiagonal form", "eigvalsh has one"),
)


def tridiagonal(a, lower: bool = True) -> list:
    """[packed, diagonal, off-diagonal, factors of the reflectors] of a Hermitian matrix."""
    return tridiagonal_p.bind(a, lower=lower)


# ---- equations ------------------------------------------------------------------------------------------------------


def _sylvester_abstract(a: Aval, b: Aval, c: Aval) -> Aval:
    check_matrix("solve_sylvester", a.shape, square=True)
    check_matrix("solve_sylvester", b.shape, square=True)
    wanted = (*a.shape[:-1], b.shape[-1])
    if c.shape != wanted or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(located(
            f"solve_sylvester: A X + X B = C with A of shape {a.shape} and B of shape {b.shape} takes C of shape "
            f"{wanted}, not {c.shape}"))
    return Aval(c.shape, c.dtype)


def _sylvester_jvp(primals, tangents):
    """A dX + dX B = dC - dA X - X dB."""
    (a, b, c), (da, db, dc) = primals, tangents
    x = sylvester(a, b, c)
    right = p.add_tangents(dc, ZERO if da is ZERO else p.neg(matmul(da, x)))
    right = p.add_tangents(right, ZERO if db is ZERO else p.neg(matmul(x, db)))
    return x, sylvester(a, b, right)


def _sylvester_transpose(ct, a, b, c):
    if not isinstance(c, Linear):
        return p.not_linear()
    return [ZERO, ZERO, sylvester(matrix_transpose(a), matrix_transpose(b), ct)]


sylvester_p = host_primitive(
    "sylvester",
    abstract=_sylvester_abstract,
    numpy=host.sylvester,
    jvp=_sylvester_jvp,
    transpose=_sylvester_transpose,
    single=True,
)


def sylvester(a, b, c):
    """X of A X + X B = C for a[..., m, m], b[..., n, n] and c[..., m, n] of one dtype; NaN or infinite where there is
    not one solution, because an eigenvalue of A is one of -B."""
    return sylvester_p.bind(a, b, c)


def _square_root_jvp(primals, tangents):
    """From X X = A: X dX + dX X = dA."""
    (a,), (da,) = primals, tangents
    x = square_root(a)
    return x, sylvester(x, x, da)


def _square_root_abstract(a: Aval) -> Aval:
    check_matrix("sqrtm", a.shape, square=True)
    return Aval(a.shape, a.dtype)


square_root_p = host_primitive("square_root", abstract=_square_root_abstract, numpy=host.square_root,
                               jvp=_square_root_jvp, single=True)


def square_root(a):
    """The principal square root of a complex matrix."""
    return square_root_p.bind(a)
