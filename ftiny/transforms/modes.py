"""Two ways to step out of tracing: run jitted functions as plain Python, or compute now what is traced.

Input: a block of code. Output: the same results, computed operation by operation:

    with disable_jit():
        step(params, batch)            # a debugger stops inside, print shows numbers

    @jit
    def f(x):
        with ensure_compile_time_eval():
            table = ftiny.numpy.arange(8) ** 2   # an array at once, not an equation of the program
            largest = int(table.max())
        return x * largest
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ftiny.core import EvalTrace, using


class PlainTrace(EvalTrace):
    """No transformation is on, and jitted functions run their Python."""

    name = "disable_jit"


@contextmanager
def disable_jit(disable: bool = True) -> Iterator[None]:
    """Inside, a call of a jitted function outside of other transformations runs the function itself, operation by
    operation, so that `print`, `breakpoint()` and conditions on values work. Control flow (`scan`, `cond`, ...) is
    traced as ever."""
    if not disable:
        yield
        return
    with using(PlainTrace()):
        yield


@contextmanager
def ensure_compile_time_eval() -> Iterator[None]:
    """Inside, operations on arrays are computed at once even while a function is traced. An operation on a traced
    value raises `LeakedTracerError`."""
    with using(EvalTrace()):
        yield
