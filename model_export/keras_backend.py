"""The Keras model behind the protocol that the service's search uses, so that both are decoded by the same code."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from model_export.config import TrainConfig
from model_export.decoder_tensors import DecoderTensors
from model_export.seq2seq import Seq2Seq
from service.bundle.manifest import ALIGNER_SUFFIX
from service.decoding.backend import DecoderRows, StepOutput
from service.domain import FloatArray, IntArray, Mechanism


def describe_mechanisms(model: Seq2Seq, training: TrainConfig) -> tuple[Mechanism, ...]:
    """A model's attention mechanisms as the service knows them: the aligner, if there is one, and then the others.

    Args:
        model: whose.
        training: how it was trained; guided training says whose row is a token's for the first mechanism.
    """
    config = model.config
    aligners = [(f"{config.aligner.name}{ALIGNER_SUFFIX}", 1)] if config.aligner else []
    guided_offset = training.alignment_row_offset if training.alignment_weight else 0
    others = [(each.name, 0 if index else guided_offset) for index, each in enumerate(config.attention)]
    return tuple(
        Mechanism(name, mechanism.normalized, row_offset)
        for (name, row_offset), mechanism in zip([*aligners, *others], model.decoder.mechanisms, strict=True)
    )


class KerasBackend:
    """A `service.decoding.backend.Seq2SeqBackend` over a Keras model, on any Keras backend.

    Args:
        model: with its trained weights.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self._model = model
        self._tensors = DecoderTensors(model.decoder)

    @property
    def vocabulary_size(self) -> int:
        """Number of subwords."""
        return self._model.config.vocabulary_size

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        """See the protocol."""
        mask = np.arange(source_ids.shape[1]) < source_lengths[:, None]
        memories, state = self._model.encode(source_ids, source_lengths)
        return DecoderRows(
            memory=tuple(_array(part) for part in self._tensors.flatten_memories(memories)),
            source_mask=mask,
            state=tuple(_array(part) for part in self._tensors.flatten_state(state)),
        )

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        """See the protocol."""
        model = self._model
        memories = self._tensors.unflatten_memories(
            [ops.convert_to_tensor(part) for part in rows.memory], ops.convert_to_tensor(rows.source_mask)
        )
        state = self._tensors.unflatten_state([ops.convert_to_tensor(part) for part in rows.state])
        after = model.decoder.step(model.embed_target(input_ids), state, memories)
        log_probs = _array(ops.log_softmax(model.project_output(after.attention)))
        order = np.argsort(-log_probs, axis=-1, kind="stable")[:, :num_candidates].astype(np.int32)
        return StepOutput(
            candidate_ids=order,
            candidate_log_probs=np.take_along_axis(log_probs, order, axis=-1),
            forced_log_probs=np.take_along_axis(log_probs, forced_ids[:, None], axis=-1)[:, 0],
            attention_weights=np.stack([_array(part) for part in after.alignments], axis=1),
            state=tuple(_array(part) for part in self._tensors.flatten_state(after)),
        )


def _array(tensor: Any) -> FloatArray:
    return np.asarray(ops.convert_to_numpy(tensor), dtype=np.float32)
