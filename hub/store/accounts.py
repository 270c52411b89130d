"""Where each gateway's readings are: what the gateway says, set against what is stored. Both sides of the store.

read = suppressed + stored + buffered + declared lost. What was read and suppressed is counted by the gateway, what is
stored by us: were something missing or stored twice, the two would not meet.
"""

import sqlite3
from dataclasses import dataclass, replace

from hub.store import tallies
from hub.store.tallies import Sums
from protocols.status import Sample, Status, decode, encode

BACKLOG_STEP_MS = 60_000  # the most that was held in each minute is kept
SILENT_MS = 150_000  # a gateway tells at least once a minute
_BACKLOG_KEPT_MS = 2 * 86_400_000

_BACKLOG = """
INSERT INTO backlog (gateway, time_ms, readings, age_ms) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET readings = max(readings, excluded.readings), age_ms = max(age_ms, excluded.age_ms)
"""


@dataclass(frozen=True)
class Heard:
    """A gateway's last status and the hub's time when it came. oldest_age_ms: of the oldest reading held then."""

    heard_ms: int
    status: Status
    buffered: int
    oldest_age_ms: int | None


@dataclass(frozen=True)
class Account:
    """The equation of one gateway: read + twice = suppressed + stored + buffered + declared_lost + missing.

    since_ms: when it went on or off line. `missing` and `twice` are 0 unless readings are lost without a word, or
    stored beyond what was read. What explains missing readings: `set_aside` counts packs that came but cannot be read,
    `skipped` those that were acknowledged by a store that is no more (it was lost, or restored from a backup).
    """

    gateway: str
    online: bool
    since_ms: int
    read: int
    suppressed: int
    stored: int
    buffered: int
    declared_lost: int
    missing: int
    twice: int
    heard: Heard | None
    set_aside: int = 0
    skipped: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every reading is where it should be."""
        return not (self.missing or self.twice)

    def current(self, now_ms: int) -> bool:
        """Whether what the gateway holds is known as of now: it is on line, and has not missed to tell."""
        return self.online and self.heard is not None and now_ms - self.heard.heard_ms <= SILENT_MS

    def oldest_age_ms(self, now_ms: int) -> int | None:
        """How old the oldest reading is that the gateway is known to hold; None: it is known of none.

        While the line is down it grows older; while it is up the next status tells.
        """
        if self.heard is None or self.heard.oldest_age_ms is None:
            return None
        return self.heard.oldest_age_ms + (0 if self.online else max(0, now_ms - self.heard.heard_ms))


@dataclass(frozen=True)
class Backlog:
    """The most that a gateway held within one step, and the greatest age of its oldest reading."""

    time_ms: int
    readings: int
    age_ms: int


def write_status(db: sqlite3.Connection, gateway: str, status: Status, *, now_ms: int, retained: bool) -> None:
    """Take over a status. A retained one was made before we listened: it is as old as it says, and judges nothing."""
    kept = encode(_without_counts(status))
    if retained and db.execute("SELECT 1 FROM status WHERE gateway = ? AND message = ?", (gateway, kept)).fetchone():
        return  # it was taken when it was said
    tallies.write_told(db, gateway, status.lanes)
    heard_ms = min(now_ms, status.time_ms) if retained else now_ms
    missing = 0
    if not retained:  # it came behind the packs that were sent before it, so that it and the counts are of one moment
        missing = max(0, _outside(db, gateway) - _buffered(status) - status.lost)
    db.execute("INSERT OR REPLACE INTO status VALUES (?, ?, ?, ?)", (gateway, heard_ms, missing, kept))
    _write_backlog(db, gateway, status, heard_ms, now_ms)


def accounts(db: sqlite3.Connection) -> list[Account]:
    """The account of every gateway that has called."""
    sums = tallies.sums(db)
    lost = dict(db.execute("SELECT gateway, sum(count) FROM lost GROUP BY gateway").fetchall())
    aside = dict(db.execute("SELECT gateway, count(*) FROM set_aside GROUP BY gateway").fetchall())
    skipped = dict(db.execute("SELECT gateway, sum(upto_seq - from_seq + 1) FROM skipped GROUP BY gateway").fetchall())
    heard = {row["gateway"]: row for row in db.execute("SELECT * FROM status")}
    return [
        replace(
            _account(row, sums.get(row["id"], Sums()), lost.get(row["id"], 0), heard.get(row["id"])),
            set_aside=aside.get(row["id"], 0),
            skipped=skipped.get(row["id"], 0),
        )
        for row in db.execute("SELECT id, state, changed_ms FROM gateway ORDER BY id")
    ]


def backlog(db: sqlite3.Connection, gateway: str, from_ms: int, to_ms: int, step_ms: int) -> list[Backlog]:
    """What a gateway held with from <= time < to, in steps that begin at multiples of `step_ms`."""
    rows = db.execute(
        "SELECT time_ms / ?1 * ?1, max(readings), max(age_ms) FROM backlog"
        " WHERE gateway = ?2 AND time_ms >= ?3 AND time_ms < ?4 GROUP BY time_ms / ?1 ORDER BY 1",
        (step_ms, gateway, from_ms, to_ms),
    )
    return [Backlog(*row) for row in rows]


def _outside(db: sqlite3.Connection, gateway: str) -> int:
    """Readings that the gateway has counted and we do not have: it holds them, or they are lost."""
    read, suppressed, stored = tallies.sums(db, gateway).get(gateway, Sums())
    (lost,) = db.execute("SELECT coalesce(sum(count), 0) FROM lost WHERE gateway = ?", (gateway,)).fetchone()
    return read - suppressed - stored - int(lost)


def _account(gateway: sqlite3.Row, sums: Sums, lost: int, told: sqlite3.Row | None) -> Account:
    read, suppressed, stored = sums
    outside = max(0, read - suppressed - stored - lost)
    heard = _heard(told) if told else None
    # What has come since the last status was either held or lost then: it cannot be missing any more.
    missing = min(told["missing"], outside) if told else 0
    undelivered = min(heard.status.lost, outside - missing) if heard else 0
    return Account(
        gateway=gateway["id"],
        online=gateway["state"] == "online",
        since_ms=gateway["changed_ms"],
        read=read,
        suppressed=suppressed,
        stored=stored,
        buffered=outside - missing - undelivered,
        declared_lost=lost + undelivered,
        missing=missing,
        twice=max(0, suppressed + stored + lost - read),
        heard=heard,
    )


def _without_counts(status: Status) -> Status:
    return status._replace(past=[], lanes={name: lane._replace(counts=[]) for name, lane in status.lanes.items()})


def _heard(row: sqlite3.Row) -> Heard:
    status = decode(row["message"])
    return Heard(row["heard_ms"], status, _buffered(status), _age(status.time_ms, oldest_of(status)))


def oldest_of(status: Status) -> int | None:
    """The time of the oldest reading held on any lane."""
    return min((lane.oldest_ms for lane in status.lanes.values() if lane.oldest_ms is not None), default=None)


def _buffered(status: Status) -> int:
    return sum(lane.readings for lane in status.lanes.values())


def _age(time_ms: int, oldest_ms: int | None) -> int | None:
    return None if oldest_ms is None else max(0, time_ms - oldest_ms)


def _write_backlog(db: sqlite3.Connection, gateway: str, status: Status, heard_ms: int, now_ms: int) -> None:
    """Times are shifted to our clock: a gateway's own may be off, but an interval is right."""
    now = Sample(status.time_ms, _buffered(status), oldest_of(status))
    shift_ms = heard_ms - status.time_ms
    rows = [
        (gateway, (sample.time_ms + shift_ms) // BACKLOG_STEP_MS * BACKLOG_STEP_MS, sample.readings,
         _age(sample.time_ms, sample.oldest_ms) or 0)
        for sample in (*status.past, now)
    ]  # fmt: skip
    db.executemany(_BACKLOG, rows)
    db.execute("DELETE FROM backlog WHERE gateway = ? AND time_ms < ?", (gateway, now_ms - _BACKLOG_KEPT_MS))
