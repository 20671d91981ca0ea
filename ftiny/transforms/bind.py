"""`bind`: a jitted function for arguments of one structure and fixed shapes, for loops in which Python's part counts.

Input: a function and example arguments. Output: a callable that is traced and compiled, and never traces again:

    step = ftiny.bind(ftiny.jit(update, donate_argnums=0), state, batch)
    for batch in batches:
        state = step(state, batch)

A call flattens, compares avals by identity and runs. `flat` leaves out the pytrees too:

    >>> double = bind(lambda pair: (pair[0] * 2, pair[1]), (x, y))
    >>> double.flat([x, y])
    [Array([2., 4.], dtype=float32), Array([7.], dtype=float32)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ftiny import array_tree as tree
from ftiny import core
from ftiny.array import Array, avals_of
from ftiny.core import Aval, EvalTrace
from ftiny.errors import ArgumentError
from ftiny.source import located
from ftiny.transforms.jit import Jitted, jit, refuse_tracers
from ftiny.transforms.stages import argument_names

if TYPE_CHECKING:
    from ftiny.transforms.jit import Entry


def bind(function: Callable, *args, **kwargs) -> Bound:
    """`function`, jitted and compiled for arguments like these, which may be `ShapeDtypeStruct`s; it is not run.

    The result takes arguments of the same structure, shapes and dtypes and raises `ArgumentError` for others, where a
    jitted function would be traced again. `donate_argnums` and static arguments are those of `jit`, if the function is
    jitted. Inside another transformation it is an ordinary call of the jitted function.

        step = ftiny.bind(ftiny.jit(update, donate_argnums=0), state, batch)
        for batch in batches:
            state = step(state, batch)

    `step.flat(leaves)` takes and gives lists of leaves, in the order of `ftiny.tree.leaves((args, kwargs))`; a typed
    key is its array of words there.
    """
    jitted = function if isinstance(function, Jitted) else jit(function)
    traced = jitted.trace(*args, **kwargs)
    traced.lower().compile()
    return Bound(jitted, traced._entry)


class Bound:
    """What `bind` returns."""

    def __init__(self, jitted: Jitted, entry: Entry):
        self._jitted, self._entry = jitted, entry

    def __call__(self, *args, **kwargs) -> Any:
        """The results for these arguments."""
        entry = self._entry
        if type(core.current_trace()) is not EvalTrace:
            return self._jitted(*args, **kwargs)
        dynamic: Sequence = (args, kwargs)
        if entry.statics:
            *dynamic, statics = self._jitted.separate(args, kwargs)
            if statics != entry.statics:
                bound, given = _values(entry.statics), _values(statics)
                raise ArgumentError(located(f"{self!r} was bound to the static arguments {bound}, not {given}"))
        try:
            leaves = entry.structure.flatten_up_to(tuple(dynamic))
        except ValueError as problem:
            raise ArgumentError(
                located(f"{self!r} takes arguments of the structure {entry.structure}, but {problem}")
            ) from None
        return entry.out_structure.unflatten(self._run(leaves))

    def flat(self, leaves: Sequence) -> list[Array]:
        """The leaves of the result for the leaves of the arguments (static ones left out)."""
        if type(core.current_trace()) is not EvalTrace:
            args, named = tree.unflatten(self._entry.structure, leaves)
            fixed = {key: value for key, _, value in self._entry.statics}
            full = [fixed.get(position, x) for position, x in enumerate(args)]
            return tree.leaves(self._jitted(*full, **named, **{k: v for k, v in fixed.items() if isinstance(k, str)}))
        return self._run(leaves)

    def _run(self, leaves: Sequence) -> list[Array]:
        try:
            avals = avals_of(leaves)
        except TypeError:
            refuse_tracers(leaves)
            raise
        if avals != self._entry.avals:
            self._refuse(avals)
        return self._entry.run_flat(leaves)

    def _refuse(self, avals: Sequence[Aval]) -> None:
        expected = self._entry.avals
        if len(avals) != len(expected):
            raise ArgumentError(located(f"{self!r} takes {len(expected)} leaves, but {len(avals)} were given"))
        for name, found, wanted in zip(argument_names(self._entry.structure), avals, expected):
            if found != wanted:
                raise ArgumentError(
                    located(
                        f"{self!r} takes {wanted} as {name}, but was called with {found}; call the jitted function, "
                        "which compiles for each, or bind it again"
                    )
                )

    def __repr__(self) -> str:
        return f"<{self._jitted.name}, bound>"


def _values(statics: tuple) -> str:
    return ", ".join(f"{key!r} = {value!r}" for key, _, value in statics) or "none"
