"""Sentences per second and latencies over HTTP, beside the engine alone and a naive service.

`wrk` sends sentences of mixed length with soft alignments, one or 32 in a request; each client sends its next request
when it has the answer to the last. The engine alone gets the same requests from as many clients, without HTTP, text
handling and word alignments. The sides follow each other directly; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from service.threads import usable_cpus
from tests.benchmark.command_line import Effort, effort_of, make_parser
from tests.benchmark.figures import Latency, median, median_ratio
from tests.benchmark.report import Report, Table
from tests.benchmark.requests import make_bodies
from tests.benchmark.services import NAIVE, RunningService, interlinear, parse_settings, started
from tests.benchmark.sides.catalogue import BUILT_IN_BUNDLE, splits
from tests.benchmark.sides.pool import RunningSide, SideSpec, running
from tests.benchmark.wrk import MISSING, run_wrk, wrk_is_installed

FULL = Effort(rounds=5, seconds=6)
QUICK = Effort(rounds=1, seconds=2)
WARM_UP_S = 1
MANY_SENTENCES = 2048  # at a time; an answer then takes seconds, so such loads are measured three times as long
PATIENT = {"max_queue": "100000", "max_queue_wait_s": "600"}
ENGINE = "engine alone"
NOTES = (
    "Built-in English-French model, int8, everyday sentences of 1 to 35 words (our own), soft alignments of tokens and "
    "words. Latencies are those of requests.",
    f"Nothing is refused here: the service runs with {', '.join(f'{k}={v}' for k, v in PATIENT.items())}; how it "
    "refuses is measured by `tests.benchmark.overload`.",
    "The naive service runs the same graphs one request at a time, greedily, without word alignments.",
    "Of the engine: sentences/s over those of the fastest engine alone at the same load, by round.",
)


@dataclass(frozen=True)
class Load:
    """What comes at a time."""

    clients: int
    sentences: int


@dataclass(frozen=True)
class LoadResult:
    """One side under one load in one round."""

    side: str
    load: Load
    round: int
    sentences_per_s: float
    latency: Latency
    errors: int


class Sides:
    """Everything that is compared, running.

    Args:
        services: reached over HTTP.
        engines: without.
        beam_size: of all requests.
    """

    def __init__(self, services: Sequence[RunningService], engines: Sequence[RunningSide], beam_size: int) -> None:
        self._services = {service.name: service for service in services}
        self._engines = {engine.spec.name: engine for engine in engines}
        self._beam_size = beam_size

    def for_load(self, load: Load) -> list[str]:
        """The names of those that can take the load; the naive service takes one sentence in a request, greedily."""
        services = [
            name for name in self._services if name != NAIVE.name or (load.sentences == 1 and self._beam_size == 1)
        ]
        return services + [name for name, engine in self._engines.items() if self._suits(engine.spec, load)]

    def _suits(self, engine: SideSpec, load: Load) -> bool:
        """One client is faster with one thread, perhaps; several want all cores, and each process a client."""
        return engine.processes <= load.clients and (load.clients == 1 or engine.cores == usable_cpus())

    def measure(self, name: str, load: Load, round_number: int, seconds: float) -> LoadResult:
        """Loads one of them, after a moment of warm-up."""
        seconds *= 3 if load.clients * load.sentences > MANY_SENTENCES else 1
        if name in self._engines:
            return self._measure_engine(self._engines[name], load, round_number, seconds)
        bodies = make_bodies(load.sentences, self._beam_size)
        port = self._services[name].port
        run_wrk(port, bodies, load.clients, WARM_UP_S)
        result = run_wrk(port, bodies, load.clients, seconds)
        rate = result.requests * load.sentences / result.duration_s
        latency = Latency(result.p50_ms, result.p95_ms, result.p99_ms)
        return LoadResult(name, load, round_number, rate, latency, result.errors)

    def _measure_engine(self, engine: RunningSide, load: Load, round_number: int, seconds: float) -> LoadResult:
        clients = load.clients // engine.spec.processes
        engine.prepare({"clients": clients, "sentences": load.sentences, "beam_size": self._beam_size})
        answers = engine.run(seconds)
        rate = sum(answer["sentences_per_s"] for answer in answers)
        latency = Latency.of([duration for answer in answers for duration in answer["durations_s"]])
        return LoadResult(engine.spec.name, load, round_number, rate, latency, errors=0)


def main() -> int:
    """Runs all rounds and writes the report."""
    parser = make_parser(__doc__, FULL, QUICK)
    parser.add_argument("--clients", type=int, nargs="+", help="default 1 8 64 256, quick 1 8")
    parser.add_argument("--sentences", type=int, nargs="+", default=(1, 32), help="of each request; default 1 32")
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the service")
    arguments = parser.parse_args()
    if not wrk_is_installed():
        print(MISSING, file=sys.stderr)
        return 1
    report = Report("http_load", "The service over HTTP", arguments.quick, notes=list(NOTES))
    report.notes.append(f"Beam size {arguments.beam_size}. Further settings: {' '.join(arguments.setting) or 'none'}.")
    results = measure_all(arguments)
    report.tables = [load_table(results), single_client_table(results)]
    report.data = {"rounds": [asdict(each) for each in results]}
    report.write(arguments.output)
    return 0


def measure_all(arguments: argparse.Namespace) -> list[LoadResult]:
    """Starts everything and measures all loads in turns."""
    effort = effort_of(arguments)
    clients = arguments.clients or ((1, 8) if arguments.quick else (1, 8, 64, 256))
    loads = [Load(number, sentences) for sentences in arguments.sentences for number in clients]
    settings = {**PATIENT, **parse_settings(arguments.setting)}
    results = []
    with ExitStack() as stack:
        services = [stack.enter_context(started(spec)) for spec in (interlinear(settings), NAIVE)]
        sides = Sides(services, stack.enter_context(running(engine_sides())), arguments.beam_size)
        for number in range(effort.rounds):
            for load in loads:
                names = sides.for_load(load)
                for place in range(len(names)):
                    name = names[(place + number) % len(names)]
                    results.append(sides.measure(name, load, number, effort.seconds))
            print(f"round {number + 1} of {effort.rounds} is done", file=sys.stderr)
    return results


def engine_sides() -> list[SideSpec]:
    """The engine with one thread, with all threads in one batch, in a batch each, and in a process each."""
    cores = usable_cpus()
    return [
        SideSpec(
            name=f"{ENGINE}, {split.describe('batches')}",
            module="tests.benchmark.sides.engine_load",
            options={"bundle": str(BUILT_IN_BUNDLE), "threads": split.threads, "workers": split.lanes},
            processes=split.processes,
            cores=split.cores,
        )
        for split in splits(cores)
    ]


def load_table(results: Sequence[LoadResult]) -> Table:
    """A row for each load and side."""
    rows: list[list[object]] = []
    for load, side in dict.fromkeys((each.load, each.side) for each in results):
        found = [each for each in results if (each.load, each.side) == (load, side)]
        latencies = [median([getattr(each.latency, name) for each in found]) for name in ("p50_ms", "p95_ms", "p99_ms")]
        share = None if side.startswith(ENGINE) else 100 * share_of_engine(results, load, side)
        rate = median([each.sentences_per_s for each in found])
        errors = sum(each.errors for each in found)
        rows.append([load.sentences, load.clients, side, rate, *latencies, share, errors])
    rows.sort(key=lambda row: (row[0], row[1]))
    columns = ("sentences a request", "clients", "side", "sentences/s", "p50 ms", "p95 ms", "p99 ms")
    return Table("Load", (*columns, "of the engine, %", "errors"), rows)


def share_of_engine(results: Sequence[LoadResult], load: Load, side: str) -> float:
    """The median over the rounds of the rate over that of the fastest engine alone."""

    def rates(name: str) -> list[float]:
        return [each.sentences_per_s for each in results if (each.load, each.side) == (load, name)]

    engines = {each.side for each in results if each.side.startswith(ENGINE) and each.load == load}
    return min(median_ratio(rates(side), rates(engine)) for engine in engines)


def single_client_table(results: Sequence[LoadResult]) -> Table:
    """What HTTP, text handling and alignment add to the engine's own time for a sentence."""
    single = [each for each in results if each.load == Load(1, 1)]
    medians = {
        side: median([each.latency.p50_ms for each in single if each.side == side])
        for side in dict.fromkeys(each.side for each in single)
    }
    own = min((time for side, time in medians.items() if side.startswith(ENGINE)), default=float("nan"))
    rows = [[side, time, time - own] for side, time in medians.items()]
    return Table("One client, one sentence", ("side", "p50 ms", "over the engine alone, ms"), rows)


if __name__ == "__main__":
    sys.exit(main())
