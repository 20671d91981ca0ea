"""How library functions of many operations run: as one program on a GPU, one by one in numpy on a CPU.

Input: a function of arrays and static values. Output: the same function, which is compiled as a whole when it is called
eagerly and that pays:

    @library("shape", "dtype")
    def noise(key, shape, dtype): ...       # one kernel on a GPU, not one for each of its equations

It always pays on a device with its own memory. On one that shares the host's memory eager equations are numpy calls,
and a kernel has to save more than the fifth of a second that its compilation takes: only large arrays do. Inside a
traced function the equations become part of the surrounding program.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from ftiny import array_tree as tree
from ftiny import core
from ftiny.execute import placement
from ftiny.transforms.jit import jit

# Elements from which a kernel beats numpy even with its compilation: a million normal numbers take numpy a second.
_LARGE = 1 << 18


def _elements(values) -> int:
    """The size of the largest array among the arguments, where a tuple of ints is the shape of one to be made."""
    sizes = [0]
    for value in values:
        if isinstance(value, tuple) and all(isinstance(n, int) for n in value):
            sizes.append(math.prod(value))
        else:
            sizes.extend(getattr(leaf, "size", 1) for leaf in tree.leaves(value))
    return max(sizes)


def _pays(args: tuple, kwargs: dict) -> bool:
    """Whether an eager call with these arguments is worth a compiled program."""
    device = placement(tree.leaves((args, kwargs)))
    if not device.capabilities.host_memory:
        return True
    return device.kind != "numpy" and _elements((*args, *kwargs.values())) >= _LARGE


def library(*static_names: str) -> Callable:
    """Decorator: compile the function, with these arguments static, where it is called eagerly and that pays."""

    def decorate(function: Callable) -> Callable:
        compiled = jit(function, static_argnames=static_names)

        @functools.wraps(function)
        def call(*args, **kwargs):
            if isinstance(core.current_trace(), core.EvalTrace) and _pays(args, kwargs):
                return compiled(*args, **kwargs)
            return function(*args, **kwargs)

        return call

    return decorate
