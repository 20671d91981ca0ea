"""The lowering: from a `Jaxpr` to something a device runs. `compile` calls the stages in order.

    Jaxpr -simplify-> Jaxpr -fuse-> groups -build-> loop nests -schedule-> kernels -emit-> source text
          -plan-> Plan -device.load-> Executable

Every stage is a module of that name, and every arrow is a frozen type that prints itself and has a check.
`FTINY_DEBUG` shows them: 1 a line per compilation, 3 the groups, 4 the loop nests, 5 the source. A plan that an earlier
process made is taken from the cache on disk (plan_cache.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftiny.core import Jaxpr

if TYPE_CHECKING:
    from ftiny.lowering.compiler import Compiler
    from ftiny.lowering.device import Device, Executable
    from ftiny.lowering.equations import Lines
    from ftiny.lowering.plan_types import Plan


def compile(jaxpr: Jaxpr, device: Device, donated: Sequence[int] = ()) -> Executable:
    """An executable that computes `jaxpr` on `device`.

    Args:
        jaxpr: the program. Its constants, if any, become leading arguments of the executable.
        device: where it runs; on a numpy device it is interpreted.
        donated: positions of arguments whose memory results may take over.
    Returns:
        `executable.run(memories) -> memories`, one for each argument and result.
    """
    from ftiny.lowering.compiler import Compiler

    if device.capabilities.dialect == "numpy":
        return device.load(jaxpr.close_over())
    from ftiny.lowering.choices import wanted_candidates
    from ftiny.lowering.search import Search

    compiler = Compiler(device.capabilities, device.compile_ahead)
    if candidates := wanted_candidates():
        compiler.search = Search(device, candidates, compiler.made_kernels)
    plan, lines = make_plan(jaxpr, compiler, donated)
    with compiler.clock("load"):
        executable = device.load(plan, lines)
    compiler.report(plan)
    return executable


def make_plan(jaxpr: Jaxpr, compiler: Compiler, donated: Sequence[int] = ()) -> tuple[Plan, Lines]:
    """The plan of a program, from the disk or made now, and the lines of the equations that it names."""
    from ftiny.lowering.equations import Lines
    from ftiny.lowering.plan_cache import load_plan, plan_key, store_plan
    from ftiny.lowering.profile import debug_level
    from ftiny.lowering.simplify import simplify

    with compiler.clock("simplify"):
        simplified = simplify(jaxpr)
    with compiler.clock("cache"):
        key = plan_key(simplified.jaxpr, compiler.capabilities, donated)
        # What the stages print can only be printed by running them.
        plan = load_plan(key) if debug_level() < 3 else None
    if plan is None:
        plan = compiler.plan(simplified.jaxpr, donated)
        with compiler.clock("cache"):
            # A search changes the table of choices, which is part of the key.
            store_plan(plan_key(simplified.jaxpr, compiler.capabilities, donated) if compiler.search else key, plan)
    return plan, Lines(simplified)
