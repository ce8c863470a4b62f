"""The two graphs of a bundle, converted from the trained model with tf2onnx: `encoder` and `decoder_step`.

The only module, with `onnx_recurrence`, that imports TensorFlow: export needs Keras on its TensorFlow backend.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import keras
import onnx
import tensorflow as tf
import tf2onnx

from model_export.attention import Memory
from model_export.decoder import flatten_state, state_names, unflatten_state
from model_export.errors import ConfigError
from model_export.onnx_recurrence import RecurrencePlaceholders
from model_export.seq2seq import Seq2Seq

OPSET = 17
MEMORY_NAMES = ("memory_keys", "memory_values")
LOOPING_OPERATIONS = {"Loop", "Scan", "If"}


class Graphs(NamedTuple):
    """The ONNX models of one precision."""

    encoder: onnx.ModelProto
    decoder_step: onnx.ModelProto


def convert(model: Seq2Seq) -> Graphs:
    """Converts a model to fp32 graphs that follow the tensor contract of `service.bundle`.

    Raises:
        ConfigError: Keras does not run on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(f"export needs KERAS_BACKEND=tensorflow, not {keras.backend.backend()}")
    graphs = Graphs(_convert_encoder(model), _convert_decoder_step(model))
    for graph in graphs:
        graph.metadata_props.add(key="vocabulary_size", value=str(model.config.vocabulary_size))
        check_has_no_loop(graph)
    return graphs


def check_has_no_loop(graph: onnx.ModelProto) -> None:
    """Refuses graphs that would run step by step inside onnxruntime.

    Raises:
        ValueError: the graph holds a Loop, Scan or If node; names it.
    """
    for node in graph.graph.node:
        if node.op_type in LOOPING_OPERATIONS:
            raise ValueError(f"{graph.graph.name}: node {node.name} is a {node.op_type}")


def _convert_encoder(model: Seq2Seq) -> onnx.ModelProto:
    placeholders = RecurrencePlaceholders()
    signature = [
        tf.TensorSpec([None, None], tf.int32, name="source_ids"),
        tf.TensorSpec([None], tf.int32, name="source_lengths"),
    ]

    def encode(source_ids: tf.Tensor, source_lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        memory, state = model.encode(source_ids, source_lengths, run_recurrent=placeholders.emit)
        outputs = {"memory_keys": memory.keys, "memory_values": memory.values}
        names = [f"initial_{name}" for name in state_names(model.config)]
        return outputs | dict(zip(names, flatten_state(state), strict=True))

    return _to_onnx(encode, signature, placeholders.handlers())


def _convert_decoder_step(model: Seq2Seq) -> onnx.ModelProto:
    config = model.config
    names = state_names(model.config)
    widths = [config.units] * (len(names) - 1) + [config.attention_vector_dim]
    signature = [
        tf.TensorSpec([None], tf.int32, name="input_ids"),
        tf.TensorSpec([None], tf.int32, name="forced_ids"),
        tf.TensorSpec([1], tf.int64, name="num_candidates"),
        tf.TensorSpec([None, None], tf.bool, name="source_mask"),
        tf.TensorSpec([None, None, config.key_dim], tf.float32, name="memory_keys"),
        tf.TensorSpec([None, None, config.units], tf.float32, name="memory_values"),
        *(tf.TensorSpec([None, width], tf.float32, name=name) for name, width in zip(names, widths, strict=True)),
    ]

    def step(
        input_ids: tf.Tensor,
        forced_ids: tf.Tensor,
        num_candidates: tf.Tensor,
        source_mask: tf.Tensor,
        memory_keys: tf.Tensor,
        memory_values: tf.Tensor,
        *state: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        memory = Memory(memory_keys, memory_values, source_mask)
        before = unflatten_state(config, state)
        after = model.decoder.step(model.embed_target(input_ids), before, memory)
        log_probs = tf.nn.log_softmax(model.project_output(after.attention))
        values, indices = tf.math.top_k(log_probs, k=tf.cast(num_candidates[0], tf.int32))
        outputs = {
            "candidate_ids": tf.cast(indices, tf.int32),
            "candidate_log_probs": values,
            "forced_log_probs": tf.gather(log_probs, forced_ids, batch_dims=1),
            "attention_weights": after.alignments,
        }
        return outputs | dict(zip([f"next_{name}" for name in names], flatten_state(after), strict=True))

    return _to_onnx(step, signature, {})


def _to_onnx(function: Any, signature: list[tf.TensorSpec], handlers: dict[str, Any]) -> onnx.ModelProto:
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    traced = tf.function(function, input_signature=signature, autograph=False)
    graph, _ = tf2onnx.convert.from_function(
        traced, input_signature=signature, opset=OPSET, custom_op_handlers=handlers
    )
    return graph
