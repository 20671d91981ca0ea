"""A neural ODE: an adaptive Dormand-Prince solver, gradients by the adjoint method, and a pendulum to learn.

The model is a differential equation, dy/dt = f(y, t, w) with f a small network. A Runge-Kutta method of order 5 follows
it from y(t0); one of order 4 with the same slopes tells the error and so the step size. That is a `while_loop` of
nobody knows how many steps, and a reverse-mode derivative of the loop would have to keep them all. The adjoint method
keeps none: a(t) = dL/dy(t) obeys an equation of its own, solved backwards together with y,

    da/dt = -a . df/dy,        dL/dw = integral from t0 to t1 of a . df/dw dt,

and both products with a are one vjp of f. `custom_vjp` gives the solver that derivative.

Chen, Rubanova, Bettencourt and Duvenaud, Neural Ordinary Differential Equations (2018), appendix C; Dormand and Prince,
A family of embedded Runge-Kutta formulae (1980); step sizes as in Hairer, Norsett and Wanner, Solving Ordinary
Differential Equations I, section II.4.

    python examples/neural_ode.py --steps 300
"""
import argparse
import time
from functools import partial

import ftiny
import ftiny.numpy as jnp
from ftiny import lax, optimizers, random, stax, tree

from training import positive, run

# The tableau of Dormand and Prince: where a stage is in time, and its weights of the slopes before. The weights of the
# last stage are those of the solution of order 5, so its slope is the first one of the next step.
STAGES = ((1 / 5, (1 / 5,)),
          (3 / 10, (3 / 40, 9 / 40)),
          (4 / 5, (44 / 45, -56 / 15, 32 / 9)),
          (8 / 9, (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729)),
          (1, (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656)),
          (1, (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)))
ERROR_WEIGHTS = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # order 5 minus order 4
TOLERANCE = 1e-5
MOST_STEPS = 1000

init_network, network = stax.serial(stax.Dense(32), stax.Tanh, stax.Dense(2))


def moved(y, step, weights, slopes):
    """y + step * (the weighted sum of the slopes), for pytrees."""
    used = [(w, k) for w, k in zip(weights, slopes) if w]
    return tree.map(lambda y, *ks: y + step * sum(w * k for (w, _), k in zip(used, ks)), y, *(k for _, k in used))


def error_ratio(y, after, step, slopes):
    """The root mean square of the estimated error of a step, over what is tolerated; a step is good up to 1."""
    error = moved(tree.map(jnp.zeros_like, y), step, ERROR_WEIGHTS, slopes)
    ratios = tree.map(lambda e, a, b: e / (TOLERANCE * (1 + jnp.maximum(abs(a), abs(b)))), error, y, after)
    squares = [jnp.sum(r**2) for r in tree.leaves(ratios)]
    return jnp.sqrt(sum(squares) / sum(r.size for r in tree.leaves(ratios)))


def integrate(f, y, start, stop):
    """y(stop) of dy/dt = f(y, t) with y(start) = y, a pytree; stop may be before start. Time runs as s from 0 to 1."""
    def slope(y, s):
        return tree.map(lambda k: (stop - start) * k, f(y, start + s * (stop - start)))

    def unfinished(carry):
        s, _, _, _, count = carry
        return (s < 1) & (count < MOST_STEPS)

    def try_step(carry):
        s, step, y, first_slope, count = carry
        step = jnp.minimum(step, 1 - s)
        slopes = [first_slope]
        for c, weights in STAGES:
            after = moved(y, step, weights, slopes)
            slopes.append(slope(after, s + c * step))
        ratio = error_ratio(y, after, step, slopes)
        choose = partial(jnp.where, ratio <= 1)
        factor = jnp.clip(0.9 * jnp.maximum(ratio, 1e-10) ** -0.2, 0.2, 5.0)
        return (choose(s + step, s), step * factor, tree.map(choose, after, y),
                tree.map(choose, slopes[-1], first_slope), count + 1)

    return lax.while_loop(unfinished, try_step, (jnp.float32(0), jnp.float32(0.1), y, slope(y, 0.0), 0))[2]


@partial(ftiny.custom_vjp, nondiff_argnums=(0,))
def odeint(f, y, times, params):
    """y at each of `times`, stacked along a new first axis; dy/dt = f(y, t, params), and y is the value at times[0]."""
    def advance(y, interval):
        y = integrate(lambda y, t: f(y, t, params), y, *interval)
        return y, y

    _, later = lax.scan(advance, y, (times[:-1], times[1:]))
    return jnp.concatenate([y[None], later])


def odeint_forward(f, y, times, params):
    """The solution, and what the way back needs."""
    ys = odeint(f, y, times, params)
    return ys, (ys, times, params)


def odeint_backward(f, saved, adjoints):
    """dL/dy(times[0]), dL/dtimes and dL/dparams from dL/dy at each of the times, interval by interval from the last."""
    ys, times, params = saved

    def backwards(state, t):
        y, a, _ = state
        value, pullback = ftiny.vjp(lambda y, params: f(y, t, params), y, params)
        return (value, *tree.map(jnp.negative, pullback(a)))

    def retreat(carry, interval):
        a, gradient = carry
        y, adjoint, before, now = interval
        _, a, gradient = integrate(backwards, (y, a + adjoint, gradient), now, before)
        return (a, gradient), jnp.sum(adjoint * f(y, now, params))

    (a, gradient), time_gradients = lax.scan(
        retreat, tree.map(jnp.zeros_like, (ys[0], params)), (ys[1:], adjoints[1:], times[:-1], times[1:]), reverse=True)
    first = -jnp.sum(a * f(ys[0], times[0], params))
    return a + adjoints[0], jnp.concatenate([first[None], time_gradients]), gradient


odeint.defvjp(odeint_forward, odeint_backward)


def pendulum(y, t, damping):
    """The equation to learn, a damped pendulum: y[..., 0] is its angle, y[..., 1] the angular velocity."""
    angle, velocity = y[..., 0], y[..., 1]
    return jnp.stack([velocity, -jnp.sin(angle) - damping * velocity], axis=-1)


def model(y, t, params):
    """The slope according to the network."""
    return network(params, y)


def loss(params, y, times, targets):
    """The mean squared distance of the solutions from y (shape (batch, 2)) to the targets (times, batch, 2)."""
    return jnp.mean((odeint(model, y, times, params) - targets) ** 2)


def make_step(optimizer, batch, length):
    """One jitted step on random pieces of the curve: step(state, number, times, curve, key) -> (state, loss)."""
    _, update, get_params = optimizer

    def step(state, number, times, curve, key):
        starts = random.randint(random.fold_in(key, number), (batch,), 0, curve.shape[0] - length + 1)
        targets = curve[starts + jnp.arange(length)[:, None]]
        value, gradient = ftiny.value_and_grad(loss)(get_params(state), targets[0], times[:length], targets)
        return update(number, gradient, state), value

    return ftiny.jit(step, donate_argnums=0)


def main():
    """Follow a pendulum, a spiral in the plane of angle and velocity; learn it from pieces; follow the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=positive, default=300, help="training steps (default 300)")
    parser.add_argument("--batch", type=positive, default=32, help="pieces of the curve a step (default 32)")
    parser.add_argument("--length", type=positive, default=10, help="points of a piece, of 200 (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters and pieces (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        start, times = jnp.array([[2.5, 0.0]]), jnp.linspace(0, 20, 200)
        follow = ftiny.jit(odeint, static_argnums=0)
        curve = follow(pendulum, start, times, 0.2)
        init_key, train_key = random.split(random.PRNGKey(options.seed))
        init_state, _, get_params = optimizer = optimizers.adam(1e-2)
        state = init_state(init_network(init_key, (-1, 2))[1])
        step, begin = make_step(optimizer, options.batch, options.length), time.perf_counter()
        for number in range(options.steps):
            state, value = step(state, number, times, curve[:, 0], train_key)
            if number == 0 or (number + 1) % max(1, options.steps // 10) == 0:
                print(f"step {number + 1}: loss {float(value):.6f}, {time.perf_counter() - begin:.1f} s")
        learned = follow(model, start, times, get_params(state))
        print(f"mean distance of the model's path from the pendulum's: "
              f"{float(jnp.mean(jnp.linalg.norm(learned - curve, axis=-1))):.3f}")


if __name__ == "__main__":
    run(main)
