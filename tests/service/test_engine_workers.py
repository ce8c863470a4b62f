"""Several batches at the same time: workers share the work, and requests that are in several batches are whole."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.decoding.progress import Progress
from service.decoding.search import decode
from service.engine.counts import EngineCounts, SharedCount, share_counts
from service.engine.engine import Engine
from service.engine.limits import EngineLimits, Load
from service.engine.queue import JobQueue
from service.engine.submission import Submission, Ticket
from service.errors import DecodingError, OverloadedError
from service.processes import Place, forget_counts, share_model_counts
from tests.service.engine_fakes import PATIENCE_S, FailingBackend, GatedBackend, best, run
from tests.service.scripted_backend import IDS, ScriptedBackend, copying, make_job, random_model
from tests.service.test_engine_listening import check_prefix, tokens_of
from tests.service.test_search_rules import varied_jobs


class TwoAtOnce(GatedBackend):
    """Takes a step only when two threads want one."""

    def __init__(self) -> None:
        super().__init__()
        self.allow()
        self.threads: set[str] = set()
        self._both = threading.Barrier(2, timeout=PATIENCE_S)

    def decode_step(self, *arguments: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        self._both.wait()
        return super().decode_step(*arguments)


async def decode_with(backend: Any, jobs: Sequence[Any], workers: int, listener: Any = None) -> list[Any]:
    engine = Engine(backend, IDS, workers=workers)
    engine.start()
    try:
        return await engine.decode(jobs, listener)
    finally:
        await engine.stop(PATIENCE_S)
        assert not engine.is_running


def test_two_batches_advance_at_the_same_time_and_share_the_sentences() -> None:
    async def test() -> None:
        backend = TwoAtOnce()
        answers = await decode_with(backend, [make_job(source) for source in ("ab", "cd", "ef", "gh")], workers=2)
        assert [best(answer) for answer in answers] == ["ab.", "cd.", "ef.", "gh."]
        assert backend.threads == {"decoding-0", "decoding-1"}
        assert backend.batches == [2, 2]

    run(test)


def test_answers_are_those_of_one_batch() -> None:
    jobs = varied_jobs() * 3
    expected = decode(ScriptedBackend(random_model("abcdef.", seed=1)), jobs, IDS)

    async def test() -> None:
        answers = await decode_with(ScriptedBackend(random_model("abcdef.", seed=1)), jobs, workers=3)
        for found, wanted in zip(answers, expected, strict=True):
            assert [each.target_ids for each in found] == [each.target_ids for each in wanted]
            assert [each.score for each in found] == pytest.approx([each.score for each in wanted], abs=1e-5)

    run(test)


def test_a_listener_hears_of_every_job_in_order_whichever_worker_has_it() -> None:
    jobs = [make_job("abcd" * (1 + index % 3), beam_size=1 + index % 2) for index in range(24)]
    heard: list[Sequence[Progress]] = []

    async def test() -> None:
        answers = await decode_with(ScriptedBackend(copying), jobs, 2, heard.append)
        for index, [first, *_] in enumerate(answers):
            check_prefix(tokens_of(heard, index), first)
        results = [each.index for news in heard for each in news if each.hypotheses is not None]
        assert sorted(results) == list(range(24))

    run(test)


def test_cancelling_frees_the_rows_of_every_worker() -> None:
    async def test() -> None:
        backend = GatedBackend()
        engine = Engine(backend, IDS, workers=2)
        engine.start()
        call = asyncio.create_task(engine.decode([make_job("abcdefgh")] * 4))
        while engine.work_done.live_rows < 4:
            await asyncio.sleep(0.001)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        backend.allow(4)  # a step each, and one more each at most
        while engine.work_done.live_rows:
            await asyncio.sleep(0.001)
        assert engine.work_done.sentences == 0
        backend.allow()
        await engine.stop(PATIENCE_S)

    run(test)


def test_a_sentence_that_fails_ends_its_request_and_no_other() -> None:
    async def test() -> None:
        engine = Engine(FailingBackend(copying), IDS, workers=2)
        engine.start()
        calls = [engine.decode([make_job("ab")] * 5 + [make_job("x")]), engine.decode([make_job("cd")] * 5)]
        failed, answered = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(failed, DecodingError)
        assert [best(each) for each in answered] == ["cd."] * 5  # type: ignore[union-attr]
        await engine.stop(PATIENCE_S)

    run(test)


# --- Shares, without threads --------------------------------------------------------------------------------------


@pytest.fixture
def queue() -> JobQueue:
    return JobQueue(EngineLimits(max_live_rows=16, max_padded_memory_tokens=1000, max_queue=100), workers=2)


def put(queue: JobQueue, *beam_sizes: int) -> Submission:
    loop = asyncio.new_event_loop()
    submission = Submission([make_job("ab", beam_size=size) for size in beam_sizes], loop)
    loop.close()
    queue.put(submission)
    return submission


def load_of(tickets: Sequence[Ticket]) -> Load:
    load = Load()
    for ticket in tickets:
        load = load.plus(ticket.job)
    return load


def test_a_worker_takes_its_share_of_the_rows_and_leaves_the_rest(queue: JobQueue) -> None:
    put(queue, 1, 1, 1, 1, 1)
    first = queue.take(Load(), True, 0)
    assert len(first) == 3
    assert queue.take(load_of(first), False, 0) == []
    second = queue.take(Load(), True, 1)
    assert len(second) == 2
    put(queue, 1)
    assert len(queue.take(load_of(second), False, 1)) == 1
    put(queue, 4)  # 10 rows in all: 5 are a share
    assert len(queue.take(load_of(first), False, 0)) == 1


def test_a_worker_with_room_takes_what_does_not_fit_the_other(queue: JobQueue) -> None:
    """The share is the mean of those only that can take something on: here 6 rows, and not 4."""
    put(queue, 1)
    other = [*queue.take(Load(), True, 1)]
    put(queue, *[1] * 5)
    assert queue.take(Load(1, 490), False, 1) == []  # its batch is so wide that another row does not fit
    assert len(queue.take(Load(), True, 0)) == 5
    assert len(other) == 1


# --- Counts shared with other processes ---------------------------------------------------------------------------


@pytest.fixture
def queues() -> list[JobQueue]:
    """Those of two processes of two workers each, which may decode two batches at the same time together."""
    waiting, decoding = share_counts(2, processes=2)
    limits = EngineLimits(max_live_rows=16, max_padded_memory_tokens=1000, max_queue=10)
    counts = [EngineCounts(SharedCount(waiting, own), SharedCount(decoding, own), 2) for own in range(2)]
    return [JobQueue(limits, workers=2, counts=each) for each in counts]


def test_what_waits_in_another_process_counts_too(queues: list[JobQueue]) -> None:
    put(queues[0], *[1] * 6)
    with pytest.raises(OverloadedError):
        put(queues[1], *[1] * 5)
    put(queues[1], *[1] * 4)
    assert [len(queue) for queue in queues] == [6, 4]
    started = queues[0].take(Load(), True, 0)
    put(queues[1], *[1] * len(started))
    with pytest.raises(OverloadedError):
        put(queues[0], 1)


def test_what_a_process_left_that_has_ended_counts_no_more() -> None:
    bundle = Path("bundle")
    counts = share_model_counts([bundle], processes=2)
    limits = EngineLimits(max_queue=10)
    ending, other = (JobQueue(limits, 1, Place(own, 2, counts).engine_counts(bundle, 1)) for own in range(2))
    put(ending, *[1] * 10)
    with pytest.raises(OverloadedError):
        put(other, 1)
    forget_counts(counts, 0)
    put(other, *[1] * 10)
    with pytest.raises(OverloadedError):
        put(other, 1)


def test_a_second_worker_begins_only_while_a_core_is_free(queues: list[JobQueue]) -> None:
    here, there = queues
    put(here, 1, 1, 1, 1)
    put(there, 1)
    there.take(Load(), True, 0)
    running = here.take(Load(), True, 0)
    assert len(running) == 4  # all: the other worker of this process may not begin
    put(here, 1)
    waiting = threading.Thread(target=here.take, args=(Load(), True, 1), daemon=True)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    closing = threading.Thread(target=there.take, args=(Load(), True, 0), daemon=True)
    closing.start()  # its batch is empty, and so is its queue
    while waiting.is_alive():
        assert here.take(load_of(running), False, 0) == []  # as the worker with a batch does after every step
        time.sleep(0.001)
    assert not waiting.is_alive()
    there.close()
    closing.join(PATIENCE_S)


def test_the_budgets_are_divided(queue: JobQueue) -> None:
    put(queue, *[1] * 40)
    assert len(queue.take(Load(), True, 0)) == 8
    assert len(queue.take(Load(), True, 1)) == 8


def test_the_budgets_are_divided_among_what_may_be_decoded_at_the_same_time(queues: list[JobQueue]) -> None:
    """Two batches in all, not two in each of two processes."""
    here, there = queues
    put(there, 1)
    there.take(Load(), True, 0)
    put(here, *[1] * 9)
    assert len(here.take(Load(), True, 0)) == 8


def test_a_withdrawn_request_is_told_to_every_worker_that_runs_something(queue: JobQueue) -> None:
    submission = put(queue, 1, 1)
    running = queue.take(Load(), True, 0)
    assert len(running) == 1
    queue.withdraw(submission)
    assert queue.take_withdrawn(1) is None  # it has nothing, and the other sentence has left the queue
    assert queue.take_withdrawn(0) is submission
    assert queue.take_withdrawn(0) is None
    assert len(queue) == 0
