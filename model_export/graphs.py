"""The two graphs of a bundle, converted from the trained model with tf2onnx: `encoder` and `decoder_step`.

The only module, with `onnx_recurrence`, that imports TensorFlow: export needs Keras on its TensorFlow backend.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import onnx
import tensorflow as tf
import tf2onnx

from model_export.attention.custom_probe import describe_error, plain_errors
from model_export.attention_config import CustomAttentionConfig
from model_export.config import ModelConfig
from model_export.decoder import DecoderState
from model_export.decoder_tensors import DecoderTensors
from model_export.errors import ConfigError, ExportError
from model_export.graph_simplification import simplify
from model_export.onnx_recurrence import RecurrencePlaceholders
from model_export.seq2seq import Seq2Seq
from service.bundle.tensor_contract import initial_name, next_name

OPSET = 17
LOOPING_OPERATIONS = {"Loop", "Scan", "If"}


class Graphs(NamedTuple):
    """The ONNX models of one precision."""

    encoder: onnx.ModelProto
    decoder_step: onnx.ModelProto


def convert(model: Seq2Seq) -> Graphs:
    """Converts a model to fp32 graphs that follow the tensor contract of `service.bundle`.

    Raises:
        ConfigError: Keras does not run on TensorFlow; an attention mechanism runs in a loop and does not say so, or
            cannot be converted.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(f"export needs KERAS_BACKEND=tensorflow, not {keras.backend.backend()}")
    with _errors_of_own_attention(model):
        graphs = Graphs(_convert_encoder(model), _convert_decoder_step(model))
    for graph in graphs:
        graph.metadata_props.add(key="vocabulary_size", value=str(model.config.vocabulary_size))
    if not any(mechanism.allow_loop for mechanism in model.decoder.mechanisms):
        check_has_no_loop(graphs.decoder_step, "decoder_step")
    return graphs


def check_own_attention(config: ModelConfig) -> None:
    """Converts each attention class of the user's own alone, untrained, in a model of the configuration's widths.

    Raises:
        ConfigError: see `convert`; names the class.
    """
    for attention in config.attention:
        if not isinstance(attention, CustomAttentionConfig):
            continue
        small = {"attention": (attention,), "vocabulary_size": 1, "encoder_layers": 1, "decoder_layers": 1}
        model = Seq2Seq(config.model_copy(update=small))
        try:
            convert(model)
        except ConfigError as error:
            raise ConfigError(f"attention {attention.name}: {error}") from error


def check_has_no_loop(graph: onnx.ModelProto, name: str) -> None:
    """Refuses graphs that would run step by step inside onnxruntime.

    Args:
        graph: encoder or step.
        name: what to call it.

    Raises:
        ConfigError: the graph holds a Loop, Scan or If node; names it.
    """
    for node in graph.graph.node:
        if node.op_type in LOOPING_OPERATIONS:
            raise ConfigError(
                f"{name}: node {node.name} is of type {node.op_type}, which is slow: do without keras.ops.cumprod, "
                "while_loop and the like, or, in an attention class of your own, set allow_loop = True"
            )


@contextmanager
def _errors_of_own_attention(model: Seq2Seq) -> Iterator[None]:
    """Puts on one line whatever attention of the user's own makes TensorFlow or tf2onnx raise.

    Raises:
        ConfigError: something was raised, and the model has such attention.
    """
    if not any(isinstance(attention, CustomAttentionConfig) for attention in model.config.attention):
        yield
        return
    try:
        with plain_errors():
            yield
    except ExportError:
        raise
    except Exception as error:  # it is not our code, and may raise anything
        raise ConfigError(f"cannot be exported to ONNX: {describe_error(error)}") from error


def _convert_encoder(model: Seq2Seq) -> onnx.ModelProto:
    placeholders = RecurrencePlaceholders()
    tensors = DecoderTensors(model.decoder)
    signature = [
        tf.TensorSpec([None, None], tf.int32, name="source_ids"),
        tf.TensorSpec([None], tf.int32, name="source_lengths"),
    ]

    def encode(source_ids: tf.Tensor, source_lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        memories, state = model.encode(source_ids, source_lengths, run_recurrent=placeholders.emit)
        names = [*tensors.memory_names, *map(initial_name, tensors.state_names)]
        arrays = [*tensors.flatten_memories(memories), *tensors.flatten_state(state)]
        return {name: tf.identity(array) for name, array in zip(names, arrays, strict=True)}

    graph = _to_onnx(encode, signature, placeholders.handlers())
    check_has_no_loop(graph, "encoder")
    return _checked(simplify(graph), "encoder")


def _convert_decoder_step(model: Seq2Seq) -> onnx.ModelProto:
    tensors = DecoderTensors(model.decoder)
    signature = [
        tf.TensorSpec([None], tf.int32, name="input_ids"),
        tf.TensorSpec([None], tf.int32, name="forced_ids"),
        tf.TensorSpec([1], tf.int64, name="num_candidates"),
        tf.TensorSpec([None, None], tf.bool, name="source_mask"),
        *_decoder_signature(model, tensors),
    ]

    def step(
        input_ids: tf.Tensor,
        forced_ids: tf.Tensor,
        num_candidates: tf.Tensor,
        source_mask: tf.Tensor,
        *arrays: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        count = len(tensors.memory_names)
        memories = tensors.unflatten_memories(arrays[:count], source_mask)
        before = tensors.unflatten_state(arrays[count:])
        after = model.decoder.step(model.embed_target(input_ids), before, memories)
        log_probs = tf.nn.log_softmax(model.project_output(after.attention))
        values, indices = tf.math.top_k(log_probs, k=tf.cast(num_candidates[0], tf.int32))
        outputs = {
            "candidate_ids": tf.cast(indices, tf.int32),
            "candidate_log_probs": values,
            "forced_log_probs": tf.gather(log_probs, forced_ids, batch_dims=1),
            "attention_weights": _attention_weights(after),
        }
        names = map(next_name, tensors.state_names)
        return outputs | {
            name: tf.identity(array) for name, array in zip(names, tensors.flatten_state(after), strict=True)
        }

    return _checked(simplify(_to_onnx(step, signature, {})), "decoder_step")


def _attention_weights(state: DecoderState) -> tf.Tensor:
    """(rows, source_len) of the only mechanism; (rows, mechanisms, source_len) of several."""
    if len(state.alignments) == 1:
        return tf.identity(state.alignments[0])
    return tf.stack(state.alignments, axis=1)


def _decoder_signature(model: Seq2Seq, tensors: DecoderTensors) -> list[tf.TensorSpec]:
    """The step's memory and state inputs, with the shapes that the model gives for a sentence."""
    memories, state = model.encode(tf.zeros([1, 2], tf.int32), tf.constant([2], tf.int32))
    names = [*tensors.memory_names, *tensors.state_names]
    arrays = [*tensors.flatten_memories(memories), *tensors.flatten_state(state)]
    signature = []
    for name, array in zip(names, arrays, strict=True):
        varying = len(tensors.dimensions[name])
        signature.append(tf.TensorSpec([None] * varying + array.shape[varying:], tf.float32, name=name))
    return signature


def _to_onnx(function: Any, signature: list[tf.TensorSpec], handlers: dict[str, Any]) -> onnx.ModelProto:
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it cannot convert, `_checked` names
    traced = tf.function(function, input_signature=signature, autograph=False)
    graph, _ = tf2onnx.convert.from_function(
        traced, input_signature=signature, opset=OPSET, custom_op_handlers=handlers | {"SelectV2": (_select, [])}
    )
    return graph


def _select(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Converts a choice to one `Where`; tf2onnx would multiply both sides by the condition and add them."""
    inputs, outputs = list(node.input), list(node.output)
    kinds = [context.get_dtype(output) for output in outputs]
    shapes = [context.get_shape(output) for output in outputs]
    context.remove_node(node.name)
    context.make_node("Where", inputs, name=name, outputs=outputs, dtypes=kinds, shapes=shapes)


def _checked(graph: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Returns a graph of ONNX's own operations.

    Raises:
        ConfigError: it holds another one.
    """
    try:
        onnx.checker.check_model(graph)
    except onnx.checker.ValidationError as error:
        problem = str(error).strip().partition("\n")[0]
        if "Cumprod" in problem:
            problem += " (keras.ops.cumprod can be exported with axis=1, not with axis=-1)"
        raise ConfigError(
            f"{name}: cannot be exported to ONNX: {problem}; an attention class of your own must use operations that "
            "have a counterpart there"
        ) from error
    return graph
