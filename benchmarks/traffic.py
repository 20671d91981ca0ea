"""How many bytes the memory-bound cases move, by the GPU's own counters, against the least bytes possible.

    python benchmarks/traffic.py [CASE ...]        a Markdown table on standard output; needs Nsight Compute (`ncu`)

The least bytes are those of `spec.py`: every input read once, every output written once. Each case runs twice in a
process of its own under `ncu`; the second run is counted (`dram__bytes_read`, `dram__bytes_write`, kernel by kernel,
with a cold cache for each kernel, so that what one kernel leaves for the next one in the cache counts as read again).
"""

import csv
import io
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = ("pointwise", "sum", "softmax", "layernorm_fwd", "layernorm_bwd", "xent", "transpose", "cumsum", "gather",
         "scatter_add")
METRICS = ("dram__bytes_read.sum", "dram__bytes_write.sum", "gpu__time_duration.sum")


def run_case(name):
    """In the child: the case once to compile it, and once more between the profiler's marks."""
    import cases_ftiny
    import pycuda.driver as cuda
    import spec

    case = spec.CASES[name]
    peer = cases_ftiny.Peer(gpu=True, fast=True)
    run = peer.prepare(case, case.s("gpu"), "")
    for number in (0, 1):
        run.sync(run.call(number))
    import ftiny

    with ftiny.default_device().active():
        cuda.start_profiler()
        run.sync(run.call(2))
        cuda.stop_profiler()


def counted(name):
    """(kernels, bytes, milliseconds) of one run of a case."""
    command = ["ncu", "--profile-from-start", "off", "--clock-control", "none", "--csv", "--print-units", "base",
               "--metrics", ",".join(METRICS), sys.executable, os.path.join(HERE, "traffic.py"), "--child", name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    table = done.stdout[done.stdout.find('"ID"'):]
    rows = list(csv.DictReader(io.StringIO(table))) if '"ID"' in done.stdout else []
    if not rows:
        raise SystemExit(f"{' '.join(command)} counted nothing:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    value = lambda row: float(row["Metric Value"].replace(",", ""))
    moved = sum(value(row) for row in rows if row["Metric Name"].startswith("dram__bytes"))
    time = sum(value(row) for row in rows if row["Metric Name"].startswith("gpu__time"))
    return len({row["ID"] for row in rows}), moved, time * 1e-6


def main():
    """Count the cases that are named, or all."""
    if sys.argv[1:2] == ["--child"]:
        run_case(sys.argv[2])
        return
    import spec

    print("| case | kernels | least MB | moved MB | moved / least | ms, counted |\n|---|---|---|---|---|---|")
    for name in sys.argv[1:] or CASES:
        case = spec.CASES[name]
        least = case.work(case.s("gpu"))["bytes"]
        kernels, moved, time = counted(name)
        ratio = moved / least
        print(f"| {name} | {kernels} | {least / 1e6:.0f} | {moved / 1e6:.0f} | {ratio:.2f} | {time:.4f} |", flush=True)


if __name__ == "__main__":
    main()
