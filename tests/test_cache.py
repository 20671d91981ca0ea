"""The cache on disk: kept, bounded, shared by processes, and never fatal."""
from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hand_plans import aval, chain, single

from ftiny.lowering import cache, nvrtc, pocl, run_cuda
from ftiny.lowering import device as devices
from ftiny.lowering.cache import DiskCache, key_of
from ftiny.lowering.plan_types import Graph


def test_keys_depend_on_every_part():
    keys = [key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of(b"ab", "c")]
    assert len(set(keys)) == 3 and keys[0] == keys[3]


def test_put_and_get(tmp_path):
    store = DiskCache(tmp_path)
    for value in (b"", b"x", os.urandom(100_000)):
        store.put(key_of("k", value), value)
        assert DiskCache(tmp_path).get(key_of("k", value)) == value
    store.put_text(key_of("text"), "été")
    assert store.get_text(key_of("text")) == "été"
    assert store.get(key_of("never")) is None


@pytest.mark.parametrize("damage", ["truncated", "empty", "changed", "longer"])
def test_damaged_files_are_misses_and_go_away(tmp_path, damage):
    store = DiskCache(tmp_path)
    key = key_of("k")
    store.put(key, b"value" * 100)
    path = store._path(key)
    data = path.read_bytes()
    path.write_bytes({"truncated": data[:-7], "empty": b"", "changed": data[:-1] + b"!", "longer": data + b"e"}[damage])
    assert store.get(key) is None
    assert not path.exists()
    store.put(key, b"again")
    assert store.get(key) == b"again"


def test_oldest_go_first_when_full(tmp_path):
    store = DiskCache(tmp_path, limit=10_000)
    for number in range(20):
        store.put(key_of(str(number)), bytes(1000))
        os.utime(store._path(key_of(str(number))), (number, number))
    store.trim()
    left = [number for number in range(20) if store.get(key_of(str(number))) is not None]
    assert left == list(range(11, 20))
    store.put(key_of("big"), bytes(20_000))
    assert store.get(key_of("big")) is None


def test_reading_renews_a_file(tmp_path):
    store = DiskCache(tmp_path, limit=2_500)
    for number in range(2):
        store.put(key_of(str(number)), bytes(1000))
        os.utime(store._path(key_of(str(number))), (number, number))
    store.get(key_of("0"))
    store.put(key_of("2"), bytes(1000))
    store.trim()
    assert [store.get(key_of(str(n))) is None for n in range(3)] == [False, True, False]


def test_a_directory_that_cannot_be_used(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(devices, "_told", set())
    with caplog.at_level(logging.WARNING, "ftiny"):
        for _ in range(2):
            store = DiskCache(tmp_path / "file" / "cache")
            store.put(key_of("k"), b"v")
            assert store.get(key_of("k")) is None and not store.usable
    assert len(caplog.records) == 1
    assert "cannot be used" in caplog.text and "FTINY_CACHE_DIR" in caplog.text


def test_a_disk_that_becomes_read_only_is_no_error(tmp_path, monkeypatch, caplog):
    store = DiskCache(tmp_path)

    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr(cache.os, "replace", refuse)
    store.put(key_of("k"), b"v")
    monkeypatch.undo()
    assert store.get(key_of("k")) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_directory_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FTINY_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("FTINY_CACHE_BYTES", "12345")
    assert cache.disk().directory == tmp_path / "mine" and cache.disk().limit == 12345
    monkeypatch.delenv("FTINY_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache.cache_directory() == tmp_path / "ftiny"


def test_two_processes_write_at_once(tmp_path):
    code = """
import sys
from pathlib import Path
from ftiny.lowering.cache import DiskCache, key_of
from ftiny.lowering.plan_types import Graph
store = DiskCache(Path(sys.argv[1]), limit=400_000)
for turn in range(300):
    key = key_of(str(turn % 7))
    value = store.get(key)
    assert value is None or value == bytes([turn % 7]) * 20_000, turn
    store.put(key, bytes([turn % 7]) * 20_000)
print("fine")
"""
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=_environment(),
                                stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["fine", "fine"]
    assert all(DiskCache(tmp_path).get(key_of(str(k))) == bytes([k]) * 20_000 for k in range(7))


# ---- kernels in it ----

PROGRAM = """
import sys
import numpy as np
from hand_plans import aval, chain
from ftiny.lowering import device as devices
from ftiny.lowering import profile
device = devices.get_device("opencl")
x = np.arange(100, dtype=np.float32)
with profile.debug(1):
    (y,) = device.load(chain("opencl", 100, 3)).run([device.from_host(x)])
assert np.array_equal(device.to_host(y, aval([100])), x + 3)
print("right")
"""


def _environment(**more):
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([os.path.dirname(here), here, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **more}


def _start(directory):
    return subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120,
                          env=_environment(FTINY_CACHE_DIR=str(directory)))


@pytest.fixture
def opencl():
    if not devices.devices("opencl"):
        pytest.skip("no OpenCL device")
    return devices.get_device("opencl")


def test_second_process_builds_nothing_and_damage_only_costs_time(opencl, tmp_path):
    for expected in ("1 built and 0 loaded", "0 built and 1 loaded"):
        done = _start(tmp_path)
        assert "right" in done.stdout and expected in done.stderr, done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-3])
    done = _start(tmp_path)
    assert "right" in done.stdout and "1 built and 0 loaded" in done.stderr, done.stderr


@pytest.mark.skipif(sys.platform == "win32" or os.environ.get("USER") == "nobody", reason="needs permissions")
def test_unreadable_directory_works_uncached(opencl, tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"")
    target.chmod(stat.S_IRUSR)
    done = _start(target / "below")
    assert "right" in done.stdout and done.stderr.count("cannot be used") == 1, done.stderr


def test_programs_of_pocl_travel_in_one_piece(tmp_path):
    for name, data in (("AB/CDE/program.bc", b"bitcode"), ("AB/CDE/k/1-1-1/k.so", os.urandom(5000))):
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "a/AB/CDE/last_accessed").write_bytes(b"")
    assert pocl.programs(tmp_path / "a") == {os.path.join("AB", "CDE")}
    packed = pocl.pack(tmp_path / "a", "AB/CDE")
    pocl.unpack(tmp_path / "b", packed)
    assert pocl.pack(tmp_path / "b", "AB/CDE") == packed
    evil = packed.replace(b"AB/CDE/program.bc", b"../../../out.txt_")
    pocl.unpack(tmp_path / "b", evil)
    assert not list(tmp_path.parent.rglob("out.txt_"))


def test_parts_of_a_program_are_about_equal(monkeypatch):
    monkeypatch.setattr(pocl, "idle_processors", lambda: 2)
    assert pocl.split([100] * 5) == [[0, 1, 2, 3, 4]]
    first, second = pocl.split([4000, 100, 100, 4000, 100, 100, 4000, 100])
    assert sorted(first + second) == list(range(8)) and 0 in first and 3 in second and 6 in first
    monkeypatch.setattr(pocl, "idle_processors", lambda: 16)
    assert len(pocl.split([100] * 40)) == 4
    monkeypatch.setattr(pocl, "idle_processors", lambda: -3)
    assert len(pocl.split([100] * 40)) == 1


def eight_kernels(start: int):
    """x + start + (start + 1) + ..., by eight kernels in a row."""
    plan = chain("opencl", 100, 8)
    (source,) = plan.kernels
    kernels = tuple(replace(source, text=source.text.replace("1.0f", f"{k}.0f")) for k in range(start, start + 8))
    launches = tuple(replace(launch, kernel=k) for k, launch in enumerate(plan.steps[0].launches))
    return replace(plan, kernels=kernels, steps=(Graph(launches),))


@pytest.mark.parametrize("broken", [False, True])
def test_other_processes_compile_parts(opencl, monkeypatch, tmp_path, capfd, broken):
    from ftiny.lowering import profile
    from ftiny.lowering.run_opencl import OpenCLDevice

    if not opencl.is_pocl or pocl.private_folder() is None:
        pytest.skip("only PoCL needs it")
    monkeypatch.setenv("FTINY_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(pocl, "idle_processors", lambda: 2)
    if broken:  # the other process fails: everything is compiled here
        monkeypatch.setattr(pocl.sys, "executable", "/bin/false")
    packed = []
    result = pocl.Worker.result
    monkeypatch.setattr(pocl.Worker, "result", lambda self: packed.append(result(self)) or packed[-1])
    x = np.arange(100, dtype=np.float32)
    start = 11 if broken else 1
    for expected in ("8 built and 0 loaded", "0 built and 8 loaded"):
        device = OpenCLDevice(opencl.cl, opencl.handle, 0)
        with profile.debug(1):
            (y,) = device.load(eight_kernels(start)).run([device.from_host(x)])
        np.testing.assert_array_equal(device.to_host(y, aval([100])), x + 8 * start + 28)
        assert expected in capfd.readouterr().err
    assert len(packed) == 1 and (len(packed[0]) > 0) != broken


def test_same_text_is_built_once_in_a_process(opencl, capfd):
    from ftiny.lowering import profile

    plan = single("opencl", 123, name="once")
    with profile.debug(1):
        opencl.load(plan)
        opencl.load(plan)
    assert capfd.readouterr().err.count("1 built") == 1
    x = np.ones(123, np.float32)
    (y,) = opencl.load(plan).run([opencl.from_host(x)])
    np.testing.assert_array_equal(opencl.to_host(y, aval([123])), 9 * x)


def test_cubins_by_nvrtc_without_a_gpu():
    pytest.importorskip("cuda.bindings.nvrtc")
    kernels = [*chain("cuda", 100, 3).kernels, *single("cuda", 50).kernels]
    for arch in ("sm_80", "sm_90a"):
        for kernel in kernels:
            cubin, compiled = run_cuda.cubin_of(kernel, arch)
            assert cubin[:4] == b"\x7fELF"
            assert run_cuda.cubin_of(kernel, arch) == (cubin, False) and isinstance(compiled, bool)
    from ftiny.errors import DeviceError

    with pytest.raises(DeviceError, match=r'(?s)kernel bad for sm_80.*identifier "y" is undefined'):
        nvrtc.compile_cubin('extern "C" __global__ void bad() { int x = y; }', "sm_80", "bad")
    assert run_cuda.cubin_key("t", "sm_80") != run_cuda.cubin_key("t", "sm_90a")
