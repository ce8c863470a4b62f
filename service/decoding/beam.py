"""The slots of a beam: which hypotheses each sentence holds, and which of their continuations it keeps."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.decoding.candidates import Candidates, ScoreArray
from service.decoding.history import NO_PARENT, IndexArray

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Beam:
    """`beam_size` slots per sentence; every array is (sentences, beam_size).

    A slot is live (its hypothesis can grow), complete (its score is final) or empty (log-probability -inf).
    The decoder's rows are the live slots in the order of the arrays.

    Attributes:
        live: whether the slot's hypothesis can grow.
        log_probs: float64, of the hypothesis' tokens.
        scores: float64, final score of a complete hypothesis, otherwise -inf.
        steps, tokens: address of the hypothesis' last token in the history.
    """

    live: npt.NDArray[np.bool_]
    log_probs: ScoreArray
    scores: ScoreArray
    steps: IndexArray
    tokens: IndexArray

    @classmethod
    def start(cls, sentences: int, beam_size: int) -> Beam:
        """One empty hypothesis per sentence in slot 0; the other slots are empty."""
        shape = (sentences, beam_size)
        first = np.zeros(shape, dtype=np.bool_)
        first[:, 0] = True
        return cls(
            live=first,
            log_probs=np.where(first, 0.0, -np.inf),
            scores=np.full(shape, -np.inf),
            steps=np.full(shape, -1, dtype=np.int64),
            tokens=np.full(shape, NO_PARENT, dtype=np.int64),
        )

    def select(self, keep: npt.NDArray[np.bool_]) -> Beam:
        """The sentences where `keep` (sentences,) is True."""
        return Beam(*(getattr(self, field.name)[keep] for field in fields(self)))

    @property
    def row_sentences(self) -> IndexArray:
        """(rows,) the sentence of each decoder row."""
        return np.nonzero(self.live)[0]

    @property
    def rows_of_slots(self) -> IndexArray:
        """(sentences, beam_size) the decoder row of each live slot; meaningless elsewhere."""
        return np.asarray(np.cumsum(self.live).reshape(self.live.shape) - 1)


@dataclass(frozen=True, slots=True)
class Choice:
    """The best continuations per sentence, best first; every array is (sentences, beam_size).

    Attributes:
        slots: the slot that is continued.
        columns: which of its candidates (0 for a complete hypothesis, which only stays).
        grows: a live hypothesis takes a token.
        stays: a complete hypothesis keeps a slot. (Neither: the new slot is empty.)
    """

    slots: IndexArray
    columns: IndexArray
    grows: npt.NDArray[np.bool_]
    stays: npt.NDArray[np.bool_]


def choose(beam: Beam, candidates: Candidates) -> Choice:
    """Keeps the `beam_size` best of each sentence's continuations and complete hypotheses, compared by score.

    Coverage counts for those that are complete. With one slot it counts in the score only, not in the choice, so
    that beam size 1 is greedy decoding. Ties go to the lower slot, then to the earlier candidate (the lower id).
    """
    sentences, beam_size = beam.live.shape
    ranking = candidates.scores
    if beam_size > 1 and candidates.coverage.any():
        ranking = ranking + np.where(candidates.complete, candidates.coverage[:, None], 0.0)
    width = ranking.shape[1]
    grid = np.full((sentences, beam_size, width), -np.inf)
    grid[beam.live] = ranking
    grid[~beam.live, 0] = beam.scores[~beam.live]
    flat = grid.reshape(sentences, beam_size * width)
    best = np.argsort(-flat, axis=1, kind="stable")[:, :beam_size]
    slots = best // width
    taken = _by_column(flat, best) > -np.inf  # False for NaN too
    live = _by_column(beam.live, slots)
    return Choice(slots=slots, columns=best % width, grows=taken & live, stays=taken & ~live)


@dataclass(frozen=True, slots=True)
class Growth:
    """The tokens that a choice takes, in the order of its `grows`; every array is (tokens,).

    Attributes:
        rows: decoder row that is continued.
        token_ids, log_probs, totals: of the tokens, and of their hypotheses.
        scores: final scores, should the hypothesis be complete.
        complete: whether it is.
    """

    rows: IndexArray
    token_ids: IndexArray
    log_probs: ScoreArray
    totals: ScoreArray
    scores: ScoreArray
    complete: npt.NDArray[np.bool_]


def grow(beam: Beam, choice: Choice, candidates: Candidates) -> Growth:
    """Looks up what the choice takes."""
    rows = _by_column(beam.rows_of_slots, choice.slots)[choice.grows]
    taken = (rows, choice.columns[choice.grows])
    return Growth(
        rows=rows,
        token_ids=candidates.token_ids[taken],
        log_probs=candidates.log_probs[taken],
        totals=candidates.totals[taken],
        scores=candidates.scores[taken] + candidates.coverage[rows],
        complete=candidates.complete[taken],
    )


def advance(beam: Beam, choice: Choice, growth: Growth, step: int) -> Beam:
    """The beam after the choice; grown hypotheses point at selection `step` of the history."""
    live = choice.grows.copy()
    live[choice.grows] = ~growth.complete
    log_probs = np.where(choice.stays, _by_column(beam.log_probs, choice.slots), -np.inf)
    log_probs[choice.grows] = growth.totals
    scores = np.where(choice.stays, _by_column(beam.scores, choice.slots), -np.inf)
    scores[choice.grows] = np.where(growth.complete, growth.scores, -np.inf)
    steps = np.where(choice.grows, step, _by_column(beam.steps, choice.slots))
    tokens = _by_column(beam.tokens, choice.slots)
    tokens[choice.grows] = np.arange(len(growth.rows))
    return Beam(live=live, log_probs=log_probs, scores=scores, steps=steps, tokens=tokens)


def _by_column(values: npt.NDArray[_Value], columns: IndexArray) -> npt.NDArray[_Value]:
    """`values[i, columns[i]]` for every sentence i; `np.take_along_axis` does the same with ten times the overhead."""
    return values[np.arange(len(values))[:, None], columns]
