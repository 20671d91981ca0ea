"""Differentiation: one trace that carries tangents, and a walk backwards over what it staged.

Input: a function of arrays. Output: its value with a tangent (`jvp`), or with a linear program of its tangents
(`linearize`), which `vjp` and `grad` transpose:

    >>> grad(lambda x: x ** 3)(2.0)
    Array(12., dtype=float32)

`JVPTrace` runs the `jvp` rule of each primitive under its parent. `jvp` puts it over the current trace. `linearize`
puts it over a `SplitTrace`, which stages every operation that touches a tangent and sends all others on to the current
trace; what the staged program closes over are the residuals. `vjp` walks the staged program backwards with a table of
cotangents. A tangent or cotangent that is surely zero is the symbol `ZERO`, and nothing is computed for it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, dtypes, primitives
from ftiny import tree as full_tree
from ftiny.core import ZERO, Aval, Jaxpr, Linear, StageTrace, Trace, Tracer, Var
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.source import inherit, located, transform_scope
from ftiny.transforms.common import (
    FlatFunction,
    as_dtype,
    canonical,
    check_leaves,
    check_matches,
    differentiable,
    instantiate,
    name_of,
    positional,
)

# ---- the traces -------------------------------------------------------------------------------------------------


class JVPTracer(Tracer):
    """A value of the parent trace together with its tangent, which is never ZERO."""

    __slots__ = ("primal", "tangent")

    def __init__(self, trace: JVPTrace, primal, tangent, aval: Aval | None = None):
        super().__init__(trace, aval or core.get_aval(primal))
        self.primal, self.tangent = primal, tangent

    # Decisions carry no derivative, so they may be made on the value where it is known (not inside jit).

    def __bool__(self) -> bool:
        return bool(self.primal)

    def __int__(self) -> int:
        return int(self.primal)

    def __index__(self) -> int:
        return operator.index(self.primal)


class JVPTrace(Trace):
    """Runs the `jvp` rule of every primitive under the parent trace."""

    name = "grad"

    def __init__(self, parent: Trace):
        self.parent = parent

    def split(self, x) -> tuple[Any, Any]:
        """The primal and the tangent of a value; what is not of this trace is a constant."""
        if isinstance(x, JVPTracer) and x.trace is self:
            return x.primal, x.tangent
        return x, ZERO

    def join(self, primal, tangent):
        """The value with this tangent; values without one stay values of the parent."""
        return primal if tangent is ZERO else JVPTracer(self, primal, tangent)

    def process(self, primitive, args, params):
        """The results of the primitive's `jvp` rule (or of its `linearize` rule above a `SplitTrace`)."""
        primals, tangents = zip(*map(self.split, args)) if args else ((), ())
        if all(tangent is ZERO for tangent in tangents):
            with core.using(self.parent):
                return self.parent.process(primitive, primals, params)
        with core.using(self.parent), transform_scope("jvp"):
            if primitive.linearize is not None and isinstance(self.parent, SplitTrace):
                outs, out_tangents = primitive.linearize(self.parent, primals, tangents, **params)
            else:
                outs, out_tangents = primitive.jvp(primals, tangents, **params)
        if not primitive.multiple_results:
            outs, out_tangents = [outs], [out_tangents]
        return list(map(self.join, outs, out_tangents))


class SplitTrace(Trace):
    """Under a `JVPTrace`: stages whatever touches a staged tangent, passes the rest to the parent."""

    name = "grad"

    def __init__(self, parent: Trace, staged: StageTrace):
        self.parent, self.staged = parent, staged

    def process(self, primitive, args, params):
        """One equation, in the staged program if an argument is of it, else under the parent."""
        touches = any(isinstance(arg, Tracer) and arg.trace is self.staged for arg in args)
        trace = self.staged if touches else self.parent
        with core.using(trace):
            return trace.process(primitive, args, params)


def run_jvp(parent: Trace, function: Callable, primals: Sequence, tangents: Sequence) -> tuple[list, list]:
    """The results of a flat function and their tangents, under `parent`; tangents may be ZERO."""
    trace = JVPTrace(parent)
    arguments = []
    for primal, tangent in zip(primals, tangents):
        # The tracer of a Python number keeps its aval, so that it still adopts the dtype of what it meets.
        aval = core.get_aval(primal)
        arguments.append(primal if tangent is ZERO else JVPTracer(trace, canonical(primal), tangent, aval))
    try:
        with core.using(trace):
            results = function(*arguments)
        outs = [trace.split(x) for x in results]
    finally:
        trace.close()
    return [out for out, _ in outs], [tangent for _, tangent in outs]


def linearize_flat(function: Callable, primals: Sequence, nonzero: Sequence[bool]):
    """Split a flat function at `primals`: its results now, and a linear program of its tangents.

    Returns `(outs, out_nonzero, program)`: `program` takes the tangents of the primals marked in `nonzero`, gives the
    tangents of the results marked in `out_nonzero`, and its `consts` are the residuals.
    """
    staged = StageTrace("the linear part of grad")
    try:
        tangents = [staged.argument(core.get_aval(p).update()) if n else ZERO for p, n in zip(primals, nonzero)]
        outs, out_tangents = run_jvp(SplitTrace(core.current_trace(), staged), function, primals, tangents)
        program = staged.finish(t for t in out_tangents if t is not ZERO)
    finally:
        staged.close()
    return outs, [t is not ZERO for t in out_tangents], program


class _AuxFunction(FlatFunction):
    """A `FlatFunction` under a `JVPTrace`; with `has_aux` the function gives `(result, aux)` and `aux` is kept
    aside."""

    def __init__(self, function: Callable, structure: tree.PyTreeDef, has_aux: bool):
        super().__init__(function, structure)
        self.has_aux, self.aux = has_aux, None

    def flatten_result(self, result) -> list:
        """The leaves of the result; the auxiliary part is taken without its tangents."""
        if self.has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise ArgumentError(
                    located(
                        f"with has_aux=True {name_of(self.function)} must return a pair (result, auxiliary data), but "
                        f"it returned a {type(result).__name__}"
                    )
                )
            trace = core.current_trace()
            assert isinstance(trace, JVPTrace)
            result, self.aux = result[0], tree.map(lambda x: trace.split(x)[0], result[1])
        return super().flatten_result(result)


# ---- backwards --------------------------------------------------------------------------------------------------


def backward(program: Jaxpr, values: Sequence, cotangents: Sequence, linear: Sequence[bool] | None = None) -> list:
    """Transpose a program: from cotangents of its outputs to cotangents of its linear inputs.

    `linear` marks the inputs the program is linear in (default: all); `values` are those of the other inputs. A
    cotangent may be ZERO; the result has one entry, possibly ZERO, for each linear input.
    """
    linear = [True] * len(program.inputs) if linear is None else linear
    env: dict[Var, Any] = dict(zip(program.constvars, program.consts))
    env.update(zip((v for v, is_linear in zip(program.inputs, linear) if not is_linear), values))
    wanted = [v for v, is_linear in zip(program.inputs, linear) if is_linear]
    tangent_eqns = _run_known(program, env, set(wanted))
    found: dict[Var, Any] = {}

    def accumulate(atom, cotangent) -> None:
        if isinstance(atom, Var) and atom not in env and cotangent is not ZERO:
            found[atom] = primitives.add_tangents(found.get(atom, ZERO), cotangent)

    for atom, cotangent in zip(program.outputs, cotangents):
        accumulate(atom, cotangent)
    for eqn in reversed(tangent_eqns):
        out_cotangents = [found.pop(var, ZERO) for var in eqn.outputs]
        if all(cotangent is ZERO for cotangent in out_cotangents):
            continue
        inputs = [Linear(a.aval) if isinstance(a, Var) and a not in env else core.read(env, a) for a in eqn.inputs]
        with inherit(eqn.source), transform_scope("transpose"):
            one = out_cotangents if eqn.primitive.multiple_results else out_cotangents[0]
            for atom, cotangent in zip(eqn.inputs, eqn.primitive.transpose(one, *inputs, **eqn.params)):
                accumulate(atom, cotangent)
    return [found.get(var, ZERO) for var in wanted]


def _run_known(program: Jaxpr, env: dict[Var, Any], linear: set[Var]) -> list:
    """Evaluate the equations that touch no linear variable into `env`; the others, in order."""
    tangent_eqns = []
    for eqn in program.eqns:
        if any(isinstance(atom, Var) and atom in linear for atom in eqn.inputs):
            linear.update(eqn.outputs)
            tangent_eqns.append(eqn)
            continue
        with inherit(eqn.source):
            outs = eqn.primitive.bind(*(core.read(env, atom) for atom in eqn.inputs), **eqn.params)
        env.update(zip(eqn.outputs, outs if eqn.primitive.multiple_results else [outs]))
    return tangent_eqns


# ---- forward mode -----------------------------------------------------------------------------------------------


def jvp(function: Callable, primals: Sequence, tangents: Sequence, has_aux: bool = False):
    """The value of `function(*primals)` and its derivative along `tangents`.

    `primals` and `tangents` are sequences of pytrees of equal structure, shapes and dtypes; tangents of integers and
    bools are ignored. Returns `(out, out_tangent)`, with `has_aux` `(out, out_tangent, aux)` where the function gives
    `(out, aux)`.

    Raises `ArgumentError` for different structures, `ShapeError` or `DtypeError` for tangents that do not fit.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ArgumentError(located("jvp takes its primals and its tangents as tuples: jvp(f, (x,), (t,))"))
    check_leaves("jvp", primals)
    leaves, structure = tree.flatten(tuple(primals))
    tangent_leaves = _tangent_leaves("jvp", tangents, structure, leaves)
    flat = _AuxFunction(function, structure, has_aux)
    outs, out_tangents = run_jvp(core.current_trace(), flat, leaves, tangent_leaves)
    outs = list(map(_result, outs))
    out_tangents = [instantiate(t, core.get_aval(out)) for t, out in zip(out_tangents, outs)]
    result = tree.unflatten(flat.out_structure, outs), tree.unflatten(flat.out_structure, out_tangents)
    return (*result, flat.aux) if has_aux else result


def _result(x):
    """A result for the user: numbers and numpy values become arrays."""
    return (
        x
        if isinstance(x, core.ArrayLike)
        else primitives.broadcast(canonical(x), shape=np.shape(x), dims=tuple(range(np.ndim(x))))
    )


def _tangent_leaves(what: str, tangents: Sequence, structure, leaves: Sequence) -> list:
    """The leaves of `tangents`, checked against the primals; ZERO for primals without derivative."""
    found, tangent_structure = tree.flatten(tuple(tangents))
    if tangent_structure != structure:
        raise ArgumentError(
            located(
                f"{what}: primals and tangents must have the same structure, but they have {structure} and "
                f"{tangent_structure}"
            )
        )
    result = []
    for number, (primal, tangent) in enumerate(zip(leaves, found)):
        aval = core.get_aval(primal)
        if not differentiable(aval):
            result.append(ZERO)
            continue
        check_matches(f"{what}: tangent {number}", tangent, aval, "its primal")
        result.append(as_dtype(tangent, aval))
    return result


def linearize(function: Callable, *primals, has_aux: bool = False):
    """The value of `function(*primals)` and the linear function of its tangents at that point.

    Returns `(out, pushforward)`, with `has_aux` `(out, pushforward, aux)`. `pushforward(*tangents)` gives the tangent
    of the result and costs no second evaluation of `function`; it may be called many times.
    """
    check_leaves("linearize", primals)
    leaves, structure = tree.flatten(primals)
    flat = _AuxFunction(function, structure, has_aux)
    nonzero = [differentiable(core.get_aval(x)) for x in leaves]
    outs, out_nonzero, program = linearize_flat(flat, leaves, nonzero)
    outs = list(map(_result, outs))
    avals = [core.get_aval(out).update() for out in outs]
    out_structure = flat.out_structure

    def pushforward(*tangents):
        """The tangent of the result for these tangents of the arguments."""
        given = _tangent_leaves("pushforward", tangents, structure, leaves)
        found = iter(core.eval_jaxpr(program, *(t for t in given if t is not ZERO)))
        return tree.unflatten(
            out_structure,
            [
                _result(next(found)) if is_nonzero else instantiate(ZERO, aval)
                for is_nonzero, aval in zip(out_nonzero, avals)
            ],
        )

    out = tree.unflatten(out_structure, outs)
    return (out, pushforward, flat.aux) if has_aux else (out, pushforward)


def jacfwd(function: Callable, argnums=0, has_aux: bool = False) -> Callable:
    """The Jacobian of `function` by forward mode, one pass for each element of the inputs (batched by `vmap`).

    The result has the structure of the output, with the structure of the arguments `argnums` inside each leaf, and
    leaves of shape `output.shape + input.shape`.
    """

    @functools.wraps(function)
    def jacobian(*args, **kwargs):
        chosen = positional(argnums, len(args), "jacfwd")
        partial = _on_arguments(function, args, kwargs, chosen)
        inputs = tuple(args[position] for position in chosen)
        _check_differentiable("jacfwd", args, chosen)
        out, pushforward, *aux = linearize(partial, *inputs, has_aux=has_aux)
        leaves, structure = tree.flatten(inputs)
        columns = _map_basis(lambda *tangents: pushforward(*tree.unflatten(structure, tangents)), leaves)

        def unpack(column):  # (all input elements, *output.shape) -> one array for each input
            moved = _transpose_first_to_last(column)
            pieces = _split_last(moved, leaves)
            found = tree.unflatten(structure, pieces)
            return found if isinstance(argnums, (tuple, list)) else found[0]

        result = tree.map(unpack, columns)
        return (result, aux[0]) if has_aux else result

    return jacobian


def _map_basis(function: Callable, leaves: Sequence):
    """`vmap` of a linear function over the standard basis of the space of these leaves."""
    from ftiny.transforms.vmap import vmap  # vmap stands on nothing here; the names stay in one direction

    avals = [core.get_aval(x) for x in leaves]
    total = sum(aval.size for aval in avals)
    basis, start = [], 0
    for aval in avals:
        rows = primitives.iota(shape=(total, aval.size), dtype=dtypes.int32, axis=0)
        columns = primitives.iota(shape=(total, aval.size), dtype=dtypes.int32, axis=1)
        ones = primitives.compare(rows, primitives.add(columns, np.int32(start)), dir="eq")
        basis.append(primitives.reshape(primitives.convert(ones, dtype=aval.dtype), shape=(total, *aval.shape)))
        start += aval.size
    return vmap(function)(*basis)


def _transpose_first_to_last(x):
    return primitives.transpose(x, permutation=(*range(1, x.ndim), 0))


def _split_last(x, leaves: Sequence) -> list:
    """The last axis of `x` cut and reshaped into the shapes of `leaves`."""
    pieces, start = [], 0
    head = x.shape[:-1]
    for leaf in leaves:
        aval = core.get_aval(leaf)
        piece = primitives.slice(
            x, starts=(0,) * len(head) + (start,), limits=(*head, start + aval.size), strides=(1,) * x.ndim
        )
        pieces.append(primitives.reshape(piece, shape=head + aval.shape))
        start += aval.size
    return pieces


# ---- reverse mode -----------------------------------------------------------------------------------------------


class _Pullback:
    """The static half of a vjp function: the linear program and the structures (residuals are passed in)."""

    def __init__(self, program: Jaxpr, out_nonzero, out_avals, out_structure, in_nonzero, in_avals, in_structure):
        self.program, self.out_nonzero, self.out_avals = program.replace(consts=()), out_nonzero, out_avals
        self.out_structure, self.in_nonzero = out_structure, in_nonzero
        self.in_avals, self.in_structure = in_avals, in_structure

    def __call__(self, residuals: tuple, cotangent) -> tuple:
        """The cotangents of the primals, one pytree for each."""
        found, structure = tree.flatten(cotangent)
        if structure != self.out_structure:
            raise ArgumentError(
                located(
                    f"vjp: the cotangent must have the structure of the result, {self.out_structure}, not {structure}"
                )
            )
        for number, (value, aval) in enumerate(zip(found, self.out_avals)):
            if differentiable(aval):
                check_matches(f"vjp: cotangent {number}", value, aval, "the result")
        used = [as_dtype(c, a) for c, a, nonzero in zip(found, self.out_avals, self.out_nonzero) if nonzero]
        gradients = iter(backward(self.program.replace(consts=residuals), [], used))
        return tree.unflatten(
            self.in_structure,
            [
                _result(instantiate(next(gradients) if nonzero else ZERO, aval))
                for aval, nonzero in zip(self.in_avals, self.in_nonzero)
            ],
        )


def vjp(function: Callable, *primals, has_aux: bool = False):
    """The value of `function(*primals)` and the function that pulls cotangents of it back to the primals.

    Returns `(out, pullback)`, with `has_aux` `(out, pullback, aux)`. `pullback(cotangent)` takes a tree like `out` and
    gives a tuple with one tree for each primal; integer and bool primals get zeros of their own dtype. The pullback is
    a pytree of its residuals, so that a jitted function may return it.

    Raises `ArgumentError`, `ShapeError` or `DtypeError` from `pullback` when the cotangent does not fit the result.
    """
    check_leaves("vjp", primals)
    leaves, structure = tree.flatten(primals)
    flat = _AuxFunction(function, structure, has_aux)
    avals = [core.get_aval(x).update() for x in leaves]
    nonzero = [differentiable(aval) for aval in avals]
    outs, out_nonzero, program = linearize_flat(flat, leaves, nonzero)
    outs = list(map(_result, outs))
    out_avals = [core.get_aval(out).update() for out in outs]
    static = _Pullback(program, out_nonzero, out_avals, flat.out_structure, nonzero, avals, structure)
    pullback = tree.Partial(static, tuple(program.consts))
    out = tree.unflatten(flat.out_structure, outs)
    return (out, pullback, flat.aux) if has_aux else (out, pullback)


def _on_arguments(function: Callable, args: Sequence, kwargs: dict, chosen: Sequence[int]) -> Callable:
    """`function` of the chosen positional arguments only, the others fixed."""

    @functools.wraps(function)
    def partial(*inputs):
        full = list(args)
        for position, value in zip(chosen, inputs):
            full[position] = value
        return function(*full, **kwargs)

    return partial


def _check_differentiable(what: str, args: Sequence, chosen: Sequence[int], holomorphic: bool = False) -> None:
    """Raise `DtypeError` naming the first chosen argument whose dtype carries no derivative."""
    check_leaves(what, args)
    for position in chosen:
        for path, leaf in full_tree.leaves_with_path(args[position]):
            if isinstance(leaf, core.TypedKey):
                name = f"argument {position}{tree.keystr(path)}"
                raise DtypeError(
                    located(f"{what}: {name} is a typed key, which has no derivative; argnums chooses the arguments")
                )
            found = core.get_aval(leaf).dtype
            name = f"argument {position}{tree.keystr(path)}"
            if not dtypes.is_inexact(found):
                raise DtypeError(
                    located(
                        f"{what}: {name} has dtype {found}, which has no derivative. Convert it to a float, for "
                        "example with .astype('float32'), or leave it out: argnums chooses the arguments to "
                        "differentiate"
                    )
                )
            if dtypes.kind(found) == "complex" and not holomorphic and what in ("grad", "value_and_grad"):
                raise DtypeError(
                    located(
                        f"{what}: {name} has dtype {found}; pass holomorphic=True for a complex derivative, or split "
                        "it into real and imaginary parts"
                    )
                )


def value_and_grad(function: Callable, argnums=0, has_aux: bool = False, holomorphic: bool = False) -> Callable:
    """A function that gives `(function(...), gradient)` for a `function` with a scalar result.

    The gradient has the structure of the argument `argnums`, or is a tuple of them if `argnums` is a tuple. With
    `has_aux` the function gives `(loss, aux)` and the result is `((loss, aux), gradient)`.

    Raises `DtypeError` for integer or bool arguments, `ShapeError` for a result that is not a scalar.
    """
    return _value_and_grad("value_and_grad", function, argnums, has_aux, holomorphic)


def grad(function: Callable, argnums=0, has_aux: bool = False, holomorphic: bool = False) -> Callable:
    """The gradient of a function with a scalar result, with respect to the arguments `argnums`.

    The result has the structure of the argument, or is a tuple if `argnums` is one. With `has_aux` the function gives
    `(loss, aux)` and the result is `(gradient, aux)`.

    Raises `DtypeError` for integer or bool arguments, `ShapeError` for a result that is not a scalar.
    """
    both = _value_and_grad("grad", function, argnums, has_aux, holomorphic)

    @functools.wraps(function)
    def gradient(*args, **kwargs):
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def _value_and_grad(what: str, function: Callable, argnums, has_aux: bool, holomorphic: bool) -> Callable:
    if not callable(function):
        raise ArgumentError(located(f"{what} takes a function, not a {type(function).__name__}"))

    @functools.wraps(function)
    def value_and_gradient(*args, **kwargs):
        chosen = positional(argnums, len(args), what)
        _check_differentiable(what, args, chosen, holomorphic)
        partial = _on_arguments(function, args, kwargs, chosen)
        value, pullback, *aux = vjp(partial, *(args[position] for position in chosen), has_aux=has_aux)
        seed = _check_scalar(what, function, value, holomorphic)
        gradients = pullback(seed)
        found = gradients if isinstance(argnums, (tuple, list)) else gradients[0]
        return ((value, aux[0]), found) if has_aux else (value, found)

    return value_and_gradient


def _check_scalar(what: str, function, value, holomorphic: bool):
    """The cotangent one of a scalar result; raises `ShapeError` or `DtypeError` for any other result."""
    if not isinstance(value, core.ArrayLike):
        raise ArgumentError(
            located(
                f"{what}: {name_of(function)} must return one scalar, but it returned a {type(value).__name__}; return "
                "auxiliary values with has_aux=True"
            )
        )
    if value.shape != ():
        raise ShapeError(
            located(
                f"{what}: {name_of(function)} must return a scalar, but its result has shape {value.shape}. Reduce it, "
                "for example with .sum() or .mean(), or use jacrev or jacfwd for a Jacobian"
            )
        )
    if not dtypes.is_float(value.dtype) and not (holomorphic and dtypes.is_inexact(value.dtype)):
        raise DtypeError(
            located(
                f"{what}: {name_of(function)} must return a real float, but its result has dtype {value.dtype}; "
                "convert it with .astype('float32')"
            )
        )
    return np.ones((), value.dtype)[()]


def jacrev(function: Callable, argnums=0, has_aux: bool = False) -> Callable:
    """The Jacobian of `function` by reverse mode, one pass for each element of the output (batched by `vmap`).

    The result has the structure of the output, with the structure of the arguments `argnums` inside each leaf, and
    leaves of shape `output.shape + input.shape`.
    """

    @functools.wraps(function)
    def jacobian(*args, **kwargs):
        chosen = positional(argnums, len(args), "jacrev")
        _check_differentiable("jacrev", args, chosen)
        partial = _on_arguments(function, args, kwargs, chosen)
        out, pullback, *aux = vjp(partial, *(args[position] for position in chosen), has_aux=has_aux)
        leaves, structure = tree.flatten(out)
        rows = _map_basis(lambda *cotangents: pullback(tree.unflatten(structure, cotangents)), leaves)
        pieces: list[list] = [[] for _ in leaves]
        row_leaves, in_structure = tree.flatten(rows)
        for row in row_leaves:  # (all output elements, *input.shape) -> one array for each output
            for found, piece in zip(pieces, _split_first(row, leaves)):
                found.append(piece)
        trees = [tree.unflatten(in_structure, found) for found in pieces]
        result = tree.unflatten(structure, [t if isinstance(argnums, (tuple, list)) else t[0] for t in trees])
        return (result, aux[0]) if has_aux else result

    return jacobian


def _split_first(x, leaves: Sequence) -> list:
    """The first axis of `x` cut and reshaped into the shapes of `leaves`."""
    pieces, start = [], 0
    tail = x.shape[1:]
    for leaf in leaves:
        aval = core.get_aval(leaf)
        piece = primitives.slice(
            x, starts=(start,) + (0,) * len(tail), limits=(start + aval.size, *tail), strides=(1,) * x.ndim
        )
        pieces.append(primitives.reshape(piece, shape=aval.shape + tail))
        start += aval.size
    return pieces


def hessian(function: Callable, argnums=0, has_aux: bool = False) -> Callable:
    """The matrix of second derivatives: forward mode over reverse mode."""
    return jacfwd(jacrev(function, argnums, has_aux), argnums, has_aux)


def linear_transpose(function: Callable, *primals) -> Callable:
    """The transpose of a function that is linear in all its arguments.

    `primals` give the shapes and dtypes (arrays or `ShapeDtypeStruct`). The result takes a cotangent like the
    function's result and gives a tuple of cotangents, one for each argument.
    """
    leaves, structure = tree.flatten(primals)
    avals = [core.get_aval(x).update() for x in leaves]
    flat = FlatFunction(function, structure)
    program = core.stage(flat, avals, "linear_transpose")
    out_avals = [aval.update() for aval in program.out_avals]
    static = _Pullback(
        program, [True] * len(out_avals), out_avals, flat.out_structure, [True] * len(avals), avals, structure
    )
    return tree.Partial(static, tuple(program.consts))
