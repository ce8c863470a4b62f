"""The Keras model behind the search protocol: the same numbers as the model itself gives."""

from __future__ import annotations

import numpy as np
import pytest

from model_export.keras_backend import KerasBackend
from service.decoding.backend import DecoderRows
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, SpecialIds
from tests.model_export.tiny_models import SOURCE_IDS, SOURCE_LENGTHS, TARGET_INPUTS, forward, tiny_config, tiny_model

CONFIG = tiny_config(cell="lstm", decoder_layers=2)
IDS = SpecialIds(pad=0, bos=1, eos=2, unk=3)


@pytest.fixture(scope="module")
def backend() -> KerasBackend:
    return KerasBackend(tiny_model(CONFIG))


def test_it_knows_its_vocabulary(backend: KerasBackend) -> None:
    assert backend.vocabulary_size == 11


def test_rows_are_plain_arrays(backend: KerasBackend) -> None:
    rows = backend.encode(SOURCE_IDS, SOURCE_LENGTHS)
    assert rows.source_mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4]
    assert [array.shape for array in rows.memory] == [(3, 5, 6), (3, 5, 6)]
    assert [array.shape for array in rows.state] == [(3, 6)] * 4 + [(3, 5)]
    assert {array.dtype.name for array in (*rows.memory, *rows.state)} == {"float32"}


def test_forced_log_probs_are_those_of_teacher_forcing(backend: KerasBackend) -> None:
    logits = forward(tiny_model(CONFIG), SOURCE_IDS, SOURCE_LENGTHS, TARGET_INPUTS)
    log_probs = np.log(np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))
    rows = backend.encode(SOURCE_IDS, SOURCE_LENGTHS)
    for position in range(3):
        wanted = TARGET_INPUTS[:, position + 1]
        output = backend.decode_step(TARGET_INPUTS[:, position], rows, wanted, 3)
        expected = [log_probs[row, position, token] for row, token in enumerate(wanted)]
        np.testing.assert_allclose(output.forced_log_probs, expected, atol=1e-5)
        order = np.argsort(-log_probs[:, position], axis=-1)[:, :3]
        np.testing.assert_array_equal(output.candidate_ids, order)
        np.testing.assert_allclose(
            output.candidate_log_probs, np.take_along_axis(log_probs[:, position], order, axis=-1), atol=1e-5
        )
        rows = DecoderRows(rows.memory, rows.source_mask, output.state)


def test_rows_can_be_selected(backend: KerasBackend) -> None:
    rows = backend.encode(SOURCE_IDS, SOURCE_LENGTHS)
    order = np.array([1, 1, 0], dtype=np.int32)
    tokens = np.array([1, 1, 1], dtype=np.int32)
    straight = backend.decode_step(tokens, rows, tokens, 11)
    selected = backend.decode_step(tokens, rows.select(order), tokens, 11)
    np.testing.assert_allclose(selected.attention_weights, straight.attention_weights[order], atol=1e-6)
    np.testing.assert_allclose(selected.candidate_log_probs, straight.candidate_log_probs[order], atol=1e-5)


def test_search_gives_a_sentence_the_same_alone_and_in_a_batch(backend: KerasBackend) -> None:
    sources = [(4, 9, 5, 7, 2), (6, 8, 2), (5, 2)]
    options = DecodingOptions(beam_size=2, max_decoding_length=6)
    jobs = [DecodingJob(source, options) for source in sources]
    together = decode(backend, jobs, IDS)
    for job, hypotheses in zip(jobs, together, strict=True):
        ((alone,),) = decode(backend, [job], IDS)
        assert alone.target_ids == hypotheses[0].target_ids
        assert alone.log_prob == pytest.approx(hypotheses[0].log_prob, abs=1e-5)
        np.testing.assert_allclose(alone.attention, hypotheses[0].attention, atol=1e-5)
        assert alone.attention.shape == (len(alone.target_ids), len(job.source_ids))
