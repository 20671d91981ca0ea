#!/usr/bin/env python3
"""Merges result files of peers.py into one Markdown table: ftiny beside each peer, and the ratio to the best of them.

  python benchmarks/table.py OUT.md RESULT.json [RESULT.json ...]

Every file holds one peer's cases of the same run on the same machine. A variant (`mlp_b128@scan`) counts for its peer
under the case's name when it is that peer's fastest. Times are milliseconds in the steady state; `first` is trace,
compile and first run in seconds; the ratio is the best peer's time over ftiny's: above 1 ftiny is ahead.
"""

import json
import sys


def best_variants(result):
    """case -> (ms, variant, first seconds) of the fastest variant of one peer."""
    best = {}
    for name, row in result["cases"].items():
        if "ms" not in row:
            continue
        case, _, variant = name.partition("@")
        if case not in best or row["ms"] < best[case][0]:
            best[case] = (row["ms"], variant, row["first_s"])
    return best


def table(results):
    """The Markdown lines."""
    peers = {r["peer"]: best_variants(r) for r in results}
    others = [p for p in peers if p != "ftiny"]
    lines = [f"- {r['peer']}: {r.get('about', '')}" for r in results] + [""]
    columns = " | ".join(f"{p} ms" for p in others)
    lines.append(f"| case | ftiny ms | {columns} | best peer / ftiny | ftiny first s |")
    lines.append("|---|---|" + "---|" * len(others) + "---|---|")
    cases = [name for r in results if r["peer"] == "ftiny" for name in r["cases"] if "@" not in name]
    for case in cases:
        mine = peers["ftiny"].get(case)
        cells = []
        for p in others:
            ms, variant, _ = peers[p].get(case, (None, "", None))
            cells.append("" if ms is None else f"{ms:.4g}" + (f" @{variant}" if variant else ""))
        known = [peers[p][case][0] for p in others if case in peers[p]]
        ratio = f"{min(known) / mine[0]:.2f}" if mine and known else ""
        own = f"{mine[0]:.4g}" if mine else "missing"
        lines.append(f"| {case} | {own} | " + " | ".join(cells) + f" | {ratio} | {mine[2]:.2f} |" if mine else
                     f"| {case} | {own} | " + " | ".join(cells) + " | | |")
    return lines


def main():
    """Read the files, write and print the table."""
    out, *files = sys.argv[1:]
    results = []
    for name in files:
        with open(name) as f:
            results.append(json.load(f))
    results.sort(key=lambda r: r["peer"] != "ftiny")
    text = "\n".join(table(results)) + "\n"
    with open(out, "w") as f:
        f.write(text)
    print(text)


if __name__ == "__main__":
    main()
