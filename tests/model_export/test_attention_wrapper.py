"""AttentionWrapper: its steps, its two forms, and Keras's RNN around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from model_export.attention import Attended, BahdanauAttention, LuongAttention, Memory
from model_export.attention_wrapper import AttentionWrapper
from tests.model_export.tiny_models import as_numpy, random_array
from tests.model_export.tiny_wrappers import (
    CELLS,
    INPUTS,
    LENGTHS,
    MASK,
    MEMORY,
    OTHER_MEMORY,
    WIDTH,
    close,
    make_wrapper,
    make_wrapper_of_two,
    prepared,
    run,
)


@pytest.mark.parametrize("output_attention", [True, False])
def test_a_step_follows_its_formulas(output_attention: bool) -> None:
    mechanism = LuongAttention(WIDTH)
    layer = keras.layers.Dense(3, activation="tanh")
    cell = keras.layers.SimpleRNNCell(WIDTH)
    wrapper = prepared(AttentionWrapper(cell, mechanism, attention_layer=layer, output_attention=output_attention))
    before = random_array(2, WIDTH, seed=3)
    fed_back = random_array(2, 3, seed=4)
    state = wrapper.get_initial_state(batch_size=2).clone(cell_state=before, attention=fed_back)
    output, after = wrapper(INPUTS[0], state)

    kernel, recurrent_kernel, bias = (as_numpy(weight) for weight in cell.weights)
    hidden = np.tanh(np.concatenate([INPUTS[0], fed_back], axis=1) @ kernel + before @ recurrent_kernel + bias)
    keys = MEMORY @ as_numpy(mechanism.memory_layer.kernel)
    scores = np.where(MASK, np.einsum("bh,bsh->bs", hidden, keys), -np.inf)
    alignments = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    context = np.einsum("bs,bsd->bd", alignments, MEMORY)
    attention = np.tanh(np.concatenate([hidden, context], axis=1) @ as_numpy(layer.kernel) + as_numpy(layer.bias))
    close(after.alignments, alignments)
    close(after.attention, attention)
    close(output, attention if output_attention else hidden)
    close(after.cell_state, hidden)


@pytest.mark.parametrize("cell", CELLS)
def test_both_forms_compute_the_same(cell: str) -> None:
    wrapper = make_wrapper_of_two(cell, attention_layer_size=[3, 4])
    outputs, last = run(wrapper)
    memories = [wrapper.mechanisms[0].prepare(MEMORY, MASK), wrapper.mechanisms[1].prepare(OTHER_MEMORY)]
    state = wrapper.first_state(memories)
    for inputs, expected in zip(INPUTS, outputs, strict=True):
        output, state = wrapper.step(inputs, state, memories)
        close(output, expected)
    close(state, last)


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_keeps_the_structure_that_the_cell_gave_it(cell: str) -> None:
    wrapper = make_wrapper(cell)
    first = wrapper.get_initial_state(batch_size=2)
    _, after = wrapper(INPUTS[0], first)
    keras.tree.assert_same_structure(first, after)
    keras.tree.assert_same_structure(first.cell_state, wrapper.cell.get_initial_state(batch_size=2))


def test_the_context_is_the_attention_without_an_attention_layer() -> None:
    wrapper = make_wrapper()
    output, state = wrapper(INPUTS[0], wrapper.get_initial_state(batch_size=2))
    close(output, np.einsum("bs,bsd->bd", as_numpy(state.alignments), MEMORY))


def test_a_context_may_be_as_deep_as_its_mechanism_says() -> None:
    class FirstTwo(LuongAttention):
        def attend(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Attended:
            attended = super().attend(query, memory, previous, training)
            return attended._replace(context=attended.context[:, :2])

        def context_depth(self, memory_depth: int) -> int:
            return 2

    wrapper = prepared(AttentionWrapper(CELLS["gru"](), [FirstTwo(WIDTH)], attention_layer_size=[3]))
    assert wrapper.attention_layers is not None
    assert tuple(wrapper.attention_layers[0].kernel.shape) == (WIDTH + 2, 3)
    assert run(wrapper)[0].shape == (4, 2, 3)


def test_more_padding_changes_nothing() -> None:
    wrapper = make_wrapper(attention_layer_size=3)
    outputs, _ = run(wrapper)
    padded = np.concatenate([MEMORY, random_array(2, 5, 3, seed=9)], axis=1)
    wrapper.mechanisms[0].setup_memory(padded, LENGTHS)
    padded_outputs, state = run(wrapper)
    close(padded_outputs, outputs)
    assert not as_numpy(state.alignments)[:, 6:].any()


def test_dropout_of_the_cell_acts_in_training_only() -> None:
    wrapper = prepared(AttentionWrapper(keras.layers.GRUCell(WIDTH, dropout=0.5, seed=1), BahdanauAttention(4)))
    state = wrapper.get_initial_state(batch_size=2)
    output, _ = wrapper(INPUTS[0], state)
    trained, _ = wrapper(INPUTS[0], state, training=True)
    again, _ = wrapper(INPUTS[0], state, training=True)
    assert np.abs(trained - output).max() > 1e-3
    close(trained, again)  # one mask for a whole sequence
    other, _ = wrapper(INPUTS[0], wrapper.get_initial_state(batch_size=2), training=True)
    assert np.abs(trained - other).max() > 1e-3


class MinimalRNNCell(keras.layers.Layer):
    """A cell with no more than Keras demands of one, as its documentation of RNN shows it."""

    def __init__(self, units: int, state_size: Any) -> None:
        super().__init__()
        self.state_size = state_size
        self.dense = keras.layers.Dense(units)

    def build(self, input_shape: Any) -> None:
        self.dense.build((None, input_shape[-1] + len(keras.tree.flatten(self.state_size)) * self.dense.units))

    def call(self, inputs: Any, states: Any) -> tuple[Any, Any]:
        output = keras.ops.tanh(self.dense(keras.ops.concatenate([inputs, *states], axis=-1)))
        return output, [output, *states[:-1]]


@pytest.mark.parametrize("state_size", [WIDTH, [WIDTH], (WIDTH, WIDTH)])
def test_a_cell_without_an_initial_state_starts_from_zeros(state_size: Any) -> None:
    wrapper = prepared(AttentionWrapper(MinimalRNNCell(WIDTH, state_size), BahdanauAttention(4)))
    count = len(keras.tree.flatten(state_size))
    zeros = [np.zeros((2, WIDTH), dtype=np.float32)] * count
    close(wrapper.get_initial_state(batch_size=2).cell_state, zeros)
    close(wrapper.first_state(wrapper.memories).cell_state, zeros)
    outputs, last = run(wrapper)
    assert len(last.cell_state) == count
    found = keras.layers.RNN(wrapper, return_sequences=True)(np.swapaxes(INPUTS, 0, 1))
    close(np.swapaxes(found, 0, 1), outputs)
    assert np.abs(outputs[1:] - outputs[0]).max() > 1e-3  # the state does something


@pytest.mark.parametrize("cell", CELLS)
def test_keras_rnn_runs_the_wrapper(cell: str) -> None:
    wrapper = make_wrapper_of_two(cell, attention_layer_size=[3, 4])
    expected, last = run(wrapper)
    sequences = np.swapaxes(INPUTS, 0, 1)
    outputs, *states = keras.layers.RNN(wrapper, return_sequences=True, return_state=True)(sequences)
    close(np.swapaxes(outputs, 0, 1), expected)
    close(states, list(last))


def test_keras_rnn_builds_the_wrapper_in_a_model_that_learns() -> None:
    mechanism = BahdanauAttention(4)
    mechanism.setup_memory(MEMORY, LENGTHS)
    mechanism.memory_layer.trainable = False  # has made the keys, outside of the model
    inputs = keras.Input((4, 5), batch_size=2)
    outputs = keras.layers.RNN(AttentionWrapper(keras.layers.GRUCell(WIDTH), mechanism), return_sequences=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    model.compile(keras.optimizers.Adam(0.05), loss="mse")
    history = model.fit(np.swapaxes(INPUTS, 0, 1), np.ones((2, 4, 1)), batch_size=2, epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize("options", [{"attention_layer_size": 3}, {}])
def test_keras_rnn_can_be_made_before_the_memory_is_known(options: dict[str, Any]) -> None:
    wrapper = AttentionWrapper(keras.layers.GRUCell(WIDTH), BahdanauAttention(4), **options)
    rnn = keras.layers.RNN(wrapper, return_sequences=True)
    prepared(wrapper)
    close(np.swapaxes(rnn(np.swapaxes(INPUTS, 0, 1)), 0, 1), run(wrapper)[0])


RUN_ELSEWHERE = """
import sys
import keras, numpy as np
from tests.model_export.tiny_wrappers import INPUTS, make_wrapper
outputs = keras.layers.RNN(make_wrapper(), return_sequences=True)(np.swapaxes(INPUTS, 0, 1))
np.savez(sys.argv[1], backend=keras.backend.backend(), outputs=np.swapaxes(outputs, 0, 1))
"""


def test_keras_rnn_runs_the_wrapper_on_jax_as_well(tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    path = tmp_path / "jax.npz"
    subprocess.run([sys.executable, "-c", RUN_ELSEWHERE, str(path)], check=True, cwd=Path.cwd(), env=environment)
    expected, _ = run(make_wrapper())
    with np.load(path) as found:
        assert found["backend"] == "jax"
        close(found["outputs"], expected)
