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

    With `encoder_residual` each layer above the first computes `h + layer(norm(h))` from the outputs h below it: layer
    normalisation stands before the recurrent layer, so that the sum stays bounded by the number of layers, from which
    8-bit scales follow. Source: He et al. 2016 (arXiv:1603.05027), section 3; Ba et al. 2016 (arXiv:1607.06450),
    equation 3; Xiong et al. 2020 (arXiv:2002.04745), figure 1b, for the place of the normalisation.

    Args:
        config: the architecture; uses cell, units, encoder_layers, encoder_residual, bidirectional, embedding_dim and
            the dropout rates.
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        rates = config.dropout_rates
        self.dropout = keras.layers.Dropout(rates.encoder)
        # One layer where the rates are one, with one random generator: checkpoints hold the generators.
        shared = rates.embedding == rates.encoder
        self.embedding_dropout = self.dropout if shared else keras.layers.Dropout(rates.embedding)
        self.recurrent_layers = [self._recurrent_layer(index) for index in range(config.encoder_layers)]
        count = config.encoder_layers - 1 if config.encoder_residual else 0
        self.norms = [keras.layers.LayerNormalization(name=f"norm_{index + 1}") for index in range(count)]

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
        for norm in self.norms:
            norm.build((None, None, depth))
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
        outputs = self.embedding_dropout(embedded, training=training)
        for index, layer in enumerate(self.recurrent_layers):
            residual = self.norms and index > 0
            inputs = self.norms[index - 1](outputs) if residual else outputs
            read = self.dropout(run_recurrent(layer, inputs, mask) * keep, training=training)
            outputs = (outputs + read) * keep if residual else read  # masked: the export knows the bound of its mean so
        return outputs
