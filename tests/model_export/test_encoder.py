"""The encoder: every source token read in context, padding never."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from model_export.encoder import Encoder
from tests.model_export.tiny_models import (
    SOURCE_LENGTHS,
    SOURCE_MASK,
    FloatArray,
    as_numpy,
    random_array,
    randomize,
    tiny_config,
)

SHAPES = [("gru", True), ("gru", False), ("lstm", True), ("lstm", False)]
EMBEDDED = random_array(3, 5, 5)


def make_encoder(cell: str = "gru", bidirectional: bool = True, layers: int = 2, **changes: Any) -> Encoder:
    encoder = Encoder(tiny_config(cell=cell, bidirectional=bidirectional, encoder_layers=layers, **changes))
    encoder.build()
    randomize(encoder.trainable_variables)
    return encoder


def encode(encoder: Encoder, embedded: FloatArray, mask: np.ndarray, training: bool = False) -> FloatArray:
    return as_numpy(encoder(embedded, mask, training=training))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("cell", "bidirectional"), SHAPES)
def test_padding_changes_nothing_and_stays_zero(cell: str, bidirectional: bool, residual: bool) -> None:
    encoder = make_encoder(cell, bidirectional, encoder_residual=residual)
    batched = encode(encoder, EMBEDDED, SOURCE_MASK)
    assert batched.shape == (3, 5, 6)
    assert (batched[~SOURCE_MASK] == 0).all()
    for row, length in enumerate(SOURCE_LENGTHS):
        single = encode(encoder, EMBEDDED[row : row + 1, :length], np.ones((1, length), dtype=bool))
        np.testing.assert_allclose(batched[row, :length], single[0], atol=1e-6)


@pytest.mark.parametrize(("bidirectional", "changed"), [(True, [True] * 5), (False, [False, False, False, True, True])])
def test_both_directions_are_read_where_asked(bidirectional: bool, changed: list[bool]) -> None:
    encoder = make_encoder(bidirectional=bidirectional)
    other = EMBEDDED.copy()
    other[0, 3] += 1
    difference = np.abs(encode(encoder, EMBEDDED, SOURCE_MASK) - encode(encoder, other, SOURCE_MASK))
    assert (difference[0].max(axis=1) > 1e-4).tolist() == changed
    assert difference[1:].max() == 0


def test_layers_are_stacked() -> None:
    encoder = make_encoder(layers=2)
    assert [type(layer) for layer in encoder.recurrent_layers] == [keras.layers.Bidirectional] * 2
    first = as_numpy(encoder.recurrent_layers[0](EMBEDDED, mask=SOURCE_MASK)) * SOURCE_MASK[:, :, None]
    second = as_numpy(encoder.recurrent_layers[1](first, mask=SOURCE_MASK)) * SOURCE_MASK[:, :, None]
    np.testing.assert_allclose(encode(encoder, EMBEDDED, SOURCE_MASK), second, atol=1e-6)


def test_residual_layers_add_to_what_they_read_normalised() -> None:
    encoder = make_encoder(layers=2, encoder_residual=True)
    first = as_numpy(encoder.recurrent_layers[0](EMBEDDED, mask=SOURCE_MASK)) * SOURCE_MASK[:, :, None]
    (gain, bias) = (as_numpy(variable) for variable in encoder.norms[0].trainable_variables)
    centred = first - first.mean(axis=-1, keepdims=True)
    normalised = gain * centred / np.sqrt(first.var(axis=-1, keepdims=True) + 1e-3) + bias
    second = as_numpy(encoder.recurrent_layers[1](normalised, mask=SOURCE_MASK)) * SOURCE_MASK[:, :, None]
    np.testing.assert_allclose(encode(encoder, EMBEDDED, SOURCE_MASK), first + second, atol=1e-6)


def test_the_memory_stays_within_its_bound() -> None:
    encoder = make_encoder(layers=3, encoder_residual=True)
    randomize(encoder.trainable_variables, scale=30.0)  # saturates every gate
    largest = np.abs(encode(encoder, EMBEDDED, SOURCE_MASK)).max()
    assert 1.5 < largest <= encoder.config.memory_bound == 3.0


def test_dropout_acts_in_training_only() -> None:
    encoder = make_encoder(dropout=0.5)
    undisturbed = encode(make_encoder(dropout=0.0), EMBEDDED, SOURCE_MASK)
    np.testing.assert_array_equal(encode(encoder, EMBEDDED, SOURCE_MASK), undisturbed)
    once, again = (encode(encoder, EMBEDDED, SOURCE_MASK, training=True) for _ in range(2))
    assert np.abs(once - undisturbed).max() > 0.01
    assert np.abs(once - again).max() > 0.01


def test_embeddings_and_outputs_have_rates_of_their_own() -> None:
    undisturbed = encode(make_encoder(layers=1), EMBEDDED, SOURCE_MASK)
    at_outputs = encode(make_encoder(layers=1, encoder_dropout=0.5), EMBEDDED, SOURCE_MASK, training=True)
    kept = at_outputs != 0
    assert 0.2 < kept[SOURCE_MASK].mean() < 0.8
    np.testing.assert_allclose(at_outputs[kept], 2 * undisturbed[kept], rtol=1e-5)
    at_embeddings = encode(make_encoder(layers=1, embedding_dropout=0.5), EMBEDDED, SOURCE_MASK, training=True)
    assert (at_embeddings[SOURCE_MASK] != 0).all()
    assert np.abs(at_embeddings - undisturbed).max() > 0.01
