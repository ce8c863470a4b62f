"""Several processes behind one address: started, watched, started again if they die, and stopped together.

Each process is a whole service with a socket of its own on the address; the system shares connections among them
(`SO_REUSEPORT`), and gives none to a process that has died or is being started. Python runs one thread at a time, and
HTTP, text and alignments take as much of it as decoding: one process could not use two cores.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from service.discovery import find_bundles
from service.errors import InterlinearError, StartupError
from service.process_link import Counts, Failed, Listen, Listening, Message, ProcessLink, Ready, send
from service.processes import Place, share_model_counts
from service.server import Address, bind, find_address, run_one_of_several
from service.settings import Settings

logger = logging.getLogger(__name__)

RESTART_DELAY_S: Final = 1.0
LEAVE_WITHIN_S: Final = 5.0
"""Time beyond that for draining after which a process is killed."""

_FORK: Final = multiprocessing.get_context("fork")  # memory that is shared stays shared, as does what is imported


def run_processes(settings: Settings, processes: int) -> None:
    """Serves in several processes until SIGTERM or SIGINT.

    Raises:
        StartupError: the address, another setting or a model bundle cannot be served.
    """
    with bind(find_address(settings.host, settings.port)) as probe:  # fails if anybody else listens there
        address = Address(probe.family, probe.getsockname())
    with bind(address, shared=True), _stop_signals() as stop:  # which keeps the address while processes come and go
        _Supervisor(settings, address, processes).run(stop)


@dataclass(slots=True)
class _Member:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    listening: bool = False


class _Supervisor:
    def __init__(self, settings: Settings, address: Address, processes: int) -> None:
        self._settings = settings
        self._address = address
        self._processes = processes
        self._counts = share_model_counts(len(find_bundles(settings)), processes)
        self._members: dict[int, _Member] = {}
        self._all_ready = self._announced = False

    def run(self, stop: socket.socket) -> None:
        """Until a signal has come, of which `stop` is then readable.

        Raises:
            StartupError: the first start failed.
        """
        try:
            for number in range(self._processes):
                self._start(number)
            while stop not in (events := self._wait(stop)):
                for number, member in list(self._members.items()):
                    if member.connection in events:
                        self._receive(number, member)
                    elif member.process.sentinel in events:
                        self._replace(number, member)
            logger.info("stopping on %s", signal.Signals(stop.recv(1)[0]).name)
        finally:
            self._stop()

    def _wait(self, stop: socket.socket) -> list[object]:
        members = self._members.values()
        lines = [member.connection for member in members if not member.connection.closed]
        events: list[object] = list(wait([stop, *lines, *(member.process.sentinel for member in members)]))
        return events

    def _start(self, number: int) -> None:
        ours, theirs = _FORK.Pipe()
        others = [member.connection for member in self._members.values()]
        place = Place(number, self._processes, self._counts)
        process = _FORK.Process(
            target=_run_member,
            args=(self._settings, self._address, ProcessLink(theirs, place), theirs, [ours, *others]),
            name=f"interlinear-{number}",
        )
        process.start()
        theirs.close()
        self._members[number] = _Member(process, ours)

    def _receive(self, number: int, member: _Member) -> None:
        try:
            message: Message = member.connection.recv()
        except (EOFError, OSError):  # its end follows
            member.connection.close()
            return
        match message:
            case Ready():
                member.ready = True
                self._let_listen(member)
            case Listening():
                member.listening = True
                if all(each.listening for each in self._members.values()) and not self._announced:
                    self._announced = True
                    logger.info("serving on %s with %d processes", self._address, self._processes)
            case Failed(problem):
                if not self._all_ready:
                    raise StartupError(problem)
                logger.error("process %d cannot start again: %s", number, problem)
            case Counts(asker=asker, families=families):
                others = [each for other, each in self._members.items() if other != asker and each.ready]
                for receiver in others if families is None else [self._members[asker]]:
                    send(receiver.connection, message)

    def _let_listen(self, member: _Member) -> None:
        if self._all_ready:
            send(member.connection, Listen())
        elif all(each.ready for each in self._members.values()):
            self._all_ready = True
            for each in self._members.values():
                send(each.connection, Listen())

    def _replace(self, number: int, member: _Member) -> None:
        member.process.join()
        code = member.process.exitcode
        if not self._all_ready:
            raise StartupError(f"process {number} ended with exit code {code} while it started")
        logger.error("process %d ended with exit code %s; another takes its place", number, code)
        member.connection.close()
        time.sleep(RESTART_DELAY_S)
        self._start(number)

    def _stop(self) -> None:
        for member in self._members.values():
            member.process.terminate()
        end = time.monotonic() + self._settings.shutdown_timeout_s + LEAVE_WITHIN_S
        for member in self._members.values():
            member.process.join(max(0.0, end - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()


def _run_member(
    settings: Settings, address: Address, link: ProcessLink, connection: Connection, foreign: list[Connection]
) -> None:
    """What a process does. The supervisor's ends of the lines are closed here: their end must mean the supervisor's."""
    signal.set_wakeup_fd(-1)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.SIG_DFL)
    for each in foreign:
        each.close()
    try:
        run_one_of_several(settings, address, link)
    except InterlinearError as error:
        send(connection, Failed(str(error)))


@contextlib.contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """A socket that holds the number of each signal to stop that has come."""
    stop, wake = socket.socketpair()
    wake.setblocking(False)
    before = {ending: signal.signal(ending, lambda *_: None) for ending in (signal.SIGTERM, signal.SIGINT)}
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    try:
        with stop, wake:
            yield stop
    finally:
        signal.set_wakeup_fd(-1)
        for ending, handler in before.items():
            signal.signal(ending, handler)
