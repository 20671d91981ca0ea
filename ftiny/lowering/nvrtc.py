"""NVRTC: CUDA C++ text to a cubin. Needs no GPU, so tests compile every emitted kernel with it.

    cubin = compile_cubin('extern "C" __global__ void f(float* x) { x[threadIdx.x] = 1.0f; }', "sm_90a", "f")

A small kernel takes 15 ms (0.2 s the first time in a process).
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from ftiny.errors import DeviceError

OPTIONS = (b"--std=c++17",)


@functools.cache
def _module() -> ModuleType:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise DeviceError(
            f"NVRTC is missing ({error}); install it with pip install 'ftiny[cuda]'"
        ) from error
    return nvrtc


@functools.cache
def version() -> str:
    """The compiler's version, '13.0'."""
    major, minor = _call("nvrtcVersion")
    return f"{major}.{minor}"


def compile_cubin(text: str, arch: str, name: str) -> bytes:
    """The machine code of a kernel for `arch` ('sm_80', 'sm_90a'). Raises `DeviceError` with the compiler's log
    if the text is not accepted; `name` is only for that message."""
    program = _call("nvrtcCreateProgram", text.encode(), f"{name}.cu".encode(), 0, [], [])
    try:
        options = [b"--gpu-architecture=" + arch.encode(), *OPTIONS]
        result = _module().nvrtcCompileProgram(program, len(options), options)[0]
        if int(result):
            log = b" " * _call("nvrtcGetProgramLogSize", program)
            _call("nvrtcGetProgramLog", program, log)
            reason = log.decode(errors="replace").strip("\0 \n")
            raise DeviceError(
                f"NVRTC does not compile kernel {name} for {arch} ({result.name}):\n{reason}\n{text}"
            )
        cubin = b" " * _call("nvrtcGetCUBINSize", program)
        _call("nvrtcGetCUBIN", program, cubin)
        return cubin
    finally:
        _call("nvrtcDestroyProgram", program)


def _call(function: str, *args: Any) -> Any:
    """Calls NVRTC, raises by name when it fails, and returns what it gives besides the code."""
    result, *out = getattr(_module(), function)(*args)
    if int(result):
        raise DeviceError(f"{function} failed with {result.name}")
    return out[0] if len(out) == 1 else tuple(out)
