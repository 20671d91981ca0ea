"""What a warm call of a jitted function costs before any work is done.

A program that gives back its arguments (on the numpy device, which then does nothing) is called with 1 and with 145
leaves; the time is that of flattening, comparing avals, collecting memories and making the result's arrays. With fewer
results than leaves the other leaves are unused, and their memories are not collected.

    $ python benchmarks/dispatch.py
     leaves  results   us per call
          1        1           3.1
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import ftiny
from ftiny.lowering.device import Executable


class Trivial(Executable):
    """Gives back the first memories that it is given."""

    def __init__(self, count: int):
        self.count = count

    def run(self, arguments, donated=()):
        """As many of the arguments as there are results."""
        return arguments[: self.count]


def measure(leaves: int, results: int, calls: int) -> float:
    """Microseconds of one call: the best of seven rounds."""
    arguments = {f"layer_{i}": ftiny.Array.from_numpy(np.zeros(4, np.float32)) for i in range(leaves)}
    function = ftiny.jit(lambda tree: [*tree.values()][:results])
    function(arguments)
    entry = function._last
    entry.executables = {device: Trivial(results) for device in entry.executables}
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(calls):
            function(arguments)
        best = min(best, (time.perf_counter() - start) / calls)
    return 1e6 * best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls in a round")
    calls = parser.parse_args().calls
    print(" leaves  results   us per call")
    with ftiny.device("numpy"):
        for leaves, results in ((1, 1), (145, 1), (145, 145)):
            print(f"{leaves:7d}  {results:7d}  {measure(leaves, results, calls):12.1f}")


if __name__ == "__main__":
    main()
