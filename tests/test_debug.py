"""The debug ladder: what is printed at which level, and what the kernel log says."""
from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hand_plans import aval, chain, single
from running import CPU, CUDA

import ftiny
from ftiny.lowering import cache, profile
from ftiny.lowering import device as devices
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.simplify import simplify


@pytest.fixture
def opencl(monkeypatch):
    if not devices.devices("opencl"):
        pytest.skip("no OpenCL device")
    found = devices.get_device("opencl")
    name = f"{found.kind}|{found.description}|{found.capabilities.arch}"
    monkeypatch.setitem(profile._peaks, name, (10e9, 100e9))
    return found


def test_levels_nest_and_belong_to_a_thread(capfd):
    seen = []
    with profile.debug(3):
        with profile.debug(1):
            profile.log(1, "one")
            profile.log(2, "two")
        profile.log(3, "three")
        thread = threading.Thread(target=lambda: seen.append(profile.debug_level()))
        thread.start()
        thread.join()
    profile.log(1, "outside")
    assert seen == [profile._environment_level()]
    assert capfd.readouterr().err == "one\nthree\n"


def test_level_is_put_back_after_an_error():
    before = profile.debug_level()
    with pytest.raises(ZeroDivisionError), profile.debug(5):
        raise ZeroDivisionError
    assert profile.debug_level() == before


@pytest.mark.parametrize("text,level", [("", 0), ("4", 4), ("yes", 1), ("0", 0)])
def test_level_of_the_environment(text, level):
    code = "from ftiny.lowering import profile; print(profile.debug_level())"
    path = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "FTINY_DEBUG": text, "PYTHONPATH": path})
    assert done.stdout.strip() == str(level)


def test_a_line_for_each_kernel_and_transfer(opencl, capfd):
    x = np.ones(2000, np.float32)
    executable = opencl.load(single("opencl", 2000, name="logged", equations=(4, 7, 9)),
                             {4: ("train.py:12 (loss)",), 7: ("train.py:12 (loss)",), 9: ("train.py:30 (step)",)})
    executable.run([opencl.from_host(x)])
    assert capfd.readouterr().err == ""
    with profile.debug(2):
        (y,) = executable.run([opencl.from_host(x)])
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("copy to opencl:0") and "8.0 KB" in lines[0] and "GB/s" in lines[0]
    assert lines[1].startswith("run  logged") and "16.0 KB" in lines[1] and "GFLOP/s" in lines[1]
    assert "% of peak  train.py:12 (loss); train.py:30 (step)" in lines[1]
    assert len(lines) == 2
    np.testing.assert_array_equal(opencl.to_host(y, aval([2000])), 9 * x)


def test_results_are_the_same_while_logged(opencl, capfd):
    x = np.arange(500, dtype=np.float32)
    with profile.debug(2):
        (y,) = opencl.load(chain("opencl", 500, 5)).run([opencl.from_host(x)])
    np.testing.assert_array_equal(opencl.to_host(y, aval([500])), x + 5)
    assert capfd.readouterr().err.count("run  increment") == 5


def test_share_of_peak_is_the_larger_one(capfd):
    class Device:
        kind, description, name = "test", "test", "test:0"

        class capabilities:
            arch = ""

        def measure_peaks(self):
            Device.measured += 1
            return 100e9, 1e12

    class Kernel:
        name, bytes, flops, equations = "k", 5_000_000, 10_000_000, ()

    Device.measured = 0
    try:
        with profile.debug(2):
            profile.log_kernel(Device(), Kernel(), 1e-4, {})
            profile.log_kernel(Device(), Kernel(), 1e-3, {})
        assert Device.measured == 1
        err = capfd.readouterr().err
        assert " 50% of peak" in err and "50.0 GB/s" in err and "100.0 GFLOP/s" in err and " 5% of peak" in err
        profile._peaks.clear()
        assert profile.peaks(Device()) == (100e9, 1e12) and Device.measured == 1  # from disk
    finally:
        profile._peaks.pop("test|test|", None)


def test_peaks_are_measured(opencl):
    bandwidth, arithmetic = opencl.measure_peaks()
    assert 1e8 < bandwidth < 1e13 and 1e8 < arithmetic < 1e15
    assert cache.disk().usable


def test_units():
    assert [profile.format_bytes(n) for n in (12, 12_000, 3.5e6, 2e12)] == ["12 B", "12.0 KB", "3.5 MB", "2000.0 GB"]
    assert [profile.format_seconds(s) for s in (2.0, 0.0123, 4.56e-5)] == ["2.00 s", "12.30 ms", "45.6 us"]


@pytest.mark.parametrize("capabilities", [CPU, CUDA])
def test_bytes_of_a_kernel_are_what_it_touches(capabilities):
    """A gather from a large table, a slice of it: never the whole table. (A scatter: test_scatter_schedules.py.)"""
    table, places = np.zeros((5000, 64), np.float32), np.zeros(10, np.int32)
    expected = {
        "gather": (lambda t, i: t[i], 10 * 4 + 2 * 10 * 64 * 4),
        "sum": (lambda t, i: t[:4].sum(), 4 * 64 * 4 + 4),
        "add": (lambda t, i: t[1] + t[1], 2 * 64 * 4),
    }
    for name, (function, nbytes) in expected.items():
        with ftiny.device("numpy"):
            jaxpr = ftiny.make_jaxpr(function)(table, places).close_over()
        kernels = Compiler(capabilities).plan(simplify(jaxpr).jaxpr).kernels
        assert [kernel.bytes for kernel in kernels if kernel.name.startswith(name)] == [nbytes]


def test_an_eager_factorisation_says_that_its_data_crosses(capfd, monkeypatch):
    from ftiny import execute

    monkeypatch.setattr(execute, "interprets", lambda device: False)
    with ftiny.device("numpy"), profile.debug(1):
        ftiny.numpy.linalg.cholesky(np.eye(2, dtype=np.float32))
    assert "on the host: cholesky, whose operands and results cross" in capfd.readouterr().err


def test_level_5_shows_every_source_once(opencl, capfd):
    """Small kernels that are merged with others are shown as what they have become."""
    x, y = np.ones((40, 8), np.float32), np.ones(5, np.float32)
    with ftiny.device(opencl), profile.debug(5):
        ftiny.jit(lambda x, y: (x + 2.0, y * 3.0, x @ x.T))(x, y)
    text = capfd.readouterr().err
    names = [line.split("(")[0].split()[-1] for line in text.splitlines() if line.startswith("void ")]
    assert len(names) == len(set(names)) >= 2 and "2.0f" in text and "3.0f" in text
