"""Fusion: the equations of a simplified program, grouped into kernels and other steps.

Input: a `Jaxpr` from simplify.py. Output: a `Fused`: groups in an order in which they can run. A group is one kernel's
work (map, fold, contract, cumulate, scatter, sort) or one step of another kind (host, scan, while, cond). It names the
equations that need a loop nest (`folds`) and the values that it leaves in memory (`outputs`), each with the index at
which the group's axes compute it. Equations that are index -> value functions belong to no group: they are inlined
wherever they are read.

Worked example, `exp(x - max(x)) / sum(exp(x - max(x)))` over the rows of f32[7,13]:

    group 0 fold grid(i0:7) folds(reduce max over j0:13, reduce sum over j0:13) -> f:f32[7,13] at [i0, j0]

One pass over the equations, in order. Groups carry an order number and depend on groups of lower numbers only; a fold
or a value may join the group of the highest number among those it depends on, or a later one, so no cycle can arise.
Whether it can join is tried on its expression: every value of the group must be read at the very point where the group
has it. Before a value is read in a new group, `_prepare` chooses what goes through memory: the cut of fewest bytes.

**The rule.** Fusing saves the bytes of a value, written once and read once; it costs what is computed again, and it may
cost parallelism. Costs are counted in additions for one element (`element_cost`), and 1 byte of traffic is held to be
worth `1 / _BYTES_PER_OPERATION` = 10 of them: a GPU of 3 TB/s and 60 TFLOP/s does 20 in the time of a byte, a CPU core
5 to 10. From this the constants follow:

- a value of up to `_CHEAP` = 8 additions (less than its own 4 bytes) is computed wherever it is read, even for every
  element of a larger result; a dearer one is stored where it would be computed twice as often as it has elements;
- inside a product, where an element is read hundreds of times, no more than `_OPERAND` = 2.5 (a sum, a conversion);
  a matrix that a product with a vector uses once is computed in place at any cost (`matrix_of`);
- what others hold is stored, or what is smaller and computed from it: the fewer bytes, with the operations for
  computing again added at the rate above (`_is_smaller`);
- a value of `_KEPT` = 32 is kept by the group that has computed it;
- a second pass over rows in one kernel needs rows enough (`_rows_suffice`): 32 of them, of at most 2^18 elements where
  they lie contiguously, else 2048; below 8192 elements nothing is parallel anyway;
- independent folds share a pass only if they share an array, which is then read once (`_shares`).

Two more rules have modules of their own: folds down the columns (fuse_columns.py), and kernels that only share the
launch (side_by_side.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod

from ftiny.contraction import Direct, Spec, axis_indices
from ftiny.core import Anchor, Atom, Eqn, Jaxpr, Literal, Var
from ftiny.dtypes import COMPLEX
from ftiny.lowering.access import (
    ELEMENTWISE,
    STRUCTURAL,
    Index,
    Leaf,
    Reader,
    element_cost,
    is_readable,
    reads_per_element,
)
from ftiny.lowering.expr import Axis, Expr, axes_of, load, loads
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.fold_rules import fold_extents, fold_points, is_short, operand_point, split_window
from ftiny.lowering.groups import (
    KERNELS,
    Folded,
    Fused,
    FusionError,
    Group,
    Placed,
    axis_index,
    grid_axes,
    same_index,
)
from ftiny.lowering.index import flatten, simplify, unflatten

_MAIN = 1 << 20          # groups that depend on arguments only are numbered below, and may be added at any time
_CHEAP = 8.0             # computed again wherever it is read, even under a broadcast
_OPERAND = 2.5           # computed inside a contraction's loads
_KEPT = 32.0             # a group that computes such a value is the one to write it, should another need it
_LONGEST = 200.0         # no value of a higher cost is left to be inlined,
_DEEPEST = 60            # nor one at the end of a longer chain of equations (reading recurses along it),
_LITTLE = 1 << 17        # unless all its elements together cost no more than this
_SHARED_INPUT_FREE = 1 << 16
_MOST_OUTPUTS = 24
_MOST_FOLDS = 6


_BYTES_PER_OPERATION = 0.1   # what computing again is held to cost, against memory traffic

# For a value: which values that no memory holds it is computed from; None if the group in question computes it.
_Pending = dict[Var, "frozenset[Var] | None"]


class _NotReadable(Exception):
    """This value cannot be computed at this point of this group."""


def fuse(jaxpr: Jaxpr) -> Fused:
    """Group the equations of a simplified program (no calls, no constants) in one pass."""
    fuser = _Fuser(jaxpr)
    for number, eqn in enumerate(jaxpr.eqns):
        fuser.add(number, eqn)
    opened = sorted((g for g in fuser.groups if g.outputs or g.kind not in KERNELS), key=lambda g: g.order)
    return Fused(jaxpr, tuple(g.close() for g in opened))


# --------------------------------------------------------------------------------- groups being made


@dataclass(eq=False)
class _Open:
    """A group that may still grow."""

    kind: str
    order: int
    grid: tuple[Axis, ...]
    reader: Reader | None = None
    folds: list[Folded] = field(default_factory=list)
    kept: dict[Var, Index] = field(default_factory=dict)
    outputs: dict[Var, Index] = field(default_factory=dict)
    templates: list[tuple[tuple[int, ...], Index]] = field(default_factory=list)
    states: set[Var] = field(default_factory=set)
    folded_names: list[set[str]] = field(default_factory=list)
    local: dict[tuple[int, ...], tuple[Axis, ...]] = field(default_factory=dict)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        return tuple(a.extent for a in self.grid)

    def local_axes(self, extents: tuple[int, ...]) -> tuple[Axis, ...]:
        """Axes to fold over: the same ones for the same extents, so that folds can share values."""
        if extents not in self.local:
            first = sum(map(len, self.local.values()))
            # A fold over nothing runs once.
            self.local[extents] = tuple(Axis(f"j{first + k}", n) for k, n in enumerate(extents or (1,)))
        return self.local[extents]

    def add_template(self, shape: tuple[int, ...], index: Index) -> None:
        if all(index != known for _, known in self.templates):
            self.templates.append((shape, index))

    def indices_for(self, shape: tuple[int, ...]) -> Iterable[Index]:
        """The indices at which a value of `shape` might be computed by this group, one for each template."""
        for template, index in self.templates:
            if template == shape:
                yield index
            elif prod(template) == prod(shape):
                yield _reindex(index, template, shape)

    def close(self) -> Group:
        def placed(table: dict[Var, Index]) -> tuple[Placed, ...]:
            return tuple(Placed(v, i) for v, i in table.items())

        return Group(self.kind, self.grid, tuple(self.folds), placed(self.kept), placed(self.outputs), self.order)


def _reindex(index: Index, old: tuple[int, ...], new: tuple[int, ...]) -> Index:
    """The index into an array of shape `new` that lies where `index` lies in shape `old`, row-major."""
    if tuple(n for n in old if n > 1) == tuple(n for n in new if n > 1):
        rest = iter([i for i, n in zip(index, old) if n > 1])
        return tuple(next(rest) if n > 1 else axis_expr(Axis("one", 1)) for n in new)
    names = tuple(Axis(f"d{k}", n) for k, n in enumerate(new))
    where = unflatten(flatten(index, old), names)
    return tuple(simplify(where[a]) for a in names)


def split_grid(spec: Spec) -> tuple[tuple[Axis, ...], Index]:
    """The grid of a contraction, and its output's index. An output axis that a strided window is solved for is split
    into residue classes: each is a dense contraction of its own."""
    base = {w.p: w.base for w in map(partial(split_window, spec), spec.folded) if w is not None}
    axes: list[Axis] = []
    index: list[Expr] = []
    for number, (i, extent) in enumerate(zip(spec.output, spec.output_shape)):
        classes = base.get(i, 1)
        if classes == 1 or extent % classes:
            axes.append(Axis(f"i{number}", extent))
            index.append(axis_expr(axes[-1]))
            continue
        axes += [Axis(f"i{number}", extent // classes), Axis(f"i{number}_class", classes)]
        index.append(simplify(axis_expr(axes[-2]) * classes + axis_expr(axes[-1])))
    return tuple(axes), tuple(index)


# ----------------------------------------------------------------------------------------- the pass


class _Fuser:
    """The state of the pass. A value is in memory (`written`), or computed by a group that has not been told to write
    it (`home`), or neither: then it is inlined where it is read."""

    def __init__(self, jaxpr: Jaxpr):
        self.jaxpr = jaxpr
        self.groups: list[_Open] = []
        self.written: set[Var] = set(jaxpr.inputs)
        self.home: dict[Var, _Open] = {}
        self.definition: dict[Var, Eqn] = {}
        self.order: dict[Var, int] = {v: -1 for v in jaxpr.inputs}
        self.cost: dict[Var, float] = {}
        self.results = {a for a in jaxpr.outputs if isinstance(a, Var)}
        self._by_order: dict[int, _Open] = {}
        self._maps: dict[tuple[bool, int, Var], _Open] = {}
        self._siblings: dict[tuple, _Open] = {}
        self._depth: dict[Var, int] = {}
        self._read_by: dict[Var, _Open] = {}
        self._surely = _operands_of_contractions(jaxpr)
        self._uses = Counter(a for eqn in jaxpr.eqns for a in set(eqn.inputs))
        self._count = {True: 0, False: _MAIN}
        self._names: dict[Var, str] = {}

    # ---- one equation

    def add(self, number: int, eqn: Eqn) -> None:
        """Take the next equation in."""
        for var in eqn.outputs:
            self._names[var] = f"v{len(self._names)}"
        if is_readable(eqn) and not (is_short(eqn) and self._lies_as_it_is(eqn.inputs[0])):
            self._add_readable(eqn)
        else:
            self._add_anchor(number, eqn)
        for var in eqn.outputs:
            if var in self.results:
                self.materialise(var)

    def _add_readable(self, eqn: Eqn) -> None:
        order = max((self._order(a) for a in eqn.inputs), default=-1)
        # One of each equation's results: computing one computes them all.
        unstored = [a for a in eqn.inputs if isinstance(a, Var) and a not in self.written]
        parts = {self.definition.get(a, a): a for a in unstored}.values()
        size = eqn.outputs[0].aval.size
        # A dear operand that is spread over a larger result will be read from memory.
        costs = [self.cost.get(a, 0.0) if 2 * a.aval.size > size else min(self.cost.get(a, 0.0), _CHEAP / 2)
                 for a in parts]
        cost = element_cost(eqn) + reads_per_element(eqn) * sum(costs)
        depth = 1 + max((self._depth.get(a, 0) for a in parts), default=0)
        for var in eqn.outputs:
            self.definition[var], self.order[var], self.cost[var], self._depth[var] = eqn, order, cost, depth
        for var in eqn.outputs:
            dear = cost > _LONGEST and cost * var.aval.size > _LITTLE or cost > 8 * _LONGEST
            if (dear or depth > _DEEPEST) and not self._natural(var, None, write=False):
                self._keep_in_new_map(var)

    def _lies_as_it_is(self, operand: Atom) -> bool:
        """Whether an operand is hardly larger than the arrays it is made of. A short fold of it stays a fold, which
        shares its pass with others; one of a larger operand (all pairs of points) is written out and fuses on."""
        if isinstance(operand, Literal) or self._is_leaf(operand):
            return True
        return operand.aval.size < 2 * sum(s.aval.size for s in self._sources(operand)) or self.cost[operand] > _CHEAP

    def _add_anchor(self, number: int, eqn: Eqn) -> None:
        kind = anchor_kind(eqn)
        if kind == "fold":
            self._add_fold(number, eqn)
        elif kind == "contract" and self._is_made_on_the_way(eqn):
            self._add_fold(number, eqn)
        elif kind == "contract":
            self._add_contract(number, eqn)
        elif kind == "cumulate":
            self._add_cumulate(number, eqn)
        else:
            self._add_step(kind, number, eqn)

    def _order(self, atom: Atom) -> int:
        return -1 if isinstance(atom, Literal) else self.order[atom]

    # ---- anchors

    def _is_made_on_the_way(self, eqn: Eqn) -> bool:
        """Whether a contraction is a matrix times a vector, and the matrix is made by equations that it can compute
        itself: every element is used once, so it need not be stored."""
        main = matrix_of(eqn.params["spec"])
        atom = None if main is None else eqn.inputs[main]
        while isinstance(atom, Var) and not self._is_leaf(atom):
            made_by = self.definition[atom]
            if made_by.primitive.name not in STRUCTURAL or len(made_by.inputs) != 1:
                return self._uses[eqn.inputs[main or 0]] == 1
            atom = made_by.inputs[0]
        return False

    def _add_fold(self, number: int, eqn: Eqn) -> None:
        """A reduction, or a matrix times a vector: `operand` is what has an element for each step."""
        spec = eqn.params["spec"]
        operand = eqn.inputs[matrix_of(spec) or 0]
        extents = fold_extents(spec)
        key = (spec.output_shape, extents)
        natural = self._by_order.get(max(map(self._order, eqn.inputs)))
        for group in dict.fromkeys((natural, self._siblings.get(key))):
            if group is not None and group.kind == "fold" and group.grid_shape == spec.output_shape:
                if self._join_fold(group, number, eqn, extents):
                    return
        if not _rows_suffice(spec.output_shape, extents, _reads_rows(spec)):
            self._store_shared(operand)
        self._prepare(None, eqn.inputs, prod(spec.output_shape) * prod(extents))
        group = self._open("fold", grid_axes(spec.output_shape))
        self._siblings[key] = group
        if not self._join_fold(group, number, eqn, extents):
            raise FusionError(f"{eqn.primitive} cannot be computed by a group of its own")

    def _store_shared(self, operand: Atom) -> None:
        """Store what others read as well, if it is not cheap: a fold that runs across rows is no place to write it."""
        stack = [operand]
        while stack:
            var = stack.pop()
            if isinstance(var, Literal) or self._is_leaf(var):
                continue
            eqn = self.definition[var]
            if self._uses[var] > 1 and self.cost[var] > _CHEAP and eqn.primitive.name not in STRUCTURAL:
                self.materialise(var)
            elif self.cost[var] > _CHEAP:
                stack.extend(eqn.inputs)

    def _join_fold(self, group: _Open, number: int, eqn: Eqn, extents: tuple[int, ...]) -> bool:
        spec, main, first = eqn.params["spec"], matrix_of(eqn.params["spec"]) or 0, not group.folds
        over = group.local_axes(extents)
        kept = axis_index(group.grid)
        points = fold_points(spec, kept, [axis_expr(a) for a in over[: len(extents)]])
        indices = [operand_point(o, points, a.aval.shape)[0] for o, a in zip(spec.operands, eqn.inputs)]
        operand, index = eqn.inputs[main], indices[main]
        if not first and not self._worth_joining(group, operand, index, extents, over):
            return False
        if not all(self._readable_at(group, a, i) for a, i in zip(eqn.inputs, indices)):
            return False
        if not first and self._order(operand) < group.order and not self._shares(group, operand, index, spec, extents):
            return False
        group.folds.append(Folded(number, over, kept))
        assert group.reader is not None
        group.folded_names.append({node.attr[0] for node in loads((group.reader.element(operand, index),))})
        if not spec.has_windows:
            group.add_template(operand.aval.shape, index)
        self._prepare(group, eqn.inputs, prod(spec.output_shape) * prod(extents))
        self._own(group, eqn.outputs, kept)
        return True

    def _worth_joining(self, group: _Open, operand: Atom, index: Index, extents: tuple[int, ...],
                       over: tuple[Axis, ...]) -> bool:
        """Whether a second pass over `over` in one kernel beats a kernel of its own, judged by parallelism."""
        if len(group.folds) >= _MOST_FOLDS:
            return False
        if self._order(operand) < group.order:  # independent: it shares the pass, so it must be the same pass
            return group.folds[0].over == over
        return _rows_suffice(group.grid_shape, extents, _is_contiguous(group, index))

    def _shares(self, group: _Open, operand: Atom, index: Index, spec: Spec, extents: tuple[int, ...]) -> bool:
        """Whether an independent fold reads an array that the group reads anyway, or next to nothing."""
        assert group.reader is not None
        if prod(spec.output_shape) * prod(extents) <= _SHARED_INPUT_FREE:
            return True
        mine = {node.attr[0] for node in loads((group.reader.element(operand, index),))}
        return any(mine & names for names in group.folded_names)

    def _add_contract(self, number: int, eqn: Eqn) -> None:
        spec = eqn.params["spec"]
        for operand in eqn.inputs:
            self._prepare_operand(operand)
        grid, index = split_grid(spec)
        group = self._open("contract", grid)
        group.templates[:] = [(spec.output_shape, index)]
        group.folds.append(Folded(number, group.local_axes(fold_extents(spec)), index))
        self._own(group, eqn.outputs, index)

    def _prepare_operand(self, operand: Atom) -> None:
        """A contraction reads each element many times: what is computed on the way is little or nothing."""
        atom = operand
        while isinstance(atom, Var) and not self._is_leaf(atom):
            eqn = self.definition[atom]
            if eqn.primitive.name not in STRUCTURAL or len(eqn.inputs) != 1:
                break
            atom = eqn.inputs[0]
        if isinstance(atom, Literal) or atom in self.written:
            return
        if atom in self.home:
            self._write(atom)
        elif self.order[atom] < 0 and self.cost[atom] <= _OPERAND:
            self._prepare(None, [atom], atom.aval.size)
        else:
            self.materialise(atom)

    def _add_cumulate(self, number: int, eqn: Eqn) -> None:
        operand, along = eqn.inputs[0], eqn.params["axis"]
        shape = operand.aval.shape
        self._prepare(None, [operand], operand.aval.size)
        group = self._open("cumulate", grid_axes(shape[:along] + shape[along + 1:]))
        over = group.local_axes((shape[along],))
        index = axis_index((*group.grid[:along], *over, *group.grid[along:]))
        group.folds.append(Folded(number, over))
        group.templates[:] = [(shape, index)]
        self._own(group, eqn.outputs, index)

    def _add_step(self, kind: str, number: int, eqn: Eqn) -> None:
        """A scatter or sort of its own, or a step that reads and writes whole arrays."""
        for atom in eqn.inputs:
            if kind in ("scatter", "sort"):
                self._prepare(None, [atom], max(v.aval.size for v in eqn.outputs))
            elif isinstance(atom, Var):
                self.materialise(atom)
        group = self._open(kind, ())
        group.folds.append(Folded(number, ()))
        for var in eqn.outputs:
            self._own(group, [var], ())
            self._write(var)

    # ---- what goes through memory

    def materialise(self, var: Var, before: _Open | None = None) -> bool:
        """See that `var` is in memory (before `before` runs); false if no group can be had for it."""
        if var in self.written:
            return True
        if var in self.home:
            self._write(var)
            return True
        if self._natural(var, before, write=True):
            return True
        if before is not None and not self.order[var] < _MAIN < before.order:
            return False  # a new group would not be early enough
        self._keep_in_new_map(var)
        self._write(var)
        return True

    def _natural(self, var: Var, before: _Open | None, write: bool) -> bool:
        """Place `var` in the last group that it depends on, or in a later one that maps the same points and reads some
        of the same arrays. Kernels that only happen to be as large are merged afterwards (side_by_side.py)."""
        early, size, sources = self.order[var] < _MAIN, var.aval.size, self._sources(var)
        natural = self._by_order.get(self.order[var])
        for group in dict.fromkeys((natural, *(self._maps.get((early, size, source)) for source in sources))):
            if group is not None and group.order >= self.order[var] and (before is None or group.order < before.order):
                if self._place(group, var, write):
                    self._remember(group, size, sources)
                    return True
        return False

    def _remember(self, group: _Open, size: int, sources: Iterable[Var]) -> None:
        """A group that maps `size` points reads these arrays: others that do may join it."""
        if group.kind == "map":
            self._maps.update(((group.order < _MAIN, size, source), group) for source in sources)

    def _keep_in_new_map(self, var: Var) -> None:
        self._prepare(None, self.definition[var].inputs, var.aval.size)
        early = self.order[var] < _MAIN
        group = self._open("map", grid_axes(self._finest_shape(var)), early)
        self._remember(group, var.aval.size, self._sources(var))
        if not self._place(group, var, write=False):
            raise FusionError(f"{self.definition[var].primitive} cannot be computed by a group of its own")

    def _finest_shape(self, var: Var) -> tuple[int, ...]:
        """The shape of most axes among the values of this size that `var` is made of: its axes need no division."""
        best, queue, seen = var.aval.shape, [var], {var}
        for atom in queue:
            if len(queue) > _DEEPEST or self._is_leaf(atom):
                continue
            if self.definition[atom].primitive.name not in ELEMENTWISE | {"reshape"}:
                continue
            same = [a for a in self.definition[atom].inputs
                    if isinstance(a, Var) and a.aval.size == var.aval.size and a not in seen]
            queue += same
            seen.update(same)
            best = max((best, *(a.aval.shape for a in same)), key=len)
        return best

    def _place(self, group: _Open, var: Var, write: bool) -> bool:
        """Let `group` compute `var`, if it has everything that it takes at the right point."""
        if len(group.outputs) >= _MOST_OUTPUTS or group.kind not in ("map", "fold", "contract", "cumulate"):
            return False
        for index in group.indices_for(var.aval.shape):
            local = axes_of(index) - set(group.grid)
            if not self._may_hold(group, index):
                continue
            if self._readable_at(group, var, index):
                self._prepare(group, self.definition[var].inputs, prod(a.extent for a in (*group.grid, *local)))
                group.kept[var] = index
                self._settle(var, group)
                if write:
                    self._write(var)
                return True
        return False

    def _sources(self, var: Var) -> list[Var]:
        """The arrays that `var` is computed from, the nearest ones if it is a long way; for a number also numbers."""
        queue: list[Var] = [var]
        found: list[Var] = []
        few = not var.aval.shape
        for atom in queue:
            for source in self.definition[atom].inputs if len(queue) <= _DEEPEST else ():
                if isinstance(source, Var) and (few or source.aval.shape) and source not in (*found, *queue):
                    (found if self._is_leaf(source) else queue).append(source)
        return found

    def _may_hold(self, group: _Open, index: Index) -> bool:
        """Whether the group has enough workers to compute a value at `index`, which may run along its local axes."""
        local = axes_of(index) - set(group.grid)
        extents = tuple(a.extent for a in local)
        contiguous = _is_contiguous(group, index)
        return not local or group.kind != "fold" or _rows_suffice(group.grid_shape, extents, contiguous)

    def _prepare(self, group: _Open | None, atoms: Sequence[Atom], domain: int) -> None:
        """Choose what `group` (None: one that is about to be opened) reads from memory to compute `atoms`.

        `domain` is the number of points at which it computes. Values that other groups hold but do not write yet
        are written, or something smaller that is computed from them; dear values that would be computed many times
        are written as well.
        """
        pending = self._pending(group, atoms)
        seen: set[Var] = set()
        frontier: list[Atom] = list(atoms)
        while frontier:
            candidates = self._candidates(group, frontier, pending, seen, domain)
            frontier = []
            for needs, values in candidates.items():
                missing = [v for v in needs if v not in self.written]
                for var in values:
                    sure = var in self._surely or self._is_smaller(values, missing)
                    if not (sure and self._natural(var, group, write=True)):
                        frontier += self._inline(group, var)

    def _candidates(self, group: _Open | None, atoms: Sequence[Atom], pending: _Pending, seen: set[Var],
                    domain: int) -> dict[frozenset[Var], list[Var]]:
        """Walk down from `atoms` to the first values that other groups could write, by what is missing for them; write
        what has to be written in any case."""
        candidates: dict[frozenset[Var], list[Var]] = {}
        stack = [a for a in atoms if isinstance(a, Var)]
        while stack:
            var = stack.pop()
            if var in seen or group is not None and self.home.get(var) is group:
                continue
            seen.add(var)
            if self._is_before(var, group):
                if var not in self.written:
                    self._write(var)
                continue
            missing, later = pending[var], self._is_leaf(var)
            if missing and not later and self.definition[var].primitive.name not in STRUCTURAL:
                candidates.setdefault(missing, []).append(var)
            elif later or missing is None or not self._goes_through_memory(group, var, domain):
                stack += [a for a in self._inline(group, var) if isinstance(a, Var)]
        return candidates

    def _is_before(self, var: Var, group: _Open | None) -> bool:
        """Whether `group` may read `var` from memory; what a later group holds, it has to compute itself."""
        home = self.home.get(var)
        return var in self.written if home is None else group is None or home.order < group.order

    def _inline(self, group: _Open | None, var: Var) -> tuple[Atom, ...]:
        """Compute `var` inside: what is to be read is what it is computed from."""
        if group is not None and var not in self.home and self.cost[var] >= _KEPT:
            self._keep_inside(group, var)
        return self.definition[var].inputs

    def _is_smaller(self, values: Sequence[Var], missing: Sequence[Var]) -> bool:
        """Whether it takes fewer bytes to write and read `values` than what is missing to compute them again."""
        again = sum(self.cost[v] * v.aval.size for v in values)
        stored = 2 * sum(v.aval.nbytes for v in values)
        return stored <= 2 * sum(v.aval.nbytes for v in missing) + _BYTES_PER_OPERATION * again

    def _goes_through_memory(self, group: _Open | None, var: Var, domain: int) -> bool:
        """Store a value that is too dear to be computed wherever it is read."""
        cost = self.cost[var]
        if cost <= _CHEAP or cost * domain <= _LITTLE or self.definition[var].primitive.name in STRUCTURAL:
            return False
        other = self._read_by.get(var)
        again = other is not None and other is not group and cost >= 2 * _CHEAP
        if 2 * var.aval.size <= domain or again:
            return self.materialise(var, group)
        if group is not None:
            self._read_by[var] = group
        return False

    def _keep_inside(self, group: _Open, var: Var) -> None:
        """Make `group` the home of a dear value that it computes at one point only."""
        for index in group.indices_for(var.aval.shape):
            assert group.reader is not None
            if group.reader.knows(var, index) and self._may_hold(group, index):
                group.kept[var] = index
                self._settle(var, group)
                return

    def _pending(self, group: _Open | None, atoms: Sequence[Atom]) -> _Pending:
        """For every value inlined on the way: what it needs that no memory holds yet; None if `group` computes it."""
        found: _Pending = {}
        stack: list[tuple[Var, bool]] = [(a, False) for a in atoms if isinstance(a, Var)]
        while stack:
            var, expanded = stack.pop()
            if var in found:
                continue
            own = group is not None and self.home.get(var) is group
            if own or self._is_before(var, group):
                found[var] = None if own else frozenset() if var in self.written else frozenset((var,))
                continue
            inputs = [a for a in self.definition[var].inputs if isinstance(a, Var)]
            if not expanded:
                stack.append((var, True))
                stack.extend((a, False) for a in inputs if a not in found)
                continue
            parts = [found[a] for a in inputs]
            found[var] = None if None in parts else frozenset().union(*parts)  # type: ignore[arg-type]
        return found

    # ---- bookkeeping

    def _is_leaf(self, var: Var) -> bool:
        return var in self.written or var in self.home

    def _open(self, kind: str, grid: tuple[Axis, ...], early: bool = False) -> _Open:
        self._count[early] += 1
        group = _Open(kind, self._count[early], grid)
        group.reader = Reader(self.definition, self._leaf_of(group))
        group.add_template(group.grid_shape, axis_index(grid))
        self.groups.append(group)
        self._by_order[group.order] = group
        return group

    def _own(self, group: _Open, outputs: Iterable[Var], index: Index) -> None:
        """The results of an anchor are at home in its group."""
        for var in outputs:
            group.kept[var] = index
            group.states.add(var)
            self._settle(var, group)
            if var in self.results:
                self._write(var)

    def _settle(self, var: Var, group: _Open) -> None:
        self.home[var], self.order[var], self.cost[var], self._depth[var] = group, group.order, 0.0, 0

    def _write(self, var: Var) -> None:
        self.written.add(var)
        self.home[var].outputs[var] = self.home[var].kept[var]

    def _readable_at(self, group: _Open, atom: Atom, index: Index) -> bool:
        assert group.reader is not None
        try:
            group.reader.element(atom, index)
        except _NotReadable:
            return False
        return True

    def _leaf_of(self, group: _Open) -> Leaf:
        def leaf(var: Var, index: Index):
            if var in group.kept:
                if not same_index(index, group.kept[var], var.aval.shape):
                    raise _NotReadable
                return load(self._name(var), index, var.aval.dtype) if var in group.states else None
            home = self.home.get(var)
            if home is None and var not in self.written:
                return None
            if home is not None and home.order >= group.order:
                if var in self.definition:
                    return None
                raise _NotReadable
            return load(self._name(var), index, var.aval.dtype)

        return leaf

    def _name(self, var: Var) -> str:
        return self._names.setdefault(var, f"v{len(self._names)}")


def anchor_kind(eqn: Eqn) -> str:
    """What kind of group an equation makes that is no index -> value function."""
    kind = eqn.primitive.lower.kind if isinstance(eqn.primitive.lower, Anchor) else eqn.primitive.name
    if any(a.aval.dtype in COMPLEX for a in (*eqn.inputs, *eqn.outputs)):
        return kind if kind in ("scan", "while", "cond", "kernel") else "host"
    if kind == "reduce":
        return "fold"
    return kind if kind in (*KERNELS, "scan", "while", "cond", "collective", "kernel") else "host"


def _operands_of_contractions(jaxpr: Jaxpr) -> set[Var]:
    """What contractions read, structural equations looked through: values that will be stored in any case."""
    definition = {v: e for e in jaxpr.eqns for v in e.outputs}
    found: set[Var] = set()
    for eqn in jaxpr.eqns:
        main = matrix_of(eqn.params["spec"]) if eqn.primitive.name == "contract" else None
        for number, atom in enumerate(eqn.inputs if eqn.primitive.name == "contract" else ()):
            if number == main:
                continue
            while atom in definition and definition[atom].primitive.name in STRUCTURAL:
                if len(definition[atom].inputs) != 1:
                    break
                atom = definition[atom].inputs[0]
            if isinstance(atom, Var):
                found.add(atom)
    return found


def matrix_of(spec: Spec) -> int | None:
    """Which operand of a contraction is a matrix whose elements are each used once, with a much smaller vector; None if
    it is another kind of contraction, or no contraction."""
    if len(spec.operands) != 2 or spec.has_windows or not spec.folded:
        return None
    every = len(spec.output) + len(spec.folded)
    for number, axes in enumerate(spec.operands):
        vector = spec.operands[1 - number]
        if len(axes) == every and 8 * prod(spec.extent[a.index] for a in vector if isinstance(a, Direct)) <= prod(
                spec.extent[a.index] for a in axes if isinstance(a, Direct)):
            return number
    return None


def _rows_suffice(grid: tuple[int, ...], extents: tuple[int, ...], contiguous: bool) -> bool:
    """Whether one worker a grid point, passing repeatedly over `extents`, keeps a machine busy.

    Long rows are fine where they lie contiguously; short ones may also lie across.
    """
    rows, row = prod(grid), prod(extents)
    return rows * row <= 8192 or rows >= 32 and row <= (1 << 18 if contiguous else 2048)


def _is_contiguous(group: _Open, index: Index) -> bool:
    return not index or not axes_of((index[-1],)) <= set(group.grid)


def _reads_rows(spec: Spec) -> bool:
    """Whether a fold runs along the last axis of its operand."""
    axes = spec.operands[0]
    return not axes or any(i not in spec.output for i in axis_indices(axes[-1]))
