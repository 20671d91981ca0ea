"""The examples of inference, kernels and privacy: they learn what is known in closed form, and they are JAX programs.

Each example is loaded twice: as it is, and with the names of its imports changed from ftiny's to jax's, nothing else.
The functions of both are then compared, random numbers included.
"""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest
from example_modules import assert_same, load, with_imports_of_jax

import ftiny


def on_both(name: str, program, *, rtol: float = 3e-4, atol: float = 3e-5):
    """Assert that `program(library, example)` is the same for the example and for its copy on jax; give it."""
    import jax

    result = program(ftiny, load(name))
    assert all(np.all(np.isfinite(np.asarray(x))) for x in ftiny.tree.leaves(result))
    assert_same(result, program(jax, load(name, "jax")), rtol, atol)
    return result


@pytest.fixture
def printed(opencl, capsys, monkeypatch):
    """Run an example's `main` with options, on the OpenCL device, and give what it prints."""

    def run(name: str, *options: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options, "--device", opencl])
        load(name).main()
        return capsys.readouterr().out

    return run


def number_after(label: str, text: str, which: int = -1) -> float:
    """The number that follows `label` in what an example printed, the last one by default."""
    return float(re.findall(re.escape(label) + r"\s*(-?[\d.]+(?:e-?\d+)?)", text)[which])


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first MNIST images, uint8, and their labels, int32."""
    found = ftiny.data.mnist()
    return found.x_train[:count], found.y_train[:count].astype(np.int32)


def test_only_the_imports_change():
    """The copy on jax names jax where the example names ftiny, and is the same otherwise."""
    text = "import ftiny\nimport ftiny.numpy as jnp\nfrom ftiny import grad, optimizers, stax\ny = ftiny.jit(f)(x)\n"
    assert with_imports_of_jax(text) == (
        "import jax\nimport jax.numpy as jnp\nfrom jax import grad\nfrom jax.example_libraries import optimizers\n"
        "from jax.example_libraries import stax\ny = jax.jit(f)(x)\n"
    )
    assert load("advi", "jax").jnp.__name__ == "jax.numpy"


# Gaussian process.


def test_the_gaussian_process_learns_the_noise(printed):
    """The likelihood rises and the noise that made the data is found."""
    output = printed("gaussian_process", "--points", "60", "--steps", "100")
    assert number_after("negative log-likelihood", output) < number_after("negative log-likelihood", output, 0) - 30
    assert abs(number_after("noise", output, 0) - 0.2) < 0.06
    assert number_after("root mean square error:", output) < 0.2


def test_the_gaussian_process_predicts_as_the_formula_says(opencl):
    """Mean, variance and likelihood are those of inverse and determinant in float64."""
    example = load("gaussian_process")
    params = {"amplitude": np.float32(0.3), "length": np.float32(-0.5), "noise": np.float32(-1.0)}
    with ftiny.device(opencl):
        x, y = example.make_data(ftiny.random.PRNGKey(1), 20)
        new = np.linspace(-2, 2, 7, dtype=np.float32)[:, None]
        mean, variance = ftiny.jit(example.predict)(params, x, y, new)
        value = ftiny.jit(example.negative_log_likelihood)(params, x, y)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)

    def covariance(a, b):
        return np.exp(0.6 - 0.5 * (a - b.T) ** 2 / np.exp(-1.0))

    full = covariance(x, x) + (np.exp(-2.0) + 1e-6) * np.eye(20)
    weights = np.linalg.solve(full, covariance(x, new))
    np.testing.assert_allclose(np.asarray(mean), weights.T @ y, rtol=1e-3, atol=1e-4)
    expected = np.exp(0.6) - np.sum(covariance(x, new) * weights, axis=0)
    np.testing.assert_allclose(np.asarray(variance), expected, rtol=1e-3, atol=1e-4)
    determinant = np.linalg.slogdet(full)[1]
    expected = 0.5 * (y @ np.linalg.solve(full, y) + determinant + 20 * math.log(2 * math.pi))
    np.testing.assert_allclose(float(value), expected, rtol=1e-4)


def test_the_gaussian_process_on_jax(compiled):
    """Data, likelihood, its gradient and Hessian, predictions, and three steps of training."""

    def program(library, example):
        x, y = example.make_data(library.random.PRNGKey(3), 24)
        params = {"amplitude": np.float32(0.1), "length": np.float32(-0.4), "noise": np.float32(-0.8)}
        likelihood = example.negative_log_likelihood
        optimizer = example.optimizers.adam(0.05)
        state, step = optimizer.init_fn(example.init_params()), example.make_step(optimizer)
        for number in range(3):
            state, _ = step(number, state, x, y)
        gradients = library.jit(library.value_and_grad(likelihood))(params, x, y)
        curvature = library.jit(library.hessian(likelihood))(params, x, y)
        predicted = library.jit(example.predict)(params, x, y, x[:5] + 0.1)
        return x, y, gradients, curvature, predicted, optimizer.params_fn(state)

    with ftiny.device(compiled):
        on_both("gaussian_process", program, rtol=2e-3, atol=2e-3)


# Kernel least squares.


def test_kernel_least_squares_reaches_the_direct_solution(printed):
    """Gradient descent gives the coefficients of the factorisation, and the objective has fallen."""
    output = printed("kernel_least_squares", "--points", "120", "--steps", "200")
    assert number_after("relative distance to the direct solution:", output) < 1e-4
    assert number_after("objective", output) < -1
    descent, direct = (
        number_after(f"root mean square error, {name}:", output) for name in ("gradient descent", "direct solve")
    )
    assert abs(descent - direct) < 1e-3 and direct < 0.2


def test_kernel_least_squares_on_jax(compiled):
    """The fit, the operator's gradient, and the gradient of an error of the fit by the ridge, through both loops."""

    def program(library, example):
        x, y = example.make_data(library.random.PRNGKey(5), 40)
        new, _ = example.make_data(library.random.PRNGKey(6), 10)
        operator = example.ridge_operator(example.gaussian_kernel, x, 0.5)
        gradient = library.jit(library.grad(lambda v: example.objective(operator, y, v)))

        def error(ridge):
            coefficients, _ = example.fit(x, y, ridge, 20)
            values = example.evaluate(example.gaussian_kernel, x, coefficients, new)
            return example.jnp.mean((values - example.true_function(new)) ** 2)

        by_ridge = library.jit(library.value_and_grad(error))(0.7)
        return example.fit(x, y, 0.5, 60), example.solve(x, y, 0.5), gradient(y), by_ridge

    with ftiny.device(compiled):
        on_both("kernel_least_squares", program, rtol=1e-3, atol=1e-4)


# Variational auto-encoder.


def test_the_auto_encoder_learns(printed):
    """Sixty steps take the bound from one nat a pixel, less a little, to less than a third of a nat."""
    output = printed("vae", "--steps", "60", "--hidden", "128")
    assert number_after("training ELBO", output, 0) < -500
    assert number_after("test ELBO:", output) > -250


def test_the_terms_of_the_bound():
    """The log-likelihood and the divergence are those of their definitions, in float64."""
    example = load("vae")
    generator = np.random.default_rng(0)
    logits, pixels = generator.normal(size=(3, 8)), generator.integers(0, 2, (3, 8)).astype(float)
    p = 1 / (1 + np.exp(-logits))
    expected = np.sum(np.log(np.where(pixels == 1, p, 1 - p)), axis=1)
    np.testing.assert_allclose(np.asarray(example.bernoulli_log_likelihood(logits, pixels)), expected, rtol=1e-6)

    mean, deviation = 0.7, 0.4
    z = np.linspace(-9, 9, 20001)
    density = np.exp(-0.5 * ((z - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    ratio = -0.5 * ((z - mean) / deviation) ** 2 - math.log(deviation) + 0.5 * z**2
    found = example.divergence(np.array([[mean]]), np.array([[deviation]]))
    np.testing.assert_allclose(np.asarray(found), [np.sum(density * ratio) * (z[1] - z[0])], rtol=1e-5)


def test_the_auto_encoder_on_jax(compiled):
    """Parameters, loss, gradients, and the loss of three steps."""
    pixels, _ = images(256)

    def program(library, example):
        networks = example.make_networks(4, 32)
        params = example.init_params(networks, library.random.PRNGKey(0), 4)
        grey, key = example.as_input(library.numpy.asarray(pixels[:16])), library.random.PRNGKey(7)
        function = library.jit(library.value_and_grad(lambda params: example.loss(networks, params, grey, key)))
        value_and_gradient = function(params)
        optimizer = example.optimizers.adam(1e-3)
        state, step, values = optimizer.init_fn(params), example.make_step(networks, optimizer, 32), []
        for number in range(3):
            state, value = step(number, state, library.numpy.asarray(pixels), key)
            values.append(value)
        return value_and_gradient, values

    with ftiny.device(compiled):
        on_both("vae", program, rtol=1e-3, atol=1e-4)


# Automatic differentiation variational inference.


def matrix_after(label: str, text: str) -> np.ndarray:
    """The 2 by 2 matrix that an example printed after `label`."""
    return np.array(re.findall(r"-?\d+\.\d*(?:e-?\d+)?", text.split(label)[1])[:4], float).reshape(2, 2)


def test_the_funnel_has_the_best_gaussian(printed):
    """Means, variances and divergence are those that the example's docstring derives."""
    output = printed("advi", "--steps", "400")
    expected = np.diag([math.exp(-9 / 11), 18 / 11])
    np.testing.assert_allclose(matrix_after("covariance", output), expected, rtol=0.15, atol=1e-6)
    assert abs(number_after("divergence KL(q || p):", output) - 0.5 * math.log(5.5)) < 0.03


def test_full_rank_finds_a_normal(printed):
    """The covariance is found and the divergence is gone; the bound has risen by what was lacking."""
    output = printed("advi", "--density", "normal", "--family", "full-rank", "--steps", "400")
    np.testing.assert_allclose(matrix_after("covariance", output), [[1, 0.8], [0.8, 1]], atol=0.1)
    assert number_after("bound", output, 0) < -3
    assert abs(number_after("divergence KL(q || p):", output)) < 0.02


@pytest.mark.parametrize("density, family", [("funnel", "mean-field"), ("normal", "full-rank")])
def test_advi_on_jax(compiled, density, family):
    """The bound, its gradient, and a run of twenty steps in one scan."""

    def program(library, example):
        log_density, params = example.DENSITIES[density], example.init_params(family)
        key = library.random.PRNGKey(2)
        bound = library.jit(library.value_and_grad(lambda params: example.elbo(log_density, params, key, 64)))
        optimizer = example.optimizers.adam(0.05)
        fit = example.make_fit(log_density, optimizer, 16, 20)
        state, bounds = fit(optimizer.init_fn(params), key)
        return bound(params), bounds, example.lower_factor(optimizer.params_fn(state))

    with ftiny.device(compiled):
        on_both("advi", program, rtol=2e-3, atol=1e-3)


# Differentially private gradient descent.


def test_private_training_learns(printed):
    """Eighty steps recognise most digits, and the privacy spent grows."""
    output = printed("dp_sgd", "--steps", "80", "--batch", "128")
    assert number_after("test accuracy:", output) > 0.6
    assert 0 < number_after("epsilon", output, 0) < number_after("epsilon", output) < 2


def test_one_image_moves_the_sum_by_at_most_the_clip(compiled):
    """Without noise, the gradient with and without an image differ by no more than C, though alone it is far longer."""
    pixels, labels = images(8)
    chosen, clip = np.eye(8, dtype=np.float32)[3], 0.01

    def program(library, example):
        _, params = example.NETWORK[0](library.random.PRNGKey(0), (-1, *example.IMAGE))
        inputs, key = example.as_input(library.numpy.asarray(pixels)), library.random.PRNGKey(1)
        gradient = library.jit(example.private_gradient)
        full = gradient(params, inputs, labels, np.ones(8, np.float32), key, clip, 0.0)
        less = gradient(params, inputs, labels, 1 - chosen, key, clip, 0.0)
        alone = gradient(params, inputs, labels, chosen, key, 1e6, 0.0)
        return full, less, alone

    with ftiny.device(compiled):
        trees = on_both("dp_sgd", program, rtol=1e-3, atol=1e-5)
    full, less, alone = ([np.asarray(x, np.float64) for x in ftiny.tree.leaves(tree)] for tree in trees)
    difference = [x - y for x, y in zip(full, less)]

    def norm(arrays):
        return math.sqrt(sum(np.sum(x**2) for x in arrays))

    assert norm(alone) > 10 * clip
    assert 0.99 * clip < norm(difference) < 1.01 * clip
    for x, y in zip(difference, alone):
        np.testing.assert_allclose(x, y * clip / norm(alone), rtol=0.01, atol=1e-6)


def test_the_privacy_spent():
    """The epsilon is that of the formula in exact binomials."""
    steps, rate, noise, delta = 1000, 0.01, 1.3, 1e-5

    def bound(order):
        terms = [
            math.comb(order, k) * (1 - rate) ** (order - k) * rate**k * math.exp((k * k - k) / (2 * noise**2))
            for k in range(order + 1)
        ]
        return (steps * math.log(math.fsum(terms)) + math.log(1 / delta)) / (order - 1)

    found = float(load("dp_sgd").epsilon(steps, rate, noise, delta, orders=32))
    assert abs(found - min(bound(order) for order in range(2, 32))) < 2e-3 * found


def test_private_training_on_jax(compiled):
    """Two steps with sampling and noise, and the epsilon."""
    pixels, labels = images(400)

    def program(library, example):
        _, params = example.NETWORK[0](library.random.PRNGKey(0), (-1, *example.IMAGE))
        data, key = (library.numpy.asarray(pixels), library.numpy.asarray(labels)), library.random.PRNGKey(9)
        for number in range(2):
            params = example.step(params, number, *data, key, batch=16, rate=0.5, clip=1.5, noise=1.1)
        spent = library.jit(example.epsilon)(500.0, 0.004, 1.1, 1e-5)
        return params, spent

    with ftiny.device(compiled):
        on_both("dp_sgd", program, rtol=1e-3, atol=1e-4)
