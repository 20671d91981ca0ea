"""Gaussian-process regression: the hyperparameters are learnt by gradients through a Cholesky factorisation.

A Gaussian process says that the values of an unknown function at any points x_1 .. x_n are jointly normal with the
covariance K_ij = k(x_i, x_j). Observations y = f(x) + noise then have the covariance C = K + s^2 I and the density

    -log p(y) = 1/2 y' C^-1 y + 1/2 log det C + n/2 log(2 pi)

With C = L L' (Cholesky) the first term is 1/2 |L^-1 y|^2 and the second the sum of the logarithms of L's diagonal. Its
minimum over the parameters of k and s weighs fit against complexity without held-out data. For new points with
covariances k_* to the old ones,

    mean = k_*' C^-1 y,    variance = k(x_*, x_*) - k_*' C^-1 k_*

The kernel is written for one pair of points; two `vmap`s make the matrix.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 2.25, 2.26 and 2.30, algorithm 2.1.

    python examples/gaussian_process.py --points 60 --steps 200
"""
import argparse
import math
from functools import partial

import ftiny
import ftiny.numpy as jnp
from ftiny import optimizers, random, vmap
from ftiny.scipy.linalg import solve_triangular

from training import positive, run

NOISE = 0.2


def true_function(x):
    """What the observations are made of: points of shape (n, 1) to values of shape (n,)."""
    return jnp.sin(3 * x[:, 0]) + 0.5 * x[:, 0]


def make_data(key, points):
    """Points in [-2, 2] of shape (points, 1) and noisy observations of shape (points,)."""
    point_key, noise_key = random.split(key)
    x = random.uniform(point_key, (points, 1), minval=-2.0, maxval=2.0)
    return x, true_function(x) + NOISE * random.normal(noise_key, (points,))


def init_params():
    """The logarithms of amplitude, length and noise: whatever a step makes of them, the three stay positive."""
    return {"amplitude": jnp.zeros(()), "length": jnp.zeros(()), "noise": jnp.zeros(())}


def kernel(params, x, y):
    """The covariance of the function at two points of shape (d,): a^2 exp(-|x - y|^2 / (2 l^2)), a scalar."""
    difference = (x - y) / jnp.exp(params["length"])
    return jnp.exp(2 * params["amplitude"] - 0.5 * jnp.sum(difference**2))


def covariance(params, x, y):
    """The kernel of every pair: (n, d) and (m, d) to (n, m)."""
    row = vmap(partial(kernel, params), in_axes=(None, 0))
    return vmap(row, in_axes=(0, None))(x, y)


def factor(params, x):
    """The lower Cholesky factor of the covariance of the observations at x; 1e-6 more noise keeps it regular."""
    return jnp.linalg.cholesky(covariance(params, x, x) + (jnp.exp(2 * params["noise"]) + 1e-6) * jnp.eye(len(x)))


def negative_log_likelihood(params, x, y):
    """-log p(y), the quantity that training minimises."""
    lower = factor(params, x)
    whitened = solve_triangular(lower, y, lower=True)
    return 0.5 * whitened @ whitened + jnp.sum(jnp.log(jnp.diag(lower))) + 0.5 * len(y) * math.log(2 * math.pi)


def predict(params, x, y, new):
    """Mean and variance of the function at the points `new` of shape (m, d), given the observations: two (m,)."""
    lower = factor(params, x)
    whitened = solve_triangular(lower, y, lower=True)
    cross = solve_triangular(lower, covariance(params, x, new), lower=True)
    prior = vmap(lambda point: kernel(params, point, point))(new)
    return cross.T @ whitened, prior - jnp.sum(cross**2, axis=0)


def make_step(optimizer):
    """One jitted step of the optimiser: step(number, state, x, y) -> (state, negative log-likelihood before it)."""
    _, update, get_params = optimizer

    def step(number, state, x, y):
        value, gradient = ftiny.value_and_grad(negative_log_likelihood)(get_params(state), x, y)
        return update(number, gradient, state), value

    return ftiny.jit(step)


def main():
    """Observe a function at random points, learn the hyperparameters, predict it with error bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=positive, default=60, help="observations (default 60)")
    parser.add_argument("--steps", type=positive, default=200, help="steps of Adam (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of points and noise (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        x, y = make_data(random.PRNGKey(options.seed), options.points)
        optimizer = optimizers.adam(0.05)
        state, step = optimizer.init_fn(init_params()), make_step(optimizer)
        every = max(1, options.steps // 10)
        for number in range(options.steps):
            state, value = step(number, state, x, y)
            if number % every == 0:
                print(f"step {number:4d}  negative log-likelihood {float(value):8.3f}")
        params = optimizer.params_fn(state)
        print("learnt: " + ", ".join(f"{name} {math.exp(float(value)):.3f}" for name, value in sorted(params.items())))
        print(f"true noise: {NOISE}")

        new = jnp.linspace(-2, 2, 9)[:, None]
        mean, variance = ftiny.jit(predict)(params, x, y, new)
        deviation = jnp.sqrt(jnp.maximum(variance, 0))
        print("     x    truth     mean  +- 2 deviations")
        for point, truth, middle, width in zip(new[:, 0], true_function(new), mean, 2 * deviation):
            print(f"{float(point):6.2f}  {float(truth):7.3f}  {float(middle):7.3f}  {float(width):7.3f}")
        error = jnp.sqrt(jnp.mean((mean - true_function(new)) ** 2))
        print(f"root mean square error: {float(error):.4f}")


if __name__ == "__main__":
    run(main)
