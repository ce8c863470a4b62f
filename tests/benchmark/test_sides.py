from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

import pytest

from tests.benchmark.sides.catalogue import Split, splits
from tests.benchmark.sides.cell import Cell
from tests.benchmark.sides.pool import Measurement, SideSpec
from tests.benchmark.sides.tables import overhead_table, ratio_table, speed_table
from tests.benchmark.sides.worker import BatchSide, repeat

CELL = Cell(batch=2, beam_size=1, source_length=12, target_length=10)
SINGLE = Cell(batch=1, beam_size=1, source_length=12, target_length=10)


class FakeTranslator:
    """Gives translations of `length` tokens; counts calls lane by lane."""

    def __init__(self, length: int, lanes: int = 1) -> None:
        self.lanes = lanes
        self.calls = [0] * lanes
        self._length = length
        self._batch = 0

    def set_cell(self, cell: Cell) -> None:
        self._batch = cell.batch

    def translate(self, lane: int) -> Sequence[int]:
        self.calls[lane] += 1
        return [self._length] * self._batch

    def figures(self) -> dict[str, float]:
        return {"step_s": 0.5}


def measurement(side: str, round_number: int, sentences_per_s: float, cell: Cell = CELL) -> Measurement:
    figures = {"encoder_s": 0.2, "step_s": 0.6}
    return Measurement(side, cell, round_number, sentences_per_s, (0.25, 0.75), figures)


# --- Measuring --------------------------------------------------------------------------------------------------


def test_calls_are_repeated_until_the_time_is_over_and_at_least_as_often_as_asked() -> None:
    calls: list[float] = []
    durations = repeat(lambda: calls.append(time.perf_counter()), 0.0, time.perf_counter() + 0.02, min_calls=3)
    assert len(calls) == len(durations) == 3
    started = time.perf_counter()
    durations = repeat(lambda: time.sleep(0.001), 0.02, 0.0)
    assert time.perf_counter() - started >= sum(durations) >= 0.02


def test_every_lane_works_and_reports_its_calls() -> None:
    translator = FakeTranslator(length=10, lanes=2)
    side = BatchSide(translator)
    side.prepare(asdict(CELL))
    warm_up = list(translator.calls)
    result = side.run(0.0, 0.0)
    side.close()
    assert [len(lane) for lane in result["durations_s"]] == [2, 2]
    assert translator.calls == [calls + 2 for calls in warm_up]
    assert result["step_s"] == 0.5


def test_a_side_that_translates_to_another_length_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"translations of \[11\] tokens"):
        BatchSide(FakeTranslator(length=11)).prepare(asdict(CELL))


def test_a_side_is_spared_what_it_cannot_do() -> None:
    spec = SideSpec("naive", "module", {}, max_batch=1, max_beam_size=1)
    assert spec.can_do(Cell(1, 1, 12, 12))
    assert not spec.can_do(Cell(2, 1, 12, 12))
    assert not spec.can_do(Cell(1, 4, 12, 12))
    assert SideSpec("engine", "module", {}).can_do(Cell(64, 4, 12, 12))


def test_tokens_are_those_of_the_target() -> None:
    assert measurement("engine", 0, sentences_per_s=7).tokens_per_s == 70


# --- Splits -----------------------------------------------------------------------------------------------------


def test_cores_are_used_by_threads_lanes_or_processes() -> None:
    assert splits(2) == [Split(), Split(threads=2), Split(lanes=2), Split(processes=2)]
    assert [split.cores for split in splits(2)] == [1, 2, 2, 2]
    assert splits(1) == [Split()]
    assert [split.describe("engines") for split in splits(2)] == [
        "1 thread",
        "2 threads",
        "2 engines x 1 thread",
        "2 processes x 1 thread",
    ]


# --- Tables -----------------------------------------------------------------------------------------------------


def test_rates_are_medians_and_single_sentences_have_percentiles() -> None:
    rounds = [measurement("engine", number, rate) for number, rate in enumerate((3.0, 1.0, 2.0))]
    rounds.append(measurement("engine", 0, 5.0, SINGLE))
    table = speed_table(rounds, "Speed")
    assert table.columns[4:8] == [
        "batch 1: tokens/s",
        "batch 1: sentences/s",
        "batch 2: tokens/s",
        "batch 2: sentences/s",
    ]
    [row] = table.rows
    assert row[:8] == ["engine", 1, 12, 10, 50.0, 5.0, 20.0, 2.0]
    assert row[8] == pytest.approx(500)  # half way between 250 and 750 ms


def test_overhead_is_the_part_of_the_steps_outside_onnxruntime() -> None:
    [row] = overhead_table([measurement("engine", 0, 1.0)]).rows
    # Of 1.0 s, 0.2 s are the encoder's; of the other 0.8 s, 0.6 s are spent inside onnxruntime.
    assert row[-2:] == [pytest.approx(20), pytest.approx(25)]


def test_ratios_compare_sides_with_as_many_cores_and_take_the_fastest_split() -> None:
    ours = [SideSpec("one", "m", {}), SideSpec("threads", "m", {}, cores=2), SideSpec("processes", "m", {}, cores=2)]
    others = [SideSpec("rival", "m", {}), SideSpec("rival x 2", "m", {}, cores=2)]
    rates = {"one": 30.0, "threads": 40.0, "processes": 50.0, "rival": 10.0, "rival x 2": 20.0}
    measurements = [measurement(side, number, rate) for number in (0, 1) for side, rate in rates.items()]
    assert ratio_table(measurements, ours, others).rows == [
        ["rival", 1, 12, 10, 3.0],
        ["rival x 2", 1, 12, 10, 2.5],
    ]
