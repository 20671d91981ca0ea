"""Loops as one kernel: the nests of a loop's bodies, one after another inside a serial loop of the kernel.

Input: an `Inner` of loop_programs.py and a device's `Capabilities`. Output: a `Kernel` of one block, with the variables
that its parameters stand for. On a CPU one work-item runs everything, with the vectors of its nests; on a GPU one block
of threads, which share out the points of each nest and wait for each other where one reads what another wrote.

Carry and intermediate values have places of their own inside the kernel: private to a thread, or shared by the block
where threads share out a value's elements. A value of one element is worked out by every thread, so it needs no
waiting, and compilers keep it in a register. A place is used again by values that come later; what does not fit on
chip lies in scratch memory. The new carry is copied over the old one at the end of a trip, unless nothing reads the old
one any more where the new one is written.

Worked example, `while_loop(lambda x: x > 1, lambda x: x / 2, x)` with a scalar x (a0 is the parameter, a1 the result):

    private v0: float32[1], private v1: bool[1]
    v0[0] = a0[0]
    repeat
      v1[0] = v0[0] > 1
      leave if not v1[0]
      v0[0] = v0[0] / 2
    a1[0] = v0[0]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ftiny.core import Atom, Literal, Var
from ftiny.dtypes import accumulation_dtype
from ftiny.lowering.device import Capabilities
from ftiny.lowering.expr import BOOL, Axis, Expr, cast, compare, const, load, logical_not
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.fuse import anchor_kind
from ftiny.lowering.groups import axis_index
from ftiny.lowering.index import simplify
from ftiny.lowering.kernel import (
    Barrier,
    DeclareArray,
    For,
    If,
    Kernel,
    Leave,
    Repeat,
    Stmt,
    Store,
    local,
)
from ftiny.lowering.loop_inline import Piece, Renamer, pieces_of
from ftiny.lowering.loop_programs import Inner, Nest, Program, Refused
from ftiny.lowering.loops import LoopNest, Map, Value, Write
from ftiny.lowering.plan_types import KernelParam, KernelSource
from ftiny.lowering.schedule_body import Names, Place
from ftiny.lowering.schedule_generic import PRIVATE_BYTES, touched

SHARED_BYTES = 40 * 1024      # of one block; 48 KiB is what every CUDA device has without asking
SCRATCH_BYTES = 1 << 20       # beyond this the values of a trip do not even fit the nearest cache
MOST_THREADS = 512
SERIAL_POINTS = 4             # so few points are no work to share out


@dataclass(frozen=True, eq=False)
class LoopKernel:
    """The kernel; `variables` are what its parameters stand for, except those of `scratch`."""

    kernel: Kernel
    variables: Mapping[str, Atom]
    scratch: tuple[Value, ...]


def loop_kernel(loop: Inner, number: int, capabilities: Capabilities) -> LoopKernel | None:
    """The kernel of a loop, or None if its values need too much memory.

    Args:
        loop: as loop_programs.py gives it.
        number: the number of its equation in the program.
        capabilities: of the device.
    """
    try:
        return _Writer(loop, capabilities).finish(number)
    except Refused:
        return None


def named(source: KernelSource) -> KernelSource:
    """The source of a loop's kernel with a piece of its hash in the name: nothing shorter tells two loops apart."""
    name = f"{source.name}_{hashlib.sha256(source.text.encode()).hexdigest()[:8]}"
    return replace(source, name=name, entry=name, text=source.text.replace(f"{source.name}(", f"{name}(", 1))


def block_threads(loop: Inner, capabilities: Capabilities) -> int:
    """How many threads share the work: one on a CPU, and where every value has an element or few."""
    if capabilities.host_memory:
        return 1
    nests = [nest.built.nest for program in loop.programs for nest in program.nests()]
    points = max((prod(a.extent for a in nest.grid) for nest in nests), default=1)
    rows = max((prod(a.extent for a in stage.over) for nest in nests for stage in nest.stages
                if not isinstance(stage, Map)), default=1)
    wanted = max(points, rows // 4)
    if wanted <= SERIAL_POINTS:
        return 1
    most = min(MOST_THREADS, capabilities.max_threads)
    return max(32, 1 << min(most.bit_length() - 1, (wanted - 1).bit_length()))


# ------------------------------------------------------------------------------------------ memory


@dataclass(eq=False)
class _Slot:
    """An array of the kernel that values use in turn."""

    name: str
    dtype: np.dtype
    size: int
    scope: str

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass
class _Slots:
    """The arrays of one kernel; a value takes the smallest free one that holds it."""

    names: Names
    all: dict[str, _Slot] = field(default_factory=dict)
    free: list[_Slot] = field(default_factory=list)

    def take(self, dtype: np.dtype, size: int, scope: str) -> str:
        """The name of an array for `size` elements; 16-bit floats are held in 32 bits."""
        dtype, size = accumulation_dtype(dtype), max(1, size)
        # A single element keeps to itself: an array that is indexed does not become a register.
        fits = [s for s in self.free if (s.dtype, s.scope) == (dtype, scope) and (s.size == 1) == (size == 1)]
        if not fits:
            slot = _Slot(self.names.fresh(f"v{len(self.all)}"), dtype, size, scope)
            self.all[slot.name] = slot
            return slot.name
        slot = min(fits, key=lambda s: (s.size < size, abs(s.size - size)))
        self.free.remove(slot)
        slot.size = max(slot.size, size)
        return slot.name

    def give_back(self, name: str) -> None:
        """The array may hold another value."""
        self.free.append(self.all[name])

    def settle(self, on_chip: Mapping[str, int]) -> tuple[list[Stmt], list[Value]]:
        """Declarations of what fits on chip, the smallest first, and scratch memory for the rest."""
        room = dict(on_chip)
        arrays: list[Stmt] = []
        scratch: list[Value] = []
        for slot in sorted(self.all.values(), key=lambda s: s.nbytes):
            if slot.nbytes <= room[slot.scope]:
                room[slot.scope] -= slot.nbytes
                arrays.append(DeclareArray(slot.name, slot.dtype, slot.size, slot.scope))
            else:
                scratch.append(Value(slot.name, (slot.size,), slot.dtype, slot.dtype, "global"))
        return arrays, scratch


# ----------------------------------------------------------------------------------------- writing


@dataclass(frozen=True, eq=False)
class _Results:
    """Where a program's results belong. `late[k]` is the input whose place target k is: a carry, which may be written
    only when nothing reads the old one any more."""

    program: Program
    targets: Sequence[Place]
    late: Sequence[Var | None]

    @property
    def outputs(self) -> tuple[Atom, ...]:
        """The values."""
        return self.program.jaxpr.outputs

    def number(self, var: Var) -> int | None:
        """The number of the first result that a value is."""
        return self.outputs.index(var) if var in self.outputs else None


class _Writer:
    """Writes the statements of a loop's kernel."""

    def __init__(self, loop: Inner, capabilities: Capabilities):
        self.loop, self.capabilities = loop, capabilities
        self.threads = block_threads(loop, capabilities)
        self.thread = local(0, self.threads)
        self.names = Names()
        self.slots = _Slots(self.names)
        self.statements: list[Stmt] = []
        self.flops, self.trips = 0, 1
        self.variables: dict[str, Atom] = {}
        self.made: dict[LoopNest, list[Piece]] = {}
        # What threads have read and written since they last waited for each other.
        self.reads: set[str] = set()
        self.writes: set[str] = set()

    def finish(self, number: int) -> LoopKernel:
        """The kernel."""
        eqn = self.loop.eqn
        env = {v: self._parameter(v) for v in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var))}
        self._inner(self.loop, env, [self._parameter(v) for v in eqn.outputs])
        cpu = self.capabilities.host_memory
        on_chip = {"private": PRIVATE_BYTES[cpu], "shared": min(SHARED_BYTES, self.capabilities.shared_bytes)}
        arrays, scratch = self.slots.settle(on_chip)
        if self.threads > 1 and any(self.slots.all[v.name].scope == "private" for v in scratch):
            raise Refused
        if sum(prod(v.shape) * v.dtype.itemsize for v in scratch) > SCRATCH_BYTES:
            raise Refused
        body = (*arrays, *self.statements)
        used, written = touched(body)
        params = [KernelParam(name, atom.aval.dtype, "pointer", name in written, False)
                  for name, atom in self.variables.items() if name in used]
        params += [KernelParam(v.name, v.dtype, "pointer", True, False) for v in scratch]
        variables = {p.name: self.variables[p.name] for p in params if p.name in self.variables}
        nbytes = sum(a.aval.nbytes for a in variables.values())
        kind = anchor_kind(eqn)
        name = f"{kind}_{eqn.params['length']}" if kind == "scan" else f"{kind}_loop"
        kernel = Kernel(name, tuple(params), (1, 1, 1), (self.threads, 1, 1), body, self.flops, nbytes,
                        (number,))
        return LoopKernel(kernel, variables, tuple(scratch))

    def _parameter(self, var: Var) -> Place:
        name = self.names.fresh(f"a{len(self.variables)}")
        self.variables[name] = var
        return Place("buffer", name, var.aval.shape)

    def _scope(self, name: str) -> str:
        return self.slots.all[name].scope if name in self.slots.all else "parameter"

    def _take(self, atom: Atom, shared: bool) -> Place:
        """A place for a value; a value of one element is private to each thread unless `shared`."""
        scope = "shared" if self.threads > 1 and (shared or atom.aval.size > 1) else "private"
        return Place("buffer", self.slots.take(atom.aval.dtype, atom.aval.size, scope), atom.aval.shape)

    # ---- statements

    @contextmanager
    def _block(self) -> Iterator[list[Stmt]]:
        """The statements written inside, apart."""
        outer, self.statements = self.statements, []
        yield self.statements
        self.statements = outer

    def _wait(self) -> None:
        """All threads of the block wait for each other, if one may still have to do what another relies on."""
        if self.threads > 1 and self.reads | self.writes:
            self.statements.append(Barrier("global"))
        self.reads, self.writes = set(), set()

    def _touch(self, body: Sequence[Stmt]) -> None:
        """Wait if the statements read what other threads wrote, or write what others read or wrote."""
        used, written = touched(tuple(body))
        seen = {n for n in used if self._scope(n) != "private"}
        stored = written & seen
        if stored & (self.reads | self.writes) or seen & self.writes:
            self._wait()
        self.reads |= seen - stored
        self.writes |= stored

    def _pieces(self, nest: LoopNest) -> list[Piece]:
        """The pieces of a nest, made once for equal nests."""
        key = replace(nest, name="", equations=())
        if key not in self.made:
            self.made[key] = pieces_of(key, self.capabilities, self.threads)
        return self.made[key]

    def _add(self, pieces: Sequence[Piece], places: Mapping[str, Place]) -> None:
        """The statements of a nest, with its arguments at `places`."""
        scratch = {v.name: v for piece in pieces for v in piece.scratch}.values()
        kept = {v.name: self.slots.take(v.memory, prod(v.shape), "private") for v in scratch}
        places = {**places, **{name: Place("buffer", array) for name, array in kept.items()}}
        for piece in pieces:
            arrays = Renamer(self.names, places, self.slots.take)
            body = arrays.block(piece.body)
            body = self._by_one(body) if piece.alone and self.threads > 1 else body
            self._touch(body)
            self.statements += body
            self.flops += self.trips * piece.flops
            for name in arrays.taken:
                self.slots.give_back(name)
        for name in kept.values():
            self.slots.give_back(name)

    def _by_one(self, body: list[Stmt]) -> list[Stmt]:
        """Statements that every thread could run: what all of them see is stored by the first."""
        first = compare("eq", self.thread, const(0))
        _, written = touched(tuple(body))
        if not any(self._scope(name) == "private" for name in written):
            return [If(first, tuple(body))]
        return self._guarded(body, first)

    def _guarded(self, body: Sequence[Stmt], first: Expr) -> list[Stmt]:
        result: list[Stmt] = []
        for stmt in body:
            if isinstance(stmt, For):
                stmt = replace(stmt, body=tuple(self._guarded(stmt.body, first)))
            elif isinstance(stmt, If):
                stmt = replace(stmt, then=tuple(self._guarded(stmt.then, first)),
                               otherwise=tuple(self._guarded(stmt.otherwise, first)))
            elif isinstance(stmt, Store) and self._scope(stmt.buffer) != "private":
                stmt = If(first, (stmt,))
            result.append(stmt)
        return result

    def _copy(self, source: Place, target: Place, dtype: np.dtype) -> None:
        """Copy a value; to where it is, nothing."""
        if (source.name, source.base) == (target.name, target.base):
            return
        i = Axis("i", prod(source.shape))
        a, b = (Value(name, (i.extent,), dtype) for name in ("from", "to"))
        nest = LoopNest("copy", (i,), (a, b), (), (Map((), (Write("to", axis_index((i,)), a[axis_expr(i)]),)),))
        self._add(self._pieces(nest), {"from": source, "to": target})

    def _literal(self, atom: Literal) -> Place:
        """A place that holds a literal."""
        place = self._take(atom, shared=False)
        wide = self.slots.all[place.name].dtype
        self.statements.append(Store(place.name, const(0), cast(const(atom.value, atom.aval.dtype), wide)))
        return place

    # ---- programs

    def _program(self, program: Program, env: Mapping[Var, Place], results: _Results) -> None:
        """The items of a program, in order, and its results where they belong."""
        env = dict(env)
        made = [self._pieces(item.built.nest) if isinstance(item, Nest) else [] for item in program.items]
        reads: dict[Atom, int] = {}  # the last item that reads a value
        uses: dict[Atom, int] = {}  # the last item that has to do with it: a scatter writes its result twice
        shared: set[Var] = set()  # what threads that share out the work write
        for position, item in enumerate(program.items):
            reads.update((atom, position) for atom in item.reads)
            uses.update((atom, position) for atom in (*item.reads, *item.writes))
            shared.update(item.writes if any(not piece.alone for piece in made[position]) else ())
        direct: set[int] = set()
        ends: dict[int, list[str]] = {}  # the arrays that are free after an item
        for position, item in enumerate(program.items):
            for var in item.writes:
                if var in env:
                    continue
                number = results.number(var)
                if number is not None and self._goes_home(item, position, len(made[position]), var, number, results,
                                                          reads, var in shared):
                    env[var] = results.targets[number]
                    direct.add(number)
                    continue
                env[var] = self._take(var, var in shared)
                last = len(program.items) if number is not None else uses[var]
                ends.setdefault(last, []).append(env[var].name)
            if isinstance(item, Nest):
                places = {a.name: env[v] for a, v in zip(item.built.nest.arguments, item.built.variables)}
                self._add(made[position], places)
            else:
                self._inner(item, env, [env[v] for v in item.eqn.outputs])
            for name in ends.pop(position, ()):
                self.slots.give_back(name)
        self._copy_results(env, results, direct)
        for name in ends.pop(len(program.items), ()):
            self.slots.give_back(name)

    def _goes_home(self, item: Nest | Inner, position: int, pieces: int, var: Var, number: int, results: _Results,
                   reads: Mapping[Atom, int], shared: bool) -> bool:
        """Whether an item of so many pieces may write a result to where it belongs at once."""
        target, old = results.targets[number], results.late[number]
        scope = self._scope(target.name)
        if scope == "private" and self.threads > 1 and (var.aval.size > 1 or shared):
            return False
        if old is None:
            # Memory of the device is slow to read back.
            slow = scope == "parameter" and (var.aval.size == 1 or self.threads > 1)
            return not slow or reads.get(var, position) <= position
        if isinstance(item, Inner) or old in results.outputs:
            return False
        last = reads.get(old, -1)
        return last < position or last == position and pieces == 1 and (old, var) in item.built.in_place

    def _copy_results(self, env: Mapping[Var, Place], results: _Results, direct: set[int]) -> None:
        """Copy the results that are not where they belong. An old carry that is needed elsewhere is taken out of the
        way before any carry is written."""
        apart: list[str] = []
        copies: list[tuple[Place, Place, Atom]] = []
        left = [number for number in range(len(results.outputs)) if number not in direct]
        for number in sorted(left, key=lambda number: results.late[number] is not None):
            atom, target = results.outputs[number], results.targets[number]
            source = self._literal(atom) if isinstance(atom, Literal) else env[atom]
            if isinstance(atom, Literal):
                apart.append(source.name)
            if results.late[number] is None:
                self._copy(source, target, atom.aval.dtype)
                continue
            if atom in results.late and source.name != target.name:
                old, source = source, self._take(atom, shared=False)
                self._copy(old, source, atom.aval.dtype)
                apart.append(source.name)
            copies.append((source, target, atom))
        for source, target, atom in copies:
            self._copy(source, target, atom.aval.dtype)
        for name in apart:
            self.slots.give_back(name)

    # ---- loops

    def _inner(self, item: Inner, env: Mapping[Var, Place], homes: Sequence[Place]) -> None:
        """A loop or a branch, with its results at `homes`."""
        literals = {a: self._literal(a) for a in dict.fromkeys(item.eqn.inputs) if isinstance(a, Literal)}
        ins = [literals[a] if isinstance(a, Literal) else env[a] for a in item.eqn.inputs]
        write = {"scan": self._scan, "while": self._while, "cond": self._cond}[anchor_kind(item.eqn)]
        write(item, ins, homes)
        for place in literals.values():
            self.slots.give_back(place.name)

    def _carry(self, item: Inner, first: Sequence[Place], homes: Sequence[Place]) -> list[Place]:
        """Places of a loop's carry, filled: those of its results, if they lie in the kernel."""
        places = []
        for source, home, var in zip(first, homes, item.eqn.outputs):
            place = self._take(var, shared=False) if self._scope(home.name) == "parameter" else home
            self._copy(source, place, var.aval.dtype)
            places.append(place)
        return places

    def _hand_over(self, item: Inner, places: Sequence[Place], homes: Sequence[Place]) -> None:
        for place, home, var in zip(places, homes, item.eqn.outputs):
            if place is not home:
                self._copy(place, home, var.aval.dtype)
                self.slots.give_back(place.name)

    def _scan(self, item: Inner, ins: Sequence[Place], homes: Sequence[Place]) -> None:
        params, (body,) = item.eqn.params, item.programs
        first, count, length = params["num_consts"], params["num_carry"], params["length"]
        carry = self._carry(item, ins[first : first + count], homes)
        step = Axis(self.names.fresh("t"), length)
        at = const(length - 1) - axis_expr(step) if params["reverse"] else axis_expr(step)
        xs, ys = ([_slice(place, at) for place in part] for part in (ins[first + count :], homes[count:]))
        env = dict(zip(body.jaxpr.inputs, [*ins[:first], *carry, *xs]))
        late = [*body.jaxpr.inputs[first : first + count], *(None for _ in ys)]
        self._wait()
        self.trips *= length
        with self._block() as statements:
            self._program(body, env, _Results(body, [*carry, *ys], late))
            self._wait()
        self.trips //= length
        self.statements.append(For(step, tuple(statements)))
        self._hand_over(item, carry, homes)

    def _while(self, item: Inner, ins: Sequence[Place], homes: Sequence[Place]) -> None:
        params, (condition, body) = item.eqn.params, item.programs
        split = params["cond_nconsts"]
        first = split + params["body_nconsts"]
        carry = self._carry(item, ins[first:], homes)
        answer = condition.jaxpr.outputs[0]
        goes_on = self._take(answer, shared=False)
        self._wait()
        with self._block() as statements:
            env = dict(zip(condition.jaxpr.inputs, [*ins[:split], *carry]))
            self._program(condition, env, _Results(condition, [goes_on], [None]))
            self.statements.append(Leave(logical_not(self._scalar(goes_on, BOOL))))
            pending = self.reads, self.writes
            env = dict(zip(body.jaxpr.inputs, [*ins[split:first], *carry]))
            self._program(body, env, _Results(body, carry, body.jaxpr.inputs[first - split :]))
            self._wait()
        self.statements.append(Repeat(tuple(statements)))
        self.reads, self.writes = pending
        self.slots.give_back(goes_on.name)
        self._hand_over(item, carry, homes)

    def _cond(self, item: Inner, ins: Sequence[Place], homes: Sequence[Place]) -> None:
        index = self._scalar(ins[0], item.eqn.inputs[0].aval.dtype)
        self._wait()
        blocks: list[tuple[Stmt, ...]] = []
        for program in item.programs:
            with self._block() as statements:
                env = dict(zip(program.jaxpr.inputs, ins[1:]))
                self._program(program, env, _Results(program, homes, [None] * len(homes)))
                self._wait()
            blocks.append(tuple(statements))
        chosen = blocks[-1]
        for number in reversed(range(len(blocks) - 1)):
            chosen = (If(index <= number, blocks[number], chosen),)
        self.statements += chosen

    def _scalar(self, place: Place, dtype: np.dtype) -> Expr:
        """A value that says where to go, once all threads see it."""
        if place.name in self.writes:
            self._wait()
        return load(place.name, (const(0) if place.base is None else place.base,), dtype)


def _slice(place: Place, at: Expr) -> Place:
    """The slice of a stacked value that belongs to a step."""
    offset = simplify(at * prod(place.shape[1:]))
    return Place("buffer", place.name, place.shape[1:], offset if place.base is None else simplify(place.base + offset))
