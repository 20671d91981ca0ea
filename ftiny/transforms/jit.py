"""`jit`: trace a function once for the shapes and dtypes of its arguments, then run the compiled program.

Input: a Python function of pytrees. Output: a function with the same arguments and results whose body runs as one
program. Under another transformation it leaves one `call` equation; otherwise it compiles and runs:

    >>> double = jit(lambda x: x * 2)
    >>> double(ftiny.numpy.ones(2)), double(ftiny.numpy.ones(2)), double.trace_count
    (Array([2., 2.], dtype=float32), Array([2., 2.], dtype=float32), 1)

The warm path flattens the arguments with the structure of the last call, compares their avals with those of the last
call, and runs. Arrays that the function closes over become arguments of the program. There are two programs: the whole
one, with an input for every argument, which other transformations and users see, and the one that is compiled, which
has no inputs that no result needs (unless `keep_unused`) and no results that are inputs: those are handed on.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ftiny import array_tree as tree
from ftiny import core, dtypes
from ftiny.array import Array, ShapeDtypeStruct, arrays_of, as_array, avals_of, interned
from ftiny.core import Atom, Aval, EvalTrace, Jaxpr, Tracer
from ftiny.errors import ArgumentError, DtypeError
from ftiny.execute import executable_for, placed
from ftiny.lowering.device import Device, Memory
from ftiny.source import located
from ftiny.transforms.call import bind_call
from ftiny.transforms.checks import CheckedTrace, active_checks
from ftiny.transforms.common import FlatFunction, check_leaves, name_of
from ftiny.transforms.modes import PlainTrace
from ftiny.transforms.programs import passed_on, without_unused
from ftiny.transforms.retraces import record
from ftiny.transforms.stages import Lowered, Traced
from ftiny.transforms.vmap import named_axes


class Entry:
    """One traced specialisation of a jitted function: the program and what is needed to call it.

    `program` takes `consts` and all leaves and gives all results. `compiled` takes some of those inputs:
    `used_consts` and the leaves at the positions `used` (or None, for all). It gives the results that are no inputs,
    each once. `donated` and `compiled_donated` are positions among the inputs of the one and the other.
    """

    def __init__(
        self,
        structure,
        avals: list[Aval],
        statics: tuple,
        out_structure,
        program: Jaxpr,
        donated: tuple[int, ...],
        keep_unused: bool,
    ):
        self.structure, self.avals, self.statics, self.out_structure = structure, avals, statics, out_structure
        self.program = program.close_over()
        self.out_avals = [interned(aval.update()) for aval in program.out_avals]
        count = len(program.consts)
        self.donated = tuple(count + position for position in donated)
        passed = passed_on(self.program)
        computed = self._number_results(passed)
        smaller, used = without_unused(self.program, computed)
        whole = keep_unused or all(used)
        if whole:
            used = (True,) * len(used)
        kept = [position for position, flag in enumerate(used) if flag]
        owned = set(self.donated)
        self.compiled = smaller if not whole else smaller.replace(inputs=self.program.inputs)
        self.used = None if whole else [position - count for position in kept if position >= count]
        # What a call looks at, among consts and leaves: the inputs of `compiled`, and those that are results.
        times = Counter(position for position in passed if position is not None)
        looked_at = kept + [position for position in times if not used[position]]
        self.looked_at = None if looked_at == list(range(len(used))) else looked_at
        numbers = {position: number for number, position in enumerate(looked_at)}
        written = owned - times.keys()
        self.compiled_donated = tuple(numbers[position] for position in kept if position in written)
        # For each input that is a result, its number among those, and whether it moves there: it is donated.
        self.handed_on = [(numbers[position], position in owned and times[position] == 1) for position in times]
        # Whether one array, given as two arguments, might be written for the one while it moves for the other.
        self.may_meet = bool(self.compiled_donated) or sum(moves for _, moves in self.handed_on) > 1
        self.repeated = [n for n, count in Counter(self.places).items() if count > 1 and n < len(self.compiled.outputs)]
        # Other closed-over arrays stay as they are: a numpy array is not copied.
        self.consts = [
            x if isinstance(x, Tracer) or position not in numbers else as_array(x)
            for position, x in enumerate(program.consts)
        ]
        self.used_consts = [self.consts[position] for position in kept if position < count]
        self.executables: dict[Device, Any] = {}

    def _number_results(self, passed: tuple[int | None, ...]) -> tuple[bool, ...]:
        """Which results `compiled` gives. `places` is where each result is among those, followed by the inputs that are
        results."""
        numbers: dict[Atom, int] = {}
        computed = []
        for atom, position in zip(self.program.outputs, passed):
            computed.append(position is None and atom not in numbers)
            if computed[-1]:
                numbers[atom] = len(numbers)
        inputs = [position for position in dict.fromkeys(passed) if position is not None]
        after = {position: len(numbers) + number for number, position in enumerate(inputs)}
        self.places = [
            numbers[atom] if position is None else after[position]
            for atom, position in zip(self.program.outputs, passed)
        ]
        return tuple(computed)

    def run(self, leaves: Sequence) -> Any:
        """Run on concrete leaves; the result as a pytree."""
        return self.out_structure.unflatten(self.run_flat(leaves))

    def run_flat(self, leaves: Sequence) -> list[Array]:
        """Run on concrete leaves; the leaves of the result."""
        values = [*self.consts, *leaves] if self.consts else leaves
        if self.looked_at is not None:
            values = [values[position] for position in self.looked_at]
        device, bound, memories = placed(values)
        executable = self.executables.get(device)
        if executable is None:
            executable = self.executables[device] = executable_for(self.compiled, device, self.compiled_donated)
        if self.handed_on:
            # Before the run, which must not write to them.
            handed_on = self._handed_on(memories)
            given = memories[: len(self.compiled.inputs)]
            results = executable.run(given, self.compiled_donated) + handed_on
        else:
            results = executable.run(memories, self.compiled_donated)
        for number in self.repeated:
            results[number] = results[number].alias()
        if self.donated:
            self._delete_donated(leaves)
        return arrays_of(self.out_avals, [results[place] for place in self.places], bound)

    def _handed_on(self, memories: Sequence[Memory]) -> list[Memory]:
        """The memories of the arguments that are results."""
        found = []
        distinct = not self.may_meet or len(set(map(id, memories))) == len(memories)
        for position, moves in self.handed_on:
            memory = memories[position]
            # A donated one simply moves, if it is not also another argument.
            if not (memory.aliased or moves and distinct and not memory.shared):
                memory = memory.alias()
            found.append(memory)
        return found

    def _delete_donated(self, leaves: Sequence) -> None:
        """Donated arrays can not be used any more, whether a result took their memory or not, and whether the program
        uses them or not: which ones it takes depends on sizes and devices, and a program should not."""
        for position in self.donated:
            x = leaves[position - len(self.consts)]
            if type(x) is Array:
                x.delete()


class Jitted:
    """What `jit` returns: a callable with a table of traced programs.

    `trace_count` counts how often the function has been traced; `program(*args)` is the program for these arguments.
    """

    def __init__(
        self,
        function: Callable,
        static: tuple[int, ...],
        static_names: tuple[str, ...],
        donate: tuple[int, ...],
        donate_names: tuple[str, ...],
        name: str | None,
        inline: bool,
        keep_unused: bool,
    ):
        functools.update_wrapper(self, function)
        self.function, self.name = function, name or name_of(function)
        self._static, self._static_names = static, static_names
        self._donate, self._donate_names = donate, donate_names
        self._inline, self._keep_unused = inline, keep_unused
        self._entries: dict[Hashable, Entry] = {}
        self._last: Entry | None = None
        self._lock = threading.Lock()
        self.trace_count = 0

    def __call__(self, *args, **kwargs):
        """The results of the function for these arguments."""
        last = self._last
        if last is not None and type(core._state.trace) is EvalTrace:
            dynamic = (args, kwargs)
            if self._static or self._static_names:
                *dynamic, statics = self.separate(args, kwargs)
                dynamic = tuple(dynamic)
                if statics != last.statics:
                    return self._call(args, kwargs)
            try:
                leaves = last.structure.flatten_up_to(dynamic)
                avals = avals_of(leaves)
            except (ValueError, TypeError):  # another structure, or a leaf that is no array
                return self._call(args, kwargs)
            if avals == last.avals:
                return last.out_structure.unflatten(last.run_flat(leaves))
        return self._call(args, kwargs)

    def __get__(self, instance, owner=None):
        """A jitted method: `self` is the first argument."""
        return self if instance is None else functools.partial(self, instance)

    def separate(self, args: tuple, kwargs: dict) -> tuple[tuple, dict, tuple]:
        """The traced arguments, and the static ones with their types (1 and 1.0 are not the same static value)."""
        static = {
            position % len(args) if args else 0 for position in self._static if -len(args) <= position < len(args)
        }
        dynamic = tuple(None if i in static else x for i, x in enumerate(args))
        named = {key: value for key, value in kwargs.items() if key not in self._static_names}
        statics = tuple((i, type(args[i]), args[i]) for i in sorted(static))
        statics += tuple((key, type(kwargs[key]), kwargs[key]) for key in sorted(kwargs) if key in self._static_names)
        return dynamic, named, statics

    def _call(self, args: tuple, kwargs: dict):
        trace = core.current_trace()
        if isinstance(trace, PlainTrace):
            return self.function(*args, **kwargs)
        entry, leaves = self._lookup(args, kwargs)
        if isinstance(trace, CheckedTrace):
            return tree.unflatten(entry.out_structure, trace.run(entry.program, [*entry.consts, *leaves]))
        if isinstance(trace, EvalTrace):
            if entry.used is not None:
                refuse_tracers(leaves)  # an unused one would pass unseen
            self._last = entry
            return entry.run(leaves)
        values = [*entry.consts, *leaves]
        outs = core.eval_jaxpr(entry.program, *values) if self._inline else bind_call(entry.program, values, self.name)
        return tree.unflatten(entry.out_structure, outs)

    def _lookup(self, args: tuple, kwargs: dict) -> tuple[Entry, list]:
        """The program for these arguments, traced if there is none yet, and the leaves."""
        dynamic, named, statics = self.separate(args, kwargs)
        self._check_static(statics)
        leaves, structure = tree.flatten((dynamic, named))
        self._check_leaves(args, kwargs, dynamic, named, leaves)
        avals = [interned(core.get_aval(x)) for x in leaves]
        key = (structure, tuple(avals), statics, (named_axes(), active_checks()))
        entry = self._entries.get(key)
        if entry is None:
            record(self.function, self.name, key, self._entries.values())
            entry = self._trace(args, kwargs, structure, avals, statics)
            if not any(isinstance(c, Tracer) for c in entry.consts):
                with self._lock:
                    entry = self._entries.setdefault(key, entry)
        return entry, leaves

    def _trace(self, args: tuple, kwargs: dict, structure, avals: list[Aval], statics: tuple) -> Entry:
        fixed = {key: value for key, _, value in statics}

        def function(*dynamic, **named):
            full = [fixed.get(i, x) for i, x in enumerate(dynamic)]
            return self.function(*full, **named, **{k: v for k, v in fixed.items() if isinstance(k, str)})

        functools.update_wrapper(function, self.function)
        flat = FlatFunction(function, structure, has_keywords=True)
        with self._lock:
            self.trace_count += 1
        program = core.stage(flat, avals, f"jit({self.name})")
        donated = self._donated_leaves(args, kwargs, fixed)
        return Entry(structure, avals, statics, flat.out_structure, program, donated, self._keep_unused)

    def _donated_leaves(self, args: tuple, kwargs: dict, fixed: dict) -> tuple[int, ...]:
        """Positions, among the leaves, of donated arguments."""
        donate = {position % len(args) for position in self._donate if -len(args) <= position < len(args)}
        positions: list[int] = []
        start = 0
        named = {key: kwargs[key] for key in sorted(kwargs) if key not in fixed}
        for key, value in [*enumerate(args), *named.items()]:
            count = 0 if key in fixed else len(tree.leaves(value))
            if key in donate or key in self._donate_names:
                positions += range(start, start + count)
            start += count
        return tuple(positions)

    def _check_static(self, statics: tuple) -> None:
        for key, kind, value in statics:
            try:
                hash(value)
            except TypeError:
                raise ArgumentError(
                    located(
                        f"jit({self.name}): static argument {key!r} must be hashable, but a {kind.__name__} is not: "
                        f"{str(value)[:60]!r}. Pass a tuple instead of a list, or do not mark it as static"
                    )
                ) from None

    def _check_leaves(self, args: tuple, kwargs: dict, dynamic: tuple, named: dict, leaves: list) -> None:
        for x in leaves:
            if isinstance(x, np.ndarray) and x.dtype.kind not in "biufc" and str(x.dtype) != "bfloat16":
                raise DtypeError(
                    located(
                        f"jit({self.name}): {_argument_of(x, args, kwargs)} is a numpy array of dtype {x.dtype}, of "
                        "which there are no arrays; convert it to numbers, or mark the argument as static "
                        "(static_argnums)"
                    )
                )
        check_leaves(f"jit({self.name})", dynamic)
        for key, value in named.items():
            check_leaves(f"jit({self.name}), keyword {key!r}", (value,))

    def program(self, *args, **kwargs) -> Jaxpr:
        """The program for these arguments (arrays or `ShapeDtypeStruct`); its first inputs are what it closed over.

        It has an input for every argument, used or not, since other transformations take it so. The inputs of what is
        compiled are those of `lower(...).as_text()`.
        """
        dynamic, named, statics = self.separate(args, kwargs)
        leaves, structure = tree.flatten((dynamic, named))
        return self._trace(args, kwargs, structure, [core.get_aval(x) for x in leaves], statics).program

    def trace(self, *args, **kwargs) -> Traced:
        """The function traced for these arguments (arrays or `ShapeDtypeStruct`), as `stages.py` describes."""
        args, kwargs = tree.map(_stand_in, (args, kwargs))
        return Traced(self, self._lookup(args, kwargs)[0])

    def lower(self, *args, **kwargs) -> Lowered:
        """The kernels of the function for these arguments (arrays or `ShapeDtypeStruct`), on the current device."""
        return self.trace(*args, **kwargs).lower()

    def clear_cache(self) -> None:
        """Forget all traced programs."""
        with self._lock:
            self._entries.clear()
            self._last = None

    def __repr__(self) -> str:
        return f"<jit of {self.name}>"


def _stand_in(x):
    """For a `ShapeDtypeStruct` an array of its shape and dtype, whose elements are all the same one."""
    return np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, ShapeDtypeStruct) else x


def refuse_tracers(leaves: Sequence) -> None:
    """Raise the error of a leaked tracer if one is among the leaves."""
    for x in leaves:
        if isinstance(x, Tracer):
            as_array(x)


def _argument_of(leaf, args: tuple, kwargs: dict) -> str:
    """Where among the arguments an object is, for a message."""
    for key, value in [*enumerate(args), *kwargs.items()]:
        for path, found in tree.leaves_with_path(value):
            if found is leaf:
                return f"argument {key}{tree.keystr(path)}"
    return "an argument"


def jit(
    function: Callable | None = None,
    *,
    static_argnums=(),
    static_argnames=(),
    donate_argnums=(),
    donate_argnames=(),
    keep_unused: bool = False,
    inline: bool = False,
    name: str | None = None,
) -> Any:
    """`function`, traced once for each structure, shapes and dtypes of its arguments, and compiled.

    Args:
        static_argnums, static_argnames: positional arguments or names that are Python values for the function; they
            must be hashable, and each new value is traced anew. A positional argument named by static_argnums and a
            keyword with its name are the same argument.
        donate_argnums, donate_argnames: arguments whose memory the program may reuse for its results. These arrays can
            not be used again.
        keep_unused: also hand to the compiled program the arguments, and the arrays closed over, that no result and no
            effect needs. By default these are not moved to the device, and have no say in which device that is.
        inline: leave the function's equations in an enclosing program, instead of one `call` equation. The compiled
            program is the same; only what is printed differs.
        name: what the program is called in logs (default: the function's name).

    Also a decorator: `@jit` or `@jit(static_argnums=0)`. Raises `TracerError` for an argument that is no array and not
    static, `ArgumentError` for a static one that is not hashable.
    """
    if function is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
            donate_argnames=donate_argnames,
            keep_unused=keep_unused,
            inline=inline,
            name=name,
        )
    if not callable(function):
        raise ArgumentError(located(f"jit takes a function, not a {type(function).__name__}"))
    static, static_names = _both_ways(function, static_argnums, static_argnames)
    donate, donate_names = _both_ways(function, donate_argnums, donate_argnames)
    return Jitted(function, static, static_names, donate, donate_names, name, inline, keep_unused)


def _both_ways(function: Callable, numbers, names) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Positions and names of arguments, each completed by the other through the function's signature."""
    numbers = (numbers,) if isinstance(numbers, (int, np.integer)) else tuple(numbers)
    names = (names,) if isinstance(names, str) else tuple(names)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return tuple(map(int, numbers)), names
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    known = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        known |= set(names)
    for name in names:
        if name not in known:
            raise ArgumentError(located(f"jit: {name_of(function)} has no argument {name!r}; it has {sorted(known)}"))
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for number in numbers:
        if not variadic and not -len(positional) <= number < len(positional):
            raise ArgumentError(
                located(f"jit: {name_of(function)} has no positional argument {number}; it has {len(positional)}")
            )
    both_names = names + tuple(positional[n] for n in numbers if -len(positional) <= n < len(positional))
    both_numbers = tuple(map(int, numbers)) + tuple(positional.index(n) for n in names if n in positional)
    return tuple(dict.fromkeys(both_numbers)), tuple(dict.fromkeys(both_names))


# ---- programs for people --------------------------------------------------------------------------------------------


def make_jaxpr(function: Callable, static_argnums=(), return_shape: bool = False) -> Callable:
    """A function of the same arguments (arrays or `ShapeDtypeStruct`) that gives the traced program, which prints.

    With `return_shape` it gives `(program, tree of ShapeDtypeStruct of the results)`.
    """
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    @functools.wraps(function)
    def program_of(*args, **kwargs):
        fixed = {number % len(args): args[number] for number in static}
        dynamic = tuple(None if i in fixed else x for i, x in enumerate(args))
        leaves, structure = tree.flatten((dynamic, kwargs))

        def full(*values, **named):
            return function(*(fixed.get(i, x) for i, x in enumerate(values)), **named)

        flat = FlatFunction(functools.update_wrapper(full, function), structure, has_keywords=True)
        program = core.stage(flat, [_aval_of(x) for x in leaves], f"make_jaxpr({name_of(function)})")
        if not return_shape:
            return program
        return program, tree.unflatten(
            flat.out_structure, [ShapeDtypeStruct(a.shape, a.dtype) for a in program.out_avals]
        )

    return program_of


def _aval_of(x) -> Aval:
    """The aval of an array, or of anything that has a shape and a dtype."""
    if (
        not isinstance(x, (np.ndarray, np.generic))
        and not hasattr(x, "aval")
        and hasattr(x, "shape")
        and hasattr(x, "dtype")
    ):
        return Aval(tuple(x.shape), dtypes.dtype(x.dtype))
    return core.get_aval(x)


def eval_shape(function: Callable, *args, **kwargs):
    """The shapes and dtypes of `function(*args, **kwargs)` as a tree of `ShapeDtypeStruct`; nothing is computed.

    Arguments are arrays or `ShapeDtypeStruct`.
    """
    return make_jaxpr(function, return_shape=True)(*args, **kwargs)[1]
