"""Runs scheduled loop nests on PoCL, for the tests: fresh data in, poisoned outputs, arrays out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

import ftiny
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.device import Capabilities
from ftiny.lowering.emit_c import emit
from ftiny.lowering.loops import LoopNest
from ftiny.lowering.opencl_probe import wrap
from ftiny.lowering.schedule import schedule

CPU = Capabilities("opencl", vector_width=16, max_threads=4096, shared_bytes=65536, compute_units=2, fp16=False)
SCALAR = replace(CPU, vector_width=1)
GPU = replace(SCALAR, host_memory=False, max_threads=256)
CUDA = Capabilities("cuda", warp=32, max_threads=1024, shared_bytes=49152, compute_units=132, host_memory=False,
                    arch="sm_90a")
_STATE: dict = {}


def storage_array(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array as memory holds it: bools as bytes."""
    array = np.ascontiguousarray(np.asarray(array).astype(dtype))
    return array.view(np.uint8) if array.dtype == np.bool_ else array


def run_opencl(nest: LoopNest, arrays: dict, capabilities=CPU) -> dict:
    """Schedule, emit, build and run a nest on the first OpenCL device, with no wider vectors than it has; arrays by
    argument name.

    Arguments without an array start poisoned (bytes 0xCD, NaN-like nonsense). Returns the written ones.
    """
    import pyopencl as cl

    device = next(device for device in ftiny.devices() if device.kind == "opencl")
    if not _STATE:
        _STATE.update(queue=cl.CommandQueue(device.context))
    context, queue = device.context, _STATE["queue"]
    vector_bytes, lanes = device.capabilities.vector_bytes, device.capabilities.vector_width
    capabilities = replace(
        capabilities, vector_bytes=vector_bytes, vector_width=min(capabilities.vector_width, lanes))
    made, scheduled = Compiler(capabilities).kernels(nest)
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
    for source in made:
        text = wrap(source.text, device.capabilities.function_target)
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
