"""The whole model: embeddings, encoder, decoder and output projection."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from model_export.attention import Memory
from model_export.attention.memory import mask_of_lengths, refuse_empty_sentences
from model_export.config import ModelConfig
from model_export.decoder import Decoder, DecoderState
from model_export.encoder import Encoder, RunRecurrent, run_recurrent_layer


class Seq2Seq(keras.Model):
    """Attention encoder-decoder over one shared vocabulary.

    Args:
        config: the architecture; `vocabulary_size` must be set.
    """

    def __init__(self, config: ModelConfig, name: str = "seq2seq") -> None:
        super().__init__(name=name)
        if config.vocabulary_size < 1:
            raise ValueError("vocabulary_size: must be set before a model can be built")
        self.config = config
        shape = (config.vocabulary_size, config.embedding_dim)
        initializer = keras.initializers.RandomNormal(stddev=config.embedding_dim**-0.5)
        self.source_embedding = self.add_weight(name="source_embedding", shape=shape, initializer=initializer)
        if config.tied_embeddings:
            self.target_embedding = self.source_embedding
            self.output_kernel = self.source_embedding
        else:
            output_shape = (config.vocabulary_size, config.attention_vector_dim)
            self.target_embedding = self.add_weight(name="target_embedding", shape=shape, initializer=initializer)
            self.output_kernel = self.add_weight(name="output_kernel", shape=output_shape, initializer=initializer)
        self.output_bias = self.add_weight(name="output_bias", shape=(config.vocabulary_size,), initializer="zeros")
        rates = config.dropout_rates
        self.dropout = keras.layers.Dropout(rates.attention)
        shared = rates.embedding == rates.attention  # see the encoder
        self.embedding_dropout = self.dropout if shared else keras.layers.Dropout(rates.embedding)
        self.encoder = Encoder(config, name="encoder")
        self.decoder = Decoder(config, name="decoder")
        self.encoder.build()
        self.decoder.build()
        self.built = True

    @property
    def persistent_variables(self) -> list[Any]:
        """What makes the model what it is: weights and the states of its random generators, without metrics."""
        metrics = {id(variable) for variable in self.metrics_variables}
        return [variable for variable in self.variables if id(variable) not in metrics]

    def encode(
        self,
        source_ids: Any,
        source_lengths: Any,
        training: bool = False,
        run_recurrent: RunRecurrent = run_recurrent_layer,
    ) -> tuple[tuple[Memory, ...], DecoderState]:
        """Reads sentences and prepares decoding.

        Args:
            source_ids: (batch, source_len) int32, end of sentence included, padded at the end.
            source_lengths: (batch,) int32, at least 1 each.
            training: whether dropout acts.
            run_recurrent: how the encoder runs a recurrent layer.

        Raises:
            ValueError: a sentence has length 0 (seen only where lengths are known, not while a graph is traced).
        """
        mask = mask_of_lengths(source_lengths, ops.shape(source_ids)[1])
        refuse_empty_sentences(mask, "source_lengths")
        embedded = self.embed(self.source_embedding, source_ids)
        encoded = self.encoder(embedded, mask, training=training, run_recurrent=run_recurrent)
        return self.decoder.prepare(encoded, mask)

    def embed(self, table: Any, ids: Any) -> Any:
        """Looks up `ids` (...) in `table`, scaled to unit variance; returns (..., embedding_dim)."""
        return ops.take(table, ids, axis=0) * self.config.embedding_dim**0.5

    def embed_target(self, target_ids: Any) -> Any:
        """Embeds target tokens (...); returns (..., embedding_dim)."""
        return self.embed(self.target_embedding, target_ids)

    def project_output(self, attention: Any) -> Any:
        """Turns attention vectors (..., attention_vector_dim) into logits (..., vocabulary)."""
        return ops.matmul(attention, ops.transpose(self.output_kernel)) + self.output_bias

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Predicts every next target token with the right tokens before it (teacher forcing).

        Args:
            inputs: source_ids (batch, source_len), source_lengths (batch,), target_inputs (batch, target_len), int32;
                `target_inputs` starts with the start token and lacks the end.

        Returns:
            Logits (batch, target_len, vocabulary) float32.
        """
        return self.predict_next(inputs, training=training)[0]

    def predict_next(self, inputs: dict[str, Any], training: bool = False) -> tuple[Any, tuple[Any, ...]]:
        """Predicts as `call` does, and says where attention was.

        Returns:
            Logits (batch, target_len, vocabulary) float32, and per attention mechanism (batch, target_len, source_len)
            float32, its weights at the step that predicts the token.
        """
        memories, state = self.encode(inputs["source_ids"], inputs["source_lengths"], training=training)
        embedded = self.embedding_dropout(self.embed_target(inputs["target_inputs"]), training=training)
        states = self.decoder(embedded, state, memories, training=training)
        return self.project_output(self.dropout(states.attention, training=training)), states.alignments
