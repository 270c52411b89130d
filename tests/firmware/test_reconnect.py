"""A device comes back after whatever has become of its line, and nothing is lost or told twice."""

import pytest

from bench.parts import reconnect


@pytest.mark.timeout(180)
def test_after_each_fault_readings_go_on_and_each_has_come_once() -> None:
    found = reconnect.measure(12, lines=2)
    assert found["cycles"] == 12
    assert found["connections"] >= 2 * len(reconnect.FAULTS)  # a short silence may have gone unnoticed
    assert (found["missing"], found["twice"], found["thought_dead"]) == (0, 0, 0)
    assert found["worst_ms"].keys() == set(reconnect.FAULTS)


def test_samples_come_over_tls_as_they_are_taken() -> None:
    found = reconnect.latency(3, handshakes=2)
    assert found["samples"] >= 20
    assert found["max_ms"] < 3000  # by far not as late as what is only sent again
