"""Rows that stay in registers: which nests allow it, and the stages rewritten for it.

Input: the stages of one phase, every one a map or a fold along the same axis or without one. Output: `OnChip`, or None
where a row is too long or is read at other places than a thread's own. A row on chip is an array of each
thread with the elements that the thread is dealt, indexed by `slot`; what several stages load from an argument
becomes such an array too, filled by a map that comes first.

Worked example, softmax of x[row, j] with j: 4096 by 256 threads in 4 lanes: x.row[slot: 16] = x[row, j], then
the folds and the map read x.row[slot]; element `turn*4 + lane` of it is x[row, turn*1024 + thread*4 + lane].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftiny.lowering.emit_c import F32, NARROW
from ftiny.lowering.expr import Axis, Expr, axes_of, load, loads, transform
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, Value, Write, stage_roots, writes_of
from ftiny.lowering.schedule_block_body import inner_axis

if TYPE_CHECKING:
    from ftiny.lowering.schedule_generic import Context

SLOT = "slot"
ELEMENTS = 16  # of a row, for one thread: four 16-byte accesses of float32 in flight
MOST_BYTES = 128  # of all its rows that a thread keeps in registers


@dataclass(frozen=True)
class OnChip:
    """Stages whose rows are in registers: `rows` names them, `loaded` are those among them that the first map
    fills; `threads` share a row and have `slot.extent` elements each."""

    stages: tuple[Stage, ...]
    rows: frozenset[str]
    loaded: tuple[Value, ...]
    slot: Axis
    threads: int


def on_chip(context: Context, stages: tuple[Stage, ...], lanes: int) -> OnChip | None:
    """The stages with their rows in registers, or None."""
    nest, inner = context.nest, common_axis(stages)
    if inner is None:
        return None
    own = {v.name for v in nest.values if v.scope in ("register", "shared") and v.shape}
    if not all(nest.value(name).shape == (inner.extent,) and _own_elements(name, inner, stages) for name in own):
        return None
    threads = row_threads(context, inner.extent, lanes)
    turns = -(-inner.extent // (threads * lanes))
    slot = Axis(SLOT, turns * lanes)
    room = MOST_BYTES - slot.extent * sum(nest.value(name).memory.itemsize for name in own)
    repeated = repeated_loads(nest, stages, inner)
    room -= slot.extent * sum(max(4, node.dtype.itemsize) for node in repeated)
    if room < 0 or slot.extent > MOST_BYTES // 4:
        return None
    loaded, stages = load_first(stages, inner, repeated)
    rows = frozenset(own | {v.name for v in loaded})
    return OnChip(tuple(_in_slots(s, rows, axis_expr(slot)) for s in stages), rows, loaded, slot, threads)


def row_threads(context: Context, row: int, lanes: int) -> int:
    """Threads for a row on chip: at most a warp while that leaves each at most 32 elements, since a warp combines
    without a barrier; from there on as many as have 16 elements each."""
    warp, most = context.capabilities.warp, context.capabilities.max_threads
    if warp > 1 and row <= 2 * ELEMENTS * warp:
        return min(warp, _power_of_two(-(-row // lanes)))
    return min(1 << (most.bit_length() - 1), max(32, _power_of_two(-(-row // ELEMENTS))))


def _power_of_two(least: int) -> int:
    return 1 << max(0, (least - 1).bit_length())


def common_axis(stages: Iterable[Stage]) -> Axis | None:
    """The one axis that every stage runs along, if that is all there is."""
    found: set[Axis] = set()
    for stage in stages:
        axes = [a for a in (stage.axes if isinstance(stage, Map) else (*stage.axes, *stage.over)) if a.extent != 1]
        if len(axes) > 1 or (isinstance(stage, Fold) and stage.state[0].shape):
            return None
        if axes and inner_axis(stage) != axes[0]:
            return None
        found |= set(axes)
    return next(iter(found)) if len(found) == 1 else None


def _own_elements(name: str, inner: Axis, stages: Iterable[Stage]) -> bool:
    """Whether a row is written and read only at the element that the thread is dealt."""
    here = (axis_expr(inner),)
    reads = [node.args[:1] for stage in stages for node in loads(stage_roots(stage)) if node.attr[0] == name]
    return all(index == here for index in reads + [w.index for s in stages for w in writes_of(s) if w.value == name])


def repeated_loads(nest: LoopNest, stages: Iterable[Stage], inner: Axis) -> list[Expr]:
    """Loads along the row from memory that these stages do not write, where more than one stage has them."""
    written = {w.value for s in stages for w in writes_of(s)}
    seen: dict[Expr, int] = {}
    for stage in stages:
        for node in loads(stage_roots(stage)):
            if inner not in axes_of(node.args) or node.attr[0] in written:
                continue
            if nest.value(node.attr[0]).scope in ("argument", "global"):
                seen[node] = seen.get(node, 0) + 1
    return [node for node, count in seen.items() if count > 1]


def load_first(stages: tuple[Stage, ...], inner: Axis, nodes: list[Expr]) -> tuple[tuple[Value, ...],
                                                                                   tuple[Stage, ...]]:
    """(the rows, the stages reading them after a map that fills them)."""
    if not nodes:
        return (), stages
    values = tuple(Value(f"{node.attr[0]}.row{k}", (inner.extent,), node.dtype,
                         F32 if node.dtype in NARROW else node.dtype, "register")
                   for k, node in enumerate(nodes))
    rows = {node: load(v.name, (axis_expr(inner),), v.dtype) for node, v in zip(nodes, values)}
    fill = Map((inner,), tuple(Write(v.name, (axis_expr(inner),), node) for v, node in zip(values, nodes)))
    return values, (fill, *(_rewritten(s, rows) for s in stages))


def _in_slots(stage: Stage, rows: frozenset[str], slot: Expr) -> Stage:
    """The stage with the elements of rows at their slots."""
    found = [n for n in loads(stage_roots(stage)) if n.attr[0] in rows]
    stage = _rewritten(stage, {n: load(n.attr[0], (slot,), n.dtype, *n.args[1:]) for n in found})

    def place(writes: tuple[Write, ...]) -> tuple[Write, ...]:
        return tuple(replace(w, index=(slot,)) if w.value in rows else w for w in writes)

    if isinstance(stage, Map):
        return Map(stage.axes, place(stage.writes))
    return replace(stage, finish=place(stage.finish))


def _rewritten(stage: Stage, new: dict[Expr, Expr]) -> Stage:
    """The stage with some nodes replaced; what lies under a replaced node stays."""
    def exprs(roots: Iterable[Expr]) -> tuple[Expr, ...]:
        return tuple(transform(roots, lambda node, args: new.get(node)))

    def writes(old: tuple[Write, ...]) -> tuple[Write, ...]:
        result = []
        for write in old:
            roots, rank = exprs(write.roots()), len(write.index)
            guard = None if write.guard is None else roots[rank + 1]
            result.append(Write(write.value, roots[:rank], roots[rank], guard, write.update))
        return tuple(result)

    if isinstance(stage, Map):
        return Map(stage.axes, writes(stage.writes))
    combine = None if stage.combine is None else exprs(stage.combine)
    return replace(stage, init=exprs(stage.init), step=exprs(stage.step), combine=combine,
                   finish=writes(stage.finish), emit=writes(stage.emit))
