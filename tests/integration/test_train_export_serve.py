"""From sentence pairs in a file to answers over HTTP: a model is trained, exported and served as a user would do it.

The language pair is made up: the translation of a sentence is its words in reverse order, so every answer and every
alignment can be checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from model_export.run_directory import RunDirectory
from service.api.schemas import TranslateResponse
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, Hypothesis, SpecialIds
from service.main import create_app
from tests.reversing_task import random_sentences, reverse

Json = dict[str, Any]

PRECISIONS = ("fp32", "int8")
each_precision = pytest.mark.parametrize("client", PRECISIONS, indirect=True)


@pytest.fixture(scope="module")
def sentences(reversing_run: RunDirectory) -> list[str]:
    """Sentences the model was not trained on."""
    trained = (reversing_run.path.parent / "train.tsv").read_text(encoding="utf-8")
    return [sentence for sentence in random_sentences(60, seed=7) if f"{sentence}\t" not in trained]


@pytest.fixture(scope="module")
def keras_output(reversing_run: RunDirectory, sentences: list[str]) -> dict[str, Hypothesis]:
    """What the trained Keras model gives greedily."""
    from model_export.keras_backend import KerasBackend

    model, _ = reversing_run.load_model()
    tokenizer = reversing_run.read_tokenizer()
    ids = SpecialIds(tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id)
    sources = [(*tokenizer.encode_ids(sentence), tokenizer.eos_id) for sentence in sentences]
    jobs = [DecodingJob(source, DecodingOptions(beam_size=1, length_penalty=0.0)) for source in sources]
    return {sentence: best for sentence, (best,) in zip(sentences, decode(KerasBackend(model), jobs, ids), strict=True)}


@pytest.fixture(scope="module")
def client(reversing_bundle: Path, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """A client of the service that was pointed at the bundle's directory by its environment."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("INTERLINEAR_MODELS_DIR", str(reversing_bundle.parent))
        environment.setenv("INTERLINEAR_BUILT_IN_MODELS", "false")
        environment.setenv("INTERLINEAR_PROVIDER", "cpu")
        environment.setenv("INTERLINEAR_PRECISION", getattr(request, "param", "int8"))
        app = create_app()
    with TestClient(app) as client:
        yield client


def translate(client: TestClient, text: list[str], **options: Any) -> list[Json]:
    """The translation of each text."""
    answer = client.post("/translate", json={"text": text, "source_language": "en", "target_language": "ne"} | options)
    assert answer.status_code == 200, answer.text
    TranslateResponse.model_validate_json(answer.content)
    return answer.json()["translations"]  # type: ignore[no-any-return]


def best(translations: list[Json]) -> list[Json]:
    return [translation["hypotheses"][0] for translation in translations]


@each_precision
def test_the_model_is_listed_as_it_was_exported(client: TestClient, request: pytest.FixtureRequest) -> None:
    [model] = client.get("/models").json()["models"]
    assert (model["name"], model["source_language"], model["target_language"]) == ("reverser", "en", "ne")
    assert model["precision"] == request.node.callspec.params["client"]
    assert client.get("/readyz").status_code == 200


@each_precision
def test_unseen_sentences_are_translated_right(client: TestClient, sentences: list[str]) -> None:
    found = [hypothesis["text"] for hypothesis in best(translate(client, sentences))]
    right = [text == reverse(sentence) for text, sentence in zip(found, sentences, strict=True)]
    assert sum(right) >= 0.95 * len(right)


@pytest.mark.parametrize("client", ["fp32"], indirect=True)
def test_greedy_answers_equal_those_of_the_keras_model(
    client: TestClient, keras_output: dict[str, Hypothesis], reversing_run: RunDirectory
) -> None:
    tokenizer = reversing_run.read_tokenizer()
    answers = best(translate(client, list(keras_output), beam_size=1, length_penalty=0.0))
    for hypothesis, expected in zip(answers, keras_output.values(), strict=True):
        decoded = tokenizer.decode(expected.target_ids)
        assert hypothesis["text"] == decoded.text
        assert [token["text"] for token in hypothesis["tokens"]] == [token.text for token in decoded.tokens]
        log_probs = [token["log_prob"] for token in hypothesis["tokens"]]
        np.testing.assert_allclose(log_probs, expected.token_log_probs, atol=1e-4)
        np.testing.assert_allclose(hypothesis["alignment"]["tokens"], expected.attention, atol=2e-4)  # 4 decimals
        assert hypothesis["log_prob"] == pytest.approx(expected.log_prob, abs=1e-3)


@pytest.mark.parametrize("client", ["int8"], indirect=True)
def test_8_bit_answers_are_nearly_those_of_the_keras_model(
    client: TestClient, keras_output: dict[str, Hypothesis], reversing_run: RunDirectory
) -> None:
    tokenizer = reversing_run.read_tokenizer()
    answers = best(translate(client, list(keras_output), beam_size=1, length_penalty=0.0))
    pairs = list(zip(answers, keras_output.values(), strict=True))
    same = [
        (found, expected) for found, expected in pairs if found["text"] == tokenizer.decode(expected.target_ids).text
    ]
    assert len(same) >= 0.9 * len(pairs)
    for found, expected in same:
        assert np.abs(np.array(found["alignment"]["tokens"]) - expected.attention).mean() < 0.02


@each_precision
def test_rows_sum_to_one_and_follow_the_reversal(client: TestClient, sentences: list[str]) -> None:
    right_weights = []
    for translation in translate(client, sentences, beam_size=1):
        [hypothesis] = translation["hypotheses"]
        tokens = np.array(hypothesis["alignment"]["tokens"])
        words = np.array(hypothesis["alignment"]["words"])
        assert tokens.shape == (len(hypothesis["tokens"]), len(translation["source"]["tokens"]))
        np.testing.assert_allclose(tokens.sum(axis=1), 1.0, atol=1e-3)
        assert words.shape == (len(hypothesis["words"]), len(translation["source"]["words"]))
        if hypothesis["text"] == reverse(translation["source"]["text"]):
            right_weights.extend(np.diagonal(words[:, ::-1]))
    assert np.mean(right_weights) > 0.8
    assert np.mean(np.array(right_weights) > 0.5) > 0.95


@each_precision
def test_links_are_the_reversal(client: TestClient, sentences: list[str]) -> None:
    exact = 0
    for sentence, hypothesis in zip(sentences, best(translate(client, sentences)), strict=True):
        last = len(sentence.split()) - 1
        exact += hypothesis["alignment"]["pharaoh"] == " ".join(f"{i}-{last - i}" for i in range(last + 1))
    assert exact >= 0.85 * len(sentences)


@each_precision
def test_answers_do_not_depend_on_what_else_is_asked(client: TestClient, sentences: list[str]) -> None:
    together = translate(client, sentences[:12], beam_size=3, num_hypotheses=2)
    alone = [translate(client, [sentence], beam_size=3, num_hypotheses=2)[0] for sentence in sentences[:12]]
    assert [translation["source"] for translation in together] == [translation["source"] for translation in alone]
    for one, other in zip(together, alone, strict=True):
        for found, expected in zip(one["hypotheses"], other["hypotheses"], strict=True):
            assert found["text"] == expected["text"]
            assert found["log_prob"] == pytest.approx(expected["log_prob"], abs=1e-3)
            assert found["alignment"]["pharaoh"] == expected["alignment"]["pharaoh"]


def test_a_prefix_is_kept_and_its_words_are_aligned(client: TestClient, sentences: list[str]) -> None:
    sentence = sentences[0]
    first = reverse(sentence).split()[0]
    [hypothesis] = best(translate(client, [sentence], target_prefix=first))
    assert hypothesis["text"] == reverse(sentence)
    assert hypothesis["alignment"]["links"][-1]["target"] == 0  # the last source word belongs to the prefix
