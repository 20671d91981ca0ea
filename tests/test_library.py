"""Library functions give the same whether they run equation by equation or compiled as a whole."""
import types

import numpy as np
import pytest

import ftiny
from ftiny import library, random

CALLS = {
    "uniform": lambda key: random.uniform(key, (3, 4)),
    "uniform between": lambda key: random.uniform(key, (5,), minval=-1, maxval=np.float32(2)),
    "normal": lambda key: random.normal(key, (7,)),
    "split": lambda key: random.split(key, 3),
    "fold_in": lambda key: random.fold_in(key, 5),
    "randint": lambda key: random.randint(key, (5,), 0, 100),
    "permutation": lambda key: random.permutation(key, 10),
    "categorical": lambda key: random.categorical(key, np.ones((3, 4), np.float32)),
    "truncated_normal": lambda key: random.truncated_normal(key, -1, 1, (6,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_compiled_as_a_whole(name, monkeypatch):
    with ftiny.device("numpy"):
        key = random.PRNGKey(3)
        eager = np.asarray(CALLS[name](key))
        other_memory = types.SimpleNamespace(capabilities=types.SimpleNamespace(host_memory=False))
        monkeypatch.setattr(library, "placement", lambda values: other_memory)
        compiled = np.asarray(CALLS[name](key))
    assert compiled.dtype == eager.dtype
    np.testing.assert_array_equal(compiled, eager)
