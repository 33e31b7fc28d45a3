"""Counts what happens and shows it to a scrape: fed by outcomes, and by readings that are taken at scrape time."""

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from proxy import __version__, metrics_table
from proxy.metrics_table import METRICS, Metric
from proxy.outcome import Outcome
from proxy.runtime import Runtime
from proxy.wire_errors import wire

Labels: TypeAlias = tuple[str, ...]
"""A value for each label of the metric, in its order."""

OTHER = "other"  # any model's name that only a client has said


class Metrics(Collector):
    """The metrics of one process, all in `registry`. Fed and scraped in the event loop's thread, so it takes no lock.

    The library's own counters are not used: they take a lock at each step, and cannot be given whole buckets.
    """

    def __init__(self, registry: CollectorRegistry, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime
        self._readings: dict[Metric, Callable[[], Mapping[Labels, float]]] = {}
        self._counts: defaultdict[Metric, defaultdict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._buckets: defaultdict[Metric, dict[Labels, Buckets]] = defaultdict(dict)
        self.registry = registry
        self.read(metrics_table.BUILD, lambda: {(__version__, platform.python_version()): 1})
        registry.register(self)
        ProcessCollector(registry=registry)

    def read(self, metric: Metric, reading: Callable[[], Mapping[Labels, float]]) -> None:
        """Ask `reading` for a gauge's values, by its labels, at each scrape."""
        self._readings[metric] = reading

    def observe(self, outcome: Outcome) -> None:
        """One request has finished."""
        backend = outcome.backend or "none"
        where = (backend, self._model(backend, outcome.backend_model, outcome.model))
        self._counts[metrics_table.REQUESTS][*where, outcome.status, outcome.error or ""] += 1
        for attempt in outcome.failed_attempts:
            failed = (attempt.backend, self._model(attempt.backend, attempt.model, outcome.model), attempt.error)
            self._counts[metrics_table.FAILED_ATTEMPTS][failed] += 1
        self._add(metrics_table.DURATION, where, outcome.duration)
        if outcome.first_event is not None:
            self._add(metrics_table.FIRST_TOKEN, where, outcome.first_event)
        if outcome.gaps is not None:
            self._of(metrics_table.INTER_TOKEN, where).merge(outcome.gaps.counts, outcome.gaps.seconds)
        if outcome.usage is not None:
            self._counts[metrics_table.INPUT_TOKENS][where] += outcome.usage.input_tokens
            self._counts[metrics_table.OUTPUT_TOKENS][where] += outcome.usage.output_tokens
        if outcome.cost is not None:
            self._counts[metrics_table.COST][where] += outcome.cost
        elif outcome.first_event is not None:
            self._counts[metrics_table.WITHOUT_COST][where] += 1

    def refused(self, error: Exception) -> None:
        """Something was answered with `error`, and became no request."""
        self._counts[metrics_table.REFUSED][(wire(error).code,)] += 1

    def waited(self, backend: str, priority: str, seconds: float) -> None:
        """A request has waited so long for a place at a backend, and got it."""
        self._add(metrics_table.QUEUE_WAIT, (backend, priority), seconds)

    def lagged(self, seconds: float) -> None:
        """The event loop came back so much later than asked for."""
        self._add(metrics_table.LOOP_LAG, (), seconds)

    def collect(self) -> Iterator[Family]:
        """Every metric of the table, in its order."""
        for metric in METRICS:
            labels = metric.labels
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(metric.name, metric.about, labels=labels)
                for values, buckets in self._buckets[metric].items():
                    histogram.add_metric(values, buckets.cumulated(), buckets.sum)
                yield histogram
                continue
            family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
                metric.name, metric.about, labels=labels
            )
            reading = self._readings.get(metric)
            for values, value in (reading() if reading else self._counts[metric]).items():
                family.add_metric(values, value)
            yield family

    def describe(self) -> Sequence[Family]:
        """Nothing: the table's names are known to be different, and a reading needs a gateway that runs."""
        return ()

    def _model(self, backend: str, model: str | None, asked: str) -> str:
        runtime = self._runtime()
        if model and (asked in runtime.aliases or any(each.id == model for each in runtime.models.get(backend, ()))):
            return model
        return OTHER

    def _add(self, metric: Metric, labels: Labels, value: float) -> None:
        self._of(metric, labels).add(value)

    def _of(self, metric: Metric, labels: Labels) -> "Buckets":
        known = self._buckets[metric]
        if labels not in known:
            known[labels] = Buckets(metric.bounds)
        return known[labels]


class Buckets:
    """One histogram: how many values were at most as large as each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._names = [*map(str, bounds), "+Inf"]
        self._counts = [0] * len(self._names)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def merge(self, counts: Sequence[int], total: float) -> None:
        """Values that were counted elsewhere, in the same buckets, and their sum."""
        self._counts = [mine + more for mine, more in zip(self._counts, counts, strict=True)]
        self.sum += total

    def cumulated(self) -> list[tuple[str, float]]:
        """As Prometheus writes them: each bucket holds the smaller ones too."""
        return list(zip(self._names, accumulate(self._counts), strict=True))
