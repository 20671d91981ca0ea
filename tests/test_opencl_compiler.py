"""What OpenCL's compilers need to be kept from: too wide vectors, and an environment that changes under them."""
from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from running import CPU

import ftiny
import ftiny.numpy as fnp
from ftiny.lowering.compiler import Compiler, fits
from ftiny.lowering.device import WIDEST_VECTOR
from ftiny.lowering.emit_opencl import widest_vector
from ftiny.lowering.opencl_probe import Probed, probe, wrap
from ftiny.lowering.plan_types import nested_plans
from ftiny.lowering.simplify import simplify

X = np.linspace(-2, 2, 7 * 33 * 17).reshape(7, 33, 17).astype(np.float32)
NARROW = replace(CPU, vector_width=8, vector_bytes=32)
PROGRAMS = {
    "64-bit places": lambda x: fnp.sort(x, axis=0),
    "doubles in between": lambda x: fnp.exp(x.astype("float64")).astype("float32"),
}


def sources(function, capabilities) -> list:
    program = simplify(ftiny.make_jaxpr(function)(X)).jaxpr
    return [kernel for plan in nested_plans(Compiler(capabilities).plan(program)) for kernel in plan.kernels]


def test_the_widest_vector_of_a_text():
    assert widest_vector("float x = y[3]; gather_f32_longx8(p); half8x; unit16_") == 0
    assert widest_vector("const float8 v = vload8(0, x); int4 i;") == 32
    assert widest_vector("s = convert_long8(i) * 3;") == 64
    assert widest_vector("(uchar16)(1)") == 16 and widest_vector("vload_half8(0, x)") == 32
    assert widest_vector("double16 d; float4 f;") == WIDEST_VECTOR


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_vector_is_wider_than_the_compiler_takes(name):
    narrow = sources(PROGRAMS[name], NARROW)
    assert fits(narrow, NARROW) and max(widest_vector(s.text) for s in narrow) == 32
    assert max(widest_vector(s.text) for s in sources(PROGRAMS[name], CPU)) >= 64


def test_what_the_probe_finds_is_what_the_device_uses(opencl):
    device = ftiny.devices(opencl)[0]
    found = device._probed
    assert isinstance(found, Probed) and found.lanes == device.capabilities.vector_width
    assert wrap("text", "") == "text" and 'target("clwb")' in wrap("text", "clwb")


def test_a_processor_that_the_compiler_takes_for_a_lesser_one(opencl):
    device = ftiny.devices(opencl)[0]
    if not device.is_pocl:
        pytest.skip("only PoCL compiles for a name and takes its builtins by features")
    wider = SimpleNamespace(cl=device.cl, context=device.context, timing_queue=device.timing_queue, is_pocl=True,
                            functions=device.functions, handle=SimpleNamespace(native_vector_width_float=99))
    found = probe(wider)
    assert found.host_pointers and found.lanes in (4, 8, 16)
    assert found.function_target in ("", "arch=skylake-avx512")


def test_the_environment_may_change_after_a_first_call(opencl, tmp_path):
    """PoCL's linker is started from a thread of its own: this ended the process with 'posix_spawn failed'."""
    code = textwrap.dedent("""
        import os, time
        import numpy, ftiny
        x = numpy.ones(1000, numpy.float32)
        y = ftiny.jit(lambda x: x * 3 + 1)(x)
        stop = time.perf_counter() + 0.5
        while time.perf_counter() < stop:
            for i in range(400):
                os.environ[f"VARIABLE_{i}"] = "1"
            for i in range(400):
                del os.environ[f"VARIABLE_{i}"]
        print(float(y[0]))
    """)
    environment = {**os.environ, "FTINY_CACHE_DIR": str(tmp_path), "FTINY_DEVICE": "opencl"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "4.0"), done.stderr


@pytest.mark.parametrize("size", [3, 64])
def test_bools_are_stored_as_zero_and_one(opencl, size):
    """Masks are -1 inside kernels. 255 would count as true here, and as 255 in a library that adds bytes."""
    x, y = (np.random.default_rng(seed).standard_normal(size).astype(np.float32) for seed in (0, 1))
    p, q = x > 0, y > 0

    def function(x, y):
        p, q = x > 0, y > 0
        return p, p | q, p & q, p ^ q, ~p, p | (y <= x), fnp.where(p, q, ~q)

    with ftiny.device("opencl"):
        found = [np.asarray(r) for r in ftiny.jit(function)(x, y)]
    for result, expected in zip(found, (p, p | q, p & q, p ^ q, ~p, p | (y <= x), np.where(p, q, ~q))):
        np.testing.assert_array_equal(result.view(np.uint8), expected.view(np.uint8))
