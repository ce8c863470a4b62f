"""The names of the originals' variables, in whatever scope, tell where their arrays belong."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from model_export.attention import LuongAttention
from model_export.attention_wrapper import AttentionWrapper
from model_export.weight_transfer import load_reference_weights
from tests.model_export.tiny_models import as_numpy, random_array
from tests.model_export.weights_of_originals import (
    ADDITIVE,
    arrays_of_two,
    check_weights,
    make_additive,
    wrapper_of_two,
)


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


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("attention_layer", "attention_layer_1"),
        ("decoder/attention_wrapper/dense", "decoder/attention_wrapper/dense_1"),
        ("dense_1", "dense_2"),
        ("my_projection", "decoder/gru_to_attention"),
    ],
)
@pytest.mark.parametrize("cells_first", [False, True])
def test_attention_layers_may_have_any_name(first: str, second: str, cells_first: bool) -> None:
    values = arrays_of_two()
    dense = {
        f"{first}/kernel:0": values["attention_layer0_kernel"],
        f"{second}/kernel:0": values["attention_layer1_kernel"],
        f"{second}/bias:0": values["attention_layer1_bias"],
    }
    cells = {
        f"stacked_rnn_cells/{cell}/{name}:0": values[f"cell{index}_{name}"]
        for index, cell in enumerate(("lstm_cell", "gru_cell"))
        for name in ("kernel", "recurrent_kernel", "bias")
    }
    mechanisms = {
        "BahdanauAttention/attention_v:0": values["mech0_attention_v"],
        "BahdanauAttention/query_layer/kernel:0": values["mech0_query_kernel"],
        "BahdanauAttention/memory_layer/kernel:0": values["mech0_memory_kernel"],
        "LuongAttention/memory_layer/kernel:0": values["mech1_memory_kernel"],
    }
    wrapper = wrapper_of_two()
    load_reference_weights(wrapper, cells | dense | mechanisms if cells_first else mechanisms | dense | cells)
    check_weights(wrapper, list(values.values()))


def test_names_of_ours_and_of_the_original_can_be_mixed() -> None:
    values = arrays_of_two()
    given = {f"dense/{name}": values.pop(f"attention_layer1_{name}") for name in ("kernel", "bias")}
    wrapper = wrapper_of_two()
    load_reference_weights(wrapper, given | values)
    check_weights(wrapper, list(arrays_of_two().values()))


def test_an_array_too_many_is_named() -> None:
    arrays = {f"dense_{index}/kernel:0": random_array(10, 2) for index in range(3)}
    with pytest.raises(ValueError, match="^dense_2/kernel:0: no such weight; expected attention_layer0_kernel"):
        load_reference_weights(wrapper_of_two(), arrays)


BOTH_DIRECTIONS = [
    f"encoder/{direction}_gru/gru_cell_{index}/{name}:0"
    for index, direction in enumerate(("forward", "backward"))
    for name in ("kernel", "recurrent_kernel", "bias")
]


def bidirectional(bias_initializer: str = "zeros") -> keras.layers.Bidirectional:
    return keras.layers.Bidirectional(keras.layers.GRU(3, bias_initializer=bias_initializer), name="encoder")


@pytest.mark.parametrize("names", [BOTH_DIRECTIONS, sorted(BOTH_DIRECTIONS), None], ids=["given", "sorted", "list"])
def test_bidirectional_layers_take_the_weights_of_both_directions(names: list[str] | None) -> None:
    original, layer = bidirectional("normal"), bidirectional()
    inputs = random_array(2, 4, 5)
    expected = as_numpy(original(inputs))
    weights = dict(zip(BOTH_DIRECTIONS, original.get_weights(), strict=True))
    load_reference_weights(layer, {name: weights[name] for name in names} if names else list(weights.values()))
    np.testing.assert_array_equal(as_numpy(layer(inputs)), expected)


@pytest.mark.parametrize("layer_class", [keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN])
def test_recurrent_layers_take_the_weights_of_their_cell(layer_class: type[keras.layers.RNN]) -> None:
    original, layer = layer_class(3, bias_initializer="normal"), layer_class(3)
    inputs = random_array(2, 4, 5)
    expected = as_numpy(original(inputs))
    arrays = {f"encoder/rnn_1/rnn_cell_1/{variable.name}:0": as_numpy(variable) for variable in original.weights}
    load_reference_weights(layer, arrays)
    np.testing.assert_array_equal(as_numpy(layer(inputs)), expected)
