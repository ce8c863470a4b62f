"""Recurrent layers as fused ONNX nodes: what Keras computes, at once instead of in a loop."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx

from model_export.encoder import Encoder
from model_export.onnx_recurrence import RecurrencePlaceholders, recurrent_weights
from tests.model_export.tiny_models import (
    SOURCE_LENGTHS,
    SOURCE_MASK,
    FloatArray,
    as_numpy,
    random_array,
    randomize,
    tiny_config,
)

EMBEDDED = random_array(3, 5, 5)
LAYERS = [
    ("gru", False, 1),
    ("gru", True, 1),
    ("gru", False, 2),
    ("gru", True, 2),
    ("lstm", False, 1),
    ("lstm", True, 1),
    ("lstm", False, 2),
    ("lstm", True, 2),
]


def convert(encoder: Encoder) -> onnx.ModelProto:
    """The encoder's layers alone, without what the whole encoder adds: embedding and zeroing of padding."""
    placeholders = RecurrencePlaceholders()
    signature = [
        tf.TensorSpec([None, None, 5], tf.float32, name="x"),
        tf.TensorSpec([None, None], tf.bool, name="mask"),
    ]

    def run(inputs: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        for layer in encoder.recurrent_layers:
            inputs = placeholders.emit(layer, inputs, mask)
        return {"y": inputs}

    function = tf.function(run, input_signature=signature, autograph=False)
    graph, _ = tf2onnx.convert.from_function(
        function, input_signature=signature, opset=17, custom_op_handlers=placeholders.handlers()
    )
    return graph


def run_graph(graph: onnx.ModelProto, embedded: FloatArray, mask: np.ndarray) -> FloatArray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": embedded, "mask": mask})[0])


@pytest.mark.parametrize(("cell", "bidirectional", "layers"), LAYERS)
def test_fused_nodes_compute_what_keras_does(cell: str, bidirectional: bool, layers: int) -> None:
    encoder = Encoder(tiny_config(cell=cell, bidirectional=bidirectional, encoder_layers=layers))
    encoder.build()
    randomize(encoder.trainable_variables, scale=0.8)
    graph = convert(encoder)
    exported = run_graph(graph, EMBEDDED, SOURCE_MASK)
    expected = as_numpy(encoder(EMBEDDED, SOURCE_MASK))
    np.testing.assert_allclose(exported[SOURCE_MASK], expected[SOURCE_MASK], atol=1e-5)
    assert (exported[~SOURCE_MASK] == 0).all()
    nodes = Counter(node.op_type for node in graph.graph.node)
    assert nodes[cell.upper()] == layers
    assert not nodes.keys() & {"Loop", "Scan", "If"}


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_what_stands_in_the_padding_does_not_matter(cell: str) -> None:
    encoder = Encoder(tiny_config(cell=cell))
    encoder.build()
    randomize(encoder.trainable_variables)
    graph = convert(encoder)
    garbage = np.where(SOURCE_MASK[:, :, None], EMBEDDED, np.float32(1e3))
    batched = run_graph(graph, garbage, SOURCE_MASK)
    np.testing.assert_allclose(batched, run_graph(graph, EMBEDDED, SOURCE_MASK), atol=1e-6)
    for row, length in enumerate(SOURCE_LENGTHS):
        single = run_graph(graph, EMBEDDED[row : row + 1, :length], np.ones((1, length), dtype=bool))
        np.testing.assert_allclose(batched[row, :length], single[0], atol=1e-6)


def test_sequence_lengths_reach_the_node() -> None:
    encoder = Encoder(tiny_config())
    encoder.build()
    graph = convert(encoder).graph
    (node,) = (node for node in graph.node if node.op_type == "GRU")
    (source,) = (other for other in graph.node if node.input[4] in other.output)
    assert source.op_type in {"ReduceSum", "Cast"}


INEXPRESSIBLE = [
    (
        keras.layers.SimpleRNN(3, return_sequences=True, name="a"),
        "a: only GRU or LSTM layers can be exported, not SimpleRNN",
    ),
    (keras.layers.GRU(3, return_sequences=True, name="b", reset_after=False), "b: reset_after is False; only True"),
    (keras.layers.LSTM(3, return_sequences=True, name="c", activation="relu"), "c: activation is 'relu'; only 'tanh'"),
    (
        keras.layers.GRU(3, return_sequences=True, name="d", recurrent_activation="hard_sigmoid"),
        "d: recurrent_activation is 'hard_sigmoid'; only 'sigmoid'",
    ),
    (keras.layers.LSTM(3, return_sequences=True, name="e", use_bias=False), "e: use_bias is False; only True"),
    (keras.layers.GRU(3, name="f"), "f: return_sequences is False; only True"),
    (keras.layers.GRU(3, return_sequences=True, name="g", go_backwards=True), "g: go_backwards is True; only False"),
    (
        keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True), name="h", merge_mode="sum"),
        "h: merge_mode is 'sum'; only 'concat'",
    ),
    (
        keras.layers.Bidirectional(
            keras.layers.GRU(3, return_sequences=True),
            backward_layer=keras.layers.LSTM(3, return_sequences=True, go_backwards=True),
            name="i",
        ),
        "i: only GRU or LSTM layers can be exported, not GRU and LSTM",
    ),
]


@pytest.mark.parametrize(("layer", "problem"), INEXPRESSIBLE, ids=lambda value: getattr(value, "name", ""))
def test_a_layer_that_a_node_cannot_express_is_refused(layer: Any, problem: str) -> None:
    layer.build((None, None, 5))
    with pytest.raises(ValueError, match=f"^{problem}"):
        recurrent_weights(layer)
