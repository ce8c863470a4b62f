"""Requests per second over HTTP with `wrk`: `python -m tests.benchmark.http_load`.

One sentence of 10 words, beam 1, soft alignments, for each number of clients. The service and the naive alternative run
in turns within the same minutes; figures are medians over the rounds. Needs `wrk` (Debian has it) and idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUEST = {"text": "My sister bought two old books at the market yesterday.", "beam_size": 1, "alignment": "soft"}
SIDES = {
    "interlinear": [sys.executable, "-m", "service.cli", "serve", "--log-level", "error"],
    "naive": [sys.executable, "-m", "tests.benchmark.naive_service"],
}
WRK_THREADS = 1


@dataclass(frozen=True)
class Round:
    """One run of wrk; latencies in milliseconds."""

    side: str
    clients: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass(frozen=True)
class Process:
    """A started side: seconds from start to ready, and its memory before any load."""

    cold_start_s: float
    memory_mb: float


def main() -> int:
    """Runs all rounds and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each run")
    parser.add_argument("--json", type=Path, help="also write every round as JSON")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing: apt-get install wrk", file=sys.stderr)
        return 1
    processes: dict[str, Process] = {}
    rounds: list[Round] = []
    for number in range(arguments.rounds):
        for side in SIDES:
            with started(side) as (port, process):
                processes.setdefault(side, process)
                for clients in arguments.clients:
                    rounds.append(run_wrk(side, port, clients, arguments.seconds))
                    print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
    print(table(rounds, processes))
    if arguments.json:
        result = {
            "machine": describe_machine(),
            "request": REQUEST,
            "processes": {side: asdict(process) for side, process in processes.items()},
            "rounds": [asdict(each) for each in rounds],
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


@contextmanager
def started(side: str) -> Iterator[tuple[int, Process]]:
    """Starts one side on a free port and gives it half a second of warm-up load."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = time.perf_counter()
    process = subprocess.Popen(SIDES[side], cwd=ROOT, env={**os.environ, "INTERLINEAR_PORT": str(port)})
    try:
        wait_until_ready(port, process)
        state = Process(round(time.perf_counter() - start, 2), round(proportional_memory_mb(process.pid), 1))
        run_wrk(side, port, 4, 1)
        yield port, state
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Polls `/readyz` every 10 ms."""
    for _ in range(3000):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError("the service has stopped; see its message above") from None
            time.sleep(0.01)
    raise RuntimeError("the service was not ready within 30 s")


def proportional_memory_mb(pid: int) -> float:
    """PSS: memory of one process, shared pages divided among those that share them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(match.group(1)) / 1000 if match else float("nan")


def run_wrk(side: str, port: int, clients: int, seconds: int) -> Round:
    """Loads a running side."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as script:
        body = json.dumps(REQUEST)
        script.write(f'wrk.method = "POST"\nwrk.body = [[{body}]]\nwrk.headers["Content-Type"] = "application/json"\n')
        script.flush()
        command = [
            "wrk",
            "-t",
            str(WRK_THREADS),
            "-c",
            str(clients),
            "-d",
            f"{seconds}s",
            "--latency",
            "-s",
            script.name,
        ]
        url = f"http://127.0.0.1:{port}/translate"
        output = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    return Round(
        side,
        clients,
        float(find(r"Requests/sec:\s+([\d.]+)", output)),
        milliseconds(find(r"^\s+50%\s+(\S+)", output)),
        milliseconds(find(r"^\s+99%\s+(\S+)", output)),
        int(find(r"Non-2xx or 3xx responses: (\d+)", output, "0")),
    )


def find(pattern: str, output: str, default: str = "nan") -> str:
    """The first group of the first match."""
    match = re.search(pattern, output, re.MULTILINE)
    return match.group(1) if match else default


def milliseconds(figure: str) -> float:
    """Reads wrk's `850.00us`, `1.24ms` or `1.02s`."""
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        if figure.endswith(unit):
            return float(figure.removesuffix(unit)) * factor
    return float(figure)


def describe_machine() -> str:
    """Processor and number of usable cores."""
    model = find(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), platform.machine())
    return f"{len(os.sched_getaffinity(0))} cores of {model}, Python {platform.python_version()}"


def table(rounds: list[Round], processes: dict[str, Process]) -> str:
    """Medians over the rounds."""
    lines = [
        describe_machine(),
        "",
        "| side | clients | requests/s | p50 ms | p99 ms | errors | cold start s | memory at rest MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for side, clients in dict.fromkeys((each.side, each.clients) for each in rounds):
        chosen = [each for each in rounds if (each.side, each.clients) == (side, clients)]
        rate, p50, p99 = (
            statistics.median(getattr(each, name) for each in chosen) for name in ("requests_per_s", "p50_ms", "p99_ms")
        )
        errors = sum(each.errors for each in chosen)
        state = processes[side]
        lines.append(
            f"| {side} | {clients} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {errors} "
            f"| {state.cold_start_s} | {state.memory_mb} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
