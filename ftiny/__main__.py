"""`python -m ftiny`: the command line.

Input: a subcommand and its options. Output: its report, and an exit status:

    $ python -m ftiny fuzz --seconds 60 --seed 0 --device opencl:0
    ftiny on opencl:0 against jax 0.10.2; seeds from 0, for 60 s, processes: 1
    ...
    312 programs (seeds 0:312): 312 agree, 0 do not, 0 refused by the oracle; 61.2 s

Exit status: 0 where all is well, 1 where a program failed, 2 for a bad option.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ftiny.fuzz import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ftiny", description="Tools that come with ftiny.")
    subcommands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    command.add_parser(subcommands)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    raise SystemExit(main())
