"""What search needs of a model: encode sentences, advance rows by one token, select rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.domain import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class DecoderRows:
    """Everything the decoder step reads, one row per live hypothesis.

    What is not written to stays the same object: an array of `memory`, or the mask, that a backend has seen before
    holds what it held before. Memory and state of a backend's own may be on a device: such arrays have a length, a
    `shape`, and become NumPy arrays where one takes their rows or passes them to NumPy.

    Attributes:
        memory: arrays (rows, source_len, ...), float32, in the order of the manifest's `memory` tensors.
        source_mask: (rows, source_len), True = real token.
        state: arrays (rows, ...), float32, in the order of the manifest's `state` tensors; the last alignments of
            monotonic mechanisms (rows, source_len) are among them.
    """

    memory: tuple[FloatArray, ...]
    source_mask: BoolArray
    state: tuple[FloatArray, ...]

    def select(self, rows: IntArray) -> DecoderRows:
        """Rows in the order of `rows` (any length, repeats allowed)."""
        return DecoderRows(
            memory=tuple(np.take(array, rows, axis=0) for array in self.memory),
            source_mask=np.take(self.source_mask, rows, axis=0),
            state=tuple(np.take(array, rows, axis=0) for array in self.state),
        )


@dataclass(frozen=True, slots=True)
class StepOutput:
    """The result of one decoder step over all rows.

    Attributes:
        candidate_ids: (rows, candidates), the most probable next tokens, best first, ties to the lower id.
        candidate_log_probs: (rows, candidates), their natural log-probabilities over the whole vocabulary.
        forced_log_probs: (rows,), log-probability of each row's `forced_ids` entry.
        attention_weights: (rows, mechanisms, source_len), the primary mechanism first; masked positions are exactly 0.
        state: the next state, shaped as `DecoderRows.state`.
    """

    candidate_ids: IntArray
    candidate_log_probs: FloatArray
    forced_log_probs: FloatArray
    attention_weights: FloatArray
    state: tuple[FloatArray, ...]


class Seq2SeqBackend(Protocol):
    """A model as search sees it. Implementations hold weights only; state is passed in and returned."""

    @property
    def vocabulary_size(self) -> int: ...

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        """Encodes padded sentences.

        Args:
            source_ids: (batch, source_len), end of sentence included, padded with the padding id.
            source_lengths: (batch,), at least 1 each.
        """
        ...

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        """Advances every row by one token.

        Args:
            input_ids: (rows,), the token produced last (the start token at first).
            rows: the rows' memory, mask and state.
            forced_ids: (rows,), tokens whose log-probability is wanted besides the candidates (any valid id).
            num_candidates: how many best tokens to return per row, at most the vocabulary's size.
        """
        ...
