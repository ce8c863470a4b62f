"""What happens beyond saturation: how much is still answered, how fast refusals are, and how soon all is normal again.

First the fewest clients are found that saturate the service. Then ten times as many send requests for a minute; those
that are refused wait 100 ms and try again. All with the service's own limits, 32 sentences a request and one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from service.settings import load_settings
from tests.benchmark.command_line import Effort, effort_of, make_parser
from tests.benchmark.figures import median, percentile, saturation
from tests.benchmark.machine import ROOT
from tests.benchmark.observation import Probe, watched_memory
from tests.benchmark.report import Report, Table
from tests.benchmark.requests import make_bodies
from tests.benchmark.services import interlinear, parse_settings, proportional_memory_mb, started
from tests.benchmark.waiting_clients import Outcome, Plan

FULL = Effort(rounds=1, seconds=60)
QUICK = Effort(rounds=1, seconds=5)
OVERLOAD = 10
CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128)
SEARCH_SHARE = 1 / 10  # of the time, for each step of the search for saturation
START_UP_S = 3.0  # for the clients' process
MEMORY_EVERY_S = 1.0
PROBES = 100
PROBING_S = 60.0
NOTES = (
    "Built-in English-French model, int8, beam size 1, everyday sentences of 1 to 35 words (our own), soft alignments.",
    "Saturated: the fewest clients that reach 95% of the highest rate; their rate is measured before and after the "
    "overload, for as long, and averaged. Answers count if they come while requests are sent.",
    "The clients run in one Python process beside the service; the table says how much of a core it took.",
    "Normal again: the first of five probes in a row, one every 50 ms, that are no slower than the 99th percentile of "
    "100 probes on the idle service; counted from when requests were no longer sent, the last ones still unanswered.",
)


@dataclass(frozen=True)
class Target:
    """The service under load, and the bodies that it gets."""

    port: int
    pid: int
    bodies: Path


@dataclass(frozen=True)
class Idle:
    """An idle service: latencies of single requests."""

    p50_s: float
    p99_s: float


@dataclass(frozen=True)
class OverloadResult:
    """Everything about one size of requests; memory is PSS in megabytes, sampled every second during the overload."""

    sentences: int
    clients: int
    rates: dict[int, float]
    saturated: tuple[Outcome, Outcome]
    overloaded: Outcome
    memory_before_mb: float
    memory_mb: list[float]
    idle: Idle
    recovered_after_s: float | None


def main() -> int:
    """Measures both sizes of requests and writes the report."""
    parser = make_parser(__doc__, FULL, QUICK)
    parser.add_argument("--sentences", type=int, nargs="+", default=(32, 1), help="of each request; default 32 1")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="numbers to find saturation among")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the service")
    arguments = parser.parse_args()
    settings = parse_settings(arguments.setting)
    report = Report("overload", "Overload", arguments.quick, notes=list(NOTES))
    report.notes.append(f"Settings of the service besides its defaults: {' '.join(arguments.setting) or 'none'}.")
    results = []
    for sentences in arguments.sentences:
        with started(interlinear(settings)) as service, written_bodies(sentences) as bodies:
            target = Target(service.port, service.pid, bodies)
            results.append(measure(target, sentences, arguments.clients, effort_of(arguments).seconds))
    queue_wait_s = load_settings(settings).max_queue_wait_s
    report.tables = [result_table(results, queue_wait_s)]
    report.data = {"max_queue_wait_s": queue_wait_s, "results": [asdict(each) for each in results]}
    report.write(arguments.output)
    return 0


@contextmanager
def written_bodies(sentences: int) -> Iterator[Path]:
    """A file of request bodies."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(f"{body}\n" for body in make_bodies(sentences, beam_size=1))
        file.flush()
        yield Path(file.name)


def measure(target: Target, sentences: int, numbers: Sequence[int], seconds: float) -> OverloadResult:
    """Finds saturation, goes beyond it, and watches what comes after."""
    load(target, numbers[-1], seconds * SEARCH_SHARE)  # warm-up
    rates = {number: load(target, number, seconds * SEARCH_SHARE).requests_per_s for number in numbers}
    clients = saturation(rates)
    print(f"{sentences} sentences a request: {clients} clients saturate", file=sys.stderr)
    probe = Probe(target.port, make_bodies(1, beam_size=1)[0])
    idle = measure_idle(probe)
    before = load(target, clients, seconds)
    memory_before = proportional_memory_mb(target.pid)
    with watched_memory(target.pid, MEMORY_EVERY_S) as memory:
        process, ends_at = start_load(target, clients * OVERLOAD, seconds)
        time.sleep(max(0.0, ends_at - time.perf_counter()))
    recovered = probe.seconds_until_normal(idle.p99_s, ends_at, PROBING_S)
    overloaded = finish(process)
    after = load(target, clients, seconds)
    return OverloadResult(
        sentences, clients, rates, (before, after), overloaded, memory_before, memory, idle, recovered
    )


def measure_idle(probe: Probe) -> Idle:
    """Sends single requests to an idle service."""
    probe.send()  # opens the connection
    durations = [probe.send_paused()[1] for _ in range(PROBES)]
    return Idle(median(durations), percentile(durations, 99))


def load(target: Target, clients: int, seconds: float) -> Outcome:
    """Runs clients until the last answer has come."""
    return finish(start_load(target, clients, seconds)[0])


def start_load(target: Target, clients: int, seconds: float) -> tuple[subprocess.Popen[str], float]:
    """Starts clients in a process of their own; also returns the time from which they send nothing more."""
    start_at = time.perf_counter() + START_UP_S
    plan = Plan(target.port, clients, str(target.bodies), start_at, seconds)
    command = [sys.executable, "-m", "tests.benchmark.waiting_clients", json.dumps(asdict(plan))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return process, start_at + seconds


def finish(clients: subprocess.Popen[str]) -> Outcome:
    """Waits for the end of the clients.

    Raises:
        CalledProcessError: they failed; they have said why.
    """
    output, _ = clients.communicate()
    if clients.returncode:
        raise subprocess.CalledProcessError(clients.returncode, clients.args)
    return Outcome.from_json(output)


def result_table(results: Sequence[OverloadResult], queue_wait_s: float) -> Table:
    """A column for each size of requests."""
    columns = [describe(result) for result in results]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    note = f"The service lets requests wait for their start at most {queue_wait_s:g} s."
    headings = ("", *(f"{result.sentences} sentences a request" for result in results))
    return Table("Beyond saturation", headings, rows, [note])


def describe(result: OverloadResult) -> dict[str, object]:
    """The figures of one size of requests."""
    overloaded = result.overloaded
    saturated = sum(outcome.requests_per_s for outcome in result.saturated) / len(result.saturated)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(overloaded.statuses.items()))
    return {
        "clients that saturate": result.clients,
        "clients in overload": result.clients * OVERLOAD,
        "saturated, sentences/s": saturated * result.sentences,
        "overloaded, sentences/s": overloaded.requests_per_s * result.sentences,
        "still answered, % of saturated": 100 * overloaded.requests_per_s / saturated if saturated else None,
        "accepted, p50 ms": overloaded.accepted.p50_ms,
        "accepted, p99 ms": overloaded.accepted.p99_ms,
        "refused (503), p50 ms": overloaded.refused.p50_ms,
        "refused (503), p99 ms": overloaded.refused.p99_ms,
        "answers by status (0: broken connections)": statuses,
        "neither 200 nor 503": overloaded.failures,
        "never answered": overloaded.unanswered,
        "memory before, PSS MB": result.memory_before_mb,
        "memory in overload, lowest MB": min(result.memory_mb, default=None),
        "memory in overload, highest MB": max(result.memory_mb, default=None),
        "memory at its end, MB": result.memory_mb[-1] if result.memory_mb else None,
        "one client on the idle service, p50 ms": result.idle.p50_s * 1e3,
        "one client on the idle service, p99 ms": result.idle.p99_s * 1e3,
        "normal again after, s": "never" if result.recovered_after_s is None else result.recovered_after_s,
        "the clients' own processor time, cores": overloaded.client_cores,
    }


if __name__ == "__main__":
    sys.exit(main())
