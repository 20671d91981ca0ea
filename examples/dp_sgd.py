"""Differentially private training on MNIST: gradients of single examples by `vmap(grad)`, clipped, summed, with noise.

No training image may show in the result. Each step takes each of the n images with probability q, by itself, and

    g_i <- gradient of the loss of example i alone,     g_i <- g_i / max(1, |g_i| / C)     (norm over all parameters)
    parameters <- parameters - rate / (q n) * (sum of g_i + C s N(0, I))

One image moves the sum by at most C, which hides in noise of deviation C s. What T steps give away is (epsilon, delta)
privacy, counted by the Renyi divergence of order a between the outcomes with and without one image:

    R(a) = 1/(a - 1) log sum_k binomial(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 s^2))
    epsilon = min over a = 2, 3, ... of T R(a) + log(1 / delta) / (a - 1)

A batch has a random size, but a compiled program has fixed shapes: there are places for 6 deviations more than the
mean, which about one batch in 10^9 exceeds (it loses its last images), and the weight of an empty place is 0.

Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar and Zhang, Deep Learning with Differential Privacy (2016); Mironov,
Talwar and Zhang, Renyi Differential Privacy of the Sampled Gaussian Mechanism (2019), section 3.3.

    python examples/dp_sgd.py --steps 500 --batch 256 --clip 1.5 --noise 1.1
"""
import argparse
import math
from functools import partial

import ftiny
import ftiny.numpy as jnp
from ftiny import grad, nn, random, stax, tree, vmap
from ftiny.scipy.special import gammaln, xlog1py

from training import accuracy_function, positive, run

NETWORK = stax.serial(
    stax.Conv(16, (8, 8), strides=(2, 2), padding="SAME"), stax.Relu, stax.MaxPool((2, 2), (2, 2)),
    stax.Conv(32, (4, 4), strides=(2, 2)), stax.Relu, stax.Flatten, stax.Dense(32), stax.Relu, stax.Dense(10),
)  # fmt: skip
IMAGE = (28, 28, 1)


def as_input(images):
    """(n, 28, 28) uint8 pixels as (n, 28, 28, 1) float32 in [0, 1]."""
    return images.reshape(-1, *IMAGE).astype("float32") / 255


def loss(params, image, label):
    """The cross-entropy of one image of shape (28, 28, 1), a scalar."""
    logits = NETWORK[1](params, image[None])[0]
    return -nn.log_softmax(logits)[label]


def clipped_gradient(params, image, label, clip):
    """The gradient for one example, made shorter where its norm over all parameters is above `clip`."""
    gradient = grad(loss)(params, image, label)
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in tree.leaves(gradient)))
    return tree.map(lambda g: g / jnp.maximum(1.0, norm / clip), gradient)


def private_gradient(params, images, labels, weights, key, clip, noise):
    """The weighted sum of the clipped gradients of all examples, with noise of deviation clip * noise."""
    gradients = vmap(clipped_gradient, in_axes=(None, 0, 0, None))(params, images, labels, clip)
    leaves, structure = tree.flatten(gradients)
    sums = [jnp.tensordot(weights, g, axes=1) for g in leaves]
    keys = random.split(key, len(sums))
    return tree.unflatten(structure, [g + clip * noise * random.normal(k, g.shape) for g, k in zip(sums, keys)])


def sample(key, count, batch):
    """Each of `count` examples with probability batch / count: indices, padded, and weights 1 or, for padding, 0."""
    places = min(count, math.ceil(batch + 6 * math.sqrt(batch)))
    chosen = random.bernoulli(key, batch / count, (count,))
    (index,) = jnp.nonzero(chosen, size=places, fill_value=0)
    return index, (jnp.arange(places) < jnp.sum(chosen)).astype("float32")


@partial(ftiny.jit, static_argnames="batch", donate_argnums=0)
def step(params, number, images, labels, key, *, batch, rate, clip, noise):
    """The parameters after one private step on uint8 images of shape (n, 28, 28)."""
    sample_key, noise_key = random.split(random.fold_in(key, number))
    index, weights = sample(sample_key, len(images), batch)
    gradient = private_gradient(params, as_input(images[index]), labels[index], weights, noise_key, clip, noise)
    return tree.map(lambda p, g: p - rate / batch * g, params, gradient)


def epsilon(steps, rate, noise, delta, orders=64):
    """The privacy spent after `steps` steps that take each example with probability `rate`: smaller is more private."""
    order = jnp.arange(2.0, orders)[:, None]
    k = jnp.arange(float(orders))
    log_binomial = gammaln(order + 1) - gammaln(k + 1) - gammaln(jnp.maximum(order - k, 0) + 1)
    terms = log_binomial + xlog1py(order - k, -rate) + k * jnp.log(rate) + (k**2 - k) / (2 * noise**2)
    divergence = nn.logsumexp(jnp.where(k <= order, terms, -jnp.inf), axis=1) / (order[:, 0] - 1)
    return jnp.min(steps * divergence + jnp.log(1 / delta) / (order[:, 0] - 1))


def main():
    """Train, print accuracy and privacy spent as they grow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=positive, default=500, help="training steps (default 500)")
    parser.add_argument("--batch", type=positive, default=256, help="mean number of images a step (default 256)")
    parser.add_argument("--rate", type=float, default=0.5, help="step size (default 0.5)")
    parser.add_argument("--clip", type=float, default=1.5, help="C, the largest norm of a gradient (default 1.5)")
    parser.add_argument("--noise", type=float, default=1.1, help="s, the noise for one C (default 1.1)")
    parser.add_argument("--delta", type=float, default=1e-5, help="delta of the privacy (default 1e-5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters, sampling and noise (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    if not (options.clip > 0 and options.noise > 0 and 0 < options.delta < 1):
        parser.error("clip and noise must be above zero, and delta between 0 and 1")
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        found = ftiny.data.mnist()
        if options.batch > len(found.x_train):
            parser.error(f"a batch of {options.batch} is larger than the {len(found.x_train)} training images")
        images, labels = ftiny.device_put(found.x_train), ftiny.device_put(found.y_train.astype("int32"))
        test, test_labels = as_input(ftiny.device_put(found.x_test)), ftiny.device_put(found.y_test.astype("int32"))
        init_key, train_key = random.split(random.PRNGKey(options.seed))
        _, params = NETWORK[0](init_key, (-1, *IMAGE))
        accuracy, spent = accuracy_function(NETWORK[1]), ftiny.jit(epsilon)
        settings = {"batch": options.batch, "rate": options.rate, "clip": options.clip, "noise": options.noise}
        every = max(1, options.steps // 10)
        for number in range(1, options.steps + 1):
            params = step(params, number, images, labels, train_key, **settings)
            if number % every == 0 or number == options.steps:
                reached = accuracy(params, test, test_labels)
                privacy = spent(number, options.batch / len(images), options.noise, options.delta)
                print(f"step {number:5d}  test accuracy: {reached:.4f}  epsilon {float(privacy):.3f}", flush=True)
        print(f"({float(privacy):.2f}, {options.delta:g})-differentially private, test accuracy: {reached:.4f}")


if __name__ == "__main__":
    run(main)
