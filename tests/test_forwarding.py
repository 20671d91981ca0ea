"""Results that are arguments, or the same value twice, share memory; who changes or deletes one does not see it in the
other."""

from __future__ import annotations

import numpy as np
import pytest
from both import normal

import ftiny
import ftiny.numpy as fnp

X, Y = normal(37), normal(37, seed=1)


def location(array):
    return array._memory.location


def on_device(value):
    """An array whose memory is on the current device."""
    return ftiny.device_put(value)


def test_a_result_that_is_an_argument_is_not_copied(every_device):
    f = ftiny.jit(lambda x, y: (x, x + y, {"y": y, "again": x}))
    x, y = on_device(X), on_device(Y)
    for _ in range(3):
        same, total, rest = f(x, y)
        if every_device != "numpy":
            assert location(same) == location(rest["again"]) == location(x) and location(rest["y"]) == location(y)
        np.testing.assert_allclose(total, X + Y, rtol=1e-6)
        np.testing.assert_array_equal(rest["y"], Y)
    assert f.trace_count == 1
    assert [len(p.outputs) for p in (f._last.program, f._last.compiled)] == [4, 1]


def test_through_calls(every_device):
    inner = ftiny.jit(lambda x, y: (y, x * 2, x))
    ruled = ftiny.custom_jvp(lambda x: x)
    ruled.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    f = ftiny.jit(lambda x, y: (*ftiny.jit(inner)(x, y), ruled(x), inner(x, y)[0]))
    x, y = on_device(X), on_device(Y)
    out = f(x, y)
    for found, expected in zip(out, (Y, X * 2, X, X, Y)):
        np.testing.assert_array_equal(found, expected)
    assert len(f._last.compiled.outputs) == 1
    if every_device != "numpy":
        assert location(out[0]) == location(out[4]) == location(y)


def test_the_same_value_twice_and_constants(every_device):
    f = ftiny.jit(lambda x: (y := x + 1, y, 2.0, 2.0, x * 1))
    step = ftiny.jit(lambda x: x * 3, donate_argnums=0)
    first, second, two, other, same = f(x := on_device(X))
    for array in (first, two, same):
        step(array)
    np.testing.assert_allclose(second, X + 1, rtol=1e-6)
    np.testing.assert_array_equal(x, X)
    assert other.item() == 2.0 and f(x)[2].item() == 2.0


def test_deleting_one_leaves_the_other(every_device):
    f = ftiny.jit(lambda x: x)
    x = on_device(X)
    y = f(x)
    x.delete()
    np.testing.assert_array_equal(y, X)
    z = f(y)
    del y
    fnp.add(on_device(Y), on_device(Y))  # would take the memory if it were free
    np.testing.assert_array_equal(z, X)


def test_donating_one_leaves_the_other(every_device):
    f = ftiny.jit(lambda x, y: (x, x * y))
    step = ftiny.jit(lambda x: x + 1, donate_argnums=0)
    x, y = on_device(X), on_device(Y)
    same, _ = f(x, y)
    np.testing.assert_allclose(step(same), X + 1, rtol=1e-6)
    assert same.is_deleted()
    np.testing.assert_array_equal(x, X)
    same, _ = f(x, y)
    step(x)
    np.testing.assert_array_equal(same, X)


def test_a_donated_argument_that_is_a_result_moves(every_device):
    f = ftiny.jit(lambda frozen, state, y: (frozen, state + y), donate_argnums=(0, 1))
    frozen, state = on_device(X), on_device(Y)
    where = location(frozen) if every_device != "numpy" else None
    for count in range(1, 13):
        before = frozen, state
        frozen, state = f(frozen, state, on_device(Y))
        assert before[0].is_deleted() and before[1].is_deleted()
        np.testing.assert_array_equal(frozen, X)
        np.testing.assert_allclose(state, Y * (count + 1), rtol=1e-5)
        del before
    if every_device != "numpy":
        memory = frozen._memory
        # What was looked at above is shared, on devices where looking needs no copy.
        assert location(frozen) == where and (memory.device.capabilities.host_memory or not memory.shared)
        report = f.lower(X, Y, Y).compile().donation_report().splitlines()
        assert [line.split(") ")[1] for line in report] == ["becomes result[0]", "becomes result[1]"]


@pytest.mark.parametrize("donated", [(0,), (1,), (0, 1)])
def test_one_array_as_two_arguments(every_device, donated):
    """A memory that is a result is not written, even if it is also a donated argument that the program may write to."""
    f = ftiny.jit(lambda a, b: (a, b + 1, a * 2), donate_argnums=donated)
    for _ in range(2):
        x = on_device(X)
        for found, expected in zip(f(x, x), (X, X + 1, X * 2)):
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    both = ftiny.jit(lambda a, b: (a, b), donate_argnums=donated)
    first, second = both(x := on_device(X), x)
    np.testing.assert_array_equal(ftiny.jit(lambda v: v + 1, donate_argnums=0)(first), X + 1)
    np.testing.assert_array_equal(second, X)


def test_numpy_arguments_are_copied(every_device):
    f = ftiny.jit(lambda x, y: (x, x + y))
    for _ in range(2):
        given = X.copy()
        same, total = f(given, Y)
        given[:] = 0
        np.testing.assert_array_equal(same, X)
        np.testing.assert_allclose(total, X + Y, rtol=1e-6)
        assert f(2.0, Y)[0].tolist() == 2.0


def test_memory_of_another_library_is_copied(every_device):
    """Nobody should write to what was given by DLPack; a result does not show it if somebody does."""
    theirs = X.copy()
    x = ftiny.from_dlpack(theirs)
    same, moved = ftiny.jit(lambda x: x)(x), ftiny.jit(lambda x: x, donate_argnums=0)(ftiny.from_dlpack(theirs))
    ftiny.block_until_ready([same, moved])
    theirs[:] = 0
    np.testing.assert_array_equal(same, X)
    np.testing.assert_array_equal(moved, X)


def test_bound_devices_and_closed_over_arrays(every_device):
    table = fnp.asarray(Y)
    f = ftiny.jit(lambda x: (table, x + 1, x))
    for array in f(on_device(X)):
        assert array._device is ftiny.default_device()
    assert f(fnp.asarray(X))[0]._device is None
    np.testing.assert_array_equal(f(fnp.asarray(X))[0], Y)


@pytest.mark.gpu
def test_cuda_memory_that_another_library_sees_is_copied():
    if not ftiny.devices("cuda"):
        pytest.skip("no cuda device here")
    with ftiny.device("cuda"):
        x = on_device(X)
        assert x.__cuda_array_interface__["shape"] == (37,)
        same = ftiny.jit(lambda x: x)(x)
        assert location(same) != location(x)
        np.testing.assert_array_equal(same, X)


# ---- what a warm call does ----------------------------------------------------------------------------------------


def test_loops_bind_launches_once(compiled):
    """A loop meets the same sets of locations again and again, and then binds nothing."""
    with ftiny.device(compiled):
        f = ftiny.jit(lambda x, p: (x + 1, [a * 2 - a + 1 for a in p]))
        x, p = on_device(X), [on_device(normal(n, seed=n)) for n in (1, 2, 8, 13, 600)]
        start = [np.asarray(a) for a in p]
        for _ in range(60):
            x, p = f(x, p)
        (instance,) = f._last.executables[ftiny.default_device()].idle
        before = instance.rebound
        for _ in range(40):
            x, p = f(x, p)
        assert instance.rebound == before and 1 < len(instance.replays) <= 4
        np.testing.assert_allclose(x, X + 100, rtol=1e-4)
        for found, a in zip(p, start):
            np.testing.assert_allclose(found, a + 100, rtol=1e-4)


def test_small_results_lie_together(compiled):
    with ftiny.device(compiled):
        f = ftiny.jit(lambda x, y: [fnp.sum(x), x + 1, x * 2, fnp.zeros(0), fnp.concatenate([x] * 50), y + 1])
        for dtype in ("float32", "uint8", "bfloat16"):
            x = np.arange(1, 14).astype("float32")
            out = f(on_device(fnp.asarray(x).astype(dtype)), on_device(Y))
            for found, expected in zip(out, (x.sum(), x + 1, x * 2, np.zeros(0), np.tile(x, 50), Y + 1)):
                np.testing.assert_allclose(np.asarray(found).astype("f4"), expected, rtol=1e-2)
        kept = f(on_device(X), on_device(Y))[1]
        for _ in range(5):
            f(on_device(Y), on_device(X))
        np.testing.assert_allclose(kept, X + 1, rtol=1e-6)


def test_numpy_arguments_of_many_sizes(compiled):
    with ftiny.device(compiled):
        f = ftiny.jit(lambda *xs: [x * 2 for x in xs])
        for round_ in range(3):
            given = [normal(n, seed=n + round_) for n in (0, 1, 7, 256, 1000, 20000)]
            given += [normal(3, 5).T, np.float64(2), 3]
            for found, x in zip(f(*given), given):
                np.testing.assert_allclose(found, np.asarray(x) * 2, rtol=1e-6)
        assert f.trace_count == 1


def test_python_numbers_as_arguments(compiled):
    """A number is moved to a device with memory of its own once; that memory is nobody's to write to."""
    with ftiny.device(compiled):
        f = ftiny.jit(lambda x, s: (x * s, s), donate_argnums=1)
        step = ftiny.jit(lambda s: s + 1, donate_argnums=0)
        x = on_device(X)
        for s in (0.5, 2.0, 0.5, 0.0, -0.0, float("nan"), 3.0, 0.5):
            product, number = f(x, s)
            np.testing.assert_allclose(product, X * np.float32(s), rtol=1e-6)
            np.testing.assert_array_equal(np.signbit(number), np.signbit(np.float32(s)))
            step(number)
        for s in (1, True, 1.0):
            assert f(x, s)[1].dtype == np.asarray(fnp.asarray(s)).dtype
        for s in range(300):
            assert f(x, s)[1].item() == s


def test_threads_have_instances_of_their_own(compiled):
    """Many threads run one program at the same time, more often than there are idle instances."""
    from concurrent.futures import ThreadPoolExecutor

    with ftiny.device(compiled) as device:
        f = ftiny.jit(lambda x: (x, fnp.cumsum(x * 2)))
        given = [normal(19, seed=seed) for seed in range(8)]
        f(given[0])

    def run(x):
        with ftiny.device(device):
            for _ in range(20):
                same, total = f(x)
            return np.asarray(same), np.asarray(total)

    with ThreadPoolExecutor(8) as threads:
        for x, (same, total) in zip(given, threads.map(run, given)):
            np.testing.assert_array_equal(same, x)
            np.testing.assert_allclose(total, np.cumsum(x * 2), rtol=1e-4, atol=1e-5)
