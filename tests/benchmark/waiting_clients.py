"""Clients that wait when they are refused, in a process of their own: what `wrk` cannot do.

`python -m tests.benchmark.waiting_clients PLAN`, a `Plan` in JSON, prints an `Outcome` in JSON. Answers are counted and
not looked into, on uvloop's bare protocols, so that hundreds of clients take a small part of a core; the outcome says
how much.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, cast

import uvloop

from tests.benchmark.figures import Latency

OK: Final = 200
REFUSED: Final = 503
FAILED: Final = 0
"""Stands for a connection that broke."""

_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What the clients do.

    Attributes:
        port: on the loopback interface.
        clients: connections; each sends its next request when the last is answered.
        bodies: file with a request body on each line; sent in turns.
        start_at: when the first requests are sent, a time of `time.perf_counter`, whose clock all processes share.
        seconds: how long requests are sent; what is under way then is waited for.
        refusal_wait_s: how long a client waits after a 503.
        answer_wait_s: how long the last answers are waited for.
    """

    port: int
    clients: int
    bodies: str
    start_at: float
    seconds: float
    refusal_wait_s: float = 0.1
    answer_wait_s: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came back.

    Attributes:
        answered: requests with status 200 within the planned seconds.
        seconds: the plan's.
        accepted: latencies of all requests with status 200.
        refused: likewise of those with 503.
        statuses: how many answers had which status, 0 for broken connections.
        unanswered: requests that had no answer in the end.
        client_cores: processor time that the clients took while requests were sent.
    """

    answered: int
    seconds: float
    accepted: Latency
    refused: Latency
    statuses: dict[int, int]
    unanswered: int
    client_cores: float

    @property
    def requests_per_s(self) -> float:
        """Answered with status 200."""
        return self.answered / self.seconds

    @property
    def failures(self) -> int:
        """Answers that are neither 200 nor 503, and broken connections."""
        return sum(count for status, count in self.statuses.items() if status not in (OK, REFUSED))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Undoes `json.dumps(asdict(outcome))`."""
        values = json.loads(text)
        values["accepted"], values["refused"] = (Latency(**values[name]) for name in ("accepted", "refused"))
        values["statuses"] = {int(status): count for status, count in values["statuses"].items()}
        return cls(**values)


class AnswerReader:
    """Recognises the ends of HTTP/1.1 answers that declare their length."""

    def __init__(self) -> None:
        self._head = b""
        self._status = 0
        self._missing = 0

    def read(self, data: bytes) -> int | None:
        """Takes what has arrived; returns the status when the answer is complete.

        Raises:
            ValueError: this is no such answer.
        """
        if not self._status:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return None
            status, length = _STATUS.match(head), _LENGTH.search(head)
            if status is None or length is None:
                raise ValueError("an answer without status or content-length")
            self._status, self._missing, data = int(status.group(1)), int(length.group(1)), body
        self._missing -= len(data)
        if self._missing > 0:
            return None
        complete, self._status, self._head = self._status, 0, b""
        return complete


@dataclass
class Tally:
    """Collects answers."""

    end: float
    answered: int = 0
    durations_s: dict[int, list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    def count(self, status: int, start: float, now: float) -> None:
        """Notes an answer to a request that was sent at `start`."""
        self.statuses[status] += 1
        self.durations_s.setdefault(status, []).append(now - start)
        self.answered += status == OK and now <= self.end


class Client(asyncio.Protocol):
    """One connection that sends requests one after the other until the time is over, and opens anew if it breaks.

    Args:
        next_request: gives the bytes of a request.
        tally: counts answers.
        refusal_wait_s: as in the plan.
        ended: called with the client when it has no more to send.
    """

    def __init__(
        self, next_request: Callable[[], bytes], tally: Tally, refusal_wait_s: float, ended: Callable[[Client], None]
    ) -> None:
        self._next_request = next_request
        self._tally = tally
        self._refusal_wait_s = refusal_wait_s
        self._ended = ended
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._sent_at: float | None = None

    @property
    def waits_for_answer(self) -> bool:
        """Whether a request is under way."""
        return self._sent_at is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._send()

    def data_received(self, data: bytes) -> None:
        """Counts an answer when it is complete, and goes on at once or, refused, later."""
        status = self._reader.read(data)
        if status is None or self._sent_at is None:
            return
        self._tally.count(status, self._sent_at, time.perf_counter())
        self._sent_at = None
        if status == REFUSED:
            asyncio.get_running_loop().call_later(self._refusal_wait_s, self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts a request that was under way as failed."""
        if self._sent_at is not None:
            self._tally.count(FAILED, self._sent_at, time.perf_counter())
            self._sent_at = None
        self._ended(self)

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        now = time.perf_counter()
        if self._transport is None or self._transport.is_closing():
            return
        if now >= self._tally.end:
            self._transport.close()
            return
        self._sent_at = now
        self._transport.write(self._next_request())


class Crowd:
    """All clients of a plan.

    Args:
        plan: what they do.
        requests: whole requests, sent in turns.
    """

    def __init__(self, plan: Plan, requests: Sequence[bytes]) -> None:
        self._plan = plan
        self._requests = itertools.cycle(requests)
        self._tally = Tally(end=plan.start_at + plan.seconds)
        self._clients: set[Client] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        """Carries out the plan."""
        plan, tally = self._plan, self._tally
        await asyncio.sleep(plan.start_at - time.perf_counter())
        before = _cpu_s()
        for _ in range(plan.clients):
            self._add_client()
        await asyncio.sleep(tally.end - time.perf_counter())
        cores = (_cpu_s() - before) / plan.seconds
        unanswered = await self._wait_for_answers(tally.end + plan.answer_wait_s)
        for client in tuple(self._clients):
            client.close()
        accepted, refused = (Latency.of(tally.durations_s.get(status, ())) for status in (OK, REFUSED))
        return Outcome(tally.answered, plan.seconds, accepted, refused, dict(tally.statuses), unanswered, cores)

    async def _wait_for_answers(self, give_up_at: float) -> int:
        """Waits for what is under way; returns how many answers are missing when the time is over."""
        while any(client.waits_for_answer for client in self._clients) and time.perf_counter() < give_up_at:
            await asyncio.sleep(0.01)
        return sum(client.waits_for_answer for client in self._clients)

    def _add_client(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        """Opens a connection, trying again and again as long as requests are sent."""
        client = Client(lambda: next(self._requests), self._tally, self._plan.refusal_wait_s, self._replace)
        while time.perf_counter() < self._tally.end:
            try:
                await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", self._plan.port)
            except OSError:
                self._tally.statuses[FAILED] += 1
                await asyncio.sleep(self._plan.refusal_wait_s)
            else:
                self._clients.add(client)
                return

    def _replace(self, client: Client) -> None:
        """Takes note that a connection has ended; a new one takes its place while requests are sent."""
        self._clients.discard(client)
        if time.perf_counter() < self._tally.end:
            self._add_client()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def read_requests(bodies: Path, port: int) -> list[bytes]:
    """Whole requests, ready to be sent."""
    head = f"POST /translate HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    return [
        f"{head}{len(body)}\r\n\r\n".encode() + body
        for body in (line.encode() for line in bodies.read_text(encoding="utf-8").splitlines())
    ]


def main() -> None:
    """Reads the plan, raises the limit on open files as far as it goes, and prints the outcome."""
    plan = Plan(**json.loads(sys.argv[1]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    outcome = uvloop.run(Crowd(plan, read_requests(Path(plan.bodies), plan.port)).run())
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
