"""POST /align: what given pairs come back as, with every way to give them and every way to get them wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.alignment import hard_links
from service.api.align_schemas import AlignResponse
from service.domain import AlignmentRule
from service.main import create_app
from service.symmetrisation import symmetrise_points
from tests.service.api_client import check_problem, running_app, tiny_settings
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

JSON = {"Content-Type": "application/json"}
SOURCE, TARGET = "  the cat sat. we like tea ", "a dog ran to the park"
LIMITS = {"max_texts": 3, "max_text_length": 400, "max_target_tokens": 40}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models"), **LIMITS) as (client, _):
        yield client


def align(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/align", json=body)
    assert answer.status_code == 200, answer.text
    AlignResponse.model_validate_json(answer.content)
    return answer.json()["pairs"]  # type: ignore[no-any-return]


def test_a_pair_comes_back_with_its_own_text_and_ranges(client: TestClient) -> None:
    [pair] = align(client, source=SOURCE, target=TARGET)
    assert (pair["source"]["text"], pair["target"]["text"]) == (SOURCE, TARGET)
    for side in (pair["source"], pair["target"]):
        assert [side["text"][word["start"] : word["end"]] for word in side["words"]] == [
            word["text"] for word in side["words"]
        ]
        for token, following in pairwise(side["tokens"]):
            assert 0 <= token["start"] <= token["end"] <= following["end"] <= len(side["text"])
        assert [token["special"] for token in side["tokens"]].count(True) == 1
    [unit] = pair["target"]["sentences"]
    assert SOURCE[unit["source"]["start"] : unit["source"]["end"]] == SOURCE.strip()
    assert unit["finished"]


def test_matrices_fit_tokens_and_words(client: TestClient) -> None:
    [pair] = align(client, source=SOURCE, target=TARGET)
    alignment = pair["target"]["alignment"]
    tokens, words = np.array(alignment["tokens"]), np.array(alignment["words"])
    assert tokens.shape == (len(pair["target"]["tokens"]), len(pair["source"]["tokens"]))
    assert tokens.sum(axis=1) == pytest.approx(1, abs=1e-3)
    assert words.shape == (6, 7)
    assert alignment["pharaoh"] == " ".join(f"{link['source']}-{link['target']}" for link in alignment["links"])


def test_a_translation_that_is_given_back_has_the_score_and_attention_it_had(client: TestClient) -> None:
    body = {"text": "the cat sat", "beam_size": 1, "max_decoding_length": 30}
    [translation] = client.post("/translate", json=body).json()["translations"]
    [hypothesis] = translation["hypotheses"]
    [pair] = align(client, source="the cat sat", target=hypothesis["text"])
    given = pair["target"]
    assert [token["text"] for token in given["tokens"]] == [token["text"] for token in hypothesis["tokens"]]
    assert given["alignment"] == hypothesis["alignment"]
    assert given["score"] == pytest.approx(hypothesis["score"], abs=1e-4)


def test_log_probs_of_tokens_sum_up_and_can_be_left_out(client: TestClient) -> None:
    [pair] = align(client, source=SOURCE, target=TARGET, length_penalty=0)
    log_probs = [token["log_prob"] for token in pair["target"]["tokens"]]
    assert pair["target"]["log_prob"] == pytest.approx(sum(log_probs), abs=1e-3)
    assert pair["target"]["score"] == pair["target"]["log_prob"]
    [bare] = align(client, source=SOURCE, target=TARGET, return_scores=False)
    assert all("log_prob" not in token for token in bare["target"]["tokens"])


def test_lists_come_back_in_order_and_like_single_pairs(client: TestClient) -> None:
    sources, targets = ["tea", "the cat sat on the mat", ""], ["a dog ran to the park", "we", "\u2603"]
    together = align(client, source=sources, target=targets)
    alone = [align(client, source=one, target=other)[0] for one, other in zip(sources, targets, strict=True)]
    assert together == alone
    assert align(client, source=[], target=[]) == []


def test_links_refer_to_given_words(client: TestClient) -> None:
    words = ["the cat", "do", "n't", "sit", "."]
    [pair] = align(client, source_words=words, target=TARGET, alignment="hard", link_threshold=0.01)
    assert pair["source"]["text"] == "the cat don't sit."
    assert [word["text"] for word in pair["source"]["words"]] == words
    links = pair["target"]["alignment"]["links"]
    assert links
    assert all(link["source"] < 5 and link["target"] < 6 for link in links)
    several = align(client, source_words=[words, []], target_words=[["tea"], ["a", "mat"]])
    assert [len(each["target"]["words"]) for each in several] == [1, 2]


def test_details_are_as_for_translations(client: TestClient) -> None:
    [soft] = align(client, source=SOURCE, target=TARGET)
    [hard] = align(client, source=SOURCE, target=TARGET, alignment="hard")
    [none] = align(client, source=SOURCE, target=TARGET, alignment="none")
    assert hard["target"]["alignment"] == soft["target"]["alignment"] | {"tokens": None, "words": None}
    assert none["target"] == soft["target"] | {"alignment": None}


def test_no_link_is_below_the_threshold_that_is_asked_for(client: TestClient) -> None:
    [pair] = align(client, source=SOURCE, target=TARGET, link_threshold=0.3)
    words = np.array(pair["target"]["alignment"]["words"])
    expected = [(s, t) for s, t in zip(*np.nonzero(words.T >= 0.3), strict=True) if words[t, s] == words[t].max()]
    assert [(link["source"], link["target"]) for link in pair["target"]["alignment"]["links"]] == expected


# --- Both directions --------------------------------------------------------------------------------------------


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


# --- What is refused --------------------------------------------------------------------------------------------


def test_symmetrising_needs_the_reverse_model(client: TestClient) -> None:
    body = {"source": SOURCE, "target": TARGET, "symmetrisation": "intersection"}
    problem = check_problem(client.post("/align", json=body), 404, "model-not-found", "symmetrisation")
    assert problem["detail"] == "symmetrisation: needs a model for fr to en as well; there is tiny (en to fr)"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "source"),
        ({"source": "pr1vate"}, 422, "target"),
        ({"target_words": ["pr1vate"]}, 422, "source"),
        ({"source": "pr1vate", "source_words": ["a"], "target": "b"}, 422, "source_words"),
        ({"source": "pr1vate", "target": ["b"]}, 422, "target"),
        ({"source": ["pr1vate"], "target": "b"}, 422, "target"),
        ({"source": ["a", "pr1vate"], "target": ["b"]}, 422, "target"),
        ({"source": ["pr1vate"], "target_words": ["b"]}, 422, "target_words"),
        ({"source_words": [["a"], ["pr1vate"]], "target_words": [["b"]]}, 422, "target_words"),
        ({"source": 5, "target": "b"}, 422, "source"),
        ({"source": "a", "target": ["pr1vate", 5]}, 422, "target[1]"),
        ({"source_words": "pr1vate", "target": "b"}, 422, "source_words"),
        ({"source_words": ["pr1vate", " "], "target": "b"}, 422, "source_words[1]"),
        ({"source_words": ["pr1vate", ""], "target": "b"}, 422, "source_words[1]"),
        ({"source_words": ["pr1vate\0"], "target": "b"}, 422, "source_words[0]"),
        ({"source_words": [["a"], ["b", "\t"]], "target_words": [["a"], ["b"]]}, 422, "source_words[1][1]"),
        ({"source_words": ["a", ["pr1vate"]], "target": "b"}, 422, "source_words[1]"),
        ({"source": "a\0", "target": "b"}, 422, "source"),
        ({"source": "a", "target": "b", "link_threshold": 0}, 422, "link_threshold"),
        ({"source": "a", "target": "b", "link_threshold": 1.5}, 422, "link_threshold"),
        ({"source": "a", "target": "b", "symmetrisation": "pr1vate"}, 422, "symmetrisation"),
        ({"source": "a", "target": "b", "alignment": "pr1vate"}, 422, "alignment"),
        ({"source": "a", "target": "b", "beam_size": 4}, 422, None),
        ({"source": "a", "target": "b", "target_language": "de"}, 404, "target_language"),
        ({"source": "pr1vate " * 60, "target": "b"}, 413, "source"),
        ({"source": "a " * 64, "target": "b"}, 413, "source"),
        ({"source": "a", "target": "b " * 40}, 413, "target"),
        ({"source": ["a", "a"], "target": ["b", "b " * 40]}, 413, "target[1]"),
        ({"source_words": ["pr1vate"] * 60, "target": "b"}, 413, "source_words"),
        ({"source": ["a"], "target_words": [["b"] * 40]}, 413, "target_words[0]"),
        ({"source": ["pr1vate"] * 4, "target": ["b"] * 4}, 413, "source"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(
    client: TestClient, body: dict[str, Any], status: int, field: str | None
) -> None:
    names = {404: "model-not-found", 413: "text-too-long", 422: "invalid-request"}
    check_problem(client.post("/align", json=body), status, names[status], field)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"source": "pr1vate', b'{"source": "\\ud800", "target": "pr1vate"}'])
def test_bodies_that_are_no_request(client: TestClient, body: bytes) -> None:
    check_problem(client.post("/align", content=body, headers=JSON), 422, "invalid-request")


def test_more_pairs_than_can_wait_are_refused_by_a_field_of_this_route(tmp_path: Path) -> None:
    with running_app(tmp_path, max_queue=2) as (client, _):
        body = {"source_words": [["a"]] * 3, "target": ["b"] * 3}
        check_problem(client.post("/align", json=body), 413, "text-too-long", "source_words")


def test_an_unknown_field_is_compared_with_those_of_this_route(client: TestClient) -> None:
    problem = check_problem(client.post("/align", json={"source_wrods": []}), 422, "invalid-request")
    assert "Did you mean source_words?" in problem["detail"]
    assert "beam_size" not in problem["detail"]


def test_the_model_shows_its_link_rule(tmp_path: Path) -> None:
    rule = {"threshold": 0.25, "relative_threshold": 0.5, "remaining_threshold": 0.125}
    bundle = write_bundle(tmp_path / "tiny")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").unlink()
    write_manifest(bundle, manifest | {"alignment": rule})
    with TestClient(create_app(tiny_settings(tmp_path))) as client:
        assert client.get("/models/tiny").json()["alignment"] == rule
        [translation] = client.post("/translate", json={"text": "the cat sat", "max_decoding_length": 9}).json()[
            "translations"
        ]
        assert np.array(translation["hypotheses"][0]["alignment"]["tokens"]).sum(axis=1) == pytest.approx(1, abs=1e-3)


def test_the_openapi_document_holds_the_limits(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/align"]["post"]
    source = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["source"]["anyOf"][0]
    assert source["oneOf"][0]["maxLength"] == 400
    assert source["oneOf"][1]["maxItems"] == 3
