"""16-bit graphs: what they hold, what they give, and what of it is rounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from model_export.evaluation import decode_by_length
from model_export.export import GRAPH_NAMES
from model_export.half_precision import to_half_precision
from service.bundle.reader import read_bundle
from service.decoding.backend import Seq2SeqBackend
from service.domain import DecodingJob, DecodingOptions
from service.onnx_backend import BackendOptions, OnnxBackend, load_backend, session_options
from tests.model_export.rounded_graphs import with_rounded_results
from tests.model_export.test_graphs import Arrays, ExportedModel, each_architecture, exported, rows_of, run
from tests.model_export.tiny_models import SOURCE_IDS, SOURCE_LENGTHS, TARGET_INPUTS
from tests.reversing_task import random_sentences

Change = Callable[[onnx.ModelProto], onnx.ModelProto]

IN_FLOAT32 = {"Softmax", "LogSoftmax", "TopK", "GatherND", "Log", "Exp", "Softplus", "CumSum", "Div", "ReduceSum"}


def as_it_is(graph: onnx.ModelProto) -> onnx.ModelProto:
    return graph


def session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), session_options(1), ["CPUExecutionProvider"])


def kinds_of(model: onnx.ModelProto) -> dict[str, int]:
    """Element types of all tensors, by name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return constants | {value.name: value.type.tensor_type.elem_type for value in values}


# --- What they hold ---------------------------------------------------------------------------------------------


@each_architecture
def test_inputs_outputs_and_metadata_are_those_of_fp32(name: str) -> None:
    for graph in exported(name).graphs:
        half = to_half_precision(graph)
        assert list(half.graph.input) == list(graph.graph.input)
        assert list(half.graph.output) == list(graph.graph.output)
        assert list(half.metadata_props) == list(graph.metadata_props)


@each_architecture
def test_products_are_in_16_bits_and_what_is_delicate_is_not(name: str) -> None:
    for graph in exported(name).graphs:
        half = to_half_precision(graph)
        kinds = kinds_of(half)
        for node in half.graph.node:
            found = {kinds[each] for each in (*node.input, *node.output) if each in kinds}
            if node.op_type in {"MatMul", "GRU", "LSTM"}:
                assert found & {TensorProto.FLOAT16, TensorProto.FLOAT} == {TensorProto.FLOAT16}, node.name
            if node.op_type in IN_FLOAT32:
                assert TensorProto.FLOAT16 not in found, node.name


@each_architecture
def test_matrices_are_stored_once_and_in_16_bits(name: str) -> None:
    for graph in exported(name).graphs:
        half = to_half_precision(graph)
        matrices = [tensor for tensor in half.graph.initializer if len(tensor.dims) > 1 and np.prod(tensor.dims) > 11]
        assert {tensor.data_type for tensor in matrices} == {TensorProto.FLOAT16}
        read = {each for node in half.graph.node for each in node.input}
        assert {tensor.name for tensor in half.graph.initializer} <= read


# --- What they give ---------------------------------------------------------------------------------------------


def step_through(model: ExportedModel, change: Change) -> list[Arrays]:
    """The encoder's outputs, and those of every step along fixed targets, each with all candidates in order of ids."""
    encoder, step = (session(change(graph)) for graph in model.graphs)
    encoded = run(encoder, {"source_ids": SOURCE_IDS, "source_lengths": SOURCE_LENGTHS})
    rows, outputs = rows_of(model, encoded), [encoded]
    state = rows.state
    for tokens in TARGET_INPUTS.T:
        feeds = {
            "input_ids": np.ascontiguousarray(tokens),
            "forced_ids": np.ascontiguousarray(tokens),
            "num_candidates": np.array([model.config.vocabulary_size], dtype=np.int64),
            "source_mask": rows.source_mask,
            **dict(zip(model.tensors.memory_names, rows.memory, strict=True)),
            **dict(zip(model.tensors.state_names, state, strict=True)),
        }
        found = run(step, feeds)
        state = model.next_state(found)
        order = np.argsort(found.pop("candidate_ids"), axis=1)
        found["candidate_log_probs"] = np.take_along_axis(found["candidate_log_probs"], order, axis=1)
        outputs.append(found)
    return outputs


@each_architecture
@pytest.mark.parametrize(
    "change", [to_half_precision, lambda graph: with_rounded_results(to_half_precision(graph))], ids=["cpu", "rounded"]
)
def test_results_are_those_of_fp32_but_for_rounding(name: str, change: Change) -> None:
    model = exported(name)
    pairs = zip(step_through(model, change), step_through(model, as_it_is), strict=True)
    for found, expected in pairs:
        for output, reference in expected.items():
            np.testing.assert_allclose(found[output], reference, atol=0.02, err_msg=output)


@each_architecture
def test_log_probabilities_and_attention_are_not_rounded(name: str) -> None:
    model = exported(name)
    for step in step_through(model, lambda graph: with_rounded_results(to_half_precision(graph)))[1:]:
        log_probs, attention = step["candidate_log_probs"], step["attention_weights"]
        np.testing.assert_allclose(np.exp(log_probs.astype(np.float64)).sum(axis=1), 1, atol=1e-6)
        assert (log_probs != log_probs.astype(np.float16)).mean() > 0.9
        assert attention.sum(axis=-1).max() <= 1 + 1e-6


def test_a_trained_model_writes_what_it_writes_in_32_bits(reversing_bundle: Path) -> None:
    bundle = read_bundle(reversing_bundle)
    sessions = []
    for graph in GRAPH_NAMES:
        rounded = with_rounded_results(to_half_precision(onnx.load(reversing_bundle / f"{graph}.fp32.onnx")))
        sessions.append(session(rounded))
    half = OnnxBackend(*sessions, bundle.manifest, "cpu", "fp16")
    full = load_backend(bundle, BackendOptions("cpu", "fp32"))
    sources = [[*bundle.tokenizer.encode_ids(text), bundle.tokenizer.eos_id] for text in random_sentences(100, seed=5)]

    def decode(backend: Seq2SeqBackend) -> list[tuple[int, ...]]:
        jobs = [DecodingJob(tuple(source), DecodingOptions(beam_size=1)) for source in sources]
        return [best.target_ids for [best] in decode_by_length(backend, jobs, bundle.manifest.special_ids, "greedy")]

    same = [one == other for one, other in zip(decode(half), decode(full), strict=True)]
    assert np.mean(same) >= 0.95


# --- Rules, on small graphs -------------------------------------------------------------------------------------


def half_of(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]>\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return to_half_precision(model)


def operations(model: onnx.ModelProto) -> list[str]:
    kinds = kinds_of(model)
    return [f"{node.op_type}{'16' * (kinds[node.output[0]] == TensorProto.FLOAT16)}" for node in model.graph.node]


KERNEL = np.eye(3, dtype=np.float32)


def test_what_lies_between_two_products_is_in_16_bits_and_what_follows_the_last_is_not() -> None:
    half = half_of(
        """chain (float[n, 3] x) => (float[n, 3] y) {
             a = MatMul (x, kernel)
             b = Tanh (a)
             c = MatMul (b, kernel)
             y = Tanh (c)
           }""",
        kernel=KERNEL,
    )
    assert operations(half) == ["Cast16", "MatMul16", "Tanh16", "MatMul16", "Cast", "Tanh"]


def test_what_leads_to_a_logarithm_is_in_32_bits() -> None:
    half = half_of(
        """chain (float[n, 3] x) => (float[n, 3] y) {
             a = MatMul (x, kernel)
             b = Sigmoid (a)
             c = Sub (one, b)
             d = Log (c)
             y = MatMul (d, kernel)
           }""",
        kernel=KERNEL,
        one=np.ones(1, dtype=np.float32),
    )
    assert operations(half) == ["Cast16", "MatMul16", "Cast", "Sigmoid", "Sub", "Log", "Cast16", "MatMul16", "Cast"]


def test_a_tensor_is_cast_once_however_many_read_it() -> None:
    half = half_of(
        """chain (float[n, 3] x) => (float[n, 3] y, float[n, 3] z) {
             a = MatMul (x, kernel)
             b = MatMul (x, kernel)
             y = Softmax (a)
             c = Log (a)
             z = Add (b, c)
           }""",
        kernel=KERNEL,
    )
    assert operations(half) == ["Cast16", "MatMul16", "Cast", "MatMul16", "Cast", "Softmax", "Log", "Add"]


def test_weights_beyond_the_range_become_its_ends() -> None:
    half = half_of(
        "product (float[n, 3] x) => (float[n, 3] y) { y = MatMul (x, kernel) }",
        kernel=KERNEL * np.array([1e6, -1e6, 2], dtype=np.float32),
    )
    [kernel] = half.graph.initializer
    np.testing.assert_array_equal(np.diag(numpy_helper.to_array(kernel)), np.array([65504, -65504, 2], np.float16))


def test_what_a_loop_reads_from_outside_stays_there_in_32_bits() -> None:
    half = half_of(
        """chain (float[2, 3] x, int64 count, bool more) => (float[2, 3] y) {
             a = MatMul (x, kernel)
             y = Loop (count, more, x) <body = step (int64 i, bool go, float[2, 3] before)
               => (bool going, float[2, 3] after) { going = Identity (go) after = Add (before, a) }>
           }""",
        kernel=KERNEL,
    )
    feeds = {"x": np.ones((2, 3), np.float32), "count": np.array(3), "more": np.array(True)}
    np.testing.assert_array_equal(session(half).run(["y"], feeds)[0], np.full((2, 3), 4, np.float32))
