"""Several processes that share one service: how many there are, and what each may take on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final, TypeAlias

from service.engine.counts import EngineCounts, SharedCount, share_counts
from service.settings import Settings
from service.threads import usable_cpus

MOST_BY_DEFAULT: Final = 4
"""Each process holds the models for itself: more of them are worth their memory only to those who ask for them."""

ModelCounts: TypeAlias = Mapping[Path, tuple[memoryview, memoryview]]
"""For each bundle's directory what waits and what is decoded: a number for each process."""


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those of a service.

    Attributes:
        number: counted from 0.
        processes: how many there are.
        counts: what the processes share, for all the bundles that were found when the service started: a process that
            is started later serves no others.
    """

    number: int = 0
    processes: int = 1
    counts: ModelCounts = field(default_factory=dict)

    def engine_counts(self, bundle: Path, most_decoding: int) -> EngineCounts:
        """The counts of a model; its own where there is one process only."""
        if bundle not in self.counts:
            return EngineCounts()
        waiting, decoding = (SharedCount(row, self.number) for row in self.counts[bundle])
        return EngineCounts(waiting, decoding, most_decoding)


def share_model_counts(bundles: Sequence[Path], processes: int) -> ModelCounts:
    """`Place.counts` for processes that are forked from now on."""
    rows = share_counts(2 * len(bundles), processes)
    return dict(zip(bundles, zip(rows[::2], rows[1::2], strict=True), strict=True))


def forget_counts(counts: ModelCounts, process: int) -> None:
    """Frees what a process held that has ended: until another takes its place, and if none can."""
    for rows in counts.values():
        for row in rows:
            row[process] = 0


def count_threads(settings: Settings) -> int:
    """How many batches of a model all processes together decode at the same time."""
    return settings.threads or usable_cpus()


def count_processes(settings: Settings) -> int:
    """How many processes serve: as set, or one for each usable core, a few at most; one where a GPU does the work."""
    if settings.processes is not None:
        return settings.processes
    return 1 if _may_use_gpu(settings) else min(usable_cpus(), MOST_BY_DEFAULT)


def _may_use_gpu(settings: Settings) -> bool:
    """Whether CUDA is asked for or may be chosen; asking onnxruntime would load it, and its threads forbid forking."""
    if settings.provider != "auto":
        return settings.provider == "cuda"
    try:
        metadata.version("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return False
    return True
