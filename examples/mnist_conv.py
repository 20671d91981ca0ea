"""MNIST with a small convolutional network and Adam; sampling, dropout and update are part of one compiled step.

Conv 3x3 (1-32), relu, max-pool, conv 3x3 (32-64), relu, max-pool, dropout 0.5, dense 1600-10.

    python examples/mnist_conv.py --steps 1500 --device cuda --seed 0 --plot curve.png
"""
import ftiny
import ftiny.numpy as jnp
from ftiny import nn, optimizers, random, stax

from training import arguments, run, train


def as_input(images):
    """(n, 28, 28) uint8 pixels as (n, 28, 28, 1) float32 in [0, 1]."""
    return (images.reshape(-1, 28, 28, 1) / 255).astype("float32")


def network():
    """(init, predict, predict_with_dropout): the network for evaluation and for training, with the same parameters."""
    def layers(mode):
        pool = stax.MaxPool((2, 2), strides=(2, 2))
        return stax.serial(stax.Conv(32, (3, 3)), stax.Relu, pool, stax.Conv(64, (3, 3)), stax.Relu, pool,
                           stax.Flatten, stax.Dropout(0.5, mode=mode), stax.Dense(10))
    init, predict = layers("test")
    return init, predict, layers("train")[1]


def make_step(predict, optimizer, batch):
    """One jitted step: sample a batch on the device, forward with dropout, backward, Adam."""
    _, update, get_params = optimizer
    predict_with_dropout = network()[2]

    def loss(params, images, labels, key):
        logits = predict_with_dropout(params, images, rng=key)
        return -jnp.mean(jnp.sum(nn.one_hot(labels, 10) * nn.log_softmax(logits), axis=1))

    def step(state, images, labels, key):
        optimizer_state, number = state
        sample_key, dropout_key = random.split(random.fold_in(key, number))
        index = random.randint(sample_key, (batch,), 0, images.shape[0])
        params = get_params(optimizer_state)
        value, gradient = ftiny.value_and_grad(loss)(params, as_input(images[index]), labels[index], dropout_key)
        return (update(number, gradient, optimizer_state), number + 1), value

    return ftiny.jit(step, donate_argnums=0)


def main():
    """Build the network, train it, print the test accuracy."""
    options = arguments(__doc__.splitlines()[0], steps=1500)
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        init, predict, _ = network()
        train(options, make_step, init, predict, optimizers.adam(1e-3), as_input)


if __name__ == "__main__":
    run(main)
