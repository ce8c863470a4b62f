"""What hypotheses have behind them: their tokens, and where the attention of each token is kept.

A hypothesis carries its tokens with it, as one row of a structured array; a beam that takes over another's beginning
copies that row. Attention is too large for that: it stays in the log of the steps, and tokens know their row in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from service.decoding.backend import StepOutput
from service.domain import FloatArray, IntArray

TRAIL: Final = np.dtype([("token", np.int32), ("row", np.int32), ("log_prob", np.float64)])
"""One token of a hypothesis: its id, the decoder row that produced it, its natural log-probability."""

_OPAQUE: Final = np.dtype((np.void, TRAIL.itemsize))  # numpy copies structured values field by field

TrailArray: TypeAlias = npt.NDArray[Any]
"""A structured array of `TRAIL`, (..., tokens)."""

_COLUMNS_AT_ONCE: Final = 32


def empty_trails(shape: tuple[int, ...]) -> TrailArray:
    """Trails without tokens, (*shape, room for some tokens)."""
    return np.zeros((*shape, _COLUMNS_AT_ONCE), dtype=TRAIL)


def widen(trails: TrailArray, tokens: int) -> TrailArray:
    """The trails with room for at least `tokens` tokens each."""
    present = trails.shape[-1]
    if tokens <= present:
        return trails
    more = max(tokens - present, present // 2, _COLUMNS_AT_ONCE)
    return np.concatenate([trails, np.zeros((*trails.shape[:-1], more), dtype=TRAIL)], axis=-1)


def narrow(trails: TrailArray, tokens: int) -> TrailArray:
    """The trails without most of their room, where hypotheses of up to `tokens` tokens leave most of it empty."""
    room = 2 * tokens + _COLUMNS_AT_ONCE
    return trails if trails.shape[-1] <= 2 * room else np.ascontiguousarray(trails[..., :room])


def join_trails(one: TrailArray, other: TrailArray) -> TrailArray:
    """Both one after the other along the first axis, with the room of the larger."""
    width = max(one.shape[-1], other.shape[-1])
    joined = np.zeros((len(one) + len(other), *one.shape[1:-1], width), dtype=TRAIL)
    tokens = joined.view(_OPAQUE)
    tokens[: len(one), ..., : one.shape[-1]] = one.view(_OPAQUE)
    tokens[len(one) :, ..., : other.shape[-1]] = other.view(_OPAQUE)
    return joined


@dataclass(frozen=True, slots=True)
class _Step:
    attention_weights: FloatArray  # (rows, mechanisms, source_len)
    candidate_ids: IntArray  # (rows, alternatives)
    candidate_log_probs: FloatArray  # (rows, alternatives)


class StepLog:
    """What the steps returned that hypotheses may still need, oldest first; steps are numbered from 0 on."""

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self._first = 0

    @property
    def now(self) -> int:
        """How many steps there were."""
        return self._first + len(self._steps)

    def append(self, output: StepOutput, alternatives: int) -> None:
        """Adds a step.

        Args:
            output: what it returned.
            alternatives: how many of its candidates are kept: as many as the hypotheses that want most of them will ask
                for. They are copied, so that the others are not kept alive.
        """
        ids, log_probs = output.candidate_ids[:, :alternatives], output.candidate_log_probs[:, :alternatives]
        self._steps.append(_Step(output.attention_weights, ids.copy(), log_probs.copy()))

    def forget_before(self, step: int) -> None:
        """Drops the steps before `step`."""
        while self._first < step and self._steps:
            self._steps.popleft()
            self._first += 1

    def attention(self, start: int, rows: IntArray, source_length: int) -> FloatArray:
        """The attention of consecutive tokens.

        Args:
            start: the step that produced the first.
            rows: (tokens,) decoder row of each.
            source_length: tokens of the sentence.

        Returns:
            (mechanisms, tokens, source_len).
        """
        steps = self._since(start, len(rows))
        pairs = zip(steps, rows.tolist(), strict=True)
        if steps[0].attention_weights.shape[1] == 1:
            return np.array([[step.attention_weights[row, 0, :source_length] for step, row in pairs]])
        return np.array([step.attention_weights[row, :, :source_length] for step, row in pairs]).transpose(1, 0, 2)

    def candidates(self, start: int, rows: IntArray, count: int) -> tuple[IntArray, FloatArray]:
        """The `count` best ids, and their log-probabilities, at consecutive tokens; (tokens, count) each."""
        steps = list(zip(self._since(start, len(rows)), rows.tolist(), strict=True))
        ids = np.array([step.candidate_ids[row, :count] for step, row in steps], dtype=np.int32)
        log_probs = np.array([step.candidate_log_probs[row, :count] for step, row in steps], dtype=np.float32)
        return ids, log_probs

    def _since(self, start: int, count: int) -> list[_Step]:
        first = start - self._first
        return list(islice(self._steps, first, first + count))
