"""AttentionWrapper around its steps: its state, saving, and its errors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from model_export.attention import BahdanauAttention, LuongAttention
from model_export.attention_wrapper import AttentionWrapper, AttentionWrapperState
from tests.model_export.tiny_models import as_numpy, random_array
from tests.model_export.tiny_wrappers import (
    CELLS,
    INPUTS,
    WIDTH,
    close,
    make_wrapper,
    make_wrapper_of_two,
    run,
    set_up_memories,
)


def test_fields_of_one_mechanism_are_arrays_and_those_of_a_list_are_tuples() -> None:
    _, one = run(make_wrapper(alignment_history=True))
    _, two = run(make_wrapper_of_two(alignment_history=True))
    for name in ("alignments", "alignment_history", "attention_state"):
        assert not isinstance(getattr(one, name), tuple)
        assert [array.shape[-1] for array in getattr(two, name)] == [6, 4]


def test_the_history_holds_the_alignments_of_all_steps() -> None:
    wrapper = make_wrapper(alignment_history=True)
    state = wrapper.get_initial_state(batch_size=2)
    assert tuple(state.alignment_history.shape) == (0, 2, 6)
    steps = []
    for inputs in INPUTS:
        _, state = wrapper(inputs, state)
        steps.append(as_numpy(state.alignments))
    close(state.alignment_history, np.stack(steps))


def test_there_is_no_history_unless_asked_for() -> None:
    assert run(make_wrapper())[1].alignment_history == ()


def test_monotonic_attention_starts_on_the_first_position() -> None:
    state = make_wrapper_of_two().get_initial_state(batch_size=2)
    close(state.attention_state, (np.zeros((2, 6)), np.eye(4)[[0, 0]]))


def test_the_initial_state_takes_batch_size_and_dtype_from_inputs() -> None:
    wrapper = make_wrapper()
    state = wrapper.get_initial_state(inputs=ops.convert_to_tensor(INPUTS[0]))
    close(state, wrapper.zero_state(2, "float32"))
    assert state.attention.shape == (2, 3)
    assert {array.dtype for array in keras.tree.flatten(wrapper.zero_state(2, "float16"))} == {
        ops.zeros(1, "float16").dtype
    }


def test_the_initial_cell_state_is_that_given() -> None:
    given = random_array(2, WIDTH)
    wrapper = make_wrapper(initial_cell_state=[given])
    close(wrapper.get_initial_state(batch_size=2).cell_state, [given])


LSTM_STATE = [random_array(2, 9), random_array(2, 9, seed=1)]
GRU_STATE = random_array(2, WIDTH, seed=2)


@pytest.mark.parametrize(
    ("cell", "given"),
    [
        ("simple", GRU_STATE),
        ("gru", GRU_STATE),
        ("gru", (GRU_STATE,)),
        ("lstm", (GRU_STATE, GRU_STATE + 1)),
        ("stacked", [LSTM_STATE, GRU_STATE]),
        ("stacked", (tuple(LSTM_STATE), [GRU_STATE])),
        ("stacked", [*LSTM_STATE, GRU_STATE]),
        ("stack of one", GRU_STATE),
    ],
)
def test_an_initial_cell_state_takes_the_structure_of_the_cells(cell: str, given: Any) -> None:
    wrapper = make_wrapper(cell, initial_cell_state=given)
    state = wrapper.get_initial_state(batch_size=2)
    keras.tree.assert_same_structure(state.cell_state, wrapper.cell.get_initial_state(batch_size=2))
    close(state.cell_state, keras.tree.flatten(given))
    _, after = wrapper(INPUTS[0], state)
    keras.tree.assert_same_structure(after, state)
    expected = make_wrapper(cell)
    output, _ = expected(INPUTS[0], expected.get_initial_state(batch_size=2).clone(cell_state=given))
    close(wrapper(INPUTS[0], state)[0], output)


@pytest.mark.parametrize(
    ("cell", "given", "message"),
    [
        ("lstm", [GRU_STATE], "initial_cell_state: expected 2 arrays, not 1"),
        ("gru", [GRU_STATE, GRU_STATE], "initial_cell_state: expected 1 arrays, not 2"),
        ("gru", random_array(2, 9), r"initial_cell_state: expected shape \(2, 7\), not \(2, 9\)"),
        ("gru", random_array(2, 1, WIDTH), r"initial_cell_state: expected shape \(2, 7\), not \(2, 1, 7\)"),
        ("stacked", [GRU_STATE, LSTM_STATE], r"initial_cell_state: expected shape \(2, 9\), not \(2, 7\)"),
        ("gru", np.float32(0), r"initial_cell_state: expected shape \(2, 7\), not \(\)"),
    ],
)
def test_an_initial_cell_state_of_another_cell_is_refused(cell: str, given: Any, message: str) -> None:
    wrapper = make_wrapper(cell, initial_cell_state=given)
    with pytest.raises(ValueError, match=message):
        wrapper.get_initial_state(batch_size=2)


def test_a_clone_replaces_fields_and_keeps_their_structure() -> None:
    state = make_wrapper("stacked").get_initial_state(batch_size=2)
    ones = [np.ones((2, 9)), np.ones((2, 9)), np.ones((2, WIDTH))]
    clone = state.clone(cell_state=ones)
    keras.tree.assert_same_structure(clone, state)
    close(clone.cell_state, ones)
    assert clone.attention is state.attention


def test_a_clone_takes_histories_of_any_length() -> None:
    state = make_wrapper(alignment_history=True).get_initial_state(batch_size=2)
    assert state.clone(alignment_history=np.zeros((5, 2, 6))).alignment_history.shape == (5, 2, 6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention": np.zeros((2, 4))}, r"attention: expected shape \(2, 3\), not \(2, 4\)"),
        ({"attention": np.zeros((2, 3, 1))}, r"attention: expected shape \(2, 3\), not \(2, 3, 1\)"),
        ({"cell_state": [np.zeros((2, WIDTH))] * 2}, "cell_state: expected 1 arrays, not 2"),
        ({"cells": np.zeros((2, WIDTH))}, "has no field cells; it has cell_state, attention"),
    ],
)
def test_a_clone_refuses_what_does_not_fit(fields: dict[str, Any], message: str) -> None:
    state = make_wrapper().get_initial_state(batch_size=2)
    with pytest.raises(ValueError, match=message):
        state.clone(**fields)


def test_sizes_are_those_of_the_state() -> None:
    wrapper = make_wrapper_of_two("stacked", attention_layer_size=[3, 5])
    assert wrapper.state_size == AttentionWrapperState([[9, 9], WIDTH], 8, (6, 4), (), (6, 4))
    assert wrapper.output_size == 8
    assert make_wrapper(output_attention=False).output_size == WIDTH
    assert make_wrapper(alignment_history=True).state_size.alignment_history == 6


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({"attention_layer_size": 4}, 4, 4),
        ({"attention_layer": keras.layers.Dense(4)}, 4, 4),
        ({"attention_layer": keras.layers.LayerNormalization()}, None, WIDTH + 3),  # as wide as [h, context]
        ({}, None, 3),
    ],
)
def test_sizes_that_a_memory_gives_are_unknown_without_one(
    options: dict[str, Any], before: int | None, after: int
) -> None:
    wrapper = AttentionWrapper(CELLS["gru"](), BahdanauAttention(4), **options)
    assert wrapper.state_size == AttentionWrapperState(WIDTH, before, None, (), None)
    set_up_memories(wrapper)
    assert wrapper.state_size == AttentionWrapperState(WIDTH, after, 6, (), 6)
    assert wrapper.get_initial_state(batch_size=2).attention.shape == (2, after)


@keras.saving.register_keras_serializable("tests")  # type: ignore[untyped-decorator]
def attention_before_inputs(inputs: Any, attention: Any) -> Any:
    return ops.concatenate([attention, inputs], axis=-1)


@pytest.mark.parametrize(
    "options",
    [
        {"attention_layer_size": [3, 4], "alignment_history": True},
        {"attention_layer": [keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2)]},
        {"cell_input_fn": attention_before_inputs, "output_attention": False},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_wrapper_survives_its_configuration(options: dict[str, Any]) -> None:
    wrapper = make_wrapper_of_two("stacked", name="decoder", **options)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(wrapper))
    assert isinstance(copy, AttentionWrapper)
    assert copy.get_config() == wrapper.get_config()
    copy.set_weights(wrapper.get_weights())  # the weights were created with it
    set_up_memories(copy)
    close(run(copy), run(wrapper))


def test_an_rnn_around_the_wrapper_survives_its_configuration() -> None:
    rnn = keras.layers.RNN(make_wrapper())
    copy = keras.layers.RNN.from_config(rnn.get_config())
    copy.cell.set_weights(rnn.cell.get_weights())
    set_up_memories(copy.cell)
    sequences = np.swapaxes(INPUTS, 0, 1)
    close(copy(sequences), rnn(sequences))


def test_an_initial_cell_state_is_not_saved() -> None:
    wrapper = make_wrapper(initial_cell_state=[np.ones((2, WIDTH), dtype=np.float32)])
    copy = AttentionWrapper.from_config(wrapper.get_config())
    set_up_memories(copy)
    close(copy.get_initial_state(batch_size=2).cell_state, [np.zeros((2, WIDTH))])


def test_an_unregistered_cell_input_function_cannot_be_saved() -> None:
    wrapper = make_wrapper(cell_input_fn=lambda inputs, attention: inputs)
    with pytest.raises(ValueError, match="cannot be saved; register it with keras.saving"):
        wrapper.get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"attention_layer_size": [3, 4], "attention_layer": [keras.layers.Dense(3)] * 2},
            "give one of them, not both",
        ),
        ({"attention_layer_size": 3}, "attention_layer_size: must hold one item per mechanism, 2, not 1"),
        ({"attention_layer_size": [3, 4, 5]}, "attention_layer_size: must hold one item per mechanism, 2, not 3"),
        ({"attention_layer": [keras.layers.Dense(3)]}, "attention_layer: must hold one item per mechanism, 2, not 1"),
    ],
)
def test_sizes_and_layers_must_agree_with_the_mechanisms(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionWrapper(CELLS["gru"](), [BahdanauAttention(4), LuongAttention(WIDTH)], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": keras.layers.Dense(3)}, "cell: Dense is not an RNN cell"),
        ({"cell": keras.layers.GRU(3)}, "cell: GRU is a layer, not a cell; use GRUCell"),
        ({"cell": keras.layers.RNN(keras.layers.LSTMCell(3))}, "cell: RNN is a layer, not a cell; use LSTMCell"),
        ({"attention_mechanism": keras.layers.Dense(3)}, "attention_mechanism: Dense is not an AttentionMechanism"),
        ({"attention_mechanism": [keras.layers.Dense(3)]}, "attention_mechanism: Dense is not an AttentionMechanism"),
        ({"attention_layer": lambda x: x}, "attention_layer: function is not a Keras layer"),
        ({"attention_layer": [3]}, "attention_layer: int is not a Keras layer"),
        ({"cell_input_fn": "add"}, "cell_input_fn: str cannot be called"),
    ],
)
def test_arguments_of_another_type_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        AttentionWrapper(**{"cell": CELLS["gru"](), "attention_mechanism": BahdanauAttention(4)} | options)


@pytest.mark.parametrize("mechanisms", [[], ()])
def test_a_wrapper_needs_a_mechanism(mechanisms: Any) -> None:
    with pytest.raises(ValueError, match="attention_mechanism: the list is empty; give one mechanism or more"):
        AttentionWrapper(CELLS["gru"](), mechanisms)


def test_another_batch_size_is_refused() -> None:
    with pytest.raises(ValueError, match="the memory has batch size 2, not 3"):
        make_wrapper().get_initial_state(batch_size=3)
    with pytest.raises(ValueError, match="initial_cell_state has batch size 3, not 2"):
        make_wrapper(initial_cell_state=[np.ones((3, WIDTH))]).get_initial_state(batch_size=2)


def test_an_initial_state_needs_a_batch_size() -> None:
    with pytest.raises(ValueError, match="get_initial_state needs inputs or batch_size"):
        make_wrapper().get_initial_state()


def test_a_step_needs_a_memory() -> None:
    wrapper = AttentionWrapper(CELLS["gru"](), BahdanauAttention(4))
    with pytest.raises(ValueError, match="has no memory"):
        wrapper.get_initial_state(batch_size=2)
    with pytest.raises(ValueError, match="has no memory"):
        keras.layers.RNN(wrapper)(np.swapaxes(INPUTS, 0, 1))


def test_inputs_need_a_known_depth() -> None:
    with pytest.raises(ValueError, match="the depth of the inputs must be known"):
        AttentionWrapper(CELLS["gru"](), BahdanauAttention(4)).build((None, None))
