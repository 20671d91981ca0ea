"""Running programs: from a `Jaxpr` and arrays to arrays, on one device.

Input: a closed program and concrete arrays. Output: arrays. Two tables keep what was compiled: one by the identity
of the program, which a jitted function asks at every call, and one by its structure (equations and avals, with
variables renamed) and lines, so that a program that is traced anew is not compiled anew:

    run(program, [x, y])        # compiled once for the device of x and y, then only run

Eager operations come here too. On devices that share the host's memory an equation runs in numpy; elsewhere it is a
program of one equation.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ftiny import core
from ftiny.array import Array, arrays_of, as_array, interned, numpy_value
from ftiny.core import INLINED, Anchor, Aval, Eqn, EvalTrace, Jaxpr, Literal, Primitive, Var, subprograms
from ftiny.errors import DeviceError
from ftiny.lowering import device as devices
from ftiny.lowering.profile import debug_level, log
from ftiny.source import Source, current_source, located

_by_identity: dict[tuple, tuple[Any, Jaxpr]] = {}
_by_structure: dict[tuple, Any] = {}
_locks: dict[tuple, threading.Lock] = {}
_table_lock = threading.Lock()
LIMIT = 4096  # programs in memory; the oldest are forgotten first
MOST_NUMBERS = 256  # Python numbers in a device's memory


# ---- which device -------------------------------------------------------------------------------------------------


def placement(values: Sequence) -> devices.Device:
    """The device that arguments are bound to, or the current one. Raises `DeviceError` when they disagree."""
    found: devices.Device | None = None
    for x in values:
        bound = x._device if type(x) is Array else None
        if bound is not None and bound is not found:
            if found is not None:
                raise DeviceError(
                    located(
                        f"arguments are bound to two devices, {found.name} and {bound.name}; move one with "
                        "ftiny.device_put(x, device)"
                    )
                )
            found = bound
    return found or devices.default_device()


def placed(values: Sequence) -> tuple[devices.Device, devices.Device | None, list[devices.Memory]]:
    """`(device, bound, memories)`: where a computation of these values runs, the device that its results are bound to
    (None if no value is bound), and the values' memories there. What is elsewhere is moved."""
    try:
        memories = [x._memory for x in values]
        here = [memory.device for memory in memories]
        bindings = [x._device for x in values]
    except AttributeError:  # a number, a numpy array, or an array without memory
        return _moved(values)
    unbound, count = bindings.count(None), len(bindings)
    bound = None
    if unbound < count:
        for bound in bindings:
            if bound is not None:
                break
    device = bound or devices.default_device()
    if here.count(device) != count or unbound + bindings.count(bound) < count:
        return _moved(values)
    return device, bound, memories


def _moved(values: Sequence) -> tuple[devices.Device, devices.Device | None, list[devices.Memory]]:
    device = placement(values)
    bound = device if any(type(x) is Array and x._device is not None for x in values) else None
    host_memory = device.capabilities.host_memory
    memories: list = []
    away = []
    for number, x in enumerate(values):
        memory = None
        if type(x) is Array:
            if host_memory or x._memory is not None and x._memory.device is device:
                memory = x.memory_on(device)
        elif type(x) in (float, int):
            memory = _number_on(device, x)
        memories.append(memory)
        if memory is None:
            away.append(number)
    if away:
        moving = [values[number] for number in away]
        arrays = [x.host() if type(x) is Array else numpy_value(x) for x in moving]
        for number, x, memory in zip(away, moving, device.all_from_host(arrays)):
            memories[number] = memory
            if type(x) is Array:
                x._memory = memory
    return device, bound, memories


_numbers: dict[tuple, devices.Memory] = {}


def _number_on(device: devices.Device, x: float) -> devices.Memory:
    """The memory of a Python number on a device, kept for the next call with it: a learning rate is moved once."""
    key = (device, type(x), x or str(x))  # 0.0 and -0.0 are equal
    memory = _numbers.get(key)
    if memory is None:
        memory = device.from_host(numpy_value(x)).alias()
        with _table_lock:
            _numbers[key] = memory
            while len(_numbers) > MOST_NUMBERS:
                _numbers.pop(next(iter(_numbers)))
    return memory


# ---- programs -----------------------------------------------------------------------------------------------------


def structure_key(jaxpr: Jaxpr) -> tuple:
    """A hashable form of a program, equal for programs that differ only in the names of their variables."""
    numbers: dict[Var, int] = {}

    def atom(a) -> Any:
        if isinstance(a, Literal):
            return (a.aval.dtype.str, str(a.aval.dtype), a.value.tobytes())
        return numbers[a]

    def define(variables) -> tuple:
        for var in variables:
            numbers[var] = len(numbers)
        return tuple((v.aval.shape, str(v.aval.dtype)) for v in variables)

    def params(eqn: Eqn) -> Any:
        # Names, policies and derivative rules do not change what is computed.
        inlined = eqn.primitive.name in INLINED
        return freeze(subprograms(eqn)[0] if inlined else eqn.params)

    head = define(jaxpr.constvars + jaxpr.inputs)
    body = tuple((e.primitive.name, tuple(map(atom, e.inputs)), params(e), define(e.outputs)) for e in jaxpr.eqns)
    return head, body, tuple(map(atom, jaxpr.outputs))


def freeze(value) -> Any:
    """A hashable form of the parameters of an equation; programs inside by their structure."""
    if isinstance(value, Jaxpr):
        return structure_key(value)
    if isinstance(value, dict):
        return tuple((key, freeze(value[key])) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *map(freeze, value))
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes()
    if isinstance(value, np.dtype):
        return str(value)
    return type(value).__name__, value


def lines_of(jaxpr: Jaxpr) -> Iterator[Source]:
    """The sources of all equations of a program, those of its inner programs included."""
    for eqn in jaxpr.eqns:
        yield eqn.source
        for inner in subprograms(eqn):
            yield from lines_of(inner)


def executable_for(jaxpr: Jaxpr, device: devices.Device, donated: tuple[int, ...] = ()):
    """The compiled program for a device, from the tables or compiled now.

    Args:
        jaxpr: a program without consts.
        donated: positions of arguments whose memory the program may overwrite.
    """
    identity = (id(jaxpr), device, donated)
    known = _by_identity.get(identity)
    if known is not None:
        return known[0]
    # The lines are in the key because the kernel log names them: no program reports the lines of its twin.
    key = (structure_key(jaxpr), tuple(lines_of(jaxpr)), device, donated)
    with _table_lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:  # two threads never compile the same program
        executable = _by_structure.get(key)
        if executable is None:
            executable = _compile(jaxpr, device, donated)
    with _table_lock:
        # The program itself is kept with its entry: while it is alive no other object has its id.
        _by_identity[identity] = executable, jaxpr
        _by_structure[key] = executable
        _locks.pop(key, None)
        for table in (_by_identity, _by_structure):
            while len(table) > LIMIT:
                table.pop(next(iter(table)))
    return executable


def forget() -> None:
    """Empty the tables of compiled programs: each is compiled, or taken from the disk, at its next use."""
    with _table_lock:
        _by_identity.clear()
        _by_structure.clear()


def _compile(jaxpr: Jaxpr, device: devices.Device, donated: tuple[int, ...]):
    if device.kind == "numpy":
        return device.load(jaxpr)
    from ftiny import lowering

    return lowering.compile(jaxpr, device, donated=donated)


def run(jaxpr: Jaxpr, values: Sequence, out_avals: Sequence[Aval] | None = None) -> list[Array]:
    """The results of a program without consts for concrete values."""
    device, bound, memories = placed(values)
    results = executable_for(jaxpr, device).run(memories)
    avals = out_avals or [interned(aval.update()) for aval in jaxpr.out_avals]
    return arrays_of(avals, results, bound)


# ---- eager equations ------------------------------------------------------------------------------------------------


def interprets(device: devices.Device) -> bool:
    """Whether eager equations run in numpy: where host views cost nothing, since compiling one costs 0.2 s there."""
    return device.capabilities.host_memory


def dispatch(primitive: Primitive, args: Sequence, params: dict) -> list[Array]:
    """The results of one equation on concrete values: what `EvalTrace` does."""
    if primitive.name == "call":
        return _run_call(params["jaxpr"], args)
    device = placement(args)
    avals = [core.get_aval(x) for x in args]
    outs = primitive.infer(avals, params)
    kind = primitive.lower.kind if isinstance(primitive.lower, Anchor) else ""
    if kind == "host" and not interprets(device):
        log(1, f"  on the host: {primitive.name}, whose operands and results cross from and to {device.name}")
    # A host call is no work for a device, nor a user's kernel for numpy.
    if kind != "host" and not (interprets(device) and (kind != "kernel" or device.kind == "numpy")):
        return _run_equation(primitive, [as_array(x) for x in args], params, outs)
    arrays = [x.host() if type(x) is Array else np.asarray(x, aval.dtype) for x, aval in zip(args, avals)]
    with np.errstate(all="ignore"):
        results = primitive.numpy(*arrays, **params)
    bound = device if any(type(x) is Array and x._device is not None for x in args) else None
    if not primitive.multiple_results:
        results = [results]
    return [
        Array(interned(aval.update()), None, _read_only(result, aval), bound) for result, aval in zip(results, outs)
    ]


def _run_call(jaxpr: Jaxpr, args: Sequence) -> list[Array]:
    """The results of a call, what a jitted function under `vmap` or `grad` is, without unused arguments."""
    from ftiny.transforms.programs import without_unused

    smaller, used = without_unused(jaxpr)
    return run(jaxpr, args) if all(used) else run(smaller, [x for x, flag in zip(args, used) if flag])


def _read_only(result, aval: Aval) -> np.ndarray:
    host = np.asarray(result, aval.dtype)
    if host.flags.writeable:
        host = host.view()
        host.flags.writeable = False
    return host


_equations: dict[tuple, Jaxpr] = {}


def _run_equation(primitive: Primitive, args: Sequence[Array], params: dict, outs: Sequence[Aval]) -> list[Array]:
    """A program of one equation, made once for its parameters and avals."""
    # With the kernel log on, the same operation on another line is another program.
    source = current_source() if debug_level() >= 2 else None
    key = (primitive.name, freeze(params), tuple(x.aval for x in args), source)
    program = _equations.get(key)
    if program is None:
        inputs = tuple(Var(x.aval) for x in args)
        outputs = tuple(Var(aval) for aval in outs)
        eqn = Eqn(primitive, inputs, params, outputs, primitive.effects(params), current_source())
        program = _equations[key] = Jaxpr(inputs, (eqn,), outputs)
        while len(_equations) > LIMIT:
            _equations.pop(next(iter(_equations)))
    return run(program, args)


EvalTrace.dispatch = staticmethod(dispatch)
