"""HTTP end to end on the bundle that comes with the package: real French, with alignments that hold together."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.api.align_schemas import AlignResponse
from service.api.schemas import TranslateResponse
from service.main import create_app
from service.settings import Settings

# Everyday sentences and words that any sound translation holds.
SENTENCES = {
    "I like tea.": ("thé",),
    "Where is the station?": ("gare",),
    "She is my sister.": ("sœur", "soeur"),
    "We have two cats.": ("chats",),
    "Tom doesn't speak French.": ("français",),
    "Thank you very much.": ("merci", "Merci"),
    "It is raining today.": ("pleut",),
    "The book is on the table.": ("livre",),
    "I don't know.": ("sais",),
    "Open the door, please.": ("porte",),
}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings())) as client:
        yield client


def translate(client: TestClient, text: str | list[str], **options: Any) -> dict[str, Any]:
    answer = client.post("/translate", json={"text": text, "model": "eng-fra"} | options)
    assert answer.status_code == 200, answer.text
    TranslateResponse.model_validate_json(answer.content)
    return answer.json()  # type: ignore[no-any-return]


def best(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [translation["hypotheses"][0] for translation in answer["translations"]]


def test_everyday_sentences_come_out_in_french(client: TestClient) -> None:
    hypotheses = best(translate(client, list(SENTENCES)))
    wrong = {
        source: hypothesis["text"]
        for (source, expected), hypothesis in zip(SENTENCES.items(), hypotheses, strict=True)
        if not any(word in hypothesis["text"] for word in expected)
    }
    assert not wrong


def test_matrices_have_the_right_shape_and_rows_sum_to_one(client: TestClient) -> None:
    for translation in translate(client, list(SENTENCES))["translations"]:
        source, hypothesis = translation["source"], translation["hypotheses"][0]
        tokens = np.array(hypothesis["alignment"]["tokens"])
        words = np.array(hypothesis["alignment"]["words"])
        assert tokens.shape == (len(hypothesis["tokens"]), len(source["tokens"]))
        assert words.shape == (len(hypothesis["words"]), len(source["words"]))
        assert tokens.sum(axis=1) == pytest.approx(1, abs=1e-3)
        assert (words.sum(axis=1) <= 1 + 1e-3).all()


def test_attention_links_words_to_their_translations(client: TestClient) -> None:
    expected = {"We have two cats.": ("cats", "chats"), "The book is on the table.": ("book", "livre")}
    for text, (source_word, target_word) in expected.items():
        answer = translate(client, text)
        [translation], [hypothesis] = answer["translations"], best(answer)
        pairs = {
            (translation["source"]["words"][link["source"]]["text"], hypothesis["words"][link["target"]]["text"])
            for link in hypothesis["alignment"]["links"]
        }
        assert (source_word, target_word) in pairs, pairs


def test_words_are_ranges_of_the_texts(client: TestClient) -> None:
    text = "  Tom’s café is\u00a0closed…  Don't wait! 😀\n\nCome home."
    [translation] = translate(client, text)["translations"]
    hypothesis = translation["hypotheses"][0]
    assert translation["source"]["text"] == text
    assert "\n\n" in hypothesis["text"]
    for side in (translation["source"], hypothesis):
        for word in side["words"]:
            assert side["text"][word["start"] : word["end"]] == word["text"]
        for token in side["tokens"]:
            assert 0 <= token["start"] <= token["end"] <= len(side["text"])


def test_concurrent_clients_get_what_one_client_gets(client: TestClient) -> None:
    alone = [best(translate(client, text))[0]["text"] for text in SENTENCES]
    with ThreadPoolExecutor(len(SENTENCES)) as clients:
        together = list(clients.map(lambda text: best(translate(client, text))[0]["text"], SENTENCES))
    assert together == alone


def test_beam_one_is_fast_search_and_wider_beams_score_no_worse(client: TestClient) -> None:
    texts = list(SENTENCES)
    greedy = best(translate(client, texts, beam_size=1, length_penalty=0.0))
    wide = best(translate(client, texts, beam_size=8, length_penalty=0.0))
    assert np.mean([each["log_prob"] for each in wide]) >= np.mean([each["log_prob"] for each in greedy])


def test_several_hypotheses_differ(client: TestClient) -> None:
    [translation] = translate(client, "I like tea.", beam_size=6, num_hypotheses=4)["translations"]
    texts = [hypothesis["text"] for hypothesis in translation["hypotheses"]]
    assert len(set(texts)) == 4


def test_a_prefix_steers_the_translation(client: TestClient) -> None:
    [hypothesis] = best(translate(client, "I like tea.", target_prefix="Moi"))
    assert hypothesis["text"].startswith("Moi")


def align(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/align", json={"model": "eng-fra"} | body)
    assert answer.status_code == 200, answer.text
    AlignResponse.model_validate_json(answer.content)
    return answer.json()["pairs"]  # type: ignore[no-any-return]


def test_a_given_translation_is_scored_like_one_of_the_models_own(client: TestClient) -> None:
    translations = translate(client, list(SENTENCES), beam_size=1)["translations"]
    targets = [translation["hypotheses"][0]["text"] for translation in translations]
    for translation, pair in zip(translations, align(client, source=list(SENTENCES), target=targets), strict=True):
        [own], given = translation["hypotheses"], pair["target"]
        assert pair["source"] == translation["source"]
        assert given["tokens"] == [
            token | {"log_prob": pytest.approx(token["log_prob"], abs=1e-3)} for token in own["tokens"]
        ]
        assert given["score"] == pytest.approx(own["score"], abs=1e-3)
        assert given["alignment"]["pharaoh"] == own["alignment"]["pharaoh"]


def test_a_wrong_translation_scores_worse(client: TestClient) -> None:
    right, wrong = align(client, source=["I like tea."] * 2, target=["J'aime le thé.", "Où est la gare ?"])
    assert right["target"]["score"] > wrong["target"]["score"] + 1


def test_given_words_keep_their_alignment(client: TestClient) -> None:
    [pair] = align(client, source_words=["We", "have", "two", "cats", "."], target="Nous avons deux chats.")
    assert pair["target"]["alignment"]["pharaoh"].split() == ["0-0", "1-1", "2-2", "3-3", "4-4"]


def test_aligning_and_translating_share_a_batch_without_a_trace(client: TestClient) -> None:
    def both(text: str) -> tuple[Any, Any]:
        translated = best(translate(client, text))[0]
        return translated, align(client, source=text, target=translated["text"])[0]["target"]

    alone = [both(text) for text in SENTENCES]
    with ThreadPoolExecutor(len(SENTENCES)) as clients:
        together = list(clients.map(both, SENTENCES))
    for one, other in zip(alone, together, strict=True):
        for apart, joined in zip(one, other, strict=True):
            assert apart["text"] == joined["text"]
            assert apart["alignment"]["pharaoh"] == joined["alignment"]["pharaoh"]
            assert apart["log_prob"] == pytest.approx(joined["log_prob"], abs=1e-4)


@pytest.mark.parametrize(
    "text", ["😀", "שלום", "e\u0301\u0302\u0303", "日本語のテキスト", "?!?!", "a" * 60, "½ … ﬁ ™", "\x01\x02"]
)
def test_text_that_is_no_english_gets_an_answer(client: TestClient, text: str) -> None:
    [translation] = translate(client, text)["translations"]
    assert translation["source"]["text"] == text
    [pair] = align(client, source=text, target=text)
    assert pair["source"]["text"] == pair["target"]["text"] == text
    assert all(token["log_prob"] < 0 for token in pair["target"]["tokens"])


def test_the_model_says_where_it_comes_from(client: TestClient) -> None:
    model = client.get("/models/eng-fra").json()
    assert (model["source_language"], model["target_language"]) == ("en", "fr")
    assert model["training"]["data"][0]["licence"]
    assert {score["metric"] for score in model["scores"]}


def test_the_model_has_an_aligner_beside_the_attention_by_which_it_translates(client: TestClient) -> None:
    assert client.get("/models/eng-fra").json()["mechanisms"] == [
        {"name": "bahdanau_aligner", "normalized": True, "row_offset": 1},
        {"name": "bahdanau", "normalized": True, "row_offset": 0},
    ]
    for hypothesis in best(translate(client, list(SENTENCES))):
        [other] = hypothesis["other_alignments"]
        assert other["mechanism"] == "bahdanau"
        assert np.shape(other["tokens"]) == np.shape(hypothesis["alignment"]["tokens"])
        np.testing.assert_allclose(np.sum(other["tokens"], axis=1), 1, atol=1e-3)
