"""Which tokens may follow, and what each is worth: the options of the jobs, applied to what the model offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from service.decoding.jobs import JobTable
from service.decoding.rows import IndexArray
from service.decoding.scoring import FloatsLike, repetition_penalty
from service.domain import BoolArray, DecodingJob, FloatArray, IntArray, SpecialIds

TokenArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Offer:
    """What may follow each row; every array is (rows, candidates).

    Attributes:
        token_ids: the candidates, the model's best first.
        log_probs: float32, their natural log-probabilities as the model gives them.
        worth: what counts for the choice: the log-probabilities after the repetition penalty, -inf for a token that
            must not follow.
    """

    token_ids: IntArray
    log_probs: FloatArray
    worth: FloatsLike


class BannedTokens:
    """Tables of the tokens that jobs must never produce, one for each different set of them.

    Padding and the start are in every set, the unknown token in those of jobs that do not ask for it. Set 0 is that of
    jobs without wishes.
    """

    def __init__(self, vocabulary_size: int, ids: SpecialIds) -> None:
        self._usual = frozenset((ids.pad, ids.bos, ids.unk))
        self._unknown = frozenset((ids.unk,))
        self._sets: list[frozenset[int]] = []
        self._users: list[int] = []
        self._tables: BoolArray = np.zeros((0, vocabulary_size), dtype=np.bool_)
        self._number(self._usual)

    def acquire(self, job: DecodingJob) -> int:
        """The number of the job's set, which stays valid until it is released."""
        usual = self._usual - self._unknown if job.options.replace_unknowns else self._usual
        number = self._number(usual.union(job.suppressed_ids))
        self._users[number] += 1
        return number

    def release(self, number: int) -> None:
        """Says that one job less uses a set."""
        self._users[number] -= 1

    def size_of(self, number: int) -> int:
        """How many tokens a set has."""
        return len(self._sets[number])

    def include(self, numbers: IndexArray, token_ids: TokenArray) -> BoolArray:
        """Whether each of the tokens (rows, ...) is in its row's set; `numbers` is (rows,)."""
        if not numbers.any():
            return np.asarray(self._tables[0].take(token_ids))
        return np.asarray(self._tables[numbers.reshape(-1, *(1,) * (token_ids.ndim - 1)), token_ids])

    def usual(self, offer: Offer) -> Offer:
        """What is left of an offer to rows whose jobs have no wishes."""
        banned = self._tables[0].take(offer.token_ids)
        if not banned.any():
            return offer
        return Offer(offer.token_ids, offer.log_probs, np.where(banned, -np.inf, offer.worth))

    def _number(self, banned: frozenset[int]) -> int:
        """Finds a set, or makes it in the place of one that nobody uses any more."""
        if banned in self._sets:
            return self._sets.index(banned)
        table = np.zeros((1, self._tables.shape[1]), dtype=np.bool_)
        table[0, sorted(banned)] = True
        for number in range(1, len(self._users)):
            if self._users[number] == 0:
                self._sets[number], self._tables[number] = banned, table
                return number
        self._tables = np.concatenate([self._tables, table])
        self._sets.append(banned)
        self._users.append(0)
        return len(self._sets) - 1


@dataclass(frozen=True, slots=True)
class Demands:
    """Which rules a lane's jobs ask for at all, so that those that nobody asks for cost nothing.

    Attributes:
        plain: no job asks for any.
        bans: the most tokens that one job bans, the end of sentence included where it may come too early.
        minimum, prefix, no_repeat, repetition, coverage, sampling, alternatives: whether a job has this option; for
            alternatives how many the one that wants most.
        lag: by how many tokens the longest hypothesis that a rule looks at is shorter than the longest of all.
    """

    plain: bool = True
    bans: int = 0
    minimum: bool = False
    prefix: bool = False
    no_repeat: bool = False
    repetition: bool = False
    coverage: bool = False
    sampling: int = 0
    alternatives: int = 0
    lag: int = 0

    @classmethod
    def of(cls, table: JobTable, banned: BannedTokens) -> Demands:
        """The demands of the jobs in `table`."""
        if table["plain"].all():
            return cls(bans=banned.size_of(0), coverage=bool(table["coverage_penalty"].any()))
        minimum = bool(table["min_length"].max() > 1)
        no_repeat, repetition = table["no_repeat_ngram_size"] > 0, table["repetition_penalty"] > 1
        looking = table["start"][no_repeat | repetition]
        return cls(
            plain=False,
            bans=max(map(banned.size_of, set(table["ban"].tolist()))) + minimum,
            minimum=minimum,
            prefix=bool(table["prefix_length"].any()),
            no_repeat=bool(no_repeat.any()),
            repetition=bool(repetition.any()),
            coverage=bool(table["coverage_penalty"].any()),
            sampling=int(table["sampling_top_k"].max()),
            alternatives=int(table["num_alternatives"].max()),
            lag=int(looking.min() - table["start"].min()) if len(looking) else 0,
        )

    @property
    def need_tokens(self) -> bool:
        """Whether a rule looks at the tokens so far."""
        return self.no_repeat or self.repetition

    def candidates(self, wanted: int, longest: int) -> int:
        """How many of the best tokens a step must return.

        Args:
            wanted: how many must be left that may follow, and are worth what the model says.
            longest: tokens of the longest hypothesis so far; each that a rule looks at may ban or devalue one token.
        """
        wanted = max(wanted, self.sampling) + self.bans + (longest - self.lag if self.need_tokens else 0)
        return max(wanted, self.alternatives)


@dataclass(frozen=True, slots=True)
class RowView:
    """What is known of each row before the step.

    Attributes:
        jobs: (rows,), each row's job.
        lengths: (rows,), tokens so far.
        tokens: (rows, at least the longest), the tokens so far; what stands behind them means nothing.
    """

    jobs: JobTable
    lengths: IndexArray
    tokens: IntArray


def apply_rules(offer: Offer, rows: RowView, demands: Demands, banned: BannedTokens, eos: int) -> Offer:
    """Applies every rule that a job asks for, except the target prefix; `offer` has the model's own `worth`."""
    token_ids, worth = offer.token_ids, offer.worth
    forbidden = banned.include(rows.jobs["ban"], token_ids)
    if demands.minimum:
        too_short = rows.lengths + 1 < rows.jobs["min_length"]
        forbidden |= (token_ids == eos) & too_short[:, np.newaxis]
    if demands.no_repeat:
        forbidden |= repeats_ngram(token_ids, rows)
    if demands.repetition:
        worth = repetition_penalty(worth, repeats_token(token_ids, rows), rows.jobs["repetition_penalty"])
    if forbidden.any():
        worth = np.where(forbidden, -np.inf, worth)
    return Offer(token_ids, offer.log_probs, worth)


def repeats_ngram(token_ids: IntArray, rows: RowView) -> BoolArray:
    """Whether a token would complete a sequence that the row holds already.

    Source: Paulus et al. 2017, "A Deep Reinforced Model for Abstractive Summarization", arXiv:1705.04304, section 2.5.

    Args:
        token_ids: (rows, candidates).
        rows: the rows; `no_repeat_ngram_size` of their jobs is the length of the sequences, 0 for none.

    Returns:
        (rows, candidates).
    """
    repeats = np.zeros(token_ids.shape, dtype=np.bool_)
    sizes = rows.jobs["no_repeat_ngram_size"]
    for size in set(sizes.tolist()) - {0}:
        chosen = np.flatnonzero((sizes == size) & (rows.lengths >= size))
        if len(chosen):
            lengths = rows.lengths[chosen]
            followers, known = _followers(rows.tokens[chosen, : lengths.max()], lengths, size)
            equal = token_ids[chosen][:, :, np.newaxis] == followers[:, np.newaxis]  # (chosen, candidates, windows)
            repeats[chosen] = (equal & known[:, np.newaxis]).any(axis=2)
    return repeats


def _followers(tokens: IntArray, lengths: IndexArray, size: int) -> tuple[IntArray, BoolArray]:
    """What has followed the last `size - 1` tokens wherever they stood before.

    Args:
        tokens: (rows, longest).
        lengths: (rows,), at least `size`.
        size: of the sequences.

    Returns:
        (rows, windows) the last token of each sequence of `size` tokens, and whether those before it are the row's
        last ones.
    """
    windows = np.lib.stride_tricks.sliding_window_view(tokens, size, axis=1)  # (rows, windows, size)
    inside = np.arange(windows.shape[1]) + size <= lengths[:, np.newaxis]
    last = lengths[:, np.newaxis] + np.arange(1 - size, 0)  # (rows, size - 1)
    ending = np.take_along_axis(tokens, last, axis=1)
    same = (windows[:, :, :-1] == ending[:, np.newaxis]).all(axis=2)
    return windows[:, :, -1], same & inside


def repeats_token(token_ids: IntArray, rows: RowView) -> BoolArray:
    """(rows, candidates), whether rows that are penalized for it hold the token already."""
    repeats = np.zeros(token_ids.shape, dtype=np.bool_)
    chosen = np.flatnonzero((rows.jobs["repetition_penalty"] > 1) & (rows.lengths > 0))
    if len(chosen):
        lengths = rows.lengths[chosen]
        tokens = rows.tokens[chosen, : lengths.max()]
        inside = np.arange(tokens.shape[1]) < lengths[:, np.newaxis]
        equal = token_ids[chosen][:, :, np.newaxis] == tokens[:, np.newaxis]  # (chosen, candidates, tokens)
        repeats[chosen] = (equal & inside[:, np.newaxis]).any(axis=2)
    return repeats


def force_prefix(offer: Offer, rows: RowView, next_ids: IntArray, forced_log_probs: FloatArray) -> Offer:
    """Leaves rows inside their target prefix one candidate, the prefix's next token, whatever its probability.

    Args:
        offer: what may follow after the other rules.
        rows: the rows.
        next_ids: (rows,), the next token of each row's prefix.
        forced_log_probs: (rows,), the model's log-probabilities of these.
    """
    inside = rows.lengths < rows.jobs["prefix_length"]
    if not inside.any():
        return offer
    token_ids, log_probs, worth = offer.token_ids.copy(), offer.log_probs.copy(), offer.worth.copy()
    token_ids[inside, 0] = next_ids[inside]
    log_probs[inside, 0] = forced_log_probs[inside]
    worth[inside] = -np.inf
    worth[inside, 0] = forced_log_probs[inside]
    return Offer(token_ids, log_probs, worth)
