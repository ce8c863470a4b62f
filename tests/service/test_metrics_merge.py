"""Metrics of several processes: what is added up, and what is not."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from service.metrics_merge import merge


def collected(requests: dict[str, float], start: float) -> list[Metric]:
    counter = CounterMetricFamily("requests", "Requests.", labels=["route"])
    for route, count in requests.items():
        counter.add_metric([route], count)
    information = GaugeMetricFamily("interlinear_model_info", "A model.", value=1)
    return [counter, information, GaugeMetricFamily("process_start_time_seconds", "Start.", value=start)]


def values(families: list[Metric]) -> dict[tuple[str, ...], float]:
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_samples_of_the_same_labels_are_added_up() -> None:
    merged = merge([collected({"/a": 3, "/b": 1}, start=7), collected({"/a": 4, "/c": 2}, start=5)])
    assert values(merged) == {
        ("requests_total", "/a"): 7,
        ("requests_total", "/b"): 1,
        ("requests_total", "/c"): 2,
        ("interlinear_model_info",): 1,
        ("process_start_time_seconds",): 5,
    }
    assert [family.type for family in merged] == ["counter", "gauge", "gauge"]
