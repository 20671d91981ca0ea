"""Indexing, sorting, folds and windows: values and gradients of the rules against jax, with ties and edges."""
from __future__ import annotations

import ml_dtypes
import numpy as np
import oracle  # noqa: F401  (sets the environment of jax before it is imported)
import pytest
from primitive_rules import pullback, run

from ftiny import dtypes
from ftiny import primitives as p
from ftiny.contraction import Direct, Window, make_spec

GATHERS = {
    # name: operand shape, indices shape, dims, slice sizes
    "rows": ((6, 5), (4, 1), p.GatherDims((1,), (0,), (0,)), (1, 5)),
    "elements": ((6, 5), (3, 2, 2), p.GatherDims((), (0, 1), (1, 0)), (1, 1)),
    "windows": ((6, 5), (4, 2), p.GatherDims((0, 2), (), (0, 1)), (3, 2)),
    "one_window": ((6, 5, 4), (3,), p.GatherDims((0, 1, 2), (), (0, 1, 2)), (2, 5, 3)),
    "columns_first": ((6, 5), (2, 3, 1), p.GatherDims((0,), (1,), (1,)), (6, 1)),
    "batched": ((3, 6, 5), (3, 4, 1), p.GatherDims((2,), (1,), (1,), (0,), (0,)), (1, 1, 5)),
}


def _numbers(jax, dims: p.GatherDims):
    return jax.lax.GatherDimensionNumbers(
        offset_dims=dims.offset_dims, collapsed_slice_dims=dims.collapsed_slice_dims,
        start_index_map=dims.start_index_map, operand_batching_dims=dims.operand_batching_dims,
        start_indices_batching_dims=dims.start_indices_batching_dims)


def _scatter_numbers(jax, dims: p.GatherDims):
    return jax.lax.ScatterDimensionNumbers(
        update_window_dims=dims.offset_dims, inserted_window_dims=dims.collapsed_slice_dims,
        scatter_dims_to_operand_dims=dims.start_index_map, operand_batching_dims=dims.operand_batching_dims,
        scatter_indices_batching_dims=dims.start_indices_batching_dims)


def _scatter_dims(dims: p.GatherDims) -> p.ScatterDims:
    return p.ScatterDims(dims.offset_dims, dims.collapsed_slice_dims, dims.start_index_map, dims.operand_batching_dims,
                         dims.start_indices_batching_dims)


def _case(name: str, out_of_bounds: bool):
    shape, indices_shape, dims, sizes = GATHERS[name]
    rng = np.random.default_rng([len(name), out_of_bounds])
    indices = rng.integers(-3, 9, indices_shape).astype(np.int32)
    if not out_of_bounds:
        last = [shape[a] - sizes[a] for a in dims.start_index_map]
        indices = np.clip(indices, 0, np.array(last, np.int32))
    return rng.normal(size=shape).astype(np.float32), indices, dims, sizes, rng


@pytest.mark.parametrize("mode", ["clip", "fill"])
@pytest.mark.parametrize("name", GATHERS)
def test_gather(name, mode):
    import jax

    x, indices, dims, sizes, rng = _case(name, True)

    def theirs(x):
        return jax.lax.gather(x, indices, _numbers(jax, dims), sizes, mode=mode)

    (found,) = run(lambda x, i: p.gather(x, i, dims, sizes, mode), x, indices)
    expected, back = jax.vjp(theirs, x)
    np.testing.assert_array_equal(found, np.asarray(expected))
    ct = rng.normal(size=found.shape).astype(np.float32)
    (bar,) = pullback(lambda x: p.gather(x, indices, dims, sizes, mode), [x], [ct], [0])
    np.testing.assert_allclose(bar, np.asarray(back(ct)[0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["clip", "fill"])
@pytest.mark.parametrize("op", ["set", "add", "mul", "min", "max"])
@pytest.mark.parametrize("name", GATHERS)
def test_scatter(name, op, mode):
    import jax

    # Out of bounds, jax's derivative of min and max in mode 'clip' reads other places than it writes.
    x, indices, dims, sizes, rng = _case(name, mode == "fill" or op not in ("min", "max"))
    shape = run(lambda x, i: p.gather(x, i, dims, sizes, mode), x, indices)[0].shape
    # Small integers, so that there are ties.
    x, updates = (rng.integers(-3, 4, s).astype(np.float32) for s in (x.shape, shape))
    function = getattr(jax.lax, {"set": "scatter"}.get(op, f"scatter_{op}"))
    unique = op == "mul"  # jax differentiates it only then
    if unique:
        indices = indices.copy()
        flat = indices.reshape(-1, indices.shape[-1])
        if len({tuple(row) for row in flat}) != len(flat) or name in ("windows", "one_window", "batched"):
            return

    def theirs(x, u):
        return function(x, indices, u, _scatter_numbers(jax, dims), mode=mode, unique_indices=unique)

    def ours(x, u):
        return p.scatter(x, indices, u, op=op, dims=_scatter_dims(dims), mode=mode, unique_indices=unique)

    (found,) = run(ours, x, updates)
    expected, back = jax.vjp(theirs, x, updates)
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-6)
    ct = rng.normal(size=found.shape).astype(np.float32)
    for bar, wanted in zip(pullback(ours, [x, updates], [ct], [0, 1]), back(ct)):
        np.testing.assert_allclose(bar, np.asarray(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.bool_, np.float16, ml_dtypes.bfloat16])
def test_sort(dtype):
    import jax

    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (4, 9)).astype(dtype)
    if dtypes.is_float(np.dtype(dtype)):
        x[0, :5] = [np.nan, -np.inf, np.inf, 0.0, -0.0]
    places = np.broadcast_to(np.arange(9, dtype=np.int32), x.shape)
    for axis in (0, 1):
        for ours, theirs in zip(run(lambda *xs, a=axis: p.sort(*xs, axis=a), x, places),
                                jax.lax.sort((x, places), dimension=axis, num_keys=1)):
            _equal(ours, np.asarray(theirs))
    second = rng.normal(size=x.shape).astype(np.float32)
    for ours, theirs in zip(run(lambda *xs: p.sort(*xs, axis=1, num_keys=2), x, second, places),
                            jax.lax.sort((x, second, places), dimension=1, num_keys=2)):
        _equal(ours, np.asarray(theirs))


def _equal(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min", "logsumexp"])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumulate(op, reverse):
    import jax

    x = np.random.default_rng(1).normal(size=(3, 13)).astype(np.float32)
    x[0, 2:5], x[1, 6] = -np.inf if op == "logsumexp" else 0.0, 0.0
    theirs = {"sum": jax.lax.cumsum, "prod": jax.lax.cumprod, "max": jax.lax.cummax, "min": jax.lax.cummin,
              "logsumexp": jax.lax.cumlogsumexp}[op]
    expected, back = jax.vjp(lambda x: theirs(x, axis=1, reverse=reverse), x)
    (found,) = run(lambda x: p.cumulate(x, op, 1, reverse), x)
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5, atol=1e-6)
    ct = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    (bar,) = pullback(lambda x: p.cumulate(x, op, 1, reverse), [x], [ct], [0])
    assert np.isfinite(bar).all()
    # jax divides several ties otherwise, and gives NaN where all is -inf.
    rows = slice(1, None) if op in ("max", "min", "logsumexp") else slice(None)
    np.testing.assert_allclose(bar[rows], np.asarray(back(ct)[0])[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)])
def test_max_pool_gradient_takes_the_first(window, stride, padding):
    import jax

    x = np.random.default_rng(3).integers(0, 4, (2, 9, 8)).astype(np.float32)
    extents = [(size + 2 * padding - window) // stride + 1 for size in x.shape[1:]]
    axes = [Direct(0), Window(1, 2, stride, 1, padding), Window(3, 4, stride, 1, padding)]
    spec = make_spec([axes], [0, 1, 3], {0: 2, 1: extents[0], 2: window, 3: extents[1], 4: window})

    def theirs(x):
        return jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, window, window), (1, stride, stride),
                                     ((0, 0), (padding, padding), (padding, padding)))

    expected, back = jax.vjp(theirs, x)
    (found,) = run(lambda x: p.reduce(x, "max", spec), x)
    np.testing.assert_array_equal(found, np.asarray(expected))
    ct = np.random.default_rng(4).normal(size=found.shape).astype(np.float32)
    (bar,) = pullback(lambda x: p.reduce(x, "max", spec), [x], [ct], [0])
    np.testing.assert_allclose(bar, np.asarray(back(ct)[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["prod", "max", "min"])
def test_reduction_gradients_with_ties_and_zeros(op):
    import jax

    x = np.random.default_rng(5).integers(-1, 2, (4, 6)).astype(np.float32)
    function = {"prod": jax.numpy.prod, "max": jax.numpy.max, "min": jax.numpy.min}[op]
    for axes in ((0,), (1,), (0, 1)):
        expected, back = jax.vjp(lambda x, a=axes: function(x, axis=a), x)
        ct = np.random.default_rng(6).normal(size=expected.shape).astype(np.float32)
        (bar,) = pullback(lambda x, a=axes: p.reduce_axes(x, a, op), [x], [ct], [0])
        np.testing.assert_allclose(bar, np.asarray(back(ct)[0]), rtol=1e-5, atol=1e-6)
