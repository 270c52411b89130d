"""The account of a block: what became of every reading, per device and in total."""

from typing import Any, TypedDict

from hardware.sim.block import THINGS

_COUNTS = ("read", "suppressed", "stored", "buffered", "declared_lost", "duplicates")


class Row(TypedDict):
    """One device, or all. Latencies: reading made -> stored in the hub; of all devices, those of the slowest."""

    read: int
    suppressed: int
    stored: int
    buffered: int
    declared_lost: int
    duplicates: int
    p50_ms: float | None
    p99_ms: float | None


class Report(TypedDict):
    """What `kerb demo --report` writes."""

    devices: dict[str, Row]
    total: Row


def report(gateway: Any, hub: Any) -> Report:
    """The account from the gateway's /status.json and the hub's /api/v1/custody; either may be None.

    What was read is the gateway's to say; where it does not answer, as much of it as the hub has heard.
    """
    ours = (gateway or {}).get("things", {})
    theirs = by_thing(hub)
    devices = {
        thing: _row(ours.get(thing) or theirs.get(thing, {}), ours.get(thing, {}), theirs.get(thing, {}))
        for thing in THINGS
    }
    counts = {key: sum(row[key] for row in devices.values()) for key in _COUNTS}  # type: ignore[literal-required]
    slowest = {  # percentiles of several devices cannot be added up
        "p50_ms": max((row["p50_ms"] for row in devices.values() if row["p50_ms"] is not None), default=None),
        "p99_ms": max((row["p99_ms"] for row in devices.values() if row["p99_ms"] is not None), default=None),
    }
    return {"devices": devices, "total": _row(counts, counts, {**counts, **slowest})}


def by_thing(hub: Any) -> dict[str, Any]:
    """The rows of the hub's /api/v1/custody by thing."""
    return {row["thing"]: row for row in hub or []}


def _row(tally: Any, ours: Any, theirs: Any) -> Row:
    return {
        "read": tally.get("read", 0),
        "suppressed": tally.get("suppressed", 0),
        "stored": theirs.get("stored", 0),
        "buffered": ours.get("buffered", 0),
        "declared_lost": theirs.get("declared_lost", 0),
        "duplicates": theirs.get("duplicates", 0),
        "p50_ms": theirs.get("p50_ms"),
        "p99_ms": theirs.get("p99_ms"),
    }


def balanced(made: Report) -> list[str]:
    """What is wrong with an account: nothing, if custody held for every device and every device got through."""
    problems = []
    for thing, row in made["devices"].items():
        accounted = row["suppressed"] + row["stored"] - row["duplicates"] + row["buffered"] + row["declared_lost"]
        if row["stored"] == 0:
            problems.append(f"{thing}: no reading has arrived at the hub")
        if row["read"] != accounted:
            problems.append(f"{thing}: read {row['read']} readings, but {accounted} are accounted for")
        if row["duplicates"]:
            problems.append(f"{thing}: {row['duplicates']} readings are stored twice")
    return problems
