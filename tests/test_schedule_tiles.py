"""Transpositions through tiles on a CPU, against numpy, and which nests take them."""
from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny.lowering import device as devices

CASES = {
    "plain": ((300, 260), lambda x: x.T),
    "odd": ((1003, 67), lambda x: x.T + 1),
    "prime": ((257, 509), lambda x: fnp.tanh(x).T * 2),
    "narrow": ((20000, 7), lambda x: x.T),
    "rest of both axes": ((130, 190), lambda x: x.T),
    "three axes": ((7, 100, 129), lambda x: x.transpose(2, 1, 0)),
    "batch": ((5, 100, 66), lambda x: x.transpose(0, 2, 1)),
    "both ways": ((150, 150), lambda x: x.T + x),
    "two read across": ((150, 150), lambda x: (x.T, (x * 2).T + x)),
    "slice": ((200, 201), lambda x: x[:, 1:].T[3:]),
    "broadcast": ((200, 130), lambda x: x.T + x[:, 0]),
    "small": ((12, 9), lambda x: x.T),
    "nothing": ((0, 300), lambda x: x.T),
    "row": ((1, 40000), lambda x: x.T),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bfloat16", "bool"])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_interpreter(case, dtype):
    if not devices.devices("opencl"):
        pytest.skip("no OpenCL device")
    if dtype != "float32" and case not in ("plain", "rest of both axes", "both ways"):
        pytest.skip("one dtype is enough")
    shape, function = CASES[case]
    x = fnp.asarray(np.random.default_rng(0).normal(size=shape) * 3).astype(dtype)
    if dtype == "bool" and case == "both ways":
        function = lambda x: x.T | x
    with ftiny.device("numpy"):
        wanted = [np.asarray(y) for y in ftiny.tree.leaves(ftiny.jit(function)(x))]
    with ftiny.device("opencl"):
        found = [np.asarray(y) for y in ftiny.tree.leaves(ftiny.jit(function)(x))]
    for a, b in zip(found, wanted):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=1e-6)


@pytest.mark.parametrize("case,tiled", [("plain", True), ("batch", True), ("both ways", True), ("small", False),
                                        ("row", False)])
def test_which_nests_are_tiled(case, tiled):
    if not devices.devices("opencl"):
        pytest.skip("no OpenCL device")
    shape, function = CASES[case]
    with ftiny.device("opencl"):
        text = ftiny.jit(function).lower(ftiny.ShapeDtypeStruct(shape, "float32")).as_text()
    assert ("_tile0[" in text) == tiled
