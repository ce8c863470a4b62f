"""Guided alignment: an added loss that draws attention to word alignments that somebody else has made.

Source: Chen et al. 2016, "Guided Alignment Training for Topic-Aware Neural Machine Translation" (arXiv:1607.01628),
section 3.2: cross entropy between the links of a target word, normalised to a distribution, and its attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from model_export.batching import Batch
from model_export.config import TrainConfig
from model_export.seq2seq import Seq2Seq
from model_export.tokenizer_training import SPECIAL_IDS
from service.domain import FloatArray

ALIGNMENTS: Final = "alignments"
ALIGNER: Final = "aligner"
SMALLEST_WEIGHT: Final = 1e-7
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
        """`logits` (batch, target_len, vocabulary), and attention (batch, target_len, source_len) under two names.

        `alignments` is the first mechanism's, `aligner` the aligner's, if there is one.
        """
        logits, alignments = self.seq2seq.predict_next(inputs, training=training)
        if not self.seq2seq.config.aligner:
            return {"logits": logits, ALIGNMENTS: alignments[0]}
        return {"logits": logits, ALIGNMENTS: alignments[1], ALIGNER: alignments[0]}


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


@dataclass(frozen=True)
class Guidance:
    """What the attention of one batch is drawn to.

    Attributes:
        targets: per output of `GuidedSeq2Seq` float32 (batch, target_len, source_len), distributions; rows all 0 where
            there is none.
        row_weights: per output float32 (batch, target_len), what each row counts: the sum over a batch is the output's
            weight times the mean over the rows that have a distribution.
    """

    targets: dict[str, FloatArray]
    row_weights: dict[str, FloatArray]


def guide(batch: Batch, weights: Mapping[str, float], row_offset: int) -> Guidance:
    """Says where attention should go.

    A token's links go to the step that `row_offset` says, for the first mechanism. The aligner's go to the step that
    reads the token; there, the start and tokens without links go to the end of the source, so that the aligner can say
    that a word has no counterpart.

    Args:
        batch: with alignments, or without (dev): all rows are 0 then.
        weights: of the loss, per output: `alignments`, and `aligner` if the model has one.
        row_offset: 0 or 1.
    """
    rows, width = batch.source_ids.shape
    alignments = batch.alignments
    if alignments is None:
        targets = dict.fromkeys(weights, np.zeros((rows, width, width), dtype=np.float32))
    else:
        targets = {ALIGNMENTS: _delayed(alignments, row_offset)}
        if ALIGNER in weights:
            targets[ALIGNER] = _of_tokens_read(alignments, batch)
    return Guidance(targets, {name: alignment_row_weights(targets[name], weight) for name, weight in weights.items()})


def _delayed(alignments: FloatArray, steps: int) -> FloatArray:
    """Moves every row to a later step; (batch, target_len, source_len)."""
    return np.pad(alignments, ((0, 0), (steps, 0), (0, 0)))[:, : alignments.shape[1]]


def _of_tokens_read(alignments: FloatArray, batch: Batch) -> FloatArray:
    """Per step the links of the token that it reads, or the last source token where that has none."""
    read = _delayed(alignments, 1)
    is_read = batch.target_ids[:, 1:] != SPECIAL_IDS[0]  # a step reads something where it has to produce something
    row, step = np.nonzero(is_read & ~read.any(axis=-1))
    read[row, step, batch.source_lengths[row] - 1] = 1.0
    return read


def alignment_row_weights(targets: FloatArray, weight: float) -> FloatArray:
    """What each row counts, as `Guidance` says."""
    guided = targets.any(axis=-1)
    return np.where(guided, weight / max(1, int(guided.sum())), 0.0).astype(np.float32)


def alignment_weight(config: TrainConfig, step: int, steps: int) -> float:
    """The weight of the alignment loss at `step` of `steps`: a straight line from the first to the final weight."""
    share = min(1.0, step / max(1, steps))
    return config.alignment_weight * (1.0 + share * (config.alignment_final_weight_factor - 1.0))
