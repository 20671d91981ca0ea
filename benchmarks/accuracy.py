#!/usr/bin/env python3
"""How far the functions of one argument are from the truth, in units in the last place (ulp).

Input: a device. Output: a Markdown table, the largest error of each function in each range of arguments:

    python benchmarks/accuracy.py --device opencl:0 --jax

The truth is numpy's or scipy's function in float64, at the same arguments (for --dtype float64 it is itself off by some
ulp). An ulp is the distance of two numbers of the dtype at the true value, so that 0.5 is the best that rounding
allows; where the truth is beyond the dtype, infinity is wanted. Arguments of each range are of both signs: subnormal
ones (of float32), 1e-38 to 0.01, 0.01 to 10 (evenly, and by magnitude), 10 to 1e4 and 1e4 to 3e38. A dash says that the
function has no values there. The column `special` names those of 0, -0, infinity, -infinity and NaN at which the result
is another one, signs of zeros included. With --jax, jax's results on the CPU stand in brackets, for comparison.
"""

import argparse
import platform
from functools import reduce

import numpy
import scipy.special

from ftiny.families import MATH

SAMPLES = 1 << 14
SPECIAL = numpy.array([0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan], numpy.float32)
NAMES = ("0", "-0", "inf", "-inf", "nan")
RANGES = {"subnormal": (1.5e-45, 1.1e-38), "to 0.01": (1.2e-38, 0.01), "to 10": (0.01, 10), "to 1e4": (10, 1e4),
          "to 3e38": (1e4, 3.4e38)}
LIBRARY = tuple("i0 i0e i1 i1e exp1 expi ndtr ndtri log_ndtr spence gamma entr logit erfcx dawsn".split())
# Functions that numpy has under another name or not at all; the rest is numpy's or scipy.special's of the same name.
TRUTH = {
    "asin": numpy.arcsin, "acos": numpy.arccos, "atan": numpy.arctan, "asinh": numpy.arcsinh, "acosh": numpy.arccosh,
    "atanh": numpy.arctanh, "rsqrt": lambda x: 1 / numpy.sqrt(x), "lgamma": scipy.special.gammaln,
    "logistic": scipy.special.expit, "dawsn": scipy.special.dawsn,
}


def functions() -> list[tuple[str, str]]:
    """Names, and where jax has them: rows of the family `math` on floats, then functions of the library."""
    rows = [row for row in MATH.values() if row.arity == 1 and "f" in row.kinds and row.partials and row.name != "abs"]
    return [(row.name, row.jax_name) for row in rows] + [(name, f"jax.scipy.special.{name}") for name in LIBRARY]


def truth(name: str):
    """The function in float64."""
    return TRUTH.get(name) or getattr(numpy, name, None) or getattr(scipy.special, name)


def samples(name: str, rng: numpy.random.Generator) -> numpy.ndarray:
    """Arguments of a range, of both signs, that are float32 numbers."""
    low, high = RANGES[name]
    sizes = numpy.exp(rng.uniform(numpy.log(low), numpy.log(high), SAMPLES))
    if name == "to 10":
        sizes = numpy.concatenate([sizes, rng.uniform(low, high, SAMPLES)])
    return (sizes * rng.choice([-1.0, 1.0], sizes.size)).astype(numpy.float32)


def errors(found: numpy.ndarray, exact: numpy.ndarray) -> numpy.ndarray:
    """In ulp; infinity where one is NaN and the other is not, or one is infinite and the other nowhere near."""
    largest = numpy.finfo(found.dtype).max
    with numpy.errstate(all="ignore"):
        ulp = numpy.spacing(numpy.minimum(numpy.abs(exact), largest).astype(found.dtype)).astype(float)
        beyond = numpy.abs(exact.astype(found.dtype)) > largest
        gap = numpy.abs(found.astype(float) - numpy.where(beyond, numpy.copysign(numpy.inf, exact), exact)) / ulp
        near = beyond & (numpy.abs(found) > largest / 1.001) & (numpy.sign(found) == numpy.sign(exact))
        gap = numpy.where(beyond & (found == exact.astype(found.dtype)), 0.0, numpy.where(near, 1.0, gap))
    gap = numpy.where(numpy.isnan(gap), numpy.inf, gap)
    return numpy.where(numpy.isnan(exact) & numpy.isnan(found), 0.0, gap)


def report(function, name: str, arguments: dict[str, numpy.ndarray], dtype: str) -> dict:
    """The largest error in each range and where it is (nothing where there are no values), from one call."""
    every = numpy.concatenate([*arguments.values(), SPECIAL])
    with numpy.errstate(all="ignore"):
        exact = numpy.asarray(truth(name)(every.astype(float)))
    found = numpy.asarray(function(every.astype(dtype)))
    gap, start, out = errors(found, exact), 0, {}
    for each, values in arguments.items():
        part = slice(start, start := start + values.size)
        if not numpy.isnan(exact[part]).all():
            place = int(gap[part].argmax())
            out[each] = (float(gap[part][place]), float(values[place]))
    out["special"] = special(found[start:], exact[start:])
    return out


def special(found: numpy.ndarray, exact: numpy.ndarray) -> str:
    """The special arguments with a wrong result, and the result."""
    same_zero = numpy.signbit(found) == numpy.signbit(exact)
    same = (found == exact.astype(found.dtype)) & same_zero | (numpy.isnan(found) & numpy.isnan(exact))
    near = numpy.isfinite(exact) & (exact != 0) & (errors(found, exact) <= 4)
    wrong = [f"f({n}) = {f:.4g} for {e:.4g}" for n, f, e, ok in zip(NAMES, found, exact, same | near) if not ok]
    return ", ".join(wrong)


def text(error: float) -> str:
    """Two digits."""
    return f"{error:.2g}" if error < 100 else f"{error:.0e}"


def find(path: str, package: str):
    """The compiled function at a dotted path, whose first part is replaced by a package's name."""
    module = __import__(package)
    for part in ("scipy.special", "lax", "numpy"):
        __import__(f"{package}.{part}")
    return module.jit(reduce(getattr, path.split(".")[1:], module))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="opencl:0")
    parser.add_argument("--jax", action="store_true", help="jax's errors on the CPU in brackets")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names, with commas between them")
    options = parser.parse_args()
    import ftiny

    print(f"{options.dtype} on {options.device} ({platform.machine()}), seed {options.seed}\n")
    if options.jax:
        __import__("jax").config.update("jax_enable_x64", options.dtype == "float64")
    print(f"| function | {' | '.join(RANGES)} | special | largest below 1e4 at |")
    print("|---|" + "---|" * (len(RANGES) + 2))
    with ftiny.device(options.device):
        for name, path in functions():
            if not options.only or name in options.only.split(","):
                print(row(name, path, options), flush=True)


def row(name: str, path: str, options) -> str:
    """A function's line of the table."""
    rng = numpy.random.default_rng(options.seed)
    arguments = {each: samples(each, rng) for each in RANGES}
    ours = report(find(path, "ftiny"), name, arguments, options.dtype)
    theirs = report(find(path, "jax"), name, arguments, options.dtype) if options.jax else {}
    cells = []
    for each in RANGES:
        other = f" ({text(theirs[each][0])})" if each in theirs else ""
        cells.append(text(ours[each][0]) + other if each in ours else "-")
    other = f" ({theirs['special']})" if theirs.get("special") else ""
    place = max((ours[each] for each in list(RANGES)[:-1] if each in ours), default=(0.0, 0.0))[1]
    return f"| {name} | {' | '.join(cells)} | {ours['special']}{other} | {place:.6g} |"


if __name__ == "__main__":
    main()
