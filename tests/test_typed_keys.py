"""Typed keys: the bits of jax's, what moves them, what refuses them, and every transformation over them."""

from __future__ import annotations

import copy
import pickle

import jax
import numpy as np
import pytest
from test_key_reuse import SAMPLERS

import ftiny
import ftiny.numpy as fnp
from ftiny import errors, lax, nn, random, stax

SEEDS = (0, 7, 2**32 - 1, -5)


@pytest.fixture(params=["numpy", "opencl"])
def here(request, opencl):
    with ftiny.device(request.param) as device:
        yield device


@pytest.fixture
def on_numpy():
    with ftiny.device("numpy"):
        yield


def words(x):
    """The elements of an array, ours or jax's, with those of keys as their words; containers alike."""
    if isinstance(x, (list, tuple)):
        return [words(part) for part in x]
    typed = x.dtype == random.key_dtype() or x.dtype == jax.random.key_dtype()
    library = random if isinstance(x, ftiny.Array) else jax.random
    return np.asarray(library.key_data(x) if typed else x)


def assert_same(ours, theirs):
    if isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for part, other in zip(ours, theirs):
            assert_same(part, other)
        return
    assert ours.shape == theirs.shape and str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_array_equal(words(ours), words(theirs))


# ---- the same as jax ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bits_of_jax(seed, here):
    key, theirs = random.key(seed), jax.random.key(seed)
    assert_same(key, theirs)
    assert_same(random.split(key, 5), jax.random.split(theirs, 5))
    assert_same(random.split(key, (2, 3)), jax.random.split(theirs, (2, 3)))
    assert_same(random.fold_in(key, 13), jax.random.fold_in(theirs, 13))
    assert_same(random.bits(key, (7,)), jax.random.bits(theirs, (7,)))
    assert_same(random.uniform(key, (3, 5)), jax.random.uniform(theirs, (3, 5)))
    assert_same(random.permutation(key, 11), jax.random.permutation(theirs, 11))
    np.testing.assert_allclose(random.normal(key, (9,)), jax.random.normal(theirs, (9,)), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_takes_both_kinds(name, on_numpy):
    typed, raw = (getattr(random, name)(make(3), *SAMPLERS[name]) for make in (random.key, random.PRNGKey))
    np.testing.assert_array_equal(words(typed), words(raw))


# Functions of a module of arrays, a single key and six keys.
SAME = {
    "items": lambda n, k, ks: [ks[1], ks[-1], ks[1:4], ks[::-2], ks[np.array([2, 0])], ks[ks != k], k[None], k[...]],
    "two axes": lambda n, k, ks: [ks.reshape(2, 3)[1, 2], ks.reshape(3, 2)[..., 0], ks.reshape((2, 3)).T, ks[:, None]],
    "iteration": lambda n, k, ks: [*ks, *ks.reshape(2, 3)],
    "equal": lambda n, k, ks: [ks == ks[2], ks[2] != ks, k == k, n.equal(ks, k), n.array_equal(ks, ks)],
    "methods": lambda n, k, ks: [ks.ravel(), ks.flatten(), ks[None].squeeze(), ks.transpose(), ks.copy()],
    "reshape": lambda n, k, ks: [n.reshape(ks, (3, -1)), n.ravel(ks.reshape(2, 3)), n.reshape(k, (1, 1))],
    "axes": lambda n, k, ks: [n.expand_dims(ks, -1), n.squeeze(ks[None], 0), n.swapaxes(ks.reshape(2, 3), 0, -1)],
    "moveaxis": lambda n, k, ks: [n.moveaxis(ks.reshape(1, 2, 3), -1, 0), n.transpose(ks.reshape(1, 2, 3), (1, 2, 0))],
    "join": lambda n, k, ks: [n.stack([k, ks[1]]), n.stack([ks, ks], axis=-1), n.concatenate([ks, ks[:1]])],
    "spread": lambda n, k, ks: [n.broadcast_to(k, (2, 3)), n.tile(ks, 2), n.repeat(ks, 2), *n.broadcast_arrays(k, ks)],
    "order": lambda n, k, ks: [n.roll(ks, 2), n.flip(ks), *n.split(ks, 2), *n.unstack(ks[:2])],
    "choose": lambda n, k, ks: [n.where(np.arange(6) < 3, ks, k), n.take(ks, np.array([[0, 5]])), n.where(True, k, k)],
    "make": lambda n, k, ks: [n.array([k, ks[1]]), n.array([[k], [k]]), n.asarray(ks), n.array(k, ndmin=1), n.copy(ks)],
    "shapes": lambda n, k, ks: [n.asarray([n.ndim(ks), n.size(ks.reshape(2, 3)), *n.shape(ks), n.ndim(k), n.size(k)])],
    "updates": lambda n, k, ks: [n.insert(ks, 1, k), n.delete(ks, 2), n.append(ks, k), n.atleast_1d(k)],
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_keys_move_as_in_jax(name, on_numpy):
    ours = SAME[name](fnp, random.key(0), random.split(random.key(1), 6))
    theirs = SAME[name](jax.numpy, jax.random.key(0), jax.random.split(jax.random.key(1), 6))
    assert_same(ours, theirs)


def test_keys_move_in_programs(here):
    keys, theirs = (library.split(library.key(1), 6) for library in (random, jax.random))
    for name in ("equal", "join"):
        ours = ftiny.jit(lambda ks, name=name: SAME[name](fnp, ks[0], ks))(keys)
        assert_same(ours, SAME[name](jax.numpy, theirs[0], theirs))


def test_keys_move_in_lax(on_numpy):
    keys, theirs = (library.split(library.key(1), 6) for library in (random, jax.random))
    for f in (
        lambda lax, ks: lax.dynamic_index_in_dim(ks, 2, keepdims=False),
        lambda lax, ks: lax.dynamic_slice(ks, (1,), (3,)),
        lambda lax, ks: lax.dynamic_update_index_in_dim(ks, ks[0], 4, 0),
        lambda lax, ks: lax.select(True, ks, lax.rev(ks, (0,))),
    ):
        assert_same(f(lax, keys), f(jax.lax, theirs))


def test_what_a_key_is(on_numpy):
    key, keys = random.key(7), random.split(random.key(7), 5)
    assert (key.shape, key.ndim, key.size, key.nbytes) == ((), 0, 1, 8)
    assert (keys.shape, keys.ndim, keys.size, keys.nbytes, len(keys)) == ((5,), 1, 5, 40, 5)
    assert str(key.dtype) == repr(key.dtype) == "key<fry>" and key.dtype == keys.dtype == random.key_dtype()
    assert key.dtype != np.uint32 and fnp.uint32 != key.dtype and hash(key.dtype) == hash(keys.dtype)
    for category in (ftiny.dtypes.prng_key, ftiny.dtypes.extended):
        assert fnp.issubdtype(key.dtype, category) and not fnp.issubdtype(random.PRNGKey(7).dtype, category)
    assert not fnp.issubdtype(key.dtype, fnp.number) and isinstance(key, ftiny.Array)
    assert repr(key) == repr(jax.random.key(7)) and repr(keys) == repr(jax.random.split(jax.random.key(7), 5))
    theirs = jax.random.key(7)
    assert_same(random.choice(key, keys, (4,)), jax.random.choice(theirs, jax.random.split(theirs, 5), (4,)))


def test_data_of_keys(on_numpy):
    keys = random.split(random.key(0), (2, 3))
    data = random.key_data(keys)
    assert data.shape == (2, 3, 2) and data.dtype == np.uint32 and random.key_data(data) is data
    assert_same(random.wrap_key_data(data, impl="threefry2x32"), keys)
    assert_same(random.wrap_key_data(np.asarray(data)), keys)
    assert random.key_impl(keys) == random.key_impl(data) == jax.random.key_impl(jax.random.key(0))
    assert_same(random.clone(keys), keys)
    assert random.split(random.PRNGKey(0)).dtype == random.fold_in(random.PRNGKey(0), 1).dtype == np.uint32
    assert ftiny.jit(random.key)(3).shape == () and random.key(np.int64(3), impl="threefry2x32").shape == ()


# ---- what refuses them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, match, call",
    [
        (TypeError, "random.bits.*key_data", lambda k, ks: k + 1),
        (TypeError, "random.bits.*key_data", lambda k, ks: np.ones(3) * ks),
        (TypeError, "random.bits.*key_data", lambda k, ks: fnp.ones(3) - ks),
        (TypeError, "< of a typed key", lambda k, ks: k < k),
        (TypeError, "sin: argument 0 is a typed key.*random.bits", lambda k, ks: fnp.sin(k)),
        (TypeError, "random.bits", lambda k, ks: ftiny.jit(lambda k: fnp.sum(k))(ks)),
        (TypeError, "do not mix", lambda k, ks: k == 1),
        (TypeError, "do not mix", lambda k, ks: fnp.where(True, k, random.key_data(k))),
        (TypeError, "do not mix", lambda k, ks: fnp.concatenate([ks, random.key_data(ks)])),
        (TypeError, "key_data", lambda k, ks: np.asarray(k)),
        (TypeError, "key_data", lambda k, ks: fnp.asarray(k, "uint32")),
        (TypeError, "no arrays of dtype key<fry>", lambda k, ks: fnp.zeros(3, k.dtype)),
        (AttributeError, "no attribute 'astype'.*key_data", lambda k, ks: k.astype("uint32")),
        (TypeError, "neither true nor false", lambda k, ks: bool(k)),
        (TypeError, "no axis", lambda k, ks: list(k)),
        (IndexError, r"too many indices: 2 for keys of shape \(6,\)", lambda k, ks: ks[0, 1]),
        (ValueError, r"takes one key, but was given keys of shape \(6,\); use vmap", lambda k, ks: random.normal(ks)),
        (ValueError, "a typed key already", lambda k, ks: random.wrap_key_data(k)),
        (ValueError, "key: the generator here is 'threefry2x32', not 'rbg'", lambda k, ks: random.key(0, impl="rbg")),
        (TypeError, "key: the seed must be an integer", lambda k, ks: random.key(k)),
        (TypeError, "typed key, which has no derivative", lambda k, ks: ftiny.grad(lambda k: 1.0)({"a": k})),
        (ValueError, "key_data", lambda k, ks: ftiny.io.save("nowhere", {"k": k})),
    ],
)  # fmt: skip
def test_messages(error, match, call, on_numpy):
    with pytest.raises(error, match=match) as caught:
        call(random.key(0), random.split(random.key(0), 6))
    assert isinstance(caught.value, (errors.FtinyError, AttributeError))


# ---- transformations ------------------------------------------------------------------------------------------------


def draw(x, key):
    return x * random.normal(key)


def test_jit_and_stages(here):
    key, theirs = random.key(3), jax.random.key(3)
    f = ftiny.jit(lambda tree: {"next": random.split(tree["key"], 3), "x": random.uniform(tree["key"], (4,))})
    for _ in range(2):
        out = f({"key": key})
        assert_same(out["next"], jax.random.split(theirs, 3))
        assert_same(out["x"], jax.random.uniform(theirs, (4,)))
    assert f.trace_count == 1
    shape = ftiny.ShapeDtypeStruct((), key.dtype)
    assert ftiny.eval_shape(f, {"key": shape}) == ftiny.eval_shape(f, {"key": key})
    assert ftiny.eval_shape(f, {"key": key})["next"] == ftiny.ShapeDtypeStruct((3,), key.dtype)
    assert repr(shape) == "ShapeDtypeStruct(shape=(), dtype=key<fry>)" and shape.ndim == 0 and shape.size == 1
    lowered = f.lower({"key": shape})
    assert_same(lowered.compile()({"key": key})["next"], jax.random.split(theirs, 3))
    assert f.trace({"key": shape}).out_info["next"].shape == (3,)
    donated = random.key(3)
    ftiny.jit(random.split, donate_argnums=0)(donated)
    assert donated.is_deleted() and "deleted" in repr(donated)
    shown: list[str] = []
    ftiny.jit(lambda k: (shown.append(repr(k)), k)[1])(key)
    assert "tracer key<fry>[]" in shown[0]


def test_vmap_counts_the_axes_of_keys(here):
    keys, theirs = (library.split(library.key(1), (2, 3)) for library in (random, jax.random))
    for in_axes, out_axes in ((0, 0), (1, 1), (-1, -1), (-2, -1)):
        options = {"in_axes": in_axes, "out_axes": out_axes}
        ours = ftiny.vmap(lambda row: row[::-1], **options)(keys)
        assert_same(ours, jax.vmap(lambda row: row[::-1], **options)(theirs))
    np.testing.assert_allclose(
        ftiny.vmap(ftiny.vmap(draw), (None, -1))(fnp.ones(2), keys), jax.vmap(jax.vmap(jax.random.normal), -1)(theirs),
        rtol=2e-6,
    )  # fmt: skip
    split = ftiny.vmap(lambda k: random.split(k, 4), out_axes=-1)(keys[0])
    assert_same(split, jax.vmap(lambda k: jax.random.split(k, 4), out_axes=-1)(theirs[0]))
    assert ftiny.vmap(lambda d, x: draw(x, d["k"]), ({"k": -1}, None))({"k": keys[0]}, 1.0).shape == (3,)
    with pytest.raises(errors.ShapeError, match=r"shape \(2, 3\) and no axis 2.*axes -2 to 1"):
        ftiny.vmap(lambda k: k, in_axes=2)(keys)
    with pytest.raises(errors.ShapeError, match="out of bounds for a result of <lambda> with 2 axes"):
        ftiny.vmap(lambda k: k, out_axes=2)(keys)
    with pytest.raises(errors.ShapeError, match="no axis 0"):
        ftiny.vmap(lambda k: k)(keys[0, 0])


def test_control_flow(here):
    def program(lax, random):
        key, keys = random.key(5), random.split(random.key(6), 4)
        carry, drawn = lax.scan(lambda k, x: (random.fold_in(k, 1), (random.bits(x), k)), key, keys)
        looped = lax.fori_loop(0, 3, lambda i, k: random.fold_in(k, i), key)
        until = lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, random.split(c[1])[0]), (0, key))[1]
        either = lax.cond(False, lambda k: k, lambda k: random.fold_in(k, 1), key)
        switched = lax.switch(1, [lambda k: k, lambda k: random.split(k)[1]], key)
        return [carry, *drawn, looped, until, either, switched, lax.map(random.bits, keys), lax.stop_gradient(key)]

    theirs = program(jax.lax, jax.random)
    assert_same(program(lax, random), theirs)
    assert_same(ftiny.jit(lambda: program(lax, random))(), theirs)
    np.testing.assert_array_equal(lax.map(random.bits, random.split(random.key(6), 4), batch_size=3), theirs[-2])
    with pytest.raises(errors.ShapeError, match=r"xs has shape \(\) and no axis"):
        lax.scan(lambda c, x: (c, x), 0.0, random.key(0))
    with pytest.raises(errors.ArgumentError, match="KeyArray"):
        lax.fori_loop(0, 3, lambda i, k: random.key_data(k), random.key(0))


def test_derivatives(here):
    key = random.key(2)
    slope = float(random.normal(key))

    @ftiny.custom_vjp
    def ruled(x, key):
        return draw(x, key)

    ruled.defvjp(lambda x, key: (draw(x, key), key), lambda key, ct: (ct * random.normal(key), None))
    gradients = [
        ftiny.grad(draw)(2.0, key),
        ftiny.jit(ftiny.grad(ftiny.checkpoint(draw)))(2.0, key),
        ftiny.grad(ftiny.jit(draw))(2.0, key),
        ftiny.grad(lambda x: draw(x, key))(2.0),
        ftiny.grad(ruled)(2.0, key),
        ftiny.value_and_grad(lambda x, k: (draw(x, k), k), has_aux=True)(2.0, key)[1],
        ftiny.vjp(draw, 2.0, key)[1](1.0)[0],
        ftiny.jacrev(draw)(2.0, key),
        ftiny.vmap(ftiny.grad(draw), (0, None))(fnp.ones(1), key)[0],
        ftiny.jvp(lambda x: (draw(x, key), key), (2.0,), (1.0,))[1][0],
    ]
    np.testing.assert_allclose(gradients, [slope] * len(gradients), rtol=1e-6)
    assert_same(ftiny.value_and_grad(lambda x, k: (draw(x, k), k), has_aux=True)(2.0, key)[0][1], jax.random.key(2))


# ---- trees, files, devices, other libraries -------------------------------------------------------------------------


def test_a_key_is_a_leaf_of_trees(on_numpy):
    keys = random.split(random.key(0), 2)
    tree = {"a": keys[0], "b": [keys[1], 3]}
    assert [x.shape for x in ftiny.tree.leaves(tree)[:2]] == [(), ()] and ftiny.tree.structure(keys).num_leaves == 1
    assert ftiny.tree.map(lambda k: random.normal(k, (2,)).shape, {"a": keys[0]}) == {"a": (2,)}
    drawn = ftiny.tree.map(lambda p, k: p + random.normal(k), {"x": 1.0}, {"x": keys[0]})
    assert float(drawn["x"]) == 1 + float(random.normal(keys[0]))
    leaves, structure = ftiny.tree_util.tree_flatten(tree)
    assert_same(ftiny.tree_util.tree_unflatten(structure, leaves)["a"], jax.random.split(jax.random.key(0), 2)[0])
    paths = [ftiny.tree.keystr(path) for path, _ in ftiny.tree.leaves_with_path(tree)]
    assert paths == ["['a']", "['b'][0]", "['b'][1]"]


def test_copies_and_devices(opencl):
    keys = random.split(random.key(0), 3)
    for same in (pickle.loads(pickle.dumps(keys)), copy.deepcopy(keys), copy.copy(keys), ftiny.device_get(keys)):
        np.testing.assert_array_equal(np.asarray(same.words), words(keys))
    there = ftiny.device_put({"k": keys}, "opencl")["k"]
    assert there.device.kind == "opencl" and random.bits(there[0]).device.kind == "opencl"
    assert ftiny.block_until_ready(there) is there and there.block_until_ready() is there
    assert_same(there.to_device("numpy"), jax.random.split(jax.random.key(0), 3))
    mine = fnp.asarray(keys, copy=True)
    mine.delete()
    assert mine.is_deleted() and not keys.is_deleted()


def test_key_reuse(on_numpy):
    with ftiny.debug_key_reuse():
        key = random.key(0)
        random.fold_in(key, 1), random.key_data(key), random.key_impl(key)
        random.normal(key)
        for second in (random.uniform, random.split, ftiny.jit(random.bits)):
            with pytest.raises(errors.KeyReuseError, match="used before"):
                second(key)
        random.normal(random.clone(key))
        keys = random.split(random.key(1), 3)
        ftiny.vmap(random.normal)(keys)
        with pytest.raises(errors.KeyReuseError):
            random.normal(keys[1])
        outside = random.key(2)
        with pytest.raises(errors.KeyReuseError, match="every iteration"):
            lax.scan(lambda c, _: (c + random.normal(outside), None), 0.0, None, length=3)


def test_library_code_takes_both_kinds(on_numpy):
    for typed, raw in zip(
        *(
            (
                nn.initializers.glorot_normal()(make(0), (3, 4)),
                nn.initializers.orthogonal()(make(0), (3, 3)),
                stax.serial(stax.Dense(4), stax.Relu, stax.Dense(2))[0](make(0), (-1, 3))[1][0][0],
                stax.Dropout(0.5)[1]((), fnp.ones((2, 3)), rng=make(1)),
            )
            for make in (random.key, random.PRNGKey)
        )
    ):
        np.testing.assert_array_equal(typed, raw)


def test_jaxtyping(on_numpy):
    jaxtyping = pytest.importorskip("jaxtyping")
    one, several = jaxtyping.Key[ftiny.Array, ""], jaxtyping.Key[ftiny.Array, "n"]
    key = random.key(0)
    assert isinstance(key, one) and not isinstance(key, several) and isinstance(random.split(key), several)
    assert not isinstance(random.PRNGKey(0), several) and not isinstance(key, jaxtyping.UInt32[ftiny.Array, ""])
    assert ftiny.jit(lambda k: fnp.asarray(isinstance(k, one)))(key)
