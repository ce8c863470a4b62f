"""Decoding jobs as search reads them: checked one by one, then one row of a table each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from service.domain import DecodingJob, DecodingOptions, IntArray, SpecialIds
from service.errors import InvalidRequestError

# A translation is rarely longer than this; a model that loops must stop somewhere.
LENGTH_FACTOR = 2
LENGTH_MARGIN = 10

MAX_PENALTY = 10.0
"""Largest weight of the length and coverage penalties: beyond it the score says nothing of the translation."""

MAX_SAMPLING_TOP_K = 100
MAX_TEMPERATURE = 10.0
MIN_TEMPERATURE = 0.01
MAX_ALTERNATIVES = 10
MAX_SUPPRESSED = 100
MAX_NGRAM = 20
MAX_SEED = 2**53 - 1
"""The largest integer that JSON readers everywhere keep exactly."""

TFA_OPTIONS: Final = frozenset(
    ("beam_size", "num_hypotheses", "length_penalty", "coverage_penalty", "max_decoding_length", "search_mode")
)
"""What the search of TensorFlow Addons knows."""

JobTable: TypeAlias = npt.NDArray[Any]
"""A structured array with the fields of `JOB`."""

JOB: Final = np.dtype(
    [
        ("sentence", np.int64),
        ("start", np.int64),  # the number of its first step
        ("source_length", np.int64),
        ("min_length", np.int64),  # target tokens, end of sentence included, as in `max_length`
        ("max_length", np.int64),
        ("prefix_length", np.int64),
        ("length_penalty", np.float64),
        ("coverage_penalty", np.float64),
        ("repetition_penalty", np.float64),
        ("no_repeat_ngram_size", np.int64),
        ("sampling_top_k", np.int64),
        ("sampling_temperature", np.float64),
        ("num_hypotheses", np.int64),
        ("num_alternatives", np.int64),
        ("ban", np.int64),  # number of its set of banned tokens
        ("plain", np.bool_),  # no option changes which tokens may follow, or what is to be remembered
    ]
)

_OPAQUE: Final = np.dtype((np.void, JOB.itemsize))


def default_length_limit(source_length: int) -> int:
    """The limit on target tokens where a job sets none; `source_length` counts the end of sentence."""
    return LENGTH_FACTOR * source_length + LENGTH_MARGIN


def length_limit(job: DecodingJob) -> int:
    """The limit on target tokens that holds for the job, end of sentence included."""
    limit = job.options.max_decoding_length
    return default_length_limit(len(job.source_ids)) if limit is None else limit


@lru_cache(maxsize=1024)  # of what is right: the sentences of a request have the same options, mostly all requests
def check_options(options: DecodingOptions) -> None:
    """Refuses options that are out of their range or contradict each other.

    Raises:
        InvalidRequestError: names the field.
    """
    sampling, beam = options.sampling_top_k > 0, options.beam_size
    hypotheses, temperature = options.num_hypotheses, options.sampling_temperature
    rules = (
        ("beam_size", beam >= 1, "must be at least 1"),
        ("beam_size", beam == 1 or not sampling, "must be 1 with sampling_top_k: samples are drawn, not searched"),
        ("num_hypotheses", hypotheses >= 1, "must be at least 1"),
        ("num_hypotheses", hypotheses <= beam or sampling, f"must be at most beam_size, {beam}, without sampling"),
        ("min_decoding_length", options.min_decoding_length >= 0, "must be at least 0"),
        ("length_penalty", 0 <= options.length_penalty <= MAX_PENALTY, f"must be between 0 and {MAX_PENALTY}"),
        ("coverage_penalty", 0 <= options.coverage_penalty <= MAX_PENALTY, f"must be between 0 and {MAX_PENALTY}"),
        ("repetition_penalty", 1 <= options.repetition_penalty <= MAX_PENALTY, f"must be between 1 and {MAX_PENALTY}"),
        ("no_repeat_ngram_size", 0 <= options.no_repeat_ngram_size <= MAX_NGRAM, f"must be 0 to {MAX_NGRAM}"),
        ("suppressed_tokens", len(options.suppressed_tokens) <= MAX_SUPPRESSED, f"at most {MAX_SUPPRESSED} are taken"),
        ("sampling_top_k", 0 <= options.sampling_top_k <= MAX_SAMPLING_TOP_K, f"must be 0 to {MAX_SAMPLING_TOP_K}"),
        (
            "sampling_temperature",
            MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE,
            f"must be between {MIN_TEMPERATURE} and {MAX_TEMPERATURE}",
        ),
        ("sampling_temperature", temperature == 1 or sampling, "has no meaning without sampling_top_k"),
        ("seed", 0 <= options.seed <= MAX_SEED, f"must be between 0 and {MAX_SEED}"),
        ("num_alternatives", 0 <= options.num_alternatives <= MAX_ALTERNATIVES, f"must be 0 to {MAX_ALTERNATIVES}"),
    )
    _refuse_broken(rules)
    if options.search_mode == "tfa":
        _check_tfa(options)


def check_job(job: DecodingJob, vocabulary_size: int, ids: SpecialIds) -> None:
    """Refuses a job that search could not run, before it meets others in a batch.

    Args:
        job: the job.
        vocabulary_size: number of token ids.
        ids: the special token ids.

    Raises:
        InvalidRequestError: names the field.
    """
    check_options(job.options)
    limit = length_limit(job)
    rules = (
        ("source_ids", len(job.source_ids) >= 1, "must not be empty"),
        ("source_ids", _are_ids(job.source_ids, vocabulary_size), "ids must be in the vocabulary"),
        ("target_prefix", _are_ids(job.prefix_ids, vocabulary_size), "ids must be in the vocabulary"),
        ("suppressed_tokens", _are_ids(job.suppressed_ids, vocabulary_size), "ids must be in the vocabulary"),
        ("target_prefix", not {ids.pad, ids.bos} & {*job.prefix_ids}, "must not hold padding or the start"),
        ("suppressed_tokens", ids.eos not in job.suppressed_ids, "must not hold the end of sentence"),
        ("max_decoding_length", limit >= 1, "must be at least 1"),
        ("min_decoding_length", job.options.min_decoding_length <= limit, f"must be at most the maximum, {limit}"),
        ("target_prefix", not job.prefix_ids or job.options.search_mode != "tfa", "is unknown to search_mode tfa"),
    )
    _refuse_broken(rules)
    _refuse_broken(_rules_of_complete(job, ids) if job.complete else _rules_of_prefix(job, ids))


def _rules_of_prefix(job: DecodingJob, ids: SpecialIds) -> Sequence[tuple[str, bool, str]]:
    limit = length_limit(job)
    return (
        ("target_prefix", ids.eos not in job.prefix_ids, "must not hold the end of sentence"),
        ("target_prefix", ids.unk not in job.prefix_ids, "must not hold unknown tokens"),
        ("target_prefix", len(job.prefix_ids) < limit, f"must be shorter than the maximum length, {limit} tokens"),
    )


def _rules_of_complete(job: DecodingJob, ids: SpecialIds) -> Sequence[tuple[str, bool, str]]:
    limit, options = length_limit(job), job.options
    return (
        ("target", job.prefix_ids[-1:] == (ids.eos,), "must end with the end of sentence"),
        ("target", ids.eos not in job.prefix_ids[:-1], "must hold the end of sentence at its end only"),
        ("target", len(job.prefix_ids) <= limit, f"must be at most as long as the maximum length, {limit} tokens"),
        ("beam_size", options.beam_size == 1 and not options.sampling_top_k, "must be 1 for a given target"),
    )


def _are_ids(ids: Sequence[int], vocabulary_size: int) -> bool:
    return not ids or (min(ids) >= 0 and max(ids) < vocabulary_size)


def _check_tfa(options: DecodingOptions) -> None:
    """Refuses what the search of TensorFlow Addons does not know."""
    defaults = DecodingOptions()
    for field in DecodingOptions.__dataclass_fields__:
        if field not in TFA_OPTIONS and getattr(options, field) != getattr(defaults, field):
            raise InvalidRequestError(f"{field}: is unknown to search_mode tfa", field)


def _refuse_broken(rules: Sequence[tuple[str, bool, str]]) -> None:
    for field, holds, problem in rules:
        if not holds:
            raise InvalidRequestError(f"{field}: {problem}", field)


def tabulate(job: DecodingJob, sentence: int, start: int, ban: int) -> tuple[Any, ...]:
    """The job as a row of a `JobTable`; the arguments are fields of it that are not the job's own."""
    options = job.options
    return (
        sentence,
        start,
        len(job.source_ids),
        options.min_decoding_length,
        length_limit(job),
        len(job.prefix_ids),
        options.length_penalty,
        options.coverage_penalty,
        options.repetition_penalty,
        options.no_repeat_ngram_size,
        options.sampling_top_k,
        options.sampling_temperature,
        options.num_hypotheses,
        options.num_alternatives,
        ban,
        _is_plain(job, ban),
    )


def join_tables(one: JobTable, other: JobTable) -> JobTable:
    """Both one after the other; numpy would compare their fields' types first, and copy them field by field."""
    return np.concatenate([one.view(_OPAQUE), other.view(_OPAQUE)]).view(JOB)


def _is_plain(job: DecodingJob, ban: int) -> bool:
    options = job.options
    changed = options.min_decoding_length > 1 or options.repetition_penalty > 1 or options.no_repeat_ngram_size > 0
    return not (changed or job.prefix_ids or options.sampling_top_k or options.num_alternatives or ban)


def pad(sequences: Sequence[Sequence[int]], padding: int) -> IntArray:
    """Id sequences as one int32 array (sequences, longest), filled up at the end; at least one column wide."""
    width = max([1, *map(len, sequences)])
    padded = np.full((len(sequences), width), padding, dtype=np.int32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded
