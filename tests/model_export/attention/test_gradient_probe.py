"""Attention written elsewhere is trained for one step, which must leave finite numbers, and is then as it was."""

from __future__ import annotations

import numpy as np
import pytest

from model_export.attention import (
    AttentionMechanism,
    BahdanauAttention,
    CustomAttention,
    LuongAttention,
    LuongMonotonicAttention,
)
from model_export.attention.custom_probe import make_question
from model_export.attention.gradient_probe import check_gradients
from model_export.errors import ConfigError
from tests.model_export import unexportable_layers as layers
from tests.model_export.attention.own_layers import ProjectedAttention
from tests.model_export.tiny_models import as_numpy

DEPTH = 4


def built(mechanism: AttentionMechanism) -> AttentionMechanism:
    mechanism.build_for(DEPTH, DEPTH)
    return mechanism


@pytest.mark.parametrize(
    "mechanism",
    [
        CustomAttention(ProjectedAttention(3, dropout=0.5)),
        LuongMonotonicAttention(DEPTH, scale=True, sigmoid_noise=1.0),
        LuongAttention(DEPTH, probability_fn="hardmax"),
        BahdanauAttention(3, dtype="mixed_bfloat16"),
    ],
    ids=lambda mechanism: mechanism.name,
)
def test_weights_and_random_states_are_as_they_were(mechanism: AttentionMechanism) -> None:
    before = [as_numpy(variable).copy() for variable in built(mechanism).variables]
    assert before
    check_gradients(mechanism, make_question(DEPTH, DEPTH), "own")
    for variable, value in zip(mechanism.variables, before, strict=True):
        np.testing.assert_array_equal(as_numpy(variable), value)


def test_gradients_that_are_no_numbers_are_refused() -> None:
    mechanism = built(CustomAttention(layers.LogarithmAttention(3)))
    with pytest.raises(ConfigError, match="^attention own: expected finite gradients, .* found NaN .* that of values"):
        check_gradients(mechanism, make_question(DEPTH, DEPTH), "own")


def test_a_weight_whose_gradient_is_no_number_is_named() -> None:
    mechanism = built(CustomAttention(layers.RootAttention(3)))
    with pytest.raises(ConfigError, match="found NaN or infinity in that of its weight strength$"):
        check_gradients(mechanism, make_question(DEPTH, DEPTH), "own")
    assert as_numpy(mechanism.trainable_variables[0]) == 0


def test_what_fails_in_training_only_is_refused() -> None:
    mechanism = built(layers.FailingInTraining(3))
    with pytest.raises(ConfigError, match="^attention own: fails in training: RuntimeError: no training today$"):
        check_gradients(mechanism, make_question(DEPTH, DEPTH), "own")
