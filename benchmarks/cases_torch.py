"""The yardstick's cases in torch: `torch` (torch.compile where it helps) and `torch-eager` (the same, uncompiled).

Compile modes: ops max-autotune-no-cudagraphs, train steps reduce-overhead; --fast: the default mode for both.
Single library calls (convolutions, attention, cuDNN's LSTM) are called as they are in both peers.
Variants: <train>@graph (inductor's default mode and the optimizer, the whole step in one hand-made CUDA graph),
attention@cudnn, scatter_add@embedding (torch's own gather gradient), depthwise conv@nchw.
"""

import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from peer_base import PeerBase, Train, registry
from torch.nn.attention import SDPBackend, sdpa_kernel

builders, case = registry()
DT = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CONVS = ("conv", "conv_dx", "conv_dw")


class Peer(PeerBase):
    builders = builders

    def __init__(self, **kw):
        super().__init__(**kw)
        if self.gpu and not torch.cuda.is_available():
            raise SystemExit("torch sees no GPU")
        self.gpu = self.gpu or (os.environ["YARDSTICK_SUITE"] != "cpu" and torch.cuda.is_available())
        self.dev = torch.device("cuda" if self.gpu else "cpu")
        torch.backends.cudnn.benchmark = True

    def about(self):
        how = (
            "eager" if self.eager else "compile, default mode" if self.fast else "compile, max-autotune/reduce-overhead"
        )
        d = torch.cuda.get_device_name() if self.gpu else f"cpu x {torch.get_num_threads()} threads"
        return f"torch {torch.__version__} ({how}) on {d}"

    def setup_case(self, case, s):
        torch._dynamo.reset()  # each case compiles as if alone: no recompilation limits, static shapes
        tf32 = s.prec != "f32" and self.gpu
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        self.layout = "nhwc"

    def compile(self, f, mode="max-autotune-no-cudagraphs"):
        if self.eager:
            return f
        return torch.compile(f, mode=None if self.fast or mode == "default" else mode, dynamic=False)

    def tensor(self, a, dtype="f32"):
        t = torch.from_numpy(np.ascontiguousarray(a)).to(self.dev)
        return t.to(DT[dtype]) if a.dtype == np.float32 else t.long() if a.dtype == np.int32 else t

    def image(self, t):  # NHWC array -> NCHW tensor, channels_last in memory
        t = t.permute(0, 3, 1, 2)
        return t.contiguous() if self.layout == "nchw" else t

    def weight(self, t):  # HWIO -> OIHW
        t = t.permute(3, 2, 0, 1)
        return t.contiguous(memory_format=torch.contiguous_format if self.layout == "nchw" else torch.channels_last)

    def load(self, case, arrays):
        ts = [self.tensor(a, case.dtype) for a in arrays]
        if case.fn in CONVS:
            is_w = {"conv": (0, 1), "conv_dx": (1, 0), "conv_dw": (0, 0)}[case.fn]
            ts = [self.weight(t) if w else self.image(t) for t, w in zip(ts, is_w)]
        self.sync(None)
        return ts

    def compile_op(self, f, case, s):
        self.layout = getattr(f, "layout", "nhwc")
        if getattr(f, "has_grad", False):
            return f  # compiled its forward itself
        g = f if case.compile == "none" else self.compile(f)

        def run(*a):
            with torch.no_grad():
                return g(*a)

        return run

    def sync(self, out):
        if self.gpu:
            torch.cuda.synchronize()

    def host(self, case, out):
        outs = [o.detach().float().cpu() for o in (out if isinstance(out, (tuple, list)) else (out,))]
        if case.fn in ("conv", "conv_dx"):
            outs = [o.permute(0, 2, 3, 1) for o in outs]
        if case.fn == "conv_dw":
            outs = [o.permute(2, 3, 1, 0) for o in outs]
        return [o.numpy() for o in outs]

    def after_case(self):
        torch._dynamo.reset()
        super().after_case()
        if self.gpu:
            torch.cuda.empty_cache()

    def memory_start(self):
        if self.gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()

    def memory_peak_mb(self, start):
        return torch.cuda.max_memory_allocated() / 2**20 if self.gpu else None


def grad_op(fwd, wrt, cotangent=True):
    """y = fwd(inputs); gradients wrt the first `wrt` inputs. The last input is y's cotangent, if there is one."""

    def f(*a):
        diff = [t.requires_grad_() for t in a[:wrt]]
        y = fwd(*(a[:-1] if cotangent else a))
        return y.detach(), *torch.autograd.grad(y, diff, a[-1] if cotangent else None)

    f.has_grad = True
    return f


# ---- memory-bound ------------------------------------------------------------------------------------------
@case("pointwise")
def _(peer, s):
    return lambda a, b, c: F.gelu(a * b + c, approximate="tanh") * torch.sigmoid(a)


@case("sum")
def _(peer, s):
    return lambda x: x.sum()


@case("softmax")
def _(peer, s):
    return lambda x: F.softmax(x, -1)


layer_norm = lambda x, g, b: F.layer_norm(x, x.shape[-1:], g, b, 1e-5)


@case("layernorm")
def _(peer, s):
    return layer_norm


@case("layernorm_grad")
def _(peer, s):
    return grad_op(peer.compile(layer_norm), 3)


@case("xent")
def _(peer, s):
    return grad_op(peer.compile(lambda z, y: F.cross_entropy(z, y)), 1, cotangent=False)


@case("transpose")
def _(peer, s):
    return lambda x: x.t().contiguous()


@case("cumsum")
def _(peer, s):
    return lambda x: x.cumsum(-1)


@case("gather")
def _(peer, s):
    return lambda table, ids: F.embedding(ids, table)


@case("scatter_add")
def _(peer, s):
    return lambda ids, dy: torch.zeros(s.v, s.d, device=dy.device, dtype=dy.dtype).index_add_(0, ids, dy)


@case("scatter_add_1d")
def _(peer, s):
    return lambda ids, w: torch.zeros(s.v, device=w.device, dtype=w.dtype).index_add_(0, ids, w)


@case("scatter_add", "embedding")
def _(peer, s):
    return lambda ids, dy: torch.ops.aten.embedding_dense_backward(dy, ids, s.v, -1, False)


# ---- matrix products ---------------------------------------------------------------------------------------
@case("matmul")
def _(peer, s):
    return lambda a, b: a @ b


@case("matmul_bias_gelu")
def _(peer, s):
    return lambda a, b, bias: F.gelu(torch.addmm(bias, a, b), approximate="tanh")


# ---- convolutions ------------------------------------------------------------------------------------------
def _conv_fwd(s):
    return lambda x, w: F.conv2d(x, w, None, s.stride, 1, 1, s.groups)


def _conv_back(s, which):
    """convolution_backward for one of (input, weight); the other forward operand only lends its shape and layout."""
    mask, dummy = [which == "dx", which == "dw", False], []

    def f(a, dy):
        cl = torch.channels_last if a.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        if not dummy:
            shape = (s.b, s.ci, s.hw, s.hw) if which == "dx" else (s.co, s.ci // s.groups, 3, 3)
            dummy.append(torch.empty(shape, dtype=a.dtype, device=a.device, memory_format=cl))
        x, w = (dummy[0], a) if which == "dx" else (a, dummy[0])
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, [s.stride] * 2, [1, 1], [1, 1], False, [0, 0], s.groups, mask
        )[0 if which == "dx" else 1]

    return f


def _nchw(f):
    f.layout = "nchw"
    return f


_dw = lambda peer, c: c.name.startswith("dwconv")
case("conv")(lambda peer, s: _conv_fwd(s))
case("conv", "nchw", when=_dw)(lambda peer, s: _nchw(_conv_fwd(s)))


@case("conv_dx")
def _(peer, s):
    f = _conv_back(s, "dx")
    return lambda w, dy: f(w, dy)


case("conv_dx", "nchw", when=_dw)(lambda peer, s: _nchw(_conv_back(s, "dx")))
case("conv_dw")(lambda peer, s: _conv_back(s, "dw"))
case("conv_dw", "nchw", when=_dw)(lambda peer, s: _nchw(_conv_back(s, "dw")))


# ---- attention ---------------------------------------------------------------------------------------------
def sdpa(q, k, v):  # (batch, seq, heads, dim) in and out
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def sdpa_cudnn(q, k, v):
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return sdpa(q, k, v)


_on_gpu = lambda peer, c: peer.gpu
case("attention")(lambda peer, s: sdpa)
case("attention", "cudnn", when=_on_gpu)(lambda peer, s: sdpa_cudnn)
case("attention_grad")(lambda peer, s: grad_op(sdpa, 3))
case("attention_grad", "cudnn", when=_on_gpu)(lambda peer, s: grad_op(sdpa_cudnn, 3))


# ---- train steps -------------------------------------------------------------------------------------------
class Net(nn.Module):
    """The spec's params as module parameters (so that CUDA graphs see fixed addresses); forward is the loss."""

    def __init__(self, peer, inputs, loss, transpose=()):
        super().__init__()
        self._loss, self._t = loss, transpose
        for k, a in inputs["params"].items():
            t = peer.tensor(a)
            t = peer.weight(t) if t.ndim == 4 else t.t().contiguous() if k.endswith(transpose) and transpose else t
            self.register_parameter(k, nn.Parameter(t))
        for k, a in inputs.get("bn", {}).items():
            self.register_buffer(k, peer.tensor(a))

    def forward(self, *batch):
        return self._loss(lambda name: getattr(self, name), *batch)

    def host(self):
        out = []
        for k, t in self.named_parameters():
            t = t.detach().cpu()
            out.append(
                (t.permute(2, 3, 1, 0) if t.ndim == 4 else t.t() if self._t and k.endswith(self._t) else t).numpy()
            )
        return out


def trainer(peer, net, make_opt, batches, graph):
    opt = make_opt(list(net.parameters()))
    mode = "default" if graph else "reduce-overhead"
    loss_fn = peer.compile(net, mode)
    graphed = mode == "reduce-overhead" and not (peer.eager or peer.fast) and peer.gpu

    def step_on(batch):
        if graphed:
            torch.compiler.cudagraph_mark_step_begin()
        loss = loss_fn(*batch)
        loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        return loss.detach()

    if not graph:
        return Train(lambda i: step_on(batches[i % len(batches)]), float, net.host)
    static = [t.clone() for t in batches[0]]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step_on(static)
    torch.cuda.current_stream().wait_stream(side)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        loss = step_on(static)

    def step(i):
        if len(batches) > 1:
            for t, b in zip(static, batches[i % len(batches)]):
                t.copy_(b)
        g.replay()
        return loss

    return Train(step, float, net.host)


def _batches(peer, inputs):
    return [(peer.tensor(x), peer.tensor(y)) for x, y in zip(inputs["x"], inputs["y"])]


_sgd = lambda ps: torch.optim.SGD(ps, lr=0.01, momentum=0.9, fused=True)


def both(fn):
    """Register build(peer, s, inputs, graph) as the main version and as @graph."""

    def deco(build):
        case(fn)(lambda peer, s, inputs: build(peer, s, inputs, False))
        case(fn, "graph", when=lambda peer, c: peer.gpu and not peer.eager)(
            lambda peer, s, inputs: build(peer, s, inputs, True)
        )
        return build

    return deco


@both("mlp")
def _(peer, s, inputs, graph):
    def loss(p, x, y):
        for i in range(3):
            x = torch.addmm(p(f"b{i}"), x, p(f"w{i}"))
            if i < 2:
                x = F.relu(x)
        return F.cross_entropy(x, y)

    return trainer(peer, Net(peer, inputs, loss), _sgd, _batches(peer, inputs), graph)


@both("mnist")
def _(peer, s, inputs, graph):
    images, labels = peer.tensor(inputs["images"]).permute(0, 3, 1, 2), peer.tensor(inputs["labels"])

    def loss(p, *fixed):
        idx = fixed[0] if fixed else torch.randint(0, s.n, (s.batch,), device=images.device)
        x = images[idx].float() / 255
        for i in range(2):
            x = F.max_pool2d(F.relu(F.conv2d(x, p(f"c{i}"), p(f"cb{i}"))), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        if s.random:
            x = F.dropout(x, 0.5)
        return F.cross_entropy(torch.addmm(p("b"), x, p("w")), labels[idx])

    batches = [()] if s.random else [((torch.arange(s.batch, device=peer.dev) + k * s.batch) % s.n,) for k in range(8)]
    opt = lambda ps: torch.optim.Adam(ps, lr=1e-3, fused=True, capturable=graph)
    return trainer(peer, Net(peer, inputs, loss), opt, batches, graph)


@both("resnet20")
def _(peer, s, inputs, graph):
    dt = DT[s.dtype]

    def conv_bn(p, n, x, stride):
        w = p(n)
        x = F.conv2d(x, w.to(dt), None, stride, w.shape[-1] // 2)
        return F.batch_norm(x, p(n + "_m"), p(n + "_v"), p(n + "_g"), p(n + "_b"), True, 0.1, 1e-5)

    def loss(p, x, y):
        x = F.relu(conv_bn(p, "stem", x.permute(0, 3, 1, 2).to(dt), 1))
        for k in range(3):
            for b in range(s.blocks):
                n, st = f"s{k}b{b}", 2 if k and not b else 1
                h = F.relu(conv_bn(p, n + "c1", x, st))
                h = conv_bn(p, n + "c2", h, 1)
                if n + "sc" in inputs["params"]:
                    x = conv_bn(p, n + "sc", x, st)
                x = F.relu(h + x)
        x = x.float().mean((2, 3))
        return F.cross_entropy(torch.addmm(p("b"), x, p("w")), y)

    return trainer(peer, Net(peer, inputs, loss), _sgd, _batches(peer, inputs), graph)


@both("gpt2")
def _(peer, s, inputs, graph):
    if s.dp > 1:
        raise peer.Missing("data parallel is measured in jax only")
    dt = DT[s.dtype]

    def loss(p, x, y):
        b, t = x.shape
        ln = lambda n, h: F.layer_norm(h, (s.d,), p(n + "_g").to(dt), p(n + "_b").to(dt), 1e-5)
        dense = lambda n, h: F.linear(h, p(n + "_w").to(dt), p(n + "_b").to(dt))
        h = F.embedding(x, p("wte")).to(dt) + p("wpe")[:t].to(dt)
        for i in range(s.layers):
            n = f"h{i}_"
            q, k, v = (a.view(b, t, s.heads, -1) for a in dense(n + "qkv", ln(n + "ln1", h)).split(s.d, 2))
            h = h + dense(n + "o", sdpa(q, k, v).reshape(b, t, s.d))
            h = h + dense(n + "proj", F.gelu(dense(n + "fc", ln(n + "ln2", h)), approximate="tanh"))
        logits = F.linear(ln("lnf", h), p("wte").to(dt))
        return F.cross_entropy(logits.float().view(-1, s.vocab), y.reshape(-1))

    opt = lambda ps: torch.optim.AdamW(
        ps, lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True, capturable=graph
    )
    return trainer(peer, Net(peer, inputs, loss, transpose="_w"), opt, _batches(peer, inputs), graph)


# ---- recurrence --------------------------------------------------------------------------------------------
@case("lstm")
def _(peer, s):
    net = nn.LSTM(s.h, s.h).to(peer.dev)  # cuDNN's
    loaded = []

    def f(x, wih, whh, b, ct):
        if not loaded:
            with torch.no_grad():
                net.weight_ih_l0.copy_(wih.t())
                net.weight_hh_l0.copy_(whh.t())
                net.bias_ih_l0.copy_(b)
                net.bias_hh_l0.zero_()
            loaded.append(1)
        loss = (net(x.requires_grad_())[0] * ct).sum()
        dx, dwih, dwhh, db = torch.autograd.grad(loss, (x, net.weight_ih_l0, net.weight_hh_l0, net.bias_ih_l0))
        return loss.detach(), dx, dwih.t(), dwhh.t(), db

    f.has_grad = True
    return f


# ---- dispatch ----------------------------------------------------------------------------------------------
@case("dispatch")
def _(peer, s, inputs):
    x, p = peer.tensor(inputs["x"]), [peer.tensor(a) for a in inputs["params"]]
    f = {
        "min": lambda x, p: (x + 1, p),
        "through": lambda x, p: (x + 1, p),
        "touch": lambda x, p: (x + 1, [a + 1 for a in p]),
    }[s.mode]
    f = peer.compile(f, "default")
    hold = dict(x=x, p=[] if s.mode == "min" else p)

    @torch.no_grad()
    def step(i):
        hold["x"], hold["p"] = f(hold["x"], hold["p"])
        return hold["x"]

    return Train(step, lambda out: float(out.sum()), lambda: [a.cpu().numpy() for a in (hold["p"] or p)])
