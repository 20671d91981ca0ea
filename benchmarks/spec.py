"""What is measured: every case's math, sizes, inputs and amount of work, once for all peers.

A peer module (cases_<peer>.py) registers one builder for each `fn` named below; nothing in this file
knows any library but numpy.  All float inputs are made in f32 by numpy from a seed taken from the case's
name, then cast to the case's `dtype` on the device (round to nearest even), so all peers see equal bits.
Layouts: images NHWC, conv weights HWIO, dense weights (in, out), attention (batch, seq, heads, dim).
A peer may re-lay inputs before timing starts (torch: channels_last; tinygrad: NCHW).

THE MATH, by fn
  pointwise(a,b,c)      y = gelu_tanh(a*b+c) * sigmoid(a)
  sum(x)                one f32 number
  softmax(x)            over the last axis
  layernorm(x,g,b)      (x-mean)/sqrt(var+1e-5)*g+b over the last axis (biased variance)
  layernorm_grad(x,g,b,dy)          -> y, dx, dg, db
  xent(z, labels)       L = mean_i(logsumexp(z_i) - z_i[label_i])      -> L, dL/dz
  transpose(x)          x.T, materialised row-major
  cumsum(x)             along the last axis
  gather(table, ids)    table[ids];   scatter_add(ids, dy): zeros(V,d), rows ids += dy  (gather's gradient)
  scatter_add_1d(ids, w)  zeros(V), elements ids += w
  matmul(a,b)           a@b (also batched);   matmul_bias_gelu(a,b,bias): gelu_tanh(a@b+bias), output in a's type
  conv(x,w)             3x3, padding 1 on every side, stride s.stride, groups s.groups (depthwise: C groups)
  conv_dx(w,dy), conv_dw(x,dy)      its gradients wrt input and weight
  attention(q,k,v)      softmax(q k^T / sqrt(D) + causal mask) v;   attention_grad(q,k,v,do) -> o,dq,dk,dv
  mlp      784-1024-1024-10, relu, mean softmax cross-entropy; SGD lr .01, momentum .9 (m=.9m+g; p-=lr*m)
  mnist    x = images[idx]/255 with idx ~ U[0,n) drawn on device each step (uint8 images stay on device);
           conv 1->32 3x3 VALID, relu, maxpool 2; conv 32->64 3x3 VALID, relu, maxpool 2; flatten (HWC order);
           dropout .5 (scaled by 2); dense ->10; mean cross-entropy; Adam lr 1e-3 (.9,.999,1e-8)
           When s.random is False (agree.py): idx = (step*batch + arange(batch)) % n and no dropout.
  resnet20 conv3x3(3->16)-BN-relu; 3 stages (16,32,64) of 3 blocks [conv-BN-relu-conv-BN, + shortcut, relu];
           the first block of stages 2,3 has stride 2 and a 1x1 stride-2 conv-BN shortcut; global mean; dense.
           BN: batch statistics (eps 1e-5), running stats updated with momentum .1 (biased var for the output,
           unbiased into the running var as torch does; running stats are not compared); SGD lr .01 momentum .9.
           bf16: f32 params and BN statistics, convs and activations in bf16, logits f32.
  gpt2     pre-LN GPT-2, learned positions, tied head, biases, gelu_tanh, no dropout. Params f32 cast to bf16 in
           the step; residual stream bf16; layernorm statistics f32; logits bf16, cross-entropy on them in f32;
           AdamW lr 1e-4 betas (.9,.95) eps 1e-8 weight decay .1 on every parameter.
  lstm(x,wih,whh,b,ct)  gates i,f,g,o = x@wih + h@whh + b; c = sig(f)c + sig(i)tanh(g); h = sig(o)tanh(c);
                        L = sum(hs*ct)      -> L, dx, dwih, dwhh, db
  dispatch(x,params)    mode min: x+1; through: (params unchanged, x+1); touch: ([p+1 for p in params], x+1)

PRECISION (`prec`): 'f32' = true fp32 products (no TF32); 'tf32' = f32 storage, TF32 products allowed, which
is what jax does by default on Hopper and torch does with set_float32_matmul_precision('high').

FIGURES: GB/s counts the least bytes (each input read once, each output written once); TFLOP/s counts a
multiply-add as 2 and, for causal attention, half the square (backward = 2.5 x forward).
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np


@dataclass(frozen=True)
class Case:
    name: str
    group: str
    fn: str
    kind: str  # 'op': f(*inputs) -> outputs; 'train': a step carrying state
    sizes: dict  # suite -> dict of sizes
    inputs: Callable  # (s, R) -> tuple (op) or dict (train) of numpy arrays; R makes random ones
    work: Callable  # s -> {'bytes'|'flops'|'tokens'|'images': per call}
    dtype: str = "f32"
    prec: str = "tf32"
    tol: float = 2e-5  # relative L2 distance allowed between peers on the smoke sizes (train: of 5 losses)
    dtol: float = 1e-3  # train: the same for the parameters' change over 5 steps (Adam turns rounding into sign flips)
    rotate: int = 1  # number of input sets cycled through (for working sets near the L2's size)
    compile: str = "op"  # 'op' | 'none' (a single library call) | 'train'
    isolate: bool = False  # fresh process, so that peak memory is this case's own
    suites: tuple = ("gpu", "cpu", "smoke")

    def s(self, suite):
        return SimpleNamespace(
            **{"random": True, "suite": suite, "dtype": self.dtype, "prec": self.prec, **self.sizes[suite]}
        )

    def make_inputs(self, suite, r=0):
        return self.inputs(self.s(suite), Rand(zlib.crc32(self.name.encode()) + r))


class Rand:
    """Random arrays, quickly: at most 2^24 fresh values an array, repeated beyond that."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def _tile(self, make, shape):
        n = math.prod(shape)
        return np.resize(make(min(n, 1 << 24)), shape)

    def normal(self, *shape, scale=1.0):
        return self._tile(lambda k: self.rng.standard_normal(k, dtype=np.float32) * np.float32(scale), shape)

    def ints(self, hi, *shape, dtype=np.int32):
        return self._tile(lambda k: self.rng.integers(0, hi, k, dtype=dtype), shape)


CASES: dict[str, Case] = {}


def add(name, group, fn, inputs, work, gpu, cpu, smoke, kind="op", **kw):
    CASES[name] = Case(name, group, fn, kind, {"gpu": gpu, "cpu": cpu, "smoke": smoke}, inputs, work, **kw)


SIZE = {"f32": 4, "bf16": 2, "fp16": 2}

# ---- 1-8: memory-bound -------------------------------------------------------------------------------------
add(
    "pointwise",
    "mem",
    "pointwise",
    lambda s, R: tuple(R.normal(s.n) for _ in range(3)),
    lambda s: {"bytes": 16 * s.n},
    dict(n=1 << 26),
    dict(n=1 << 22),
    dict(n=1000),
)
add(
    "sum",
    "mem",
    "sum",
    lambda s, R: (R.normal(s.n) + 1,),
    lambda s: {"bytes": 4 * s.n},
    dict(n=1 << 28),
    dict(n=1 << 24),
    dict(n=4096),
)
_sq = (dict(n=8192), dict(n=2048), dict(n=96))
_sqin = lambda s, R: (R.normal(s.n, s.n),)
_sqw = lambda s: {"bytes": 8 * s.n * s.n}
add("softmax", "mem", "softmax", _sqin, _sqw, *_sq)
_ln = (dict(n=16384, d=4096), dict(n=1024, d=4096), dict(n=32, d=96))
_lnin = lambda s, R: (R.normal(s.n, s.d), 1 + R.normal(s.d, scale=0.1), R.normal(s.d, scale=0.1))
add("layernorm_fwd", "mem", "layernorm", _lnin, lambda s: {"bytes": 8 * s.n * s.d}, *_ln)
add(
    "layernorm_bwd",
    "mem",
    "layernorm_grad",
    lambda s, R: (*_lnin(s, R), R.normal(s.n, s.d)),
    lambda s: {"bytes": 20 * s.n * s.d},
    *_ln,
)  # forward: x -> y; backward: x, dy -> dx
add(
    "xent",
    "mem",
    "xent",
    lambda s, R: (R.normal(s.n, s.v), R.ints(s.v, s.n)),
    lambda s: {"bytes": 8 * s.n * s.v},
    dict(n=4096, v=50257),
    dict(n=256, v=50257),
    dict(n=16, v=101),
)
add("transpose", "mem", "transpose", _sqin, _sqw, *_sq)
add("cumsum", "mem", "cumsum", _sqin, _sqw, *_sq)
_emb = (dict(v=50257, d=768, n=65536), dict(v=8192, d=768, n=8192), dict(v=97, d=24, n=200))
add(
    "gather",
    "mem",
    "gather",
    lambda s, R: (R.normal(s.v, s.d), R.ints(s.v, s.n)),
    lambda s: {"bytes": 8 * s.n * s.d},
    *_emb,
)
add(
    "scatter_add",
    "mem",
    "scatter_add",
    lambda s, R: (R.ints(s.v, s.n), R.normal(s.n, s.d)),
    lambda s: {"bytes": 4 * s.n * s.d + 4 * s.v * s.d},
    *_emb,
)
for _v in (1000, 1000000):
    add(
        f"scatter_add_1d_{_v}",
        "mem",
        "scatter_add_1d",
        lambda s, R: (R.ints(s.v, s.n), R.normal(s.n)),
        lambda s: {"bytes": 8 * s.n + 4 * s.v},
        dict(v=_v, n=10000000),
        dict(v=_v, n=1000000),
        dict(v=97, n=2000),
    )

# ---- 9: matrix products ------------------------------------------------------------------------------------
_TOL = {"f32": 2e-5, "tf32": 2e-5, "bf16": 8e-3, "fp16": 1e-3}
for _n, _c, _s in ((4096, 1536, 64), (8192, 3072, 80)):
    for _p in ("f32", "tf32", "bf16"):
        add(
            f"matmul_{_p}_{_n}",
            "matmul",
            "matmul",
            lambda s, R: (R.normal(s.n, s.n), R.normal(s.n, s.n)),
            lambda s: {"flops": 2 * s.n**3},
            dict(n=_n),
            dict(n=_c),
            dict(n=_s),
            dtype="bf16" if _p == "bf16" else "f32",
            prec="f32" if _p == "f32" else "tf32",
            tol=_TOL[_p],
        )
add(
    "bmm_bf16",
    "matmul",
    "matmul",
    lambda s, R: (R.normal(s.b, s.n, s.k), R.normal(s.b, s.k, s.n)),
    lambda s: {"flops": 2 * s.b * s.n * s.n * s.k, "bytes": 2 * s.b * (s.n * s.n + 2 * s.n * s.k)},
    dict(b=64, n=1024, k=64),
    dict(b=64, n=256, k=64),
    dict(b=3, n=32, k=16),
    dtype="bf16",
    tol=_TOL["bf16"],
    rotate=2,
)
add(
    "skinny_bf16",
    "matmul",
    "matmul",
    lambda s, R: (R.normal(s.m, s.n), R.normal(s.n, s.n)),
    lambda s: {"flops": 2 * s.m * s.n * s.n, "bytes": 2 * (2 * s.m * s.n + s.n * s.n)},
    dict(m=128, n=4096),
    dict(m=128, n=1024),
    dict(m=16, n=48),
    dtype="bf16",
    tol=_TOL["bf16"],
    rotate=4,
)
add(
    "matmul_gelu_bf16",
    "matmul",
    "matmul_bias_gelu",
    lambda s, R: (R.normal(s.n, s.n), R.normal(s.n, s.n, scale=s.n**-0.5), R.normal(s.n)),
    lambda s: {"flops": 2 * s.n**3},
    dict(n=4096),
    dict(n=1536),
    dict(n=64),
    dtype="bf16",
    tol=_TOL["bf16"],
)


# ---- 10: convolutions --------------------------------------------------------------------------------------
def _conv_inputs(part):
    def make(s, R):
        oh = s.hw // s.stride
        x, dy = R.normal(s.b, s.hw, s.hw, s.ci), R.normal(s.b, oh, oh, s.co)
        w = R.normal(3, 3, s.ci // s.groups, s.co, scale=(9 * s.ci / s.groups) ** -0.5)
        return {"conv": (x, w), "conv_dx": (w, dy), "conv_dw": (x, dy)}[part]

    return make


def _conv_work(s):
    oh = s.hw // s.stride
    n_in, n_out = s.b * s.hw * s.hw * s.ci, s.b * oh * oh * s.co
    return {"flops": 2 * n_out * 9 * s.ci // s.groups, "bytes": SIZE[s.dtype] * (n_in + n_out)}


def _add_convs(stem, gpu, cpu, smoke, precs, parts):
    for p in precs:
        for part in parts:
            nm = {"conv": "fwd", "conv_dx": "dx", "conv_dw": "dw"}[part]
            add(
                f"{stem}_{p}_{nm}",
                "conv",
                part,
                _conv_inputs(part),
                _conv_work,
                gpu,
                cpu,
                smoke,
                dtype=p if p in ("bf16", "fp16") else "f32",
                prec="f32" if p == "f32" else "tf32",
                tol={"f32": 1e-4, "tf32": 1e-4, "bf16": 1e-2, "fp16": 2e-3}[p],
                compile="none",
                rotate=2,
            )


_ALL = ("conv", "conv_dx", "conv_dw")


def _cv(b, hw, c, stride=1, groups=1, co=None):
    return dict(b=b, hw=hw, ci=c, co=co or c, stride=stride, groups=groups)


_add_convs("conv64", _cv(256, 32, 64), _cv(16, 32, 64), _cv(2, 8, 8), ("bf16", "tf32", "f32"), _ALL)
_add_convs("conv256", _cv(256, 8, 256), _cv(16, 8, 256), _cv(2, 4, 16), ("bf16", "tf32", "f32"), _ALL)
_add_convs("conv64", _cv(256, 32, 64), _cv(16, 32, 64), _cv(2, 8, 8), ("fp16",), ("conv",))
_add_convs("dwconv64", _cv(256, 32, 64, 1, 64), _cv(16, 32, 64, 1, 64), _cv(2, 8, 8, 1, 8), ("f32",), _ALL)
_add_convs("dwconv64", _cv(256, 32, 64, 1, 64), _cv(16, 32, 64, 1, 64), _cv(2, 8, 8, 1, 8), ("bf16",), ("conv",))
_add_convs("conv_s2", _cv(256, 32, 64, 2, 1, 128), _cv(16, 32, 64, 2, 1, 128), _cv(2, 8, 8, 2, 1, 16), ("bf16",), _ALL)
_add_convs(
    "conv_s2", _cv(256, 32, 64, 2, 1, 128), _cv(16, 32, 64, 2, 1, 128), _cv(2, 8, 8, 2, 1, 16), ("tf32",), ("conv",)
)

# ---- 11: attention -----------------------------------------------------------------------------------------
_at = (dict(b=4, t=4096, h=16, d=64), dict(b=1, t=1024, h=4, d=64), dict(b=2, t=32, h=2, d=16))
_fl = lambda s: 2 * s.b * s.h * s.t * s.t * s.d
add(
    "attn_fwd",
    "attn",
    "attention",
    lambda s, R: tuple(R.normal(s.b, s.t, s.h, s.d) for _ in range(3)),
    lambda s: {"flops": _fl(s)},
    *_at,
    dtype="bf16",
    tol=1e-2,
    compile="none",
)
add(
    "attn_bwd",
    "attn",
    "attention_grad",
    lambda s, R: tuple(R.normal(s.b, s.t, s.h, s.d) for _ in range(4)),
    lambda s: {"flops": 3.5 * _fl(s)},
    *_at,
    dtype="bf16",
    tol=3e-2,
    compile="none",
    isolate=True,
)


# ---- 12-15: train steps ------------------------------------------------------------------------------------
def _mlp_inputs(s, R):
    dims = [784, s.hidden, s.hidden, 10]
    p = {}
    for i, (a, b) in enumerate(zip(dims, dims[1:])):
        p[f"w{i}"], p[f"b{i}"] = R.normal(a, b, scale=a**-0.5), R.normal(b, scale=0.01)
    return dict(params=p, x=R.normal(s.nbatch, s.batch, 784), y=R.ints(10, s.nbatch, s.batch))


_mlpfl = lambda s: {"images": s.batch, "flops": 6 * s.batch * (784 * s.hidden + s.hidden**2 + 10 * s.hidden)}
for _b, _cb in ((128, 128), (8192, 512)):
    add(
        f"mlp_b{_b}",
        "train",
        "mlp",
        _mlp_inputs,
        _mlpfl,
        dict(batch=_b, hidden=1024, nbatch=4),
        dict(batch=_cb, hidden=1024, nbatch=4),
        dict(batch=_b // 16 if _b > 128 else 8, hidden=32, nbatch=2),
        kind="train",
        compile="train",
        tol=1e-4,
    )


def _mnist_inputs(s, R):
    p = dict(
        c0=R.normal(3, 3, 1, 32, scale=1 / 3),
        cb0=R.normal(32, scale=0.01),
        c1=R.normal(3, 3, 32, 64, scale=1 / 17),
        cb1=R.normal(64, scale=0.01),
        w=R.normal(1600, 10, scale=1 / 40),
        b=R.normal(10, scale=0.01),
    )
    return dict(params=p, images=R.ints(256, s.n, 28, 28, 1, dtype=np.uint8), labels=R.ints(10, s.n))


add(
    "mnist_conv",
    "train",
    "mnist",
    _mnist_inputs,
    lambda s: {"images": s.batch},
    dict(batch=128, n=60000),
    dict(batch=128, n=60000),
    dict(batch=8, n=64),
    kind="train",
    compile="train",
    tol=2e-4,
    dtol=5e-2,
)


def resnet_convs(s):
    """(name, kh, cin, cout, stride) of every conv, in order; block b of stage k: s{k}b{b}c1, c2 and sc if needed."""
    w = s.width
    out, cin = [("stem", 3, 3, w, 1)], w
    for k, cout in enumerate((w, 2 * w, 4 * w)):
        for b in range(s.blocks):
            st = 2 if k and not b else 1
            out += [(f"s{k}b{b}c1", 3, cin, cout, st), (f"s{k}b{b}c2", 3, cout, cout, 1)]
            if cin != cout:
                out.append((f"s{k}b{b}sc", 1, cin, cout, st))
            cin = cout
    return out


def _resnet_inputs(s, R):
    p, bn = {}, {}
    for n, k, ci, co, _ in resnet_convs(s):
        p[n] = R.normal(k, k, ci, co, scale=(2 / (k * k * ci)) ** 0.5)
        p[n + "_g"], p[n + "_b"] = 1 + R.normal(co, scale=0.1), R.normal(co, scale=0.1)
        bn[n + "_m"], bn[n + "_v"] = np.zeros(co, np.float32), np.ones(co, np.float32)
    p["w"], p["b"] = R.normal(4 * s.width, 10, scale=(4 * s.width) ** -0.5), R.normal(10, scale=0.01)
    return dict(params=p, bn=bn, x=R.normal(s.nbatch, s.batch, s.hw, s.hw, 3), y=R.ints(10, s.nbatch, s.batch))


def _resnet_work(s):
    fl, hw = 0, s.hw
    for n, k, ci, co, st in resnet_convs(s):
        res = hw // (1 if n == "stem" or n[1] == "0" else 2 ** int(n[1]))
        fl += 2 * k * k * ci * co * res * res
    return {"images": s.batch, "flops": 3 * s.batch * fl}


def _rn(batch, **k):
    return dict(dict(batch=batch, nbatch=4, width=16, blocks=3, hw=32), **k)


_rns = _rn(8, nbatch=2, width=8, blocks=1, hw=8)
add(
    "resnet20_f32_b64",
    "train",
    "resnet20",
    _resnet_inputs,
    _resnet_work,
    _rn(64),
    _rn(16),
    _rns,
    kind="train",
    compile="train",
    tol=1e-3,
    dtol=2e-2,
    isolate=True,
)
add(
    "resnet20_bf16_b512",
    "train",
    "resnet20",
    _resnet_inputs,
    _resnet_work,
    _rn(512),
    _rn(32),
    _rns,
    kind="train",
    compile="train",
    dtype="bf16",
    tol=8e-2,
    dtol=0.4,
    isolate=True,
)


def _gpt2_inputs(s, R):
    d = s.d
    p = dict(wte=R.normal(s.vocab, d, scale=0.02), wpe=R.normal(s.t, d, scale=0.02))
    for i in range(s.layers):
        for ln in ("ln1", "ln2"):
            p[f"h{i}_{ln}_g"], p[f"h{i}_{ln}_b"] = 1 + R.normal(d, scale=0.02), R.normal(d, scale=0.02)
        for nm, a, b in (("qkv", d, 3 * d), ("o", d, d), ("fc", d, 4 * d), ("proj", 4 * d, d)):
            p[f"h{i}_{nm}_w"], p[f"h{i}_{nm}_b"] = R.normal(a, b, scale=0.02), R.normal(b, scale=0.002)
    p["lnf_g"], p["lnf_b"] = 1 + R.normal(d, scale=0.02), R.normal(d, scale=0.02)
    tok = R.ints(s.vocab, s.nbatch, s.batch, s.t + 1)
    return dict(params=p, x=tok[..., :-1].copy(), y=tok[..., 1:].copy())


def _gpt2_work(s):
    n = 12 * s.layers * s.d**2 + s.vocab * s.d  # matrix parameters that take part in products (head tied)
    tok = s.batch * s.t
    return {"tokens": tok, "flops": 6 * n * tok + 6 * s.layers * s.d * s.t * tok}  # causal attention: half the square


def _g(**k):
    return dict(dict(layers=12, d=768, heads=12, vocab=50304, t=1024, batch=8, nbatch=2, dp=1), **k)


_gc = dict(layers=4, d=256, heads=4, vocab=8192, t=256, batch=4)
_gs = dict(layers=2, d=32, heads=2, vocab=128, t=16, batch=4)
add(
    "gpt2",
    "gpt2",
    "gpt2",
    _gpt2_inputs,
    _gpt2_work,
    _g(),
    _g(**_gc),
    _g(**_gs),
    kind="train",
    compile="train",
    dtype="bf16",
    tol=3e-2,
    dtol=0.4,
    isolate=True,
)
add(
    "gpt2_f32",
    "gpt2",
    "gpt2",
    _gpt2_inputs,
    _gpt2_work,
    {},
    {},
    _g(**_gs),
    kind="train",
    compile="train",
    suites=("smoke",),
    tol=1e-4,
    dtol=5e-2,
)
add(
    "gpt2_dp2",
    "gpt2dp",
    "gpt2",
    _gpt2_inputs,
    _gpt2_work,
    _g(batch=16, dp=2),
    _g(**{**_gc, "batch": 8, "dp": 2}),
    _g(**{**_gs, "dp": 2}),
    kind="train",
    compile="train",
    dtype="bf16",
    tol=3e-2,
    dtol=0.4,
    isolate=True,
)

# ---- 16: recurrence ----------------------------------------------------------------------------------------
add(
    "lstm",
    "rnn",
    "lstm",
    lambda s, R: (
        R.normal(s.t, s.b, s.h),
        R.normal(s.h, 4 * s.h, scale=s.h**-0.5),
        R.normal(s.h, 4 * s.h, scale=s.h**-0.5),
        R.normal(4 * s.h, scale=0.1),
        R.normal(s.t, s.b, s.h),
    ),
    lambda s: {"flops": 3 * 2 * s.t * s.b * 8 * s.h * s.h, "tokens": s.t * s.b},
    dict(h=512, t=256, b=64),
    dict(h=128, t=128, b=32),
    dict(h=16, t=12, b=4),
    compile="none",
    tol=1e-4,
)

# ---- 17: dispatch ------------------------------------------------------------------------------------------
for _m in ("min", "through", "touch"):
    add(
        f"dispatch_{_m}",
        "dispatch",
        "dispatch",
        lambda s, R: dict(x=R.normal(8), params=[R.normal(8) for _ in range(100)]),
        lambda s: {},
        *[dict(mode=_m)] * 3,
        kind="train",
        tol=1e-6,
    )

GROUPS = list(dict.fromkeys(c.group for c in CASES.values()))


def select(only):
    """Cases named in `only`: case names, group names, or prefixes ending in '*'. All if empty."""
    if not only:
        return list(CASES)
    out = []
    for w in only:
        base = w.split("@")[0]
        hit = [n for n, c in CASES.items() if n == base or c.group == w or (w.endswith("*") and n.startswith(w[:-1]))]
        if not hit:
            raise SystemExit(f"--only {w}: no such case or group; groups: {GROUPS}")
        out += [w] if "@" in w else hit
    return list(dict.fromkeys(out))
