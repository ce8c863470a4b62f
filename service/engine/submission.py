"""One caller's jobs on their way through the engine, and the way back to the caller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from service.decoding.lane import Hypotheses
from service.decoding.progress import Listener, Progress
from service.domain import DecodingJob, SettledTokens


class Submission:
    """The jobs of one call, answered together by `future`, which belongs to the caller's event loop.

    `started` says that a job has left the queue. `closed` tells the worker that nobody waits any more: the caller has
    gone, or has its answer or an error.
    """

    def __init__(
        self, jobs: Sequence[DecodingJob], loop: asyncio.AbstractEventLoop, listener: Listener | None = None
    ) -> None:
        self.jobs = tuple(jobs)
        self.listener = listener
        self.future: asyncio.Future[list[Hypotheses]] = loop.create_future()
        self.started = False
        self.closed = False
        self._loop = loop
        self._lock = threading.Lock()  # several workers may have jobs of one submission
        self._answers: dict[int, Hypotheses] = {}
        self._noted: list[Progress] = []  # what the listener has not been told yet
        self._certain: dict[int, int] = {}

    def deliver(self, index: int, hypotheses: Hypotheses) -> None:
        """Keeps the answer to job `index`; the last one answers the caller. Worker threads only."""
        self.note(Progress(index, hypotheses=hypotheses))
        with self._lock:
            self._answers[index] = hypotheses
            is_last = self.is_complete
        if is_last:
            self.tell()
            answers = [self._answers[job] for job in range(len(self.jobs))]
            self._resolve(answers, None)

    def note(self, progress: Progress) -> None:
        """Keeps in mind what the listener, if there is one, is to be told. Worker threads only."""
        if self.listener is not None:
            with self._lock:
                self._noted.append(progress)

    def note_tokens(self, index: int, tokens: SettledTokens) -> None:
        """Likewise, of new tokens of job `index`."""
        self._certain[index] = tokens.first + len(tokens.target_ids)
        self.note(Progress(index, tokens))

    def noted(self, index: int) -> int:
        """How many tokens of job `index` were certain the last time."""
        return self._certain.get(index, 0)

    def tell(self) -> None:
        """Tells the listener everything at once, unless the call has ended. Worker threads only."""
        with self._lock:  # held until it is on its way, so that a job's news stay in order
            if self._noted:
                with contextlib.suppress(RuntimeError):  # as in `_resolve`
                    self._loop.call_soon_threadsafe(self._tell, self._noted)
                self._noted = []

    def fail(self, error: Exception) -> None:
        """Answers the caller with `error`, from any thread; what is left of the submission is dropped."""
        self._resolve(None, error)

    @property
    def is_complete(self) -> bool:
        """Whether every job has its answer."""
        return len(self._answers) == len(self.jobs)

    def is_answered(self, index: int) -> bool:
        """Whether job `index` has its answer."""
        return index in self._answers

    def _resolve(self, answers: list[Hypotheses] | None, error: Exception | None) -> None:
        self.closed = True
        with contextlib.suppress(RuntimeError):  # the caller's event loop is closed: nobody is left to answer
            self._loop.call_soon_threadsafe(self._set, answers, error)

    def _tell(self, news: Sequence[Progress]) -> None:
        if self.listener is not None and not self.future.done():
            self.listener(news)

    def _set(self, answers: list[Hypotheses] | None, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(answers or [])


@dataclass(frozen=True, slots=True)
class Ticket:
    """One job of a submission: what waits in the queue and what the worker decodes."""

    submission: Submission
    index: int

    @property
    def job(self) -> DecodingJob:
        """The job itself."""
        return self.submission.jobs[self.index]

    @property
    def is_open(self) -> bool:
        """Whether its answer is still wanted."""
        return not self.submission.closed and not self.submission.is_answered(self.index)
