"""From scores to weights: masked softmax and hardmax over the source positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
from keras import backend, ops

# Units in the last place of float32 (or float64) by which sums of equal numbers may differ; seen: up to 16 of 600
# summands. Nothing of the kind holds for 16-bit formats, where as many units are a difference in earnest.
ROUNDING_STEPS = 64
BITS_WITH_TOLERANCE = 32


def limits(tensor: Any) -> Any:
    """What the dtype of a tensor can hold: `min`, `tiny` and so on, as of `numpy.finfo`."""
    return ml_dtypes.finfo(backend.standardize_dtype(tensor.dtype))  # type: ignore[no-untyped-call]


def mask_scores(scores: Any, mask: Any) -> Any:
    """Puts the lowest finite number where `mask` is False, so that the weight there becomes exactly 0.

    Args:
        scores: (B, S).
        mask: (B, S) bool, True = real token.
    """
    return ops.where(mask, scores, ops.convert_to_tensor(limits(scores).min, dtype=scores.dtype))


def mask_weights(weights: Any, mask: Any) -> Any:
    """Puts 0 where `mask` is False; changes only rows (B, S) without any real token, whose masked scores are all equal.

    Such rows are refused where values are known, but a graph may meet them.
    """
    return weights * ops.cast(mask, weights.dtype)  # fewer nodes of an exported graph than `where`


def softmax(scores: Any) -> Any:
    """Weights (B, S) that sum to 1."""
    if scores.shape[-1] == 1:  # nothing to choose; Keras would warn
        return ops.ones_like(scores)
    return ops.softmax(scores, axis=-1)


def hardmax(scores: Any) -> Any:
    """All weight on the highest score, the first of equals; (B, S). No gradient passes.

    In float32 and float64, scores within rounding of the highest count as equal to it: what is summed in another order
    at another position, as runtimes do, would else break a tie by chance. In 16-bit formats equal means equal. (Built
    without argmax, which Keras on TensorFlow cannot export.)

    Source: `one_hot(argmax(scores))` of tf.contrib.seq2seq and tfa.seq2seq.
    """
    highest = ops.max(scores, axis=-1, keepdims=True)
    is_best = ops.equal(scores, highest)  # also where the highest is infinite
    if limits(scores).bits >= BITS_WITH_TOLERANCE:
        # Of scores near 0, one unit at 1: their summands were larger than they are.
        rounding = float(limits(scores).eps) * ops.maximum(ROUNDING_STEPS * ops.abs(highest), 1.0)
        is_best = ops.logical_or(is_best, ops.greater_equal(scores, highest - rounding))
    best = ops.cast(is_best, "int32")
    first_best = best * ops.cast(ops.equal(ops.cumsum(best, axis=-1), 1), "int32")
    return ops.cast(first_best, scores.dtype)


PROBABILITY_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"softmax": softmax, "hardmax": hardmax}


def probability_function(name: str) -> Callable[[Any], Any]:
    """The function of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PROBABILITY_FUNCTIONS:
        known = ", ".join(PROBABILITY_FUNCTIONS)
        raise ValueError(f"probability_fn: {name!r} is unknown; known are {known}")
    return PROBABILITY_FUNCTIONS[name]
