"""Reading one element of a value: equations that are index -> value functions, composed on demand.

Input: a variable of a program and an index (a tuple of index `Expr`s). Output: the `Expr` of that element, in terms of
loads from variables that lie in memory. Fusion asks this module whether an element can be had at all, and at which
index; building asks it for the expressions that a kernel computes. What is an anchor (a fold, a scatter, a loop: no
index -> value function) stops the walk, as does any variable that the caller says is a leaf.

Worked example: for `b = exp a; c = transpose[permutation=(1, 0)] b`, with a in memory,

    reader.element(c, (i, j))       # exp(a[j, i])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ftiny.core import Anchor, Atom, Eqn, Literal, Var
from ftiny.dtypes import COMPLEX
from ftiny.lowering.expr import Expr, const
from ftiny.lowering.fold_rules import is_unrolled, unrolled, unrolled_size
from ftiny.lowering.index import simplify

ELEMENTWISE = frozenset({"add", "mul", "div", "pow", "rem", "minmax", "select", "compare", "bitwise", "convert",
                         "math", "threefry2x32"})
STRUCTURAL = frozenset({"iota", "reshape", "transpose", "broadcast", "slice", "pad", "concatenate"})

# What computing one element costs, in additions. Only the order of magnitude matters: it decides between
# computing a value again and keeping it in memory.
_MATH_COST = {"neg": 1, "abs": 1, "sign": 1, "floor": 1, "ceil": 1, "round": 1, "trunc": 1, "not": 1, "real": 0,
              "imag": 0, "conj": 1, "is_finite": 1, "is_nan": 1, "sqrt": 6, "rsqrt": 6, "exp": 12, "exp2": 10,
              "log": 12, "log2": 12, "sin": 16, "cos": 16, "lgamma": 60, "digamma": 60, "erfinv": 40}
_COST = {"div": 4.0, "rem": 8.0, "pow": 40.0, "gather": 3.0, "threefry2x32": 110.0, "pad": 1.0, "concatenate": 1.0}
_STRUCTURAL_COST = 0.25

Index = tuple[Expr, ...]
Leaf = Callable[[Var, Index], "Expr | None"]


def is_readable(eqn: Eqn) -> bool:
    """Whether an equation is an index -> value function of real numbers: elementwise, structural, a gather or a fold
    over a small window."""
    if eqn.effects or isinstance(eqn.primitive.lower, Anchor) and not is_unrolled(eqn):
        return False
    return not any(a.aval.dtype in COMPLEX for a in (*eqn.inputs, *eqn.outputs))


def element_cost(eqn: Eqn) -> float:
    """The cost of one element of the results, its inputs not counted."""
    name = eqn.primitive.name
    if name == "math":
        return float(_MATH_COST.get(eqn.params["fn"], 20))
    if isinstance(eqn.primitive.lower, Anchor):
        return 2.0 * unrolled_size(eqn)
    return _COST.get(name, _STRUCTURAL_COST if name in STRUCTURAL else 1.0)


def reads_per_element(eqn: Eqn) -> int:
    """How many elements of an operand one element of the results reads."""
    return unrolled_size(eqn) if isinstance(eqn.primitive.lower, Anchor) else 1


class Reader:
    """Elements of a program's values as expressions.

    `definition` maps a variable to its equation (none: an input); `leaf(var, index)` gives the expression for a
    variable that is not to be computed (a load, a state), or None to go on to its definition. Elements are
    remembered by variable and index, so a value that is used twice is built once. `computed` are the equations met.
    """

    def __init__(self, definition: Mapping[Var, Eqn], leaf: Leaf):
        self._definition = definition
        self._leaf = leaf
        self._known: dict[tuple[Var, Index], Expr] = {}
        self.computed: set[Eqn] = set()

    def element(self, atom: Atom, index: Index) -> Expr:
        """The element of `atom` at `index`; a literal is the same everywhere."""
        if isinstance(atom, Literal):
            return const(atom.value, atom.aval.dtype)
        index = tuple(map(simplify, index))
        key = (atom, index)
        found = self._known.get(key)
        if found is None:
            found = self._leaf(atom, index)
            if found is None:
                found = self._compute(atom, index)
            self._known[key] = found
        return found

    def knows(self, var: Var, index: Index) -> bool:
        """Whether this element has been asked for, directly or on the way to another."""
        return (var, index) in self._known

    def _compute(self, var: Var, index: Index) -> Expr:
        eqn = self._definition[var]
        self.computed.add(eqn)
        ins = [self._input(atom) for atom in eqn.inputs]
        if isinstance(eqn.primitive.lower, Anchor):
            self._known.update(((v, index), r) for v, r in zip(eqn.outputs, unrolled(ins[0], index, eqn)))
            return self._known[(var, index)]
        in_avals = [atom.aval for atom in eqn.inputs]
        if not eqn.primitive.multiple_results:
            return eqn.primitive.lower(ins, index, in_avals, var.aval, **eqn.params)
        results = eqn.primitive.lower(ins, index, in_avals, [v.aval for v in eqn.outputs], **eqn.params)
        self._known.update(((v, index), result) for v, result in zip(eqn.outputs, results))
        return self._known[(var, index)]

    def _input(self, atom: Atom) -> Callable[[Index], Expr]:
        return lambda index: self.element(atom, tuple(index))
