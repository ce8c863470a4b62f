"""Guided alignment: an added loss that draws attention to word alignments that somebody else has made.

Source: Chen et al. 2016, "Guided Alignment Training for Topic-Aware Neural Machine Translation" (arXiv:1607.01628),
section 3.2: cross entropy between the links of a target word, normalised to a distribution, and its attention.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from model_export.config import TrainConfig
from model_export.seq2seq import Seq2Seq
from service.domain import FloatArray

SMALLEST_WEIGHT = 1e-7
"""Added to attention before its logarithm: monotonic mechanisms may leave a source token without any."""


class GuidedSeq2Seq(keras.Model):
    """A model whose attention is an output beside its logits, so that a loss can be laid on it; has no weights itself.

    Args:
        seq2seq: the model that is trained.
    """

    def __init__(self, seq2seq: Seq2Seq) -> None:
        super().__init__(name="guided_seq2seq")
        self.seq2seq = seq2seq
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """`logits` (batch, target_len, vocabulary) and `alignments` (batch, target_len, source_len), the primary's."""
        logits, alignments = self.seq2seq.predict_next(inputs, training=training)
        return {"logits": logits, "alignments": alignments[0]}


class AlignmentCrossEntropy(keras.losses.Loss):
    """Cross entropy of attention against a target distribution; summed, since the sample weights hold all factors."""

    def __init__(self) -> None:
        super().__init__(reduction="sum", name="alignment_cross_entropy")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compares distributions with attention weights, both (batch, target_len, source_len).

        Returns:
            (batch, target_len) float32, in nats; 0 where the distribution is all 0.
        """
        return -ops.sum(y_true * ops.log(y_pred + SMALLEST_WEIGHT), axis=-1)


def alignment_row_weights(alignments: FloatArray, weight: float) -> FloatArray:
    """What each row counts so that the sum over a batch is `weight` times the mean over the rows that have links.

    Args:
        alignments: float32 (batch, target_len, source_len), rows of links that sum to 1, others all 0.
        weight: of the loss, now.

    Returns:
        float32 (batch, target_len).
    """
    linked = alignments.any(axis=-1)
    return np.where(linked, weight / max(1, int(linked.sum())), 0.0).astype(np.float32)


def alignment_weight(config: TrainConfig, step: int, steps: int) -> float:
    """The weight of the alignment loss at `step` of `steps`: a straight line from the first to the final weight."""
    share = min(1.0, step / max(1, steps))
    return config.alignment_weight * (1.0 + share * (config.alignment_final_weight_factor - 1.0))
