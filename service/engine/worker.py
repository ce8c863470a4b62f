"""The step loop: one thread that decodes batch after batch and answers every sentence."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from service.decoding.backend import Seq2SeqBackend
from service.decoding.search import SearchBatch
from service.domain import SpecialIds
from service.engine.queue import JobQueue
from service.engine.submission import Hypotheses, Ticket
from service.errors import DecodingError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class WorkDone:
    """Counts since the start, and the load of the moment; written by the worker, read by anyone."""

    live_rows: int = 0
    steps: int = 0
    sentences: int = 0
    target_tokens: int = 0
    failures: int = 0


class Worker:
    """Takes batches from the queue and steps each to its end.

    Sentences whose caller has gone leave between steps; finished ones are answered at once. A batch that fails
    is decoded again one sentence at a time, so that one sentence cannot fail its neighbours.
    """

    def __init__(self, backend: Seq2SeqBackend, special_ids: SpecialIds, queue: JobQueue) -> None:
        self.work_done = WorkDone()
        self._backend = backend
        self._special_ids = special_ids
        self._queue = queue
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
        while batch := self._queue.take():
            self._decode(batch)

    def _decode(self, batch: list[Ticket]) -> None:
        try:
            self._search(batch)
        except Exception as error:  # whatever a model raises must reach its callers and stop nothing else
            self.work_done.failures += 1
            logger.exception("a batch of %d sentences failed", len(batch))
            if len(batch) == 1:
                failure = DecodingError("The model could not be run on this text.")
                failure.__cause__ = error
                batch[0].submission.fail(failure)
                return
            for ticket in batch:
                if ticket.is_open:
                    self._decode([ticket])
        finally:
            self.work_done.live_rows = 0

    def _search(self, batch: list[Ticket]) -> None:
        search = SearchBatch(self._backend, self._special_ids)
        waiting = dict(zip(search.admit([ticket.job for ticket in batch]), batch, strict=True))
        while waiting:
            for sentence in [sentence for sentence, ticket in waiting.items() if not ticket.is_open]:
                search.drop(sentence)
                del waiting[sentence]
            if not waiting:
                return
            self.work_done.live_rows = search.live_rows
            done = search.step()
            self.work_done.steps += 1
            for sentence, outcome in done.items():
                if isinstance(outcome, DecodingError):
                    raise outcome
                self._answer(waiting.pop(sentence), outcome)

    def _answer(self, ticket: Ticket, hypotheses: Hypotheses) -> None:
        self.work_done.sentences += 1
        self.work_done.target_tokens += len(hypotheses[0].target_ids)
        ticket.submission.deliver(ticket.index, hypotheses)
