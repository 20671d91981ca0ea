"""Loops in ftiny, and with `--jax` in jax in turn: ms a call.

    python benchmarks/loops.py --device cuda --jax; python benchmarks/loops.py --device cuda --steps-only

`recurrence`: 100,000 steps of one number, c -> 0.9 c + x, which is stacked. `elementwise`: the same of 4,096 numbers,
1,000 steps. `halving`: a while loop of 8 numbers that are halved until their sum is small, 40 trips. `vmap_while`:
1,000 numbers by Collatz's rule, each until it is 1. `neural_ode`: a training step of examples/neural_ode.py. `lstm`:
the value and gradients of an LSTM (a scan and the scan of its derivative), whose trips are too large for one kernel.
With `--steps-only` no loop of ftiny's is a kernel; with `--most-launches 0` every loop is replayed trip by trip.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]
import ftiny  # noqa: E402
from ftiny.lowering.compiler import Compiler  # noqa: E402
from ftiny.lowering.replay import Driver  # noqa: E402


def lstm_loss(library, w_in, w_hidden, bias, x, weights):
    """The weighted sum of an LSTM's hidden states; gates in the order i, f, g, o."""
    jnp, sigmoid = library.numpy, library.nn.sigmoid

    def step(carry, x_t):
        h, c = carry
        i, f, g, o = jnp.split(x_t @ w_in + h @ w_hidden + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], w_hidden.shape[0]), x.dtype)
    return jnp.sum(library.lax.scan(step, (zeros, zeros), x)[1] * weights)


def neural_ode_step(library):
    """A training step of the example as a function of no arguments; the state goes from call to call."""
    text = (ROOT / "examples" / "neural_ode.py").read_text()
    if library is not ftiny:
        text = text.replace("from ftiny import lax, optimizers, random, stax, tree",
                            "from jax import lax, random, tree\nfrom jax.example_libraries import optimizers, stax")
        text = re.sub(r"\bftiny\b", "jax", text)
    module = ModuleType("neural_ode_example")
    exec(compile(text, "neural_ode.py", "exec"), module.__dict__)
    start, times = library.numpy.array([[2.5, 0.0]]), library.numpy.linspace(0, 20, 200)
    curve = library.jit(module.odeint, static_argnums=0)(module.pendulum, start, times, 0.2)
    init_key, train_key = library.random.split(library.random.PRNGKey(0))
    init_state, _, _ = optimizer = module.optimizers.adam(1e-2)
    kept = [init_state(module.init_network(init_key, (-1, 2))[1])]
    step = module.make_step(optimizer, 32, 10)

    def run():
        kept[0], value = step(kept[0], 0, times, curve[:, 0], train_key)
        return value

    return run


def programs(library, options) -> dict:
    """Name -> a function of no arguments, jitted on the current device."""
    jnp, lax, rng = library.numpy, library.lax, numpy.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray((rng.normal(size=shape) * shape[-1] ** -0.5).astype(numpy.float32))

    def jitted(function, *arguments):
        compiled = library.jit(function)
        return lambda: compiled(*arguments)

    def linear(c, xs):
        return lax.scan(lambda c, x: (c * 0.9 + x, c), c, xs)

    def halving(x):
        return lax.while_loop(lambda x: jnp.sum(x) > 1e-6, lambda x: x * 0.5, x)

    def collatz(n):
        def trip(state):
            n, count = state
            return jnp.where(n % 2 == 0, n // 2, 3 * n + 1), count + 1

        return lax.while_loop(lambda state: state[0] != 1, trip, (n, 0))

    steps, batch, hidden = options.steps, options.batch, options.hidden
    lstm = library.value_and_grad(lambda *arguments: lstm_loss(library, *arguments), argnums=(0, 1, 2, 3))
    weights = draw(hidden, 4 * hidden), draw(hidden, 4 * hidden), draw(4 * hidden)
    return {
        "recurrence": lambda: jitted(linear, jnp.zeros(()), draw(100_000)),
        "elementwise": lambda: jitted(linear, jnp.zeros(4096), draw(1000, 4096)),
        "halving": lambda: jitted(halving, abs(draw(8)) * 1e5),
        "vmap_while": lambda: jitted(library.vmap(collatz), jnp.arange(1, 1001, dtype=numpy.int32)),
        "neural_ode": lambda: neural_ode_step(library),
        "lstm": lambda: jitted(lstm, *weights, draw(steps, batch, hidden), draw(steps, batch, hidden)),
    }


def main() -> None:
    """Prints a line for each program and library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=None, help="as in FTINY_DEVICE")
    parser.add_argument("--only", default="", help="names of programs, with commas between")
    parser.add_argument("--jax", action="store_true", help="time jax too, in turn with ftiny")
    parser.add_argument("--steps-only", action="store_true", help="no loop is a kernel")
    parser.add_argument("--most-launches", type=int, default=None, help="0 replays every loop trip by trip")
    for name, default in (("steps", 256), ("batch", 64), ("hidden", 512), ("calls", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    if options.steps_only:
        Compiler._loop = lambda self, kind, eqn, number: []
        os.environ["FTINY_CACHE_DIR"] = tempfile.mkdtemp()  # plans of other runs have kernels
    if options.most_launches is not None:
        for driver in Driver.__subclasses__():
            driver.most_launches = options.most_launches
    libraries = {"ftiny": ftiny}
    if options.jax:
        if (options.device or "").startswith("opencl"):
            os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        libraries["jax"] = jax
    with ftiny.device(options.device or ftiny.default_device()):
        print(f"on {ftiny.default_device().name}")
        for name in options.only.split(",") if options.only else programs(ftiny, options):
            report(name, {library: programs(module, options)[name] for library, module in libraries.items()}, options)


def report(name: str, makers: dict, options) -> None:
    """Times one program in each library, in alternation; the first calls include tracing and compilation."""
    functions, first = {}, {}
    for library, make in makers.items():
        functions[library] = make()
        first[library] = timed(functions[library])
        timed(functions[library])
    seconds: dict[str, list[float]] = {library: [] for library in functions}
    for _ in range(options.calls):
        for library, function in functions.items():
            seconds[library].append(timed(function))
    shown = "; ".join(f"{library} {1e3 * statistics.median(times):.3f} ms (first {first[library]:.2f} s)"
                      for library, times in seconds.items())
    print(f"{name}: {shown}", flush=True)


def timed(function) -> float:
    """The seconds of one call, until its results are there."""
    started = time.perf_counter()
    result = function()
    for leaf in ftiny.tree.leaves(result):
        leaf.block_until_ready()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
