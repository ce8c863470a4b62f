"""The Keras model behind the protocol that the service's search uses, so that both are decoded by the same code."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from model_export.attention import Memory
from model_export.decoder import flatten_state, unflatten_state
from model_export.seq2seq import Seq2Seq
from service.decoding.backend import DecoderRows, StepOutput
from service.domain import FloatArray, IntArray


class KerasBackend:
    """A `service.decoding.backend.Seq2SeqBackend` over a Keras model, on any Keras backend.

    Args:
        model: with its trained weights.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self._model = model

    @property
    def vocabulary_size(self) -> int:
        """Number of subwords."""
        return self._model.config.vocabulary_size

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        """See the protocol."""
        memory, state = self._model.encode(source_ids, source_lengths)
        return DecoderRows(
            memory=(_array(memory.keys), _array(memory.values)),
            source_mask=np.asarray(ops.convert_to_numpy(memory.mask)),
            state=tuple(_array(part) for part in flatten_state(state)),
        )

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        """See the protocol."""
        model = self._model
        keys, values = (ops.convert_to_tensor(part) for part in rows.memory)
        memory = Memory(keys, values, ops.convert_to_tensor(rows.source_mask))
        state = unflatten_state(model.config, [ops.convert_to_tensor(part) for part in rows.state])
        after = model.decoder.step(model.embed_target(input_ids), state, memory)
        log_probs = _array(ops.log_softmax(model.project_output(after.attention)))
        order = np.argsort(-log_probs, axis=-1, kind="stable")[:, :num_candidates].astype(np.int32)
        return StepOutput(
            candidate_ids=order,
            candidate_log_probs=np.take_along_axis(log_probs, order, axis=-1),
            forced_log_probs=np.take_along_axis(log_probs, forced_ids[:, None], axis=-1)[:, 0],
            attention_weights=_array(after.alignments),
            state=tuple(_array(part) for part in flatten_state(after)),
        )


def _array(tensor: Any) -> FloatArray:
    return np.asarray(ops.convert_to_numpy(tensor), dtype=np.float32)
