"""Figures for Prometheus: what is told comes back out of its own parser."""

import pytest

from runtime import metrics
from runtime.metrics import CollectorRegistry, Counter, Gauge


def sample(text: str, name: str, **labels: str) -> float:
    """The one sample of this name and labels; Prometheus's own parser reads the text."""
    found = [each for metric in metrics.parsed(text).values() for each in metric.samples]
    (value,) = [each.value for each in found if (each.name, each.labels) == (name, labels)]
    return value


def test_what_is_told_is_read_back() -> None:
    text = metrics.text(
        [
            metrics.counter("kerb_a", "Counted", {"x": 3, 'a "b"\n\\c': 4}, "thing"),
            metrics.gauge("kerb_b", "Held", {("g", "bulk"): 7}, "gateway", "lane"),
            metrics.gauge("kerb_c", "Alone", 1.5),
        ]
    )
    assert sample(text, "kerb_a_total", thing='a "b"\n\\c') == 4
    assert sample(text, "kerb_b", gateway="g", lane="bulk") == 7
    assert sample(text, "kerb_c") == 1.5


def test_a_histogram_counts_what_is_at_or_below_each_bound() -> None:
    text = metrics.text([metrics.histogram("kerb_h", "Delays", (0.1, 1.0), [(0.05, 2), (0.1, 1), (0.7, 4), (9.0, 3)])])
    assert [sample(text, "kerb_h_bucket", le=bound) for bound in ("0.1", "1.0", "+Inf")] == [3, 7, 10]
    assert sample(text, "kerb_h_count") == 10
    assert sample(text, "kerb_h_sum") == pytest.approx(30.0)


def test_what_counts_as_it_goes_is_told_without_the_time_of_its_making() -> None:
    registry = CollectorRegistry()
    Counter("kerb_d", "Dropped", registry=registry).inc(2)
    Gauge("kerb_q", "Queued", registry=registry).set_function(lambda: 5)
    text = metrics.text(registry.collect())
    assert (sample(text, "kerb_d_total"), sample(text, "kerb_q")) == (2, 5)
    assert "_created" not in text


def test_a_process_tells_its_memory_and_files() -> None:
    text = metrics.text(metrics.process("kerb_x"))
    assert sample(text, "kerb_x_process_resident_memory_bytes") > 1_000_000
    assert sample(text, "kerb_x_process_open_fds") > 2
