"""The yardstick's cases in tinygrad with TinyJit (NCHW, its own layout).

BEAM=N in the environment turns its search on.

Missing: lstm (no loop construct: 256 unrolled steps), gpt2_dp2.  dispatch does not thread its outputs back in.
On a GPU: the CUDA backend through NVRTC; set DEV, NVRTC_PATH or CUDA_PATH if it does not find them.
"""

import glob
import importlib.util
import os
import shutil

GPU = os.path.exists("/dev/nvidiactl") and os.environ.get("YARDSTICK_SUITE") != "cpu"
os.environ.setdefault("DEV", "CUDA" if GPU else "CPU")
if GPU:
    spec_ = importlib.util.find_spec("nvidia")
    for root in spec_.submodule_search_locations if spec_ else []:
        for lib in glob.glob(f"{root}/**/libnvrtc.so.*", recursive=True):
            os.environ.setdefault("NVRTC_PATH", lib)
        for inc in glob.glob(f"{root}/**/include/cuda_fp16.h", recursive=True):
            if not os.path.exists("/usr/local/cuda/include/cuda_fp16.h"):
                os.environ.setdefault("CUDA_PATH", inc.split("/include/")[0])
elif not shutil.which("clang"):  # its CPU backend calls clang (19 or newer: older ones cannot cast to bf16)
    for v in range(25, 13, -1):
        if shutil.which(f"clang-{v}"):
            os.environ.setdefault("CC", f"clang-{v}")
            break
import numpy as np
from peer_base import PeerBase, Train, registry
from tinygrad import Device, Tensor, TinyJit, dtypes, nn
from tinygrad.helpers import ALLOW_TF32, BEAM, Context, GlobalCounters

builders, case = registry()
DT = {"f32": dtypes.float32, "bf16": dtypes.bfloat16, "fp16": dtypes.float16}
sync_device = lambda: Device[Device.DEFAULT].synchronize()


class Peer(PeerBase):
    builders = builders

    def __init__(self, **kw):
        super().__init__(**kw)
        if kw["gpu"] and Device.DEFAULT not in ("CUDA", "NV"):
            raise SystemExit(f"tinygrad is on {Device.DEFAULT}")
        self.gpu = Device.DEFAULT in ("CUDA", "NV")

    def about(self):
        from importlib.metadata import version

        return f"tinygrad {version('tinygrad')} on {Device.DEFAULT} BEAM={BEAM.value}"

    def setup_case(self, case, s):
        ALLOW_TF32.value = int(s.prec != "f32" and self.gpu)

    def tensor(self, a, dtype="f32"):
        t = Tensor(np.ascontiguousarray(a))
        if a.dtype == np.float32:
            t = t.cast(DT[dtype])
        return t.contiguous().realize()

    def load(self, case, arrays):
        def relay(i, a):  # NHWC -> NCHW, HWIO -> OIHW
            if case.fn not in ("conv", "conv_dx", "conv_dw"):
                return a
            return (
                a.transpose(3, 2, 0, 1)
                if {"conv": i == 1, "conv_dx": i == 0, "conv_dw": False}[case.fn]
                else a.transpose(0, 3, 1, 2)
            )

        ts = [self.tensor(relay(i, a), case.dtype) for i, a in enumerate(arrays)]
        sync_device()
        return ts

    def compile_op(self, f, case, s):
        @TinyJit
        def jitted(*a):
            out = f(*a)
            out = [o.contiguous() for o in (out if isinstance(out, (tuple, list)) else (out,))]
            Tensor.realize(*out)
            return tuple(out)

        return jitted

    def sync(self, out):
        sync_device()

    def host(self, case, out):
        outs = [o.float().numpy() for o in out]
        if case.fn in ("conv", "conv_dx"):
            outs = [o.transpose(0, 2, 3, 1) for o in outs]
        if case.fn == "conv_dw":
            outs = [o.transpose(2, 3, 1, 0) for o in outs]
        return outs

    def memory_peak_mb(self, start):
        return GlobalCounters.mem_used / 2**20 if self.gpu else None  # held after the run


def grad_op(fwd, wrt, cotangent=True):
    def f(*a):
        y = fwd(*(a[:-1] if cotangent else a))
        return y, *y.gradient(*a[:wrt], gradient=a[-1] if cotangent else None)

    return f


# ---- memory-bound ------------------------------------------------------------------------------------------
case("pointwise")(lambda peer, s: lambda a, b, c: (a * b + c).gelu() * a.sigmoid())
case("sum")(lambda peer, s: lambda x: x.sum())
case("softmax")(lambda peer, s: lambda x: x.softmax(-1))
layer_norm = lambda x, g, b: x.layernorm(-1, 1e-5) * g + b
case("layernorm")(lambda peer, s: layer_norm)
case("layernorm_grad")(lambda peer, s: grad_op(layer_norm, 3))
case("xent")(lambda peer, s: grad_op(lambda z, y: z.sparse_categorical_crossentropy(y), 1, cotangent=False))
case("transpose")(lambda peer, s: lambda x: x.T)
case("cumsum")(lambda peer, s: lambda x: x.cumsum(-1))
case("gather")(lambda peer, s: lambda table, ids: table[ids])


@case("scatter_add")
def _(peer, s):
    def f(ids, dy):
        table = Tensor.empty(s.v, s.d)
        return table[ids].gradient(table, gradient=dy)[0]

    return f


# ---- matrix products ---------------------------------------------------------------------------------------
case("matmul")(lambda peer, s: lambda a, b: a @ b)
case("matmul_bias_gelu")(lambda peer, s: lambda a, b, bias: (a @ b + bias).gelu())


# ---- convolutions ------------------------------------------------------------------------------------------
@case("conv")
def _(peer, s):
    return lambda x, w: x.conv2d(w, stride=s.stride, groups=s.groups, padding=1)


@case("conv_dx")
def _(peer, s):
    def f(w, dy):
        x = Tensor.empty(s.b, s.ci, s.hw, s.hw, dtype=w.dtype)
        return x.conv2d(w, stride=s.stride, groups=s.groups, padding=1).gradient(x, gradient=dy)[0]

    return f


@case("conv_dw")
def _(peer, s):
    def f(x, dy):
        w = Tensor.empty(s.co, s.ci // s.groups, 3, 3, dtype=x.dtype)
        return x.conv2d(w, stride=s.stride, groups=s.groups, padding=1).gradient(w, gradient=dy)[0]

    return f


# ---- attention ---------------------------------------------------------------------------------------------
def sdpa(q, k, v):
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return q.scaled_dot_product_attention(k, v, is_causal=True).cast(q.dtype).transpose(1, 2)


case("attention")(lambda peer, s: sdpa)
case("attention_grad")(lambda peer, s: grad_op(sdpa, 3))


# ---- train steps -------------------------------------------------------------------------------------------
def trainer(peer, inputs, loss_fn, make_opt, batches, extra=(), fix=None):
    """loss_fn(p, *batch) -> loss; `extra` are tensors it assigns to. fix: name -> (to, from) layout of one weight."""
    fix = fix or {}

    def to(k, a):
        return fix[k][0](a) if k in fix else a.transpose(3, 2, 0, 1) if a.ndim == 4 else a

    def fro(k, a):
        return fix[k][1](a) if k in fix else a.transpose(2, 3, 1, 0) if a.ndim == 4 else a

    p = {k: peer.tensor(to(k, a)) for k, a in inputs["params"].items()}
    ps = list(p.values())
    opt = make_opt([t.is_param_(True) for t in ps])

    @TinyJit
    def step(*batch):
        with Context(TRAINING=1):
            loss = loss_fn(p, *batch)
            for t, g in zip(ps, loss.gradient(*ps)):
                t.grad = g
            return loss.realize(*opt.schedule_step(), *extra)

    return Train(
        lambda i: step(*batches[i % len(batches)]),
        lambda out: out.item(),
        lambda: [fro(k, t.numpy()) for k, t in p.items()],
    )


def _batches(peer, inputs, relay=lambda a: a):
    return [(peer.tensor(relay(x)), peer.tensor(y)) for x, y in zip(inputs["x"], inputs["y"])]


_sgd = lambda ps: nn.optim.SGD(ps, lr=0.01, momentum=0.9)
xent = lambda z, y: z.sparse_categorical_crossentropy(y)


@case("mlp")
def _(peer, s, inputs):
    def loss(p, x, y):
        for i in range(3):
            x = x @ p[f"w{i}"] + p[f"b{i}"]
            if i < 2:
                x = x.relu()
        return xent(x, y)

    return trainer(peer, inputs, loss, _sgd, _batches(peer, inputs))


@case("mnist")
def _(peer, s, inputs):
    images, labels = peer.tensor(inputs["images"].transpose(0, 3, 1, 2)), peer.tensor(inputs["labels"])

    def loss(p, *fixed):
        idx = fixed[0] if fixed else Tensor.randint(s.batch, high=s.n)
        x = images[idx].float() / 255
        for i in range(2):
            x = x.conv2d(p[f"c{i}"], p[f"cb{i}"]).relu().max_pool2d((2, 2))
        x = x.flatten(1)
        if s.random:
            x = x.dropout(0.5)
        return xent(x @ p["w"] + p["b"], labels[idx])

    batches = (
        [()]
        if s.random
        else [(peer.tensor(((np.arange(s.batch) + k * s.batch) % s.n).astype(np.int32)),) for k in range(8)]
    )
    chw = (
        lambda a: a.reshape(5, 5, 64, 10).transpose(2, 0, 1, 3).reshape(1600, 10),
        lambda a: a.reshape(64, 5, 5, 10).transpose(1, 2, 0, 3).reshape(1600, 10),
    )
    return trainer(peer, inputs, loss, lambda ps: nn.optim.Adam(ps, lr=1e-3), batches, fix={"w": chw})


@case("resnet20")
def _(peer, s, inputs):
    dt = DT[s.dtype]
    bn = {k: peer.tensor(a) for k, a in inputs["bn"].items()}

    def conv_bn(p, n, x, stride):
        w = p[n]
        x = x.conv2d(w.cast(dt), stride=stride, padding=w.shape[-1] // 2).float()
        mean = x.mean((0, 2, 3))
        y = x - mean.reshape(1, -1, 1, 1)
        var, count = y.square().mean((0, 2, 3)), x.numel() // x.shape[1]
        bn[n + "_m"].assign(0.9 * bn[n + "_m"] + 0.1 * mean.detach())
        bn[n + "_v"].assign(0.9 * bn[n + "_v"] + 0.1 * var.detach() * (count / (count - 1)))
        return (y * ((var + 1e-5).rsqrt() * p[n + "_g"]).reshape(1, -1, 1, 1) + p[n + "_b"].reshape(1, -1, 1, 1)).cast(
            dt
        )

    def loss(p, x, y):
        x = conv_bn(p, "stem", x.cast(dt), 1).relu()
        for k in range(3):
            for b in range(s.blocks):
                n, st = f"s{k}b{b}", 2 if k and not b else 1
                h = conv_bn(p, n + "c1", x, st).relu()
                h = conv_bn(p, n + "c2", h, 1)
                if n + "sc" in p:
                    x = conv_bn(p, n + "sc", x, st)
                x = (h + x).relu()
        return xent(x.float().mean((2, 3)) @ p["w"] + p["b"], y)

    return trainer(
        peer,
        inputs,
        loss,
        _sgd,
        _batches(peer, inputs, lambda x: x.transpose(0, 3, 1, 2) if x.ndim == 4 else x),
        bn.values(),
    )


@case("gpt2")
def _(peer, s, inputs):
    if s.dp > 1:
        raise peer.Missing("data parallel is measured in jax only")
    dt = DT[s.dtype]

    def loss(p, x, y):
        b, t = x.shape
        c = {k: v.cast(dt) for k, v in p.items()}
        ln = lambda n, h: (h.float().layernorm(-1, 1e-5) * p[n + "_g"] + p[n + "_b"]).cast(dt)
        dense = lambda n, h: h @ c[n + "_w"] + c[n + "_b"]
        h = p["wte"][x].cast(dt) + c["wpe"][:t]
        for i in range(s.layers):
            n = f"h{i}_"
            q, k, v = (a.reshape(b, t, s.heads, -1) for a in dense(n + "qkv", ln(n + "ln1", h)).split(s.d, 2))
            h = h + dense(n + "o", sdpa(q, k, v).reshape(b, t, s.d))
            h = (h + dense(n + "proj", dense(n + "fc", ln(n + "ln2", h)).gelu())).contiguous()
        logits = ln("lnf", h) @ c["wte"].T
        return xent(logits.float().reshape(-1, s.vocab), y.reshape(-1))

    opt = lambda ps: nn.optim.AdamW(ps, lr=1e-4, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1)
    return trainer(peer, inputs, loss, opt, _batches(peer, inputs))


# ---- dispatch ----------------------------------------------------------------------------------------------
@case("dispatch")
def _(peer, s, inputs):
    if not s.random:
        raise peer.Missing("outputs are not threaded back: not compared")
    x, ps = peer.tensor(inputs["x"]), [peer.tensor(a) for a in inputs["params"]]
    if s.mode == "min":
        f = TinyJit(lambda x: (x + 1).realize())
        args = (x,)
    elif s.mode == "through":
        f = TinyJit(lambda x, *ps: (x + 1).realize())
        args = (x, *ps)
    else:

        @TinyJit
        def f(x, *ps):
            out = [x + 1, *[a + 1 for a in ps]]
            Tensor.realize(*out)
            return tuple(out)

        args = (x, *ps)
    return Train(lambda i: f(*args), lambda out: 0.0, lambda: [])
