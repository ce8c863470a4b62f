"""Services under load: started on a free port, watched, ended."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmark.machine import ROOT

READY_WITHIN_S = 60
POLL_S = 0.005
PREFIX = "INTERLINEAR_"


@dataclass(frozen=True)
class ServiceSpec:
    """How to start a service.

    Attributes:
        name: in tables.
        module: what is run.
        arguments: of the command line.
        settings: without their prefix, in lower case or not.
    """

    name: str
    module: str
    arguments: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def interlinear(settings: Mapping[str, str]) -> ServiceSpec:
    """The service itself."""
    return ServiceSpec("interlinear", "service.cli", ("serve", "--log-level", "error"), settings)


NAIVE = ServiceSpec("naive service", "tests.benchmark.naive_service")


@dataclass(frozen=True)
class RunningService:
    """A service that is ready.

    Attributes:
        name: of its spec.
        port: on the loopback interface.
        pid: of its first process.
        cold_start_s: from the start of the process to readiness.
    """

    name: str
    port: int
    pid: int
    cold_start_s: float


@contextmanager
def started(spec: ServiceSpec) -> Iterator[RunningService]:
    """Starts a service, waits until it is ready, and ends it.

    Raises:
        RuntimeError: it ended by itself, or was not ready in time.
    """
    port = free_port()
    settings = {PREFIX + name.upper(): value for name, value in {**spec.settings, "port": str(port)}.items()}
    start = time.perf_counter()
    command = [sys.executable, "-m", spec.module, *spec.arguments]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings})
    try:
        wait_until_ready(port, process)
        yield RunningService(spec.name, port, process.pid, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Polls `/readyz`.

    Raises:
        RuntimeError: the process has ended, or is not ready in time.
    """
    end = time.perf_counter() + READY_WITHIN_S
    while time.perf_counter() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError("the service has stopped; see its message above") from None
            time.sleep(POLL_S)
    raise RuntimeError(f"the service was not ready within {READY_WITHIN_S} s")


def process_tree(pid: int, root: Path = Path("/proc")) -> list[int]:
    """A process and all that descend from it."""
    tree = [pid]
    for parent in tree:  # grows meanwhile
        for task in (root / str(parent) / "task").glob("*/children"):
            try:
                tree += map(int, task.read_text(encoding="ascii").split())
            except OSError:
                continue  # the thread has ended
    return tree


def proportional_memory_mb(pid: int, root: Path = Path("/proc")) -> float:
    """PSS over all processes of a service: pages that they share count once."""
    total_kb = 0
    for member in process_tree(pid, root):
        try:
            rollup = (root / str(member) / "smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue  # the process has ended
        match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        total_kb += int(match.group(1)) if match else 0
    return total_kb * 1024 / 1e6


def parse_settings(assignments: Sequence[str]) -> dict[str, str]:
    """Settings from the command line, `name=value` each.

    Raises:
        ValueError: one has no `=`.
    """
    pairs = [assignment.partition("=") for assignment in assignments]
    if wrong := [name for name, sign, _ in pairs if not sign]:
        raise ValueError(f"{wrong[0]}: settings are given as name=value")
    return {name: value for name, _, value in pairs}
