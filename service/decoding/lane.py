"""What the searches of a batch have in common: each kind of search is a lane; all share the decoder's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from service.decoding.backend import DecoderRows, StepOutput
from service.decoding.jobs import JOB, JobTable, tabulate
from service.decoding.rows import DecoderRowStore, IndexArray
from service.decoding.rules import BannedTokens
from service.decoding.trails import StepLog, TrailArray
from service.domain import Alternatives, DecodingJob, Hypothesis, IntArray, SettledTokens, SpecialIds
from service.errors import DecodingError

Hypotheses: TypeAlias = tuple[Hypothesis, ...]
Outcome: TypeAlias = Hypotheses | DecodingError


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Sentences that join a lane, freshly encoded.

    Attributes:
        numbers: what the batch calls each.
        jobs: theirs.
        encoded: one row each.
        source_lengths: (sentences,).
    """

    numbers: Sequence[int]
    jobs: Sequence[DecodingJob]
    encoded: DecoderRows
    source_lengths: IntArray

    def select(self, indices: Sequence[int]) -> Arrivals:
        """Some of them, repeats allowed."""
        if list(indices) == list(range(len(self.jobs))):
            return self
        rows = np.array(indices, dtype=np.int32)
        return Arrivals(
            [self.numbers[index] for index in indices],
            [self.jobs[index] for index in indices],
            self.encoded.select(rows),
            self.source_lengths[rows],
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the lanes of a batch share.

    Attributes:
        ids: the special token ids.
        rows: the decoder's rows.
        log: what the steps returned.
        banned: the sets of tokens that jobs never produce.
    """

    ids: SpecialIds
    banned: BannedTokens
    rows: DecoderRowStore = field(default_factory=DecoderRowStore)
    log: StepLog = field(default_factory=StepLog)

    def tabulate(self, arrivals: Arrivals) -> JobTable:
        """The jobs of sentences that start now as a table."""
        now, acquire = self.log.now, self.banned.acquire
        pairs = zip(arrivals.numbers, arrivals.jobs, strict=True)
        return np.array([tabulate(job, number, now, acquire(job)) for number, job in pairs], dtype=JOB)

    def hypothesis(self, job: JobTable, trail: TrailArray, score: float) -> Hypothesis:
        """Reads a hypothesis.

        Args:
            job: its sentence's row of the table.
            trail: (target_len,) its tokens.
            score: its final score.
        """
        start, rows = int(job["start"]), trail["row"]
        attention, *others = self.log.attention(start, rows, int(job["source_length"]))
        log_probs = trail["log_prob"]
        target_ids = tuple(trail["token"].tolist())
        return Hypothesis(
            target_ids=target_ids,
            token_log_probs=log_probs.astype(np.float32),
            log_prob=float(log_probs.sum()),
            score=score,
            attention=attention,
            finished=target_ids[-1] == self.ids.eos,
            other_attentions=tuple(others),
            alternatives=self._alternatives(job, start, rows),
        )

    def settled_tokens(self, job: JobTable, trail: TrailArray, first: int) -> SettledTokens | None:
        """Reads the tokens of a trail from the one at index `first` on; None if there are none (yet)."""
        new = trail[first:]
        if len(new) == 0:
            return None
        start, rows = int(job["start"]) + first, new["row"]
        return SettledTokens(
            first=first,
            target_ids=tuple(new["token"].tolist()),
            token_log_probs=new["log_prob"].astype(np.float32),
            attentions=tuple(self.log.attention(start, rows, int(job["source_length"]))),
            alternatives=self._alternatives(job, start, rows),
        )

    def _alternatives(self, job: JobTable, start: int, rows: IntArray) -> Alternatives | None:
        """What else was likely at consecutive tokens, if the job wants to know; arguments as of `StepLog`."""
        count = int(job["num_alternatives"])
        return Alternatives(*self.log.candidates(start, rows, count)) if count else None


class Lane(Protocol):
    """One kind of search, over those sentences of the batch that ask for it."""

    @property
    def num_candidates(self) -> int:
        """How many of the best tokens the next step must return; 0 if the lane is empty."""
        ...

    @property
    def num_alternatives(self) -> int:
        """How many of the step's candidates a sentence will want to name."""
        ...

    @property
    def needs_coverage(self) -> bool:
        """Whether a sentence wants its attention summed up."""
        ...

    @property
    def first_step(self) -> int | None:
        """The oldest step that the lane still needs from the log; None if it is empty."""
        ...

    def admit(self, arrivals: Arrivals) -> None:
        """Takes sentences in, which start with the next step."""
        ...

    def advance(self, output: StepOutput) -> dict[int, Outcome]:
        """Chooses the next tokens; `output` is of all rows of the batch. Returns the sentences that are done."""
        ...

    def settled(self, sentence: int, first: int) -> SettledTokens | None:
        """The tokens that all hypotheses of a sentence share, from the one at index `first` on, if there are any."""
        ...

    def move(self, places: IndexArray) -> None:
        """Follows the rows to where they are now."""
        ...

    def drop(self, sentences: Sequence[int]) -> None:
        """Gives up sentences, those of them that are here."""
        ...
