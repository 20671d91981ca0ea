"""`profile`: where the time of a program goes, kernel by kernel and line by line.

Input: a `with` block. Output: a `Profile`, which prints as two tables and writes a trace for Chrome's and Perfetto's
viewers:

    with ftiny.profile() as p:
        step(params, batch)
    print(p)
    p.save_trace("step.json")            # open in https://ui.perfetto.dev

    kernels: 3 in 4 launches, 1.32 ms
         time  share  runs        bytes      GB/s   GFLOP/s  of peak  kernel
      0.81 ms    61%     1      12.6 MB      15.5     331.0      87%  matmul_tanh  train.py:12 (layer)
    ...
    lines: forward, backward
       forward  backward       memory  line
       0.81 ms   0.40 ms       2.1 MB  train.py:12 (layer)

Inside the block kernels run one by one, each waited for, so that the sum of their times is what the device worked, not
what a call takes. What a kernel does for several lines counts for each of them in equal parts. "of peak" is the share
of the measured memory bandwidth or arithmetic, whichever is larger. "memory" is what a line holds at the peak of the
program that holds most (`liveness.py`).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ftiny.lowering import profile as log
from ftiny.lowering.liveness import is_backward, peak_of
from ftiny.lowering.profile import Recorder, format_bytes, format_seconds
from ftiny.source import Source

SHOWN = 25  # rows of a printed table


@dataclass
class KernelTime:
    """All runs of one kernel: seconds of the device, bytes and operations of all runs together, and its lines."""

    name: str
    runs: int = 0
    seconds: float = 0.0
    bytes: int = 0
    flops: int = 0
    share_of_peak: float = 0.0
    lines: tuple[str, ...] = ()


@dataclass
class LineTime:
    """The seconds of one of the user's lines, and the bytes that it holds at the peak of a program."""

    line: str
    forward: float = 0.0
    backward: float = 0.0
    memory: int = 0


@dataclass
class Profile(Recorder):
    """What ran inside `with profile()`: `events` in order; `kernels` and `lines` sum them up."""

    @property
    def seconds(self) -> float:
        """Seconds that kernels took on the device."""
        return sum(event.seconds for event in self.events if event.kind == "kernel")

    @property
    def kernels(self) -> list[KernelTime]:
        """One entry for each kernel and its lines, slowest first."""
        found: dict[tuple, KernelTime] = {}
        peaks: dict[Any, tuple[float, float]] = {}
        for event in self.events:
            if event.kind != "kernel":
                continue
            lines = tuple(dict.fromkeys(map(_place, event.sources)))
            row = found.setdefault((event.name, lines), KernelTime(event.name, lines=lines))
            row.runs, row.seconds = row.runs + 1, row.seconds + event.seconds
            row.bytes, row.flops = row.bytes + event.bytes, row.flops + event.flops
            if event.device not in peaks:
                peaks[event.device] = log.peaks(event.device)
            bandwidth, arithmetic = peaks[event.device]
            row.share_of_peak = max(row.bytes / bandwidth, row.flops / arithmetic) / max(row.seconds, 1e-12)
        return sorted(found.values(), key=lambda row: -row.seconds)

    @property
    def lines(self) -> list[LineTime]:
        """One entry for each of the user's lines, slowest first."""
        found: dict[str, LineTime] = defaultdict(lambda: LineTime(""))
        for event in self.events:
            for source in event.sources if event.kind == "kernel" else ():
                row = found[_place(source)]
                part = event.seconds / len(event.sources)
                row.forward, row.backward = (
                    (row.forward, row.backward + part) if is_backward(source) else (row.forward + part, row.backward)
                )
        peaks = [peak_of(plan, lines) for plan, lines in self.programs.values()]
        for held in max(peaks, key=lambda peak: peak.nbytes).held if peaks else ():
            for source in held.sources:
                found[_place(source)].memory += held.nbytes // len(held.sources)
        for line, row in found.items():
            row.line = line
        return sorted(found.values(), key=lambda row: -(row.forward + row.backward))

    def __str__(self) -> str:
        return "\n".join([*self._kernel_lines(), *self._line_lines(), *self._other_lines()])

    def _kernel_lines(self) -> Iterator[str]:
        rows = self.kernels
        total = self.seconds
        yield f"kernels: {len(rows)} in {sum(row.runs for row in rows)} launches, {format_seconds(total)}"
        yield f"{'time':>10}  share  runs {'bytes':>12} {'GB/s':>9} {'GFLOP/s':>9}  of peak  kernel"
        for row in rows[:SHOWN]:
            seconds = max(row.seconds, 1e-12)
            yield (
                f"{format_seconds(row.seconds):>10}  {row.seconds / max(total, 1e-12):5.0%} {row.runs:5} "
                f"{format_bytes(row.bytes):>12} {row.bytes / seconds / 1e9:9.1f} {row.flops / seconds / 1e9:9.1f} "
                f"{row.share_of_peak:8.0%}  {row.name}  {'; '.join(row.lines)}"
            ).rstrip()
        if len(rows) > SHOWN:
            yield f"{format_seconds(sum(row.seconds for row in rows[SHOWN:])):>10}  in {len(rows) - SHOWN} others"

    def _line_lines(self) -> Iterator[str]:
        rows = self.lines
        yield "lines: forward, backward"
        yield f"{'forward':>10} {'backward':>10} {'memory':>10}  line"
        for row in rows[:SHOWN]:
            yield (
                f"{format_seconds(row.forward):>10} {format_seconds(row.backward):>10} "
                f"{format_bytes(row.memory):>10}  {row.line}"
            )

    def _other_lines(self) -> Iterator[str]:
        for kind, title in (("copy", "copies"), ("host", "on the host"), ("compile", "compilations")):
            events = [event for event in self.events if event.kind == kind]
            if events:
                seconds = format_seconds(sum(event.seconds for event in events))
                amount = sum(event.bytes for event in events)
                yield f"{title}: {len(events)}, {seconds}" + (f", {format_bytes(amount)}" if amount else "")

    def save_trace(self, path: str | os.PathLike) -> None:
        """Write the events as JSON in Chrome's trace event format, which Perfetto reads too.

        Kernels of one launch group are drawn one after the other from where the group began.
        """
        rows = []
        for event in self.events:
            arguments = {"bytes": event.bytes, "flops": event.flops, "lines": [str(s) for s in event.sources]}
            rows.append({"name": event.name, "cat": event.kind, "ph": "X", "ts": 1e6 * event.start,
                         "dur": 1e6 * event.seconds, "pid": "ftiny", "tid": event.kind, "args": arguments})
        with open(path, "w") as file:
            json.dump({"traceEvents": rows, "displayTimeUnit": "ms"}, file)


def _place(source: Source) -> str:
    """A line without the transformations that made the equation: forward and backward are one line."""
    return f"{os.path.basename(source.file)}:{source.line} ({source.function})"


@contextmanager
def profile() -> Iterator[Profile]:
    """Record the kernels, copies, host calls and compilations of this thread inside the `with` block.

        with ftiny.profile() as p:
            step(params, batch)
        print(p)

    The first call of a function compiles it; call it once before the block to see a run alone. Eager operations on a
    device that shares the host's memory run in numpy and are not recorded.
    """
    found = Profile()
    with log.recording(found):
        yield found
