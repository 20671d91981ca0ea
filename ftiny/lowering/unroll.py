"""Loops whose length is known, laid out before they run: one graph of launches instead of one for each trip.

Input: a `Plan`. Output: a `Plan` that computes the same. A `Loop` of a scan becomes the launches of all its trips, each
with the addresses of its own slices, and joins the launches before and after it, so that a device with graphs (CUDA)
starts the whole program at once, and others need no Python between two trips:

    loop 3 times (c0) -> (c) xs=(xs) ys=()          graph
      body:                                  ->       add<<<...>>>(c0, xs, c)
        graph                                         add<<<...>>>(c, xs+4, spare)
          add<<<...>>>(x0, x1, r0)                    add<<<...>>>(spare, xs+8, c)

A carry that is also a `y`, before or after the trip, is written into its slice of `ys` and read there by the next trip:
nothing is copied but for the first or the last trip. This is done when a program is loaded, so that what is kept on
disk stays short. A loop stays as it is when its body calls the host or branches, when it would make more launches than
the device's driver wants at once, and in the rare cases that `_homes` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ftiny.lowering.plan_types import (
    Arena,
    Argument,
    Branch,
    Constant,
    Copy,
    Graph,
    KernelParam,
    Launch,
    Loop,
    Plan,
    Pointer,
    Result,
    Scalar,
    Size,
    Step,
    TensorMap,
)


def unroll(plan: Plan, most_launches: int) -> Plan:
    """The plan with every loop laid out that can be, in the plans inside loops and branches too.

    Args:
        most_launches: a loop of more launches than this stays a loop.
    """
    layout = _Layout(plan, most_launches)
    for step in plan.steps:
        layout.add(step)
    return layout.plan()


class _Layout:
    """The plan that is being made: what the laid out bodies add to its buffers, kernels and constants."""

    def __init__(self, plan: Plan, most_launches: int):
        self.outer, self.most_launches = plan, most_launches
        self.buffers, self.kernels, self.constants = list(plan.buffers), list(plan.kernels), list(plan.constants)
        self.steps: list[Step] = []

    def plan(self) -> Plan:
        """What was made."""
        return replace(self.outer, buffers=tuple(self.buffers), kernels=tuple(self.kernels),
                       constants=tuple(self.constants), steps=tuple(self.steps))

    def add(self, step: Step) -> None:
        """One more step of the outer plan; launches join those before them."""
        if isinstance(step, Branch):
            step = replace(step, branches=tuple(map(self._inner, step.branches)))
        if isinstance(step, Loop):
            step = replace(step, body=self._inner(step.body), cond=self._inner(step.cond) if step.cond else None)
            if self._lay_out(step):
                return
        self._append(step)

    def _inner(self, plan: Plan) -> Plan:
        return unroll(plan, self.most_launches)

    def _append(self, step: Step) -> None:
        last = self.steps[-1] if self.steps else None
        if isinstance(step, Graph) and isinstance(last, Graph):
            self.steps[-1] = Graph(last.launches + step.launches)
        else:
            self.steps.append(step)

    def _lay_out(self, loop: Loop) -> bool:
        """Whether the loop could be laid out, and was."""
        body = loop.body
        launches = [launch for step in body.steps if isinstance(step, Graph) for launch in step.launches]
        found = _homes(loop)
        if (
            found is None
            or not all(isinstance(step, Graph) for step in body.steps)
            or not 0 < loop.trips * len(launches) <= self.most_launches
            or any(isinstance(arg, TensorMap) for launch in launches for arg in launch.args)
        ):
            return False
        homes, before = found
        fixed = self._fixed(loop)
        first_kernel = len(self.kernels)
        self.kernels += body.kernels
        carry = [Pointer(name) for name in loop.carry_in]
        for carried, y in before.items():
            self._append(Copy(carry[carried], self._slice(loop, loop.ys[y], 0), self._bytes(loop.carry_in[carried])))
        laid_out: list[Launch] = []
        for trip in range(loop.trips):
            places = {**fixed, **self._moving(loop, trip, carry, homes, before)}
            laid_out += [self._placed(launch, body, first_kernel, places) for launch in launches]
            carry = [places[name] for name in body.results[: len(carry)]]
        self._append(Graph(tuple(laid_out)))
        for carried, y in before.items():
            after = homes[body.results[carried]] - len(carry)
            if after >= 0 and loop.trips > 1:
                # The values after all trips but the last are those before all trips but the first.
                front = loop.trips - 2 if loop.reverse else 0  # the trip whose slice lies first
                source = self._slice(loop, loop.ys[after], front)
                target = self._slice(loop, loop.ys[y], front + 1)
                self._append(Copy(source, target, (loop.trips - 1) * self._bytes(loop.carry_in[carried])))
        for name, source in zip(loop.carry_out, carry):
            if source != Pointer(name):
                self._append(Copy(source, Pointer(name), self._bytes(name)))
        return True

    def _bytes(self, name: str) -> int:
        return self.outer.buffer(name).nbytes

    def _slice(self, loop: Loop, name: str, trip: int) -> Pointer:
        """The slice of one of xs or ys that belongs to a trip."""
        position = loop.trips - 1 - trip if loop.reverse else trip
        return Pointer(name, position * (self._bytes(name) // loop.trips))

    def _fixed(self, loop: Loop) -> dict[str, Pointer]:
        """Where the body's constants and temporaries are in every trip."""
        start = len(self.buffers)
        places: dict[str, Pointer] = {}
        for number, buffer in enumerate(loop.body.buffers):
            name = f"b{start + number}.{buffer.name}"
            if isinstance(buffer.owner, Constant):
                owner: Constant | Arena = Constant(len(self.constants))
                self.constants.append(loop.body.constants[buffer.owner.index])
            elif isinstance(buffer.owner, Arena):
                owner = Arena(_arena_start(loop, self.outer) + buffer.owner.offset)
            else:
                continue
            self.buffers.append(replace(buffer, name=name, owner=owner))
            places[buffer.name] = Pointer(name)
        places.update(zip(loop.body.arguments, map(Pointer, loop.constants)))
        return places

    def _moving(
        self, loop: Loop, trip: int, carry: Sequence[Pointer], homes: dict[str, int], before: dict[int, int]
    ) -> dict[str, Pointer]:
        """Where the carry, the slices and the results are in this trip."""
        # The last trip writes carry_out.
        is_last = trip == loop.trips - 1
        outs = [Pointer(name) for name in (loop.carry_spare if (loop.trips - 1 - trip) % 2 else loop.carry_out)]
        if not is_last:
            for carried, y in before.items():  # in vain if the carry is at home in another y
                outs[carried] = self._slice(loop, loop.ys[y], trip + 1)
        outs += [self._slice(loop, name, trip) for name in loop.ys]
        arguments = loop.body.arguments[len(loop.constants) :]
        places = dict(zip(arguments, [*carry, *(self._slice(loop, name, trip) for name in loop.xs)]))
        places.update({name: outs[number] for name, number in homes.items()})
        return places

    def _placed(self, launch: Launch, body: Plan, first_kernel: int, places: dict[str, Pointer]) -> Launch:
        """A launch of the body, in the outer plan."""
        args = [
            self._placed_argument(arg, param, body, places)
            for arg, param in zip(launch.args, body.kernels[launch.kernel].params)
        ]
        return Launch(first_kernel + launch.kernel, tuple(args), launch.grid)

    def _placed_argument(self, arg, param: KernelParam, body: Plan, places: dict[str, Pointer]):
        if isinstance(arg, Pointer):
            place = places[arg.buffer]
            return Pointer(place.buffer, place.offset + arg.offset)
        # A body's sizes are its own: their names mean nothing outside.
        return Scalar(dict(body.sizes)[arg.name], param.dtype) if isinstance(arg, Size) else arg


def _arena_start(loop: Loop, outer: Plan) -> int:
    owner = outer.buffer(loop.scratch or "").owner
    assert isinstance(owner, Arena)
    return owner.offset


def _homes(loop: Loop) -> tuple[dict[str, int], dict[int, int]] | None:
    """Where results go: `(homes, before)`.

    homes: for each buffer that the body writes as a result, the position among carry and ys of the place it goes to.
    before: carries of which a y is the value before the trip, and that y: such a carry is written where the next trip's
    slice of that y is, or, if it is also a y after the trip, copied from there for all trips at once.

    None if a result would have to be copied in every trip: one that is two of the ys, or a y that is an x or a
    constant; or if a carry moves from one position to another as it is, since it might be overwritten before it is
    read.
    """
    body, count = loop.body, len(loop.carry_in)
    homes: dict[str, int] = {}
    before: dict[int, int] = {}
    for position, name in enumerate(body.results):
        owner = body.buffer(name).owner
        given = owner.index - len(loop.constants) if isinstance(owner, Argument) else -1
        if isinstance(owner, Result):
            if position >= count and homes.get(name, 0) >= count:
                return None
            if position >= count or name not in homes:
                homes[name] = position
        elif position >= count:
            if not 0 <= given < count or given in before:
                return None
            before[given] = position - count
        elif 0 <= given < count and given != position:
            return None
    for carried in before:
        home = homes.get(body.results[carried], -1)
        if home != carried and home < count:  # not computed, or at home with another carry
            return None
    return homes, before
