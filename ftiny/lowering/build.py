"""Building: a group of fuse.py becomes the loop nests that compute it.

Input: a `Fused` program and one of its kernel groups. Output: `Built` nests, in order, each with the variables that its
arguments stand for. Names of arguments follow their order of appearance and nothing else, so equal work gives equal
nests, wherever in the program it stands.

Worked example, the group of `sum(x * 2, axis=1)` for f32[7,13]:

    nest sum_7x13 grid(i0:7)
      argument a0: float32[7,13]
      argument a1: float32[7]
      fold(j0:13)
        state s0: float32[] = 0.0
          step    s0[] + (a0[i0, j0] * 2.0)
          combine s0[] + s0.other[]
      map()
        a1[i0] = s0[]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ftiny.core import Eqn, Var
from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.access import ELEMENTWISE, Index, Reader, is_readable
from ftiny.lowering.build_indexed import build_scatter, build_sort
from ftiny.lowering.expr import (
    Axis,
    Expr,
    add,
    axes_of,
    cast,
    const,
    load,
    load_guard,
    load_index,
    loads,
    mul,
    select,
    topological,
    transform,
    where,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.fold_rules import OFFSET, Points, Rule, fold_points, operand_point, rule_of
from ftiny.lowering.groups import Folded, Fused, Group
from ftiny.lowering.index import flatten, simplify
from ftiny.lowering.loops import (
    MULTIPLY_ADD,
    Fold,
    LoopNest,
    Map,
    Stage,
    Value,
    Write,
    neutral,
    other_element,
    stage_roots,
    state_element,
)

DEAR = frozenset({"exp", "exp2", "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "tanh", "sinh", "cosh", "erf",
                  "erfc", "erfinv", "lgamma", "digamma", "pow", "logistic", "atan2"})
ON_CHIP_BYTES = 16384    # the most that one value of a row may take to be kept between stages


@dataclass(frozen=True)
class Built:
    """A loop nest and what its arguments are. `in_place` are pairs (read, written) whose elements are only ever read
    at the point that writes them, so that both may be the same memory."""

    nest: LoopNest
    variables: tuple[Var, ...]
    in_place: tuple[tuple[Var, Var], ...] = ()


class GroupReader:
    """Reads values for one group: names its arguments and knows which variables are states of its folds."""

    def __init__(self, fused: Fused, group: Group, program: Program):
        self.group = group
        self.eqns = fused.jaxpr.eqns
        self.numbers = program.numbers
        self.states: dict[Var, Expr] = {}
        self.arguments: dict[Var, Value] = {}
        self.definition = program.definition
        self._memory = program.memory
        self._own = {p.var for p in group.kept + (() if group.columns is None else group.columns.kept)}
        self.reader = Reader(program.definition, self._leaf)

    def _leaf(self, var: Var, index: Index) -> Expr | None:
        if var in self.states:
            return self.states[var]
        in_memory = self._memory.get(var, self.group.order) < self.group.order and var not in self._own
        if in_memory or not (var in self.definition and is_readable(self.definition[var])):
            return self.argument(var)[index] if index else self.argument(var)[()]
        return None

    def element(self, atom, index: Index) -> Expr:
        """An element with its indices and guards simplified."""
        return simplify(self.reader.element(atom, index))

    def argument(self, var: Var) -> Value:
        """The argument that stands for `var`, named by the order in which arguments were asked for."""
        if var not in self.arguments:
            self.arguments[var] = Value(f"a{len(self.arguments)}", var.aval.shape, var.aval.dtype)
        return self.arguments[var]


@dataclass(frozen=True)
class Program:
    """What all groups of a program are built from: variable -> order of the group that writes it (-1: an input),
    variable -> its equation, equation -> its number."""

    memory: dict[Var, int]
    definition: dict[Var, Eqn]
    numbers: dict[Eqn, int]


def program_of(fused: Fused) -> Program:
    """The tables of a fused program."""
    memory = {v: -1 for v in fused.jaxpr.inputs}
    memory.update((p.var, g.order) for g in fused.groups for p in g.written)
    eqns = fused.jaxpr.eqns
    return Program(memory, {v: e for e in eqns for v in e.outputs}, {e: k for k, e in enumerate(eqns)})


def build(fused: Fused, group: Group, program: Program) -> tuple[Built, ...]:
    """The loop nests of a kernel group, in order."""
    reader = GroupReader(fused, group, program)
    if group.kind == "scatter":
        return tuple(Built(nest, variables) for nest, variables in build_scatter(reader))
    if group.kind == "sort":
        return tuple(Built(nest, variables) for nest, variables in build_sort(reader))
    stages = _fold_stages(reader, group)
    if group.kind == "cumulate":
        assert isinstance(stages[-1], Fold)
        stages[-1] = replace(stages[-1], emit=tuple(_writes(reader, group.outputs)))
    else:
        stages += _output_maps(reader, group)
    if group.columns is not None:
        stages.append(_column_stage(reader, group.columns, group.grid))
    names = {value.name for value in reader.arguments.values()}
    stages = [unguarded_states(s, names) for s in stages if not isinstance(s, Map) or s.writes]
    values: list[Value] = []
    if group.kind == "fold":
        stages, values = keep_on_chip(group.grid, stages)
    return (_finish(reader, group, stages, values),)


def unguarded_states(stage: Stage, arguments: set[str]) -> Stage:
    """A stage in which states, which are no memory, are selected rather than loaded under a guard; `arguments` are the
    names of what is memory."""

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        if node.op != "load" or node.attr[0] in arguments or load_guard(node)[0] is None:
            return None
        rank = node.attr[1]
        guard, other = args[rank:]
        return select(guard, load(node.attr[0], args[:rank], node.dtype), other)

    return change_stage(stage, lambda exprs: tuple(transform(exprs, rewrite)))


def change_stage(stage: Stage, change: Callable[[Sequence[Expr]], tuple[Expr, ...]]) -> Stage:
    """A stage with its values, guards and steps changed (not the places that it writes)."""

    def change_write(write: Write) -> Write:
        exprs = change((write.expr,) if write.guard is None else (write.expr, write.guard))
        return replace(write, expr=exprs[0], guard=None if write.guard is None else exprs[1])

    if isinstance(stage, Map):
        return replace(stage, writes=tuple(map(change_write, stage.writes)))
    return replace(stage, step=change(stage.step), finish=tuple(map(change_write, stage.finish)),
                   emit=tuple(map(change_write, stage.emit)))


def _finish(reader: GroupReader, group: Group, stages: Sequence[Stage], values: Sequence[Value]) -> Built:
    computed = {reader.numbers[eqn] for eqn in reader.reader.computed}
    equations = tuple(sorted(computed | {f.number for f in group.all_folds}))
    arguments, variables = tuple(reader.arguments.values()), tuple(reader.arguments)
    nest = LoopNest(_name(reader, group), group.grid, arguments, tuple(values), tuple(stages), equations)
    return Built(nest, variables, _in_place(nest, variables))


def _in_place(nest: LoopNest, variables: tuple[Var, ...]) -> tuple[tuple[Var, Var], ...]:
    """Pairs of arguments of which one is read only where the other is written (and not by a fold over the grid, which
    comes last)."""
    written: dict[str, tuple[Expr, ...]] = {}
    for stage in nest.stages:
        written.update((w.value, w.index) for w in (stage.writes if isinstance(stage, Map) else stage.emit))
    read: dict[str, set[tuple[Expr, ...]]] = {}
    for node in loads(nest.roots()):
        read.setdefault(node.attr[0], set()).add(load_index(node))
    names = {a.name: v for a, v in zip(nest.arguments, variables)}
    last = nest.stages[-1] if nest.stages else None
    late = {n.attr[0] for n in loads(stage_roots(last))} if isinstance(last, Fold) and last.across else set()
    pairs = []
    for source in names.keys() - late:
        places = read.get(source, set())
        pairs += [(names[source], names[target]) for target, index in written.items()
                  if target in names and source not in written and places == {index}
                  and names[source].aval.shape == names[target].aval.shape]
    return tuple(pairs)


def _name(reader: GroupReader, group: Group) -> str:
    """What the kernel is called: its folds, the last operations before its outputs, and its extents."""
    words = [_word(reader.eqns[f.number]) for f in group.all_folds]
    for placed in group.outputs:
        eqn = reader.definition.get(placed.var)
        if eqn is not None and is_readable(eqn):
            words.append(_word(eqn))
    extents = [a.extent for a in group.grid] + [a.extent for f in group.folds[:1] for a in f.over]
    short = list(dict.fromkeys(words))[:4]
    return "_".join([*short, "x".join(map(str, extents)) or "scalar"])


def _word(eqn: Eqn) -> str:
    name = eqn.primitive.name
    shown = eqn.primitive.show(eqn.params) if name in ELEMENTWISE or name == "reduce" else name
    return "".join(c if c.isalnum() else "_" for c in shown)


def _writes(reader: GroupReader, outputs) -> list[Write]:
    writes = []
    for placed in outputs:
        expr = reader.element(placed.var, placed.index)
        writes.append(Write(reader.argument(placed.var).name, placed.index, expr))
    return writes


def _output_maps(reader: GroupReader, group: Group) -> list[Map]:
    """One Map for each set of local axes that outputs have, the widest first."""
    by_axes: dict[tuple[Axis, ...], list] = {}
    for placed in group.outputs:
        found = axes_of(placed.index) - set(group.grid)
        local = tuple(dict.fromkeys(a for f in group.folds for a in f.over if a in found))
        by_axes.setdefault(local, []).append(placed)
    order = sorted(by_axes, key=len, reverse=True)
    return [Map(axes, tuple(_writes(reader, by_axes[axes]))) for axes in order]


# --------------------------------------------------------------------------------------------- folds


def _fold_stages(reader: GroupReader, group: Group) -> list[Stage]:
    """The stages of all folds. Values that the group keeps are read in the order in which they were kept, so that no
    reading recurses further than to the last of them."""
    stages: list[Stage] = []
    folds = {v: k for k, folded in enumerate(group.folds) for v in reader.eqns[folded.number].outputs}
    for placed in group.kept:
        number = folds.get(placed.var)
        if number is None:
            reader.element(placed.var, placed.index)
        elif placed.var not in reader.states:
            _append_fold(stages, _fold_stage(reader, group.folds[number], number))
    return stages


def _fold_stage(reader: GroupReader, folded: Folded, number: int) -> Fold:
    eqn = reader.eqns[folded.number]
    if eqn.primitive.name == "contract":
        stage = _contract_stage(reader, eqn, folded, number)
        return stage if reader.group.kind == "contract" else replace(stage, atom=None)
    rule = rule_of(eqn)
    names = [f"s{number}", f"s{number}_at"]
    states = tuple(Value(name, (), dtype, scope="register") for name, dtype in zip(names, rule.dtypes))
    now, later = tuple(v[()] for v in states), tuple(map(other_element, states))
    element, offset = _element(reader, eqn, folded, rule)
    reader.states.update(zip(eqn.outputs, rule.results(now)))
    return Fold((), folded.over, states, rule.start, rule.step(now, element, offset), rule.combine(now, later),
                reverse=eqn.params.get("reverse", False))


def _column_stage(reader: GroupReader, columns: Group, grid: tuple[Axis, ...]) -> Fold:
    """The fold over the grid that has a state for each column; what is computed of it is written at its end."""
    axes = columns.grid
    parts: list[tuple[Value, Expr, Expr, Expr]] = []
    folds = {v: k for k, folded in enumerate(columns.folds) for v in reader.eqns[folded.number].outputs}
    for placed in columns.kept:
        number = folds.get(placed.var)
        if number is None:
            reader.element(placed.var, placed.index)
            continue
        folded = columns.folds[number]
        eqn = reader.eqns[folded.number]
        rule = rule_of(eqn)
        state = Value(f"c{number}", tuple(a.extent for a in axes), rule.dtypes[0], scope="register")
        now, later = state_element(state, axes), other_element(state, axes)
        element, offset = _element(reader, eqn, folded, rule)
        reader.states.update(zip(eqn.outputs, rule.results((now,))))
        parts.append((state, rule.start[0], rule.step((now,), element, offset)[0], rule.combine((now,), (later,))[0]))
    states, init, step, combine = (tuple(column) for column in zip(*parts))
    return Fold(axes, grid, states, init, step, combine, tuple(_writes(reader, columns.outputs)), "second_kernel")


def _element(reader: GroupReader, eqn: Eqn, folded: Folded, rule: Rule) -> tuple[Expr, Expr]:
    """What the fold takes in at its point, and the flat offset of that point."""
    if eqn.primitive.name == "cumulate":
        index = next(p.index for p in reader.group.kept if p.var is eqn.outputs[0])
        return cast(reader.element(eqn.inputs[0], index), rule.dtypes[0]), const(0)
    spec = eqn.params["spec"]
    points = fold_points(spec, folded.index, [axis_expr(a) for a in folded.over[: len(spec.folded)]])
    extents = tuple(spec.extent[i] for i in spec.folded)
    offset = cast(flatten([points.at[i] for i in spec.folded], extents), OFFSET)
    return _operand(reader, eqn, points, 0, rule.dtypes[0], rule.start[0]), offset


def _operand(reader: GroupReader, eqn: Eqn, points: Points, which: int, dtype: np.dtype, fill: Expr) -> Expr:
    """An operand's element at the fold's point, in the dtype that is accumulated; `fill` outside its windows."""
    atom = eqn.inputs[which]
    index, inside = operand_point(eqn.params["spec"].operands[which], points, atom.aval.shape)
    return simplify(where(inside, cast(reader.element(atom, index), dtype), fill))


def _contract_stage(reader: GroupReader, eqn: Eqn, folded: Folded, number: int) -> Fold:
    state = Value(f"s{number}", (), eqn.params["accumulate"], scope="register")
    zero, spec = neutral("add", state.dtype), eqn.params["spec"]
    points = fold_points(spec, folded.index, [axis_expr(a) for a in folded.over[: len(spec.folded)]])
    left, right = (_operand(reader, eqn, points, k, state.dtype, zero) for k in (0, 1))
    reader.states[eqn.outputs[0]] = cast(state[()], eqn.outputs[0].aval.dtype)
    return Fold((), folded.over, (state,), (zero,), (add(state[()], mul(left, right)),),
                (add(state[()], other_element(state)),), atom=MULTIPLY_ADD[eqn.params["precision"] == "tf32"])


def _append_fold(stages: list[Stage], new: Fold) -> None:
    """Add a fold, in one pass with an earlier one over the same axes if it does not need that one's result."""
    needed = {node.attr[0] for node in topological(stage_roots(new)) if node.op == "load"} - {v.name for v in new.state}
    for place in range(len(stages) - 1, -1, -1):
        old = stages[place]
        assert isinstance(old, Fold)
        if needed & {v.name for v in old.state}:
            break
        if old.over == new.over and old.atom is None and new.atom is None and old.reverse == new.reverse:
            assert old.combine is not None and new.combine is not None
            stages[place] = replace(old, state=old.state + new.state, init=old.init + new.init,
                                    step=old.step + new.step, combine=old.combine + new.combine)
            return
    stages.append(new)


# ---------------------------------------------------------------------------- values kept on chip


def keep_on_chip(grid: tuple[Axis, ...], stages: Sequence[Stage]) -> tuple[list[Stage], list[Value]]:
    """Compute dear expressions of a row once, where several stages need them: they go to a shared value.

    In softmax, exp(x - max) is summed by one stage and divided by another.
    """
    users: dict[Expr, list[int]] = {}
    for number, stage in enumerate(stages):
        for node in topological(stage_roots(stage)):
            if node.op in DEAR:
                users.setdefault(node, []).append(number)
    shared = [node for node, where_ in users.items() if len(where_) > 1]
    inside = {inner for node in shared for inner in topological((node,)) if inner is not node}
    values: list[Value] = []
    replaced: dict[Expr, Expr] = {}
    fills: dict[int, list[Map]] = {}
    for node in shared:
        axes = _local_axes(node, grid, stages[users[node][0]])
        size = node.dtype.itemsize * int(np.prod([a.extent for a in axes] or [0]))
        if node in inside or not axes or size > ON_CHIP_BYTES:
            continue
        # 16-bit floats are held in float32: not every device has arrays of them, and nothing is rounded twice.
        wide = accumulation_dtype(node.dtype)
        value = Value(f"e{len(values)}", tuple(a.extent for a in axes), wide, scope="shared")
        values.append(value)
        replaced[node] = cast(value[tuple(axes)], node.dtype)
        index = tuple(map(axis_expr, axes))
        fills.setdefault(users[node][0], []).append(Map(axes, (Write(value.name, index, cast(node, wide)),)))
    result: list[Stage] = []
    for number, stage in enumerate(stages):
        result += fills.get(number, ())
        result.append(_replace_nodes(stage, replaced) if replaced else stage)
    return result, values


def _local_axes(node: Expr, grid: tuple[Axis, ...], stage: Stage) -> tuple[Axis, ...]:
    found = axes_of((node,)) - set(grid)
    order = stage.axes if isinstance(stage, Map) else stage.over
    return tuple(a for a in order if a in found) if found <= set(order) else ()


def _replace_nodes(stage: Stage, replaced: dict[Expr, Expr]) -> Stage:
    return change_stage(stage, lambda exprs: tuple(transform(exprs, lambda node, args: replaced.get(node))))
