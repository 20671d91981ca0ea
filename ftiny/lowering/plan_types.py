"""The plan: what a compiled program is, just before it is loaded on a device.

Input: emitted kernels and buffers (the planner in `plan.py` makes a `Plan`). Output: `Device.load(plan)` gives
an executable. A plan holds texts and numbers only: no pointer, no handle, no source position (kernels carry
equation numbers), so it can be printed, checked, compared and written as JSON for the next process.

    x = Buffer("x", (1000,), numpy.dtype("float32"), owner=Argument(0))
    y = Buffer("y", (1000,), numpy.dtype("float32"), owner=Result(0))
    launch = Launch(0, (Pointer("x"), Pointer("y")))
    plan = Plan((x, y), (double,), (Graph((launch,)),), arena_bytes=0, arguments=("x",), results=("y",))
    print(plan)      # plan arguments=(x) results=(y) arena=0
                     #   buffer x f32[1000] argument 0
                     #   buffer y f32[1000] result 0
                     #   graph
                     #     double<<<(8,1,1), (128,1,1)>>>(x, y)

Rules of a plan (`check_plan` tests them):
- a buffer's memory belongs to its owner; arena ranges start at multiples of `ALIGNMENT` and the planner keeps
  lifetimes apart; an arena is filled with zeros once, when it is made, so a counter that has a range of its own
  and is left at zero by its kernel is zero at every launch, and a flag that every launch adds one to counts launches;
- `Argument` and `Constant` buffers are never written; `Donated(i)` is the memory of argument i, written in place;
- launches of one graph may run at the same time unless one writes what another reads or writes, and otherwise
  keep their order;
- plans inside `Loop` and `Branch` get their arguments, results and arena as ranges of the outer plan's buffers: a
  slice of k bytes starts at a multiple of k, so only a buffer whose bytes are a multiple of 16 is sure to start at
  one (every other memory does).
"""

from __future__ import annotations

import base64
import importlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any

import ml_dtypes  # noqa: F401  (makes numpy.dtype("bfloat16") known)
import numpy

from ftiny.core import Primitive

ALIGNMENT = 512  # bytes; a sub-buffer's offset on every OpenCL device seen so far, and more than CUDA asks for


class PlanError(ValueError):
    """A plan that breaks one of its rules: a fault of the compiler, never of the user."""


# ---------------------------------------------------------------- buffers


@dataclass(frozen=True)
class Arena:
    """Scratch memory of the executable, at a byte offset."""

    offset: int

    def __str__(self) -> str:
        return f"arena +{self.offset}"


@dataclass(frozen=True)
class Result:
    """Memory allocated for one call and handed out as a result; `index` numbers the distinct results."""

    index: int

    def __str__(self) -> str:
        return f"result {self.index}"


@dataclass(frozen=True)
class Argument:
    """Memory of the caller's argument, read only."""

    index: int

    def __str__(self) -> str:
        return f"argument {self.index}"


@dataclass(frozen=True)
class Donated:
    """Memory of the caller's argument, written in place and handed out as a result."""

    index: int

    def __str__(self) -> str:
        return f"donated {self.index}"


@dataclass(frozen=True)
class Constant:
    """Memory filled once at load from `Plan.constants[index]`."""

    index: int

    def __str__(self) -> str:
        return f"constant {self.index}"


Owner = Arena | Result | Argument | Donated | Constant


@dataclass(frozen=True)
class Buffer:
    """A named array in memory. `layout` is the physical shape where it differs from `shape` (packed or padded
    tiles); empty means row-major and dense. `equation` is the number (equations.py) of the one that makes it."""

    name: str
    shape: tuple[int, ...]
    dtype: numpy.dtype
    layout: tuple[int, ...] = ()
    owner: Owner = Arena(0)
    equation: int | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.layout or self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        packed = f" packed {list(self.layout)}" if self.layout else ""
        return (
            f"{self.name} {short_dtype(self.dtype)}{list(self.shape)}{packed} {self.owner}".replace(
                ", ", ","
            )
        )


def short_dtype(dtype: numpy.dtype) -> str:
    """`f32` for float32, as avals print."""
    names = {"f": "f", "i": "i", "u": "u", "c": "c"}
    if dtype.name == "bfloat16":
        return "bf16"
    if dtype.kind not in names:
        return dtype.name
    return f"{names[dtype.kind]}{8 * dtype.itemsize}"


# ---------------------------------------------------------------- kernels and their launches


@dataclass(frozen=True)
class KernelParam:
    """One parameter of a kernel's signature; the same fields as `kernel.Param`, which may stand in its place.
    A pointer that is `written` may also be read; one that is not `aligned` may start at any element, others start
    at multiples of 16 bytes."""

    name: str
    dtype: numpy.dtype
    kind: str = "pointer"
    written: bool = False
    aligned: bool = True


@dataclass(frozen=True)
class KernelSource:
    """Source text of one kernel. `grid` counts blocks, `block` threads; `flops` and `bytes` are of one launch;
    `equations` are the numbers of the jaxpr's equations that it computes. `alone`: a user's text, which may define
    any name and is never compiled together with others. `vector_bytes` are those of the widest vector in the text."""

    name: str
    text: str
    entry: str
    params: tuple[Any, ...]
    grid: tuple[int, int, int] = (1, 1, 1)
    block: tuple[int, int, int] = (1, 1, 1)
    shared_bytes: int = 0
    flops: int = 0
    bytes: int = 0
    equations: tuple[int, ...] = ()
    alone: bool = False
    vector_bytes: int = 0

    def __str__(self) -> str:
        params = ", ".join(
            f"{short_dtype(p.dtype)}{'*' if p.kind == 'pointer' else ''} {p.name}"
            for p in self.params
        )
        return f"{self.name}({params}) {self.flops} flops, {self.bytes} bytes, {len(self.text)} characters"


@dataclass(frozen=True)
class Pointer:
    """Address of a buffer plus a byte offset."""

    buffer: str
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.buffer}+{self.offset}" if self.offset else self.buffer


@dataclass(frozen=True)
class TensorMap:
    """A CUDA tensor map of a buffer, encoded anew whenever the buffer moves. `shape` is outermost first,
    `strides` in bytes without the innermost, `box` the tile, `swizzle` 0, 32, 64 or 128 bytes."""

    buffer: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    swizzle: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"map({self.buffer}{list(self.box)} swizzle {self.swizzle})"


@dataclass(frozen=True)
class Size:
    """The value of `Plan.sizes[name]`, so that one kernel can serve several sizes."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Scalar:
    """A number passed by value."""

    value: Any
    dtype: numpy.dtype

    def __str__(self) -> str:
        return f"{self.value}:{short_dtype(self.dtype)}"


KernelArg = Pointer | TensorMap | Size | Scalar


@dataclass(frozen=True)
class Launch:
    """One launch of `Plan.kernels[kernel]`; `grid` replaces the kernel's own where sizes are arguments."""

    kernel: int
    args: tuple[KernelArg, ...]
    grid: tuple[int, int, int] | None = None


# ---------------------------------------------------------------- steps


@dataclass(frozen=True)
class Graph:
    """Launches that the device runs without the host in between."""

    launches: tuple[Launch, ...]


@dataclass(frozen=True)
class HostCall:
    """`primitive.numpy(*ins, **params)` on the host; `ins` and `outs` are buffer names."""

    primitive: Any
    params: dict[str, Any] = field(hash=False)
    ins: tuple[str, ...]
    outs: tuple[str, ...]


@dataclass(frozen=True)
class Loop:
    """A body plan replayed. Body arguments: constants, carry, one slice of each of xs. Body results: carry, one
    slice of each of ys. `carry_in` holds the first carry and stays as it is, `carry_out` receives the last, and
    `carry_spare` is scratch of the same sizes: the body reads one and writes the other in turn.

    kind 'scan' runs `trips` times, slice k (or trips-1-k if `reverse`) of xs and ys along their first axis.
    kind 'while' runs while `cond`, whose arguments are `cond_constants` and carry, gives a true bool[].
    `scratch` names a buffer that holds the arenas of body and cond (one after the other is done)."""

    kind: str
    body: Plan
    carry_in: tuple[str, ...]
    carry_out: tuple[str, ...]
    carry_spare: tuple[str, ...]
    constants: tuple[str, ...] = ()
    trips: int = 0
    reverse: bool = False
    xs: tuple[str, ...] = ()
    ys: tuple[str, ...] = ()
    cond: Plan | None = None
    cond_constants: tuple[str, ...] = ()
    scratch: str | None = None


@dataclass(frozen=True)
class Branch:
    """Runs `branches[index]`, clamped to the range, with the same `ins` and `outs`. `index` names a 0-d integer
    or bool buffer."""

    index: str
    branches: tuple[Plan, ...]
    ins: tuple[str, ...]
    outs: tuple[str, ...]
    scratch: str | None = None


@dataclass(frozen=True)
class Collective:
    """Communication over the mesh axes `axes`: 'psum', 'all_gather', 'reduce_scatter', 'ppermute', 'all_to_all'."""

    kind: str
    axes: tuple[str, ...]
    params: dict[str, Any] = field(hash=False)
    ins: tuple[str, ...]
    outs: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """Copies `nbytes` from one place to another."""

    source: Pointer
    destination: Pointer
    nbytes: int


Step = Graph | HostCall | Loop | Branch | Collective | Copy


@dataclass(frozen=True)
class Plan:
    """A program ready to be loaded. `arguments` and `results` are buffer names, one for each of the program's;
    one name may stand for several results, and an argument or a constant may be a result (the runner copies).
    `constants` are raw bytes; `sizes` pairs of name and value."""

    buffers: tuple[Buffer, ...]
    kernels: tuple[KernelSource, ...]
    steps: tuple[Step, ...]
    arena_bytes: int
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    constants: tuple[bytes, ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    name: str = "program"

    def buffer(self, name: str) -> Buffer:
        """The buffer of that name; raises `PlanError` if there is none."""
        try:
            return self._named[name]
        except KeyError:
            raise PlanError(f"plan {self.name}: no buffer is called {name!r}") from None

    @cached_property
    def _named(self) -> dict[str, Buffer]:
        return {buffer.name: buffer for buffer in self.buffers}

    def __str__(self) -> str:
        return "\n".join(_plan_lines(self))


# ---------------------------------------------------------------- printing


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield (
        f"plan {plan.name} arguments=({', '.join(plan.arguments)}) results=({', '.join(plan.results)})"
        f" arena={plan.arena_bytes}"
    )
    for name, value in plan.sizes:
        yield f"  size {name} = {value}"
    for buffer in plan.buffers:
        yield f"  buffer {buffer}"
    for kernel in plan.kernels:
        yield f"  kernel {kernel}"
    for step in plan.steps:
        for line in _step_lines(step, plan):
            yield "  " + line


def _nested(title: str, plan: Plan) -> Iterator[str]:
    yield f"  {title}:"
    for line in _plan_lines(plan):
        yield "    " + line


def _step_lines(step: Step, plan: Plan) -> Iterator[str]:
    if isinstance(step, Graph):
        yield "graph"
        for launch in step.launches:
            yield "  " + _launch_text(launch, plan)
    elif isinstance(step, HostCall):
        yield f"host call {step.primitive.name} ({', '.join(step.ins)}) -> ({', '.join(step.outs)})"
    elif isinstance(step, Copy):
        yield f"copy {step.nbytes} bytes {step.source} -> {step.destination}"
    elif isinstance(step, Collective):
        yield f"{step.kind} over {','.join(step.axes)} ({', '.join(step.ins)}) -> ({', '.join(step.outs)})"
    elif isinstance(step, Branch):
        yield f"branch on {step.index} ({', '.join(step.ins)}) -> ({', '.join(step.outs)})"
        for number, branch in enumerate(step.branches):
            yield from _nested(f"case {number}", branch)
    else:
        trips = (
            f"{step.trips} times{' backwards' if step.reverse else ''}"
            if step.kind == "scan"
            else "while"
        )
        yield (
            f"loop {trips} constants=({', '.join(step.constants)}) carry=({', '.join(step.carry_in)})"
            f" -> ({', '.join(step.carry_out)}) xs=({', '.join(step.xs)}) ys=({', '.join(step.ys)})"
        )
        if step.cond is not None:
            yield from _nested("cond", step.cond)
        yield from _nested("body", step.body)


def _launch_text(launch: Launch, plan: Plan) -> str:
    kernel = plan.kernels[launch.kernel]
    grid = ",".join(map(str, launch.grid or kernel.grid))
    block = ",".join(map(str, kernel.block))
    return f"{kernel.name}<<<({grid}), ({block})>>>({', '.join(map(str, launch.args))})"


# ---------------------------------------------------------------- checking


def check_plan(plan: Plan) -> Plan:
    """The plan itself, after testing every rule of this module's docstring; raises `PlanError`."""
    names = [buffer.name for buffer in plan.buffers]
    _require(len(set(names)) == len(names), plan, "two buffers have the same name")
    for buffer in plan.buffers:
        _check_owner(buffer, plan)
    for position, name in enumerate(plan.arguments):
        owner = plan.buffer(name).owner
        _require(
            owner == Argument(position), plan, f"argument {position} is {name}, owned by {owner}"
        )
    for name in plan.results:
        owner = plan.buffer(name).owner
        _require(not isinstance(owner, Arena), plan, f"result {name} would live in the arena")
    numbers = [b.owner.index for b in plan.buffers if isinstance(b.owner, Result)]
    _require(sorted(numbers) == list(range(len(numbers))), plan, f"results are numbered {numbers}")
    for step in plan.steps:
        _check_step(step, plan)
    written, results = set(written_buffers(plan)), set(plan.results)
    for buffer in plan.buffers:
        if isinstance(buffer.owner, Result):
            _require(buffer.name in results, plan, f"{buffer} is no result")
        if isinstance(buffer.owner, Result) and buffer.nbytes:
            _require(buffer.name in written, plan, f"nothing writes result {buffer.name}")
    return plan


def _require(condition: bool, plan: Plan, text: str) -> None:
    if not condition:
        raise PlanError(f"plan {plan.name}: {text}")


def _check_owner(buffer: Buffer, plan: Plan) -> None:
    owner = buffer.owner
    if isinstance(owner, Arena):
        _require(
            owner.offset % ALIGNMENT == 0,
            plan,
            f"arena offset of {buffer} is no multiple of {ALIGNMENT}",
        )
        end = owner.offset + buffer.nbytes
        _require(
            end <= plan.arena_bytes,
            plan,
            f"{buffer} ends at {end}, the arena at {plan.arena_bytes}",
        )
    elif isinstance(owner, Donated):
        _require(owner.index < len(plan.arguments), plan, f"{buffer}: there is no such argument")
        given = plan.buffer(plan.arguments[owner.index]).nbytes
        _require(
            given >= buffer.nbytes,
            plan,
            f"{buffer} needs {buffer.nbytes} bytes, the argument has {given}",
        )
    elif isinstance(owner, Constant):
        _require(owner.index < len(plan.constants), plan, f"{buffer}: there is no such constant")
        size = len(plan.constants[owner.index])
        _require(
            size == buffer.nbytes, plan, f"{buffer} has {buffer.nbytes} bytes, its constant {size}"
        )


def _check_launch(launch: Launch, plan: Plan) -> None:
    _require(launch.kernel < len(plan.kernels), plan, f"there is no kernel {launch.kernel}")
    kernel = plan.kernels[launch.kernel]
    count = (len(launch.args), len(kernel.params))
    _require(
        count[0] == count[1], plan, f"{kernel.name} takes {count[1]} arguments, is given {count[0]}"
    )
    for arg, param in zip(launch.args, kernel.params):
        where = f"{kernel.name}({param.name})"
        by_address = isinstance(arg, (Pointer, TensorMap))
        _require(
            (param.kind == "pointer") == by_address,
            plan,
            f"{where} is a {param.kind}, is given {arg}",
        )
        if isinstance(arg, (Pointer, TensorMap)):
            buffer = plan.buffer(arg.buffer)
            _require(
                0 <= arg.offset <= buffer.nbytes,
                plan,
                f"{where}: offset {arg.offset} leaves {buffer}",
            )
            if param.written:
                _check_writable(buffer, where, plan)
        elif isinstance(arg, Size):
            _require(arg.name in dict(plan.sizes), plan, f"{where}: there is no size {arg.name}")


def _check_writable(buffer: Buffer, where: str, plan: Plan) -> None:
    readable_only = isinstance(buffer.owner, (Argument, Constant))
    _require(not readable_only, plan, f"{where} writes {buffer}, which is read only")


def _check_step(step: Step, plan: Plan) -> None:
    if isinstance(step, Graph):
        for launch in step.launches:
            _check_launch(launch, plan)
    elif isinstance(step, Loop):
        _check_loop(step, plan)
    elif isinstance(step, Branch):
        index = plan.buffer(step.index)
        _require(
            index.shape == () and index.dtype.kind in "biu",
            plan,
            f"branch index {index} is no 0-d integer",
        )
        for branch in step.branches:
            _check_nested(branch, step.ins, step.outs, step.scratch, plan)
    elif isinstance(step, Copy):
        for place in (step.source, step.destination):
            buffer = plan.buffer(place.buffer)
            _require(place.offset + step.nbytes <= buffer.nbytes, plan, f"copy of {step.nbytes} bytes leaves {buffer}")
    else:
        for name in step.ins:
            plan.buffer(name)
    for name in step_writes(step, plan):
        _check_writable(plan.buffer(name), type(step).__name__, plan)


def _check_loop(step: Loop, plan: Plan) -> None:
    _require(step.kind in ("scan", "while"), plan, f"unknown loop kind {step.kind!r}")
    counts = {len(step.carry_in), len(step.carry_out), len(step.carry_spare)}
    _require(len(counts) == 1, plan, "carry_in, carry_out and carry_spare differ in length")
    for trio in zip(step.carry_in, step.carry_out, step.carry_spare):
        sizes = {plan.buffer(name).nbytes for name in trio}
        _require(len(sizes) == 1, plan, f"carry {trio} differ in bytes")
        _require(len(set(trio)) == 3, plan, f"carry {trio} must be three buffers")
    inputs = step.constants + step.carry_in + step.xs
    slices = step.trips if step.kind == "scan" else 1
    # By position: one buffer may be a constant, read whole, and one of xs.
    whole = len(step.constants + step.carry_in)
    first_y = len(inputs + step.carry_out)
    sliced = [*range(whole, len(inputs)), *range(first_y, first_y + len(step.ys))]
    _check_nested(
        step.body, inputs, step.carry_out + step.ys, step.scratch, plan, sliced, slices
    )
    _require(
        (step.cond is not None) == (step.kind == "while"), plan, "cond belongs to a while loop"
    )
    if step.cond is not None:
        _require(len(step.cond.results) == 1, plan, "cond has one result")
        result = step.cond.buffer(step.cond.results[0])
        _require(
            (result.shape, result.dtype.kind) == ((), "b"), plan, f"cond gives {result}, not bool[]"
        )
        _check_nested(step.cond, step.cond_constants + step.carry_in, (), step.scratch, plan)


def _check_nested(
    inner: Plan,
    ins: tuple[str, ...],
    outs: tuple[str, ...],
    scratch: str | None,
    plan: Plan,
    sliced: Sequence[int] = (),
    slices: int = 1,
) -> None:
    check_plan(inner)
    for buffer in inner.buffers:
        _require(
            not isinstance(buffer.owner, Donated),
            inner,
            f"{buffer}: a nested plan takes no donation",
        )
    _require(
        len(inner.arguments) == len(ins),
        inner,
        f"takes {len(inner.arguments)} arguments, given {len(ins)}",
    )
    pairs = list(zip(inner.arguments, ins))
    if outs:
        _require(
            len(inner.results) == len(outs),
            inner,
            f"has {len(inner.results)} results, {len(outs)} wanted",
        )
        pairs += zip(inner.results, outs)
    for position, (inside, outside) in enumerate(pairs):
        have = plan.buffer(outside).nbytes // (max(slices, 1) if position in sliced else 1)
        need = inner.buffer(inside).nbytes
        _require(
            have >= need or slices == 0, inner, f"{inside} needs {need} bytes, {outside} has {have}"
        )
    if inner.arena_bytes:
        room = plan.buffer(scratch).nbytes if scratch else 0
        _require(
            room >= inner.arena_bytes,
            inner,
            f"arena of {inner.arena_bytes} bytes in scratch of {room}",
        )


# ---------------------------------------------------------------- reading a plan


def launch_buffers(launch: Launch, plan: Plan) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the buffers that a launch may read and those it writes (and may read)."""
    reads: set[str] = set()
    writes: set[str] = set()
    for arg, param in zip(launch.args, plan.kernels[launch.kernel].params):
        if isinstance(arg, (Pointer, TensorMap)):
            (writes if param.written else reads).add(arg.buffer)
    return frozenset(reads), frozenset(writes)


def step_writes(step: Step, plan: Plan) -> tuple[str, ...]:
    """Names of the buffers that a step writes, its scratch left out."""
    if isinstance(step, Graph):
        return tuple(
            name for launch in step.launches for name in sorted(launch_buffers(launch, plan)[1])
        )
    if isinstance(step, Loop):
        return step.carry_out + step.carry_spare + step.ys
    if isinstance(step, Copy):
        return (step.destination.buffer,)
    return step.outs


def written_buffers(plan: Plan) -> tuple[str, ...]:
    """Names of all buffers that the plan's steps write."""
    return tuple(name for step in plan.steps for name in step_writes(step, plan))


def inner_plans(step: Step) -> tuple[Plan, ...]:
    """The plans inside a step: the body and the condition of a loop, the cases of a branch."""
    if isinstance(step, Loop):
        return (step.body,) if step.cond is None else (step.body, step.cond)
    return step.branches if isinstance(step, Branch) else ()


def nested_plans(plan: Plan) -> Iterator[Plan]:
    """The plan and every plan inside it, outermost first."""
    yield plan
    for step in plan.steps:
        for nested in inner_plans(step):
            yield from nested_plans(nested)


# ---------------------------------------------------------------- JSON

FORMAT = 4  # raised whenever the fields of the types above change


def plan_to_json(plan: Plan) -> str:
    """The plan as text from which `plan_from_json` makes an equal plan, in this or another process. Raises
    `PlanError` if a host call's parameters hold what has no text, such as a Python function."""
    return json.dumps([FORMAT, _encode(plan)], separators=(",", ":"))


def plan_from_json(text: str) -> Plan:
    """The plan of `plan_to_json`. Raises `PlanError` if the text is not that of a plan of this version."""
    try:
        version, value = json.loads(text)
        plan = _decode(value) if version == FORMAT else None
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise PlanError(f"this text is no plan: {error}") from error
    if not isinstance(plan, Plan):
        raise PlanError(f"this text is no plan of format {FORMAT}")
    return plan


def _encode(value: Any) -> Any:
    """A JSON value: tuples are JSON arrays, everything else that JSON lacks is an object with one key."""
    if value is None or isinstance(value, (bool, int, str)) or type(value) is float:
        return value
    if isinstance(value, tuple) and type(value) is tuple:
        return [_encode(item) for item in value]
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        data = base64.b64encode(value.tobytes()).decode()
        return {"array": [value.dtype.name, list(value.shape), data, isinstance(value, numpy.generic)]}
    if isinstance(value, numpy.dtype):
        return {"dtype": value.name}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, list):
        return {"list": [_encode(item) for item in value]}
    if isinstance(value, frozenset):
        return {"set": [_encode(item) for item in sorted(value)]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, Primitive):
        return {"primitive": value.name}
    kind = type(value)
    if is_dataclass(kind) and kind.__module__.startswith("ftiny."):
        items = [_encode(getattr(value, each.name)) for each in fields(value)]
        return {f"{kind.__module__}:{kind.__qualname__}": items}
    raise PlanError(f"a {kind.__name__} cannot be written as text: {value!r}")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        name, shape, data, is_scalar = content
        array = numpy.frombuffer(base64.b64decode(data), numpy.dtype(name)).reshape(shape)
        return array[()] if is_scalar else array
    if kind == "dtype":
        return numpy.dtype(content)
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "complex":
        return complex(*content)
    if kind == "list":
        return [_decode(item) for item in content]
    if kind == "set":
        return frozenset(_decode(item) for item in content)
    if kind == "dict":
        return {_decode(key): _decode(item) for key, item in content}
    if kind == "primitive":
        return Primitive.registry[content]
    module, _, name = kind.partition(":")
    if not module.startswith("ftiny."):
        raise ValueError(f"unknown kind {kind!r}")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ValueError(f"{kind!r} is no dataclass")
    return found(*(_decode(item) for item in content))
