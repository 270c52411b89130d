"""Expiry: what the policies say is old goes, in slices of some milliseconds; steps may take its place.

A day of a stream expires whole, when all of it is old enough. What is no number cannot be summed up: texts stay, in
blocks marked as kept, for as long as the steps beside them. Losses that were declared are never deleted, and a step
without readings is not there: gaps stay gaps.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from hub.errors import DamagedBlockError
from hub.retention import Policy, policies, policy_of
from hub.store import spans, steps
from hub.store.readings import DAY_MS, TEXT
from hub.store.sealing import write_blocks

logger = logging.getLogger(__name__)

_EVERY_MS = 3_600_000
_SLICE_S = 0.03
_MINUTE_MS = 60_000

_STREAMS = "SELECT id, metric FROM stream ORDER BY id"
_DAYS = "SELECT DISTINCT day FROM block WHERE stream = ? AND day < ? AND NOT kept"
_SUMMARISED = "DELETE FROM block WHERE stream = ? AND day = ? AND NOT kept"
_BLOCKS = "DELETE FROM block WHERE stream = ? AND day < ?"
_SUMMARIES = "DELETE FROM summary WHERE stream = ? AND day < ?"
_SUMMARY = "INSERT OR REPLACE INTO summary (stream, day, data) VALUES (?, ?, ?)"


class Expiry:
    """Goes through all streams once an hour. `expire_some` is a transaction of its own."""

    def __init__(self, db: sqlite3.Connection, data: Path):
        self._db = db
        self._data = data
        self._next_ms = 0
        self._work: Iterator[None] = iter(())
        self._working = False

    def expire_some(self, now_ms: int) -> bool:
        """Some milliseconds' work; False if there is nothing to do. Raises SetupError if the policies are damaged."""
        if not self._working and now_ms >= self._next_ms:
            self._next_ms = now_ms + _EVERY_MS
            if known := policies(self._data):
                self._work, self._working = self._expire(known, now_ms // DAY_MS), True
        if self._working:
            self._slice()
        return self._working

    def _slice(self) -> None:
        until = time.perf_counter() + _SLICE_S
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for _ in self._work:
                if time.perf_counter() > until:
                    break
            else:
                self._working = False
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            self._working = False  # what was undone is found again in an hour
            raise

    def _expire(self, known: Mapping[str, Policy], today: int) -> Iterator[None]:
        """One stream, or one day of it, at a time."""
        for stream, metric in self._db.execute(_STREAMS).fetchall():
            policy = policy_of(metric, known)
            if policy is None:
                continue
            horizon = today - policy.days
            if policy.step_minutes is not None:
                for (day,) in self._db.execute(_DAYS, (stream, horizon)).fetchall():
                    self._summarise(stream, day, policy.step_minutes * _MINUTE_MS)
                    yield
                if policy.step_days is None:
                    continue
                horizon = today - policy.step_days
            self._db.execute(_BLOCKS, (stream, horizon))
            self._db.execute(_SUMMARIES, (stream, horizon))
            yield

    def _summarise(self, stream: int, day: int, step_ms: int) -> None:
        """Put steps in the place of a day's readings. What comes late is added when it has become a block in turn."""
        try:
            readings = spans.expiring(self._db, stream, day)
            parts = [steps.steps_of(readings.records, step_ms), *spans.summaries(self._db, stream, day, day)]
        except DamagedBlockError as error:
            logger.error("%s; the day is left as it is", error)
            return
        found = steps.merged(parts, step_ms)
        if len(found.counts):
            self._db.execute(_SUMMARY, (stream, day, steps.encode(found)))
        self._db.execute(_SUMMARISED, (stream, day))
        texts = readings.records["kind"] == TEXT
        if texts.any():
            write_blocks(self._db, stream, day, readings.of(texts), kept=True)
