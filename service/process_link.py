"""What one of several processes and the supervisor tell each other, and the process's end of the line.

The supervisor's own part is in `service.supervisor`.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

from prometheus_client.core import Metric

from service.processes import Place

OTHERS_ANSWER_WITHIN_S: Final = 1.0

Families: TypeAlias = list[Metric]


@dataclass(frozen=True, slots=True)
class Ready:
    """From a process: it has loaded its models, and could listen."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From a process: it cannot start."""

    problem: str


@dataclass(frozen=True, slots=True)
class Listen:
    """To a process: all are ready, it shall listen."""


@dataclass(frozen=True, slots=True)
class Listening:
    """From a process: it listens."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A process asks the others for their metrics; the supervisor passes question and answers on."""

    asker: int
    question: int
    families: Families | None = None


Message: TypeAlias = Ready | Failed | Listen | Listening | Counts


class ProcessLink:
    """A process's end of the line to its supervisor. Without supervisor there is nobody to serve for: it ends itself.

    Args:
        connection: the line.
        place: the process's.
    """

    def __init__(self, connection: Connection, place: Place) -> None:
        self.place = place
        self._connection = connection
        self._sending = threading.Lock()
        self._may_listen = asyncio.Event()
        self._questions: dict[int, list[Families]] = {}
        self._answered = asyncio.Condition()
        self._collect: Callable[[], Families] = list
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = 0

    def open(self, collect: Callable[[], Families]) -> None:
        """Begins to hear what comes; `collect` gives this process's metrics. Called in the event loop."""
        self._collect = collect
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._hear, args=(loop,), name="supervisor-link", daemon=True).start()

    async def wait_for_others(self) -> None:
        """Says that this process is ready, and waits until all are."""
        await self._send(Ready())
        await self._may_listen.wait()

    async def note_listening(self) -> None:
        """Says that this process takes connections."""
        await self._send(Listening())

    async def ask_others(self) -> list[Families]:
        """The metrics of the other processes; of those that do not answer in time there are none."""
        self._asked += 1
        question, answers = self._asked, self._questions.setdefault(self._asked, [])
        await self._send(Counts(self.place.number, question))
        try:
            async with asyncio.timeout(OTHERS_ANSWER_WITHIN_S), self._answered:
                await self._answered.wait_for(lambda: len(answers) == self.place.processes - 1)
        except TimeoutError:
            pass  # one is just being started again
        del self._questions[question]
        return answers

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """Passes on to the event loop what comes; it must always be read at once, or the supervisor would wait."""
        try:
            while True:
                message: Message = self._connection.recv()
                loop.call_soon_threadsafe(self._start_handling, message)
        except (EOFError, OSError, pickle.UnpicklingError):
            os.kill(os.getpid(), signal.SIGTERM)
        except RuntimeError:
            pass  # the event loop has ended, and the process is about to

    def _start_handling(self, message: Message) -> None:
        task = asyncio.ensure_future(self._handle(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, message: Message) -> None:
        match message:
            case Listen():
                self._may_listen.set()
            case Counts(families=None):
                await self._send(replace(message, families=self._collect()))
            case Counts(question=question, families=families) if families is not None:
                async with self._answered:
                    self._questions.get(question, []).append(families)
                    self._answered.notify_all()

    async def _send(self, message: Message) -> None:
        await asyncio.to_thread(send, self._connection, message, self._sending)


def send(connection: Connection, message: Message, lock: threading.Lock | None = None) -> None:
    """Sends a message; nothing happens if nobody is there any more."""
    try:
        with lock or threading.Lock():
            connection.send(message)
    except OSError:
        pass
