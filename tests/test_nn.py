"""ftiny.nn: values and derivatives at the edges, masked softmax, encodings, and initialisers against jax."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ftiny
import ftiny.numpy as fnp
from ftiny import nn, random
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.nn import initializers, losses


@pytest.fixture(autouse=True)
def on_numpy():
    with ftiny.device("numpy"):
        yield


ACTIVATIONS = [
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "tanh",
    "identity",
]
EDGES = np.float32([-np.inf, -1e4, -200, -1, -1e-3, 0, 1e-3, 0.5, 1, 6, 200, 1e4, np.inf, np.nan])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_at_the_edges(name):
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    np.testing.assert_allclose(np.asarray(ours(EDGES)), theirs(EDGES), rtol=1e-5, atol=1e-6)
    inner = EDGES[1:-2]
    found = np.asarray(ftiny.vmap(ftiny.grad(ours))(inner))
    wanted = np.array(jax.vmap(jax.grad(theirs))(inner))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert ours(fnp.ones(3, "bfloat16")).dtype == fnp.bfloat16 and ours(1.0).dtype == np.float32


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name):
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    x = np.random.RandomState(0).randn(4, 5).astype(np.float32) * 30
    for axis in (-1, 0, (0, 1)):
        np.testing.assert_allclose(np.asarray(ours(x, axis)), theirs(x, axis), rtol=1e-5, atol=1e-6)
    mask = x > -10
    np.testing.assert_allclose(np.asarray(ours(x, where=mask)), theirs(x, where=mask), rtol=1e-5, atol=1e-6)
    weights = np.random.RandomState(1).randn(4, 5).astype(np.float32)
    f, g = (lambda x: (ours(x) * weights).sum()), (lambda x: (theirs(x) * weights).sum())
    np.testing.assert_allclose(np.asarray(ftiny.grad(f)(x)), jax.grad(g)(x), rtol=1e-4, atol=1e-5)
    v = weights[::-1]
    np.testing.assert_allclose(
        np.asarray(ftiny.jvp(ftiny.grad(f), (x,), (v,))[1]), jax.jvp(jax.grad(g), (x,), (v,))[1], rtol=1e-3, atol=1e-4
    )


def test_logsumexp():
    x = np.float32([[1e4, 1e4, -np.inf], [-np.inf] * 3, [1, 2, 3]])
    np.testing.assert_allclose(np.asarray(nn.logsumexp(x, axis=1)), jax.nn.logsumexp(x, axis=1), rtol=1e-6)
    b = np.float32([1, 2, 3])
    np.testing.assert_allclose(np.asarray(nn.logsumexp(x[2], b=b)), jax.nn.logsumexp(x[2], b=b), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(ftiny.grad(lambda x: nn.logsumexp(x))(x[2])), jax.nn.softmax(x[2]), rtol=1e-5)


def test_standardize_glu_one_hot():
    x = np.random.RandomState(0).randn(4, 6).astype(np.float32) * 3 + 1000
    np.testing.assert_allclose(np.asarray(nn.standardize(x)), jax.nn.standardize(x), rtol=1e-2, atol=5e-3)
    wanted = (x.astype(np.float64) - x.mean(1, keepdims=True, dtype=np.float64)) / np.sqrt(
        x.var(1, keepdims=True, dtype=np.float64) + 1e-5
    )
    np.testing.assert_allclose(np.asarray(nn.standardize(x)), wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.asarray(nn.glu(x / 1000, 0)), jax.nn.glu(x / 1000, 0), rtol=1e-5)
    labels = np.int32([0, 2, 5, -1])
    for axis in (-1, 0):
        np.testing.assert_array_equal(
            np.asarray(nn.one_hot(labels, 4, axis=axis)), jax.nn.one_hot(labels, 4, axis=axis)
        )
    assert nn.one_hot(2, 3, dtype="int32").dtype == np.int32
    with pytest.raises(ArgumentError, match="must have an even size"):
        nn.glu(x[:3], 0)


INITIALIZERS = {
    "uniform": lambda m: m.uniform(0.5),
    "normal": lambda m: m.normal(0.5),
    "truncated_normal": lambda m: m.truncated_normal(0.3),
    "constant": lambda m: m.constant(3),
    "zeros": lambda m: m.zeros,
    "ones": lambda m: m.ones,
    "glorot_normal": lambda m: m.glorot_normal(),
    "glorot_uniform": lambda m: m.glorot_uniform(),
    "lecun_normal": lambda m: m.lecun_normal(),
    "lecun_uniform": lambda m: m.lecun_uniform(),
    "he_normal": lambda m: m.he_normal(),
    "he_uniform": lambda m: m.he_uniform(),
    "he axes": lambda m: m.he_normal(in_axis=0, out_axis=(1, 2)),
    "scaled": lambda m: m.variance_scaling(2.0, "fan_out", "normal"),
    "batch": lambda m: m.variance_scaling(1.0, "fan_in", "uniform", batch_axis=0),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializer(name):
    make = INITIALIZERS[name]
    ours = np.asarray(make(initializers)(random.PRNGKey(3), (3, 4, 5)))
    theirs = make(jax.nn.initializers)(jax.random.PRNGKey(3), (3, 4, 5))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert make(initializers)(random.PRNGKey(3), (2, 3, 2), jnp.bfloat16).dtype == fnp.bfloat16


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal(shape):
    q = np.asarray(initializers.orthogonal(2.0)(random.PRNGKey(0), shape)).reshape(-1, shape[-1]) / 2
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(min(q.shape)), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal_is_jaxs(shape):
    for axis in (-1, 0):
        ours = np.asarray(initializers.orthogonal(2.0, axis)(random.PRNGKey(3), shape))
        np.testing.assert_allclose(
            ours, jax.nn.initializers.orthogonal(2.0, axis)(jax.random.PRNGKey(3), shape), atol=1e-5
        )


@pytest.mark.parametrize("shape", [(3, 3, 4), (3, 4, 2, 2), (2, 3, 4, 3, 5)])
def test_delta_orthogonal(shape):
    ours = np.asarray(initializers.delta_orthogonal(2.0)(random.PRNGKey(3), shape))
    np.testing.assert_allclose(ours, jax.nn.initializers.delta_orthogonal(2.0)(jax.random.PRNGKey(3), shape), atol=1e-5)


def test_initializer_errors():
    with pytest.raises(ShapeError, match="a window of one to three axes"):
        initializers.delta_orthogonal()(random.PRNGKey(0), (3, 3))
    with pytest.raises(ShapeError, match="as many outputs as inputs, or more"):
        initializers.delta_orthogonal()(random.PRNGKey(0), (3, 4, 3))
    with pytest.raises(ShapeError, match="at least two axes"):
        initializers.glorot_normal()(random.PRNGKey(0), (3,))
    with pytest.raises(ArgumentError, match="mode must be"):
        initializers.variance_scaling(1.0, "fan", "normal")


def test_log1mexp_and_logmeanexp():
    x = np.float32([0, 1e-6, 0.1, 0.7, 5, 80, 200, np.inf])
    np.testing.assert_allclose(np.asarray(nn.log1mexp(x)), jax.nn.log1mexp(x), rtol=1e-6)
    slope = np.asarray(ftiny.vmap(ftiny.grad(nn.log1mexp))(x))
    np.testing.assert_allclose(slope, np.array(jax.vmap(jax.grad(jax.nn.log1mexp))(x)), rtol=1e-5)
    x = np.float32([[1e4, 1e4, -np.inf], [-np.inf] * 3, [1, 2, 3]])
    np.testing.assert_allclose(np.asarray(nn.logmeanexp(x, axis=(0, 1))), jax.nn.logmeanexp(x, axis=(0, 1)), rtol=1e-6)
    where = np.bool_([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    np.testing.assert_allclose(
        np.asarray(nn.logmeanexp(x, axis=1, where=where)), jax.nn.logmeanexp(x, axis=1, where=where), rtol=1e-6
    )


# ---- attention ----------------------------------------------------------------------------------------------------


def test_attention_without_any_key():
    """A query that may see nothing gives no NaN, in the value and in the derivative."""
    x = np.random.RandomState(0).randn(1, 4, 2, 3).astype(np.float32)
    options = {"mask": np.zeros((1, 1, 4, 4), bool), "key_value_seq_lengths": np.int32([2])}
    ours, theirs = nn.dot_product_attention(x, x, x, **options), jax.nn.dot_product_attention(x, x, x, **options)
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=1e-6)
    gradient = ftiny.grad(lambda q: nn.dot_product_attention(q, x, x, **options).sum())(x)
    np.testing.assert_array_equal(np.asarray(gradient), 0)


def test_attention_in_double():
    """Unlike jax's, whose softmax is float32, it keeps the precision of its inputs."""
    q, k, v = np.random.RandomState(0).randn(3, 1, 5, 2, 4)
    logits = np.einsum("btnh,bsnh->bnts", q, k) / 2
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    found = nn.dot_product_attention(q, k, v)
    np.testing.assert_allclose(np.asarray(found), np.einsum("bnts,bsnh->btnh", weights, v), rtol=1e-12)


def test_attention_messages():
    def x(*shape, dtype=np.float32):
        return np.ones(shape, dtype)

    good = x(2, 4, 2, 3)
    with pytest.raises(ShapeError, match=r"query must have the axes batch .* its shape is \(4, 3\)"):
        nn.dot_product_attention(x(4, 3), good, good)
    with pytest.raises(
        ShapeError, match=r"key and value must have one shape.*query \(2, 4, 2, 3\), key \(2, 4, 2, 5\)"
    ):
        nn.dot_product_attention(good, x(2, 4, 2, 5), x(2, 4, 2, 5))
    with pytest.raises(ShapeError, match="3 query heads are no multiple of 2 key and value heads"):
        nn.dot_product_attention(x(2, 4, 3, 3), good, good)
    with pytest.raises(DtypeError, match="one float dtype, not float32, float16, float32"):
        nn.dot_product_attention(good, x(2, 4, 2, 3, dtype=np.float16), good)
    with pytest.raises(DtypeError, match="the mask must be bool, not float32"):
        nn.dot_product_attention(good, good, good, mask=x(1, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"the bias of shape \(5, 4\) does not broadcast to .* \(2, 2, 4, 4\)"):
        nn.dot_product_attention(good, good, good, x(5, 4))
    with pytest.raises(ShapeError, match=r"sequence lengths must be integers of shape \(2,\)"):
        nn.dot_product_attention(good, good, good, query_seq_lengths=np.int32([3]))
    with pytest.raises(ArgumentError, match="implementation must be None or 'xla'"):
        nn.dot_product_attention(good, good, good, implementation="cudnn")


# ---- losses: their formulas are rows of the operation table ----------------------------------------------------------


def test_every_loss_has_a_row():
    from op_table import all_rows

    rows = {row.function for row in all_rows()}
    public = {name for name, f in vars(losses).items() if inspect.isfunction(f) and name in losses.__all__}
    assert {f"losses.{name}" for name in public} - rows == {"losses.ctc_loss"}  # below
    assert public == set(losses.__all__)


def test_losses_without_overflow():
    big = np.float32([1e4, -1e4, 100.0])
    np.testing.assert_allclose(np.asarray(losses.log_cosh(big)), np.abs(big) - np.log(2), rtol=1e-6)
    one = np.float32([1, 1, 0])
    np.testing.assert_allclose(np.asarray(losses.sigmoid_binary_cross_entropy(big, one)), [0, 1e4, 100], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(losses.softmax_cross_entropy(big, np.float32([0, 0, 1]))), 9900, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(losses.kl_divergence(np.log(np.float32([0.5, 0.5])), one[1:])), np.log(2))
    slope = ftiny.grad(lambda x: losses.cosine_similarity(x, one, epsilon=1e-3))(np.zeros(3, np.float32))
    np.testing.assert_allclose(np.asarray(slope), one / np.sqrt(2) / 1e-3, rtol=1e-5)


def test_loss_options():
    x, y = np.random.RandomState(0).rand(2, 3, 5)
    where = np.random.RandomState(1).rand(3, 5) < 0.7
    exps = np.exp(x) * where
    logs = x - np.log(exps.sum(-1, keepdims=True))
    wanted = -(y * logs * where).sum(-1)
    np.testing.assert_allclose(np.asarray(losses.softmax_cross_entropy(x, y, where=where)), wanted, rtol=1e-12)
    labels = np.int32([1, 4])
    found = losses.softmax_cross_entropy_with_integer_labels(x[:2].T, labels, axis=0)
    logs = x - np.log(np.exp(x).sum(-1, keepdims=True))
    np.testing.assert_allclose(np.asarray(found), -logs[[0, 1], labels], rtol=1e-12)
    found = losses.poly_loss_cross_entropy(x.T, y.T, epsilon=0.5, axis=0)
    np.testing.assert_allclose(np.asarray(found), (0.5 * y * (1 - np.exp(logs)) - y * logs).sum(-1), rtol=1e-12)
    errors = np.abs(x - y)
    wanted = np.where(errors < 0.2, errors**2 / 2, 0.2 * (errors - 0.1))
    np.testing.assert_allclose(np.asarray(losses.huber_loss(x, y, 0.2)), wanted, rtol=1e-12)
    p = 1 / (1 + np.exp(-x))
    wanted = -0.3 * (1 - p) ** 1.5 * np.log(p)
    found = losses.sigmoid_focal_loss(x, np.ones((3, 5)), 0.3, 1.5)
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-12)


def _spelled(logits, label, blank: int) -> float:
    """-log of the probability that frames spell the label: the sum over all paths."""
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        left = [c for i, c in enumerate(path) if c != blank and (i == 0 or path[i - 1] != c)]
        if left == list(label):
            total += np.exp(sum(logs[i, c] for i, c in enumerate(path)))
    return -np.log(total)


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_loss(blank):
    first, second = (c for c in range(3) if c != blank)
    logits = np.random.RandomState(0).randn(4, 5, 3)
    frames, lengths = np.array([5, 4, 3, 5]), np.array([2, 2, 0, 3])
    labels = np.int32([[first] * 3, [first, second, first], [second] * 3, [second, first, second]])
    paddings = [(np.arange(n) >= ends[:, None]).astype(np.float32) for n, ends in ((5, frames), (3, lengths))]
    loss = lambda x: losses.ctc_loss(x, paddings[0], labels, paddings[1], blank)
    wanted = [_spelled(x[:t], row[:n], blank) for x, t, row, n in zip(logits, frames, labels, lengths)]
    np.testing.assert_allclose(np.asarray(loss(logits)), wanted, rtol=1e-9)
    np.testing.assert_allclose(np.asarray(ftiny.jit(loss)(logits)), wanted, rtol=1e-9)
    direction = np.random.RandomState(1).randn(*logits.shape)
    slope = np.vdot(np.asarray(ftiny.grad(lambda x: loss(x).sum())(logits)), direction)
    above, below = (np.asarray(loss(logits + h * direction)).sum() for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (above - below) / 2e-6, rtol=1e-6)


def test_loss_messages():
    with pytest.raises(ShapeError, match=r"losses.squared_error: shapes \(3,\) and \(3, 1\) must be equal"):
        losses.squared_error(np.ones(3), np.ones((3, 1)))
    with pytest.raises(DtypeError, match="labels must be integers, not float64; softmax_cross_entropy takes"):
        losses.softmax_cross_entropy_with_integer_labels(np.ones((2, 3)), np.ones(2))
    with pytest.raises(ShapeError, match=r"the labels have the shape \(2,\), not \(2, 3\)"):
        losses.softmax_cross_entropy_with_integer_labels(np.ones((2, 3)), np.ones((2, 3), int))
    with pytest.raises(ShapeError, match="smooth_labels: labels need an axis"):
        losses.smooth_labels(1.0, 0.1)
    with pytest.raises(ShapeError, match=r"losses.ctc_loss: .* \(B, N\) and \(B, N\), not \(2, 4, 3\), \(2, 3\)"):
        losses.ctc_loss(np.ones((2, 4, 3)), np.ones((2, 3)), np.ones((2, 1), int), np.ones((2, 1)))
