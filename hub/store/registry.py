"""The store's writing side of births: gateways, their things, their streams, and what each alias stands for."""

import json
import sqlite3

from hub.birth import Birth
from hub.errors import BirthError
from hub.store.events import GATEWAY, Events

_GATEWAY = """
INSERT OR REPLACE INTO gateway (id, incarnation, name_en, name_zh, state, changed_ms) VALUES (?, ?, ?, ?, 'online', ?)
"""
_THING = """
INSERT INTO thing (id, gateway, kind, model, maker, name_en, name_zh, state, reason, position, born_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET gateway = excluded.gateway, kind = excluded.kind, model = excluded.model,
    maker = excluded.maker, name_en = excluded.name_en, name_zh = excluded.name_zh, state = excluded.state,
    reason = excluded.reason, position = excluded.position, born_ms = excluded.born_ms
WHERE excluded.born_ms >= born_ms OR excluded.gateway = gateway
"""
_STREAM = """
INSERT INTO stream (thing, metric, unit, name_en, name_zh, states, position, current) VALUES (?, ?, ?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET name_en = excluded.name_en, name_zh = excluded.name_zh, states = excluded.states,
    position = excluded.position, current = 1
RETURNING id
"""
_REPLACED = "UPDATE stream SET current = 0 WHERE thing = ? AND metric = ? AND id != ?"
_ALIAS = "INSERT OR IGNORE INTO alias (gateway, incarnation, alias, stream) VALUES (?, ?, ?, ?)"


class _Things(dict[int, str]):
    """The thing that each stream belongs to, which never changes; read from the table when it is first asked for."""

    def __init__(self, db: sqlite3.Connection):
        super().__init__()
        self._db = db

    def __missing__(self, stream: int) -> str:
        (thing,) = self._db.execute("SELECT thing FROM stream WHERE id = ?", (stream,)).fetchone()
        self[stream] = thing
        return str(thing)


class Registry:
    """What gateways have announced. All calls belong to the writer's transaction; `forget` after one that failed.

    things: the thing of each stream.
    """

    def __init__(self, db: sqlite3.Connection, events: Events):
        self._db = db
        self._events = events
        self._streams: dict[tuple[str, int], dict[int, int]] = {}
        self.things = _Things(db)

    def forget(self) -> None:
        """The transaction was undone: what is known is read again from the tables."""
        self._streams.clear()
        self.things.clear()

    def aliases(self, gateway: str, incarnation: int) -> dict[int, int]:
        """The stream that each alias of this gateway's incarnation stands for."""
        key = (gateway, incarnation)
        known = self._streams.get(key)
        if known is None:
            rows = self._db.execute("SELECT alias, stream FROM alias WHERE gateway = ? AND incarnation = ?", key)
            known = self._streams[key] = dict(rows.fetchall())
        return known

    def write_birth(self, birth: Birth, now_ms: int) -> None:
        """Take over a gateway, its things and its aliases. Raises BirthError, before anything is written."""
        key = (birth.gateway, birth.incarnation)
        known = self.aliases(*key)
        self._check_aliases(birth, known)
        self._told(birth.gateway, "online", now_ms)
        self._db.execute(_GATEWAY, (birth.gateway, birth.incarnation, birth.name.en, birth.name.zh, now_ms))
        # What this gateway no longer speaks of is gone from it; its history stays.
        self._db.execute("UPDATE thing SET state = 'offline', reason = 'removed' WHERE gateway = ?", (birth.gateway,))
        for place, t in enumerate(birth.things):
            names = (t.kind, t.model, t.maker, t.name.en, t.name.zh)
            self._db.execute(_THING, (t.id, birth.gateway, *names, t.state, t.reason, place, birth.time_ms))
        for place, s in enumerate(birth.streams):
            states = {code: each.model_dump() for code, each in s.states.items()}
            named = (s.name.en, s.name.zh, json.dumps(states, ensure_ascii=False) if states else "", place)
            (stream,) = self._db.execute(_STREAM, (s.thing, s.metric, s.unit, *named)).fetchone()
            self._db.execute(_REPLACED, (s.thing, s.metric, stream))
            known[s.alias] = stream
            self._db.execute(_ALIAS, (*key, s.alias, stream))

    def write_death(self, gateway: str, now_ms: int) -> None:
        """The gateway is offline, and with it all its things."""
        self._told(gateway, "offline", now_ms)
        self._db.execute(
            "UPDATE gateway SET state = 'offline', changed_ms = ? WHERE id = ? AND state != 'offline'",
            (now_ms, gateway),
        )

    def _told(self, gateway: str, state: str, now_ms: int) -> None:
        """Tell those who follow, if that is news: the death of a gateway that was never born is none."""
        known = self._db.execute("SELECT state FROM gateway WHERE id = ?", (gateway,)).fetchone()
        if known["state"] != state if known else state == "online":
            self._events.add(GATEWAY, gateway, {"gateway": gateway, "state": state, "time_ms": now_ms})

    def _check_aliases(self, birth: Birth, known: dict[int, int]) -> None:
        """Within an incarnation an alias never changes its meaning: packs that are still buffered rely on it."""
        for s in birth.streams:
            if s.alias not in known:
                continue
            row = self._db.execute("SELECT thing, metric, unit FROM stream WHERE id = ?", (known[s.alias],)).fetchone()
            if tuple(row) != (s.thing, s.metric, s.unit):
                raise BirthError(birth.gateway, f"alias {s.alias} already stands for {row['metric']} of {row['thing']}")
