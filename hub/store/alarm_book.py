"""The store's reading side of alarms."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hub.store.querying import opened
from hub.store.schema import FILE
from protocols.alarm import CLEARED, PRIORITIES

MAX_ALARMS = 1000

_SELECT = """
SELECT alarm.*, rule.name_en, rule.name_zh FROM alarm
LEFT JOIN alarm_rule AS rule ON rule.origin = alarm.origin AND rule.id = alarm.rule
"""
_ONE = f"{_SELECT} WHERE alarm.rule = ? AND alarm.thing = ? AND alarm.onset_ms = ?"
_NAME = "SELECT name_en, name_zh FROM thing WHERE id = ? UNION ALL SELECT name_en, name_zh FROM gateway WHERE id = ?"


@dataclass(frozen=True)
class AlarmNow:
    """An alarm as it was last heard of. name: of its rule, if that is in force. origin: who evaluates it, a gateway or,
    empty, the hub. metric, value: of the reading with which it began; empty and None if it began without one."""

    rule: str
    thing: str
    onset_ms: int
    name: Mapping[str, str]
    origin: str
    state: str
    priority: str
    version: int
    changed_ms: int
    metric: str
    value: bool | int | float | str | None


@dataclass(frozen=True)
class AlarmChange:
    """One change of an alarm; who: who did it, empty if nobody."""

    state: str
    time_ms: int
    who: str


@dataclass(frozen=True)
class AlarmEscalation:
    """These were to be told, since nobody had acknowledged it."""

    step: int
    time_ms: int
    to: list[str]


class AlarmBook:
    """Queries of one store, each over a connection of its own. Raises StoreError if that cannot be read."""

    def __init__(self, data: Path):
        self._path = data / FILE

    def open(self) -> list[AlarmNow]:
        """The alarms that there are, what needs somebody first: active ones, by priority, the oldest first."""
        with opened(self._path) as db:
            rows = db.execute(f"{_SELECT} WHERE alarm.state != ?", (CLEARED,))
            found = [_alarm(row) for row in rows]
        return sorted(
            found, key=lambda alarm: (alarm.state != "active", PRIORITIES.index(alarm.priority), alarm.onset_ms)
        )

    def all(self, *, thing: str | None, before_ms: int, limit: int) -> list[AlarmNow]:
        """The alarms that began before a time, of all things or of one, the newest first."""
        where = "WHERE alarm.onset_ms < ?" + (" AND alarm.thing = ?" if thing is not None else "")
        values = (before_ms, thing) if thing is not None else (before_ms,)
        with opened(self._path) as db:
            rows = db.execute(f"{_SELECT} {where} ORDER BY alarm.onset_ms DESC LIMIT ?", (*values, limit))
            return [_alarm(row) for row in rows]

    def now(self, rule: str, thing: str, onset_ms: int) -> AlarmNow | None:
        """An alarm as it is; None if there is none such."""
        with opened(self._path) as db:
            row = db.execute(_ONE, (rule, thing, onset_ms)).fetchone()
            return None if row is None else _alarm(row)

    def name_of(self, thing: str) -> Mapping[str, str]:
        """What people call a thing or a gateway; its id if it was never born."""
        with opened(self._path) as db:
            row = db.execute(_NAME, (thing, thing)).fetchone()
            return {"en": row["name_en"], "zh": row["name_zh"]} if row else {"en": thing, "zh": thing}

    def one(
        self, rule: str, thing: str, onset_ms: int
    ) -> tuple[AlarmNow, list[AlarmChange], list[AlarmEscalation]] | None:
        """An alarm with all that became of it; None if there is none such."""
        key = (rule, thing, onset_ms)
        where = "rule = ? AND thing = ? AND onset_ms = ?"
        with opened(self._path) as db:
            row = db.execute(_ONE, key).fetchone()
            if row is None:
                return None
            changes = db.execute(f"SELECT state, time_ms, who FROM alarm_change WHERE {where} ORDER BY number", key)
            told = db.execute(
                f"SELECT step, time_ms, people FROM alarm_escalation WHERE {where} ORDER BY time_ms, step", key
            )
            return (
                _alarm(row),
                [AlarmChange(*change) for change in changes],
                [AlarmEscalation(step, time_ms, json.loads(people)) for step, time_ms, people in told],
            )


def _alarm(row: sqlite3.Row) -> AlarmNow:
    name = {"en": row["name_en"] or row["rule"], "zh": row["name_zh"] or row["rule"]}
    columns = ("rule", "thing", "onset_ms", "origin", "state", "priority", "version", "changed_ms", "metric")
    return AlarmNow(name=name, value=json.loads(row["value"]), **{column: row[column] for column in columns})
