"""The onnxruntime backend on tiny graphs, compared with the same model in numpy."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

from service.bundle.reader import read_bundle
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, Hypothesis
from service.errors import BundleError
from service.onnx_backend import (
    BackendOptions,
    OnnxBackend,
    load_backend,
    session_options,
)
from tests.service.tiny_bundle import (
    DECODER_STEP,
    ENCODER,
    make_graph,
    make_weights,
    numpy_encode,
    numpy_step,
    vocabulary_size,
    write_bundle,
    write_manifest,
)

SOURCES = ([5, 9, 12, 2], [7, 2], [20, 6, 5, 30, 11, 8, 2])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def backend(directory: Path) -> OnnxBackend:
    return load_backend(read_bundle(directory), BackendOptions("cpu"))


def padded(sources: tuple[list[int], ...]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(source) for source in sources], dtype=np.int32)
    ids = np.zeros((len(sources), lengths.max()), dtype=np.int32)
    for row, source in zip(ids, sources, strict=True):
        row[: len(source)] = source
    return ids, lengths


def test_encode_gives_memory_state_and_mask(backend: OnnxBackend) -> None:
    rows = backend.encode(*padded(SOURCES))
    np.testing.assert_array_equal(rows.source_mask.sum(axis=1), [4, 2, 7])
    for row, source in enumerate(SOURCES):
        keys, values, state = numpy_encode(make_weights(), source)
        np.testing.assert_allclose(rows.memory[0][row, : len(source)], keys, atol=1e-5)
        np.testing.assert_allclose(rows.memory[1][row, : len(source)], values, atol=1e-5)
        np.testing.assert_allclose(rows.state[0][row], state, atol=1e-5)
        assert not rows.memory[1][row, len(source) :].any()


def test_a_step_gives_the_best_tokens_attention_and_the_next_state(backend: OnnxBackend) -> None:
    rows = backend.encode(*padded(SOURCES))
    forced = np.array([4, 5, 6], dtype=np.int32)
    output = backend.decode_step(np.array([1, 8, 9], dtype=np.int32), rows, forced, num_candidates=5)
    assert output.candidate_ids.dtype == np.int32
    assert output.attention_weights.shape == (3, 1, 7)
    for row, (source, token) in enumerate(zip(SOURCES, (1, 8, 9), strict=True)):
        keys, values, state = numpy_encode(make_weights(), source)
        log_probs, attention, next_state = numpy_step(make_weights(), token, (keys, values), state)
        best = np.argsort(-log_probs)[:5]
        np.testing.assert_array_equal(output.candidate_ids[row], best)
        np.testing.assert_allclose(output.candidate_log_probs[row], log_probs[best], atol=1e-5)
        assert output.forced_log_probs[row] == pytest.approx(log_probs[forced[row]], abs=1e-5)
        np.testing.assert_allclose(output.attention_weights[row, 0, : len(source)], attention, atol=1e-6)
        assert not output.attention_weights[row, 0, len(source) :].any()
        np.testing.assert_allclose(output.state[0][row], next_state, atol=1e-5)


def make_jobs(beam_size: int) -> list[DecodingJob]:
    options = DecodingOptions(beam_size=beam_size, num_hypotheses=beam_size, max_decoding_length=12)
    return [DecodingJob(tuple(source), options) for source in SOURCES]


def assert_close(left: tuple[Hypothesis, ...], right: tuple[Hypothesis, ...]) -> None:
    assert [hypothesis.target_ids for hypothesis in left] == [hypothesis.target_ids for hypothesis in right]
    for one, other in zip(left, right, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)
        np.testing.assert_allclose(one.attention.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_search_gives_batched_what_it_gives_singly(backend: OnnxBackend, directory: Path, beam_size: int) -> None:
    ids = read_bundle(directory).manifest.special_ids
    together = decode(backend, make_jobs(beam_size), ids)
    for job, hypotheses in zip(make_jobs(beam_size), together, strict=True):
        assert_close(hypotheses, decode(backend, [job], ids)[0])


def test_one_backend_serves_several_threads(backend: OnnxBackend, directory: Path) -> None:
    ids = read_bundle(directory).manifest.special_ids
    expected = decode(backend, make_jobs(3), ids)
    with ThreadPoolExecutor(max_workers=4) as pool:
        results = list(pool.map(lambda _: decode(backend, make_jobs(3), ids), range(12)))
    for result in results:
        for one, other in zip(result, expected, strict=True):
            assert_close(one, other)


def test_the_backend_says_what_it_runs_on(backend: OnnxBackend) -> None:
    assert (backend.provider, backend.precision, backend.vocabulary_size) == ("cpu", "fp32", vocabulary_size())


def load_failure(directory: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        load_backend(read_bundle(directory), BackendOptions("cpu"))
    assert "\n" not in str(caught.value)
    return caught.value


def replace_graph(source: Path, target: Path, name: str, graph: onnx.ModelProto) -> Path:
    """A copy of a bundle with another graph and matching hashes."""
    shutil.copytree(source, target)
    onnx.save(graph, target / name)
    write_manifest(target, json.loads((target / "manifest.json").read_text()))
    return target


METADATA = {"vocabulary_size": str(vocabulary_size())}
CHANGED_ENCODERS = {
    "inputs": (ENCODER.replace("source_lengths", "lengths"), "inputs"),
    "outputs": (ENCODER.replace("initial_state_0", "first_state"), "outputs"),
    "width": (ENCODER.replace("UNITS] memory_keys", "5] memory_keys"), "outputs.memory_keys"),
    "rank": (
        ENCODER.replace("[batch, UNITS] initial", "[1, batch, UNITS] initial").replace(
            "Squeeze (last, direction_axis)", "Identity (last)"
        ),
        "outputs.initial_state_0",
    ),
}
CHANGED_STEPS = {
    "dtype": (
        DECODER_STEP.replace("<to = 6>", "<to = 7>").replace("int32[rows, candidates]", "int64[rows, candidates]"),
        "outputs.candidate_ids",
    ),
    "rank": (
        DECODER_STEP.replace("float[rows] forced_log", "float[rows, 1] forced_log").replace(
            "Squeeze (found, last_axis)", "Identity (found)"
        ),
        "outputs.forced_log_probs",
    ),
}


def test_a_graph_that_is_none_is_named(directory: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "tiny"))
    (copy / "encoder.fp32.onnx").write_bytes(b"nonsense")
    write_manifest(copy, json.loads((copy / "manifest.json").read_text()))
    error = load_failure(copy)
    assert (error.file, error.field) == (str(copy / "encoder.fp32.onnx"), "graph")
    assert "cannot be loaded" in error.problem


@pytest.mark.parametrize("case", CHANGED_ENCODERS)
def test_an_encoder_that_breaks_the_contract_is_named(directory: Path, tmp_path: Path, case: str) -> None:
    text, field = CHANGED_ENCODERS[case]
    weights = make_weights()
    if case == "width":
        weights["key_kernel"] = weights["key_kernel"][:, :5]
    graph = make_graph(text, weights, METADATA)
    error = load_failure(replace_graph(directory, tmp_path / "tiny", "encoder.fp32.onnx", graph))
    assert (Path(error.file).name, error.field) == ("encoder.fp32.onnx", field)


@pytest.mark.parametrize("case", CHANGED_STEPS)
def test_a_step_that_breaks_the_contract_is_named(directory: Path, tmp_path: Path, case: str) -> None:
    text, field = CHANGED_STEPS[case]
    graph = make_graph(text, make_weights(), METADATA)
    error = load_failure(replace_graph(directory, tmp_path / "tiny", "decoder_step.fp32.onnx", graph))
    assert (Path(error.file).name, error.field) == ("decoder_step.fp32.onnx", field)


@pytest.mark.parametrize(
    ("metadata", "problem"), [({}, "is missing"), ({"vocabulary_size": "7"}, "is 7; manifest.json says")]
)
def test_a_graph_made_for_another_vocabulary_is_named(
    directory: Path, tmp_path: Path, metadata: dict[str, str], problem: str
) -> None:
    graph = make_graph(ENCODER, make_weights(), metadata)
    error = load_failure(replace_graph(directory, tmp_path / "tiny", "encoder.fp32.onnx", graph))
    assert error.field == "metadata.vocabulary_size"
    assert problem in error.problem


@pytest.mark.parametrize(
    ("name", "text", "field"),
    [("encoder.fp32.onnx", ENCODER, "source_ids"), ("decoder_step.fp32.onnx", DECODER_STEP, "candidate_ids")],
)
def test_a_graph_whose_vocabulary_is_smaller_than_it_says_is_named(
    directory: Path, tmp_path: Path, name: str, text: str, field: str
) -> None:
    graph = make_graph(text, make_weights(size=vocabulary_size() - 1), METADATA)
    error = load_failure(replace_graph(directory, tmp_path / "tiny", name, graph))
    assert (Path(error.file).name, error.field) == (name, field)


def test_eight_bit_weights_in_front_of_a_recurrent_node_are_expanded_at_load(tmp_path: Path) -> None:
    text = """
    <ir_version: 9, opset_import: ["" : 17]>
    recurrent (float[steps, batch, 5] inputs) => (float[steps, 1, batch, 6] outputs)
    {
      weights = DequantizeLinear (quantized, scale)
      outputs = GRU <hidden_size = 6> (inputs, weights, gru_recurrent)
    }
    """
    weights = make_weights()
    scale = np.float32(np.abs(weights["gru_input"]).max() / 127)
    weights["quantized"] = np.round(weights["gru_input"] / scale).astype(np.int8)
    weights["scale"] = np.array(scale)
    source, optimized = tmp_path / "source.onnx", tmp_path / "optimized.onnx"
    onnx.save(make_graph(text, weights, {}), source)
    options = session_options(1)
    options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(optimized).graph
    assert [node.op_type for node in graph.node] == ["GRU"]
    expanded = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}[graph.node[0].input[1]]
    np.testing.assert_allclose(expanded, weights["quantized"] * scale, rtol=1e-6)
    assert session.run(None, {"inputs": np.ones((3, 2, 5), dtype=np.float32)})[0].shape == (3, 1, 2, 6)
