"""A bundle that was written long ago still loads, and is still answered from as it was then (tests/data/README.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.bundle.reader import read_bundle
from service.main import create_app
from service.settings import Settings

DATA = Path(__file__).parents[1] / "data"
BUNDLE = DATA / "tiny-bundle"
EXPECTED = json.loads((DATA / "tiny-bundle-answer.json").read_text(encoding="utf-8"))
SMALLER_THAN_BYTES = 300_000
TOLERANCE = 1.01e-4  # weights are rounded to 4 decimals, and either neighbour will do


def settings(precision: str) -> Settings:
    return Settings(models_dir=DATA, built_in_models=False, provider="cpu", precision=precision)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with TestClient(create_app(settings(request.param))) as client:
        yield client


def differences(expected: Any, found: Any, tolerance: float, path: str = "answer") -> list[str]:
    """Where an answer is not as expected; fields that were added since are no difference."""
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{path}.{name} is missing" for name in expected.keys() - found.keys()]
        shared = [name for name in expected if name in found]
        return missing + [
            line for name in shared for line in differences(expected[name], found[name], tolerance, f"{path}.{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, tolerance, f"{path}[{index}]")]
    if isinstance(expected, float) and isinstance(found, float):
        close = math.isclose(expected, found, rel_tol=0, abs_tol=tolerance)
    else:
        close = type(expected) is type(found) and expected == found
    return [] if close else [f"{path}: expected {expected!r}, found {found!r}"]


def test_the_bundle_is_small_and_of_the_first_format() -> None:
    assert json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))["format_version"] == 1
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < SMALLER_THAN_BYTES


def test_text_has_the_ids_it_had() -> None:
    tokenizer = read_bundle(BUNDLE).tokenizer
    assert [tokenizer.encode_ids(text) for text in EXPECTED["request"]["text"]] == EXPECTED["source_ids"]


def test_it_has_the_one_mechanism_that_its_architecture_names(client: TestClient) -> None:
    [mechanism] = read_bundle(BUNDLE).manifest.attention_mechanisms
    assert (mechanism.name, mechanism.normalized) == ("bahdanau", True)
    assert client.get("/models/tiny-bundle").json()["mechanisms"] == [
        {"name": "bahdanau", "normalized": True, "row_offset": 0}
    ]


@pytest.mark.parametrize("client", ["fp32"], indirect=True)
def test_the_answer_is_the_one_it_was(client: TestClient) -> None:
    answer = client.post("/translate", json=EXPECTED["request"])
    assert answer.status_code == 200
    assert differences(EXPECTED["answer"], answer.json(), TOLERANCE) == []


@pytest.mark.parametrize("client", ["int8"], indirect=True)
def test_the_8_bit_graphs_still_translate(client: TestClient) -> None:
    answer = client.post("/translate", json=EXPECTED["request"]).json()
    [*sentences, _, empty] = EXPECTED["answer"]["translations"]
    for expected, found in zip(sentences, answer["translations"], strict=False):
        best, expected_best = found["hypotheses"][0], expected["hypotheses"][0]
        assert best["text"] == expected_best["text"]
        assert best["score"] == pytest.approx(expected_best["score"], abs=0.1)
        assert differences(expected["source"], found["source"], 0.0) == []
    assert differences(empty, answer["translations"][-1], 0.0) == []


def test_a_difference_would_be_seen() -> None:
    assert differences({"a": [1, 0.5]}, {"a": [1, 0.50005], "new": 2}, TOLERANCE) == []
    changed = {"a": [2, 0.6], "b": None, "c": [1.0]}
    found = differences(changed, {"a": [1, 0.5], "c": []}, TOLERANCE)
    assert len(found) == 4
