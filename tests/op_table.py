"""The table of operations: one row per public function and per primitive family row, which tests/test_ops.py checks.

A row is an expression that runs in both libraries, and samples of its arguments:

    row("numpy.where", "bool[3,5] f32[3,5] f32[5]; bool[] f32[4] f32[]", lambda m, c, x, y: m.numpy.where(c, x, y))

Samples are separated by `;`, arguments by blanks, each `dtype[shape]` with an optional domain: `i32[4]<5` draws from
0..4, `f32[3]@positive` from a named interval, `f32[9]!` is the list of special values (NaN, infinities, zeros, halves).
The rows stand in the files op_rows_*.py; those of the families are made here from ftiny/families.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np

DTYPES = {
    "bool": np.bool_,
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "bf16": ml_dtypes.bfloat16,
    "c64": np.complex64,
    "c128": np.complex128,
}
DTYPES |= {
    f"{letter}{bits}": np.dtype(f"{name}{bits}")
    for letter, name in (("i", "int"), ("u", "uint"))
    for bits in (8, 16, 32, 64)
}
DOMAINS = {
    "positive": (0.2, 3.0),
    "unit": (-0.9, 0.9),
    "above_one": (1.1, 4.0),
    "small": (-0.5, 0.5),
    "probability": (0.05, 0.95),
}
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e10, -1e10, 1e-20)
_ARGUMENT = re.compile(r"(\w+)\[([\d,]*)\](?:<(\d+)|@(\w+)|(!))?$")


@dataclass(frozen=True)
class Argument:
    """One sample argument: dtype, shape and what its elements are drawn from."""

    dtype: np.dtype
    shape: tuple[int, ...]
    domain: tuple[float, float] | None = None
    special: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it can be differentiated."""
        return self.dtype.kind == "f" or self.dtype == ml_dtypes.bfloat16

    def draw(self, rng: np.random.Generator, default: tuple[float, float]) -> np.ndarray:
        """An array: floats are distinct and keep a distance from each other and from zero."""
        if self.special:
            return np.resize(np.array(SPECIAL), self.shape).astype(self.dtype)
        if self.dtype.kind == "b":
            return np.asarray(rng.random(self.shape) < 0.5)
        if self.dtype.kind in "iu":
            low, high = self.domain or ((0, 10) if self.dtype.kind == "u" else (-5, 6))
            return np.asarray(rng.integers(int(low), int(high), self.shape)).astype(self.dtype)
        low, high = self.domain or default
        if self.dtype.kind == "c":
            parts = rng.uniform(low, high, (2, *self.shape))
            return np.asarray(parts[0] + 1j * parts[1]).astype(self.dtype)
        size = math.prod(self.shape)
        grid = low + (high - low) * (rng.permutation(size) + 0.4 + 0.1 * rng.random(size)) / max(size, 1)
        return grid.reshape(self.shape).astype(self.dtype)


Sample = tuple[Argument, ...]


@cache
def parse(text: str) -> tuple[Sample, ...]:
    """The samples of a row."""
    return tuple(tuple(map(_argument, sample.split())) for sample in text.split(";"))


def _argument(text: str) -> Argument:
    found = _ARGUMENT.match(text)
    if not found:
        raise ValueError(f"{text!r} is no sample argument")
    name, shape, below, domain, special = found.groups()
    interval = (0, int(below)) if below else DOMAINS[domain] if domain else None
    return Argument(np.dtype(DTYPES[name]), tuple(map(int, filter(None, shape.split(",")))), interval, bool(special))


@dataclass(frozen=True)
class Row:
    """One operation.

    name      'module.function', with ':variant' where an operation has several rows
    call      the expression, as `call(library, *arguments)`; jax: the same for jax where the spelling differs
    grad      whether it is differentiated (floats to floats); smooth: whether a second time
    vmap      whether it is checked under vmap; compiled: whether on OpenCL
    domain    where floats are drawn; tolerance: relative error in float32, derivative_tolerance: in float64
    """

    name: str
    samples: tuple[Sample, ...]
    call: Callable
    jax: Callable | None = None
    grad: bool = True
    smooth: bool = True
    vmap: bool = True
    compiled: bool = True
    domain: tuple[float, float] = (-2.0, 2.0)
    tolerance: float = 1e-5
    derivative_tolerance: float = 1e-9

    @property
    def function(self) -> str:
        """The public function's name, without the variant."""
        return self.name.split(":")[0]

    def arguments(self, sample: Sample, seed: int = 0) -> list[np.ndarray]:
        """Arguments drawn for a sample; the same seed gives the same arrays."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        return [argument.draw(rng, self.domain) for argument in sample]

    def run(self, library, *arguments) -> list:
        """The results as a list of arrays."""
        call = self.jax if library.is_jax and self.jax is not None else self.call
        out = call(library, *arguments)
        return list(out) if isinstance(out, (tuple, list)) else [out]


ROWS: list[Row] = []


def row(name: str, samples: str, call: Callable | None = None, **options) -> None:
    """Add a row; without a call it is the function of that name applied to the arguments."""
    if call is None:
        module, function = name.split(":")[0].split(".")
        call = lambda m, *xs: getattr(getattr(m, module), function)(*xs)
    ROWS.append(Row(name, parse(samples), call, **options))


# ---- the families ---------------------------------------------------------------------------------------------

_LETTER = {"b": "bool", "i": "i32", "f": "f32", "c": "c64"}
_SHAPES = ("3,5", "", "0,4", "17")
# What these do at the special values is left open by both libraries.
_NO_SPECIAL = {"lgamma", "digamma", "nextafter", "erfinv", "complex", "cbrt"}


def _dotted(path: str) -> Callable:
    import jax
    import jax.numpy  # noqa: F401

    found = jax
    for part in path.removeprefix("jax.").split("."):
        found = getattr(found, part)
    return found


def _family_samples(fn: str, kinds: str, arity: int) -> str:
    samples = []
    for kind in kinds:
        shapes = _SHAPES if kind == "f" else _SHAPES[:1]
        samples += [" ".join([f"{_LETTER[kind]}[{shape}]"] * arity) for shape in shapes]
    if "f" in kinds:
        samples += [" ".join([f"bf16[{_SHAPES[0]}]"] * arity)] if fn != "complex" else []
        samples += [" ".join(["f32[15]!", "f32[15]"][:arity])] if fn not in _NO_SPECIAL else []
    if "i" in kinds and fn not in ("abs", "sign", "neg"):
        samples += [" ".join([f"{name}[7]"] * arity) for name in ("u8", "i8", "u32")]
    return ";".join(samples)


def _add_families() -> None:
    from ftiny import families, primitives

    def add(family, fn, kinds, arity, jax_name, key, **options):
        samples = _family_samples(fn, kinds, arity)
        primitive = getattr(primitives, family)
        row(
            f"{family}.{fn}",
            samples,
            lambda m, *xs: primitive(*xs, **{key: fn}),
            jax=lambda m, *xs: _dotted(jax_name)(*xs),
            **options,
        )

    for fn, entry in families.MATH.items():
        kinds = entry.kinds.replace("b", "").replace("c", "") if fn != "conj" else "fc"
        kinds = kinds or entry.kinds
        kinds = "c" if fn in ("real", "imag", "conj") else kinds
        add(
            "math",
            fn,
            kinds,
            entry.arity,
            entry.jax_name,
            "fn",
            domain=entry.domain,
            grad=entry.partials != () and kinds != "c" and fn not in ("nextafter", "complex"),
            tolerance=max(1e-5, 5 * entry.tolerance),
            smooth=fn not in ("abs", "digamma", "lgamma"),
        )
    for family, table, key in (
        ("compare", families.COMPARE, "dir"),
        ("minmax", families.MINMAX, "op"),
        ("bitwise", families.BITWISE, "op"),
    ):
        for fn, entry in table.items():
            if fn.startswith("shift"):
                row(
                    f"bitwise.{fn}",
                    "i32[7]<9 i32[7]<5; u8[5] u8[5]<7; i8[9] i8[9]<7",
                    lambda m, x, y, fn=fn: primitives.bitwise(x, y, op=fn),
                    jax=lambda m, x, y, path=entry.jax_name: _dotted(path)(x, y),
                )
            else:
                add(family, fn, entry.kinds.replace("c", ""), entry.arity, entry.jax_name, key, smooth=False)


@cache
def all_rows() -> tuple[Row, ...]:
    """Every row: those of the public modules and those of the families."""
    import op_rows_fft  # noqa: F401
    import op_rows_lax  # noqa: F401
    import op_rows_linalg  # noqa: F401
    import op_rows_more  # noqa: F401
    import op_rows_nn  # noqa: F401
    import op_rows_numpy  # noqa: F401
    import op_rows_second  # noqa: F401
    import op_rows_special  # noqa: F401

    _add_families()
    names = [entry.name for entry in ROWS]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"rows with the same name: {sorted(repeated)}")
    return tuple(ROWS)
