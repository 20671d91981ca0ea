"""The loop nest: what one kernel computes, before anything is said about blocks, threads or vectors.

Fusion makes loop nests, schedules consume them. A `LoopNest` runs its stages, in order, for every point
of its grid. A `Map` writes elements; a `Fold` runs a state along axes; a `Scatter`, alone in its nest, writes where
the data say. A value's scope says who sees it: an argument or a global value is one array for the whole nest, a
register or shared value is private to one grid point (shared: the threads that work on that point share it on
chip). A fold's state is a register value that later stages at the same grid point may read.

Worked example, softmax over rows with the row kept on chip (`load` and friends are from expr.py):

    row, j = Axis("row", 7), Axis("j", 13)
    x, y, e = Value("x", (7, 13), f32), Value("y", (7, 13), f32), Value("e", (13,), f32, scope="shared")
    m, s = Value("m", (), f32, scope="register"), Value("s", (), f32, scope="register")
    LoopNest("softmax", grid=(row,), arguments=(x, y), values=(e,), stages=(
        fold("maximum", m, over=(j,), of=x[row, j]),
        Map((j,), (Write("e", (j,), exp(x[row, j] - m)),)),
        fold("add", s, over=(j,), of=e[j]),
        Map((j,), (Write("y", (row, j), e[j] / s),))))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ftiny.lowering.expr import (
    BOOL,
    INDEX,
    Axis,
    Expr,
    add,
    bitwise,
    const,
    load,
    maximum,
    minimum,
    mul,
    show,
    topological,
)
from ftiny.lowering.expr import axis as axis_expr

SCOPES = ("argument", "register", "shared", "global")
ACROSS = (None, "last_block", "look_back", "second_kernel")
MULTIPLY_ADD = ("multiply_add", "multiply_add_tf32")
UPDATES = (None, "add", "mul", "minimum", "maximum")
ORDERS = ("kept", "sorted", "any", "apart")
OTHER = ".other"


class LoopNestError(ValueError):
    """A loop nest that breaks an invariant of this module; the message names nest, stage and value."""


@dataclass(frozen=True)
class Value:
    """A named array.

    dtype is what arithmetic sees, storage what memory holds (a float16 activation summed in float32
    has storage float16). Arrays are dense and row-major; () is a scalar.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    storage: np.dtype | None = None
    scope: str = "argument"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "storage", np.dtype(self.dtype if self.storage is None else self.storage))

    @property
    def memory(self) -> np.dtype:
        """The dtype of the elements in memory: `storage`."""
        assert self.storage is not None
        return self.storage

    def __getitem__(self, index: Expr | int | tuple) -> Expr:
        """The load of one element, with Exprs, Axes or ints as indices; `v[()]` for a scalar."""
        indices = index if isinstance(index, tuple) else (index,)
        return load(self.name, [axis_expr(i) if isinstance(i, Axis) else i for i in indices], self.dtype)

    def __str__(self) -> str:
        stored = "" if self.storage == self.dtype else f" stored as {self.storage}"
        return f"{self.scope} {self.name}: {self.dtype}[{','.join(map(str, self.shape))}]{stored}"


@dataclass(frozen=True)
class Write:
    """value[index] = expr, only where `guard` holds.

    With `update`, the element is combined with what is there (scatter): the combination is atomic, in
    no set order. Without it, no two points may write the same element.
    """

    value: str
    index: tuple[Expr, ...]
    expr: Expr
    guard: Expr | None = None
    update: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", tuple(
            axis_expr(i) if isinstance(i, Axis) else const(i) if isinstance(i, int) else i for i in self.index))

    def roots(self) -> tuple[Expr, ...]:
        """Every expression of this write."""
        return (*self.index, self.expr) if self.guard is None else (*self.index, self.expr, self.guard)

    def __str__(self) -> str:
        sign = {None: "=", "add": "+=", "mul": "*="}.get(self.update, f"={self.update}=")
        guard = "" if self.guard is None else f" if {show(self.guard)}"
        return f"{self.value}[{', '.join(map(show, self.index))}] {sign} {show(self.expr)}{guard}"


@dataclass(frozen=True)
class Map:
    """The writes, for every grid point and every point of `axes`.

    Points are independent and run in any order. The writes of one point run in order; a point may
    read what it wrote itself before, and nothing that another point of this stage writes.
    """

    axes: tuple[Axis, ...]
    writes: tuple[Write, ...]


@dataclass(frozen=True)
class Fold:
    """A tuple state run along the axes `over`, once for every point of `axes` (the kept local axes).

    A state Value of shape () is one per grid point; one whose shape is the extents of `axes` has an
    element per kept point, read as name[axes]. Exprs are parallel to `state`:
      init     may read the kept axes, grid axes not folded, and earlier values;
      step     the next state; reads the state before the step (every component's), and the point;
      combine  the state of two neighbouring pieces: reads name (left, earlier) and name.other (right);
               it must be associative, init its neutral element, and (unless there is an `emit`) the
               order of the pieces must not matter. `None` if the fold has no combine: then the axes
               are folded strictly in order by one worker.
    `finish` writes run once per kept point, after the fold; they read the state. `emit` writes run at
    every step, after it, for scans. `over` runs lexicographically, last axis fastest, backwards if `reverse`.

    Grid axes in `over` fold across grid points; `across` then says how blocks hand over: 'second_kernel'
    (partials, then another kernel), 'last_block' (the block that arrives last combines), 'look_back' (an
    ordered scan over blocks; the only one with `emit`). The state of such a fold is not readable later.
    `atom='multiply_add'` marks acc + a*b, which a schedule may give to a matrix unit, 'multiply_add_tf32' one whose
    float32 factors may be rounded to tf32 (10 bits) before; 'rank:k' marks the count of what sorts before an element by
    the first k values that the next stage writes, which a schedule may find by sorting.
    """

    axes: tuple[Axis, ...]
    over: tuple[Axis, ...]
    state: tuple[Value, ...]
    init: tuple[Expr, ...]
    step: tuple[Expr, ...]
    combine: tuple[Expr, ...] | None
    finish: tuple[Write, ...] = ()
    across: str | None = None
    emit: tuple[Write, ...] = ()
    reverse: bool = False
    atom: str | None = None


@dataclass(frozen=True)
class Scatter:
    """Updates to places that the data name: `write` for every point of `over`, on a value that is `start` before.

    `start` is an expression in `axes`, the axes of the written value. `write.update` says how an update is combined
    with what is there (None: it replaces it); several updates of one element are combined in the lexicographic order
    of `over`. `order` says what is known of that: 'kept' (the order has to be kept), 'sorted' (kept; and the places
    do not decrease), 'any' (the order does not matter), 'apart' (no element has two updates).
    """

    axes: tuple[Axis, ...]
    start: Expr
    over: tuple[Axis, ...]
    write: Write
    order: str = "kept"


Stage = Map | Fold


@dataclass(frozen=True)
class LoopNest:
    """One kernel's work: `stages`, in order, for every point of `grid`; see the module docstring.

    arguments are the arrays passed in, read or written; values are the intermediates; equations are
    the numbers of the jaxpr equations it came from. A nest with a `scatter` has no stages and no grid.
    """

    name: str
    grid: tuple[Axis, ...]
    arguments: tuple[Value, ...]
    values: tuple[Value, ...]
    stages: tuple[Stage, ...]
    equations: tuple[int, ...] = ()
    scatter: Scatter | None = None
    _by_name: dict[str, Value] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        table = {v.name: v for v in (*self.arguments, *self.values)}
        for stage in self.stages:
            if isinstance(stage, Fold):
                table.update((v.name, v) for v in stage.state)
        object.__setattr__(self, "_by_name", table)

    def value(self, name: str) -> Value:
        """The argument, value or state called `name`."""
        return self._by_name[name]

    def all_values(self) -> tuple[Value, ...]:
        """Arguments, values and fold states."""
        return tuple(self._by_name.values())

    def outputs(self) -> tuple[str, ...]:
        """The names of the arguments that the nest writes, in the order of `arguments`."""
        written = {write.value for stage in self.parts() for write in writes_of(stage)}
        return tuple(v.name for v in self.arguments if v.name in written)

    def inputs(self) -> tuple[str, ...]:
        """The names of the arguments that the nest reads, in the order of `arguments`."""
        read = {node.attr[0] for node in topological(self.roots()) if node.op == "load"}
        return tuple(v.name for v in self.arguments if v.name in read)

    def roots(self) -> list[Expr]:
        """Every expression of the nest."""
        return [expr for stage in self.parts() for expr in stage_roots(stage)]

    def parts(self) -> tuple[Stage | Scatter, ...]:
        """The stages, or the scatter."""
        return self.stages if self.scatter is None else (self.scatter,)

    def __str__(self) -> str:
        return show_nest(self)


def writes_of(stage: Stage | Scatter) -> tuple[Write, ...]:
    """All the writes of a stage, to whatever scope."""
    if isinstance(stage, Scatter):
        return (stage.write,)
    return stage.writes if isinstance(stage, Map) else (*stage.emit, *stage.finish)


def stage_roots(stage: Stage | Scatter) -> list[Expr]:
    """Every expression of a stage."""
    roots = [expr for write in writes_of(stage) for expr in write.roots()]
    if isinstance(stage, Fold):
        roots += [*stage.init, *stage.step, *(stage.combine or ())]
    elif isinstance(stage, Scatter):
        roots.append(stage.start)
    return roots


# ---------------------------------------------------------------------------------- construction


def neutral(op: str, dtype: np.dtype) -> Expr:
    """The neutral element of add, mul, minimum, maximum, and, or, xor in `dtype`."""
    dtype = np.dtype(dtype)
    if op in ("add", "or", "xor"):
        return const(False if dtype == BOOL else 0, dtype)
    if op == "mul":
        return const(1, dtype)
    if op == "and":
        return const(True if dtype == BOOL else -1, dtype)
    if op not in ("minimum", "maximum"):
        raise ValueError(f"no neutral element known for {op!r}")
    if dtype == BOOL:
        return const(op == "minimum", dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return const(int(limits.max if op == "minimum" else limits.min), dtype)
    return const(np.inf if op == "minimum" else -np.inf, dtype)


def fold(op: str, state: Value, over: Iterable[Axis], of: Expr, *, axes: Iterable[Axis] = (),
         finish: Iterable[Write] = (), emit: Iterable[Write] = (), across: str | None = None,
         reverse: bool = False, atom: str | None = None) -> Fold:
    """A one-component fold with an ordinary operation: add, mul, minimum, maximum, and, or, xor.

    `of` is the element that is folded in; it must have the state's dtype.
    """
    axes = tuple(axes)
    index = [axis_expr(a) for a in axes] if state.shape else []
    left = load(state.name, index, state.dtype)
    right = load(state.name + OTHER, index, state.dtype)
    return Fold(axes, tuple(over), (state,), (neutral(op, state.dtype),), (apply_op(op, left, of),),
                (apply_op(op, left, right),), tuple(finish), across, tuple(emit), reverse, atom)


def apply_op(op: str, x: Expr, y: Expr) -> Expr:
    """The reduction operation `op` on two expressions (add and mul of bools are or and and)."""
    if x.dtype == BOOL and op in ("add", "mul", "minimum", "maximum"):
        op = {"add": "or", "mul": "and", "minimum": "and", "maximum": "or"}[op]
    plain = {"add": add, "mul": mul, "minimum": minimum, "maximum": maximum}.get(op)
    return plain(x, y) if plain else bitwise(op, x, y)


def state_element(value: Value, axes: Iterable[Axis] = ()) -> Expr:
    """A state component inside init/step/combine/finish: its element at the kept axes."""
    return load(value.name, [axis_expr(a) for a in axes] if value.shape else [], value.dtype)


def other_element(value: Value, axes: Iterable[Axis] = ()) -> Expr:
    """The same component of the right-hand piece, inside combine."""
    return load(value.name + OTHER, [axis_expr(a) for a in axes] if value.shape else [], value.dtype)


def split_scatter(nest: LoopNest) -> tuple[LoopNest, LoopNest]:
    """A scatter as two nests of the other stages: its start everywhere, then its updates, one worker for all that may
    meet: right on every device, and as slow as that worker."""
    stage = nest.scatter
    assert stage is not None
    write, target = stage.write, nest.value(stage.write.value)
    copy = Map((), (Write(target.name, tuple(map(axis_expr, stage.axes)), stage.start),))
    old = target[write.index]
    value = write.expr if write.update is None else apply_op(write.update, old, write.expr)
    if stage.order == "apart":
        updates: Stage = Map((), (replace(write, expr=value, update=None),))
        grid = stage.over
    elif stage.order == "any" and write.update is not None:
        updates, grid = Map((), (write,)), stage.over
    else:
        # Along an axis that is a coordinate of the place, updates reach different elements.
        apart = {i.attr for i in write.index if i.op == "axis"}
        grid = tuple(a for a in stage.over if a in apart)
        serial = tuple(a for a in stage.over if a not in apart) or (Axis("once", 1),)
        turn = Value("s0", (), np.dtype(np.int32), scope="register")
        emit = (replace(write, expr=value, update=None),)
        updates = Fold((), serial, (turn,), (const(0, turn.dtype),), (turn[()],), None, emit=emit)
    return (_nest_of("copy_" + "x".join(str(a.extent) for a in stage.axes), nest, stage.axes, copy),
            _nest_of(nest.name, nest, grid, updates))


def _nest_of(name: str, nest: LoopNest, grid: tuple[Axis, ...], stage: Stage) -> LoopNest:
    """A nest of one stage with those of another nest's arguments that it uses."""
    used = {w.value for w in writes_of(stage)}
    used |= {node.attr[0] for node in topological(stage_roots(stage)) if node.op == "load"}
    arguments = tuple(v for v in nest.arguments if v.name in used)
    return LoopNest(name, grid, arguments, (), (stage,), nest.equations)


# ---------------------------------------------------------------------------------------- checks


def check_nest(nest: LoopNest) -> None:
    """Raise LoopNestError unless the nest keeps every invariant that schedules rely on."""
    names = [v.name for v in (*nest.arguments, *nest.values)]
    names += [v.name for s in nest.stages if isinstance(s, Fold) for v in s.state]
    _check_unique(nest, names, "value")
    for value in (*nest.arguments, *nest.values):
        _require(value.scope in SCOPES, nest, f"value {value.name}: unknown scope {value.scope!r}")
    for value in nest.arguments:
        _require(value.scope == "argument", nest, f"argument {value.name} has scope {value.scope!r}")
    for value in nest.values:
        _require(value.scope != "argument", nest, f"value {value.name} has scope 'argument' but is not passed in")
    extents = {a.name: a.extent for a in nest.grid}
    _check_unique(nest, [a.name for a in nest.grid], "grid axis")
    readable = {v.name for v in (*nest.arguments, *nest.values)}
    if nest.scatter is not None:
        _check_scatter(nest, nest.scatter, readable)
    for number, stage in enumerate(nest.stages):
        where = f"stage {number}"
        local = stage.axes if isinstance(stage, Map) else (
            *stage.axes, *(a for a in stage.over if a not in nest.grid))
        for a in local:
            _require(a not in nest.grid, nest, f"{where}: {a.name} is a grid axis and a local axis")
            known = extents.setdefault(a.name, a.extent)
            _require(known == a.extent, nest, f"{where}: axis {a.name} has extents {known} and {a.extent}")
        _check_unique(nest, [a.name for a in local], f"axis of {where}")
        visible = {*nest.grid, *local}
        if isinstance(stage, Map):
            for write in stage.writes:
                _check_write(nest, where, write, visible, readable)
        else:
            _check_fold(nest, where, stage, visible, readable)
            if not folds_grid(nest, stage):
                readable |= {v.name for v in stage.state}


def _check_scatter(nest: LoopNest, stage: Scatter, readable: set[str]) -> None:
    where = "scatter"
    _require(not nest.stages and not nest.grid, nest, f"{where}: it stands alone, without stages or a grid")
    _require(stage.order in ORDERS, nest, f"{where}: unknown order {stage.order!r}")
    value = nest.value(stage.write.value)
    extents = tuple(a.extent for a in stage.axes)
    _require(value.shape == extents, nest, f"{where}: {value.name} has shape {value.shape}, started over {extents}")
    _check_write(nest, where, stage.write, set(stage.over), readable)
    _check_expr(nest, f"{where} start", stage.start, set(stage.axes), readable)


def folds_grid(nest: LoopNest, stage: Fold) -> bool:
    """Whether a fold runs across grid points."""
    return any(a in nest.grid for a in stage.over)


def _check_fold(nest: LoopNest, where: str, stage: Fold, visible: set[Axis], readable: set[str]) -> None:
    count = len(stage.state)
    for part, name in ((stage.init, "init"), (stage.step, "step"), (stage.combine or stage.step, "combine")):
        _require(len(part) == count, nest, f"{where}: {count} states but {len(part)} {name} expressions")
        for value, expr in zip(stage.state, part, strict=True):
            _require(expr.dtype == value.dtype, nest,
                     f"{where}: {name} of {value.name} is {expr.dtype}, the state is {value.dtype}")
    kept = tuple(a.extent for a in stage.axes)
    for value in stage.state:
        _require(value.shape in ((), kept), nest,
                 f"{where}: state {value.name} has shape {value.shape}, expected () or the kept axes' {kept}")
    _require(bool(stage.over), nest, f"{where}: a fold over no axes")
    _require(stage.across in ACROSS, nest, f"{where}: unknown hand-over {stage.across!r}")
    crosses = folds_grid(nest, stage)
    _require(crosses == (stage.across is not None), nest,
             f"{where}: across is {stage.across!r} but the fold {'has' if crosses else 'has no'} grid axis in over")
    _require(not stage.emit or stage.across in (None, "look_back"), nest,
             f"{where}: a scan across blocks must use 'look_back', not {stage.across!r}")
    _require(not (stage.emit and stage.finish and crosses), nest, f"{where}: a scan across blocks cannot finish")
    _require(not crosses or stage.combine is not None, nest, f"{where}: a fold across blocks needs a combine")
    states = {v.name for v in stage.state}
    others = {v.name + OTHER for v in stage.state}
    before = visible - set(stage.over)
    for expr in stage.init:
        _check_expr(nest, f"{where} init", expr, before, readable)
    for expr in stage.step:
        _check_expr(nest, f"{where} step", expr, visible, readable | states)
    for expr in stage.combine or ():
        _check_expr(nest, f"{where} combine", expr, set(stage.axes), states | others)
    for write in stage.emit:
        _check_write(nest, f"{where} emit", write, visible, readable | states)
    for write in stage.finish:
        _check_write(nest, f"{where} finish", write, before, readable | states)


def _check_write(nest: LoopNest, where: str, write: Write, visible: set[Axis], readable: set[str]) -> None:
    value = nest._by_name.get(write.value)
    _require(value is not None, nest, f"{where}: writes {write.value}, which is not a value of the nest")
    assert value is not None
    _require(len(write.index) == len(value.shape), nest,
             f"{where}: {write.value} has {len(value.shape)} dimensions, written with {len(write.index)} indices")
    _require(write.expr.dtype == value.dtype, nest,
             f"{where}: writes {write.expr.dtype} to {write.value}, which is {value.dtype}")
    _require(write.update in UPDATES, nest, f"{where}: unknown update {write.update!r}")
    if write.guard is not None:
        _require(write.guard.dtype == BOOL, nest, f"{where}: the guard of {write.value} is {write.guard.dtype}")
    for expr in write.roots():
        _check_expr(nest, where, expr, visible, readable)


def _check_expr(nest: LoopNest, where: str, root: Expr, visible: set[Axis], readable: set[str]) -> None:
    for node in topological((root,)):
        if node.op == "axis":
            _require(node.attr in visible, nest, f"{where}: axis {node.attr} is not in scope here")
        elif node.op == "load":
            name, rank = node.attr
            _require(name in readable, nest, f"{where}: {name} is not readable here")
            shape = nest.value(name.removesuffix(OTHER)).shape
            _require(rank == len(shape), nest, f"{where}: {name} has shape {shape}, loaded with {rank} indices")
            _require(all(i.dtype == INDEX for i in node.args[:rank]), nest,
                     f"{where}: an index of {name} is not int64")
        elif node.op == "variable":
            _require(False, nest, f"{where}: {node.attr} is a kernel variable, not part of a loop nest")


def _check_unique(nest: LoopNest, names: list[str], what: str) -> None:
    repeated = {n for n in names if names.count(n) > 1} if len(set(names)) < len(names) else set()
    _require(not repeated, nest, f"{what} names repeat: {', '.join(sorted(repeated))}")


def _require(condition: bool, nest: LoopNest, message: str) -> None:
    if not condition:
        raise LoopNestError(f"loop nest {nest.name}: {message}")


# -------------------------------------------------------------------------------------- printing


def show_nest(nest: LoopNest) -> str:
    """A readable listing of the nest, a line per value and write."""
    lines = [f"nest {nest.name} grid({', '.join(map(str, nest.grid))})"]
    lines += [f"  {value}" for value in (*nest.arguments, *nest.values)]
    for stage in nest.parts():
        lines += _show_stage(stage)
    return "\n".join(lines)


def _show_stage(stage: Stage | Scatter) -> list[str]:
    axes = ", ".join(map(str, stage.axes))
    if isinstance(stage, Map):
        return [f"  map({axes})", *(f"    {write}" for write in stage.writes)]
    if isinstance(stage, Scatter):
        over = ", ".join(map(str, stage.over))
        start = f"    start {stage.write.value}({axes}) = {show(stage.start)}"
        return [f"  scatter({over}) order={stage.order}", start, f"    {stage.write}"]
    notes = [f"axes({axes})"] if stage.axes else []
    notes += [f"across={stage.across}"] if stage.across else []
    notes += ["reverse"] if stage.reverse else []
    notes += [f"atom={stage.atom}"] if stage.atom else []
    lines = [" ".join([f"  fold({', '.join(map(str, stage.over))})", *notes])]
    for k, value in enumerate(stage.state):
        lines.append(f"    state {value.name}: {value.dtype}{list(value.shape)} = {show(stage.init[k])}")
        lines.append(f"      step    {show(stage.step[k])}")
        if stage.combine is not None:
            lines.append(f"      combine {show(stage.combine[k])}")
    lines += [f"    emit {write}" for write in stage.emit]
    return [*lines, *(f"    finish {write}" for write in stage.finish)]
