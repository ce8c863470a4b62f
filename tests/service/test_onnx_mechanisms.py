"""The onnxruntime backend on graphs with two attention mechanisms and alignments in the decoder's state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.bundle.reader import read_bundle
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions
from service.errors import BundleError
from service.onnx_backend import BackendOptions, OnnxBackend, load_backend
from tests.service.tiny_bundle import make_weights, numpy_encode, vocabulary_size
from tests.service.two_mechanisms import DECODER_STEP, make_manifest, numpy_step, write_two_mechanisms

SOURCES = ([5, 9, 12, 2], [7, 2], [20, 6, 5, 30, 11, 8, 2])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_mechanisms(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def backend(directory: Path) -> OnnxBackend:
    return load_backend(read_bundle(directory), BackendOptions("cpu"))


@pytest.mark.parametrize("beam_size", [1, 4])
def test_search_gives_every_mechanism_its_matrix(backend: OnnxBackend, directory: Path, beam_size: int) -> None:
    options = DecodingOptions(beam_size=beam_size, num_hypotheses=beam_size, max_decoding_length=9)
    jobs = [DecodingJob(tuple(source), options) for source in SOURCES]
    weights, ids = make_weights(), read_bundle(directory).manifest.special_ids
    for source, hypotheses in zip(SOURCES, decode(backend, jobs, ids), strict=True):
        keys, values, hidden = numpy_encode(weights, source)
        for hypothesis in hypotheses:
            state = [hidden, np.eye(len(source))[0]]
            [other] = hypothesis.other_attentions
            for step, token in enumerate((ids.bos, *hypothesis.target_ids[:-1])):
                log_probs, expected, state = numpy_step(weights, token, (keys, values), state)
                found = [hypothesis.attention[step], other[step]]
                np.testing.assert_allclose(found, expected, atol=1e-5)
                expected_log_prob = log_probs[hypothesis.target_ids[step]]
                assert hypothesis.token_log_probs[step] == pytest.approx(expected_log_prob, abs=1e-4)
            assert other.shape == hypothesis.attention.shape
            assert (other.sum(axis=1) <= 1 + 1e-6).all()


def test_a_sentence_is_decoded_beside_longer_ones_as_alone(backend: OnnxBackend, directory: Path) -> None:
    ids = read_bundle(directory).manifest.special_ids
    options = DecodingOptions(beam_size=3, num_hypotheses=3, max_decoding_length=9, coverage_penalty=0.2)
    jobs = [DecodingJob(tuple(source), options) for source in SOURCES]
    for job, together in zip(jobs, decode(backend, jobs, ids), strict=True):
        [alone] = decode(backend, [job], ids)
        assert [each.target_ids for each in together] == [each.target_ids for each in alone]
        for one, other in zip(together, alone, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            np.testing.assert_allclose(one.other_attentions, other.other_attentions, atol=1e-5)


def load_failure(directory: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        load_backend(read_bundle(directory), BackendOptions("cpu"))
    return caught.value


def test_a_graph_with_another_number_of_mechanisms_is_named(tmp_path: Path) -> None:
    three = DECODER_STEP.replace("[rows, 2, source_len]", "[rows, 3, source_len]").replace(
        "(primary_row, other_row)", "(primary_row, other_row, other_row)"
    )
    error = load_failure(write_two_mechanisms(tmp_path / "tiny", three))
    assert (Path(error.file).name, error.field) == ("decoder_step.fp32.onnx", "outputs.attention_weights")


def test_a_graph_that_leaves_their_number_open_is_tried(tmp_path: Path) -> None:
    as_many_as_candidates = DECODER_STEP.replace("[rows, 2, source_len]", "[rows, mechanisms, source_len]").replace(
        "attention_weights = Concat <axis = 1> (primary_row, other_row)",
        """repeats = Concat <axis = 0> (middle, num_candidates, middle)
           attention_weights = Tile (primary_row, repeats)""",
    )
    error = load_failure(write_two_mechanisms(tmp_path / "tiny", as_many_as_candidates))
    assert (Path(error.file).name, error.field) == ("decoder_step.fp32.onnx", "attention_weights")
    assert error.problem == f"has the shape (1, {vocabulary_size()}, 1) for one token, expected (1, 2, 1)"


def test_the_bundle_names_its_mechanisms(directory: Path) -> None:
    mechanisms = read_bundle(directory).manifest.attention_mechanisms
    declared = [(each["name"], each["normalized"]) for each in make_manifest()["mechanisms"]]
    assert [(each.name, each.normalized) for each in mechanisms] == declared
