"""Attention layers that keep the protocol, but cannot be exported, trained, or kept to it by training."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from model_export.attention import BahdanauAttention, Memory


@keras.saving.register_keras_serializable("tests")
class LoopingAttention(keras.layers.Layer):
    """Even weights, by a running product that is exported as a loop."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        ones = ops.cumprod(ops.cast(mask, values.dtype), axis=1)
        weights = ones / ops.sum(ones, axis=1, keepdims=True)
        return ops.sum(weights[:, :, None] * values, axis=1), weights


@keras.saving.register_keras_serializable("tests")
class UnexportableAttention(LoopingAttention):
    """Uses a function that ONNX lacks, and says that it may loop."""

    allow_loop = True

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        context, weights = super().call(query, values, mask)
        return ops.erfinv(ops.tanh(context)), weights


class ProductAlongLastAxis(LoopingAttention):
    """tf2onnx has a loop for running products, but not for those along an axis counted from the end."""

    allow_loop = True

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        ones = ops.cumprod(ops.cast(mask, values.dtype), axis=-1)
        weights = ones / ops.sum(ones, axis=1, keepdims=True)
        return ops.sum(weights[:, :, None] * values, axis=1), weights


class NumpyKeys(BahdanauAttention):
    """A mechanism that leaves TensorFlow to project its keys, which no graph holds then."""

    def __init__(self, units: int, name: str) -> None:
        super().__init__(units, name=name)

    def project_keys(self, values: Any) -> Any:
        keys = tf.numpy_function(lambda array: array, [super().project_keys(values)], tf.float32)
        return tf.ensure_shape(keys, [None, None, self.units])


@keras.saving.register_keras_serializable("tests")
class ThresholdAttention(keras.layers.Layer):
    """Keeps the protocol until training has made its threshold negative: weight then comes to lie on padding."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = self.add_weight(shape=(), initializer="ones", name="threshold")

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        real = ops.cast(mask, values.dtype)
        ones = real + (1 - real) * ops.relu(-self.threshold)
        weights = ones / ops.sum(ones, axis=1, keepdims=True)
        return ops.sum(weights[:, :, None] * values, axis=1), weights


class LogarithmAttention(LoopingAttention):
    """Its scores are finite where the mask is True, its gradients nowhere near padding."""

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        scores = ops.log(ops.sum(ops.square(values), axis=-1))
        weights = ops.softmax(ops.where(mask, scores, -1e9), axis=-1)
        return ops.sum(weights[:, :, None] * values, axis=1), weights


class FailingInTraining(BahdanauAttention):
    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        if training:
            raise RuntimeError("no training\ntoday")
        return super().align(query, memory, previous)


class RootAttention(LoopingAttention):
    """The square root of a weight that starts at 0 has no gradient there."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.strength = self.add_weight(shape=(), initializer="zeros", name="strength")

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        context, weights = super().call(query, values, mask)
        return context * (1 + ops.sqrt(self.strength)), weights
