"""Several bundles side by side: the built-in models and installed ones, chosen by name or by language pair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.errors import BundleError, ConfigurationError
from service.loading import load_models
from service.main import create_app
from service.settings import Settings
from tests.service.api_client import check_problem
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

SERVED = "there is eng-fra (en to fr), fra-eng (fr to en)"


def write_named(directory: Path, name: str, source: str, target: str) -> None:
    write_bundle(directory)
    write_manifest(directory, make_manifest() | {"name": name, "source_language": source, "target_language": target})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("models")
    write_named(models / "eng-spa", "eng-spa", "en", "es")
    write_named(models / "eng-spa-large", "eng-spa-large", "en", "es")
    with TestClient(create_app(Settings(models_dir=models))) as client:
        yield client


@pytest.mark.parametrize(
    ("chosen", "model"),
    [
        ({}, "eng-fra"),
        ({"source_language": "en", "target_language": "fr"}, "eng-fra"),
        ({"source_language": "en", "target_language": "es"}, "eng-spa"),
        ({"target_language": "es"}, "eng-spa"),
        ({"model": "eng-spa-large"}, "eng-spa-large"),
        ({"model": "eng-spa-large", "source_language": "en", "target_language": "es"}, "eng-spa-large"),
    ],
)
@pytest.mark.parametrize("route", ["/translate", "/align"])
def test_requests_find_their_model(client: TestClient, route: str, chosen: dict[str, str], model: str) -> None:
    body: dict[str, Any] = {"text": "we like tea"} if route == "/translate" else {"source": "we", "target": "we"}
    answer = client.post(route, json=body | chosen)
    assert answer.status_code == 200
    assert answer.json()["model"] == model
    detail = client.get(f"/models/{model}").json()
    assert (answer.json()["source_language"], answer.json()["target_language"]) == (
        detail["source_language"],
        detail["target_language"],
    )


@pytest.mark.parametrize(
    ("chosen", "field", "detail"),
    [
        (
            {"source_language": "en", "target_language": "de"},
            "source_language",
            f"this pair is not served; {SERVED}, eng-spa (en to es), eng-spa-large (en to es)",
        ),
        ({"target_language": "de"}, "target_language", f"not served; {SERVED}, eng-spa"),
        ({"model": "eng-deu"}, "model", f"not installed; {SERVED}, eng-spa"),
        ({"model": "eng-spa", "target_language": "fr"}, "target_language", "not served; there is eng-spa (en to es)"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    client: TestClient, chosen: dict[str, str], field: str, detail: str
) -> None:
    problem = check_problem(client.post("/translate", json={"text": "a", **chosen}), 404, "model-not-found", field)
    assert detail in problem["detail"]


def test_languages_list_the_models_of_each_pair(client: TestClient) -> None:
    pairs = client.get("/languages").json()["languages"]
    assert [(pair["target_language"], pair["models"]) for pair in pairs] == [
        ("fr", ["eng-fra"]),
        ("en", ["fra-eng"]),
        ("es", ["eng-spa", "eng-spa-large"]),
    ]


def test_a_name_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    write_named(tmp_path / "mine", "eng-fra", "en", "fr")
    with pytest.raises(ConfigurationError, match="two models have the name eng-fra"):
        load_models(Settings(models_dir=tmp_path))


def test_one_broken_bundle_stops_the_start_and_is_named(tmp_path: Path) -> None:
    write_named(tmp_path / "good", "good", "en", "es")
    write_named(tmp_path / "spoilt", "spoilt", "en", "de")
    manifest = json.loads((tmp_path / "spoilt" / "manifest.json").read_text())
    (tmp_path / "spoilt" / "manifest.json").write_text(json.dumps(manifest | {"format_version": 2}))
    with pytest.raises(BundleError, match=r"spoilt.manifest\.json: format_version: is 2"):
        load_models(Settings(models_dir=tmp_path, built_in_models=False))
