#!/usr/bin/env python3
"""Do the peers compute the same thing?  Runs every case's smoke size (or only some) in each peer on equal inputs and
compares outputs by relative L2 distance to the first peer's.  Exit status 1 if any is over its tolerance.

  python3 yardstick/agree.py [--peers jax,torch-eager,torch,tinygrad] [--only ...] [--device auto|gpu]

Ops: every output (gradients too).  Train steps: 5 losses, and the change of all parameters over those 5 steps.
On a GPU, cases whose products may be TF32 get a tolerance of at least 3e-3.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import spec


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peers", default="jax,torch-eager,torch,tinygrad")
    p.add_argument("--only", default="")
    p.add_argument("--device", default="auto", choices=["auto", "gpu"])
    p.add_argument("--fast", action="store_true", help="torch: default compile mode")
    p.add_argument("--keep", help="keep (and reuse) the outputs here")
    p.add_argument("--budget", default="560")
    args = p.parse_args()
    root, peers = args.keep or tempfile.mkdtemp(prefix="agree-"), args.peers.split(",")
    for peer in peers:
        d = os.path.join(root, peer)
        if args.keep and os.path.isdir(d) and not args.only:
            continue
        os.makedirs(d, exist_ok=True)
        cmd = [
            sys.executable,
            os.path.join(HERE, "peers.py"),
            "--peer",
            peer,
            "--suite",
            "smoke",
            "--check",
            d,
            "--only",
            args.only,
            "--device",
            args.device,
            "--budget",
            args.budget,
            "--log",
            os.path.join(root, peer + ".log"),
        ] + ["--fast"] * args.fast
        print(f"## {peer}", flush=True)
        r = subprocess.run(cmd, stdout=subprocess.PIPE, text=True)
        print("\n".join(l for l in r.stdout.splitlines() if " saved " not in l), flush=True)

    bad = compared = 0
    for name, c in spec.CASES.items():
        got = {}
        for peer in peers:
            d = os.path.join(root, peer)
            for f in sorted(os.listdir(d)):
                if f[:-4].split("@")[0] == name:
                    z = np.load(os.path.join(d, f))
                    got[peer + f[len(name) : -4]] = [z[k] for k in z.files]
        if not got:
            continue
        first, ref = next(iter(got.items()))
        cells = []
        for who, outs in got.items():
            if who == first:
                continue
            if len(outs) != len(ref):
                cells.append(f"{who} {len(outs)} outputs for {len(ref)} !!")
                bad += 1
                continue
            worst = ""
            for k, (a, b) in enumerate(zip(outs, ref)):
                tol = c.dtol if c.kind == "train" and k == 1 else c.tol
                if args.device == "gpu" and c.prec == "tf32":
                    tol = max(tol, 3e-3)
                if a.shape != b.shape:
                    e = np.inf
                else:
                    e = np.linalg.norm((a - b).ravel()) / (np.linalg.norm(b.ravel()) or 1)
                ok = e <= tol  # NaN is not
                worst += ("" if not worst else " ") + f"{e:.0e}" + ("" if ok else f"(>{tol:.0e})!!")
                bad += not ok
                compared += 1
            cells.append(f"{who} {worst}")
        print(f"{name:22} vs {first}: {' | '.join(cells) or 'nobody to compare with'}", flush=True)
    print(f"{compared} comparisons, {bad} over tolerance")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
