"""Groups: what fusion makes of a program, with its check and its listing.

Input of the check: a `Fused`. Output: nothing, or a `FusionError` that says which value is read before it is written.

Worked example, softmax over the rows of f32[7,13] is one group:

    group 0 fold grid(i0:7) folds(max over j0:13, reduce sum over j0:13) -> f:f32[7,13] at [i0, j0]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ftiny.core import Atom, Eqn, Jaxpr, Literal, Var
from ftiny.dtypes import short_name
from ftiny.lowering.access import Index, is_readable
from ftiny.lowering.expr import Axis, show
from ftiny.lowering.expr import axis as axis_expr

KERNELS = ("map", "fold", "contract", "cumulate", "scatter", "sort")


class FusionError(AssertionError):
    """A grouping that breaks an invariant of this module: a fault of the compiler."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A value and the index, in terms of the group's axes, at which the group computes it."""

    var: Var
    index: Index


@dataclass(frozen=True, eq=False)
class Folded:
    """An anchor equation: its number, the axes it runs over, and the values of its spec's output indices."""

    number: int
    over: tuple[Axis, ...]
    index: Index = ()


@dataclass(frozen=True, eq=False)
class Group:
    """One kernel or step; see the module docstring. `kept` are values it computes at one point only, fold results
    among them; `outputs` is the part of them that is written to memory. `columns` are folds over the grid itself, with
    what is computed from them, at the axes along the rows (fuse_columns.py)."""

    kind: str
    grid: tuple[Axis, ...]
    folds: tuple[Folded, ...]
    kept: tuple[Placed, ...]
    outputs: tuple[Placed, ...]
    order: int = 0
    columns: Group | None = None

    @property
    def written(self) -> tuple[Placed, ...]:
        """All that is written to memory."""
        return self.outputs + (() if self.columns is None else self.columns.outputs)

    @property
    def all_folds(self) -> tuple[Folded, ...]:
        """The anchors along the rows and along the columns."""
        return self.folds + (() if self.columns is None else self.columns.folds)

    @property
    def is_kernel(self) -> bool:
        """Whether the group becomes a loop nest."""
        return self.kind in KERNELS


@dataclass(frozen=True, eq=False)
class Fused:
    """A program and its groups, in order of execution."""

    jaxpr: Jaxpr
    groups: tuple[Group, ...]

    def __str__(self) -> str:
        return "\n".join(_show_group(number, group, self.jaxpr) for number, group in enumerate(self.groups))


def grid_axes(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """The axes i0, i1, ... of a grid."""
    return tuple(Axis(f"i{k}", n) for k, n in enumerate(shape))


def axis_index(axes: Iterable[Axis]) -> Index:
    """The index that is the axes themselves."""
    return tuple(map(axis_expr, axes))


def same_index(index: Index, other: Index, shape: tuple[int, ...]) -> bool:
    """Whether two simplified indices are one; along an axis of extent 1 every index is."""
    return all(i is o or n == 1 for i, o, n in zip(index, other, shape))


# ----------------------------------------------------------------------------- checking and printing


def check_groups(fused: Fused) -> None:
    """Raise `FusionError` unless every value that must be in memory is written by one group, before it is read."""
    jaxpr = fused.jaxpr
    definition = {v: e for e in jaxpr.eqns for v in e.outputs}
    written: dict[Var, int] = {v: -1 for v in jaxpr.inputs}
    for number, group in enumerate(fused.groups):
        for placed in group.written:
            if placed.var in written:
                raise FusionError(f"group {number}: a value is written twice")
            written[placed.var] = number
    anchors = [f.number for g in fused.groups for f in g.all_folds]
    if len(set(anchors)) != len(anchors):
        raise FusionError("an equation is the anchor of two groups")
    for number, group in enumerate(fused.groups):
        _check_group(number, group, fused, definition, written)
    for atom in jaxpr.outputs:
        if isinstance(atom, Var) and atom not in written:
            raise FusionError("a result of the program is written by no group")


def _check_group(number: int, group: Group, fused: Fused, definition: dict[Var, Eqn], written: dict[Var, int]) -> None:
    own = {v for f in group.all_folds for v in fused.jaxpr.eqns[f.number].outputs}
    stack: list[Atom] = [p.var for p in group.written if p.var not in own]
    stack += [a for f in group.all_folds for a in fused.jaxpr.eqns[f.number].inputs]
    seen: set[Var] = set()
    while stack:
        var = stack.pop()
        if isinstance(var, Literal) or var in seen or var in own or written.get(var, number) < number:
            continue
        seen.add(var)
        if var not in definition or not is_readable(definition[var]):
            raise FusionError(f"group {number} ({group.kind}) reads a value before anything has computed it: "
                              f"{var.aval} of {definition[var].primitive if var in definition else 'an input'}")
        stack.extend(definition[var].inputs)


def _show_group(number: int, group: Group, jaxpr: Jaxpr) -> str:
    folds = ", ".join(f"{jaxpr.eqns[f.number].primitive.show(jaxpr.eqns[f.number].params)}"
                      + (f" over {' '.join(map(str, f.over))}" if f.over else "") for f in group.folds)
    outputs = ", ".join(f"{short_name(p.var.aval.dtype)}[{','.join(map(str, p.var.aval.shape))}] at "
                        f"[{', '.join(map(show, p.index))}]" for p in group.outputs)
    grid = f" grid({', '.join(map(str, group.grid))})" if group.grid else ""
    text = f"group {number} {group.kind}{grid}{f' folds({folds})' if folds else ''} -> {outputs}"
    return text if group.columns is None else f"{text} with columns: {_show_group(number, group.columns, jaxpr)}"
