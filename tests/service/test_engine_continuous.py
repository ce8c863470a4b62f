"""One running batch: sentences join it and leave it between steps, and get what they would get alone."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import numpy as np
import pytest

from service.decoding.backend import DecoderRows, StepOutput
from service.decoding.search import SearchBatch, decode
from service.domain import DecodingJob, Hypothesis
from service.engine.engine import Engine
from service.engine.limits import EngineLimits, Load
from service.errors import DecodingError, OverloadedError
from tests.service.engine_fakes import GatedBackend, best, run, running
from tests.service.scripted_backend import (
    IDS,
    ScriptedBackend,
    assert_same,
    copying,
    encode_letters,
    make_job,
    random_model,
)
from tests.service.test_search_mechanisms import PointingBackend
from tests.service.test_search_rules import varied_jobs


class WatchedBackend(ScriptedBackend):
    """Notes the memory that each step reads, in padded tokens, and what is encoded at a time."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.padded_tokens: list[int] = []
        self.encoded: list[int] = []

    def encode(self, source_ids: Any, source_lengths: Any) -> DecoderRows:
        self.encoded.append(int(source_lengths.sum()))
        return super().encode(source_ids, source_lengths)

    def decode_step(self, input_ids: Any, rows: DecoderRows, forced_ids: Any, num_candidates: int) -> StepOutput:
        self.padded_tokens.append(rows.source_mask.size)
        assert len(rows.source_mask) == len(input_ids) == len(forced_ids) == len(rows.state[0])
        return super().decode_step(input_ids, rows, forced_ids, num_candidates)


def decode_at_random(backend: Any, jobs: list[DecodingJob], seed: int) -> list[tuple[Hypothesis, ...] | None]:
    """Lets jobs join a batch in random groups at random steps, and drops some on the way."""
    chance = random.Random(seed)
    batch = SearchBatch(backend, IDS)
    waiting = list(range(len(jobs)))
    chance.shuffle(waiting)
    numbers: dict[int, int] = {}
    results: list[Any] = [None] * len(jobs)
    while waiting or len(batch):
        if waiting and (not len(batch) or chance.random() < 0.4):
            group = [waiting.pop() for _ in range(min(len(waiting), chance.randint(1, 5)))]
            numbers.update(zip(batch.admit([jobs[index] for index in group]), group, strict=True))
        if numbers and chance.random() < 0.05:
            batch.drop(chance.choices(list(numbers), k=chance.randint(1, 2)))
        for number, outcome in batch.step().items():
            results[numbers[number]] = outcome
    assert batch.live_rows == 0
    return results


@pytest.mark.parametrize("seed", range(6))
def test_sentences_get_alone_what_they_get_wherever_they_join(seed: int) -> None:
    model = random_model(".abcdef", seed=5)
    jobs = varied_jobs()
    results = decode_at_random(ScriptedBackend(model, mechanisms=2), jobs, seed)
    assert sum(result is None for result in results) < len(jobs) / 2
    for job, result in zip(jobs, results, strict=True):
        if result is not None:
            [alone] = decode(ScriptedBackend(model, mechanisms=2), [job], IDS)
            assert_same(result, alone)


@pytest.mark.parametrize("seed", range(4))
def test_state_with_a_source_dimension_fits_every_width(seed: int) -> None:
    jobs = [
        make_job("abcdefghijklmnop"[: 1 + (5 * index) % 16], beam_size=1 + index % 4, num_hypotheses=1)
        for index in range(24)
    ]
    for job, result in zip(jobs, decode_at_random(PointingBackend(), jobs, seed), strict=True):
        if result is not None:
            [alone] = decode(PointingBackend(), [job], IDS)
            assert_same(result, alone)


def test_arrays_become_narrow_again_when_a_long_sentence_has_left() -> None:
    backend = WatchedBackend(copying)
    batch = SearchBatch(backend, IDS)
    batch.admit([make_job("a" * 9), make_job("b" * 9)])
    [long] = batch.admit([make_job("c" * 39)])
    batch.step()
    assert backend.padded_tokens[-1] == 3 * 40
    batch.drop([long])
    batch.step()
    assert backend.padded_tokens[-1] == 2 * 10


def test_memory_is_not_copied_at_every_step() -> None:
    seen: list[Any] = []

    class NotingBackend(ScriptedBackend):
        def decode_step(self, input_ids: Any, rows: DecoderRows, *others: Any) -> StepOutput:
            seen.append(rows.memory[0].ctypes.data)
            return super().decode_step(input_ids, rows, *others)

    batch = SearchBatch(NotingBackend(copying), IDS)
    batch.admit([make_job("abcdef", beam_size=3), make_job("abcdefg", beam_size=3), make_job("a")])
    while len(batch):
        batch.step()
    # The first step has one row per sentence; the third greedy step gives up the first row, and its hole is filled.
    assert len(set(seen)) <= 3


def test_a_short_sentence_joins_at_the_next_step_and_leaves_before_a_long_one() -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend) as engine:
            long = asyncio.create_task(engine.decode([make_job("abcdefghij")]))
            await backend.is_reached()
            short = asyncio.create_task(engine.decode([make_job("xy")]))
            await asyncio.sleep(0)
            backend.allow(1 + len("xy."))
            assert best((await short)[0]) == "xy."
            assert not long.done()
            backend.allow()
            assert best((await long)[0]) == "abcdefghij."
        assert backend.rows_per_step[:2] == [1, 2]

    run(test)


@pytest.mark.parametrize("seed", range(3))
def test_arrivals_at_random_keep_to_the_budgets_and_change_no_result(seed: int) -> None:
    model = random_model(".abcdef", seed=5)
    limits = EngineLimits(max_live_rows=12, max_padded_memory_tokens=120, max_queue_wait_s=None)
    jobs = [job for job in varied_jobs() if job.options.rows <= limits.max_live_rows] * 2

    async def test() -> None:
        backend = WatchedBackend(model)
        chance = random.Random(seed)

        async def ask(job: DecodingJob) -> tuple[Hypothesis, ...]:
            await asyncio.sleep(chance.random() * 0.2)
            [answer] = await engine.decode([job])
            return answer

        async with running(backend, limits) as engine:
            answers = await asyncio.gather(*map(ask, jobs))
        assert max(backend.rows_per_step) <= limits.max_live_rows
        assert max(backend.padded_tokens) <= limits.max_padded_memory_tokens
        for job, answer in zip(jobs, answers, strict=True):
            [alone] = decode(ScriptedBackend(model), [job], IDS)
            assert_same(answer, alone)

    run(test)


def test_a_request_ends_at_its_deadline_and_frees_its_rows() -> None:
    async def test() -> None:
        backend = GatedBackend()
        async with running(backend, EngineLimits(max_request_s=0.05)) as engine:
            with pytest.raises(OverloadedError, match="took too long"):
                await engine.decode([make_job("abcdef"), make_job("fedcba")])
            backend.allow(1)
            while engine.work_done.live_rows:
                await asyncio.sleep(0.001)
            backend.allow()
            assert best((await engine.decode([make_job("a")]))[0]) == "a."
        assert backend.rows_per_step[1:] == [1, 1]  # the step that was under way, and those of the second request

    run(test)


class MoodyBackend(ScriptedBackend):
    """Copies its source; a step fails when a sentence with an `x` has produced that far, or `together` too many do."""

    def __init__(self, together: int = 1000) -> None:
        super().__init__(copying)
        self.together = together

    def decode_step(self, input_ids: Any, *arguments: Any) -> StepOutput:
        if encode_letters("x")[0] in input_ids or len(input_ids) > self.together:
            raise RuntimeError("a secret of the backend")
        return super().decode_step(input_ids, *arguments)


def test_a_step_that_fails_fails_only_the_sentence_that_makes_it_fail() -> None:
    async def test() -> None:
        async with running(MoodyBackend()) as engine:
            jobs = [
                [make_job("abc")],
                [make_job("abx")],
                [make_job("c", beam_size=2), make_job("bxa")],
                [make_job("b")],
            ]
            answers = await asyncio.gather(*map(engine.decode, jobs), return_exceptions=True)
            assert [isinstance(answer, DecodingError) for answer in answers] == [False, True, True, False]
            assert "secret" not in str(answers[1])
            assert best(answers[0][0]) == "abc."  # type: ignore[index]
            assert engine.work_done.failures >= 3
            assert best((await engine.decode([make_job("ab")]))[0]) == "ab."

    run(test)


def test_a_batch_too_large_for_the_backend_is_decoded_in_the_end() -> None:
    async def test() -> None:
        async with running(MoodyBackend(together=3)) as engine:
            answers = await asyncio.gather(*(engine.decode([make_job("ab" * n)]) for n in range(1, 6)))
            assert [best(answer[0]) for answer in answers] == ["ab" * n + "." for n in range(1, 6)]

    run(test)


def test_a_sentence_without_finite_probabilities_fails_alone() -> None:
    def model(source: str, target: str) -> Any:
        return {"a": np.nan} if source == "nan" and target else copying(source, target)

    async def test() -> None:
        async with running(ScriptedBackend(model)) as engine:
            jobs = [
                [make_job("abcdef", beam_size=size) for size in (1, 2)],
                [make_job("nan"), make_job("abc")],
                [make_job("nan", beam_size=2)],
                [make_job("nan", sampling_top_k=3, num_hypotheses=2)],
                [make_job("nan", beam_size=2, search_mode="tfa")],  # type: ignore[arg-type]
            ]
            first, *others = await asyncio.gather(*map(engine.decode, jobs), return_exceptions=True)
            assert [best(each) for each in first] == ["abcdef."] * 2  # type: ignore[union-attr, arg-type]
            assert all(isinstance(other, DecodingError) for other in others)

    run(test)


def test_a_defect_of_the_engine_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with running(ScriptedBackend(copying)) as engine:
            with monkeypatch.context() as patch:
                patch.setattr(engine._workers[0], "_answer", None)
                calls = [engine.decode([make_job("ab")]), engine.decode([make_job("c"), make_job("abcd")])]
                answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(answer) for answer in answers] == [DecodingError] * 2
            assert engine.is_running
            assert best((await engine.decode([make_job("a")]))[0]) == "a."

    run(test)


def test_many_cancellations_leave_nothing_behind() -> None:
    async def test() -> None:
        backend = ScriptedBackend(random_model("abcdef.", seed=1))
        async with running(backend) as engine:
            chance = random.Random(5)
            calls = [
                asyncio.create_task(engine.decode([make_job("abcd", beam_size=1 + n % 3)] * (1 + n % 4)))
                for n in range(60)
            ]
            for call in chance.sample(calls, 30):
                await asyncio.sleep(0.001)
                call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(answer, list | asyncio.CancelledError) for answer in answers)
            while engine.work_done.live_rows:
                await asyncio.sleep(0.001)
            assert engine.queue_length == 0
            assert engine._workers[0]._tickets() == []
            assert engine._workers[0]._load() == Load()

    run(test)


def test_every_submitted_job_is_answered_when_the_engine_stops_under_load() -> None:
    async def test() -> None:
        engine = Engine(ScriptedBackend(random_model("abcdef.", seed=1)), IDS)
        engine.start()
        calls = [asyncio.create_task(engine.decode([make_job("abc")] * 5)) for _ in range(20)]
        await asyncio.sleep(0)
        await engine.stop(10)
        assert [len(answer) for answer in await asyncio.gather(*calls)] == [5] * 20

    run(test)
