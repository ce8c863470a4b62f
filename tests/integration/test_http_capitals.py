"""Sentences in capitals on the bundle that comes with the package: what the same text in lower case gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.capitals import to_capitals, to_lower_case
from service.main import create_app
from service.settings import Settings

QUESTION = "WHERE IS THE STATION?"
SENTENCES = [QUESTION, "I LIKE TEA.", "TOM DOESN'T SPEAK FRENCH.", "THE BOOK IS ON THE TABLE.", "WE HAVE 2 CATS."]
LONG = "WE WENT TO THE STATION, AND THE MAN WHO SOLD THE TICKETS TOLD US, AS HE HAD TOLD US BEFORE, " * 2 + "TO WAIT."


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings())) as client:
        yield client


def ask(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json={"model": "eng-fra"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def translate(client: TestClient, text: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The source and the best hypothesis of the answer."""
    [translation] = ask(client, "/translate", text=text, **options)["translations"]
    return translation["source"], translation["hypotheses"][0]


def in_capitals(side: dict[str, Any]) -> dict[str, Any]:
    """A side of an answer with its text and words in capitals; tokens keep their pieces."""
    words = [word | {"text": to_capitals(word["text"])} for word in side["words"]]
    return side | {"text": to_capitals(side["text"]), "words": words}


@pytest.mark.parametrize("text", SENTENCES)
def test_capitals_are_translated_as_lower_case_is(client: TestClient, text: str) -> None:
    source, best = translate(client, text)
    same_source, same = translate(client, to_lower_case(text))
    assert source["text"] == text
    assert source == in_capitals(same_source)
    assert best == in_capitals(same)


def test_the_question_makes_sense_and_its_ranges_hold(client: TestClient) -> None:
    source, best = translate(client, QUESTION)
    assert [word["text"] for word in source["words"]] == ["WHERE", "IS", "THE", "STATION", "?"]
    assert [token["text"] for token in source["tokens"]][:2] == ["▁where", "▁is"]
    assert "GARE" in [word["text"] for word in best["words"]]
    for side in (source, best):
        assert all(side["text"][word["start"] : word["end"]] == word["text"] for word in side["words"])
        tokens = [token for token in side["tokens"] if not token["special"]]
        covered = [side["text"][token["start"] : token["end"]] for token in tokens]
        assert covered == [to_capitals(token["text"].removeprefix("▁")) for token in tokens]
    station, gare = (
        [word["text"] for word in side["words"]].index(text) for side, text in ((source, "STATION"), (best, "GARE"))
    )
    assert (station, gare) in [(link["source"], link["target"]) for link in best["alignment"]["links"]]


def test_no_part_of_a_long_sentence_comes_out_in_lower_case(client: TestClient) -> None:
    source, best = translate(client, LONG)
    assert len(source["sentences"]) > 1
    assert source["text"] == LONG
    assert best["text"] == to_capitals(best["text"])
    assert all(token["text"] == to_lower_case(token["text"]) for token in source["tokens"])


def test_a_prefix_goes_on_in_capitals(client: TestClient) -> None:
    _, best = translate(client, QUESTION, target_prefix="MAIS OÙ")
    _, same = translate(client, to_lower_case(QUESTION), target_prefix="mais où")
    assert best["text"].startswith("MAIS OÙ ")
    assert best == in_capitals(same)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_stream_adds_up_to_the_answer(client: TestClient, beam_size: int) -> None:
    body = {"text": f"{QUESTION} I like tea.", "model": "eng-fra", "beam_size": beam_size}
    stream = client.post("/translate/stream", json=body).text
    events = [dict(line.split(": ", 1) for line in event.split("\n")) for event in stream.split("\n\n") if event]
    tokens = [json.loads(event["data"]) for event in events if event["event"] == "token"]
    added = ["".join(each["added"] for each in tokens if each["sentence_index"] == index) for index in (0, 1)]
    _, best = translate(client, body["text"], beam_size=beam_size)
    assert " ".join(added) == best["text"]
    assert added[0] == added[0].upper()
    assert added[1] != added[1].upper()


def test_a_given_pair_is_aligned_as_in_lower_case(client: TestClient) -> None:
    target = "OÙ EST LA GARE ?"
    [pair] = ask(client, "/align", source=QUESTION, target=target)["pairs"]
    [same] = ask(client, "/align", source=to_lower_case(QUESTION), target=to_lower_case(target))["pairs"]
    assert pair == {side: in_capitals(same[side]) for side in ("source", "target")}
    assert pair["target"]["alignment"]["pharaoh"] == "0-0 1-1 2-2 3-3 4-4"
