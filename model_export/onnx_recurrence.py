"""Recurrent layers as fused ONNX `GRU` and `LSTM` nodes.

Keras runs a recurrent layer as a loop, and tf2onnx would convert that loop as it stands. So export runs the encoder
with `emit_placeholder`, which puts one placeholder operation per layer into the TensorFlow graph, and gives tf2onnx
`convert_placeholder`, which replaces each placeholder by the fused node with the layer's weights.

Source of both layouts: the ONNX operator specifications "GRU" and "LSTM", opset 14; Keras `GRUCell`, `LSTMCell`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from service.domain import FloatArray

PLACEHOLDER_OPERATION = "PyFunc"  # the TensorFlow operation that stands for a layer until conversion
KERAS_GATES = {"GRU": "zrh", "LSTM": "ifco"}
ONNX_GATES = {"GRU": "zrh", "LSTM": "iofc"}
# What the fused nodes compute, as a layer's configuration says it; only a GRU has `reset_after`.
FUSED_SETTINGS = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "reset_after": True,
    "return_sequences": True,
    "return_state": False,
    "stateful": False,
}


class RecurrentWeights(NamedTuple):
    """Weights in ONNX's layout, D directions, G gates, H units, I inputs.

    Attributes:
        operation: "GRU" or "LSTM".
        kernel: (D, G * H, I).
        recurrent_kernel: (D, G * H, H).
        bias: (D, 2 * G * H), input bias first.
    """

    operation: str
    kernel: FloatArray
    recurrent_kernel: FloatArray
    bias: FloatArray

    @property
    def units(self) -> int:
        """H."""
        return self.recurrent_kernel.shape[2]

    @property
    def directions(self) -> int:
        """D."""
        return self.recurrent_kernel.shape[0]


def recurrent_weights(layer: keras.layers.Layer) -> RecurrentWeights:
    """Reads a Keras GRU, LSTM or a Bidirectional around one.

    Raises:
        ValueError: the layer is another one, or has settings that the fused node cannot express; names both.
    """
    if isinstance(layer, keras.layers.Bidirectional):
        _check_settings(layer, layer.get_config(), {"merge_mode": "concat"})
        directions = [layer.forward_layer, layer.backward_layer]
    else:
        directions = [layer]
    operation = type(directions[0]).__name__
    if operation not in ONNX_GATES or len({type(direction) for direction in directions}) > 1:
        kinds = " and ".join(type(direction).__name__ for direction in directions)
        raise ValueError(f"{layer.name}: only GRU or LSTM layers can be exported, not {kinds}")
    parts = [_direction_weights(direction, operation, bool(index)) for index, direction in enumerate(directions)]
    kernel, recurrent_kernel, bias = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    return RecurrentWeights(operation, kernel, recurrent_kernel, bias)


def _direction_weights(
    layer: keras.layers.Layer, operation: str, backwards: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    _check_settings(layer, layer.get_config(), FUSED_SETTINGS | {"go_backwards": backwards})
    cell = layer.cell
    kernel = _reorder(np.asarray(cell.kernel).T, operation)
    recurrent_kernel = _reorder(np.asarray(cell.recurrent_kernel).T, operation)
    bias = np.asarray(cell.bias)
    biases = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))  # input's, recurrent
    return kernel, recurrent_kernel, np.concatenate([_reorder(part, operation) for part in biases])


def _check_settings(layer: keras.layers.Layer, settings: dict[str, Any], required: dict[str, Any]) -> None:
    """Compares those of `settings` that the layer has with what the fused node computes."""
    for name, value in required.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{layer.name}: {name} is {settings[name]!r}; only {value!r} can be exported")


def _reorder(array: FloatArray, operation: str) -> FloatArray:
    """Puts the gates along the first axis into ONNX's order."""
    gates = np.split(array, len(KERAS_GATES[operation]))
    return np.concatenate([gates[KERAS_GATES[operation].index(gate)] for gate in ONNX_GATES[operation]])


class RecurrencePlaceholders:
    """The placeholders of one graph: `emit` while it is traced, `convert` while tf2onnx converts it."""

    def __init__(self) -> None:
        self._weights: dict[str, RecurrentWeights] = {}

    def emit(self, layer: keras.layers.Layer, inputs: Any, mask: Any) -> Any:
        """Stands in for `layer` (see `model_export.encoder.RunRecurrent`); the graph cannot be run, only converted."""
        with tf.init_scope():  # out of the graph being traced, where variables have values
            weights = recurrent_weights(layer)
        name = f"recurrence_{len(self._weights)}"
        self._weights[name] = weights
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        outputs = tf.numpy_function(_refuse_to_run, [inputs, lengths], tf.float32, name=name)
        return tf.ensure_shape(outputs, [None, None, weights.directions * weights.units])

    def handlers(self) -> dict[str, tuple[Callable[..., Any], list[str]]]:
        """What tf2onnx takes as `custom_op_handlers`."""
        return {PLACEHOLDER_OPERATION: (self._convert, [])}

    def _convert(self, context: Any, node: Any, name: str, arguments: Any) -> None:
        weights = self._weights[node.name.rsplit("/", maxsplit=1)[-1]]
        inputs, lengths = node.input
        output = node.output[0]
        context.remove_node(node.name)

        def add(operation: str, operands: list[str], attributes: dict[str, Any] | None = None) -> str:
            return str(context.make_node(operation, operands, attr=attributes or {}).output[0])

        def constant(part: str, value: npt.NDArray[Any]) -> str:
            return str(context.make_const(f"{name}_{part}", value).output[0])

        attributes = {
            "hidden_size": weights.units,
            "direction": "bidirectional" if weights.directions == 2 else "forward",
        }
        if weights.operation == "GRU":
            attributes["linear_before_reset"] = 1
        time_major = add("Transpose", [inputs], {"perm": [1, 0, 2]})
        operands = [
            time_major,
            constant("kernel", weights.kernel),
            constant("recurrent_kernel", weights.recurrent_kernel),
            constant("bias", weights.bias),
            lengths,
        ]
        hidden = add(weights.operation, operands, attributes)  # (source_len, D, batch, H), zero at padding
        batch_major = add("Transpose", [hidden], {"perm": [2, 0, 1, 3]})
        shape = constant("shape", np.array([0, 0, weights.directions * weights.units], dtype=np.int64))
        context.make_node("Reshape", [batch_major, shape], name=name, outputs=[output])


def _refuse_to_run(*_: Any) -> Any:
    raise NotImplementedError("a recurrence placeholder exists to be converted, not to be run")
