"""A mechanism written down and made again: its configuration, and a saved model that holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from model_export.attention import (
    BahdanauAttention,
    BahdanauMonotonicAttention,
    LuongAttention,
    LuongMonotonicAttention,
)
from tests.model_export.attention.by_hand import DEPTH, KINDS, LENGTHS, UNITS, make_with_weights
from tests.model_export.tiny_models import as_numpy, random_array

# Every argument differs from its default.
CONFIGURATIONS: list[tuple[Any, dict[str, Any]]] = [
    (BahdanauAttention, {"units": 3, "normalize": True, "probability_fn": "hardmax"}),
    (LuongAttention, {"units": 3, "scale": True, "probability_fn": "hardmax"}),
    (
        BahdanauMonotonicAttention,
        {
            "units": 3,
            "normalize": True,
            "sigmoid_noise": 0.5,
            "sigmoid_noise_seed": 7,
            "score_bias_init": -2.0,
            "mode": "recursive",
        },
    ),
    (
        LuongMonotonicAttention,
        {
            "units": 3,
            "scale": True,
            "sigmoid_noise": 0.5,
            "sigmoid_noise_seed": 7,
            "score_bias_init": -2.0,
            "mode": "hard",
        },
    ),
]


@pytest.mark.parametrize(("mechanism_class", "arguments"), CONFIGURATIONS)
def test_a_configuration_holds_every_argument(mechanism_class: Any, arguments: dict[str, Any]) -> None:
    mechanism = mechanism_class(**arguments, name="attention", dtype="float64")
    config = json.loads(json.dumps(mechanism.get_config()))
    assert {name: config[name] for name in arguments} == arguments
    again = mechanism_class.from_config(config)
    assert again.get_config() == mechanism.get_config()
    assert (again.name, again.dtype, type(again)) == ("attention", "float64", mechanism_class)


@pytest.mark.parametrize("mechanism_class", [BahdanauAttention, BahdanauMonotonicAttention])
def test_the_initializer_is_written_down(mechanism_class: Any) -> None:
    mechanism = mechanism_class(3, kernel_initializer=keras.initializers.Constant(0.5))
    again = mechanism_class.from_config(mechanism.get_config())
    assert as_numpy(again.attention_v).tolist() == [0.5] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_keras_serialises_a_mechanism_with_the_shapes_of_its_weights(kind: str) -> None:
    mechanism = make_with_weights(kind)
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(mechanism)))
    again = keras.saving.deserialize_keras_object(written)
    assert type(again) is type(mechanism)
    assert again.get_config() == mechanism.get_config()
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in mechanism.weights]


def test_a_memory_is_not_written_down() -> None:
    mechanism = BahdanauAttention(UNITS, memory=random_array(3, 5, DEPTH), memory_sequence_length=LENGTHS)
    assert not BahdanauAttention.from_config(mechanism.get_config()).memory_initialized


@keras.saving.register_keras_serializable("tests")
class AttendOnce(keras.layers.Layer):
    """Lets a mechanism, in the originals' form, attend once; for a model to hold it."""

    def __init__(self, mechanism: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mechanism = mechanism

    def build(self, query_shape: Any, memory_shape: Any) -> None:
        self.mechanism.build_for(query_shape[-1], memory_shape[-1])

    def call(self, query: Any, memory: Any) -> Any:
        self.mechanism.setup_memory(memory)
        return self.mechanism([query, self.mechanism.initial_state(ops.shape(query)[0])])[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mechanism": keras.saving.serialize_keras_object(self.mechanism)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttendOnce:
        return cls(**{**config, "mechanism": keras.saving.deserialize_keras_object(config["mechanism"])})


@pytest.mark.filterwarnings("ignore:(?s).*__array__ implementation:DeprecationWarning")  # Keras's own, when it saves
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_answers_the_same(kind: str, tmp_path: Path) -> None:
    inputs = [keras.Input((UNITS,)), keras.Input((None, DEPTH))]
    model = keras.Model(inputs, AttendOnce(make_with_weights(kind, dtype=None))(*inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    arrays = [random_array(3, UNITS), random_array(3, 5, DEPTH, seed=1)]
    np.testing.assert_array_equal(as_numpy(again(arrays)), as_numpy(model(arrays)))
