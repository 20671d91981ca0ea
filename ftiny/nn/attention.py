"""Attention: weighted means of values, with weights from the products of queries and keys.

Input: queries, keys and values with axes batch, position, head, feature. Output: an array of the shape of the queries:

    >>> x = ftiny.numpy.ones((1, 4, 2, 8))                            # one sequence of 4, two heads of 8 features
    >>> dot_product_attention(x, x, x, is_causal=True).shape
    (1, 4, 2, 8)
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ftiny import dtypes
from ftiny import numpy as fnp
from ftiny.errors import ArgumentError, DtypeError, ShapeError
from ftiny.nn.functions import logsumexp, softmax
from ftiny.numpy.common import check_array, convert, dtype_of, shape_of
from ftiny.source import located
from ftiny.transforms.custom import stop_gradient


def dot_product_attention(
    query,
    key,
    value,
    bias=None,
    mask=None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths=None,
    key_value_seq_lengths=None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
):
    """softmax(scale * query @ key.T + bias) @ value for each head (Vaswani et al., Attention Is All You Need, 2017).

    query: [B, T, N, H] or without B: batch, position, head, feature. key, value: [B, S, K, H] of the same dtype, where
    N is a multiple of K: each key head serves N / K query heads in a row (grouped-query attention). The result has the
    shape and dtype of the query.

    bias: added to the logits; broadcasts to [B, N, T, S], as does the bool array `mask`, which is true where a query
    may look at a key. scale: 1 / sqrt(H) if None. is_causal: a query sees keys up to its own position.
    local_window_size: `(left, right)`, or one number for both: how many keys before and after its own position it sees.
    query_seq_lengths, key_value_seq_lengths: integers [B]; positions from there on are padding, whose results are zero
    and whose keys are not seen. Where a query may see no key at all, all keys count alike.

    return_residual: also the logsumexp of the logits, [B, T, N], without a derivative. implementation: None or 'xla',
    which mean the same here. Products and softmax are computed in float32 at least. Raises `ShapeError`, `DtypeError`
    or `ArgumentError` when something does not fit, naming it.
    """
    if implementation not in (None, "xla"):
        raise ArgumentError(
            located(f"dot_product_attention: implementation must be None or 'xla' (the same), not {implementation!r}")
        )
    shape = shape_of(query)
    query, key, value = (_with_batch(n, x) for n, x in (("query", query), ("key", key), ("value", value)))
    _check_operands(query, key, value)
    (batch, t, n, h), (s, k) = shape_of(query), shape_of(key)[1:3]
    bias, mask = (_per_head(name, x, (batch, n, t, s), k) for name, x in (("bias", bias), ("mask", mask)))
    query_end, key_end = (_lengths(x, batch) for x in (query_seq_lengths, key_value_seq_lengths))
    masks = _position_masks(t, s, is_causal, local_window_size, query_end, key_end)
    logits = _logits(query, key, 1 / math.sqrt(h) if scale is None else scale, bias, mask, masks)
    weights = convert(softmax(logits, axis=-1), dtype_of(key))
    result = fnp.reshape(fnp.einsum("bkgts,bskh->btkgh", weights, value), (batch, t, n, h))
    if query_end is not None:
        result = fnp.where((fnp.arange(t) < query_end[:, None])[:, :, None, None], result, 0)
    result = fnp.reshape(result, shape)
    return (result, _residual(logits, shape[:-1], dtype_of(key))) if return_residual else result


def _residual(logits, shape, dtype):
    return stop_gradient(convert(fnp.reshape(fnp.moveaxis(logsumexp(logits, axis=-1), -1, 1), shape), dtype))


def _logits(query, key, scale, bias, mask, masks: list):
    """[B, K, G, T, S]: the products of queries and keys, in float32 at least; very small where a mask is false."""
    if mask is not None and dtype_of(mask) != dtypes.bool_:
        raise DtypeError(located(f"dot_product_attention: the mask must be bool, not {dtype_of(mask)}; see bias"))
    (batch, t, n, h), k = shape_of(query), shape_of(key)[2]
    wide = dtypes.result_type(dtype_of(query), dtypes.float32)
    grouped = fnp.reshape(query, (batch, t, k, n // k, h))
    logits = fnp.einsum("btkgh,bskh->bkgts", grouped, key, preferred_element_type=wide) * convert(scale, wide)
    if bias is not None:
        logits = convert(logits + bias, wide)
    masks = masks if mask is None else [mask, *masks]
    if not masks:
        return logits
    # Finite, so that a row without any key has no NaN.
    return fnp.where(functools.reduce(fnp.logical_and, masks), logits, -0.7 * float(np.finfo(np.float32).max))


def _with_batch(name: str, x):
    check_array(f"dot_product_attention of {name}", x)
    x = fnp.asarray(x)
    if len(shape_of(x)) not in (3, 4):
        raise ShapeError(
            located(
                f"dot_product_attention: {name} must have the axes batch (which may lack), position, head and feature, "
                f"but its shape is {shape_of(x)}"
            )
        )
    return x if len(shape_of(x)) == 4 else fnp.expand_dims(x, 0)


def _check_operands(query, key, value) -> None:
    shapes = f"the shapes are query {shape_of(query)}, key {shape_of(key)}, value {shape_of(value)}"
    (batch, _, n, h), (key_batch, _, k, key_h) = shape_of(query), shape_of(key)
    if shape_of(value) != shape_of(key) or (batch, h) != (key_batch, key_h):
        raise ShapeError(
            located(
                "dot_product_attention: key and value must have one shape, and the query the same batch and features: "
                + shapes
            )
        )
    if k == 0 or n % k:
        raise ShapeError(
            located(f"dot_product_attention: {n} query heads are no multiple of {k} key and value heads: {shapes}")
        )
    found = [dtype_of(x) for x in (query, key, value)]
    if len(set(found)) > 1 or not dtypes.is_float(found[0]):
        raise DtypeError(
            located(
                "dot_product_attention: query, key and value must have one float dtype, not "
                f"{', '.join(map(str, found))}; convert with .astype"
            )
        )


def _per_head(name: str, x, full: tuple[int, int, int, int], k: int):
    """A bias or mask that broadcasts to [B, N, T, S] as one that broadcasts to [B, K, N / K, T, S]."""
    if x is None:
        return None
    x = fnp.asarray(x)
    shape = (1,) * (4 - len(shape_of(x))) + shape_of(x)
    if len(shape) != 4 or any(have not in (1, want) for have, want in zip(shape, full)):
        raise ShapeError(
            located(
                f"dot_product_attention: the {name} of shape {shape_of(x)} does not broadcast to [B, N, T, S] = {full}"
            )
        )
    heads = (1, 1) if shape[1] == 1 else (k, full[1] // k)
    return fnp.reshape(x, (shape[0], *heads, *shape[2:]))


def _lengths(x, batch: int):
    """Sequence lengths as an array [B], or None."""
    if x is None:
        return None
    x = fnp.asarray(x)
    if shape_of(x) != (batch,) or dtypes.kind(dtype_of(x)) != "int":
        raise ShapeError(
            located(
                f"dot_product_attention: sequence lengths must be integers of shape ({batch},), not {dtype_of(x)} of "
                f"shape {shape_of(x)}"
            )
        )
    return x


def _position_masks(t: int, s: int, is_causal: bool, window, query_end, key_end) -> list:
    """Bool arrays that broadcast to [B, K, G, T, S], true where the query may look at the key by their positions."""
    queries, keys = fnp.arange(t)[:, None], fnp.arange(s)
    masks = []
    if is_causal:
        masks.append(keys <= queries)
    if window is not None:
        left, right = (window, window) if isinstance(window, int) else window
        masks.append(fnp.logical_and(queries <= keys + left, queries >= keys - right))
    if query_end is not None:
        masks.append(queries < query_end[:, None, None, None, None])
    if key_end is not None:
        masks.append(keys < key_end[:, None, None, None, None])
    return masks
