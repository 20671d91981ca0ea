"""Long rows in shared memory: stages that read a row several times read it from memory once.

Input: the stages of one phase, every one along the same axis or without one, whose row is too long for registers
(schedule_on_chip.py). Output: the same stages after a map that copies what several of them load to shared memory, and
the values that it fills; or None where a row is short enough to lie in the first cache, or too long for a block.

Worked example, cross-entropy and its gradient over f32[4096,50257]: a block of 1024 threads copies a row of 201 KB,
takes the maximum and the sum from the copy, and writes the gradient. Memory is read once and written once; three
passes over memory would read three times, since 132 rows of the blocks at work do not stay in the caches beside what
is written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftiny.lowering.loops import Stage, Value
from ftiny.lowering.schedule_on_chip import common_axis, load_first, repeated_loads

if TYPE_CHECKING:
    from ftiny.lowering.schedule_generic import Context

CACHED_ROW = 32 * 1024   # bytes of a row that the first cache holds beside those of other blocks
RESERVED = 4 * 1024      # bytes of shared memory for the states of warps


def in_shared(context: Context, stages: tuple[Stage, ...]) -> tuple[tuple[Value, ...], tuple[Stage, ...]] | None:
    """(the copies of rows, the stages reading them), or None."""
    nest, inner = context.nest, common_axis(stages)
    if inner is None:
        return None
    own = sum(v.memory.itemsize * inner.extent for v in nest.values if v.scope == "shared" and v.shape)
    nodes = repeated_loads(nest, stages, inner)
    size = sum(max(4, node.dtype.itemsize) for node in nodes) * inner.extent
    if not CACHED_ROW < size <= context.capabilities.shared_bytes - own - RESERVED:
        return None
    values, stages = load_first(stages, inner, nodes)
    return tuple(replace(v, scope="shared") for v in values), stages
