"""The two training steps that the compiler is judged by, at any size, and what tests do with a program."""

from __future__ import annotations

import numpy as np

import ftiny.numpy as fnp
from ftiny import contraction, core, folds, random, tree
from ftiny.contraction import Direct, Window
from ftiny.lowering import compile
from ftiny.lowering.device import get_device
from ftiny.lowering.fuse import fuse
from ftiny.lowering.groups import Fused, check_groups
from ftiny.lowering.interpret import interpret
from ftiny.lowering.simplify import simplify
from ftiny.transforms.grad import value_and_grad
from ftiny.transforms.jit import make_jaxpr


def relu(x):
    """max(x, 0), with derivative 0 at 0."""
    return fnp.where(x > 0, x, 0.0)


def log_softmax(x):
    """Along the last axis."""
    shifted = x - fnp.max(x, axis=-1, keepdims=True)
    return shifted - fnp.log(fnp.sum(fnp.exp(shifted), axis=-1, keepdims=True))


def cross_entropy(logits, labels):
    """The mean over the rows, for integer labels."""
    hits = (labels[:, None] == fnp.arange(logits.shape[-1])).astype("float32")
    return -fnp.mean(fnp.sum(log_softmax(logits) * hits, axis=-1))


def mlp_step(params, velocity, x, labels, rate):
    """One step of momentum on a relu network of (weight, bias) layers."""

    def loss(params):
        h = x
        for w, b in params[:-1]:
            h = relu(h @ w + b)
        w, b = params[-1]
        return cross_entropy(h @ w + b, labels)

    value, gradient = value_and_grad(loss)(params)
    velocity = [tuple(0.9 * v + g for v, g in zip(vs, gs)) for vs, gs in zip(velocity, gradient)]
    return [tuple(p - rate * v for p, v in zip(ps, vs)) for ps, vs in zip(params, velocity)], velocity, value


def mlp_arguments(sizes=(12, 16, 16, 10), batch=8):
    """Arguments for `mlp_step`."""
    draw = np.random.default_rng(0)
    params = [(draw.normal(size=(a, b)).astype("f4") / np.float32(np.sqrt(a)), np.zeros(b, "f4"))
              for a, b in zip(sizes, sizes[1:])]
    velocity = [tuple(np.zeros_like(p) for p in layer) for layer in params]
    x = draw.random((batch, sizes[0])).astype("f4")
    return params, velocity, x, draw.integers(0, sizes[-1], batch).astype("i4"), np.float32(0.1)


def convolve(x, w):
    """A 'valid' convolution of NHWC images with an HWIO kernel."""
    (n, h, width, c), (kh, kw, _, o) = x.shape, w.shape
    sizes = {0: n, 1: h - kh + 1, 2: width - kw + 1, 3: c, 4: kh, 5: kw, 6: o}
    operands = [[Direct(0), Window(1, 4), Window(2, 5), Direct(3)], [Direct(4), Direct(5), Direct(3), Direct(6)]]
    return folds.contract(x, w, contraction.make_spec(operands, [0, 1, 2, 6], sizes))


def max_pool(x):
    """The largest of every 2x2 pixels."""
    n, h, w, c = x.shape
    axes = [Direct(0), Window(1, 4, 2), Window(2, 5, 2), Direct(3)]
    spec = contraction.make_spec([axes], [0, 1, 2, 3], {0: n, 1: h // 2, 2: w // 2, 3: c, 4: 2, 5: 2})
    return folds.reduce_with_offset(x, "max_with_offset", spec)[0]


def conv_step(params, first, second, count, images, labels, key, batch=8):
    """One step of Adam on two convolutions, a max-pool, dropout and a dense layer; the batch is drawn on the device."""
    batch_key, drop_key = random.split(key)
    chosen = random.randint(batch_key, (batch,), 0, images.shape[0])
    x, y = images[chosen].astype("float32") / 255.0, labels[chosen]

    def loss(params):
        w1, b1, w2, b2, w3, b3 = params
        h = max_pool(relu(convolve(relu(convolve(x, w1) + b1), w2) + b2))
        h = fnp.reshape(h, (h.shape[0], -1))
        h = fnp.where(random.bernoulli(drop_key, 0.5, h.shape), h / 0.5, 0.0)
        return cross_entropy(h @ w3 + b3, y)

    value, gradient = value_and_grad(loss)(params)
    count = count + 1
    steps = count.astype("float32")
    first = [0.9 * m + 0.1 * g for m, g in zip(first, gradient)]
    second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradient)]
    scale, root = 1 - 0.9 ** steps, 1 - 0.999 ** steps
    params = [p - 1e-3 * (m / scale) / (fnp.sqrt(v / root) + 1e-8) for p, m, v in zip(params, first, second)]
    return params, first, second, count, value


def conv_arguments(pixels=12, channels=(1, 8, 16), count=40):
    """Arguments for `conv_step`."""
    draw = np.random.default_rng(0)
    _, c1, c2 = channels
    side = (pixels - 4) // 2
    shapes = [(3, 3, channels[0], c1), (c1,), (3, 3, c1, c2), (c2,), (side * side * c2, 10), (10,)]
    params = [(draw.normal(size=s) * 0.1).astype("f4") for s in shapes]
    images = draw.integers(0, 255, (count, pixels, pixels, channels[0])).astype("u1")
    labels = draw.integers(0, 10, count).astype("i4")
    zeros = [np.zeros_like(p) for p in params]
    return params, zeros, [z.copy() for z in zeros], np.int32(0), images, labels, np.array([0, 7], np.uint32)


# ---- what tests do with a program -----------------------------------------------------------------------------


def program_of(function, *arguments):
    """The jaxpr of a function, and its arguments as a list of arrays (constants first)."""
    jaxpr = make_jaxpr(function)(*arguments)
    leaves = [np.asarray(leaf) for leaf in tree.flatten(arguments)[0]]
    return jaxpr, leaves


def groups_of(function, *arguments) -> Fused:
    """The checked groups of a function."""
    fused = fuse(simplify(program_of(function, *arguments)[0]).jaxpr)
    check_groups(fused)
    return fused


def kinds(fused: Fused) -> list[str]:
    """The kinds of the groups, in order."""
    return [group.kind for group in fused.groups]


def check_compiled(function, *arguments, device="opencl", tolerance=1e-4, donated=()):
    """Compile a function, run it, and compare every result with the interpreter's. Returns the results."""
    jaxpr, leaves = program_of(function, *arguments)
    wanted = interpret(jaxpr, leaves)
    where = get_device(device)
    executable = compile(jaxpr, where, donated=donated)
    memories = [where.from_host(np.asarray(c)) for c in (*jaxpr.consts, *leaves)]
    found = [where.to_host(m, v.aval) for m, v in zip(executable.run(memories, donated), jaxpr.outputs)]
    for number, (have, want) in enumerate(zip(found, wanted)):
        assert (have.shape, have.dtype) == (want.shape, want.dtype), number
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(have.astype(wide), want.astype(wide), rtol=tolerance, atol=tolerance,
                                   err_msg=f"result {number}")
    assert core.check_jaxpr(jaxpr) is None
    return found
