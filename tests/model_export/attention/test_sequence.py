"""SequenceAttention: many queries at once, in functional models, saved, trained, and on another Keras backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from model_export.attention import (
    BahdanauMonotonicAttention,
    KerasAdditiveAttentionMechanism,
    KerasAttentionMechanism,
    SequenceAttention,
)
from tests.model_export.attention.by_hand import DEPTH, KINDS, MASK, SOFT, UNITS, Array, make, make_with_weights
from tests.model_export.tiny_models import as_numpy, random_array

STEPS = 4
QUERIES = random_array(3, STEPS, UNITS)
VALUES = random_array(3, 5, DEPTH, seed=1)


def step_by_step(mechanism: Any, training: bool = False) -> tuple[Array, Array]:
    """Contexts (B, T, D) and alignments (B, T, S), one query after the other."""
    memory = mechanism.prepare(VALUES, ops.convert_to_tensor(MASK))
    previous, steps = mechanism.first_alignments(memory), []
    for query in np.swapaxes(QUERIES, 0, 1):
        steps.append(mechanism.attend(ops.convert_to_tensor(query), memory, previous, training=training))
        previous = steps[-1].alignments
    contexts = np.stack([as_numpy(step.context) for step in steps], axis=1)
    return contexts, np.stack([as_numpy(step.alignments) for step in steps], axis=1)


def functional_model(mechanism: Any) -> keras.Model:
    inputs = [keras.Input((None, UNITS)), keras.Input((None, DEPTH)), keras.Input((None,), dtype="bool")]
    queries, values, mask = inputs
    return keras.Model(inputs, SequenceAttention(mechanism)(queries, values, mask=mask))


@pytest.mark.parametrize("kind", KINDS)
def test_queries_are_answered_in_order(kind: str) -> None:
    mechanism = make_with_weights(kind, dtype=None)
    contexts, alignments = SequenceAttention(mechanism)(QUERIES, VALUES, mask=MASK)
    expected_contexts, expected_alignments = step_by_step(mechanism)
    np.testing.assert_allclose(as_numpy(alignments), expected_alignments, atol=1e-6)
    np.testing.assert_allclose(as_numpy(contexts), expected_contexts, atol=1e-6)


@pytest.mark.filterwarnings("ignore:(?s).*__array__ implementation:DeprecationWarning")  # Keras's own, when it saves
@pytest.mark.parametrize("kind", KINDS)
def test_a_functional_model_holds_it_and_can_be_saved(kind: str, tmp_path: Path) -> None:
    mechanism = make(kind)
    model = functional_model(mechanism)
    assert [tuple(output.shape) for output in model.outputs] == [(None, None, DEPTH), (None, None, None)]
    assert len(model.trainable_weights) == len(mechanism.weights)
    found = model([QUERIES, VALUES, MASK])
    for answer, expected in zip(found, step_by_step(mechanism), strict=True):
        np.testing.assert_allclose(as_numpy(answer), expected, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for answer, expected in zip(again([QUERIES, VALUES, MASK]), found, strict=True):
        np.testing.assert_array_equal(as_numpy(answer), as_numpy(expected))


def test_known_dimensions_reach_the_outputs() -> None:
    contexts, alignments = SequenceAttention(make("bahdanau"))(keras.Input((7, 2)), keras.Input((5, DEPTH)))
    assert (tuple(contexts.shape), tuple(alignments.shape)) == ((None, 7, DEPTH), (None, 7, 5))


def test_the_mask_that_values_carry_is_taken() -> None:
    layer = SequenceAttention(make_with_weights("bahdanau", dtype=None))
    masked = keras.layers.Masking()(VALUES * MASK[:, :, None])
    expected = as_numpy(layer(QUERIES, VALUES, mask=MASK)[1])
    np.testing.assert_array_equal(as_numpy(layer(QUERIES, masked)[1]), expected)
    assert (expected.transpose(0, 2, 1)[~MASK] == 0).all()
    # With a mask that is passed as well, real is what both call real.
    np.testing.assert_array_equal(as_numpy(layer(QUERIES, masked, mask=np.ones_like(MASK))[1]), expected)
    scattered = MASK & [True, False, True, True, False]
    both = as_numpy(layer(QUERIES, masked, mask=scattered)[1])
    np.testing.assert_array_equal(both, as_numpy(layer(QUERIES, VALUES, mask=scattered)[1]))
    assert (both != expected).any()


def test_contexts_carry_the_mask_of_the_queries() -> None:
    real = np.array([[True, True, False, False]] * 3)
    queries = keras.layers.Masking()(QUERIES * real[:, :, None])
    contexts, alignments = SequenceAttention(make("bahdanau"))(queries, VALUES, mask=MASK)
    np.testing.assert_array_equal(as_numpy(contexts._keras_mask), real)
    assert getattr(alignments, "_keras_mask", None) is None


@pytest.mark.parametrize("mechanism_class", [KerasAttentionMechanism, KerasAdditiveAttentionMechanism, *KINDS])
def test_in_a_graph_a_sentence_of_padding_gets_no_weight(mechanism_class: Any) -> None:
    mechanism = make(mechanism_class) if isinstance(mechanism_class, str) else mechanism_class()
    queries = random_array(3, STEPS, UNITS if isinstance(mechanism_class, str) else DEPTH)
    arrays = [keras.Input(array.shape[1:]) for array in (queries, VALUES)]
    real = keras.Input((5,), dtype="bool")
    model = keras.Model([*arrays, real], SequenceAttention(mechanism)(*arrays, mask=real))
    expected = model.predict([queries, VALUES, MASK], verbose=0)
    contexts, alignments = model.predict([queries, VALUES, MASK & [[True], [False], [True]]], verbose=0)
    assert not contexts[1].any()
    assert not alignments[1].any()
    for found, before in zip((contexts, alignments), expected, strict=True):
        np.testing.assert_array_equal(found[[0, 2]], before[[0, 2]])


def test_the_configuration_holds_the_mechanism() -> None:
    layer = SequenceAttention(make("luong_monotonic-scale", sigmoid_noise=0.5), name="attend")
    again = SequenceAttention.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.mechanism.get_config() == layer.mechanism.get_config()


def test_it_computes_in_the_mechanisms_precision() -> None:
    contexts, alignments = SequenceAttention(make("bahdanau_monotonic-parallel", dtype="float64"))(QUERIES, VALUES)
    assert {keras.backend.standardize_dtype(array.dtype) for array in (contexts, alignments)} == {"float64"}


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="SequenceAttention: Dense is not an AttentionMechanism"):
        SequenceAttention(keras.layers.Dense(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sentence 1 has length 0"):
        SequenceAttention(make("bahdanau"))(QUERIES, VALUES, mask=MASK & [[True], [False], [True]])


@pytest.mark.parametrize("query_mask", [None, np.ones((3, STEPS), dtype=bool)])
def test_a_list_of_masks_is_refused(query_mask: Any) -> None:
    layer = SequenceAttention(make("bahdanau"), name="attend")
    message = r"attend: mask: expected one tensor \(batch, source_len\), the mask of the values, not a list of 2"
    with pytest.raises(ValueError, match=message):
        layer(QUERIES, VALUES, mask=[query_mask, MASK])
    with pytest.raises(ValueError, match=message):
        layer(keras.Input((None, UNITS)), keras.Input((None, DEPTH)), mask=[query_mask, keras.Input((None,))])


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask: expected shape \(3, 5\), as the memory has it, not \(3, 4\)"):
        SequenceAttention(make("bahdanau"))(QUERIES, VALUES, mask=np.ones((3, STEPS), dtype=bool))


# --- Training, on two Keras backends --------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_training_reaches_the_mechanism(training: bool) -> None:
    mechanisms = [make_with_weights("bahdanau_monotonic-parallel", dtype=None, sigmoid_noise=2.0, sigmoid_noise_seed=1)
                  for _ in range(2)]  # fmt: skip
    found = as_numpy(SequenceAttention(mechanisms[0])(QUERIES, VALUES, mask=MASK, training=training)[1])
    np.testing.assert_allclose(found, step_by_step(mechanisms[1], training=training)[1], atol=1e-6)
    quiet = step_by_step(make_with_weights("bahdanau_monotonic-parallel", dtype=None))[1]
    assert (np.abs(found - quiet).max() > 0.01) == training


def test_on_tensorflow_it_trains_without_xla() -> None:
    model = functional_model(make("bahdanau"))
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.compile("sgd", ["mse", "mse"], jit_compile=True)  # as Keras by itself would where there is a GPU
    model.train_on_batch([QUERIES, VALUES, MASK], [np.zeros((3, STEPS, DEPTH)), np.zeros((3, STEPS, 5))])


TRAIN_ELSEWHERE = """
import sys
import numpy as np
from tests.model_export.attention.test_sequence import train_a_little
np.savez(sys.argv[1], **train_a_little())
"""


def train_a_little() -> dict[str, Array]:
    """Contexts of every kind of mechanism, and the compiled training of one with noise, on the backend at hand."""
    answers = {
        kind: as_numpy(functional_model(make_with_weights(kind, dtype=None))([QUERIES, VALUES, MASK])[0])
        for kind in SOFT
    }
    noisy = BahdanauMonotonicAttention(UNITS, sigmoid_noise=1.0, sigmoid_noise_seed=5, kernel_initializer="ones")
    inputs = functional_model(noisy).inputs
    model = keras.Model(inputs, SequenceAttention(noisy)(*inputs[:2], mask=inputs[2])[0])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    arrays, target = [QUERIES, VALUES, MASK], np.zeros((3, STEPS, DEPTH))
    frozen = [model.train_on_batch(arrays, target) for _ in range(3)]
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = [model.train_on_batch(arrays, target) for _ in range(30)]
    [draws] = [as_numpy(variable) for variable in noisy.non_trainable_variables]
    quiet = [as_numpy(model(arrays)) for _ in range(2)]
    return {**answers, "frozen": np.array(frozen), "losses": np.array(losses), "draws": draws, "quiet": np.array(quiet)}


def check_training(results: dict[str, Array]) -> None:
    assert len(set(results["frozen"].tolist())) == 3  # another noise for every batch
    assert results["draws"].tolist() == [5, 33 * STEPS]  # the seed, and one draw per query of each batch
    assert results["losses"][-5:].mean() < 0.7 * results["losses"][:5].mean()
    np.testing.assert_array_equal(results["quiet"][0], results["quiet"][1])


def test_it_trains_with_noise_and_computes_the_same_on_another_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    subprocess.run([sys.executable, "-c", TRAIN_ELSEWHERE, str(tmp_path / "jax.npz")], check=True, cwd=Path.cwd())
    here = train_a_little()
    check_training(here)
    with np.load(tmp_path / "jax.npz") as archive:
        elsewhere = dict(archive)
    check_training(elsewhere)
    for kind in SOFT:
        np.testing.assert_allclose(elsewhere[kind], here[kind], atol=1e-5, err_msg=kind)
