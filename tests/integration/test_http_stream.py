"""Streams over real HTTP, with the built-in model: they add up to the answer, and stop when the client does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import uvicorn

from service.main import create_app
from service.settings import Settings
from tests.service.stream_client import Event, check_stream, of_kind, read_events

PATIENCE_S = 30
TEXTS = [
    "  Where is the station? I don't know…\n\nDr. Łukasz Nowak likes tea, doesn't he?",
    "",
    "We have been waiting for you since eight o'clock this morning.",
    "Thank you! 😀",
]

LONG = {"min_decoding_length": 500, "max_decoding_length": 500}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(Settings()), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def metric(address: str, name: str) -> float:
    text = httpx2.get(f"{address}/metrics").text
    [value] = re.findall(rf'^interlinear_{name}{{.*model="eng-fra".*}} (\S+)$', text, re.MULTILINE)
    return float(value)


def both(address: str, body: dict[str, Any]) -> tuple[list[Event], dict[str, Any]]:
    """The events of a stream, and the answer to the same request."""
    with httpx2.stream("POST", f"{address}/translate/stream", json=body, timeout=PATIENCE_S) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        content = b"".join(answer.iter_bytes()).decode()
    plain = httpx2.post(f"{address}/translate", json=body, timeout=PATIENCE_S)
    return read_events(content), plain.json()


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1, "replace_unknowns": True},
        {"beam_size": 4, "num_hypotheses": 2, "num_alternatives": 2},
        {"sampling_top_k": 10, "seed": 7},
        {"beam_size": 4, "search_mode": "tfa"},
    ],
)
def test_streams_add_up_to_the_answer(address: str, options: dict[str, Any]) -> None:
    events, answer = both(address, {"text": TEXTS} | options)
    check_stream(events, answer)


def test_tokens_come_before_the_end(address: str) -> None:
    body = {"text": "I like tea.", "beam_size": 1} | LONG
    with httpx2.stream("POST", f"{address}/translate/stream", json=body, timeout=PATIENCE_S) as answer:
        chunks = [chunk.decode() for chunk in answer.iter_bytes()]
    assert "event: token" in chunks[1]  # the first chunk may be the source alone: a step later comes a token's row
    assert not any("event: sentence" in chunk for chunk in chunks[:2])
    assert len(of_kind(read_events("".join(chunks)), "token")) == LONG["min_decoding_length"]


def test_closing_the_connection_frees_the_rows(address: str) -> None:
    body = {"text": ["I like tea."] * 30, "beam_size": 4} | LONG
    sentences = metric(address, "sentences_total")
    with httpx2.stream("POST", f"{address}/translate/stream", json=body, timeout=PATIENCE_S) as answer:
        chunks = answer.iter_text()  # closes the connection when it is forgotten
        assert "event: source" in next(chunks)
        assert metric(address, "live_rows") > 0
    wait_until(lambda: metric(address, "live_rows") + metric(address, "queue_length") == 0)
    assert metric(address, "sentences_total") == sentences
