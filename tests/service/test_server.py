"""How the serving process treats its memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from service.server import COLLECT_AFTER, spare_what_is_loaded


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
