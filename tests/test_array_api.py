"""The contract of `ftiny.numpy` as a namespace of the Python array API standard, 2024.12, without the standard's suite.

`array_api.py` runs that suite; here are the names, the entry points, and what the suite does not look at: devices,
copies, error messages, traced values.
"""

from __future__ import annotations

import array_api
import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import errors

# https://data-apis.org/array-api/2024.12/API_specification/, section by section.
NAMES = {
    "constants": "e inf nan newaxis pi",
    "dtypes": "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128",
    "creation": "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril"
    " triu zeros zeros_like",
    "dtype functions": "astype can_cast finfo iinfo isdtype result_type",
    "elementwise": "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert"
    " bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor"
    " floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp"
    " logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow"
    " real reciprocal remainder round sign signbit sin sinh square sqrt subtract tan tanh trunc",
    "indexing": "take take_along_axis",
    "inspection": "__array_namespace_info__ __array_api_version__",
    "linear algebra": "matmul matrix_transpose tensordot vecdot",
    "manipulation": "broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll"
    " squeeze stack tile unstack",
    "searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "sets": "unique_all unique_counts unique_inverse unique_values",
    "sorting": "argsort sort",
    "statistics": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "utility": "all any diff",
}
EXTENSIONS = {
    "linalg": "cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank"
    " matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm",
    "fft": "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift",
}
OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
MEMBERS = (
    "T mT device dtype ndim shape size to_device __abs__ __array_namespace__ __bool__ __complex__ __dlpack__"
    " __dlpack_device__ __eq__ __float__ __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__ __lt__ __ne__"
    " __neg__ __pos__ __setitem__"
).split()
OTHER_DEVICE = "numpy:0"


def message(error: type[Exception], function, *args, **kwargs) -> str:
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("section", NAMES)
def test_names(section):
    assert [name for name in NAMES[section].split() if not hasattr(fnp, name)] == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_names_of_extensions(extension):
    assert [name for name in EXTENSIONS[extension].split() if not hasattr(getattr(fnp, extension), name)] == []


def test_members_of_arrays():
    x = fnp.ones((2, 3))
    reflected = [f"__{side}{name}__" for name in OPERATORS for side in ("", "r")]
    assert [name for name in MEMBERS + reflected if not hasattr(x, name)] == []
    y = x
    y += 1  # binds the name to another array
    assert float(x.sum()) == 6 and float(y.sum()) == 12


def test_namespace():
    x = fnp.ones(2)
    assert x.__array_namespace__() is fnp and x.__array_namespace__(api_version="2024.12") is fnp
    assert fnp.__array_api_version__ == "2024.12"
    text = message(errors.ArgumentError, x.__array_namespace__, api_version="2020.01")
    assert "'2020.01'" in text and "'2024.12'" in text
    assert issubclass(errors.ArgumentError, ValueError)


def test_namespace_of_traced_values():
    def standardized(x):
        xp = x.__array_namespace__()
        return xp.sum((x - xp.mean(x)) / xp.std(x) ** 2)

    x = fnp.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(ftiny.jit(standardized)(x), standardized(x), atol=1e-6)
    assert ftiny.grad(standardized)(x).shape == (3,)


def test_info():
    info = fnp.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_device() in info.devices() and fnp.ones(1).device is info.default_device()
    defaults = info.default_dtypes(device=OTHER_DEVICE)
    assert defaults["integral"] == fnp.arange(3).dtype == defaults["indexing"] == fnp.argsort(fnp.ones(2)).dtype
    assert defaults["real floating"] == fnp.zeros(1).dtype and defaults["complex floating"] == fnp.asarray(1j).dtype


def test_info_of_dtypes():
    info = fnp.__array_namespace_info__()
    assert set(info.dtypes()) == set(NAMES["dtypes"].split())
    assert all(getattr(fnp, name) == dtype for name, dtype in info.dtypes(device=OTHER_DEVICE).items())
    assert info.dtypes(kind=("bool", "real floating")) == {"bool": bool, "float32": "float32", "float64": "float64"}
    assert all(fnp.isdtype(dtype, "integral") for dtype in info.dtypes(kind="integral").values())
    text = message(errors.ArgumentError, info.dtypes, kind="integer")
    assert "'integer'" in text and "'signed integer'" in text
    message(errors.DeviceError, info.dtypes, device="abacus")


@pytest.mark.parametrize(
    "make",
    [
        lambda **on: fnp.asarray([1, 2], **on),
        lambda **on: fnp.array(fnp.ones(2), **on),
        lambda **on: fnp.zeros(2, **on),
        lambda **on: fnp.empty((2,), "int8", **on),
        lambda **on: fnp.ones_like(fnp.zeros(2), **on),
        lambda **on: fnp.full_like(fnp.zeros(2), 3, **on),
        lambda **on: fnp.arange(2, **on),
        lambda **on: fnp.arange(0.5, 2, **on),
        lambda **on: fnp.linspace(0, 1, 3, **on),
        lambda **on: fnp.eye(2, **on),
        lambda **on: fnp.astype(fnp.ones(2), "int32", **on),
        lambda **on: fnp.astype(fnp.ones(2), bool, **on),
        lambda **on: fnp.fft.fftfreq(4, 0.5, **on),
        lambda **on: fnp.fft.rfftfreq(4, **on),
    ],
)
def test_device_of_made_arrays(make):
    x = make(device=OTHER_DEVICE)
    assert x.device.name == OTHER_DEVICE and (x + 1).device.name == OTHER_DEVICE
    np.testing.assert_array_equal(x, make())


def test_device_of_traced_values():
    assert ftiny.jit(lambda x: fnp.zeros_like(x, device=OTHER_DEVICE) + x)(fnp.ones(2)).tolist() == [1, 1]


def test_to_device():
    x = fnp.arange(3)
    assert x.to_device(OTHER_DEVICE).device.name == OTHER_DEVICE and x.to_device(x.device).tolist() == [0, 1, 2]
    message(errors.DeviceError, x.to_device, "abacus")
    assert "stream" in message(errors.ArgumentError, x.to_device, OTHER_DEVICE, stream=1)


@pytest.mark.parametrize(
    "copy",
    [
        lambda x: x.copy(),
        fnp.copy,
        lambda x: fnp.asarray(x, copy=True),
        lambda x: fnp.astype(x, x.dtype, copy=True),
        lambda x: fnp.reshape(x, (3,), copy=True),
    ],
)
@pytest.mark.parametrize("device", [None, OTHER_DEVICE])
def test_copies_outlive_the_array(copy, device):
    for x in (fnp.asarray(np.float32([1, 2, 3]), device=device), fnp.asarray([0.0, 1.0, 2.0], device=device) + 1):
        other = copy(x)
        assert other.device is x.device
        x.delete()
        assert other.tolist() == [1, 2, 3]


def test_no_copy():
    x = fnp.ones(3)
    assert fnp.asarray(x, copy=False) is x and fnp.astype(x, "float32") is x
    assert "float64" in message(errors.ArgumentError, fnp.asarray, x, "float64", copy=False)
    assert "from_dlpack" in message(errors.ArgumentError, fnp.asarray, np.ones(3), copy=False)
    assert ftiny.jit(lambda x: fnp.asarray(x, copy=True) * 2)(x).tolist() == [2, 2, 2]


def test_masks_without_axes():
    x = fnp.arange(3)
    assert x[fnp.asarray(True)].tolist() == [[0, 1, 2]] and x[fnp.asarray(False)].shape == (0, 3)
    assert fnp.asarray(5)[np.asarray(True)].tolist() == [5]
    assert "single bool" in message(errors.ArgumentError, lambda: x[fnp.asarray(True), 0])
    message(errors.TracerError, ftiny.jit(lambda x, mask: x[mask]), x, fnp.asarray(True))


def test_nonzero_without_axes():
    assert "atleast_1d" in message(errors.ShapeError, fnp.nonzero, fnp.asarray(3))
    assert fnp.argwhere(fnp.asarray(3)).shape == (1, 0) and fnp.argwhere(fnp.asarray(0)).shape == (0, 0)


def test_linspace_has_the_precision_asked_for():
    assert fnp.linspace(4.5860098989617354e-11, 0, 1, dtype="float64").item() == 4.5860098989617354e-11


def test_expm1_of_complex_numbers():
    inf, nan = np.inf, np.nan
    points = [0j, complex(inf, 0), complex(-inf, inf), complex(-inf, nan), complex(nan, 0), 1e-9 + 2e-9j]
    expected = [0j, complex(inf, 0), -1 + 0j, -1 + 0j, complex(nan, 0), 1e-9 + 2e-9j]
    np.testing.assert_allclose(fnp.expm1(fnp.asarray(points, "complex64")), np.complex64(expected), rtol=1e-6)


def test_sign_of_complex_numbers():
    x = fnp.asarray([3 + 4j, 0j, -2j], "complex64")
    np.testing.assert_allclose(fnp.sign(x), np.complex64([0.6 + 0.8j, 0, -1j]), rtol=1e-6)
    slope = ftiny.jvp(fnp.sign, (x,), (x,))[1]  # along x its direction does not change
    np.testing.assert_allclose(slope, np.zeros(3), atol=1e-6)


def test_logarithms_of_complex_numbers():
    x = fnp.asarray([8j, 0j, -4], "complex64")
    np.testing.assert_allclose(
        fnp.log2(x), np.complex64([3 + 0.5j * np.pi / np.log(2), -np.inf, 2 + 4.532360j]), rtol=1e-6
    )
    assert fnp.log10(x)[1] == complex(-np.inf, 0)
    np.testing.assert_allclose(ftiny.jvp(fnp.log2, (x[:1],), (x[:1],))[1], [1 / np.log(2)], rtol=1e-6)


def test_ledger():
    expected = array_api.read_ledger()
    assert expected and all(name.startswith("array_api_tests/test_") for name in expected)
    assert all(expected.values()), "each expected failure has its reason above it"


def test_surprises():
    expected = {"a": "differs, as in jax", "b": "sometimes the other zero", "c": "differs", "d": "differs"}
    outcomes = {"a": "failed", "b": "passed", "c": "passed", "e": "failed", "f": "passed", "g": "skipped"}
    assert array_api.surprises(outcomes, expected) == ["fails, but is not listed: e", "is listed, but passes: c"]
