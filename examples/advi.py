"""Automatic differentiation variational inference: a Gaussian fitted to a density of the plane by gradients of samples.

Given log p(z), the normal q(z) = N(m, L L') that is nearest to p maximises the bound

    E_q[log p(z)] + H(q) = log(integral of p) - KL(q || p),    H(q) = sum(log L_ii) + d/2 (1 + log(2 pi))

A sample of q is z = m + L e with e ~ N(0, I): a differentiable function of m and L, so the mean over samples has a
gradient (the reparameterisation). log p is written for one point, `vmap` runs it over the samples, and one `scan` of
optimiser steps is one compiled program. With --family mean-field L is diagonal, with full-rank lower triangular.

Two densities, both with integral 1, so that minus the bound is the divergence itself:

    funnel    z_2 ~ N(0, 3^2), z_1 ~ N(0, exp(z_2)) of Neal (2003): no Gaussian fits. The best diagonal one has means 0,
              variances exp(-9/11) and 18/11, and the divergence 1/2 log 5.5 = 0.852.
    normal    correlated with correlation 0.8: full-rank finds it, mean-field has variances that are too small.

Kucukelbir, Tran, Ranganath, Gelman and Blei, Automatic Differentiation Variational Inference (2017); Neal, Slice
Sampling (2003).

    python examples/advi.py --density funnel --family mean-field --steps 1000
"""
import argparse
import math

import ftiny
import ftiny.numpy as jnp
from ftiny import lax, optimizers, random, vmap

from training import positive, run

NORMAL_MEAN = (1.0, -0.5)
NORMAL_CORRELATION = 0.8


def log_normal(x, mean, log_deviation):
    """The logarithm of the density of N(mean, exp(log_deviation)^2) at x."""
    return -0.5 * ((x - mean) / jnp.exp(log_deviation)) ** 2 - log_deviation - 0.5 * math.log(2 * math.pi)


def funnel(z):
    """log p of a point of shape (2,): the second coordinate sets the width of the first."""
    return log_normal(z[1], 0.0, math.log(3.0)) + log_normal(z[0], 0.0, z[1] / 2)


def normal(z):
    """log p of a point of shape (2,), normal with deviations 1: the second coordinate given the first."""
    first, second = z[0] - NORMAL_MEAN[0], z[1] - NORMAL_MEAN[1]
    rest = math.sqrt(1 - NORMAL_CORRELATION**2)
    return log_normal(first, 0.0, 0.0) + log_normal(second, NORMAL_CORRELATION * first, math.log(rest))


DENSITIES = {"funnel": funnel, "normal": normal}


def init_params(family, dimensions=2):
    """The standard normal: mean, logarithm of L's diagonal, and for full-rank what is below the diagonal."""
    params = {"mean": jnp.zeros(dimensions), "log_diagonal": jnp.zeros(dimensions)}
    if family == "full-rank":
        params["below"] = jnp.zeros((dimensions, dimensions))
    return params


def lower_factor(params):
    """L, (d, d), with a positive diagonal."""
    diagonal = jnp.diag(jnp.exp(params["log_diagonal"]))
    return diagonal + jnp.tril(params["below"], -1) if "below" in params else diagonal


def elbo(log_density, params, key, samples):
    """The bound, a scalar: the mean over samples of log p, and the entropy, which is known."""
    dimensions = len(params["mean"])
    noise = random.normal(key, (samples, dimensions))
    z = params["mean"] + noise @ lower_factor(params).T
    entropy = jnp.sum(params["log_diagonal"]) + 0.5 * dimensions * (1 + math.log(2 * math.pi))
    return jnp.mean(vmap(log_density)(z)) + entropy


def make_fit(log_density, optimizer, samples, steps):
    """A jitted run of steps: fit(state, key) -> (state, the bound before each step), each with fresh samples."""
    _, update, get_params = optimizer

    def fit(state, key):
        def step(state, number):
            params = get_params(state)
            sample_key = random.fold_in(key, number)
            value, gradient = ftiny.value_and_grad(lambda p: -elbo(log_density, p, sample_key, samples))(params)
            return update(number, gradient, state), -value

        return lax.scan(step, state, jnp.arange(steps))

    return ftiny.jit(fit)


def main():
    """Fit the Gaussian and print its mean, its covariance and its divergence from the density."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--density", choices=DENSITIES, default="funnel", help="what is fitted (default funnel)")
    parser.add_argument("--family", choices=("mean-field", "full-rank"), default="mean-field", help="shape of L")
    parser.add_argument("--samples", type=positive, default=256, help="samples a step (default 256)")
    parser.add_argument("--steps", type=positive, default=1000, help="steps of Adam (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        log_density = DENSITIES[options.density]
        # Adam with a fixed step would go on trembling with the noise of the samples.
        optimizer = optimizers.adam(optimizers.polynomial_decay(0.05, options.steps, 0.0005))
        fit_key, test_key = random.split(random.PRNGKey(options.seed))
        fit = make_fit(log_density, optimizer, options.samples, options.steps)
        state, bounds = fit(optimizer.init_fn(init_params(options.family)), fit_key)
        for number in range(0, options.steps, max(1, options.steps // 10)):
            print(f"step {number:5d}  bound {float(bounds[number]):9.4f}")
        params = optimizer.params_fn(state)
        factor = lower_factor(params)
        print("mean", params["mean"])
        print("covariance", factor @ factor.T)
        divergence = -ftiny.jit(lambda params: elbo(log_density, params, test_key, 100_000))(params)
        print(f"divergence KL(q || p): {float(divergence):.4f}")


if __name__ == "__main__":
    run(main)
