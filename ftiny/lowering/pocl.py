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
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

_folder: Path | None = None


def private_folder() -> Path | None:
    """The folder of this process; None if the user has set POCL_CACHE_DIR, which then stays in charge."""
    global _folder
    if _folder is None and "POCL_CACHE_DIR" not in os.environ:
        _folder = Path(tempfile.mkdtemp(prefix="ftiny-pocl-"))
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
