"""PoCL's own program cache, carried from process to process inside ours.

Input: the text of a program that PoCL builds. Output: the files that PoCL keeps of it, as bytes for `cache.py`.
PoCL compiles a kernel at its first launch and keeps the result in a folder; it trusts that folder blindly (a
truncated file there ends the process). So every process gives it a fresh folder of its own:

    folder = private_folder()            # sets POCL_CACHE_DIR, before PoCL starts
    before = programs(folder)
    ...build and launch...
    (made,) = programs(folder) - before
    data = pack(folder, made)            # stored under a checksum
    unpack(folder, data)                 # in the next process, before it builds the same text: 2 ms a kernel

Asking PoCL for a binary instead (`clGetProgramInfo`) would compile every kernel a second time.

PoCL compiles behind one lock, so threads do not help: a large program is cut in parts (`split`), and other
processes, which run this very file, compile all parts but the first and send them back packed. A kernel is made
to compile by starting one work-group of it on buffers of zeros (`warm`).
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "ftiny-pocl-"
WORTH_A_PROCESS = 6  # kernels; a process takes as long to start as about four of them to compile
SECONDS = 60  # after which a process is given up
LARGEST_GRID = 65535  # work-items; above, PoCL compiles a kernel anew

_folder: Path | None = None


def private_folder() -> Path | None:
    """The folder of this process; None if the user has set POCL_CACHE_DIR, which then stays in charge."""
    global _folder
    given = Path(os.environ.get("POCL_CACHE_DIR", PREFIX)).name
    if _folder is None and given.startswith(PREFIX):  # unset, or inherited from a process like this one
        _folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        os.environ["POCL_CACHE_DIR"] = str(_folder)
        atexit.register(_remove, _folder, os.getpid())
    return _folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def programs(folder: Path) -> set[str]:
    """The programs that PoCL keeps, as paths relative to the folder."""
    return {str(path.relative_to(folder)) for path in folder.glob("??/*") if path.is_dir()}


def compiled_files(folder: Path, program: str) -> list[Path]:
    """The files of a program: its bitcode, and one shared object for each kernel launched so far."""
    return sorted(
        path
        for path in (folder / program).rglob("*")
        if path.is_file() and path.name != "last_accessed"
    )


def pack(folder: Path, program: str) -> bytes:
    """The files of a program in one piece: the names and lengths as JSON, then the contents."""
    files = compiled_files(folder, program)
    contents = [path.read_bytes() for path in files]
    names = [str(path.relative_to(folder)) for path in files]
    head = json.dumps(list(zip(names, map(len, contents), strict=True))).encode()
    return len(head).to_bytes(8, "little") + head + b"".join(contents)


def unpack(folder: Path, data: bytes) -> None:
    """Puts the files back where PoCL looks for them; those that are there already stay."""
    start = 8 + int.from_bytes(data[:8], "little")
    for name, length in json.loads(data[8:start]):
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[start : start + length])
        start += length


# ---------------------------------------------------------------- compiling in several processes


def idle_processors() -> int:
    """How many processors this process could keep busy: on a busy machine more processes only cost time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 1.0
    return count - round(max(0.0, load - 1.0))


def split(sizes: Sequence[int]) -> list[list[int]]:
    """Positions of kernels in parts of about equal work, one part a process; `sizes` are lengths of texts.

    The first part, which this process compiles, is the largest: the others have a start to wait for."""
    count = max(1, min(idle_processors(), 4, len(sizes) // (WORTH_A_PROCESS // 2)))
    if len(sizes) < WORTH_A_PROCESS or count == 1 or not os.access(sys.executable or "", os.X_OK):
        return [list(range(len(sizes)))]
    parts: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] + [0.15 * sum(sizes)] * (count - 1)
    for position in sorted(range(len(sizes)), key=lambda p: -sizes[p]):
        least = min(range(count), key=loads.__getitem__)
        parts[least].append(position)
        loads[least] += sizes[position]
    return [sorted(part) for part in parts if part]


def warm(cl: ModuleType, context: Any, program: Any, launches: Sequence[dict[str, Any]]) -> None:
    """Has PoCL compile kernels for the launches that are described: `entry`, `total` and `block` sizes, and `args`,
    each the bytes of a buffer or the value of a scalar as hexadecimal digits."""
    import numpy

    queue = cl.CommandQueue(context)
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
    for launch in launches:
        if max(launch["total"]) > LARGEST_GRID:
            continue
        kernel = cl.Kernel(program, launch["entry"])
        held = []
        try:
            for index, arg in enumerate(launch["args"]):
                if isinstance(arg, str):
                    kernel.set_arg(index, bytes.fromhex(arg))
                    continue
                held.append(cl.Buffer(context, flags, hostbuf=numpy.zeros(max(arg, 64), numpy.uint8)))
                kernel.set_arg(index, held[-1])
            cl.enqueue_nd_range_kernel(queue, kernel, launch["block"], launch["block"])
            queue.finish()
        except cl.Error:
            continue  # too large a buffer: the kernel is compiled when it first runs


class Worker:
    """A process that builds one program and compiles its kernels."""

    def __init__(self, text: str, device_name: str, launches: Sequence[dict[str, Any]]):
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.order = json.dumps([text, device_name, launches]).encode()
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(self.order)
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdin = None

    def result(self) -> bytes:
        """The packed program; no bytes if the process failed."""
        try:
            data, _ = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            return b""
        return data if self.process.returncode == 0 else b""


def main() -> None:
    """Standard input: what `Worker` writes. Standard output: the packed program."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the compiler prints must not be mixed in
    text, device_name, launches = json.load(sys.stdin)
    folder = private_folder()
    assert folder is not None
    import pyopencl as cl

    found = [d for platform in cl.get_platforms() for d in platform.get_devices() if d.name == device_name]
    context = cl.Context(found[:1])
    program = cl.Program(context, text).build()
    warm(cl, context, program, launches)
    (made,) = programs(folder)
    with os.fdopen(out, "wb") as stream:
        stream.write(pack(folder, made))


if __name__ == "__main__":
    main()
