"""The names of the originals' variables, in whatever scope, tell where their arrays belong."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from model_export.attention import BahdanauAttention, LuongAttention
from model_export.attention_wrapper import AttentionWrapper
from model_export.weight_transfer import load_reference_weights
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array
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


def test_repeated_names_in_a_wrapper_are_told_apart_by_their_numbers() -> None:
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


SIMPLE_CELL = {"kernel": (4, 12), "recurrent_kernel": (12, 12), "bias": (12,)}


def as_read(arrays: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """In the order in which HDF5 files and checkpoints list names."""
    return {name: arrays[name] for name in sorted(arrays)}


def cell_arrays(name: str, depth: int, units: int, seed: int) -> dict[str, FloatArray]:
    """Of a GRU cell."""
    shapes = {"kernel": (depth, 3 * units), "recurrent_kernel": (units, 3 * units), "bias": (2, 3 * units)}
    return {f"{name}/{weight}:0": random_array(*shape, seed=seed) for weight, shape in shapes.items()}


@pytest.mark.parametrize("style", ["LuongAttention BahdanauAttention", "luong_attention_1 my_bahdanau_attention"])
@pytest.mark.parametrize("luong_first", [True, False])
def test_mechanisms_are_known_by_the_class_that_the_scope_names(style: str, luong_first: bool) -> None:
    luong, bahdanau = style.split()
    of_luong = {f"{luong}/memory_layer/kernel:0": random_array(3, 7)}
    of_bahdanau = {
        f"{bahdanau}/attention_v:0": random_array(7),
        f"{bahdanau}/query_layer/kernel:0": random_array(7, 7, seed=1),
        f"decoder/{bahdanau}/memory_layer/kernel:0": random_array(3, 7, seed=2),
    }
    mechanisms = [LuongAttention(7), BahdanauAttention(7)][:: 1 if luong_first else -1]
    of_cell = cell_arrays("gru_cell", 8, 7, seed=3)
    wrapper = AttentionWrapper(keras.layers.GRUCell(7), mechanisms)
    load_reference_weights(wrapper, as_read({**of_luong, **of_bahdanau, **of_cell}))
    check_weights(wrapper.cells[0], list(of_cell.values()))
    for mechanism, arrays in zip(mechanisms, [of_luong, of_bahdanau][:: 1 if luong_first else -1], strict=True):
        check_weights(mechanism, list(arrays.values()))


def test_one_class_in_the_scopes_tells_the_other_mechanism_too() -> None:
    wrapper = AttentionWrapper(keras.layers.GRUCell(7), [LuongAttention(7), BahdanauAttention(7)])
    arrays = {
        "attention_v:0": random_array(7),
        "query_layer/kernel:0": random_array(7, 7),
        "additive/memory_layer/kernel:0": random_array(3, 7, seed=1),
        "luong_attention/memory_layer/kernel:0": random_array(3, 7, seed=2),
    }
    load_reference_weights(wrapper, arrays | cell_arrays("gru_cell", 8, 7, seed=3))
    check_weights(wrapper.mechanisms[0], [random_array(3, 7, seed=2)])


@pytest.mark.parametrize("first", ["gru_cell_9", "gru_cell", "cells/9/gru_cell", "stack/cell9"])
def test_layers_go_by_their_numbers_not_by_the_alphabet(first: str) -> None:
    second = first.replace("9", "10") if "9" in first else "gru_cell_1"
    cells = keras.layers.StackedRNNCells([keras.layers.GRUCell(7), keras.layers.GRUCell(7)])
    arrays = {**cell_arrays(first, 7, 7, seed=1), **cell_arrays(second, 7, 7, seed=2)}
    load_reference_weights(cells, as_read(arrays))
    check_weights(cells, list(arrays.values()))


def test_twelve_cells_go_by_their_numbers() -> None:
    cells = keras.layers.StackedRNNCells([keras.layers.GRUCell(2) for _ in range(12)])
    each = [cell_arrays(f"gru_cell_{index}" if index else "gru_cell", 2, 2, seed=index) for index in range(12)]
    arrays = {name: array for cell in each for name, array in cell.items()}
    load_reference_weights(cells, as_read(arrays))
    check_weights(cells, list(arrays.values()))


def test_cells_of_several_classes_go_by_class_and_then_by_number() -> None:
    cells = keras.layers.StackedRNNCells(
        [keras.layers.GRUCell(4), keras.layers.SimpleRNNCell(12), keras.layers.GRUCell(4)]
    )
    simple = {f"simple_rnn_cell_2/{name}": random_array(*shape) for name, shape in SIMPLE_CELL.items()}
    first, last = cell_arrays("gru_cell_8", 12, 4, seed=1), cell_arrays("gru_cell_11", 12, 4, seed=2)
    load_reference_weights(cells, as_read({**first, **simple, **last}))
    check_weights(cells, [*first.values(), *simple.values(), *last.values()])


def test_names_that_tell_nothing_are_refused_with_a_way_out() -> None:
    cells = keras.layers.StackedRNNCells([keras.layers.GRUCell(7), keras.layers.GRUCell(7)])
    arrays = {**cell_arrays("lower", 7, 7, seed=1), **cell_arrays("upper", 7, 7, seed=2)}
    message = (
        "^lower/kernel:0, upper/kernel:0: their names and shapes do not tell which of them is cell0_kernel and which "
        "cell1_kernel; give the arrays by these names, or as a list in the original's order"
    )
    with pytest.raises(ValueError, match=message):
        load_reference_weights(cells, arrays)
    assert not any(cell.built for cell in cells.cells)


def test_a_name_that_could_be_either_is_refused() -> None:
    mechanisms = [LuongAttention(7), LuongAttention(7), BahdanauAttention(7)]
    wrapper = AttentionWrapper(keras.layers.GRUCell(7), mechanisms)
    arrays = {
        "attention_v:0": random_array(7),
        "query_layer/kernel:0": random_array(7, 7),
        "luong_attention/memory_layer/kernel:0": random_array(3, 7),
        "one/memory_layer/kernel:0": random_array(3, 7),
        "other/memory_layer/kernel:0": random_array(3, 7),
    }
    with pytest.raises(ValueError, match=r"luong_attention/.*, one/.*, other/.*: their names and shapes do not tell"):
        load_reference_weights(wrapper, arrays | cell_arrays("gru_cell", 8, 7, seed=3))


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
