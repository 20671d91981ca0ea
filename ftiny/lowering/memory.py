"""A pool of device memory that grows on demand and keeps what is given back.

Input: byte counts. Output: raw blocks of a size class (an eighth of a power of two apart, so at most an eighth is
wasted). Raw blocks are what a driver allocates; the pool never looks into them.

    pool = Pool(allocate=driver_malloc, free=driver_free, idle_limit=1 << 30)
    block, size = pool.take(1000)      # size is 1024
    pool.give(block, size)             # kept for the next take(1000)

At most `idle_limit` bytes are kept unused; what is over goes back to the driver, least recently used first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

SMALLEST = 512


def size_class(nbytes: int) -> int:
    """The bytes that the pool allocates for a request: 1000 -> 1024, 1100 -> 1152."""
    if nbytes <= SMALLEST:
        return SMALLEST
    step = 1 << ((nbytes - 1).bit_length() - 4)
    return -(-nbytes // step) * step


class Pool:
    """Blocks by size class. `allocate(nbytes)` returns a block or raises; `free(block)` may wait for the device."""

    def __init__(
        self, allocate: Callable[[int], Any], free: Callable[[Any], None], idle_limit: int
    ):
        self._allocate, self._free, self.idle_limit = allocate, free, idle_limit
        self._idle: dict[int, list[Any]] = {}
        # Re-entrant: a memory may die, and give its block back, at any allocation inside the pool itself.
        self._lock = threading.RLock()
        self.idle_bytes = 0
        self.allocated_bytes = 0

    def take(self, nbytes: int, wanted: Callable[[Any], bool] | None = None) -> tuple[Any, int]:
        """A block of at least `nbytes` and its size; with `wanted`, only idle blocks that it accepts are reused."""
        size = size_class(nbytes)
        with self._lock:
            blocks = self._idle.get(size, [])
            position = len(blocks) - 1
            while wanted is not None and position >= 0 and not wanted(blocks[position]):
                position -= 1
            if position >= 0:
                self.idle_bytes -= size
                return blocks.pop(position), size
        return self._grow(size), size

    def has_idle(self, nbytes: int) -> bool:
        """Whether a block that `take(nbytes)` would reuse is idle."""
        return bool(self._idle.get(size_class(nbytes)))

    def _grow(self, size: int) -> Any:
        try:
            block = self._allocate(size)
        except Exception:
            # Other classes may hold what is missing.
            self.trim(0)
            block = self._allocate(size)
        with self._lock:
            self.allocated_bytes += size
        return block

    def give(self, block: Any, size: int) -> None:
        """Takes a block back."""
        with self._lock:
            blocks = self._idle.pop(size, [])
            blocks.append(block)
            self._idle[size] = blocks  # now the most recently used class
            self.idle_bytes += size
        if self.idle_bytes > self.idle_limit:
            self.trim(self.idle_limit)

    def trim(self, limit: int) -> int:
        """Gives idle blocks back to the driver until at most `limit` bytes are idle; returns the bytes given back."""
        freed = 0
        while True:
            with self._lock:
                if self.idle_bytes <= limit:
                    return freed
                size = next(size for size, blocks in self._idle.items() if blocks)
                block = self._idle[size].pop(0)
                self.idle_bytes -= size
                self.allocated_bytes -= size
            self._free(block)
            freed += size
