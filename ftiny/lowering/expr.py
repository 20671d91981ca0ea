"""Scalar expressions: the value of one element, and where it lies, as one hash-consed DAG.

An `Expr` is an operation on other `Expr`s with a dtype. Index arithmetic and value arithmetic are the
same kind of thing: an index is an expression of dtype int64 over `axis` leaves, a value is an
expression over `load` leaves whose indices are index expressions. Equal expressions are the same
object (within one generation of the table), so walks are memoised by identity and a subexpression that
is used twice is emitted once.

Worked example, the element [i, j] of `exp(x) + 1` with x transposed:

    i, j = axis(Axis("i", 3)), axis(Axis("j", 5))
    x = load("x", (j, i), dtype("float32"))
    y = math("exp", x) + 1.0          # prints as: exp(x[j, i]) + 1.0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ftiny.lowering.expr_numpy import EVALUATE, evaluate_op

INDEX = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
BITWISE = ("and", "or", "xor", "not", "shift_left", "shift_right_logical", "shift_right_arithmetic")


@dataclass(frozen=True)
class Axis:
    """A loop index: a name, unique within its nest, and how many values it takes (0 .. extent-1)."""

    name: str
    extent: int

    def __str__(self) -> str:
        return f"{self.name}:{self.extent}"


class Expr:
    """One node of the DAG: `op` applied to `args`, giving `dtype`; `attr` is what is not an Expr.

    Never construct it directly: use the functions of this module, which share equal nodes.
    """

    # range and simple are index.py's memo: filled on first request, None until then.
    __slots__ = ("op", "args", "dtype", "attr", "range", "simple")
    op: str
    args: tuple[Expr, ...]
    dtype: np.dtype
    attr: Any
    range: tuple[int, int] | None
    simple: Expr | None

    def __add__(self, other: ExprLike) -> Expr:
        return add(self, as_expr(other, self.dtype))

    def __radd__(self, other: ExprLike) -> Expr:
        return add(as_expr(other, self.dtype), self)

    def __sub__(self, other: ExprLike) -> Expr:
        return sub(self, as_expr(other, self.dtype))

    def __rsub__(self, other: ExprLike) -> Expr:
        return sub(as_expr(other, self.dtype), self)

    def __mul__(self, other: ExprLike) -> Expr:
        return mul(self, as_expr(other, self.dtype))

    def __rmul__(self, other: ExprLike) -> Expr:
        return mul(as_expr(other, self.dtype), self)

    def __truediv__(self, other: ExprLike) -> Expr:
        return div(self, as_expr(other, self.dtype))

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return div(as_expr(other, self.dtype), self)

    def __floordiv__(self, other: ExprLike) -> Expr:
        return floordiv(self, as_expr(other, self.dtype))

    def __mod__(self, other: ExprLike) -> Expr:
        return mod(self, as_expr(other, self.dtype))

    def __neg__(self) -> Expr:
        return math("neg", self)

    def __and__(self, other: ExprLike) -> Expr:
        return bitwise("and", self, as_expr(other, self.dtype))

    def __or__(self, other: ExprLike) -> Expr:
        return bitwise("or", self, as_expr(other, self.dtype))

    def __xor__(self, other: ExprLike) -> Expr:
        return bitwise("xor", self, as_expr(other, self.dtype))

    def __invert__(self) -> Expr:
        return bitwise("not", self)

    def __lt__(self, other: ExprLike) -> Expr:
        return compare("lt", self, as_expr(other, self.dtype))

    def __le__(self, other: ExprLike) -> Expr:
        return compare("le", self, as_expr(other, self.dtype))

    def __gt__(self, other: ExprLike) -> Expr:
        return compare("gt", self, as_expr(other, self.dtype))

    def __ge__(self, other: ExprLike) -> Expr:
        return compare("ge", self, as_expr(other, self.dtype))

    def __bool__(self) -> bool:
        raise TypeError(f"an Expr has no truth value while a kernel is being built: {self}; "
                        "use select(condition, a, b)")

    def __repr__(self) -> str:
        return show(self)

    def __reduce__(self) -> tuple:
        return _intern, (self.op, self.args, self.dtype, self.attr)


ExprLike = Expr | int | float | bool

_TABLE: dict[tuple, Expr] = {}
_TABLE_LIMIT = 400_000


def _intern(op: str, args: tuple[Expr, ...], dtype: np.dtype, attr: Any = None, key: Any = None) -> Expr:
    """The one node for these parts. `key` stands for `attr` where attr is not hashable by value."""
    full_key = (op, args, dtype, attr if key is None else key)
    found = _TABLE.get(full_key)
    if found is not None:
        return found
    if len(_TABLE) > _TABLE_LIMIT:
        # Losing the table loses sharing with older nodes, never correctness: nothing compares old and
        # new nodes by identity.
        _TABLE.clear()
    node = object.__new__(Expr)
    node.op, node.args, node.dtype, node.attr = op, args, dtype, attr
    node.range = node.simple = None
    return _TABLE.setdefault(full_key, node)


def intern_node(op: str, args: tuple[Expr, ...], dtype: np.dtype, attr: Any = None) -> Expr:
    """A node of an operation that is not in this module's table (kernel.py's leaves), as it stands."""
    return _intern(op, args, np.dtype(dtype), attr)


# ---------------------------------------------------------------------------------------- leaves


def const(value: Any, dtype: np.dtype = INDEX) -> Expr:
    """The constant `value` (a Python or numpy scalar) in `dtype`; attr is the Python scalar."""
    dtype = np.dtype(dtype)
    if type(value) is int and dtype == INDEX:
        return _intern("const", (), dtype, value)
    stored = np.asarray(value).astype(dtype) if not isinstance(value, int) else _integer(value, dtype)
    if dtype.kind in "iu":
        return _intern("const", (), dtype, int(stored))
    scalar = stored.item() if dtype != BFLOAT16 else float(stored)
    return _intern("const", (), dtype, scalar, key=stored.tobytes())


def _integer(value: int, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu" and not isinstance(value, bool):
        bits = 8 * dtype.itemsize
        wrapped = value & ((1 << bits) - 1)
        if dtype.kind == "i" and wrapped >> (bits - 1):
            wrapped -= 1 << bits
        return np.array(wrapped, dtype)
    return np.asarray(value).astype(dtype)


def as_expr(value: ExprLike, dtype: np.dtype) -> Expr:
    """`value` itself if it is an Expr, otherwise the constant in `dtype`."""
    return value if isinstance(value, Expr) else const(value, dtype)


def axis(which: Axis) -> Expr:
    """The current value of a loop index, int64. An axis of extent 1 is the constant 0."""
    return const(0) if which.extent == 1 else _intern("axis", (), INDEX, which)


def load(name: str, index: Iterable[ExprLike], dtype: np.dtype, guard: Expr | None = None,
         other: ExprLike = 0) -> Expr:
    """Element `index` of the value called `name`; where `guard` is false the memory is not touched and
    the result is `other`. Args are the indices, then (with a guard) guard and other; attr is
    (name, rank)."""
    dtype = np.dtype(dtype)
    indices = tuple(as_expr(i, INDEX) for i in index)
    attr = (name, len(indices))
    if guard is None or is_const(guard, True):
        return _intern("load", indices, dtype, attr)
    other = as_expr(other, dtype)
    if is_const(guard, False):
        return other
    if other.dtype != dtype:
        raise TypeError(f"load of {name}: other is {other.dtype}, the load is {dtype}")
    return _intern("load", (*indices, guard, other), dtype, attr)


def variable(name: str, dtype: np.dtype) -> Expr:
    """A scalar or vector variable that a kernel statement declares (used by schedules only)."""
    return _intern("variable", (), np.dtype(dtype), name)


def load_index(node: Expr) -> tuple[Expr, ...]:
    """The index expressions of a load node."""
    return node.args[: node.attr[1]]


def load_guard(node: Expr) -> tuple[Expr | None, Expr | None]:
    """(guard, other) of a load node, or (None, None) for an unguarded one."""
    rank = node.attr[1]
    return (node.args[rank], node.args[rank + 1]) if len(node.args) > rank else (None, None)


def is_const(node: Expr, value: Any = None) -> bool:
    """Whether `node` is a constant, and (if a value is given) that one; -0.0 is not 0.0."""
    if node.op != "const":
        return False
    if value is None:
        return True
    if node.attr != value:
        return False
    return value != 0 or not isinstance(node.attr, float) or str(node.attr) == str(float(value))


# ------------------------------------------------------------------------------------ operations


def _same(op: str, x: Expr, y: Expr) -> None:
    if x.dtype != y.dtype:
        raise TypeError(f"{op} of {x.dtype} and {y.dtype}: {show(x)} and {show(y)}; cast one of them")


def _apply(op: str, args: tuple[Expr, ...], dtype: np.dtype, attr: Any = None) -> Expr:
    """Intern the operation, folding it when all operands are constants."""
    for argument in args:
        if argument.op != "const":
            return _intern(op, args, dtype, attr)
    values = [np.asarray(a.attr).astype(a.dtype) for a in args]
    return const(evaluate_op(op, values, dtype), dtype)


def add(x: Expr, y: Expr) -> Expr:
    """x + y, equal dtypes."""
    _same("add", x, y)
    if x.op == "const":
        x, y = y, x
    if x.dtype.kind in "iub" and y.op == "const":
        if y.attr == 0:
            return x
        if x.op == "add" and x.args[1].op == "const":
            return add(x.args[0], _apply("add", (x.args[1], y), x.dtype))
    if y.op == "neg" and x.dtype.kind not in "iub":
        return _apply("sub", (x, y.args[0]), x.dtype)
    return _apply("add", (x, y), x.dtype)


def sub(x: Expr, y: Expr) -> Expr:
    """x - y, equal dtypes; for integers this is x + (-1)*y, so that sums have one normal form."""
    _same("sub", x, y)
    if x.dtype.kind in "iub":
        return add(x, mul(y, const(-1, x.dtype)))
    return _apply("sub", (x, y), x.dtype)


def mul(x: Expr, y: Expr) -> Expr:
    """x * y, equal dtypes."""
    _same("mul", x, y)
    if x.op == "const":
        x, y = y, x
    if y.op == "const":
        if y.attr == 1:
            return x
        if x.dtype.kind in "iub":
            if y.attr == 0:
                return y
            if x.op == "mul" and x.args[1].op == "const":
                return mul(x.args[0], _apply("mul", (x.args[1], y), x.dtype))
    return _apply("mul", (x, y), x.dtype)


def div(x: Expr, y: Expr) -> Expr:
    """x / y; integers truncate towards zero and x / 0 is -1, as in XLA."""
    _same("div", x, y)
    return x if is_const(y, 1) else _apply("div", (x, y), x.dtype)


def rem(x: Expr, y: Expr) -> Expr:
    """Remainder with the dividend's sign; for integers x rem 0 is x, as in XLA."""
    _same("rem", x, y)
    return _apply("rem", (x, y), x.dtype)


def power(x: Expr, y: Expr) -> Expr:
    """x to the power y; y may be an integer expression beside a float x."""
    return _apply("pow", (x, y), x.dtype)


def floordiv(x: Expr, y: Expr) -> Expr:
    """Floor division, for index arithmetic: y is positive."""
    _same("floordiv", x, y)
    return x if is_const(y, 1) else _apply("floordiv", (x, y), x.dtype)


def mod(x: Expr, y: Expr) -> Expr:
    """x - y * floor(x / y), for index arithmetic: y is positive."""
    _same("mod", x, y)
    return const(0, x.dtype) if is_const(y, 1) else _apply("mod", (x, y), x.dtype)


def minimum(x: Expr, y: Expr) -> Expr:
    """The smaller of x and y; NaN if either is NaN."""
    _same("minimum", x, y)
    return x if x is y else _apply("minimum", (x, y), x.dtype)


def maximum(x: Expr, y: Expr) -> Expr:
    """The larger of x and y; NaN if either is NaN."""
    _same("maximum", x, y)
    return x if x is y else _apply("maximum", (x, y), x.dtype)


def compare(dir: str, x: Expr, y: Expr) -> Expr:
    """Bool: x dir y with dir one of eq ne lt le gt ge."""
    if dir not in COMPARISONS:
        raise ValueError(f"compare: unknown direction {dir!r}, expected one of {COMPARISONS}")
    _same(dir, x, y)
    if x is y and x.dtype.kind in "iub":
        return const(dir in ("eq", "le", "ge"), BOOL)
    return _apply(dir, (x, y), BOOL)


def bitwise(op: str, *args: Expr) -> Expr:
    """Bitwise (or, on bools, logical) and, or, xor, not, and the shifts of XLA."""
    if op not in BITWISE:
        raise ValueError(f"bitwise: unknown operation {op!r}, expected one of {BITWISE}")
    x = args[0]
    if op == "not":
        return x.args[0] if x.op == "not" else _apply("not", args, x.dtype)
    _same(op, x, args[1])
    if x.dtype == BOOL and op in ("and", "or"):
        neutral = op == "and"
        for this, that in ((x, args[1]), (args[1], x)):
            if this.op == "const":
                return that if this.attr == neutral else this
        if x is args[1]:
            return x
    return _apply(op, args, x.dtype)


def logical_and(*conditions: Expr) -> Expr:
    """All of the conditions; True for none."""
    result = const(True, BOOL)
    for condition in conditions:
        result = bitwise("and", result, condition)
    return result


def logical_or(*conditions: Expr) -> Expr:
    """Any of the conditions; False for none."""
    result = const(False, BOOL)
    for condition in conditions:
        result = bitwise("or", result, condition)
    return result


def logical_not(condition: Expr) -> Expr:
    """The negation of a bool expression."""
    return bitwise("not", condition)


def select(condition: Expr, on_true: Expr, on_false: Expr) -> Expr:
    """on_true where condition, else on_false. Both are evaluated: see `where` for guarded loads."""
    _same("select", on_true, on_false)
    if condition.op == "const":
        return on_true if condition.attr else on_false
    if on_true is on_false:
        return on_true
    return _apply("select", (condition, on_true, on_false), on_true.dtype)


def cast(x: Expr, dtype: np.dtype) -> Expr:
    """Value conversion; float to integer truncates and saturates, NaN gives 0."""
    dtype = np.dtype(dtype)
    return x if x.dtype == dtype else _apply("cast", (x,), dtype)


def bitcast(x: Expr, dtype: np.dtype) -> Expr:
    """The same bits seen as another dtype of the same size."""
    dtype = np.dtype(dtype)
    if dtype.itemsize != x.dtype.itemsize:
        raise TypeError(f"bitcast from {x.dtype} to {dtype}: the sizes differ")
    return x if x.dtype == dtype else _apply("bitcast", (x,), dtype)


def math(fn: str, *args: Expr) -> Expr:
    """An elementary function by its name in the math family (exp, log1p, tanh, atan2, ...)."""
    if fn not in EVALUATE:
        raise ValueError(f"math: unknown function {fn!r}; known: {', '.join(sorted(EVALUATE))}")
    x = args[0]
    if fn == "neg":
        if x.dtype.kind in "iu":
            return mul(x, const(-1, x.dtype))
        if x.op == "neg":
            return x.args[0]
    if fn == "not":
        return bitwise("not", x)
    if fn in ("floor", "ceil", "round") and x.dtype.kind in "iub":
        return x
    return _apply(fn, args, BOOL if fn in ("is_finite", "is_nan") else x.dtype)


def where(guard: Expr, value: Expr, other: Expr) -> Expr:
    """`value` where guard, else `other`, and no load inside `value` is executed where guard is false.

    This is what pad, concatenate and out-of-range gathers are made of.
    """
    if guard.op == "const":
        return value if guard.attr else other
    if value.op == "load" and load_guard(value)[0] is None:
        return load(value.attr[0], load_index(value), value.dtype, guard, other)
    return select(guard, guard_loads(value, guard), other)


def guard_loads(value: Expr, guard: Expr) -> Expr:
    """`value` with `guard` added to the guard of every load in it (also of loads inside indices)."""

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        if node.op != "load":
            return None
        rank = node.attr[1]
        inner, other = args[rank:] if len(args) > rank else (const(True, BOOL), const(0, node.dtype))
        return load(node.attr[0], args[:rank], node.dtype, logical_and(guard, inner), other)

    return transform((value,), rewrite)[0]


# ------------------------------------------------------------------------------------- traversal


def topological(roots: Iterable[Expr], skip: Callable[[Expr], bool] | None = None) -> list[Expr]:
    """Every node under the roots once, arguments before users, with no recursion. Nodes for which `skip`
    holds are left out, with what is only under them: a walk that fills a memo visits what is new."""
    order: list[Expr] = []
    done: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in roots]
    stack.reverse()
    while stack:
        node, expanded = stack.pop()
        if node in done:
            continue
        if skip is not None and skip(node):
            done.add(node)
        elif expanded or not node.args:
            done.add(node)
            order.append(node)
        else:
            stack.append((node, True))
            for argument in reversed(node.args):
                if argument not in done:
                    stack.append((argument, False))
    return order


def rebuild(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """`node` with other arguments, through the smart constructors (so it simplifies again)."""
    if args == node.args:
        return node
    builder = _BUILDERS.get(node.op)
    if builder is not None:
        return builder(*args)
    if node.op == "load":
        rank = node.attr[1]
        return load(node.attr[0], args[:rank], node.dtype, *args[rank:])
    if node.op == "cast":
        return cast(args[0], node.dtype)
    if node.op == "bitcast":
        return bitcast(args[0], node.dtype)
    if node.op in COMPARISONS:
        return compare(node.op, *args)
    if node.op in BITWISE:
        return bitwise(node.op, *args)
    return math(node.op, *args) if node.op in EVALUATE else intern_node(node.op, args, node.dtype, node.attr)


def transform(roots: Iterable[Expr], rewrite: Callable[[Expr, tuple[Expr, ...]], Expr | None]) -> list[Expr]:
    """Rebuild the DAG bottom up. `rewrite(node, new_args)` gives the replacement, or None to rebuild
    the node as it was."""
    roots = list(roots)
    new: dict[Expr, Expr] = {}
    for node in topological(roots):
        args = tuple(new[a] for a in node.args)
        replacement = rewrite(node, args)
        new[node] = rebuild(node, args) if replacement is None else replacement
    return [new[root] for root in roots]


def substitute(roots: Iterable[Expr], axes: Mapping[Axis, Expr]) -> list[Expr]:
    """Replace axes by index expressions in every root."""

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        return axes.get(node.attr) if node.op == "axis" else None

    return transform(roots, rewrite)


def loads(roots: Iterable[Expr]) -> list[Expr]:
    """Every load node under the roots, each once."""
    return [node for node in topological(roots) if node.op == "load"]


def axes_of(roots: Iterable[Expr]) -> set[Axis]:
    """Every axis that occurs under the roots."""
    return {node.attr for node in topological(roots) if node.op == "axis"}


_BUILDERS: dict[str, Callable[..., Expr]] = {
    "add": add, "sub": sub, "mul": mul, "div": div, "rem": rem, "pow": power, "floordiv": floordiv,
    "mod": mod, "minimum": minimum, "maximum": maximum, "select": select,
}


# ------------------------------------------------------------------------------------- evaluation


def evaluate(roots: Iterable[Expr], axes: Mapping[Axis, Any],
             read: Callable[[str, tuple[np.ndarray, ...]], np.ndarray]) -> list[np.ndarray]:
    """The values of the roots by numpy, vectorised over whatever shape the axis values have.

    Args:
        roots: expressions without `variable` leaves.
        axes: an integer or integer array for every axis that occurs; the arrays broadcast together.
        read: gives the elements of a named value at broadcast index arrays.
    Returns:
        one array per root, of the root's dtype, shaped by broadcasting.
    """
    roots = list(roots)
    values: dict[Expr, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in topological(roots):
            args = [values[a] for a in node.args]
            if node.op == "const":
                values[node] = np.asarray(node.attr).astype(node.dtype)
            elif node.op == "axis":
                values[node] = np.asarray(axes[node.attr], INDEX)
            elif node.op == "load":
                values[node] = _evaluate_load(node, args, read)
            else:
                values[node] = evaluate_op(node.op, args, node.dtype)
    return [values[root] for root in roots]


def _evaluate_load(node: Expr, args: list[np.ndarray], read: Callable) -> np.ndarray:
    name, rank = node.attr
    if len(args) == rank:
        return np.asarray(read(name, tuple(args))).astype(node.dtype, copy=False)
    guard, other = args[rank:]
    if not np.any(guard):
        return np.broadcast_to(other, np.broadcast_shapes(guard.shape, other.shape)).astype(node.dtype)
    # Where the guard fails the index may be anything; element 0 is read instead and not used. An index
    # out of range where the guard holds still is an error.
    index = tuple(np.where(guard, i, 0) for i in args[:rank])
    return np.where(guard, np.asarray(read(name, index)).astype(node.dtype, copy=False), other)


# --------------------------------------------------------------------------------------- printing

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "and": "&", "or": "|",
          "xor": "^", "shift_left": "<<", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_SHOW_LIMIT = 2000


def show(root: Expr) -> str:
    """A readable form; subexpressions that repeat and are long are cut, so it is never exponential."""
    text: dict[Expr, str] = {}
    for node in topological((root,)):
        text[node] = _show_node(node, [text[a] for a in node.args])
        if len(text[node]) > _SHOW_LIMIT:
            text[node] = text[node][: _SHOW_LIMIT // 2] + "..."
    shown = text[root]
    return shown[1:-1] if root.op in _INFIX and not shown.endswith("...") else shown


def _show_node(node: Expr, args: list[str]) -> str:
    if node.op == "const":
        return str(node.attr)
    if node.op == "axis":
        return node.attr.name
    if node.op == "variable":
        return node.attr
    if node.op == "load":
        name, rank = node.attr
        guard = f" if {args[rank]} else {args[rank + 1]}" if len(args) > rank else ""
        return f"{name}[{', '.join(args[:rank])}{guard}]"
    if node.op in _INFIX:
        return f"({args[0]} {_INFIX[node.op]} {args[1]})"
    if node.op in ("cast", "bitcast"):
        return f"{node.op}<{node.dtype}>({args[0]})"
    if node.attr is not None:
        args = [*args, str(node.attr)]
    return f"{node.op}({', '.join(args)})"
