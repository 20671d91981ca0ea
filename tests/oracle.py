"""jax as the reference of the tests: on the CPU, compiled cheaply, under the same names as ftiny.

`jax_library()` and `ftiny_library()` give a namespace with numpy, lax, nn, random and the transformations, so that one
expression of a test runs in both: `(lambda m, x: m.nn.softmax(x))(jax_library(), x)`. Import this before jax.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import version
from types import SimpleNamespace

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The reference programs run once each, so what counts is the time that XLA takes to compile them.
_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if version("jaxlib").startswith("0.10."):  # XLA aborts on a flag that it does not know, and later ones lack this one
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _FLAGS)

NAMES = ("jit", "vmap", "grad", "value_and_grad", "jvp", "vjp")


@cache
def jax_library() -> SimpleNamespace:
    """jax: numpy, lax, nn, random, special (jax.scipy.special), scipy and the transformations."""
    import jax
    import jax.scipy.linalg
    import jax.scipy.special
    import jax.scipy.stats

    return SimpleNamespace(
        numpy=jax.numpy,
        lax=jax.lax,
        nn=jax.nn,
        random=jax.random,
        special=jax.scipy.special,
        scipy=jax.scipy,
        is_jax=True,
        **{name: getattr(jax, name) for name in NAMES},
    )


@cache
def ftiny_library() -> SimpleNamespace:
    """The same of ftiny; `special` is `ftiny.lax`."""
    import ftiny
    import ftiny.lax
    import ftiny.nn
    import ftiny.numpy
    import ftiny.random
    import ftiny.scipy

    return SimpleNamespace(
        numpy=ftiny.numpy,
        lax=ftiny.lax,
        nn=ftiny.nn,
        random=ftiny.random,
        special=ftiny.lax,
        scipy=ftiny.scipy,
        is_jax=False,
        **{name: getattr(ftiny, name) for name in NAMES},
    )
