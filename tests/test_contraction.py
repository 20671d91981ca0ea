"""The contraction algebra, exactly, with integers: evaluation, transposition to second order, vmap, patches, checks."""
from __future__ import annotations

import random

import numpy as np
import pytest

from ftiny import contraction
from ftiny.contraction import Direct, Spec, Window, make_spec
from ftiny.errors import ShapeError


def evaluate(spec: Spec, *arrays: np.ndarray) -> np.ndarray:
    """What a spec means, point by point of its index space: slow, and by another way than `contract_numpy`."""
    extents = [size for _, size in spec.sizes]
    grid = np.indices(extents).reshape(len(extents), -1)
    value = np.ones(grid.shape[1], np.int64)
    for axes, array in zip(spec.operands, arrays):
        inside, coordinates = np.ones(grid.shape[1], bool), []
        for axis, size in zip(axes, array.shape):
            if isinstance(axis, Direct):
                coordinates.append(grid[axis.index])
                continue
            scaled = axis.stride * grid[axis.p] + axis.dilation * grid[axis.r] - axis.pad
            coordinate = scaled // axis.base
            inside &= (scaled % axis.base == 0) & (coordinate >= 0) & (coordinate < size)
            coordinates.append(np.clip(coordinate, 0, max(size - 1, 0)))
        value = value * (np.where(inside, array[tuple(coordinates)], 0) if array.size else 0)
    out = np.zeros([extents[i] for i in spec.output], np.int64)
    np.add.at(out, tuple(grid[i] for i in spec.output), value)
    return out


def integers(rng: np.random.Generator, shape) -> np.ndarray:
    return rng.integers(-5, 6, tuple(shape))


def random_convolution(rnd: random.Random) -> tuple[Spec, tuple, tuple]:
    """A grouped convolution of rank 1 to 3 with every kind of window, and the shapes of its operands."""
    rank = rnd.randint(1, 3)
    sizes = {0: 2, 1: rnd.choice([1, 2]), 2: 2, 3: 3}  # batch, group, channels in, channels out
    x, w, out, x_shape = [Direct(0)], [], [0], [2]
    for k in range(rank):
        p, r = 10 + 2 * k, 11 + 2 * k
        sizes[p], sizes[r] = rnd.randint(1, 5 if rank < 3 else 3), rnd.randint(1, 3 if rank < 3 else 2)
        window = Window(p, r, rnd.randint(1, 3), rnd.choice([1, 2, -1]), rnd.randint(-2, 3), rnd.choice([1, 1, 2, 3]))
        size = rnd.randint(1, 7 if rank < 3 else 4)
        x.append(window)
        x_shape.append(size)
        w.append(Direct(r))
        out.append(p)
    x, w, out = [*x, Direct(1), Direct(2)], [*w, Direct(1), Direct(2), Direct(3)], [*out, 1, 3]
    operands, shapes = [x, w], [(*x_shape, sizes[1], 2), tuple(sizes[a.index] for a in w)]
    if rnd.random() < 0.5:
        operands, shapes = operands[::-1], shapes[::-1]
    return make_spec(operands, out, sizes), shapes[0], shapes[1]


@pytest.mark.parametrize("seed", range(100))
def test_convolutions_and_their_transposes_to_second_order(seed):
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    spec, *shapes = random_convolution(rnd)
    contraction.check_spec(spec)
    arrays = [integers(rng, s) for s in shapes]
    contraction.check_operands(spec, shapes)
    out = evaluate(spec, *arrays)
    assert np.array_equal(contraction.contract_numpy(*arrays, spec), out)
    assert out.shape == spec.output_shape
    ct = integers(rng, out.shape)
    for k in (0, 1):
        turned, places = contraction.transpose_spec(spec, k, shapes[k])
        contraction.check_spec(turned)
        assert places == tuple(range(len(shapes[k])))
        bar = contraction.contract_numpy(ct, arrays[1 - k], turned)
        assert bar.shape == shapes[k] and np.array_equal(bar, evaluate(turned, ct, arrays[1 - k]))
        assert (bar * arrays[k]).sum() == (ct * out).sum()
        # The transpose of the transpose, in the cotangent, is the contraction itself; in the other operand it is dual.
        again, _ = contraction.transpose_spec(turned, 0, ct.shape)
        tangent = integers(rng, shapes[k])
        pair = [tangent, arrays[1]] if k == 0 else [arrays[0], tangent]
        assert np.array_equal(contraction.contract_numpy(tangent, arrays[1 - k], again), evaluate(spec, *pair))
        other, _ = contraction.transpose_spec(turned, 1, shapes[1 - k])
        contraction.check_spec(other)
        dual = contraction.contract_numpy(tangent, ct, other)
        assert (dual * arrays[1 - k]).sum() == (bar * tangent).sum()


@pytest.mark.parametrize("seed", range(60))
def test_unary_windows_and_their_transposes(seed):
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    sizes = {0: 3, 1: rnd.randint(1, 5), 2: rnd.randint(1, 3), 3: 2}
    window = Window(1, 2, rnd.randint(1, 3), rnd.choice([1, 2, -1]), rnd.randint(-2, 3), rnd.choice([1, 2]))
    shape = (3, rnd.randint(1, 7), 2)
    output = rnd.choice([[0, 1], [0, 1, 2, 3], [1, 0, 2], [1]])
    spec = make_spec([[Direct(0), window, Direct(3)]], output, sizes)
    contraction.check_spec(spec)
    x = integers(rng, shape)
    spread, folded = contraction.unary_numpy(x, spec)
    out = evaluate(spec, x)
    assert np.array_equal(spread.sum(folded), out)
    turned, places = contraction.transpose_spec(spec, 0, shape)
    ct = integers(rng, out.shape)
    spread, folded = contraction.unary_numpy(ct, turned)
    bar = spread.sum(folded)
    back = np.broadcast_to(bar.reshape([s if k in places else 1 for k, s in enumerate(shape)]), shape)
    assert (back * x).sum() == (ct * out).sum()


@pytest.mark.parametrize("seed", range(40))
def test_locally_connected_and_pool_tangent_take_the_patch_form(seed):
    rnd, rng = random.Random(seed), np.random.default_rng(seed)
    sizes = {0: 2, 1: rnd.randint(1, 4), 2: rnd.randint(1, 3), 3: 2}
    window = Window(1, 2, rnd.randint(1, 3), rnd.randint(1, 2), rnd.randint(-1, 2), rnd.choice([1, 2]))
    # y[n,p] = sum over r,c of x[n, window(p,r), c] * w[p,r,c]: p is in the other operand and in the output.
    spec = make_spec([[Direct(0), window, Direct(3)], [Direct(1), Direct(2), Direct(3)]], [0, 1], sizes)
    assert contraction.needs_patches(spec) == 0
    with pytest.raises(ShapeError, match="patches"):
        contraction.check_spec(spec)
    x, w = integers(rng, (2, rnd.randint(1, 8), 2)), integers(rng, (sizes[1], sizes[2], 2))
    spread, axes = contraction.patches(spec.operands[0], spec.extent)
    dense = make_spec([axes, spec.operands[1]], spec.output, spec.extent)
    contraction.check_spec(dense)
    patches, folded = contraction.unary_numpy(x, spread)
    assert folded == ()
    assert np.array_equal(contraction.contract_numpy(patches, w, dense), evaluate(spec, x, w))


def test_a_window_index_may_stay_in_the_output():
    # Depthwise patches times a kernel, keeping r: its transpose reads r directly and in a window.
    spec = make_spec([[Window(0, 1, 2, 1, 1)], [Direct(1)]], [0, 1], {0: 4, 1: 3})
    rng = np.random.default_rng(0)
    x, w, ct = integers(rng, (7,)), integers(rng, (3,)), integers(rng, (4, 3))
    turned, _ = contraction.transpose_spec(spec, 0, (7,))
    bar = contraction.contract_numpy(ct, w, turned)
    assert np.array_equal(bar, evaluate(turned, ct, w))
    assert (bar * x).sum() == (ct * evaluate(spec, x, w)).sum()


@pytest.mark.parametrize("dims", [(0, None), (None, 1), (2, 0), (1, 1)])
def test_vmap_adds_an_index(dims):
    rng = np.random.default_rng(1)
    spec = contraction.from_letters("mk,kn->mn", (3, 4), (4, 5))
    shapes = [list(s) for s in ((3, 4), (4, 5))]
    for shape, d in zip(shapes, dims):
        if d is not None:
            shape.insert(d, 6)
    x, y = (integers(rng, s) for s in shapes)
    out = contraction.contract_numpy(x, y, contraction.add_index(spec, dims, 6))
    for k in range(6):
        one = [a if d is None else np.take(a, k, d) for a, d in zip((x, y), dims)]
        assert np.array_equal(out[k], one[0] @ one[1])


def test_einsum_against_numpy():
    rng = np.random.default_rng(2)
    for text, shapes in [("ij,jk->ik", ((3, 4), (4, 5))), ("bij,bkj->kbi", ((2, 3, 4), (2, 5, 4))),
                         ("i,j->ji", ((3,), (4,))), ("abc,cb->a", ((2, 3, 4), (4, 3))), (",i->i", ((), (3,))),
                         ("ij,jk->ik", ((0, 4), (4, 5))), ("ij,jk->ik", ((3, 0), (0, 5)))]:
        x, y = (integers(rng, s) for s in shapes)
        assert np.array_equal(contraction.contract_numpy(x, y, contraction.from_letters(text, *shapes)),
                              np.einsum(text, x, y))


def test_specs_are_canonical_and_print():
    a = make_spec([[Direct(7), Direct(9)], [Direct(9), Direct(4)]], [7, 4], {7: 2, 9: 3, 4: 5})
    assert a == contraction.from_letters("xy,yz->xz", (2, 3), (3, 5)) and str(a) == "a b, b c -> a c"
    assert str(make_spec([[Window(0, 1, 2, -1, 1, 3)]], [0], {0: 1, 1: 2})) == "(2a-b-1)/3 -> a"
    assert contraction.factors(a, [(2, 3), (3, 5)]) == "ab,bc->ac"


@pytest.mark.parametrize("operands, output, message", [
    ([[Direct(0), Direct(0)]], [0], "two axes of one operand"),
    ([[Window(0, 1), Direct(0)]], [0], "two axes of one operand"),
    ([[Window(0, 1)], [Window(0, 2), Direct(1)]], [0], "windowed twice"),
    ([[Direct(0), Direct(1)], [Direct(1), Direct(2)]], [0], "reduce that operand first"),
    ([[Window(0, 1)]], [], "must be in the output"),
    ([[Direct(0)]], [0, 0], "repeated"),
    ([[Window(0, 1, stride=0)]], [0], "must be positive"),
])
def test_preconditions_name_the_index(operands, output, message):
    spec = make_spec(operands, output, dict.fromkeys(range(3), 2))
    with pytest.raises(ShapeError, match=message):
        contraction.check_spec(spec)


def test_shape_mismatch_names_axis_and_shapes():
    with pytest.raises(ShapeError, match=r"index 'j' is 4 and 5; the operands have shapes \(3, 4\), \(5, 6\)"):
        contraction.from_letters("ij,jk->ik", (3, 4), (5, 6))
    spec = contraction.from_letters("ij,jk->ik", (3, 4), (4, 6))
    with pytest.raises(ShapeError, match=r"axis 0 of operand 1 has extent 5.*\(3, 4\), \(5, 6\)"):
        contraction.check_operands(spec, [(3, 4), (5, 6)])
