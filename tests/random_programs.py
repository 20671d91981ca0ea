"""Random programs: the same text run by ftiny and by jax must give the same values and gradients.

A program is Python source, generated from a seed, over `np`, `lax` and `nn`; it runs with those names bound to ftiny's
modules or to jax's, so that what a mismatch prints is the reproducer itself:

    def program(a, b):                    # a: float32[3, 5], b: float32[5]
        c = np.tanh(a + b)
        d = np.sum(c, axis=(0,), keepdims=True)
        return d

    python tests/random_programs.py --device opencl --seeds 0:150

Three properties keep the comparison fair. Every value carries a bound of its magnitude, and what grows is passed
through tanh. Operations with jumps (comparisons, sorting, rounding) take only *exact* values, which no rounding has
touched. A mismatch in float32 counts only when the program also disagrees in float64, or is far off.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import ml_dtypes
import numpy
import oracle

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int32", "uint8", "int8", "uint32")
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
EXTENTS = (1, 2, 3, 4, 5, 7, 8, 13, 17, 33)
LARGE_EXTENTS = (1, 8, 31, 64, 65, 96, 130, 257)  # round the sizes of tiles and blocks
MOST_ELEMENTS = {False: 750, True: 40_000}  # of an input, by whether the program is a large one
MOST_OF_A_RESULT = 100_000


def numpy_dtype(name: str) -> numpy.dtype:
    """The numpy dtype of this name, bfloat16 included."""
    return numpy.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else numpy.dtype(name)


# ---- programs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """What the generator knows of a variable.

    `bound` limits the magnitude, `exact` says that no rounding took place, `distinct` that all elements differ.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bound: float = 2.0
    exact: bool = False
    distinct: bool = False

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it has a derivative."""
        return self.dtype in FLOATS

    @property
    def is_int(self) -> bool:
        """Whether it is an integer (no bool)."""
        return self.dtype in INTS


@dataclass(frozen=True)
class Step:
    """One line of a program: `output = text`, where text mentions the names `reads`."""

    output: Value
    text: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A generated function: inputs, lines, and the names of its results."""

    seed: int
    inputs: tuple[Value, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]

    @property
    def source(self) -> str:
        """The program as Python text."""
        about = ", ".join(f"{v.name}: {v.dtype}{list(v.shape)}" for v in self.inputs)
        lines = [f"def program({', '.join(v.name for v in self.inputs)}):  # {about}"]
        lines += [f"    {step.output.name} = {step.text}" for step in self.steps]
        return "\n".join([*lines, f"    return ({', '.join(self.outputs)},)"]) + "\n"

    @property
    def needs_64_bits(self) -> bool:
        """Whether a 64-bit type occurs, for which jax wants its flag."""
        return "float64" in self.source

    @property
    def coarsest(self) -> float:
        """The unit roundoff of the least precise float type that occurs."""
        return max((EPSILON[name] for name in FLOATS if name in self.source), default=0.0)

    def function(self, library: SimpleNamespace):
        """The program as a Python function over the given library."""
        scope = namespace(library)
        exec(compile(self.source, f"<random program {self.seed}>", "exec"), scope)
        return scope["program"]

    def slice(self, outputs: tuple[str, ...]) -> Program:
        """Only the lines that these outputs need; the inputs stay."""
        needed, kept = set(outputs), []
        for step in reversed(self.steps):
            if step.output.name in needed:
                needed.update(step.reads)
                kept.append(step)
        return replace(self, steps=tuple(reversed(kept)), outputs=outputs)

    def in_double(self) -> Program:
        """The program with float64 for float32."""

        def double(value: Value) -> Value:
            return replace(value, dtype=value.dtype.replace("float32", "float64"))

        steps = tuple(Step(double(s.output), s.text.replace("float32", "float64"), s.reads) for s in self.steps)
        return replace(self, inputs=tuple(map(double, self.inputs)), steps=steps)

    def arguments(self) -> list[numpy.ndarray]:
        """Inputs drawn from the seed: floats in (-2, 2), distinct; small integers; booleans."""
        rng = numpy.random.default_rng(self.seed)
        return [_draw(rng, value) for value in self.inputs]


def _draw(rng, value: Value) -> numpy.ndarray:
    dtype = numpy_dtype(value.dtype)
    if value.is_float:
        # A shuffled grid is distinct in float32; 16-bit floats may repeat.
        count = max(value.size, 3000)
        grid = rng.permutation(count + 1)[: value.size] / (count / 4) - 2
        return grid.reshape(value.shape).astype(numpy.float32).astype(dtype)
    if value.dtype == "bool":
        return numpy.asarray(rng.integers(0, 2, value.shape), bool)
    return numpy.asarray(rng.integers(0 if value.dtype.startswith("u") else -4, 5, value.shape)).astype(dtype)


# ---- generation -----------------------------------------------------------------------------------------------


@dataclass
class Generator:
    """Draws programs: operations are asked in random order until one applies to the values at hand."""

    rng: numpy.random.Generator
    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    number_of_inputs: int = 0

    # -- choices
    def choose(self, options):
        """One of `options`, or None when there is none."""
        options = list(options)
        return options[int(self.rng.integers(len(options)))] if options else None

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def value(self, condition=lambda v: True) -> Value | None:
        """A value that meets the condition; the newer ones are drawn more often."""
        found = [v for v in self.values if condition(v)]
        if not found:
            return None
        position = len(found) - 1 - int(self.rng.integers(len(found)) * self.rng.random())
        return found[position]

    def a_float(self, condition=lambda v: True) -> Value | None:
        """A float value that meets the condition."""
        return self.value(lambda v: v.is_float and condition(v))

    def an_axis(self, value: Value) -> int:
        """One of the axes; negative half of the time."""
        axis = int(self.rng.integers(value.ndim))
        return axis - value.ndim if self.chance(0.3) else axis

    # -- building
    def fresh(self) -> str:
        """The next variable name."""
        number = len(self.values)
        return chr(ord("a") + number) if number < 26 else f"v{number}"

    def add_input(self, shape, dtype) -> Value:
        """A new argument of the program."""
        is_float = dtype in FLOATS
        value = Value(
            self.fresh(),
            tuple(shape),
            dtype,
            2.0 if is_float else 4.0,
            exact=True,
            distinct=dtype in ("float32", "float64"),
        )
        self.values.append(value)
        self.number_of_inputs += 1
        return value

    def emit(self, text: str, reads, shape, dtype, bound=2.0, exact=False, distinct=False) -> None:
        """A new line, unless the result is too large; what has grown above 8 is passed through tanh."""
        if math.prod(shape) > MOST_OF_A_RESULT:
            return
        if dtype in FLOATS and bound > 8 and not exact:
            text, bound, distinct = f"np.tanh({text})", 1.0, False
        value = Value(self.fresh(), tuple(shape), dtype, bound, exact, distinct)
        self.values.append(value)
        self.steps.append(Step(value, text, tuple(dict.fromkeys(r.name for r in reads))))


def generate(seed: int) -> Program:
    """The program of this seed."""
    from random_operations import OPERATIONS

    rng = numpy.random.default_rng((seed, 20260))
    generator = Generator(rng)
    floats = ("float64",) if rng.random() < 0.15 else ("float32",)
    if rng.random() < 0.15:
        floats += (str(rng.choice(["float16", "bfloat16"])),)
    large = bool(rng.random() < 0.1)
    for _ in range(int(rng.integers(1, 4))):
        generator.add_input(_random_shape(rng, large), str(rng.choice(floats)))
    if rng.random() < 0.35:
        generator.add_input(_random_shape(rng, False), str(rng.choice([*INTS, "int32", "bool"])))
    wanted = 3 + int(12.99 * rng.random() ** 2)  # 3 to 15, the short ones more often
    names, weights = zip(*((operation, operation.weight) for operation in OPERATIONS))
    chances = numpy.array(weights) / sum(weights)
    for _ in range(200):
        if len(generator.steps) >= wanted:
            break
        names[int(rng.choice(len(names), p=chances))](generator)
    read = {name for step in generator.steps for name in step.reads}
    outputs = tuple(s.output.name for s in generator.steps if s.output.name not in read)
    return Program(seed, tuple(generator.values[: generator.number_of_inputs]), tuple(generator.steps), outputs)


def _random_shape(rng, large: bool) -> tuple[int, ...]:
    ndim = int(rng.choice([0, 1, 2, 3, 4], p=[0, 0.2, 0.6, 0.2, 0] if large else [0.08, 0.22, 0.4, 0.22, 0.08]))
    shape: list[int] = []
    for _ in range(ndim):
        extent = 0 if rng.random() < 0.015 else int(rng.choice(LARGE_EXTENTS if large else EXTENTS))
        shape.append(extent if math.prod(shape) * extent <= MOST_ELEMENTS[large] else 2)
    return tuple(shape)


# ---- running --------------------------------------------------------------------------------------------------


def namespace(library: SimpleNamespace) -> dict:
    """The names that programs use."""
    return {"np": library.numpy, "lax": library.lax, "nn": library.nn, "vmap": library.vmap}


def values_and_gradients(program: Program, library: SimpleNamespace):
    """A function of the program's arguments that returns its outputs and the gradients of a weighted sum of them."""
    function, np = program.function(library), library.numpy
    positions = tuple(i for i, v in enumerate(program.inputs) if v.is_float)
    wide = "float64" if program.needs_64_bits else "float32"

    def loss(*arguments):
        outputs = function(*arguments)
        total = np.zeros((), wide)
        for out in outputs:
            if out.dtype.kind == "f" or str(out.dtype) == "bfloat16":
                weights = numpy.cos(numpy.arange(out.size)).reshape(out.shape).astype(wide)
                total = total + np.sum(out.astype(wide) * weights)
        return total, outputs

    def run(*arguments):
        (_, outputs), gradients = library.value_and_grad(loss, argnums=positions, has_aux=True)(*arguments)
        return outputs, gradients

    return run


def reference(programs: list[Program]) -> list[tuple[list, list]]:
    """(outputs, gradients) of each program in jax; all are compiled together, which is far cheaper than one by one."""
    import jax

    def together(all_arguments):
        return [
            values_and_gradients(program, oracle.jax_library())(*arguments)
            for program, arguments in zip(programs, all_arguments)
        ]

    with jax.enable_x64(any(p.needs_64_bits for p in programs)):
        found = jax.jit(together)([p.arguments() for p in programs])
        return [
            ([numpy.asarray(o) for o in outputs], [numpy.asarray(g) for g in gradients]) for outputs, gradients in found
        ]


def candidate(program: Program, device: str, jitted: bool = True) -> tuple[list, list]:
    """(outputs, gradients) of the program in ftiny on `device`."""
    import ftiny

    with ftiny.device(device):
        run = values_and_gradients(program, oracle.ftiny_library())
        outputs, gradients = (ftiny.jit(run) if jitted else run)(*program.arguments())
        return [numpy.asarray(o) for o in outputs], [numpy.asarray(g) for g in gradients]


# ---- comparison -----------------------------------------------------------------------------------------------


def difference(found: numpy.ndarray, wanted: numpy.ndarray, roundoff: float) -> str | None:
    """Why two arrays differ, or None. NaN equals NaN, an infinity equals itself."""
    if found.shape != wanted.shape:
        return f"shape {found.shape}, expected {wanted.shape}"
    if str(found.dtype) != str(wanted.dtype):
        return f"dtype {found.dtype}, expected {wanted.dtype}"
    if wanted.dtype.kind in "iub":
        return None if numpy.array_equal(found, wanted) else _worst(found, wanted)
    a, b = (x.astype(numpy.complex128 if wanted.dtype.kind == "c" else numpy.float64) for x in (found, wanted))
    roundoff = max(roundoff, EPSILON.get(str(wanted.dtype), 0.0))
    finite = numpy.abs(b[numpy.isfinite(b)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    factor = 400 if roundoff < 1e-4 else 12
    return (
        None
        if numpy.allclose(a, b, rtol=factor * roundoff, atol=factor * roundoff * scale, equal_nan=True)
        else _worst(a, b)
    )


def _worst(found, wanted) -> str:
    with numpy.errstate(all="ignore"):
        gap = numpy.abs(found.astype(complex) - wanted.astype(complex))
    gap = numpy.where(numpy.isnan(gap), numpy.inf, gap)
    where = numpy.unravel_index(int(gap.argmax()), gap.shape)
    wrong = int((gap > 0).sum())
    return (
        f"at {tuple(map(int, where))} {found[where]!r}, expected {wanted[where]!r} "
        f"({wrong} of {gap.size} elements differ)"
    )


def compare(program: Program, found, wanted) -> list[tuple[str, str]]:
    """The mismatches of a program as (what, why)."""
    problems = []
    for name, out, right in zip(program.outputs, found[0], wanted[0]):
        why = difference(out, right, program.coarsest)
        if why:
            problems.append((name, f"value {name}: {why}"))
    floats = [v for v in program.inputs if v.is_float]
    for value, gradient, right in zip(floats, found[1], wanted[1]):
        why = difference(gradient, right, program.coarsest)
        if why:
            problems.append(("gradient", f"gradient of {value.name}: {why}"))
    return problems


def check(program: Program, wanted, device: str, jitted: bool = True) -> str | None:
    """None when ftiny agrees with the reference, else the error or the mismatch, with a small reproducer."""
    try:
        problems = compare(program, candidate(program, device, jitted), wanted)
    except Exception as error:  # every failure of the library under test is a finding
        return f"{type(error).__name__}: {error}\n{_smallest(program, device, jitted)}"
    if not problems or _is_only_rounding(program, device, jitted):
        return None
    return "; ".join(why for _, why in problems) + "\n" + _smallest(program, device, jitted)


def _is_only_rounding(program: Program, device: str, jitted: bool) -> bool:
    double = program.in_double()
    if program.coarsest > EPSILON["float32"] or double.source == program.source:
        return False
    return not compare(double, candidate(double, device, jitted), reference([double])[0])


def _smallest(program: Program, device: str, jitted: bool) -> str:
    """The source of the shortest slice of the program that still fails."""
    for step in program.steps:
        part = program.slice((step.output.name,))
        try:
            if compare(part, candidate(part, device, jitted), reference([part])[0]):
                return part.source
        except Exception:
            return part.source
    return program.source


def check_seeds(seeds: range, device: str, batch: int = 16) -> list[tuple[int, str]]:
    """The failures among these seeds as (seed, message); every third program runs eagerly on the interpreter."""
    failures = []
    programs = [generate(seed) for seed in seeds]
    for wide in (False, True):
        group = [p for p in programs if p.needs_64_bits == wide]
        for start in range(0, len(group), batch):
            part = group[start : start + batch]
            for program, wanted in zip(part, reference(part)):
                jitted = device != "numpy" or program.seed % 3 != 0
                message = check(program, wanted, device, jitted)
                if message:
                    failures.append((program.seed, message))
    return failures


# ---- command line ---------------------------------------------------------------------------------------------


def _seed_range(text: str) -> range:
    start, _, stop = text.partition(":")
    return range(int(start), int(stop)) if stop else range(int(start), int(start) + 1)


def _check_part(task: tuple[range, str]) -> list[tuple[int, str]]:
    return check_seeds(*task)


def main() -> int:
    """Run a range of seeds and print the mismatches and a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="numpy", help="numpy, opencl or cuda (default numpy)")
    parser.add_argument("--seeds", type=_seed_range, default=range(0, 100), help="A:B, or one seed (default 0:100)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--show", action="store_true", help="print the programs without running them")
    options = parser.parse_args()
    if options.show:
        print("\n".join(generate(seed).source for seed in options.seeds))
        return 0
    start = time.perf_counter()
    pieces = [options.seeds[i : i + 64] for i in range(0, len(options.seeds), 64)]
    tasks = [(piece, options.device) for piece in pieces]
    failures: list[tuple[int, str]] = []
    for found in _results(tasks, options.jobs):
        for seed, message in found:
            print(f"---- seed {seed}\n{message}", flush=True)
        failures += found
    count, took = len(options.seeds), time.perf_counter() - start
    print(
        f"{count} programs (seeds {options.seeds.start}:{options.seeds.stop}) on {options.device}: "
        f"{count - len(failures)} agree with jax, {len(failures)} do not; {took:.1f} s"
    )
    return 1 if failures else 0


def _results(tasks, jobs: int):
    if jobs == 1:
        yield from map(_check_part, tasks)
        return
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(jobs) as pool:  # forked children hang in PoCL
        yield from pool.imap(_check_part, tasks)


if __name__ == "__main__":
    raise SystemExit(main())
