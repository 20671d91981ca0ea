"""Scatters and gathers of rows: every schedule against the interpreter, on random data.

A nest is built as the compiler builds it, scheduled for a CPU or for a GPU, and run on PoCL; with a GPU, the whole way
is run there, twice, for the same bits. Sizes include 0, 1, odd and prime ones. Where bits are compared no place has
more updates than `piece_length`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from running import CPU, CUDA, GPU, run_opencl, sources

import ftiny
import ftiny.numpy as jnp
from ftiny import indexing
from ftiny.indexing import ScatterDims
from ftiny.lowering import schedule_scatter
from ftiny.lowering.build import Built, build, program_of
from ftiny.lowering.fuse import fuse
from ftiny.lowering.loops_interpreter import evaluate_nest
from ftiny.lowering.schedule_scatter import piece_length
from ftiny.lowering.simplify import simplify

ROWS = ScatterDims((1,), (0,), (0,))
TARGETS = {"cpu": CPU, "gpu": GPU}
random = np.random.default_rng()


def normal(*shape: int, dtype="float32") -> np.ndarray:
    """Normal numbers; whole ones where the dtype is an integer."""
    scale = 9 if np.dtype(dtype).kind == "i" else 1
    return (scale * random.normal(size=shape)).astype(dtype)


def ids(low: int, high: int, *shape: int) -> np.ndarray:
    """Random indices in low .. high-1."""
    return random.integers(low, high, shape).astype(np.int32)


def built_of(function, kind: str, arguments) -> tuple[Built, dict[str, np.ndarray]]:
    """The nest of the only group of this kind, and its arrays by argument name."""
    with ftiny.device("numpy"):
        jaxpr = simplify(ftiny.make_jaxpr(function)(*arguments).close_over()).jaxpr
    fused = fuse(jaxpr)
    program = program_of(fused)
    (built,) = (one for group in fused.groups if group.kind == kind for one in build(fused, group, program))
    given = dict(zip(jaxpr.inputs, arguments))
    names = zip(built.nest.arguments, built.variables)
    return built, {argument.name: given[var] for argument, var in names if var in given}


def interpreted(function, arguments) -> np.ndarray:
    """What the interpreter gives."""
    with ftiny.device("numpy"):
        return np.asarray(function(*map(jnp.asarray, arguments)))


def check(function, *arguments: np.ndarray, target: str, kind: str = "scatter", tolerance: float = 0.0) -> None:
    """Compare a device with the interpreter; without a tolerance, bit by bit."""
    expected = interpreted(function, arguments)
    if target == "cuda":
        with ftiny.device("cuda"):
            compiled = ftiny.jit(function)
            found, again = (np.asarray(compiled(*map(jnp.asarray, arguments))) for _ in range(2))
        assert found.tobytes() == again.tobytes()
    else:
        built, arrays = built_of(function, kind, arguments)
        (found,) = run_opencl(built.nest, arrays, TARGETS[target]).values()
        found = found.view(expected.dtype)
    if tolerance:
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(params=["cpu", "gpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def target(request) -> str:
    """Schedules for a CPU and for a GPU on PoCL, and a real GPU."""
    if request.param == "cuda" and not any(device.kind == "cuda" for device in ftiny.devices()):
        pytest.skip("no cuda device here")
    return request.param


@pytest.fixture(autouse=True)
def small_is_many(monkeypatch) -> None:
    """Sort also what is little: sorting is what most is tested of."""
    monkeypatch.setattr(schedule_scatter, "FEW", 64)


@pytest.mark.parametrize(("places", "width", "count"), [(53, 17, 601), (1, 40, 70), (61, 1, 1021), (60, 24, 2),
                                                        (59, 24, 64), (997, 3, 1021)])
def test_rows_are_added_in_the_order_of_the_interpreter(target, places, width, count) -> None:
    """Negative indices count from the end, and those out of bounds are dropped."""
    check(lambda i, u: jnp.zeros((places, width)).at[i].add(u, mode="drop"), ids(-places - 3, places + 3, count),
          normal(count, width), target=target)


@pytest.mark.parametrize("op", ["add", "multiply", "min", "max", "set"])
def test_every_operation_on_an_operand(target, op) -> None:
    """Of several updates of one element, 'set' keeps the last; 16-bit floats are rounded once, at the end."""
    places, count = 61, 701
    for dtype in ("float32", "float16", "int8") if op in ("add", "set") else ("float32",):
        check(lambda x, i, u: getattr(x.at[i], op)(u), normal(places, 16, dtype=dtype), ids(0, places, count),
              normal(count, 16, dtype=dtype), target=target)


def test_bools_are_set(target) -> None:
    check(lambda x, i, u: x.at[i].set(u), normal(61, 16) > 0, ids(0, 61, 701), normal(701, 16) > 0, target=target)


def test_all_updates_of_one_row_are_added_in_pieces(target) -> None:
    """The pieces are as long as the square root of the number of updates: many, and none of them long."""
    count = 5003
    assert piece_length(count) == 64
    check(lambda i, u: jnp.zeros((61, 16)).at[i].add(u), np.full(count, 37, np.int32), normal(count, 16),
          target=target, tolerance=1e-3)


def test_windows_that_overlap(target) -> None:
    """Windows of three rows start anywhere, also outside; each of their rows is an update of its own."""
    dims = ScatterDims((1, 2), (), (0,))
    check(lambda x, i, u: indexing.scatter(x, i, u, op="add", dims=dims, mode="clip"), normal(61, 16),
          ids(-3, 64, 301, 1), normal(301, 3, 16), target=target)
    check(lambda x, i, u: indexing.scatter(x, i, u, op="set", dims=dims, mode="fill"), normal(61, 16),
          ids(-3, 64, 301, 1), normal(301, 3, 5), target=target)


def test_columns_and_several_indices(target) -> None:
    """The indexed axis is last, or in the middle; two axes are indexed at once."""
    check(lambda x, i, u: x.at[:, i].add(u), normal(13, 61), ids(0, 61, 701), normal(13, 701), target=target)
    check(lambda x, i, j, u: x.at[i, :, j].add(u), normal(5, 16, 7), ids(0, 5, 701), ids(0, 7, 701), normal(701, 16),
          target=target)
    check(lambda x, i, j, u: x.at[i, j].add(u), normal(5, 7, 2, 16), ids(0, 5, 701), ids(0, 7, 701),
          normal(701, 2, 16), target=target)


def test_batches(target) -> None:
    """Mapped over operand, indices and updates, the batch is part of the place; with shared indices it is columns."""
    def one(x, i, u):
        return x.at[i].add(u)

    arguments = normal(3, 19, 16), ids(0, 19, 3, 301), normal(3, 301, 16)
    check(ftiny.vmap(one), *arguments, target=target)
    check(lambda x, i, u: ftiny.vmap(lambda x, u: one(x, i, u))(x, u), arguments[0], arguments[1][0], arguments[2],
          target=target)


def test_promises(target) -> None:
    """Sorted indices, some out of bounds, are not sorted again; unique ones need no order."""
    sorted_ids = np.sort(ids(-1, 62, 701))[:, None]
    check(lambda x, i, u: indexing.scatter(x, i, u, op="add", dims=ROWS, mode="fill", indices_are_sorted=True),
          normal(61, 16), sorted_ids, normal(701, 16), target=target)
    check(lambda x, i, u: indexing.scatter(x, i, u, op="add", dims=ROWS, mode="clip", indices_are_sorted=True),
          normal(61, 16), sorted_ids, normal(701, 16), target=target)
    check(lambda x, i, u: x.at[i].multiply(u, unique_indices=True), normal(997, 16),
          random.permutation(997).astype(np.int32), normal(997, 16), target=target)


def test_integers_and_unordered_sums_go_where_they_belong(target) -> None:
    """Whole numbers have the same sum in any order, also those that a float holds exactly."""
    count = 70001
    check(lambda i, u: jnp.zeros(61, jnp.int32).at[i].add(u, mode="drop"), ids(-9, 70, count),
          normal(count, dtype="int32"), target=target)
    check(lambda i, u: jnp.zeros((61, 3), jnp.int32).at[i].max(u), ids(0, 61, 701), normal(701, 3, dtype="int32"),
          target=target)
    check(lambda i, u: jnp.zeros(61).at[i].add(u, unordered=True), ids(0, 61, count),
          np.round(normal(count)), target=target)


@pytest.mark.parametrize("width", [16, 18])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_gathers_of_rows(target, width, dtype) -> None:
    """Rows of 16 bytes a thread, and such that cannot be cut so; four rows a thread, and what is left of them."""
    table, places = normal(61, width, dtype=dtype), ids(-70, 70, 203)
    check(lambda t, i: 2 * jnp.take(t, i, axis=0, mode="fill", fill_value=0.5), table, places, target=target,
          kind="map")
    check(lambda t, i: t[i], table, places % 61, target=target, kind="map")


def test_the_interpreter_of_nests_takes_scatters() -> None:
    x, i, u = normal(11, 5), ids(-11, 11, 40), normal(40, 5)
    built, arrays = built_of(lambda x, i, u: x.at[i].add(u, mode="drop"), "scatter", (x, i, u))
    (found,) = evaluate_nest(built.nest, arrays).values()
    expected = interpreted(lambda x, i, u: x.at[i].add(u, mode="drop"), (x, i, u))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_zeros_are_never_read_and_nothing_is_copied() -> None:
    """On a CPU there is one kernel; on a GPU nine sort, and each element of the result is written once, by the last."""
    built, _ = built_of(lambda i, u: jnp.zeros((50257, 768)).at[i].add(u), "scatter",
                        (np.zeros(65536, np.int32), np.zeros((65536, 768), np.float32)))
    assert len(built.nest.arguments) == 3 and len(sources(built.nest, CPU)) == 1
    kernels = sources(built.nest, CUDA)
    result = built.nest.outputs()[0]
    writers = [k for k in kernels if any(p.name == result and p.written for p in k.params)]
    assert len(kernels) == 12 and writers == kernels[-1:]
    assert writers[0].bytes == 4 * (65536 * 768 + 50257 * 768 + 65536)


def test_few_updates_take_two_kernels_and_touch_little() -> None:
    built, _ = built_of(lambda x, i: x.at[i].add(1.0), "scatter", (np.zeros((5000, 64), np.float32), ids(0, 9, 10)))
    assert [k.bytes for k in sources(built.nest, CUDA)] == [2 * 5000 * 64 * 4, 10 * 4 + 2 * 10 * 64 * 4]
    assert [k.bytes for k in sources(built.nest, CPU)] == [10 * 4 + 2 * 5000 * 64 * 4]


def test_sources_compile_for_cuda() -> None:
    """Wide accesses where rows are made of 16 bytes, atomics where the order does not show."""
    pytest.importorskip("cuda.bindings.nvrtc")
    from ftiny.lowering.nvrtc import compile_cubin

    where = np.zeros(70000, np.int32)
    cases = {
        "float4": ("scatter", lambda i, u: jnp.zeros((997, 24)).at[i].add(u), (where[:3001], normal(3001, 24))),
        "double2": ("scatter", lambda i, u: jnp.zeros((61, 6), u.dtype).at[i].max(u), (where[:300],
                                                                                      normal(300, 6, dtype="float64"))),
        "unsigned short": ("scatter", lambda x, i, u: x.at[i].set(u), (normal(61, 7, dtype="float16"), where[:600],
                                                                       normal(600, 7, dtype="float16"))),
        "atomicAdd(sums": ("scatter", lambda i, u: jnp.zeros(61).at[i].add(u, unordered=True), (where, normal(70000))),
        "atomicAdd(a1": ("scatter", lambda i, u: jnp.zeros(10**5).at[i].add(u, unordered=True), (where, normal(70000))),
        "(const float4*)(a1": ("map", lambda t, i: t[i], (normal(61, 24), where[:203])),
    }
    for text, (kind, function, arguments) in cases.items():
        built, _ = built_of(function, kind, arguments)
        kernels = sources(built.nest, CUDA)
        assert any(text in k.text for k in kernels), text
        for kernel in kernels:
            assert compile_cubin(kernel.text, "sm_90a", kernel.entry)
            assert kernel.shared_bytes <= 48 * 1024


def test_a_device_without_shared_memory_takes_one_worker() -> None:
    """Also the slow way is the right one."""
    small = replace(GPU, shared_bytes=0)
    function = (lambda x, i, u: x.at[i].add(u))
    arguments = normal(61, 3), ids(0, 61, 701), normal(701, 3)
    built, arrays = built_of(function, "scatter", arguments)
    (found,) = run_opencl(built.nest, arrays, small).values()
    np.testing.assert_array_equal(found, interpreted(function, arguments))


def test_derivatives_of_lookups_are_scatters_of_rows(compiled) -> None:
    """Of indexing, `take` and `take_along_axis`, with a row looked up many times."""
    table, places = normal(61, 16), ids(0, 61, 701)
    with ftiny.device("numpy"):
        expected = [np.asarray(ftiny.grad(f)(jnp.asarray(table), jnp.asarray(places))) for f in LOOKUPS]
    with ftiny.device(compiled):
        for function, wanted in zip(LOOKUPS, expected):
            found = np.asarray(ftiny.jit(ftiny.grad(function))(jnp.asarray(table), jnp.asarray(places)))
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


LOOKUPS = (
    lambda t, i: jnp.sum(jnp.sin(t[i])),
    lambda t, i: jnp.sum(jnp.sin(jnp.take(t, i, axis=0))),
    lambda t, i: jnp.sum(jnp.sin(jnp.take_along_axis(t, jnp.stack([i] * 16, axis=1), axis=0))),
)


@pytest.mark.parametrize(("places", "count"), [(7, 0), (1, 1)])
def test_nothing_and_one(compiled, places, count) -> None:
    x, i, u = normal(places, 16), ids(0, places, count), normal(count, 16)
    with ftiny.device(compiled):
        found = np.asarray(ftiny.jit(lambda x, i, u: x.at[i].add(u))(x, i, u))
        assert np.asarray(ftiny.jit(lambda x, i: x[i])(x, i)).shape == (count, 16)
    np.testing.assert_array_equal(found, x + u if count else x)


def test_promises_in_the_public_functions() -> None:
    """`unordered` and the two promises are taken everywhere; each keeps its meaning under `vmap` and `grad`."""
    x, i, u = normal(11, 5), np.sort(ids(0, 11, 40)), normal(40, 5)
    with ftiny.device("numpy"):
        expected = np.asarray(jnp.asarray(x).at[i].add(u))
        by_lax = ftiny.lax.scatter_add(x, i[:, None], u, ROWS, indices_are_sorted=True, unordered=True)
        np.testing.assert_array_equal(np.asarray(by_lax), expected)

        def one(x, i, u):
            return jnp.asarray(x).at[i].add(u, indices_are_sorted=True, unordered=True)

        mapped = ftiny.make_jaxpr(ftiny.vmap(one))(np.stack([x] * 2), np.stack([i] * 2), np.stack([u] * 2))
        (scatter,) = (eqn for eqn in mapped.eqns if eqn.primitive.name == "scatter")
        assert scatter.params["unordered"] and not scatter.params["indices_are_sorted"]
        gradient = ftiny.grad(lambda u: jnp.sum(one(x, i, u) * x))(u)
        np.testing.assert_allclose(np.asarray(gradient), x[i], rtol=1e-6)
