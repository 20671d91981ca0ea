"""Choosing schedules by measuring: decisions, the search of a nest, the table on disk, `ftiny.tune`."""
from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import errors
from ftiny.lowering import choices, plan_cache
from ftiny.lowering import device as devices
from ftiny.lowering.choices import Table, choose, choosing, nest_key
from ftiny.lowering.compiler import Compiler
from ftiny.lowering.expr import Axis
from ftiny.lowering.expr import axis as axis_expr
from ftiny.lowering.loops import LoopNest, Map, Value, Write
from ftiny.lowering.search import Search

F32 = np.dtype(np.float32)


@pytest.fixture
def opencl(monkeypatch):
    if not devices.devices("opencl"):
        pytest.skip("no OpenCL device")
    monkeypatch.setattr(choices, "_tables", {})
    with ftiny.device("opencl"):
        yield devices.get_device("opencl")


def add_nest(number: float, size: int = 4096) -> LoopNest:
    i = Axis("i", size)
    x, y = Value("x", (size,), F32), Value("y", (size,), F32)
    return LoopNest("add", (i,), (x, y), (), (Map((), (Write("y", (axis_expr(i),), x[i] + number),)),))


def test_the_cheapest_option_unless_another_is_named():
    options, cost = ["c", "a", "b"], ord
    assert choose("letter", options, cost) == "a" and choose("letter", [], cost) is None
    seen: dict[str, int] = {}
    with choosing({"letter": 1, "letter 2": 99}, seen):
        assert [choose("letter", options, cost) for _ in range(3)] == ["b", "c", "a"]
        with choosing({}):
            assert choose("letter", options, cost) == "a"
        assert choose("other", options, cost) == "a"
    assert seen == {"letter": 3, "letter 2": 3, "letter 3": 3, "other": 3}
    assert choose("letter", options, cost) == "a"


def test_the_table_is_kept_on_disk_and_changes_the_key_of_plans(opencl):
    capabilities = opencl.capabilities
    nest = add_nest(1.0, 12345)
    table = Table(capabilities)
    before = table.version
    table.keep(nest, {"tile": 3}, 7)
    again = Table(capabilities)
    assert again.find(nest) == ({"tile": 3}, 7) and again.version == table.version != before
    assert again.find(add_nest(2.0, 12345)) == ({}, 0)
    from dataclasses import replace

    assert nest_key(replace(nest, name="other", equations=(5,))) == nest_key(nest)
    program = ftiny.make_jaxpr(lambda x: x + 1)(np.ones(3, "float32"))
    first = plan_cache.plan_key(program, capabilities, ())
    choices.table_of(capabilities).keep(nest, {"tile": 4}, 8)
    assert plan_cache.plan_key(program, capabilities, ()) != first


def test_a_candidate_with_other_results_is_never_chosen(opencl):
    compiler = Compiler(opencl.capabilities)

    def make(nest):
        wrong = choose("wrong", (0.0, 1.0), lambda number: number)
        return compiler.made_kernels(add_nest(1.0 + wrong, 1 << 18))

    search = Search(opencl, 4, make)
    assert "wrong" not in search.best(add_nest(1.0, 1 << 18))
    (found,) = search.found
    assert found.tried >= 2 and found.gain >= 1.0


def test_what_is_faster_is_chosen_and_remembered(opencl):
    compiler = Compiler(opencl.capabilities)
    nest, size = add_nest(3.25, 1 << 21), 1 << 21

    def make(nest):
        slow = choose("slow", (True, False), lambda slow: not slow)  # a model that prefers the slow one
        if not slow:
            return compiler.made_kernels(nest)
        i = Axis("i", size)
        x, y = Value("x", (size,), F32), Value("y", (size,), F32)
        total = x[i] + 3.25
        for _ in range(60):
            total = (total * 1.5 + 0.25) * (1 / 1.5) - 0.25 / 1.5
        many = LoopNest("slow", (i,), (x, y), (), (Map((), (Write("y", (axis_expr(i),), total),)),))
        return compiler.made_kernels(many)

    search = Search(opencl, 4, make)
    assert search.best(nest)["slow"] == 1
    assert search.found[0].gain > 1 and "slow 1" in str(search.found[0])
    assert Search(opencl, 4, make).best(nest)["slow"] == 1 and len(search.found) == 1
    assert search.table.find(nest)[0]["slow"] == 1


def test_tune_keeps_results_and_tells_the_gain(opencl):
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=(96, 160)).astype("float32"), rng.normal(size=(160, 64)).astype("float32"))
    step = ftiny.jit(lambda x, w: fnp.tanh(x @ w))
    before = np.asarray(step(x, w))
    found = ftiny.tune(step, x, w, candidates=3)
    assert len(found.found) == 1 and found.found[0].tried <= 3 and found.gain >= 1.0
    text = str(found)
    assert "contract" in text and "of peak" in text and "searched for" in text
    np.testing.assert_allclose(np.asarray(step(x, w)), before, rtol=1e-5, atol=1e-5)
    assert ftiny.tune(step, x, w, candidates=3).found == ()  # known


def test_the_environment_searches_every_compilation(opencl, monkeypatch):
    monkeypatch.setenv("FTINY_SEARCH", "2")
    x = np.random.default_rng(1).normal(size=(48, 80)).astype("float32")
    with ftiny.debug(0):
        found = np.asarray(ftiny.jit(lambda x: x @ x.T + 0.5)(x))
    np.testing.assert_allclose(found, x @ x.T + 0.5, rtol=1e-5, atol=1e-4)
    rows = choices.table_of(opencl.capabilities)._rows
    assert any(tried for _, tried in rows.values())


def test_errors():
    with ftiny.device("numpy"), pytest.raises(errors.ArgumentError, match="interprets programs and has no kernels"):
        ftiny.tune(lambda x: x + 1, 1.0)
    if devices.devices("opencl"):
        with ftiny.device("opencl"), pytest.raises(errors.ArgumentError, match="candidates must be at least 1, not 0"):
            ftiny.tune(lambda x: x + 1, 1.0, candidates=0)
