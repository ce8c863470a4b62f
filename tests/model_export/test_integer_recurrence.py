"""Recurrent nodes in 8 bits: those that run as a loop of integer products, and those that stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

from model_export.quantization import quantize
from service.onnx_backend import session_options

FloatArray = npt.NDArray[np.float32]

UNITS, DEPTH, SOURCE_LEN = 24, 16, 6
LENGTHS = np.array([6, 1, 4, 2, 6], dtype=np.int32)
DIRECTIONS = {"forward": 1, "bidirectional": 2}
LOOP = "linear_before_reset = 1"


def normal(*shape: int, seed: int) -> FloatArray:
    return (0.4 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def recurrent_graph(
    operation: str = "GRU",
    direction: str = "forward",
    attributes: str = LOOP,
    operands: str = "kernel, recurrent, bias, lengths",
    prepared: str = "a = Tanh (x)",
) -> onnx.ModelProto:
    count, gates = DIRECTIONS[direction], {"GRU": 3, "LSTM": 4}[operation]
    more = f", {attributes}" if attributes else ""
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]>
        graph (float[S, B, {DEPTH}] x, int32[B] lengths) => (float[S, {count}, B, {UNITS}] y) {{
            {prepared}
            y = {operation} <hidden_size = {UNITS}, direction = "{direction}"{more}> (a, {operands})
        }}"""
    )
    constants = {
        "kernel": normal(count, gates * UNITS, DEPTH, seed=1),
        "recurrent": normal(count, gates * UNITS, UNITS, seed=2),
        "bias": normal(count, 2 * gates * UNITS, seed=3),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return model


def run(model: onnx.ModelProto, x: FloatArray, lengths: npt.NDArray[np.int32]) -> FloatArray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options(1), ["CPUExecutionProvider"])
    [found] = session.run(None, {"x": x, "lengths": lengths})
    return np.asarray(found, dtype=np.float32)


def operations(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


each_direction = pytest.mark.parametrize("direction", DIRECTIONS)
X = 3 * normal(SOURCE_LEN, len(LENGTHS), DEPTH, seed=4)


@each_direction
def test_a_gru_in_8_bits_is_close_to_the_fused_node(direction: str) -> None:
    model = recurrent_graph(direction=direction)
    quantized = quantize(model, {})
    assert "GRU" not in operations(quantized)
    found, expected = run(quantized, X, LENGTHS), run(model, X, LENGTHS)
    assert found.shape == expected.shape
    assert np.abs(expected).mean() > 0.2  # so that the next lines say something
    assert np.abs(found - expected).mean() < 0.01
    np.testing.assert_allclose(found, expected, atol=0.06)


@each_direction
def test_padding_gives_zeros(direction: str) -> None:
    found = run(quantize(recurrent_graph(direction=direction), {}), X, LENGTHS)
    padding = np.arange(SOURCE_LEN)[:, None] >= LENGTHS  # (source_len, batch)
    assert not found.swapaxes(1, 2)[padding].any()
    assert found.swapaxes(1, 2)[~padding].any(axis=(1, 2)).all()


@each_direction
def test_a_sentence_depends_neither_on_its_neighbours_nor_on_its_padding(direction: str) -> None:
    quantized = quantize(recurrent_graph(direction=direction), {})
    together = run(quantized, X, LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = run(quantized, X[:length, [row]], LENGTHS[[row]])
        np.testing.assert_array_equal(alone, together[:length, :, [row]])


def test_inputs_that_are_looked_up_stay_in_8_bits_on_their_way() -> None:
    prepared = "rows = Gather (table, ids) a = Transpose <perm = [1, 0, 2]> (rows)"
    model = recurrent_graph(prepared=prepared)
    del model.graph.input[0]
    model.graph.input.insert(0, onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT32, ["B", "S"]))
    model.graph.initializer.append(numpy_helper.from_array(normal(9, DEPTH, seed=5), "table"))
    quantized = quantize(model, {})
    assert "QuantizeLinear" not in operations(quantized)
    feeds = {"ids": np.array([[1, 8, 0], [3, 3, 4]], dtype=np.int32), "lengths": np.array([3, 2], dtype=np.int32)}
    [found], [expected] = (
        onnxruntime.InferenceSession(each.SerializeToString(), session_options(1)).run(None, feeds)
        for each in (quantized, model)
    )
    np.testing.assert_allclose(found, expected, atol=0.06)


OTHERS: dict[str, dict[str, Any]] = {
    "an LSTM": {"operation": "LSTM", "attributes": ""},
    "a GRU that resets before it multiplies": {"attributes": "linear_before_reset = 0"},
    "a GRU with an activation of its own": {"attributes": f'{LOOP}, activations = ["Sigmoid", "Relu"]'},
    "a GRU without lengths": {"operands": "kernel, recurrent, bias"},
    "a GRU whose inputs have no bound": {"prepared": "a = Identity (x)"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_recurrent_nodes_stay_and_their_weights_are_expanded_at_load(name: str, tmp_path: Path) -> None:
    model = recurrent_graph(**OTHERS[name])
    stored = quantize(model, {})
    [recurrent] = [node for node in stored.graph.node if node.op_type in ("GRU", "LSTM")]
    producers = {node.output[0]: node for node in stored.graph.node}
    constants = {tensor.name: tensor.data_type for tensor in stored.graph.initializer}
    for weights in recurrent.input[1:3]:
        assert producers[weights].op_type == "DequantizeLinear"
        assert constants[producers[weights].input[0]] == onnx.TensorProto.INT8

    options = session_options(1)
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(stored.SerializeToString(), options, ["CPUExecutionProvider"])
    assert "DequantizeLinear" not in operations(onnx.load(tmp_path / "loaded.onnx"))
    np.testing.assert_allclose(run(stored, X, LENGTHS), run(model, X, LENGTHS), atol=0.05)
