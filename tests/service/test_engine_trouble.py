"""Models that fail on one sentence of many, and threads that die: nobody waits for ever, and neighbours lose little."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from service.decoding.backend import StepOutput
from service.decoding.progress import Progress
from service.engine.engine import Engine
from service.errors import DecodingError, ShuttingDownError
from tests.service.engine_fakes import FailingBackend, best, run, running
from tests.service.scripted_backend import IDS, ScriptedBackend, copying, encode_letters, make_job


class FailingStepBackend(ScriptedBackend):
    """Copies its source; a step fails when a sentence has produced an `x`."""

    def decode_step(self, input_ids: Any, *arguments: Any) -> StepOutput:
        if encode_letters("x")[0] in input_ids:
            self.rows_per_step.append(len(input_ids))
            raise RuntimeError
        return super().decode_step(input_ids, *arguments)


async def decode_together(engine: Engine, sources: list[str]) -> list[Any]:
    """Starts the engine when a request for each source waits, so that they start together."""
    calls = [asyncio.create_task(engine.decode([make_job(source)])) for source in sources]
    await asyncio.sleep(0)
    engine.start()
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("place", [0, 37, 63])
def test_one_bad_sentence_among_many_costs_a_logarithm_of_passes(place: int) -> None:
    async def test() -> None:
        backend = FailingStepBackend(copying)
        sources = ["abcdefgh"] * 64
        sources[place] = "abcx"
        engine = Engine(backend, IDS)
        answers = await decode_together(engine, sources)
        [later] = await engine.decode([make_job("ab")])
        await engine.stop(1)
        for source, answer in zip(sources, answers, strict=True):
            if source == "abcx":
                assert isinstance(answer, DecodingError)
            else:
                assert best(answer[0]) == "abcdefgh."
        assert best(later) == "ab."
        assert len(backend.rows_per_step) <= 7 * 5 + 6 * 9 + 3  # 64 = 2 ** 6; a good half takes nine steps
        assert engine.work_done.failures == 7

    run(test)


def test_one_sentence_that_cannot_be_encoded_costs_a_logarithm_of_calls() -> None:
    calls: list[int] = []

    class NotingBackend(FailingBackend):
        def encode(self, source_ids: Any, source_lengths: Any) -> Any:
            calls.append(len(source_ids))
            return super().encode(source_ids, source_lengths)

    async def test() -> None:
        sources = ["ab"] * 63 + ["xx"]
        engine = Engine(NotingBackend(copying), IDS)
        answers = await decode_together(engine, sources)
        await engine.stop(1)
        assert [isinstance(answer, DecodingError) for answer in answers] == [False] * 63 + [True]
        assert len(calls) <= 1 + 2 * 7

    run(test)


class DeadlyBackend(ScriptedBackend):
    def decode_step(self, *arguments: Any) -> StepOutput:
        raise SystemExit


def test_the_threads_death_fails_everything_open_and_refuses_at_once() -> None:
    async def test() -> None:
        engine = Engine(DeadlyBackend(copying), IDS)
        calls = [asyncio.create_task(engine.decode([make_job("ab", beam_size=4)] * 100)) for _ in range(3)]
        await asyncio.sleep(0)
        engine.start()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [DecodingError] * 3
        with pytest.raises(ShuttingDownError):
            await engine.decode([make_job("a")])
        await engine.stop(1)
        assert not engine.is_running
        assert engine.queue_length == 0

    run(test)


def test_an_engine_that_never_started_can_be_stopped() -> None:
    async def test() -> None:
        engine = Engine(ScriptedBackend(copying), IDS)
        waiting = asyncio.create_task(engine.decode([make_job("a")]))
        await asyncio.sleep(0)
        await engine.stop(1)
        with pytest.raises(ShuttingDownError):
            await waiting

    run(test)


def test_nobody_is_told_of_anything_after_the_call_has_ended() -> None:
    async def test() -> None:
        heard: list[Sequence[Progress]] = []
        async with running(ScriptedBackend(copying)) as engine:
            call = asyncio.create_task(engine.decode([make_job("abcdef")], heard.append))
            while not heard:
                await asyncio.sleep(0)
            call.cancel()
            count = len(heard)
            await asyncio.gather(call, return_exceptions=True)
            await asyncio.sleep(0.05)
            assert len(heard) == count

    run(test)
