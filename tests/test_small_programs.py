"""Small programs on PoCL are held back, so that a row wakes its threads once; whoever waits gets all results."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from both import normal

import ftiny
import ftiny.numpy as fnp

X = normal(9)


@pytest.fixture
def pocl(opencl):
    device = ftiny.devices("opencl")[0]
    if not device.is_pocl:
        pytest.skip("no PoCL here")
    with ftiny.device(device):
        yield device
    device.synchronize()
    assert device.gate._event is None


def test_rows_of_every_length(pocl):
    step = ftiny.jit(lambda x: x + 1)
    for count in (1, 2, 15, 16, 17, 18, 33, 100):
        x = ftiny.device_put(X)
        for _ in range(count):
            x = step(x)
        np.testing.assert_allclose(x, X + count, rtol=1e-5)


def test_larger_programs_and_copies_come_after_them(pocl):
    step = ftiny.jit(lambda x: x + 1)
    large = ftiny.jit(lambda x: fnp.sum(fnp.outer(x, fnp.ones(5000)), axis=1))
    x = ftiny.device_put(X)
    for _ in range(3):
        y = step(x)
        kept = ftiny.device_put(y)
        x = large(y) / 5000
        np.testing.assert_allclose(x, kept, rtol=1e-4)
    y = step(step(x))
    assert pocl.gate._event is not None
    large(y)
    assert pocl.gate._event is None
    with ftiny.debug(2):
        np.testing.assert_allclose(step(step(y)), np.asarray(y) + 2, rtol=1e-5)


def test_threads_that_wait_while_others_hold_back(pocl):
    step = ftiny.jit(lambda x: x * 0.5 + 1)
    step(ftiny.device_put(X))
    failures = []

    def work(seed):
        x, y = ftiny.device_put(normal(9, seed=seed)), normal(9, seed=seed)
        for k in range(60):
            x, y = step(x), y * np.float32(0.5) + 1
            if k % (seed + 2) == 0 and not np.allclose(x, y, rtol=1e-5):
                failures.append((seed, k))

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and not any(thread.is_alive() for thread in threads)


def test_a_process_ends_with_programs_held_back(pocl):
    text = "import ftiny, ftiny.numpy as n; f = ftiny.jit(lambda x: x + 1); x = f(f(f(n.ones(3)))); print('end')"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
