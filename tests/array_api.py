"""Runs the test suite of the Python array API standard, 2024.12, on `ftiny.numpy`.

Input: a checkout of https://github.com/data-apis/array-api-tests with its submodule `array-api`, in an environment that
also has the suite's `requirements.txt`. Output: the counts, and exit status 1 when a test fails that is not in
`array_api_failures.txt`, or one that is there passes:

    git clone --recursive https://github.com/data-apis/array-api-tests
    pip install -r array-api-tests/requirements.txt
    python tests/array_api.py array-api-tests --device numpy --max-examples 30

    --select TEXT       only the tests that pytest's -k picks
    --skips-file FILE   leaves out the tests listed there, for example those of jax's tests/array_api_skips.txt

The suite draws the same examples in every run. The ledger was made with 30 of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

VERSION = "2024.12"
LEDGER = Path(__file__).parent / "array_api_failures.txt"
SOMETIMES = "sometimes"


def read_ledger(path: Path = LEDGER) -> dict[str, str]:
    """The names of the tests that are expected to fail, each with its reason: the comment above it."""
    expected: dict[str, str] = {}
    comment: list[str] = []
    after_test = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment = [] if after_test else comment
            comment.append(line.removeprefix("#").strip())
        elif line.strip():
            expected[line] = " ".join(comment)
        else:
            comment = []
        after_test = bool(line) and not line.startswith("#")
    return expected


def surprises(outcomes: dict[str, str], expected: dict[str, str]) -> list[str]:
    """What differs from the ledger, one line each.

    A test whose reason begins with 'sometimes' may pass: it fails only when an example of the right kind is drawn.
    """
    lines = [
        f"fails, but is not listed: {name}"
        for name, outcome in outcomes.items()
        if outcome in ("failed", "error") and name not in expected
    ]
    lines += [
        f"is listed, but passes: {name}"
        for name, reason in expected.items()
        if outcomes.get(name) == "passed" and not reason.startswith(SOMETIMES)
    ]
    return lines


def run_suite(arguments: argparse.Namespace) -> dict[str, str]:
    """The outcome of each test: 'passed', 'failed', 'skipped', ..."""
    suite = Path(arguments.suite).resolve()
    root = Path(__file__).resolve().parent.parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "FTINY_DEVICE": arguments.device,
        "ARRAY_API_TESTS_MODULE": "ftiny.numpy",
        "ARRAY_API_TESTS_VERSION": VERSION,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pytest", "array_api_tests", "-q", "--tb=no", "--disable-warnings"]
        command += ["-p", "no:cacheprovider", "--derandomize", "--disable-deadline"]
        command += ["--max-examples", str(arguments.max_examples), "--json-report", f"--json-report-file={report}"]
        if arguments.select:
            command += ["-k", arguments.select]
        if arguments.skips_file:
            command += ["--skips-file", str(Path(arguments.skips_file).resolve())]
        subprocess.run(command, cwd=suite, env=environment, check=False)
        if not report.exists():
            raise SystemExit(f"{suite} gave no report: is it a checkout of array-api-tests, and its requirements here?")
        tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    return {test["nodeid"]: test["outcome"] for test in tests}


def main() -> int:
    """Runs the suite, prints what came of it, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="a checkout of array-api-tests")
    parser.add_argument("--device", default="numpy", help="numpy, opencl, cuda, ...")
    parser.add_argument("--max-examples", type=int, default=30)
    parser.add_argument("--select", default="")
    parser.add_argument("--skips-file", default="")
    arguments = parser.parse_args()
    outcomes = run_suite(arguments)
    counts = Counter(outcomes.values())
    passed, failed = counts["passed"], counts["failed"] + counts["error"]
    listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    print(f"array API {VERSION} on {arguments.device}, {arguments.max_examples} examples: {listed}")
    print(f"{passed} of {passed + failed} tests pass ({100 * passed / max(1, passed + failed):.2f} %)")
    unexpected = surprises(outcomes, read_ledger())
    print("\n".join(unexpected) if unexpected else "nothing differs from the ledger")
    return 1 if unexpected or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
