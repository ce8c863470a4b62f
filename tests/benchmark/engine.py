"""Speed of the engine without HTTP: tokens and sentences per second, time of a single sentence, memory, overhead.

Batches of random token ids through `service.decoding.search.decode` on the service's own backend, the encoder
included. Every sentence and every translation has exactly the length that the table says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmark.command_line import Effort, effort_of, make_parser
from tests.benchmark.figures import fit_exponent, median
from tests.benchmark.report import Report, Table
from tests.benchmark.sides.catalogue import BUILT_IN, RECURRENT_NOTE, Split, engine_side, random_recurrent, splits
from tests.benchmark.sides.cell import Cell
from tests.benchmark.sides.pool import Measurement, RunningSide, SideSpec, measure_in_turns, running
from tests.benchmark.sides.tables import memory_table, overhead_table, select, speed_table

FULL = Effort(rounds=5, seconds=0.8)
QUICK = Effort(rounds=1, seconds=0.2)
BATCHES = (1, 16, 64)
CURVE_BATCH = 16
NOTES = (
    "Weights are random (but for the built-in model); lengths are pinned, as many tokens in as out unless stated.",
    f"{RECURRENT_NOTE} Attention weights are returned; there is no vocabulary shortlist.",
    "Tokens are target tokens. Medians over the rounds; in each cell the sides follow each other directly.",
    "Outside onnxruntime: share of a decoding step that is spent in Python and copies, the encoder's time left out.",
)


@dataclass(frozen=True)
class Curve:
    """A row of cells in which one size grows."""

    heading: str
    size_name: str
    cells: Mapping[int, Cell]


def main() -> int:
    """Measures everything and writes the report."""
    parser = make_parser(__doc__, FULL, QUICK)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--beams", type=int, nargs="+", default=(1, 4))
    parser.add_argument("--lengths", type=int, nargs="+", help="default 12 25 100, quick 12")
    parser.add_argument("--no-curves", action="store_true", help="leave out cost against lengths and beam size")
    arguments = parser.parse_args()
    effort = effort_of(arguments)
    report = Report("engine", "Engine without HTTP", arguments.quick, notes=list(NOTES))
    specs = choose_sides(arguments)
    with running(specs) as sides:
        measurements = measure_in_turns(sides, choose_cells(arguments), effort.rounds, effort.seconds)
        memory = {side.spec.name: side.peak_memory_mb for side in sides}
        curves = [] if arguments.no_curves else choose_curves(arguments.quick)
        measured_curves = [(curve, measure_curve(sides[0], curve, effort)) for curve in curves]
    report.tables.append(speed_table(measurements, "Speed"))
    single_lane = [spec.name for spec in specs if spec.options["lanes"] == 1]
    report.tables.append(overhead_table([each for each in measurements if each.side in single_lane]))
    report.tables += [curve_table(curve, results, sides[0].spec.name) for curve, results in measured_curves]
    report.tables.append(memory_table(memory))
    everything = [*measurements, *(each for _, results in measured_curves for each in results)]
    report.data = {"measurements": [each.as_json() for each in everything], "peak_memory_mb": memory}
    report.write(arguments.output)
    return 0


def choose_sides(arguments: argparse.Namespace) -> list[SideSpec]:
    """Both models; every split of the cores for int8; the first side is the one that curves are measured with."""
    model = random_recurrent(arguments.cache)
    single, *others = splits()
    if arguments.quick:
        return [engine_side(model, "int8", single), engine_side(BUILT_IN, "int8", single)]
    shared = Split(threads=others[0].threads) if others else single
    return [
        *(engine_side(model, "int8", split) for split in (single, *others)),
        engine_side(model, "int8", single, keep_memory=True),
        *(engine_side(model, "fp32", split) for split in dict.fromkeys((single, shared))),
        *(engine_side(BUILT_IN, "int8", split) for split in dict.fromkeys((single, shared, *others[-1:]))),
    ]


def choose_cells(arguments: argparse.Namespace) -> list[Cell]:
    """All combinations."""
    lengths = arguments.lengths or ((12,) if arguments.quick else (12, 25, 100))
    return [
        Cell(batch, beam_size, length, length)
        for length in lengths
        for beam_size in arguments.beams
        for batch in arguments.batches
    ]


def choose_curves(quick: bool) -> list[Curve]:
    """Cost against source length, against both lengths, and against beam size."""
    lengths = (10, 50, 200) if quick else (10, 20, 35, 50, 75, 100, 150, 200)
    beams = (1, 4, 8) if quick else tuple(range(1, 9))
    return [
        Curve(
            "Source length, 12 tokens out", "source tokens", {size: Cell(CURVE_BATCH, 1, size, 12) for size in lengths}
        ),
        Curve("Source and target length", "tokens", {size: Cell(CURVE_BATCH, 1, size, size) for size in lengths}),
        Curve(
            "Beam size, 12 tokens in and out", "beam size", {size: Cell(CURVE_BATCH, size, 12, 12) for size in beams}
        ),
    ]


def measure_curve(side: RunningSide, curve: Curve, effort: Effort) -> list[Measurement]:
    """The cells of a curve in turns."""
    print(f"measuring {curve.heading}", file=sys.stderr)
    return measure_in_turns([side], list(curve.cells.values()), effort.rounds, effort.seconds)


def curve_table(curve: Curve, measurements: Sequence[Measurement], side: str) -> Table:
    """The cost of a sentence against the size that grows, with the exponent of the fit."""
    costs = {
        size: 1e3 / median([each.sentences_per_s for each in select(measurements, side, cell)])
        for size, cell in curve.cells.items()
    }
    exponent = fit_exponent(list(costs), list(costs.values()))
    note = f"Fitted over all rows: cost ~ {curve.size_name} ^ {exponent:.2f}. Batch {CURVE_BATCH}, {side}."
    return Table(curve.heading, (curve.size_name, "ms a sentence"), list(costs.items()), [note])


if __name__ == "__main__":
    sys.exit(main())
