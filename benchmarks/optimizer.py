"""One Adam step of the parameters of GPT-2 small: 148 tensors, 124 million float32 numbers; +1 of 100 small tensors.

    python benchmarks/optimizer.py --peer ftiny|jax|torch [--layers 12] [--width 768]

A step reads p, g, m and v and writes p, m and v: 28 bytes a number, which is the limit by the memory's bandwidth.
torch is its fused Adam (`torch.optim.Adam(fused=True)`), jax and ftiny are one jit with the state donated.
"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from timing import measure  # noqa: E402

RATE, B1, B2, EPSILON = 1e-4, 0.9, 0.999, 1e-8


def shapes(layers: int, width: int) -> list[tuple[int, ...]]:
    """The parameters of a GPT-2: embeddings, layers, the last layernorm."""
    layer = [(width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,),
             (width,), (width,), (width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return [(50257, width), (1024, width), *(layer * layers), (width,), (width,)]


def adam(sqrt):
    """The step for lists of arrays, the same for jax and ftiny."""
    def step(p, g, m, v, count):
        count = count + 1
        m = [B1 * a + (1 - B1) * b for a, b in zip(m, g)]
        v = [B2 * a + (1 - B2) * b * b for a, b in zip(v, g)]
        rate = RATE * sqrt(1 - B2**count) / (1 - B1**count)
        return [a - rate * b / (sqrt(c) + EPSILON) for a, b, c in zip(p, m, v)], m, v, count

    return step


def compiled(peer: str, sizes: list[tuple[int, ...]]):
    """(call, sync) of a step for jax and ftiny."""
    if peer == "jax":
        import jax
        import jax.numpy as np_
        put, wait = jax.device_put, jax.block_until_ready
    else:
        import ftiny as jax
        import ftiny.numpy as np_
        put, wait = jax.device_put, jax.block_until_ready
    rng = np.random.default_rng(0)
    state = [[put(rng.standard_normal(s, np.float32) ** 2) for s in sizes] for _ in range(4)]
    step = jax.jit(adam(np_.sqrt), donate_argnums=(0, 2, 3))
    now = [state[0], state[2], state[3], put(np.float32(0))]

    def call(i):
        p, m, v, count = step(now[0], state[1], now[1], now[2], now[3])
        now[:] = [p, m, v, count]
        return p

    return call, wait


def touch(peer: str):
    """(call, sync) of +1 of 100 tensors of 8 numbers."""
    if peer == "jax":
        import jax
    else:
        import ftiny as jax
    arrays = [jax.device_put(np.arange(8, dtype=np.float32) + k) for k in range(100)]
    function = jax.jit(lambda xs: [x + 1 for x in xs])
    return lambda i: function(arrays), jax.block_until_ready


def torch_step(sizes: list[tuple[int, ...]]):
    """(call, sync) of torch's fused Adam."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    parameters = [torch.nn.Parameter(torch.randn(s, device=device)) for s in sizes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.Adam(parameters, lr=RATE, fused=True)
    return lambda i: optimizer.step(), lambda out: torch.cuda.synchronize() if device == "cuda" else None


def main() -> None:
    """Prints a line for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=("ftiny", "jax", "torch"), default="ftiny")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    sizes = shapes(arguments.layers, arguments.width)
    numbers = sum(int(np.prod(s)) for s in sizes)
    call, sync = torch_step(sizes) if arguments.peer == "torch" else compiled(arguments.peer, sizes)
    r = measure(call, sync, budget_s=arguments.seconds)
    print(f"{arguments.peer:6} adam, {len(sizes)} tensors, {numbers / 1e6:.0f} M numbers: {r['ms']:.4f} ms, "
          f"{28e-6 * numbers / r['ms']:.0f} GB/s, first call {r['first_s']:.2f} s")
    if arguments.peer != "torch":
        r = measure(*touch(arguments.peer), budget_s=arguments.seconds)
        print(f"{arguments.peer:6} +1 of 100 tensors of 8: {1e3 * r['ms']:.1f} us a call, "
              f"{1e3 * r['lat_ms']:.1f} us waited for")


if __name__ == "__main__":
    main()
