#!/usr/bin/env python3
"""The machine's own limits, to judge any library's figures against (torch only; CUDA, or a CPU stand-in to test it).

  python3 yardstick/limits.py [--json OUT.json]

copy / read bandwidth; cuBLAS peaks (fp32, tf32, bf16, fp16); launch latency of an empty kernel (asynchronous rate
and one launch + sync) through torch and, if cupy is there, straight through the driver; CUDA graph replay per node;
host-to-device and device-to-host copies. Random data. About 40 s on an H100.
"""

import argparse
import json
import statistics
import time

import torch

CUDA = torch.cuda.is_available()
DEV = "cuda" if CUDA else "cpu"
OUT = {}


def put(name, value, unit, note=""):
    OUT[name] = dict(value=value, unit=unit, note=note)
    print(f"{name:34} {value:12,.3f} {unit:9} {note}", flush=True)


def sync():
    if CUDA:
        torch.cuda.synchronize()


def device_seconds(f, n, reps=20):
    """Median seconds a call, by CUDA events around n back-to-back calls (host clock on a CPU)."""
    for _ in range(3):
        f()
    sync()
    ts = []
    for _ in range(reps):
        if CUDA:
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            for _ in range(n):
                f()
            b.record()
            b.synchronize()
            ts.append(a.elapsed_time(b) / 1e3 / n)
        else:
            t = time.perf_counter()
            for _ in range(n):
                f()
            ts.append((time.perf_counter() - t) / n)
    return statistics.median(ts)


def host_seconds(f, n, reps=20):
    """Median host seconds a call: n back-to-back calls and one sync."""
    for _ in range(10):
        f()
    sync()
    ts = []
    for _ in range(reps):
        t = time.perf_counter()
        for _ in range(n):
            f()
        sync()
        ts.append((time.perf_counter() - t) / n)
    return statistics.median(ts)


def bandwidth():
    n = 1 << (29 if CUDA else 22)
    a = torch.randn(n, device=DEV)
    b = torch.empty_like(a)
    put(
        "copy",
        8 * n / device_seconds(lambda: b.copy_(a), 5) / 1e9,
        "GB/s",
        f"read+written, {4 * n / 1e9:.1f} GB buffer",
    )
    put("fill", 4 * n / device_seconds(lambda: b.fill_(1.5), 5) / 1e9, "GB/s", "written")
    put("read (sum)", 4 * n / device_seconds(lambda: a.sum(), 5) / 1e9, "GB/s", "read")
    c = torch.randn(n, device=DEV)
    put("add (2 reads, 1 write)", 12 * n / device_seconds(lambda: torch.add(a, c, out=b), 5) / 1e9, "GB/s")
    m = 1 << (22 if CUDA else 16)
    a, b = a[:m].clone(), b[:m].clone()
    put("copy within L2", 8 * m / device_seconds(lambda: b.copy_(a), 20) / 1e9, "GB/s", f"{4 * m / 1e6:.0f} MB buffer")


def matmul_peaks():
    for n in (4096, 8192) if CUDA else (256,):
        for name, dt, prec in (
            ("fp32", torch.float32, "highest"),
            ("tf32", torch.float32, "high"),
            ("bf16", torch.bfloat16, "high"),
            ("fp16", torch.float16, "high"),
        ):
            torch.set_float32_matmul_precision(prec)
            a, b = torch.randn(n, n, device=DEV).to(dt), torch.randn(n, n, device=DEV).to(dt)
            c = torch.empty_like(a)
            k = 3 if name == "fp32" else 10
            t = device_seconds(lambda: torch.mm(a, b, out=c), k)
            put(f"matmul {name} {n}", 2 * n**3 / t / 1e12, "TFLOP/s", f"{t * 1e3:.3f} ms")


def launches():
    x = torch.randn(8, device=DEV)
    put("torch x+1: host, asynchronous", 1e6 * host_seconds(lambda: x + 1, 2000), "us/call")
    put("torch x.add_(1): host, async", 1e6 * host_seconds(lambda: x.add_(1), 2000), "us/call")

    def one():
        x.add_(1)
        sync()

    put("torch x.add_(1) then sync", 1e6 * host_seconds(one, 50), "us")
    if not CUDA:
        return
    try:
        import cupy

        k = cupy.RawKernel('extern "C" __global__ void empty() {}', "empty")
        cs = lambda: cupy.cuda.Device().synchronize()
        put("empty kernel (cupy RawKernel), async", 1e6 * host_seconds(lambda: k((1,), (32,), ()), 2000), "us/call")

        def one():
            k((1,), (32,), ())
            cs()

        put("empty kernel then sync", 1e6 * host_seconds(one, 50), "us")
        k2 = cupy.RawKernel('extern "C" __global__ void empty() {}', "empty")
        s = cupy.cuda.Stream(non_blocking=True)
        for nodes in (1, 100, 1000):
            with s:
                s.begin_capture()
                for _ in range(nodes):
                    k2((1,), (32,), ())
                g = s.end_capture()

            def replay():
                g.launch(s)

            for _ in range(5):
                replay()
            s.synchronize()
            ts = []
            for _ in range(20):
                t = time.perf_counter()
                for _ in range(20):
                    replay()
                s.synchronize()
                ts.append((time.perf_counter() - t) / 20)
            t = statistics.median(ts)
            put(f"graph of {nodes} empty kernels", 1e6 * t, "us/replay", f"{1e6 * t / nodes:.3f} us/node")
    except Exception as e:
        print("cupy part:", repr(e)[:200])


def graphs():
    if not CUDA:
        return
    x = torch.randn(8, device=DEV)
    for nodes in (1, 100, 1000):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            x.add_(1)
        torch.cuda.current_stream().wait_stream(side)
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g):
            for _ in range(nodes):
                x.add_(1)
        t = host_seconds(g.replay, max(2, 2000 // nodes))
        put(f"graph of {nodes} dependent x.add_(1)", 1e6 * t, "us/replay", f"{1e6 * t / nodes:.3f} us/node")

        def one():
            g.replay()
            sync()

        put(f"graph of {nodes}, replay then sync", 1e6 * host_seconds(one, 20), "us")


def host_copies():
    if not CUDA:
        return
    n = 1 << 28
    d, h = torch.empty(n, dtype=torch.uint8, device=DEV), torch.randint(0, 255, (n,), dtype=torch.uint8)
    p = h.pin_memory()
    put("host to device, pinned", n / device_seconds(lambda: d.copy_(p, non_blocking=True), 2, 8) / 1e9, "GB/s")
    put("host to device, pageable", n / device_seconds(lambda: d.copy_(h), 1, 5) / 1e9, "GB/s")
    put("device to host, pinned", n / device_seconds(lambda: p.copy_(d, non_blocking=True), 2, 8) / 1e9, "GB/s")
    if torch.cuda.device_count() > 1:
        e = torch.empty(n, dtype=torch.uint8, device="cuda:1")

        def peer():
            e.copy_(d, non_blocking=True)

        peer()
        torch.cuda.synchronize(0)
        torch.cuda.synchronize(1)
        ts = []
        for _ in range(10):
            t = time.perf_counter()
            for _ in range(4):
                peer()
            torch.cuda.synchronize(0)
            torch.cuda.synchronize(1)
            ts.append((time.perf_counter() - t) / 4)
        put("device to device (peer)", n / statistics.median(ts) / 1e9, "GB/s")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json")
    args = p.parse_args()
    if CUDA:
        d = torch.cuda.get_device_properties(0)
        print(
            f"# {d.name}, {d.multi_processor_count} SMs, {d.total_memory / 2**30:.0f} GiB, "
            f"L2 {d.L2_cache_size / 2**20:.0f} MiB, torch {torch.__version__}"
        )
    t = time.time()
    for part in (bandwidth, matmul_peaks, launches, graphs, host_copies):
        try:
            part()
        except Exception as e:
            print(f"{part.__name__}: {e!r}"[:300])
        if CUDA:
            torch.cuda.empty_cache()
    print(f"# {time.time() - t:.0f} s")
    if args.json:
        json.dump(OUT, open(args.json, "w"), indent=1)


if __name__ == "__main__":
    main()
