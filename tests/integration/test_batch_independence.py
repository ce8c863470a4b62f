"""What the shipped model answers for a sentence does not depend on what else is in the batch, in int8 too."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import service
from service.bundle.reader import Bundle, read_bundle
from service.decoding.search import SearchBatch, decode
from service.domain import DecodingJob, DecodingOptions, Hypothesis
from service.onnx_backend import BackendOptions, OnnxBackend, load_backend

SENTENCES = [
    "I like tea.",
    "Where is the station?",
    "She said that she would come back as soon as the rain had stopped, but nobody believed her.",
    "No.",
    "We have been waiting for you since eight o'clock this morning.",
    "Tom didn't know what to say when Mary asked him why he had left the door open all night long.",
    "The cat is asleep.",
    "Could you tell me how much this costs?",
]
KINDS = [
    DecodingOptions(beam_size=1),
    DecodingOptions(beam_size=4, num_hypotheses=4),
    DecodingOptions(beam_size=2, coverage_penalty=0.3, no_repeat_ngram_size=2),
    DecodingOptions(beam_size=1, sampling_top_k=5, seed=3, num_hypotheses=3, num_alternatives=3),
    DecodingOptions(beam_size=3, num_hypotheses=3, search_mode="tfa", coverage_penalty=0.2, length_penalty=0.6),
    DecodingOptions(beam_size=7, repetition_penalty=1.3, min_decoding_length=6),
]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(Path(service.__file__).parent / "models" / "eng-fra")


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> OnnxBackend:
    return load_backend(bundle, BackendOptions("cpu"))


@pytest.fixture(scope="module")
def jobs(bundle: Bundle) -> list[DecodingJob]:
    ends = (bundle.manifest.special_ids.eos,)
    sources = [(*bundle.tokenizer.encode_ids(sentence), *ends) for sentence in SENTENCES]
    return [DecodingJob(source, kind) for kind in KINDS for source in sources]


@pytest.fixture(scope="module")
def alone(bundle: Bundle, backend: OnnxBackend, jobs: list[DecodingJob]) -> list[tuple[Hypothesis, ...]]:
    return [decode(backend, [job], bundle.manifest.special_ids)[0] for job in jobs]


@pytest.mark.parametrize("seed", range(3))
def test_random_arrivals_change_no_token_and_no_score(
    bundle: Bundle, backend: OnnxBackend, jobs: list[DecodingJob], alone: list[tuple[Hypothesis, ...]], seed: int
) -> None:
    chance = random.Random(seed)
    batch = SearchBatch(backend, bundle.manifest.special_ids)
    waiting = chance.sample(range(len(jobs)), len(jobs))
    numbers: dict[int, int] = {}
    results: dict[int, tuple[Hypothesis, ...]] = {}
    while waiting or len(batch):
        if waiting and chance.random() < 0.5:
            group = [waiting.pop() for _ in range(min(len(waiting), chance.randint(1, 6)))]
            numbers.update(zip(batch.admit([jobs[index] for index in group]), group, strict=True))
        for number, outcome in batch.step().items():
            assert isinstance(outcome, tuple)
            results[numbers[number]] = outcome
    for index, expected in enumerate(alone):
        for one, other in zip(results[index], expected, strict=True):
            assert one.target_ids == other.target_ids
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)
            np.testing.assert_allclose(one.token_log_probs, other.token_log_probs, atol=1e-5)
            np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)


@pytest.mark.parametrize("padding", [1, 3, 17])
def test_padding_changes_no_bit(backend: OnnxBackend, jobs: list[DecodingJob], padding: int) -> None:
    for job in jobs[: len(SENTENCES)]:
        length = len(job.source_ids)
        exact = np.array([job.source_ids], dtype=np.int32)
        padded = np.pad(exact, [(0, 0), (0, padding)])
        rows = [backend.encode(each, np.array([length], dtype=np.int32)) for each in (exact, padded)]
        for one, other in zip(rows[0].memory, rows[1].memory, strict=True):
            np.testing.assert_array_equal(one, other[:, :length])
        tokens = exact[:, 0].copy()
        short, wide = (backend.decode_step(tokens, each, tokens, 5) for each in rows)
        np.testing.assert_array_equal(short.attention_weights, wide.attention_weights[..., :length])
        for one, other in zip(short.state, wide.state, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(short.candidate_log_probs, wide.candidate_log_probs)
