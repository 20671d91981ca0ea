"""Building: a group of fuse.py becomes the loop nests that compute it.

Input: a `Fused` program and one of its kernel groups. Output: `Built` nests, in order (a scatter makes two: a copy and
the updates), each with the variables that its arguments stand for. Names of arguments follow their order of appearance
and nothing else, so equal work gives equal nests, wherever in the program it stands.

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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ftiny.core import Eqn, Var
from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.access import ELEMENTWISE, Index, Reader, is_readable, operand_point
from ftiny.lowering.build_indexed import build_scatter, build_sort
from ftiny.lowering.expr import (
    BOOL,
    Axis,
    Expr,
    add,
    axes_of,
    bitwise,
    cast,
    compare,
    const,
    load_index,
    loads,
    logical_and,
    logical_not,
    logical_or,
    math,
    maximum,
    mul,
    select,
    topological,
    transform,
    where,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.fuse import Folded, Fused, Group
from ftiny.lowering.index import flatten, simplify
from ftiny.lowering.loops import (
    Fold,
    LoopNest,
    Map,
    Stage,
    Value,
    Write,
    apply_op,
    neutral,
    other_element,
    stage_roots,
    state_element,
)

FOLD_OPS = {"sum": "add", "prod": "mul", "min": "minimum", "max": "maximum", "and": "and", "or": "or", "xor": "xor"}
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
        self._own = {p.var for p in group.kept}
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
    memory.update((p.var, g.order) for g in fused.groups for p in g.outputs)
    eqns = fused.jaxpr.eqns
    return Program(memory, {v: e for e in eqns for v in e.outputs}, {e: k for k, e in enumerate(eqns)})


def build(fused: Fused, group: Group, program: Program) -> tuple[Built, ...]:
    """The loop nests of a kernel group, in order."""
    reader = GroupReader(fused, group, program)
    if group.kind == "scatter":
        return tuple(Built(nest, variables) for nest, variables in build_scatter(reader))
    if group.kind == "sort":
        return tuple(Built(nest, variables) for nest, variables in build_sort(reader))
    stages: list[Stage] = []
    for number, folded in enumerate(group.folds):
        _append_fold(stages, _fold_stage(reader, folded, number))
    if group.kind == "cumulate":
        stages[-1] = replace(stages[-1], emit=tuple(_writes(reader, group.outputs)))
    else:
        stages += _output_maps(reader, group)
    stages = [stage for stage in stages if not isinstance(stage, Map) or stage.writes]
    values: list[Value] = []
    if group.kind == "fold":
        stages, values = keep_on_chip(group.grid, stages)
    return (_finish(reader, group, stages, values),)


def _finish(reader: GroupReader, group: Group, stages: Sequence[Stage], values: Sequence[Value]) -> Built:
    computed = {reader.numbers[eqn] for eqn in reader.reader.computed}
    equations = tuple(sorted(computed | {f.number for f in group.folds}))
    nest = LoopNest(_name(reader, group), group.grid, tuple(reader.arguments.values()), tuple(values), tuple(stages), equations)
    return Built(nest, tuple(reader.arguments), _in_place(nest, tuple(reader.arguments)))


def _in_place(nest: LoopNest, variables: tuple[Var, ...]) -> tuple[tuple[Var, Var], ...]:
    """Pairs of arguments of which one is read only where the other is written."""
    written: dict[str, tuple[Expr, ...]] = {}
    for stage in nest.stages:
        written.update((w.value, w.index) for w in (stage.writes if isinstance(stage, Map) else stage.emit))
    read: dict[str, set[tuple[Expr, ...]]] = {}
    for node in loads(nest.roots()):
        read.setdefault(node.attr[0], set()).add(load_index(node))
    names = {a.name: v for a, v in zip(nest.arguments, variables)}
    pairs = []
    for source in names:
        places = read.get(source, set())
        pairs += [(names[source], names[target]) for target, index in written.items()
                  if target in names and source not in written and places == {index}
                  and names[source].aval.shape == names[target].aval.shape]
    return tuple(pairs)


def _name(reader: GroupReader, group: Group) -> str:
    """What the kernel is called: its folds, the last operations before its outputs, and its extents."""
    words = [_word(reader.eqns[f.number]) for f in group.folds]
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


def _fold_stage(reader: GroupReader, folded: Folded, number: int) -> Fold:
    eqn = reader.eqns[folded.number]
    if eqn.primitive.name == "contract":
        return _contract_stage(reader, eqn, folded, number)
    if eqn.primitive.name == "cumulate":
        return _cumulate_stage(reader, eqn, folded, number)
    if eqn.params["op"] in FOLD_OPS:
        return _reduce_stage(reader, eqn, folded, number)
    return _extremum_stage(reader, eqn, folded, number)


def _operand(reader: GroupReader, eqn: Eqn, folded: Folded, which: int, dtype: np.dtype, fill: Expr) -> Expr:
    """An operand's element at the fold's point, in the dtype that is accumulated; `fill` outside its windows."""
    at = {i: axis_expr(a) for i, a in folded.at}
    atom = eqn.inputs[which]
    index, inside = operand_point(eqn.params["spec"].operands[which], at, atom.aval.shape)
    return where(inside, cast(reader.element(atom, index), dtype), fill)


def _over(folded: Folded) -> tuple[Axis, ...]:
    """The folded axes; a fold over nothing runs once."""
    return folded.over or (Axis("once", 1),)


def _contract_stage(reader: GroupReader, eqn: Eqn, folded: Folded, number: int) -> Fold:
    state = Value(f"s{number}", (), eqn.params["accumulate"], scope="register")
    zero = neutral("add", state.dtype)
    left, right = (_operand(reader, eqn, folded, k, state.dtype, zero) for k in (0, 1))
    reader.states[eqn.outputs[0]] = cast(state[()], eqn.outputs[0].aval.dtype)
    return Fold((), _over(folded), (state,), (zero,), (add(state[()], mul(left, right)),),
                (add(state[()], other_element(state)),), atom="multiply_add")


def _reduce_stage(reader: GroupReader, eqn: Eqn, folded: Folded, number: int) -> Fold:
    op = FOLD_OPS[eqn.params["op"]]
    dtype = eqn.outputs[0].aval.dtype
    state = Value(f"s{number}", (), accumulation_dtype(dtype) if op in ("add", "mul") else dtype, scope="register")
    start = neutral(op, state.dtype)
    element = _operand(reader, eqn, folded, 0, state.dtype, start)
    reader.states[eqn.outputs[0]] = cast(state[()], dtype)
    return Fold((), _over(folded), (state,), (start,), (apply_op(op, state[()], element),),
                (apply_op(op, state[()], other_element(state)),))


def _extremum_stage(reader: GroupReader, eqn: Eqn, folded: Folded, number: int) -> Fold:
    """The extremum and its flat offset among the folded positions; the first of equals, and NaN before all."""
    op = "maximum" if eqn.params["op"].startswith(("argmax", "max")) else "minimum"
    given = eqn.inputs[0].aval.dtype
    dtype = np.dtype(np.int32) if given == BOOL else given
    best, where_ = Value(f"s{number}", (), dtype, scope="register"), Value(f"s{number}_at", (), np.dtype(np.int32), scope="register")
    start = cast(neutral(op, given), dtype)
    element = _operand(reader, eqn, folded, 0, dtype, start)
    over = _over(folded)
    offset = cast(flatten([axis_expr(a) for a in over], tuple(a.extent for a in over)), where_.dtype)
    wins = _beats(op, element, best[()])
    other, other_at = other_element(best), other_element(where_)
    ties = logical_and(_equal(other, best[()]), other_at < where_[()])
    takes = logical_or(_beats(op, other, best[()]), ties)
    outputs = eqn.outputs
    reader.states[outputs[-1]] = cast(where_[()], outputs[-1].aval.dtype)
    if len(outputs) == 2:
        reader.states[outputs[0]] = cast(best[()], given)
    return Fold((), over, (best, where_), (start, const(0, where_.dtype)),
                (select(wins, element, best[()]), select(wins, offset, where_[()])),
                (select(takes, other, best[()]), select(takes, other_at, where_[()])))


def _beats(op: str, challenger: Expr, holder: Expr) -> Expr:
    ahead = compare("gt" if op == "maximum" else "lt", challenger, holder)
    if challenger.dtype.kind in "iub":
        return ahead
    return logical_or(ahead, logical_and(math("is_nan", challenger), logical_not(math("is_nan", holder))))


def _equal(x: Expr, y: Expr) -> Expr:
    same = compare("eq", x, y)
    return same if x.dtype.kind in "iub" else logical_or(same, logical_and(math("is_nan", x), math("is_nan", y)))


def _cumulate_stage(reader: GroupReader, eqn: Eqn, folded: Folded, number: int) -> Fold:
    op, dtype = eqn.params["op"], eqn.outputs[0].aval.dtype
    wide = dtype if op in ("max", "min") else accumulation_dtype(dtype)
    state = Value(f"s{number}", (), wide, scope="register")
    index = next(p.index for p in reader.group.kept if p.var is eqn.outputs[0])
    element = cast(reader.element(eqn.inputs[0], index), wide)
    reader.states[eqn.outputs[0]] = cast(state[()], dtype)
    if op == "logsumexp":
        start, join = neutral("maximum", wide), _add_logarithms
    else:
        start = neutral(FOLD_OPS[op], wide)

        def join(x: Expr, y: Expr) -> Expr:
            return apply_op(FOLD_OPS[op], x, y)

    return Fold((), folded.over, (state,), (start,), (join(state[()], element),),
                (join(state[()], other_element(state)),), reverse=eqn.params["reverse"])


def _add_logarithms(x: Expr, y: Expr) -> Expr:
    """log(exp(x) + exp(y)); an infinite or NaN larger one is the result itself."""
    top = maximum(x, y)
    sum_ = add(top, math("log1p", math("exp", math("neg", math("abs", x - y)))))
    return select(math("is_finite", top), sum_, top)


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
        value = Value(f"e{len(values)}", tuple(a.extent for a in axes), node.dtype, scope="shared")
        values.append(value)
        replaced[node] = value[tuple(axes)]
        fills.setdefault(users[node][0], []).append(Map(axes, (Write(value.name, tuple(map(axis_expr, axes)), node),)))
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
    def change(exprs: Sequence[Expr]) -> tuple[Expr, ...]:
        return tuple(transform(exprs, lambda node, args: replaced.get(node)))

    def change_write(write: Write) -> Write:
        (expr,) = change((write.expr,))
        return replace(write, expr=expr)

    if isinstance(stage, Map):
        return replace(stage, writes=tuple(map(change_write, stage.writes)))
    return replace(stage, step=change(stage.step), finish=tuple(map(change_write, stage.finish)))
