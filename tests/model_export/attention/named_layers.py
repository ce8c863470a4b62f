"""The layers of `own_layers`, named as a configuration names them and made into mechanisms."""

from __future__ import annotations

from typing import Any

from model_export.attention import AttentionMechanism, make_mechanism
from model_export.attention_config import CustomAttentionConfig

HERE = "tests.model_export.attention.own_layers"
UNITS, QUERY_DEPTH, DEPTH = 3, 4, 6


def make(class_name: str, **options: Any) -> AttentionMechanism:
    config = CustomAttentionConfig(name=f"{HERE}:{class_name}", options=options)
    return make_mechanism(config, units=UNITS, name="own")


def build(class_name: str, **options: Any) -> AttentionMechanism:
    mechanism = make(class_name, **options)
    mechanism.build_for(QUERY_DEPTH, DEPTH)
    return mechanism
