"""Models small enough to compute by hand, with weights that hide nothing: no zero bias, no symmetry."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from model_export.config import ModelConfig
from model_export.seq2seq import Seq2Seq

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

SOURCE_IDS: IntArray = np.array([[4, 9, 5, 7, 2], [6, 8, 2, 0, 0], [2, 0, 0, 0, 0]], dtype=np.int32)
SOURCE_LENGTHS: IntArray = np.array([5, 3, 1], dtype=np.int32)
SOURCE_MASK = np.arange(5) < SOURCE_LENGTHS[:, None]
TARGET_INPUTS: IntArray = np.array([[1, 7, 5, 9], [1, 8, 0, 0], [1, 10, 4, 0]], dtype=np.int32)


def tiny_config(**changes: Any) -> ModelConfig:
    """An architecture of a vocabulary of 11 and widths below 10."""
    values = {"vocabulary_size": 11, "embedding_dim": 5, "units": 6, "dropout": 0.0}
    return ModelConfig.model_validate(values | changes)


def tiny_model(config: ModelConfig, seed: int = 0) -> Seq2Seq:
    """A model whose weights are all random."""
    model = Seq2Seq(config)
    randomize(model.trainable_variables, seed)
    return model


def randomize(variables: list[Any], seed: int = 0, scale: float = 0.6) -> None:
    """Draws every variable from a normal distribution."""
    generator = np.random.default_rng(seed)
    for variable in variables:
        variable.assign(generator.normal(scale=scale, size=variable.shape).astype(np.float32))


def random_array(*shape: int, seed: int = 0) -> FloatArray:
    """Normally distributed float32 values."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def as_numpy(tensor: Any) -> npt.NDArray[Any]:
    """A tensor or variable of any Keras backend as an array."""
    return np.asarray(tensor)


def forward(model: Seq2Seq, source: IntArray, lengths: IntArray, target: IntArray) -> FloatArray:
    """Logits (batch, target_len, vocabulary) without dropout."""
    return as_numpy(model({"source_ids": source, "source_lengths": lengths, "target_inputs": target}))
