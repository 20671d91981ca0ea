"""Simplification: a program in, an equal program with fewer equations out.

Input: a `Jaxpr` of any shape. Output: a `Simplified`, whose jaxpr has no `call` or custom-rule equations left
(their bodies are inlined), no equation that nothing needs, no two equal equations, no equation of constants only,
and none of the patterns that `_RULES` knows (x*1, a reshape of a reshape, a transposed contraction, ...). One pass
forwards and one backwards, so the time is linear in the number of equations.

    { lambda a:f32[3] . let                                   { lambda a:f32[3] . let
        b:f32[3] = broadcast[shape=(3,) dims=()] 2.0:f32          b:f32[3] = mul a 2.0:f32
        c:f32[3] = mul a b                              ->        c:f32[3] = add b b
        d:f32[3] = mul a b                                      in (c,) }
        e:f32[3] = add c d
      in (e,) }

Equations with effects are never removed, merged or reordered. `barrier` gives its results new names, which is
what keeps a recomputed value from being merged with the first one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftiny.contraction import make_spec
from ftiny.core import INLINED, Atom, Aval, Eqn, Jaxpr, Literal, Primitive, Var, literal, subprograms
from ftiny.lowering.access import ELEMENTWISE
from ftiny.lowering.one_hot import never_negative, scatter_rule
from ftiny.source import Source


@dataclass(frozen=True)
class Simplified:
    """A simplified program; `sources[k]` are the user lines that equation k stands for, first one first."""

    jaxpr: Jaxpr
    sources: tuple[tuple[Source, ...], ...]

    def __str__(self) -> str:
        return str(self.jaxpr)


def simplify(jaxpr: Jaxpr) -> Simplified:
    """The simplified program; constants have become leading inputs (their values are dropped).

    Bodies of loops and branches are left as they are: they are simplified when they are compiled.
    """
    builder = _Builder()
    inputs = tuple(Var(v.aval) for v in (*jaxpr.constvars, *jaxpr.inputs))
    env: dict[Var, Atom] = dict(zip((*jaxpr.constvars, *jaxpr.inputs), inputs))
    _inline(builder, jaxpr, env)
    outputs = tuple(_resolve(env, atom) for atom in jaxpr.outputs)
    eqns, outputs = _without_barriers(builder.eqns, outputs)
    eqns = _turn_contractions(_live(eqns, outputs), outputs)
    sources = tuple(tuple(dict.fromkeys(builder.sources[e.outputs[0]])) if e.outputs else (e.source,) for e in eqns)
    return Simplified(Jaxpr(inputs, tuple(eqns), outputs), sources)


def _resolve(env: dict[Var, Atom], atom: Atom) -> Atom:
    return atom if isinstance(atom, Literal) else env[atom]


def _inline(builder: _Builder, jaxpr: Jaxpr, env: dict[Var, Atom]) -> None:
    """Feed every equation to the builder, descending into calls with an explicit stack."""
    stack = [(iter(jaxpr.eqns), env)]
    returns: list[tuple[Eqn, Jaxpr]] = []
    while stack:
        equations, env = stack[-1]
        eqn = next(equations, None)
        if eqn is None:
            stack.pop()
            if stack:
                outer, body = returns.pop()
                stack[-1][1].update((o, _resolve(env, a)) for o, a in zip(outer.outputs, body.outputs))
            continue
        inputs = [_resolve(env, atom) for atom in eqn.inputs]
        if eqn.primitive.name in INLINED:
            body = subprograms(eqn)[0]
            returns.append((eqn, body))
            stack.append((iter(body.eqns), dict(zip(body.inputs, inputs, strict=True))))
        else:
            env.update(zip(eqn.outputs, builder.add(eqn, inputs)))


def _without_barriers(eqns: Iterable[Eqn], outputs: tuple[Atom, ...]) -> tuple[list[Eqn], tuple[Atom, ...]]:
    """The program with every result of a barrier replaced by its operand: nothing is merged any more."""
    same: dict[Atom, Atom] = {}
    kept = []
    for eqn in eqns:
        inputs = tuple(same.get(a, a) for a in eqn.inputs)
        if eqn.primitive.name == "barrier":
            same.update(zip(eqn.outputs, inputs))
        else:
            kept.append(eqn if inputs == eqn.inputs else eqn.replace(inputs=inputs))
    return kept, tuple(same.get(a, a) for a in outputs)


def _live(eqns: Sequence[Eqn], outputs: Iterable[Atom]) -> list[Eqn]:
    """The equations that an output or an effect needs, in order."""
    needed = {atom for atom in outputs if isinstance(atom, Var)}
    kept = []
    for eqn in reversed(eqns):
        if eqn.effects or any(v in needed for v in eqn.outputs):
            kept.append(eqn)
            needed.update(a for a in eqn.inputs if isinstance(a, Var))
    return kept[::-1]


def _turn_contractions(eqns: Sequence[Eqn], outputs: Iterable[Atom]) -> list[Eqn]:
    """Contractions that are only read transposed give their result in that order themselves."""
    uses = Counter(a for eqn in eqns for a in eqn.inputs)
    uses.update(outputs)
    contractions = {e.outputs[0]: e for e in eqns if e.primitive.name == "contract"}
    turned: dict[Eqn, Eqn] = {}
    for eqn in eqns:
        inner = contractions.get(eqn.inputs[0]) if eqn.primitive.name == "transpose" else None  # type: ignore[arg-type]
        if inner is not None and uses[eqn.inputs[0]] == 1:
            spec = inner.params["spec"]
            output = [spec.output[p] for p in eqn.params["permutation"]]
            params = {**inner.params, "spec": make_spec(spec.operands, output, spec.extent)}
            turned[inner] = inner.replace(params=params, outputs=eqn.outputs)
            turned[eqn] = turned[inner]
    placed = [turned.get(e, e) for e in eqns]
    return list(dict.fromkeys(placed))


# ------------------------------------------------------------------------------------ the builder


class _Builder:
    """The program so far: its equations, what defines each variable, and the table of equal equations."""

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.definition: dict[Var, Eqn] = {}
        self.sources: dict[Var, list[Source]] = {}
        self._table: dict[tuple, tuple[Var, ...]] = {}
        self._source: Source | None = None

    def add(self, eqn: Eqn, inputs: Sequence[Atom]) -> list[Atom]:
        """The atoms that stand for the results of `eqn` applied to `inputs`."""
        self._source = eqn.source
        if eqn.effects:
            return list(self._append(eqn.primitive, tuple(inputs), eqn.params, eqn))
        return self.bind(eqn.primitive, inputs, eqn.params, [v.aval for v in eqn.outputs])

    def apply(self, name: str, *inputs: Atom, **params: Any) -> Atom:
        """The result of a single-result primitive, simplified: what rules build their replacements with."""
        primitive = Primitive.registry[name]
        return self.bind(primitive, inputs, params, primitive.infer([a.aval for a in inputs], params))[0]

    def bind(self, primitive: Primitive, inputs: Sequence[Atom], params: dict, avals: Sequence[Aval]) -> list[Atom]:
        """Fold, rewrite or reuse an equation; append it only if nothing else will do."""
        if primitive.name in ELEMENTWISE:
            inputs = self._splats_to_literals(inputs, avals[0])
            if all(isinstance(a, Literal) for a in inputs):
                return self._fold(primitive, inputs, params, avals)
            if avals[0].shape and not any(a.aval.shape for a in inputs):
                # Only scalars are left of the operands: one result, spread over the shape.
                scalars = self.bind(primitive, inputs, params, [aval.update(shape=()) for aval in avals])
                return [self.apply("broadcast", x, shape=a.shape, dims=()) for x, a in zip(scalars, avals)]
        rule = _RULES.get(primitive.name)
        if rule is not None:
            found = rule(self, inputs, params, avals[0])
            if found is not None:
                return [found]
        key = (primitive.name, tuple(map(_atom_key, inputs)), _param_key(params))
        known = self._table.get(key)
        if known is None:
            known = self._table[key] = self._append(primitive, tuple(inputs), params, None, avals)
        elif self._source is not None:
            self.sources[known[0]].append(self._source)
        return list(known)

    def _append(self, primitive: Primitive, inputs: tuple[Atom, ...], params: dict, eqn: Eqn | None,
                avals: Sequence[Aval] = ()) -> tuple[Var, ...]:
        outputs = tuple(Var(a) for a in ([v.aval for v in eqn.outputs] if eqn else avals))
        assert self._source is not None
        effects = eqn.effects if eqn else primitive.effects(params)
        new = Eqn(primitive, inputs, params, outputs, effects, self._source)
        self.eqns.append(new)
        self.definition.update((v, new) for v in outputs)
        self.sources.update((v, [self._source]) for v in outputs)
        return outputs

    def made_by(self, atom: Atom, name: str) -> Eqn | None:
        """The equation that defines `atom`, if it is one of the primitive called `name`."""
        found = self.definition.get(atom) if isinstance(atom, Var) else None
        return found if found is not None and found.primitive.name == name else None

    def splat(self, atom: Atom) -> Literal | None:
        """The literal that fills `atom` everywhere, if it is known."""
        if isinstance(atom, Literal):
            return atom
        eqn = self.made_by(atom, "broadcast")
        return eqn.inputs[0] if eqn is not None and isinstance(eqn.inputs[0], Literal) else None

    def _splats_to_literals(self, inputs: Sequence[Atom], aval: Aval) -> list[Atom]:
        literals = [self.splat(a) for a in inputs]
        return [a if found is None else found for a, found in zip(inputs, literals)]

    def _fold(self, primitive: Primitive, inputs: Sequence[Atom], params: dict, avals: Sequence[Aval]) -> list[Atom]:
        """Compute an elementwise equation of literals; the results are splats of the wanted shape."""
        with np.errstate(all="ignore"):
            values = primitive.numpy(*(np.asarray(a.value) for a in inputs), **params)  # type: ignore[union-attr]
        values = list(values) if primitive.multiple_results else [values]
        results: list[Atom] = []
        for value, aval in zip(values, avals):
            scalar = literal(np.asarray(value)[()], aval.dtype)
            results.append(self.apply("broadcast", scalar, shape=aval.shape, dims=()) if aval.shape else scalar)
        return results


def _atom_key(atom: Atom) -> Any:
    if isinstance(atom, Var):
        return atom
    return atom.aval.dtype, np.asarray(atom.value).tobytes()


def _param_key(value: Any) -> Any:
    """A hashable stand-in for a parameter: equal only if the parameters are."""
    if isinstance(value, dict):
        return tuple((k, _param_key(v)) for k, v in sorted(value.items()))
    if isinstance(value, (tuple, list)):
        return tuple(map(_param_key, value))
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    try:
        hash(value)
    except TypeError:
        return id(value)
    # 1, 1.0 and True are equal to Python, not to a program.
    return type(value), value


# -------------------------------------------------------------------------------------- the rules
# Each gets (builder, inputs, params, aval of the result) and returns the atom that replaces it, or None.

Rule = Callable[[_Builder, Sequence[Atom], dict, Aval], "Atom | None"]


def _is_literal(atom: Atom, value: float) -> bool:
    return isinstance(atom, Literal) and bool(np.asarray(atom.value) == value)


def _whole(atom: Atom, aval: Aval) -> Atom | None:
    """`atom` if it can stand for the result itself (a scalar literal beside an array cannot)."""
    return atom if atom.aval.shape == aval.shape and atom.aval.dtype == aval.dtype else None


def _add(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    x, y = inputs
    if _is_literal(y, 0):
        return _whole(x, aval)
    return _whole(y, aval) if _is_literal(x, 0) else None


def _mul(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    x, y = inputs
    if _is_literal(y, 1):
        return _whole(x, aval)
    return _whole(y, aval) if _is_literal(x, 1) else None


def _div(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    return _whole(inputs[0], aval) if _is_literal(inputs[1], 1) else None


def _pow(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    x, y = inputs
    if _is_literal(y, 1):
        return _whole(x, aval)
    return builder.apply("mul", x, x) if _is_literal(y, 2) and isinstance(x, Var) else None


def _select(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    condition, on_true, on_false = inputs
    if isinstance(condition, Literal):
        return _whole(on_true if bool(condition.value) else on_false, aval)
    return on_true if on_true is on_false and isinstance(on_true, Var) else None


def _math(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    if params["fn"] != "neg":
        return None
    inner = builder.made_by(inputs[0], "math")
    return inner.inputs[0] if inner is not None and inner.params["fn"] == "neg" else None


def _convert(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    return _whole(inputs[0], aval)


def _reshape(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    x = inputs[0]
    if x.aval.shape == aval.shape:
        return x
    splat = builder.splat(x)
    if splat is not None:
        return builder.apply("broadcast", splat, shape=aval.shape, dims=()) if aval.shape else splat
    inner = builder.made_by(x, "reshape")
    return builder.apply("reshape", inner.inputs[0], shape=aval.shape) if inner is not None else None


def _transpose(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    x, order = inputs[0], tuple(params["permutation"])
    if order == tuple(range(len(order))):
        return x
    splat = builder.splat(x)
    if splat is not None:
        return builder.apply("broadcast", splat, shape=aval.shape, dims=())
    inner = builder.made_by(x, "transpose")
    if inner is not None:
        before = inner.params["permutation"]
        return builder.apply("transpose", inner.inputs[0], permutation=tuple(before[p] for p in order))
    return None


def _broadcast(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    x, dims = inputs[0], tuple(params["dims"])
    if x.aval.shape == aval.shape and dims == tuple(range(len(dims))):
        return x
    inner = builder.made_by(x, "broadcast")
    if inner is not None:
        composed = tuple(dims[d] for d in inner.params["dims"])
        return builder.apply("broadcast", inner.inputs[0], shape=aval.shape, dims=composed)
    return None


def _contract(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    """An outer product is elementwise; a transposed operand is the same one with its axes named in another order."""
    product = _outer(builder, inputs, params, aval)
    if product is not None:
        return product
    operands, arguments = list(params["spec"].operands), list(inputs)
    for k, atom in enumerate(inputs):
        inner = builder.made_by(atom, "transpose")
        if inner is not None:
            order = inner.params["permutation"]
            operands[k] = tuple(operands[k][order.index(p)] for p in range(len(order)))
            arguments[k] = inner.inputs[0]
    if all(a is b for a, b in zip(arguments, inputs)):
        return None
    spec = make_spec(operands, params["spec"].output, params["spec"].extent)
    return builder.apply("contract", *arguments, **{**params, "spec": spec})


def _outer(builder: _Builder, inputs: Sequence[Atom], params: dict, aval: Aval) -> Atom | None:
    """A contraction that folds nothing is a product of its operands, spread over the result."""
    spec = params["spec"]
    if spec.folded or spec.has_windows or any(a.aval.dtype != aval.dtype for a in inputs):
        return None
    if params["accumulate"] != aval.dtype:
        return None
    spread = []
    for axes, atom in zip(spec.operands, inputs):
        dims = [spec.output.index(axis.index) for axis in axes]
        if len(set(dims)) < len(dims):
            return None
        order = sorted(range(len(dims)), key=dims.__getitem__)
        turned = builder.apply("transpose", atom, permutation=tuple(order))
        spread.append(builder.apply("broadcast", turned, shape=aval.shape, dims=tuple(sorted(dims))))
    return builder.apply("mul", *spread)


_RULES: dict[str, Rule] = {
    "add": _add, "mul": _mul, "div": _div, "pow": _pow, "select": _select, "math": _math, "convert": _convert,
    "reshape": _reshape, "transpose": _transpose, "broadcast": _broadcast, "contract": _contract,
    "scatter": scatter_rule, "compare": never_negative,
}
