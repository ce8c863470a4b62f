"""Watching a service from outside: single requests now and then, and its memory over time."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.benchmark.figures import settled_after
from tests.benchmark.services import proportional_memory_mb

PROBE_EVERY_S: Final = 0.05
NORMAL_IN_A_ROW: Final = 5
HTTP_OK: Final = 200


class Probe:
    """One client that sends the same request again and again, over one connection.

    Args:
        port: on the loopback interface.
        body: of `POST /translate`.
        timeout_s: after which a request counts as failed.
    """

    def __init__(self, port: int, body: str, timeout_s: float = 30.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self._body = body

    def send(self) -> tuple[bool, float]:
        """Sends one request; returns whether it was answered with 200, and how many seconds it took."""
        start = time.perf_counter()
        try:
            self._connection.request("POST", "/translate", self._body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            response.read()
            succeeded = response.status == HTTP_OK
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens it anew
            succeeded = False
        return succeeded, time.perf_counter() - start

    def send_paused(self) -> tuple[bool, float]:
        """The same, after a pause."""
        time.sleep(PROBE_EVERY_S)
        return self.send()

    def seconds_until_normal(self, normal_s: float, since: float, give_up_s: float) -> float | None:
        """Probes until answers take no longer than `normal_s`, several times in a row.

        Args:
            normal_s: the longest duration that is normal.
            since: a time of `time.perf_counter`, from which is counted.
            give_up_s: after so many seconds.

        Returns:
            When the first of these probes was sent, or None if it has not come to that.
        """
        times: list[float] = []
        are_normal: list[bool] = []
        while time.perf_counter() < since + give_up_s:
            time.sleep(PROBE_EVERY_S)
            times.append(time.perf_counter() - since)
            succeeded, duration = self.send()
            are_normal.append(succeeded and duration <= normal_s)
            settled = settled_after(times, are_normal, NORMAL_IN_A_ROW)
            if settled is not None:
                return settled
        return None


@contextmanager
def watched_memory(pid: int, every_s: float) -> Iterator[list[float]]:
    """Samples the PSS of a service's processes in a thread, in megabytes, into the list that it gives."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(every_s):
            samples.append(proportional_memory_mb(pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
