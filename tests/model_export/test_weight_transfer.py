"""Weights of the originals, by any of their names, reach the layers that replace them; nothing else does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from model_export.attention import (
    AdditiveAttention,
    Attention,
    CustomAttention,
    KerasAdditiveAttentionMechanism,
    LuongMonotonicAttention,
    SequenceAttention,
)
from model_export.weight_transfer import load_reference_weights
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array
from tests.model_export.weights_of_originals import (
    ADDITIVE,
    MULTIPLICATIVE,
    arrays_of_two,
    check_weights,
    make_additive,
    wrapper_of_two,
)
from tests.user_attention import CosineAttention

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
    with pytest.raises(ValueError, match=": EinsumDense must be built before weights are loaded into it"):
        load_reference_weights(layer, arrays)
    layer.build((None, 2))
    load_reference_weights(layer, arrays)
    check_weights(layer, list(arrays.values()))


# --- layers that hold others ---


def test_sequence_attention_takes_what_its_mechanism_takes() -> None:
    layer = SequenceAttention(make_additive())
    load_reference_weights(layer, ADDITIVE)
    check_weights(layer.mechanism, list(ADDITIVE.values()))
    again = SequenceAttention(KerasAdditiveAttentionMechanism())
    load_reference_weights(again, {"model/additive_attention/scale:0": random_array(5)})
    check_weights(again.mechanism, [random_array(5)])


def test_stacked_cells_and_rnn_layers_around_them_take_the_weights_of_each() -> None:
    arrays = {name: array for name, array in arrays_of_two().items() if name.startswith("cell")}
    cells = wrapper_of_two().cell
    load_reference_weights(cells, arrays)
    check_weights(cells, list(arrays.values()))
    layer = keras.layers.RNN(wrapper_of_two().cell)
    load_reference_weights(layer, list(arrays.values()))
    check_weights(layer.cell, list(arrays.values()))


def test_an_rnn_around_the_wrapper_takes_what_the_wrapper_takes() -> None:
    wrapper = wrapper_of_two()
    for mechanism, depth in zip(wrapper.mechanisms, (3, 5), strict=True):
        mechanism.setup_memory(random_array(2, 4, depth))
    load_reference_weights(keras.layers.RNN(wrapper), arrays_of_two())
    check_weights(wrapper, list(arrays_of_two().values()))


def test_a_mechanism_of_ones_own_is_filled_part_by_part() -> None:
    mechanism = CustomAttention(CosineAttention(3))
    with pytest.raises(ValueError, match=": CosineAttention must be built before weights .* into it; call it once"):
        load_reference_weights(mechanism, {})
    mechanism.build_for(4, 6)
    with pytest.raises(ValueError, match="CosineAttention share a name .*kernel, kernel.*; load those of its parts"):
        load_reference_weights(mechanism, [])
    query_layer = mechanism.layer.query_layer  # type: ignore[attr-defined]
    load_reference_weights(query_layer, {"dense/kernel:0": random_array(4, 3)})
    check_weights(query_layer, [random_array(4, 3)])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.MultiHeadAttention(2, 3), ": MultiHeadAttention must be built .*; call it once"),
        (
            keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1), keras.layers.Dense(1)]),
            "weights of Sequential share a name .* load those of its parts one by one, or .* set_weights",
        ),
        ("decoder", "^str: is no Keras layer"),
    ],
)
def test_what_has_no_names_here_is_refused_with_a_way_out(layer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_reference_weights(layer, {})


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
        (ADDITIVE | {"memory_kernel": np.ones((3, 5))}, r"memory_kernel: expected shape \(any, 4\), not \(3, 5\)"),
        (ADDITIVE | {"query_kernel": np.ones(7)}, r"query_kernel: expected shape \(any, 4\), not \(7,\)"),
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


def test_after_a_refusal_arrays_of_another_depth_can_be_loaded() -> None:
    mechanism, cell, dense = make_additive(), keras.layers.GRUCell(2), keras.layers.Dense(3)
    for layer, refused in (
        (mechanism, ADDITIVE | {"memory_kernel": random_array(9, 4), "query_kernel": random_array(9, 5)}),
        (cell, {"kernel": random_array(9, 6), "recurrent_kernel": random_array(2, 6), "bias": random_array(2, 5)}),
        (dense, {"kernel": random_array(9, 3), "bias": random_array(4)}),
    ):
        with pytest.raises(ValueError, match="expected shape"):
            load_reference_weights(layer, refused)
    cell_arrays = {"kernel": random_array(5, 6), "recurrent_kernel": random_array(2, 6), "bias": random_array(2, 6)}
    dense_arrays = {"kernel": random_array(5, 3), "bias": random_array(3)}
    for layer, arrays in ((mechanism, ADDITIVE), (cell, cell_arrays), (dense, dense_arrays)):
        load_reference_weights(layer, arrays)
        check_weights(layer, list(arrays.values()))


def test_a_layer_that_is_built_says_its_whole_shape() -> None:
    mechanism = make_additive()
    mechanism.build_for(7, 3)
    with pytest.raises(ValueError, match=r"memory_kernel: expected shape \(3, 4\), not \(5, 4\)"):
        load_reference_weights(mechanism, ADDITIVE | {"memory_kernel": np.ones((5, 4))})


def test_an_error_in_a_wrapper_names_the_part() -> None:
    arrays = arrays_of_two() | {"cell1_bias": np.ones(21, dtype=np.float32)}
    with pytest.raises(ValueError, match=r"cell1_bias: expected shape \(2, 21\), not \(21,\)"):
        load_reference_weights(wrapper_of_two(), arrays)


def test_one_bias_of_a_gru_comes_with_the_way_out() -> None:
    arrays = {"kernel": random_array(3, 6), "recurrent_kernel": random_array(2, 6), "bias": random_array(6)}
    with pytest.raises(ValueError, match=r"^bias: expected shape \(2, 6\), not \(6,\); .* GRU\(.*reset_after=False\)"):
        load_reference_weights(keras.layers.GRU(2), arrays)
    layer = keras.layers.GRU(2, reset_after=False)
    load_reference_weights(layer, arrays)
    check_weights(layer, list(arrays.values()))


@pytest.mark.parametrize(
    "arrays", [None, iter([np.ones(1)]), "kernel", np.ones((2, 3))], ids=lambda value: type(value).__name__
)
def test_arrays_must_be_a_mapping_or_a_list(arrays: Any) -> None:
    with pytest.raises(TypeError, match=f"^arrays: expected a mapping by name or a list, not {type(arrays).__name__}$"):
        load_reference_weights(keras.layers.Dense(3, use_bias=False), arrays)


def test_one_array_is_asked_for_in_the_singular() -> None:
    with pytest.raises(ValueError, match=r"^expected 1 array \(kernel\), not 2$"):
        load_reference_weights(keras.layers.Dense(3, use_bias=False), [np.ones((2, 3))] * 2)


def test_a_layer_without_weights_takes_none() -> None:
    with pytest.raises(ValueError, match="scale: no such weight; expected none at all"):
        load_reference_weights(Attention(), {"scale": np.ones(())})
