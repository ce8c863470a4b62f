"""Attention written elsewhere: what is accepted, how it acts as a mechanism, and how it is saved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_export.attention import AttentionMechanism, CustomAttention, check_mechanism, make_mechanism
from model_export.attention_config import CustomAttentionConfig
from model_export.errors import ConfigError
from tests.model_export.attention import own_layers
from tests.model_export.attention.named_layers import DEPTH, HERE, QUERY_DEPTH, UNITS, build, make
from tests.model_export.attention.own_layers import LastToken, ProjectedAttention, RegisteredAttention
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array, randomize

LENGTHS = np.array([5, 2, 1])
MASK = np.arange(5) < LENGTHS[:, None]


def attend(
    mechanism: AttentionMechanism, query: FloatArray, memory: FloatArray, mask: np.ndarray, **options: Any
) -> Any:
    prepared = mechanism.prepare(keras.ops.convert_to_tensor(memory), mask)
    context, alignments = mechanism.attend(query, prepared, mechanism.first_alignments(prepared), **options)
    return as_numpy(context), as_numpy(alignments)


def answer_by_hand(layer: Any, query: FloatArray, memory: FloatArray, length: int) -> tuple[FloatArray, FloatArray]:
    query_kernel, query_bias = (as_numpy(weight) for weight in layer.query_layer.weights)
    value_kernel, value_bias = (as_numpy(weight) for weight in layer.value_layer.weights)
    projected = memory[:length] @ value_kernel + value_bias
    powers = np.exp(projected @ (query @ query_kernel + query_bias) / layer.temperature)
    weights = powers / powers.sum()
    return weights @ projected, weights


def test_a_layer_named_in_the_configuration_attends() -> None:
    mechanism = build("ProjectedAttention", temperature=2.0)
    assert isinstance(mechanism, CustomAttention)
    assert type(mechanism.layer) is ProjectedAttention
    randomize(mechanism.trainable_variables)
    query, memory = random_array(3, QUERY_DEPTH), random_array(3, 5, DEPTH, seed=1)
    context, alignments = attend(mechanism, query, memory, MASK)
    for row, length in enumerate(LENGTHS):
        expected_context, expected = answer_by_hand(mechanism.layer, query[row], memory[row], length)
        np.testing.assert_allclose(alignments[row, :length], expected, atol=1e-6)
        np.testing.assert_allclose(context[row], expected_context, atol=1e-5)
    assert (alignments[~MASK] == 0).all()
    np.testing.assert_array_equal(
        as_numpy(mechanism.align(query, mechanism.prepare(keras.ops.convert_to_tensor(memory), MASK), None)), alignments
    )


def test_building_creates_weights_that_are_trained() -> None:
    mechanism = make("ProjectedAttention")
    assert mechanism.trainable_variables == []
    mechanism.build_for(QUERY_DEPTH, DEPTH)
    shapes = [tuple(variable.shape) for variable in mechanism.trainable_variables]
    assert sorted(shapes) == [(UNITS,), (UNITS,), (QUERY_DEPTH, UNITS), (DEPTH, UNITS)]
    assert mechanism.context_depth(DEPTH) == UNITS
    assert not mechanism.has_keys


def test_gradients_flow_into_the_layers_weights() -> None:
    mechanism = build("ProjectedAttention")
    randomize(mechanism.trainable_variables)
    with tf.GradientTape() as tape:
        memory = mechanism.prepare(tf.constant(random_array(3, 5, DEPTH, seed=1)), MASK)
        context, _ = mechanism.attend(random_array(3, QUERY_DEPTH), memory, None)
        loss = tf.reduce_sum(context**3)
    gradients = tape.gradient(loss, [variable.value for variable in mechanism.trainable_variables])
    assert all(np.abs(as_numpy(gradient)).max() > 1e-6 for gradient in gradients)


def test_the_layer_learns_as_part_of_a_functional_model() -> None:
    query, memory = keras.Input((QUERY_DEPTH,)), keras.Input((5, DEPTH))
    mechanism = build("ProjectedAttention")

    class Attending(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.mechanism = mechanism
            self.built = True

        def call(self, query: Any, memory: Any, training: bool = False) -> Any:
            return mechanism.attend(query, mechanism.prepare(memory), None, training=training).context

    model = keras.Model([query, memory], Attending()(query, memory))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    inputs = [random_array(16, QUERY_DEPTH), random_array(16, 5, DEPTH, seed=1)]
    targets = inputs[1][:, :, :UNITS].mean(axis=1)
    losses = model.fit(inputs, targets, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


def test_dropout_in_the_layer_acts_in_training_only() -> None:
    mechanism = build("ProjectedAttention", dropout=0.5)
    arguments = (mechanism, random_array(3, QUERY_DEPTH), random_array(3, 5, DEPTH, seed=1), MASK)
    quiet = [attend(*arguments)[0] for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    assert np.abs(attend(*arguments, training=True)[0] - quiet[0]).max() > 1e-3


def test_a_layer_can_be_unnormalised_and_loop() -> None:
    plain, sigmoid = build("ProjectedAttention"), build("SigmoidAttention")
    assert (plain.normalized, sigmoid.normalized) == (True, False)
    assert isinstance(plain, CustomAttention)
    assert isinstance(sigmoid, CustomAttention)
    assert (plain.allow_loop, sigmoid.allow_loop) == (False, True)


def test_a_layer_may_take_the_mask_by_name_only() -> None:
    assert build("KeywordMask").context_depth(DEPTH) == UNITS


def test_the_depth_of_the_context_is_known_only_when_built() -> None:
    with pytest.raises(ValueError, match="known only after build_for"):
        make("ProjectedAttention").context_depth(DEPTH)


def test_a_layer_is_checked_with_its_first_query_if_not_before() -> None:
    with pytest.raises(ConfigError, match="weights of exactly 0 where mask is False"):
        attend(make("IgnoringMask"), random_array(3, QUERY_DEPTH), random_array(3, 5, DEPTH), MASK)


def test_a_layer_can_be_built_while_a_graph_is_traced() -> None:
    mechanism = make("ProjectedAttention")

    @tf.function
    def step(query: Any, memory: Any) -> Any:
        return mechanism.attend(query, mechanism.prepare(memory, MASK), None).alignments

    query, memory = random_array(3, QUERY_DEPTH), random_array(3, 5, DEPTH, seed=1)
    traced = as_numpy(step(query, memory))
    np.testing.assert_allclose(traced, attend(mechanism, query, memory, MASK)[1], atol=1e-6)


def test_a_layer_answers_in_the_original_form_too() -> None:
    mechanism = make("ProjectedAttention")
    query, memory = random_array(3, QUERY_DEPTH), random_array(3, 5, DEPTH, seed=1)
    mechanism.setup_memory(memory, LENGTHS)
    alignments, _ = mechanism([query, mechanism.initial_state(3)])
    np.testing.assert_allclose(as_numpy(alignments), attend(mechanism, query, memory, MASK)[1], atol=1e-6)


def test_a_mechanism_of_ones_own_is_taken_as_it_is() -> None:
    mechanism = build("LastToken")
    assert type(mechanism) is LastToken
    assert (mechanism.units, mechanism.name) == (UNITS, "own")
    _, alignments = attend(mechanism, random_array(3, QUERY_DEPTH), random_array(3, 5, DEPTH), MASK)
    np.testing.assert_array_equal(alignments.argmax(axis=1), LENGTHS - 1)
    check_mechanism(mechanism, QUERY_DEPTH, DEPTH)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "mixed_bfloat16", "float16", "mixed_float16"])
def test_a_layer_may_compute_in_another_precision(dtype: str) -> None:
    mechanism = CustomAttention(ProjectedAttention(UNITS, dtype=dtype))
    mechanism.build_for(QUERY_DEPTH, DEPTH)
    memory = mechanism.prepare(random_array(3, 5, DEPTH), keras.ops.convert_to_tensor(MASK))
    attended = mechanism.attend(keras.ops.ones((3, QUERY_DEPTH), mechanism.compute_dtype), memory, None)
    found = {keras.backend.standardize_dtype(part.dtype) for part in attended}
    assert found == {mechanism.compute_dtype} == {dtype.removeprefix("mixed_")}


def test_a_module_in_the_current_directory_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = f"from {HERE} import ProjectedAttention\nclass Mine(ProjectedAttention):\n    pass\n"
    (tmp_path / "attention_of_mine.py").write_text(content, encoding="utf-8")
    path_before = list(sys.path)
    config = CustomAttentionConfig(name="attention_of_mine:Mine", units=7)
    mechanism = make_mechanism(config, units=UNITS, name="own")
    mechanism.build_for(QUERY_DEPTH, DEPTH)
    assert mechanism.context_depth(DEPTH) == 7
    assert sys.path == path_before
    monkeypatch.delitem(sys.modules, "attention_of_mine")


# --- saving ---


def test_a_registered_layer_survives_saving(tmp_path: Path) -> None:
    mechanism = CustomAttention(RegisteredAttention(UNITS), name="own")
    query, memory = random_array(3, QUERY_DEPTH), random_array(3, 5, DEPTH, seed=1)
    _, expected = attend(mechanism, query, memory, MASK)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(mechanism))
    assert type(again) is CustomAttention
    assert type(again.layer) is RegisteredAttention
    assert again.name == "own"
    again.set_weights(mechanism.get_weights())
    np.testing.assert_allclose(attend(again, query, memory, MASK)[1], expected, atol=1e-6)


def test_an_unregistered_layer_can_be_named_when_it_is_loaded() -> None:
    config = keras.saving.serialize_keras_object(CustomAttention(own_layers.SigmoidAttention(UNITS, temperature=2.0)))
    with pytest.raises((TypeError, ValueError), match="SigmoidAttention"):
        keras.saving.deserialize_keras_object(config)
    again = keras.saving.deserialize_keras_object(
        config, custom_objects={"SigmoidAttention": own_layers.SigmoidAttention}
    )
    assert (again.layer.temperature, again.normalized) == (2.0, False)
