"""Finding random keys that are used twice: `debug_key_reuse`.

Input: a block of code that draws random numbers. Output: the same results, or `KeyReuseError` when a key is used again:

    >>> with debug_key_reuse():
    ...     key = random.PRNGKey(0)
    ...     x = random.normal(key)
    ...     y = random.uniform(key)
    KeyReuseError: random.uniform: this key was used before, ...

Every sampler, and `split`, uses up its key; `fold_in`, `key_data` and `clone` do not. Inside the block jitted functions
run their Python, so that keys have values, and a key is known by its value: also one that was copied, was sliced out of
an array of keys again, or was made twice, as `fold_in(key, 0)` and `split(key)[0]` are one and the same. But what
`PRNGKey` or `clone` gives is a new key, and so are those derived from it: a program may be run again from its seed. A
traced key, in the body of a `scan` or under `make_jaxpr`, is known by its variable. In the body of a loop each use
counts as several, unless the key is one of the body's own: an argument of it, or made in it.

Two things are not seen: that a carry of a loop is used and handed on unchanged, and that a key is used both outside of
a function and, as its argument, inside, where the function becomes a program of its own: one of `checkpoint`,
`custom_jvp` or `custom_vjp`, or of `jit` under `grad` or `vmap`. Two uses inside are seen when it is traced.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from ftiny import core
from ftiny.core import StageTrace
from ftiny.errors import KeyReuseError
from ftiny.source import Source, current_source, located, user_frame
from ftiny.transforms.modes import PlainTrace

LOOPS, BRANCHES = {"scan", "while_loop"}, {"cond", "switch"}
WAY_OUT = (
    "Make new keys before the first use: key, subkey = ftiny.random.split(key), or subkey = ftiny.random.fold_in(key, "
    "step). If the same numbers are wanted again, use ftiny.random.clone(key)"
)


@dataclass(frozen=True)
class _Use:
    """Where a key was used up: by which function, in which call from outside of ftiny, under which traces."""

    function: str
    source: Source
    call: int
    stages: tuple[StageTrace, ...]
    key: Any  # held, so that its identity is not given to another object


class _Uses:
    """The keys used so far in a block."""

    def __init__(self) -> None:
        self.first: dict[Any, _Use] = {}
        # Keys that PRNGKey or clone made while a program was traced: they belong to its body.
        self.home: dict[Any, StageTrace | None] = {}
        self.children: dict[Any, set] = {}
        self.calls = 0
        self.frame: FrameType | None = None

    def new(self, key) -> None:
        """`key` was made by `PRNGKey` or `clone`: earlier uses of an equal one, and of its children, do not count."""
        stages = _stages()
        for identity in _identities(key):
            self._forget(identity)
            self.home[identity] = stages[0] if stages else None

    def _forget(self, identity) -> None:
        self.first.pop(identity, None)
        for child in self.children.pop(identity, ()):
            self._forget(child)

    def derive(self, key, keys) -> None:
        """`keys` were made of `key` by `split` or `fold_in`."""
        for identity in _identities(key):
            self.children.setdefault(identity, set()).update(_identities(keys))

    def use(self, function: str, key) -> None:
        """`key` is used up by `random.<function>`. Raises `KeyReuseError` if it was before."""
        stages, call = _stages(), self._call()
        for identity in _identities(key):
            first = self.first.get(identity)
            if first is not None and first.call != call and not _apart(first.stages, stages):
                place = f"by random.{first.function} here:\n{first.source.describe()}"
                raise KeyReuseError(
                    located(f"random.{function}: this key was used before, {place}\n{WAY_OUT}. The second use:")
                )
            loop = self._loop_around(identity, key, stages)
            if loop is not None:
                message = f"random.{function}: the body of a {loop} uses the same key in every iteration"
                way_out = "Give the loop one key for each: as a carry that is split, as xs, or by fold_in(key, step)"
                raise KeyReuseError(located(f"{message}. {way_out}. The use:"))
            if first is None or first.call != call:
                self.first[identity] = _Use(function, current_source(), call, stages, key)

    def _loop_around(self, identity, key, stages: tuple[StageTrace, ...]) -> str | None:
        """The name of the loop whose body is traced now and does not own the key."""
        home = self.home.get(identity) or getattr(identity, "trace", None)
        inside = stages[: stages.index(home)] if home in stages else stages
        return next((stage.name for stage in inside if stage.name in LOOPS), None)

    def _call(self) -> int:
        """A number for the call of ftiny that the user's code is in: a sampler may hand its key to another one."""
        user, frame = user_frame(), sys._getframe(1)
        while frame.f_back is not None and frame.f_back is not user:
            frame = frame.f_back
        if frame is not self.frame:
            self.frame, self.calls = frame, self.calls + 1
        return self.calls


@dataclass(frozen=True)
class _Traced:
    """The identity of a key that has no value: its variable and the trace it belongs to."""

    variable: Any
    trace: StageTrace


def _identities(key) -> list:
    """What is equal exactly for equal keys; several for an array of keys, and for those that `vmap` handles as one."""
    if isinstance(key, core.StagedTracer):
        return [_Traced(key.var, key.trace)]  # type: ignore[arg-type]
    if hasattr(key, "primal"):
        return _identities(key.primal)
    if hasattr(key, "dim") and not isinstance(key.value, core.Tracer):
        return _identities(np.moveaxis(np.asarray(key.value), key.dim, 0))
    if isinstance(key, core.Tracer):
        return [id(key)]
    return list(dict.fromkeys(row.tobytes() for row in np.asarray(key).reshape(-1, 2)))


def _stages() -> tuple[StageTrace, ...]:
    """The programs that are being traced now, the innermost first."""
    found, frame = [], sys._getframe(1)
    while frame is not None:
        if frame.f_code is core.stage.__code__ and "trace" in frame.f_locals:
            found.append(frame.f_locals["trace"])
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


def _apart(first: tuple[StageTrace, ...], second: tuple[StageTrace, ...]) -> bool:
    """Whether two uses cannot both happen: in different branches, or one in a program that is only looked at."""
    before, now = set(first) - set(second), set(second) - set(first)
    if any(stage.name.startswith("make_jaxpr") for stage in before | now):
        return True
    return all(any(stage.name in BRANCHES for stage in stages) for stages in (before, now))


class _State(threading.local):
    uses: _Uses | None = None


_state = _State()


def use(function: str, key) -> None:
    """Note, inside `debug_key_reuse`, that `random.<function>` uses `key` up; `KeyReuseError` if it was used before."""
    if _state.uses is not None:
        _state.uses.use(function, key)


def new(key):
    """`key`; inside `debug_key_reuse`, noted as a new one."""
    if _state.uses is not None:
        _state.uses.new(key)
    return key


def derived(key, keys):
    """`keys`; inside `debug_key_reuse`, noted as made of `key`."""
    if _state.uses is not None:
        _state.uses.derive(key, keys)
    return keys


@contextmanager
def debug_key_reuse(enable: bool = True) -> Iterator[None]:
    """Inside, using a random key twice raises `KeyReuseError`, which names both lines.

    Samplers and `split` use a key up, `fold_in` and `clone` do not; a loop whose body uses a key from outside uses it
    twice. Jitted functions run operation by operation, so that this is for finding mistakes, not for training.
    `enable=False` does nothing.
    """
    before = _state.uses
    trace = core.current_trace()
    # Under another transformation the trace stays, so that its values are still its own.
    plainly = core.using(PlainTrace()) if enable and isinstance(trace, core.EvalTrace) else nullcontext()
    _state.uses = _Uses() if enable else before
    try:
        with plainly:
            yield
    finally:
        _state.uses = before
