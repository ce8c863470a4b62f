"""Sampling: repeatable by seed, independent of the batch, and as likely as the model says."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from service.decoding.search import decode
from service.domain import Hypothesis
from tests.service.scripted_backend import (
    IDS,
    Model,
    ScriptedBackend,
    assert_same,
    decode_letters,
    make_job,
    random_model,
    scripted,
    texts,
)
from tests.service.test_search_rules import repeats, search


def sample(model: Model, **options: Any) -> tuple[Hypothesis, ...]:
    return search(model, **({"sampling_top_k": 5} | options))


def test_samples_depend_on_the_seed() -> None:
    model = random_model("abcde", seed=1)
    drawn = {seed: texts(sample(model, seed=seed, num_hypotheses=3)) for seed in range(8)}
    assert drawn == {seed: texts(sample(model, seed=seed, num_hypotheses=3)) for seed in range(8)}
    assert len({tuple(each) for each in drawn.values()}) == 8


def test_samples_do_not_depend_on_the_batch() -> None:
    model = random_model(".abcdef", seed=5)
    jobs = [
        make_job("u", sampling_top_k=4, seed=1, num_hypotheses=3),
        make_job("uvwxyzuv", beam_size=3),
        make_job("vw", sampling_top_k=6, sampling_temperature=2.0, seed=1),
        make_job("vwx"),
        make_job("u", sampling_top_k=4, seed=2, num_hypotheses=2, coverage_penalty=0.3),
    ]
    for order in (jobs, jobs[::-1]):
        for job, hypotheses in zip(order, decode(ScriptedBackend(model), order, IDS), strict=True):
            [alone] = decode(ScriptedBackend(model), [job], IDS)
            assert_same(hypotheses, alone)


def test_one_token_to_draw_from_is_greedy_search() -> None:
    model = random_model(".abcd", seed=6)
    assert_same(sample(model, sampling_top_k=1, seed=9), search(model))
    assert texts(sample(model, sampling_temperature=0.01, seed=9)) == texts(search(model))


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    probabilities = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    model = scripted({"": probabilities})
    job = make_job("x", sampling_top_k=3, sampling_temperature=0.5, num_hypotheses=4000, seed=7)
    [hypotheses] = decode(ScriptedBackend(model), [job], IDS)
    counts = Counter(decode_letters(each.target_ids)[0] for each in hypotheses)
    squares = {letter: probabilities[letter] ** 2 for letter in "abc"}  # the temperature is a half
    total = sum(squares.values())
    assert counts.keys() == squares.keys()
    for letter, square in squares.items():
        assert counts[letter] / 4000 == pytest.approx(square / total, abs=0.03)


def test_samples_come_best_first_with_the_models_log_probs() -> None:
    model = random_model(".abcd", seed=8)
    hypotheses = sample(model, num_hypotheses=6, seed=3, length_penalty=1.0, sampling_temperature=3.0)
    assert len(hypotheses) == 6
    scores = [hypothesis.score for hypothesis in hypotheses]
    assert scores == sorted(scores, reverse=True)
    for hypothesis in hypotheses:
        target = decode_letters(hypothesis.target_ids)
        expected = [math.log(model("xy", target[:n])[letter]) for n, letter in enumerate(target)]
        np.testing.assert_allclose(hypothesis.token_log_probs, expected, rtol=1e-5)


def test_samples_keep_the_rules() -> None:
    hypotheses = sample(
        random_model("abcdef.", seed=2), num_hypotheses=20, seed=1, no_repeat_ngram_size=1, suppressed="b"
    )
    for text in texts(hypotheses):
        assert not repeats(text, 1)
        assert "b" not in text


def test_the_length_limit_and_the_number_of_samples_change_no_sample() -> None:
    model = random_model("abcdef.", seed=4)
    long = texts(sample(model, num_hypotheses=6, seed=5, max_decoding_length=12))
    for limit in (1, 3, 8):
        short = texts(sample(model, num_hypotheses=6, seed=5, max_decoding_length=limit))
        assert Counter(short) == Counter(text[:limit] for text in long)
    assert Counter(texts(sample(model, num_hypotheses=2, seed=5))) <= Counter(long)
