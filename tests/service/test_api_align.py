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

from service.main import create_app
from tests.service.api_client import align, check_problem, running_app, tiny_settings
from tests.service.tiny_bundle import write_bundle, write_manifest

JSON = {"Content-Type": "application/json"}
SOURCE, TARGET = "  the cat sat. we like tea ", "a dog ran to the park"
LIMITS = {"max_texts": 3, "max_text_length": 400, "max_target_tokens": 40}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models"), **LIMITS) as (client, _):
        yield client


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
