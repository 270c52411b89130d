"""The gateway's figures in Prometheus's text format."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from protocols.alarm import OPEN, PRIORITIES
from runtime import metrics
from runtime.metrics import Histogram, Metric

# Counts by thing: key of the status -> what it says
_COUNTED = {
    "read": "Readings made by the device",
    "suppressed": "Readings left out by the deadband",
    "stored": "Readings that the far side has confirmed since the start of the gateway",
    "declared_lost": "Readings that gave way and are declared as lost, since the start of the gateway",
}
# Figures of a part: (part, key, metric's ending, whether it only grows, what it says)
_OF_PARTS = (
    ("outbox", "bytes", "bytes", False, "Size of the packs on disk"),
    ("outbox", "max_bytes", "limit_bytes", False, "How large that may become before readings give way"),
    ("outbox", "uncommitted", "uncommitted_packs", False, "Packs that wait for the disk"),
    ("outbox", "failing", "failing", False, "Whether the outbox cannot be written now"),
    ("outbox", "damages", "damages", True, "Times that something in its file was damaged, and set aside"),
    ("outbox", "disk_free", "disk_free_bytes", False, "Room on its disk"),
    ("uplink", "online", "online", False, "Whether the line is up"),
    ("uplink", "sessions", "sessions", True, "Connections made"),
    ("uplink", "packs_sent", "packs_sent", True, "Packs sent, repetitions included"),
    ("uplink", "backfill_sent", "backfill_sent", True, "Packs of former epochs sent, repetitions included"),
    ("uplink", "refusals", "refusals", True, "Times that the hub refused us, since another gateway has our identity"),
    ("uplink", "dropped", "dropped_messages", True, "Messages dropped because too many were waiting"),
    ("outputs", "failures", "failures", True, "Commands of alarms, as to a siren, that did not succeed"),
)


def exposition(status: dict[str, Any], commit_s: Histogram) -> str:
    """The text for a status as the page makes it, and the outbox's commits."""
    return metrics.text([*_lines(status), *commit_s.collect(), *metrics.process("kerb_gateway")])


def _lines(status: dict[str, Any]) -> Iterator[Metric]:
    things = status["things"]
    for key, what in _COUNTED.items():
        values = {thing: row[key] for thing, row in things.items()}
        yield metrics.counter(f"kerb_gateway_readings_{key}", what, values, "thing")
    buffered = {thing: row["buffered"] for thing, row in things.items()}
    yield metrics.gauge("kerb_gateway_readings_buffered", "Readings held that are not confirmed", buffered, "thing")
    online = {thing: float(row["state"] != "offline") for thing, row in things.items()}
    yield metrics.gauge(
        "kerb_gateway_thing_online", "Whether the device is on line, or waits as it should", online, "thing"
    )
    events = {(thing, event): count for thing, row in things.items() for event, count in row["counters"].items()}
    events |= {("", event): count for event, count in status["counters"].items()}
    yield metrics.counter("kerb_gateway_events", "Things that went wrong on a link", events, "thing", "event")
    lanes = status["lanes"]
    held = {lane: row["readings"] for lane, row in lanes.items()}
    yield metrics.gauge("kerb_gateway_held_readings", "Readings held, by lane", held, "lane")
    ages = {lane: row["oldest_age_ms"] / 1000 for lane, row in lanes.items()}
    yield metrics.gauge("kerb_gateway_oldest_held_age_seconds", "Age of the oldest of them, 0 if none is", ages, "lane")
    for part, key, ending, grows, what in _OF_PARTS:
        make = metrics.counter if grows else metrics.gauge
        yield make(f"kerb_gateway_{part}_{ending}", what, float(status[part][key]))
    restarts = {part: state["restarts"] for part, state in status["parts"].items()}
    yield metrics.counter(
        "kerb_gateway_part_restarts", "Times that a part failed and was started again", restarts, "part"
    )
    alarms = Counter((row["state"], row["priority"]) for row in status["alarms"])
    kinds = {(state, priority): float(alarms[state, priority]) for state in OPEN for priority in PRIORITIES}
    yield metrics.gauge("kerb_gateway_alarms", "Alarms that there are", kinds, "state", "priority")
    commands = status["commands"]
    yield metrics.gauge("kerb_gateway_commands_pending", "Commands whose end is waited for", float(commands["pending"]))
    yield metrics.gauge("kerb_gateway_commands_limit", "How many may be", float(commands["limit"]))
