"""How many argument patterns of each public function the table of operations compares with jax.

    python tests/argument_patterns.py        the functions with fewer than two, and the counts

Every row runs once for each of its samples, on the interpreter, with a library whose functions note what they are
called with: dtypes and shapes of arrays, other arguments as text. Two calls of one pattern are one.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import oracle
from op_table import all_rows

import ftiny

WANTED = 2
# Functions that have one way to be called, or whose rows cannot note it.
ONE_PATTERN = {
    "numpy.float32": "a dtype",
    "numpy.frompyfunc": "takes Python functions, whose calls are not seen",
    "random.clone": "takes one key",
    "random.key_dtype": "takes nothing",
}


class Noted:
    """A function that notes the patterns of its calls."""

    def __init__(self, function: Callable, found: dict[int, set]):
        self.function, self.found = function, found

    def __call__(self, *args, **kwargs):
        self.found[id(self.function)].add(pattern((args, sorted(kwargs.items()))))
        return self.function(*args, **kwargs)

    def __getattr__(self, name: str):
        return getattr(self.function, name)


class NotedModule:
    """A module whose functions are `Noted`."""

    def __init__(self, module, found: dict[int, set]):
        self.module, self.found = module, found

    def __getattr__(self, name: str):
        value = getattr(self.module, name)
        if isinstance(value, (ModuleType, SimpleNamespace)):
            return NotedModule(value, self.found)
        return Noted(value, self.found) if callable(value) and not inspect.isclass(value) else value


def pattern(value) -> Any:
    """What of an argument makes a pattern."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return str(value.dtype), tuple(value.shape)
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(map(pattern, value))
    if isinstance(value, dict):
        return tuple((key, pattern(item)) for key, item in sorted(value.items()))
    return "function" if callable(value) and not inspect.isclass(value) else repr(value)


def patterns() -> dict[int, set]:
    """The patterns of every function of the library that some row calls, by the id of the function."""
    found: dict[int, set] = defaultdict(set)
    library = NotedModule(oracle.ftiny_library(), found)
    with ftiny.device("numpy"), np.errstate(all="ignore"):
        for row in all_rows():
            rng = np.random.default_rng(0)
            for sample in row.samples:
                row.call(library, *(argument.draw(rng, row.domain) for argument in sample))
    return found


def functions() -> dict[str, Callable]:
    """The public functions that rows are named after, by those names."""
    names = sorted({row.function for row in all_rows()})
    library = oracle.ftiny_library()
    homes = {
        "linalg": library.numpy.linalg, "fft": library.numpy.fft, "scipy_linalg": library.scipy.linalg,
        "lax_linalg": library.lax.linalg, "losses": library.nn.losses, "special": library.scipy.special,
    }  # fmt: skip
    found = {}
    for name in names:
        module, _, function = name.partition(".")
        home = homes.get(module, getattr(library, module, None))
        value = getattr(home, function, None)
        if callable(value) and not inspect.isclass(value):
            found[name] = value
    return found


def few() -> tuple[dict[str, int], int]:
    """Functions with fewer patterns than wanted, and of how many functions."""
    found, public = patterns(), functions()
    counts = {name: len(found.get(id(value), ())) for name, value in public.items()}
    short = {name: count for name, count in counts.items() if count < WANTED and name not in ONE_PATTERN}
    return short, len(counts)


if __name__ == "__main__":
    short, total = few()
    print(f"{total - len(short)} of {total} functions are compared on at least {WANTED} patterns; the others:")
    print(" ".join(f"{name}:{count}" for name, count in short.items()))
