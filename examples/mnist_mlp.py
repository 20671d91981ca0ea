"""MNIST with a multilayer perceptron: 784-1024-1024-10, batch 128, momentum; the whole step is one compiled program.

    python examples/mnist_mlp.py --steps 2000 --device opencl --seed 0 --plot curve.png
"""
import ftiny
import ftiny.numpy as jnp
from ftiny import nn, optimizers, random, stax

from training import arguments, run, train


def as_input(images):
    """(n, 28, 28) uint8 pixels as (n, 784) float32 in [0, 1]."""
    return (images.reshape(-1, 784) / 255).astype("float32")


def make_step(predict, optimizer, batch):
    """One jitted step: sample a batch on the device, forward, backward, update."""
    _, update, get_params = optimizer

    def loss(params, images, labels):
        return -jnp.mean(jnp.sum(nn.one_hot(labels, 10) * nn.log_softmax(predict(params, images)), axis=1))

    def step(state, images, labels, key):
        optimizer_state, number = state
        index = random.randint(random.fold_in(key, number), (batch,), 0, images.shape[0])
        params = get_params(optimizer_state)
        value, gradient = ftiny.value_and_grad(loss)(params, as_input(images[index]), labels[index])
        return (update(number, gradient, optimizer_state), number + 1), value

    return ftiny.jit(step, donate_argnums=0)


def main():
    """Build the network, train it, print the test accuracy."""
    options = arguments(__doc__.splitlines()[0], steps=2000)
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        init, predict = stax.serial(stax.Dense(1024), stax.Relu, stax.Dense(1024), stax.Relu, stax.Dense(10))
        train(options, make_step, init, predict, optimizers.momentum(0.05, mass=0.9), as_input)


if __name__ == "__main__":
    run(main)
