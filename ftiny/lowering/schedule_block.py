"""The GPU schedule for nests whose grid points have a row of work each: threads that share a row.

Input: the stages of one phase. Output: one kernel, or nothing where a thread per point reads memory as
well. Maps and folds deal their last axis out to the threads of the row, each taking a few neighbouring
elements in one wide access; schedule_block_body.py has the statements. Two forms:

- on chip: the row fits the registers of its threads. What several stages read of the arguments is read once, all of it
  before the first stage; loops over a row are unrolled (schedule_on_chip.py). Short rows share a block.
- in loops: longer rows, and stages with several axes of their own. The point's own arrays lie in shared memory.

Worked example, softmax of 4096 float32 columns: 256 threads a row, 16 elements a thread, read in four 16-byte
accesses and kept in registers until the quotients are written. With 64 columns 16 threads have 4 elements each,
and a block of 256 threads has 16 rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from ftiny.lowering.device import STATIC_SHARED
from ftiny.lowering.expr import Axis, compare, const, load_index, loads, minimum
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.index import coefficient, simplify, unflatten
from ftiny.lowering.kernel import WIDE_BYTES, Barrier, DeclareArray, Stmt, group, local
from ftiny.lowering.loops import Fold, LoopNest, Map, Stage, Value, stage_roots, writes_of
from ftiny.lowering.schedule import aligned
from ftiny.lowering.schedule_block_body import BlockBody, Layout, inner_axis
from ftiny.lowering.schedule_body import Converter, Names, Place, pays
from ftiny.lowering.schedule_generic import Context, Worker, finish_kernel, live_states, nest_names
from ftiny.lowering.schedule_merge import offsets_and_values, plain_places
from ftiny.lowering.schedule_on_chip import OnChip, on_chip
from ftiny.lowering.schedule_staged import in_shared

MIN_ROW = 16
SECTOR = 32  # the bytes that memory hands out at least
BLOCK = 256  # threads of a block that several rows share


def schedule_block(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Append the kernel and return True, or return False where this schedule does not fit."""
    if not takes(context.nest, stages):
        return False
    lanes = row_lanes(context.nest, stages)
    points = math.prod(a.extent for a in context.nest.grid)
    chip = on_chip(context, stages, lanes)
    if chip is None:
        row = max(_row(s) for s in stages)
        staged = in_shared(context, stages)
        if staged is None:
            _build(context, stages, Layout(_looped_threads(context, row, lanes, points), 1, lanes))
            return True
        copies, stages = staged
        nest = replace(context.nest, values=(*context.nest.values, *copies), stages=stages)
        context = Context(nest, context.capabilities, context.scratch, context.kernels)
        _build(context, stages, Layout(min(1024, context.capabilities.max_threads), 1, lanes), copies=copies)
        return True
    nest = replace(context.nest, values=(*context.nest.values, *chip.loaded), stages=chip.stages)
    context = Context(nest, context.capabilities, context.scratch, context.kernels)
    rows = _rows_per_block(context, chip.threads, points)
    _build(context, chip.stages, Layout(chip.threads, rows, lanes), chip)
    return True


def takes(nest: LoopNest, stages: tuple[Stage, ...]) -> bool:
    """Whether threads that share a grid point are right and good for these stages."""
    row = max((_row(s) for s in stages), default=0)
    return row >= MIN_ROW and all(_fits(nest, s) for s in stages) and _pays(nest, stages)


def _row(stage: Stage) -> int:
    inner = inner_axis(stage)
    return 1 if inner is None else inner.extent


def _fits(nest: LoopNest, stage: Stage) -> bool:
    if any(w.update for w in writes_of(stage)):
        return False
    if isinstance(stage, Map):
        return True
    arrays = [v for v in stage.state if v.shape]
    if stage.combine is None or stage.emit or stage.reverse:
        return False
    if not arrays:
        return not stage.axes
    return len(arrays) == len(stage.state) and not any(v.name in live_states(nest) for v in arrays)


def _pays(nest: LoopNest, stages: tuple[Stage, ...]) -> bool:
    """Whether neighbours along the stages' own axes lie closer in memory than neighbouring grid points. Few grid
    points count as four times as far: a thread each would leave the machine idle."""
    few = math.prod(a.extent for a in nest.grid) < 1024
    return cheapest_along(nest, stages, 4 if few else 1)


def cheapest_along(nest: LoopNest, stages: tuple[Stage, ...], factor: int = 1) -> bool:
    """Whether threads side by side along the stages' own axes move fewer bytes than side by side along the grid,
    where a byte counts `factor` times."""
    merged = tuple(a for a in nest.grid if a.extent > 1)
    if not merged:
        return True
    convert = Converter(plain_places(nest))
    along = sum(_fetched(nest, stage, convert, inner_axis(stage)) for stage in stages)
    across = sum(_fetched(nest, stage, convert, merged[-1]) for stage in stages)
    return along < across * factor


def _fetched(nest: LoopNest, stage: Stage, convert: Converter, neighbours: Axis | None) -> int:
    """Bytes that a stage moves for one grid point if neighbouring threads are neighbours along an axis: an access
    moves what lies between two threads, a sector of 32 bytes at most, and nothing if all read the same."""
    offsets = [(n.attr[0], load_index(n)[0]) for n in loads(convert(e) for e in offsets_and_values(stage))]
    if isinstance(stage, Map):
        offsets += [(w.value, convert.offset(w.index, convert.places[w.value])) for w in stage.writes
                    if convert.places[w.value].kind == "buffer"]
    total = 0
    for name, offset in offsets:
        step = None if neighbours is None else coefficient(offset, axis_expr(neighbours))
        total += SECTOR if step is None else min(SECTOR, abs(step) * nest.value(name).memory.itemsize)
    folded = stage.over if isinstance(stage, Fold) else ()
    return total * math.prod(a.extent for a in (*stage.axes, *folded))


# ------------------------------------------------------------------------------------- layouts


def row_lanes(nest: LoopNest, stages: tuple[Stage, ...]) -> int:
    """How many neighbouring elements a thread takes at once: 16 bytes of the smallest elements that lie along the
    rows, where every row is a multiple of that and wide accesses outnumber scattered ones; else 1."""
    convert = Converter(plain_places(nest))
    along: set[str] = set()
    for stage in stages:
        inner = inner_axis(stage)
        if inner is None or inner.extent == 1:
            continue
        if isinstance(stage, Fold) and stage.axes:
            return 1
        leaf = axis_expr(inner)
        for node in loads(convert(e) for e in offsets_and_values(stage)):
            if coefficient(load_index(node)[0], leaf) == 1:
                along.add(node.attr[0])
        along |= {w.value for w in (stage.writes if isinstance(stage, Map) else ())}
    values = [v for v in map(nest.value, along) if v.shape]
    if not values or not all(aligned(v) for v in values):
        return 1
    lanes = min(8, WIDE_BYTES // min(v.memory.itemsize for v in values))
    while lanes > 1 and not all(_wide(stage, lanes, convert) for stage in stages):
        lanes //= 2
    return lanes


def _wide(stage: Stage, lanes: int, convert: Converter) -> bool:
    inner = inner_axis(stage)
    if inner is None or inner.extent == 1:
        return True
    writes = stage.writes if isinstance(stage, Map) else ()
    roots = stage_roots(stage) if isinstance(stage, Map) else list(stage.step)
    return inner.extent % lanes == 0 and pays(inner, lanes, roots, writes, convert)


def _looped_threads(context: Context, row: int, lanes: int, points: int) -> int:
    """Threads for a row in loops: four accesses each, and enough in all to fill the machine."""
    capabilities = context.capabilities
    wide = BLOCK if points >= 4 * capabilities.compute_units else 1024
    most = 1 << (min(capabilities.max_threads, wide).bit_length() - 1)
    wanted = 1 << (-(-row // (4 * lanes)) - 1).bit_length()
    return min(most, max(32, wanted))


def _rows_per_block(context: Context, threads: int, points: int) -> int:
    """Rows of one warp or less share a block, but not so that blocks become few; a block has whole warps."""
    warp = context.capabilities.warp
    if warp <= 1 or threads > warp:
        return 1
    enough = points // (4 * context.capabilities.compute_units)
    return max(warp // threads, min(BLOCK // threads, 1 << max(0, enough.bit_length() - 1)))


# ------------------------------------------------------------------------------------- building


def _build(context: Context, stages: tuple[Stage, ...], layout: Layout, chip: OnChip | None = None,
           copies: tuple[Value, ...] = ()) -> None:
    worker = Worker(context, context.nest.grid)
    finish_kernel(context, block_statements(context, stages, worker, layout, chip, copies), worker, stages)


def block_statements(context: Context, stages: tuple[Stage, ...], worker: Worker, layout: Layout,
                     chip: OnChip | None = None, copies: tuple[Value, ...] = ()) -> list[Stmt]:
    """The statements of blocks that lie over rows as `layout` says; the worker becomes one of such a block. `copies`
    are what lies in shared memory beyond its ordinary room."""
    nest = context.nest
    # Blocks of rows, whatever the generic worker would have done.
    points, rows = worker.points, layout.rows
    size, blocks = layout.threads * rows, -(-points // rows)
    worker.run, worker.count, worker.threads, worker.blocks = 1, worker.points, size, blocks
    number = simplify(group(0, blocks) * rows + local(0, size) // layout.threads)
    guard = None if points % rows == 0 else simplify(compare("lt", number, const(points)))
    # Threads past the last row work on it again, so that whole warps exchange; they store nothing.
    worker.number = number if guard is None else minimum(number, const(points - 1))
    worker.grid, worker.block = (blocks, 1, 1), (size, 1, 1)
    axes = unflatten(worker.number, nest.grid) if nest.grid else {}
    names = nest_names(nest, stages)
    arrays: list[Stmt] = []
    places = _places(context, stages, names, worker, arrays, chip, copies)
    body = BlockBody(nest, Converter(places, axes), names, layout, context.capabilities.warp, chip, guard)
    statements: list[Stmt] = []
    for position, stage in enumerate(stages):
        statements += body.stage(stage)
        barrier = _barrier(nest, stage, stages[position + 1:], body.convert, chip)
        statements += [] if barrier is None else [barrier]
    return [*arrays, *body.scratch, *statements]


def _places(context: Context, stages: Iterable[Stage], names: Names, worker: Worker, arrays: list[Stmt],
            chip: OnChip | None, copies: tuple[Value, ...]) -> dict:
    """Arguments as parameters, scalars in variables, rows on chip in registers; other arrays of the point in
    shared memory, in scratch when they do not fit."""
    places: dict[str, Place] = {}
    room = min(STATIC_SHARED, context.capabilities.shared_bytes) * 3 // 4
    states = [v for s in stages if isinstance(s, Fold) for v in s.state]
    own = {w.value for s in stages for w in writes_of(s)}
    for value in (*context.nest.arguments, *context.nest.values, *states):
        size = math.prod(value.shape) * value.memory.itemsize
        if value.scope in ("argument", "global"):
            places[value.name] = Place("buffer", value.name, value.shape)
        elif not value.shape:
            places[value.name] = Place("variable", names.fresh(value.name))
        elif chip is not None and value.name in chip.rows:
            name = names.fresh(value.name)
            arrays.append(DeclareArray(name, value.memory, chip.slot.extent))
            places[value.name] = Place("buffer", name, (chip.slot.extent,))
        elif value.name not in own:
            places[value.name] = Place("variable", value.name)  # an array state: a variable per kept point
        elif size <= room or value in copies:
            room -= 0 if value in copies else size
            name = names.fresh(value.name)
            arrays.append(DeclareArray(name, value.memory, math.prod(value.shape), "shared"))
            places[value.name] = Place("buffer", name, value.shape)
        else:
            places[value.name] = context.private_scratch(value, worker)
    return places


def _barrier(nest: LoopNest, stage: Stage, later: Iterable[Stage], convert: Converter,
             chip: OnChip | None) -> Barrier | None:
    """What the threads must wait for after a stage: memory that a later stage reads."""
    written = {w.value for w in writes_of(stage) if convert.places[w.value].kind == "buffer"}
    read = {n.attr[0] for s in later for n in loads(stage_roots(s))}
    needed = (written & read) - (chip.rows if chip is not None else set())
    if not needed:
        return None
    shared = all(nest.value(n).scope in ("register", "shared") and convert.places[n].base is None for n in needed)
    return Barrier("shared" if shared else "global")
