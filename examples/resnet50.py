"""ResNet-50 in `stax`: residual blocks from FanOut, parallel branches and FanInSum, trained with momentum.

A block adds to its input x what three convolutions make of it, relu(F(x) + x): 1x1 to few channels, 3x3, 1x1 to four
times as many. Where shape or channels change, the short way is a 1x1 convolution, relu(F(x) + W x). Fifty layers are
a 7x7 convolution, blocks in stages of 3, 4, 6 and 3, each stage half as large and twice as wide, and a dense layer.
Batch normalisation follows every convolution, here always by the statistics of the batch.

He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition (2015), table 1; that F
begins at zero is of Goyal et al., Accurate, Large Minibatch SGD (2017), section 5.1.

The images are made up: gratings in noise, whose class is their direction. A network that a CPU trains in seconds:

    python examples/resnet50.py --size 32 --width 8 --blocks 1 1 1 1 --classes 4 --steps 30

and the real one (`--blocks 3 4 23 3` is ResNet-101):

    python examples/resnet50.py --size 224 --batch 64 --classes 1000 --device cuda
"""
import argparse
import math
import time

import ftiny
import ftiny.numpy as jnp
from ftiny import nn, optimizers, random, stax

from training import positive, run

RESNET_50 = (3, 4, 6, 3)


def block(channels, stride=1, same_shape=True):
    """relu(F(x) + x), or relu(F(x) + W x) where the shape is not the same; gives 4 * `channels` channels.

    The last scale of F begins at zero, so that a block begins as its short way and a deep network as a shallow one.
    """
    strides = (stride, stride)
    main = stax.serial(
        stax.Conv(channels, (1, 1), strides), stax.BatchNorm(), stax.Relu,
        stax.Conv(channels, (3, 3), padding="SAME"), stax.BatchNorm(), stax.Relu,
        stax.Conv(4 * channels, (1, 1)), stax.BatchNorm(gamma_init=nn.initializers.zeros))
    projection = stax.serial(stax.Conv(4 * channels, (1, 1), strides), stax.BatchNorm())
    shortcut = stax.Identity if same_shape else projection
    return stax.serial(stax.FanOut(2), stax.parallel(main, shortcut), stax.FanInSum, stax.Relu)


def stage(channels, count, stride):
    """`count` blocks, of which the first changes the shape."""
    return stax.serial(block(channels, stride, same_shape=False), *(block(channels) for _ in range(count - 1)))


def mean_over_the_image():
    """A layer of our own: (batch, height, width, channels) -> (batch, channels)."""
    def init(key, input_shape):
        return (input_shape[0], input_shape[3]), ()

    def apply(params, inputs, **kwargs):
        return jnp.mean(inputs, axis=(1, 2))

    return init, apply


def resnet(classes, width=64, blocks=RESNET_50):
    """(init, predict) of the network: images of shape (batch, height, width, 3) -> logits of shape (batch, classes)."""
    stages = [stage(width * 2**i, count, stride=1 if i == 0 else 2) for i, count in enumerate(blocks)]
    return stax.serial(
        stax.Conv(width, (7, 7), (2, 2), "SAME"), stax.BatchNorm(), stax.Relu, stax.MaxPool((3, 3), (2, 2), "SAME"),
        *stages, mean_over_the_image(), stax.Dense(classes))


def parameter_count(init, image_shape):
    """The number of parameters; `eval_shape` traces `init` and makes none of them."""
    shapes = ftiny.eval_shape(lambda key: init(key, image_shape)[1], random.PRNGKey(0))
    return sum(math.prod(leaf.shape) for leaf in ftiny.tree.leaves(shapes))


def sample_images(key, batch, size, classes):
    """Images (batch, size, size, 3) of noisy gratings and their int32 classes: class k has the angle pi k / classes."""
    label_key, phase_key, noise_key = random.split(key, 3)
    labels = random.randint(label_key, (batch,), 0, classes)
    phase = random.uniform(phase_key, (batch, 1, 1), maxval=2 * jnp.pi)
    angle = (jnp.pi * labels / classes)[:, None, None]
    y, x = jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij")
    waves = jnp.sin(0.8 * (x * jnp.cos(angle) + y * jnp.sin(angle)) + phase)
    return waves[..., None] + 0.3 * random.normal(noise_key, (batch, size, size, 3)), labels


def make_loss(predict):
    """loss(params, images, labels): the mean cross-entropy."""
    def loss(params, images, labels):
        log_probabilities = nn.log_softmax(predict(params, images))
        return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))

    return loss


def make_step(predict, optimizer, batch, size, classes):
    """One jitted step on new images: step(state, number, key) -> (state, loss)."""
    _, update, get_params = optimizer
    loss = make_loss(predict)

    def step(state, number, key):
        images, labels = sample_images(random.fold_in(key, number), batch, size, classes)
        value, gradient = ftiny.value_and_grad(loss)(get_params(state), images, labels)
        return update(number, gradient, state), value

    return ftiny.jit(step, donate_argnums=0)


def main():
    """Build the network, say how large it is, train it, print the accuracy on new images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=positive, default=30, help="training steps (default 30)")
    parser.add_argument("--batch", type=positive, default=16, help="images a step (default 16)")
    parser.add_argument("--size", type=positive, default=64, help="height and width of an image (default 64)")
    parser.add_argument("--classes", type=positive, default=10, help="classes (default 10)")
    parser.add_argument("--width", type=positive, default=64, help="channels of the first convolution (default 64)")
    parser.add_argument("--blocks", type=positive, nargs="+", default=RESNET_50, help="stages (default 3 4 6 3)")
    parser.add_argument("--rate", type=float, default=0.02, help="step size of momentum (default 0.02)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters and images (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        init, predict = resnet(options.classes, options.width, options.blocks)
        image_shape = (options.batch, options.size, options.size, 3)
        print(f"parameters: {parameter_count(init, image_shape):,}")
        init_key, train_key, test_key = random.split(random.PRNGKey(options.seed), 3)
        init_state, _, get_params = optimizer = optimizers.momentum(options.rate, mass=0.9)
        state = init_state(init(init_key, image_shape)[1])
        step = make_step(predict, optimizer, *image_shape[:2], options.classes)
        for number in range(options.steps):
            start = time.perf_counter()
            state, value = step(state, number, train_key)
            if number == 0 or (number + 1) % max(1, options.steps // 10) == 0:
                print(f"step {number + 1}: loss {float(value):.3f}, {time.perf_counter() - start:.2f} s")
        images, labels = sample_images(test_key, 4 * options.batch, options.size, options.classes)
        right = jnp.argmax(ftiny.jit(predict)(get_params(state), images), axis=1) == labels
        print(f"accuracy on new images: {float(jnp.mean(right)):.3f}")


if __name__ == "__main__":
    run(main)
