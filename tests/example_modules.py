"""The example programs as modules: as they are, or with the import lines of jax.

    load("vae").make_loss            load("vae", "jax").make_loss         the same text, with jax's names for ftiny's
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import oracle  # noqa: F401  (sets the environment of jax before it is imported)
import pytest

import ftiny

EXAMPLES = Path(__file__).parent.parent / "examples"
ELSEWHERE_IN_JAX = ("optimizers", "stax")


def with_imports_of_jax(text: str) -> str:
    """The source of an example with jax's names for ftiny's: the modules of `ELSEWHERE_IN_JAX` have another home."""

    def change(line: re.Match) -> str:
        names = line[1].split(", ")
        lines = [f"from jax.example_libraries import {name}" for name in names if name in ELSEWHERE_IN_JAX]
        rest = [name for name in names if name not in ELSEWHERE_IN_JAX]
        return "\n".join([f"from jax import {', '.join(rest)}"] * bool(rest) + lines)

    return re.sub(r"\bftiny\b", "jax", re.sub(r"^from ftiny import (.+)$", change, text, flags=re.MULTILINE))


@cache
def load(name: str, library: str = "ftiny") -> ModuleType:
    """The example `name` as a module, on `library` "ftiny" or "jax"."""
    path = EXAMPLES / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    module = ModuleType(f"{name}_on_{library}")
    module.ftiny = import_module(library)  # so that a test may name the library by `module.ftiny`, whichever it is
    code = compile(with_imports_of_jax(text) if library == "jax" else text, str(path), "exec")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))  # for what the examples share
        exec(code, module.__dict__)
    return module


def assert_same(ours, theirs, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Two pytrees, of ftiny and of jax, have the same leaves: shapes, dtypes, and values to the tolerance."""
    import jax

    ours, theirs = ftiny.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs) > 0
    for x, y in zip(map(np.asarray, ours), map(np.asarray, theirs)):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)
