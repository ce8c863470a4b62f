"""Attention layers as a user would write them: some keep the protocol, each of the others breaks one of its rules."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from model_export.attention import AttentionMechanism, Memory


class ProjectedAttention(keras.layers.Layer):
    """Keeps the protocol: dot product and values in a space of `units` dimensions."""

    def __init__(self, units: int, temperature: float = 1.0, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = temperature
        self.query_layer = keras.layers.Dense(units, name="query", dtype=self.dtype_policy)
        self.value_layer = keras.layers.Dense(units, name="value", dtype=self.dtype_policy)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def call(self, query: Any, values: Any, mask: Any = None, training: bool = False) -> Any:
        projected = self.value_layer(values)
        scores = ops.sum(self.query_layer(query)[:, None, :] * projected, axis=-1) / self.temperature
        weights = self.weigh(scores, mask)
        return self.make_context(self.dropout(weights, training=training), projected), weights

    def weigh(self, scores: Any, mask: Any) -> Any:
        return ops.softmax(ops.where(mask, scores, -1e4), axis=-1)  # float16 ends at 65504

    def make_context(self, weights: Any, projected: Any) -> Any:
        return ops.sum(weights[:, :, None] * projected, axis=1)


@keras.saving.register_keras_serializable("tests")
class RegisteredAttention(ProjectedAttention):
    """Keeps the protocol and can be saved."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.units = units

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class SigmoidAttention(ProjectedAttention):
    """Keeps the protocol; says that its rows do not sum to 1, and that it loops."""

    normalized = False
    allow_loop = True

    def weigh(self, scores: Any, mask: Any) -> Any:
        chances = ops.where(mask, ops.sigmoid(scores), 0.0)
        return chances / ops.sum(ops.cast(mask, scores.dtype), axis=-1, keepdims=True)


class KeywordMask(ProjectedAttention):
    """Keeps the protocol; takes the mask by name only, and has no argument `training`."""

    def call(self, query: Any, values: Any, *, mask: Any) -> Any:
        return super().call(query, values, mask)


class UnannouncedSigmoid(SigmoidAttention):
    normalized = True


class WithoutMask(ProjectedAttention):
    def call(self, query: Any, values: Any) -> Any:
        return super().call(query, values, ops.ones(ops.shape(values)[:2], dtype="bool"))


class OneInput(ProjectedAttention):
    def call(self, inputs: Any, mask: Any = None) -> Any:
        return super().call(*inputs, mask)


class IgnoringMask(ProjectedAttention):
    def weigh(self, scores: Any, mask: Any) -> Any:
        return ops.softmax(scores, axis=-1)


class MaskByMultiplication(ProjectedAttention):
    """Zero at padding, but the sum runs over padding."""

    normalized = False

    def weigh(self, scores: Any, mask: Any) -> Any:
        return ops.softmax(scores, axis=-1) * ops.cast(mask, scores.dtype)


class MeanOfEverything(ProjectedAttention):
    """Its context looks at how much padding there is."""

    def call(self, query: Any, values: Any, mask: Any = None, training: bool = False) -> Any:
        _, weights = super().call(query, values, mask, training)
        return ops.mean(ops.where(mask[:, :, None], values, 0.0), axis=1), weights


class AcrossTheBatch(ProjectedAttention):
    def make_context(self, weights: Any, projected: Any) -> Any:
        context = super().make_context(weights, projected)
        return context - ops.mean(context, axis=0, keepdims=True)


class ShareOfTheBatch(ProjectedAttention):
    """Its answer depends on how many other sentences there are, not on what they are."""

    def make_context(self, weights: Any, projected: Any) -> Any:
        return super().make_context(weights, projected) / ops.cast(ops.shape(weights)[0], weights.dtype)


class AlwaysDropping(ProjectedAttention):
    def make_context(self, weights: Any, projected: Any) -> Any:
        return super().make_context(self.dropout(weights, training=True), projected)


class NegativeWeights(ProjectedAttention):
    normalized = False

    def weigh(self, scores: Any, mask: Any) -> Any:
        return ops.where(mask, ops.tanh(scores), 0.0)


class NotANumber(ProjectedAttention):
    def weigh(self, scores: Any, mask: Any) -> Any:
        return super().weigh(scores, mask) * ops.log(ops.zeros_like(scores)) * 0


class ColumnWeights(ProjectedAttention):
    """As tutorials return them."""

    def call(self, query: Any, values: Any, mask: Any = None) -> Any:
        context, weights = super().call(query, values, mask)
        return context, weights[:, :, None]


class OtherOrder(ProjectedAttention):
    def call(self, query: Any, values: Any, mask: Any = None) -> Any:
        return super().call(query, values, mask)[::-1]


class ContextOnly(ProjectedAttention):
    def call(self, query: Any, values: Any, mask: Any = None) -> Any:
        return super().call(query, values, mask)[0]


class WholeNumbers(ProjectedAttention):
    def weigh(self, scores: Any, mask: Any) -> Any:
        return ops.cast(ops.one_hot(ops.argmax(scores, axis=-1), ops.shape(scores)[-1]), "int32")

    def make_context(self, weights: Any, projected: Any) -> Any:
        return super().make_context(ops.cast(weights, "float32"), projected)


class DoublePrecision(ProjectedAttention):
    def make_context(self, weights: Any, projected: Any) -> Any:
        return ops.cast(super().make_context(weights, projected), "float64")


class FullPrecision(ProjectedAttention):
    """Its weights are those of a softmax in float32, whatever it is to compute in."""

    def weigh(self, scores: Any, mask: Any) -> Any:
        return super().weigh(ops.cast(scores, "float32"), mask)

    def make_context(self, weights: Any, projected: Any) -> Any:
        return super().make_context(ops.cast(weights, projected.dtype), projected)


class ByNumpy(ProjectedAttention):
    """Leaves the graph."""

    def weigh(self, scores: Any, mask: Any) -> Any:
        return ops.convert_to_tensor(super().weigh(scores, mask).numpy())


class PythonChoice(ProjectedAttention):
    """Looks at a value that a graph does not have yet."""

    def weigh(self, scores: Any, mask: Any) -> Any:
        return super().weigh(scores if ops.max(scores) < 1e6 else scores / 2, mask)


class KnownSizes(ProjectedAttention):
    """Takes the number of positions for a number that is known beforehand."""

    def weigh(self, scores: Any, mask: Any) -> Any:
        return super().weigh(scores, mask) * np.ones(scores.shape[1], dtype=np.float32)


class PythonChoiceInTraining(ProjectedAttention):
    def call(self, query: Any, values: Any, mask: Any = None, training: bool = False) -> Any:
        if training and ops.max(values) > 1:
            values = values / ops.max(values)
        return super().call(query, values, mask, training)


class Failing(ProjectedAttention):
    def call(self, query: Any, values: Any, mask: Any = None) -> Any:
        raise RuntimeError("no attention\ntoday")


class NoLayer:
    def __init__(self, units: int, name: str) -> None: ...


class NoUnits(keras.layers.Layer):
    """Its constructor lacks `units`."""


class LastToken(AttentionMechanism):
    """A mechanism of one's own: all weight on the last token."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        mask = ops.cast(memory.mask, "float32")
        return mask - ops.concatenate([mask[:, 1:], ops.zeros_like(mask[:, :1])], axis=1)


class LastPosition(LastToken):
    """Breaks the protocol: attends to padding."""

    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        ones = ops.ones_like(memory.values[:, :, 0])
        return ops.concatenate([ops.zeros_like(ones[:, 1:]), ones[:, :1]], axis=1)


class GenerousSigmoid(SigmoidAttention):
    """Rows sum to more than 1."""

    def weigh(self, scores: Any, mask: Any) -> Any:
        return ops.where(mask, 0.5 + 0.5 * ops.sigmoid(scores), 0.0)
