"""From the stages of a loop nest to kernel statements for one grid point: loops, states, vectors.

Input: stages of a `LoopNest` and where its values are placed. Output: kernel statements in terms of the
grid axes, for whatever schedule wraps them. A map's or fold's last axis runs in vectors of `lanes`
where that pays (see `pays`), with a scalar tail; a vectorised fold keeps several vector states and
combines them, then their lanes, with the fold's own combine.

Worked example: the stage fold(add, s, over=(j: 40), of=x[row, j]) with 16 lanes becomes

    s: float32x16 = 0; for jv in 0..2: s = s + x[row*40 + jv*16 + ramp(16)]; s8 = low(s) + high(s); ...
    total: float32 = ...; for jt in 32..40: total = total + x[row*40 + jt]
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ftiny.lowering.expr import (
    Axis,
    Expr,
    const,
    is_const,
    load,
    load_index,
    loads,
    rebuild,
    select,
    topological,
    transform,
    variable,
)
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, flatten, simplify
from ftiny.lowering.kernel import (
    Assign,
    Atomic,
    Declare,
    DeclareArray,
    For,
    If,
    Stmt,
    Store,
    element,
    high,
    low,
    ramp,
)
from ftiny.lowering.loops import OTHER, Fold, LoopNest, Map, Stage, Value, Write, apply_op, stage_roots

MAX_CHAINS = 4
MIN_LANES = 4
MAX_STEPS, UNROLLED_NODES = 16, 512  # of a serial fold on a GPU, written out


@dataclass
class Names:
    """Fresh names of one kernel."""

    taken: set[str] = field(default_factory=set)

    def fresh(self, stem: str) -> str:
        """`stem`, or stem_1, stem_2 .. if it is taken."""
        name, number = stem, 0
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name


@dataclass(frozen=True)
class Place:
    """Where a value lives in the kernel: a 'variable' of that name, or a 'buffer' (parameter or array)
    whose offset starts at `base`."""

    kind: str
    name: str
    shape: tuple[int, ...] = ()
    base: Expr | None = None


class Converter:
    """Rewrites nest expressions (multi-dimensional loads) to kernel expressions (offsets, variables).

    places: where values live; axes: replacements of axes, e.g. by a chunk number times lanes plus a ramp.
    Offsets are worked out and simplified in the nest's own axes first: only there do the quotients and
    remainders of merged axes find each other.
    """

    def __init__(self, places: Mapping[str, Place], axes: Mapping[Axis, Expr] | None = None,
                 located: dict[Expr, Expr] | None = None) -> None:
        self.places = places
        self.axes = dict(axes or {})
        self.located = {} if located is None else located
        self.moved: dict[Expr, Expr] = {}

    def __call__(self, root: Expr) -> Expr:
        located = self.located
        if root not in located:
            for node in topological((root,), located.__contains__):
                located[node] = self._locate(node, tuple(located[a] for a in node.args))
        return self._move(simplify(located[root]))

    def offset(self, index: Iterable[Expr], place: Place) -> Expr:
        """The linear offset of an element, for a write."""
        located = []
        for one in index:
            self(one)
            located.append(self.located[one])
        offset = flatten(located, place.shape)
        return self._move(offset if place.base is None else simplify(offset + place.base))

    def _locate(self, node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op != "load":
            return rebuild(node, args)
        name, rank = node.attr
        place = self.places[name]
        if place.kind == "variable":
            return guarded(variable(place.name, node.dtype), node, args)
        offset = flatten(args[:rank], place.shape)
        if place.base is not None:
            offset = simplify(offset + place.base)
        return load(place.name, (offset,), node.dtype, *args[rank:])

    def _move(self, root: Expr) -> Expr:
        """Replace the axes."""
        moved = self.moved
        if root not in moved:
            for node in topological((root,), moved.__contains__):
                new = self.axes.get(node.attr) if node.op == "axis" else None
                moved[node] = rebuild(node, tuple(moved[a] for a in node.args)) if new is None else new
        return simplify(moved[root])

    def with_axes(self, axes: Mapping[Axis, Expr]) -> Converter:
        """The same with more axes replaced."""
        return Converter(self.places, {**self.axes, **axes}, self.located)

    def with_places(self, places: Mapping[str, Place]) -> Converter:
        """The same with some values elsewhere."""
        return Converter({**self.places, **places}, self.axes)


def chunked(stage_axis: Axis, lanes: int, names: Names) -> tuple[Axis, Expr, Axis | None]:
    """Split an axis for vectors: (axis over whole vectors, its index expression, axis of the tail)."""
    whole = Axis(names.fresh(f"{stage_axis.name}v"), stage_axis.extent // lanes)
    index = axis_expr(whole) * lanes + ramp(lanes)
    tail = Axis(names.fresh(f"{stage_axis.name}t"), stage_axis.extent) if stage_axis.extent % lanes else None
    return whole, index, tail


class Body:
    """Builds the statements of one grid point; `lanes` is 1 for scalar code throughout."""

    def __init__(self, nest: LoopNest, converter: Converter, names: Names, lanes: int,
                 atomic: bool, live_states: frozenset[str] = frozenset(), wide: int = 1) -> None:
        self.nest = nest
        self.convert = converter
        self.names = names
        self.lanes = lanes
        self.atomic = atomic
        self.live_states = live_states
        self.wide = wide
        self.declared: set[str] = set()

    def stage(self, stage: Stage) -> list[Stmt]:
        """Statements of a stage that does not fold across grid points."""
        return self.map(stage) if isinstance(stage, Map) else self.fold(stage)

    # ------------------------------------------------------------------------------------- maps

    def map(self, stage: Map) -> list[Stmt]:
        """A map: nested loops, the last one in vectors where that pays."""
        head = [s for w in stage.writes for s in self.declaration(w)]
        axes = tuple(a for a in stage.axes if a.extent != 1)
        if not axes:
            return head + self.writes(stage.writes, self.convert)
        inner, outer = axes[-1], axes[:-1]
        scatter = any(w.update for w in stage.writes)
        variables = any(self.convert.places[w.value].kind == "variable" for w in stage.writes)
        lanes = 1 if scatter or variables else self.width(inner, stage_roots(stage), stage.writes)
        body: list[Stmt] = []
        if lanes > 1:
            whole, index, tail = chunked(inner, lanes, self.names)
            vector = self.convert.with_axes({inner: index})
            body.append(For(whole, tuple(self.writes(stage.writes, vector))))
            if tail is not None:
                scalar = self.convert.with_axes({inner: axis_expr(tail)})
                body.append(For(tail, tuple(self.writes(stage.writes, scalar)),
                                start=const(inner.extent // lanes * lanes)))
        else:
            body, outer = self.writes(stage.writes, self.convert), axes
        return head + self.nested(outer, body)

    def nested(self, axes: Iterable[Axis], body: list[Stmt]) -> list[Stmt]:
        """`body` inside loops over the axes."""
        for one in reversed([a for a in axes if a.extent != 1]):
            body = [For(one, tuple(body))]
        return body

    def declaration(self, write: Write) -> list[Stmt]:
        """Declare the private array or variable behind a value on its first write."""
        place = self.convert.places[write.value]
        value = self.nest.value(write.value)
        if value.scope not in ("register", "shared") or write.value in self.declared or place.base is not None:
            return []
        self.declared.add(write.value)
        if place.kind == "variable":
            return [Declare(place.name, value.dtype, const(0, value.dtype), self.wide)]
        return [DeclareArray(place.name, value.memory, max(1, math.prod(value.shape)))]

    def writes(self, writes: Iterable[Write], convert: Converter) -> list[Stmt]:
        """The writes of one point, in order. An output may lie where an input lies (donated memory), so
        neighbouring writes to memory compute all their values before the first is stored."""
        result: list[Stmt] = []
        together: list[Write] = []
        for write in writes:
            memory = convert.places[write.value].kind == "buffer" and write.update is None
            earlier = {w.value for w in together}
            if not memory or any(n.attr[0] in earlier for n in loads((write.expr,))):
                result += self._stores(together, convert)
                together = []
            if memory:
                together.append(write)
            else:
                result += self.write(write, convert)
        return result + self._stores(together, convert)

    def _stores(self, writes: list[Write], convert: Converter) -> list[Stmt]:
        """Writes to memory: all the values, then the stores."""
        stores = [s for w in writes for s in self.write(w, convert)]
        if len(stores) < 2:
            return stores
        values: list[Stmt] = []
        for k, store in enumerate(stores):
            assert isinstance(store, Store)
            if store.value.args:
                name = self.names.fresh(f"{store.buffer}_value")
                values.append(Declare(name, store.value.dtype, store.value, 0))
                stores[k] = Store(store.buffer, store.offset, variable(name, store.value.dtype), store.guard)
        return values + stores

    def write(self, write: Write, convert: Converter) -> list[Stmt]:
        """One write, wherever its value lives."""
        place = convert.places[write.value]
        guard = None if write.guard is None else convert(write.guard)
        if guard is not None and is_const(guard, True):
            guard = None
        value = convert(write.expr)
        if place.kind == "variable":
            assign = Assign(place.name, value)
            return [assign] if guard is None else [If(guard, (assign,))]
        offset = convert.offset(write.index, place)
        if write.update is None:
            return [Store(place.name, offset, value, guard)]
        if self.atomic:
            return [Atomic(place.name, offset, value, write.update, guard)]
        return [self._update(place.name, offset, value, guard, write)]

    def _update(self, name: str, offset: Expr, value: Expr, guard: Expr | None, write: Write) -> Stmt:
        old = element(name, offset, value.dtype, guard, None if guard is None else const(0, value.dtype))
        return Store(name, offset, apply_op(write.update or "add", old, value), guard)

    # ------------------------------------------------------------------------------------ folds

    def fold(self, stage: Fold) -> list[Stmt]:
        """A fold within a grid point, then its finish writes."""
        kept = tuple(a for a in stage.axes if a.extent != 1)
        arrays = [v for v in stage.state if v.shape and math.prod(v.shape) != 1]
        if kept and len(arrays) == len(stage.state) and not any(v.name in self.live_states for v in arrays):
            return self._fold_each_kept(stage, kept)
        if arrays:
            return self._fold_arrays(stage, kept)
        return self._fold_scalars(stage, self.convert, self._width_over(stage))

    def _width_over(self, stage: Fold) -> int:
        """Lanes for the last folded axis."""
        if stage.combine is None or stage.emit or stage.reverse:
            return 1
        inner = stage.over[-1]
        return self.width(inner, list(stage.step), ())

    def _fold_each_kept(self, stage: Fold, kept: tuple[Axis, ...]) -> list[Stmt]:
        """Every kept point folds by itself: the kept loops outside, states in variables (vectors of
        kept points where the loads lie so)."""
        head = [s for w in (*stage.emit, *stage.finish) for s in self.declaration(w)]
        inner = kept[-1]
        over_lanes = self._width_over(stage)
        lanes = 1 if over_lanes > 1 else self.width(inner, [*stage.step, *stage.init], (*stage.finish, *stage.emit))
        if lanes == 1:
            return head + self.nested(kept, self._fold_scalars(stage, self.convert, over_lanes, local=True))
        whole, index, tail = chunked(inner, lanes, self.names)
        body: list[Stmt] = [For(whole, tuple(self._fold_scalars(
            stage, self.convert.with_axes({inner: index}), 1, local=True, wide=lanes)))]
        if tail is not None:
            body.append(For(tail, tuple(self._fold_scalars(
                stage, self.convert.with_axes({inner: axis_expr(tail)}), 1, local=True)),
                start=const(inner.extent // lanes * lanes)))
        return head + self.nested(kept[:-1], body)

    def _fold_scalars(self, stage: Fold, convert: Converter, lanes: int, local: bool = False,
                      wide: int = 0) -> list[Stmt]:
        """States in variables. `lanes` vectorises the last folded axis; `wide` says that the converter's
        axes already are vectors that many lanes wide; `local` takes fresh names (inside a kept loop)."""
        head: list[Stmt] = [] if local else [s for w in (*stage.emit, *stage.finish) for s in self.declaration(w)]
        names = {v.name: self.names.fresh(v.name) if local else convert.places[v.name].name for v in stage.state}
        inside = convert.with_places({v.name: Place("variable", names[v.name]) for v in stage.state})
        init = [convert(e) for e in stage.init]
        if lanes == 1:
            head += [Declare(names[v.name], v.dtype, e, wide or self.wide) for v, e in zip(stage.state, init)]
            return head + self._loops(stage, inside, names, stage.over) + self._finish(stage, inside)
        return head + self._fold_lanes(stage, inside, names, init, lanes) + self._finish(stage, inside)

    def _finish(self, stage: Fold, inside: Converter) -> list[Stmt]:
        return [s for w in stage.finish for s in self.write(w, inside)]

    def _loops(self, stage: Fold, convert: Converter, names: Mapping[str, str], over: tuple[Axis, ...],
               start: Mapping[Axis, int] | None = None) -> list[Stmt]:
        """The folded loops with one step inside; reversed folds count down by substitution."""
        if stage.reverse:
            convert = convert.with_axes({a: const(a.extent - 1) - axis_expr(a) for a in over})
        body = self._step(stage, convert, names) + [s for w in stage.emit for s in self.write(w, convert)]
        for one in reversed(over):
            if one.extent != 1:
                first = (start or {}).get(one)
                unroll = self._unrolled(stage) if one is over[-1] else False
                body = [For(one, tuple(body), start=None if first is None else const(first), unroll=unroll)]
        return body

    def _unrolled(self, stage: Fold) -> int | bool:
        """How many steps of a serial fold a GPU's thread takes at once, so that it waits for their loads together."""
        if stage.combine is not None or not self.atomic:
            return False
        return max(1, min(MAX_STEPS, UNROLLED_NODES // len(topological(stage_roots(stage)))))

    def _step(self, stage: Fold, convert: Converter, names: Mapping[str, str]) -> list[Stmt]:
        return self._advance([convert(e) for e in stage.step], [names[v.name] for v in stage.state],
                             [v.dtype for v in stage.state])

    def _advance(self, new: list[Expr], targets: list[str], dtypes: list[np.dtype], lanes: int = 0) -> list[Stmt]:
        """Assign all the states at once: every new value is computed from the old ones first."""
        if len(new) == 1:
            return [Assign(targets[0], new[0])]
        temporaries = [self.names.fresh(f"{t}_next") for t in targets]
        return [*(Declare(t, d, e, lanes) for t, d, e in zip(temporaries, dtypes, new)),
                *(Assign(t, variable(n, d)) for t, n, d in zip(targets, temporaries, dtypes))]

    def _fold_lanes(self, stage: Fold, inside: Converter, names: Mapping[str, str], init: list[Expr],
                    lanes: int) -> list[Stmt]:
        """Vectors along the last folded axis: chains of vector states, combined, then their lanes."""
        inner, outer = stage.over[-1], stage.over[:-1]
        count = inner.extent // lanes
        chains = max(c for c in (1, 2, MAX_CHAINS) if c <= count and count % c == 0)
        states = [[self.names.fresh(f"{names[v.name]}_v{c}") for v in stage.state] for c in range(chains)]
        dtypes = [v.dtype for v in stage.state]
        result: list[Stmt] = [Declare(n, d, e, lanes) for row in states for n, d, e in zip(row, dtypes, init)]
        whole = Axis(self.names.fresh(f"{inner.name}v"), count // chains)
        body: list[Stmt] = []
        for c in range(chains):
            index = axis_expr(whole) * (lanes * chains) + ramp(lanes) + c * lanes
            convert = inside.with_axes({inner: simplify(index)}).with_places(
                {v.name: Place("variable", n) for v, n in zip(stage.state, states[c])})
            body += self._advance([convert(e) for e in stage.step], states[c], dtypes, lanes)
        result += self.nested(outer, [For(whole, tuple(body))])
        result += self._combine_all(stage, states, names, lanes)
        if inner.extent % lanes:
            tail = Axis(self.names.fresh(f"{inner.name}t"), inner.extent)
            convert = inside.with_axes({inner: axis_expr(tail)})
            loop = For(tail, tuple(self._step(stage, convert, names)), start=const(count * lanes))
            result += self.nested(outer, [loop])
        return result

    def _combine_all(self, stage: Fold, states: list[list[str]], names: Mapping[str, str], lanes: int) -> list[Stmt]:
        """Combine the chains pairwise, then halves of lanes, down to the scalar states."""
        dtypes = [v.dtype for v in stage.state]
        vectors = [[variable(n, d) for n, d in zip(row, dtypes)] for row in states]
        result: list[Stmt] = []
        while len(vectors) > 1:
            pairs = [self._combined(stage, a, b, lanes, result) for a, b in zip(vectors[::2], vectors[1::2])]
            vectors = pairs
        current = vectors[0]
        while lanes > 1:
            lanes //= 2
            final = [names[v.name] for v in stage.state] if lanes == 1 else None
            current = self._combined(stage, [low(x) for x in current], [high(x) for x in current], lanes, result, final)
        return result

    def _combined(self, stage: Fold, left: list[Expr], right: list[Expr], lanes: int, out: list[Stmt],
                  targets: list[str] | None = None) -> list[Expr]:
        """Declare combine(left, right); returns the variables."""
        replace = {(v.name): x for v, x in zip(stage.state, left)}
        replace |= {(v.name + OTHER): x for v, x in zip(stage.state, right)}
        assert stage.combine is not None
        new = replace_loads(stage.combine, replace)
        targets = targets or [self.names.fresh(f"{v.name}_c{lanes}") for v in stage.state]
        out += [Declare(t, v.dtype, e, lanes) for t, v, e in zip(targets, stage.state, new)]
        return [variable(t, v.dtype) for t, v in zip(targets, stage.state)]

    def _fold_arrays(self, stage: Fold, kept: tuple[Axis, ...]) -> list[Stmt]:
        """Some states are arrays that must live across steps: the folded loops outside, kept loops inside."""
        head = [s for w in (*stage.emit, *stage.finish) for s in self.declaration(w)]
        for value in stage.state:
            place = self.convert.places[value.name]
            if place.kind == "buffer" and place.base is None:
                head.append(DeclareArray(place.name, value.dtype, math.prod(value.shape)))
        body = self.array_init(stage, kept)
        body += self._array_loops(stage, kept)
        return head + body + self.array_finish(stage, kept)

    def _array_writes(self, stage: Fold, exprs: Iterable[Expr]) -> tuple[list[Write], list[tuple[Value, Expr]]]:
        arrays, scalars = [], []
        for value, expr in zip(stage.state, exprs):
            if self.convert.places[value.name].kind == "buffer":
                arrays.append(Write(value.name, tuple(axis_expr(a) for a in stage.axes) if value.shape else (), expr))
            else:
                scalars.append((value, expr))
        return arrays, scalars

    def array_init(self, stage: Fold, kept: tuple[Axis, ...]) -> list[Stmt]:
        """Set the states to init: scalars declared, arrays filled."""
        arrays, scalars = self._array_writes(stage, stage.init)
        result: list[Stmt] = [Declare(self.convert.places[v.name].name, v.dtype, self.convert(e), self.wide)
                              for v, e in scalars]
        return result + self.loop_writes(kept, arrays, self.convert)

    def _array_loops(self, stage: Fold, kept: tuple[Axis, ...]) -> list[Stmt]:
        convert = self.convert
        if stage.reverse:
            convert = convert.with_axes({a: const(a.extent - 1) - axis_expr(a) for a in stage.over})
        return self.nested(stage.over, self.array_step(stage, kept, convert))

    def array_step(self, stage: Fold, kept: tuple[Axis, ...], convert: Converter) -> list[Stmt]:
        """One step: next scalars, then the arrays (which still read the old scalars), then the scalars."""
        arrays, scalars = self._array_writes(stage, stage.step)
        temporaries = [self.names.fresh(f"{v.name}_next") for v, _ in scalars]
        body: list[Stmt] = [Declare(t, v.dtype, convert(e), 0) for t, (v, e) in zip(temporaries, scalars)]
        if arrays:
            body += self._array_updates(kept, arrays, convert)
        body += [Assign(convert.places[v.name].name, variable(t, v.dtype)) for t, (v, _) in zip(temporaries, scalars)]
        return body + self.loop_writes(kept, list(stage.emit), convert)

    def _array_updates(self, kept: tuple[Axis, ...], arrays: list[Write], convert: Converter) -> list[Stmt]:
        """Array states of one step advance together, point by point."""
        if len(arrays) == 1:
            return self.loop_writes(kept, arrays, convert)
        body: list[Stmt] = []
        names = [self.names.fresh(f"{w.value}_next") for w in arrays]
        for name, write in zip(names, arrays):
            body.append(Declare(name, write.expr.dtype, convert(write.expr), 0))
        for name, write in zip(names, arrays):
            body += self.write(Write(write.value, write.index, variable(name, write.expr.dtype)), convert)
        return self.nested(kept, body)

    def array_finish(self, stage: Fold, kept: tuple[Axis, ...]) -> list[Stmt]:
        """The finish writes over the kept points."""
        return self.loop_writes(kept, list(stage.finish), self.convert)

    def loop_writes(self, kept: tuple[Axis, ...], writes: list[Write], convert: Converter) -> list[Stmt]:
        """Writes over the kept axes, vectorised like a map."""
        if not writes:
            return []
        if not kept:
            return [s for w in writes for s in self.write(w, convert)]
        inner = kept[-1]
        lanes = self.width(inner, [r for w in writes for r in w.roots()], writes, convert)
        if lanes == 1:
            return self.nested(kept, [s for w in writes for s in self.write(w, convert)])
        whole, index, tail = chunked(inner, lanes, self.names)
        vector = convert.with_axes({inner: index})
        body: list[Stmt] = [For(whole, tuple(s for w in writes for s in self.write(w, vector)))]
        if tail is not None:
            scalar = convert.with_axes({inner: axis_expr(tail)})
            body.append(For(tail, tuple(s for w in writes for s in self.write(w, scalar)),
                            start=const(inner.extent // lanes * lanes)))
        return self.nested(kept[:-1], body)

    # ---------------------------------------------------------------------------------- vectors

    def width(self, inner: Axis, roots: Iterable[Expr], writes: Iterable[Write],
              convert: Converter | None = None) -> int:
        """Lanes for running `inner` in vectors, 1 where scalars are better."""
        lanes = min(self.lanes, 1 << (inner.extent.bit_length() - 1)) if inner.extent else 1
        if lanes < MIN_LANES:
            return 1
        return lanes if pays(inner, lanes, roots, writes, convert or self.convert) else 1


def pays(inner: Axis, lanes: int, roots: Iterable[Expr], writes: Iterable[Write], convert: Converter) -> bool:
    """Whether vectors along `inner` pay: accesses that become vector loads or broadcasts must outweigh
    those that become one access per lane."""
    lane = ramp(lanes)
    trial = convert.with_axes({inner: axis_expr(Axis("trial", max(2, inner.extent // lanes))) * lanes + lane})
    good = bad = 0
    for root in roots:
        for node in topological((trial(root),)):
            if node.op == "load":
                step = coefficient(load_index(node)[0], lane)
                good, bad = good + (step in (0, 1)), bad + (step not in (0, 1))
    for write in writes:
        place = trial.places[write.value]
        if place.kind == "variable":
            return False
        step = coefficient(trial.offset(write.index, place), lane)
        good, bad = good + (step == 1), bad + 2 * (step != 1)
    return good >= bad


def replace_loads(roots: Iterable[Expr], replacement: Mapping[str, Expr]) -> list[Expr]:
    """Replace loads of named scalars by expressions; a guard on the load stays in force."""

    def rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
        new = replacement.get(node.attr[0]) if node.op == "load" else None
        return None if new is None else guarded(new, node, args)

    return transform(roots, rewrite)


def guarded(value: Expr, node: Expr, args: tuple[Expr, ...]) -> Expr:
    """What a load node gives when its element is `value`: that, or `other` where its guard fails."""
    rank = node.attr[1]
    return select(args[rank], value, args[rank + 1]) if len(args) > rank else value
