"""Kernels side by side: many small, independent launches become one, in which every block finds its own work.

Input: the items of a plan in order. Output: fewer items. Neighbouring kernels that need nothing from each other become
one kernel, of which each has a range of the blocks. Kernels that are alike but for their arrays (the updates of equal
layers) share one body, which chooses its pointers by the number of the block.

Worked example, `x + 1` for 100 arrays of 8 numbers, and for two of 5:

    kernel(a0.0.0, a1.0.0, .., a0.0.99, a1.0.99, a0.1.0, a1.1.0, a0.1.1, a1.1.1) grid 102, block 8
      if group < 100
        a0.0, a1.0 = (a0.0.0, a1.0.0; ..; a0.0.99, a1.0.99)[group]
        a1.0[local] = a0.0[local] + 1
      else
        for block in group - 100 .. group - 99
          a0.1, a1.1 = (..)[block]
          if local < 5: a1.1[local] = a0.1[local] + 1

**The rule.** A launch costs microseconds, a block that looks for its work some tens of instructions, so what can be
merged is: kernels of one output point a thread or a few (no shared memory, no barriers: their blocks may have any
number of threads), as many as the device takes pointers for. A kernel moves up to the first of its companions, if all
it reads has been written by then and nothing in between still reads an array that it may overwrite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ftiny.core import Atom, Var
from ftiny.lowering.emit_c import emit
from ftiny.lowering.expr import Axis, Expr, compare, const, is_const, load, topological, transform, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify
from ftiny.lowering.kernel import (
    EXCHANGES,
    Assign,
    Atomic,
    Choose,
    Declare,
    For,
    If,
    Kernel,
    Param,
    Stmt,
    Store,
    group,
    local,
    stmt_exprs,
    walk,
)
from ftiny.lowering.plan import Item, Kernels

POINTER_BYTES = 8


def side_by_side(items: Iterable[Item], dialect: str, parameter_bytes: int) -> list[Item]:
    """The items with independent small kernels merged."""
    result: list[Item | _Bundle] = []
    bundle: _Bundle | None = None
    for item in items:
        if not isinstance(item, Kernels) or not is_small(item):
            if bundle is not None:
                bundle.pass_over(item)
            result.append(item)
        elif bundle is not None and bundle.takes(item, parameter_bytes // POINTER_BYTES):
            bundle.members.append(item)
        else:
            bundle = _Bundle([item])
            result.append(bundle)
    return [i.merged(dialect) if isinstance(i, _Bundle) else i for i in result]


def is_small(item: Kernels) -> bool:
    """Whether an item is a single kernel whose blocks may have any number of threads."""
    if len(item.kernels) != 1 or item.scratch:
        return False
    (kernel,) = item.kernels
    if kernel.grid[1:] != (1, 1) or kernel.block[1:] != (1, 1) or not kernel.body:
        return False
    if not all(isinstance(s, Declare | Assign | Store | Atomic | For | If) for s in walk(kernel.body)):
        return False
    return not any(n.op in EXCHANGES for s in walk(kernel.body) for n in topological(stmt_exprs(s)))


@dataclass(eq=False)
class _Bundle:
    """Kernels to be merged, and what later items between them read and write."""

    members: list[Kernels]
    written: set[Var] = field(default_factory=set)
    read: set[Var] = field(default_factory=set)

    def pass_over(self, item: Item) -> None:
        """Note an item that stays behind the bundle."""
        self.written.update(item.writes)
        self.read.update(item.reads)

    def takes(self, item: Kernels, most: int) -> bool:
        """Whether an item may run where the bundle does."""
        if sum(len(m.variables) for m in self.members) + len(item.variables) > most:
            return False
        reads, overwrites = set(item.reads), {source for source, _ in item.in_place}
        for member in self.members:
            if reads & set(member.writes) or reads & {source for source, _ in member.in_place}:
                return False
            if overwrites & set(member.reads):
                return False
        return not (reads & self.written or overwrites & self.read)

    def merged(self, dialect: str) -> Kernels:
        """One item for them all."""
        if len(self.members) == 1:
            return self.members[0]
        kernel, variables = merge([(m.kernels[0], m.variables) for m in self.members])
        in_place = tuple(pair for m in self.members for pair in m.in_place)
        return Kernels((emit(kernel, dialect),), variables, (), in_place, (kernel,))


# ------------------------------------------------------------------------------------ one kernel of many


def merge(members: Sequence[tuple[Kernel, Mapping[str, Atom]]]) -> tuple[Kernel, dict[str, Atom]]:
    """The kernel that does the work of all, and what its parameters stand for."""
    alike: dict[tuple, list[tuple[Kernel, Mapping[str, Atom]]]] = {}
    for kernel, variables in members:
        key = kernel.body, kernel.grid, kernel.block, kernel.params
        alike.setdefault(key, []).append((kernel, variables))
    total = sum(k.grid[0] for k, _ in members)
    threads = max(k.block[0] for k, _ in members)
    params: list[Param] = []
    stands: dict[str, Atom] = {}
    branches: list[tuple[int, tuple[Stmt, ...]]] = []
    start = 0
    for number, group_ in enumerate(alike.values()):
        first = group_[0][0]
        for k, (kernel, variables) in enumerate(group_):
            params += [replace(p, name=f"{p.name}.{number}.{k}") for p in kernel.params]
            stands |= {f"{p.name}.{number}.{k}": variables[p.name] for p in kernel.params}
        branches.append((start, _branch(first, number, len(group_), start, total, threads)))
        start += first.grid[0] * len(group_)
    body = branches[-1][1]
    for (_, statements), (following, _) in reversed(list(zip(branches, branches[1:]))):
        body = (If(simplify(group(0, total) < following), statements, body),)
    kernels = [k for k, _ in members]
    text = hashlib.sha256(str(body).encode()).hexdigest()[:8]
    name = f"{kernels[0].name}_and_{len(kernels) - 1}_more_{text}"
    return Kernel(name, tuple(params), (total, 1, 1), (threads, 1, 1), body, sum(k.flops for k in kernels),
                  sum(k.bytes for k in kernels), tuple(sorted({e for k in kernels for e in k.equations}))), stands


def _branch(kernel: Kernel, number: int, count: int, start: int, total: int, threads: int) -> tuple[Stmt, ...]:
    """The work of `count` kernels that are alike, from block `start` on."""
    blocks = kernel.grid[0]
    here = Axis(f"block.{number}", blocks * count)
    block = axis_expr(here) if start else group(0, total)
    inner = simplify(block % blocks) if count > 1 else block
    thread = local(0, threads)
    names = tuple(p.name for p in kernel.params)
    chosen = {n: f"{n}.{number}" if count > 1 else f"{n}.{number}.0" for n in names}
    own = {s.name for s in walk(kernel.body) if isinstance(s, Declare)}
    own |= {s.result for s in walk(kernel.body) if isinstance(s, Atomic) and s.result is not None}

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        if node.op == "load":
            rank = node.attr[1]
            return load(chosen[node.attr[0]], args[:rank], node.dtype, *args[rank:])
        if node.op == "variable":
            return variable(f"{node.attr}.{number}", node.dtype) if node.attr in own else None
        if node.op == "special":
            return inner if node.attr[0] == "group" else thread
        return None

    body = _moved(kernel.body, lambda e: transform((e,), rewrite)[0], chosen, number)
    if kernel.block[0] < threads:
        body = (If(compare("lt", thread, const(kernel.block[0])), body),)
    if count > 1:
        rows = tuple(tuple(f"{n}.{number}.{k}" for n in names) for k in range(count))
        body = (Choose(tuple(chosen[n] for n in names), simplify(block // blocks), rows), *body)
    if block.op != "axis":
        return body
    # A loop of one turn: the number of the block within this range is an axis, whose bounds are known.
    first = simplify(group(0, total) - start)
    return (For(here, body, start=first, stop=simplify(first + 1)),)


def _moved(body: tuple[Stmt, ...], change: Callable[[Expr], Expr], buffers: Mapping[str, str],
           number: int) -> tuple[Stmt, ...]:
    """Statements with their expressions changed and their names made the branch's own."""
    def optional(expr: Expr | None) -> Expr | None:
        return None if expr is None else change(expr)

    result: list[Stmt] = []
    for stmt in body:
        match stmt:
            case Declare():
                result.append(replace(stmt, name=f"{stmt.name}.{number}", value=change(stmt.value)))
            case Assign():
                result.append(replace(stmt, name=f"{stmt.name}.{number}", value=change(stmt.value)))
            case Store():
                result.append(replace(stmt, buffer=buffers[stmt.buffer], offset=change(stmt.offset),
                                      value=change(stmt.value), guard=optional(stmt.guard)))
            case Atomic():
                result.append(replace(stmt, buffer=buffers[stmt.buffer], offset=change(stmt.offset),
                                      value=change(stmt.value), guard=optional(stmt.guard),
                                      result=None if stmt.result is None else f"{stmt.result}.{number}"))
            case For():
                result.append(replace(stmt, body=_moved(stmt.body, change, buffers, number),
                                      start=optional(stmt.start), stop=optional(stmt.stop)))
            case If():
                condition = change(stmt.condition)
                then = _moved(stmt.then, change, buffers, number)
                if is_const(condition, True):
                    result += then
                else:
                    result.append(If(condition, then, _moved(stmt.otherwise, change, buffers, number)))
    return tuple(result)
