"""Beam search with the semantics of TensorFlow Addons' `BeamSearchDecoder`, for results that must equal its own.

It differs from the default search (`service.decoding.beam`) in this:

- A hypothesis that takes the end of sentence competes in that step with its length before the end and without coverage
  penalty, and from the next step on with the end counted and with the penalty. So its score changes after it is
  complete, and it may still lose its place.
- Hypotheses that are not complete never pay for coverage. At the length limit both kinds are compared as they stand.
- A source token without any attention costs nothing.
- No token but the end of sentence is special: padding, start and unknown can be produced.
- The tokens are read back from the step at which the longest hypothesis ended. If complete hypotheses change places
  after that, tokens and score of a place belong to different hypotheses.
- The attention of a token is that of the slot which its hypothesis has after the step's selection; what produced the
  token is the slot before it. So rows are shifted by one selection wherever hypotheses change slots.

Source: `tensorflow_addons/seq2seq/beam_search_decoder.py` and `attention_wrapper.py`, version 0.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from service.decoding.rows import IndexArray
from service.decoding.scoring import ScoreArray, length_penalty
from service.domain import BoolArray, FloatArray, IntArray

_Value = TypeVar("_Value", bound=np.generic)

LOWEST: Final = float(np.finfo(np.float32).min)
"""The log-probability of whatever would follow a complete hypothesis."""


@dataclass(frozen=True, slots=True)
class TfaOptions:
    """What the search may be told; weights are (sentences,).

    Attributes:
        end_id: the token that completes a hypothesis.
        vocabulary_size: number of token ids.
        mechanisms: how many attention mechanisms the model has.
        length_penalty, coverage_penalty: weights of the penalties.
    """

    end_id: int
    vocabulary_size: int
    mechanisms: int
    length_penalty: npt.NDArray[np.float64]
    coverage_penalty: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TfaStep:
    """What a step selects, best first; every array is (sentences, beam_size).

    Attributes:
        token_ids: the tokens.
        parents: the slots they continue.
        log_probs: float64, of the tokens; 0 where a complete hypothesis stays.
        scores: float64, of the hypotheses.
    """

    token_ids: IntArray
    parents: IndexArray
    log_probs: ScoreArray
    scores: ScoreArray


@dataclass(frozen=True, slots=True)
class TfaBeams:
    """The slots of every sentence; every array is (sentences, beam_size).

    Attributes:
        log_probs: float64, of the hypotheses.
        finished: whether they are complete.
        lengths: tokens, end of sentence included.
        attention_sums: (sentences, beam_size, source_len), attention of the tokens, of all mechanisms.
    """

    log_probs: ScoreArray
    finished: BoolArray
    lengths: IndexArray
    attention_sums: FloatArray

    @classmethod
    def start(cls, initial_attention: FloatArray, beam_size: int) -> TfaBeams:
        """One hypothesis without tokens per sentence; the other slots are complete and impossible.

        Args:
            initial_attention: (sentences, source_len), the alignments that the mechanisms begin with, their sum.
            beam_size: slots per sentence.
        """
        shape = (len(initial_attention), beam_size)
        finished = np.ones(shape, dtype=np.bool_)
        finished[:, 0] = False
        return cls(
            log_probs=np.where(finished, -np.inf, 0.0),
            finished=finished,
            lengths=np.zeros(shape, dtype=np.int64),
            attention_sums=np.repeat(initial_attention[:, np.newaxis], beam_size, axis=1),
        )

    def advance(
        self, token_ids: IntArray, log_probs: FloatArray, attention: FloatArray, options: TfaOptions
    ) -> tuple[TfaBeams, TfaStep]:
        """One step of the search.

        Args:
            token_ids: (sentences, beam_size, candidates), each slot's best next tokens, at least `beam_size + 1`
                unless the vocabulary is smaller.
            log_probs: likewise, theirs.
            attention: (sentences, beam_size, source_len), the sum over the mechanisms.
            options: the search's options.

        Returns:
            The slots after the step, and what it selected.
        """
        sums = self.attention_sums + attention * ~self.finished[:, :, np.newaxis]
        token_ids, values = self._continuations(token_ids, log_probs, options.end_id)
        totals = self.log_probs[:, :, np.newaxis] + values
        scores = totals / self._divisors(token_ids, options) + self._coverage(sums, options)[:, :, np.newaxis]
        best = _best(scores, token_ids, options.vocabulary_size)
        lines = np.arange(len(best))[:, np.newaxis]
        parents = best // token_ids.shape[2]
        picked = best + lines * (token_ids.shape[1] * token_ids.shape[2])
        step = TfaStep(token_ids.take(picked), parents, values.take(picked), scores.take(picked))
        was_finished = self.finished[lines, parents]
        beams = TfaBeams(
            log_probs=totals.take(picked),
            finished=was_finished | (step.token_ids == options.end_id),
            lengths=self.lengths[lines, parents] + ~was_finished,
            attention_sums=sums[lines, parents],
        )
        return beams, step

    def _continuations(
        self, token_ids: IntArray, log_probs: FloatArray, end_id: int
    ) -> tuple[IntArray, npt.NDArray[np.float64]]:
        """Candidates and their log-probabilities; a complete hypothesis goes on with another end, which is free."""
        token_ids, values = token_ids.copy(), log_probs.astype(np.float64)
        values[self.finished] = LOWEST
        values[self.finished, 0] = 0.0
        token_ids[self.finished, 0] = end_id
        return token_ids, values

    def _divisors(self, token_ids: IntArray, options: TfaOptions) -> ScoreArray:
        """(sentences, beam_size, candidates): a step does not count the end that it adds."""
        grows = ~self.finished[:, :, np.newaxis] & (token_ids != options.end_id)
        lengths = self.lengths[:, :, np.newaxis] + grows
        return length_penalty(lengths, options.length_penalty[:, np.newaxis, np.newaxis])

    def _coverage(self, sums: FloatArray, options: TfaOptions) -> ScoreArray:
        """(sentences, beam_size), 0 for hypotheses that are not complete."""
        means = sums.astype(np.float64) / options.mechanisms
        covered = np.where(means == 0, 1.0, np.minimum(means, 1.0))
        penalties = options.coverage_penalty[:, np.newaxis] * np.log(covered).sum(axis=2)
        return np.where(self.finished, penalties, 0.0)


def _best(scores: ScoreArray, token_ids: IntArray, vocabulary_size: int) -> IndexArray:
    """The best candidates of each sentence, as many as it has slots; ties to the lower slot, then the lower id.

    Returns:
        (sentences, beam_size) indices into a sentence's candidates, slot by slot.
    """
    sentences, beam_size, width = scores.shape
    places = np.arange(beam_size)[:, np.newaxis] * vocabulary_size + token_ids
    flat = (sentences, beam_size * width)
    return np.lexsort((places.reshape(flat), -scores.reshape(flat)), axis=1)[:, :beam_size]


def gather_tree(values: npt.NDArray[_Value], parents: IndexArray, length: int) -> npt.NDArray[_Value]:
    """Follows each slot back from step `length - 1`, as the original's operation of this name does.

    Args:
        values: (steps, beam_size), what to collect.
        parents: (steps, beam_size), the slot that each slot continues.
        length: steps to follow.

    Returns:
        (length, beam_size), for each slot of the last step what lies on its way.
    """
    gathered = np.empty((length, values.shape[1]), dtype=values.dtype)
    slots = np.arange(values.shape[1])
    for step in range(length - 1, -1, -1):
        gathered[step] = values[step, slots]
        slots = parents[step, slots]
    return gathered


def attention_slots(parents: IndexArray, lengths: IndexArray, length: int) -> IndexArray:
    """Whose attention the original reports for each token: the slot after the step's selection.

    Args:
        parents: (steps, beam_size).
        lengths: (beam_size,), tokens of the hypotheses at the end.
        length: steps that the longest had.

    Returns:
        (steps, beam_size) slots.
    """
    own = np.broadcast_to(np.arange(parents.shape[1]), parents.shape)
    slots = own.copy()
    slots[:length] = gather_tree(own, parents, length)
    return np.where(np.arange(len(parents))[:, np.newaxis] >= lengths, own, slots)
