"""The attention mechanisms of tfa.seq2seq and Keras, as Keras 3 layers, and what takes mechanisms of one's own."""

from model_export.attention.custom import AttentionLayer, CustomAttention, check_mechanism
from model_export.attention.keras_layers import (
    AdditiveAttention,
    Attention,
    KerasAdditiveAttentionMechanism,
    KerasAttentionMechanism,
)
from model_export.attention.mechanism import Attended, AttentionMechanism
from model_export.attention.memory import Memory
from model_export.attention.monotonic import BahdanauMonotonicAttention, LuongMonotonicAttention
from model_export.attention.registry import MECHANISMS, make_mechanism
from model_export.attention.sequence import SequenceAttention
from model_export.attention.softmax import BahdanauAttention, LuongAttention

__all__ = [
    "MECHANISMS",
    "AdditiveAttention",
    "Attended",
    "Attention",
    "AttentionLayer",
    "AttentionMechanism",
    "BahdanauAttention",
    "BahdanauMonotonicAttention",
    "CustomAttention",
    "KerasAdditiveAttentionMechanism",
    "KerasAttentionMechanism",
    "LuongAttention",
    "LuongMonotonicAttention",
    "Memory",
    "SequenceAttention",
    "check_mechanism",
    "make_mechanism",
]
