"""A jitted function in stages, without running it: traced, lowered, compiled.

Input: `jit(f)` and arguments, or `ShapeDtypeStruct`s in their place. Output: what each stage made, to look at, and at
the end a function that takes arguments of exactly these shapes and dtypes:

    >>> traced = jit(lambda x: x @ x).trace(ShapeDtypeStruct((4, 4), "float32"))
    >>> traced.out_info
    ShapeDtypeStruct(shape=(4, 4), dtype=float32)
    >>> traced.lower().cost_analysis()["flops"]
    128.0
    >>> compiled = traced.lower().compile()
    >>> compiled(ftiny.numpy.eye(4)).shape
    (4, 4)

`jit(f).lower(*args)` is `jit(f).trace(*args).lower()`. What is compiled here is what a call of the jitted function
runs: the stages use the same tables and the same caches on disk. The traced program has an input for every argument;
the lowered one has none for those that no result needs, unless `jit` was told `keep_unused`, and its text, cost and
memory do not count them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftiny import array_tree as tree
from ftiny import core
from ftiny.array import ShapeDtypeStruct
from ftiny.core import Aval, Jaxpr, Tracer
from ftiny.errors import ArgumentError
from ftiny.execute import executable_for
from ftiny.lowering import make_plan
from ftiny.lowering.cost import MemoryUse, aliases_of, cost_of, memory_of
from ftiny.lowering.device import Device, default_device
from ftiny.lowering.liveness import Lines
from ftiny.lowering.plan_types import Plan, nested_plans
from ftiny.lowering.profile import format_bytes
from ftiny.source import located
from ftiny.transforms.programs import passed_on

if TYPE_CHECKING:
    from ftiny.transforms.jit import Entry, Jitted


def argument_names(structure) -> list[str]:
    """Where each leaf stands among the arguments: `"argument 0['w']"`, or `"argument 'x'"` for a keyword."""
    args, kwargs = tree.unflatten(structure, list(range(structure.num_leaves)))
    places = [(str(position), value) for position, value in enumerate(args)]
    places += [(repr(name), value) for name, value in sorted(kwargs.items())]
    return [
        f"argument {place}{tree.keystr(path)}" for place, value in places for path, _ in tree.leaves_with_path(value)
    ]


class Traced:
    """The program of a jitted function for given arguments."""

    def __init__(self, jitted: Jitted, entry: Entry):
        self._jitted, self._entry, self.name = jitted, entry, jitted.name

    @property
    def jaxpr(self) -> Jaxpr:
        """The program; its first inputs are the arrays that the function closed over, then come all arguments."""
        return self._entry.program

    @property
    def out_info(self) -> Any:
        """The results as a pytree of `ShapeDtypeStruct`."""
        return tree.unflatten(
            self._entry.out_structure, [ShapeDtypeStruct(a.shape, a.dtype) for a in self._entry.out_avals]
        )

    def lower(self, device: Device | None = None) -> Lowered:
        """The program as kernels for a device (default: the current one). Raises `ArgumentError` for a function that
        closed over values of an enclosing transformation."""
        if any(isinstance(c, Tracer) for c in self._entry.consts):
            raise ArgumentError(
                located(
                    f"{self.name} was traced inside another transformation and closed over its values; lower it outside"
                )
            )
        return Lowered(self._jitted, self._entry, device or default_device())

    def __repr__(self) -> str:
        return f"<{self.name}, traced for {', '.join(map(str, self._entry.avals))}>"


class Lowered:
    """A program as kernels and a plan; nothing has been handed to the device's compiler."""

    def __init__(self, jitted: Jitted, entry: Entry, device: Device):
        self._jitted, self._entry, self.name, self.device = jitted, entry, jitted.name, device
        self.plan: Plan | None = None
        self.lines: Lines = {}
        if device.capabilities.dialect != "numpy":
            from ftiny.lowering.compiler import Compiler

            self.plan, self.lines = make_plan(entry.compiled, Compiler(device.capabilities), entry.compiled_donated)

    def as_text(self) -> str:
        """The plan and the source of every kernel; for the interpreter, which has none, the program."""
        if self.plan is None:
            return str(self._entry.compiled)
        kernels = {kernel.text: None for plan in nested_plans(self.plan) for kernel in plan.kernels}
        return "\n\n".join([str(self.plan), *kernels])

    def cost_analysis(self) -> dict[str, float]:
        """`flops`, `bytes accessed` and `launches` of one run, counted, not measured (`lowering/cost.py` says how);
        empty for the interpreter."""
        if self.plan is None:
            return {}
        cost = cost_of(self.plan)
        return {"flops": float(cost.flops), "bytes accessed": float(cost.bytes), "launches": float(cost.launches)}

    def compile(self) -> Compiled:
        """The program, loaded on the device."""
        return Compiled(self)


class Compiled:
    """A compiled program: call it with arguments of the shapes and dtypes it was made for."""

    def __init__(self, lowered: Lowered):
        self._lowered, self._entry, self.name, self.device = lowered, lowered._entry, lowered.name, lowered.device
        entry = self._entry
        if self.device not in entry.executables:
            entry.executables[self.device] = executable_for(entry.compiled, self.device, entry.compiled_donated)

    def __call__(self, *args, **kwargs):
        """The results. Raises `ArgumentError` for arguments of another structure, shape or dtype."""
        entry, name = self._entry, self.name
        *dynamic, statics = self._lowered._jitted.separate(args, kwargs)
        leaves, structure = tree.flatten(tuple(dynamic))
        if structure != entry.structure or statics != entry.statics:
            raise ArgumentError(
                located(
                    f"{name} was compiled for arguments of the structure {entry.structure}"
                    + f"{_static_text(entry.statics)}, but was called with {structure}{_static_text(statics)}; call "
                    "the jitted function instead, which compiles for each"
                )
            )
        self._check_avals([core.get_aval(x) for x in leaves])
        from ftiny.lowering.device import device

        with device(self.device):
            return entry.run(leaves)

    def _check_avals(self, avals: Sequence[Aval]) -> None:
        names = argument_names(self._entry.structure)
        for found, expected, name in zip(avals, self._entry.avals, names):
            if (found.shape, found.dtype, found.scalar) != (expected.shape, expected.dtype, expected.scalar):
                raise ArgumentError(
                    located(
                        f"{self.name} was compiled for {expected} as {name}, but was called with {found}; call "
                        "the jitted function instead, which compiles for each"
                    )
                )

    def as_text(self) -> str:
        """The plan and the source of every kernel."""
        return self._lowered.as_text()

    def cost_analysis(self) -> dict[str, float]:
        """See `Lowered.cost_analysis`."""
        return self._lowered.cost_analysis()

    def memory_analysis(self) -> MemoryUse | None:
        """Bytes of arguments, results, temporaries and aliases, and which lines hold how much at the peak (print it);
        None for the interpreter.

            print(jit(grad(loss)).lower(params, batch).compile().memory_analysis())
        """
        lowered = self._lowered
        if lowered.plan is None:
            return None
        entry, names = self._entry, argument_names(self._entry.structure)
        closed_over = [f"closed-over array {number}" for number in range(len(entry.used_consts))]
        used = names if entry.used is None else [names[position] for position in entry.used]
        return memory_of(lowered.plan, lowered.lines, closed_over + used)

    def donation_report(self) -> str:
        """A line for each donated argument: which result took its memory over, or that none did."""
        plan, entry = self._lowered.plan, self._entry
        names = argument_names(entry.structure)
        aliases = aliases_of(plan) if plan is not None else {}
        results = tree.unflatten(entry.out_structure, list(range(len(entry.out_avals))))
        places = [f"result{tree.keystr(path)}" for path, _ in tree.leaves_with_path(results)]
        used = range(len(entry.avals)) if entry.used is None else entry.used
        inputs = {leaf: len(entry.used_consts) + number for number, leaf in enumerate(used)}
        moved = {position: number for number, position in enumerate(passed_on(entry.program)) if position is not None}
        lines = []
        for position in entry.donated:
            leaf = position - len(entry.consts)
            number = aliases.get(inputs.get(leaf, -1))
            result = moved.get(position) if number is None else entry.places.index(number)
            taken = "is used by no result" if result is None else f"becomes {places[result]}"
            lines.append(f"{names[leaf]} ({entry.avals[leaf]}) {taken}")
        return "\n".join(lines) or "nothing is donated"

    def __repr__(self) -> str:
        plan = self._lowered.plan
        size = "" if plan is None else f", {len(plan.kernels)} kernels, arena {format_bytes(plan.arena_bytes)}"
        return f"<{self.name}, compiled for {self.device.name}{size}>"


def _static_text(statics: tuple) -> str:
    return "".join(f", static {key!r} = {value!r}" for key, _, value in statics)
