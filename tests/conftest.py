"""What every test gets: jax on the CPU, a private kernel cache, fixed seeds, and devices that skip with a reason."""

from __future__ import annotations

import random

import numpy as np
import oracle  # noqa: F401  (sets the environment of jax before it is imported)
import pytest
from expected_failures import EXPECTED_FAILURES


def pytest_addoption(parser):
    """`--update-snapshots` rewrites tests/snapshots instead of comparing with it."""
    parser.addoption("--update-snapshots", action="store_true", help="rewrite the emitted-source snapshots")


def pytest_collection_modifyitems(items):
    """Mark what the ledger lists as failing; strictly, so that an entry which passes again fails the run."""
    for item in items:
        name = item.nodeid.split("tests/")[-1]
        if name in EXPECTED_FAILURES:
            item.add_marker(pytest.mark.xfail(reason=EXPECTED_FAILURES[name], strict=True))


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory):
    """One fresh kernel cache a test process: nothing is read that an older version wrote."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FTINY_CACHE_DIR", str(tmp_path_factory.mktemp("kernel_cache")))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Whatever a test draws without its own generator is the same in every run."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def finished_kernels():
    """What a test has started ends with it, so that no failure shows in another test."""
    yield
    from ftiny.lowering import device

    for found in [each for kind in device._found.values() for each in kind]:
        found.synchronize()


@pytest.fixture
def loops_as_steps(monkeypatch):
    """No loop becomes a kernel: all are steps of the plan, as large loops are."""
    from ftiny.lowering.compiler import Compiler

    monkeypatch.setattr(Compiler, "_loop", lambda *_: [])


@pytest.fixture(params=["numpy", "opencl", pytest.param("cuda", marks=pytest.mark.gpu)])
def every_device(request):
    """The interpreter and each kind of device that runs compiled programs, as the current device; gives its kind."""
    import ftiny

    with ftiny.device(_require(request.param)):
        yield request.param


def pytest_runtest_setup(item):
    """Tests marked gpu are skipped, with the reason, where there is no CUDA device."""
    if item.get_closest_marker("gpu") is not None:
        _require("cuda")


def _require(kind: str):
    import ftiny

    if not any(device.kind == kind for device in ftiny.devices()):
        pytest.skip(f"no {kind} device here; devices: {', '.join(device.name for device in ftiny.devices())}")
    return kind


@pytest.fixture
def opencl() -> str:
    """'opencl', where there is an OpenCL device (PoCL makes the CPU one)."""
    return _require("opencl")


@pytest.fixture(params=["opencl", pytest.param("cuda", marks=pytest.mark.gpu)])
def compiled(request) -> str:
    """Each kind of device that runs compiled kernels; CUDA is skipped without a GPU."""
    return _require(request.param)
