"""Array: numpy both ways, Python numbers, printing, copies, pickling, DLPack, placement."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import core, dtypes, errors, execute


@pytest.fixture(autouse=True, params=["numpy", "opencl"])
def device(request):
    """The same behaviour on the interpreter and on a device with kernels."""
    if not ftiny.devices(request.param):
        pytest.skip(f"no {request.param} device")
    with ftiny.device(request.param) as found:
        yield found


def message(error, function, *args, **kwargs) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert "test_array.py" in text
    return text


def held(x) -> ftiny.Array:
    """An array of `x` whose elements are on the device only."""
    array = ftiny.device_put(fnp.asarray(x))
    assert array._host is None
    return array


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_round_trip_of_every_dtype(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    for array in (fnp.asarray(x), held(x)):
        back = np.asarray(array)
        assert (array.shape, array.dtype, array.ndim, array.size, array.nbytes) == (x.shape, dtype, 2, 6, x.nbytes)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1)], ids=str)
def test_odd_shapes(shape):
    x = np.ones(shape, np.float32)
    np.testing.assert_array_equal(held(x), x)
    assert held(x).shape == shape


def test_views_are_read_only_and_copies_are_not_shared():
    x = np.ones(3, np.float32)
    array = fnp.asarray(x)
    x[0] = 9
    assert array[0].item() == 1
    with pytest.raises(ValueError):
        np.asarray(array)[0] = 2
    mine = np.array(array)
    mine[0] = 5
    assert array[0].item() == 1


def test_numpy_functions_and_operators():
    x = fnp.asarray(np.float32([1, 2, 3]))
    assert type(np.sin(x)) is np.ndarray and type(np.asarray(x, np.float64)) is np.ndarray
    assert np.asarray(x, np.float64).dtype == np.float64
    for result in (np.ones(3, np.float32) * x, x * np.ones(3, np.float32), np.float32(2) * x):
        assert type(result) is ftiny.Array
    assert np.sum(x) == 6 and np.max(x) == 3
    with pytest.raises(ValueError):
        np.asarray(held(np.ones(2, np.float32)), np.int32, copy=False)


def test_python_numbers():
    assert int(fnp.asarray(3)) == 3 and float(fnp.asarray(2.5)) == 2.5 and complex(fnp.asarray(2j)) == 2j
    assert bool(fnp.asarray(True)) and not bool(fnp.zeros((1, 1)))
    assert list(range(5))[fnp.asarray(2)] == 2 and round(fnp.asarray(2.567), 1) == 2.6
    assert fnp.asarray(7).item() == 7 and fnp.arange(4).tolist() == [0, 1, 2, 3] and fnp.arange(4).item(2) == 2
    assert f"{fnp.asarray(1.5):.2f}" == "1.50" and fnp.arange(2, dtype="int8").tobytes() == b"\x00\x01"
    assert "any()" in message(errors.ArgumentError, bool, fnp.ones(3))
    assert ".item()" in message(errors.TracerError, float, fnp.ones(3))
    assert "integer array" in message(errors.TracerError, lambda: [1, 2][fnp.asarray(1.0)])
    message(errors.TracerError, len, fnp.asarray(1))
    with pytest.raises(TypeError):
        hash(fnp.ones(3))


def test_iteration():
    rows = list(fnp.arange(6).reshape(2, 3))
    assert [row.shape for row in rows] == [(3,), (3,)] and rows[1].tolist() == [3, 4, 5]
    assert [int(x) for x in held(np.arange(3))] == [0, 1, 2] and len(fnp.ones((4, 2))) == 4
    message(errors.TracerError, iter, fnp.asarray(1.0))


def test_printing():
    assert repr(fnp.array([1.0, 2.0])) == "Array([1., 2.], dtype=float32)"
    assert repr(fnp.array([[1, 2], [3, 4]])) == "Array([[1, 2],\n       [3, 4]], dtype=int32)"
    assert repr(fnp.zeros((0, 3))) == "Array([], shape=(0, 3), dtype=float32)"
    assert repr(fnp.array(True)) == "Array(True, dtype=bool)" and str(fnp.array([1, 2])) == "[1 2]"
    assert repr(fnp.array([1.5], "bfloat16")) == "Array([1.5], dtype=bfloat16)"


def test_copies_and_pickles():
    for x in (np.float32([1, 2]), np.array([1.5], ml_dtypes.bfloat16), np.ones((), bool)):
        array = held(x)
        for other in (copy.copy(array), copy.deepcopy(array), pickle.loads(pickle.dumps(array))):
            assert type(other) is ftiny.Array and other.dtype == array.dtype
            np.testing.assert_array_equal(other, x)


def test_dlpack():
    x = np.float32([[1, 2], [3, 4]])
    np.testing.assert_array_equal(np.from_dlpack(held(x)), x)
    np.testing.assert_array_equal(ftiny.from_dlpack(x.copy()), x)
    assert fnp.asarray(x).__dlpack_device__() == (1, 0)
    np.testing.assert_array_equal(ftiny.from_dlpack(fnp.asarray(x)) * 2, x * 2)
    import jax.numpy as jnp

    np.testing.assert_array_equal(jnp.from_dlpack(fnp.asarray(x)), x)
    assert type(ftiny.from_dlpack(jnp.asarray(x))) is ftiny.Array
    assert jnp.from_dlpack(fnp.ones(2, "bfloat16")).dtype == ml_dtypes.bfloat16


def test_bad_values():
    assert "<U1" in message(errors.DtypeError, fnp.asarray, np.array(["a"]))
    assert "dict" in message(errors.TracerError, lambda: fnp.sin({}))


def test_device_put_and_get(device):
    tree = {"a": np.ones(3, np.float32), "b": (1.0, fnp.arange(2))}
    put = ftiny.device_put(tree)
    assert all(x.device is device for x in ftiny.tree.leaves(put))
    got = ftiny.device_get(put)
    assert type(got["a"]) is np.ndarray and got["b"][1].tolist() == [0, 1]
    other = ftiny.device_put(np.ones(3, np.float32), "numpy")
    assert other.device.kind == "numpy" and (other * 2).device.kind == "numpy"
    np.testing.assert_array_equal(ftiny.jit(lambda x: x * 2)(other), [2, 2, 2])
    assert ftiny.jit(lambda x: x * 2)(other).device.kind == "numpy"


def test_bound_to_two_devices():
    if not ftiny.devices("opencl"):
        pytest.skip("needs two kinds of devices")
    x, y = ftiny.device_put(1.0, "numpy"), ftiny.device_put(1.0, "opencl")
    assert "device_put" in message(errors.DeviceError, lambda: x + y)
    assert "device_put" in message(errors.DeviceError, ftiny.jit(lambda a, b: a + b), x, y)
    assert (x + fnp.asarray(1.0)).item() == 2.0


def test_missing_device():
    assert "opencl:77" in str(pytest.raises(errors.DeviceError, ftiny.device_put, 1.0, "opencl:77").value)


def test_unbound_arrays_follow_the_computation():
    x = fnp.asarray(np.float32([1, 2]))
    y = ftiny.jit(lambda x: x * 2)(x)
    with ftiny.device("numpy"):
        np.testing.assert_array_equal(ftiny.jit(lambda x: x * 2)(y), [4, 8])
    np.testing.assert_array_equal(y, [2, 4])


def test_waiting():
    x = fnp.ones(3)
    assert x.block_until_ready() is x
    assert ftiny.jit(lambda x: x)(x).block_until_ready().shape == (3,)
    assert ftiny.jit(lambda x: x.block_until_ready() * 2)(x).tolist() == [2, 2, 2]


def test_avals():
    assert core.get_aval(fnp.ones(3)) is core.get_aval(fnp.zeros(3))
    struct = ftiny.ShapeDtypeStruct((2, 3), "bfloat16")
    assert (struct.shape, struct.ndim, struct.size) == ((2, 3), 2, 6) and hash(struct) == hash(
        ftiny.ShapeDtypeStruct([2, 3], struct.dtype)
    )
    assert repr(struct) == "ShapeDtypeStruct(shape=(2, 3), dtype=bfloat16)"


def test_arrays_never_share_memory_that_may_be_donated():
    ones = np.ones(100, np.float32)
    pair = ftiny.jit(lambda x: (x * 2, x * 2, x))
    step = ftiny.jit(lambda x: x + 1, donate_argnums=0)
    x = ftiny.device_put(ones)
    a, b, same = pair(x)
    other, bound = copy.copy(a), ftiny.device_put(b)
    for array in (a, same, ftiny.device_put(other)):
        step(array)
    for array, value in ((b, 2), (other, 2), (bound, 2), (x, 1)):
        if not array.is_deleted():
            np.testing.assert_array_equal(array, ones * value)


def test_donated_memory_is_reused(device):
    step = ftiny.jit(lambda x: x + 1, donate_argnums=0)
    x = ftiny.device_put(np.ones(100, np.float32))
    y = step(x)
    np.testing.assert_array_equal(y, np.full(100, 2, np.float32))
    assert x.is_deleted()  # on every device, so that a program that reads it fails on every device
    view = np.asarray(y)  # somebody looks at y's memory, so that it must not be written
    np.testing.assert_array_equal(step(y), np.full(100, 3, np.float32))
    np.testing.assert_array_equal(view, np.full(100, 2, np.float32))


def test_eager_equations_on_a_device_with_its_own_memory(monkeypatch):
    """Where the host can not see the memory, one equation is one program, compiled once for its avals."""
    monkeypatch.setattr(execute, "interprets", lambda device: False)
    monkeypatch.setattr(execute, "_equations", {})
    x = fnp.asarray(np.float32([1, 2, 3]))
    for _ in range(2):
        y = x * 2.0 + 1
        np.testing.assert_array_equal(y, [3, 5, 7])
    assert y._host is not None and len(execute._equations) == 2
    np.testing.assert_array_equal(fnp.cumsum(y)[1:], [8, 15])
    np.testing.assert_allclose(ftiny.grad(lambda x: fnp.sum(fnp.sin(x)))(x), np.cos([1, 2, 3]), rtol=1e-6)
    assert ftiny.lax.fori_loop(0, 3, lambda i, c: c + i, 0).item() == 3
