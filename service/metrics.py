"""What the service tells Prometheus. Every app has a registry of its own, so that several can live in one process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.engine import Engine
from service.metrics_merge import merge
from service.registry import ModelRegistry
from service.serving import ServedModels

DURATION_BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
KNOWN_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS"})  # clients invent others; labels must stay few
UNMATCHED: Final = "unmatched"
INTERNAL_ERROR: Final = "internal-error"


class Metrics:
    """Counters of the HTTP side, and a view of the engines' own counts."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "interlinear_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._duration = Histogram(
            "interlinear_http_request_duration_seconds",
            "Time from the request's head to the end of its answer.",
            ["route"],
            buckets=DURATION_BUCKETS_S,
            registry=self._registry,
        )
        self._problems = Counter(
            "interlinear_problems",
            "Requests answered with a problem, by its kind.",
            ["problem"],
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._engines = _EngineCollector()
        self._registry.register(self._engines)

    def watch(self, models: ServedModels) -> None:
        """Shows the counts of these models' engines from now on."""
        self._engines.models = models

    def count_request(self, scope: Scope, status: int, duration_s: float) -> None:
        """Counts one answered request; `scope` is the connection's, as the routes left it."""
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in KNOWN_METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._duration.labels(route).observe(duration_s)
        if "problem" in scope:
            self._problems.labels(scope["problem"]).inc()

    def collect(self) -> list[Metric]:
        """Everything as it is now."""
        return list(self._registry.collect())

    def render(self, others: Sequence[Sequence[Metric]] = ()) -> bytes:
        """Everything in Prometheus's text format, together with what `others`, processes of the service, have."""
        whole = CollectorRegistry(auto_describe=False)
        whole.register(_Collected(merge([self.collect(), *others])))
        return generate_latest(whole)


class MetricsMiddleware:
    """Counts and times every HTTP request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on and takes notes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500  # stands if the app fails before it answers; the server then answers so

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        except Exception:
            scope["problem"] = INTERNAL_ERROR  # the outermost layer answers it, which is outside of this one
            raise
        finally:
            self._metrics.count_request(scope, status, time.perf_counter() - start)


class _Collected(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """What has been collected before."""
        return self._families


class _EngineCollector(Collector):
    def __init__(self) -> None:
        self.models: ServedModels | None = None

    def collect(self) -> Iterator[Metric]:
        """Reads the engines' counts at the time of the scrape."""
        if self.models is not None:
            yield _model_info(self.models.registry)
            yield from _load(self.models.engines)
            yield from _work_done(self.models.engines)


def _model_info(registry: ModelRegistry) -> Metric:
    labels = ["model", "source_language", "target_language", "precision", "provider"]
    family = GaugeMetricFamily("interlinear_model_info", "A served model; always 1.", labels=labels)
    for model in registry.models:
        name, source, target = model.manifest.name, model.manifest.source_language, model.manifest.target_language
        family.add_metric([name, source, target, model.precision, model.provider], 1)
    return family


def _load(engines: Mapping[str, Engine]) -> Iterator[Metric]:
    queue = GaugeMetricFamily("interlinear_queue_length", "Sentences waiting for their start.", labels=["model"])
    rows = GaugeMetricFamily("interlinear_live_rows", "Hypotheses advanced by the current step.", labels=["model"])
    for name, engine in engines.items():
        queue.add_metric([name], engine.queue_length)
        rows.add_metric([name], engine.work_done.live_rows)
    yield queue
    yield rows


def _work_done(engines: Mapping[str, Engine]) -> Iterator[Metric]:
    counts = {
        "steps": "Decoding steps run.",
        "sentences": "Sentences decoded.",
        "target_tokens": "Tokens of the best hypotheses decoded.",
        "failures": "Batches on which the model failed.",
    }
    for count, description in counts.items():
        family = CounterMetricFamily(f"interlinear_{count}", description, labels=["model"])
        for name, engine in engines.items():
            family.add_metric([name], getattr(engine.work_done, count))
        yield family
