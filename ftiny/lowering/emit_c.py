"""The C-like printer that both dialects share: from a `Kernel` to the text of a C function.

Input: a checked `Kernel` and a `Dialect` (types, vector forms, loads, stores, builtin names). Output: a
`KernelSource`. Subexpressions that occur twice become `const` variables at their first use, so the text
grows with the DAG, not with its expansion. Operations without a builtin in the dialect are printed as
small functions from their definition in emit_math.py, only those that are used, each inside an include
guard so that the texts of several kernels may be joined into one program.

Worked example: the store y[i] = exp(x[i]) * exp(x[i]) prints (in a For over i) as

    const float t0 = exp_f32(x[i]);
    y[i] = t0 * t0;
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from ftiny.lowering import emit_math
from ftiny.lowering.emit_dialect import Access, Dialect
from ftiny.lowering.expr import (
    BFLOAT16,
    BOOL,
    COMPARISONS,
    INDEX,
    Expr,
    const,
    load_guard,
    load_index,
    topological,
    transform,
    variable,
)
from ftiny.lowering.index import coefficient, fits_32_bits, range_of, simplify
from ftiny.lowering.kernel import (
    Assign,
    Atomic,
    Await,
    Barrier,
    Choose,
    Comment,
    CopyAsync,
    CopyGroup,
    Declare,
    DeclareArray,
    For,
    If,
    Kernel,
    Leave,
    LoadMatrix,
    MatrixMultiply,
    Publish,
    Repeat,
    Stmt,
    Store,
    WideLoad,
    WideStore,
    Widths,
    check_kernel,
    ramp,
    stmt_exprs,
    stored_names,
    walk,
)
from ftiny.lowering.plan_types import KernelSource

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
F16 = np.dtype(np.float16)
I32, U32 = np.dtype(np.int32), np.dtype(np.uint32)
NARROW = (F16, BFLOAT16)
MAX_LINE = 88
NEVER_BOUND = frozenset({"const", "axis", "variable", "ramp", "special", "low", "high"})
INFIX = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "raw_div": "/", "raw_rem": "%",
         "raw_shl": "<<", "raw_shr": ">>",
         "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
RESERVED = frozenset(
    "auto bool break case char const continue default do double else enum extern float for goto half if inline int "
    "kernel global local constant private long register restrict return short signed sizeof static struct switch "
    "typedef union unsigned uint void volatile while exp log sin cos tan sqrt pow min max abs select".split())


def kind_of(node: Expr) -> np.dtype:
    """The dtype that arithmetic on this node really uses: float16 and bfloat16 compute in float32, and
    64-bit indices that provably fit are 32-bit."""
    if node.dtype in NARROW:
        return F32
    if node.dtype == INDEX and node.op != "variable" and fits_32_bits(node):
        return I32
    return node.dtype


def emit(kernel: Kernel, dialect: str) -> KernelSource:
    """The source of a kernel in the dialect called 'opencl' or 'cuda'.

    Raises:
        KernelError: the kernel breaks an invariant.
        ValueError: there is no such dialect.
    """
    if dialect == "opencl":
        from ftiny.lowering.emit_opencl import emit as emit_dialect
    elif dialect == "cuda":
        from ftiny.lowering.emit_cuda import emit as emit_dialect
    else:
        raise ValueError(f"no kernel dialect {dialect!r}; there are 'opencl' and 'cuda'")
    return emit_dialect(kernel)


def emit_with(kernel: Kernel, dialect: Dialect) -> KernelSource:
    """Print a kernel in a dialect."""
    check_kernel(kernel)
    printer = Printer(kernel, dialect)
    printer.ids(kernel.body)
    printer.block(kernel.body)
    body = "\n".join(printer.lines)
    head = dialect.signature(kernel, printer)
    helpers = "\n".join(printer.helpers.values())
    parts = [helpers, f"{head} {{\n{body}\n}}"]
    return KernelSource(kernel.name, "\n".join(p for p in parts if p) + "\n", kernel.name, kernel.params,
                        kernel.grid, kernel.block, shared_bytes(kernel), kernel.flops, kernel.bytes,
                        kernel.equations)


def shared_bytes(kernel: Kernel) -> int:
    """The shared memory of a kernel."""
    return sum(shared_size(s) for s in kernel.body if isinstance(s, DeclareArray) and s.scope == "shared")


def shared_size(stmt: DeclareArray) -> int:
    """The bytes of a shared array; each starts at a multiple of 16."""
    return -(-stmt.size * stmt.dtype.itemsize // 16) * 16


class Printer:
    """Prints statements and expressions of one function; see the module docstring."""

    def __init__(self, kernel: Kernel | None, dialect: Dialect, helpers: dict[str, str] | None = None) -> None:
        self.dialect = dialect
        self.lines: list[str] = []
        self.depth = 1
        self.helpers: dict[str, str] = {} if helpers is None else helpers
        self.widths = Widths() if kernel is None else Widths(kernel.body)
        self.storage: dict[str, np.dtype] = {}
        self.spaces: dict[str, str] = {}
        self.uses: dict[Expr, int] = {}
        self.mutable: set[str] = set()
        self.depends_memo: dict[Expr, frozenset[str]] = {}
        self.bound: dict[Expr, str] = {}
        self.scopes: list[list[Expr]] = [[]]
        self.counters: dict[str, int] = {}
        if kernel is not None:
            self._survey(kernel)

    def _survey(self, kernel: Kernel) -> None:
        self.written = {p.name for p in kernel.params if p.written}
        for param in kernel.params:
            if param.kind == "pointer":
                self.storage[param.name], self.spaces[param.name] = param.dtype, "global"
        for stmt in walk(kernel.body):
            if isinstance(stmt, DeclareArray):
                self.storage[stmt.name], self.spaces[stmt.name] = stmt.dtype, stmt.scope
            elif isinstance(stmt, Choose):
                for name, like in zip(stmt.names, stmt.rows[0]):
                    self.storage[name], self.spaces[name] = self.storage[like], "global"
                    self.written |= {name} if like in self.written else set()
            elif isinstance(stmt, Assign):
                self.mutable.add(stmt.name)
            self.mutable.update(stored_names(stmt))

    def count(self, roots: Iterable[Expr]) -> None:
        """Count how often each node is used in a scope, to know what to bind there."""
        roots = list(roots)
        uses = self.uses = {}
        for root in roots:
            uses[root] = uses.get(root, 0) + 1
        for node in topological(roots):
            for argument in node.args:
                uses[argument] = uses.get(argument, 0) + 1

    # ------------------------------------------------------------------------------- statements

    def ids(self, body: tuple[Stmt, ...]) -> None:
        """The group and local ids that the body uses, as variables at the top."""
        nodes = topological(e for stmt in walk(body) for e in stmt_exprs(stmt))
        for which, dimension, _ in sorted(n.attr for n in nodes if n.op == "special"):
            self.line(f"const int {which}_{dimension} = {self.dialect.special(which, dimension)};")

    def line(self, text: str) -> None:
        """One line at the current depth."""
        self.lines.append("    " * self.depth + text)

    def block(self, body: tuple[Stmt, ...]) -> None:
        """Statements of one scope. Uses are counted scope by scope: what two loops use once each is
        computed in each of them."""
        outer = self.uses
        self.scopes.append([])
        self.count(e for stmt in walk(body) for e in stmt_exprs(stmt))
        here = self.uses
        for stmt in body:
            self.statement(stmt)
            self.uses = here
        for node in self.scopes.pop():
            self.bound.pop(node, None)
        self.uses = outer

    def statement(self, stmt: Stmt) -> None:
        """Print one statement."""
        match stmt:
            case Comment():
                self.line(f"// {stmt.text}")
            case Declare():
                self._declare(stmt)
            case DeclareArray():
                self.line(self.dialect.array(stmt, self.name(stmt.name)))
            case Assign():
                lanes = self.widths.variables[stmt.name]
                value = self.wide(stmt.value, self.declared_kind(stmt.value.dtype), lanes)
                self.line(f"{self.name(stmt.name)} = {bare(value)};")
                self.forget({stmt.name})
            case Store():
                self._store(stmt)
                self.forget({stmt.buffer})
            case Atomic():
                self._atomic(stmt)
                self.forget({stmt.buffer})
            case Publish() | Await():
                self.dialect.hand_over(self, stmt)
                self.forget(self.mutable & set(self.storage))
            case Choose():
                self._choose(stmt)
            case WideLoad():
                self.dialect.wide_load(self, stmt)
            case WideStore():
                self.dialect.wide_store(self, stmt)
                self.forget({stmt.buffer})
            case For():
                self._for(stmt)
            case If():
                self.line(f"if ({bare(self.text(stmt.condition))}) {{")
                self._nested(stmt.then)
                if stmt.otherwise:
                    self.line("} else {")
                    self._nested(stmt.otherwise)
                self.line("}")
            case Repeat():
                self._loop("for (;;)", stmt.body)
            case Leave():
                self.line(f"if ({bare(self.text(stmt.condition))}) break;")
            case Barrier():
                self.line(self.dialect.barrier(stmt.scope))
                self.forget(self.mutable & set(self.storage))
            case CopyAsync() | CopyGroup() | LoadMatrix() | MatrixMultiply():
                self.dialect.warp_statement(self, stmt)
                self.forget(set(stored_names(stmt)))

    def _nested(self, body: tuple[Stmt, ...]) -> None:
        self.depth += 1
        self.block(body)
        self.depth -= 1

    def _declare(self, stmt: Declare) -> None:
        kind = self.declared_kind(stmt.dtype)
        lanes = self.widths.variables[stmt.name]
        value = self.wide(stmt.value, kind, lanes)
        qualifier = "" if stmt.name in self.mutable else "const "
        self.line(f"{qualifier}{self.dialect.type_name(kind, lanes)} {self.name(stmt.name)} = {bare(value)};")

    def _for(self, stmt: For) -> None:
        start = "0" if stmt.start is None else bare(self.wide(stmt.start, I32, 1))
        stop = str(stmt.axis.extent) if stmt.stop is None else self.wide(stmt.stop, kind_of(stmt.stop), 1)
        name = self.name(stmt.axis.name)
        kind = I32 if stmt.axis.extent + stmt.step < 2**31 else INDEX
        step = f"{name}++" if stmt.step == 1 else f"{name} += {stmt.step}"
        if stmt.unroll:
            self.line("#pragma unroll" if stmt.unroll is True else f"#pragma unroll {stmt.unroll}")
        self._loop(f"for ({self.dialect.type_name(kind, 1)} {name} = {start}; {name} < {stop}; {step})", stmt.body)

    def _loop(self, head: str, body: tuple[Stmt, ...]) -> None:
        """A loop: what it changes is not known before a pass, nor after the last."""
        changed = changed_by(body)
        self.forget(changed)
        self.line(f"{head} {{")
        self._nested(body)
        self.line("}")
        self.forget(changed)

    def _choose(self, stmt: Choose) -> None:
        for name in stmt.names:
            self.line(f"{self.dialect.pointer(self.storage[name], name in self.written)} {self.name(name)};")
        self.line(f"switch ({bare(self.text(stmt.which))}) {{")
        for number, row in enumerate(stmt.rows):
            case = f"case {number}:" if number < len(stmt.rows) - 1 else "default:"
            chosen = " ".join(f"{self.name(n)} = {self.name(b)};" for n, b in zip(stmt.names, row))
            self.line(f"{case} {chosen} break;")
        self.line("}")

    def _store(self, stmt: Store) -> None:
        storage = self.storage[stmt.buffer]
        value = stmt.value
        if value.op == "cast" and value.dtype == storage and storage in NARROW and value.args[0].dtype.kind == "f":
            value = value.args[0]  # the store itself rounds
        lanes = self.lanes(simplify(stmt.offset))
        kind = F32 if storage in NARROW else storage
        access = self.access(stmt.buffer, stmt.offset, kind, stmt.guard, None, lanes)
        text = self.converted(value, kind, access.lanes)
        self.dialect.store(self, access, text)

    def _atomic(self, stmt: Atomic) -> None:
        storage = self.storage[stmt.buffer]
        offset = self.text(simplify(stmt.offset))
        update = self.dialect.atomic(self, stmt, storage, offset, self.converted(stmt.value, storage, 1))
        if stmt.result is not None:
            self.line(f"const {self.dialect.type_name(storage, 1)} {self.name(stmt.result)} = {update};")
        elif stmt.guard is not None:
            self.line(f"if ({bare(self.text(stmt.guard))}) {update};")
        else:
            self.line(f"{update};")

    # ------------------------------------------------------------------------------ expressions

    def name(self, raw: str) -> str:
        """An identifier for a name of the IR."""
        clean = re.sub(r"\W", "_", raw)
        return clean + "_" if clean in RESERVED or clean[0].isdigit() else clean

    def declared_kind(self, dtype: np.dtype) -> np.dtype:
        """The kind of a declared variable (never narrowed by range)."""
        return F32 if dtype in NARROW else dtype

    def kind(self, node: Expr) -> np.dtype:
        """The kind of the printed text of a node."""
        return self.declared_kind(node.dtype) if node.op == "variable" else kind_of(node)

    def lanes(self, root: Expr) -> int:
        """Lanes of an expression."""
        return self.widths.of(root)

    def depends(self, root: Expr) -> frozenset[str]:
        """The mutable variables and buffers that a node's value depends on."""
        memo = self.depends_memo
        if root in memo:
            return memo[root]
        for node in topological((root,), memo.__contains__):
            names: frozenset[str] = frozenset()
            for argument in node.args:
                names = memo[argument] if not names else names | memo[argument]
            own = node.attr if node.op == "variable" else node.attr[0] if node.op == "load" else None
            if own in self.mutable:
                names = names | {own}
            memo[node] = names
        return memo[root]

    def forget(self, names: set[str]) -> None:
        """Drop bound subexpressions whose value may have changed."""
        if not self.mutable or not names:
            return
        for node in [n for n in self.bound if self.depends(n) & names]:
            del self.bound[node]

    def text(self, root: Expr) -> str:
        """Text of an expression, printing the variables it needs before it."""
        local: dict[Expr, str] = {}
        stack: list[tuple[Expr, bool]] = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if node in local:
                continue
            if node in self.bound:
                local[node] = self.bound[node]
            elif ready or not node.args:
                local[node] = self._bind(node, self._node(node, local))
            else:
                stack.append((node, True))
                if node.op == "load":
                    # A load prints its own offset in the form its access needs.
                    guard, other = load_guard(node)
                    arguments: tuple[Expr, ...] = () if guard is None else (guard, other)  # type: ignore[assignment]
                else:
                    arguments = node.args
                stack.extend((a, False) for a in reversed(arguments) if a not in local)
        return local[root]

    def _bind(self, node: Expr, text: str) -> str:
        if node.op in NEVER_BOUND or (self.uses.get(node, 0) < 2 and len(text) <= MAX_LINE):
            return text
        return self.bind(node, text)

    def bind(self, node: Expr, text: str) -> str:
        """Give a node's text a name in the current scope."""
        if re.fullmatch(r"\w+", text):
            return text
        kind, lanes = self.kind(node), self.lanes(node)
        name = self.fresh("t" if kind.kind == "f" else "m" if kind == BOOL else "i")
        self.line(f"const {self.dialect.type_name(kind, lanes)} {name} = {bare(text)};")
        self.bound[node] = name
        self.scopes[-1].append(node)
        return name

    def fresh(self, stem: str) -> str:
        """A new local name."""
        number = self.counters.get(stem, 0)
        self.counters[stem] = number + 1
        return f"{stem}{number}_"

    def wide(self, node: Expr, kind: np.dtype, lanes: int) -> str:
        """Text of a node as `kind` with `lanes` lanes, converting and spreading as needed."""
        text, own = self.text(node), self.kind(node)
        return self._fit(text, own, self.lanes(node), kind, lanes)

    def _fit(self, text: str, own: np.dtype, own_lanes: int, kind: np.dtype, lanes: int) -> str:
        if own != kind:
            text = self.dialect.convert(text, own, kind, own_lanes)
        return self.dialect.splat(text, kind, lanes) if lanes > own_lanes else text

    def converted(self, node: Expr, kind: np.dtype, lanes: int) -> str:
        """Text of a node as `kind` by value conversion (float to int saturates)."""
        if node.dtype.kind in "fV" and kind.kind in "iu":
            target = emit_math.expand_cast(variable("x", F32), kind)
            assert target is not None
            return self._call("cast", kind, [self.wide(node, self.kind(node), lanes)], [self.kind(node)], lanes)
        return self.wide(node, kind, lanes)

    def _node(self, node: Expr, local: dict[Expr, str]) -> str:
        op, attr, dialect = node.op, node.attr, self.dialect
        if op == "const":
            return dialect.literal(attr, self.kind(node))
        if op in ("axis", "variable"):
            return self.name(attr.name if op == "axis" else attr)
        if op == "special":
            return f"{attr[0]}_{attr[1]}"
        if op == "ramp":
            return dialect.literal_ramp(attr)
        if op == "load":
            return self._load(node)
        if op in ("low", "high"):
            return f"{local[node.args[0]]}.{'lo' if op == 'low' else 'hi'}"
        if op == "join":
            return dialect.join([self._fit(local[a], self.kind(a), 1, self.kind(node), 1) for a in node.args],
                                self.kind(node))
        if op == "lane":
            return dialect.lane(local[node.args[0]], attr, self.kind(node))
        if op in ("shuffle_xor", "shuffle_up"):
            return dialect.shuffle(op.removeprefix("shuffle_"), local[node.args[0]], str(attr))
        if op == "shuffle_from":
            return dialect.shuffle("from", local[node.args[0]], bare(local[node.args[1]]))
        return self._operation(node, local)

    def _operation(self, node: Expr, local: dict[Expr, str]) -> str:
        """Everything that is computed: infix, select, conversions, functions."""
        op, lanes, kind = node.op, self.lanes(node), self.kind(node)
        kinds = [self.kind(a) for a in node.args]
        texts = [local[a] for a in node.args]
        if op == "cast":
            return self._cast(node, texts[0], kinds[0], kind, lanes)
        if op == "bitcast":
            return self._bitcast(node, texts[0], kinds[0], kind, lanes)
        if op == "raw_cast":
            return self.dialect.convert(texts[0], kinds[0], kind, lanes)
        if op == "select":
            return self._select(node, texts, kinds, kind, lanes)
        # The kind to compute in: an int64 index that fits may have operands that do not.
        common = kinds[0] if op in COMPARISONS else kind
        if node.args[0].dtype == INDEX:
            common = INDEX if INDEX in kinds or (kind == INDEX and op not in COMPARISONS) else I32
        if op in ("floordiv", "mod"):
            plain = self._index_division(node, texts, kinds, common, lanes)
            if plain is not None:
                return self._fit(plain, common, lanes, kind, lanes)
        if op == "neg":
            return f"(-{texts[0]})"
        if op == "not":
            return self._not(texts[0], kind, lanes)
        infix = op in INFIX and not (kinds[0] == BOOL and op in ("add", "sub", "mul"))
        if infix or (op == "div" and kind.kind == "f"):
            return self._infix(node, texts, kinds, common, kind, lanes)
        return self._function(node, texts, kinds, common, kind, lanes)

    def _infix(self, node: Expr, texts: list[str], kinds: list[np.dtype], common: np.dtype, kind: np.dtype,
               lanes: int) -> str:
        op = node.op
        spread = common == BOOL or lanes == 1
        x, y = (self._fit(t, k, self.lanes(a), common, lanes if spread else self.lanes(a))
                for t, k, a in zip(texts, kinds, node.args))
        if common == BOOL and lanes == 1 and op in ("and", "or"):
            return f"({x} {INFIX[op] * 2} {y})"
        if common == BOOL and op == "xor":
            return f"({x} {'!=' if lanes == 1 else '^'} {y})"
        text = f"({x} {INFIX.get(op, '/')} {y})"
        if op in COMPARISONS:
            return text if lanes == 1 else self.dialect.mask(text, common, lanes)
        if common.kind in "iu" and common.itemsize < 4 and lanes == 1:
            return f"({self.dialect.type_name(common, 1)}){text}"
        return self._fit(text, common, lanes, kind, lanes)

    def _not(self, text: str, kind: np.dtype, lanes: int) -> str:
        if kind == BOOL and lanes == 1:
            return f"(!{text})"
        cast = f"({self.dialect.type_name(kind, 1)})" if kind.itemsize < 4 and lanes == 1 else ""
        return f"({cast}(~{text}))" if cast else f"(~{text})"

    def _select(self, node: Expr, texts: list[str], kinds: list[np.dtype], kind: np.dtype, lanes: int) -> str:
        condition = node.args[0]
        yes = self._fit(texts[1], kinds[1], self.lanes(node.args[1]), kind, lanes)
        no = self._fit(texts[2], kinds[2], self.lanes(node.args[2]), kind, lanes)
        if self.lanes(condition) == 1:
            return f"({texts[0]} ? {yes} : {no})"
        return self.dialect.choose(texts[0], yes, no, kind, lanes)

    def _index_division(self, node: Expr, texts: list[str], kinds: list[np.dtype], common: np.dtype,
                        lanes: int) -> str | None:
        x, y = node.args
        if y.op != "const" or y.attr <= 0:
            return None
        left = self._fit(texts[0], kinds[0], self.lanes(x), common, self.lanes(x))
        if y.attr & (y.attr - 1) == 0:
            if node.op == "floordiv":
                return f"({left} >> {y.attr.bit_length() - 1})"
            return f"({left} & {self.dialect.literal(y.attr - 1, common)})"
        if range_of(x)[0] < 0:
            return None
        return f"({left} {'/' if node.op == 'floordiv' else '%'} {self.dialect.literal(y.attr, common)})"

    def _cast(self, node: Expr, text: str, source: np.dtype, kind: np.dtype, lanes: int) -> str:
        argument = node.args[0]
        if argument.dtype.kind in "fV" and node.dtype.kind in "iu":
            return self._fit(self._call("cast", node.dtype, [text], [source], lanes), node.dtype, lanes, kind, lanes)
        if node.dtype in NARROW and argument.dtype != node.dtype and argument.dtype != BOOL:
            single = self._fit(text, source, lanes, F32, lanes)
            return self.dialect.round_to(self, single, node.dtype, lanes)
        return self._fit(text, source, lanes, kind, lanes)

    def _bitcast(self, node: Expr, text: str, source: np.dtype, kind: np.dtype, lanes: int) -> str:
        argument = node.args[0]
        if argument.dtype in NARROW:
            bits = self.dialect.pack(self, text, argument.dtype, lanes)
            u16 = np.dtype(np.uint16)
            return bits if node.dtype == u16 else self.dialect.unpack(self, bits, node.dtype, lanes) \
                if node.dtype in NARROW else self.dialect.reinterpret(bits, u16, kind, lanes)
        if node.dtype in NARROW:
            u16 = np.dtype(np.uint16)
            bits = text if source == u16 else self.dialect.reinterpret(text, source, u16, lanes)
            return self.dialect.unpack(self, bits, node.dtype, lanes)
        if argument.dtype == INDEX:  # bits of a narrowed index are those of the 64-bit value
            text, source = self._fit(text, source, lanes, INDEX, lanes), INDEX
        text = self.dialect.reinterpret(text, source, node.dtype, lanes)
        return self._fit(text, node.dtype, lanes, kind, lanes)

    def _function(self, node: Expr, texts: list[str], kinds: list[np.dtype], common: np.dtype, kind: np.dtype,
                  lanes: int) -> str:
        op = node.op
        if node.args[0].dtype == INDEX:
            wanted = [common] * len(kinds)
        elif op in ("is_finite", "is_nan"):
            wanted = kinds[:1]
        else:
            wanted = [kind] * len(kinds)
        arguments = [self._fit(t, k, self.lanes(a), w, lanes)
                     for t, k, w, a in zip(texts, kinds, wanted, node.args)]
        result = BOOL if kind == BOOL else wanted[0]
        text = self._call(op, result, arguments, wanted, lanes)
        return self._fit(text, result, lanes, kind, lanes)

    def _call(self, op: str, kind: np.dtype, arguments: list[str], kinds: list[np.dtype], lanes: int) -> str:
        """A call of the dialect's function, or of a helper printed from its definition."""
        own = self.dialect.builtin(op, kinds[0]) if op != "cast" else None
        if own is not None:
            text = f"{own}({', '.join(bare(a) for a in arguments)})"
            if kind.kind in "iu" and kind.itemsize < 4 and lanes == 1:
                text = f"({self.dialect.type_name(kind, 1)}){text}"
            return text
        return f"{self.helper(op, kind, kinds, lanes)}({', '.join(bare(a) for a in arguments)})"

    def helper(self, op: str, kind: np.dtype, kinds: list[np.dtype], lanes: int) -> str:
        """The name of the helper function for `op`, printed on first use from emit_math's definition."""
        suffix = f"x{lanes}" if lanes > 1 else ""
        distinct = "_".join(dict.fromkeys(short_name(k) for k in kinds))
        target = f"_to_{short_name(kind)}" if op == "cast" else ""
        name = f"{op}_{distinct}{target}{suffix}"
        if name in self.helpers:
            return name
        own = self.dialect.helper(op, kind, name)
        if own is not None:
            return self.add_helper(name, own)
        parameters = [variable(p, k) for p, k in zip("xyz", kinds)]
        definition = emit_math.define(op, kind, parameters)
        if definition is None:
            raise NotImplementedError(f"{self.dialect.name} has no {op} for {kinds[0]}")
        inner = Printer(None, self.dialect, self.helpers)
        inner.widths.variables = dict.fromkeys("xyz"[: len(kinds)], lanes)
        inner.written = set()
        inner.count((definition,))
        result = inner.wide(definition, kind, lanes)
        inner.line(f"return {bare(result)};")
        params = ", ".join(f"{self.dialect.type_name(k, lanes)} {p}" for p, k in zip("xyz", kinds))
        head = self.dialect.function_head(self.dialect.type_name(kind, lanes), name, params)
        self.add_helper(name, f"{head} {{\n" + "\n".join(inner.lines) + "\n}")
        return name

    def add_helper(self, name: str, text: str) -> str:
        """Register a helper function's text under an include guard; returns its name."""
        if name not in self.helpers:
            self.helpers[name] = f"#ifndef ftiny_{name}\n#define ftiny_{name}\n{text}\n#endif"
        return name

    # ----------------------------------------------------------------------------------- memory

    def _load(self, node: Expr) -> str:
        name = node.attr[0]
        guard, other = load_guard(node)
        access = self.access(name, load_index(node)[0], self.kind_in_memory(node), guard, other, self.lanes(node))
        text = self.dialect.load(self, access)
        stored = F32 if access.storage in NARROW else access.storage
        return self._fit(text, stored, access.lanes, self.kind(node), access.lanes)

    def kind_in_memory(self, node: Expr) -> np.dtype:
        """The kind in which a load hands over its element, before conversion to the load's dtype."""
        storage = self.storage[node.attr[0]]
        return F32 if storage in NARROW else storage

    def access(self, name: str, offset: Expr, kind: np.dtype, guard: Expr | None, other: Expr | None,
               lanes: int) -> Access:
        """Work out the form of an access; see `Access`."""
        offset = simplify(offset)
        base = offsets = ""
        if lanes == 1:
            form, base = "scalar", self.text(offset)
        elif coefficient(offset, ramp(lanes)) == 1 and self._linear_rest(offset, ramp(lanes)):
            form, base = "contiguous", self.text(at_lane_zero(offset, ramp(lanes)))
        else:
            form, offsets = "lanes", self.wide(offset, kind_of(offset), lanes)
            if not re.fullmatch(r"\w+", offsets):
                offsets = self._named(offsets, kind_of(offset), lanes)
        guard_lanes = 0 if guard is None else self.lanes(guard)
        wide_other = "" if other is None else self.wide(other, kind, 1 if form == "scalar" else lanes)
        return Access(self.name(name), self.spaces[name], self.storage[name], kind, lanes if form != "scalar" else 1,
                      form, bare(base), offsets, None if guard is None else self.text(guard), guard_lanes, wide_other,
                      name not in self.written, kind_of(offset) == INDEX)

    def _linear_rest(self, offset: Expr, lane: Expr) -> bool:
        """Whether the rest of a contiguous offset is scalar (no other vector is in it)."""
        return self.lanes(at_lane_zero(offset, lane)) == 1

    def _named(self, text: str, kind: np.dtype, lanes: int) -> str:
        name = self.fresh("i")
        self.line(f"const {self.dialect.type_name(kind, lanes)} {name} = {bare(text)};")
        return name


def changed_by(body: tuple[Stmt, ...]) -> set[str]:
    """The variables and buffers that statements assign or store to."""
    changed: set[str] = set()
    for stmt in walk(body):
        if isinstance(stmt, Assign):
            changed.add(stmt.name)
        changed.update(stored_names(stmt))
    return changed


def at_lane_zero(offset: Expr, lane: Expr) -> Expr:
    """The offset of the first lane."""
    zero = transform((offset,), lambda node, _: const(0) if node is lane else None)[0]
    return simplify(zero)


def short_name(kind: np.dtype) -> str:
    """f32, i64, u8, b1: as helper names have it."""
    return "b1" if kind == BOOL else f"{kind.kind}{8 * kind.itemsize}"


def bare(text: str) -> str:
    """Text without one pair of outer parentheses that enclose all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1]


def float_text(value: float, kind: np.dtype) -> str:
    """Shortest decimal text that reads back as the same float, without suffix; finite values only."""
    text = repr(float(value)) if kind == F64 else str(np.float32(value))
    return text if any(c in text for c in ".e") else text + ".0"


def is_special(value: float) -> str | None:
    """'inf', '-inf' or 'nan' for values without a literal."""
    if math.isnan(value):
        return "nan"
    return None if math.isfinite(value) else ("inf" if value > 0 else "-inf")
