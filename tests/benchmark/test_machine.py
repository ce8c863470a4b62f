from __future__ import annotations

import time

import pytest

from tests.benchmark import machine
from tests.benchmark.machine import WorkMeter, describe_machine


def test_the_machine_is_described_in_words() -> None:
    described = describe_machine()
    assert all(described.values())
    assert {"processor", "cores", "system", "Python", "packages", "date", "code"} <= described.keys()
    assert "numpy" in described["packages"]


def test_work_of_others_is_what_is_neither_idle_nor_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(100.0, 1.0), (130.0, 2.0)])
    own = iter([10.0, 30.0])
    times = iter([0.0, 20.0])
    monkeypatch.setattr(machine, "_busy_and_stolen_s", lambda: next(readings))
    monkeypatch.setattr(machine, "_own_cpu_s", lambda: next(own))
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    work = WorkMeter().read()
    assert work.other_cores == pytest.approx((30 - 20) / 20)
    assert work.stolen_cores == pytest.approx(1 / 20)
