"""POST /align with models of both directions: their links put together, or made of the mean of their matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.alignment import hard_links
from service.domain import AlignmentRule
from service.main import create_app
from service.symmetrisation import symmetrise_points
from tests.service.api_client import align, check_problem, tiny_settings
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

SOURCE, TARGET = "  the cat sat. we like tea ", "a dog ran to the park"
LINKS_ALL_THAT_REMAINS = {"threshold": 0.9, "relative_threshold": 1.0, "remaining_threshold": 0.05}


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("both")
    forward = write_bundle(models / "forward")
    (forward / "manifest.json").unlink()
    write_manifest(forward, make_manifest() | {"alignment": LINKS_ALL_THAT_REMAINS})
    backward = write_bundle(models / "reverse")
    (backward / "manifest.json").unlink()
    languages = {"name": "back", "source_language": "fr", "target_language": "en", "max_source_tokens": 20}
    write_manifest(backward, make_manifest() | languages)
    with TestClient(create_app(tiny_settings(models))) as client:
        yield client


@pytest.mark.parametrize("method", ["intersection", "grow-diag-final-and", "union"])
def test_links_of_both_directions_are_put_together(both_ways: TestClient, method: Any) -> None:
    asked = {"link_threshold": 0.01}

    def links(**body: Any) -> set[tuple[int, int]]:
        [pair] = align(both_ways, **body, **asked)
        return {(link["source"], link["target"]) for link in pair["target"]["alignment"]["links"]}

    forward = links(source=SOURCE, target=TARGET, model="tiny")
    backward = {(t, s) for s, t in links(source=TARGET, target=SOURCE, model="back")}
    body = {"source": SOURCE, "target": TARGET, "model": "tiny", "symmetrisation": method} | asked
    answer = both_ways.post("/align", json=body).json()
    assert (answer["model"], answer["reverse_model"]) == ("tiny", "back")
    found = {(link["source"], link["target"]) for link in answer["pairs"][0]["target"]["alignment"]["links"]}
    assert found == symmetrise_points(forward, backward, method)


def words_matrix(pair: dict[str, Any]) -> np.ndarray:
    return np.array(pair["target"]["alignment"]["words"])


def links_of(pair: dict[str, Any]) -> list[tuple[int, int]]:
    return [(link["source"], link["target"]) for link in pair["target"]["alignment"]["links"]]


def test_words_that_remain_are_linked_unless_a_threshold_is_asked_for(both_ways: TestClient) -> None:
    body = {"source": SOURCE, "target": TARGET, "model": "tiny"}
    [pair] = align(both_ways, **body)
    expected = hard_links(words_matrix(pair), AlignmentRule(**LINKS_ALL_THAT_REMAINS))
    assert len(expected) > 1
    assert links_of(pair) == [(link.source, link.target) for link in expected]
    [pair] = align(both_ways, **body, link_threshold=0.9)
    assert links_of(pair) == []


def test_the_mean_of_both_matrices_is_linked_by_the_rule_of_the_first_model(both_ways: TestClient) -> None:
    body = {"source": SOURCE, "target": TARGET, "model": "tiny"}
    [forward], [backward] = align(both_ways, **body), align(both_ways, source=TARGET, target=SOURCE, model="back")
    mean = (words_matrix(forward) + words_matrix(backward).T) / 2
    expected = hard_links(mean, AlignmentRule(**LINKS_ALL_THAT_REMAINS))
    assert len(expected) > 1
    [both] = align(both_ways, **body, symmetrisation="mean")
    assert links_of(both) == [(link.source, link.target) for link in expected]


def test_a_side_without_words_has_no_links_by_the_mean(both_ways: TestClient) -> None:
    [pair] = align(both_ways, source="", target=TARGET, model="tiny", symmetrisation="mean")
    assert links_of(pair) == []


def test_the_mean_of_both_matrices_is_linked_by_the_threshold_that_is_asked_for(both_ways: TestClient) -> None:
    def matrix(**body: Any) -> np.ndarray:
        [pair] = align(both_ways, **body)
        return words_matrix(pair)

    mean = (
        matrix(source=SOURCE, target=TARGET, model="tiny") + matrix(source=TARGET, target=SOURCE, model="back").T
    ) / 2
    body = {"source": SOURCE, "target": TARGET, "model": "tiny", "symmetrisation": "mean", "link_threshold": 0.2}
    greatest = mean.max(axis=1, keepdims=True)
    expected = [(int(s), int(t)) for s, t in zip(*np.nonzero(((mean >= 0.2) & (mean == greatest)).T), strict=True)]
    assert len(expected) > 0
    for detail in ("soft", "hard"):
        [pair] = align(both_ways, **body, alignment=detail)
        alignment = pair["target"]["alignment"]
        assert [(link["source"], link["target"]) for link in alignment["links"]] == expected
        assert [link["weight"] for link in alignment["links"]] == pytest.approx(
            [mean[t, s] for s, t in expected], abs=1e-3
        )
        assert (alignment["words"] is None) == (alignment["tokens"] is None) == (detail == "hard")


@pytest.mark.parametrize("method", ["union", "mean"])
def test_symmetrising_changes_links_alone(both_ways: TestClient, method: str) -> None:
    body = {"source": SOURCE, "target": TARGET, "model": "tiny"}
    [plain], [both] = align(both_ways, **body), align(both_ways, **body, symmetrisation=method)
    for pair in (plain, both):
        del pair["target"]["alignment"]["links"], pair["target"]["alignment"]["pharaoh"]
    assert plain == both
    [none] = align(both_ways, **body, symmetrisation=method, alignment="none")
    assert none["target"]["alignment"] is None


def test_a_side_too_long_for_the_reverse_model_is_named_as_it_was_sent(both_ways: TestClient) -> None:
    body = {"source": "tea", "target": "the " * 30, "model": "tiny"}
    align(both_ways, **body)
    answer = both_ways.post("/align", json=body | {"symmetrisation": "union"})
    problem = check_problem(answer, 413, "text-too-long", "target")
    assert problem["detail"].startswith("target: has 91 tokens; at most 20 are aligned")
