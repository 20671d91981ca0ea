"""`checks`: compiled programs that say where a NaN came up or an index left its axis.

Input: a block of code. Output: the same results, or an error that names the user's own line, forward or backward:

    with checks(nan=True, bounds=True):
        step(params, batch)        # NanError: log -> f32[8] gave NaN in 3 of its elements, from operands without any

A program is checked by a program: `checked_program` computes what the first one does, and a *fault*, which is two int32
numbers: which check failed first (0: none) and a detail of it (how many NaNs, which index).

    { lambda a:f32[3] . let b = log a in (b,) }    becomes

    { lambda a:f32[3] . let b = log a
                            c = select (b != b and a == a) 1 NONE
                            d = min(c)
                            e = sum(c == d)
                        in (b, select (d == NONE) 0 d, e) }

The fault is carried through loops and branches, so that a check inside names the line inside. A NaN is reported where
it comes up: at an element of which no operand is NaN (of which no operand has one, in sums and products of matrices).
Elementwise checks of one shape share their `min` and `sum`, so that fusion finds one kernel where there was one before.
That an index must be checked is part of the program: with `bounds`, indexing with the default mode leaves a
`check_bounds` equation, which computes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftiny import core, dtypes, folds, primitives
from ftiny.core import ZERO, Aval, Eqn, EvalTrace, Jaxpr, Literal, Primitive, Var, not_needed, subprograms
from ftiny.errors import ArgumentError, IndexOutOfBoundsError, NanError
from ftiny.source import Source, inherit, located
from ftiny.transforms.programs import remember

INT = np.dtype(np.int32)
NONE = np.iinfo(INT).max  # the number of no check, inside of a program: the least number is the first check that failed

# What may give NaN from numbers, element by element; and what only hands on what it is given.
_ELEMENTWISE = frozenset({"add", "mul", "div", "pow", "rem", "math"})
_HANDS_ON = frozenset({"select", "minmax", "convert", "reshape", "transpose", "broadcast", "slice", "pad",
                       "concatenate", "gather"})
MOST_PLANES = 64  # checks of one shape that are looked at together, in one kernel


@dataclass(frozen=True)
class Checks:
    """What is checked."""

    bounds: bool
    nan: bool


class _State(threading.local):
    checks: Checks | None = None


_state = _State()


def active_checks() -> Checks | None:
    """The checks that are on in this thread: a function traced with them is another program."""
    return _state.checks


@contextmanager
def checks(bounds: bool = True, nan: bool = True) -> Iterator[None]:
    """Inside, operations and jitted programs raise instead of going on with NaN or with a wrong element.

    Args:
        bounds: `IndexOutOfBoundsError` for a traced index out of bounds, where no `mode` says what is meant. (Eager
            indices are always checked.)
        nan: `NanError` for an operation that gives NaN from operands without any, forward or in a derivative.

    Functions are traced and compiled anew for it, and run more slowly: each result is read once more. Every call waits
    for its program. Donated arguments are kept. What a call of Python (`pure_callback`) does inside is not looked at,
    only its results.
    """
    if not (bounds or nan):
        raise ArgumentError(located("checks(bounds=False, nan=False) checks nothing; set one of them"))
    before, _state.checks = _state.checks, Checks(bounds, nan)
    try:
        with core.using(CheckedTrace()):
            yield
    finally:
        _state.checks = before


# ---- what an index must be -------------------------------------------------------------------------------------------


check_bounds_p: Primitive = Primitive(
    "check_bounds",
    abstract=lambda x, *, extent, axis: x.update(),
    numpy=lambda x, *, extent, axis: x,
    jvp=lambda primals, tangents, **params: (check_bounds_p.bind(*primals, **params), ZERO),
    transpose=not_needed("integers have no cotangent"),
    batch=primitives.elementwise_batch(lambda: check_bounds_p),
    factors=primitives.elementwise_factors,
    lower=primitives.elementwise_lower(lambda x, extent, axis: x),
)


def check_bounds(indices, extent: int, axis: int):
    """`indices`; with checks of bounds on, a traced index outside of -extent to extent - 1 will be reported."""
    found = _state.checks
    if found is None or not found.bounds or not isinstance(indices, core.Tracer):
        return indices
    return check_bounds_p.bind(indices, extent=extent, axis=axis)


# ---- faults ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One check of a program: what it is about and the line it belongs to."""

    what: str
    source: Source
    is_nan: bool

    def error(self, detail: int) -> Exception:
        """The error to raise; `detail` is a number of NaNs or an index."""
        stack = [name for name in self.source.transforms if name not in ("jit", "vmap")]
        where = f" In the derivative ({'/'.join(stack)}) of this line:" if stack else ""
        if self.is_nan:
            return NanError(
                f"{self.what} gave NaN in {detail} of its elements, from operands without any. Guard the operand where "
                "the function is not defined (ftiny.numpy.where on the operand, not only on the result)."
                f"{where}\n{self.source.describe()}"
            )
        return IndexOutOfBoundsError(
            f"index {detail} is out of bounds for {self.what}. Use mode='clip', 'wrap' or 'fill' (take, or "
            f"x.at[...].get) to allow it.{where}\n{self.source.describe()}"
        )


@dataclass(frozen=True, eq=False)
class Checked:
    """A program whose last two results are a fault, and what the faults mean: number k is `faults[k - 1]`."""

    program: Jaxpr
    faults: tuple[Fault, ...]


@remember
def checked_program(program: Jaxpr, checks: Checks) -> Checked:
    """The program with its checks."""
    checker = _Checker(checks)

    def function(*values):
        outs, fault = checker.run(program, values, _no_fault())
        return [*outs, *fault]

    return Checked(core.stage(function, program.in_avals, "checks"), tuple(checker.faults))


def run_checked(program: Jaxpr, values: Sequence, checks: Checks) -> list:
    """The results of a program for concrete values. Raises the error of the first check that fails."""
    from ftiny.execute import run  # it imports arrays, which need the operators that need this module

    checked = checked_program(program, checks)
    *outs, number, detail = run(checked.program.close_over(), [*checked.program.consts, *values])
    if int(number):
        raise checked.faults[int(number) - 1].error(int(detail))
    return outs


class CheckedTrace(EvalTrace):
    """No transformation is on; results are checked."""

    name = "checks"

    def run(self, program: Jaxpr, values: Sequence) -> list:
        """The results of a jitted program."""
        assert _state.checks is not None
        return run_checked(program, values, _state.checks)

    def process(self, primitive, args, params):
        """The results of one equation, computed at once and checked."""
        checks = _state.checks
        eqn = _equation(primitive, args, params)
        if subprograms(eqn) and checks is not None:
            return run_checked(Jaxpr(eqn.inputs, (eqn,), eqn.outputs), args, checks)
        outs = super().process(primitive, args, params)
        hands_on = primitive.name in _HANDS_ON
        if checks is not None and checks.nan and not hands_on and not any(map(_is_nan, args)):
            for x in outs:
                if _is_nan(x):
                    raise Fault(_text(eqn), eqn.source, True).error(int(np.isnan(np.asarray(x)).sum()))
        return outs


def _equation(primitive: Primitive, args: Sequence, params: dict) -> Eqn:
    avals = [core.get_aval(x) for x in args]
    outs = tuple(map(Var, primitive.infer(avals, params)))
    return Eqn(primitive, tuple(map(Var, avals)), params, outs, primitive.effects(params), core.current_source())


def _is_nan(x) -> bool:
    return dtypes.is_inexact(core.get_aval(x).dtype) and bool(np.isnan(np.asarray(x)).any())


def _text(eqn: Eqn) -> str:
    return f"{eqn.primitive.show(eqn.params)} -> {', '.join(str(var.aval) for var in eqn.outputs)}"


# ---- a program with its checks ---------------------------------------------------------------------------------------


Candidate = tuple[Any, Any]  # the number of a check that failed, or NONE, and its detail


class _Checker:
    """Runs programs under the current trace, with a fault beside them."""

    def __init__(self, checks: Checks):
        self.checks = checks
        self.faults: list[Fault] = []
        self.inside: dict[str, Callable] = {
            "call": self._call, "custom_jvp": self._call, "custom_vjp": self._call, "scan": self._scan,
            "while": self._while, "cond": self._cond,
        }  # fmt: skip

    def run(self, program: Jaxpr, values: Sequence, fault: tuple) -> tuple[list, tuple]:
        """The results and the fault; `fault` is the one before."""
        env: dict[Var, Any] = dict(zip((*program.constvars, *program.inputs), (*program.consts, *values)))
        counts: dict[Var, Any] = {}  # how many NaNs a value has, for those that were asked
        planes = _Planes()
        for eqn in program.eqns:
            name = eqn.primitive.name
            with inherit(eqn.source):
                ins = [core.read(env, atom) for atom in eqn.inputs]
                if name in self.inside:
                    outs, found = self.inside[name](ins, _no_fault(), **eqn.params)
                    planes.candidates.append((_select(_equal(found[0], 0), _int(NONE), found[0]), found[1]))
                else:
                    outs = core.current_trace().process(eqn.primitive, ins, eqn.params)
                env.update(zip(eqn.outputs, outs))
                if eqn.primitive is check_bounds_p:
                    self._check_bounds_of(eqn, ins[0], planes)
                elif self.checks.nan and name in _ELEMENTWISE:
                    self._check_elements(eqn, ins, outs[0], planes)
                elif self.checks.nan and name not in _HANDS_ON and name not in self.inside:
                    self._check_whole(eqn, env, counts, planes)
        return [core.read(env, atom) for atom in program.outputs], planes.first(fault)

    # ---- checks ----

    def _new(self, fault: Fault):
        """The number of a check."""
        self.faults.append(fault)
        return _int(len(self.faults))

    def _check_elements(self, eqn: Eqn, ins: Sequence, out, planes: _Planes) -> None:
        aval = eqn.outputs[0].aval
        if not dtypes.is_inexact(aval.dtype) or not aval.size:
            return
        bad = _nan_places(out)
        for atom, x in zip(eqn.inputs, ins):
            if isinstance(atom, Literal):
                if np.isnan(atom.value):
                    return
            elif dtypes.is_inexact(atom.aval.dtype):
                bad = primitives.bitwise(bad, primitives.compare(x, x, "eq"), op="and")
        planes.add(aval.shape, self._new(Fault(_text(eqn), eqn.source, True)), bad)

    def _check_whole(self, eqn: Eqn, env: dict, counts: dict, planes: _Planes) -> None:
        results = [var for var in eqn.outputs if dtypes.is_inexact(var.aval.dtype) and var.aval.size]
        if not results:
            return
        before = _int(0)
        for atom in eqn.inputs:
            before = primitives.add(before, self._count(atom, env, counts))
        for var in results:
            count = self._count(var, env, counts)
            bad = primitives.bitwise(primitives.compare(count, _int(0), "gt"), _equal(before, 0), op="and")
            number = self._new(Fault(_text(eqn), eqn.source, True))
            planes.candidates.append((_select(bad, number, _int(NONE)), count))

    def _count(self, atom, env: dict, counts: dict):
        """How many NaNs a value has, as int32[]."""
        if not dtypes.is_inexact(atom.aval.dtype) or not atom.aval.size:
            return _int(0)
        if isinstance(atom, Literal):
            return _int(int(np.isnan(atom.value)))
        if atom not in counts:
            counts[atom] = _all_axes(primitives.convert(_nan_places(env[atom]), INT), "sum")
        return counts[atom]

    def _check_bounds_of(self, eqn: Eqn, indices, planes: _Planes) -> None:
        aval, extent, axis = eqn.inputs[0].aval, eqn.params["extent"], eqn.params["axis"]
        limits = np.iinfo(aval.dtype)
        outside = []
        if extent <= limits.max:
            outside.append(primitives.compare(indices, aval.dtype.type(extent), "ge"))
        if limits.min < -extent:
            outside.append(primitives.compare(indices, aval.dtype.type(-extent), "lt"))
        if not aval.size or not outside:
            return
        bad = outside[0] if len(outside) == 1 else primitives.bitwise(*outside, op="or")
        worst = _all_axes(_select(bad, indices, primitives.full_like(indices, limits.min)), "max")
        what = f"axis {axis} of size {extent}; valid indices are {-extent} to {extent - 1}"
        number = self._new(Fault(what, eqn.source, False))
        planes.candidates.append((_select(_all_axes(bad, "or"), number, _int(NONE)), primitives.convert(worst, INT)))

    # ---- programs inside of equations ----

    def _call(self, ins: Sequence, fault: tuple, *, jaxpr: Jaxpr, **unused):
        return self.run(jaxpr, ins, fault)

    def _inner(self, program: Jaxpr, carried: int, total: int) -> Jaxpr:
        """A program of `total` inputs with a fault after the first `carried` inputs and after as many results as the
        loop carries: `(*consts, *carry, fault, *xs) -> (*carry, fault, *ys)`."""
        avals = program.in_avals
        between = [Aval((), INT)] * 2

        def function(*values):
            values, fault, rest = values[:carried], values[carried : carried + 2], values[carried + 2 :]
            outs, fault = self.run(program, [*values, *rest], tuple(fault))
            return [*outs[:total], *fault, *outs[total:]]

        return core.stage(function, [*avals[:carried], *between, *avals[carried:]], "checks")

    def _scan(self, ins: Sequence, fault: tuple, *, jaxpr: Jaxpr, num_consts: int, num_carry: int, **params):
        from ftiny.transforms.scan import bind_scan

        first = num_consts + num_carry
        body = self._inner(jaxpr, first, num_carry)
        carry = [*ins[num_consts:first], *map(_as_array, fault)]
        outs = bind_scan(body, ins[:num_consts], carry, ins[first:], **params)
        return outs[:num_carry] + outs[num_carry + 2 :], tuple(outs[num_carry : num_carry + 2])

    def _while(self, ins: Sequence, fault: tuple, *, cond_jaxpr, body_jaxpr, cond_nconsts, body_nconsts):
        from ftiny.transforms.control import bind_while

        # The condition is checked before each trip, in the body, and after the last one.
        split = cond_nconsts + body_nconsts
        cond_consts, body_consts, carry = ins[:cond_nconsts], ins[cond_nconsts:split], list(ins[split:])
        carry_avals = body_jaxpr.out_avals
        fault_avals = [Aval((), INT)] * 2

        def condition(*values):
            return core.eval_jaxpr(cond_jaxpr, *values[:-2])

        def body(*values):
            constants, rest, fault = values[:split], values[split:-2], values[-2:]
            _, fault = self.run(cond_jaxpr, [*constants[:cond_nconsts], *rest], fault)
            outs, fault = self.run(body_jaxpr, [*constants[cond_nconsts:], *rest], fault)
            return [*outs, *fault]

        cond_avals, body_avals = cond_jaxpr.in_avals[:cond_nconsts], body_jaxpr.in_avals[:body_nconsts]
        outs = bind_while(
            core.stage(condition, [*cond_avals, *carry_avals, *fault_avals], "checks"),
            core.stage(body, [*cond_avals, *body_avals, *carry_avals, *fault_avals], "checks"),
            cond_consts,
            [*cond_consts, *body_consts],
            [*carry, *map(_as_array, fault)],
        )
        _, fault = self.run(cond_jaxpr, [*cond_consts, *outs[:-2]], tuple(outs[-2:]))
        return outs[:-2], fault

    def _cond(self, ins: Sequence, fault: tuple, *, branches: tuple[Jaxpr, ...]):
        from ftiny.transforms.control import bind_cond

        checked = [self._inner(branch, len(branch.inputs), len(branch.outputs)) for branch in branches]
        outs = bind_cond(ins[0], checked, [*ins[1:], *map(_as_array, fault)])
        return outs[:-2], tuple(outs[-2:])


class _Planes:
    """The checks of one program: elementwise ones by shape, until they are folded together, and candidates."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self.open: dict[tuple[int, ...], list[tuple[Any, Any]]] = {}

    def add(self, shape: tuple[int, ...], number, bad) -> None:
        """One more elementwise check: where it failed."""
        plane = self.open.setdefault(shape, [])
        plane.append((number, bad))
        if len(plane) == MOST_PLANES:
            self._fold(shape)

    def _fold(self, shape: tuple[int, ...]) -> None:
        numbers = _int(NONE)
        for number, bad in reversed(self.open.pop(shape)):  # the earliest has the last word
            numbers = _select(bad, number, numbers)
        least = _all_axes(numbers, "min")
        self.candidates.append((least, _all_axes(primitives.convert(_equal(numbers, least), INT), "sum")))

    def first(self, fault: tuple) -> tuple:
        """The fault that was there before, or else the candidate with the least number."""
        for shape in list(self.open):
            self._fold(shape)
        least, detail = _int(NONE), _int(0)
        for number, found in self.candidates:
            earlier = primitives.compare(number, least, "lt")
            least, detail = _select(earlier, number, least), _select(earlier, found, detail)
        number = _select(_equal(least, NONE), _int(0), least)
        is_new = _equal(fault[0], 0)
        return _select(is_new, number, fault[0]), _select(is_new, detail, fault[1])


def _int(value: int):
    return np.asarray(value, INT)[()]


def _no_fault() -> tuple:
    return _int(0), _int(0)


def _nan_places(x):
    return primitives.compare(x, x, "ne")


def _equal(x, y):
    return primitives.compare(x, _int(y) if isinstance(y, int) else y, "eq")


def _select(condition, on_true, on_false):
    return primitives.select(_as_array(condition), on_true, on_false)


def _all_axes(x, op: str):
    return folds.reduce_axes(x, range(len(primitives.shape_of(x))), op)


def _as_array(x):
    return x if isinstance(x, core.Tracer) else primitives.broadcast(x, shape=(), dims=())
