"""The benchmark cases in ftiny, written as an ftiny user would: one jit a case, donated train state.

Cases whose math needs something that ftiny does not compile yet have no builder here and are reported as missing.
"""

import os

if os.environ.get("YARDSTICK_SUITE") == "cpu":
    os.environ.setdefault("FTINY_DEVICE", "opencl")
import numpy as np
from peer_base import PeerBase, Train, registry

import ftiny
import ftiny.numpy as jnp
from ftiny import lax, nn, random, tree

builders, case = registry()
DTYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16, "fp16": jnp.float16}


class Peer(PeerBase):
    """ftiny on its default device (FTINY_DEVICE chooses another)."""

    builders = builders

    def __init__(self, **keywords):
        super().__init__(**keywords)
        if keywords["gpu"] and ftiny.default_device().kind != "cuda":
            raise SystemExit(f"ftiny sees no GPU: {ftiny.devices()}")

    def about(self):
        """One line: version and device."""
        return f"ftiny {ftiny.__version__} on {ftiny.default_device().name}"

    def load(self, case, arrays):
        """The inputs of an op on the device, in the case's dtype."""
        dtype = DTYPES[case.dtype]
        return [ftiny.device_put(a.astype(dtype) if a.dtype == np.float32 else a) for a in arrays]

    def compile_op(self, f, case, s):
        """One jit around the op."""
        return ftiny.jit(f)

    def sync(self, out):
        """Wait for the last output."""
        ftiny.block_until_ready(out)

    def host(self, case, out):
        """Outputs as float32 numpy arrays."""
        return [np.asarray(leaf).astype(np.float32) for leaf in tree.leaves(out)]


# ---- memory-bound ------------------------------------------------------------------------------------------
@case("pointwise")
def _(peer, s):
    return lambda a, b, c: nn.gelu(a * b + c, approximate=True) * nn.sigmoid(a)


@case("sum")
def _(peer, s):
    return lambda x: x.sum()


@case("softmax")
def _(peer, s):
    return lambda x: nn.softmax(x, axis=-1)


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
        y, vjp = ftiny.vjp(layer_norm, x, g, b)
        return y, *vjp(dy)

    return f


def xent(logits, labels):
    """Mean softmax cross-entropy with integer labels."""
    z = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(z, labels[..., None], axis=-1)[..., 0]
    return (nn.logsumexp(z, axis=-1) - chosen).mean()


@case("xent")
def _(peer, s):
    return ftiny.value_and_grad(xent)


@case("transpose")
def _(peer, s):
    return lambda x: x.T


@case("cumsum")
def _(peer, s):
    return lambda x: jnp.cumsum(x, axis=-1)


@case("gather")
def _(peer, s):
    return lambda table, ids: table[ids]


@case("scatter_add")
def _(peer, s):
    return lambda ids, dy: jnp.zeros((s.v, s.d), dy.dtype).at[ids].add(dy)


@case("scatter_add", "unordered")
def _(peer, s):
    return lambda ids, dy: jnp.zeros((s.v, s.d), dy.dtype).at[ids].add(dy, unordered=True)


@case("scatter_add_1d")
def _(peer, s):
    return lambda ids, w: jnp.zeros(s.v, w.dtype).at[ids].add(w)


@case("scatter_add_1d", "unordered")
def _(peer, s):
    return lambda ids, w: jnp.zeros(s.v, w.dtype).at[ids].add(w, unordered=True)


# ---- matrix products and convolutions ----------------------------------------------------------------------
@case("matmul")
def _(peer, s):
    return lambda a, b: a @ b


@case("matmul_bias_gelu")
def _(peer, s):
    return lambda a, b, bias: nn.gelu(a @ b + bias, approximate=True)


def conv2d(x, w, stride=1, groups=1, padding=((1, 1), (1, 1))):
    """A convolution in NHWC with HWIO weights."""
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, feature_group_count=groups, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@case("conv")
def _(peer, s):
    return lambda x, w: conv2d(x, w, s.stride, s.groups)


@case("conv_dx")
def _(peer, s):
    def f(w, dy):
        x = jnp.zeros((s.b, s.hw, s.hw, s.ci), w.dtype)
        return ftiny.vjp(lambda x: conv2d(x, w, s.stride, s.groups), x)[1](dy)[0]

    return f


@case("conv_dw")
def _(peer, s):
    def f(x, dy):
        w = jnp.zeros((3, 3, s.ci // s.groups, s.co), x.dtype)
        return ftiny.vjp(lambda w: conv2d(x, w, s.stride, s.groups), w)[1](dy)[0]

    return f


# ---- train steps -------------------------------------------------------------------------------------------
def put(values):
    """A tree of numpy arrays on the device."""
    return tree.map(ftiny.device_put, values)


def sgd_momentum(lr=0.01, mass=0.9):
    """m = mass*m + g; p -= lr*m."""

    def update(p, g, m):
        m = tree.map(lambda m, g: mass * m + g, m, g)
        return tree.map(lambda p, m: p - lr * m, p, m), m

    return lambda p: tree.map(jnp.zeros_like, p), update


def adam(lr=1e-3, b1=0.9, b2=0.999, eps=1e-8):
    """Adam with bias correction, as optax's default."""

    def init(p):
        return tree.map(jnp.zeros_like, p), tree.map(jnp.zeros_like, p), jnp.zeros((), jnp.int32)

    def update(p, g, state):
        m, v, count = state
        count = count + 1
        m = tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, g)
        v = tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
        c1, c2 = 1 - jnp.power(b1, count), 1 - jnp.power(b2, count)
        return tree.map(lambda p, m, v: p - lr * (m / c1) / (jnp.sqrt(v / c2) + eps), p, m, v), (m, v, count)

    return init, update


def trainer(peer, s, inputs, loss_fn, optimizer, batches, aux=None):
    """loss_fn(params, aux, batch) -> (loss, aux).  batches: list of device batches, one a step in turn."""
    init, update = optimizer
    params = put(inputs["params"])
    names = list(inputs["params"])
    hold = dict(state=(params, () if aux is None else put(aux), init(params)))

    def one(state, batch):
        p, aux, opt = state
        (loss, aux), g = ftiny.value_and_grad(loss_fn, has_aux=True)(p, aux, batch)
        p, opt = update(p, g, opt)
        return (p, aux, opt), loss

    f = ftiny.jit(one, donate_argnums=0)

    def step(i):
        hold["state"], loss = f(hold["state"], batches[i % len(batches)])
        return loss

    return Train(step, float, lambda: [np.asarray(hold["state"][0][k]) for k in names])


def _batches(inputs):
    return [put((x, y)) for x, y in zip(inputs["x"], inputs["y"])]


def mlp_loss(p, aux, batch):
    """Three dense layers with relu, mean cross-entropy."""
    x, y = batch
    for i in range(3):
        x = x @ p[f"w{i}"] + p[f"b{i}"]
        if i < 2:
            x = nn.relu(x)
    return xent(x, y), aux


@case("mlp")
def _(peer, s, inputs):
    return trainer(peer, s, inputs, mlp_loss, sgd_momentum(), _batches(inputs))


def max_pool(x):
    """2x2 max-pooling in NHWC."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@case("mnist")
def _(peer, s, inputs):
    data = put((inputs["images"], inputs["labels"]))

    def loss(p, aux, data):
        images, labels = data
        if s.random:
            aux, k1, k2 = random.split(aux, 3)
            idx = random.randint(k1, (s.batch,), 0, s.n)
        else:
            idx = (aux * s.batch + jnp.arange(s.batch)) % s.n
            aux = aux + 1
        x = images[idx].astype(jnp.float32) / 255
        for i in range(2):
            x = max_pool(nn.relu(conv2d(x, p[f"c{i}"], padding="VALID") + p[f"cb{i}"]))
        x = x.reshape(s.batch, -1)
        if s.random:
            x = jnp.where(random.bernoulli(k2, 0.5, x.shape), x * 2, 0)
        return xent(x @ p["w"] + p["b"], labels[idx]), aux

    aux = np.array([0, 0], np.uint32) if s.random else np.int32(0)
    return trainer(peer, s, inputs, loss, adam(), [data], aux)


# ---- recurrence --------------------------------------------------------------------------------------------
@case("lstm")
def _(peer, s):
    def loss(x, wih, whh, b, ct):
        xg = x @ wih + b

        def cell(hc, g):
            h, c = hc
            i, f, g, o = jnp.split(g + h @ whh, 4, -1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        z = jnp.zeros((s.b, s.h))
        return (lax.scan(cell, (z, z), xg)[1] * ct).sum()

    def f(*a):
        value, g = ftiny.value_and_grad(loss, argnums=(0, 1, 2, 3))(*a)
        return value, *g

    return f


# ---- dispatch ----------------------------------------------------------------------------------------------
@case("dispatch")
def _(peer, s, inputs):
    x, p = put(inputs["x"]), put(inputs["params"])
    f = {
        "min": ftiny.jit(lambda x, p: (x + 1, ())),
        "through": ftiny.jit(lambda x, p: (x + 1, p)),
        "touch": ftiny.jit(lambda x, p: (x + 1, [a + 1 for a in p])),
    }[s.mode]
    hold = dict(x=x, p=() if s.mode == "min" else p)

    def step(i):
        hold["x"], hold["p"] = f(hold["x"], hold["p"])
        return hold["x"]

    return Train(step, lambda out: float(out.sum()), lambda: [np.asarray(a) for a in (hold["p"] or p)])
