"""CUDA devices."""

from __future__ import annotations

from ftiny.lowering import profile
from ftiny.lowering.device import Device


def find_devices() -> list[Device]:
    """All CUDA devices; none if pycuda, cuda-bindings or the driver is missing."""
    try:
        import cuda.bindings.driver  # noqa: F401
        import pycuda.driver as driver

        driver.init()
    except Exception as error:
        profile.log(1, f"CUDA is not usable: {error}")
        return []
    return []
