"""A model made deeper computes what the shallower one computed, and its new layers learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from model_export.checkpoint import load_variables
from model_export.config import ModelConfig
from model_export.seq2seq import Seq2Seq
from model_export.starting_weights import changeable_settings, save_grown
from service.domain import FloatArray

BATCH: dict[str, Any] = {
    "source_ids": np.array([[5, 6, 7, 3], [8, 9, 3, 0]], dtype=np.int32),
    "source_lengths": np.array([4, 3], dtype=np.int32),
    "target_inputs": np.array([[2, 10, 11], [2, 12, 0]], dtype=np.int32),
}


def make_config(**settings: Any) -> ModelConfig:
    values: dict[str, Any] = {"vocabulary_size": 13, "embedding_dim": 6, "units": 8, "dropout": 0.1}
    return ModelConfig.model_validate(values | settings)


def grow(model: Seq2Seq, layers: int, path: Path, **settings: Any) -> Seq2Seq:
    wanted = {**model.config.model_dump(), "encoder_layers": layers, "encoder_residual": True, **settings}
    config = ModelConfig.model_validate(wanted)
    save_grown(model, config, path / "weights.npz")
    deeper = Seq2Seq(config)
    load_variables(path / "weights.npz", deeper.persistent_variables)
    return deeper


def compute(model: Seq2Seq) -> FloatArray:
    return np.asarray(model(BATCH))


def added_weights(model: Seq2Seq) -> list[FloatArray]:
    weights = [weight for layer in model.encoder.recurrent_layers[1:] for weight in layer.trainable_weights]
    return [np.asarray(weight).copy() for weight in weights]


@pytest.mark.parametrize(("cell", "bidirectional"), [("gru", True), ("lstm", False)])
def test_added_layers_change_nothing_yet_and_learn(cell: str, bidirectional: bool, tmp_path: Path) -> None:
    model = Seq2Seq(make_config(cell=cell, bidirectional=bidirectional))
    deeper = grow(model, 2, tmp_path, dropout=0.3)
    np.testing.assert_array_equal(compute(deeper), compute(model))
    deeper.compile(keras.optimizers.Adam(0.01), "mean_squared_error", run_eagerly=True)
    before = added_weights(deeper)
    deeper.fit(BATCH, np.ones((2, 3, 13), np.float32), epochs=2, verbose=0)
    after = added_weights(deeper)
    assert len(before) == (6 if bidirectional else 3)
    assert all((one != other).any() for one, other in zip(before, after, strict=True))


def test_a_deeper_model_grows_again_with_what_its_layers_learned(tmp_path: Path) -> None:
    model = Seq2Seq(make_config(encoder_layers=2, encoder_residual=True))
    deeper = grow(model, 4, tmp_path)
    assert len(deeper.encoder.recurrent_layers) == 4
    np.testing.assert_array_equal(compute(deeper), compute(model))


@pytest.mark.parametrize(
    ("known", "wanted", "allowed"),
    [
        ({}, {"dropout": 0.3}, {"dropout"}),
        ({"dropout": 0.0}, {"dropout": 0.3}, set()),
        ({}, {"encoder_layers": 2, "encoder_residual": True}, {"dropout", "encoder_layers", "encoder_residual"}),
        ({}, {"encoder_layers": 2}, {"dropout"}),
        ({"encoder_layers": 2}, {"encoder_layers": 3, "encoder_residual": True}, {"dropout"}),
        ({"encoder_layers": 3, "encoder_residual": True}, {"encoder_layers": 2, "encoder_residual": True}, {"dropout"}),
    ],
)
def test_what_may_differ(known: dict[str, Any], wanted: dict[str, Any], allowed: set[str]) -> None:
    assert changeable_settings(make_config(**known), make_config(**wanted)) == allowed
