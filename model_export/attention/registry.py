"""The mechanisms that a configuration can name."""

from __future__ import annotations

from model_export.attention.custom import make_custom_mechanism
from model_export.attention.keras_layers import KerasAdditiveAttentionMechanism, KerasAttentionMechanism
from model_export.attention.mechanism import AttentionMechanism
from model_export.attention.monotonic import BahdanauMonotonicAttention, LuongMonotonicAttention
from model_export.attention.softmax import BahdanauAttention, LuongAttention
from model_export.attention_config import AttentionConfig, CustomAttentionConfig

MECHANISMS: dict[str, type[AttentionMechanism]] = {
    "bahdanau": BahdanauAttention,
    "luong": LuongAttention,
    "bahdanau_monotonic": BahdanauMonotonicAttention,
    "luong_monotonic": LuongMonotonicAttention,
    "keras_attention": KerasAttentionMechanism,
    "keras_additive_attention": KerasAdditiveAttentionMechanism,
}


def make_mechanism(config: AttentionConfig, units: int, name: str) -> AttentionMechanism:
    """A mechanism from its configuration.

    Args:
        config: which, and its arguments.
        units: the model's, for a configuration that leaves them open.
        name: of the layer.

    Raises:
        ConfigError: a class named by the configuration cannot be used.
    """
    arguments = config.constructor_arguments(units)
    if isinstance(config, CustomAttentionConfig):
        return make_custom_mechanism(config.name, arguments, name)
    return MECHANISMS[config.name](**arguments, name=name)
