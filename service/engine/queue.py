"""The bounded queue between the callers' event loop and the worker thread."""

from __future__ import annotations

import threading
from collections import deque

from service.engine.limits import EngineLimits
from service.engine.submission import Submission, Ticket
from service.errors import OverloadedError, ShuttingDownError


class JobQueue:
    """First in, first out, except that a batch holds one beam size only."""

    def __init__(self, limits: EngineLimits) -> None:
        self._limits = limits
        self._waiting: deque[Ticket] = deque()
        self._closed = False
        self._changed = threading.Condition()  # its lock is reentrant

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, submission: Submission) -> None:
        """Queues every job of `submission`, or none.

        Raises:
            ShuttingDownError: the queue is closed.
            OverloadedError: there is no room now.
        """
        tickets = [Ticket(submission, index) for index in range(len(submission.jobs))]
        with self._changed:
            if self._closed:
                raise ShuttingDownError("The service is shutting down.")
            if len(self._waiting) + len(tickets) > self._limits.max_queue:
                raise OverloadedError("Too many sentences are waiting.")
            self._waiting.extend(tickets)
            self._changed.notify()

    def withdraw(self, submission: Submission) -> None:
        """Takes back what has not started of `submission`."""
        with self._changed:
            self._waiting = deque(ticket for ticket in self._waiting if ticket.submission is not submission)

    def withdraw_unless_started(self, submission: Submission) -> bool:
        """Takes back a submission of which nothing has started; False where it is too late for that."""
        with self._changed:
            if submission.started:
                return False
            self.withdraw(submission)
            return True

    def take(self) -> list[Ticket]:
        """The next batch, as soon as there is one; empty once the queue is closed and has run dry."""
        with self._changed:
            while True:
                batch = self._next_batch()
                if batch or self._closed:
                    return batch
                self._changed.wait()

    def close(self) -> None:
        """Lets nothing in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next_batch(self) -> list[Ticket]:
        """The first sentence waiting, and those behind it that share its beam size and fit the budgets."""
        batch: list[Ticket] = []
        passed: list[Ticket] = []
        longest = 0
        while self._waiting:
            ticket = self._waiting.popleft()
            beam_size = (batch[0] if batch else ticket).job.options.beam_size
            if ticket.job.options.beam_size != beam_size:
                passed.append(ticket)
                continue
            longest = max(longest, len(ticket.job.source_ids))
            if not self._limits.allow(len(batch) + 1, beam_size, longest):
                passed.append(ticket)
                break
            ticket.submission.started = True
            batch.append(ticket)
        self._waiting.extendleft(reversed(passed))
        return batch
