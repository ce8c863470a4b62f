"""The step loop: one thread, in which sentences join the running batch, advance, and leave it when they are done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from service.decoding.backend import Seq2SeqBackend
from service.decoding.lane import Hypotheses
from service.decoding.search import SearchBatch
from service.domain import SpecialIds
from service.engine.grouping import group_by_length
from service.engine.limits import Load
from service.engine.queue import JobQueue
from service.engine.submission import Submission, Ticket
from service.errors import DecodingError

logger = logging.getLogger(__name__)

MODEL_FAILED = "The model could not be run on this text."


@dataclass(slots=True)
class WorkDone:
    """Counts since the start, and the load of the moment; written by the worker, read by anyone."""

    live_rows: int = 0
    steps: int = 0
    sentences: int = 0
    target_tokens: int = 0
    failures: int = 0


class Worker:
    """Runs one batch, which sentences join and leave between steps.

    A sentence whose caller has gone leaves at the next step. If the model fails on a batch, its sentences are decoded
    again, each alone, so that one sentence cannot fail its neighbours.
    """

    def __init__(self, backend: Seq2SeqBackend, special_ids: SpecialIds, queue: JobQueue) -> None:
        self.work_done = WorkDone()
        self._backend = backend
        self._special_ids = special_ids
        self._queue = queue
        self._batch = SearchBatch(backend, special_ids)
        self._live: dict[int, Ticket] = {}  # by the batch's number for the sentence
        self._reported: dict[int, int] = {}  # of sentences that somebody listens to, how many tokens
        self._rows = 0  # that the live sentences may need
        self._thread = threading.Thread(target=self._run, name="decoding-worker", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread; it ends when the queue is closed and has run dry."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread's end, at most `timeout_s` seconds."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            idle = not self._live
            tickets = self._queue.take(Load(self._rows, self._batch.width), wait=idle)
            if idle and not tickets:
                return
            try:
                self._leave()
                self._join(tickets)
                self._step()
            except Exception as error:  # a defect of ours: nobody may wait for ever because of it
                self._give_up([*tickets, *self._live.values()], error)
            self.work_done.live_rows = self._batch.live_rows

    def _join(self, tickets: Sequence[Ticket]) -> None:
        """Encodes sentences, those of like length together, and adds them to the batch."""
        for group in group_by_length([ticket for ticket in tickets if ticket.is_open]):
            try:
                self._admit(group)
            except Exception as error:  # whatever a model raises must reach its callers and stop nothing else
                self._note_failure(len(group), error)
                if len(group) == 1:
                    self._fail(group[0], error)
                else:
                    self._join_singly(group)

    def _join_singly(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._join([ticket])

    def _admit(self, tickets: Sequence[Ticket]) -> None:
        numbers = self._batch.admit([ticket.job for ticket in tickets])
        self._live.update(zip(numbers, tickets, strict=True))
        self._reported.update({n: 0 for n, each in zip(numbers, tickets, strict=True) if each.submission.listener})
        self._rows += sum(ticket.job.options.rows for ticket in tickets)

    def _leave(self) -> None:
        """Drops the sentences that nobody waits for any more."""
        while (submission := self._queue.take_withdrawn()) is not None:
            self._drop(submission)

    def _drop(self, submission: Submission) -> None:
        numbers = [number for number, ticket in self._live.items() if ticket.submission is submission]
        self._batch.drop(numbers)
        for number in numbers:
            self._forget(number)

    def _forget(self, number: int) -> Ticket:
        ticket = self._live.pop(number)
        self._reported.pop(number, None)
        self._rows -= ticket.job.options.rows
        return ticket

    def _step(self) -> None:
        """Advances the batch by a token and answers what is done."""
        if not self._live:
            return
        self.work_done.live_rows = self._batch.live_rows
        try:
            outcomes = self._batch.step()
        except Exception as error:  # as above
            self._note_failure(len(self._live), error)
            self._start_again()
            return
        self.work_done.steps += 1
        for number, outcome in outcomes.items():
            if number not in self._live:  # another sentence of its request has failed in this step
                continue
            ticket = self._forget(number)
            if isinstance(outcome, DecodingError):
                self._note_failure(1, outcome)
                self._fail(ticket, outcome)
            else:
                self._answer(ticket, outcome)
        self._report()

    def _report(self) -> None:
        """Tells listeners of the tokens that are certain by now."""
        for number, reported in self._reported.items():
            tokens = self._batch.settled(number, reported)
            if tokens is not None:
                self._reported[number] = reported + len(tokens.target_ids)
                ticket = self._live[number]
                ticket.submission.report(ticket.index, tokens)

    def _start_again(self) -> None:
        """Decodes every live sentence from its beginning, each alone, and goes on with an empty batch."""
        tickets = list(self._live.values())
        for ticket in tickets:
            self._reset()
            self._decode_alone(ticket)
        self._reset()

    def _reset(self) -> None:
        self._batch = SearchBatch(self._backend, self._special_ids)
        self._live, self._reported, self._rows = {}, {}, 0

    def _decode_alone(self, ticket: Ticket) -> None:
        try:
            [number] = self._batch.admit([ticket.job]) if ticket.is_open else [None]
            while ticket.is_open:
                self.work_done.live_rows = self._batch.live_rows
                outcomes = self._batch.step()
                self.work_done.steps += 1
                if number in outcomes:
                    outcome = outcomes[number]
                    if isinstance(outcome, DecodingError):
                        raise outcome
                    self._answer(ticket, outcome)
        except Exception as error:  # as above
            self._note_failure(1, error)
            self._fail(ticket, error)

    def _give_up(self, tickets: Sequence[Ticket], error: Exception) -> None:
        self._reset()
        self._note_failure(len(tickets), error)
        for ticket in tickets:
            if ticket.is_open:
                self._fail(ticket, error)

    def _answer(self, ticket: Ticket, hypotheses: Hypotheses) -> None:
        self.work_done.sentences += 1
        self.work_done.target_tokens += len(hypotheses[0].target_ids)
        ticket.submission.deliver(ticket.index, hypotheses)

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        """Answers a caller with an error that says nothing of the cause, and drops what is left of its sentences."""
        failure = DecodingError(MODEL_FAILED)
        failure.__cause__ = error
        ticket.submission.fail(failure)
        self._queue.withdraw(ticket.submission)
        self._leave()

    def _note_failure(self, sentences: int, error: Exception) -> None:
        self.work_done.failures += 1
        logger.error("the model failed on %d sentences", sentences, exc_info=error)
