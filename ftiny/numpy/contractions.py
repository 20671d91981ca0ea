"""Products that sum over shared axes: `dot`, `matmul`, `einsum` and their relatives.

Input: two arrays (any number for `einsum`). Output: an array; each pairwise product is one `contract` equation, or an
elementwise product where nothing is summed:

    >>> einsum("ij,kj->ik", ftiny.numpy.ones((2, 3)), ftiny.numpy.ones((4, 3))).shape
    (2, 4)

16-bit floats are accumulated in float32, and float32 products are float32: no lower precision is used silently.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence

from ftiny import core, dtypes, primitives
from ftiny.contraction import Direct, make_spec
from ftiny.errors import ArgumentError, ShapeError
from ftiny.numpy import reductions, ufuncs
from ftiny.numpy.common import canonical_axis, check_array, constant_like, convert, dtype_of, materialize, shape_of
from ftiny.numpy.creation import asarray, diagonal
from ftiny.numpy.manipulation import expand_dims, flip, moveaxis, reshape, squeeze, transpose
from ftiny.source import located

# ---- the one way into the primitive ----------------------------------------------------------------------------


def product(x, y, x_indices: Sequence, y_indices: Sequence, out_indices: Sequence, *, precision=None, dtype=None):
    """sum over the indices that are not in `out_indices` of x[x_indices] * y[y_indices].

    Indices are any hashable labels, one per axis, each at most once per operand. Axes of size 1 beside a larger
    extent of the same index broadcast.
    """
    check_array("product", x, y)
    wanted = dtypes.result_type(x, y)
    x, y = asarray(convert(x, wanted)), asarray(convert(y, wanted))
    if dtype is not None and dtype != wanted and dtypes.kind(wanted) != "float":
        x, y, wanted = convert(x, dtype), convert(y, dtype), dtype
    out_dtype = wanted if dtype is None else dtype
    if wanted == dtypes.bool_:  # bools: whether any pair is true
        counted = product(convert(x, dtypes.int32), convert(y, dtypes.int32), x_indices, y_indices, out_indices)
        return ufuncs.truth(counted)
    sizes = _sizes([x, y], [x_indices, y_indices])
    x, x_indices = _squeeze_broadcast(x, list(x_indices), sizes)
    y, y_indices = _squeeze_broadcast(y, list(y_indices), sizes)
    x, x_indices = _sum_alone(x, x_indices, {*y_indices, *out_indices})
    y, y_indices = _sum_alone(y, y_indices, {*x_indices, *out_indices})
    known = [index for index in out_indices if index in x_indices or index in y_indices]
    result = _contract(x, y, x_indices, y_indices, known, sizes, out_dtype, precision)
    if len(known) != len(out_indices):
        places = tuple(i for i, index in enumerate(out_indices) if index in known)
        result = primitives.broadcast(result, shape=tuple(sizes[index] for index in out_indices), dims=places)
    return result


def _sizes(operands, indices) -> dict:
    sizes: dict = {}
    for x, names in zip(operands, indices):
        for axis, (index, extent) in enumerate(zip(names, shape_of(x))):
            known = sizes.setdefault(index, extent)
            if known != extent and 1 not in (known, extent):
                shapes = " and ".join(str(shape_of(v)) for v in operands)
                raise ShapeError(
                    located(
                        f"contraction: shapes {shapes} do not fit: axis {axis} of the array of shape "
                        f"{shape_of(x)} has size {extent}, where the other has {known}"
                    )
                )
            sizes[index] = max(known, extent) if 0 not in (known, extent) else 0
    return sizes


def _squeeze_broadcast(x, indices: list, sizes: dict):
    """`x` without its axes of size 1 whose index is larger elsewhere: they broadcast by not being there."""
    kept = [a for a, index in enumerate(indices) if shape_of(x)[a] == sizes[index]]
    if len(kept) == len(indices):
        return x, indices
    return reshape(x, tuple(shape_of(x)[a] for a in kept)), [indices[a] for a in kept]


def _sum_alone(x, indices: Sequence, elsewhere: set):
    alone = tuple(a for a, index in enumerate(indices) if index not in elsewhere)
    if not alone:
        return x, indices
    return reductions.sum(x, alone, dtype_of(x)), [index for index in indices if index in elsewhere]


def _contract(x, y, x_indices, y_indices, out_indices, sizes, dtype, precision):
    if set(x_indices) & set(y_indices) <= set(out_indices):  # nothing is summed: an elementwise product
        factors = [_spread(v, names, out_indices) for v, names in ((x, x_indices), (y, y_indices))]
        return convert(ufuncs.multiply(*factors), dtype)
    spec = make_spec(
        [[Direct(i) for i in _numbers(names, sizes)] for names in (x_indices, y_indices)],
        _numbers(out_indices, sizes),
        {i: sizes[name] for name, i in _numbering(sizes).items()},
    )
    return primitives.contract(
        x, y, spec=spec, precision=precision, accumulate=dtypes.accumulation_dtype(dtype_of(x)), dtype=dtype
    )


def _numbering(sizes: dict) -> dict:
    return {name: number for number, name in enumerate(sizes)}


def _numbers(names, sizes: dict) -> list[int]:
    numbering = _numbering(sizes)
    return [numbering[name] for name in names]


def _spread(x, names: list, out_names: list):
    """`x` with its axes in the order of `out_names`, and axes of size 1 for the names that it lacks."""
    order = sorted(range(len(names)), key=lambda a: out_names.index(names[a]))
    x = transpose(x, order) if len(order) > 1 else x
    extents = iter(shape_of(x))
    return reshape(x, tuple(next(extents) if name in names else 1 for name in out_names))


# ---- products of two -------------------------------------------------------------------------------------------


def matmul(x, y, *, precision=None, preferred_element_type=None):
    """The matrix product of the last two axes, broadcasting those before; vectors are rows on the left, columns on the
    right, and lose that axis in the result.

    Raises `ShapeError`, naming both shapes and the axes, when the inner sizes differ.
    """
    check_array("matmul", x, y)
    m, n = shape_of(x), shape_of(y)
    if not m or not n:
        raise ShapeError(located(f"matmul needs arrays with axes, but the shapes are {m} and {n}; use * for scalars"))
    if m[-1] != n[-2 if len(n) > 1 else 0]:
        raise ShapeError(
            located(
                f"matmul: shapes {m} and {n} do not fit: axis {len(m) - 1} of the first has size {m[-1]}, "
                f"axis {max(len(n) - 2, 0)} of the second has size {n[-2 if len(n) > 1 else 0]}"
            )
        )
    batch = max(len(m), len(n)) - 2
    left = [("batch", i) for i in range(batch - len(m) + 2, batch)] + (["row"] if len(m) > 1 else []) + ["inner"]
    right = [("batch", i) for i in range(batch - len(n) + 2, batch)] + ["inner"] + (["column"] if len(n) > 1 else [])
    out = [("batch", i) for i in range(batch)] + (["row"] if len(m) > 1 else []) + (["column"] if len(n) > 1 else [])
    if m[-1] == 0:
        dtype = dtypes.result_type(x, y)
        sizes = _sizes([x, y], [left, right])
        return materialize(constant_like(asarray(x), 0).astype(dtype), tuple(sizes[i] for i in out))
    return product(x, y, left, right, out, precision=precision, dtype=_out_dtype(preferred_element_type))


def _out_dtype(preferred):
    return None if preferred is None else dtypes.dtype(preferred)


def dot(x, y, *, precision=None, preferred_element_type=None):
    """The sum of products over the last axis of `x` and the last but one (or only) axis of `y`; scalars multiply."""
    check_array("dot", x, y)
    m, n = shape_of(x), shape_of(y)
    if not m or not n:
        return ufuncs.multiply(x, y)
    inner = max(len(n) - 2, 0)
    if m[-1] != n[inner]:
        raise ShapeError(
            located(
                f"dot: shapes {m} and {n} do not fit: axis {len(m) - 1} of the first has size {m[-1]}, "
                f"axis {inner} of the second has size {n[inner]}"
            )
        )
    return tensordot(x, y, ([len(m) - 1], [inner]), precision=precision, preferred_element_type=preferred_element_type)


def tensordot(x, y, axes=2, *, precision=None, preferred_element_type=None):
    """The sum of products over pairs of axes: the last `axes` of x with the first of y, or (axes of x, axes of y)."""
    check_array("tensordot", x, y)
    m, n = shape_of(x), shape_of(y)
    if isinstance(axes, (list, tuple)):
        first, second = (
            [operator.index(a) for a in (part if isinstance(part, (list, tuple)) else [part])] for part in axes
        )
    else:
        first, second = list(range(len(m) - axes, len(m))), list(range(axes))
    first = [canonical_axis(a, len(m), "tensordot") for a in first]
    second = [canonical_axis(a, len(n), "tensordot") for a in second]
    if len(first) != len(second):
        raise ArgumentError(located(f"tensordot: {len(first)} axes of the first array, {len(second)} of the second"))
    for a, b in zip(first, second):
        if m[a] != n[b]:
            raise ShapeError(
                located(
                    f"tensordot: shapes {m} and {n} do not fit: axis {a} of the first has size {m[a]}, "
                    f"axis {b} of the second has size {n[b]}"
                )
            )
    left: list = [("x", a) for a in range(len(m))]
    right: list = [("x", first[second.index(b)]) if b in second else ("y", b) for b in range(len(n))]
    out = [i for i in left if i[1] not in first] + [i for i in right if i[0] == "y"]
    return product(x, y, left, right, out, precision=precision, dtype=_out_dtype(preferred_element_type))


def inner(x, y, *, precision=None):
    """The sum of products over the last axis of both."""
    check_array("inner", x, y)
    if not shape_of(x) or not shape_of(y):
        return ufuncs.multiply(x, y)
    return tensordot(x, y, ([-1], [-1]), precision=precision)


def outer(x, y):
    """The products of every element of `x` (rows) with every element of `y` (columns)."""
    check_array("outer", x, y)
    return ufuncs.multiply(reshape(x, (-1, 1)), reshape(y, (1, -1)))


def vdot(x, y, *, precision=None):
    """The sum of products of all elements; those of a complex `x` are conjugated."""
    check_array("vdot", x, y)
    return dot(reshape(ufuncs.conj(x), (-1,)), reshape(y, (-1,)), precision=precision)


def vecdot(x, y, axis: int = -1, *, precision=None):
    """The sum of products along `axis`, broadcasting the others; a complex `x` is conjugated."""
    check_array("vecdot", x, y)
    x, y = moveaxis(ufuncs.conj(x), axis, -1), moveaxis(y, axis, -1)
    if shape_of(x)[-1] != shape_of(y)[-1]:
        raise ShapeError(located(f"vecdot: sizes {shape_of(x)[-1]} and {shape_of(y)[-1]} on axis {axis} differ"))
    names = lambda v: [("b", len(shape_of(v)) - a) for a in range(len(shape_of(v)) - 1)] + ["inner"]
    batch = max(names(x), names(y), key=len)[:-1]
    return product(x, y, names(x), names(y), batch, precision=precision)


def matvec(x, y, /):
    """The matrix-vector product over the last two axes of `x` and the last of `y`; the axes before broadcast."""
    check_array("matvec", x, y)
    if len(shape_of(x)) < 2 or not shape_of(y):
        raise ShapeError(
            located(f"matvec needs matrices and vectors, but the shapes are {shape_of(x)} and {shape_of(y)}")
        )
    return squeeze(matmul(x, expand_dims(y, -1)), -1)


def vecmat(x, y, /):
    """The vector-matrix product over the last axis of `x`, which is conjugated, and the last but one of `y`."""
    check_array("vecmat", x, y)
    if not shape_of(x) or len(shape_of(y)) < 2:
        raise ShapeError(
            located(f"vecmat needs vectors and matrices, but the shapes are {shape_of(x)} and {shape_of(y)}")
        )
    return squeeze(matmul(expand_dims(ufuncs.conj(x), -2), y), -2)


def kron(x, y):
    """The Kronecker product: every element of `x` times the whole of `y`, laid out in blocks."""
    check_array("kron", x, y)
    ndim = max(len(shape_of(x)), len(shape_of(y)))
    m, n = ((1,) * (ndim - len(shape_of(v))) + shape_of(v) for v in (x, y))
    blocks = ufuncs.multiply(
        reshape(x, tuple(v for extent in m for v in (extent, 1))),
        reshape(y, tuple(v for extent in n for v in (1, extent))),
    )
    return reshape(blocks, tuple(a * b for a, b in zip(m, n)))


def cross(x, y, axis: int = -1):
    """The vector product of vectors with 3 components along `axis` (of 2: the third component)."""
    check_array("cross", x, y)
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    if shape_of(x)[-1] not in (2, 3) or shape_of(y)[-1] not in (2, 3):
        raise ShapeError(located(f"cross: vectors have 2 or 3 components, not {shape_of(x)[-1]} and {shape_of(y)[-1]}"))
    from ftiny.numpy.manipulation import stack, unstack

    a, b = unstack(x, -1), unstack(y, -1)
    minor = lambda i, j: ufuncs.subtract(ufuncs.multiply(a[i], b[j]), ufuncs.multiply(a[j], b[i]))
    if len(a) == len(b) == 2:
        return minor(0, 1)
    zero = constant_like(asarray(x), 0)
    a, b = (v if len(v) == 3 else (*v, zero) for v in (a, b))
    return moveaxis(stack([minor(1, 2), minor(2, 0), minor(0, 1)], axis=-1), -1, axis)


# ---- sums of products of many ----------------------------------------------------------------------------------


def einsum(subscripts: str, *operands, optimize="auto", precision=None, preferred_element_type=None):
    """Sums of products in index notation: `einsum("bij,bjk->bik", x, y)`.

    An index that is not right of the arrow is summed; without an arrow, those that occur once are kept, in alphabetical
    order. `...` stands for axes that broadcast; an index twice in one term takes the diagonal. More than two operands
    are multiplied in the order that opt_einsum finds (Smith and Gray, 2018): `optimize` is one of its strategies
    ('auto', 'optimal', 'greedy', ...), False for left to right, or the steps of `einsum_path`.
    """
    if not isinstance(subscripts, str):
        raise ArgumentError(located("einsum: the first argument must be a string like 'ij,jk->ik'"))
    check_array("einsum", *operands)
    terms, out = _parse_subscripts(subscripts, operands)
    parts = [_take_diagonals(asarray(x), list(term)) for x, term in zip(operands, terms)]
    dtype = dtypes.result_type(*operands) if preferred_element_type is None else dtypes.dtype(preferred_element_type)
    if len(parts) == 1:
        ((x, names),) = parts
        x, names = _sum_alone(asarray(convert(x, dtype)), names, set(out))
        return transpose(x, [names.index(name) for name in out])
    sizes = _sizes([x for x, _ in parts], [names for _, names in parts])
    for i, j in _pairs([names for _, names in parts], out, sizes, optimize):
        (x, left), (y, right) = parts[i], parts[j]
        rest = [part for k, part in enumerate(parts) if k not in (i, j)]
        if not rest:
            return product(x, y, left, right, out, precision=precision, dtype=dtype)
        kept = _kept(left, right, [names for _, names in rest], out)
        parts = [*rest, (product(x, y, left, right, kept, precision=precision), kept)]
    raise ArgumentError(located(f"einsum {subscripts!r}: the steps {optimize} leave {len(parts)} terms unmultiplied"))


def _kept(left: list, right: list, rest: list[list], out: list) -> list:
    """The indices of a product of two terms that the result or another term needs."""
    needed = {*out, *(name for names in rest for name in names)}
    return [name for name in dict.fromkeys([*left, *right]) if name in needed]


def einsum_path(subscripts: str, /, *operands, optimize="auto") -> tuple[list[tuple[int, ...]], str]:
    """(steps, text): the order in which `einsum` multiplies its operands with this `optimize`.

    A step names the terms that are multiplied by their places in the list of terms; their product goes to the end of
    the list. The text says the same with the index names and the number of multiplications.
    """
    if not isinstance(subscripts, str):
        raise ArgumentError(located("einsum_path: the first argument must be a string like 'ij,jk->ik'"))
    check_array("einsum_path", *operands)
    terms, out = _parse_subscripts(subscripts, operands)
    sizes = _sizes(operands, terms)
    terms = [list(dict.fromkeys(names)) for names in terms]
    label = lambda names: "".join(name if isinstance(name, str) else "." for name in names)
    steps: list[tuple[int, ...]] = []
    lines = [f"einsum {subscripts!r}"]
    for i, j in _pairs(terms, out, sizes, optimize) if len(terms) > 1 else ():
        rest = [names for k, names in enumerate(terms) if k not in (i, j)]
        kept = _kept(terms[i], terms[j], rest, out) if rest else out
        work = math.prod(sizes[name] for name in {*terms[i], *terms[j]})
        lines.append(f"  {label(terms[i])},{label(terms[j])}->{label(kept)}   {work} multiplications")
        steps.append((i, j))
        terms = [*rest, kept]
    return steps or [(0,)], "\n".join(lines)


def _parse_subscripts(text: str, operands) -> tuple[list[list], list]:
    """The index labels of each operand and of the output; the axes of an ellipsis are labelled by their place."""
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ArgumentError(located(f"einsum {text!r}: {len(terms)} terms for {len(operands)} operands"))
    parsed, widest = [], 0
    for number, (term, x) in enumerate(zip(terms, operands)):
        ndim = len(shape_of(x))
        before, dots, after = term.partition("...")
        hidden = ndim - len(before) - len(after)
        if hidden < 0 or (hidden and not dots) or not (before + after).isalpha() and before + after:
            raise ShapeError(
                located(f"einsum {text!r}: the term {term!r} does not fit operand {number} of shape {shape_of(x)}")
            )
        widest = max(widest, hidden)
        parsed.append([*before, *(-i for i in range(hidden, 0, -1)), *after])
    letters = [name for term in parsed for name in term if isinstance(name, str)]
    if arrow:
        before, dots, after = right.partition("...")
        out = [*before, *((-i for i in range(widest, 0, -1)) if dots else ()), *after]
    else:
        out = [*(-i for i in range(widest, 0, -1)), *sorted(n for n in set(letters) if letters.count(n) == 1)]
    for name in out:
        if isinstance(name, str) and name not in letters:
            raise ArgumentError(located(f"einsum {text!r}: index {name!r} of the output is in no operand"))
    if len(set(out)) != len(out):
        raise ArgumentError(located(f"einsum {text!r}: an index is twice in the output"))
    return parsed, out


def _take_diagonals(x, names: list):
    while len(set(names)) != len(names):
        name = next(n for n in names if names.count(n) > 1)
        first = names.index(name)
        second = names.index(name, first + 1)
        if shape_of(x)[first] != shape_of(x)[second]:
            raise ShapeError(
                located(f"einsum: index {name!r} has sizes {shape_of(x)[first]} and {shape_of(x)[second]} in one term")
            )
        x = diagonal(x, 0, first, second)
        names = [n for a, n in enumerate(names) if a not in (first, second)] + [name]
    return x, names


def _pairs(terms: list[list], out: list, sizes: dict, optimize) -> Iterator[tuple[int, int]]:
    """Which two terms are multiplied next, by their places in the list; their product goes to its end."""
    if len(terms) == 2:
        yield 0, 1
        return
    import opt_einsum  # here, because few programs need it and importing it takes a while

    symbols = {name: opt_einsum.get_symbol(k) for k, name in enumerate(sizes)}
    spelled = ["".join(symbols[name] for name in names) for names in (*terms, out)]
    shapes = [tuple(sizes[name] for name in names) for names in terms]
    try:
        path, _ = opt_einsum.contract_path(
            f"{','.join(spelled[:-1])}->{spelled[-1]}", *shapes, shapes=True, optimize=optimize
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise ArgumentError(located(
            f"einsum: optimize must be a strategy of opt_einsum ('auto', 'optimal', 'greedy', ...), False or the steps "
            f"of einsum_path, not {optimize!r} ({problem})")) from problem
    count = len(terms)
    for step in path:
        # A step of several terms multiplies them from the left: the product is last, those before it have moved up.
        first, *others = sorted(step)
        for done, other in enumerate(others):
            yield (first, other) if not done else (other - 1 - done, count - 1)
            count -= 1


# ---- one-dimensional convolution -------------------------------------------------------------------------------


def convolve(x, y, mode: str = "full", *, precision=None):
    """The discrete convolution of two vectors. Modes: 'full', 'same' (the length of the longer), 'valid'."""
    check_array("convolve", x, y)
    if len(shape_of(x)) != 1 or len(shape_of(y)) != 1 or 0 in (*shape_of(x), *shape_of(y)):
        raise ShapeError(
            located(f"convolve takes two vectors with elements, but the shapes are {shape_of(x)} and {shape_of(y)}")
        )
    if shape_of(x)[0] < shape_of(y)[0]:
        x, y = y, x
    return _slide(x, flip(y), mode, precision)


def correlate(x, y, mode: str = "valid", *, precision=None):
    """The correlation of two vectors: like `convolve` with `y` reversed (and conjugated)."""
    check_array("correlate", x, y)
    y = ufuncs.conj(y)
    if shape_of(x)[0] >= shape_of(y)[0]:
        return _slide(x, y, mode, precision)
    return flip(_slide(y, x, mode, precision))


def _slide(x, y, mode: str, precision):
    from ftiny.lax import conv_general_dilated

    n = shape_of(y)[0]
    padding = {"full": (n - 1, n - 1), "same": (n // 2, n - n // 2 - 1), "valid": (0, 0)}.get(mode)
    if padding is None:
        raise ArgumentError(located(f"convolve: mode must be 'full', 'same' or 'valid', not {mode!r}"))
    dtype = dtypes.result_type(x, y)
    x, y = asarray(convert(x, dtype)), asarray(convert(y, dtype))
    result = conv_general_dilated(x[None, None, :], y[None, None, :], (1,), [padding], precision=precision)
    return reshape(result, (shape_of(result)[2],))


def polyval(coefficients, x):
    """The polynomial with these coefficients (highest power first) at `x`, by Horner's rule."""
    coefficients = asarray(coefficients)
    from ftiny.numpy.manipulation import unstack

    total = materialize(constant_like(coefficients, 0), core.get_aval(x).shape)
    for coefficient in unstack(coefficients):
        total = ufuncs.add(ufuncs.multiply(total, x), coefficient)
    return total
