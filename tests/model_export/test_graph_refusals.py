"""Graphs that are not exported: those with loops, with operations that ONNX lacks, and on other Keras backends."""

from __future__ import annotations

from typing import Any

import keras
import onnx
import pytest

from model_export.errors import ConfigError
from model_export.graphs import check_has_no_loop, convert
from tests.model_export.tiny_models import tiny_config, tiny_model


@pytest.mark.parametrize("operation", ["Loop", "Scan", "If"])
def test_a_graph_that_runs_step_by_step_is_refused(operation: str) -> None:
    node = onnx.helper.make_node(operation, [], ["y"], name="recurrent")
    graph = onnx.helper.make_model(onnx.helper.make_graph([node], "encoder", [], []))
    with pytest.raises(ConfigError, match=f"encoder: node recurrent is a {operation}"):
        check_has_no_loop(graph, "encoder")


def test_export_needs_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="export needs KERAS_BACKEND=tensorflow, not jax"):
        convert(tiny_model(tiny_config()))


@keras.saving.register_keras_serializable("tests")
class LoopingAttention(keras.layers.Layer):
    """Even weights, by a running product that is exported as a loop."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        ones = keras.ops.cumprod(keras.ops.cast(mask, values.dtype), axis=1)
        weights = ones / keras.ops.sum(ones, axis=1, keepdims=True)
        return keras.ops.sum(weights[:, :, None] * values, axis=1), weights


def test_a_loop_is_exported_only_if_the_attention_class_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(attention=f"{__name__}:LoopingAttention")
    with pytest.raises(ConfigError, match="decoder_step: node .* is a Loop, which is slow: .* set allow_loop = True"):
        convert(tiny_model(config))
    monkeypatch.setattr(LoopingAttention, "allow_loop", True, raising=False)
    graphs = convert(tiny_model(config))
    assert "Loop" in {node.op_type for node in graphs.decoder_step.graph.node}


@keras.saving.register_keras_serializable("tests")
class UnexportableAttention(LoopingAttention):
    """Uses a function that ONNX lacks."""

    def call(self, query: Any, values: Any, mask: Any = None) -> tuple[Any, Any]:
        context, weights = super().call(query, values, mask)
        return keras.ops.erfinv(keras.ops.tanh(context)), weights


def test_an_operation_that_onnx_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(attention=f"{__name__}:UnexportableAttention")
    monkeypatch.setattr(LoopingAttention, "allow_loop", True, raising=False)
    with pytest.raises(ConfigError, match="decoder_step: cannot be exported to ONNX: No Op registered for Erfinv"):
        convert(tiny_model(config))
