"""The whole model: what it predicts depends on the source and on earlier target tokens, and on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from model_export.losses import LabelSmoothedCrossEntropy
from model_export.seq2seq import Seq2Seq
from tests.model_export.tiny_models import (
    SOURCE_IDS,
    SOURCE_LENGTHS,
    TARGET_INPUTS,
    FloatArray,
    as_numpy,
    forward,
    tiny_config,
    tiny_model,
)

UNTIED = {"tied_embeddings": False, "attention_layer_size": 4, "attention_units": 3}
ARCHITECTURES = [
    {"cell": "gru"},
    {"cell": "lstm", "decoder_layers": 2, "encoder_layers": 2, "attention": "luong"},
    {"cell": "gru", "bidirectional": False, **UNTIED},
]


@pytest.mark.filterwarnings("ignore:.*softmax over axis -1:UserWarning")  # Keras doubts a source of one token
@pytest.mark.parametrize("changes", ARCHITECTURES, ids=str)
def test_padding_and_neighbours_change_nothing(changes: dict[str, Any]) -> None:
    model = tiny_model(tiny_config(**changes))
    batched = forward(model, SOURCE_IDS, SOURCE_LENGTHS, TARGET_INPUTS)
    assert batched.shape == (3, 4, 11)
    for row, length in enumerate(SOURCE_LENGTHS):
        one = slice(row, row + 1)
        single = forward(model, SOURCE_IDS[one, :length], SOURCE_LENGTHS[one], TARGET_INPUTS[one])
        np.testing.assert_allclose(batched[row], single[0], atol=1e-5)


@pytest.mark.parametrize("changes", ARCHITECTURES, ids=str)
def test_teacher_forcing_equals_decoding_step_by_step(changes: dict[str, Any]) -> None:
    model = tiny_model(tiny_config(**changes))
    logits = forward(model, SOURCE_IDS, SOURCE_LENGTHS, TARGET_INPUTS)
    memory, state = model.encode(SOURCE_IDS, SOURCE_LENGTHS)
    for position in range(TARGET_INPUTS.shape[1]):
        state = model.decoder.step(model.embed_target(TARGET_INPUTS[:, position]), state, memory)
        np.testing.assert_allclose(logits[:, position], as_numpy(model.project_output(state.attention)), atol=1e-5)


def test_predictions_do_not_look_ahead() -> None:
    model = tiny_model(tiny_config())
    other = TARGET_INPUTS.copy()
    other[:, 2] = 3
    before, after = (forward(model, SOURCE_IDS, SOURCE_LENGTHS, target) for target in (TARGET_INPUTS, other))
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 1e-3


# Vocabulary 11, embedding 5, encoder 2 x 3 units, decoder 6 units, keys 6, attention vector 5.
GRU_ENCODER = 2 * 3 * (3 * (5 + 3) + 2 * 3)  # directions x gates x (kernels + two biases)
GRU_DECODER = 3 * 6 * (5 + 5 + 6 + 2)
ATTENTION = 6 * 6 + 6 * 6 + 6  # memory layer, query layer, v
BRIDGE = 6 * 6 + 6


def test_tied_embeddings_are_one_matrix() -> None:
    model = Seq2Seq(tiny_config())
    assert model.source_embedding is model.target_embedding is model.output_kernel
    assert model.count_params() == 11 * 5 + 11 + GRU_ENCODER + GRU_DECODER + ATTENTION + BRIDGE + 12 * 5


def test_untied_embeddings_are_three() -> None:
    model = Seq2Seq(tiny_config(tied_embeddings=False))
    assert model.count_params() - Seq2Seq(tiny_config()).count_params() == 2 * 11 * 5
    assert len({id(table) for table in (model.source_embedding, model.target_embedding, model.output_kernel)}) == 3


def test_embeddings_start_at_unit_variance() -> None:
    model = Seq2Seq(tiny_config(vocabulary_size=400, embedding_dim=64))
    assert as_numpy(model.embed_target(np.arange(400))).std() == pytest.approx(1.0, abs=0.02)


def test_dropout_acts_in_training_only() -> None:
    model = tiny_model(tiny_config(dropout=0.5))
    inputs = {"source_ids": SOURCE_IDS, "source_lengths": SOURCE_LENGTHS, "target_inputs": TARGET_INPUTS}
    undisturbed = forward(tiny_model(tiny_config(dropout=0.0)), SOURCE_IDS, SOURCE_LENGTHS, TARGET_INPUTS)
    np.testing.assert_array_equal(as_numpy(model(inputs)), undisturbed)
    once, again = (as_numpy(model(inputs, training=True)) for _ in range(2))
    assert np.abs(once - undisturbed).max() > 0.01
    assert np.abs(once - again).max() > 0.01


def test_a_model_needs_its_vocabulary_size() -> None:
    with pytest.raises(ValueError, match="vocabulary_size"):
        Seq2Seq(tiny_config(vocabulary_size=0))


@pytest.mark.parametrize("as_given", [np.asarray, keras.ops.convert_to_tensor], ids=["array", "tensor"])
def test_an_empty_sentence_is_refused_before_any_layer_sees_it(as_given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(tiny_config())
    monkeypatch.setattr(model, "embed", lambda table, ids: pytest.fail("reached the embedding"))
    message = "source_lengths: sentence 1 has length 0; attention needs at least one token"
    for lengths in ([5, 0, 1], [5, -1, 1]):
        with pytest.raises(ValueError, match=message):
            model.encode(SOURCE_IDS, as_given(np.array(lengths, dtype=np.int32)))
    with pytest.raises(ValueError, match="source_lengths: sentence 0 has length 0"):
        model.encode(SOURCE_IDS[:, :0], as_given(SOURCE_LENGTHS))
    inputs = {"source_ids": SOURCE_IDS, "source_lengths": np.array([5, 3, 0]), "target_inputs": TARGET_INPUTS}
    with pytest.raises(ValueError, match="sentence 2 has length 0"):
        model(inputs)


STEPS = 3
TRAIN_ELSEWHERE = """
import sys
import numpy as np
from tests.model_export.test_seq2seq import train_a_little
np.savez(sys.argv[1], **train_a_little())
"""


def train_a_little() -> dict[str, FloatArray]:
    """Logits (batch, target_len, vocabulary) of a tiny model, and the losses (steps,) of training it a little."""
    model = tiny_model(tiny_config(encoder_layers=2, decoder_layers=2))
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=LabelSmoothedCrossEntropy(0.1))
    inputs = {"source_ids": SOURCE_IDS, "source_lengths": SOURCE_LENGTHS, "target_inputs": TARGET_INPUTS}
    logits = model.predict_on_batch(inputs)  # one program, where each operation by itself would be compiled
    labels = np.roll(TARGET_INPUTS, -1, axis=1)
    losses = [model.train_on_batch(inputs, labels, sample_weight=np.ones(labels.shape)) for _ in range(STEPS)]
    return {"logits": logits, "losses": np.array(losses, dtype=np.float32)}


def test_another_keras_backend_computes_and_trains_the_same(tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    command = [sys.executable, "-c", TRAIN_ELSEWHERE, str(tmp_path / "jax.npz")]
    with subprocess.Popen(command, cwd=Path.cwd(), env=environment) as elsewhere:  # while this process does the same
        expected = train_a_little()
    assert elsewhere.returncode == 0
    with np.load(tmp_path / "jax.npz") as found:
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5)
        np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-4)
    assert expected["losses"][-1] < expected["losses"][0]


def test_dropout_of_one_rate_has_one_generator_in_encoder_and_decoder_each() -> None:
    """Checkpoints of models with one rate for everything hold these and the generators of the recurrent layers."""

    def generators(**changes: Any) -> int:
        variables = Seq2Seq(tiny_config(**changes)).persistent_variables
        return sum("seed" in variable.path for variable in variables)

    none = generators(dropout=0.0)
    assert generators(dropout=0.2) == none + 2
    assert generators(dropout=0.1, embedding_dropout=0.2) == none + 4


@pytest.mark.parametrize("place", ["embedding_dropout", "attention_dropout"])
def test_dropout_acts_at_each_place_of_the_decoder(place: str) -> None:
    model = tiny_model(tiny_config(**{place: 0.5}))
    inputs = {"source_ids": SOURCE_IDS, "source_lengths": SOURCE_LENGTHS, "target_inputs": TARGET_INPUTS}
    undisturbed = as_numpy(model(inputs))
    assert np.abs(as_numpy(model(inputs, training=True)) - undisturbed).max() > 0.01
    np.testing.assert_array_equal(as_numpy(model(inputs)), undisturbed)
