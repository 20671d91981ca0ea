"""The examples that train a model: each learns in a few steps, and is the same in jax after changing its imports.

`load(name)` imports an example as it is, `load(name, "jax")` the same text with other import lines.
"""

from __future__ import annotations

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from example_modules import assert_same, load

import ftiny


def assert_same_in_jax(name: str, make, *args, **tolerance):
    """`make(module)(*args)`, compiled, is the same for the example in ftiny and in jax; args hold numpy arrays."""
    import jax

    ours, theirs = make(load(name)), make(load(name, "jax"))
    assert_same(ftiny.jit(ours)(*args), jax.jit(theirs)(*args), **tolerance)


def losses(step, state, count: int, *args) -> list[float]:
    """The losses of `count` training steps."""
    found = []
    for number in range(count):
        state, loss = step(state, number, *args)
        found.append(float(loss))
    return found


def as_numpy(values):
    """A pytree of numpy arrays, which both libraries take."""
    return ftiny.tree.map(np.asarray, values)


def random_like(values, seed: int = 0):
    """A pytree of the same shapes with normal numbers: no parameter is zero, so no derivative vanishes by accident."""
    generator = np.random.default_rng(seed)
    return ftiny.tree.map(lambda x: generator.normal(size=x.shape).astype(np.float32) * 0.3, values)


@pytest.fixture(autouse=True)
def on_opencl(opencl):
    with ftiny.device(opencl):
        yield


@pytest.mark.parametrize(
    "name, options, says",
    [
        ("resnet50", "--size 16 --width 4 --blocks 1 2 --classes 3 --batch 4", "accuracy on new images: "),
        ("neural_ode", "--batch 2 --length 3", "mean distance of the model's path"),
        ("lstm", "--hidden 8 --length 5", "sample:\nT"),
        ("maml", "--tasks 2", "meta-trained: loss on new tasks after 0 to 5"),
    ],
    ids=["resnet50", "neural_ode", "lstm", "maml"],
)
def test_program_runs(name, options, says, monkeypatch, capsys):
    """As a user starts it, for two steps on the interpreter."""
    monkeypatch.setattr(sys, "argv", [name, "--steps", "2", "--device", "numpy", *options.split()])
    load(name).main()
    output = capsys.readouterr().out
    assert output.startswith("device: numpy") and "step 2: " in output and says in output


# ---- resnet50 ------------------------------------------------------------------------------------------------------


def test_resnet50_has_its_parameters():
    """25.6 million: the 25,557,032 of the paper's network, and a bias for each of 26,560 channels of convolutions."""
    resnet50 = load("resnet50")
    init, _ = resnet50.resnet(1000)
    assert resnet50.parameter_count(init, (1, 224, 224, 3)) == 25_557_032 + 26_560


def test_resnet50_learns():
    """A narrow network with one block a stage learns the direction of gratings."""
    resnet50 = load("resnet50")
    init, predict = resnet50.resnet(4, width=8, blocks=(1, 1))
    optimizer = resnet50.optimizers.momentum(0.05, mass=0.9)
    state = optimizer[0](init(ftiny.random.PRNGKey(0), (16, 16, 16, 3))[1])
    step = resnet50.make_step(predict, optimizer, 16, 16, 4)
    found = losses(step, state, 25, ftiny.random.PRNGKey(1))
    assert np.mean(found[-5:]) < 0.4 * found[0], found


def test_resnet50_in_jax():
    """Images, the first parameters, and loss and gradient."""
    def images_and_parameters(resnet50):
        init, _ = resnet50.resnet(4, width=8, blocks=(1, 1))

        def both(key):
            return resnet50.sample_images(key, 16, 16, 4), init(key, (16, 16, 16, 3))[1]

        return both

    def loss_and_gradient(resnet50):
        _, predict = resnet50.resnet(4, width=8, blocks=(1, 1))
        return resnet50.ftiny.value_and_grad(resnet50.make_loss(predict))

    key = np.array([0, 7], np.uint32)
    assert_same_in_jax("resnet50", images_and_parameters, key)
    (images, labels), params = as_numpy(ftiny.jit(images_and_parameters(load("resnet50")))(key))
    params = random_like(params)
    assert_same_in_jax("resnet50", loss_and_gradient, params, images, labels, rtol=1e-3, atol=1e-4)


# ---- neural_ode ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ode():
    """(parameters, start, times, targets) of a small problem; the times are not equally far apart."""
    neural_ode = load("neural_ode")
    params = as_numpy(neural_ode.init_network(ftiny.random.PRNGKey(3), (-1, 2))[1])
    generator = np.random.default_rng(0)
    start = generator.normal(size=(4, 2)).astype(np.float32)
    targets = generator.normal(size=(3, 4, 2)).astype(np.float32)
    return params, start, np.array([0.0, 0.7, 1.0], np.float32), targets


def loss_and_gradients(neural_ode, odeint):
    """(value, gradients by parameters, start and times) of the loss with a solver."""
    def loss(params, start, times, targets):
        path = odeint(neural_ode.model, start, times, params)
        return neural_ode.jnp.mean((path - targets) ** 2)

    return neural_ode.ftiny.value_and_grad(loss, argnums=(0, 1, 2))


def test_neural_ode_learns():
    """Pieces of the pendulum's path."""
    neural_ode = load("neural_ode")
    times = ftiny.numpy.linspace(0, 20, 200)
    follow = ftiny.jit(neural_ode.odeint, static_argnums=0)
    curve = follow(neural_ode.pendulum, ftiny.numpy.array([[2.5, 0.0]]), times, 0.2)[:, 0]
    optimizer = neural_ode.optimizers.adam(1e-2)
    state = optimizer[0](neural_ode.init_network(ftiny.random.PRNGKey(0), (-1, 2))[1])
    found = losses(neural_ode.make_step(optimizer, 16, 6), state, 30, times, curve, ftiny.random.PRNGKey(1))
    assert np.mean(found[-5:]) < 0.3 * found[0], found


def test_neural_ode_solves_the_pendulum():
    """Without friction the energy stays; and a small swing has the period 2 pi."""
    neural_ode = load("neural_ode")
    times = np.array([0.0, 3.0, 2 * np.pi], np.float32)
    path = ftiny.jit(neural_ode.odeint, static_argnums=0)(
        neural_ode.pendulum, ftiny.numpy.array([[2.0, 0.5], [0.01, 0.0]]), times, 0.0)
    angle, velocity = np.moveaxis(np.asarray(path), -1, 0)
    energy = velocity**2 / 2 - np.cos(angle)
    np.testing.assert_allclose(energy, np.broadcast_to(energy[0], energy.shape), atol=1e-4)
    np.testing.assert_allclose(angle[2, 1], 0.01, atol=1e-4)


def test_neural_ode_adjoint_is_the_derivative(ode, monkeypatch):
    """The adjoint method gives what differentiating through the steps of the solver gives."""
    neural_ode = load("neural_ode")
    adjoint = ftiny.jit(loss_and_gradients(neural_ode, neural_ode.odeint))(*ode)
    bounded = SimpleNamespace(scan=ftiny.lax.scan, while_loop=partial(ftiny.lax.while_loop, max_steps=12))
    monkeypatch.setattr(neural_ode, "lax", bounded)
    through_steps = ftiny.jit(loss_and_gradients(neural_ode, neural_ode.odeint.__wrapped__))(*ode)
    assert_same(adjoint, through_steps, rtol=2e-3, atol=2e-4)


def test_neural_ode_adjoint_is_that_of_fixed_steps(ode):
    """The same against the classical Runge-Kutta method with 20 steps for each interval."""
    neural_ode = load("neural_ode")

    def fixed_steps(f, y, times, params):
        def interval(y, ends):
            start, stop = ends
            step = (stop - start) / 20

            def advance(number, y):
                t = start + number * step
                k1 = f(y, t, params)
                k2 = f(y + step / 2 * k1, t + step / 2, params)
                k3 = f(y + step / 2 * k2, t + step / 2, params)
                return y + step / 6 * (k1 + 2 * k2 + 2 * k3 + f(y + step * k3, t + step, params))

            y = ftiny.lax.fori_loop(0, 20, advance, y)
            return y, y

        return ftiny.numpy.concatenate([y[None], ftiny.lax.scan(interval, y, (times[:-1], times[1:]))[1]])

    adjoint = ftiny.jit(loss_and_gradients(neural_ode, neural_ode.odeint))(*ode)
    assert_same(adjoint, ftiny.jit(loss_and_gradients(neural_ode, fixed_steps))(*ode), rtol=2e-3, atol=2e-4)


def test_neural_ode_in_jax(ode):
    """Loss and gradients by the adjoint method."""
    assert_same_in_jax("neural_ode", lambda m: loss_and_gradients(m, m.odeint), *ode, rtol=1e-3, atol=1e-4)


# ---- lstm ----------------------------------------------------------------------------------------------------------


def test_lstm_learns():
    """From about log(30) nats a character to less than half of that."""
    lstm = load("lstm")
    characters, text = lstm.encode(lstm.TEXT)
    optimizer = lstm.optimizers.adam(1e-2)
    state = optimizer[0](lstm.init_params(ftiny.random.PRNGKey(0), len(characters), 48))
    found = losses(lstm.make_step(optimizer, 16, 24), state, 40, text, ftiny.random.PRNGKey(1))
    assert found[0] > 3 and np.mean(found[-5:]) < 1.4, found


def test_lstm_in_jax():
    """The first parameters, loss and gradient, and the characters that are drawn."""
    lstm, in_jax = load("lstm"), load("lstm", "jax")
    (characters, text), (_, text_in_jax) = lstm.encode(lstm.TEXT), in_jax.encode(lstm.TEXT)
    assert_same(text, text_in_jax)
    key = np.array([0, 5], np.uint32)
    assert_same_in_jax("lstm", lambda m: lambda key: m.init_params(key, len(characters), 48), key)
    params = random_like(lstm.init_params(ftiny.random.PRNGKey(0), len(characters), 48))
    windows = np.asarray(text)[:400].reshape(16, 25)
    assert_same_in_jax("lstm", lambda m: m.ftiny.value_and_grad(m.loss), params, windows)
    assert_same(lstm.sample(params, key, text[0], 30), in_jax.sample(params, key, text_in_jax[0], 30))


# ---- maml ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_order", [False, True])
def test_maml_learns(first_order):
    """The loss of new tasks after one gradient step falls; before that step it need not."""
    maml = load("maml")
    optimizer = maml.optimizers.adam(5e-3)
    params = maml.init_network(ftiny.random.PRNGKey(0), (-1, 1))[1]
    tasks = maml.sample_tasks(ftiny.random.PRNGKey(2), 100)
    before = np.asarray(maml.losses_while_adapting(params, tasks, 1))
    state, step = optimizer[0](params), maml.make_step(optimizer, 25, first_order)
    for number in range(400):
        state, _ = step(state, number, ftiny.random.PRNGKey(1))
    after = np.asarray(maml.losses_while_adapting(optimizer[2](state), tasks, 1))
    assert after[1] < 0.5 * before[1] and after[1] < 0.7 * after[0], (before, after)


@pytest.mark.parametrize("first_order", [False, True])
def test_maml_in_jax(first_order):
    """Tasks, and the meta loss with its gradient, which has second derivatives."""
    maml = load("maml")
    key = np.array([0, 3], np.uint32)
    assert_same_in_jax("maml", lambda m: lambda key: m.sample_tasks(key, 5), key)
    tasks = as_numpy(maml.sample_tasks(ftiny.random.PRNGKey(3), 5))
    params = as_numpy(maml.init_network(ftiny.random.PRNGKey(0), (-1, 1))[1])
    assert_same_in_jax(
        "maml", lambda m: m.ftiny.value_and_grad(partial(m.meta_loss, first_order=first_order)), params, tasks)


def test_maml_differentiates_the_inner_gradient():
    """With and without second derivatives the value is the same and the gradient is not."""
    maml = load("maml")
    tasks = maml.sample_tasks(ftiny.random.PRNGKey(3), 5)
    params = maml.init_network(ftiny.random.PRNGKey(0), (-1, 1))[1]
    value, gradient = ftiny.jit(ftiny.value_and_grad(maml.meta_loss))(params, tasks)
    first_order = partial(maml.meta_loss, first_order=True)
    value_1, gradient_1 = ftiny.jit(ftiny.value_and_grad(first_order))(params, tasks)
    np.testing.assert_allclose(float(value), float(value_1), rtol=1e-5)
    assert not np.allclose(np.asarray(gradient[0][0]), np.asarray(gradient_1[0][0]), rtol=1e-2)
