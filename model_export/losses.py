"""What training minimises and what dev is judged by; both per target token, padding weighted 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class LabelSmoothedCrossEntropy(keras.losses.Loss):
    """Cross entropy against `(1 - s) onehot + s uniform`, averaged over the weighted tokens.

    Written in closed form, `logsumexp(z) - (1 - s) z_label - s mean(z)`, which compilers such as XLA compute without a
    second array of the size of the logits. Source: Szegedy et al. 2016 (arXiv:1512.00567), section 7.

    Args:
        smoothing: s, the probability mass spread over the whole vocabulary.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__(reduction="mean_with_sample_weight", name="label_smoothed_cross_entropy")
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compares labels (batch, target_len) int32 with logits (batch, target_len, vocabulary).

        Returns:
            (batch, target_len) float32.
        """
        return _smoothed_cross_entropy(ops.cast(y_true, "int32"), y_pred, self.smoothing)


def _smoothed_cross_entropy(labels: Any, logits: Any, smoothing: float) -> Any:
    """As `LabelSmoothedCrossEntropy` says, with the gradient `softmax(z) - (1 - s) onehot - s / V` as one expression.

    Args:
        labels: (batch, target_len) int32.
        logits: z, (batch, target_len, vocabulary) float32.
        smoothing: s.

    Returns:
        (batch, target_len) float32.
    """

    def cross_entropy(logits: Any) -> tuple[Any, Callable[..., Any]]:
        normaliser = ops.logsumexp(logits, axis=-1)
        loss = normaliser - (1.0 - smoothing) * _label_logits(labels, logits)
        if smoothing:
            loss = loss - smoothing * ops.mean(logits, axis=-1)

        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            (upstream,) = arguments if upstream is None else (upstream,)  # PyTorch has it by name, behind the inputs
            size = logits.shape[-1]
            is_label = ops.arange(size, dtype="int32") == labels[..., None]
            targets = ops.where(is_label, 1.0 - smoothing + smoothing / size, smoothing / size)
            probabilities = ops.exp(logits - normaliser[..., None])
            return upstream[..., None] * (probabilities - ops.cast(targets, logits.dtype))

        return loss, gradient

    return ops.custom_gradient(cross_entropy)(logits)


def negative_log_likelihood(y_true: Any, y_pred: Any) -> Any:
    """-log p(label) in nats: labels (batch, target_len), logits (batch, target_len, vocabulary)."""
    return ops.logsumexp(y_pred, axis=-1) - _label_logits(y_true, y_pred)


def _label_logits(labels: Any, logits: Any) -> Any:
    index = ops.cast(labels, "int32")[..., None]
    return ops.squeeze(ops.take_along_axis(logits, index, axis=-1), axis=-1)
