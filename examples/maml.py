"""Model-agnostic meta-learning on sine waves: parameters from which one gradient step learns a new task.

A task is a curve y = a sin(x - p) with its own amplitude a and phase p, of which ten points are known. From the same
initial parameters w each task takes a gradient step of its own on its ten points, and is judged on ten others:

    adapted_i(w) = w - alpha grad L_i(w; known points),
    meta loss(w) = mean over tasks i of L_i(adapted_i(w); other points).

The meta loss is minimised over w, through the gradient steps: a gradient of a gradient. All tasks of a batch are one
`vmap`. With `--first-order` the inner gradient counts as a constant, which is cheaper and nearly as good.

Finn, Abbeel and Levine, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (2017), section 5.1.

    python examples/maml.py --steps 3000
"""
import argparse
import time
from functools import partial

import ftiny
import ftiny.numpy as jnp
from ftiny import lax, optimizers, random, stax

from training import positive, run

POINTS = 10
ALPHA = 0.01

init_network, network = stax.serial(stax.Dense(40), stax.Relu, stax.Dense(40), stax.Relu, stax.Dense(1))


def sample_task(key):
    """One task: (x, y) of the known points and (x, y) of the points to judge by, each of shape (POINTS, 1)."""
    amplitude_key, phase_key, x_key = random.split(key, 3)
    amplitude = random.uniform(amplitude_key, minval=0.1, maxval=5.0)
    phase = random.uniform(phase_key, maxval=jnp.pi)
    x = random.uniform(x_key, (2 * POINTS, 1), minval=-5.0, maxval=5.0)
    y = amplitude * jnp.sin(x - phase)
    return (x[:POINTS], y[:POINTS]), (x[POINTS:], y[POINTS:])


def sample_tasks(key, count):
    """`count` tasks: the same arrays with an axis of tasks in front."""
    return ftiny.vmap(sample_task)(random.split(key, count))


def loss(params, points):
    """The mean squared error of the network."""
    x, y = points
    return jnp.mean((network(params, x) - y) ** 2)


def adapt(params, known, first_order=False):
    """The parameters after one gradient step on the known points of a task."""
    gradient = ftiny.grad(loss)(params, known)
    if first_order:
        gradient = ftiny.tree.map(lax.stop_gradient, gradient)
    return ftiny.tree.map(lambda p, g: p - ALPHA * g, params, gradient)


def meta_loss(params, tasks, first_order=False):
    """The mean over tasks of the loss on the other points after adapting to the known ones."""
    def one(known, other):
        return loss(adapt(params, known, first_order), other)

    return jnp.mean(ftiny.vmap(one)(*tasks))


def make_step(optimizer, count, first_order=False):
    """One jitted step on `count` new tasks: step(state, number, key) -> (state, meta loss)."""
    _, update, get_params = optimizer

    def step(state, number, key):
        tasks = sample_tasks(random.fold_in(key, number), count)
        gradient_of = ftiny.value_and_grad(partial(meta_loss, first_order=first_order))
        value, gradient = gradient_of(get_params(state), tasks)
        return update(number, gradient, state), value

    return ftiny.jit(step, donate_argnums=0)


@partial(ftiny.jit, static_argnums=2)
def losses_while_adapting(params, tasks, steps):
    """The mean loss on the other points before, and after 1 to `steps`, gradient steps on the known ones."""
    def one(known, other):
        def step(adapted, _):
            return adapt(adapted, known), loss(adapted, other)

        return lax.scan(step, params, None, length=steps + 1)[1]

    return jnp.mean(ftiny.vmap(one)(*tasks), axis=0)


def report(name, params, tasks):
    """Print how the loss falls while adapting from these parameters."""
    curve = losses_while_adapting(params, tasks, 5)
    print(f"{name}: loss on new tasks after 0 to 5 gradient steps: "
          + ", ".join(f"{float(value):.3f}" for value in curve))


def main():
    """Meta-train; before and after that, adapt to tasks that are not among the training tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=positive, default=3000, help="meta-training steps (default 3000)")
    parser.add_argument("--tasks", type=positive, default=25, help="tasks a step (default 25)")
    parser.add_argument("--first-order", action="store_true", help="do not differentiate the inner gradient")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters and tasks (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        init_key, train_key, test_key = random.split(random.PRNGKey(options.seed), 3)
        params, tasks = init_network(init_key, (-1, 1))[1], sample_tasks(test_key, 200)
        report("untrained", params, tasks)
        init_state, _, get_params = optimizer = optimizers.adam(1e-3)
        step, state = make_step(optimizer, options.tasks, options.first_order), init_state(params)
        start = time.perf_counter()
        for number in range(options.steps):
            state, value = step(state, number, train_key)
            if (number + 1) % max(1, options.steps // 10) == 0:
                print(f"step {number + 1}: meta loss {float(value):.3f}, {time.perf_counter() - start:.1f} s")
        report("meta-trained", get_params(state), tasks)


if __name__ == "__main__":
    run(main)
