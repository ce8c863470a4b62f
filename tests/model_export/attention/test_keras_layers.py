"""Keras's layers with the interface of tf.keras 2.14, and the mechanisms made of them, against their formulas."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_export.attention import (
    AdditiveAttention,
    Attention,
    KerasAdditiveAttentionMechanism,
    KerasAttentionMechanism,
    Memory,
)
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array, randomize

DEPTH = 4
LENGTHS = np.array([5, 2, 1])
MASK = np.arange(5) < LENGTHS[:, None]
QUERY_MASK = np.array([[True, True, False], [True, False, False], [True] * 3])

LAYERS: list[Any] = [
    pytest.param(Attention, {}, id="dot"),
    pytest.param(Attention, {"use_scale": True}, id="scaled-dot"),
    pytest.param(Attention, {"score_mode": "concat"}, id="concat"),
    pytest.param(Attention, {"score_mode": "concat", "use_scale": True}, id="scaled-concat"),
    pytest.param(AdditiveAttention, {}, id="additive"),
    pytest.param(AdditiveAttention, {"use_scale": False}, id="unscaled-additive"),
]
MECHANISMS: list[Any] = [
    pytest.param(KerasAttentionMechanism, {}, id="dot"),
    pytest.param(KerasAttentionMechanism, {"use_scale": True}, id="scaled-dot"),
    pytest.param(KerasAttentionMechanism, {"score_mode": "concat", "use_scale": True}, id="scaled-concat"),
    pytest.param(KerasAdditiveAttentionMechanism, {}, id="additive"),
    pytest.param(KerasAdditiveAttentionMechanism, {"use_scale": False}, id="unscaled-additive"),
]


def weight(layer: Any, name: str) -> Any:
    variable = getattr(layer, name, None)
    return 1.0 if variable is None else as_numpy(variable)


def scores_by_hand(layer: Any, query: FloatArray, key: FloatArray) -> FloatArray:
    """(B, T, S), from the formulas of the documentation."""
    sums = query[:, :, None, :] + key[:, None, :, :]
    if isinstance(layer, AdditiveAttention):
        return (weight(layer, "scale") * np.tanh(sums)).sum(axis=-1)
    if layer.score_mode == "concat":
        return weight(layer, "concat_score_weight") * np.tanh(weight(layer, "scale") * sums).sum(axis=-1)
    return weight(layer, "scale") * np.einsum("btd,bsd->bts", query, key)


def softmax_over(scores: FloatArray, allowed: np.ndarray) -> FloatArray:
    powers = np.where(allowed, np.exp(scores), 0.0)
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("causal", [None, "constructor", "call"])
@pytest.mark.parametrize(("layer_class", "arguments"), LAYERS)
def test_a_layer_follows_its_formula(layer_class: Any, arguments: dict[str, Any], causal: str | None) -> None:
    layer = layer_class(**arguments, causal=causal == "constructor")
    query, value, key = random_array(3, 3, DEPTH), random_array(3, 5, 6, seed=1), random_array(3, 5, DEPTH, seed=2)
    layer.build([query.shape, value.shape, key.shape])
    randomize(layer.trainable_variables)
    result, weights = layer(
        [query, value, key],
        mask=[QUERY_MASK, MASK],
        return_attention_scores=True,
        use_causal_mask=causal == "call",
    )
    allowed = MASK[:, None, :] & (np.tri(3, 5, dtype=bool) if causal else True)
    expected = softmax_over(scores_by_hand(layer, query, key), allowed)
    np.testing.assert_allclose(as_numpy(weights), expected, atol=1e-6)
    np.testing.assert_allclose(as_numpy(result), expected @ value * QUERY_MASK[:, :, None], atol=1e-5)


@pytest.mark.parametrize("layer_class", [Attention, AdditiveAttention])
def test_without_a_key_the_value_is_the_key(layer_class: Any) -> None:
    layer = layer_class()
    query, value = random_array(2, 3, DEPTH), random_array(2, 5, DEPTH, seed=1)
    np.testing.assert_array_equal(as_numpy(layer([query, value])), as_numpy(layer([query, value, value])))


@pytest.mark.parametrize("layer_class", [Attention, AdditiveAttention])
def test_weights_are_uniform_where_everything_is_masked(layer_class: Any) -> None:
    query, value = random_array(1, 2, DEPTH), random_array(1, 5, DEPTH, seed=1)
    mask = [None, np.zeros((1, 5), dtype=bool)]
    _, weights = layer_class()([query, value], mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(as_numpy(weights), 0.2, atol=1e-6)


@pytest.mark.parametrize("layer_class", [Attention, AdditiveAttention])
def test_one_position_gets_all_weight_without_a_warning(layer_class: Any) -> None:
    value = random_array(2, 1, DEPTH, seed=1)
    result, weights = layer_class()([random_array(2, 3, DEPTH), value], return_attention_scores=True)
    np.testing.assert_array_equal(as_numpy(weights), 1)
    np.testing.assert_allclose(as_numpy(result), np.repeat(value, 3, axis=1))


@pytest.mark.parametrize("layer_class", [Attention, AdditiveAttention])
def test_a_layers_dropout_acts_in_training_only(layer_class: Any) -> None:
    layer = layer_class(dropout=0.5, seed=1)
    inputs = [random_array(4, 3, DEPTH), random_array(4, 9, DEPTH, seed=1)]
    _, weights = layer(inputs, return_attention_scores=True)
    _, dropped = layer(inputs, return_attention_scores=True, training=True)
    np.testing.assert_allclose(as_numpy(weights).sum(axis=-1), 1, atol=1e-6)
    kept = as_numpy(dropped) != 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(as_numpy(dropped)[kept], 2 * as_numpy(weights)[kept], rtol=1e-5)


def test_an_unknown_score_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="score_mode=cosine"):
        Attention(score_mode="cosine")
    with pytest.raises(ValueError, match="score_mode=cosine"):
        KerasAttentionMechanism(score_mode="cosine")


@pytest.mark.parametrize("dropout", [2.0, 1.0, -0.1, float("nan")])
@pytest.mark.parametrize(
    "made", [Attention, AdditiveAttention, KerasAttentionMechanism, KerasAdditiveAttentionMechanism]
)
def test_a_dropout_that_is_no_share_is_refused(made: Any, dropout: float) -> None:
    with pytest.raises(ValueError, match=f"dropout: expected a share of at least 0 and below 1, not {dropout}"):
        made(dropout=dropout)


@pytest.mark.parametrize(("layer_class", "arguments"), LAYERS)
def test_a_layer_can_be_made_again_from_its_configuration(layer_class: Any, arguments: dict[str, Any]) -> None:
    layer = layer_class(**arguments, dropout=0.25, seed=3, causal=True, name="attention")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is layer_class
    assert again.get_config() == layer.get_config()
    assert (again.causal, again.dropout, again.seed) == (True, 0.25, 3)


def test_masks_reach_a_layer_through_a_functional_model() -> None:
    source = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(9, DEPTH, mask_zero=True)(source)
    model = keras.Model(source, Attention()([embedded, embedded]))
    padded = as_numpy(model(np.array([[4, 7, 0, 0]])))
    np.testing.assert_allclose(padded[:, :2], as_numpy(model(np.array([[4, 7]]))), atol=1e-6)
    assert (padded[:, 2:] == 0).all()


# --- mechanisms ---


def make_mechanism(mechanism_class: Any, arguments: dict[str, Any]) -> Any:
    mechanism = mechanism_class(**arguments)
    mechanism.build_for(DEPTH, DEPTH)
    randomize(mechanism.trainable_variables, scale=1.0)
    return mechanism


def attend(mechanism: Any, query: FloatArray, memory: FloatArray, mask: np.ndarray, **options: Any) -> Any:
    prepared = mechanism.prepare(keras.ops.convert_to_tensor(memory), mask)
    context, alignments = mechanism.attend(query, prepared, mechanism.first_alignments(prepared), **options)
    return as_numpy(context), as_numpy(alignments)


@pytest.mark.parametrize(("mechanism_class", "arguments"), MECHANISMS)
def test_a_mechanism_answers_as_its_layer_does(mechanism_class: Any, arguments: dict[str, Any]) -> None:
    mechanism = make_mechanism(mechanism_class, arguments)
    query, memory = random_array(3, DEPTH), random_array(3, 5, DEPTH, seed=1)
    context, alignments = attend(mechanism, query, memory, MASK)
    result, weights = mechanism.layer([query[:, None], memory], mask=[None, MASK], return_attention_scores=True)
    np.testing.assert_allclose(alignments, as_numpy(weights)[:, 0], atol=1e-6)
    np.testing.assert_allclose(context, as_numpy(result)[:, 0], atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e5])
@pytest.mark.parametrize(("mechanism_class", "arguments"), MECHANISMS)
def test_a_mechanisms_weights_are_zero_at_padding(
    mechanism_class: Any, arguments: dict[str, Any], scale: float
) -> None:
    mechanism = make_mechanism(mechanism_class, arguments)
    memory = scale * random_array(3, 5, DEPTH, seed=1)
    _, alignments = attend(mechanism, scale * random_array(3, DEPTH), memory, MASK)
    assert (alignments[~MASK] == 0).all()
    np.testing.assert_allclose(alignments.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("mechanism_class", "arguments"), MECHANISMS)
def test_padding_changes_nothing_for_a_mechanism(mechanism_class: Any, arguments: dict[str, Any]) -> None:
    mechanism = make_mechanism(mechanism_class, arguments)
    query, memory = random_array(1, DEPTH), random_array(1, 7, DEPTH, seed=1)
    context, alignments = attend(mechanism, query, memory, np.arange(7)[None, :] < 4)
    exact_context, exact = attend(mechanism, query, memory[:, :4], np.ones((1, 4), dtype=bool))
    np.testing.assert_allclose(alignments[:, :4], exact, atol=1e-6)
    np.testing.assert_allclose(context, exact_context, atol=1e-6)


@pytest.mark.parametrize("mechanism_class", [KerasAttentionMechanism, KerasAdditiveAttentionMechanism])
def test_a_mechanism_projects_no_keys(mechanism_class: Any) -> None:
    mechanism = mechanism_class()
    memory = mechanism.prepare(keras.ops.ones((3, 5, DEPTH)), MASK)
    assert not mechanism.has_keys
    assert memory.keys is memory.values
    assert mechanism.context_depth(DEPTH) == DEPTH


@pytest.mark.parametrize("mechanism_class", [KerasAttentionMechanism, KerasAdditiveAttentionMechanism])
def test_a_mechanism_refuses_queries_of_another_depth(mechanism_class: Any) -> None:
    problem = r"the query depth \(6\) must equal the memory depth \(4\)"
    with pytest.raises(ValueError, match=problem):
        mechanism_class().build_for(6, DEPTH)
    with pytest.raises(ValueError, match=problem):
        attend(mechanism_class(), random_array(3, 6), random_array(3, 5, DEPTH), MASK)
    stepwise = mechanism_class()
    stepwise.build_for(memory_depth=DEPTH)
    with pytest.raises(ValueError, match=problem):
        stepwise.build_for(query_depth=6)


@pytest.mark.parametrize("mechanism_class", [KerasAttentionMechanism, KerasAdditiveAttentionMechanism])
def test_a_mechanisms_dropout_acts_in_training_only(mechanism_class: Any) -> None:
    mechanism = mechanism_class(dropout=0.5, seed=1)
    query, memory = random_array(3, DEPTH), random_array(3, 5, DEPTH, seed=1)
    _, alignments = attend(mechanism, query, memory, np.ones((3, 5), dtype=bool))
    context, dropped = attend(mechanism, query, memory, np.ones((3, 5), dtype=bool), training=True)
    np.testing.assert_allclose(alignments.sum(axis=1), 1, atol=1e-6)
    kept = dropped != 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(dropped[kept], 2 * alignments[kept], rtol=1e-5)
    np.testing.assert_allclose(context, np.einsum("bs,bsd->bd", dropped, memory), atol=1e-5)


@pytest.mark.parametrize(("mechanism_class", "arguments"), MECHANISMS[1:4])
def test_gradients_reach_a_mechanisms_weights(mechanism_class: Any, arguments: dict[str, Any]) -> None:
    mechanism = make_mechanism(mechanism_class, arguments)
    memory = tf.constant(random_array(3, 5, DEPTH, seed=1))
    with tf.GradientTape() as tape:
        prepared: Memory = mechanism.prepare(memory, MASK)
        context, _ = mechanism.attend(random_array(3, DEPTH), prepared, None)
        loss = tf.reduce_sum(context**2)
    variables = mechanism.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    assert len(gradients) >= 1
    assert all(np.abs(as_numpy(gradient)).max() > 1e-6 for gradient in gradients)


@pytest.mark.parametrize(("mechanism_class", "arguments"), MECHANISMS)
def test_a_mechanism_can_be_made_again_from_its_configuration(mechanism_class: Any, arguments: dict[str, Any]) -> None:
    mechanism = mechanism_class(**arguments, dropout=0.25, seed=3, name="attention")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(mechanism))
    assert type(again) is mechanism_class
    assert again.get_config() == mechanism.get_config()
    assert again.layer.use_scale == mechanism.layer.use_scale


def test_a_mechanism_answers_in_the_original_form_too() -> None:
    mechanism = KerasAttentionMechanism()
    query, memory = random_array(3, DEPTH), random_array(3, 5, DEPTH, seed=1)
    mechanism.setup_memory(memory, LENGTHS)
    alignments, state = mechanism([query, mechanism.initial_state(3)])
    _, expected = attend(mechanism, query, memory, MASK)
    np.testing.assert_allclose(as_numpy(alignments), expected, atol=1e-6)
    np.testing.assert_array_equal(as_numpy(state), as_numpy(alignments))
