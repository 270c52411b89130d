"""What has happened, in the order in which it was stored: alarms' changes, escalations, gateways on and off line.

Written in the transaction of what it tells of: whoever follows hears of all of it, once. An event's id is when it was
stored, in microseconds, or one more than that of the one before: it grows also where a store was made anew or restored
from a backup. Events are kept for a week; what they tell of stays in tables of its own.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hub.store.querying import opened
from hub.store.schema import FILE

ALARM = "alarm"
ESCALATION = "escalation"
GATEWAY = "gateway"

KEPT_MS = 7 * 86_400_000

_INSERT = "INSERT INTO event (id, kind, thing, content) VALUES (?, ?, ?, ?)"


class Event(NamedTuple):
    """One event. thing: the thing, or gateway, that it is about."""

    id: int
    kind: str
    thing: str
    content: Mapping[str, Any]


class Events:
    """The writing side. All calls belong to the writer's transaction."""

    def __init__(self, db: sqlite3.Connection, clock: Callable[[], int]):
        self._db = db
        self._clock = clock

    def add(self, kind: str, thing: str, content: Mapping[str, object]) -> None:
        """It has happened."""
        now_us = self._clock() * 1000
        (newest,) = self._db.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
        row = (max(now_us, newest + 1), kind, thing, json.dumps(content, ensure_ascii=False))
        self._db.execute(_INSERT, row)
        self._db.execute("DELETE FROM event WHERE id < ?", (now_us - KEPT_MS * 1000,))


class EventLog:
    """The reading side, each call over a connection of its own. Raises StoreError if the store cannot be read."""

    def __init__(self, data: Path):
        self._path = data / FILE

    def after(self, event: int, limit: int) -> list[Event]:
        """Those that are later than this one, the oldest first."""
        with opened(self._path) as db:
            rows = db.execute(
                "SELECT id, kind, thing, content FROM event WHERE id > ? ORDER BY id LIMIT ?", (event, limit)
            )
            return [Event(row["id"], row["kind"], row["thing"], json.loads(row["content"])) for row in rows]

    def newest(self) -> int:
        """The id of the last one; 0 if there is none."""
        with opened(self._path) as db:
            found: int = db.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0]
            return found
