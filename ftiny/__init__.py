"""ftiny: JAX's programming model in a library that owns its whole stack, down to the emitted kernel.

Input: Python functions of arrays. Output: the same functions, differentiated, vectorised, compiled and run:

    >>> import ftiny, ftiny.numpy as np
    >>> ftiny.jit(ftiny.grad(lambda x: np.sum(x ** 2)))(np.array([1.0, 2.0]))
    Array([2., 4.], dtype=float32)

`ftiny.numpy` has the array functions, `ftiny.lax` the lower-level ones and control flow. The other modules (`nn`,
`random`, `stax`, `optimizers`, `data`) are imported when they are first named.
"""
from __future__ import annotations

import importlib

from ftiny import dtypes, errors, tree
from ftiny.array import Array, ShapeDtypeStruct, block_until_ready, device_get, device_put, from_dlpack
from ftiny.core import check_jaxpr
from ftiny.core import get_aval as typeof
from ftiny.effects import debug, io_callback, kernel, pure_callback
from ftiny.key_reuse import debug_key_reuse
from ftiny.lowering.device import default_device, device, devices, release_memory
from ftiny.profiler import profile
from ftiny.source import name_scope as named_scope
from ftiny.source import named_call
from ftiny.transforms import control, custom
from ftiny.transforms.bind import bind
from ftiny.transforms.call import (
    checkpoint,
    checkpoint_name,
    checkpoint_policies,
    save_contractions,
    save_everything,
    save_names,
    save_nothing,
)
from ftiny.transforms.checks import checks
from ftiny.transforms.closures import closure_convert, custom_gradient
from ftiny.transforms.custom import custom_jvp, custom_vjp
from ftiny.transforms.grad import (
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linear_transpose,
    linearize,
    value_and_grad,
    vjp,
)
from ftiny.transforms.jit import eval_shape, jit, make_jaxpr
from ftiny.transforms.modes import disable_jit, ensure_compile_time_eval
from ftiny.transforms.retraces import explain_retraces
from ftiny.transforms.vmap import vmap
from ftiny.tuning import tune

# isort: split
# numpy installs the operators of arrays, so it comes after the transformations.
from ftiny import numpy

__version__ = "0.1.0"

# Names that JAX has for the same things.
remat, jacobian = checkpoint, jacrev

_LAZY = ("data", "flatten_util", "io", "lax", "nn", "optimizers", "random", "scipy", "stax", "tree_util")

__all__ = [
    "Array", "ShapeDtypeStruct", "bind", "block_until_ready", "check_jaxpr", "checkpoint", "checkpoint_name",
    "checkpoint_policies", "checks", "closure_convert", "control", "custom", "custom_gradient", "custom_jvp",
    "custom_vjp", "debug", "debug_key_reuse", "default_device", "device", "device_get", "device_put", "devices",
    "disable_jit", "dtypes", "ensure_compile_time_eval", "errors", "eval_shape", "explain_retraces", "from_dlpack",
    "grad", "hessian", "io_callback", "jacfwd", "jacobian", "jacrev", "jit", "jvp", "kernel", "linear_transpose",
    "linearize", "make_jaxpr", "named_call", "named_scope", "numpy", "profile", "pure_callback", "release_memory",
    "remat", "save_contractions", "save_everything", "save_names", "save_nothing", "tree", "tune", "typeof",
    "value_and_grad", "vjp", "vmap",
    *_LAZY,
]


def __getattr__(name: str):
    """Import a module of the package when it is first named."""
    if name in _LAZY:
        return importlib.import_module(f"ftiny.{name}")
    raise AttributeError(f"module 'ftiny' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
