"""What people do about alarms: web writes it down, ingest has it done.

A deed is queued until it is done, refused or expired: that of a gateway's alarm is a command to the gateway, sent until
it answers, and done once however often it is sent.
"""

from pathlib import Path
from typing import NamedTuple

from hub.people import PeopleFile

ACKNOWLEDGE = "acknowledge"
SHELVE = "shelve"
COMMENT = "comment"

QUEUED = "queued"
DONE = "done"

_MOST_AT_ONCE = 200


class Deed(NamedTuple):
    """One deed about an alarm. seconds: how long to shelve it, 0 to end that. state: queued, done, refused, expired,
    or failed, the last three with the reason."""

    id: int
    what: str
    rule: str
    thing: str
    onset_ms: int
    seconds: int
    comment: str
    who: str
    time_ms: int
    state: str
    reason: str


class Deeds:
    """The deeds of one hub, each call over a connection of its own. Raises StoreError if that cannot be used."""

    def __init__(self, data: Path):
        self._file = PeopleFile(data)

    def add(
        self,
        what: str,
        alarm: tuple[str, str, int],
        *,
        who: str,
        time_ms: int,
        seconds: int = 0,
        comment: str = "",
    ) -> Deed:
        """Write down a deed about this alarm (rule, thing, onset); a comment is done by that."""
        state = DONE if what == COMMENT else QUEUED
        values = (what, *alarm, seconds, comment, who, time_ms, state, "")
        with self._file.opened() as db:
            made = db.execute("INSERT INTO deed VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id", values)
            return Deed(made.fetchone()[0], *values)

    def queued(self) -> list[Deed]:
        """Those that are to be done, in the order in which they came."""
        with self._file.opened() as db:
            rows = db.execute("SELECT * FROM deed WHERE state = ? ORDER BY id LIMIT ?", (QUEUED, _MOST_AT_ONCE))
            return [Deed(*row) for row in rows]

    def end(self, deed: int, state: str, reason: str = "") -> None:
        """It has ended so; one that has ended before stays as it was."""
        with self._file.opened() as db:
            values = (state, reason, deed, QUEUED)
            db.execute("UPDATE deed SET state = ?, reason = ? WHERE id = ? AND state = ?", values)

    def about(self, rule: str, thing: str, onset_ms: int) -> list[Deed]:
        """All about one alarm, in order."""
        key = (rule, thing, onset_ms)
        with self._file.opened() as db:
            rows = db.execute("SELECT * FROM deed WHERE rule = ? AND thing = ? AND onset_ms = ? ORDER BY id", key)
            return [Deed(*row) for row in rows]
