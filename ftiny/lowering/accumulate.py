"""Sums of products over the steps of a loop become one product after the loop.

Input: a program. Output: the same program, simplified, where a carry of a scan that only ever has a product of the
step's values added to it is no carry any more: the product is worked out for all steps at once, from stacked values.

    scan body: dw' = add dw (contract[h, dz -> a b] h dz)                scan body: (stacks dz)
                                                              ->         s = contract[t h, t dz -> a b] hs dzs
                                                                         dw' = add dw0 s

The gradient of weights that every step of a network reads is such a carry. In the loop it is read and written in every
step, and a step has few products to sum for each of its elements; after the loop one product sums them all. This is
done where what a step has to stack takes at most half the memory of the carry, and not in loops that become one kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ftiny.contraction import Direct, Spec, make_spec
from ftiny.core import Atom, Eqn, Jaxpr, Literal, Var
from ftiny.lowering.loop_programs import is_small
from ftiny.lowering.simplify import Simplified, simplify


def prepare(jaxpr: Jaxpr, cpu: bool) -> Simplified:
    """A program simplified, and with such sums after its loops; the bodies of loops are left as they are."""
    simplified = simplify(jaxpr)
    eqns: list[Eqn] = []
    sources: list[tuple] = []
    for eqn, lines in zip(simplified.jaxpr.eqns, simplified.sources):
        new = [eqn] if eqn.primitive.name != "scan" else _split(eqn, cpu)
        eqns += new
        sources += [lines] * len(new)
    if len(eqns) == len(simplified.jaxpr.eqns):
        return simplified
    return Simplified(simplified.jaxpr.replace(eqns=tuple(eqns)), tuple(sources))


@dataclass(frozen=True, eq=False)
class _Sum:
    """A carry (by number) that is a sum of products: the equation of a step's product and that of the addition."""

    number: int
    product: Eqn
    addition: Eqn


def _split(eqn: Eqn, cpu: bool) -> list[Eqn]:
    """The equations of a scan: itself, or a smaller one and the products after it."""
    if eqn.params["length"] < 2 or eqn.effects:
        return [eqn]
    body = simplify(eqn.params["jaxpr"]).jaxpr
    sums = _sums(eqn, body)
    if not sums or is_small(eqn, cpu):
        return [eqn]
    return _without(eqn, body, sums)


def _sums(eqn: Eqn, body: Jaxpr) -> list[_Sum]:
    """The carries that are sums of products."""
    first = eqn.params["num_consts"]
    uses = Counter(a for e in body.eqns for a in e.inputs)
    uses.update(body.outputs)
    definition = {v: e for e in body.eqns for v in e.outputs}
    found = []
    for number in range(eqn.params["num_carry"]):
        carry, new = body.inputs[first + number], body.outputs[number]
        addition = None if isinstance(new, Literal) else definition.get(new)
        if addition is None or addition.primitive.name != "add" or carry not in addition.inputs:
            continue
        term = addition.inputs[addition.inputs[0] is carry]
        product = None if isinstance(term, Literal) else definition.get(term)
        if product is None or product.primitive.name != "contract" or not uses[carry] == uses[new] == uses[term] == 1:
            continue
        if _is_worth_it(eqn, body, product):
            found.append(_Sum(number, product, addition))
    return found


def _is_worth_it(eqn: Eqn, body: Jaxpr, product: Eqn) -> bool:
    """Whether both factors change from step to step, and what has to be stacked is less than the carry."""
    params = product.params
    fixed = set(body.inputs[: eqn.params["num_consts"]])
    if params["spec"].has_windows or params["accumulate"] != params["dtype"]:
        return False
    if any(isinstance(a, Literal) or a in fixed for a in product.inputs):
        return False
    there = set(body.inputs[eqn.params["num_consts"] + eqn.params["num_carry"] :])
    there.update(a for a in body.outputs[eqn.params["num_carry"] :] if isinstance(a, Var))
    stacked = sum(a.aval.nbytes for a in set(product.inputs) - there)
    return 2 * stacked <= product.outputs[0].aval.nbytes


def _without(eqn: Eqn, body: Jaxpr, sums: Sequence[_Sum]) -> list[Eqn]:
    """The scan without those carries, then a product and an addition for each."""
    params = eqn.params
    first, carried, length = params["num_consts"], params["num_carry"], params["length"]
    gone = {one.number for one in sums}
    kept = [k for k in range(carried) if k not in gone]
    stacks: dict[Atom, Atom] = dict(zip(body.inputs[first + carried :], eqn.inputs[first + carried :]))
    for atom, out in zip(body.outputs[carried:], eqn.outputs[carried:]):
        stacks.setdefault(atom, out)
    wanted = dict.fromkeys(a for one in sums for a in one.product.inputs if a not in stacks)
    stacks.update((a, Var(a.aval.update(shape=(length, *a.aval.shape)))) for a in wanted)
    inside = {equation for one in sums for equation in (one.product, one.addition)}
    inner = Jaxpr(
        (*body.inputs[:first], *(body.inputs[first + k] for k in kept), *body.inputs[first + carried :]),
        tuple(e for e in body.eqns if e not in inside),
        (*(body.outputs[k] for k in kept), *body.outputs[carried:], *wanted))
    loop = eqn.replace(
        inputs=(*eqn.inputs[:first], *(eqn.inputs[first + k] for k in kept), *eqn.inputs[first + carried :]),
        outputs=(*(eqn.outputs[k] for k in kept), *eqn.outputs[carried:], *(stacks[a] for a in wanted)),
        params={**params, "jaxpr": inner, "num_carry": len(kept)})
    after: list[Eqn] = []
    for one in sums:
        spec = _over_steps(one.product.params["spec"], length)
        total = Var(one.product.outputs[0].aval)
        factors = tuple(stacks[a] for a in one.product.inputs)
        after.append(one.product.replace(inputs=factors, outputs=(total,),
                                         params={**one.product.params, "spec": spec}))
        after.append(one.addition.replace(inputs=(eqn.inputs[first + one.number], total),
                                          outputs=(eqn.outputs[one.number],)))
    return [loop, *after]


def _over_steps(spec: Spec, length: int) -> Spec:
    """The product of stacked operands, summed over the steps too."""
    step = len(spec.sizes)
    return make_spec([(Direct(step), *axes) for axes in spec.operands], spec.output, {**spec.extent, step: length})
