"""Two facts about an OpenCL device on a CPU that no query tells, measured by one small kernel.

Input: a device. Output: whether kernels can use host memory by its address, and whether the compiler inlines its
builtins only for functions that are marked with one more processor feature (`PUSH`). PoCL 3.0 does so on CPUs newer
than its LLVM, and a matmul then runs at 35 instead of 124 GFLOP/s:

    host_pointers, pragma_clwb = probe(device)     # (True, True) with PoCL 3.0 on a Sapphire Rapids CPU
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

from ftiny.lowering.device import tell_once

if TYPE_CHECKING:
    from ftiny.lowering.run_opencl import OpenCLDevice

PUSH = '#pragma clang attribute push(__attribute__((target("clwb"))), apply_to=function)\n'
POP = "\n#pragma clang attribute pop\n"

PROBE = """
__kernel __attribute__((reqd_work_group_size(1,1,1))) void NAME(__global const float* a, __global float* b) {
  float16 s = 0;
  for (int i = 0; i < 4096; i++) { s = fma(vload16(i & 15, a), (float16)(0.5f), s * 0.5f); }
  vstore16(s, 0, b);
}
"""


def probe(device: OpenCLDevice) -> tuple[bool, bool]:
    """Runs one kernel twice: compiled plainly and under `PUSH`. Returns whether it could use host memory by
    address, and whether it was much slower without `PUSH`."""
    cl = device.cl
    try:
        text = PROBE.replace("NAME", "plain") + PUSH + PROBE.replace("NAME", "pushed") + POP
        program = cl.Program(device.context, text).build(cache_dir=False)
        names = ["plain", "pushed"]
    except cl.Error:
        program = cl.Program(device.context, PROBE.replace("NAME", "plain")).build(cache_dir=False)
        names = ["plain"]
    a = numpy.arange(257, dtype=numpy.float32)[1:]  # an address that is a multiple of 4 only
    seconds, host_pointers = [], device.functions is not None
    for name in names:
        kernel = cl.Kernel(program, name)
        b = numpy.zeros(17, numpy.float32)[1:]
        if host_pointers:
            for index, array in enumerate((a, b)):
                device.functions.set_pointer(kernel.int_ptr, index, array.ctypes.data)  # type: ignore[union-attr]
        else:
            flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
            held = [cl.Buffer(device.context, flags, hostbuf=x) for x in (a, b)]
            kernel.set_args(*held)  # which keeps no buffer alive
        best = float("inf")
        for _ in range(4):
            event = cl.enqueue_nd_range_kernel(device.timing_queue, kernel, (1,), (1,))
            event.wait()
            best = min(best, (event.profile.end - event.profile.start) * 1e-9)
        seconds.append(best)
        host_pointers = host_pointers and bool(numpy.allclose(b[0], _probe_value(a), rtol=1e-4))
    if not host_pointers:
        tell_once(f"{device.name} cannot use host memory in place: arrays are copied to it")
    return host_pointers, len(seconds) == 2 and seconds[0] > 1.5 * seconds[1]


def _probe_value(a: numpy.ndarray) -> float:
    value = 0.0
    for i in range(4096):
        value = 0.5 * float(a[16 * (i & 15)]) + 0.5 * value
    return value
