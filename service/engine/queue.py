"""The bounded queue between the callers' event loop and the worker threads, and the order in which sentences start.

Requests take turns: each in its turn starts one sentence. So a request of one sentence does not wait for one of a
thousand, and the thousand get their share all the same.

A sentence that does not fit into the running batch now, mostly a long one, is next as soon as it does. Others may
overtake it, so that the batch stays full meanwhile, but only `MAX_OVERTAKES` times; then nothing starts until it has.
Sentences that run always end, so nothing waits for ever.

Several workers share the work evenly: one that has its share of what runs and waits leaves the rest to the others, each
of which asks again after every step. (A core that does nothing costs more than smaller batches do.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from service.engine.counts import EngineCounts
from service.engine.limits import EngineLimits, Load
from service.engine.submission import Submission, Ticket
from service.errors import OverloadedError, ShuttingDownError

MAX_OVERTAKES: Final = 64
"""How often a sentence that does not fit may be overtaken."""

MAX_PASSED: Final = 32
"""How many sentences that do not fit are passed in search of one that does."""

MAX_TOKENS_AT_ONCE: Final = 1024
"""Source tokens that start at a time: running sentences wait while they are encoded."""

ROOM_TO_START: Final = 1 / 16
"""Share of the rows that must be free in a nearly full batch before sentences start, so that they start together."""

FULL: Final = "Too many sentences are waiting."
CLOSED: Final = "The service is shutting down."


class JobQueue:
    """The sentences that wait, request by request.

    Args:
        limits: of the engine.
        workers: how many take from it, numbered from 0; each may take on an equal part of what the engine may.
        counts: to keep; the limits hold for all processes in them together.
    """

    def __init__(self, limits: EngineLimits, workers: int = 1, counts: EngineCounts | None = None) -> None:
        self._counts = counts or EngineCounts()
        self._limits = limits.part(self._counts.batches(workers))
        self._rows_waiting = 0
        self._rows_running = [0] * workers  # as each worker last said, with what it took then
        self._full = [False] * workers  # whether there was something then that did not fit
        self._turns: deque[deque[Ticket]] = deque()  # what each request has waiting, the next in turn first
        self._decoding = [False] * workers  # whether the worker has a batch
        self._overtakes = 0  # of the sentence that is next in turn and does not fit
        self._withdrawn: list[deque[Submission]] = [deque() for _ in range(workers)]
        self._reserved = 0  # for sentences that are about to be put
        self._closed = False
        self._changed = threading.Condition()  # its lock is reentrant

    def __len__(self) -> int:
        return self._counts.waiting.here

    @contextmanager
    def reserve(self, sentences: int) -> Iterator[None]:
        """Keeps room for so many sentences as long as the context lasts; they are put soon after it.

        Other processes do not know of it, and there may be more sentences in the end, so `put` looks again. To be
        called from the event loop's thread only.

        Raises:
            ShuttingDownError: the queue is closed.
            OverloadedError: there is no room now.
        """
        if self._closed:
            raise ShuttingDownError(CLOSED)
        if sentences and self._counts.waiting.everywhere + self._reserved + sentences > self._limits.max_queue:
            raise OverloadedError(FULL)
        self._reserved += sentences
        try:
            yield
        finally:
            self._reserved -= sentences

    def put(self, submission: Submission) -> None:
        """Queues every job of `submission`, or none.

        Raises:
            ShuttingDownError: the queue is closed.
            OverloadedError: there is no room now.
        """
        tickets = deque(Ticket(submission, index) for index in range(len(submission.jobs)))
        with self._changed:
            if self._closed:
                raise ShuttingDownError(CLOSED)
            self._counts.waiting.add(len(tickets))  # before the look at the sum: another process may be here as well
            if self._counts.waiting.everywhere + self._reserved > self._limits.max_queue:
                self._counts.waiting.add(-len(tickets))
                raise OverloadedError(FULL)
            self._turns.append(tickets)
            self._rows_waiting += _rows(tickets)
            if self._another_may_decode:  # otherwise it would be woken for nothing, with every request
                self._changed.notify(len(tickets))

    def withdraw(self, submission: Submission) -> None:
        """Takes back what has not started of `submission`, and tells the workers to drop what has."""
        with self._changed:
            self._take_back(submission)
            if submission.started:
                for rows, withdrawn in zip(self._rows_running, self._withdrawn, strict=True):
                    if rows:  # otherwise that worker has nothing of it, and might not look for a long time
                        withdrawn.append(submission)

    def withdraw_unless_started(self, submission: Submission) -> bool:
        """Takes back a submission of which nothing has started; False where it is too late for that."""
        with self._changed:
            if submission.started:
                return False
            self._take_back(submission)
            return True

    def take_withdrawn(self, worker: int = 0) -> Submission | None:
        """A submission whose sentences this worker has to drop, each once; None if there is none (left)."""
        withdrawn = self._withdrawn[worker]
        return withdrawn.popleft() if withdrawn else None

    def take(self, load: Load, wait: bool, worker: int = 0) -> list[Ticket]:
        """The sentences that start now.

        Args:
            load: of the worker's running batch.
            wait: until there is something; for an empty batch.
            worker: which one asks.

        Returns:
            As many as fit, or none; none after waiting says that the queue is closed and has run dry.
        """
        if not wait and not len(self):
            self._rows_running[worker], self._full[worker] = load.rows, False
            return []
        with self._changed:
            self._rows_running[worker] = load.rows
            if wait:
                self._withdrawn[worker].clear()  # an empty batch has nothing to drop
                self._note_decoding(worker, False)
                while not (self._another_may_decode if len(self) else self._closed):
                    self._changed.wait()
            self._note_decoding(worker, True)
            admitted = self._admit(load, worker)
            self._note_decoding(worker, bool(load.rows or admitted))
            if len(self) and self._another_may_decode:  # a core may be free by now in which another process decoded
                self._changed.notify()
            return admitted

    def take_all(self) -> list[Ticket]:
        """The sentences that wait, all of them; for when none can start any more."""
        with self._changed:
            tickets = [ticket for turn in self._turns for ticket in turn]
            self._turns.clear()
            self._rows_waiting = 0
            self._counts.waiting.add(-len(self))
            return tickets

    def close(self) -> None:
        """Lets nothing in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def _another_may_decode(self) -> bool:
        """Whether one more worker of this process may have a batch: the first always, others while cores are free.

        At the end all may: nobody would wake them later.
        """
        decoding, most = self._counts.decoding, self._counts.most_decoding
        return self._closed or not decoding.here or most is None or decoding.everywhere < most

    def _note_decoding(self, worker: int, decoding: bool) -> None:
        self._counts.decoding.add(decoding - self._decoding[worker])
        self._decoding[worker] = decoding

    def _admit(self, load: Load, worker: int) -> list[Ticket]:
        """Takes turns until the batch is full, the worker has its share, or enough has started at a time."""
        free = self._limits.max_live_rows - load.rows
        self._full[worker] = bool(load.rows) and free < self._limits.max_live_rows * ROOM_TO_START
        if self._full[worker]:
            return []
        share = self._share_of(worker)
        admitted: list[Ticket] = []
        passed: list[deque[Ticket]] = []  # turns whose sentence does not fit
        tokens = 0
        while self._turns and load.rows < share and tokens < MAX_TOKENS_AT_ONCE and len(passed) < MAX_PASSED:
            turn = self._turns.popleft()
            after = load.plus(turn[0].job)
            if load.rows and not self._limits.allow(after):
                passed.append(turn)
                if self._overtakes >= MAX_OVERTAKES:
                    break
                continue
            self._overtakes = self._overtakes + 1 if passed else 0
            load, tokens = after, tokens + len(turn[0].job.source_ids)
            admitted.append(self._start(turn))
            if passed and self._overtakes >= MAX_OVERTAKES:
                break
        self._turns.extendleft(reversed(passed))
        self._rows_running[worker], self._full[worker] = load.rows, bool(passed)
        return admitted

    def _share_of(self, worker: int) -> float:
        """How many rows a worker should run: as many as each of those that can take something on."""
        may_begin = self._another_may_decode
        running = [
            rows
            for other, rows in enumerate(self._rows_running)
            if other == worker or (not self._full[other] and (self._decoding[other] or may_begin))
        ]
        return (self._rows_waiting + sum(running)) / len(running)

    def _start(self, turn: deque[Ticket]) -> Ticket:
        """The first ticket of a request, whose next turn comes after those of all others."""
        ticket = turn.popleft()
        ticket.submission.started = True
        self._counts.waiting.add(-1)
        self._rows_waiting -= ticket.job.options.rows
        if turn:
            self._turns.append(turn)
        return ticket

    def _take_back(self, submission: Submission) -> None:
        for place, turn in enumerate(self._turns):
            if turn[0].submission is submission:
                del self._turns[place]
                self._counts.waiting.add(-len(turn))
                self._rows_waiting -= _rows(turn)
                self._overtakes = 0 if place == 0 else self._overtakes
                return


def _rows(tickets: Iterable[Ticket]) -> int:
    """How many rows sentences may need."""
    return sum(ticket.job.options.rows for ticket in tickets)
