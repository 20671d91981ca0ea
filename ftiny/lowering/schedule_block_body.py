"""Statements of grid points whose rows are shared by threads (schedule_block.py chooses the layout).

Input: a stage and a `Layout`. Output: kernel statements for every thread of the block. An axis is dealt out in turns:
in each, neighbouring threads take neighbouring chunks of `lanes` elements. A fold has a state per thread and lane;
lanes are combined first, then the threads of a warp by exchange, then the warps in shared memory (where there is no
exchange, a tree in shared memory does it all).

Worked example: sum of x[row, j] with j: 4096, 256 threads, 4 lanes:

    s_v0: float32x4 = 0; for jk in 0..4 (unrolled): s_v0 = s_v0 + x[row*4096 + jk*1024 + thread*4 + ramp(4)]
    s = the four lanes added up; s = s + exchange(s, 16); ..; s_shared[thread / 32] = s; barrier; ..
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ftiny.lowering.emit_c import F32, NARROW
from ftiny.lowering.expr import Axis, Expr, bitwise, compare, const, is_const, variable
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import simplify
from ftiny.lowering.kernel import (
    Assign,
    Barrier,
    Declare,
    DeclareArray,
    For,
    If,
    Stmt,
    Store,
    element,
    local,
    ramp,
    shuffle_xor,
)
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Map, Stage, Write
from ftiny.lowering.schedule_body import Body, Converter, Names, Place, replace_loads
from ftiny.lowering.schedule_generic import live_states

if TYPE_CHECKING:
    from ftiny.lowering.schedule_on_chip import OnChip

Statements = Callable[[Converter], list[Stmt]]  # of one element, given where its axes are

UNROLLED = 32  # elements of one thread up to which a loop is unrolled altogether
IN_FLIGHT = 16  # elements of one thread in a turn of a longer loop, in 4 accesses at least
SERIAL_WARPS = 4  # states that every thread adds up itself; more are exchanged


@dataclass(frozen=True)
class Layout:
    """How a block lies over rows: `threads` a row (a power of two), `rows` a block, `lanes` elements at once."""

    threads: int
    rows: int = 1
    lanes: int = 1


def inner_axis(stage: Stage) -> Axis | None:
    """The axis that is dealt out to the threads."""
    if isinstance(stage, Fold) and not stage.axes:
        return stage.over[-1]
    return stage.axes[-1] if stage.axes else None


class BlockBody(Body):
    """Statements of the grid points of a block; `guard` says whether this thread's point exists."""

    def __init__(self, nest: LoopNest, converter: Converter, names: Names, layout: Layout, warp: int,
                 chip: OnChip | None = None, guard: Expr | None = None) -> None:
        super().__init__(nest, converter, names, 1, True, live_states(nest))
        self.threads, self.chunk, self.warp = layout.threads, layout.lanes, warp
        self.thread = simplify(local(0, layout.threads * layout.rows) % layout.threads)
        self.chip, self.guard = chip, guard
        self.scratch: list[Stmt] = []
        self.states = 1  # side by side, each with its own threads

    def state(self, thread: Expr) -> Expr:
        """Where a thread leaves its state in shared memory."""
        return thread

    def declaration(self, write: Write) -> list[Stmt]:
        place = self.convert.places[write.value]
        return super().declaration(write) if place.kind == "variable" else []

    def write(self, write: Write, convert: Converter) -> list[Stmt]:
        """One write; nothing reaches memory of a point that does not exist."""
        statements = super().write(write, convert)
        if self.guard is None or self.nest.value(write.value).scope not in ("argument", "global"):
            return statements
        return [replace(s, guard=self.guard if s.guard is None else bitwise("and", self.guard, s.guard))
                if isinstance(s, Store) else s for s in statements]

    # ------------------------------------------------------------------------------- dealing out

    def _dealt(self, inner: Axis, body: Statements, lanes: int) -> list[Stmt]:
        """`body(converter)` for every element of an axis that this thread is dealt."""
        turns, left = divmod(inner.extent, self.threads * lanes)
        result: list[Stmt] = []
        several = max(4, IN_FLIGHT // max(lanes, self.wide)) if turns * lanes > UNROLLED else max(1, turns)
        full, rest = divmod(turns, several)
        if full:
            result += self._turns(inner, body, lanes, full, several, 0)
        if rest:
            result += self._turns(inner, body, lanes, 1, rest, full * several)
        if left:
            guard = simplify(compare("lt", self.thread * lanes, const(left)))
            statements = body(self._at(inner, const(turns), lanes))
            result += statements if is_const(guard, True) else [If(guard, tuple(statements))]
        return result

    def _turns(self, inner: Axis, body: Statements, lanes: int, full: int, several: int, first: int) -> list[Stmt]:
        """Turns `first` .. first + full*several, `several` of them unrolled."""
        outer, step = (Axis(self.names.fresh(f"{inner.name}{stem}"), n) for stem, n in (("k", full), ("u", several)))
        turn = const(first) + (axis_expr(outer) * several if full > 1 else const(0)) + (
            axis_expr(step) if several > 1 else const(0))
        statements = body(self._at(inner, simplify(turn), lanes))
        if several > 1:
            statements = [For(step, tuple(statements), unroll=True)]
        return [For(outer, tuple(statements))] if full > 1 else statements

    def _at(self, inner: Axis, turn: Expr, lanes: int) -> Converter:
        """The converter with the axis at this thread's elements of a turn."""
        index = turn * (self.threads * lanes) + self.thread * lanes + ramp(lanes)
        axes = {inner: simplify(index)}
        if self.chip is not None:
            axes[self.chip.slot] = simplify(turn * lanes + ramp(lanes))
        return self.convert.with_axes(axes)

    # ------------------------------------------------------------------------------------ stages

    def map(self, stage: Map) -> list[Stmt]:
        head = [s for w in stage.writes for s in self.declaration(w)]
        axes = tuple(a for a in stage.axes if a.extent != 1)
        if not axes:
            return head + self._by_one(stage.writes)
        dealt = self._dealt(axes[-1], lambda convert: self.writes(stage.writes, convert), self.chunk)
        return head + self.nested(axes[:-1], dealt)

    def _by_one(self, writes: Iterable[Write]) -> list[Stmt]:
        """Writes of a point without axes: variables by every thread, memory by the first."""
        result: list[Stmt] = []
        for write in writes:
            statements = self.write(write, self.convert)
            if self.convert.places[write.value].kind == "variable" or self.threads == 1:
                result += statements
            else:
                result.append(If(compare("eq", self.thread, const(0)), tuple(statements)))
        return result

    def fold(self, stage: Fold) -> list[Stmt]:
        if stage.state[0].shape:
            return self._fold_kept(stage)
        head = [s for w in stage.finish for s in self.declaration(w)]
        inner, outer, lanes = stage.over[-1], stage.over[:-1], self.chunk if stage.over[-1].extent > 1 else 1
        names = [self.convert.places[v.name].name for v in stage.state]
        dtypes = [v.dtype for v in stage.state]
        states = names if lanes == 1 else [self.names.fresh(f"{n}_v") for n in names]
        wide = max(lanes, self.wide)
        head += [Declare(n, d, self.convert(e), wide) for n, d, e in zip(states, dtypes, stage.init)]
        places = {v.name: Place("variable", n) for v, n in zip(stage.state, states)}

        def step(convert: Converter) -> list[Stmt]:
            convert = convert.with_places(places)
            return self._advance([convert(e) for e in stage.step], states, dtypes, wide)

        head += self.nested(outer, self._dealt(inner, step, lanes))
        if lanes > 1:
            head += self._combine_all(stage, [states], {v.name: n for v, n in zip(stage.state, names)}, lanes)
        return head + self._across_threads(stage, names, dtypes) + self._by_one(stage.finish)

    def _fold_kept(self, stage: Fold) -> list[Stmt]:
        """Every thread folds its own kept points."""
        kept = tuple(a for a in stage.axes if a.extent != 1)
        if not kept:
            return self._fold_scalars(stage, self.convert, 1, local=True)
        dealt = self._dealt(kept[-1], lambda convert: self._fold_scalars(stage, convert, 1, local=True), 1)
        return self.nested(kept[:-1], dealt)

    # ------------------------------------------------------------------------- across threads

    def _combine(self, stage: Fold, names: list[str], right: list[Expr]) -> list[Stmt]:
        """state = combine(state, right), all components at once."""
        replaced = {v.name: variable(n, v.dtype) for v, n in zip(stage.state, names)}
        replaced |= {v.name + OTHER: x for v, x in zip(stage.state, right)}
        assert stage.combine is not None
        dtypes = [v.dtype for v in stage.state]
        return self._advance(replace_loads(stage.combine, replaced), names, dtypes, self.wide)

    def _across_threads(self, stage: Fold, names: list[str], dtypes: list[np.dtype]) -> list[Stmt]:
        if self.threads == 1:
            return []
        if self.warp <= 1:
            return self._tree(stage, names, dtypes)
        result = self._exchange(stage, names, dtypes, min(self.threads, self.warp))
        return result + self._across_warps(stage, names, dtypes) if self.threads > self.warp else result

    def _exchange(self, stage: Fold, names: list[str], dtypes: list[np.dtype], count: int) -> list[Stmt]:
        """Every one of `count` neighbouring threads gets the combination of all their states."""
        result: list[Stmt] = []
        distance = count // 2
        while distance:
            taken = [self.names.fresh(f"{n}_from") for n in names]
            result += [Declare(t, d, shuffle_xor(variable(n, d), distance)) for t, n, d in zip(taken, names, dtypes)]
            result += self._combine(stage, names, [variable(t, d) for t, d in zip(taken, dtypes)])
            distance //= 2
        return result

    def _across_warps(self, stage: Fold, names: list[str], dtypes: list[np.dtype]) -> list[Stmt]:
        """Every warp leaves its state in shared memory; every warp combines them all."""
        warps = self.threads // self.warp
        arrays = self._arrays(names, dtypes, warps)
        first = compare("eq", self.thread % self.warp, const(0))
        leave = tuple(Store(a, self.thread // self.warp, variable(n, d)) for a, n, d in zip(arrays, names, dtypes))
        result: list[Stmt] = [If(simplify(first), leave), Barrier("shared")]
        if warps > SERIAL_WARPS:
            mine = simplify(self.thread % warps)
            result += [Assign(n, element(a, mine, d)) for a, n, d in zip(arrays, names, dtypes)]
            return result + self._exchange(stage, names, dtypes, warps)
        other = Axis(self.names.fresh("warp"), warps - 1)
        take = [element(a, axis_expr(other) + 1, d) for a, d in zip(arrays, dtypes)]
        return [*result, *(Assign(n, element(a, const(0), d)) for a, n, d in zip(arrays, names, dtypes)),
                For(other, tuple(self._combine(stage, names, take)))]

    def _tree(self, stage: Fold, names: list[str], dtypes: list[np.dtype]) -> list[Stmt]:
        """Halve the number of states until one is left, in shared memory."""
        arrays = self._arrays(names, dtypes, self.threads * self.states)
        keep = [Store(a, self.state(self.thread), variable(n, d)) for a, n, d in zip(arrays, names, dtypes)]
        result: list[Stmt] = [*keep, Barrier("shared")]
        distance = self.threads // 2
        while distance:
            take = [element(a, self.state(self.thread + distance), d) for a, d in zip(arrays, dtypes)]
            result += [If(self.thread < distance, (*self._combine(stage, names, take), *keep)), Barrier("shared")]
            distance //= 2
        return result + [Assign(n, element(a, self.state(const(0)), d)) for a, n, d in zip(arrays, names, dtypes)]

    def _arrays(self, names: list[str], dtypes: list[np.dtype], size: int) -> list[str]:
        arrays = [self.names.fresh(f"{n}_shared") for n in names]
        # 16-bit floats are computed with as float32; OpenCL has no arrays of half.
        self.scratch += [DeclareArray(a, F32 if d in NARROW else d, size, "shared") for a, d in zip(arrays, dtypes)]
        return arrays
