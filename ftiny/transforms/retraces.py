"""Why a jitted function was traced again: what differs from the nearest arguments it was traced for before.

Input: each tracing of a jitted function. Output: a record for every one after the first, which `explain_retraces` lists
and `FTINY_DEBUG=1` logs at once:

    >>> double = jit(lambda x: x * 2)
    >>> for n in (1, 2): _ = double(ftiny.numpy.zeros(n))
    >>> print(explain_retraces())
    <lambda> was traced again, called at example.py:2 (<module>): argument 0 was f32[1], is f32[2]

A function that is jitted anew for every call has a new table of programs each time, and so is traced anew: that is
told from the code of the function and of what it wraps, which stays the same.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftiny.lowering.profile import log
from ftiny.source import Source, current_source
from ftiny.transforms.stages import argument_names

if TYPE_CHECKING:
    from ftiny.transforms.jit import Entry

KEPT = 1000  # records, and functions that are remembered; older ones are forgotten
SHOWN = 4  # differences in one line


@dataclass(frozen=True)
class Retrace:
    """One tracing that was not the first: of which function, called where, and what was different."""

    function: str
    called: Source
    reason: str

    def __str__(self) -> str:
        return f"{self.function} was traced again, called at {self.called}: {self.reason}"


class Retraces(tuple):
    """Records, oldest first; prints one a line."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing was traced twice"

    __repr__ = __str__


_records: deque[Retrace] = deque(maxlen=KEPT)
# For what any jit of some code has been traced, as hashes: the keys themselves would keep static arguments alive.
_traced_code: dict[tuple, set[int]] = {}
_lock = threading.Lock()


def explain_retraces(clear: bool = False) -> Retraces:
    """What was traced more than once since the process began, or since the last call with `clear=True`, and why.

    Gives a tuple of records (`function`, `called`, `reason`) that prints one a line.
    """
    with _lock:
        found = Retraces(_records)
        if clear:
            _records.clear()
    return found


def record(function, name: str, key: tuple, before: Iterable[Entry]) -> None:
    """Notes that a function is being traced for `key`: (structure, avals, statics, (named axes, checks)), having
    been traced for the entries `before`."""
    entries = list(before)
    reason = ""
    if entries:
        # Those of another structure are the least alike, whatever they have in common.
        different = min(
            (_differences(key, entry) for entry in entries),
            key=lambda found: (found[0].startswith("the structure"), len(found)),
        )
        reason = "; ".join(different[:SHOWN])
        reason += f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
    with _lock:
        known = _traced_code.setdefault(_codes(function), set())
        if not entries and hash(key) in known:
            reason = "the same arguments, but jit was applied anew; apply it once, outside of the loop or function"
        known.add(hash(key))
        if len(_traced_code) > KEPT:
            _traced_code.pop(next(iter(_traced_code)))
        if reason:
            _records.append(Retrace(name, current_source(), reason))
    if reason:
        log(1, str(_records[-1]))


def _codes(function) -> tuple:
    """The code of a function and of the functions that it wraps."""
    found = []
    while function is not None:
        found.append(getattr(function, "__code__", type(function)))
        function = getattr(function, "__wrapped__", None)
    return tuple(found)


def _differences(key: tuple, entry: Entry) -> list[str]:
    structure, avals, statics, (axes, checks) = key
    if structure != entry.structure:
        return [f"the structure of the arguments was {entry.structure}, is {structure}"]
    found = [
        f"{name} was {_text(old)}, is {_text(new)}"
        for name, old, new in zip(argument_names(structure), entry.avals, avals)
        if old != new
    ]
    found += _static_differences(entry.statics, statics)
    return found or [f"the mapped axes around the call are {[name for name, _ in axes]}, the checks {checks}"]


def _static_differences(before: Sequence, now: Sequence) -> list[str]:
    old = {key: (kind, value) for key, kind, value in before}
    new = {key: (kind, value) for key, kind, value in now}
    return [
        f"static argument {key!r} was {_value(old.get(key))}, is {_value(new.get(key))}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def _value(pair: tuple[Any, Any] | None) -> str:
    return "missing" if pair is None else str(pair[1])[:60]


def _text(aval) -> str:
    return f"a Python number ({aval.dtype})" if aval.scalar else str(aval)
