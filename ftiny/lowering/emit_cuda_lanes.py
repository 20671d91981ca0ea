"""Takes vectors apart: from a kernel with lanes to one of scalars and wide accesses, for CUDA.

Input and output: `Kernel`. A vector variable becomes one scalar per lane; a vector load of 2 or 4
neighbours at an aligned offset becomes a `WideLoad`, such a store a `WideStore`; other vector accesses
become one access per lane. Wide accesses are made of `aligned` parameters only.

Worked example: `s: float32x4 = x[4*i + ramp(4)]` becomes `s.0, s.1, s.2, s.3 = wide x[4*i]`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ftiny.lowering.expr import Expr, const, load_guard, load_index, rebuild, topological, variable
from ftiny.lowering.index import coefficient, multiple_of, simplify
from ftiny.lowering.kernel import (
    WIDE_BYTES,
    Assign,
    Declare,
    DeclareArray,
    For,
    If,
    Kernel,
    Repeat,
    Stmt,
    Store,
    WideLoad,
    WideStore,
    Widths,
    ramp,
    stmt_exprs,
    walk,
)


def scalarise(kernel: Kernel) -> Kernel:
    """The same kernel without vectors."""
    if not any(n.op == "ramp" for s in walk(kernel.body) for n in topological(stmt_exprs(s))) and \
            all(s.lanes <= 1 for s in walk(kernel.body) if isinstance(s, Declare)):
        return kernel
    return replace(kernel, body=tuple(_Scalariser(kernel).block(kernel.body)))


class _Scalariser:
    def __init__(self, kernel: Kernel) -> None:
        self.widths = Widths(kernel.body)
        self.storage = {p.name: p.dtype for p in kernel.params if p.kind == "pointer"}
        self.storage |= {s.name: s.dtype for s in walk(kernel.body) if isinstance(s, DeclareArray)}
        # Private arrays start wherever the compiler puts them.
        self.aligned = {p.name for p in kernel.params if p.kind == "pointer" and p.aligned}
        self.aligned |= {s.name for s in walk(kernel.body) if isinstance(s, DeclareArray) and s.scope == "shared"}
        self.count = 0

    def block(self, body: tuple[Stmt, ...]) -> list[Stmt]:
        """Every statement taken apart."""
        return [s for stmt in body for s in self.statement(stmt)]

    def statement(self, stmt: Stmt) -> list[Stmt]:
        """One statement as scalar ones."""
        if isinstance(stmt, For | Repeat):
            return [replace(stmt, body=tuple(self.block(stmt.body)))]
        if isinstance(stmt, If):
            return [replace(stmt, then=tuple(self.block(stmt.then)), otherwise=tuple(self.block(stmt.otherwise)))]
        if isinstance(stmt, Declare | Assign):
            return self._variable(stmt)
        return self._store(stmt) if isinstance(stmt, Store) else [stmt]

    def _variable(self, stmt: Declare | Assign) -> list[Stmt]:
        lanes = self.widths.variables[stmt.name]
        head, memo = self._wide_loads((stmt.value,))
        values = [self.lane(stmt.value, k, memo) for k in range(lanes)]
        names = [stmt.name] if lanes == 1 else [f"{stmt.name}.{k}" for k in range(lanes)]
        if isinstance(stmt, Declare):
            return [*head, *(Declare(n, stmt.dtype, v) for n, v in zip(names, values))]
        if lanes == 1:
            return [*head, Assign(stmt.name, values[0])]
        # Lanes may be exchanged by the assignment, so all are computed before any is set.
        self.count += 1
        fresh = [f"{n}.new{self.count}" for n in names]
        return [*head, *(Declare(n, v.dtype, v) for n, v in zip(fresh, values)),
                *(Assign(n, variable(f, v.dtype)) for n, f, v in zip(names, fresh, values))]

    def _store(self, stmt: Store) -> list[Stmt]:
        offset = simplify(stmt.offset)
        lanes = max(self.widths.of(offset), 1 if stmt.guard is None else self.widths.of(stmt.guard))
        head, memo = self._wide_loads(stmt_exprs(stmt))
        values = [self.lane(stmt.value, k, memo) for k in range(lanes)]
        guards = [None if stmt.guard is None else self.lane(stmt.guard, k, memo) for k in range(lanes)]
        if all(g is guards[0] for g in guards):
            base = self._wide_base(stmt.buffer, offset, lanes)
            if base is not None:
                return [*head, WideStore(stmt.buffer, base, tuple(values), guards[0])]
        offsets = [self.lane(offset, k, memo) for k in range(lanes)]
        return [*head, *(Store(stmt.buffer, o, v, g) for o, v, g in zip(offsets, values, guards))]

    def _wide_base(self, buffer: str, offset: Expr, lanes: int) -> Expr | None:
        """The scalar offset of a wide access, if it can be one."""
        storage = self.storage[buffer]
        if lanes not in (2, 4) or buffer not in self.aligned or storage.itemsize < 4 or storage.kind not in "iuf":
            return None
        if storage.itemsize * lanes > WIDE_BYTES or coefficient(offset, ramp(lanes)) != 1:
            return None
        base = self.lane(offset, 0, {})
        return base if self.widths.of(base) == 1 and multiple_of(base) % lanes == 0 else None

    def _wide_loads(self, roots: tuple[Expr, ...]) -> tuple[list[Stmt], dict[tuple[Expr, int], Expr]]:
        """WideLoads for the aligned vector loads under the roots, and what their lanes are called."""
        head: list[Stmt] = []
        memo: dict[tuple[Expr, int], Expr] = {}
        for node in topological(roots):
            lanes = self.widths.of(node)
            if node.op != "load" or lanes == 1 or load_guard(node)[0] is not None:
                continue
            base = self._wide_base(node.attr[0], simplify(load_index(node)[0]), lanes)
            storage = self.storage[node.attr[0]]
            if base is None or storage != node.dtype:
                continue
            self.count += 1
            names = tuple(f"{node.attr[0]}.w{self.count}.{k}" for k in range(lanes))
            head.append(WideLoad(names, node.attr[0], base, np.dtype(storage)))
            memo |= {(node, k): variable(n, node.dtype) for k, n in enumerate(names)}
        return head, memo

    def lane(self, root: Expr, k: int, memo: dict[tuple[Expr, int], Expr]) -> Expr:
        """The scalar expression of one lane."""
        stack = [((root, k if self.widths.of(root) > 1 else 0), False)]
        while stack:
            (node, at), ready = stack.pop()
            if (node, at) in memo:
                continue
            arguments = self._arguments(node, at)
            if not ready and arguments:
                stack.append(((node, at), True))
                stack.extend((a, False) for a in arguments if a not in memo)
                continue
            done = self._rebuilt(node, [memo[a] for a in arguments]) if arguments else self._leaf(node, at)
            memo[node, at] = done
        return memo[root, k if self.widths.of(root) > 1 else 0]

    def _arguments(self, node: Expr, at: int) -> list[tuple[Expr, int]]:
        shift = self.widths.of(node) if node.op == "high" else 0
        return [(a, at + shift if self.widths.of(a) > 1 else 0) for a in node.args]

    def _leaf(self, node: Expr, at: int) -> Expr:
        if node.op == "ramp":
            return const(at)
        if node.op == "variable" and self.widths.of(node) > 1:
            return variable(f"{node.attr}.{at}", node.dtype)
        return node

    def _rebuilt(self, node: Expr, args: list[Expr]) -> Expr:
        if node.op in ("low", "high"):
            return args[0]
        new = rebuild(node, tuple(args))
        return simplify(new) if new.dtype.kind == "i" else new
