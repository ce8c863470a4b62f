"""The same model in TensorFlow. Options: `saved_model`, `vocabulary_size`, `threads`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from service.domain import SpecialIds
from tests.benchmark.sides.cell import Cell, random_sources
from tests.benchmark.sides.worker import BatchSide, serve

IDS = SpecialIds(pad=0, bos=1, eos=2, unk=3)


class SavedModelTranslator:
    """A `BatchTranslator`."""

    lanes = 1

    def __init__(self, options: Mapping[str, Any]) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(options["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(options["threads"])
        self._model = tf.saved_model.load(options["saved_model"])
        self._translate = self._model.signatures["serving_default"]
        self._vocabulary_size: int = options["vocabulary_size"]
        self._feeds: dict[str, Any] = {}

    def set_cell(self, cell: Cell) -> None:
        """Makes the tensors."""
        self._feeds = {
            "source_ids": tf.constant(random_sources(cell, self._vocabulary_size, IDS)),
            "source_lengths": tf.constant(np.full(cell.batch, cell.source_length, np.int32)),
            "target_length": tf.constant(cell.target_length, tf.int32),
        }

    def translate(self, lane: int) -> Sequence[int]:
        """Runs the graph and fetches what the engine gives as well."""
        results = {name: tensor.numpy() for name, tensor in self._translate(**self._feeds).items()}
        return [len(row) for row in results["ids"]]

    def figures(self) -> dict[str, float]:
        """None."""
        return {}


if __name__ == "__main__":
    serve(lambda options: BatchSide(SavedModelTranslator(options)))
