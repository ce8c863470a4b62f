"""Several processes that share one service: how many there are, and what each may take on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from service.engine.counts import EngineCounts, SharedCount, share_counts
from service.engine.limits import EngineLimits
from service.settings import Settings
from service.threads import usable_cpus

MOST_BY_DEFAULT: Final = 4
"""Each process holds the models for itself: more of them are worth their memory only to those who ask for them."""


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those of a service.

    Attributes:
        number: counted from 0.
        processes: how many there are.
        counts: for each model the counts that the processes share, two rows of a number for each process.
    """

    number: int = 0
    processes: int = 1
    counts: Sequence[tuple[memoryview, memoryview]] = ()

    def limits(self, limits: EngineLimits) -> EngineLimits:
        """The part of a model's budgets that this process has; the queue's is that of all of them together."""
        return limits.part(self.processes)

    def engine_counts(self, model: int, threads: int) -> EngineCounts:
        """A model's counts, by its index; those of models that came after the service's start are not shared."""
        if model >= len(self.counts):
            return EngineCounts()
        waiting, decoding = (SharedCount(row, self.number) for row in self.counts[model])
        return EngineCounts(waiting, decoding, threads)


def share_model_counts(models: int, processes: int) -> list[tuple[memoryview, memoryview]]:
    """`Place.counts` for processes that are forked from now on."""
    rows = share_counts(2 * models, processes)
    return list(zip(rows[::2], rows[1::2], strict=True))


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
