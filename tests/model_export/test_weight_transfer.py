"""Weights of the originals, by any of their names, reach the layers that replace them; nothing else does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from model_export.attention import (
    AdditiveAttention,
    Attention,
    BahdanauAttention,
    BahdanauMonotonicAttention,
    KerasAdditiveAttentionMechanism,
    LuongAttention,
    LuongMonotonicAttention,
)
from model_export.attention_wrapper import AttentionWrapper
from model_export.weight_transfer import load_reference_weights
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array

ADDITIVE = {
    "attention_v": random_array(4),
    "attention_score_bias": random_array(),
    "attention_g": random_array(),
    "attention_b": random_array(4, seed=1),
    "query_kernel": random_array(7, 4),
    "memory_kernel": random_array(3, 4),
}
MULTIPLICATIVE = {
    "attention_g": random_array(),
    "attention_score_bias": random_array(seed=1),
    "memory_kernel": random_array(3, 7),
}


def make_additive() -> BahdanauMonotonicAttention:
    return BahdanauMonotonicAttention(4, normalize=True)


def wrapper_of_two() -> AttentionWrapper:
    """Two stacked cells, two mechanisms, two attention layers of which the second has a bias."""
    cell = keras.layers.StackedRNNCells([keras.layers.LSTMCell(6), keras.layers.GRUCell(7)])
    layers = [keras.layers.Dense(2, use_bias=False), keras.layers.Dense(3)]
    return AttentionWrapper(cell, [BahdanauAttention(4), LuongAttention(7)], attention_layer=layers)


def arrays_of_two() -> dict[str, FloatArray]:
    """In the original's order; inputs of depth 8."""
    shapes = {
        "attention_layer0_kernel": (7 + 3, 2),
        "attention_layer1_kernel": (7 + 5, 3),
        "attention_layer1_bias": (3,),
        "cell0_kernel": (8 + 5, 24),
        "cell0_recurrent_kernel": (6, 24),
        "cell0_bias": (24,),
        "cell1_kernel": (6, 21),
        "cell1_recurrent_kernel": (7, 21),
        "cell1_bias": (2, 21),
        "mech0_attention_v": (4,),
        "mech0_query_kernel": (7, 4),
        "mech0_memory_kernel": (3, 4),
        "mech1_memory_kernel": (5, 7),
    }
    return {name: random_array(*shape, seed=index) for index, (name, shape) in enumerate(shapes.items())}


def check_weights(layer: keras.layers.Layer, expected: list[Any]) -> None:
    for weight, array in zip(layer.weights, expected, strict=True):
        np.testing.assert_array_equal(as_numpy(weight), array)


# --- by name ---


def test_an_additive_mechanism_takes_all_its_weights() -> None:
    mechanism = make_additive()
    load_reference_weights(mechanism, ADDITIVE)
    check_weights(mechanism, list(ADDITIVE.values()))
    np.testing.assert_array_equal(as_numpy(mechanism.memory_layer.kernel), ADDITIVE["memory_kernel"])
    np.testing.assert_array_equal(as_numpy(mechanism.query_layer.kernel), ADDITIVE["query_kernel"])


def test_a_multiplicative_mechanism_takes_all_its_weights() -> None:
    mechanism = LuongMonotonicAttention(7, scale=True)
    load_reference_weights(mechanism, MULTIPLICATIVE)
    check_weights(mechanism, list(MULTIPLICATIVE.values()))


def test_weights_that_exist_get_new_values() -> None:
    mechanism = make_additive()
    mechanism.build_for(7, 3)
    load_reference_weights(mechanism, ADDITIVE)
    check_weights(mechanism, list(ADDITIVE.values()))


def test_a_wrapper_takes_the_weights_of_all_its_parts() -> None:
    wrapper = wrapper_of_two()
    arrays = arrays_of_two()
    load_reference_weights(wrapper, arrays)
    check_weights(wrapper, list(arrays.values()))
    wrapper.build_for(8, [3, 5])  # what exists fits the inputs and memories that the arrays were made for
    check_weights(wrapper, list(arrays.values()))


@pytest.mark.parametrize(
    ("layer", "arrays"),
    [
        (
            Attention(use_scale=True, score_mode="concat"),
            {"scale": random_array(), "concat_score_weight": random_array()},
        ),
        (AdditiveAttention(), {"scale": random_array(5)}),
        (KerasAdditiveAttentionMechanism(), {"scale": random_array(5)}),
        (Attention(), {}),
        (
            keras.layers.SimpleRNNCell(2, use_bias=False),
            {"kernel": random_array(3, 2), "recurrent_kernel": random_array(2, 2)},
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_layers_of_keras_take_their_weights(layer: keras.layers.Layer, arrays: dict[str, FloatArray]) -> None:
    load_reference_weights(layer, arrays)
    check_weights(layer, list(arrays.values()))


def test_a_layer_of_ones_own_is_filled_once_it_is_built() -> None:
    layer = keras.layers.EinsumDense("ab,bc->ac", output_shape=3)
    arrays = {"kernel": random_array(2, 3)}
    with pytest.raises(ValueError, match="a EinsumDense must be built before weights are loaded into it"):
        load_reference_weights(layer, arrays)
    layer.build((None, 2))
    load_reference_weights(layer, arrays)
    check_weights(layer, list(arrays.values()))


# --- by the original variables' names ---


@pytest.mark.parametrize(
    "names",
    [
        "attention_v:0 attention_score_bias:0 attention_g:0 attention_b:0 query_layer/kernel:0 memory_layer/kernel:0",
        "model/BahdanauMonotonicAttention/attention_v attention_score_bias decoder/attention_g decoder/attention_b "
        "decoder/attention_wrapper/bahdanau_monotonic_attention/query_layer/kernel memory_layer/kernel",
        " ".join(
            f"decoder/_attention_mechanisms/0/{name}/.ATTRIBUTES/VARIABLE_VALUE"
            for name in (
                "attention_v",
                "attention_score_bias",
                "attention_g",
                "attention_b",
                "query_layer/kernel",
                "memory_layer/kernel",
            )
        ),
    ],
    ids=["variables", "scopes", "checkpoint"],
)
def test_a_mechanism_knows_the_names_of_the_originals_variables(names: str) -> None:
    mechanism = make_additive()
    load_reference_weights(mechanism, dict(zip(names.split(), ADDITIVE.values(), strict=True)))
    check_weights(mechanism, list(ADDITIVE.values()))


def test_repeated_names_in_a_wrapper_are_told_apart_by_their_order() -> None:
    names = [
        "_attention_layers/0/kernel",
        "_attention_layers/1/kernel",
        "_attention_layers/1/bias",
        "_cell/cells/0/kernel",
        "_cell/cells/0/recurrent_kernel",
        "_cell/cells/0/bias",
        "_cell/cells/1/kernel",
        "_cell/cells/1/recurrent_kernel",
        "_cell/cells/1/bias",
        "_attention_mechanisms/0/attention_v",
        "_attention_mechanisms/0/query_layer/kernel",
        "_attention_mechanisms/0/memory_layer/kernel",
        "_attention_mechanisms/1/memory_layer/kernel",
    ]
    arrays = dict(zip(names, arrays_of_two().values(), strict=True))
    wrapper = wrapper_of_two()
    load_reference_weights(wrapper, {name: arrays[name] for name in sorted(arrays)})  # as a checkpoint lists them
    check_weights(wrapper, list(arrays_of_two().values()))


def test_variables_of_keras_2_fill_a_wrapper() -> None:
    names = {
        "decoder/attention_wrapper/attention_layer/kernel:0": (7 + 3, 2),
        "decoder/attention_wrapper/gru_cell_1/kernel:0": (8 + 2, 21),
        "decoder/attention_wrapper/gru_cell_1/recurrent_kernel:0": (7, 21),
        "decoder/attention_wrapper/gru_cell_1/bias:0": (2, 21),
        "LuongAttention/memory_layer/kernel:0": (3, 7),
    }
    arrays = {name: random_array(*shape) for name, shape in names.items()}
    wrapper = AttentionWrapper(keras.layers.GRUCell(7), LuongAttention(7), attention_layer_size=2)
    load_reference_weights(wrapper, arrays)
    check_weights(wrapper, list(arrays.values()))


# --- as a list ---


def test_a_list_is_taken_in_the_originals_order() -> None:
    mechanism, wrapper = make_additive(), wrapper_of_two()
    load_reference_weights(mechanism, list(ADDITIVE.values()))
    load_reference_weights(wrapper, list(arrays_of_two().values()))
    check_weights(mechanism, list(ADDITIVE.values()))
    check_weights(wrapper, list(arrays_of_two().values()))


# --- errors ---


def without(name: str) -> dict[str, Any]:
    return {key: array for key, array in ADDITIVE.items() if key != name}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (without("attention_g"), "attention_g: missing; expected attention_v, attention_score_bias, attention_g"),
        (without("memory_kernel"), "memory_kernel: missing"),
        (ADDITIVE | {"attention_w": np.ones(4)}, "attention_w: no such weight; expected attention_v"),
        (ADDITIVE | {"decoder/attention_v:0": np.ones(4)}, "decoder/attention_v:0: no such weight"),
        (ADDITIVE | {"attention_v": np.ones(5)}, r"attention_v: expected shape \(4,\), not \(5,\)"),
        (ADDITIVE | {"attention_g": np.ones(1)}, r"attention_g: expected shape \(\), not \(1,\)"),
        (ADDITIVE | {"memory_kernel": np.ones((3, 5))}, r"memory_kernel: expected shape \(3, 4\), not \(3, 5\)"),
        (ADDITIVE | {"query_kernel": np.ones(7)}, r"query_kernel: expected two dimensions, not shape \(7,\)"),
        (list(ADDITIVE.values())[1:], "expected 6 arrays .attention_v, .*memory_kernel., not 5"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_assigned(arrays: Any, message: str) -> None:
    mechanism = make_additive()
    before = as_numpy(mechanism.attention_v).copy()
    with pytest.raises(ValueError, match=message):
        load_reference_weights(mechanism, arrays)
    np.testing.assert_array_equal(as_numpy(mechanism.attention_v), before)
    assert float(as_numpy(mechanism.attention_g)) == pytest.approx(0.5)  # 1 / sqrt(units), as it was


def test_an_error_in_a_wrapper_names_the_part() -> None:
    arrays = arrays_of_two() | {"cell1_bias": np.ones(21, dtype=np.float32)}
    with pytest.raises(ValueError, match=r"cell1_bias: expected shape \(2, 21\), not \(21,\)"):
        load_reference_weights(wrapper_of_two(), arrays)


def test_a_layer_without_weights_takes_none() -> None:
    with pytest.raises(ValueError, match="scale: no such weight; expected none at all"):
        load_reference_weights(Attention(), {"scale": np.ones(())})
