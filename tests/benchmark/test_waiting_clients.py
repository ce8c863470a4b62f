from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.benchmark.figures import Latency
from tests.benchmark.waiting_clients import AnswerReader, Crowd, Outcome, Plan, read_requests

BODY = b'{"detail": "x"}'


def answer(status: int, body: bytes = BODY) -> bytes:
    return b"HTTP/1.1 %d Some Reason\r\nserver: test\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


class FakeService:
    """Answers request after request with the given statuses, the last one for ever; 0 breaks the connection."""

    def __init__(self, *statuses: int) -> None:
        self.times: list[float] = []
        self._statuses = statuses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            status = self._statuses[min(len(self.times), len(self._statuses) - 1)]
            self.times.append(time.perf_counter())
            if status:
                writer.write(answer(status))
            else:
                writer.close()
                return


def run_against(service: FakeService, clients: int = 1, seconds: float = 0.4) -> Outcome:
    async def run() -> Outcome:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await service.serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            plan = Plan(port, clients, "", time.perf_counter(), seconds, refusal_wait_s=0.05)
            outcome = await Crowd(plan, [b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"]).run()
            await asyncio.sleep(0.02)  # for the server to see that the connections have ended
        return outcome

    return asyncio.run(run())


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answers_are_recognised_however_they_arrive(size: int) -> None:
    reader = AnswerReader()
    statuses = []
    for one in (answer(200), answer(503)):
        parts = [one[start : start + size] for start in range(0, len(one), size)]
        statuses += [status for status in map(reader.read, parts) if status is not None]
    assert statuses == [200, 503]


def test_an_answer_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="content-length"):
        AnswerReader().read(b"HTTP/1.1 200 OK\r\n\r\n")


def test_answered_clients_go_on_at_once() -> None:
    service = FakeService(200)
    outcome = run_against(service, clients=3)
    assert outcome.statuses == {200: len(service.times)}
    assert outcome.answered >= 3
    assert outcome.requests_per_s == outcome.answered / 0.4
    assert outcome.failures == outcome.unanswered == 0
    assert 0 < outcome.accepted.p50_ms <= outcome.accepted.p99_ms


def test_refused_clients_wait() -> None:
    service = FakeService(503)
    outcome = run_against(service)
    assert outcome.answered == outcome.failures == 0
    assert outcome.statuses == {503: len(service.times)}
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(service.times))


def test_other_answers_and_broken_connections_count_as_failures() -> None:
    outcome = run_against(FakeService(200, 500, 0, 200))
    assert (outcome.statuses[500], outcome.statuses[0]) == (1, 1)
    assert outcome.failures == 2
    assert outcome.answered > 1  # on a new connection


def test_outcomes_survive_json() -> None:
    outcome = Outcome(3, 2.0, Latency(1, 2, 3), Latency(4, 5, 6), {200: 3, 503: 1}, 0, 0.1)
    assert Outcome.from_json(json.dumps(asdict(outcome))) == outcome


def test_requests_are_complete_http(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text('{"text": "é"}\n{}\n', encoding="utf-8")
    first, second = read_requests(bodies, port=8000)
    assert first.endswith('Content-Length: 14\r\n\r\n{"text": "é"}'.encode())
    assert second.startswith(b"POST /translate HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
