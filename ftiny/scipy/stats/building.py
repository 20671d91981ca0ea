"""Distributions made from their formulas: broadcasting, location and scale, the ends of the support.

Input: the logarithm of the standard density, and the standard distribution function and quantile where there are such.
Output: a namespace of functions with explicit signatures:

    expon = continuous("expon", "exponential", support=(0.0, math.inf), logpdf=lambda z: -z, sf=lambda z: fnp.exp(-z))
    expon.logpdf(x, loc=1.0, scale=2.0)         # -(x - 1)/2 - log 2, minus infinity for x < 1

A formula is a function of the standardised variable and the parameters, arrays of one shape.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ftiny import numpy as fnp
from ftiny.scipy.special import elementwise
from ftiny.source import located

_WHAT = {
    "logpdf": "logarithm of the density",
    "pdf": "density",
    "logpmf": "logarithm of the probability",
    "pmf": "probability",
    "cdf": "distribution function",
    "logcdf": "logarithm of the distribution function",
    "sf": "survival function, 1 - cdf",
    "logsf": "logarithm of the survival function",
    "ppf": "quantile, the inverse of cdf",
    "isf": "inverse of the survival function",
}


class Distribution(SimpleNamespace):
    """The functions of one distribution, such as `logpdf` and `cdf`."""


def method(
    distribution: str, name: str, does: str, arguments: Sequence[str], defaults: Mapping[str, Any], compute: Callable
) -> Callable:
    """The function `distribution.name(*arguments)`, which promotes and broadcasts its arguments for `compute`."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [inspect.Parameter(a, kind, default=defaults.get(a, inspect.Parameter.empty)) for a in arguments]
    )
    full_name = f"{distribution}.{name}"

    def function(*args, **kwargs):
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as problem:
            raise TypeError(located(f"{full_name}: {problem}; it is called as {full_name}{signature}")) from None
        bound.apply_defaults()
        return elementwise(full_name, compute, *bound.args)

    function.__name__, function.__qualname__ = name, full_name
    function.__doc__ = f"Elementwise {_WHAT[name]} of the {does} distribution."
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def continuous(
    name: str,
    does: str,
    parameters: Sequence[str] = (),
    *,
    logpdf: Callable,
    support: tuple[float, float] | Callable = (-math.inf, math.inf),
    inside: float | Callable = 0.5,
    scaled: bool = True,
    logs: bool = True,
    quantile_argument: str = "q",
    **formulas: Callable,
) -> Distribution:
    """A distribution of real numbers.

    support: the ends of the standard support, or a function of the parameters that gives them; inside: a point inside.
    scaled: whether there are a location and a scale. formulas: any of cdf, logcdf, sf, logsf, ppf, isf.
    logs: whether logcdf and logsf are derived from cdf and sf where they are not among the formulas.
    """
    count = len(parameters)
    defaults = {"loc": 0, "scale": 1} if scaled else {}
    arguments = ("x", *parameters, *defaults)
    ends = support if callable(support) else lambda *shape: support
    within = inside if callable(inside) else lambda *shape: inside

    def standardised(x, rest):
        shape, located_at = rest[:count], rest[count:]
        return ((x - located_at[0]) / located_at[1] if scaled else x), shape

    def log_density(x, *rest):
        z, shape = standardised(x, rest)
        low, high = ends(*shape)
        outside = fnp.logical_or(fnp.less(z, low), fnp.greater(z, high))
        # Outside the formula is computed for another point, so that its derivative stays finite.
        value = logpdf(fnp.where(outside, within(*shape), z), *shape)
        value = value - fnp.log(rest[-1]) if scaled else value
        return fnp.where(outside, -math.inf, value)

    def of_value(formula: Callable) -> Callable:
        def compute(x, *rest):
            z, shape = standardised(x, rest)
            return formula(fnp.clip(z, *ends(*shape)), *shape)

        return compute

    def of_probability(formula: Callable) -> Callable:
        def compute(q, *rest):
            value = formula(q, *rest[:count])
            return rest[count] + value * rest[count + 1] if scaled else value

        return compute

    if logs:
        for plain, logarithm in (("cdf", "logcdf"), ("sf", "logsf")):
            if plain in formulas:
                formulas.setdefault(logarithm, lambda *xs, formula=formulas[plain]: fnp.log(formula(*xs)))
    computes: dict[str, Callable] = {"logpdf": log_density, "pdf": lambda *xs: fnp.exp(log_density(*xs))}
    result = Distribution()
    for key, formula in formulas.items():
        computes[key] = of_probability(formula) if key in ("ppf", "isf") else of_value(formula)
    for key, compute in computes.items():
        taken = (quantile_argument, *arguments[1:]) if key in ("ppf", "isf") else arguments
        setattr(result, key, method(name, key, does, taken, defaults, compute))
    return result


def discrete(name: str, does: str, parameters: Sequence[str], *, logpmf: Callable, support: Callable) -> Distribution:
    """A distribution of whole numbers with a location.

    support: a function of the number and the parameters, whether the number has a probability.
    """
    arguments, defaults = ("k", *parameters, "loc"), {"loc": 0}

    def log_probability(k, *rest):
        z, shape = k - rest[-1], rest[:-1]
        fine = support(z, *shape)
        return fnp.where(fine, logpmf(fnp.where(fine, z, 1.0), *shape), -math.inf)

    return Distribution(
        logpmf=method(name, "logpmf", does, arguments, defaults, log_probability),
        pmf=method(name, "pmf", does, arguments, defaults, lambda *xs: fnp.exp(log_probability(*xs))),
    )
