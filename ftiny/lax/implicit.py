"""Implicit differentiation: `custom_root` and `custom_linear_solve`.

Input: a function, and a solver for it which may use loops that have no derivative. Output: the solution, differentiated
by what it solves and not by how it was found:

    >>> def root_of(y):                                            # x with x * x = y, by Newton's method
    ...     step = lambda f, x: ftiny.lax.fori_loop(0, ftiny.numpy.int32(20), lambda i, x: x - f(x) / (2 * x), x)
    ...     return custom_root(lambda x: x * x - y, 1.0, step, lambda g, b: b / g(1.0))
    >>> ftiny.grad(root_of)(4.0)                                   # 1 / (2 sqrt(y))
    Array(0.25, dtype=float32)

By the implicit function theorem the solution x(p) of f(p, x) = 0 has the derivative dx = -(df/dx)⁻¹ (df/dp) dp (Rudin,
Principles of Mathematical Analysis, theorem 9.28; for solvers in programs Blondel et al., Efficient and Modular
Implicit Differentiation, 2022). What the functions close over may be differentiated; the initial guess has no
influence.

A linear solve is one equation, `linear_system`, of four programs with the same inputs, the closed-over values and then
the vector: the solve, the product with A, and for the transpose of A the same two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ftiny import core, primitives, tree
from ftiny import numpy as fnp
from ftiny.core import ZERO, Anchor, Jaxpr, Primitive, not_needed
from ftiny.errors import ArgumentError, RuleError
from ftiny.lowering.interpret import interpret
from ftiny.source import located
from ftiny.transforms.closures import closure_convert
from ftiny.transforms.common import FlatFunction, as_dtype, check_leaves, check_matches, differentiable, instantiate
from ftiny.transforms.custom import custom_jvp
from ftiny.transforms.grad import jvp, linear_transpose, linearize, run_jvp
from ftiny.transforms.programs import batched_program
from ftiny.transforms.vmap import move_to

# ---- shared ---------------------------------------------------------------------------------------------------------


def _like(name: str, what: str, given: str, found, example):
    """`found` with Python numbers as arrays, checked to have the structure, shapes and dtypes of `example`."""
    (leaves, structure), (wanted, expected) = tree.flatten(found), tree.flatten(example)
    if structure != expected:
        raise ArgumentError(located(
            f"{name}: {what} must return a tree of the structure of {given}, {expected}, but it returned {structure}"))
    avals = [core.get_aval(x).update() for x in wanted]
    for x, aval in zip(leaves, avals):
        check_matches(f"{name}: a result of {what}", x, aval, given)
    return tree.unflatten(structure, [as_dtype(x, aval) for x, aval in zip(leaves, avals)])


def _solution_and_aux(name: str, what: str, result, has_aux: bool) -> tuple[Any, Any]:
    """What a solver returned as (solution, auxiliary data)."""
    if not has_aux:
        return result, ()
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(located(f"{name}: with has_aux, {what} must return a pair (solution, auxiliary data)"))
    return result


# ---- roots ----------------------------------------------------------------------------------------------------------


def custom_root(f: Callable, initial_guess, solve: Callable, tangent_solve: Callable, has_aux: bool = False):
    """x with f(x) = 0, found by `solve(f, initial_guess)` and differentiated as the root that it is.

    Args:
        f: a function of a pytree of arrays that returns one of the same structure and shapes. What it closes over may
            be differentiated.
        initial_guess: where the solver starts; the root has no derivative by it.
        solve: `solve(f, initial_guess)` returns the root; it need not be differentiable.
        tangent_solve: `tangent_solve(g, y)` returns x with g(x) = y for the linear function g, the derivative of f at
            the root. For scalars `lambda g, y: y / g(1.0)`; for vectors solve with `jacobian(g)(y)`. For reverse mode
            it must be linear in y in a way that can be transposed, as `custom_linear_solve` is.
        has_aux: `solve` returns a pair of the root and auxiliary data; so does this function.

    Raises `ArgumentError`, `ShapeError` or `DtypeError` when a function returns something of another structure, shape
    or dtype than the guess. That f(x) is 0 is not checked.
    """
    name = "custom_root"
    check_leaves(name, (initial_guess,))
    guess = tree.map(fnp.asarray, initial_guess)

    def checked(x):
        return _like(name, "f", "initial_guess", f(x), guess)

    def solution_of(x):
        solution, aux = _solution_and_aux(name, "solve", solve(f, x), has_aux)
        return _like(name, "solve", "initial_guess", solution, guess), aux

    def tangent_of(x, y):
        return _like(name, "tangent_solve", "initial_guess", tangent_solve(linearize(f, x)[1], y), guess)

    equation, equation_consts = closure_convert(checked, guess)
    solver, solver_consts = closure_convert(solution_of, guess)
    inverse, inverse_consts = closure_convert(tangent_of, guess, guess)

    @custom_jvp
    def root(equation_consts, solver_consts, inverse_consts, guess):
        return solver(guess, *solver_consts)

    @root.defjvp
    def _(primals, tangents):
        consts, _, inverse_consts, _ = primals
        solution, aux = root(*primals)
        residual = _residual_tangent(equation, solution, consts, tangents[0])
        change = inverse(solution, residual, *inverse_consts)
        return (solution, aux), (tree.map(fnp.negative, change), tree.map(fnp.zeros_like, aux))

    result = root(equation_consts, solver_consts, inverse_consts, guess)
    return result if has_aux else result[0]


def _residual_tangent(equation: Callable, solution, consts: Sequence, tangents: Sequence):
    """The tangent of `equation(solution, *consts)` at a fixed solution: only floats among the constants have one."""
    moving = [differentiable(core.get_aval(c)) for c in consts]
    pick = lambda values: tuple(x for x, moves in zip(values, moving) if moves)

    def of_moving(*values):
        rest = iter(values)
        return equation(solution, *(next(rest) if moves else c for c, moves in zip(consts, moving)))

    if not any(moving):
        return tree.map(fnp.zeros_like, solution)
    return jvp(of_moving, pick(consts), pick(tangents))[1]


# ---- linear systems -------------------------------------------------------------------------------------------------


def _linear_system_jvp(primals, tangents, *, branches, related, size):
    """From A x = b: A dx = db - dA x."""
    index, *operands = primals
    params = {"branches": branches, "related": related, "size": size}
    outs = linear_system_p.bind(*primals, **params)
    consts, (x, aux) = operands[:-size], (outs[:size], outs[size:])
    const_tangents, changes = list(tangents[1:-size]), list(tangents[-size:])
    if any(t is not ZERO for t in const_tangents):
        product = partial(core.eval_jaxpr, related[0])
        _, moved = run_jvp(core.current_trace(), product, [*consts, *x], [*const_tangents, *(ZERO for _ in x)])
        changes = [primitives.add_tangents(t, ZERO if m is ZERO else primitives.neg(m))
                   for t, m in zip(changes, moved)]
    if all(t is ZERO for t in changes):
        return outs, [ZERO] * len(outs)
    dense = [instantiate(t, core.get_aval(value).update()) for t, value in zip(changes, x)]
    found = linear_system_p.bind(index, *consts, *dense, **params)
    return outs, [*found[:size], *(ZERO for _ in aux)]


def _linear_system_transpose(cotangents, *inputs, branches, related, size):
    """The solve with the transposed matrix: the two pairs of programs change places."""
    if len(related) == 1:
        raise RuleError(located(
            "custom_linear_solve has no reverse-mode derivative without a solver of the transposed system; give "
            "transpose_solve=, or symmetric=True if the matrix is symmetric"))
    index, *operands = inputs
    product, transposed_product, transposed_solve = related
    dense = [instantiate(ct, aval) for ct, aval in zip(cotangents, branches[0].in_avals[-size:])]
    found = linear_system_p.bind(index, *operands[:-size], *dense, branches=(transposed_solve,),
                                 related=(transposed_product, product, branches[0]), size=size)
    return [ZERO] * (len(inputs) - size) + list(found[:size])


def _linear_system_batch(axis_size, args, dims, *, branches, related, size, axis_name=None):
    """Every program mapped, with the vectors along axis 0; a matrix that is not mapped stays one."""
    vectors = [move_to(x, dim, 0, axis_size) for x, dim in zip(args[-size:], dims[-size:])]
    in_dims = (*dims[1:-size], *(0 for _ in vectors))
    mapped = [batched_program(program, axis_size, in_dims, (0,) * len(program.outputs), axis_name)[0]
              for program in (*branches, *related)]
    programs, consts = _sharing_consts(mapped)
    outs = linear_system_p.bind(args[0], *consts, *args[1:-size], *vectors, branches=tuple(programs[:1]),
                                related=tuple(programs[1:]), size=size)
    return outs, [0] * len(outs)


# In a compiled program it is a choice with one branch, so its first operand is the number 0.
linear_system_p: Primitive = Primitive(
    "linear_system",
    multiple_results=True,
    abstract=lambda index, *avals, branches, related, size: [aval.update() for aval in branches[0].out_avals],
    numpy=lambda index, *arrays, branches, related, size: interpret(branches[0], arrays),
    jvp=_linear_system_jvp,
    transpose=_linear_system_transpose,
    batch=_linear_system_batch,
    factors=not_needed("the solver is partitioned, not the solve"),
    lower=Anchor("cond"),
    effects=lambda params: params["branches"][0].effects,
)


def _sharing_consts(programs: Sequence[Jaxpr]) -> tuple[list[Jaxpr], list]:
    """The programs without constants, each taking those of all of them as its first inputs; and these constants."""
    consts = [const for program in programs for const in program.consts]
    if not consts:
        return list(programs), []
    avals, start, found = [core.get_aval(const).update() for const in consts], 0, []
    for program in programs:
        own = slice(start, start + len(program.consts))
        start = own.stop

        def run(*values, program=program, own=own):
            return core.eval_jaxpr(program, *values[len(consts):], consts=values[own])

        found.append(core.stage(run, avals + list(program.in_avals), "custom_linear_solve").close_over())
    return found, consts


def custom_linear_solve(matvec: Callable, b, solve: Callable, transpose_solve: Callable | None = None,
                        symmetric: bool = False, has_aux: bool = False):
    """x with matvec(x) = b, found by `solve(matvec, b)` and differentiated as the solution that it is.

    Args:
        matvec: a linear function of a pytree like b. What it closes over may be differentiated.
        b: the right side, a pytree of arrays.
        solve: `solve(matvec, b)` returns the solution; it need not be differentiable.
        transpose_solve: the same of the transposed system, `transpose_solve(vecmat, b)`, where vecmat is the transpose
            of matvec. Reverse mode needs it.
        symmetric: matvec is its own transpose, and `solve` serves for both.
        has_aux: the solvers return a pair of the solution and auxiliary data; so does this function.

    Raises `ArgumentError`, `ShapeError` or `DtypeError` when a function returns something of another structure, shape
    or dtype than b, `RuleError` for reverse mode without a solver of the transposed system.
    """
    name = "custom_linear_solve"
    check_leaves(name, (b,))
    leaves, structure = tree.flatten(tree.map(fnp.asarray, b))
    example = tree.unflatten(structure, leaves)
    avals = [core.get_aval(x).update() for x in leaves]
    if not leaves:
        return solve(matvec, b)

    def solver(what: str, function: Callable, product: Callable) -> FlatFunction:
        def run(x):
            solution, aux = _solution_and_aux(name, what, function(product, x), has_aux)
            return _like(name, what, "b", solution, example), aux

        return FlatFunction(run, tree.structure((example,)))

    def product_of(what: str, function: Callable) -> FlatFunction:
        return FlatFunction(lambda x: _like(name, what, "b", function(x), example), tree.structure((example,)))

    solves = solver("solve", solve, matvec)
    functions = [solves, product_of("matvec", matvec)]
    if symmetric:
        functions += [functions[1], solver("transpose_solve", transpose_solve or solve, matvec)]
    elif transpose_solve is not None:
        vecmat = lambda x: linear_transpose(matvec, example)(x)[0]
        functions += [product_of("vecmat", vecmat), solver("transpose_solve", transpose_solve, vecmat)]
    programs, consts = _sharing_consts([core.stage(function, avals, name) for function in functions])
    outs = linear_system_p.bind(np.int32(0), *consts, *leaves, branches=(programs[0],), related=tuple(programs[1:]),
                                size=len(leaves))
    solution, aux = tree.unflatten(solves.out_structure, outs)
    return (solution, aux) if has_aux else solution
