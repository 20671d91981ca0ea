"""Loops of known length, laid out when a program is loaded, or replayed trip by trip: ms a call.

    python benchmarks/loops.py --device cuda; python benchmarks/loops.py --device cuda --most-launches 0

`lstm`: the value and gradients of an LSTM (a scan and the scan of its derivative). `scalar`: 1,000 trips that carry one
number, c -> 0.9 c + x, and stack it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

import numpy

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import ftiny  # noqa: E402
import ftiny.numpy as jnp  # noqa: E402
from ftiny import lax  # noqa: E402
from ftiny.lowering.replay import Driver  # noqa: E402

TRIPS = 1000


def lstm_loss(w_in, w_hidden, bias, x, weights):
    """The weighted sum of an LSTM's hidden states; gates in the order i, f, g, o."""

    def step(carry, x_t):
        h, c = carry
        i, f, g, o = jnp.split(x_t @ w_in + h @ w_hidden + bias, 4, axis=-1)
        c = ftiny.nn.sigmoid(f) * c + ftiny.nn.sigmoid(i) * jnp.tanh(g)
        h = ftiny.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], w_hidden.shape[0]), x.dtype)
    return jnp.sum(lax.scan(step, (zeros, zeros), x)[1] * weights)


def programs(steps: int, batch: int, hidden: int) -> dict:
    """The functions and their arguments, on the current device."""
    rng = numpy.random.default_rng(0)

    def draw(*shape):
        return ftiny.device_put((rng.normal(size=shape) * shape[-1] ** -0.5).astype(numpy.float32))

    arguments = draw(hidden, 4 * hidden), draw(hidden, 4 * hidden), draw(4 * hidden)
    data = draw(steps, batch, hidden), draw(steps, batch, hidden)
    lstm = ftiny.value_and_grad(lstm_loss, argnums=(0, 1, 2, 3))
    scalar = lambda c, xs: lax.scan(lambda c, x: (c * 0.9 + x, c), c, xs)  # noqa: E731
    return {"lstm": (lstm, (*arguments, *data)), "scalar": (scalar, (jnp.zeros(()), draw(TRIPS)))}


def main() -> None:
    """Prints a line for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=None, help="as in FTINY_DEVICE")
    parser.add_argument("--most-launches", type=int, default=None, help="0 replays every loop trip by trip")
    for name, default in (("steps", 256), ("batch", 64), ("hidden", 512)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with ftiny.device(options.device or ftiny.default_device()):
        if options.most_launches is not None:
            for driver in Driver.__subclasses__():
                driver.most_launches = options.most_launches
        for name, (function, arguments) in programs(options.steps, options.batch, options.hidden).items():
            jitted = ftiny.jit(function)
            seconds = [timed(jitted, arguments) for _ in range(22)]
            print(f"{name}: {1e3 * statistics.median(seconds[2:]):.3f} ms; first call {seconds[0]:.2f} s, second"
                  f" {1e3 * seconds[1]:.0f} ms, on {ftiny.default_device().name}")


def timed(function, arguments) -> float:
    """The seconds of one call."""
    started = time.perf_counter()
    ftiny.block_until_ready(function(*arguments))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
