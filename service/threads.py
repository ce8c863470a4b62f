"""How many threads this process can really run, what is too long for the event loop's own, and turns for the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

Result = TypeVar("Result")

SHORT_TEXT: Final = 2_000
"""Characters that are dealt with in some hundredths of a second: a thread would cost more than it spares others."""

_turns: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}


async def run_aside(characters: int, work: Callable[[], Result]) -> Result:
    """Runs `work` and gives what it returns or raises; in a thread where it would keep other requests waiting.

    Short works take turns, and between two of them the event loop does what else there is: of requests that arrive
    together, those for which there is no room have their refusal before the texts of the others are read.

    Args:
        characters: how much text it deals with; with none it is done at once.
        work: may go on for a while after the call has been cancelled.
    """
    if characters > SHORT_TEXT:
        return await asyncio.to_thread(work)
    if not characters:
        return work()
    async with _turn(asyncio.get_running_loop()):
        await asyncio.sleep(0)
        return work()


def _turn(loop: asyncio.AbstractEventLoop) -> asyncio.Lock:
    """What short works of an event loop wait for."""
    if loop not in _turns:
        for ended in [each for each in _turns if each.is_closed()]:
            del _turns[ended]
        _turns[loop] = asyncio.Lock()
    return _turns[loop]


def usable_cpus(root: Path = Path("/"), affinity: int | None = None) -> int:
    """The number of threads that can run at the same time, by affinity and cgroup quota, not the host's core count.

    A quota of a fraction of a CPU is rounded down, to at least 1: threads beyond the quota get the process throttled.

    Args:
        root: where `proc` and `sys` are found.
        affinity: CPUs that the scheduler may use; None asks the system.
    """
    available = _count_affinity() if affinity is None else affinity
    quotas = [quota for quota in _cgroup_quotas(root) if quota > 0]
    return max(1, min([available, *(int(quota) for quota in quotas)]))


def _count_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quotas(root: Path) -> Iterator[float]:
    """Quotas, in CPUs, of the process's cgroup and those above it (version 2 and 1); each one binds."""
    mount = root / "sys/fs/cgroup"
    for controllers, group in _memberships(root):
        if controllers == "":
            for directory in _with_parents(mount, group):
                yield from _read_v2(directory)
        elif "cpu" in controllers.split(","):
            # Version 1 mounts the controllers together, separately, or links one to the other.
            for name in dict.fromkeys((controllers, "cpu")):
                for directory in _with_parents(mount / name, group):
                    yield from _read_v1(directory)


def _memberships(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """Lines of /proc/self/cgroup, `id:controllers:group`; version 2 has no controllers."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            yield parts[1], PurePosixPath(parts[2])


def _with_parents(mount: Path, group: PurePosixPath) -> Iterator[Path]:
    """The group's directory and all above it up to the mount; in a container only the mount itself may exist."""
    for ancestor in (group, *group.parents):
        yield mount / str(ancestor).lstrip("/")


def _read_v2(directory: Path) -> Iterator[float]:
    """`cpu.max` holds `quota period` in microseconds, or `max period`."""
    quota, _, period = _read(directory / "cpu.max").strip().partition(" ")
    yield from _quotient(quota, period)


def _read_v1(directory: Path) -> Iterator[float]:
    """`cpu.cfs_quota_us` and `cpu.cfs_period_us`; a quota of -1 is none."""
    yield from _quotient(_read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us"))


def _quotient(quota: str, period: str) -> Iterator[float]:
    try:
        value = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return  # no file, `max`, or nothing that could be understood: no limit
    yield value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
