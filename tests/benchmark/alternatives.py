"""The engine beside what one would otherwise install, in the same run.

The same model as a TensorFlow SavedModel with an in-graph loop, the naive onnxruntime loop of batch one, and
CTranslate2 with Transformers; each with one thread and with its ways to use all cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from tests.benchmark.command_line import Effort, effort_of, make_parser
from tests.benchmark.report import Report
from tests.benchmark.sides.catalogue import (
    BUILT_IN,
    RECURRENT_NAME,
    RECURRENT_NOTE,
    TRANSFORMERS,
    Split,
    engine_side,
    naive_side,
    random_recurrent,
    saved_model_side,
    splits,
    transformer_side,
)
from tests.benchmark.sides.cell import Cell
from tests.benchmark.sides.pool import SideSpec, measure_in_turns, running
from tests.benchmark.sides.tables import memory_table, ratio_table, speed_table

FULL = Effort(rounds=5, seconds=0.8)
QUICK = Effort(rounds=1, seconds=0.2)
NOTES = (
    "**The models differ in kind and size, all weights but the built-in model's are random, and this is no comparison "
    "at equal quality.** It says what a token costs in each system, not what a translation is worth.",
    f"{RECURRENT_NOTE} TensorFlow and the naive loop run this very model.",
    "CTranslate2: tiny has 6 encoder and 2 decoder layers of width 256 (inner 1,536), base 6 and 6 of 512 (2,048); "
    "8,000 words, int8. The Translator is made in a thread that then ends, and glibc told to keep memory "
    "(MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_); no vocabulary map, as the engine has no shortlist.",
    "Lengths are pinned in every system. The engine, TensorFlow and the naive loop return attention weights with the "
    "tokens, CTranslate2 tokens only. TensorFlow and the naive loop are greedy, and the latter knows no batches.",
    "Tokens are target tokens. Each side runs in processes of its own; in each cell the sides follow each other "
    "directly, and their order turns from round to round. With several processes, engines, clients or workers each one "
    "has batches of the given size. Medians over the rounds.",
)


def main() -> int:
    """Measures everything and writes the report."""
    parser = make_parser(__doc__, FULL, QUICK)
    parser.add_argument("--batches", type=int, nargs="+", help="default 1 16 64, quick 1 16")
    parser.add_argument("--beams", type=int, nargs="+", default=(1, 4))
    parser.add_argument("--lengths", type=int, nargs="+", help="default 12 25, quick 12")
    arguments = parser.parse_args()
    if importlib.util.find_spec("ctranslate2") is None:
        print("ctranslate2 is missing: pip install -e '.[benchmark]' (or make bench-alternatives)", file=sys.stderr)
        return 1
    effort = effort_of(arguments)
    report = Report("alternatives", "The engine and its alternatives", arguments.quick, notes=list(NOTES))
    ours, others = choose_ours(arguments), choose_others(arguments)
    with running([*ours, *others]) as sides:
        measurements = measure_in_turns(sides, choose_cells(arguments), effort.rounds, effort.seconds)
        memory = {side.spec.name: side.peak_memory_mb for side in sides}
    rivals = [spec for spec in ours if spec.name.startswith(RECURRENT_NAME)]
    report.tables = [
        speed_table(measurements, "Speed"),
        ratio_table(measurements, rivals, others),
        memory_table(memory),
    ]
    report.data = {"measurements": [each.as_json() for each in measurements], "peak_memory_mb": memory}
    report.write(arguments.output)
    return 0


def choose_cells(arguments: argparse.Namespace) -> list[Cell]:
    """All combinations."""
    lengths = arguments.lengths or ((12,) if arguments.quick else (12, 25))
    batches = arguments.batches or ((1, 16) if arguments.quick else (1, 16, 64))
    return [
        Cell(batch, beam_size, size, size) for size in lengths for beam_size in arguments.beams for batch in batches
    ]


def choose_ours(arguments: argparse.Namespace) -> list[SideSpec]:
    """The model of random weights with every split, the built-in one with one thread and with all cores."""
    model = random_recurrent(arguments.cache)
    ways = splits(1 if arguments.quick else None)
    of_built_in = dict.fromkeys((ways[0], ways[-1]))
    return [
        *(engine_side(model, "int8", split) for split in ways),
        *(engine_side(BUILT_IN, "int8", split) for split in of_built_in),
    ]


def choose_others(arguments: argparse.Namespace) -> list[SideSpec]:
    """Every alternative with one thread and with each way to use all cores that it has."""
    single, *shared = splits(1 if arguments.quick else None)
    processes = [Split(processes=split.cores) for split in shared if split.threads > 1]
    threads = [split for split in shared if split.threads > 1]
    lanes = [split for split in shared if split.lanes > 1]
    return [
        naive_side(random_recurrent(arguments.cache), "int8"),
        *(saved_model_side(arguments.cache, split) for split in (single, *threads, *processes)),
        *(
            transformer_side(arguments.cache, size, split)
            for size in TRANSFORMERS
            for split in (single, *threads, *lanes)
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
