"""The options that all benchmarks share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from tests.benchmark.models.cache import default_cache

RESULTS = Path("benchmark-results")


@dataclass(frozen=True)
class Effort:
    """How thoroughly to measure; what stands in the table of defaults for full and quick runs."""

    rounds: int
    seconds: float


def make_parser(description: str | None, full: Effort, quick: Effort) -> argparse.ArgumentParser:
    """A parser with `--quick`, `--rounds`, `--seconds`, `--output` and `--cache`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few cells, short: only to see that it works")
    parser.add_argument("--rounds", type=int, help=f"default {full.rounds}, quick {quick.rounds}")
    parser.add_argument(
        "--seconds", type=float, help=f"of a measurement; default {full.seconds}, quick {quick.seconds}"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="DIR", help=f"default {RESULTS}")
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR", help="of models that are made")
    parser.set_defaults(full_effort=full, quick_effort=quick)
    return parser


def effort_of(arguments: argparse.Namespace) -> Effort:
    """What the options say, and for the rest the defaults."""
    default: Effort = arguments.quick_effort if arguments.quick else arguments.full_effort
    return Effort(arguments.rounds or default.rounds, arguments.seconds or default.seconds)
