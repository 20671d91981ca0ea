"""How library functions of many operations run: as one program on a GPU, one by one in numpy on a CPU.

Input: a function of arrays and static values. Output: the same function, which on a device with its own memory is
compiled as a whole when it is called eagerly:

    @library("shape", "dtype")
    def noise(key, shape, dtype): ...       # one kernel on a GPU, not one for each of its equations

On devices that share the host's memory eager equations are numpy calls, so compiling would only cost time; inside a
traced function the equations become part of the surrounding program.
"""
from __future__ import annotations

import functools
from collections.abc import Callable

from ftiny import core, tree
from ftiny.execute import placement
from ftiny.transforms.jit import jit


def library(*static_names: str) -> Callable:
    """Decorator: compile the function, with these arguments static, where it is called eagerly on a GPU."""

    def decorate(function: Callable) -> Callable:
        compiled = jit(function, static_argnames=static_names)

        @functools.wraps(function)
        def call(*args, **kwargs):
            if isinstance(core.current_trace(), core.EvalTrace):
                if not placement(tree.leaves((args, kwargs))).capabilities.host_memory:
                    return compiled(*args, **kwargs)
            return function(*args, **kwargs)

        return call

    return decorate
