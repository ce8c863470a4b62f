"""What is made of measured times: medians, percentiles, rates, exponents."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Percentiles of a number of durations, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, durations_s: Sequence[float]) -> Latency:
        """NaN where there are no durations."""
        return cls(*(percentile(durations_s, share) * 1e3 for share in (50, 95, 99)))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` percent lie, interpolated between neighbours; NaN of nothing."""
    return float(np.percentile(values, share)) if len(values) else math.nan


def median(values: Sequence[float]) -> float:
    """The middle value; NaN of nothing."""
    return statistics.median(values) if values else math.nan


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median of `values[i] / others[i]`: both sides of a ratio come from the same round; NaN if one divides by 0.

    Raises:
        ValueError: one side has more rounds than the other.
    """
    if not all(others):
        return math.nan
    return median([value / other for value, other in zip(values, others, strict=True)])


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The `e` of `cost ~ size ** e`, by least squares over the logarithms of both.

    Raises:
        ValueError: there are fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError("an exponent needs at least two sizes")
    return float(np.polyfit(np.log(sizes), np.log(costs), deg=1)[0])


def saturation(rates: Mapping[int, float], share: float = 0.95) -> int:
    """The fewest clients that reach `share` of the highest rate.

    Args:
        rates: rate by number of clients, at least one.
        share: between 0 and 1.
    """
    highest = max(rates.values())
    return min(clients for clients, rate in rates.items() if rate >= share * highest)


def settled_after(times_s: Sequence[float], are_normal: Sequence[bool], run: int) -> float | None:
    """When things became normal: the time of the first of `run` normal observations in a row; None if never."""
    for start in range(len(times_s) - run + 1):
        if all(are_normal[start : start + run]):
            return times_s[start]
    return None
