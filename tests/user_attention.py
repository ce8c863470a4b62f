"""An attention layer as a user writes it, outside this package: cosine similarity with a learned sharpness.

It is that of `model_export/README.md`, with types; a test holds the two together.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def unit_vector(x: Any) -> Any:
    """`x` scaled to length 1; finite, and with a gradient, where it is 0 (at padding)."""
    return x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-6)


class CosineAttention(keras.layers.Layer):
    """Weights by the angle between the projected query and each projected value."""

    def __init__(self, units: int, sharpness: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query_layer = keras.layers.Dense(units, use_bias=False)
        self.value_layer = keras.layers.Dense(units, use_bias=False)
        self.sharpness = self.add_weight(name="sharpness", shape=(), initializer=keras.initializers.Constant(sharpness))

    def call(self, query: Any, values: Any, mask: Any) -> tuple[Any, Any]:
        """Takes a query (batch, depth), values (batch, source_len, depth) and their mask; gives context and weights."""
        direction = unit_vector(self.query_layer(query))[:, None, :]
        directions = unit_vector(self.value_layer(values))
        scores = self.sharpness * ops.sum(direction * directions, axis=-1)  # (batch, source_len)
        weights = ops.softmax(ops.where(mask, scores, -1e9), axis=-1)
        return ops.sum(weights[:, :, None] * values, axis=1), weights
