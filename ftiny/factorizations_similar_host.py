"""Similarity transformations of dense matrices in numpy: what `factorizations_similar.py` computes on the host.

Input: numpy arrays whose last two axes are square matrices, any number of axes before them. Output: arrays, one entry
per matrix:

    >>> t, z = schur(numpy.array([[4.0, 1.0], [2.0, 3.0]]))        # z @ t @ z.T is the matrix
    >>> numpy.round(t, 3)
    array([[ 5., -1.],
           [ 0.,  2.]])

numpy has none of them, so the algorithms are here: those of Golub and Van Loan, Matrix Computations, 4th ed. (GVL),
with the conventions of LAPACK for signs and for where reflectors are kept. Matrices with NaN or infinite elements, and
those for which the iteration does not end, give NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftiny.factorizations_host import substitute

# QR steps for one eigenvalue; two or three are usual, and every tenth takes a shift out of the ordinary.
_MOST_STEPS = 60


def each_matrix(function: Callable, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """`function(*matrices)`, a tuple of arrays, for every place of the batch; NaN where a matrix is not finite."""

    def one(place: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        matrices = [x[place] for x in arrays]
        if all(np.isfinite(x).all() for x in matrices):
            return function(*matrices)
        shaped = function(*(np.zeros_like(x) for x in matrices))
        return tuple(np.full_like(x, np.nan) for x in shaped)

    batch = arrays[0].shape[:-2]
    with np.errstate(all="ignore"):
        if 0 in batch:
            shaped = function(*(np.zeros(x.shape[-2:], x.dtype) for x in arrays))
            return tuple(np.zeros(batch + x.shape, x.dtype) for x in shaped)
        found = [one(place) for place in np.ndindex(*batch)]
    return tuple(np.stack(parts).reshape(batch + parts[0].shape) for parts in zip(*found))


# ---- reflections ----------------------------------------------------------------------------------------------------


def reflector(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(v, tau, beta): (1 - tau v vᴴ)ᴴ x = (beta, 0, ...), with v[0] = 1 and a real beta (LAPACK's larfg)."""
    alpha, rest = x[0], np.linalg.norm(x[1:])
    v = np.zeros_like(x)
    v[0] = 1
    if rest == 0 and alpha.imag == 0:
        return v, x.dtype.type(0), alpha
    beta = -np.copysign(np.hypot(np.abs(alpha), rest), alpha.real)
    v[1:] = x[1:] / (alpha - beta)
    return v, x.dtype.type((beta - alpha) / beta), x.dtype.type(beta)


def _reduce(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the Hessenberg form with the reflectors below it, their factors) of one matrix (GVL 7.4.3)."""
    h, n = np.array(a), len(a)
    taus = np.zeros(max(n - 1, 0), a.dtype)
    for k in range(n - 1):
        v, tau, beta = reflector(h[k + 1 :, k])
        h[:, k + 1 :] -= tau * np.outer(h[:, k + 1 :] @ v, v.conj())
        h[k + 1 :, k + 1 :] -= np.conj(tau) * np.outer(v, v.conj() @ h[k + 1 :, k + 1 :])
        h[k + 1, k], h[k + 2 :, k], taus[k] = beta, v[1:], tau
    return h, taus


def hessenberg(a: np.ndarray) -> tuple[np.ndarray, ...]:
    """(packed, taus): above and on the first subdiagonal the Hessenberg form, the reflectors below it."""
    packed, taus = each_matrix(_reduce, a)
    return packed, taus


def _hessenberg_and_basis(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, Q) of one matrix A = Q H Qᴴ."""
    packed, taus = _reduce(a)
    q = np.eye(len(a), dtype=a.dtype)
    for k in range(len(a) - 2, -1, -1):
        v = np.concatenate([np.ones(1, a.dtype), packed[k + 2 :, k]])
        q[k + 1 :, k + 1 :] -= taus[k] * np.outer(v, v.conj() @ q[k + 1 :, k + 1 :])
    return np.triu(packed, -1), q


def _tridiagonal_one(a: np.ndarray) -> tuple[np.ndarray, ...]:
    """The reduction of a Hermitian matrix, of which the lower triangle is read (GVL 8.3.1)."""
    whole = np.tril(a) + np.tril(a, -1).conj().T
    index = np.arange(len(a))
    whole[index, index] = whole[index, index].real
    packed, taus = _reduce(whole)
    d, e = np.diagonal(packed).real.copy(), np.diagonal(packed, -1).real.copy()
    packed[index, index] = d
    return np.tril(packed) + np.triu(a, 1), d, e, taus


def tridiagonal(a: np.ndarray, lower: bool) -> tuple[np.ndarray, ...]:
    """(packed, diagonal, off-diagonal, taus) of Hermitian matrices, of which one triangle is read and written.

    The upper triangle is the lower one of the matrix with its rows and columns in reverse order.
    """
    if lower:
        return each_matrix(_tridiagonal_one, a)
    packed, d, e, taus = each_matrix(_tridiagonal_one, a[..., ::-1, ::-1])
    return packed[..., ::-1, ::-1], d[..., ::-1], e[..., ::-1], taus[..., ::-1]


# ---- the Schur form -------------------------------------------------------------------------------------------------


def _turn(t: np.ndarray, z: np.ndarray, k: int, rotation: np.ndarray) -> None:
    """Rows k, k + 1 of T times a unitary 2x2 matrix from the left, columns of T and Z times its adjoint."""
    adjoint = rotation.conj().T
    t[k : k + 2, :] = rotation @ t[k : k + 2, :]
    t[:, k : k + 2] = t[:, k : k + 2] @ adjoint
    z[:, k : k + 2] = z[:, k : k + 2] @ adjoint


def _givens(x, y, dtype) -> np.ndarray:
    """The unitary matrix that takes (x, y) to (r, 0) with r >= 0."""
    r = np.hypot(np.abs(x), np.abs(y))
    if r == 0:
        return np.eye(2, dtype=dtype)
    return np.array([[np.conj(x), np.conj(y)], [-y, x]], dtype) / r


def _start_of_block(t: np.ndarray, end: int) -> int:
    """The first row of the block that ends at row `end`: where a subdiagonal element is negligible, and made 0."""
    epsilon = np.finfo(t.dtype).eps
    start = end
    while start > 0:
        size = np.abs(t[start - 1, start - 1]) + np.abs(t[start, start])
        if np.abs(t[start, start - 1]) <= epsilon * (size or np.abs(t).max()):
            t[start, start - 1] = 0
            break
        start -= 1
    return start


def _complex_schur(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, Z) by QR steps with Wilkinson's shift, in Givens rotations (GVL 7.5)."""
    t, z = _hessenberg_and_basis(a)
    end, steps = len(a) - 1, 0
    while end > 0:
        start = _start_of_block(t, end)
        if start == end:
            end, steps = end - 1, 0
            continue
        steps += 1
        if steps > _MOST_STEPS:
            return np.full_like(t, np.nan), np.full_like(z, np.nan)
        last = t[end - 1 : end + 1, end - 1 : end + 1]
        values = np.linalg.eigvals(last)
        shift = values[np.argmin(np.abs(values - last[1, 1]))]
        if steps % 10 == 0:
            shift = shift + np.abs(t[end, end - 1])
        x, y = t[start, start] - shift, t[start + 1, start]
        for k in range(start, end):
            _turn(t, z, k, _givens(x, y, t.dtype))
            if k > start:
                t[k + 1, k - 1] = 0
            if k + 1 < end:
                x, y = t[k + 1, k], t[k + 2, k]
    return np.triu(t), z


def _francis_step(t: np.ndarray, z: np.ndarray, start: int, end: int, exceptional: bool) -> None:
    """One QR step with a pair of shifts, real or conjugate, on rows `start` to `end` (GVL 7.5.1)."""
    (p, q), (r, s) = t[end - 1 : end + 1, end - 1 : end + 1]
    trace, determinant = p + s, p * s - q * r
    if exceptional:
        size = np.abs(r) + np.abs(t[end - 1, end - 2])
        trace, determinant = 1.5 * size, size * size
    h00, h01, h10, h11 = t[start, start], t[start, start + 1], t[start + 1, start], t[start + 1, start + 1]
    column = np.array([h00 * h00 + h01 * h10 - trace * h00 + determinant, h10 * (h00 + h11 - trace),
                       h10 * t[start + 2, start + 1]], t.dtype)
    for k in range(start, end):
        stop = min(k + 3, end + 1)
        v, tau, _ = reflector(column[: stop - k])
        rows = slice(k, stop)
        t[rows, :] -= tau * np.outer(v, v @ t[rows, :])
        t[:, rows] -= tau * np.outer(t[:, rows] @ v, v)
        z[:, rows] -= tau * np.outer(z[:, rows] @ v, v)
        if k > start:
            t[k + 1 : stop, k - 1] = 0
        column = t[k + 1 : min(k + 4, end + 1), k]


def _standard_block(t: np.ndarray, z: np.ndarray, k: int) -> None:
    """Turn the block at rows k, k + 1 to triangular form, or to equal diagonal elements where it has a complex pair."""
    (a, b), (c, d) = t[k : k + 2, k : k + 2]
    half = 0.5 * (a - d)
    inside = half * half + b * c
    if inside >= 0:
        root = half + np.copysign(np.sqrt(inside), half)
        # (root, c) spans the eigenvectors of the eigenvalue d + root.
        _turn(t, z, k, _givens(root, c, t.dtype))
        t[k + 1, k] = 0
        return
    if half == 0:
        return
    size = np.hypot(b + c, a - d)
    cosine = np.sqrt(0.5 * (1 + np.abs(b + c) / size))
    sine = -np.copysign(half / (size * cosine), half * (b + c))
    _turn(t, z, k, np.array([[cosine, sine], [-sine, cosine]], t.dtype))


def _real_schur(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, Z) with blocks of two rows for complex pairs, by Francis's steps (GVL 7.5.2)."""
    t, z = _hessenberg_and_basis(a)
    end, steps = len(a) - 1, 0
    while end > 0:
        start = _start_of_block(t, end)
        if start >= end - 1:
            if start == end - 1:
                _standard_block(t, z, start)
            end, steps = start - 1, 0
            continue
        steps += 1
        if steps > _MOST_STEPS:
            return np.full_like(t, np.nan), np.full_like(z, np.nan)
        _francis_step(t, z, start, end, steps % 10 == 0)
    return np.triu(t, -1), z


def schur(a: np.ndarray) -> tuple[np.ndarray, ...]:
    """(T, Z) of A = Z T Zᴴ: T is upper triangular, of real matrices with 2x2 blocks for pairs of eigenvalues."""
    return each_matrix(_complex_schur if a.dtype.kind == "c" else _real_schur, a)


def _complex_from_real(t: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    for k in range(len(t) - 2, -1, -1):
        if t[k + 1, k] != 0:
            value = np.linalg.eigvals(t[k : k + 2, k : k + 2])[0]
            _turn(t, z, k, _givens(value - t[k + 1, k + 1], t[k + 1, k], t.dtype))
            t[k + 1, k] = 0
    return np.triu(t), z


def complex_from_real(t: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
    """The complex Schur form from the real one: each 2x2 block is turned to triangular form, from the last one on."""
    dtype = np.result_type(t, z, np.complex64)
    return each_matrix(_complex_from_real, t.astype(dtype), z.astype(dtype))


# ---- equations with triangular matrices -----------------------------------------------------------------------------


def _sylvester_one(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray]:
    dtype = np.result_type(a, np.complex64)
    (r, u), (s, v) = _complex_schur(a.astype(dtype)), _complex_schur(b.astype(dtype))
    right = u.conj().T @ c @ v
    y = np.zeros_like(right)
    for k in range(len(b)):
        column = right[:, k] - y[:, :k] @ s[:k, k]
        y[:, k] = substitute(r + s[k, k] * np.eye(len(a)), column[:, None], False, False)[:, 0]
    x = u @ y @ v.conj().T
    return ((x if a.dtype.kind == "c" else x.real).astype(a.dtype),)


def sylvester(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """X of A X + X B = C by the Schur forms of A and B (Bartels and Stewart 1972; GVL 7.6.3)."""
    return each_matrix(_sylvester_one, a, b, c)[0]


def _square_root_one(a: np.ndarray) -> tuple[np.ndarray]:
    t, z = _complex_schur(a)
    n = len(t)
    root = np.diag(np.sqrt(np.diagonal(t)))
    for j in range(1, n):
        for i in range(j - 1, -1, -1):
            rest = t[i, j] - root[i, i + 1 : j] @ root[i + 1 : j, j]
            root[i, j] = 0 if rest == 0 else rest / (root[i, i] + root[j, j])
    return (z @ root @ z.conj().T,)


def square_root(a: np.ndarray) -> np.ndarray:
    """The principal square roots of complex matrices (Björck and Hammarling, A Schur method for the square root of a
    matrix, 1983)."""
    return each_matrix(_square_root_one, a)[0]
