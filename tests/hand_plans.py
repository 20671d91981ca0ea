"""Plans of hand-written OpenCL and CUDA kernels, for tests of devices without the compiler.

    plan = single(scale_kernel("opencl", 1000), 1000)     # y = 2 x + n with Scalar 2 and Size n
"""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from ftiny.lowering.plan_types import (
    Arena,
    Argument,
    Buffer,
    Constant,
    Donated,
    Graph,
    KernelParam,
    KernelSource,
    Launch,
    Plan,
    Pointer,
    Result,
    Scalar,
    Size,
)

F32 = np.dtype(np.float32)
I32 = np.dtype(np.int32)


def aval(shape, dtype=F32):
    """What `to_host` needs of an aval."""
    return SimpleNamespace(shape=tuple(shape), dtype=np.dtype(dtype), size=int(np.prod(shape)))


def kernel(dialect, name, n, arrays, body, scalars=(), written=("y",), equations=()) -> KernelSource:
    """A kernel of one element per work-item: `body` uses i and the names of `arrays` and `scalars`."""
    block = 64 if dialect == "cuda" else 1
    space = "" if dialect == "cuda" else "__global "
    kinds = {F32: "float", I32: "int", np.dtype(bool): "uchar" if dialect == "opencl" else "unsigned char"}
    signature = [f"{space}{'' if a in written else 'const '}{kinds[d]}* {a}" for a, d in arrays]
    signature += [f"{kinds[d]} {s}" for s, d in scalars]
    head = (f'extern "C" __global__ void {name}' if dialect == "cuda"
            else f"__kernel __attribute__((reqd_work_group_size({block},1,1))) void {name}")
    index = "blockIdx.x * 64 + threadIdx.x" if dialect == "cuda" else "get_global_id(0)"
    text = f"{head}({', '.join(signature)}) {{\n  int i = {index};\n  if (i < {n}) {{ {body} }}\n}}\n"
    params = tuple(KernelParam(a, d, "pointer", a in written) for a, d in arrays)
    params += tuple(KernelParam(s, d, "scalar") for s, d in scalars)
    return KernelSource(name, text, name, params, (max(-(-n // block), 1), 1, 1), (block, 1, 1),
                        flops=2 * n, bytes=8 * n, equations=equations)


def single(dialect: str, n: int, name="scaled", equations=()) -> Plan:
    """y = 2 x + k, k a size of value 7."""
    source = kernel(dialect, name, n, [("x", F32), ("y", F32)], "y[i] = a * x[i] + k;",
                    [("a", F32), ("k", I32)], equations=equations)
    args = (Pointer("x"), Pointer("y"), Scalar(2.0, F32), Size("k"))
    return Plan((Buffer("x", (n,), F32, owner=Argument(0)), Buffer("y", (n,), F32, owner=Result(0))),
                (source,), (Graph((Launch(0, args),)),), 0, ("x",), ("y",), sizes=(("k", 7),))


def chain(dialect: str, n: int, length: int) -> Plan:
    """`length` dependent launches of one kernel, y = ... (x + 1) + 1, through two arena buffers."""
    source = kernel(dialect, "increment", n, [("x", F32), ("y", F32)], "y[i] = x[i] + 1.0f;")
    step = -(-4 * n // 512) * 512
    buffers = (Buffer("x", (n,), F32, owner=Argument(0)), Buffer("y", (n,), F32, owner=Result(0)),
               Buffer("t0", (n,), F32, owner=Arena(0)), Buffer("t1", (n,), F32, owner=Arena(step)))
    names = ["x"] + [f"t{k % 2}" for k in range(length - 1)] + ["y"]
    launches = tuple(Launch(0, (Pointer(a), Pointer(b))) for a, b in zip(names, names[1:], strict=False))
    return Plan(buffers, (source,), (Graph(launches),), 2 * step, ("x",), ("y",))


def step_plan(dialect: str, n: int) -> Plan:
    """An optimiser step: m and p are donated and updated in place, g and a constant are read."""
    source = kernel(dialect, "momentum", n, [("g", F32), ("c", F32), ("m", F32), ("p", F32)],
                    "float v = 0.5f * m[i] + g[i] * c[i]; m[i] = v; p[i] -= v;", written=("m", "p"))
    constant = np.linspace(0, 1, n, dtype=np.float32)
    owners = {"p0": Argument(0), "m0": Argument(1), "g": Argument(2), "c": Constant(0),
              "p": Donated(0), "m": Donated(1)}
    buffers = tuple(Buffer(name, (n,), F32, owner=owner) for name, owner in owners.items())
    launch = Launch(0, (Pointer("g"), Pointer("c"), Pointer("m"), Pointer("p")))
    return Plan(buffers, (source,), (Graph((launch,)),), 0, ("p0", "m0", "g"), ("p", "m"), (constant.tobytes(),))


def momentum(p, m, g):
    """What `step_plan` computes."""
    v = np.float32(0.5) * m + g * np.linspace(0, 1, len(p), dtype=np.float32)
    return p - v, v


def add_plan(dialect: str, n: int, name="added", constant=0.0) -> Plan:
    """Two arguments, one result: z = x + y + constant."""
    source = kernel(dialect, name, n, [("x", F32), ("y", F32), ("z", F32)],
                    f"z[i] = x[i] + y[i] + {constant}f;", written=("z",))
    buffers = (Buffer("x", (n,), F32, owner=Argument(0)), Buffer("y", (n,), F32, owner=Argument(1)),
               Buffer("z", (n,), F32, owner=Result(0)))
    launch = Launch(0, (Pointer("x"), Pointer("y"), Pointer("z")))
    return Plan(buffers, (source,), (Graph((launch,)),), 0, ("x", "y"), ("z",))


def below_plan(dialect: str, limit: float) -> Plan:
    """cond of a while loop: x[0] < limit."""
    flag = np.dtype(bool)
    source = kernel(dialect, "below", 1, [("x", F32), ("y", flag)], f"y[i] = x[i] < {limit}f;")
    buffers = (Buffer("x", (3,), F32, owner=Argument(0)), Buffer("y", (), flag, owner=Result(0)))
    return Plan(buffers, (source,), (Graph((Launch(0, (Pointer("x"), Pointer("y"))),)),), 0, ("x",), ("y",))
