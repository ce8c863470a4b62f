"""POST /translate: the options of decoding, and what they change in the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.schemas import TranslateResponse
from tests.service.api_client import running_app

TEXT = "the cat sat"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models")) as (client, _):
        yield client


def hypotheses(client: TestClient, text: str = TEXT, **options: Any) -> list[dict[str, Any]]:
    answer = client.post("/translate", json={"text": text, "max_decoding_length": 12} | options)
    assert answer.status_code == 200, answer.text
    TranslateResponse.model_validate_json(answer.content)
    return answer.json()["translations"][0]["hypotheses"]  # type: ignore[no-any-return]


def pieces(hypothesis: dict[str, Any]) -> list[str]:
    return [token["text"] for token in hypothesis["tokens"]]


def test_alternatives_are_given_at_every_token(client: TestClient) -> None:
    [plain] = hypotheses(client)
    [best] = hypotheses(client, num_alternatives=3)
    assert pieces(best) == pieces(plain)
    assert all("alternatives" not in token for token in plain["tokens"])
    for token in best["tokens"]:
        log_probs = [alternative["log_prob"] for alternative in token["alternatives"]]
        assert len(log_probs) == 3
        assert log_probs == sorted(log_probs, reverse=True)
        if token["text"] in (names := [alternative["text"] for alternative in token["alternatives"]]):
            assert log_probs[names.index(token["text"])] == pytest.approx(token["log_prob"], abs=1e-5)


def test_greedy_search_takes_the_first_alternative(client: TestClient) -> None:
    [best] = hypotheses(client, beam_size=1, num_alternatives=1)
    for token in best["tokens"]:
        [first] = token["alternatives"]
        assert (first["text"], first["special"]) == (token["text"], token["special"]) or first["text"] in (
            "<unk>",
            "<s>",
            "<pad>",
        )


def test_a_suppressed_token_does_not_come(client: TestClient) -> None:
    [plain] = hypotheses(client, min_decoding_length=3)
    first = plain["tokens"][0]["text"]
    [other] = hypotheses(client, min_decoding_length=3, suppressed_tokens=[first])
    assert first not in pieces(other)


def test_nothing_comes_twice_if_it_must_not(client: TestClient) -> None:
    [best] = hypotheses(client, no_repeat_ngram_size=1, min_decoding_length=8)
    assert len(pieces(best)) >= 8
    assert len(set(pieces(best))) == len(pieces(best))


def test_samples_are_repeatable_by_their_seed(client: TestClient) -> None:
    options = {"sampling_top_k": 20, "sampling_temperature": 3.0, "num_hypotheses": 3}
    one, again, other = (hypotheses(client, seed=seed, **options) for seed in (1, 1, 2))
    assert len(one) == 3
    assert one == again
    assert [pieces(each) for each in one] != [pieces(each) for each in other]


def test_samples_differ_without_a_seed(client: TestClient) -> None:
    options = {"sampling_top_k": 50, "sampling_temperature": 5.0, "min_decoding_length": 10}
    drawn = {tuple(pieces(hypotheses(client, **options)[0])) for _ in range(4)}
    assert len(drawn) > 1


def test_the_tfa_mode_is_served(client: TestClient) -> None:
    found = hypotheses(client, search_mode="tfa", beam_size=3, num_hypotheses=3)
    assert len(found) == 3
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)


def test_requests_with_different_options_agree_with_each_alone(client: TestClient) -> None:
    whole = hypotheses(client, text="the cat sat. we like tea.", beam_size=2, num_hypotheses=2, num_alternatives=2)
    for start, text in ((0, "the cat sat."), (1, "we like tea.")):
        alone = hypotheses(client, text=text, beam_size=2, num_hypotheses=2, num_alternatives=2)
        for one, other in zip(whole, alone, strict=True):
            assert one["sentences"][start]["log_prob"] == pytest.approx(other["log_prob"], abs=1e-5)
