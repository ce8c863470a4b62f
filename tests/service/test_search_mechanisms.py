"""Search with several attention mechanisms, and with mechanisms that remember their last alignments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.decoding.backend import DecoderRows, StepOutput
from service.decoding.search import decode
from service.domain import IntArray
from tests.service.scripted_backend import (
    FIRST_LETTER,
    IDS,
    ScriptedBackend,
    assert_same,
    attention_row,
    decode_letters,
    encode_letters,
    make_job,
    random_model,
    texts,
)

PAUSE = "z"
PAUSE_PROBABILITY = 0.4


class PointingBackend:
    """Writes the source letter that a pointer stands on, or a pause; a letter moves the pointer on, a pause does not.

    The decoder's state is the pointer alone: the last alignments (rows, source_len), as in a hard monotonic mechanism.
    """

    vocabulary_size = FIRST_LETTER + 26

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        mask = np.arange(source_ids.shape[1]) < source_lengths[:, None]
        memory = np.where(mask, source_ids, -7).astype(np.float32)[:, :, None]  # padding holds nonsense
        pointer = np.zeros(source_ids.shape, dtype=np.float32)
        pointer[:, 0] = 1
        return DecoderRows(memory=(memory,), source_mask=mask, state=(pointer,))

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        [pause] = encode_letters(PAUSE)
        moves = (input_ids != IDS.bos) & (input_ids != pause)
        [pointer] = rows.state
        pointer = np.where(moves[:, None], np.roll(pointer, 1, axis=1), pointer)
        letters = (pointer * rows.memory[0][:, :, 0]).sum(axis=1).astype(np.int64)  # (rows,)
        log_probs = np.full((len(input_ids), self.vocabulary_size), -np.inf, dtype=np.float32)
        log_probs[:, pause] = math.log(PAUSE_PROBABILITY)
        log_probs[np.arange(len(input_ids)), letters] = math.log(1 - PAUSE_PROBABILITY)
        candidates = np.argsort(-log_probs, axis=1, kind="stable")[:, :num_candidates]
        return StepOutput(
            candidate_ids=candidates.astype(np.int32),
            candidate_log_probs=np.take_along_axis(log_probs, candidates, axis=1),
            forced_log_probs=log_probs[np.arange(len(input_ids)), forced_ids],
            attention_weights=pointer[:, np.newaxis],
            state=(pointer,),
        )


@pytest.mark.parametrize("beam_size", [1, 3, 6])
def test_alignments_in_the_state_follow_their_hypotheses(beam_size: int) -> None:
    source = "abc"
    [hypotheses] = decode(
        PointingBackend(), [make_job(source, beam_size=beam_size, num_hypotheses=beam_size, max_decoding_length=7)], IDS
    )
    assert texts(hypotheses)[0] == "abc."
    assert len(set(texts(hypotheses))) == beam_size
    for hypothesis in hypotheses:
        target = decode_letters(hypothesis.target_ids)
        assert target.replace(PAUSE, "") == "abc."
        places = [len(target[:step].replace(PAUSE, "")) for step in range(len(target))]
        np.testing.assert_array_equal(hypothesis.attention, np.eye(4)[places])
        pauses = target.count(PAUSE)
        assert hypothesis.log_prob == pytest.approx(4 * math.log(0.6) + pauses * math.log(0.4))


@pytest.mark.parametrize("beam_size", [1, 4])
def test_alignments_in_the_state_are_the_same_in_a_batch_and_alone(beam_size: int) -> None:
    jobs = [
        make_job(source, beam_size=beam_size, num_hypotheses=beam_size, coverage_penalty=0.3)
        for source in ("ab", "abcdefgh", "c", "bca")
    ]
    together = decode(PointingBackend(), jobs, IDS)
    for job, hypotheses in zip(jobs, together, strict=True):
        [alone] = decode(PointingBackend(), [job], IDS)
        assert_same(hypotheses, alone)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_every_mechanism_has_its_attention_in_order(beam_size: int) -> None:
    backend = ScriptedBackend(random_model(".abcde", seed=11), mechanisms=3)
    [hypotheses] = decode(backend, [make_job("wxyz", beam_size=beam_size, num_hypotheses=beam_size)], IDS)
    for hypothesis in hypotheses:
        target = decode_letters(hypothesis.target_ids)
        attentions = (hypothesis.attention, *hypothesis.other_attentions)
        assert len(attentions) == 3
        for mechanism, attention in enumerate(attentions):
            expected = np.stack([attention_row("wxyz", target[:step], mechanism) for step in range(len(target))])
            np.testing.assert_array_equal(attention, expected)


def test_one_mechanism_has_no_others() -> None:
    [[hypothesis]] = decode(ScriptedBackend(random_model(".ab")), [make_job("xy")], IDS)
    assert hypothesis.other_attentions == ()


def test_several_mechanisms_give_batched_what_they_give_singly() -> None:
    model = random_model(".abcdef", seed=5)
    jobs = [make_job(source, beam_size=3, num_hypotheses=3, coverage_penalty=0.2) for source in ("u", "uvwxyz", "vu")]
    together = decode(ScriptedBackend(model, mechanisms=2), jobs, IDS)
    for job, hypotheses in zip(jobs, together, strict=True):
        [alone] = decode(ScriptedBackend(model, mechanisms=2), [job], IDS)
        assert_same(hypotheses, alone)
        assert hypotheses[0].other_attentions[0].shape == hypotheses[0].attention.shape


def test_coverage_is_that_of_the_mean_over_the_mechanisms() -> None:
    job = make_job("xy", beam_size=4, num_hypotheses=4, length_penalty=0.8, coverage_penalty=0.4)
    [hypotheses] = decode(ScriptedBackend(random_model(".abc", seed=21), mechanisms=2), [job], IDS)
    for hypothesis in hypotheses:
        [other] = hypothesis.other_attentions
        mean = (hypothesis.attention.astype(np.float64) + other) / 2
        coverage = 0.4 * np.log(np.minimum(mean.sum(axis=0), 1.0)).sum()
        expected = hypothesis.log_prob / ((5 + len(hypothesis.target_ids)) / 6) ** 0.8 + coverage
        assert hypothesis.score == pytest.approx(expected, rel=1e-6)
