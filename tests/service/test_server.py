"""How the serving process treats its memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import service.server
from service.engine.worker import WorkDone
from service.server import COLLECT_AFTER, keep_memory_low, spare_what_is_loaded


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_garbage_collector_leaves_what_is_loaded_alone() -> None:
    loaded = [{"text": "tea"}]
    spare_what_is_loaded()
    assert gc.get_freeze_count() > 0
    assert not any(each is loaded for each in gc.get_objects())
    assert gc.get_threshold()[0] == COLLECT_AFTER


def test_new_cycles_are_still_found() -> None:
    spare_what_is_loaded()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1


def test_memory_is_given_back_after_each_time_in_which_something_was_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[int] = []
    engine = SimpleNamespace(work_done=WorkDone(steps=3))
    state: Any = SimpleNamespace(ready_models=SimpleNamespace(engines={"model": engine}))
    times = iter([3, 3, 8, 8, 8, 9])  # steps at the end of each interval

    async def pass_time(seconds: float) -> None:
        assert seconds == service.server.GIVE_BACK_MEMORY_EVERY_S
        engine.work_done.steps = next(times)

    monkeypatch.setattr(service.server, "give_back_memory", lambda: given_back.append(engine.work_done.steps))
    monkeypatch.setattr(asyncio, "sleep", pass_time)
    with contextlib.suppress(RuntimeError):  # from the last `next`
        asyncio.run(keep_memory_low(state))
    assert given_back == [3, 8, 9]
