"""How a case is timed; the same for every peer.

  first_s   the first call to completion: trace + compile + run
  ready_s   the first three calls together (TinyJit captures in call 2, torch's reduce-overhead in calls 2-3)
  ms        steady state: median over >= 20 reps of [n back-to-back calls, one sync at the end] / n
  lat_ms    median over >= 20 of [one call, sync]
Fewer reps than 20 are taken only when `budget_s` runs out (slow cases on a CPU); `reps` says how many.
"""

import statistics
import time

now = time.perf_counter


def measure(call, sync, budget_s=20.0, batch_s=0.05, keep_all=False):
    """call(i) -> out starts the i-th call and may return before it ends; sync(out) waits for it (and all before it).
    keep_all: sync gets the list of all outputs of a batch, for runtimes that may run independent calls out of order."""
    i = 0

    def batch(n):
        nonlocal i
        t, outs = now(), []
        for _ in range(n):
            out = call(i)
            i += 1
            if keep_all:
                outs.append(out)
        sync(outs if keep_all else out)
        return now() - t

    first = batch(1)
    ready = first + batch(1) + batch(1)
    t_warm = now()
    while now() - t_warm < min(0.2, budget_s / 10):
        batch(1)

    lat, stop = [], now() + budget_s / 2
    t0 = now()
    while (len(lat) < 20 or now() - t0 < 0.1) and len(lat) < 1000 and (now() < stop or len(lat) < 5):
        lat.append(batch(1))
    est = statistics.median(lat)

    n = max(2, min(5000, round(batch_s / est)))
    est = batch(n) / n  # the steady rate may be far above the single-call rate
    n = max(2, min(5000, round(batch_s / est)))
    reps, stop = [], now() + budget_s / 2
    while len(reps) < 20 and (now() < stop or len(reps) < 3):
        reps.append(batch(n) / n)
    reps.sort()
    return dict(
        ms=1e3 * statistics.median(reps),
        min_ms=1e3 * reps[0],
        p90_ms=1e3 * reps[int(0.9 * (len(reps) - 1))],
        lat_ms=1e3 * statistics.median(lat),
        first_s=first,
        ready_s=ready,
        reps=len(reps),
        calls_per_rep=n,
    )


def figures(work, ms, steps=1):
    """Derived rates from the case's work per step and the time per call (of `steps` steps)."""
    s = ms / 1e3 / steps
    f = {}
    if "tokens" in work:
        f["tok/s"] = work["tokens"] / s
    if "images" in work:
        f["img/s"] = work["images"] / s
    if "bytes" in work:
        f["GB/s"] = work["bytes"] / s / 1e9
    if "flops" in work:
        f["TFLOP/s"] = work["flops"] / s / 1e12
    return f
