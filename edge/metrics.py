"""The gateway's figures in Prometheus's text format (0.0.4)."""

from collections.abc import Iterator
from typing import Any

_PER_THING = {
    "read": ("counter", "Readings made by the device"),
    "suppressed": ("counter", "Readings left out by the deadband"),
    "buffered": ("gauge", "Readings held that the hub has not confirmed"),
    "evicted": ("counter", "Readings that gave way because the outbox was full"),
}
_OUTBOX = {
    "bytes": ("gauge", "Size of the packs on disk"),
    "commits": ("counter", "Commits of the outbox"),
    "commit_ms": ("gauge", "Duration of the last commit"),
    "failing": ("gauge", "Whether the outbox cannot be written now"),
}
_UPLINK = {
    "online": ("gauge", "Whether the line is up"),
    "sessions": ("counter", "Connections made"),
    "packs_sent": ("counter", "Packs sent, repetitions included"),
    "backfill_sent": ("counter", "Packs of former epochs sent, repetitions included"),
    "refusals": ("counter", "Times that the hub refused us, since another gateway has our identity"),
}


def exposition(status: dict[str, Any]) -> str:
    """The text for a status as the page makes it."""
    return "\n".join(_lines(status)) + "\n"


def _lines(status: dict[str, Any]) -> Iterator[str]:
    for key, (kind, text) in _PER_THING.items():
        yield from _head(f"kerb_readings_{key}", kind, text)
        for thing, row in status["things"].items():
            yield f'kerb_readings_{key}{{thing="{thing}"}} {row[key]}'
    yield from _head("kerb_events", "counter", "Things that went wrong on a link")
    for thing, row in status["things"].items():
        for counter, count in row["counters"].items():
            yield f'kerb_events{{thing="{thing}",event="{counter}"}} {count}'
    for counter, count in status["counters"].items():
        yield f'kerb_events{{thing="",event="{counter}"}} {count}'
    yield from _head("kerb_part_restarts", "counter", "Times that a part failed and was started again")
    for part, state in status["parts"].items():
        yield f'kerb_part_restarts{{part="{part}"}} {state["restarts"]}'
    for prefix, table, values in (
        ("outbox", _OUTBOX, {**status["outbox"], "failing": bool(status["outbox"]["failure"])}),
        ("uplink", _UPLINK, status["uplink"]),
    ):
        for key, (kind, text) in table.items():
            yield from _head(f"kerb_{prefix}_{key}", kind, text)
            yield f"kerb_{prefix}_{key} {float(values[key]):g}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
