"""Memory of the service at rest, under load and after it, and the time from its start to readiness.

Memory is PSS over all processes: pages that they share count once. The load alternates between 64 clients with one
sentence a request and 8 clients with 32, greedily and with beams of 4.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import asdict, dataclass

from tests.benchmark.command_line import Effort, effort_of, make_parser
from tests.benchmark.figures import median
from tests.benchmark.observation import watched_memory
from tests.benchmark.report import Report, Table
from tests.benchmark.requests import make_bodies
from tests.benchmark.services import (
    RunningService,
    interlinear,
    parse_settings,
    process_tree,
    proportional_memory_mb,
    started,
)
from tests.benchmark.wrk import MISSING, run_wrk, wrk_is_installed

FULL = Effort(rounds=7, seconds=300)
QUICK = Effort(rounds=2, seconds=8)
LOADS = ((64, 1, 1), (8, 32, 1), (64, 1, 4), (8, 32, 4))  # clients, sentences a request, beam size
LONGEST_TURN_S = 30.0
REST_S = 2.0
REST_AFTER_LOAD_S = 15.0  # the service returns memory every 10 s
SAMPLES = 300
NOTES = (
    "Both built-in models, int8; requests are English to French. Cold starts are of processes, with files in the "
    f"machine's cache. At rest: {REST_S:g} s after readiness, and {REST_AFTER_LOAD_S:g} s after the load.",
)


@dataclass(frozen=True)
class MemoryResult:
    """What was measured; memory is PSS in megabytes, sampled at equal intervals under load."""

    cold_starts_s: list[float]
    processes: int
    at_rest_mb: float
    load_s: float
    samples_mb: list[float]
    after_mb: float
    errors: int


def main() -> int:
    """Measures starts, then loads the last one, and writes the report."""
    parser = make_parser(__doc__, FULL, QUICK)
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the service")
    arguments = parser.parse_args()
    if not wrk_is_installed():
        print(MISSING, file=sys.stderr)
        return 1
    report = Report("memory", "Memory and cold start", arguments.quick, notes=list(NOTES))
    report.notes.append(f"Settings of the service besides its defaults: {' '.join(arguments.setting) or 'none'}.")
    result = measure(arguments)
    report.tables = [result_table(result)]
    report.data = {"result": asdict(result)}
    report.write(arguments.output)
    return 0


def measure(arguments: argparse.Namespace) -> MemoryResult:
    """Starts the service several times and loads it the last time."""
    effort = effort_of(arguments)
    spec = interlinear(parse_settings(arguments.setting))
    cold_starts = []
    for _ in range(effort.rounds - 1):
        with started(spec) as service:
            cold_starts.append(service.cold_start_s)
    with started(spec) as service:
        cold_starts.append(service.cold_start_s)
        time.sleep(REST_S)
        processes = len(process_tree(service.pid))
        at_rest = proportional_memory_mb(service.pid)
        start = time.perf_counter()
        with watched_memory(service.pid, effort.seconds / SAMPLES) as samples:
            errors = load(service, effort.seconds)
        duration = time.perf_counter() - start
        time.sleep(REST_AFTER_LOAD_S)
        after = proportional_memory_mb(service.pid)
    return MemoryResult(cold_starts, processes, at_rest, duration, samples, after, errors)


def result_table(result: MemoryResult) -> Table:
    """The figures in words."""
    samples = result.samples_mb
    rows: list[list[object]] = [
        [f"cold start, median of {len(result.cold_starts_s)}, s", median(result.cold_starts_s)],
        ["cold start, longest, s", max(result.cold_starts_s)],
        ["processes", result.processes],
        ["at rest, MB", result.at_rest_mb],
        [f"under load for {result.load_s:.0f} s, median MB", median(samples)],
        ["under load, highest MB", max(samples, default=None)],
        ["under load, last tenth, median MB", median(samples[-(len(samples) // 10 or 1) :])],
        ["after the load, MB", result.after_mb],
        ["failed requests", result.errors],
    ]
    return Table("Memory and cold start", ("", ""), rows)


def load(service: RunningService, seconds: float) -> int:
    """Loads a service in turns; returns how many requests failed."""
    errors = 0
    end = time.perf_counter() + seconds
    for clients, sentences, beam_size in itertools.cycle(LOADS):
        turn = min(LONGEST_TURN_S, seconds / len(LOADS), end - time.perf_counter())
        if turn < 1:  # the least that wrk can do
            return errors
        errors += run_wrk(service.port, make_bodies(sentences, beam_size), clients, turn).errors
    return errors


if __name__ == "__main__":
    sys.exit(main())
