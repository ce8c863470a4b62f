"""Checks that attention written elsewhere can be trained: one step of training must leave finite numbers."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from model_export.attention.custom_probe import Question, describe_error, plain_errors
from model_export.attention.mechanism import AttentionMechanism
from model_export.errors import ConfigError


def check_gradients(mechanism: AttentionMechanism, question: Question, described: str) -> None:
    """Takes one step of gradient descent on a sum of the answers, then puts every variable back.

    Keras has no gradients of its own that work on each backend, but its models train on each.

    Args:
        mechanism: built.
        question: what it is asked; values at padding are 0, where a norm or a logarithm has no gradient.
        described: its name in errors.

    Raises:
        ConfigError: it cannot be called in training, or a gradient is not finite.
    """
    model = _Attending(mechanism, question)
    parts = {"the query": model.query, "values": model.values}
    parts |= {f"its weight {variable.name}": variable for variable in mechanism.trainable_variables}
    before = [np.asarray(variable).copy() for variable in mechanism.variables]
    try:
        with plain_errors(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Gradients do not exist for variables")  # hard attention has none
            _take_one_step(model, question.mask)
    except Exception as error:  # it is not our code, and may raise anything
        raise ConfigError(f"attention {described}: fails in training: {describe_error(error)}") from error
    else:
        for part, variable in parts.items():
            if not np.isfinite(np.asarray(variable)).all():
                raise ConfigError(
                    f"attention {described}: expected finite gradients, also at padding, where values are 0; found NaN "
                    f"or infinity in that of {part}"
                )
    finally:
        for variable, value in zip(mechanism.variables, before, strict=True):
            variable.assign(value)


class _Attending(keras.Model):
    """Asks a mechanism; query and values are weights, so that training takes their gradients too."""

    def __init__(self, mechanism: AttentionMechanism, question: Question) -> None:
        super().__init__(name="attending")
        self.mechanism = mechanism
        self.query = self.add_weight(shape=question.query.shape, initializer="zeros", name="query")
        self.values = self.add_weight(shape=question.values.shape, initializer="zeros", name="values")
        self.query.assign(question.query)
        self.values.assign(question.values)
        self.built = True

    def call(self, mask: Any, training: bool = False) -> Any:
        memory = self.mechanism.prepare(ops.convert_to_tensor(self.values), mask)
        query = ops.cast(self.query, self.mechanism.compute_dtype)
        attended = self.mechanism.attend(query, memory, self.mechanism.first_alignments(memory), training=training)
        # The query itself comes last: Keras refuses to train where there is no gradient at all.
        parts = [ops.cast(part, "float32") for part in (*attended, query)]
        return ops.concatenate(parts, axis=-1)


def _take_one_step(model: _Attending, mask: npt.NDArray[np.bool_]) -> None:
    width = model(mask).shape[-1]
    factors = np.random.default_rng(1).normal(size=(mask.shape[0], width)).astype(np.float32)
    compiled = keras.backend.backend() == "jax"  # where single operations take seconds; elsewhere compilation does
    model.compile(keras.optimizers.SGD(1e-3), loss=_weighted_sum, run_eagerly=not compiled, jit_compile=compiled)
    model.train_on_batch(mask, factors)


def _weighted_sum(factors: Any, answers: Any) -> Any:
    return ops.sum(factors * answers, axis=-1)
