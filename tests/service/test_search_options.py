"""What one job can ask of search: lengths, prefix, penalties; and what it cannot."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from service.decoding.backend import DecoderRows
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, IntArray
from service.errors import InvalidRequestError
from tests.service.scripted_backend import (
    GARDEN_PATH,
    IDS,
    ScriptedBackend,
    attention_row,
    copying,
    decode_letters,
    encode_letters,
    make_job,
    random_model,
    scripted,
    texts,
)


def test_decoding_stops_at_the_length_limit_and_says_so() -> None:
    endless = scripted({"a" * length: {"a": 0.9, ".": 0.1} for length in range(20)})
    [(hypothesis,)] = decode(ScriptedBackend(endless), [make_job("x", max_decoding_length=5)], IDS)
    assert decode_letters(hypothesis.target_ids) == "aaaaa"
    assert not hypothesis.finished
    assert hypothesis.log_prob == pytest.approx(5 * math.log(0.9))


def test_a_limit_is_derived_from_the_source_length() -> None:
    endless = scripted({"a" * length: {"a": 0.9, ".": 0.1} for length in range(60)})
    [(hypothesis,)] = decode(ScriptedBackend(endless), [make_job("xyz", max_decoding_length=None)], IDS)
    assert len(hypothesis.target_ids) == 2 * 4 + 10


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(("min_length", "expected_length"), [(0, 1), (1, 1), (2, 2), (4, 4)])
def test_the_sentence_does_not_end_before_the_minimum_length(
    beam_size: int, min_length: int, expected_length: int
) -> None:
    eager = {"".join(t): {".": 0.9, "a": 0.06, "b": 0.04} for n in range(9) for t in itertools.product("ab", repeat=n)}
    job = make_job("x", beam_size=beam_size, min_decoding_length=min_length)
    [(hypothesis,)] = decode(ScriptedBackend(scripted(eager)), [job], IDS)
    assert decode_letters(hypothesis.target_ids) == "a" * (expected_length - 1) + "."


@pytest.mark.parametrize("beam_size", [1, 2])
def test_the_prefix_is_forced_and_its_probability_counts(beam_size: int) -> None:
    job = make_job("x", prefix="bc", beam_size=beam_size)
    [(hypothesis,)] = decode(ScriptedBackend(scripted(GARDEN_PATH)), [job], IDS)
    assert decode_letters(hypothesis.target_ids) == "bc."
    np.testing.assert_allclose(hypothesis.token_log_probs, np.log([0.4, 0.1, 1.0]), rtol=1e-6)
    assert hypothesis.log_prob == pytest.approx(math.log(0.04))


def test_the_beam_branches_after_the_prefix() -> None:
    job = make_job("x", prefix="a", beam_size=3, num_hypotheses=3)
    [hypotheses] = decode(ScriptedBackend(scripted(GARDEN_PATH)), [job], IDS)
    assert texts(hypotheses) == ["ac.", "ad.", "a."]


def test_the_length_penalty_favours_longer_sentences() -> None:
    model = scripted({"": {".": 0.5, "a": 0.4, "b": 0.1}, "a": {"a": 1.0}, "aa": {"a": 1.0}})
    results = {
        weight: decode(ScriptedBackend(model), [make_job("x", beam_size=2, length_penalty=weight)], IDS)[0][0]
        for weight in (0.0, 1.0)
    }
    assert decode_letters(results[0.0].target_ids) == "."  # log 0.5 = -0.69
    assert decode_letters(results[1.0].target_ids) == "aaa."  # log 0.4 / (9 / 6) = -0.61
    assert results[1.0].score == pytest.approx(math.log(0.4) * 6 / 9)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_padding_start_and_unknown_are_never_produced(beam_size: int) -> None:
    special = {"": {"_": 0.3, "<": 0.3, "?": 0.2, "a": 0.2}, "a": {"_": 0.5, "?": 0.4, ".": 0.1}}
    job = make_job("x", beam_size=beam_size, num_hypotheses=beam_size)
    [hypotheses] = decode(ScriptedBackend(scripted(special)), [job], IDS)
    assert texts(hypotheses) == ["a."]
    assert hypotheses[0].log_prob == pytest.approx(math.log(0.02))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"num_hypotheses": 2}, "num_hypotheses"),
        ({"num_hypotheses": 0}, "num_hypotheses"),
        ({"max_decoding_length": 0}, "max_decoding_length"),
        ({"min_decoding_length": 13}, "min_decoding_length"),
        ({"min_decoding_length": -1}, "min_decoding_length"),
        ({"length_penalty": math.nan}, "length_penalty"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"coverage_penalty": 10.5}, "coverage_penalty"),
        ({"coverage_penalty": math.inf}, "coverage_penalty"),
    ],
)
def test_a_job_that_cannot_be_decoded_names_its_field(options: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(ScriptedBackend(copying), [make_job("a", **options)], IDS)
    assert caught.value.field == field


def test_a_sentence_of_no_tokens_is_refused_before_the_model_sees_it() -> None:
    class UntouchedBackend(ScriptedBackend):
        def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
            raise NotImplementedError

    empty = DecodingJob((), DecodingOptions(beam_size=1))
    with pytest.raises(InvalidRequestError, match="source_ids: must not be empty") as caught:
        decode(UntouchedBackend(copying), [make_job("a"), empty], IDS)
    assert caught.value.field == "source_ids"


def test_the_end_of_sentence_cannot_be_suppressed() -> None:
    job = replace(make_job("a"), suppressed_ids=encode_letters("b."))
    with pytest.raises(InvalidRequestError, match="suppressed_tokens: must not hold the end") as caught:
        decode(ScriptedBackend(copying), [job], IDS)
    assert caught.value.field == "suppressed_tokens"


def test_a_prefix_that_leaves_no_room_or_is_no_token_is_refused() -> None:
    for prefix in ("abc", "z", "a.", "?", "_", "<a"):
        job = make_job("a", prefix=prefix, max_decoding_length=3)
        with pytest.raises(InvalidRequestError, match="target_prefix"):
            decode(ScriptedBackend(copying, vocabulary_size=20), [job], IDS)


@pytest.mark.parametrize("given", ["ba.", "a.", ".", "?b."])
def test_a_given_target_is_scored_as_it_stands_among_others(given: str) -> None:
    model = random_model("ab?.")  # which holds every one of these tokens possible
    job = DecodingJob(
        encode_letters("x."), DecodingOptions(1, max_decoding_length=len(given)), encode_letters(given), complete=True
    )
    others = [make_job("xyz"), make_job("x", prefix="ab"), make_job("zy", beam_size=3)]
    expected = [model("x", given[:place])[token] for place, token in enumerate(given)]
    for jobs in ([job], [others[0], job, *others[1:]]):
        (hypothesis,) = decode(ScriptedBackend(model), jobs, IDS)[jobs.index(job)]
        assert decode_letters(hypothesis.target_ids) == given
        np.testing.assert_allclose(hypothesis.token_log_probs, np.log(expected), rtol=1e-5)
        assert hypothesis.log_prob == pytest.approx(math.fsum(np.log(expected)), rel=1e-5)
        rows = [attention_row("x", given[:place]) for place in range(len(given))]
        np.testing.assert_array_equal(hypothesis.attention, rows)
        assert hypothesis.finished


@pytest.mark.parametrize(
    ("given", "options", "field"),
    [
        ("ab", {}, "target"),
        ("", {}, "target"),
        ("a.b.", {}, "target"),
        ("ab.", {"max_decoding_length": 2}, "target"),
        ("_a.", {}, "target_prefix"),
        ("ab.", {"beam_size": 2}, "beam_size"),
        ("ab.", {"sampling_top_k": 2}, "beam_size"),
    ],
)
def test_a_given_target_that_cannot_be_scored_names_its_field(given: str, options: dict[str, int], field: str) -> None:
    job = replace(make_job("x", prefix=given, **options), complete=True)
    with pytest.raises(InvalidRequestError) as caught:
        decode(ScriptedBackend(copying), [job], IDS)
    assert caught.value.field == field
