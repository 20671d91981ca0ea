"""Where a schedule has a choice: by its cost model, or as a search has found out by measuring.

Input: options and what each is thought to cost. Output: one of them. A schedule asks

    block = choose("block", blocks, cost)

and gets the cheapest. Inside `choosing` another one may be named by its rank in the order of cost, and what there is
to choose is written down:

    seen = {}
    with choosing({}, seen):
        schedule(nest, capabilities)       # seen is {'block': 14}
    with choosing({"block": 2}):
        schedule(nest, capabilities)       # with the third cheapest

A decision that a schedule comes to twice has two names, 'tile' and 'tile 2'. What was measured is kept in one table for
each kind of device, on disk (`Table`).
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from ftiny.lowering.cache import disk, key_of
from ftiny.lowering.device import Capabilities
from ftiny.lowering.loops import LoopNest

T = TypeVar("T")
Ranks = Mapping[str, int]


class _State(threading.local):
    """What `choosing` has set, and how often each decision has been come to since."""

    ranks: Ranks = {}
    seen: dict[str, int] | None = None
    count: dict[str, int] = {}


_state = _State()


def choose(decision: str, options: Iterable[T], cost: Callable[[T], float]) -> T | None:
    """The option of least cost, or the one that `choosing` names; None if there are none."""
    if _state.seen is None and not _state.ranks:
        return min(options, key=cost, default=None)
    number = _state.count[decision] = _state.count.get(decision, 0) + 1
    name = decision if number == 1 else f"{decision} {number}"
    ranked = sorted(options, key=cost)
    if not ranked:
        return None
    if _state.seen is not None:
        _state.seen[name] = len(ranked)
    return ranked[min(_state.ranks.get(name, 0), len(ranked) - 1)]


@contextmanager
def choosing(ranks: Ranks, seen: dict[str, int] | None = None) -> Iterator[None]:
    """Decisions inside take these ranks (0, the cheapest, where none is given); `seen` gets the number of options."""
    before = _state.ranks, _state.seen, _state.count
    _state.ranks, _state.seen, _state.count = ranks, seen, {}
    try:
        yield
    finally:
        _state.ranks, _state.seen, _state.count = before


def wanted_candidates() -> int:
    """How many candidates a compilation measures for each nest: `FTINY_SEARCH`, 0 for none."""
    text = os.environ.get("FTINY_SEARCH", "").strip()
    return int(text) if text.isdigit() else 0


# ---- what was measured ----------------------------------------------------------------------------------------


class Table:
    """Nest -> (ranks of its decisions, how many candidates were measured), for one kind of device."""

    def __init__(self, capabilities: Capabilities):
        self._key = key_of("choices", repr(capabilities))
        data = disk().get(self._key)
        self._rows: dict[str, list] = json.loads(data) if data else {}

    def find(self, nest: LoopNest) -> tuple[Ranks, int]:
        """The ranks of a nest and the candidates that they are the best of; ({}, 0) if it was never measured."""
        ranks, tried = self._rows.get(nest_key(nest), ({}, 0)) if self._rows else ({}, 0)
        return ranks, tried

    def keep(self, nest: LoopNest, ranks: Ranks, tried: int) -> None:
        """Remember the best ranks, in memory and on disk."""
        self._rows[nest_key(nest)] = [dict(ranks), tried]
        disk().put(self._key, json.dumps(self._rows, sort_keys=True).encode())

    @property
    def version(self) -> str:
        """A text that changes with every row: plans made with one table are not those of another."""
        return key_of("rows", json.dumps(self._rows, sort_keys=True)) if self._rows else ""


_tables: dict[str, Table] = {}
_lock = threading.Lock()


def table_of(capabilities: Capabilities) -> Table:
    """The table of a kind of device, read once in a process."""
    with _lock:
        key = repr(capabilities)
        if key not in _tables:
            _tables[key] = Table(capabilities)
        return _tables[key]


def nest_key(nest: LoopNest) -> str:
    """What tells nests apart: all but their names and equations."""
    return hashlib.sha256(str(replace(nest, name="", equations=())).encode()).hexdigest()[:32]
