"""The machine that figures hold for, and how much of it others used meanwhile."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from service.threads import usable_cpus

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("onnxruntime", "numpy", "fastapi", "uvicorn", "uvloop", "pydantic", "sentencepiece"),
    *("tensorflow", "keras", "jax", "tf2onnx", "ctranslate2"),
)
KERNEL_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def describe_machine() -> dict[str, str]:
    """What decides how fast things are, in words, by name."""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "processor": _find(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo")) or platform.machine(),
        "vector instructions": ", ".join(_vector_instructions()) or "unknown",
        "cores": f"{len(os.sched_getaffinity(0))} by affinity, {usable_cpus()} within the cgroup quota",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"Linux {platform.release()}, {' '.join(platform.libc_ver())}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "wrk": _wrk_version(),
        "code": _revision(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load average at start": f"{os.getloadavg()[0]:.2f}",
    }


def _vector_instructions() -> list[str]:
    flags = (_find(r"flags\s*:\s*(.+)", Path("/proc/cpuinfo")) or "").split()
    wanted = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    return [name for name in wanted if name in flags]


def _find(pattern: str, path: Path) -> str | None:
    try:
        match = re.search(pattern, path.read_text(encoding="utf-8"))
    except OSError:
        return None
    return match.group(1).strip() if match else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _wrk_version() -> str:
    if shutil.which("wrk") is None:
        return "not installed"
    output = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout  # exits with 1
    return output.partition("[")[0].removeprefix("wrk").strip()


def _revision() -> str:
    """The commit, and whether the tree holds changes beside it."""
    try:
        revision = _git("rev-parse", "--short", "HEAD")
        return f"{revision}, changed" if _git("status", "--porcelain") else revision
    except (OSError, subprocess.CalledProcessError):
        return "not from a repository"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class OtherWork:
    """What a span of time was disturbed by, in cores: other processes, and the hypervisor's other machines."""

    other_cores: float
    stolen_cores: float


class WorkMeter:
    """Measures what others do to the processors from its making on."""

    def __init__(self) -> None:
        self._start = time.monotonic(), *_busy_and_stolen_s(), _own_cpu_s()

    def read(self) -> OtherWork:
        """To be called once all processes that were started meanwhile have ended: only then is their time known."""
        before, busy_before, stolen_before, own_before = self._start
        elapsed = max(time.monotonic() - before, 1e-3)
        busy, stolen = _busy_and_stolen_s()
        others = busy - busy_before - (_own_cpu_s() - own_before)
        return OtherWork(max(0.0, others) / elapsed, max(0.0, stolen - stolen_before) / elapsed)


def _busy_and_stolen_s() -> tuple[float, float]:
    """Seconds of all processors in processes, interrupts left out, and seconds stolen by the hypervisor."""
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, _, _, _, _, steal = (int(ticks) for ticks in line.split()[1:9])
    return (user + nice + system) / KERNEL_TICKS_PER_S, steal / KERNEL_TICKS_PER_S


def _own_cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
