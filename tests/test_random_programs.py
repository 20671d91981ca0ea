"""Random programs agree with jax under every transformation; failures are shrunk; the command line does what it says.

Longer runs: `python -m ftiny fuzz --device opencl:0 --seeds 0:2000 --jobs 2`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ftiny
from ftiny import __main__ as command_line
from ftiny.fuzz import checking, command, forms, libraries, operations, shrinking
from ftiny.fuzz.programs import Generator, Program, Step, Value, generate
from ftiny.fuzz.table import ROWS

ROOT = Path(__file__).resolve().parent.parent


def failures(seeds, device: str) -> str:
    """What fails among these seeds, as text."""
    programs = [generate(seed) for seed in seeds]
    outcomes = list(checking.outcomes(programs, device, "jax"))
    assert len(outcomes) == len(programs)
    refused = [outcome for _, outcome in outcomes if isinstance(outcome, Exception)]
    assert len(refused) <= 2, f"the oracle refuses more than a few programs: {refused}"
    failed = [outcome for _, outcome in outcomes if isinstance(outcome, checking.Failure)]
    return "\n".join(f"{f.program.title}\n{f.message}\n{f.program.source}" for f in failed)


# ---- agreement ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, 600, 40))
def test_interpreted(start):
    """On the numpy device, two thirds of them jitted."""
    found = failures(range(start, start + 40), "numpy")
    assert not found, found


@pytest.mark.parametrize("start", range(0, 60, 10))
def test_compiled(start, compiled):
    """Compiled for the device."""
    found = failures(range(start, start + 10), compiled)
    assert not found, found


# ---- programs -------------------------------------------------------------------------------------------------


def test_programs_are_what_the_seed_says():
    """The same seed gives the same program, and the programs have the sizes, types and forms they should have."""
    programs = [generate(seed) for seed in range(300)]
    assert programs[:5] == [generate(seed) for seed in range(5)]
    assert all(1 <= len(program.steps) <= 15 for program in programs)
    shapes = [value.shape for program in programs for value in program.inputs]
    assert () in shapes and any(0 in shape for shape in shapes) and any(1 in shape for shape in shapes)
    assert {program.form for program in programs} == set(forms.FORMS)
    assert {name for program in programs for name in program.wrappers} == set(forms.WRAPPERS)
    text = "".join(program.source for program in programs)
    words = "float64 bfloat16 float16 int8 @ conv_general_dilated reduce_window cumsum sort scan cond vmap fft random."
    assert [word for word in words.split() if word not in text] == []


def test_every_row_applies():
    """Every row of the table makes a line on some operands, and ftiny accepts it."""
    for number, row in enumerate(ROWS):
        lines: list[Step] = []
        for seed in range(80):
            generator = Generator(np.random.default_rng((number, seed)))
            for dtype in ("float32", "float32", "int32", "bool"):
                generator.add_input([(3, 3), (4,), (2, 3, 2), (2, 3)][seed % 4], dtype)
            operations.add_row(generator, row)
            assert not generator.finished, f"ftiny refuses {generator.steps[-1].text}"
            lines += generator.steps
            if lines:
                break
        assert lines, f"no operands for {row}"


def test_precisions_keep_the_random_numbers():
    """The evaluation in float64 changes every float type and nothing else; the draws of random.uniform stay."""
    inputs = (Value("v0", (3,), "bfloat16"),)
    text = "v0 + random.uniform(random.PRNGKey(3), v0.shape, 'single').astype('float16')"
    program = Program(0, inputs, (Step(Value("v1", (3,), "float16"), text, ("v0",)),), ("v1",))
    double = program.in_precision("float64")
    assert double.inputs[0].dtype == "float64" and "'single').astype('float64')" in double.source
    assert double.steps[0].output.dtype == "float64"


# ---- how far results may differ -------------------------------------------------------------------------------


def test_what_rounding_explains_is_allowed():
    """A cancellation that jax's own float32 shows as well is no failure; one that it does not show is."""
    precise, wanted = np.array([1.0, 2e-4]), np.array([1.0, 2.1e-4], np.float32)
    own = checking.allowances([precise], 2.0**-23, [1e-5])
    assert not checking.differences([np.array([1.0, 1.8e-4], np.float32)], [wanted], [precise], own)
    none = checking.allowances([precise], 2.0**-23, [0.0])
    message = checking.differences([np.array([1.0, 1.8e-4], np.float32)], [wanted], [precise], none)
    assert "at (1,)" in message and "(1 of 2 elements)" in message


def cancelling() -> Program:
    """A float64 program whose results are nothing but the rounding of its lines, times 1e4."""
    inputs = (Value("v0", (4,), "float64", exact=True),)
    texts = ["v0 * 2", "np.cos(v0) ** 2", "np.sin(v0) ** 2", "v2 + v3", "(v4 - 1) * 1e4"]
    reads = [("v0",), ("v0",), ("v0",), ("v2", "v3"), ("v4",)]
    steps = [Step(Value(f"v{k}", (4,), "float64", exact=k == 1), t, r) for k, (t, r) in enumerate(zip(texts, reads), 1)]
    return Program(3, inputs, tuple(steps), ("v1", "v5"))


def test_cancellation_in_float64_is_allowed_and_no_more(monkeypatch):
    """Errors of a few roundoffs in the lines say how far the results may be apart; exact lines are left alone."""
    program = cancelling()
    (wanted,) = checking.reference([program], "numpy")
    assert program.with_errors(0).steps[0].text == "v0 * 2" and "np.sin(2 +" in program.with_errors(0).steps[1].text
    assert program.with_errors(0) != program.with_errors(1)
    for gap, agrees in ((0.0, True), (2e-12, True), (1e-9, False)):
        monkeypatch.setattr(checking, "candidate", lambda *_, gap=gap: [wanted[0], wanted[1] + gap])
        monkeypatch.setattr(checking, "reference", lambda programs, _: [evaluated(each) for each in programs])
        assert (checking.check(program, wanted, "numpy", "numpy") is None) == agrees, gap


def evaluated(program: Program) -> list:
    """The program's results in numpy itself."""
    scope = {"np": np}
    exec(program.source, scope)
    return list(scope["program"](*program.arguments()))


def test_shapes_dtypes_integers_and_infinities_are_exact():
    """Each of these is a difference whatever the tolerance; a NaN of the oracle is no claim."""
    one = np.ones(2, np.float32)
    differ = lambda found, wanted: checking.difference(found, wanted, wanted, 1.0)
    assert "shape (3,), expected (2,)" in differ(np.ones(3, np.float32), one)
    assert "dtype float64, expected float32" in differ(np.ones(2), one)
    assert "(1 of 2 elements)" in differ(np.array([1, 2]), np.array([1, 3]))
    assert differ(np.array([np.inf, 1], np.float32), one) and differ(one, np.array([np.inf, 1], np.float32))
    assert differ(np.array([np.nan, 1], np.float32), one) and not differ(one, np.array([np.nan, 1], np.float32))


# ---- shrinking ------------------------------------------------------------------------------------------------


@pytest.fixture
def broken_arcsinh(monkeypatch):
    """ftiny's arcsinh is wrong by a part in a hundred."""
    right = ftiny.numpy.arcsinh
    monkeypatch.setattr(ftiny.numpy, "arcsinh", lambda x: right(x) * 1.01)


def example() -> Program:
    """Seven lines, of which one is broken, under a gradient of a jitted program."""
    texts = {
        "v2": "np.sin(v0) + v1",
        "v3": "np.sum(v2, axis=(0,), keepdims=True)",
        "v4": "np.tanh(np.arcsinh(v3) * v1)",
        "v5": "np.reshape(v4, (3, 5))",
        "v6": "nn.softmax(v5, axis=1)",
        "v7": "np.cos(v2)",
    }
    shapes = {"v3": (1, 5)}
    floats = {name: Value(name, shapes.get(name, (3, 5)), "float32") for name in ("v0", "v1", *texts)}
    reads = {name: tuple(re.findall(r"v\d", text)) for name, text in texts.items()}
    steps = tuple(Step(floats[name], text, reads[name]) for name, text in texts.items())
    return Program(5, (floats["v0"], floats["v1"]), steps, ("v6", "v7"), "gradient", ("jit", "checkpoint"))


def test_shrinks_to_the_broken_operation(broken_arcsinh):
    """What is left is the operation alone on a scalar, without transformations."""
    failure = shrinking.fails(example(), "numpy", "jax")
    assert failure is not None and failure.kind == "differs"
    smaller = shrinking.shrink(failure, "numpy", "jax").program
    assert len(smaller.steps) == 1
    assert "arcsinh" in smaller.steps[0].text
    assert (smaller.form, smaller.wrappers, smaller.jitted) == ("values", (), False)
    assert [value.shape for value in smaller.inputs] == [()] * len(smaller.inputs)


def run_script(text: str, folder: Path) -> subprocess.CompletedProcess:
    """The script in a process of its own."""
    path = folder / "reproducer.py"
    path.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, path], capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize("form", ["gradient", "products"])
def test_the_script_runs_by_itself(form, broken_arcsinh, tmp_path):
    """It passes where nothing is broken, and fails where ftiny is."""
    program = Program(**{**example().__dict__, "form": form})
    failure = shrinking.fails(program, "numpy", "jax")
    assert failure is not None
    text = shrinking.script(failure, "numpy", "jax")
    finished = run_script(text, tmp_path)
    assert finished.returncode == 0, finished.stderr
    broken = "import ftiny.numpy\nright = ftiny.numpy.arcsinh\nftiny.numpy.arcsinh = lambda x: right(x) * 1.01\n"
    assert "AssertionError" in run_script(text.replace("import ftiny\n", broken, 1), tmp_path).stderr


def test_an_error_is_a_failure_and_keeps_its_kind(monkeypatch):
    """A line that ftiny refuses and jax accepts is found, and shrunk to itself."""

    def refuse(x):
        raise ftiny.errors.ShapeError("refused")

    monkeypatch.setattr(ftiny.numpy, "arcsinh", refuse)
    failure = shrinking.fails(example(), "numpy", "jax")
    assert failure is not None and failure.kind == "ShapeError" and "refused" in failure.message
    smaller = shrinking.shrink(failure, "numpy", "jax").program
    assert len(smaller.steps) == 1 and "arcsinh" in smaller.source


# ---- the command line -----------------------------------------------------------------------------------------


def fuzz(*arguments: str) -> subprocess.CompletedProcess:
    """`python -m ftiny fuzz` in a process of its own."""
    line = [sys.executable, "-m", "ftiny", "fuzz", *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=200)


def test_a_run_of_two_seconds():
    """It names the oracle in the first line and the counts in the last."""
    finished = fuzz("--seconds", "2", "--device", "numpy", "--seed", "7")
    lines = finished.stdout.splitlines()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.match(r"ftiny on numpy against jax \d+\.\d+\.\d+; seeds from 7, for 2 s, processes: 1", lines[0])
    assert re.match(r"\d+ programs \(seeds 7:\d+\): \d+ agree, 0 do not, 0 refused by the oracle; \d", lines[-1])


def test_without_jax_the_interpreter_is_the_oracle(opencl):
    """`--against numpy` compares a compiled device with the interpreter and never imports jax."""
    finished = fuzz("--seeds", "3:5", "--device", opencl, "--against", "numpy")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "against its interpreter (the device numpy)" in finished.stdout
    assert "2 programs (seeds 3:5): 2 agree" in finished.stdout


def test_show_prints_programs(capsys):
    """`--show` runs nothing."""
    assert command_line.main(["fuzz", "--show", "--seeds", "4", "--device", "numpy"]) == 0
    assert capsys.readouterr().out == f"# {generate(4).title}\n{generate(4).source}\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--device toaster", "--device toaster: 'toaster' names no device"),
        ("--seeds 5:2", "'5:2' has no seeds; A:B needs 0 <= A < B"),
        ("--seeds x", "must be A:B or one number, not 'x'"),
        ("--seconds 0", "must be positive, not 0"),
        ("--seconds 3 --seeds 0:2", "not allowed with argument"),
        ("--seed -1", "--seed must not be negative, but is -1"),
        ("--jobs 0", "--jobs must be at least 1, not 0"),
        ("--show", "--show needs --seeds A:B"),
        ("--against torch", "invalid choice: 'torch'"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    """Each ends with status 2 and says what is wrong."""
    with pytest.raises(SystemExit) as raised:
        command_line.main(["fuzz", *arguments.split()])
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_jax_is_asked_for_and_missing(monkeypatch, capsys):
    """The message says what to do."""
    monkeypatch.setattr(libraries, "jax_is_installed", lambda: False)
    with pytest.raises(SystemExit):
        command_line.main(["fuzz", "--against", "jax"])
    assert "jax is not installed; install it or use --against numpy" in capsys.readouterr().err


def dies_at_seed_four(connection, *options):
    """A worker that ends itself in the middle of the fourth seed, as a crash of a driver would."""
    for seed in connection.recv():
        connection.send(("running", seed))
        if seed == 4:
            os._exit(11)
        connection.send(("agreed", seed))
    connection.send(("done", None))
    connection.recv()


def test_a_crash_is_a_finding_and_the_run_goes_on(monkeypatch, capsys):
    """The seed that was running is reported; the seeds after it run in a fresh process."""
    monkeypatch.setattr(command, "_work", dies_at_seed_four)
    assert command_line.main(["fuzz", "--seeds", "0:8", "--device", "numpy"]) == 1
    printed = capsys.readouterr().out
    assert "---- seed 4: the process ended with 11 in ftiny" in printed
    assert "8 programs (seeds 0:8): 7 agree, 1 do not, 0 refused" in printed


def fails_at_seed_two(connection, *options):
    """A worker for which seed 1 is refused and seed 2 fails; what fails is made smaller when all seeds have run."""
    while (task := connection.recv()) is not None:
        for seed in task if isinstance(task, list) else ():
            failure = checking.Failure(generate(seed), "differs", "a difference")
            kinds = {1: ("refused", (1, "TypeError: no")), 2: ("failed", failure)}
            connection.send(kinds.get(seed, ("agreed", seed)))
        if isinstance(task, checking.Failure):
            connection.send(("script", f"a script for seed {task.program.seed}"))
        connection.send(("done", None))


def test_the_counts_come_before_the_shrinking_and_after(monkeypatch, capsys):
    """With the reasons why the oracle refused programs."""
    monkeypatch.setattr(command, "_work", fails_at_seed_two)
    assert command_line.main(["fuzz", "--seeds", "0:40", "--device", "numpy", "--jobs", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    counts = "40 programs (seeds 0:40): 38 agree, 1 do not, 1 refused by the oracle"
    where = [number for number, line in enumerate(lines) if line.startswith(counts)]
    assert len(where) == 2 and where[1] == len(lines) - 1
    assert lines[where[0] - 1] == "refused by the oracle: seed 1: TypeError: no"
    assert where[0] < lines.index("a script for seed 2") < where[1]
    assert lines.index(f"---- {generate(2).title}") < where[0]


def hangs_at_seed_two(connection, *options):
    """A worker that stops answering at seed 2, as a kernel that never ends would make it."""
    for seed in connection.recv():
        connection.send(("running", seed))
        if seed == 2:
            time.sleep(60)
        connection.send(("agreed", seed))
    connection.send(("done", None))
    connection.recv()


def test_a_hang_is_a_finding(monkeypatch, capsys):
    """The process is ended after HANG_SECONDS without a sign, and another one goes on after that seed."""
    monkeypatch.setattr(command, "_work", hangs_at_seed_two)
    monkeypatch.setattr(command, "HANG_SECONDS", 10.0)
    assert command_line.main(["fuzz", "--seeds", "0:4", "--device", "numpy"]) == 1
    printed = capsys.readouterr().out
    assert "---- seed 2: the process ended with -9 in ftiny" in printed
    assert "4 programs (seeds 0:4): 3 agree, 1 do not, 0 refused" in printed


def test_the_package_does_not_import_jax():
    """Importing the command line and generating a program leave jax alone."""
    code = (
        "import sys, ftiny.__main__; from ftiny.fuzz.programs import generate; generate(3); print('jax' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert finished.stdout == "False\n", finished.stderr
