"""Three facts about an OpenCL device on a CPU that no query tells, found once on a machine by small kernels.

Input: a device. Output: a `Probed`:

    probe(device)     # Probed(host_pointers=True, lanes=16, function_target='clwb') with PoCL 3.0 on Sapphire Rapids
                      # Probed(host_pointers=True, lanes=8, function_target='arch=skylake-avx512') on AMD's Zen 4

*Host pointers*: whether kernels can use host memory by its address.

*Lanes*: PoCL compiles for the processor's name as its LLVM knows it, but takes the library of builtins by the
processor's features. Where the name is older than the features (LLVM 14 takes Zen 4 for Zen 3, which has no AVX-512)
a `float16` is passed to the builtins in memory and expected in a register, and the compiler ends the process. Vectors
that the named processor has registers for are passed alike on both sides.

*Function target*: a builtin is inlined only into functions that have all its processor features, and a product with
a call for every load runs at a quarter of its speed. `wrap` gives every function of a text the missing features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from ftiny.lowering.device import tell_once

if TYPE_CHECKING:
    from ftiny.lowering.run_opencl import OpenCLDevice

MOST_LANES = 16  # OpenCL C has no wider vectors
WORTH_IT = 1.5  # times faster than the plain text

REGISTER_LANES = """
__kernel __attribute__((reqd_work_group_size(1,1,1))) void register_lanes(__global int* lanes) {
#if defined(__AVX512F__)
  *lanes = 16;
#elif defined(__AVX__)
  *lanes = 8;
#else
  *lanes = 4;
#endif
}
"""

BUILTINS = """
__kernel __attribute__((reqd_work_group_size(1,1,1))) void builtins(__global const float* a, __global float* b) {
  float16 s = 0;
  for (int i = 0; i < 4096; i++) { s = fma(vload16(i & 15, a), (float16)(0.5f), s * 0.5f); }
  vstore16(s, 0, b);
}
"""


class Probed(NamedTuple):
    """What `probe` finds; a function target of '' means none."""

    host_pointers: bool
    lanes: int
    function_target: str


def wrap(text: str, function_target: str) -> str:
    """The text with a function target for each of its functions."""
    if not function_target:
        return text
    attribute = f'__attribute__((target("{function_target}")))'
    return f"#pragma clang attribute push({attribute}, apply_to=function)\n{text}\n#pragma clang attribute pop\n"


def probe(device: OpenCLDevice) -> Probed:
    """Runs up to three kernels, each in a program of its own."""
    lanes, target = MOST_LANES, "clwb"
    if device.is_pocl:
        found = numpy.zeros(1, numpy.int32)
        _run(device, REGISTER_LANES, [found], by_address=False)
        if found[0] < device.handle.native_vector_width_float:
            lanes, target = int(found[0]), "arch=skylake-avx512"
    text = BUILTINS.replace("16", str(lanes))
    a = numpy.arange(257, dtype=numpy.float32)[1:]  # an address that is a multiple of 4 only
    b = numpy.zeros(17, numpy.float32)[1:]
    host_pointers = device.functions is not None
    plain = _run(device, text, [a, b], host_pointers)
    host_pointers = host_pointers and bool(numpy.allclose(b[0], _expected(a, lanes), rtol=1e-4))
    if not host_pointers:
        tell_once(f"{device.name} cannot use host memory in place: arrays are copied to it")
    try:
        targeted = _run(device, wrap(text, target), [a, b], host_pointers)
    except device.cl.Error:  # not clang, or one that does not know the target
        targeted = plain
    return Probed(host_pointers, lanes, target if plain > WORTH_IT * targeted else "")


def _run(device: OpenCLDevice, text: str, arrays: list[numpy.ndarray], by_address: bool) -> float:
    """Builds and runs the kernel of a text on arrays; returns the seconds of the fastest of four runs."""
    cl: Any = device.cl
    (kernel,) = cl.Program(device.context, text).build(cache_dir=False).all_kernels()
    buffers = []
    for index, array in enumerate(arrays):
        if by_address:
            device.functions.set_pointer(kernel.int_ptr, index, array.ctypes.data)  # type: ignore[union-attr]
        else:
            flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
            buffers.append(cl.Buffer(device.context, flags, hostbuf=array))  # which the kernel does not keep alive
            kernel.set_arg(index, buffers[-1])
    best = float("inf")
    for _ in range(4):
        event = cl.enqueue_nd_range_kernel(device.timing_queue, kernel, (1,), (1,))
        event.wait()
        best = min(best, (event.profile.end - event.profile.start) * 1e-9)
    for buffer, array in zip(buffers, arrays):
        cl.enqueue_copy(device.timing_queue, array, buffer)
    return best


def _expected(a: numpy.ndarray, lanes: int) -> float:
    value = 0.0
    for i in range(4096):
        value = 0.5 * float(a[lanes * (i & 15)]) + 0.5 * value
    return value
