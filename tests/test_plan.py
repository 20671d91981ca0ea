"""Planning: where values live, what is shared, what is donated, and the arena's ranges."""

from __future__ import annotations

import numpy as np
import pytest
from compiling import mlp_arguments, mlp_step, program_of
from running import CPU

import ftiny.numpy as fnp
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.plan import ArenaLayout
from ftiny.lowering.plan_types import (
    ALIGNMENT,
    Arena,
    Argument,
    Constant,
    Donated,
    Graph,
    HostCall,
    Loop,
    Plan,
    Result,
    check_plan,
    launch_buffers,
)
from ftiny.lowering.simplify import simplify
from ftiny.transforms.control import while_loop
from ftiny.transforms.scan import scan

X = np.zeros((64, 64), np.float32)


def plan_of(function, *arguments, donated=()) -> Plan:
    """The checked plan of a function for a CPU."""
    jaxpr, _ = program_of(function, *arguments)
    return check_plan(Compiler(CPU).plan(simplify(jaxpr).jaxpr, donated))


def owners(plan: Plan, kind: type) -> list:
    """The buffers of one kind of owner."""
    return [buffer for buffer in plan.buffers if isinstance(buffer.owner, kind)]


def test_results_have_memory_of_their_own():
    plan = plan_of(lambda x: (x @ x) @ x, X)
    assert [b.owner for b in owners(plan, Result)] == [Result(0)]
    assert plan.results == ("r0",) and plan.arguments == ("x0",)


def test_a_chain_reuses_two_ranges():
    def chain(x):
        for _ in range(6):
            x = x @ x
        return x

    plan = plan_of(chain, X)
    offsets = {b.owner.offset for b in owners(plan, Arena) if b.shape == (64, 64)}
    assert len(offsets) == 2


def test_lifetimes_never_overlap():
    plan = plan_of(mlp_step, *mlp_arguments())
    launches = [launch for step in plan.steps if isinstance(step, Graph) for launch in step.launches]
    alive: dict[str, tuple[int, int]] = {}
    for number, launch in enumerate(launches):
        reads, writes = launch_buffers(launch, plan)
        for name in reads | writes:
            alive[name] = (alive.get(name, (number, number))[0], number)
    ranges = [(b.owner.offset, b.owner.offset + max(1, b.nbytes), *alive[b.name]) for b in owners(plan, Arena)]
    for k, (start, end, first, last) in enumerate(ranges):
        for other_start, other_end, other_first, other_last in ranges[k + 1:]:
            assert end <= other_start or other_end <= start or last < other_first or other_last < first


def test_duplicated_results_and_passed_through_arguments():
    def function(x):
        y = x @ x
        return y, x, y

    plan = plan_of(function, X)
    assert plan.results == ("r0", "x0", "r0") and plan.buffer("x0").owner == Argument(0)


def test_literal_results_are_constants():
    plan = plan_of(lambda x: (fnp.ones((), "float32") * 3, x @ x), X)
    assert plan.buffer(plan.results[0]).owner == Constant(0)
    assert plan.constants == (np.float32(3).tobytes(),)


def test_an_elementwise_update_takes_its_donated_argument():
    plan = plan_of(lambda w, g: w - 0.1 * g, X, X, donated=(0,))
    assert plan.buffer(plan.results[0]).owner == Donated(0)
    assert not owners(plan, Result)


def test_donation_needs_the_same_places():
    plan = plan_of(lambda w: w.T + 1, X, donated=(0,))
    assert plan.buffer(plan.results[0]).owner == Result(0)


def test_donation_waits_for_the_last_reader():
    plan = plan_of(lambda w: (w - 1, (w @ w) @ w), X, donated=(0,))
    assert [b.owner.index for b in owners(plan, Result)] == [0, 1]


def test_an_update_in_the_epilogue_of_a_contraction_is_in_place():
    plan = plan_of(lambda w, x, y: w - 0.1 * (x.T @ y), X, X, X, donated=(0,))
    assert plan.buffer(plan.results[0]).owner == Donated(0)


def test_one_argument_is_donated_once():
    plan = plan_of(lambda w: (w + 1, w + 2), X, donated=(0,))
    assert len(owners(plan, Donated)) == 1 and [b.owner for b in owners(plan, Result)] == [Result(0)]


def test_consecutive_kernels_make_one_graph():
    plan = plan_of(mlp_step, *mlp_arguments())
    assert len(plan.steps) == 1 and isinstance(plan.steps[0], Graph)


def test_equal_layers_share_kernels():
    def plan(layers: int) -> Plan:
        return plan_of(mlp_step, *mlp_arguments((16,) * (layers + 1)))

    few, many = plan(4), plan(8)
    assert len(few.kernels) == len(many.kernels)
    assert len(many.steps[0].launches) > len(few.steps[0].launches)


def test_loops_hold_plans(loops_as_steps):
    def function(x, w):
        return scan(lambda h, row: (fnp.tanh(h @ w + row), h.sum()), x[:8], x.reshape(8, 8, 64))

    plan = plan_of(function, X, X)
    (loop,) = (step for step in plan.steps if isinstance(step, Loop))
    assert loop.kind == "scan" and loop.trips == 8 and loop.body.arguments == ("x0", "x1", "x2")
    assert len(loop.carry_in) == 1 and len(loop.ys) == 1


def test_while_holds_two_plans(loops_as_steps):
    plan = plan_of(lambda x: while_loop(lambda c: c.sum() < 9, lambda c: c * 2, x), X + 1)
    (loop,) = (step for step in plan.steps if isinstance(step, Loop))
    assert loop.kind == "while" and loop.cond is not None


def test_complex_numbers_go_to_the_host():
    plan = plan_of(lambda x: (x * x).sum(), X.astype(np.complex64))
    assert all(isinstance(step, HostCall) for step in plan.steps)


@pytest.mark.parametrize("sizes", [[100, 5000, 1], [0, 0]])
def test_the_arena_aligns(sizes):
    arena = ArenaLayout()
    offsets = [arena.take(size) for size in sizes]
    assert all(offset % ALIGNMENT == 0 for offset in offsets) and len(set(offsets)) == len(sizes)


def test_the_arena_takes_the_best_fit_and_merges():
    arena = ArenaLayout()
    a, b, c, _ = (arena.take(n * ALIGNMENT) for n in (4, 1, 2, 1))
    arena.give_back(a, 4 * ALIGNMENT)
    arena.give_back(c, 2 * ALIGNMENT)
    assert arena.take(2 * ALIGNMENT) == c
    arena.give_back(c, 2 * ALIGNMENT)
    arena.give_back(b, ALIGNMENT)
    assert arena.take(7 * ALIGNMENT) == a
    assert arena.size == 8 * ALIGNMENT


def test_a_fresh_range_was_never_used():
    arena = ArenaLayout()
    first = arena.take(10)
    arena.give_back(first, 10)
    assert arena.take(10, fresh=True) != first
