"""The metrics of several processes as those of one service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

Families: TypeAlias = list[Metric]
FamiliesByProcess: TypeAlias = dict[int, Families]

ENDED: Final = -1
"""The number that stands for all processes that have ended."""

_COUNTING: Final = frozenset({"counter", "histogram"})
"""Types whose values only grow."""

_COMBINED: Final[dict[str, Callable[[Iterable[float]], float]]] = {
    "interlinear_model_info": max,
    "process_start_time_seconds": min,
    "process_max_fds": min,
}
"""How samples become one where their sum would say nothing."""


class LastKnown:
    """What each process last said, so that sums never fall: Prometheus would take that for a start from zero."""

    def __init__(self) -> None:
        self._families: FamiliesByProcess = {}

    def note(self, process: int, families: Families) -> None:
        """Keeps what a process has said."""
        self._families[process] = families

    def note_end(self, process: int) -> None:
        """Keeps of a process that has ended what it counted; another counts from zero in its place."""
        counted = [family for family in self._families.pop(process, []) if family.type in _COUNTING]
        self._families[ENDED] = merge([self._families.get(ENDED, []), counted])

    def without(self, process: int) -> FamiliesByProcess:
        """What all but one have said."""
        return {number: families for number, families in self._families.items() if number != process}


def merge(processes: Sequence[Sequence[Metric]]) -> Families:
    """Adds up the samples of the same name and labels.

    Args:
        processes: what was collected in each; the first one's order stays.
    """
    families: dict[str, list[Metric]] = {}
    for family in (family for collected in processes for family in collected):
        families.setdefault(family.name, []).append(family)
    return [_merge_family(same) for same in families.values()]


def _merge_family(same: Sequence[Metric]) -> Metric:
    combine = _COMBINED.get(same[0].name, sum)
    values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
    for sample in (sample for family in same for sample in family.samples):
        values.setdefault((sample.name, tuple(sample.labels.items())), []).append(sample.value)
    merged = Metric(same[0].name, same[0].documentation, same[0].type, same[0].unit)
    merged.samples = [Sample(name, dict(labels), combine(found)) for (name, labels), found in values.items()]
    return merged
