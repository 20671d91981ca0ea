"""The interpreter: runs a `Jaxpr` on numpy arrays, equation by equation, by the primitives' own numpy rules.

It is the reference that every other target is compared with, the debugger, and the last-resort target. Input: a program
without consts (or with them in `jaxpr.consts`) and a list of arrays; output: a list of arrays of the outputs' avals.
Higher-order primitives call `interpret` on their bodies. An array is dropped after its last use.

Worked example: `interpret(jaxpr, [np.float32([1, 2])])` of `{ lambda a:f32[2] . let b = mul a 2.0 in (b,) }` is
`[array([2, 4], float32)]`.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftiny.core import Jaxpr, Literal, Var, last_uses
from ftiny.errors import IRError


def interpret(jaxpr: Jaxpr, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a program for the given inputs.

    Args:
        jaxpr: the program; its consts are numpy arrays or convert to them.
        arrays: one numpy array per input, of the input's shape and dtype.
    Raises `IRError` when the number of arrays is wrong.
    """
    if len(arrays) != len(jaxpr.inputs):
        raise IRError(f"a program of {len(jaxpr.inputs)} inputs was given {len(arrays)} arrays")
    values: dict[Var, np.ndarray] = dict(zip(jaxpr.constvars, map(np.asarray, jaxpr.consts)))
    values.update(zip(jaxpr.inputs, arrays))

    def read(atom) -> np.ndarray:
        return np.asarray(atom.value) if isinstance(atom, Literal) else values[atom]

    dying = last_uses(jaxpr)
    for number, eqn in enumerate(jaxpr.eqns):
        out = eqn.primitive.numpy(*map(read, eqn.inputs), **eqn.params)
        values.update(zip(eqn.outputs, out if eqn.primitive.multiple_results else [out]))
        for var in dying.get(number, ()):
            del values[var]
    return [read(atom) for atom in jaxpr.outputs]
