"""Arrays to and from numpy, torch, jax and cupy, with and without a copy; pickles; annotations by jaxtyping."""

import copy
import gc
import pickle
import types

import jax
import ml_dtypes
import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import dlpack, dtypes, errors

WIDE = (dtypes.int64, dtypes.uint64, dtypes.float64, dtypes.complex128)


@pytest.fixture
def on_numpy():
    with ftiny.device("numpy"):
        yield


@pytest.fixture
def cuda():
    if not ftiny.devices("cuda"):
        pytest.skip(f"no cuda device here; devices: {', '.join(device.name for device in ftiny.devices())}")
    with ftiny.device("cuda") as device:
        yield device


def message(error, function, *args, **kwargs) -> str:
    """The message of the error that a call raises, which names the line of this file."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert "test_exchange.py" in str(caught.value)
    return str(caught.value)


def sample(dtype) -> np.ndarray:
    return np.arange(6).reshape(2, 3).astype(dtype)


def same_memory(x, y) -> bool:
    return np.shares_memory(np.asarray(x), np.asarray(y))


# ---- host memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_jax_both_ways(on_numpy, dtype):
    x = sample(dtype)
    array = fnp.asarray(x)
    with jax.enable_x64(dtype in WIDE):
        theirs = jax.numpy.from_dlpack(array)
        assert theirs.dtype == dtype
        np.testing.assert_array_equal(np.asarray(theirs), x)
        for ours in (ftiny.from_dlpack(theirs), fnp.from_dlpack(theirs), fnp.asarray(theirs)):
            assert type(ours) is ftiny.Array and ours.dtype == dtype
            np.testing.assert_array_equal(ours, x)
        assert ftiny.from_dlpack(theirs[0, 1]).shape == ()


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_torch_both_ways(on_numpy, dtype):
    torch = pytest.importorskip("torch")
    x = sample(dtype)
    array = fnp.asarray(x)
    theirs = torch.from_dlpack(array)
    assert str(theirs.dtype).split(".")[1] == dtype.name
    ours = ftiny.from_dlpack(theirs)
    assert ours.dtype == dtype and np.asarray(ours).ctypes.data == theirs.data_ptr()
    np.testing.assert_array_equal(ours, x)
    for turned in (ftiny.from_dlpack(theirs.T), fnp.asarray(theirs.T)):
        assert turned.dtype == dtype
        np.testing.assert_array_equal(turned, x.T)


def test_numpy_both_ways(on_numpy):
    for dtype in dtypes.ALL:
        x = sample(dtype)
        if dtype != dtypes.bfloat16:
            np.testing.assert_array_equal(np.from_dlpack(fnp.asarray(x)), x)
            assert same_memory(ftiny.from_dlpack(x), x)
    array = fnp.asarray(x)
    view = np.from_dlpack(array)
    assert same_memory(view, array) and not view.flags.writeable
    assert not same_memory(np.from_dlpack(array, copy=True), array)
    assert same_memory(np.from_dlpack(array, device="cpu"), array)


def test_copies_and_read_only_memory(on_numpy):
    x = np.float32([1, 2, 3])
    assert same_memory(ftiny.from_dlpack(x), x) and same_memory(ftiny.from_dlpack(x, copy=False), x)
    mine = ftiny.from_dlpack(x, copy=True)
    x[0] = 9
    assert mine[0].item() == 1
    frozen = np.float32([1, 2])
    frozen.flags.writeable = False
    assert same_memory(ftiny.from_dlpack(frozen), frozen)
    np.testing.assert_array_equal(ftiny.from_dlpack(x[::-2]), [3, 9])


def test_the_capsule_of_each_version(on_numpy):
    array = fnp.asarray(sample("bfloat16"))
    for version, name in ((None, b"dltensor"), ((0, 8), b"dltensor"), ((1, 0), b"dltensor_versioned")):
        capsule = array.__dlpack__(max_version=version)
        tensor = dlpack.tensor_in(capsule)
        assert dlpack._name_of(capsule) == name and (tensor.code, tensor.bits, tensor.ndim) == (4, 16, 2)
        assert (tensor.device_type, tensor.device_number) == array.__dlpack_device__() == (1, 0)
        assert (tensor.data == array.host().ctypes.data) == (version == (1, 0))
    del capsule  # an unused capsule gives back what it holds
    gc.collect()


def test_a_capsule_is_used_once(on_numpy):
    capsule = fnp.ones(2).__dlpack__(max_version=(1, 0))

    class Producer:
        def __dlpack__(self, **unused):
            return capsule

        def __dlpack_device__(self):
            return 1, 0

    assert ftiny.from_dlpack(Producer()).tolist() == [1, 1]
    assert "used" in message(errors.ArgumentError, ftiny.from_dlpack, Producer())


def test_the_device_of_an_import(on_numpy):
    x = np.float32([1, 2])
    for name in {device.kind for device in ftiny.devices()}:
        array = ftiny.from_dlpack(x, device=name)
        assert array.device.kind == name and (array * 2).device.kind == name
        np.testing.assert_array_equal(array * 2, [2, 4])
    assert same_memory(ftiny.from_dlpack(x, device="numpy", copy=False), x)
    assert "there is no device" in str(pytest.raises(errors.DeviceError, fnp.from_dlpack, x, device="opencl:77").value)


def test_what_dlpack_refuses(on_numpy):
    assert "asarray" in message(errors.ArgumentError, ftiny.from_dlpack, 3.0)
    assert "traced" in message(errors.TracerError, ftiny.jit(lambda x: ftiny.from_dlpack(x)), 1.0)
    float8 = np.ones(2, ml_dtypes.float8_e4m3fn)
    message(errors.ArgumentError, ftiny.from_dlpack, float8)
    x = fnp.ones(2)
    assert "copy=False" in message(BufferError, x.__dlpack__, copy=False)
    assert "device_put" in message(BufferError, x.__dlpack__, dl_device=(2, 0))
    assert "stream" in message(errors.ArgumentError, x.__dlpack__, stream=1)
    assert not hasattr(x, "__cuda_array_interface__")
    if not ftiny.devices("cuda"):
        theirs = types.SimpleNamespace(
            __cuda_array_interface__={"shape": (2,), "typestr": "<f4", "data": (0x1000, False), "version": 3}
        )
        assert "cuda" in str(pytest.raises(errors.DeviceError, fnp.asarray, theirs).value)

    class Elsewhere:
        def __dlpack__(self, **unused):
            raise AssertionError("is not asked")

        def __dlpack_device__(self):
            return 10, 0

    assert "(10, 0)" in message(errors.ArgumentError, ftiny.from_dlpack, Elsewhere())


# ---- a device that nothing is read from: what the capsule says of it -------------------------------------------


class _Device:
    """As much of a CUDA device as handing over an address takes."""

    kind, index, _closed = "cuda", 3, True
    waits = 0

    def synchronize(self):
        self.waits += 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool", "complex64"])
@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_cuda_address_travels(dtype, version):
    device = _Device()
    aval = ftiny.ShapeDtypeStruct((2, 3), dtype).aval
    array = ftiny.Array(aval, dlpack.Memory(device, aval.nbytes, 0x1000))
    assert array.__dlpack_device__() == (2, 3)
    message(errors.ArgumentError, array.__dlpack__, stream=0)
    array.__dlpack__(stream=-1, max_version=version)
    assert device.waits == 0 and array._memory.shared
    capsule = array.__dlpack__(stream=1, max_version=version)
    tensor = dlpack.tensor_in(capsule)
    code = {"float32": 2, "bfloat16": 4, "bool": 6, "complex64": 5}[dtype]
    assert (tensor.data, tensor.device_type, tensor.device_number) == (0x1000, 2, 3) and device.waits == 1
    assert (tensor.code, tensor.bits, tensor.shape[:2]) == (code, 8 * aval.dtype.itemsize, [2, 3])
    view = dlpack._host_view(capsule)
    assert (view.ctypes.data, view.shape, view.dtype) == (0x1000, (2, 3), aval.dtype)
    assert (tensor.device_type, tensor.device_number, tensor.code) == (2, 3, code)
    if dtype == "bfloat16":
        assert not hasattr(array, "__cuda_array_interface__")
    else:
        interface = array.__cuda_array_interface__
        assert interface["data"] == (0x1000, False) and interface["typestr"] == aval.dtype.str
        assert (interface["shape"], interface["strides"], interface["version"]) == ((2, 3), None, 3)


# ---- a real CUDA device ----------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_torch_on_cuda(cuda, dtype):
    torch = pytest.importorskip("torch")
    x = sample(dtype)
    array = ftiny.device_put(x)
    theirs = torch.from_dlpack(array)
    assert theirs.is_cuda and theirs.data_ptr() == array._memory.location
    np.testing.assert_array_equal(ftiny.from_dlpack(theirs.cpu()), x)
    ours = ftiny.from_dlpack(theirs)
    assert ours.dtype == dtype and ours.__dlpack_device__() == (2, 0) and ours._memory.location == theirs.data_ptr()
    np.testing.assert_array_equal(ours, x)
    np.testing.assert_array_equal(ftiny.from_dlpack(theirs.T), x.T)
    np.testing.assert_array_equal(fnp.asarray(theirs), x)
    np.testing.assert_array_equal(ftiny.from_dlpack(theirs, copy=True), x)
    np.testing.assert_array_equal(ftiny.from_dlpack(theirs, device="numpy"), x)


@pytest.mark.gpu
def test_streams_on_cuda(cuda):
    torch = pytest.importorskip("torch")
    ones = ftiny.device_put(np.ones((512, 512), np.float32))
    for _ in range(20):
        product = ftiny.jit(lambda a: a @ a)(ones)
        theirs = torch.from_dlpack(product) + 1
        back = ftiny.from_dlpack(theirs)
        del product, theirs
        assert float((back * 1.0).max()) == float(back.min()) == 513


@pytest.mark.gpu
def test_cupy_on_cuda(cuda):
    cupy = pytest.importorskip("cupy")
    x = sample("float32")
    array = ftiny.device_put(x)
    for theirs in (cupy.from_dlpack(array), cupy.asarray(array)):
        assert theirs.data.ptr == array._memory.location
        np.testing.assert_array_equal(cupy.asnumpy(theirs), x)
    for ours in (ftiny.from_dlpack(theirs), fnp.asarray(theirs)):
        assert ours._memory.location == theirs.data.ptr
        np.testing.assert_array_equal(ours * 2, x * 2)
    turned = fnp.asarray(cupy.asarray(x).T)
    np.testing.assert_array_equal(turned, x.T)
    np.testing.assert_array_equal(fnp.asarray(cupy.asarray(x)[::-1, ::2]), x[::-1, ::2])


@pytest.mark.gpu
def test_shared_cuda_memory_is_not_donated(cuda):
    cupy = pytest.importorskip("cupy")
    array = ftiny.device_put(np.ones(100, np.float32))
    theirs = cupy.from_dlpack(array)
    step = ftiny.jit(lambda x: x + 1, donate_argnums=0)
    np.testing.assert_array_equal(step(array), np.full(100, 2))
    np.testing.assert_array_equal(cupy.asnumpy(theirs), np.ones(100))
    np.testing.assert_array_equal(step(ftiny.from_dlpack(theirs)), np.full(100, 2))
    np.testing.assert_array_equal(cupy.asnumpy(theirs), np.ones(100))


@pytest.mark.gpu
def test_the_host_copy_of_a_cuda_array(cuda):
    array = ftiny.device_put(sample("float32"))
    np.testing.assert_array_equal(np.from_dlpack(array, device="cpu"), sample("float32"))
    assert "copy=False" in message(BufferError, array.__dlpack__, dl_device=(1, 0), copy=False)


# ---- numpy, copies, pickles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_numpy_copies_and_pickles(on_numpy, dtype):
    x = sample(dtype)
    array = fnp.asarray(x)
    assert np.asarray(array).dtype == dtype and np.asarray(array[0, 0]).shape == ()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(array, protocol))
        assert type(back) is ftiny.Array and (back.shape, back.dtype) == ((2, 3), dtype)
        np.testing.assert_array_equal(back, x)
    tree = copy.deepcopy({"a": array, "b": [copy.copy(array)]})
    for leaf in ftiny.tree.leaves(tree):
        assert leaf is not array and leaf.dtype == dtype
        np.testing.assert_array_equal(leaf, x)
    assert type(array.tolist()[0][0]) in (bool, int, float, complex)


def test_copies_stay_on_their_device(on_numpy):
    for name in {device.kind for device in ftiny.devices()}:
        bound = ftiny.device_put(sample("float32"), name)
        for other in (copy.copy(bound), copy.deepcopy(bound)):
            assert (other * 2).device.kind == name


def test_keys_travel(on_numpy):
    keys = ftiny.random.split(ftiny.random.PRNGKey(3), 4)
    wanted = ftiny.random.normal(keys[1], (2,))
    for other in (pickle.loads(pickle.dumps(keys)), copy.deepcopy(keys), fnp.asarray(np.asarray(keys))):
        np.testing.assert_array_equal(ftiny.random.normal(other[1], (2,)), wanted)


def test_tracers_do_not_travel(on_numpy):
    attempts = [np.asarray, np.sin, np.from_dlpack, np.float32, pickle.dumps]
    attempts += [lambda x: x.item(), lambda x: x.tolist(), lambda x: x.tobytes(), lambda x: f"{x:.2f}"]
    for attempt in attempts:
        text = message(errors.TracerError, ftiny.jit(attempt), 1.0)
        assert "traced" in text and "jit" in text


def test_copies_of_tracers_are_the_same_value(on_numpy):
    double = ftiny.jit(lambda x: copy.copy(x) + copy.deepcopy({"x": [x]})["x"][0])
    assert double(2.0).item() == 4 and ftiny.grad(double)(2.0).item() == 2


# ---- annotations -----------------------------------------------------------------------------------------------


def test_traced_values_are_arrays_to_isinstance(on_numpy):
    seen = []
    ftiny.jit(ftiny.grad(lambda x: seen.append(isinstance(x, ftiny.Array)) or x * 2))(1.0)
    assert seen == [True] and isinstance(fnp.ones(2), ftiny.Array)
    assert not isinstance(np.ones(2), ftiny.Array) and not isinstance(1.0, ftiny.Array)


def test_jaxtyping(on_numpy):
    jaxtyping, beartype = pytest.importorskip("jaxtyping"), pytest.importorskip("beartype")
    BFloat16, Bool, Float = jaxtyping.BFloat16, jaxtyping.Bool, jaxtyping.Float
    Int32, UInt32 = jaxtyping.Int32, jaxtyping.UInt32
    for x, right, wrong in [
        (fnp.ones((2, 3)), Float[ftiny.Array, "2 3"], Float[ftiny.Array, "3"]),
        (fnp.ones(2, "bfloat16"), BFloat16[ftiny.Array, "n"], Int32[ftiny.Array, "n"]),
        (fnp.ones(2, bool), Bool[ftiny.Array, "n"], Float[ftiny.Array, "n"]),
        (ftiny.random.PRNGKey(0), UInt32[ftiny.Array, "2"], Float[ftiny.Array, "2"]),
        (ftiny.ShapeDtypeStruct((2,), "float16"), Float[ftiny.ShapeDtypeStruct, "2"], Float[ftiny.Array, "2"]),
    ]:
        assert isinstance(x, right) and not isinstance(x, wrong) and str(x.dtype) == x.dtype.name

    rows, weights, result = (Float[ftiny.Array, axes] for axes in ("batch dim", "dim out", "batch out"))

    @jaxtyping.jaxtyped(typechecker=beartype.beartype)
    def dense(x: rows, w: weights) -> result:
        return x @ w

    x, w = fnp.ones((2, 3)), fnp.ones((3, 4))
    dense_grad = ftiny.jit(ftiny.grad(lambda x, w: dense(x, w).sum()))
    assert dense(x, w).shape == ftiny.jit(dense)(x, w).shape == (2, 4) and dense_grad(x, w).shape == (2, 3)
    assert ftiny.vmap(dense, in_axes=(0, None))(x[None], w).shape == (1, 2, 4)
    for function in (dense, ftiny.jit(dense)):
        for bad in ((x, x), (x.astype("int32"), w)):
            with pytest.raises(jaxtyping.TypeCheckError):
                function(*bad)
