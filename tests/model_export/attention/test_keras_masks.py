"""The mask that a Keras tensor carries as a memory: set up by itself, in a functional model, and at `fit`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.model_export.attention.by_hand import DEPTH, KINDS, LENGTHS, MASK, UNITS, Array, make, make_with_weights
from tests.model_export.attention.fitted_attention import IDS, QUERY, check_fit, encoder_and_attention, fit
from tests.model_export.tiny_models import as_numpy, random_array

MEMORY = random_array(3, 5, DEPTH, seed=1)


def masked_memory() -> Any:
    """MEMORY with MASK as its Keras mask."""
    return keras.layers.Masking()(MEMORY * MASK[:, :, None])


def ask(mechanism: Any) -> Array:
    """Alignments (B, S) of the first step over the remembered memory."""
    return as_numpy(mechanism([QUERY, mechanism.initial_state(3)])[0])


def expected(mechanism: Any, mask: Array) -> Array:
    """The same by the pure form, with an explicit mask."""
    prepared = mechanism.prepare(MEMORY, ops.convert_to_tensor(mask))
    query = ops.convert_to_tensor(QUERY)
    return as_numpy(mechanism.attend(query, prepared, mechanism.first_alignments(prepared)).alignments)


@pytest.fixture(params=KINDS)
def mechanism(request: pytest.FixtureRequest) -> Any:
    return make_with_weights(request.param, dtype=None)


# --- By itself ----------------------------------------------------------------------------------------------------


def test_a_memory_that_is_set_up_keeps_its_mask(mechanism: Any) -> None:
    mechanism.setup_memory(masked_memory())
    alignments = ask(mechanism)
    np.testing.assert_array_equal(alignments, expected(mechanism, MASK))
    assert (alignments[~MASK] == 0).all()


def test_a_memory_of_the_constructor_keeps_its_mask(mechanism: Any) -> None:
    again = type(mechanism)(memory=masked_memory(), **mechanism.get_config())
    np.testing.assert_array_equal(as_numpy(again.memory.mask), MASK)
    again.build_for(query_depth=UNITS)
    assert (ask(again)[~MASK] == 0).all()


def test_the_mask_survives_recurrent_layers() -> None:
    embedded = keras.layers.Embedding(9, 4, mask_zero=True)(IDS)
    encoded = keras.layers.Bidirectional(keras.layers.GRU(DEPTH, return_sequences=True))(embedded)
    mechanism = make("bahdanau")
    mechanism.setup_memory(encoded)
    np.testing.assert_array_equal(as_numpy(mechanism.memory.mask), MASK)
    assert (ask(mechanism)[~MASK] == 0).all()


def test_lengths_and_masks_given_besides_cannot_make_padding_real(mechanism: Any) -> None:
    lengths = np.array([2, 5, 5])
    both = MASK & (np.arange(5) < lengths[:, None])
    mechanism.setup_memory(masked_memory(), lengths)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, both))
    mechanism.setup_memory(masked_memory(), memory_mask=np.arange(5) < lengths[:, None])
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, both))
    mechanism(masked_memory(), setup_memory=True)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, MASK))
    mechanism([masked_memory(), lengths], setup_memory=True)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, both))


def test_a_sentence_that_is_all_padding_is_refused(mechanism: Any) -> None:
    padding = keras.layers.Masking()(MEMORY * np.array([1, 0, 1])[:, None, None])
    with pytest.raises(ValueError, match="sentence 1 has length 0"):
        mechanism.setup_memory(padding)
    left_padded = keras.layers.Masking()(MEMORY * MASK[:, ::-1, None])
    with pytest.raises(ValueError, match="sentence 1 has length 0"):  # of what is real, lengths leave nothing
        mechanism.setup_memory(left_padded, LENGTHS)


# --- In a model ---------------------------------------------------------------------------------------------------


FORMS = ["setup_memory", "SequenceAttention"]


@pytest.mark.parametrize("form", FORMS)
def test_in_a_functional_model_padding_gets_no_weight_and_changes_nothing(form: str) -> None:
    model = encoder_and_attention(form)
    contexts, alignments = (as_numpy(answer) for answer in model([QUERY, IDS]))
    assert (alignments[~MASK] == 0).all()
    np.testing.assert_allclose(alignments.sum(axis=1), 1, atol=1e-6)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        context, weights = (as_numpy(answer) for answer in model([QUERY[one], IDS[one, :length]]))
        np.testing.assert_allclose(alignments[one, :length], weights, atol=1e-6)
        np.testing.assert_allclose(contexts[one], context, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_fit_sees_no_padding(form: str) -> None:
    alignments, weights = fit(form, padding=0)
    assert alignments.shape == (3, 5)
    check_fit(alignments, weights, expected=fit(form, padding=3)[1])
    untrained = encoder_and_attention(form).get_weights()
    assert all(np.abs(after - before).max() > 1e-4 for after, before in zip(weights, untrained, strict=True))
