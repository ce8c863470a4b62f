"""The flat list of arrays that cross from one decoder step to the next."""

from __future__ import annotations

from typing import Any

import pytest

from model_export.decoder import Decoder
from model_export.decoder_tensors import DecoderTensors
from tests.model_export.tiny_models import tiny_config

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"cell": "gru", "decoder_layers": 2}, ["memory_keys"], ["hidden_0", "hidden_1"]),
    ({"cell": "lstm", "decoder_layers": 2}, ["memory_keys"], ["hidden_0", "cell_0", "hidden_1", "cell_1"]),
    ({"attention": "keras_attention"}, [], ["hidden_0"]),
    ({"attention": ["luong", "keras_attention", "bahdanau"]}, ["memory_keys", "memory_keys_2"], ["hidden_0"]),
]


def tensors(changes: dict[str, Any]) -> DecoderTensors:
    return DecoderTensors(Decoder(tiny_config(**changes)))


@pytest.mark.parametrize(("changes", "keys", "cells"), CASES, ids=str)
def test_arrays_are_named_in_order(changes: dict[str, Any], keys: list[str], cells: list[str]) -> None:
    found = tensors(changes)
    assert found.memory_names == (*keys, "memory_values")
    assert found.state_names == (*cells, "attention_vector")


def test_mechanisms_that_read_their_last_alignments_have_them_in_the_state() -> None:
    found = tensors({"attention": ["luong", "bahdanau_monotonic"]})
    assert found.state_names == ("hidden_0", "attention_vector", "alignments_1")
    assert found.dimensions["alignments_1"] == ("batch", "source_len")
    assert found.dimensions["hidden_0"] == ("batch",)
    assert found.dimensions["memory_keys_1"] == ("batch", "source_len")


def test_taking_apart_undoes_putting_together() -> None:
    found = tensors({"cell": "lstm", "attention": ["keras_attention", "luong_monotonic"]})
    arrays = ["keys of the second", "values"]  # any objects will do
    memories = found.unflatten_memories(arrays, "mask")
    assert memories == (("values", "values", "mask"), ("keys of the second", "values", "mask"))
    assert found.flatten_memories(memories) == arrays
    state = found.unflatten_state(["h", "c", "vector", "alignments"])
    assert state == (("h", "c"), "vector", (None, "alignments"))
    assert found.flatten_state(state) == ["h", "c", "vector", "alignments"]


def test_what_is_bounded_by_construction_has_its_bound() -> None:
    found = tensors({"cell": "lstm", "attention": "luong_monotonic"})
    assert found.bounds == dict.fromkeys(
        ["memory_values", "hidden_0", "attention_vector", "alignments", "attention_weights"], 1.0
    )


def test_residual_layers_add_their_bounds() -> None:
    found = tensors({"encoder_layers": 3, "encoder_residual": True})
    assert found.bounds["memory_values"] == 3.0
    assert found.bounds["hidden_0"] == 1.0


def test_nothing_is_taken_for_granted_of_a_layer_of_ones_own() -> None:
    found = tensors({"attention": ["tests.user_attention:CosineAttention", "luong_monotonic"]})
    assert found.bounds.keys() == {"memory_values", "hidden_0", "attention_vector"}
