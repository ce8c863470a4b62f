"""Tables of what sides measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.benchmark.figures import median, median_ratio, percentile
from tests.benchmark.report import Table
from tests.benchmark.sides.cell import Cell
from tests.benchmark.sides.pool import Measurement, SideSpec


def speed_table(measurements: Sequence[Measurement], heading: str) -> Table:
    """A row for each side and each pair of beam size and lengths, with a group of columns for each batch size."""
    batches = sorted({each.cell.batch for each in measurements})
    columns = ["side", "beam", "tokens in", "tokens out"]
    for batch in batches:
        columns += [f"batch {batch}: {unit}/s" for unit in ("tokens", "sentences")]
    columns += [f"one sentence, ms, {name}" for name in ("p50", "p95")] if 1 in batches else []
    rows: list[list[object]] = []
    for side, beam_size, source, target in dict.fromkeys(map(_row_key, measurements)):
        row: list[object] = [side, beam_size, source, target]
        for batch in batches:
            found = select(measurements, side, Cell(batch, beam_size, source, target))
            rate = median([each.sentences_per_s for each in found])
            row += [rate * target, rate]
        if 1 in batches:
            single = select(measurements, side, Cell(1, beam_size, source, target))
            durations = [duration for each in single for duration in each.durations_s]
            row += [percentile(durations, share) * 1e3 for share in (50, 95)]
        rows.append(row)
    return Table(heading, columns, rows)


def _row_key(measurement: Measurement) -> tuple[str, int, int, int]:
    cell = measurement.cell
    return measurement.side, cell.beam_size, cell.source_length, cell.target_length


def select(measurements: Sequence[Measurement], side: str, cell: Cell) -> list[Measurement]:
    """One side's measurements of one cell, round by round."""
    return [each for each in measurements if each.side == side and each.cell == cell]


def overhead_share(measurement: Measurement) -> float:
    """Which part of the time after the encoder is spent outside onnxruntime."""
    steps = sum(measurement.durations_s) - measurement.figures["encoder_s"]
    return 1 - measurement.figures["step_s"] / steps


def encoder_share(measurement: Measurement) -> float:
    """Which part of all time is the encoder's."""
    return measurement.figures["encoder_s"] / sum(measurement.durations_s)


def overhead_table(measurements: Sequence[Measurement]) -> Table:
    """Where the time of sides with one lane goes; with several, the Python of one waits for that of another."""
    rows: list[list[object]] = []
    for side, cell in dict.fromkeys((each.side, each.cell) for each in measurements):
        found = select(measurements, side, cell)
        shares = [100 * median([share(each) for each in found]) for share in (encoder_share, overhead_share)]
        rows.append([side, cell.beam_size, cell.source_length, cell.batch, *shares])
    columns = ("side", "beam", "tokens in and out", "batch", "encoder, % of all", "outside onnxruntime, % of steps")
    return Table("Where the time goes", columns, rows)


def ratio_table(measurements: Sequence[Measurement], ours: Sequence[SideSpec], others: Sequence[SideSpec]) -> Table:
    """How many times as fast as each alternative the engine is, with as many cores.

    Each figure is the median of the ratios of the same round; of ours, the split of the cores is taken that is fastest
    in that cell.
    """
    cells = list(dict.fromkeys(each.cell for each in measurements))
    batches = sorted({cell.batch for cell in cells})
    rows: list[list[object]] = []
    for other in others:
        rivals = [spec.name for spec in ours if spec.cores == other.cores]
        for beam_size, source, target in dict.fromkeys((c.beam_size, c.source_length, c.target_length) for c in cells):
            ratios = [
                _best_ratio(measurements, rivals, other.name, Cell(batch, beam_size, source, target))
                for batch in batches
            ]
            if any(ratio is not None for ratio in ratios):
                rows.append([other.name, beam_size, source, target, *ratios])
    columns = ["engine / alternative", "beam", "tokens in", "tokens out", *(f"batch {batch}" for batch in batches)]
    return Table("How many times as fast the engine is", columns, rows)


def _best_ratio(measurements: Sequence[Measurement], rivals: Sequence[str], other: str, cell: Cell) -> float | None:
    theirs = [each.tokens_per_s for each in select(measurements, other, cell)]
    if not theirs:
        return None
    return max(
        median_ratio([each.tokens_per_s for each in select(measurements, rival, cell)], theirs) for rival in rivals
    )


def memory_table(memory: Mapping[str, float]) -> Table:
    """The highest that each side came to over all its cells."""
    rows = list(memory.items())
    return Table("Peak memory", ("side", "MB, all processes"), rows, ["Resident memory, shared pages counted in full."])
