"""The traps that compiled functions of other libraries have set for their users (tinygrad's documentation lists
them): each case is right here, or raises."""
from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import errors

pytestmark = pytest.mark.usefixtures("every_device")


def test_a_later_call_does_not_overwrite_results():
    double = ftiny.jit(lambda x: x * 2)
    results = [double(np.full(5, i, np.float32)) for i in range(4)]
    views = [np.asarray(r) for r in results]
    for i in range(4, 40):
        double(np.full(5, i, np.float32))
    for i, (result, view) in enumerate(zip(results, views)):
        assert result.tolist() == [2.0 * i] * 5 == view.tolist()


def test_a_view_outlives_its_array():
    double = ftiny.jit(lambda x: x * 2)
    view = np.asarray(double(np.full(1000, 1, np.float32)))
    for i in range(20):
        double(np.full(1000, i, np.float32))
    assert (view == 2).all() and not view.flags.writeable


def test_arguments_may_be_written_to_after_the_call():
    double = ftiny.jit(lambda x: fnp.sin(x) * 2)
    x = np.linspace(0, 1, 100_000, dtype=np.float32)
    expected = np.sin(x) * 2
    for _ in range(3):
        given = x.copy()
        result = double(given)
        given[:] = np.nan
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_numbers_and_shapes_are_not_baked_in():
    scaled = ftiny.jit(lambda x, factor: x * factor)
    for factor in (2.0, 3.0, 4, np.float32(5)):
        assert float(scaled(fnp.ones(()), factor)) == factor
    total = ftiny.jit(lambda x: fnp.sum(x))
    assert [int(total(np.ones(n, np.int32))) for n in (3, 4, 0, 3)] == [3, 4, 0, 3]


def test_what_is_closed_over_is_the_array_of_that_time():
    weights = fnp.ones(3)
    function = ftiny.jit(lambda x: x * weights)
    assert function(2.0).tolist() == [2.0] * 3
    weights = fnp.zeros(3)  # another array under the name; the program keeps the one that it was traced with
    assert function(2.0).tolist() == [2.0] * 3
    assert ftiny.jit(lambda x: x * weights)(2.0).tolist() == [0.0] * 3


def test_keys_that_are_arguments_give_fresh_numbers():
    key = ftiny.random.PRNGKey(0)
    draw = ftiny.jit(lambda key, step: ftiny.random.uniform(ftiny.random.fold_in(key, step), (3,)))
    drawn = {tuple(draw(key, step).tolist()) for step in range(5)}
    assert len(drawn) == 5 and tuple(draw(key, 0).tolist()) in drawn
    frozen = ftiny.jit(lambda x: x + ftiny.random.uniform(key, (3,)))
    assert frozen(0.0).tolist() == frozen(0.0).tolist()


def test_nested():
    inner = ftiny.jit(lambda x: x + 1)
    outer = ftiny.jit(lambda x: inner(x) * inner(2 * x))
    assert float(outer(2.0)) == 15.0 and float(ftiny.jit(ftiny.grad(outer))(2.0)) == 11.0


def test_the_same_array_twice():
    x = fnp.arange(3.0)
    assert ftiny.jit(lambda a, b: a + b)(x, x).tolist() == [0, 2, 4]
    both = ftiny.jit(lambda a: (a, a, a * 1))(x)
    assert [y.tolist() for y in both] == [[0, 1, 2]] * 3
    step = ftiny.jit(lambda a, b: (a + 1, b * 10), donate_argnums=0)
    kept = fnp.arange(3.0)
    first, second = step(kept, kept)  # donated and used: the other argument keeps its value
    assert first.tolist() == [1, 2, 3] and second.tolist() == [0, 10, 20]


def test_a_donated_result_may_be_donated_again():
    step = ftiny.jit(lambda x: x + 1, donate_argnums=0)
    x = fnp.zeros(3)
    for _ in range(5):
        x = step(x)
    assert x.tolist() == [5.0] * 3


def test_conditions_on_values_raise():
    with pytest.raises(errors.TracerError, match="where"):
        ftiny.jit(lambda x: x if x > 0 else -x)(1.0)
    with pytest.raises(errors.TracerError):
        ftiny.jit(lambda x: [0, 1][x])(1)


def test_what_is_no_array_raises():
    with pytest.raises(errors.TracerError, match="static"):
        ftiny.jit(lambda x: x)("text")
    with pytest.raises(errors.TracerError, match="returned a str"):
        ftiny.jit(lambda x: "text")(1.0)


def test_a_failed_call_leaves_nothing_behind():
    state = {"fail": True}

    @ftiny.jit
    def function(x):
        if state["fail"]:
            raise KeyError("at trace time")
        return x * 2

    with pytest.raises(KeyError):
        function(1.0)
    state["fail"] = False
    assert float(function(1.0)) == 2.0
