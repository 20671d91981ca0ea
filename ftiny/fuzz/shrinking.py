"""A smaller program that still fails, and the script that shows it.

Input: a `Failure`. Output: a failure of the same kind whose program cannot be made smaller by one of the moves below,
and a Python script that runs by itself:

    >>> print(script(shrink(failure, "opencl", "jax"), "opencl", "jax"))

The moves, tried until none succeeds or the time is up: a simpler form, fewer wrappers, one result instead of several,
an input in place of a line, an earlier value in place of a line, a line without its tanh, smaller shapes. A candidate
counts when the oracle accepts it and ftiny fails on it in the same way. This is the greedy part of delta debugging:
Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input* (2002).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

from ftiny.fuzz import programs
from ftiny.fuzz.checking import Failure, check, reference
from ftiny.fuzz.forms import FORMS
from ftiny.fuzz.programs import Program, Step, Value

SECONDS = 60.0  # for one failure


def shrink(failure: Failure, device: str, oracle: str, seconds: float = SECONDS) -> Failure:
    """The failure of a smaller program, after at most this many seconds (and one more attempt)."""
    stop = time.monotonic() + seconds
    tried: set[Program] = {failure.program}
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(failure.program):
            if time.monotonic() > stop:
                return failure
            if smaller in tried:
                continue
            tried.add(smaller)
            found = fails(smaller, device, oracle)
            if found and found.kind == failure.kind:
                failure, progress = found, True
                break
    return failure


def fails(program: Program, device: str, oracle: str) -> Failure | None:
    """The failure of this program; None where the libraries agree or the oracle refuses it."""
    wanted = reference([program], oracle)[0]
    return None if isinstance(wanted, Exception) else check(program, wanted, device, oracle)


# ---- moves ----------------------------------------------------------------------------------------------------


def _smaller(program: Program) -> Iterator[Program]:
    """Programs that are smaller than this one by one move, those that promise most first."""
    yield from _less_transformed(program)
    if len(program.outputs) > 1 or program.steps and program.outputs[0] != program.steps[-1].output.name:
        for name in program.outputs:
            yield program.slice([name])
    yield from _earlier_results(program)
    for step in reversed(program.steps[:-1]):
        yield _cut(program, step)
    for step in reversed(program.steps[:-1]):
        yield from _redirected(program, step)
    for step in program.steps:
        if step.text.startswith("np.tanh(") and step.text.endswith(")"):
            yield _with_text(program, step, step.text.removeprefix("np.tanh(")[:-1])
    yield from _smaller_shapes(program)


def _less_transformed(program: Program) -> Iterator[Program]:
    simpler = list(FORMS)[: list(FORMS).index(program.form)]
    for form in simpler:
        if program.float_positions or form in ("values", "mapped", "mapped_first"):
            yield replace(program, form=form)
    for position in range(len(program.wrappers)):
        yield replace(program, wrappers=program.wrappers[:position] + program.wrappers[position + 1 :])
    if program.jitted:
        yield replace(program, jitted=False)


def _earlier_results(program: Program) -> Iterator[Program]:
    """The program up to the middle, then up to each of its lines."""
    steps = program.steps[:-1]
    middle = steps[len(steps) // 2 : len(steps) // 2 + 1]
    for step in (*middle, *steps):
        yield program.slice([step.output.name])


def _cut(program: Program, step: Step) -> Program:
    """An input in place of a line; what only that line needed goes as well."""
    steps = tuple(each for each in program.steps if each is not step)
    value = replace(step.output, bound=2.0)
    return replace(program, inputs=(*program.inputs, value), steps=steps).slice(program.outputs)


def _redirected(program: Program, step: Step) -> Iterator[Program]:
    """An earlier value of the same shape and dtype in place of a line."""
    position = program.steps.index(step)
    for value in (*program.inputs, *(each.output for each in program.steps[:position])):
        if (value.shape, value.dtype) == (step.output.shape, step.output.dtype):
            rest = tuple(_renamed(each, step.output.name, value.name) for each in program.steps if each is not step)
            outputs = tuple(value.name if name == step.output.name else name for name in program.outputs)
            yield replace(program, steps=rest).slice(outputs)


def _renamed(step: Step, old: str, new: str) -> Step:
    text = re.sub(rf"\b{old}\b", new, step.text)
    return replace(step, text=text, reads=tuple(dict.fromkeys(new if name == old else name for name in step.reads)))


def _with_text(program: Program, step: Step, text: str) -> Program:
    return replace(program, steps=tuple(replace(s, text=text) if s is step else s for s in program.steps))


def _smaller_shapes(program: Program) -> Iterator[Program]:
    """Axes of the inputs dropped or made shorter: one, and all of one extent together with the numbers in the text."""
    extents = sorted({n for value in program.inputs for n in value.shape if n > 1}, reverse=True)
    for extent in extents:
        for less in sorted({1, 2, extent // 2} - {extent, 0}):
            inputs = tuple(replace(v, shape=tuple(less if n == extent else n for n in v.shape)) for v in program.inputs)
            numbered = tuple(replace(s, text=re.sub(rf"\b{extent}\b", str(less), s.text)) for s in program.steps)
            yield _with_shapes(replace(program, inputs=inputs))
            if numbered != program.steps:
                yield _with_shapes(replace(program, inputs=inputs, steps=numbered))
    for number, value in enumerate(program.inputs):
        for axis, extent in enumerate(value.shape):
            shapes = [value.shape[:axis] + value.shape[axis + 1 :]]
            shapes += [value.shape[:axis] + (1,) + value.shape[axis + 1 :]] if extent > 1 else []
            for shape in shapes:
                changed = (*program.inputs[:number], replace(value, shape=shape), *program.inputs[number + 1 :])
                yield _with_shapes(replace(program, inputs=changed))


def _with_shapes(program: Program) -> Program:
    """The program with the shapes that its lines have after a change of its inputs."""
    known: dict[str, Value] = {value.name: value for value in program.inputs}
    steps = []
    for step in program.steps:
        try:
            shape, dtype = programs.result_of(step.text, [known[name] for name in step.reads])
        except Exception:  # a shape that does not fit; the oracle will refuse the program, or it is the failure itself
            shape, dtype = step.output.shape, step.output.dtype
        output = replace(step.output, shape=shape, dtype=dtype)
        known[output.name] = output
        steps.append(replace(step, output=output))
    return replace(program, steps=tuple(steps))


# ---- the script -----------------------------------------------------------------------------------------------

_SCRIPT = '''"""{title}

{message}
"""
import numpy
{imports}
import ftiny
from ftiny.fuzz.forms import {form}  # {about}
from ftiny.fuzz.libraries import {libraries}
from ftiny.fuzz.programs import draw


def run(m, *arguments):
{names}
{program}
    return {form}(m, {wrapped}, {floats}, [m.numpy.asarray(x) for x in arguments])


rng = numpy.random.default_rng({seed})
arguments = [{draws}]
{oracle}
with ftiny.device({device!r}):
    found = {call}
for a, b, allowed in zip(found, wanted, {allowed}):
    a, b = numpy.asarray(a), numpy.asarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{{a.dtype}}{{a.shape}}, expected {{b.dtype}}{{b.shape}}"
    a, b = a.astype(float), b.astype(float)
    numpy.testing.assert_allclose(a[b == b], b[b == b], rtol=0, atol=allowed)
'''
_SIDES = """left, right, size = (float(x) for x in found[-3:])
assert abs(left - right) <= {tolerance} * size, f"<w, J v> = {{left}}, but <J^T w, v> = {{right}}"
"""
_IN_JAX = """with jax.enable_x64({wide}):
    wanted = jax.jit(lambda *xs: run(jax_library(), *xs))(*arguments)"""
_IN_NUMPY = """with ftiny.device("numpy"):
    wanted = run(ftiny_library(), *arguments)"""


def script(failure: Failure, device: str, oracle: str) -> str:
    """A Python program that runs the failing one in both libraries and asserts that they agree."""
    program, in_jax = failure.program, oracle == "jax"
    modules = {"np": "numpy", "lax": "lax", "nn": "nn", "special": "special", "random": "random", "vmap": "vmap"}
    used = [name for name in modules if re.search(rf"\b{name}\b", program.source)]
    names = f"    {', '.join(used)} = {', '.join(f'm.{modules[name]}' for name in used)}\n" if used else ""
    wrapped = "".join(f"m.{name}(" for name in reversed(program.wrappers)) + "program" + ")" * len(program.wrappers)
    call = "run(ftiny_library(), *arguments)"
    if program.jitted or device != "numpy":
        call = "ftiny.jit(lambda *xs: run(ftiny_library(), *xs))(*arguments)"
    form = FORMS[program.form]
    text = _SCRIPT.format(
        title=program.title,
        message=failure.message.replace("\\", "/"),
        imports="import jax\n" if in_jax else "",
        form=program.form,
        about=(form.__doc__ or "").splitlines()[0],
        libraries="ftiny_library, jax_library" if in_jax else "ftiny_library",
        names=names,
        program="".join(f"    {line}\n" for line in program.source.splitlines()),
        wrapped=wrapped,
        floats=program.float_positions,
        seed=program.seed,
        draws=", ".join(f"draw(rng, {v.shape}, {v.dtype!r})" for v in program.inputs),
        oracle=_IN_JAX.format(wide=program.needs_64_bits) if in_jax else _IN_NUMPY,
        device=device,
        call=call,
        allowed=[float(f"{each:.3g}") for each in failure.allowed] or f"[{program.coarsest}] * len(wanted)",
    )
    return text + (_SIDES.format(tolerance=1000 * program.coarsest) if program.form == "products" else "")
