#!/usr/bin/env python3
"""Run the yardstick's cases with one peer library.

  python3 yardstick/peers.py --peer jax|torch|torch-eager|tinygrad --suite gpu|cpu|smoke
                             [--only NAME|GROUP|PREFIX*|NAME@VARIANT,...] [--fast] [--json OUT.json]

A worker process runs the cases one after another; the parent starts a fresh one after a failure, a time-out
or before a case whose peak memory is wanted, so one failing case never stops the rest.  OUT.json is rewritten
after every case.  --check DIR (used by agree.py) saves outputs instead of timing.
To add a library: write cases_<peer>.py with a class Peer (see peer_base.py) and name it in PEERS.
"""

import argparse
import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import spec
from timing import figures, measure

PEERS = {
    "ftiny": "cases_ftiny",
    "jax": "cases_jax",
    "torch": "cases_torch",
    "torch-eager": "cases_torch",
    "tinygrad": "cases_tinygrad",
}
TAG = "@@yardstick "


# ---- worker: runs cases in this process ----------------------------------------------------------------------
def make_peer(args):
    os.environ["YARDSTICK_PEER"], os.environ["YARDSTICK_SUITE"] = args.peer, args.suite
    mod = __import__(PEERS[args.peer])
    return mod.Peer(eager=args.peer == "torch-eager", fast=args.fast, gpu=args.suite == "gpu" or args.device == "gpu")


def run_case(peer, name, args):
    base, _, variant = name.partition("@")
    case = spec.CASES[base]
    s = case.s(args.suite)
    if args.check:
        import numpy as np

        s.random = False
        outs = peer.check(case, s, variant)
        np.savez(os.path.join(args.check, name + ".npz"), *[np.asarray(o, np.float64) for o in outs])
        return dict(checked=len(outs))
    run = peer.prepare(case, s, variant)
    m0 = peer.memory_start()
    r = measure(run.call, run.sync, budget_s=args.case_seconds, keep_all=peer.keep_all)
    if run.steps > 1:  # a call that runs several steps: report times per step
        for k in ("ms", "min_ms", "p90_ms", "lat_ms"):
            r[k] /= run.steps
        r["steps_per_call"] = run.steps
    r.update(figures=figures(case.work(s), r["ms"]), peak_mb=peer.memory_peak_mb(m0))
    return r


def worker(args):
    peer = make_peer(args)
    print(TAG + json.dumps(dict(hello=peer.about())), flush=True)
    for base in args.worker.split(","):
        names = [base]
        if "@" not in base:
            names += [f"{base}@{v}" for v in peer.variants(spec.CASES[base])]
        for k, name in enumerate(names):
            print(TAG + json.dumps(dict(begin=name, base=base, rest=names[k + 1 :])), flush=True)
            t = time.perf_counter()
            try:
                r = run_case(peer, name, args)
            except peer.Missing as e:
                r = dict(missing=str(e))
            except BaseException as e:
                import traceback

                traceback.print_exc()
                r = dict(error=f"{type(e).__name__}: {e}"[:400])
            peer.after_case()
            print(TAG + json.dumps(dict(name=name, wall_s=round(time.perf_counter() - t, 2), **r)), flush=True)
            if "error" in r:
                os._exit(3)  # a clean process for the next case
    print(TAG + json.dumps(dict(done=True)), flush=True)
    sys.stdout.flush()
    os._exit(0)


# ---- parent: starts workers, watches the clock ----------------------------------------------------------------
def spawn(args, names, log):
    cmd = [
        sys.executable,
        os.path.abspath(__file__),
        "--worker",
        ",".join(names),
        "--peer",
        args.peer,
        "--suite",
        args.suite,
        "--case-seconds",
        str(args.case_seconds),
        "--device",
        args.device,
    ]
    if args.fast:
        cmd.append("--fast")
    if args.check:
        cmd += ["--check", args.check]
    return subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=log, text=True, cwd=HERE)


def line(r):
    if "missing" in r:
        return f"{r['name']:26} -- not for this peer: {r['missing']}"
    if "error" in r:
        return f"{r['name']:26} !! {r['error'][:150]}"
    if "checked" in r:
        return f"{r['name']:26} saved {r['checked']} outputs"
    fig = "  ".join(f"{v:,.3g} {k}" if v < 1e4 else f"{v:,.0f} {k}" for k, v in r["figures"].items())
    peak = f"peak {r['peak_mb']:,.0f} MB" if r.get("peak_mb") is not None else ""
    times = f"{r['ms']:10.4f} ms  lat {r['lat_ms']:10.4f} ms  first {r['first_s']:6.2f} s  ready {r['ready_s']:6.2f} s"
    return f"{r['name']:26} {times}  {fig}  {peak}"


def parent(args):
    todo = [
        n
        for n in spec.select(args.only.split(",") if args.only else [])
        if args.suite in spec.CASES[n.split("@")[0]].suites
    ]
    if args.skip:
        drop = {n for n in spec.select(args.skip.split(","))}
        todo = [n for n in todo if n not in drop]
    out = dict(
        peer=args.peer,
        suite=args.suite,
        fast=args.fast,
        host=platform.node(),
        python=platform.python_version(),
        argv=sys.argv[1:],
        cases={},
    )
    start, log = time.time(), open(args.log or os.devnull, "a")

    def save(r):
        out["cases"][r["name"]] = r
        print(line(r), flush=True)
        out["wall_s"] = round(time.time() - start, 1)
        if args.json:
            with open(args.json + ".tmp", "w") as f:
                json.dump(out, f, indent=1)
            os.replace(args.json + ".tmp", args.json)

    while todo:
        if time.time() - start > args.budget:
            for n in todo:
                save(dict(name=n, error=f"skipped: --budget {args.budget:.0f} s spent"))
            break
        # an isolated case goes alone, others share a worker
        iso = lambda n: args.isolate or (spec.CASES[n.split("@")[0]].isolate and not args.check)
        k = 1
        if not iso(todo[0]):
            while k < len(todo) and not iso(todo[k]):
                k += 1
        group, todo = todo[:k], todo[k:]
        proc, q = spawn(args, group, log), queue.Queue()

        def pump(proc=proc, q=q):
            for l in proc.stdout:
                if l.startswith(TAG):
                    q.put(json.loads(l[len(TAG) :]))
                else:
                    log.write(l)
            q.put(None)

        threading.Thread(target=pump, daemon=True).start()
        at, current, why = dict(begin=group[0], base=group[0], rest=[]), None, None
        while True:
            left = min(args.limit, max(5.0, args.budget + 20 - (time.time() - start)))
            try:
                m = q.get(timeout=left if current else max(left, 60))
            except queue.Empty:
                why = f"time limit: {left:.0f} s"
                proc.kill()
                break
            if m is None:
                why = f"worker died with status {proc.wait()}"
                break
            if "hello" in m:
                if "about" not in out:
                    out["about"] = m["hello"]
                    print("#", m["hello"], flush=True)
            elif "begin" in m:
                at, current = m, m["begin"]
                if args.verbose:
                    print(f"... {current}", flush=True)
            elif "name" in m:
                save(m)
                current = None
                if "error" in m:
                    why = ""
                    break  # reported; the worker has left
            elif "done" in m:
                break
        proc.wait()
        if why and "about" not in out:  # the peer itself does not start: no use trying the other cases
            print(f"# {args.peer} does not start ({why}); see --log", flush=True)
            sys.exit(1)
        if why:
            save(dict(name=at["begin"], error=why))
        if why is not None:  # what of this group has not been run yet goes to the next worker
            todo = at["rest"] + group[group.index(at["base"]) + 1 :] + todo
    save_note = f"wrote {args.json}" if args.json else ""
    print(f"# {args.peer} {args.suite}: {len(out['cases'])} cases in {time.time() - start:.0f} s. {save_note}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peer", required=True, choices=list(PEERS))
    p.add_argument("--suite", required=True, choices=["gpu", "cpu", "smoke"])
    p.add_argument("--only", default="", help="comma-separated case names, groups, PREFIX*, or NAME@VARIANT")
    p.add_argument("--skip", default="", help="the same, left out")
    p.add_argument(
        "--fast", action="store_true", help="torch: default compile mode instead of max-autotune/reduce-overhead"
    )
    p.add_argument("--json", help="results file")
    p.add_argument("--log", default="", help="append the workers' stderr here")
    p.add_argument("--limit", type=float, default=150, help="seconds a case may take, all in")
    p.add_argument("--budget", type=float, default=560, help="seconds after which the rest is skipped")
    p.add_argument("--case-seconds", type=float, default=None, help="measuring time a case (compile apart)")
    p.add_argument(
        "--device", default="auto", choices=["auto", "gpu", "cpu"], help="for the smoke suite: gpu runs it there"
    )
    p.add_argument("--isolate", action="store_true", help="a fresh process for every case")
    p.add_argument("--verbose", action="store_true")
    p.add_argument("--check", help=argparse.SUPPRESS)
    p.add_argument("--worker", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.case_seconds is None:
        args.case_seconds = {"gpu": 12.0, "cpu": 12.0, "smoke": 0.2}[args.suite]
    worker(args) if args.worker else parent(args)


if __name__ == "__main__":
    main()
