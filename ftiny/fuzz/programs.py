"""Programs as Python text, and how a seed becomes one.

Input: a seed. Output: a `Program`, a function over the names `np`, `lax`, `nn`, `special`, `random` and `vmap`, which
are bound to ftiny's modules or to jax's:

    >>> print(generate(7).source)
    def program(v0, v1):  # v0: float32[3, 5], v1: float32[5]
        v2 = np.tanh(v0 + v1)
        v3 = np.sum(v2, axis=(0,), keepdims=True)
        return (v3,)

Three properties keep a comparison fair. Every value carries a bound of its magnitude, and what may have grown above 8
is passed through tanh. Operations with jumps (comparisons, sorting, rounding) take only *exact* values, which no
rounding has touched. Functions with a domain are written so that every real number is mapped into it first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import ml_dtypes
import numpy

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int32", "uint8", "int8", "uint32")
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
EXTENTS = (1, 2, 3, 4, 5, 7, 8, 13, 17, 33)
LARGE_EXTENTS = (1, 8, 31, 64, 65, 96, 130, 257)  # round the sizes of tiles and blocks
MOST_ELEMENTS = {False: 750, True: 40_000}  # of an input, by whether the program is a large one
MOST_OF_A_RESULT = 100_000
UNKNOWN = 99.0  # the bound of a result of which nothing is known


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
    """One line of a program: `output = text`, where text mentions the names `reads`.

    `reverse` is False where jax has no reverse-mode derivative, as of a while loop.
    """

    output: Value
    text: str
    reads: tuple[str, ...]
    reverse: bool = True


@dataclass(frozen=True)
class Program:
    """A generated function: inputs, lines, names of its results, and what it is put under.

    `form` is a name of `forms.FORMS`, `wrappers` are transformations of the program itself, innermost first, and
    `jitted` says whether the whole is compiled or runs operation by operation.
    """

    seed: int
    inputs: tuple[Value, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    form: str = "values"
    wrappers: tuple[str, ...] = ()
    jitted: bool = True

    @property
    def source(self) -> str:
        """The program as Python text."""
        about = ", ".join(f"{v.name}: {v.dtype}{list(v.shape)}" for v in self.inputs)
        lines = [f"def program({', '.join(v.name for v in self.inputs)}):  # {about}"]
        lines += [f"    {step.output.name} = {step.text}" for step in self.steps]
        return "\n".join([*lines, f"    return ({', '.join(self.outputs)},)"]) + "\n"

    @property
    def title(self) -> str:
        """The seed and the transformations, in one line."""
        wrapped = "".join(f"{name}(" for name in reversed(self.wrappers)) + "program" + ")" * len(self.wrappers)
        return f"seed {self.seed}: {'jit of ' if self.jitted else ''}{self.form} of {wrapped}"

    @property
    def needs_64_bits(self) -> bool:
        """Whether a 64-bit type occurs, for which jax wants its flag."""
        return "float64" in self.source

    @property
    def coarsest(self) -> float:
        """The unit roundoff of the least precise float type that occurs; random numbers are drawn as 'single'."""
        source = self.source.replace("'single'", "float32")
        return max((EPSILON[name] for name in FLOATS if name in source), default=EPSILON["float32"])

    @property
    def float_positions(self) -> tuple[int, ...]:
        """Which arguments are floats."""
        return tuple(i for i, v in enumerate(self.inputs) if v.is_float)

    def slice(self, outputs: Sequence[str]) -> Program:
        """Only the lines and inputs that these outputs need; one input always stays."""
        needed, kept = set(outputs), []
        for step in reversed(self.steps):
            if step.output.name in needed:
                needed.update(step.reads)
                kept.append(step)
        inputs = tuple(v for v in self.inputs if v.name in needed) or self.inputs[:1]
        return replace(self, inputs=inputs, steps=tuple(reversed(kept)), outputs=tuple(outputs))

    def in_precision(self, dtype: str) -> Program:
        """The program with `dtype` for every float type."""

        def change(value: Value) -> Value:
            return replace(value, dtype=dtype) if value.is_float else value

        texts = [re.sub("bfloat16|float(16|32|64)", dtype, step.text) for step in self.steps]
        steps = tuple(replace(step, output=change(step.output), text=text) for step, text in zip(self.steps, texts))
        return replace(self, inputs=tuple(map(change, self.inputs)), steps=steps)

    def with_errors(self, draw: int) -> Program:
        """The float64 program with relative errors of up to four unit roundoffs, another one for each element, in
        every float that rounding may have touched, and in inputs where they are read by such a line."""
        wave = "({}) * (1 + 2.0**-50 * np.sin({} + 2.4 * np.arange({}, dtype='float64').reshape({})))"
        exact = {value.name: value for value in self.inputs if value.dtype == "float64"}
        steps = []
        for number, step in enumerate(self.steps, start=1 + 100 * draw):
            text, value = step.text, step.output
            if value.dtype == "float64" and not value.exact:
                for k, name in enumerate(name for name in step.reads if name in exact):
                    size, shape = exact[name].size, exact[name].shape
                    text = re.sub(rf"\b{name}\b", f"({wave.format(name, 50 + number + k, size, shape)})", text)
                text = wave.format(text, number, value.size, value.shape)
            steps.append(replace(step, text=text))
        return replace(self, steps=tuple(steps))

    def arguments(self) -> list[numpy.ndarray]:
        """Inputs drawn from the seed."""
        rng = numpy.random.default_rng(self.seed)
        return [draw(rng, value.shape, value.dtype) for value in self.inputs]


def numpy_dtype(name: str) -> numpy.dtype:
    """The numpy dtype of this name, bfloat16 included."""
    return numpy.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else numpy.dtype(name)


def draw(rng, shape, dtype):
    """An argument: floats in (-2, 2), distinct in float32 and the same in float64; small integers; booleans."""
    size = math.prod(shape)
    if "float" in dtype:
        count = max(size, 3000)
        grid = rng.permutation(count + 1)[:size] / (count / 4) - 2
        return grid.reshape(shape).astype(numpy.float32).astype(numpy_dtype(dtype))
    if dtype == "bool":
        return numpy.asarray(rng.integers(0, 2, shape), bool)
    return numpy.asarray(rng.integers(0 if dtype.startswith("u") else -4, 5, shape)).astype(dtype)


# ---- generation -----------------------------------------------------------------------------------------------


@dataclass
class Generator:
    """Draws programs: operations are asked in random order until enough of them applied to the values at hand."""

    rng: numpy.random.Generator
    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    number_of_inputs: int = 0
    finished: bool = False

    # -- choices
    def choose(self, options):
        """One of `options`, or None when there is none."""
        options = list(options)
        return options[int(self.rng.integers(len(options)))] if options else None

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def value(self, condition: Callable[[Value], bool] = lambda v: True) -> Value | None:
        """A value that meets the condition; the newer ones are drawn more often."""
        found = [v for v in self.values if condition(v)]
        if not found:
            return None
        position = len(found) - 1 - int(self.rng.integers(len(found)) * self.rng.random())
        return found[position]

    def a_float(self, condition: Callable[[Value], bool] = lambda v: True) -> Value | None:
        """A float value that meets the condition."""
        return self.value(lambda v: v.is_float and condition(v))

    def an_axis(self, value: Value) -> int:
        """One of the axes; negative in three of ten cases."""
        axis = int(self.rng.integers(value.ndim))
        return axis - value.ndim if self.chance(0.3) else axis

    # -- building
    def add_input(self, shape, dtype: str) -> None:
        """A new argument of the program."""
        bound = 2.0 if dtype in FLOATS else 4.0
        distinct = dtype in ("float32", "float64")
        self.values.append(Value(f"v{len(self.values)}", tuple(shape), dtype, bound, exact=True, distinct=distinct))
        self.number_of_inputs += 1

    def emit(self, text, reads, shape, dtype, bound=2.0, exact=False, distinct=False, reverse=True) -> None:
        """A new line, unless the result is too large; what may have grown above 8 is passed through tanh."""
        if math.prod(shape) > MOST_OF_A_RESULT:
            return
        if dtype in FLOATS and bound > 8 and not exact:
            text, bound, distinct = f"np.tanh({text})", 1.0, False
        value = Value(f"v{len(self.values)}", tuple(shape), dtype, bound, exact, distinct)
        self.values.append(value)
        self.steps.append(Step(value, text, tuple(dict.fromkeys(r.name for r in reads)), reverse))

    def infer(self, text: str, reads: Sequence[Value], **facts) -> None:
        """`emit` with the shape and dtype that ftiny gives the line.

        A line that ftiny refuses ends the program: the check will tell whether the oracle refuses it too.
        """
        try:
            shape, dtype = result_of(text, reads)
        except Exception:  # whatever ftiny raises here it raises again when the program runs
            self.finished = True
            shape, dtype = reads[0].shape, reads[0].dtype
        if dtype in (*FLOATS, *INTS, "bool"):
            self.emit(text, reads, shape, dtype, **facts)


def result_of(text: str, reads: Sequence[Value]) -> tuple[tuple[int, ...], str]:
    """The shape and dtype that ftiny gives a line over these values; raises what ftiny raises."""
    import ftiny
    from ftiny.fuzz import libraries

    names = list(dict.fromkeys(v.name for v in reads))
    code = f"lambda {', '.join(names)}: {text}"
    function = eval(compile(code, "<a line of a random program>", "eval"), libraries.names(libraries.ftiny_library()))
    avals = {v.name: ftiny.ShapeDtypeStruct(v.shape, numpy_dtype(v.dtype)) for v in reads}
    out = ftiny.eval_shape(function, *(avals[name] for name in names))
    return tuple(out.shape), str(out.dtype)


def generate(seed: int) -> Program:
    """The program of this seed: 3 to 15 lines on one to four inputs, under transformations."""
    from ftiny.fuzz.forms import choose_form
    from ftiny.fuzz.operations import OPERATIONS

    rng = numpy.random.default_rng((seed, 20261))
    generator = Generator(rng)
    _add_inputs(generator)
    wanted = 3 + int(12.99 * rng.random() ** 2)  # the short ones more often
    chances = numpy.array([operation.weight for operation in OPERATIONS])
    chances /= chances.sum()
    for _ in range(300):
        if generator.finished or len(generator.steps) >= wanted:
            break
        OPERATIONS[int(rng.choice(len(OPERATIONS), p=chances))].add(generator)
    read = {name for step in generator.steps for name in step.reads}
    outputs = tuple(s.output.name for s in generator.steps if s.output.name not in read)
    inputs = tuple(generator.values[: generator.number_of_inputs])
    return choose_form(Program(seed, inputs, tuple(generator.steps), outputs), rng)


def _add_inputs(generator: Generator) -> None:
    rng = generator.rng
    floats = ["float64"] if generator.chance(0.15) else ["float32"]
    if generator.chance(0.15):
        floats.append(str(rng.choice(["float16", "bfloat16"])))
    large = generator.chance(0.1)
    for _ in range(int(rng.integers(1, 4))):
        generator.add_input(_random_shape(rng, large), str(rng.choice(floats)))
    if generator.chance(0.35):
        generator.add_input(_random_shape(rng, False), str(rng.choice([*INTS, "int32", "bool"])))


def _random_shape(rng, large: bool) -> tuple[int, ...]:
    ndim = int(rng.choice([0, 1, 2, 3, 4], p=[0, 0.2, 0.6, 0.2, 0] if large else [0.08, 0.22, 0.4, 0.22, 0.08]))
    shape: list[int] = []
    for _ in range(ndim):
        extent = 0 if rng.random() < 0.015 else int(rng.choice(LARGE_EXTENTS if large else EXTENTS))
        shape.append(extent if math.prod(shape) * extent <= MOST_ELEMENTS[large] else 2)
    return tuple(shape)
