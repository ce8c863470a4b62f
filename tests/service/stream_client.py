"""Streams of events: taken apart, held against the answer, and read while they come."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from service.api.stream_schemas import SentenceData, SourceData, TokenData
from service.decoding.backend import StepOutput
from service.main import create_app
from tests.service.api_client import PATIENCE_S, ControlledBackend, tiny_settings
from tests.service.tiny_bundle import write_bundle

Event = tuple[str, dict[str, Any]]

SCHEMAS = {"source": SourceData, "token": TokenData, "sentence": SentenceData}


def read_events(body: str) -> list[Event]:
    """The events of a stream, or of its beginning."""
    events: list[Event] = []
    for block in body.split("\n\n")[:-1]:
        [name, data] = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def of_kind(events: list[Event], kind: str, *place: int) -> list[dict[str, Any]]:
    """The data of the events of a kind, of all texts or of those with these indices of text and sentence."""
    indices = dict(zip(("text_index", "sentence_index"), place, strict=False))
    return [data for name, data in events if name == kind and indices.items() <= data.items()]


def check_stream(events: list[Event], answer: dict[str, Any]) -> None:
    """Checks every event of a whole stream against the answer of `POST /translate`."""
    for name, data in events:
        if name in SCHEMAS:
            SCHEMAS[name].model_validate_json(json.dumps(data))
    assert events[-1] == ("done", answer)
    kinds = [name for name, _ in events]
    assert kinds.count("done") == 1
    assert kinds[: len(answer["translations"])] == ["source"] * len(answer["translations"])
    assert kinds.count("source") == len(answer["translations"])
    assert kinds.count("sentence") == sum(len(each["source"]["sentences"]) for each in answer["translations"])
    for index, translation in enumerate(answer["translations"]):
        [source] = of_kind(events, "source", index)
        best = translation["hypotheses"][0]
        assert source["source"] == translation["source"]
        assert source["sentences"] == [sentence["source"] for sentence in best["sentences"]]
        for number, sentence in enumerate(best["sentences"]):
            [done] = of_kind(events, "sentence", index, number)
            check_sentence(of_kind(events, "token", index, number), done["translation"], best, sentence["target"])


def check_sentence(
    tokens: list[dict[str, Any]], alone: dict[str, Any], best: dict[str, Any], place: dict[str, Any]
) -> None:
    """Checks a sentence's tokens, and its translation alone, against the translation of the whole text."""
    hypothesis = alone["hypotheses"][0]
    start = place["start"]
    assert "".join(token["added"] for token in tokens) == hypothesis["text"] == best["text"][start : place["end"]]
    assert [token["token_index"] for token in tokens] == list(range(len(tokens)))
    assert [token["token"] for token in tokens] == hypothesis["tokens"]
    moved = [each["token"] | {key: each["token"][key] + start for key in ("start", "end")} for each in tokens]
    assert moved == best["tokens"][slice(*place["tokens"])]
    alignment = hypothesis["alignment"]
    rows = [None] * len(tokens) if alignment is None or alignment["tokens"] is None else alignment["tokens"]
    assert [token["attention"] for token in tokens] == rows
    others = [] if rows[0] is None else hypothesis["other_alignments"]
    for token in tokens:
        expected = [(each["mechanism"], each["normalized"], each["tokens"][token["token_index"]]) for each in others]
        found = [(each["mechanism"], each["normalized"], each["attention"]) for each in token["other_attentions"]]
        assert found == expected


class SteppedBackend(ControlledBackend):
    """The tiny bundle's own backend; after `stop()` it takes a step only when one is allowed."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(bundle)
        self._permits: threading.Semaphore | None = None

    def stop(self) -> None:
        self.steps = 0
        self._permits = threading.Semaphore(0)

    def allow(self, steps: int = 10_000) -> None:
        assert self._permits is not None
        self._permits.release(steps)

    def decode_step(self, *arguments: Any) -> StepOutput:
        if self._permits is not None and not self._permits.acquire(timeout=PATIENCE_S):
            raise TimeoutError
        return super().decode_step(*arguments)


class OpenRequest:
    """A request to an app, without a server: its answer is read as it comes, and its client can go away.

    Attributes:
        status: of the answer, once it has begun.
        headers: likewise.
        done: the app has nothing to do for it any more.
        reads: whether the client reads; while it does not, the app's sending waits.
    """

    def __init__(self, app: Any, body: dict[str, Any], path: str = "/translate/stream") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.reads = asyncio.Event()
        self.reads.set()
        self._content = b""
        self._leaves = asyncio.Event()
        self._request = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}
        self.done = asyncio.create_task(app(scope, self._receive, self._send))

    def leave(self) -> None:
        self._leaves.set()

    @property
    def events(self) -> list[Event]:
        """The events that have come so far."""
        return read_events(self._content.decode())

    @property
    def problem(self) -> dict[str, Any]:
        """The answer, if it is a problem."""
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self._content)  # type: ignore[no-any-return]

    async def _receive(self) -> dict[str, Any]:
        if self._request:
            return self._request.pop()
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self._content += message["body"]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that comes soon."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def stepped_app(directory: Path, **values: Any) -> AsyncIterator[tuple[Any, SteppedBackend]]:
    """A started app on the tiny bundle whose steps must be allowed, and its backend; `values` are settings."""
    backend = SteppedBackend(write_bundle(directory / "tiny"))
    app = create_app(tiny_settings(directory, **values), backend)
    async with app.router.lifespan_context(app):
        backend.stop()
        try:
            yield app, backend
        finally:
            backend.allow()
