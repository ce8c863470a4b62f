"""The engine as its callers see it: jobs in, hypotheses out, for many callers at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from service.decoding.backend import Seq2SeqBackend
from service.decoding.jobs import check_job
from service.decoding.lane import Hypotheses
from service.decoding.progress import Listener
from service.domain import DecodingJob, SpecialIds
from service.engine.counts import EngineCounts
from service.engine.limits import EngineLimits
from service.engine.queue import CLOSED, JobQueue
from service.engine.submission import Submission
from service.engine.worker import WorkDone, Worker
from service.errors import OverloadedError, ShuttingDownError, TextTooLongError

FINAL_JOIN_S = 1.0  # time for one last step after the remaining work has been dropped


class Engine:
    """Decodes the sentences of concurrent callers together, in a batch for each worker thread.

    Args:
        backend: the model; calls from several threads must be safe if there are several workers.
        special_ids: its special token ids.
        limits: of all workers together.
        workers: how many batches are decoded at the same time, each by a thread of its own.
        counts: to keep, where other processes have the same limits.
    """

    def __init__(
        self,
        backend: Seq2SeqBackend,
        special_ids: SpecialIds,
        limits: EngineLimits | None = None,
        workers: int = 1,
        counts: EngineCounts | None = None,
    ) -> None:
        self._limits = limits or EngineLimits()
        self._vocabulary_size = backend.vocabulary_size
        self._special_ids = special_ids
        self._queue = JobQueue(self._limits, workers, counts)
        self._workers = [Worker(backend, special_ids, self._queue, number) for number in range(workers)]
        self._open: set[Submission] = set()

    @property
    def is_running(self) -> bool:
        """Whether every worker thread is alive."""
        return all(worker.is_alive for worker in self._workers)

    @property
    def queue_length(self) -> int:
        """Sentences that wait for their start."""
        return len(self._queue)

    @property
    def work_done(self) -> WorkDone:
        """What the workers have done so far."""
        return sum((worker.work_done for worker in self._workers), start=WorkDone())

    def start(self) -> None:
        """Starts the worker threads."""
        for worker in self._workers:
            worker.start()

    async def stop(self, timeout_s: float) -> None:
        """Refuses new work, finishes what was accepted, and drops what is left after `timeout_s` seconds."""
        self._queue.close()
        await asyncio.to_thread(self._join, timeout_s)
        for submission in tuple(self._open):  # without effect on those that have their answer
            submission.fail(ShuttingDownError(CLOSED))
            self._queue.withdraw(submission)
        await asyncio.to_thread(self._join, FINAL_JOIN_S)

    def _join(self, timeout_s: float) -> None:
        """Waits for the end of all workers, at most `timeout_s` seconds."""
        end = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def reserve(self, sentences: int) -> AbstractContextManager[None]:
        """Keeps room in the queue for sentences that are being prepared, until the context ends.

        Raises:
            TextTooLongError: more than the queue can hold.
            OverloadedError, ShuttingDownError: on entering, if there is no room or the engine is draining.
        """
        self._check_number(sentences)
        return self._queue.reserve(sentences)

    async def decode(self, jobs: Sequence[DecodingJob], listener: Listener | None = None) -> list[Hypotheses]:
        """Decodes every job; cancelling the call frees its rows at the next step.

        Args:
            jobs: any number.
            listener: is told, before the call returns, when each job has started, of its tokens as they are certain (in
                greedy search every token with its step, in beam search what all hypotheses share), and of its result,
                with which its last tokens come. It must be quick, and must not raise.

        Returns:
            Per job its hypotheses, best first.

        Raises:
            InvalidRequestError: a job has impossible options or ids.
            OverloadedError: the queue is full, nothing has started within the time limit, or not all is done within
                that of the whole request.
            ShuttingDownError: the engine is draining.
            TextTooLongError: more jobs than the queue can hold.
            DecodingError: the model failed on one of the jobs.
        """
        if not jobs:
            return []
        self._check_number(len(jobs))
        for job in jobs:
            check_job(job, self._vocabulary_size, self._special_ids)
        loop = asyncio.get_running_loop()
        submission = Submission(jobs, loop, listener)
        self._queue.put(submission)
        self._open.add(submission)
        timers = self._set_timers(submission, loop)
        try:
            return await submission.future
        finally:
            self._open.discard(submission)
            for timer in timers:
                timer.cancel()
            if not submission.is_complete:
                submission.closed = True
                self._queue.withdraw(submission)

    def _check_number(self, sentences: int) -> None:
        limit = self._limits.max_queue
        if sentences > limit:
            raise TextTooLongError(f"The request has {sentences} sentences or more; at most {limit} are taken.", "text")

    def _set_timers(self, submission: Submission, loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
        deadlines = (
            (self._limits.max_queue_wait_s, self._refuse_unless_started),
            (self._limits.max_request_s, self._give_up),
        )
        return [loop.call_later(limit_s, end, submission) for limit_s, end in deadlines if limit_s is not None]

    def _refuse_unless_started(self, submission: Submission) -> None:
        if self._queue.withdraw_unless_started(submission):
            submission.fail(OverloadedError("The request waited too long for its turn."))

    def _give_up(self, submission: Submission) -> None:
        """Ends a request at its deadline; its rows are free at the next step."""
        submission.fail(OverloadedError("The request took too long."))
        self._queue.withdraw(submission)
