"""The average of the weights: it is what dev judges and what is kept, while training goes on without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_export.batching import Batch
from model_export.checkpoint import load_variables
from model_export.config import TrainConfig
from model_export.seq2seq import Seq2Seq
from tests.model_export.test_training import NoBatches, ScriptedTrainer
from tests.model_export.tiny_models import as_numpy, tiny_config, tiny_model


def copies_of(model: Seq2Seq) -> list[np.ndarray]:
    return [np.copy(np.asarray(variable)) for variable in model.trainable_variables]


class AveragedTrainer(ScriptedTrainer):
    """Trains, and remembers how the model answered while it was judged."""

    def evaluate(self) -> float:
        self.judged = copies_of(self.model)
        return 1.0


def copying_batches() -> list[Batch]:
    """Three batches of two sentences."""
    generator = np.random.default_rng(1)
    batches = []
    for _ in range(3):
        tokens = generator.integers(3, 11, size=(2, 3))
        source_ids = np.concatenate([tokens, np.full((2, 1), 2)], axis=1).astype(np.int32)
        target_ids = np.concatenate([np.full((2, 1), 1), source_ids], axis=1).astype(np.int32)
        batches.append(Batch(source_ids, np.array([4, 4], dtype=np.int32), target_ids))
    return batches


class Batches(NoBatches):
    """The same three batches in every epoch."""

    def __len__(self) -> int:
        return 3

    def epoch(self, number: int) -> Iterator[Batch]:
        return iter(copying_batches())


def test_dev_judges_the_average_of_the_weights_and_training_goes_on_with_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant_rate = {"learning_rate": 0.1, "warmup_steps": 0, "final_learning_rate_factor": 1.0}
    config = TrainConfig(epochs=1, average_decay=0.75, checkpoint_every_steps=1, **constant_rate)
    trainer = AveragedTrainer(tmp_path, config, [])
    trainer.train_batches = Batches()
    steps: list[list[np.ndarray]] = []
    monkeypatch.setattr(trainer, "_save_checkpoint", lambda: steps.append(copies_of(trainer.model)))
    trainer.run()
    _, first, second, third, after = steps
    for index, judged in enumerate(trainer.judged):
        average = 0.25 * third[index] + 0.75 * (0.25 * second[index] + 0.75 * first[index])
        np.testing.assert_allclose(judged, average, atol=1e-6)
        np.testing.assert_array_equal(after[index], third[index])
    assert max(np.abs(one - two).max() for one, two in zip(trainer.judged, third, strict=True)) > 0.01
    kept = tiny_model(tiny_config())
    load_variables(tmp_path / "weights.npz", kept.persistent_variables)
    for judged, variable in zip(trainer.judged, kept.trainable_variables, strict=True):
        np.testing.assert_array_equal(judged, as_numpy(variable))
