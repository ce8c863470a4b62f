"""Beam search: each sentence has `beam_size` slots, for which its hypotheses compete at every step.

A slot is live (its hypothesis can grow), complete (its score is final) or empty. Complete hypotheses keep their score
and compete with the continuations of live ones; the best `beam_size` stay. A sentence is done when no slot is live.
The decoder has a row for every live slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.decoding.backend import StepOutput
from service.decoding.greedy import NO_PROBABILITY
from service.decoding.jobs import JOB, JobTable, join_tables
from service.decoding.lane import Arrivals, Hypotheses, Outcome, Surroundings
from service.decoding.rows import IndexArray
from service.decoding.rules import Demands, Offer, RowView, apply_rules, force_prefix
from service.decoding.scoring import ScoreArray, coverage_penalty, length_penalty
from service.decoding.slots import Slots
from service.decoding.trails import TRAIL, TrailArray, narrow, widen
from service.domain import BoolArray, DecodingJob, IntArray, SettledTokens
from service.errors import DecodingError

_Value = TypeVar("_Value", bound=np.generic)


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
        """See `Lane`. A slot may lose a candidate, the end, to the coverage penalty, which only it is charged."""
        wanted = self._beam_size + self._demands.coverage
        return self._demands.candidates(wanted, self._longest) if self._jobs else 0

    @property
    def num_alternatives(self) -> int:
        """See `Lane`."""
        return self._demands.alternatives

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
        self._table = join_tables(self._table, self._around.tabulate(arrivals))
        self._slots = self._slots.join(Slots.start(rows, self._beam_size))
        self._survey()
        self._announce_prefixes()

    def advance(self, output: StepOutput) -> dict[int, Outcome]:
        """See `Lane`."""
        if not self._jobs:
            return {}
        lengths = self._around.log.now - 1 - self._table["start"]
        continuations = self._continue(output, lengths)
        alive = self._choose(continuations)
        outcomes: dict[int, Outcome] = {}
        busy = self._slots.live.any(axis=1)
        if not busy.all():
            for index in np.flatnonzero(~busy).tolist():
                sentence = int(self._table["sentence"][index])
                outcomes[sentence] = self._hypotheses(index) if alive[index] else DecodingError(NO_PROBABILITY)
            self._retain(np.asarray(busy))
        self._announce_prefixes()
        return outcomes

    def settled(self, sentence: int, first: int) -> SettledTokens | None:
        """See `Lane`."""
        [index] = np.flatnonzero(self._table["sentence"] == sentence).tolist()
        slots = self._slots
        held = slots.live[index] | (slots.scores[index] > -np.inf)
        trails, shortest = slots.trails[index][held], int(slots.lengths[index][held].min())
        tokens = trails["token"][:, first:shortest]
        same = (tokens == tokens[0]).all(axis=0)
        shared = first + int(np.append(same, False).argmin())
        return self._around.settled_tokens(self._table[index], trails[0, :shared], first)

    def move(self, places: IndexArray) -> None:
        """See `Lane`."""
        self._slots.rows = places.take(self._slots.rows, mode="clip")  # rows of slots that are not live mean nothing

    def drop(self, sentences: Sequence[int]) -> None:
        """See `Lane`."""
        gone = np.isin(self._table["sentence"], sentences)
        if gone.any():
            self._around.rows.free(self._slots.rows[gone][self._slots.live[gone]])
            self._retain(~gone)

    def _continue(self, output: StepOutput, lengths: IndexArray) -> Continuations:
        """Values every continuation of every live hypothesis."""
        slots, jobs = self._slots, self._table
        offer = self._offer(output, lengths)
        worth = slots.worth[:, :, np.newaxis] + offer.worth
        lengths = lengths + 1
        divisor = length_penalty(lengths, jobs["length_penalty"])
        ranking = worth / divisor[:, np.newaxis, np.newaxis]
        completes = offer.token_ids == self._around.ids.eos
        at_limit = lengths >= jobs["max_length"]
        if at_limit.any():
            completes |= at_limit[:, np.newaxis, np.newaxis]
        if self._demands.coverage:
            ranking += np.where(completes, self._coverage()[:, :, np.newaxis], 0.0)
        if not slots.live.all():
            ranking[:, :, 0] = np.where(slots.live, ranking[:, :, 0], slots.scores)
        return Continuations(offer, worth, ranking, completes)

    def _offer(self, output: StepOutput, lengths: IndexArray) -> Offer:
        """What may follow each slot, (sentences, beam_size, candidates); slots that are not live have no offers."""
        slots, around, demands, count = self._slots, self._around, self._demands, self.num_candidates
        live = slots.live
        rows = slots.rows[live]
        log_probs = output.candidate_log_probs[rows, :count]
        offer = Offer(output.candidate_ids[rows, :count], log_probs, log_probs)
        if demands.plain:
            offer = around.banned.usual(offer)
        else:
            sentences = np.nonzero(live)[0]
            tokens = slots.trails["token"][live] if demands.need_tokens else offer.token_ids
            view = RowView(self._table[sentences], lengths[sentences], tokens)
            offer = apply_rules(offer, view, demands, around.banned, around.ids.eos)
            if demands.prefix:
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

    def _choose(self, continuations: Continuations) -> BoolArray:
        """Fills the slots with the best continuations, ties to the lower slot, then to the earlier candidate.

        Returns:
            (sentences,) whether there was any.
        """
        old = self._slots
        sentences, beam_size, width = continuations.ranking.shape
        flat = continuations.ranking.reshape(sentences, beam_size * width)
        best = (-flat).argsort(axis=1, kind="stable")[:, :beam_size]
        picked = best + self._lines * (beam_size * width)  # indices into all candidates
        sources = picked // width  # indices into all slots
        ranking = flat.take(picked)
        taken = ranking > -np.inf  # False for NaN too
        grows = taken & old.live.take(sources)
        live = grows & ~continuations.completes.take(picked)
        rows = old.rows.take(sources)
        token_ids = continuations.offer.token_ids.take(picked)
        new = Slots(
            live=live,
            rows=old.rows,
            worth=np.where(live, continuations.worth.take(picked), -np.inf),
            scores=np.where(taken & ~live, ranking, -np.inf),
            lengths=old.lengths.take(sources) + grows,
            trails=self._extend(Offer(token_ids, continuations.offer.log_probs.take(picked), ranking), sources, rows),
        )
        self._assign_rows(new, rows, token_ids)
        self._slots = new
        return np.asarray(taken.any(axis=1))

    def _extend(self, chosen: Offer, sources: IndexArray, rows: IndexArray) -> TrailArray:
        """The trails of the slots' new hypotheses; what is written behind a complete one is never read."""
        self._longest += 1
        old = widen(self._slots.trails, self._longest)
        room = old.shape[2]
        trails = old.reshape(-1, room).take(sources.ravel(), axis=0)
        tokens = np.empty(sources.shape, dtype=TRAIL)
        tokens["token"], tokens["row"], tokens["log_prob"] = chosen.token_ids, rows, chosen.log_probs
        lengths = self._around.log.now - 1 - self._table["start"]
        places = np.arange(0, trails.size, room).reshape(sources.shape) + lengths[:, np.newaxis]
        trails.reshape(-1)[places] = tokens
        return trails.reshape(old.shape)

    def _assign_rows(self, new: Slots, parents: IndexArray, token_ids: IntArray) -> None:
        """Gives every live slot a decoder row: those that the sentence has, then new ones; frees what is left."""
        store, old = self._around.rows, self._slots
        if old.live.all() and new.live.all():
            store.follow(new.rows, parents)
            store.input_ids[new.rows] = token_ids
            return
        owned = old.live.sum(axis=1)[:, np.newaxis]
        rows = old.rows[self._lines, (~old.live).argsort(axis=1, kind="stable")]  # those in use first
        places = new.live.cumsum(axis=1) - 1  # the how-manieth live slot
        new.rows = rows[self._lines, np.maximum(places, 0)]
        keeps = new.live & (places < owned)
        store.follow(new.rows[keeps], parents[keeps])
        more = new.live & ~keeps
        if more.any():
            new.rows[more] = store.fork(parents[more])
        ranks = np.arange(self._beam_size)
        store.free(rows[(ranks > places[:, -1:]) & (ranks < owned)])
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
        self._table = self._table.compress(keep)
        self._slots = self._slots.select(keep)
        self._survey()

    def _survey(self) -> None:
        """Notes what the present sentences need."""
        self._demands = Demands.of(self._table, self._around.banned)
        self._lines = np.arange(len(self._jobs))[:, np.newaxis]
        self._longest = int(self._around.log.now - self._table["start"].min()) if self._jobs else 0
        self._slots.trails = narrow(self._slots.trails, self._longest)

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
