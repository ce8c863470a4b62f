from __future__ import annotations

import math

import pytest

from tests.benchmark.figures import Latency, fit_exponent, median, median_ratio, percentile, saturation, settled_after


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([10, 20, 30, 40, 50], 50) == 30
    assert percentile([10, 20], 75) == 17.5
    assert percentile([7], 99) == 7
    assert math.isnan(percentile([], 50))


def test_latencies_are_percentiles_in_milliseconds() -> None:
    latency = Latency.of([share / 1000 for share in range(101)])
    assert (latency.p50_ms, latency.p95_ms, latency.p99_ms) == pytest.approx((50, 95, 99))


def test_medians_of_nothing_are_no_number() -> None:
    assert median([3, 1, 2]) == 2
    assert math.isnan(median([]))


def test_ratios_are_taken_round_by_round() -> None:
    # The machine was half as fast in the second round: the medians' ratio would be 3, each round's is 2.
    assert median_ratio([20, 10, 30], [10, 5, 15]) == 2
    assert math.isnan(median_ratio([1, 2], [1, 0]))
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1, 2], [1])


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(exponent: float) -> None:
    sizes = [10, 20, 50, 200]
    assert fit_exponent(sizes, [3 * size**exponent for size in sizes]) == pytest.approx(exponent)


def test_an_exponent_needs_two_sizes() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        fit_exponent([10], [1])


def test_the_fewest_clients_near_the_highest_rate_saturate() -> None:
    assert saturation({1: 50, 2: 90, 4: 96, 8: 100, 16: 99}) == 4
    assert saturation({1: 0.0, 8: 0.0}) == 1


def test_a_service_has_settled_with_the_first_of_a_row() -> None:
    times = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert settled_after(times, [True, False, True, True, True], run=3) == 0.3
    assert settled_after(times, [True, True, False, True, True], run=3) is None
