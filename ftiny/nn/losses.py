"""Losses, elementwise or along the axis of the classes; take the mean of what they give.

Input: predictions (for classes: logits, before softmax or sigmoid) and targets. Output: one loss for each element, or
one for each example:

    >>> softmax_cross_entropy_with_integer_labels(ftiny.numpy.zeros((2, 4)), ftiny.numpy.array([0, 3]))
    Array([1.3862944, 1.3862944], dtype=float32)

Names, arguments and conventions are those of Optax. Integers count as float32. A loss of two arrays of one kind wants
equal shapes and raises `ShapeError` otherwise: (n,) beside (n, 1) would broadcast to n * n losses.
"""

from __future__ import annotations

import math

from ftiny import dtypes, lax
from ftiny import numpy as fnp
from ftiny.errors import DtypeError, ShapeError
from ftiny.nn.functions import log_sigmoid, log_softmax, logsumexp, sigmoid, softmax
from ftiny.numpy.common import canonical_axis, dtype_of, promote, shape_of
from ftiny.source import located

__all__ = [
    "cosine_distance",
    "cosine_similarity",
    "ctc_loss",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "l2_loss",
    "log_cosh",
    "poly_loss_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
]


def _pair(name: str, first, second):
    """Two arrays of equal shapes as floats of one dtype."""
    pair = [fnp.asarray(x) for x in (first, second)]
    if shape_of(pair[0]) != shape_of(pair[1]):
        raise ShapeError(
            located(
                f"losses.{name}: shapes {shape_of(pair[0])} and {shape_of(pair[1])} must be equal; reshape one, or "
                "broadcast it with ftiny.numpy.broadcast_to if that is meant"
            )
        )
    return promote(name, *pair, inexact=True)


def _errors(name: str, predictions, targets):
    """predictions - targets, or the predictions alone if there are no targets."""
    if targets is None:
        (predictions,) = promote(name, predictions, inexact=True)
        return fnp.asarray(predictions)
    predictions, targets = _pair(name, predictions, targets)
    return predictions - targets


# ---- regression ------------------------------------------------------------------------------------------------


def squared_error(predictions, targets=None):
    """(predictions - targets)**2, elementwise; without targets, of the predictions as errors."""
    return fnp.square(_errors("squared_error", predictions, targets))


def l2_loss(predictions, targets=None):
    """Half of `squared_error`, whose derivative is the error."""
    return 0.5 * fnp.square(_errors("l2_loss", predictions, targets))


def huber_loss(predictions, targets=None, delta: float = 1.0):
    """error**2 / 2 for errors up to `delta`, beyond linear: delta * (|error| - delta / 2).

    (Huber, Robust Estimation of a Location Parameter, 1964.)
    """
    size = fnp.abs(_errors("huber_loss", predictions, targets))
    quadratic = fnp.minimum(size, delta)
    return 0.5 * fnp.square(quadratic) + delta * (size - quadratic)


def log_cosh(predictions, targets=None):
    """log(cosh(error)), elementwise and without overflow: about error**2 / 2, for large errors |error| - log(2)."""
    errors = _errors("log_cosh", predictions, targets)
    return fnp.logaddexp(errors, -errors) - math.log(2)


def cosine_similarity(predictions, targets, epsilon: float = 0.0, axis: int = -1, where=None):
    """The cosine of the angle between vectors along `axis`; elements where the mask is false count as zero.

    epsilon: the least length that a vector is divided by, for vectors that may be zero.
    """
    predictions, targets = _pair("cosine_similarity", predictions, targets)
    if where is not None:
        predictions, targets = (fnp.where(where, x, 0) for x in (predictions, targets))
    units = [x / _length(x, epsilon, axis) for x in (predictions, targets)]
    return fnp.sum(units[0] * units[1], axis=axis)


def _length(x, least: float, axis: int):
    """The length of vectors, `least` where it is shorter, with a derivative of zero there."""
    squared = fnp.sum(x * x, axis=axis, keepdims=True)
    is_short = squared <= least * least
    return fnp.where(is_short, least, fnp.sqrt(fnp.where(is_short, 1, squared)))


def cosine_distance(predictions, targets, epsilon: float = 0.0, axis: int = -1, where=None):
    """1 - `cosine_similarity`."""
    return 1.0 - cosine_similarity(predictions, targets, epsilon, axis, where)


# ---- two classes -----------------------------------------------------------------------------------------------


def sigmoid_binary_cross_entropy(logits, labels):
    """-log of the probability of the label, elementwise, where sigmoid(logits) is the probability of label 1.

    Labels lie between 0 and 1.
    """
    logits, labels = _pair("sigmoid_binary_cross_entropy", logits, labels)
    return -labels * log_sigmoid(logits) - (1.0 - labels) * log_sigmoid(-logits)


def sigmoid_focal_loss(logits, labels, alpha: float | None = None, gamma: float = 2.0):
    """`sigmoid_binary_cross_entropy` times (1 - p)**gamma, where p is the probability of the label.

    What is already right counts less. alpha: the weight of label 1; that of label 0 is 1 - alpha. (Lin et al., Focal
    Loss for Dense Object Detection, 2017.)
    """
    logits, labels = _pair("sigmoid_focal_loss", logits, labels)
    probability = sigmoid(logits)
    of_label = probability * labels + (1.0 - probability) * (1.0 - labels)
    loss = sigmoid_binary_cross_entropy(logits, labels) * (1.0 - of_label) ** gamma
    return loss if alpha is None else loss * (alpha * labels + (1.0 - alpha) * (1.0 - labels))


def hinge_loss(predictor_outputs, targets):
    """max(0, 1 - predictor_outputs * targets), elementwise, for targets of -1 and 1."""
    outputs, targets = _pair("hinge_loss", predictor_outputs, targets)
    return fnp.maximum(0, 1 - outputs * targets)


# ---- many classes ----------------------------------------------------------------------------------------------


def softmax_cross_entropy(logits, labels, axis=-1, where=None):
    """-sum(labels * log_softmax(logits)) along `axis`; elements where the mask is false take no part.

    Labels are the probabilities of the classes, for example `one_hot`.
    """
    logits, labels = _pair("softmax_cross_entropy", logits, labels)
    return -fnp.sum(labels * log_softmax(logits, axis, where), axis=axis, where=where)


def softmax_cross_entropy_with_integer_labels(logits, labels, axis: int = -1, where=None):
    """`softmax_cross_entropy` for labels that are the numbers of the classes.

    The labels have the shape of the logits without `axis`. Raises `DtypeError` for labels that are no
    integers and `ShapeError` for another shape.
    """
    name = "losses.softmax_cross_entropy_with_integer_labels"
    (logits,) = promote(name, logits, inexact=True)
    logits, labels = fnp.asarray(logits), fnp.asarray(labels)
    axis = canonical_axis(axis, len(shape_of(logits)), name)
    if dtypes.kind(dtype_of(labels)) != "int":
        raise DtypeError(
            located(
                f"{name}: labels must be integers, not {dtype_of(labels)}; softmax_cross_entropy takes probabilities"
            )
        )
    rest = (*shape_of(logits)[:axis], *shape_of(logits)[axis + 1 :])
    if shape_of(labels) != rest:
        raise ShapeError(
            located(
                f"{name}: for logits of shape {shape_of(logits)} with the classes on axis {axis} the labels have the "
                f"shape {rest}, not {shape_of(labels)}"
            )
        )
    picked = fnp.take_along_axis(log_softmax(logits, axis, where), fnp.expand_dims(labels, axis), axis)
    return -fnp.squeeze(picked, axis)


def poly_loss_cross_entropy(logits, labels, epsilon: float = 2.0, axis=-1, where=None):
    """`softmax_cross_entropy` plus epsilon * (1 - p), where p is the probability of the label.

    (Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions, 2022.)
    """
    logits, labels = _pair("poly_loss_cross_entropy", logits, labels)
    missing = fnp.sum(labels * (1 - softmax(logits, axis, where)), axis=axis, where=where)
    return softmax_cross_entropy(logits, labels, axis, where) + epsilon * missing


def kl_divergence(log_predictions, targets, axis=-1, where=None):
    """sum(targets * (log(targets) - log_predictions)) along `axis`: Kullback and Leibler's divergence of distributions.

    A target of zero contributes nothing.
    """
    log_predictions, targets = _pair("kl_divergence", log_predictions, targets)
    log_targets = fnp.log(fnp.where(targets == 0, 1, targets))
    return fnp.sum(targets * (log_targets - log_predictions), axis=axis, where=where)


def smooth_labels(labels, alpha: float):
    """(1 - alpha) * labels + alpha / n, for probabilities of n classes along the last axis.

    (Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016.)
    """
    (labels,) = promote("smooth_labels", labels, inexact=True)
    if not shape_of(labels):
        raise ShapeError(located("losses.smooth_labels: labels need an axis, of the classes, but they are a number"))
    return (1.0 - alpha) * fnp.asarray(labels) + alpha / shape_of(labels)[-1]


# ---- sequences -------------------------------------------------------------------------------------------------


def ctc_loss(logits, logit_paddings, labels, label_paddings, blank_id: int = 0, log_epsilon: float = -1e5):
    """-log of the probability that frames spell the labels, for each sequence: [B].

    logits: [B, T, K], the classes of T frames. labels: integers [B, N]. The paddings, [B, T] and [B, N], are 1 for the
    frames and labels at the end that do not count, else 0. Frames spell a text when its labels are what is left of them
    after frames of one class in a row become one and those of the class `blank_id` are left out. log_epsilon: stands
    for the logarithm of 0; a loss of about its size says that there are too few frames.

    By the forward recursion of Graves et al., Connectionist Temporal Classification (2006), over the labels with a
    blank before, between and after them.
    """
    (logits,) = promote("ctc_loss", logits, inexact=True)
    logits, labels, label_paddings = (fnp.asarray(x) for x in (logits, labels, label_paddings))
    _check_sequences(logits, fnp.asarray(logit_paddings), labels, label_paddings)
    (batch, _, _), n = shape_of(logits), shape_of(labels)[1]
    blanks = fnp.full((batch, n + 1), blank_id, dtype_of(labels))
    states = fnp.zeros((batch, 2 * n + 1), dtype_of(labels)).at[:, 0::2].set(blanks).at[:, 1::2].set(labels)
    never = fnp.full((batch, 2), log_epsilon, dtype_of(logits))
    # A blank may be jumped over if the labels on its sides differ.
    jumps = fnp.zeros(shape_of(states), "bool")
    if n > 1:
        jumps = jumps.at[:, 3::2].set(labels[:, 1:] != labels[:, :-1])

    def frame(before, log_probabilities_and_padding):
        log_probabilities, is_padding = log_probabilities_and_padding
        stepped = fnp.concatenate([never[:, :1], before[:, :-1]], axis=1)
        jumped = fnp.concatenate([never, before], axis=1)[:, : 2 * n + 1]
        after = fnp.logaddexp(fnp.logaddexp(before, stepped), fnp.where(jumps, jumped, log_epsilon))
        return fnp.where(is_padding[:, None], before, after + log_probabilities), None

    of_states = fnp.take_along_axis(log_softmax(logits), states[:, None, :], -1)
    start = fnp.full(shape_of(states), log_epsilon, dtype_of(logits)).at[:, 0].set(0.0)
    frames = (fnp.moveaxis(of_states, 1, 0), fnp.moveaxis(fnp.asarray(logit_paddings), 1, 0) != 0)
    last, _ = lax.scan(frame, start, frames)
    end = 2 * fnp.sum(label_paddings == 0, axis=1, keepdims=True)
    places = fnp.arange(2 * n + 1)
    ends = fnp.logical_or(places == end, places == end - 1)
    return -logsumexp(fnp.where(ends, last, log_epsilon), axis=1)


def _check_sequences(logits, logit_paddings, labels, label_paddings) -> None:
    shapes = [shape_of(x) for x in (logits, logit_paddings, labels, label_paddings)]
    fits = len(shapes[0]) == 3 and shapes[1] == shapes[0][:2] and len(shapes[2]) == 2 and shapes[3] == shapes[2]
    if not fits or shapes[2][0] != shapes[0][0]:
        raise ShapeError(
            located(
                "losses.ctc_loss: logits, logit_paddings, labels and label_paddings must have the shapes (B, T, K), "
                f"(B, T), (B, N) and (B, N), not {', '.join(map(str, shapes))}"
            )
        )
    if dtypes.kind(dtype_of(labels)) != "int":
        raise DtypeError(located(f"losses.ctc_loss: labels must be integers, not {dtype_of(labels)}"))
