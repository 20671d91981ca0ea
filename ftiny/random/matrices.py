"""Random vectors of given covariance, and random orthogonal matrices.

Input: a key, a mean and a covariance matrix, or sizes. Output: arrays of vectors or matrices:

    >>> q = orthogonal(PRNGKey(0), 3)
    >>> ftiny.numpy.abs(q @ q.T - ftiny.numpy.eye(3)).max() < 1e-6
    Array(True, dtype=bool)

The values are those of `jax.random` for the same key, to the accuracy of the factorisations.
"""

from __future__ import annotations

import numpy as np

from ftiny import dtypes
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy.common import broadcast_shapes, canonical_shape, convert, shape_of
from ftiny.random.arguments import check_key, float_dtype, parameter, shape_for
from ftiny.random.continuous import sample_normal
from ftiny.source import located


def multivariate_normal(key, mean, cov, shape=None, dtype=None, method: str = "cholesky"):
    """Normal vectors of mean `mean`, of shape (..., n), and covariance `cov`, of shape (..., n, n).

    The sample has the shape (*shape, n), where shape is by default what the other axes broadcast to. `method` is how
    the root of the covariance is found: 'cholesky' (positive definite matrices), 'eigh' or 'svd' (also singular ones).
    Differentiable as far as the factorisation is. Raises `ShapeError` when the shapes do not fit each other and
    `ArgumentError` for another method.
    """
    key = check_key("multivariate_normal", key)
    mean, cov = parameter("multivariate_normal", mean), parameter("multivariate_normal", cov)
    promoted = dtypes.result_type(mean, cov)
    promoted = promoted if dtypes.is_float(promoted) else dtypes.float32
    mean, cov = convert(mean, promoted), convert(cov, promoted)
    dtype = promoted if dtype is None else float_dtype("multivariate_normal", dtype)
    n = shape_of(mean)[-1:]
    if not n or shape_of(cov)[-2:] != (*n, *n):
        raise ShapeError(
            located(
                "random.multivariate_normal: a mean of shape (..., n) needs a covariance of shape (..., n, n), but the "
                f"shapes are {shape_of(mean)} and {shape_of(cov)}"
            )
        )
    batch = broadcast_shapes(shape_of(mean)[:-1], shape_of(cov)[:-2], name="random.multivariate_normal")
    shape = shape_for("multivariate_normal", batch if shape is None else shape, np.empty(batch))
    return mean + fnp.einsum("...ij,...j->...i", _root(cov, method), sample_normal(key, (*shape, *n), dtype))


def _root(cov, method: str):
    """A matrix whose product with its transpose is `cov`."""
    if method == "cholesky":
        return fnp.linalg.cholesky(cov)
    if method == "eigh":
        values, vectors = fnp.linalg.eigh(cov)
        return vectors * fnp.sqrt(fnp.expand_dims(values, -2))
    if method == "svd":
        vectors, values, _ = fnp.linalg.svd(cov)
        return vectors * fnp.sqrt(fnp.expand_dims(values, -2))
    raise ArgumentError(
        located(f"random.multivariate_normal: method must be 'cholesky', 'eigh' or 'svd', not {method!r}")
    )


def orthogonal(key, n: int, shape=(), dtype=None, m: int | None = None):
    """Random orthogonal matrices, evenly distributed: of shape (*shape, n, n), or (*shape, n, m) if `m` is given.

    Then the rows or the columns, whichever are fewer, are orthonormal. The factor Q of a normal matrix, with the signs
    that make the diagonal of R positive (Mezzadri, How to generate random matrices from the classical compact groups,
    2007).
    """
    key = check_key("orthogonal", key)
    n, m = canonical_shape((n, n if m is None else m), "orthogonal")
    shape, dtype = canonical_shape(shape, "orthogonal"), float_dtype("orthogonal", dtype)
    q, r = fnp.linalg.qr(sample_normal(key, (*shape, max(n, m), min(n, m)), dtype))
    q = q * fnp.expand_dims(fnp.sign(fnp.diagonal(r, axis1=-2, axis2=-1)), -2)
    return q if n >= m else fnp.swapaxes(q, -1, -2)
