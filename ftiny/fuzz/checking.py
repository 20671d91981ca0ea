"""Whether two libraries agree on a program.

Input: a program, the oracle's results. Output: None, or a `Failure` that says what is different:

    >>> check(generate(7), reference([generate(7)], "jax")[0], "opencl", "jax")

**How far results may differ.** A rounding error in the middle of a program is magnified by what follows it, by how much
depends on the program and its data. So the bound is measured: the oracle evaluates the program a second time with
float64 in place of the other float types, and the distance of its own two results is what rounding does to this program
(the forward error, for which Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., ch. 1, gives the rule
"condition times backward error"). A result of ftiny is wrong where it is further from the float64 result than

    ROUNDINGS * (the unit roundoff at the array's largest element) + FACTOR * (the oracle's own largest error in it)

For programs in float64 there is no more precise result. The oracle's own error is then the larger one of two: its
distance from its float32 results, scaled by the ratio of the unit roundoffs, and how far its results move when every
line of the program is off by a few unit roundoffs (`Program.with_errors`: Monte Carlo arithmetic, D. S. Parker, 1997).
The second knows cancellation: where terms of order one add up to 1e-9, or close values are standardised, an error of
1e-15 in a line, as two special functions may have it, moves the result by as much as it may move ftiny's.

The further evaluations cost as much as the first, and are made only where the first term alone does not suffice.
Integer and bool results must be equal. Where the oracle's result is NaN there is no claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy

from ftiny.fuzz import libraries
from ftiny.fuzz.forms import FORMS
from ftiny.fuzz.programs import EPSILON, Program

ROUNDINGS = 64  # unit roundoffs of the largest element that are always allowed
# In float64 more: neither library's special functions are right to the last digits (exp1: a hundred roundoffs),
# and there is no result in a wider type that would tell whose error it is.
ROUNDINGS_IN_DOUBLE = 4096
SMALLEST_SCALE = 1 / 16  # what results are made of is of order one, and so is the rounding in them
FACTOR = 16  # how many times the oracle's own error ftiny's may be
DRAWS = 2  # of errors in the lines

Arrays = list[numpy.ndarray]


@dataclass(frozen=True)
class Failure:
    """A program on which the libraries disagree: its kind ('differs' or the error's type) and what was seen.

    `allowed` are the absolute errors that the results may have.
    """

    program: Program
    kind: str
    message: str
    allowed: tuple[float, ...] = ()


# ---- running --------------------------------------------------------------------------------------------------


def function(program: Program, library) -> Callable:
    """The program under its transformations, as a function of its arguments in `library`."""
    scope = libraries.names(library)
    exec(compile(program.source, f"<random program {program.seed}>", "exec"), scope)
    inner = scope["program"]
    for wrapper in program.wrappers:
        inner = getattr(library, wrapper)(inner)
    form = FORMS[program.form]

    def run(*arguments):
        return form(library, inner, program.float_positions, [library.numpy.asarray(x) for x in arguments])

    return run


def candidate(program: Program, device: str, jitted: bool) -> Arrays:
    """The results of ftiny on `device`."""
    import ftiny

    with ftiny.device(device):
        run = function(program, libraries.ftiny_library())
        return [numpy.asarray(x) for x in (ftiny.jit(run) if jitted else run)(*program.arguments())]


def reference(programs: Sequence[Program], oracle: str) -> list[Arrays | Exception]:
    """The oracle's results for each program; an exception for one that it refuses.

    jax compiles all of them together, which is far cheaper than one by one; programs with and without 64-bit types go
    into separate calls. The oracle 'numpy' is ftiny's interpreter, operation by operation.
    """
    try:
        if oracle == "jax":
            return list(_in_jax(programs))
        return [candidate(program, "numpy", jitted=False) for program in programs]
    except Exception as error:
        if len(programs) == 1:
            return [error]
        return [found for program in programs for found in reference([program], oracle)]


def _in_jax(programs: Sequence[Program]) -> list[Arrays]:
    library = libraries.jax_library()
    import jax

    def together(all_arguments):
        return [function(p, library)(*arguments) for p, arguments in zip(programs, all_arguments)]

    with jax.enable_x64(any(p.needs_64_bits for p in programs)):
        found = jax.jit(together)([p.arguments() for p in programs])
        return [[numpy.asarray(x) for x in results] for results in found]


# ---- comparison -----------------------------------------------------------------------------------------------


def is_float(x: numpy.ndarray) -> bool:
    """Whether an array is of a real float type."""
    return str(x.dtype) in EPSILON


def check(program: Program, wanted: Arrays, device: str, oracle: str) -> Failure | None:
    """None where ftiny agrees with the oracle's results, else what it did instead."""
    try:
        found = candidate(program, device, program.jitted or device != "numpy")
    except Exception as error:  # every error of the library under test is a finding
        return Failure(program, type(error).__name__, f"{type(error).__name__}: {error}")
    sides: Arrays = []
    if program.form == "products":
        found, wanted, sides = found[:-3], wanted[:-3], found[-3:]
    precise, allowed = wanted, allowances(wanted, program.coarsest)
    why = differences(found, wanted, precise, allowed)
    if why:
        precise, errors = _own_errors(program, wanted, oracle)
        allowed = allowances(precise, program.coarsest, errors)
        why = differences(found, wanted, precise, allowed)
    if not why and sides:
        why = _inner_products(program, sides)
    return Failure(program, "differs", why, tuple(allowed)) if why else None


def allowances(precise: Arrays, roundoff: float, errors: Sequence[float] | None = None) -> list[float]:
    """The absolute error allowed in each array, from its most precise version and the oracle's own error in it."""
    scales = [numpy.abs(x[numpy.isfinite(x)]).max(initial=0.0) for x in (_double(x) for x in precise)]
    roundoffs = [max(roundoff, EPSILON.get(str(x.dtype), 0.0)) for x in precise]
    own = errors or [0.0] * len(precise)
    return [
        float((ROUNDINGS_IN_DOUBLE if each == EPSILON["float64"] else ROUNDINGS) * each * max(scale, SMALLEST_SCALE))
        + FACTOR * error
        for each, scale, error in zip(roundoffs, scales, own)
    ]


def _own_errors(program: Program, wanted: Arrays, oracle: str) -> tuple[Arrays, list[float]]:
    """The most precise results that the oracle has, and the largest error that its rounding makes in each array."""
    if program.coarsest > EPSILON["float64"]:
        precise = _again(program.in_precision("float64"), wanted, oracle)
        return precise, _distances(wanted, precise)
    scale = EPSILON["float64"] / EPSILON["float32"]
    errors = [scale * each for each in _distances(wanted, _again(program.in_precision("float32"), wanted, oracle))]
    for draw in range(DRAWS):
        moved = _distances(wanted, _again(program.with_errors(draw), wanted, oracle))
        errors = [max(pair) for pair in zip(errors, moved)]
    return wanted, errors


def _again(program: Program, wanted: Arrays, oracle: str) -> Arrays:
    """The oracle's results for a variant of a program; those of the program itself where it refuses the variant."""
    results = reference([program], oracle)[0]
    return wanted if isinstance(results, Exception) else results[: len(wanted)]


def _distances(left: Arrays, right: Arrays) -> list[float]:
    return [_distance(_double(a), _double(b)) for a, b in zip(left, right)]


def _double(x: numpy.ndarray) -> numpy.ndarray:
    return x.astype(numpy.float64)


def _distance(a: numpy.ndarray, b: numpy.ndarray) -> float:
    both = numpy.isfinite(a) & numpy.isfinite(b)
    return float(numpy.abs(a[both] - b[both]).max(initial=0.0))


def _inner_products(program: Program, sides: Arrays) -> str:
    """Whether <w, J v> is <J^T w, v>; where rounding may be the reason why not, float64 on the interpreter decides."""
    if _sides_agree(sides, program.coarsest):
        return ""
    precise = candidate(program.in_precision("float64"), "numpy", jitted=True)[-3:]
    if _sides_agree(precise, EPSILON["float64"]):
        return ""
    return f"<w, J v> = {float(sides[0])!r}, but <J^T w, v> = {float(sides[1])!r}"


def _sides_agree(sides: Arrays, roundoff: float) -> bool:
    left, right, size = (float(x) for x in sides)
    return not numpy.isfinite(size) or abs(left - right) <= 1000 * roundoff * max(size, 1e-30)


def differences(found: Arrays, wanted: Arrays, precise: Arrays, allowed: Sequence[float]) -> str:
    """What is different between two lists of arrays, in words; empty where nothing is.

    `precise` are the most precise results that there are, from which floats may be `allowed` away.
    """
    if len(found) != len(wanted):
        return f"{len(found)} results, expected {len(wanted)}"
    reasons = [difference(*each) for each in zip(found, wanted, precise, allowed)]
    return "; ".join(f"result {number}: {why}" for number, why in enumerate(reasons) if why)


def difference(found: numpy.ndarray, wanted: numpy.ndarray, precise: numpy.ndarray, allowed: float) -> str:
    """Why two arrays differ, or an empty text."""
    if found.shape != wanted.shape:
        return f"shape {found.shape}, expected {wanted.shape}"
    if str(found.dtype) != str(wanted.dtype):
        return f"dtype {found.dtype}, expected {wanted.dtype}"
    if not is_float(wanted):
        return "" if numpy.array_equal(found, wanted) else _worst(found, wanted, found != wanted)
    a, b, c = _double(found), _double(wanted), _double(precise)
    # Programs keep to the domains of their functions, so a NaN is the oracle's own; infinities must be the same.
    settled = ~numpy.isnan(b) & ~numpy.isnan(c) & (numpy.isinf(b) == numpy.isinf(c))
    with numpy.errstate(invalid="ignore"):
        wrong = settled & numpy.where(numpy.isfinite(c), ~(numpy.abs(a - c) <= allowed), a != c)
    return f"{_worst(found, wanted, wrong)}, allowed are {allowed:.2g}" if wrong.any() else ""


def _worst(found, wanted, wrong) -> str:
    with numpy.errstate(all="ignore"):
        gap = numpy.abs(found.astype(numpy.float64) - wanted.astype(numpy.float64))
    gap = numpy.where(wrong, numpy.where(numpy.isnan(gap), numpy.inf, gap), -1.0)
    where = numpy.unravel_index(int(gap.argmax()), gap.shape)
    return (
        f"{found[where]!r} at {tuple(map(int, where))}, expected {wanted[where]!r} "
        f"({int(wrong.sum())} of {gap.size} elements)"
    )


def outcomes(
    programs: Sequence[Program], device: str, oracle: str, started: Callable[[Program], None] = lambda program: None
) -> Iterator[tuple[Program, Failure | Exception | None]]:
    """Each program with its failure, the oracle's error where it refuses the program, or None where all agree.

    `started` is called with a program before it runs in ftiny.
    """
    for wide in (False, True):
        group = [p for p in programs if p.needs_64_bits == wide]
        for program, wanted in zip(group, reference(group, oracle) if group else []):
            if isinstance(wanted, Exception):
                yield program, wanted
                continue
            started(program)
            yield program, check(program, wanted, device, oracle)
