"""ftiny: JAX's programming model in a library that owns its whole stack, down to the emitted kernel.

Input: Python functions of arrays. Output: the same functions, differentiated, vectorised, compiled and run:

    >>> import ftiny, ftiny.numpy as np
    >>> ftiny.jit(ftiny.grad(lambda x: np.sum(x ** 2)))(np.array([1.0, 2.0]))
    Array([2., 4.], dtype=float32)
"""
from __future__ import annotations

import importlib

from ftiny import dtypes, errors, tree
from ftiny.array import Array, ShapeDtypeStruct, device_get, device_put, from_dlpack
from ftiny.core import check_jaxpr
from ftiny.lowering.device import default_device, device, devices
from ftiny.source import name_scope as named_scope
from ftiny.transforms.call import checkpoint, checkpoint_name
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
from ftiny.transforms.vmap import vmap

__version__ = "0.1.0"
