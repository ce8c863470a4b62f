"""The engine under concurrent callers: shared batches, budgets, full queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.decoding.lane import Hypotheses
from service.decoding.search import decode
from service.engine.engine import Engine
from service.engine.limits import EngineLimits
from service.errors import OverloadedError, TextTooLongError
from tests.service.engine_fakes import GatedBackend, best, run, running
from tests.service.scripted_backend import IDS, ScriptedBackend, copying, make_job, random_model


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
    ("limits", "most_rows"),
    [
        (EngineLimits(max_live_rows=4), 4),
        (EngineLimits(max_padded_memory_tokens=20), 4),  # two sentences x beam 2 x 5 source tokens
        (EngineLimits(max_live_rows=1), 2),  # a single sentence is always decoded
    ],
)
def test_batches_keep_to_the_budgets(limits: EngineLimits, most_rows: int) -> None:
    async def test() -> None:
        backend = ScriptedBackend(random_model("abc.", seed=3))
        async with running(backend, limits) as engine:
            jobs = [make_job("abcd", beam_size=2, min_decoding_length=3)]
            await asyncio.gather(*(engine.decode(jobs * 2) for _ in range(3)))
        assert max(backend.rows_per_step) == most_rows

    run(test)


@asynccontextmanager
async def one_place_left() -> AsyncIterator[tuple[Engine, GatedBackend, asyncio.Task[list[Hypotheses]]]]:
    """An engine in whose queue of two a sentence waits, `b`, behind one that is held."""
    backend = GatedBackend()
    async with running(backend, EngineLimits(max_queue=2)) as engine:
        first = asyncio.create_task(engine.decode([make_job("a")]))
        await backend.is_reached()
        second = asyncio.create_task(engine.decode([make_job("b")]))
        await asyncio.sleep(0)
        yield engine, backend, second
        await first


def test_a_full_queue_refuses_at_once() -> None:
    async def test() -> None:
        async with one_place_left() as (engine, backend, second):
            with pytest.raises(OverloadedError) as refusal:
                await engine.decode([make_job("c")] * 2)
            assert refusal.value.retry_after_s > 0
            backend.allow()
            assert best((await second)[0]) == "b."

    run(test)


def test_room_is_kept_for_sentences_that_are_being_prepared() -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying), EngineLimits(max_queue=3)) as engine:
            with engine.reserve(2):
                with pytest.raises(OverloadedError), engine.reserve(2):
                    pass
                with engine.reserve(1), pytest.raises(OverloadedError), engine.reserve(1):
                    pass
            with engine.reserve(3):
                pass
            with pytest.raises(TextTooLongError), engine.reserve(4):
                pass

    run(test)


def test_waiting_sentences_take_room() -> None:
    async def test() -> None:
        async with one_place_left() as (engine, backend, second):
            with pytest.raises(OverloadedError), engine.reserve(2):
                pass
            with engine.reserve(1), engine.reserve(0), pytest.raises(OverloadedError):
                await engine.decode([make_job("c")])
            backend.allow()
            await second
            with engine.reserve(2):
                pass

    run(test)


def test_more_jobs_than_the_queue_can_ever_hold_are_too_much_text() -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying), EngineLimits(max_queue=2)) as engine:
            with pytest.raises(TextTooLongError):
                await engine.decode([make_job("a")] * 3)

    run(test)


def test_work_is_counted() -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying)) as engine:
            await engine.decode([make_job("abc"), make_job("b")])
            work = engine.work_done
            assert (work.sentences, work.target_tokens, work.failures) == (2, 6, 0)  # "abc." and "b."
            assert work.steps == 4

    run(test)
