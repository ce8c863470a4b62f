"""Closed-loop load over HTTP from `wrk`, which leaves nearly all processor time to the service."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk_requests.lua")
THREADS = 1
TIMEOUT_S = 120
MISSING = "wrk is missing: apt-get install wrk (Debian), or see https://github.com/wg/wrk"


@dataclass(frozen=True)
class WrkResult:
    """One run; latencies are those of requests, from the first byte sent to the last received."""

    requests: int
    duration_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int


def wrk_is_installed() -> bool:
    """Whether load can be made."""
    return shutil.which("wrk") is not None


def run_wrk(port: int, bodies: Sequence[str], clients: int, seconds: float) -> WrkResult:
    """Loads `POST /translate`: each client sends its next request when it has the answer to the last.

    Args:
        port: on the loopback interface.
        bodies: JSON without line breaks; sent in turns.
        clients: open connections.
        seconds: how long.

    Raises:
        CalledProcessError: wrk failed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(f"{body}\n" for body in bodies)
        file.flush()
        command = ["wrk", "--threads", str(THREADS), "--connections", str(clients), "--duration", f"{seconds:.0f}s"]
        command += ["--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT)]
        command += [f"http://127.0.0.1:{port}/translate", "--", file.name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return parse_output(output)


def parse_output(output: str) -> WrkResult:
    """Reads the script's line, which is the last; latencies of no requests are NaN."""
    result = WrkResult(**json.loads(output.splitlines()[-1]))
    return result if result.requests else replace(result, p50_ms=math.nan, p95_ms=math.nan, p99_ms=math.nan)
