"""The step loop: a thread in which sentences join the running batch, advance, and leave it when they are done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields

from service.decoding.backend import Seq2SeqBackend
from service.decoding.lane import Hypotheses
from service.decoding.progress import Progress
from service.decoding.search import SearchBatch
from service.domain import SpecialIds
from service.engine.group import Group
from service.engine.grouping import group_by_length
from service.engine.limits import Load
from service.engine.queue import JobQueue
from service.engine.submission import Ticket
from service.errors import DecodingError

logger = logging.getLogger(__name__)

MODEL_FAILED = "The model could not be run on this text."


@dataclass(slots=True)
class WorkDone:
    """Counts since the start, and the load of the moment; written by its worker, read by anyone."""

    live_rows: int = 0
    steps: int = 0
    sentences: int = 0
    target_tokens: int = 0
    failures: int = 0

    def __add__(self, other: WorkDone) -> WorkDone:
        """What two workers have done."""
        return WorkDone(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Worker:
    """Runs one batch, which sentences join and leave between steps.

    A sentence whose caller has gone leaves at the next step. If the model fails on a batch, its sentences begin again
    in two batches of half of them each, which advance beside the one that new sentences join; and so on, until those
    that make it fail are alone. So one sentence cannot fail its neighbours.

    Args:
        backend: the model; calls from several threads must be safe if there are several workers.
        special_ids: its special token ids.
        queue: where sentences come from.
        number: of this worker among those of the queue.
    """

    def __init__(self, backend: Seq2SeqBackend, special_ids: SpecialIds, queue: JobQueue, number: int = 0) -> None:
        self.work_done = WorkDone()
        self._number = number
        self._backend = backend
        self._special_ids = special_ids
        self._queue = queue
        self._main = self._open_group()
        self._retried: list[Group] = []
        self._starting: list[Ticket] = []  # out of the queue, but not all in the batch yet
        self._thread = threading.Thread(target=self._run, name=f"decoding-{number}", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread; it ends when the queue is closed and has run dry."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread's end, at most `timeout_s` seconds; one that was never started has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._take_turn():
                pass
        except BaseException as error:  # without the thread nobody would ever be answered: all must hear of it
            logger.critical("the decoding thread has ended")
            self._queue.close()
            self._give_up([*self._tickets(), *self._queue.take_all()], error)
            self._note_rows()

    def _take_turn(self) -> bool:
        """Lets sentences leave and join, and advances all by a token; False when there will be no more."""
        idle = not self._tickets()
        tickets = self._queue.take(self._load(), idle, self._number)
        if idle and not tickets:
            return False
        self._starting = tickets
        try:
            self._leave()
            self._join(tickets)
            self._starting = []
            self._step()
        except Exception as error:  # a defect of ours: nobody may wait for ever because of it
            self._give_up(self._tickets(), error)
        self._note_rows()
        return True

    def _open_group(self) -> Group:
        return Group(SearchBatch(self._backend, self._special_ids))

    def _groups(self) -> list[Group]:
        return [self._main, *self._retried]

    def _tickets(self) -> list[Ticket]:
        return [*self._starting, *(ticket for group in self._groups() for ticket in group.tickets.values())]

    def _load(self) -> Load:
        groups = self._groups()
        return Load(sum(group.rows for group in groups), max(group.batch.width for group in groups))

    def _join(self, tickets: Sequence[Ticket]) -> None:
        """Encodes sentences, those of like length together, and adds them to the batch; in halves if that fails."""
        for group in group_by_length(tickets):
            together = [ticket for ticket in group if ticket.is_open]  # one before may have ended their request
            if not together:
                continue
            try:
                self._main.admit(together)
            except Exception as error:  # whatever a model raises must reach its callers and stop nothing else
                self._note_failure(len(together), error)
                if len(together) == 1:
                    self._fail(together[0], error)
                    continue
                for half in _halves(together):
                    self._join(half)
            else:
                for ticket in together:
                    ticket.submission.note(Progress(ticket.index))

    def _leave(self) -> None:
        """Drops the sentences that nobody waits for any more."""
        while (submission := self._queue.take_withdrawn(self._number)) is not None:
            for group in self._groups():
                group.drop(submission)

    def _step(self) -> None:
        """Advances every batch by a token and answers what is done."""
        self._note_rows()
        for group in self._groups():
            if group.tickets:
                self._advance(group)
        self._retried = [group for group in self._retried if group.tickets]

    def _advance(self, group: Group) -> None:
        listening = group.listening
        try:
            outcomes = group.step()
        except Exception as error:  # as above
            self._note_failure(len(group.tickets), error)
            self._close_group(group)
            self._begin_again(list(group.tickets.values()), error)
            return
        self.work_done.steps += 1
        for number, outcome in outcomes.items():
            ticket = group.tickets.get(number)
            if ticket is None:  # another sentence of its request has failed in this step
                continue
            if isinstance(outcome, DecodingError):
                self._note_failure(1, outcome)
                self._fail(ticket, outcome)
            else:
                self._answer(ticket, outcome)
            group.forget(number)
        group.note_tokens()
        for submission in listening:
            submission.tell()

    def _close_group(self, group: Group) -> None:
        if group is self._main:
            self._main = self._open_group()
        else:
            self._retried.remove(group)

    def _begin_again(self, tickets: Sequence[Ticket], error: Exception) -> None:
        """Starts sentences on which the model failed with `error` again, in halves; one that was alone has failed."""
        if len(tickets) == 1:
            self._fail(tickets[0], error)
            return
        for half in _halves(tickets):
            still_open = [ticket for ticket in half if ticket.is_open]
            if not still_open:
                continue
            group = self._open_group()
            try:
                group.admit(still_open)
            except Exception as another:  # as above
                self._note_failure(len(still_open), another)
                self._begin_again(still_open, another)
            else:
                self._retried.append(group)

    def _give_up(self, tickets: Sequence[Ticket], error: BaseException) -> None:
        self._main, self._retried, self._starting = self._open_group(), [], []
        self._note_failure(len(tickets), error)
        for ticket in tickets:
            if ticket.is_open:
                self._fail(ticket, error)

    def _answer(self, ticket: Ticket, hypotheses: Hypotheses) -> None:
        self.work_done.sentences += 1
        self.work_done.target_tokens += len(hypotheses[0].target_ids)
        ticket.submission.deliver(ticket.index, hypotheses)

    def _fail(self, ticket: Ticket, error: BaseException) -> None:
        """Answers a caller with an error that says nothing of the cause, and drops what is left of its sentences."""
        failure = DecodingError(MODEL_FAILED)
        failure.__cause__ = error
        ticket.submission.fail(failure)
        self._queue.withdraw(ticket.submission)
        self._leave()

    def _note_rows(self) -> None:
        self.work_done.live_rows = sum(group.batch.live_rows for group in self._groups())

    def _note_failure(self, sentences: int, error: BaseException) -> None:
        self.work_done.failures += 1
        logger.error("the model failed on %d sentences", sentences, exc_info=error)


def _halves(tickets: Sequence[Ticket]) -> tuple[Sequence[Ticket], Sequence[Ticket]]:
    middle = len(tickets) // 2
    return tickets[:middle], tickets[middle:]
