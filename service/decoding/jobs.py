"""Decoding jobs as search reads them: checked one by one, then laid out as one array per option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from service.decoding.history import IndexArray
from service.domain import DecodingJob, IntArray, SpecialIds
from service.errors import InvalidRequestError

# A translation is rarely longer than this; a model that loops must stop somewhere.
LENGTH_FACTOR = 2
LENGTH_MARGIN = 10

MAX_PENALTY = 10.0
"""Largest weight of the length and coverage penalties: beyond it the score says nothing of the translation."""


def default_length_limit(source_length: int) -> int:
    """The limit on target tokens where a job sets none; `source_length` counts the end of sentence."""
    return LENGTH_FACTOR * source_length + LENGTH_MARGIN


def length_limit(job: DecodingJob) -> int:
    """The limit on target tokens that holds for the job, end of sentence included."""
    limit = job.options.max_decoding_length
    return default_length_limit(len(job.source_ids)) if limit is None else limit


def check_job(job: DecodingJob, vocabulary_size: int) -> None:
    """Refuses a job that search could not run, before it meets others in a batch.

    Raises:
        InvalidRequestError: names the field.
    """
    options = job.options
    limit = length_limit(job)
    vocabulary = range(vocabulary_size)
    rules = (
        ("source_ids", len(job.source_ids) >= 1, "must not be empty"),
        ("source_ids", all(i in vocabulary for i in job.source_ids), "ids must be in the vocabulary"),
        ("target_prefix", all(i in vocabulary for i in job.prefix_ids), "ids must be in the vocabulary"),
        ("beam_size", options.beam_size >= 1, "must be at least 1"),
        ("num_hypotheses", 1 <= options.num_hypotheses <= options.beam_size, "must be between 1 and beam_size"),
        ("max_decoding_length", limit >= 1, "must be at least 1"),
        ("min_decoding_length", options.min_decoding_length <= limit, f"must be at most the maximum length, {limit}"),
        ("min_decoding_length", options.min_decoding_length >= 0, "must be at least 0"),
        ("target_prefix", len(job.prefix_ids) < limit, f"must be shorter than the maximum length, {limit} tokens"),
        ("length_penalty", 0 <= options.length_penalty <= MAX_PENALTY, f"must be between 0 and {MAX_PENALTY}"),
        ("coverage_penalty", 0 <= options.coverage_penalty <= MAX_PENALTY, f"must be between 0 and {MAX_PENALTY}"),
    )
    for field, holds, problem in rules:
        if not holds:
            raise InvalidRequestError(f"{field}: {problem}", field)


@dataclass(frozen=True, slots=True)
class JobArrays:
    """What search needs of its jobs, one entry per sentence.

    Attributes:
        sentences: (sentences,), each sentence's index in the batch as it was submitted.
        length_penalty, coverage_penalty: (sentences,) float64.
        min_length, max_length: (sentences,), in target tokens, end of sentence included.
        prefix_ids: (sentences, longest prefix), padded.
        prefix_lengths: (sentences,).
    """

    sentences: IndexArray
    length_penalty: npt.NDArray[np.float64]
    coverage_penalty: npt.NDArray[np.float64]
    min_length: IndexArray
    max_length: IndexArray
    prefix_ids: IndexArray
    prefix_lengths: IndexArray

    @classmethod
    def from_jobs(cls, jobs: Sequence[DecodingJob], ids: SpecialIds) -> JobArrays:
        """Lays out `jobs` in their order."""
        prefix_lengths = np.array([len(job.prefix_ids) for job in jobs], dtype=np.int64)
        return cls(
            sentences=np.arange(len(jobs), dtype=np.int64),
            length_penalty=np.array([job.options.length_penalty for job in jobs], dtype=np.float64),
            coverage_penalty=np.array([job.options.coverage_penalty for job in jobs], dtype=np.float64),
            min_length=np.array([job.options.min_decoding_length for job in jobs], dtype=np.int64),
            max_length=np.array([length_limit(job) for job in jobs], dtype=np.int64),
            prefix_ids=pad([job.prefix_ids for job in jobs], ids.pad).astype(np.int64),
            prefix_lengths=prefix_lengths,
        )

    def select(self, keep: npt.NDArray[np.bool_]) -> JobArrays:
        """The sentences where `keep` (sentences,) is True."""
        return JobArrays(*(getattr(self, field.name)[keep] for field in fields(self)))


def pad(sequences: Sequence[Sequence[int]], padding: int) -> IntArray:
    """Id sequences as one int32 array (sequences, longest), filled up at the end; at least one column wide."""
    width = max([1, *map(len, sequences)])
    padded = np.full((len(sequences), width), padding, dtype=np.int32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded
