"""What OpenCL's compilers need to be kept from: too wide vectors, and an environment that changes under them."""
from __future__ import annotations

import os
import re
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
from ftiny.lowering.opencl_probe import Probed, probe, wrap
from ftiny.lowering.plan_types import nested_plans
from ftiny.lowering.simplify import simplify

X = np.linspace(-2, 2, 7 * 33 * 17).reshape(7, 33, 17).astype(np.float32)
NARROW = {"AVX": replace(CPU, vector_width=8, vector_bytes=32), "SSE": replace(CPU, vector_width=4, vector_bytes=16)}
# Every schedule, and every way in which a 64-bit type comes into a kernel of narrower arrays.
PROGRAMS = {
    "64-bit places": lambda x: fnp.sort(x, axis=0),
    "doubles in between": lambda x: fnp.exp(x.astype("float64")).astype("float32"),
    "doubles in an epilogue": lambda x: (x[0] @ x[0].T) * fnp.ones((33, 33), "float64").astype("float32"),
    "a factor of doubles": lambda x, w: (x[0].astype("float16") @ x[0].T.astype("float16")) * w.astype("float16"),
    "long integers": lambda x: (x.astype("int64") * 3 > 2).astype("float32") + x.astype("uint64").astype("int8"),
    "comparisons": lambda x, w: fnp.where(w > 0.5, x[1, :, :1], (w == 0).astype("float32")),
    "sums of doubles": lambda x: fnp.sum(x.astype("float64"), axis=(0, 2)).astype("float32"),
    "rows": lambda x: fnp.cumsum(x.astype("float64"), axis=1).astype("float32") / fnp.max(x, axis=1, keepdims=True),
    "positions": lambda x: (fnp.argmax(x, axis=2), fnp.take(x, fnp.arange(5, dtype="int64"), axis=1)),
    "bits": lambda x: ftiny.lax.bitcast_convert_type(x.astype("float64"), "int64").astype("float16"),
    "updates": lambda x, w: fnp.zeros(40, "float64").at[(33 * fnp.abs(w)).astype("int64")].add(w),
}
BYTES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "long": 8, "ulong": 8,
         "double": 8}


def sources(name, capabilities) -> list:
    function = PROGRAMS[name]
    program = simplify(ftiny.make_jaxpr(function)(*arguments(function))).jaxpr
    return [kernel for plan in nested_plans(Compiler(capabilities).plan(program)) for kernel in plan.kernels]


def arguments(function) -> list:
    rng = np.random.default_rng(0)
    return [X, rng.uniform(0, 1, (33, 33))][: function.__code__.co_argcount]


def widest_vector(text: str) -> int:
    """The bytes of the widest vector, read from the text: by the names of types, and of loads and stores by the type
    of their pointer."""
    found = [0]
    for part in text.split("\n}"):
        pointed = {name: kind for kind, name in re.findall(r"(\w+)\*(?: restrict)? (\w+)[,)]", part)}
        pointed |= {name: kind for kind, name in re.findall(r"(\w+) (\w+)\[\d+\];", part)}
        found += [BYTES[kind] * int(n) for kind, n in re.findall(rf"(?<![a-z])({'|'.join(BYTES)})(2|4|8|16)\b", part)]
        found += [BYTES[pointed[p]] * int(n) for n, p in re.findall(r"vload(\d+)\(0, (\w+)", part)]
        found += [BYTES[pointed[p]] * int(n) for n, p in re.findall(r"vstore(\d+)\(.*, 0, (\w+)[^,]*\);", part)]
    return max(found)


@pytest.mark.parametrize("width", NARROW)
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_vector_is_wider_than_the_compiler_takes(name, width):
    narrow = NARROW[width]
    made = sources(name, narrow)
    assert fits(made, narrow) and max(s.vector_bytes for s in made) <= narrow.vector_bytes
    assert all(widest_vector(s.text) <= s.vector_bytes for s in made), "the printer has overlooked a vector"
    wide = sources(name, CPU)
    assert all(widest_vector(s.text) <= s.vector_bytes for s in wide)


def test_the_programs_would_have_too_wide_vectors():
    assert all(max(s.vector_bytes for s in sources(name, CPU)) >= 64 for name in PROGRAMS)


def test_clang_passes_every_vector_in_registers(opencl):
    """clang refuses a call whose vectors one side would pass in AVX-512's registers and the other in memory: with one
    of the two targets, whatever the processor, a call with 64 bytes is such a call."""
    device = ftiny.devices(opencl)[0]
    if not device.is_pocl:
        pytest.skip("the targets are those of clang on x86")
    targets = ("arch=skylake-avx512", "no-avx512f")
    too_wide = "__kernel void k(__global float* x) { vstore16(exp(vload16(0, x)), 0, x); }"
    assert sum(_builds(device, too_wide, target) for target in targets) == 1
    for name in PROGRAMS:
        text = "\n".join(s.text for s in sources(name, NARROW["AVX"]))
        assert all(_builds(device, text, target) for target in targets), name


def _builds(device, text: str, target: str) -> bool:
    try:
        device.cl.Program(device.context, wrap(text, target)).build(cache_dir=False)
    except device.cl.Error as error:
        assert "changes the ABI" in str(error)
        return False
    return True


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint16", "bool"])
def test_narrow_elements_lie_anywhere(opencl, dtype):
    """PoCL's vectors of halves needed an address that is a multiple of 16 bytes: an odd row ended the process."""
    x = np.random.default_rng(3).integers(0, 2, (19, 19)).astype(np.float32)

    def function(x):
        narrow = x.astype(dtype)
        return narrow[1:-1, 1:-1], fnp.zeros((17, 17), dtype), fnp.concatenate([narrow[:, 1:], narrow], axis=1)

    with ftiny.device(opencl):
        found = [np.asarray(y) for y in ftiny.jit(function)(x)]
    for got, wanted in zip(found, (x[1:-1, 1:-1], np.zeros((17, 17)), np.concatenate([x[:, 1:], x], axis=1))):
        np.testing.assert_array_equal(got.astype(np.float32), wanted)


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
