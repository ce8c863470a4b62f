"""The engine under concurrent callers: shared batches, full queues, gone clients, failing models, the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.decoding.backend import DecoderRows, StepOutput
from service.decoding.search import decode
from service.domain import Hypothesis, IntArray
from service.engine.engine import Engine
from service.engine.limits import EngineLimits
from service.errors import (
    DecodingError,
    InvalidRequestError,
    OverloadedError,
    ShuttingDownError,
    TextTooLongError,
)
from tests.service.scripted_backend import IDS, ScriptedBackend, copying, decode_letters, make_job, random_model

PATIENCE_S = 10.0


class GatedBackend(ScriptedBackend):
    """Copies its source, but takes a step only when one is allowed; notes the batches that were encoded."""

    def __init__(self) -> None:
        super().__init__(copying)
        self.reached = threading.Event()
        self.batches: list[int] = []
        self._permits = threading.Semaphore(0)

    def allow(self, steps: int = 10_000) -> None:
        self._permits.release(steps)

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        self.batches.append(len(source_ids))
        return super().encode(source_ids, source_lengths)

    def decode_step(self, *arguments: Any) -> StepOutput:
        self.reached.set()
        if not self._permits.acquire(timeout=PATIENCE_S):
            raise TimeoutError
        return super().decode_step(*arguments)

    async def is_reached(self) -> None:
        await asyncio.to_thread(self.reached.wait, PATIENCE_S)


class FailingBackend(ScriptedBackend):
    """Copies its source, but fails whenever the letter `x` is in the batch."""

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        if any("x" in decode_letters(tuple(row)) for row in source_ids.tolist()):
            raise ValueError("secret detail")
        return super().encode(source_ids, source_lengths)


@asynccontextmanager
async def running(backend: ScriptedBackend, limits: EngineLimits | None = None):
    engine = Engine(backend, IDS, limits)
    engine.start()
    try:
        yield engine
    finally:
        if isinstance(backend, GatedBackend):
            backend.allow()
        await engine.stop(PATIENCE_S)
        assert not engine.is_running


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 4 * PATIENCE_S))


def best(hypotheses: tuple[Hypothesis, ...]) -> str:
    return decode_letters(hypotheses[0].target_ids)


def test_one_call_answers_every_job_in_order() -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying)) as engine:
            answers = await engine.decode([make_job("abc"), make_job("b"), make_job("ca", beam_size=3)])
        assert [best(answer) for answer in answers] == ["abc.", "b.", "ca."]

    run(test)


def test_no_jobs_need_no_work() -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying)) as engine:
            assert await engine.decode([]) == []

    run(test)


def test_concurrent_callers_share_a_batch_and_get_what_they_get_alone() -> None:
    sources = ["abc", "ba", "c", "cab", "bb"]

    async def test() -> None:
        backend = GatedBackend()
        backend._model = random_model("abc.", seed=3)
        async with running(backend) as engine:
            first = asyncio.create_task(engine.decode([make_job("a", beam_size=2)]))
            await backend.is_reached()
            calls = [asyncio.create_task(engine.decode([make_job(source, beam_size=2)])) for source in sources]
            await asyncio.sleep(0)
            assert engine.queue_length == len(sources)
            backend.allow()
            await first
            answers = [(await call)[0] for call in calls]
        assert backend.batches == [1, len(sources)]
        for source, answer in zip(sources, answers, strict=True):
            [alone] = decode(ScriptedBackend(random_model("abc.", seed=3)), [make_job(source, beam_size=2)], IDS)
            assert best(answer) == best(alone)
            assert answer[0].score == pytest.approx(alone[0].score)

    run(test)


@pytest.mark.parametrize(
    ("limits", "batches"),
    [
        (EngineLimits(max_live_rows=4), [1, 2, 2, 1]),
        (EngineLimits(max_padded_memory_tokens=20), [1, 2, 2, 1]),  # two sentences x beam 2 x 5 source tokens
        (EngineLimits(max_live_rows=1), [1, 1, 1, 1, 1, 1]),  # a single sentence is always decoded
    ],
)
def test_batches_keep_to_the_budgets(limits: EngineLimits, batches: list[int]) -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend, limits) as engine:
            first = asyncio.create_task(engine.decode([make_job("abcd", beam_size=2)]))
            await backend.is_reached()
            rest = asyncio.create_task(engine.decode([make_job("abcd", beam_size=2)] * 5))
            await asyncio.sleep(0)
            backend.allow()
            await asyncio.gather(first, rest)
        assert backend.batches == batches

    run(test)


def test_a_batch_holds_one_beam_size_and_the_longest_waiting_sentence_goes_first() -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend) as engine:
            first = asyncio.create_task(engine.decode([make_job("a")]))
            await backend.is_reached()
            sizes = (2, 1, 1, 2, 1)
            calls = [asyncio.create_task(engine.decode([make_job("a", beam_size=size)])) for size in sizes]
            await asyncio.sleep(0)
            backend.allow()
            await asyncio.gather(first, *calls)
        assert backend.batches == [1, 2, 3]

    run(test)


def test_a_full_queue_refuses_at_once() -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend, EngineLimits(max_queue=2)) as engine:
            first = asyncio.create_task(engine.decode([make_job("a")]))
            await backend.is_reached()
            second = asyncio.create_task(engine.decode([make_job("b")]))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError) as refusal:
                await engine.decode([make_job("c")] * 2)
            assert refusal.value.retry_after_s > 0
            backend.allow()
            assert best((await second)[0]) == "b."
            await first

    run(test)


def test_more_jobs_than_the_queue_can_ever_hold_are_too_much_text() -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying), EngineLimits(max_queue=2)) as engine:
            with pytest.raises(TextTooLongError):
                await engine.decode([make_job("a")] * 3)

    run(test)


def test_waiting_too_long_is_refused_and_leaves_the_queue() -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend, EngineLimits(max_queue_wait_s=0.02)) as engine:
            started = asyncio.create_task(engine.decode([make_job("a")]))
            await backend.is_reached()
            with pytest.raises(OverloadedError, match="waited too long"):
                await engine.decode([make_job("b")])
            assert engine.queue_length == 0
            backend.allow()
            assert best((await started)[0]) == "a."

    run(test)


def test_a_cancelled_call_leaves_the_queue() -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend) as engine:
            first = asyncio.create_task(engine.decode([make_job("a")]))
            await backend.is_reached()
            second = asyncio.create_task(engine.decode([make_job("b")]))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            assert engine.queue_length == 0
            backend.allow()
            await first
        assert backend.batches == [1]

    run(test)


def test_a_cancelled_call_frees_its_rows_at_the_next_step() -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend) as engine:
            blocker = asyncio.create_task(engine.decode([make_job("a")]))
            await backend.is_reached()
            stays = asyncio.create_task(engine.decode([make_job("abcdef")]))
            leaves = asyncio.create_task(engine.decode([make_job("fedcba")]))
            await asyncio.sleep(0)
            backend.allow(len("a."))
            await blocker
            while len(backend.batches) < 2:
                await asyncio.sleep(0.001)
            leaves.cancel()
            await asyncio.gather(leaves, return_exceptions=True)
            backend.allow()
            assert best((await stays)[0]) == "abcdef."
        assert backend.batches == [1, 2]
        assert backend.rows_per_step[-1] == 1

    run(test)


def test_a_failing_sentence_fails_its_caller_alone() -> None:
    async def test() -> None:
        async with running(FailingBackend(copying)) as engine:
            jobs = [[make_job("ab")], [make_job("x")], [make_job("ba"), make_job("axa")], [make_job("b")]]
            answers = await asyncio.gather(*(engine.decode(job) for job in jobs), return_exceptions=True)
            assert isinstance(answers[1], DecodingError)
            assert isinstance(answers[2], DecodingError)
            assert "secret" not in str(answers[1])
            assert [best(answers[index][0]) for index in (0, 3)] == ["ab.", "b."]  # type: ignore[index, arg-type]
            assert best((await engine.decode([make_job("c")]))[0]) == "c."
            assert engine.work_done.failures >= 2

    run(test)


def test_a_dead_backend_reaches_all_its_callers_and_the_engine_lives_on() -> None:
    async def test() -> None:
        async with running(FailingBackend(copying)) as engine:
            calls = [engine.decode([make_job("x" * length)]) for length in range(1, 6)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(answer) for answer in answers] == [DecodingError] * 5
            assert engine.is_running
            assert best((await engine.decode([make_job("a")]))[0]) == "a."

    run(test)


def test_impossible_jobs_are_refused_before_they_meet_others() -> None:
    async def test() -> None:
        backend = ScriptedBackend(copying)
        async with running(backend) as engine:
            with pytest.raises(InvalidRequestError):
                await engine.decode([make_job("a"), make_job("b", num_hypotheses=2)])
            assert engine.queue_length == 0
        assert backend.rows_per_step == []

    run(test)


def test_stopping_finishes_accepted_work_and_refuses_new() -> None:
    async def test() -> None:
        backend = GatedBackend()
        engine = Engine(backend, IDS)
        engine.start()
        accepted = [asyncio.create_task(engine.decode([make_job(source)])) for source in ("a", "b")]
        await backend.is_reached()
        stopping = asyncio.create_task(engine.stop(PATIENCE_S))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDownError):
            await engine.decode([make_job("c")])
        backend.allow()
        assert [best((await call)[0]) for call in accepted] == ["a.", "b."]
        await stopping
        assert not engine.is_running

    run(test)


def test_stopping_in_time_drops_what_is_left() -> None:
    async def test() -> None:
        backend = GatedBackend()
        engine = Engine(backend, IDS, EngineLimits(max_live_rows=1))
        engine.start()
        calls = [asyncio.create_task(engine.decode([make_job(source)])) for source in ("a", "b")]
        await backend.is_reached()
        stopping = asyncio.create_task(engine.stop(0.01))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ShuttingDownError] * 2
        backend.allow()
        await stopping
        assert not engine.is_running

    run(test)


def test_work_is_counted() -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying)) as engine:
            await engine.decode([make_job("abc"), make_job("b")])
            work = engine.work_done
            assert (work.sentences, work.target_tokens, work.failures) == (2, 6, 0)  # "abc." and "b."
            assert work.steps == 4

    run(test)
