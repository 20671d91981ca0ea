"""ftiny and jax under the same names, so that one program runs in both.

Input: 'numpy' or 'jax'. Output: a namespace with numpy, lax, nn, random, special and the transformations:

    >>> ftiny_library().nn.sigmoid(0.0)
    Array(0.5, dtype=float32)

jax is imported when its namespace is asked for, never before.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import cache
from importlib.metadata import version
from types import SimpleNamespace

TRANSFORMATIONS = ("jit", "vmap", "grad", "value_and_grad", "jvp", "vjp", "checkpoint")


def jax_is_installed() -> bool:
    """Whether jax can be imported; it is not imported."""
    return importlib.util.find_spec("jax") is not None


@cache
def ftiny_library() -> SimpleNamespace:
    """The namespace of ftiny."""
    return _library("ftiny", "scipy.special")


@cache
def jax_library() -> SimpleNamespace:
    """The namespace of jax, on the CPU; its programs run once each, so they are compiled in the cheapest way."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    # XLA aborts on a flag that it does not know, and later versions lack this one.
    if version("jaxlib").startswith("0.10."):
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", flags)
    return _library("jax", "scipy.special")


def _library(name: str, special: str) -> SimpleNamespace:
    package = importlib.import_module(name)
    modules = {module: importlib.import_module(f"{name}.{module}") for module in ("numpy", "lax", "nn", "random")}
    return SimpleNamespace(
        special=importlib.import_module(f"{name}.{special}"),
        **modules,
        **{each: getattr(package, each) for each in TRANSFORMATIONS},
    )


def clear_caches() -> None:
    """Let jax forget what it has compiled, if it is there."""
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def names(library: SimpleNamespace) -> dict:
    """The global names of a program's text."""
    return {
        "np": library.numpy,
        "lax": library.lax,
        "nn": library.nn,
        "special": library.special,
        "random": library.random,
        "vmap": library.vmap,
    }
