"""Whether the time of a compilation grows with the program: transformer layers, unrolled, forward and backward.

    python benchmarks/compile_time.py [--device opencl] [--jax] [--most 48]     a Markdown table

Stages up to the plan (simplify, fuse, build, schedule, emit, plan) on an empty table of kernels; the device's own
compiler is left out, since it sees equal kernels once. With `--jax`: trace, lower and compile of the same gradient.
"""

import argparse
import time

import numpy as np

LAYERS = (1, 2, 4, 8, 16, 24, 48)


def gradient(library, layers, width=64, heads=4, length=32, batch=2):
    """(function, arguments): the gradient of a loss over pre-norm transformer layers."""
    np_, nn = library.numpy, library.nn
    rng = np.random.default_rng(0)
    make = lambda *shape: (rng.normal(size=shape) / 8).astype(np.float32)
    params = [dict(qkv=make(width, 3 * width), out=make(width, width), up=make(width, 4 * width),
                   down=make(4 * width, width), scale=make(2, width)) for _ in range(layers)]

    def norm(x, scale):
        x = x - x.mean(-1, keepdims=True)
        return x * scale / np_.sqrt(np_.mean(x * x, -1, keepdims=True) + 1e-5)

    def layer(x, p):
        qkv = (norm(x, p["scale"][0]) @ p["qkv"]).reshape(batch, length, 3, heads, width // heads)
        q, k, v = (qkv[:, :, i] for i in range(3))
        weights = nn.softmax(np_.einsum("bqhd,bkhd->bhqk", q, k) / (width // heads) ** 0.5, axis=-1)
        x = x + np_.einsum("bhqk,bkhd->bqhd", weights, v).reshape(batch, length, width) @ p["out"]
        return x + nn.gelu(norm(x, p["scale"][1]) @ p["up"]) @ p["down"]

    def loss(params, x):
        for p in params:
            x = layer(x, p)
        return np_.mean(x * x)

    return library.grad(loss), (params, make(batch, length, width))


def ours(layers, device):
    """(equations, kernels, seconds to trace, seconds of the stages) of one compilation."""
    import ftiny
    from ftiny.lowering.compiler import Compiler
    from ftiny.lowering.simplify import simplify

    function, arguments = gradient(ftiny, layers)
    started = time.perf_counter()
    program = ftiny.jit(function).trace(*arguments).jaxpr
    traced = time.perf_counter()
    with ftiny.device(device) as found:
        simplified = simplify(program).jaxpr
        plan = Compiler(found.capabilities).plan(simplified)
    return len(simplified.eqns), len(plan.kernels), traced - started, time.perf_counter() - traced


def theirs(layers):
    """Seconds of jax: trace and lower, compile."""
    import jax

    function, arguments = gradient(jax, layers)
    started = time.perf_counter()
    lowered = jax.jit(function).lower(*arguments)
    between = time.perf_counter()
    lowered.compile()
    return between - started, time.perf_counter() - between


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="opencl")
    parser.add_argument("--jax", action="store_true")
    parser.add_argument("--most", type=int, default=LAYERS[-1])
    options = parser.parse_args()
    ours(1, options.device)  # imports
    more = " jax: trace and lower ms | jax: compile ms |" if options.jax else ""
    print("| layers | equations | kernels | trace ms | stages ms | stages us an equation |" + more)
    print("|---|---|---|---|---|---|" + "---|---|" * options.jax)
    for layers in (n for n in LAYERS if n <= options.most):
        equations, kernels, trace, stages = ours(layers, options.device)
        figures = [1e3 * trace, 1e3 * stages, 1e6 * stages / equations]
        figures += [1e3 * seconds for seconds in theirs(layers)] if options.jax else []
        print(f"| {layers} | {equations} | {kernels} | " + " | ".join(f"{x:.0f}" for x in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
