"""Reading a span of one stream: its blocks and what of it is still hot, in order of time."""

import sqlite3
from collections.abc import Iterator

from hub.store import block, hot, steps
from hub.store.readings import DAY_MS, NONE, Readings, in_order, join
from hub.store.steps import Steps

_BLOCKS = """
SELECT day, data FROM block WHERE stream = ?1 AND day BETWEEN ?2 AND ?3 AND to_ms >= ?4 AND from_ms < ?5 ORDER BY id
"""
_LAST_DAY = "SELECT max(day) FROM block WHERE stream = ? AND day BETWEEN ? AND ?"


def all_of(db: sqlite3.Connection, stream: int, from_ms: int, to_ms: int) -> Readings:
    """The readings with from <= time < to. Raises DamagedBlockError."""
    if to_ms <= from_ms:
        return NONE
    first, last = from_ms // DAY_MS, (to_ms - 1) // DAY_MS
    sealed = _sealed(db, stream, (first, last), from_ms, to_ms)
    return _within(join([*sealed, _hot(db, stream)]), from_ms, to_ms)


def newest(db: sqlite3.Connection, stream: int, from_ms: int, to_ms: int, most: int) -> Readings:
    """The last `most` of them; no older days are looked at than it takes. Raises DamagedBlockError."""
    found = _within(_hot(db, stream), from_ms, to_ms)
    first, last = from_ms // DAY_MS, (to_ms - 1) // DAY_MS
    while (day := db.execute(_LAST_DAY, (stream, first, last)).fetchone()[0]) is not None:
        # What is hot came last: of equal times it stands behind what is sealed.
        found = _within(join([*_sealed(db, stream, (day, day), from_ms, to_ms), found]), from_ms, to_ms)
        last = day - 1
        recent = found.records["time_ms"] >= day * DAY_MS
        if recent.sum() >= most:
            break
    return found.of(slice(-most, None))


def expiring(db: sqlite3.Connection, stream: int, day: int) -> Readings:
    """What is sealed of a day and not kept beyond its end. Raises DamagedBlockError."""
    rows = db.execute("SELECT data FROM block WHERE stream = ? AND day = ? AND NOT kept ORDER BY id", (stream, day))
    return in_order(join(block.decode(data, stream, day) for (data,) in rows))


def summaries(db: sqlite3.Connection, stream: int, first_day: int, last_day: int) -> Iterator[Steps]:
    """What is left of the days that have expired, from the first to the last. Raises DamagedBlockError."""
    rows = db.execute(
        "SELECT day, data FROM summary WHERE stream = ? AND day BETWEEN ? AND ? ORDER BY day",
        (stream, first_day, last_day),
    )
    for day, data in rows:
        yield steps.decode(data, stream, day)


def _sealed(db: sqlite3.Connection, stream: int, days: tuple[int, int], from_ms: int, to_ms: int) -> Iterator[Readings]:
    for day, data in db.execute(_BLOCKS, (stream, *days, from_ms, to_ms)):
        yield block.decode(data, stream, day)


def _hot(db: sqlite3.Connection, stream: int) -> Readings:
    rows = db.execute("SELECT data, texts FROM hot WHERE shelf = ? ORDER BY id", (hot.shelf_of(stream),))
    readings = hot.read((row["data"], row["texts"]) for row in rows)
    return readings.of(readings.records["stream"] == stream)


def _within(readings: Readings, from_ms: int, to_ms: int) -> Readings:
    """In order of time, without what lies outside."""
    times = readings.records["time_ms"]
    inside = (times >= from_ms) & (times < to_ms)
    return in_order(readings if inside.all() else readings.of(inside))
