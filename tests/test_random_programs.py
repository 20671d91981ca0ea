"""Random programs agree with jax in values and gradients: 2,000 on the interpreter, 150 compiled.

Longer runs: `python tests/random_programs.py --device opencl --seeds 0:2000 --jobs 2`.
"""

import pytest
import random_programs


def report(failures) -> str:
    """The failures as the command line prints them."""
    return "\n".join(f"seed {seed}: {message}" for seed, message in failures)


@pytest.mark.parametrize("start", range(0, 2000, 100))
def test_interpreted(start):
    """Jitted and, every third, eager on the numpy device."""
    failures = random_programs.check_seeds(range(start, start + 100), "numpy", batch=32)
    assert not failures, report(failures)


@pytest.mark.parametrize("start", range(0, 150, 15))
def test_compiled(start, compiled):
    """Compiled for the device."""
    failures = random_programs.check_seeds(range(start, start + 15), compiled)
    assert not failures, report(failures)


def test_programs_are_what_the_seed_says():
    """The same seed gives the same program, and the programs have the sizes and types they should have."""
    programs = [random_programs.generate(seed) for seed in range(300)]
    assert programs[:5] == [random_programs.generate(seed) for seed in range(5)]
    assert all(3 <= len(program.steps) <= 15 for program in programs)
    shapes = [value.shape for program in programs for value in program.inputs]
    assert () in shapes and any(0 in shape for shape in shapes)
    text = "".join(program.source for program in programs)
    for word in (
        "float64",
        "bfloat16",
        "int8",
        "@ ",
        "conv_general_dilated",
        "reduce_window",
        "cumsum",
        "sort",
        "scan",
        "cond",
        "vmap",
    ):
        assert word in text
