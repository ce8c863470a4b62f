"""The decoder: one step at a time and whole sequences are the same thing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from model_export.config import ModelConfig
from model_export.decoder import Decoder, DecoderState
from tests.model_export.tiny_models import SOURCE_MASK, as_numpy, random_array, randomize, tiny_config

ENCODED = random_array(3, 5, 6) * SOURCE_MASK[:, :, None]
EMBEDDED = random_array(3, 4, 5, seed=1)  # four target tokens
ARCHITECTURES = [
    {"cell": "gru"},
    {"cell": "lstm"},
    {"cell": "gru", "decoder_layers": 2, "attention": "luong"},
    {"cell": "lstm", "decoder_layers": 2, "attention_units": 3},
    {"cell": "gru", "attention": "bahdanau_monotonic"},
    {"cell": "lstm", "attention": ["keras_attention", "luong_monotonic"]},
    {"cell": "gru", "aligner": "bahdanau"},
    {"cell": "lstm", "decoder_layers": 2, "attention": ["luong_monotonic", "bahdanau"], "aligner": "luong"},
]


def make_decoder(config: ModelConfig) -> Decoder:
    decoder = Decoder(config)
    decoder.build()
    randomize(decoder.trainable_variables)
    return decoder


def arrays_of(state: DecoderState) -> list[Any]:
    return [as_numpy(array) for array in keras.tree.flatten(state)]


@pytest.mark.parametrize("changes", ARCHITECTURES, ids=str)
def test_a_whole_sequence_equals_single_steps(changes: dict[str, Any]) -> None:
    decoder = make_decoder(tiny_config(**changes))
    memories, state = decoder.prepare(ENCODED, SOURCE_MASK)
    together = arrays_of(decoder(EMBEDDED, state, memories))
    for position in range(4):
        state = decoder.step(EMBEDDED[:, position], state, memories)
        for array, expected in zip(together, arrays_of(state), strict=True):
            np.testing.assert_allclose(array[:, position], expected, atol=1e-6)


def test_a_step_follows_its_three_formulas() -> None:
    decoder = make_decoder(tiny_config(cell="gru"))
    memories, state = decoder.prepare(ENCODED, SOURCE_MASK)
    state = decoder.step(EMBEDDED[:, 0], state, memories)  # so that the attention vector is not zero
    after = decoder.step(EMBEDDED[:, 1], state, memories)
    inputs = np.concatenate([EMBEDDED[:, 1], as_numpy(state.attention)], axis=1)
    hidden = gru_by_hand(decoder.wrapper.cell, inputs, as_numpy(state.cells[0]))
    context = np.einsum("bs,bsd->bd", as_numpy(after.alignments[0]), ENCODED)
    [attention_layer] = decoder.wrapper.attention_layers
    attention = np.tanh(np.concatenate([hidden, context], axis=1) @ as_numpy(attention_layer.kernel))
    np.testing.assert_allclose(as_numpy(after.cells[0]), hidden, atol=1e-6)
    np.testing.assert_allclose(as_numpy(after.attention), attention, atol=1e-5)


def gru_by_hand(cell: Any, inputs: Any, hidden: Any) -> Any:
    """Cho et al. 2014, with the reset gate after the recurrent product."""
    input_bias, recurrent_bias = as_numpy(cell.bias)
    of_input = np.split(inputs @ as_numpy(cell.kernel) + input_bias, 3, axis=1)
    of_state = np.split(hidden @ as_numpy(cell.recurrent_kernel) + recurrent_bias, 3, axis=1)
    update, reset = (1 / (1 + np.exp(-of_input[gate] - of_state[gate])) for gate in (0, 1))
    candidate = np.tanh(of_input[2] + reset * of_state[2])
    return update * hidden + (1 - update) * candidate


def test_the_first_state_comes_from_the_mean_of_the_real_positions() -> None:
    decoder = make_decoder(tiny_config(cell="lstm", decoder_layers=2))
    _, state = decoder.prepare(ENCODED, SOURCE_MASK)
    mean = np.stack([row[mask].mean(axis=0) for row, mask in zip(ENCODED, SOURCE_MASK, strict=True)])
    for hidden, cell, bridge in zip(state.cells[::2], state.cells[1::2], decoder.bridges, strict=True):
        expected = np.tanh(mean @ as_numpy(bridge.kernel) + as_numpy(bridge.bias))
        np.testing.assert_allclose(as_numpy(hidden), expected, atol=1e-6)
        assert not as_numpy(cell).any()
    assert not as_numpy(state.attention).any()


def test_each_mechanism_gives_its_part_of_the_attention_vector() -> None:
    """With the other part's weights at zero, only that part of the vector is zero."""
    decoder = make_decoder(tiny_config(attention=["bahdanau", "luong"]))
    first, second = decoder.wrapper.attention_layers
    assert [layer.kernel.shape for layer in (first, second)] == [(12, 3), (12, 2)]  # 5 in all
    second.kernel.assign(np.zeros((12, 2)))
    memories, state = decoder.prepare(ENCODED, SOURCE_MASK)
    attention = as_numpy(decoder.step(EMBEDDED[:, 0], state, memories).attention)
    assert attention[:, :3].all()
    assert not attention[:, 3:].any()


def test_an_aligner_attends_with_the_new_cell_output_and_changes_nothing_else() -> None:
    """Query layer and memory layer of additive attention, by hand; the other arrays equal those of a model without."""
    decoder, plain = (make_decoder(tiny_config(cell="lstm", aligner=aligner)) for aligner in ("bahdanau", None))
    [aligner] = decoder.mechanisms[:1]
    of_the_rest = [variable for variable in decoder.variables if all(variable is not own for own in aligner.variables)]
    for variable, other in zip(of_the_rest, plain.variables, strict=True):
        other.assign(variable)
    (memories, state), (plain_memories, plain_state) = (each.prepare(ENCODED, SOURCE_MASK) for each in (decoder, plain))
    after = decoder.step(EMBEDDED[:, 0], state, memories)
    plain_after = plain.step(EMBEDDED[:, 0], plain_state, plain_memories)
    for array, expected in zip(
        arrays_of(after._replace(alignments=after.alignments[1:])), arrays_of(plain_after), strict=True
    ):
        np.testing.assert_allclose(array, expected, atol=1e-6)
    query = as_numpy(after.cells[0]) @ as_numpy(aligner.query_layer.kernel)
    keys = ENCODED @ as_numpy(aligner.memory_layer.kernel)
    scores = np.tanh(query[:, None] + keys) @ as_numpy(aligner.attention_v)
    weights = np.where(SOURCE_MASK, np.exp(scores), 0)
    np.testing.assert_allclose(
        as_numpy(after.alignments[0]), weights / weights.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )


def test_noise_of_a_mechanism_acts_in_training_only() -> None:
    decoder = make_decoder(tiny_config(attention={"name": "luong_monotonic", "sigmoid_noise": 2.0}))
    memories, state = decoder.prepare(ENCODED, SOURCE_MASK)
    quiet, again = (decoder(EMBEDDED, state, memories).attention for _ in range(2))
    noisy, other = (decoder(EMBEDDED, state, memories, training=True).attention for _ in range(2))
    np.testing.assert_array_equal(quiet, again)
    assert np.abs(as_numpy(noisy) - as_numpy(quiet)).max() > 1e-3
    assert np.abs(as_numpy(noisy) - as_numpy(other)).max() > 1e-3


def test_training_on_tensorflow_leaves_xla_alone() -> None:
    """On a GPU, Keras compiles with XLA unless a layer says that it cannot be."""
    assert keras.backend.backend() == "tensorflow"
    assert not make_decoder(tiny_config()).supports_jit
