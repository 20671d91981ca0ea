"""`tune`: measure other schedules for the kernels of a function, and keep the fastest.

Input: a function and example arguments. Output: a `Tuned`, which prints what was gained; from then on every
compilation on this kind of device, in this and later processes, makes the faster kernels:

    >>> print(ftiny.tune(step, params, batch, candidates=8))
     81% of peak  contract_relu_128x1024x784     0.41 ms ->   0.37 ms   1.11x    8 tried  tile 2
    ...
    12 kernels: 3.10 ms -> 2.70 ms, 1.15x; searched for 9.8 s
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ftiny import execute
from ftiny.errors import ArgumentError
from ftiny.lowering import profile
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.device import Device, default_device
from ftiny.lowering.search import Found, Search
from ftiny.lowering.simplify import simplify
from ftiny.source import located
from ftiny.transforms.jit import Jitted, jit


@dataclass(frozen=True)
class Tuned:
    """What was found for each kernel that had a choice, and how long it took; seconds of one run of each."""

    device: Device
    found: tuple[Found, ...]
    seconds: float

    @property
    def gain(self) -> float:
        """How many times faster these kernels have become, each counted once."""
        return sum(f.before for f in self.found) / max(1e-12, sum(f.after for f in self.found)) if self.found else 1.0

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        bandwidth, arithmetic = profile.peaks(self.device)
        for found in sorted(self.found, key=lambda f: f.after - f.before):
            share = max(found.bytes / bandwidth, found.flops / arithmetic) / found.after
            yield f"{share:4.0%} of peak  {found}"
        before, after = sum(f.before for f in self.found), sum(f.after for f in self.found)
        times = f"{profile.format_seconds(before)} -> {profile.format_seconds(after)}, {self.gain:.2f}x; "
        yield f"{len(self.found)} kernels: {times if self.found else ''}searched for {self.seconds:.1f} s"


def tune(function: Callable, *args, candidates: int = 8, seconds: float = 60.0, **kwargs) -> Tuned:
    """Measure up to `candidates` schedules for each kernel of `jit(function)(*args, **kwargs)` on the current device.

    args, kwargs: arrays or `ShapeDtypeStruct`; the function itself is not run, its kernels are, on random data.
    seconds: after this time the rest stays as it is. Kernels that were measured with as many candidates before, in any
    process, are not measured again. A candidate that gives other results than the first one is never chosen.

    Returns what was found; print it. The function is compiled anew at its next call.
    Raises `ArgumentError` on the interpreter, which has no kernels. `FTINY_SEARCH=8` does the same for all programs.
    """
    device = default_device()
    if device.capabilities.dialect == "numpy":
        raise ArgumentError(located(
            f"tune: {device.name} interprets programs and has no kernels to choose among; choose an OpenCL or CUDA "
            "device with ftiny.device(...)"))
    if candidates < 1:
        raise ArgumentError(located(f"tune: candidates must be at least 1, not {candidates}"))
    started = time.perf_counter()
    jitted = function if isinstance(function, Jitted) else jit(function)
    compiler = Compiler(device.capabilities)
    search = compiler.search = Search(device, candidates, compiler.made_kernels, seconds)
    compiler.plan(simplify(jitted.trace(*args, **kwargs).jaxpr).jaxpr)
    execute.forget()
    jitted.clear_cache()
    return Tuned(device, tuple(search.found), time.perf_counter() - started)
