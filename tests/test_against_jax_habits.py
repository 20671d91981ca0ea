"""What a user who comes from JAX does in the first hour, on the interpreter and on OpenCL."""

from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import errors


@pytest.fixture(autouse=True, params=["numpy", "opencl"])
def device(request):
    """Each test on both devices."""
    if request.param == "opencl" and not any(d.name.startswith("opencl") for d in ftiny.devices()):
        pytest.skip("no OpenCL")
    with ftiny.device(request.param):
        yield request.param


def test_the_elements_of_a_vector_are_arrays():
    for i, element in enumerate(fnp.arange(3.0)):
        host = np.asarray(element)
        assert isinstance(host, np.ndarray) and host.shape == () and host == i and not host.flags.writeable
        assert ftiny.jit(lambda x: x + 1)(element) == i + 1
    assert [int(key) for key in ftiny.random.PRNGKey(7)] == [0, 7]


@pytest.mark.parametrize("jit", [False, True])
def test_a_mode_allows_static_indices_out_of_bounds(jit):
    wrap = ftiny.jit if jit else lambda f: f
    x = fnp.arange(6.0).reshape(3, 2)
    assert (wrap(lambda x: x.at[5].set(9, mode="drop"))(x) == x).all()
    assert (wrap(lambda x: x.at[1:, -4].add(9, mode="drop"))(x) == x).all()
    assert np.asarray(wrap(lambda x: x.at[5].get(mode="clip"))(x)).tolist() == [4, 5]
    assert np.asarray(wrap(lambda x: x.at[-5].get(mode="clip"))(x)).tolist() == [0, 1]
    assert np.asarray(wrap(lambda x: x.at[4].get(mode="wrap"))(x)).tolist() == [2, 3]
    assert np.isnan(np.asarray(wrap(lambda x: x.at[:, 2].get(mode="fill"))(x))).tolist() == [True] * 3
    with pytest.raises(errors.IndexOutOfBoundsError):
        wrap(lambda x: x.at[5].set(9))(x)


def test_floor_division_by_zero():
    x, zeros = np.float32([1, -1, 0]), np.float32([0, -0.0, 0])
    with np.errstate(all="ignore"):
        expected = np.floor_divide(x, 0.0), np.floor_divide(x, -zeros)
    np.testing.assert_array_equal(ftiny.jit(fnp.floor_divide)(x, 0.0), expected[0])
    np.testing.assert_array_equal(ftiny.jit(fnp.floor_divide)(x, -zeros), expected[1])
    slopes = ftiny.vmap(ftiny.grad(fnp.floor_divide), (0, None))(fnp.asarray(x), 0.0)
    assert np.asarray(slopes).tolist() == [0, 0, 0]


@pytest.mark.parametrize("other", [{"b": 1.0}, [1.0], {"a": 1.0, "b": 2.0}])
def test_tree_map_of_trees_that_differ(other):
    with pytest.raises(errors.ArgumentError, match="tree 2 must have the structure of the first") as caught:
        ftiny.tree.map(lambda a, b, c: a, {"a": 1.0}, {"a": 2.0}, other)
    assert "test_against_jax_habits.py" in str(caught.value)
    with pytest.raises(errors.ArgumentError, match="map_with_path: tree 1"):
        ftiny.tree.map_with_path(lambda path, a, b: a, {"a": 1.0}, other)
    with pytest.raises(ValueError, match="mine"):  # an error of the function itself stays as it is
        ftiny.tree.map(lambda a: (_ for _ in ()).throw(ValueError("mine")), {"a": 1.0})


def test_the_length_of_a_traced_number():
    with pytest.raises(errors.TracerError, match="which has no axis") as caught:
        ftiny.jit(len)(1.0)
    assert "test_against_jax_habits.py" in str(caught.value)


def test_integers_that_do_not_fit():
    for function in (fnp.asarray, fnp.array, ftiny.jit(lambda x: x), lambda n: fnp.array([[1, n]])):
        with pytest.raises(errors.ArgumentError, match="1099511627776 does not fit into int32; .*int64") as caught:
            function(2**40)
        assert "test_against_jax_habits.py" in str(caught.value)
    assert int(fnp.asarray(2**40, "int64")) == int(fnp.asarray(np.int64(2**40))) == 2**40
    assert int(ftiny.jit(lambda x: x + 1)(np.int64(2**40))) == 2**40 + 1
    assert int(fnp.asarray(-(2**31))) == -(2**31) and int(fnp.asarray(True)) == 1


def test_the_square_of_bools_is_a_number():
    assert fnp.square(fnp.array([True, False])).dtype == ftiny.dtypes.int32
