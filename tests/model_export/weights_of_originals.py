"""Layers, and arrays of weights that fit them, as a checkpoint of the originals holds them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from model_export.attention import BahdanauAttention, BahdanauMonotonicAttention, LuongAttention
from model_export.attention_wrapper import AttentionWrapper
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array

ADDITIVE = {
    "attention_v": random_array(4),
    "attention_score_bias": random_array(),
    "attention_g": random_array(),
    "attention_b": random_array(4, seed=1),
    "query_kernel": random_array(7, 4),
    "memory_kernel": random_array(3, 4),
}
MULTIPLICATIVE = {
    "attention_g": random_array(),
    "attention_score_bias": random_array(seed=1),
    "memory_kernel": random_array(3, 7),
}


def make_additive() -> BahdanauMonotonicAttention:
    return BahdanauMonotonicAttention(4, normalize=True)


def wrapper_of_two() -> AttentionWrapper:
    """Two stacked cells, two mechanisms, two attention layers of which the second has a bias."""
    cell = keras.layers.StackedRNNCells([keras.layers.LSTMCell(6), keras.layers.GRUCell(7)])
    layers = [keras.layers.Dense(2, use_bias=False), keras.layers.Dense(3)]
    return AttentionWrapper(cell, [BahdanauAttention(4), LuongAttention(7)], attention_layer=layers)


def arrays_of_two() -> dict[str, FloatArray]:
    """In the original's order; inputs of depth 8."""
    shapes = {
        "attention_layer0_kernel": (7 + 3, 2),
        "attention_layer1_kernel": (7 + 5, 3),
        "attention_layer1_bias": (3,),
        "cell0_kernel": (8 + 5, 24),
        "cell0_recurrent_kernel": (6, 24),
        "cell0_bias": (24,),
        "cell1_kernel": (6, 21),
        "cell1_recurrent_kernel": (7, 21),
        "cell1_bias": (2, 21),
        "mech0_attention_v": (4,),
        "mech0_query_kernel": (7, 4),
        "mech0_memory_kernel": (3, 4),
        "mech1_memory_kernel": (5, 7),
    }
    return {name: random_array(*shape, seed=index) for index, (name, shape) in enumerate(shapes.items())}


def check_weights(layer: keras.layers.Layer, expected: list[Any]) -> None:
    for weight, array in zip(layer.weights, expected, strict=True):
        np.testing.assert_array_equal(as_numpy(weight), array)
