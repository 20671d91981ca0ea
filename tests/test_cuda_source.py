"""The CUDA source of the test programs compiles: every operation, its gradient, random programs, the training steps.

NVRTC needs no GPU. What the kernels compute is tested on a GPU by benchmarks/gpu_check.sh.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from compiling import conv_arguments, conv_step, mlp_arguments, mlp_step
from test_ops import BY_NAME, COMPILED, compiled_cases

import ftiny
from ftiny import tree
from ftiny.fuzz import checking, libraries
from ftiny.fuzz.programs import generate
from ftiny.lowering import nvrtc
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.device import Capabilities
from ftiny.lowering.plan_types import nested_plans
from ftiny.lowering.simplify import simplify

pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed (the extra 'cuda')")

HOPPER = Capabilities(
    dialect="cuda",
    warp=32,
    max_threads=1024,
    shared_bytes=232448,
    compute_units=132,
    host_memory=False,
    arch="sm_90a",
)
AMPERE = replace(HOPPER, shared_bytes=166912, compute_units=108, arch="sm_80")
BATCH = 40
_seen: set[tuple[str, str]] = set()


def check_compiles(function, *arguments) -> None:
    """All kernels of a program, scheduled for each architecture, are accepted by NVRTC; equal texts once."""
    program = simplify(ftiny.make_jaxpr(function)(*arguments).close_over()).jaxpr
    todo = []
    for capabilities in (AMPERE, HOPPER):
        for plan in nested_plans(Compiler(capabilities).plan(program)):
            for kernel in plan.kernels:
                if (kernel.text, capabilities.arch) not in _seen:
                    _seen.add((kernel.text, capabilities.arch))
                    todo.append((kernel.text, capabilities.arch, kernel.name))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda task: nvrtc.compile_cubin(*task), todo))


@pytest.fixture(autouse=True)
def on_the_interpreter():
    """Tracing runs small parts eagerly; they need no compiled device."""
    with ftiny.device("numpy"):
        yield


@pytest.mark.parametrize("start", range(0, len(COMPILED), BATCH))
def test_operations(start):
    """The rows of the operation table at one sample, and their gradients."""
    cases = [case for name in COMPILED[start : start + BATCH] for case in compiled_cases(BY_NAME[name])[::2]]
    check_compiles(lambda all_arguments: [f(*xs) for (f, _), xs in zip(cases, all_arguments)], [xs for _, xs in cases])


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_random_programs(start):
    """Random programs with their gradients."""
    for seed in range(start, start + 20):
        program = generate(seed)
        check_compiles(checking.function(program, libraries.ftiny_library()), *program.arguments())


@pytest.mark.parametrize(
    "step, arguments", [(mlp_step, mlp_arguments), (conv_step, conv_arguments)], ids=["mlp", "conv"]
)
def test_training_steps(step, arguments):
    """A step of each network."""
    given = arguments()
    assert tree.leaves(given)
    check_compiles(step, *given)
