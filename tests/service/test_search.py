"""Search against models whose answers can be read, and against exhaustive enumeration."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from service.decoding.backend import DecoderRows
from service.decoding.beam import BeamLane
from service.decoding.lane import Lane
from service.decoding.search import LaneKey, SearchBatch, decode
from service.domain import Hypothesis, IntArray
from service.errors import DecodingError
from tests.service.scripted_backend import (
    GARDEN_PATH,
    IDS,
    Model,
    ScriptedBackend,
    assert_same,
    attention_row,
    copying,
    decode_letters,
    make_job,
    random_model,
    scripted,
    texts,
)


def greedy(model: Model, source: str, limit: int) -> str:
    """Greedy decoding in four lines, ties to the lower id."""
    target = ""
    while len(target) < limit and not target.endswith("."):
        probabilities = model(source, target)
        target += max(sorted(probabilities, key=lambda letter: (letter != ".", letter)), key=probabilities.__getitem__)
    return target


def all_targets(model: Model, source: str, limit: int) -> dict[str, float]:
    """Every complete or cut target with its log-probability."""
    complete: dict[str, float] = {}
    open_targets = {"": 0.0}
    for _ in range(limit):
        grown = {
            target + letter: log_prob + math.log(probability)
            for target, log_prob in open_targets.items()
            for letter, probability in model(source, target).items()
        }
        complete |= {target: value for target, value in grown.items() if target.endswith(".")}
        open_targets = {target: value for target, value in grown.items() if not target.endswith(".")}
    return complete | open_targets


def run_to_the_end(batch: SearchBatch) -> dict[int, tuple[Hypothesis, ...]]:
    """Steps until every sentence is done."""
    outcomes: dict[int, tuple[Hypothesis, ...]] = {}
    while len(batch):
        outcomes.update(batch.step())  # type: ignore[arg-type]
    return outcomes


def test_greedy_follows_the_most_probable_token() -> None:
    [(hypothesis,)] = decode(ScriptedBackend(scripted(GARDEN_PATH)), [make_job("x")], IDS)
    assert decode_letters(hypothesis.target_ids) == "ac."
    assert hypothesis.log_prob == pytest.approx(math.log(0.6 * 0.4))
    np.testing.assert_allclose(hypothesis.token_log_probs, np.log([0.6, 0.4, 1.0]), rtol=1e-6)
    assert hypothesis.token_log_probs.dtype == np.float32
    assert hypothesis.finished


def test_a_wider_beam_finds_the_more_probable_sentence() -> None:
    [hypotheses] = decode(ScriptedBackend(scripted(GARDEN_PATH)), [make_job("x", beam_size=2, num_hypotheses=2)], IDS)
    assert texts(hypotheses) == ["b.", "ac."]
    assert [hypothesis.log_prob for hypothesis in hypotheses] == pytest.approx([math.log(0.36), math.log(0.24)])


@pytest.mark.parametrize("coverage_penalty", [0.0, 2.0])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_beam_1_equals_greedy(seed: int, length_penalty: float, coverage_penalty: float) -> None:
    model = random_model(".abcd", seed)
    job = make_job("xy", length_penalty=length_penalty, coverage_penalty=coverage_penalty, max_decoding_length=9)
    [hypotheses] = decode(ScriptedBackend(model), [job], IDS)
    assert texts(hypotheses) == [greedy(model, "xy", limit=9)]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_a_beam_of_one_slot_equals_greedy(seed: int, length_penalty: float) -> None:
    class BeamBatch(SearchBatch):
        def _open_lane(self, key: LaneKey) -> Lane:
            return BeamLane(self._around, key[1])

    model = random_model(".abcd", seed)
    jobs = [
        make_job("xy", length_penalty=length_penalty, max_decoding_length=9),
        make_job("z", no_repeat_ngram_size=2, min_decoding_length=3),
        make_job("zx", prefix="ba", repetition_penalty=1.5, num_alternatives=3),
    ]
    batch = BeamBatch(ScriptedBackend(model), IDS)
    numbers = batch.admit(jobs)
    outcomes = run_to_the_end(batch)
    for number, expected in zip(numbers, decode(ScriptedBackend(model), jobs, IDS), strict=True):
        assert_same(outcomes[number], expected)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
def test_a_wide_beam_equals_exhaustive_search(seed: int, length_penalty: float) -> None:
    model = random_model(".abc", seed)
    expected = all_targets(model, "xy", limit=4)
    scores = {target: value / ((5 + len(target)) / 6) ** length_penalty for target, value in expected.items()}
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    width = len(ranked)  # 1 + 3 + 9 + 27 complete and 81 cut ones
    assert width == 121
    options = {"beam_size": width, "num_hypotheses": width, "max_decoding_length": 4, "length_penalty": length_penalty}
    [hypotheses] = decode(ScriptedBackend(model), [make_job("xy", **options)], IDS)
    assert texts(hypotheses) == ranked
    for hypothesis in hypotheses:
        target = decode_letters(hypothesis.target_ids)
        assert hypothesis.log_prob == pytest.approx(expected[target], rel=1e-6)
        assert hypothesis.score == pytest.approx(scores[target], rel=1e-6)
        assert hypothesis.finished == target.endswith(".")


def test_exhaustive_search_with_coverage() -> None:
    model = random_model(".ab", seed=3)
    expected = all_targets(model, "xyz", limit=4)
    scores = {}
    for target, log_prob in expected.items():
        attention = np.stack([attention_row("xyz", target[:step]) for step in range(len(target))]).astype(np.float64)
        coverage = 0.3 * np.log(np.minimum(attention.sum(axis=0), 1.0)).sum()
        scores[target] = log_prob / ((5 + len(target)) / 6) + coverage
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    options = {"beam_size": 40, "num_hypotheses": 5, "length_penalty": 1.0, "coverage_penalty": 0.3}
    [hypotheses] = decode(ScriptedBackend(model), [make_job("xyz", max_decoding_length=4, **options)], IDS)
    assert texts(hypotheses) == ranked[:5]
    assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([scores[name] for name in ranked[:5]])


@pytest.mark.parametrize("beam_size", [1, 3, 5])
def test_attention_follows_parent_beams(beam_size: int) -> None:
    model = random_model(".abcde", seed=11)
    [hypotheses] = decode(
        ScriptedBackend(model), [make_job("wxyz", beam_size=beam_size, num_hypotheses=beam_size)], IDS
    )
    assert len(hypotheses) == beam_size
    for hypothesis in hypotheses:
        target = decode_letters(hypothesis.target_ids)
        expected = np.stack([attention_row("wxyz", target[:step]) for step in range(len(target))])
        np.testing.assert_array_equal(hypothesis.attention, expected)
        assert hypothesis.attention.shape == (len(target), 5)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_batched_equals_single_and_padding_changes_nothing(beam_size: int) -> None:
    model = random_model(".abcdef", seed=5)
    jobs = [
        make_job("u", beam_size=beam_size, num_hypotheses=beam_size, max_decoding_length=3),
        make_job("uvwxyzuvwxyz", beam_size=beam_size, length_penalty=1.0, coverage_penalty=0.2),
        make_job("vu", beam_size=beam_size, min_decoding_length=6, length_penalty=0.5),
        make_job("wxy", prefix="fed", beam_size=beam_size, num_hypotheses=beam_size),
    ]
    together = decode(ScriptedBackend(model), jobs, IDS)
    for job, hypotheses in zip(jobs, together, strict=True):
        [alone] = decode(ScriptedBackend(model), [job], IDS)
        assert_same(hypotheses, alone)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_dropping_a_sentence_leaves_the_others_unchanged(beam_size: int, steps_before: int) -> None:
    model = random_model(".abcdef", seed=9)
    jobs = [make_job(source, beam_size=beam_size, min_decoding_length=5) for source in ("uv", "wxyz", "x")]
    batch = SearchBatch(ScriptedBackend(model), IDS)
    numbers = batch.admit(jobs)
    for _ in range(steps_before):
        assert batch.step() == {}
    rows = batch.live_rows
    batch.drop([numbers[1]])
    assert batch.live_rows < rows
    outcomes = run_to_the_end(batch)
    assert outcomes.keys() == {numbers[0], numbers[2]}
    undisturbed = decode(ScriptedBackend(model), jobs, IDS)
    assert_same(outcomes[numbers[0]], undisturbed[0])
    assert_same(outcomes[numbers[2]], undisturbed[2])


def test_dropping_every_sentence_finishes_the_batch() -> None:
    batch = SearchBatch(ScriptedBackend(copying), IDS)
    batch.drop(batch.admit([make_job("ab"), make_job("c", beam_size=2), make_job("d", search_mode="tfa")]))  # type: ignore[arg-type]
    assert (len(batch), batch.live_rows) == (0, 0)
    assert batch.step() == {}


@pytest.mark.parametrize("others", [0, 2])
def test_sentences_that_cannot_be_admitted_leave_nothing_behind(others: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(".abcdef", seed=9)
    batch = SearchBatch(ScriptedBackend(model), IDS)
    jobs = [make_job("uv", beam_size=1 + index, min_decoding_length=5) for index in range(others)]
    numbers = batch.admit(jobs) if jobs else []
    batch.step()
    rows, users = batch.live_rows, list(batch._around.banned._users)
    sampled = make_job("wxyz", sampling_top_k=2, num_hypotheses=2)
    more = [sampled, make_job("x", beam_size=2), make_job("y", beam_size=3)]
    with monkeypatch.context() as patch:
        patch.setattr(BeamLane, "admit", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            batch.admit(more)
    assert (len(batch), batch.live_rows, batch._around.banned._users) == (others, rows, users)
    numbers += batch.admit(more)
    outcomes = run_to_the_end(batch)
    for number, job in zip(numbers, [*jobs, *more], strict=True):
        [alone] = decode(ScriptedBackend(model), [job], IDS)
        assert_same(outcomes[number], alone)


def test_a_backend_whose_encoded_sentences_do_not_fit_leaves_nothing_behind() -> None:
    class FickleBackend(ScriptedBackend):
        def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
            encoded = super().encode(source_ids, source_lengths)
            return replace(encoded, state=()) if len(source_ids) == 3 else encoded

    model = random_model(".abcdef", seed=9)
    batch = SearchBatch(FickleBackend(model), IDS)
    jobs = [make_job(source, min_decoding_length=4) for source in ("uv", "wxyz")]
    numbers = batch.admit(jobs)
    batch.step()
    with pytest.raises(ValueError, match="zip"):
        batch.admit([make_job("uvwxyz", sampling_top_k=2, num_hypotheses=2)] * 3)
    assert (len(batch), batch.live_rows) == (2, 2)
    outcomes = run_to_the_end(batch)
    for number, expected in zip(numbers, decode(ScriptedBackend(model), jobs, IDS), strict=True):
        assert_same(outcomes[number], expected)


def test_done_sentences_are_reported_at_once_and_leave_the_batch() -> None:
    backend = ScriptedBackend(copying)
    batch = SearchBatch(backend, IDS)
    numbers = batch.admit([make_job("abc"), make_job("a"), make_job("ab")])
    steps = [batch.step() for _ in range(4)]
    assert [list(outcomes) for outcomes in steps] == [[], [numbers[1]], [numbers[2]], [numbers[0]]]
    assert backend.rows_per_step == [3, 3, 2, 1]
    assert texts(steps[1][numbers[1]]) == ["a."]  # type: ignore[arg-type]
    batch.drop([numbers[1]])  # done already: nothing to forget


def test_hypotheses_are_ordered_by_score_and_all_different() -> None:
    job = make_job("x", beam_size=6, num_hypotheses=4, length_penalty=1.0)
    [hypotheses] = decode(ScriptedBackend(random_model(".abcd", seed=2)), [job], IDS)
    assert len(set(texts(hypotheses))) == len(hypotheses) == 4
    scores = [hypothesis.score for hypothesis in hypotheses]
    assert scores == sorted(scores, reverse=True)
    for hypothesis in hypotheses:
        length = len(hypothesis.target_ids)
        assert hypothesis.score == pytest.approx(hypothesis.log_prob / ((5 + length) / 6))
        assert hypothesis.log_prob == pytest.approx(float(hypothesis.token_log_probs.sum()), rel=1e-5)


def test_ties_go_to_the_lower_token_id_and_then_slot() -> None:
    tied = {"": {"b": 0.5, "a": 0.5}, "a": {"d": 0.5, "c": 0.5}, "b": {"d": 0.5, "c": 0.5}}
    job = make_job("x", beam_size=3, num_hypotheses=3)
    [hypotheses] = decode(ScriptedBackend(scripted(tied)), [job], IDS)
    assert texts(hypotheses) == ["ac.", "ad.", "bc."]


def test_a_complete_hypothesis_keeps_its_score() -> None:
    model = random_model(".abc", seed=21)
    job = make_job("xy", beam_size=4, num_hypotheses=4, length_penalty=0.8, coverage_penalty=0.4)
    [hypotheses] = decode(ScriptedBackend(model), [job], IDS)
    for hypothesis in hypotheses:
        length = len(hypothesis.target_ids)
        coverage = 0.4 * np.log(np.minimum(hypothesis.attention.astype(np.float64).sum(axis=0), 1.0)).sum()
        expected = hypothesis.log_prob / ((5 + length) / 6) ** 0.8 + coverage
        assert hypothesis.score == pytest.approx(expected, rel=1e-6)


def test_a_model_without_finite_probabilities_is_an_error() -> None:
    with pytest.raises(DecodingError):
        decode(ScriptedBackend(lambda source, target: {"a": math.nan}), [make_job("x")], IDS)


def test_no_jobs_give_no_results() -> None:
    assert decode(ScriptedBackend(copying), [], IDS) == []
