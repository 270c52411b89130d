"""Figures for Prometheus, by its own client library, which is imported here alone.

What counts as its program goes (Counter, Gauge, Histogram) belongs to a CollectorRegistry; what is known elsewhere
already is told when it is asked for, by `counter`, `gauge` and `histogram`.
"""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["CollectorRegistry", "Counter", "Gauge", "Histogram", "Metric"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
DISK_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # buckets: SSDs to tired SD cards
LAG_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0, 3600.0)  # buckets: from one hop to the next

disable_created_metrics()  # type: ignore[no-untyped-call]  # the time of a counter's begin is that of its process, which is told once

Samples = float | Mapping[str, float] | Mapping[tuple[str, str], float]


class _Told:
    def __init__(self, metrics: Iterable[Metric]):
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def text(metrics: Iterable[Metric]) -> str:
    """The metrics in Prometheus's text format (0.0.4)."""
    return generate_latest(_Told(metrics)).decode()


def parsed(exposition: str) -> dict[str, Metric]:
    """The metrics of a text, by name: a counter's without its `_total`. Raises ValueError."""
    return {metric.name: metric for metric in text_string_to_metric_families(exposition)}


def counter(name: str, what: str, samples: Samples, *labels: str) -> Metric:
    """A count that only grows while its program runs: one number, or one by value (or values) of the labels."""
    return _filled(CounterMetricFamily(name, what, labels=labels), samples)


def gauge(name: str, what: str, samples: Samples, *labels: str) -> Metric:
    """A number that comes and goes; `samples` as for `counter`."""
    return _filled(GaugeMetricFamily(name, what, labels=labels), samples)


def histogram(name: str, what: str, bounds: Sequence[float], values: Iterable[tuple[float, int]]) -> Metric:
    """Counts of (value, count) pairs at or below each bound."""
    pairs = list(values)
    below = [(str(bound), float(sum(count for value, count in pairs if value <= bound))) for bound in bounds]
    buckets = [*below, ("+Inf", float(sum(count for _, count in pairs)))]
    return HistogramMetricFamily(name, what, buckets=buckets, sum_value=sum(value * count for value, count in pairs))


def process(namespace: str, pid: str = "self") -> Iterable[Metric]:
    """Memory, processor time, open files and start of a process."""
    return ProcessCollector(namespace, pid=lambda: pid, registry=None).collect()


def _filled(family: CounterMetricFamily | GaugeMetricFamily, samples: Samples) -> Metric:
    if not isinstance(samples, Mapping):
        family.add_metric((), samples)
        return family
    for key, value in samples.items():
        family.add_metric(key if isinstance(key, tuple) else (key,), value)
    return family
