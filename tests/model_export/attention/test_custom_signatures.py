"""Attention written elsewhere, and the ways in which its `call` may name its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_export.attention import CustomAttention
from model_export.errors import ConfigError
from tests.model_export.attention.own_layers import ProjectedAttention
from tests.model_export.tiny_models import as_numpy, random_array

UNITS, QUERY_DEPTH, DEPTH = 3, 2, 4


class TrainingWithoutDefault(ProjectedAttention):
    def call(self, query: Any, values: Any, mask: Any, training: bool) -> tuple[Any, Any]:  # type: ignore[override]
        context, weights = super().call(query, values, mask)
        return context + (1.0 if training else 0.0), weights


class KeywordTraining(ProjectedAttention):
    def call(self, query: Any, values: Any, *, mask: Any, training: bool) -> tuple[Any, Any]:  # type: ignore[override]
        context, weights = super().call(query, values, mask)
        return context + (1.0 if training else 0.0), weights


class AnotherArgument(ProjectedAttention):
    def call(self, query: Any, values: Any, mask: Any, training: bool, heat: float) -> Any:  # type: ignore[override]
        raise NotImplementedError


@pytest.mark.parametrize("layer_class", [TrainingWithoutDefault, KeywordTraining])
def test_training_needs_no_default(layer_class: Any) -> None:
    mechanism = CustomAttention(layer_class(UNITS))
    mechanism.build_for(QUERY_DEPTH, DEPTH)
    memory = mechanism.prepare(random_array(2, 5, DEPTH), np.ones((2, 5), dtype=bool))
    query = random_array(2, QUERY_DEPTH, seed=1)
    contexts = [as_numpy(mechanism.attend(query, memory, None, training=each).context) for each in (False, True)]
    np.testing.assert_allclose(contexts[1], contexts[0] + 1, atol=1e-6)


def test_further_arguments_need_a_default() -> None:
    problem = r"expected call\(query, values, mask\), found call\(query, values, mask, training, heat\): .*'heat'"
    with pytest.raises(ConfigError, match=problem):
        CustomAttention(AnotherArgument(UNITS))
