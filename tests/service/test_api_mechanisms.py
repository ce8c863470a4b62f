"""The API with a model of two attention mechanisms: one alignment matrix each, for every way to ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.api.schemas import ModelDetail, ModelList, TranslateResponse, TranslationModel
from service.cli import main
from tests.service.api_client import running_app
from tests.service.two_mechanisms import write_two_mechanisms

ONE_SENTENCE = "the cat sat"
TWO_SENTENCES = "  The cat sat.\nWe like tea!  "
NAMES = {"mechanism": "luong_monotonic", "normalized": False}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models"), write_two_mechanisms) as (client, _):
        yield client


def translate(client: TestClient, text: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The source and the best hypothesis, which the public contract describes."""
    body = {"text": text, "min_decoding_length": 6, "max_decoding_length": 12} | options
    answer = client.post("/translate", json=body)
    assert answer.status_code == 200, answer.text
    TranslateResponse.model_validate_json(answer.content)
    [translation] = answer.json()["translations"]
    return translation["source"], translation["hypotheses"][0]


def names(alignment: dict[str, Any]) -> dict[str, Any]:
    return {name: alignment[name] for name in NAMES}


def test_models_list_their_mechanisms_primary_first(client: TestClient) -> None:
    listed, shown = client.get("/models"), client.get("/models/tiny")
    [model] = ModelList.model_validate_json(listed.content).models
    assert [(mechanism.name, mechanism.normalized) for mechanism in model.mechanisms] == [
        ("luong", True),
        ("luong_monotonic", False),
    ]
    assert model.normalized
    assert ModelDetail.model_validate_json(shown.content).mechanisms == model.mechanisms


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_sentence_has_a_matrix_of_each_mechanism(client: TestClient, beam_size: int) -> None:
    source, hypothesis = translate(client, ONE_SENTENCE, beam_size=beam_size)
    [other] = hypothesis["other_alignments"]
    assert names(other) == NAMES
    assert hypothesis["alignment"].keys() | NAMES.keys() == other.keys()
    primary_tokens, tokens = np.array(hypothesis["alignment"]["tokens"]), np.array(other["tokens"])
    assert tokens.shape == primary_tokens.shape == (len(hypothesis["tokens"]), len(source["tokens"]))
    assert primary_tokens.sum(axis=1) == pytest.approx(1, abs=1e-9)
    np.testing.assert_array_equal(tokens[0], primary_tokens[0])  # nothing has been read yet
    assert (tokens[1:] <= primary_tokens[1:] + 1.01e-4).all()
    assert (tokens.sum(axis=1) <= 1 + 1e-9).all()
    assert tokens[-1].sum() < 0.9
    assert np.array(other["words"]).shape == (len(hypothesis["words"]), len(source["words"]))
    assert other["pharaoh"] == " ".join(f"{link['source']}-{link['target']}" for link in other["links"])
    assert hypothesis["sentences"][0]["other_alignments"] == []


def test_several_sentences_carry_the_matrices_of_each_mechanism(client: TestClient) -> None:
    _, hypothesis = translate(client, TWO_SENTENCES)
    [whole] = hypothesis["other_alignments"]
    assert names(whole) == NAMES
    assert (whole["tokens"], whole["words"]) == (None, None)
    parts = [sentence["other_alignments"] for sentence in hypothesis["sentences"]]
    for sentence, [other] in zip(hypothesis["sentences"], parts, strict=True):
        assert names(other) == NAMES
        rows, columns = (end - start for start, end in (sentence["target"]["tokens"], sentence["source"]["tokens"]))
        assert np.array(other["tokens"]).shape == (rows, columns)
    assert whole["links"] == [link for [other] in parts for link in other["links"]]
    assert len(parts) == 2


def test_hard_alignment_gives_the_links_of_each_mechanism(client: TestClient) -> None:
    _, soft = translate(client, ONE_SENTENCE)
    _, hard = translate(client, ONE_SENTENCE, alignment="hard")
    [expected] = soft["other_alignments"]
    assert hard["other_alignments"] == [expected | {"tokens": None, "words": None}]


def test_no_alignment_leaves_the_translation_as_it_is(client: TestClient) -> None:
    _, soft = translate(client, ONE_SENTENCE)
    _, none = translate(client, ONE_SENTENCE, alignment="none")
    assert none == soft | {"alignment": None, "other_alignments": []}


def test_nothing_to_translate_has_an_empty_alignment_of_each_mechanism(client: TestClient) -> None:
    _, hypothesis = translate(client, "")
    empty = {"tokens": [], "words": [], "links": [], "pharaoh": ""}
    assert hypothesis["alignment"] == empty
    assert hypothesis["other_alignments"] == [NAMES | empty]


def test_the_document_describes_the_other_alignments(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for holder in ("HypothesisModel", "SentenceModel"):
        assert "other_alignments" in schemas[holder]["required"]
        items = schemas[holder]["properties"]["other_alignments"]["items"]
        assert items == {"$ref": "#/components/schemas/OtherAlignmentModel"}
    assert {"mechanism", "normalized", "tokens", "pharaoh"} <= set(schemas["OtherAlignmentModel"]["required"])


def test_json_lines_hold_every_mechanism(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_two_mechanisms(tmp_path / "models" / "tiny")
    (tmp_path / "text.txt").write_text("the cat sat\n", encoding="utf-8")
    options = ["--models-dir", str(tmp_path / "models"), "--built-in-models", "false", "--log-level", "error"]
    assert main(["translate", str(tmp_path / "text.txt"), "--jsonl", *options]) == 0
    line = capsys.readouterr().out
    TranslationModel.model_validate_json(line)
    [other] = json.loads(line)["hypotheses"][0]["other_alignments"]
    assert names(other) == NAMES
