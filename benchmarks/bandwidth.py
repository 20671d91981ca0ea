#!/usr/bin/env python3
"""Operations that move memory and do little else, over many shapes: milliseconds and GB/s of the least bytes.

  python benchmarks/bandwidth.py --peer ftiny|jax [--only PREFIX,...] [--seconds 60]

Reductions along rows, columns and both, rows normalised, elementwise work and permutations. GB/s counts every input
once and every output once. The best of four rounds of 20 calls, started one after the other and waited for at the end
of a round; times below 30 us are those of the host, not of the device.
"""

from __future__ import annotations

import argparse
import math
import os
import time

import numpy as np

M = 1 << 20
SQUARE = (8192, 8192)
SUMS = [((1 << 28,), None), ((16 * M,), None), ((65536, 1024), None), (SQUARE, 1), ((4, 16 * M), 1), ((1000, 65536), 1),
        ((65536, 1001), 1), ((M, 64), 1), ((4 * M, 16), 1), ((8 * M, 8), 1), (SQUARE, 0), ((65536, 1024), 0),
        ((1024, 65536), 0), ((65536, 1001), 0), ((4 * M, 16), 0), ((32 * M, 2), 0), ((64, 1024, 1024), 1),
        ((64, 1024, 1024), (0, 2))]
SOFTMAX = [SQUARE, (M, 64), (131072, 512), (65536, 1000), (2048, 32768), (1024, 65536), (8, 8 * M)]
PERMUTATIONS = [(SQUARE, (1, 0)), ((32, 56, 56, 256), (0, 3, 1, 2)), ((64, 512, 16, 64), (0, 2, 1, 3)),
                ((256, 256, 1000), (2, 1, 0)), ((4096, 64, 3, 64), (3, 0, 1, 2)), ((64, 224, 224, 3), (0, 3, 1, 2)),
                ((64, 3, 224, 224), (0, 2, 3, 1)), ((4 * M, 4), (1, 0)), ((64, 1001, 1003), (0, 2, 1)),
                ((M, 5, 3), (0, 2, 1))]


def operations(jnp, nn):
    """(name, shape, dtype, function, how often the input's bytes move)."""
    for shape, axis in SUMS:
        yield f"sum {axis}", shape, "float32", lambda x, axis=axis: x.sum(axis), 1
    for name, function in (("max", jnp.max), ("argmax", jnp.argmax), ("var", jnp.var)):
        for axis in (1, 0):
            yield f"{name} {axis}", SQUARE, "float32", lambda x, f=function, axis=axis: f(x, axis=axis), 1
    yield "logsumexp", SQUARE, "float32", lambda x: nn.logsumexp(x, -1), 1
    for shape in SOFTMAX:
        yield "softmax", shape, "float32", lambda x: nn.softmax(x, -1), 2
    for shape, order in PERMUTATIONS:
        yield f"permute {order}", shape, "float32", lambda x, order=order: jnp.transpose(x, order), 2
    yield "(x+1).T*2+x", SQUARE, "float32", lambda x: (x + 1).T * 2 + x, 3
    yield "x+1", SQUARE, "float32", lambda x: x + 1, 2
    for dtype in ("bfloat16", "int8", "int64"):
        yield "x.T", SQUARE, dtype, lambda x: x.T, 2
        yield "x+1", SQUARE, dtype, lambda x: x + 1, 2
    yield "softmax", SQUARE, "bfloat16", lambda x: nn.softmax(x, -1), 2
    yield "sum 1", SQUARE, "bfloat16", lambda x: x.sum(-1), 1


def library(peer: str):
    """(numpy-like module, nn module with logsumexp, jit, wait) of a peer."""
    if peer == "jax":
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        jax.config.update("jax_enable_x64", True)
        return jax.numpy, jax.nn, jax.jit, jax.block_until_ready
    import ftiny
    from ftiny import nn

    return ftiny.numpy, nn, ftiny.jit, ftiny.block_until_ready


def best_time(call, argument, wait) -> float:
    """Seconds a call, by the best of four rounds of 20."""
    for _ in range(3):
        wait(call(argument))
    rounds = []
    for _ in range(4):
        started = time.perf_counter()
        for _ in range(20):
            last = call(argument)
        wait(last)
        rounds.append((time.perf_counter() - started) / 20)
    return min(rounds)


def main() -> None:
    """Prints a line for each operation, as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=("ftiny", "jax"), default="ftiny")
    parser.add_argument("--only", default="", help="prefixes of names, with commas between")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    jnp, nn, jit, wait = library(options.peer)
    started = time.perf_counter()
    for name, shape, dtype, function, passes in operations(jnp, nn):
        if not name.startswith(tuple(options.only.split(","))):
            continue
        if time.perf_counter() - started > options.seconds:
            print("no time left")
            break
        count = math.prod(shape)
        # Made on the device: a sine of the position.
        x = jit(lambda count=count, shape=shape, dtype=dtype: jnp.sin(
            jnp.arange(count, dtype="int32").astype("float32")).reshape(shape).astype(dtype))()
        seconds = best_time(jit(function), x, wait)
        moved = passes * count * np.dtype(x.dtype).itemsize
        print(f"{name:24s} {dtype:9s} {str(shape):24s} {seconds * 1e3:9.4f} ms {moved / seconds / 1e9:6.0f} GB/s",
              flush=True)


if __name__ == "__main__":
    main()
