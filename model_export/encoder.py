"""The encoder: subword ids to one vector per source token, read by recurrent layers in one or both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import ops

from model_export.config import ModelConfig

# Runs one recurrent layer over (batch, source_len, depth) under a mask (batch, source_len); export passes its own.
RunRecurrent: TypeAlias = Callable[[keras.layers.Layer, Any, Any], Any]

RECURRENT_LAYERS = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def run_recurrent_layer(layer: keras.layers.Layer, inputs: Any, mask: Any) -> Any:
    """Runs `layer` as Keras does; outputs at padding are unspecified."""
    return layer(inputs, mask=mask)


class Encoder(keras.layers.Layer):
    """Stacked recurrent layers over embedded source tokens.

    Args:
        config: the architecture; uses cell, units, encoder_layers, bidirectional, embedding_dim and dropout.
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.dropout = keras.layers.Dropout(config.dropout)
        self.recurrent_layers = [self._recurrent_layer(index) for index in range(config.encoder_layers)]

    def _recurrent_layer(self, index: int) -> keras.layers.Layer:
        directions = 2 if self.config.bidirectional else 1
        layer = RECURRENT_LAYERS[self.config.cell](
            self.config.units // directions, return_sequences=True, name=f"recurrent_{index}"
        )
        return keras.layers.Bidirectional(layer, name=f"bidirectional_{index}") if directions == 2 else layer

    def build(self) -> None:
        """Creates the weights."""
        depth = self.config.embedding_dim
        for layer in self.recurrent_layers:
            layer.build((None, None, depth))
            depth = self.config.units
        self.built = True

    def call(
        self,
        embedded: Any,
        mask: Any,
        training: bool = False,
        run_recurrent: RunRecurrent = run_recurrent_layer,
    ) -> Any:
        """Encodes sentences.

        Args:
            embedded: (batch, source_len, embedding_dim) float32.
            mask: (batch, source_len) bool, True = real token; real tokens come first.
            training: whether dropout acts.
            run_recurrent: how to run one recurrent layer.

        Returns:
            (batch, source_len, units) float32, zero at padding.
        """
        keep = ops.cast(mask, embedded.dtype)[:, :, None]
        outputs = self.dropout(embedded, training=training)
        for layer in self.recurrent_layers:
            outputs = run_recurrent(layer, outputs, mask) * keep
            outputs = self.dropout(outputs, training=training)
        return outputs
