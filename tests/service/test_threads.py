"""CPU counts from made-up /proc and /sys trees; long work beside the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from service.threads import SHORT_TEXT, run_aside, usable_cpus


def make_tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_affinity_counts_where_there_is_no_cgroup(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path, affinity=6) == 6


def test_the_real_system_gives_at_least_one_and_at_most_all() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),  # rounded down
        ("50000 100000\n", 1),  # never below 1
        ("max 100000\n", 8),
        ("1600000 100000\n", 8),  # the affinity is smaller
        ("nonsense\n", 8),
        ("100000 0\n", 8),
    ],
)
def test_version_2_quota_at_the_root_of_a_container(tmp_path: Path, cpu_max: str, expected: int) -> None:
    root = make_tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": cpu_max})
    assert usable_cpus(root, affinity=8) == expected


def test_the_smallest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/outer/inner\n",
        "sys/fs/cgroup/outer/inner/cpu.max": "600000 100000",
        "sys/fs/cgroup/outer/cpu.max": "300000 100000",
        "sys/fs/cgroup/other/cpu.max": "100000 100000",
    }
    assert usable_cpus(make_tree(tmp_path, files), affinity=8) == 3


@pytest.mark.parametrize("directory", ["cpu,cpuacct", "cpu,cpuacct/docker/abc", "cpu"])
def test_version_1_quota(tmp_path: Path, directory: str) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:cpuset:/docker/abc\n0::/\n",
        f"sys/fs/cgroup/{directory}/cpu.cfs_quota_us": "250000\n",
        f"sys/fs/cgroup/{directory}/cpu.cfs_period_us": "100000\n",
    }
    assert usable_cpus(make_tree(tmp_path, files), affinity=4) == 2


def test_version_1_without_a_quota(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:cpu,cpuacct:/\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    assert usable_cpus(make_tree(tmp_path, files), affinity=4) == 4


def test_only_long_work_leaves_the_event_loop() -> None:
    main = threading.get_ident()
    assert asyncio.run(run_aside(SHORT_TEXT, threading.get_ident)) == main
    assert asyncio.run(run_aside(SHORT_TEXT + 1, threading.get_ident)) != main


def test_between_two_short_works_the_event_loop_does_what_else_there_is() -> None:
    done: list[str] = []

    async def refuse() -> None:
        await asyncio.sleep(0)
        done.append("refused")

    async def test() -> None:
        await asyncio.gather(*(run_aside(1, lambda: done.append("worked")) for _ in range(3)), refuse())

    async def at_once() -> None:
        await asyncio.gather(*(run_aside(0, lambda: done.append("at once")) for _ in range(2)), refuse())

    for _ in range(2):  # in event loops of their own
        asyncio.run(test())
    assert done == ["worked", "refused", "worked", "worked"] * 2
    done.clear()
    asyncio.run(at_once())
    assert done == ["at once", "at once", "refused"]


def test_errors_of_long_work_reach_the_caller() -> None:
    def fail() -> None:
        raise ValueError("no")

    for characters in (1, SHORT_TEXT + 1):
        with pytest.raises(ValueError, match="no"):
            asyncio.run(run_aside(characters, fail))
