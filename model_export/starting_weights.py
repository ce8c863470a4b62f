"""What a training may begin with: the weights of the same model, or of a shallower one that it computes like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from model_export.checkpoint import save_variables
from model_export.config import ModelConfig
from model_export.seq2seq import Seq2Seq

# In Keras's GRU (update, reset, candidate) as in its LSTM (input, forget, candidate, output): Keras 3, `layers.rnn`.
CANDIDATE = 2


def changeable_settings(known: ModelConfig, wanted: ModelConfig) -> set[str]:
    """Names the settings that may differ where a training begins with another run's weights.

    Dropout may change, but for 0, with which it has no states among the weights. The encoder may get further layers
    where they are residual, as only such layers can begin as nothing.

    Args:
        known: the model that the weights are of.
        wanted: the model to train.
    """
    allowed = {"dropout"} if known.dropout and wanted.dropout else set()
    residual = wanted.encoder_residual and (known.encoder_residual or known.encoder_layers == 1)
    if residual and wanted.encoder_layers > known.encoder_layers:
        allowed |= {"encoder_layers", "encoder_residual"}
    return allowed


def save_grown(model: Seq2Seq, wanted: ModelConfig, path: Path) -> None:
    """Writes weights of a model with further encoder layers that add nothing yet.

    The candidate states of an added layer are 0 whatever it reads, hence its outputs too, while its weights get
    gradients. Source: Chen et al. 2016 (arXiv:1511.05641), section 2, for models that grow without forgetting.

    Args:
        model: the trained one.
        wanted: the architecture of the deeper model, different in `changeable_settings` only.
        path: of the file to write, in the format of checkpoints.
    """
    deeper = Seq2Seq(wanted)
    added = _added_layers(deeper, model.config.encoder_layers)
    new = {id(variable) for layer in added for variable in layer.variables}
    kept = [variable for variable in deeper.persistent_variables if id(variable) not in new]
    for variable, trained in zip(kept, model.persistent_variables, strict=True):
        variable.assign(trained)
    for layer in added:
        _silence(layer, wanted)
    save_variables(path, deeper.persistent_variables)


def _added_layers(deeper: Seq2Seq, known_layers: int) -> list[keras.layers.Layer]:
    encoder = deeper.encoder
    return [*encoder.recurrent_layers[known_layers:], *encoder.norms[known_layers - 1 :]]


def _silence(layer: keras.layers.Layer, config: ModelConfig) -> None:
    """Sets what a recurrent layer's candidate states are computed from to 0; a normalisation has no such weights."""
    width = config.units // (2 if config.bidirectional else 1)
    for variable in layer.trainable_variables if not isinstance(layer, keras.layers.LayerNormalization) else ():
        value: Any = np.asarray(variable).copy()
        value[..., CANDIDATE * width : (CANDIDATE + 1) * width] = 0
        variable.assign(value)
