"""The random programs of `ftiny.fuzz`, for tests of parts of the compiler.

Input: a seed. Output: a program, and it under its transformations as a function of `program.arguments()`:

    check_compiles(values_and_gradients(generate(7), oracle.ftiny_library()), *generate(7).arguments())
"""

from __future__ import annotations

from ftiny.fuzz import checking, libraries
from ftiny.fuzz.programs import Program, generate

__all__ = ["generate", "values_and_gradients"]


def values_and_gradients(program: Program, library):
    """The program under its own transformations in ftiny; `library` is only the names that other tests use."""
    return checking.function(program, libraries.ftiny_library())
