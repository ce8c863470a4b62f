"""Greedy search and sampling: hypotheses that grow by themselves, one decoder row each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from service.decoding.backend import StepOutput
from service.decoding.jobs import JOB, JobTable, join_tables, length_limit
from service.decoding.lane import Arrivals, Hypotheses, Outcome, Surroundings
from service.decoding.rows import IndexArray
from service.decoding.rules import Demands, Offer, RowView, apply_rules, force_prefix
from service.decoding.scoring import ScoreArray, coverage_penalty, length_penalty, sample
from service.decoding.trails import TRAIL, TrailArray, empty_trails, join_trails, narrow, widen
from service.domain import BoolArray, DecodingJob, Hypothesis, IntArray, SettledTokens
from service.errors import DecodingError

NO_PROBABILITY: Final = "The model gave no token a finite probability."

UniformArray = npt.NDArray[np.float64]


class _Strand:
    """A hypothesis on its way: its sentence and job, and the random numbers that decide its tokens, if it is drawn."""

    __slots__ = ("job", "sentence", "uniforms")

    def __init__(self, sentence: int, job: DecodingJob, uniforms: UniformArray | None) -> None:
        self.sentence = sentence
        self.job = job
        self.uniforms = uniforms


class GreedyLane:
    """Every strand takes the best token that may follow, or draws one; strands know nothing of each other.

    Args:
        surroundings: what it shares with other lanes.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._strands: list[_Strand] = []
        self._samples: dict[int, list[Hypothesis]] = {}  # of sentences with several strands, those that are done
        # One entry per strand:
        self._table: JobTable = np.zeros(0, dtype=JOB)
        self._rows: IndexArray = np.zeros(0, dtype=np.int64)
        self._worth: ScoreArray = np.zeros(0)
        self._trails: TrailArray = empty_trails((0,))
        self._demands = Demands()
        self._lines = np.arange(0)
        self._longest = 0

    @property
    def num_candidates(self) -> int:
        """See `Lane`."""
        return self._demands.candidates(1, self._longest) if self._strands else 0

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
        return int(self._table["start"].min()) if self._strands else None

    def admit(self, arrivals: Arrivals) -> None:
        """See `Lane`. A sentence has a row for each of its samples."""
        counts = [job.options.rows for job in arrivals.jobs]
        strands = arrivals.select(np.repeat(np.arange(len(counts)), counts).tolist())
        uniforms = [draw for job in arrivals.jobs for draw in _uniforms(job)]
        rows = self._around.rows.add(strands.encoded, strands.source_lengths, self._around.ids.bos)
        self._samples |= {number: [] for number, count in zip(arrivals.numbers, counts, strict=True) if count > 1}
        self._strands += map(_Strand, strands.numbers, strands.jobs, uniforms)
        self._table = join_tables(self._table, self._around.tabulate(strands))
        self._rows = np.concatenate([self._rows, rows])
        self._worth = np.concatenate([self._worth, np.zeros(len(rows))])
        self._trails = join_trails(self._trails, np.zeros((len(rows), 1), dtype=TRAIL))
        self._survey()
        self._announce_prefixes()

    def advance(self, output: StepOutput) -> dict[int, Outcome]:
        """See `Lane`."""
        if not self._strands:
            return {}
        lengths = self._around.log.now - 1 - self._table["start"]
        offer = self._offer(output, lengths)
        columns = self._choose(offer, lengths)
        picked = (self._lines, columns)
        token_ids, worth = offer.token_ids[picked], offer.worth[picked]
        self._worth += worth
        self._record(token_ids, offer.log_probs[picked], lengths)
        self._around.rows.input_ids[self._rows] = token_ids
        lengths += 1
        possible = np.isfinite(worth)
        done = (token_ids == self._around.ids.eos) | (lengths >= self._table["max_length"])
        if not done.any() and possible.all():
            self._announce_prefixes()
            return {}
        done &= possible
        outcomes = self._retire(done, lengths)
        if not possible.all():
            outcomes |= self._fail(~possible[~done])
        self._announce_prefixes()
        return outcomes

    def settled(self, sentence: int, first: int) -> SettledTokens | None:
        """See `Lane`. Of several samples, which is the best is not known before the end."""
        strands = np.flatnonzero(self._table["sentence"] == sentence)
        if len(strands) != 1 or sentence in self._samples:
            return None
        [strand] = strands.tolist()
        length = self._around.log.now - int(self._table["start"][strand])
        return self._around.settled_tokens(self._table[strand], self._trails[strand, :length], first)

    def move(self, places: IndexArray) -> None:
        """See `Lane`."""
        self._rows = places[self._rows]

    def drop(self, sentences: Sequence[int]) -> None:
        """See `Lane`."""
        gone = np.isin(self._table["sentence"], sentences)
        if gone.any():
            for sentence in sentences:
                self._samples.pop(sentence, None)
            self._retain(~gone)

    def _offer(self, output: StepOutput, lengths: IndexArray) -> Offer:
        """What may follow each strand."""
        demands, around = self._demands, self._around
        count = self.num_candidates
        log_probs = output.candidate_log_probs[self._rows, :count]
        plain = Offer(output.candidate_ids[self._rows, :count], log_probs, log_probs)
        if demands.plain:
            return around.banned.usual(plain)
        view = RowView(self._table, lengths, self._trails["token"])
        offer = apply_rules(plain, view, demands, around.banned, around.ids.eos)
        if not demands.prefix:
            return offer
        next_ids = around.rows.forced_ids[self._rows]
        return force_prefix(offer, view, next_ids, output.forced_log_probs[self._rows])

    def _choose(self, offer: Offer, lengths: IndexArray) -> IndexArray:
        """The column that each strand takes: the best, ties to the lower id, or one that is drawn."""
        columns: IndexArray = offer.worth.argmax(axis=1)
        if self._demands.sampling:
            drawn = np.flatnonzero(self._table["sampling_top_k"])
            numbers = zip(drawn.tolist(), lengths[drawn].tolist(), strict=True)
            uniform = np.array([_draw(self._strands[strand], length) for strand, length in numbers])
            jobs = self._table[drawn]
            worth = np.asarray(offer.worth[drawn], dtype=np.float64)
            columns[drawn] = sample(worth, jobs["sampling_top_k"], jobs["sampling_temperature"], uniform)
        return columns

    def _record(self, token_ids: IntArray, log_probs: npt.NDArray[np.float32], lengths: IndexArray) -> None:
        """Adds the tokens to the trails."""
        self._longest += 1
        self._trails = widen(self._trails, self._longest)
        place = (self._lines, lengths)
        self._trails["token"][place] = token_ids
        self._trails["row"][place] = self._rows
        self._trails["log_prob"][place] = log_probs

    def _retire(self, done: BoolArray, lengths: IndexArray) -> dict[int, Outcome]:
        """Takes the hypotheses of strands that are done, and forgets these strands."""
        finished = np.flatnonzero(done)
        if len(finished) == 0:
            return {}
        outcomes: dict[int, Outcome] = {}
        scores = self._scores(finished, lengths[finished]).tolist()
        for strand, score in zip(finished.tolist(), scores, strict=True):
            job = self._table[strand]
            hypothesis = self._around.hypothesis(job, self._trails[strand, : lengths[strand]], score)
            done_sentence = self._deliver(self._strands[strand].sentence, hypothesis, int(job["num_hypotheses"]))
            if done_sentence:
                outcomes[self._strands[strand].sentence] = done_sentence
        self._retain(~done)
        return outcomes

    def _deliver(self, sentence: int, hypothesis: Hypothesis, wanted: int) -> Hypotheses:
        """The sentence's hypotheses, best first, ties to the one that was done first; none while some are missing."""
        samples = self._samples.get(sentence)
        if samples is None:
            return (hypothesis,)
        samples.append(hypothesis)
        if len(samples) < wanted:
            return ()
        return tuple(sorted(self._samples.pop(sentence), key=lambda each: -each.score))

    def _fail(self, impossible: BoolArray) -> dict[int, Outcome]:
        """Gives up sentences that the model gives nothing for; `impossible` is (strands,)."""
        sentences = {self._strands[strand].sentence for strand in np.flatnonzero(impossible)}
        self.drop(list(sentences))
        return {sentence: DecodingError(NO_PROBABILITY) for sentence in sentences}

    def _scores(self, strands: IndexArray, lengths: IndexArray) -> ScoreArray:
        """The final scores of hypotheses that are complete."""
        jobs = self._table[strands]
        scores = self._worth[strands] / length_penalty(lengths, jobs["length_penalty"])
        if jobs["coverage_penalty"].any():
            scores += coverage_penalty(self._around.rows.coverage_rows(self._rows[strands]), jobs["coverage_penalty"])
        return scores

    def _retain(self, keep: BoolArray) -> None:
        """Keeps the strands where `keep` is True."""
        for ban in self._table["ban"][~keep].tolist():
            self._around.banned.release(ban)
        self._around.rows.free(self._rows[~keep])
        self._strands = [strand for strand, stays in zip(self._strands, keep.tolist(), strict=True) if stays]
        self._table, self._trails = self._table.compress(keep), self._trails.compress(keep, axis=0)
        self._rows, self._worth = self._rows[keep], self._worth[keep]
        self._survey()

    def _survey(self) -> None:
        """Notes what the present strands need."""
        self._demands = Demands.of(self._table, self._around.banned)
        self._lines = np.arange(len(self._strands))
        self._longest = int(self._around.log.now - self._table["start"].min()) if self._strands else 0
        self._trails = narrow(self._trails, self._longest)

    def _announce_prefixes(self) -> None:
        """Says whose log-probability the next step must give: the next token of each target prefix."""
        if not self._demands.prefix:
            return
        lengths = self._around.log.now - self._table["start"]
        for strand in np.flatnonzero(lengths < self._table["prefix_length"]).tolist():
            token_id = self._strands[strand].job.prefix_ids[lengths[strand]]
            self._around.rows.forced_ids[self._rows[strand]] = token_id


def _uniforms(job: DecodingJob) -> Iterable[UniformArray | None]:
    """The random numbers of each of the job's samples, one per token.

    Seed, sentence and the sample's number alone decide them: each has a stream of its own, so that neither the number
    of samples nor the length limit changes another.
    """
    if not job.options.sampling_top_k:
        return [None]
    entropy, limit = [job.options.seed, *job.source_ids], length_limit(job)
    streams = (np.random.SeedSequence(entropy, spawn_key=(sample,)) for sample in range(job.options.num_hypotheses))
    return [np.random.Generator(np.random.Philox(stream)).random(limit) for stream in streams]


def _draw(strand: _Strand, length: int) -> float:
    return 0.0 if strand.uniforms is None else float(strand.uniforms[length])
