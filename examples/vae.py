"""A variational auto-encoder of MNIST: an encoder, a decoder, sampling between them, and one bound that trains both.

The model draws a code z ~ N(0, I) and then each pixel from a Bernoulli distribution whose logits the decoder computes
from z. The encoder gives, for an image x, the mean m and deviation s of a normal q(z | x) near the codes that explain
x. Training maximises a lower bound of log p(x), the ELBO:

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)),    KL = 1/2 sum(m^2 + s^2 - 1 - 2 log s)

The expectation is estimated by one sample z = m + s * e with e ~ N(0, I): as a function of m and s it has a gradient.
With logits l, log p(x | z) is the sum of x l - softplus(l). Grey pixels are made black or white at random, anew in
every step, with the grey as the probability.

Kingma and Welling, Auto-Encoding Variational Bayes (2014); Rezende, Mohamed and Wierstra, Stochastic Backpropagation
and Approximate Inference in Deep Generative Models (2014).

    python examples/vae.py --steps 2000 --codes 10 --plot samples.png
"""
import argparse

import ftiny
import ftiny.numpy as jnp
from ftiny import nn, optimizers, random, stax

from training import picture, positive, run

PIXELS = 784


def make_networks(codes, hidden):
    """Encoder, images (n, 784) to (mean, deviation) of (n, codes), and decoder, codes to logits (n, 784)."""
    deviation = stax.serial(stax.Dense(codes), stax.Softplus)
    encoder = stax.serial(stax.Dense(hidden), stax.Relu, stax.FanOut(2), stax.parallel(stax.Dense(codes), deviation))
    decoder = stax.serial(stax.Dense(hidden), stax.Relu, stax.Dense(PIXELS))
    return encoder, decoder


def init_params(networks, key, codes):
    """The parameters of encoder and decoder."""
    (init_encoder, _), (init_decoder, _) = networks
    encoder_key, decoder_key = random.split(key)
    return init_encoder(encoder_key, (-1, PIXELS))[1], init_decoder(decoder_key, (-1, codes))[1]


def bernoulli_log_likelihood(logits, x):
    """The sum over pixels of log p(x): logits and zeros or ones, both (n, 784), to (n,)."""
    return jnp.sum(logits * x - nn.softplus(logits), axis=-1)


def divergence(mean, deviation):
    """KL(N(mean, deviation^2) || N(0, I)), (n, codes) to (n,)."""
    return 0.5 * jnp.sum(mean**2 + deviation**2 - 1 - 2 * jnp.log(deviation), axis=-1)


def sample_pixels(key, grey):
    """Zeros and ones of the shape of `grey`, which holds the probabilities of a one."""
    return random.bernoulli(key, grey).astype("float32")


def elbo(networks, params, x, key):
    """The bound of each image, (n, 784) zeros and ones to (n,), from one sample of q."""
    (_, encode), (_, decode) = networks
    encoder_params, decoder_params = params
    mean, deviation = encode(encoder_params, x)
    deviation = deviation + 1e-6  # softplus rounds to zero far below zero, and its logarithm must stay finite
    z = mean + deviation * random.normal(key, mean.shape)
    return bernoulli_log_likelihood(decode(decoder_params, z), x) - divergence(mean, deviation)


def loss(networks, params, grey, key):
    """Minus the mean bound of images of shape (n, 784) in [0, 1]."""
    pixel_key, code_key = random.split(key)
    return -jnp.mean(elbo(networks, params, sample_pixels(pixel_key, grey), code_key))


def as_input(images):
    """(n, 28, 28) uint8 pixels as (n, 784) float32 in [0, 1]."""
    return images.reshape(-1, PIXELS).astype("float32") / 255


def make_step(networks, optimizer, batch):
    """One jitted step on a random batch: step(number, state, images, key) -> (state, loss)."""
    _, update, get_params = optimizer

    def step(number, state, images, key):
        index_key, loss_key = random.split(random.fold_in(key, number))
        grey = as_input(images[random.randint(index_key, (batch,), 0, images.shape[0])])
        value, gradient = ftiny.value_and_grad(lambda params: loss(networks, params, grey, loss_key))(get_params(state))
        return update(number, gradient, state), value

    return ftiny.jit(step, donate_argnums=1)


def save_samples(networks, params, key, codes, path):
    """Draw 64 codes from the prior and save the decoder's images as a picture of 8 by 8."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images = nn.sigmoid(networks[1][1](params[1], random.normal(key, (64, codes))))
    plt.imsave(path, images.reshape(8, 8, 28, 28).transpose(0, 2, 1, 3).reshape(224, 224), cmap="gray")
    print(f"samples saved to {path}")


def main():
    """Train both networks and print the bound on the test images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=positive, default=2000, help="training steps (default 2000)")
    parser.add_argument("--batch", type=positive, default=128, help="images a step (default 128)")
    parser.add_argument("--codes", type=positive, default=10, help="dimensions of a code (default 10)")
    parser.add_argument("--hidden", type=positive, default=512, help="hidden units of each network (default 512)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters and sampling (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    parser.add_argument("--plot", type=picture, default=None, metavar="FILE.png", help="save 64 images of the model")
    options = parser.parse_args()
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        found = ftiny.data.mnist()
        images, test = ftiny.device_put(found.x_train), as_input(ftiny.device_put(found.x_test))
        init_key, train_key, test_key, plot_key = random.split(random.PRNGKey(options.seed), 4)
        networks = make_networks(options.codes, options.hidden)
        optimizer = optimizers.adam(1e-3)
        state = optimizer.init_fn(init_params(networks, init_key, options.codes))
        step = make_step(networks, optimizer, options.batch)
        evaluate = ftiny.jit(lambda params, grey, key: -loss(networks, params, grey, key))
        every = max(1, options.steps // 10)
        for number in range(options.steps):
            state, value = step(number, state, images, train_key)
            if number % every == 0:
                print(f"step {number:5d}  training ELBO {-float(value):9.2f}")
        params = optimizer.params_fn(state)
        print(f"test ELBO: {float(evaluate(params, test, test_key)):.2f} nats an image")
        if options.plot:
            save_samples(networks, params, plot_key, options.codes, options.plot)


if __name__ == "__main__":
    run(main)
