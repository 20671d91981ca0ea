"""`python -m ftiny fuzz`: many random programs in worker processes.

Input: the options. Output: what fails, and a line with the counts:

    $ python -m ftiny fuzz --seeds 0:1000 --device opencl --jobs 2
    ftiny on opencl against jax 0.10.2; seeds 0:1000, processes: 2
    1000 programs (seeds 0:1000): 1000 agree, 0 do not, 0 refused by the oracle; 214.0 s

When all programs have run, what has failed is made smaller; a script for each failure follows, and the line again.

Programs run in processes of their own, so that one that crashes or hangs is a finding and not the end of the run. They
are spawned, never forked: forked children hang in PoCL.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.connection import Connection, wait

from ftiny.fuzz import libraries
from ftiny.fuzz.checking import Failure
from ftiny.fuzz.programs import generate

BATCH = 16  # seeds that a process gets at a time: jax compiles their programs together
SMALL_BATCH = 2  # where less than SHORT_SECONDS are left
SHORT_SECONDS = 20.0
HANG_SECONDS = 300.0  # a program that takes longer has hung
MOST_OF_A_REASON = 200  # characters of the oracle's error
BATCHES_OF_A_PROCESS = 40  # then a fresh one takes over, since caches of compiled programs grow


def add_parser(subcommands) -> None:
    """Add the subcommand `fuzz` to the parser of `python -m ftiny`."""
    about = "Random programs over the whole API, run by ftiny and by an oracle, and shrunk where they disagree."
    parser = subcommands.add_parser("fuzz", help="random programs against an oracle", description=about)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--seconds", type=_positive, default=60.0, help="how long (default 60)")
    amount.add_argument("--seeds", type=_seed_range, help="A:B, exactly these seeds, however long it takes")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of a run of --seconds (default 0)")
    parser.add_argument("--device", default=None, help="numpy, opencl:0, cuda, ... (default: ftiny's default device)")
    oracle = "jax (the default where it is installed), or numpy, which is ftiny's interpreter"
    parser.add_argument("--against", choices=("jax", "numpy"), help=f"the oracle: {oracle}")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    shrink = "how long to make one failing program smaller (default 60; 0: leave it as it is)"
    parser.add_argument("--shrink-seconds", type=float, default=60.0, help=shrink)
    parser.add_argument("--show", action="store_true", help="print the programs of --seeds without running them")
    parser.set_defaults(run=lambda options: run(options, parser))


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be positive, not {text}")
    return value


def _seed_range(text: str) -> range:
    start, separator, stop = text.partition(":")
    try:
        seeds = range(int(start), int(stop) if separator else int(start) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be A:B or one number, not {text!r}") from None
    if not seeds or seeds.start < 0:
        raise argparse.ArgumentTypeError(f"{text!r} has no seeds; A:B needs 0 <= A < B")
    return seeds


def _check_options(options, parser) -> None:
    """Fill in the defaults; a bad option ends the program with a message."""
    import ftiny

    try:
        device = ftiny.default_device() if options.device is None else None
        options.device = device.name.split()[0].rstrip(",") if device else options.device
        with ftiny.device(options.device):
            pass
    except ftiny.errors.FtinyError as error:
        parser.error(f"--device {options.device}: {error}")
    if options.against is None:
        options.against = "jax" if libraries.jax_is_installed() else "numpy"
    if options.against == "jax" and not libraries.jax_is_installed():
        parser.error("--against jax: jax is not installed; install it or use --against numpy")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {options.jobs}")
    if options.seed < 0:
        parser.error(f"--seed must not be negative, but is {options.seed}")
    if options.show and options.seeds is None:
        parser.error("--show needs --seeds A:B")


def run(options, parser) -> int:
    """Run the seeds and print the failures and a summary; returns the exit status."""
    _check_options(options, parser)
    if options.show:
        print("\n".join(f"# {program.title}\n{program.source}" for program in map(generate, options.seeds)))
        return 0
    oracle = f"jax {version('jax')}" if options.against == "jax" else "its interpreter (the device numpy)"
    amount = f"{options.seeds.start}:{options.seeds.stop}" if options.seeds else f"from {options.seed}"
    limit = "" if options.seeds else f", for {options.seconds:g} s"
    print(f"ftiny on {options.device} against {oracle}; seeds {amount}{limit}, processes: {options.jobs}", flush=True)
    start = time.monotonic()
    pool = _Pool(options)
    pool.run(_batches(options, start))
    summary = _summary(options, pool, time.monotonic() - start)
    print(summary, flush=True)
    if pool.failures and options.shrink_seconds:
        pool.run(iter(pool.failures))
        print(summary, flush=True)
    return 1 if pool.totals.failed else 0


def _summary(options, pool: _Pool, seconds: float) -> str:
    """What the oracle refused and why, then the counts."""
    totals, first = pool.totals, options.seeds.start if options.seeds else options.seed
    lines = [f"refused by the oracle: seed {seed}: {why}" for seed, why in sorted(pool.refusals)]
    lines.append(
        f"{totals.count} programs (seeds {first}:{first + totals.count}): {totals.agreed} agree, "
        f"{totals.failed} do not, {totals.refused} refused by the oracle; {seconds:.1f} s"
    )
    return "\n".join(lines)


def _batches(options, start: float) -> Iterator[list[int]]:
    """The seeds, in the pieces that processes get, as long as there is time."""
    if options.seeds:
        yield from (list(options.seeds[i : i + BATCH]) for i in range(0, len(options.seeds), BATCH))
        return
    first = options.seed
    while (left := start + options.seconds - time.monotonic()) > 0:
        size = BATCH if left > SHORT_SECONDS else SMALL_BATCH
        yield list(range(first, first + size))
        first += size


# ---- processes ------------------------------------------------------------------------------------------------


@dataclass
class _Totals:
    count: int = 0
    agreed: int = 0
    refused: int = 0
    failed: int = 0


@dataclass
class _Worker:
    """A process, the file of its standard error, what it works at, and the seeds that it has not finished."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    errors: str
    task: list[int] | Failure | None = None
    seeds: list[int] = field(default_factory=list)
    running: int | None = None
    since: float = 0.0
    batches: int = 0


class _Pool:
    """Hands tasks to worker processes, prints what they find, replaces those that die or hang.

    A task is a list of seeds to run, or a failure to make smaller.
    """

    def __init__(self, options):
        self.options = options
        self.totals = _Totals()
        self.failures: list[Failure] = []
        self.refusals: list[tuple[int, str]] = []
        self.workers: list[_Worker] = []
        self.left: list[list[int] | Failure] = []  # what a dead process has not finished
        self.tasks: Iterator[list[int] | Failure] = iter(())

    def run(self, tasks: Iterator[list[int] | Failure]) -> None:
        """Work until the tasks are used up and every process has finished its own."""
        self.tasks = tasks
        for _ in range(self.options.jobs):
            self._start()
        while self.workers:
            ready = wait([worker.connection for worker in self.workers], timeout=min(5, HANG_SECONDS))
            for worker in list(self.workers):
                silence = HANG_SECONDS + (self.options.shrink_seconds if isinstance(worker.task, Failure) else 0)
                if worker.connection in ready:
                    self._receive(worker)
                elif time.monotonic() > worker.since + silence:
                    worker.process.kill()  # its end of the connection closes, which is what a crash looks like too

    def _start(self) -> None:
        task = self.left.pop() if self.left else next(self.tasks, None)
        if task is None:
            return
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        options = self.options
        handle, errors = tempfile.mkstemp(prefix="ftiny-fuzz-")
        os.close(handle)
        arguments = (theirs, options.device, options.against, options.shrink_seconds, errors)
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours, errors)
        self.workers.append(worker)
        self._hand(worker, task)

    def _hand(self, worker: _Worker, task: list[int] | Failure) -> None:
        worker.task, worker.seeds = task, list(task) if isinstance(task, list) else []
        worker.running, worker.since = None, time.monotonic()
        worker.batches += 1
        worker.connection.send(task)

    def _receive(self, worker: _Worker) -> None:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            self._died(worker)
            return
        worker.since = time.monotonic()
        if kind == "running":
            worker.running = content
        elif kind == "agreed":
            self._finished(worker, content, kind)
        elif kind == "refused":
            self.refusals.append(content)
            self._finished(worker, content[0], kind)
        elif kind == "failed":
            self.failures.append(content)
            print(f"---- {content.program.title}\n{content.message}", flush=True)
            self._finished(worker, content.program.seed, kind)
        elif kind == "script":
            print(content, flush=True)
        elif kind == "done":
            self._next(worker)

    def _finished(self, worker: _Worker, seed: int, what: str) -> None:
        worker.seeds.remove(seed)
        self.totals.count += 1
        setattr(self.totals, what, getattr(self.totals, what) + 1)

    def _next(self, worker: _Worker) -> None:
        task = None if worker.batches >= BATCHES_OF_A_PROCESS else next(self.tasks, None)
        if task is not None:
            self._hand(worker, task)
            return
        worker.connection.send(None)
        self._end(worker)
        self._start()

    def _end(self, worker: _Worker) -> str:
        """Forget a process that ends; returns the last lines of its standard error."""
        worker.process.join()
        self.workers.remove(worker)
        with open(worker.errors, errors="replace") as stream:
            last = "".join(stream.readlines()[-3:])
        os.unlink(worker.errors)
        return last

    def _died(self, worker: _Worker) -> None:
        """The program that was running is a failure; without one the oracle died, and the first seed is given up."""
        last = self._end(worker)
        how = f"the process ended with {worker.process.exitcode}"
        if isinstance(worker.task, Failure):
            print(f"---- seed {worker.task.program.seed} could not be made smaller: {how}\n{last}", flush=True)
        elif worker.seeds:
            culprit = worker.running if worker.running in worker.seeds else worker.seeds[0]
            whose = "ftiny" if culprit == worker.running else "the oracle"
            print(f"---- seed {culprit}: {how} in {whose}\n{last}{generate(culprit).source}", flush=True)
            self._finished(worker, culprit, "failed")
            if worker.seeds:
                self.left.append(worker.seeds)
        self._start()


def _work(connection: Connection, device: str, oracle: str, shrink_seconds: float, errors: str) -> None:
    """What a process does: every task it receives; None, or the end of the parent, ends it.

    What compilers print goes to the file `errors`, which the parent shows if the process dies.
    """
    with open(errors, "a") as stream:
        os.dup2(stream.fileno(), 2)
    warnings.filterwarnings("ignore", message="Non-empty compiler output")
    try:
        while (task := connection.recv()) is not None:
            if isinstance(task, list):
                _work_off(task, connection, device, oracle)
            else:
                _make_smaller(task, connection, device, oracle, shrink_seconds)
            libraries.clear_caches()
            connection.send(("done", None))
    except (EOFError, BrokenPipeError):
        return


def _work_off(seeds: list[int], connection: Connection, device: str, oracle: str) -> None:
    """Report what becomes of each seed."""
    from ftiny.fuzz import checking

    programs = [generate(seed) for seed in seeds]
    started = lambda program: connection.send(("running", program.seed))
    for program, outcome in checking.outcomes(programs, device, oracle, started):
        if isinstance(outcome, Failure):
            connection.send(("failed", outcome))
        elif outcome is None:
            connection.send(("agreed", program.seed))
        else:
            reason = next(iter(str(outcome).splitlines()), "")
            connection.send(("refused", (program.seed, f"{type(outcome).__name__}: {reason[:MOST_OF_A_REASON]}")))


def _make_smaller(failure: Failure, connection: Connection, device: str, oracle: str, seconds: float) -> None:
    """Report the script of a failure that is as small as it gets within the time."""
    from ftiny.fuzz import shrinking

    connection.send(("script", shrinking.script(shrinking.shrink(failure, device, oracle, seconds), device, oracle)))
