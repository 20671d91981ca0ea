"""Fusion of rows with columns: a fold down the columns joins the kernel that has the rows on chip.

Input: a `Fused` program. Output: one in which a group that folds the rows of an array into one number for each column
has become a part (`columns`) of the group that works along those rows, where both read the same arrays.

Worked example, the backward pass of layernorm for f32[16384,4096]:

    group 0 fold grid(i0:16384) folds(5 sums over j0:4096) -> f32[16384,4096] (twice), f32[16384,1] (twice)
    group 1 fold grid(i0:4096) folds(sum over j0:16384, sum over j0:16384) -> f32[4096], f32[4096]

become one group, whose `columns` are two sums over i0:16384; the two numbers of each row that only group 1 read are not
written any more. Of x and dy, 268 MB each, group 1 read every element again.

**The rule.** Joined, the arrays that both groups read, or the first one writes, are read once less. What it costs are
the states of the columns, which every worker writes for its own rows and another kernel reads: 2 * `WORKERS` * row
elements for each fold. A row must fit on chip (`held` elements of all arrays together), or it would be read again.
Parallelism is not lost as long as there are more rows than workers, which is what the first condition comes to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from ftiny.core import Atom, Eqn, Jaxpr, Var
from ftiny.lowering.access import Index, Reader, is_readable
from ftiny.lowering.expr import Axis, Expr, axes_of, load, substitute
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.fold_rules import OPS, fold_extents, fold_points, operand_point
from ftiny.lowering.groups import Folded, Fused, Group, Placed, axis_index, same_index
from ftiny.lowering.index import simplify

WORKERS = 264   # blocks that run at a time on a large GPU (2 for each of 132 multiprocessors); a CPU has fewer


class _NotReadable(Exception):
    """This value cannot be had at this point of the joined group."""


def join_columns(fused: Fused, held: int) -> Fused:
    """Join groups along columns to groups along rows; `held` is how many elements of a row a worker can hold."""
    if not any(_folds_columns(g, fused.jaxpr) for g in fused.groups):
        return fused
    joiner = _Joiner(fused.jaxpr, fused.groups, held)
    for group in fused.groups:
        if group in joiner.reads and _folds_columns(group, fused.jaxpr):
            joiner.try_all(group)
    return Fused(fused.jaxpr, tuple(sorted(joiner.reads, key=lambda g: g.order)))


def _folds_columns(group: Group, jaxpr: Jaxpr) -> bool:
    """Whether a group does nothing but ordinary folds of whole arrays, not along their last axis."""
    if group.kind != "fold" or not group.grid or group.columns is not None:
        return False
    for folded in group.folds:
        eqn = jaxpr.eqns[folded.number]
        if eqn.primitive.name != "reduce" or eqn.params["op"] not in OPS or eqn.params["spec"].has_windows:
            return False
        extents = tuple(a.extent for a in folded.over)
        if extents != fold_extents(eqn.params["spec"]) or folded.over != group.folds[0].over:
            return False
    return all(axes_of(p.index) <= set(group.grid) for p in group.outputs)


@dataclass
class _Joiner:
    """The groups so far. `reads` has what each group reads from memory, `readers` the same the other way round,
    `writer` the order of the group that writes a value, `rows` the groups along rows that have a value on chip."""

    jaxpr: Jaxpr
    groups: Sequence[Group]
    held: int

    def __post_init__(self) -> None:
        self.definition: dict[Var, Eqn] = {v: e for e in self.jaxpr.eqns for v in e.outputs}
        self.results = {a for a in self.jaxpr.outputs if isinstance(a, Var)}
        self.writer = {v: -1 for v in self.jaxpr.inputs}
        self.writer.update((p.var, g.order) for g in self.groups for p in g.written)
        self.reads = {g: self._reads_of(g) for g in self.groups}
        self.readers: dict[Var, list[Group]] = {}
        self.rows: dict[Var, list[Group]] = {}
        for group in self.groups:
            self._enter(group)

    def _enter(self, group: Group) -> None:
        for var in self.reads[group]:
            self.readers.setdefault(var, []).append(group)
        for var in self.reads[group] | {p.var for p in group.outputs} if _row_axes(group) else ():
            self.rows.setdefault(var, []).append(group)

    def _reads_of(self, group: Group) -> set[Var]:
        own = {p.var for p in group.kept}
        stack: list[Atom] = [a for f in group.folds for a in self.jaxpr.eqns[f.number].inputs]
        stack += [a for p in group.outputs if self._is_computed(p.var) for a in self.definition[p.var].inputs]
        found: set[Var] = set()
        seen: set[Atom] = set()
        while stack:
            atom = stack.pop()
            if atom in seen or not isinstance(atom, Var):
                continue
            seen.add(atom)
            if atom not in own and self.writer.get(atom, group.order) < group.order:
                found.add(atom)
            elif self._is_computed(atom):
                stack += self.definition[atom].inputs
        return found

    def _is_computed(self, var: Var) -> bool:
        return var in self.definition and is_readable(self.definition[var])

    def try_all(self, columns: Group) -> None:
        """Join a group along columns to the first group along rows that it fits."""
        folded = columns.folds[0]
        key = tuple(a.extent for a in folded.over), tuple(a.extent for a in columns.grid)
        found = {g for v in self.reads[columns] for g in self.rows.get(v, ())}
        for rows in sorted(found, key=lambda g: g.order):
            if rows not in self.reads or rows is columns or _row_key(rows) != key or not self._pays(rows, columns):
                continue
            for order in dict.fromkeys((rows.order, max(rows.order, columns.order))):
                if self._may_move(rows, columns, order):
                    joined = self._joined(rows, columns, order)
                    if joined is not None:
                        self._put(rows, columns, joined)
                        return

    def _pays(self, rows: Group, columns: Group) -> bool:
        """The rule of the module docstring."""
        row, points = prod(a.extent for a in columns.grid), prod(a.extent for a in rows.grid)
        both = self.reads[columns] & (self.reads[rows] | {p.var for p in rows.outputs})
        saved = sum(v.aval.nbytes for v in both if v.aval.size >= row * points)
        states = [self.jaxpr.eqns[f.number].outputs[0].aval for f in columns.folds]
        partial = sum(2 * min(points, WORKERS) * row * max(4, a.dtype.itemsize) for a in states)
        large = {v for v in self.reads[rows] | self.reads[columns] if v.aval.size >= row * points}
        already = 0 if rows.columns is None else len(rows.columns.folds)
        return saved > partial and row * (len(large) + len(states) + already) <= self.held

    def _may_move(self, rows: Group, columns: Group, order: int) -> bool:
        """Whether both can run at `order`: nobody reads what they write before."""
        if any(g.order <= order for p in rows.written + columns.written for g in self._others(p.var, rows, columns)):
            return False
        return all(self.writer[v] < order or v in {p.var for p in rows.outputs} for v in self.reads[columns]) and not (
            {p.var for p in columns.outputs} & self.reads[rows])

    def _others(self, var: Var, rows: Group, columns: Group) -> list[Group]:
        """Who else reads a value."""
        return [g for g in self.readers.get(var, ()) if g in self.reads and g is not rows and g is not columns]

    def _joined(self, rows: Group, columns: Group, order: int) -> Group | None:
        """The joined group, if it has all that the columns need at the right points."""
        local = _row_axes(rows)
        mapping = {a: axis_expr(b) for a, b in zip(columns.grid + columns.folds[0].over, local + rows.grid)}
        placed = {p.var: tuple(map(simplify, substitute(p.index, mapping))) for p in columns.kept}
        folds = tuple(Folded(f.number, rows.grid, axis_index(local)) for f in columns.folds)
        reader = Reader(self.definition, self._leaf(rows, placed, order))
        try:
            for folded in folds:
                eqn = self.jaxpr.eqns[folded.number]
                reader.element(eqn.inputs[0], operand_index(eqn, folded))
            for output in columns.outputs:
                reader.element(output.var, placed[output.var])
        except _NotReadable:
            return None
        before = rows.columns or Group("fold", (), (), (), ())
        part = Group("fold", local, before.folds + folds, before.kept + tuple(Placed(v, i) for v, i in placed.items()),
                     before.outputs + tuple(Placed(p.var, placed[p.var]) for p in columns.outputs))
        kept = tuple(p for p in rows.outputs if p.var in self.results or self._others(p.var, rows, columns))
        return replace(rows, outputs=kept, columns=part, order=order)

    def _leaf(self, rows: Group, placed: Mapping[Var, Index], order: int):
        kept = {p.var: p.index for p in rows.kept} | dict(placed)
        anchors = {v for v in kept if not self._is_computed(v)}

        def leaf(var: Var, index: Index) -> Expr | None:
            if var in kept:
                if not same_index(index, kept[var], var.aval.shape):
                    raise _NotReadable
                return load(f"v{id(var)}", index, var.aval.dtype) if var in anchors else None
            if self.writer.get(var, order) < order:
                return load(f"v{id(var)}", index, var.aval.dtype)
            if var in self.writer or not self._is_computed(var):
                raise _NotReadable
            return None

        return leaf

    def _put(self, rows: Group, columns: Group, joined: Group) -> None:
        reads = (self.reads.pop(rows) | self.reads.pop(columns)) - {p.var for p in rows.outputs}
        self.reads[joined] = reads
        for output in set(p.var for p in rows.outputs) - set(p.var for p in joined.outputs):
            del self.writer[output]
        self.writer.update((p.var, joined.order) for p in joined.written)
        self._enter(joined)


def operand_index(eqn: Eqn, folded: Folded) -> Index:
    """Where a fold along columns reads at a point of the rows."""
    spec = eqn.params["spec"]
    points = fold_points(spec, folded.index, axis_index(folded.over))
    return operand_point(spec.operands[0], points, eqn.inputs[0].aval.shape)[0]


def _row_axes(group: Group) -> tuple[Axis, ...]:
    """The axes along the rows of a group that works along rows: those of all its folds."""
    if group.kind != "fold" or not group.grid:
        return ()
    axes = group.folds[0].over
    outputs: Iterable[Axis] = {a for p in group.outputs for a in axes_of(p.index)} - set(group.grid)
    return axes if all(f.over == axes for f in group.folds) and set(outputs) <= set(axes) else ()


def _row_key(group: Group) -> tuple:
    return tuple(a.extent for a in group.grid), tuple(a.extent for a in _row_axes(group))
