"""From a mechanism's configuration to the mechanism."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from model_export.attention import MECHANISMS, AttentionMechanism, make_mechanism
from model_export.attention_config import MECHANISM_NAMES, AttentionConfig

CONFIG: TypeAdapter[Any] = TypeAdapter(AttentionConfig)


def make(**values: Any) -> Any:
    return make_mechanism(CONFIG.validate_python(values), units=6, name="attention")


def test_every_name_of_the_configuration_has_its_mechanism() -> None:
    assert tuple(MECHANISMS) == MECHANISM_NAMES
    assert len(set(MECHANISMS.values())) == len(MECHANISMS)


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_mechanism_is_made_from_its_name(name: str) -> None:
    mechanism = make(name=name)
    assert isinstance(mechanism, AttentionMechanism)
    assert type(mechanism) is MECHANISMS[name]
    assert mechanism.name == "attention"


@pytest.mark.parametrize(
    "values",
    [
        {"name": "bahdanau", "units": 3, "normalize": True, "probability_fn": "hardmax"},
        {"name": "luong", "units": 3, "scale": True, "probability_fn": "hardmax"},
        {
            "name": "bahdanau_monotonic",
            "units": 3,
            "normalize": True,
            "sigmoid_noise": 0.5,
            "score_bias_init": -2.0,
            "mode": "recursive",
        },
        {
            "name": "luong_monotonic",
            "units": 3,
            "scale": True,
            "sigmoid_noise": 0.5,
            "score_bias_init": -2.0,
            "mode": "hard",
        },
        {"name": "keras_attention", "use_scale": True, "score_mode": "concat", "dropout": 0.25},
        {"name": "keras_additive_attention", "use_scale": False, "dropout": 0.25},
    ],
    ids=lambda values: values["name"],
)
def test_every_argument_reaches_the_mechanism(values: dict[str, Any]) -> None:
    config = make(**values).get_config()
    assert {key: config[key] for key in values} == values | {"name": "attention"}


@pytest.mark.parametrize(("given", "expected"), [(0, 9), (4, 4)])
def test_the_models_units_stand_in_for_units_left_open(given: int, expected: int) -> None:
    config = CONFIG.validate_python({"name": "bahdanau", "units": given})
    assert make_mechanism(config, units=9, name="attention").get_config()["units"] == expected
