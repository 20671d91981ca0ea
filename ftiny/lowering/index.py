"""Index arithmetic: ranges, linear normal form, and what a load's offset looks like to a vector unit.

Input and output are `Expr`s of integer dtype. `simplify` brings index expressions to a sum of
coefficient * atom with floor divisions and remainders reduced by what is known of the operands' ranges;
everything else here reads facts off that form.

Worked example, a row-major [i, j] walked by one flat index f in 0 .. 4*16-1, in vectors of 16:

    f = axis(c) * 16 + ramp(16)                 # c: 4
    offset = flatten((f // 16, f % 16), (4, 16))   # simplifies to c*16 + ramp: contiguous, no division
    coefficient(offset, ramp(16)) == 1
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ftiny.lowering.expr import (
    BOOL,
    INDEX,
    Axis,
    Expr,
    add,
    const,
    floordiv,
    is_const,
    mod,
    mul,
    rebuild,
    topological,
)

Range = tuple[int, int]
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
_CARRIES_RANGE = frozenset({"low", "high", "lane", "shuffle_xor", "shuffle_up", "shuffle_from"})


# ---------------------------------------------------------------------------------------- ranges


def range_of(expr: Expr) -> Range:
    """Inclusive bounds of an integer or bool expression, never tighter than true.

    A bound that arithmetic could push out of the dtype gives the dtype's whole range (it may wrap).
    """
    found = expr.range
    if found is not None:
        return found
    for node in topological((expr,), _has_range):
        node.range = _clip(_node_range(node), node.dtype)
    assert expr.range is not None
    return expr.range


def _has_range(node: Expr) -> bool:
    return node.range is not None


def _simple_form(node: Expr) -> Expr:
    assert node.simple is not None
    return node.simple


def _is_simplified(node: Expr) -> bool:
    return node.simple is not None


def dtype_range(dtype: np.dtype) -> Range:
    """The bounds of an integer or bool dtype; the widest integer's for others."""
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype if dtype.kind in "iu" else INDEX)
    return int(limits.min), int(limits.max)


def _clip(bounds: Range, dtype: np.dtype) -> Range:
    low, high = dtype_range(dtype)
    return bounds if low <= bounds[0] and bounds[1] <= high else (low, high)


def _node_range(node: Expr) -> Range:
    op, attr = node.op, node.attr
    if op == "const":
        return (int(attr), int(attr)) if node.dtype.kind in "iub" else dtype_range(INDEX)
    if op == "axis":
        return 0, max(attr.extent - 1, 0)
    if op == "ramp":
        return 0, attr - 1
    if op == "special":
        return 0, attr[2] - 1
    if node.dtype.kind not in "iu" or op in ("load", "variable"):
        return dtype_range(node.dtype)
    if op in _CARRIES_RANGE:
        return range_of(node.args[0])
    if op == "cast":
        source = node.args[0]
        return range_of(source) if source.dtype.kind in "iub" else dtype_range(node.dtype)
    if any(a.dtype.kind not in "iub" for a in node.args):
        return dtype_range(node.dtype)
    return _operation_range(op, [range_of(a) for a in node.args], node.dtype)


def _operation_range(op: str, bounds: list[Range], dtype: np.dtype) -> Range:
    if op == "select":
        (_, _), (a, b), (c, d) = bounds
        return min(a, c), max(b, d)
    if len(bounds) != 2:
        return dtype_range(dtype)
    (a, b), (c, d) = bounds
    if op == "add":
        return a + c, b + d
    if op == "mul":
        products = (a * c, a * d, b * c, b * d)
        return min(products), max(products)
    if op == "minimum":
        return min(a, c), min(b, d)
    if op == "maximum":
        return max(a, c), max(b, d)
    if op == "floordiv" and c > 0:
        quotients = (a // c, a // d, b // c, b // d)
        return min(quotients), max(quotients)
    if op == "mod" and c > 0:
        return (a, b) if 0 <= a and b < c else (0, d - 1)
    if op == "div" and a >= 0 and c > 0:
        return a // d, b // c
    if op == "rem" and a >= 0 and c > 0:
        return 0, min(b, d - 1)
    if op == "and" and a >= 0 and c >= 0:
        return 0, min(b, d)
    return dtype_range(dtype)


def fits_32_bits(expr: Expr) -> bool:
    """Whether an int64 expression can be held in a 32-bit integer."""
    low, high = range_of(expr)
    return INT32_MIN <= low and high <= INT32_MAX


# ------------------------------------------------------------------------------- the linear form


def terms_of(expr: Expr) -> tuple[dict[Expr, int], int]:
    """(atom -> coefficient, constant) of an integer expression, splitting sums and constant factors."""
    terms: dict[Expr, int] = {}
    constant = 0
    stack = [(expr, 1)]
    while stack:
        node, factor = stack.pop()
        if node.op == "const":
            constant += factor * int(node.attr)
        elif node.op == "add":
            stack += [(node.args[1], factor), (node.args[0], factor)]
        elif node.op == "mul" and node.args[1].op == "const":
            stack.append((node.args[0], factor * int(node.args[1].attr)))
        else:
            terms[node] = terms.get(node, 0) + factor
    return {atom: c for atom, c in terms.items() if c}, constant


def from_terms(terms: Mapping[Expr, int], constant: int, dtype: np.dtype = INDEX) -> Expr:
    """The sum in normal form: large strides first, the constant last."""
    total: Expr | None = None
    for atom, factor in sorted(terms.items(), key=_term_order):
        term = mul(atom, const(factor, dtype))
        total = term if total is None else add(total, term)
    if total is None:
        return const(constant, dtype)
    return add(total, const(constant, dtype)) if constant else total


def _term_order(item: tuple[Expr, int]) -> tuple[int, str]:
    atom, factor = item
    return -abs(factor), atom.attr.name if atom.op == "axis" else atom.op


def _sum_range(terms: Iterable[tuple[Expr, int]], constant: int) -> Range:
    low = high = constant
    for atom, factor in terms:
        a, b = range_of(atom)
        low, high = low + min(a * factor, b * factor), high + max(a * factor, b * factor)
    return low, high


def coefficient(expr: Expr, leaf: Expr) -> int | None:
    """d(expr)/d(leaf) if expr is linear in the leaf with a constant factor, else None.

    `expr` should be simplified; `leaf` is an axis or ramp node.
    """
    terms, _ = terms_of(expr)
    for atom in terms:
        if atom is not leaf and leaf in topological((atom,)):
            return None
    return terms.get(leaf, 0)


def multiple_of(expr: Expr) -> int:
    """The largest integer known to divide every value of a simplified expression; 0 for the constant 0."""
    terms, constant = terms_of(expr)
    return math.gcd(constant, *terms.values())


# ------------------------------------------------------------------------------- simplification


def simplify(expr: Expr) -> Expr:
    """The normal form of an expression; value expressions get their indices and guards simplified."""
    found = expr.simple
    if found is not None:
        return found
    for node in topological((expr,), _is_simplified):
        simple = _simplify_node(rebuild(node, tuple(map(_simple_form, node.args))))
        node.simple = simple
        simple.simple = simple
    assert expr.simple is not None
    return expr.simple


def _simplify_node(node: Expr) -> Expr:
    if node.op in ("lt", "le", "gt", "ge", "eq", "ne"):
        return _simplify_compare(node)
    if node.dtype != INDEX or not node.args:
        return node
    if node.op in ("add", "mul"):
        terms, constant = terms_of(node)
        return from_terms(_recombine(terms), constant)
    if node.op in ("floordiv", "mod", "div", "rem"):
        return _simplify_division(node)
    if node.op in ("minimum", "maximum"):
        (a, b), (c, d) = range_of(node.args[0]), range_of(node.args[1])
        if node.op == "minimum":
            return node.args[0] if b <= c else node.args[1] if d <= a else node
        return node.args[0] if a >= d else node.args[1] if c >= b else node
    return node


def _simplify_compare(node: Expr) -> Expr:
    x, y = node.args
    if x.dtype.kind not in "iub":
        return node
    (a, b), (c, d) = range_of(x), range_of(y)
    if x.dtype == INDEX and not (is_const(x) or is_const(y)):
        terms, constant = terms_of(x)
        for atom, factor in terms_of(y)[0].items():
            terms[atom] = terms.get(atom, 0) - factor
        # The difference of two int64 data values may wrap; index sums do not, so only those are used.
        if all(abs(bound) < 2**62 for bound in (a, b, c, d)):
            a, b = _sum_range(terms.items(), constant - terms_of(y)[1])
            c = d = 0
    always, never = {"lt": (b < c, a >= d), "le": (b <= c, a > d), "gt": (a > d, b <= c), "ge": (a >= d, b < c),
                     "eq": (a == b == c == d, b < c or d < a), "ne": (b < c or d < a, a == b == c == d)}[node.op]
    return const(True, BOOL) if always else const(False, BOOL) if never else node


def _recombine(terms: dict[Expr, int]) -> dict[Expr, int]:
    """d*(x // d) + x % d is x, also with a common factor, also where the quotient has a remainder of
    its own: (x // c % b)*c + x % c is x % (b*c)."""
    changed = True
    while changed:
        changed = False
        for low, factor in list(terms.items()):
            if low.op != "mod" or low.args[1].op != "const":
                continue
            x, divisor = low.args[0], low.args[1]
            partner = _quotient_partner(terms, x, divisor, factor)
            if partner is None:
                continue
            atom, merged = partner
            del terms[atom], terms[low]
            for extra, coefficient_ in terms_of(merged)[0].items():
                terms[extra] = terms.get(extra, 0) + coefficient_ * factor
                if not terms[extra]:
                    del terms[extra]
            changed = True
            break
    return terms


def _quotient_partner(terms: dict[Expr, int], x: Expr, divisor: Expr, factor: int) -> tuple[Expr, Expr] | None:
    if terms_of(x)[1]:
        return None
    quotient = simplify(floordiv(x, divisor))
    wanted = divisor.attr * factor
    if terms.get(quotient) == wanted:
        return quotient, x
    for atom, c in terms.items():
        if c == wanted and atom.op == "mod" and atom.args[0] is quotient and atom.args[1].op == "const":
            return atom, simplify(mod(x, const(atom.args[1].attr * divisor.attr)))
    return None


def _simplify_division(node: Expr) -> Expr:
    x, y = node.args
    if y.op != "const" or y.attr <= 0:
        return node
    divisor = int(y.attr)
    op = node.op
    if op in ("div", "rem"):
        if range_of(x)[0] < 0:
            return node
        op = "floordiv" if op == "div" else "mod"
    terms, constant = terms_of(x)
    whole = {a: c // divisor for a, c in terms.items() if c % divisor == 0}
    rest = {a: c for a, c in terms.items() if c % divisor}
    quotient, constant = divmod(constant, divisor)
    low, high = _sum_range(rest.items(), constant)
    if 0 <= low and high < divisor:
        return from_terms(whole, quotient) if op == "floordiv" else from_terms(rest, constant)
    if low // divisor == high // divisor:
        step = low // divisor
        return (from_terms(whole, quotient + step) if op == "floordiv"
                else from_terms(rest, constant - step * divisor))
    coarse, fine, fine_constant = _split_fine(rest, constant, divisor)
    if op == "floordiv":
        inner = _reduced_quotient(coarse, constant - fine_constant, divisor)
        result = dict(whole)
        result[inner] = result.get(inner, 0) + 1
        return from_terms(_flat(result), quotient + _flat_constant(result))
    inner = _reduced_remainder(coarse, constant - fine_constant, divisor)
    for atom, c in terms_of(inner)[0].items():
        fine[atom] = fine.get(atom, 0) + c
    return from_terms(_recombine(fine), fine_constant + terms_of(inner)[1])


def _split_fine(rest: dict[Expr, int], constant: int, divisor: int) -> tuple[dict[Expr, int], dict[Expr, int], int]:
    """Split a sum into (coarse, fine, fine constant): coarse is a multiple of some g that divides the
    divisor, fine lies in 0 .. g-1, so fine never carries into the quotient."""
    ordered = sorted(rest.items(), key=lambda item: -abs(item[1]))
    for cut in range(1, len(ordered) + 1):
        g = math.gcd(divisor, *(c for _, c in ordered[:cut]))
        if g == 1:
            break
        fine_constant = constant % g
        low, high = _sum_range(ordered[cut:], fine_constant)
        if 0 <= low and high < g:
            return dict(ordered[:cut]), dict(ordered[cut:]), fine_constant
    return rest, {}, 0


def _reduced_quotient(coarse: dict[Expr, int], constant: int, divisor: int) -> Expr:
    g = math.gcd(divisor, constant, *coarse.values())
    divisor //= g
    x = from_terms({a: c // g for a, c in coarse.items()}, constant // g)
    if x.op == "floordiv" and x.args[1].op == "const":
        return simplify(floordiv(x.args[0], const(x.args[1].attr * divisor)))
    if x.op == "mod" and x.args[1].op == "const" and x.args[1].attr % divisor == 0 and divisor > 1:
        modulus = x.args[1].attr // divisor
        return simplify(mod(floordiv(x.args[0], const(divisor)), const(modulus)))
    return floordiv(x, const(divisor))


def _reduced_remainder(coarse: dict[Expr, int], constant: int, divisor: int) -> Expr:
    g = math.gcd(divisor, constant, *coarse.values())
    if g > 1:
        x = from_terms({a: c // g for a, c in coarse.items()}, constant // g)
        return mul(simplify(mod(x, const(divisor // g))), const(g))
    reduced = {a: c % divisor for a, c in coarse.items()} if min(coarse.values(), default=0) >= 0 else coarse
    x = from_terms(reduced, constant)
    if x.op == "mod" and x.args[1].op == "const" and x.args[1].attr % divisor == 0:
        return simplify(mod(x.args[0], const(divisor)))
    low, high = range_of(x)
    return x if 0 <= low and high < divisor else mod(x, const(divisor))


def _flat(terms: dict[Expr, int]) -> dict[Expr, int]:
    total: dict[Expr, int] = {}
    for atom, factor in terms.items():
        for inner, c in terms_of(atom)[0].items():
            total[inner] = total.get(inner, 0) + c * factor
    return _recombine({a: c for a, c in total.items() if c})


def _flat_constant(terms: dict[Expr, int]) -> int:
    return sum(terms_of(atom)[1] * factor for atom, factor in terms.items())


# ------------------------------------------------------------------------------------- layouts


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def flatten(index: Iterable[Expr], shape: tuple[int, ...]) -> Expr:
    """The linear offset of a multi-dimensional index into a dense row-major array, simplified."""
    total = const(0)
    for position, stride in zip(index, strides_of(shape), strict=True):
        total = add(total, mul(position, const(stride)))
    return simplify(total)


def unflatten(flat: Expr, axes: Iterable[Axis]) -> dict[Axis, Expr]:
    """Each axis as a function of one flat row-major index over all of them."""
    axes = tuple(axes)
    result: dict[Axis, Expr] = {}
    for position, (one, stride) in enumerate(zip(axes, strides_of(tuple(a.extent for a in axes)), strict=True)):
        quotient = floordiv(flat, const(stride))
        result[one] = simplify(quotient if position == 0 else mod(quotient, const(one.extent)))
    return result
