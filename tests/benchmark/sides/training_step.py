"""Training steps, one after the other, on Keras's backend of the environment.

Options: `loop` (`plain` or `own`), `product_dtype` and `model`, the fields of a `ModelConfig`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras
import numpy as np

from model_export import training
from model_export.attention import scoring
from model_export.batching import Batch
from model_export.bfloat16_products import bfloat16_products
from model_export.config import ModelConfig, TrainConfig
from model_export.heap import keep_freed_memory
from model_export.seq2seq import Seq2Seq
from tests.benchmark.sides.plain_loop import PlainCrossEntropy, PlainSeq2Seq
from tests.benchmark.sides.worker import repeat, serve

WARM_UP_STEPS = 3
MIN_STEPS = 3
FIRST_WORD = 4  # ids below are special


class OneBatch:
    """A `BatchSource` of a single batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        """One."""
        return 1

    def epoch(self, number: int) -> Iterable[Batch]:
        """The batch."""
        return [self._batch]


class TrainingSide:
    """A `Side` that trains on one batch again and again, as `Trainer` does on many."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._config = ModelConfig.model_validate(options["model"])
        self._train = TrainConfig(alignment_weight=0.1, aligner_weight=0.3, product_dtype=options["product_dtype"])
        self._plain = options["loop"] == "plain"
        self._open = ExitStack()
        if self._plain and keras.backend.backend() != "jax":
            raise ValueError("loop: plain runs on JAX only; set KERAS_BACKEND=jax")
        if self._plain:
            training.LabelSmoothedCrossEntropy = PlainCrossEntropy
            scoring.compare_by_sum = scoring.compare_by_sum.__wrapped__  # keeps what the gradient needs
        else:
            keep_freed_memory()
        if self._train.product_dtype == "bfloat16":
            self._open.enter_context(bfloat16_products())
        self._directory = Path(self._open.enter_context(tempfile.TemporaryDirectory()))

    def prepare(self, cell: Mapping[str, Any]) -> None:
        """Makes a new model and a batch of `rows` times `width`, and takes the first steps, which compile."""
        keras.utils.set_random_seed(1)
        self._batch = random_batch(cell["rows"], cell["width"], self._config.vocabulary_size)
        model = (PlainSeq2Seq if self._plain else Seq2Seq)(self._config)
        batches = OneBatch(self._batch)
        self._trainer = training.Trainer(model, self._train, batches, batches, self._directory)
        for _ in range(WARM_UP_STEPS):
            self.train_once()

    def train_once(self) -> dict[str, float]:
        """Takes a step; returns its losses per token."""
        return self._trainer.run_batch(self._batch, training=True).means

    def run(self, seconds: float, start_at: float) -> dict[str, Any]:
        """See `Side`; the durations of all steps."""
        return {"durations_s": repeat(self.train_once, seconds, start_at, MIN_STEPS)}

    def close(self) -> None:
        """See `Side`."""
        self._open.close()


def random_batch(rows: int, width: int, vocabulary_size: int) -> Batch:
    """Pairs of random words without padding, each linked to that in its own place; see `Batch` for the shapes."""
    ids = np.random.default_rng(1).integers(FIRST_WORD, vocabulary_size, size=(2, rows, width + 1)).astype(np.int32)
    links = np.broadcast_to(np.eye(width, dtype=np.float32), (rows, width, width))
    return Batch(ids[0, :, :width], np.full(rows, width, dtype=np.int32), ids[1], links)


if __name__ == "__main__":
    serve(TrainingSide)
