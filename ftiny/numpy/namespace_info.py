"""What `ftiny.numpy` can do, asked through the Python array API standard: devices, dtypes, capabilities.

Input: nothing, a device, or the name of a kind of dtypes. Output: plain Python values:

    >>> ftiny.numpy.__array_namespace_info__().default_dtypes()["real floating"]
    dtype('float32')

Source: Python array API standard 2024.12, https://data-apis.org/array-api/2024.12/API_specification/inspection.html.
float16 and bfloat16, which the standard does not know, are left out of the answers.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ftiny import dtypes
from ftiny.errors import ArgumentError
from ftiny.lowering import device as devices_module
from ftiny.source import located

if TYPE_CHECKING:
    from ftiny.lowering.device import Device

ARRAY_API_VERSION = "2024.12"
# numpy, which holds the elements on the host, has no arrays of more axes.
MAX_DIMENSIONS = 64

_REAL_FLOATS, _INTEGRAL = (dtypes.float32, dtypes.float64), dtypes.SIGNED + dtypes.UNSIGNED
_KINDS: dict[str, tuple[np.dtype, ...]] = {
    "bool": (dtypes.bool_,),
    "signed integer": dtypes.SIGNED,
    "unsigned integer": dtypes.UNSIGNED,
    "integral": _INTEGRAL,
    "real floating": _REAL_FLOATS,
    "complex floating": dtypes.COMPLEX,
    "numeric": _INTEGRAL + _REAL_FLOATS + dtypes.COMPLEX,
}


def namespace(api_version: str | None = None) -> ModuleType:
    """The module `ftiny.numpy`, which follows version 2024.12 of the standard.

    Raises `ArgumentError` (a `ValueError`) for another version.
    """
    if api_version not in (None, ARRAY_API_VERSION):
        raise ArgumentError(
            located(
                f"__array_namespace__: api_version {api_version!r} is not available; ftiny.numpy follows version "
                f"{ARRAY_API_VERSION!r} of the array API standard. Ask for that one, or for None"
            )
        )
    import ftiny.numpy

    return ftiny.numpy


class ArrayNamespaceInfo:
    """The answers of `ftiny.numpy.__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, Any]:
        """Whether masks can be indices, whether shapes may depend on data (outside of traced functions), and how many
        axes an array can have."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": MAX_DIMENSIONS}

    def default_device(self) -> Device:
        """The device that computes when no array is bound to another."""
        return devices_module.default_device()

    def devices(self) -> list[Device]:
        """All devices present, best first."""
        return devices_module.devices()

    def default_dtypes(self, *, device: Device | str | None = None) -> dict[str, np.dtype]:
        """The dtypes that functions use when none is given; the same on every device."""
        _check_device(device)
        return {
            "real floating": dtypes.float32,
            "complex floating": dtypes.complex64,
            "integral": dtypes.int32,
            "indexing": dtypes.int32,
        }

    def dtypes(
        self, *, device: Device | str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype]:
        """The dtypes of the standard by name, all of them or those of a kind; the same on every device.

        kind: 'bool', 'signed integer', 'unsigned integer', 'integral', 'real floating', 'complex floating',
            'numeric', or a tuple of those. Raises `ArgumentError` for another.
        """
        _check_device(device)
        names = ("bool", "numeric") if kind is None else kind if isinstance(kind, tuple) else (kind,)
        for name in names:
            if name not in _KINDS:
                listed = ", ".join(map(repr, _KINDS))
                raise ArgumentError(located(f"dtypes: {name!r} is no kind of dtypes; the kinds are {listed}"))
        return {str(dtype): dtype for name in names for dtype in _KINDS[name]}


def _check_device(device: Device | str | None) -> None:
    """Raise `DeviceError` for a device that is not there."""
    if device is not None:
        devices_module.get_device(device)


def array_namespace_info() -> ArrayNamespaceInfo:
    """What `ftiny.numpy` can do, by the Python array API standard; see `ArrayNamespaceInfo`."""
    return ArrayNamespaceInfo()
