"""One pass for the rows and the columns: the schedule against numpy, and which groups fusion joins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from running import CUDA, GPU, run_opencl
from walls import layernorm_backward

from ftiny.lowering.schedule import schedule

RNG = np.random.default_rng()


@pytest.mark.parametrize("rows, columns", [(13, 37), (7, 1024), (1, 4), (300, 1023), (5, 8192), (16, 768)])
@pytest.mark.parametrize("units", [1, 132])
def test_layernorm_backward(rows, columns, units):
    case = layernorm_backward(RNG, rows, columns)
    results = run_opencl(case.nest, case.inputs, replace(GPU, compute_units=units))
    for name, want in case.expected.items():
        np.testing.assert_allclose(results[name], want, rtol=1e-3, atol=1e-3, err_msg=name)


def test_a_row_is_loaded_once_and_widely():
    first, second, *_ = schedule(layernorm_backward(RNG, 64, 4096).nest, replace(CUDA, compute_units=4)).kernels
    text = str(first)
    assert text.count(" = x[") == text.count(" = dy[") == 4 and first.grid == (8, 1, 1) and first.block == (256, 1, 1)
    assert [p.name for p in first.params if p.written] == ["dx", "g.partial", "c.partial"]
    assert [p.name for p in second.params if p.written] == ["dgain", "dbias"]
