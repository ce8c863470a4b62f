"""Greedy and beam search over a batch of sentences, one step at a time.

The default semantics: a sentence has `beam_size` slots. Complete hypotheses keep their final score and compete with
the continuations of live ones; the best `beam_size` stay. A sentence is done when no slot is live, be it that all
hypotheses ended or that they reached the length limit. Rows of done or dropped sentences leave the batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.decoding.backend import Seq2SeqBackend, StepOutput
from service.decoding.beam import Beam, Growth, advance, choose, grow
from service.decoding.candidates import MOST_BANNED, Candidates, RowView, find_candidates, forced_ids
from service.decoding.history import History, IndexArray, Selection
from service.decoding.jobs import JobArrays, check_job, pad
from service.domain import BoolArray, DecodingJob, Hypothesis, IntArray, SpecialIds
from service.errors import DecodingError


class SearchBatch:
    """The search for several sentences of one beam size; belongs to one thread.

    Args:
        backend: the model.
        jobs: at least one; all of the same beam size.
        ids: the special token ids.

    Raises:
        InvalidRequestError: a job that cannot be decoded (see `check_job`).
        ValueError: no jobs, or beam sizes that differ.
    """

    def __init__(self, backend: Seq2SeqBackend, jobs: Sequence[DecodingJob], ids: SpecialIds) -> None:
        beam_sizes = {job.options.beam_size for job in jobs}
        if len(beam_sizes) != 1:
            raise ValueError(f"jobs of one beam size wanted, got beam sizes {sorted(beam_sizes)}")
        for job in jobs:
            check_job(job, backend.vocabulary_size)
        beam_size = beam_sizes.pop()
        self._backend = backend
        self._ids = ids
        self._num_candidates = min(backend.vocabulary_size, beam_size + MOST_BANNED)
        self._num_hypotheses = [job.options.num_hypotheses for job in jobs]
        self._source_lengths = np.array([len(job.source_ids) for job in jobs], dtype=np.int32)
        self._results: dict[int, tuple[Hypothesis, ...]] = {}
        self._history = History()
        # One entry per sentence still searched:
        self._jobs = JobArrays.from_jobs(jobs, ids)
        self._beam = Beam.start(len(jobs), beam_size)
        self._lengths = np.zeros(len(jobs), dtype=np.int64)
        # One entry per live hypothesis:
        self._rows = backend.encode(pad([job.source_ids for job in jobs], ids.pad), self._source_lengths)
        self._input_ids = np.full(len(jobs), ids.bos, dtype=np.int32)
        self._attention_sums = np.where(self._rows.source_mask, np.float32(0), np.float32(1))

    @property
    def finished(self) -> bool:
        """Whether no sentence is left to search."""
        return len(self._lengths) == 0

    @property
    def live_rows(self) -> int:
        """How many rows the next step advances."""
        return len(self._input_ids)

    def step(self) -> tuple[int, ...]:
        """Advances every live hypothesis by one token.

        Returns:
            The sentences (indices into the jobs) that are done with this step; their `result` is ready.

        Raises:
            DecodingError: the model gives a sentence no continuation of finite probability.
        """
        if self.finished:
            return ()
        view = RowView(
            sentences=self._beam.row_sentences,
            log_probs=self._beam.log_probs[self._beam.live],
            lengths=self._lengths[self._beam.row_sentences],
            attention_sums=self._attention_sums,
        )
        forced = forced_ids(view, self._jobs, self._ids)
        output = self._backend.decode_step(self._input_ids, self._rows, forced, self._num_candidates)
        candidates = find_candidates(output, view, self._jobs, self._ids)
        choice = choose(self._beam, candidates)
        if not (choice.grows | choice.stays).any(axis=1).all():
            raise DecodingError("the model gave no token a finite probability")
        growth = grow(self._beam, choice, candidates)
        self._record(growth, output)
        self._beam = advance(self._beam, choice, growth, step=len(self._history) - 1)
        self._lengths = self._lengths + 1
        self._move_rows(view.sentences, growth, candidates, output)
        return self._retire()

    def drop(self, sentence: int) -> None:
        """Forgets a sentence, which then has no result; nothing happens if it is done already."""
        self._retain(np.asarray(self._jobs.sentences != sentence))

    def result(self, sentence: int) -> tuple[Hypothesis, ...]:
        """The hypotheses of a done sentence, best first, at least one and at most `num_hypotheses`.

        Raises:
            KeyError: the sentence is not done, or was dropped.
        """
        return self._results[sentence]

    def _record(self, growth: Growth, output: StepOutput) -> None:
        """Adds the taken tokens to the history."""
        selection = Selection(
            parents=self._beam.tokens[self._beam.live][growth.rows],
            rows=growth.rows,
            token_ids=growth.token_ids,
            log_probs=growth.log_probs,
            attention_weights=output.attention_weights,
        )
        self._history.append(selection)

    def _move_rows(self, row_sentences: IndexArray, growth: Growth, candidates: Candidates, output: StepOutput) -> None:
        """Lays out the rows for the next step: one per hypothesis that is live now, with its parent's new state."""
        parents = growth.rows[~growth.complete]
        self._input_ids = growth.token_ids[~growth.complete].astype(np.int32)
        self._attention_sums = candidates.attention_sums[parents]
        rows = replace(self._rows, state=output.state)
        if np.array_equal(parents, np.arange(len(row_sentences))):
            self._rows = rows
        elif np.array_equal(row_sentences[parents], row_sentences):
            # The memory is a sentence's, not a hypothesis': while the sentences' rows stay in place, so does it.
            state = tuple(np.take(array, parents, axis=0) for array in output.state)
            self._rows = replace(rows, state=state)
        else:
            self._rows = rows.select(parents.astype(np.int32))

    def _retire(self) -> tuple[int, ...]:
        """Takes the results of sentences without live hypotheses and forgets these sentences."""
        busy: BoolArray = np.asarray(self._beam.live.any(axis=1))
        retired = tuple(int(sentence) for sentence in self._jobs.sentences[~busy])
        for index, sentence in zip(np.flatnonzero(~busy), retired, strict=True):
            self._results[sentence] = self._hypotheses(int(index), sentence)
        if retired:
            self._retain(busy)
        return retired

    def _retain(self, keep: BoolArray) -> None:
        """Keeps the sentences where `keep` is True, and their rows."""
        kept_rows: IntArray = np.flatnonzero(keep[self._beam.row_sentences]).astype(np.int32)
        if len(kept_rows) < self.live_rows:
            self._rows = self._rows.select(kept_rows)
            self._input_ids = self._input_ids[kept_rows]
            self._attention_sums = self._attention_sums[kept_rows]
        self._beam = self._beam.select(keep)
        self._jobs = self._jobs.select(keep)
        self._lengths = self._lengths[keep]

    def _hypotheses(self, index: int, sentence: int) -> tuple[Hypothesis, ...]:
        """The best hypotheses of the sentence at `index` of the beam, ties to the lower slot."""
        scores = self._beam.scores[index]
        order = np.argsort(-scores, kind="stable")[: self._num_hypotheses[sentence]]
        return tuple(self._hypothesis(index, int(slot), sentence) for slot in order if scores[slot] > -np.inf)

    def _hypothesis(self, index: int, slot: int, sentence: int) -> Hypothesis:
        """Reads the hypothesis of one slot back from the history."""
        path = self._history.path(int(self._beam.steps[index, slot]), int(self._beam.tokens[index, slot]))
        by_mechanism = path.attention.transpose(1, 0, 2)[:, :, : self._source_lengths[sentence]]
        attention, *others = np.ascontiguousarray(by_mechanism)  # each (target_len, source_len)
        return Hypothesis(
            target_ids=path.token_ids,
            token_log_probs=path.log_probs.astype(np.float32),
            log_prob=float(self._beam.log_probs[index, slot]),
            score=float(self._beam.scores[index, slot]),
            attention=attention,
            finished=path.token_ids[-1] == self._ids.eos,
            other_attentions=tuple(others),
        )


def decode(backend: Seq2SeqBackend, jobs: Sequence[DecodingJob], ids: SpecialIds) -> list[tuple[Hypothesis, ...]]:
    """Decodes jobs of one beam size to the end; the results stand in the order of the jobs."""
    if not jobs:
        return []
    batch = SearchBatch(backend, jobs, ids)
    while not batch.finished:
        batch.step()
    return [batch.result(sentence) for sentence in range(len(jobs))]
