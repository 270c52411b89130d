"""Sealing: hot rows become compressed blocks, a shelf at a time, so that ingest is never held up for long.

A day of a stream is a few blocks. What is sealed anew is merged with the last ones as long as those are not much
larger, so a reading is compressed a few times at most, however small the portions are in which it came.
"""

import logging
import sqlite3
from collections.abc import Iterator

import numpy as np

from hub.errors import DamagedBlockError
from hub.store import block, hot
from hub.store.readings import DAY_MS, RECORD, Readings, in_order, join, runs

logger = logging.getLogger(__name__)

_FULL = 8192  # readings of a shelf, 128 a stream: then it is sealed
_FEW = 64  # readings of a stream that stay hot when their shelf is sealed, to make a better block
_OLD_US = 6 * 3_600_000_000  # then a shelf is sealed whole, though few came
_LOOK_US = 60_000_000

_PARTS = "SELECT id, count, data FROM block WHERE stream = ? AND day = ? AND NOT kept ORDER BY id DESC"
_INSERT = "INSERT INTO block (stream, day, kept, count, from_ms, to_ms, data) VALUES (?, ?, ?, ?, ?, ?, ?)"


class Sealing:
    """Knows how much is hot, and seals it. `seal_one` is a transaction of its own."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db
        self.forget()

    def forget(self) -> None:
        """Read from the table what is hot: at start, and after a transaction that failed."""
        size = RECORD.itemsize
        rows = self._db.execute(f"SELECT shelf, sum(length(data)) / {size}, min(id) FROM hot GROUP BY shelf")
        self._counts: dict[int, int] = {}
        self._since: dict[int, int] = {}  # when the oldest hot row of a shelf came
        for shelf, count, since in rows:
            self._counts[shelf], self._since[shelf] = count, since
        self._full = {shelf for shelf, count in self._counts.items() if count >= _FULL}
        self._looked_us = 0

    def added(self, shelf: int, count: int, now_us: int) -> None:
        """So many readings of a shelf have become hot."""
        held = self._counts[shelf] = self._counts.get(shelf, 0) + count
        self._since.setdefault(shelf, now_us)
        if held >= _FULL:
            self._full.add(shelf)

    def seal_one(self, now_us: int) -> bool:
        """Seal the shelf that is due, some milliseconds' work; False if none is."""
        if self._full:
            self.seal(self._full.pop(), least=_FEW)
            return True
        if now_us - self._looked_us < _LOOK_US:
            return False
        old = [shelf for shelf, since in self._since.items() if now_us - since > _OLD_US]
        if not old:
            self._looked_us = now_us
            return False
        self.seal(old[0], least=1)
        return True

    def seal_all(self) -> None:
        """Seal everything that is hot."""
        for shelf in list(self._counts):
            self.seal(shelf, least=1)

    def seal(self, shelf: int, *, least: int) -> None:
        """Seal a shelf's streams that have at least so many hot readings."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            last, left = self._seal(shelf, least)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._full.discard(shelf)
        self._counts.pop(shelf, None)
        since = self._since.pop(shelf, last)
        if left:
            self.added(shelf, left, since)  # what is rare must not stay hot for ever beside what is not

    def _seal(self, shelf: int, least: int) -> tuple[int, int]:
        """The id of the last hot row, and how many readings stay hot."""
        rows = self._db.execute("SELECT data, texts, id FROM hot WHERE shelf = ? ORDER BY id", (shelf,)).fetchall()
        readings = hot.read((data, texts) for data, texts, _ in rows)
        streams, places, counts = np.unique(readings.records["stream"], return_inverse=True, return_counts=True)
        for place in np.flatnonzero(counts >= least).tolist():
            of_stream = in_order(readings.of(places == place))
            for day, of_day in _by_day(of_stream):
                self._append(int(streams[place]), day, of_day)
        self._db.execute("DELETE FROM hot WHERE shelf = ?", (shelf,))
        rest = readings.of(counts[places] < least)
        last = rows[-1]["id"] if rows else 0
        if len(rest.records):
            for _, row in hot.rows(rest):
                self._db.execute("INSERT INTO hot (shelf, id, data, texts) VALUES (?, ?, ?, ?)", (shelf, last, *row))
        return last, len(rest.records)

    def _append(self, stream: int, day: int, new: Readings) -> None:
        parts = [new]
        held = len(new.records)
        for row in self._db.execute(_PARTS, (stream, day)).fetchall():
            if row["count"] > 2 * held or row["count"] + held > block.MAX_READINGS:
                break
            try:
                parts.insert(0, block.decode(row["data"], stream, day))
            except DamagedBlockError as error:
                logger.error("%s; it is left as it is", error)
                break
            held += row["count"]
            self._db.execute("DELETE FROM block WHERE id = ?", (row["id"],))
        write_blocks(self._db, stream, day, in_order(join(parts)))


def write_blocks(db: sqlite3.Connection, stream: int, day: int, readings: Readings, *, kept: bool = False) -> None:
    """Write a stream's readings of a day, which are in order of time, as blocks."""
    for begin in range(0, len(readings.records), block.MAX_READINGS):
        part = readings.of(slice(begin, begin + block.MAX_READINGS))
        times = part.records["time_ms"]
        span = (int(times[0]), int(times[-1]))
        db.execute(_INSERT, (stream, day, kept, len(times), *span, block.encode(part)))


def _by_day(readings: Readings) -> Iterator[tuple[int, Readings]]:
    """The readings, which are in order of time, day by day."""
    days = readings.records["time_ms"] // DAY_MS
    for begin, end in runs(days):
        yield int(days[begin]), readings.of(slice(begin, end))
