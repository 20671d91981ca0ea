"""The families: one table row for each function of `math`, `compare`, `minmax` and `bitwise`.

A row holds everything that is particular to one function: which dtypes it takes, its derivative, the name by which
`lowering/expr.py` spells and evaluates it, its counterpart in JAX, and where and how closely the tests compare the two.
`primitives.py` makes one primitive of each family, with rules that read the rows.

Worked example, the row of `exp`, whose derivative is its own result y:

    MathRow("exp", partials=(lambda y, x: y,), kinds="fc", domain=(-5, 5))

A derivative is written with the constructors of `primitives.py`, as `partial(y, *xs)`, dy/dx_i in terms of the result
and the operands; so it is itself differentiable.
"""
from __future__ import annotations

import math as pymath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftiny import dtypes
from ftiny import primitives as p
from ftiny.lowering.expr_numpy import evaluate_op

Partial = Callable[..., Any]


@dataclass(frozen=True)
class MathRow:
    """One function of the `math` primitive.

    name       how the equation prints, and `fn` in its params
    partials   dy/dx_i as functions of (y, *xs); () means the derivative is zero everywhere; None: there is none
    kinds      the dtypes it takes: b(ool) i(nteger) f(loat) c(omplex)
    result     operand dtype -> result dtype
    linear     transposes a cotangent: (ct, *avals) -> cotangents, for functions that are linear in all operands
    spelling   the operation of `lowering/expr.py` (default: the name)
    reference  numpy function where `lowering/expr_numpy.py` has none
    jax        the name in `jax.lax` or `jax.numpy`
    domain     (low, high) of the tests' samples; tolerance: relative error allowed in float32
    """

    name: str
    partials: tuple[Partial, ...] | None = None
    kinds: str = "f"
    arity: int = 1
    result: Callable[[np.dtype], np.dtype] = lambda dtype: dtype
    linear: Callable[..., tuple] | None = None
    reference: Callable[..., np.ndarray] | None = None
    spelling: str = ""
    jax: str = ""
    domain: tuple[float, float] = (-3.0, 3.0)
    tolerance: float = 2e-6

    def numpy(self, *xs: np.ndarray) -> np.ndarray:
        """The reference semantics; 16-bit floats are computed in float32 and rounded once."""
        dtype = self.result(xs[0].dtype)
        wide = [x.astype(np.float32) if x.dtype in (dtypes.float16, dtypes.bfloat16) else x for x in xs]
        if self.reference is not None:
            with np.errstate(all="ignore"):
                return np.asarray(self.reference(*wide)).astype(dtype, copy=False)
        return evaluate_op(self.spelling or self.name, wide, self.result(wide[0].dtype)).astype(dtype, copy=False)

    @property
    def jax_name(self) -> str:
        """The dotted name of JAX's function."""
        return self.jax or f"jax.lax.{self.name}"


def _replace_zero(x):
    return p.select(p.compare(x, 0, dir="eq"), p.full_like(x, 1), x)


def _abs_partial(y, x):
    if dtypes.kind(x.dtype) != "complex":
        return p.select(p.compare(x, 0, dir="ge"), p.full_like(x, 1), p.full_like(x, -1))  # 1 at zero, as in JAX
    return p.div(p.math(x, fn="conj"), p.convert(_replace_zero(y), x.dtype))


def _trigamma(y, x):
    """The derivative of digamma: the recurrence up to x + 10, then Stirling's series (Abramowitz and Stegun 6.4.12)."""
    positive = p.compare(x, 0.5, dir="gt")
    z = p.select(positive, x, p.sub(1.0, x))  # reflection, 6.4.7
    total = p.full_like(x, 0)
    for _ in range(10):
        total = p.add(total, p.div(1.0, p.mul(z, z)))
        z = p.add(z, 1.0)
    w = p.div(1.0, p.mul(z, z))
    series = p.full_like(x, -3617 / 510)
    for coefficient in (7 / 6, -691 / 2730, 5 / 66, -1 / 30, 1 / 42, -1 / 30, 1 / 6):
        series = p.add(p.mul(series, w), coefficient)
    tail = p.div(p.add(p.add(1.0, p.div(0.5, z)), p.mul(series, w)), z)
    total = p.add(total, tail)
    sine = p.math(p.mul(x, pymath.pi), fn="sin")
    reflected = p.sub(p.div(pymath.pi**2, p.mul(sine, sine)), total)
    return p.select(positive, total, reflected)


def _square(x):
    return p.mul(x, x)


def _neg(x):
    return p.math(x, fn="neg")


def _rsqrt(x):
    return p.math(x, fn="rsqrt")


def _zero_beside(ct):
    return np.zeros((), ct.dtype)[()]


def _complex(real, imag):
    out = np.empty(np.broadcast_shapes(real.shape, imag.shape), dtypes.complex_dtype(real.dtype))
    out.real, out.imag = real, imag
    return out


def _sigmoid_slope(y, x):
    # y * (1 - y) cancels where y rounds to 1; logistic(-x) is 1 - y to full precision.
    return p.mul(y, p.math(_neg(x), fn="logistic"))


_REAL = dtypes.real_dtype
_BOOL = lambda dtype: dtypes.bool_  # noqa: E731
_TWO_OVER_SQRT_PI = 2.0 / pymath.sqrt(pymath.pi)

_MATH = [
    # Linear functions transpose by their own rule.
    MathRow("neg", kinds="ifc", linear=lambda ct, x: (_neg(ct),)),
    MathRow("real", kinds="fc", result=_REAL, reference=np.real, linear=lambda ct, x: (
        p.complex_(ct, _zero_beside(ct)) if dtypes.kind(x.dtype) == "complex" else ct,)),
    MathRow("imag", kinds="fc", result=_REAL, reference=np.imag, linear=lambda ct, x: (
        p.complex_(_zero_beside(ct), _neg(ct)) if dtypes.kind(x.dtype) == "complex" else p.full_like(ct, 0),)),
    MathRow("conj", kinds="fc", reference=np.conj, jax="jax.numpy.conj", linear=lambda ct, x: (
        p.math(ct, fn="conj") if dtypes.kind(x.dtype) == "complex" else ct,)),
    MathRow("complex", arity=2, result=dtypes.complex_dtype, reference=_complex,
            linear=lambda ct, x, y: (p.math(ct, fn="real"), _neg(p.math(ct, fn="imag")))),
    # Piecewise constant functions have a derivative of zero.
    MathRow("sign", (), kinds="if"),
    MathRow("floor", (), jax="jax.numpy.floor"),
    MathRow("ceil", (), jax="jax.numpy.ceil"),
    MathRow("round", (), jax="jax.numpy.round"),
    MathRow("trunc", (), jax="jax.numpy.trunc"),
    MathRow("is_finite", (), result=_BOOL),
    MathRow("population_count", (), kinds="i", domain=(0, 100)),
    MathRow("clz", (), kinds="i", domain=(0, 100)),
    MathRow("abs", (_abs_partial,), kinds="ifc", result=_REAL),
    MathRow("exp", (lambda y, x: y,), kinds="fc"),
    MathRow("exp2", (lambda y, x: p.mul(y, pymath.log(2.0)),), kinds="fc"),
    MathRow("expm1", (lambda y, x: p.add(y, 1.0),), kinds="fc"),
    MathRow("log", (lambda y, x: p.div(1.0, x),), kinds="fc", domain=(0.1, 5.0)),
    MathRow("log1p", (lambda y, x: p.div(1.0, p.add(x, 1.0)),), kinds="fc", domain=(-0.9, 5.0)),
    MathRow("log2", (lambda y, x: p.div(1 / pymath.log(2.0), x),), domain=(0.1, 5.0), jax="jax.numpy.log2"),
    MathRow("sqrt", (lambda y, x: p.div(0.5, y),), kinds="fc", domain=(0.1, 5.0)),
    MathRow("rsqrt", (lambda y, x: p.div(p.mul(y, -0.5), x),), kinds="fc", domain=(0.1, 5.0)),
    MathRow("cbrt", (lambda y, x: p.div(y, p.mul(x, 3.0)),), domain=(0.1, 5.0)),
    MathRow("sin", (lambda y, x: p.math(x, fn="cos"),), kinds="fc"),
    MathRow("cos", (lambda y, x: _neg(p.math(x, fn="sin")),), kinds="fc"),
    MathRow("tan", (lambda y, x: p.add(_square(y), 1.0),), kinds="fc", domain=(-1.4, 1.4), tolerance=1e-5),
    MathRow("asin", (lambda y, x: _rsqrt(p.sub(1.0, _square(x))),), kinds="fc", domain=(-0.9, 0.9)),
    MathRow("acos", (lambda y, x: _neg(_rsqrt(p.sub(1.0, _square(x)))),), kinds="fc", domain=(-0.9, 0.9)),
    MathRow("atan", (lambda y, x: p.div(1.0, p.add(_square(x), 1.0)),), kinds="fc"),
    MathRow("sinh", (lambda y, x: p.math(x, fn="cosh"),), kinds="fc"),
    MathRow("cosh", (lambda y, x: p.math(x, fn="sinh"),), kinds="fc"),
    MathRow("tanh", (lambda y, x: p.mul(p.add(y, 1.0), p.sub(1.0, y)),), kinds="fc"),
    MathRow("asinh", (lambda y, x: _rsqrt(p.add(_square(x), 1.0)),), kinds="fc"),
    MathRow("acosh", (lambda y, x: p.mul(_rsqrt(p.sub(x, 1.0)), _rsqrt(p.add(x, 1.0))),), kinds="fc",
            domain=(1.1, 5.0)),
    MathRow("atanh", (lambda y, x: p.div(1.0, p.mul(p.add(x, 1.0), p.sub(1.0, x))),), kinds="fc", domain=(-0.9, 0.9)),
    MathRow("erf", (lambda y, x: p.mul(p.math(_neg(_square(x)), fn="exp"), _TWO_OVER_SQRT_PI),)),
    MathRow("erfc", (lambda y, x: p.mul(p.math(_neg(_square(x)), fn="exp"), -_TWO_OVER_SQRT_PI),), tolerance=1e-5),
    MathRow("erfinv", (lambda y, x: p.mul(p.math(_square(y), fn="exp"), 1 / _TWO_OVER_SQRT_PI),), jax="jax.lax.erf_inv",
            domain=(-0.9, 0.9), tolerance=1e-5),
    MathRow("lgamma", (lambda y, x: p.math(x, fn="digamma"),), domain=(0.2, 6.0), tolerance=1e-5),
    MathRow("digamma", (_trigamma,), domain=(0.2, 6.0), tolerance=1e-5),
    MathRow("logistic", (_sigmoid_slope,), kinds="fc"),
    MathRow("atan2", (lambda z, y, x: p.div(x, p.add(_square(x), _square(y))),
                      lambda z, y, x: p.div(_neg(y), p.add(_square(x), _square(y)))), arity=2),
    MathRow("nextafter", None, arity=2),
]
MATH: dict[str, MathRow] = {row.name: row for row in _MATH}


@dataclass(frozen=True)
class OperatorRow:
    """One operation of `compare`, `minmax` or `bitwise`: its spelling in `lowering/expr.py`, JAX's name, its dtypes."""

    name: str
    spelling: str
    jax: str
    kinds: str
    arity: int = 2

    def numpy(self, *xs: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The reference semantics."""
        return evaluate_op(self.spelling, xs, dtype)

    @property
    def jax_name(self) -> str:
        """The dotted name of JAX's function."""
        return f"jax.lax.{self.jax}"


COMPARE = {name: OperatorRow(name, name, name, "bifc" if name in ("eq", "ne") else "bif")
           for name in ("eq", "ne", "lt", "le", "gt", "ge")}
MINMAX = {"min": OperatorRow("min", "minimum", "min", "bif"), "max": OperatorRow("max", "maximum", "max", "bif")}
BITWISE = {row.name: row for row in (
    OperatorRow("and", "and", "bitwise_and", "bi"),
    OperatorRow("or", "or", "bitwise_or", "bi"),
    OperatorRow("xor", "xor", "bitwise_xor", "bi"),
    OperatorRow("not", "not", "bitwise_not", "bi", arity=1),
    OperatorRow("shift_left", "shift_left", "shift_left", "i"),
    OperatorRow("shift_right_logical", "shift_right_logical", "shift_right_logical", "i"),
    OperatorRow("shift_right_arithmetic", "shift_right_arithmetic", "shift_right_arithmetic", "i"),
)}
