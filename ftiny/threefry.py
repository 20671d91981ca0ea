"""The `threefry2x32` primitive: the counter-based random function of Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3" (2011), with 20 rounds.

Input: a key of two uint32 arrays and a counter of two, all of one shape (or 0-d). Output: two arrays of random bits.
It is elementwise, and each element is one expression of additions, exclusive ors and rotations.

Worked example: key (0, 0) and counter (0, 0) give 0x6b200159 and 0x99ba4efe.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ftiny import dtypes
from ftiny import primitives as p
from ftiny.core import ZERO, Aval, Primitive
from ftiny.errors import DtypeError
from ftiny.lowering import expr as e
from ftiny.source import located

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _rounds(keys: tuple, x0, x1, constant: Callable[[int], Any], rotate: Callable):
    """The function itself, over any values that have `+` and `^`: numpy arrays or expressions."""
    keys = (*keys, keys[0] ^ keys[1] ^ constant(_PARITY))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(5):
        for amount in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = rotate(x1, amount) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + constant(group + 1)
    return x0, x1


def _abstract(*avals: Aval) -> list[Aval]:
    if any(a.dtype != dtypes.uint32 for a in avals):
        raise DtypeError(located(f"threefry2x32 takes four uint32 arrays, got {', '.join(map(str, avals))}"))
    return [Aval(p.elementwise_shape("threefry2x32", avals), dtypes.uint32)] * 2


def _numpy(k0, k1, x0, x1):
    def rotate(x, amount):
        return (x << np.uint32(amount)) | (x >> np.uint32(32 - amount))

    with np.errstate(all="ignore"):
        outs = _rounds((k0, k1), x0, x1, np.uint32, rotate)
    shape = np.broadcast_shapes(k0.shape, k1.shape, x0.shape, x1.shape)
    return [np.array(np.broadcast_to(out, shape)) for out in outs]


def _batch(axis_size, args, dims):
    outs, dim = p.elementwise_batch(lambda: threefry2x32_p)(axis_size, args, dims)
    return outs, [dim, dim]


def _build(k0, k1, x0, x1):
    def constant(value: int) -> e.Expr:
        return e.const(value, dtypes.uint32)

    def rotate(x: e.Expr, amount: int) -> e.Expr:
        left = e.bitwise("shift_left", x, constant(amount))
        return e.bitwise("or", left, e.bitwise("shift_right_logical", x, constant(32 - amount)))

    return list(_rounds((k0, k1), x0, x1, constant, rotate))


def _factors(*avals: Aval) -> str:
    rule = p.elementwise_factors(*avals)
    return f"{rule},{rule.split('->')[1]}"


threefry2x32_p: Primitive = Primitive(
    "threefry2x32",
    multiple_results=True,
    abstract=_abstract,
    numpy=_numpy,
    jvp=lambda primals, tangents: (threefry2x32(*primals), [ZERO, ZERO]),
    transpose=p.not_linear,
    batch=_batch,
    factors=_factors,
    lower=p.elementwise_lower(_build))


def threefry2x32(k0, k1, x0, x1) -> list:
    """Two arrays of random bits for the key (k0, k1) and the counters (x0, x1), all uint32."""
    return threefry2x32_p.bind(k0, k1, x0, x1)
