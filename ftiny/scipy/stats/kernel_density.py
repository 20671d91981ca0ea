"""Normal distributions of vectors, one and many: `multivariate_normal` and `gaussian_kde` of `ftiny.scipy.stats`.

Input: vectors along the last axis, or for `gaussian_kde` points in the columns of a matrix. Output: densities:

    >>> gaussian_kde(ftiny.numpy.array([0.0, 1.0])).pdf(0.5)
    Array([0.46598], dtype=float32)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ftiny import dtypes, random, tree
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.numpy import linalg
from ftiny.numpy.common import check_array, convert, dtype_of, shape_of
from ftiny.scipy.linalg import solve_triangular
from ftiny.scipy.special import logsumexp, ndtr
from ftiny.scipy.stats.building import Distribution
from ftiny.source import located


def _inexact(name: str, *operands) -> list:
    """The operands as arrays of one real inexact dtype, each in its own shape."""
    check_array(name, *operands)
    dtype = dtypes.result_type(*operands)
    dtype = dtype if dtypes.is_inexact(dtype) else dtypes.float32
    if dtypes.kind(dtype) == "complex":
        raise DtypeError(located(f"{name} takes real numbers, not {dtype}"))
    return [fnp.asarray(convert(x, dtype)) for x in operands]


# ---- the normal distribution of a vector ----------------------------------------------------------------------------


def _normal_logpdf(x, mean, cov, allow_singular: None = None):
    """Logarithm of the density of the normal distribution of vectors x[..., n].

    mean: [..., n], or a number; cov: the covariance [..., n, n], or a number, which is the variance of each component
    on its own. NaN where `cov` is not positive definite. Raises `ArgumentError` for `allow_singular`, `ShapeError` for
    a covariance of another size.
    """
    name = "multivariate_normal.logpdf"
    if allow_singular is not None:
        raise ArgumentError(located(f"{name}: allow_singular must be None; a singular covariance has no density"))
    x, mean, cov = _inexact(name, x, mean, cov)
    distance = x - mean
    if not shape_of(mean):
        return -0.5 * (distance * distance / cov + fnp.log(2 * math.pi * cov))
    n = shape_of(mean)[-1]
    if not shape_of(cov):
        return -0.5 * (fnp.sum(distance * distance, axis=-1) / cov + n * fnp.log(2 * math.pi * cov))
    if shape_of(cov)[-2:] != (n, n):
        raise ShapeError(located(
            f"{name}: a mean of shape {shape_of(mean)} takes a covariance of shape (..., {n}, {n}), not "
            f"{shape_of(cov)}"))
    factor = linalg.cholesky(cov)
    y = fnp.squeeze(solve_triangular(factor, fnp.expand_dims(distance, -1), lower=True), -1)
    logarithm = fnp.sum(fnp.log(fnp.diagonal(factor, 0, -2, -1)), axis=-1)
    return -0.5 * (fnp.sum(y * y, axis=-1) + n * math.log(2 * math.pi)) - logarithm


def _normal_pdf(x, mean, cov):
    """Density of the normal distribution of vectors; see `logpdf`."""
    return fnp.exp(_normal_logpdf(x, mean, cov))


multivariate_normal = Distribution(logpdf=_normal_logpdf, pdf=_normal_pdf)
for _key, _function in vars(multivariate_normal).items():
    _function.__name__, _function.__qualname__ = _key, f"multivariate_normal.{_key}"


# ---- density estimates ----------------------------------------------------------------------------------------------


def _convolved(covariance, means, weights, point):
    """The weighted sum of normal densities of one covariance with the given means, at one point."""
    distance = fnp.transpose(means) - point
    return fnp.sum(weights * _normal_pdf(distance, fnp.zeros_like(point), covariance))


@tree.register_pytree_node_class
class gaussian_kde:  # noqa: N801
    """A density estimate: the mean of normal densities round the points of a data set.

    Args:
        dataset: points in the columns of a matrix [d, n], or numbers [n].
        bw_method: the width of the normal densities, in units of the spread of the data: 'scott' (also None),
            'silverman', a number, or a function of the estimate.
        weights: [n], of the points; default: all equal.

    Attributes: dataset, weights (which add up to 1), neff (the effective number of points), covariance and inv_cov of
    each of the normal densities, d, n. An estimate is a pytree, so it can be an argument of a transformed function.

    Raises `ShapeError`, `DtypeError` or `ArgumentError` for data that are no such points, and other widths.
    """

    def __init__(self, dataset, bw_method: Any = None, weights=None):
        name = "gaussian_kde"
        operands = [dataset] if weights is None else [dataset, weights]
        dataset, *given = _inexact(name, *operands)
        dataset = fnp.atleast_2d(dataset)
        if len(shape_of(dataset)) != 2 or math.prod(shape_of(dataset)) < 2:
            raise ShapeError(located(
                f"{name}: the data set must be a matrix [d, n] of more than one element, not {shape_of(dataset)}"))
        count = shape_of(dataset)[1]
        weights = fnp.atleast_1d(given[0]) if given else fnp.ones(count, dtype_of(dataset))
        if shape_of(weights) != (count,):
            raise ShapeError(located(
                f"{name}: {count} points have weights of shape ({count},), not {shape_of(weights)}"))
        self.dataset, self.weights = dataset, weights / fnp.sum(weights)
        self.neff = 1.0 / fnp.sum(self.weights**2)
        factor = self._factor("scott" if bw_method is None else bw_method)
        spread = fnp.atleast_2d(fnp.cov(dataset, rowvar=True, bias=False, aweights=self.weights))
        self.covariance, self.inv_cov = spread * factor**2, linalg.inv(spread) / factor**2

    def _factor(self, method: str | float | Callable):
        if method == "scott":
            return fnp.power(self.neff, -1.0 / (self.d + 4))
        if method == "silverman":
            return fnp.power(self.neff * (self.d + 2) / 4.0, -1.0 / (self.d + 4))
        if callable(method):
            return method(self)
        if isinstance(method, str) or shape_of(method):
            raise ArgumentError(located(
                f"gaussian_kde: bw_method must be 'scott', 'silverman', a number or a function, not {method!r}"))
        return method

    def tree_flatten(self) -> tuple[tuple, None]:
        """The arrays of the estimate as children."""
        return (self.neff, self.dataset, self.weights, self.covariance, self.inv_cov), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        """The estimate of its arrays."""
        made = object.__new__(cls)
        made.neff, made.dataset, made.weights, made.covariance, made.inv_cov = children
        return made

    @property
    def d(self) -> int:
        """The number of components of a point."""
        return shape_of(self.dataset)[0]

    @property
    def n(self) -> int:
        """The number of points of the data set."""
        return shape_of(self.dataset)[1]

    def _logarithms(self, name: str, points):
        """The logarithms of the n weighted normal densities at each of m points: [m, n]."""
        (points,) = _inexact(f"gaussian_kde.{name}", points)
        points = fnp.atleast_2d(points)
        if shape_of(points) == (1, self.d):
            points = fnp.transpose(points)
        if shape_of(points)[0] != self.d:
            raise ShapeError(located(
                f"gaussian_kde.{name}: the data have {self.d} components, which the columns of points of shape "
                f"{shape_of(points)} have not"))
        whitening = linalg.cholesky(self.inv_cov)
        data, points = (fnp.matmul(fnp.transpose(x), whitening) for x in (self.dataset, points))
        distance = fnp.sum((fnp.expand_dims(points, 1) - data) ** 2, axis=-1)
        norm = fnp.sum(fnp.log(fnp.diagonal(whitening))) - 0.5 * self.d * math.log(2 * math.pi)
        return fnp.log(self.weights) + norm - 0.5 * distance

    def evaluate(self, points):
        """The density at points [d, m] (or [m] if d is 1, or one point [d]): an array [m]."""
        return fnp.sum(fnp.exp(self._logarithms("evaluate", points)), axis=-1)

    __call__ = pdf = evaluate

    def logpdf(self, x):
        """The logarithm of the density; see `evaluate`."""
        return logsumexp(self._logarithms("logpdf", x), axis=-1)

    def integrate_gaussian(self, mean, cov):
        """The integral of the estimate times the normal density with this mean [d] and covariance [d, d]."""
        mean, cov = _inexact("gaussian_kde.integrate_gaussian", mean, cov)
        mean, cov = fnp.atleast_1d(fnp.squeeze(mean)), fnp.atleast_2d(cov)
        if shape_of(mean) != (self.d,) or shape_of(cov) != (self.d, self.d):
            raise ShapeError(located(
                f"gaussian_kde.integrate_gaussian: the data have {self.d} components, so the mean must be of shape "
                f"({self.d},) and the covariance of shape ({self.d}, {self.d}), not {shape_of(mean)} and "
                f"{shape_of(cov)}"))
        return _convolved(self.covariance + cov, self.dataset, self.weights, mean)

    def integrate_box_1d(self, low, high):
        """The integral of an estimate of one component from `low` to `high`, two numbers."""
        low, high = _inexact("gaussian_kde.integrate_box_1d", low, high)
        if self.d != 1 or shape_of(low) or shape_of(high):
            raise ShapeError(located(
                f"gaussian_kde.integrate_box_1d takes two numbers, of an estimate of one component, not shapes "
                f"{shape_of(low)} and {shape_of(high)} and {self.d} components"))
        sigma, points = fnp.sqrt(self.covariance[0, 0]), self.dataset[0]
        return fnp.sum(self.weights * (ndtr((high - points) / sigma) - ndtr((low - points) / sigma)))

    def integrate_kde(self, other: gaussian_kde):
        """The integral of the product of two estimates."""
        if other.d != self.d:
            raise ShapeError(located(
                f"gaussian_kde.integrate_kde: one estimate has {self.d} components, the other {other.d}"))
        distance = fnp.expand_dims(fnp.transpose(self.dataset), 1) - fnp.transpose(other.dataset)
        values = _normal_pdf(distance, fnp.zeros(self.d, dtype_of(self.dataset)), self.covariance + other.covariance)
        return fnp.sum(values * fnp.expand_dims(self.weights, 1) * other.weights)

    def resample(self, key, shape=()):
        """Random points of the estimate: an array (d, *shape)."""
        choice_key, normal_key = random.split(key)
        which = random.choice(choice_key, self.n, shape=shape, p=self.weights)
        noise = random.multivariate_normal(normal_key, fnp.zeros(self.d, dtype_of(self.covariance)), self.covariance,
                                           shape=shape, dtype=dtype_of(self.dataset))
        return self.dataset[:, which] + fnp.moveaxis(noise, -1, 0)
