"""`debug_key_reuse`: what counts as using a key twice, and what the error says."""

from __future__ import annotations

import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import lax, random
from ftiny.errors import KeyReuseError


@pytest.fixture(autouse=True)
def checked():
    with ftiny.device("numpy"), ftiny.debug_key_reuse():
        yield


def reused(function, *args) -> str:
    """The message of the `KeyReuseError` of a call."""
    with pytest.raises(KeyReuseError) as caught:
        function(*args)
    assert "test_key_reuse.py" in str(caught.value)
    return str(caught.value)


def test_the_message_names_both_lines():
    key = random.PRNGKey(0)
    random.split(key)  # the first use
    text = reused(lambda: random.normal(key, (2,)))  # the second use
    assert text.index("random.normal") < text.index("random.split(key)  # the first use") < text.index("fold_in")
    assert text.index("clone") < text.index("random.normal(key, (2,)))  # the second use")


@pytest.mark.parametrize("wrapped", [lambda f: f, ftiny.jit], ids=["eager", "jit"])
def test_twice(wrapped):
    draw = wrapped(lambda key: random.normal(key, (2,)))
    key = random.PRNGKey(1)
    draw(key)
    reused(draw, key)
    reused(wrapped(lambda key: random.split(key)), key)
    keys = random.split(random.PRNGKey(2), 3)
    draw(keys[0]), draw(keys[1])
    reused(draw, keys[0])
    reused(draw, np.asarray(keys)[1])
    reused(wrapped(lambda key: (random.uniform(key), random.uniform(key))), random.PRNGKey(3))


def test_what_uses_no_key_up():
    key = random.PRNGKey(0)
    random.fold_in(key, 1), random.fold_in(key, 2), random.key_data(key), random.key_impl(key), np.asarray(key)
    random.normal(key)
    random.fold_in(key, 3)
    reused(random.normal, key)
    random.normal(random.clone(key))
    reused(random.normal, key)
    random.normal(random.PRNGKey(0))


def test_the_usual_loop():
    key = random.PRNGKey(0)
    for _ in range(3):
        key, subkey = random.split(key)
        random.normal(subkey)
    for step in range(3):
        random.bernoulli(random.fold_in(key, step))
    reused(random.uniform, random.split(key, 3)[1])  # which is fold_in(key, 1)
    for subkey in random.split(random.PRNGKey(1), 3):
        random.uniform(subkey)


def test_a_program_that_starts_again_from_its_seed():
    def program(key):
        key, subkey = random.split(key)
        noise = random.normal(subkey)
        for step in range(2):
            noise += random.normal(random.fold_in(random.split(key, 5)[step], 7))
            key = random.fold_in(key, step)
        return noise.item()

    assert program(random.PRNGKey(0)) == program(random.PRNGKey(0))
    key = random.PRNGKey(1)
    program(key)
    program(random.clone(key))
    reused(program, key)


def test_only_inside():
    key = random.PRNGKey(0)
    with ftiny.debug_key_reuse():
        random.normal(key)
    with ftiny.debug_key_reuse():
        random.normal(key)
        with ftiny.debug_key_reuse(False):
            pass
        reused(random.normal, key)
    program = ftiny.jit(lambda x: x + 1)
    assert program(1.0) == 2 and program.trace_count == 0
    random.normal(key)


def test_loops():
    key = random.PRNGKey(0)
    text = reused(lax.scan, lambda carry, _: (carry, random.normal(key)), 0.0, fnp.arange(3))
    assert "body of a scan" in text and "fold_in" in text
    reused(lambda: lax.fori_loop(0, 3, lambda i, x: x + random.normal(key), 0.0))
    reused(lambda: lax.while_loop(lambda x: x < 3, lambda x: x + random.uniform(key), 0.0))
    reused(ftiny.jit(lambda key: lax.map(lambda x: x + random.normal(key), fnp.arange(3.0))), key)
    nested = lambda carry, _: (lax.cond(carry > 0, lambda: random.normal(key), lambda: 0.0), None)  # noqa: E731
    reused(lax.scan, nested, 0.0, fnp.arange(3))


def test_loops_with_keys_of_their_own():
    def step(key, x):
        key, subkey = random.split(key)
        return key, random.normal(subkey) + x

    key, _ = lax.scan(step, random.PRNGKey(0), fnp.arange(3.0))
    lax.scan(lambda carry, key: (carry, random.normal(key)), 0.0, random.split(key, 3))
    start = random.PRNGKey(1)
    lax.fori_loop(0, 3, lambda i, x: x + random.normal(random.fold_in(start, i)), 0.0)
    lax.fori_loop(0, 3, lambda i, x: x + random.normal(random.PRNGKey(0)), 0.0)
    lax.fori_loop(0, 3, lambda i, x: x + random.normal(random.clone(start)), 0.0)
    reused(lax.scan, lambda key, _: (key, random.normal(key) + random.normal(key)), start, fnp.arange(3))


def test_branches_use_a_key_once():
    key = random.PRNGKey(0)
    lax.cond(True, lambda: random.normal(key), lambda: random.uniform(key))
    reused(random.normal, key)
    used = random.PRNGKey(1)
    random.normal(used)
    reused(lax.cond, True, lambda: random.normal(used), lambda: 0.0)
    reused(lambda key: lax.cond(True, lambda: random.normal(key) * random.normal(key), lambda: 0.0), random.PRNGKey(2))


def test_under_transformations():
    key = random.PRNGKey(0)

    def loss(w, key):
        first, second = random.split(key)
        return w * random.normal(first) + random.normal(second)

    ftiny.jit(ftiny.grad(loss))(1.0, key)
    reused(ftiny.grad(loss), 1.0, key)
    ftiny.vmap(loss)(fnp.ones(3), random.split(random.PRNGKey(4), 3))
    keys = random.split(random.PRNGKey(5), 3)
    ftiny.vmap(random.normal)(keys)
    reused(random.normal, keys[1])
    one = random.PRNGKey(6)
    ftiny.vmap(lambda x: x + random.normal(one))(fnp.ones(3))
    twice = random.PRNGKey(7)
    reused(ftiny.grad(ftiny.jit(lambda w, key: w * random.normal(key) * random.normal(key))), 1.0, twice)
    reused(ftiny.vmap(lambda key: random.normal(key) * random.normal(key)), keys[2:])


def test_derivative_rules_and_checkpoints_use_a_key_once():
    @ftiny.custom_vjp
    def noisy(x, key):
        return x * random.normal(key)

    def forward(x, key):
        noise = random.normal(key)
        return x * noise, noise

    noisy.defvjp(forward, lambda noise, cotangent: (cotangent * noise, None))
    for function in (noisy, ftiny.checkpoint(lambda x, key: fnp.sin(x) * random.normal(key))):
        first, second, third = random.split(random.PRNGKey(0), 3)
        function(1.0, first)
        ftiny.jit(ftiny.grad(function))(1.0, second)
        ftiny.hessian(lambda x, key: fnp.sum(x**3) * random.normal(key))(fnp.ones(2), third)
    again = ftiny.checkpoint(lambda x, key: noisy(x, key) + random.normal(key) * random.normal(key))
    reused(again, 1.0, random.PRNGKey(1))


def test_a_program_that_is_only_looked_at_uses_nothing():
    key = random.PRNGKey(0)
    assert ftiny.eval_shape(lambda: random.normal(key, (3,))).shape == (3,)
    ftiny.make_jaxpr(lambda: random.normal(key))()
    random.normal(key)
    reused(ftiny.make_jaxpr(lambda key: random.normal(key) + random.normal(key)), random.PRNGKey(1))


SAMPLERS = {
    "ball": (3,), "bernoulli": (), "beta": (1.0, 2.0), "binomial": (20.0, 0.3), "bits": (), "cauchy": (),
    "categorical": (np.zeros(3),),
    "chisquare": (3.0,), "choice": (5,), "dirichlet": (np.ones(3),), "double_sided_maxwell": (0.0, 1.0),
    "exponential": (), "f": (2.0, 3.0), "gamma": (2.0,), "generalized_normal": (2.0,), "geometric": (0.3,),
    "gumbel": (), "laplace": (), "loggamma": (2.0,), "logistic": (), "lognormal": (), "maxwell": (),
    "multinomial": (5.0, np.ones(3) / 3), "multivariate_normal": (np.zeros(2), np.eye(2)), "normal": (),
    "orthogonal": (2,), "pareto": (2.0,), "permutation": (5,), "poisson": (3.0,), "rademacher": (),
    "randint": ((), 0, 5), "rayleigh": (1.0,), "shuffle": (np.arange(5),), "split": (), "t": (2.0,),
    "triangular": (0.0, 0.5, 1.0), "truncated_normal": (-1.0, 1.0), "uniform": (), "wald": (1.0,),
    "weibull_min": (1.0, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_uses_its_key_once(name):
    key = random.PRNGKey(0)
    getattr(random, name)(key, *SAMPLERS[name])
    assert "used before" in reused(lambda: getattr(random, name)(key, *SAMPLERS[name]))


def test_there_is_a_row_for_each_sampler():
    others = {"PRNGKey", "key", "key_data", "key_dtype", "key_impl", "wrap_key_data", "fold_in", "clone"}
    assert set(random.__all__) - others == set(SAMPLERS)
