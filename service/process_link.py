"""What one of several processes and the supervisor tell each other, and the process's end of the line.

The supervisor's own part is in `service.supervisor`.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

from service.metrics_merge import Families, FamiliesByProcess
from service.processes import Place

OTHERS_ANSWER_WITHIN_S: Final = 1.0


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
class Question:
    """A process asks the others for their metrics, and tells its own; the supervisor passes the question on."""

    asker: int
    question: int
    families: Families


@dataclass(frozen=True, slots=True)
class Known:
    """To a process that asked: what the others last said, and which of them are asked now."""

    question: int
    families: FamiliesByProcess
    asked: frozenset[int]


@dataclass(frozen=True, slots=True)
class Answer:
    """From a process to the one that asked; the supervisor passes it on."""

    asker: int
    question: int
    process: int
    families: Families


Message: TypeAlias = Ready | Failed | Listen | Listening | Question | Known | Answer


@dataclass(slots=True)
class _Inquiry:
    families: dict[int, Families] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


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
        self._inquiries: dict[int, _Inquiry] = {}
        self._collect: Callable[[], Families] = list
        self._asked = 0

    def open(self, collect: Callable[[], Families]) -> None:
        """Begins to hear what comes, in the event loop; `collect` gives this process's metrics, in any thread."""
        self._collect = collect
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._hear, args=(loop,), name="supervisor-link", daemon=True).start()

    async def wait_for_others(self) -> None:
        """Says that this process is ready, and waits until all are."""
        self._send(Ready())
        await self._may_listen.wait()

    def note_listening(self) -> None:
        """Says that this process takes connections."""
        self._send(Listening())

    async def ask_others(self) -> list[Families]:
        """The metrics of the other processes: as last known of one that does not answer in time or has ended."""
        self._asked += 1
        question = self._asked
        inquiry = self._inquiries[question] = _Inquiry()
        self._send(Question(self.place.number, question, self._collect()))
        try:
            async with asyncio.timeout(OTHERS_ANSWER_WITHIN_S):
                await inquiry.complete.wait()
        except TimeoutError:
            pass  # what is known will do
        finally:
            del self._inquiries[question]
        return list(inquiry.families.values())

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answers questions, however busy the event loop is, and passes the rest on to it."""
        try:
            while True:
                message: Message = self._connection.recv()
                if isinstance(message, Question):
                    self._send(Answer(message.asker, message.question, self.place.number, self._collect()))
                else:
                    loop.call_soon_threadsafe(self._take, message)
        except (EOFError, OSError, pickle.UnpicklingError):
            pass  # the supervisor has ended
        except RuntimeError:
            pass  # the event loop has ended, and the process is about to
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # whatever it was: who does not hear must not serve

    def _take(self, message: Message) -> None:
        match message:
            case Listen():
                self._may_listen.set()
            case Known(question, families, asked) if question in self._inquiries:
                inquiry = self._inquiries[question]
                inquiry.families.update(families)
                inquiry.missing.update(asked)
                self._look_whether_complete(inquiry)
            case Answer(question=question, process=process, families=families) if question in self._inquiries:
                inquiry = self._inquiries[question]
                inquiry.families[process] = families
                inquiry.missing.discard(process)
                self._look_whether_complete(inquiry)

    def _look_whether_complete(self, inquiry: _Inquiry) -> None:
        if not inquiry.missing:
            inquiry.complete.set()

    def _send(self, message: Message) -> None:
        with self._sending:
            send(self._connection, message)


def send(connection: Connection, message: Message) -> None:
    """Sends a message; nothing happens if nobody is there any more, or has long read nothing: nobody waits for that.

    A line takes some hundred kilobytes before it is full, which is much more than a message has.
    """
    try:
        line = select.poll()
        line.register(connection, select.POLLOUT)
        if line.poll(0):
            connection.send(message)
    except OSError:
        pass
