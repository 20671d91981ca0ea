"""Measured peaks of a device, the yardstick of the kernel log.

Input: a device. Output: bytes per second of a large copy-and-add and float32 operations per second of chains of
multiply-adds in registers, each the best of three runs. Both are plans of one hand-written kernel:

    bandwidth, arithmetic = measure_peaks(device)      # (14.1e9, 140e9) on two AVX-512 cores
"""

from __future__ import annotations

from typing import Any

import numpy

from ftiny.lowering.plan_types import (
    Argument,
    Buffer,
    Graph,
    KernelParam,
    KernelSource,
    Launch,
    Plan,
    Pointer,
    Result,
)

FLOAT = numpy.dtype(numpy.float32)
CHAINS, ROUNDS = 12, 4096  # two units with a latency of 4 want 8; more than 12 do not fit 16 registers

OPENCL = (
    "__kernel __attribute__((reqd_work_group_size({block},1,1)))"
    " void {name}(__global const float* x, __global float* y)"
)
CUDA = 'extern "C" __global__ void __launch_bounds__({block}) {name}(const float* x, float* y)'


def measure_peaks(device: Any) -> tuple[float, float]:
    """Bytes per second and float32 operations per second."""
    lanes = device.capabilities.vector_width
    on_cpu = lanes > 1
    block = 1 if on_cpu else 256
    elements = 1 << (24 if on_cpu else 26)
    chunk = 1 << 16 if on_cpu else 4
    bandwidth = _best(device, _stream(device, lanes, elements, chunk, block), elements)
    threads = device.capabilities.compute_units * (4 if on_cpu else 2048)
    arithmetic = _best(device, _chains(device, lanes, threads, block), threads * lanes)
    return bandwidth, arithmetic


def _kernel(device: Any, name: str, body: str, grid: int, block: int, work: int) -> KernelSource:
    cuda = device.capabilities.dialect == "cuda"
    head = (CUDA if cuda else OPENCL).format(name=name, block=block)
    index = "(long long)blockIdx.x * blockDim.x + threadIdx.x" if cuda else "get_global_id(0)"
    text = f"{head} {{\n  const {'long long' if cuda else 'long'} i = {index};\n{body}\n}}\n"
    params = (KernelParam("x", FLOAT), KernelParam("y", FLOAT, written=True))
    sizes = ((grid, 1, 1), (block, 1, 1))
    return KernelSource(name, text, name, params, *sizes, flops=work, bytes=work)


def _stream(device: Any, lanes: int, elements: int, chunk: int, block: int) -> KernelSource:
    if lanes > 1:
        loop = f"for (int j = 0; j < {chunk // lanes}; j++)"
        body = f"  x += i * {chunk}; y += i * {chunk};\n  {loop} vstore{lanes}(vload{lanes}(j, x) + 1.0f, j, y);"
    else:
        body = "  float4 v = ((const float4*)x)[i]; v.x += 1.0f; ((float4*)y)[i] = v;"
        if device.capabilities.dialect == "opencl":
            body = "  vstore4(vload4(i, x) + 1.0f, i, y);"
    grid = elements // chunk // block
    return _kernel(device, "peak_bandwidth", body, grid, block, 8 * elements)


def _chains(device: Any, lanes: int, threads: int, block: int) -> KernelSource:
    kind = f"float{lanes}" if lanes > 1 else "float"
    names = [f"a{n}" for n in range(CHAINS)]
    lines = [f"  {kind} {name} = x[0] + {n}.0f;" for n, name in enumerate(names)]
    steps = " ".join(f"{name} = {name} * 0.999f + 0.5f;" for name in names)
    lines.append(f"  for (int j = 0; j < {ROUNDS}; j++) {{ {steps} }}")
    total = " + ".join(names)
    store = f"vstore{lanes}({total}, i, y);" if lanes > 1 else f"y[i] = {total};"
    lines.append(f"  {store}")
    work = 2 * CHAINS * ROUNDS * lanes * threads
    return _kernel(device, "peak_arithmetic", "\n".join(lines), threads // block, block, work)


def _best(device: Any, kernel: KernelSource, elements: int) -> float:
    """Work per second of the best of three timed runs."""
    x = Buffer("x", (elements,), FLOAT, owner=Argument(0))
    y = Buffer("y", (elements,), FLOAT, owner=Result(0))
    graph = Graph((Launch(0, (Pointer("x"), Pointer("y"))),))
    plan = Plan((x, y), (kernel,), (graph,), 0, ("x",), ("y",))
    driver = device.load(plan).driver
    launches = driver.launches(plan, graph, {"x": 0, "y": 1})
    memories = [device.from_host(numpy.ones(elements, FLOAT)), device.allocate(4 * elements)]
    for number, memory in enumerate(memories):
        launches.patch(number, memory.location)
    seconds = min(launches.start_timed()[0] for _ in range(4))
    return kernel.flops / max(seconds, 1e-9)
