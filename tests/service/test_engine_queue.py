"""The order in which sentences start: turns, overtaking, and how much starts at a time. Without threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.engine.grouping import group_by_length
from service.engine.limits import EngineLimits, Load
from service.engine.queue import MAX_OVERTAKES, MAX_TOKENS_AT_ONCE, JobQueue
from service.engine.submission import Submission, Ticket
from service.errors import OverloadedError, ShuttingDownError
from tests.service.scripted_backend import decode_letters, make_job


class Harness:
    """A queue with a running batch made up by hand: `run` starts what fits, `end` ends sentences."""

    def __init__(self, **limits: int) -> None:
        self.queue = JobQueue(EngineLimits(**limits))
        self.running: list[Ticket] = []
        self.loop = asyncio.new_event_loop()

    def put(self, *sources: str, beam_size: int = 1) -> Submission:
        submission = Submission([make_job(source, beam_size=beam_size) for source in sources], self.loop)
        self.queue.put(submission)
        return submission

    @property
    def load(self) -> Load:
        load = Load()
        for ticket in self.running:
            load = load.plus(ticket.job)
        return load

    def run(self) -> list[str]:
        started = self.queue.take(self.load, wait=False)
        self.running += started
        return names(started)

    def end(self, count: int = 1) -> None:
        del self.running[:count]


@pytest.fixture
def harness() -> Harness:
    made = Harness(max_live_rows=4, max_padded_memory_tokens=40, max_queue=500)
    yield made  # type: ignore[misc]
    made.loop.close()


def names(tickets: Sequence[Ticket]) -> list[str]:
    return [decode_letters(ticket.job.source_ids)[:-1] for ticket in tickets]


def test_requests_take_turns(harness: Harness) -> None:
    harness.put("a", "b", "c", "d", "e")
    harness.put("f")
    harness.put("g", "h")
    assert harness.run() == ["a", "f", "g", "b"]
    harness.end(4)
    assert harness.run() == ["h", "c", "d", "e"]
    assert len(harness.queue) == 0


def test_a_request_of_one_sentence_waits_for_one_turn_not_for_a_thousand_sentences(harness: Harness) -> None:
    harness.put(*["a"] * 400)
    harness.run()
    harness.put("b")
    harness.end()
    assert harness.run() == ["a"]
    harness.end()
    assert harness.run() == ["b"]


def test_a_sentence_that_does_not_fit_is_next_as_soon_as_it_does(harness: Harness) -> None:
    harness.put("a", "a")
    harness.run()
    harness.put("b" * 15)  # 16 tokens: three rows would be 48
    harness.put("c")
    assert harness.run() == ["c"]  # which is short, and overtakes
    harness.end(2)
    harness.put("d")
    assert harness.run() == ["b" * 15]  # now two rows of 16; a third would be too many
    harness.end(1)
    assert harness.run() == ["d"]


def test_a_long_sentence_is_not_overtaken_for_ever(harness: Harness) -> None:
    long = "b" * 30
    harness.put("a", "a", "a")
    harness.run()
    harness.put(long)
    started: list[str] = []
    for _ in range(3 * MAX_OVERTAKES):
        harness.put("c")  # there is always another short one
        started += harness.run()
        harness.end()
    assert started.index(long) == MAX_OVERTAKES


def test_short_sentences_are_not_kept_waiting_by_long_ones(harness: Harness) -> None:
    for _ in range(3):
        harness.put(*["b" * 30] * 20)  # a second row would be too much beside any of them
    harness.put("a")
    started: list[str] = []
    for _ in range(70):
        started += harness.run()
        harness.end()
    assert len(started) == 61
    assert started.index("a") == 3  # one turn of each other request


def test_a_withdrawn_sentence_blocks_nobody(harness: Harness) -> None:
    harness.put("a", "a", "a")
    harness.run()
    long = harness.put("b" * 30)
    for _ in range(MAX_OVERTAKES):
        harness.put("c")
        harness.run()
        harness.end()
    harness.put("d")
    assert harness.run() == []
    harness.queue.withdraw(long)
    assert harness.run() == ["d"]


def test_a_sentence_beyond_the_budgets_runs_alone(harness: Harness) -> None:
    harness.put("b" * 60, beam_size=8)
    harness.put("a")
    assert harness.run() == ["b" * 60]
    assert harness.run() == []
    harness.end()
    assert harness.run() == ["a"]


def test_beam_rows_count(harness: Harness) -> None:
    harness.put("a", beam_size=3)
    harness.put("b", beam_size=3)
    harness.put("c")
    assert harness.run() == ["a", "c"]
    harness.end()
    assert harness.run() == ["b"]


def test_no_more_starts_at_once_than_is_encoded_in_a_moment() -> None:
    harness = Harness(max_queue=500)
    harness.put(*["a" * 63] * 100)
    assert len(harness.run()) == MAX_TOKENS_AT_ONCE // 64
    assert len(harness.run()) == MAX_TOKENS_AT_ONCE // 64
    harness.loop.close()


def test_a_nearly_full_batch_waits_until_several_can_start_together() -> None:
    harness = Harness(max_live_rows=64)
    harness.put(*["a"] * 70)
    assert len(harness.run()) == 64
    harness.end(3)
    assert harness.run() == []
    harness.end(1)
    assert len(harness.run()) == 4
    harness.loop.close()


def test_a_full_queue_and_a_closed_one_take_nothing() -> None:
    harness = Harness(max_queue=3)
    harness.put("a", "b")
    with pytest.raises(OverloadedError):
        harness.put("c", "d")
    assert len(harness.queue) == 2
    harness.put("c")
    harness.queue.close()
    with pytest.raises(ShuttingDownError):
        harness.put("d")
    assert harness.run() == ["a", "c", "b"]
    assert harness.queue.take(Load(), wait=True) == []
    harness.loop.close()


def test_sentences_of_like_length_are_encoded_together() -> None:
    harness = Harness(max_queue=500)
    harness.put(*("a" * (length - 1) for length in (30, 10, 12, 11, 31, 90, 10)))
    groups = group_by_length(harness.queue.take(Load(), wait=False))
    assert [[len(ticket.job.source_ids) for ticket in group] for group in groups] == [[10, 10, 11, 12], [30, 31], [90]]
    assert group_by_length([]) == []
    harness.loop.close()
