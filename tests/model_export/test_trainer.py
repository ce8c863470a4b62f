"""The trainer between epochs: when it stops, which weights it keeps, how it goes on, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_export.batching import Batch
from model_export.checkpoint import save_variables
from model_export.config import TrainConfig
from model_export.errors import CheckpointError, TrainingError
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


def test_progress_of_another_version_is_refused(tmp_path: Path) -> None:
    trainer = ScriptedTrainer(tmp_path, TrainConfig(epochs=1), [2.0])
    save_variables(tmp_path / "checkpoint.npz", trainer._variables, {"epochs": 3})
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.npz: holds no training progress that this version can read"
    ):
        trainer.resume()
