"""What a warm call of a jitted function costs when there is next to nothing to compute.

First the host's share: a program whose executable only hands out memories (on the numpy device) is called with 1 and
with 101 leaves; the time is that of flattening, comparing avals, collecting memories and making the result's arrays.

    $ python benchmarks/dispatch.py
     leaves  results   us per call
          1        1           3.1

Then the yardstick's three cases, and two more, on the current device, beside jax on the same kind of device if it is
installed. Results go back in as arguments, the sides alternate in one process, and the ratio is the median of jax's
time over ftiny's:

    min        x + 1
    unused     x + 1; 100 parameters are given and not used
    through    x + 1; 100 parameters are given back unchanged
    touch      x + 1 and p + 1 for each of 100 parameters
    batch      x plus the sum of 10 numpy arrays of 1 KB
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import ftiny
from ftiny.lowering.device import Executable


class Trivial(Executable):
    """Hands out the same memories for every call."""

    def __init__(self, memories):
        self.memories = memories

    def run(self, arguments, donated=()):
        """As many memories as there are results."""
        return list(self.memories)


def host_cost(leaves: int, results: int, calls: int) -> float:
    """Microseconds of one call without a device's share: the best of seven rounds."""
    arguments = {f"layer_{i}": ftiny.Array.from_numpy(np.zeros(4, np.float32)) for i in range(leaves)}
    function = ftiny.jit(lambda tree: [x + 1 for x in [*tree.values()][:results]], keep_unused=True)
    found = function(arguments)
    entry = function._last
    entry.executables = {device: Trivial([x._memory for x in found]) for device in entry.executables}
    return 1e6 * min(seconds_of(lambda: function(arguments), calls) for _ in range(7))


def seconds_of(call: Callable, calls: int, wait: Callable = lambda: None) -> float:
    """Seconds of one of so many calls in a row, with one wait at the end."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    wait()
    return (time.perf_counter() - start) / calls


CASES = {
    "min": lambda x, p: (x + 1, ()),
    "unused": lambda x, p: (x + 1, ()),
    "through": lambda x, p: (x + 1, p),
    "touch": lambda x, p: (x + 1, [a + 1 for a in p]),
    "batch": lambda x, p: (sum(p, x), ()),
}


def looped(jit: Callable, put: Callable, name: str) -> tuple[Callable, Callable]:
    """`(call, wait)`: the case as a loop that puts its results back in."""
    random = np.random.default_rng(0)
    batch = [random.standard_normal(256).astype(np.float32) for _ in range(10)]
    given = [put(random.standard_normal(8).astype(np.float32)) for _ in range(0 if name == "min" else 100)]
    given = batch if name == "batch" else given
    state = {"x": put(random.standard_normal(256 if name == "batch" else 8).astype(np.float32)), "p": given}
    function = jit(CASES[name])

    def call():
        state["x"], p = function(state["x"], state["p"])
        state["p"] = p or state["p"]

    return call, lambda: state["x"].block_until_ready()


def compare(rounds: int, calls: int) -> None:
    """The table of the cases."""
    sides = {"ftiny": (ftiny.jit, ftiny.device_put)}
    try:
        import jax

        kind = "gpu" if ftiny.default_device().kind == "cuda" else "cpu"
        jax.config.update("jax_default_device", jax.devices(kind)[0])
        sides["jax"] = (jax.jit, jax.device_put)
    except (ImportError, RuntimeError) as problem:
        print(f"without jax: {problem}")
    print(f"\n{ftiny.default_device().description}; us per call, the best and the median of {rounds} rounds")
    print("case        " + "".join(f"{side:>18}" for side in sides) + "   jax / ftiny")
    for name in CASES:
        loops = {side: looped(*functions, name) for side, functions in sides.items()}
        times: dict[str, list[float]] = {side: [] for side in sides}
        for call, wait in loops.values():
            seconds_of(call, 50, wait)
        for _ in range(rounds):
            for side, (call, wait) in loops.items():
                times[side].append(1e6 * seconds_of(call, calls, wait))
        text = "".join(f"{min(found):10.1f}{statistics.median(found):8.1f}" for found in times.values())
        if len(sides) > 1:
            text += f"{statistics.median(j / f for f, j in zip(times['ftiny'], times['jax'])):14.2f}"
        print(f"{name:12}{text}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300, help="calls in a round")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(" leaves  results   us per call")
    with ftiny.device("numpy"):
        for leaves, results in ((1, 1), (101, 1), (101, 101)):
            print(f"{leaves:7d}  {results:7d}  {host_cost(leaves, results, options.calls):12.1f}")
    compare(options.rounds, options.calls)


if __name__ == "__main__":
    main()
