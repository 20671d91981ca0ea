"""Elementwise recurrences: a scan in which every element of the carry goes its own way becomes one fold over its steps.

Input: a scan equation whose body is made of index -> value functions. Output: the `Built` nests that compute it, one
for each shape among its results, or None where an element of the carry depends on ever more of its neighbours. A
worker (a thread, or a lane of a vector) walks all the steps with its elements of the carry in registers.

An element of the carry at an index that is a function of the point alone is a state of the fold; its step is the
element of the new carry at that index, which may ask for further elements, until nothing new is asked for. So a
scalar that is carried beside an array is carried by each of the array's points, and a carry of two numbers that
depend on each other is two states.

Worked example, `scan(lambda c, x: (0.9 * c + x, c), c, xs)` of 1000 steps with c: f32[4096]:

    nest scan_1000x4096 grid(i0:4096)
      fold(t:1000)
        state s0 = a0[i0]   step (s0 * 0.9) + a1[t, i0]
        state y1 = 0        step s0
        emit a2[t, i0] = y1
        finish a3[i0] = s0
"""

from __future__ import annotations

import numpy as np

from ftiny.core import Atom, Eqn, Jaxpr, Literal, Var
from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.access import Index, Reader, element_cost, is_readable, reads_per_element
from ftiny.lowering.build import Built, unguarded_states
from ftiny.lowering.expr import Axis, Expr, axes_of, cast, const, loads, topological
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.groups import axis_index, grid_axes
from ftiny.lowering.index import range_of
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, Value, Write, neutral, stage_roots, writes_of
from ftiny.lowering.simplify import simplify as simplify_program

MOST_STATES = 16      # of one point
MOST_NODES = 4000     # in the expressions of one step
DEEPEST = 60          # reading an element recurses along the chain of equations that it is computed by


class _NotElementwise(Exception):
    """An element of the carry needs more than a few elements of the carry before."""


def recurrence(eqn: Eqn, number: int) -> list[Built] | None:
    """The nests of a scan that is an elementwise recurrence, else None.

    Args:
        eqn: the scan.
        number: the equation's number in its program.
    """
    body = simplify_program(eqn.params["jaxpr"]).jaxpr
    empty = any(v.aval.size == 0 for v in (*eqn.outputs, *eqn.inputs))
    if empty or not eqn.outputs or not all(map(is_readable, body.eqns)) or _is_long(body):
        return None
    carried = eqn.params["num_carry"]
    shapes = dict.fromkeys(v.aval.shape if k < carried else v.aval.shape[1:] for k, v in enumerate(eqn.outputs))
    try:
        return [built for shape in shapes for built in _Recurrence(eqn, number, body, shape).built()]
    except _NotElementwise:
        return None


def _is_long(body: Jaxpr) -> bool:
    """Whether a body is a long chain of equations, or so dear that its elements would be large expressions."""
    depth: dict[Var, int] = {}
    cost: dict[Var, float] = {}
    for eqn in body.eqns:
        below = [a for a in eqn.inputs if isinstance(a, Var)]
        deep = 1 + max((depth.get(a, 0) for a in below), default=0)
        dear = element_cost(eqn) + reads_per_element(eqn) * max((cost.get(a, 0.0) for a in below), default=0.0)
        depth.update((v, deep) for v in eqn.outputs)
        cost.update((v, dear) for v in eqn.outputs)
    return max(depth.values(), default=0) > DEEPEST or max(cost.values(), default=0.0) > MOST_NODES


class _Recurrence:
    """The nest for the results of one shape, while it is made."""

    def __init__(self, eqn: Eqn, number: int, body: Jaxpr, shape: tuple[int, ...]):
        params = eqn.params
        self.eqn, self.number, self.body, self.shape = eqn, number, body, shape
        self.first_carry = params["num_consts"]
        self.first_x = self.first_carry + params["num_carry"]
        self.length, self.reverse = params["length"], params["reverse"]
        self.grid = grid_axes(shape)
        self.steps = Axis("t", self.length)
        self.positions = {v: k for k, v in enumerate(body.inputs)}
        self.arguments: dict[Var, Value] = {}
        self.states: dict[tuple[int, Index], Value] = {}
        self.reader = Reader({v: e for e in body.eqns for v in e.outputs}, self._leaf)

    def built(self) -> list[Built]:
        """The nests: one over all steps at once for what no carry goes into, and the recurrence. Raises
        `_NotElementwise` if there is none."""
        here, carried = axis_index(self.grid), self.first_x - self.first_carry
        mine = [k for k, v in enumerate(self.eqn.outputs) if v.aval.shape[k >= carried :] == self.shape]
        emits = [(k, self.reader.element(self.body.outputs[k], here)) for k in mine if k >= carried]
        apart = [(k, e) for k, e in emits if not any(n.attr[0].startswith("s") for n in loads((e,)))]
        nests = [self._nest(Map((), tuple(self._stacked(k, e) for k, e in apart)), (self.steps,))] if apart else []
        finish = [(k, self._state(self.first_carry + k, here)) for k in mine if k < carried]
        if finish or len(apart) < len(emits):
            fold = self._fold(self._steps(), finish, [emit for emit in emits if emit not in apart])
            nests.append(self._nest(fold, ()))
        return nests

    def _nest(self, stage: Stage, steps: tuple[Axis, ...]) -> Built:
        """The nest of one stage; `steps` are axes of its grid before those of the shape."""
        stage = unguarded_states(stage, {argument.name for argument in self.arguments.values()})
        roots = stage_roots(stage)
        if len(topological(roots)) > MOST_NODES:
            raise _NotElementwise
        used = {node.attr[0] for node in loads(roots)} | {w.value for w in writes_of(stage)}
        pairs = [(value, var) for var, value in self.arguments.items() if value.name in used]
        name = f"{'map' if steps else 'scan'}_{'x'.join(map(str, (self.length, *self.shape)))}"
        nest = LoopNest(name, (*steps, *self.grid), tuple(v for v, _ in pairs), (), (stage,), (self.number,))
        return Built(nest, tuple(var for _, var in pairs))

    def _fold(self, steps: list[Expr], finish: list[tuple[int, Value]], emits: list[tuple[int, Expr]]) -> Fold:
        """The fold over the steps. What is emitted is what states hold after the step, so a y is a state too, unless
        it is the new value of one."""
        states, here = list(self.states.values()), axis_index(self.grid)
        init = [self._argument(self.eqn.inputs[k], index, value.dtype) for (k, index), value in self.states.items()]
        writes = []
        for k, element in emits:
            wide = held(element)
            if wide not in steps[: len(states)]:
                states.append(Value(f"y{k}", (), wide.dtype, scope="register"))
                steps.append(wide)
                init.append(neutral("add", wide.dtype))
            writes.append(self._stacked(k, cast(states[steps.index(wide)][()], element.dtype)))
        finishes = [Write(out.name, here, cast(value[()], out.dtype))
                    for out, value in ((self._output(k), value) for k, value in finish)]
        return Fold((), (self.steps,), tuple(states), tuple(init), tuple(steps), None, tuple(finishes),
                    emit=tuple(writes), reverse=self.reverse)

    def _stacked(self, number: int, element: Expr) -> Write:
        """The write of a step's y."""
        return Write(self._output(number).name, (axis_expr(self.steps), *axis_index(self.grid)), element)

    def _steps(self) -> list[Expr]:
        """The next value of every state; working one out may ask for more states."""
        steps: list[Expr] = []
        while len(steps) < len(self.states):
            position, index = list(self.states)[len(steps)]
            new = self.reader.element(self.body.outputs[position - self.first_carry], index)
            steps.append(held(new))
        return steps

    def _leaf(self, var: Var, index: Index) -> Expr | None:
        """An input of the body at an index: a constant, an element of this step's x, or a state."""
        position = self.positions.get(var)
        if position is None:
            return None
        if position < self.first_carry:
            return self._argument(self.eqn.inputs[position], index, var.aval.dtype)
        if position >= self.first_x:
            return self._argument(self.eqn.inputs[position], (axis_expr(self.steps), *index), var.aval.dtype)
        return cast(self._state(position, index)[()], var.aval.dtype)

    def _state(self, position: int, index: Index) -> Value:
        """The state that holds an element of the carry."""
        shape = self.body.inputs[position].aval.shape
        # Along an axis of extent 1 every index is the same.
        index = tuple(const(0) if n == 1 else i for i, n in zip(index, shape))
        if (position, index) not in self.states:
            inside = all(0 <= low and high < n for (low, high), n in zip(map(range_of, index), shape))
            fixed = axes_of(index) <= set(self.grid) and not loads(index)
            if not inside or not fixed or len(self.states) >= MOST_STATES:
                raise _NotElementwise
            dtype = accumulation_dtype(self.body.inputs[position].aval.dtype)
            self.states[position, index] = Value(f"s{len(self.states)}", (), dtype, scope="register")
        return self.states[position, index]

    def _argument(self, atom: Atom, index: Index, dtype: np.dtype) -> Expr:
        """An element of one of the scan's inputs."""
        if isinstance(atom, Literal):
            return const(atom.value, dtype)
        if atom not in self.arguments:
            self.arguments[atom] = Value(f"a{len(self.arguments)}", atom.aval.shape, atom.aval.dtype)
        return cast(self.arguments[atom][tuple(index)], dtype)

    def _output(self, number: int) -> Value:
        var = self.eqn.outputs[number]
        self.arguments.setdefault(var, Value(f"a{len(self.arguments)}", var.aval.shape, var.aval.dtype))
        return self.arguments[var]


def held(element: Expr) -> Expr:
    """An element as a register holds it from step to step: 16-bit floats in 32 bits, rounded to what they can hold."""
    wide = accumulation_dtype(element.dtype)
    return element if wide == element.dtype else cast(cast(cast(element, wide), element.dtype), wide)
