"""The yardstick's cases in jax + optax, written as a jax user would: one jit a case, donated train state.

Variants: attn@xla, gpt2@xla (XLA's attention; the main one is cuDNN's flash on a GPU), mlp/mnist@scan (many steps
in one jit through lax.scan), mnist@reshape_pool, cumsum@assoc, lstm@unroll8, lstm@cudnn.
"""

import os

if os.environ.get("YARDSTICK_SUITE") == "cpu":
    os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from peer_base import PeerBase, Train, registry

builders, case = registry()
DT = {"f32": jnp.float32, "bf16": jnp.bfloat16, "fp16": jnp.float16}
on_gpu = lambda peer, c: peer.gpu


class Peer(PeerBase):
    builders = builders

    def __init__(self, **kw):
        super().__init__(**kw)
        self.gpu = jax.default_backend() == "gpu"
        if kw["gpu"] and not self.gpu:
            raise SystemExit("jax sees no GPU")
        self.keep_all = not self.gpu  # the CPU client may run independent calls out of order

    def about(self):
        d = jax.devices()
        versions = f"jax {jax.__version__} jaxlib {jax.lib.__version__} optax {optax.__version__}"
        return f"{versions} on {len(d)} x {d[0].device_kind}"

    def jit(self, f, prec, **kw):
        """jit with the case's precision in force while tracing."""

        def g(*a):
            with jax.default_matmul_precision("highest" if prec == "f32" else "default"):
                return f(*a)

        return jax.jit(g, **kw)

    def load(self, case, arrays):
        dt = DT[case.dtype]
        return [jax.block_until_ready(jnp.asarray(a, dt if a.dtype == np.float32 else None)) for a in arrays]

    def compile_op(self, f, case, s):
        return self.jit(f, s.prec)

    def sync(self, out):
        jax.block_until_ready(out)

    def host(self, case, out):
        return [np.asarray(o.astype(jnp.float32)) for o in jax.tree.leaves(out)]

    # peak_bytes_in_use never goes down in a process, so a peak is known only where this case raised it
    def _stats(self):
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

    def memory_start(self):
        return self._stats()

    def memory_peak_mb(self, start):
        p = self._stats()
        return p / 2**20 if p is not None and p > start else None


# ---- memory-bound ------------------------------------------------------------------------------------------
@case("pointwise")
def _(peer, s):
    return lambda a, b, c: jax.nn.gelu(a * b + c, approximate=True) * jax.nn.sigmoid(a)


@case("sum")
def _(peer, s):
    return lambda x: x.sum()


@case("softmax")
def _(peer, s):
    return lambda x: jax.nn.softmax(x, axis=-1)


def layer_norm(x, g, b):
    """Statistics in f32, output in x's type."""
    x32 = x.astype(jnp.float32)
    mean = x32.mean(-1, keepdims=True)
    var = jnp.square(x32 - mean).mean(-1, keepdims=True)
    return ((x32 - mean) * lax.rsqrt(var + 1e-5) * g + b).astype(x.dtype)


@case("layernorm")
def _(peer, s):
    return layer_norm


@case("layernorm_grad")
def _(peer, s):
    def f(x, g, b, dy):
        y, vjp = jax.vjp(layer_norm, x, g, b)
        return y, *vjp(dy)

    return f


def xent(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels).mean()


@case("xent")
def _(peer, s):
    return jax.value_and_grad(xent)


@case("transpose")
def _(peer, s):
    return lambda x: x.T


@case("cumsum")
def _(peer, s):
    return lambda x: jnp.cumsum(x, axis=-1)


@case("cumsum", "assoc")
def _(peer, s):
    return lambda x: lax.associative_scan(jnp.add, x, axis=-1)


@case("gather")
def _(peer, s):
    return lambda table, ids: table[ids]


@case("scatter_add")
def _(peer, s):
    return lambda ids, dy: jnp.zeros((s.v, s.d), dy.dtype).at[ids].add(dy)


@case("scatter_add_1d")
def _(peer, s):
    return lambda ids, w: jnp.zeros(s.v, w.dtype).at[ids].add(w)


# ---- matrix products ---------------------------------------------------------------------------------------
@case("matmul")
def _(peer, s):
    return lambda a, b: a @ b


@case("matmul_bias_gelu")
def _(peer, s):
    return lambda a, b, bias: jax.nn.gelu(a @ b + bias, approximate=True)


# ---- convolutions ------------------------------------------------------------------------------------------
def conv2d(x, w, stride=1, groups=1, padding=((1, 1), (1, 1))):
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, feature_group_count=groups, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@case("conv")
def _(peer, s):
    return lambda x, w: conv2d(x, w, s.stride, s.groups)


@case("conv_dx")
def _(peer, s):
    def f(w, dy):
        x = jax.ShapeDtypeStruct((s.b, s.hw, s.hw, s.ci), w.dtype)
        return jax.linear_transpose(lambda x: conv2d(x, w, s.stride, s.groups), x)(dy)[0]

    return f


@case("conv_dw")
def _(peer, s):
    def f(x, dy):
        w = jax.ShapeDtypeStruct((3, 3, s.ci // s.groups, s.co), x.dtype)
        return jax.linear_transpose(lambda w: conv2d(x, w, s.stride, s.groups), w)(dy)[0]

    return f


# ---- attention ---------------------------------------------------------------------------------------------
def attention(impl):
    return lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation=impl)


def best_attention(peer, dtype):
    return attention("cudnn" if peer.gpu and dtype in ("bf16", "fp16") else "xla")


def _attn_grad(attn):
    def f(q, k, v, do):
        o, vjp = jax.vjp(attn, q, k, v)
        return o, *vjp(do)

    return f


@case("attention")
def _(peer, s):
    return best_attention(peer, s.dtype)


@case("attention", "xla", when=on_gpu)
def _(peer, s):
    return attention("xla")


@case("attention_grad")
def _(peer, s):
    return _attn_grad(best_attention(peer, s.dtype))


@case("attention_grad", "xla", when=on_gpu)
def _(peer, s):
    return _attn_grad(attention("xla"))


# ---- train steps -------------------------------------------------------------------------------------------
def put(tree):
    return jax.block_until_ready(jax.tree.map(jnp.asarray, tree))


def trainer(peer, s, inputs, loss_fn, opt, batches, scan=0, aux=None, place=lambda tree: tree):
    """loss_fn(params, aux, batch) -> (loss, aux).  batches: list of device batches, one a step in turn."""
    params = put(inputs["params"])
    names = list(inputs["params"])  # jit hands dicts back with their keys sorted
    state = place((params, put(aux) if aux is not None else (), opt.init(params)))

    def one(state, batch):
        p, aux, o = state
        (loss, aux), g = jax.value_and_grad(loss_fn, has_aux=True)(p, aux, batch)
        u, o = opt.update(g, o, p)
        return (optax.apply_updates(p, u), aux, o), loss

    hold = dict(state=state)
    if scan:
        stacked = put(jax.tree.map(lambda *x: jnp.stack(x), *batches))

        def many(state, stacked):
            idx = jnp.arange(scan) % len(batches)
            state, losses = lax.scan(lambda st, i: one(st, jax.tree.map(lambda x: x[i], stacked)), state, idx)
            return state, losses[-1]

        f, data = peer.jit(many, s.prec, donate_argnums=0), [stacked]
    else:
        f, data = peer.jit(one, s.prec, donate_argnums=0), batches

    def step(i):
        hold["state"], loss = f(hold["state"], data[i % len(data)])
        return loss

    return Train(step, float, lambda: [np.asarray(hold["state"][0][k]) for k in names], steps=scan or 1)


def _batches(inputs):
    return [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(inputs["x"], inputs["y"])]


def mlp_loss(p, aux, batch):
    x, y = batch
    for i in range(3):
        x = x @ p[f"w{i}"] + p[f"b{i}"]
        if i < 2:
            x = jax.nn.relu(x)
    return xent(x, y), aux


def _mlp(scan):
    def build(peer, s, inputs):
        return trainer(peer, s, inputs, mlp_loss, optax.sgd(0.01, momentum=0.9), _batches(inputs), scan)

    return build


case("mlp")(_mlp(0))
case("mlp", "scan", when=lambda peer, c: c.name == "mlp_b128")(_mlp(100))


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def max_pool_reshape(x):
    b, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


def _mnist(scan=0, pool=max_pool):
    def build(peer, s, inputs):
        images, labels = jnp.asarray(inputs["images"]), jnp.asarray(inputs["labels"])

        def loss(p, aux, data):
            images, labels = data
            if s.random:
                aux, k1, k2 = jax.random.split(aux, 3)
                idx = jax.random.randint(k1, (s.batch,), 0, s.n)
            else:
                idx = (aux * s.batch + jnp.arange(s.batch)) % s.n
                aux = aux + 1
            x = images[idx].astype(jnp.float32) / 255
            for i in range(2):
                x = pool(jax.nn.relu(conv2d(x, p[f"c{i}"], padding="VALID") + p[f"cb{i}"]))
            x = x.reshape(s.batch, -1)
            if s.random:
                x = jnp.where(jax.random.bernoulli(k2, 0.5, x.shape), x * 2, 0)
            return xent(x @ p["w"] + p["b"], labels[idx]), aux

        aux = jax.random.key(0) if s.random else np.int32(0)
        return trainer(peer, s, inputs, loss, optax.adam(1e-3), [(images, labels)], scan, aux)

    return build


case("mnist")(_mnist())
case("mnist", "reshape_pool")(_mnist(pool=max_pool_reshape))
case("mnist", "scan", when=on_gpu)(_mnist(scan=50))


@case("resnet20")
def _(peer, s, inputs):
    dt = DT[s.dtype]

    def conv_bn(p, bn, new, n, x, stride):
        k = p[n].shape[0]
        x = conv2d(x, p[n].astype(dt), stride, padding=((k // 2, k // 2),) * 2)
        x32 = x.astype(jnp.float32)
        mean = x32.mean((0, 1, 2))
        var = jnp.square(x32 - mean).mean((0, 1, 2))
        count = x.size // x.shape[-1]
        new[n + "_m"] = 0.9 * bn[n + "_m"] + 0.1 * mean
        new[n + "_v"] = 0.9 * bn[n + "_v"] + 0.1 * var * count / (count - 1)
        return ((x32 - mean) * (lax.rsqrt(var + 1e-5) * p[n + "_g"]) + p[n + "_b"]).astype(dt)

    def loss(p, bn, batch):
        x, y = batch
        new = {}
        x = jax.nn.relu(conv_bn(p, bn, new, "stem", x.astype(dt), 1))
        for k in range(3):
            for b in range(s.blocks):
                n, st = f"s{k}b{b}", 2 if k and not b else 1
                h = jax.nn.relu(conv_bn(p, bn, new, n + "c1", x, st))
                h = conv_bn(p, bn, new, n + "c2", h, 1)
                if n + "sc" in p:
                    x = conv_bn(p, bn, new, n + "sc", x, st)
                x = jax.nn.relu(h + x)
        x = x.astype(jnp.float32).mean((1, 2))
        return xent(x @ p["w"] + p["b"], y), new

    return trainer(peer, s, inputs, loss, optax.sgd(0.01, momentum=0.9), _batches(inputs), aux=inputs["bn"])


def _gpt2(impl=None):
    def build(peer, s, inputs):
        dt, attn = DT[s.dtype], attention(impl) if impl else best_attention(peer, s.dtype)

        def loss(p, aux, batch):
            x, y = batch
            p = jax.tree.map(lambda a: a.astype(dt), p)
            b, t = x.shape
            ln = lambda n, x: layer_norm(x, p[n + "_g"], p[n + "_b"])
            dense = lambda n, x: x @ p[n + "_w"] + p[n + "_b"]
            h = p["wte"][x] + p["wpe"][:t]
            for i in range(s.layers):
                n = f"h{i}_"
                q, k, v = [a.reshape(b, t, s.heads, -1) for a in jnp.split(dense(n + "qkv", ln(n + "ln1", h)), 3, -1)]
                h = h + dense(n + "o", attn(q, k, v).reshape(b, t, s.d))
                h = h + dense(n + "proj", jax.nn.gelu(dense(n + "fc", ln(n + "ln2", h)), approximate=True))
            return xent(ln("lnf", h) @ p["wte"].T, y), aux

        batches, place = _batches(inputs), lambda tree: tree
        if s.dp > 1:  # data parallel: shard the batch, replicate the rest; XLA adds the all-reduce
            if len(jax.devices()) < s.dp:
                raise peer.Missing(f"needs {s.dp} devices")
            from jax.sharding import Mesh, NamedSharding
            from jax.sharding import PartitionSpec as P

            mesh = Mesh(np.array(jax.devices()[: s.dp]), ("data",))
            batches = [jax.device_put(b, NamedSharding(mesh, P("data"))) for b in batches]
            place = lambda tree: jax.device_put(tree, NamedSharding(mesh, P()))
        return trainer(
            peer, s, inputs, loss, optax.adamw(1e-4, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1), batches, place=place
        )

    return build


case("gpt2")(_gpt2())
case("gpt2", "xla", when=lambda peer, c: peer.gpu and c.name == "gpt2")(_gpt2("xla"))


# ---- recurrence --------------------------------------------------------------------------------------------
def _lstm(unroll):
    def build(peer, s):
        def loss(x, wih, whh, b, ct):
            xg = x @ wih + b  # all the input products in one

            def cell(hc, g):
                h, c = hc
                i, f, g, o = jnp.split(g + h @ whh, 4, -1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            z = jnp.zeros((s.b, s.h))
            return (lax.scan(cell, (z, z), xg, unroll=unroll)[1] * ct).sum()

        def f(*a):
            l, g = jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(*a)
            return l, *g

        return f

    return build


case("lstm")(_lstm(1))
case("lstm", "unroll8")(_lstm(8))


@case("lstm", "cudnn", when=on_gpu)
def _(peer, s):
    from jax.experimental import rnn

    def loss(x, wih, whh, b, ct):
        w = jnp.concatenate([wih.T.ravel(), whh.T.ravel(), b, jnp.zeros_like(b)])  # cuDNN's packed order
        z, n = jnp.zeros((1, s.b, s.h)), jnp.full((s.b,), s.t, jnp.int32)
        y, _, _ = rnn.lstm(x.swapaxes(0, 1), z, z, w, n, s.h, s.h, 1, 0.0, False)
        return (y.swapaxes(0, 1) * ct).sum()

    def f(*a):
        l, g = jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(*a)
        return l, *g

    return f


# ---- dispatch ----------------------------------------------------------------------------------------------
@case("dispatch")
def _(peer, s, inputs):
    x, p = jnp.asarray(inputs["x"]), put(inputs["params"])
    f = {
        "min": jax.jit(lambda x, p: (x + 1, ())),
        "through": jax.jit(lambda x, p: (x + 1, p)),
        "touch": jax.jit(lambda x, p: (x + 1, [a + 1 for a in p])),
    }[s.mode]
    hold = dict(x=x, p=() if s.mode == "min" else p)

    def step(i):
        hold["x"], hold["p"] = f(hold["x"], hold["p"])
        return hold["x"]

    return Train(step, lambda out: float(out.sum()), lambda: [np.asarray(a) for a in (hold["p"] or p)])
