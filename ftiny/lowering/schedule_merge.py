"""Merging axes: neighbouring axes that every access walks as one become one.

Input: stages and the axes in question; output: fewer axes, and what the old ones are in terms of them.
Longer axes fill more vectors and cut into more pieces, and addresses lose their divisions. A merge is
made only if it brings no division into any offset or value.

Worked example: the fold over n, h, w of x[n, h, w, c] walks one axis n_h_w with stride c.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from ftiny.lowering.expr import Axis, Expr, substitute, topological
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import unflatten
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, Write, writes_of
from ftiny.lowering.schedule_body import Converter, Place


def merge_axes(nest: LoopNest, stages: tuple[Stage, ...]) -> tuple[tuple[Axis, ...], dict[Axis, Expr]]:
    """Merge adjacent grid axes where no access gets a division by it.

    Returns the new axes and every merged grid axis as an expression of them.
    """
    groups = _groups(nest, stages, nest.grid)
    return tuple(_merged(g) for g in groups), _mapping(groups)


def merge_local(nest: LoopNest, stage: Stage) -> Stage:
    """The stage with its own axes merged: a map's axes, a fold's folded axes."""
    axes = stage.axes if isinstance(stage, Map) else stage.over
    if sum(a.extent != 1 for a in axes) < 2 or any(a in nest.grid for a in axes):
        return stage
    groups = _groups(nest, (stage,), axes)
    if len(groups) == sum(a.extent != 1 for a in axes):
        return stage
    mapping = _mapping(groups)
    merged = tuple(_merged(g) for g in groups)
    moved = moved_stage(stage, mapping)
    return replace(moved, axes=merged) if isinstance(moved, Map) else replace(moved, over=merged)


def moved_stage(stage: Stage, mapping: dict[Axis, Expr]) -> Stage:
    """A stage with axes replaced in all its expressions (not in its own lists of axes)."""
    if isinstance(stage, Map):
        return Map(stage.axes, tuple(moved_write(w, mapping) for w in stage.writes))
    return replace(stage, init=tuple(substitute(stage.init, mapping)), step=tuple(substitute(stage.step, mapping)),
                   finish=tuple(moved_write(w, mapping) for w in stage.finish),
                   emit=tuple(moved_write(w, mapping) for w in stage.emit))


def merged_nest(nest: LoopNest, stages: tuple[Stage, ...]) -> tuple[LoopNest, tuple[Stage, ...]]:
    """The nest with its grid axes merged as far as these stages allow, and the stages in its terms."""
    axes, mapping = merge_axes(nest, stages)
    if not mapping:
        return nest, stages
    stages = tuple(moved_stage(s, mapping) for s in stages)
    return replace(nest, grid=axes, stages=stages), stages


def moved_write(write: Write, mapping: dict[Axis, Expr]) -> Write:
    """A write with axes replaced."""
    roots = substitute(write.roots(), mapping)
    rank = len(write.index)
    guard = None if write.guard is None else roots[rank + 1]
    return Write(write.value, tuple(roots[:rank]), roots[rank], guard, write.update)


def _groups(nest: LoopNest, stages: tuple[Stage, ...], axes: Iterable[Axis]) -> list[tuple[Axis, ...]]:
    groups: list[tuple[Axis, ...]] = [(a,) for a in axes if a.extent != 1]
    if len(groups) < 2:
        return groups
    before = _divisions(nest, stages, {})
    position = len(groups) - 2
    while position >= 0:
        joined = groups[position] + groups[position + 1]
        trial = [*groups[:position], joined, *groups[position + 2:]]
        if _divisions(nest, stages, _mapping(trial)) <= before:
            groups = trial
        position -= 1
    return groups


def _merged(group: tuple[Axis, ...]) -> Axis:
    if len(group) == 1:
        return group[0]
    return Axis("_".join(a.name for a in group), math.prod(a.extent for a in group))


def _mapping(groups: Iterable[tuple[Axis, ...]]) -> dict[Axis, Expr]:
    mapping: dict[Axis, Expr] = {}
    for group in groups:
        if len(group) > 1:
            mapping |= unflatten(axis_expr(_merged(group)), group)
    return mapping


def plain_places(nest: LoopNest) -> dict[str, Place]:
    """Every value at its own shape: enough to see offsets."""
    return {v.name: Place("buffer" if v.shape else "variable", v.name, v.shape) for v in nest.all_values()}


def offsets_and_values(stage: Stage) -> list[Expr]:
    """The expressions of a stage except the positions of its writes, which count only as offsets."""
    roots = [w.expr for w in writes_of(stage)] + [w.guard for w in writes_of(stage) if w.guard is not None]
    return roots + ([*stage.init, *stage.step] if isinstance(stage, Fold) else [])


def _divisions(nest: LoopNest, stages: Iterable[Stage], mapping: dict[Axis, Expr]) -> int:
    """How many divisions the offsets and values contain after the mapping."""
    convert = Converter(plain_places(nest))
    if mapping:
        stages = [moved_stage(s, mapping) for s in stages]
    roots = [convert(e) for stage in stages for e in offsets_and_values(stage)]
    roots += [convert.offset(w.index, convert.places[w.value]) for s in stages for w in writes_of(s)]
    return sum(1 for n in topological(roots) if n.op in ("floordiv", "mod"))


