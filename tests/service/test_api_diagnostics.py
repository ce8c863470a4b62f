"""Diagnostics in answers: there when they are asked for, with ranges of the whole text, as the schema says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.align_schemas import AlignResponse
from service.api.schemas import TranslateResponse
from service.findings import OmissionRule
from service.loading import load_models
from tests.service.api_client import running_app, tiny_settings
from tests.service.tiny_bundle import write_bundle, write_manifest

TEXT = "A cat ran. The old dog sat by the door."


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models")) as (client, _):
        yield client


def check_ranges(source: dict[str, Any], target: dict[str, Any]) -> None:
    for finding in target["diagnostics"]:
        for side, text in (("source", source), ("target", target)):
            for word in finding[side]:
                assert text["text"][word["start"] : word["end"]] == word["text"]
                assert text["words"][word.pop("index")] == word


def test_answers_have_none_unless_they_are_asked_for(client: TestClient) -> None:
    answer = client.post("/translate", json={"text": "a cat"}).json()
    assert "diagnostics" not in answer["translations"][0]["hypotheses"][0]
    assert "diagnostics" not in client.post("/align", json={"source": "a", "target": "b"}).json()["pairs"][0]["target"]


@pytest.mark.parametrize("alignment", ["none", "hard", "soft"])
def test_findings_stand_in_the_whole_text(client: TestClient, alignment: str) -> None:
    answer = client.post("/translate", json={"text": TEXT, "diagnostics": True, "alignment": alignment})
    TranslateResponse.model_validate_json(answer.content)
    [translation] = answer.json()["translations"]
    [best] = translation["hypotheses"]
    assert any(finding["source"] for finding in best["diagnostics"])
    assert any(each["start"] > TEXT.index("The") for found in best["diagnostics"] for each in found["source"])
    check_ranges(translation["source"], best)


def test_given_pairs_are_diagnosed(client: TestClient) -> None:
    answer = client.post("/align", json={"source": " A cat ran.", "target": " x x y", "diagnostics": True})
    AlignResponse.model_validate_json(answer.content)
    [pair] = answer.json()["pairs"]
    repeated = [found for found in pair["target"]["diagnostics"] if found["heuristic"] == "repeated_target_word"]
    assert [[word["start"] for word in found["target"]] for found in repeated] == [[1, 3]]
    check_ranges(pair["source"], pair["target"])


def test_a_stream_ends_with_the_same_findings(client: TestClient) -> None:
    body = {"text": TEXT, "diagnostics": True, "alignment": "hard"}
    events = client.post("/translate/stream", json=body).text.split("\n\n")
    [done] = [event for event in events if event.startswith("event: done\n")]
    assert json.loads(done.split("data: ", 1)[1]) == client.post("/translate", json=body).json()


def test_a_bundle_brings_its_own_rule_for_words_left_out(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "tiny")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").unlink()
    write_manifest(bundle, manifest | {"omission": {"unattended_below": 0.25, "expected_from": 1.5}})
    [model] = load_models(tiny_settings(tmp_path)).registry.models
    assert model.translator.omission_rule == model.aligner.omission_rule == OmissionRule(0.25, 1.5)
