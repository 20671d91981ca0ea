"""The contraction spec: an einsum whose operand axes may be windows, and its algebra.

A `Spec` says which coordinate of each operand an assignment of the indices reads. `Direct(i)` reads coordinate i;
`Window(p, r)` reads `(stride*p + dilation*r - pad) / base`, and zero where that is out of range or not whole. Indices
that are not in the output are summed. Matrix products, convolutions of every kind and all their gradients are specs:

    y[n,p,o] = sum over r,c of x[n, 2p+r-1, c] * w[r,c,o]      prints as  a 2b+c-1 d, c d e -> a b e

    >>> str(from_letters("mk,kn->mn", (4, 5), (5, 6)))
    'a b, b c -> a c'

The algebra is closed under transposition: the cotangent of a windowed axis solves the window for p, which is
`Window(h, r, stride=base, dilation=-dilation, pad=-pad, base=stride)`; that of another operand only changes which
indices are summed. `check_spec` states the preconditions. A unary spec describes `reduce`: sums, pooling, patches.
"""
from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ftiny.errors import ShapeError
from ftiny.source import located


@dataclass(frozen=True, slots=True)
class Direct:
    """An operand axis whose coordinate is an index itself."""

    index: int


@dataclass(frozen=True, slots=True)
class Window:
    """An operand axis whose coordinate is `(stride*p + dilation*r - pad) / base`; zero where that is no coordinate."""

    p: int
    r: int
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    base: int = 1

    def solved_for(self, h: int) -> Window:
        """The window that gives p as the coordinate, with `h` standing for this axis."""
        return Window(h, self.r, self.base, -self.dilation, -self.pad, self.stride)


Axis = Direct | Window
Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Spec:
    """What a contraction computes: `operands` read, `output` indices kept, every other index summed.

    Build one with `make_spec`, which renumbers the indices in order of appearance, so that equal contractions are
    equal specs.
    """

    operands: tuple[Axes, ...]
    output: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]

    @property
    def extent(self) -> dict[int, int]:
        """Index -> the number of values it takes."""
        return dict(self.sizes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The extents of the output's indices."""
        extent = self.extent
        return tuple(extent[i] for i in self.output)

    @property
    def folded(self) -> tuple[int, ...]:
        """The summed indices, in order of appearance in the operands."""
        return tuple(i for i, _ in self.sizes if i not in self.output)

    @property
    def has_windows(self) -> bool:
        """Whether any operand axis is a window."""
        return any(isinstance(axis, Window) for axes in self.operands for axis in axes)

    def __str__(self) -> str:
        operands = ", ".join(" ".join(map(_show_axis, axes)) for axes in self.operands)
        return f"{operands} -> {' '.join(map(_letter, self.output))}".rstrip()


def _letter(index: int) -> str:
    return string.ascii_letters[index] if index < 52 else f"i{index}"


def _show_axis(axis: Axis) -> str:
    if isinstance(axis, Direct):
        return _letter(axis.index)

    def term(factor: int, index: int) -> str:
        sign = "-" if factor < 0 else "+"
        return f"{sign}{'' if abs(factor) == 1 else abs(factor)}{_letter(index)}"

    text = (term(axis.stride, axis.p) + term(axis.dilation, axis.r)).removeprefix("+")
    text += f"{-axis.pad:+d}" if axis.pad else ""
    return text if axis.base == 1 else f"({text})/{axis.base}"


def axis_indices(axis: Axis) -> tuple[int, ...]:
    """The indices that an axis reads: one, or p and r."""
    return (axis.index,) if isinstance(axis, Direct) else (axis.p, axis.r)


def operand_indices(axes: Axes) -> tuple[int, ...]:
    """The distinct indices of an operand, in order of appearance."""
    return tuple(dict.fromkeys(i for axis in axes for i in axis_indices(axis)))


def rename(axis: Axis, names: Mapping[int, int]) -> Axis:
    """The axis with other index numbers."""
    if isinstance(axis, Direct):
        return Direct(names[axis.index])
    return Window(names[axis.p], names[axis.r], axis.stride, axis.dilation, axis.pad, axis.base)


# ---- construction ---------------------------------------------------------------------------------------------


def make_spec(operands: Sequence[Sequence[Axis]], output: Sequence[int], sizes: Mapping[int, int]) -> Spec:
    """A spec with its indices renumbered 0, 1, ... in order of appearance in the operands."""
    order = dict.fromkeys(i for axes in operands for i in operand_indices(tuple(axes)))
    missing = [i for i in output if i not in order]
    if missing:
        raise ShapeError(located(f"contraction: output index {_letter(missing[0])} is in no operand; broadcast the "
                                 "result along it instead"))
    names = {old: new for new, old in enumerate(order)}
    return Spec(tuple(tuple(rename(axis, names) for axis in axes) for axes in operands),
                tuple(names[i] for i in output), tuple((names[i], sizes[i]) for i in order))


@lru_cache(maxsize=4096)
def reduce_spec(shape: tuple[int, ...], axes: tuple[int, ...]) -> Spec:
    """The unary spec that folds `axes` (non-negative) of an array of `shape` away."""
    kept = [i for i in range(len(shape)) if i not in axes]
    return make_spec([[Direct(i) for i in range(len(shape))]], kept, dict(enumerate(shape)))


def from_letters(text: str, *shapes: tuple[int, ...]) -> Spec:
    """A window-free spec from einsum notation without ellipsis or repeated letters: `from_letters("ij,jk->ik", a, b)`.

    Raises `ShapeError` if a letter stands for two extents, or if the ranks do not fit.
    """
    left, right = text.replace(" ", "").split("->")
    terms = left.split(",")
    sizes: dict[int, int] = {}
    for term, shape in zip(terms, shapes):
        if len(term) != len(shape):
            raise ShapeError(located(f"contraction {text!r}: the term {term!r} has {len(term)} axes, the operand has "
                                     f"shape {shape}"))
        for letter, size in zip(term, shape):
            if sizes.setdefault(ord(letter), size) != size:
                raise ShapeError(located(f"contraction {text!r}: index {letter!r} is {sizes[ord(letter)]} and {size}; "
                                         f"the operands have shapes {', '.join(map(str, shapes))}"))
    return make_spec([[Direct(ord(c)) for c in term] for term in terms], [ord(c) for c in right], sizes)


# ---- checks ---------------------------------------------------------------------------------------------------


def check_operands(spec: Spec, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise `ShapeError` unless every operand has the rank and the direct extents of the spec."""
    if len(shapes) != len(spec.operands):
        raise ShapeError(located(f"contraction {spec}: {len(spec.operands)} operands in the spec, {len(shapes)} given"))
    extent = spec.extent
    for number, (axes, shape) in enumerate(zip(spec.operands, shapes)):
        if len(axes) != len(shape):
            raise ShapeError(located(f"contraction {spec}: operand {number} has {len(shape)} axes {shape}, the spec "
                                     f"has {len(axes)}"))
        for position, (axis, size) in enumerate(zip(axes, shape)):
            if isinstance(axis, Direct) and extent[axis.index] != size:
                raise ShapeError(located(
                    f"contraction {spec}: axis {position} of operand {number} has extent {size}, index "
                    f"{_letter(axis.index)} has {extent[axis.index]}; the operands have shapes {list(shapes)}"))


def check_spec(spec: Spec) -> None:
    """Raise `ShapeError` unless the spec is one that the algebra is closed on.

    For every spec: an output index is there once; a direct index is on one axis of an operand; a window's p is on no
    other axis of its operand, and p and r are windowed in one operand only. For two operands: an index that only one
    of them has is in the output (`reduce` it first otherwise), and a window's p is not both in the other operand and
    in the output (`needs_patches`). For one operand: a window's p is in the output.
    """
    if len(set(spec.output)) != len(spec.output):
        raise ShapeError(located(f"contraction {spec}: an output index is repeated"))
    windowed: set[int] = set()
    for axes in spec.operands:
        direct = [axis.index for axis in axes if isinstance(axis, Direct)]
        windows = [axis for axis in axes if isinstance(axis, Window)]
        spatial = [w.p for w in windows]
        if len(set(direct)) != len(direct) or set(spatial) & set(direct):
            raise ShapeError(located(f"contraction {spec}: an index is on two axes of one operand; take the diagonal "
                                     "first"))
        indices = [i for w in windows for i in (w.p, w.r)]
        if len(set(indices)) != len(indices) or set(indices) & windowed:
            raise ShapeError(located(f"contraction {spec}: an index is windowed twice"))
        windowed |= set(indices)
        if any(w.stride <= 0 or w.dilation == 0 or w.base <= 0 for w in windows):
            raise ShapeError(located(f"contraction {spec}: stride and base must be positive, dilation not 0"))
    _check_summed(spec)


def _check_summed(spec: Spec) -> None:
    if len(spec.operands) == 1:
        lost = [w.p for w in spec.operands[0] if isinstance(w, Window) and w.p not in spec.output]
        if lost:
            raise ShapeError(located(f"reduce {spec}: the window position {_letter(lost[0])} must be in the output"))
        return
    first, second = (set(operand_indices(axes)) for axes in spec.operands)
    alone = (first ^ second) - set(spec.output)
    if alone:
        raise ShapeError(located(f"contraction {spec}: index {_letter(min(alone))} is in one operand only and not in "
                                 "the output; reduce that operand first"))
    if needs_patches(spec) is not None:
        raise ShapeError(located(f"contraction {spec}: a window position is in the other operand and in the output; "
                                 "expand the windows to patches first"))


def needs_patches(spec: Spec) -> int | None:
    """The operand one of whose windows has its p in the other operand and in the output, if there is one."""
    for number, axes in enumerate(spec.operands):
        others = {i for k, other in enumerate(spec.operands) if k != number for i in operand_indices(other)}
        if any(isinstance(axis, Window) and axis.p in others and axis.p in spec.output for axis in axes):
            return number
    return None


# ---- algebra --------------------------------------------------------------------------------------------------


def patches(axes: Axes, sizes: Mapping[int, int]) -> tuple[Spec, Axes]:
    """The unary spec that spreads an operand's windows over p and r, and the operand's axes afterwards."""
    indices = operand_indices(axes)
    return make_spec([axes], indices, sizes), tuple(map(Direct, indices))


def transpose_spec(spec: Spec, operand: int, shape: tuple[int, ...]) -> tuple[Spec, tuple[int, ...]]:
    """The spec of an operand's cotangent, and where its output axes lie in the operand.

    The first operand of the result is the output's cotangent, the second (if any) the other operand. `shape` is that of
    the operand. An axis that the operand alone had and that was summed is missing from the result: broadcast along it.

    >>> str(transpose_spec(from_letters("ab,bc->ac", (2, 3), (3, 4)), 0, (2, 3))[0])
    'a b, c b -> a c'
    """
    sizes = spec.extent
    read: list[list[Axis]] = [[Direct(i) for i in spec.output]]
    read += [list(axes) for k, axes in enumerate(spec.operands) if k != operand]
    output: list[int] = []
    for axis, size in zip(spec.operands[operand], shape):
        if isinstance(axis, Direct):
            output.append(axis.index)
            continue
        h = max(sizes) + 1
        sizes[h] = size
        solved = axis.solved_for(h)
        read = [[solved if x == Direct(axis.p) else x for x in axes] for axes in read]
        output.append(h)
    known = {i for axes in read for axis in axes for i in axis_indices(axis)}
    places = tuple(k for k, i in enumerate(output) if i in known)
    return make_spec(read, [output[k] for k in places], sizes), places


def add_index(spec: Spec, dims: Sequence[int | None], size: int, place: int = 0) -> Spec:
    """The spec with one more index: at axis `dims[k]` of operand k (None: not there), at `place` in the output."""
    new = len(spec.sizes)
    operands = [axes if d is None else (*axes[:d], Direct(new), *axes[d:]) for axes, d in zip(spec.operands, dims)]
    output = (*spec.output[:place], new, *spec.output[place:])
    return make_spec(operands, output, {**spec.extent, new: size})


def factors(spec: Spec, shapes: Sequence[tuple[int, ...]]) -> str:
    """The sharding rule: a letter for each index that is never windowed, `?` for windowed axes, as "ab,bc->ac"."""
    opaque = {i for axes in spec.operands for axis in axes if isinstance(axis, Window) for i in axis_indices(axis)}

    def show(index: int) -> str:
        return "?" if index in opaque else _letter(index)

    terms = ["".join(show(axis.index) if isinstance(axis, Direct) else "?" for axis in axes) for axes in spec.operands]
    return f"{','.join(terms)}->{''.join(map(show, spec.output))}"


# ---- numpy evaluation -----------------------------------------------------------------------------------------


def expand_windows(x: np.ndarray, axes: Axes, sizes: Mapping[int, int], fill: Any = 0) -> tuple[np.ndarray, list[int]]:
    """`x` with every window spread over p and r (a strided view), and the index of each of its axes then.

    Positions that a window reads outside `x`, or between the elements of a base-dilated axis, hold `fill`.
    """
    indices: list[int] = []
    for axis in axes:
        if isinstance(axis, Window):
            x = _spread(x, len(indices), axis, sizes[axis.p], sizes[axis.r], fill)
        indices.extend(axis_indices(axis))
    return x, indices


def _spread(x: np.ndarray, position: int, window: Window, p_size: int, r_size: int, fill) -> np.ndarray:
    """Axis `position` of `x` replaced by the two axes p and r of the window."""
    shape = x.shape[:position] + (p_size, r_size) + x.shape[position + 1:]
    if 0 in shape or x.shape[position] == 0:
        return np.full(shape, fill, x.dtype)
    spans = [sorted((0, window.stride * (p_size - 1))), sorted((0, window.dilation * (r_size - 1)))]
    low = spans[0][0] + spans[1][0] - window.pad
    high = spans[0][1] + spans[1][1] - window.pad
    # A line of the coordinates low..high times base, in which x's elements stand `base` apart and the rest is fill.
    size = x.shape[position]
    first = max(0, -(-low // window.base))
    last = min(size - 1, high // window.base)
    inside = (np.s_[:],) * position
    if window.base == 1 and low >= 0 and high < size:
        line, start = x, -window.pad
    else:
        line = np.full(x.shape[:position] + (high - low + 1,) + x.shape[position + 1:], fill, x.dtype)
        if first <= last:
            here = slice(first * window.base - low, last * window.base - low + 1, window.base)
            line[(*inside, here)] = x[(*inside, slice(first, last + 1))]
        start = -window.pad - low
    step = line.strides[position]
    strides = line.strides[:position] + (window.stride * step, window.dilation * step) + line.strides[position + 1:]
    return np.lib.stride_tricks.as_strided(line[(*inside, slice(start, None))], shape, strides, writeable=False)


def _on_diagonal(x: np.ndarray, indices: list[int]) -> tuple[np.ndarray, list[int]]:
    """`x` with axes of the same index merged: a window's r may also be a direct axis."""
    distinct = list(dict.fromkeys(indices))
    if len(distinct) == len(indices):
        return x, indices
    numbers = {index: number for number, index in enumerate(distinct)}
    return np.einsum(x, [numbers[i] for i in indices], list(range(len(distinct)))), distinct


def contract_numpy(x: np.ndarray, y: np.ndarray, spec: Spec) -> np.ndarray:
    """The contraction of two arrays of one dtype, by one (batched) matrix product.

    Indices are sorted into batch (both operands and the output), rows (first and output), columns (second and output)
    and summed ones, windows being read through strided views.
    """
    sizes = spec.extent
    x, in_x = _on_diagonal(*expand_windows(x, spec.operands[0], sizes))
    y, in_y = _on_diagonal(*expand_windows(y, spec.operands[1], sizes))
    batch = [i for i in spec.output if i in in_x and i in in_y]
    rows = [i for i in spec.output if i not in in_y]
    columns = [i for i in spec.output if i not in in_x]
    summed = [i for i in in_y if i not in spec.output]
    left = x.transpose([in_x.index(i) for i in batch + rows + summed])
    right = y.transpose([in_y.index(i) for i in batch + summed + columns])

    def extents(indices: list[int]) -> tuple[int, ...]:
        return tuple(sizes[i] for i in indices)

    def size(indices: list[int]) -> int:
        return int(np.prod(extents(indices), dtype=np.int64))

    product = np.matmul(left.reshape(extents(batch) + (size(rows), size(summed))),
                        right.reshape(extents(batch) + (size(summed), size(columns))))
    order = batch + rows + columns
    return product.reshape(extents(order)).transpose([order.index(i) for i in spec.output])


def unary_numpy(x: np.ndarray, spec: Spec, fill: Any = 0) -> tuple[np.ndarray, tuple[int, ...]]:
    """`x` spread out with the output's indices first and the folded ones after them, and the folded axes.

    What `reduce` then folds with its own operation; `fill` is that operation's identity.
    """
    spread, indices = _on_diagonal(*expand_windows(x, spec.operands[0], spec.extent, fill))
    order = list(spec.output) + list(spec.folded)
    kept = len(spec.output)
    return spread.transpose([indices.index(i) for i in order]), tuple(range(kept, len(order)))
