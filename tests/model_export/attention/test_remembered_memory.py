"""The originals' form: a mechanism remembers its memory, and is called with a query and a state."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from model_export.attention import AttentionMechanism
from tests.model_export.attention.by_hand import (
    DEPTH,
    KINDS,
    LENGTHS,
    MASK,
    SCATTERED_MASK,
    UNITS,
    Array,
    make,
    make_with_weights,
)
from tests.model_export.tiny_models import as_numpy, random_array

MEMORY = random_array(3, 5, DEPTH, seed=1)
QUERY = random_array(3, UNITS)
ALL = np.ones((3, 5), dtype=bool)


@pytest.fixture(params=KINDS)
def mechanism(request: pytest.FixtureRequest) -> Any:
    return make_with_weights(request.param, dtype=None)


def expected(mechanism: Any, mask: Array, memory: Array = MEMORY) -> Array:
    """Alignments (B, S) of the first step, by the pure form."""
    prepared = mechanism.prepare(memory, ops.convert_to_tensor(mask))
    query = ops.convert_to_tensor(QUERY)
    return as_numpy(mechanism.attend(query, prepared, mechanism.first_alignments(prepared)).alignments)


def ask(mechanism: Any) -> Array:
    """Alignments (B, S) of the first step over the remembered memory."""
    alignments, state = mechanism([QUERY, mechanism.initial_state(3, "float32")])
    np.testing.assert_array_equal(as_numpy(state), as_numpy(alignments))
    return as_numpy(alignments)


def test_a_call_answers_over_the_remembered_memory(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY, memory_sequence_length=LENGTHS)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, MASK))


def test_the_state_of_one_call_is_the_input_of_the_next(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY, LENGTHS)
    prepared = mechanism.prepare(MEMORY, ops.convert_to_tensor(MASK))
    state = previous = mechanism.initial_state(3)
    for seed in range(3):
        query = ops.convert_to_tensor(random_array(3, UNITS, seed=seed))
        alignments, state = mechanism([query, state])
        previous = mechanism.attend(query, prepared, previous).alignments
        np.testing.assert_array_equal(as_numpy(alignments), as_numpy(previous))


def test_a_mask_need_not_be_a_prefix(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY, memory_mask=SCATTERED_MASK)
    alignments = ask(mechanism)
    np.testing.assert_array_equal(alignments, expected(mechanism, SCATTERED_MASK))
    assert (alignments[~SCATTERED_MASK] == 0).all()


def test_lengths_above_the_memorys_count_as_all_of_it(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY, [99, 2, 1])
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, MASK))


def test_without_lengths_everything_is_real(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, ALL))


def test_a_new_memory_replaces_the_old_one_and_its_mask(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY, LENGTHS)
    ask(mechanism)
    other = random_array(3, 5, DEPTH, seed=7)
    mechanism.setup_memory(other)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, ALL, other))


def test_the_constructor_takes_a_memory(mechanism: Any) -> None:
    again = type(mechanism)(memory=MEMORY, memory_sequence_length=LENGTHS, **mechanism.get_config())
    assert again.memory_initialized
    np.testing.assert_array_equal(as_numpy(again.values), MEMORY * MASK[:, :, None])
    again.build_for(query_depth=UNITS)
    np.testing.assert_array_equal(ask(again), expected(again, MASK))


def test_the_constructor_prepares_its_memory_with_the_weights_of_that_moment(mechanism: Any) -> None:
    again = type(mechanism)(memory=MEMORY, **mechanism.get_config())
    first_keys = MEMORY @ as_numpy(again.memory_layer.kernel)
    again.memory_layer.kernel.assign(mechanism.memory_layer.kernel)
    np.testing.assert_allclose(as_numpy(again.keys), first_keys, atol=1e-6)
    again.setup_memory(MEMORY)
    np.testing.assert_allclose(as_numpy(again.keys), MEMORY @ as_numpy(mechanism.memory_layer.kernel), atol=1e-6)


def test_a_subclass_that_does_not_prepare_its_memory_does_so_when_asked() -> None:
    class LastPosition(AttentionMechanism):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.factor = 2.0

        def project_keys(self, values: Any) -> Any:
            return self.factor * values

    mechanism = LastPosition(memory=MEMORY, memory_sequence_length=LENGTHS)
    assert mechanism.memory_initialized
    np.testing.assert_array_equal(as_numpy(mechanism.keys), 2 * MEMORY * MASK[:, :, None])


def test_a_memory_can_be_set_up_by_calling(mechanism: Any) -> None:
    values = mechanism(MEMORY, mask=ops.convert_to_tensor(SCATTERED_MASK), setup_memory=True)
    np.testing.assert_array_equal(as_numpy(values), MEMORY * SCATTERED_MASK[:, :, None])
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, SCATTERED_MASK))
    mechanism([MEMORY, LENGTHS], setup_memory=True)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, MASK))
    mechanism([MEMORY], setup_memory=True)
    np.testing.assert_array_equal(ask(mechanism), expected(mechanism, ALL))


def test_a_memory_may_be_set_up_before_there_are_weights() -> None:
    for kind in ("bahdanau", "luong"):
        mechanism = make(kind)
        mechanism([MEMORY, LENGTHS], setup_memory=True)
        ask(mechanism)
        assert [weight.shape for weight in mechanism.weights[-1:]] == [(DEPTH, UNITS)]


def test_sizes_are_those_of_the_memory(mechanism: Any) -> None:
    assert not mechanism.memory_initialized
    mechanism.setup_memory(MEMORY, LENGTHS)
    assert mechanism.memory_initialized
    assert (int(mechanism.alignments_size), int(mechanism.state_size)) == (5, 5)
    assert tuple(mechanism.values.shape) == (3, 5, DEPTH)
    assert tuple(mechanism.keys.shape) == (3, 5, UNITS)
    first = mechanism.initial_alignments(3, "float64")
    assert (tuple(first.shape), keras.backend.standardize_dtype(first.dtype)) == ((3, 5), "float64")
    assert as_numpy(first)[:, 0].tolist() == [float(mechanism.carries_alignments)] * 3
    assert not as_numpy(first)[:, 1:].any()


def test_a_traced_graph_can_hold_both_calls(mechanism: Any) -> None:
    expected_alignments = expected(mechanism, MASK)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, DEPTH]), tf.TensorSpec([None], tf.int32)])
    def ask_in_graph(memory: Any, lengths: Any) -> Any:
        mechanism.setup_memory(memory, lengths)
        return mechanism([ops.convert_to_tensor(QUERY), mechanism.initial_state(3)])[0]

    np.testing.assert_allclose(as_numpy(ask_in_graph(MEMORY, LENGTHS)), expected_alignments, atol=1e-7)


# --- Errors -------------------------------------------------------------------------------------------------------


def test_a_query_needs_a_memory(mechanism: Any) -> None:
    for use in (
        lambda: mechanism([QUERY, MEMORY[:, :, 0]]),
        lambda: mechanism.keys,
        lambda: mechanism.initial_state(3),
    ):
        with pytest.raises(ValueError, match="has no memory to query; call setup_memory first"):
            use()


def test_a_sentence_without_tokens_is_refused_by_its_position(mechanism: Any) -> None:
    message = f"^{mechanism.name}: memory: sentence 1 has length 0; attention needs at least one token"
    with pytest.raises(ValueError, match=message):
        mechanism.setup_memory(MEMORY, [5, 0, 0])
    with pytest.raises(ValueError, match=message):
        mechanism.setup_memory(MEMORY, memory_mask=MASK & [[True], [False], [True]])
    with pytest.raises(ValueError, match=message):
        type(mechanism)(memory=MEMORY, memory_sequence_length=[5, 0, 2], **mechanism.get_config())


def test_an_empty_memory_is_refused(mechanism: Any) -> None:
    with pytest.raises(ValueError, match="sentence 0 has length 0"):
        mechanism.setup_memory(MEMORY[:, :0])


def test_the_pure_form_refuses_empty_sentences_too(mechanism: Any) -> None:
    with pytest.raises(ValueError, match=f"^{mechanism.name}: memory: sentence 2 has length 0"):
        mechanism.prepare(MEMORY, ops.convert_to_tensor(MASK & [[True], [True], [False]]))


def test_the_pure_form_refuses_masks_of_another_shape(mechanism: Any) -> None:
    message = rf"^{mechanism.name}: mask: expected shape \(3, 5\), as the memory has it, not \(3, 4\)"
    with pytest.raises(ValueError, match=message):
        mechanism.prepare(MEMORY, ops.convert_to_tensor(MASK[:, :4]))


@pytest.mark.parametrize(
    ("query", "state", "message"),
    [
        (QUERY[:1], np.zeros((3, 5)), r"query: expected shape \(3, 4\), as the memory has it, not \(1, 4\)"),
        (QUERY[:, None], np.zeros((3, 5)), r"query: expected shape \(3, 4\), as the memory has it, not \(3, 1, 4\)"),
        (QUERY, np.zeros((3, 4)), r"state: expected shape \(3, 5\), as the memory has it, not \(3, 4\)"),
        (QUERY, np.zeros((1, 5)), r"state: expected shape \(3, 5\), as the memory has it, not \(1, 5\)"),
    ],
    ids=["batch", "sequence of queries", "length of the state", "batch of the state"],
)
def test_queries_and_states_that_do_not_fit_are_refused(mechanism: Any, query: Any, state: Any, message: str) -> None:
    mechanism.setup_memory(MEMORY, LENGTHS)
    with pytest.raises(ValueError, match=f"{mechanism.name}: {message}"):
        mechanism([query, state])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": MEMORY[0]}, r"memory: expected \(batch, source_len, depth\) with a known depth, not \(5, 3\)"),
        ({"memory_sequence_length": [5, 2]}, r"memory_sequence_length: expected shape \(3,\), .* not \(2,\)"),
        (
            {"memory_sequence_length": [[5], [2], [1]]},
            r"memory_sequence_length: expected shape \(3,\), .* not \(3, 1\)",
        ),
    ],
    ids=["memory", "number of lengths", "shape of lengths"],
)
def test_wrong_shapes_are_refused_at_once(mechanism: Any, arguments: dict[str, Any], message: str) -> None:
    arguments = {"memory": MEMORY} | arguments
    with pytest.raises(ValueError, match=f"{mechanism.name}: {message}"):
        mechanism.setup_memory(**arguments)
    assert not mechanism.memory_initialized
    with pytest.raises(ValueError, match=message):
        type(mechanism)(**arguments, **mechanism.get_config())


def test_masks_of_another_shape_are_refused(mechanism: Any) -> None:
    message = r"memory_mask: expected shape \(3, 5\), as the memory has it, not \(3, 4\)"
    with pytest.raises(ValueError, match=message):
        mechanism.setup_memory(MEMORY, memory_mask=MASK[:, :4])


def test_lengths_and_mask_together_are_refused(mechanism: Any) -> None:
    for use in (
        lambda: mechanism.setup_memory(MEMORY, LENGTHS, MASK),
        lambda: mechanism([MEMORY, LENGTHS], mask=MASK, setup_memory=True),
    ):
        with pytest.raises(ValueError, match="give memory_sequence_length or memory_mask, not both"):
            use()


def test_another_batch_size_is_refused(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY)
    for start in (mechanism.initial_state, mechanism.initial_alignments):
        with pytest.raises(ValueError, match="the memory has batch size 3, not 4"):
            start(4, "float32")


def test_other_numbers_of_tensors_are_refused(mechanism: Any) -> None:
    mechanism.setup_memory(MEMORY)
    with pytest.raises(ValueError, match=re.escape("takes [query, state]")):
        mechanism(QUERY)
    with pytest.raises(ValueError, match=re.escape("takes memory or [memory, memory_sequence_length]")):
        mechanism([MEMORY, LENGTHS, MASK], setup_memory=True)


def test_a_symbolic_memory_is_refused(mechanism: Any) -> None:
    message = "in a functional model use SequenceAttention"
    with pytest.raises(ValueError, match=message):
        mechanism.setup_memory(keras.Input((None, DEPTH)))
    with pytest.raises(ValueError, match=message):
        mechanism(keras.Input((None, DEPTH)), setup_memory=True)
    with pytest.raises(ValueError, match=message):
        type(mechanism)(memory=keras.Input((None, DEPTH)), **mechanism.get_config())
