"""Functional models whose encoder and attention see a mask of Keras, and what fitting one of them gives."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from model_export.attention import BahdanauAttention, SequenceAttention
from tests.model_export.attention.by_hand import DEPTH, MASK, UNITS, Array
from tests.model_export.tiny_models import random_array, randomize

QUERY = random_array(3, UNITS)
IDS = np.array([[3, 1, 4, 2, 5], [6, 2, 0, 0, 0], [5, 0, 0, 0, 0]], dtype=np.int32)  # as long as LENGTHS


class AttendOnce(keras.layers.Layer):
    """Lets a mechanism attend once over the memory that it is called with; says nothing of masks."""

    def __init__(self, mechanism: Any) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.supports_masking = True

    def build(self, query_shape: Any, memory_shape: Any) -> None:
        self.mechanism.build_for(query_shape[-1], memory_shape[-1])

    def call(self, query: Any, memory: Any) -> Any:
        self.mechanism.setup_memory(memory)
        alignments, _ = self.mechanism([query, self.mechanism.initial_state(ops.shape(query)[0])])
        return ops.sum(alignments[:, :, None] * memory, axis=1), alignments

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None, None


def encoder_and_attention(form: str, recurrent: bool = True) -> keras.Model:
    """Query (B, UNITS) and source_ids (B, S) to context (B, DEPTH) and alignments (B, S)."""
    query, source_ids = keras.Input((UNITS,)), keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(9, 4, mask_zero=True)(source_ids)
    encoded = (keras.layers.GRU(DEPTH, return_sequences=True) if recurrent else keras.layers.Dense(DEPTH))(embedded)
    if form == "setup_memory":
        answers = AttendOnce(BahdanauAttention(UNITS))(query, encoded)
    else:
        answers = [each[:, 0] for each in SequenceAttention(BahdanauAttention(UNITS))(query[:, None, :], encoded)]
    model = keras.Model([query, source_ids], list(answers))
    randomize(model.trainable_variables)
    return model


def fit(form: str, padding: int, recurrent: bool = True) -> tuple[Array, list[Array]]:
    """Alignments (B, S) and weights of a model that was fitted with that many more padded positions."""
    model = encoder_and_attention(form, recurrent)
    inputs, target = [QUERY, np.pad(IDS, ((0, 0), (0, padding)))], np.ones((3, DEPTH), dtype=np.float32)
    model.compile(keras.optimizers.SGD(0.5), ["mse", None], jit_compile=False)
    model.fit(inputs, [target, None], epochs=2, verbose=0)
    return model.predict_on_batch(inputs)[1], model.get_weights()


def check_fit(alignments: Array, weights: list[Array], expected: list[Array]) -> None:
    """Padding got no weight, and the model's weights are those of another fit."""
    assert (alignments[:, :5][~MASK] == 0).all()
    assert (alignments[:, 5:] == 0).all()
    for found, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(found, other, atol=1e-5)
