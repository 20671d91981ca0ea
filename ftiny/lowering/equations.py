"""Numbers for the equations of a program and of the programs inside it, and the user's lines behind them.

Input: a simplified program. Output: `Lines`, a mapping from an equation's number to the lines that it stands for. An
equation of the program itself has its position as number; one of the body of a loop or branch has the number of the
loop in it, so that a plan needs no table of lines (it is shared by programs with other lines). The lines of a loop are
its own and those of its bodies:

    number = numbered(0, 7)                  # 7: equation 7 of the program, a scan
    body = inside(number, 0)                 # its first and only body
    numbered(body, 3)                        # equation 3 of that body
    Lines(simplified)[numbered(body, 3)]     # (Source(file='train.py', line=12, ...),)

Bodies are simplified again when one of their lines is asked for, which happens only when something is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ftiny.core import subprograms
from ftiny.lowering.simplify import Simplified, simplify
from ftiny.source import Source

_POSITIONS = 1 << 24  # equations of one program
_BODIES = 1 << 10  # programs in one equation


def numbered(prefix: int, position: int) -> int:
    """The number of the equation at a position of the program that `prefix` stands for (0: the outermost one)."""
    assert position < _POSITIONS, position
    return prefix * _POSITIONS + position


def inside(number: int, body: int) -> int:
    """The prefix of the program that is the `body`-th one inside the equation of that number."""
    assert body < _BODIES, body
    return number * _BODIES + body + 1


class Lines(Mapping[int, tuple[Source, ...]]):
    """The user's lines that each equation of a simplified program, and of the programs inside it, stands for."""

    def __init__(self, simplified: Simplified):
        self._programs = {0: simplified}

    def __getitem__(self, number: int) -> tuple[Source, ...]:
        prefix, position = divmod(number, _POSITIONS)
        program = self._program(prefix)
        if position >= len(program.sources):
            raise KeyError(number)
        found = dict.fromkeys(program.sources[position])
        # A loop may be one kernel: it stands for the lines of its bodies too.
        for body in range(len(subprograms(program.jaxpr.eqns[position]))):
            within = inside(number, body)
            for inner in range(len(self._program(within).sources)):
                found.update(dict.fromkeys(self[numbered(within, inner)]))
        return tuple(found)

    def _program(self, prefix: int) -> Simplified:
        if prefix not in self._programs:
            number, body = divmod(prefix - 1, _BODIES)
            around, position = divmod(number, _POSITIONS)
            eqns = self._program(around).jaxpr.eqns
            bodies = subprograms(eqns[position]) if position < len(eqns) else []
            if body >= len(bodies):
                raise KeyError(number)
            self._programs[prefix] = simplify(bodies[body])
        return self._programs[prefix]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self._programs[0].sources)
