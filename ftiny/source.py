"""Where an equation came from: the user's frame, the name path and the transform stack.

    Source(file='train.py', line=12, function='loss', name_path=('dense_1',), transforms=('jvp',))
    prints as  train.py:12 (loss) jvp/dense_1

A source is taken when a primitive is bound, by walking up to the first frame outside ftiny. Programs that are evaluated
again (linearised, transposed, batched) keep their equations' own sources: `inherit` sets the one to use.
"""
from __future__ import annotations

import functools
import linecache
import os
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class _State(threading.local):
    names: tuple[str, ...] = ()
    transforms: tuple[str, ...] = ()
    inherited: Source | None = None


_state = _State()
_known: dict[tuple, Source] = {}


@dataclass(frozen=True)
class Source:
    """The user's line that bound an equation, with the named scopes and transformations around it."""

    file: str
    line: int
    function: str
    name_path: tuple[str, ...] = ()
    transforms: tuple[str, ...] = ()

    def __str__(self) -> str:
        path = "/".join(self.transforms + self.name_path)
        return f"{os.path.basename(self.file)}:{self.line} ({self.function})" + (f" {path}" if path else "")

    def describe(self) -> str:
        """Two lines for an error message: the place, and the text of the line."""
        text = linecache.getline(self.file, self.line).strip()
        place = f'  in {self.function}, file "{self.file}", line {self.line}'
        return f"{place}\n    {text}" if text else place


def user_frame():
    """The innermost frame outside the ftiny package (the outermost frame when there is none)."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def current_source() -> Source:
    """The source for an equation that is bound now."""
    inherited = _state.inherited
    if inherited is not None and not _state.transforms:
        return inherited
    if inherited is not None:
        place = (inherited.file, inherited.line, inherited.function, inherited.name_path)
        stack = tuple(dict.fromkeys(inherited.transforms + _state.transforms))
    else:
        frame = user_frame()
        place = (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, _state.names)
        stack = _state.transforms
    key = (*place, stack)
    if key not in _known:  # one object per place, so that sets of sources stay small
        _known[key] = Source(*place, stack)
    return _known[key]


def located(message: str) -> str:
    """`message` followed by the user's own line: how every error about user code ends."""
    return f"{message}\n{current_source().describe()}"


@contextmanager
def name_scope(name: str):
    """Equations bound inside carry `name` in their path: `with ftiny.named_scope("encoder"): ...`."""
    before = _state.names
    _state.names = (*before, name)
    try:
        yield
    finally:
        _state.names = before


def named_call(function: Callable, name: str | None = None) -> Callable:
    """`function`, whose equations carry `name` (default: its own) in their path, as inside `named_scope`."""

    @functools.wraps(function)
    def called(*args, **kwargs):
        with name_scope(name or function.__name__):
            return function(*args, **kwargs)

    return called


@contextmanager
def transform_scope(name: str):
    """Equations bound inside say that the transformation `name` made them."""
    before = _state.transforms
    if name not in before:
        _state.transforms = (*before, name)
    try:
        yield
    finally:
        _state.transforms = before


@contextmanager
def inherit(source: Source | None):
    """Equations bound inside take `source` as their place (None: look at the frames again)."""
    before = _state.inherited
    _state.inherited = source
    try:
        yield
    finally:
        _state.inherited = before
