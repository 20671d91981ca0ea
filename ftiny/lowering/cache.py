"""The cache on disk: bytes under a key, bounded, shared by processes, never trusted blindly.

Input: a key (a hash of everything that the value depends on) and bytes. Output: the same bytes in a later
process, or None. Kernel binaries, program sources, plans as JSON and measured peaks are stored; nothing is pickled.

    key = key_of("cubin", text, "sm_90a", compiler_version)
    cubin = disk().get(key)
    if cubin is None:
        cubin = compile(text)
        disk().put(key, cubin)

A file is a header (magic, checksum, length) and the bytes. It is written beside its place and renamed, so another
process sees all of it or nothing; a file whose header does not fit is a miss and is removed. When the files exceed
`FTINY_CACHE_BYTES` (default 1 GiB) the least recently used are removed. The directory is `FTINY_CACHE_DIR`, else
the platform's (`~/.cache/ftiny`). If it cannot be used, everything works uncached, and one warning says so.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zlib
from pathlib import Path

from ftiny.lowering.device import tell_once

MAGIC = b"ftiny1\n\0"
DEFAULT_BYTES = 1 << 30
TOUCH_SECONDS = 3600.0  # how old a file's time may be before a read renews it


def key_of(*parts: str | bytes) -> str:
    """A hash of the parts, 40 hexadecimal digits; ("ab", "c") and ("a", "bc") differ."""
    state = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def cache_directory() -> Path:
    """Where cached files are kept: `FTINY_CACHE_DIR`, else the platform's cache directory for ftiny."""
    chosen = os.environ.get("FTINY_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ftiny", appauthor=False))


class DiskCache:
    """Bytes under keys in a directory. Every method works, doing nothing, if the directory cannot be used."""

    def __init__(self, directory: Path, limit: int = DEFAULT_BYTES):
        self.directory, self.limit = directory, limit
        self._lock = threading.Lock()
        self._written_bytes: int | None = None
        self.usable = self._prepare()

    def _prepare(self) -> bool:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            probe = self.directory / f".probe-{os.getpid()}-{threading.get_ident()}"
            probe.write_bytes(b"")
            probe.unlink()
            return True
        except OSError as error:
            tell_once(
                f"the cache directory {self.directory} cannot be used ({error.strerror or error}): compiled kernels"
                " are not kept for the next process; set FTINY_CACHE_DIR to a directory that can be written"
            )
            return False

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key[2:]

    def get(self, key: str) -> bytes | None:
        """The bytes put under the key, or None."""
        if not self.usable:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        value = unpack(data)
        if value is None:
            self._remove(path)
            return None
        self._renew(path)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Stores bytes; a full or read-only disk is no error."""
        if not self.usable or len(value) > self.limit:
            return
        path = self._path(key)
        temporary = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.write_bytes(header(value) + value)
            os.replace(temporary, path)
        except OSError as error:
            self._remove(temporary)
            tell_once(f"the cache directory {self.directory} could not be written: {error}")
            return
        self._grew(len(value))

    def get_text(self, key: str) -> str | None:
        """The text put under the key, or None."""
        value = self.get(key)
        return None if value is None else value.decode()

    def put_text(self, key: str, text: str) -> None:
        """Stores text, such as a plan as JSON."""
        self.put(key, text.encode())

    def _renew(self, path: Path) -> None:
        try:
            if time.time() - path.stat().st_mtime > TOUCH_SECONDS:
                os.utime(path)
        except OSError:
            pass

    def _remove(self, path: Path) -> None:
        try:
            path.unlink()
        except OSError:
            pass

    def _grew(self, nbytes: int) -> None:
        """Trims once this process has written an eighth of the limit (and at its first write)."""
        with self._lock:
            first = self._written_bytes is None
            self._written_bytes = (self._written_bytes or 0) + nbytes
            if not first and self._written_bytes < self.limit // 8:
                return
            self._written_bytes = 0
        self.trim()

    def trim(self) -> None:
        """Removes the least recently used files until the directory is within its limit."""
        files = []
        for path in self.directory.glob("??/*"):
            try:
                stat = path.stat()
            except OSError:
                continue
            files.append((stat.st_mtime, stat.st_size, path))
        total = sum(nbytes for _, nbytes, _ in files)
        for _, nbytes, path in sorted(files):
            if total <= self.limit:
                break
            self._remove(path)
            total -= nbytes


def header(value: bytes) -> bytes:
    """Magic, checksum and length."""
    return MAGIC + zlib.crc32(value).to_bytes(4, "little") + len(value).to_bytes(8, "little")


def unpack(data: bytes) -> bytes | None:
    """The bytes after the header, or None if it does not fit them."""
    size = len(MAGIC) + 12
    value = data[size:]
    return value if header(value) == data[:size] else None


_disk: dict[tuple[str | None, str | None], DiskCache] = {}
_disk_lock = threading.Lock()


def disk() -> DiskCache:
    """The cache that the environment variables name at the moment."""
    settings = (os.environ.get("FTINY_CACHE_DIR"), os.environ.get("FTINY_CACHE_BYTES"))
    with _disk_lock:
        if settings not in _disk:
            limit = int(settings[1]) if settings[1] and settings[1].isdigit() else DEFAULT_BYTES
            _disk[settings] = DiskCache(cache_directory(), limit)
        return _disk[settings]
