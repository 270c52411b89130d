"""A rule tried on history: which alarms there would have been. What was backfilled counts as what came in time."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.errors import StoreError
from hub.store import spans
from hub.store.readings import DAY_MS, values
from hub.store.schema import FILE, connect
from hub.values import plain
from protocols.alarm import Change, Escalation, Machine, Rule, covers, measured
from protocols.reading import Reading, to_text
from runtime.rules import offset_s

Source = tuple[str, str]  # thing and metric


@dataclass(frozen=True)
class Trial:
    """What a rule would have done: `things` that it is for, readings that it heard, and what follows, by thing."""

    things: Sequence[str]
    readings: int
    following: Sequence[Change | Escalation]


def replay(data: Path, rule: Rule, from_ms: int, to_ms: int) -> Trial:
    """Try a rule on the readings with from <= time < to. Raises StoreError, DamagedBlockError."""
    try:
        with closing(connect(data / FILE, readonly=True)) as db:
            db.execute("BEGIN")
            return _replay(db, rule, from_ms, to_ms)
    except sqlite3.Error as error:
        raise StoreError(str(error)) from error


def told(data: Path, rule: Rule, begin: datetime, end: datetime) -> Iterator[str]:
    """What a trial found, line by line, in local time. Raises StoreError, DamagedBlockError."""
    trial = replay(data, rule, *(int(time.timestamp() * 1000) for time in (begin, end)))
    yield f"{len(trial.things)} things, {trial.readings} readings"
    for each in trial.following:
        when = datetime.fromtimestamp(each.time_ms / 1000).astimezone().isoformat(timespec="seconds")
        thing = each.identity.thing
        if isinstance(each, Change):
            cause = f" ({each.metric} {to_text(each.value)})" if each.metric and each.number == 1 else ""
            yield f"{when}  {thing}  {each.state}{cause}"
        else:
            yield f"{when}  {thing}  tell {', '.join(each.to)}"


def _replay(db: sqlite3.Connection, rule: Rule, from_ms: int, to_ms: int) -> Trial:
    streams: dict[Source, list[tuple[int, str]]] = defaultdict(list)
    for stream, thing, metric, unit in db.execute("SELECT id, thing, metric, unit FROM stream"):
        streams[thing, metric].append((stream, unit))
    things = []
    count = 0
    following: list[Change | Escalation] = []
    for thing, kind in db.execute("SELECT id, kind FROM thing ORDER BY id").fetchall():
        own = {(thing, said["metric"]) for said in measured(rule) if not said["thing"]}
        if not covers(rule, thing, kind) or not own <= streams.keys():
            continue
        things.append(thing)
        machine = Machine(rule, thing, offset=offset_s)
        machine.start(from_ms)
        for time_ms, moment in _moments(db, machine, streams, from_ms, to_ms):
            for owner, reading in moment:
                count += 1
                machine.take(owner, reading, time_ms)
            following += machine.settle(time_ms)
        following += machine.settle(to_ms)
    return Trial(things, count, following)


def _moments(
    db: sqlite3.Connection, machine: Machine, streams: dict[Source, list[tuple[int, str]]], from_ms: int, to_ms: int
) -> Iterator[tuple[int, list[tuple[str, Reading]]]]:
    """All that the machine is about in the order of time, what is of one time together; a day at a time in memory."""
    for day in range(from_ms // DAY_MS, (to_ms - 1) // DAY_MS + 1):
        begin, end = max(from_ms, day * DAY_MS), min(to_ms, (day + 1) * DAY_MS)
        moments: dict[int, list[tuple[str, Reading]]] = defaultdict(list)
        for source in machine.sources:
            for stream, unit in streams[source]:
                for time_ms, value, quality in _read(db, stream, begin, end):
                    moments[time_ms].append((source[0], Reading(source[1], value, unit, quality, time_ms)))
        yield from sorted(moments.items())


def _read(db: sqlite3.Connection, stream: int, from_ms: int, to_ms: int) -> Iterator[tuple[int, Any, int]]:
    """(time, value, quality) of each reading."""
    readings = spans.all_of(db, stream, from_ms, to_ms)
    times, qualities = (readings.records[name].tolist() for name in ("time_ms", "quality"))
    for (value, _), time_ms, quality in zip(values(readings), times, qualities, strict=True):
        yield time_ms, plain(value), quality
