"""Runs scheduled loop nests on PoCL, for the tests: fresh data in, poisoned outputs, arrays out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from ftiny.lowering.emit_c import emit
from ftiny.lowering.loops import LoopNest
from ftiny.lowering.schedule import schedule

CPU = SimpleNamespace(dialect="opencl", vector_width=16, warp=1, max_threads=4096, shared_bytes=65536, compute_units=2,
                      fp64=True, fp16=False, host_memory=True, arch="", pragma_clwb=True)
SCALAR = SimpleNamespace(**{**CPU.__dict__, "vector_width": 1})
GPU = SimpleNamespace(**{**CPU.__dict__, "vector_width": 1, "host_memory": False, "warp": 1, "max_threads": 256})
CUDA = SimpleNamespace(dialect="cuda", vector_width=1, warp=32, max_threads=1024, shared_bytes=49152,
                       compute_units=132, fp64=True, fp16=True, host_memory=False, arch="sm_90a", pragma_clwb=False)
_STATE: dict = {}
PUSH = '#pragma clang attribute push(__attribute__((target("clwb"))), apply_to=function)\n'


def storage_array(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array as memory holds it: bools as bytes."""
    array = np.ascontiguousarray(np.asarray(array).astype(dtype))
    return array.view(np.uint8) if array.dtype == np.bool_ else array


def run_opencl(nest: LoopNest, arrays: dict, capabilities=CPU) -> dict:
    """Schedule, emit, build and run a nest on the first OpenCL device; arrays by argument name.

    Arguments without an array start poisoned (bytes 0xCD, NaN-like nonsense). Returns the written ones.
    """
    import pyopencl as cl

    if not _STATE:
        context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
        _STATE.update(context=context, queue=cl.CommandQueue(context))
    context, queue = _STATE["context"], _STATE["queue"]
    scheduled = schedule(nest, capabilities)
    buffers, hosts = {}, {}
    for value in (*nest.arguments, *scheduled.scratch):
        if value.name in arrays:
            host = storage_array(arrays[value.name], value.storage)
        else:
            fill = 0 if value.name.endswith(".counter") else 0xCD
            size = max(1, math.prod(value.shape)) * value.storage.itemsize
            host = np.full(size, fill, np.uint8)
        hosts[value.name] = value
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        buffers[value.name] = cl.Buffer(context, flags, hostbuf=host if host.size else np.zeros(64, np.uint8))
    for kernel in scheduled.kernels:
        source = emit(kernel, "opencl")
        text = PUSH + source.text + "\n#pragma clang attribute pop\n"
        built = _STATE.get(text)
        if built is None:
            built = _STATE[text] = getattr(cl.Program(context, text).build(), source.entry)
        size = tuple(g * b for g, b in zip(source.grid, source.block))
        if 0 not in size:
            built(queue, size, source.block, *(buffers[p.name] for p in source.params))
    result = {}
    for name in nest.outputs():
        value = hosts[name]
        out = np.empty(math.prod(value.shape) * value.storage.itemsize, np.uint8)
        if out.size:
            cl.enqueue_copy(queue, out, buffers[name])
        result[name] = out.view(value.storage).reshape(value.shape)
    queue.finish()
    return result


def sources(nest: LoopNest, capabilities=CPU) -> list:
    """The kernel sources of a nest."""
    return [emit(kernel, capabilities.dialect) for kernel in schedule(nest, capabilities).kernels]
