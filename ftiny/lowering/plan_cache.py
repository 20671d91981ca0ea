"""Plans on disk: a program that an earlier process compiled is not lowered again.

Input: a simplified program, a device's capabilities and the donated positions. Output: a key, under which the plan is
kept as JSON; or None for a program that has no text (a Python callback). The key covers the program up to the names of
its variables, everything that the schedules know of the device and searches have found out on it, and the files of the
compiler itself, so a changed compiler never meets its old plans. Sources are no part of it: they belong to the process.

    key = plan_key(jaxpr, device.capabilities, donated=(0,))
    plan = load_plan(key)              # None the first time
    if plan is None:
        plan = Compiler(...).plan(jaxpr, (0,))
        store_plan(key, plan)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from ftiny.core import Atom, Jaxpr, Literal, Primitive, Var
from ftiny.lowering.cache import disk, key_of
from ftiny.lowering.choices import table_of, wanted_candidates
from ftiny.lowering.device import Capabilities
from ftiny.lowering.plan_types import Plan, PlanError, plan_from_json, plan_to_json
from ftiny.lowering.profile import log


class _NoText(Exception):
    """A parameter that cannot be written down, such as a Python function."""


def plan_key(jaxpr: Jaxpr, capabilities: Capabilities, donated: Iterable[int]) -> str | None:
    """The key of a program's plan; None if it has none."""
    try:
        text = "".join(_program_text(jaxpr))
    except _NoText:
        return None
    searched = (table_of(capabilities).version, str(wanted_candidates()))
    return key_of("plan", text, repr(capabilities), repr(sorted(donated)), *searched, _compiler_version())


def load_plan(key: str | None) -> Plan | None:
    """The plan kept under the key, if there is one that this version can read."""
    data = disk().get(key) if key is not None else None
    if data is None:
        return None
    try:
        return plan_from_json(data.decode())
    except (PlanError, UnicodeDecodeError) as error:
        log(1, f"a plan on disk is made again: {error}")
        return None


def store_plan(key: str | None, plan: Plan) -> None:
    """Keep a plan for later processes; one with a Python function in it is not kept."""
    if key is None:
        return
    try:
        disk().put(key, plan_to_json(plan).encode())
    except PlanError as error:
        log(1, f"{plan.name} is compiled anew in every process: {error}")


@cache
def _compiler_version() -> str:
    """Names, sizes and times of the modules that make plans."""
    folder = os.path.dirname(os.path.abspath(__file__))
    found = []
    for directory in (folder, os.path.dirname(folder)):
        for entry in os.scandir(directory):
            if entry.name.endswith(".py"):
                status = entry.stat()
                found.append(f"{entry.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(sorted(found))


def _program_text(jaxpr: Jaxpr) -> Iterator[str]:
    numbers: dict[Var, int] = {}

    def bind(variables: Iterable[Var]) -> Iterator[str]:
        for var in variables:
            numbers[var] = len(numbers)
            yield f"{numbers[var]}:{var.aval} "

    def read(atom: Atom) -> str:
        if isinstance(atom, Literal):
            return f"{atom.aval}={np.asarray(atom.value).tobytes().hex()} "
        return f"{numbers[atom]} "

    yield from bind((*jaxpr.constvars, *jaxpr.inputs))
    for eqn in jaxpr.eqns:
        yield f"\n{eqn.primitive.name} "
        yield from map(read, eqn.inputs)
        yield from _value_text(eqn.params)
        yield " -> "
        yield from bind(eqn.outputs)
    yield "\n-> "
    yield from map(read, jaxpr.outputs)


def _value_text(value: Any) -> Iterator[str]:
    """A parameter, written so that different values differ."""
    if isinstance(value, Jaxpr):
        yield "{"
        yield from _program_text(value)
        yield "}"
    elif isinstance(value, (tuple, list)):
        yield "("
        for item in value:
            yield from _value_text(item)
            yield ","
        yield ")"
    elif isinstance(value, dict):
        yield from _value_text([item for pair in sorted(value.items()) for item in pair])
    elif isinstance(value, (np.ndarray, np.generic)):
        yield f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    elif value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.dtype)):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, (Primitive, frozenset)):
        yield repr(value) if isinstance(value, Primitive) else repr(sorted(value))
    elif is_dataclass(value) and type(value).__module__.startswith("ftiny."):
        yield type(value).__qualname__
        yield from _value_text([getattr(value, field.name) for field in fields(value)])
    else:
        raise _NoText
