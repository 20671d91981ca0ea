"""Devices: how one is chosen, its memory, and executables of hand-written plans against numpy."""
from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hand_plans import F32, I32, add_plan, aval, below_plan, chain, kernel, momentum, single, step_plan

from ftiny.errors import DeviceError
from ftiny.lowering import device as devices
from ftiny.lowering.memory import Pool, size_class
from ftiny.lowering.plan_types import (
    Arena,
    Argument,
    Branch,
    Buffer,
    Collective,
    Graph,
    HostCall,
    Launch,
    Loop,
    Plan,
    PlanError,
    Pointer,
    Result,
    check_plan,
    nested_plans,
    plan_from_json,
    plan_to_json,
)
from ftiny.lowering.replay import independent_launches

opencl = pytest.mark.usefixtures("opencl_present")
SIZES = [1, 7, 1000, 4097]


@pytest.fixture
def opencl_present():
    """Skips where there is no OpenCL device; asked at run time, when the test's cache directory is set."""
    if not devices.devices("opencl"):
        pytest.skip("no OpenCL device")


def _opencl(host_pointers: bool):
    from ftiny.lowering.run_opencl import OpenCLDevice

    found = devices.get_device("opencl")
    return found if host_pointers else OpenCLDevice(found.cl, found.handle, 0, host_pointers=False)


_made: dict[str, devices.Device] = {}


@pytest.fixture(params=["host", "buffer", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """OpenCL with host pointers, OpenCL with buffers as on GPUs, CUDA."""
    kind = "cuda" if request.param == "cuda" else "opencl"
    if not devices.devices(kind):
        pytest.skip(f"no {kind} device")
    if request.param not in _made:
        _made[request.param] = (devices.get_device("cuda") if request.param == "cuda"
                                else _opencl(request.param == "host"))
    return _made[request.param]


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def poison(device, nbytes):
    """Leaves NaN in the pool, so that an element that no kernel wrote shows."""
    held = [device.from_host(np.full(-(-nbytes // 4), np.nan, np.float32)) for _ in range(3)]
    del held


def run(device, plan, *arrays, donated=(), shapes=None):
    poison(device, max([a.nbytes for a in arrays], default=4))
    memories = [device.from_host(a) for a in arrays]
    outs = device.load(plan).run(memories, donated)
    shapes = shapes or [(plan.buffer(name).shape, plan.buffer(name).dtype) for name in plan.results]
    return [device.to_host(out, aval(*shape)) for out, shape in zip(outs, shapes, strict=True)]


# ---- choosing ----


def test_numpy_is_always_there_and_last():
    found = devices.devices()
    assert found[-1].name == "numpy:0"
    assert devices.get_device("numpy") is found[-1]


def test_missing_device_says_what_is_present():
    with pytest.raises(DeviceError, match=r"no device opencl:77; present are: .*numpy:0 .*FTINY_DEVICE"):
        devices.get_device("opencl:77")
    with pytest.raises(DeviceError, match="'tpu' names no device: write cuda, opencl, opencl:1 or numpy"):
        devices.get_device("tpu")


def test_missing_driver_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(devices._found, "cuda", [])
    with pytest.raises(DeviceError, match=r"pip install 'ftiny\[cuda\]'"):
        devices.get_device("cuda")


def test_environment_and_context(monkeypatch):
    monkeypatch.setenv("FTINY_DEVICE", "numpy")
    assert devices.default_device().kind == "numpy"
    monkeypatch.setenv("FTINY_DEVICE", "opencl:99")
    with pytest.raises(DeviceError, match="opencl:99"):
        devices.default_device()
    with devices.device("numpy") as chosen:
        assert devices.default_device() is chosen
        with devices.device(None) as inner:
            assert inner is chosen
        seen = []
        monkeypatch.setenv("FTINY_DEVICE", "numpy:0")
        thread = threading.Thread(target=lambda: seen.append(getattr(devices._local, "stack", None)))
        thread.start()
        thread.join()
        assert seen == [None]  # another thread does not see this one's choice


def test_falls_back_to_numpy_saying_so_once(monkeypatch, caplog):
    monkeypatch.setattr(devices, "_found", {"cuda": [], "opencl": []})
    monkeypatch.setattr(devices, "_chosen", {})
    monkeypatch.setattr(devices, "_told", set())
    monkeypatch.delenv("FTINY_DEVICE", raising=False)
    with caplog.at_level(logging.WARNING, "ftiny"):
        assert devices.default_device().kind == "numpy"
        devices._chosen.clear()
        assert devices.default_device().kind == "numpy"
    assert len([r for r in caplog.records if "numpy interpreter" in r.message]) == 1


def test_numpy_device_interprets_a_program():
    import ftiny
    import ftiny.numpy as fnp

    jaxpr = ftiny.make_jaxpr(lambda x: fnp.sin(x) + x)(np.ones(5, np.float32))
    found = devices.get_device("numpy")
    x = random(5)
    (y,) = found.load(jaxpr).run([found.from_host(x)])
    np.testing.assert_allclose(found.to_host(y, aval([5])), np.sin(x) + x, rtol=1e-6)


# ---- memory ----


def test_size_classes_waste_little():
    for n in range(513, 200_000, 977):
        assert n <= size_class(n) <= 1.126 * n


def test_pool_reuses_and_keeps_within_its_limit():
    freed = []
    pool = Pool(allocate=lambda n: object(), free=freed.append, idle_limit=3000)
    block, size = pool.take(1000)
    pool.give(block, size)
    assert pool.take(1024)[0] is block
    taken = [pool.take(1000) for _ in range(5)]
    for each in taken:
        pool.give(*each)
    assert pool.idle_bytes <= 3000 and len(freed) == 3


def test_pool_gives_idle_memory_back_before_it_fails():
    free = [4096]

    def allocate(n):
        if n > free[0]:
            raise MemoryError
        free[0] -= n
        return n

    def release(block):
        free[0] += block

    pool = Pool(allocate, release, idle_limit=1 << 20)
    pool.give(*pool.take(4096))
    assert pool.take(2048)[1] == 2048
    with pytest.raises(MemoryError):
        pool.take(4096)


def test_transfers(device):
    cases = [((), F32), ((0, 3), F32), ((5, 3), I32), ((17,), np.dtype(bool)), ((9,), np.dtype("bfloat16"))]
    for shape, dtype in cases:
        x = random(*shape).astype(dtype) if shape else np.float32(1.5)
        memory = device.from_host(np.asarray(x))
        out = device.to_host(memory, aval(shape, dtype))
        np.testing.assert_array_equal(out, x)
        np.testing.assert_array_equal(device.to_host(device.copy(memory), aval(shape, dtype)), x)
        assert not out.flags.writeable
    strided = random(6, 8)[::2, ::-1]
    np.testing.assert_array_equal(device.to_host(device.from_host(strided), aval(strided.shape)), strided)


@opencl
def test_host_views_copy_nothing_and_keep_memory_alive():
    device = _opencl(True)
    if not device.capabilities.host_memory:
        pytest.skip("this device has memory of its own")
    x = random(1000)
    memory = device.from_host(x, copy=False)
    assert memory.location == x.ctypes.data and memory.shared
    memory = device.from_host(x)
    view = device.to_host(memory, aval([1000]))
    assert view.ctypes.data == memory.location and memory.shared
    address = memory.location
    del memory
    others = [device.from_host(np.zeros(1000, np.float32)) for _ in range(3)]
    assert address not in [other.location for other in others]
    np.testing.assert_array_equal(view, x)
    del view
    assert device.allocate(4000).location == address


# ---- running ----


@pytest.mark.parametrize("n", SIZES)
def test_one_kernel_with_scalar_and_size(device, n):
    x = random(n)
    np.testing.assert_allclose(run(device, single(device.capabilities.dialect, n), x)[0], 2 * x + 7, rtol=1e-6)


def test_repeated_runs_with_changing_memories(device):
    executable = device.load(single(device.capabilities.dialect, 1000))
    for seed in range(70):  # more than may be in flight
        x = random(1000, seed=seed)
        (y,) = executable.run([device.from_host(x)])
        if seed % 9 == 0:
            np.testing.assert_allclose(device.to_host(y, aval([1000])), 2 * x + 7, rtol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 12])
def test_chain_through_the_arena(device, length):
    x = random(777)
    (y,) = run(device, chain(device.capabilities.dialect, 777, length), x)
    np.testing.assert_allclose(y, x + length, rtol=1e-5)


def test_offsets_of_pointers(device):
    n = 4096
    source = kernel(device.capabilities.dialect, "first", 100, [("x", F32), ("y", F32)], "y[i] = x[i];")
    launches = tuple(Launch(0, (Pointer("x", offset), Pointer("y", 400 * k)))
                     for k, offset in enumerate([0, 4, 512, 1036]))
    plan = Plan((Buffer("x", (n,), F32, owner=Argument(0)), Buffer("y", (400,), F32, owner=Result(0))),
                (source,), (Graph(launches),), 0, ("x",), ("y",))
    x = random(n)
    expected = np.concatenate([x[k:k + 100] for k in (0, 1, 128, 259)])
    np.testing.assert_array_equal(run(device, plan, x)[0], expected)


def test_donated_memory_is_updated_in_place(device):
    plan = step_plan(device.capabilities.dialect, 333)
    p, m, g = random(333, seed=1), random(333, seed=2), random(333, seed=3)
    memories = [device.from_host(a) for a in (p, m, g)]
    locations = [memory.location for memory in memories[:2]]
    outs = device.load(plan).run(memories, donated=(0, 1))
    assert [out.location for out in outs] == locations
    for out, expected in zip(outs, momentum(p, m, g), strict=True):
        np.testing.assert_allclose(device.to_host(out, aval([333])), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["not donated", "seen", "twice"])
def test_memory_that_others_need_is_not_written(device, case):
    plan = step_plan(device.capabilities.dialect, 50)
    p, m, g = random(50, seed=1), random(50, seed=2), random(50, seed=3)
    memories = [device.from_host(a) for a in (p, m, g)]
    if case == "twice":
        g, memories[2] = p, memories[0]
    view = device.to_host(memories[0], aval([50])) if case == "seen" else None
    outs = device.load(plan).run(memories, donated=() if case == "not donated" else (0, 1))
    for out, expected in zip(outs, momentum(p, m, g), strict=True):
        np.testing.assert_allclose(device.to_host(out, aval([50])), expected, rtol=1e-5, atol=1e-6)
    if view is not None:
        np.testing.assert_array_equal(view, p)
    if case != "seen" or device.capabilities.host_memory:
        np.testing.assert_array_equal(device.to_host(memories[0], aval([50])), p)


def test_results_that_are_arguments_or_given_twice_share_memory(device):
    plan = single(device.capabilities.dialect, 20)
    plan = replace(plan, results=("y", "x", "y"))
    x = random(20)
    memory = device.from_host(x)
    outs = device.load(plan).run([memory])
    for out, expected in zip(outs, (2 * x + 7, x, 2 * x + 7), strict=True):
        np.testing.assert_allclose(device.to_host(out, aval([20])), expected, rtol=1e-6)
    assert outs[0] is outs[2] and outs[1] is memory
    assert all(out.shared for out in outs)  # so that a donation of one does not change the other


def test_wrong_arguments(device):
    executable = device.load(single(device.capabilities.dialect, 20))
    with pytest.raises(DeviceError, match="takes 1 arguments, 2 were given"):
        executable.run([device.allocate(80), device.allocate(80)])
    with pytest.raises(DeviceError, match=r"argument 0 \(x\) needs 80 bytes"):
        executable.run([device.allocate(40)])


def test_a_kernel_that_does_not_compile_is_named(device):
    plan = single(device.capabilities.dialect, 20)
    broken = replace(plan.kernels[0], text=plan.kernels[0].text.replace("x[i]", "nowhere[i]"))
    with pytest.raises(DeviceError, match="does not compile kernel scaled"):
        device.load(replace(plan, kernels=(broken,)))


def test_threads_share_an_executable(device):
    executable = device.load(chain(device.capabilities.dialect, 5000, 6))
    wrong = []

    def work(seed):
        x = random(5000, seed=seed)
        for _ in range(20):
            (y,) = executable.run([device.from_host(x)])
            if not np.allclose(device.to_host(y, aval([5000])), x + 6, atol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_same_name_different_kernels(device):
    dialect = device.capabilities.dialect
    first, second = single(dialect, 30), single(dialect, 31)
    x = random(31)
    np.testing.assert_allclose(run(device, first, x[:30])[0], 2 * x[:30] + 7, rtol=1e-6)
    np.testing.assert_allclose(run(device, second, x)[0], 2 * x + 7, rtol=1e-6)


# ---- loops, branches, host calls ----


def loop_plan(dialect, trips, reverse):
    """carry, xs of [trips, 3]: y_k = carry + x_k + 0.25 is both the next carry and row k of ys."""
    body = replace(add_plan(dialect, 3, constant=0.25), results=("z", "z"))
    names = {"c0": ((3,), Argument(0)), "xs": ((trips, 3), Argument(1)), "c": ((3,), Result(0)),
             "ys": ((trips, 3), Result(1)), "spare": ((3,), Arena(0))}
    buffers = tuple(Buffer(name, shape, F32, owner=owner) for name, (shape, owner) in names.items())
    loop = Loop("scan", body, ("c0",), ("c",), ("spare",), trips=trips, reverse=reverse, xs=("xs",), ys=("ys",))
    return Plan(buffers, (), (loop,), 512, ("c0", "xs"), ("c", "ys"))


@pytest.mark.parametrize("trips,reverse", [(0, False), (1, False), (5, False), (6, True)])
def test_scan(device, trips, reverse):
    c, xs = random(3), random(trips, 3, seed=1)
    rows = xs[::-1] if reverse else xs
    sums = c + np.cumsum(rows + np.float32(0.25), 0)
    expected = sums[::-1] if reverse else sums
    out_c, out_ys = run(device, loop_plan(device.capabilities.dialect, trips, reverse), c, xs)
    np.testing.assert_allclose(out_c, sums[-1] if trips else c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out_ys, expected.reshape(trips, 3), rtol=1e-5, atol=1e-6)


def test_scan_with_arena_constant_argument_and_swapped_carry(device):
    """(a, b, k) -> (b, a + 3 k): the first carry passes through, the body has an arena."""
    dialect = device.capabilities.dialect
    grow = kernel(dialect, "grow", 3, [("k", F32), ("y", F32)], "y[i] = 3.0f * k[i];")
    add = kernel(dialect, "add", 3, [("a", F32), ("t", F32), ("y", F32)], "y[i] = a[i] + t[i];")
    owners = {"k": Argument(0), "a": Argument(1), "b": Argument(2), "t": Arena(512), "y": Result(0)}
    launches = (Launch(0, (Pointer("k"), Pointer("t"))), Launch(1, (Pointer("a"), Pointer("t"), Pointer("y"))))
    body = Plan(tuple(Buffer(name, (3,), F32, owner=owner) for name, owner in owners.items()), (grow, add),
                (Graph(launches),), 1024, ("k", "a", "b"), ("b", "y"))
    owners = {"k": Argument(0), "a0": Argument(1), "b0": Argument(2), "a": Result(0), "b": Result(1),
              "sa": Arena(0), "sb": Arena(512)}
    buffers = [Buffer(name, (3,), F32, owner=owner) for name, owner in owners.items()]
    buffers.append(Buffer("scratch", (1024,), np.dtype(np.uint8), owner=Arena(1024)))
    loop = Loop("scan", body, ("a0", "b0"), ("a", "b"), ("sa", "sb"), constants=("k",), trips=4, scratch="scratch")
    plan = Plan(tuple(buffers), (), (loop,), 2048, ("k", "a0", "b0"), ("a", "b"))
    k, a, b = random(3, seed=1), random(3, seed=2), random(3, seed=3)
    got = run(device, plan, k, a, b)
    for _ in range(4):
        a, b = b, a + 3 * k
    np.testing.assert_allclose(got[0], a, rtol=1e-5)
    np.testing.assert_allclose(got[1], b, rtol=1e-5)


@pytest.mark.parametrize("start", [100.0, 9.5, 0.0])
def test_while(device, start):
    """x -> x + x + 1 while x[0] < 10."""
    dialect = device.capabilities.dialect
    body = add_plan(dialect, 3, name="doubled", constant=1.0)
    step = body.steps[0].launches[0]
    body = replace(body, buffers=(body.buffers[0], body.buffers[2]), arguments=("x",),
                   steps=(Graph((replace(step, args=(Pointer("x"), Pointer("x"), Pointer("z"))),)),))
    buffers = tuple(Buffer(name, (3,), F32, owner=owner)
                    for name, owner in {"x0": Argument(0), "x": Result(0), "spare": Arena(0)}.items())
    loop = Loop("while", body, ("x0",), ("x",), ("spare",), cond=below_plan(dialect, 10.0))
    plan = Plan(buffers, (), (loop,), 512, ("x0",), ("x",))
    x = np.array([start, 1, 2], np.float32)
    expected = x.copy()
    while expected[0] < 10:
        expected = expected + expected + 1
    np.testing.assert_array_equal(run(device, plan, x)[0], expected)


@pytest.mark.parametrize("index,case", [(-3, 0), (0, 0), (1, 1), (9, 1)])
def test_branch_clamps_its_index(device, index, case):
    dialect = device.capabilities.dialect
    branches = tuple(add_plan(dialect, 4, name=f"case{k}", constant=float(k)) for k in (0, 1))
    buffers = (Buffer("i", (), I32, owner=Argument(0)), Buffer("x", (4,), F32, owner=Argument(1)),
               Buffer("y", (4,), F32, owner=Result(0)))
    plan = Plan(buffers, (), (Branch("i", branches, ("x", "x"), ("y",)),), 0, ("i", "x"), ("y",))
    x = random(4)
    np.testing.assert_allclose(run(device, plan, np.array(index, np.int32), x)[0], x + x + case, rtol=1e-6)


def test_host_call_between_kernels(device):
    base = chain(device.capabilities.dialect, 9, 2)
    first, second = base.steps[0].launches
    primitive = SimpleNamespace(name="flip", numpy=lambda x, axis: np.flip(x, axis))
    second = replace(second, args=(Pointer("t1"), second.args[1]))
    steps = (Graph((first,)), HostCall(primitive, {"axis": 0}, ("t0",), ("t1",)), Graph((second,)))
    x = random(9)
    np.testing.assert_allclose(run(device, replace(base, steps=steps), x)[0], (x + 1)[::-1] + 1, rtol=1e-6)


def test_collective_needs_a_mesh(device):
    plan = single(device.capabilities.dialect, 4)
    step = Collective("psum", ("i",), {}, ("x",), ("y",))
    with pytest.raises(DeviceError, match="psum over mesh axes .* needs a mesh"):
        device.load(replace(plan, steps=(step,)))


# ---- plans as such ----


def test_launches_wait_only_for_what_they_touch():
    plan = chain("opencl", 8, 3)
    first, second, third = plan.steps[0].launches
    other = Launch(0, (Pointer("x"), Pointer("y")))
    assert independent_launches(plan, (first, second, third)) == [[], [0], [1]]
    assert independent_launches(plan, (first, other)) == [[], []]
    assert independent_launches(plan, (first, second, other)) == [[], [0], []]
    assert independent_launches(plan, (third, first)) == [[], [] if third.args[0] != Pointer("t0") else [0]]


@pytest.mark.parametrize("make", [
    lambda: single("opencl", 7), lambda: step_plan("cuda", 7), lambda: loop_plan("opencl", 4, True),
])
def test_plans_survive_json(make):
    plan = make()
    again = plan_from_json(plan_to_json(plan))
    assert again == plan and str(again) == str(plan)


def test_json_of_host_calls_and_its_errors():
    import ftiny.primitives  # noqa: F401
    from ftiny.core import Primitive

    plan = single("opencl", 7)
    params = {"axis": 0, "dtype": F32, "values": (1.5, np.float32(2), None), "names": frozenset({"i"})}
    call = HostCall(Primitive.registry["sort"], params, ("x",), ("y",))
    plan = replace(plan, steps=(call,))
    assert plan_from_json(plan_to_json(plan)) == plan
    with pytest.raises(PlanError, match="cannot be written as text"):
        plan_to_json(replace(plan, steps=(replace(call, params={"fn": print}),)))
    for text in ("", "[]", "[1, 2]", '[0, {}]', plan_to_json(plan)[:-20], '[1,{"os:system":["x"]}]'):
        with pytest.raises(PlanError, match="no plan"):
            plan_from_json(text)


@pytest.mark.parametrize("change,message", [
    (dict(results=("z",)), "no buffer is called 'z'"),
    (dict(arena_bytes=100), "ends at"),
    (dict(arguments=("y",)), "argument 0 is y"),
    (dict(results=("t0",)), "would live in the arena"),
    (dict(steps=()), "nothing writes result y"),
    (dict(steps=(Graph((Launch(0, (Pointer("x"),)),)),)), "takes 2 arguments, is given 1"),
    (dict(steps=(Graph((Launch(0, (Pointer("y"), Pointer("x"))),)),)), "read only"),
])
def test_broken_plans_are_refused(change, message):
    with pytest.raises(PlanError, match=message):
        check_plan(replace(chain("opencl", 100, 3), **change))


def test_plans_print_and_nest():
    plan = loop_plan("opencl", 4, True)
    assert [inner.name for inner in nested_plans(plan)] == ["program", "program"]
    assert "loop 4 times backwards" in str(plan) and "added<<<(3,1,1), (1,1,1)>>>(x, y, z)" in str(plan)


# ---- other processes ----


@opencl
def test_forked_child_is_told(tmp_path):
    code = """
import os, sys
from ftiny.lowering import device
d = device.get_device("opencl")
import numpy
d.from_host(numpy.ones(3, numpy.float32))
pid = os.fork()
if pid == 0:
    try:
        d.load(__import__("hand_plans").single("opencl", 5))
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env=_environment())
    assert "DeviceError OpenCL cannot be used in a forked process" in done.stdout, done.stderr


def test_import_leaves_drivers_alone():
    code = "import sys, ftiny.lowering.device; print([m for m in ('pyopencl', 'pycuda', 'cuda') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env=_environment())
    assert done.stdout.strip() == "[]", done.stderr


def _environment(**more):
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([os.path.dirname(here), here, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **more}
