"""The metrics of several processes as those of one service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

_COMBINED: Final[dict[str, Callable[[Iterable[float]], float]]] = {
    "interlinear_model_info": max,
    "process_start_time_seconds": min,
    "process_max_fds": min,
}
"""How samples become one where their sum would say nothing."""


def merge(processes: Sequence[Sequence[Metric]]) -> list[Metric]:
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
