"""The trainer between epochs: when it stops, which weights it keeps, how it goes on, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_export.batching import Batch
from model_export.checkpoint import load_variables, save_variables
from model_export.config import TrainConfig
from model_export.errors import CheckpointError, TrainingError
from model_export.seq2seq import Seq2Seq
from model_export.training import Trainer
from tests.model_export.resumed_runs import read_checkpoint
from tests.model_export.tiny_models import as_numpy, tiny_config, tiny_model


class NoBatches:
    """An epoch of nothing: only what happens between epochs is left."""

    def __len__(self) -> int:
        return 0

    def epoch(self, number: int) -> Iterator[Batch]:
        return iter(())


class ScriptedTrainer(Trainer):
    """A trainer whose dev losses are given; the epoch's number is written into the model, to be found again."""

    def __init__(self, directory: Path, config: TrainConfig, dev_losses: list[float], units: int = 6) -> None:
        super().__init__(tiny_model(tiny_config(units=units)), config, NoBatches(), NoBatches(), directory)
        self.dev_losses = dev_losses

    def evaluate(self) -> dict[str, float]:
        epoch = self.progress.epoch
        self.model.output_bias.assign(np.full(11, epoch, dtype=np.float32))
        return {"nll": self.dev_losses[epoch]}


def test_training_stops_when_dev_no_longer_improves(tmp_path: Path) -> None:
    trainer = ScriptedTrainer(tmp_path, TrainConfig(epochs=10, patience=2), [3.0, 2.5, 2.8, 2.0, 2.1, 2.0, 1.0])
    progress = trainer.run()
    assert [entry["dev_nll"] for entry in progress.history] == [3.0, 2.5, 2.8, 2.0, 2.1, 2.0]
    assert (progress.best_dev_loss, progress.epochs_since_best) == (2.0, 2)


def test_training_stops_after_the_last_epoch(tmp_path: Path) -> None:
    assert ScriptedTrainer(tmp_path, TrainConfig(epochs=2), [3.0, 2.5, 2.0]).run().epoch == 2


def test_the_weights_that_were_best_on_dev_are_kept(tmp_path: Path) -> None:
    ScriptedTrainer(tmp_path, TrainConfig(epochs=4), [3.0, 2.0, 2.5, 2.2]).run()
    with np.load(tmp_path / "weights.npz") as archive:
        (bias,) = (archive[name] for name in archive.files if name.endswith("seq2seq/output_bias"))
    assert bias.tolist() == [1.0] * 11  # of the second epoch


def test_a_resumed_run_knows_its_past(tmp_path: Path) -> None:
    losses = [3.0, 2.0, 2.5, 2.2, 1.0]
    ScriptedTrainer(tmp_path, TrainConfig(epochs=3, patience=2), losses).run()
    trainer = ScriptedTrainer(tmp_path, TrainConfig(epochs=5, patience=2), losses)
    trainer.resume()
    assert as_numpy(trainer.model.output_bias).tolist() == [2.0] * 11
    progress = trainer.run()  # one more bad epoch is all its patience
    assert (progress.epoch, progress.best_dev_loss) == (4, 2.0)


def test_only_a_run_of_the_same_model_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        ScriptedTrainer(tmp_path, TrainConfig(), [1.0]).resume()
    ScriptedTrainer(tmp_path, TrainConfig(epochs=1), [1.0]).run()
    with pytest.raises(CheckpointError, match=r"encoder/.*was the configuration changed since\?"):
        ScriptedTrainer(tmp_path, TrainConfig(epochs=1), [1.0], units=8).resume()


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_training_that_blew_up_ends_with_advice_and_keeps_the_last_checkpoint(tmp_path: Path, loss: float) -> None:
    with pytest.raises(TrainingError, match=f"the loss became {loss}: start a new run with a lower training.learning"):
        ScriptedTrainer(tmp_path, TrainConfig(epochs=3), [2.0, loss, 1.0]).run()
    _, progress = read_checkpoint(tmp_path)
    assert progress["epoch"] == 1


def copies_of(model: Seq2Seq) -> list[np.ndarray]:
    return [np.copy(np.asarray(variable)) for variable in model.trainable_variables]


class AveragedTrainer(ScriptedTrainer):
    """Trains, and remembers how the model answered while it was judged."""

    def evaluate(self) -> dict[str, float]:
        self.judged = copies_of(self.model)
        return {"nll": 1.0}


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


def test_progress_of_another_version_is_refused(tmp_path: Path) -> None:
    trainer = ScriptedTrainer(tmp_path, TrainConfig(epochs=1), [2.0])
    save_variables(tmp_path / "checkpoint.npz", trainer._variables, {"epochs": 3})
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.npz: holds no training progress that this version can read"
    ):
        trainer.resume()
