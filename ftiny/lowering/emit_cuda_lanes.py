"""Takes vectors apart: from a kernel with lanes to one of scalars and wide accesses, for CUDA.

Input and output: `Kernel`. A vector variable becomes one scalar per lane; a vector load of neighbours at
an aligned offset becomes `WideLoad`s of at most 16 bytes each, such a store `WideStore`s; other vector
accesses become one access per lane. Wide accesses are made of `aligned` parameters and shared arrays only.

Worked example: `s: float32x4 = x[4*i + ramp(4)]` becomes `s.0, s.1, s.2, s.3 = wide x[4*i]`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ftiny.lowering.expr import (
    BFLOAT16,
    Expr,
    cast,
    const,
    load_guard,
    load_index,
    rebuild,
    topological,
    variable,
)
from ftiny.lowering.index import coefficient, multiple_of, simplify
from ftiny.lowering.kernel import (
    WIDE_BYTES,
    Assign,
    Choose,
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

NARROW = (np.dtype(np.float16), BFLOAT16)


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
        for stmt in (s for s in walk(kernel.body) if isinstance(s, Choose)):
            for k, name in enumerate(stmt.names):
                self.storage[name] = self.storage[stmt.rows[0][k]]
                self.aligned |= {name} if all(row[k] in self.aligned for row in stmt.rows) else set()
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
            places = self._wide_places(stmt.buffer, offset, lanes)
            if places:
                values = [self._stored(v, self.storage[stmt.buffer]) for v in values]
                size = lanes // len(places)
                return [*head, *(WideStore(stmt.buffer, place, tuple(values[k * size:(k + 1) * size]), guards[0])
                                 for k, place in enumerate(places))]
        offsets = [self.lane(offset, k, memo) for k in range(lanes)]
        return [*head, *(Store(stmt.buffer, o, v, g) for o, v, g in zip(offsets, values, guards))]

    def _stored(self, value: Expr, storage: np.dtype) -> Expr:
        """A value without the rounding to 16 bits that the store does anyway."""
        narrow = value.op == "cast" and value.dtype == storage and storage in NARROW
        return value.args[0] if narrow and value.args[0].dtype.kind in "fV" else value

    def _wide_places(self, buffer: str, offset: Expr, lanes: int) -> list[Expr]:
        """The scalar offsets of the wide accesses, one for every 16 bytes, that a vector access can be; none
        if it cannot."""
        size = self.storage[buffer].itemsize
        if lanes == 1 or lanes & (lanes - 1) or buffer not in self.aligned or size * lanes < 4 or size > 8:
            return []
        if coefficient(offset, ramp(lanes)) != 1:
            return []
        base, unit = self.lane(offset, 0, {}), min(lanes, WIDE_BYTES // size)
        if self.widths.of(base) != 1 or multiple_of(base) % unit:
            return []
        return [simplify(base + k) for k in range(0, lanes, unit)]

    def _wide_loads(self, roots: tuple[Expr, ...]) -> tuple[list[Stmt], dict[tuple[Expr, int], Expr]]:
        """WideLoads for the aligned vector loads under the roots, and what their lanes are called."""
        head: list[Stmt] = []
        memo: dict[tuple[Expr, int], Expr] = {}
        for node in topological(roots):
            lanes = self.widths.of(node)
            if node.op != "load" or lanes == 1 or load_guard(node)[0] is not None:
                continue
            storage = np.dtype(self.storage[node.attr[0]])
            places = self._wide_places(node.attr[0], simplify(load_index(node)[0]), lanes)
            if not places:
                continue
            self.count += 1
            names = tuple(f"{node.attr[0]}.w{self.count}.{k}" for k in range(lanes))
            size = lanes // len(places)
            head += [WideLoad(names[k * size:(k + 1) * size], node.attr[0], place, storage)
                     for k, place in enumerate(places)]
            memo |= {(node, k): cast(variable(n, storage), node.dtype) for k, n in enumerate(names)}
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
        if node.op in ("join", "lane"):
            return [(node.args[at], 0) if node.op == "join" else (node.args[0], node.attr)]
        shift = self.widths.of(node) if node.op == "high" else 0
        return [(a, at + shift if self.widths.of(a) > 1 else 0) for a in node.args]

    def _leaf(self, node: Expr, at: int) -> Expr:
        if node.op == "ramp":
            return const(at)
        if node.op == "variable" and self.widths.of(node) > 1:
            return variable(f"{node.attr}.{at}", node.dtype)
        return node

    def _rebuilt(self, node: Expr, args: list[Expr]) -> Expr:
        if node.op in ("low", "high", "join", "lane"):
            return args[0]
        new = rebuild(node, tuple(args))
        return simplify(new) if new.dtype.kind == "i" else new
