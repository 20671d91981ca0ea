"""`ftiny.profile`, the lines of equations inside loops, and what is in memory at the peak."""
from __future__ import annotations

import json

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import errors, lax
from ftiny.lowering import device as devices
from ftiny.lowering import profile as log
from ftiny.lowering.equations import Lines, inside, numbered
from ftiny.lowering.simplify import simplify


@pytest.fixture(autouse=True)
def opencl(monkeypatch):
    if not devices.devices("opencl"):
        pytest.skip("no OpenCL device")
    found = devices.get_device("opencl")
    name = f"{found.kind}|{found.description}|{found.capabilities.arch}"
    monkeypatch.setitem(log._peaks, name, (10e9, 100e9))
    with ftiny.device("opencl"):
        yield found


def layer(x, w):
    return fnp.tanh(x @ w)


def loss(ws, x):
    for w in ws:
        x = layer(x, w)
    return fnp.mean(x**2)


def scanned_loss(ws, x):
    return fnp.mean(lax.scan(lambda h, w: (layer(h, w), None), x, ws)[0] ** 2)


def arguments(layers=3, size=32, batch=128):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(size, size)).astype("float32") for _ in range(layers)], np.ones((batch, size), "float32")


def message(error, function, *args) -> str:
    with pytest.raises(error) as caught:
        function(*args)
    return str(caught.value)


LAYER = f"({layer.__name__})"


def test_profile_tells_kernels_lines_and_passes(tmp_path):
    step = ftiny.jit(ftiny.grad(loss))
    plain = step(*arguments())
    with ftiny.profile() as p:
        found = step(*arguments())
    for a, b in zip(plain, found):
        np.testing.assert_array_equal(a, b)
    assert p.seconds > 0 and p.seconds == pytest.approx(sum(k.seconds for k in p.kernels))
    assert p.seconds == pytest.approx(sum(x.forward + x.backward for x in p.lines), rel=1e-6)
    here = next(line for line in p.lines if LAYER in line.line)
    assert here.forward > 0 and here.backward > 0 and here.memory >= 3 * 128 * 32 * 4
    text = str(p)
    assert "of peak" in text and "test_profiler.py" in text and "backward" in text
    p.save_trace(tmp_path / "trace.json")
    rows = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    kernels = [row for row in rows if row["cat"] == "kernel"]
    assert len(kernels) == sum(k.runs for k in p.kernels) and all(row["dur"] >= 0 for row in kernels)


def test_profile_records_compilations_copies_and_host_calls():
    with ftiny.profile() as p:
        ftiny.jit(lambda x: fnp.linalg.cholesky(x * 1.5) + 1)(np.eye(3, dtype="float32"))
    assert {"compile", "kernel", "host"} <= {event.kind for event in p.events}
    assert "on the host: 1" in str(p) and "compilations: 1" in str(p)


def test_nothing_is_recorded_outside():
    step = ftiny.jit(lambda x: x + 1)
    with ftiny.profile() as p:
        step(np.ones(100, "float32"))
    before = len(p.events)
    step(np.ones(100, "float32"))
    assert len(p.events) == before > 0


def test_the_interpreter_is_recorded_as_a_whole():
    with ftiny.device("numpy"), ftiny.profile() as p:
        ftiny.jit(lambda x: x + 1)(np.ones(4, "float32"))
    assert [e.kind for e in p.events if e.kind != "compile"] == ["host"]


@pytest.mark.parametrize("wrap", [lambda f: f, ftiny.grad])
def test_kernels_of_a_loops_body_report_the_bodys_lines(wrap):
    ws, x = arguments()
    step = ftiny.jit(wrap(scanned_loss))
    with ftiny.profile() as p:
        step(np.stack(ws), x)
    assert any(LAYER in line for kernel in p.kernels for line in kernel.lines)
    with ftiny.profile() as again:  # from the plan in the tables
        ftiny.jit(wrap(scanned_loss))(np.stack(ws), x)
    assert {k.lines for k in again.kernels} == {k.lines for k in p.kernels}


def test_numbers_of_equations_inside_others():
    def f(x):
        return lax.cond(x[0] > 0, lambda y: lax.fori_loop(0, 3, lambda i, z: z * 2, y), lambda y: y + 1, x)

    simplified = simplify(ftiny.make_jaxpr(f)(np.ones(3, "float32")))
    lines = Lines(simplified)
    branch = next(n for n, e in enumerate(simplified.jaxpr.eqns) if e.primitive.name == "cond")
    first = simplified.sources[branch]
    assert lines[numbered(0, branch)][: len(first)] == first
    loop = numbered(inside(numbered(0, branch), 1), 0)
    assert lines[loop] and loop in lines and numbered(inside(numbered(0, branch), 0), 0) in lines
    assert numbered(0, 999) not in lines and numbered(inside(numbered(0, branch), 7), 0) not in lines
    assert list(lines) == list(range(len(simplified.jaxpr.eqns)))


# ---- memory -------------------------------------------------------------------------------------------------------


def memory(function, *args, **options):
    return ftiny.jit(function, **options).lower(*args).compile().memory_analysis()


def test_peak_names_lines_and_residuals():
    ws, x = arguments(layers=4, size=64, batch=512)
    found = memory(ftiny.grad(loss), ws, x)
    assert found.peak.nbytes <= found.arguments + found.results + found.temporaries
    assert found.peak.nbytes >= found.arguments + 3 * 512 * 64 * 4
    residuals = [h for h in found.peak.held if h.residual]
    assert residuals and all(LAYER in h.where for h in residuals)
    assert found.peak.residual_bytes == sum(h.nbytes for h in residuals) >= 3 * 512 * 64 * 4
    text = str(found)
    assert "kept for a derivative" in text and "ftiny.checkpoint could save" in text and "argument 0[3]" in text


def test_checkpoint_saves_what_the_report_says_it_may():
    ws, x = arguments(layers=6, size=32, batch=1024)

    def checkpointed(ws, x):
        for w in ws:
            x = ftiny.checkpoint(lambda x, w: fnp.tanh(layer(fnp.sin(layer(x, w)), w)))(x, w)
        return fnp.mean(x**2)

    def plain(ws, x):
        for w in ws:
            x = fnp.tanh(layer(fnp.sin(layer(x, w)), w))
        return fnp.mean(x**2)

    before, after = memory(ftiny.grad(plain), ws, x).peak, memory(ftiny.grad(checkpointed), ws, x).peak
    assert after.nbytes < before.nbytes and after.residual_bytes < before.residual_bytes
    assert before.nbytes - after.nbytes <= before.residual_bytes


def test_donated_memory_is_counted_once():
    x = np.ones(1000, "float32")
    peak = memory(lambda x: x + 1, x, donate_argnums=0).peak
    assert peak.nbytes == 4000 and [h.kind for h in peak.held] == ["argument"]


def test_peak_inside_a_loop():
    found = memory(ftiny.grad(scanned_loss), np.stack(arguments()[0]), arguments()[1])
    assert found.peak.nbytes <= found.arguments + found.results + found.temporaries
    assert any(LAYER in held.where for held in found.peak.held)


def test_out_of_memory_says_what_holds_it(opencl, monkeypatch):
    ws, x = ftiny.device_put(arguments(layers=3, size=64, batch=256))  # so that the program is what asks for memory
    step = ftiny.jit(ftiny.grad(loss))
    step(ws, x)

    def full(nbytes):
        raise MemoryError("the device is full")

    ftiny.release_memory()
    monkeypatch.setattr(opencl.pool, "_allocate", full)
    text = message(errors.OutOfMemoryError, step, ws, x)
    assert "has no memory for" in text and "kept for a derivative" in text and LAYER in text
    assert "ftiny.checkpoint could save" in text
    monkeypatch.undo()
    assert np.isfinite(np.asarray(step(ws, x)[0])).all()


def test_memory_is_released_on_request(opencl):
    step = ftiny.jit(ftiny.grad(loss))
    wanted = [np.array(g) for g in step(*arguments(layers=2, size=64, batch=4096))]
    assert ftiny.release_memory() > 0
    assert opencl.pool.idle_bytes == 0 and ftiny.release_memory() == 0
    for a, b in zip(step(*arguments(layers=2, size=64, batch=4096)), wanted):
        np.testing.assert_array_equal(a, b)
