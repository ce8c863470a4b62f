"""From a decoder step's output to scored continuations: which tokens may follow each row, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.decoding.backend import StepOutput
from service.decoding.history import IndexArray
from service.decoding.jobs import JobArrays
from service.decoding.scoring import coverage_penalty, length_penalty
from service.domain import FloatArray, SpecialIds

ScoreArray = npt.NDArray[np.float64]

# Padding, start and unknown are never produced, end of sentence not before the minimum length: a step must return
# this many candidates more than the beam is wide, so that a full beam of allowed ones is always among them.
MOST_BANNED = 4


@dataclass(frozen=True, slots=True)
class RowView:
    """What is known of each row before the step.

    Attributes:
        sentences: (rows,), index into the job arrays.
        log_probs: (rows,) float64, of the tokens so far.
        lengths: (rows,), tokens so far.
        attention_sums: (rows, source_len), attention per source token so far, the mean over the mechanisms; padding
            has 1.
    """

    sentences: IndexArray
    log_probs: ScoreArray
    lengths: IndexArray
    attention_sums: FloatArray


@dataclass(frozen=True, slots=True)
class Candidates:
    """Continuations of every row.

    Attributes:
        token_ids: (rows, candidates).
        log_probs: (rows, candidates) float64, -inf for a token that is not allowed here.
        totals: (rows, candidates), log-probability of the hypothesis if it takes the token.
        scores: (rows, candidates), `totals` normalised by length, without coverage.
        coverage: (rows,), coverage penalty if the hypothesis is complete with this step.
        complete: (rows, candidates), whether the token completes the hypothesis: end of sentence or length limit.
        attention_sums: (rows, source_len), this step's attention included.
    """

    token_ids: IndexArray
    log_probs: ScoreArray
    totals: ScoreArray
    scores: ScoreArray
    coverage: ScoreArray
    complete: npt.NDArray[np.bool_]
    attention_sums: FloatArray


def find_candidates(output: StepOutput, rows: RowView, jobs: JobArrays, ids: SpecialIds) -> Candidates:
    """Applies the rules of each row's job to what the model offers."""
    token_ids, log_probs = _allowed(output, rows, jobs, ids)
    token_ids, log_probs = _force_prefix(token_ids, log_probs, output.forced_log_probs, rows, jobs)
    lengths = rows.lengths + 1
    totals = rows.log_probs[:, None] + log_probs
    divisor = length_penalty(lengths, jobs.length_penalty[rows.sentences])
    coverage, sums = _cover(output.attention_weights, rows, jobs)
    at_limit = lengths >= jobs.max_length[rows.sentences]
    return Candidates(
        token_ids=token_ids,
        log_probs=log_probs,
        totals=totals,
        scores=totals / divisor[:, None],
        coverage=coverage,
        complete=(token_ids == ids.eos) | at_limit[:, None],
        attention_sums=sums,
    )


def forced_ids(rows: RowView, jobs: JobArrays, ids: SpecialIds) -> npt.NDArray[np.int32]:
    """(rows,) the next token of each row's target prefix; padding where none is left."""
    column = np.minimum(rows.lengths, jobs.prefix_ids.shape[1] - 1)
    in_prefix = rows.lengths < jobs.prefix_lengths[rows.sentences]
    return np.where(in_prefix, jobs.prefix_ids[rows.sentences, column], ids.pad).astype(np.int32)


def _allowed(output: StepOutput, rows: RowView, jobs: JobArrays, ids: SpecialIds) -> tuple[IndexArray, ScoreArray]:
    """Candidate ids and log-probabilities (rows, candidates), those of tokens that must not follow set to -inf."""
    token_ids = output.candidate_ids.astype(np.int64)
    too_short = rows.lengths + 1 < jobs.min_length[rows.sentences]  # (rows,)
    banned = (token_ids == ids.pad) | (token_ids == ids.bos) | (token_ids == ids.unk)
    banned |= (token_ids == ids.eos) & too_short[:, None]
    return token_ids, np.where(banned, -np.inf, output.candidate_log_probs.astype(np.float64))


def _force_prefix(
    token_ids: IndexArray, log_probs: ScoreArray, forced_log_probs: FloatArray, rows: RowView, jobs: JobArrays
) -> tuple[IndexArray, ScoreArray]:
    """Leaves rows inside their prefix one candidate, the prefix's next token, whatever its probability."""
    forced = np.flatnonzero(rows.lengths < jobs.prefix_lengths[rows.sentences])
    if forced.size == 0:
        return token_ids, log_probs
    token_ids[forced, 0] = jobs.prefix_ids[rows.sentences[forced], rows.lengths[forced]]
    log_probs[forced] = -np.inf
    log_probs[forced, 0] = forced_log_probs[forced]
    return token_ids, log_probs


def _cover(attention_weights: FloatArray, rows: RowView, jobs: JobArrays) -> tuple[ScoreArray, FloatArray]:
    """Coverage penalties (rows,) and attention sums (rows, source_len); no work where no job asks for coverage.

    Several mechanisms cover a source token with the mean of their weights.

    Source: `attention_probs_from_attn_state` of TensorFlow Addons, `tensorflow_addons/seq2seq/beam_search_decoder.py`.

    Args:
        attention_weights: (rows, mechanisms, source_len).
        rows: the rows before the step.
        jobs: the sentences' options.
    """
    weight = jobs.coverage_penalty[rows.sentences]
    if not weight.any():
        return np.zeros(len(weight)), rows.attention_sums
    several = attention_weights.shape[1] > 1
    sums = rows.attention_sums + (attention_weights.mean(axis=1) if several else attention_weights[:, 0])
    return coverage_penalty(sums, weight), sums
