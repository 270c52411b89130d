"""The store's writing side of alarms: what gateways tell of theirs. All calls belong to the writer's transaction."""

import json
import logging
import sqlite3
from collections.abc import Iterable

from hub.birth import Birth
from hub.store.events import ALARM, ESCALATION, Events
from protocols.alarm import CLEARED, METRIC, Change, Escalation, Identity, Rule, decode_following
from protocols.errors import DecodeError
from protocols.pack import Column

logger = logging.getLogger(__name__)

# Changes may come in another order than they happened: what was held back during an outage comes after what is new.
_ALARM = """
INSERT INTO alarm (rule, thing, onset_ms, origin, number, state, priority, version, changed_ms, metric, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET origin = excluded.origin, number = excluded.number, state = excluded.state,
    priority = excluded.priority, version = excluded.version, changed_ms = excluded.changed_ms
WHERE excluded.number > number
"""
_CHANGE = """
INSERT OR IGNORE INTO alarm_change (rule, thing, onset_ms, number, state, time_ms, who) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_ESCALATION = (
    "INSERT OR IGNORE INTO alarm_escalation (rule, thing, onset_ms, step, time_ms, people) VALUES (?, ?, ?, ?, ?, ?)"
)
_RULE = "INSERT OR REPLACE INTO alarm_rule (origin, id, version, priority, name_en, name_zh) VALUES (?, ?, ?, ?, ?, ?)"


class Alarms:
    """The alarms of a store, in its transaction; `forget` after one that failed."""

    def __init__(self, db: sqlite3.Connection, events: Events):
        self._db = db
        self._events = events
        self._streams: set[int] | None = None

    def forget(self) -> None:
        """The transaction was undone: what is known is read again."""
        self._streams = None

    def are_in(self, stream: int) -> bool:
        """Whether this stream's readings are changes of alarms."""
        if self._streams is None:
            rows = self._db.execute("SELECT id FROM stream WHERE metric = ?", (METRIC,))
            self._streams = {row[0] for row in rows}
        return stream in self._streams

    def take(self, gateway: str, thing: str, column: Column) -> None:
        """Take over the changes of a thing's alarms; a text that is none is only a reading."""
        for time_ms, value in zip(column.times_ms, column.values, strict=True):
            try:
                following = decode_following(thing, time_ms, str(value))
            except DecodeError as error:
                logger.warning("%s: %s of %s: %s", gateway, METRIC, thing, error)
                continue
            if isinstance(following, Change):
                self.change(gateway, following)
            else:
                self.escalate(following)

    def change(self, origin: str, change: Change) -> None:
        """An alarm has changed."""
        made = self._db.execute(_CHANGE, (*change.identity, change.number, change.state, change.time_ms, change.by))
        if made.rowcount:
            self._tell(origin, change)
        told = (change.number, change.state, change.priority, change.version, change.time_ms, change.metric)
        self._db.execute(_ALARM, (*change.identity, origin, *told, json.dumps(change.value, ensure_ascii=False)))

    def escalate(self, escalation: Escalation) -> None:
        """Nobody has acknowledged an alarm."""
        people = json.dumps(escalation.to)
        made = self._db.execute(_ESCALATION, (*escalation.identity, escalation.step, escalation.time_ms, people))
        if made.rowcount:
            said = {"step": escalation.step, "to": list(escalation.to), "time_ms": escalation.time_ms}
            self._events.add(ESCALATION, escalation.identity.thing, escalation.identity._asdict() | said)

    def origin(self, rule: str, thing: str, onset_ms: int) -> str | None:
        """Who evaluates the rule of this alarm; None if there was none such."""
        query = "SELECT origin FROM alarm WHERE rule = ? AND thing = ? AND onset_ms = ?"
        row = self._db.execute(query, (rule, thing, onset_ms)).fetchone()
        return row[0] if row else None

    def write_birth(self, birth: Birth) -> None:
        """Take over which rules a gateway evaluates, and end what its program, begun anew, knows nothing of."""
        self._streams = None  # there may be new ones
        self._put_rules(birth.gateway, [(r.id, r.version, r.priority, r.name.en, r.name.zh) for r in birth.rules])
        known = self._db.execute("SELECT instance FROM alarm_origin WHERE origin = ?", (birth.gateway,)).fetchone()
        if known is None or known[0] != birth.instance:
            self._db.execute("INSERT OR REPLACE INTO alarm_origin VALUES (?, ?)", (birth.gateway, birth.instance))
            self._end_unknown(birth)

    def put_rules(self, origin: str, rules: Iterable[Rule]) -> None:
        """These rules, and no others, are in force."""
        rows = [(rule.id, rule.version, rule.priority, rule.name["en"], rule.name["zh"]) for rule in rules]
        self._put_rules(origin, rows)

    def _put_rules(self, origin: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._db.execute("DELETE FROM alarm_rule WHERE origin = ?", (origin,))
        self._db.executemany(_RULE, [(origin, *row) for row in rows])

    def _end_unknown(self, birth: Birth) -> None:
        """The alarms of a gateway whose storage was lost would be open for ever."""
        there = {(alarm.rule, alarm.thing, alarm.onset_ms) for alarm in birth.alarms}
        rows = self._db.execute(
            "SELECT rule, thing, onset_ms, number, priority, version, metric, value FROM alarm"
            " WHERE origin = ? AND state != ? AND changed_ms < ?",
            (birth.gateway, CLEARED, birth.time_ms),
        )
        for *key, number, priority, version, metric, value in rows.fetchall():
            identity = Identity(*key)
            if identity not in there:
                logger.warning("alarm %s of %s since %d is not known to %s any more", *identity, birth.gateway)
                self._db.execute(
                    "UPDATE alarm SET state = ?, changed_ms = ? WHERE rule = ? AND thing = ? AND onset_ms = ?",
                    (CLEARED, birth.time_ms, *identity),
                )
                # No change of the gateway's, whose numbers are its own: one more of it would count.
                what = (priority, version, "", metric, json.loads(value))
                self._tell(birth.gateway, Change(identity, number, CLEARED, birth.time_ms, *what))

    def _tell(self, origin: str, change: Change) -> None:
        said = change._asdict() | {"who": change.by, "origin": origin}
        del said["identity"], said["by"]
        self._events.add(ALARM, change.identity.thing, change.identity._asdict() | said)
