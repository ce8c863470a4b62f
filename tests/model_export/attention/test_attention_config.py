"""Configurations of attention: what can be written, what is refused, and how it is saved."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from model_export.attention_config import (
    MECHANISM_NAMES,
    AttentionConfigs,
    BahdanauConfig,
    CustomAttentionConfig,
    KerasAttentionConfig,
    LuongConfig,
)
from model_export.config import describe_first
from model_export.strict_model import StrictModel

KNOWN = (
    "bahdanau, luong, bahdanau_monotonic, luong_monotonic, keras_attention, keras_additive_attention and module:Class"
)


class Settings(StrictModel):
    """Stands for a model's configuration."""

    attention: AttentionConfigs = (BahdanauConfig(),)


def read(attention: Any) -> tuple[Any, ...]:
    return Settings.model_validate({"attention": attention}).attention


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("luong", (LuongConfig(),)),
        ({"name": "luong", "scale": True}, (LuongConfig(scale=True),)),
        (["luong", {"name": "bahdanau", "units": 3}], (LuongConfig(), BahdanauConfig(units=3))),
        (["keras_attention", "keras_attention"], (KerasAttentionConfig(), KerasAttentionConfig())),
        ("mine:Layer", (CustomAttentionConfig(name="mine:Layer"),)),
        (
            {"name": "my.own.module:Layer", "units": 3, "options": {"heads": 2, "scales": [1.5, None]}},
            (CustomAttentionConfig(name="my.own.module:Layer", units=3, options={"heads": 2, "scales": [1.5, None]}),),
        ),
        (LuongConfig(units=3), (LuongConfig(units=3),)),
        ((LuongConfig(), "bahdanau"), (LuongConfig(), BahdanauConfig())),
    ],
)
def test_mechanisms_are_read_from_names_mappings_and_lists(written: Any, expected: tuple[Any, ...]) -> None:
    assert read(written) == expected


@pytest.mark.parametrize("name", [*MECHANISM_NAMES, "my.module:Layer"])
def test_every_configuration_can_be_saved_and_read_again(name: str) -> None:
    settings = Settings.model_validate({"attention": [name, {"name": name}]})
    saved = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert saved["attention"][0]["name"] == name
    assert Settings.model_validate(saved) == settings


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("bahdanu", f"attention.0: 'bahdanu' is unknown; known are {KNOWN}"),
        (["luong", "a:b:c"], f"attention.1: 'a:b:c' is unknown; known are {KNOWN}"),
        ("my module:Layer", f"attention.0: 'my module:Layer' is unknown; known are {KNOWN}"),
        ("1module:Layer", f"attention.0: '1module:Layer' is unknown; known are {KNOWN}"),
        (3, f"attention.0: 3 is neither a name nor a mapping with a name; names are {KNOWN}"),
        ({"units": 3}, f"attention.0: {{'units': 3}} is neither a name nor a mapping with a name; names are {KNOWN}"),
        (
            {"name": ["luong"]},
            "attention.0: {'name': ['luong']} is neither a name nor a mapping with a name; names are",
        ),
        ([], "attention: names no mechanism; names are bahdanau,"),
        (["luong"] * 9, "attention: Tuple should have at most 8 items"),
        (
            {"name": "luong", "normalize": True},
            "attention.0: luong has no field 'normalize'; it has units, scale, probability_fn",
        ),
        (
            {"name": "keras_attention", "units": 3},
            "attention.0: keras_attention has no field 'units'; it has use_scale, score_mode, dropout",
        ),
        (
            {"name": "mine:Layer", "heads": 3},
            "attention.0: mine:Layer has no field 'heads'; it has units, options",
        ),
        ({"name": "luong", "units": -1}, "attention.0.units: Input should be greater than or equal to 0"),
        (
            {"name": "bahdanau", "probability_fn": "sparsemax"},
            "attention.0.probability_fn: Input should be 'softmax' or 'hardmax'",
        ),
        (
            {"name": "luong_monotonic", "mode": "soft"},
            "attention.0.mode: Input should be 'parallel', 'recursive' or 'hard'",
        ),
        (
            {"name": "keras_attention", "score_mode": "cosine"},
            "attention.0.score_mode: Input should be 'dot' or 'concat'",
        ),
        ({"name": "keras_attention", "dropout": 1}, "attention.0.dropout: Input should be less than 1"),
        (
            {"name": "bahdanau_monotonic", "sigmoid_noise": float("nan")},
            "attention.0.sigmoid_noise: Input should be a finite number",
        ),
        (
            {"name": "mine:Layer", "options": {"units": 3}},
            "attention.0.options: units is a field of its own, beside options",
        ),
        (
            {"name": "mine:Layer", "options": {"name": "x"}},
            "attention.0.options: name is given by the model",
        ),
        (
            {"name": "mine:Layer", "options": {"x": object()}},
            "attention.0.options.x: input was not a valid JSON value",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(written: Any, problem: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        read(written)
    assert describe_first(refusal.value).startswith(problem)


def test_constructor_arguments_fill_in_the_models_units() -> None:
    assert LuongConfig().constructor_arguments(8) == {"units": 8, "scale": False, "probability_fn": "softmax"}
    assert LuongConfig(units=3).constructor_arguments(8)["units"] == 3
    assert "units" not in KerasAttentionConfig().constructor_arguments(8)
    custom = CustomAttentionConfig(name="mine:Layer", options={"heads": 2})
    assert custom.constructor_arguments(8) == {"units": 8, "heads": 2}


def test_configurations_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        LuongConfig().scale = True  # type: ignore[misc]


def test_reading_a_configuration_imports_no_keras() -> None:
    code = "import sys, model_export.config, model_export.attention_config; print('keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
