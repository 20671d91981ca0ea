"""Rows of the operation table: attention, losses (against their formulas), and the distributions of ftiny.random."""

from __future__ import annotations

import numpy as np
from op_table import row

UNARY = "f32[3,5]; f32[]; f32[0,4]; bf16[7]"

# ---- nn -------------------------------------------------------------------------------------------------------

row("nn.sparse_sigmoid", UNARY + "; i32[4]", smooth=False)
row("nn.log1mexp", UNARY, domain=(0.05, 3.0))
row(
    "nn.logmeanexp",
    "f32[3,5]; f32[7]; bf16[3,4]",
    lambda m, x: [m.nn.logmeanexp(x), m.nn.logmeanexp(x, axis=0, keepdims=True)],
)
row("nn.logmeanexp:where", "f32[3,5] bool[3,5]", lambda m, x, where: m.nn.logmeanexp(x, axis=0, where=where))

ATTENTION = {
    "": ("f32[2,4,2,3] f32[2,5,2,3] f32[2,5,2,3]; bf16[4,2,8] bf16[5,2,8] bf16[5,2,8]", {}),
    "causal": ("f32[1,5,2,3] f32[1,5,2,3] f32[1,5,2,3]", {"is_causal": True, "scale": 0.7}),
    "grouped": ("f32[1,4,6,3] f32[1,5,2,3] f32[1,5,2,3]", {"local_window_size": (1, 2)}),
    "window": ("f32[5,2,3] f32[5,1,3] f32[5,1,3]", {"local_window_size": 1, "is_causal": True}),
}
# JAX's softmax is float32 whatever the inputs are, which limits how far the derivatives in float64 agree.
CLOSE = {"derivative_tolerance": 3e-6, "tolerance": 2e-5}
for name, (samples, options) in ATTENTION.items():
    row(
        f"nn.dot_product_attention:{name}",
        samples,
        lambda m, q, k, v, options=options: m.nn.dot_product_attention(q, k, v, **options),
        **CLOSE,
    )
row(
    "nn.dot_product_attention:bias and mask",
    "f32[2,3,4,3] f32[2,5,2,3] f32[2,5,2,3] f32[2,4,3,5] bool[1,1,3,5]",
    lambda m, q, k, v, bias, mask: m.nn.dot_product_attention(q, k, v, bias, mask),
    **CLOSE,
)
row(
    "nn.dot_product_attention:lengths",
    "f32[2,4,2,3] f32[2,5,2,3] f32[2,5,2,3] i32[2]@above_one i32[2]@above_one",
    lambda m, q, k, v, t, s: m.nn.dot_product_attention(
        q, k, v, query_seq_lengths=t, key_value_seq_lengths=s, return_residual=True
    ),
    grad=False,  # the residual has no derivative in ftiny as in JAX, which central differences would not know
    **CLOSE,
)

# ---- losses: against the formula, which is right for moderate arguments ----------------------------------------


def _loss(name: str, samples: str, formula, grad: bool = True, **row_options) -> None:
    row(
        f"losses.{name}",
        samples,
        lambda m, *xs: getattr(m.nn.losses, name)(*xs),
        jax=lambda m, *xs: formula(m.numpy, *xs),
        grad=grad,
        **row_options,
    )


def _log_softmax(n, x):
    return x - n.log(n.sum(n.exp(x), -1, keepdims=True))


def _cosine(n, x, y):
    return n.sum(x * y, -1) / n.sqrt(n.sum(x * x, -1) * n.sum(y * y, -1))


def _binary(n, x, y):
    return n.log1p(n.exp(x)) - x * y


def _focal(n, x, y):
    right = (2 * y - 1) / (1 + n.exp(-x)) + 1 - y
    return _binary(n, x, y) * (1 - right) ** 2


def _huber(n, x, y):
    return n.where(n.abs(x - y) <= 1, (x - y) ** 2 / 2, n.abs(x - y) - 0.5)


def _poly(n, x, y):
    logs = _log_softmax(n, x)
    return n.sum(2 * y * (1 - n.exp(logs)) - y * logs, -1)


PAIR = "f32[3,5] f32[3,5]; bf16[7] bf16[7]"
LOGITS = "f32[3,5] f32[3,5]@probability; f32[7] f32[7]@probability"
_loss("squared_error", PAIR, lambda n, x, y: (x - y) ** 2)
_loss("l2_loss", PAIR, lambda n, x, y: (x - y) ** 2 / 2)
_loss("huber_loss", PAIR, _huber, smooth=False)
_loss("log_cosh", PAIR, lambda n, x, y: n.log(n.cosh(x - y)))
_loss("cosine_similarity", "f32[3,5] f32[3,5]; f32[7] f32[7]", _cosine)
_loss("cosine_distance", "f32[3,5] f32[3,5]; f32[7] f32[7]", lambda n, x, y: 1 - _cosine(n, x, y))
_loss("sigmoid_binary_cross_entropy", LOGITS, _binary)
_loss("sigmoid_focal_loss", LOGITS, _focal)
_loss("hinge_loss", "f32[3,5] f32[3,5]; f32[7] f32[7]", lambda n, x, y: n.maximum(0, 1 - x * y), smooth=False)
_loss("softmax_cross_entropy", LOGITS, lambda n, x, y: -n.sum(y * _log_softmax(n, x), -1))
_loss(
    "softmax_cross_entropy_with_integer_labels",
    "f32[3,5] i32[3]<5; f32[5] i32[]<5; f32[2,3,4] i32[2,3]<4",
    lambda n, x, i: -n.take_along_axis(_log_softmax(n, x), i[..., None], -1)[..., 0],
)
_loss("poly_loss_cross_entropy", LOGITS, _poly)
_loss(
    "kl_divergence",
    "f32[3,5] f32[3,5]@probability; f32[7] f32[7]@probability",
    lambda n, x, y: n.sum(y * (n.log(y) - x), -1),
)
row(
    "losses.smooth_labels",
    "f32[3,5]@probability; i32[4]<2",
    lambda m, y: m.nn.losses.smooth_labels(y, 0.1),
    jax=lambda m, y: 0.9 * y + 0.1 / y.shape[-1],
)

# ---- random: the same values for the same key ------------------------------------------------------------------

FEW = np.float32([0.3, 1.0, 4.0, 20.0])
PROBABILITIES = np.float32([0.1, 0.4, 0.7, 0.95])
COVARIANCE = np.float32([[2.0, 0.3], [0.3, 0.5]])
DISTRIBUTIONS = {
    "ball": lambda r, k: r.ball(k, 2, 1.5, (8,)),
    "beta": lambda r, k: r.beta(k, FEW, 2.0, (2, 4)),
    "binomial": lambda r, k: [r.binomial(k, 30, PROBABILITIES), r.binomial(k, 200.0, 0.4, (8,))],
    "chisquare": lambda r, k: r.chisquare(k, FEW, (2, 4)),
    "clone": lambda r, k: r.clone(k),
    "dirichlet": lambda r, k: r.dirichlet(k, FEW, (2,)),
    "double_sided_maxwell": lambda r, k: r.double_sided_maxwell(k, FEW, 2.0, (2,)),
    "f": lambda r, k: r.f(k, FEW, 3.0),
    "gamma": lambda r, k: [r.gamma(k, FEW), r.gamma(k, 2.5, (8,))],
    "generalized_normal": lambda r, k: r.generalized_normal(k, 3.0, (8,)),
    "geometric": lambda r, k: [r.geometric(k, PROBABILITIES, (2, 4)), r.geometric(k, 0.5)],
    "loggamma": lambda r, k: r.loggamma(k, FEW / 10, (2, 4)),
    "lognormal": lambda r, k: [r.lognormal(k, FEW / 10, (2, 4)), r.lognormal(k)],
    "maxwell": lambda r, k: r.maxwell(k, (8,)),
    "multinomial": lambda r, k: r.multinomial(k, np.float32([20, 50]), np.float32([0.2, 0.5, 0.3]), shape=(2, 3)),
    "multivariate_normal": lambda r, k: r.multivariate_normal(k, np.float32([1, 2]), COVARIANCE, (4,)),
    "orthogonal": lambda r, k: [r.orthogonal(k, 4), r.orthogonal(k, 2, (2,), m=4)],
    "pareto": lambda r, k: [r.pareto(k, FEW), r.pareto(k, 3.0, (8,))],
    "poisson": lambda r, k: [r.poisson(k, np.float32([0.0, 0.5, 3.0, 9.0]), (2, 4)), r.poisson(k, 4.0, dtype="int16")],
    "rayleigh": lambda r, k: r.rayleigh(k, FEW, (2, 4)),
    "t": lambda r, k: r.t(k, FEW, (2, 4)),
    "triangular": lambda r, k: r.triangular(k, -1.0, PROBABILITIES, 2.0, (2, 4)),
    "wald": lambda r, k: r.wald(k, FEW, (2, 4)),
    "weibull_min": lambda r, k: r.weibull_min(k, 2.0, FEW, (2, 4)),
}
for name, call in DISTRIBUTIONS.items():
    row(
        f"random.{name}",
        "",
        lambda m, call=call: call(m.random, m.random.PRNGKey(6)),
        vmap=False,
        tolerance=1e-4 if name == "wald" else 2e-5,
    )
# The derivative of a gamma sample is that of the distribution, not of the sampler, so central differences do not know
# it: test_distributions.py tests it.
row("random.gamma:mapped", "u32[2]<900 f32[4]@positive", lambda m, k, a: m.random.gamma(k, a), grad=False)
row("random.poisson:mapped", "u32[2]<900 f32[4]@positive", lambda m, k, a: m.random.poisson(k, a), grad=False)
row(
    "random.wald:parameter",
    "f32[4]@positive",
    lambda m, mean: m.random.wald(m.random.PRNGKey(6), mean, dtype=mean.dtype),
    tolerance=1e-4,
)
row(
    "random.triangular:parameters",
    "f32[4]@small f32[4]@above_one",
    lambda m, mode, right: m.random.triangular(m.random.PRNGKey(6), -1.0, mode, right, dtype=mode.dtype),
)
row(
    "random.multivariate_normal:parameters",
    "f32[2] f32[]@small",
    lambda m, mean, c: m.random.multivariate_normal(
        m.random.PRNGKey(6), mean, m.numpy.eye(2, dtype=c.dtype) + c * COVARIANCE.astype(c.dtype), (4,)
    ),
)
