"""The newest value of every stream: a table, and beside it in memory what decides whether a reading is newer."""

import sqlite3
from typing import Any

import numpy as np

from hub.store.readings import Readings, Records, values

_NEWER = """
INSERT OR REPLACE INTO latest (stream, time_ms, value, exponent, quality, backfill, stored, interval_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_COUNTED = "UPDATE latest SET stored = ? WHERE stream = ?"

_KNOWN = np.dtype([("time_ms", "<i8"), ("backfill", "?"), ("stored", "<i8"), ("interval_ms", "<f8")])
_BEFORE_ALL = np.iinfo(np.int64).min
_STEP = 0.25  # how fast the usual interval follows, as a power of the ratio; one outage moves it by a fifth at most


class Latest:
    """Kept by the one writer; `forget` after a transaction that was undone."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db
        self.forget()

    def forget(self) -> None:
        """Read what is known from the table."""
        rows = self._db.execute("SELECT stream, time_ms, backfill, stored, interval_ms FROM latest").fetchall()
        self._known = _nothing(0)
        self._grow(max((row[0] for row in rows), default=0))
        for stream, *known in rows:
            self._known[stream] = tuple(known)

    def take(self, readings: Readings) -> None:
        """Take the readings of a batch, given in the order of their arrival, into account."""
        records = readings.records
        # Of one stream and time a live reading goes before one that came late, and then the last to arrive.
        order = np.lexsort((~records["backfill"], records["time_ms"], records["stream"]))
        streams = records["stream"][order]
        ends = np.append(np.flatnonzero(streams[1:] != streams[:-1]), len(order) - 1)
        begins = np.append(0, ends[:-1] + 1)
        ids = streams[ends]
        self._grow(int(ids[-1]))
        before = self._known[ids]
        newest = records[order[ends]]
        newer = (newest["time_ms"] > before["time_ms"]) | (
            (newest["time_ms"] == before["time_ms"]) & (newest["backfill"] <= before["backfill"])
        )
        after = before.copy()
        after["stored"] += ends - begins + 1
        for name in ("time_ms", "backfill"):
            after[name][newer] = newest[name][newer]
        after["interval_ms"] = _intervals(before, newest["time_ms"], records["time_ms"][order[begins]], ends - begins)
        self._known[ids] = after
        self._write(readings.of(order[ends]), after, newer)

    def _write(self, newest: Readings, after: Any, newer: Any) -> None:
        chosen, known = newest.of(newer), after[newer]
        records = chosen.records
        rows = zip(
            records["stream"].tolist(),
            records["time_ms"].tolist(),
            *zip(*values(chosen), strict=True),
            records["quality"].tolist(),
            records["backfill"].tolist(),
            known["stored"].tolist(),
            known["interval_ms"].tolist(),
            strict=True,
        )
        if len(records):
            self._db.executemany(_NEWER, rows)
        older = newest.records["stream"][~newer]
        self._db.executemany(_COUNTED, zip(after["stored"][~newer].tolist(), older.tolist(), strict=True))

    def _grow(self, stream: int) -> None:
        if stream >= len(self._known):
            self._known = np.concatenate([self._known, _nothing(max(1024, stream + 1 - len(self._known)))])


def _nothing(count: int) -> Records:
    made = np.zeros(count, _KNOWN)
    made["time_ms"] = _BEFORE_ALL
    return made


def _intervals(before: Records, newest: Any, first: Any, more: Any) -> Any:
    """How far apart readings usually lie: it follows each new distance by a part of their ratio, 0 if unknown yet."""
    known = before["time_ms"] != _BEFORE_ALL
    count = np.where(known, more + 1, np.maximum(more, 1))
    gap = np.where(known, newest - np.where(known, before["time_ms"], 0), newest - first) / count
    usual = before["interval_ms"]
    ratio = np.clip(gap / np.where(usual > 0, usual, 1), 0.5, 2)
    return np.where(gap <= 0, usual, np.where(usual > 0, usual * ratio**_STEP, gap))
