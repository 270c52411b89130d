"""What people are to be told, until they are: the table `notice` of people.db.

A notice is made in the transaction that moves the cursor past its event, and its key is unique: so each is made once,
wherever the hub is killed. It is sent until the far side has taken it, and once more if the hub is killed before it has
written that down: the far side knows it by its key.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hub.notify.making import Draft
from hub.people import PeopleFile

WAITING = "waiting"
SENT = "sent"
GIVEN_UP = "given_up"
STATES = (WAITING, SENT, GIVEN_UP)

MAX_WAITING = 10_000
_TOO_MANY = f"{MAX_WAITING} others wait already"
_NOBODY = "nobody in notify.toml has this name"
_AT_ONCE = 100
_COLUMNS = "id, key, person, channel, rule, thing, onset_ms, made_ms, until_ms, body, state, tries, ended_ms, reason"
_INSERT = "INSERT OR IGNORE INTO notice VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)"


class Notice(NamedTuple):
    """One notice: something said to one person in one way. body: JSON. reason: of the last failure, or why given up."""

    id: int
    key: str
    person: str
    channel: str
    rule: str
    thing: str
    onset_ms: int
    made_ms: int
    until_ms: int
    body: str
    state: str
    tries: int
    ended_ms: int
    reason: str


class Outbox:
    """The notices of one hub, each call over a connection of its own. Raises StoreError if that cannot be used."""

    def __init__(self, data: Path):
        self._file = PeopleFile(data)

    def cursor(self) -> int:
        """The id of the last event of which notices were made."""
        with self._file.opened() as db:
            upto: int = db.execute("SELECT upto FROM notice_cursor").fetchone()[0]
            return upto

    def add(self, drafts: Iterable[Draft], *, upto: int, now_ms: int, until_ms: int) -> None:
        """Take these, and move the cursor to this event; both or neither.

        What nobody can be told, or what comes when too many wait, is written down as given up.
        """
        with self._file.opened() as db:
            db.execute("BEGIN IMMEDIATE")
            waiting = db.execute("SELECT count(*) FROM notice WHERE state = ?", (WAITING,)).fetchone()[0]
            for draft in drafts:
                reason = _NOBODY if not draft.channel else _TOO_MANY if waiting >= MAX_WAITING else ""
                state = GIVEN_UP if reason else WAITING
                body = json.dumps(draft.body, ensure_ascii=False, separators=(",", ":"))
                made = (draft.key, draft.person, draft.channel, *draft.alarm, now_ms, until_ms, body, state)
                waiting += db.execute(_INSERT, (*made, now_ms, now_ms if reason else 0, reason)).rowcount
            db.execute("UPDATE notice_cursor SET upto = ?", (upto,))
            db.execute("COMMIT")

    def due(self, now_ms: int) -> list[Notice]:
        """Those whose time has come: of each person and channel the oldest."""
        with self._file.opened() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS}, min(id) FROM notice WHERE state = ? AND next_ms <= ? GROUP BY person, channel"
                " ORDER BY id LIMIT ?",
                (WAITING, now_ms, _AT_ONCE),
            )
            return [Notice(*row[:-1]) for row in map(tuple, rows)]

    def sent(self, notice: int, now_ms: int) -> None:
        """The far side has taken it."""
        self._end(notice, SENT, now_ms, "")

    def given_up(self, notice: int, now_ms: int, reason: str) -> None:
        """It is not tried any more."""
        self._end(notice, GIVEN_UP, now_ms, reason)

    def failed(self, notice: int, *, next_ms: int, reason: str) -> None:
        """It is tried again then."""
        with self._file.opened() as db:
            values = (next_ms, reason, notice)
            db.execute("UPDATE notice SET tries = tries + 1, next_ms = ?, reason = ? WHERE id = ?", values)

    def told(self, rule: str, thing: str, onset_ms: int) -> list[str]:
        """Who was told of an alarm, or is to be."""
        with self._file.opened() as db:
            rows = db.execute(
                "SELECT DISTINCT person FROM notice WHERE rule = ? AND thing = ? AND onset_ms = ? AND channel != ''",
                (rule, thing, onset_ms),
            )
            return [row[0] for row in rows]

    def about(self, rule: str, thing: str, onset_ms: int) -> list[Notice]:
        """All about one alarm, in order."""
        return list(self._found("WHERE rule = ? AND thing = ? AND onset_ms = ? ORDER BY id", rule, thing, onset_ms))

    def newest(self, *, state: str | None, before: int, limit: int) -> list[Notice]:
        """Those before this one, of all states or of one, the newest first."""
        if state is None:
            return list(self._found("WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit))
        return list(self._found("WHERE id < ? AND state = ? ORDER BY id DESC LIMIT ?", before, state, limit))

    def counts(self) -> dict[str, int]:
        """How many there are of each state."""
        with self._file.opened() as db:
            found = dict(db.execute("SELECT state, count(*) FROM notice GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def _found(self, where: str, *values: object) -> Iterator[Notice]:
        with self._file.opened() as db:
            yield from [Notice(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM notice {where}", values)]

    def _end(self, notice: int, state: str, now_ms: int, reason: str) -> None:
        with self._file.opened() as db:
            db.execute(
                "UPDATE notice SET state = ?, ended_ms = ?, reason = ?, tries = tries + 1 WHERE id = ? AND state = ?",
                (state, now_ms, reason, notice, WAITING),
            )
