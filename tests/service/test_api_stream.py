"""`POST /translate/stream`: what comes when, and that it adds up to the answer of `POST /translate`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.schemas import ProblemModel
from tests.service import two_mechanisms
from tests.service.api_client import check_problem, running_app
from tests.service.stream_client import OpenRequest, check_stream, of_kind, read_events, stepped_app, until

TEXT = "The cat sat. We like tea! "
TEXTS = [TEXT, "", "a dog ran"]
LENGTHS = {"min_decoding_length": 6, "max_decoding_length": 6}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models")) as (client, _):
        yield client


def stream(client: TestClient, body: dict[str, Any]) -> list[Any]:
    answer = client.post("/translate/stream", json=body)
    assert answer.status_code == 200, answer.text
    return read_events(answer.text)


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1},
        {"beam_size": 1, "num_alternatives": 3, "replace_unknowns": True},
        {"beam_size": 1, "alignment": "hard"},
        {"beam_size": 1, "alignment": "none", "return_scores": False},
        {"beam_size": 4, "num_hypotheses": 3, "num_alternatives": 2},
        {"beam_size": 3, "coverage_penalty": 0.3, "repetition_penalty": 1.3, "replace_unknowns": True},
        {"sampling_top_k": 5, "seed": 3},
        {"sampling_top_k": 5, "seed": 3, "num_hypotheses": 3},
        {"beam_size": 3, "search_mode": "tfa"},
    ],
)
def test_the_events_add_up_to_the_answer(client: TestClient, options: dict[str, Any]) -> None:
    body = {"text": TEXTS, "max_decoding_length": 12} | options
    check_stream(stream(client, body), client.post("/translate", json=body).json())


def test_rows_of_every_mechanism_come_with_their_token(tmp_path: Path) -> None:
    with running_app(tmp_path, two_mechanisms.write_two_mechanisms) as (client, _):
        body = {"text": TEXT, "max_decoding_length": 8}
        events = stream(client, body)
        check_stream(events, client.post("/translate", json=body).json())
        assert len(of_kind(events, "token")[0]["other_attentions"]) == 1


def test_a_sentence_comes_as_though_it_were_the_whole_text(client: TestClient) -> None:
    body = {"text": TEXT, "max_decoding_length": 8}
    for data, sentence in zip(
        sorted(of_kind(stream(client, body), "sentence"), key=lambda each: each["sentence_index"]),
        ("The cat sat.", "We like tea!"),
        strict=True,
    ):
        [alone] = client.post("/translate", json=body | {"text": sentence}).json()["translations"]
        assert data["translation"] == alone


def test_a_prefix_is_told_of_as_well(client: TestClient) -> None:
    body = {"text": "a dog ran", "target_prefix": "tea dog", "max_decoding_length": 12}
    check_stream(stream(client, body), client.post("/translate", json=body).json())


def test_nothing_streams_to_nothing(client: TestClient) -> None:
    assert [name for name, _ in stream(client, {"text": []})] == ["done"]
    assert [name for name, _ in stream(client, {"text": ["", " "]})] == ["source", "source", "done"]


def test_neither_caches_nor_proxies_hold_events_back(client: TestClient) -> None:
    headers = client.post("/translate/stream", json={"text": "a", "max_decoding_length": 2}).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers


def test_what_is_wrong_with_a_request_is_an_ordinary_problem(client: TestClient) -> None:
    check_problem(client.post("/translate/stream", json={}), 422, "invalid-request", "text")
    check_problem(client.post("/translate/stream", json={"text": "a", "model": "x"}), 404, "model-not-found", "model")
    check_problem(client.post("/translate/stream", content=b"{}"), 415, "unsupported-media-type")
    check_problem(client.post("/translate/stream", json={"text": "a#" * 49}), 413, "text-too-long", "text")


def test_the_openapi_document_describes_every_event(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/translate/stream"]["post"]
    assert operation["requestBody"] == document["paths"]["/translate"]["post"]["requestBody"]
    assert operation["responses"].keys() == document["paths"]["/translate"]["post"]["responses"].keys()
    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]
    schemas = document["components"]["schemas"]
    described = {}
    for reference in schemas["StreamEventModel"]["oneOf"]:
        event = schemas[reference["$ref"].rpartition("/")[2]]["properties"]
        described[event["event"]["const"]] = event["data"]["contentSchema"]["$ref"].rpartition("/")[2]
    assert described == {
        "source": "SourceData",
        "token": "TokenData",
        "sentence": "SentenceData",
        "done": "TranslateResponse",
        "error": "ProblemModel",
    }
    assert set(described.values()) < schemas.keys()


def test_a_token_of_greedy_search_comes_with_its_step(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            request = OpenRequest(app, {"text": "a dog ran", "beam_size": 1, "target_prefix": "tea"} | LENGTHS)
            backend.allow(1)
            await until(lambda: len(of_kind(request.events, "token")) == 1)
            assert [data["added"] for data in of_kind(request.events, "token")] == ["t"]
            assert backend.steps == 1
            backend.allow(1)
            await until(lambda: len(of_kind(request.events, "token")) == 2)
            assert [data["added"] for data in of_kind(request.events, "token")] == ["t", "ea"]
            assert backend.steps == 2
            backend.allow()
            await request.done
            assert request.events[-1][0] == "done"

    asyncio.run(test())


def test_a_beam_tells_what_its_hypotheses_share(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            request = OpenRequest(app, {"text": "a dog ran", "beam_size": 4, "target_prefix": "tea"} | LENGTHS)
            backend.allow(2)
            await until(lambda: len(of_kind(request.events, "token")) == 2)  # the prefix
            backend.allow(1)
            await until(lambda: backend.steps == 3)
            await asyncio.sleep(0.02)
            assert len(of_kind(request.events, "token")) == 2  # what follows it is open
            backend.allow()
            await request.done
            assert [name for name, _ in request.events][-2:] == ["sentence", "done"]

    asyncio.run(test())


def test_sentences_come_in_the_order_in_which_they_are_done(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path, max_live_rows=1) as (app, backend):
            backend.allow()
            request = OpenRequest(app, {"text": TEXT, "beam_size": 1, "max_decoding_length": 4})
            await request.done
            kinds = [name for name, _ in request.events if name != "token"]
            assert kinds == ["source", "sentence", "sentence", "done"]
            places = [data["sentence_index"] for name, data in request.events if name in ("token", "sentence")]
            assert places == sorted(places)  # one row: the second begins when the first is done
            first = [name for name, _ in request.events].index("sentence")
            assert all(data["sentence_index"] == 0 for name, data in request.events[1 : first + 1])

    asyncio.run(test())


def test_a_failure_after_the_beginning_is_the_last_event(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            request = OpenRequest(app, {"text": "a dog ran", "beam_size": 1} | LENGTHS)
            backend.allow(1)
            await until(lambda: bool(request.events))
            backend.broken = True
            backend.allow()
            await request.done
            name, problem = request.events[-1]
            assert (request.status, name) == (200, "error")
            assert ProblemModel.model_validate_json(json.dumps(problem)).status == 500
            assert problem["type"] == "urn:interlinear:problem:decoding-failed"
            assert "secret" not in json.dumps(problem)
            metrics = app.state.service.metrics.render().decode()
            assert 'interlinear_problems_total{problem="decoding-failed"} 1.0' in metrics

    asyncio.run(test())


def test_a_failure_before_the_beginning_is_an_ordinary_problem(tmp_path: Path) -> None:
    with running_app(tmp_path) as (client, backend):
        backend.broken = True
        check_problem(client.post("/translate/stream", json={"text": "a cat"}), 500, "decoding-failed")


def test_a_defect_while_streaming_says_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("pr1vate")

    monkeypatch.setattr("service.api.streaming.translate_answer", fail)
    with running_app(tmp_path) as (client, _):
        events = stream(client, {"text": "a cat", "max_decoding_length": 3})
        assert (events[-1][0], events[-1][1]["status"]) == ("error", 500)
        assert "pr1vate" not in json.dumps(events[-1])


def test_a_deadline_ends_a_stream_with_an_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path, max_request_s=0.1) as (app, backend):
            request = OpenRequest(app, {"text": "a dog ran"} | LENGTHS)
            backend.allow(1)
            await request.done
            assert request.events[-1][1]["type"] == "urn:interlinear:problem:overloaded"

    asyncio.run(test())
