"""Graphs that are not exported: those with loops, with operations that ONNX lacks, and on other Keras backends."""

from __future__ import annotations

import keras
import onnx
import pytest

import model_export.graphs
from model_export.errors import ConfigError
from model_export.graphs import check_has_no_loop, check_own_attention, convert
from tests.model_export import unexportable_layers
from tests.model_export.tiny_models import tiny_config, tiny_model

LAYERS = "tests.model_export.unexportable_layers"


@pytest.mark.parametrize("operation", ["Loop", "Scan", "If"])
def test_a_graph_that_runs_step_by_step_is_refused(operation: str) -> None:
    node = onnx.helper.make_node(operation, [], ["y"], name="recurrent")
    graph = onnx.helper.make_model(onnx.helper.make_graph([node], "encoder", [], []))
    with pytest.raises(ConfigError, match=f"encoder: node recurrent is of type {operation},"):
        check_has_no_loop(graph, "encoder")


def test_export_needs_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="export needs KERAS_BACKEND=tensorflow, not jax"):
        convert(tiny_model(tiny_config()))


def test_a_loop_is_exported_only_if_the_attention_class_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(attention=f"{LAYERS}:LoopingAttention")
    with pytest.raises(
        ConfigError, match="decoder_step: node .* is of type Loop, which is slow: .* set allow_loop = True"
    ):
        convert(tiny_model(config))
    monkeypatch.setattr(unexportable_layers.LoopingAttention, "allow_loop", True, raising=False)
    graphs = convert(tiny_model(config))
    assert "Loop" in {node.op_type for node in graphs.decoder_step.graph.node}


@pytest.mark.parametrize(
    ("class_name", "problem"),
    [
        ("UnexportableAttention", "decoder_step: cannot be exported to ONNX: No Op registered for Erfinv"),
        ("ProductAlongLastAxis", "decoder_step: .* No Op registered for Cumprod .* with axis=1, not with axis=-1"),
        ("NumpyKeys", "encoder: cannot be exported to ONNX: No Op registered for PyFunc"),
    ],
)
def test_what_cannot_be_exported_is_named(class_name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^{problem}") as refusal:
        convert(tiny_model(tiny_config(attention=f"{LAYERS}:{class_name}")))
    assert "\n" not in str(refusal.value)


def test_every_class_of_ones_own_must_be_exportable_by_itself() -> None:
    permitted, looping = f"{LAYERS}:UnexportableAttention", f"{LAYERS}:LoopingAttention"
    check_own_attention(tiny_config(attention=["bahdanau", f"{LAYERS}:ThresholdAttention"]))
    with pytest.raises(ConfigError, match=f"^attention {looping}: decoder_step: node .* is of type Loop"):
        check_own_attention(tiny_config(attention=["luong", looping, permitted]))


def test_what_foreign_code_raises_comes_out_on_one_line_and_our_own_bugs_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("\x1b[1msomething\nelse\x1b[0m")

    monkeypatch.setattr(model_export.graphs, "_convert_decoder_step", fail)
    with pytest.raises(ConfigError, match="^cannot be exported to ONNX: RuntimeError: something else$"):
        convert(tiny_model(tiny_config(attention=f"{LAYERS}:ThresholdAttention")))
    with pytest.raises(RuntimeError, match="something\nelse"):
        convert(tiny_model(tiny_config()))
