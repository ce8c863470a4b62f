"""The slots that the hypotheses of a beam search compete for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.decoding.rows import IndexArray
from service.decoding.scoring import ScoreArray
from service.decoding.trails import TrailArray, empty_trails, join_trails
from service.domain import BoolArray


@dataclass(slots=True)
class Slots:
    """The slots of every sentence; each array is (sentences, beam_size), `trails` has its tokens in a third dimension.

    Attributes:
        live: whether the slot's hypothesis can grow.
        rows: decoder row of a live slot; meaningless elsewhere.
        worth: float64, sum of what the tokens of a live hypothesis are worth; -inf elsewhere.
        scores: float64, final score of a complete hypothesis; -inf elsewhere.
        lengths: tokens of the hypothesis.
        trails: its tokens.
    """

    live: BoolArray
    rows: IndexArray
    worth: ScoreArray
    scores: ScoreArray
    lengths: IndexArray
    trails: TrailArray

    @classmethod
    def start(cls, rows: IndexArray, beam_size: int) -> Slots:
        """One hypothesis without tokens per sentence, in slot 0; `rows` (sentences,) are their decoder rows."""
        shape = (len(rows), beam_size)
        live = np.zeros(shape, dtype=np.bool_)
        live[:, 0] = True
        return cls(
            live=live,
            rows=np.broadcast_to(rows[:, np.newaxis], shape).copy(),
            worth=np.where(live, 0.0, -np.inf),
            scores=np.full(shape, -np.inf),
            lengths=np.zeros(shape, dtype=np.int64),
            trails=empty_trails(shape),
        )

    def join(self, other: Slots) -> Slots:
        """The slots of both, one after the other."""
        return Slots(
            live=np.concatenate([self.live, other.live]),
            rows=np.concatenate([self.rows, other.rows]),
            worth=np.concatenate([self.worth, other.worth]),
            scores=np.concatenate([self.scores, other.scores]),
            lengths=np.concatenate([self.lengths, other.lengths]),
            trails=join_trails(self.trails, other.trails),
        )

    def select(self, keep: BoolArray) -> Slots:
        """The slots of the sentences where `keep` is True."""
        return Slots(
            self.live[keep],
            self.rows[keep],
            self.worth[keep],
            self.scores[keep],
            self.lengths[keep],
            self.trails.compress(keep, axis=0),
        )
