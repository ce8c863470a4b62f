"""Training: teacher forcing over bucketed batches, judged on dev after every epoch, resumable at any step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import closing, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from tensorboard.summary import Writer
from tqdm import tqdm

from model_export.batching import Batch
from model_export.bfloat16_products import bfloat16_products
from model_export.checkpoint import load_variables, save_variables
from model_export.config import TrainConfig
from model_export.errors import CheckpointError, TrainingError
from model_export.guided_alignment import (
    ALIGNER,
    ALIGNMENTS,
    AlignmentCrossEntropy,
    GuidedSeq2Seq,
    alignment_weight,
    guide,
)
from model_export.losses import LabelSmoothedCrossEntropy, negative_log_likelihood
from model_export.run_directory import CHECKPOINT_FILE, LOG_DIRECTORY, WEIGHTS_FILE
from model_export.seq2seq import Seq2Seq
from model_export.tokenizer_training import SPECIAL_IDS
from model_export.training_progress import BatchLosses, Progress, TokenMeans

PADDING_ID = SPECIAL_IDS[0]
ADAM_BETA_2 = 0.98  # Vaswani et al. 2017 (arXiv:1706.03762), section 5.3


class BatchSource(Protocol):
    """Batches in an order that depends on the epoch alone, so that training can go on in the middle of one."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterable[Batch]: ...


class Trainer:
    """Trains one model into one directory.

    Args:
        model: with fresh weights.
        config: how to train.
        train_batches: in an order that depends on the epoch; with alignments if their loss has a weight.
        dev_batches: to judge by; their order does not matter. With alignments, their losses are reported as well.
        directory: receives checkpoint, best weights and TensorBoard logs.
    """

    def __init__(
        self, model: Seq2Seq, config: TrainConfig, train_batches: BatchSource, dev_batches: BatchSource, directory: Path
    ) -> None:
        self.model = model
        self.config = config
        self.train_batches = train_batches
        self.dev_batches = dev_batches
        self.directory = directory
        self.progress = Progress()
        self._compile()

    def _compile(self) -> None:
        schedule = learning_rate_schedule(self.config, len(self.train_batches))
        optimizer = keras.optimizers.Adam(
            schedule,
            beta_2=ADAM_BETA_2,
            global_clipnorm=self.config.clip_norm,
            name="adam",
        )
        optimizer.build(self.model.trainable_variables)
        nll = keras.metrics.MeanMetricWrapper(negative_log_likelihood, name="nll")
        loss = LabelSmoothedCrossEntropy(self.config.label_smoothing)
        if self._guided:
            losses = {"logits": loss} | {name: AlignmentCrossEntropy() for name in self._alignment_weights}
            self._learner = GuidedSeq2Seq(self.model)
            self._learner.compile(optimizer=optimizer, loss=losses, weighted_metrics={"logits": [nll]})
        else:
            self._learner = self.model
            self._learner.compile(optimizer=optimizer, loss=loss, weighted_metrics=[nll])

    @property
    def _guided(self) -> bool:
        return self.config.alignment_weight > 0 or self.model.config.aligner is not None

    @property
    def _variables(self) -> list[Any]:
        return [*self.model.persistent_variables, *self._learner.optimizer.variables]

    def resume(self) -> None:
        """Goes back to the last checkpoint in the directory.

        Raises:
            CheckpointError: there is none, or it belongs to another configuration.
        """
        path = self.directory / CHECKPOINT_FILE
        try:
            self.progress = Progress(**load_variables(path, self._variables))
        except TypeError as error:
            raise CheckpointError(f"{path}: holds no training progress that this version can read") from error

    @property
    def finished(self) -> bool:
        """Whether the last epoch has ended, or dev has not improved for `patience` epochs."""
        return self.progress.epoch >= self.config.epochs or self.progress.epochs_since_best >= self.config.patience

    def run(self) -> Progress:
        """Trains until it is finished; returns the progress.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        self._save_checkpoint()  # so that a run can be resumed whenever it is interrupted
        with closing(Writer(str(self.directory / LOG_DIRECTORY))) as writer:
            while not self.finished:
                with bfloat16_products() if self.config.product_dtype == "bfloat16" else nullcontext():
                    train_loss = self._train_epoch(writer)
                self._end_epoch(train_loss, writer)
        return self.progress

    def _train_epoch(self, writer: Writer) -> float:
        progress = self.progress
        means = TokenMeans()
        batches = islice(self.train_batches.epoch(progress.epoch), progress.step_in_epoch, None)
        bar = tqdm(
            batches,
            desc=f"epoch {progress.epoch + 1}/{self.config.epochs}",
            initial=progress.step_in_epoch,
            total=len(self.train_batches),
            unit="batch",
        )
        for batch in bar:
            losses = self.run_batch(batch, training=True)
            means.add(losses)
            progress.step += 1
            progress.step_in_epoch += 1
            bar.set_postfix({name: f"{value:.3f}" for name, value in losses.means.items()})
            if progress.step % self.config.checkpoint_every_steps == 0:
                _check_loss(sum(losses.means.values()))
                for name, value in losses.means.items():
                    writer.add_scalar(f"train/{name}", value, progress.step)
                self._save_checkpoint()
        return means.values.get("nll", math.nan)

    def run_batch(self, batch: Batch, training: bool) -> BatchLosses:
        """Trains on one batch, or only judges it.

        Returns:
            `nll` and, where training is guided and the batch has alignments, `alignments_loss` and `aligner_loss`, as
            far as they have a weight, which is not counted.
        """
        inputs, labels, weights = teacher_forcing(batch)
        run = self._learner.train_on_batch if training else self._learner.test_on_batch
        if not self._guided:
            logs = run(inputs, labels, sample_weight=weights, return_dict=True)
            return BatchLosses({"nll": float(logs["nll"])}, {"nll": float(weights.sum())})
        factors = self._alignment_weights if training else self._dev_factors(batch)
        guidance = guide(batch, factors, self.config.alignment_row_offset)
        logs = run(
            inputs,
            {"logits": labels, **guidance.targets},
            sample_weight={"logits": weights, **guidance.row_weights},
            return_dict=True,
        )
        losses, tokens = {"nll": float(logs["logits_nll"])}, {"nll": float(weights.sum())}
        for name, factor in factors.items():
            if factor:
                losses[f"{name}_loss"] = float(logs[f"{name}_loss"]) / factor
                tokens[f"{name}_loss"] = float(np.count_nonzero(guidance.row_weights[name]))
        return BatchLosses(losses, tokens)

    @property
    def _alignment_weights(self) -> dict[str, float]:
        """Of the losses on attention, at this step."""
        steps = self.config.epochs * len(self.train_batches)
        weights = {ALIGNMENTS: alignment_weight(self.config, self.progress.step, steps)}
        return weights | ({ALIGNER: self.config.aligner_weight} if self.model.config.aligner else {})

    def _dev_factors(self, batch: Batch) -> dict[str, float]:
        """1 for each loss on attention that is trained on, whatever its weight just now; 0 without alignments."""
        if batch.alignments is None:
            return dict.fromkeys(self._alignment_weights, 0.0)
        return {name: float(name == ALIGNER or self.config.alignment_weight > 0) for name in self._alignment_weights}

    def _end_epoch(self, train_loss: float, writer: Writer) -> None:
        """Judges the weights on dev, and keeps them if they are the best so far."""
        dev_losses = self.evaluate()
        self._record_epoch(train_loss, dev_losses, writer)
        self._save_checkpoint()
        shown = [f"dev {name.replace('_', ' ')} {value:.4f}" for name, value in dev_losses.items()]
        tqdm.write(f"epoch {self.progress.epoch}: train nll {train_loss:.4f}, {', '.join(shown)} per token")

    def _record_epoch(self, train_loss: float, dev_losses: dict[str, float], writer: Writer) -> None:
        dev_loss = dev_losses["nll"]
        _check_loss(dev_loss)
        progress = self.progress
        progress.epoch += 1
        progress.step_in_epoch = 0
        progress.epochs_since_best += 1
        dev_history = {f"dev_{name}": value for name, value in dev_losses.items()}
        progress.history.append({"step": progress.step, "train_nll": train_loss, **dev_history})
        for name, value in dev_losses.items():
            writer.add_scalar(f"dev/{name}", value, progress.step)
        writer.flush()
        if dev_loss < progress.best_dev_loss:
            progress.best_dev_loss = dev_loss
            progress.epochs_since_best = 0
            save_variables(self.directory / WEIGHTS_FILE, self.model.persistent_variables, asdict(progress))

    def _save_checkpoint(self) -> None:
        save_variables(self.directory / CHECKPOINT_FILE, self._variables, asdict(self.progress))

    def evaluate(self) -> dict[str, float]:
        """Losses per token on dev, in nats, without smoothing or dropout.

        Returns:
            `nll`, the negative log-likelihood, by which weights are chosen; and where dev has alignments what attention
            loses against them, as `run_batch` names it.
        """
        means = TokenMeans()
        batches = self.dev_batches.epoch(0)
        for batch in tqdm(batches, desc="dev", total=len(self.dev_batches), unit="batch", leave=False):
            means.add(self.run_batch(batch, training=False))
        return {"nll": math.nan} | means.values


def _check_loss(loss: float) -> None:
    """Stops before weights that are no numbers replace the last checkpoint."""
    if not math.isfinite(loss):
        raise TrainingError(f"the loss became {loss}: start a new run with a lower training.learning_rate")


def teacher_forcing(batch: Batch) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Splits a batch into inputs, labels (batch, target_len) and weights (batch, target_len), 0 at padding."""
    inputs = {
        "source_ids": batch.source_ids,
        "source_lengths": batch.source_lengths,
        "target_inputs": batch.target_ids[:, :-1],
    }
    labels = batch.target_ids[:, 1:]
    return inputs, labels, (labels != PADDING_ID).astype(np.float32)


def learning_rate_schedule(
    config: TrainConfig, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up, then half a cosine down to the end of the last epoch."""
    decay_steps = max(1, config.epochs * steps_per_epoch - config.warmup_steps)
    if config.warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(
            config.learning_rate, decay_steps, alpha=config.final_learning_rate_factor
        )
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=decay_steps,
        alpha=config.final_learning_rate_factor,
        warmup_target=config.learning_rate,
        warmup_steps=config.warmup_steps,
    )
