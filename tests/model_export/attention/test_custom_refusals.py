"""Attention written elsewhere that cannot be used: what every refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from model_export.attention import CustomAttention, check_mechanism, make_mechanism
from model_export.attention_config import CustomAttentionConfig
from model_export.errors import ConfigError
from tests.model_export.attention import own_layers
from tests.model_export.attention.named_layers import DEPTH, HERE, QUERY_DEPTH, UNITS, build, make
from tests.model_export.attention.own_layers import LastPosition, LastToken


def test_a_mechanism_of_ones_own_can_be_checked() -> None:
    with pytest.raises(ConfigError, match=f"attention {HERE}:LastPosition: expected weights of exactly 0"):
        check_mechanism(LastPosition(UNITS), QUERY_DEPTH, DEPTH)


@pytest.mark.parametrize(
    ("class_name", "problem"),
    [
        ("WithoutMask", r"expected call\(query, values, mask\), found call\(query, values\): "),
        ("OneInput", r"expected call\(query, values, mask\), found call\(inputs, mask\): "),
        ("NoLayer", "expected a subclass of keras.layers.Layer, found <class .*NoLayer'>"),
        ("NoUnits", r"cannot be made with units=3, name=\.\.\.: .*units"),
        ("Missing", f"module {HERE} has no Missing"),
        ("keras", "expected a subclass of keras.layers.Layer, found <module 'keras'"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(class_name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^attention {HERE}:{class_name}: {problem}") as refusal:
        make(class_name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("class_name", "problem"),
    [
        ("ColumnWeights", r"found float32 \(2, 3\) and float32 \(2, 5, 1\); drop the last axis"),
        ("OtherOrder", r"found float32 \(2, 5\) and float32 \(2, 3\); they seem to be in the other order"),
        ("ContextOnly", r"expected call to return two tensors \(context, weights\), found float32 \(2, 3\)"),
        ("WholeNumbers", r"in the dtype of computation, float32, found float32 \(2, 3\) and int32 \(2, 5\)"),
        ("DoublePrecision", r"in the dtype of computation, float32, found float64 \(2, 3\) and float32 \(2, 5\)"),
        ("Failing", "fails when it is called: RuntimeError: no attention today"),
        ("IgnoringMask", "expected weights of exactly 0 where mask is False, found 0"),
        ("NegativeWeights", "expected weights of at least 0, found -"),
        ("NotANumber", "expected finite numbers, found NaN or infinity"),
        ("UnannouncedSigmoid", "expected rows of weights that sum to 1, found .*normalized = False"),
        ("GenerousSigmoid", r"expected rows of weights that sum to at most 1, found [2-5]"),
        ("MaskByMultiplication", "expected values at padding to change nothing, found context that differs by"),
        ("MeanOfEverything", "expected the amount of padding to change nothing, found context that differs by"),
        ("AcrossTheBatch", "expected a sentence's answer not to depend on the sentences beside it, found context"),
        (
            "ShareOfTheBatch",
            "expected a sentence alone to get the same answer as in a batch, found context that differs",
        ),
        ("ByNumpy", "fails when it is traced, as for training and export.*: AttributeError: .*numpy"),
        ("PythonChoice", "fails when it is traced, as for training and export.*: OperatorNotAllowedInGraphError: "),
        (
            "KnownSizes",
            "fails when it is traced, .*, where tensors have no values and sizes may be unknown: TypeError: ",
        ),
        ("PythonChoiceInTraining", "fails when it is traced, as for training and export.*: OperatorNotAllowed"),
    ],
)
def test_a_layer_that_breaks_the_protocol_is_refused(class_name: str, problem: str) -> None:
    mechanism = make(class_name)
    with pytest.raises(ConfigError, match=f"^attention {HERE}:{class_name}: .*{problem}") as refusal:
        mechanism.build_for(QUERY_DEPTH, DEPTH)
    assert "\n" not in str(refusal.value)
    assert keras.config.is_traceback_filtering_enabled()


def test_a_layer_must_answer_in_the_precision_that_it_computes_in() -> None:
    CustomAttention(own_layers.FullPrecision(UNITS)).build_for(QUERY_DEPTH, DEPTH)
    problem = r"in the dtype of computation, bfloat16, found bfloat16 \(2, 3\) and float32 \(2, 5\)"
    with pytest.raises(ConfigError, match=problem):
        CustomAttention(own_layers.FullPrecision(UNITS, dtype="bfloat16")).build_for(QUERY_DEPTH, DEPTH)


def test_a_mechanism_of_ones_own_is_traced_too() -> None:
    class Peeking(LastToken):
        def align(self, query: Any, memory: Any, previous: Any, training: bool = False) -> Any:
            query.numpy()
            return super().align(query, memory, previous, training)

    with pytest.raises(ConfigError, match="Peeking: fails when it is traced, as for training and export"):
        check_mechanism(Peeking(UNITS), QUERY_DEPTH, DEPTH)


def test_noise_outside_of_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected the same answer to the same call, random noise only if training"):
        build("AlwaysDropping", dropout=0.5)


def test_arguments_that_the_constructor_refuses_are_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot be made with units=3, heat=2, name=\.\.\.: .*heat"):
        make("ProjectedAttention", heat=2)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError: .*nothing_of_that_name"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("import sys\nsys.exit(3)", "cannot be imported: SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_attention.py").write_text(content, encoding="utf-8")
    config = CustomAttentionConfig(name="broken_attention:Mine")
    with pytest.raises(ConfigError, match=f"^attention broken_attention:Mine: module broken_attention {problem}"):
        make_mechanism(config, units=UNITS, name="own")


def test_only_layers_become_mechanisms() -> None:
    with pytest.raises(ConfigError, match=r"expected a keras\.layers\.Layer"):
        CustomAttention(own_layers.NoLayer(3, "x"))  # type: ignore[arg-type]
