"""Neural network functions.

    functions       activations, softmax, logsumexp, standardize, one_hot, ...
    attention       dot_product_attention
    initializers    the first values of parameters; a module of its own: nn.initializers.he_normal()
    losses          what is minimised; a module of its own: nn.losses.huber_loss(predictions, targets)

Input: arrays. Output: arrays:

    >>> softmax(ftiny.numpy.array([1., 1.]))
    Array([0.5, 0.5], dtype=float32)
"""

# ruff: noqa: F401
from ftiny.nn import initializers, losses
from ftiny.nn.attention import dot_product_attention
from ftiny.nn.functions import (
    celu,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    identity,
    leaky_relu,
    log1mexp,
    log_sigmoid,
    log_softmax,
    logmeanexp,
    logsumexp,
    mish,
    one_hot,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softmax,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    standardize,
    swish,
    tanh,
)

_ROOMS = {"attention", "functions"}
__all__ = sorted(name for name in dir() if not name.startswith("_") and name not in _ROOMS)
