"""Schedules of contractions: matrix products, convolutions and all their gradients.

Input: a `LoopNest` whose first stage is one fold with atom='multiply_add' (or 'multiply_add_tf32', which lets float32
factors be rounded to 10 bits), acc + left * right, over axes that
are not in the grid, and whose later stages are the epilogue. Output: `Scheduled`, or None where another
schedule is right (no product, no reuse, complex numbers). The axes are classified by what depends on them:

    batch    both operands        rows     the left operand only
    columns  the right one only   depth    the folded axes

Worked example, y[i, j] = relu(sum over k of x[i, k] * w[k, j] + b[j]):

    nest: grid (i, j); fold over k: acc + x[i, k] * w[k, j]; map: y[i, j] = max(acc + b[j], 0)
    Contraction(rows=(i,), columns=(j,), depth=(k,), left=x[i, k], right=w[k, j],
                writes=(y[i*1024 + j] = max(acc + b[j], 0),))
    on OpenCL: one kernel of register tiles; on CUDA: one kernel of shared-memory tiles

The product is one kernel, preceded by kernels that materialise operands which cannot be read in place, and
followed by a second nest (`tail`) for what a tile cannot do by itself: folds across tiles, parts of a split
depth. Both run through the schedule of ordinary nests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftiny.lowering.expr import (
    INDEX,
    Axis,
    Expr,
    axes_of,
    is_const,
    load,
    loads,
    topological,
    transform,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import flatten, simplify, terms_of
from ftiny.lowering.kernel import Kernel
from ftiny.lowering.loops import MULTIPLY_ADD, Fold, LoopNest, Map, Stage, Value, Write, fold, stage_roots, writes_of

if TYPE_CHECKING:
    from ftiny.lowering.schedule import Scheduled


@dataclass(frozen=True)
class Contraction:
    """A nest taken apart. Expressions of `writes` load arguments at one linear offset (a rank-1 index) and
    read the sum as a load of `state`; `left` and `right` have the nest's own indices. `tail` holds the
    stages that the product's kernel leaves to a second nest."""

    nest: LoopNest
    fold: Fold
    left: Expr
    right: Expr
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    depth: tuple[Axis, ...]
    writes: tuple[Write, ...]
    tail: tuple[Stage, ...] = ()
    scratch: tuple[Value, ...] = ()

    @property
    def state(self) -> Value:
        """The sum."""
        return self.fold.state[0]

    @property
    def grid(self) -> tuple[Axis, ...]:
        """All the axes of the output."""
        return (*self.batch, *self.rows, *self.columns)

    def value(self, name: str) -> Value:
        """An argument of the nest or a scratch array by its name."""
        for value in self.scratch:
            if value.name == name:
                return value
        return self.nest.value(name)

    @property
    def flops(self) -> int:
        """Two per multiplication and addition."""
        return 2 * math.prod(a.extent for a in (*self.grid, *self.depth))


def schedule_contract(nest: LoopNest, capabilities) -> Scheduled | None:
    """Kernels for a nest that is a contraction, or None if it is none or another schedule suits it better.

    Args:
        nest: a checked loop nest.
        capabilities: of the device; register tiles on CPUs (OpenCL with host memory or vectors),
            shared-memory tiles on all else.
    """
    contraction = contraction_of(nest)
    if contraction is None:
        return None
    if capabilities.dialect == "opencl" and (capabilities.host_memory or capabilities.vector_width > 1):
        from ftiny.lowering.schedule_contract_cpu import schedule_cpu

        return schedule_cpu(contraction, capabilities)
    from ftiny.lowering.schedule_contract_cuda import schedule_cuda
    from ftiny.lowering.schedule_contract_mma import schedule_mma

    return schedule_mma(contraction, capabilities) or schedule_cuda(contraction, capabilities)


# ------------------------------------------------------------------------------- classification


def contraction_of(nest: LoopNest) -> Contraction | None:
    """The nest as a contraction, or None."""
    product = _product(nest)
    if product is None or any(a.extent == 0 for a in nest.grid):
        return None
    stage, left, right = product
    of_left, of_right = axes_of((left,)), axes_of((right,))
    grid = tuple(a for a in nest.grid if a.extent > 1)
    if any(a not in of_left and a not in of_right for a in grid):
        return None
    contraction = Contraction(
        nest, stage, left, right,
        batch=tuple(a for a in grid if a in of_left and a in of_right),
        rows=tuple(a for a in grid if a in of_left and a not in of_right),
        columns=tuple(a for a in grid if a in of_right and a not in of_left),
        depth=tuple(a for a in stage.over if a.extent > 1), writes=())
    return _with_epilogue(contraction)


def _product(nest: LoopNest) -> tuple[Fold, Expr, Expr] | None:
    """The fold and its two factors, if the nest starts with a real sum of products and has no other."""
    folds = [s for s in nest.stages if isinstance(s, Fold) and s.atom in MULTIPLY_ADD]
    if len(folds) != 1 or nest.stages[0] is not folds[0]:
        return None
    stage = folds[0]
    if stage.axes or stage.across or stage.emit or len(stage.state) != 1 or stage.state[0].dtype.kind not in "iuf":
        return None
    step, state = stage.step[0], stage.state[0]
    if step.op != "add" or not is_const(stage.init[0]) or stage.init[0].attr != 0:
        return None
    terms = [a for a in step.args if not (a.op == "load" and a.attr[0] == state.name)]
    if len(terms) != 1 or terms[0].op != "mul" or any(a.extent == 0 for a in stage.over):
        return None
    left, right = terms[0].args
    if any(nest.value(node.attr[0]).scope != "argument" for node in loads((left, right))):
        return None
    return stage, left, right


def _with_epilogue(contraction: Contraction) -> Contraction:
    """Add what follows the fold: the writes that one element of the sum suffices for, and the tail."""
    nest = contraction.nest
    stages: list[Stage] = [Map((), contraction.fold.finish), *nest.stages[1:]]
    register: dict[str, Expr] = {}
    head: list[Write] = []
    while stages and isinstance(stages[0], Map) and not stages[0].axes:
        inlined = _inline(stages[0].writes, register, nest)
        if inlined is None:
            break
        head += inlined
        stages.pop(0)
    if not stages:
        return replace(contraction, writes=tuple(linear_write(w, nest) for w in head))
    return _with_tail(contraction, head, register, stages)


def _inline(writes: Iterable[Write], register: dict[str, Expr], nest: LoopNest) -> list[Write] | None:
    """The writes to arguments, with register values replaced by what they were set to; None if a write is
    of another kind. `register` collects the register values."""
    kept = []
    written: set[str] = set()
    for write in writes:
        expr, *rest = read_register((write.expr, *write.index, *write.roots()[len(write.index) + 1:]), register)
        scope = nest.value(write.value).scope
        if scope == "register" and not write.index and write.guard is None and write.update is None:
            register[write.value] = expr
            continue
        if scope != "argument" or write.update is not None or any(n.attr[0] in written for n in loads((expr, *rest))):
            return None
        written.add(write.value)
        index, guard = rest[:len(write.index)], rest[len(write.index):]
        kept.append(Write(write.value, tuple(index), expr, guard[0] if guard else None))
    return kept


def read_register(roots: Iterable[Expr], register: dict[str, Expr]) -> list[Expr]:
    """The roots with loads of scalars named in `register` replaced."""

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        return register.get(node.attr[0]) if node.op == "load" and node.attr[1] == 0 else None

    return transform(roots, rewrite) if register else list(roots)


def _with_tail(contraction: Contraction, head: list[Write], register: dict[str, Expr],
               stages: list[Stage]) -> Contraction:
    """Leave `stages` to a second nest, which reads what the head wrote, or the sum from a scratch array."""
    nest, state = contraction.nest, contraction.state
    written = {w.expr: load(w.value, w.index, w.expr.dtype) for w in head
               if w.guard is None and nest.value(w.value).storage == w.expr.dtype}
    tail = tuple(_rewrite_stage(s, register, written) for s in stages)
    outputs = {w.value for w in head}
    read = {node.attr[0] for s in tail for node in loads(stage_roots(s))}
    inputs = {v.name for v in nest.arguments} - outputs
    if state.name not in read and not read & inputs:
        return replace(contraction, writes=tuple(linear_write(w, nest) for w in head), tail=tail)
    # The tail reads the sum, or arguments that an output may share its memory with: it does all the writing.
    whole = Value(f"{nest.name}_sum", tuple(a.extent for a in nest.grid), state.dtype, scope="global")
    register = {state.name: whole[nest.grid]}
    write = Write(whole.name, tuple(axis_expr(a) for a in nest.grid), load(state.name, (), state.dtype))
    finish = (Map((), contraction.fold.finish),) if contraction.fold.finish else ()
    tail = tuple(_rewrite_stage(s, register, {}) for s in (*finish, *nest.stages[1:]))
    result = replace(contraction, tail=tail, scratch=(whole,))
    return replace(result, writes=(linear_write(write, result),))


def _rewrite_stage(stage: Stage, register: dict[str, Expr], written: dict[Expr, Expr]) -> Stage:
    def change(expr: Expr) -> Expr:
        inlined = read_register((expr,), register)[0]
        return transform((inlined,), lambda node, args: written.get(node))[0] if written else inlined

    def change_write(write: Write) -> Write:
        guard = None if write.guard is None else change(write.guard)
        return replace(write, index=tuple(map(change, write.index)), expr=change(write.expr), guard=guard)

    if isinstance(stage, Map):
        return replace(stage, writes=tuple(map(change_write, stage.writes)))
    return replace(stage, init=tuple(map(change, stage.init)), step=tuple(map(change, stage.step)),
                   emit=tuple(map(change_write, stage.emit)), finish=tuple(map(change_write, stage.finish)))


# ------------------------------------------------------------------------------- linear offsets


def linear(roots: Iterable[Expr], nest: LoopNest | Contraction) -> list[Expr]:
    """The roots with every load of an array at one linear offset, simplified."""

    arrays = {v.name: v for v in (nest.arguments if isinstance(nest, LoopNest) else
                                  (*nest.nest.arguments, *nest.scratch))}

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        if node.op != "load" or node.attr[0] not in arrays:
            return None
        value, rank = arrays[node.attr[0]], node.attr[1]
        return load(value.name, (flatten(args[:rank], value.shape),), node.dtype, *args[rank:])

    return [simplify(e) for e in transform([simplify(r) for r in roots], rewrite)]


def linear_write(write: Write, nest: LoopNest | Contraction) -> Write:
    """The write at one linear offset."""
    offset = flatten(linear(write.index, nest), nest.value(write.value).shape)
    guard = None if write.guard is None else linear((write.guard,), nest)[0]
    return Write(write.value, (offset,), linear((write.expr,), nest)[0], guard)


def index_forms(roots: Iterable[Expr]) -> list[dict[Axis, int]]:
    """The coefficients of the axes in every linear form that occurs: load offsets, sides of comparisons,
    operands of divisions, indices used as values. Each is as large as it can be."""
    forms = []
    for node in topological(roots):
        linear_node = node.dtype == INDEX and (node.op == "add" or node.op == "mul" and node.args[1].op == "const")
        if linear_node:
            continue
        forms += [form for a in node.args if a.dtype == INDEX and (form := axis_terms(a))]
    return forms


def axis_terms(expr: Expr) -> dict[Axis, int]:
    """The coefficients of the axes in a linear form; what is no axis is left out."""
    return {atom.attr: c for atom, c in terms_of(expr)[0].items() if atom.op == "axis"}


# ------------------------------------------------------------------------------------- the tail


def split_sum(contraction: Contraction, splits: int) -> tuple[Contraction, Value]:
    """The contraction with its depth in `splits` parts: the product writes partial sums to a scratch array
    [splits, grid...], the tail adds them and does the whole epilogue. The writes have the part's number as
    the axis named `part.`."""
    nest, state = contraction.nest, contraction.state
    part = Axis("part.", splits)
    partial = Value(f"{nest.name}_partial", (splits, *(a.extent for a in nest.grid)), state.dtype, scope="global")
    add = fold("add", state, (part,), partial[(part, *nest.grid)], finish=contraction.fold.finish)
    result = replace(contraction, tail=(add, *nest.stages[1:]), scratch=(partial,))
    write = Write(partial.name, (axis_expr(part), *map(axis_expr, nest.grid)), load(state.name, (), state.dtype))
    return replace(result, writes=(linear_write(write, result),)), partial


def tail_nest(contraction: Contraction) -> LoopNest | None:
    """The second nest, if there is one. Its arguments are the nest's and the scratch arrays."""
    if not contraction.tail:
        return None
    nest = contraction.nest
    arguments = [*nest.arguments, *(replace(v, scope="argument") for v in contraction.scratch)]
    used = {n.attr[0] for s in contraction.tail for n in loads(stage_roots(s))}
    used |= {w.value for s in contraction.tail for w in writes_of(s)}
    return LoopNest(f"{nest.name}_tail", nest.grid, tuple(v for v in arguments if v.name in used),
                    tuple(v for v in nest.values if v.name in used), contraction.tail, nest.equations)


def with_other_nests(contraction: Contraction, before: Iterable[LoopNest], kernel: Kernel,
                     scratch: Iterable[Value], capabilities) -> Scheduled:
    """All kernels of the contraction in order of launch."""
    from ftiny.lowering.schedule import Scheduled, schedule

    kernels: list[Kernel] = []
    arrays = [*scratch, *contraction.scratch]
    tail = tail_nest(contraction)
    for nest in (*before, None, *((tail,) if tail else ())):
        if nest is None:
            kernels.append(kernel)
            continue
        scheduled = schedule(nest, capabilities)
        kernels += scheduled.kernels
        arrays += scheduled.scratch
    return Scheduled(tuple(kernels), tuple(arrays))

def with_sum(write: Write, name: str, total: Expr) -> Write:
    """The write with the loads of the sum replaced."""

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        return total if node.op == "load" and node.attr == (name, 0) else None

    expr, *guard = transform((write.expr, *write.roots()[2:]), rewrite)
    return replace(write, expr=expr, guard=guard[0] if guard else None)
