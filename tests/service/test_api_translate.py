"""POST /translate: the shape of the answer, and what every option changes in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.api.schemas import TranslateResponse
from tests.service.api_client import running_app

ONE_SENTENCE = "the cat sat"
TWO_SENTENCES = "  The cat sat.\nWe like tea!  "


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models")) as (client, _):
        yield client


def translate(client: TestClient, text: str | list[str], **options: Any) -> dict[str, Any]:
    answer = client.post("/translate", json={"text": text, "max_decoding_length": 12} | options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    TranslateResponse.model_validate_json(answer.content)
    return answer.json()  # type: ignore[no-any-return]


def only_translation(answer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    [translation] = answer["translations"]
    [hypothesis] = translation["hypotheses"]
    return translation["source"], hypothesis


def test_the_answer_names_the_model_and_its_languages(client: TestClient) -> None:
    answer = translate(client, ONE_SENTENCE)
    assert (answer["model"], answer["source_language"], answer["target_language"]) == ("tiny", "en", "fr")


def test_ranges_cut_words_and_tokens_out_of_the_texts(client: TestClient) -> None:
    source, hypothesis = only_translation(translate(client, TWO_SENTENCES))
    assert source["text"] == TWO_SENTENCES
    assert [word["text"] for word in source["words"]] == ["The", "cat", "sat", ".", "We", "like", "tea", "!"]
    assert [TWO_SENTENCES[each["start"] : each["end"]] for each in source["sentences"]] == [
        "The cat sat.",
        "We like tea!",
    ]
    for side in (source, hypothesis):
        for word in side["words"]:
            assert side["text"][word["start"] : word["end"]] == word["text"]
        for token, following in pairwise(side["tokens"]):
            assert 0 <= token["start"] <= token["end"] <= following["end"] <= len(side["text"])
        assert all(token["start"] == token["end"] for token in side["tokens"] if token["special"])
    assert [token["special"] for token in source["tokens"]].count(True) == 2


def test_matrices_fit_tokens_and_words_and_rows_sum_to_one(client: TestClient) -> None:
    source, hypothesis = only_translation(translate(client, ONE_SENTENCE, target_prefix="tea dog"))
    alignment = hypothesis["alignment"]
    tokens, words = np.array(alignment["tokens"]), np.array(alignment["words"])
    assert tokens.shape == (len(hypothesis["tokens"]), len(source["tokens"]))
    assert tokens.sum(axis=1) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(np.round(tokens, 4), tokens)
    assert words.shape == (len(hypothesis["words"]), len(source["words"]))
    assert (words >= 0).all()
    assert alignment["pharaoh"] == " ".join(f"{link['source']}-{link['target']}" for link in alignment["links"])
    for link in alignment["links"]:
        assert link["weight"] == words[link["target"], link["source"]]


def test_token_log_probs_sum_to_the_log_prob(client: TestClient) -> None:
    _, hypothesis = only_translation(translate(client, TWO_SENTENCES))
    log_probs = [token["log_prob"] for token in hypothesis["tokens"]]
    assert sum(log_probs) == pytest.approx(hypothesis["log_prob"], abs=1e-3)
    sentences = hypothesis["sentences"]
    assert sum(sentence["log_prob"] for sentence in sentences) == pytest.approx(hypothesis["log_prob"], abs=1e-3)


def test_scores_can_be_left_out(client: TestClient) -> None:
    _, hypothesis = only_translation(translate(client, ONE_SENTENCE, return_scores=False))
    assert all("log_prob" not in token for token in hypothesis["tokens"])


def test_several_sentences_carry_their_own_matrices(client: TestClient) -> None:
    source, hypothesis = only_translation(translate(client, TWO_SENTENCES))
    assert hypothesis["alignment"]["tokens"] is None
    assert hypothesis["alignment"]["words"] is None
    assert len(hypothesis["sentences"]) == 2
    for sentence in hypothesis["sentences"]:
        rows, columns = (end - start for start, end in (sentence["target"]["tokens"], sentence["source"]["tokens"]))
        assert np.array(sentence["alignment"]["tokens"]).shape == (rows, columns)
        start, end = sentence["source"]["start"], sentence["source"]["end"]
        assert source["text"][start:end] in ("The cat sat.", "We like tea!")


def test_hard_alignment_gives_links_without_matrices(client: TestClient) -> None:
    _, soft = only_translation(translate(client, ONE_SENTENCE))
    _, hard = only_translation(translate(client, ONE_SENTENCE, alignment="hard"))
    assert hard["alignment"] == soft["alignment"] | {"tokens": None, "words": None}


def test_no_alignment_leaves_the_translation_as_it_is(client: TestClient) -> None:
    _, soft = only_translation(translate(client, ONE_SENTENCE))
    _, none = only_translation(translate(client, ONE_SENTENCE, alignment="none"))
    assert none == soft | {"alignment": None}


@pytest.mark.parametrize("text", ["", ONE_SENTENCE, TWO_SENTENCES])
@pytest.mark.parametrize("alignment", ["none", "hard", "soft"])
def test_a_model_with_one_mechanism_has_no_other_alignments(client: TestClient, text: str, alignment: str) -> None:
    _, hypothesis = only_translation(translate(client, text, alignment=alignment))
    assert hypothesis["other_alignments"] == []
    assert all(sentence["other_alignments"] == [] for sentence in hypothesis["sentences"])


@pytest.mark.parametrize("text", ["", " ", "\n\t \u00a0", "\u200b"])
def test_nothing_translates_to_nothing(client: TestClient, text: str) -> None:
    source, hypothesis = only_translation(translate(client, text))
    assert source["text"] == text
    assert hypothesis["text"].strip("\n\t \u00a0\u200b") == ""
    assert (hypothesis["score"], hypothesis["log_prob"], hypothesis["tokens"], hypothesis["words"]) == (0, 0, [], [])
    assert hypothesis["alignment"] == {"tokens": [], "words": [], "links": [], "pharaoh": ""}


@pytest.mark.parametrize(
    "text",
    [
        "😀 👩‍👩‍👧 🇫🇷",
        "e\u0301\u0323 a\u030a",
        "שלום עולם",
        "مرحبا",
        "日本語",
        "\u202e\u2066 x",
        "½ … ﬁ",
        "\ufeff x",
        "\x01\x7f\x85",
    ],
)
def test_unusual_text_gets_a_whole_answer(client: TestClient, text: str) -> None:
    source, _ = only_translation(translate(client, text))
    assert source["text"] == text


def test_lists_are_answered_in_order_and_as_each_text_alone(client: TestClient) -> None:
    texts = ["a dog ran", "", "we like tea. the cat sat."]
    together = translate(client, texts)["translations"]
    assert [each["source"]["text"] for each in together] == texts
    for text, translation in zip(texts, together, strict=True):
        assert (
            translation["hypotheses"][0]["text"] == translate(client, text)["translations"][0]["hypotheses"][0]["text"]
        )
    assert translate(client, [])["translations"] == []


def test_hypotheses_come_best_first(client: TestClient) -> None:
    answer = translate(client, ONE_SENTENCE, beam_size=5, num_hypotheses=3)
    scores = [hypothesis["score"] for hypothesis in answer["translations"][0]["hypotheses"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_lengths_are_kept(client: TestClient) -> None:
    _, hypothesis = only_translation(translate(client, ONE_SENTENCE, min_decoding_length=4, max_decoding_length=4))
    assert len(hypothesis["tokens"]) == 4


def test_a_prefix_begins_the_translation(client: TestClient) -> None:
    _, hypothesis = only_translation(translate(client, ONE_SENTENCE, target_prefix="tea", max_decoding_length=12))
    assert hypothesis["text"].startswith("tea")


@pytest.mark.parametrize(
    "choice",
    [{"model": "tiny"}, {"source_language": "en", "target_language": "fr"}, {"source_language": "EN-gb"}, {}],
)
def test_models_are_found_by_name_or_languages(client: TestClient, choice: dict[str, str]) -> None:
    assert translate(client, ONE_SENTENCE, **choice)["model"] == "tiny"


def test_the_last_of_repeated_keys_counts(client: TestClient) -> None:
    body = b'{"text": "a dog", "text": "tea", "max_decoding_length": 3}'
    answer = client.post("/translate", content=body, headers={"Content-Type": "application/json; charset=UTF-8"})
    assert answer.json()["translations"][0]["source"]["text"] == "tea"
