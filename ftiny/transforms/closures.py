"""Functions without their closures: what a function closed over becomes arguments of it.

Input: a function and example arguments. Output: a function of the arguments and of what was closed over, and the list
of that:

    >>> def line(slope):
    ...     converted, closed_over = closure_convert(lambda x: slope * x, 1.0)
    ...     return converted(2.0, *closed_over)
    >>> grad(line)(3.0)
    Array(2., dtype=float32)

`custom_vjp` rules need it where they are given functions: a rule must get every value that has a derivative as an
argument. `custom_gradient` is a `custom_vjp` whose rule is written inside the function, as a closure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from ftiny import array_tree as tree
from ftiny import core
from ftiny.errors import ArgumentError
from ftiny.source import located
from ftiny.transforms.common import FlatFunction, check_leaves, name_of
from ftiny.transforms.custom import custom_vjp


def closure_convert(function: Callable, *example_args) -> tuple[Callable, list]:
    """`(converted, closed_over)`, where `converted(*args, *closed_over)` is `function(*args)`.

    The function is traced once, for the shapes and dtypes of `example_args` (pytrees of arrays); the converted one
    takes no others. `closed_over` are the arrays and tracers that the function used without being given them.

    Raises `ArgumentError` when the converted function is called with arguments of another structure.
    """
    check_leaves(f"closure_convert of {name_of(function)}", example_args)
    leaves, structure = tree.flatten(example_args)
    flat = FlatFunction(function, structure)
    program = core.stage(flat, [core.get_aval(x) for x in leaves], f"closure_convert({name_of(function)})")
    count = len(example_args)

    @functools.wraps(function)
    def converted(*args):
        values, found = tree.flatten(args[:count])
        if found != structure or len(args) != count + len(program.consts):
            raise ArgumentError(
                located(
                    f"{name_of(function)}, converted by closure_convert, takes {count} arguments of the structure "
                    f"{structure} and {len(program.consts)} closed-over values, but was called with {len(args)} "
                    f"arguments, the first {count} of them {found}"
                )
            )
        outs = core.eval_jaxpr(program, *values, consts=args[count:])
        return tree.unflatten(flat.out_structure, outs)

    return converted, list(program.consts)


def custom_gradient(function: Callable) -> Callable:
    """A function with its reverse-mode derivative beside its value: `function(*args)` returns `(value, pullback)`.

    `pullback(cotangent)` gives one cotangent for each argument (a single one alone or in a tuple) and may close over
    anything computed in the function:

        @custom_gradient
        def clipped(x):
            return x * x, lambda ct: ct * ftiny.numpy.clip(2 * x, -1, 1)

    Raises `ArgumentError` where the function returns no such pair. Forward-mode derivatives do not exist.
    """

    def pair(*args):
        result = function(*args)
        if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
            raise ArgumentError(
                located(f"custom_gradient: {name_of(function)} must return a pair (value, function of a cotangent)")
            )
        return result

    @functools.wraps(function)
    def value(*args):
        return pair(*args)[0]

    wrapped = custom_vjp(value)

    def forward(*args):
        out, pullback = pair(*args)
        return out, closure_convert(pullback, out)

    def backward(residuals, cotangent):
        pullback, closed_over = residuals
        found = pullback(cotangent, *closed_over)
        return tuple(found) if isinstance(found, (tuple, list)) else (found,)

    wrapped.defvjp(forward, backward)
    return wrapped
