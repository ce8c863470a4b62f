"""Options that change which tokens may follow, and what they are worth: by hand, and against exhaustive enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.decoding.search import SearchBatch, decode
from service.domain import DecodingJob, Hypothesis
from service.errors import InvalidRequestError
from tests.service.scripted_backend import (
    IDS,
    Model,
    ScriptedBackend,
    assert_same,
    decode_letters,
    encode_letters,
    make_job,
    random_model,
    scripted,
    texts,
)

ENDLESS = scripted({"a" * n: {"a": 0.8, "b": 0.15, ".": 0.05} for n in range(20)})


def search(model: Model, suppressed: str = "", **options: Any) -> tuple[Hypothesis, ...]:
    job = replace(make_job("xy", **options), suppressed_ids=encode_letters(suppressed))
    [hypotheses] = decode(ScriptedBackend(model), [job], IDS)
    return hypotheses


def repeats(text: str, size: int) -> bool:
    """Whether some sequence of `size` letters comes twice."""
    windows = [text[i : i + size] for i in range(len(text) - size + 1)]
    return len(windows) != len(set(windows))


def test_no_ngram_comes_twice() -> None:
    [hypothesis] = search(ENDLESS, no_repeat_ngram_size=2)
    assert decode_letters(hypothesis.target_ids) == "aab."  # after "aa" the pair "aa" is taken


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_comes_twice_however_long_the_sentence(beam_size: int, size: int) -> None:
    options = {"beam_size": beam_size, "num_hypotheses": beam_size, "max_decoding_length": 25, "min_decoding_length": 9}
    for hypothesis in search(random_model("abcdefghijkl.", seed=4), no_repeat_ngram_size=size, **options):
        text = decode_letters(hypothesis.target_ids)
        assert not repeats(text, size)
        assert len(text) >= 9


def test_the_repetition_penalty_multiplies_log_probabilities_of_what_is_there() -> None:
    model = scripted({"": {"a": 0.6, "b": 0.4}, "a": {"a": 0.5, "b": 0.4, ".": 0.1}, "ab": {".": 1.0}})
    [hypothesis] = search(model, repetition_penalty=2.0)
    assert decode_letters(hypothesis.target_ids) == "ab."  # 0.5 squared is less than 0.4
    np.testing.assert_allclose(hypothesis.token_log_probs, np.log([0.6, 0.4, 1.0]), rtol=1e-6)


def test_log_probs_are_the_models_own_and_scores_have_the_penalty() -> None:
    model = scripted({"": {"a": 1.0}, "a": {"a": 0.9, "b": 0.1}, "aa": {".": 1.0}})
    [hypothesis] = search(model, repetition_penalty=1.5)
    assert decode_letters(hypothesis.target_ids) == "aa."
    assert hypothesis.log_prob == pytest.approx(math.log(0.9))
    assert hypothesis.score == pytest.approx(1.5 * math.log(0.9))


def test_suppressed_tokens_never_come_even_if_they_are_all_the_best() -> None:
    letters = "abcdefghijklmnopqrst"
    likely_first = scripted({"": {letter: 0.5 ** (n + 1) for n, letter in enumerate(letters)}})
    hypotheses = search(likely_first, suppressed=letters[:-3], beam_size=3, num_hypotheses=3)
    assert texts(hypotheses) == ["r.", "s.", "t."]
    [best] = search(likely_first, suppressed=letters[:-3])
    assert texts((best,)) == ["r."]


def test_a_prefix_may_hold_suppressed_and_repeated_tokens() -> None:
    job = replace(make_job("x", prefix="aa", no_repeat_ngram_size=1), suppressed_ids=encode_letters("a"))
    [[hypothesis]] = decode(ScriptedBackend(ENDLESS), [job], IDS)
    assert decode_letters(hypothesis.target_ids) == "aab."


def test_the_unknown_token_comes_only_on_request() -> None:
    model = scripted({"": {"?": 0.6, "a": 0.4}})
    assert texts(search(model)) == ["a."]
    assert texts(search(model, replace_unknowns=True)) == ["?."]
    assert texts(search(model, replace_unknowns=True, beam_size=2, num_hypotheses=2)) == ["?.", "a."]


def all_scores(model: Model, limit: int, allowed: Any, penalty: float) -> dict[str, float]:
    """Every complete or cut target that obeys the rules, with the sum of what its tokens are worth."""
    complete: dict[str, float] = {}
    growing = {"": 0.0}
    for _ in range(limit):
        grown: dict[str, float] = {}
        for target, worth in growing.items():
            for letter, probability in model("xy", target).items():
                if allowed(target, letter):
                    factor = penalty if letter in target else 1.0
                    grown[target + letter] = worth + factor * math.log(probability)
        complete |= {target: worth for target, worth in grown.items() if target.endswith(".")}
        growing = {target: worth for target, worth in grown.items() if not target.endswith(".")}
    return complete | growing


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.7},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2, "length_penalty": 0.7},
        {"min_decoding_length": 3},
        {"suppressed": "b"},
        {"suppressed": "a", "no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "min_decoding_length": 2},
    ],
    ids=lambda options: "+".join(options),
)
def test_a_wide_beam_equals_exhaustive_search_under_every_rule(seed: int, options: dict[str, Any]) -> None:
    model, limit = random_model(".abc", seed), 4
    size, least = int(options.get("no_repeat_ngram_size", 0)), int(options.get("min_decoding_length", 0))

    def allowed(target: str, letter: str) -> bool:
        early = letter == "." and len(target) + 1 < least
        repeated = size > 0 and repeats(target + letter, size)
        return not early and not repeated and letter not in options.get("suppressed", "")

    worths = all_scores(model, limit, allowed, options.get("repetition_penalty", 1.0))
    weight = options.get("length_penalty", 0.0)
    scores = {target: worth / ((5 + len(target)) / 6) ** weight for target, worth in worths.items()}
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    hypotheses = search(model, beam_size=121, num_hypotheses=121, max_decoding_length=limit, **options)
    assert texts(hypotheses) == ranked
    assert [each.score for each in hypotheses] == pytest.approx([scores[target] for target in ranked])


@pytest.mark.parametrize("beam_size", [1, 4])
def test_alternatives_are_the_models_best_tokens_at_each_position(beam_size: int) -> None:
    model = random_model(".abcdefg", seed=3)
    plain = search(model, beam_size=beam_size, num_hypotheses=beam_size)
    hypotheses = search(model, beam_size=beam_size, num_hypotheses=beam_size, num_alternatives=6)
    for hypothesis, without in zip(hypotheses, plain, strict=True):
        assert without.alternatives is None
        assert_same((replace(hypothesis, alternatives=None),), (without,))
        assert hypothesis.alternatives is not None
        target = decode_letters(hypothesis.target_ids)
        assert hypothesis.alternatives.ids.shape == hypothesis.alternatives.log_probs.shape == (len(target), 6)
        for position, ids in enumerate(hypothesis.alternatives.ids.tolist()):
            probabilities = model("xy", target[:position])
            best = sorted(probabilities, key=probabilities.__getitem__, reverse=True)[:6]
            assert decode_letters(tuple(ids)) == "".join(best)
            expected = np.log([probabilities[letter] for letter in best])
            np.testing.assert_allclose(hypothesis.alternatives.log_probs[position], expected, rtol=1e-5)


def test_candidates_are_kept_only_as_far_as_somebody_will_name_them() -> None:
    batch = SearchBatch(ScriptedBackend(random_model(".abcdefg", seed=3)), IDS)
    options = {"beam_size": 4, "min_decoding_length": 6}
    batch.admit([make_job("xy", **options)])
    batch.step()
    batch.admit([make_job("xy", num_alternatives=2, **options)])
    batch.step()
    kept = [(step.candidate_ids, step.candidate_log_probs) for step in batch._around.log._steps]
    assert [ids.shape[1] for ids, _ in kept] == [log_probs.shape[1] for _, log_probs in kept] == [0, 2]
    assert all(array.base is None for arrays in kept for array in arrays)


def test_alternatives_show_what_the_options_forbid() -> None:
    [hypothesis] = search(scripted({"": {"a": 0.9, "b": 0.1}}), suppressed="a", num_alternatives=2)
    assert hypothesis.alternatives is not None
    assert decode_letters(tuple(hypothesis.alternatives.ids[0])) == "ab"
    assert texts((hypothesis,)) == ["b."]


# Everything at once


def varied_jobs() -> list[DecodingJob]:
    """Jobs of many kinds, sources of many lengths."""
    kinds: list[dict[str, Any]] = [
        {},
        {"beam_size": 2, "num_hypotheses": 2},
        {"beam_size": 5, "num_hypotheses": 4, "length_penalty": 1.0, "coverage_penalty": 0.3},
        {"sampling_top_k": 3, "seed": 11, "num_hypotheses": 3, "max_decoding_length": 7},
        {"no_repeat_ngram_size": 2, "num_alternatives": 3, "coverage_penalty": 0.5},
        {"beam_size": 2, "repetition_penalty": 1.4, "min_decoding_length": 4},
        {"beam_size": 3, "num_hypotheses": 3, "search_mode": "tfa", "coverage_penalty": 0.2, "length_penalty": 0.6},
        {"beam_size": 5, "num_alternatives": 7, "max_decoding_length": 4},
    ]
    sources = ["u", "uvwxyzuvwxyz", "vu", "wxyzu"]
    jobs = [make_job(source, **kind) for source, kind in itertools.product(sources, kinds)]
    jobs.append(make_job("wv", prefix="fed", beam_size=2))
    jobs.append(replace(make_job("wvw"), suppressed_ids=encode_letters("abc")))
    jobs.append(replace(make_job("wvw", beam_size=2), suppressed_ids=encode_letters("de")))
    return jobs


@pytest.mark.parametrize("mechanisms", [1, 2])
def test_jobs_of_all_kinds_share_a_batch_and_get_what_they_get_alone(mechanisms: int) -> None:
    model = random_model(".abcdef", seed=5)
    jobs = varied_jobs()
    together = decode(ScriptedBackend(model, mechanisms=mechanisms), jobs, IDS)
    for job, hypotheses in zip(jobs, together, strict=True):
        [alone] = decode(ScriptedBackend(model, mechanisms=mechanisms), [job], IDS)
        assert_same(hypotheses, alone)


# What cannot be asked for


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sampling_top_k": 3, "beam_size": 2}, "beam_size"),
        ({"sampling_top_k": -1}, "sampling_top_k"),
        ({"sampling_top_k": 101}, "sampling_top_k"),
        ({"sampling_temperature": 0.5}, "sampling_temperature"),
        ({"sampling_top_k": 3, "sampling_temperature": 0.0}, "sampling_temperature"),
        ({"sampling_top_k": 3, "sampling_temperature": math.nan}, "sampling_temperature"),
        ({"sampling_top_k": 3, "seed": -1}, "seed"),
        ({"repetition_penalty": 0.5}, "repetition_penalty"),
        ({"repetition_penalty": math.inf}, "repetition_penalty"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
        ({"num_alternatives": 11}, "num_alternatives"),
        ({"num_alternatives": -1}, "num_alternatives"),
        ({"suppressed_tokens": ("a",) * 101}, "suppressed_tokens"),
        ({"search_mode": "tfa", "no_repeat_ngram_size": 2}, "no_repeat_ngram_size"),
        ({"search_mode": "tfa", "min_decoding_length": 2}, "min_decoding_length"),
        ({"search_mode": "tfa", "sampling_top_k": 2}, "sampling_top_k"),
    ],
)
def test_contradictions_name_the_field(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        search(ENDLESS, **options)
    assert caught.value.field == field


def test_a_prefix_is_unknown_to_the_tfa_mode() -> None:
    with pytest.raises(InvalidRequestError, match="target_prefix"):
        decode(ScriptedBackend(ENDLESS), [make_job("x", prefix="a", search_mode="tfa")], IDS)  # type: ignore[arg-type]
