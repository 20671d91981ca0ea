"""Bad input: the message names what is wrong, where, and the way out."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import ftiny
import ftiny.numpy as np
from ftiny import errors, lax

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def on_the_interpreter():
    """Messages do not depend on the device; the interpreter is the quickest."""
    with ftiny.device("numpy"):
        yield


def message(error, function, *args, **kwargs) -> str:
    """The text of the error that the call raises; every one names this file, the user's."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert isinstance(caught.value, errors.FtinyError)
    text = str(caught.value)
    assert "test_errors.py" in text, text
    return text


def assert_mentions(text: str, *parts: str) -> None:
    """Each part is in the text."""
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in:\n{text}"


def run_python(*arguments: str, **environment) -> subprocess.CompletedProcess:
    """A fresh interpreter with these arguments and environment variables."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True)


# ---- shapes ---------------------------------------------------------------------------------------------------


def test_shapes_that_do_not_broadcast():
    text = message(ValueError, lambda: np.ones((2, 3)) + np.ones((2, 4)))
    assert_mentions(text, "(2, 3)", "(2, 4)", "axis -1", "np.ones((2, 3)) + np.ones((2, 4))")


def test_the_users_line_is_named_under_jit_and_grad():
    def layer(x, w):
        return np.sum(x @ w)  # the faulty line

    for transformed in (ftiny.jit(layer), ftiny.grad(layer), ftiny.vmap(layer, in_axes=(0, None))):
        text = message(errors.ShapeError, transformed, np.ones((2, 4, 3)), np.ones((5, 2)))
        assert_mentions(text, "3", "5", "in layer", "# the faulty line")


def test_matmul():
    text = message(errors.ShapeError, lambda: np.ones((2, 3)) @ np.ones((4, 5)))
    assert_mentions(text, "(2, 3)", "(4, 5)", "matmul")


@pytest.mark.parametrize(
    "call, parts",
    [
        (lambda: np.reshape(np.ones((2, 3)), (4, 2)), ["(2, 3)", "(4, 2)", "reshape"]),
        (lambda: np.concatenate([np.ones((2, 3)), np.ones((2, 4))], axis=0), ["(2, 3)", "(2, 4)", "axis"]),
        (lambda: np.sum(np.ones((2, 3)), axis=2), ["axis 2", "2 axes"]),
        (lambda: np.transpose(np.ones((2, 3)), (0, 0)), ["transpose", "(0, 0)"]),
        (lambda: np.broadcast_to(np.ones(3), (2, 4)), ["(3,)", "(2, 4)"]),
        (lambda: np.stack([np.ones(2), np.ones(3)]), ["(2,)", "(3,)"]),
        (lambda: np.einsum("ij,jk->ik", np.ones((2, 3)), np.ones((4, 5))), ["3", "4", "j"]),
        (lambda: lax.conv_general_dilated(np.ones((1, 3, 8)), np.ones((2, 4, 3)), (1,), "SAME"), ["3", "4"]),
        (lambda: np.where(np.ones(3) > 0, np.ones(2), 0.0), ["(3,)", "(2,)"]),
    ],
    ids=["reshape", "concatenate", "axis", "transpose", "broadcast_to", "stack", "einsum", "conv", "where"],
)
def test_more_shapes(call, parts):
    assert_mentions(message(ValueError, call), *parts)


# ---- differentiation ------------------------------------------------------------------------------------------


def test_grad_of_a_loss_that_is_no_scalar():
    text = message(ValueError, ftiny.grad(lambda x: x * 2), np.ones(3))
    assert_mentions(text, "scalar", "(3,)", ".sum()", "jacrev")


def test_grad_of_an_integer_argument():
    text = message(TypeError, ftiny.grad(lambda x: np.sum(x * 1.0)), np.arange(3))
    assert_mentions(text, "int32", "float")


def test_argnums_out_of_range():
    assert_mentions(
        message(errors.ArgumentError, ftiny.grad(lambda x: x, argnums=2), 1.0), "argument 2", "1 positional"
    )


# ---- tracers --------------------------------------------------------------------------------------------------


def test_a_leaked_tracer():
    kept = []

    def traced_function(x):
        kept.append(x * 2)  # it is kept here
        return x

    ftiny.jit(traced_function)(np.ones(3))
    leaked = kept[0]
    text = message(errors.LeakedTracerError, lambda: leaked + 1)  # and used here
    assert_mentions(text, "'leaked'", "traced_function", "# it is kept here", "# and used here", "f32[3]")


def test_if_on_a_tracer():
    def branches(x):
        if x > 0:  # the condition
            return x
        return -x

    for transformed, x in ((ftiny.jit(branches), 1.0), (ftiny.vmap(branches), np.ones(3))):
        text = message(TypeError, transformed, x)
        assert_mentions(text, "where", "cond", "static_argnums", "# the condition", "bool[]")


@pytest.mark.parametrize(
    "use",
    [float, int, numpy.asarray, lambda x: numpy.sin(x), lambda x: [0, 1, 2][x]],
    ids=["float", "int", "asarray", "numpy", "index"],
)
def test_a_tracer_where_a_value_is_needed(use):
    text = message(TypeError, ftiny.jit(lambda x: use(x)), 1)
    assert_mentions(text, "traced")


# ---- vmap and jit ---------------------------------------------------------------------------------------------


def test_vmap_of_different_sizes():
    text = message(ValueError, ftiny.vmap(lambda x, y: x + y), np.ones((3, 2)), np.ones((4, 2)))
    assert_mentions(text, "3", "4", "(3, 2)", "(4, 2)")


def test_vmap_of_an_axis_that_is_not_there():
    text = message(ValueError, ftiny.vmap(lambda x: x, in_axes=2), np.ones((3, 2)))
    assert_mentions(text, "axis 2", "(3, 2)")


def test_jit_of_a_string():
    text = message(TypeError, ftiny.jit(lambda x, options: x), np.ones(3), {"mode": "fast"})
    assert_mentions(text, "argument 1", "mode", "str", "static_argnums")


def test_jit_of_a_static_argument_that_cannot_be_hashed():
    text = message(errors.FtinyError, ftiny.jit(lambda x, sizes: x, static_argnums=1), np.ones(3), [1, 2])
    assert_mentions(text, "hash", "list")


def test_dtypes_that_do_not_exist():
    with pytest.raises(TypeError, match="float32"):
        np.zeros(3, "string")


# ---- indices --------------------------------------------------------------------------------------------------


def test_eager_index_out_of_bounds():
    text = message(IndexError, lambda: np.arange(5)[7])
    assert_mentions(text, "7", "axis 0", "5")
    text = message(IndexError, lambda: np.ones((2, 3))[0, -4])
    assert_mentions(text, "-4", "axis 1", "3")


def test_eager_index_array_out_of_bounds():
    assert_mentions(message(IndexError, lambda: np.arange(5)[np.array([1, 9])]), "9", "5")


def test_too_many_indices():
    assert_mentions(message(IndexError, lambda: np.arange(5)[1, 2]), "2", "1")


# ---- devices, data, caches ------------------------------------------------------------------------------------


def test_a_device_that_is_not_there():
    with pytest.raises(errors.DeviceError) as caught, ftiny.device("opencl:77"):
        np.ones(3)
    assert_mentions(str(caught.value), "opencl:77", "numpy")
    with pytest.raises(errors.FtinyError) as caught, ftiny.device("tpu"):
        np.ones(3)
    assert_mentions(str(caught.value), "tpu", "cuda", "opencl", "numpy")


def test_a_device_from_the_environment_that_is_not_there():
    result = run_python("-c", "import ftiny.numpy as np; np.ones(3)", FTINY_DEVICE="opencl:77")
    assert result.returncode != 0
    assert_mentions(result.stderr.splitlines()[-1], "DeviceError", "opencl:77")


def test_a_missing_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("FTINY_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    from ftiny import data

    with pytest.raises(errors.DataError) as caught:
        data.load("cifar10", download=False)
    assert_mentions(str(caught.value), "cifar10", str(tmp_path), "FTINY_DATA")
    with pytest.raises(errors.DataError, match="there is no data set 'nothing'"):
        data.load("nothing")


def test_a_cache_directory_that_cannot_be_used(tmp_path):
    """Works uncached and says so, once."""
    blocked = tmp_path / "a_file"
    blocked.write_text("in the way")
    code = (
        "import ftiny, ftiny.numpy as np\n"
        "print(ftiny.jit(lambda x: x + 1)(np.ones(3)))\n"
        "print(ftiny.jit(lambda x: x + 2)(np.ones(3)))"
    )
    result = run_python("-c", code, FTINY_CACHE_DIR=str(blocked), FTINY_DEVICE="")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["[2.", "2.", "2.]", "[3.", "3.", "3.]"]
    if any(device.kind != "numpy" for device in ftiny.devices()):
        assert result.stderr.count(str(blocked)) == 1 and "FTINY_CACHE_DIR" in result.stderr


def test_examples_say_what_is_wrong_with_their_arguments():
    result = run_python(str(ROOT / "examples" / "mnist_mlp.py"), "--steps", "0")
    assert result.returncode == 2
    assert_mentions(result.stderr, "--steps", "above zero")
    result = run_python(str(ROOT / "examples" / "mnist_mlp.py"), "--plot", "no_such_folder/curve.png")
    assert result.returncode == 2
    assert_mentions(result.stderr, "--plot", "no folder no_such_folder")
