"""What listeners are told of sentences under way: their tokens as they are certain, and when they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from service.decoding.progress import Progress
from service.decoding.search import SearchBatch
from service.domain import DecodingJob, Hypothesis, SettledTokens
from service.engine.engine import Engine
from service.errors import DecodingError
from tests.service.engine_fakes import FailingBackend, run, running
from tests.service.scripted_backend import GARDEN_PATH, IDS, ScriptedBackend, copying, make_job, random_model, scripted
from tests.service.test_engine_trouble import FailingStepBackend
from tests.service.test_search_rules import varied_jobs


def check_prefix(heard: list[SettledTokens], best: Hypothesis) -> int:
    """Checks that what was heard is how the hypothesis begins; returns how many tokens that are."""
    count = 0
    for tokens in heard:
        part = slice(count, count + len(tokens.target_ids))
        assert tokens.first == count
        assert tokens.target_ids == best.target_ids[part]
        np.testing.assert_array_equal(tokens.token_log_probs, best.token_log_probs[part])
        expected = (best.attention, *best.other_attentions)
        assert len(tokens.attentions) == len(expected)
        for one, other in zip(tokens.attentions, expected, strict=True):
            np.testing.assert_array_equal(one, other[part])
        assert (tokens.alternatives is None) == (best.alternatives is None)
        if tokens.alternatives is not None and best.alternatives is not None:
            np.testing.assert_array_equal(tokens.alternatives.ids, best.alternatives.ids[part])
            np.testing.assert_array_equal(tokens.alternatives.log_probs, best.alternatives.log_probs[part])
        count += len(tokens.target_ids)
    return count


def listen(jobs: list[DecodingJob], backend: Any) -> tuple[list[Sequence[Progress]], list[tuple[Hypothesis, ...]]]:
    """What was told, call by call, and the answers."""
    heard: list[Sequence[Progress]] = []
    answers: list[tuple[Hypothesis, ...]] = []

    async def test() -> None:
        async with running(backend) as engine:
            answers.extend(await engine.decode(jobs, heard.append))

    run(test)
    return heard, answers


def tokens_of(heard: list[Sequence[Progress]], index: int) -> list[SettledTokens]:
    return [each.tokens for news in heard for each in news if each.index == index and each.tokens is not None]


def test_every_token_of_greedy_search_is_told_with_its_step() -> None:
    jobs = [make_job(source, min_decoding_length=4) for source in ("ab", "abcdef", "c")]
    heard, answers = listen(jobs, ScriptedBackend(random_model(".abcdef", seed=5), mechanisms=2))
    for index, [best] in enumerate(answers):
        tokens = tokens_of(heard, index)
        assert [len(each.target_ids) for each in tokens] == [1] * (len(best.target_ids) - 1)
        check_prefix(tokens, best)


def test_a_listener_is_called_once_a_step() -> None:
    jobs = [make_job(source) for source in ("ab", "abcd", "c")]
    heard, _ = listen(jobs, ScriptedBackend(copying))
    told = [[(each.index, each.tokens is not None, each.hypotheses is not None) for each in news] for news in heard]
    started = [(index, False, False) for index in (2, 0, 1)]  # the shorter first
    assert told == [
        [*started, *((index, True, False) for index in (2, 0, 1))],
        [(2, False, True), (0, True, False), (1, True, False)],
        [(0, False, True), (1, True, False)],
        [(1, True, False)],
        [(1, False, True)],
    ]


def test_results_are_told_as_each_sentence_is_done() -> None:
    heard, answers = listen(varied_jobs(), ScriptedBackend(random_model(".abcdef", seed=7)))
    results = {each.index: each.hypotheses for news in heard for each in news if each.hypotheses is not None}
    assert [results[index] is answer for index, answer in enumerate(answers)] == [True] * len(varied_jobs())


@pytest.mark.parametrize("seed", range(5))
def test_what_is_told_is_never_taken_back(seed: int) -> None:
    jobs = varied_jobs()
    heard, answers = listen(jobs, ScriptedBackend(random_model(".abcdef", seed), mechanisms=2))
    told = 0
    for index, hypotheses in enumerate(answers):
        told += check_prefix(tokens_of(heard, index), hypotheses[0])
    assert told > len(jobs)


def test_a_beam_tells_what_all_its_hypotheses_share() -> None:
    batch = SearchBatch(ScriptedBackend(scripted(GARDEN_PATH)), IDS)
    [number] = batch.admit([make_job("x", prefix="a", beam_size=3)])
    assert batch.settled(number, 0) is None
    batch.step()
    tokens = batch.settled(number, 0)
    assert tokens is not None
    assert len(tokens.target_ids) == 1  # the prefix
    batch.step()  # "ac", "ad" and "a."
    tokens = batch.settled(number, 0)
    assert tokens is not None
    assert len(tokens.target_ids) == 1
    assert batch.settled(number, 1) is None
    batch.drop([number])
    assert batch.settled(number, 0) is None


def test_nobody_is_told_of_others() -> None:
    heard: list[int] = []

    async def test() -> None:
        async with running(FailingBackend(random_model(".abcdef", seed=1))) as engine:
            await asyncio.gather(
                engine.decode(
                    [make_job("ab", min_decoding_length=3)], lambda news: heard.extend(each.index for each in news)
                ),
                engine.decode([make_job("ab")] * 5),
                engine.decode([make_job("x")]),
                return_exceptions=True,
            )

    run(test)
    assert set(heard) == {0}


def test_a_sentence_that_begins_again_is_told_of_once() -> None:
    heard: list[Sequence[Progress]] = []

    async def test() -> None:
        engine = Engine(FailingStepBackend(copying), IDS)
        good = asyncio.create_task(engine.decode([make_job("abcdefg")], heard.append))
        bad = asyncio.create_task(engine.decode([make_job("abcx")]))
        await asyncio.sleep(0)
        engine.start()  # both begin together
        [[best]] = await good
        with pytest.raises(DecodingError):
            await bad
        await engine.stop(1)
        assert check_prefix(tokens_of(heard, 0), best) == len("abcdefg")

    run(test)


def test_nothing_is_looked_up_for_those_who_do_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(SearchBatch, "settled", fail)

    async def test() -> None:
        async with running(ScriptedBackend(copying)) as engine:
            assert len(await engine.decode([make_job("ab"), make_job("abc", beam_size=2)])) == 2
            assert engine.work_done.failures == 0

    run(test)
