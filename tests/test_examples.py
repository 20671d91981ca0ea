"""The examples run: a few steps each, as a user would start them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def run_example(name: str, *options: str) -> str:
    """The output of an example; it must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(EXAMPLES / name), *options]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=EXAMPLES)
    assert result.returncode == 0, result.stderr
    return result.stdout


def accuracy(output: str) -> float:
    """The test accuracy that an example prints last."""
    return float(re.findall(r"test accuracy: ([\d.]+)", output)[-1])


@pytest.mark.parametrize(
    "name, steps, least", [("mnist_mlp.py", 60, 0.8), ("mnist_conv.py", 15, 0.3)], ids=["mlp", "conv"]
)
def test_mnist(name, steps, least, opencl):
    """It learns something in a few steps, and prints device, compile time and the accuracy curve."""
    output = run_example(name, "--steps", str(steps), "--device", opencl, "--seed", "1")
    assert "device: opencl" in output and "first step (compile and run)" in output and "accuracy curve" in output
    assert accuracy(output) > least


def test_the_same_seed_gives_the_same_run():
    """Parameters, sampling and dropout come from the seed alone."""
    options = ("--steps", "3", "--batch", "16", "--device", "numpy")
    first, again, other = (run_example("mnist_mlp.py", *options, "--seed", seed) for seed in "778")
    assert accuracy(first) == accuracy(again) != accuracy(other)


def test_a_plot(tmp_path):
    """`--plot` writes a picture."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra 'examples')")
    picture = tmp_path / "curve.png"
    run_example("mnist_mlp.py", "--steps", "2", "--batch", "8", "--device", "numpy", "--plot", str(picture))
    assert picture.stat().st_size > 1000
