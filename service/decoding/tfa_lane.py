"""The lane of sentences that are searched as TensorFlow Addons does; see `service.decoding.tfa`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from service.decoding.backend import DecoderRows, StepOutput
from service.decoding.greedy import NO_PROBABILITY
from service.decoding.jobs import JOB, JobTable, join_tables
from service.decoding.lane import Arrivals, Hypotheses, Outcome, Surroundings
from service.decoding.rows import IndexArray
from service.decoding.tfa import LOWEST, TfaBeams, TfaOptions, TfaStep, attention_slots, gather_tree
from service.decoding.trails import TRAIL, TrailArray
from service.domain import BoolArray, FloatArray, SettledTokens
from service.errors import DecodingError


@dataclass(slots=True)
class _Story:
    """What the steps of one sentence selected; each entry is (beam_size,)."""

    token_ids: list[Any] = field(default_factory=list)
    parents: list[Any] = field(default_factory=list)
    log_probs: list[Any] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)


class TfaLane:
    """All sentences of one beam size. Every slot has a row from the first step to the last, as in the original.

    Args:
        surroundings: what it shares with other lanes.
        beam_size: slots per sentence.
        vocabulary_size: number of token ids.
    """

    num_alternatives = 0  # no option of the original
    needs_coverage = False  # the lane sums attention up itself, as the original does

    def __init__(self, surroundings: Surroundings, beam_size: int, vocabulary_size: int) -> None:
        self._around = surroundings
        self._beam_size = beam_size
        self._vocabulary_size = vocabulary_size
        # One entry per sentence:
        self._stories: list[_Story] = []
        self._table: JobTable = np.zeros(0, dtype=JOB)
        self._rows: IndexArray = np.zeros((0, beam_size), dtype=np.int64)
        self._beams = TfaBeams.start(np.zeros((0, 0), dtype=np.float32), beam_size)

    @property
    def num_candidates(self) -> int:
        """See `Lane`. A slot may lose its best candidate, the end, to the length penalty."""
        return self._beam_size + 1 if self._stories else 0

    @property
    def first_step(self) -> int | None:
        """See `Lane`."""
        return int(self._table["start"].min()) if self._stories else None

    def admit(self, arrivals: Arrivals) -> None:
        """See `Lane`."""
        count = len(arrivals.jobs)
        tiled = arrivals.select(np.repeat(np.arange(count), self._beam_size).tolist())
        first = _initial_alignments(arrivals.encoded)
        rows = self._around.rows.add(tiled.encoded, tiled.source_lengths, self._around.ids.bos)
        self._rows = np.concatenate([self._rows, rows.reshape(count, self._beam_size)])
        self._table = join_tables(self._table, self._around.tabulate(arrivals))
        self._stories += [_Story() for _ in arrivals.jobs]
        width = self._around.rows.width
        new = TfaBeams.start(_fit(first, width), self._beam_size)
        self._beams = _join(_of_width(self._beams, width), new)

    def advance(self, output: StepOutput) -> dict[int, Outcome]:
        """See `Lane`."""
        if not self._stories:
            return {}
        rows = self._rows
        weights = output.attention_weights[rows]  # (sentences, beam_size, mechanisms, source_len)
        beams = _of_width(self._beams, weights.shape[3])
        count = self.num_candidates
        ids, log_probs = output.candidate_ids[rows, :count], output.candidate_log_probs[rows, :count]
        self._beams, step = beams.advance(ids, log_probs, weights.sum(axis=2), self._options(weights.shape[2]))
        self._record(step)
        store = self._around.rows
        store.follow(rows, rows[np.arange(len(rows))[:, np.newaxis], step.parents])
        store.input_ids[rows] = step.token_ids
        at_limit = self._around.log.now - self._table["start"] >= self._table["max_length"]
        impossible = ~(self._beams.log_probs > LOWEST).any(axis=1)  # NaN too
        return self._retire(self._beams.finished.all(axis=1) | at_limit | impossible, step)

    def settled(self, sentence: int, first: int) -> SettledTokens | None:
        """See `Lane`. Nothing is settled before the end, which decides from which step tokens are read back."""
        return None

    def move(self, places: IndexArray) -> None:
        """See `Lane`."""
        self._rows = places[self._rows]

    def drop(self, sentences: Sequence[int]) -> None:
        """See `Lane`."""
        self._retain(~np.isin(self._table["sentence"], sentences))

    def _options(self, mechanisms: int) -> TfaOptions:
        table = self._table
        return TfaOptions(
            self._around.ids.eos, self._vocabulary_size, mechanisms, table["length_penalty"], table["coverage_penalty"]
        )

    def _record(self, step: TfaStep) -> None:
        """Adds the step to every sentence's story."""
        for index, story in enumerate(self._stories):
            story.token_ids.append(step.token_ids[index])
            story.parents.append(step.parents[index])
            story.log_probs.append(step.log_probs[index])
            story.rows.append(self._rows[index])

    def _retire(self, done: BoolArray, step: TfaStep) -> dict[int, Outcome]:
        """Takes the results of sentences that are done, and forgets these sentences."""
        if not done.any():
            return {}
        indices = np.flatnonzero(done).tolist()
        outcomes: dict[int, Outcome] = {
            int(self._table["sentence"][index]): self._hypotheses(index, step.scores[index].tolist())
            or DecodingError(NO_PROBABILITY)
            for index in indices
        }
        self._retain(~done)
        return outcomes

    def _hypotheses(self, index: int, scores: list[float]) -> Hypotheses:
        """The sentence's hypotheses in the order of their slots, which is that of their last scores.

        Slots that hold none, for want of tokens of finite probability, are left out.
        """
        story, job, end_id = self._stories[index], self._table[index], self._around.ids.eos
        parents = np.array(story.parents)
        lengths = self._beams.lengths[index]
        length = min(int(lengths.max()), len(parents))
        values: TrailArray = np.zeros((len(parents), self._beam_size), dtype=TRAIL)
        values["token"], values["log_prob"] = story.token_ids, story.log_probs
        trails = gather_tree(values, parents, length)
        slots = attention_slots(parents, lengths, length)[:length]
        trails["row"] = np.take_along_axis(np.array(story.rows)[:length], slots, axis=1)
        hypotheses = []
        held = np.flatnonzero(self._beams.log_probs[index] > LOWEST).tolist()
        for slot in held[: int(job["num_hypotheses"])]:
            trail: TrailArray = trails[:, slot]
            ends = np.flatnonzero(trail["token"] == end_id)
            trail = trail[: ends[0] + 1] if len(ends) else trail
            hypothesis = self._around.hypothesis(job, trail, scores[slot])
            hypotheses.append(replace(hypothesis, log_prob=float(self._beams.log_probs[index, slot])))
        return tuple(hypotheses)

    def _retain(self, keep: BoolArray) -> None:
        """Keeps the sentences where `keep` is True."""
        for ban in self._table["ban"][~keep].tolist():
            self._around.banned.release(ban)
        self._around.rows.free(self._rows[~keep].ravel())
        self._stories = [story for story, stays in zip(self._stories, keep.tolist(), strict=True) if stays]
        self._table, self._rows, beams = self._table[keep], self._rows[keep], self._beams
        self._beams = TfaBeams(
            beams.log_probs[keep], beams.finished[keep], beams.lengths[keep], beams.attention_sums[keep]
        )


def _initial_alignments(encoded: DecoderRows) -> FloatArray:
    """(sentences, source_len) the sum of the alignments that the state begins with: those of monotonic mechanisms.

    They are told from other parts of the state by what they are, all attention on the first token.
    """
    first = np.zeros(encoded.source_mask.shape, dtype=np.float32)
    first[:, 0] = 1
    return first * np.float32(sum(np.array_equal(array, first) for array in encoded.state))


def _fit(array: FloatArray, width: int) -> FloatArray:
    """The array with a last dimension of `width`, cut or filled up with zeros."""
    fitted = np.zeros((*array.shape[:-1], width), dtype=array.dtype)
    common = min(width, array.shape[-1])
    fitted[..., :common] = array[..., :common]
    return fitted


def _of_width(beams: TfaBeams, width: int) -> TfaBeams:
    """The beams with room for `width` source tokens."""
    if beams.attention_sums.shape[2] == width:
        return beams
    return replace(beams, attention_sums=_fit(beams.attention_sums, width))


def _join(one: TfaBeams, other: TfaBeams) -> TfaBeams:
    """The beams of the sentences of both, one after the other."""
    return TfaBeams(
        np.concatenate([one.log_probs, other.log_probs]),
        np.concatenate([one.finished, other.finished]),
        np.concatenate([one.lengths, other.lengths]),
        np.concatenate([one.attention_sums, other.attention_sums]),
    )
