"""Kernel ridge regression with products only: gradient descent on a linear operator, beside the direct solve.

Ridge regression in the space of a kernel k finds the function f(x) = sum_i a_i k(x, x_i) whose coefficients solve

    (K + r I) a = y,    K_ij = k(x_i, x_j)

for points x_i, values y and the ridge r. The same `a` minimises the quadratic 1/2 a' (K + r I) a - y' a. That needs
only the product of K + r I with a vector: a Python function, whatever is behind it. `grad` of the quadratic, through
that function, gives the direction. The largest eigenvalue L of the operator, found by power iteration, gives the step
1/L, and Nesterov's acceleration with the momentum (q - 1) / (q + 1), q = sqrt(L / r), makes the error of the objective
fall like (1 - 1/q)^t instead of (1 - 1/q^2)^t. The loops are `fori_loop` and `scan`: all of it is one program.

Saunders, Gammerman and Vovk, Ridge Regression Learning Algorithm in Dual Variables (1998); Nesterov, Introductory
Lectures on Convex Optimization (2004), section 2.2.

    python examples/kernel_least_squares.py --points 400 --ridge 1.0 --steps 300
"""
import argparse
from functools import partial

import ftiny
import ftiny.numpy as jnp
from ftiny import grad, lax, random, vmap

from training import positive, run


def make_data(key, points, noise=0.1):
    """Points in the square [-1, 1]^2 and noisy values of a smooth function: (points, 2) and (points,)."""
    point_key, noise_key = random.split(key)
    x = random.uniform(point_key, (points, 2), minval=-1.0, maxval=1.0)
    return x, true_function(x) + noise * random.normal(noise_key, (points,))


def true_function(x):
    """What the values are made of: (n, 2) to (n,)."""
    return jnp.sin(3 * x[:, 0]) * jnp.cos(2 * x[:, 1])


def gaussian_kernel(x, y, length=0.5):
    """The kernel of two points of shape (d,), a scalar."""
    return jnp.exp(-jnp.sum((x - y) ** 2) / (2 * length**2))


def row(kernel, points, x):
    """The kernel of one point x with each of the points: (n, d) and (d,) to (n,)."""
    return vmap(kernel, in_axes=(None, 0))(x, points)


def evaluate(kernel, points, coefficients, new):
    """f(x) = sum_i a_i k(x, x_i) at each of the points `new`: (m, d) to (m,)."""
    return vmap(lambda x: row(kernel, points, x) @ coefficients)(new)


def ridge_operator(kernel, points, ridge):
    """The function v -> (K + r I) v."""
    return lambda vector: evaluate(kernel, points, vector, points) + ridge * vector


def objective(operator, target, vector):
    """1/2 v' A v - b' v for a symmetric positive operator A: its gradient is A v - b."""
    return 0.5 * vector @ operator(vector) - target @ vector


def largest_eigenvalue(operator, start, steps=30):
    """The largest eigenvalue of a symmetric positive operator, from below, by power iteration."""
    def step(_, vector):
        vector = operator(vector)
        return vector / jnp.linalg.norm(vector)

    vector = lax.fori_loop(0, steps, step, start / jnp.linalg.norm(start))
    return vector @ operator(vector)


def minimise(function, start, step_size, momentum, steps):
    """Nesterov's gradient descent: the last point, and the value of the function before each step, (steps,)."""
    def step(carry, _):
        vector, ahead = carry
        next_vector = ahead - step_size * grad(function)(ahead)
        return (next_vector, next_vector + momentum * (next_vector - vector)), function(vector)

    (vector, _), values = lax.scan(step, (start, start), None, length=steps)
    return vector, values


@partial(ftiny.jit, static_argnums=3)
def fit(x, y, ridge, steps):
    """Coefficients by gradient descent with products only, and the objective before each step."""
    operator = ridge_operator(gaussian_kernel, x, ridge)
    # Power iteration comes near the eigenvalue from below, so the step has a margin.
    largest = 1.05 * largest_eigenvalue(operator, jnp.ones_like(y))
    root = jnp.sqrt(largest / ridge)
    return minimise(partial(objective, operator, y), jnp.zeros_like(y), 1 / largest, (root - 1) / (root + 1), steps)


@ftiny.jit
def solve(x, y, ridge):
    """Coefficients by a factorisation of the matrix, which is made for this alone."""
    matrix = vmap(partial(row, gaussian_kernel, x))(x)
    return jnp.linalg.solve(matrix + ridge * jnp.eye(len(x)), y)


def main():
    """Fit both ways, compare the coefficients and the error at new points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=positive, default=400, help="observations (default 400)")
    parser.add_argument("--ridge", type=float, default=1.0, help="the ridge, above zero (default 1.0)")
    parser.add_argument("--steps", type=positive, default=300, help="steps of gradient descent (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of points and noise (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    if not options.ridge > 0:
        parser.error(f"the ridge must be above zero, not {options.ridge}")
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        data_key, test_key = random.split(random.PRNGKey(options.seed))
        x, y = make_data(data_key, options.points)
        coefficients, values = fit(x, y, options.ridge, options.steps)
        for number in range(0, options.steps, max(1, options.steps // 10)):
            print(f"step {number:4d}  objective {float(values[number]):10.4f}")
        direct = solve(x, y, options.ridge)
        distance = jnp.linalg.norm(coefficients - direct) / jnp.linalg.norm(direct)
        print(f"relative distance to the direct solution: {float(distance):.2e}")

        new, _ = make_data(test_key, 1000)
        for name, found in (("gradient descent", coefficients), ("direct solve", direct)):
            error = evaluate(gaussian_kernel, x, found, new) - true_function(new)
            print(f"root mean square error, {name}: {float(jnp.sqrt(jnp.mean(error**2))):.4f}")


if __name__ == "__main__":
    run(main)
