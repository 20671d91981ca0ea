"""Derivative rules written by the user: `custom_jvp`, `custom_vjp`, and `stop_gradient`.

Input: a function and its rule. Output: a function that computes the same and is differentiated by the rule, under any
composition of transformations:

    @custom_jvp
    def softplus(x):
        return np.log1p(np.exp(x))

    @softplus.defjvp
    def _(primals, tangents):
        (x,), (t,) = primals, tangents
        return softplus(x), t * nn.sigmoid(x)

In a program such a function is one equation, `custom_jvp[jaxpr rule]` or `custom_vjp[jaxpr rules]`, whose body computes
the value. Rules are functions of flat values, run under whatever trace is on when the derivative is taken. Under
`linearize`, a `custom_vjp` stages a `custom_vjp_tangent` equation, which can only be transposed: that runs `bwd`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ftiny import array_tree as tree
from ftiny import core, primitives
from ftiny.core import ZERO, Anchor, Aval, Jaxpr, Primitive, not_needed
from ftiny.errors import ArgumentError, DtypeError, RuleError, ShapeError
from ftiny.lowering.interpret import interpret
from ftiny.source import located
from ftiny.transforms.common import (
    FlatFunction,
    as_dtype,
    check_leaves,
    differentiable,
    instantiate,
    is_array,
    name_of,
    zeros,
)
from ftiny.transforms.programs import batched_program
from ftiny.transforms.vmap import move_to, run_batched


def _inline_numpy(*arrays, jaxpr: Jaxpr, **rules):
    return interpret(jaxpr, arrays)


def _body_avals(*avals, jaxpr: Jaxpr, **rules):
    return [aval.update() for aval in jaxpr.out_avals]


def _check_closure(name: str, tangents: Sequence, count: int) -> None:
    """Raise when a value that the function closed over, one of the first `count`, is being differentiated."""
    if any(t is not ZERO for t in tangents[:count]):
        raise RuleError(
            located(
                f"{name} closes over a value that is being differentiated, of which its rule knows nothing; pass the "
                "value as an argument of the function"
            )
        )


# ---- custom_jvp ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class JvpRule:
    """`function(primals, tangents) -> (outs, out_tangents)` over flat values; the first `closure` inputs of the
    equation are what the function closed over, which the rule does not see."""

    name: str
    function: Callable[[Sequence, Sequence], tuple[list, list]]
    closure: int

    def __str__(self) -> str:
        return self.name


def _custom_jvp_jvp(primals, tangents, *, jaxpr, rule: JvpRule):
    _check_closure(rule.name, tangents, rule.closure)
    return rule.function(primals[rule.closure :], tangents[rule.closure :])


def _custom_jvp_batch(axis_size, args, dims, *, jaxpr, rule: JvpRule, axis_name=None):
    program, out_dims = batched_program(jaxpr, axis_size, tuple(dims), (0,) * len(jaxpr.outputs), axis_name)
    args, dims = list(args), list(dims[rule.closure :])

    def batched(primals, tangents):
        flags = [t is not ZERO for t in tangents]
        dense = [t for t in tangents if t is not ZERO]
        shape: dict[str, Any] = {}

        def both(*values):
            given = iter(values[len(primals) :])
            outs, out_tangents = rule.function(values[: len(primals)], [next(given) if f else ZERO for f in flags])
            shape["nonzero"] = [t is not ZERO for t in out_tangents]
            return outs + [t for t in out_tangents if t is not ZERO]

        tangent_dims = [d for d, f in zip(dims, flags) if f]
        values, found = run_batched(
            core.current_trace(), both, [*primals, *dense], dims + tangent_dims, axis_size, axis_name
        )
        values = [move_to(x, d, 0, axis_size) for x, d in zip(values, found)]
        outs, dense_out = values[: len(jaxpr.outputs)], iter(values[len(jaxpr.outputs) :])
        return outs, [next(dense_out) if n else ZERO for n in shape["nonzero"]]

    new_rule = JvpRule(rule.name, batched, rule.closure + len(program.consts))
    return custom_jvp_p.bind(*program.consts, *args, jaxpr=program.close_over(), rule=new_rule), list(out_dims)


custom_jvp_p = Primitive(
    "custom_jvp",
    multiple_results=True,
    abstract=_body_avals,
    numpy=_inline_numpy,
    jvp=_custom_jvp_jvp,
    transpose=not_needed(
        "a function with a custom_jvp rule is differentiated by its rule before anything is transposed"
    ),
    batch=_custom_jvp_batch,
    factors=not_needed("a call is inlined before it is partitioned"),
    lower=Anchor("call"),
    effects=lambda params: params["jaxpr"].effects,
)


class _Custom:
    """What custom_jvp and custom_vjp share: arguments that are split into differentiable and other ones."""

    def __init__(self, function: Callable, nondiff_argnums: Sequence[int]):
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        self.function = function
        self.nondiff = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)

    def _separate(self, args: tuple, kwargs: dict):
        """`(values, others)`: the arguments with a derivative in order, and the others by position; keywords are
        resolved through the signature."""
        if kwargs:
            import inspect

            try:
                bound = inspect.signature(self.function).bind(*args, **kwargs)
            except TypeError as problem:
                raise ArgumentError(located(f"{name_of(self.function)}: {problem}")) from None
            bound.apply_defaults()
            args = bound.args
        positions = {n % len(args) for n in self.nondiff} if args else set()
        return [x for i, x in enumerate(args) if i not in positions], {i: args[i] for i in sorted(positions)}, len(args)

    def _partial(self, function: Callable, others: dict[int, Any], count: int) -> Callable:
        """`function` of the differentiable arguments only."""

        @functools.wraps(function)
        def partial(*values):
            rest = iter(values)
            return function(*(others[i] if i in others else next(rest) for i in range(count)))

        return partial

    def _stage(self, what: str, values: Sequence, others: dict[int, Any], count: int):
        """`(leaves, flat function, program)` of one call."""
        check_leaves(f"{what} of {name_of(self.function)}", values)
        leaves, structure = tree.flatten(tuple(values))
        flat = FlatFunction(self._partial(self.function, others, count), structure)
        program = core.stage(flat, [core.get_aval(x) for x in leaves], f"{what}({name_of(self.function)})")
        return leaves, flat, program

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)


class custom_jvp(_Custom):  # noqa: N801
    """A function whose derivative is given by `defjvp` or `defjvps`. Also a decorator.

    nondiff_argnums: positions of arguments that are Python values for the rule; they come first in its arguments.
    The rule is `rule(*nondiff, primals, tangents) -> (out, out_tangent)`, linear in the tangents.

    Raises `RuleError` when it is differentiated without a rule, `ArgumentError`, `ShapeError` or `DtypeError` when the
    rule's results do not fit each other.
    """

    def __init__(self, function: Callable, nondiff_argnums: Sequence[int] = ()):
        super().__init__(function, nondiff_argnums)
        self.rule: Callable | None = None

    def defjvp(self, rule: Callable) -> Callable:
        """Set the rule; returns it, so that it can be used as a decorator."""
        self.rule = rule
        return rule

    def defjvps(self, *rules: Callable | None) -> None:
        """One rule for each argument, `rule(tangent, out, *primals) -> out_tangent`; None where the derivative is
        zero."""
        if self.nondiff:
            raise ArgumentError(located("defjvps does not go with nondiff_argnums; use defjvp"))

        def rule(primals, tangents):
            out = self(*primals)
            terms = [one(t, out, *primals) for one, t in zip(rules, tangents) if one is not None]
            if not terms:
                return out, tree.map(lambda x: zeros(core.get_aval(x).update()), out)
            return out, functools.reduce(lambda a, b: tree.map(primitives.add, a, b), terms)

        self.rule = rule

    def __call__(self, *args, **kwargs):
        """The value of the function."""
        values, others, count = self._separate(args, kwargs)
        if isinstance(core.current_trace(), core.EvalTrace):
            return self.function(*args, **kwargs)
        leaves, flat, program = self._stage("custom_jvp", values, others, count)
        avals = [core.get_aval(x).update() for x in leaves]
        rule = JvpRule(
            name_of(self.function), functools.partial(self._flat_rule, flat, others, avals), len(program.consts)
        )
        outs = custom_jvp_p.bind(*program.consts, *leaves, jaxpr=program.close_over(), rule=rule)
        return tree.unflatten(flat.out_structure, outs)

    def _flat_rule(self, flat: FlatFunction, others: dict[int, Any], avals: Sequence[Aval], primals, tangents):
        """The user's rule over flat values."""
        name = name_of(self.function)
        if self.rule is None:
            raise RuleError(located(f"custom_jvp: {name} has no rule; give it one with {name}.defjvp(rule)"))
        dense = [instantiate(t, core.get_aval(x).update()) for t, x in zip(tangents, primals)]
        result = self.rule(
            *others.values(), tree.unflatten(flat.structure, primals), tree.unflatten(flat.structure, dense)
        )
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(located(f"custom_jvp: the rule of {name} must return a pair (out, out_tangent)"))
        (outs, out_structure), (out_tangents, tangent_structure) = map(tree.flatten, result)
        if out_structure != flat.out_structure:
            raise ArgumentError(
                located(
                    f"custom_jvp: the rule of {name} returns a value of structure {out_structure}, but the "
                    f"function returns {flat.out_structure}"
                )
            )
        if tangent_structure != out_structure:
            raise ArgumentError(
                located(
                    f"custom_jvp: the rule of {name} returns a tangent of structure {tangent_structure} "
                    f"for a value of structure {out_structure}; they must be equal"
                )
            )
        return outs, [
            _checked(f"custom_jvp: a tangent from the rule of {name}", t, core.get_aval(out).update())
            for out, t in zip(outs, out_tangents)
        ]


def _checked(what: str, value, aval: Aval):
    """A tangent or cotangent from a user's rule: ZERO where there is no derivative, else of the aval's shape and
    dtype."""
    if not differentiable(aval):
        return ZERO
    found = core.get_aval(value)
    value = as_dtype(value, aval)
    if found.shape != aval.shape:
        raise ShapeError(located(f"{what} has shape {found.shape}, but its value has shape {aval.shape}"))
    if not found.scalar and found.dtype != aval.dtype:
        raise DtypeError(located(f"{what} has dtype {found.dtype}, but its value has dtype {aval.dtype}; use .astype"))
    return value


# ---- custom_vjp ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class VjpRules:
    """`forward(*primals) -> (outs, residuals, backward)` over flat values, and `backward(residuals, cotangents) ->
    cotangents` of the primals, some of which may be ZERO; the cotangents that it is given are dense, one for each
    output.

    The first `closure` inputs of the equation are what the function closed over, which the rules do not see.
    """

    name: str
    forward: Callable[..., tuple[list, list, Callable]]
    closure: int

    def __str__(self) -> str:
        return self.name


def _custom_vjp_jvp(primals, tangents, *, jaxpr, rules: VjpRules):
    if all(t is ZERO for t in tangents):
        outs = custom_vjp_p.bind(*primals, jaxpr=jaxpr, rules=rules)
        return outs, [ZERO] * len(outs)
    raise RuleError(
        located(
            f"{rules.name} has a custom_vjp rule, which is for reverse mode (grad, vjp, jacrev) only; for jvp and "
            "jacfwd give the function a custom_jvp rule, which serves both"
        )
    )


def _custom_vjp_linearize(trace, primals, tangents, *, jaxpr, rules: VjpRules):
    _check_closure(rules.name, tangents, rules.closure)
    primals, tangents = primals[rules.closure :], tangents[rules.closure :]
    with core.using(trace.parent):
        outs, residuals, backward = rules.forward(*primals)
    avals = tuple(core.get_aval(out).update() for out in outs)
    linear = tuple(t is not ZERO for t in tangents)
    with core.using(trace.staged):
        found = custom_vjp_tangent_p.bind(
            *residuals,
            *(t for t in tangents if t is not ZERO),
            name=rules.name,
            linear=linear,
            backward=backward,
            out_avals=avals,
        )
    return outs, [t if differentiable(aval) else ZERO for t, aval in zip(found, avals)]


def _custom_vjp_batch(axis_size, args, dims, *, jaxpr, rules: VjpRules, axis_name=None):
    program, out_dims = batched_program(jaxpr, axis_size, tuple(dims), (0,) * len(jaxpr.outputs), axis_name)
    in_dims = list(dims[rules.closure :])

    def forward(*primals):
        inner: list = []

        def both(*values):
            inner[:] = rules.forward(*values)
            return [*inner[0], *inner[1]]

        values, found = run_batched(core.current_trace(), both, primals, in_dims, axis_size, axis_name)
        count = len(inner[0])
        outs = [move_to(x, d, 0, axis_size) for x, d in zip(values[:count], found)]
        return (
            outs,
            values[count:],
            functools.partial(_batched_backward, inner[2], found[count:], in_dims, axis_size, axis_name),
        )

    new_rules = VjpRules(rules.name, forward, rules.closure + len(program.consts))
    return custom_vjp_p.bind(*program.consts, *args, jaxpr=program.close_over(), rules=new_rules), list(out_dims)


def _batched_backward(
    backward: Callable, residual_dims, in_dims, axis_size: int, axis_name, residuals, cotangents
) -> list:
    """The backward rule of a mapped function; cotangents are mapped along axis 0."""
    flags: list[bool] = []

    def pull(*values):
        found = backward(values[: len(residuals)], values[len(residuals) :])
        flags.extend(ct is not ZERO for ct in found)
        return [ct for ct in found if ct is not ZERO]

    values, found = run_batched(
        core.current_trace(),
        pull,
        [*residuals, *cotangents],
        [*residual_dims, *(0 for _ in cotangents)],
        axis_size,
        axis_name,
    )
    dense = iter(zip(values, found))
    return [ZERO if not flag else _unbatched(*next(dense), target, axis_size) for flag, target in zip(flags, in_dims)]


def _unbatched(cotangent, dim: int | None, target: int | None, size: int):
    """A cotangent with its mapped axis where the primal has it, or summed over it when the primal is not mapped."""
    if target is not None:
        return move_to(cotangent, dim, target, size)
    return primitives.reduce_axes(move_to(cotangent, dim, 0, size), (0,), "sum")


custom_vjp_p = Primitive(
    "custom_vjp",
    multiple_results=True,
    abstract=_body_avals,
    numpy=_inline_numpy,
    jvp=_custom_vjp_jvp,
    linearize=_custom_vjp_linearize,
    transpose=not_needed(
        "a function with a custom_vjp rule is differentiated by its rule before anything is transposed"
    ),
    batch=_custom_vjp_batch,
    factors=not_needed("a call is inlined before it is partitioned"),
    lower=Anchor("call"),
    effects=lambda params: params["jaxpr"].effects,
)


def _tangent_transpose(cotangents, *inputs, name, linear, backward, out_avals):
    count = len(inputs) - sum(linear)
    found = backward(inputs[:count], [instantiate(ct, aval) for ct, aval in zip(cotangents, out_avals)])
    return [ZERO] * count + [ct for ct, is_linear in zip(found, linear) if is_linear]


_reverse_only = not_needed(
    "a custom_vjp rule gives no tangents: only reverse mode (grad, vjp, jacrev) is possible here; give "
    "the function a custom_jvp rule"
)
custom_vjp_tangent_p = Primitive(
    "custom_vjp_tangent",
    multiple_results=True,
    abstract=lambda *avals, out_avals, **params: list(out_avals),
    numpy=_reverse_only,
    jvp=_reverse_only,
    transpose=_tangent_transpose,
    batch=_reverse_only,
    factors=_reverse_only,
    lower=Anchor("none"),
)


class custom_vjp(_Custom):  # noqa: N801
    """A function whose reverse-mode derivative is given by `defvjp`. Also a decorator.

    nondiff_argnums: positions of arguments that are Python values for the rules.
    The rules are `fwd(*args) -> (out, residuals)`, with the same arguments as the function, and
    `bwd(*nondiff, residuals, cotangent) -> tuple of cotangents`, one for each differentiable argument (None for zero).

    Raises `RuleError` when it is differentiated without rules or in forward mode, `ArgumentError`, `ShapeError` or
    `DtypeError` when the rules' results do not fit.
    """

    def __init__(self, function: Callable, nondiff_argnums: Sequence[int] = ()):
        super().__init__(function, nondiff_argnums)
        self.fwd: Callable | None = None
        self.bwd: Callable | None = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Set the two rules."""
        self.fwd, self.bwd = fwd, bwd

    def __call__(self, *args, **kwargs):
        """The value of the function."""
        values, others, count = self._separate(args, kwargs)
        if isinstance(core.current_trace(), core.EvalTrace):
            return self.function(*args, **kwargs)
        leaves, flat, program = self._stage("custom_vjp", values, others, count)
        avals = [core.get_aval(x).update() for x in leaves]
        rules = VjpRules(
            name_of(self.function), functools.partial(self._forward, flat, others, count, avals), len(program.consts)
        )
        outs = custom_vjp_p.bind(*program.consts, *leaves, jaxpr=program.close_over(), rules=rules)
        return tree.unflatten(flat.out_structure, outs)

    def _forward(self, flat: FlatFunction, others: dict[int, Any], count: int, avals: Sequence[Aval], *primals):
        """The user's forward rule over flat values; `VjpRules.forward`."""
        name = name_of(self.function)
        if self.fwd is None or self.bwd is None:
            raise RuleError(located(f"custom_vjp: {name} has no rules; give it some with {name}.defvjp(fwd, bwd)"))
        result = self._partial(self.fwd, others, count)(*tree.unflatten(flat.structure, primals))
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(located(f"custom_vjp: the forward rule of {name} must return a pair (out, residuals)"))
        (outs, out_structure), (residuals, residual_structure) = map(tree.flatten, result)
        if out_structure != flat.out_structure:
            raise ArgumentError(
                located(
                    f"custom_vjp: the forward rule of {name} returns a value of structure {out_structure}, but the "
                    f"function returns {flat.out_structure}"
                )
            )
        # Residuals that are no arrays stay beside the program.
        plain = [None if is_array(x) else x for x in residuals]
        arrays = [is_array(x) for x in residuals]

        def backward(values, cotangents):
            dense = iter(values)
            saved = tree.unflatten(residual_structure, [next(dense) if f else x for x, f in zip(plain, arrays)])
            given = self.bwd(*others.values(), saved, tree.unflatten(out_structure, cotangents))
            return self._flat_cotangents(given, flat, avals)

        return outs, [x for x in residuals if is_array(x)], backward

    def _flat_cotangents(self, result, flat: FlatFunction, avals: Sequence[Aval]) -> list:
        """What the backward rule returned as one cotangent, or ZERO, for each leaf of the arguments."""
        name = name_of(self.function)
        arguments = tree.unflatten(flat.structure, avals)
        if not isinstance(result, (tuple, list)) or len(result) != len(arguments):
            size = f"{len(result)} values" if isinstance(result, (tuple, list)) else f"a {type(result).__name__}"
            raise ArgumentError(
                located(
                    f"custom_vjp: the backward rule of {name} must return a tuple with one cotangent for each of the "
                    f"{len(arguments)} arguments, but it returned {size}"
                )
            )
        found: list = []
        for position, (argument, cotangent) in enumerate(zip(arguments, result)):
            leaves, structure = tree.flatten(argument)
            if cotangent is None:
                found += [ZERO] * len(leaves)
                continue
            given = tree.leaves(cotangent, is_leaf=lambda x: x is None)
            if len(given) != len(leaves):
                raise ArgumentError(
                    located(
                        f"custom_vjp: the backward rule of {name} returned a cotangent of structure "
                        f"{tree.structure(cotangent)} for argument {position} of structure {structure}"
                    )
                )
            found += [
                ZERO
                if ct is None
                else _checked(
                    f"custom_vjp: the cotangent of argument {position} from the backward rule of {name}", ct, aval
                )
                for ct, aval in zip(given, leaves)
            ]
        return found


# ---- stop_gradient ------------------------------------------------------------------------------------------------


@functools.cache
def _constant_rule() -> JvpRule:
    # The primals may carry tangents of a derivative further out, which are stopped as well.
    rule = lambda primals, tangents: ([stop_gradient(x) for x in primals], [ZERO] * len(primals))
    return JvpRule("stop_gradient", rule, 0)


def stop_gradient(value):
    """`value` (a pytree), through which no derivative flows."""

    def stop(x):
        if not isinstance(x, core.Tracer) or not differentiable(x.aval):
            return x
        return custom_jvp_p.bind(x, jaxpr=_identity(x.aval.update()), rule=_constant_rule())[0]

    return tree.map(stop, value)


@functools.cache
def _identity(aval: Aval) -> Jaxpr:
    var = core.Var(aval)
    return Jaxpr((var,), (), (var,))
