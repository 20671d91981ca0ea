"""What ftiny tells about a compilation and a run: the `FTINY_DEBUG` ladder.

Input: a level, from the environment or `with ftiny.debug(level)`. Output: lines on standard error.

    1  a summary line for every compilation
    2  a line for every kernel run and every transfer, with the user's lines it came from
    3  the fusion plan        4  the loop nests        5  the source        6  the machine code, where it can be had

    with ftiny.debug(2):
        step(params, batch)
    # run  mul_add   12.0 MB  0.41 ms  20.5 GFLOP/s  29.3 GB/s  88% of peak  train.py:12

"share of peak" is the larger of the shares of measured memory bandwidth and of measured arithmetic, which are
measured when first asked for and remembered on disk. From level 2 on, kernels run one by one.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_print_lock = threading.Lock()
_peaks: dict[str, tuple[float, float]] = {}
_peak_lock = threading.RLock()


def _environment_level() -> int:
    text = os.environ.get("FTINY_DEBUG", "").strip() or "0"
    return int(text) if text.isdigit() else 1


class _ThreadState(threading.local):
    level = _environment_level()
    recorder: Any = None


_local = _ThreadState()


def debug_level() -> int:
    """The level of this thread: that of the innermost `with debug(level)`, else `FTINY_DEBUG` at start-up."""
    return _local.level


@contextmanager
def debug(level: int) -> Iterator[None]:
    """Sets the debug level of this thread, from 0 (silent) to 6: `with ftiny.debug(2): step(params, batch)`."""
    before = debug_level()
    _local.level = level
    try:
        yield
    finally:
        _local.level = before


def log(level: int, text: str) -> None:
    """Prints `text` on standard error if the debug level is at least `level`."""
    if debug_level() >= level:
        with _print_lock:
            print(text, file=sys.stderr, flush=True)


# ---- what ran -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """Something that took time: kind 'kernel' (seconds of the device), 'copy', 'host' (a call of a Python function) or
    'compile'; `start` is in seconds of `time.perf_counter`."""

    kind: str
    name: str
    start: float
    seconds: float
    device: Any = None
    bytes: int = 0
    flops: int = 0
    sources: tuple[Any, ...] = ()


@dataclass
class Recorder:
    """What ran: `events` in order, and the plans with the lines of their equations, by executable."""

    events: list[Event] = field(default_factory=list)
    programs: dict[int, tuple[Any, Mapping]] = field(default_factory=dict)


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Adds what runs in this thread to a recorder."""
    before = _local.recorder
    _local.recorder = recorder
    try:
        yield
    finally:
        _local.recorder = before


def recorder() -> Recorder | None:
    """The innermost recorder of this thread, or None."""
    return _local.recorder


def is_watched() -> bool:
    """Whether kernels are to be timed one by one, for the log or for a recorder."""
    return _local.level >= 2 or _local.recorder is not None


def record(kind: str, name: str, start: float, seconds: float, **details: Any) -> None:
    """Hands an event to the recorder, if there is one."""
    found = recorder()
    if found is not None:
        found.events.append(Event(kind, name, start, seconds, **details))


def log_kernel(device: Any, kernel: Any, seconds: float, sources: Mapping[int, Any], start: float = 0.0) -> None:
    """One kernel run: `kernel` is a `KernelSource`, `sources` maps equation numbers to tuples of lines."""
    found = tuple(dict.fromkeys(source for n in kernel.equations if n in sources for source in sources[n]))
    record("kernel", kernel.name, start, seconds, device=device, bytes=kernel.bytes, flops=kernel.flops, sources=found)
    if debug_level() < 2:
        return
    seconds = max(seconds, 1e-9)
    bandwidth, arithmetic = kernel.bytes / seconds, kernel.flops / seconds
    peak_bandwidth, peak_arithmetic = peaks(device)
    share = max(bandwidth / peak_bandwidth, arithmetic / peak_arithmetic)
    lines = dict.fromkeys(map(str, found))
    log(
        2,
        f"run  {kernel.name:<32} {format_bytes(kernel.bytes):>9}  {format_seconds(seconds):>9}"
        f"  {arithmetic / 1e9:8.1f} GFLOP/s  {bandwidth / 1e9:7.1f} GB/s  {share:4.0%} of peak"
        f"  {'; '.join(lines)}".rstrip(),
    )


def log_transfer(device: Any, direction: str, nbytes: int, seconds: float) -> None:
    """One transfer that has just ended; `direction` is 'to' or 'from' the device."""
    start = time.perf_counter() - seconds
    record("copy", f"copy {direction} {device.name}", start, seconds, device=device, bytes=nbytes)
    log(
        2,
        f"copy {direction + ' ' + device.name:<32} {format_bytes(nbytes):>9}  {format_seconds(seconds):>9}"
        f"  {'':>8}          {nbytes / max(seconds, 1e-9) / 1e9:7.1f} GB/s",
    )


def peaks(device: Any) -> tuple[float, float]:
    """Measured bytes per second and float32 operations per second of a device, from disk after the first time."""
    from ftiny.lowering import cache

    with _peak_lock:
        name = f"{device.kind}|{device.description}|{device.capabilities.arch}"
        if name not in _peaks:
            key = cache.key_of("peak", name)
            stored = cache.disk().get(key)
            if stored is None:
                with debug(0):
                    measured = device.measure_peaks()
                stored = f"{measured[0]} {measured[1]}".encode()
                cache.disk().put(key, stored)
            bandwidth, arithmetic = map(float, stored.split())
            _peaks[name] = (bandwidth, arithmetic)
        return _peaks[name]


def format_bytes(nbytes: float) -> str:
    """`12.0 MB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if nbytes < 1000 or unit == "GB":
            break
        nbytes /= 1000
    return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"


def format_seconds(seconds: float) -> str:
    """`0.41 ms`."""
    for scale, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * scale >= (1.0 if unit == "s" else 0.1):
            return f"{seconds * scale:.2f} {unit}"
    return f"{seconds * 1e6:.1f} us"
