"""How work in the engine ends early: waiting too long, clients that go, models that fail, the shutdown."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from service.decoding.search import SearchBatch
from service.engine.engine import Engine
from service.engine.limits import EngineLimits
from service.errors import DecodingError, InvalidRequestError, OverloadedError, ShuttingDownError
from tests.service.engine_fakes import PATIENCE_S, FailingBackend, GatedBackend, best, run, running
from tests.service.scripted_backend import IDS, ScriptedBackend, copying, make_job


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
            for wrong in (make_job("b", num_hypotheses=2), replace(make_job(""), source_ids=())):
                with pytest.raises(InvalidRequestError):
                    await engine.decode([make_job("a"), wrong])
            assert engine.queue_length == 0
        assert backend.rows_per_step == []

    run(test)


@pytest.mark.parametrize("workers", [1, 2])
def test_stopping_finishes_accepted_work_and_refuses_new(workers: int) -> None:
    async def test() -> None:
        backend = GatedBackend()
        engine = Engine(backend, IDS, workers=workers)
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


@pytest.mark.parametrize("workers", [1, 2])
def test_stopping_in_time_drops_what_is_left(workers: int) -> None:
    async def test() -> None:
        backend = GatedBackend()
        engine = Engine(backend, IDS, EngineLimits(max_live_rows=workers), workers)
        engine.start()
        calls = [asyncio.create_task(engine.decode([make_job(source)])) for source in ("a", "b", "c")]
        await backend.is_reached()
        stopping = asyncio.create_task(engine.stop(0.01))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ShuttingDownError] * 3
        backend.allow()
        await stopping
        assert not engine.is_running

    run(test)


def die_once(drop: Callable[..., None]) -> Callable[..., None]:
    """In place of a batch's method: ends the first thread that calls it."""
    calls = itertools.count()

    def die_or_drop(batch: SearchBatch, sentences: Sequence[int]) -> None:
        if next(calls) == 0:
            raise SystemExit
        drop(batch, sentences)

    return die_or_drop


def test_the_death_of_one_of_two_workers_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        backend = GatedBackend()
        engine = Engine(backend, IDS, EngineLimits(max_live_rows=2), workers=2)
        engine.start()
        calls = [asyncio.create_task(engine.decode([make_job(source)])) for source in ("ab", "cd", "ef")]
        await backend.is_reached()
        monkeypatch.setattr(SearchBatch, "drop", die_once(SearchBatch.drop))
        calls[0].cancel()  # a worker finds out at its next step
        await asyncio.gather(calls[0], return_exceptions=True)
        backend.allow()
        others = await asyncio.gather(*calls[1:], return_exceptions=True)
        assert all(isinstance(answer, DecodingError | list) for answer in others)
        while engine.is_running:
            await asyncio.sleep(0.001)
        with pytest.raises(ShuttingDownError):
            await engine.decode([make_job("a")])
        await engine.stop(PATIENCE_S)

    run(test)
