"""Search over a batch that sentences join and leave between steps.

The batch advances all hypotheses of all its sentences together, by one token a step. How a sentence is searched is the
matter of its lane: greedy search and sampling, beam search by beam size, and the search of TensorFlow Addons. What
comes out for a sentence does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from service.decoding.backend import Seq2SeqBackend
from service.decoding.beam import BeamLane
from service.decoding.greedy import GreedyLane
from service.decoding.jobs import check_job, pad
from service.decoding.lane import Arrivals, Hypotheses, Lane, Outcome, Surroundings
from service.decoding.rows import IndexArray
from service.decoding.rules import BannedTokens
from service.decoding.tfa_lane import TfaLane
from service.domain import DecodingJob, DecodingOptions, SearchMode, SettledTokens, SpecialIds
from service.errors import DecodingError

LaneKey: TypeAlias = tuple[SearchMode, int]


class SearchBatch:
    """The search for any number of sentences; belongs to one thread.

    Args:
        backend: the model.
        ids: the special token ids.
    """

    def __init__(self, backend: Seq2SeqBackend, ids: SpecialIds) -> None:
        self._backend = backend
        self._around = Surroundings(ids, BannedTokens(backend.vocabulary_size, ids))
        self._lanes: dict[LaneKey, Lane] = {}
        self._homes: dict[int, LaneKey] = {}  # of the sentences that are searched
        self._next_number = 0

    def __len__(self) -> int:
        """How many sentences are searched."""
        return len(self._homes)

    @property
    def live_rows(self) -> int:
        """How many rows the next step advances."""
        return len(self._around.rows)

    @property
    def width(self) -> int:
        """Source positions of each row, padding included."""
        return self._around.rows.width

    def admit(self, jobs: Sequence[DecodingJob]) -> list[int]:
        """Encodes sentences, all at once; they start with the next step. If anything fails, nothing has changed.

        Args:
            jobs: at least one; checked (see `check_job`).

        Returns:
            A number for each, by which `step`, `drop` and results call it.
        """
        lengths = np.array([len(job.source_ids) for job in jobs], dtype=np.int32)
        encoded = self._backend.encode(pad([job.source_ids for job in jobs], self._around.ids.pad), lengths)
        numbers = list(range(self._next_number, self._next_number + len(jobs)))
        arrivals = Arrivals(numbers, jobs, encoded, lengths)
        self._next_number += len(jobs)
        keys = [_lane_key(job.options) for job in jobs]
        try:
            for key in dict.fromkeys(keys):
                here = [index for index, each in enumerate(keys) if each == key]
                if key not in self._lanes:
                    self._lanes[key] = self._open_lane(key)
                self._lanes[key].admit(arrivals.select(here))
                self._homes.update((numbers[index], key) for index in here)
        except BaseException:  # what a backend returns may not fit what is here
            self.drop(numbers)
            raise
        return numbers

    def step(self) -> dict[int, Outcome]:
        """Advances every live hypothesis by one token.

        Returns:
            The sentences that are done with this step: their hypotheses, best first, at least one and at most as many
            as asked for; or an error, where the model gives a sentence no token of finite probability.
        """
        rows, log = self._around.rows, self._around.log
        if not self._homes:
            return {}
        count, lanes = len(rows), tuple(self._lanes.values())
        wanted = min(max(lane.num_candidates for lane in lanes), self._backend.vocabulary_size)
        output = self._backend.decode_step(rows.input_ids[:count], rows.decoder_rows, rows.forced_ids[:count], wanted)
        log.append(output, max(lane.num_alternatives for lane in lanes))
        if any(lane.needs_coverage for lane in lanes):
            rows.sum_attention(output.attention_weights)
        outcomes: dict[int, Outcome] = {}
        for lane in lanes:
            outcomes.update(lane.advance(output))
        self._move(rows.finish(output.state))
        if outcomes:
            for sentence in outcomes:
                del self._homes[sentence]
            self._forget()
        return outcomes

    def settled(self, sentence: int, first: int) -> SettledTokens | None:
        """The tokens of a sentence under way that are certain by now, from the one at index `first` on, if any."""
        key = self._homes.get(sentence)
        return None if key is None else self._lanes[key].settled(sentence, first)

    def drop(self, sentences: Sequence[int]) -> None:
        """Gives up sentences, whose rows are free at once; nothing happens to those that are done already."""
        keys = {self._homes.pop(sentence) for sentence in sentences if sentence in self._homes}
        if keys:
            for key in keys:
                self._lanes[key].drop(sentences)
            self._move(self._around.rows.finish(self._around.rows.state))
            self._forget()

    def _move(self, places: IndexArray | None) -> None:
        """Tells the lanes where their rows are now."""
        if places is not None:
            for lane in self._lanes.values():
                lane.move(places)

    def _forget(self) -> None:
        """Drops what no sentence needs any more."""
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.first_step is not None}
        steps = [lane.first_step for lane in self._lanes.values() if lane.first_step is not None]
        self._around.log.forget_before(min(steps, default=self._around.log.now))
        if not any(lane.needs_coverage for lane in self._lanes.values()):
            self._around.rows.attention_sums = None

    def _open_lane(self, key: LaneKey) -> Lane:
        mode, beam_size = key
        if mode == "tfa":
            return TfaLane(self._around, beam_size, self._backend.vocabulary_size)
        return GreedyLane(self._around) if beam_size == 1 else BeamLane(self._around, beam_size)


def _lane_key(options: DecodingOptions) -> LaneKey:
    return options.search_mode, options.beam_size


def decode(backend: Seq2SeqBackend, jobs: Sequence[DecodingJob], ids: SpecialIds) -> list[Hypotheses]:
    """Decodes jobs to the end, all in one batch; the results stand in the order of the jobs.

    Raises:
        InvalidRequestError: a job that cannot be decoded (see `check_job`).
        DecodingError: the model gives a sentence no token of finite probability.
    """
    if not jobs:
        return []
    for job in jobs:
        check_job(job, backend.vocabulary_size, ids)
    batch = SearchBatch(backend, ids)
    numbers = batch.admit(jobs)
    outcomes: dict[int, Outcome] = {}
    while len(batch):
        outcomes.update(batch.step())
    return [_hypotheses(outcomes[number]) for number in numbers]


def _hypotheses(outcome: Outcome) -> Hypotheses:
    if isinstance(outcome, DecodingError):
        raise outcome
    return outcome
