"""One expression in ftiny and in jax: what the tests of the transformations compare.

`agree(make, *args)` evaluates `make(library)(*args)` in both libraries and compares every leaf of the results, shapes
and dtypes included:

    agree(lambda m: m.grad(lambda x: m.np.sum(m.np.sin(x))), np.ones(3, np.float32))
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import oracle  # noqa: F401  (sets the environment of jax before it is imported)

NAMES = (
    "jit",
    "vmap",
    "grad",
    "value_and_grad",
    "jvp",
    "vjp",
    "jacfwd",
    "jacrev",
    "hessian",
    "linearize",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "eval_shape",
    "linear_transpose",
)


@cache
def libraries() -> tuple[SimpleNamespace, SimpleNamespace]:
    """ftiny and jax under the same names."""
    import jax

    import ftiny
    import ftiny.lax

    return (
        SimpleNamespace(np=ftiny.numpy, lax=ftiny.lax, tree=ftiny.tree, **{n: getattr(ftiny, n) for n in NAMES}),
        SimpleNamespace(np=jax.numpy, lax=jax.lax, tree=jax.tree, **{n: getattr(jax, n) for n in NAMES}),
    )


def agree(make, *args, rtol: float = 3e-4, atol: float = 3e-5) -> None:
    """Assert that `make(library)(*args)` is the same in ftiny and in jax."""
    ours, theirs = (library.tree.leaves(make(library)(*args)) for library in libraries())
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(
            x.astype(np.float64) if x.dtype.kind not in "c" else x,
            y.astype(np.float64) if y.dtype.kind not in "c" else y,
            rtol=rtol,
            atol=atol,
        )


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)
