"""Training as a straightforward loop over time steps has it: what the project's own is measured against."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from model_export.seq2seq import Seq2Seq


class PlainSeq2Seq(Seq2Seq):
    """The same model, whose every step also makes its logits."""

    def predict_next(self, inputs: dict[str, Any], training: bool = False) -> tuple[Any, tuple[Any, ...]]:
        """See the base class."""
        memories, state = self.encode(inputs["source_ids"], inputs["source_lengths"], training=training)
        embedded = self.embedding_dropout(self.embed_target(inputs["target_inputs"]), training=training)
        ones = ops.ones((*inputs["target_inputs"].shape, self.config.attention_vector_dim))
        kept = self.dropout(ones, training=training)  # drawn before the loop, in which it could not be

        def advance(carry: Any, step_inputs: Any) -> tuple[Any, Any]:
            step_embedded, step_kept = step_inputs
            after = self.decoder.step(step_embedded, carry, memories, training)
            return after, (self.project_output(after.attention * step_kept), after.alignments)

        _, (logits, alignments) = ops.scan(advance, state, (ops.swapaxes(embedded, 0, 1), ops.swapaxes(kept, 0, 1)))
        return ops.swapaxes(logits, 0, 1), tuple(ops.swapaxes(array, 0, 1) for array in alignments)


class PlainCrossEntropy(keras.losses.Loss):
    """The label-smoothed cross entropy of all log-probabilities, a second array of the size of the logits.

    Args:
        smoothing: the probability mass spread over the whole vocabulary.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__(reduction="mean_with_sample_weight", name="plain_cross_entropy")
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """From labels (batch, target_len) and logits (batch, target_len, vocabulary) to (batch, target_len)."""
        log_probs = ops.log_softmax(y_pred)
        of_labels = ops.take_along_axis(log_probs, ops.cast(y_true, "int32")[..., None], axis=-1)[..., 0]
        return -(1.0 - self.smoothing) * of_labels - self.smoothing * ops.mean(log_probs, axis=-1)
