"""The walls hold: hand-encoded loop nests, run by the interpreter with folds cut into pieces and the grid
into blocks, give what numpy gives, at odd sizes; and the checks refuse broken nests."""

from __future__ import annotations

import numpy as np
import pytest
from walls import F32, WALLS, softmax

from ftiny.lowering.expr import Axis, const
from ftiny.lowering.loops import LoopNest, LoopNestError, Map, Value, Write, check_nest, fold, show_nest
from ftiny.lowering.loops_interpreter import evaluate_nest


def assert_close(results: dict, expected: dict, tolerance: float = 2e-5) -> None:
    """Every output close, NaN and integers exact."""
    assert set(results) == set(expected)
    for name, want in expected.items():
        np.testing.assert_allclose(results[name], want, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("cut", [(1, 1), (3, 2), (5, 4)], ids=["whole", "3x2", "5x4"])
@pytest.mark.parametrize("name", WALLS)
def test_interpreter_agrees_with_numpy(name: str, cut: tuple[int, int]) -> None:
    case = WALLS[name](np.random.default_rng(0))
    check_nest(case.nest)
    assert_close(evaluate_nest(case.nest, case.inputs, blocks=cut[0], pieces=cut[1]), case.expected)


def test_a_wrong_combine_shows() -> None:
    """The interpreter really uses combine: a maximum that joins its pieces by addition gives another result."""
    case = softmax(np.random.default_rng(1))
    stages = list(case.nest.stages)
    first = stages[0]
    wrong = first.combine[0]
    stages[0] = type(first)(first.axes, first.over, first.state, first.init, first.step,
                            (wrong.args[0] + wrong.args[1] + 100.0,), first.finish)
    broken = LoopNest("broken", case.nest.grid, case.nest.arguments, case.nest.values, tuple(stages))
    result = evaluate_nest(broken, case.inputs, blocks=1, pieces=2)["y"]
    assert not np.allclose(result, case.expected["y"])


def test_a_nest_prints_itself() -> None:
    text = show_nest(softmax(np.random.default_rng(0)).nest)
    assert text.splitlines()[0] == "nest softmax grid(row:7)"
    assert "      combine maximum(m[], m.other[])" in text.splitlines()
    assert "    e[j] = exp((x[row, j] - m[]))" in text.splitlines()


ROW, J = Axis("row", 3), Axis("j", 4)
X, Y = Value("x", (3, 4), F32), Value("y", (3, 4), F32)
S = Value("s", (), F32, scope="register")


@pytest.mark.parametrize("stages, message", [
    ((Map((J,), (Write("z", (ROW, J), X[ROW, J]),)),), "writes z, which is not a value"),
    ((Map((J,), (Write("y", (J,), X[ROW, J]),)),), "has 2 dimensions, written with 1"),
    ((Map((), (Write("y", (ROW, J), X[ROW, J]),)),), "axis j:4 is not in scope"),
    ((Map((J,), (Write("y", (ROW, J), S[()]),)),), "s is not readable here"),
    ((Map((J,), (Write("y", (ROW, J), const(1, np.dtype("int32"))),)),), "writes int32 to y, which is float32"),
    ((fold("add", S, over=(ROW,), of=X[ROW, 0]),), "across is None but the fold has grid axis"),
    ((fold("add", S, over=(J,), of=X[ROW, J]), Map((Axis("j", 5),), ())), "axis j has extents 4 and 5"),
])
def test_broken_nests_are_refused(stages: tuple, message: str) -> None:
    with pytest.raises(LoopNestError, match=message):
        check_nest(LoopNest("broken", (ROW,), (X, Y), (), stages))


def test_an_unguarded_access_out_of_range_is_an_error() -> None:
    nest = LoopNest("out", (ROW,), (X, Y), (), (Map((J,), (Write("y", (ROW, J), X[ROW, 4]),)),))
    with pytest.raises(IndexError, match="x read or written at 4"):
        evaluate_nest(nest, {"x": np.zeros((3, 4), np.float32)})
