"""Where each gateway's readings are: what the gateway says, set against what is stored. Both sides of the store.

read = suppressed + stored + buffered + declared lost. What was read and suppressed is counted by the gateway, what is
stored by us: were something missing or stored twice, the two would not meet.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace

from protocols.custody import COUNTER_BITS, NONCE_BITS, incarnation_of
from protocols.pack import Body
from protocols.status import Sample, Status, decode, encode
from protocols.topics import LANES

Numbering = tuple[str, str, int]  # a pack's gateway, lane and epoch
Loss = tuple[int, int, int]  # readings, from ms, to ms

BACKLOG_STEP_MS = 60_000  # the most that was held in each minute is kept
SILENT_MS = 150_000  # a gateway tells at least once a minute
_EPOCHS_APART = 8  # of a gateway's lane: what is older, and acknowledged whole, is added up under epoch 0
_BACKLOG_KEPT_MS = 2 * 86_400_000

_TALLY = """
INSERT INTO tally (gateway, lane, epoch, thing, read, suppressed, stored) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET read = max(read, excluded.read), suppressed = max(suppressed, excluded.suppressed),
    stored = stored + excluded.stored
"""
# Apart from what the packs say, which is of the packs that have come: gap records are reckoned against that.
_TOLD = """
INSERT INTO tally (gateway, lane, epoch, thing, read, suppressed, told_read, told_suppressed)
VALUES (?, ?, ?, ?, 0, 0, ?, ?)
ON CONFLICT DO UPDATE SET told_read = max(told_read, excluded.told_read),
    told_suppressed = max(told_suppressed, excluded.told_suppressed)
"""
_PACKED = "SELECT read - suppressed FROM tally WHERE gateway = ? AND lane = ? AND epoch = ? AND thing = ?"
_OLD_EPOCHS = """
SELECT DISTINCT epoch FROM tally WHERE gateway = ? AND lane = ? AND epoch > ? AND epoch < ? ORDER BY epoch DESC
"""
_ADD_UP = """
INSERT INTO tally (gateway, lane, epoch, thing, read, suppressed, stored)
SELECT gateway, lane, 0, thing, max(read, told_read), max(suppressed, told_suppressed), stored FROM tally
WHERE gateway = ? AND lane = ? AND epoch = ?
ON CONFLICT DO UPDATE SET read = read + excluded.read, suppressed = suppressed + excluded.suppressed,
    stored = stored + excluded.stored
"""
_BACKLOG = """
INSERT INTO backlog (gateway, time_ms, readings, age_ms) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET readings = max(readings, excluded.readings), age_ms = max(age_ms, excluded.age_ms)
"""
_SUMS = """
SELECT gateway, sum(max(read, told_read)) AS read, sum(max(suppressed, told_suppressed)) AS suppressed,
    sum(stored) AS stored
FROM tally {where} GROUP BY gateway
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


class Tallies:
    """What the packs of a batch say was read and suppressed, and what was stored of it, until it is written."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int, str], list[int]] = {}  # read, suppressed, stored

    def add(self, numbering: Numbering, tallies: Mapping[str, tuple[int, int]], stored: Mapping[str, int]) -> None:
        """Take over what a pack says of the time since its epoch began, and how much it brought of each thing."""
        for thing, (read, suppressed) in tallies.items():
            counts = self._counts.setdefault((*numbering, thing), [0, 0, 0])
            counts[:2] = max(counts[0], read), max(counts[1], suppressed)
        for thing, count in stored.items():
            self._counts.setdefault((*numbering, thing), [0, 0, 0])[2] += count

    def write(self, db: sqlite3.Connection) -> None:
        """Write them, and begin anew."""
        db.executemany(_TALLY, ((*key, *counts) for key, counts in self._counts.items()))
        self._counts.clear()


def add_up(db: sqlite3.Connection, gateway: str, lane: str, oldest: int) -> None:
    """Add up the tallies of old epochs, that they may not become more for ever with each loss of the line.

    Those below `oldest` have been acknowledged whole, so that no more comes of them.
    """
    first = incarnation_of(oldest) << COUNTER_BITS + NONCE_BITS
    for (epoch,) in db.execute(_OLD_EPOCHS, (gateway, lane, first, oldest)).fetchall()[_EPOCHS_APART:]:
        db.execute(_ADD_UP, (gateway, lane, epoch))
        db.execute("DELETE FROM tally WHERE gateway = ? AND lane = ? AND epoch = ?", (gateway, lane, epoch))


def not_stored(db: sqlite3.Connection, numbering: Numbering, body: Body) -> dict[str, Loss]:
    """What a gap record declares lost, without what came here before its packs gave way.

    The tallies tell it: ours those of the last pack that came, its own those of the last one that gave way.
    """
    lost = {}
    for thing, (count, from_ms, to_ms) in body.lost.items():
        read, suppressed = body.tallies.get(thing, (0, 0))
        (before,) = db.execute(_PACKED, (*numbering, thing)).fetchone() or (0,)
        if (between := read - suppressed - before) > 0:
            lost[thing] = (min(count, between), from_ms, to_ms)
    return lost


def write_status(db: sqlite3.Connection, gateway: str, status: Status, *, now_ms: int, retained: bool) -> None:
    """Take over a status. A retained one was made before we listened: it is as old as it says, and judges nothing."""
    kept = encode(_without_tallies(status))
    if retained and db.execute("SELECT 1 FROM status WHERE gateway = ? AND message = ?", (gateway, kept)).fetchone():
        return  # it was taken when it was said
    _write_told(db, gateway, status)
    heard_ms = min(now_ms, status.time_ms) if retained else now_ms
    missing = 0
    if not retained:  # it came behind the packs that were sent before it, so that it and the tallies are of one moment
        missing = max(0, _outside(db, gateway) - _buffered(status) - status.lost)
    db.execute("INSERT OR REPLACE INTO status VALUES (?, ?, ?, ?)", (gateway, heard_ms, missing, kept))
    _write_backlog(db, gateway, status, heard_ms, now_ms)


def _write_told(db: sqlite3.Connection, gateway: str, status: Status) -> None:
    """Of the newest epoch alone: a status that was held up would bring back one that has been added up."""
    end = incarnation_of(status.epoch) + 1 << COUNTER_BITS + NONCE_BITS
    for name, lane in status.lanes.items():
        query = "SELECT max(epoch) FROM tally WHERE gateway = ? AND lane = ? AND epoch < ?"
        (newest,) = db.execute(query, (gateway, name, end)).fetchone()
        if status.epoch >= (newest or 0):
            rows = [(gateway, name, status.epoch, thing, *tally) for thing, tally in lane.tallies.items()]
            db.executemany(_TOLD, rows)


def newest_tallies(
    db: sqlite3.Connection, gateway: str, incarnation: int
) -> tuple[int, dict[str, dict[str, tuple[int, int]]]] | None:
    """The newest epoch that is known of this incarnation of a gateway's storage, and its tallies by lane and thing."""
    begin, end = (each << COUNTER_BITS + NONCE_BITS for each in (incarnation, incarnation + 1))
    query = "SELECT max(epoch) FROM tally WHERE gateway = ? AND lane = ? AND epoch BETWEEN ? AND ?"
    newest = [db.execute(query, (gateway, lane, begin, end)).fetchone()[0] for lane in LANES]
    epoch = max((each for each in newest if each), default=None)
    if epoch is None:
        return None
    found: dict[str, dict[str, tuple[int, int]]] = {lane: {} for lane in LANES}
    query = (
        "SELECT lane, thing, max(read, told_read) AS read, max(suppressed, told_suppressed) AS suppressed FROM tally"
        " WHERE gateway = ? AND lane = ? AND epoch = ?"
    )
    for lane in LANES:
        for row in db.execute(query, (gateway, lane, epoch)):
            found[lane][row["thing"]] = row["read"], row["suppressed"]
    return epoch, found


def accounts(db: sqlite3.Connection) -> list[Account]:
    """The account of every gateway that has called."""
    sums = {row["gateway"]: row for row in db.execute(_SUMS.format(where=""))}
    lost = dict(db.execute("SELECT gateway, sum(count) FROM lost GROUP BY gateway").fetchall())
    aside = dict(db.execute("SELECT gateway, count(*) FROM set_aside GROUP BY gateway").fetchall())
    skipped = dict(db.execute("SELECT gateway, sum(upto_seq - from_seq + 1) FROM skipped GROUP BY gateway").fetchall())
    heard = {row["gateway"]: row for row in db.execute("SELECT * FROM status")}
    return [
        replace(
            _account(row, sums.get(row["id"]), lost.get(row["id"], 0), heard.get(row["id"])),
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
    row = db.execute(_SUMS.format(where="WHERE gateway = ?"), (gateway,)).fetchone()
    (lost,) = db.execute("SELECT coalesce(sum(count), 0) FROM lost WHERE gateway = ?", (gateway,)).fetchone()
    return (row["read"] - row["suppressed"] - row["stored"] if row else 0) - int(lost)


def _account(gateway: sqlite3.Row, sums: sqlite3.Row | None, lost: int, told: sqlite3.Row | None) -> Account:
    read, suppressed, stored = (sums["read"], sums["suppressed"], sums["stored"]) if sums else (0, 0, 0)
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


def _without_tallies(status: Status) -> Status:
    return status._replace(past=[], lanes={name: lane._replace(tallies={}) for name, lane in status.lanes.items()})


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
