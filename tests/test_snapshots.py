"""The source of a few small programs, in both dialects, as files that a reviewer can read.

When the emitted text changes on purpose run `pytest tests/test_snapshots.py --update-snapshots` and review the change.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from running import CPU, CUDA

import ftiny
import ftiny.numpy as np
from ftiny import nn
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.simplify import simplify

FOLDER = Path(__file__).parent / "snapshots" / "programs"
LONGEST = 140  # lines: what one still reviews


def shape(*dims, dtype="float32"):
    """An argument of a program."""
    return ftiny.ShapeDtypeStruct(dims, dtype)


def layer_norm(x, gain, bias):
    """Normalised rows."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return gain * centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) + bias


PROGRAMS = {
    "gelu": (lambda a, b: nn.gelu(a * b + 1.0), shape(1000), shape(1000)),
    "layer_norm": (layer_norm, shape(100, 300), shape(300), shape(300)),
    "cross_entropy": (
        lambda x, y: -np.mean(np.sum(nn.one_hot(y, 10) * nn.log_softmax(x), axis=1)),
        shape(128, 10),
        shape(128, dtype="int32"),
    ),
    "gather_rows": (lambda table, index: np.take(table, index, axis=0) * 2.0, shape(50, 64), shape(7, dtype="int32")),
    "column_sum": (lambda x: np.sum(x * x, axis=0), shape(513, 70)),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("capabilities, suffix", [(CPU, "cl"), (CUDA, "cu")], ids=["opencl", "cuda"])
def test_source(name, capabilities, suffix, request):
    """The kernels of the program are the stored ones."""
    function, *arguments = PROGRAMS[name]
    with ftiny.device("numpy"):
        program = simplify(ftiny.make_jaxpr(function)(*arguments).close_over()).jaxpr
    plan = Compiler(capabilities).plan(program)
    kernels = dict.fromkeys(kernel.text.strip() for kernel in plan.kernels)
    text = "\n\n".join(kernels) + "\n"
    assert len(text.splitlines()) <= LONGEST, "too long to review"
    path = FOLDER / f"{name}.{suffix}"
    if request.config.getoption("--update-snapshots"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), "no snapshot: run pytest with --update-snapshots and review the file"
    assert text == path.read_text(), (
        f"{path.name} differs: run pytest with --update-snapshots and review the difference"
    )
