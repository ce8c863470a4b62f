"""Beam search: each sentence has `beam_size` slots, for which its hypotheses compete at every step.

A slot is live (its hypothesis can grow), complete (its score is final) or empty. Complete hypotheses keep their score
and compete with the continuations of live ones; the best `beam_size` stay. A sentence is done when no slot is live.
The decoder has a row for every live slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.decoding.backend import StepOutput
from service.decoding.greedy import NO_PROBABILITY
from service.decoding.jobs import JOB, JobTable
from service.decoding.lane import Arrivals, Hypotheses, Outcome, Surroundings
from service.decoding.rows import IndexArray
from service.decoding.rules import Demands, Offer, RowView, apply_rules, force_prefix
from service.decoding.scoring import ScoreArray, coverage_penalty, length_penalty
from service.decoding.trails import TrailArray, empty_trails, join_trails, widen
from service.domain import BoolArray, DecodingJob
from service.errors import DecodingError

_Value = TypeVar("_Value", bound=np.generic)


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
            self.trails[keep],
        )


@dataclass(frozen=True, slots=True)
class Continuations:
    """What every sentence's slots can become; every array is (sentences, beam_size, candidates).

    Attributes:
        offer: the candidates of live slots.
        worth: of the hypotheses, if they take them.
        ranking: by what they compete; a complete hypothesis, which only stays, competes as its candidate 0.
        completes: whether the token completes the hypothesis.
    """

    offer: Offer
    worth: ScoreArray
    ranking: ScoreArray
    completes: BoolArray


class BeamLane:
    """All sentences of one beam size, from 2 on.

    Args:
        surroundings: what it shares with other lanes.
        beam_size: slots per sentence.
    """

    def __init__(self, surroundings: Surroundings, beam_size: int) -> None:
        self._around = surroundings
        self._beam_size = beam_size
        self._demands = Demands()
        self._longest = 0
        # One entry per sentence:
        self._jobs: list[DecodingJob] = []
        self._table: JobTable = np.zeros(0, dtype=JOB)
        self._slots = Slots.start(np.zeros(0, dtype=np.int64), beam_size)
        self._lines = np.arange(0)[:, np.newaxis]

    @property
    def num_candidates(self) -> int:
        """See `Lane`."""
        return self._demands.candidates(self._beam_size, self._longest) if self._jobs else 0

    @property
    def needs_coverage(self) -> bool:
        """See `Lane`."""
        return self._demands.coverage

    @property
    def first_step(self) -> int | None:
        """See `Lane`."""
        return int(self._table["start"].min()) if self._jobs else None

    def admit(self, arrivals: Arrivals) -> None:
        """See `Lane`."""
        rows = self._around.rows.add(arrivals.encoded, arrivals.source_lengths, self._around.ids.bos)
        self._jobs += arrivals.jobs
        self._table = np.concatenate([self._table, self._around.tabulate(arrivals)])
        self._slots = self._slots.join(Slots.start(rows, self._beam_size))
        self._survey()
        self._announce_prefixes()

    def advance(self, output: StepOutput) -> dict[int, Outcome]:
        """See `Lane`."""
        if not self._jobs:
            return {}
        lengths = self._around.log.now - 1 - self._table["start"]
        continuations = self._continue(output, lengths)
        alive = self._choose(continuations, lengths)
        outcomes: dict[int, Outcome] = {}
        busy = self._slots.live.any(axis=1)
        if not busy.all():
            for index in np.flatnonzero(~busy).tolist():
                sentence = int(self._table["sentence"][index])
                outcomes[sentence] = self._hypotheses(index) if alive[index] else DecodingError(NO_PROBABILITY)
            self._retain(np.asarray(busy))
        self._announce_prefixes()
        return outcomes

    def move(self, places: IndexArray) -> None:
        """See `Lane`."""
        self._slots.rows = places.take(self._slots.rows, mode="clip")  # rows of slots that are not live mean nothing

    def drop(self, sentence: int) -> None:
        """See `Lane`."""
        gone = self._table["sentence"] == sentence
        if gone.any():
            self._around.rows.free(self._slots.rows[gone][self._slots.live[gone]])
            self._retain(~gone)

    def _continue(self, output: StepOutput, lengths: IndexArray) -> Continuations:
        """Values every continuation of every live hypothesis."""
        slots, count = self._slots, self.num_candidates
        offer = self._offer(output, lengths, count)
        worth = slots.worth[:, :, np.newaxis] + offer.worth
        jobs = self._table
        lengths = lengths + 1
        divisor = length_penalty(lengths, jobs["length_penalty"])
        ranking = worth / divisor[:, np.newaxis, np.newaxis]
        completes = offer.token_ids == self._around.ids.eos
        at_limit = lengths >= jobs["max_length"]
        if at_limit.any():
            completes |= at_limit[:, np.newaxis, np.newaxis]
        if self._demands.coverage:
            ranking += np.where(completes, self._coverage()[:, :, np.newaxis], 0.0)
        ranking[:, :, 0] = np.where(slots.live, ranking[:, :, 0], slots.scores)
        return Continuations(offer, worth, ranking, completes)

    def _offer(self, output: StepOutput, lengths: IndexArray, count: int) -> Offer:
        """What may follow each slot, (sentences, beam_size, candidates); slots that are not live have no offers."""
        slots, around = self._slots, self._around
        live = slots.live
        sentences = np.nonzero(live)[0]
        rows = slots.rows[live]
        log_probs = output.candidate_log_probs[rows, :count]
        plain = Offer(output.candidate_ids[rows, :count], log_probs, log_probs)
        tokens = slots.trails["token"][live] if self._demands.need_tokens else plain.token_ids
        view = RowView(self._table[sentences], lengths[sentences], tokens)
        offer = apply_rules(plain, view, self._demands, around.banned, around.ids.eos)
        if self._demands.prefix:
            offer = force_prefix(offer, view, around.rows.forced_ids[rows], output.forced_log_probs[rows])
        shape = (*live.shape, offer.token_ids.shape[1])
        if len(rows) == live.size:
            return Offer(offer.token_ids.reshape(shape), offer.log_probs.reshape(shape), offer.worth.reshape(shape))
        return Offer(_spread(offer.token_ids, live), _spread(offer.log_probs, live), _spread(offer.worth, live))

    def _coverage(self) -> ScoreArray:
        """(sentences, beam_size) the coverage penalty of each live hypothesis, if it is complete with this step."""
        penalties = np.zeros(self._slots.live.shape)
        weights = np.broadcast_to(self._table["coverage_penalty"][:, np.newaxis], penalties.shape)
        live = self._slots.live
        sums = self._around.rows.coverage_rows(self._slots.rows[live])
        penalties[live] = coverage_penalty(sums, weights[live])
        return penalties

    def _choose(self, continuations: Continuations, lengths: IndexArray) -> BoolArray:
        """Fills the slots with the best continuations, ties to the lower slot, then to the earlier candidate.

        Returns:
            (sentences,) whether there was any.
        """
        old, lines = self._slots, self._lines
        sentences, beam_size, width = continuations.ranking.shape
        flat = continuations.ranking.reshape(sentences, beam_size * width)
        best = (-flat).argsort(axis=1, kind="stable")[:, :beam_size]
        picked = best + lines * flat.shape[1]
        ranking = flat.take(picked)
        sources = best // width
        taken = ranking > -np.inf  # False for NaN too
        grows = taken & old.live[lines, sources]
        completes = grows & continuations.completes.take(picked)
        parents = old.rows[lines, sources]
        worth = continuations.worth.take(picked)
        new = Slots(
            live=grows & ~completes,
            rows=old.rows,
            worth=worth,
            scores=np.where(taken & ~(grows & ~completes), ranking, -np.inf),
            lengths=old.lengths[lines, sources] + grows,
            trails=self._extend(continuations.offer, picked, sources, parents, lengths),
        )
        new.worth[~new.live] = -np.inf
        self._assign_rows(old, new, parents, continuations.offer.token_ids.take(picked))
        self._slots = new
        return np.asarray(taken.any(axis=1))

    def _extend(
        self, offer: Offer, picked: IndexArray, sources: IndexArray, rows: IndexArray, lengths: IndexArray
    ) -> TrailArray:
        """The trails of the slots' new hypotheses; what is written behind a complete one is never read."""
        self._longest += 1
        old = widen(self._slots.trails, self._longest)
        trails = np.empty_like(old)
        trails[:, :, : self._longest] = old[self._lines, sources, : self._longest]
        place = (self._lines, np.arange(self._beam_size), lengths[:, np.newaxis])
        trails["token"][place] = offer.token_ids.take(picked)
        trails["row"][place] = rows
        trails["log_prob"][place] = offer.log_probs.take(picked)
        return trails

    def _assign_rows(self, old: Slots, new: Slots, parents: IndexArray, token_ids: npt.NDArray[np.int32]) -> None:
        """Gives every live slot a decoder row: those that the sentence has, then new ones; frees what is left."""
        store = self._around.rows
        if old.live.all() and new.live.all():
            store.follow(new.rows, parents)
        else:
            places = _left(new.live)  # (sentences, beam_size), the how-manieth live slot
            owned = old.live.sum(axis=1, keepdims=True)
            rows = np.take_along_axis(old.rows, np.argsort(~old.live, axis=1, kind="stable"), axis=1)
            new.rows = np.take_along_axis(rows, np.where(new.live, places, 0), axis=1)
            keeps = new.live & (places < owned)
            store.follow(new.rows[keeps], parents[keeps])
            more = new.live & ~keeps
            if more.any():
                new.rows[more] = store.fork(parents[more])
            needed = new.live.sum(axis=1, keepdims=True)
            ranks = np.arange(self._beam_size)
            store.free(rows[(ranks >= needed) & (ranks < owned)])
        store.input_ids[new.rows[new.live]] = token_ids[new.live]

    def _hypotheses(self, index: int) -> Hypotheses:
        """The best hypotheses of the sentence at `index`, ties to the lower slot."""
        slots, job = self._slots, self._table[index]
        scores = slots.scores[index]
        order = np.argsort(-scores, kind="stable")[: int(job["num_hypotheses"])].tolist()
        return tuple(
            self._around.hypothesis(job, slots.trails[index, slot, : slots.lengths[index, slot]], float(scores[slot]))
            for slot in order
            if scores[slot] > -np.inf
        )

    def _retain(self, keep: BoolArray) -> None:
        """Keeps the sentences where `keep` is True; their rows must have been freed."""
        for ban in self._table["ban"][~keep].tolist():
            self._around.banned.release(ban)
        self._jobs = [job for job, stays in zip(self._jobs, keep.tolist(), strict=True) if stays]
        self._table = self._table[keep]
        self._slots = self._slots.select(keep)
        self._survey()

    def _survey(self) -> None:
        """Notes what the present sentences need."""
        self._demands = Demands.of(self._table, self._around.banned)
        self._lines = np.arange(len(self._jobs))[:, np.newaxis]
        self._longest = int(self._around.log.now - self._table["start"].min()) if self._jobs else 0

    def _announce_prefixes(self) -> None:
        """Says whose log-probability the next step must give: the next token of each target prefix."""
        if not self._demands.prefix:
            return
        lengths = self._around.log.now - self._table["start"]
        for index in np.flatnonzero(lengths < self._table["prefix_length"]).tolist():
            rows = self._slots.rows[index][self._slots.live[index]]
            self._around.rows.forced_ids[rows] = self._jobs[index].prefix_ids[lengths[index]]


def _spread(values: npt.NDArray[_Value], live: BoolArray) -> npt.NDArray[_Value]:
    """Puts the values (rows, candidates) of live slots in their places; the others have zeros."""
    spread = np.zeros((*live.shape, values.shape[1]), dtype=values.dtype)
    spread[live] = values
    return spread


def _left(live: BoolArray) -> IndexArray:
    """(sentences, beam_size), how many live slots stand before each."""
    return np.asarray(np.cumsum(live, axis=1) - live)
