"""Which model a request gets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.errors import ConfigurationError, ModelNotFoundError
from service.registry import LoadedModel, ModelRegistry


def model(name: str, source: str, target: str) -> LoadedModel:
    manifest: Any = SimpleNamespace(name=name, source_language=source, target_language=target)
    return LoadedModel(manifest, cast(Any, None), cast(Any, None), "cpu", "int8")


@pytest.fixture
def registry() -> ModelRegistry:
    return ModelRegistry(
        [
            model("eng-fra", "en", "fr"),
            model("eng-fra-large", "en", "fr"),
            model("fra-deu", "fr", "de"),
            model("british", "en-GB", "fr"),
        ]
    )


@pytest.mark.parametrize(
    ("name", "source", "target", "expected"),
    [
        (None, None, None, "eng-fra"),
        ("eng-fra-large", None, None, "eng-fra-large"),
        ("eng-fra-large", "en", "fr", "eng-fra-large"),
        (None, "en", "fr", "eng-fra"),
        (None, None, "de", "fra-deu"),
        (None, "fr", None, "fra-deu"),
        (None, "en-US", "fr_CA", "eng-fra"),
        (None, "EN_gb", "FR", "british"),
    ],
)
def test_request_finds_its_model(
    registry: ModelRegistry, name: str | None, source: str | None, target: str | None, expected: str
) -> None:
    assert registry.find(name, source, target).manifest.name == expected


@pytest.mark.parametrize(
    ("name", "source", "target", "field"),
    [
        ("secret", None, None, "model"),
        (None, "secret", "fr", "source_language"),
        (None, "en", "de", "source_language"),
        (None, None, "secret", "target_language"),
        ("fra-deu", "en", None, "source_language"),
        (None, "e", "fr", "source_language"),
    ],
)
def test_request_that_no_model_fits_lists_what_exists_and_echoes_nothing(
    registry: ModelRegistry, name: str | None, source: str | None, target: str | None, field: str
) -> None:
    with pytest.raises(ModelNotFoundError, match=r"fra-deu \(fr to de\)") as caught:
        registry.find(name, source, target)
    assert caught.value.field == field
    assert "secret" not in str(caught.value)


def test_models_and_pairs_keep_their_order(registry: ModelRegistry) -> None:
    assert [each.manifest.name for each in registry.models] == ["eng-fra", "eng-fra-large", "fra-deu", "british"]
    assert registry.language_pairs == (("en", "fr"), ("fr", "de"), ("en-GB", "fr"))


def test_registry_without_models_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        ModelRegistry([])


def test_two_models_of_one_name_are_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="two models have the name b"):
        ModelRegistry([model("a", "en", "fr"), model("b", "en", "fr"), model("b", "fr", "en")])
