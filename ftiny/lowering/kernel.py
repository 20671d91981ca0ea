"""The kernel: what one launch does, as a small C-like statement tree that both dialects can print.

Schedules make kernels, `emit_opencl.py` and `emit_cuda.py` print them. Expressions are those of expr.py
with a few leaves more: `variable` (a declared scalar or vector), `ramp` (the vector 0, 1, .. lanes-1),
`special` (group and local ids), and loads with one linear offset into a parameter or a declared array.
An expression is a vector exactly if a ramp or a vector variable is in it: `x[16*i + ramp(16)]` is a load
of 16 neighbours, and everything computed from it has 16 lanes. Scalars are spread where needed.

Worked example, y = x + 1 for 4096 float32 in 16 work-items with 16 lanes:

    c = Axis("c", 16)
    offset = group(0, 16) * 256 + axis(c) * 16 + ramp(16)
    Kernel("increment", (Param("x", f32), Param("y", f32, written=True)), grid=(16, 1, 1), block=(1, 1, 1),
           body=(For(c, (Store("y", offset, load("x", (offset,), f32) + 1.0),)),))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ftiny.lowering.expr import INDEX, Axis, Expr, const, intern_node, load, show, topological
from ftiny.lowering.plan_types import KernelParam

Param = KernelParam

WIDE_BYTES = 16  # the widest access of a thread, and what it must be aligned to


class KernelError(ValueError):
    """A kernel that breaks an invariant of this module: a fault of a schedule."""


@dataclass(frozen=True)
class Declare:
    """A variable of `dtype` with `lanes` lanes (0: as wide as `value`), readable as variable(name, dtype).

    A variable that is never assigned again prints as const.
    """

    name: str
    dtype: np.dtype
    value: Expr
    lanes: int = 1


@dataclass(frozen=True)
class DeclareArray:
    """An array of `size` elements, uninitialised; scope 'private' (one per thread) or 'shared' (one per
    block; only at the top of the body). Loads and stores use its name as a buffer."""

    name: str
    dtype: np.dtype
    size: int
    scope: str = "private"


@dataclass(frozen=True)
class Assign:
    """variable = value. The variable was declared before with the same dtype and at least the lanes."""

    name: str
    value: Expr


@dataclass(frozen=True)
class Store:
    """buffer[offset] = value (converted to what the buffer stores), only where `guard` holds.

    With a vector offset all lanes are stored, at the lanes' own places.
    """

    buffer: str
    offset: Expr
    value: Expr
    guard: Expr | None = None


@dataclass(frozen=True)
class Atomic:
    """buffer[offset] = buffer[offset] op value, atomically (op: add mul minimum maximum), where `guard`.

    Scalar only. `result` names a variable that gets the old value (integer add only).
    """

    buffer: str
    offset: Expr
    value: Expr
    op: str = "add"
    guard: Expr | None = None
    result: str | None = None


@dataclass(frozen=True)
class For:
    """for (axis = start; axis < stop; axis += step) body; start defaults to 0, stop to the axis's extent.

    The axis's extent bounds its values: ranges are derived from it. `unroll` asks for full unrolling, a number for so
    many passes at once.
    """

    axis: Axis
    body: tuple[Stmt, ...]
    start: Expr | None = None
    stop: Expr | None = None
    step: int = 1
    unroll: bool | int = False


@dataclass(frozen=True)
class If:
    """if (condition) then else otherwise; the condition is a scalar bool."""

    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()


@dataclass(frozen=True)
class Repeat:
    """body again and again, until a `Leave` that stands in it (not in a loop inside it) ends the loop."""

    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Leave:
    """Leave the innermost `Repeat` if the condition holds: a scalar bool, the same for all threads of a block."""

    condition: Expr


@dataclass(frozen=True)
class Barrier:
    """All threads of the block wait; shared memory (scope 'shared') or also global memory ('global') is
    seen by all afterwards. scope 'device' is a fence towards other blocks, not a wait."""

    scope: str = "shared"


@dataclass(frozen=True)
class Publish:
    """buffer[offset] = value for all blocks to see, after everything that this thread wrote, or that threads wrote
    which it met at a barrier (CUDA only; integers of 4 bytes)."""

    buffer: str
    offset: Expr
    value: Expr


@dataclass(frozen=True)
class Await:
    """This thread waits until another block has published `value` in buffer[offset], and then sees what that block
    wrote before (CUDA only). The other block must have started already: see schedule_scan.py for how."""

    buffer: str
    offset: Expr
    value: Expr


@dataclass(frozen=True)
class Comment:
    """A line for the reader."""

    text: str


@dataclass(frozen=True)
class Choose:
    """Makes `names` buffers: those of rows[which], which are parameters of the same types in every row."""

    names: tuple[str, ...]
    which: Expr
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class WideLoad:
    """Declares `names` as consecutive elements from one aligned access of buffer at `offset` (CUDA: made by
    emit_cuda_lanes.py, not by schedules)."""

    names: tuple[str, ...]
    buffer: str
    offset: Expr
    dtype: np.dtype


@dataclass(frozen=True)
class WideStore:
    """Stores `values` to consecutive elements in one aligned access, where `guard` (CUDA, as WideLoad)."""

    buffer: str
    offset: Expr
    values: tuple[Expr, ...]
    guard: Expr | None = None


@dataclass(frozen=True)
class CopyAsync:
    """16 bytes from `source` at `place` to the shared array `buffer` at `offset`, started and not waited for (CUDA,
    sm_80). Where `guard` is false zeros are written and nothing is read."""

    buffer: str
    offset: Expr
    source: str
    place: Expr
    guard: Expr | None = None


@dataclass(frozen=True)
class CopyGroup:
    """The copies started since the last one are a group. With `pending`: waits until at most so many groups of this
    thread are under way; a barrier makes what came in seen by the others."""

    pending: int | None = None


@dataclass(frozen=True)
class LoadMatrix:
    """A warp loads four 8 x 8 matrices of 16-bit elements (or 8 x 4 of 32-bit ones) from the shared array `buffer` to
    words `first` .. `first + 3` of its threads' private array `words`; thread 8 m + r gives the `offset` of row r of
    matrix m. Thread 4 r + c gets elements 2c, 2c + 1 of row r, or of column r if `transposed` (`ldmatrix`)."""

    words: str
    first: int
    buffer: str
    offset: Expr
    transposed: bool = False


MULTIPLY_DEPTH = {"bf16": 16, "f16": 16, "tf32": 8}  # products that one `MatrixMultiply` sums


@dataclass(frozen=True)
class MatrixMultiply:
    """A warp's product of fragments, sums += left @ right, on its tensor core (`mma.sync`): 16 x 8 sums, 16 deep for
    kind 'bf16' and 'f16', 8 deep for 'tf32'. Fragments are private arrays at constant places: 4 sums, 4 words of the
    left operand and 2 of the right one; how a warp's threads share them out is the PTX manual's."""

    kind: str
    sums: tuple[str, int]
    left: tuple[str, int]
    right: tuple[str, int]


Stmt = (Declare | DeclareArray | Assign | Store | Atomic | For | If | Repeat | Leave | Barrier | Choose | Publish
        | Await | Comment | WideLoad | WideStore | CopyAsync | CopyGroup | LoadMatrix | MatrixMultiply)
# What memory changes at; Await, since another block wrote there.
Writing = Store | Atomic | Publish | Await | WideStore | CopyAsync


@dataclass(frozen=True)
class Kernel:
    """One launch: grid counts blocks, block counts threads; see the module docstring.

    flops and bytes are of one launch (bytes: what is touched of every array, once); equations are the jaxpr's.
    """

    name: str
    params: tuple[Param, ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    body: tuple[Stmt, ...]
    flops: int = 0
    bytes: int = 0
    equations: tuple[int, ...] = ()

    def __str__(self) -> str:
        params = ", ".join(f"{'out ' if p.written else ''}{p.name}: {p.dtype}" for p in self.params)
        head = f"kernel {self.name}({params}) grid{self.grid} block{self.block}"
        return "\n".join([head, *_show_body(self.body, 1)])


# -------------------------------------------------------------------------------- kernel leaves


def ramp(lanes: int) -> Expr:
    """The vector 0, 1, .. lanes-1, int64 as all index arithmetic; ramp(1) is the constant 0."""
    return const(0) if lanes == 1 else intern_node("ramp", (), INDEX, lanes)


def group(dimension: int, count: int) -> Expr:
    """The block's number along a grid dimension, 0 <= group < count."""
    return const(0) if count == 1 else intern_node("special", (), INDEX, ("group", dimension, count))


def local(dimension: int, count: int) -> Expr:
    """The thread's number in its block along a dimension, 0 <= local < count."""
    return const(0) if count == 1 else intern_node("special", (), INDEX, ("local", dimension, count))


def low(x: Expr) -> Expr:
    """The first half of a vector's lanes."""
    return intern_node("low", (x,), x.dtype)


def high(x: Expr) -> Expr:
    """The second half of a vector's lanes."""
    return intern_node("high", (x,), x.dtype)


def join(lanes: Sequence[Expr]) -> Expr:
    """The vector whose lanes are these scalars; of one scalar, that scalar."""
    return lanes[0] if len(lanes) == 1 else intern_node("join", tuple(lanes), lanes[0].dtype)


def lane(x: Expr, number: int) -> Expr:
    """One lane of a vector variable, a scalar."""
    return intern_node("lane", (x,), x.dtype, number)


EXCHANGES = frozenset({"shuffle_up", "shuffle_from", "shuffle_xor"})  # nodes whose value is another thread's


def shuffle_up(x: Expr, distance: int) -> Expr:
    """The value of x in the warp's thread whose number is smaller by `distance`, or its own (CUDA only)."""
    return intern_node("shuffle_up", (x,), x.dtype, distance)


def shuffle_from(x: Expr, number: Expr) -> Expr:
    """The value of x in the warp's thread of this number (CUDA only)."""
    return intern_node("shuffle_from", (x, number), x.dtype)


def shuffle_xor(x: Expr, distance: int) -> Expr:
    """The value of x in the warp's thread whose number differs by xor with `distance` (CUDA only)."""
    return intern_node("shuffle_xor", (x,), x.dtype, distance)


def element(buffer: str, offset: Expr, dtype: np.dtype, guard: Expr | None = None, other: Expr | None = None) -> Expr:
    """A load at a linear offset, as kernels have it."""
    return load(buffer, (offset,), dtype, guard, 0 if other is None else other)


# ------------------------------------------------------------------------------------ traversal


def stmt_exprs(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that stand in a statement itself (not in nested bodies)."""
    match stmt:
        case Declare() | Assign():
            return (stmt.value,)
        case Store() | Atomic():
            return (stmt.offset, stmt.value) if stmt.guard is None else (stmt.offset, stmt.value, stmt.guard)
        case Publish() | Await():
            return (stmt.offset, stmt.value)
        case WideLoad() | LoadMatrix():
            return (stmt.offset,)
        case CopyAsync():
            return (stmt.offset, stmt.place) if stmt.guard is None else (stmt.offset, stmt.place, stmt.guard)
        case WideStore():
            return (stmt.offset, *stmt.values) if stmt.guard is None else (stmt.offset, *stmt.values, stmt.guard)
        case For():
            return tuple(e for e in (stmt.start, stmt.stop) if e is not None)
        case If() | Leave():
            return (stmt.condition,)
        case Choose():
            return (stmt.which,)
    return ()


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement, outer before inner."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, For | Repeat):
            yield from walk(stmt.body)
        elif isinstance(stmt, If):
            yield from walk(stmt.then)
            yield from walk(stmt.otherwise)


def stored_names(stmt: Stmt) -> tuple[str, ...]:
    """The buffers and arrays that a statement itself stores to."""
    if isinstance(stmt, Writing):
        return (stmt.buffer,)
    if isinstance(stmt, LoadMatrix):
        return (stmt.words,)
    return (stmt.sums[0],) if isinstance(stmt, MatrixMultiply) else ()


class Widths:
    """Lanes of variables and expressions of one function body."""

    def __init__(self, body: tuple[Stmt, ...] = ()) -> None:
        self.variables: dict[str, int] = {}
        self.memo: dict[Expr, int] = {}
        for stmt in walk(body):
            if isinstance(stmt, Declare):
                self.variables[stmt.name] = stmt.lanes or self.of(stmt.value)

    def of(self, root: Expr) -> int:
        """Lanes of a node: those of its widest argument, halved by low and high; one for each argument of join, one
        for lane."""
        memo = self.memo
        if root in memo:
            return memo[root]
        for node in topological((root,), memo.__contains__):
            if node.op == "ramp":
                lanes = node.attr
            elif node.op == "variable":
                lanes = self.variables.get(node.attr, 1)
            elif node.op in ("low", "high"):
                lanes = memo[node.args[0]] // 2
            elif node.op in ("join", "lane"):
                lanes = len(node.args)
            else:
                lanes = max((memo[a] for a in node.args), default=1)
            memo[node] = lanes
        return memo[root]


def check_kernel(kernel: Kernel) -> None:
    """Raise KernelError unless names resolve, variables are declared once, and arrays have a place."""
    buffers = {p.name for p in kernel.params if p.kind == "pointer"}
    written = {p.name for p in kernel.params if p.written}
    variables: set[str] = {p.name for p in kernel.params if p.kind == "scalar"}
    for stmt in walk(kernel.body):
        if isinstance(stmt, Declare):
            _require(stmt.name not in variables, kernel, f"{stmt.name} is declared twice")
            _require(stmt.value.dtype == stmt.dtype, kernel,
                     f"{stmt.name} is {stmt.dtype}, set to {stmt.value.dtype}")
            variables.add(stmt.name)
        elif isinstance(stmt, DeclareArray):
            _require(stmt.name not in buffers, kernel, f"array {stmt.name} is declared twice")
            buffers.add(stmt.name)
            written.add(stmt.name)
        elif isinstance(stmt, Choose):
            _require(buffers >= {b for row in stmt.rows for b in row}, kernel, f"{stmt.names}: unknown arrays")
            written |= {n for n, b in zip(stmt.names, stmt.rows[0]) if b in written}
            buffers |= set(stmt.names)
        elif isinstance(stmt, WideLoad):
            variables |= set(stmt.names)
        elif isinstance(stmt, Assign):
            _require(stmt.name in variables, kernel, f"{stmt.name} is assigned but not declared")
        elif isinstance(stmt, Writing):
            _require(stmt.buffer in written, kernel, f"{stmt.buffer} is stored to but not a written parameter")
            if isinstance(stmt, CopyAsync):
                _require(stmt.source in buffers, kernel, f"{stmt.source} is copied but not a parameter")
            if isinstance(stmt, Atomic) and stmt.result is not None:
                variables.add(stmt.result)
        elif isinstance(stmt, LoadMatrix):
            _require({stmt.buffer, stmt.words} <= written, kernel, f"{stmt.buffer} or {stmt.words} is no array")
        for node in topological(stmt_exprs(stmt)):
            if node.op == "variable":
                _require(node.attr in variables, kernel, f"variable {node.attr} is read before its declaration")
            elif node.op == "load":
                _require(node.attr[0] in buffers, kernel, f"{node.attr[0]} is loaded but not a parameter")
                _require(node.attr[1] == 1, kernel, f"load of {node.attr[0]} has {node.attr[1]} indices, not 1")


def _require(condition: bool, kernel: Kernel, message: str) -> None:
    if not condition:
        raise KernelError(f"kernel {kernel.name}: {message}")


# ------------------------------------------------------------------------------------- printing


def _show_body(body: tuple[Stmt, ...], depth: int) -> list[str]:
    pad = "  " * depth
    lines: list[str] = []
    for stmt in body:
        match stmt:
            case Declare():
                width = f"x{stmt.lanes}" if stmt.lanes > 1 else ""
                lines.append(f"{pad}{stmt.name}: {stmt.dtype}{width} = {show(stmt.value)}")
            case DeclareArray():
                lines.append(f"{pad}{stmt.scope} {stmt.name}: {stmt.dtype}[{stmt.size}]")
            case Assign():
                lines.append(f"{pad}{stmt.name} = {show(stmt.value)}")
            case Store() | Atomic():
                guard = "" if stmt.guard is None else f" if {show(stmt.guard)}"
                sign = "=" if isinstance(stmt, Store) else f"=atomic {stmt.op}="
                lines.append(f"{pad}{stmt.buffer}[{show(stmt.offset)}] {sign} {show(stmt.value)}{guard}")
            case For():
                start = "0" if stmt.start is None else show(stmt.start)
                stop = str(stmt.axis.extent) if stmt.stop is None else show(stmt.stop)
                lines.append(f"{pad}for {stmt.axis.name} in {start}..{stop} step {stmt.step}")
                lines += _show_body(stmt.body, depth + 1)
            case If():
                lines.append(f"{pad}if {show(stmt.condition)}")
                lines += _show_body(stmt.then, depth + 1)
                if stmt.otherwise:
                    lines += [f"{pad}else", *_show_body(stmt.otherwise, depth + 1)]
            case Repeat():
                lines += [f"{pad}repeat", *_show_body(stmt.body, depth + 1)]
            case Leave():
                lines.append(f"{pad}leave if {show(stmt.condition)}")
            case WideLoad():
                lines.append(f"{pad}{', '.join(stmt.names)} = wide {stmt.buffer}[{show(stmt.offset)}]")
            case WideStore():
                lines.append(f"{pad}wide {stmt.buffer}[{show(stmt.offset)}] = {', '.join(map(show, stmt.values))}")
            case Barrier():
                lines.append(f"{pad}barrier {stmt.scope}")
            case Publish() | Await():
                word = "publish" if isinstance(stmt, Publish) else "await"
                lines.append(f"{pad}{word} {stmt.buffer}[{show(stmt.offset)}] = {show(stmt.value)}")
            case CopyAsync():
                guard = "" if stmt.guard is None else f" if {show(stmt.guard)}"
                lines.append(f"{pad}{stmt.buffer}[{show(stmt.offset)}] <- {stmt.source}[{show(stmt.place)}]{guard}")
            case CopyGroup():
                lines.append(pad + ("end of copies" if stmt.pending is None else f"wait for {stmt.pending} groups"))
            case LoadMatrix():
                turned = " transposed" if stmt.transposed else ""
                lines.append(f"{pad}{stmt.words}[{stmt.first}..] = matrices {stmt.buffer}[{show(stmt.offset)}]{turned}")
            case MatrixMultiply():
                sums, left, right = (f"{name}[{at}..]" for name, at in (stmt.sums, stmt.left, stmt.right))
                lines.append(f"{pad}{sums} += {left} @ {right} in {stmt.kind}")
            case Comment():
                lines.append(f"{pad}# {stmt.text}")
            case Choose():
                rows = "; ".join(", ".join(row) for row in stmt.rows)
                lines.append(f"{pad}{', '.join(stmt.names)} = ({rows})[{show(stmt.which)}]")
    return lines
